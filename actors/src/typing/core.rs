//! The state: typists by conversation, and their deadlines in order.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use quikapp_storage::{ConversationId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::presence::{ReplicaId, Tracker};

/// How long typing lasts, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A `typing:start` ends by itself after this long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub expires_after: Duration,
    /// While it is refreshed, the start is repeated to the others this often.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub repeat_every: Duration,
    /// More typists than this at a time are refused (per shard of the node).
    pub max_typists: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            expires_after: Duration::from_secs(5),
            repeat_every: Duration::from_secs(2),
            max_typists: 20_000,
        }
    }
}

impl Config {
    /// Checks what would let nobody type, or repeat without end. The message names the key.
    pub fn validate(&self) -> Result<(), String> {
        let zero = [
            ("expires_after", self.expires_after.is_zero()),
            ("repeat_every", self.repeat_every.is_zero()),
            ("max_typists", self.max_typists == 0),
        ];
        match zero.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(format!("{key}: must be more than zero")),
            None => Ok(()),
        }
    }
}

/// There are too many typists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many people are typing")]
pub struct Full;

/// Who says that somebody types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A channel of this node.
    Here(Tracker),
    /// Another node, for all channels that the person has there.
    There {
        /// Which.
        node: ReplicaId,
        /// Of whom.
        user: UserId,
    },
}

impl From<Tracker> for Source {
    fn from(tracker: Tracker) -> Self {
        Self::Here(tracker)
    }
}

/// What the others of a conversation shall hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypingEvent {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// Began (or goes on), or ended.
    pub typing: bool,
    /// Who caused it. A channel does not hear itself.
    pub from: Source,
}

/// One channel of a typist, or another node's word for all that they have there.
#[derive(Debug)]
struct Typist {
    user: UserId,
    source: Source,
    until: Duration,
    /// When the others last heard of it.
    told: Duration,
    id: u64,
}

/// Pure: moments are durations since some start, and never go back.
#[derive(Debug)]
pub struct Core {
    config: Config,
    typists: HashMap<ConversationId, Vec<Typist>>,
    /// Ordered by the moment; the number tells equal ones apart.
    deadlines: BTreeMap<(Duration, u64), ConversationId>,
    next_id: u64,
}

impl Core {
    /// Nobody types.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            typists: HashMap::new(),
            deadlines: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// A channel says that its person types, or another node that somebody there does.
    pub fn start(
        &mut self,
        conversation: &ConversationId,
        user: &UserId,
        source: impl Into<Source>,
        now: Duration,
    ) -> Result<Option<TypingEvent>, Full> {
        let source = source.into();
        let here = self
            .typists
            .get(conversation)
            .map_or(&[][..], Vec::as_slice);
        let is_known = here.iter().any(|typist| typist.source == source);
        if !is_known && self.deadlines.len() >= self.config.max_typists {
            return Err(Full);
        }
        let told = here.iter().filter(|typist| typist.user == *user);
        let told = told.map(|typist| typist.told).max();
        let tell = told.is_none_or(|told| now >= told + self.config.repeat_every);

        let told = if tell { now } else { told.unwrap_or(now) };
        self.forget(conversation, &source);
        self.remember(conversation, user, source.clone(), now, told);
        Ok(tell.then(|| event(conversation, user, true, source)))
    }

    /// A channel says that its person no longer types, or is gone; or another node says so.
    pub fn stop(
        &mut self,
        conversation: &ConversationId,
        source: impl Into<Source>,
    ) -> Option<TypingEvent> {
        let gone = self.forget(conversation, &source.into())?;
        self.ended(conversation, &gone)
    }

    /// Ends what has had its time.
    pub fn expire(&mut self, now: Duration) -> Vec<TypingEvent> {
        let mut events = Vec::new();
        while let Some(due) = self.deadlines.first_entry() {
            let (until, id) = *due.key();
            if until > now {
                break;
            }
            let conversation = due.get().clone();
            let gone = self.forget_id(&conversation, id);
            events.extend(gone.and_then(|gone| self.ended(&conversation, &gone)));
        }
        events
    }

    /// The next moment at which [`Core::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        let ((until, _), _) = self.deadlines.first_key_value()?;
        Some(*until)
    }

    /// Who types in a conversation, ordered by user id.
    pub fn list(&self, conversation: &ConversationId) -> Vec<UserId> {
        let here = self.typists.get(conversation).into_iter().flatten();
        let mut users: Vec<_> = here.map(|typist| typist.user.clone()).collect();
        users.sort();
        users.dedup();
        users
    }

    /// How many channels type.
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether nobody types.
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    fn remember(
        &mut self,
        conversation: &ConversationId,
        user: &UserId,
        source: Source,
        now: Duration,
        told: Duration,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let until = now + self.config.expires_after;
        self.deadlines.insert((until, id), conversation.clone());
        let here = self.typists.entry(conversation.clone()).or_default();
        here.push(Typist {
            user: user.clone(),
            source,
            until,
            told,
            id,
        });
    }

    fn forget(&mut self, conversation: &ConversationId, source: &Source) -> Option<Typist> {
        self.forget_where(conversation, |typist| typist.source == *source)
    }

    fn forget_id(&mut self, conversation: &ConversationId, id: u64) -> Option<Typist> {
        self.forget_where(conversation, |typist| typist.id == id)
    }

    fn forget_where(
        &mut self,
        conversation: &ConversationId,
        goes: impl Fn(&Typist) -> bool,
    ) -> Option<Typist> {
        let here = self.typists.get_mut(conversation)?;
        let at = here.iter().position(goes)?;
        let gone = here.swap_remove(at);
        if here.is_empty() {
            self.typists.remove(conversation);
        }
        self.deadlines.remove(&(gone.until, gone.id));
        Some(gone)
    }

    /// The end of a typist is news only if no other channel of the person types on.
    fn ended(&self, conversation: &ConversationId, gone: &Typist) -> Option<TypingEvent> {
        let mut here = self.typists.get(conversation).into_iter().flatten();
        let types_on = here.any(|typist| typist.user == gone.user);
        (!types_on).then(|| event(conversation, &gone.user, false, gone.source.clone()))
    }
}

fn event(conversation: &ConversationId, user: &UserId, typing: bool, from: Source) -> TypingEvent {
    TypingEvent {
        conversation: conversation.clone(),
        user: user.clone(),
        typing,
        from,
    }
}
