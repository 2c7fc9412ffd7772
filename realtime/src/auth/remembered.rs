//! Tokens that were verified a while ago: people come back with the token that they had, thousands
//! of them at once after a network fails, and have several sockets with one (docs/adr/0027).
//!
//! Only what never changes is remembered: that a token verifies with these keys, and what it says.
//! Its time and its revocation are looked at each time. It is known by its hash, so that none
//! lies here to be taken.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use quick_cache::sync::Cache;
use quikapp_storage::Timestamp;

use super::{Principal, jws::MAX_TOKEN_BYTES};

/// A bounded number of tokens, the ones that are asked for again and again.
pub(super) struct Remembered(Option<Cache<TokenHash, Arc<Verified>>>);

/// SHA-256 of a token, with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; SHA256_OUTPUT_LEN]);

struct Verified {
    principal: Principal,
    key_set: u64,
    at: Timestamp,
}

impl Remembered {
    /// About so many at most; none if that is 0.
    pub(super) fn new(capacity: usize) -> Self {
        Self((capacity > 0).then(|| Cache::new(capacity)))
    }

    /// By what a token would be known; `None` if it is not to be remembered.
    pub(super) fn hash(&self, token: &str) -> Option<TokenHash> {
        if self.0.is_none() || token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let hash = digest(&SHA256, token.as_bytes());
        hash.as_ref().try_into().ok().map(TokenHash)
    }

    /// Whom a token stands for, if it was verified with keys that are still in use. A clock that
    /// went back behind that moment makes it unknown, as the end of its time does.
    pub(super) fn find(
        &self,
        token: &TokenHash,
        now: Timestamp,
        is_in_use: impl FnOnce(u64) -> bool,
    ) -> Option<Principal> {
        let known = self.0.as_ref()?.get(token)?;
        let is_time = known.at <= now && now < known.principal.expires_at;
        (is_time && is_in_use(known.key_set)).then(|| known.principal.clone())
    }

    /// Remembers a token that a set of keys has verified at a moment, by the set's number: the keys
    /// themselves do not stay.
    pub(super) fn keep(
        &self,
        token: TokenHash,
        principal: &Principal,
        key_set: u64,
        at: Timestamp,
    ) {
        if let Some(cache) = &self.0 {
            let principal = principal.clone();
            let verified = Verified {
                principal,
                key_set,
                at,
            };
            cache.insert(token, Arc::new(verified));
        }
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map(Cache::len);
        f.debug_tuple("Remembered").field(&count).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quikapp_storage::{Person, UserId, WorkspaceId};

    use super::*;
    use crate::auth::{AccountRole, Rooms};

    const THEN: Timestamp = Timestamp(1_000);
    const END: Timestamp = Timestamp(9_000);

    fn ada() -> Principal {
        Principal {
            person: Person {
                workspace: WorkspaceId::new("acme").unwrap(),
                user: UserId::new("ada").unwrap(),
            },
            device: None,
            role: AccountRole::Member,
            rooms: Rooms::default(),
            jti: "t-1".into(),
            issued_at: Timestamp(0),
            expires_at: END,
        }
    }

    #[test]
    fn a_token_is_known_from_when_it_was_verified_until_it_ends() {
        let remembered = Remembered::new(10);
        let token = remembered.hash("a.b.c").unwrap();
        remembered.keep(token, &ada(), 7, THEN);
        let at = |now| remembered.find(&token, Timestamp(now), |_| true);
        assert_eq!(at(1_000), Some(ada()));
        assert_eq!(at(8_999), Some(ada()));
        assert_eq!(at(9_000), None);
        assert_eq!(at(999), None, "the clock went back");
    }

    #[test]
    fn it_is_known_only_as_a_whole_and_with_keys_in_use() {
        let remembered = Remembered::new(10);
        let token = remembered.hash("a.b.c").unwrap();
        remembered.keep(token, &ada(), 7, THEN);
        let other = remembered.hash("a.b.d").unwrap();
        assert_eq!(remembered.find(&other, THEN, |_| true), None);
        let in_use = |number| remembered.find(&token, THEN, |key_set| key_set == number);
        assert_eq!(in_use(7), Some(ada()));
        assert_eq!(in_use(8), None);
    }

    #[test]
    fn no_more_are_remembered_than_may_be_and_none_if_it_is_off() {
        let remembered = Remembered::new(100);
        for n in 0..10_000 {
            let token = remembered.hash(&format!("a.b.{n}")).unwrap();
            remembered.keep(token, &ada(), 7, THEN);
        }
        let count = remembered.0.as_ref().unwrap().len();
        assert!((1..=100).contains(&count), "{count}");
        assert_eq!(Remembered::new(0).hash("a.b.c"), None);
        let long = "x".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(remembered.hash(&long), None);
    }
}
