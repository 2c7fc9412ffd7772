//! A device that follows everything at once, on its person's own stream.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quikapp_history::{Event, Kind};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    BEFORE, Phase, Shared, identity,
    rng::Rng,
    wire::{Cut, Frame, Wire, reply},
};
use crate::support::Guest;

/// Before connecting again, and between two looks at whether all is over.
const BACK_OFF: Duration = Duration::from_millis(50);

pub(super) struct Listener {
    shared: Arc<Shared>,
    person: Guest,
    device: String,
    topic: String,
    rng: Rng,
    cursor: Option<String>,
    highs: BTreeMap<String, u64>,
    is_ready: bool,
    is_quiet: bool,
}

impl Listener {
    pub(super) fn new(shared: &Arc<Shared>, person: &Guest, number: usize, rng: Rng) -> Self {
        Self {
            shared: shared.clone(),
            person: person.clone(),
            device: format!("stream-{number}"),
            topic: format!("user:{}", person.id),
            rng,
            cursor: None,
            highs: shared
                .conversations
                .iter()
                .map(|id| (id.clone(), BEFORE))
                .collect(),
            is_ready: false,
            is_quiet: false,
        }
    }

    pub(super) async fn run(mut self) {
        while !self.has_everything() {
            let _ = self.connection().await;
            if self.shared.is_being_erased(&self.person) {
                return self.shared.is_quiet(&mut self.is_quiet);
            }
            sleep(BACK_OFF).await;
        }
        let tails = self.shared.tails();
        for conversation in self.highs.keys() {
            self.shared.recorder.record(|at| Event::Settled {
                at,
                device: self.device.clone(),
                conversation: conversation.clone(),
                up_to: Some(tails[conversation]),
            });
        }
    }

    /// One connection, to its end.
    async fn connection(&mut self) -> Result<(), Cut> {
        let server = self.shared.server(&mut self.rng);
        let patience = self.shared.plan.patience;
        let mut wire = Wire::connect(&server, &self.person.token, None, patience).await?;
        self.join(&mut wire).await?;
        if !std::mem::replace(&mut self.is_ready, true) {
            self.shared.ready.send_modify(|count| *count += 1);
        }
        let mut left = self.rng.between(self.shared.plan.lifetime);
        let mut asked = None;
        while !self.has_everything() {
            if self.shared.phase() != Phase::Load {
                self.shared.is_quiet(&mut self.is_quiet);
            }
            let Ok(frame) = tokio::time::timeout(BACK_OFF, wire.next()).await else {
                continue;
            };
            let frame = frame?;
            if asked.is_some() && frame.msg_ref == asked {
                asked = None;
                self.stands_at(&reply(frame).1);
            } else {
                self.take(&frame)?;
            }
            left = left.saturating_sub(1);
            if left == 0 && self.shared.phase() == Phase::Load {
                return Err(Cut);
            }
            if asked.is_none() && self.rng.below(24) == 0 {
                asked = Some(wire.push(&self.topic, "stream:cursor", json!({})).await?);
            }
        }
        Ok(())
    }

    async fn join(&mut self, wire: &mut Wire) -> Result<(), Cut> {
        // Before the first join nothing has been said: this device begins at the start.
        let after = self.cursor.is_none().then_some(BEFORE);
        let params = match &self.cursor {
            Some(cursor) => json!({ "cursor": cursor }),
            None => json!({}),
        };
        let msg_ref = wire.push(&self.topic, "phx_join", params).await?;
        let (is_ok, mut joined) = self.answer(wire, msg_ref).await?;
        if !is_ok {
            self.shared.recorder.was_told(Some(&joined));
            return Err(Cut);
        }
        for conversation in self.highs.keys() {
            self.shared.recorder.record(|at| Event::Resumed {
                at,
                device: self.device.clone(),
                user: self.person.id.clone(),
                conversation: conversation.clone(),
                after,
            });
        }
        loop {
            for entry in joined["gap"].as_array().cloned().unwrap_or_default() {
                if let Some(conversation) = entry["conversation_id"].as_str() {
                    let event = entry["event"].as_str().unwrap_or_default();
                    self.shown(conversation, event, &entry["payload"]);
                }
            }
            self.stands_at(&joined);
            if joined["more"] != true {
                return Ok(());
            }
            let ack = json!({ "cursor": self.cursor });
            let msg_ref = wire.push(&self.topic, "message:ack", ack).await?;
            joined = self.answer(wire, msg_ref).await?.1;
        }
    }

    async fn answer(&mut self, wire: &mut Wire, msg_ref: u64) -> Result<(bool, Value), Cut> {
        loop {
            let frame = wire.next_in_time().await?;
            if frame.event == "phx_reply" && frame.msg_ref == Some(msg_ref) {
                return Ok(reply(frame));
            }
            self.take(&frame)?;
        }
    }

    /// Keeps a cursor, which covers everything that was shown before it came.
    fn stands_at(&mut self, response: &Value) {
        let Some(cursor) = response["cursor"].as_str() else {
            return;
        };
        self.cursor = Some(cursor.to_owned());
        for (conversation, seq) in &self.highs {
            self.shared.recorder.record(|at| Event::Acked {
                at,
                device: self.device.clone(),
                conversation: conversation.clone(),
                seq: *seq,
                own: true,
            });
        }
    }

    fn take(&mut self, frame: &Frame) -> Result<(), Cut> {
        if frame.topic != self.topic {
            return Ok(());
        }
        if frame.event == "phx_error" || frame.event == "phx_close" {
            return Err(Cut);
        }
        let conversation = frame.payload["conversation_id"]
            .as_str()
            .unwrap_or_default();
        let conversation = conversation.to_owned();
        if let Some(heard) = identity::heard(&frame.event, &frame.payload) {
            let recorder = &self.shared.recorder;
            recorder.heard(&self.device, &conversation, heard);
        }
        if !self.is_notice(&conversation, &frame.event, &frame.payload) {
            self.shown(&conversation, &frame.event, &frame.payload);
        }
        Ok(())
    }

    /// Whoever is removed finds the removal in their own conversation too, looking the same. Where
    /// it is not the next entry of the conversation it names, it is that notice.
    fn is_notice(&self, conversation: &str, event: &str, payload: &Value) -> bool {
        let Some(seen) = identity::seen(event, payload) else {
            return false;
        };
        let is_own = identity::users(payload).contains(&self.person.id);
        let high = self.highs.get(conversation).copied().unwrap_or_default();
        seen.kind == Kind::MemberLeft && is_own && seen.seq != high + 1
    }

    fn shown(&mut self, conversation: &str, event: &str, payload: &Value) {
        let Some(high) = self.highs.get_mut(conversation) else {
            return;
        };
        let Some(seen) = identity::seen(event, payload) else {
            return;
        };
        *high = seen.seq.max(*high);
        self.shared.recorder.record(|at| Event::Delivered {
            at,
            device: self.device.clone(),
            conversation: conversation.to_owned(),
            seq: seen.seq,
            kind: seen.kind,
            id: seen.id,
            about: seen.forgets,
        });
    }

    fn has_everything(&self) -> bool {
        let Phase::CatchUp(tails) = self.shared.phase() else {
            return false;
        };
        let reached = |(id, high): (&String, &u64)| *high >= tails[id];
        self.highs.iter().all(reached) || self.shared.is_late()
    }
}
