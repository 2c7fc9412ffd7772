//! Messages whose content does not stay.

use serde_json::Value;

use super::kit::{Kit, eager, of_class, text};
use crate::{
    conversation::{Command, CommandError, MessageClass, SendMessage},
    delivery::Config,
};
use quikapp_storage::{ConversationId, EntryKind, MessageId};

fn short(seconds: u64) -> SendMessage {
    SendMessage {
        ttl: Some(seconds),
        ..text("for a while")
    }
}

async fn last_payload(kit: &Kit, id: &ConversationId) -> (EntryKind, Value) {
    let log = kit.log(id).await;
    let last = log.last().unwrap();
    (last.kind, serde_json::from_str(&last.payload).unwrap())
}

#[tokio::test]
async fn a_message_disappears_when_its_time_is_up() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let sent = kit.send("ann", &id, short(60)).await;
    kit.send("ann", &id, text("for good")).await;
    kit.eventually("the timer is kept", async || {
        let timers = kit
            .store
            .timers_of(quikapp_storage::TimerKind::Expire, id.as_str(), 9);
        !timers.await.unwrap().is_empty()
    })
    .await;
    kit.clock.advance_ms(59_999);
    assert_eq!(kit.log(&id).await.len(), 2);
    kit.clock.advance_ms(1);
    kit.eventually("it is gone", async || kit.log(&id).await.len() == 3)
        .await;
    let (kind, payload) = last_payload(&kit, &id).await;
    assert_eq!(kind, EntryKind::Delete);
    assert_eq!(payload["message_id"], sent.id.to_string());
    assert_eq!(payload["deleted_by"], Value::Null);
    assert_eq!(payload["reason"], "expired");
    let log = kit.log(&id).await;
    let redacted: Value = serde_json::from_str(&log[0].payload).unwrap();
    assert_eq!(redacted["content"], Value::Null);
    assert_eq!(redacted["deleted_reason"], "expired");
    assert!(log[1].payload.contains("for good"));
    let view = kit.store.messages(&id, &[sent.id]).await.unwrap();
    assert!(view[0].deleted && view[0].text.is_empty());
    kit.stop().await;
}

#[tokio::test]
async fn an_earlier_deletion_is_left_as_it_is() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    let sent = kit.send("ann", &id, short(60)).await;
    let delete = Command::Delete { message: sent.id };
    kit.submit("ann", &id, delete).await.unwrap();
    kit.clock.advance_ms(61_000);
    kit.eventually("the timer has fired", async || {
        let kind = quikapp_storage::TimerKind::Expire;
        let timers = kit.store.timers_of(kind, id.as_str(), 9).await.unwrap();
        let seen = kit.store.projected(
            &quikapp_storage::Consumer::TIMERS,
            std::slice::from_ref(&id),
        );
        timers.is_empty() && seen.await.unwrap()[0].0 == 2
    })
    .await;
    assert_eq!(kit.log(&id).await.len(), 2);
    kit.stop().await;
}

#[tokio::test]
async fn a_time_that_passed_while_nobody_ran_is_made_up_for() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    kit.send("ann", &id, short(60)).await;
    kit.stop().await;
    kit.clock.advance_ms(3_600_000);
    let next = kit.next(eager()).await;
    next.eventually("it is gone", async || next.log(&id).await.len() == 2)
        .await;
    next.stop().await;
}

#[tokio::test]
async fn lifetimes_have_bounds() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    for seconds in [0, 4, 90 * 24 * 3600 + 1, u64::MAX] {
        let command = Command::Send(Box::new(short(seconds)));
        let refused = kit.submit("ann", &id, command).await.unwrap_err();
        let is_ttl = matches!(refused, CommandError::InvalidField { field: "ttl", .. });
        assert!(is_ttl, "{seconds}: {refused:?}");
    }
    kit.stop().await;
}

#[tokio::test]
async fn what_is_on_every_device_is_forgotten() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob", "cem"]).await;
    for (name, device) in [("bob", "phone"), ("bob", "laptop"), ("cem", "phone")] {
        kit.acknowledge(name, device, &id, 0).await;
    }
    let send = of_class(MessageClass::UntilDelivered, "burn after reading");
    let sent = kit.send("ann", &id, send).await;
    kit.acknowledge("bob", "phone", &id, 1).await;
    kit.acknowledge("cem", "phone", &id, 1).await;
    // Long after the looks in between, one device still lacks it.
    kit.clock.advance_ms(3_600_000);
    was_looked_at(&kit, sent.id).await;
    assert!(kit.log(&id).await[0].payload.contains("burn"));
    kit.acknowledge("bob", "laptop", &id, 1).await;
    kit.eventually("it is forgotten", async || kit.log(&id).await.len() == 2)
        .await;
    let (kind, payload) = last_payload(&kit, &id).await;
    assert_eq!(kind, EntryKind::Forget);
    assert_eq!(payload["message_id"], sent.id.to_string());
    assert_eq!(payload["reason"], "delivered");
    assert!(!kit.log(&id).await[0].payload.contains("burn"));
    kit.stop().await;
}

/// The timer of a message that waits for devices has fired, and waits again.
async fn was_looked_at(kit: &Kit, message: MessageId) {
    let kind = quikapp_storage::TimerKind::UntilDelivered;
    kit.eventually("it was looked at", async || {
        let timer = kit.store.timer(kind, &message.to_string()).await.unwrap();
        timer.is_some_and(|timer| timer.version > 1)
    })
    .await;
}

async fn burn(kit: &Kit, id: &ConversationId, by: &str, count: usize) {
    for _ in 0..count {
        let send = of_class(MessageClass::UntilDelivered, "burn after reading");
        kit.send(by, id, send).await;
    }
    let kind = quikapp_storage::TimerKind::UntilDelivered;
    kit.eventually("their timers are kept", async || {
        let timers = kit.store.timers_of(kind, id.as_str(), 99).await.unwrap();
        timers.len() >= count
    })
    .await;
}

/// An acknowledgement asks about the oldest message of each sender that somebody lacks, and about
/// none behind it.
#[tokio::test]
async fn an_acknowledgement_asks_no_further_than_it_must() {
    let (kit, faults) = Kit::faulty(eager()).await;
    let id = kit.group(&["ann", "bob", "cem"]).await;
    for name in ["bob", "cem"] {
        kit.acknowledge(name, "phone", &id, 0).await;
    }
    burn(&kit, &id, "ann", 20).await;
    kit.acknowledge("bob", "phone", &id, 20).await;
    // Whether the sender has a device, and who of the members lacks the first.
    kit.eventually("bob's was looked at", async || faults.lacking_asked() >= 2)
        .await;
    for place in [10, 20] {
        kit.acknowledge("cem", "phone", &id, place).await;
        kit.eventually("what all have is forgotten", async || {
            kit.log(&id).await.len() as u64 == 20 + place
        })
        .await;
    }
    // Two questions a message, and some about those that somebody lacked.
    let asked = faults.lacking_asked();
    assert!(asked <= 2 * (20 + 4), "{asked} questions");
    kit.stop().await;
}

/// In a conversation that nothing is queued for, acknowledgements are not looked at; the message's
/// own timer is enough.
#[tokio::test]
async fn in_a_large_conversation_the_timer_looks() {
    let small = Config {
        queue_up_to_members: 2,
        ..eager()
    };
    let (kit, faults) = Kit::faulty(small).await;
    let id = kit.group(&["ann", "bob", "cem"]).await;
    burn(&kit, &id, "ann", 1).await;
    for name in ["bob", "cem"] {
        kit.acknowledge(name, "phone", &id, 1).await;
    }
    // A conversation that comes behind it in the same turn, or in a later one.
    let other = kit.group(&["ann", "bob"]).await;
    burn(&kit, &other, "ann", 1).await;
    kit.acknowledge("bob", "phone", &other, 1).await;
    kit.eventually("that is forgotten", async || {
        kit.log(&other).await.len() == 2
    })
    .await;
    assert_eq!(faults.lacking_asked(), 2);
    assert_eq!(kit.log(&id).await.len(), 1);
    kit.clock.advance_ms(30_000);
    kit.eventually("it is forgotten", async || kit.log(&id).await.len() == 2)
        .await;
    kit.stop().await;
}

#[tokio::test]
async fn what_does_not_reach_everybody_is_forgotten_in_the_end() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let send = of_class(MessageClass::UntilDelivered, "burn after reading");
    let sent = kit.send("ann", &id, send).await;
    kit.clock.advance_ms(168 * 3_600_000 - 1);
    was_looked_at(&kit, sent.id).await;
    assert_eq!(kit.log(&id).await.len(), 1);
    kit.clock.advance_ms(1);
    kit.eventually("it is forgotten", async || kit.log(&id).await.len() == 2)
        .await;
    let (kind, payload) = last_payload(&kit, &id).await;
    assert_eq!(
        (kind, &payload["reason"]),
        (EntryKind::Forget, &"expired".into())
    );
    kit.stop().await;
}

/// The reply to the sender and what everybody hears are the same, and nothing is kept.
#[tokio::test]
async fn an_ephemeral_message_is_not_kept() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let send = of_class(MessageClass::Ephemeral, "now or never");
    let said = kit
        .conversations
        .send_ephemeral(&super::kit::person("ann"), &id, &send);
    let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
    assert_eq!(said["content"], "now or never");
    assert_eq!(said["class"], "ephemeral");
    assert!(said.get("seq").is_none());
    assert!(kit.log(&id).await.is_empty());
    let command = Command::Send(Box::new(send));
    let refused = kit.submit("ann", &id, command).await.unwrap_err();
    assert!(matches!(
        refused,
        CommandError::InvalidField { field: "class", .. }
    ));
    kit.stop().await;
}
