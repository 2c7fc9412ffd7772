//! A server without faults and its clients, small enough to be seen to be right. Steps drive it;
//! what it does is written down as a history.

mod kinds;
mod tell;

use std::collections::BTreeMap;

use proptest::prelude::*;
use quikapp_history::{Change, Event, Kind, Mark};

pub(crate) const BOUND_MS: u64 = 1_000_000;
const CONVERSATION: &str = "c";
/// Everyone has one device of the same name. `v` comes and goes, `x` may be erased.
const PEOPLE: [&str; 4] = ["a", "b", "v", "x"];

/// Something happens: what, to whom and how is read off two numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) kind: u8,
    pub(crate) arg: u8,
}

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        (any::<u8>(), any::<u8>())
            .prop_map(|(kind, arg)| Self { kind, arg })
            .boxed()
    }
}

/// The history of these steps, to its end.
pub(crate) fn history(steps: &[Step]) -> Vec<Event> {
    let mut world = World::new();
    for step in steps {
        world.step(*step);
    }
    world.end();
    world.events
}

#[derive(Clone)]
struct Entry {
    kind: Kind,
    id: String,
    sender: &'static str,
    key: Option<String>,
    n: u64,
    thread: Option<String>,
    about: Option<u64>,
    content: Option<String>,
    emoji: Option<String>,
    users: Vec<String>,
}

impl Entry {
    fn new(kind: Kind, id: String, sender: &'static str) -> Self {
        Self {
            kind,
            id,
            sender,
            key: None,
            n: 0,
            thread: None,
            about: None,
            content: None,
            emoji: None,
            users: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Message {
    sender: &'static str,
    content: Option<String>,
    deleted: bool,
    pinned: bool,
    reactions: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Marks {
    read: u64,
    unread_from: Option<u64>,
}

#[derive(Default)]
struct Thread {
    places: Vec<u64>,
    /// Up to where whoever follows it has read it.
    read: BTreeMap<&'static str, u64>,
}

struct Device {
    /// What it was shown last.
    at: u64,
    acked: Option<u64>,
    following: bool,
}

struct World {
    events: Vec<Event>,
    now: u64,
    ops: u64,
    log: Vec<Entry>,
    messages: BTreeMap<u64, Message>,
    devices: Vec<Device>,
    /// Intervals that `v` sees.
    v: Vec<(u64, Option<u64>)>,
    /// Attempts to be made again: who, and with which key.
    in_doubt: Vec<(&'static str, String)>,
    marks: BTreeMap<&'static str, Marks>,
    /// By the place of the message that they hang on.
    threads: BTreeMap<u64, Thread>,
    /// `x` was erased.
    erased: bool,
}

impl World {
    fn new() -> Self {
        let run = Event::Run {
            title: "a model".to_owned(),
            seed: 0,
            bound_ms: BOUND_MS,
        };
        let made = Event::Conversation {
            conversation: CONVERSATION.to_owned(),
            members: PEOPLE.map(str::to_owned).to_vec(),
        };
        let mut world = Self {
            events: vec![run, made],
            now: 0,
            ops: 0,
            log: Vec::new(),
            messages: BTreeMap::new(),
            devices: Vec::new(),
            v: vec![(1, None)],
            in_doubt: Vec::new(),
            marks: PEOPLE.map(|user| (user, Marks::default())).into(),
            threads: BTreeMap::new(),
            erased: false,
        };
        for user in PEOPLE {
            world.devices.push(Device {
                at: 0,
                acked: None,
                following: true,
            });
            world.resumed(user, Some(0));
        }
        world
    }

    fn step(&mut self, step: Step) {
        self.now += 1;
        let person = usize::from(step.arg) % PEOPLE.len();
        let arg = usize::from(step.arg) / PEOPLE.len();
        if self.is_gone(PEOPLE[person]) {
            return;
        }
        match step.kind % 25 {
            0..=4 => self.send(PEOPLE[person], arg),
            5..=8 => self.show(person, 1 + arg % 5),
            9 => self.reconnect(person, arg),
            10 => self.acknowledge(person),
            11 => self.edit(arg),
            12 => self.react(PEOPLE[person], arg),
            13 => self.delete(arg),
            14 => self.retry(),
            15 => self.come_or_go(),
            16 => self.pin(arg),
            17 | 18 => self.answer(PEOPLE[person], arg),
            19 => self.say(PEOPLE[person], arg),
            20 => self.mark(PEOPLE[person], Mark::Read, arg),
            21 => self.mark(PEOPLE[person], Mark::Unread, arg),
            22 | 23 => self.forget(),
            _ if arg % 4 == 3 => self.erase(),
            _ => self.acknowledge(person),
        }
    }

    fn end(&mut self) {
        while !self.in_doubt.is_empty() {
            self.retry();
        }
        if !self.is_member() {
            self.come_or_go();
        }
        for (person, name) in PEOPLE.iter().enumerate() {
            if self.is_gone(name) {
                continue;
            }
            self.reconnect(person, 0);
            self.show(person, usize::MAX);
            let (at, device) = (self.now, (*name).to_owned());
            self.push(|conversation| Event::Settled {
                at,
                device,
                conversation,
                up_to: None,
            });
        }
        self.tell_log();
        self.tell_views();
    }

    fn push(&mut self, event: impl FnOnce(String) -> Event) {
        self.events.push(event(CONVERSATION.to_owned()));
    }

    fn tail(&self) -> u64 {
        self.log.len() as u64
    }

    fn is_member(&self) -> bool {
        self.v.last().is_some_and(|(_, to)| to.is_none())
    }

    fn is_gone(&self, user: &str) -> bool {
        user == "x" && self.erased
    }

    /// Who may do something now.
    fn is_there(&self, user: &str) -> bool {
        (user != "v" || self.is_member()) && !self.is_gone(user)
    }

    fn sees(&self, person: usize, seq: u64) -> bool {
        let within =
            |(from, to): &(u64, Option<u64>)| *from <= seq && to.is_none_or(|to| seq <= to);
        PEOPLE[person] != "v" || self.v.iter().any(within)
    }

    fn invoke(&mut self, user: &str, key: &str) -> u64 {
        self.ops += 1;
        let (at, op, user, key) = (self.now, self.ops, user.to_owned(), key.to_owned());
        self.push(|conversation| Event::Invoke {
            at,
            op,
            user,
            conversation,
            key,
        });
        op
    }

    fn ok(&mut self, op: u64, seq: Option<u64>) {
        let id = seq.map(|seq| self.log[seq as usize - 1].id.clone());
        self.events.push(Event::Ok {
            at: self.now,
            op,
            seq,
            id,
        });
    }

    fn append(&mut self, mut entry: Entry) -> u64 {
        let before = self.log.last().map_or(0, |last| last.n);
        let counts = entry.kind == Kind::Message && entry.thread.is_none();
        entry.n = before + u64::from(counts);
        self.log.push(entry);
        self.tail()
    }

    fn message(&mut self, sender: &'static str, key: &str) -> u64 {
        self.message_in(None, sender, key)
    }

    fn message_in(&mut self, root: Option<u64>, sender: &'static str, key: &str) -> u64 {
        let content = Some(format!("says {key}"));
        let seq = self.append(Entry {
            key: Some(key.to_owned()),
            thread: root.map(|root| self.log[root as usize - 1].id.clone()),
            content: content.clone(),
            ..Entry::new(Kind::Message, format!("id of {key}"), sender)
        });
        self.marks.insert(
            sender,
            Marks {
                read: seq,
                unread_from: None,
            },
        );
        if let Some(root) = root {
            let author = self.messages[&root].sender;
            let thread = self.threads.entry(root).or_default();
            thread.places.push(seq);
            thread.read.entry(author).or_insert(seq - 1);
            thread.read.insert(sender, seq);
        }
        let message = Message {
            sender,
            content,
            ..Message::default()
        };
        self.messages.insert(seq, message);
        seq
    }

    /// Sends, with one of four outcomes.
    fn send(&mut self, user: &'static str, outcome: usize) {
        if user == "v" && !self.is_member() {
            return;
        }
        let key = format!("k{}", self.ops);
        let op = self.invoke(user, &key);
        let at = self.now;
        match outcome % 8 {
            0 => self.events.push(Event::Fail {
                at,
                op,
                reason: "moved".to_owned(),
            }),
            unknown @ 1..=2 => {
                if unknown == 1 {
                    self.message(user, &key);
                }
                self.events.push(Event::Unknown { at, op });
                self.in_doubt.push((user, key));
            }
            _ => {
                let seq = self.message(user, &key);
                self.ok(op, Some(seq));
            }
        }
    }

    fn retry(&mut self) {
        let Some((user, key)) = self.in_doubt.pop() else {
            return;
        };
        let op = self.invoke(user, &key);
        let is_it = |entry: &Entry| entry.sender == user && entry.key.as_deref() == Some(&*key);
        let found = self.log.iter().position(is_it);
        let seq = match found {
            Some(index) => index as u64 + 1,
            None => self.message(user, &key),
        };
        self.ok(op, Some(seq));
    }

    fn pick(&self, arg: usize) -> Option<u64> {
        let live: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, it)| !it.deleted)
            .map(|(seq, _)| *seq)
            .collect();
        (!live.is_empty()).then(|| live[arg % live.len()])
    }

    /// Changes a message, in an entry with a key of its own.
    fn change(&mut self, kind: Kind, by: &'static str, about: u64, key: &str) {
        let op = self.invoke(by, key);
        let text = |of: Kind| (kind == of).then(|| key.to_owned());
        let seq = self.append(Entry {
            key: Some(key.to_owned()),
            about: Some(about),
            content: text(Kind::Edit),
            emoji: text(Kind::ReactionAdd),
            ..Entry::new(kind, format!("{kind:?} of {about}"), by)
        });
        self.ok(op, Some(seq));
    }

    /// A message goes from the views, and what it said from the log.
    fn redact(&mut self, about: u64) {
        let message = self.messages.get_mut(&about).unwrap();
        *message = Message {
            sender: message.sender,
            deleted: true,
            ..Message::default()
        };
        self.log[about as usize - 1].content = None;
        let is_edit = |it: &&mut Entry| it.kind == Kind::Edit && it.about == Some(about);
        for edit in self.log.iter_mut().filter(is_edit) {
            edit.content = None;
        }
    }

    fn edit(&mut self, arg: usize) {
        let Some(about) = self.pick(arg) else { return };
        let key = format!("edit {}", self.ops);
        let message = self.messages.get_mut(&about).unwrap();
        message.content = Some(key.clone());
        let by = message.sender;
        self.change(Kind::Edit, by, about, &key);
    }

    fn react(&mut self, by: &'static str, arg: usize) {
        let Some(about) = self.pick(arg) else { return };
        let emoji = format!("emoji {}", self.ops);
        let message = self.messages.get_mut(&about).unwrap();
        message.reactions.insert(emoji.clone(), vec![by.to_owned()]);
        self.change(Kind::ReactionAdd, by, about, &emoji);
    }

    fn delete(&mut self, arg: usize) {
        let Some(about) = self.pick(arg) else { return };
        self.redact(about);
        let by = self.messages[&about].sender;
        self.change(Kind::Delete, by, about, &format!("delete {about}"));
    }

    fn come_or_go(&mut self) {
        self.ops += 1;
        let (at, op) = (self.now, self.ops);
        let is_member = self.is_member();
        let (change, kind) = match is_member {
            true => (Change::Remove, Kind::MemberLeft),
            false => (Change::Add, Kind::MemberJoined),
        };
        let user = "v".to_owned();
        self.push(|conversation| Event::InvokeMember {
            at,
            op,
            user,
            conversation,
            change,
        });
        let seq = self.append(Entry {
            users: vec!["v".to_owned()],
            ..Entry::new(kind, format!("{change:?}"), "a")
        });
        match is_member {
            true => {
                self.v.last_mut().unwrap().1 = Some(seq);
                self.show(2, usize::MAX);
                self.devices[2].following = false;
            }
            false => {
                self.v.push((seq, None));
                let marks = self.marks.get_mut("v").unwrap();
                marks.read = marks.read.max(seq - 1);
                marks.unread_from = None;
            }
        }
        self.ok(op, None);
        if !is_member {
            self.reconnect(2, 0);
        }
    }

    fn resumed(&mut self, user: &str, after: Option<u64>) {
        let (at, device, user) = (self.now, user.to_owned(), user.to_owned());
        self.push(|conversation| Event::Resumed {
            at,
            device,
            user,
            conversation,
            after,
        });
    }

    fn reconnect(&mut self, person: usize, arg: usize) {
        if PEOPLE[person] == "v" && !self.is_member() {
            return;
        }
        let device = &mut self.devices[person];
        device.following = true;
        match device.acked {
            Some(acked) if arg % 2 == 1 => {
                device.at = acked;
                self.resumed(PEOPLE[person], None);
            }
            _ => {
                let at = device.at;
                self.resumed(PEOPLE[person], Some(at));
            }
        }
    }

    fn acknowledge(&mut self, person: usize) {
        let device = &mut self.devices[person];
        device.acked = device.acked.max(Some(device.at));
        let (at, seq, device) = (self.now, device.at, PEOPLE[person].to_owned());
        self.push(|conversation| Event::Acked {
            at,
            device,
            conversation,
            seq,
            own: false,
        });
    }

    /// Shows the next entries that the person sees.
    fn show(&mut self, person: usize, most: usize) {
        let mut left = most;
        while left > 0 && self.devices[person].following && self.devices[person].at < self.tail() {
            let seq = self.devices[person].at + 1;
            self.devices[person].at = seq;
            if !self.sees(person, seq) {
                continue;
            }
            left -= 1;
            let entry = &self.log[seq as usize - 1];
            let (at, kind, id) = (self.now, entry.kind, entry.id.clone());
            let about = entry.about.filter(|_| kind == Kind::Forget);
            let device = PEOPLE[person].to_owned();
            self.push(|conversation| Event::Delivered {
                at,
                device,
                conversation,
                seq,
                kind,
                id,
                about,
            });
        }
    }
}
