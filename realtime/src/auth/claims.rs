//! What a token says, and the rules for believing it. Pure: time is handed in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quikapp_storage::{Person, Timestamp, UserId, WorkspaceId};
use serde::{Deserialize, Deserializer, Serialize};

use super::{AccountRole, Principal, RoomAccess, Rooms, TokenError};

/// The claims of an access token. Others are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: UserId,
    /// The tenant.
    pub workspace: WorkspaceId,
    /// `access`. A token of another type (refresh, reset, ...) opens nothing here.
    #[serde(rename = "type")]
    pub kind: String,
    /// The standing in the workspace.
    #[serde(default)]
    pub role: AccountRole,
    /// Broadcast rooms by pattern.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rooms: BTreeMap<String, Vec<RoomAccess>>,
    /// The token's id. Without one, the token is known by the hash of what was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: Audience,
    /// When it was issued, in seconds since the Unix epoch, like the two below.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: i64,
    /// Not to be used before.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_numeric_date"
    )]
    pub nbf: Option<i64>,
    /// Not to be used at or after.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: i64,
}

/// One audience, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// What claims must fulfil.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) leeway: Duration,
    pub(super) max_lifetime: Duration,
}

impl Claims {
    pub(super) fn check(&self, rules: &Rules, now: Timestamp) -> Result<(), TokenError> {
        let now = now.0.div_euclid(1000);
        let latest = now.saturating_add(whole_seconds(rules.leeway));
        let lifetime = self.exp.saturating_sub(self.iat);
        if self.kind != "access" {
            return Err(TokenError::WrongType);
        }
        if self.iss != rules.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !self.aud.names(&rules.audience) {
            return Err(TokenError::WrongAudience);
        }
        if self.exp <= now {
            return Err(TokenError::Expired);
        }
        if self.iat > latest || self.nbf.is_some_and(|nbf| nbf > latest) {
            return Err(TokenError::NotYetValid);
        }
        if lifetime > whole_seconds(rules.max_lifetime) {
            return Err(TokenError::LifetimeTooLong);
        }
        Ok(())
    }

    /// The principal of checked claims. `signed` identifies a token that has no `jti`.
    pub(super) fn principal(self, signed: impl FnOnce() -> String) -> Principal {
        Principal {
            person: Person {
                workspace: self.workspace,
                user: self.sub,
            },
            device: None,
            role: self.role,
            rooms: Rooms::new(self.rooms),
            jti: Arc::from(self.jti.unwrap_or_else(signed)),
            issued_at: Timestamp(self.iat.saturating_mul(1000)),
            expires_at: Timestamp(self.exp.saturating_mul(1000)),
        }
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A NumericDate may have a fraction (RFC 7519, section 2); it is cut off.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    match (number.as_i64(), number.as_f64()) {
        (Some(seconds), _) => Ok(seconds),
        (None, Some(seconds)) if seconds.abs() < 1e15 => Ok(seconds.floor() as i64),
        (None, _) => Err(serde::de::Error::custom("not a date")),
    }
}

fn optional_numeric_date<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    numeric_date(deserializer).map(Some)
}
