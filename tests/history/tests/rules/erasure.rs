//! What must be gone: of deleted messages, and of people who were erased.

use quikapp_history::Rule;
use serde_json::{Value, json};

use crate::script::History;

#[test]
fn a_log_does_not_say_what_was_deleted() {
    let redacted = || History::new().entry(1, "message", &json!({"id": "m1", "n": 1}));
    let deleted = |log: History, seq| log.entry(seq, "delete", &json!({"about": 1})).end(seq);
    deleted(redacted(), 2).passes();
    deleted(History::new().logged(1), 2).breaks(Rule::DeletedIsGone, &[3, 4]);
    let edited = |edit: &Value| redacted().entry(2, "edit", edit);
    deleted(edited(&json!({"about": 1})), 3).passes();
    let left = edited(&json!({"about": 1, "content": "better"}));
    deleted(left, 3).breaks(Rule::DeletedIsGone, &[4, 5]);
}

/// Alice was erased, and the log has her message with this left of it.
fn erased(left: &Value) -> History {
    let mut message = json!({"id": "m1", "n": 1});
    let fields = left.as_object().unwrap().clone();
    message.as_object_mut().unwrap().extend(fields);
    asked().entry(1, "message", &message)
}

fn asked() -> History {
    let asked = History::new().person("erasing", "alice");
    asked.person("erased", "alice")
}

fn deleted(log: History, seq: u64) -> History {
    log.entry(seq, "delete", &json!({"about": 1}))
}

fn left(log: History, seq: u64) -> History {
    log.entry(seq, "member_left", &json!({"users": ["alice"]}))
        .end(seq)
}

#[test]
fn nothing_is_left_of_what_somebody_said_who_was_erased() {
    left(deleted(erased(&json!({})), 2), 3).passes();
    let named = left(deleted(erased(&json!({"key": "k1"})), 2), 3);
    named.breaks(Rule::ErasedIsGone, &[4, 5]);
    let said = left(deleted(erased(&json!({"content": "hello"})), 2), 3);
    assert_eq!(said.verdict().broken[&Rule::ErasedIsGone], 1);
    // As long as it is not said that it is done, it may be under way.
    let begun = History::new().person("erasing", "alice").logged(1);
    left(begun, 2).passes();
}

#[test]
fn views_lose_what_somebody_said_who_was_erased() {
    left(erased(&json!({})), 2).breaks(Rule::ErasedIsGone, &[4, 7]);
    let of_bob = json!({"id": "m1", "n": 1, "sender": "bob", "content": "mine"});
    let reacted = |reaction: &Value| {
        let message = asked().entry(1, "message", &of_bob);
        message.entry(2, "reaction_add", reaction)
    };
    let taken_back = |log: History| log.entry(3, "reaction_remove", &json!({"about": 1}));
    left(taken_back(reacted(&json!({"about": 1}))), 4).passes();
    left(reacted(&json!({"about": 1})), 3).breaks(Rule::ErasedIsGone, &[4, 8]);
    let named = reacted(&json!({"about": 1, "emoji": "+1"}));
    let verdict = left(taken_back(named), 4).verdict();
    assert_eq!(verdict.broken[&Rule::ErasedIsGone], 1, "{verdict}");
}

#[test]
fn somebody_who_was_erased_is_no_member() {
    let log = || deleted(erased(&json!({})), 2);
    left(log(), 3).passes();
    log().end(2).breaks(Rule::ErasedIsGone, &[4, 7]);
}

#[test]
fn what_was_acknowledged_to_somebody_who_was_erased_keeps_its_place() {
    let sent = |id: &str| {
        let sent = History::new().invoke(1, "k1").ok(1, 1, "m1");
        let erased = sent.person("erasing", "alice").person("erased", "alice");
        left(
            deleted(erased.entry(1, "message", &json!({"id": id, "n": 1})), 2),
            3,
        )
    };
    sent("m1").passes();
    sent("m9").breaks(Rule::AcknowledgedIsKept, &[4, 7]);
    // Of anybody else the key is there, too.
    let other = History::new().invoke(1, "k1").ok(1, 1, "m1");
    let other = other.person("erasing", "bob").person("erased", "bob");
    let other = other.entry(
        1,
        "message",
        &json!({"id": "m1", "n": 1, "content": "hello"}),
    );
    let gone = other
        .entry(2, "member_left", &json!({"users": ["bob"]}))
        .end(2);
    gone.breaks(Rule::AcknowledgedIsKept, &[4, 7]);
}

#[test]
fn what_was_acknowledged_without_a_place_may_be_gone_with_its_sender() {
    let ok = json!({"event": "ok", "op": 1});
    let edited = History::new().invoke(1, "k1").and(ok);
    left(edited.person("erasing", "alice"), 1).passes();
}

#[test]
fn nothing_reaches_somebody_who_was_erased() {
    let shown = |at: u64| {
        let late = json!({
            "event": "delivered", "device": "phone", "seq": 1, "kind": "message", "id": "m1",
            "at": at,
        });
        let following = History::new().resumed(0).person("erasing", "bob");
        let log = following.person("erased", "bob").and(late).logged(1);
        log.entry(2, "member_left", &json!({"users": ["bob"]}))
            .end(2)
    };
    // Erased at 4, and the bound is 100.
    shown(104).passes();
    shown(105).breaks(Rule::OnlyMembers, &[5, 6]);
}

#[test]
fn nobody_is_erased_unasked() {
    History::new().person("erased", "alice").is_refused(3);
}
