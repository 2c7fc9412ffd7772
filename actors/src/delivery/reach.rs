//! Whether a device can still be replayed what it lacks.

use std::collections::HashMap;

use quikapp_storage::{
    Backlog, ConversationId, DeviceId, Person, Seq, SharedStore, StoreError, StreamCursor,
    Timestamp,
};

use super::Config;

/// Entries looked at together.
const PAGE: usize = 100;

/// What lies behind a cursor over all of a person's conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This store did not issue the cursor.
    NotIssued,
    /// More than is replayed, or something too old: the device begins anew.
    Beyond,
    /// So much, and perhaps more that the device has acknowledged by conversation.
    Within(Backlog),
}

/// Looks at what follows a cursor of a device. Where that is too much, or too old, it counts what
/// the device has not acknowledged conversation by conversation; it looks at twice as much as a
/// queue holds, and no further.
pub async fn reach(
    store: &SharedStore,
    config: &Config,
    now: Timestamp,
    person: &Person,
    device: Option<&DeviceId>,
    cursor: &StreamCursor,
) -> Result<Reach, StoreError> {
    let most = config.queue_entries as u64;
    let backlog = store
        .backlog(person, cursor, most.saturating_add(1))
        .await?;
    let Some(backlog) = backlog else {
        return Ok(Reach::NotIssued);
    };
    let is_old = |at| now.since_ms(at) > config.queue_ttl_ms();
    let is_beyond = backlog.count > most;
    if !is_beyond && !backlog.oldest.is_some_and(is_old) {
        return Ok(Reach::Within(backlog));
    }
    let Some(device) = device else {
        return Ok(Reach::Beyond);
    };
    let mut places = Places::of(store, person, Some(device));
    let (mut lacking, mut looked_at) = (0, 0);
    let mut after = cursor.clone();
    loop {
        let missed = store.missed(person, &after, PAGE).await?;
        looked_at += missed.entries.len();
        for (id, entry) in &missed.entries {
            if entry.seq <= places.get(id).await? {
                continue;
            }
            lacking += 1;
            if is_old(entry.at) || lacking > config.queue_entries {
                return Ok(Reach::Beyond);
            }
        }
        if !missed.more {
            return Ok(Reach::Within(backlog));
        }
        if looked_at > 2 * config.queue_entries {
            return Ok(Reach::Beyond);
        }
        after = missed.next;
    }
}

/// Up to where a device has acknowledged conversations, each read once. Without a device, nothing
/// is.
pub struct Places<'a> {
    store: &'a SharedStore,
    person: &'a Person,
    device: Option<&'a DeviceId>,
    known: HashMap<ConversationId, Seq>,
}

impl<'a> Places<'a> {
    /// Those of one device.
    pub fn of(store: &'a SharedStore, person: &'a Person, device: Option<&'a DeviceId>) -> Self {
        Self {
            store,
            person,
            device,
            known: HashMap::new(),
        }
    }

    /// The place in one conversation.
    pub async fn get(&mut self, id: &ConversationId) -> Result<Seq, StoreError> {
        if let Some(seq) = self.known.get(id) {
            return Ok(*seq);
        }
        let seq = match self.device {
            None => Seq(0),
            Some(device) => {
                let cursor = self.store.device_cursor(self.person, device, id).await?;
                cursor.unwrap_or_default()
            }
        };
        self.known.insert(id.clone(), seq);
        Ok(seq)
    }
}
