//! The timers of messages that do not stay. They are derived from the log, so that none is lost
//! with a process that dies between a message and its timer.

use async_trait::async_trait;
use futures_util::future::try_join_all;
use quikapp_storage::{
    Consumer, Entry, NewTimer, ProjectionStep, SharedStore, StoreError, TimerKind, Timestamp,
    timer_shard,
};

use super::{EXPIRES_AT, message_with};
use crate::{
    conversation::MessageClass,
    delivery::{Projection, timers::Ending},
};

/// When it is looked for the first time whether a message has reached everybody.
const FIRST_LOOK_MS: i64 = 30_000;

/// See the module.
pub(in crate::delivery) struct Timers {
    pub(in crate::delivery) store: SharedStore,
}

#[async_trait]
impl Projection for Timers {
    fn consumer(&self) -> Consumer {
        Consumer::TIMERS
    }

    /// The cursor follows the effect: a timer that is there already is left as it is.
    async fn project(&self, step: &ProjectionStep, entries: &[Entry]) -> Result<bool, StoreError> {
        let timers = entries.iter().filter_map(|entry| timer_of(step, entry));
        // Together, so that they share a commit.
        try_join_all(timers.map(|timer| self.store.put_timer(timer))).await?;
        self.store.move_projection(step).await
    }
}

fn timer_of(step: &ProjectionStep, entry: &Entry) -> Option<NewTimer> {
    let message = message_with(entry, &[&EXPIRES_AT])?;
    let expires_at = message.expires_at?;
    if message.deleted_at.is_some() {
        return None;
    }
    let (kind, due_at) = match message.class {
        MessageClass::UntilDelivered => {
            let first_look = Timestamp(entry.at.0.saturating_add(FIRST_LOOK_MS));
            (TimerKind::UntilDelivered, first_look.min(expires_at))
        }
        _ => (TimerKind::Expire, expires_at),
    };
    let ending = Ending {
        conversation: step.conversation.clone(),
        message: entry.id,
        seq: entry.seq,
        sender: entry.sender.clone(),
        expires_at,
    };
    Some(NewTimer {
        kind,
        id: entry.id.to_string(),
        group: step.conversation.as_str().to_owned(),
        shard: timer_shard(&step.conversation),
        due_at,
        payload: serde_json::to_string(&ending).ok()?.into(),
    })
}
