//! The compact serialization of a signed token (RFC 7515, section 7.1), before anything in it is
//! believed. Pure, and a leaf: the fuzzer includes this file alone.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

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
    header: Map<String, Value>,
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
        let header = serde_json::from_slice(&decode(header)?).map_err(|_| JwsError::Malformed)?;
        refuse_keys(&header)?;
        Ok(Self {
            header,
            claims: decode(claims)?,
            signed,
            signature,
        })
    }

    /// The algorithm that the token names.
    pub(crate) fn algorithm(&self) -> Option<&str> {
        self.header.get("alg").and_then(Value::as_str)
    }

    /// The key that the token names, if it names one.
    pub(crate) fn kid(&self) -> Result<Option<&str>, JwsError> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(JwsError::Malformed),
        }
    }
}

fn refuse_keys(header: &Map<String, Value>) -> Result<(), JwsError> {
    let refused = REFUSED_HEADERS
        .into_iter()
        .find(|name| header.contains_key(*name));
    refused.map_or(Ok(()), |name| Err(JwsError::HeaderRefused(name)))
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwsError::Malformed)
}
