//! The read marks that an append moves in another store: after a crash between the two, and while
//! the other one is away.

use quikapp_storage::{
    ConversationId, EntryEffect, EntryKind, RegisterChange, RegisterWrite, Role, Seq, SharedStore,
};

use crate::support::{Divided, append, entry, eventually, group, message, take, user};

async fn read(store: &SharedStore, id: &ConversationId, name: &str) -> u64 {
    store.registers(id, &user(name)).await.unwrap().marks.read.0
}

/// The process dies after the log has committed: whoever takes the conversation next moves the
/// marks, once.
#[tokio::test]
async fn a_crash_between_the_two_stores_is_repaired_by_the_next_owner() {
    let divided = Divided::new();
    let store = &divided.store;
    let id = group(store).await;
    let head = take(store, &id).await;
    let joined = EntryEffect::OpenMember {
        user: user("eve"),
        role: Role::Member,
    };
    let entries = vec![
        message("ana"),
        message("bob"),
        entry(EntryKind::MemberJoined, "ana", vec![joined]),
        message("ana"),
    ];
    // Straight to the log, as if the process had died before the second store heard of it.
    append(&*divided.log.keeper, &id, head, entries).await;
    for name in ["ana", "bob", "eve"] {
        assert_eq!(read(store, &id, name).await, 0, "{name}: not folded yet");
    }
    take(store, &id).await;
    assert_eq!(read(store, &id, "ana").await, 4);
    assert_eq!(read(store, &id, "bob").await, 2);
    assert_eq!(read(store, &id, "eve").await, 2, "all that was before them");
    assert_eq!(store.unread(&id, &user("bob")).await, Ok(1));
    assert_eq!(store.unread(&id, &user("eve")).await, Ok(1));
    let version = store.marks_since(&id, 0, 10).await.unwrap();
    take(store, &id).await;
    let again = store.marks_since(&id, 0, 10).await.unwrap();
    assert_eq!(version, again, "a second time changes nothing");
}

/// What the person did since is not undone by folding again.
#[tokio::test]
async fn folding_again_does_not_clear_what_was_marked_unread() {
    let divided = Divided::new();
    let store = &divided.store;
    let id = group(store).await;
    let head = take(store, &id).await;
    append(&**store, &id, head, vec![message("ana"), message("bob")]).await;
    let unread = RegisterWrite {
        conversation: id.clone(),
        user: user("bob"),
        change: RegisterChange::UnreadFrom(Seq(1)),
    };
    store.write_registers(vec![unread]).await.unwrap();
    // A place that was folded is not read again; one that the crash kept from being noted is.
    let twice = quikapp_storage::Fold {
        conversation: id.clone(),
        after: Seq(0),
        to: Seq(2),
        read: vec![(user("bob"), Seq(2))],
    };
    divided.registers.keeper.fold(vec![twice]).await.unwrap();
    let marks = store.registers(&id, &user("bob")).await.unwrap().marks;
    assert_eq!((marks.read, marks.unread_from), (Seq(2), Some(Seq(1))));
}

/// With the registers away a message is still acknowledged, at once.
#[tokio::test]
async fn an_append_does_not_fail_with_the_registers() {
    let divided = Divided::new();
    let store = &divided.store;
    let id = group(store).await;
    let (epoch, mut tail) = take(store, &id).await;
    divided.registers.keeper.close().await;
    for _ in 0..100 {
        tail = append(&**store, &id, (epoch, tail), vec![message("ana")])
            .await
            .tail;
    }
    assert_eq!(tail, Seq(100));
    let (_, tail) = take(store, &id).await;
    assert_eq!(tail, Seq(100), "and can be taken");
    assert!(store.unread(&id, &user("ana")).await.is_err());
}

/// Two messages whose read marks could not be moved, since the registers take no writes.
async fn with_marks_owed(divided: &Divided) -> (ConversationId, rusqlite::Connection) {
    let store = &divided.store;
    let id = group(store).await;
    let head = take(store, &id).await;
    let lock = divided.registers.lock();
    append(&**store, &id, head, vec![message("ana"), message("bob")]).await;
    (id, lock)
}

/// What could not be moved is moved by itself once the other store takes writes again.
#[tokio::test]
async fn marks_that_are_owed_follow_by_themselves() {
    let divided = Divided::new();
    let store = &divided.store;
    let (id, lock) = with_marks_owed(&divided).await;
    assert_eq!(read(store, &id, "bob").await, 0);
    drop(lock);
    eventually("the mark follows", async || {
        read(store, &id, "bob").await == 2 && read(store, &id, "ana").await == 1
    })
    .await;
}

/// Whoever marks unread what they have sent, while its read mark is owed, finds it so afterwards.
#[tokio::test]
async fn a_mark_that_is_owed_does_not_clear_one_that_was_set_after_it() {
    let divided = Divided::new();
    let store = &divided.store;
    let (id, lock) = with_marks_owed(&divided).await;
    drop(lock);
    let unread = RegisterWrite {
        conversation: id.clone(),
        user: user("bob"),
        change: RegisterChange::UnreadFrom(Seq(1)),
    };
    store.write_registers(vec![unread]).await.unwrap();
    eventually("nothing is owed", async || {
        divided.registers.keeper.folded(&id).await.unwrap() == Seq(2)
    })
    .await;
    let marks = store.registers(&id, &user("bob")).await.unwrap().marks;
    assert_eq!((marks.read, marks.unread_from), (Seq(2), Some(Seq(1))));
}

/// A stretch that was folded late does not hide that one before it is missing.
#[tokio::test]
async fn a_hole_in_what_was_folded_is_found() {
    let divided = Divided::new();
    let store = &divided.store;
    let id = group(store).await;
    let (epoch, tail) = take(store, &id).await;
    let lost = append(
        &*divided.log.keeper,
        &id,
        (epoch, tail),
        vec![message("bob")],
    )
    .await;
    append(&**store, &id, (epoch, lost.tail), vec![message("ana")]).await;
    assert_eq!(read(store, &id, "ana").await, 2);
    assert_eq!(read(store, &id, "bob").await, 0);
    take(store, &id).await;
    assert_eq!(read(store, &id, "bob").await, 1);
}
