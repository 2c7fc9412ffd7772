//! What people choose on one node is known on the others that they are connected to.
//!
//! Nodes tell each other a mark of what each person has chosen ([`Mark`](super::connected::Mark)),
//! after the store has it. A node that has reason to doubt what it knows
//! ([`Presence::doubtful`]) reads the profile and takes that over; so whoever was last to write is
//! believed everywhere, whichever node hears of it first.

use std::collections::HashSet;

use quikapp_storage::{PeopleStore, Person, StoreError, UserId, WorkspaceId};

use super::handle::Inner;
use crate::presence::Presence;

/// Profiles that are read together.
const BATCH: usize = 256;

/// Those of whom others may know better: of the people who are connected here, and of some who
/// have just gone.
pub(super) struct Settling {
    presence: Presence,
    doubtful: HashSet<Person>,
    /// The store could not say.
    is_waiting: bool,
}

impl Settling {
    pub(super) fn new(presence: Presence) -> Self {
        Self {
            presence,
            doubtful: HashSet::new(),
            is_waiting: false,
        }
    }

    /// What the store could not say is asked again.
    pub(super) fn try_again(&mut self) {
        self.is_waiting = false;
    }

    /// Until there is something to settle. Cancelling it loses nothing.
    pub(super) async fn doubts(&mut self) {
        while self.doubtful.is_empty() || self.is_waiting {
            let more = self.presence.doubtful().await;
            self.doubtful.extend(more);
        }
    }

    /// Settles some of it. Between reading and taking over nothing may be written down here: the
    /// caller is the one who writes.
    pub(super) async fn settle(&mut self, people: &Inner, store: &dyn PeopleStore) {
        let Some((workspace, users)) = self.some() else {
            return;
        };
        let taken = take_over(people, store, &workspace, &users).await;
        self.is_waiting = taken.is_err();
        match taken {
            Ok(()) => {
                for user in users {
                    let workspace = workspace.clone();
                    self.doubtful.remove(&Person { workspace, user });
                }
            }
            Err(error) => tracing::warn!(%error, "what was chosen elsewhere cannot be read yet"),
        }
    }

    /// Some of one workspace.
    fn some(&self) -> Option<(WorkspaceId, Vec<UserId>)> {
        let workspace = &self.doubtful.iter().next()?.workspace;
        let people = self.doubtful.iter();
        let people = people.filter(|person| person.workspace == *workspace);
        let users = people.take(BATCH).map(|person| person.user.clone());
        Some((workspace.clone(), users.collect()))
    }
}

async fn take_over(
    people: &Inner,
    store: &dyn PeopleStore,
    workspace: &WorkspaceId,
    users: &[UserId],
) -> Result<(), StoreError> {
    for profile in store.profiles(workspace, users).await? {
        people.adopt(&profile);
    }
    Ok(())
}
