//! The opening handshake of RFC 6455, section 4.2.

use std::{
    cell::RefCell,
    time::{Duration, UNIX_EPOCH},
};

use axum::{body::Body, response::Response};
use http::{
    HeaderName, HeaderValue, StatusCode, Version,
    header::{
        CACHE_CONTROL, CONNECTION, DATE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request::Parts,
};
use quikapp_storage::Timestamp;
use tungstenite::handshake::derive_accept_key;

use super::answer::PRIVATE;

/// Why a request is no WebSocket handshake: HTTP 400 with this text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NotAHandshake {
    #[error("HTTP version {0:?} unsupported")]
    Version(Version),
    #[error("'{name}' header is absent")]
    Absent { name: HeaderName },
    #[error("'{name}' header must contain '{expected}', got {got:?}")]
    Lacks {
        name: HeaderName,
        expected: &'static str,
        got: Vec<String>,
    },
    #[error("'{name}' header must equal '{expected}', got {got:?}")]
    Differs {
        name: HeaderName,
        expected: &'static str,
        got: Vec<String>,
    },
}

/// A valid opening request, and what the answer will say.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: String,
}

impl Handshake {
    /// Checks the request, in the order in which the reference server does.
    pub(crate) fn of(request: &Parts) -> Result<Self, NotAHandshake> {
        if request.version < Version::HTTP_11 {
            return Err(NotAHandshake::Version(request.version));
        }
        present(request, HOST)?;
        contains(request, CONNECTION, "upgrade")?;
        contains(request, UPGRADE, "websocket")?;
        let key = present(request, SEC_WEBSOCKET_KEY)?;
        equals(request, SEC_WEBSOCKET_VERSION, "13")?;
        Ok(Self {
            accept: derive_accept_key(key.as_bytes()),
        })
    }

    /// 101.
    pub(crate) fn accept(
        self,
        now: Timestamp,
        subprotocol: Option<&str>,
        extensions: Option<&str>,
    ) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(CACHE_CONTROL, PRIVATE);
        headers.insert(DATE, date(now));
        let optional = [
            (SEC_WEBSOCKET_ACCEPT, Some(self.accept.as_str())),
            (SEC_WEBSOCKET_PROTOCOL, subprotocol),
            (SEC_WEBSOCKET_EXTENSIONS, extensions),
        ];
        for (name, value) in optional {
            if let Some(value) = value.and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Seconds since 1970.
const END_OF_9999: u64 = 253_402_300_799;

/// As HTTP writes it (RFC 9110, section 5.6.7).
fn date(now: Timestamp) -> HeaderValue {
    thread_local! {
        /// The last second that this thread was asked for.
        static LAST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
    }
    // There is no form for what comes after.
    let second = (now.since_ms(Timestamp(0)) / 1000).min(END_OF_9999);
    LAST.with_borrow_mut(|last| match last {
        Some((of, date)) if *of == second => date.clone(),
        _ => {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            let date = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
            *last = Some((second, date.clone()));
            date
        }
    })
}

fn present(request: &Parts, name: HeaderName) -> Result<&HeaderValue, NotAHandshake> {
    match request.headers.get(&name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(NotAHandshake::Absent { name }),
    }
}

fn contains(
    request: &Parts,
    name: HeaderName,
    expected: &'static str,
) -> Result<(), NotAHandshake> {
    let given = request.headers.get_all(&name);
    let is_expected = |value: &HeaderValue| {
        let mut tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(expected.as_bytes()))
    };
    if given.iter().any(is_expected) {
        return Ok(());
    }
    let got = values(request, &name);
    Err(match got.is_empty() {
        true => NotAHandshake::Absent { name },
        false => NotAHandshake::Lacks {
            name,
            expected,
            got,
        },
    })
}

fn equals(request: &Parts, name: HeaderName, expected: &'static str) -> Result<(), NotAHandshake> {
    let mut given = request.headers.get_all(&name).iter();
    match (given.next(), given.next()) {
        (None, _) => Err(NotAHandshake::Absent { name }),
        (Some(only), None) if only == expected => Ok(()),
        _ => {
            let got = values(request, &name);
            Err(NotAHandshake::Differs {
                name,
                expected,
                got,
            })
        }
    }
}

fn values(request: &Parts, name: &HeaderName) -> Vec<String> {
    let all = request.headers.get_all(name).into_iter();
    all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const VALID: [(&str, &str); 5] = [
        ("host", "localhost"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn check(change: &str, value: Option<&str>) -> Result<Handshake, NotAHandshake> {
        let mut request = http::Request::builder();
        for (name, valid) in VALID {
            match (name == change, value) {
                (false, _) => request = request.header(name, valid),
                (true, Some(value)) => request = request.header(name, value),
                (true, None) => {}
            }
        }
        Handshake::of(&request.body(()).unwrap().into_parts().0)
    }

    fn error(change: &str, value: Option<&str>) -> String {
        check(change, value).unwrap_err().to_string()
    }

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        let now = Timestamp(784_111_777_999);
        let response = check("", None).unwrap().accept(now, Some("mqtt"), None);
        // RFC 9110 itself dates its example so.
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(response.headers()["date"], date);
        let mad = super::date(Timestamp(i64::MAX));
        assert_eq!(mad, "Fri, 31 Dec 9999 23:59:59 GMT");
        let header = |name| response.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!(
            header(SEC_WEBSOCKET_ACCEPT),
            Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..])
        );
        assert_eq!(header(SEC_WEBSOCKET_PROTOCOL), Some(&b"mqtt"[..]));
        assert_eq!(header(SEC_WEBSOCKET_EXTENSIONS), None);
    }

    #[test]
    fn the_recorded_texts_are_given() {
        assert_eq!(
            error("connection", Some("close")),
            r#"'connection' header must contain 'upgrade', got ["close"]"#
        );
        assert_eq!(
            error("sec-websocket-version", Some("8")),
            r#"'sec-websocket-version' header must equal '13', got ["8"]"#
        );
        assert_eq!(
            error("sec-websocket-key", None),
            "'sec-websocket-key' header is absent"
        );
        assert_eq!(error("upgrade", None), "'upgrade' header is absent");
        assert_eq!(error("host", None), "'host' header is absent");
    }
}
