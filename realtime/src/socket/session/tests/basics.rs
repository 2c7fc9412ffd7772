//! Joining, answering, leaving, stopping: what the recordings show, on one connection.

use std::{future::poll_fn, sync::atomic::Ordering, task::Poll};

use quikapp_actors::fanout::{Broadcast, Note};
use quikapp_protocol::{Encoded, Vsn};
use serde_json::{Value, json};

use super::app::{Later, app, app_with};
use crate::{
    socket::{FrameSink, Inbound, Limits, Mount, MountOptions},
    testing::{Received, TestClient, connect_info},
};

fn frame(received: &Received) -> Value {
    let Received {
        join_ref,
        msg_ref,
        topic,
        event,
        payload,
    } = received;
    json!([join_ref, msg_ref, topic, event, payload])
}

async fn frames_so_far(client: &mut TestClient) -> Vec<Value> {
    client.so_far().await.iter().map(frame).collect()
}

async fn exchange(client: &mut TestClient, message: Value) -> Vec<Value> {
    client
        .send_raw(Inbound::Text(message.to_string().into()))
        .await;
    frames_so_far(client).await
}

fn unmatched(msg_ref: &str, topic: &str) -> Value {
    json!([null, msg_ref, topic, "phx_reply",
        {"response": {"reason": "unmatched topic"}, "status": "error"}])
}

fn ok(join_ref: &str, msg_ref: &str, topic: &str) -> Value {
    json!([join_ref, msg_ref, topic, "phx_reply", {"response": {}, "status": "ok"}])
}

fn close(join_ref: &str, topic: &str) -> Value {
    json!([join_ref, join_ref, topic, "phx_close", {}])
}

fn crash(join_ref: &str, topic: &str) -> Value {
    json!([join_ref, join_ref, topic, "phx_error", {"reason": "channel_crash"}])
}

#[tokio::test]
async fn join_reply_and_leave() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    let got = exchange(
        &mut client,
        json!(["1", "1", "room:1", "phx_join", {"reply": {"a": 1}}]),
    )
    .await;
    assert_eq!(
        got,
        [json!(["1", "1", "room:1", "phx_reply", {"response": {"a": 1}, "status": "ok"}])]
    );
    let got = exchange(&mut client, json!(["1", "2", "room:1", "phx_leave", {}])).await;
    assert_eq!(got, [ok("1", "2", "room:1"), close("1", "room:1")]);
    let got = exchange(&mut client, json!(["1", "3", "room:1", "echo", {}])).await;
    assert_eq!(got, [unmatched("3", "room:1")]);
    let got = exchange(&mut client, json!(["9", "4", "room:1", "phx_leave", {}])).await;
    assert_eq!(got, [ok("9", "4", "room:1")]);
}

#[tokio::test]
async fn topics_that_nobody_answers() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    for topic in ["nosuch:1", "room", "exact:1", "", "phoenix"] {
        let got = exchange(&mut client, json!(["1", "1", topic, "phx_join", {}])).await;
        assert_eq!(got, [unmatched("1", topic)]);
    }
    let got = exchange(&mut client, json!([null, "2", "phoenix", "foo", {}])).await;
    assert_eq!(got, [unmatched("2", "phoenix")]);
    let got = exchange(&mut client, json!([null, "3", 5, "phx_join", {}])).await;
    assert_eq!(got[0][1], "3");
    assert_eq!(got[0][4]["response"]["reason"], "unmatched topic");
}

#[tokio::test]
async fn a_join_without_join_ref_uses_its_ref() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    let got = exchange(
        &mut client,
        json!([null, "7", "room:7", "phx_join", {"whoami": true}]),
    )
    .await;
    assert_eq!(
        got,
        [json!([null, "7", "room:7", "phx_reply",
        {"response": {"join_ref": "7", "topic": "room:7"}, "status": "ok"}])]
    );
    let got = exchange(&mut client, json!([null, "9", "room:7", "push", {"x": 1}])).await;
    assert_eq!(got, [json!(["7", null, "room:7", "pushed", {"x": 1}])]);
}

#[tokio::test]
async fn stale_join_refs_are_dropped() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    exchange(&mut client, json!(["1", "1", "room:1", "phx_join", {}])).await;
    for stale in [json!("0"), json!(1), json!("")] {
        let got = exchange(&mut client, json!([stale, "2", "room:1", "echo", {}])).await;
        assert_eq!(got, [] as [Value; 0]);
        let got = exchange(&mut client, json!([stale, "2", "room:1", "phx_leave", {}])).await;
        assert_eq!(got, [] as [Value; 0]);
    }
    let got = exchange(&mut client, json!([null, 3, "room:1", "echo", {}])).await;
    assert_eq!(
        got,
        [json!(["1", 3, "room:1", "phx_reply", {"response": {}, "status": "ok"}])]
    );
}

#[tokio::test]
async fn a_duplicate_join_closes_the_old_behind_the_new() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    exchange(&mut client, json!(["1", "1", "room:1", "phx_join", {}])).await;
    let got = exchange(&mut client, json!(["2", "2", "room:1", "phx_join", {}])).await;
    assert_eq!(got, [ok("2", "2", "room:1"), close("1", "room:1")]);
    assert_eq!(levers.alive.load(Ordering::SeqCst), 1);
    let got = exchange(
        &mut client,
        json!(["8", "8", "room:1", "phx_join", {"fail": "no"}]),
    )
    .await;
    assert_eq!(
        got,
        [
            json!(["8", "8", "room:1", "phx_reply", {"response": {"reason": "no"}, "status": "error"}]),
            close("2", "room:1"),
        ]
    );
    let got = exchange(&mut client, json!(["8", "9", "room:1", "echo", {}])).await;
    assert_eq!(got, [unmatched("9", "room:1")]);
    assert_eq!(levers.alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn join_errors_and_crashes() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    assert_eq!(
        client
            .join("room:1", json!({"fail": "unauthorized"}))
            .await
            .reason(),
        "unauthorized"
    );
    assert_eq!(
        client.join("room:1", json!({"crash": true})).await.reason(),
        "join crashed"
    );
    assert_eq!(
        client.push("room:1", "echo", json!({})).await.reason(),
        "unmatched topic"
    );
    assert_eq!(
        mount.hub().fanout.topics(),
        0,
        "a failed join leaves no subscription"
    );
    client.join("room:1", json!({})).await.ok();
    assert_eq!(levers.alive.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn crashes_concern_their_topic_only() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:2", json!({})).await.ok();
    for event in [
        "panic",
        "unknown",
        "stop_error",
        "phx_error",
        "phx_close",
        "phx_reply",
        "list",
    ] {
        let join_ref = client.start_join("room:1", json!({})).await;
        client.reply(&join_ref).await.ok();
        client.start_push("room:1", event, json!({})).await;
        assert_eq!(
            frames_so_far(&mut client).await,
            [crash(&join_ref, "room:1")],
            "{event}"
        );
        assert_eq!(
            client.push("room:1", "echo", json!({})).await.reason(),
            "unmatched topic"
        );
    }
    client.push("room:2", "echo", json!({})).await.ok();
    assert_eq!(
        levers.alive.load(Ordering::SeqCst),
        1,
        "guards are dropped by panics, too"
    );
}

#[tokio::test]
async fn stopping_with_and_without_a_reply() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    exchange(&mut client, json!(["1", "1", "room:1", "phx_join", {}])).await;
    let got = exchange(&mut client, json!(["1", "2", "room:1", "stop", {}])).await;
    assert_eq!(got, [ok("1", "2", "room:1"), close("1", "room:1")]);
    exchange(&mut client, json!(["3", "3", "room:1", "phx_join", {}])).await;
    let got = exchange(
        &mut client,
        json!(["3", "4", "room:1", "stop_silently", {}]),
    )
    .await;
    assert_eq!(got, [close("3", "room:1")]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_stops_itself_later() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({"stop_after": 100})).await.ok();
    let before = tokio::time::Instant::now();
    client.event("room:1", "phx_close").await;
    assert_eq!(before.elapsed().as_millis() / 10, 10);
}

#[tokio::test]
async fn what_a_handler_says_keeps_its_order() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    client.start_push("room:1", "mixed", json!({})).await;
    let events: Vec<_> = client
        .so_far()
        .await
        .into_iter()
        .map(|got| got.event)
        .collect();
    assert_eq!(events, ["b1", "p2", "b3", "phx_reply"]);
}

#[tokio::test]
async fn broadcasts_reach_the_topic_and_no_other() {
    let (mount, _) = app();
    let mut alice = TestClient::connect(&mount).await;
    let mut bob = TestClient::connect(&mount).await;
    let mut other = TestClient::connect(&mount).await;
    alice.join("room:1", json!({})).await.ok();
    bob.join("room:1", json!({})).await.ok();
    other.join("room:2", json!({})).await.ok();
    alice.start_push("room:1", "say", json!({"n": 1})).await;
    alice
        .start_push("room:1", "tell_others", json!({"n": 2}))
        .await;
    let events = |got: Vec<Received>| got.into_iter().map(|got| got.event).collect::<Vec<_>>();
    assert_eq!(
        events(alice.so_far().await),
        ["said", "phx_reply", "phx_reply"]
    );
    let got = frames_so_far(&mut bob).await;
    assert_eq!(
        got,
        [
            json!([null, null, "room:1", "said", {"n": 1}]),
            json!([null, null, "room:1", "told", {"n": 2}]),
        ]
    );
    assert_eq!(events(other.so_far().await), [] as [&str; 0]);
}

#[tokio::test]
async fn after_a_join_its_reply_comes_first() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    client
        .start_join("room:1", json!({"early": true, "after_join": true}))
        .await;
    let events: Vec<_> = client
        .so_far()
        .await
        .into_iter()
        .map(|got| got.event)
        .collect();
    assert_eq!(
        events,
        ["phx_reply", "pushed_in_join", "during_join", "after_join"]
    );
}

#[tokio::test]
async fn intercepted_events_come_through_the_channel() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    client.start_push("room:1", "secret", json!({"s": 1})).await;
    let got = client.so_far().await;
    assert_eq!(got[0].event, "phx_reply");
    assert_eq!(
        (got[1].event.as_str(), &got[1].join_ref),
        ("secret", &json!("1"))
    );
    assert_eq!(got[1].payload, json!({"seen_after": 1}));
}

#[tokio::test]
async fn late_replies_and_two_of_them() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    let late = client.start_push("room:1", "later", json!({})).await;
    client.push("room:1", "echo", json!({})).await.ok();
    levers.gate.add_permits(1);
    assert_eq!(client.reply(&late).await.ok(), json!({"n": 1}));
    assert_eq!(client.reply(&late).await.ok(), json!({"n": 2}));
    let got = exchange(&mut client, json!(["1", null, "room:1", "later", {}])).await;
    assert_eq!(got, [crash("1", "room:1")], "there is nothing to answer to");
}

#[tokio::test]
async fn the_channel_limit_counts_topics() {
    let limits = Limits {
        channels: 2,
        ..Limits::default()
    };
    let (mount, _) = app_with(MountOptions {
        limits,
        ..MountOptions::default()
    });
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    client.join("room:2", json!({})).await.ok();
    assert_eq!(
        client.join("room:3", json!({})).await.reason(),
        "too many channels joined"
    );
    assert_eq!(
        client.join("nosuch:1", json!({})).await.reason(),
        "unmatched topic"
    );
    client.join("room:2", json!({})).await.ok();
    client.leave("room:1").await.ok();
    client.join("room:3", json!({})).await.ok();
}

#[tokio::test]
async fn a_join_is_not_remembered_under_names_without_bound() {
    let (mount, _) = app();
    let mut client = TestClient::connect(&mount).await;
    let fits = format!("room:{}", "x".repeat(1019));
    client.join(&fits, json!({})).await.ok();
    let (long, longer) = ("9".repeat(1025), format!("{fits}x"));
    let joins = [
        ("topic", json!(["1", "1", longer, "phx_join", {}])),
        ("join_ref", json!([long, "1", "room:1", "phx_join", {}])),
        ("ref", json!([null, long, "room:1", "phx_join", {}])),
        ("join_ref", json!([long, "1", fits, "phx_join", {}])),
    ];
    for (field, join) in joins {
        let got = exchange(&mut client, join.clone()).await;
        let expected = json!({
            "reason": "invalid_field", "field": field, "detail": "at most 1024 bytes"
        });
        assert_eq!(got.len(), 1, "{field}");
        assert_eq!(got[0][4]["response"], expected);
    }
    client.push(&fits, "echo", json!({})).await.ok();
}

#[tokio::test]
async fn version_one_speaks_objects_and_no_bytes() {
    let (mount, _) = app();
    let mut v1 = TestClient::try_connect(&mount, connect_info(Vsn::V1, &[]))
        .await
        .unwrap();
    let mut v2 = TestClient::connect(&mount).await;
    v1.join("room:1", json!({})).await.ok();
    v2.join("room:1", json!({})).await.ok();
    v2.push("room:2", "echo", json!({})).await.error();
    v2.start_push("room:1", "broadcast_bytes", json!({})).await;
    let bytes = v2.next_frame().await;
    assert_eq!(bytes.as_bytes(), b"\x02\x06\x05room:1bytes\x01\x02\x03");
    v2.so_far().await;
    assert_eq!(v1.so_far().await, [], "bytes have no form in version 1");
    v1.push("room:1", "list", json!({})).await.ok();
    assert_eq!(v1.event("room:1", "pushed").await, json!([1, 2]));
    v1.start_push("room:1", "bytes", json!({})).await;
    v1.event("room:1", "phx_error").await;
}

#[tokio::test]
async fn undecodable_messages_close_the_socket() {
    let (mount, _) = app();
    for junk in ["", "not json", "\"x\"", "null", "[1,2]", "{}"] {
        let mut client = TestClient::connect(&mount).await;
        client.send_raw(Inbound::Text(junk.into())).await;
        assert_eq!(client.closed().await.code, 1011, "{junk:?}");
    }
}

#[tokio::test]
async fn terminate_is_told_why() {
    let (mount, levers) = app();
    let mut watch = TestClient::connect(&mount).await;
    watch.join("room:watch", json!({})).await.ok();
    let mut client = TestClient::connect(&mount).await;
    let mut end = async |client: &mut TestClient, event: &str| {
        client.join("room:1", json!({})).await.ok();
        client.start_push("room:1", event, json!({})).await;
        watch.event("room:watch", "terminated").await["reason"].clone()
    };
    assert_eq!(end(&mut client, "phx_leave").await, "Left");
    assert_eq!(end(&mut client, "stop").await, "Stopped(Normal)");
    client.join("room:1", json!({})).await.ok();
    client.join("room:1", json!({})).await.ok();
    assert_eq!(
        watch.event("room:watch", "terminated").await["reason"],
        "Rejoined"
    );
    client.close().await;
    assert_eq!(
        watch.event("room:watch", "terminated").await["reason"],
        "SocketClosed"
    );
    assert_eq!(
        levers.alive.load(Ordering::SeqCst),
        1,
        "only the watcher is left"
    );
}

#[tokio::test]
async fn what_waits_behind_a_second_join_is_handled_after_it() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    client.join("room:1", json!({})).await.ok();
    let busy = client.start_push("room:1", "wait", json!({})).await;
    client.start_join("room:1", json!({})).await;
    let waiting = client.start_push("room:1", "echo", json!({"a": 1})).await;
    // All three have arrived before the first is done.
    assert_eq!(client.so_far().await, []);
    levers.gate.add_permits(1);
    client.reply(&busy).await.ok();
    assert_eq!(client.reply(&waiting).await.ok(), json!({"a": 1}));
}

/// What a session says to messages that arrived together, in one read.
async fn answers_to_one_read(mount: &Mount, messages: &[Value]) -> Vec<String> {
    struct Sink(Vec<String>);
    impl FrameSink for Sink {
        fn send(&mut self, frame: &Encoded) {
            let frame: Value = serde_json::from_slice(frame.as_bytes()).unwrap();
            self.0.push(frame[3].as_str().unwrap().to_owned());
        }
    }
    let info = connect_info(Vsn::V2, &[]);
    let mut session = mount.connect(info).await.unwrap();
    for message in messages {
        session.receive(Inbound::Text(message.to_string().into()));
    }
    let mut sink = Sink(Vec::new());
    poll_fn(|cx| {
        let _ = session.poll(cx, &mut sink);
        Poll::Ready(())
    })
    .await;
    sink.0
}

#[tokio::test]
async fn a_note_of_the_join_comes_before_what_the_client_sends_next() {
    let (mount, _) = app();
    let messages = [
        json!(["1", "1", "room:1", "phx_join", {"after_join": true}]),
        json!(["1", "2", "room:1", "phx_leave", {}]),
    ];
    let said = answers_to_one_read(&mount, &messages).await;
    assert_eq!(said, ["phx_reply", "after_join", "phx_reply", "phx_close"]);
}

#[tokio::test]
async fn a_note_during_a_join_does_not_overtake_what_was_broadcast_before() {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    let params = json!({"subscribe": true, "wait": true});
    let join = client.start_join("room:1", params).await;
    client.so_far().await;
    let fanout = &mount.hub().fanout;
    fanout.publish(Broadcast::new("room:1", "secret", json!({}).into()));
    fanout.note("room:1", &Note::new(Later(json!({}))));
    fanout.publish(Broadcast::new("room:1", "secret", json!({}).into()));
    client.so_far().await;
    levers.gate.add_permits(1);
    client.reply(&join).await.ok();
    for event in ["secret", "after_join", "secret"] {
        assert_eq!(client.next().await.event, event);
    }
}

#[tokio::test]
async fn what_was_said_before_a_leave_is_heard() {
    let (mount, _) = app();
    let messages = [
        json!(["1", "1", "room:1", "phx_join", {}]),
        json!(["1", "2", "room:1", "say", {}]),
        json!(["1", "3", "room:1", "phx_leave", {}]),
    ];
    let said = answers_to_one_read(&mount, &messages).await;
    let expected = ["phx_reply", "said", "phx_reply", "phx_reply", "phx_close"];
    assert_eq!(said, expected);
}
