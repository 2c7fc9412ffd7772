//! Showing requests without their secrets.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest;
use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE},
};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

const HIDDEN: &str = "[redacted]";
/// Of a hash this is shown: enough to find an id again by.
const HASH_BYTES: usize = 6;

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

/// A token's id for a log. As given only if it has the form of those that are minted here: what
/// somebody takes for an id may be a token.
#[derive(Debug, Clone, Copy)]
pub struct TokenId<'i>(pub &'i str);

impl fmt::Display for TokenId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_minted_id(self.0) {
            return f.write_str(self.0);
        }
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        write!(f, "{} bytes, sha256 ", self.0.len())?;
        let mut some = hash.as_ref().iter().take(HASH_BYTES);
        some.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn is_minted_id(id: &str) -> bool {
    Uuid::try_parse(id)
        .is_ok_and(|parsed| parsed.get_version_num() == 4 && parsed.hyphenated().to_string() == id)
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
    fn an_id_is_shown_if_it_is_one() {
        let minted = Uuid::new_v4().to_string();
        assert_eq!(TokenId(&minted).to_string(), minted);
        let shouted = minted.to_uppercase();
        let twice = format!("{minted}{minted}");
        for other in ["eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVk", &shouted, &twice] {
            let shown = TokenId(other).to_string();
            assert!(!shown.contains(&other[..8]), "{shown}");
            let length = format!("{} bytes, sha256 ", other.len());
            let hash = shown.strip_prefix(&length).unwrap();
            assert_eq!(hash.len(), 2 * HASH_BYTES, "{shown}");
        }
        // As `printf %s ... | sha256sum` has it.
        assert_eq!(TokenId("abc").to_string(), "3 bytes, sha256 ba7816bf8f01");
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
