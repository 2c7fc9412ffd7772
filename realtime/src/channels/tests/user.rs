//! `user:<id>`: one stream over all conversations.

use quikapp_actors::{
    conversation::{MemberLeft, chat_topic},
    fanout::{Broadcast, Note},
};
use quikapp_storage::{Conversation, Created, Seq};

use super::*;
use crate::auth::test_kit::person;

const TOPIC: &str = "user:bob";

async fn begin(world: &World, members: &[&str]) -> ConversationId {
    let user = |name: &&str| (UserId::new(name).unwrap(), Role::Member);
    let new = NewConversation {
        id: ConversationId::generate(),
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: ConversationKind::Group,
        name: Some("team".into()),
        created_by: UserId::new(members[0]).unwrap(),
        created_at: NOW,
        members: members.iter().map(user).collect(),
    };
    let id = new.id.clone();
    world.backend.conversations.create(new).await.unwrap();
    id
}

async fn say(world: &World, id: &ConversationId, content: &str) {
    let message = conversation::SendMessage {
        kind: "text".into(),
        content: Some(content.into()),
        ..conversation::SendMessage::default()
    };
    let command = conversation::Command::Send(Box::new(message));
    let conversations = &world.backend.conversations;
    let ann = person("acme", "ann");
    conversations.submit(&ann, id, command).await.unwrap();
}

fn contents(gap: &Value) -> Vec<String> {
    let entries = gap.as_array().unwrap().iter();
    entries
        .filter(|entry| entry["event"] == "message:new")
        .map(|entry| entry["payload"]["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn it_is_only_ones_own() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    let refused = bob.join("user:ann", nothing()).await;
    assert_eq!(refused.reason(), "forbidden");
    let joined = bob.join(TOPIC, nothing()).await.ok();
    assert_eq!(joined["user_id"], "bob");
    assert!(joined["cursor"].is_string());
    assert_eq!(
        bob.push(TOPIC, "message:send", json!({})).await.reason(),
        "unknown_event"
    );
}

#[tokio::test]
async fn messages_of_all_conversations_arrive_and_each_once() {
    let world = World::start().await;
    let (one, two) = (
        begin(&world, &["ann", "bob"]).await,
        begin(&world, &["ann", "bob"]).await,
    );
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    let joined = format!("chat:{two}");
    bob.join(&joined, nothing()).await.ok();
    say(&world, &one, "in one").await;
    say(&world, &two, "in two").await;
    let heard = bob.event(TOPIC, "message:new").await;
    holds(
        &heard,
        json!({"content": "in one", "conversation_id": one.as_str(), "seq": 1}),
    );
    assert_eq!(bob.event(&joined, "message:new").await["content"], "in two");
    let rest = bob.so_far().await;
    assert!(!events(&rest).contains(&"message:new"), "{rest:?}");
    bob.leave(&joined).await.ok();
    say(&world, &two, "again").await;
    assert_eq!(bob.event(TOPIC, "message:new").await["content"], "again");
}

#[tokio::test]
async fn a_conversation_that_begins_while_one_is_there_is_in_the_stream() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    let id = begin(&world, &["ann", "bob"]).await;
    let new = bob.event(TOPIC, "conversation:new").await;
    holds(
        &new["conversation"],
        json!({"id": id.as_str(), "type": "group", "name": "team"}),
    );
    say(&world, &id, "welcome").await;
    assert_eq!(bob.event(TOPIC, "message:new").await["content"], "welcome");
}

#[tokio::test]
async fn a_conversation_one_is_removed_from_is_no_longer() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    let remove = conversation::Command::RemoveMember {
        user: person("acme", "bob").user,
    };
    let conversations = &world.backend.conversations;
    conversations
        .submit(&person("acme", "ann"), &id, remove)
        .await
        .unwrap();
    let update = bob.event(TOPIC, "conversation:updated").await;
    assert_eq!(update["change"], "member_removed");
    say(&world, &id, "without bob").await;
    let rest = bob.so_far().await;
    assert!(!events(&rest).contains(&"message:new"), "{rest:?}");
}

#[tokio::test]
async fn a_cursor_brings_what_was_missed_over_all_conversations() {
    let world = World::start().await;
    let (one, two) = (
        begin(&world, &["ann", "bob"]).await,
        begin(&world, &["ann", "bob"]).await,
    );
    let other = begin(&world, &["ann"]).await;
    let mut bob = world.socket("bob").await;
    let cursor = bob.join(TOPIC, nothing()).await.ok()["cursor"].clone();
    bob.close().await;
    for (id, content) in [(&one, "1"), (&two, "2"), (&other, "secret"), (&one, "3")] {
        say(&world, id, content).await;
    }
    let late = begin(&world, &["ann", "bob"]).await;
    say(&world, &late, "4").await;
    let mut bob = world.socket("bob").await;
    let joined = bob.join(TOPIC, json!({ "cursor": cursor })).await.ok();
    assert_eq!(contents(&joined["gap"]), ["1", "2", "3", "4"]);
    say(&world, &late, "5").await;
    assert_eq!(bob.event(TOPIC, "message:new").await["content"], "5");
    let cursor = joined["cursor"].clone();
    let again = bob.join(TOPIC, json!({ "cursor": cursor })).await.ok();
    assert_eq!(contents(&again["gap"]), ["5"]);
}

#[tokio::test]
async fn what_is_long_comes_in_batches_and_live_entries_wait() {
    let world = World::start().await;
    let id = begin(&world, &["ann", "bob"]).await;
    let mut bob = world.socket("bob").await;
    let cursor = bob.join(TOPIC, nothing()).await.ok()["cursor"].clone();
    bob.close().await;
    for n in 0..150 {
        say(&world, &id, &n.to_string()).await;
    }
    let mut bob = world.socket("bob").await;
    let mut batch = bob.join(TOPIC, json!({ "cursor": cursor })).await.ok();
    assert_eq!(batch["more"], true);
    let mut seen = contents(&batch["gap"]);
    say(&world, &id, "150").await;
    assert!(!events(&bob.so_far().await).contains(&"message:new"));
    while batch["more"] == true {
        let ack = json!({"cursor": batch["cursor"]});
        batch = bob.push(TOPIC, "message:ack", ack).await.ok();
        seen.extend(contents(&batch["gap"]));
    }
    say(&world, &id, "151").await;
    seen.push(
        bob.event(TOPIC, "message:new").await["content"]
            .as_str()
            .unwrap()
            .to_owned(),
    );
    assert_eq!(seen, (0..=151).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_device_goes_on_where_it_acknowledged() {
    let world = World::start().await;
    let id = begin(&world, &["ann", "bob"]).await;
    let grant = member("acme", "bob");
    let device = [("device_id", "phone")];
    let mut phone = world.socket_of(&grant, &device).await;
    let cursor = phone.join(TOPIC, nothing()).await.ok()["cursor"].clone();
    phone
        .push(TOPIC, "message:ack", json!({ "cursor": cursor }))
        .await
        .ok();
    say(&world, &id, "1").await;
    say(&world, &id, "2").await;
    let ack = json!({"conversation_id": id.as_str(), "seq": 1});
    phone.push(TOPIC, "message:ack", ack).await.ok();
    phone.close().await;
    let mut phone = world.socket_of(&grant, &device).await;
    let joined = phone.join(TOPIC, nothing()).await.ok();
    assert_eq!(contents(&joined["gap"]), ["2"], "1 is on the device");
}

#[tokio::test]
async fn the_cursor_of_what_was_live_is_to_be_had() {
    let world = World::start().await;
    let id = begin(&world, &["ann", "bob"]).await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    say(&world, &id, "live").await;
    bob.event(TOPIC, "message:new").await;
    let cursor = bob.push(TOPIC, "stream:cursor", nothing()).await.ok()["cursor"].clone();
    say(&world, &id, "later").await;
    let joined = bob.join(TOPIC, json!({ "cursor": cursor })).await.ok();
    assert_eq!(contents(&joined["gap"]), ["later"]);
}

#[tokio::test]
async fn a_cursor_from_elsewhere_needs_a_reset() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    let joined = bob.join(TOPIC, json!({"cursor": "nonsense"})).await.ok();
    assert_eq!(joined["reset_required"], true);
    let ack = json!({"cursor": "nonsense"});
    let error = bob.push(TOPIC, "message:ack", ack).await.error();
    holds(
        &error,
        json!({"reason": "invalid_field", "field": "cursor"}),
    );
}

/// A client may keep a cursor and lose everything that follows it on the wire.
#[tokio::test]
async fn a_cursor_never_overtakes_what_it_covers() {
    let world = World::start().await;
    let id = begin(&world, &["ann", "bob"]).await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    let talk = async || {
        for n in 0..50 {
            say(&world, &id, &n.to_string()).await;
        }
    };
    let listen = async {
        let (mut shown, mut asked) = (0, None);
        while shown < 200 || asked.is_some() {
            let received = bob.next().await;
            if received.event == "message:new" {
                shown += 1;
                if asked.is_none() {
                    asked = Some(bob.start_push(TOPIC, "stream:cursor", nothing()).await);
                }
            } else if asked
                .as_ref()
                .is_some_and(|asked| received.msg_ref == **asked)
            {
                asked = None;
                let cursor = received.ok()["cursor"].take();
                let cursor = serde_json::from_value(cursor).unwrap();
                let bob = person("acme", "bob");
                let behind = world.node.store.missed(&bob, &cursor, 1).await.unwrap();
                let covered = behind.entries.first().map(|(_, entry)| entry.seq.0 - 1);
                assert!(covered.is_none_or(|covered| covered <= shown));
            }
        }
    };
    tokio::join!(talk(), talk(), talk(), talk(), listen);
}

#[tokio::test]
async fn an_invitation_names_who_made_one_a_member_of_a_group() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    let made = begin(&world, &["ann", "bob"]).await;
    let invite = bob.event(TOPIC, "conversation:invite").await;
    holds(
        &invite,
        json!({"conversation_id": made.as_str(), "invited_by": "ann", "seq": 2}),
    );
    let joined_later = world.conversation(&["ann"]).await;
    let add = conversation::Command::AddMembers {
        members: vec![(person("acme", "bob").user, Role::Member)],
    };
    let conversations = &world.backend.conversations;
    let ann = person("acme", "ann");
    conversations
        .submit(&ann, &joined_later, add)
        .await
        .unwrap();
    bob.event(TOPIC, "conversation:new").await;
    let invite = bob.event(TOPIC, "conversation:invite").await;
    holds(
        &invite["conversation"],
        json!({"id": joined_later.as_str(), "type": "group"}),
    );
    holds(&invite, json!({"invited_by": "ann"}));
}

#[tokio::test]
async fn whoever_makes_a_group_is_not_invited_to_it_and_nobody_to_a_direct_conversation() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    begin(&world, &["bob", "ann"]).await;
    let direct = NewConversation {
        id: ConversationId::generate(),
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: ConversationKind::Direct,
        name: None,
        created_by: person("acme", "ann").user,
        created_at: NOW,
        members: ["ann", "bob"]
            .map(|user| (UserId::new(user).unwrap(), Role::Member))
            .into(),
    };
    world.backend.conversations.create(direct).await.unwrap();
    let told = bob.so_far().await;
    let news = events(&told);
    assert_eq!(news, ["conversation:new", "conversation:new"]);
}

#[tokio::test]
async fn members_who_are_mentioned_are_notified_also_when_they_were_away() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let mut bob = world.socket("bob").await;
    let cursor = bob.join(TOPIC, nothing()).await.ok()["cursor"].clone();
    let mut eve = world.socket("eve").await;
    eve.join("user:eve", nothing()).await.ok();
    let mention = async |content: &str| {
        let user = |name: &str| UserId::new(name).unwrap();
        let message = conversation::SendMessage {
            kind: "text".into(),
            content: Some(content.into()),
            mentions: ["bob", "eve", "ann", "bob"].map(user).into(),
            ..conversation::SendMessage::default()
        };
        let command = conversation::Command::Send(Box::new(message));
        let conversations = &world.backend.conversations;
        let ann = person("acme", "ann");
        conversations.submit(&ann, &id, command).await.unwrap()
    };
    let sent = mention("one").await;
    let told = bob.event(TOPIC, "notification").await;
    let expected = json!({
        "type": "mention", "conversation_id": id.as_str(), "message_id": sent.id.to_string(),
        "message_seq": 1, "from": "ann",
    });
    holds(&told, expected);
    assert!(
        !told.to_string().contains("one"),
        "a deletion leaves nothing"
    );
    assert_eq!(events(&eve.so_far().await), [""; 0], "she is no member");
    bob.close().await;
    mention("two").await;
    let mut bob = world.socket("bob").await;
    // The notice is written behind the message's reply.
    let is_told = async || {
        let person = person("acme", "bob");
        let cursor = serde_json::from_value(cursor.clone()).unwrap();
        let missed = world
            .node
            .store
            .missed(&person, &cursor, 100)
            .await
            .unwrap();
        let own = person.own_conversation();
        missed.entries.iter().filter(|(id, _)| *id == own).count() == 2
    };
    while !is_told().await {
        tokio::task::yield_now().await;
    }
    let joined = bob.join(TOPIC, json!({ "cursor": cursor })).await.ok();
    let gap = joined["gap"].as_array().unwrap().iter();
    let notifications = gap.filter(|entry| entry["event"] == "notification");
    assert_eq!(notifications.count(), 2);
}

#[tokio::test]
async fn one_learns_with_which_devices_one_is_connected() {
    let world = World::start().await;
    let bob = member("acme", "bob");
    let mut phone = world.socket_of(&bob, &[("device_id", "phone")]).await;
    phone.join(TOPIC, nothing()).await.ok();
    let mut laptop = world.socket_of(&bob, &[("device_id", "laptop")]).await;
    laptop.join(TOPIC, nothing()).await.ok();
    let names = |payload: &Value| -> Vec<String> {
        let devices = payload["devices"].as_array().unwrap().iter();
        devices
            .map(|device| device["device_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let changed = phone.event(TOPIC, "devices:changed").await;
    assert_eq!(names(&changed), ["phone", "laptop"]);
    laptop.close().await;
    let changed = phone.event(TOPIC, "devices:changed").await;
    assert_eq!(names(&changed), ["phone"]);
}

#[tokio::test]
async fn what_one_prefers_reaches_all_of_ones_devices() {
    let world = World::start().await;
    let mut phone = world.socket("bob").await;
    let cursor = phone.join(TOPIC, nothing()).await.ok()["cursor"].clone();
    let mut laptop = world.socket("bob").await;
    laptop.join(TOPIC, nothing()).await.ok();
    let set = async |client: &mut TestClient, patch| {
        let set = client.push(TOPIC, "preferences:set", patch).await;
        set.ok()
    };
    let first = set(&mut phone, json!({"notify": "nothing"})).await;
    holds(&first, json!({"version": 1}));
    holds(
        &first["preferences"],
        json!({"notify": "nothing", "threads": true, "quiet_hours": null}),
    );
    let changed = laptop.event(TOPIC, "preferences:changed").await;
    holds(&changed, first.clone());
    assert!(changed["seq"].is_u64(), "it has a place: {changed}");
    let second = set(&mut laptop, json!({"notify": null, "locale": "de"})).await;
    holds(&second, json!({"version": 2}));
    holds(
        &second["preferences"],
        json!({"notify": "all", "locale": "de"}),
    );
    assert_eq!(set(&mut phone, json!({"locale": "de"})).await, second);
    assert_eq!(set(&mut phone, nothing()).await, second);

    // Also a device that was away.
    let mut tablet = world.socket("bob").await;
    let joined = tablet.join(TOPIC, json!({"cursor": cursor})).await.ok();
    let gap = joined["gap"].as_array().unwrap();
    let changes: Vec<_> = gap
        .iter()
        .filter(|entry| entry["event"] == "preferences:changed")
        .map(|entry| &entry["payload"])
        .collect();
    assert_eq!(changes.len(), 2, "{joined}");
    holds(changes[0], first);
    holds(changes[1], second);
}

#[tokio::test]
async fn preferences_that_do_not_fit_are_refused_by_name() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    for (patch, field) in [
        (json!({"loudness": 11}), "loudness"),
        (json!({"quiet_hours": {"from": "22:00"}}), "quiet_hours.to"),
        (json!([]), "payload"),
    ] {
        let refused = bob.push(TOPIC, "preferences:set", patch).await.error();
        holds(&refused, json!({"reason": "invalid_field", "field": field}));
    }
}

/// Bob is made a member, and has not been told yet.
async fn begin_silently(world: &World) -> Conversation {
    let user = |name: &str| (UserId::new(name).unwrap(), Role::Member);
    let new = NewConversation {
        id: ConversationId::generate(),
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: ConversationKind::Group,
        name: Some("news".into()),
        created_by: UserId::new("ann").unwrap(),
        created_at: NOW,
        members: vec![user("ann"), user("bob")],
    };
    match world.backend.store.create_conversation(new).await.unwrap() {
        Created::New(conversation) => conversation,
        Created::Existing(_) => panic!("it is new"),
    }
}

#[tokio::test]
async fn a_cursor_does_not_pass_over_what_is_not_followed_yet() {
    let world = World::start().await;
    let mut bob = world.socket("bob").await;
    bob.join(TOPIC, nothing()).await.ok();
    let id = begin_silently(&world).await.id;
    let mut ann = world.socket("ann").await;
    ann.join(&format!("chat:{id}"), nothing()).await.ok();
    say(&world, &id, "one").await;
    ann.event(&format!("chat:{id}"), "message:new").await;
    let cursor = bob.push(TOPIC, "stream:cursor", nothing()).await.ok();
    let mut again = world.socket("bob").await;
    let joined = again
        .join(TOPIC, json!({"cursor": cursor["cursor"]}))
        .await
        .ok();
    assert_eq!(contents(&joined["gap"]), ["one"]);
}

#[tokio::test]
async fn what_a_replay_showed_is_not_shown_again_once_it_is_followed() {
    let world = World::start().await;
    let team = begin(&world, &["ann", "bob"]).await;
    let mut bob = world.socket("bob").await;
    let start = bob.join(TOPIC, nothing()).await.ok();
    for number in 0..101 {
        say(&world, &team, &number.to_string()).await;
    }
    let mut again = world.socket("bob").await;
    let joined = again
        .join(TOPIC, json!({"cursor": start["cursor"]}))
        .await
        .ok();
    assert_eq!(joined["more"], true);
    let news = begin_silently(&world).await;
    say(&world, &news.id, "news").await;
    let ack = json!({"cursor": joined["cursor"]});
    let acked = again.push(TOPIC, "message:ack", ack).await.ok();
    assert_eq!(contents(&acked["gap"]).last().unwrap(), "news");
    let notice = conversation::payload::NewConversationPayload {
        conversation_id: news.id.clone(),
        conversation: conversation::payload::ConversationPayload::from(&news),
    };
    let notice = serde_json::to_string(&notice).unwrap();
    let conversations = &world.backend.conversations;
    let bob = person("acme", "bob");
    let told = conversations.notify(&bob, "conversation:new", notice.into());
    told.await.unwrap();
    say(&world, &news.id, "more news").await;
    let next = again.event(TOPIC, "message:new").await;
    assert_eq!(next["content"], "more news");
}

#[tokio::test]
async fn a_notice_that_comes_after_the_removal_shows_what_was_theirs_and_no_more() {
    let world = World::start().await;
    let team = begin(&world, &["ann", "bob"]).await;
    let mut stream = world.socket("bob").await;
    stream.join(TOPIC, nothing()).await.ok();
    let news = begin_silently(&world).await;
    say(&world, &news.id, "theirs").await;
    let bob = person("acme", "bob");
    let conversations = &world.backend.conversations;
    let remove = conversation::Command::RemoveMember {
        user: bob.user.clone(),
    };
    conversations.submit(&bob, &news.id, remove).await.unwrap();
    let notice = conversation::payload::NewConversationPayload {
        conversation_id: news.id.clone(),
        conversation: conversation::payload::ConversationPayload::from(&news),
    };
    let notice = serde_json::to_string(&notice).unwrap();
    let told = conversations.notify(&bob, "conversation:new", notice.into());
    told.await.unwrap();
    let first = stream.event(TOPIC, "message:new").await;
    assert_eq!(first["content"], "theirs");
    say(&world, &news.id, "not theirs").await;
    say(&world, &team, "everybody's").await;
    let next = stream.event(TOPIC, "message:new").await;
    assert_eq!(next["content"], "everybody's");
}

/// What another process wrote comes at once: a removal, and what was said behind it.
#[tokio::test]
async fn what_was_queued_behind_a_removal_is_not_shown() {
    let world = World::start().await;
    let [team, others] = [
        begin(&world, &["ann", "bob"]).await,
        begin(&world, &["ann", "bob"]).await,
    ];
    let mut stream = world.socket("bob").await;
    stream.join(TOPIC, nothing()).await.ok();
    say(&world, &team, "theirs").await;
    assert_eq!(
        stream.event(TOPIC, "message:new").await["content"],
        "theirs"
    );
    let (fanout, topic) = (&world.node.fanout, chat_topic(&team));
    let left = MemberLeft {
        conversation: team.clone(),
        user: UserId::new("bob").unwrap(),
        seq: Seq(2),
    };
    fanout.note(&topic, &Note::new(left));
    let said = json!({ "content": "not theirs" });
    fanout.publish_local(Broadcast::new(topic, "message:new", said.into()).with_seq(Seq(3)));
    say(&world, &others, "everybody's").await;
    let next = stream.event(TOPIC, "message:new").await;
    assert_eq!(next["content"], "everybody's");
}

/// Everybody who is connected has one, and most have missed nothing.
#[test]
fn a_stream_of_which_nothing_was_missed_is_small() {
    let state = size_of::<crate::channels::user::State>();
    let context = size_of::<crate::channel::Context<crate::auth::Principal>>();
    assert!(
        state <= 128 && context <= 136,
        "{state} and {context} bytes"
    );
}
