//! Nothing that was acknowledged is lost by `kill -9`, and nothing is there twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::task::JoinSet;

use crate::support::{Client, Guest, Rest, Server, within};

const SENDERS: usize = 8;
const ROUNDS: usize = 3;
/// Acknowledged messages after which a round's server is killed.
const KILL_AFTER: usize = 60;

/// What one sender knows: the next client_id to try, and the seq of each acknowledged one.
#[derive(Default)]
struct Ledger {
    tried: u64,
    acknowledged: BTreeMap<String, u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_messages_survive_kill_9() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path()).await;
    let rest = Rest::of(&server);
    let mut people = Vec::new();
    for number in 0..SENDERS {
        people.push(rest.guest(&format!("sender {number}")).await);
    }
    let conversation = rest.group(&people).await;
    let mut ledgers: Vec<Ledger> = people.iter().map(|_| Ledger::default()).collect();

    for _ in 0..ROUNDS {
        ledgers = send_until_killed(server, &people, &conversation, ledgers).await;
        server = Server::start(dir.path()).await;
    }
    retry_last(&server, &people, &conversation, &mut ledgers).await;

    let history = Rest::of(&server).history(&conversation, &people[0]).await;
    let kept: BTreeMap<(String, String), u64> = history.iter().map(key_and_seq).collect();
    assert_eq!(kept.len(), history.len(), "a message is there twice");
    let mut acknowledged = 0;
    for (person, ledger) in people.iter().zip(&ledgers) {
        for (client_id, seq) in &ledger.acknowledged {
            acknowledged += 1;
            let found = kept.get(&(person.id.clone(), client_id.clone()));
            assert_eq!(found, Some(seq), "{client_id} of {}", person.id);
        }
    }
    assert!(acknowledged >= ROUNDS * KILL_AFTER);
    println!(
        "{acknowledged} acknowledged over {ROUNDS} kills, {} kept",
        history.len()
    );
}

/// Everyone sends in a closed loop; once enough is acknowledged, the server dies in the middle.
async fn send_until_killed(
    server: Server,
    people: &[Guest],
    conversation: &str,
    ledgers: Vec<Ledger>,
) -> Vec<Ledger> {
    let topic: Arc<str> = format!("chat:{conversation}").into();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for (number, (person, ledger)) in people.iter().zip(ledgers).enumerate() {
        let mut client = Client::connect(&server, person).await;
        client.join(&topic, json!({})).await;
        let (topic, acknowledged) = (topic.clone(), acknowledged.clone());
        senders.spawn(async move {
            (
                number,
                send_until_cut(client, &topic, ledger, &acknowledged).await,
            )
        });
    }
    within("enough acknowledgements", async {
        while acknowledged.load(Ordering::Relaxed) < KILL_AFTER {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.kill().await;
    let mut ended = within("the end of the senders", senders.join_all()).await;
    ended.sort_by_key(|(number, _)| *number);
    ended.into_iter().map(|(_, ledger)| ledger).collect()
}

async fn send_until_cut(
    mut client: Client,
    topic: &str,
    mut ledger: Ledger,
    acknowledged: &AtomicUsize,
) -> Ledger {
    loop {
        let client_id = format!("m{}", ledger.tried);
        let Some((status, reply)) = client.call(topic, "message:send", text(&client_id)).await
        else {
            return ledger;
        };
        assert_eq!(status, "ok", "{reply}");
        ledger.tried += 1;
        ledger
            .acknowledged
            .insert(client_id, reply["seq"].as_u64().unwrap());
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// The send that was cut may or may not be kept: sending it again must answer ok either way.
async fn retry_last(server: &Server, people: &[Guest], conversation: &str, ledgers: &mut [Ledger]) {
    let topic = format!("chat:{conversation}");
    for (person, ledger) in people.iter().zip(ledgers) {
        let mut client = Client::connect(server, person).await;
        client.join(&topic, json!({})).await;
        let client_id = format!("m{}", ledger.tried);
        let reply = client.done(&topic, "message:send", text(&client_id)).await;
        ledger
            .acknowledged
            .insert(client_id, reply["seq"].as_u64().unwrap());
    }
}

fn text(client_id: &str) -> Value {
    json!({ "client_id": client_id, "type": "text", "content": client_id })
}

fn key_and_seq(message: &Value) -> ((String, String), u64) {
    let text = |key: &str| message[key].as_str().unwrap().to_owned();
    (
        (text("sender_id"), text("content")),
        message["seq"].as_u64().unwrap(),
    )
}
