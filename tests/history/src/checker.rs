//! The pass over a history: hands each event to the conversation that it is about.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    Change, Event, HistoryError, Kind, Line, Mark, Verdict,
    conversation::{Answer, Circumstances, Conversation, Shown},
    ephemeral::Heard,
    erasure::Erased,
    fold::{Entry, Viewed},
    marks::{Move, Told},
    thread::Stand,
};

/// The largest number that JSON carries everywhere; no log is as long.
const LARGEST: u64 = (1 << 53) - 1;

/// Reads a history event by event.
#[derive(Debug, Default)]
pub struct Checker {
    conversations: BTreeMap<String, Conversation>,
    devices: HashSet<String>,
    attempts: HashMap<u64, Attempt>,
    circumstances: Circumstances,
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
    Ephemeral { key: String },
    Mark { by: Move, mark: Mark, seq: u64 },
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
            | Event::Say { .. }
            | Event::Mark { .. }) => self.attempted(line, event),
            event @ (Event::Ok { .. } | Event::Fail { .. } | Event::Unknown { .. }) => {
                self.answered(line, event)
            }
            event @ (Event::Resumed { .. }
            | Event::Delivered { .. }
            | Event::Heard { .. }
            | Event::Acked { .. }
            | Event::Settled { .. }) => self.device(line, event),
            Event::Erasing { user, .. } => {
                self.circumstances.erased.asked(user);
                Ok(())
            }
            Event::Erased { at, user } => {
                self.verdict.counts.erased += 1;
                self.circumstances.erased.done(&user, Erased { at, line })
            }
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
        self.circumstances.bound_ms = bound_ms;
        Ok(())
    }

    fn begin(&mut self, id: String, members: Vec<String>) -> Result<(), String> {
        if self.conversations.contains_key(&id) {
            return Err(format!("conversation {id:?} was made before"));
        }
        self.conversations.insert(id, Conversation::new(members));
        Ok(())
    }

    fn attempted(&mut self, line: Line, event: Event) -> Result<(), String> {
        match event {
            Event::Invoke {
                at,
                op,
                user,
                conversation,
                key,
            } => {
                let place = self.open(&conversation)?;
                place.invoke(line, &user, &key);
                // Sending reads; what else an attempt is for does not, which is not known here.
                place.person(&user).marks.begin(at);
                let asked = Asked::Entry { key };
                self.attempt(op, user, conversation, asked)
            }
            Event::InvokeMember {
                at,
                op,
                user,
                conversation,
                change,
            } => {
                let person = self.open(&conversation)?.person(&user);
                // Nothing is unread to a new member.
                person.marks.begin(at);
                if change == Change::Add {
                    person.is_being_added();
                }
                self.attempt(op, user, conversation, Asked::Member(change))
            }
            Event::Say {
                op,
                user,
                conversation,
                key,
                ..
            } => {
                let place = self.open(&conversation)?;
                place.ephemeral.said(line, &user, &key)?;
                self.attempt(op, user, conversation, Asked::Ephemeral { key })
            }
            Event::Mark {
                at,
                op,
                user,
                conversation,
                mark,
                seq,
            } => {
                let seq = within(0, seq)?;
                let person = self.open(&conversation)?.person(&user);
                let by = person.marks.asked(at, mark, seq);
                self.attempt(op, user, conversation, Asked::Mark { by, mark, seq })
            }
            _ => Ok(()),
        }
    }

    fn answered(&mut self, line: Line, event: Event) -> Result<(), String> {
        match event {
            Event::Ok { at, op, seq, id } => {
                self.verdict.counts.acknowledged += 1;
                let seq = seq.map(place).transpose()?;
                self.outcome(line, op, Answer::Ok { at, seq, id })
            }
            Event::Fail { op, .. } => {
                self.verdict.counts.refused += 1;
                self.outcome(line, op, Answer::Refused)
            }
            Event::Unknown { at, op } => {
                self.verdict.counts.unknown += 1;
                self.outcome(line, op, Answer::Unknown { at })
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
        let (user, verdict) = (attempt.user, &mut self.verdict);
        if !matches!(attempt.asked, Asked::Ephemeral { .. }) {
            let marks = &mut conversation.person(&user).marks;
            match (&answer, &attempt.asked) {
                (Answer::Unknown { at }, _) => {
                    marks.end_in_doubt(at.saturating_add(self.circumstances.bound_ms));
                }
                (Answer::Ok { .. }, Asked::Mark { by, mark, seq }) => {
                    verdict.counts.marks += 1;
                    marks.moved(line, *by, *mark, *seq);
                }
                _ => marks.end(),
            }
        }
        match (attempt.asked, answer) {
            (Asked::Entry { key }, answer) => {
                conversation.answered(line, &user, &key, answer, verdict);
            }
            (Asked::Ephemeral { key }, Answer::Ok { at, .. }) => {
                conversation.ephemeral.answered(&user, &key, at, line);
            }
            (Asked::Ephemeral { key }, Answer::Refused) => {
                conversation.ephemeral.refused(&user, &key, line, verdict);
            }
            (Asked::Member(Change::Remove), Answer::Ok { at, .. }) => {
                conversation.person(&user).was_removed(at, line);
            }
            _ => {}
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
                about,
            } => {
                self.verdict.counts.deliveries += 1;
                let shown = Shown {
                    at,
                    seq: place(seq)?,
                    what: what(kind, &id),
                    forgets: about.filter(|_| kind == Kind::Forget),
                };
                let conversation = open(&mut self.conversations, &conversation)?;
                let circumstances = &self.circumstances;
                conversation.delivered(line, &device, &shown, circumstances, &mut self.verdict)
            }
            Event::Acked {
                device,
                conversation,
                seq,
                own,
                ..
            } => {
                let seq = within(0, seq)?;
                self.open(&conversation)?.device(&device)?.acked(seq, !own);
                Ok(())
            }
            Event::Settled {
                device,
                conversation,
                up_to,
                ..
            } => {
                let device = self.open(&conversation)?.device(&device)?;
                device.settled(line, up_to);
                Ok(())
            }
            event => self.heard(line, event),
        }
    }

    fn heard(&mut self, line: Line, event: Event) -> Result<(), String> {
        let Event::Heard {
            at,
            device,
            conversation,
            user,
            key,
        } = event
        else {
            return Ok(());
        };
        self.verdict.counts.heard += 1;
        let heard = Heard {
            line,
            at,
            device: &device,
            user: &user,
            key: &key,
        };
        let conversation = open(&mut self.conversations, &conversation)?;
        conversation.heard(heard, &self.circumstances, &mut self.verdict)
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
                let counts = &mut verdict.counts;
                counts.entries += 1;
                counts.messages += u64::from(kind == Kind::Message);
                counts.threaded += u64::from(thread.is_some());
                counts.pins += u64::from(matches!(kind, Kind::Pin | Kind::Unpin));
                counts.forgotten += u64::from(kind == Kind::Forget);
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
                let conversation = open(&mut self.conversations, &conversation)?;
                conversation.log(line, &entry, &self.circumstances, verdict);
                Ok(())
            }
            Event::LogEnd { conversation, tail } => {
                let tail = within(0, tail)?;
                let conversation = open(&mut self.conversations, &conversation)?;
                conversation.log_end(line, tail, &self.circumstances, verdict);
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
                pinned,
                reactions,
            } => {
                let viewed = Viewed {
                    seq,
                    id,
                    content,
                    deleted,
                    pinned,
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
            event => self.standing(line, event)?,
        }
        Ok(())
    }

    /// What a person is told after the log.
    fn standing(&mut self, line: Line, event: Event) -> Result<(), String> {
        let verdict = &mut self.verdict;
        match event {
            Event::Unread {
                conversation,
                user,
                read: up_to,
                unread_from,
                unread,
            } => {
                let told = Told {
                    user: &user,
                    read: up_to,
                    unread_from,
                    unread,
                };
                // Only a log that has ended can be compared with.
                read(&mut self.conversations, &conversation)?;
                known(&mut self.conversations, &conversation)?.unread(line, told, verdict);
            }
            Event::Thread {
                conversation,
                user,
                root,
                read: up_to,
                unread,
                last,
            } => {
                let stand = Stand {
                    user,
                    root,
                    read: up_to,
                    unread,
                    last,
                };
                let fold = read(&mut self.conversations, &conversation)?;
                fold.thread(line, &stand, verdict);
            }
            Event::ThreadsEnd { conversation, user } => {
                let fold = read(&mut self.conversations, &conversation)?;
                fold.threads_end(line, &user, verdict);
            }
            Event::Pinned {
                conversation,
                messages,
            } => {
                read(&mut self.conversations, &conversation)?.pinned(line, &messages, verdict);
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
