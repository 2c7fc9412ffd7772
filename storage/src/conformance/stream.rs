//! The stream over all conversations of a person.

use std::collections::HashMap;

use tokio::task::JoinSet;

use super::support::{Room, message, new_conversation, plain, user, workspace};
use crate::{
    ConversationId, ConversationKind, Entry, EntryKind, NewConversation, Person, Seq, SharedStore,
    StreamCursor,
};

/// Everything from a cursor on, by pages of a size, to the end.
async fn read_on(
    store: &SharedStore,
    person: &Person,
    mut cursor: StreamCursor,
    limit: usize,
) -> (Vec<(ConversationId, Entry)>, StreamCursor) {
    let mut all = Vec::new();
    loop {
        let page = store.missed(person, &cursor, limit).await.expect("reads");
        assert!(
            page.entries.len() <= limit,
            "a page of {}",
            page.entries.len()
        );
        assert!(page.next.0.len() <= 64, "{:?}", page.next);
        assert_eq!(store.cursor_valid(&page.next).await, Ok(true));
        all.extend(page.entries);
        cursor = page.next;
        if !page.more {
            return (all, cursor);
        }
    }
}

fn places(entries: &[(ConversationId, Entry)], id: &ConversationId) -> Vec<u64> {
    let of = entries
        .iter()
        .filter(|(conversation, _)| conversation == id);
    of.map(|(_, entry)| entry.seq.0).collect()
}

async fn own(store: &SharedStore, person: &Person) -> Room {
    let new = NewConversation {
        id: person.own_conversation(),
        ..new_conversation(&person.workspace, ConversationKind::Person, &["ana"])
    };
    Room::create(store, new).await
}

/// Whatever the size of the pages: each entry once, in the order in which they were written, the
/// person's own among them.
pub async fn pages_have_no_gap_and_no_double(store: SharedStore) {
    let workspace = workspace();
    let ana = Person {
        workspace: workspace.clone(),
        user: user("ana"),
    };
    let mut rooms = vec![own(&store, &ana).await];
    for _ in 0..4 {
        rooms.push(Room::within(&store, &workspace, &["ana"]).await);
    }
    let mut others = Room::within(&store, &workspace, &["bob"]).await;
    rooms[1].say("ana", "before the cursor").await;
    let start = store.cursor_now().await.expect("reads");
    let mut written = Vec::new();
    for turn in 0..40 {
        let room = &mut rooms[(turn * 7 + turn / 3) % 5];
        let seq = room.add(message("ana", "hello")).await;
        written.push((room.id.clone(), seq));
        others
            .add(plain(EntryKind::Notice, "bob", Vec::new()))
            .await;
    }
    for limit in [1, 2, 3, 7, 39, 40, 41, 1000] {
        let (read, end) = read_on(&store, &ana, start.clone(), limit).await;
        let read: Vec<_> = read
            .into_iter()
            .map(|(id, entry)| (id, entry.seq))
            .collect();
        assert_eq!(read, written, "pages of {limit}");
        let (rest, _) = read_on(&store, &ana, end, limit).await;
        assert!(rest.is_empty(), "nothing is behind the end");
    }
}

/// Entries from before one came, or from while one was away, are not missed; those from before
/// one left are, also afterwards.
pub async fn only_visible_entries_are_missed(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let bob = room.person("bob");
    let start = store.cursor_now().await.expect("reads");
    room.say("ana", "1").await;
    room.join("bob").await;
    room.say("ana", "3").await;
    room.leave("bob").await;
    room.say("ana", "5").await;
    let (read, _) = read_on(&store, &bob, start.clone(), 2).await;
    assert_eq!(places(&read, &room.id), [2, 3, 4]);
    room.join("bob").await;
    room.say("ana", "7").await;
    let (read, _) = read_on(&store, &bob, start.clone(), 2).await;
    assert_eq!(places(&read, &room.id), [2, 3, 4, 6, 7]);
    let middle = store.cursor_of(&room.id, Seq(4)).await.expect("reads");
    let (read, _) = read_on(&store, &bob, middle, 2).await;
    assert_eq!(places(&read, &room.id), [6, 7]);
    let stranger = room.person("eve");
    assert!(read_on(&store, &stranger, start, 2).await.0.is_empty());
    let namesake = Person {
        workspace: workspace(),
        user: user("bob"),
    };
    let (read, _) = read_on(
        &store,
        &namesake,
        store.cursor_now().await.expect("reads"),
        9,
    )
    .await;
    assert!(
        read.is_empty(),
        "the same name in another tenant is somebody else"
    );
}

/// A reader that follows writers at work misses nothing: no entry appears behind its cursor
/// later.
pub async fn nothing_is_skipped_while_others_write(store: SharedStore) {
    const ROOMS: usize = 8;
    const EACH: usize = 25;
    let workspace = workspace();
    let ana = Person {
        workspace: workspace.clone(),
        user: user("ana"),
    };
    let mut cursor = store.cursor_now().await.expect("reads");
    let mut writers = JoinSet::new();
    for _ in 0..ROOMS {
        let mut room = Room::within(&store, &workspace, &["ana"]).await;
        writers.spawn(async move {
            for _ in 0..EACH {
                room.say("ana", "hello").await;
            }
            room.id
        });
    }
    let mut seen: HashMap<ConversationId, Vec<u64>> = HashMap::new();
    let mut ids = Vec::new();
    loop {
        // What was written before this read began is in it.
        let finished = writers.is_empty();
        let (read, next) = read_on(&store, &ana, cursor, 5).await;
        for (id, entry) in read {
            seen.entry(id).or_default().push(entry.seq.0);
        }
        cursor = next;
        if finished {
            break;
        }
        while let Some(done) = writers.try_join_next() {
            ids.push(done.expect("writes"));
        }
    }
    let expected: Vec<u64> = (1..).take(EACH).collect();
    assert_eq!(ids.len(), ROOMS);
    for id in ids {
        assert_eq!(seen.get(&id), Some(&expected), "{id}");
    }
}

/// A cursor of another store, or of the future, or no cursor at all, is not valid; reading from
/// it answers "now".
pub async fn cursors_belong_to_their_store(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.say("ana", "hello").await;
    let ana = room.person("ana");
    let now = store.cursor_now().await.expect("reads");
    assert_eq!(store.cursor_valid(&now).await, Ok(true));
    let bad = [
        String::new(),
        "junk".to_owned(),
        format!("{}.1", uuid::Uuid::new_v4().simple()),
        format!("{}.1", uuid::Uuid::nil()),
        format!("{}99999999", now.0),
        format!("{}x", now.0),
        format!("-{}", now.0),
        "\u{0}".repeat(64),
    ];
    for text in bad {
        let cursor = StreamCursor(text);
        assert_eq!(store.cursor_valid(&cursor).await, Ok(false), "{cursor:?}");
        let page = store.missed(&ana, &cursor, 10).await.expect("reads");
        assert!(page.entries.is_empty() && !page.more, "{cursor:?}");
        assert_eq!(store.cursor_valid(&page.next).await, Ok(true));
    }
}

/// Whoever has an entry can go on right behind it.
pub async fn a_cursor_of_an_entry_goes_on_behind_it(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let ana = room.person("ana");
    for _ in 0..6 {
        room.say("ana", "hello").await;
    }
    for seq in 0..=6 {
        let cursor = store.cursor_of(&room.id, Seq(seq)).await.expect("reads");
        let (read, _) = read_on(&store, &ana, cursor, 4).await;
        let expected: Vec<u64> = (seq + 1..=6).collect();
        assert_eq!(places(&read, &room.id), expected, "behind {seq}");
    }
}
