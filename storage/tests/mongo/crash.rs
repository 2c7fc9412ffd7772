//! A process that dies between two writes leaves nothing wrong: what was inserted is in the log
//! with all that follows from it, what was not is not, and the retry under the same key learns
//! which.

use quikapp_storage::{
    AppendError, ConversationStore, EntryEffect, EntryKind, LogStore, Pause, Role, Seq, Step,
    Testing,
};

use crate::support::{Place, Sequencer, ana, entry, group, message, user, with_database};

/// A process whose appends stop behind a step, and which sequences a group of ana and bob.
async fn stops_behind(step: Step, place: &Place) -> (Pause, Sequencer) {
    let pause = Pause::behind(step);
    let testing = Testing {
        pause: Some(pause.clone()),
        ..Testing::default()
    };
    let log = place.open_with(testing).await;
    let id = group(&log).await;
    (pause, Sequencer::take(&log, &id).await)
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
        let append = tokio::spawn(async move { sequencer.append(batch).await });
        pause.reached().await;
        append.abort();
        assert!(append.await.unwrap_err().is_cancelled());

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
        let keys: Vec<_> = again.iter().map(|entry| entry.key).collect();
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
        let (key, message) = (said.key, said.id);
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
