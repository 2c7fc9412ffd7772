//! Whatever happens in whatever order, projections come to what a fold of the log says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quikapp_storage::{ConversationId, DeviceId, EntryKind, MessageId, Role, Seq};
use serde_json::Value;

use super::kit::{Kit, eager, person, text};
use crate::{
    clock::ManualClock,
    conversation::{Command, SendMessage},
    delivery::rebuild,
};

const PEOPLE: [&str; 4] = ["ann", "bob", "cem", "dan"];

/// Something that happens in a group of which ann is the owner.
#[derive(Debug, Clone)]
enum Step {
    Say {
        by: usize,
    },
    Answer {
        by: usize,
        mentions: usize,
    },
    Add {
        who: usize,
    },
    Remove {
        who: usize,
    },
    Acknowledge {
        who: usize,
        percent: u64,
    },
    ReadThread {
        who: usize,
        percent: u64,
    },
    /// The projections see what is there before anything else happens.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE.len();
    prop_oneof![
        3 => who.clone().prop_map(|by| Step::Say { by }),
        3 => (who.clone(), who.clone()).prop_map(|(by, mentions)| Step::Answer { by, mentions }),
        1 => (1..PEOPLE.len()).prop_map(|who| Step::Add { who }),
        1 => (1..PEOPLE.len()).prop_map(|who| Step::Remove { who }),
        2 => (who.clone(), 0..=100_u64).prop_map(|(who, percent)| Step::Acknowledge { who, percent }),
        1 => (who, 0..=100_u64).prop_map(|(who, percent)| Step::ReadThread { who, percent }),
        1 => Just(Step::Settle),
    ]
}

struct Run {
    kit: Kit,
    id: ConversationId,
    root: MessageId,
    /// What people have read of the thread themselves.
    read: BTreeMap<&'static str, u64>,
}

impl Run {
    async fn start() -> Self {
        let kit = Kit::new().await;
        let id = kit.group(&["ann", "bob", "cem"]).await;
        // A device counts from its first cursor on, so all are known from the start.
        for name in PEOPLE {
            kit.acknowledge(name, "phone", &id, 0).await;
        }
        let root = kit.send("ann", &id, text("what do you think?")).await.id;
        Self {
            kit,
            id,
            root,
            read: BTreeMap::new(),
        }
    }

    /// Refusals are part of the game: not everybody is a member all the time.
    async fn take(&mut self, step: &Step) {
        let tail = self.kit.log(&self.id).await.len() as u64;
        match *step {
            Step::Say { by } => self.try_send(by, text("hello")).await,
            Step::Answer { by, mentions } => {
                let answer = SendMessage {
                    thread_root: Some(self.root),
                    mentions: vec![person(PEOPLE[mentions]).user],
                    ..text("well")
                };
                self.try_send(by, answer).await;
            }
            Step::Add { who } => {
                let members = vec![(person(PEOPLE[who]).user, Role::Member)];
                let add = Command::AddMembers { members };
                self.kit.submit("ann", &self.id, add).await.unwrap();
            }
            Step::Remove { who } => {
                let user = person(PEOPLE[who]).user;
                let remove = Command::RemoveMember { user };
                self.kit.submit("ann", &self.id, remove).await.unwrap();
            }
            Step::Acknowledge { who, percent } => {
                let seq = tail * percent / 100;
                self.kit
                    .acknowledge(PEOPLE[who], "phone", &self.id, seq)
                    .await;
            }
            Step::ReadThread { who, percent } => {
                self.read_thread(PEOPLE[who], tail * percent / 100).await;
            }
            Step::Settle => self.settle().await,
        }
    }

    async fn try_send(&self, by: usize, send: SendMessage) {
        let command = Command::Send(Box::new(send));
        let _ = self.kit.submit(PEOPLE[by], &self.id, command).await;
    }

    /// Reading is of what is counted, so it waits for that.
    async fn read_thread(&mut self, name: &'static str, seq: u64) {
        self.settle().await;
        let user = person(name).user;
        let read = self
            .kit
            .store
            .read_thread(&self.id, &user, self.root, Seq(seq));
        if let Some(thread) = read.await.unwrap() {
            let mark = self.read.entry(name).or_default();
            *mark = (*mark).max(seq.min(thread.last.0));
        }
    }

    async fn settle(&self) {
        let (kit, id) = (&self.kit, &self.id);
        kit.eventually("everything is seen", async || {
            let tail = Seq(kit.log(id).await.len() as u64);
            let tails = kit.conversations.tails();
            tails.is_seen(&kit.store, id, tail).await.unwrap()
        })
        .await;
    }

    /// The places that a person's phone lacks, by the log, the memberships and the cursors.
    async fn lacking(&self, name: &str) -> Vec<u64> {
        let (store, who) = (&self.kit.store, person(name));
        let phone = DeviceId::new("phone").unwrap();
        let cursor = store.device_cursor(&who, &phone, &self.id).await.unwrap();
        let cursor = cursor.unwrap();
        let intervals = store.membership(&self.id, &who.user).await.unwrap();
        let visible = |seq: u64| {
            intervals
                .iter()
                .any(|it| it.from_seq.0 <= seq && it.to_seq.is_none_or(|to| seq <= to.0))
        };
        let tail = self.kit.log(&self.id).await.len() as u64;
        (cursor.0 + 1..=tail).filter(|seq| visible(*seq)).collect()
    }

    /// What of the thread is unread to those of its followers who are members, by the log and
    /// their memberships.
    async fn unread(&self) -> BTreeMap<String, u64> {
        let mut followers: BTreeMap<String, u64> = BTreeMap::new();
        let mut places = BTreeSet::new();
        for entry in self.kit.log(&self.id).await {
            let payload: Value = serde_json::from_str(&entry.payload).unwrap();
            if entry.kind != EntryKind::Message || payload["thread_root"].is_null() {
                continue;
            }
            let seq = entry.seq.0;
            places.insert(seq);
            let mentioned = payload["mentions"][0].as_str().unwrap();
            for name in ["ann", mentioned] {
                followers.entry(name.to_owned()).or_insert(seq - 1);
            }
            followers.insert(entry.sender.to_string(), seq);
        }
        for (name, read) in &self.read {
            // Reading does not make a follower.
            if let Some(mark) = followers.get_mut(*name) {
                *mark = (*mark).max(*read);
            }
        }
        let mut unread = BTreeMap::new();
        for (name, mark) in followers {
            let user = person(&name).user;
            let intervals = self.kit.store.membership(&self.id, &user).await.unwrap();
            if let Some(open) = intervals.iter().find(|it| it.to_seq.is_none()) {
                let first = open.from_seq.0.max(mark + 1);
                unread.insert(name, places.range(first..).count() as u64);
            }
        }
        unread
    }

    async fn check(&self) {
        for name in PEOPLE {
            let queue = self.kit.store.queue(&person(name), 100).await.unwrap();
            let part = queue
                .conversations
                .iter()
                .find(|it| it.conversation == self.id);
            let queued = part.map(|it| (it.first.0, it.last.0, it.count));
            let lacking = self.lacking(name).await;
            let expected = lacking.first().zip(lacking.last());
            let expected = expected.map(|(first, last)| (*first, *last, lacking.len() as u64));
            assert_eq!(queued, expected, "queue of {name}");
        }
        let mut unread = BTreeMap::new();
        for name in PEOPLE {
            let user = person(name).user;
            let threads = self
                .kit
                .store
                .threads(&self.id, &user, None, 9)
                .await
                .unwrap();
            unread.extend(threads.first().map(|it| (name.to_owned(), it.unread)));
        }
        assert_eq!(unread, self.unread().await, "threads");
    }
}

async fn play(steps: Vec<Step>) {
    let mut run = Run::start().await;
    for step in &steps {
        run.take(step).await;
    }
    run.settle().await;
    // Acknowledgements after the last look of the projection are dealt with a moment later.
    for name in PEOPLE {
        let acknowledged = vec![(person(name), None)];
        run.kit.store.trim_queue(acknowledged).await.unwrap();
    }
    run.check().await;
    let clock = ManualClock::at(super::kit::START);
    rebuild(&run.kit.store, &clock, &eager(), None)
        .await
        .unwrap();
    run.settle().await;
    run.check().await;
    run.kit.stop().await;
}

/// What is said in a thread while somebody is away is not unread to them when they come back.
#[tokio::test]
async fn who_comes_back_has_unread_what_is_said_then() {
    let (who, by, mentions) = (1, 0, 1);
    let answer = Step::Answer { by, mentions };
    let mut steps = Vec::new();
    for _ in 0..2 {
        let away = [Step::Remove { who }, answer.clone(), answer.clone()];
        let back = [Step::Add { who }, answer.clone(), Step::Settle];
        steps.extend([away, back].concat());
    }
    play(steps).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn projections_are_a_fold_of_the_log(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(play(steps));
    }
}
