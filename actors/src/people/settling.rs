//! What people choose on one node is known on the others that they are connected to.
//!
//! Nodes tell each other a mark of what each person has chosen ([`Mark`](super::connected::Mark)),
//! after the store has it. A node that hears of another mark than its own reads the profile and
//! takes that over; so whoever was last to write is believed everywhere, whichever node hears of
//! it first, and a node that heard of nothing (a lost frame) finds out by the next beat.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use quikapp_storage::{PeopleStore, Person, StoreError, UserId, WorkspaceId};

use super::handle::Inner;
use crate::presence::Presence;

/// Profiles that are read together.
const BATCH: usize = 256;

/// The connected people of whom others say something else. As many as are connected here, at most.
pub(super) struct Settling {
    people: Weak<Inner>,
    store: Arc<dyn PeopleStore>,
    presence: Presence,
    doubtful: HashSet<Person>,
}

impl Settling {
    pub(super) fn new(
        people: Weak<Inner>,
        store: Arc<dyn PeopleStore>,
        presence: Presence,
    ) -> Self {
        Self {
            people,
            store,
            presence,
            doubtful: HashSet::new(),
        }
    }

    /// Until others have said something new. Cancelling it loses nothing.
    pub(super) async fn doubts(&mut self) {
        let moved = self.presence.moved_elsewhere().await;
        self.doubtful.extend(moved);
    }

    /// Reads what is doubtful. What the store cannot say now is asked again the next time. Between
    /// the reading and the taking over nothing may be written here: the caller is the one who
    /// writes.
    pub(super) async fn settle(&mut self) {
        let Some(people) = self.people.upgrade() else {
            return;
        };
        self.doubtful.retain(|person| people.is_doubtful(person));
        for (workspace, users) in by_workspace(&self.doubtful) {
            for users in users.chunks(BATCH) {
                if let Err(error) = self.take_over(&people, &workspace, users).await {
                    tracing::warn!(%error, "what was chosen on another node cannot be read yet");
                    return;
                }
            }
        }
    }

    async fn take_over(
        &mut self,
        people: &Inner,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        let profiles = self.store.profiles(workspace, users).await?;
        for user in users {
            let person = Person {
                workspace: workspace.clone(),
                user: user.clone(),
            };
            let profile = profiles.iter().find(|it| it.person.user == *user);
            people.adopt(&person, profile);
            self.doubtful.remove(&person);
        }
        Ok(())
    }
}

fn by_workspace(people: &HashSet<Person>) -> HashMap<WorkspaceId, Vec<UserId>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for person in people {
        let users = all.entry(person.workspace.clone()).or_default();
        users.push(person.user.clone());
    }
    all
}
