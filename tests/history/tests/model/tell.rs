//! What the log and its views say in the end.

use quikapp_history::{Event, Kind, MemberSince};

use super::{Entry, Marks, PEOPLE, World};

impl World {
    pub(super) fn tell_log(&mut self) {
        for (index, entry) in self.log.clone().into_iter().enumerate() {
            self.push(|conversation| Event::Log {
                conversation,
                seq: index as u64 + 1,
                kind: entry.kind,
                id: entry.id,
                sender: entry.sender.to_owned(),
                emoji: entry.emoji,
                key: entry.key,
                n: entry.n,
                thread: entry.thread,
                about: entry.about,
                content: entry.content,
                users: entry.users,
            });
        }
        let tail = self.tail();
        self.push(|conversation| Event::LogEnd { conversation, tail });
    }

    pub(super) fn tell_views(&mut self) {
        let pinned = self.messages.iter().filter(|(_, it)| it.pinned);
        let messages = pinned.map(|(seq, _)| *seq).collect();
        self.push(|conversation| Event::Pinned {
            conversation,
            messages,
        });
        for (seq, message) in std::mem::take(&mut self.messages) {
            let id = self.log[seq as usize - 1].id.clone();
            self.push(|conversation| Event::View {
                conversation,
                seq,
                id,
                content: message.content,
                deleted: message.deleted,
                pinned: message.pinned,
                reactions: message.reactions,
            });
        }
        self.push(|conversation| Event::ViewEnd { conversation });
        let v = self.v.last().unwrap().0;
        let members = [("a", 1), ("b", 1), ("v", v), ("x", 1)];
        let members = members.iter().filter(|(user, _)| !self.is_gone(user));
        let members = members.map(|(user, from_seq)| MemberSince {
            user: (*user).to_owned(),
            from_seq: *from_seq,
        });
        let members = members.collect();
        self.push(|conversation| Event::Members {
            conversation,
            members,
        });
        for user in PEOPLE {
            if !self.is_gone(user) {
                self.tell_standing(user);
            }
        }
    }

    fn tell_standing(&mut self, user: &'static str) {
        let Marks { read, unread_from } = self.marks[user];
        let until = unread_from.map_or(read, |from| from - 1);
        let counts = |it: &&Entry| it.kind == Kind::Message && it.thread.is_none();
        let unread = self.log[until as usize..].iter().filter(counts).count() as u64;
        self.push(|conversation| Event::Unread {
            conversation,
            user: user.to_owned(),
            read,
            unread_from,
            unread,
        });
        let threads = std::mem::take(&mut self.threads);
        let came = match user {
            "v" => self.v.last().unwrap().0,
            _ => 1,
        };
        for (place, thread) in &threads {
            if let Some(&read) = thread.read.get(user) {
                let read = read.max(came - 1);
                let root = self.log[*place as usize - 1].id.clone();
                let unread = thread.places.iter().filter(|seq| **seq > read).count() as u64;
                self.push(|conversation| Event::Thread {
                    conversation,
                    user: user.to_owned(),
                    root,
                    read,
                    unread,
                    last: *thread.places.last().unwrap(),
                });
            }
        }
        self.threads = threads;
        self.push(|conversation| Event::ThreadsEnd {
            conversation,
            user: user.to_owned(),
        });
    }
}
