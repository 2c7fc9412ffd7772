//! What makes a kind of entity.

use std::{fmt::Debug, future::Future, hash::Hash};

use serde::{Serialize, de::DeserializeOwned};

use super::ActivateError;

/// A kind of entity: how one is brought up, what it does with a message, how it is written away.
///
/// A panic in any of these is the end of that entity's life, and of no other's. What must not be
/// lost is made durable in `handle`, before it returns: `passivate` is for what may be lost.
pub trait Kind: Send + Sync + 'static {
    /// The name, as metrics and the tree show it.
    const NAME: &'static str;
    /// Names one entity.
    type Id: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// What an entity can be told: plain data.
    type Message: Serialize + DeserializeOwned + Send + 'static;
    /// What it answers: plain data.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// One entity's state in memory.
    type Entity: Send + 'static;

    /// The id for people.
    fn label(id: &Self::Id) -> String;

    /// The workspace that an entity belongs to, if the kind's belong to any: what it is called and
    /// what it failed of is shown to that workspace's administrators only.
    fn tenant(id: &Self::Id) -> Option<String>;

    /// Makes the entity from what the store has.
    fn activate(
        &self,
        id: &Self::Id,
    ) -> impl Future<Output = Result<Self::Entity, ActivateError>> + Send;

    /// Handles one message.
    fn handle(
        &self,
        id: &Self::Id,
        entity: &mut Self::Entity,
        message: Self::Message,
    ) -> impl Future<Output = Self::Reply> + Send;

    /// Writes down what the store does not have yet. When that fails, the entity stays.
    fn passivate(
        &self,
        id: &Self::Id,
        entity: &mut Self::Entity,
    ) -> impl Future<Output = Result<(), ActivateError>> + Send;
}
