//! Pages of messages, and who may see which.

use super::support::{Room, message, plain, seqs, user, view};
use crate::{EntryEffect, EntryKind, Member, Message, MessageId, Page, Role, Seq, SharedStore};

async fn page(room: &Room, name: &str, page: Page, limit: usize) -> Vec<u64> {
    let visible = room.membership(name).await;
    serve(room, &visible, name, None, page, limit).await
}

async fn serve(
    room: &Room,
    visible: &[Member],
    name: &str,
    thread: Option<MessageId>,
    page: Page,
    limit: usize,
) -> Vec<u64> {
    let reader = user(name);
    let found = room
        .store
        .history(&room.id, visible, &reader, thread, page, limit)
        .await;
    seqs(&found.expect("reads"))
}

/// From the newest backwards and from any place forwards, always ascending, never across.
pub async fn pages_go_both_ways(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    for turn in 0..7 {
        room.say("ana", "hello").await;
        if turn % 2 == 0 {
            room.add(plain(EntryKind::ReactionAdd, "ana", Vec::new()))
                .await;
        }
    }
    // Messages stand at 1, 3, 4, 6, 7, 9, 10; reactions between.
    assert_eq!(page(&room, "ana", Page::Latest, 3).await, [7, 9, 10]);
    assert_eq!(page(&room, "ana", Page::Before(Seq(7)), 3).await, [3, 4, 6]);
    assert_eq!(page(&room, "ana", Page::Before(Seq(3)), 3).await, [1]);
    assert_eq!(page(&room, "ana", Page::Before(Seq(1)), 3).await, [0; 0]);
    assert_eq!(page(&room, "ana", Page::Before(Seq(0)), 3).await, [0; 0]);
    assert_eq!(page(&room, "ana", Page::After(Seq(0)), 2).await, [1, 3]);
    assert_eq!(
        page(&room, "ana", Page::After(Seq(3)), 9).await,
        [4, 6, 7, 9, 10]
    );
    assert_eq!(page(&room, "ana", Page::After(Seq(10)), 9).await, [0; 0]);
    assert_eq!(
        page(&room, "ana", Page::After(Seq(u64::MAX)), 9).await,
        [0; 0]
    );
}

/// What was said while somebody was away is not theirs, wherever a page begins.
pub async fn only_visible_intervals_are_served(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.say("ana", "1").await;
    room.join("bob").await;
    room.say("ana", "3").await;
    room.say("ana", "4").await;
    room.leave("bob").await;
    room.say("ana", "6").await;
    room.join("bob").await;
    room.say("ana", "8").await;
    room.say("ana", "9").await;
    assert_eq!(page(&room, "bob", Page::Latest, 3).await, [4, 8, 9]);
    assert_eq!(page(&room, "bob", Page::Latest, 9).await, [3, 4, 8, 9]);
    assert_eq!(page(&room, "bob", Page::Before(Seq(9)), 2).await, [4, 8]);
    assert_eq!(page(&room, "bob", Page::After(Seq(0)), 3).await, [3, 4, 8]);
    assert_eq!(page(&room, "bob", Page::After(Seq(5)), 9).await, [8, 9]);
    assert_eq!(
        page(&room, "eve", Page::Latest, 9).await,
        [0; 0],
        "never a member"
    );
    let overlapping = [(3, Some(8)), (2, Some(4)), (8, None)].map(|(from, to)| Member {
        user: user("bob"),
        from_seq: Seq(from),
        to_seq: to.map(Seq),
        role: Role::Member,
    });
    let found = serve(&room, &overlapping, "bob", None, Page::Latest, 9).await;
    assert_eq!(
        found,
        [3, 4, 6, 8, 9],
        "overlapping intervals show nothing twice"
    );
}

/// "Delete for me" takes a message from one person's history and a full page from the rest.
pub async fn hidden_for_one_person_only(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(room.say("ana", "hello").await);
    }
    for _ in 0..2 {
        store
            .hide_message(&room.id, &user("bob"), said[2].id)
            .await
            .expect("hides");
    }
    let unknown = MessageId::generate();
    store
        .hide_message(&room.id, &user("bob"), unknown)
        .await
        .expect("is nothing");
    assert_eq!(page(&room, "bob", Page::Latest, 3).await, [1, 2, 4]);
    assert_eq!(page(&room, "ana", Page::Latest, 3).await, [2, 3, 4]);
}

/// A thread's messages are on its page and not on the main timeline.
pub async fn threads_are_apart(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let root = room.say("ana", "root").await;
    let other = room.say("ana", "another root").await;
    for thread in [root.id, other.id, root.id] {
        let mut answer = message("ana", "answer");
        answer.counts = false;
        answer.effects = vec![EntryEffect::PutMessage(Message {
            thread_root: Some(thread),
            ..view(&answer, "answer")
        })];
        room.add(answer).await;
    }
    let visible = room.membership("ana").await;
    let thread = |root, at| serve(&room, &visible, "ana", root, at, 9);
    assert_eq!(thread(None, Page::Latest).await, [1, 2]);
    assert_eq!(thread(Some(root.id), Page::Latest).await, [3, 5]);
    assert_eq!(thread(Some(root.id), Page::Before(Seq(5))).await, [3]);
    assert_eq!(thread(Some(root.id), Page::After(Seq(3))).await, [5]);
    assert_eq!(thread(Some(other.id), Page::Latest).await, [4]);
    assert_eq!(
        store.unread(&room.id, &user("bob")).await,
        Ok(2),
        "answers do not count"
    );
}

/// Pinned messages, oldest first, until they are unpinned.
pub async fn pins_are_listed(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let mut messages = Vec::new();
    for _ in 0..3 {
        let entry = message("ana", "hello");
        room.add(entry.clone()).await;
        messages.push(entry);
    }
    for (index, pinned) in [(2, true), (0, true), (1, true), (0, false)] {
        let changed = Message {
            pinned,
            seq: Seq(index as u64 + 1),
            ..view(&messages[index], "hello")
        };
        room.apply(EntryKind::Pin, EntryEffect::PutMessage(changed))
            .await;
    }
    let pinned = store.pinned(&room.id).await.expect("reads");
    assert_eq!(seqs(&pinned), [2, 3]);
    assert!(pinned.iter().all(|message| message.pinned));
}
