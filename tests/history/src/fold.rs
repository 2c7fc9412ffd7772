//! The log of a conversation, and what follows from it.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    Kind, Line, MemberSince, Rule, Verdict,
    checker::tag,
    erasure::Erased,
    marks::Told,
    thread::{Stand, Threads},
};

/// An entry of the log.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) sender: String,
    pub(crate) key: Option<String>,
    pub(crate) n: u64,
    pub(crate) thread: Option<String>,
    pub(crate) about: Option<u64>,
    pub(crate) content: Option<String>,
    pub(crate) emoji: Option<String>,
    pub(crate) users: Vec<String>,
}

impl Entry {
    /// Whether something is left of what its sender said: the client's own name for it included.
    pub(crate) fn says_something(&self) -> bool {
        match self.kind {
            Kind::Message => self.content.is_some() || self.key.is_some(),
            Kind::Edit => self.content.is_some(),
            Kind::ReactionAdd | Kind::ReactionRemove => self.emoji.is_some(),
            _ => false,
        }
    }
}

/// A message of the history view.
#[derive(Debug)]
pub(crate) struct Viewed {
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) content: Option<String>,
    pub(crate) deleted: bool,
    pub(crate) pinned: bool,
    pub(crate) reactions: BTreeMap<String, Vec<String>>,
}

/// What a log comes to so far.
#[derive(Debug)]
pub(crate) struct Fold {
    tail: u64,
    ended: bool,
    /// Places and lines of messages, by the tags of their ids.
    ids: HashMap<u64, (u64, Line)>,
    keys: HashMap<u64, Line>,
    messages: BTreeMap<u64, Message>,
    /// Places of the messages on the main timeline.
    counted: Vec<u64>,
    people: HashMap<String, Visible>,
    /// The place of the last message of each sender.
    sent: HashMap<String, u64>,
    threads: Threads,
    viewed: u64,
    view_ended: bool,
}

/// A message with everything that happened to it.
#[derive(Debug)]
struct Message {
    id: u64,
    sender: String,
    content: Option<u64>,
    /// The line of an entry that still says something of what it said, and of the one that took
    /// that away.
    said: Option<Line>,
    deleted: Option<Line>,
    pinned: bool,
    reactions: HashSet<u64>,
    is_viewed: bool,
}

/// What a person sees of a log: intervals of places, in their order.
#[derive(Debug, Default)]
pub(crate) struct Visible(Vec<(u64, Option<u64>)>);

static NOTHING: Visible = Visible(Vec::new());

impl Visible {
    /// Whether the person is a member at the end.
    pub(crate) fn is_open(&self) -> bool {
        self.open_from().is_some()
    }

    /// The first place of the membership that has not ended.
    pub(crate) fn open_from(&self) -> Option<u64> {
        let last = self.0.last().filter(|(_, to)| to.is_none());
        last.map(|(from, _)| *from)
    }

    /// Whether both places lie in one membership.
    pub(crate) fn spans(&self, from: u64, to: u64) -> bool {
        let within = |&(first, last): &(u64, Option<u64>)| {
            first <= from && last.is_none_or(|last| to <= last)
        };
        self.0.iter().any(within)
    }

    /// The last visible places of memberships that ended.
    pub(crate) fn closed(&self) -> Vec<u64> {
        self.0.iter().filter_map(|(_, to)| *to).collect()
    }

    /// The first visible place between two, both included.
    pub(crate) fn first_in(&self, from: u64, to: u64) -> Option<u64> {
        let within = |&(first, last): &(u64, Option<u64>)| {
            let place = first.max(from);
            let is_visible = place <= to && last.is_none_or(|last| place <= last);
            is_visible.then_some(place)
        };
        self.0.iter().find_map(within)
    }

    /// Whether a place lies before everything that the person ever saw.
    pub(crate) fn has_before_all(&self, seq: u64) -> bool {
        self.0.first().is_none_or(|(first, _)| seq < *first)
    }

    fn open(&mut self, seq: u64) {
        if !self.is_open() {
            self.0.push((seq, None));
        }
    }

    fn close(&mut self, seq: u64) {
        if let Some((_, to @ None)) = self.0.last_mut() {
            *to = Some(seq);
        }
    }
}

impl Fold {
    /// An empty log of these members.
    pub(crate) fn new(members: Vec<String>) -> Self {
        let from_the_start = |user| (user, Visible(vec![(1, None)]));
        Self {
            tail: 0,
            ended: false,
            ids: HashMap::new(),
            keys: HashMap::new(),
            messages: BTreeMap::new(),
            counted: Vec::new(),
            people: members.into_iter().map(from_the_start).collect(),
            sent: HashMap::new(),
            threads: Threads::default(),
            viewed: 0,
            view_ended: false,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn missing(&self) -> Option<&'static str> {
        if !self.ended {
            Some("the end of the log")
        } else if self.viewed > 0 && !self.view_ended {
            Some("the end of the view")
        } else {
            None
        }
    }

    pub(crate) fn visible(&self, user: &str) -> &Visible {
        self.people.get(user).unwrap_or(&NOTHING)
    }

    /// Takes the next entry. Says whether it has a place of its own.
    pub(crate) fn takes(&mut self, line: Line, entry: &Entry, verdict: &mut Verdict) -> bool {
        let (seq, expected) = (entry.seq, self.tail + 1);
        if seq != expected {
            let detail = format!("{seq} stands where {expected} was to stand");
            verdict.broke(Rule::LogIsDense, &[line], detail);
        }
        if seq < expected {
            return false;
        }
        self.tail = seq;
        if entry.kind == Kind::Message
            && let Some((_, first)) = self.ids.insert(tag(&entry.id), (seq, line))
        {
            let detail = format!("two messages have the id {}", entry.id);
            verdict.broke(Rule::IdsAreUnique, &[first, line], detail);
        }
        if let Some(key) = &entry.key
            && let Some(first) = self.keys.insert(tag(&(&entry.sender, key)), line)
        {
            let detail = format!("{} of {} stands twice in the log", key, entry.sender);
            verdict.broke(Rule::AppliedOnce, &[first, line], detail);
        }
        self.apply(line, entry);
        let counted = self.counted.len() as u64;
        if entry.n != counted {
            let detail = format!("n is {} at {seq}, after {counted} messages", entry.n);
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
        true
    }

    /// The log has no more.
    pub(crate) fn end(&mut self, line: Line, tail: u64, verdict: &mut Verdict) {
        self.ended = true;
        if tail != self.tail {
            let detail = format!("the log ends at {}, its tail is {tail}", self.tail);
            verdict.broke(Rule::LogIsDense, &[line], detail);
        }
        for (seq, message) in &self.messages {
            if let (Some(said), Some(deleted)) = (message.said, message.deleted) {
                let detail = format!("the message at {seq} is gone, and the log says what it said");
                verdict.broke(Rule::DeletedIsGone, &[said, deleted], detail);
            }
        }
        // What follows compares views with the fold, and needs no more of these.
        self.ids = HashMap::new();
        self.keys = HashMap::new();
    }

    /// Of somebody who was erased nothing is left in views either, and they are no member.
    pub(crate) fn judge_erased(
        &self,
        line: Line,
        user: &str,
        erased: Erased,
        verdict: &mut Verdict,
    ) {
        let mut stays = |what: String| {
            let detail = format!("{user} was erased, and {what}");
            verdict.broke(Rule::ErasedIsGone, &[erased.line, line], detail);
        };
        if self.visible(user).is_open() {
            stays("is a member".to_owned());
        }
        let reaction = tag(&("", user));
        for (seq, message) in &self.messages {
            if message.sender == user && message.deleted.is_none() {
                stays(format!("the message at {seq} was not deleted"));
            }
            if message.reactions.contains(&reaction) {
                stays(format!(
                    "a reaction to the message at {seq} was not taken back"
                ));
            }
        }
    }

    fn apply(&mut self, line: Line, entry: &Entry) {
        match entry.kind {
            Kind::Message => self.message(line, entry),
            Kind::MemberJoined => {
                for user in &entry.users {
                    let person = self.people.entry(user.clone()).or_default();
                    person.open(entry.seq);
                }
            }
            Kind::MemberLeft => {
                for user in &entry.users {
                    if let Some(person) = self.people.get_mut(user) {
                        person.close(entry.seq);
                    }
                }
            }
            Kind::Edit
            | Kind::Delete
            | Kind::Forget
            | Kind::Expire
            | Kind::ReactionAdd
            | Kind::ReactionRemove
            | Kind::Pin
            | Kind::Unpin => self.change(line, entry),
            Kind::Other => {}
        }
    }

    fn message(&mut self, line: Line, entry: &Entry) {
        let (seq, sender) = (entry.seq, &entry.sender);
        self.sent.insert(sender.clone(), seq);
        match &entry.thread {
            None => self.counted.push(seq),
            Some(root) => {
                let place = self.ids.get(&tag(&root));
                let author = place.and_then(|(seq, _)| self.messages.get(seq));
                let author = author.map(|message| message.sender.as_str());
                self.threads.message(tag(&root), author, sender, seq);
            }
        }
        let message = Message {
            id: tag(&entry.id),
            sender: sender.clone(),
            content: entry.content.as_ref().map(|content| tag(&content)),
            said: entry.content.as_ref().map(|_| line),
            deleted: None,
            pinned: false,
            reactions: HashSet::new(),
            is_viewed: false,
        };
        self.messages.insert(seq, message);
    }

    fn change(&mut self, line: Line, entry: &Entry) {
        let about = entry.about.and_then(|seq| self.messages.get_mut(&seq));
        let Some(message) = about else {
            return;
        };
        let reaction = tag(&(entry.emoji.as_deref().unwrap_or_default(), &entry.sender));
        match entry.kind {
            Kind::Edit => {
                message.content = entry.content.as_ref().map(|content| tag(&content));
                message.said = message.said.or(entry.content.as_ref().map(|_| line));
            }
            Kind::Delete | Kind::Forget | Kind::Expire => {
                message.deleted = Some(line);
                message.content = None;
                message.pinned = false;
                message.reactions.clear();
            }
            Kind::Pin => message.pinned = true,
            Kind::Unpin => message.pinned = false,
            Kind::ReactionAdd => drop(message.reactions.insert(reaction)),
            Kind::ReactionRemove => drop(message.reactions.remove(&reaction)),
            _ => {}
        }
    }

    pub(crate) fn view(&mut self, line: Line, viewed: &Viewed, verdict: &mut Verdict) {
        let seq = viewed.seq;
        let mut differs = |what: &str| {
            let detail = format!("the view of {seq} {what}");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        };
        let Some(message) = self.messages.get_mut(&seq) else {
            return differs("is of no message in the log");
        };
        if std::mem::replace(&mut message.is_viewed, true) {
            return differs("stands twice");
        }
        self.viewed += 1;
        let people = viewed.reactions.iter();
        let reactions: HashSet<u64> = people
            .flat_map(|(emoji, people)| people.iter().map(move |user| tag(&(&**emoji, user))))
            .collect();
        if message.id != tag(&viewed.id) {
            differs("has another id than the log");
        }
        let is_deleted = message.deleted.is_some();
        if is_deleted != viewed.deleted {
            differs("does not say whether it was deleted");
        }
        if message.pinned != viewed.pinned {
            differs("does not say whether it is pinned");
        }
        if message.content != viewed.content.as_ref().map(|it| tag(&it)) {
            differs("has another content than the log");
        }
        if message.reactions != reactions {
            differs("has other reactions than the log");
        }
    }

    pub(crate) fn view_end(&mut self, line: Line, verdict: &mut Verdict) {
        self.view_ended = true;
        for (seq, _) in self.messages.iter().filter(|(_, it)| !it.is_viewed) {
            let detail = format!("the message at {seq} is not in the view");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
    }

    pub(crate) fn members(&self, line: Line, told: &[MemberSince], verdict: &mut Verdict) {
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        for (user, visible) in &self.people {
            expected.extend(visible.open_from().map(|from| (user.as_str(), from)));
        }
        let told: BTreeMap<&str, u64> = told.iter().map(|it| (&*it.user, it.from_seq)).collect();
        if told != expected {
            let detail = format!("members are {told:?}, by the log {expected:?}");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
    }

    pub(crate) fn pinned(&self, line: Line, told: &[u64], verdict: &mut Verdict) {
        let pinned = self.messages.iter().filter(|(_, message)| message.pinned);
        let expected: Vec<u64> = pinned.map(|(seq, _)| *seq).collect();
        if told != expected {
            let detail = format!("pinned are {told:?}, by the log {expected:?}");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
    }

    pub(crate) fn thread(&mut self, line: Line, stand: &Stand, verdict: &mut Verdict) {
        let from = self.visible(&stand.user).open_from();
        self.threads.told(line, stand, from, verdict);
    }

    /// Whoever is not a member is told of none.
    pub(crate) fn threads_end(&self, line: Line, user: &str, verdict: &mut Verdict) {
        if self.visible(user).is_open() {
            self.threads.end(line, user, verdict);
        }
    }

    /// Up to where somebody has read without saying so: sending reads, and to a new member nothing
    /// is unread.
    pub(crate) fn read_without_asking(&self, user: &str) -> u64 {
        let sent = self.sent.get(user).copied().unwrap_or_default();
        let joined = self.visible(user).0.last().map_or(0, |(from, _)| from - 1);
        sent.max(joined)
    }

    pub(crate) fn unread(&self, line: Line, told: Told<'_>, verdict: &mut Verdict) {
        let (user, read, unread) = (told.user, told.read, told.unread);
        let until = told.unread_from.map_or(read, |from| from.saturating_sub(1));
        let first = self.counted.partition_point(|seq| *seq <= until);
        let expected = (self.counted.len() - first) as u64;
        if unread != expected {
            let detail = format!("{user} has read up to {until}: {unread} unread, not {expected}");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
        let sent = self.sent.get(user).copied().unwrap_or_default();
        if read < sent && self.visible(user).first_in(sent, sent).is_some() {
            let detail = format!("{user} has read up to {read} and sent {sent}");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
    }
}
