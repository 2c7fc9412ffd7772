//! What is derived from the logs can be derived again: whatever was lost or went wrong, people see
//! after `quikapp rebuild` what they saw before. Beside a running server it takes nothing away.

use std::{path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, quikapp, run, said, within};

mod backends;

const PREFERENCES: &str = "/api/users/me/preferences";

/// Each projection, and how to damage it. Where its cursor is, nobody looks at the log again.
const DAMAGE: [(&str, &str); 8] = [
    (
        "history",
        "DELETE FROM messages WHERE pos % 2 = 0;
         UPDATE messages SET text = 'wrong', body = '{}', deleted = 0, pinned = 1 - pinned;",
    ),
    (
        "threads",
        "DELETE FROM thread_entries; DELETE FROM thread_followers;",
    ),
    ("queue", "DELETE FROM pending; DELETE FROM pending_totals;"),
    ("queue", "DELETE FROM pending;"),
    ("queue", "UPDATE pending_totals SET total = total + 9;"),
    ("queue", "UPDATE pending_totals SET total = total - 9;"),
    ("timers", "DELETE FROM timers;"),
    ("documents", "DELETE FROM documents;"),
];

fn open(data_dir: &Path) -> Connection {
    let db = Connection::open(data_dir.join("quikapp.db")).unwrap();
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    db
}

/// Waits until every projection has come to the end of every log.
async fn derived(data_dir: &Path) {
    let db = open(data_dir);
    let behind = "SELECT count(*) FROM conversations c
                  JOIN (VALUES ('queue'), ('threads'), ('timers')) names
                  LEFT JOIN projections p ON p.conv = c.conv AND p.consumer = names.column1
                  WHERE c.tail > coalesce(p.seq, 0)";
    let is_behind = || db.query_row(behind, [], |row| row.get::<_, i64>(0));
    within("the projections", async {
        while is_behind().unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// When which timer is due.
fn timers(data_dir: &Path) -> Vec<(i64, String, i64)> {
    let db = open(data_dir);
    let sql = "SELECT kind, id, due_at FROM timers ORDER BY kind, id";
    let mut timers = db.prepare(sql).unwrap();
    let timers = timers.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    timers.unwrap().map(Result::unwrap).collect()
}

async fn rebuild(data_dir: &Path, names: &[&str]) -> String {
    run(data_dir, &[&["rebuild"], names].concat()).await
}

/// A conversation of Ann's and Bob's in which a bit of everything has happened.
struct Chat {
    people: [Guest; 2],
    id: String,
    topic: String,
    /// A message of Bob's, to which Ann has answered in a thread.
    root: String,
}

impl Chat {
    async fn on(server: &Server) -> Self {
        let rest = Rest::of(server);
        let people = [rest.guest("ann").await, rest.guest("bob").await];
        let id = rest.group(&people).await;
        let topic = format!("chat:{id}");
        let [ann, bob] = &people;
        has_a_phone(server, bob).await;
        let mut his = Client::connect(server, bob).await;
        let mut hers = Client::connect(server, ann).await;
        for client in [&mut his, &mut hers] {
            client.join(&topic, json!({})).await;
        }
        let root = says(&mut his, &topic, json!({ "content": "the root" })).await;
        let mut sent = Vec::new();
        for number in 0..10 {
            let content = format!("needle {number}");
            sent.push(says(&mut hers, &topic, json!({ "content": content })).await);
        }
        for payload in [
            json!({ "content": "an answer", "thread_root": root }),
            json!({ "content": "another needle", "thread_root": root }),
            json!({ "content": "look", "mentions": [bob.id] }),
            json!({ "content": "not for ever", "ttl": 86_400 }),
        ] {
            says(&mut hers, &topic, payload).await;
        }
        for (event, payload) in [
            (
                "message:edit",
                json!({ "message_id": sent[0], "content": "pin" }),
            ),
            (
                "message:reaction:add",
                json!({ "message_id": sent[1], "emoji": "+1" }),
            ),
            ("message:pin", json!({ "message_id": sent[2] })),
            ("message:delete", json!({ "message_id": sent[3] })),
        ] {
            hers.done(&topic, event, payload).await;
        }
        let hidden = json!({ "message_id": sent[4], "scope": "me" });
        his.done(&topic, "message:delete", hidden).await;
        let (token, rarely) = (Some(&*bob.token), json!({ "notify": "nothing" }));
        let preferred = rest.request(Method::PATCH, PREFERENCES, token, Some(rarely));
        assert_eq!(preferred.await.0, StatusCode::OK);
        Self {
            people,
            id,
            topic,
            root,
        }
    }

    /// What Bob sees of it, by REST and on a channel.
    async fn seen(&self, server: &Server) -> Value {
        let (rest, bob) = (Rest::of(server), &self.people[1]);
        let get = async |path: &str| rest.get(path, bob).await;
        let messages = format!("/api/conversations/{}/messages", self.id);
        let mut client = Client::connect(server, bob).await;
        let joined = client.join(&self.topic, json!({ "last_seq": 0 })).await;
        let page = client.call(&self.topic, "message:history", json!({ "limit": 100 }));
        json!({
            "history": rest.history(&self.id, bob).await,
            "thread": get(&format!("{messages}?thread_root={}", self.root)).await,
            "found": get(&format!("{messages}/search?q=needle")).await,
            "listed": get("/api/conversations").await,
            "overview": get("/api/users/me/overview").await,
            "preferences": get(PREFERENCES).await,
            "missed": joined["gap"],
            "registers": joined["registers"],
            "page": page.await.unwrap().1,
        })
    }

    /// What Bob does not see as it was; not even all of it can be asked for.
    async fn damaged(&self, server: &Server, before: &Value) -> Vec<&'static str> {
        let (rest, bob) = (Rest::of(server), &self.people[1]);
        let messages = format!("/api/conversations/{}/messages", self.id);
        let mut damaged = Vec::new();
        for (part, path) in [
            ("found", format!("{messages}/search?q=needle")),
            ("thread", format!("{messages}?thread_root={}", self.root)),
            ("overview", "/api/users/me/overview".to_owned()),
            ("preferences", PREFERENCES.to_owned()),
        ] {
            let asked = rest.request(Method::GET, &path, Some(&bob.token), None);
            if asked.await.1 != before[part] {
                damaged.push(part);
            }
        }
        damaged
    }
}

/// The message's id.
async fn says(client: &mut Client, topic: &str, payload: Value) -> String {
    let sent = client.done(topic, "message:send", payload).await;
    sent["id"].as_str().unwrap().to_owned()
}

/// A device that will lack whatever comes after this.
async fn has_a_phone(server: &Server, owner: &Guest) {
    let mut phone = Client::connect_device(server, owner, "phone").await;
    let own = format!("user:{}", owner.id);
    let joined = phone.join(&own, json!({})).await;
    let ack = json!({ "cursor": joined["cursor"] });
    phone.done(&own, "message:ack", ack).await;
}

/// What is seen before and after differs in these.
fn differing(before: &Value, after: &Value) -> Vec<String> {
    let parts = before.as_object().unwrap().iter();
    let parts = parts.filter(|(name, part)| after[name.as_str()] != **part);
    parts.map(|(name, _)| name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_damaged_is_as_it_was_after_a_rebuild() {
    let dir = tempdir().unwrap();
    let mut server = Server::start(dir.path()).await;
    let data_dir = server.data_dir.clone();
    let chat = Chat::on(&server).await;
    derived(&data_dir).await;
    let before = chat.seen(&server).await;
    assert_eq!(before["thread"]["thread"]["unread"], 2, "{before}");
    assert_eq!(before["found"]["messages"].as_array().unwrap().len(), 8);
    assert!(before["overview"]["pending"]["count"].as_u64() > Some(10));
    let due = timers(&data_dir);
    assert_eq!(due.len(), 1);

    // Each by its name, and at last all together.
    let each = DAMAGE
        .iter()
        .map(|(name, damage)| (vec![*name], (*damage).to_owned()));
    let all = DAMAGE.map(|(_, damage)| damage).concat();
    for (names, damage) in each.chain([(vec![], all)]) {
        server.terminate().await;
        open(&data_dir).execute_batch(&damage).unwrap();
        server = Server::start(dir.path()).await;
        let damaged = chat.damaged(&server, &before).await;
        let is_damaged = !damaged.is_empty() || timers(&data_dir) != due;
        assert!(is_damaged, "{names:?} is seen nowhere");
        server.terminate().await;
        let told = rebuild(&data_dir, &names).await;
        for (name, _) in DAMAGE {
            let is_meant = names.is_empty() || names == [name];
            let is_told = told.lines().any(|line| line.starts_with(name));
            assert_eq!(is_told, is_meant, "{told}");
        }
        server = Server::start(dir.path()).await;
        let after = chat.seen(&server).await;
        for part in differing(&before, &after) {
            assert_eq!(after[&part], before[&part], "{part} after {names:?}");
        }
        assert_eq!(timers(&data_dir), due, "after {names:?}");
    }
    server.terminate().await;
}

/// Ann sends and edits while everything is rebuilt: what she was told is so, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_beside_a_running_server_takes_nothing_away() {
    let dir = tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let data_dir = server.data_dir.clone();
    let chat = Chat::on(&server).await;
    derived(&data_dir).await;
    let before = Rest::of(&server).history(&chat.id, &chat.people[1]).await;
    let mut writer = Writer {
        rest: Rest::of(&server),
        path: format!("/api/conversations/{}/messages", chat.id),
        ann: chat.people[0].clone(),
        sent: Vec::new(),
    };
    let rebuilding = rebuild(&data_dir, &[]);
    tokio::pin!(rebuilding);
    loop {
        tokio::select! {
            told = &mut rebuilding => break println!("{told}"),
            () = writer.writes() => {}
        }
    }
    writer.writes().await;
    derived(&data_dir).await;
    let seen = chat.seen(&server).await;
    let history = seen["history"].as_array().unwrap();
    assert_eq!(history[..before.len()], before);
    let written = &history[before.len()..];
    let contents = written
        .iter()
        .map(|message| message["content"].as_str().unwrap());
    assert_eq!(contents.collect::<Vec<_>>(), writer.sent);
    println!("{} messages meanwhile", writer.sent.len());
    // And that is what the log says.
    server.terminate().await;
    rebuild(&data_dir, &[]).await;
    let server = Server::start(dir.path()).await;
    let again = chat.seen(&server).await;
    for part in differing(&seen, &again) {
        assert_eq!(again[&part], seen[&part], "{part}");
    }
    server.terminate().await;
}

struct Writer {
    rest: Rest,
    path: String,
    ann: Guest,
    sent: Vec<String>,
}

impl Writer {
    /// One message more. While its conversation is moving, a client is told to ask again.
    async fn writes(&mut self) {
        let content = format!("meanwhile {}", self.sent.len());
        let body = json!({ "content": content, "client_id": content });
        let token = Some(self.ann.token.as_str());
        within("an acknowledgement", async {
            loop {
                let asked = self
                    .rest
                    .request(Method::POST, &self.path, token, Some(body.clone()));
                let (status, answer) = asked.await;
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                return assert!(status.is_success(), "{status} {answer}");
            }
        })
        .await;
        self.sent.push(content);
    }
}

#[tokio::test]
async fn what_there_is_not_is_refused_with_what_there_is() {
    let dir = tempdir().unwrap();
    let mut command = quikapp();
    command
        .args(["rebuild", "nothing", "--data-dir"])
        .arg(dir.path().join("data"));
    let refused = within("the refusal", command.output()).await.unwrap();
    assert!(!refused.status.success());
    let said = said(&refused);
    assert!(
        said.contains("queue, threads, timers, history, documents"),
        "{said}"
    );
}
