//! Of a person who is erased nothing stays but places, ids and keys.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use quikapp_storage::{
    ConversationId, Entry, EntryKind, MessageId, MessageSearch, ProfileChange, RegisterChange,
    RegisterWrite, Registers, Role, Seq, StoreError, Timestamp,
};
use serde_json::Value;

use super::kit::{Kit, START, eager, of_class, person, text};
use crate::{
    conversation::{Command, MessageClass, SendMessage},
    delivery::{
        erasure::{Erasure, StepError},
        handle::Shared,
    },
};

/// Stands in everything that the erased person writes.
const MARK: &str = "xyzzy";

async fn react(kit: &Kit, by: &str, id: &ConversationId, message: MessageId, emoji: &str) {
    let command = Command::React {
        message,
        emoji: emoji.into(),
        add: true,
    };
    kit.submit(by, id, command).await.unwrap();
}

/// What somebody leaves behind in a group with bob: everything that one can.
struct Traces {
    id: ConversationId,
    theirs: MessageId,
    bobs: MessageId,
}

async fn leave_traces(kit: &Kit, name: &str) -> Traces {
    let id = kit.group(&[name, "bob"]).await;
    let marked = SendMessage {
        client_id: Some(format!("{MARK}-{name}")),
        ..text(&format!("{MARK} one"))
    };
    let theirs = kit.send(name, &id, marked).await.id;
    let edit = Command::Edit {
        message: theirs,
        content: format!("{MARK} two"),
    };
    kit.submit(name, &id, edit).await.unwrap();
    react(kit, "bob", &id, theirs, "+1").await;
    let bobs = kit.send("bob", &id, text("mine")).await.id;
    react(kit, name, &id, bobs, MARK).await;
    react(kit, "bob", &id, bobs, "+1").await;
    let until = of_class(MessageClass::UntilDelivered, &format!("{MARK} three"));
    kit.send(name, &id, until).await;
    let gone = SendMessage {
        client_id: Some(format!("{MARK}-{name}-gone")),
        ..text("gone before")
    };
    let gone = kit.send(name, &id, gone).await.id;
    let delete = Command::Delete { message: gone };
    kit.submit(name, &id, delete).await.unwrap();
    kit.acknowledge(name, "phone", &id, 1).await;
    let draft = format!(r#"{{"text":"{MARK}"}}"#);
    let write = RegisterWrite {
        conversation: id.clone(),
        user: person(name).user,
        change: RegisterChange::Draft(Some(draft.into())),
    };
    kit.store.write_registers(vec![write]).await.unwrap();
    let later = Timestamp(START.0 + 86_400_000);
    let scheduled = kit
        .delivery
        .schedule(&person(name), &id, text(MARK), later)
        .await;
    scheduled.unwrap();
    let profile = ProfileChange {
        name: Some(MARK.to_owned()),
        ..ProfileChange::default()
    };
    kit.store.put_profile(&person(name), profile).await.unwrap();
    let synced = format!(r#"{{"name":"{MARK}"}}"#).into();
    let who = person(name);
    let told = kit.conversations.notify(&who, "profile:sync", synced);
    told.await.unwrap();
    Traces { id, theirs, bobs }
}

/// What of entries may not change.
fn bones(log: &[Entry]) -> Vec<(Seq, String, [u8; 16], EntryKind, String)> {
    let bone = |it: &Entry| {
        let (id, sender) = (it.id.to_string(), it.sender.to_string());
        (it.seq, id, it.key.0, it.kind, sender)
    };
    log.iter().map(bone).collect()
}

async fn expect_erased(kit: &Kit, name: &str, traces: &Traces, before: &[Entry]) {
    let (id, who) = (&traces.id, person(name));
    let log = kit.log(id).await;
    assert_eq!(bones(&log)[..before.len()], bones(before));
    assert!(
        log.iter()
            .zip(1..)
            .all(|(entry, seq)| entry.seq == Seq(seq))
    );
    let own = kit.log(&who.own_conversation()).await;
    for entry in log.iter().chain(&own) {
        assert!(!entry.payload.contains(MARK), "{entry:?}");
    }
    let in_memory = [(id, &log), (&who.own_conversation(), &own)];
    for (id, log) in in_memory {
        let recent = kit.conversations.tails().recent();
        let after = |seq| recent.after(id, Seq(seq), log.len()).unwrap_or_default();
        let mut kept = (0..log.len() as u64).flat_map(after);
        assert!(kept.all(|entry| !entry.payload.contains(MARK)));
    }
    // Whoever deleted a message before has nothing to do with this.
    let behind = log[before.len()..].iter();
    for entry in behind.filter(|it| it.kind == EntryKind::Delete) {
        let told: Value = serde_json::from_str(&entry.payload).unwrap();
        assert_eq!(
            (&told["deleted_by"], &told["reason"]),
            (&Value::Null, &"erased".into())
        );
    }
    let ids = [traces.theirs, traces.bobs];
    let views = kit.store.messages(id, &ids).await.unwrap();
    let view = |id| views.iter().find(|view| view.id == id).unwrap();
    let body = |id| serde_json::from_str::<Value>(&view(id).body).unwrap();
    assert!(view(traces.theirs).deleted && view(traces.theirs).text.is_empty());
    assert_eq!(body(traces.theirs)["deleted_reason"], "erased");
    assert_eq!(body(traces.theirs)["client_id"], Value::Null);
    assert_eq!(body(traces.bobs)["content"], "mine");
    assert_eq!(
        body(traces.bobs)["reactions"],
        serde_json::json!({"+1": ["bob"]})
    );
    let membership = kit.store.membership(id, &who.user).await.unwrap();
    assert!(membership.iter().all(|interval| interval.to_seq.is_some()));
    let search = MessageSearch {
        visible: kit.store.membership(id, &person("bob").user).await.unwrap(),
        hidden_for: person("bob").user,
        query: MARK.to_owned(),
        before: None,
        limit: 9,
        scan: 99,
    };
    assert!(kit.store.search(id, &search).await.unwrap().0.is_empty());
    let registers = kit.store.registers(id, &who.user).await.unwrap();
    assert_eq!(registers, Registers::default());
    let users = std::slice::from_ref(&who.user);
    let profiles = kit.store.profiles(&who.workspace, users).await.unwrap();
    assert!(profiles.is_empty());
    assert!(kit.delivery.scheduled(&who, id).await.unwrap().is_empty());
    assert_eq!(kit.queued(name, id).await, 0);
}

async fn erased(kit: &Kit, name: &str) {
    kit.eventually("the erasure ends", async || {
        kit.clock.advance_ms(1_000);
        !kit.delivery.is_being_erased(&person(name)).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn nothing_stays_of_a_person_but_places_ids_and_keys() {
    let kit = Kit::new().await;
    let traces = leave_traces(&kit, "ann").await;
    let before = kit.log(&traces.id).await;
    kit.delivery.erase(&person("ann")).await.unwrap();
    erased(&kit, "ann").await;
    expect_erased(&kit, "ann", &traces, &before).await;
    let log = kit.log(&traces.id).await;
    let payload = |entry: &Entry| serde_json::from_str::<Value>(&entry.payload).unwrap();
    let after = log[before.len()..].iter();
    let told: Vec<_> = after
        .map(|it| (it.kind, payload(it)["reason"].clone()))
        .collect();
    assert_eq!(told[0], (EntryKind::MemberLeft, "erased".into()));
    let deleted = |it: &&(EntryKind, Value)| it.0 == EntryKind::Delete;
    assert!(told.iter().filter(deleted).all(|it| it.1 == "erased"));
    // The two that were there, and the two of which devices or the log still had something.
    assert_eq!(told.iter().filter(deleted).count(), 3);
    // Bob is the owner now, and goes on.
    let members = kit.store.members(&traces.id, None, 9).await.unwrap();
    assert_eq!((members.len(), members[0].role), (1, Role::Owner));
    kit.send("bob", &traces.id, text("where is she?")).await;
    kit.stop().await;
}

#[tokio::test]
async fn a_second_time_changes_nothing() {
    let kit = Kit::new().await;
    let traces = leave_traces(&kit, "ann").await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        kit.delivery.erase(&person("ann")).await.unwrap();
        erased(&kit, "ann").await;
        let own = kit.log(&person("ann").own_conversation()).await;
        let bobs = kit.log(&person("bob").own_conversation()).await;
        seen.push((kit.log(&traces.id).await, own, bobs));
    }
    assert_eq!(seen[0], seen[1]);
    kit.stop().await;
}

/// The process dies after any number of polls, and the next one begins anew.
#[tokio::test]
async fn a_crash_anywhere_is_made_up_for() {
    let kit = Kit::new().await;
    let (mut polls, mut ended) = (0, false);
    while !ended {
        let name = format!("ann{polls}");
        let traces = leave_traces(&kit, &name).await;
        let before = kit.log(&traces.id).await;
        let mut cut = Erasure::of(person(&name));
        ended = crash_after(&kit, &mut cut, polls).await;
        let mut whole = Erasure::of(person(&name));
        finish(kit.delivery.shared(), &mut whole).await;
        expect_erased(&kit, &name, &traces, &before).await;
        polls += 3;
    }
    assert!(polls > 30, "there was something to interrupt: {polls}");
    kit.stop().await;
}

/// Does every step, again while the cleaning of one that was cut off is still under way.
async fn finish(shared: &Shared, erasure: &mut Erasure) {
    loop {
        match erasure.step(shared).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(StepError::Store(StoreError::Overloaded)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Whether the erasure came to its end before.
async fn crash_after(kit: &Kit, erasure: &mut Erasure, polls: usize) -> bool {
    let mut left = polls;
    let shared = Arc::clone(kit.delivery.shared());
    let mut run = pin!(finish(&shared, erasure));
    poll_fn(move |context| match run.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if left == 0 => Poll::Ready(false),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn an_erasure_survives_the_process() {
    let kit = Kit::new().await;
    let traces = leave_traces(&kit, "ann").await;
    let before = kit.log(&traces.id).await;
    kit.delivery.erase(&person("ann")).await.unwrap();
    kit.stop().await;
    let next = kit.next(eager()).await;
    assert!(next.delivery.is_being_erased(&person("ann")).await.unwrap());
    erased(&next, "ann").await;
    expect_erased(&next, "ann", &traces, &before).await;
    next.stop().await;
}
