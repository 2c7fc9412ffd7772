//! The shell on the embedded store: concurrency, retries, two owners, failures.
#![allow(clippy::unwrap_used)]

pub(crate) mod faulty;
mod kit;
mod telling;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use quikapp_storage::{Role, Seq, Timestamp};

use super::{Command, CommandError, Config, Limits, MemberLeft, MessageClass, SendMessage};
use crate::clock::ManualClock;
use faulty::Fault;
use kit::{Kit, made_at, message, person, with_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_senders_make_a_dense_log_that_everybody_hears_in_order() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let mut listener = kit.listen(&id);
    let senders = (0..50).map(|sender| {
        let (kit, id) = (&kit, &id);
        async move {
            let mut seqs = Vec::new();
            for n in 0..10 {
                let by = if sender % 2 == 0 { "ann" } else { "bob" };
                let sent = kit.send(by, id, message(&format!("{sender}-{n}"))).await;
                seqs.push(sent.unwrap().seq);
            }
            assert!(seqs.is_sorted(), "a sender's own messages keep their order");
            seqs
        }
    });
    let acknowledged: BTreeSet<Seq> = join_all(senders).await.into_iter().flatten().collect();
    assert_eq!(acknowledged, (1..=500).map(Seq).collect());
    assert_eq!(kit.log(&id).await, (1..=500).map(Seq).collect::<Vec<_>>());
    assert_eq!(
        listener.seqs(500).await,
        (1..=500).map(Seq).collect::<Vec<_>>()
    );
    kit.conversations.stop().await;
}

/// Some of them are only woken while the first has spoken already.
#[tokio::test]
async fn who_speaks_at_the_same_time_is_written_together() {
    let kit = Kit::faulty().await;
    let id = kit.group(&["ann", "bob"]).await;
    for round in 1..=3 {
        let sends = (0..12).map(|n| {
            let (kit, id) = (&kit, &id);
            async move {
                for _ in 0..n % 3 {
                    tokio::task::yield_now().await;
                }
                let by = ["ann", "bob"][n % 2];
                kit.send(by, id, message(&format!("{round}-{n}"))).await
            }
        });
        let sent = join_all(sends).await;
        assert!(sent.iter().all(Result::is_ok));
        assert_eq!(kit.faults.appends_to(&id), round);
    }
}

#[tokio::test]
async fn a_retry_answers_with_the_original_and_another_content_conflicts() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    let first = kit.send("ann", &id, with_id("c1", "hello")).await.unwrap();
    let again = kit.send("ann", &id, with_id("c1", "hello")).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!((first.id, first.seq), (again.id, again.seq));
    assert_eq!(first.payload, again.payload);
    let other = kit.send("ann", &id, with_id("c1", "other")).await;
    assert_eq!(other.err(), Some(CommandError::IdempotencyConflict));
    assert_eq!(kit.log(&id).await, [Seq(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_at_the_same_time_write_one_entry() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    let sends = (0..20).map(|_| kit.send("ann", &id, with_id("same", "hello")));
    let outcomes = join_all(sends).await;
    let firsts = outcomes.iter().filter(|it| !it.as_ref().unwrap().replayed);
    assert_eq!(firsts.count(), 1);
    assert_eq!(kit.log(&id).await, [Seq(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_directory_lose_double_and_reorder_nothing() {
    let config = Config {
        min_tenure: Duration::from_millis(30),
        poll: Duration::from_millis(50),
        ..Config::default()
    };
    let one = Kit::with(config.clone()).await;
    let two = one.second_process(config).await;
    let id = one.group(&["ann", "bob"]).await;
    let (mut at_one, mut at_two) = (one.listen(&id), two.listen(&id));
    one.conversations.observe(&id).await.unwrap();
    two.conversations.observe(&id).await.unwrap();
    let writers = (0..8).map(|writer| {
        let (kit, by) = if writer % 2 == 0 {
            (&one, "ann")
        } else {
            (&two, "bob")
        };
        let id = &id;
        async move {
            let mut seqs = Vec::new();
            for n in 0..25 {
                let send = with_id(&format!("{writer}-{n}"), "x");
                seqs.push(kit.send_until_done(by, id, send).await.seq);
            }
            assert!(seqs.is_sorted());
            seqs
        }
    });
    let acknowledged: Vec<Seq> = join_all(writers).await.into_iter().flatten().collect();
    let all: Vec<Seq> = (1..=200).map(Seq).collect();
    let distinct: BTreeSet<Seq> = acknowledged.iter().copied().collect();
    assert_eq!(acknowledged.len(), 200);
    assert_eq!(distinct, all.iter().copied().collect());
    assert_eq!(one.log(&id).await, all);
    assert_eq!(at_one.seqs(200).await, all);
    assert_eq!(at_two.seqs(200).await, all);
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_looked_up_before_it_is_answered() {
    for fault in [Fault::UnknownButWritten, Fault::UnknownAndLost] {
        let kit = Kit::faulty().await;
        let id = kit.group(&["ann"]).await;
        let mut listener = kit.listen(&id);
        kit.faults.inject(fault);
        let sent = kit.send("ann", &id, message("once")).await.unwrap();
        assert!(!sent.replayed, "{fault:?}: it is this very command");
        assert_eq!(sent.seq, Seq(1));
        let next = kit.send("ann", &id, message("twice")).await.unwrap();
        assert_eq!(next.seq, Seq(2), "{fault:?}");
        assert_eq!(kit.log(&id).await, [Seq(1), Seq(2)]);
        assert_eq!(listener.seqs(2).await, [Seq(1), Seq(2)]);
    }
}

#[tokio::test]
async fn an_outcome_that_cannot_be_looked_up_is_said_to_be_unknown() {
    let kit = Kit::faulty().await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, message("before")).await.unwrap();
    kit.faults.inject(Fault::UnknownButWritten);
    kit.faults.refuse_acquire(true);
    let sent = kit.send("ann", &id, with_id("c", "x")).await;
    assert_eq!(sent.err(), Some(CommandError::OutcomeUnknown));
    kit.faults.refuse_acquire(false);
    let retried = kit.send("ann", &id, with_id("c", "x")).await.unwrap();
    assert!(retried.replayed, "it had been written");
    assert_eq!(kit.log(&id).await, [Seq(1), Seq(2)]);
}

/// The first try was written, its sender heard that nobody knows, and may not write any more when
/// they ask again.
#[tokio::test]
async fn a_retry_hears_of_its_first_try_after_a_removal_and_after_a_block() {
    let kit = Kit::faulty().await;
    let group = kit.group(&["ann", "bob"]).await;
    let direct = kit.direct("ann", "bob").await;
    for id in [&group, &direct] {
        kit.send("ann", id, message("before")).await.unwrap();
        kit.faults.inject_in(id, Fault::UnknownButWritten);
        kit.faults.refuse_acquire(true);
        let sent = kit.send("bob", id, with_id("c", "x")).await;
        assert_eq!(sent.err(), Some(CommandError::OutcomeUnknown));
        kit.faults.refuse_acquire(false);
    }
    let user = person("bob").user;
    let remove = Command::RemoveMember { user };
    kit.submit("ann", &group, remove).await.unwrap();
    kit.block("ann", "bob", true).await;
    for (id, refusal) in [
        (&group, CommandError::NotAParticipant),
        (&direct, CommandError::Blocked),
    ] {
        let before = kit.log(id).await;
        let retried = kit.send("bob", id, with_id("c", "x")).await.unwrap();
        assert_eq!((retried.seq, retried.replayed), (Seq(2), true));
        let new = kit.send("bob", id, with_id("d", "x")).await;
        assert_eq!(new.err(), Some(refusal));
        assert_eq!(kit.log(id).await, before);
    }
}

/// How long a retry finds its first try is said by the server's clock, and by no other.
#[tokio::test]
async fn past_the_horizon_a_client_id_is_refused_whatever_became_of_it() {
    const HOUR: i64 = 3_600_000;
    let start = Timestamp(1_700_000_000_000);
    let clock = ManualClock::at(start);
    let config = Config {
        limits: Limits {
            client_id_horizon: Duration::from_secs(3600),
            ..Limits::default()
        },
        ..Config::default()
    };
    let kit = Kit::with_clock(config, Arc::new(clock.clone())).await;
    let id = kit.group(&["ann", "bob"]).await;
    let refused = async |client_id: &str| {
        let sent = kit.send("ann", &id, with_id(client_id, "hi")).await;
        matches!(sent, Err(CommandError::InvalidField { field, .. }) if field == "client_id")
    };
    let client_id = made_at(start);
    assert!(refused("c1").await);
    assert!(refused(&made_at(Timestamp(start.0 + 25 * HOUR))).await);
    let first = kit.send("ann", &id, with_id(&client_id, "hi")).await;
    clock.advance_ms(HOUR);
    let again = kit.send("ann", &id, with_id(&client_id, "hi")).await;
    assert_eq!(first.unwrap().seq, again.unwrap().seq);
    clock.advance_ms(1);
    assert!(refused(&client_id).await);
    kit.send("ann", &id, message("without")).await.unwrap();
    let ephemeral = SendMessage {
        class: MessageClass::Ephemeral,
        ..with_id(&client_id, "hi")
    };
    let told = kit
        .conversations
        .send_ephemeral(&person("ann"), &id, &ephemeral);
    assert!(told.is_err(), "the rule is one of clients, not of classes");
    assert_eq!(kit.log(&id).await, [Seq(1), Seq(2)]);
}

#[tokio::test]
async fn an_unavailable_store_refuses_and_nothing_is_kept() {
    let kit = Kit::faulty().await;
    let id = kit.group(&["ann"]).await;
    kit.faults.inject(Fault::Unavailable);
    let sent = kit.send("ann", &id, message("lost")).await;
    assert_eq!(sent.err(), Some(CommandError::Unavailable));
    let sent = kit.send("ann", &id, message("kept")).await.unwrap();
    assert_eq!(sent.seq, Seq(1));
}

#[tokio::test]
async fn after_a_panic_the_shard_is_reached_through_the_same_handle() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, message("before")).await.unwrap();
    kit.conversations.crash_shard_of(&id);
    let sent = kit.send_until_done("ann", &id, with_id("c", "after")).await;
    assert_eq!(sent.seq, Seq(2));
}

/// The shard goes while a batch gathers: what the batch takes is written, and who stands behind it is
/// told.
#[tokio::test]
async fn a_panic_leaves_nobody_who_spoke_before_it_without_an_answer() {
    let config = Config {
        batch: 5,
        ..Config::default()
    };
    let kit = Kit::with(config).await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, message("before")).await.unwrap();
    let sends = (0..12).map(|n| kit.send("ann", &id, message(&format!("{n}"))));
    let crash = async { kit.conversations.crash_shard_of(&id) };
    let (sent, ()) = tokio::join!(join_all(sends), crash);
    let written = sent.iter().filter(|it| it.is_ok()).count() as u64;
    assert!(written < 12, "the shard went");
    assert_eq!(
        kit.log(&id).await,
        (1..=1 + written).map(Seq).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_removed_member_is_told_and_shut_out() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let mut topic = kit.listen(&id);
    let mut bobs = kit.listen(&person("bob").own_conversation());
    let remove = Command::RemoveMember {
        user: person("bob").user,
    };
    kit.submit("ann", &id, remove).await.unwrap();
    let note = topic.note::<MemberLeft>().await;
    assert_eq!(note.user, person("bob").user);
    let (event, payload) = bobs.event().await;
    assert_eq!(event, "conversation:updated");
    assert_eq!(payload["change"], "member_removed");
    let sent = kit.send("bob", &id, message("still here?")).await;
    assert_eq!(sent.err(), Some(CommandError::NotAParticipant));
}

#[tokio::test]
async fn new_members_are_told_on_their_own_topic() {
    let kit = Kit::new().await;
    let mut bobs = kit.listen(&person("bob").own_conversation());
    let id = kit.group(&["ann", "bob"]).await;
    let (event, payload) = bobs.event().await;
    assert_eq!(event, "conversation:new");
    assert_eq!(payload["conversation_id"], id.as_str());
    let mut carols = kit.listen(&person("carol").own_conversation());
    let add = Command::AddMembers {
        members: vec![(person("carol").user, Role::Member)],
    };
    kit.submit("ann", &id, add).await.unwrap();
    assert_eq!(carols.event().await.0, "conversation:new");
    kit.send("carol", &id, message("hello")).await.unwrap();
}

#[tokio::test]
async fn a_block_ends_a_direct_conversation_at_once() {
    let kit = Kit::new().await;
    let id = kit.direct("ann", "bob").await;
    kit.send("ann", &id, message("hi")).await.unwrap();
    kit.block("bob", "ann", true).await;
    for by in ["ann", "bob"] {
        let sent = kit.send(by, &id, message("hi?")).await;
        assert_eq!(sent.err(), Some(CommandError::Blocked));
    }
    kit.block("bob", "ann", false).await;
    kit.send("ann", &id, message("hi again")).await.unwrap();
}

#[tokio::test]
async fn an_idle_conversation_is_given_back_and_taken_again() {
    let config = Config {
        idle: Duration::from_millis(20),
        ..Config::default()
    };
    let kit = Kit::with(config).await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, message("one")).await.unwrap();
    let before = kit.epoch(&id).await;
    kit.wait_until("a new ownership", async || {
        tokio::time::sleep(Duration::from_millis(40)).await;
        kit.send("ann", &id, message("more")).await.unwrap();
        kit.epoch(&id).await > before
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_says_overloaded() {
    let config = Config {
        conversation_queue: 2,
        batch: 1,
        ..Config::default()
    };
    let kit = Kit::with(config).await;
    let id = kit.group(&["ann"]).await;
    let sends = (0..40).map(|n| kit.send("ann", &id, message(&n.to_string())));
    let outcomes = join_all(sends).await;
    let refused = outcomes.iter().filter_map(|it| it.as_ref().err());
    assert!(refused.clone().all(|it| *it == CommandError::Overloaded));
    assert!(refused.count() > 0);
    let kept = outcomes.iter().filter(|it| it.is_ok()).count();
    assert_eq!(kit.log(&id).await.len(), kept);
}

#[tokio::test]
async fn nobody_reaches_into_another_workspace_or_a_persons_own_conversation() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    let mut stranger = person("ann");
    stranger.workspace = quikapp_storage::WorkspaceId::new("other").unwrap();
    let send = Command::Send(Box::new(message("x")));
    let sent = kit.conversations.submit(&stranger, &id, send.clone()).await;
    assert_eq!(sent.err(), Some(CommandError::ConversationNotFound));
    let own = person("ann").own_conversation();
    let sent = kit.conversations.submit(&person("ann"), &own, send).await;
    assert_eq!(sent.err(), Some(CommandError::ConversationNotFound));
}

#[tokio::test]
async fn stopping_finishes_what_was_admitted_and_admits_nothing_more() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    let sends = (0..20).map(|n| kit.send("ann", &id, message(&n.to_string())));
    let (outcomes, ()) = tokio::join!(join_all(sends), kit.conversations.stop());
    let kept = outcomes.iter().filter(|it| it.is_ok()).count();
    assert_eq!(kit.log(&id).await.len(), kept);
    let late = kit.send("ann", &id, message("late")).await;
    assert_eq!(late.err(), Some(CommandError::Unavailable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_a_conversation_does_not_answer_from_memory() {
    let config = Config {
        min_tenure: Duration::ZERO,
        ..Config::default()
    };
    let one = Kit::with(config.clone()).await;
    let two = one.second_process(config).await;
    let id = one.group(&["ann", "bob"]).await;
    let bob = || person("bob").user;
    let remove = || Command::RemoveMember { user: bob() };
    let add = || Command::AddMembers {
        members: vec![(bob(), Role::Member)],
    };
    let members = async || one.store.members(&id, None, 10).await.unwrap().len();
    two.submit("ann", &id, remove()).await.unwrap();
    one.submit("ann", &id, add()).await.unwrap();
    // The second process remembers Bob as removed.
    two.send("bob", &id, message("I am here")).await.unwrap();
    one.submit("ann", &id, remove()).await.unwrap();
    one.submit("ann", &id, add()).await.unwrap();
    assert_eq!(members().await, 2);
    two.submit("ann", &id, remove()).await.unwrap();
    assert_eq!(members().await, 1, "an acknowledged removal is one");
    one.submit("ann", &id, add()).await.unwrap();
    two.submit("ann", &id, remove()).await.unwrap();
    one.submit("ann", &id, add()).await.unwrap();
    two.submit("ann", &id, remove()).await.unwrap();
    assert_eq!(members().await, 1);
}
