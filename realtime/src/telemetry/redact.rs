//! Showing requests without their secrets.

use std::fmt::{self, Write as _};

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE},
};
use percent_encoding::percent_decode_str;

const HIDDEN: &str = "[redacted]";

/// Parts of the names of parameters and headers that may carry a credential.
const SECRET_WORDS: [&str; 8] = [
    "token",
    "ticket",
    "secret",
    "password",
    "auth",
    "signature",
    "cookie",
    "code",
];

/// Headers that do, whatever their name says.
const SECRET_HEADERS: [HeaderName; 5] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    SEC_WEBSOCKET_PROTOCOL,
];

/// A query string for a log: the values of secret parameters are hidden.
#[derive(Debug, Clone, Copy)]
pub struct Query<'q>(pub Option<&'q str>);

impl fmt::Display for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.0.unwrap_or_default().split('&');
        for (index, pair) in pairs.enumerate() {
            if index > 0 {
                f.write_char('&')?;
            }
            match pair.split_once('=') {
                Some((key, _)) if is_secret(key) => write!(f, "{key}={HIDDEN}")?,
                _ => f.write_str(pair)?,
            }
        }
        Ok(())
    }
}

/// Headers for a log: the values of secret ones are hidden.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'h>(pub &'h HeaderMap);

impl fmt::Display for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if SECRET_HEADERS.contains(name) || is_secret(name.as_str()) {
                write!(f, "{name}: {HIDDEN}")?;
            } else {
                write!(f, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
            }
        }
        Ok(())
    }
}

/// Whether a name, percent-encoded or not, is one of a credential.
fn is_secret(name: &str) -> bool {
    let name = percent_decode_str(name)
        .decode_utf8_lossy()
        .to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn credentials_in_queries_are_hidden() {
        for (query, shown) in [
            ("token=s3cret&vsn=2.0.0", "token=[redacted]&vsn=2.0.0"),
            ("auth_token=s3cret", "auth_token=[redacted]"),
            ("to%6ben=s3cret", "to%6ben=[redacted]"),
            (
                "TICKET=s3cret&token=s3cret",
                "TICKET=[redacted]&token=[redacted]",
            ),
            ("params[token]=s3cret", "params[token]=[redacted]"),
            ("limit=5", "limit=5"),
            ("", ""),
        ] {
            assert_eq!(Query(Some(query)).to_string(), shown);
        }
        assert_eq!(Query(None).to_string(), "");
    }

    #[test]
    fn credentials_in_headers_are_hidden() {
        let mut headers = HeaderMap::new();
        let named = |name: &'static str| HeaderName::from_static(name);
        headers.insert(AUTHORIZATION, "Bearer s3cret".parse().unwrap());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, "phoenix, s3cret".parse().unwrap());
        headers.insert(named("x-phoenix-authtoken"), "s3cret".parse().unwrap());
        headers.insert(named("x-phoenix-longpoll-token"), "s3cret".parse().unwrap());
        headers.insert(COOKIE, "s3cret".parse().unwrap());
        headers.insert(named("accept"), "text/html".parse().unwrap());
        let shown = Headers(&headers).to_string();
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("accept: text/html"), "{shown}");
    }
}
