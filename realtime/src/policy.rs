//! The one door of authorization.
//!
//! Every join, event and route asks [`Policy::check`] before anything is done. The tenant is the
//! principal's, never a payload's: a conversation of another workspace does not exist for them.
//! Finer rules that need the state of a conversation at the very place in its log (who may edit
//! which message, a group keeps an owner) are decided by its sequencer.

mod cache;

use std::sync::Arc;

use quikapp_actors::{Clock, conversation::CommandError, delivery::MaySend};
use quikapp_storage::{
    ConversationId, ConversationKind, Person, Role, SharedStore, StoreError, Timestamp, UserId,
    WorkspaceId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    auth::{AccountRole, Principal, Revocations, RoomAccess},
    errors::{Reason, Refusal},
};
use cache::{Cache, Standing};

/// Something a principal wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Something in a conversation.
    Conversation {
        /// Which, as the client named it.
        id: &'a ConversationId,
        /// What.
        act: ConversationAct,
    },
    /// Begin a conversation; a direct one needs both to be free of blocks.
    CreateConversation {
        /// Direct or group.
        kind: ConversationKind,
        /// With whom.
        members: &'a [UserId],
    },
    /// Join or read `user:<id>`, or list what belongs to that user.
    OwnStream {
        /// Whose.
        user: &'a UserId,
    },
    /// The lobby of one's own workspace, under any of its names.
    Lobby,
    /// The presence topic of a named workspace.
    WorkspacePresence {
        /// Which.
        workspace: &'a WorkspaceId,
    },
    /// See whether a person of one's workspace is there.
    SeePerson {
        /// Whom.
        user: &'a UserId,
    },
    /// See when a person was last here although they do not show it to everyone.
    SeeLastSeen {
        /// Whose.
        user: &'a UserId,
    },
    /// Block or unblock a person of one's workspace.
    Block {
        /// Whom.
        user: &'a UserId,
    },
    /// Use a broadcast room.
    Room {
        /// The topic, `broadcast:<name>`.
        topic: &'a str,
        /// To listen, or to broadcast.
        access: RoomAccess,
    },
    /// One's own tokens: a ticket, signing out.
    OwnTokens,
    /// Revoke tokens and people of one's workspace.
    Administer,
}

/// What is done in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationAct {
    /// Join, read, search, acknowledge, hear who types.
    Read,
    /// Keep a draft, write a message that is due later.
    Write,
    /// Edit, react, pin: what becomes an entry of the log. The conversation's sequencer
    /// decides about the membership again, at the very place in the log, so a membership that was
    /// once seen is enough here.
    Append,
    /// Send a message, as [`Append`](Self::Append). Whoever was a member once may ask as well:
    /// the sequencer refuses them, unless it is a retry of what they sent while they were.
    Send,
    /// Be seen typing: not where a block stands between the two of a direct conversation.
    Type,
    /// Add and remove members, rename (admins and owners).
    ManageMembers,
    /// Change roles (owners).
    ChangeRoles,
}

/// Rules of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who may use broadcast rooms that a token does not open: nobody, or everybody signed in.
    pub rooms: OpenRooms,
    /// Whose presence people see: of everyone in the workspace, or of those they share a
    /// conversation with. Blocks hide in either case.
    pub presence: PresenceVisibility,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rooms: OpenRooms::Claimed,
            presence: PresenceVisibility::Workspace,
        }
    }
}

/// Who may use a broadcast room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenRooms {
    /// Only whom the token's `rooms` claim allows.
    Claimed,
    /// Everybody signed in to the workspace (development mode sets this).
    Workspace,
}

/// Whose presence is visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresenceVisibility {
    /// Everyone of the workspace.
    Workspace,
    /// People with whom one shares a conversation.
    SharedConversation,
}

/// Decides. Cheap to clone.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

struct Inner {
    store: SharedStore,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
    config: Config,
    cache: Cache,
}

impl Policy {
    /// A policy over what the store says of memberships and blocks. A revoked principal may do
    /// nothing any more, even in the moment before its sockets close.
    pub fn new(
        store: SharedStore,
        revocations: Revocations,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                revocations,
                clock,
                config,
                cache: Cache::default(),
            }),
        }
    }

    /// Whether `principal` may do this now. What is remembered of memberships and blocks is never
    /// older than half a second, save where a sequencer decides again
    /// ([`ConversationAct::Append`]).
    pub async fn check(&self, principal: &Principal, action: Action<'_>) -> Result<(), Refusal> {
        if principal.expires_at <= self.inner.clock.now() {
            return Err(Reason::TokenExpired.into());
        }
        if self.inner.revocations.refuse(principal) {
            return Err(Reason::TokenRevoked.into());
        }
        match action {
            Action::Conversation { id, act } => self.conversation(principal, id, act).await,
            Action::CreateConversation { kind, members } => {
                self.create(principal, kind, members).await
            }
            Action::OwnStream { user } => allow(user == principal.user(), Reason::Forbidden),
            Action::Lobby | Action::OwnTokens => Ok(()),
            Action::WorkspacePresence { workspace } => {
                allow(workspace == principal.workspace(), Reason::Forbidden)
            }
            Action::SeePerson { user } => self.see(principal, user).await,
            Action::SeeLastSeen { user } => self.see_last_seen(principal, user).await,
            Action::Block { user } => allow(user != principal.user(), Reason::Forbidden),
            Action::Room { topic, access } => self.room(principal, topic, access),
            Action::Administer => allow(principal.role == AccountRole::Admin, Reason::Forbidden),
        }
    }

    /// Whether a person may now send what they wrote at a moment before: their membership may have
    /// ended since, and their tokens of then may have been revoked.
    pub async fn check_scheduled(
        &self,
        person: &Person,
        id: &ConversationId,
        written_at: Timestamp,
    ) -> Result<(), Refusal> {
        let principal = Principal {
            person: person.clone(),
            device: None,
            role: AccountRole::Member,
            rooms: Default::default(),
            jti: "".into(),
            issued_at: written_at,
            expires_at: Timestamp(i64::MAX),
        };
        // What is remembered may be half a second old, and a message that was sent stays.
        self.inner.cache.forget_conversation(id);
        let act = ConversationAct::Write;
        self.check(&principal, Action::Conversation { id, act })
            .await
    }

    /// The question that delivery asks when a scheduled message is due.
    pub fn may_send(&self) -> MaySend {
        let policy = self.clone();
        Arc::new(move |person, id, written_at| {
            let policy = policy.clone();
            Box::pin(async move {
                let checked = policy.check_scheduled(&person, &id, written_at).await;
                checked.map_err(|refusal| match refusal.reason {
                    Reason::ConversationNotFound => CommandError::ConversationNotFound,
                    Reason::NotAParticipant => CommandError::NotAParticipant,
                    Reason::Blocked => CommandError::Blocked,
                    Reason::Overloaded => CommandError::Overloaded,
                    Reason::Unavailable | Reason::Internal => CommandError::Unavailable,
                    _ => CommandError::Forbidden,
                })
            })
        })
    }

    /// Whether nobody in the workspace is hidden from the principal, so that what is shown to
    /// everyone may be shown to them as it is.
    pub async fn sees_everyone(&self, principal: &Principal) -> Result<bool, Refusal> {
        let all = self.inner.config.presence == PresenceVisibility::Workspace;
        Ok(all && self.blocks(principal).await?.is_empty())
    }

    /// Forgets what is remembered of a conversation, at once: call it after a membership changed.
    pub fn membership_changed(&self, id: &ConversationId) {
        self.inner.cache.forget_conversation(id);
    }

    /// Forgets what is remembered of a person's blocks.
    pub fn blocks_changed(&self, principal: &Principal, other: &UserId) {
        self.inner.cache.forget_blocks(&principal.person, other);
    }

    async fn conversation(
        &self,
        principal: &Principal,
        id: &ConversationId,
        act: ConversationAct,
    ) -> Result<(), Refusal> {
        let standing = match act {
            ConversationAct::Append | ConversationAct::Send => {
                self.last_standing(principal, id).await?
            }
            _ => self.standing(principal, id).await?,
        };
        if act == ConversationAct::Type && matches!(standing, Standing::Member(_)) {
            let blocked = self.is_blocked_in(principal, id).await?;
            allow(!blocked, Reason::Blocked)?;
        }
        match standing {
            Standing::Unknown => Err(Reason::ConversationNotFound.into()),
            Standing::Former => allow(act == ConversationAct::Send, Reason::NotAParticipant),
            Standing::Outsider => Err(Reason::NotAParticipant.into()),
            Standing::Member(role) => allow(role_allows(role, act), Reason::Forbidden),
        }
    }

    /// Whether it is a direct conversation with somebody behind a block. Only those who have
    /// blocks pay for the look.
    async fn is_blocked_in(
        &self,
        principal: &Principal,
        id: &ConversationId,
    ) -> Result<bool, StoreError> {
        let blocks = self.blocks(principal).await?;
        let store = &self.inner.store;
        let found = match blocks.is_empty() {
            true => None,
            false => store.conversation(id).await?,
        };
        if found.is_none_or(|found| found.kind != ConversationKind::Direct) {
            return Ok(false);
        }
        let pair = store.members(id, None, 2).await?;
        Ok(pair.iter().any(|member| blocks.contains(&member.user)))
    }

    async fn create(
        &self,
        principal: &Principal,
        kind: ConversationKind,
        members: &[UserId],
    ) -> Result<(), Refusal> {
        match kind {
            ConversationKind::Person => Err(Reason::Forbidden.into()),
            ConversationKind::Group => Ok(()),
            ConversationKind::Direct => {
                let blocks = self.blocks(principal).await?;
                let blocked = members.iter().any(|member| blocks.contains(member));
                allow(!blocked, Reason::Blocked)
            }
        }
    }

    async fn see(&self, principal: &Principal, user: &UserId) -> Result<(), Refusal> {
        if user == principal.user() {
            return Ok(());
        }
        if self.blocks(principal).await?.contains(user) {
            return Err(Reason::UserNotFound.into());
        }
        match self.inner.config.presence {
            PresenceVisibility::Workspace => Ok(()),
            PresenceVisibility::SharedConversation => {
                let shared = self.share_a_conversation(principal, user).await?;
                allow(shared, Reason::UserNotFound)
            }
        }
    }

    async fn see_last_seen(&self, principal: &Principal, user: &UserId) -> Result<(), Refusal> {
        self.see(principal, user).await?;
        let close = user == principal.user() || self.share_a_conversation(principal, user).await?;
        allow(close, Reason::Forbidden)
    }

    fn room(&self, principal: &Principal, topic: &str, access: RoomAccess) -> Result<(), Refusal> {
        let open = self.inner.config.rooms == OpenRooms::Workspace;
        allow(
            open || principal.rooms.allow(topic, access),
            Reason::RoomForbidden,
        )
    }

    /// A membership as it was when it was last looked at, however long ago.
    async fn last_standing(
        &self,
        principal: &Principal,
        id: &ConversationId,
    ) -> Result<Standing, StoreError> {
        let last = self.inner.cache.last_standing(&principal.person, id);
        match last {
            Some(member @ Standing::Member(_)) => Ok(member),
            _ => self.standing(principal, id).await,
        }
    }

    async fn standing(
        &self,
        principal: &Principal,
        id: &ConversationId,
    ) -> Result<Standing, StoreError> {
        if let Some(standing) = self.inner.cache.standing(&principal.person, id) {
            return Ok(standing);
        }
        let asked = self.inner.cache.asking();
        let standing = self.look_up_standing(principal, id).await?;
        self.inner
            .cache
            .put_standing(asked, &principal.person, id, standing);
        Ok(standing)
    }

    async fn look_up_standing(
        &self,
        principal: &Principal,
        id: &ConversationId,
    ) -> Result<Standing, StoreError> {
        if self.place_of(id).await? != Some(principal.workspace().clone()) {
            return Ok(Standing::Unknown);
        }
        let store = &self.inner.store;
        let intervals = store.membership(id, principal.user()).await?;
        let open = intervals.iter().find(|member| member.to_seq.is_none());
        Ok(match open {
            Some(member) => Standing::Member(member.role),
            None if intervals.is_empty() => Standing::Outsider,
            None => Standing::Former,
        })
    }

    /// The workspace of a conversation that people write in. It never changes, so that only
    /// membership has to be asked for again and again.
    async fn place_of(&self, id: &ConversationId) -> Result<Option<WorkspaceId>, StoreError> {
        if let Some(workspace) = self.inner.cache.workspace(id) {
            return Ok(Some(workspace));
        }
        let found = self.inner.store.conversation(id).await?;
        let shared = found.filter(|found| found.kind != ConversationKind::Person);
        Ok(shared.map(|found| {
            self.inner.cache.put_workspace(id, &found.workspace);
            found.workspace
        }))
    }

    async fn blocks(&self, principal: &Principal) -> Result<Arc<[UserId]>, StoreError> {
        if let Some(blocks) = self.inner.cache.blocks(&principal.person) {
            return Ok(blocks);
        }
        let asked = self.inner.cache.asking();
        let blocks: Arc<[UserId]> = self.inner.store.blocks(&principal.person).await?.into();
        self.inner
            .cache
            .put_blocks(asked, &principal.person, blocks.clone());
        Ok(blocks)
    }

    async fn share_a_conversation(
        &self,
        principal: &Principal,
        user: &UserId,
    ) -> Result<bool, StoreError> {
        let other = principal.colleague(user.clone());
        let mine = self.inner.store.conversations_of(&principal.person).await?;
        let theirs = self.inner.store.conversations_of(&other).await?;
        Ok(mine
            .iter()
            .any(|(id, _)| theirs.iter().any(|(other, _)| id == other)))
    }
}

fn role_allows(role: Role, act: ConversationAct) -> bool {
    match act {
        ConversationAct::Read
        | ConversationAct::Write
        | ConversationAct::Append
        | ConversationAct::Send
        | ConversationAct::Type => true,
        ConversationAct::ManageMembers => role >= Role::Admin,
        ConversationAct::ChangeRoles => role >= Role::Owner,
    }
}

fn allow(allowed: bool, otherwise: Reason) -> Result<(), Refusal> {
    if allowed {
        Ok(())
    } else {
        Err(otherwise.into())
    }
}

#[cfg(test)]
mod tests;
