//! Who is typing where. Nothing of it is ever stored.
//!
//! [`Typing`] is the handle. A person types in a conversation for as long as one of their channels
//! says so: each `start` holds for five seconds, a `stop` or the end of the channel ends it at
//! once. The others of the conversation hear `typing:start` when it begins (and now and then while
//! it lasts, for those who came later) and `typing:stop` when it ends. One task watches all
//! deadlines. Where nodes share it, each tells the others who types on it; what they hear holds for
//! five seconds as well, so that a node that ends leaves nobody typing.

mod core;
mod handle;
mod share;

#[cfg(test)]
mod tests;

pub use core::{Config, Core, Full, Source, TypingEvent};
pub use handle::{Typing, TypingGuard, TypingPayload};
