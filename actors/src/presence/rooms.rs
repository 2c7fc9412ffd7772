//! On which fan-out topics a room's changes are published.
//!
//! What clients call a topic is not always one room: `presence:global` is another room in each
//! workspace. Such rooms are named `<topic>` U+001F `<workspace>`; no id holds that character, so no
//! client can name another's room. Channels subscribe to the room's outlet rather than to their
//! own topic, and the outlet's broadcasts carry the client's name as their alias.

use quikapp_storage::WorkspaceId;

use crate::fanout::Broadcast;
use quikapp_protocol::Payload;

const SEPARATOR: char = '\u{1f}';

/// The names under which clients know the room of their workspace, besides its own id.
const WORKSPACE_NAMES: [&str; 2] = ["presence:global", "presence:lobby"];

/// The room of everybody in a workspace.
pub fn workspace_room(workspace: &WorkspaceId) -> String {
    format!("presence{SEPARATOR}{workspace}")
}

/// The room that a workspace has under a topic's name; also the outlet of that topic.
pub fn room_of(workspace: &WorkspaceId, topic: &str) -> String {
    format!("{topic}{SEPARATOR}{workspace}")
}

/// Where the counts of a room go that clients know as `topic`.
pub fn count_outlet(outlet: &str) -> String {
    format!("{outlet}{SEPARATOR}count")
}

/// A fan-out topic, and how clients write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outlet {
    pub(crate) topic: String,
    alias: Option<String>,
}

impl Outlet {
    pub(crate) fn broadcast(&self, event: &str, payload: Payload) -> Broadcast {
        let broadcast = Broadcast::new(self.topic.clone(), event, payload);
        match &self.alias {
            Some(alias) => broadcast.with_alias(alias.as_str()),
            None => broadcast,
        }
    }

    pub(crate) fn for_counts(self) -> Self {
        Self {
            topic: count_outlet(&self.topic),
            alias: self.alias,
        }
    }
}

/// The outlets of a room.
pub(crate) fn outlets(room: &str) -> Vec<Outlet> {
    match room.split_once(SEPARATOR) {
        Some(("presence", workspace)) => {
            let own = format!("presence:workspace:{workspace}");
            let names = WORKSPACE_NAMES.map(str::to_owned).into_iter().chain([own]);
            names
                .map(|name| Outlet {
                    topic: format!("{name}{SEPARATOR}{workspace}"),
                    alias: Some(name),
                })
                .collect()
        }
        Some((name, _)) => vec![Outlet {
            topic: room.to_owned(),
            alias: Some(name.to_owned()),
        }],
        None => vec![Outlet {
            topic: room.to_owned(),
            alias: room
                .strip_prefix("chat:")
                .map(|id| format!("conversation:{id}")),
        }],
    }
}
