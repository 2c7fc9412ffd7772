//! Who was erased, in all conversations.

use std::collections::{BTreeMap, HashSet};

use crate::{Line, checker::tag};

/// People of whom it was asked that they be erased.
#[derive(Debug, Default)]
pub(crate) struct Erasures(BTreeMap<String, Option<Erased>>);

/// The server said so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Erased {
    pub(crate) at: u64,
    pub(crate) line: Line,
}

impl Erasures {
    pub(crate) fn asked(&mut self, user: String) {
        self.0.entry(user).or_default();
    }

    pub(crate) fn done(&mut self, user: &str, erased: Erased) -> Result<(), String> {
        match self.0.get_mut(user) {
            Some(done) => {
                done.get_or_insert(erased);
                Ok(())
            }
            None => Err(format!("nobody asked that {user} be erased")),
        }
    }

    /// What a person said may be gone.
    pub(crate) fn may_be_gone(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }

    /// The same, by the tag of the person.
    pub(crate) fn tags(&self) -> HashSet<u64> {
        self.0.keys().map(|user| tag(&user.as_str())).collect()
    }

    /// Since when a person is erased.
    pub(crate) fn of(&self, user: &str) -> Option<Erased> {
        self.0.get(user).copied().flatten()
    }

    /// Everybody who is erased.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Erased)> {
        let asked = self.0.iter();
        asked.filter_map(|(user, erased)| erased.map(|it| (user.as_str(), it)))
    }
}
