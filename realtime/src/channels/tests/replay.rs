//! Joining with a place in the log: exactly what was missed, then live.

use std::time::Duration;

use super::*;
use crate::auth::test_kit::person;

async fn send(world: &World, id: &ConversationId, count: usize) {
    for n in 0..count {
        let message = conversation::SendMessage {
            kind: "text".into(),
            content: Some(n.to_string()),
            ..conversation::SendMessage::default()
        };
        let command = conversation::Command::Send(Box::new(message));
        let conversations = &world.backend.conversations;
        let ann = person("acme", "ann");
        conversations.submit(&ann, id, command).await.unwrap();
    }
}

fn seqs(entries: &Value) -> Vec<u64> {
    let entries = entries.as_array().unwrap().iter();
    entries
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect()
}

fn live_seqs(received: &[Received]) -> Vec<u64> {
    let new = received.iter().filter(|it| it.event == "message:new");
    new.map(|it| it.payload["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_gap_is_exactly_what_was_missed_and_reads_as_it_would_have_live() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    let mut live = world.socket("ann").await;
    live.join(&topic, nothing()).await.ok();
    send(&world, &id, 5).await;
    let mut bob = world.socket("bob").await;
    let joined = bob.join(&topic, json!({"lastSeq": 2})).await.ok();
    assert_eq!(seqs(&joined["gap"]), [3, 4, 5]);
    assert_eq!(joined["last_seq"], 5);
    for entry in joined["gap"].as_array().unwrap() {
        assert_eq!(entry["event"], "message:new");
        let heard = loop {
            let heard = live.event(&topic, "message:new").await;
            if heard["seq"] == entry["seq"] {
                break heard;
            }
        };
        assert_eq!(entry["payload"], heard);
    }
    send(&world, &id, 1).await;
    assert_eq!(bob.event(&topic, "message:new").await["seq"], 6);
}

#[tokio::test]
async fn up_to_date_is_an_empty_gap_and_no_place_is_none() {
    let world = World::start().await;
    let id = world.conversation(&["ann"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 3).await;
    let mut ann = world.socket("ann").await;
    let joined = ann.join(&topic, json!({"last_seq": 3})).await.ok();
    assert_eq!(joined["gap"], json!([]));
    let joined = ann.join(&topic, nothing()).await.ok();
    assert!(joined.get("gap").is_none());
}

#[tokio::test]
async fn a_long_gap_comes_in_batches_and_live_entries_wait_for_it() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 230).await;
    let mut bob = world.socket("bob").await;
    let joined = bob.join(&topic, json!({"last_seq": 0})).await.ok();
    assert_eq!(seqs(&joined["gap"]), (1..=100).collect::<Vec<_>>());
    assert_eq!(joined["more"], true);
    send(&world, &id, 5).await;
    assert_eq!(live_seqs(&bob.so_far().await), [] as [u64; 0]);
    let acked = bob
        .push(&topic, "message:ack", json!({"seq": 50}))
        .await
        .ok();
    assert!(
        acked.get("gap").is_none(),
        "the batch is not yet acknowledged"
    );
    let acked = bob
        .push(&topic, "message:ack", json!({"seq": 100}))
        .await
        .ok();
    assert_eq!(seqs(&acked["gap"]), (101..=200).collect::<Vec<_>>());
    assert_eq!(acked["more"], true);
    let acked = bob
        .push(&topic, "message:ack", json!({"seq": 200}))
        .await
        .ok();
    assert_eq!(seqs(&acked["gap"]), (201..=235).collect::<Vec<_>>());
    assert!(acked.get("more").is_none());
    send(&world, &id, 1).await;
    assert_eq!(bob.event(&topic, "message:new").await["seq"], 236);
}

/// A client that waited for a reply in vain acknowledges again; it does not have the batch.
#[tokio::test]
async fn an_acknowledgement_that_is_sent_again_brings_the_same_again() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 230).await;
    let mut bob = world.socket("bob").await;
    bob.join(&topic, json!({"last_seq": 0})).await.ok();
    let acked = async |bob: &mut TestClient, seq: u64| {
        let ack = bob.push(&topic, "message:ack", json!({"seq": seq}));
        ack.await.ok()
    };
    for _ in 0..3 {
        let second = acked(&mut bob, 100).await;
        assert_eq!(seqs(&second["gap"]), (101..=200).collect::<Vec<_>>());
        assert_eq!(second["more"], true);
    }
    let partly = acked(&mut bob, 150).await;
    assert!(partly.get("gap").is_none(), "it has the batch");
    assert_eq!(partly["more"], true, "and is not live");
    for nth in 0..3 {
        let last = acked(&mut bob, 200).await;
        assert_eq!(seqs(&last["gap"]), (201..=230).collect::<Vec<_>>());
        assert!(last.get("more").is_none());
        send(&world, &id, 1).await;
        assert_eq!(bob.event(&topic, "message:new").await["seq"], 231 + nth);
    }
    for seq in [233, 200] {
        let live = acked(&mut bob, seq).await;
        assert!(live.get("gap").is_none() && live.get("more").is_none());
    }
    send(&world, &id, 1).await;
    assert_eq!(live_seqs(&bob.so_far().await), [234]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_in_the_middle_of_traffic_leaves_no_hole_and_no_duplicate() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 10).await;
    let joining = async {
        let mut all = Vec::new();
        for _ in 0..8 {
            let mut bob = world.socket("bob").await;
            let joined = bob.join(&topic, json!({"last_seq": 0})).await.ok();
            let mut seen = seqs(&joined["gap"]);
            let mut last = joined;
            while last["more"] == true {
                let seq = *seen.last().unwrap();
                last = bob
                    .push(&topic, "message:ack", json!({"seq": seq}))
                    .await
                    .ok();
                seen.extend(seqs(&last["gap"]));
            }
            all.push((bob, seen));
        }
        all
    };
    let (all, ()) = tokio::join!(joining, send(&world, &id, 60));
    for (mut bob, mut seen) in all {
        while seen.last() < Some(&70) {
            let heard = bob.event(&topic, "message:new").await;
            seen.push(heard["seq"].as_u64().unwrap());
        }
        assert_eq!(seen, (1..=70).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_place_that_is_not_there_yet_or_long_past_needs_a_reset() {
    let world = World::start().await;
    let id = world.conversation(&["ann"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 3).await;
    let mut ann = world.socket("ann").await;
    let ahead = ann.join(&topic, json!({"last_seq": 4})).await.ok();
    holds(&ahead, json!({"reset_required": true, "last_seq": 3}));
    send(&world, &id, 1).await;
    assert_eq!(ann.event(&topic, "message:new").await["seq"], 4);
    // Within the token's life the clock cannot move a week: the entries are older instead.
    world.node.clock.advance_ms(-8 * 24 * 3600 * 1000);
    send(&world, &id, 1).await;
    world.node.clock.advance_ms(8 * 24 * 3600 * 1000);
    let past = ann.join(&topic, json!({"last_seq": 4})).await.ok();
    holds(&past, json!({"reset_required": true, "last_seq": 5}));
}

#[tokio::test]
async fn a_device_goes_on_where_it_acknowledged() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 4).await;
    let grant = member("acme", "bob");
    let mut phone = world.socket_of(&grant, &[("device_id", "phone")]).await;
    let joined = phone.join(&topic, nothing()).await.ok();
    assert!(
        joined.get("gap").is_none(),
        "a new device fetches the history"
    );
    phone
        .push(&topic, "message:ack", json!({"seq": 2}))
        .await
        .ok();
    phone.close().await;
    let mut phone = world.socket_of(&grant, &[("device_id", "phone")]).await;
    let joined = phone.join(&topic, nothing()).await.ok();
    assert_eq!(seqs(&joined["gap"]), [3, 4]);
    let mut tablet = world.socket_of(&grant, &[("device_id", "tablet")]).await;
    let joined = tablet.join(&topic, nothing()).await.ok();
    assert!(
        joined.get("gap").is_none(),
        "another device, another cursor"
    );
}

#[tokio::test]
async fn what_was_said_before_one_came_is_not_replayed() {
    let world = World::start().await;
    let id = world.conversation(&["ann"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 3).await;
    let add = conversation::Command::AddMembers {
        members: vec![(person("acme", "bob").user, Role::Member)],
    };
    let conversations = &world.backend.conversations;
    conversations
        .submit(&person("acme", "ann"), &id, add)
        .await
        .unwrap();
    send(&world, &id, 1).await;
    let mut bob = world.socket("bob").await;
    let joined = bob.join(&topic, json!({"last_seq": 0})).await.ok();
    assert_eq!(seqs(&joined["gap"]), [4, 5]);
    let history = bob.push(&topic, "message:history", nothing()).await.ok();
    assert_eq!(seqs(&history["messages"]), [5]);
    tokio::time::timeout(Duration::from_secs(5), bob.close())
        .await
        .unwrap();
}

/// Changes Bob's membership.
async fn bob_is(world: &World, id: &ConversationId, member: bool) {
    let user = person("acme", "bob").user;
    let command = match member {
        true => conversation::Command::AddMembers {
            members: vec![(user, Role::Member)],
        },
        false => conversation::Command::RemoveMember { user },
    };
    let ann = person("acme", "ann");
    let conversations = &world.backend.conversations;
    conversations.submit(&ann, id, command).await.unwrap();
}

#[tokio::test]
async fn more_hidden_entries_than_a_batch_holds_are_passed_over() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    send(&world, &id, 90).await;
    bob_is(&world, &id, false).await;
    send(&world, &id, 150).await;
    bob_is(&world, &id, true).await;
    send(&world, &id, 30).await;
    // 1 to 91 and from 242 on are his.
    let mut bob = world.socket("bob").await;
    let joined = bob.join(&topic, json!({"last_seq": 0})).await.ok();
    let expected: Vec<u64> = (1..=91).chain(242..=250).collect();
    assert_eq!(seqs(&joined["gap"]), expected);
    assert_eq!(joined["more"], true);
    let ack = bob.push(&topic, "message:ack", json!({"seq": 250}));
    let acked = ack.await.ok();
    assert_eq!(seqs(&acked["gap"]), (251..=272).collect::<Vec<_>>());
    assert!(acked.get("more").is_none());
    let joined = bob.join(&topic, json!({"last_seq": 91})).await.ok();
    assert_eq!(seqs(&joined["gap"]), (242..=272).collect::<Vec<_>>());
    assert!(joined.get("more").is_none());
    send(&world, &id, 1).await;
    assert_eq!(bob.event(&topic, "message:new").await["seq"], 273);
}
