//! Session tokens: opaque to clients, signed, so that a guess costs no lookup.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use quikapp_actors::fanout::NodeId;

/// A session of some process, unguessable.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionId([u8; 16]);

impl SessionId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }
}

/// Never prints the id, which is all that a thief needs to forge a poll.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// Signs and checks session tokens.
#[derive(Clone)]
pub(crate) struct TokenKey(hmac::Key);

/// Keeps these signatures apart from others that the same secret may make.
const PURPOSE: &[u8] = b"quikapp longpoll session v2";

/// A key of a purpose's own, derived from a secret that serves others, too.
pub(super) fn key_for(purpose: &[u8], secret: &[u8]) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

impl TokenKey {
    /// Nodes with the same secret accept each other's tokens.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(key_for(PURPOSE, secret))
    }

    /// For sessions that no other process knows.
    pub(crate) fn random() -> Self {
        Self::new(&rand::random::<[u8; 32]>())
    }

    pub(super) fn sign(&self, node: NodeId, id: SessionId) -> String {
        let named = [&node.0.to_be_bytes()[..], &id.0].concat();
        let signature = hmac::sign(&self.0, &named);
        BASE64_URL_SAFE_NO_PAD.encode([&named, signature.as_ref()].concat())
    }

    /// The session and its node, if we or who shares the secret made the token.
    pub(super) fn verify(&self, token: &str) -> Option<(NodeId, SessionId)> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (named, signature) = bytes.split_first_chunk::<24>()?;
        hmac::verify(&self.0, named, signature).ok()?;
        let (node, id) = named.split_first_chunk()?;
        Some((
            NodeId(u64::from_be_bytes(*node)),
            SessionId(id.try_into().ok()?),
        ))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_was_signed_with_the_secret_is_accepted() {
        let key = TokenKey::new(b"secret");
        let (node, id) = (NodeId(7), SessionId::random());
        let token = key.sign(node, id);
        let verified = TokenKey::new(b"secret").verify(&token);
        assert_eq!(verified, Some((node, id)));
        assert_eq!(TokenKey::new(b"other").verify(&token), None);
        for index in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(key.verify(&forged), None, "changed at {index}");
        }
        for junk in ["", "garbage", "tok-a", &token[..token.len() - 4]] {
            assert_eq!(key.verify(junk), None);
        }
    }
}
