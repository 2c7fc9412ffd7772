//! Devices that a person registers: all of their devices have the list, in order, whatever dies
//! meanwhile, and it is never longer than ten.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{Addresses, Client, Guest, Layout, Rest, Server, Site, with_site, within};

const MOST: usize = 10;

/// Where processes find what the one before them has kept.
struct Home {
    dir: TempDir,
    /// The servers that keep it, or else the directory does.
    site: Option<Arc<Site>>,
}

impl Home {
    fn new(site: Option<Arc<Site>>) -> Self {
        let dir = tempdir().unwrap();
        Self { dir, site }
    }

    async fn serve(&self) -> Server {
        match &self.site {
            None => Server::start(self.dir.path()).await,
            Some(site) => site.serve(self.dir.path()).await,
        }
    }
}

/// Asks until the process before, which has died, no longer has the person's conversation.
async fn register(server: &Server, ann: &Guest, body: Value) -> (StatusCode, Value) {
    let rest = Rest::of(server);
    let asked = async {
        loop {
            let (token, body) = (Some(ann.token.as_str()), Some(body.clone()));
            let asked = rest.request(Method::POST, "/api/devices", token, body);
            let (status, answer) = asked.await;
            if answer["reason"] != "moved" {
                return (status, answer);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("an answer", asked).await
}

fn device(id: &str) -> Value {
    json!({"device_id": id, "platform": "web", "name": format!("my {id}")})
}

async fn listed(server: &Server, ann: &Guest) -> Value {
    Rest::of(server).get("/api/devices", ann).await
}

fn ids(list: &Value) -> Vec<&str> {
    let devices = list["devices"].as_array().unwrap().iter();
    devices
        .map(|it| it["device_id"].as_str().unwrap())
        .collect()
}

/// The lists that came in a join's gap, with the cursor that acknowledges them.
async fn missed(server: &Server, ann: &Guest, device: &str) -> (Vec<Value>, Value) {
    let mut client = Client::connect_device(server, ann, device).await;
    let stream = format!("user:{}", ann.id);
    let joined = client.join(&stream, json!({})).await;
    assert_ne!(joined["reset_required"], true, "{joined}");
    let gap = joined["gap"].as_array().cloned().unwrap_or_default();
    let lists = gap
        .into_iter()
        .filter(|it| it["event"] == "devices:registered");
    let lists = lists.map(|mut it| it["payload"].take()).collect();
    let acked = json!({"cursor": joined["cursor"]});
    client.done(&stream, "message:ack", acked).await;
    (lists, joined["cursor"].clone())
}

/// One process after another, each killed without a warning.
async fn a_list_outlives_processes(home: Home) {
    let server = home.serve().await;
    let ann = &Rest::of(&server).guest("ann").await;
    let stream = format!("user:{}", ann.id);
    // The tablet has been here, and goes.
    let mut tablet = Client::connect_device(&server, ann, "tablet").await;
    let joined = tablet.join(&stream, json!({})).await;
    let acked = json!({"cursor": joined["cursor"]});
    tablet.done(&stream, "message:ack", acked).await;
    drop(tablet);

    let mut phone = Client::connect_device(&server, ann, "phone").await;
    phone.join(&stream, json!({})).await;
    let (status, made) = register(&server, ann, device("phone")).await;
    assert_eq!(
        (status, &made["is_connected"]),
        (StatusCode::CREATED, &json!(true))
    );
    let told = phone.expect(&stream, "devices:registered").await;
    assert_eq!((&told["version"], ids(&told)), (&json!(1), vec!["phone"]));
    let before = listed(&server, ann).await;
    server.kill().await;

    let server = home.serve().await;
    let after = listed(&server, ann).await;
    assert_eq!(after["version"], before["version"]);
    let [before, after] = [&before, &after].map(|it| &it["devices"][0]);
    for field in ["name", "platform", "registered_at"] {
        assert_eq!(before[field], after[field]);
    }
    assert_eq!(after["is_connected"], false);
    for nth in 1..MOST {
        let (status, body) = register(&server, ann, device(&format!("d{nth}"))).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }
    let (status, refused) = register(&server, ann, device("one too many")).await;
    assert_eq!(
        (status, &refused["reason"]),
        (StatusCode::CONFLICT, &json!("max_devices_reached"))
    );
    server.kill().await;

    // Who was offline all the time hears of each list, in order.
    let server = home.serve().await;
    let (lists, _) = missed(&server, ann, "tablet").await;
    let versions: Vec<_> = lists.iter().map(|it| it["version"].as_u64()).collect();
    let all: Vec<_> = (1..=MOST as u64).map(Some).collect();
    assert_eq!(versions, all);
    let lengths: Vec<_> = lists.iter().map(|it| ids(it).len()).collect();
    assert_eq!(lengths, (1..=MOST).collect::<Vec<_>>());
    let now = listed(&server, ann).await;
    assert_eq!(ids(&now), ids(&lists[MOST - 1]));

    replace_and_remove(&server, ann).await;
    server.terminate().await;
}

/// The tablet takes a place, and gives it back.
async fn replace_and_remove(server: &Server, ann: &Guest) {
    let stream = format!("user:{}", ann.id);
    let mut phone = Client::connect_device(server, ann, "phone").await;
    phone.join(&stream, json!({})).await;
    let mut tablet = device("tablet");
    tablet["replace"] = json!(true);
    let (status, made) = register(server, ann, tablet).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["replaced"], "d1", "the phone is connected");
    let told = phone.expect(&stream, "devices:registered").await;
    assert_eq!(ids(&told).last(), Some(&"tablet"));

    let rest = Rest::of(server);
    let overview = rest.get("/api/users/me/overview", ann).await;
    let devices = overview["pending"]["devices"].as_array().unwrap();
    let known = devices.iter().find(|it| it["device_id"] == "tablet");
    let known = known.unwrap_or_else(|| panic!("{overview}"));
    assert_eq!(
        (&known["name"], &known["platform"]),
        (&json!("my tablet"), &json!("web"))
    );

    let token = Some(ann.token.as_str());
    let path = "/api/devices/tablet";
    let (status, _) = rest.request(Method::DELETE, path, token, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let told = phone.expect(&stream, "devices:registered").await;
    assert!(!ids(&told).contains(&"tablet"));
    // It has no place any more, and is told so.
    let mut tablet = Client::connect_device(server, ann, "tablet").await;
    let joined = tablet.join(&stream, json!({})).await;
    assert_eq!(joined["reset_required"], true, "{joined}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_devices_outlives_processes_and_reaches_those_that_were_away() {
    a_list_outlives_processes(Home::new(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_devices_in_mongodb_outlives_processes_just_so() {
    let Some(addresses) = Addresses::given("devices in mongodb") else {
        return;
    };
    let test = |site| a_list_outlives_processes(Home::new(Some(site)));
    with_site(Layout::Mixed, &addresses, test).await;
}
