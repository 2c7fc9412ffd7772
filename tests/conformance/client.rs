//! A WebSocket and HTTP client at the level of bytes: it sends what a library would refuse to send
//! (unmasked frames, reserved opcodes, fragments, invalid UTF-8) and reports what really arrived.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::recording::{Answer, Incoming, Outgoing};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;

/// Everything that has arrived, by connection.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<SeenInner>);

#[derive(Debug, Default)]
struct SeenInner {
    by_conn: Mutex<HashMap<String, Vec<Incoming>>>,
    changed: Notify,
}

impl Seen {
    /// Waits until `conn` has received `count` things. False when they did not come in time.
    pub async fn wait(&self, conn: &str, count: usize, patience: Duration) -> bool {
        let arrived = async {
            loop {
                let changed = self.0.changed.notified();
                if self.count(conn) >= count {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, arrived).await.is_ok()
    }

    pub fn count(&self, conn: &str) -> usize {
        self.0.by_conn.lock().get(conn).map_or(0, Vec::len)
    }

    pub fn of(&self, conn: &str) -> Vec<Incoming> {
        self.0.by_conn.lock().get(conn).cloned().unwrap_or_default()
    }

    pub fn conns(&self) -> Vec<String> {
        self.0.by_conn.lock().keys().cloned().collect()
    }

    pub fn push(&self, conn: &str, event: Incoming) {
        self.0
            .by_conn
            .lock()
            .entry(conn.to_owned())
            .or_default()
            .push(event);
        self.0.changed.notify_waiters();
    }
}

/// One open WebSocket. Dropping it drops the TCP connection.
pub struct Socket {
    writer: OwnedWriteHalf,
    reader: JoinHandle<()>,
    deflate: Option<Compress>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Socket {
    /// Sends the opening handshake and reports the answer; `None` if the server refused.
    pub async fn open(
        server: SocketAddr,
        target: &str,
        headers: &[(String, String)],
        subprotocols: &[String],
        conn: &str,
        seen: &Seen,
    ) -> Result<Option<Self>> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (read, mut writer) = stream.into_split();
        let mut read = BufReader::new(read);
        writer
            .write_all(opening(server, target, headers, subprotocols).as_bytes())
            .await?;
        let answer = read_answer(&mut read, false).await?;
        let accepted = answer.status == 101;
        let compressed = answer
            .headers
            .iter()
            .any(|(n, v)| n == "sec-websocket-extensions" && v.contains("permessage-deflate"));
        seen.push(conn, Incoming::Handshake(answer));
        if !accepted {
            return Ok(None);
        }
        let inflate = compressed.then(|| Decompress::new(false));
        let (name, seen) = (conn.to_owned(), seen.clone());
        let reader = tokio::spawn(async move {
            let end = read_frames(read, inflate, &name, &seen).await;
            if let Some(end) = end {
                seen.push(&name, end);
            }
        });
        let deflate = compressed.then(|| Compress::new(Compression::default(), false));
        Ok(Some(Self {
            writer,
            reader,
            deflate,
        }))
    }

    pub async fn send(&mut self, frame: &Outgoing) -> Result<()> {
        let bytes = match frame {
            Outgoing::Text(parts) => self.text(parts)?,
            Outgoing::Binary(data) => masked(FINAL | BINARY, data),
            Outgoing::Ping(data) => masked(FINAL | PING, data),
            Outgoing::Pong(data) => masked(FINAL | PONG, data),
            Outgoing::Raw(bytes) => bytes.clone(),
        };
        self.write(&bytes).await
    }

    pub async fn close(&mut self, code: Option<u16>, reason: &str) -> Result<()> {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend(code.to_be_bytes());
            payload.extend(reason.as_bytes());
        }
        self.write(&masked(FINAL | CLOSE, &payload)).await
    }

    /// A server that has closed the connection meanwhile makes writing fail; what it said before
    /// is what counts.
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(gone) = self.writer.write_all(bytes).await {
            ensure!(
                gone.kind() != std::io::ErrorKind::InvalidInput,
                "cannot write: {gone}"
            );
        }
        Ok(())
    }

    fn text(&mut self, parts: &[Vec<u8>]) -> Result<Vec<u8>> {
        if let (Some(deflate), [whole]) = (&mut self.deflate, parts) {
            return Ok(masked(
                FINAL | COMPRESSED | TEXT,
                &deflated(deflate, whole)?,
            ));
        }
        let mut bytes = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let opcode = if index == 0 { TEXT } else { CONTINUATION };
            let last = if index + 1 == parts.len() { FINAL } else { 0 };
            bytes.extend(masked(last | opcode, part));
        }
        Ok(bytes)
    }
}

/// One HTTP request on a connection of its own.
pub async fn request(
    server: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: Option<&str>,
) -> Result<Answer> {
    let (read, mut writer) = TcpStream::connect(server).await?.into_split();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {server}\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("connection"))
    {
        head.push_str("Connection: close\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(body.unwrap_or_default().as_bytes());
    // Writing goes on beside reading: a server may answer before it has taken a big body.
    let writing = tokio::spawn(async move {
        let sent = writer.write_all(&bytes).await;
        (writer, sent)
    });
    let answer = read_answer(&mut BufReader::new(read), method == "HEAD").await;
    writing.abort();
    answer
}

fn opening(
    server: SocketAddr,
    target: &str,
    headers: &[(String, String)],
    subprotocols: &[String],
) -> String {
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    );
    if !subprotocols.is_empty() {
        head.push_str(&format!(
            "Sec-WebSocket-Protocol: {}\r\n",
            subprotocols.join(",")
        ));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

async fn read_answer(read: &mut (impl AsyncBufRead + Unpin), head_only: bool) -> Result<Answer> {
    let mut line = String::new();
    read.read_line(&mut line).await?;
    let status = line
        .split(' ')
        .nth(1)
        .context("an answer begins with a status line")?
        .parse()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        ensure!(
            read.read_line(&mut line).await? > 0,
            "the answer ended within its headers"
        );
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok());
    let mut body = vec![
        0;
        if head_only || status == 101 {
            0
        } else {
            length.unwrap_or(0)
        }
    ];
    read.read_exact(&mut body).await?;
    Ok(Answer {
        status,
        headers,
        body: String::from_utf8(body)?,
    })
}

/// Reports frames until the connection ends; returns how it ended, unless that was reported.
async fn read_frames(
    mut read: BufReader<OwnedReadHalf>,
    mut inflate: Option<Decompress>,
    conn: &str,
    seen: &Seen,
) -> Option<Incoming> {
    let mut message: Option<(u8, Vec<u8>)> = None;
    loop {
        let Ok((first, payload)) = read_frame(&mut read).await else {
            return Some(Incoming::Close {
                code: 1006,
                reason: String::new(),
            });
        };
        match first & 0x0f {
            CLOSE => return Some(close_of(&payload)),
            PONG => seen.push(conn, Incoming::Pong(payload)),
            CONTINUATION => match &mut message {
                Some((_, bytes)) => bytes.extend(payload),
                None => return Some(Incoming::Text("a continuation of nothing".to_owned())),
            },
            opcode => message = Some((opcode | (first & COMPRESSED), payload)),
        }
        if first & FINAL == 0 {
            continue;
        }
        let Some((kind, bytes)) = message.take() else {
            continue;
        };
        seen.push(conn, message_of(kind, bytes, inflate.as_mut()));
    }
}

/// A violation of the protocol is reported as a text that no recording contains.
fn message_of(kind: u8, bytes: Vec<u8>, inflate: Option<&mut Decompress>) -> Incoming {
    let bytes = match (kind & COMPRESSED != 0, inflate) {
        (false, _) => Ok(bytes),
        (true, Some(inflate)) => inflated(inflate, bytes),
        (true, None) => Err(anyhow::anyhow!("compressed without negotiation")),
    };
    match (kind & 0x0f, bytes) {
        (BINARY, Ok(bytes)) => Incoming::Binary(bytes),
        (TEXT, Ok(bytes)) => match String::from_utf8(bytes) {
            Ok(text) => Incoming::Text(text),
            Err(bad) => Incoming::Text(format!("not UTF-8: {bad}")),
        },
        (opcode, Ok(_)) => Incoming::Text(format!("opcode {opcode}")),
        (_, Err(bad)) => Incoming::Text(format!("bad compression: {bad}")),
    }
}

async fn read_frame(read: &mut BufReader<OwnedReadHalf>) -> Result<(u8, Vec<u8>)> {
    let first = read.read_u8().await?;
    let length = match read.read_u8().await? {
        126 => usize::from(read.read_u16().await?),
        127 => usize::try_from(read.read_u64().await?)?,
        masked if masked & 0x80 != 0 => bail!("a server does not mask"),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    read.read_exact(&mut payload).await?;
    Ok((first, payload))
}

fn close_of(payload: &[u8]) -> Incoming {
    match payload {
        [high, low, reason @ ..] => Incoming::Close {
            code: u16::from_be_bytes([*high, *low]),
            reason: String::from_utf8_lossy(reason).into_owned(),
        },
        _ => Incoming::Close {
            code: 1005,
            reason: String::new(),
        },
    }
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ MASK[i % 4]),
    );
    frame
}

/// RFC 7692: the end of a deflated message, `00 00 ff ff`, is not sent.
const FLUSH_MARK: [u8; 4] = [0, 0, 0xff, 0xff];

fn deflated(deflate: &mut Compress, data: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() + 64);
    deflate.compress_vec(data, &mut out, FlushCompress::Sync)?;
    ensure!(
        out.ends_with(&FLUSH_MARK),
        "a synced block ends with its mark"
    );
    out.truncate(out.len() - FLUSH_MARK.len());
    Ok(out)
}

fn inflated(inflate: &mut Decompress, mut data: Vec<u8>) -> Result<Vec<u8>> {
    data.extend(FLUSH_MARK);
    let start = inflate.total_in();
    let mut out = Vec::with_capacity(data.len() * 4 + 64);
    loop {
        let taken = usize::try_from(inflate.total_in() - start)?;
        let before = out.len();
        inflate.decompress_vec(&data[taken..], &mut out, FlushDecompress::Sync)?;
        let done = usize::try_from(inflate.total_in() - start)? == data.len();
        if done && out.len() < out.capacity() {
            return Ok(out);
        }
        ensure!(
            out.len() == out.capacity() || out.len() > before || !done,
            "no progress"
        );
        out.reserve(out.capacity());
    }
}
