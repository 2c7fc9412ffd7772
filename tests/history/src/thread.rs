//! Threads, as the log has them: who follows which, and where they stand at least.

use std::collections::{BTreeMap, HashSet};

use crate::{Line, Rule, Verdict, checker::tag};

/// The threads of a conversation, by the tag of the id of the message that each hangs on.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    of: BTreeMap<u64, Thread>,
    told: HashSet<u64>,
}

#[derive(Debug, Default)]
struct Thread {
    /// Places of its messages.
    places: Vec<u64>,
    /// Who follows it, and up to where they have read it without saying so.
    followers: BTreeMap<String, u64>,
}

/// Where a person is told to stand.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) user: String,
    pub(crate) root: String,
    pub(crate) read: u64,
    pub(crate) unread: u64,
    pub(crate) last: u64,
}

impl Threads {
    /// A message in a thread. Who sends it follows the thread and has read up to it; who began the
    /// thread follows it too.
    pub(crate) fn message(&mut self, root: u64, author: Option<&str>, sender: &str, seq: u64) {
        let thread = self.of.entry(root).or_default();
        thread.places.push(seq);
        for user in author.into_iter().chain([sender]) {
            thread.followers.entry(user.to_owned()).or_insert(seq - 1);
        }
        if let Some(read) = thread.followers.get_mut(sender) {
            *read = seq;
        }
    }

    /// Where a person is told to stand, whose membership began at `from`, if they are a member.
    pub(crate) fn told(
        &mut self,
        line: Line,
        told: &Stand,
        from: Option<u64>,
        verdict: &mut Verdict,
    ) {
        let (user, root, read) = (&told.user, &told.root, told.read);
        let mut differs = |what: String| {
            let detail = format!("{user} in the thread of {root}: {what}");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        };
        let Some(thread) = self.of.get(&tag(&root)) else {
            return differs("the log has no such thread".to_owned());
        };
        let Some(from) = from else {
            return differs("is told of it without being a member".to_owned());
        };
        self.told.insert(tag(&(user.as_str(), tag(&root))));
        let first = thread.places.partition_point(|seq| *seq <= read);
        let unread = (thread.places.len() - first) as u64;
        let last = thread.places.last().copied().unwrap_or_default();
        if told.unread != unread {
            let is = told.unread;
            differs(format!("{is} unread behind {read}, not {unread}"));
        }
        if told.last != last {
            let is = told.last;
            differs(format!("the last is {is}, not {last}"));
        }
        // What was said before they came is nothing to them.
        let least = thread.followers.get(user).copied().unwrap_or_default();
        let least = least.max(from.saturating_sub(1));
        if read < least {
            differs(format!("read up to {read}, not {least}"));
        }
    }

    /// Everything was told of a member.
    pub(crate) fn end(&self, line: Line, user: &str, verdict: &mut Verdict) {
        let followed = self.of.iter();
        let followed = followed.filter(|(_, thread)| thread.followers.contains_key(user));
        let untold = followed.filter(|(root, _)| !self.told.contains(&tag(&(user, **root))));
        for (_, thread) in untold {
            let first = thread.places.first().copied().unwrap_or_default();
            let detail = format!("{user} follows the thread that begins at {first} no longer");
            verdict.broke(Rule::ProjectionsFollow, &[line], detail);
        }
    }
}
