//! `user:<id>`: the one stream of a person over all conversations, and what is for them alone.
//!
//! Live, the stream is what is broadcast on the topics of the person's conversations, save those
//! that the client has joined on the same socket. What was missed is read from the store by a
//! cursor over all of its commits. Where the two meet, an entry is known by its conversation and
//! seq, and is shown once.

mod missed;
pub(crate) mod params;

use std::{collections::BTreeMap, sync::Arc};

use quikapp_actors::{
    conversation::{MemberLeft, chat_topic, payload::NewConversationPayload, person_topic},
    fanout::{Broadcast, Lane, Note},
    people::Joined,
    registers::Change,
};
use quikapp_protocol::Payload;
use quikapp_storage::{ConversationId, DeviceCursor, DeviceId, Entry, Seq, StreamCursor, UserId};
use serde::{Deserialize, Serialize};

use super::{
    Backend,
    chat::{
        params::GapEntry,
        replay::{gap_entry, is_visible},
    },
    payload::read,
    room::{come_online, device_of},
};
use crate::{
    auth::Principal,
    channel::{Channel, Context, Flow, JoinError, Reply, ReplyTo, json},
    errors::{Reason, Refusal},
    policy::{Action, ConversationAct},
    preferences::{self, Expected},
};
use missed::{Brought, First, Urgent, place_in};
use params::{PlaceAcked, UserAck, UserAcked, UserJoin, UserJoined};

/// Entries in one batch.
const BATCH: usize = 100;

/// What one membership remembers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Whose cursor moves.
    device: Option<DeviceId>,
    /// Up to where the stream was read from the store; while the client catches up, what it
    /// acknowledges the last batch with.
    cursor: StreamCursor,
    /// The client is still acknowledging what it missed: live entries wait in the log.
    catching_up: bool,
    /// Per conversation, up to where entries were shown from the store: what is broadcast at or
    /// below it was shown already.
    shown: BTreeMap<ConversationId, Seq>,
    /// What is replayed first.
    urgent: Option<Box<Urgent>>,
    /// What was replayed first.
    first: Option<Box<First>>,
    /// The batch that an acknowledgement has brought last.
    brought: Option<Box<Brought>>,
}

impl State {
    fn has_shown(&mut self, id: &ConversationId, seq: Seq) {
        let shown = self.shown.entry(id.clone()).or_default();
        *shown = seq.max(*shown);
    }
}

/// A cursor to answer `stream:cursor` with, once everything that it covers is on the wire.
struct CursorDue {
    reply_to: ReplyTo,
    cursor: UserAcked,
}

/// People's own streams.
pub(super) struct UserChannel {
    backend: Backend,
}

impl UserChannel {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend }
    }

    async fn enter(
        &self,
        cx: &mut Context<Principal>,
        params: &Payload,
    ) -> Result<(State, Payload), Refusal> {
        let params: UserJoin = read(params)?;
        let user = cx.topic().strip_prefix("user:").unwrap_or_default();
        let user = UserId::new(user).map_err(|_| Reason::Forbidden)?;
        let principal = cx.assigns();
        self.authorize(cx, &user).await?;
        let device = device_of(&principal, params.device_id.as_deref())?;
        // First one's own topic, so that a conversation that is begun from here on is heard of.
        cx.subscribe(&person_topic(&principal.person), Lane::Intercept);
        self.follow_all(cx).await?;
        let store = &self.backend.store;
        let from = self.place_of(cx, params.cursor, device.as_ref()).await?;
        let mut state = State {
            device,
            cursor: store.cursor_now().await?,
            catching_up: false,
            shown: BTreeMap::new(),
            urgent: None,
            first: None,
            brought: None,
        };
        let mut reply = UserJoined {
            user_id: user,
            cursor: state.cursor.clone(),
            gap: None,
            more: false,
            reset_required: false,
        };
        let batch = match &from {
            Some(from) => self.first_batch(cx, &mut state, from).await?,
            None => None,
        };
        // What a device has whose place is not known, is not known: it is new, or was forgotten.
        reply.reset_required = batch.is_none() && (from.is_some() || state.device.is_some());
        if let Some(batch) = batch {
            reply.cursor = batch.next;
            reply.gap = Some(batch.entries);
            reply.more = batch.more;
        }
        if let Some(device) = &state.device {
            let person = &cx.assigns().person;
            self.backend.delivery.device_joined(person, device);
        }
        let online: Joined = come_online(&self.backend, cx, state.device.clone()).await?;
        cx.attach(online);
        Ok((state, json(&reply)))
    }

    async fn authorize(&self, cx: &Context<Principal>, user: &UserId) -> Result<(), Refusal> {
        let action = Action::OwnStream { user };
        self.backend.policy.check(&cx.assigns(), action).await
    }

    /// Subscribes to all of the person's conversations.
    async fn follow_all(&self, cx: &mut Context<Principal>) -> Result<(), Refusal> {
        let person = &cx.assigns().person;
        let conversations = self.backend.store.conversations_of(person).await?;
        let mut ids: Vec<_> = conversations.into_iter().map(|(id, _)| id).collect();
        for id in &ids {
            cx.subscribe(&chat_topic(id), Lane::Intercept);
        }
        ids.push(person.own_conversation());
        self.backend.conversations.observe_all(&ids).await?;
        // What is above the tails as they were observed is broadcast; what is not has to be found
        // by the cursor.
        self.backend.store.complete_stream(&ids).await?;
        Ok(())
    }

    /// Where the client stands: as it says, or as its device last acknowledged.
    async fn place_of(
        &self,
        cx: &Context<Principal>,
        cursor: Option<StreamCursor>,
        device: Option<&DeviceId>,
    ) -> Result<Option<StreamCursor>, Refusal> {
        match (cursor, device) {
            (Some(cursor), _) => Ok(Some(place_in(&cursor))),
            (None, Some(device)) => {
                let (store, person) = (&self.backend.store, &cx.assigns().person);
                Ok(store.stream_cursor(person, device).await?)
            }
            (None, None) => Ok(None),
        }
    }

    async fn handle(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        event: &str,
        payload: &Payload,
    ) -> Result<Flow, Refusal> {
        self.authorize(cx, cx.assigns().user()).await?;
        match event {
            "message:ack" => {
                let acked = self.acknowledge(state, cx, read(payload)?);
                Ok(Flow::ok(acked.await?))
            }
            "stream:cursor" => self.cursor(state, cx).await,
            "preferences:set" => Ok(Flow::ok(self.prefer(cx, payload).await?)),
            _ => Err(Reason::UnknownEvent.into()),
        }
    }

    async fn acknowledge(
        &self,
        state: &mut State,
        cx: &Context<Principal>,
        ack: UserAck,
    ) -> Result<Payload, Refusal> {
        match (ack.cursor, ack.conversation_id, ack.seq) {
            (Some(cursor), _, _) => self.acknowledge_stream(state, cx, cursor).await,
            (None, Some(id), Some(seq)) => self.acknowledge_place(state, cx, &id, seq).await,
            (None, Some(_), None) => Err(Refusal::invalid_field("seq", "is missing")),
            (None, None, _) => Err(Refusal::invalid_field("cursor", "is missing")),
        }
    }

    async fn acknowledge_stream(
        &self,
        state: &mut State,
        cx: &Context<Principal>,
        cursor: StreamCursor,
    ) -> Result<Payload, Refusal> {
        let principal = cx.assigns();
        let place = place_in(&cursor);
        if !self.backend.store.cursor_valid(&place).await? {
            return Err(Refusal::invalid_field("cursor", "was not issued here"));
        }
        if let Some(device) = &state.device {
            let change = Change::Stream {
                person: principal.person.clone(),
                device: device.clone(),
                cursor: place.clone(),
            };
            self.backend.registers.change(change).await?;
            let delivery = &self.backend.delivery;
            delivery.acknowledged(&principal.person, device, None);
        }
        if state.catching_up && cursor == state.cursor {
            self.acknowledge_first(cx, state).await?;
            let batch = self.batch(cx, state, &place).await?;
            state.brought = Some(Box::new(batch.brought_by(cursor)));
            return Ok(json(&batch.acked()));
        }
        let brought = state.brought.as_deref();
        if let Some(brought) = brought.filter(|brought| brought.by == cursor) {
            let batch = self.batch_again(cx, state, brought).await?;
            return Ok(json(&batch.acked()));
        }
        state.brought = None;
        Ok(json(&UserAcked {
            cursor,
            gap: None,
            more: state.catching_up,
        }))
    }

    /// Moves the device's cursor in one conversation.
    async fn acknowledge_place(
        &self,
        state: &State,
        cx: &Context<Principal>,
        id: &str,
        seq: Seq,
    ) -> Result<Payload, Refusal> {
        let invalid = |_| Refusal::invalid_field("conversation_id", "not an id");
        let id = ConversationId::parse(id).map_err(invalid)?;
        let principal = cx.assigns();
        let act = ConversationAct::Read;
        let action = Action::Conversation { id: &id, act };
        self.backend.policy.check(&principal, action).await?;
        if let Some(device) = &state.device {
            let cursor = DeviceCursor {
                person: principal.person.clone(),
                device: device.clone(),
                conversation: id.clone(),
                seq,
            };
            let moved = self.backend.registers.change(Change::Cursor(cursor));
            moved.await?;
            let delivery = &self.backend.delivery;
            delivery.acknowledged(&principal.person, device, Some(&id));
        }
        Ok(json(&PlaceAcked {
            conversation_id: id,
            seq,
        }))
    }

    /// Changes what the person prefers, whatever it was before.
    async fn prefer(&self, cx: &Context<Principal>, patch: &Payload) -> Result<Payload, Refusal> {
        let patch = patch
            .parse::<Option<_>>()
            .map_err(|_| Refusal::invalid_field("payload", "a JSON object is needed"))?;
        let patch = patch.unwrap_or_default();
        let (documents, person) = (&self.backend.documents, &cx.assigns().person);
        let changed = preferences::change(documents, person, &patch, &Expected::Any);
        Ok(json(&changed.await?))
    }

    /// A cursor behind what the client has been shown live. It moves over entries only once they
    /// were shown, or broadcast on a topic that is followed: they are in the connection's queue
    /// then, and the reply follows them through it as a note. A reply from here would overtake what
    /// came in meanwhile, and a client that keeps the cursor and dies would never see that. The
    /// same holds for a conversation that one has just come into: what is said in it is shown once
    /// it is followed.
    async fn cursor(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
    ) -> Result<Flow, Refusal> {
        let principal = cx.assigns();
        let person = &principal.person;
        while !state.catching_up {
            let missed = self.backend.store.missed(person, &state.cursor, BATCH);
            let missed = missed.await?;
            let conversations = &self.backend.conversations;
            let own = person.own_conversation();
            let was_shown = |(id, entry): &(ConversationId, Entry)| {
                let published = conversations.published(id);
                let is_followed = *id == own || cx.is_subscribed(&chat_topic(id));
                state.shown.get(id).is_some_and(|shown| *shown >= entry.seq)
                    || (is_followed && published.is_some_and(|it| it >= entry.seq))
            };
            if !missed.entries.iter().all(was_shown) {
                break;
            }
            state.cursor = missed.next;
            if !missed.more {
                break;
            }
        }
        if let Some(reply_to) = cx.reply_later() {
            let cursor = UserAcked {
                cursor: state.cursor.clone(),
                gap: None,
                more: state.catching_up,
            };
            cx.send_self(CursorDue { reply_to, cursor });
        }
        Ok(Flow::NoReply)
    }

    /// Shows an entry of a conversation, unless it was shown or will be read.
    fn show(&self, state: &mut State, cx: &mut Context<Principal>, broadcast: &Broadcast) {
        let Some(seq) = broadcast.seq() else {
            // A message of class `ephemeral` has no place; whoever is connected sees it.
            if broadcast.event() == "message:new" {
                cx.push(broadcast.event(), broadcast.payload().clone());
            }
            return;
        };
        let own = cx.assigns().person.own_conversation();
        let id = match broadcast.topic().strip_prefix("chat:") {
            Some(id) => ConversationId::from_stored(id),
            None => own,
        };
        let was_shown = state.shown.get(&id).is_some_and(|shown| seq <= *shown);
        if !state.catching_up && !was_shown {
            cx.push(broadcast.event(), broadcast.payload().clone());
        }
    }

    /// The person has become a member: follow the conversation, and show what was said in it
    /// before the subscription stood.
    async fn follow(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        id: &ConversationId,
    ) -> Result<(), Refusal> {
        if cx.is_subscribed(&chat_topic(id)) {
            return Ok(());
        }
        cx.subscribe(&chat_topic(id), Lane::Intercept);
        self.backend.conversations.observe(id).await?;
        let store = &self.backend.store;
        let visible = store.membership(id, cx.assigns().user()).await?;
        if visible.iter().all(|it| it.to_seq.is_some()) {
            // The notice came late: they have been removed since.
            cx.unsubscribe(&chat_topic(id));
        }
        let Some(newest) = visible.iter().map(|it| it.from_seq).max() else {
            return Ok(());
        };
        if state.catching_up {
            return Ok(());
        }
        // What was shown before, by a join that came between the membership and its notice or in an
        // earlier membership, is not shown again.
        let shown = state.shown.get(id).copied();
        let mut after = shown.unwrap_or(newest.before());
        loop {
            let entries = store.entries(id, after, BATCH).await?;
            for entry in &entries {
                if is_visible(&visible, entry.seq) {
                    let shown = streamed(cx, id, entry);
                    cx.push(&shown.event, shown.payload);
                }
                after = entry.seq;
            }
            if entries.len() < BATCH {
                state.has_shown(id, after);
                return Ok(());
            }
        }
    }
}

/// An entry of the stream. What is in one's own conversation names none: it is the topic's.
fn streamed(cx: &Context<Principal>, id: &ConversationId, entry: &Entry) -> GapEntry {
    let is_own = *id == cx.assigns().person.own_conversation();
    GapEntry {
        conversation_id: (!is_own).then(|| id.clone()),
        ..gap_entry(entry)
    }
}

impl Channel for UserChannel {
    type Assigns = Principal;
    type State = State;

    async fn join(
        &self,
        cx: &mut Context<Principal>,
        params: Payload,
    ) -> Result<(State, Payload), JoinError> {
        Ok(self.enter(cx, &params).await?)
    }

    async fn handle_in(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        event: &str,
        payload: Payload,
    ) -> Flow {
        let handled = self.handle(state, cx, event, &payload).await;
        handled.unwrap_or_else(|refusal| Flow::error(JoinError::from(refusal).response))
    }

    async fn handle_info(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        note: Note,
    ) -> Flow {
        if let Some(due) = note.get::<CursorDue>() {
            due.reply_to.send(&Reply::ok(json(&due.cursor)));
        }
        if let Some(left) = note.get::<MemberLeft>()
            && left.user == *cx.assigns().user()
        {
            // Everything up to here was shown as it was broadcast.
            state.has_shown(&left.conversation, left.seq);
            cx.unsubscribe(&chat_topic(&left.conversation));
        }
        Flow::NoReply
    }

    async fn handle_out(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        broadcast: Arc<Broadcast>,
    ) -> Flow {
        let is_own = **broadcast.topic() == person_topic(&cx.assigns().person);
        if !is_own && !cx.is_subscribed(broadcast.topic()) {
            // It was queued behind a removal. What a membership after that one shows is read.
            return Flow::NoReply;
        }
        if is_own && broadcast.seq().is_none() {
            // Registers and status of one's own: current, and in no log.
            cx.push(broadcast.event(), broadcast.payload().clone());
            return Flow::NoReply;
        }
        self.show(state, cx, &broadcast);
        if is_own && broadcast.event() == "conversation:new" {
            let Ok(new) = broadcast.payload().parse::<NewConversationPayload>() else {
                return Flow::NoReply;
            };
            if let Err(refusal) = self.follow(state, cx, &new.conversation_id).await {
                // The client joins again, and with its cursor misses nothing.
                return Flow::crash(refusal.to_string());
            }
        }
        Flow::NoReply
    }
}
