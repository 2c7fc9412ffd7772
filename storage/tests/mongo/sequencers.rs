//! Two processes that sequence the same conversation, and readers of the stream meanwhile.

use std::{collections::HashMap, sync::Arc};

use quikapp_storage::{
    AppendError, ConversationId, Key16, LogStore, MongoLog, Pause, Step, StoreError, Testing,
};
use tokio::task::JoinSet;

use crate::support::{Place, Sequencer, ana, group, message, with_database};

/// Long enough for an append, so that two who take a conversation from each other get on.
const TENURE_MS: u64 = 100;

async fn paused(place: &Place, step: Step) -> (Arc<MongoLog>, Pause) {
    let pause = Pause::behind(step);
    let testing = Testing {
        pause: Some(pause.clone()),
        ..Testing::default()
    };
    (place.open_with(testing).await, pause)
}

/// The predecessor's entry comes after its successor has looked: nobody acknowledges it, and the
/// successor meets it at the place that it wanted itself.
#[tokio::test]
async fn a_late_entry_of_a_predecessor_is_met() {
    with_database(|place| async move {
        let (slow, pause) = paused(&place, Step::Checked).await;
        let other = place.open().await;
        let id = group(&other).await;
        let mut old = Sequencer::take(&slow, &id).await;
        let late = message("late");
        let key = late.keys.key;
        let append = tokio::spawn(async move { old.append(vec![late]).await });
        pause.reached().await;
        let mut new = Sequencer::take(&other, &id).await;
        pause.go_on();
        let outcome = append.await.unwrap();
        assert!(
            matches!(outcome, Err(AppendError::Store(StoreError::Unknown(_)))),
            "{outcome:?}"
        );
        let mine = message("mine");
        let refused = new.append(vec![mine.clone()]).await;
        let Err(AppendError::TailMoved { tail }) = refused else {
            panic!("{refused:?}");
        };
        new.head.1 = tail;
        new.append(vec![mine.clone()]).await.unwrap();
        assert_eq!(new.keys().await, [key, mine.keys.key]);
    })
    .await;
}

/// Predecessors that had confirmed, and come with it long after their successors have settled it:
/// whoever has read an entry is not given it again.
#[tokio::test]
async fn what_was_settled_by_another_is_not_in_the_stream_twice() {
    with_database(|place| async move {
        let reader = place.open().await;
        let id = group(&reader).await;
        let mut stalled = Vec::new();
        for text in ["one", "two"] {
            let (slow, pause) = paused(&place, Step::Confirmed).await;
            let mut sequencer = Sequencer::take(&slow, &id).await;
            let append = tokio::spawn(async move { sequencer.append(vec![message(text)]).await });
            pause.reached().await;
            stalled.push((append, pause));
        }
        let newest = Sequencer::take(&reader, &id).await;
        assert_eq!(newest.streamed().await, [1, 2]);
        let mut cursor = reader.cursor_now().await.unwrap();
        for (append, pause) in stalled {
            pause.go_on();
            append.await.unwrap().unwrap();
            let page = reader.missed(&ana(), &cursor, 5).await.unwrap();
            assert!(page.entries.is_empty(), "{:?}", page.entries);
            cursor = page.next;
        }
        assert_eq!(newest.streamed().await, [1, 2]);
    })
    .await;
}

/// The successor was faster: the predecessor finds its place taken, and learns that it is fenced.
#[tokio::test]
async fn a_predecessor_that_comes_too_late_is_fenced() {
    with_database(|place| async move {
        let (slow, pause) = paused(&place, Step::Checked).await;
        let other = place.open().await;
        let id = group(&other).await;
        let mut old = Sequencer::take(&slow, &id).await;
        let append = tokio::spawn(async move { old.append(vec![message("late")]).await });
        pause.reached().await;
        let mut new = Sequencer::take(&other, &id).await;
        let mine = message("mine");
        new.append(vec![mine.clone()]).await.unwrap();
        pause.go_on();
        assert_eq!(append.await.unwrap(), Err(AppendError::Fenced));
        assert_eq!(new.keys().await, [mine.keys.key]);
    })
    .await;
}

/// The same key through two processes is one entry.
#[tokio::test]
async fn a_retry_through_another_process_finds_the_first_attempt() {
    with_database(|place| async move {
        let (slow, pause) = paused(&place, Step::Inserted).await;
        let other = place.open().await;
        let id = group(&other).await;
        let mut old = Sequencer::take(&slow, &id).await;
        let said = message("once");
        let retry = said.clone();
        let append = tokio::spawn(async move { old.append(vec![said]).await });
        pause.reached().await;
        let mut new = Sequencer::take(&other, &id).await;
        let refused = new.append(vec![retry.clone()]).await;
        assert_eq!(refused, Err(AppendError::DuplicateKey { index: 0 }));
        pause.go_on();
        assert!(append.await.unwrap().is_err(), "not ours to acknowledge");
        assert_eq!(new.keys().await, [retry.keys.key]);
    })
    .await;
}

/// Writes through one process; the keys in the order in which they were acknowledged.
async fn talk(log: Arc<MongoLog>, id: ConversationId, count: usize) -> Vec<Key16> {
    let mut sequencer = Sequencer::claim(&log, &id, TENURE_MS).await;
    let mut said = Vec::new();
    while said.len() < count {
        let entry = message("hello");
        let key = entry.keys.key;
        match sequencer.append(vec![entry]).await {
            Ok(_) => said.push(key),
            // An entry whose outcome is unknown may be in the log, and is not counted.
            Err(_) => sequencer = Sequencer::claim(&log, &id, TENURE_MS).await,
        }
    }
    said
}

/// Two processes that take conversations from each other, and a reader that follows the stream:
/// it sees each log once, in its order, whatever it read before.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_misses_nothing_of_two_processes() {
    with_database(|place| async move {
        let processes = [place.open().await, place.open().await];
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(group(&processes[0]).await);
        }
        let mut cursor = processes[0].cursor_now().await.unwrap();
        let mut writers = JoinSet::new();
        for id in &ids {
            for log in &processes {
                writers.spawn(talk(Arc::clone(log), id.clone(), 8));
            }
        }
        let mut acknowledged = Vec::new();
        let mut seen: HashMap<ConversationId, Vec<u64>> = HashMap::new();
        loop {
            let finished = writers.is_empty();
            let page = processes[1].missed(&ana(), &cursor, 5).await.unwrap();
            for (id, entry) in page.entries {
                seen.entry(id).or_default().push(entry.seq.0);
            }
            cursor = page.next;
            while let Some(done) = writers.try_join_next() {
                acknowledged.extend(done.unwrap());
            }
            if finished && !page.more {
                break;
            }
        }
        let mut kept = Vec::new();
        for id in &ids {
            let judge = Sequencer::take(&processes[0], id).await;
            let keys = judge.keys().await;
            let dense: Vec<u64> = (1..=keys.len() as u64).collect();
            assert_eq!(seen.get(id), Some(&dense), "the reader saw the log");
            kept.extend(keys);
        }
        assert_eq!(acknowledged.len(), 48);
        for key in acknowledged {
            let times = kept.iter().filter(|kept| **kept == key).count();
            assert_eq!(times, 1, "an acknowledged entry is in the log once");
        }
    })
    .await;
}
