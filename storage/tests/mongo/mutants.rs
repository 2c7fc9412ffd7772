//! The checker catches an adapter that leaves out a step, and finds nothing in the same run of the
//! one that does not.

use quikapp_history::{Checker, Event, Kind, Rule};
use quikapp_storage::{
    AppendError, ConversationId, LogStore, MongoLog, Mutant, Pause, Seq, Step, StoreError, Testing,
};

use crate::support::{Place, Sequencer, group, message, with_database};

/// A history of one conversation.
struct History {
    events: Vec<Event>,
    conversation: String,
}

impl History {
    fn of(id: &ConversationId) -> Self {
        let conversation = id.to_string();
        let first = Event::Conversation {
            conversation: conversation.clone(),
            members: vec!["ana".to_owned(), "bob".to_owned()],
        };
        Self {
            events: vec![first],
            conversation,
        }
    }

    fn invoke(&mut self, op: u64, key: impl std::fmt::Debug) {
        self.events.push(Event::Invoke {
            at: op,
            op,
            user: "ana".to_owned(),
            conversation: self.conversation.clone(),
            key: format!("{key:?}"),
        });
    }

    fn answered(&mut self, op: u64, outcome: &Result<quikapp_storage::Appended, AppendError>) {
        self.events.push(match outcome {
            Ok(appended) => Event::Ok {
                at: op,
                op,
                seq: Some(appended.tail.0),
                id: None,
            },
            Err(AppendError::Store(StoreError::Unknown(_))) => Event::Unknown { at: op, op },
            Err(error) => Event::Fail {
                at: op,
                op,
                reason: error.to_string(),
            },
        });
    }

    /// Reads the log as the next owner finds it; the rules that were broken.
    async fn judge(mut self, log: &MongoLog, id: &ConversationId) -> Vec<Rule> {
        let conversation = self.conversation.clone();
        for entry in log.entries(id, Seq(0), usize::MAX).await.unwrap() {
            self.events.push(Event::Log {
                conversation: conversation.clone(),
                seq: entry.seq.0,
                kind: Kind::Message,
                id: entry.id.to_string(),
                sender: entry.sender.to_string(),
                key: Some(format!("{:?}", entry.key)),
                n: entry.n,
                thread: None,
                about: None,
                content: None,
                emoji: None,
                users: Vec::new(),
            });
        }
        let tail = log.tails(std::slice::from_ref(id)).await.unwrap()[0].1;
        self.events.push(Event::LogEnd {
            conversation,
            tail: tail.0,
        });
        let mut checker = Checker::default();
        for (line, event) in (1..).zip(self.events) {
            checker.event(line, event).unwrap();
        }
        let verdict = checker.finish().unwrap();
        println!("{verdict}");
        let broken = verdict.violations.iter();
        broken.map(|violation| violation.rule).collect()
    }
}

fn testing(mutant: Option<Mutant>) -> (Testing, Pause) {
    let pause = Pause::behind(Step::Checked);
    let testing = Testing {
        mutant,
        pause: Some(pause.clone()),
    };
    (testing, pause)
}

/// A successor takes the conversation between the checks and the insert.
async fn taken_over_meanwhile(place: &Place, mutant: Option<Mutant>) -> Vec<Rule> {
    let (testing, pause) = testing(mutant);
    let slow = place.open_with(testing).await;
    let other = place.open().await;
    let id = group(&other).await;
    let mut history = History::of(&id);
    let mut old = Sequencer::take(&slow, &id).await;
    let late = message("late");
    history.invoke(1, late.keys.key);
    let append = tokio::spawn(async move { old.append(vec![late]).await });
    pause.reached().await;
    Sequencer::take(&other, &id).await;
    pause.go_on();
    history.answered(1, &append.await.unwrap());
    history.judge(&other, &id).await
}

/// The process dies between the checks and the insert, and its successor goes on.
async fn dies_meanwhile(place: &Place, mutant: Option<Mutant>) -> Vec<Rule> {
    let (testing, pause) = testing(mutant);
    let dying = place.open_with(testing).await;
    let other = place.open().await;
    let id = group(&other).await;
    let mut history = History::of(&id);
    let mut old = Sequencer::take(&dying, &id).await;
    let lost = message("lost");
    history.invoke(1, lost.keys.key);
    let append = tokio::spawn(async move { old.append(vec![lost]).await });
    pause.reached().await;
    append.abort();
    history.events.push(Event::Unknown { at: 2, op: 1 });
    let mut new = Sequencer::take(&other, &id).await;
    let next = message("next");
    history.invoke(2, next.keys.key);
    history.answered(2, &new.append(vec![next]).await);
    history.judge(&other, &id).await
}

#[tokio::test]
async fn an_entry_that_is_acknowledged_without_confirming_it_is_lost() {
    with_database(|place| async move {
        assert_eq!(taken_over_meanwhile(&place, None).await, []);
        let broken = taken_over_meanwhile(&place, Some(Mutant::SkipConfirm)).await;
        assert!(broken.contains(&Rule::AcknowledgedIsKept), "{broken:?}");
    })
    .await;
}

#[tokio::test]
async fn counting_before_inserting_leaves_a_hole() {
    with_database(|place| async move {
        assert_eq!(dies_meanwhile(&place, None).await, []);
        let broken = dies_meanwhile(&place, Some(Mutant::CountThenInsert)).await;
        assert!(broken.contains(&Rule::LogIsDense), "{broken:?}");
    })
    .await;
}
