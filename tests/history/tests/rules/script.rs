//! Histories, event by event.

use quikapp_history::{HistoryError, Rule, Verdict, check};
use serde_json::{Value, json};

/// Events with their times filled in: one millisecond after the other.
pub(crate) struct History(Vec<Value>);

impl History {
    /// A conversation of Alice and Bob.
    pub(crate) fn new() -> Self {
        Self::of(&["alice", "bob"])
    }

    pub(crate) fn of(members: &[&str]) -> Self {
        let run = json!({"event": "run", "title": "a rule", "seed": 1, "bound_ms": 100});
        let made = json!({"event": "conversation", "conversation": "c", "members": members});
        Self(vec![run, made])
    }

    /// Just these events.
    pub(crate) fn raw(events: Vec<Value>) -> Self {
        Self(events)
    }

    pub(crate) fn and(mut self, event: Value) -> Self {
        let mut event = event;
        let named = event["event"].as_str().unwrap();
        let in_the_end = [
            "log",
            "log_end",
            "view",
            "view_end",
            "members",
            "pinned",
            "unread",
            "thread",
            "threads_end",
        ];
        let of_none = ["ok", "fail", "unknown", "fault", "erasing", "erased"];
        if !of_none.contains(&named) {
            event["conversation"] = "c".into();
        }
        if !in_the_end.contains(&event["event"].as_str().unwrap()) && event.get("at").is_none() {
            event["at"] = self.0.len().into();
        }
        self.0.push(event);
        self
    }

    pub(crate) fn invoke(self, op: u64, key: &str) -> Self {
        self.and(json!({"event": "invoke", "op": op, "user": "alice", "key": key}))
    }

    pub(crate) fn ok(self, op: u64, seq: u64, id: &str) -> Self {
        self.and(json!({"event": "ok", "op": op, "seq": seq, "id": id}))
    }

    pub(crate) fn fail(self, op: u64) -> Self {
        self.and(json!({"event": "fail", "op": op, "reason": "moved"}))
    }

    pub(crate) fn unknown(self, op: u64) -> Self {
        self.and(json!({"event": "unknown", "op": op}))
    }

    /// A change of Bob's membership, acknowledged.
    pub(crate) fn bob(self, op: u64, change: &str) -> Self {
        self.and(json!({"event": "invoke_member", "op": op, "user": "bob", "change": change}))
            .and(json!({"event": "ok", "op": op}))
    }

    /// Bob's phone follows from a place on.
    pub(crate) fn resumed(self, after: u64) -> Self {
        self.and(json!({"event": "resumed", "device": "phone", "user": "bob", "after": after}))
    }

    pub(crate) fn by_cursor(self) -> Self {
        self.and(json!({"event": "resumed", "device": "phone", "user": "bob"}))
    }

    pub(crate) fn acked(self, seq: u64) -> Self {
        self.and(json!({"event": "acked", "device": "phone", "seq": seq}))
    }

    /// Bob's phone is shown message `m<seq>`.
    pub(crate) fn shown(self, seq: u64) -> Self {
        let id = format!("m{seq}");
        self.shown_as(seq, &id)
    }

    pub(crate) fn shown_as(self, seq: u64, id: &str) -> Self {
        self.and(json!({"event": "delivered", "device": "phone", "seq": seq, "kind": "message", "id": id}))
    }

    pub(crate) fn settled(self) -> Self {
        self.and(json!({"event": "settled", "device": "phone"}))
    }

    /// The log has message `m<seq>` under key `k<seq>`.
    pub(crate) fn logged(self, seq: u64) -> Self {
        let (id, key) = (format!("m{seq}"), format!("k{seq}"));
        self.logged_as(seq, &id, &key)
    }

    pub(crate) fn logged_as(self, seq: u64, id: &str, key: &str) -> Self {
        let n = self
            .0
            .iter()
            .filter(|it| it["kind"] == "message" && it["event"] == "log");
        let n = n.count() + 1;
        self.and(json!({
            "event": "log", "seq": seq, "kind": "message", "id": id, "key": key,
            "sender": "alice", "n": n, "content": "hello",
        }))
    }

    /// Another entry of the log.
    pub(crate) fn entry(self, seq: u64, kind: &str, more: &Value) -> Self {
        let n = self
            .0
            .iter()
            .filter(|it| it["kind"] == "message" && it["event"] == "log");
        let mut entry = json!({
            "event": "log", "seq": seq, "kind": kind, "id": kind, "sender": "alice",
            "n": n.count(),
        });
        let fields = more.as_object().unwrap().clone();
        entry.as_object_mut().unwrap().extend(fields);
        self.and(entry)
    }

    pub(crate) fn end(self, tail: u64) -> Self {
        self.and(json!({"event": "log_end", "tail": tail}))
    }

    /// Bob's phone is shown that message 1 is forgotten.
    pub(crate) fn forgotten(self, seq: u64) -> Self {
        self.and(json!({
            "event": "delivered", "device": "phone", "seq": seq, "kind": "forget", "id": "forget",
            "about": 1,
        }))
    }

    /// Alice says something that is not kept.
    pub(crate) fn says(self, op: u64, key: &str) -> Self {
        self.and(json!({"event": "say", "op": op, "user": "alice", "key": key}))
    }

    /// Bob's phone hears it.
    pub(crate) fn hears(self, key: &str) -> Self {
        self.and(json!({"event": "heard", "device": "phone", "user": "alice", "key": key}))
    }

    /// Bob marks a place.
    pub(crate) fn marks(self, op: u64, mark: &str, seq: u64) -> Self {
        self.and(json!({"event": "mark", "op": op, "user": "bob", "mark": mark, "seq": seq}))
    }

    pub(crate) fn done(self, op: u64) -> Self {
        self.and(json!({"event": "ok", "op": op}))
    }

    pub(crate) fn person(self, event: &str, user: &str) -> Self {
        self.and(json!({"event": event, "user": user}))
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|event| format!("{event}\n")).collect()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        check(self.text().as_bytes()).unwrap()
    }

    pub(crate) fn passes(&self) {
        let verdict = self.verdict();
        assert!(verdict.passed(), "{verdict}\n{}", self.text());
    }

    /// One rule is broken, once, as these lines show.
    pub(crate) fn breaks(&self, rule: Rule, lines: &[u64]) {
        let verdict = self.verdict();
        let broken: Vec<_> = verdict.violations.iter().map(|it| it.rule).collect();
        assert_eq!(broken, [rule], "{verdict}\n{}", self.text());
        let mut shown = verdict.violations[0].lines.clone();
        shown.sort_unstable();
        assert_eq!(shown, lines, "{verdict}\n{}", self.text());
    }

    pub(crate) fn is_refused(&self, line: u64) {
        match check(self.text().as_bytes()) {
            Err(HistoryError::Nonsense { line: named, .. }) => assert_eq!(named, line),
            other => panic!("{other:?}"),
        }
    }
}
