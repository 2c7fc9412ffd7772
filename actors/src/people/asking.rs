//! People as others see them.

use quikapp_storage::{Person, Profile, StoreError, Timestamp, UserId, WorkspaceId};

use super::{Chosen, Connected, People, PersonSeen, Shown, Status, handle::Inner};

/// A person as one asks for them, and what decides who may see all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The person, last seen included.
    pub seen: PersonSeen,
    /// Whether everyone may see when they were last here.
    pub last_seen_public: bool,
}

impl People {
    /// People as others see them, in the order asked for. Who is not known looks offline. Of those
    /// who are connected to other nodes only, which devices they use is not told.
    pub async fn ask(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Asked>, StoreError> {
        let mut asked: Vec<_> = users
            .iter()
            .map(|user| self.0.asked(workspace, user))
            .collect();
        let is_missing =
            |(user, asked): (&UserId, &Option<Asked>)| asked.is_none().then(|| user.clone());
        let missing: Vec<_> = users.iter().zip(&asked).filter_map(is_missing).collect();
        if !missing.is_empty() {
            let profiles = self.0.store.profiles(workspace, &missing).await?;
            for (user, asked) in users.iter().zip(&mut asked) {
                asked.get_or_insert_with(|| self.0.asked_elsewhere(workspace, user, &profiles));
            }
        }
        Ok(asked.into_iter().flatten().collect())
    }
}

impl Inner {
    fn asked(&self, workspace: &WorkspaceId, user: &UserId) -> Option<Asked> {
        let person = Person {
            workspace: workspace.clone(),
            user: user.clone(),
        };
        let core = self.shard(&person).lock();
        Some(Asked {
            seen: core.seen(&person)?,
            last_seen_public: core.last_seen_public(&person)?,
        })
    }

    /// A person who is not connected here.
    fn asked_elsewhere(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        profiles: &[Profile],
    ) -> Asked {
        let person = Person {
            workspace: workspace.clone(),
            user: user.clone(),
        };
        let profile = profiles.iter().find(|profile| profile.person.user == *user);
        let connected = self.elsewhere(&person).reduce(Connected::and);
        from_profile(user, profile, connected, self.clock.now())
    }
}

/// What others see of somebody by their profile, and by how they are connected to other nodes. The
/// profile is written before it is told, so of two that differ it knows better; who hides by
/// either is hidden.
fn from_profile(
    user: &UserId,
    profile: Option<&Profile>,
    connected: Option<Connected>,
    now: Timestamp,
) -> Asked {
    let chosen = profile.map(|profile| Chosen::of(profile, now));
    let chosen = chosen.unwrap_or_default();
    let is_hidden = |connected: &Connected| {
        [connected.status, Some(chosen.status)].contains(&Some(Status::Invisible))
    };
    let is_shown = connected.is_some_and(|connected| !is_hidden(&connected));
    let last_seen = profile.and_then(|profile| profile.last_seen);
    let custom = chosen.custom.filter(|_| is_shown);
    Asked {
        seen: PersonSeen {
            user_id: user.clone(),
            status: match is_shown {
                true => Shown::from(chosen.status),
                false => Shown::Offline,
            },
            last_seen: last_seen.filter(|_| !is_shown),
            custom_status: custom.map(|custom| *custom),
            devices: Vec::new(),
        },
        last_seen_public: profile.is_some_and(|profile| profile.last_seen_public),
    }
}
