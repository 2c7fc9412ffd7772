//! `chat:<id>`: every event, who hears it, and what is refused.

use std::time::Duration;

use quikapp_actors::fanout::Fanout;

use super::*;
use crate::auth::test_kit::person;

/// Two members in a conversation of three.
struct Chat {
    world: World,
    topic: String,
    ann: TestClient,
    bob: TestClient,
}

impl Chat {
    async fn start() -> Self {
        let world = World::start().await;
        let id = world.conversation(&["ann", "bob", "carol"]).await;
        let topic = format!("chat:{id}");
        let mut ann = world.socket("ann").await;
        let mut bob = world.socket("bob").await;
        ann.join(&topic, nothing()).await.ok();
        bob.join(&topic, nothing()).await.ok();
        Self {
            world,
            topic,
            ann,
            bob,
        }
    }

    async fn ann(&mut self, event: &str, payload: Value) -> Received {
        self.ann.push(&self.topic, event, payload).await
    }

    async fn bob(&mut self, event: &str, payload: Value) -> Received {
        self.bob.push(&self.topic, event, payload).await
    }

    async fn bob_hears(&mut self, event: &str) -> Value {
        self.bob.event(&self.topic, event).await
    }

    async fn sent(&mut self, content: &str) -> Value {
        self.ann("message:send", json!({ "content": content }))
            .await
            .ok()
    }
}

#[tokio::test]
async fn a_join_says_who_is_there_and_where_the_log_ends() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let mut ann = world.socket("ann").await;
    let topic = format!("chat:{id}");
    let reply = ann.join(&topic, nothing()).await.ok();
    holds(
        &reply,
        json!({
            "conversation_id": id.as_str(),
            "last_seq": 0,
            "member_count": 2,
            "members": [
                {"user_id": "ann", "role": "owner"},
                {"user_id": "bob", "role": "member"},
            ],
        }),
    );
    holds(
        &reply["registers"],
        json!({"unread": 0, "draft": null, "mute": null}),
    );
    assert!(reply.get("gap").is_none() && reply.get("more").is_none());
    assert_eq!(ann.event(&topic, "presence_state").await, json!({}));
}

#[tokio::test]
async fn a_join_lists_the_first_members_and_counts_all() {
    let world = World::start().await;
    let names: Vec<String> = (0..120).map(|nth| format!("m{nth:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = world.conversation(&names).await;
    let mut last = world.socket("m119").await;
    let reply = last.join(&format!("chat:{id}"), nothing()).await.ok();
    assert_eq!(reply["member_count"], 120);
    let members = reply["members"].as_array().unwrap();
    let listed: Vec<_> = members.iter().map(|it| it["user_id"].as_str()).collect();
    let first: Vec<_> = names[..100].iter().copied().map(Some).collect();
    assert_eq!(listed, first);
}

#[tokio::test]
async fn a_join_with_a_version_of_the_registers_is_told_what_has_changed_since() {
    let mut chat = Chat::start().await;
    chat.sent("hi").await;
    let topic = chat.topic.clone();
    let marked = |reply: &Value| -> Vec<String> {
        let marks = reply["registers"]["marks"].as_array().unwrap();
        let who = marks.iter().map(|mark| mark["user_id"].as_str().unwrap());
        who.map(str::to_owned).collect()
    };
    chat.bob("message:read", json!({"seq": 1})).await.ok();
    chat.bob_hears("message:read").await;
    let mut carol = chat.world.socket("carol").await;
    let joined = carol.join(&topic, nothing()).await.ok();
    let all = ["ann", "bob", "carol"];
    assert_eq!(marked(&joined), all, "who sends has read");
    let known = json!({"registers_version": joined["registers"]["version"]});

    let again = carol.join(&topic, known.clone()).await.ok();
    assert_eq!(marked(&again), ["carol"], "nothing new but one's own");
    assert_eq!(again["registers"]["version"], known["registers_version"]);
    chat.sent("and again").await;
    let again = carol.join(&topic, known).await.ok();
    assert_eq!(marked(&again), ["ann", "carol"], "bob's was known");
}

#[tokio::test]
async fn what_a_message_carries_is_stored_as_it_was_sent() {
    let mut chat = Chat::start().await;
    let carried = json!({
        "type": "image", "is_forwarded": true, "forwarded_from": "elsewhere", "silent": true,
        "envelope": {"ciphertext": "AAEC", "n": 1.50},
    });
    let reply = chat.ann("message:send", carried.clone()).await.ok();
    holds(&reply, carried.clone());
    holds(&chat.bob_hears("message:new").await, carried.clone());
    let history = chat.bob("message:history", nothing()).await.ok();
    holds(&history["messages"][0], carried);
    let plain = chat.sent("plain").await;
    let defaults = json!({"type": "text", "is_forwarded": false, "forwarded_from": null,
        "silent": false, "envelope": null});
    holds(&plain, defaults);
}

#[tokio::test]
async fn only_members_join() {
    let world = World::start().await;
    let id = world.conversation(&["ann"]).await;
    let topic = format!("chat:{id}");
    let mut eve = world.socket("eve").await;
    let refused = eve.join(&topic, nothing()).await;
    assert_eq!(refused.reason(), "not_a_participant");
    let refused = eve.join("chat:nowhere", nothing()).await;
    assert_eq!(refused.reason(), "conversation_not_found");
    let mut stranger = world.socket_of(&member("umbrella", "ann"), &[]).await;
    let refused = stranger.join(&topic, nothing()).await;
    assert_eq!(refused.reason(), "conversation_not_found");
}

#[tokio::test]
async fn the_reply_and_the_broadcast_are_the_stored_message() {
    let mut chat = Chat::start().await;
    let payload = json!({"clientId": "c1", "content": "hi", "mentions": ["bob"],
        "attachments": [{"url": "u"}]});
    let reply = chat.ann("message:send", payload).await.ok();
    holds(
        &reply,
        json!({"seq": 1, "sender_id": "ann", "client_id": "c1", "type": "text", "content": "hi",
            "mentions": ["bob"], "attachments": [{"url": "u"}]}),
    );
    assert_eq!(chat.bob_hears("message:new").await, reply);
    let topic = chat.topic.clone();
    assert_eq!(chat.ann.event(&topic, "message:new").await, reply);
}

#[tokio::test]
async fn a_retry_is_answered_alike_and_heard_once() {
    let mut chat = Chat::start().await;
    let payload = json!({"client_id": "c1", "content": "hi"});
    let first = chat.ann("message:send", payload.clone()).await.ok();
    let again = chat.ann("message:send", payload).await.ok();
    assert_eq!(first, again);
    let other = json!({"client_id": "c1", "content": "other"});
    let refused = chat.ann("message:send", other).await;
    assert_eq!(refused.reason(), "idempotency_conflict");
    chat.bob_hears("message:new").await;
    let rest = chat.bob.so_far().await;
    assert!(!events(&rest).contains(&"message:new"));
}

#[tokio::test]
async fn edits_reactions_pins_and_deletions_name_the_message_and_their_own_place() {
    let mut chat = Chat::start().await;
    let id = chat.sent("helo").await["id"].clone();
    let edit = json!({"messageId": id, "content": "hello"});
    let edited = chat.ann("message:edit", edit).await.ok();
    holds(
        &edited,
        json!({"id": id, "seq": 2, "content": "hello", "is_edited": true, "edited_by": "ann"}),
    );
    assert_eq!(chat.bob_hears("message:edited").await, edited);

    let emoji = json!({"message_id": id, "emoji": "+1"});
    chat.bob("message:reaction:add", emoji.clone()).await.ok();
    let added = chat.bob_hears("message:reaction:added").await;
    holds(
        &added,
        json!({"message_id": id, "user_id": "bob", "emoji": "+1", "seq": 3, "message_seq": 1}),
    );
    let again = chat.bob("message:reaction:add", emoji.clone()).await.ok();
    assert_eq!(again["seq"], 3, "nothing was written");
    chat.bob("message:reaction:remove", emoji).await.ok();
    holds(
        &chat.bob_hears("message:reaction:removed").await,
        json!({"seq": 4}),
    );

    let named = json!({ "message_id": id });
    chat.ann("message:pin", named.clone()).await.ok();
    holds(
        &chat.bob_hears("message:pinned").await,
        json!({"seq": 5, "message_seq": 1}),
    );
    chat.ann("message:unpin", named.clone()).await.ok();
    holds(&chat.bob_hears("message:unpinned").await, json!({"seq": 6}));

    chat.ann("message:delete", named).await.ok();
    let deleted = chat.bob_hears("message:deleted").await;
    holds(
        &deleted,
        json!({"message_id": id, "deleted_by": "ann", "seq": 7, "message_seq": 1}),
    );
    let history = chat.bob("message:history", nothing()).await.ok();
    holds(
        &history["messages"][0],
        json!({"id": id, "content": null, "deleted_by": "ann"}),
    );
}

#[tokio::test]
async fn what_one_may_not_do_is_refused() {
    let mut chat = Chat::start().await;
    let id = chat.sent("mine").await["id"].clone();
    let named = json!({ "message_id": id });
    let edit = json!({"message_id": id, "content": "x"});
    for (event, payload) in [
        ("message:edit", edit),
        ("message:delete", named.clone()),
        ("message:pin", named),
    ] {
        assert_eq!(
            chat.bob(event, payload).await.reason(),
            "forbidden",
            "{event}"
        );
    }
    let nowhere = json!({"message_id": uuid::Uuid::now_v7(), "emoji": "x"});
    let refused = chat.bob("message:reaction:add", nowhere).await;
    assert_eq!(refused.reason(), "message_not_found");
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let mut chat = Chat::start().await;
    let invalid = [
        ("message:send", json!({"content": 7}), "content"),
        ("message:send", json!({}), "content"),
        (
            "message:send",
            json!({"content": "x", "type": "poem"}),
            "type",
        ),
        (
            "message:send",
            json!({"content": "x", "reply_to": "nope"}),
            "reply_to",
        ),
        ("message:send", json!({"content": "x", "ttl": 1}), "ttl"),
        ("message:send", json!({"content": "x", "ttl": "x"}), "ttl"),
        (
            "message:send",
            json!({"content": "x", "class": "eternal"}),
            "class",
        ),
        (
            "message:send",
            json!({"content": "x", "sendAt": "2001-01-01T00:00:00Z"}),
            "send_at",
        ),
        ("message:scheduled:cancel", json!({"id": "x"}), "id"),
        ("message:edit", json!({"content": "x"}), "message_id"),
        ("message:delete", json!({"message_id": 7}), "message_id"),
        ("message:read", json!({}), "message_id"),
        ("message:history", json!({"limit": 101}), "limit"),
        ("message:ack", json!({"seq": "x"}), "seq"),
        (
            "typing:start",
            json!({"conversation_id": "other"}),
            "conversation_id",
        ),
    ];
    for (event, payload, field) in invalid {
        let error = chat.ann(event, payload.clone()).await.error();
        holds(&error, json!({"reason": "invalid_field", "field": field}));
    }
    assert_eq!(
        chat.ann("message:explode", json!({})).await.reason(),
        "unknown_event"
    );
}

#[tokio::test]
async fn receipts_are_told_to_everyone_and_counted_for_oneself() {
    let mut chat = Chat::start().await;
    let message = chat.sent("one").await;
    chat.sent("two").await;
    let read = json!({"message_id": message["id"]});
    holds(
        &chat.bob("message:read", read).await.ok(),
        json!({"seq": 1}),
    );
    let topic = chat.topic.clone();
    let receipt = chat.ann.event(&topic, "message:read").await;
    holds(
        &receipt,
        json!({"message_id": message["id"], "seq": 1, "user_id": "bob"}),
    );
    assert!(receipt["read_at"].is_string());
    chat.bob("message:delivered", json!({"seq": 2})).await.ok();
    let receipt = chat.ann.event(&topic, "message:delivered").await;
    holds(&receipt, json!({"seq": 2, "user_id": "bob"}));
    let mut again = chat.world.socket("bob").await;
    let joined = again.join(&topic, nothing()).await.ok();
    assert_eq!(joined["registers"]["unread"], 1);
    let marks = joined["registers"]["marks"].as_array().unwrap();
    assert!(
        marks.contains(&json!({"user_id": "bob", "delivered": 2, "read": 1})),
        "{marks:?}"
    );
}

#[tokio::test]
async fn drafts_mutes_and_unread_marks_are_told_on_ones_own_topic_only() {
    let mut chat = Chat::start().await;
    let mut phone = chat.world.socket("ann").await;
    phone.join("user:ann", nothing()).await.ok();
    chat.sent("one").await;
    chat.ann("draft:set", json!({"text": "later"})).await.ok();
    let draft = phone.event("user:ann", "draft:changed").await;
    assert_eq!(draft["draft"]["text"], "later");
    chat.ann("draft:set", json!({"text": null})).await.ok();
    let draft = phone.event("user:ann", "draft:changed").await;
    assert_eq!(draft["draft"], Value::Null);
    chat.ann(
        "conversation:mute",
        json!({"until": null, "mentionsOnly": true}),
    )
    .await
    .ok();
    let mute = phone.event("user:ann", "mute:changed").await;
    assert_eq!(mute["mute"], json!({"until": null, "mentions_only": true}));
    chat.ann("conversation:mute", json!({"muted": false}))
        .await
        .ok();
    let mute = phone.event("user:ann", "mute:changed").await;
    assert_eq!(mute["mute"], Value::Null);
    chat.ann("message:unread", json!({"seq": 1})).await.ok();
    let unread = phone.event("user:ann", "unread:changed").await;
    holds(&unread, json!({"unread": 1, "unread_from": 1}));
    let heard = chat.bob.so_far().await;
    let private = ["draft:changed", "mute:changed", "unread:changed"];
    assert!(!events(&heard).iter().any(|event| private.contains(event)));
}

#[tokio::test]
async fn typing_is_told_to_others_and_ends_with_the_message() {
    let mut chat = Chat::start().await;
    chat.ann("typing:start", nothing()).await.ok();
    let typing = chat.bob_hears("typing:start").await;
    assert_eq!(typing["user_id"], "ann");
    chat.sent("done").await;
    chat.bob_hears("typing:stop").await;
    chat.ann("typing:start", nothing()).await.ok();
    chat.bob_hears("typing:start").await;
    let Chat {
        ann,
        mut bob,
        topic,
        ..
    } = chat;
    ann.close().await;
    bob.event(&topic, "typing:stop").await;
}

#[tokio::test]
async fn history_comes_in_pages_both_ways() {
    let mut chat = Chat::start().await;
    for n in 1..=5 {
        chat.sent(&n.to_string()).await;
    }
    let pages = [
        (json!({"limit": 2}), json!([4, 5]), true),
        (json!({"limit": 2, "before_seq": 4}), json!([2, 3]), true),
        (json!({"limit": 2, "beforeSeq": 3}), json!([1, 2]), false),
        (json!({"limit": 2, "after_seq": 2}), json!([3, 4]), true),
        (json!({"limit": 5, "after_seq": 2}), json!([3, 4, 5]), false),
    ];
    for (payload, seqs, has_more) in pages {
        let page = chat.bob("message:history", payload.clone()).await.ok();
        let messages = page["messages"].as_array().unwrap();
        let found: Vec<_> = messages.iter().map(|it| it["seq"].clone()).collect();
        assert_eq!(
            (json!(found), &page["has_more"]),
            (seqs, &json!(has_more)),
            "{payload}"
        );
    }
}

#[tokio::test]
async fn a_message_deleted_for_oneself_is_gone_for_oneself() {
    let mut chat = Chat::start().await;
    let id = chat.sent("hide me").await["id"].clone();
    let delete = json!({"message_id": id, "scope": "me"});
    chat.bob("message:delete", delete).await.ok();
    let bobs = chat.bob("message:history", nothing()).await.ok();
    assert_eq!(bobs["messages"], json!([]));
    let anns = chat.ann("message:history", nothing()).await.ok();
    assert_eq!(anns["messages"][0]["content"], "hide me");
}

#[tokio::test]
async fn the_alias_is_the_same_conversation() {
    let mut chat = Chat::start().await;
    let alias = chat.topic.replace("chat:", "conversation:");
    let mut carol = chat.world.socket("carol").await;
    carol.join(&alias, nothing()).await.ok();
    let sent = chat.sent("hi").await;
    assert_eq!(carol.event(&alias, "message:new").await, sent);
    carol
        .push(&alias, "message:send", json!({"content": "hello"}))
        .await
        .ok();
    while chat.bob_hears("message:new").await["content"] != "hello" {}
}

#[tokio::test]
async fn a_removed_member_is_cut_off_at_once() {
    let mut chat = Chat::start().await;
    let id = ConversationId::parse(chat.topic.trim_start_matches("chat:")).unwrap();
    let remove = conversation::Command::RemoveMember {
        user: person("acme", "bob").user,
    };
    let conversations = &chat.world.backend.conversations;
    conversations
        .submit(&person("acme", "ann"), &id, remove)
        .await
        .unwrap();
    let update = chat.bob_hears("conversation:updated").await;
    holds(&update, json!({"change": "member_removed"}));
    chat.bob_hears("phx_close").await;
    let refused = chat.bob("message:send", json!({"content": "x"})).await;
    assert_eq!(refused.reason(), "unmatched topic");
    chat.sent("without bob").await;
    let rest = chat.bob.so_far().await;
    assert!(!events(&rest).contains(&"message:new"), "{rest:?}");
}

/// The removal is written by another process that shares the store, and nobody here has heard of
/// it yet: the policy still remembers a member, and the log refuses.
#[tokio::test]
async fn a_member_removed_elsewhere_can_neither_write_nor_join() {
    let mut chat = Chat::start().await;
    chat.bob("message:send", json!({"content": "with bob"}))
        .await
        .ok();
    let id = ConversationId::parse(chat.topic.trim_start_matches("chat:")).unwrap();
    let node = &chat.world.node;
    let config = conversation::Config {
        min_tenure: Duration::ZERO,
        ..conversation::Config::default()
    };
    let clock = Arc::new(node.clock.clone());
    let elsewhere = Conversations::start(config, node.store.clone(), Fanout::new(), clock);
    let remove = conversation::Command::RemoveMember {
        user: person("acme", "bob").user,
    };
    let elsewhere = elsewhere.await.unwrap();
    let removed = elsewhere.submit(&person("acme", "ann"), &id, remove).await;
    let tail = removed.unwrap().seq;
    let mut again = chat.world.socket("bob").await;
    let refused = again.join(&chat.topic, nothing()).await;
    assert_eq!(refused.reason(), "not_a_participant", "a join lasts");
    node.clock.advance_ms(3_000);
    let refused = chat.bob("message:send", json!({"content": "x"})).await;
    assert_eq!(refused.reason(), "not_a_participant");
    let written = chat.world.backend.store.entries(&id, tail, 10).await;
    assert!(written.unwrap().is_empty());
}

#[tokio::test]
async fn conversation_join_and_leave_are_answered() {
    let mut chat = Chat::start().await;
    for event in ["conversation:join", "conversation:leave"] {
        chat.ann(event, nothing()).await.ok();
    }
    chat.sent("still here").await;
}
