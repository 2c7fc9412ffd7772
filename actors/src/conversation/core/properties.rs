//! Random commands of random members: whatever happens, the projections are a fold of the log.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quikapp_storage::{Conversation, EntryEffect, Member};

use super::{refold::Refold, *};
use crate::conversation::{
    SendMessage,
    payload::{
        Change as Updated, DeletePayload, EditPayload, MessagePayload, ReactionPayload,
        UpdatePayload,
    },
};

const PEOPLE: [&str; 5] = ["ann", "bob", "carol", "dave", "eve"];
const EMOJI: [&str; 3] = ["+1", "-1", "?"];

/// A command, with messages named by how many came before.
#[derive(Debug, Clone)]
enum Step {
    Send {
        text: u8,
        thread: Option<usize>,
    },
    Edit {
        message: usize,
        text: u8,
    },
    Delete {
        message: usize,
    },
    React {
        message: usize,
        emoji: usize,
        add: bool,
    },
    Pin {
        message: usize,
        pinned: bool,
    },
    Add {
        user: usize,
        role: u8,
    },
    Remove {
        user: usize,
    },
    SetRole {
        user: usize,
        role: u8,
    },
    Rename {
        name: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Vec<(usize, Step)>>> {
    let message = || 0..20_usize;
    let user = || 0..PEOPLE.len();
    let step = prop_oneof![
        4 => (0..4_u8, prop::option::weighted(0.2, message()))
            .prop_map(|(text, thread)| Step::Send { text, thread }),
        3 => (message(), 0..4_u8).prop_map(|(message, text)| Step::Edit { message, text }),
        1 => message().prop_map(|message| Step::Delete { message }),
        4 => (message(), 0..EMOJI.len(), any::<bool>())
            .prop_map(|(message, emoji, add)| Step::React { message, emoji, add }),
        1 => (message(), any::<bool>()).prop_map(|(message, pinned)| Step::Pin { message, pinned }),
        1 => (user(), 0..3_u8).prop_map(|(user, role)| Step::Add { user, role }),
        1 => user().prop_map(|user| Step::Remove { user }),
        1 => (user(), 0..3_u8).prop_map(|(user, role)| Step::SetRole { user, role }),
        1 => (0..3_u8).prop_map(|name| Step::Rename { name }),
    ];
    let batch = prop::collection::vec((user(), step), 1..6);
    prop::collection::vec(batch, 1..20)
}

/// What a store makes of entries and their effects.
#[derive(Default)]
struct Projection {
    log: Vec<Entry>,
    messages: BTreeMap<MessageId, Message>,
    members: BTreeMap<UserId, Role>,
    name: Option<String>,
}

impl Projection {
    fn apply(&mut self, entries: Vec<Entry>, effects: Vec<Vec<EntryEffect>>) {
        for (entry, effects) in entries.into_iter().zip(effects) {
            self.log.push(entry);
            for effect in effects {
                self.effect(effect);
            }
        }
    }

    fn effect(&mut self, effect: EntryEffect) {
        match effect {
            EntryEffect::PutMessage(message) => {
                self.messages.insert(message.id, message);
            }
            EntryEffect::OpenMember { user, role } | EntryEffect::SetRole { user, role } => {
                self.members.insert(user, role);
            }
            EntryEffect::CloseMember { user } => {
                self.members.remove(&user);
            }
            EntryEffect::Redact { seq, payload } => {
                self.log[seq.0 as usize - 1].payload = payload;
            }
            EntryEffect::SetName(name) => self.name = name,
            EntryEffect::ReadUpToHere { .. } => {}
        }
    }
}

/// What somebody knows who only reads the log, from the first entry on.
#[derive(Default)]
struct Fold {
    contents: BTreeMap<MessageId, Option<String>>,
    reactions: BTreeMap<MessageId, BTreeMap<String, BTreeSet<UserId>>>,
    pinned: BTreeSet<MessageId>,
    members: BTreeMap<UserId, Role>,
    name: Option<String>,
    n: u64,
}

impl Fold {
    fn read(&mut self, entry: &Entry) {
        fn parse<T: serde::de::DeserializeOwned>(entry: &Entry) -> T {
            serde_json::from_str(&entry.payload).unwrap()
        }
        match entry.kind {
            EntryKind::Message => self.message(&parse(entry)),
            EntryKind::Edit => {
                let edit: EditPayload = parse(entry);
                self.contents.insert(edit.message_id, edit.content);
            }
            EntryKind::Delete => {
                let deleted: DeletePayload = parse(entry);
                self.contents.insert(deleted.message_id, None);
                self.reactions.remove(&deleted.message_id);
                self.pinned.remove(&deleted.message_id);
            }
            EntryKind::ReactionAdd | EntryKind::ReactionRemove => {
                self.reaction(entry.kind, parse(entry));
            }
            EntryKind::Pin => drop(self.pinned.insert(entry.target.unwrap().0)),
            EntryKind::Unpin => drop(self.pinned.remove(&entry.target.unwrap().0)),
            _ => self.update(parse(entry)),
        }
        assert_eq!(entry.n, self.n, "n counts the main timeline");
    }

    fn message(&mut self, message: &MessagePayload) {
        self.contents.insert(message.id, message.content.clone());
        self.n += u64::from(message.thread_root.is_none());
    }

    fn reaction(&mut self, kind: EntryKind, reaction: ReactionPayload) {
        let by_emoji = self.reactions.entry(reaction.message_id).or_default();
        let people = by_emoji.entry(reaction.emoji.clone()).or_default();
        let changed = if kind == EntryKind::ReactionAdd {
            people.insert(reaction.user_id)
        } else {
            people.remove(&reaction.user_id)
        };
        assert!(changed, "an entry always changes something");
        if people.is_empty() {
            by_emoji.remove(&reaction.emoji);
        }
    }

    fn update(&mut self, update: UpdatePayload) {
        let mut members = update.members.into_iter();
        match update.change {
            Updated::MemberRemoved => {
                self.members.remove(&members.next().unwrap().user_id);
            }
            Updated::Renamed => self.name = update.name,
            Updated::MembersAdded | Updated::RoleChanged => {}
        }
        self.members.extend(members.map(|it| (it.user_id, it.role)));
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn role(number: u8) -> Role {
    [Role::Member, Role::Admin, Role::Owner][usize::from(number)]
}

fn command(step: &Step, known: &[MessageId]) -> Command {
    let message = |number: &usize| known.get(*number).copied().unwrap_or(NOBODY);
    match step {
        Step::Send { text, thread } => Command::Send(Box::new(SendMessage {
            kind: "text".into(),
            content: Some(format!("text {text}")),
            thread_root: thread.as_ref().map(message),
            ..SendMessage::default()
        })),
        Step::Edit { message: it, text } => Command::Edit {
            message: message(it),
            content: format!("text {text}"),
        },
        Step::Delete { message: it } => Command::Delete {
            message: message(it),
        },
        Step::React {
            message: it,
            emoji,
            add,
        } => Command::React {
            message: message(it),
            emoji: EMOJI[*emoji].into(),
            add: *add,
        },
        Step::Pin {
            message: it,
            pinned,
        } => Command::Pin {
            message: message(it),
            pinned: *pinned,
        },
        Step::Add {
            user: it,
            role: nth,
        } => Command::AddMembers {
            members: vec![(user(PEOPLE[*it]), role(*nth))],
        },
        Step::Remove { user: it } => Command::RemoveMember {
            user: user(PEOPLE[*it]),
        },
        Step::SetRole {
            user: it,
            role: nth,
        } => Command::SetRole {
            user: user(PEOPLE[*it]),
            role: role(*nth),
        },
        Step::Rename { name } => Command::Rename {
            name: (*name > 0).then(|| format!("name {name}")),
        },
    }
}

/// A message that does not exist.
const NOBODY: MessageId = EntryId(uuid::Uuid::nil());

fn start() -> (Core, Projection) {
    let members = [
        ("ann", Role::Owner),
        ("bob", Role::Admin),
        ("carol", Role::Member),
    ];
    let conversation = Conversation {
        id: ConversationId::parse("c").unwrap(),
        workspace: WorkspaceId::new("acme").unwrap(),
        kind: ConversationKind::Group,
        name: None,
        created_by: user("ann"),
        created_at: Timestamp(0),
        tail: Seq(0),
        n: 0,
        epoch: Epoch(1),
    };
    let member = |(name, role): (&str, Role)| Member {
        user: user(name),
        from_seq: Seq(1),
        to_seq: None,
        role,
    };
    let acquired = Acquired {
        conversation,
        members: members.map(member).into(),
    };
    let projection = Projection {
        members: members.map(|(name, role)| (user(name), role)).into(),
        ..Projection::default()
    };
    (Core::new(acquired, Arc::default()), projection)
}

fn requests(batch: &[(usize, Step)], known: &[MessageId]) -> Vec<Request> {
    let request = |(by, step): &(usize, Step)| Request {
        by: Author::Person(Person {
            workspace: WorkspaceId::new("acme").unwrap(),
            user: user(PEOPLE[*by]),
        }),
        id: EntryId::generate(),
        command: command(step, known),
    };
    batch.iter().map(request).collect()
}

/// Runs all batches; every other one is lost at its first attempt, and decided again.
fn run(batches: &[Vec<(usize, Step)>]) -> (Core, Projection) {
    let (mut core, mut projection) = start();
    let mut known: Vec<MessageId> = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        let requests = requests(batch, &known);
        for is_lost in [number % 2 == 0, false] {
            let found = Found {
                messages: projection.messages.values().cloned().collect(),
                ..Found::default()
            };
            let mut draft = core.draft(found, Timestamp(number as i64));
            for request in &requests {
                draft.decide(request);
            }
            if is_lost {
                continue;
            }
            let effects = draft
                .entries()
                .iter()
                .map(|it| it.effects.clone())
                .collect();
            let appended = appended(&core, draft.entries());
            let (next, entries) = draft.committed(&appended);
            core = next;
            let sent = entries.iter().filter(|it| it.kind == EntryKind::Message);
            known.extend(sent.map(|entry| entry.id));
            projection.apply(entries, effects);
            break;
        }
    }
    (core, projection)
}

fn appended(core: &Core, entries: &[NewEntry]) -> Appended {
    Appended {
        first: core.tail.next(),
        tail: Seq(core.tail.0 + entries.len() as u64),
        n: core.n + entries.iter().filter(|it| it.counts).count() as u64,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn projections_are_a_fold_of_the_log(batches in steps()) {
        let (core, projection) = run(&batches);
        let mut fold = Fold { members: start().1.members, ..Fold::default() };
        for (nth, entry) in projection.log.iter().enumerate() {
            prop_assert_eq!(entry.seq, Seq(nth as u64 + 1));
            fold.read(entry);
        }
        prop_assert_eq!(core.tail, Seq(projection.log.len() as u64));
        prop_assert_eq!(core.n, fold.n);
        prop_assert_eq!(&projection.members, &fold.members);
        prop_assert_eq!(&projection.name, &fold.name);
        let of_core: BTreeMap<_, _> = core.members.iter().map(|(user, it)| (user.clone(), it.role)).collect();
        prop_assert_eq!(&of_core, &fold.members);
        let has_owner = fold.members.values().any(|role| *role == Role::Owner);
        prop_assert!(has_owner || fold.members.is_empty());
        let mut refold = Refold::default();
        projection.log.iter().for_each(|entry| refold.take(entry, true));
        let views: BTreeMap<_, _> = refold.views(Seq(0), usize::MAX).into_iter().map(|it| (it.id, it)).collect();
        prop_assert_eq!(&views, &projection.messages, "a view can be made again");
        prop_assert_eq!(projection.messages.len(), fold.contents.len());
        for (id, message) in &projection.messages {
            let body: MessagePayload = serde_json::from_str(&message.body).unwrap();
            prop_assert_eq!(&body.content, &fold.contents[id]);
            prop_assert_eq!(&message.text, body.content.as_deref().unwrap_or_default());
            prop_assert_eq!(message.pinned, fold.pinned.contains(id));
            let reactions: BTreeMap<String, BTreeSet<UserId>> = body
                .reactions
                .into_iter()
                .map(|(emoji, people)| (emoji, people.into_iter().collect()))
                .collect();
            prop_assert_eq!(reactions, fold.reactions.get(id).cloned().unwrap_or_default());
        }
    }
}
