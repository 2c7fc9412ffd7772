//! The product's topics.
//!
//! Every join and event asks the [`Policy`](crate::policy::Policy) first; a refusal is an error
//! reply `{reason, field?}`. Payload keys are taken in camelCase and snake_case.

pub(crate) mod broadcast;
mod calls;
pub(crate) mod chat;
mod lobby;
pub(crate) mod payload;
pub(crate) mod presence;
pub(crate) mod room;
pub(crate) mod user;

#[cfg(test)]
pub(crate) mod tests;

use quikapp_actors::{
    conversation::Conversations, delivery::Delivery, documents::Documents, people::People,
    presence::Presence, registers::Registers, typing::Typing,
};
use quikapp_storage::SharedStore;

use crate::{auth::Principal, channel::Router, policy::Policy};
use broadcast::BroadcastChannel;
use calls::CallsChannel;
use chat::ChatChannel;
use lobby::LobbyChannel;
use presence::PresenceChannel;
use user::UserChannel;

pub(crate) use chat::params::class_of;
pub(crate) use room::blocks_changed;

/// What the channels stand on.
#[derive(Clone)]
pub struct Backend {
    /// The one door of authorization.
    pub policy: Policy,
    /// Who is online.
    pub people: People,
    /// Who is shown where.
    pub presence: Presence,
    /// Who types.
    pub typing: Typing,
    /// Conversations: everything that is written goes through their sequencers.
    pub conversations: Conversations,
    /// Receipts, cursors, drafts and mutes.
    pub registers: Registers,
    /// What is sent later, and what devices have acknowledged.
    pub delivery: Delivery,
    /// Preferences and registered devices.
    pub documents: Documents,
    /// What is read.
    pub store: SharedStore,
}

/// The product's topics and their channels.
pub fn router(backend: &Backend) -> Router<Principal> {
    Router::new()
        .channel("chat:lobby", LobbyChannel::new(backend.clone()))
        .channel("presence:*", PresenceChannel::new(backend.clone()))
        .channel("broadcast:*", BroadcastChannel::new(backend.clone()))
        .channel("chat:*", ChatChannel::new(backend.clone()))
        .alias("conversation:*", "chat:*")
        .channel("user:*", UserChannel::new(backend.clone()))
        .channel("webrtc:*", CallsChannel)
        .channel("call:*", CallsChannel)
        .channel("huddle:*", CallsChannel)
}
