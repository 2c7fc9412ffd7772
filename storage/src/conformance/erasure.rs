//! What is forgotten when a person is erased, and what stays.

use std::time::Duration;

use super::support::{NOW, Room, plain, user, view, workspace};
use crate::{
    AppendError, ConversationId, ConversationKind, DeviceCursor, DeviceId, EntryEffect, EntryKind,
    Epoch, Message, Page, PendingEntry, Person, ProfileChange, ProjectionStep, RegisterChange,
    RegisterWrite, Registers, Seq, SharedStore, StoreError, ThreadEntry,
};

const AGAIN: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// Whoever is or was a member is found, page by page, each conversation once.
pub async fn whoever_was_a_member_is_found(store: SharedStore) {
    let mut here = Room::new(&store, &["ana", "bob"]).await;
    let mut left = Room::within(&store, &here.workspace, &["ana", "bob"]).await;
    left.leave("bob").await;
    left.join("bob").await;
    left.leave("bob").await;
    let never = Room::within(&store, &here.workspace, &["ana"]).await;
    here.say("bob", "hello").await;
    let bob = here.person("bob");
    let mut own =
        super::support::new_conversation(&here.workspace, ConversationKind::Person, &["bob"]);
    own.id = bob.own_conversation();
    let own = Room::create(&store, own).await;
    let mut found: Vec<ConversationId> = Vec::new();
    loop {
        let page = store.ever_in(&bob, found.last(), 1).await.expect("reads");
        let Some(next) = page.into_iter().next() else {
            break;
        };
        found.push(next);
    }
    let mut expected = vec![here.id.clone(), left.id.clone(), own.id.clone()];
    expected.sort();
    assert_eq!(found, expected);
    assert!(!found.contains(&never.id));
    let elsewhere = Person {
        workspace: workspace(),
        user: user("bob"),
    };
    assert_eq!(store.ever_in(&elsewhere, None, 9).await, Ok(Vec::new()));
}

/// A payload is replaced in its place; everything else of the log stays, and so does the view.
pub async fn payloads_are_redacted_in_their_place(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    room.say("ana", "one").await;
    room.say("bob", "two").await;
    let before = room.log().await;
    let redaction = vec![(Seq(2), "{}".into()), (Seq(9), "{}".into())];
    for _ in 0..2 {
        let redacted = store.redact(&room.id, redaction.clone()).await;
        assert_eq!(redacted, Ok(()), "a place that is not there is passed over");
    }
    let mut expected = before;
    expected[1].payload = "{}".into();
    assert_eq!(room.log().await, expected);
    let nowhere = ConversationId::generate();
    assert_eq!(store.redact(&nowhere, redaction).await, Ok(()));
    assert_eq!(room.say("ana", "three").await.seq, Seq(3));
    scrub(&room).await;
    assert_eq!(room.log().await[..2], expected);
}

/// Another process may be reading what is to be cleaned, for a moment.
async fn scrub(room: &Room) {
    let scrubbed = async {
        loop {
            match room.store.scrub(std::slice::from_ref(&room.id)).await {
                Err(StoreError::Overloaded) => tokio::time::sleep(AGAIN).await,
                scrubbed => return scrubbed,
            }
        }
    };
    let scrubbed = tokio::time::timeout(PATIENCE, scrubbed).await;
    assert_eq!(scrubbed, Ok(Ok(())), "it is not read for ever");
}

/// Hidden messages are in one's history again once that was forgotten.
pub async fn what_was_hidden_can_be_forgotten(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let said = room.say("ana", "hello").await;
    for name in ["ana", "bob"] {
        let hidden = store.hide_message(&room.id, &user(name), said.id).await;
        hidden.expect("writes");
    }
    let forgotten = store.forget_hidden(&room.id, &user("bob")).await;
    forgotten.expect("writes");
    for (name, sees) in [("ana", 0), ("bob", 1)] {
        let visible = room.membership(name).await;
        let shown = store
            .history(&room.id, &visible, &user(name), None, Page::Latest, 9)
            .await;
        assert_eq!(shown.expect("reads").len(), sees, "{name}");
    }
}

/// One person's registers of one conversation go; those of others, and elsewhere, stay.
pub async fn registers_of_one_person_are_forgotten(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let mut other = Room::within(&store, &room.workspace, &["ana", "bob"]).await;
    for room in [&mut room, &mut other] {
        let root = room.say("ana", "hello").await;
        for name in ["ana", "bob"] {
            let draft = RegisterChange::Draft(Some(r#"{"text":"well"}"#.into()));
            let writes = [RegisterChange::Read(Seq(1)), draft].map(|change| RegisterWrite {
                conversation: room.id.clone(),
                user: user(name),
                change,
            });
            let written = store.write_registers(writes.to_vec()).await;
            written.expect("writes");
        }
        let answer = ThreadEntry {
            root: root.id,
            seq: Seq(1),
            sender: user("bob"),
            followers: vec![user("ana")],
        };
        let step = ProjectionStep {
            consumer: crate::Consumer::THREADS,
            conversation: room.id.clone(),
            from: Seq(0),
            to: Seq(1),
        };
        assert_eq!(store.project_threads(&step, vec![answer]).await, Ok(true));
    }
    for _ in 0..2 {
        let forgotten = store.forget_registers(&room.id, &user("bob")).await;
        assert_eq!(forgotten, Ok(()));
    }
    let kept = async |room: &Room, name: &str| {
        let registers = store.registers(&room.id, &user(name)).await;
        let threads = store.threads(&room.id, &user(name), None, 9).await;
        (registers.expect("reads"), threads.expect("reads").len())
    };
    assert_eq!(kept(&room, "bob").await, (Registers::default(), 0));
    for (room, name) in [(&room, "ana"), (&other, "ana"), (&other, "bob")] {
        let (registers, threads) = kept(room, name).await;
        assert!(registers.draft.is_some(), "{name}");
        assert_eq!((registers.marks.read, threads), (Seq(1), 1), "{name}");
    }
    let nowhere = ConversationId::generate();
    let forgotten = store.forget_registers(&nowhere, &user("bob")).await;
    assert_eq!(forgotten, Ok(()));
}

/// A person's devices go with their cursors and their queue; those of others stay.
pub async fn devices_of_one_person_are_forgotten(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let phone = DeviceId::new("phone").expect("an id");
    let cursor = store.cursor_now().await.expect("reads");
    for name in ["ana", "bob"] {
        let person = room.person(name);
        let place = DeviceCursor {
            person: person.clone(),
            device: phone.clone(),
            conversation: room.id.clone(),
            seq: Seq(0),
        };
        store.write_cursors(vec![place]).await.expect("writes");
        let written = store.write_stream_cursor(&person, &phone, &cursor).await;
        written.expect("writes");
    }
    room.say("cem", "hello").await;
    let pending = |name: &str| PendingEntry {
        user: user(name),
        seq: Seq(1),
        at: NOW,
        urgent: false,
    };
    let step = ProjectionStep {
        consumer: crate::Consumer::QUEUE,
        conversation: room.id.clone(),
        from: Seq(0),
        to: Seq(1),
    };
    let entries = vec![pending("ana"), pending("bob")];
    let queued = store.enqueue(&step, &room.workspace, entries, 10).await;
    assert_eq!(queued, Ok(true));
    for _ in 0..2 {
        let forgotten = store.forget_devices(&room.person("bob")).await;
        assert_eq!(forgotten, Ok(()));
    }
    for (name, is_kept) in [("ana", true), ("bob", false)] {
        let person = room.person(name);
        let place = store.device_cursor(&person, &phone, &room.id).await;
        assert_eq!(place.expect("reads").is_some(), is_kept, "{name}");
        let stream = store.stream_cursor(&person, &phone).await;
        assert_eq!(stream.expect("reads").is_some(), is_kept, "{name}");
        let queue = store.queue(&person, 9).await.expect("reads");
        assert_eq!(
            (queue.total, queue.conversations.len()),
            match is_kept {
                true => (1, 1),
                false => (0, 0),
            }
        );
    }
}

/// The profile goes, and blocks in both directions; those of others stay.
pub async fn profiles_and_blocks_are_forgotten(store: SharedStore) {
    let workspace = workspace();
    let person = |name: &str| Person {
        workspace: workspace.clone(),
        user: user(name),
    };
    for name in ["ana", "bob"] {
        let named = ProfileChange {
            name: Some(name.to_owned()),
            ..ProfileChange::default()
        };
        let written = store.put_profile(&person(name), named).await;
        written.expect("writes");
    }
    for (by, other) in [("bob", "ana"), ("cem", "bob"), ("cem", "ana")] {
        let set = store.set_block(&person(by), &user(other), true, NOW).await;
        set.expect("writes");
    }
    for _ in 0..2 {
        assert_eq!(store.forget_profile(&person("bob")).await, Ok(()));
    }
    let users = [user("ana"), user("bob")];
    let profiles = store.profiles(&workspace, &users).await.expect("reads");
    let names: Vec<_> = profiles.iter().map(|it| it.name.as_deref()).collect();
    assert_eq!(names, [Some("ana")]);
    assert_eq!(store.blocks(&person("bob")).await, Ok(Vec::new()));
    assert_eq!(store.blocks(&person("cem")).await, Ok(vec![user("ana")]));
}

/// A message of bob's at 1, and a reaction at 2 that was folded into its view.
async fn reacted(store: &SharedStore) -> (Room, Message) {
    let mut room = Room::new(store, &["ana", "bob"]).await;
    let mut entry = super::support::message("bob", "hello");
    entry.effects = vec![EntryEffect::PutMessage(view(&entry, "hello"))];
    let mut message = view(&entry, "hello");
    room.add(entry).await;
    message.seq = Seq(1);
    message.body = r#"{"reactions":1}"#.into();
    let put = EntryEffect::PutMessage(message.clone());
    room.add(plain(EntryKind::ReactionAdd, "ana", vec![put]))
        .await;
    message.applied_seq = Seq(2);
    (room, message)
}

async fn viewed(room: &Room, message: &Message) -> Message {
    let found = room.store.messages(&room.id, &[message.id]).await;
    found.expect("reads").remove(0)
}

/// A view that has gone wrong is written anew, also one that is pinned or not any more.
pub async fn views_are_written_anew(store: SharedStore) {
    let (room, right) = reacted(&store).await;
    let wrong = Message {
        text: "something else".to_owned(),
        body: "{}".into(),
        pinned: true,
        deleted: true,
        ..right.clone()
    };
    for view in [wrong, right.clone()] {
        let put = store.put_views(&room.id, room.epoch, vec![view.clone()]);
        assert_eq!(put.await, Ok(()));
        assert_eq!(viewed(&room, &right).await, view);
        let pinned = store.pinned(&room.id).await.expect("reads");
        assert_eq!(pinned.len(), usize::from(view.pinned));
    }
}

/// A view to which a newer entry was applied stays as it is.
pub async fn a_newer_view_is_not_overwritten(store: SharedStore) {
    let (room, newest) = reacted(&store).await;
    let older = Message {
        text: "before".to_owned(),
        applied_seq: Seq(1),
        ..newest.clone()
    };
    let put = store.put_views(&room.id, room.epoch, vec![older]).await;
    assert_eq!(put, Ok(()));
    assert_eq!(viewed(&room, &newest).await, newest);
}

/// Whoever no longer has the conversation writes no views, and nobody those of unknown messages.
pub async fn views_are_written_by_the_owner(store: SharedStore) {
    let (room, right) = reacted(&store).await;
    let wrong = Message {
        text: "wrong".to_owned(),
        ..right.clone()
    };
    let stale = Epoch(room.epoch.0 - 1);
    let put = store.put_views(&room.id, stale, vec![wrong.clone()]).await;
    assert_eq!(put, Err(AppendError::Fenced));
    let nowhere = ConversationId::generate();
    let put = store.put_views(&nowhere, room.epoch, vec![wrong]).await;
    assert_eq!(put, Err(AppendError::Fenced));
    let unknown = Message {
        seq: Seq(2),
        ..right.clone()
    };
    let put = store.put_views(&room.id, room.epoch, vec![unknown]).await;
    let is_invalid = matches!(&put, Err(AppendError::Store(StoreError::Invalid(_))));
    assert!(is_invalid, "{put:?}");
    assert_eq!(viewed(&room, &right).await, right);
}
