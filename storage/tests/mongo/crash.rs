//! A process that dies between two writes leaves nothing wrong: what was inserted is in the log
//! with all that follows from it, what was not is not, and the retry under the same key learns
//! which.

use std::sync::Arc;

use mongodb::bson::doc;
use quikapp_storage::{
    AppendError, ConversationId, ConversationKind, ConversationStore, Created, EntryEffect,
    EntryKind, LogStore, LogUpkeep, MongoLog, NewConversation, Pause, Role, Seq, Step, Testing,
    Timestamp,
};

use crate::support::{Place, Sequencer, ana, entry, group, message, user, view_of, with_database};

/// A process that stops behind a step.
async fn process(step: Step, place: &Place) -> (Pause, Arc<MongoLog>) {
    let pause = Pause::behind(step);
    let testing = Testing {
        pause: Some(pause.clone()),
        ..Testing::default()
    };
    (pause, place.open_with(testing).await)
}

/// A process whose appends stop behind a step, and which sequences a group of ana and bob.
async fn stops_behind(step: Step, place: &Place) -> (Pause, Sequencer) {
    let (pause, log) = process(step, place).await;
    let id = group(&log).await;
    (pause, Sequencer::take(&log, &id).await)
}

/// Does something that does not come to its end.
async fn cut_off<T: Send + 'static>(pause: &Pause, work: impl Future<Output = T> + Send + 'static) {
    let work = tokio::spawn(work);
    pause.reached().await;
    work.abort();
    assert!(work.await.err().unwrap().is_cancelled());
}

/// Somebody joins, gets a name changed, and says something; the process dies behind a step.
async fn dies_behind(step: Step) {
    with_database(move |place| async move {
        let (pause, mut sequencer) = stops_behind(step, &place).await;
        let id = sequencer.id.clone();
        let join = EntryEffect::OpenMember {
            user: user("eve"),
            role: Role::Admin,
        };
        let leave = EntryEffect::CloseMember { user: user("bob") };
        let name = EntryEffect::SetName(Some("new".to_owned()));
        let batch = vec![
            entry(EntryKind::MemberJoined, vec![join]),
            entry(EntryKind::MemberLeft, vec![leave, name]),
            message("hello"),
        ];
        let again = batch.clone();
        cut_off(&pause, async move { sequencer.append(batch).await }).await;

        let other = place.open().await;
        let mut next = Sequencer::take(&other, &id).await;
        let is_kept = step != Step::Checked;
        let kept = if is_kept { 3 } else { 0 };
        assert_eq!(next.keys().await.len(), kept, "{step:?}");
        let retried = next.append(again.clone()).await;
        match retried {
            Err(AppendError::DuplicateKey { index: 0 }) => assert!(is_kept, "{step:?}"),
            Ok(appended) => assert!(!is_kept && appended.tail == Seq(3), "{step:?}"),
            other => panic!("{step:?}: {other:?}"),
        }
        let keys: Vec<_> = again.iter().map(|entry| entry.keys.key).collect();
        assert_eq!(next.keys().await, keys, "{step:?}: once each");
        let members = other.members(&id, None, 9).await.unwrap();
        let members: Vec<_> = members
            .iter()
            .map(|member| (member.user.as_str(), member.from_seq.0, member.role))
            .collect();
        assert_eq!(members, [("ana", 1, Role::Owner), ("eve", 1, Role::Admin)]);
        let bob = other.membership(&id, &user("bob")).await.unwrap();
        assert_eq!(bob[0].to_seq, Some(Seq(2)));
        let conversation = other.conversation(&id).await.unwrap().unwrap();
        assert_eq!(conversation.name.as_deref(), Some("new"));
        assert_eq!((conversation.tail, conversation.n), (Seq(3), 1));
        let views = other.messages(&id, &[again[2].id]).await.unwrap();
        assert_eq!(views[0].text, "hello");
    })
    .await;
}

#[tokio::test]
async fn before_anything_is_written() {
    dies_behind(Step::Checked).await;
}

#[tokio::test]
async fn between_the_entries_and_what_follows_from_them() {
    dies_behind(Step::Inserted).await;
}

#[tokio::test]
async fn before_the_entries_are_confirmed() {
    dies_behind(Step::Applied).await;
}

#[tokio::test]
async fn before_the_entries_are_in_the_stream() {
    dies_behind(Step::Confirmed).await;
}

/// Whoever follows a conversation from its tail on reads up to there by a cursor over all: an entry
/// that is at the tail and in no stream yet would be shown to them by neither.
#[tokio::test]
async fn a_reader_completes_the_stream_up_to_the_tails() {
    with_database(|place| async move {
        let (pause, mut sequencer) = stops_behind(Step::Confirmed, &place).await;
        let id = sequencer.id.clone();
        let append = tokio::spawn(async move { sequencer.append(vec![message("hello")]).await });
        pause.reached().await;
        append.abort();

        let reader = place.open().await;
        let ids = [id.clone()];
        assert_eq!(reader.tails(&ids).await, Ok(vec![(id.clone(), Seq(1))]));
        let start = reader.cursor_now().await.unwrap();
        let missed = async || {
            let missed = reader.missed(&ana(), &start, 9).await.unwrap();
            let seqs = missed.entries.iter().map(|(_, entry)| entry.seq.0);
            seqs.collect::<Vec<_>>()
        };
        assert_eq!(missed().await, [0; 0]);
        reader.complete_stream(&ids).await.unwrap();
        assert_eq!(missed().await, [1]);
        // Once, whoever comes there next.
        reader.complete_stream(&ids).await.unwrap();
        Sequencer::take(&reader, &id).await;
        assert_eq!(missed().await, [1]);
    })
    .await;
}

/// What is not confirmed is shown to nobody.
#[tokio::test]
async fn readers_stop_at_the_confirmed_tail() {
    with_database(|place| async move {
        let (pause, mut sequencer) = stops_behind(Step::Applied, &place).await;
        let (slow, id) = (sequencer.log.clone(), sequencer.id.clone());
        let said = message("not yet");
        let (key, message) = (said.keys.key, said.id);
        let reader = sequencer.clone();
        let append = tokio::spawn(async move { sequencer.append(vec![said]).await });
        pause.reached().await;
        assert_eq!(reader.keys().await, []);
        assert_eq!(slow.by_keys(&id, &[key]).await, Ok(Vec::new()));
        assert_eq!(slow.messages(&id, &[message]).await, Ok(Vec::new()));
        let visible = slow.membership(&id, &user("ana")).await.unwrap();
        let page = slow
            .history(
                &id,
                &visible,
                &user("ana"),
                None,
                quikapp_storage::Page::Latest,
                9,
            )
            .await;
        assert_eq!(page, Ok(Vec::new()));
        pause.go_on();
        append.await.unwrap().unwrap();
        assert_eq!(reader.keys().await, [key]);
    })
    .await;
}

/// The server died while a batch was inserted: what was inserted of it stands, with what follows,
/// and the rest is written by the retry of its own sender.
#[tokio::test]
async fn of_a_batch_that_was_half_inserted_the_beginning_stands() {
    for kept in 1..=2_usize {
        with_database(move |place| async move {
            let (pause, mut sequencer) = stops_behind(Step::Inserted, &place).await;
            let id = sequencer.id.clone();
            let join = EntryEffect::OpenMember {
                user: user("eve"),
                role: Role::Admin,
            };
            let leave = EntryEffect::CloseMember { user: user("bob") };
            let batch = vec![
                entry(EntryKind::MemberJoined, vec![join]),
                message("hello"),
                entry(EntryKind::MemberLeft, vec![leave]),
            ];
            let again = batch.clone();
            cut_off(&pause, async move { sequencer.append(batch).await }).await;
            let lost = doc! { "conv": id.as_str(), "seq": { "$gt": kept as i64 } };
            let entries = place.collection("entries").await;
            entries.delete_many(lost).await.unwrap();

            let other = place.open().await;
            let mut next = Sequencer::take(&other, &id).await;
            let keys: Vec<_> = again.iter().map(|entry| entry.keys.key).collect();
            assert_eq!(next.keys().await, keys[..kept]);
            let retried = next.append(again.clone()).await;
            // The sequencer looks up what stands.
            let is_known = matches!(retried, Err(AppendError::DuplicateKey { index: 0 }));
            assert!(is_known, "{retried:?}");
            let rest = next.append(again[kept..].to_vec()).await.unwrap();
            assert_eq!((rest.tail, rest.n), (Seq(3), 1));
            assert_eq!(next.keys().await, keys);
            let members = other.members(&id, None, 9).await.unwrap();
            let members: Vec<_> = members.iter().map(|it| it.user.as_str()).collect();
            assert_eq!(members, ["ana", "eve"]);
            let views = other.messages(&id, &[again[1].id]).await.unwrap();
            assert_eq!(views[0].text, "hello");
        })
        .await;
    }
}

/// A message is deleted, and the process dies: it is in the log whole, or not at all.
async fn dies_while_it_deletes(step: Step) {
    with_database(move |place| async move {
        let (pause, log) = process(step, &place).await;
        let other = place.open().await;
        let id = group(&other).await;
        let mut writer = Sequencer::take(&other, &id).await;
        let mut said = message("secret");
        said.payload = r#"{"content":"secret"}"#.into();
        writer.append(vec![said.clone()]).await.unwrap();
        let gone = view_of(&said, "", Seq(1));
        let redact = EntryEffect::Redact {
            seq: Seq(1),
            payload: "{}".into(),
        };
        let effects = vec![redact, EntryEffect::PutMessage(gone)];
        let delete = entry(EntryKind::Delete, effects);
        let again = delete.clone();
        let mut dying = Sequencer::take(&log, &id).await;
        cut_off(&pause, async move { dying.append(vec![delete]).await }).await;

        let mut next = Sequencer::take(&other, &id).await;
        if step == Step::Checked {
            assert_eq!(
                other.messages(&id, &[said.id]).await.unwrap()[0].text,
                "secret"
            );
            next.append(vec![again.clone()]).await.unwrap();
        }
        assert_eq!(
            next.keys().await,
            [said.keys.key, again.keys.key],
            "{step:?}"
        );
        let views = other.messages(&id, &[said.id]).await.unwrap();
        assert_eq!((views[0].text.as_str(), views[0].applied_seq), ("", Seq(2)));
        let log = other.entries(&id, Seq(0), 9).await.unwrap();
        assert_eq!((&*log[0].payload, log[0].id), ("{}", said.id), "{step:?}");
    })
    .await;
}

#[tokio::test]
async fn a_deletion_is_whole_or_not_there() {
    for step in [
        Step::Checked,
        Step::Inserted,
        Step::Applied,
        Step::Confirmed,
    ] {
        dies_while_it_deletes(step).await;
    }
}

/// Who is erased has entries redacted one by one: doing it again does the rest.
#[tokio::test]
async fn a_redaction_that_was_cut_off_is_done_again() {
    with_database(|place| async move {
        let (pause, dying) = process(Step::Redacted, &place).await;
        let other = place.open().await;
        let id = group(&other).await;
        let mut writer = Sequencer::take(&other, &id).await;
        let batch: Vec<_> = (0..3)
            .map(|nth| message(&format!("secret {nth}")))
            .collect();
        let keys: Vec<_> = batch.iter().map(|entry| entry.keys.key).collect();
        writer.append(batch).await.unwrap();
        let payloads = || (1..=3).map(|seq| (Seq(seq), "\"gone\"".into())).collect();
        let redaction = {
            let (id, payloads) = (id.clone(), payloads());
            async move { dying.redact(&id, payloads).await }
        };
        cut_off(&pause, redaction).await;
        let gone = async || {
            let log = other.entries(&id, Seq(0), 9).await.unwrap();
            log.iter().filter(|it| &*it.payload == "\"gone\"").count()
        };
        assert_eq!(gone().await, 1);
        other.redact(&id, payloads()).await.unwrap();
        assert_eq!(gone().await, 3);
        assert_eq!(writer.keys().await, keys, "places and keys stay");
    })
    .await;
}

fn new(kind: ConversationKind) -> NewConversation {
    NewConversation {
        id: ConversationId::generate(),
        workspace: ana().workspace,
        kind,
        name: None,
        created_by: user("ana"),
        created_at: Timestamp(0),
        members: vec![(user("ana"), Role::Owner), (user("bob"), Role::Member)],
    }
}

async fn expect_complete(log: &MongoLog, id: &ConversationId) {
    let members = log.members(id, None, 9).await.unwrap();
    let members: Vec<_> = members
        .iter()
        .map(|it| (it.user.as_str(), it.from_seq, it.role))
        .collect();
    let expected = [("ana", Seq(1), Role::Owner), ("bob", Seq(1), Role::Member)];
    assert_eq!(members, expected);
}

/// Whoever asks for the pair next gets one conversation with both in it, and never two.
#[tokio::test]
async fn a_pair_that_was_cut_off_is_made_by_the_next() {
    for step in [Step::Held, Step::Made] {
        with_database(move |place| async move {
            let (pause, dying) = process(step, &place).await;
            let other = place.open().await;
            let first = new(ConversationKind::Direct);
            let id = first.id.clone();
            cut_off(
                &pause,
                async move { dying.create_conversation(first).await },
            )
            .await;

            let (workspace, ana, bob) = (ana().workspace, user("ana"), user("bob"));
            let direct = async || other.direct(&workspace, &bob, &ana).await.unwrap();
            let is_made = step == Step::Made;
            assert_eq!(direct().await, is_made.then(|| id.clone()), "{step:?}");
            let created = other.create_conversation(new(ConversationKind::Direct));
            let (was_new, made) = match created.await.unwrap() {
                Created::New(made) => (true, made),
                Created::Existing(made) => (false, made),
            };
            assert_eq!((was_new, made.id), (!is_made, id.clone()), "{step:?}");
            expect_complete(&other, &id).await;
            assert_eq!(direct().await, Some(id));
        })
        .await;
    }
}

/// Whoever takes it, or asks for it again, finds everybody in it.
#[tokio::test]
async fn a_group_that_was_cut_off_is_complete_once_it_is_taken() {
    for is_taken in [true, false] {
        with_database(move |place| async move {
            let (pause, dying) = process(Step::Made, &place).await;
            let other = place.open().await;
            let group = new(ConversationKind::Group);
            let id = group.id.clone();
            let again = group.clone();
            cut_off(
                &pause,
                async move { dying.create_conversation(group).await },
            )
            .await;
            if is_taken {
                Sequencer::take(&other, &id).await;
            } else {
                let created = other.create_conversation(again).await.unwrap();
                assert!(matches!(created, Created::Existing(_)), "{created:?}");
            }
            expect_complete(&other, &id).await;
        })
        .await;
    }
}
