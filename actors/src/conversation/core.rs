//! A conversation's sequencer as a pure state machine.
//!
//! A [`Core`] knows the conversation as of its tail. Commands are decided against a [`Draft`] of
//! it, one after the other; the draft becomes the core once the store has taken its entries, and
//! is dropped otherwise. So nothing has to be undone, and a batch can be decided again after
//! another process got in between.

mod folded;
mod members;
pub(crate) mod messages;
#[cfg(test)]
mod properties;
pub(crate) mod refold;
#[cfg(test)]
mod scripts;
pub(crate) mod validate;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use quikapp_storage::{
    Acquired, Appended, ConversationId, ConversationKind, Entry, EntryEffect, EntryId, EntryKind,
    Epoch, JsonText, Key16, Keys, Message, MessageId, NewEntry, Person, Role, Seq, ServerMutant,
    Timestamp, UserId, WorkspaceId,
};

use super::{Command, CommandError, Limits, Outcome, key, payload::NoticePayload, wire};
use folded::Folded;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Author {
    /// A person, who must be a member.
    Person(Person),
    /// The server itself: notices in a person's own conversation.
    Server,
}

/// A command with what it needs to be decided the same way as often as it takes.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Who asks.
    pub(crate) by: Author,
    /// The id that the entry gets, made by the shell.
    pub(crate) id: EntryId,
    /// What is asked.
    pub(crate) command: Command,
}

impl Request {
    /// The idempotency keys of the entry.
    pub(crate) fn keys(&self) -> Keys {
        match (&self.by, &self.command) {
            (Author::Person(person), Command::Send(send))
                if !ServerMutant::ApplyTwice.is_active() =>
            {
                key::of_message(&person.user, send, self.id)
            }
            (Author::Server, Command::Notice { key: Some(key), .. }) => (*key).into(),
            _ => key::of_entry(self.id).into(),
        }
    }

    /// The messages that must be known to decide it.
    pub(crate) fn messages(&self) -> impl Iterator<Item = MessageId> + use<> {
        let (a, b) = match &self.command {
            Command::Send(send) => (send.reply_to, send.thread_root),
            Command::Edit { message, .. }
            | Command::Delete { message }
            | Command::Expire { message, .. }
            | Command::TakeReaction { message, .. }
            | Command::React { message, .. }
            | Command::Pin { message, .. } => (Some(*message), None),
            _ => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Whether a block between two people forbids it.
    pub(crate) fn reaches_the_other(&self) -> bool {
        matches!(
            self.command,
            Command::Send(_)
                | Command::Edit { .. }
                | Command::React { add: true, .. }
                | Command::Pin { .. }
        )
    }
}

/// What the shell has looked up for a batch.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The messages named by [`Request::messages`], as far as they exist.
    pub(crate) messages: Vec<Message>,
    /// Entries under keys of the batch that are in the log already; `None` if nobody has looked.
    pub(crate) originals: Option<Vec<Entry>>,
    /// Whether there is a block between the two people of a direct conversation.
    pub(crate) blocked: bool,
}

/// What is decided about a request.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// It is entry number `index` of the batch; `replayed` if another request of the batch put
    /// it there.
    Append { index: usize, replayed: bool },
    /// Nothing is to be written.
    Done(Outcome),
    /// It is refused.
    Refuse(CommandError),
}

/// An open membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    pub(crate) from_seq: Seq,
}

/// A conversation as of its tail, for the process that owns it under `epoch`.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    id: ConversationId,
    workspace: WorkspaceId,
    kind: ConversationKind,
    name: Option<String>,
    owner: UserId,
    epoch: Epoch,
    tail: Seq,
    n: u64,
    /// Shared with drafts; a draft copies it only when it changes a membership.
    members: Arc<BTreeMap<UserId, Standing>>,
    limits: Arc<Limits>,
}

impl Core {
    /// Starts from what the store handed over.
    pub(crate) fn new(acquired: Acquired, limits: Arc<Limits>) -> Self {
        let conversation = acquired.conversation;
        let standing = |member: quikapp_storage::Member| {
            let standing = Standing {
                role: member.role,
                from_seq: member.from_seq,
            };
            (member.user, standing)
        };
        Self {
            id: conversation.id,
            workspace: conversation.workspace,
            kind: conversation.kind,
            name: conversation.name,
            owner: conversation.created_by,
            epoch: conversation.epoch,
            tail: conversation.tail,
            n: conversation.n,
            members: Arc::new(acquired.members.into_iter().map(standing).collect()),
            limits,
        }
    }

    /// The epoch of this ownership.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last place of the log.
    pub(crate) fn tail(&self) -> Seq {
        self.tail
    }

    /// Whether somebody is a member as of the tail.
    pub(crate) fn is_member(&self, user: &UserId) -> bool {
        self.members.contains_key(user)
    }

    /// The tenant.
    pub(crate) fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// The two people of a direct conversation.
    pub(crate) fn pair(&self) -> Option<(Person, UserId)> {
        let mut members = self.members.keys();
        match (self.kind, members.next(), members.next()) {
            (ConversationKind::Direct, Some(a), Some(b)) => {
                let workspace = self.workspace.clone();
                let user = a.clone();
                Some((Person { workspace, user }, b.clone()))
            }
            _ => None,
        }
    }

    /// Begins a batch.
    pub(crate) fn draft(&self, found: Found, now: Timestamp) -> Draft {
        let unfold = |row: Message| Folded::unfold(row).map(|message| (message.id(), message));
        let knows_keys = found.originals.is_some();
        let originals = found.originals.into_iter().flatten();
        Draft {
            core: self.clone(),
            messages: found.messages.into_iter().filter_map(unfold).collect(),
            originals: originals.map(|entry| (entry.key, entry)).collect(),
            knows_keys,
            needs_keys: false,
            keys: HashMap::new(),
            entries: Vec::new(),
            blocked: found.blocked,
            now,
        }
    }
}

/// A batch that is being decided: the core as it will be, and the entries that make it so.
#[derive(Debug)]
pub(crate) struct Draft {
    core: Core,
    messages: HashMap<MessageId, Folded>,
    originals: HashMap<Key16, Entry>,
    /// Whether `originals` are all there are.
    knows_keys: bool,
    /// See [`Draft::needs_keys`].
    needs_keys: bool,
    keys: HashMap<Key16, usize>,
    entries: Vec<NewEntry>,
    blocked: bool,
    now: Timestamp,
}

/// What a command comes to, if it is allowed.
enum Change {
    Write(Box<Write>),
    /// It is so already. The reply's payload, without a place.
    Nothing {
        id: EntryId,
        payload: JsonText,
    },
}

/// An entry in the making.
struct Write {
    kind: EntryKind,
    sender: UserId,
    hash: Option<[u8; 32]>,
    counts: bool,
    target: Option<(MessageId, Seq)>,
    payload: JsonText,
    effects: Vec<EntryEffect>,
}

impl Draft {
    /// Decides the next request of the batch.
    pub(crate) fn decide(&mut self, request: &Request) -> Decision {
        if let Author::Person(person) = &request.by
            && (person.workspace != self.core.workspace
                || self.core.kind == ConversationKind::Person)
        {
            return Decision::Refuse(CommandError::ConversationNotFound);
        }
        let keys = request.keys();
        if let Some(decision) = self.seen_before(request, keys) {
            return decision;
        }
        match self.change(request) {
            Ok(Change::Write(write)) => self.write(request, keys, *write),
            Ok(Change::Nothing { id, payload }) => Decision::Done(Outcome {
                id,
                seq: self.tail(),
                payload: wire::placed(&payload, self.tail(), None),
                replayed: false,
            }),
            Err(error) => {
                self.needs_keys |= !self.knows_keys && may_stand(request, &self.core.limits);
                Decision::Refuse(error)
            }
        }
    }

    /// Whether somebody is refused whose message may stand in the log: they did not hear what
    /// became of it, and the conversation has changed since. With the keys looked up it is to be
    /// decided anew.
    pub(crate) fn needs_keys(&self) -> bool {
        self.needs_keys
    }

    /// The entries so far; they take the places after the core's tail.
    pub(crate) fn entries(&self) -> &[NewEntry] {
        &self.entries
    }

    /// What the log has of requests that are carried out once more because nobody knew whether
    /// they were: to everybody else it is new.
    pub(crate) fn found_written<'a>(
        &self,
        requests: impl Iterator<Item = &'a Request>,
    ) -> Vec<Entry> {
        if self.originals.is_empty() {
            return Vec::new();
        }
        let original = |request: &Request| {
            let original = self.original(request.keys())?;
            (original.id == request.id).then(|| original.clone())
        };
        requests.filter_map(original).collect()
    }

    /// The batch was appended: the core as it is now, and the entries as they stand in the log.
    pub(crate) fn committed(self, appended: &Appended) -> (Core, Vec<Entry>) {
        let mut core = self.core;
        let mut n = core.n;
        let mut seq = appended.first;
        let mut entries = Vec::with_capacity(self.entries.len());
        for new in self.entries {
            n += u64::from(new.counts);
            entries.push(entry(new, seq, n, core.epoch));
            seq = seq.next();
        }
        core.tail = appended.tail;
        core.n = appended.n;
        (core, entries)
    }

    /// Nothing was to be written, so nothing was changed: the core as it was.
    pub(crate) fn abandoned(self) -> Core {
        self.core
    }

    fn change(&mut self, request: &Request) -> Result<Change, CommandError> {
        let person = match &request.by {
            Author::Server => return self.change_by_server(&request.command),
            Author::Person(person) => person,
        };
        let standing = self.core.members.get(&person.user).copied();
        let standing = standing.ok_or(CommandError::NotAParticipant)?;
        if self.blocked && request.reaches_the_other() {
            return Err(CommandError::Blocked);
        }
        let by = By {
            user: &person.user,
            standing,
        };
        match &request.command {
            Command::Send(send) => self.send(by, request.id, send),
            Command::Edit { message, content } => self.edit(by, *message, content),
            Command::Delete { message } => self.delete(by, *message),
            Command::React {
                message,
                emoji,
                add,
            } => self.react(by, *message, emoji, *add),
            Command::Pin { message, pinned } => self.pin(by, *message, *pinned),
            Command::AddMembers { members } => self.add_members(by, members),
            Command::RemoveMember { user } => self.remove_member(by, user),
            Command::SetRole { user, role } => self.set_role(by, user, *role),
            Command::Rename { name } => self.rename(by, name.as_deref()),
            Command::Notice { .. }
            | Command::Expire { .. }
            | Command::EndMembership { .. }
            | Command::TakeReaction { .. } => Err(CommandError::Forbidden),
        }
    }

    /// What no person may ask for, and only that.
    fn change_by_server(&mut self, command: &Command) -> Result<Change, CommandError> {
        match command {
            Command::Notice { event, payload, .. } => self.notice(event, payload),
            Command::Expire { message, why } => self.expire(*message, *why),
            Command::EndMembership { user } => self.end_membership(user),
            Command::TakeReaction {
                message,
                user,
                emoji,
            } => self.take_reaction(*message, user, emoji),
            _ => Err(CommandError::Forbidden),
        }
    }

    /// The answer to a request whose key is in the log, or in this batch, already.
    fn seen_before(&self, request: &Request, keys: Keys) -> Option<Decision> {
        if let Some(original) = self.original(keys) {
            let replayed = original.id != request.id;
            if replayed && !is_same(request, &original.hash) {
                return Some(Decision::Refuse(CommandError::IdempotencyConflict));
            }
            return Some(Decision::Done(outcome(original, replayed)));
        }
        let index = *self.keys.get(&keys.key)?;
        Some(if is_same(request, &self.entries[index].hash) {
            Decision::Append {
                index,
                replayed: true,
            }
        } else {
            Decision::Refuse(CommandError::IdempotencyConflict)
        })
    }

    fn original(&self, keys: Keys) -> Option<&Entry> {
        keys.iter().find_map(|key| self.originals.get(&key))
    }

    fn notice(&self, event: &str, payload: &JsonText) -> Result<Change, CommandError> {
        if self.core.kind != ConversationKind::Person {
            return Err(CommandError::Forbidden);
        }
        let raw = serde_json::value::RawValue::from_string(payload.to_string());
        let notice = NoticePayload {
            event: event.to_owned(),
            payload: raw.map_err(|error| validate::invalid("payload", error.to_string()))?,
        };
        Ok(Change::write(Write {
            kind: EntryKind::Notice,
            sender: self.core.owner.clone(),
            hash: None,
            counts: false,
            target: None,
            payload: text_of(&notice),
            effects: Vec::new(),
        }))
    }

    fn write(&mut self, request: &Request, keys: Keys, write: Write) -> Decision {
        let index = self.entries.len();
        self.keys.insert(keys.key, index);
        self.entries.push(NewEntry {
            id: request.id,
            kind: write.kind,
            sender: write.sender,
            keys,
            hash: write.hash.unwrap_or_else(|| key::hash_of(&write.payload)),
            counts: write.counts,
            target: write.target,
            payload: write.payload,
            at: self.now,
            effects: write.effects,
        });
        Decision::Append {
            index,
            replayed: false,
        }
    }

    /// The last place of the log once the batch so far is written.
    fn tail(&self) -> Seq {
        Seq(self.core.tail.0 + self.entries.len() as u64)
    }

    /// The place that the next entry takes.
    fn next(&self) -> Seq {
        self.tail().next()
    }
}

impl Change {
    fn write(write: Write) -> Self {
        Self::Write(Box::new(write))
    }
}

/// A member who asks.
#[derive(Clone, Copy)]
struct By<'a> {
    user: &'a UserId,
    standing: Standing,
}

impl By<'_> {
    fn is_admin(self) -> bool {
        self.standing.role >= Role::Admin
    }

    fn is_owner(self) -> bool {
        self.standing.role >= Role::Owner
    }
}

/// What a caller hears of an entry.
pub(crate) fn outcome(entry: &Entry, replayed: bool) -> Outcome {
    Outcome {
        id: entry.id,
        seq: entry.seq,
        payload: wire::pushed(entry).payload,
        replayed,
    }
}

/// JSON of one of our own payloads, which always have one.
pub(crate) fn text_of(value: &impl serde::Serialize) -> JsonText {
    json_of(value).into()
}

/// Likewise, to be looked at and thrown away.
pub(crate) fn json_of(value: &impl serde::Serialize) -> String {
    // Room for all of an ordinary message, so that it need not be moved as it grows.
    let mut json = Vec::with_capacity(1024);
    match serde_json::to_writer(&mut json, value) {
        Ok(()) => String::from_utf8(json).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Whether a request that the state of a conversation forbids may have been carried out before it
/// did. It has a key of its client's then, and its form is none that is refused whatever the state.
fn may_stand(request: &Request, limits: &Limits) -> bool {
    match &request.command {
        Command::Send(send) => send.client_id.is_some() && validate::message(send, limits).is_ok(),
        _ => false,
    }
}

fn is_same(request: &Request, hash: &[u8; 32]) -> bool {
    match &request.command {
        Command::Send(send) => key::content_hash(send) == *hash,
        _ => true,
    }
}

fn entry(new: NewEntry, seq: Seq, n: u64, epoch: Epoch) -> Entry {
    Entry {
        seq,
        id: new.id,
        kind: new.kind,
        sender: new.sender,
        key: new.keys.key,
        hash: new.hash,
        epoch,
        n,
        target: new.target,
        payload: new.payload,
        at: new.at,
    }
}
