use proptest::prelude::*;

use super::*;
use crate::people::{Chosen, Core, CustomStatus, Effect, Publicly, Shown, Status};

const NOW: Timestamp = Timestamp(1_000);

/// The effects in short: `online alice`, `track presence:a busy`.
fn short(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(in_short).collect()
}

fn in_short(effect: &Effect) -> String {
    let status =
        |meta: &crate::presence::Meta| meta.to_map()["status"].as_str().unwrap().to_owned();
    let to = |publicly: &Publicly| match publicly {
        Publicly::Everyone { topics } => topics.join(","),
        Publicly::Nobody => "only them".into(),
    };
    match effect {
        Effect::Online { person, .. } => format!("online {}", person.user),
        Effect::Offline {
            person,
            last_seen,
            topics,
        } => {
            format!(
                "offline {} {:?} {}",
                person.user,
                last_seen.map(|at| at.0),
                topics.join(",")
            )
        }
        Effect::StatusChanged {
            status, publicly, ..
        } => format!("{status:?} to {}", to(publicly)),
        Effect::CustomChanged {
            custom, publicly, ..
        } => {
            let text = custom.as_ref().map(|custom| custom.text.as_str());
            format!("words {text:?} to {}", to(publicly))
        }
        Effect::DevicesChanged { devices, .. } => {
            let names = devices.iter().map(|device| match &device.device_id {
                Some(id) => id.as_str(),
                None => "?",
            });
            format!("devices {}", names.collect::<Vec<_>>().join(","))
        }
        Effect::Track { topic, meta, .. } => format!("track {topic} {}", status(meta)),
        Effect::Update { topic, meta, .. } => format!("update {topic} {}", status(meta)),
        Effect::Untrack { topic, .. } => format!("untrack {topic}"),
        Effect::KeepLastSeen { person, at } => format!("keep {} {}", person.user, at.0),
    }
}

fn chosen(status: Status) -> Chosen {
    Chosen {
        status,
        custom: None,
    }
}

fn with_words(custom: CustomStatus) -> Chosen {
    Chosen {
        status: Status::Online,
        custom: Some(Box::new(custom)),
    }
}

/// Alice, online with one channel on `presence:a`.
fn alice_on_a() -> Core {
    let mut core = Core::default();
    core.joined(&person("alice"), None, tracker(1, 1), device("phone"), NOW);
    core.entered(&person("alice"), tracker(1, 1), &topic("presence:a"))
        .unwrap();
    core
}

#[test]
fn the_first_socket_brings_a_person_online_and_the_last_takes_them_away() {
    let (mut core, alice) = (Core::default(), person("alice"));
    let mut join =
        |connection, slot| short(&core.joined(&alice, None, tracker(connection, slot), None, NOW));
    assert_eq!(join(1, 1), ["online alice"]);
    assert!(join(1, 2).is_empty(), "another channel of the socket");
    assert_eq!(join(2, 1), ["devices ?,?"], "another tab");
    assert!(core.ended(&alice, tracker(1, 1), NOW).is_empty());
    let other_tab_stays = core.ended(&alice, tracker(1, 2), NOW);
    assert_eq!(short(&other_tab_stays), ["devices ?"]);
    let gone = core.ended(&alice, tracker(2, 1), Timestamp(9));
    assert_eq!(short(&gone), ["offline alice None ", "keep alice 9"]);
    assert!(core.is_empty());
}

#[test]
fn a_person_learns_which_devices_they_are_connected_with() {
    let (mut core, alice) = (Core::default(), person("alice"));
    let mut join = |connection, name| {
        let tracker = tracker(connection, 1);
        short(&core.joined(&alice, None, tracker, device(name), NOW))
    };
    assert_eq!(join(1, "phone"), ["online alice"]);
    assert_eq!(join(2, "laptop"), ["devices phone,laptop"]);
    assert!(join(3, "laptop").is_empty(), "a second tab of the same");
    let mut end = |connection| short(&core.ended(&alice, tracker(connection, 1), NOW));
    assert!(end(2).is_empty(), "the other tab is there");
    assert_eq!(end(3), ["devices phone"]);
    assert_eq!(end(1), ["offline alice None ", "keep alice 1000"]);
}

#[test]
fn the_topics_of_a_dying_socket_hear_that_its_person_went_offline() {
    let (mut core, alice) = (alice_on_a(), person("alice"));
    core.joined(&alice, None, tracker(1, 2), None, NOW);
    core.entered(&alice, tracker(1, 2), &topic("presence:b"))
        .unwrap();
    assert_eq!(
        short(&core.ended(&alice, tracker(1, 1), NOW)),
        ["untrack presence:a"]
    );
    let end = core.ended(&alice, tracker(1, 2), NOW);
    let expected = [
        "untrack presence:b",
        "offline alice None presence:a,presence:b",
        "keep alice 1000",
    ];
    assert_eq!(short(&end), expected);
}

#[test]
fn last_seen_is_told_only_when_everyone_may_know() {
    let (mut core, alice) = (Core::default(), person("alice"));
    let kept = profile("alice", "{}");
    core.joined(&alice, Some(&kept), tracker(1, 1), None, NOW);
    let end = core.ended(&alice, tracker(1, 1), Timestamp(7));
    assert_eq!(short(&end)[0], "offline alice Some(7) ");
}

#[test]
fn a_change_of_status_is_told_and_shown_wherever_the_person_is() {
    let mut core = alice_on_a();
    let effects = core
        .choose(&person("alice"), chosen(Status::Busy), NOW)
        .unwrap();
    assert_eq!(
        short(&effects),
        ["update presence:a busy", "Busy to presence:a"]
    );
    let again = core
        .choose(&person("alice"), chosen(Status::Busy), NOW)
        .unwrap();
    assert!(again.is_empty(), "nothing changed");
}

#[test]
fn going_invisible_looks_like_going_offline() {
    let (mut core, alice) = (alice_on_a(), person("alice"));
    let effects = core
        .choose(&alice, chosen(Status::Invisible), Timestamp(50))
        .unwrap();
    let expected = [
        "untrack presence:a",
        "offline alice None presence:a",
        "keep alice 50",
        "Invisible to only them",
    ];
    assert_eq!(short(&effects), expected);
    let seen = core.seen(&alice).unwrap();
    assert_eq!(
        (seen.status, seen.last_seen),
        (Shown::Offline, Some(Timestamp(50)))
    );
    assert!(seen.devices.is_empty() && seen.custom_status.is_none());
    assert_eq!(core.seen_by_self(&alice).unwrap().status, Shown::Invisible);
    assert!(core.online(&alice.workspace, None, 10).is_empty());
}

#[test]
fn nothing_an_invisible_person_does_is_told() {
    let (mut core, alice) = (Core::default(), person("alice"));
    let kept = profile("alice", r#"{"status":"invisible"}"#);
    let joined = core.joined(&alice, Some(&kept), tracker(1, 1), None, NOW);
    assert!(joined.is_empty());
    let entered = core
        .entered(&alice, tracker(1, 1), &topic("presence:a"))
        .unwrap();
    assert!(entered.is_empty());
    assert!(
        core.viewing(&alice, ConnectionId(1), "presence:a")
            .is_empty()
    );
    let custom = Chosen {
        status: Status::Invisible,
        custom: Some(Box::new(busy_with("hush", None))),
    };
    let effects = core.choose(&alice, custom, NOW).unwrap();
    assert_eq!(short(&effects), [r#"words Some("hush") to only them"#]);
    assert_eq!(
        core.seen(&alice).unwrap().last_seen,
        Some(Timestamp(5)),
        "as it was before"
    );
    assert!(core.ended(&alice, tracker(1, 1), NOW).is_empty());
}

#[test]
fn coming_back_from_invisible_looks_like_coming_online() {
    let (mut core, alice) = (alice_on_a(), person("alice"));
    core.choose(&alice, chosen(Status::Invisible), NOW).unwrap();
    let effects = core.choose(&alice, chosen(Status::Away), NOW).unwrap();
    assert_eq!(
        short(&effects),
        ["online alice", "track presence:a away", "Away to only them"]
    );
}

#[test]
fn a_room_left_while_invisible_is_not_shown_again() {
    let (mut core, alice) = (alice_on_a(), person("alice"));
    core.joined(&alice, None, tracker(2, 1), None, NOW);
    core.choose(&alice, chosen(Status::Invisible), NOW).unwrap();
    core.ended(&alice, tracker(1, 1), NOW);
    let effects = core.choose(&alice, chosen(Status::Online), NOW).unwrap();
    assert_eq!(short(&effects), ["online alice", "Online to only them"]);
}

#[test]
fn what_was_chosen_comes_back_from_the_profile() {
    let (mut core, alice) = (Core::default(), person("alice"));
    let kept = profile(
        "alice",
        r#"{"status":"dnd","custom":{"text":"deep in code"}}"#,
    );
    core.joined(&alice, Some(&kept), tracker(1, 1), device("phone"), NOW);
    let seen = core.seen(&alice).unwrap();
    assert_eq!(seen.status, Shown::Dnd);
    assert_eq!(seen.custom_status.unwrap().text, "deep in code");
    assert_eq!(seen.last_seen, None, "they are here");
}

#[test]
fn a_custom_status_clears_itself_in_its_time() {
    let (mut core, alice) = (alice_on_a(), person("alice"));
    core.choose(
        &alice,
        with_words(busy_with("lunch", Some(Timestamp(2000)))),
        NOW,
    )
    .unwrap();
    assert_eq!(core.next_expiry(), Some(Timestamp(2000)));
    assert!(core.expire(Timestamp(1999)).is_empty());
    let effects = core.expire(Timestamp(2000));
    assert_eq!(
        short(&effects),
        ["update presence:a online", "words None to presence:a"]
    );
    assert_eq!(core.next_expiry(), None);
}

#[test]
fn a_replaced_custom_status_does_not_clear_the_next() {
    let (mut core, alice) = (alice_on_a(), person("alice"));
    core.choose(
        &alice,
        with_words(busy_with("lunch", Some(Timestamp(2000)))),
        NOW,
    )
    .unwrap();
    core.choose(&alice, with_words(busy_with("walk", None)), NOW)
        .unwrap();
    assert!(core.expire(Timestamp(3000)).is_empty());
    assert_eq!(
        core.seen(&alice).unwrap().custom_status.unwrap().text,
        "walk"
    );
}

#[test]
fn a_custom_status_that_ran_out_while_nobody_was_there_is_not_shown() {
    let (mut core, alice) = (Core::default(), person("alice"));
    let text = r#"{"custom":{"text":"lunch","expires_at":"1970-01-01T00:00:00.900Z"}}"#;
    core.joined(
        &alice,
        Some(&profile("alice", text)),
        tracker(1, 1),
        None,
        NOW,
    );
    assert_eq!(core.seen(&alice).unwrap().custom_status, None);
    assert_eq!(core.next_expiry(), None);
}

#[test]
fn devices_are_listed_once_each() {
    let (mut core, alice) = (Core::default(), person("alice"));
    for (connection, name) in [(1, "phone"), (2, "web"), (3, "web")] {
        core.joined(&alice, None, tracker(connection, 1), device(name), NOW);
    }
    let devices = core.seen(&alice).unwrap().devices;
    let names: Vec<_> = devices
        .iter()
        .map(|seen| seen.device_id.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(names, ["phone", "web"]);
}

#[test]
fn one_looks_at_one_conversation_at_a_time() {
    let (mut core, alice) = (alice_on_a(), person("alice"));
    core.joined(&alice, None, tracker(1, 2), None, NOW);
    core.entered(&alice, tracker(1, 2), &topic("presence:b"))
        .unwrap();
    let activity = |effects: &[Effect]| -> Vec<String> {
        let of = |effect: &Effect| match effect {
            Effect::Update { topic, meta, .. } => {
                format!(
                    "{topic} {:?}",
                    meta.to_map().get("activity").and_then(|a| a.as_str())
                )
            }
            other => panic!("unexpected {other:?}"),
        };
        effects.iter().map(of).collect()
    };
    let looks = core.viewing(&alice, ConnectionId(1), "presence:a");
    assert_eq!(activity(&looks), [r#"presence:a Some("viewing")"#]);
    let turns = core.viewing(&alice, ConnectionId(1), "presence:b");
    assert_eq!(
        activity(&turns),
        ["presence:a None", r#"presence:b Some("viewing")"#]
    );
    assert!(
        core.viewing(&alice, ConnectionId(1), "presence:b")
            .is_empty()
    );
}

#[test]
fn people_are_listed_by_workspace_and_page() {
    let mut core = Core::default();
    for user in ["carol", "alice", "bob"] {
        core.joined(&person(user), None, tracker(1, 1), None, NOW);
    }
    let elsewhere = Person {
        workspace: WorkspaceId::new("v").unwrap(),
        user: UserId::new("eve").unwrap(),
    };
    core.joined(&elsewhere, None, tracker(9, 1), None, NOW);
    let page = |after: Option<&str>| -> Vec<String> {
        let after = after.map(|user| UserId::new(user).unwrap());
        let page = core.online(&person("alice").workspace, after.as_ref(), 2);
        page.into_iter()
            .map(|seen| seen.user_id.to_string())
            .collect()
    };
    assert_eq!(page(None), ["alice", "bob"]);
    assert_eq!(page(Some("bob")), ["carol"]);
    assert_eq!(core.len(), 4);
}

#[test]
fn a_custom_status_has_limits() {
    let refused = |custom: CustomStatus| custom.validate(NOW).err().map(|error| error.field);
    assert_eq!(refused(busy_with(&"x".repeat(101), None)), Some("text"));
    assert_eq!(
        refused(busy_with(&"\u{e9}".repeat(100), None)),
        None,
        "characters, not bytes"
    );
    assert_eq!(refused(busy_with("", None)), Some("text"));
    assert_eq!(refused(busy_with("x", Some(NOW))), Some("expires_at"));
    let long_emoji = CustomStatus {
        emoji: Some("x".repeat(65)),
        ..busy_with("x", None)
    };
    assert_eq!(refused(long_emoji), Some("emoji"));
}

proptest! {
    /// Whatever happens: what is tracked is what visible people have entered, and everyone hears
    /// comings and goings in turn.
    #[test]
    fn the_public_picture_is_consistent(
        steps in prop::collection::vec((0..6u8, 0..3u64, 0..3u32), 1..150)
    ) {
        let (mut core, alice) = (Core::default(), person("alice"));
        let (mut joined, mut entered, mut tracked) = (vec![], vec![], vec![]);
        let (mut online, mut hidden) = (false, false);
        for (what, connection, slot) in steps {
            let who = tracker(connection, slot);
            let effects = match what {
                0 | 1 if !joined.contains(&who) => {
                    hidden &= !joined.is_empty();
                    joined.push(who);
                    core.joined(&alice, None, who, None, NOW)
                }
                2 if joined.contains(&who) && !entered.contains(&who) => {
                    entered.push(who);
                    core.entered(&alice, who, &topic("presence:a")).unwrap()
                }
                3 if joined.contains(&who) => {
                    joined.retain(|other| *other != who);
                    entered.retain(|other| *other != who);
                    core.ended(&alice, who, NOW)
                }
                4 | 5 if !joined.is_empty() => {
                    hidden = what == 4;
                    let status = if hidden { Status::Invisible } else { Status::Online };
                    core.choose(&alice, chosen(status), NOW).unwrap()
                }
                _ => vec![],
            };
            for effect in effects {
                match effect {
                    Effect::Online { .. } => prop_assert!(!std::mem::replace(&mut online, true)),
                    Effect::Offline { .. } => prop_assert!(std::mem::replace(&mut online, false)),
                    Effect::Track { tracker, .. } => {
                        prop_assert!(!tracked.contains(&tracker));
                        tracked.push(tracker);
                    }
                    Effect::Untrack { tracker, .. } => {
                        prop_assert!(tracked.contains(&tracker));
                        tracked.retain(|other| *other != tracker);
                    }
                    _ => {}
                }
            }
            let is_there = !joined.is_empty();
            prop_assert_eq!(online, is_there && !hidden);
            prop_assert_eq!(core.knows(&alice), is_there);
            let expected = if hidden { 0 } else { entered.len() };
            prop_assert_eq!(tracked.len(), expected);
        }
    }
}
