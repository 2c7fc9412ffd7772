//! Times of the day and days of the week, as they are written.

use jiff::civil;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A time of the day to the minute: `"22:00"`, from `"00:00"` to `"23:59"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct TimeOfDay {
    hour: i8,
    minute: i8,
}

impl TimeOfDay {
    /// The minute that begins then; none beyond `23:59`.
    pub fn new(hour: u8, minute: u8) -> Option<Self> {
        let fits = hour < 24 && minute < 60;
        fits.then_some(Self {
            hour: hour as i8,
            minute: minute as i8,
        })
    }

    /// As a clock shows it.
    pub(super) fn civil(self) -> civil::Time {
        civil::time(self.hour, self.minute, 0, 0)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = |part: &str| match part.len() == 2 && !part.starts_with('+') {
            true => part.parse().ok(),
            false => None,
        };
        let (hour, minute) = text.split_once(':').unwrap_or_default();
        let time = digits(hour).zip(digits(minute));
        let time = time.and_then(|(hour, minute)| Self::new(hour, minute));
        time.ok_or("a time of the day is needed, from \"00:00\" to \"23:59\"")
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        format!("{:02}:{:02}", time.hour, time.minute)
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// From Monday on.
    pub const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];

    /// The day that a date is.
    pub(super) fn of(date: civil::Date) -> Self {
        match date.weekday() {
            civil::Weekday::Monday => Self::Mon,
            civil::Weekday::Tuesday => Self::Tue,
            civil::Weekday::Wednesday => Self::Wed,
            civil::Weekday::Thursday => Self::Thu,
            civil::Weekday::Friday => Self::Fri,
            civil::Weekday::Saturday => Self::Sat,
            civil::Weekday::Sunday => Self::Sun,
        }
    }
}

/// Some days of the week: on the wire their names, each once, from Monday on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(from = "Vec<Day>", into = "Vec<Day>")]
#[ts(as = "Vec<Day>")]
pub struct Days(u8);

impl Days {
    /// The whole week.
    pub const ALL: Self = Self(0b111_1111);

    /// Whether it is one of them.
    pub fn contains(self, day: Day) -> bool {
        self.0 & (1 << day as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Default for Days {
    fn default() -> Self {
        Self::ALL
    }
}

impl From<Vec<Day>> for Days {
    fn from(days: Vec<Day>) -> Self {
        Self(days.into_iter().fold(0, |all, day| all | 1 << day as u8))
    }
}

impl From<Days> for Vec<Day> {
    fn from(days: Days) -> Self {
        let all = Day::ALL.into_iter();
        all.filter(|day| days.contains(*day)).collect()
    }
}
