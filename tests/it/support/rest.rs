//! The REST interface, as a test uses it.

use std::{fmt::Debug, str::FromStr};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Server;

/// Somebody signed in as a guest.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// Requests to one server, which may be another process after a restart.
#[derive(Clone)]
pub(crate) struct Rest {
    base: String,
    client: reqwest::Client,
}

impl Rest {
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            base: server.url.clone(),
            client: reqwest::Client::new(),
        }
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// The status of a GET with these headers.
    pub(crate) async fn status(&self, path: &str, headers: &[(&str, &str)]) -> StatusCode {
        self.answer(path, headers).await.0
    }

    /// A GET with these headers, answered by status and body.
    pub(crate) async fn answer(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut request = self.client.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return (status, Value::Null);
        }
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, body)
    }

    /// What a WebSocket handshake with a token and these headers is answered with; 101 is accepted.
    pub(crate) async fn handshake(&self, token: &str, headers: &[(&str, &str)]) -> StatusCode {
        let mut all = vec![
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        all.extend_from_slice(headers);
        let path = format!("/socket/websocket?vsn=2.0.0&token={token}");
        self.status(&path, &all).await
    }

    pub(crate) async fn get(&self, path: &str, guest: &Guest) -> Value {
        let (status, body) = self
            .request(Method::GET, path, Some(&guest.token), None)
            .await;
        assert!(status.is_success(), "GET {path}: {status} {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, guest: &Guest, body: Value) -> Value {
        let sent = self.request(Method::POST, path, Some(&guest.token), Some(body));
        let (status, body) = sent.await;
        assert!(status.is_success(), "POST {path}: {status} {body}");
        body
    }

    /// The page of `/metrics`.
    pub(crate) async fn metrics(&self) -> String {
        let (_, page) = self.answer("/metrics", &[]).await;
        page.as_str().unwrap_or_default().to_owned()
    }

    /// The value of a series, with its labels if it has any; zero if it is not there yet.
    pub(crate) async fn metric<T>(&self, series: &str) -> T
    where
        T: FromStr<Err: Debug> + Default,
    {
        let page = self.metrics().await;
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        value.map_or_else(T::default, |value| value.trim().parse().unwrap())
    }

    pub(crate) async fn guest(&self, name: &str) -> Guest {
        let body = json!({ "name": name });
        let (status, body) = self
            .request(Method::POST, "/api/auth/guest", None, Some(body))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        Guest {
            id: body["user"]["id"].as_str().unwrap().to_owned(),
            token: body["token"].as_str().unwrap().to_owned(),
        }
    }

    /// A group of these people; the first one makes it.
    pub(crate) async fn group(&self, people: &[Guest]) -> String {
        let members: Vec<&str> = people[1..].iter().map(|guest| guest.id.as_str()).collect();
        let body = json!({ "type": "group", "name": "test", "members": members });
        let made = self.post("/api/conversations", &people[0], body).await;
        made["conversation"]["id"].as_str().unwrap().to_owned()
    }

    /// Makes a member an administrator of a group, as its owner.
    pub(crate) async fn is_admin(&self, conversation: &str, guest: &Guest, owner: &Guest) {
        let path = format!("/api/conversations/{conversation}/members/{}", guest.id);
        let role = json!({ "role": "admin" });
        let asked = self.request(Method::PATCH, &path, Some(&owner.token), Some(role));
        let (status, body) = asked.await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    }

    /// The whole history of a conversation, page by page: its main timeline.
    pub(crate) async fn history(&self, conversation: &str, guest: &Guest) -> Vec<Value> {
        self.pages(conversation, guest, "").await
    }

    /// The same of one of its threads.
    pub(crate) async fn thread(&self, conversation: &str, guest: &Guest, root: &str) -> Vec<Value> {
        let thread = format!("&thread_root={root}");
        self.pages(conversation, guest, &thread).await
    }

    async fn pages(&self, conversation: &str, guest: &Guest, which: &str) -> Vec<Value> {
        let path = format!("/api/conversations/{conversation}/messages");
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("{path}?after_seq={after}&limit=100{which}");
            let page = self.get(&path, guest).await;
            all.extend(page["messages"].as_array().unwrap().iter().cloned());
            if page["has_more"] != true {
                return all;
            }
            after = all.last().unwrap()["seq"].as_u64().unwrap();
        }
    }
}
