//! Every rule: the smallest history that breaks it, and its twin that does not.
#![allow(clippy::unwrap_used)]

#[path = "rules/erasure.rs"]
mod erasure;
#[path = "rules/kinds.rs"]
mod kinds;
#[path = "rules/script.rs"]
mod script;

use quikapp_history::{HistoryError, Rule, check};
use script::History;
use serde_json::{Value, json};

#[test]
fn what_was_acknowledged_is_kept() {
    let sent = || History::new().invoke(1, "k1").ok(1, 1, "m1");
    sent().logged(1).end(1).passes();
    sent().end(0).breaks(Rule::AcknowledgedIsKept, &[4, 5]);
    let other = sent().logged_as(1, "m9", "k1").end(1);
    other.breaks(Rule::AcknowledgedIsKept, &[4, 5]);
    let other_key = sent().logged_as(1, "m1", "k9").end(1);
    other_key.breaks(Rule::AcknowledgedIsKept, &[4, 5]);
}

#[test]
fn what_was_acknowledged_without_a_place_is_kept() {
    let ok = json!({"event": "ok", "op": 1});
    let sent = || History::new().invoke(1, "k1").and(ok.clone());
    sent().logged(1).end(1).passes();
    sent().end(0).breaks(Rule::AcknowledgedIsKept, &[3, 4, 5]);
}

#[test]
fn an_acknowledged_removal_is_kept() {
    let removed = || History::new().bob(1, "remove");
    let left = json!({"users": ["bob"]});
    removed().entry(1, "member_left", &left).end(1).passes();
    removed().end(0).breaks(Rule::AcknowledgedIsKept, &[4]);
}

#[test]
fn one_place_is_not_acknowledged_twice() {
    let two = |seq| {
        let asked = History::new().invoke(1, "k1").invoke(2, "k2");
        asked
            .ok(1, 1, "m1")
            .ok(2, seq, "m2")
            .logged(1)
            .logged(2)
            .end(2)
    };
    two(2).passes();
    two(1).breaks(Rule::AcknowledgedIsKept, &[5, 6]);
}

#[test]
fn what_was_delivered_is_kept() {
    let shown = |id| History::new().resumed(0).shown_as(1, id);
    shown("m1").logged(1).end(1).passes();
    shown("m1").end(0).breaks(Rule::DeliveredIsKept, &[4, 5]);
    shown("m9")
        .logged(1)
        .end(1)
        .breaks(Rule::DeliveredIsKept, &[4, 5]);
}

#[test]
fn two_devices_see_the_same() {
    let both = |id| {
        let tablet = json!({"event": "resumed", "device": "tablet", "user": "bob", "after": 0});
        let shown = json!({"event": "delivered", "device": "tablet", "seq": 1, "kind": "message", "id": id});
        let first = History::new().resumed(0).shown(1);
        first.and(tablet).and(shown).logged(1).end(1)
    };
    both("m1").passes();
    both("m2").breaks(Rule::DeliveredIsKept, &[4, 6]);
}

#[test]
fn a_log_is_dense() {
    History::new().logged(1).logged(2).end(2).passes();
    History::new()
        .logged(1)
        .logged(3)
        .end(3)
        .breaks(Rule::LogIsDense, &[4]);
    History::new()
        .logged(2)
        .end(2)
        .breaks(Rule::LogIsDense, &[3]);
    History::new()
        .logged(1)
        .end(2)
        .breaks(Rule::LogIsDense, &[4]);
    let twice = History::new().logged(1).logged(2).logged(2).end(2);
    twice.breaks(Rule::LogIsDense, &[5]);
}

#[test]
fn a_device_misses_nothing() {
    let logged = |shown: History| shown.logged(1).logged(2).logged(3).end(3);
    logged(History::new().resumed(0).shown(1).shown(2).shown(3)).passes();
    let hole = logged(History::new().resumed(0).shown(1).shown(3));
    hole.breaks(Rule::NothingIsMissed, &[5]);
    let late = logged(History::new().resumed(0).shown(2));
    late.breaks(Rule::NothingIsMissed, &[4]);
}

#[test]
fn a_device_misses_nothing_over_an_interruption() {
    let logged = |shown: History| shown.logged(1).logged(2).logged(3).end(3);
    logged(History::new().resumed(0).shown(1).resumed(1).shown(2)).passes();
    let hole = logged(History::new().resumed(0).shown(1).resumed(1).shown(3));
    hole.breaks(Rule::NothingIsMissed, &[6]);
    // To go on further than one was is to miss what is between.
    let skip = logged(History::new().resumed(0).shown(1).resumed(2).shown(3));
    skip.breaks(Rule::NothingIsMissed, &[5]);
}

#[test]
fn a_device_misses_nothing_after_its_cursor() {
    let logged = |shown: History| shown.logged(1).logged(2).logged(3).end(3);
    let acked = || History::new().resumed(0).shown(1).shown(2).acked(1);
    logged(acked().by_cursor().shown(2).shown(3)).passes();
    logged(acked().by_cursor().shown(1).shown(2)).passes();
    logged(acked().by_cursor().shown(3)).breaks(Rule::NothingIsMissed, &[8]);
}

#[test]
fn a_device_that_had_time_has_everything() {
    let settled = |shown: History| shown.settled().logged(1).logged(2).end(2);
    settled(History::new().resumed(0).shown(1).shown(2)).passes();
    settled(History::new().resumed(2)).passes();
    settled(History::new().resumed(0).shown(1)).breaks(Rule::NothingIsMissed, &[5]);
}

#[test]
fn a_device_sees_the_order_of_the_log() {
    let logged = |shown: History| shown.logged(1).logged(2).logged(3).end(3);
    logged(History::new().resumed(0).shown(1).shown(2).shown(3)).passes();
    let swapped = logged(History::new().resumed(0).shown(1).shown(3).shown(2));
    swapped.breaks(Rule::InOrder, &[5, 6]);
}

#[test]
fn a_device_sees_nothing_twice() {
    let logged = |shown: History| shown.logged(1).logged(2).end(2);
    logged(
        History::new()
            .resumed(0)
            .shown(1)
            .resumed(0)
            .shown(1)
            .shown(2),
    )
    .passes();
    let again = logged(History::new().resumed(0).shown(1).shown(1));
    again.breaks(Rule::ShownOnce, &[5]);
    let unasked = logged(History::new().resumed(0).shown(1).resumed(1).shown(1));
    unasked.breaks(Rule::ShownOnce, &[6]);
}

#[test]
fn ids_are_unique() {
    let two = |id| History::new().logged(1).logged_as(2, id, "k2").end(2);
    two("m2").passes();
    two("m1").breaks(Rule::IdsAreUnique, &[3, 4]);
}

#[test]
fn a_key_is_applied_once() {
    let retried = || {
        History::new()
            .invoke(1, "k1")
            .unknown(1)
            .invoke(2, "k1")
            .ok(2, 1, "m1")
    };
    retried().logged(1).end(1).passes();
    let twice = retried().logged(1).logged_as(2, "m2", "k1").end(2);
    twice.breaks(Rule::AppliedOnce, &[7, 8]);
    let elsewhere = History::new()
        .invoke(1, "k1")
        .ok(1, 1, "m1")
        .invoke(2, "k1")
        .ok(2, 1, "m1");
    elsewhere.logged(1).end(1).passes();
}

#[test]
fn a_key_is_acknowledged_at_one_place() {
    let asked = History::new()
        .invoke(1, "k1")
        .ok(1, 1, "m1")
        .invoke(2, "k1");
    let verdict = asked.ok(2, 2, "m2").logged(1).logged(2).end(2).verdict();
    assert_eq!(verdict.broken[&Rule::AppliedOnce], 1, "{verdict}");
}

#[test]
fn an_unknown_outcome_may_be_either() {
    let unknown = || History::new().invoke(1, "k1").unknown(1);
    unknown().end(0).passes();
    unknown().logged(1).end(1).passes();
    let twice = unknown().logged(1).logged_as(2, "m2", "k1").end(2);
    twice.breaks(Rule::AppliedOnce, &[5, 6]);
}

#[test]
fn what_was_refused_is_not_done() {
    let refused = || History::new().invoke(1, "k1").fail(1);
    refused().end(0).passes();
    refused()
        .logged(1)
        .end(1)
        .breaks(Rule::RefusedIsNotDone, &[4, 5]);
    // One attempt in doubt, before or after, explains it.
    refused()
        .invoke(2, "k1")
        .unknown(2)
        .logged(1)
        .end(1)
        .passes();
    let before = History::new()
        .invoke(1, "k1")
        .unknown(1)
        .invoke(2, "k1")
        .fail(2);
    before.logged(1).end(1).passes();
}

#[test]
fn order_follows_real_time() {
    let one_after_the_other = |first, second| {
        let sent = History::new()
            .invoke(1, "a")
            .ok(1, first, "ma")
            .invoke(2, "b");
        let sent = sent.ok(2, second, "mb");
        match first < second {
            true => sent.logged_as(1, "ma", "a").logged_as(2, "mb", "b").end(2),
            false => sent.logged_as(1, "mb", "b").logged_as(2, "ma", "a").end(2),
        }
    };
    one_after_the_other(1, 2).passes();
    one_after_the_other(2, 1).breaks(Rule::RealTimeOrder, &[4, 5, 7]);
    // At the same time, either order is right.
    let at_once = History::new()
        .invoke(1, "a")
        .invoke(2, "b")
        .ok(1, 2, "ma")
        .ok(2, 1, "mb");
    at_once
        .logged_as(1, "mb", "b")
        .logged_as(2, "ma", "a")
        .end(2)
        .passes();
}

#[test]
fn a_retry_counts_from_its_first_attempt() {
    let sent = |first: fn(History) -> History| {
        let asked = first(History::new().invoke(1, "a"))
            .invoke(2, "b")
            .ok(2, 2, "mb");
        let retried = asked.invoke(3, "a").ok(3, 1, "ma");
        retried
            .logged_as(1, "ma", "a")
            .logged_as(2, "mb", "b")
            .end(2)
    };
    sent(|asked| asked.unknown(1)).passes();
    // An attempt that was refused cannot have been written before.
    sent(|asked| asked.fail(1)).breaks(Rule::RealTimeOrder, &[6, 7, 9]);
}

#[test]
fn nothing_reaches_a_person_after_their_removal() {
    let left = json!({"users": ["bob"]});
    let removed = |at: u64| {
        let late = json!({
            "event": "delivered", "device": "phone", "seq": 2, "kind": "message", "id": "m2",
            "at": at,
        });
        let left_at = History::new().resumed(0).bob(1, "remove");
        let seen = left_at.and(json!({
            "event": "delivered", "device": "phone", "seq": 1, "kind": "member_left",
            "id": "member_left",
        }));
        let logged = seen.and(late).entry(1, "member_left", &left);
        logged.logged(2).end(2)
    };
    // The removal is acknowledged at 4, and the bound is 100.
    removed(104).passes();
    removed(105).breaks(Rule::OnlyMembers, &[5, 7]);
}

#[test]
fn what_came_before_a_removal_may_come_late() {
    let left = json!({"users": ["bob"]});
    let late = json!({
        "event": "delivered", "device": "phone", "seq": 1, "kind": "message", "id": "m1",
        "at": 9999,
    });
    let shown = History::new().resumed(0).bob(1, "remove").and(late);
    shown
        .logged(1)
        .entry(2, "member_left", &left)
        .end(2)
        .passes();
}

#[test]
fn who_is_no_member_yet_sees_nothing() {
    let joined = json!({"users": ["bob"]});
    let joins_at_2 = |shown: History| {
        let logged = shown.logged(1).entry(2, "member_joined", &joined);
        logged.logged(3).end(3)
    };
    let following = || History::of(&["alice"]).resumed(0);
    let join = json!({
        "event": "delivered", "device": "phone", "seq": 2, "kind": "member_joined",
        "id": "member_joined",
    });
    joins_at_2(following().and(join.clone()).shown(3)).passes();
    let seen = joins_at_2(following().shown(1).and(join).shown(3));
    seen.breaks(Rule::OnlyMembers, &[6]);
}

#[test]
fn what_passes_while_one_is_away_is_no_gap() {
    let bob = json!({"users": ["bob"]});
    let event = |seq: u64, kind: &str| json!({"event": "delivered", "device": "phone", "seq": seq, "kind": kind, "id": kind});
    let away = |back: u64| {
        let gone = History::new()
            .resumed(0)
            .bob(1, "remove")
            .and(event(1, "member_left"));
        let again = gone
            .bob(2, "add")
            .resumed(1)
            .and(event(back, "member_joined"));
        let logged = again.entry(1, "member_left", &bob).logged(2);
        logged.entry(3, "member_joined", &bob).end(3)
    };
    away(3).passes();
}

#[test]
fn a_view_equals_a_fold_of_the_log() {
    let log = || {
        let message = History::new().logged(1);
        let edited = message.entry(2, "edit", &json!({"about": 1, "content": "bye"}));
        edited
            .entry(3, "reaction_add", &json!({"about": 1, "emoji": "+1"}))
            .end(3)
    };
    let view = |view: Value| log().and(view).and(json!({"event": "view_end"}));
    let right = json!({
        "event": "view", "seq": 1, "id": "m1", "content": "bye", "reactions": {"+1": ["alice"]},
    });
    view(right.clone()).passes();
    for (field, wrong) in [
        ("content", json!("hello")),
        ("id", json!("m2")),
        ("deleted", json!(true)),
        ("reactions", json!({"+1": ["alice", "bob"]})),
    ] {
        let mut wrong_view = right.clone();
        wrong_view[field] = wrong;
        let verdict = view(wrong_view).verdict();
        let rules: Vec<_> = verdict.broken.keys().copied().collect();
        assert_eq!(rules, [Rule::ProjectionsFollow], "{field}: {verdict}");
    }
    let empty = log().and(json!({"event": "view_end"}));
    empty.breaks(Rule::ProjectionsFollow, &[7]);
}

#[test]
fn a_deletion_takes_everything_away() {
    let log = || {
        let reacted = History::new().entry(1, "message", &json!({"id": "m1", "n": 1}));
        let reacted = reacted.entry(2, "reaction_add", &json!({"about": 1, "emoji": "+1"}));
        reacted.entry(3, "delete", &json!({"about": 1})).end(3)
    };
    let view = |more: Value| {
        let mut view = json!({"event": "view", "seq": 1, "id": "m1", "deleted": true});
        view.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        log().and(view).and(json!({"event": "view_end"}))
    };
    view(json!({})).passes();
    view(json!({"reactions": {"+1": ["alice"]}})).breaks(Rule::ProjectionsFollow, &[7]);
}

#[test]
fn members_equal_a_fold_of_the_log() {
    let log = || {
        let left = History::new().entry(1, "member_left", &json!({"users": ["bob"]}));
        left.entry(2, "member_joined", &json!({"users": ["carol"]}))
            .end(2)
    };
    let members = |members: Value| log().and(json!({"event": "members", "members": members}));
    let alice = json!({"user": "alice", "from_seq": 1});
    members(json!([alice, {"user": "carol", "from_seq": 2}])).passes();
    for wrong in [
        json!([alice]),
        json!([alice, {"user": "carol", "from_seq": 1}]),
        json!([alice, {"user": "bob", "from_seq": 1}, {"user": "carol", "from_seq": 2}]),
    ] {
        members(wrong).breaks(Rule::ProjectionsFollow, &[6]);
    }
}

#[test]
fn unread_equals_a_fold_of_the_log() {
    let log = || {
        let two = History::new()
            .logged(1)
            .entry(2, "edit", &json!({"about": 1, "content": "x"}));
        two.logged(3).end(3)
    };
    let unread = |user: &str, read: u64, unread: u64| {
        log().and(json!({"event": "unread", "user": user, "read": read, "unread": unread}))
    };
    unread("bob", 0, 2).passes();
    unread("bob", 2, 1).passes();
    unread("bob", 2, 2).breaks(Rule::ProjectionsFollow, &[7]);
    // Sending is reading.
    unread("alice", 3, 0).passes();
    unread("alice", 2, 1).breaks(Rule::ProjectionsFollow, &[7]);
}

#[test]
fn n_counts_the_main_timeline() {
    let thread = |n: u64| {
        let more = json!({"thread": "m1", "n": n});
        History::new().logged(1).entry(2, "message", &more).end(2)
    };
    thread(1).passes();
    thread(2).breaks(Rule::ProjectionsFollow, &[4]);
}

#[test]
fn what_cannot_be_is_refused_by_line() {
    History::new().ok(1, 1, "m1").is_refused(3);
    History::new().invoke(1, "a").invoke(1, "b").is_refused(4);
    History::new().shown(1).is_refused(3);
    History::new().resumed(0).shown(0).is_refused(4);
    History::new().resumed(0).shown(u64::MAX).is_refused(4);
    History::new().end(0).invoke(1, "a").is_refused(4);
    History::new()
        .and(json!({"event": "view_end"}))
        .is_refused(3);
    let made = json!({"event": "conversation", "conversation": "c", "members": []});
    History::raw(vec![made.clone(), made]).is_refused(2);
    let run = json!({"event": "run", "title": "", "seed": 1, "bound_ms": 1});
    History::raw(vec![run.clone(), run]).is_refused(2);
    let of_alice = json!({"event": "resumed", "device": "phone", "user": "alice", "after": 0});
    History::new().resumed(0).and(of_alice).is_refused(4);
}

#[test]
fn a_history_that_ends_early_does_not_pass() {
    let incomplete =
        |text: &str| matches!(check(text.as_bytes()), Err(HistoryError::Incomplete(_)));
    assert!(incomplete(""));
    assert!(incomplete("\n \n"));
    assert!(incomplete(&History::new().text()));
    assert!(incomplete(
        &History::new().invoke(1, "k").ok(1, 1, "m").logged(1).text()
    ));
    let view = json!({"event": "view", "seq": 1, "id": "m1", "content": "hello"});
    assert!(incomplete(
        &History::new().logged(1).end(1).and(view).text()
    ));
}

#[test]
fn unreadable_lines_are_named() {
    let refused = |text: &[u8]| check(text).unwrap_err().to_string();
    let good = r#"{"event":"fault","at":1,"what":"kill -9"}"#;
    for bad in [
        "{",
        "[]",
        "null",
        r#"{"event":"nothing"}"#,
        r#"{"event":"fault","at":-1}"#,
    ] {
        let message = refused(format!("{good}\n{bad}\n").as_bytes());
        assert!(message.starts_with("line 2: "), "{bad}: {message}");
    }
    let unknown_field = r#"{"event":"fault","at":1,"what":"x","more":1}"#;
    assert!(refused(unknown_field.as_bytes()).contains("more"));
    assert!(refused(&[b'"', 0xff, b'"', b'\n']).starts_with("line 1: "));
    let deep = "[".repeat(100_000);
    assert!(refused(deep.as_bytes()).starts_with("line 1: "));
    let long = format!("{good}\n\"{}\"\n", "x".repeat(2 << 20));
    assert_eq!(
        refused(long.as_bytes()),
        "line 2: longer than 1048576 bytes"
    );
}

#[test]
fn a_verdict_counts_and_tells() {
    let fault = json!({"event": "fault", "what": "kill -9"});
    let lost = History::new()
        .and(fault)
        .invoke(1, "k1")
        .ok(1, 1, "m1")
        .end(0)
        .verdict();
    let text = lost.to_string();
    assert!(
        text.contains("faults 1") && text.contains("lost 1  duplicate 0"),
        "{text}"
    );
    assert!(text.contains("acknowledged_is_kept: line 5, 6: "), "{text}");
    assert!(text.ends_with("FAILED"), "{text}");
    let json = serde_json::to_value(&lost).unwrap();
    assert_eq!(json["broken"], json!({"acknowledged_is_kept": 1}));
    assert_eq!(json["violations"][0]["lines"], json!([5, 6]));
}

#[test]
fn of_many_violations_some_are_told_and_all_are_counted() {
    let mut history = History::new();
    for op in 1..=80 {
        history = history.invoke(op, &format!("k{op}")).ok(op, op, "m");
    }
    let verdict = history.end(0).verdict();
    assert_eq!(verdict.broken[&Rule::AcknowledgedIsKept], 80);
    assert_eq!(verdict.violations.len(), 50);
    assert!(verdict.to_string().contains("... and 30 more"));
}
