//! The outcome of authentication: a person, on a device, with what the token allows.

use std::{collections::BTreeMap, sync::Arc};

use quikapp_storage::{DeviceId, Person, Timestamp, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// Somebody whose token was verified. These are the assigns of every socket of the product, and
/// the only place from which a tenant is ever taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The token's `workspace` and `sub`.
    pub person: Person,
    /// The device, as the client named it when it connected.
    pub device: Option<DeviceId>,
    /// What they may do in their workspace.
    pub role: AccountRole,
    /// Which broadcast rooms the token opens.
    pub rooms: Rooms,
    /// The token's id: what a revocation names.
    pub jti: Arc<str>,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// When it ends, and with it the socket.
    pub expires_at: Timestamp,
}

impl Principal {
    /// The user within the workspace.
    pub fn user(&self) -> &UserId {
        &self.person.user
    }

    /// The tenant.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.person.workspace
    }

    /// Somebody of the same tenant.
    pub fn colleague(&self, user: UserId) -> Person {
        Person {
            workspace: self.workspace().clone(),
            user,
        }
    }

    /// The id shared by every socket of the person, to disconnect them all.
    pub fn socket_id(&self) -> String {
        socket_id(&self.person)
    }

    /// The id shared by every socket of this token, to disconnect only those.
    pub fn token_socket_id(&self) -> String {
        token_socket_id(&super::revocations::qualified(self.workspace(), &self.jti))
    }
}

/// The id shared by all sockets of a person. The user comes first, as in Phoenix's habit of
/// `users_socket:<user>`; the workspace is kept apart by a character that no id may hold, so that
/// two tenants with a user of the same name never share it.
pub(crate) fn socket_id(person: &Person) -> String {
    let (user, workspace) = (person.user.as_str(), person.workspace.as_str());
    ["users_socket:", user, "\u{1f}", workspace].concat()
}

/// The id shared by all sockets of a token, given the token's id within its workspace.
pub(crate) fn token_socket_id(qualified_jti: &str) -> String {
    ["tokens_socket:", qualified_jti].concat()
}

/// A person's standing in their workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountRole {
    /// Uses the product.
    #[default]
    Member,
    /// Also revokes tokens and people of the workspace.
    Admin,
}

/// What a room may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomAccess {
    /// Join and listen.
    Read,
    /// Broadcast into it.
    Write,
}

/// The `rooms` claim: patterns of topics, and what each allows. A pattern is a whole topic, or a
/// prefix followed by `*`. Every socket keeps its token's, and most name one or two patterns: a
/// slice, since a map's smallest node has room for eleven.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Option<Patterns>", into = "Option<Patterns>")]
pub struct Rooms(Option<Arc<[Granted]>>);

/// The claim as it is written.
type Patterns = BTreeMap<String, Vec<RoomAccess>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Granted {
    pattern: Box<str>,
    access: Box<[RoomAccess]>,
}

impl Rooms {
    /// Rooms by pattern.
    pub fn new(patterns: BTreeMap<String, Vec<RoomAccess>>) -> Self {
        if patterns.is_empty() {
            return Self(None);
        }
        let granted = patterns.into_iter().map(|(pattern, access)| Granted {
            pattern: pattern.into(),
            access: access.into(),
        });
        Self(Some(granted.collect()))
    }

    /// Whether any pattern that fits the topic grants this access.
    pub fn allow(&self, topic: &str, access: RoomAccess) -> bool {
        let mut granted = self.0.iter().flat_map(|granted| granted.iter());
        granted.any(|it| fits(&it.pattern, topic) && it.access.contains(&access))
    }
}

impl From<Option<Patterns>> for Rooms {
    fn from(patterns: Option<Patterns>) -> Self {
        patterns.map(Self::new).unwrap_or_default()
    }
}

impl From<Rooms> for Option<Patterns> {
    fn from(rooms: Rooms) -> Self {
        let written = |it: &Granted| (it.pattern.to_string(), it.access.to_vec());
        rooms.0.map(|granted| granted.iter().map(written).collect())
    }
}

fn fits(pattern: &str, topic: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => topic.starts_with(prefix),
        None => pattern == topic,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rooms(json: &str) -> Rooms {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_pattern_is_a_whole_topic_or_a_prefix() {
        let rooms = rooms(r#"{"broadcast:game-*": ["read", "write"], "broadcast:news": ["read"]}"#);
        assert!(rooms.allow("broadcast:game-7", RoomAccess::Write));
        assert!(rooms.allow("broadcast:news", RoomAccess::Read));
        assert!(!rooms.allow("broadcast:news", RoomAccess::Write));
        assert!(!rooms.allow("broadcast:newsroom", RoomAccess::Read));
        assert!(!rooms.allow("broadcast:gam", RoomAccess::Read));
    }

    #[test]
    fn no_claim_opens_no_room() {
        assert!(!Rooms::default().allow("broadcast:any", RoomAccess::Read));
        assert!(!rooms("null").allow("broadcast:any", RoomAccess::Read));
    }

    #[test]
    fn people_of_the_same_name_in_two_workspaces_have_different_sockets() {
        let person = |workspace: &str, user: &str| Person {
            workspace: WorkspaceId::new(workspace).unwrap(),
            user: UserId::new(user).unwrap(),
        };
        let ids = [("a", "b:c"), ("a:b", "c"), ("c", "a:b"), ("b:c", "a")];
        let unique: std::collections::HashSet<_> =
            ids.iter().map(|(w, u)| socket_id(&person(w, u))).collect();
        assert_eq!(unique.len(), ids.len());
    }
}
