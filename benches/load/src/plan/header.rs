//! Headers that are added to every request to the target, for gateways before it.

use std::{convert::Infallible, fmt, str::FromStr};

use anyhow::{Context, anyhow, bail};
use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use serde::{Deserialize, Serialize, Serializer};

/// What the handshake says itself, or what would make another request of it.
const RESERVED: [HeaderName; 9] = [
    HOST,
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
];

/// A header as it was given, `Name: value`. Its value may be a secret: it is in no report, in no
/// error, and not shown with `{:?}`; so it is not looked at before all errors are ours.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Header(String);

impl Header {
    /// What stands before the colon, or nothing where there is none.
    fn name(&self) -> &str {
        self.0.split_once(':').map_or("", |(name, _)| name.trim())
    }

    fn read(&self) -> anyhow::Result<(HeaderName, HeaderValue)> {
        let (name, value) = self
            .0
            .split_once(':')
            .context("a header is given as `Name: value`")?;
        let name = name.trim();
        let read = HeaderName::from_str(name);
        let read = read.map_err(|_| anyhow!("{name:?} is no name of a header"))?;
        if RESERVED.contains(&read) {
            bail!("{name} is the handshake's own, and cannot be given");
        }
        let value = HeaderValue::from_str(value.trim());
        let mut value = value.map_err(|_| anyhow!("{name}: a value is of visible ASCII"))?;
        value.set_sensitive(true);
        Ok((read, value))
    }
}

/// The headers as they are sent. Of one name the last counts, as that of the command line does
/// over the file's.
///
/// # Errors
/// When one is malformed, or the handshake's own.
pub(crate) fn read_headers(given: &[Header]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (number, header) in (1..).zip(given) {
        let (name, value) = header
            .read()
            .with_context(|| format!("--header {number}"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

impl FromStr for Header {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ...", self.name())
    }
}

/// The name only.
impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(given: &[&str]) -> Result<HeaderMap, String> {
        let given: Vec<Header> = given.iter().map(|text| text.parse().unwrap()).collect();
        read_headers(&given).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn names_and_values() {
        let headers = read(&["X-Key:  a: b ", "Origin: http://x", "x-key: c"]).unwrap();
        assert_eq!(headers["x-key"], "c", "the last of its name");
        assert_eq!(headers["origin"], "http://x");
        assert_eq!(headers.len(), 2);
        assert_eq!(read(&["X-Empty:"]).unwrap()["x-empty"], "");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_showing_it() {
        for (given, why) in [
            ("s3cret", "`Name: value`"),
            ("X Key: s3cret", "\"X Key\" is no name"),
            (": s3cret", "is no name"),
            (
                "X-Key: s3cret\r\nHost: y",
                "X-Key: a value is of visible ASCII",
            ),
            ("host: s3cret", "host is the handshake's own"),
            ("Sec-WebSocket-Key: s3cret", "the handshake's own"),
            ("Transfer-Encoding: s3cret", "the handshake's own"),
        ] {
            let error = read(&["X-Fine: 1", given]).unwrap_err();
            assert!(error.contains(why), "{given}: {error}");
            assert!(error.contains("--header 2"), "{given}: {error}");
            assert!(!error.contains("s3cret"), "{given}: {error}");
        }
    }

    #[test]
    fn values_are_not_shown() {
        let header: Header = "X-Key: s3cret".parse().unwrap();
        assert_eq!(format!("{header:?}"), "X-Key: ...");
        assert_eq!(serde_json::to_string(&header).unwrap(), r#""X-Key""#);
        let unnamed: Header = "s3cret".parse().unwrap();
        assert!(!format!("{unnamed:?}").contains("s3cret"));
        let sent = read(&["X-Key: s3cret"]).unwrap();
        assert!(!format!("{sent:?}").contains("s3cret"));
    }
}
