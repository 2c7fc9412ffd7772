//! The store-and-forward queue: what some device of a person lacks.

use std::convert::Infallible;

use tokio::task::JoinSet;

use super::support::{NOW, Room, user, workspace};
use crate::{
    Consumer, DeviceCursor, DeviceId, PendingConversation, PendingEntry, PendingQueue, Person,
    ProjectionStep, Seq, SharedStore, StreamCursor, Timestamp,
};

const CAP: usize = 1_000;

async fn reached(room: &Room, name: &str, device: &str, seq: u64) {
    let cursor = DeviceCursor {
        person: room.person(name),
        device: DeviceId::new(device).expect("an id"),
        conversation: room.id.clone(),
        seq: Seq(seq),
    };
    let written = room.store.write_cursors(vec![cursor]).await;
    written.expect("writes");
}

fn entry(name: &str, seq: u64, urgent: bool) -> PendingEntry {
    PendingEntry {
        user: user(name),
        seq: Seq(seq),
        at: Timestamp(NOW.0 + i64::try_from(seq).unwrap_or_default()),
        urgent,
    }
}

fn step(room: &Room, from: u64, to: u64) -> ProjectionStep {
    ProjectionStep {
        consumer: Consumer::QUEUE,
        conversation: room.id.clone(),
        from: Seq(from),
        to: Seq(to),
    }
}

/// Queues the places of a range for people.
async fn enqueue(room: &Room, names: &[&str], from: u64, to: u64, cap: usize) -> bool {
    let mut entries = Vec::new();
    for seq in from + 1..=to {
        entries.extend(names.iter().map(|name| entry(name, seq, false)));
    }
    let step = step(room, from, to);
    let queued = room.store.enqueue(&step, &room.workspace, entries, cap);
    queued.await.expect("writes")
}

async fn queue(room: &Room, name: &str) -> PendingQueue {
    let queue = room.store.queue(&room.person(name), 100).await;
    queue.expect("reads")
}

async fn queued(room: &Room, name: &str) -> Vec<(u64, u64, u64)> {
    let queue = queue(room, name).await;
    let counted: u64 = queue.conversations.iter().map(|it| it.count).sum();
    assert_eq!(queue.total, counted, "the total is that of the parts");
    let parts = queue.conversations.into_iter();
    parts.map(|it| (it.first.0, it.last.0, it.count)).collect()
}

async fn talk(store: &SharedStore, count: u64) -> Room {
    let mut room = Room::new(store, &["ana", "bob", "cem"]).await;
    for _ in 0..count {
        room.say("ana", "hello").await;
    }
    room
}

/// Only what a device lacks is queued, the device that is furthest behind counts, and who has no
/// device has no queue.
pub async fn what_a_device_lacks_is_queued(store: SharedStore) {
    let room = talk(&store, 6).await;
    reached(&room, "ana", "phone", 6).await;
    reached(&room, "bob", "phone", 5).await;
    reached(&room, "bob", "laptop", 3).await;
    assert!(enqueue(&room, &["ana", "bob", "cem"], 0, 6, CAP).await);
    assert_eq!(queued(&room, "ana").await, []);
    assert_eq!(queued(&room, "bob").await, [(4, 6, 3)]);
    assert_eq!(queued(&room, "cem").await, []);
    let other = Room::within(&store, &room.workspace, &["ana"]).await;
    let queue = queue(&room, "bob").await;
    let expected = PendingConversation {
        conversation: room.id.clone(),
        first: Seq(4),
        last: Seq(6),
        count: 3,
        oldest: Timestamp(NOW.0 + 4),
        urgent: false,
    };
    assert_eq!(queue.conversations, [expected]);
    assert_eq!(queued(&other, "ana").await, []);
}

/// A device that has never been in a conversation lacks all of it.
pub async fn a_known_device_lacks_what_is_new_to_it(store: SharedStore) {
    let room = talk(&store, 2).await;
    reached(&room, "bob", "phone", 2).await;
    let mut next = Room::within(&store, &room.workspace, &["ana", "bob"]).await;
    next.say("ana", "over here").await;
    assert!(enqueue(&next, &["bob"], 0, 1, CAP).await);
    assert_eq!(queued(&next, "bob").await, [(1, 1, 1)]);
}

/// A device is known from its first cursor, in a conversation or over all; each person's apart.
pub async fn devices_are_known_by_their_cursors(store: SharedStore) {
    let room = talk(&store, 1).await;
    let bob = room.person("bob");
    assert_eq!(store.devices(&bob).await, Ok(Vec::new()));
    reached(&room, "bob", "phone", 1).await;
    reached(&room, "ana", "tablet", 1).await;
    let laptop = DeviceId::new("laptop").expect("an id");
    let now = store.cursor_now().await.expect("reads");
    let written = store.write_stream_cursor(&bob, &laptop, &now).await;
    written.expect("writes");
    let devices = store.devices(&bob).await.expect("reads");
    let names: Vec<_> = devices.iter().map(DeviceId::as_str).collect();
    assert_eq!(names, ["laptop", "phone"]);
}

/// Rows go once every device has acknowledged them.
pub async fn acknowledged_entries_leave_the_queue(store: SharedStore) {
    let room = talk(&store, 4).await;
    reached(&room, "bob", "phone", 0).await;
    reached(&room, "bob", "laptop", 0).await;
    enqueue(&room, &["bob"], 0, 4, CAP).await;
    let trim = |id| {
        let (store, bob) = (store.clone(), room.person("bob"));
        async move {
            let trimmed = store.trim_queue(vec![(bob, id)]).await;
            trimmed.expect("writes");
        }
    };
    reached(&room, "bob", "phone", 4).await;
    trim(Some(room.id.clone())).await;
    assert_eq!(queued(&room, "bob").await, [(1, 4, 4)]);
    reached(&room, "bob", "laptop", 3).await;
    trim(Some(room.id.clone())).await;
    assert_eq!(queued(&room, "bob").await, [(4, 4, 1)]);
    reached(&room, "bob", "laptop", 4).await;
    trim(None).await;
    assert_eq!(queued(&room, "bob").await, []);
}

/// What a device acknowledges of its person's stream counts in each conversation, up to the entry
/// that the cursor stands behind, wherever the log is.
pub async fn a_stream_acknowledgement_counts_in_each_conversation(store: SharedStore) {
    let first = talk(&store, 5).await;
    let mut second = Room::within(&store, &first.workspace, &["ana", "bob"]).await;
    second.say("ana", "over here").await;
    for room in [&first, &second] {
        reached(room, "bob", "phone", 0).await;
    }
    assert!(enqueue(&first, &["bob"], 0, 5, CAP).await);
    assert!(enqueue(&second, &["bob"], 0, 1, CAP).await);
    let (bob, phone) = (first.person("bob"), DeviceId::new("phone").expect("an id"));
    let acknowledge = async |cursor: &StreamCursor| {
        let written = store.write_stream_cursor(&bob, &phone, cursor).await;
        written.expect("writes");
        let trimmed = store.trim_queue(vec![(bob.clone(), None)]).await;
        trimmed.expect("writes");
    };
    let lacking = async |room: &Room, seq| {
        let people = std::slice::from_ref(&bob.user);
        let lacking = store.lacking(&room.id, Seq(seq), &room.workspace, people);
        !lacking.await.expect("reads").is_empty()
    };
    let third = store.cursor_of(&first.id, Seq(3)).await.expect("reads");
    acknowledge(&third).await;
    assert_eq!(queued(&first, "bob").await, [(4, 5, 2), (1, 1, 1)]);
    assert!(!lacking(&first, 3).await && lacking(&first, 4).await);
    let now = store.cursor_now().await.expect("reads");
    acknowledge(&now).await;
    assert_eq!(queued(&first, "bob").await, []);
    assert!(!lacking(&first, 5).await && !lacking(&second, 1).await);
}

/// Of two who project the same part one does nothing, and nothing twice.
pub async fn a_stale_projector_does_nothing(store: SharedStore) {
    let room = talk(&store, 3).await;
    reached(&room, "bob", "phone", 0).await;
    assert!(enqueue(&room, &["bob"], 0, 2, CAP).await);
    assert!(!enqueue(&room, &["bob"], 0, 3, CAP).await);
    assert!(!enqueue(&room, &["bob"], 1, 3, CAP).await);
    assert_eq!(queued(&room, "bob").await, [(1, 2, 2)]);
    assert!(enqueue(&room, &["bob"], 2, 3, CAP).await);
    assert_eq!(queued(&room, "bob").await, [(1, 3, 3)]);
}

/// A queue has a cap: the oldest go.
pub async fn a_full_queue_drops_the_oldest(store: SharedStore) {
    let room = talk(&store, 9).await;
    reached(&room, "bob", "phone", 0).await;
    reached(&room, "cem", "phone", 0).await;
    enqueue(&room, &["bob", "cem"], 0, 6, 4).await;
    assert_eq!(queued(&room, "bob").await, [(3, 6, 4)]);
    enqueue(&room, &["bob"], 6, 9, 4).await;
    assert_eq!(queued(&room, "bob").await, [(6, 9, 4)]);
    assert_eq!(queued(&room, "cem").await, [(3, 6, 4)]);
}

/// Counts everybody's queue; whose.
async fn count_again(store: &SharedStore) -> Vec<Person> {
    let mut seen = Vec::new();
    loop {
        let page = store.recount_queues(seen.last(), 2).await.expect("writes");
        let is_last = page.len() < 2;
        seen.extend(page);
        if is_last {
            return seen;
        }
    }
}

async fn count_for_ever(store: &SharedStore) -> Infallible {
    loop {
        count_again(store).await;
    }
}

/// Where totals are right they stay; people are visited once, in pages.
pub async fn counting_again_changes_nothing(store: SharedStore) {
    let room = talk(&store, 3).await;
    for name in ["ana", "bob", "cem"] {
        reached(&room, name, "phone", 0).await;
    }
    enqueue(&room, &["ana", "bob", "cem"], 0, 3, CAP).await;
    reached(&room, "cem", "phone", 3).await;
    let cem = (room.person("cem"), None);
    store.trim_queue(vec![cem]).await.expect("writes");
    let seen = count_again(&store).await;
    for name in ["ana", "bob"] {
        let times = seen.iter().filter(|person| **person == room.person(name));
        assert_eq!(times.count(), 1, "{name}");
        assert_eq!(queued(&room, name).await, [(1, 3, 3)]);
    }
    assert_eq!(queued(&room, "cem").await, []);
}

/// What is queued while it is counted is counted once.
pub async fn counting_again_beside_writers(store: SharedStore) {
    const EACH: u64 = 12;
    let workspace = workspace();
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let mut room = Room::within(&store, &workspace, &["ana", "bob"]).await;
        for _ in 0..EACH {
            room.say("ana", "hello").await;
        }
        reached(&room, "bob", "phone", 0).await;
        writers.spawn(async move {
            for seq in 0..EACH {
                assert!(enqueue(&room, &["bob"], seq, seq + 1, CAP).await);
            }
            room
        });
    }
    let rooms = tokio::select! {
        rooms = writers.join_all() => rooms,
        never = count_for_ever(&store) => match never {},
    };
    assert_eq!(queued(&rooms[0], "bob").await, [(1, EACH, EACH); 4]);
}

/// Totals that are not those of the queues are set right, also where one of the two is missing
/// altogether. `damage` runs a statement on the database of the store, which holds nothing else:
/// not for stores that are not in SQL.
pub async fn wrong_totals_are_counted_again(
    store: SharedStore,
    damage: impl AsyncFn(&'static str),
) {
    let room = talk(&store, 4).await;
    reached(&room, "bob", "phone", 0).await;
    enqueue(&room, &["bob"], 0, 4, CAP).await;
    for (statement, left) in [
        ("UPDATE pending_totals SET total = 70", 4),
        ("UPDATE pending_totals SET total = -1", 4),
        ("DELETE FROM pending_totals", 4),
        ("DELETE FROM pending WHERE seq = 4", 3),
        ("DELETE FROM pending", 0),
    ] {
        damage(statement).await;
        assert_eq!(
            count_again(&store).await,
            [room.person("bob")],
            "{statement}"
        );
        let queue = queue(&room, "bob").await;
        let rows: u64 = queue.conversations.iter().map(|it| it.count).sum();
        assert_eq!((queue.total, rows), (left, left), "{statement}");
    }
    // The cap is of what is there.
    let reset = store.reset_projection(&Consumer::QUEUE, &room.id).await;
    reset.expect("writes");
    assert!(enqueue(&room, &["bob"], 0, 4, 4).await);
    assert_eq!(queued(&room, "bob").await, [(1, 4, 4)]);
}

/// What is too old is dropped, in portions.
pub async fn old_entries_leave_the_queue(store: SharedStore) {
    let room = talk(&store, 5).await;
    reached(&room, "bob", "phone", 0).await;
    let mut entries: Vec<PendingEntry> = (1..=5).map(|seq| entry("bob", seq, false)).collect();
    for entry in &mut entries {
        // Long before anything else that this suite queues.
        entry.at = Timestamp(i64::try_from(entry.seq.0).unwrap_or_default());
    }
    let queued_at = step(&room, 0, 5);
    let enqueued = store.enqueue(&queued_at, &room.workspace, entries, CAP);
    assert_eq!(enqueued.await, Ok(true));
    assert_eq!(store.expire_queue(Timestamp(4), 2).await, Ok(2));
    assert_eq!(queued(&room, "bob").await, [(3, 5, 3)]);
    assert_eq!(store.expire_queue(Timestamp(4), 9).await, Ok(1));
    assert_eq!(queued(&room, "bob").await, [(4, 5, 2)]);
}

/// Conversations with something urgent stand in front.
pub async fn urgent_conversations_come_first(store: SharedStore) {
    let workspace = workspace();
    let mut rooms = Vec::new();
    for urgent in [false, true, false] {
        let mut room = Room::within(&store, &workspace, &["ana", "bob"]).await;
        reached(&room, "bob", "phone", 0).await;
        room.say("ana", "hello").await;
        room.say("ana", "hello").await;
        let entries = vec![entry("bob", 1, false), entry("bob", 2, urgent)];
        let step = step(&room, 0, 2);
        let queued = store.enqueue(&step, &workspace, entries, CAP).await;
        assert_eq!(queued, Ok(true));
        rooms.push(room);
    }
    let queue = queue(&rooms[0], "bob").await;
    let order: Vec<_> = queue
        .conversations
        .iter()
        .map(|it| &it.conversation)
        .collect();
    assert_eq!(order, [&rooms[1].id, &rooms[0].id, &rooms[2].id]);
    let urgent: Vec<_> = queue.conversations.iter().map(|it| it.urgent).collect();
    assert_eq!(urgent, [true, false, false]);
}

/// More than anybody misses.
const ALL: u64 = 1_000_000;

/// What a cursor leaves behind it is counted, where it is visible.
pub async fn a_backlog_counts_what_was_missed(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let bob = room.person("bob");
    let start = store.cursor_now().await.expect("reads");
    for _ in 0..3 {
        room.say("ana", "not for bob").await;
    }
    room.join("bob").await;
    room.say("ana", "for bob").await;
    let backlog = store.backlog(&bob, &start, ALL).await.expect("reads");
    let backlog = backlog.expect("a cursor of this store");
    assert_eq!((backlog.count, backlog.oldest), (2, Some(NOW)));
    let now = store.cursor_now().await.expect("reads");
    let backlog = store.backlog(&bob, &now, ALL).await.expect("reads");
    let backlog = backlog.expect("a cursor of this store");
    assert_eq!((backlog.count, backlog.oldest), (0, None));
    let junk = crate::StreamCursor("junk".to_owned());
    assert_eq!(store.backlog(&bob, &junk, ALL).await, Ok(None));
}

/// Whoever asks whether it is too much hears no more than that it is.
pub async fn a_backlog_is_counted_until_it_is_enough(store: SharedStore) {
    let workspace = workspace();
    let start = store.cursor_now().await.expect("reads");
    let mut rooms = Vec::new();
    for _ in 0..3 {
        let mut room = Room::within(&store, &workspace, &["ana"]).await;
        for _ in 0..3 {
            room.say("ana", "hello").await;
        }
        rooms.push(room);
    }
    let ana = rooms[0].person("ana");
    for (enough, counted) in [
        (1, 1),
        (3, 3),
        (4, 4),
        (8, 8),
        (9, 9),
        (10, 9),
        (u64::MAX, 9),
    ] {
        let backlog = store.backlog(&ana, &start, enough).await.expect("reads");
        let backlog = backlog.expect("a cursor of this store");
        assert_eq!((backlog.count, backlog.oldest), (counted, Some(NOW)));
    }
}

/// A place has reached a person once it is on all of their devices, of which there must be one.
pub async fn who_lacks_a_place_is_told(store: SharedStore) {
    let room = talk(&store, 3).await;
    reached(&room, "ana", "phone", 3).await;
    reached(&room, "bob", "phone", 3).await;
    reached(&room, "bob", "laptop", 1).await;
    let lacking = |seq| {
        let (store, id, workspace) = (store.clone(), room.id.clone(), room.workspace.clone());
        async move {
            let people = ["ana", "bob", "cem"].map(user);
            let lacking = store.lacking(&id, Seq(seq), &workspace, &people).await;
            lacking.expect("reads")
        }
    };
    assert_eq!(lacking(0).await, ["cem"].map(user), "has no device");
    assert_eq!(lacking(1).await, ["cem"].map(user));
    assert_eq!(lacking(2).await, ["bob", "cem"].map(user));
    reached(&room, "bob", "laptop", 3).await;
    reached(&room, "cem", "phone", 3).await;
    assert_eq!(lacking(3).await, []);
}
