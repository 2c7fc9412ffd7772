//! Marks, drafts, mutes and cursors.

use std::sync::Arc;

use super::support::{NOW, Room, plain, user};
use crate::{
    ConversationId, DeviceCursor, DeviceId, EntryKind, Marks, Mute, RegisterChange, RegisterWrite,
    Registers, Seq, SharedStore, StoreError, StreamCursor, Timestamp,
};

fn write(room: &Room, name: &str, change: RegisterChange) -> RegisterWrite {
    RegisterWrite {
        conversation: room.id.clone(),
        user: user(name),
        change,
    }
}

async fn change(room: &Room, name: &str, change: RegisterChange) -> Registers {
    let written = room
        .store
        .write_registers(vec![write(room, name, change)])
        .await;
    let mut registers = written.expect("writes");
    assert_eq!(registers.len(), 1, "one answer per change");
    let answered = registers.remove(0);
    let read = room.store.registers(&room.id, &user(name)).await;
    assert_eq!(
        read.as_ref(),
        Ok(&answered),
        "what was answered is what is kept"
    );
    answered
}

async fn marks(room: &Room, name: &str, what: RegisterChange) -> Marks {
    change(room, name, what).await.marks
}

async fn talk(store: &SharedStore, messages: usize) -> Room {
    let mut room = Room::new(store, &["ana", "bob"]).await;
    for _ in 0..messages {
        room.say("ana", "hello").await;
    }
    room
}

/// Delivered and read rise and never fall; what is read is delivered.
pub async fn marks_only_move_forward(store: SharedStore) {
    let room = talk(&store, 9).await;
    let steps = [
        (RegisterChange::Delivered(Seq(4)), (4, 0)),
        (RegisterChange::Delivered(Seq(2)), (4, 0)),
        (RegisterChange::Read(Seq(3)), (4, 3)),
        (RegisterChange::Read(Seq(6)), (6, 6)),
        (RegisterChange::Read(Seq(1)), (6, 6)),
        (RegisterChange::Delivered(Seq(5)), (6, 6)),
    ];
    for (step, expected) in steps {
        let now = marks(&room, "bob", step.clone()).await;
        assert_eq!((now.delivered.0, now.read.0), expected, "{step:?}");
    }
}

/// What has not been written cannot have been read.
pub async fn marks_do_not_pass_the_tail(store: SharedStore) {
    let mut room = talk(&store, 2).await;
    let now = marks(&room, "bob", RegisterChange::Read(Seq(1000))).await;
    assert_eq!((now.delivered, now.read), (Seq(2), Seq(2)));
    room.say("ana", "one more").await;
    assert_eq!(store.unread(&room.id, &user("bob")).await, Ok(1));
}

/// Versions count the changes of a conversation's marks; what changes nothing keeps its version.
pub async fn versions_count_changes(store: SharedStore) {
    let room = talk(&store, 5).await;
    assert_eq!(
        marks(&room, "ana", RegisterChange::Read(Seq(1)))
            .await
            .version,
        1
    );
    assert_eq!(
        marks(&room, "bob", RegisterChange::Read(Seq(4)))
            .await
            .version,
        2
    );
    assert_eq!(
        marks(&room, "ana", RegisterChange::Read(Seq(1)))
            .await
            .version,
        1
    );
    assert_eq!(
        marks(&room, "bob", RegisterChange::Delivered(Seq(3)))
            .await
            .version,
        2
    );
    assert_eq!(
        marks(&room, "ana", RegisterChange::Delivered(Seq(2)))
            .await
            .version,
        3
    );
    change(&room, "ana", RegisterChange::Draft(Some("{}".into()))).await;
    assert_eq!(
        marks(&room, "ana", RegisterChange::Read(Seq(2)))
            .await
            .version,
        4
    );
}

/// What changed since a version, in pages, each member once with the newest.
pub async fn marks_since_a_version(store: SharedStore) {
    let room = talk(&store, 5).await;
    for (name, seq) in [("ana", 1), ("bob", 2), ("cem", 1), ("ana", 4)] {
        marks(&room, name, RegisterChange::Read(Seq(seq))).await;
    }
    let since = |version, limit| {
        let store = Arc::clone(&store);
        let id = room.id.clone();
        async move {
            let changed = store.marks_since(&id, version, limit).await.expect("reads");
            let changed = changed.into_iter();
            changed
                .map(|(user, marks)| (user.to_string(), marks.version, marks.read.0))
                .collect::<Vec<_>>()
        }
    };
    let all = [("bob", 2, 2), ("cem", 3, 1), ("ana", 4, 4)];
    let all = all.map(|(name, version, read)| (name.to_owned(), version, read));
    assert_eq!(since(0, 10).await, all);
    assert_eq!(since(0, 2).await, all[..2]);
    assert_eq!(since(3, 10).await, all[2..]);
    assert_eq!(since(4, 10).await, []);
}

/// Only messages count, not the other entries between them.
pub async fn unread_counts_messages(store: SharedStore) {
    let mut room = talk(&store, 2).await;
    room.add(plain(EntryKind::ReactionAdd, "ana", Vec::new()))
        .await;
    room.add(plain(EntryKind::Pin, "ana", Vec::new())).await;
    room.say("ana", "third").await;
    let bob = user("bob");
    assert_eq!(store.unread(&room.id, &bob).await, Ok(3));
    for (read, unread) in [(1, 2), (2, 1), (4, 1), (5, 0)] {
        marks(&room, "bob", RegisterChange::Read(Seq(read))).await;
        assert_eq!(
            store.unread(&room.id, &bob).await,
            Ok(unread),
            "read up to {read}"
        );
    }
    assert_eq!(store.unread(&ConversationId::generate(), &bob).await, Ok(0));
}

/// Marked unread stays so until the person reads on.
pub async fn marking_unread(store: SharedStore) {
    let room = talk(&store, 5).await;
    let bob = user("bob");
    marks(&room, "bob", RegisterChange::Read(Seq(5))).await;
    let now = marks(&room, "bob", RegisterChange::UnreadFrom(Seq(4))).await;
    assert_eq!(
        (now.unread_from, now.read),
        (Some(Seq(4)), Seq(5)),
        "the mark stays"
    );
    assert_eq!(store.unread(&room.id, &bob).await, Ok(2));
    let now = marks(&room, "bob", RegisterChange::Read(Seq(3))).await;
    assert_eq!(
        now.unread_from,
        Some(Seq(4)),
        "a late report from before is not reading on"
    );
    let now = marks(&room, "bob", RegisterChange::Read(Seq(5))).await;
    assert_eq!(now.unread_from, None);
    assert_eq!(store.unread(&room.id, &bob).await, Ok(0));
}

/// Drafts and mutes are set, replaced and cleared, each without the other.
pub async fn drafts_and_mutes_are_kept(store: SharedStore) {
    let room = talk(&store, 1).await;
    let mute = Mute {
        until: Some(Timestamp(NOW.0 + 60_000)),
        mentions_only: true,
    };
    let for_ever = Mute {
        until: None,
        mentions_only: false,
    };
    change(
        &room,
        "ana",
        RegisterChange::Draft(Some(r#"{"text":"ab"}"#.into())),
    )
    .await;
    let now = change(&room, "ana", RegisterChange::Mute(Some(mute))).await;
    assert_eq!(now.draft.as_deref(), Some(r#"{"text":"ab"}"#));
    assert_eq!(now.mute, Some(mute));
    let now = change(&room, "ana", RegisterChange::Draft(None)).await;
    assert_eq!((now.draft, now.mute), (None, Some(mute)));
    let now = change(&room, "ana", RegisterChange::Mute(Some(for_ever))).await;
    assert_eq!(now.mute, Some(for_ever));
    let now = change(&room, "ana", RegisterChange::Mute(None)).await;
    assert_eq!(now, Registers::default());
    let others = store.registers(&room.id, &user("bob")).await;
    assert_eq!(others, Ok(Registers::default()));
}

/// The mutes of several people at once, in their order and of that conversation only; who has none,
/// cleared it or was never there has none, and so has everybody where there is no conversation.
pub async fn mutes_are_read_together(store: SharedStore) {
    let (room, other) = (talk(&store, 1).await, talk(&store, 1).await);
    let timed = Mute {
        until: Some(Timestamp(NOW.0 + 60_000)),
        mentions_only: true,
    };
    let for_ever = Mute {
        until: None,
        mentions_only: false,
    };
    let mute = RegisterChange::Mute;
    change(&room, "ana", mute(Some(timed))).await;
    change(&room, "bob", mute(Some(for_ever))).await;
    change(&room, "cem", mute(Some(for_ever))).await;
    change(&room, "cem", mute(None)).await;
    change(&other, "dan", mute(Some(for_ever))).await;
    let users = ["eve", "bob", "dan", "cem", "ana"].map(user);
    let read = store.mutes(&room.id, &users).await;
    let expected = [None, Some(for_ever), None, None, Some(timed)];
    assert_eq!(read.expect("reads"), expected);
    assert_eq!(store.mutes(&room.id, &[]).await, Ok(Vec::new()));
    let many: Vec<_> = (0..1_100).map(|n| user(&format!("u{n}"))).collect();
    let nobody = store.mutes(&room.id, &many).await.expect("reads");
    assert_eq!(nobody, vec![None; many.len()]);
    let nowhere = store.mutes(&ConversationId::generate(), &users).await;
    assert_eq!(nowhere.expect("reads"), [None; 5]);
}

/// Many changes at once: each answer shows the registers right after its change; a conversation
/// that does not exist keeps nothing and disturbs nobody.
pub async fn writes_answer_in_order(store: SharedStore) {
    let one = talk(&store, 3).await;
    let two = talk(&store, 3).await;
    let nowhere = RegisterWrite {
        conversation: ConversationId::generate(),
        ..write(&one, "ana", RegisterChange::Read(Seq(1)))
    };
    let writes = vec![
        write(&one, "ana", RegisterChange::Read(Seq(1))),
        write(&two, "ana", RegisterChange::Read(Seq(3))),
        nowhere,
        write(&one, "ana", RegisterChange::Read(Seq(2))),
        write(&one, "bob", RegisterChange::Delivered(Seq(2))),
    ];
    let answers = store.write_registers(writes).await.expect("writes");
    let answers: Vec<_> = answers
        .iter()
        .map(|registers| (registers.marks.read.0, registers.marks.version))
        .collect();
    assert_eq!(answers, [(1, 1), (3, 1), (0, 0), (2, 2), (0, 3)]);
    assert_eq!(store.write_registers(Vec::new()).await, Ok(Vec::new()));
}

/// A device's place rises, up to the tail; devices and conversations are apart.
pub async fn device_cursors_only_rise(store: SharedStore) {
    let room = talk(&store, 5).await;
    let bob = room.person("bob");
    let phone = DeviceId::new("phone").expect("an id");
    let laptop = DeviceId::new("laptop").expect("an id");
    let cursor = |device: &DeviceId, seq| DeviceCursor {
        person: bob.clone(),
        device: device.clone(),
        conversation: room.id.clone(),
        seq: Seq(seq),
    };
    let writes = vec![cursor(&phone, 3), cursor(&phone, 2), cursor(&laptop, 99)];
    store.write_cursors(writes).await.expect("writes");
    let of = |device: DeviceId| {
        let (store, bob, id) = (Arc::clone(&store), bob.clone(), room.id.clone());
        async move { store.device_cursor(&bob, &device, &id).await }
    };
    assert_eq!(of(phone).await, Ok(Some(Seq(3))));
    assert_eq!(
        of(laptop).await,
        Ok(Some(Seq(5))),
        "nothing behind the tail is on a device"
    );
    assert_eq!(of(DeviceId::new("tablet").expect("an id")).await, Ok(None));
}

/// The stream's place per device, which does not fall; what is no cursor is refused.
pub async fn stream_cursors_are_kept(store: SharedStore) {
    let mut room = talk(&store, 1).await;
    let bob = room.person("bob");
    let phone = DeviceId::new("phone").expect("an id");
    assert_eq!(store.stream_cursor(&bob, &phone).await, Ok(None));
    let early = store.cursor_now().await.expect("reads");
    room.say("ana", "more").await;
    let late = store.cursor_now().await.expect("reads");
    for cursor in [&late, &early] {
        store
            .write_stream_cursor(&bob, &phone, cursor)
            .await
            .expect("writes");
    }
    assert_eq!(store.stream_cursor(&bob, &phone).await, Ok(Some(late)));
    let junk = StreamCursor("junk".to_owned());
    let refused = store.write_stream_cursor(&bob, &phone, &junk).await;
    assert!(
        matches!(refused, Err(StoreError::Invalid(_))),
        "{refused:?}"
    );
}
