//! Threads, pins, marks, and messages that are not kept or not for long.

use quikapp_history::Rule;
use serde_json::{Value, json};

use crate::script::History;

#[test]
fn pins_equal_a_fold_of_the_log() {
    let pinned = || {
        let pinned = History::new()
            .logged(1)
            .entry(2, "pin", &json!({"about": 1}));
        pinned.end(2)
    };
    let view = |log: History, is_pinned: bool| {
        let view = json!({
            "event": "view", "seq": 1, "id": "m1", "content": "hello", "pinned": is_pinned,
        });
        log.and(view).and(json!({"event": "view_end"}))
    };
    view(pinned(), true).passes();
    view(pinned(), false).breaks(Rule::ProjectionsFollow, &[6]);
    let list = |log: History, list: Value| log.and(json!({"event": "pinned", "messages": list}));
    list(pinned(), json!([1])).passes();
    list(pinned(), json!([])).breaks(Rule::ProjectionsFollow, &[6]);
    let unpinned = || {
        let log = History::new()
            .logged(1)
            .entry(2, "pin", &json!({"about": 1}));
        log.entry(3, "unpin", &json!({"about": 1})).end(3)
    };
    list(unpinned(), json!([])).passes();
    list(unpinned(), json!([1])).breaks(Rule::ProjectionsFollow, &[7]);
    let deleted = || {
        let log = History::new().entry(1, "message", &json!({"id": "m1", "n": 1}));
        let log = log.entry(2, "pin", &json!({"about": 1}));
        log.entry(3, "delete", &json!({"about": 1})).end(3)
    };
    list(deleted(), json!([])).passes();
    list(deleted(), json!([1])).breaks(Rule::ProjectionsFollow, &[7]);
}

/// Bob and then Alice answer her first message in its thread.
fn thread() -> History {
    let answer = |id: &str, sender: &str| json!({"id": id, "n": 1, "thread": "m1", "sender": sender, "content": "yes"});
    let begun = History::new().logged(1);
    let by_bob = begun.entry(2, "message", &answer("m2", "bob"));
    by_bob.entry(3, "message", &answer("m3", "alice")).end(3)
}

fn stands(user: &str, read: u64, unread: u64, last: u64) -> Value {
    json!({
        "event": "thread", "user": user, "root": "m1", "read": read, "unread": unread,
        "last": last,
    })
}

#[test]
fn threads_equal_a_fold_of_the_log() {
    let told = |stand| thread().and(stand);
    told(stands("bob", 2, 1, 3)).passes();
    told(stands("bob", 3, 0, 3)).passes();
    told(stands("alice", 3, 0, 3)).passes();
    told(stands("bob", 2, 0, 3)).breaks(Rule::ProjectionsFollow, &[7]);
    told(stands("bob", 2, 1, 2)).breaks(Rule::ProjectionsFollow, &[7]);
    // Sending reads.
    told(stands("bob", 1, 2, 3)).breaks(Rule::ProjectionsFollow, &[7]);
    let mut other = stands("bob", 2, 1, 3);
    other["root"] = "m2".into();
    told(other).breaks(Rule::ProjectionsFollow, &[7]);
}

#[test]
fn whoever_writes_in_a_thread_or_began_it_follows_it() {
    let end = |user: &str| json!({"event": "threads_end", "user": user});
    let begin = thread().and(stands("alice", 3, 0, 3));
    begin.and(end("alice")).and(end("carol")).passes();
    thread()
        .and(end("alice"))
        .breaks(Rule::ProjectionsFollow, &[7]);
    thread()
        .and(end("bob"))
        .breaks(Rule::ProjectionsFollow, &[7]);
}

/// Bob is removed after the first two answers, misses the third, and may be added again before the
/// fourth.
fn thread_without_bob(comes_back: bool) -> History {
    let answer = |id: &str| json!({"id": id, "n": 1, "thread": "m1", "content": "yes"});
    let bob = json!({"users": ["bob"], "n": 1});
    let begun = History::new().logged(1);
    let mut by_bob = answer("m2");
    by_bob["sender"] = "bob".into();
    let left = begun.entry(2, "message", &by_bob);
    let left = left.entry(3, "message", &answer("m3"));
    let left = left.entry(4, "member_left", &bob);
    let missed = left.entry(5, "message", &answer("m5"));
    match comes_back {
        true => missed
            .entry(6, "member_joined", &bob)
            .entry(7, "message", &answer("m7"))
            .end(7),
        false => missed.end(5),
    }
}

#[test]
fn threads_count_from_where_their_followers_came() {
    let end = |user: &str| json!({"event": "threads_end", "user": user});
    let told = |stand| thread_without_bob(true).and(stand).and(end("bob"));
    told(stands("bob", 5, 1, 7)).passes();
    told(stands("bob", 7, 0, 7)).passes();
    // With what he missed, or with what was unread to him when he left.
    told(stands("bob", 4, 2, 7)).breaks(Rule::ProjectionsFollow, &[11]);
    told(stands("bob", 2, 3, 7)).breaks(Rule::ProjectionsFollow, &[11]);
    let away = || thread_without_bob(false);
    away().and(end("bob")).passes();
    let shown = away().and(stands("bob", 2, 2, 5));
    shown.breaks(Rule::ProjectionsFollow, &[9]);
    away()
        .and(end("alice"))
        .breaks(Rule::ProjectionsFollow, &[9]);
}

/// Two messages, and what bob is told of his marks.
fn told(marked: History, read: u64, unread_from: Option<u64>, unread: u64) -> History {
    let mut told = json!({"event": "unread", "user": "bob", "read": read, "unread": unread});
    if let Some(from) = unread_from {
        told["unread_from"] = from.into();
    }
    marked.logged(1).logged(2).end(2).and(told)
}

#[test]
fn a_read_mark_is_kept() {
    let read = || History::new().marks(1, "read", 2).done(1);
    told(read(), 2, None, 0).passes();
    told(read(), 1, None, 1).breaks(Rule::MarksAreKept, &[4, 8]);
    // What nobody answered may or may not have been done.
    let unknown = || History::new().marks(1, "read", 2).unknown(1);
    told(unknown(), 2, None, 0).passes();
    told(unknown(), 0, None, 2).passes();
}

#[test]
fn nobody_reads_for_another() {
    let read = || History::new().marks(1, "read", 1).done(1);
    told(read(), 1, None, 1).passes();
    told(read(), 2, None, 0).breaks(Rule::ProjectionsFollow, &[8]);
    told(read(), 1, Some(1), 2).breaks(Rule::ProjectionsFollow, &[8]);
}

#[test]
fn an_unread_mark_is_kept_until_its_person_moves_on() {
    let marked = || History::new().marks(1, "unread", 1).done(1);
    told(marked(), 0, Some(1), 2).passes();
    told(marked(), 0, None, 2).breaks(Rule::MarksAreKept, &[4, 8]);
    told(marked().marks(2, "read", 2).done(2), 2, None, 0).passes();
    // Another attempt at the same time may come before or after it.
    let both = History::new().marks(1, "read", 2).marks(2, "unread", 1);
    told(both.done(2).done(1), 2, None, 0).passes();
    let sent = json!({"event": "invoke", "op": 2, "user": "bob", "key": "k9"});
    told(marked().and(sent).unknown(2), 0, None, 2).passes();
}

#[test]
fn an_unread_mark_counts_from_its_place() {
    let marked = || {
        let read = History::new().marks(1, "read", 2).done(1);
        read.marks(2, "unread", 2).done(2)
    };
    told(marked(), 2, Some(2), 1).passes();
    told(marked(), 2, Some(2), 0).breaks(Rule::ProjectionsFollow, &[10]);
}

fn said() -> History {
    History::new().resumed(0).says(1, "now")
}

#[test]
fn what_is_not_kept_is_heard_once() {
    said().hears("now").done(1).end(0).passes();
    said().done(1).end(0).passes();
    let twice = said().hears("now").hears("now").done(1).end(0);
    twice.breaks(Rule::ShownOnce, &[6]);
}

#[test]
fn what_is_not_kept_is_heard_soon_or_never() {
    let late = |at: u64| {
        let mut heard = json!({
            "event": "heard", "device": "phone", "user": "alice", "key": "now",
        });
        heard["at"] = at.into();
        said().done(1).and(heard).end(0)
    };
    // Answered at 4, and the bound is 100.
    late(104).passes();
    late(105).breaks(Rule::EphemeralIsNotKept, &[5, 6]);
}

#[test]
fn what_is_not_kept_is_in_no_log() {
    said().done(1).logged_as(1, "m1", "k1").end(1).passes();
    let kept = said().done(1).logged_as(1, "m1", "now").end(1);
    kept.breaks(Rule::EphemeralIsNotKept, &[4, 6]);
}

#[test]
fn what_was_refused_is_not_heard() {
    said().fail(1).end(0).passes();
    said()
        .hears("now")
        .fail(1)
        .end(0)
        .breaks(Rule::RefusedIsNotDone, &[5, 6]);
    said()
        .fail(1)
        .hears("now")
        .end(0)
        .breaks(Rule::RefusedIsNotDone, &[6]);
    said().hears("now").unknown(1).end(0).passes();
}

#[test]
fn whoever_was_removed_hears_nothing() {
    let heard = |at: u64| {
        let mut say = json!({"event": "say", "op": 2, "user": "alice", "key": "now"});
        let mut hears = json!({
            "event": "heard", "device": "phone", "user": "alice", "key": "now",
        });
        (say["at"], hears["at"]) = (at.into(), at.into());
        let removed = History::new().resumed(0).bob(1, "remove");
        let log = removed.and(say).and(hears);
        log.entry(1, "member_left", &json!({"users": ["bob"]}))
            .end(1)
    };
    // The removal is acknowledged at 4, and the bound is 100.
    heard(104).passes();
    heard(105).breaks(Rule::OnlyMembers, &[5, 7]);
}

#[test]
fn a_message_is_forgotten_once_everybody_has_it() {
    let forget = |shown: History| {
        let log = shown.entry(1, "message", &json!({"id": "m1", "n": 1}));
        log.entry(2, "forget", &json!({"about": 1})).end(2)
    };
    let shown = || History::new().resumed(0).shown(1);
    forget(shown().acked(1).forgotten(2)).passes();
    forget(shown().forgotten(2)).breaks(Rule::ForgottenWhenHad, &[5, 7]);
    // Too late.
    forget(shown().forgotten(2).acked(1)).breaks(Rule::ForgottenWhenHad, &[5, 8]);
    // The server cannot know it.
    let own = json!({"event": "acked", "device": "phone", "seq": 1, "own": true});
    forget(shown().and(own).forgotten(2)).breaks(Rule::ForgottenWhenHad, &[6, 8]);
    // Nobody was there to see it.
    forget(shown().acked(1)).passes();
    forget(shown()).breaks(Rule::ForgottenWhenHad, &[6, 6]);
}

#[test]
fn nobody_waits_for_who_was_no_member() {
    let forget = |users: &[&str]| {
        let shown = History::of(&["alice"]).resumed(1);
        let log = shown.entry(1, "message", &json!({"id": "m1", "n": 1}));
        let log = log.entry(2, "member_joined", &json!({ "users": users }));
        log.entry(3, "forget", &json!({"about": 1})).end(3)
    };
    forget(&["bob"]).passes();
}
