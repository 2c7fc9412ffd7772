//! A small Phoenix V2 client. (The real phoenix.js is used in tests/js.)

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{Guest, Server, within};

/// One socket. Frames that nobody asked for yet wait in `inbox`.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    inbox: VecDeque<Value>,
    next_ref: u64,
}

impl Client {
    pub(crate) async fn connect(server: &Server, guest: &Guest) -> Self {
        Self::try_connect(server, guest).await.unwrap()
    }

    /// Connects as one of the person's devices.
    pub(crate) async fn connect_device(server: &Server, guest: &Guest, device: &str) -> Self {
        let query = format!("&device_id={device}");
        Self::connect_with(server, guest, &query).await.unwrap()
    }

    pub(crate) async fn try_connect(
        server: &Server,
        guest: &Guest,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        Self::connect_with(server, guest, "").await
    }

    async fn connect_with(
        server: &Server,
        guest: &Guest,
        query: &str,
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let url = format!(
            "ws://{}/socket/websocket?vsn=2.0.0&token={}{query}",
            server.address(),
            guest.token
        );
        let (socket, _) = within("the handshake", connect_async(url)).await?;
        Ok(Self {
            socket,
            inbox: VecDeque::new(),
            next_ref: 1,
        })
    }

    /// Joins a topic and answers the reply's response; refusals panic.
    pub(crate) async fn join(&mut self, topic: &str, params: Value) -> Value {
        self.done(topic, "phx_join", params).await
    }

    /// Pushes an event and waits for its reply: status and response. `None` when the socket ends
    /// first.
    pub(crate) async fn call(
        &mut self,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> Option<(String, Value)> {
        let msg_ref = self.next_ref.to_string();
        self.next_ref += 1;
        let join_ref = (event == "phx_join").then_some(&msg_ref);
        let frame = json!([join_ref, msg_ref, topic, event, payload]).to_string();
        self.socket.send(Message::text(frame)).await.ok()?;
        let is_reply = |frame: &Value| frame[1] == *msg_ref && frame[3] == "phx_reply";
        let mut reply = self.next_that(is_reply).await?;
        let status = reply[4]["status"].as_str().unwrap().to_owned();
        Some((status, reply[4]["response"].take()))
    }

    /// Pushes an event, which must be done; the response.
    pub(crate) async fn done(&mut self, topic: &str, event: &str, payload: Value) -> Value {
        let (status, response) = self.call(topic, event, payload).await.unwrap();
        assert_eq!(status, "ok", "{event} on {topic}: {response}");
        response
    }

    /// Sends a text frame as it is. Whether it was taken is seen by what follows.
    pub(crate) async fn send(&mut self, text: String) {
        let _ = self.socket.send(Message::text(text)).await;
    }

    /// The payload of the next broadcast or push of this event.
    pub(crate) async fn expect(&mut self, topic: &str, event: &str) -> Value {
        let found = self
            .next_that(|frame| frame[2] == topic && frame[3] == event)
            .await;
        found.unwrap_or_else(|| panic!("the socket ended before {event} on {topic}"))[4].take()
    }

    /// Takes the payloads of this event that came while something else was waited for.
    pub(crate) fn waiting(&mut self, topic: &str, event: &str) -> Vec<Value> {
        let is_it = |frame: &Value| frame[2] == topic && frame[3] == event;
        let (found, rest) = self.inbox.drain(..).partition::<Vec<_>, _>(is_it);
        self.inbox.extend(rest);
        let payload = |mut frame: Value| frame[4].take();
        found.into_iter().map(payload).collect()
    }

    /// The code and reason with which the server closes.
    pub(crate) async fn closed(mut self) -> Option<CloseFrame> {
        within("the close", async {
            while let Some(message) = self.socket.next().await {
                match message {
                    Ok(Message::Close(frame)) => return frame,
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
            None
        })
        .await
    }

    async fn next_that(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(at) = self.inbox.iter().position(&wanted) {
            return self.inbox.remove(at);
        }
        within("a frame", async {
            loop {
                let frame = match self.socket.next().await? {
                    Ok(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => continue,
                };
                if wanted(&frame) {
                    return Some(frame);
                }
                self.inbox.push_back(frame);
            }
        })
        .await
    }
}
