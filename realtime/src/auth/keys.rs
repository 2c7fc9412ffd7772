//! The keys that tokens are verified with. A key is bound to its algorithms, so that what is
//! public can never serve as an HMAC secret.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// RSA moduli below 2048 bits are not used (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// How many keys are tried for a token that names none.
const MAX_TRIED: usize = 4;

/// A signature algorithm that may be accepted. Others do not exist here, `none` least of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::ES256,
        Self::EdDSA,
    ];

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    pub(super) fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::HS256,
            Algorithm::HS384 => Self::HS384,
            Algorithm::HS512 => Self::HS512,
            Algorithm::RS256 => Self::RS256,
            Algorithm::ES256 => Self::ES256,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
}

/// Keys that are in use together, with a number that no other set of this process has, also of the
/// same keys.
#[derive(Clone)]
pub(super) struct KeySet {
    keys: Arc<[VerifyingKey]>,
    number: u64,
}

impl KeySet {
    pub(super) fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        static SETS: AtomicU64 = AtomicU64::new(0);
        Self {
            keys: keys.into_iter().collect(),
            number: SETS.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Deref for KeySet {
    type Target = [VerifyingKey];

    fn deref(&self) -> &[VerifyingKey] {
        &self.keys
    }
}

/// A key and the algorithms it may be used with.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    kid: Option<String>,
    key: Key,
}

#[derive(Clone)]
enum Key {
    /// A secret, ready for each algorithm: a token costs only what it says itself.
    Hmac(Arc<HmacKeys>),
    Public(Algorithm, DecodingKey),
}

struct HmacKeys {
    hs256: hmac::Key,
    hs384: hmac::Key,
    hs512: hmac::Key,
}

impl HmacKeys {
    fn new(secret: &[u8]) -> Self {
        Self {
            hs256: hmac::Key::new(hmac::HMAC_SHA256, secret),
            hs384: hmac::Key::new(hmac::HMAC_SHA384, secret),
            hs512: hmac::Key::new(hmac::HMAC_SHA512, secret),
        }
    }

    fn of(&self, algorithm: Algorithm) -> Option<&hmac::Key> {
        match algorithm {
            Algorithm::HS256 => Some(&self.hs256),
            Algorithm::HS384 => Some(&self.hs384),
            Algorithm::HS512 => Some(&self.hs512),
            Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => None,
        }
    }
}

impl VerifyingKey {
    pub(super) fn hmac(secret: &Secret) -> Self {
        Self {
            kid: Some(hmac_kid(secret)),
            key: Key::Hmac(Arc::new(HmacKeys::new(secret.as_bytes()))),
        }
    }

    /// A public key of a set; `None` for what we do not verify with: another type or curve, a key
    /// for encryption, a short modulus, and above all a symmetric key, which has no place in a
    /// published set.
    pub(super) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let algorithm = public_algorithm(jwk)?;
        if !matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        ) {
            return None;
        }
        Some(Self {
            kid: jwk.common.key_id.clone(),
            key: Key::Public(algorithm, DecodingKey::from_jwk(jwk).ok()?),
        })
    }

    fn verifies(&self, algorithm: Algorithm) -> bool {
        match &self.key {
            Key::Hmac(_) => algorithm.is_hmac(),
            Key::Public(only, _) => *only == algorithm,
        }
    }

    /// Whether a signature, in base64url, is this key's over the message.
    pub(super) fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        match &self.key {
            Key::Hmac(keys) => {
                let (key, signature) = (keys.of(algorithm), URL_SAFE_NO_PAD.decode(signature));
                matches!((key, signature), (Some(key), Ok(signature))
                    if hmac::verify(key, message, &signature).is_ok())
            }
            Key::Public(only, key) if *only == algorithm => {
                jsonwebtoken::crypto::verify(signature, message, key, algorithm.into())
                    .unwrap_or(false)
            }
            Key::Public(..) => false,
        }
    }
}

fn public_algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, declared) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa.n.len() * 6 >= MIN_RSA_BITS => {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let fits = jwk
        .common
        .key_algorithm
        .is_none_or(|named| named == declared);
    fits.then_some(algorithm)
}

/// Names a secret without giving it away: tokens say which of several secrets signed them.
pub(super) fn hmac_kid(secret: &Secret) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"quikapp kid\0");
    context.update(secret.as_bytes());
    let hash = context.finish();
    hash.as_ref()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The keys that may have signed a token: those with its `kid`, or, if it names none, the first
/// few that fit its algorithm. A `kid` is only ever compared with the keys we hold.
pub(super) fn candidates<'a>(
    keys: &'a [VerifyingKey],
    algorithm: Algorithm,
    kid: Option<&str>,
) -> Vec<&'a VerifyingKey> {
    keys.iter()
        .filter(|key| key.verifies(algorithm))
        .filter(|key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)))
        .take(MAX_TRIED)
        .collect()
}
