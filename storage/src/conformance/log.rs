//! The log: dense, fenced, idempotent, atomic.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};

use super::support::{NOW, Room, claim, message, plain, user};
use crate::{
    AcquireError, Append, AppendError, Appended, Claim, ConversationId, EntryId, EntryKind, Epoch,
    Key16, NewEntry, OwnerId, Seq, SharedStore, StoreError, Timestamp,
};

/// Fifty writers of two owners that take the conversation from each other, each through a store of
/// its own: every acknowledged entry stands once at the place it was given, and no place is empty.
pub async fn seqs_are_dense_under_contention(here: SharedStore, there: SharedStore) {
    const WRITERS: usize = 25;
    const EACH: usize = 4;
    let room = Room::new(&here, &["ana"]).await;
    let mut writers = JoinSet::new();
    let [one, other] = [0; 2].map(|_| watch::Sender::new(Standing::default()));
    for (store, own, rival) in [(here, &one, &other), (there, &other, &one)] {
        let owner = Arc::new(Owner {
            store,
            conversation: room.id.clone(),
            id: OwnerId::generate(),
            head: Mutex::new(None),
            standing: own.clone(),
            rival: rival.subscribe(),
            writing: AtomicUsize::new(WRITERS),
        });
        for _ in 0..WRITERS {
            let owner = Arc::clone(&owner);
            writers.spawn(async move { owner.write(EACH).await });
        }
    }
    let acknowledged: Vec<(Seq, EntryId)> = writers.join_all().await.concat();
    let log = room.log().await;
    let places: Vec<u64> = log.iter().map(|entry| entry.seq.0).collect();
    let expected: Vec<u64> = (1..).take(2 * WRITERS * EACH).collect();
    assert_eq!(
        places, expected,
        "places are dense and nothing is written twice"
    );
    let kept: HashSet<(Seq, EntryId)> = log.iter().map(|entry| (entry.seq, entry.id)).collect();
    for place in acknowledged {
        assert!(kept.contains(&place), "{place:?} was acknowledged");
    }
    let counts: Vec<u64> = log.iter().map(|entry| entry.n).collect();
    assert_eq!(counts, expected, "n counts every message");
}

/// One of several who sequence the same conversation, with what it believes of the log.
struct Owner {
    store: SharedStore,
    conversation: ConversationId,
    id: OwnerId,
    head: Mutex<Option<(Epoch, Seq)>>,
    standing: watch::Sender<Standing>,
    rival: watch::Receiver<Standing>,
    /// Writers that are not done.
    writing: AtomicUsize,
}

/// What one owner shows the other.
#[derive(Debug, Default)]
struct Standing {
    holds: bool,
    kept: usize,
}

impl Owner {
    /// Appends so many entries, each until it is kept.
    async fn write(&self, count: usize) -> Vec<(Seq, EntryId)> {
        let mut acknowledged = Vec::new();
        for _ in 0..count {
            let entry = message("ana", "one of many");
            acknowledged.push((self.keep(&entry).await, entry.id));
        }
        if self.writing.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.standing.send_modify(|standing| standing.holds = false);
        }
        acknowledged
    }

    /// Appends an entry until it is kept; its place.
    async fn keep(&self, entry: &NewEntry) -> Seq {
        loop {
            let (epoch, tail) = self.head().await;
            let part = Append {
                conversation: self.conversation.clone(),
                epoch,
                tail,
                entries: vec![entry.clone()],
            };
            let result = self.store.append(vec![part]).await.remove(0);
            self.learn(epoch, &result).await;
            match result {
                Ok(appended) => return appended.tail,
                // An attempt whose outcome was unknown was kept.
                Err(AppendError::DuplicateKey { .. }) => {
                    let kept = self
                        .store
                        .by_keys(&self.conversation, &[entry.keys.key])
                        .await;
                    return kept.expect("reads").first().expect("is in the log").seq;
                }
                Err(_) => {}
            }
        }
    }

    /// What it holds, taken when it holds nothing.
    async fn head(&self) -> (Epoch, Seq) {
        let mut head = self.head.lock().await;
        if let Some(held) = *head {
            return held;
        }
        self.let_the_rival_write().await;
        let taken = self.store.acquire(&self.conversation, claim(self.id)).await;
        let conversation = taken.expect("takes").conversation;
        self.standing.send_modify(|standing| standing.holds = true);
        *head.insert((conversation.epoch, conversation.tail))
    }

    /// Without a tenure two that take from each other at once would do nothing else: whoever was
    /// taken over takes back when the other has kept something, if it can.
    async fn let_the_rival_write(&self) {
        self.standing.send_modify(|standing| standing.holds = false);
        let mut rival = self.rival.clone();
        let seen = rival.borrow().kept;
        let moved = rival.wait_for(|rival| !rival.holds || rival.kept > seen);
        // One whose writers are all done is gone.
        drop(moved.await);
    }

    async fn learn(&self, tried: Epoch, result: &Result<Appended, AppendError>) {
        if result.is_ok() {
            self.standing.send_modify(|standing| standing.kept += 1);
        }
        let mut head = self.head.lock().await;
        let Some((epoch, tail)) = head.filter(|(epoch, _)| *epoch == tried) else {
            return;
        };
        *head = match result {
            Ok(appended) => Some((epoch, tail.max(appended.tail))),
            Err(AppendError::TailMoved { tail: moved }) => Some((epoch, tail.max(*moved))),
            Err(AppendError::DuplicateKey { .. }) => Some((epoch, tail)),
            Err(AppendError::Fenced | AppendError::Store(StoreError::Unknown(_))) => None,
            Err(error) => panic!("{error}"),
        };
    }
}

/// An owner that was taken over cannot append, whatever it believes.
pub async fn an_older_epoch_is_fenced(store: SharedStore) {
    let mut old = Room::new(&store, &["ana"]).await;
    old.say("ana", "first").await;
    let taken = store.acquire(&old.id, claim(OwnerId::generate())).await;
    let taken = taken.expect("takes").conversation;
    assert!(taken.epoch > old.epoch, "an epoch grows");
    assert_eq!(taken.tail, Seq(1));
    let refused = old.try_append(vec![message("ana", "late")]).await;
    assert_eq!(refused, Err(AppendError::Fenced));
    old.epoch = taken.epoch;
    assert_eq!(old.say("ana", "second").await.seq, Seq(2));
    let epochs: Vec<Epoch> = old.log().await.iter().map(|entry| entry.epoch).collect();
    assert!(
        epochs[0] < epochs[1],
        "an entry keeps the epoch it was written under"
    );
}

/// Nobody takes over from another owner before its tenure is over, or it has let go.
pub async fn a_young_tenure_is_respected(store: SharedStore) {
    let room = Room::new(&store, &["ana"]).await;
    let after = |ms: i64| Claim {
        owner: OwnerId::generate(),
        now: Timestamp(NOW.0 + ms),
        min_tenure_ms: 2000,
    };
    let early = store.acquire(&room.id, after(1500)).await.map(drop);
    assert_eq!(early, Err(AcquireError::Held { held_for_ms: 1500 }));
    let late = store.acquire(&room.id, after(2000)).await.expect("is over");
    assert_eq!(
        late.conversation.epoch.0,
        room.epoch.0 + 1,
        "a refusal costs no epoch"
    );
    let epoch = late.conversation.epoch;
    store
        .release(&room.id, epoch, Seq(0))
        .await
        .expect("releases");
    let next = store.acquire(&room.id, after(2100)).await;
    assert!(next.is_ok(), "what was let go is free: {next:?}");
    let back = store.acquire(&room.id, after(-3_600_000)).await;
    assert!(
        back.is_ok(),
        "a clock that went back does not lock it: {back:?}"
    );
}

/// Letting go with an older epoch, or before the last entry, does nothing.
pub async fn a_release_needs_the_epoch_and_the_tail(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.say("ana", "something").await;
    let other = Claim {
        min_tenure_ms: 2000,
        ..claim(OwnerId::generate())
    };
    for (epoch, tail) in [(Epoch(room.epoch.0 - 1), room.tail), (room.epoch, Seq(0))] {
        store.release(&room.id, epoch, tail).await.expect("answers");
        let refused = store.acquire(&room.id, other).await.map(drop);
        assert_eq!(refused, Err(AcquireError::Held { held_for_ms: 0 }));
    }
    store
        .release(&room.id, room.epoch, room.tail)
        .await
        .expect("releases");
    assert!(store.acquire(&room.id, other).await.is_ok());
}

/// Tenure protects from others only.
pub async fn an_owner_gets_a_new_epoch_at_once(store: SharedStore) {
    let room = Room::new(&store, &["ana", "bob"]).await;
    let mine = Claim {
        min_tenure_ms: 60_000,
        ..claim(OwnerId::generate())
    };
    store
        .acquire(&room.id, claim(mine.owner))
        .await
        .expect("takes");
    let again = store.acquire(&room.id, mine).await.expect("takes again");
    assert_eq!(again.conversation.epoch.0, room.epoch.0 + 2);
    let members: Vec<_> = again
        .members
        .iter()
        .map(|member| member.user.clone())
        .collect();
    assert_eq!(
        members,
        [user("ana"), user("bob")],
        "a sequencer starts with the members"
    );
}

/// A conversation that does not exist has no owner.
pub async fn what_was_not_taken_is_not_found(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.id = ConversationId::generate();
    let refused = store.acquire(&room.id, claim(OwnerId::generate())).await;
    assert_eq!(refused.map(drop), Err(AcquireError::NotFound));
    let refused = room.try_append(vec![message("ana", "where?")]).await;
    assert_eq!(refused, Err(AppendError::Fenced));
    assert_eq!(store.conversation(&room.id).await, Ok(None));
    assert_eq!(room.log().await, []);
}

/// A batch that was decided on another tail learns where the tail is.
pub async fn a_moved_tail_is_told(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.say("ana", "one").await;
    room.say("ana", "two").await;
    room.tail = Seq(1);
    let refused = room.try_append(vec![message("ana", "three")]).await;
    assert_eq!(refused, Err(AppendError::TailMoved { tail: Seq(2) }));
    room.tail = Seq(7);
    let refused = room.try_append(vec![message("ana", "three")]).await;
    assert_eq!(refused, Err(AppendError::TailMoved { tail: Seq(2) }));
    assert_eq!(room.log().await.len(), 2);
}

/// A key is unique in its conversation for ever, and known by it.
pub async fn a_key_is_used_once(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let first = message("ana", "hello");
    let key = first.keys.key;
    room.add(first.clone()).await;
    let retry = |key: Key16| crate::NewEntry {
        keys: key.into(),
        ..message("ana", "hello again")
    };
    let refused = room
        .try_append(vec![message("ana", "new"), retry(key)])
        .await;
    assert_eq!(refused, Err(AppendError::DuplicateKey { index: 1 }));
    let twice = Key16([9; 16]);
    let refused = room.try_append(vec![retry(twice), retry(twice)]).await;
    assert_eq!(refused, Err(AppendError::DuplicateKey { index: 1 }));
    let found = store.by_keys(&room.id, &[key, twice]).await.expect("reads");
    let found: Vec<_> = found.iter().map(|entry| (entry.id, entry.hash)).collect();
    assert_eq!(
        found,
        [(first.id, first.hash)],
        "the original, with its hash"
    );
    // What an earlier program wrote is the same under the key that it gave, too; nothing is kept
    // under a former key.
    let again = |former| crate::NewEntry {
        keys: crate::Keys {
            former: Some(former),
            ..message("ana", "").keys
        },
        ..message("ana", "hello again")
    };
    let refused = room
        .try_append(vec![message("ana", "new"), again(key)])
        .await;
    assert_eq!(refused, Err(AppendError::DuplicateKey { index: 1 }));
    let free = Key16([8; 16]);
    room.add(again(free)).await;
    room.add(again(free)).await;
    let found = store.by_keys(&room.id, &[free]).await.expect("reads");
    assert_eq!(found.len(), 0, "a former key is only looked for");
    let mut other = Room::new(&store, &["ana"]).await;
    other.add(retry(key)).await;
    // The retry of a batch whose answer was lost: its key is what matters, not where it believed
    // the tail to be.
    room.tail = Seq(0);
    let refused = room.try_append(vec![retry(key)]).await;
    assert_eq!(refused, Err(AppendError::DuplicateKey { index: 0 }));
}

/// When one entry of a part cannot be kept, nothing of the part is, effects included.
pub async fn a_part_is_all_or_nothing(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let said = room.say("ana", "first").await;
    let double = crate::NewEntry {
        id: said.id,
        ..plain(EntryKind::Pin, "ana", Vec::new())
    };
    let refused = room.try_append(vec![message("ana", "lost"), double]).await;
    assert!(
        matches!(refused, Err(AppendError::Store(StoreError::Invalid(_)))),
        "{refused:?}"
    );
    assert_eq!(room.log().await.len(), 1);
    let tails = store.tails(std::slice::from_ref(&room.id)).await;
    assert_eq!(tails, Ok(vec![(room.id.clone(), Seq(1))]));
    let empty = room.try_append(Vec::new()).await;
    assert!(
        matches!(empty, Err(AppendError::Store(StoreError::Invalid(_)))),
        "an empty batch is a mistake: {empty:?}"
    );
    assert_eq!(room.say("ana", "second").await.seq, Seq(2));
}

/// In one call, the parts that can be kept are, and results stand in the order of the parts.
pub async fn parts_do_not_touch_each_other(store: SharedStore) {
    let good = Room::new(&store, &["ana"]).await;
    let fenced = Room {
        epoch: Epoch(0),
        ..Room::new(&store, &["ana"]).await
    };
    let broken = Room::new(&store, &["ana"]).await;
    let other = Room::new(&store, &["ana"]).await;
    let part = |room: &Room| room.part(vec![message("ana", "hi"), message("ana", "there")]);
    let mut double = part(&broken);
    double.entries[1].id = double.entries[0].id;
    let parts = vec![part(&good), part(&fenced), double, part(&other)];
    let results = store.append(parts).await;
    let tails: Vec<Option<Seq>> = results
        .iter()
        .map(|result| result.as_ref().ok().map(|appended| appended.tail))
        .collect();
    assert_eq!(tails, [Some(Seq(2)), None, None, Some(Seq(2))]);
    assert_eq!(results[1], Err(AppendError::Fenced));
    assert!(
        matches!(results[2], Err(AppendError::Store(StoreError::Invalid(_)))),
        "{:?}",
        results[2]
    );
    assert_eq!(fenced.log().await, []);
    assert_eq!(broken.log().await, []);
    for room in [good, other] {
        assert_eq!(room.log().await.len(), 2);
        let members = store
            .membership(&room.id, &user("ana"))
            .await
            .expect("reads");
        let page = crate::Page::Latest;
        let views = store
            .history(&room.id, &members, &user("ana"), None, page, 9)
            .await;
        assert_eq!(
            views.expect("reads").len(),
            2,
            "once, also when a batch is done again"
        );
    }
}

/// `n` counts the entries that say so, and stands in the entry and in the answer.
pub async fn n_counts_messages(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let pin = || plain(EntryKind::Pin, "ana", Vec::new());
    let appended = room
        .append(vec![message("ana", "a"), pin(), message("ana", "b")])
        .await;
    assert_eq!(
        (appended.first, appended.tail, appended.n),
        (Seq(1), Seq(3), 2)
    );
    let appended = room.append(vec![pin()]).await;
    assert_eq!(
        (appended.first, appended.tail, appended.n),
        (Seq(4), Seq(4), 2)
    );
    let counts: Vec<u64> = room.log().await.iter().map(|entry| entry.n).collect();
    assert_eq!(counts, [1, 1, 2, 2]);
    let conversation = store.conversation(&room.id).await.expect("reads");
    assert_eq!(conversation.map(|c| (c.tail, c.n)), Some((Seq(4), 2)));
}

/// What is read is what was written, in order, from any place, in pages.
pub async fn entries_and_tails_are_read_back(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let said = room.say("ana", "hello").await;
    let mut edit = plain(EntryKind::Edit, "bob", Vec::new());
    edit.target = Some((said.id, said.seq));
    edit.hash = [3; 32];
    edit.payload = r#"{"content":"hallo"}"#.into();
    edit.at = Timestamp(NOW.0 + 5);
    room.add(edit.clone()).await;
    room.say("ana", "bye").await;
    let page = store.entries(&room.id, Seq(1), 1).await.expect("reads");
    let [read] = page.as_slice() else {
        panic!("one entry was asked for: {page:?}");
    };
    assert_eq!(
        (read.seq, read.id, read.kind),
        (Seq(2), edit.id, EntryKind::Edit)
    );
    assert_eq!(
        (&read.sender, read.key, read.hash),
        (&edit.sender, edit.keys.key, edit.hash)
    );
    assert_eq!(
        (read.target, &read.payload, read.at),
        (edit.target, &edit.payload, edit.at)
    );
    assert_eq!((read.epoch, read.n), (room.epoch, 1));
    let nothing = ConversationId::generate();
    let tails = store.tails(&[nothing, room.id.clone()]).await;
    assert_eq!(tails, Ok(vec![(room.id.clone(), Seq(3))]));
}

/// A megabyte, and every plane of Unicode.
pub async fn large_and_foreign_payloads_survive(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let large = "x".repeat(1 << 20);
    let foreign = "Ж é e\u{301} 世界 🎉👩‍👩‍👧 \u{10FFFD} \u{202e}rtl \u{1} '\"\\; DROP TABLE";
    for text in [large.as_str(), foreign] {
        let said = room.say("ana", text).await;
        let entries = store
            .entries(&room.id, Seq(said.seq.0 - 1), 1)
            .await
            .expect("reads");
        let payload: serde_json::Value =
            serde_json::from_str(&entries[0].payload).expect("a payload is JSON");
        assert!(payload["content"] == text, "payload {} differs", said.seq);
        let views = store.messages(&room.id, &[said.id]).await.expect("reads");
        assert!(views[0].text == text, "view {} differs", said.seq);
    }
}
