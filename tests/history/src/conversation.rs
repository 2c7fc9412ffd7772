//! One conversation: what was asked for, answered and shown, until its log says what is true.

use std::collections::{BTreeMap, HashMap};

use crate::{
    Kind, Line, Rule, Verdict,
    checker::{tag, what},
    device::Device,
    ephemeral::{Ephemeral, Heard},
    erasure::Erasures,
    fold::{Entry, Fold},
    marks::Told,
    person::Person,
};

/// An outcome.
#[derive(Debug)]
pub(crate) enum Answer {
    Ok {
        at: u64,
        seq: Option<u64>,
        id: Option<String>,
    },
    Refused,
    Unknown {
        at: u64,
    },
}

/// An entry on a device.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) at: u64,
    pub(crate) seq: u64,
    pub(crate) what: u64,
    /// The message that is forgotten by this entry, if one is.
    pub(crate) forgets: Option<u64>,
}

/// What holds in all conversations.
#[derive(Debug, Default)]
pub(crate) struct Circumstances {
    /// How long after something ended it may still be noticed.
    pub(crate) bound_ms: u64,
    pub(crate) erased: Erasures,
}

/// A conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The highest place acknowledged so far.
    highest: Option<(u64, Line)>,
    /// By tag of person and key.
    asked: HashMap<u64, Asked>,
    /// By place.
    acknowledged: HashMap<u64, Acknowledged>,
    /// What was first shown at a place.
    shown: HashMap<u64, (u64, Line)>,
    devices: BTreeMap<String, Device>,
    persons: BTreeMap<String, Person>,
    pub(crate) ephemeral: Ephemeral,
    /// Who lacked a message when it was first seen that it was forgotten, by the place of the entry
    /// that says so.
    forgotten: HashMap<u64, (Line, Vec<String>)>,
    fold: Fold,
}

/// Everything about one key.
#[derive(Debug)]
struct Asked {
    /// The tag of who asks.
    by: u64,
    /// The line of its first attempt that may have had an effect.
    line: Line,
    /// The highest place that was acknowledged before that: its own must be above.
    above: Option<(u64, Line)>,
    under_way: u32,
    in_doubt: bool,
    refused: Option<Line>,
    answered: Option<(Line, Option<u64>)>,
}

/// An acknowledgement that names a place.
#[derive(Debug)]
struct Acknowledged {
    line: Line,
    key: u64,
    id: Option<u64>,
}

impl Asked {
    /// Every attempt so far was refused.
    fn is_refused(&self) -> bool {
        self.under_way == 0 && !self.in_doubt && self.answered.is_none() && self.refused.is_some()
    }
}

impl Conversation {
    pub(crate) fn new(members: Vec<String>) -> Self {
        Self {
            highest: None,
            asked: HashMap::new(),
            acknowledged: HashMap::new(),
            shown: HashMap::new(),
            devices: BTreeMap::new(),
            persons: BTreeMap::new(),
            ephemeral: Ephemeral::default(),
            forgotten: HashMap::new(),
            fold: Fold::new(members),
        }
    }

    /// Whether its log has ended.
    pub(crate) fn is_read(&self) -> bool {
        self.fold.has_ended()
    }

    /// The fold of its log, once that has ended.
    pub(crate) fn folded(&mut self) -> Option<&mut Fold> {
        self.fold.has_ended().then_some(&mut self.fold)
    }

    /// What a complete history has and this one has not.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        self.fold.missing()
    }

    pub(crate) fn person(&mut self, user: &str) -> &mut Person {
        self.persons.entry(user.to_owned()).or_default()
    }

    pub(crate) fn device(&mut self, name: &str) -> Result<&mut Device, String> {
        let device = self.devices.get_mut(name);
        device.ok_or_else(|| format!("device {name:?} does not follow the conversation"))
    }

    pub(crate) fn invoke(&mut self, line: Line, user: &str, key: &str) {
        let fresh = Asked {
            by: tag(&user),
            line,
            above: self.highest,
            under_way: 0,
            in_doubt: false,
            refused: None,
            answered: None,
        };
        let asked = self.asked.entry(key_of(user, key)).or_insert(Asked {
            above: self.highest,
            ..fresh
        });
        if asked.is_refused() {
            *asked = fresh;
        }
        asked.under_way += 1;
    }

    pub(crate) fn answered(
        &mut self,
        line: Line,
        user: &str,
        key: &str,
        answer: Answer,
        verdict: &mut Verdict,
    ) {
        let key = key_of(user, key);
        let Some(asked) = self.asked.get_mut(&key) else {
            return;
        };
        asked.under_way = asked.under_way.saturating_sub(1);
        match answer {
            Answer::Unknown { .. } => asked.in_doubt = true,
            Answer::Refused => asked.refused = Some(line),
            Answer::Ok { seq, id, .. } => {
                if let Some((before, Some(place))) = asked.answered
                    && let Some(seq) = seq
                    && place != seq
                {
                    let detail = format!("one key was acknowledged at {place} and at {seq}");
                    verdict.broke(Rule::AppliedOnce, &[before, line], detail);
                }
                let before = asked.answered.and_then(|(_, seq)| seq);
                asked.answered = Some((line, seq.or(before)));
                if let Some(seq) = seq {
                    self.acknowledge(line, key, seq, id.as_deref(), verdict);
                }
            }
        }
    }

    fn acknowledge(
        &mut self,
        line: Line,
        key: u64,
        seq: u64,
        id: Option<&str>,
        verdict: &mut Verdict,
    ) {
        if self.highest.is_none_or(|(highest, _)| seq > highest) {
            self.highest = Some((seq, line));
        }
        let id = id.map(|id| tag(&id));
        let new = Acknowledged { line, key, id };
        let first = self.acknowledged.entry(seq).or_insert(new);
        if first.key != key {
            let detail = format!("{seq} was acknowledged to two keys");
            verdict.broke(Rule::AcknowledgedIsKept, &[first.line, line], detail);
        }
        first.id = first.id.or(id);
    }

    pub(crate) fn resumed(
        &mut self,
        line: Line,
        name: String,
        user: String,
        after: Option<u64>,
    ) -> Result<(), String> {
        let owner = user.clone();
        let device = self.devices.entry(name).or_insert_with(|| Device::of(user));
        if device.user() != owner {
            return Err(format!("the device is {}'s", device.user()));
        }
        device.resumed(line, after);
        Ok(())
    }

    pub(crate) fn delivered(
        &mut self,
        line: Line,
        name: &str,
        shown: &Shown,
        circumstances: &Circumstances,
        verdict: &mut Verdict,
    ) -> Result<(), String> {
        let (seq, at) = (shown.seq, shown.at);
        if let Some(message) = shown.forgets
            && !self.shown.contains_key(&seq)
        {
            let lacking = self.lacking(message);
            self.forgotten.insert(seq, (line, lacking));
        }
        let first = *self.shown.entry(seq).or_insert((shown.what, line));
        if first.0 != shown.what {
            let detail = format!("two different entries were shown at {seq}");
            verdict.broke(Rule::DeliveredIsKept, &[first.1, line], detail);
        }
        let device = self.device(name)?;
        device.shown(line, name, seq, verdict);
        let user = device.user().to_owned();
        circumstances.judge_erased(&user, at, line, verdict);
        if let Some(person) = self.persons.get_mut(&user) {
            person.was_shown(at, seq, line, circumstances.bound_ms);
        }
        Ok(())
    }

    pub(crate) fn heard(
        &mut self,
        heard: Heard<'_>,
        circumstances: &Circumstances,
        verdict: &mut Verdict,
    ) -> Result<(), String> {
        let (line, at, bound_ms) = (heard.line, heard.at, circumstances.bound_ms);
        let user = self.device(heard.device)?.user().to_owned();
        self.ephemeral.heard(heard, bound_ms, verdict);
        circumstances.judge_erased(&user, at, line, verdict);
        let person = self.persons.get(&user);
        if let Some(removed) = person.and_then(|person| person.gone_since(at, bound_ms)) {
            let detail = format!("{user} was removed longer ago than the bound, and heard it");
            verdict.broke(Rule::OnlyMembers, &[removed, line], detail);
        }
        Ok(())
    }

    /// People none of whose devices has told the server that it has a place.
    fn lacking(&self, seq: u64) -> Vec<String> {
        let mut have: BTreeMap<&str, bool> = BTreeMap::new();
        for device in self.devices.values() {
            *have.entry(device.user()).or_default() |= device.may_have(seq);
        }
        let lacking = have.into_iter().filter(|(_, has)| !has);
        lacking.map(|(user, _)| user.to_owned()).collect()
    }

    pub(crate) fn log(
        &mut self,
        line: Line,
        entry: &Entry,
        circumstances: &Circumstances,
        verdict: &mut Verdict,
    ) {
        if !self.fold.takes(line, entry, verdict) {
            return;
        }
        let (seq, key) = (entry.seq, entry.key.as_ref());
        let key = key.map(|key| key_of(&entry.sender, key));
        if let Some(erased) = circumstances.erased.of(&entry.sender)
            && entry.says_something()
        {
            let detail = format!("{} was erased, and {seq} says what they said", entry.sender);
            verdict.broke(Rule::ErasedIsGone, &[erased.line, line], detail);
        }
        if entry.kind == Kind::Forget {
            self.judge_forgotten(line, entry, verdict);
        }
        if let Some(key) = key {
            self.ephemeral.logged(key, seq, line, verdict);
        }
        if let Some(ack) = self.acknowledged.remove(&seq) {
            let is_gone = key.is_none() && circumstances.erased.may_be_gone(&entry.sender);
            let has_other_key = key != Some(ack.key) && !is_gone;
            if has_other_key || ack.id.is_some_and(|id| id != tag(&entry.id)) {
                let detail = format!("what was acknowledged at {seq} is not what the log has");
                verdict.broke(Rule::AcknowledgedIsKept, &[ack.line, line], detail);
            }
        }
        if let Some((shown, first)) = self.shown.remove(&seq)
            && shown != what(entry.kind, &entry.id)
        {
            let detail = format!("what was shown at {seq} is not what the log has");
            verdict.broke(Rule::DeliveredIsKept, &[first, line], detail);
        }
        if let Some(asked) = key.and_then(|key| self.asked.remove(&key)) {
            judge_asked(&asked, seq, line, verdict);
        }
    }

    /// A message was forgotten as delivered. Its sender needs no device; everybody else who was a
    /// member all the while must have had it.
    fn judge_forgotten(&mut self, line: Line, entry: &Entry, verdict: &mut Verdict) {
        let Some(message) = entry.about else {
            return;
        };
        let seen = self.forgotten.remove(&entry.seq);
        let (seen, lacking) = seen.unwrap_or_else(|| (line, self.lacking(message)));
        let concerned = lacking.iter().filter(|user| {
            **user != entry.sender && self.fold.visible(user).spans(message, entry.seq)
        });
        for user in concerned {
            let detail = format!("{message} was forgotten before {user} had it");
            verdict.broke(Rule::ForgottenWhenHad, &[seen, line], detail);
        }
    }

    /// Where a person stands, after the log.
    pub(crate) fn unread(&self, line: Line, told: Told<'_>, verdict: &mut Verdict) {
        self.fold.unread(line, told, verdict);
        let by_the_log = self.fold.read_without_asking(told.user);
        let person = self.persons.get(told.user);
        if let Some(person) = person {
            person.marks.judge(line, told, by_the_log, verdict);
        }
    }

    /// The log is complete: whatever it does not explain is wrong.
    pub(crate) fn log_end(
        &mut self,
        line: Line,
        tail: u64,
        circumstances: &Circumstances,
        verdict: &mut Verdict,
    ) {
        self.fold.end(line, tail, verdict);
        for (user, erased) in circumstances.erased.all() {
            self.fold.judge_erased(line, user, erased, verdict);
        }
        let erased = circumstances.erased.tags();
        for (seq, ack) in in_order(&mut self.acknowledged) {
            let detail = format!("{seq} was acknowledged and is not in the log");
            verdict.broke(Rule::AcknowledgedIsKept, &[ack.line, line], detail);
        }
        for (_, asked) in in_order(&mut self.asked) {
            // Those whose answer named a place have been told, and the keys of whoever was erased
            // may be gone.
            if let Some((answered, None)) = asked.answered
                && !erased.contains(&asked.by)
            {
                let detail = "what was acknowledged is not in the log".to_owned();
                let lines = [asked.line, answered, line];
                verdict.broke(Rule::AcknowledgedIsKept, &lines, detail);
            }
        }
        for (seq, (_, first)) in in_order(&mut self.shown) {
            let detail = format!("{seq} was shown and is not in the log");
            verdict.broke(Rule::DeliveredIsKept, &[first, line], detail);
        }
        for (name, device) in &self.devices {
            let visible = self.fold.visible(device.user());
            device.judge(name, visible, tail, verdict);
        }
        for (user, person) in &self.persons {
            person.judge(user, self.fold.visible(user), verdict);
        }
    }
}

impl Circumstances {
    /// Nothing is shown to somebody who was erased longer ago than the bound.
    fn judge_erased(&self, user: &str, at: u64, line: Line, verdict: &mut Verdict) {
        if let Some(erased) = self.erased.of(user)
            && at > erased.at.saturating_add(self.bound_ms)
        {
            let detail = format!("{user} was erased longer ago than the bound, and was shown it");
            verdict.broke(Rule::OnlyMembers, &[erased.line, line], detail);
        }
    }
}

fn judge_asked(asked: &Asked, seq: u64, line: Line, verdict: &mut Verdict) {
    if let Some(refused) = asked.refused.filter(|_| asked.is_refused()) {
        let detail = format!("what was refused stands at {seq}");
        verdict.broke(Rule::RefusedIsNotDone, &[refused, line], detail);
    }
    if let Some((above, acknowledged)) = asked.above
        && seq <= above
    {
        let detail =
            format!("what stands at {seq} was asked for after {above} had been acknowledged");
        let lines = [acknowledged, asked.line, line];
        verdict.broke(Rule::RealTimeOrder, &lines, detail);
    }
}

/// Takes everything out, in the order of the keys, so that a verdict is the same every time.
fn in_order<T>(map: &mut HashMap<u64, T>) -> Vec<(u64, T)> {
    let mut all: Vec<_> = std::mem::take(map).into_iter().collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    all
}

fn key_of(user: &str, key: &str) -> u64 {
    tag(&(user, key))
}
