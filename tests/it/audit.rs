//! Who did what to whom stands in the log, for administrators, and in a conversation's log, for its
//! members; and no token or secret stands in any.

use std::{ffi::OsStr, path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Client, Guest, Rest, Server, run, within};

async fn start(dir: &Path) -> Server {
    let environment = [("QUIKAPP_LOGGING__FORMAT", OsStr::new("json"))];
    Server::start_as(dir, &dir.join("data"), "127.0.0.1:0", &[], &environment).await
}

/// The lines with this message, oldest first.
fn lines(server: &Server, message: &str) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

/// Waits for so many lines with this message; the last one.
async fn logged(server: &Server, message: &str, count: usize) -> Value {
    within(message, async {
        loop {
            if let Some(line) = lines(server, message).get(count - 1) {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[track_caller]
fn tells(line: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&line[field], value, "{field} of {line}");
    }
    assert_eq!(line["level"], "INFO", "{line}");
    assert!(line["timestamp"].is_string(), "{line}");
}

fn claims(token: &str) -> Value {
    let unchecked = jsonwebtoken::dangerous::insecure_decode::<Value>(token);
    unchecked.unwrap().claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_administrators_do_to_people_and_secrets_is_in_the_log() {
    let dir = tempdir().unwrap();
    let server = start(dir.path()).await;
    let rest = Rest::of(&server);
    let admin = ["token", "--admin", "--user", "root"];
    let root = Guest {
        id: "root".into(),
        token: run(&server.data_dir, &admin).await.trim().to_owned(),
    };
    let people = [
        rest.guest("ann").await,
        rest.guest("bob").await,
        rest.guest("carl").await,
    ];
    let [ann, bob, carl] = &people;
    let _sockets = [
        Client::connect(&server, ann).await,
        Client::connect(&server, carl).await,
    ];
    let (ticket, before) = (
        rest.post("/api/auth/ticket", bob, json!({})).await,
        secrets(&server),
    );

    who_may_not_has_done_nothing(&server, bob, ann).await;
    a_person_is_released(&server, &root, ann).await;
    a_person_is_revoked(&server, &root, ann).await;
    a_token_is_revoked(&server, &root, &bob.token).await;
    let foreign = a_foreign_token_is_revoked(&server, &root).await;
    a_person_is_erased(&server, &root, carl).await;
    secrets_are_rotated(&server).await;

    let mut secret = [before, secrets(&server)].concat();
    secret.extend(people.iter().chain([&root]).map(|it| it.token.clone()));
    secret.push(ticket["ticket"].as_str().unwrap().to_owned());
    secret.extend(foreign);
    nothing_is_told(&server, &secret);
    server.terminate().await;
}

const PERSON_REVOKED: &str = "an administrator has revoked a person";
const TOKEN_REVOKED: &str = "an administrator has revoked a token";
const PERSON_ERASED: &str = "an administrator has a person erased";
const PERSON_RELEASED: &str = "an administrator releases a person's entity";

async fn who_may_not_has_done_nothing(server: &Server, by: &Guest, to: &Guest) {
    let user = json!({ "user": to.id });
    for (path, body) in [
        ("/api/auth/revoke", user.clone()),
        ("/api/admin/erasures", user),
        (
            "/api/admin/releases",
            json!({ "kind": "user", "id": to.id }),
        ),
    ] {
        let rest = Rest::of(server);
        let asked = rest.request(Method::POST, path, Some(&by.token), Some(body));
        assert_eq!(asked.await.0, StatusCode::FORBIDDEN, "{path}");
    }
    for done in [PERSON_REVOKED, PERSON_ERASED, PERSON_RELEASED] {
        assert!(lines(server, done).is_empty(), "{done}");
    }
}

/// Also that there was nothing to release.
async fn a_person_is_released(server: &Server, root: &Guest, whom: &Guest) {
    let asked = ["release", "--url", &server.url, "--token", &root.token];
    let asked = [&asked[..], &["--user", &whom.id]].concat();
    let told = run(&server.data_dir, &asked).await;
    assert!(told.contains("was not in quarantine"), "{told}");
    let by_root = json!({
        "workspace": "default", "user": whom.id, "by": "root", "was_in_quarantine": false
    });
    tells(&logged(server, PERSON_RELEASED, 1).await, &by_root);
}

async fn a_person_is_revoked(server: &Server, root: &Guest, whom: &Guest) {
    let body = json!({ "user": whom.id });
    Rest::of(server).post("/api/auth/revoke", root, body).await;
    let by_root = json!({ "workspace": "default", "user": whom.id, "by": "root" });
    tells(&logged(server, PERSON_REVOKED, 1).await, &by_root);
}

async fn a_token_is_revoked(server: &Server, root: &Guest, token: &str) {
    let jti = claims(token)["jti"].clone();
    let body = json!({ "jti": jti });
    Rest::of(server).post("/api/auth/revoke", root, body).await;
    let by_root = json!({ "workspace": "default", "jti": jti, "by": "root" });
    tells(&logged(server, TOKEN_REVOKED, 1).await, &by_root);
}

async fn a_person_is_erased(server: &Server, root: &Guest, whom: &Guest) {
    let body = json!({ "user": whom.id });
    let rest = Rest::of(server);
    rest.post("/api/admin/erasures", root, body).await;
    let by_root = json!({ "workspace": "default", "user": whom.id, "by": "root" });
    tells(&logged(server, PERSON_ERASED, 1).await, &by_root);
    let new = json!({ "workspace": "default", "user": whom.id, "is_new": true });
    tells(&logged(server, "a person is to be erased", 1).await, &new);
    let done = logged(server, "a person was erased", 1).await;
    tells(&done, &json!({ "workspace": "default", "user": whom.id }));
    assert!(done["changes"].is_u64(), "{done}");
}

/// Somebody takes a whole token for its id, or the secret of something else. The line says which it
/// was to whoever has it, and does not show it.
async fn a_foreign_token_is_revoked(server: &Server, root: &Guest) -> [String; 2] {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJldmUifQ.SGVyZSBpcyBhIGZvcmVpZ24gc2lnbmF0dXJl";
    let secret = "s3cret-of-something-else-that-was-pasted-here";
    let pasted = [
        (token, "76 bytes, sha256 4eed4fd11a9d"),
        (secret, "45 bytes, sha256 e32cbb6bceff"),
    ];
    for (earlier, (id, told)) in (1..).zip(pasted) {
        let body = json!({ "jti": id });
        Rest::of(server).post("/api/auth/revoke", root, body).await;
        let line = logged(server, TOKEN_REVOKED, earlier + 1).await;
        tells(&line, &json!({ "jti": told, "by": "root" }));
    }
    [token, secret].map(str::to_owned)
}

/// Each rotation is told, and how many secrets are still believed.
async fn secrets_are_rotated(server: &Server) {
    let signing = "signing with the newest secret";
    tells(&logged(server, signing, 1).await, &json!({ "earlier": 0 }));
    run(&server.data_dir, &["rotate-secret"]).await;
    tells(&logged(server, signing, 2).await, &json!({ "earlier": 1 }));
    run(&server.data_dir, &["rotate-secret", "--forget"]).await;
    tells(&logged(server, signing, 3).await, &json!({ "earlier": 0 }));
}

/// None of these stands in the log.
fn nothing_is_told(server: &Server, secrets: &[String]) {
    let log = server.log();
    for secret in secrets {
        // Of a token, not even the part that makes it one.
        let signature = secret.rsplit('.').next().unwrap();
        assert!(signature.len() > 16 && !log.contains(signature), "{log}");
    }
}

/// The secrets of the installation.
fn secrets(server: &Server) -> Vec<String> {
    let file = std::fs::read_to_string(server.data_dir.join("secret")).unwrap();
    file.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn who_changed_a_role_or_removed_somebody_is_in_the_conversations_log() {
    let dir = tempdir().unwrap();
    let server = start(dir.path()).await;
    let rest = Rest::of(&server);
    let people = [
        rest.guest("ann").await,
        rest.guest("bob").await,
        rest.guest("carl").await,
    ];
    let [ann, bob, carl] = &people;
    let group = rest.group(&people).await;
    let member = |guest: &Guest| format!("/api/conversations/{group}/members/{}", guest.id);
    let ask = async |method, path: String, by: &Guest, body| {
        let asked = rest.request(method, &path, Some(&by.token), body).await;
        assert_eq!(asked.0, StatusCode::NO_CONTENT, "{}", asked.1);
    };
    let admin = Some(json!({ "role": "admin" }));
    ask(Method::PATCH, member(bob), ann, admin).await;
    ask(Method::DELETE, member(carl), bob, None).await;

    let mut client = Client::connect(&server, ann).await;
    let joined = client
        .join(&format!("chat:{group}"), json!({ "last_seq": 0 }))
        .await;
    let log = joined["gap"].as_array().unwrap().iter();
    let changes = log.filter(|entry| entry["event"] == "conversation:updated");
    let changes: Vec<_> = changes
        .map(|entry| {
            let change = &entry["payload"];
            let whom = &change["members"][0];
            json!([
                change["user_id"],
                change["change"],
                whom["user_id"],
                whom["role"]
            ])
        })
        .collect();
    let expected = [
        json!([ann.id, "role_changed", bob.id, "admin"]),
        json!([bob.id, "member_removed", carl.id, "member"]),
    ];
    assert_eq!(changes, expected);
    server.terminate().await;
}
