//! Who may be notified, and what one's devices lack, is said with sockets on other processes in
//! mind, invisible people's as well.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, sleep};

use super::{server, two};
use crate::support::{Client, Guest, PATIENCE, Rest, Server};

/// As long as news may take where processes hear each other, with time to decide.
const PROMPTLY: Duration = Duration::from_secs(2);
/// As long as the people of a killed process may count as connected.
const AFTER_A_KILL: Duration = Duration::from_secs(12);
const SETTINGS: [(&str, &str); 2] = [
    ("QUIKAPP_NOTIFY__LOG", "true"),
    ("QUIKAPP_LOGGING__FORMAT", "json"),
];

/// Ann writes on one process, and it decides about Bob.
struct Decisions<'a> {
    there: &'a Server,
    people: &'a [Guest; 2],
    conversation: String,
}

impl Decisions<'_> {
    /// The decision about one more message.
    async fn next(&self) -> Value {
        let path = format!("/api/conversations/{}/messages", self.conversation);
        let rest = Rest::of(self.there);
        let message = json!({ "content": "there?" });
        let sent = rest.post(&path, &self.people[0], message).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.there.log();
            let mut lines = log.lines().filter(|line| line.contains("may notify"));
            if let Some(found) = lines.find_map(|line| decision(line, &sent["seq"])) {
                assert_eq!(found["person"]["user"], self.people[1].id.as_str());
                return found;
            }
            assert!(Instant::now() < deadline, "not decided: {sent}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until the decisions say so; the first that does.
    async fn come_to(&self, is_connected: bool, status: &str, within: Duration) -> Value {
        let began = Instant::now();
        loop {
            let found = self.next().await;
            if found["is_connected"] == is_connected && found["status"] == status {
                return found;
            }
            assert!(began.elapsed() < within, "still {found}");
        }
    }
}

fn decision(line: &str, seq: &Value) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    let found: Value = serde_json::from_str(line["decision"].as_str()?).ok()?;
    (found["seq"] == *seq).then_some(found)
}

/// Whether the overview that this process gives shows Bob's phone as connected.
async fn phone_is_connected(there: &Server, bob: &Guest) -> bool {
    let overview = Rest::of(there).get("/api/users/me/overview", bob).await;
    let devices = overview["pending"]["devices"].as_array().unwrap();
    let phone = devices.iter().find(|it| it["device_id"] == "phone");
    phone.unwrap()["is_connected"] == true
}

/// Bob's phone, on one process and on no topic that shows people; what it has is acknowledged.
async fn phone(here: &Server, bob: &Guest) -> Client {
    let own = format!("user:{}", bob.id);
    let mut phone = Client::connect_device(here, bob, "phone").await;
    let joined = phone.join(&own, json!({})).await;
    let has = json!({ "cursor": joined["cursor"] });
    phone.done(&own, "message:ack", has).await;
    phone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_on_another_process_counts_until_it_closes_or_its_process_dies() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let [here, there] = two(dir.path(), &redis, &SETTINGS).await;
    let rest = Rest::of(&there);
    let people = [rest.guest("Ann").await, rest.guest("Bob").await];
    let decisions = Decisions {
        there: &there,
        conversation: rest.group(&people).await,
        people: &people,
    };
    let bob = &people[1];
    assert_eq!(decisions.next().await["is_connected"], false);

    // The processes may not know each other yet.
    let bobs_phone = phone(&here, bob).await;
    let found = decisions.come_to(true, "online", PATIENCE).await;
    assert_eq!(found["active_devices"], json!(["phone"]));
    assert!(phone_is_connected(&there, bob).await);

    drop(bobs_phone);
    let found = decisions.come_to(false, "online", PROMPTLY).await;
    assert_eq!(found["active_devices"], json!([]));
    assert!(!phone_is_connected(&there, bob).await);

    let _phone = phone(&here, bob).await;
    let _laptop = Client::connect_device(&there, bob, "laptop").await;
    decisions.come_to(true, "online", PROMPTLY).await;
    here.kill().await;
    let killed = Instant::now();
    decisions.come_to(false, "online", AFTER_A_KILL).await;
    println!("a killed process: {:?}", killed.elapsed());
    assert!(!phone_is_connected(&there, bob).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_invisible_on_another_process_is_connected_and_nobody_sees_it() {
    let Some(redis) = server() else { return };
    let dir = tempdir().unwrap();
    let [here, there] = two(dir.path(), &redis, &SETTINGS).await;
    let rest = Rest::of(&there);
    let people = [rest.guest("Ann").await, rest.guest("Bob").await];
    let decisions = Decisions {
        there: &there,
        conversation: rest.group(&people).await,
        people: &people,
    };
    let bob = &people[1];
    let mut bobs_phone = phone(&here, bob).await;
    bobs_phone.join("presence:lobby", json!({})).await;
    decisions.come_to(true, "online", PATIENCE).await;
    let hidden = json!({ "status": "invisible" });
    bobs_phone
        .done("presence:lobby", "status:update", hidden)
        .await;

    let found = decisions.come_to(true, "invisible", PROMPTLY).await;
    assert_eq!(found["active_devices"], json!(["phone"]));
    assert!(phone_is_connected(&there, bob).await);
    let mut anns = Client::connect(&there, &people[0]).await;
    anns.join("presence:lobby", json!({})).await;
    let state = anns.expect("presence:lobby", "presence_state").await;
    assert!(state.get(&bob.id).is_none(), "{state}");
    let path = format!("/api/presence/{}", bob.id);
    let asked = rest.get(&path, &people[0]).await;
    assert_eq!(asked["status"], "offline", "{asked}");

    drop(bobs_phone);
    decisions.come_to(false, "invisible", PROMPTLY).await;
    assert!(!phone_is_connected(&there, bob).await);
}
