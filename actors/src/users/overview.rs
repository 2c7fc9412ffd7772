//! What a person's entity answers.

use quikapp_storage::{ConversationId, DeviceId, MessageId, Mute, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{people::Chosen, registered::Platform};

/// What waits for a person, over all of their conversations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overview {
    /// What they chose to be.
    pub chosen: Chosen,
    /// The number for an app's badge: unread messages of the conversations that are not muted,
    /// those of threads that they follow included.
    pub badge: u64,
    /// The same with the muted ones.
    pub unread: u64,
    /// Conversations with something unread, by id; at most 1,000.
    pub conversations: Vec<InConversation>,
    /// Whether there are more.
    pub more: bool,
    /// What some device lacks.
    pub pending: Pending,
}

/// What is unread in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InConversation {
    /// Which.
    pub conversation_id: ConversationId,
    /// Messages on its main timeline.
    pub unread: u64,
    /// The mute that is in force.
    pub mute: Option<Mute>,
    /// Threads with something unread, at most 100.
    pub threads: Vec<InThread>,
}

/// What is unread in a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InThread {
    /// The message that it hangs on.
    pub root: MessageId,
    /// Messages.
    pub unread: u64,
}

/// The store-and-forward queue, in short.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pending {
    /// Entries that some device lacks.
    pub count: u64,
    /// When the oldest of them was written.
    pub oldest: Option<Timestamp>,
    /// The devices that are known, by id.
    pub devices: Vec<DeviceBehind>,
}

/// A device, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceBehind {
    /// Which.
    pub device_id: DeviceId,
    /// What it runs on, if it is registered.
    pub platform: Option<Platform>,
    /// What its person calls it.
    pub name: Option<String>,
    /// Whether it has a socket.
    pub is_connected: bool,
    /// Whether it lacks more, or older, than is replayed: it will be told to begin anew.
    pub reset_required: bool,
}
