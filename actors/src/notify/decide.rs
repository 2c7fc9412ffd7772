//! The decision: an entry and a recipient in, a reason to notify or none out. Pure.

use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, DeviceId, Entry, EntryKind, MessageId, Mute,
    Person, Seq, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};

use crate::{
    conversation::MessageClass,
    people::Status,
    preferences::{Notify, Preferences, Previews},
};

/// Why somebody may be notified: the strongest reason that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Something was said in a group.
    Group,
    /// Something was said to them alone.
    Direct,
    /// They are mentioned.
    Mention,
    /// It does not wait: a call, or a word of the system.
    Urgent,
}

impl Reason {
    /// The name, as JSON and metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Direct => "direct",
            Self::Mention => "mention",
            Self::Urgent => "urgent",
        }
    }
}

/// What the decision looks at of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySeen {
    /// Where.
    pub conversation: ConversationId,
    /// Whether it is between two.
    pub is_direct: bool,
    /// Its place.
    pub seq: Seq,
    /// The message.
    pub message: MessageId,
    /// By whom.
    pub sender: UserId,
    /// text, image, call, ...
    pub kind: String,
    /// How long it is kept.
    pub class: MessageClass,
    /// The thread it belongs to.
    pub thread_root: Option<MessageId>,
    /// Who is mentioned.
    pub mentions: Vec<UserId>,
    /// The sender does not want anybody disturbed.
    pub silent: bool,
    /// It does not wait.
    pub urgent: bool,
    /// When it was written.
    pub at: Timestamp,
}

/// One recipient, as they are at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub person: Person,
    /// The first place of the conversation that they may see.
    pub from_seq: Seq,
    /// Their mute of the conversation.
    pub mute: Option<Mute>,
    /// What they prefer over all conversations.
    pub preferences: Preferences,
    /// What they chose to be.
    pub status: Status,
    /// Whether they have a socket.
    pub is_connected: bool,
    /// The devices that they are connected with.
    pub devices: Vec<DeviceId>,
}

/// Somebody may have to be told. The projection that says so repeats itself after a crash: the
/// person, the conversation and the place together name it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MayNotify {
    /// Whom.
    pub person: Person,
    /// Where.
    pub conversation: ConversationId,
    /// Of which place.
    pub seq: Seq,
    /// The message there.
    pub message: MessageId,
    /// By whom.
    pub sender: UserId,
    /// text, image, call, ...
    pub kind: String,
    /// How long it is kept.
    pub class: MessageClass,
    /// The thread it belongs to.
    pub thread_root: Option<MessageId>,
    /// Why.
    pub reason: Reason,
    /// Whether they are mentioned, whatever the reason.
    pub mentioned: bool,
    /// The mute that this came through, if there is one.
    pub mute: Option<Mute>,
    /// What they chose to be: `dnd` is for whoever pushes to respect.
    pub status: Status,
    /// Until when they are not to be disturbed: for whoever pushes to respect, too.
    pub quiet_until: Option<Timestamp>,
    /// What a push may show.
    pub previews: Previews,
    /// Their language.
    pub locale: Option<String>,
    /// Whether they have a socket, and will see it there.
    pub is_connected: bool,
    /// The devices that need no push.
    pub active_devices: Vec<DeviceId>,
    /// Unread in this conversation; absent where it was not counted (large groups).
    pub unread: Option<u64>,
    /// The sender does not want anybody disturbed.
    pub silent: bool,
    /// It does not wait.
    pub urgent: bool,
    /// When it was written.
    pub at: Timestamp,
}

impl EntrySeen {
    /// What there is to decide about an entry: messages, as they were sent. Nobody is notified of
    /// edits, reactions and the like, nor of what has been taken back.
    pub fn of(conversation: &Conversation, entry: &Entry) -> Option<Self> {
        if entry.kind != EntryKind::Message || conversation.kind == ConversationKind::Person {
            return None;
        }
        let message: MessageSeen = serde_json::from_str(&entry.payload).ok()?;
        if message.deleted_at.is_some() {
            return None;
        }
        Some(Self {
            conversation: conversation.id.clone(),
            is_direct: conversation.kind == ConversationKind::Direct,
            seq: entry.seq,
            message: message.id,
            sender: entry.sender.clone(),
            urgent: message.kind == "call" || message.kind == "system",
            kind: message.kind,
            class: message.class,
            thread_root: message.thread_root,
            mentions: message.mentions,
            silent: message.silent,
            at: entry.at,
        })
    }
}

/// Whether a recipient may have to be told of an entry, and why. Never the sender, nor who cannot
/// see it. What is urgent always comes through. Nothing else does to those who prefer `nothing`.
/// Where there is a mute, it decides: mentions come through if it is for all but mentions. Where
/// there is none, the preferences do.
pub fn decide(entry: &EntrySeen, recipient: &Recipient, now: Timestamp) -> Option<MayNotify> {
    let user = &recipient.person.user;
    if *user == entry.sender || entry.seq < recipient.from_seq {
        return None;
    }
    let mentioned = entry.mentions.contains(user);
    let reason = match (entry.urgent, mentioned, entry.is_direct) {
        (true, _, _) => Reason::Urgent,
        (false, true, _) => Reason::Mention,
        (false, false, true) => Reason::Direct,
        (false, false, false) => Reason::Group,
    };
    let mute = recipient.mute.filter(|mute| is_in_force(mute, now));
    let preferences = &recipient.preferences;
    let comes_through = match (reason, &mute) {
        (Reason::Urgent, _) => true,
        _ if preferences.notify == Notify::Nothing => false,
        (reason, Some(mute)) => mute.mentions_only && reason == Reason::Mention,
        (reason, None) => is_wanted(entry, reason, preferences),
    };
    comes_through.then(|| MayNotify {
        person: recipient.person.clone(),
        conversation: entry.conversation.clone(),
        seq: entry.seq,
        message: entry.message,
        sender: entry.sender.clone(),
        kind: entry.kind.clone(),
        class: entry.class,
        thread_root: entry.thread_root,
        reason,
        mentioned,
        mute,
        status: recipient.status,
        quiet_until: preferences.quiet_until(now),
        previews: preferences.previews,
        locale: preferences.locale.clone(),
        is_connected: recipient.is_connected,
        active_devices: recipient.devices.clone(),
        unread: None,
        silent: entry.silent,
        urgent: entry.urgent,
        at: entry.at,
    })
}

/// Whether somebody wants to be told of an entry where they have muted nothing. Of what mentions
/// them in any case.
fn is_wanted(entry: &EntrySeen, reason: Reason, preferences: &Preferences) -> bool {
    let in_thread = entry.thread_root.is_some();
    let unless_mentioned = match preferences.notify {
        Notify::All => true,
        Notify::DirectAndMentions => reason == Reason::Direct,
        Notify::Nothing => false,
    };
    reason == Reason::Mention || (unless_mentioned && (preferences.threads || !in_thread))
}

/// Whether a mute holds still.
pub(crate) fn is_in_force(mute: &Mute, now: Timestamp) -> bool {
    mute.until.is_none_or(|until| now < until)
}

/// The part of a message's payload that is looked at.
#[derive(Deserialize)]
struct MessageSeen {
    id: MessageId,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    thread_root: Option<MessageId>,
    #[serde(default)]
    mentions: Vec<UserId>,
    #[serde(default)]
    class: MessageClass,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    deleted_at: Option<Timestamp>,
}
