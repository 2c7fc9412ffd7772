//! A Phoenix client of a few hundred bytes.

use std::{collections::VecDeque, io, net::IpAddr};

use anyhow::{Context, bail, ensure};
use base64::prelude::*;
use bytes::Bytes;
use quikapp_protocol::{Message, Payload, Ref, Topic, Vsn, client, decode_text};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{
    frames::{self, Frame, FrameReader},
    target::Target,
};

/// What one read takes; on the stack, so that no socket owns it.
const READ: usize = 4096;

/// One connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    reader: FrameReader,
    inbox: VecDeque<Message>,
    last_ref: u64,
}

/// The payload of `phx_reply`.
#[derive(Debug, Deserialize)]
pub(crate) struct ReplyPayload {
    pub(crate) status: String,
    pub(crate) response: Value,
}

impl Socket {
    /// Connects to `/socket` and upgrades.
    pub(crate) async fn connect(
        target: &Target,
        source: Option<IpAddr>,
        token: &str,
    ) -> anyhow::Result<Self> {
        let mut stream = open(target, source).await.context("connecting")?;
        let key = BASE64_STANDARD.encode([7; 16]);
        let request = format!(
            "GET /socket/websocket?vsn=2.0.0&token={token} HTTP/1.1\r\nHost: {}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n\r\n",
            target.authority
        );
        stream
            .write_all(request.as_bytes())
            .await
            .context("upgrading")?;
        let behind = read_response(&mut stream).await?;
        Ok(Self {
            stream,
            reader: FrameReader::starting_with(behind),
            inbox: VecDeque::new(),
            last_ref: 0,
        })
    }

    /// Joins a topic; returns what the server replied.
    pub(crate) async fn join(&mut self, topic: &str, params: Value) -> anyhow::Result<Value> {
        let join_ref = Ref::from(JOIN_REF);
        let message = Message {
            join_ref: join_ref.clone(),
            msg_ref: join_ref.clone(),
            topic: Topic::from(topic),
            event: "phx_join".into(),
            payload: params.into(),
        };
        self.send(&message).await?;
        self.reply_to(&join_ref)
            .await
            .with_context(|| format!("joining {topic}"))
    }

    /// Sends an event; returns the ref that a reply will carry.
    pub(crate) async fn push(
        &mut self,
        topic: &str,
        event: &str,
        payload: Payload,
    ) -> anyhow::Result<Ref> {
        self.last_ref += 1;
        let msg_ref = Ref::from(self.last_ref.to_string().as_str());
        let message = Message {
            join_ref: Ref::from(JOIN_REF),
            msg_ref: msg_ref.clone(),
            topic: Topic::from(topic),
            event: event.into(),
            payload,
        };
        self.send(&message).await?;
        Ok(msg_ref)
    }

    /// Proves that the connection lives.
    pub(crate) async fn heartbeat(&mut self) -> anyhow::Result<()> {
        let msg_ref = self
            .push("phoenix", "heartbeat", Payload::empty_object())
            .await?;
        self.reply_to(&msg_ref).await.map(drop).context("heartbeat")
    }

    /// The next message, whenever it comes. Nothing is lost when the future is dropped.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Message> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            self.stream.readable().await?;
            self.read_available()?;
        }
    }

    /// The next message, if it has arrived.
    pub(crate) fn try_receive(&mut self) -> anyhow::Result<Option<Message>> {
        if self.inbox.is_empty() {
            self.read_available()?;
        }
        Ok(self.inbox.pop_front())
    }

    /// Waits for the reply to `msg_ref`; other messages in between are dropped.
    async fn reply_to(&mut self, msg_ref: &Ref) -> anyhow::Result<Value> {
        loop {
            let message = self.receive().await?;
            if message.msg_ref == *msg_ref && message.event.as_str() == Some("phx_reply") {
                return accept(&message);
            }
        }
    }

    async fn send(&mut self, message: &Message) -> anyhow::Result<()> {
        let encoded = client::encode(Vsn::V2, message)?;
        let mut frame = Vec::with_capacity(encoded.len() + 14);
        frames::write(frames::TEXT, encoded.as_bytes(), &mut frame);
        Ok(self.stream.write_all(&frame).await?)
    }

    fn read_available(&mut self) -> anyhow::Result<()> {
        let mut scratch = [0; READ];
        loop {
            let count = match self.stream.try_read(&mut scratch) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let Self {
                reader,
                inbox,
                stream,
                ..
            } = self;
            reader.read(&scratch[..count], |frame| take_frame(&frame, inbox, stream))?;
            if count < scratch.len() {
                return Ok(());
            }
        }
    }
}

/// A connection of the generator joins one topic, so one ref does for all.
const JOIN_REF: &str = "0";

async fn open(target: &Target, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if target.address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(source) = source {
        socket.set_reuseaddr(true)?;
        socket.bind((source, 0).into())?;
    }
    let stream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads the answer to the upgrade; returns what came behind it.
async fn read_response(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let behind = bytes.split_off(end + 4);
            let status = String::from_utf8_lossy(&bytes);
            let status = status.lines().next().unwrap_or_default();
            ensure!(
                status.contains(" 101 "),
                "the upgrade was refused: {status}"
            );
            return Ok(behind);
        }
        ensure!(bytes.len() < 8192, "an endless answer to the upgrade");
        let count = stream.read_buf(&mut bytes).await?;
        ensure!(count > 0, "no answer to the upgrade");
    }
}

fn take_frame(
    frame: &Frame<'_>,
    inbox: &mut VecDeque<Message>,
    stream: &TcpStream,
) -> anyhow::Result<()> {
    match frame.opcode {
        frames::TEXT => {
            let text = Bytes::copy_from_slice(frame.payload);
            inbox.push_back(decode_text(Vsn::V2, text)?);
        }
        frames::PING => {
            let mut pong = Vec::new();
            frames::write(frames::PONG, frame.payload, &mut pong);
            let written = stream.try_write(&pong)?;
            ensure!(written == pong.len(), "no room for a pong");
        }
        frames::PONG => {}
        frames::CLOSE => bail!("the server closed: {}", describe_close(frame.payload)),
        other => bail!("a frame with opcode {other}"),
    }
    Ok(())
}

fn describe_close(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let reason = String::from_utf8_lossy(reason);
            format!("{} {reason}", u16::from_be_bytes(*code))
        }
        None => "without a code".to_owned(),
    }
}

/// What a reply says, unless it is a refusal.
pub(crate) fn accept(reply: &Message) -> anyhow::Result<Value> {
    let reply: ReplyPayload = reply.payload.parse()?;
    ensure!(
        reply.status == "ok",
        "the server replied {}: {}",
        reply.status,
        reply.response
    );
    Ok(reply.response)
}
