//! Rooms, people and entries for the promises.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    Append, AppendError, Appended, Claim, ConversationId, ConversationKind, Created, Entry,
    EntryEffect, EntryId, EntryKind, Epoch, Key16, Member, Message, MessageId, NewConversation,
    NewEntry, OwnerId, Person, Role, Seq, SharedStore, Timestamp, UserId, WorkspaceId,
};

/// The moment at which everything happens that names no other.
pub(super) const NOW: Timestamp = Timestamp(1_750_000_000_000);

/// A user of this name.
pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a test's name is an id")
}

/// A tenant that nobody else has.
pub(super) fn workspace() -> WorkspaceId {
    WorkspaceId::new(format!("w-{}", Uuid::new_v4())).expect("a uuid is an id")
}

/// A claim without regard for tenure.
pub(super) fn claim(owner: OwnerId) -> Claim {
    Claim {
        owner,
        now: NOW,
        min_tenure_ms: 0,
    }
}

/// A conversation to create, with members of which the first is its owner.
pub(super) fn new_conversation(
    workspace: &WorkspaceId,
    kind: ConversationKind,
    names: &[&str],
) -> NewConversation {
    let role = |index| {
        if index == 0 {
            Role::Owner
        } else {
            Role::Member
        }
    };
    let members = names.iter().enumerate();
    NewConversation {
        id: ConversationId::generate(),
        workspace: workspace.clone(),
        kind,
        name: Some("a room".to_owned()),
        created_by: user(names[0]),
        created_at: NOW,
        members: members.map(|(at, name)| (user(name), role(at))).collect(),
    }
}

/// An entry that does nothing but stand in the log.
pub(super) fn plain(kind: EntryKind, sender: &str, effects: Vec<EntryEffect>) -> NewEntry {
    NewEntry {
        id: EntryId::generate(),
        kind,
        sender: user(sender),
        keys: Key16(*Uuid::new_v4().as_bytes()).into(),
        hash: [7; 32],
        counts: false,
        target: None,
        payload: "{}".into(),
        at: NOW,
        effects,
    }
}

/// A message with its view; it counts.
pub(super) fn message(sender: &str, text: &str) -> NewEntry {
    let mut entry = plain(EntryKind::Message, sender, Vec::new());
    entry.counts = true;
    entry.payload = serde_json::json!({ "content": text }).to_string().into();
    entry.effects = vec![EntryEffect::PutMessage(view(&entry, text))];
    entry
}

/// The folded view of a message entry.
pub(super) fn view(entry: &NewEntry, text: &str) -> Message {
    Message {
        id: entry.id,
        seq: Seq(0),
        sender: entry.sender.clone(),
        at: entry.at,
        thread_root: None,
        deleted: false,
        pinned: false,
        text: text.to_owned(),
        body: Arc::clone(&entry.payload),
        applied_seq: Seq(0),
    }
}

/// A message's place and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// Its place.
    pub(super) seq: Seq,
    /// Its id.
    pub(super) id: MessageId,
}

/// A conversation with its sequencer.
pub(super) struct Room {
    pub(super) store: SharedStore,
    pub(super) workspace: WorkspaceId,
    pub(super) id: ConversationId,
    pub(super) epoch: Epoch,
    pub(super) tail: Seq,
}

impl Room {
    /// A group in a tenant of its own.
    pub(super) async fn new(store: &SharedStore, names: &[&str]) -> Self {
        Self::within(store, &workspace(), names).await
    }

    /// A group in a tenant.
    pub(super) async fn within(
        store: &SharedStore,
        workspace: &WorkspaceId,
        names: &[&str],
    ) -> Self {
        let new = new_conversation(workspace, ConversationKind::Group, names);
        Self::create(store, new).await
    }

    /// Creates and takes a conversation.
    pub(super) async fn create(store: &SharedStore, new: NewConversation) -> Self {
        let (workspace, id) = (new.workspace.clone(), new.id.clone());
        let created = store.create_conversation(new).await.expect("creates");
        assert!(matches!(created, Created::New(_)), "{created:?}");
        let claim = claim(OwnerId::generate());
        let acquired = store.acquire(&id, claim).await.expect("is free");
        Self {
            store: Arc::clone(store),
            workspace,
            id,
            epoch: acquired.conversation.epoch,
            tail: acquired.conversation.tail,
        }
    }

    /// A member as a person.
    pub(super) fn person(&self, name: &str) -> Person {
        Person {
            workspace: self.workspace.clone(),
            user: user(name),
        }
    }

    /// A part at the tail.
    pub(super) fn part(&self, entries: Vec<NewEntry>) -> Append {
        Append {
            conversation: self.id.clone(),
            epoch: self.epoch,
            tail: self.tail,
            entries,
        }
    }

    /// Appends, or says why not.
    pub(super) async fn try_append(
        &mut self,
        entries: Vec<NewEntry>,
    ) -> Result<Appended, AppendError> {
        let mut results = self.store.append(vec![self.part(entries)]).await;
        assert_eq!(results.len(), 1, "one result per part");
        let result = results.remove(0);
        if let Ok(appended) = &result {
            self.tail = appended.tail;
        }
        result
    }

    /// Appends.
    pub(super) async fn append(&mut self, entries: Vec<NewEntry>) -> Appended {
        self.try_append(entries).await.expect("appends")
    }

    /// Appends one entry; its place.
    pub(super) async fn add(&mut self, entry: NewEntry) -> Seq {
        self.append(vec![entry]).await.tail
    }

    /// Appends one entry with one effect; its place.
    pub(super) async fn apply(&mut self, kind: EntryKind, effect: EntryEffect) -> Seq {
        self.add(plain(kind, "server", vec![effect])).await
    }

    /// Sends a message.
    pub(super) async fn say(&mut self, sender: &str, text: &str) -> Said {
        let entry = message(sender, text);
        let id = entry.id;
        let seq = self.add(entry).await;
        Said { seq, id }
    }

    /// Makes somebody a member.
    pub(super) async fn join(&mut self, name: &str) -> Seq {
        let effect = EntryEffect::OpenMember {
            user: user(name),
            role: Role::Member,
        };
        self.apply(EntryKind::MemberJoined, effect).await
    }

    /// Ends a membership.
    pub(super) async fn leave(&mut self, name: &str) -> Seq {
        let effect = EntryEffect::CloseMember { user: user(name) };
        self.apply(EntryKind::MemberLeft, effect).await
    }

    /// Somebody's intervals.
    pub(super) async fn membership(&self, name: &str) -> Vec<Member> {
        let membership = self.store.membership(&self.id, &user(name)).await;
        membership.expect("reads")
    }

    /// The whole log.
    pub(super) async fn log(&self) -> Vec<Entry> {
        let log = self.store.entries(&self.id, Seq(0), usize::MAX).await;
        log.expect("reads")
    }
}

/// The places of some messages.
pub(super) fn seqs(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.seq.0).collect()
}
