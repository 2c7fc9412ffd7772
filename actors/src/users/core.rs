//! What is known of one person, and what has to be read again. Pure.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scripts;

use quikapp_storage::{
    ConversationId, DeviceId, MessageId, Mute, PendingQueue, StreamCursor, Timestamp,
};

use super::overview::{DeviceBehind, InConversation, InThread, Overview, Pending};
use crate::{notify::is_in_force, registered::Registered};

/// For how long what is known counts without reading all of it again, in milliseconds: by then it
/// includes what other processes on the same store wrote, which raise no count here.
pub const FRESH: i64 = 10_000;
/// Conversations that an overview lists.
const LISTED: usize = 1_000;

/// What has happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The counts as they stand, looked at before anything is read: of the person, and of the
    /// conversations that are watched.
    Look {
        person: u64,
        conversations: Vec<(ConversationId, u64)>,
    },
    /// The person is in these now.
    Memberships(Vec<ConversationId>),
    /// What is unread in one of them.
    Counted(ConversationId, Tally),
    /// What waits for the person, and where their devices are.
    Waiting {
        queue: PendingQueue,
        devices: Vec<(DeviceId, Option<StreamCursor>)>,
    },
    /// Whether what follows a device's place is too much or too old to be replayed.
    Measured(DeviceId, bool),
}

/// What has to be done for it, in this order, before the counts are looked at again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Read which conversations the person is in.
    ReadMemberships,
    /// Watch these.
    Watch(Vec<ConversationId>),
    /// And these no longer.
    Unwatch(Vec<ConversationId>),
    /// Read what is unread in these.
    Count(Vec<ConversationId>),
    /// Read what waits, and where the devices are.
    ReadWaiting,
    /// See how far these devices are behind.
    Measure(Vec<(DeviceId, StreamCursor)>),
}

/// What is unread in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// On its main timeline.
    pub(super) unread: u64,
    /// In threads that the person follows; only those with something.
    pub(super) threads: Vec<(MessageId, u64)>,
    /// How far they want to hear of it.
    pub(super) mute: Option<Mute>,
}

/// What is known of one person.
#[derive(Debug, Default)]
pub(super) struct Core {
    person: Standing,
    /// By id, without spare room: a person is active for minutes and in many conversations.
    conversations: Vec<Known>,
    waiting: Waiting,
    /// Since when everything was read again at least once.
    since: Option<Timestamp>,
}

#[derive(Debug)]
struct Known {
    id: ConversationId,
    /// Whether its count was there at the last look: what is read before that may be missed.
    is_watched: bool,
    standing: Standing,
    /// Most conversations have nothing to tell.
    tally: Option<Box<Tally>>,
}

/// Where a count was seen, and where it was when something was read.
#[derive(Debug, Default)]
struct Standing {
    seen: u64,
    read: Option<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    is_read: bool,
    count: u64,
    oldest: Option<Timestamp>,
    /// By id.
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    id: DeviceId,
    cursor: Option<StreamCursor>,
    /// Not known while it is being measured.
    is_beyond: Option<bool>,
}

impl Core {
    pub(super) fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        match input {
            Input::Look {
                person,
                conversations,
            } => self.look(person, conversations, now),
            Input::Memberships(ids) => self.memberships(ids),
            Input::Counted(id, tally) => {
                if let Some(known) = self.known_mut(&id) {
                    let is_something = tally != Tally::default();
                    known.tally = is_something.then(|| Box::new(tally));
                    known.standing.is_read();
                }
                Vec::new()
            }
            Input::Waiting { queue, devices } => self.waiting(&queue, devices),
            Input::Measured(id, is_beyond) => {
                let mut devices = self.waiting.devices.iter_mut();
                if let Some(device) = devices.find(|it| it.id == id) {
                    device.is_beyond = Some(is_beyond);
                }
                Vec::new()
            }
        }
    }

    /// What is known, as it is shown. `connected` are the devices that have a socket, `registered`
    /// those that have names.
    pub(super) fn overview(
        &self,
        connected: &[DeviceId],
        registered: &Registered,
        now: Timestamp,
    ) -> Overview {
        let mut shown = Overview {
            pending: self.waiting.shown(connected, registered),
            ..Overview::default()
        };
        for known in &self.conversations {
            let Some(tally) = &known.tally else {
                continue;
            };
            let in_threads: u64 = tally.threads.iter().map(|(_, unread)| unread).sum();
            let unread = tally.unread + in_threads;
            if unread == 0 {
                continue;
            }
            let mute = tally.mute.filter(|mute| is_in_force(mute, now));
            shown.unread += unread;
            shown.badge += if mute.is_none() { unread } else { 0 };
            if shown.conversations.len() == LISTED {
                shown.more = true;
                continue;
            }
            let threads = tally.threads.iter();
            shown.conversations.push(InConversation {
                conversation_id: known.id.clone(),
                unread: tally.unread,
                mute,
                threads: threads
                    .map(|&(root, unread)| InThread { root, unread })
                    .collect(),
            });
        }
        shown
    }

    fn look(
        &mut self,
        person: u64,
        conversations: Vec<(ConversationId, u64)>,
        now: Timestamp,
    ) -> Vec<Effect> {
        self.grow_old(now);
        self.person.seen = person;
        let mut effects = self.compare(conversations);
        if !self.person.holds() {
            effects.push(Effect::ReadMemberships);
        }
        let known = self.conversations.iter();
        let stale: Vec<_> = known
            .filter(|known| known.is_watched && !known.standing.holds())
            .map(|known| known.id.clone())
            .collect();
        if !stale.is_empty() {
            effects.push(Effect::Count(stale));
        }
        // Whatever has changed may have been queued, or taken out of the queue.
        self.waiting.is_read &= effects.is_empty();
        if !self.waiting.is_read {
            effects.push(Effect::ReadWaiting);
        }
        effects
    }

    /// Takes the counts over. What should be watched and is not, or the other way round, was lost
    /// with a question that failed: it is put right.
    fn compare(&mut self, conversations: Vec<(ConversationId, u64)>) -> Vec<Effect> {
        for known in &mut self.conversations {
            known.is_watched = false;
        }
        let mut needless = Vec::new();
        for (id, count) in conversations {
            match self.known_mut(&id) {
                Some(known) => {
                    known.is_watched = true;
                    known.standing.seen = count;
                }
                None => needless.push(id),
            }
        }
        let known = self.conversations.iter();
        let missing = known.filter(|known| !known.is_watched);
        let missing = missing.map(|known| known.id.clone()).collect();
        watches(needless, missing)
    }

    fn known_mut(&mut self, id: &ConversationId) -> Option<&mut Known> {
        let known = &mut self.conversations;
        let place = known.binary_search_by(|known| known.id.cmp(id)).ok()?;
        known.get_mut(place)
    }

    /// From time to time nothing that is known counts. A clock that went back is no proof.
    fn grow_old(&mut self, now: Timestamp) {
        let is_fresh = |since: Timestamp| (0..FRESH).contains(&now.0.saturating_sub(since.0));
        if self.since.is_some_and(is_fresh) {
            return;
        }
        self.since = Some(now);
        self.person.read = None;
        for known in &mut self.conversations {
            known.standing.read = None;
        }
    }

    fn memberships(&mut self, mut ids: Vec<ConversationId>) -> Vec<Effect> {
        ids.sort_unstable();
        ids.dedup();
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        let mut now = Vec::with_capacity(ids.len());
        // Both are in the same order.
        let mut before = std::mem::take(&mut self.conversations)
            .into_iter()
            .peekable();
        for id in ids {
            while let Some(left) = before.next_if(|known| known.id < id) {
                gone.push(left.id);
            }
            now.push(before.next_if(|known| known.id == id).unwrap_or_else(|| {
                new.push(id.clone());
                Known::new(id)
            }));
        }
        gone.extend(before.map(|left| left.id));
        self.conversations = now;
        self.person.is_read();
        watches(gone, new)
    }

    /// A device that is beyond reach stays so until it moves, and is not measured again: that
    /// would be a long look for an old phone in a drawer.
    fn waiting(
        &mut self,
        queue: &PendingQueue,
        devices: Vec<(DeviceId, Option<StreamCursor>)>,
    ) -> Vec<Effect> {
        let before = std::mem::take(&mut self.waiting.devices);
        let mut measured = Vec::new();
        for (id, cursor) in devices {
            let known = before.iter().find(|device| device.id == id);
            let stays =
                |it: &Device| cursor.is_some() && it.cursor == cursor && it.is_beyond == Some(true);
            let is_beyond = match &cursor {
                None => Some(false),
                Some(_) if known.is_some_and(stays) => Some(true),
                Some(cursor) => {
                    measured.push((id.clone(), cursor.clone()));
                    None
                }
            };
            self.waiting.devices.push(Device {
                id,
                cursor,
                is_beyond,
            });
        }
        self.waiting
            .devices
            .sort_unstable_by(|a, b| a.id.cmp(&b.id));
        self.waiting.devices.shrink_to_fit();
        self.waiting.is_read = true;
        self.waiting.count = queue.total;
        let oldest = queue.conversations.iter().map(|it| it.oldest);
        self.waiting.oldest = oldest.min();
        match measured.is_empty() {
            true => Vec::new(),
            false => vec![Effect::Measure(measured)],
        }
    }
}

impl Known {
    fn new(id: ConversationId) -> Self {
        Self {
            id,
            is_watched: false,
            standing: Standing::default(),
            tally: None,
        }
    }
}

impl Standing {
    fn holds(&self) -> bool {
        self.read == Some(self.seen)
    }

    /// What was read holds as of the last look.
    fn is_read(&mut self) {
        self.read = Some(self.seen);
    }
}

impl Waiting {
    fn shown(&self, connected: &[DeviceId], registered: &Registered) -> Pending {
        let behind = |device: &Device| DeviceBehind {
            device_id: device.id.clone(),
            platform: registered.get(&device.id).map(|it| it.platform),
            name: registered.get(&device.id).and_then(|it| it.name.clone()),
            is_connected: connected.contains(&device.id),
            reset_required: device.is_beyond == Some(true),
        };
        Pending {
            count: self.count,
            oldest: self.oldest,
            devices: self.devices.iter().map(behind).collect(),
        }
    }
}

fn watches(gone: Vec<ConversationId>, new: Vec<ConversationId>) -> Vec<Effect> {
    let gone = (!gone.is_empty()).then_some(Effect::Unwatch(gone));
    let new = (!new.is_empty()).then_some(Effect::Watch(new));
    gone.into_iter().chain(new).collect()
}
