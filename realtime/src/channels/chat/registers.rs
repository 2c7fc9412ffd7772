//! Receipts, cursors, drafts and mutes.

use quikapp_actors::{
    conversation::person_topic,
    fanout::Broadcast,
    registers::{Change, Mark, payload::UnreadPayload},
};
use quikapp_protocol::Payload;
use quikapp_storage::{DeviceCursor, MessageId, Mute, RegisterChange, Seq};

use super::{
    Brought, ChatChannel, State,
    join::go_on,
    params::{Acked, ConversationMute, Draft, DraftSet, GapEntry, MessageAck, MessagePlace},
    replay::{self, Replay},
};
use crate::{
    auth::Principal,
    channel::{Context, json},
    errors::Refusal,
};

/// Size of a draft, as of a message.
const DRAFT_BYTES: usize = 16 * 1024;

impl ChatChannel {
    pub(super) async fn receive(
        &self,
        state: &State,
        cx: &Context<Principal>,
        place: MessagePlace,
        is_read: bool,
    ) -> Result<Payload, Refusal> {
        let (seq, message) = self.place(state, cx, &place).await?;
        if let Some(root) = place.thread_root.filter(|_| is_read) {
            return self.read_thread(state, cx, root, seq).await;
        }
        let change = if is_read {
            RegisterChange::Read(seq)
        } else {
            RegisterChange::Delivered(seq)
        };
        self.mark(state, cx, message, change).await?;
        Ok(serde_json::json!({ "seq": seq }).into())
    }

    /// Only oneself hears of it: receipts are of the main timeline.
    async fn read_thread(
        &self,
        state: &State,
        cx: &Context<Principal>,
        root: MessageId,
        seq: Seq,
    ) -> Result<Payload, Refusal> {
        let (store, id, principal) = (&self.backend.store, &state.conversation, cx.assigns());
        let user = principal.user();
        let thread = store.read_thread(id, user, root, seq).await?;
        let tails = self.backend.conversations.tails();
        tails.changes().in_conversation(id);
        let thread =
            thread.ok_or_else(|| Refusal::invalid_field("thread_root", "no such thread"))?;
        let marks = store.registers(id, user).await?.marks;
        let changed = UnreadPayload {
            conversation_id: id.clone(),
            unread: store.unread(id, user).await?,
            read: marks.read,
            unread_from: marks.unread_from,
            thread: Some(thread.into()),
        };
        let topic = person_topic(&principal.person);
        let broadcast = Broadcast::new(topic, "unread:changed", json(&changed));
        self.backend.conversations.fanout().publish(broadcast);
        Ok(serde_json::json!({ "seq": seq }).into())
    }

    pub(super) async fn mark_unread(
        &self,
        state: &State,
        cx: &Context<Principal>,
        place: MessagePlace,
    ) -> Result<Payload, Refusal> {
        let (seq, message) = self.place(state, cx, &place).await?;
        let change = RegisterChange::UnreadFrom(seq);
        self.mark(state, cx, message, change).await?;
        Ok(serde_json::json!({ "seq": seq }).into())
    }

    /// Moves the device's cursor, and goes on with the replay if there is more.
    pub(super) async fn acknowledge(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        ack: MessageAck,
    ) -> Result<Payload, Refusal> {
        let principal = cx.assigns();
        if let Some(device) = &state.device {
            let cursor = DeviceCursor {
                person: principal.person.clone(),
                device: device.clone(),
                conversation: state.conversation.clone(),
                seq: ack.seq,
            };
            let moved = self.backend.registers.change(Change::Cursor(cursor));
            moved.await?;
            let (delivery, id) = (&self.backend.delivery, &state.conversation);
            delivery.acknowledged(&principal.person, device, Some(id));
        }
        let (gap, more) = match (state.catching_up, state.brought) {
            (Some(last), _) if ack.seq >= last => {
                let next = self.read_on(state, cx, ack.seq, last).await?;
                (Some(next.entries), next.more)
            }
            (_, Some(brought)) if ack.seq == brought.by => {
                let again = self.read_again(state, cx, brought).await?;
                (Some(again), brought.more)
            }
            (catching_up, _) => {
                state.brought = None;
                (None, catching_up.is_some())
            }
        };
        let seq = ack.seq;
        Ok(json(&Acked { seq, gap, more }))
    }

    /// The next batch, brought by an acknowledgement of the one before, which ends at `after`.
    async fn read_on(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        by: Seq,
        after: Seq,
    ) -> Result<Replay, Refusal> {
        let (store, id) = (&self.backend.store, &state.conversation);
        let visible = store.membership(id, cx.assigns().user()).await?;
        let next = replay::read(store, id, &visible, after).await?;
        let (last, more) = (next.last, next.more);
        go_on(cx, last, more);
        state.catching_up = more.then_some(last);
        state.brought = Some(Brought {
            by,
            after,
            last,
            more,
        });
        Ok(next)
    }

    /// The batch that was brought last, as it was: what has come since is live, or comes next.
    async fn read_again(
        &self,
        state: &State,
        cx: &Context<Principal>,
        brought: Brought,
    ) -> Result<Vec<GapEntry>, Refusal> {
        let (store, id) = (&self.backend.store, &state.conversation);
        let visible = store.membership(id, cx.assigns().user()).await?;
        let mut again = replay::read(store, id, &visible, brought.after).await?;
        again.entries.retain(|entry| entry.seq <= brought.last);
        Ok(again.entries)
    }

    pub(super) async fn set_draft(
        &self,
        state: &State,
        cx: &Context<Principal>,
        draft: DraftSet,
    ) -> Result<Payload, Refusal> {
        let text = draft.text.filter(|text| !text.is_empty());
        if text.as_ref().is_some_and(|text| text.len() > DRAFT_BYTES) {
            let detail = format!("at most {DRAFT_BYTES} bytes");
            return Err(Refusal::invalid_field("text", detail));
        }
        let kept = text.map(|text| Draft {
            text,
            reply_to: draft.reply_to,
            updated_at: cx.now(),
        });
        let kept = kept.and_then(|draft| serde_json::to_string(&draft).ok());
        let (person, id) = (cx.assigns().person.clone(), state.conversation.clone());
        let registers = &self.backend.registers;
        registers.draft(person, id, kept.map(Into::into)).await?;
        Ok(Payload::empty_object())
    }

    pub(super) async fn mute(
        &self,
        state: &State,
        cx: &Context<Principal>,
        mute: ConversationMute,
    ) -> Result<Payload, Refusal> {
        let has_passed = mute.until.is_some_and(|until| until <= cx.now());
        let ends = mute.muted == Some(false) || has_passed;
        let mute = (!ends).then_some(Mute {
            until: mute.until,
            mentions_only: mute.mentions_only.unwrap_or_default(),
        });
        let (person, id) = (cx.assigns().person.clone(), state.conversation.clone());
        self.backend.registers.mute(person, id, mute).await?;
        Ok(Payload::empty_object())
    }

    async fn mark(
        &self,
        state: &State,
        cx: &Context<Principal>,
        message: Option<MessageId>,
        change: RegisterChange,
    ) -> Result<(), Refusal> {
        let principal = cx.assigns();
        let mark = Mark {
            person: principal.person.clone(),
            device: state.device.clone(),
            conversation: state.conversation.clone(),
            message,
            change,
        };
        Ok(self.backend.registers.change(Change::Mark(mark)).await?)
    }

    /// The place that is meant.
    async fn place(
        &self,
        state: &State,
        cx: &Context<Principal>,
        place: &MessagePlace,
    ) -> Result<(Seq, Option<MessageId>), Refusal> {
        match (place.message_id, place.seq) {
            (Some(id), _) => Ok((self.message(state, cx, id).await?.seq, Some(id))),
            (None, Some(seq)) => Ok((seq, None)),
            (None, None) => Err(Refusal::invalid_field(
                "message_id",
                "message_id or seq is needed",
            )),
        }
    }
}
