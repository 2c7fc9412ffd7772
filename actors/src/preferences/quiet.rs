//! Quiet hours: periods of a clock on somebody's wall.

use std::sync::LazyLock;

use jiff::{
    SignedDuration, ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use quikapp_storage::Timestamp;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{Day, Days, TimeOfDay};

/// The time zones that are built in: what a node decides does not depend on what is installed on
/// its machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
/// The days on which a period that holds now may have begun, or one that follows it without a
/// break may begin: a week, and two days because some clocks are set back or forward by one.
const DAYS_BEFORE: i64 = 2;
const DAYS_AFTER: i64 = 8;

/// When a person is not to be disturbed: from a time of the day until the next time that it is
/// another, in their time zone; a whole day where both are the same.
///
/// The clock on the wall counts. When it is set back, a period goes on for as long as the clock
/// shows, or will show once more, a time within it; when it is set forward over an end of the
/// period, the period ends or begins at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct QuietHours {
    /// When they begin: `"22:00"`.
    pub from: TimeOfDay,
    /// When they end: `"07:00"`, on the next day where that is not after `from`.
    pub to: TimeOfDay,
    /// The days on which they begin.
    #[serde(default)]
    pub days: Days,
    /// A name of the IANA time zone database: `"Europe/Berlin"`.
    pub time_zone: String,
}

impl QuietHours {
    /// When the period that holds now is over, those that follow it without a break included.
    /// None outside of quiet hours, and in a time zone that this program does not know.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = zone(&self.time_zone)?;
        let now = jiff::Timestamp::from_millisecond(now.0).ok()?;
        let today = zone.to_datetime(now).date();
        let mut until = now;
        for offset in -DAYS_BEFORE..=DAYS_AFTER {
            let day = today.checked_add(offset.days()).ok()?;
            let Some((begin, end)) = self.period(&zone, day) else {
                continue;
            };
            if begin > until {
                break;
            }
            until = until.max(end);
        }
        (until > now).then(|| Timestamp(until.as_millisecond()))
    }

    /// Whether they would never end.
    pub(super) fn is_endless(&self) -> bool {
        self.from == self.to && self.days == Days::ALL
    }

    /// The period that begins on a day, from its first moment to the moment after its last. None
    /// on other days, and where the clock shows no time of it.
    fn period(&self, zone: &TimeZone, day: Date) -> Option<(jiff::Timestamp, jiff::Timestamp)> {
        if !self.days.contains(Day::of(day)) {
            return None;
        }
        let last_day = match self.to > self.from {
            true => day,
            false => day.tomorrow().ok()?,
        };
        let begin = first_moment(zone, day.to_datetime(self.from.civil()))?;
        let end = moment_after(zone, last_day.to_datetime(self.to.civil()))?;
        (begin < end).then_some((begin, end))
    }
}

/// The time zone of a name, whatever the case of its letters.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let found = ZONES.get(name).ok();
    found.filter(|zone| !zone.is_unknown())
}

/// The first moment at which the clock shows this time, or a later one that it was set to.
fn first_moment(zone: &TimeZone, shown: DateTime) -> Option<jiff::Timestamp> {
    let moment = zone.to_ambiguous_timestamp(shown);
    match moment.offset() {
        AmbiguousOffset::Gap { .. } => jump_over(zone, shown),
        _ => moment.earlier().ok(),
    }
}

/// The moment after the last one at which the clock shows a time before this one.
fn moment_after(zone: &TimeZone, shown: DateTime) -> Option<jiff::Timestamp> {
    let second = SignedDuration::from_secs(1);
    let before = shown.checked_sub(second).ok()?;
    let moment = zone.to_ambiguous_timestamp(before);
    match moment.offset() {
        AmbiguousOffset::Gap { .. } => jump_over(zone, before),
        _ => moment.later().ok()?.checked_add(second).ok(),
    }
}

/// When the clock was set forward over a time that it never shows.
fn jump_over(zone: &TimeZone, skipped: DateTime) -> Option<jiff::Timestamp> {
    let moment = zone.to_ambiguous_timestamp(skipped);
    let AmbiguousOffset::Gap { after, .. } = moment.offset() else {
        return None;
    };
    let before = moment.earlier().ok()?;
    let jump = zone.following(before).find(|it| it.offset() == after);
    jump.map(|it| it.timestamp())
}
