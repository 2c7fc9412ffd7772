//! A proxy in front of a server, through its HTTP interface. Shared by the tests of the stores and
//! of the whole system.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A proxy of a test's own; what is wrong with it is set by its methods.
pub(crate) struct Proxy {
    control: String,
    name: String,
    /// Where it listens.
    pub(crate) address: String,
}

impl Proxy {
    /// A proxy to a server, on a free port.
    pub(crate) async fn to(control: &str, upstream: &str) -> Self {
        let mut proxy = Self {
            control: control.trim_start_matches("http://").to_owned(),
            name: format!("test-{}", uuid::Uuid::new_v4().simple()),
            address: String::new(),
        };
        let made = serde_json::json!({
            "name": proxy.name, "listen": "127.0.0.1:0", "upstream": upstream,
        });
        let made = proxy.ask("POST", "/proxies", &made.to_string()).await;
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        proxy.address = made["listen"].as_str().unwrap().to_owned();
        proxy
    }

    /// Ends all connections and takes no more, or takes them again.
    pub(crate) async fn enable(&self, enabled: bool) {
        let change = serde_json::json!({ "enabled": enabled, "listen": self.address });
        let path = format!("/proxies/{}", self.name);
        self.ask("POST", &path, &change.to_string()).await;
    }

    /// Adds something that goes wrong.
    pub(crate) async fn add(&self, kind: &str, attributes: serde_json::Value) {
        let toxic = serde_json::json!({ "name": kind, "type": kind, "attributes": attributes });
        let path = format!("/proxies/{}/toxics", self.name);
        self.ask("POST", &path, &toxic.to_string()).await;
    }

    /// Takes it away.
    pub(crate) async fn remove(&self, kind: &str) {
        let path = format!("/proxies/{}/toxics/{kind}", self.name);
        self.ask("DELETE", &path, "").await;
    }

    /// Removes the proxy.
    pub(crate) async fn close(&self) {
        let path = format!("/proxies/{}", self.name);
        self.ask("DELETE", &path, "").await;
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.control).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        assert!(status.starts_with('2'), "{method} {path}: {answer}");
        body.to_owned()
    }
}
