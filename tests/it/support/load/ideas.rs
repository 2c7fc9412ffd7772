//! What occurs to somebody who talks, by what they have seen and said.

use std::collections::{HashSet, VecDeque};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::rng::Rng;

/// Messages of each kind that are remembered.
const REMEMBERED: usize = 32;

/// Something to be done once, however often it takes.
pub(super) struct Ask {
    pub(super) conversation: String,
    pub(super) key: String,
    pub(super) event: &'static str,
    pub(super) payload: Value,
    /// It is for whoever is connected, and not tried again.
    pub(super) is_ephemeral: bool,
    /// An attempt may have had an effect.
    pub(super) in_doubt: bool,
    pub(super) not_before: Instant,
}

/// What a person may do besides talking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    /// Those who may pin share the messages out among them, by this number and how many they are:
    /// nobody's pin is in vain because another has pinned the same.
    pub(super) pins: Option<(usize, usize)>,
    /// Whoever sees everything may answer anything.
    pub(super) answers: bool,
}

/// A message, by its conversation and id.
type Named = (String, String);

/// Somebody's memory.
pub(super) struct Ideas {
    rights: Rights,
    /// One's own messages that nothing has happened to yet: those that stay, and those that may be
    /// forgotten at any moment. To delete one of these may change nothing any more.
    mine: Vec<Named>,
    passing: Vec<Named>,
    seen: VecDeque<Named>,
    /// Those on the main timeline, and those on which a thread hangs.
    roots: VecDeque<Named>,
    threads: VecDeque<Named>,
    pinned: Vec<Named>,
    /// What one has pinned or reacted to, once.
    done: HashSet<String>,
    asked: u64,
}

impl Ideas {
    pub(super) fn new(rights: Rights) -> Self {
        Self {
            rights,
            mine: Vec::new(),
            passing: Vec::new(),
            seen: VecDeque::new(),
            roots: VecDeque::new(),
            threads: VecDeque::new(),
            pinned: Vec::new(),
            done: HashSet::new(),
            asked: 0,
        }
    }

    /// A message was seen.
    pub(super) fn saw(&mut self, conversation: &str, message: &Value) {
        let named = |field: &str| {
            let id = message[field].as_str();
            id.map(|id| (conversation.to_owned(), id.to_owned()))
        };
        let thread = named("thread_root");
        if let Some(message) = named("id") {
            if thread.is_none() {
                remember(&mut self.roots, message.clone());
            }
            remember(&mut self.seen, message);
        }
        if let Some(thread) = thread {
            remember(&mut self.threads, thread);
        }
    }

    /// Something was acknowledged.
    pub(super) fn did(&mut self, ask: Ask, response: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match ask.event {
            "message:send" if !ask.is_ephemeral => {
                let id = text(&response["id"]);
                let messages = match ask.payload["class"].is_null() {
                    true => &mut self.mine,
                    false => &mut self.passing,
                };
                messages.extend(id.map(|id| (ask.conversation, id)));
            }
            // A pin has no key of a client's: an attempt that nobody answered may still be carried
            // out, and is in vain only as long as the message is pinned.
            "message:pin" if !ask.in_doubt => {
                let id = text(&ask.payload["message_id"]);
                self.pinned.extend(id.map(|id| (ask.conversation, id)));
            }
            _ => {}
        }
    }

    /// A thread that goes on in a conversation.
    pub(super) fn thread_in(&mut self, conversation: &str, rng: &mut Rng) -> Option<String> {
        let (place, root) = rng.pick(self.threads.make_contiguous())?;
        (place == conversation).then(|| root.clone())
    }

    /// Something new.
    pub(super) fn next(&mut self, device: &str, conversations: &[String], rng: &mut Rng) -> Ask {
        self.asked += 1;
        let name = format!("{device}-{}", self.asked);
        let choice = rng.below(20);
        let change = match choice {
            0 | 1 => self.edit(&name),
            2 | 3 => self.delete(),
            4 | 5 => self.react(&name, rng),
            6 | 15 | 16 => self.pin(rng),
            7 => self.unpin(),
            _ => None,
        };
        if let Some(change) = change {
            return change;
        }
        let mut payload =
            json!({ "client_id": name, "type": "text", "content": format!("says {name}") });
        let answered = match choice {
            8..=10 => self.in_a_thread(&mut payload, rng),
            11 => self.answers(&mut payload, rng),
            _ => None,
        };
        match choice {
            12 | 13 => payload["class"] = json!("until_delivered"),
            14 => payload["class"] = json!("ephemeral"),
            _ => {}
        }
        let anywhere = || rng.pick(conversations).cloned().unwrap_or_default();
        let conversation = answered.unwrap_or_else(anywhere);
        Ask {
            is_ephemeral: choice == 14,
            ..ask(conversation, name, "message:send", payload)
        }
    }

    fn edit(&mut self, name: &str) -> Option<Ask> {
        let passing = self.passing.pop();
        let (conversation, id) = passing.or_else(|| self.mine.pop())?;
        let payload = json!({ "message_id": id, "content": format!("edited {name}") });
        let key = format!("edit {id}");
        Some(ask(conversation, key, "message:edit", payload))
    }

    fn delete(&mut self) -> Option<Ask> {
        let (conversation, id) = self.mine.pop()?;
        let key = format!("delete {id}");
        let payload = json!({ "message_id": id });
        Some(ask(conversation, key, "message:delete", payload))
    }

    fn react(&mut self, name: &str, rng: &mut Rng) -> Option<Ask> {
        let (conversation, id) = rng.pick(self.seen.make_contiguous()).cloned()?;
        let key = format!("reaction to {id}");
        let payload = json!({ "message_id": id, "emoji": name });
        let is_new = self.done.insert(key.clone());
        is_new.then(|| ask(conversation, key, "message:reaction:add", payload))
    }

    fn pin(&mut self, rng: &mut Rng) -> Option<Ask> {
        let (number, among) = self.rights.pins?;
        let is_mine = |id: &str| id.bytes().map(usize::from).sum::<usize>() % among == number;
        let seen: Vec<Named> = self
            .seen
            .iter()
            .filter(|it| is_mine(&it.1))
            .cloned()
            .collect();
        let (conversation, id) = rng.pick(&seen).cloned()?;
        let key = format!("pin {id}");
        let is_new = self.done.insert(key.clone());
        let payload = json!({ "message_id": id });
        is_new.then(|| ask(conversation, key, "message:pin", payload))
    }

    fn unpin(&mut self) -> Option<Ask> {
        let (conversation, id) = self.pinned.pop()?;
        let key = format!("unpin {id}");
        let payload = json!({ "message_id": id });
        Some(ask(conversation, key, "message:unpin", payload))
    }

    /// Goes on with a thread, or begins one; in which conversation.
    fn in_a_thread(&mut self, payload: &mut Value, rng: &mut Rng) -> Option<String> {
        let old = &mut self.threads;
        let among = match old.is_empty() || rng.below(4) == 0 {
            true => &mut self.roots,
            false => old,
        };
        self.rights.answers.then_some(())?;
        let (conversation, root) = rng.pick(among.make_contiguous()).cloned()?;
        payload["thread_root"] = json!(root);
        Some(conversation)
    }

    fn answers(&mut self, payload: &mut Value, rng: &mut Rng) -> Option<String> {
        self.rights.answers.then_some(())?;
        let (conversation, id) = rng.pick(self.roots.make_contiguous()).cloned()?;
        payload["reply_to"] = json!(id);
        Some(conversation)
    }
}

fn remember(memory: &mut VecDeque<Named>, message: Named) {
    memory.push_back(message);
    if memory.len() > REMEMBERED {
        memory.pop_front();
    }
}

fn ask(conversation: String, key: String, event: &'static str, payload: Value) -> Ask {
    Ask {
        conversation,
        key,
        event,
        payload,
        is_ephemeral: false,
        in_doubt: false,
        not_before: Instant::now(),
    }
}
