//! Who somebody is: tokens, tickets and revocation. What they may do is decided in
//! [`policy`](crate::policy).

mod principal;

pub use principal::{AccountRole, Principal, RoomAccess, Rooms};
