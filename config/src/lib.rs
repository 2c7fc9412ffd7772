//! The node's configuration: every crate's own `Config`, composed once.
//!
//! Four layers, each overriding the one before: defaults, file, environment, flags. An unknown
//! key is refused by name, and a bad value is named with the place it came from. Nothing else in
//! the product reads the environment.

mod environment;
mod error;
mod example;
mod load;
mod node;

pub use environment::Environment;
pub use error::ConfigError;
pub use example::{example_toml, reference_markdown};
pub use load::{Flags, Loaded, load};
pub use node::{LoggingConfig, NodeConfig, Role};
