//! Cursors of projections, what is hot, and counts per thread.

use super::support::{Room, Said, claim, user};
use crate::{
    Consumer, ConversationId, DeviceCursor, DeviceId, EntryId, OwnerId, PendingEntry,
    ProjectionStep, Seq, SharedStore, ThreadEntry, ThreadUnread,
};

fn step(consumer: &Consumer, room: &Room, from: u64, to: u64) -> ProjectionStep {
    ProjectionStep {
        consumer: consumer.clone(),
        conversation: room.id.clone(),
        from: Seq(from),
        to: Seq(to),
    }
}

/// A cursor begins at 0, moves by compare-and-set, and is one consumer's.
pub async fn a_cursor_moves_by_compare_and_set(store: SharedStore) {
    let room = Room::new(&store, &["ana"]).await;
    let kafka = Consumer::feed("kafka").expect("a name");
    let other = Consumer::feed("search").expect("a name");
    let nowhere = ConversationId::generate();
    let ids = [nowhere, room.id.clone()];
    assert_eq!(store.projected(&kafka, &ids).await, Ok(vec![Seq(0); 2]));
    let moves = [
        ((0, 4), true),
        ((0, 9), false),
        ((3, 9), false),
        ((4, 6), true),
    ];
    for ((from, to), moved) in moves {
        let step = step(&kafka, &room, from, to);
        assert_eq!(store.move_projection(&step).await, Ok(moved), "{step:?}");
    }
    assert_eq!(
        store.projected(&kafka, &ids).await,
        Ok(vec![Seq(0), Seq(6)])
    );
    assert_eq!(store.projected(&other, &ids).await, Ok(vec![Seq(0); 2]));
}

/// A reset forgets what was derived, for one consumer and one conversation.
pub async fn a_reset_begins_anew(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let mut other = Room::within(&store, &room.workspace, &["ana", "bob"]).await;
    let cursor = DeviceCursor {
        person: room.person("bob"),
        device: DeviceId::new("phone").expect("an id"),
        conversation: room.id.clone(),
        seq: Seq(0),
    };
    store.write_cursors(vec![cursor]).await.expect("writes");
    for room in [&mut room, &mut other] {
        let said = room.say("ana", "hello").await;
        let entry = PendingEntry {
            user: user("bob"),
            seq: said.seq,
            at: super::support::NOW,
            urgent: false,
        };
        let step = step(&Consumer::QUEUE, room, 0, 1);
        let queued = store.enqueue(&step, &room.workspace, vec![entry], 10);
        assert_eq!(queued.await, Ok(true));
    }
    let reset = store.reset_projection(&Consumer::QUEUE, &room.id).await;
    reset.expect("writes");
    let queue = store.queue(&room.person("bob"), 9).await.expect("reads");
    let left: Vec<_> = queue
        .conversations
        .iter()
        .map(|it| &it.conversation)
        .collect();
    assert_eq!((queue.total, left), (1, vec![&other.id]));
    let ids = [room.id.clone(), other.id.clone()];
    let places = store.projected(&Consumer::QUEUE, &ids).await;
    assert_eq!(places, Ok(vec![Seq(0), Seq(1)]));
}

/// Hot is what was taken and not released since.
pub async fn hot_is_what_was_not_released(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let quiet = Room::within(&store, &room.workspace, &["ana"]).await;
    let released = store.release(&quiet.id, quiet.epoch, quiet.tail).await;
    released.expect("writes");
    room.say("ana", "hello").await;
    let hot = |id: &ConversationId| {
        let (store, id) = (store.clone(), id.clone());
        async move {
            let all = every_hot_one(&store).await;
            all.into_iter().find(|hot| hot.id == id)
        }
    };
    let found = hot(&room.id).await.expect("was taken");
    assert_eq!((found.epoch, found.tail), (room.epoch, Seq(1)));
    assert_eq!(hot(&quiet.id).await, None);
    let again = store.acquire(&quiet.id, claim(OwnerId::generate())).await;
    again.expect("is free");
    assert!(hot(&quiet.id).await.is_some());
}

async fn every_hot_one(store: &SharedStore) -> Vec<crate::HotConversation> {
    let mut all: Vec<crate::HotConversation> = Vec::new();
    loop {
        let after = all.last().map(|hot| hot.id.clone());
        let page = store.hot(after.as_ref(), 2).await.expect("reads");
        if page.is_empty() {
            return all;
        }
        assert!(page.len() <= 2, "the limit holds");
        all.extend(page);
    }
}

/// Pages over all conversations visit each once, people's own too.
pub async fn all_conversations_are_visited(store: SharedStore) {
    let mut made = Vec::new();
    let first = Room::new(&store, &["ana"]).await;
    made.push(first.id.clone());
    for _ in 0..4 {
        made.push(Room::within(&store, &first.workspace, &["ana"]).await.id);
    }
    let mut seen: Vec<ConversationId> = Vec::new();
    loop {
        let page = store.all_conversations(seen.last(), 3).await;
        let page = page.expect("reads");
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), seen.len(), "nothing twice");
    assert!(made.iter().all(|id| seen.contains(id)));
}

struct Thread {
    room: Room,
    root: Said,
    at: u64,
    entries: Vec<ThreadEntry>,
}

impl Thread {
    async fn new(store: &SharedStore) -> Self {
        let mut room = Room::new(store, &["ana", "bob", "cem"]).await;
        let root = room.say("ana", "what do you think?").await;
        Self {
            room,
            root,
            at: 0,
            entries: Vec::new(),
        }
    }

    /// Somebody answers in the thread, and the projection sees it.
    async fn answer(&mut self, sender: &str, followers: &[&str]) -> Seq {
        let said = self.room.say(sender, "well").await;
        let entry = ThreadEntry {
            root: self.root.id,
            seq: said.seq,
            sender: user(sender),
            followers: followers.iter().map(|name| user(name)).collect(),
        };
        self.entries.push(entry.clone());
        let step = step(&Consumer::THREADS, &self.room, self.at, said.seq.0);
        let projected = self.room.store.project_threads(&step, vec![entry]).await;
        assert_eq!(projected, Ok(true));
        self.at = said.seq.0;
        said.seq
    }

    /// Everything is derived again, in one step.
    async fn rebuild(&self) {
        let (store, id) = (&self.room.store, &self.room.id);
        let reset = store.reset_projection(&Consumer::THREADS, id).await;
        reset.expect("writes");
        assert_eq!(self.of("ana").await, None);
        let step = step(&Consumer::THREADS, &self.room, 0, self.at);
        for is_done in [true, false] {
            let projected = store.project_threads(&step, self.entries.clone()).await;
            assert_eq!(projected, Ok(is_done));
        }
    }

    /// Somebody reads up to a place.
    async fn read(&self, name: &str, seq: u64) -> Option<(u64, u64, u64)> {
        let (store, id, user) = (&self.room.store, &self.room.id, user(name));
        let read = store.read_thread(id, &user, self.root.id, Seq(seq)).await;
        read.expect("writes").as_ref().map(places)
    }

    async fn of(&self, name: &str) -> Option<(u64, u64, u64)> {
        let store = &self.room.store;
        let (id, user) = (&self.room.id, user(name));
        let threads = store.threads(id, &user, None, 10).await;
        let threads = threads.expect("reads");
        let named = store.threads(id, &user, Some(&[self.root.id]), 10).await;
        assert_eq!(named, Ok(threads.clone()));
        threads.first().map(places)
    }
}

fn places(thread: &ThreadUnread) -> (u64, u64, u64) {
    (thread.unread, thread.read.0, thread.last.0)
}

/// Followers have the messages of others unread that came since they follow.
pub async fn threads_count_for_their_followers(store: SharedStore) {
    let mut thread = Thread::new(&store).await;
    assert_eq!(thread.of("ana").await, None);
    thread.answer("bob", &["ana"]).await;
    thread.answer("bob", &["ana"]).await;
    assert_eq!(thread.of("ana").await, Some((2, 1, 3)));
    assert_eq!(thread.of("bob").await, Some((0, 3, 3)));
    assert_eq!(thread.of("cem").await, None, "a reader is not a follower");
    thread.answer("ana", &["ana", "cem"]).await;
    assert_eq!(
        thread.of("ana").await,
        Some((0, 4, 4)),
        "who answers has read"
    );
    assert_eq!(thread.of("bob").await, Some((1, 3, 4)));
    assert_eq!(
        thread.of("cem").await,
        Some((1, 3, 4)),
        "from the mention on"
    );
}

/// A thread's mark only rises, up to the newest message.
pub async fn a_thread_is_read_by_its_mark(store: SharedStore) {
    let mut thread = Thread::new(&store).await;
    for _ in 0..3 {
        thread.answer("bob", &["ana"]).await;
    }
    assert_eq!(thread.read("ana", 3).await, Some((1, 3, 4)));
    assert_eq!(thread.read("ana", 2).await, Some((1, 3, 4)));
    assert_eq!(thread.read("ana", 99).await, Some((0, 4, 4)));
    let (id, ana, nothing) = (&thread.room.id, user("ana"), EntryId::generate());
    let unknown = store.read_thread(id, &ana, nothing, Seq(1)).await;
    assert_eq!(unknown, Ok(None));
}

/// Derived again from the start, the counts are the same, and what people have read stays read.
pub async fn threads_can_be_rebuilt(store: SharedStore) {
    let mut thread = Thread::new(&store).await;
    for _ in 0..3 {
        thread.answer("bob", &["ana"]).await;
    }
    assert_eq!(thread.read("ana", 3).await, Some((1, 3, 4)));
    let before = (thread.of("ana").await, thread.of("bob").await);
    thread.rebuild().await;
    assert_eq!((thread.of("ana").await, thread.of("bob").await), before);
}

/// Whoever is not a member is told of no thread. Who comes back has nothing unread that was said
/// before, while they were away or earlier; nor has who comes for the first time.
pub async fn threads_count_from_where_their_followers_came(store: SharedStore) {
    let mut thread = Thread::new(&store).await;
    thread.answer("bob", &["ana"]).await;
    thread.answer("cem", &["ana"]).await;
    assert_eq!(thread.of("bob").await, Some((1, 2, 3)));
    thread.room.leave("bob").await;
    assert_eq!(thread.of("bob").await, None);
    thread.answer("cem", &["ana"]).await;
    let last = thread.answer("cem", &["ana", "bob", "dan"]).await;
    assert_eq!(thread.of("bob").await, None);
    assert_eq!(thread.of("dan").await, None);
    assert_eq!(thread.read("bob", last.0).await, None, "does nothing");
    let came = thread.room.join("bob").await.0;
    assert_eq!(thread.of("bob").await, Some((0, came - 1, last.0)));
    thread.room.join("dan").await;
    let next = thread.answer("ana", &["ana"]).await.0;
    let expected = [
        ("ana", Some((0, next, next))),
        ("bob", Some((1, came - 1, next))),
        ("cem", Some((1, last.0, next))),
        ("dan", Some((1, came, next))),
    ];
    for derived in ["as it came", "again"] {
        for (name, stands) in expected {
            assert_eq!(thread.of(name).await, stands, "{name}, {derived}");
        }
        thread.rebuild().await;
    }
    assert_eq!(thread.read("bob", next).await, Some((0, next, next)));
    thread.room.leave("bob").await;
    let came = thread.room.join("bob").await.0;
    assert_eq!(thread.of("bob").await, Some((0, came - 1, next)));
}
