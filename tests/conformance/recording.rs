//! Reads one recording: what a client of a real Phoenix sent, and what came back.
//!
//! The line format stands in `recordings/README.md`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// One recorded scenario.
#[derive(Debug)]
pub struct Recording {
    pub name: String,
    pub lines: Vec<Line>,
}

/// One line of it.
#[derive(Debug)]
pub struct Line {
    /// Where it stands in the file, from 1.
    pub number: usize,
    /// Since the start of the scenario.
    pub at: Duration,
    /// The connection, by the name the recording gives it.
    pub conn: String,
    pub step: Step,
}

/// What a line says.
#[derive(Debug)]
pub enum Step {
    /// A remark of the recorder; it changes nothing on the wire.
    Note,
    /// The client opens a WebSocket.
    Open {
        target: String,
        headers: Vec<(String, String)>,
        subprotocols: Vec<String>,
    },
    /// The client sends a frame, or bytes that are none.
    Send(Outgoing),
    /// The client sends a close frame.
    Close { code: Option<u16>, reason: String },
    /// The client drops the TCP connection.
    Drop,
    /// The client sends a plain HTTP request.
    Request {
        method: String,
        target: String,
        headers: Vec<(String, String)>,
        body: Option<String>,
    },
    /// The server says something.
    Receive(Incoming),
}

/// What a client can put on a WebSocket.
#[derive(Debug)]
pub enum Outgoing {
    /// A text message in one or several fragments, as bytes because some are not UTF-8.
    Text(Vec<Vec<u8>>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Bytes on the socket, without framing.
    Raw(Vec<u8>),
}

/// What a server can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Handshake(Answer),
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame; 1006 is a TCP connection that ended without one, 1005 one without a code.
    Close {
        code: u16,
        reason: String,
    },
    Http(Answer),
}

/// The answer to an HTTP request or to a handshake. Header names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Recording {
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut name = String::new();
        let mut lines: Vec<Line> = Vec::new();
        for (index, text) in text.lines().enumerate() {
            if index == 0 {
                name = serde_json::from_str::<Meta>(text)?.scenario;
                continue;
            }
            // The recorded client gave up by itself: what its library then reports is no answer
            // of the server.
            let gave_up = lines
                .last()
                .is_some_and(|last| matches!(last.step, Step::Drop));
            let line = Line::parse(text, index + 1, gave_up);
            lines.push(line.with_context(|| format!("{name} line {}", index + 1))?);
        }
        Ok(Self { name, lines })
    }
}

impl Line {
    pub fn parse(text: &str, number: usize, gave_up: bool) -> Result<Self> {
        let raw: RawLine = serde_json::from_str(text)?;
        let step = raw.step(gave_up)?;
        Ok(Self {
            number,
            at: Duration::from_millis(raw.ms),
            conn: raw.conn,
            step,
        })
    }
}

/// The first line of a recording.
#[derive(Debug, Deserialize)]
struct Meta {
    scenario: String,
}

/// A line as it stands in the file.
#[derive(Debug, Deserialize)]
struct RawLine {
    #[serde(rename = "type")]
    kind_of_line: String,
    #[serde(default)]
    ms: u64,
    #[serde(default)]
    conn: String,
    dir: Option<String>,
    kind: Option<String>,
    url: Option<String>,
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    headers: serde_json::Map<String, Value>,
    #[serde(default)]
    subprotocols: Vec<String>,
    status: Option<u16>,
    http_status: Option<u16>,
    body: Option<Value>,
    data: Option<String>,
    data_head: Option<String>,
    data_len: Option<usize>,
    hex: Option<String>,
    hex_head: Option<String>,
    len: Option<usize>,
    fragmented: Option<Vec<String>>,
    fragmented_sizes: Option<Vec<usize>>,
    code: Option<u16>,
    reason: Option<String>,
}

impl RawLine {
    fn step(&self, gave_up: bool) -> Result<Step> {
        let from_server = self.dir.as_deref() != Some("c2s");
        Ok(match self.kind_of_line.as_str() {
            "note" => Step::Note,
            "client_error" => Step::Drop,
            "close" if gave_up => Step::Note,
            "close" if from_server => Step::Receive(Incoming::Close {
                code: self.code.unwrap_or(1005),
                reason: self.reason.clone().unwrap_or_default(),
            }),
            "close" => Step::Close {
                code: self.code,
                reason: self.reason.clone().unwrap_or_default(),
            },
            "handshake" if from_server => {
                Step::Receive(Incoming::Handshake(self.answer(self.status)?))
            }
            "handshake" => Step::Open {
                target: path_of(self.url.as_deref().context("a handshake has a url")?)?,
                headers: self.headers(),
                subprotocols: self.subprotocols.clone(),
            },
            "http" if from_server => Step::Receive(Incoming::Http(self.answer(self.http_status)?)),
            "http" => Step::Request {
                method: self.method.clone().context("a request has a method")?,
                target: self.path.clone().context("a request has a path")?,
                headers: self.headers(),
                body: self.request_body()?,
            },
            "frame" if from_server => Step::Receive(self.received_frame()?),
            "frame" => Step::Send(self.sent_frame()?),
            other => bail!("unknown line type {other}"),
        })
    }

    fn headers(&self) -> Vec<(String, String)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    fn answer(&self, status: Option<u16>) -> Result<Answer> {
        Ok(Answer {
            status: status.context("an answer has a status")?,
            headers: self
                .headers()
                .into_iter()
                .map(|(n, v)| (n.to_ascii_lowercase(), v))
                .collect(),
            body: self
                .body
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// Big bodies are recorded by their head and length.
    fn request_body(&self) -> Result<Option<String>> {
        Ok(match &self.body {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(big) => {
                let head = big["head"].as_str().context("a big body has a head")?;
                let len = big["len"].as_u64().context("a big body has a length")?;
                Some(stretch(head, usize::try_from(len)?))
            }
        })
    }

    fn received_frame(&self) -> Result<Incoming> {
        Ok(match self.kind.as_deref() {
            Some("text") => Incoming::Text(self.data.clone().context("a text frame has data")?),
            Some("binary") => Incoming::Binary(self.bytes()?),
            Some("pong") => Incoming::Pong(self.bytes()?),
            other => bail!("a server does not send {other:?}"),
        })
    }

    fn sent_frame(&self) -> Result<Outgoing> {
        Ok(match self.kind.as_deref() {
            Some("text") => Outgoing::Text(self.fragments()?),
            Some("binary") => Outgoing::Binary(self.bytes()?),
            Some("ping") => Outgoing::Ping(self.bytes()?),
            Some("pong") => Outgoing::Pong(self.bytes()?),
            Some("raw") => Outgoing::Raw(self.bytes()?),
            other => bail!("unknown kind of frame {other:?}"),
        })
    }

    fn fragments(&self) -> Result<Vec<Vec<u8>>> {
        if let Some(parts) = &self.fragmented {
            return Ok(parts.iter().map(|part| part.clone().into_bytes()).collect());
        }
        if self.hex.is_some() {
            return Ok(vec![self.bytes()?]);
        }
        if let Some(data) = &self.data {
            return Ok(vec![data.clone().into_bytes()]);
        }
        let head = self
            .data_head
            .as_deref()
            .unwrap_or(r#"["1","2","room:z","type_of",{"p":"x"#);
        let text = stretch(head, self.data_len.context("a big frame has a length")?);
        Ok(cut(
            text.as_bytes(),
            self.fragmented_sizes.as_deref().unwrap_or(&[text.len()]),
        ))
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        if let Some(hex) = &self.hex {
            return unhex(hex);
        }
        let mut bytes = unhex(
            self.hex_head
                .as_deref()
                .context("a binary frame has bytes")?,
        )?;
        let filler = *bytes.last().context("a head is not empty")?;
        bytes.resize(self.len.context("a big frame has a length")?, filler);
        Ok(bytes)
    }
}

/// A recorded big message is its head, more of the head's last letter, and the ends of the open
/// string, object and array.
fn stretch(head: &str, len: usize) -> String {
    const END: &str = r#""}]"#;
    let mut text = String::with_capacity(len);
    text.push_str(head);
    let filler = head.chars().last().unwrap_or('x');
    text.extend(std::iter::repeat_n(
        filler,
        len.saturating_sub(head.len() + END.len()),
    ));
    text.push_str(END);
    text
}

fn cut(mut bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        let (part, rest) = bytes.split_at(*size);
        parts.push(part.to_vec());
        bytes = rest;
    }
    parts
}

fn path_of(url: &str) -> Result<String> {
    let (_, rest) = url.split_once("://").context("a url has a scheme")?;
    let start = rest.find('/').context("a url has a path")?;
    Ok(rest[start..].to_owned())
}

fn unhex(hex: &str) -> Result<Vec<u8>> {
    (0..hex.len())
        .step_by(2)
        .map(|i| {
            u8::from_str_radix(
                hex.get(i..i + 2).context("an odd number of hex digits")?,
                16,
            )
            .context("hex")
        })
        .collect()
}
