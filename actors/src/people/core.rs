//! The state of the people who are connected, and what follows from a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use quikapp_storage::{DeviceId, Person, Profile, Timestamp, UserId, WorkspaceId};

use super::{
    Chosen, Connected, Effect, PersonSeen, Status,
    connected::Mark,
    entry::{Entry, Room, Socket},
};
use crate::{fanout::ConnectionId, presence::Tracker};

/// The person has no socket here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the person is not connected")]
pub struct NotConnected;

/// The connected people of one shard. Pure.
#[derive(Debug, Default)]
pub struct Core {
    /// Ordered, so that a workspace can be listed page by page.
    people: BTreeMap<WorkspaceId, BTreeMap<UserId, Entry>>,
    /// When custom statuses of connected people clear themselves.
    expiries: BTreeSet<(Timestamp, Person)>,
}

impl Core {
    /// Whether the person is connected, visibly or not: their profile need not be read again.
    pub fn knows(&self, person: &Person) -> bool {
        self.entry(person).is_some()
    }

    /// A channel of a person has been joined. With the first, the person is online; with the first
    /// of another device, they learn of it. `profile` is what the store has, and counts only with
    /// the first.
    pub fn joined(
        &mut self,
        person: &Person,
        profile: Option<&Profile>,
        tracker: Tracker,
        device: Option<DeviceId>,
        now: Timestamp,
    ) -> Vec<Effect> {
        let socket = Socket::new(tracker.connection, device, now);
        if let Some(entry) = self.entry_mut(person) {
            return match entry.count_in(socket) {
                true => vec![entry.devices_changed(person)],
                false => Vec::new(),
            };
        }
        let entry = Entry::new(profile, socket);
        let status = entry.chosen.status;
        self.expiries.extend(entry.expiry(person));
        let workspace = self.people.entry(person.workspace.clone()).or_default();
        workspace.insert(person.user.clone(), entry);
        match status {
            Status::Invisible => Vec::new(),
            status => vec![Effect::Online {
                person: person.clone(),
                status,
            }],
        }
    }

    /// A channel has ended. With the last one of the last socket, the person goes.
    pub fn ended(&mut self, person: &Person, tracker: Tracker, now: Timestamp) -> Vec<Effect> {
        let Some(entry) = self.entry_mut(person) else {
            return Vec::new();
        };
        let mut effects = entry.leave_rooms(person, tracker);
        let device_gone = entry.count_out(tracker.connection);
        if entry.sockets.is_empty() {
            effects.extend(entry.gone(person, now));
            self.remove(person);
        } else if device_gone {
            effects.push(entry.devices_changed(person));
        }
        effects
    }

    /// A channel that was [`joined`](Self::joined) shows its person on a topic.
    pub fn entered(
        &mut self,
        person: &Person,
        tracker: Tracker,
        topic: &Arc<str>,
    ) -> Result<Vec<Effect>, NotConnected> {
        let entry = self.entry_mut(person);
        let entry = entry.filter(|entry| entry.has(tracker.connection));
        let entry = entry.ok_or(NotConnected)?;
        if entry.rooms.is_empty() {
            // Most people are in one room: no spare room.
            entry.rooms.reserve_exact(1);
        }
        entry.rooms.push(Room {
            tracker,
            topic: topic.clone(),
            viewing: false,
        });
        let hidden = entry.is_hidden();
        let room = entry.rooms.last().filter(|_| !hidden);
        Ok(room
            .map(|room| entry.track(person, room))
            .into_iter()
            .collect())
    }

    /// A socket's person looks at the conversation of one presence topic, and at no other's.
    pub fn viewing(
        &mut self,
        person: &Person,
        connection: ConnectionId,
        topic: &str,
    ) -> Vec<Effect> {
        let Some(entry) = self.entry_mut(person) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        for (at, room) in entry.rooms.iter_mut().enumerate() {
            let views = room.topic.as_ref() == topic;
            if room.tracker.connection == connection && room.viewing != views {
                room.viewing = views;
                changed.push(at);
            }
        }
        if entry.is_hidden() {
            return Vec::new();
        }
        let rooms = changed.into_iter().map(|at| &entry.rooms[at]);
        rooms.map(|room| entry.update(person, room)).collect()
    }

    /// What a person has chosen.
    pub fn chosen(&self, person: &Person) -> Result<&Chosen, NotConnected> {
        Ok(&self.entry(person).ok_or(NotConnected)?.chosen)
    }

    /// A person has chosen, and the store knows it.
    pub fn choose(
        &mut self,
        person: &Person,
        chosen: Chosen,
        now: Timestamp,
    ) -> Result<Vec<Effect>, NotConnected> {
        let entry = self.entry_mut(person).ok_or(NotConnected)?;
        let (old_expiry, effects) = (entry.expiry(person), entry.choose(person, chosen, now));
        let new_expiry = entry.expiry(person);
        if let Some(old) = old_expiry {
            self.expiries.remove(&old);
        }
        self.expiries.extend(new_expiry);
        Ok(effects)
    }

    /// A person allows everyone, or no longer, to see when they were last here.
    pub fn set_last_seen_public(&mut self, person: &Person, public: bool) {
        if let Some(entry) = self.entry_mut(person) {
            entry.last_seen_public = public;
        }
    }

    /// Clears the custom statuses that have had their time.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some((at, _)) = self.expiries.first() {
            if *at > now {
                break;
            }
            if let Some((_, person)) = self.expiries.pop_first()
                && let Some(entry) = self.entry_mut(&person)
            {
                let status = entry.chosen.status;
                let custom = None;
                effects.extend(entry.choose(&person, Chosen { status, custom }, now));
            }
        }
        effects
    }

    /// Those whose custom statuses have had their time.
    pub(super) fn expiring(&self, now: Timestamp) -> Vec<Person> {
        let due = self.expiries.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, person)| person.clone()).collect()
    }

    /// The next moment at which [`Core::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// How others see a connected person; `None` if they are not connected.
    pub fn seen(&self, person: &Person) -> Option<PersonSeen> {
        let entry = self.entry(person)?;
        Some(if entry.is_hidden() {
            entry.as_offline(&person.user)
        } else {
            entry.as_is(&person.user)
        })
    }

    /// How a connected person sees themselves.
    pub fn seen_by_self(&self, person: &Person) -> Option<PersonSeen> {
        Some(self.entry(person)?.as_is(&person.user))
    }

    /// How a person is connected here, invisible or not.
    pub fn connected(&self, person: &Person) -> Option<Connected> {
        let entry = self.entry(person)?;
        Some(Connected {
            status: Some(entry.chosen.status),
            devices: entry.device_ids(),
        })
    }

    /// What other nodes are told of a connected person.
    pub(super) fn line(&self, person: &Person) -> Option<String> {
        let entry = self.entry(person)?;
        let mark = Mark::of(&entry.chosen, entry.last_seen_public);
        Some(self.connected(person)?.write(&mark))
    }

    /// What a person chose elsewhere, as the store has it, is taken over here. Nothing happens
    /// without a socket, if it is known, or if it cannot be read.
    pub fn adopt(&mut self, profile: &Profile, now: Timestamp) -> Vec<Effect> {
        let person = &profile.person;
        self.set_last_seen_public(person, profile.last_seen_public);
        let chosen = Chosen::read(profile, now);
        let taken = chosen.map(|chosen| self.choose(person, chosen, now));
        taken.and_then(Result::ok).unwrap_or_default()
    }

    /// The devices that people are connected with here.
    pub fn devices(&self) -> Vec<(Person, DeviceId)> {
        let mut devices = Vec::new();
        for (workspace, people) in &self.people {
            for (user, entry) in people {
                let person = || Person {
                    workspace: workspace.clone(),
                    user: user.clone(),
                };
                let ids = entry.device_ids().into_iter();
                devices.extend(ids.map(|id| (person(), id)));
            }
        }
        devices
    }

    /// Whether everyone may see when a connected person was last here.
    pub fn last_seen_public(&self, person: &Person) -> Option<bool> {
        Some(self.entry(person)?.last_seen_public)
    }

    /// People of a workspace who look online, in the order of their ids, above `after`.
    pub fn online(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Vec<PersonSeen> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let people = self.people.get(workspace).into_iter();
        people
            .flat_map(|people| people.range::<UserId, _>((above, Bound::Unbounded)))
            .filter(|(_, entry)| !entry.is_hidden())
            .take(limit)
            .map(|(user, entry)| entry.as_is(user))
            .collect()
    }

    /// How many people are connected, hidden ones included.
    pub fn len(&self) -> usize {
        self.people.values().map(BTreeMap::len).sum()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    fn entry(&self, person: &Person) -> Option<&Entry> {
        self.people.get(&person.workspace)?.get(&person.user)
    }

    fn entry_mut(&mut self, person: &Person) -> Option<&mut Entry> {
        self.people
            .get_mut(&person.workspace)?
            .get_mut(&person.user)
    }

    fn remove(&mut self, person: &Person) {
        let Some(workspace) = self.people.get_mut(&person.workspace) else {
            return;
        };
        if let Some(expiry) = workspace
            .remove(&person.user)
            .and_then(|entry| entry.expiry(person))
        {
            self.expiries.remove(&expiry);
        }
        if workspace.is_empty() {
            self.people.remove(&person.workspace);
        }
    }
}
