//! Broadcast rooms: what the channel `broadcast:*` and `POST /api/broadcast` agree on.

use quikapp_storage::WorkspaceId;

/// The topic behind `broadcast:<name>`, one per workspace. No client can name it: it begins as no
/// routed topic does.
pub(crate) fn room_topic(workspace: &WorkspaceId, topic: &str) -> String {
    format!("room\u{1f}{workspace}\u{1f}{topic}")
}

/// Whether an event name belongs to the protocol and cannot be broadcast.
pub(crate) fn is_reserved(event: &str) -> bool {
    event.starts_with("phx_")
        || event.starts_with("presence_")
        || matches!(event, "access_token" | "heartbeat" | "disconnect")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rooms_of_two_workspaces_are_two() {
        let topic =
            |workspace: &str| room_topic(&WorkspaceId::new(workspace).unwrap(), "broadcast:game");
        assert_ne!(topic("acme"), topic("umbrella"));
    }

    #[test]
    fn the_protocols_names_are_reserved() {
        for event in [
            "phx_reply",
            "presence_diff",
            "access_token",
            "heartbeat",
            "disconnect",
        ] {
            assert!(is_reserved(event), "{event}");
        }
        for event in ["move", "phx", "presence", "message:new"] {
            assert!(!is_reserved(event), "{event}");
        }
    }
}
