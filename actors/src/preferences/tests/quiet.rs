//! Quiet hours against a clock that is looked at minute by minute.

use std::collections::BTreeMap;

use jiff::{ToSpan, civil::Date, tz::TimeZoneDatabase};
use proptest::prelude::*;
use quikapp_storage::Timestamp;

use crate::preferences::{Day, Days, QuietHours, TimeOfDay};

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 24 * 60;

fn at(text: &str) -> Timestamp {
    let at: jiff::Timestamp = text.parse().unwrap();
    Timestamp(at.as_millisecond())
}

fn time(text: &str) -> TimeOfDay {
    text.to_owned().try_into().unwrap()
}

fn hours(from: &str, to: &str, time_zone: &str) -> QuietHours {
    QuietHours {
        from: time(from),
        to: time(to),
        days: Days::ALL,
        time_zone: time_zone.to_owned(),
    }
}

/// Each row: a moment, and until when it is quiet then.
fn check(hours: &QuietHours, table: &[(&str, Option<&str>)]) {
    for (now, until) in table {
        assert_eq!(hours.until(at(now)), until.map(at), "{now}: {hours:?}");
    }
}

#[test]
fn a_period_begins_and_ends_to_the_minute_and_goes_over_midnight() {
    let night = hours("22:00", "07:00", "Europe/Berlin");
    let end = Some("2026-01-15T06:00:00Z");
    check(
        &night,
        &[
            ("2026-01-14T20:59:59.999Z", None),
            ("2026-01-14T21:00:00Z", end),
            ("2026-01-14T23:30:00Z", end),
            ("2026-01-15T05:59:59.999Z", end),
            ("2026-01-15T06:00:00Z", None),
        ],
    );
    let noon = hours("12:00", "13:00", "America/New_York");
    check(
        &noon,
        &[
            ("2026-07-01T15:59:00Z", None),
            ("2026-07-01T16:00:00Z", Some("2026-07-01T17:00:00Z")),
            ("2026-07-01T17:00:00Z", None),
        ],
    );
}

#[test]
fn the_day_is_the_one_on_which_a_period_begins() {
    let friday = QuietHours {
        days: vec![Day::Fri].into(),
        ..hours("22:00", "07:00", "UTC")
    };
    check(
        &friday,
        &[
            ("2026-01-15T23:00:00Z", None),
            ("2026-01-16T06:00:00Z", None),
            ("2026-01-16T22:00:00Z", Some("2026-01-17T07:00:00Z")),
            ("2026-01-17T06:59:00Z", Some("2026-01-17T07:00:00Z")),
            ("2026-01-17T22:00:00Z", None),
        ],
    );
}

#[test]
fn days_that_follow_each_other_without_a_break_are_one_period() {
    let weekend = QuietHours {
        days: vec![Day::Sat, Day::Sun].into(),
        ..hours("00:00", "00:00", "UTC")
    };
    let end = Some("2026-01-19T00:00:00Z");
    check(
        &weekend,
        &[
            ("2026-01-16T23:59:00Z", None),
            ("2026-01-17T00:00:00Z", end),
            ("2026-01-18T12:00:00Z", end),
            ("2026-01-19T00:00:00Z", None),
        ],
    );
    let but_monday = QuietHours {
        days: Day::ALL[1..].to_vec().into(),
        ..hours("09:00", "09:00", "UTC")
    };
    let end = Some("2026-01-19T09:00:00Z");
    check(&but_monday, &[("2026-01-13T09:00:00Z", end)]);
}

/// In Berlin on 25 October 2026 the hour from 02:00 is shown twice.
#[test]
fn when_the_clock_is_set_back_it_is_quiet_for_as_long_as_the_clock_shows_it() {
    check(
        &hours("22:00", "02:30", "Europe/Berlin"),
        &[
            ("2026-10-25T00:29:00Z", Some("2026-10-25T01:30:00Z")),
            ("2026-10-25T00:45:00Z", Some("2026-10-25T01:30:00Z")),
            ("2026-10-25T01:29:00Z", Some("2026-10-25T01:30:00Z")),
            ("2026-10-25T01:30:00Z", None),
        ],
    );
    check(
        &hours("22:00", "02:00", "Europe/Berlin"),
        &[
            ("2026-10-24T23:59:00Z", Some("2026-10-25T00:00:00Z")),
            ("2026-10-25T01:00:00Z", None),
        ],
    );
    check(
        &hours("02:30", "04:00", "Europe/Berlin"),
        &[
            ("2026-10-25T00:29:00Z", None),
            ("2026-10-25T00:30:00Z", Some("2026-10-25T03:00:00Z")),
            ("2026-10-25T01:10:00Z", Some("2026-10-25T03:00:00Z")),
        ],
    );
}

/// In Berlin on 29 March 2026 the hour from 02:00 is not shown.
#[test]
fn when_the_clock_is_set_forward_over_an_end_it_is_the_end() {
    let jump = Some("2026-03-29T01:00:00Z");
    check(
        &hours("22:00", "02:30", "Europe/Berlin"),
        &[
            ("2026-03-29T00:59:00Z", jump),
            ("2026-03-29T01:00:00Z", None),
        ],
    );
    check(
        &hours("02:30", "04:00", "Europe/Berlin"),
        &[
            ("2026-03-29T00:59:00Z", None),
            ("2026-03-29T01:00:00Z", Some("2026-03-29T02:00:00Z")),
        ],
    );
    let skipped = hours("02:10", "02:50", "Europe/Berlin");
    check(
        &skipped,
        &[
            ("2026-03-29T00:59:00Z", None),
            ("2026-03-29T01:00:00Z", None),
            ("2026-03-30T00:10:00Z", Some("2026-03-30T00:50:00Z")),
        ],
    );
}

#[test]
fn an_unknown_time_zone_and_a_time_out_of_range_are_never_quiet() {
    let nowhere = hours("00:00", "23:59", "Mars/Base");
    check(&nowhere, &[("2026-01-14T12:00:00Z", None)]);
    let night = hours("22:00", "07:00", "UTC");
    for ms in [i64::MIN, i64::MAX] {
        assert_eq!(night.until(Timestamp(ms)), None);
    }
}

/// What the clock shows in each minute around a moment, and from it the periods: each reaches
/// from the first to the last minute in which the clock shows a time of it.
struct Watched(BTreeMap<Date, (i64, i64)>);

impl Watched {
    fn new(hours: &QuietHours, minute: i64) -> Self {
        let zone = TimeZoneDatabase::bundled().get(&hours.time_zone).unwrap();
        let (from, to) = (hours.from.civil(), hours.to.civil());
        let goes_over = to <= from;
        let mut periods = BTreeMap::new();
        for minute in minute - 3 * DAY_MINUTES..minute + 9 * DAY_MINUTES {
            let moment = jiff::Timestamp::from_millisecond(minute * MINUTE_MS).unwrap();
            let shown = zone.to_datetime(moment);
            let is_evening = shown.time() >= from && (goes_over || shown.time() < to);
            let is_morning = goes_over && shown.time() < to;
            for (is_shown, days_before) in [(is_evening, 0), (is_morning, 1)] {
                let day = shown.date() - days_before.days();
                if is_shown && hours.days.contains(Day::of(day)) {
                    let (_, last) = periods.entry(day).or_insert((minute, minute));
                    *last = minute;
                }
            }
        }
        Self(periods)
    }

    fn is_quiet(&self, minute: i64) -> bool {
        let mut periods = self.0.values();
        periods.any(|(first, last)| (*first..=*last).contains(&minute))
    }

    fn until(&self, minute: i64) -> Option<Timestamp> {
        let end = (minute..).find(|minute| !self.is_quiet(*minute))?;
        (end > minute).then_some(Timestamp(end * MINUTE_MS))
    }
}

/// Zones that set their clocks in all ways, and from 2005 to 2037 all moments at which one does.
fn changes() -> Vec<(&'static str, i64)> {
    const ZONES: [&str; 16] = [
        "Europe/Berlin",
        "Europe/London",
        "Europe/Istanbul",
        "America/New_York",
        "America/Sao_Paulo",
        "America/Havana",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Chatham",
        "Africa/Casablanca",
        "Africa/Cairo",
        "Asia/Gaza",
        "Asia/Kathmandu",
        "Antarctica/Troll",
        "UTC",
    ];
    let database = TimeZoneDatabase::bundled();
    let (begin, end) = ("2005-01-01T00:00Z", "2037-01-01T00:00Z");
    let (begin, end): (jiff::Timestamp, jiff::Timestamp) =
        (begin.parse().unwrap(), end.parse().unwrap());
    let mut changes = Vec::new();
    for name in ZONES {
        let zone = database.get(name).unwrap();
        changes.push((name, begin.as_second() / 60));
        let later = zone.following(begin).take_while(|it| it.timestamp() < end);
        changes.extend(later.map(|it| (name, it.timestamp().as_second() / 60)));
    }
    changes
}

/// Hours near which clocks are set are more likely than others.
fn any_time() -> impl Strategy<Value = TimeOfDay> {
    let hour = prop_oneof![0u8..4, 0u8..24, Just(23u8)];
    let minute = prop_oneof![Just(0u8), Just(30), 0u8..60];
    (hour, minute).prop_map(|(hour, minute)| TimeOfDay::new(hour, minute).unwrap())
}

fn any_hours() -> impl Strategy<Value = QuietHours> {
    let days = prop_oneof![
        Just(Day::ALL.to_vec()),
        proptest::collection::vec(proptest::sample::select(Day::ALL.to_vec()), 1..7),
    ];
    let hours = (any_time(), any_time(), days).prop_map(|(from, to, days)| QuietHours {
        from,
        to,
        days: days.into(),
        time_zone: String::new(),
    });
    hours.prop_filter("they end", |hours| !hours.is_endless())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn quiet_is_when_the_clock_shows_it(
        hours in any_hours(),
        (time_zone, change) in proptest::sample::select(changes()),
        around in prop_oneof![-200i64..200, -2 * DAY_MINUTES..2 * DAY_MINUTES],
        ms in 0..MINUTE_MS,
    ) {
        let hours = QuietHours { time_zone: time_zone.to_owned(), ..hours };
        let minute = change + around;
        let expected = Watched::new(&hours, minute).until(minute);
        let now = Timestamp(minute * MINUTE_MS + ms);
        prop_assert_eq!(hours.until(now), expected, "{} in {:?}", now, hours);
    }
}
