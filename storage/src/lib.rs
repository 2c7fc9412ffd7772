//! What the product keeps, and the promises a keeper of it must make.
//!
//! A conversation's append-only log is the only truth; everything else in here is either a
//! projection that can be rebuilt from it, or a register that lives beside it. The traits mention
//! no database. Every adapter passes the same conformance suite against a real server; the
//! embedded store (`embedded`) is the default.

mod composed;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connect;
mod embedded;
mod error;
mod ids;
mod mongo;
mod mutant;
mod mysql;
mod numbered;
mod position;
mod redis;
mod server_url;
mod shared;
mod spans;
mod traits;
mod types;
mod words;

pub use composed::{Keeper, Keepers, SharedKeeper, compose};
pub use config::{Config, ConfigError};
pub use connect::{ConnectError, Connected, Dependency, connect};
pub use embedded::{BackupError, Copied, OpenError, backup, open, open_keeper, restore};
pub use error::{AcquireError, AppendError, StoreError};
pub use ids::{
    ConversationId, DeviceId, EntryId, Epoch, IdError, MessageId, OwnerId, Person, Seq, Timestamp,
    UserId, WorkspaceId,
};
pub use mongo::{MongoDocuments, MongoError, MongoLog};
#[cfg(feature = "conformance")]
pub use mongo::{Mutant, Pause, Step, Testing};
pub use mutant::ServerMutant;
pub use server_url::{Backend, Scheme, ServerUrl, ServerUrlError};
pub use shared::{
    Addresses, Advance, Channel, Gossip, Kept, NotShared, Rate, Shared, SharedCounters, Snapshots,
};
pub use traits::{
    ConversationStore, DetachedRegisters, DetachedWrite, DeviceStore, DocumentKeeper,
    DocumentStore, ErasureStore, Fold, Health, LogKeeper, LogStore, LogUpkeep, PeopleStore,
    ProjectionStore, QueueStore, RegisterStore, SecurityStore, SharedDocuments, SharedLog,
    SharedStore, Store, ThreadReader, TimerStore,
};
pub use types::*;
