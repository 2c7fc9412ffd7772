//! What must hold for any text that is sent as a token. Shared by the fuzz target and the corpus
//! replay in `realtime/tests/token_corpus.rs`.
//!
//! The input is a header, a line feed, and claims, as JSON: so the fuzzer need not find base64. An
//! input without a line feed is the token itself.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::jws::{Jws, JwsError, MAX_TOKEN_BYTES, REFUSED_HEADERS};

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match text.split_once('\n') {
        None => check_token(text),
        Some((header, claims)) => check_parts(header, claims),
    }
}

fn check_token(token: &str) {
    let Ok(jws) = Jws::parse(token) else {
        return;
    };
    assert!(token.len() <= MAX_TOKEN_BYTES);
    assert_eq!(format!("{}.{}", jws.signed, jws.signature), token);
    assert!(!jws.signature.contains('.'));
    let _ = (jws.algorithm(), jws.kid());
}

fn check_parts(header: &str, claims: &str) {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let token = format!("{}.{}.c2ln", part(header), part(claims));
    check_token(&token);
    let parsed = Jws::parse(&token);
    let object = serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(header);
    let Ok(object) = object else {
        assert!(parsed.is_err(), "a header is a JSON object");
        return;
    };
    let refused = REFUSED_HEADERS
        .iter()
        .any(|name| object.contains_key(*name));
    match parsed {
        Ok(jws) => {
            assert!(!refused, "a token may not bring a key");
            assert_eq!(jws.claims, claims.as_bytes());
        }
        Err(JwsError::HeaderRefused(name)) => assert!(object.contains_key(name)),
        Err(JwsError::Malformed) => assert!(token.len() > MAX_TOKEN_BYTES),
    }
}
