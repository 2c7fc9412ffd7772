//! Each rule of the core, as a script: who asks what of which conversation, and what comes of it.
#![allow(clippy::unwrap_used)]

use quikapp_storage::{Conversation, EntryEffect, Member};
use serde_json::Value;

use super::*;
use crate::conversation::SendMessage;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A conversation without a store: what is decided is committed at once.
struct Script {
    core: Core,
    log: Vec<Entry>,
    messages: HashMap<MessageId, Message>,
    blocked: bool,
}

impl Script {
    fn new(kind: ConversationKind, members: &[(&str, Role)]) -> Self {
        let conversation = Conversation {
            id: ConversationId::parse("c").unwrap(),
            workspace: person("ann").workspace,
            kind,
            name: None,
            created_by: person(members[0].0).user,
            created_at: NOW,
            tail: Seq(0),
            n: 0,
            epoch: Epoch(1),
        };
        let member = |(name, role): &(&str, Role)| Member {
            user: person(name).user,
            from_seq: Seq(1),
            to_seq: None,
            role: *role,
        };
        let members = members.iter().map(member).collect();
        let acquired = Acquired {
            conversation,
            members,
        };
        Self {
            core: Core::new(acquired, Arc::default()),
            log: Vec::new(),
            messages: HashMap::new(),
            blocked: false,
        }
    }

    fn group() -> Self {
        let members = [
            ("ann", Role::Owner),
            ("bob", Role::Admin),
            ("carol", Role::Member),
            ("dave", Role::Member),
        ];
        Self::new(ConversationKind::Group, &members)
    }

    fn direct() -> Self {
        let members = [("ann", Role::Member), ("bob", Role::Member)];
        Self::new(ConversationKind::Direct, &members)
    }

    fn ask(&mut self, by: &str, command: Command) -> Result<Outcome, CommandError> {
        let request = Request {
            by: Author::Person(person(by)),
            id: EntryId::generate(),
            command,
        };
        self.batch(&[request]).remove(0)
    }

    /// Decides as the shell does: keys are looked up when the store finds one taken, or the draft
    /// asks for them.
    fn batch(&mut self, requests: &[Request]) -> Vec<Result<Outcome, CommandError>> {
        let (mut draft, mut decisions) = self.decide(requests, None);
        let is_taken = |new: &NewEntry| {
            self.log
                .iter()
                .any(|it| new.keys.iter().any(|key| key == it.key))
        };
        if draft.needs_keys() || draft.entries().iter().any(is_taken) {
            let keys = requests.iter().flat_map(|it| it.keys().iter());
            let keys: Vec<_> = keys.collect();
            let originals = self.log.iter().filter(|it| keys.contains(&it.key));
            let originals = Some(originals.cloned().collect());
            (draft, decisions) = self.decide(requests, originals);
            assert!(!draft.needs_keys(), "they are looked up once");
        }
        let entries = self.commit(draft);
        let answer = |decision| match decision {
            Decision::Append { index, replayed } => Ok(outcome(&entries[index], replayed)),
            Decision::Done(outcome) => Ok(outcome),
            Decision::Refuse(error) => Err(error),
        };
        decisions.into_iter().map(answer).collect()
    }

    fn decide(
        &self,
        requests: &[Request],
        originals: Option<Vec<Entry>>,
    ) -> (Draft, Vec<Decision>) {
        let found = Found {
            messages: self.messages.values().cloned().collect(),
            originals,
            blocked: self.blocked,
        };
        let mut draft = self.core.draft(found, NOW);
        let decisions = requests.iter().map(|it| draft.decide(it)).collect();
        (draft, decisions)
    }

    fn commit(&mut self, draft: Draft) -> Vec<Entry> {
        let new = draft.entries().to_vec();
        let appended = Appended {
            first: self.core.tail.next(),
            tail: Seq(self.core.tail.0 + new.len() as u64),
            n: self.core.n + new.iter().filter(|it| it.counts).count() as u64,
        };
        let (core, entries) = draft.committed(&appended);
        self.core = core;
        self.log.extend(entries.clone());
        for effect in new.into_iter().flat_map(|it| it.effects) {
            match effect {
                EntryEffect::PutMessage(message) => {
                    self.messages.insert(message.id, message);
                }
                EntryEffect::Redact { seq, payload } => {
                    self.log[seq.0 as usize - 1].payload = payload;
                }
                _ => {}
            }
        }
        entries
    }

    fn send(&mut self, by: &str, content: &str) -> MessageId {
        self.ask(by, send(content)).unwrap().id
    }

    fn role(&self, name: &str) -> Option<Role> {
        let standing = self.core.members.get(&person(name).user);
        standing.map(|it| it.role)
    }

    fn body(&self, id: MessageId) -> Value {
        serde_json::from_str(&self.messages[&id].body).unwrap()
    }
}

fn person(name: &str) -> Person {
    Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new(name).unwrap(),
    }
}

fn text(content: &str) -> SendMessage {
    SendMessage {
        kind: "text".into(),
        content: Some(content.into()),
        ..SendMessage::default()
    }
}

fn send(content: &str) -> Command {
    Command::Send(Box::new(text(content)))
}

fn keyed(key: &str, send: SendMessage) -> Command {
    Command::Send(Box::new(SendMessage {
        client_id: Some(key.into()),
        ..send
    }))
}

fn edit(message: MessageId, content: &str) -> Command {
    let content = content.into();
    Command::Edit { message, content }
}

fn react(message: MessageId, emoji: &str, add: bool) -> Command {
    let emoji = emoji.into();
    Command::React {
        message,
        emoji,
        add,
    }
}

fn remove(name: &str) -> Command {
    let user = person(name).user;
    Command::RemoveMember { user }
}

fn set_role(name: &str, role: Role) -> Command {
    let user = person(name).user;
    Command::SetRole { user, role }
}

fn add(names: &[&str], role: Role) -> Command {
    let members = names.iter().map(|name| (person(name).user, role)).collect();
    Command::AddMembers { members }
}

fn field<T: std::fmt::Debug>(result: Result<T, CommandError>) -> &'static str {
    match result {
        Err(CommandError::InvalidField { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_members_do_anything() {
    let mut it = Script::group();
    let id = it.send("ann", "hi");
    for command in [
        send("x"),
        edit(id, "x"),
        react(id, "x", true),
        remove("eve"),
    ] {
        assert_eq!(
            it.ask("eve", command).err(),
            Some(CommandError::NotAParticipant)
        );
    }
}

#[test]
fn the_reply_is_what_is_stored_with_its_place() {
    let mut it = Script::group();
    it.send("ann", "one");
    let outcome = it.ask("bob", send("two")).unwrap();
    let payload: Value = serde_json::from_str(&outcome.payload).unwrap();
    assert_eq!(payload["seq"], 2);
    assert_eq!(payload["content"], "two");
    assert_eq!(payload["sender_id"], "bob");
    assert_eq!(payload["type"], "text");
    assert_eq!(payload["created_at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(payload["attachments"], serde_json::json!([]));
}

#[test]
fn a_message_is_edited_by_its_sender_only() {
    let mut it = Script::group();
    let id = it.send("carol", "helo");
    assert_eq!(
        it.ask("ann", edit(id, "x")).err(),
        Some(CommandError::Forbidden)
    );
    let edited = it.ask("carol", edit(id, "hello")).unwrap();
    let payload: Value = serde_json::from_str(&edited.payload).unwrap();
    assert_eq!(
        (&payload["seq"], &payload["message_seq"]),
        (&2.into(), &1.into())
    );
    assert_eq!(payload["is_edited"], true);
    assert_eq!(it.body(id)["content"], "hello");
    assert_eq!(it.messages[&id].text, "hello");
    let nowhere = it.ask("carol", edit(EntryId::generate(), "x"));
    assert_eq!(nowhere.err(), Some(CommandError::MessageNotFound));
}

#[test]
fn what_changes_nothing_is_not_written() {
    let mut it = Script::group();
    let id = it.send("ann", "hi");
    it.ask("ann", react(id, "+1", true)).unwrap();
    it.ask(
        "ann",
        Command::Pin {
            message: id,
            pinned: true,
        },
    )
    .unwrap();
    let nothing = [
        edit(id, "hi"),
        react(id, "+1", true),
        react(id, "-1", false),
        Command::Pin {
            message: id,
            pinned: true,
        },
        add(&["bob"], Role::Member),
        remove("eve"),
        set_role("bob", Role::Admin),
        Command::Rename { name: None },
    ];
    for command in nothing {
        let outcome = it.ask("ann", command.clone()).unwrap();
        assert_eq!(outcome.seq, Seq(3), "{command:?}");
    }
    assert_eq!(it.log.len(), 3);
}

#[test]
fn a_deletion_takes_the_content_out_of_the_log_and_keeps_places_and_keys() {
    let mut it = Script::group();
    let id = it.send("carol", "secret one");
    it.ask("carol", edit(id, "secret two")).unwrap();
    let keys: Vec<_> = it.log.iter().map(|entry| entry.key).collect();
    assert_eq!(
        it.ask("dave", Command::Delete { message: id }).err(),
        Some(CommandError::Forbidden)
    );
    it.ask("bob", Command::Delete { message: id }).unwrap();
    let log: String = it.log.iter().map(|entry| &*entry.payload).collect();
    assert!(!log.contains("secret"), "{log}");
    assert!(!it.messages[&id].body.contains("secret"));
    assert!(it.messages[&id].text.is_empty() && it.messages[&id].deleted);
    assert!(
        it.log
            .iter()
            .zip(&keys)
            .all(|(entry, key)| entry.key == *key)
    );
    for command in [edit(id, "x"), react(id, "x", true)] {
        assert_eq!(
            it.ask("carol", command).err(),
            Some(CommandError::MessageNotFound)
        );
    }
    let again = it.ask("carol", Command::Delete { message: id }).unwrap();
    assert_eq!((again.seq, it.log.len()), (Seq(3), 3));
}

#[test]
fn in_a_direct_conversation_nobody_deletes_for_the_other_and_both_pin() {
    let mut it = Script::direct();
    let id = it.send("ann", "hi");
    let delete = Command::Delete { message: id };
    assert_eq!(it.ask("bob", delete).err(), Some(CommandError::Forbidden));
    it.ask(
        "bob",
        Command::Pin {
            message: id,
            pinned: true,
        },
    )
    .unwrap();
    assert!(it.messages[&id].pinned);
    let plain = it.ask("ann", add(&["eve"], Role::Member));
    assert_eq!(plain.err(), Some(CommandError::Forbidden));
    assert_eq!(
        it.ask("ann", remove("ann")).err(),
        Some(CommandError::Forbidden)
    );
}

#[test]
fn a_block_stops_what_reaches_the_other_and_nothing_else() {
    let mut it = Script::direct();
    let id = it.send("ann", "hi");
    it.ask("ann", react(id, "+1", true)).unwrap();
    it.blocked = true;
    for command in [send("x"), edit(id, "x"), react(id, "-1", true)] {
        assert_eq!(it.ask("ann", command).err(), Some(CommandError::Blocked));
    }
    it.ask("ann", react(id, "+1", false)).unwrap();
    it.ask("ann", Command::Delete { message: id }).unwrap();
}

#[test]
fn reactions_fold_by_emoji() {
    let mut it = Script::group();
    let id = it.send("ann", "hi");
    it.ask("ann", react(id, "+1", true)).unwrap();
    it.ask("bob", react(id, "+1", true)).unwrap();
    it.ask("bob", react(id, "-1", true)).unwrap();
    it.ask("bob", react(id, "-1", false)).unwrap();
    assert_eq!(
        it.body(id)["reactions"],
        serde_json::json!({"+1": ["ann", "bob"]})
    );
}

#[test]
fn fields_are_checked_and_named() {
    let mut it = Script::group();
    let long = "x".repeat(16 * 1024 + 1);
    let cases: [(&str, SendMessage); 10] = [
        ("content", text(&long)),
        ("content", text("  ")),
        (
            "type",
            SendMessage {
                kind: "poem".into(),
                ..text("x")
            },
        ),
        (
            "client_id",
            SendMessage {
                client_id: Some(String::new()),
                ..text("x")
            },
        ),
        (
            "client_id",
            SendMessage {
                client_id: Some("x".repeat(129)),
                ..text("x")
            },
        ),
        (
            "mentions",
            SendMessage {
                mentions: vec![person("bob").user; 101],
                ..text("x")
            },
        ),
        (
            "attachments",
            SendMessage {
                attachments: Some("{}".into()),
                ..text("x")
            },
        ),
        (
            "attachments",
            SendMessage {
                attachments: Some("[1]".into()),
                ..text("x")
            },
        ),
        (
            "reply_to",
            SendMessage {
                reply_to: Some(EntryId::generate()),
                ..text("x")
            },
        ),
        (
            "thread_root",
            SendMessage {
                thread_root: Some(EntryId::generate()),
                ..text("x")
            },
        ),
    ];
    for (name, message) in cases {
        let sent = it.ask("ann", Command::Send(Box::new(message)));
        assert_eq!(field(sent), name);
    }
    let id = it.send("ann", "hi");
    assert_eq!(field(it.ask("ann", react(id, "", true))), "emoji");
    assert_eq!(
        field(it.ask("ann", react(id, &"x".repeat(65), true))),
        "emoji"
    );
    assert_eq!(field(it.ask("ann", edit(id, ""))), "content");
    let name = Some(" ".to_owned());
    assert_eq!(field(it.ask("ann", Command::Rename { name })), "name");
}

#[test]
fn an_attachment_or_an_envelope_is_enough() {
    let mut it = Script::group();
    for message in [
        SendMessage {
            kind: "file".into(),
            attachments: Some(r#"[{"url":"u"}]"#.into()),
            ..SendMessage::default()
        },
        SendMessage {
            kind: "text".into(),
            envelope: Some(r#"{"c":"x"}"#.into()),
            ..SendMessage::default()
        },
    ] {
        it.ask("ann", Command::Send(Box::new(message))).unwrap();
    }
}

#[test]
fn a_thread_hangs_on_the_main_timeline_and_does_not_count_there() {
    let mut it = Script::group();
    let root = it.send("ann", "root");
    let in_thread = |root| SendMessage {
        thread_root: Some(root),
        ..text("x")
    };
    let answer = it
        .ask("bob", Command::Send(Box::new(in_thread(root))))
        .unwrap();
    assert_eq!(
        it.log.iter().map(|entry| entry.n).collect::<Vec<_>>(),
        [1, 1]
    );
    let nested = it.ask("bob", Command::Send(Box::new(in_thread(answer.id))));
    assert_eq!(field(nested), "thread_root");
}

#[test]
fn roles_say_who_manages_members() {
    let mut it = Script::group();
    let refused = [
        ("carol", add(&["eve"], Role::Member)),
        ("bob", add(&["eve"], Role::Admin)),
        ("bob", remove("ann")),
        ("carol", remove("dave")),
        ("bob", set_role("carol", Role::Admin)),
        (
            "carol",
            Command::Rename {
                name: Some("x".into()),
            },
        ),
    ];
    for (by, command) in refused {
        let answer = it.ask(by, command.clone());
        assert_eq!(
            answer.err(),
            Some(CommandError::Forbidden),
            "{by} {command:?}"
        );
    }
    it.ask("bob", add(&["eve", "eve"], Role::Member)).unwrap();
    it.ask("bob", remove("carol")).unwrap();
    it.ask("ann", set_role("dave", Role::Admin)).unwrap();
    it.ask(
        "dave",
        Command::Rename {
            name: Some("x".into()),
        },
    )
    .unwrap();
    it.ask("eve", remove("eve")).unwrap();
    assert_eq!((it.role("carol"), it.role("eve")), (None, None));
    assert_eq!(it.role("dave"), Some(Role::Admin));
}

#[test]
fn a_group_keeps_an_owner() {
    let mut it = Script::group();
    assert_eq!(field(it.ask("ann", set_role("ann", Role::Member))), "role");
    it.ask("ann", remove("ann")).unwrap();
    assert_eq!(it.role("bob"), Some(Role::Owner), "the admin is next");
    it.ask("bob", remove("bob")).unwrap();
    assert_eq!(it.role("carol"), Some(Role::Owner));
}

#[test]
fn a_newcomer_cannot_touch_what_was_before() {
    let mut it = Script::group();
    let old = it.send("ann", "before");
    it.ask("ann", add(&["eve"], Role::Member)).unwrap();
    let touched = it.ask("eve", react(old, "+1", true));
    assert_eq!(touched.err(), Some(CommandError::MessageNotFound));
    let new = it.send("ann", "after");
    it.ask("eve", react(new, "+1", true)).unwrap();
}

#[test]
fn decisions_of_a_batch_build_on_one_another() {
    let mut it = Script::group();
    let request = |by: &str, command| Request {
        by: Author::Person(person(by)),
        id: EntryId::generate(),
        command,
    };
    let message = request("carol", send("hi"));
    let id = message.id;
    let answers = it.batch(&[
        message,
        request("dave", react(id, "+1", true)),
        request("bob", remove("dave")),
        request("dave", send("still?")),
        request("carol", edit(id, "hello")),
    ]);
    assert_eq!(
        answers[3].as_ref().err(),
        Some(&CommandError::NotAParticipant)
    );
    assert_eq!(answers[4].as_ref().unwrap().seq, Seq(4));
    assert_eq!(it.body(id)["content"], "hello");
    assert_eq!(
        it.body(id)["reactions"],
        serde_json::json!({"+1": ["dave"]})
    );
}

#[test]
fn one_key_is_one_entry_and_another_content_a_conflict() {
    let mut it = Script::group();
    let keyed = |content| Request {
        by: Author::Person(person("ann")),
        id: EntryId::generate(),
        command: keyed("k", text(content)),
    };
    let answers = it.batch(&[keyed("a"), keyed("a"), keyed("b")]);
    assert!(!answers[0].as_ref().unwrap().replayed);
    assert!(answers[1].as_ref().unwrap().replayed);
    assert_eq!(
        answers[2].as_ref().err(),
        Some(&CommandError::IdempotencyConflict)
    );
    let later = it.batch(&[keyed("a"), keyed("b")]);
    assert!(later[0].as_ref().unwrap().replayed);
    assert_eq!(
        later[1].as_ref().err(),
        Some(&CommandError::IdempotencyConflict)
    );
    assert_eq!(it.log.len(), 1);
}

#[test]
fn what_an_earlier_program_wrote_is_known_by_the_key_that_it_gave() {
    let mut it = Script::group();
    let v7 = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    let sent = it.ask("dave", keyed(v7, text("hi"))).unwrap();
    it.log[0].key = super::key::of_client(&person("dave").user, v7)
        .former
        .unwrap();
    let again = it.ask("dave", keyed(v7, text("hi"))).unwrap();
    assert_eq!(
        (again.id, again.seq, again.replayed),
        (sent.id, sent.seq, true)
    );
    let other = it.ask("dave", keyed(v7, text("something else")));
    assert_eq!(other.err(), Some(CommandError::IdempotencyConflict));
    it.ask("ann", keyed(v7, text("hi"))).unwrap();
    it.ask("ann", remove("dave")).unwrap();
    assert!(it.ask("dave", keyed(v7, text("hi"))).unwrap().replayed);
    assert_eq!(it.log.len(), 3, "nothing was written again");
}

/// Whoever did not hear what became of a message, and may not send any more, hears it of what
/// stands in the log under their own key, and only then.
#[test]
fn a_retry_hears_of_its_first_try_whatever_the_conversation_is_now() {
    let mut it = Script::group();
    let sent = it.ask("dave", keyed("k", text("hi"))).unwrap();
    it.ask("ann", remove("dave")).unwrap();
    let again = it.ask("dave", keyed("k", text("hi"))).unwrap();
    assert!(again.replayed);
    assert_eq!((again.id, again.seq), (sent.id, sent.seq));
    assert_eq!(again.payload, sent.payload);
    for refused in [keyed("new", text("hi")), send("hi")] {
        let refused = it.ask("dave", refused);
        assert_eq!(refused.err(), Some(CommandError::NotAParticipant));
    }
    let other = it.ask("dave", keyed("k", text("something else")));
    assert_eq!(other.err(), Some(CommandError::IdempotencyConflict));
    assert_eq!(it.log.len(), 2, "nothing was written again");
}

#[test]
fn nobody_hears_of_what_another_has_sent_under_the_same_client_id() {
    let mut it = Script::group();
    it.ask("ann", keyed("k", text("hi"))).unwrap();
    it.ask("ann", remove("dave")).unwrap();
    for stranger in ["dave", "eve"] {
        let refused = it.ask(stranger, keyed("k", text("hi")));
        assert_eq!(refused.err(), Some(CommandError::NotAParticipant));
    }
}

#[test]
fn a_block_and_a_message_that_is_out_of_sight_do_not_hide_what_was_sent() {
    let mut direct = Script::direct();
    let sent = direct.ask("ann", keyed("k", text("hi"))).unwrap();
    direct.blocked = true;
    let again = direct.ask("ann", keyed("k", text("hi"))).unwrap();
    assert_eq!((again.seq, again.replayed), (sent.seq, true));
    let refused = direct.ask("ann", keyed("new", text("hi")));
    assert_eq!(refused.err(), Some(CommandError::Blocked));

    let mut group = Script::group();
    let root = Some(group.send("ann", "root"));
    let answer = SendMessage {
        reply_to: root,
        thread_root: root,
        ..text("yes")
    };
    let sent = group.ask("dave", keyed("k", answer.clone())).unwrap();
    group.ask("dave", remove("dave")).unwrap();
    group.ask("ann", add(&["dave"], Role::Member)).unwrap();
    let again = group.ask("dave", keyed("k", answer.clone())).unwrap();
    assert_eq!((again.seq, again.replayed), (sent.seq, true));
    assert_eq!(field(group.ask("dave", keyed("new", answer))), "reply_to");
}

/// Keys are looked up for those whom the conversation refuses, not for what is refused anyway.
#[test]
fn what_does_not_fit_in_any_state_is_refused_without_a_look() {
    let it = Script::group();
    let needs_keys = |by: &str, command| {
        let by = Author::Person(person(by));
        let id = EntryId::generate();
        let (draft, _) = it.decide(&[Request { by, id, command }], None);
        draft.needs_keys()
    };
    assert!(needs_keys("eve", keyed("k", text("hi"))));
    assert!(!needs_keys("eve", send("hi")), "no key, no first try");
    assert!(!needs_keys("eve", keyed("k", text(" "))));
    assert!(!needs_keys("ann", keyed("k", text(" "))));
    assert!(!needs_keys("eve", remove("ann")));
}

#[test]
fn only_the_server_writes_notices_and_only_into_a_persons_own_conversation() {
    let mut own = Script::new(ConversationKind::Person, &[("ann", Role::Owner)]);
    let notice = Command::Notice {
        event: "notification".into(),
        payload: r#"{"text":"hi"}"#.into(),
        key: None,
    };
    let refused = own.ask("ann", notice.clone());
    assert_eq!(refused.err(), Some(CommandError::ConversationNotFound));
    let by_server = |command| Request {
        by: Author::Server,
        id: EntryId::generate(),
        command,
    };
    let answers = own.batch(&[by_server(notice.clone()), by_server(send("x"))]);
    assert!(answers[0].is_ok());
    assert_eq!(answers[1].as_ref().err(), Some(&CommandError::Forbidden));
    let pushed = wire::pushed(&own.log[0]);
    assert_eq!(pushed.event, "notification");
    assert_eq!(&*pushed.payload, r#"{"seq":1,"text":"hi"}"#);
    let mut group = Script::group();
    let answers = group.batch(&[by_server(notice)]);
    assert_eq!(answers[0].as_ref().err(), Some(&CommandError::Forbidden));
}
