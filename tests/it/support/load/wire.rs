//! A connection that may end at any moment.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// One Phoenix V2 connection.
pub(crate) struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_ref: u64,
    patience: Duration,
}

/// What arrives.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) msg_ref: Option<u64>,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Value,
}

/// The connection has ended.
#[derive(Debug)]
pub(crate) struct Cut;

impl Wire {
    pub(crate) async fn connect(
        server: &str,
        token: &str,
        device: Option<&str>,
        patience: Duration,
    ) -> Result<Self, Cut> {
        let address = server.split("//").nth(1).unwrap_or_default();
        let device = device.map(|device| format!("&device_id={device}"));
        let device = device.unwrap_or_default();
        let url = format!("ws://{address}/socket/websocket?vsn=2.0.0&token={token}{device}");
        let connected = tokio::time::timeout(patience, connect_async(url)).await;
        let (socket, _) = connected.map_err(|_| Cut)?.map_err(|_| Cut)?;
        Ok(Self {
            socket,
            next_ref: 1,
            patience,
        })
    }

    /// Pushes an event; the ref of its reply.
    pub(crate) async fn push(
        &mut self,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> Result<u64, Cut> {
        let msg_ref = self.next_ref;
        self.next_ref += 1;
        let join_ref = (event == "phx_join").then(|| msg_ref.to_string());
        let frame = json!([join_ref, msg_ref.to_string(), topic, event, payload]);
        let sent = self.socket.send(Message::text(frame.to_string()));
        match tokio::time::timeout(self.patience, sent).await {
            Ok(Ok(())) => Ok(msg_ref),
            _ => Err(Cut),
        }
    }

    /// The next frame. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Frame, Cut> {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => return Err(Cut),
            };
            let mut frame: Value = serde_json::from_str(&text).map_err(|_| Cut)?;
            let text_at = |at: usize| frame[at].as_str().unwrap_or_default().to_owned();
            return Ok(Frame {
                msg_ref: frame[1].as_str().and_then(|it| it.parse().ok()),
                topic: text_at(2),
                event: text_at(3),
                payload: frame[4].take(),
            });
        }
    }

    /// The same, if it comes in time.
    pub(crate) async fn next_in_time(&mut self) -> Result<Frame, Cut> {
        let next = tokio::time::timeout(self.patience, self.next()).await;
        next.unwrap_or(Err(Cut))
    }
}

/// The status and response of a reply.
pub(crate) fn reply(mut frame: Frame) -> (bool, Value) {
    (
        frame.payload["status"] == "ok",
        frame.payload["response"].take(),
    )
}
