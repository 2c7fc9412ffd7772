//! Registering devices.

use quikapp_actors::{
    fanout::{ConnectionId, SlotKey},
    people::Joined,
    presence::Tracker,
};
use quikapp_storage::{DeviceId, StreamCursor};
use serde_json::{Value, json};

use super::kit::{Answered, Api, NO_CONTENT};
use crate::auth::{
    Grant,
    test_kit::{member, person, until},
};

fn ada() -> Grant {
    member("acme", "ada")
}

async fn register(api: &Api, body: Value) -> Answered {
    api.call(&ada(), "POST /devices", body).await
}

async fn list(api: &Api) -> Value {
    let listed = api.call(&ada(), "GET /devices", Value::Null).await;
    assert_eq!(listed.status, 200, "{:?}", listed.body);
    listed.body
}

async fn connect(api: &Api, device: &str) -> Joined {
    let tracker = Tracker {
        connection: ConnectionId(7),
        slot: SlotKey(0),
    };
    let (ada, device) = (person("acme", "ada"), DeviceId::new(device).unwrap());
    let joined = api.people.joined(&ada, tracker, Some(device)).await;
    joined.unwrap()
}

/// The device is known from a cursor of the stream.
async fn acknowledges(api: &Api, device: &str) {
    let cursor = api.node.store.cursor_now().await.unwrap();
    let device = DeviceId::new(device).unwrap();
    let ada = person("acme", "ada");
    let written = api.node.store.write_stream_cursor(&ada, &device, &cursor);
    written.await.unwrap();
}

async fn place(api: &Api, device: &str) -> Option<StreamCursor> {
    let device = DeviceId::new(device).unwrap();
    let ada = person("acme", "ada");
    let place = api.node.store.stream_cursor(&ada, &device).await;
    place.unwrap()
}

#[tokio::test]
async fn a_device_is_registered_changed_and_listed() {
    let api = Api::start().await;
    assert_eq!(list(&api).await, json!({"version": 0, "devices": []}));
    let phone = json!({
        "deviceId": "phone", "platform": "ios", "name": " Ada's phone ",
        "appVersion": "1.2", "osVersion": "26", "model": "15", "push_token": "secret",
    });
    let registered = register(&api, phone).await;
    assert_eq!(registered.status, 201, "{:?}", registered.body);
    let now = registered.body["registered_at"].clone();
    let expected = json!({
        "device_id": "phone", "platform": "ios", "name": "Ada's phone",
        "app_version": "1.2", "os_version": "26", "model": "15",
        "registered_at": now, "updated_at": now, "last_used": null, "is_connected": false,
    });
    assert_eq!(registered.body, expected);

    let again = json!({"device_id": "phone", "platform": "ios", "app_version": "1.3"});
    let again = register(&api, again).await;
    assert_eq!(
        (again.status, &again.body["app_version"]),
        (200, &json!("1.3"))
    );
    assert_eq!(again.body["name"], "Ada's phone", "what is left out stays");

    api.node.clock.advance_ms(1_000);
    let change = json!({"name": "mine", "model": null, "osVersion": "27"});
    let changed = api.call(&ada(), "PATCH /devices/phone", change).await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
    assert_ne!(changed.body["updated_at"], now);
    let shown = |it: &Value| [&it["name"], &it["model"], &it["os_version"]].map(Value::clone);
    let expected = [json!("mine"), Value::Null, json!("27")];
    assert_eq!(shown(&changed.body), expected);

    let _connected = connect(&api, "phone").await;
    let listed = list(&api).await;
    assert_eq!(listed["version"], 3);
    assert_eq!(shown(&listed["devices"][0]), expected);
    assert_eq!(listed["devices"][0]["is_connected"], true);
    let stranger = api
        .call(&member("umbrella", "ada"), "GET /devices", Value::Null)
        .await;
    assert_eq!(stranger.body["devices"], json!([]));
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let api = Api::start().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"device_id": "phone", "platform": "web"});
        body[field] = value;
        body
    };
    for (field, value) in [
        ("device_id", json!("")),
        ("device_id", json!("x".repeat(129))),
        ("platform", json!("toaster")),
        ("name", json!("")),
        ("name", json!("x".repeat(65))),
        ("name", json!("a\u{7}b")),
        ("app_version", json!(1)),
        ("os_version", json!(" ")),
        ("model", json!("x".repeat(65))),
        ("replace", json!("yes")),
    ] {
        let refused = register(&api, with(field, value.clone())).await;
        assert_eq!(refused.reason(), (422, "invalid_field"), "{field}: {value}");
        assert_eq!(refused.body["field"], field, "{value}");
    }
    for (body, field) in [
        (json!({"platform": "web"}), "device_id"),
        (json!({"device_id": "phone"}), "platform"),
    ] {
        assert_eq!(register(&api, body).await.body["field"], field);
    }
    register(&api, with("name", json!("mine"))).await;
    for change in [json!({"name": ""}), json!({"push_token": "secret"})] {
        let refused = api.call(&ada(), "PATCH /devices/phone", change).await;
        assert_eq!(refused.reason(), (422, "invalid_field"));
    }
    assert_eq!(list(&api).await["version"], 1);
}

#[tokio::test]
async fn the_eleventh_device_is_refused_or_replaces_one() {
    let api = Api::start().await;
    for nth in 0..10 {
        let device = json!({"device_id": format!("d{nth}"), "platform": "web"});
        assert_eq!(register(&api, device).await.status, 201);
        api.node.clock.advance_ms(1);
    }
    let eleventh = json!({"device_id": "new", "platform": "web"});
    let refused = register(&api, eleventh).await;
    assert_eq!(refused.reason(), (409, "max_devices_reached"));
    acknowledges(&api, "d1").await;
    let _connected = connect(&api, "d0").await;
    let eleventh = json!({"device_id": "new", "platform": "web", "replace": true});
    let registered = register(&api, eleventh.clone()).await;
    assert_eq!(
        (registered.status, &registered.body["replaced"]),
        (201, &json!("d1"))
    );
    assert!(place(&api, "d1").await.is_some(), "it keeps its place");
    let again = register(&api, eleventh).await;
    assert_eq!((again.status, again.body.get("replaced")), (200, None));
    let listed = list(&api).await;
    let devices = listed["devices"].as_array().unwrap().iter();
    let ids: Vec<_> = devices
        .map(|it| it["device_id"].as_str().unwrap())
        .collect();
    let expected = ["d0", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "new"];
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_device_is_forgotten_with_what_it_had() {
    let api = Api::start().await;
    register(&api, json!({"device_id": "phone", "platform": "ios"})).await;
    for device in ["phone", "tablet"] {
        acknowledges(&api, device).await;
    }
    let _connected = connect(&api, "phone").await;
    // The tablet was never registered.
    for device in ["phone", "tablet"] {
        let call = format!("DELETE /devices/{device}");
        let gone = api.call(&ada(), &call, Value::Null).await;
        assert_eq!(gone.status, NO_CONTENT);
        assert_eq!(place(&api, device).await, None);
        let again = api.call(&ada(), &call, Value::Null).await;
        assert_eq!(again.reason(), (404, "device_not_found"));
    }
    assert_eq!(list(&api).await["devices"], json!([]));
    let connected = api.people.connected(&person("acme", "ada"));
    assert!(connected.is_some(), "its socket is its own");
}

#[tokio::test]
async fn a_heartbeat_is_use_of_a_registered_device() {
    let api = Api::start().await;
    let beat = async |device: &str| {
        let call = format!("POST /devices/{device}/heartbeat");
        api.call(&ada(), &call, Value::Null).await
    };
    assert_eq!(beat("phone").await.reason(), (404, "device_not_found"));
    acknowledges(&api, "tablet").await;
    assert_eq!(beat("tablet").await.reason(), (404, "device_not_found"));
    register(&api, json!({"device_id": "tablet", "platform": "ios"})).await;
    let is_used_now = async || {
        let now = serde_json::to_value(api.node.authenticator.clock.now()).unwrap();
        until(async || list(&api).await["devices"][0]["last_used"] == now).await;
    };
    is_used_now().await;
    api.node.clock.advance_ms(24 * 3_600_000);
    // The token has ended meanwhile; it is signed anew for each call.
    assert_eq!(beat("tablet").await.status, NO_CONTENT);
    is_used_now().await;
    assert_eq!(list(&api).await["version"], 1, "no device is told of it");
    let change = api.call(&ada(), "PATCH /devices/phone", json!({})).await;
    assert_eq!(change.reason(), (404, "device_not_found"));
}
