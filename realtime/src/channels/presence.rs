//! `presence:global`, `presence:lobby`, `presence:workspace:<id>` and `presence:<conversation_id>`:
//! who is there, and what they are up to.

use std::sync::Arc;

use quikapp_actors::{
    conversation::{MemberLeft, members_topic},
    fanout::{Broadcast, Lane, Note},
    people::{Asked, CustomStatus, PersonSeen, Shown, Status},
    presence::{room_of, workspace_room},
};
use quikapp_protocol::Payload;
use quikapp_storage::{ConversationId, Timestamp, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{
    Backend, payload,
    room::{Room, RoomJoined, RoomParams, tracker},
};
use crate::{
    auth::Principal,
    channel::{Channel, Context, Flow, JoinError, StopReason, json},
    errors::{Reason, Refusal},
    policy::{Action, ConversationAct},
};

/// At most so many people are asked for at once.
const MOST_ASKED: usize = 100;

/// `status:update`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub(crate) struct StatusUpdate {
    /// online, away, busy, dnd or invisible.
    pub status: Status,
}

/// `status:custom`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub(crate) struct CustomStatusUpdate {
    /// At most 100 characters.
    #[serde(default)]
    #[ts(optional, as = "Option<String>")]
    pub text: String,
    /// At most 64 bytes.
    #[serde(default)]
    #[ts(optional)]
    pub emoji: Option<String>,
    /// When it clears itself; never, without.
    #[serde(default)]
    #[ts(optional, type = "string")]
    pub expires_at: Option<Timestamp>,
}

/// `activity:typing`, `activity:viewing`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, TS)]
pub(crate) struct Activity {
    /// In which conversation; the topic's own, without.
    #[serde(default)]
    #[ts(optional)]
    pub conversation_id: Option<String>,
}

/// `presence:get`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, TS)]
pub(crate) struct PresenceGet {
    /// Of whom, at most 100.
    #[serde(default)]
    #[ts(optional, type = "Array<string>")]
    pub user_ids: Option<Vec<UserId>>,
    /// Of whom, if it is only one.
    #[serde(default)]
    #[ts(optional, type = "string")]
    pub user_id: Option<UserId>,
}

/// The answer to `presence:get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub(crate) struct PresenceGot {
    /// In the order asked for.
    pub users: Vec<PersonSeen>,
}

/// What one membership remembers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    room: Room,
    /// Conversations in which the channel's end ends the typing.
    typed_in: Vec<ConversationId>,
}

/// A topic's meaning.
enum Named {
    Workspace(Option<WorkspaceId>),
    Conversation(ConversationId),
}

impl Named {
    fn parse(topic: &str) -> Result<Self, Refusal> {
        let name = topic.strip_prefix("presence:").unwrap_or_default();
        if matches!(name, "global" | "lobby") {
            return Ok(Self::Workspace(None));
        }
        if let Some(workspace) = name.strip_prefix("workspace:") {
            let workspace = WorkspaceId::new(workspace).map_err(|_| Reason::Forbidden)?;
            return Ok(Self::Workspace(Some(workspace)));
        }
        let id = ConversationId::parse(name).map_err(|_| Reason::ConversationNotFound)?;
        Ok(Self::Conversation(id))
    }
}

/// Presence of a workspace, or of a conversation.
pub(super) struct PresenceChannel {
    backend: Backend,
}

impl PresenceChannel {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend }
    }

    async fn enter(
        &self,
        cx: &mut Context<Principal>,
        params: &Payload,
    ) -> Result<(State, Payload), Refusal> {
        let params: RoomParams = payload::read(params)?;
        let room = self.room(cx).await?;
        let outlet = room_of(cx.assigns().workspace(), cx.topic());
        if let Ok(Named::Conversation(id)) = Named::parse(cx.topic()) {
            cx.subscribe(&members_topic(&id), Lane::Intercept);
            // Who was removed before the subscription stood is found out here, later ones by note.
            self.check(&cx.assigns(), &id, ConversationAct::Read)
                .await?;
        }
        let room = Room::new(room, outlet, params.mode);
        let device = cx.assigns().device.clone();
        let room = Room::enter(&self.backend, cx, room, device).await?;
        let reply = json(&RoomJoined { mode: room.mode });
        let typed_in = Vec::new();
        Ok((State { room, typed_in }, reply))
    }

    /// The room behind the topic, if it may be entered.
    async fn room(&self, cx: &Context<Principal>) -> Result<String, Refusal> {
        let principal = cx.assigns();
        let own = principal.workspace();
        match Named::parse(cx.topic())? {
            Named::Workspace(None) => {
                self.backend.policy.check(&principal, Action::Lobby).await?;
                Ok(workspace_room(own))
            }
            Named::Workspace(Some(workspace)) => {
                let workspace = &workspace;
                let action = Action::WorkspacePresence { workspace };
                self.backend.policy.check(&principal, action).await?;
                Ok(workspace_room(own))
            }
            Named::Conversation(id) => {
                self.check(&principal, &id, ConversationAct::Read).await?;
                Ok(room_of(own, cx.topic()))
            }
        }
    }

    async fn check(
        &self,
        principal: &Principal,
        id: &ConversationId,
        act: ConversationAct,
    ) -> Result<(), Refusal> {
        let action = Action::Conversation { id, act };
        self.backend.policy.check(principal, action).await
    }

    async fn handle(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        event: &str,
        payload: &Payload,
    ) -> Result<Payload, Refusal> {
        self.authorize(cx).await?;
        match event {
            "status:update" => self.choose_status(cx, payload::read(payload)?).await,
            "status:custom" => self.choose_custom(cx, payload::read(payload)?).await,
            "status:clear_custom" => self.clear_custom(cx).await,
            "activity:typing" => self.type_in(state, cx, payload::read(payload)?).await,
            "activity:viewing" => self.look_at(cx, payload::read(payload)?).await,
            "presence:get" => self.get(cx, payload::read(payload)?).await,
            _ => Err(Reason::UnknownEvent.into()),
        }
    }

    /// Every event goes through the door again: a token may have ended, a member may have left.
    async fn authorize(&self, cx: &Context<Principal>) -> Result<(), Refusal> {
        self.room(cx).await.map(drop)
    }

    async fn choose_status(
        &self,
        cx: &Context<Principal>,
        update: StatusUpdate,
    ) -> Result<Payload, Refusal> {
        let principal = cx.assigns();
        let people = &self.backend.people;
        people
            .choose_status(&principal.person, update.status)
            .await?;
        Ok(json(&update))
    }

    async fn choose_custom(
        &self,
        cx: &Context<Principal>,
        update: CustomStatusUpdate,
    ) -> Result<Payload, Refusal> {
        let principal = cx.assigns();
        let custom = CustomStatus {
            text: update.text,
            emoji: update.emoji,
            expires_at: update.expires_at,
        };
        let people = &self.backend.people;
        let chosen = people.choose_custom(&principal.person, Some(custom.clone()));
        chosen.await?;
        Ok(json(&custom))
    }

    async fn clear_custom(&self, cx: &Context<Principal>) -> Result<Payload, Refusal> {
        let principal = cx.assigns();
        let people = &self.backend.people;
        people.choose_custom(&principal.person, None).await?;
        Ok(Payload::empty_object())
    }

    async fn type_in(
        &self,
        state: &mut State,
        cx: &mut Context<Principal>,
        activity: Activity,
    ) -> Result<Payload, Refusal> {
        let principal = cx.assigns();
        let id = conversation_of(cx, activity)?;
        self.check(&principal, &id, ConversationAct::Type).await?;
        if self.backend.people.is_invisible(&principal.person) {
            return Ok(Payload::empty_object());
        }
        let typing = &self.backend.typing;
        typing.started(&id, principal.user(), tracker(cx))?;
        if !state.typed_in.contains(&id) {
            cx.attach(typing.guard(&id, tracker(cx)));
            state.typed_in.push(id);
        }
        Ok(Payload::empty_object())
    }

    async fn look_at(
        &self,
        cx: &Context<Principal>,
        activity: Activity,
    ) -> Result<Payload, Refusal> {
        let principal = cx.assigns();
        let id = conversation_of(cx, activity)?;
        self.check(&principal, &id, ConversationAct::Read).await?;
        let room = room_of(principal.workspace(), &format!("presence:{id}"));
        let people = &self.backend.people;
        people.viewing(&principal.person, cx.connection(), &room);
        Ok(Payload::empty_object())
    }

    async fn get(&self, cx: &Context<Principal>, get: PresenceGet) -> Result<Payload, Refusal> {
        let mut users = get.user_ids.unwrap_or_default();
        users.extend(get.user_id);
        if users.is_empty() || users.len() > MOST_ASKED {
            return Err(Refusal::invalid_field(
                "user_ids",
                "1 to 100 users are needed",
            ));
        }
        let principal = cx.assigns();
        let asked = self.backend.people.ask(principal.workspace(), &users);
        let mut users = Vec::with_capacity(users.len());
        for asked in asked.await? {
            users.push(self.as_seen_by(&principal, asked).await?);
        }
        Ok(json(&PresenceGot { users }))
    }

    /// People see themselves as they are; those one may not see look as if they had never come.
    async fn as_seen_by(&self, principal: &Principal, asked: Asked) -> Result<PersonSeen, Refusal> {
        let mut seen = asked.seen;
        if seen.user_id == *principal.user() {
            return Ok(self
                .backend
                .people
                .myself(&principal.person)
                .unwrap_or(seen));
        }
        let user = &seen.user_id;
        if !self.may(principal, Action::SeePerson { user }).await? {
            return Ok(unseen(seen.user_id));
        }
        if !asked.last_seen_public && !self.may(principal, Action::SeeLastSeen { user }).await? {
            seen.last_seen = None;
        }
        Ok(seen)
    }

    /// Whether it is allowed; other refusals than "not for you" are passed on.
    async fn may(&self, principal: &Principal, action: Action<'_>) -> Result<bool, Refusal> {
        match self.backend.policy.check(principal, action).await {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.reason == Reason::UserNotFound => Ok(false),
            Err(refusal) if refusal.reason == Reason::Forbidden => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }
}

fn unseen(user_id: UserId) -> PersonSeen {
    PersonSeen {
        user_id,
        status: Shown::Offline,
        last_seen: None,
        custom_status: None,
        devices: Vec::new(),
    }
}

/// The conversation named, or the topic's own.
fn conversation_of(cx: &Context<Principal>, activity: Activity) -> Result<ConversationId, Refusal> {
    let missing = || Refusal::invalid_field("conversation_id", "the topic is no conversation's");
    match (activity.conversation_id, Named::parse(cx.topic())?) {
        (Some(id), _) => {
            let invalid = |_| Refusal::invalid_field("conversation_id", "not an id");
            ConversationId::parse(&id).map_err(invalid)
        }
        (None, Named::Conversation(id)) => Ok(id),
        (None, Named::Workspace(_)) => Err(missing()),
    }
}

impl Channel for PresenceChannel {
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
}
