use super::*;
use crate::presence::{AlreadyTracked, Counts, NotTracked};

#[test]
fn a_track_is_one_join_with_a_ref() {
    let mut replica = replica(1);
    let (room, alice) = (text("room"), text("alice"));
    let diff = replica
        .track(
            tracker(1, 1),
            &room,
            &alice,
            meta(json!({"device": "phone"})),
        )
        .unwrap();
    assert!(diff.leaves.is_empty());
    let joins = wire(&diff.joins);
    assert_eq!(joins["alice"]["metas"][0]["device"], "phone");
    assert!(joins["alice"]["metas"][0]["phx_ref"].is_string());
    assert!(joins["alice"]["metas"][0].get("phx_ref_prev").is_none());
    assert_eq!(wire(&replica.list("room")), joins);
}

#[test]
fn an_update_is_one_diff_and_names_the_ref_it_replaces() {
    let mut replica = replica(1);
    let (room, alice) = (text("room"), text("alice"));
    let me = tracker(1, 1);
    let first = replica
        .track(me, &room, &alice, meta(json!({"n": 1})))
        .unwrap();
    let second = replica
        .update(me, &room, &alice, |_| meta(json!({"n": 2})))
        .unwrap();
    let third = replica
        .update(me, &room, &alice, |_| meta(json!({"n": 3})))
        .unwrap();

    let joined = |diff: &crate::presence::Diff| wire(&diff.joins)["alice"]["metas"][0].clone();
    let left = |diff: &crate::presence::Diff| wire(&diff.leaves)["alice"]["metas"][0].clone();
    assert_eq!(left(&second), joined(&first));
    assert_eq!(joined(&second)["phx_ref_prev"], joined(&first)["phx_ref"]);
    assert_eq!(left(&third), joined(&second));
    assert_eq!(plain(&replica.list("room")), json!({"alice": [{"n": 3}]}));
}

#[test]
fn an_update_sees_what_was_there() {
    let mut replica = replica(1);
    let (room, alice) = (text("room"), text("alice"));
    replica
        .track(tracker(1, 1), &room, &alice, meta(json!({"a": 1})))
        .unwrap();
    let merge = |old: &Meta| {
        let mut members = old.to_map();
        members.insert("b".into(), json!(2));
        Meta::new(members)
    };
    replica.update(tracker(1, 1), &room, &alice, merge).unwrap();
    assert_eq!(
        plain(&replica.list("room")),
        json!({"alice": [{"a": 1, "b": 2}]})
    );
}

#[test]
fn devices_of_one_key_are_metas_of_their_own() {
    let mut replica = replica(1);
    let (room, alice) = (text("room"), text("alice"));
    replica
        .track(tracker(1, 1), &room, &alice, meta(json!({"d": "phone"})))
        .unwrap();
    replica
        .track(tracker(2, 1), &room, &alice, meta(json!({"d": "web"})))
        .unwrap();
    assert_eq!(replica.counts("room"), Counts { keys: 1, metas: 2 });
    assert_eq!(replica.get("room", "alice").len(), 2);

    let gone = replica.untrack_connection(ConnectionId(1));
    assert_eq!(plain(&gone[0].leaves), json!({"alice": [{"d": "phone"}]}));
    assert_eq!(
        plain(&replica.list("room")),
        json!({"alice": [{"d": "web"}]})
    );
}

#[test]
fn a_key_is_tracked_once_by_each_channel() {
    let mut replica = replica(1);
    let (room, bot) = (text("room"), text("bot"));
    replica
        .track(tracker(1, 1), &room, &bot, Meta::default())
        .unwrap();
    let again = replica.track(tracker(1, 1), &room, &bot, Meta::default());
    assert_eq!(again.unwrap_err(), AlreadyTracked);
    assert!(
        replica
            .track(tracker(1, 2), &room, &bot, Meta::default())
            .is_ok()
    );
}

#[test]
fn what_is_not_tracked_is_neither_updated_nor_untracked() {
    let mut replica = replica(1);
    let (room, alice) = (text("room"), text("alice"));
    replica
        .track(tracker(1, 1), &room, &alice, Meta::default())
        .unwrap();
    let others = tracker(1, 2);
    assert_eq!(
        replica.untrack(others, &room, &alice).unwrap_err(),
        NotTracked
    );
    let update = replica.update(others, &room, &alice, Meta::clone);
    assert_eq!(update.unwrap_err(), NotTracked);
}

#[test]
fn the_end_of_a_channel_takes_only_its_own() {
    let mut replica = replica(1);
    let alice = text("alice");
    for (slot, room) in [(1, "a"), (1, "b"), (2, "c")] {
        replica
            .track(tracker(7, slot), &text(room), &alice, Meta::default())
            .unwrap();
    }
    let diffs = replica.untrack_channel(tracker(7, 1));
    let topics: Vec<_> = diffs.iter().map(|diff| diff.topic.as_ref()).collect();
    assert_eq!(topics, ["a", "b"]);
    assert_eq!(replica.counts("c").keys, 1);
}

#[test]
fn any_key_is_an_ordinary_key() {
    let mut replica = replica(1);
    let keys = ["__proto__", "constructor", "", "1", "a\"b\\c", "\u{1f600}"];
    for (slot, key) in (0..).zip(keys) {
        replica
            .track(tracker(1, slot), &text("room"), &text(key), Meta::default())
            .unwrap();
    }
    let state = replica.list("room").to_payload();
    let state: std::collections::BTreeMap<String, Value> = state.parse().unwrap();
    for key in keys {
        assert_eq!(state[key]["metas"].as_array().unwrap().len(), 1, "{key:?}");
    }
    assert_eq!(state.len(), keys.len());
}

#[test]
fn refs_belong_to_the_server() {
    let mut replica = replica(1);
    let forged = meta(json!({"phx_ref": "forged", "phx_ref_prev": "x", "ok": true}));
    let diff = replica
        .track(tracker(1, 1), &text("room"), &text("k"), forged)
        .unwrap();
    let joined = wire(&diff.joins)["k"]["metas"][0].clone();
    assert_ne!(joined["phx_ref"], "forged");
    assert!(joined.get("phx_ref_prev").is_none());
    assert_eq!(joined["ok"], true);
}
