//! The handle: shards of people, and the effects of what happens to them.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use quikapp_storage::{
    DeviceId, PeopleStore, Person, Profile, StoreError, Timestamp, UserId, WorkspaceId,
};

use super::{
    Chosen, Connected, Core, CustomStatus, Effect, InvalidStatus, NotConnected, PersonSeen, Shown,
    Status,
    keeper::{Choice, Keeper},
    wire,
};
use crate::{
    Clock,
    fanout::{ConnectionId, Fanout},
    presence::{Presence, Tracker},
    supervision::{Supervisor, SupervisorSpec},
};

const SHARDS: u64 = 16;

/// Why a choice was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// The person has no socket here.
    #[error(transparent)]
    NotConnected(#[from] NotConnected),
    /// The custom status is not taken.
    #[error(transparent)]
    Invalid(#[from] InvalidStatus),
    /// Too many choices wait to be written down. Nothing was done.
    #[error("too many changes wait to be written")]
    Overloaded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who is online. Cloning shares it.
#[derive(Debug, Clone)]
pub struct People(pub(super) Arc<Inner>);

pub(super) struct Inner {
    fanout: Fanout,
    presence: Presence,
    pub(super) store: Arc<dyn PeopleStore>,
    pub(super) clock: Arc<dyn Clock>,
    shards: Box<[Mutex<Core>]>,
    hasher: RandomState,
    keeper: Keeper,
}

/// A joined channel of a person. Dropping it is the channel's end: it leaves no ghost, whatever
/// became of the connection's task.
#[derive(Debug)]
#[must_use = "dropping it means that the channel has ended"]
pub struct Joined {
    people: People,
    person: Person,
    tracker: Tracker,
}

impl Joined {
    /// Shows the person on a topic, under their user id and for as long as the channel lives,
    /// unless they are invisible. Push `presence_state` first.
    pub fn enter(&self, topic: &Arc<str>) -> Result<(), NotConnected> {
        let (person, tracker) = (&self.person, self.tracker);
        let inner = &self.people.0;
        inner.try_change(person, |core| core.entered(person, tracker, topic))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let (person, tracker) = (&self.person, self.tracker);
        let now = self.people.0.clock.now();
        let end = |core: &mut Core| core.ended(person, tracker, now);
        self.people.0.change(person, end);
    }
}

impl People {
    /// Like [`start_under`](Self::start_under), with a supervisor of its own.
    pub fn start(
        fanout: Fanout,
        presence: Presence,
        store: Arc<dyn PeopleStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let alone = Supervisor::start(SupervisorSpec::new("alone"));
        Self::start_under(&alone, fanout, presence, store, clock)
    }

    /// Nobody is online. Starts the task that writes choices down and clears custom statuses.
    pub fn start_under(
        supervisor: &Supervisor,
        fanout: Fanout,
        presence: Presence,
        store: Arc<dyn PeopleStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self(Arc::new_cyclic(|people| Inner {
            fanout,
            keeper: Keeper::start(supervisor, people.clone(), store.clone(), presence.clone()),
            presence,
            store,
            clock,
            shards,
            hasher: RandomState::new(),
        }))
    }

    /// A channel of a person is being joined: they are online until the last of what this returns
    /// is dropped. Attach it to the channel.
    pub async fn joined(
        &self,
        person: &Person,
        tracker: Tracker,
        device: Option<DeviceId>,
    ) -> Result<Joined, StoreError> {
        if !self.0.join_known(person, tracker, device.clone()) {
            // Without the profile an invisible person would show: no profile, no join.
            let profile = self.0.profile(person).await?;
            self.0.join(person, profile.as_ref(), tracker, device);
        }
        Ok(Joined {
            people: self.clone(),
            person: person.clone(),
            tracker,
        })
    }

    /// A socket's person looks at the conversation of one topic that they have entered.
    pub fn viewing(&self, person: &Person, connection: ConnectionId, topic: &str) {
        self.0
            .change(person, |core| core.viewing(person, connection, topic));
    }

    /// A connected person chooses a status: written down, published, and then this returns.
    pub async fn choose_status(&self, person: &Person, status: Status) -> Result<(), ChooseError> {
        self.0.chosen(person)?;
        self.0.keeper.choose(person, Choice::Status(status)).await
    }

    /// A connected person sets or clears their custom status, likewise.
    pub async fn choose_custom(
        &self,
        person: &Person,
        custom: Option<CustomStatus>,
    ) -> Result<(), ChooseError> {
        if let Some(custom) = &custom {
            custom.validate(self.0.clock.now())?;
        }
        self.0.chosen(person)?;
        self.0.keeper.choose(person, Choice::Custom(custom)).await
    }

    /// Everyone may see when a person was last here, or may no longer, and the store knows it. It
    /// is read again wherever they are connected.
    pub fn last_seen_shown(&self, person: &Person, public: bool) {
        self.0.change(person, |core| {
            core.set_last_seen_public(person, public);
            Vec::new()
        });
        self.0.presence.unsettle(person);
    }

    /// How a connected person sees themselves.
    pub fn myself(&self, person: &Person) -> Option<PersonSeen> {
        self.0.shard(person).lock().seen_by_self(person)
    }

    /// How a person is connected, to whichever node: to this one as of now, to others as of a
    /// moment ago ([`Presence::connected_elsewhere`]), and to this one alone while nodes do not
    /// hear each other. Never for others to see: invisible people are connected, too.
    pub fn connected(&self, person: &Person) -> Option<Connected> {
        let here = self.0.shard(person).lock().connected(person);
        if !self.0.presence.is_shared() {
            return here;
        }
        here.into_iter()
            .chain(self.0.elsewhere(person))
            .reduce(Connected::and)
    }

    /// The devices that people are connected with to this node.
    pub fn devices(&self) -> Vec<(Person, DeviceId)> {
        let shards = self.0.shards.iter();
        shards.flat_map(|core| core.lock().devices()).collect()
    }

    /// What a person has chosen, connected or not.
    pub async fn chosen(&self, person: &Person) -> Result<Chosen, StoreError> {
        if let Ok(chosen) = self.0.chosen(person) {
            return Ok(chosen);
        }
        let profile = self.0.profile(person).await?;
        let chosen = profile.map(|profile| Chosen::of(&profile, self.0.clock.now()));
        Ok(chosen.unwrap_or_default())
    }

    /// Whether a connected person looks offline to others.
    pub fn is_invisible(&self, person: &Person) -> bool {
        self.myself(person)
            .is_some_and(|seen| seen.status == Shown::Invisible)
    }

    /// People of a workspace who look online, in the order of their ids, above `after`, with last
    /// seen left out.
    pub fn online(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Vec<PersonSeen> {
        let pages = self.0.shards.iter();
        let pages = pages.flat_map(|core| core.lock().online(workspace, after, limit));
        let mut people: Vec<_> = pages.collect();
        people.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        people.truncate(limit);
        people
    }

    /// How many people are connected to this node, invisible ones included.
    pub fn count(&self) -> usize {
        self.0.shards.iter().map(|core| core.lock().len()).sum()
    }

    /// Returns when everything that was to be written down before is. Call it before stopping.
    pub async fn flush(&self) {
        self.0.keeper.flush().await;
    }
}

impl Inner {
    fn join(
        &self,
        person: &Person,
        profile: Option<&Profile>,
        tracker: Tracker,
        device: Option<DeviceId>,
    ) {
        let now = self.clock.now();
        self.change(person, |core| {
            core.joined(person, profile, tracker, device, now)
        });
    }

    /// Whether the person was here already; then their profile is, too.
    fn join_known(&self, person: &Person, tracker: Tracker, device: Option<DeviceId>) -> bool {
        let now = self.clock.now();
        let mut core = self.shard(person).lock();
        let is_known = core.knows(person);
        if is_known {
            let effects = core.joined(person, None, tracker, device, now);
            self.run(effects);
            self.enroll(person, &core);
        }
        is_known
    }

    /// What a connected person has chosen.
    pub(super) fn chosen(&self, person: &Person) -> Result<Chosen, NotConnected> {
        self.shard(person).lock().chosen(person).cloned()
    }

    /// What a person with a socket here had chosen before what they choose now: as the store has
    /// it, where they may have chosen on another node.
    pub(super) async fn chosen_before(&self, person: &Person) -> Result<Chosen, ChooseError> {
        let known = self.chosen(person)?;
        if !self.presence.is_shared() {
            return Ok(known);
        }
        let profile = self.profile(person).await?;
        let kept = profile.map(|profile| Chosen::read(&profile, self.clock.now()));
        Ok(kept.unwrap_or_default().unwrap_or(known))
    }

    /// Takes over what the store has of a person.
    pub(super) fn adopt(&self, profile: &Profile) {
        let now = self.clock.now();
        self.change(&profile.person, |core| core.adopt(profile, now));
    }

    async fn profile(&self, person: &Person) -> Result<Option<Profile>, StoreError> {
        let users = std::slice::from_ref(&person.user);
        let profiles = self.store.profiles(&person.workspace, users).await?;
        Ok(profiles.into_iter().next())
    }

    /// A choice has been written down. Who has gone meanwhile may be connected elsewhere.
    pub(super) fn choose(&self, person: &Person, chosen: Chosen) -> Result<(), NotConnected> {
        let now = self.clock.now();
        let taken = self.try_change(person, |core| core.choose(person, chosen, now));
        taken.inspect_err(|_| self.presence.unsettle(person))
    }

    /// Clears custom statuses; returns when the next one is due.
    pub(super) fn expire(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        for core in &self.shards {
            let mut core = core.lock();
            let expiring = core.expiring(now);
            let effects = core.expire(now);
            self.run(effects);
            for person in expiring {
                self.enroll(&person, &core);
            }
        }
        let expiries = self.shards.iter();
        expiries.filter_map(|core| core.lock().next_expiry()).min()
    }

    fn change(&self, person: &Person, change: impl FnOnce(&mut Core) -> Vec<Effect>) {
        let mut core = self.shard(person).lock();
        let effects = change(&mut core);
        self.run(effects);
        self.enroll(person, &core);
    }

    fn try_change(
        &self,
        person: &Person,
        change: impl FnOnce(&mut Core) -> Result<Vec<Effect>, NotConnected>,
    ) -> Result<(), NotConnected> {
        let mut core = self.shard(person).lock();
        let effects = change(&mut core)?;
        self.run(effects);
        self.enroll(person, &core);
        Ok(())
    }

    /// Tells the other nodes how a person is connected here, if that is new. Under the shard's
    /// lock, so that the last word is the last.
    fn enroll(&self, person: &Person, core: &Core) {
        if self.presence.is_shared() {
            let said = core.line(person);
            self.presence.say_connected(person, said.as_deref());
        }
    }

    /// How a person is connected to other nodes, one item each.
    pub(super) fn elsewhere(&self, person: &Person) -> impl Iterator<Item = Connected> + use<> {
        let said = self.presence.connected_elsewhere(person).into_iter();
        said.map(|said| Connected::read(&said))
    }

    /// Under the shard's lock, so that effects happen in the order of their causes.
    fn run(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Track {
                    tracker,
                    topic,
                    user,
                    meta,
                } => drop(self.presence.track(tracker, &topic, &key(&user), meta)),
                Effect::Update {
                    tracker,
                    topic,
                    user,
                    meta,
                } => drop(self.presence.update(tracker, &topic, &key(&user), |_| meta)),
                Effect::Untrack {
                    tracker,
                    topic,
                    user,
                } => drop(self.presence.untrack(tracker, &topic, &key(&user))),
                Effect::KeepLastSeen { person, at } => self.keeper.keep_last_seen(person, at),
                told => self.tell(&told),
            }
        }
    }

    /// On this node only: what it knows of a person's devices is not what others know of them.
    fn tell(&self, effect: &Effect) {
        for broadcast in wire::broadcasts(effect, self.clock.now()) {
            self.fanout.publish_local(broadcast);
        }
    }

    pub(super) fn shard(&self, person: &Person) -> &Mutex<Core> {
        let number = self.hasher.hash_one(person) % SHARDS;
        &self.shards[number as usize]
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("People").finish_non_exhaustive()
    }
}

fn key(user: &UserId) -> Arc<str> {
    user.as_str().into()
}
