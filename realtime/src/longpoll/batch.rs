//! The body of a POST: one message, or one a line (protocol.md item 27).

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use quikapp_protocol::{DecodeError, Vsn, decode_binary, decode_text};

use crate::{errors::Reason, socket::Inbound};

/// What marks a batch; with a parameter it is another type, as in Phoenix.
const NDJSON: &[u8] = b"application/x-ndjson";

/// Phoenix drops further lines silently; here the batch is refused.
pub(super) const MAX_LINES: usize = 100;

/// A body of which nothing is taken. The text goes to the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadBatch {
    #[error("a batch may have {MAX_LINES} lines, this one has {0}; send it in parts")]
    TooManyLines(usize),
    #[error("line {line} is neither a JSON array nor base64")]
    NotBase64 { line: usize },
    #[error("message {line} cannot be decoded: {problem}")]
    Undecodable { line: usize, problem: DecodeError },
    #[error("message {line} is larger than {max} bytes")]
    TooLarge { line: usize, max: usize },
}

impl BadBatch {
    /// The stable name of the error.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::TooManyLines(_) => Reason::TooManyLines,
            Self::NotBase64 { .. } | Self::Undecodable { .. } => Reason::Undecodable,
            Self::TooLarge { .. } => Reason::PayloadTooLarge,
        }
    }
}

/// All messages of a body, or none. Each can be decoded, so that none can end the session.
pub(super) fn parse(
    vsn: Vsn,
    content_type: Option<&[u8]>,
    body: Bytes,
    max_message: usize,
) -> Result<Vec<Inbound>, BadBatch> {
    let parser = Parser { vsn, max_message };
    if content_type != Some(NDJSON) {
        return Ok(vec![parser.text(1, body)?]);
    }
    let lines = lines(&body);
    if lines.len() > MAX_LINES {
        return Err(BadBatch::TooManyLines(lines.len()));
    }
    let numbered = lines.into_iter().zip(1..);
    numbered
        .map(|(line, number)| parser.line(number, line))
        .collect()
}

struct Parser {
    vsn: Vsn,
    max_message: usize,
}

impl Parser {
    /// What begins with a bracket is a V2 message, anything else a binary frame in base64.
    fn line(&self, line: usize, bytes: Bytes) -> Result<Inbound, BadBatch> {
        if bytes.starts_with(b"[") {
            return self.text(line, bytes);
        }
        let frame = BASE64_STANDARD.decode(&bytes);
        let frame = Bytes::from(frame.map_err(|_| BadBatch::NotBase64 { line })?);
        self.check_size(line, &frame)?;
        decode_binary(self.vsn, frame.clone())
            .map_err(|problem| BadBatch::Undecodable { line, problem })?;
        Ok(Inbound::Binary(frame))
    }

    fn text(&self, line: usize, bytes: Bytes) -> Result<Inbound, BadBatch> {
        self.check_size(line, &bytes)?;
        decode_text(self.vsn, bytes.clone())
            .map_err(|problem| BadBatch::Undecodable { line, problem })?;
        Ok(Inbound::Text(bytes))
    }

    fn check_size(&self, line: usize, bytes: &Bytes) -> Result<(), BadBatch> {
        let max = self.max_message;
        if bytes.len() > max {
            return Err(BadBatch::TooLarge { line, max });
        }
        Ok(())
    }
}

/// Lines without their ends; what follows the last end is a line only if it is not empty.
fn lines(body: &Bytes) -> Vec<Bytes> {
    let mut lines: Vec<Bytes> = body
        .split(|byte| *byte == b'\n')
        .map(|line| body.slice_ref(line.strip_suffix(b"\r").unwrap_or(line)))
        .collect();
    if lines.last().is_some_and(Bytes::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PING: &str = r#"["1","8","room:nd","ping",{}]"#;
    const BINARY: &str = "AAEBBwcxNHJvb206bmR0eXBlX29mAQID";

    const MAX: usize = 1000;

    fn batch(body: &str) -> Result<Vec<Inbound>, BadBatch> {
        parse(Vsn::V2, Some(NDJSON), Bytes::from(body.to_owned()), MAX)
    }

    #[test]
    fn a_batch_mixes_text_and_binary_and_line_ends() {
        for (body, count) in [
            (PING.to_owned(), 1),
            (format!("{PING}\n{BINARY}\n{PING}"), 3),
            (format!("{PING}\r\n{PING}"), 2),
            (format!("{PING}\n"), 1),
            (String::new(), 0),
        ] {
            assert_eq!(batch(&body).unwrap().len(), count, "{body:?}");
        }
        let messages = batch(&format!("{PING}\n{BINARY}")).unwrap();
        assert!(
            matches!(&messages[..], [Inbound::Text(_), Inbound::Binary(frame)] if frame.ends_with(b"type_of\x01\x02\x03"))
        );
    }

    #[test]
    fn without_the_exact_type_the_body_is_one_message() {
        let body = Bytes::from_static(PING.as_bytes());
        for other in [
            None,
            Some(&b"application/json"[..]),
            Some(b"application/x-ndjson; charset=utf-8"),
        ] {
            assert_eq!(parse(Vsn::V2, other, body.clone(), MAX).unwrap().len(), 1);
            let two = Bytes::from(format!("{PING}\n{PING}"));
            assert!(parse(Vsn::V2, other, two, MAX).is_err());
        }
    }

    #[test]
    fn errors_name_the_line_and_nothing_is_taken() {
        let error = |body: &str| batch(body).unwrap_err().to_string();
        assert!(error("***").contains("line 1 is neither"));
        assert!(error(&format!("{PING}\n{{}}")).contains("line 2 is neither"));
        assert!(error(&format!("{PING}\n\n{PING}")).contains("message 2 cannot"));
        assert!(error(r#"["1","1","room:q"]"#).contains("message 1 cannot"));
        let plain =
            |body: &'static str| parse(Vsn::V2, None, Bytes::from_static(body.as_bytes()), MAX);
        assert!(plain("not json").is_err());
        assert!(plain("").is_err());
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        let long = format!(r#"["1","8","room:nd","ping","{}"]"#, "x".repeat(MAX));
        let error = batch(&format!("{PING}\n{long}")).unwrap_err();
        assert_eq!(error.reason(), Reason::PayloadTooLarge);
        assert!(error.to_string().contains("message 2"));
    }

    #[test]
    fn a_hundred_lines_pass_and_one_more_does_not() {
        let lines = |count| vec![PING; count].join("\n");
        assert_eq!(batch(&lines(100)).unwrap().len(), 100);
        let error = batch(&lines(101)).unwrap_err();
        assert_eq!(error.reason(), Reason::TooManyLines);
        assert!(error.to_string().contains("101"));
    }

    #[test]
    fn v1_objects_are_single_messages_only() {
        let object = Bytes::from_static(
            br#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#,
        );
        assert!(parse(Vsn::V1, None, object.clone(), MAX).is_ok());
        assert!(parse(Vsn::V1, Some(NDJSON), object, MAX).is_err());
    }
}
