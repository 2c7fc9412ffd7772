//! Somebody who talks, on a device that follows conversations one by one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use quikapp_history::{Event, Kind, Mark};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Phase, Shared,
    ideas::{Ask, Ideas, Rights},
    identity,
    members::refusal,
    recorder::Outcome,
    rng::Rng,
    wire::{Cut, Frame, Wire, reply},
};
use crate::support::Guest;

/// After a refusal, and before connecting again.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Between two new things to say, in milliseconds.
const THINKS: (u64, u64) = (5, 25);

/// How a device says where it stands when it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It names the last place that it has.
    LastSeq,
    /// The server goes by its cursor.
    Cursor,
}

pub(super) struct Chatter {
    shared: Arc<Shared>,
    person: Guest,
    device: String,
    way: Way,
    rng: Rng,
    places: BTreeMap<String, Place>,
    redo: VecDeque<Ask>,
    waiting: HashMap<u64, (Ask, u64)>,
    /// Acknowledgements under way, by their refs.
    acks: HashMap<u64, String>,
    /// Marks under way, likewise: the attempts.
    marks: HashMap<u64, u64>,
    ideas: Ideas,
    speaks_at: Instant,
    is_ready: bool,
    is_quiet: bool,
}

/// Where the device stands in a conversation.
#[derive(Default)]
struct Place {
    high: u64,
    has_cursor: bool,
}

impl Chatter {
    pub(super) fn new(
        shared: &Arc<Shared>,
        person: &Guest,
        number: usize,
        way: Way,
        conversations: &[String],
        rights: Rights,
        rng: Rng,
    ) -> Self {
        let places = conversations
            .iter()
            .map(|id| (id.clone(), Place::default()));
        Self {
            shared: shared.clone(),
            person: person.clone(),
            device: format!("device-{number}"),
            way,
            rng,
            places: places.collect(),
            redo: VecDeque::new(),
            waiting: HashMap::new(),
            acks: HashMap::new(),
            marks: HashMap::new(),
            ideas: Ideas::new(rights),
            speaks_at: Instant::now(),
            is_ready: false,
            is_quiet: false,
        }
    }

    pub(super) async fn run(mut self) {
        while !self.has_everything() {
            let _ = self.connection().await;
            // Whatever was not answered may or may not have been done.
            for (_, (ask, op)) in std::mem::take(&mut self.waiting) {
                self.shared.recorder.outcome(op, Outcome::Unknown);
                self.again(ask, true);
            }
            for (_, op) in std::mem::take(&mut self.marks) {
                self.shared.recorder.beside(op, Outcome::Unknown);
            }
            self.acks.clear();
            if self.shared.is_being_erased(&self.person) {
                self.redo.clear();
                return self.shared.is_quiet(&mut self.is_quiet);
            }
            sleep(BACK_OFF).await;
        }
        let tails = self.shared.tails();
        for conversation in self.places.keys() {
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
        let device = Some(&*self.device);
        let patience = self.shared.plan.patience;
        let mut wire = Wire::connect(&server, &self.person.token, device, patience).await?;
        let conversations: Vec<_> = self.places.keys().cloned().collect();
        for conversation in &conversations {
            self.join(&mut wire, conversation).await?;
        }
        if !std::mem::replace(&mut self.is_ready, true) {
            self.shared.ready.send_modify(|count| *count += 1);
        }
        let mut phase = self.shared.phase.subscribe();
        let mut left = self.rng.between(self.shared.plan.lifetime);
        let mut heard = Instant::now();
        while !self.has_everything() {
            self.speak(&mut wire).await?;
            tokio::select! {
                frame = wire.next() => {
                    heard = Instant::now();
                    self.take(frame?)?;
                    self.acknowledge(&mut wire).await?;
                    left = left.saturating_sub(1);
                }
                _ = phase.changed() => {}
                () = sleep(Duration::from_millis(THINKS.0)) => {}
            }
            let is_over = left == 0 && self.shared.phase() == Phase::Load;
            let owes = !self.waiting.is_empty() || !self.marks.is_empty();
            let is_owed = owes && heard.elapsed() > patience;
            if is_owed {
                self.shared.recorder.was_told(None);
            }
            if is_over || is_owed {
                return Err(Cut);
            }
        }
        Ok(())
    }

    /// Begins to follow, or goes on.
    async fn join(&mut self, wire: &mut Wire, conversation: &str) -> Result<(), Cut> {
        let place = &self.places[conversation];
        let by_cursor = self.way == Way::Cursor && place.has_cursor;
        let after = (!by_cursor).then_some(place.high);
        let params = match after {
            Some(after) => json!({ "last_seq": after }),
            None => json!({}),
        };
        let topic = format!("chat:{conversation}");
        let msg_ref = wire.push(&topic, "phx_join", params).await?;
        let (is_ok, mut joined) = self.answer(wire, msg_ref).await?;
        if !is_ok {
            self.shared.recorder.was_told(Some(&joined));
            return Err(Cut);
        }
        // A place that the log has not: only a server that lost something says so. The device
        // begins anew, and the history tells.
        let after = match joined["reset_required"] == true {
            true => joined["last_seq"].as_u64(),
            false => after,
        };
        if let (Some(after), Some(place)) = (after, self.places.get_mut(conversation)) {
            place.high = after;
        }
        self.shared.recorder.record(|at| Event::Resumed {
            at,
            device: self.device.clone(),
            user: self.person.id.clone(),
            conversation: conversation.to_owned(),
            after,
        });
        loop {
            let gap = joined["gap"].as_array().cloned().unwrap_or_default();
            for entry in &gap {
                let event = entry["event"].as_str().unwrap_or_default();
                self.shown(conversation, event, &entry["payload"]);
            }
            let last = gap.last().and_then(|entry| entry["seq"].as_u64());
            let Some(last) = last.filter(|_| joined["more"] == true) else {
                return Ok(());
            };
            let msg_ref = self.push_ack(wire, conversation, last).await?;
            let acknowledged = self.answer(wire, msg_ref).await?;
            joined = acknowledged.1;
        }
    }

    /// Waits for a reply; what arrives before it is taken as it comes.
    async fn answer(&mut self, wire: &mut Wire, msg_ref: u64) -> Result<(bool, Value), Cut> {
        loop {
            let frame = wire.next_in_time().await?;
            if frame.event == "phx_reply" && frame.msg_ref == Some(msg_ref) {
                if let Some(conversation) = self.acks.remove(&msg_ref) {
                    self.has_cursor(&conversation);
                }
                return Ok(reply(frame));
            }
            self.take(frame)?;
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), Cut> {
        if frame.event == "phx_reply" {
            let msg_ref = frame.msg_ref.unwrap_or_default();
            let (is_ok, response) = reply(frame);
            if let Some((ask, op)) = self.waiting.remove(&msg_ref) {
                self.answered(ask, op, is_ok, &response);
            } else if let Some(op) = self.marks.remove(&msg_ref) {
                let outcome = match is_ok {
                    true => Outcome::Ok {
                        seq: None,
                        id: None,
                    },
                    false => refusal(&response),
                };
                self.shared.recorder.beside(op, outcome);
            } else if let Some(conversation) = self.acks.remove(&msg_ref)
                && is_ok
            {
                self.has_cursor(&conversation);
            }
            return Ok(());
        }
        if frame.event == "phx_error" || frame.event == "phx_close" {
            return Err(Cut);
        }
        if let Some(conversation) = frame.topic.strip_prefix("chat:") {
            if let Some(heard) = identity::heard(&frame.event, &frame.payload) {
                let recorder = &self.shared.recorder;
                recorder.heard(&self.device, conversation, heard);
            }
            self.shown(conversation, &frame.event, &frame.payload);
        }
        Ok(())
    }

    fn has_cursor(&mut self, conversation: &str) {
        if let Some(place) = self.places.get_mut(conversation) {
            place.has_cursor = true;
        }
    }

    fn shown(&mut self, conversation: &str, event: &str, payload: &Value) {
        let Some(seen) = identity::seen(event, payload) else {
            return;
        };
        self.shared.recorder.record(|at| Event::Delivered {
            at,
            device: self.device.clone(),
            conversation: conversation.to_owned(),
            seq: seen.seq,
            kind: seen.kind,
            id: seen.id,
            about: seen.forgets,
        });
        if let Some(place) = self.places.get_mut(conversation) {
            place.high = place.high.max(seen.seq);
        }
        if seen.kind == Kind::Message {
            self.ideas.saw(conversation, payload);
        }
    }

    /// Now and then, says what the device has and the person has read.
    async fn acknowledge(&mut self, wire: &mut Wire) -> Result<(), Cut> {
        let choice = self.rng.below(16);
        let conversations: Vec<_> = self.places.keys().cloned().collect();
        let Some(conversation) = self.rng.pick(&conversations) else {
            return Ok(());
        };
        let high = self.places[conversation].high;
        if high == 0 {
            return Ok(());
        }
        match choice {
            0 => self.mark(wire, conversation, Mark::Read, high).await?,
            1 | 2 => drop(self.push_ack(wire, conversation, high).await?),
            3 => {
                let from = self.rng.between((1, high));
                self.mark(wire, conversation, Mark::Unread, from).await?;
            }
            4 => {
                if let Some(root) = self.ideas.thread_in(conversation, &mut self.rng) {
                    let (topic, read) = (format!("chat:{conversation}"), "message:read");
                    let place = json!({ "seq": high, "thread_root": root });
                    wire.push(&topic, read, place).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn mark(
        &mut self,
        wire: &mut Wire,
        conversation: &str,
        mark: Mark,
        seq: u64,
    ) -> Result<(), Cut> {
        let event = match mark {
            Mark::Read => "message:read",
            Mark::Unread => "message:unread",
        };
        let recorder = &self.shared.recorder;
        let op = recorder.mark(&self.person, conversation, mark, seq);
        let topic = format!("chat:{conversation}");
        match wire.push(&topic, event, json!({ "seq": seq })).await {
            Ok(msg_ref) => {
                self.marks.insert(msg_ref, op);
                Ok(())
            }
            Err(cut) => {
                recorder.beside(op, Outcome::Unknown);
                Err(cut)
            }
        }
    }

    async fn push_ack(
        &mut self,
        wire: &mut Wire,
        conversation: &str,
        seq: u64,
    ) -> Result<u64, Cut> {
        self.shared.recorder.record(|at| Event::Acked {
            at,
            device: self.device.clone(),
            conversation: conversation.to_owned(),
            seq,
            own: false,
        });
        let topic = format!("chat:{conversation}");
        let msg_ref = wire
            .push(&topic, "message:ack", json!({ "seq": seq }))
            .await?;
        self.acks.insert(msg_ref, conversation.to_owned());
        Ok(msg_ref)
    }

    /// Asks for what is due, as far as the window allows.
    async fn speak(&mut self, wire: &mut Wire) -> Result<(), Cut> {
        while self.waiting.len() < self.shared.plan.window {
            let Some(ask) = self.due() else {
                break;
            };
            let (recorder, topic) = (&self.shared.recorder, format!("chat:{}", ask.conversation));
            let op = match ask.is_ephemeral {
                true => recorder.say(&self.person, &ask.conversation, &ask.key),
                false => recorder.invoke(&self.person, &ask.conversation, &ask.key),
            };
            match wire.push(&topic, ask.event, ask.payload.clone()).await {
                Ok(msg_ref) => drop(self.waiting.insert(msg_ref, (ask, op))),
                Err(cut) => {
                    recorder.outcome(op, Outcome::Unknown);
                    self.again(ask, true);
                    return Err(cut);
                }
            }
        }
        let is_over = self.shared.phase() != Phase::Load;
        if is_over && self.waiting.is_empty() && self.redo.is_empty() {
            self.shared.is_quiet(&mut self.is_quiet);
        }
        Ok(())
    }

    fn due(&mut self) -> Option<Ask> {
        let now = Instant::now();
        if self.redo.front().is_some_and(|ask| ask.not_before <= now) {
            return self.redo.pop_front();
        }
        let may_speak = self.shared.phase() == Phase::Load && self.speaks_at <= now;
        if !may_speak || !self.redo.is_empty() {
            return None;
        }
        let thinks = Duration::from_millis(self.rng.between(THINKS));
        self.speaks_at = now + thinks;
        let conversations: Vec<_> = self.places.keys().cloned().collect();
        let idea = self.ideas.next(&self.device, &conversations, &mut self.rng);
        Some(idea)
    }

    fn answered(&mut self, ask: Ask, op: u64, is_ok: bool, response: &Value) {
        let recorder = &self.shared.recorder;
        if !is_ok {
            recorder.was_told(Some(response));
            let outcome = refusal(response);
            let (in_doubt, may_retry) = match &outcome {
                Outcome::Unknown => (true, true),
                Outcome::Refused(reason) => (false, is_transient(reason)),
                Outcome::Ok { .. } => (false, false),
            };
            recorder.outcome(op, outcome);
            if may_retry {
                self.again(ask, in_doubt);
            }
            return;
        }
        if ask.is_ephemeral {
            let (seq, id) = (None, None);
            return recorder.beside(op, Outcome::Ok { seq, id });
        }
        // A change that an earlier attempt has made is not made again: the answer names no place
        // of its own then.
        let names_its_place = ask.event == "message:send" || !ask.in_doubt;
        let seen = identity::seen(broadcast_of(ask.event), response);
        let seen = seen.filter(|_| names_its_place);
        recorder.outcome(
            op,
            Outcome::Ok {
                seq: seen.as_ref().map(|it| it.seq),
                id: seen.map(|it| it.id),
            },
        );
        self.ideas.did(ask, response);
    }

    fn again(&mut self, ask: Ask, in_doubt: bool) {
        if ask.is_ephemeral {
            return;
        }
        self.redo.push_back(Ask {
            in_doubt: in_doubt || ask.in_doubt,
            not_before: Instant::now() + BACK_OFF,
            ..ask
        });
    }

    /// Everything that there is, once nobody writes any more.
    fn has_everything(&self) -> bool {
        let Phase::CatchUp(tails) = self.shared.phase() else {
            return false;
        };
        let reached = |(id, place): (&String, &Place)| place.high >= tails[id];
        self.places.iter().all(reached) || self.shared.is_late()
    }
}

/// Under which name an accepted event is broadcast.
fn broadcast_of(event: &str) -> &'static str {
    match event {
        "message:send" => "message:new",
        "message:edit" => "message:edited",
        "message:delete" => "message:deleted",
        "message:pin" => "message:pinned",
        "message:unpin" => "message:unpinned",
        _ => "message:reaction:added",
    }
}

/// Whether the same may succeed later.
fn is_transient(reason: &str) -> bool {
    let transient = [
        "moved",
        "overloaded",
        "unavailable",
        "rate_limited",
        "unmatched topic",
    ];
    transient.contains(&reason)
}
