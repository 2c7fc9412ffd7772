//! The pass over a history: hands each event to the conversation that it is about.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    Change, Event, HistoryError, Kind, Line, Verdict,
    conversation::{Answer, Conversation, Shown},
    fold::{Entry, Viewed},
};

/// The largest number that JSON carries everywhere; no log is as long.
const LARGEST: u64 = (1 << 53) - 1;

/// Reads a history event by event.
#[derive(Debug, Default)]
pub struct Checker {
    conversations: BTreeMap<String, Conversation>,
    devices: HashSet<String>,
    attempts: HashMap<u64, Attempt>,
    bound_ms: u64,
    started: bool,
    verdict: Verdict,
}

/// An attempt that has no outcome yet.
#[derive(Debug)]
struct Attempt {
    conversation: String,
    user: String,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Entry { key: String },
    Member(Change),
}

impl Checker {
    /// Takes the next event.
    ///
    /// # Errors
    /// When it cannot follow those before.
    pub fn event(&mut self, line: Line, event: Event) -> Result<(), HistoryError> {
        let handled = match event {
            Event::Run {
                title,
                seed,
                bound_ms,
            } => self.run(title, seed, bound_ms),
            Event::Conversation {
                conversation,
                members,
            } => self.begin(conversation, members),
            event @ (Event::Invoke { .. }
            | Event::InvokeMember { .. }
            | Event::Ok { .. }
            | Event::Fail { .. }
            | Event::Unknown { .. }) => self.operation(line, event),
            event @ (Event::Resumed { .. }
            | Event::Delivered { .. }
            | Event::Acked { .. }
            | Event::Settled { .. }) => self.device(line, event),
            Event::Fault { .. } => {
                self.verdict.counts.faults += 1;
                Ok(())
            }
            event => self.end(line, event),
        };
        self.started = true;
        handled.map_err(|problem| HistoryError::Nonsense { line, problem })
    }

    /// Judges what was read.
    ///
    /// # Errors
    /// When too little was read.
    pub fn finish(mut self) -> Result<Verdict, HistoryError> {
        if self.conversations.is_empty() {
            let nothing = "it has no conversation".to_owned();
            return Err(HistoryError::Incomplete(nothing));
        }
        for (id, conversation) in &self.conversations {
            if let Some(missing) = conversation.missing() {
                let problem = format!("{missing} of conversation {id:?} is missing");
                return Err(HistoryError::Incomplete(problem));
            }
        }
        self.verdict.counts.conversations = self.conversations.len() as u64;
        self.verdict.counts.devices = self.devices.len() as u64;
        Ok(self.verdict)
    }

    fn run(&mut self, title: String, seed: u64, bound_ms: u64) -> Result<(), String> {
        if self.started {
            return Err("`run` is not the first line".to_owned());
        }
        self.verdict.title = title;
        self.verdict.seed = seed;
        self.bound_ms = bound_ms;
        Ok(())
    }

    fn begin(&mut self, id: String, members: Vec<String>) -> Result<(), String> {
        if self.conversations.contains_key(&id) {
            return Err(format!("conversation {id:?} was made before"));
        }
        self.conversations.insert(id, Conversation::new(members));
        Ok(())
    }

    fn operation(&mut self, line: Line, event: Event) -> Result<(), String> {
        match event {
            Event::Invoke {
                op,
                user,
                conversation,
                key,
                ..
            } => {
                self.open(&conversation)?.invoke(line, &user, &key);
                let asked = Asked::Entry { key };
                self.attempt(op, user, conversation, asked)
            }
            Event::InvokeMember {
                op,
                user,
                conversation,
                change,
                ..
            } => {
                let person = self.open(&conversation)?.person(&user);
                if change == Change::Add {
                    person.is_being_added();
                }
                self.attempt(op, user, conversation, Asked::Member(change))
            }
            Event::Ok { at, op, seq, id } => {
                self.verdict.counts.acknowledged += 1;
                let seq = seq.map(place).transpose()?;
                self.outcome(line, op, Answer::Ok { at, seq, id })
            }
            Event::Fail { op, .. } => {
                self.verdict.counts.refused += 1;
                self.outcome(line, op, Answer::Refused)
            }
            Event::Unknown { op, .. } => {
                self.verdict.counts.unknown += 1;
                self.outcome(line, op, Answer::Unknown)
            }
            _ => Ok(()),
        }
    }

    fn attempt(
        &mut self,
        op: u64,
        user: String,
        conversation: String,
        asked: Asked,
    ) -> Result<(), String> {
        self.verdict.counts.attempts += 1;
        let attempt = Attempt {
            conversation,
            user,
            asked,
        };
        match self.attempts.insert(op, attempt) {
            None => Ok(()),
            Some(_) => Err(format!("attempt {op} is under way")),
        }
    }

    fn outcome(&mut self, line: Line, op: u64, answer: Answer) -> Result<(), String> {
        let attempt = self.attempts.remove(&op);
        let attempt = attempt.ok_or_else(|| format!("no attempt {op} is under way"))?;
        let conversation = open(&mut self.conversations, &attempt.conversation)?;
        match attempt.asked {
            Asked::Entry { key } => {
                let verdict = &mut self.verdict;
                conversation.answered(line, &attempt.user, &key, answer, verdict);
            }
            Asked::Member(Change::Remove) => {
                if let Answer::Ok { at, .. } = answer {
                    conversation.person(&attempt.user).was_removed(at, line);
                }
            }
            Asked::Member(Change::Add) => {}
        }
        Ok(())
    }

    fn device(&mut self, line: Line, event: Event) -> Result<(), String> {
        match event {
            Event::Resumed {
                device,
                user,
                conversation,
                after,
                ..
            } => {
                self.verdict.counts.resumes += 1;
                let after = after.map(|after| within(0, after)).transpose()?;
                self.devices.insert(device.clone());
                let conversation = self.open(&conversation)?;
                conversation.resumed(line, device, user, after)
            }
            Event::Delivered {
                at,
                device,
                conversation,
                seq,
                kind,
                id,
            } => {
                self.verdict.counts.deliveries += 1;
                let shown = Shown {
                    at,
                    seq: place(seq)?,
                    what: what(kind, &id),
                };
                let bound_ms = self.bound_ms;
                let conversation = open(&mut self.conversations, &conversation)?;
                conversation.delivered(line, &device, &shown, bound_ms, &mut self.verdict)
            }
            Event::Acked {
                device,
                conversation,
                seq,
                ..
            } => {
                let seq = within(0, seq)?;
                self.open(&conversation)?.device(&device)?.acked(seq);
                Ok(())
            }
            Event::Settled {
                device,
                conversation,
                ..
            } => {
                self.open(&conversation)?.device(&device)?.settled(line);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, line: Line, event: Event) -> Result<(), String> {
        let verdict = &mut self.verdict;
        match event {
            Event::Log {
                conversation,
                seq,
                kind,
                id,
                sender,
                key,
                n,
                thread,
                about,
                content,
                emoji,
                users,
            } => {
                verdict.counts.entries += 1;
                verdict.counts.messages += u64::from(kind == Kind::Message);
                let entry = Entry {
                    seq: place(seq)?,
                    kind,
                    id,
                    sender,
                    key,
                    n,
                    thread,
                    about,
                    content,
                    emoji,
                    users,
                };
                open(&mut self.conversations, &conversation)?.log(line, &entry, verdict);
                Ok(())
            }
            Event::LogEnd { conversation, tail } => {
                let tail = within(0, tail)?;
                open(&mut self.conversations, &conversation)?.log_end(line, tail, verdict);
                Ok(())
            }
            event => self.projection(line, event),
        }
    }

    fn projection(&mut self, line: Line, event: Event) -> Result<(), String> {
        let verdict = &mut self.verdict;
        match event {
            Event::View {
                conversation,
                seq,
                id,
                content,
                deleted,
                reactions,
            } => {
                let viewed = Viewed {
                    seq,
                    id,
                    content,
                    deleted,
                    reactions,
                };
                let fold = read(&mut self.conversations, &conversation)?;
                fold.view(line, &viewed, verdict);
            }
            Event::ViewEnd { conversation } => {
                read(&mut self.conversations, &conversation)?.view_end(line, verdict);
            }
            Event::Members {
                conversation,
                members,
            } => {
                read(&mut self.conversations, &conversation)?.members(line, &members, verdict);
            }
            Event::Unread {
                conversation,
                user,
                read: up_to,
                unread,
            } => {
                let fold = read(&mut self.conversations, &conversation)?;
                fold.unread(line, &user, up_to, unread, verdict);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, id: &str) -> Result<&mut Conversation, String> {
        open(&mut self.conversations, id)
    }
}

/// A conversation whose log has not ended.
fn open<'c>(
    conversations: &'c mut BTreeMap<String, Conversation>,
    id: &str,
) -> Result<&'c mut Conversation, String> {
    let conversation = known(conversations, id)?;
    if conversation.is_read() {
        return Err(format!("the log of conversation {id:?} has ended before"));
    }
    Ok(conversation)
}

/// The fold of a log that has ended.
fn read<'c>(
    conversations: &'c mut BTreeMap<String, Conversation>,
    id: &str,
) -> Result<&'c mut crate::fold::Fold, String> {
    let conversation = known(conversations, id)?;
    conversation
        .folded()
        .ok_or_else(|| format!("the log of conversation {id:?} has not ended"))
}

fn known<'c>(
    conversations: &'c mut BTreeMap<String, Conversation>,
    id: &str,
) -> Result<&'c mut Conversation, String> {
    let conversation = conversations.get_mut(id);
    conversation.ok_or_else(|| format!("conversation {id:?} is not known"))
}

fn place(seq: u64) -> Result<u64, String> {
    within(1, seq)
}

fn within(least: u64, seq: u64) -> Result<u64, String> {
    if (least..=LARGEST).contains(&seq) {
        Ok(seq)
    } else {
        Err(format!("{seq} is no place of a log"))
    }
}

/// What names an entry, in short.
pub(crate) fn what(kind: Kind, id: &str) -> u64 {
    tag(&(kind, id))
}

/// 64 bits that stand for a value: what is compared must not cost its length in memory.
pub(crate) fn tag(value: &impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
