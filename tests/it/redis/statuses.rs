//! What a person chooses on one process is shown by every other.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, sleep};

use super::{server, two};
use crate::support::{Client, Guest, PATIENCE, Rest, Server};

const LOBBY: &str = "presence:lobby";

/// Bob on a process, in the lobby and on his own topic.
async fn device(on: &Server, bob: &Guest, id: &str) -> Client {
    let mut client = Client::connect_device(on, bob, id).await;
    client.join(&own(bob), json!({})).await;
    client.join(LOBBY, json!({})).await;
    client
}

fn own(bob: &Guest) -> String {
    format!("user:{}", bob.id)
}

/// Until a process says this of Bob to Ann.
async fn comes_to_say(on: &Server, bob: &Guest, ann: &Guest, status: &str) -> Value {
    let path = format!("/api/presence/{}", bob.id);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = Rest::of(on).get(&path, ann).await;
        if said["status"] == status {
            return said;
        }
        assert!(Instant::now() < deadline, "{said}, not {status}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn chooses(client: &mut Client, event: &str, payload: Value) {
    client.done(LOBBY, event, payload).await;
}

/// Until the person's own topic says so.
async fn hears(client: &mut Client, bob: &Guest, status: &str) {
    loop {
        let told = client.expect(&own(bob), "user:status:changed").await;
        if told["status"] == status {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hides_on_one_process_is_hidden_on_the_other() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let [here, there] = two(dir.path(), &redis, &[]).await;
    let rest = Rest::of(&there);
    let [ann, bob] = [rest.guest("Ann").await, rest.guest("Bob").await];

    let mut phone = device(&here, &bob, "phone").await;
    chooses(&mut phone, "status:update", json!({ "status": "busy" })).await;
    let words = json!({ "text": "in a tunnel" });
    chooses(&mut phone, "status:custom", words).await;
    // Where he has no socket, too.
    let said = comes_to_say(&there, &bob, &ann, "busy").await;
    assert_eq!(said["custom_status"]["text"], "in a tunnel", "{said}");

    let mut laptop = device(&there, &bob, "laptop").await;
    let mut anns = Client::connect(&there, &ann).await;
    anns.join(LOBBY, json!({})).await;
    let state = anns.expect(LOBBY, "presence_state").await;
    assert!(state[&bob.id].is_object(), "{state}");
    chooses(
        &mut phone,
        "status:update",
        json!({ "status": "invisible" }),
    )
    .await;
    hears(&mut laptop, &bob, "invisible").await;
    comes_to_say(&there, &bob, &ann, "offline").await;
    let mut anew = Client::connect(&there, &ann).await;
    anew.join(LOBBY, json!({})).await;
    let state = anew.expect(LOBBY, "presence_state").await;
    assert!(state.get(&bob.id).is_none(), "{state}");

    chooses(&mut laptop, "status:update", json!({ "status": "away" })).await;
    hears(&mut phone, &bob, "away").await;
    let said = comes_to_say(&here, &bob, &ann, "away").await;
    assert_eq!(said["custom_status"]["text"], "in a tunnel", "{said}");
}
