//! The history is what the log says, and can be made so again.

use std::time::Duration;

use quikapp_storage::{
    Claim, ConversationId, EntryKind, Message, MessageId, OwnerId, Seq, Timestamp,
};

use super::kit::{Kit, START, eager, text};
use crate::{
    Clock,
    clock::ManualClock,
    conversation::{Command, Refold},
    delivery::{Tails, history, rebuild, rebuild::Work},
};

async fn views(kit: &Kit, id: &ConversationId) -> Vec<Message> {
    let log = kit.log(id).await;
    let messages = log.iter().filter(|it| it.kind == EntryKind::Message);
    let ids: Vec<MessageId> = messages.map(|it| it.id).collect();
    let mut views = kit.store.messages(id, &ids).await.unwrap();
    views.sort_unstable_by_key(|view| view.seq);
    views
}

async fn fold(kit: &Kit, id: &ConversationId) -> Vec<Message> {
    let mut fold = Refold::default();
    let log = kit.log(id).await;
    log.iter().for_each(|entry| fold.take(entry, true));
    fold.views(Seq(0), usize::MAX)
}

/// A group in which a bit of everything happened to messages.
async fn talk(kit: &Kit) -> (ConversationId, Vec<MessageId>) {
    let id = kit.group(&["ann", "bob"]).await;
    let mut said = Vec::new();
    for number in 0..5 {
        said.push(kit.send("ann", &id, text(&format!("{number}"))).await.id);
    }
    let commands = [
        Command::Edit {
            message: said[0],
            content: "zero".into(),
        },
        Command::React {
            message: said[1],
            emoji: "+1".into(),
            add: true,
        },
        Command::Pin {
            message: said[2],
            pinned: true,
        },
        Command::Delete { message: said[3] },
    ];
    for command in commands {
        kit.submit("ann", &id, command).await.unwrap();
    }
    (id, said)
}

/// Makes every view wrong.
async fn corrupt(kit: &Kit, id: &ConversationId) {
    let claim = Claim {
        owner: OwnerId::generate(),
        now: kit.clock.now(),
        min_tenure_ms: 0,
    };
    let taken = kit.store.acquire(id, claim).await.unwrap();
    let mut wrong = views(kit, id).await;
    for view in &mut wrong {
        view.text = "wrong".into();
        view.body = "{}".into();
        view.pinned = !view.pinned;
        view.deleted = !view.deleted;
    }
    let epoch = taken.conversation.epoch;
    kit.store.put_views(id, epoch, wrong).await.unwrap();
}

/// By this clock every sequencer has had its conversation long enough.
fn ahead() -> ManualClock {
    ManualClock::at(Timestamp(START.0 + 60_000))
}

#[tokio::test]
async fn a_history_that_went_wrong_is_made_what_the_log_says() {
    let kit = Kit::new().await;
    let (id, _) = talk(&kit).await;
    let right = views(&kit, &id).await;
    assert_eq!(fold(&kit, &id).await, right);
    corrupt(&kit, &id).await;
    assert_ne!(views(&kit, &id).await, right);
    let rebuilt = rebuild(&kit.store, &ahead(), &eager(), Some("history")).await;
    let rebuilt = rebuilt.unwrap();
    assert_eq!(rebuilt.len(), 1);
    assert_eq!(rebuilt[0].projection, "history");
    assert_eq!(views(&kit, &id).await, right);
    kit.stop().await;
}

/// However many messages are folded together, and although a sequencer writes meanwhile. Their
/// clocks are so far apart that either may take the conversation from the other at any time.
#[tokio::test]
async fn a_rebuild_beside_writers_overwrites_nothing() {
    let kit = Kit::new().await;
    let ahead = ahead();
    for stretch in [1, 2, 100] {
        let (id, said) = talk(&kit).await;
        let work = Work {
            store: &kit.store,
            clock: &ahead,
            tails: Tails::default(),
            owner: OwnerId::generate(),
            tenure: Duration::from_millis(20),
        };
        let write = async {
            for number in 0..20_usize {
                let react = Command::React {
                    message: said[number % 3],
                    emoji: format!("{number}"),
                    add: true,
                };
                kit.submit("bob", &id, react).await.unwrap();
                kit.send("ann", &id, text("more")).await;
            }
        };
        let rebuilt = history::rebuild(&work, &id, stretch);
        let (rebuilt, ()) = tokio::join!(rebuilt, write);
        assert!(rebuilt.unwrap().is_some());
        assert_eq!(views(&kit, &id).await, fold(&kit, &id).await, "{stretch}");
    }
    kit.stop().await;
}
