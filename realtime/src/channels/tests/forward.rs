//! Store-and-forward: what a device that was away is told, and what it is told first; and what a
//! person's other devices hear of the person's own doings.

use std::time::Duration;

use quikapp_storage::{DeviceCursor, DeviceId, MessageId, Seq};

use super::*;
use crate::auth::test_kit::person;

const TOPIC: &str = "user:bob";

fn eager() -> delivery::Config {
    delivery::Config {
        projection_window: Duration::from_millis(2),
        timer_poll: Duration::from_millis(5),
        ..delivery::Config::default()
    }
}

async fn say(world: &World, id: &ConversationId, kind: &str, content: &str) {
    let message = conversation::SendMessage {
        kind: kind.into(),
        content: Some(content.into()),
        ..conversation::SendMessage::default()
    };
    let command = conversation::Command::Send(Box::new(message));
    let conversations = &world.backend.conversations;
    let ann = person("acme", "ann");
    conversations.submit(&ann, id, command).await.unwrap();
}

async fn phone(world: &World) -> TestClient {
    let grant = member("acme", "bob");
    world.socket_of(&grant, &[("device_id", "phone")]).await
}

/// The phone is known, and stands behind everything so far.
async fn known_phone(world: &World) {
    let mut phone = phone(world).await;
    let joined = phone.join(TOPIC, nothing()).await.ok();
    let ack = json!({"cursor": joined["cursor"]});
    phone.push(TOPIC, "message:ack", ack).await.ok();
    phone.close().await;
}

/// Waits until the queue has seen a conversation up to a place.
async fn queued(world: &World, id: &ConversationId, seq: u64) {
    let store = &world.node.store;
    let seen = async {
        loop {
            let consumer = quikapp_storage::Consumer::QUEUE;
            let seen = store.projected(&consumer, std::slice::from_ref(id)).await;
            if seen.unwrap()[0] >= Seq(seq) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen)
        .await
        .unwrap();
}

/// Conversation and content of the messages of a gap.
fn shown(reply: &Value) -> Vec<(String, String)> {
    let entries = reply["gap"].as_array().unwrap().iter();
    let messages = entries.filter(|entry| entry["event"] == "message:new");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    messages
        .map(|it| {
            (
                text(&it["conversation_id"]),
                text(&it["payload"]["content"]),
            )
        })
        .collect()
}

/// Acknowledges batch after batch; everything that came, a batch each.
async fn read_on(client: &mut TestClient, joined: Value) -> Vec<Vec<(String, String)>> {
    let mut batches = vec![shown(&joined)];
    let mut reply = joined;
    while reply["more"] == true {
        let ack = json!({"cursor": reply["cursor"]});
        reply = client.push(TOPIC, "message:ack", ack).await.ok();
        assert!(reply["gap"].as_array().unwrap().len() <= 100);
        batches.push(shown(&reply));
    }
    batches
}

#[tokio::test]
async fn within_a_batch_a_call_comes_first() {
    let world = World::start().await;
    let quiet = world.conversation(&["ann", "bob"]).await;
    let ringing = world.conversation(&["ann", "bob"]).await;
    known_phone(&world).await;
    say(&world, &quiet, "text", "1").await;
    say(&world, &ringing, "text", "2").await;
    say(&world, &quiet, "text", "3").await;
    say(&world, &ringing, "call", "4").await;
    let mut phone = phone(&world).await;
    let joined = phone.join(TOPIC, nothing()).await.ok();
    let contents: Vec<_> = shown(&joined)
        .into_iter()
        .map(|(_, content)| content)
        .collect();
    assert_eq!(
        contents,
        ["2", "4", "1", "3"],
        "and each conversation in its order"
    );
}

/// The call lies behind more than a batch of other conversations; it comes with the first batch
/// all the same, and everything comes once, also when the client dies in between.
#[tokio::test]
async fn an_urgent_conversation_is_replayed_before_all_others() {
    let world = World::with_delivery(eager()).await;
    let quiet = world.conversation(&["ann", "bob"]).await;
    let ringing = world.conversation(&["ann", "bob"]).await;
    known_phone(&world).await;
    say(&world, &ringing, "text", "before the call").await;
    for n in 0..150 {
        say(&world, &quiet, "text", &n.to_string()).await;
    }
    say(&world, &ringing, "call", "missed call").await;
    queued(&world, &ringing, 2).await;
    queued(&world, &quiet, 150).await;
    let mut first = phone(&world).await;
    let joined = first.join(TOPIC, nothing()).await.ok();
    let of_ringing = |content: &str| (ringing.to_string(), content.to_owned());
    let expected = [of_ringing("before the call"), of_ringing("missed call")];
    assert_eq!(shown(&joined), expected);
    assert_eq!(joined["more"], true);
    let again = phone(&world).await.join(TOPIC, nothing()).await.ok();
    assert_eq!(
        shown(&again),
        expected,
        "what was not acknowledged comes again"
    );
    let batches = read_on(&mut first, joined).await;
    let all: Vec<_> = batches.concat();
    assert_eq!(all.len(), 152, "everything once");
    let rest = all[2..].iter().map(|(_, content)| content.parse().unwrap());
    assert_eq!(rest.collect::<Vec<usize>>(), (0..150).collect::<Vec<_>>());
    // Acknowledged: nothing is left for the next join.
    let cursor = world.node.store.cursor_now().await.unwrap();
    first
        .push(TOPIC, "message:ack", json!({"cursor": cursor}))
        .await
        .ok();
    let later = phone(&world).await.join(TOPIC, nothing()).await.ok();
    assert_eq!(later["gap"], json!([]));
}

/// The acknowledgement of what came out of turn outlives the connection.
#[tokio::test]
async fn what_was_acknowledged_out_of_turn_does_not_come_again() {
    let world = World::with_delivery(eager()).await;
    let quiet = world.conversation(&["ann", "bob"]).await;
    let ringing = world.conversation(&["ann", "bob"]).await;
    known_phone(&world).await;
    for n in 0..120 {
        say(&world, &quiet, "text", &n.to_string()).await;
    }
    say(&world, &ringing, "call", "missed call").await;
    queued(&world, &ringing, 1).await;
    let mut first = phone(&world).await;
    let joined = first.join(TOPIC, nothing()).await.ok();
    assert_eq!(shown(&joined).len(), 1);
    let ack = json!({"cursor": joined["cursor"]});
    let next = first.push(TOPIC, "message:ack", ack).await.ok();
    assert_eq!(shown(&next).len(), 100);
    first.close().await;
    let mut second = phone(&world).await;
    let joined = second.join(TOPIC, nothing()).await.ok();
    let all = read_on(&mut second, joined).await.concat();
    assert_eq!(
        all.len(),
        120,
        "the quiet conversation from its beginning, and no call"
    );
    assert!(all.iter().all(|(id, _)| *id == *quiet.as_str()));
}

/// A client that waited for a reply in vain acknowledges again; it does not have the batch.
#[tokio::test]
async fn an_acknowledgement_that_is_sent_again_brings_the_same_again() {
    let world = World::with_delivery(eager()).await;
    let id = world.conversation(&["ann", "bob"]).await;
    known_phone(&world).await;
    for n in 0..230 {
        say(&world, &id, "text", &n.to_string()).await;
    }
    let mut phone = phone(&world).await;
    let mut reply = phone.join(TOPIC, nothing()).await.ok();
    let mut all = shown(&reply);
    while reply["more"] == true {
        let ack = json!({"cursor": reply["cursor"]});
        reply = phone.push(TOPIC, "message:ack", ack.clone()).await.ok();
        let again = phone.push(TOPIC, "message:ack", ack).await.ok();
        assert_eq!(reply, again);
        all.extend(shown(&again));
    }
    let contents: Vec<_> = all.into_iter().map(|(_, content)| content).collect();
    let expected: Vec<_> = (0..230).map(|n| n.to_string()).collect();
    assert_eq!(contents, expected);
    say(&world, &id, "text", "live").await;
    assert_eq!(phone.event(TOPIC, "message:new").await["content"], "live");
}

/// Batches that come out of turn leave the cursor where it is, and are acknowledged one by one.
#[tokio::test]
async fn an_urgent_batch_that_did_not_arrive_is_not_taken_for_acknowledged() {
    let world = World::with_delivery(eager()).await;
    let ringing = world.conversation(&["ann", "bob"]).await;
    known_phone(&world).await;
    for n in 0..250 {
        say(&world, &ringing, "call", &n.to_string()).await;
    }
    queued(&world, &ringing, 250).await;
    let contents = |reply: &Value| -> Vec<String> {
        let shown = shown(reply).into_iter();
        shown.map(|(_, content)| content).collect()
    };
    let numbers =
        |range: std::ops::Range<u32>| -> Vec<String> { range.map(|n| n.to_string()).collect() };
    let mut first = phone(&world).await;
    let joined = first.join(TOPIC, nothing()).await.ok();
    assert_eq!(contents(&joined), numbers(0..100));
    let ack = json!({"cursor": joined["cursor"]});
    for _ in 0..3 {
        // No reply arrives, so far as the client knows.
        let next = first.push(TOPIC, "message:ack", ack.clone()).await.ok();
        assert_eq!(contents(&next), numbers(100..200));
        assert_eq!(next["more"], true);
    }
    first.close().await;
    let mut second = phone(&world).await;
    let joined = second.join(TOPIC, nothing()).await.ok();
    let batches = read_on(&mut second, joined.clone()).await.concat();
    let rest: Vec<_> = batches.into_iter().map(|(_, content)| content).collect();
    assert_eq!(rest, numbers(100..250));
    // A client that keeps its cursor itself goes on from it, wherever it was in between.
    let mut third = world.socket("bob").await;
    let params = json!({"cursor": joined["cursor"]});
    let joined = third.join(TOPIC, params).await.ok();
    assert!(joined.get("reset_required").is_none(), "{joined}");
}

#[tokio::test]
async fn too_much_or_too_old_is_not_replayed() {
    for too_old in [false, true] {
        let world = World::with_delivery(delivery::Config {
            queue_entries: 20,
            ..eager()
        })
        .await;
        let id = world.conversation(&["ann", "bob"]).await;
        known_phone(&world).await;
        for n in 0..if too_old { 1 } else { 21 } {
            say(&world, &id, "text", &n.to_string()).await;
        }
        if too_old {
            world.node.clock.advance_ms(168 * 3_600_000 + 1);
        }
        let mut phone = phone(&world).await;
        let joined = phone.join(TOPIC, nothing()).await.ok();
        assert_eq!(joined["reset_required"], true, "{joined}");
        assert!(joined.get("gap").is_none());
        // Live from here on, and the next join goes on from the cursor that was given.
        say(&world, &id, "text", "live").await;
        let heard = phone.event(TOPIC, "message:new").await;
        assert_eq!(heard["content"], "live");
        phone.close().await;
        let mut later = world.socket("bob").await;
        let params = json!({"cursor": joined["cursor"]});
        let joined = later.join(TOPIC, params).await.ok();
        let contents: Vec<_> = shown(&joined).into_iter().map(|it| it.1).collect();
        assert_eq!(contents, ["live"]);
        let topic = format!("chat:{id}");
        let joined = later.join(&topic, json!({"last_seq": 0})).await.ok();
        assert_eq!(joined["reset_required"], true, "and so in the conversation");
    }
}

/// A device that acknowledges conversation by conversation is not behind, wherever its cursor over
/// all stands.
#[tokio::test]
async fn what_was_acknowledged_elsewhere_is_not_missed() {
    let world = World::with_delivery(delivery::Config {
        queue_entries: 20,
        ..eager()
    })
    .await;
    let id = world.conversation(&["ann", "bob"]).await;
    known_phone(&world).await;
    for n in 0..25 {
        say(&world, &id, "text", &n.to_string()).await;
    }
    let cursor = DeviceCursor {
        person: person("acme", "bob"),
        device: DeviceId::new("phone").unwrap(),
        conversation: id.clone(),
        seq: Seq(24),
    };
    world.node.store.write_cursors(vec![cursor]).await.unwrap();
    let joined = phone(&world).await.join(TOPIC, nothing()).await.ok();
    assert!(joined.get("reset_required").is_none(), "{joined}");
    assert_eq!(shown(&joined), [(id.to_string(), "24".to_owned())]);
}

/// A message that is deleted for oneself goes from one's other devices too, also from one that
/// was away.
#[tokio::test]
async fn deleting_for_oneself_is_told_to_ones_devices() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    known_phone(&world).await;
    let topic = format!("chat:{id}");
    let mut laptop = world.socket("bob").await;
    laptop.join(&topic, nothing()).await.ok();
    let mut tablet = world.socket("bob").await;
    tablet.join(TOPIC, nothing()).await.ok();
    say(&world, &id, "text", "hello").await;
    let message = laptop.event(&topic, "message:new").await["id"].clone();
    let delete = json!({"message_id": message, "scope": "me"});
    laptop.push(&topic, "message:delete", delete).await.ok();
    let hidden = tablet.event(TOPIC, "message:hidden").await;
    holds(
        &hidden,
        json!({"message_id": message, "conversation_id": id.as_str()}),
    );
    let joined = phone(&world).await.join(TOPIC, nothing()).await.ok();
    let gap = joined["gap"].as_array().unwrap();
    let missed: Vec<_> = gap.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(missed, ["message:new", "message:hidden"]);
    let mut ann = world.socket("ann").await;
    ann.join(&topic, nothing()).await.ok();
    let history = ann.push(&topic, "message:history", nothing()).await.ok();
    assert_eq!(
        history["messages"][0]["content"], "hello",
        "and for nobody else"
    );
}

/// Drafts, mutes and unread marks are told to one's other devices, and found after a reconnect.
#[tokio::test]
async fn registers_are_told_to_ones_devices_and_found_again() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    say(&world, &id, "text", "1").await;
    let topic = format!("chat:{id}");
    let mut laptop = world.socket("bob").await;
    laptop.join(&topic, nothing()).await.ok();
    let mut tablet = world.socket("bob").await;
    tablet.join(TOPIC, nothing()).await.ok();
    laptop
        .push(&topic, "message:read", json!({"seq": 1}))
        .await
        .ok();
    assert_eq!(tablet.event(TOPIC, "unread:changed").await["unread"], 0);
    laptop
        .push(&topic, "message:unread", json!({"seq": 1}))
        .await
        .ok();
    let unread = tablet.event(TOPIC, "unread:changed").await;
    holds(&unread, json!({"unread": 1, "unread_from": 1}));
    laptop
        .push(&topic, "draft:set", json!({"text": "well"}))
        .await
        .ok();
    assert_eq!(
        tablet.event(TOPIC, "draft:changed").await["draft"]["text"],
        "well"
    );
    let mute = json!({"mentions_only": true});
    laptop.push(&topic, "conversation:mute", mute).await.ok();
    let muted = tablet.event(TOPIC, "mute:changed").await;
    assert_eq!(muted["mute"]["mentions_only"], true);
    let mut later = world.socket("bob").await;
    let registers = later.join(&topic, nothing()).await.ok()["registers"].clone();
    holds(&registers, json!({"unread": 1}));
    assert_eq!(registers["draft"]["text"], "well");
    assert_eq!(registers["mute"]["mentions_only"], true);
}

#[tokio::test]
async fn threads_have_unread_counts_of_their_own() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob", "cem"]).await;
    let topic = format!("chat:{id}");
    let mut ann = world.socket("ann").await;
    ann.join(&topic, nothing()).await.ok();
    let mut stream = world.socket("ann").await;
    stream.join("user:ann", nothing()).await.ok();
    let root = ann
        .push(&topic, "message:send", json!({"content": "ideas?"}))
        .await
        .ok();
    let mut bob = world.socket("bob").await;
    bob.join(&topic, nothing()).await.ok();
    for n in 0..3 {
        let answer = json!({"content": n.to_string(), "thread_root": root["id"]});
        bob.push(&topic, "message:send", answer).await.ok();
    }
    let store = &world.node.store;
    let (user, thread) = (UserId::new("ann").unwrap(), root["id"].as_str().unwrap());
    let thread = MessageId::parse(thread).unwrap();
    let counted = async {
        loop {
            let threads = store.threads(&id, &user, Some(&[thread]), 1).await.unwrap();
            if threads.first().is_some_and(|it| it.unread == 3) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted)
        .await
        .unwrap();
    let expected = json!({"thread_root": root["id"], "unread": 3, "read": 1, "last_seq": 4});
    let registers =
        world.socket("ann").await.join(&topic, nothing()).await.ok()["registers"].clone();
    assert_eq!(registers["threads"], json!([expected]));
    assert_eq!(registers["unread"], 0, "the main timeline has nothing new");
    let page = json!({"thread_root": root["id"]});
    let history = ann.push(&topic, "message:history", page).await.ok();
    assert_eq!(history["thread"], expected);
    let read = json!({"thread_root": root["id"], "seq": 3});
    ann.push(&topic, "message:read", read).await.ok();
    let changed = stream.event("user:ann", "unread:changed").await;
    let expected = json!({"thread_root": root["id"], "unread": 1, "read": 3, "last_seq": 4});
    assert_eq!(changed["thread"], expected);
    let nowhere = json!({"thread_root": uuid::Uuid::now_v7(), "seq": 1});
    let refused = ann.push(&topic, "message:read", nowhere).await.error();
    holds(
        &refused,
        json!({"reason": "invalid_field", "field": "thread_root"}),
    );
    let others = world.socket("cem").await.join(&topic, nothing()).await.ok();
    assert_eq!(
        others["registers"]["threads"],
        json!([]),
        "who does not follow"
    );
}
