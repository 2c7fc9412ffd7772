//! `chat:<conversation_id>`, also `conversation:<conversation_id>`: a conversation, live.
//!
//! A join subscribes first and then reads what was missed, so that nothing is lost between the
//! two; the session merges by seq what arrives meanwhile. Commands go to the conversation's
//! sequencer; what it decides comes back as the reply, and to everybody as a broadcast.

mod join;
mod messages;
pub(crate) mod params;
mod registers;
pub(super) mod replay;

use std::{ops::Range, sync::Arc};

use quikapp_actors::{
    conversation::{Command, MemberLeft, Outcome, broadcast_of},
    fanout::{Broadcast, Note},
};
use quikapp_protocol::{Json, Payload};
use quikapp_storage::{ConversationId, DeviceId, Entry, Seq, StoreError};
use serde::{Deserialize, Serialize};

use super::{Backend, payload::read, room::Room};
use crate::{
    auth::Principal,
    channel::{Channel, Context, Flow, JoinError, StopReason},
    errors::{Reason, Refusal},
    policy::{Action, ConversationAct},
};

/// What one membership remembers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    conversation: ConversationId,
    /// Whose cursor moves.
    device: Option<DeviceId>,
    room: Room,
    /// The last place of the batch that the client is to acknowledge before more follows.
    catching_up: Option<Seq>,
    /// The batch that an acknowledgement has brought last.
    brought: Option<Brought>,
    has_typed: bool,
}

/// A batch that an acknowledgement has brought. A client that gave up waiting for the reply does
/// not have it: it sends the same acknowledgement again, and is sent the same batch.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Brought {
    by: Seq,
    after: Seq,
    last: Seq,
    more: bool,
}

/// Conversations.
pub(super) struct ChatChannel {
    backend: Backend,
}

impl ChatChannel {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend }
    }

    async fn handle(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        event: &str,
        payload: &Payload,
    ) -> Result<Payload, Refusal> {
        let act = act_of(event).ok_or(Reason::UnknownEvent)?;
        self.check(cx, &state.conversation, act).await?;
        match event {
            "message:send" => self.send(state, cx, read(payload)?).await,
            "message:edit" => self.edit(state, cx, read(payload)?).await,
            "message:delete" => self.delete(state, cx, read(payload)?).await,
            "message:reaction:add" => self.react(state, cx, read(payload)?, true).await,
            "message:reaction:remove" => self.react(state, cx, read(payload)?, false).await,
            "message:pin" => self.pin(state, cx, read(payload)?, true).await,
            "message:unpin" => self.pin(state, cx, read(payload)?, false).await,
            "message:history" => self.history(state, cx, read(payload)?).await,
            "message:delivered" => self.receive(state, cx, read(payload)?, false).await,
            "message:read" => self.receive(state, cx, read(payload)?, true).await,
            "message:unread" => self.mark_unread(state, cx, read(payload)?).await,
            "message:ack" => self.acknowledge(state, cx, read(payload)?).await,
            "draft:set" => self.set_draft(state, cx, read(payload)?).await,
            "conversation:mute" => self.mute(state, cx, read(payload)?).await,
            "typing:start" => self.start_typing(state, cx, &read(payload)?),
            "typing:stop" => self.stop_typing(state, cx, &read(payload)?),
            // Joining the topic is what counts; clients of the mirrored system say it once more.
            "conversation:join" | "conversation:leave" => own(state, &read(payload)?),
            "message:scheduled:list" => self.scheduled(state, cx).await,
            "message:scheduled:cancel" => self.cancel_scheduled(state, cx, read(payload)?).await,
            _ => Err(Reason::UnknownEvent.into()),
        }
    }

    async fn check(
        &self,
        cx: &Context<Principal>,
        id: &ConversationId,
        act: ConversationAct,
    ) -> Result<(), Refusal> {
        let action = Action::Conversation { id, act };
        self.backend.policy.check(&cx.assigns(), action).await
    }

    /// Entries behind a place, as far as they are the client's.
    async fn visible(
        &self,
        cx: &Context<Principal>,
        id: &ConversationId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let store = &self.backend.store;
        let mut entries = store.entries(id, after, limit).await?;
        // Read behind the entries: a membership that has ended since does not show them.
        let visible = store.membership(id, cx.assigns().user()).await?;
        entries.retain(|entry| replay::is_visible(&visible, entry.seq));
        Ok(entries)
    }

    async fn submit(
        &self,
        state: &State,
        cx: &Context<Principal>,
        command: Command,
    ) -> Result<Payload, Refusal> {
        let person = &cx.assigns().person;
        let conversations = &self.backend.conversations;
        let outcome = conversations.submit(person, &state.conversation, command);
        Ok(reply(&outcome.await?))
    }
}

/// What an event does, or nothing if there is no such event.
fn act_of(event: &str) -> Option<ConversationAct> {
    Some(match event {
        "message:send" => ConversationAct::Send,
        "message:edit"
        | "message:delete"
        | "message:reaction:add"
        | "message:reaction:remove"
        | "message:pin"
        | "message:unpin" => ConversationAct::Append,
        "message:scheduled:list" | "message:scheduled:cancel" | "draft:set" | "typing:stop" => {
            ConversationAct::Write
        }
        "typing:start" => ConversationAct::Type,
        "message:history" | "message:delivered" | "message:read" | "message:unread"
        | "message:ack" | "conversation:mute" | "conversation:join" | "conversation:leave" => {
            ConversationAct::Read
        }
        _ => return None,
    })
}

fn reply(outcome: &Outcome) -> Payload {
    Payload::Json(Json::assume_valid(outcome.payload.to_string()))
}

/// Accepts the topic's own conversation and no other: what is written where is said by the topic.
fn own(state: &State, named: &params::ConversationNamed) -> Result<Payload, Refusal> {
    match &named.conversation_id {
        Some(id) if *id != *state.conversation.as_str() => Err(Refusal::invalid_field(
            "conversation_id",
            "is not the topic's conversation",
        )),
        _ => Ok(Payload::empty_object()),
    }
}

impl Channel for ChatChannel {
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
        handled.map_err(JoinError::from).into()
    }

    async fn handle_info(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        note: Note,
    ) -> Flow {
        match note.get::<MemberLeft>() {
            Some(left) if left.user == *cx.assigns().user() => Flow::stop(StopReason::Normal),
            Some(_) => Flow::NoReply,
            None => state.room.on_note(&self.backend, cx, &note).await,
        }
    }

    async fn handle_out(
        &self,
        _state: &mut State,
        cx: &mut Context<Principal>,
        broadcast: Arc<Broadcast>,
    ) -> Flow {
        Room::pass(&self.backend, cx, &broadcast).await;
        Flow::NoReply
    }

    async fn fill_gap(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        missing: Range<Seq>,
    ) -> Vec<Arc<Broadcast>> {
        let after = missing.start.before();
        let count = missing.end.0.saturating_sub(missing.start.0);
        let limit = usize::try_from(count)
            .unwrap_or(replay::BATCH)
            .min(replay::BATCH);
        let id = &state.conversation;
        match self.visible(cx, id, after, limit).await {
            Ok(entries) => {
                let broadcasts = entries.iter().map(|entry| broadcast_of(id, entry));
                broadcasts.map(Arc::new).collect()
            }
            Err(error) => {
                let connection = cx.connection().0;
                tracing::warn!(connection, conversation = %id, %error, "gap not readable");
                Vec::new()
            }
        }
    }
}
