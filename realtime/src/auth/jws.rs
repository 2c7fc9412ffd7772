//! The compact serialization of a signed token (RFC 7515, section 7.1), before anything in it is
//! believed. Pure, and a leaf: the fuzzer includes this file alone.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// Longer texts are not looked at.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Headers that would let the token bring or choose its own key, or that change what is signed.
pub(crate) const REFUSED_HEADERS: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "crit", "b64"];

/// Why a text is not looked at any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JwsError {
    /// Not three parts of base64url, the first a JSON object; or too long.
    Malformed,
    /// The token brings or names a key of its own.
    HeaderRefused(&'static str),
}

/// The three parts of a token.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    header: Header,
    /// The claims, decoded from base64url and not parsed.
    pub(crate) claims: Vec<u8>,
    /// What the signature is over.
    pub(crate) signed: &'a str,
    /// The signature, in base64url.
    pub(crate) signature: &'a str,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| JwsError::Malformed)?;
        if let Some(name) = header.refused {
            return Err(JwsError::HeaderRefused(name));
        }
        Ok(Self {
            header,
            claims: decode(claims)?,
            signed,
            signature,
        })
    }

    /// The algorithm that the token names.
    pub(crate) fn algorithm(&self) -> Option<&str> {
        self.header.alg.as_ref()?.as_str()
    }

    /// The key that the token names, if it names one.
    pub(crate) fn kid(&self) -> Result<Option<&str>, JwsError> {
        match &self.header.kid {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(JwsError::Malformed),
        }
    }
}

/// What is looked at of the header. Of what stands there twice the last counts (RFC 7515, section
/// 4).
#[derive(Debug, Default)]
struct Header {
    alg: Option<Value>,
    kid: Option<Value>,
    refused: Option<&'static str>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            // Each value is looked through, so that the whole header is valid JSON.
            let value: Value = map.next_value()?;
            match name.as_str() {
                "alg" => header.alg = Some(value),
                "kid" => header.kid = Some(value),
                other => {
                    let refused = REFUSED_HEADERS.into_iter().find(|it| *it == other);
                    header.refused = header.refused.or(refused);
                }
            }
        }
        Ok(header)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwsError::Malformed)
}
