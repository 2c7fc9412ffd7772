//! Messages that are sent later.

use std::time::Duration;

use futures_util::future::join_all;
use quikapp_storage::{ConversationId, Timer, TimerKind, Timestamp};

use super::kit::{Kit, START, eager, of_class, person, text};
use crate::{
    conversation::{Command, CommandError, Limits, MessageClass, SendMessage},
    delivery::{Config, payload::ScheduledPayload},
};

fn at(ms: i64) -> Timestamp {
    Timestamp(START.0 + ms)
}

async fn schedule(
    kit: &Kit,
    id: &ConversationId,
    send: SendMessage,
    ms: i64,
) -> Result<ScheduledPayload, CommandError> {
    let by = person("ann");
    kit.delivery.schedule(&by, id, send, at(ms)).await
}

fn with_id(client_id: &str, content: &str) -> SendMessage {
    SendMessage {
        client_id: Some(client_id.into()),
        ..text(content)
    }
}

async fn timers(kit: &Kit) -> usize {
    let group = person("ann").own_conversation();
    let timers = kit
        .store
        .timers_of(TimerKind::SendMessage, group.as_str(), 1000);
    timers.await.unwrap().len()
}

async fn list(kit: &Kit, id: &ConversationId) -> Vec<ScheduledPayload> {
    kit.delivery.scheduled(&person("ann"), id).await.unwrap()
}

#[tokio::test]
async fn a_message_is_sent_when_its_time_comes_and_once() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let scheduled = schedule(&kit, &id, text("happy new year"), 60_000)
        .await
        .unwrap();
    assert_eq!(scheduled.send_at, at(60_000));
    assert_eq!(list(&kit, &id).await.len(), 1);
    kit.clock.advance_ms(59_999);
    assert!(kit.log(&id).await.is_empty());
    kit.clock.advance_ms(1);
    kit.eventually("it is sent", async || timers(&kit).await == 0)
        .await;
    let log = kit.log(&id).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].id, scheduled.id, "it has the id that was promised");
    assert!(log[0].payload.contains("happy new year"));
    assert!(list(&kit, &id).await.is_empty());
    kit.stop().await;
}

/// A process that died between sending a message and deleting its timer: the next one sends it
/// again, and it is the same message, with a `client_id` or without.
#[tokio::test]
async fn sending_again_after_a_crash_sends_nothing_twice() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    for send in [text("without"), with_id("c1", "with")] {
        let scheduled = schedule(&kit, &id, send.clone(), 60_000).await.unwrap();
        let command = Command::Send(Box::new(send));
        let ann = person("ann");
        let sent = kit
            .conversations
            .submit_with_id(&ann, &id, scheduled.id, command);
        sent.await.unwrap();
    }
    kit.stop().await;
    kit.clock.advance_ms(3_600_000);
    let next = kit.next(eager()).await;
    next.eventually("the timers are gone", async || timers(&next).await == 0)
        .await;
    assert_eq!(next.log(&id).await.len(), 2);
    assert!(
        next.notices("ann")
            .await
            .iter()
            .all(|it| it["event"] != "message:scheduled:failed")
    );
    next.stop().await;
}

/// What was accepted in time is sent, however old its `client_id` is by then.
#[tokio::test]
async fn a_horizon_is_looked_at_when_a_message_is_scheduled_and_not_when_it_is_sent() {
    let kit = Kit::limited(Limits {
        client_id_horizon: Duration::from_secs(3600),
        ..Limits::default()
    });
    let kit = kit.await;
    let id = kit.group(&["ann", "bob"]).await;
    let old = schedule(&kit, &id, with_id("c1", "later"), 60_000).await;
    assert!(
        matches!(&old, Err(CommandError::InvalidField { field, .. }) if *field == "client_id"),
        "{old:?}"
    );
    let ms = u64::try_from(START.0).unwrap();
    let client_id = uuid::Builder::from_unix_timestamp_millis(ms, &[7; 10]);
    let client_id = client_id.into_uuid().to_string();
    let day = 24 * 3_600_000;
    let scheduled = schedule(&kit, &id, with_id(&client_id, "later"), day).await;
    kit.clock.advance_ms(day);
    kit.eventually("it is sent", async || timers(&kit).await == 0)
        .await;
    let log = kit.log(&id).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].id, scheduled.unwrap().id);
    kit.stop().await;
}

#[tokio::test]
async fn a_cancelled_message_is_not_sent() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let scheduled = schedule(&kit, &id, text("never mind"), 60_000)
        .await
        .unwrap();
    let cancel = |by: &str, place: &ConversationId| {
        let (by, place) = (person(by), place.clone());
        let delivery = kit.delivery.clone();
        async move { delivery.cancel(&by, &place, scheduled.id).await }
    };
    let elsewhere = kit.group(&["ann"]).await;
    assert_eq!(cancel("bob", &id).await, Err(CommandError::MessageNotFound));
    assert_eq!(
        cancel("ann", &elsewhere).await,
        Err(CommandError::MessageNotFound)
    );
    assert_eq!(cancel("ann", &id).await, Ok(()));
    assert_eq!(cancel("ann", &id).await, Err(CommandError::MessageNotFound));
    assert_eq!(timers(&kit).await, 0);
    kit.stop().await;
}

#[tokio::test]
async fn scheduling_again_with_the_same_client_id_is_the_same() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let first = schedule(&kit, &id, with_id("c1", "hello"), 60_000)
        .await
        .unwrap();
    let again = schedule(&kit, &id, with_id("c1", "hello"), 60_000)
        .await
        .unwrap();
    assert_eq!(again.id, first.id);
    let other = schedule(&kit, &id, with_id("c1", "goodbye"), 60_000).await;
    assert_eq!(other.unwrap_err(), CommandError::IdempotencyConflict);
    let later = schedule(&kit, &id, with_id("c1", "hello"), 90_000).await;
    assert_eq!(later.unwrap_err(), CommandError::IdempotencyConflict);
    assert_eq!(timers(&kit).await, 1);
    kit.stop().await;
}

/// What was allowed when it was written is asked again when it is sent; the author is told, and
/// gets the text back.
#[tokio::test]
async fn who_may_no_longer_write_is_told() {
    let kit = Kit::new().await;
    let id = kit.group(&["bob", "ann"]).await;
    schedule(&kit, &id, text("see you"), 60_000).await.unwrap();
    let removed = Command::RemoveMember {
        user: person("ann").user,
    };
    kit.submit("bob", &id, removed).await.unwrap();
    kit.clock.advance_ms(60_000);
    let failed = async || {
        let notices = kit.notices("ann").await;
        let is_it = |it: &serde_json::Value| it["event"] == "message:scheduled:failed";
        notices.into_iter().find(is_it)
    };
    kit.eventually("she is told", async || failed().await.is_some())
        .await;
    let payload = failed().await.unwrap()["payload"].clone();
    assert_eq!(payload["reason"], "not_a_participant");
    assert_eq!(payload["content"], "see you");
    assert_eq!(payload["conversation_id"], id.as_str());
    kit.eventually("nothing is left", async || timers(&kit).await == 0)
        .await;
    assert!(
        kit.log(&id)
            .await
            .iter()
            .all(|it| !it.payload.contains("see you"))
    );
    kit.stop().await;
}

#[tokio::test]
async fn who_was_banned_since_sends_nothing() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    schedule(&kit, &id, text("spam"), 60_000).await.unwrap();
    *kit.refuses.lock() = Some(CommandError::Forbidden);
    kit.clock.advance_ms(60_000);
    kit.eventually("it is given up", async || timers(&kit).await == 0)
        .await;
    assert!(kit.log(&id).await.is_empty());
    kit.stop().await;
}

/// A refusal that may pass is waited out.
#[tokio::test]
async fn what_cannot_be_sent_for_now_is_sent_later() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    schedule(&kit, &id, text("patience"), 60_000).await.unwrap();
    *kit.refuses.lock() = Some(CommandError::Unavailable);
    kit.clock.advance_ms(60_000);
    let kind = TimerKind::SendMessage;
    let group = person("ann").own_conversation();
    kit.eventually("it was tried", async || {
        let timers = kit.store.timers_of(kind, group.as_str(), 9).await.unwrap();
        timers[0].version >= 3
    })
    .await;
    assert!(kit.log(&id).await.is_empty());
    *kit.refuses.lock() = None;
    kit.clock.advance_ms(2_000);
    kit.eventually("it is sent", async || timers(&kit).await == 0)
        .await;
    assert_eq!(kit.log(&id).await.len(), 1);
    kit.stop().await;
}

/// What is known not to have been sent can be taken back while it waits for its next try; what may
/// have been sent cannot, whatever later tries come to.
#[tokio::test]
async fn what_was_not_sent_for_now_can_be_cancelled() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let in_turn = [
        (vec![CommandError::Unavailable], Ok(())),
        (
            vec![CommandError::OutcomeUnknown, CommandError::Unavailable],
            Err(CommandError::MessageNotFound),
        ),
    ];
    for (refusals, expected) in in_turn {
        let scheduled = schedule_now(&kit, &id).await;
        let mut version = 1;
        for refusal in refusals {
            *kit.refuses.lock() = Some(refusal);
            kit.clock.advance_ms(2_000);
            // Taken, and put back.
            version += 2;
            let timer = async || only_timer(&kit).await.version == version;
            kit.eventually("it was tried", timer).await;
        }
        let by = person("ann");
        let cancelled = kit.delivery.cancel(&by, &id, scheduled.id).await;
        assert_eq!(cancelled, expected);
    }
    assert!(kit.log(&id).await.is_empty());
    kit.stop().await;
}

/// Due in two seconds.
async fn schedule_now(kit: &Kit, id: &ConversationId) -> ScheduledPayload {
    let at = Timestamp(crate::Clock::now(&kit.clock).0 + 2_000);
    let by = person("ann");
    let scheduled = kit.delivery.schedule(&by, id, text("wait"), at).await;
    scheduled.unwrap()
}

async fn only_timer(kit: &Kit) -> Timer {
    let group = person("ann").own_conversation();
    let timers = kit
        .store
        .timers_of(TimerKind::SendMessage, group.as_str(), 9);
    let mut timers = timers.await.unwrap();
    assert_eq!(timers.len(), 1);
    timers.remove(0)
}

/// A process died between sending a message and deleting its timer, and the author was removed
/// before the next try: the message stands, and nobody is told that it failed.
#[tokio::test]
async fn who_was_removed_after_it_was_sent_hears_of_no_failure() {
    for refusal in [None, Some(CommandError::NotAParticipant)] {
        let kit = Kit::new().await;
        let id = kit.group(&["bob", "ann"]).await;
        for send in [text("without"), with_id("c1", "with")] {
            let scheduled = schedule(&kit, &id, send.clone(), 60_000).await.unwrap();
            let (by, command) = (person("ann"), Command::Send(Box::new(send)));
            let conversations = &kit.conversations;
            let sent = conversations.submit_with_id(&by, &id, scheduled.id, command);
            sent.await.unwrap();
        }
        schedule(&kit, &id, text("not sent"), 60_000).await.unwrap();
        let user = person("ann").user;
        let removed = Command::RemoveMember { user };
        kit.submit("bob", &id, removed).await.unwrap();
        *kit.refuses.lock() = refusal;
        kit.clock.advance_ms(60_000);
        kit.eventually("nothing is left", async || timers(&kit).await == 0)
            .await;
        let failed = kit.notices("ann").await.into_iter();
        let failed = failed.filter(|it| it["event"] == "message:scheduled:failed");
        let contents: Vec<_> = failed.map(|it| it["payload"]["content"].clone()).collect();
        assert_eq!(contents, ["not sent"]);
        kit.stop().await;
    }
}

/// However many ask at the same time, in one process or in two.
#[tokio::test]
async fn the_bound_of_schedules_holds_for_those_who_come_together() {
    let config = Config {
        scheduled_per_person: 2,
        ..eager()
    };
    let kit = Kit::with(config.clone(), Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    let many = (0..6).map(|_| schedule(&kit, &id, text("me"), 60_000));
    let many = join_all(many).await.into_iter();
    assert_eq!(many.filter(Result::is_ok).count(), 2);
    assert_eq!(timers(&kit).await, 2);
    for scheduled in list(&kit, &id).await {
        let by = person("ann");
        kit.delivery.cancel(&by, &id, scheduled.id).await.unwrap();
    }
    let other = kit.next(config).await;
    for _ in 0..8 {
        let both = [&kit, &other].map(|kit| schedule(kit, &id, text("me"), 60_000));
        join_all(both).await;
    }
    assert!(timers(&kit).await <= 2);
    other.stop().await;
    kit.stop().await;
}

/// Whoever had scheduled more than they may now sees all of it, and can take it back.
#[tokio::test]
async fn what_is_beyond_the_bound_is_listed_and_cancelled() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    for nth in 0..3 {
        let text = text(&nth.to_string());
        schedule(&kit, &id, text, 60_000 + nth).await.unwrap();
    }
    kit.stop().await;
    let strict = Config {
        scheduled_per_person: 1,
        ..eager()
    };
    let next = kit.next(strict).await;
    let listed = list(&next, &id).await;
    assert_eq!(listed.len(), 3);
    for scheduled in listed {
        let by = person("ann");
        next.delivery.cancel(&by, &id, scheduled.id).await.unwrap();
    }
    assert_eq!(timers(&next).await, 0);
    next.stop().await;
}

#[tokio::test]
async fn schedules_have_bounds() {
    let config = Config {
        scheduled_per_person: 2,
        ..eager()
    };
    let kit = Kit::with(config, Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    let field = |refused: Result<ScheduledPayload, CommandError>| match refused {
        Err(CommandError::InvalidField { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    for ms in [0, -1, 366 * 24 * 3_600_000] {
        assert_eq!(field(schedule(&kit, &id, text("x"), ms).await), "send_at");
    }
    assert_eq!(field(schedule(&kit, &id, text(" "), 1000).await), "content");
    let ephemeral = of_class(MessageClass::Ephemeral, "x");
    assert_eq!(field(schedule(&kit, &id, ephemeral, 1000).await), "send_at");
    for content in ["one", "two"] {
        schedule(&kit, &id, text(content), 60_000).await.unwrap();
    }
    assert_eq!(
        field(schedule(&kit, &id, text("three"), 60_000).await),
        "send_at"
    );
    kit.stop().await;
}
