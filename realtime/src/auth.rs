//! Who somebody is: tokens, tickets and revocation. What they may do is decided in
//! [`policy`](crate::policy).

mod authenticator;
mod claims;
mod config;
mod jwks;
mod jws;
mod keys;
mod principal;
mod product_socket;
mod remembered;
mod revocations;
mod secret;
mod secret_file;
mod tickets;
mod tokens;

pub use authenticator::{Authenticator, Credential};
pub use claims::{Audience, Claims};
pub use config::{Config, ConfigError, JwksSource, JwksSourceError};
pub use jwks::JwksError;
pub use keys::Algorithm;
pub use principal::{AccountRole, Principal, RoomAccess, Rooms};
pub use product_socket::ProductSocket;
pub(crate) use product_socket::bearer;
pub use revocations::Revocations;
pub use secret::{Earlier, Secret, SecretFileError, WeakSecret, load_or_generate, rotate};
pub use secret_file::SECRET_POLL;
pub use tickets::Tickets;
pub use tokens::{Grant, MintError, Minted, TokenError, Tokens, TokensError};

#[cfg(test)]
pub(crate) mod test_kit;
