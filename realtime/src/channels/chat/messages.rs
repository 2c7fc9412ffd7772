//! Events about messages.

use quikapp_actors::conversation::{Command, MessageClass, SendMessage, wire};
use quikapp_protocol::{Json, Payload};
use quikapp_storage::{Message, MessageId, Page, Timestamp};

use super::{
    ChatChannel, State, own,
    params::{
        ConversationNamed, HiddenPayload, HistoryPage, MessageDelete, MessageEdit, MessageHistory,
        MessageNamed, MessageReaction, MessageSend, ScheduledList, ScheduledNamed, Scope,
    },
    replay::is_visible,
};
use crate::{
    auth::Principal,
    channel::{Context, json},
    channels::room::tracker,
    errors::{Reason, Refusal},
    policy::ConversationAct,
};

/// Messages in a page of history.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

impl ChatChannel {
    pub(super) async fn send(
        &self,
        state: &State,
        cx: &Context<Principal>,
        send: MessageSend,
    ) -> Result<Payload, Refusal> {
        let at = send.send_at;
        let send = SendMessage::try_from(send)?;
        let sent = match (at, send.class) {
            (Some(at), _) => self.schedule(state, cx, send, at).await?,
            (None, MessageClass::Ephemeral) => self.send_ephemeral(state, cx, &send).await?,
            (None, _) => {
                let command = Command::Send(Box::new(send));
                self.submit(state, cx, command).await?
            }
        };
        if state.has_typed {
            let typing = &self.backend.typing;
            typing.stopped(&state.conversation, tracker(cx));
        }
        Ok(sent)
    }

    async fn schedule(
        &self,
        state: &State,
        cx: &Context<Principal>,
        send: SendMessage,
        at: Timestamp,
    ) -> Result<Payload, Refusal> {
        let (delivery, id) = (&self.backend.delivery, &state.conversation);
        self.check(cx, id, ConversationAct::Write).await?;
        let person = &cx.assigns().person;
        Ok(json(&delivery.schedule(person, id, send, at).await?))
    }

    /// No sequencer decides about what has no place in the log, so a block is asked for here.
    async fn send_ephemeral(
        &self,
        state: &State,
        cx: &Context<Principal>,
        send: &SendMessage,
    ) -> Result<Payload, Refusal> {
        let (conversations, id) = (&self.backend.conversations, &state.conversation);
        self.check(cx, id, ConversationAct::Type).await?;
        let sent = conversations.send_ephemeral(&cx.assigns().person, id, send)?;
        Ok(Payload::Json(Json::assume_valid(sent.to_string())))
    }

    pub(super) async fn scheduled(
        &self,
        state: &State,
        cx: &Context<Principal>,
    ) -> Result<Payload, Refusal> {
        let (delivery, id) = (&self.backend.delivery, &state.conversation);
        let scheduled = delivery.scheduled(&cx.assigns().person, id).await?;
        Ok(json(&ScheduledList { scheduled }))
    }

    pub(super) async fn cancel_scheduled(
        &self,
        state: &State,
        cx: &Context<Principal>,
        named: ScheduledNamed,
    ) -> Result<Payload, Refusal> {
        let (delivery, id) = (&self.backend.delivery, &state.conversation);
        let person = &cx.assigns().person;
        delivery.cancel(person, id, named.id).await?;
        Ok(Payload::empty_object())
    }

    pub(super) async fn edit(
        &self,
        state: &State,
        cx: &Context<Principal>,
        edit: MessageEdit,
    ) -> Result<Payload, Refusal> {
        let command = Command::Edit {
            message: edit.message_id,
            content: edit.content,
        };
        self.submit(state, cx, command).await
    }

    pub(super) async fn delete(
        &self,
        state: &State,
        cx: &Context<Principal>,
        delete: MessageDelete,
    ) -> Result<Payload, Refusal> {
        let message = delete.message_id;
        if delete.scope == Scope::Everyone {
            return self.submit(state, cx, Command::Delete { message }).await;
        }
        let (id, principal) = (&state.conversation, cx.assigns());
        self.check(cx, id, ConversationAct::Read).await?;
        self.message(state, cx, message).await?;
        let hidden = self
            .backend
            .store
            .hide_message(id, principal.user(), message);
        hidden.await?;
        // In the log of the person's own conversation, so that devices that are away learn of it.
        let told = HiddenPayload {
            message_id: message,
            conversation_id: id.clone(),
            hidden_at: cx.now(),
        };
        let told = serde_json::to_string(&told).unwrap_or_default();
        let conversations = &self.backend.conversations;
        let notice = conversations.notify(&principal.person, "message:hidden", told.into());
        notice.await?;
        Ok(Payload::empty_object())
    }

    pub(super) async fn react(
        &self,
        state: &State,
        cx: &Context<Principal>,
        reaction: MessageReaction,
        add: bool,
    ) -> Result<Payload, Refusal> {
        let command = Command::React {
            message: reaction.message_id,
            emoji: reaction.emoji,
            add,
        };
        self.submit(state, cx, command).await
    }

    pub(super) async fn pin(
        &self,
        state: &State,
        cx: &Context<Principal>,
        named: MessageNamed,
        pinned: bool,
    ) -> Result<Payload, Refusal> {
        let message = named.message_id;
        let command = Command::Pin { message, pinned };
        self.submit(state, cx, command).await
    }

    pub(super) async fn history(
        &self,
        state: &State,
        cx: &Context<Principal>,
        history: MessageHistory,
    ) -> Result<Payload, Refusal> {
        let limit = history.limit.unwrap_or(PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err(Refusal::invalid_field("limit", "1 to 100"));
        }
        let page = match (history.before_seq, history.after_seq) {
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid_field("after_seq", "not with before_seq"));
            }
            (Some(seq), None) => Page::Before(seq),
            (None, Some(seq)) => Page::After(seq),
            (None, None) => Page::Latest,
        };
        let (store, id, principal) = (&self.backend.store, &state.conversation, cx.assigns());
        let user = principal.user();
        let visible = store.membership(id, user).await?;
        let thread = history.thread_root;
        let read = store.history(id, &visible, user, thread, page, limit + 1);
        let mut messages = read.await?;
        let has_more = messages.len() > limit;
        if has_more {
            // One more was asked for than is shown: the one at the far end.
            match page {
                Page::After(_) => messages.truncate(limit),
                Page::Before(_) | Page::Latest => drop(messages.remove(0)),
            }
        }
        let shown = |message: &Message| Json::assume_valid(wire::message(message).to_string());
        let messages = messages.iter().map(shown).collect();
        let thread = match thread {
            None => None,
            Some(root) => store.threads(id, user, Some(&[root]), 1).await?.pop(),
        };
        Ok(json(&HistoryPage {
            messages,
            has_more,
            thread: thread.map(Into::into),
        }))
    }

    /// Nobody hears it of an invisible person: they are not there.
    pub(super) fn start_typing(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        named: &ConversationNamed,
    ) -> Result<Payload, Refusal> {
        let reply = own(state, named)?;
        if self.backend.people.is_invisible(&cx.assigns().person) {
            return Ok(reply);
        }
        let (typing, id) = (&self.backend.typing, &state.conversation);
        typing.started(id, cx.assigns().user(), tracker(cx))?;
        if !state.has_typed {
            cx.attach(typing.guard(id, tracker(cx)));
            state.has_typed = true;
        }
        Ok(reply)
    }

    pub(super) fn stop_typing(
        &self,
        state: &State,
        cx: &Context<Principal>,
        named: &ConversationNamed,
    ) -> Result<Payload, Refusal> {
        let reply = own(state, named)?;
        self.backend
            .typing
            .stopped(&state.conversation, tracker(cx));
        Ok(reply)
    }

    /// A message that the client may see.
    pub(super) async fn message(
        &self,
        state: &State,
        cx: &Context<Principal>,
        message: MessageId,
    ) -> Result<Message, Refusal> {
        let (store, id, principal) = (&self.backend.store, &state.conversation, cx.assigns());
        let found = store.messages(id, &[message]).await?.pop();
        let found = found.ok_or(Reason::MessageNotFound)?;
        let visible = store.membership(id, principal.user()).await?;
        if is_visible(&visible, found.seq) {
            Ok(found)
        } else {
            Err(Reason::MessageNotFound.into())
        }
    }
}
