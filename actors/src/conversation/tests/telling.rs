//! What people are told of conversations in their own: once, whatever became of the commit.

use std::sync::Arc;

use quikapp_storage::{ConversationKind, Created, Role, TimerKind, Timestamp};

use super::{
    super::{Command, CommandError, SendMessage},
    faulty::Fault,
    kit::{Kit, message, person},
};
use crate::{
    clock::ManualClock,
    delivery::{self, Delivery, Parts},
};

fn add(name: &str) -> Command {
    Command::AddMembers {
        members: vec![(person(name).user, Role::Member)],
    }
}

#[tokio::test]
async fn who_was_added_by_a_commit_in_doubt_hears_of_it() {
    for fault in [Fault::UnknownButWritten, Fault::UnknownAndLost] {
        let kit = Kit::faulty().await;
        let id = kit.group(&["ann", "bob"]).await;
        let mut carols = kit.listen(&person("carol").own_conversation());
        kit.faults.inject(fault);
        kit.submit("ann", &id, add("carol")).await.unwrap();
        assert!(kit.faults.are_over());
        for event in ["conversation:new", "conversation:invite"] {
            let (heard, payload) = carols.event().await;
            assert_eq!(heard, event, "{fault:?}");
            assert_eq!(payload["conversation_id"], id.as_str());
        }
    }
}

#[tokio::test]
async fn who_was_removed_or_mentioned_by_a_commit_in_doubt_hears_of_it() {
    let kit = Kit::faulty().await;
    let id = kit.group(&["ann", "bob"]).await;
    let mut bobs = kit.listen(&person("bob").own_conversation());
    let mention = SendMessage {
        mentions: vec![person("bob").user],
        ..message("@bob")
    };
    kit.faults.inject(Fault::UnknownButWritten);
    kit.send("ann", &id, mention).await.unwrap();
    assert_eq!(bobs.event().await.0, "notification");
    kit.faults.inject(Fault::UnknownButWritten);
    let user = person("bob").user;
    let remove = Command::RemoveMember { user };
    kit.submit("ann", &id, remove).await.unwrap();
    let (event, payload) = bobs.event().await;
    assert_eq!(event, "conversation:updated");
    assert_eq!(payload["change"], "member_removed");
}

#[tokio::test]
async fn a_notice_that_the_store_fails_is_tried_again_and_written_once() {
    for fault in [
        Fault::Unavailable,
        Fault::UnknownAndLost,
        Fault::UnknownButWritten,
    ] {
        let kit = Kit::faulty().await;
        let id = kit.group(&["ann", "bob"]).await;
        let own = person("carol").own_conversation();
        let mut carols = kit.listen(&own);
        kit.faults.inject_in(&own, fault);
        kit.submit("ann", &id, add("carol")).await.unwrap();
        assert_eq!(carols.event().await.0, "conversation:new", "{fault:?}");
        assert_eq!(carols.event().await.0, "conversation:invite");
        assert!(kit.faults.are_over());
        let told = kit.told("carol").await;
        assert_eq!(told, ["conversation:new", "conversation:invite"]);
    }
}

#[tokio::test]
async fn a_pair_whose_conversation_was_begun_in_doubt_is_told_when_it_is_asked_for_again() {
    let kit = Kit::faulty().await;
    let roles = || std::iter::repeat(Role::Member);
    let new = || kit.new_conversation(ConversationKind::Direct, &["ann", "bob"], roles());
    kit.faults.inject_creation(Fault::UnknownButWritten);
    let created = kit.conversations.create(new()).await;
    assert_eq!(created.err(), Some(CommandError::OutcomeUnknown));
    assert!(kit.told("bob").await.is_empty());
    for _ in 0..2 {
        let created = kit.conversations.create(new()).await.unwrap();
        let Created::Existing(conversation) = created else {
            panic!("a second conversation of the same two");
        };
        for name in ["ann", "bob"] {
            assert_eq!(kit.told(name).await, ["conversation:new"]);
        }
        let kind = TimerKind::Announce;
        let left = kit.store.timers_of(kind, conversation.id.as_str(), 9).await;
        assert!(left.unwrap().is_empty(), "nothing is left to tell");
    }
}

fn deliver(kit: &Kit) -> Delivery {
    Delivery::start(Parts {
        config: delivery::Config {
            projection_window: std::time::Duration::from_millis(1),
            timer_poll: std::time::Duration::from_millis(2),
            ..delivery::Config::default()
        },
        store: kit.store.clone(),
        conversations: kit.conversations.clone(),
        clock: kit.clock.clone(),
        may_send: Arc::new(|_, _, _| Box::pin(std::future::ready(Ok(())))),
        projections: Vec::new(),
    })
}

/// Whoever began it may never ask again.
#[tokio::test]
async fn a_conversation_begun_in_doubt_is_told_of_later() {
    for fault in [Fault::UnknownButWritten, Fault::UnknownAndLost] {
        let clock = ManualClock::at(Timestamp(1_800_000_000_000));
        let kit = Kit::faulty_at(Arc::new(clock.clone())).await;
        let delivery = deliver(&kit);
        let roles = [Role::Owner, Role::Member].into_iter();
        let new = kit.new_conversation(ConversationKind::Group, &["ann", "bob"], roles);
        let id = new.id.clone();
        kit.faults.inject_creation(fault);
        let created = kit.conversations.create(new).await;
        assert_eq!(created.err(), Some(CommandError::OutcomeUnknown));
        let timers = async || {
            let timers = kit.store.timers_of(TimerKind::Announce, id.as_str(), 9);
            timers.await.unwrap().len()
        };
        assert_eq!(timers().await, 1);
        clock.advance_ms(30_000);
        kit.wait_until("it is looked at", async || {
            tokio::task::yield_now().await;
            timers().await == 0
        })
        .await;
        let (anns, bobs) = (kit.told("ann").await, kit.told("bob").await);
        if fault == Fault::UnknownButWritten {
            assert_eq!(anns, ["conversation:new"]);
            assert_eq!(bobs, ["conversation:new", "conversation:invite"]);
        } else {
            assert!(anns.is_empty() && bobs.is_empty());
        }
        kit.conversations.stop().await;
        delivery.stop().await;
    }
}
