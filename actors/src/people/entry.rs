//! One connected person.

use std::sync::Arc;

use quikapp_storage::{DeviceId, Person, Profile, Timestamp, UserId};
use serde_json::{Map, json};

use super::{Chosen, CustomStatus, DeviceSeen, Effect, PersonSeen, Publicly, Shown, Status};
use crate::{
    fanout::ConnectionId,
    presence::{Meta, Tracker},
};

/// A connection on which the person has joined something.
#[derive(Debug)]
pub(super) struct Socket {
    connection: ConnectionId,
    device: Option<DeviceId>,
    since: Timestamp,
    channels: u32,
}

impl Socket {
    pub(super) fn new(
        connection: ConnectionId,
        device: Option<DeviceId>,
        since: Timestamp,
    ) -> Self {
        Self {
            connection,
            device,
            since,
            channels: 1,
        }
    }
}

/// A channel on a topic that shows who is there.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) tracker: Tracker,
    pub(super) topic: Arc<str>,
    pub(super) viewing: bool,
}

/// A connected person: about 200 bytes with one socket.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) chosen: Chosen,
    last_seen: Option<Timestamp>,
    pub(super) last_seen_public: bool,
    /// Never empty.
    pub(super) sockets: Vec<Socket>,
    pub(super) rooms: Vec<Room>,
    /// Topics that were left: they hear of the end too, since the channels of a dying socket end
    /// one after the other. At most [`LEFT`].
    left: Vec<Arc<str>>,
}

/// Enough for the topics of a socket that dies.
const LEFT: usize = 32;

impl Entry {
    pub(super) fn new(profile: Option<&Profile>, socket: Socket) -> Self {
        let chosen = profile.map(|profile| Chosen::of(profile, socket.since));
        Self {
            chosen: chosen.unwrap_or_default(),
            last_seen: profile.and_then(|profile| profile.last_seen),
            last_seen_public: profile.is_some_and(|profile| profile.last_seen_public),
            sockets: vec![socket],
            rooms: Vec::new(),
            left: Vec::new(),
        }
    }

    /// One channel more. Says whether it is the first of a device.
    pub(super) fn count_in(&mut self, socket: Socket) -> bool {
        let is_same = |s: &&mut Socket| s.connection == socket.connection;
        if let Some(known) = self.sockets.iter_mut().find(is_same) {
            known.channels += 1;
            return false;
        }
        let is_another = !self.has_device(socket.device.as_ref());
        self.sockets.push(socket);
        is_another
    }

    /// One channel less; a socket goes with its last one. Says whether a device went with it.
    pub(super) fn count_out(&mut self, connection: ConnectionId) -> bool {
        let is_it = |s: &Socket| s.connection == connection;
        let Some(place) = self.sockets.iter().position(is_it) else {
            return false;
        };
        let socket = &mut self.sockets[place];
        socket.channels -= 1;
        if socket.channels > 0 {
            return false;
        }
        let gone = self.sockets.remove(place);
        !self.has_device(gone.device.as_ref())
    }

    /// Whether a socket belongs to the device. Sockets without a device id are one each.
    fn has_device(&self, device: Option<&DeviceId>) -> bool {
        let is_its = |s: &Socket| s.device.as_ref() == device;
        device.is_some() && self.sockets.iter().any(is_its)
    }

    pub(super) fn devices_changed(&self, person: &Person) -> Effect {
        Effect::DevicesChanged {
            person: person.clone(),
            devices: self.devices(),
        }
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.sockets.iter().any(|s| s.connection == connection)
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.chosen.status == Status::Invisible
    }

    /// When the custom status clears itself, as a key to order by.
    pub(super) fn expiry(&self, person: &Person) -> Option<(Timestamp, Person)> {
        let at = self.chosen.custom.as_ref()?.expires_at?;
        Some((at, person.clone()))
    }

    /// The topics the person is on, each once.
    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> = self.rooms.iter().map(|room| room.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    pub(super) fn leave_rooms(&mut self, person: &Person, tracker: Tracker) -> Vec<Effect> {
        let left = self.rooms.extract_if(.., |room| room.tracker == tracker);
        let left: Vec<_> = left.collect();
        for room in &left {
            if self.left.len() < LEFT && !self.left.contains(&room.topic) {
                self.left.push(room.topic.clone());
            }
        }
        if self.is_hidden() {
            return Vec::new();
        }
        left.iter().map(|room| untrack(person, room)).collect()
    }

    /// The last socket has gone, and every room has been left.
    pub(super) fn gone(&mut self, person: &Person, now: Timestamp) -> Vec<Effect> {
        if self.is_hidden() {
            return Vec::new();
        }
        self.last_seen = Some(now);
        let topics = std::mem::take(&mut self.left);
        self.offline(person, topics, now)
    }

    fn offline(&self, person: &Person, topics: Vec<Arc<str>>, at: Timestamp) -> Vec<Effect> {
        let offline = Effect::Offline {
            person: person.clone(),
            last_seen: self.last_seen_public.then_some(at),
            topics,
        };
        let person = person.clone();
        vec![offline, Effect::KeepLastSeen { person, at }]
    }

    /// Takes a choice, and says what is new about it.
    pub(super) fn choose(
        &mut self,
        person: &Person,
        chosen: Chosen,
        now: Timestamp,
    ) -> Vec<Effect> {
        let was = std::mem::replace(&mut self.chosen, chosen);
        if was == self.chosen {
            return Vec::new();
        }
        let was_hidden = was.status == Status::Invisible;
        let mut effects = Vec::new();
        match (was_hidden, self.is_hidden()) {
            (false, true) => effects.extend(self.hide(person, now)),
            (true, false) => effects.extend(self.show(person)),
            (false, false) => effects.extend(self.rooms.iter().map(|r| self.update(person, r))),
            (true, true) => {}
        }
        if was.status != self.chosen.status {
            effects.push(self.status_changed(person, was_hidden));
        }
        if was.custom != self.chosen.custom {
            effects.push(self.custom_changed(person));
        }
        effects
    }

    /// For everybody else this is the moment the person goes.
    fn hide(&mut self, person: &Person, now: Timestamp) -> Vec<Effect> {
        self.last_seen = Some(now);
        let mut effects: Vec<_> = self.rooms.iter().map(|r| untrack(person, r)).collect();
        effects.extend(self.offline(person, self.topics(), now));
        effects
    }

    fn show(&self, person: &Person) -> Vec<Effect> {
        let mut effects = vec![Effect::Online {
            person: person.clone(),
            status: self.chosen.status,
        }];
        effects.extend(self.rooms.iter().map(|room| self.track(person, room)));
        effects
    }

    /// Coming and going are told as such, not as changes of a status nobody saw.
    fn status_changed(&self, person: &Person, was_hidden: bool) -> Effect {
        let publicly = match was_hidden {
            true => Publicly::Nobody,
            false => self.publicly(),
        };
        Effect::StatusChanged {
            person: person.clone(),
            status: self.chosen.status,
            publicly,
        }
    }

    fn custom_changed(&self, person: &Person) -> Effect {
        Effect::CustomChanged {
            person: person.clone(),
            custom: self.custom(),
            publicly: self.publicly(),
        }
    }

    fn publicly(&self) -> Publicly {
        match self.is_hidden() {
            true => Publicly::Nobody,
            false => Publicly::Everyone {
                topics: self.topics(),
            },
        }
    }

    fn custom(&self) -> Option<CustomStatus> {
        self.chosen.custom.as_deref().cloned()
    }

    pub(super) fn track(&self, person: &Person, room: &Room) -> Effect {
        Effect::Track {
            tracker: room.tracker,
            topic: room.topic.clone(),
            user: person.user.clone(),
            meta: self.meta(person, room),
        }
    }

    pub(super) fn update(&self, person: &Person, room: &Room) -> Effect {
        Effect::Update {
            tracker: room.tracker,
            topic: room.topic.clone(),
            user: person.user.clone(),
            meta: self.meta(person, room),
        }
    }

    /// What one channel of the person shows.
    fn meta(&self, person: &Person, room: &Room) -> Meta {
        let mut members = Map::new();
        members.insert("user_id".into(), json!(person.user));
        members.insert("status".into(), json!(self.chosen.status));
        if let Some(custom) = &self.chosen.custom {
            members.insert("custom_status".into(), json!(custom));
        }
        let is_its = |s: &&Socket| s.connection == room.tracker.connection;
        if let Some(socket) = self.sockets.iter().find(is_its) {
            members.insert("online_at".into(), json!(socket.since));
            if let Some(device) = &socket.device {
                members.insert("device_id".into(), json!(device));
            }
        }
        if room.viewing {
            members.insert("activity".into(), json!("viewing"));
        }
        Meta::new(members)
    }

    pub(super) fn as_is(&self, user: &UserId) -> PersonSeen {
        PersonSeen {
            user_id: user.clone(),
            status: self.chosen.status.into(),
            last_seen: self.last_seen.filter(|_| self.is_hidden()),
            custom_status: self.custom(),
            devices: self.devices(),
        }
    }

    pub(super) fn as_offline(&self, user: &UserId) -> PersonSeen {
        PersonSeen {
            user_id: user.clone(),
            status: Shown::Offline,
            last_seen: self.last_seen,
            custom_status: None,
            devices: Vec::new(),
        }
    }

    /// The devices that have ids, each once.
    pub(super) fn device_ids(&self) -> Vec<DeviceId> {
        let mut ids: Vec<DeviceId> = Vec::new();
        for id in self.sockets.iter().filter_map(|it| it.device.as_ref()) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        ids
    }

    /// Each device once, with its oldest socket; sockets without a device id are one each.
    fn devices(&self) -> Vec<DeviceSeen> {
        let mut devices: Vec<DeviceSeen> = Vec::new();
        for socket in &self.sockets {
            let is_same = |seen: &DeviceSeen| seen.device_id == socket.device;
            if socket.device.is_none() || !devices.iter().any(is_same) {
                devices.push(DeviceSeen {
                    device_id: socket.device.clone(),
                    online_at: socket.since,
                });
            }
        }
        devices
    }
}

fn untrack(person: &Person, room: &Room) -> Effect {
    Effect::Untrack {
        tracker: room.tracker,
        topic: room.topic.clone(),
        user: person.user.clone(),
    }
}
