//! The core by script.

use quikapp_storage::{EntryId, PendingConversation, Seq};

use super::*;
use crate::registered::{Details, Platform, Registration};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn id(name: &str) -> ConversationId {
    ConversationId::from_stored(name)
}

fn ids(names: &[&str]) -> Vec<ConversationId> {
    names.iter().map(|name| id(name)).collect()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("an id")
}

fn look(person: u64, conversations: &[(&str, u64)]) -> Input {
    let counts = conversations.iter();
    Input::Look {
        person,
        conversations: counts.map(|(name, count)| (id(name), *count)).collect(),
    }
}

fn unread(unread: u64) -> Tally {
    Tally {
        unread,
        ..Tally::default()
    }
}

fn nothing_waits() -> Input {
    Input::Waiting {
        queue: PendingQueue::default(),
        devices: Vec::new(),
    }
}

/// Somebody in two conversations, of whom everything is known.
fn known() -> Core {
    let mut core = Core::default();
    let first = core.handle(look(0, &[]), NOW);
    assert_eq!(first, [Effect::ReadMemberships, Effect::ReadWaiting]);
    let watch = core.handle(Input::Memberships(ids(&["a", "b"])), NOW);
    assert_eq!(watch, [Effect::Watch(ids(&["a", "b"]))]);
    core.handle(nothing_waits(), NOW);
    let second = core.handle(look(0, &[("a", 0), ("b", 0)]), NOW);
    assert_eq!(
        second,
        [Effect::Count(ids(&["a", "b"])), Effect::ReadWaiting]
    );
    core.handle(Input::Counted(id("a"), unread(2)), NOW);
    core.handle(Input::Counted(id("b"), unread(0)), NOW);
    core.handle(nothing_waits(), NOW);
    core
}

#[test]
fn what_is_known_is_not_read_again() {
    let mut core = known();
    assert_eq!(core.handle(look(0, &[("a", 0), ("b", 0)]), NOW), []);
    let shown = core.overview(&[], &Registered::default(), NOW);
    assert_eq!((shown.badge, shown.unread, shown.more), (2, 2, false));
    assert_eq!(shown.conversations.len(), 1, "what is read is not listed");
}

#[test]
fn only_what_has_moved_is_read_again() {
    let mut core = known();
    let moved = core.handle(look(0, &[("a", 0), ("b", 3)]), NOW);
    assert_eq!(moved, [Effect::Count(ids(&["b"])), Effect::ReadWaiting]);
    // Nothing came of it: it is asked for again.
    let again = core.handle(look(0, &[("a", 0), ("b", 3)]), NOW);
    assert_eq!(again, moved);
}

#[test]
fn a_count_that_moved_while_it_was_read_is_looked_at_again() {
    let mut core = known();
    core.handle(look(0, &[("a", 0), ("b", 3)]), NOW);
    core.handle(Input::Counted(id("b"), unread(1)), NOW);
    core.handle(nothing_waits(), NOW);
    let moved = core.handle(look(0, &[("a", 0), ("b", 4)]), NOW);
    assert_eq!(moved, [Effect::Count(ids(&["b"])), Effect::ReadWaiting]);
}

#[test]
fn memberships_come_and_go() {
    let mut core = known();
    let moved = core.handle(look(1, &[("a", 0), ("b", 0)]), NOW);
    assert_eq!(moved, [Effect::ReadMemberships, Effect::ReadWaiting]);
    let watches = core.handle(Input::Memberships(ids(&["b", "c"])), NOW);
    let expected = [Effect::Unwatch(ids(&["a"])), Effect::Watch(ids(&["c"]))];
    assert_eq!(watches, expected);
    core.handle(nothing_waits(), NOW);
    assert_eq!(
        core.overview(&[], &Registered::default(), NOW).unread,
        0,
        "what was left is gone"
    );
    let next = core.handle(look(1, &[("b", 0), ("c", 0)]), NOW);
    assert_eq!(next, [Effect::Count(ids(&["c"])), Effect::ReadWaiting]);
}

#[test]
fn watches_that_a_failed_question_lost_are_put_right() {
    let mut core = known();
    core.handle(look(1, &[("a", 0), ("b", 0)]), NOW);
    core.handle(Input::Memberships(ids(&["b", "c"])), NOW);
    // The store failed before anything came of it.
    let right = core.handle(look(1, &[("a", 0), ("b", 0)]), NOW);
    let expected = [
        Effect::Unwatch(ids(&["a"])),
        Effect::Watch(ids(&["c"])),
        Effect::ReadWaiting,
    ];
    assert_eq!(right, expected);
    core.handle(nothing_waits(), NOW);
    let next = core.handle(look(1, &[("b", 0), ("c", 9)]), NOW);
    assert_eq!(next, [Effect::Count(ids(&["c"])), Effect::ReadWaiting]);
}

#[test]
fn after_a_while_everything_is_read_again() {
    let counts = [("a", 0), ("b", 0)];
    for (later, is_old) in [(FRESH - 1, false), (FRESH, true), (-1, true)] {
        let mut core = known();
        let effects = core.handle(look(0, &counts), Timestamp(NOW.0 + later));
        let expected = [
            Effect::ReadMemberships,
            Effect::Count(ids(&["a", "b"])),
            Effect::ReadWaiting,
        ];
        assert_eq!(effects, expected[if is_old { 0 } else { 3 }..], "{later}");
    }
}

#[test]
fn the_badge_leaves_out_what_is_muted_while_it_is() {
    let mut core = known();
    let until = Timestamp(NOW.0 + 1_000);
    let root = EntryId::generate();
    let tally = Tally {
        unread: 5,
        threads: vec![(root, 3)],
        mute: Some(Mute {
            until: Some(until),
            mentions_only: false,
        }),
    };
    core.handle(Input::Counted(id("b"), tally), NOW);
    let shown = core.overview(&[], &Registered::default(), NOW);
    assert_eq!((shown.badge, shown.unread), (2, 10));
    assert_eq!(
        shown.conversations[1].threads,
        [InThread { root, unread: 3 }]
    );
    assert!(shown.conversations[1].mute.is_some());
    let shown = core.overview(&[], &Registered::default(), until);
    assert_eq!((shown.badge, shown.unread), (10, 10));
    assert!(shown.conversations[1].mute.is_none());
}

#[test]
fn a_long_list_is_cut_and_its_sums_are_not() {
    let mut core = Core::default();
    let all: Vec<_> = (0..LISTED + 5).map(|n| id(&format!("{n:05}"))).collect();
    core.handle(Input::Memberships(all.clone()), NOW);
    for id in all {
        core.handle(Input::Counted(id, unread(1)), NOW);
    }
    let shown = core.overview(&[], &Registered::default(), NOW);
    assert_eq!(shown.conversations.len(), LISTED);
    assert!(shown.more);
    assert_eq!(shown.badge, LISTED as u64 + 5);
}

#[test]
fn a_device_beyond_reach_is_measured_once_for_each_place() {
    let mut core = known();
    let cursor = |text: &str| Some(StreamCursor(text.to_owned()));
    let waiting = |cursor: Option<StreamCursor>| Input::Waiting {
        queue: PendingQueue {
            total: 7,
            conversations: [9, 4].map(part).into(),
        },
        devices: vec![(device("laptop"), None), (device("phone"), cursor)],
    };
    let measure = |text: &str| {
        vec![Effect::Measure(vec![(
            device("phone"),
            StreamCursor(text.to_owned()),
        )])]
    };
    assert_eq!(core.handle(waiting(cursor("1")), NOW), measure("1"));
    core.handle(Input::Measured(device("phone"), true), NOW);
    assert_eq!(core.handle(waiting(cursor("1")), NOW), []);
    let nothing = Registered::default();
    let pending = core.overview(&[device("laptop")], &nothing, NOW).pending;
    assert_eq!((pending.count, pending.oldest), (7, Some(Timestamp(4))));
    let shown = pending.devices.iter();
    let shown: Vec<_> = shown
        .map(|it| (it.device_id.as_str(), it.is_connected, it.reset_required))
        .collect();
    assert_eq!(shown, [("laptop", true, false), ("phone", false, true)]);
    assert_eq!(core.handle(waiting(cursor("2")), NOW), measure("2"));
    core.handle(Input::Measured(device("phone"), false), NOW);
    assert_eq!(core.handle(waiting(cursor("2")), NOW), measure("2"));
}

/// Registered or not, known devices are shown; others are not.
#[test]
fn registered_devices_are_shown_with_what_they_are() {
    let mut core = known();
    let waiting = Input::Waiting {
        queue: PendingQueue::default(),
        devices: vec![(device("phone"), None), (device("laptop"), None)],
    };
    core.handle(waiting, NOW);
    let mut registered = Registered::default();
    for name in ["phone", "tablet"] {
        let registration = Registration {
            device_id: device(name),
            platform: Platform::Ios,
            details: Details {
                name: Some(Some(format!("my {name}"))),
                ..Details::default()
            },
        };
        let done = registered.register(registration, None, NOW);
        assert!(done.is_ok());
    }
    let shown = core.overview(&[], &registered, NOW).pending.devices;
    let shown = shown.iter();
    let shown: Vec<_> = shown
        .map(|it| (it.device_id.as_str(), it.platform, it.name.as_deref()))
        .collect();
    let expected = [
        ("laptop", None, None),
        ("phone", Some(Platform::Ios), Some("my phone")),
    ];
    assert_eq!(shown, expected);
}

fn part(oldest: i64) -> PendingConversation {
    PendingConversation {
        conversation: id("a"),
        first: Seq(1),
        last: Seq(1),
        count: 1,
        oldest: Timestamp(oldest),
        urgent: false,
    }
}

#[test]
fn a_conversation_takes_little_and_no_spare_room_is_kept() {
    assert!(size_of::<Known>() <= 56, "{} bytes", size_of::<Known>());
    let mut core = known();
    core.handle(look(1, &[("a", 0), ("b", 0)]), NOW);
    core.handle(Input::Memberships(ids(&["a", "b", "c", "d", "e"])), NOW);
    assert_eq!(core.conversations.capacity(), 5);
    let told = |core: &Core| {
        core.conversations
            .iter()
            .filter(|it| it.tally.is_some())
            .count()
    };
    assert_eq!(told(&core), 1, "only of what has something to tell");
    core.handle(Input::Counted(id("a"), unread(0)), NOW);
    assert_eq!(told(&core), 0);
}

#[test]
fn memberships_may_come_in_any_order() {
    let mut core = known();
    core.handle(look(1, &[("a", 0), ("b", 0)]), NOW);
    let watches = core.handle(Input::Memberships(ids(&["d", "b", "c", "b"])), NOW);
    let expected = [
        Effect::Unwatch(ids(&["a"])),
        Effect::Watch(ids(&["c", "d"])),
    ];
    assert_eq!(watches, expected);
}
