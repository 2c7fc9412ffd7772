//! Pins, threads, marks, what is not kept or not for long, and people who are erased.

use std::collections::BTreeSet;

use quikapp_history::{Event, Kind, Mark};

use super::{Entry, PEOPLE, World};

impl World {
    /// Pins a message, or takes the pin back.
    pub(super) fn pin(&mut self, arg: usize) {
        let Some(about) = self.pick(arg) else { return };
        let key = format!("pin {}", self.ops);
        let message = self.messages.get_mut(&about).unwrap();
        message.pinned = !message.pinned;
        let kind = match message.pinned {
            true => Kind::Pin,
            false => Kind::Unpin,
        };
        self.change(kind, "a", about, &key);
    }

    pub(super) fn answer(&mut self, user: &'static str, arg: usize) {
        let mut roots = self.messages.keys();
        let is_main = |seq: &&u64| self.log[**seq as usize - 1].thread.is_none();
        let root = roots.clone().filter(is_main).nth(arg % 4);
        let root = root.or_else(|| roots.find(is_main)).copied();
        let Some(root) = root.filter(|_| self.is_there(user)) else {
            return;
        };
        let key = format!("k{}", self.ops);
        let op = self.invoke(user, &key);
        let seq = self.message_in(Some(root), user, &key);
        self.ok(op, Some(seq));
    }

    /// Says something that is not kept; whoever follows hears it, save when it is refused.
    pub(super) fn say(&mut self, user: &'static str, arg: usize) {
        if !self.is_there(user) {
            return;
        }
        self.ops += 1;
        let (at, op, key) = (self.now, self.ops, format!("said {}", self.ops));
        let by = user.to_owned();
        self.push(|conversation| Event::Say {
            at,
            op,
            user: by,
            conversation,
            key: key.clone(),
        });
        if arg.is_multiple_of(4) {
            let reason = "overloaded".to_owned();
            return self.events.push(Event::Fail { at, op, reason });
        }
        for (person, name) in PEOPLE.iter().enumerate() {
            if self.devices[person].following && self.is_there(name) {
                let (device, user) = ((*name).to_owned(), user.to_owned());
                self.push(|conversation| Event::Heard {
                    at,
                    device,
                    conversation,
                    user,
                    key: key.clone(),
                });
            }
        }
        if arg % 4 == 1 {
            self.events.push(Event::Unknown { at, op });
        } else {
            self.ok(op, None);
        }
    }

    pub(super) fn mark(&mut self, user: &'static str, mark: Mark, arg: usize) {
        if !self.is_there(user) || self.log.is_empty() {
            return;
        }
        self.ops += 1;
        let (at, op, seq) = (self.now, self.ops, 1 + arg as u64 % self.tail());
        let by = user.to_owned();
        self.push(|conversation| Event::Mark {
            at,
            op,
            user: by,
            conversation,
            mark,
            seq,
        });
        let marks = self.marks.get_mut(user).unwrap();
        match mark {
            Mark::Read => {
                marks.read = marks.read.max(seq);
                marks.unread_from = marks.unread_from.filter(|from| seq < *from);
            }
            Mark::Unread => marks.unread_from = Some(seq),
        }
        self.ok(op, None);
    }

    /// Forgets the first message that everybody has.
    pub(super) fn forget(&mut self) {
        let has = |person: usize, seq: u64| {
            let user = PEOPLE[person];
            let is_concerned = self.is_there(user) && self.sees(person, seq);
            let has = self.devices[person].acked.is_some_and(|acked| seq <= acked);
            !is_concerned || user == self.messages[&seq].sender || has
        };
        let mut live = self.messages.iter().filter(|(_, it)| !it.deleted);
        let everybody_has = |seq: u64| (0..PEOPLE.len()).all(|person| has(person, seq));
        let Some((&about, _)) = live.find(|(seq, _)| everybody_has(**seq)) else {
            return;
        };
        self.redact(about);
        let by = self.messages[&about].sender;
        self.append(Entry {
            about: Some(about),
            ..Entry::new(Kind::Forget, format!("forget {about}"), by)
        });
    }

    /// Erases `x`: their messages and reactions go, and the log no longer says what they were.
    pub(super) fn erase(&mut self) {
        if self.erased {
            return;
        }
        let (at, user) = (self.now, "x".to_owned());
        self.events.push(Event::Erasing { at, user });
        self.in_doubt.retain(|(user, _)| *user != "x");
        self.append(Entry {
            users: vec!["x".to_owned()],
            ..Entry::new(Kind::MemberLeft, "Remove".to_owned(), "x")
        });
        let messages = self.messages.iter();
        let theirs = messages.filter(|(_, it)| it.sender == "x" && !it.deleted);
        for about in theirs.map(|(seq, _)| *seq).collect::<Vec<_>>() {
            self.redact(about);
            self.append(Entry {
                about: Some(about),
                ..Entry::new(Kind::Delete, format!("delete {about}"), "x")
            });
        }
        let mut reacted = BTreeSet::new();
        for entry in self.log.iter_mut().filter(|it| it.sender == "x") {
            if entry.kind == Kind::Message {
                entry.key = None;
            }
            if entry.emoji.take().is_some() {
                reacted.extend(entry.about);
            }
        }
        for about in reacted {
            let message = self.messages.get_mut(&about).unwrap();
            message
                .reactions
                .retain(|_, people| !people.contains(&"x".to_owned()));
            self.append(Entry {
                about: Some(about),
                ..Entry::new(Kind::ReactionRemove, format!("none of {about}"), "x")
            });
        }
        let user = "x".to_owned();
        self.events.push(Event::Erased { at, user });
        self.erased = true;
        self.devices[3].following = false;
    }
}
