//! What people are told in their own conversations follows from the log: nothing is lost with a
//! process, and nothing is told twice.

use quikapp_storage::{
    Append, Claim, Consumer, ConversationId, EntryEffect, EntryId, EntryKind, Key16, NewEntry,
    OwnerId, Role, Seq,
};
use serde_json::json;

use super::kit::{Kit, START, eager, person, text};
use crate::conversation::{Command, SendMessage};

/// Writes an entry as a process does that dies before it has told anybody.
async fn write_and_die(
    kit: &Kit,
    id: &ConversationId,
    kind: EntryKind,
    payload: serde_json::Value,
    effects: Vec<EntryEffect>,
) {
    let claim = Claim {
        owner: OwnerId::generate(),
        now: kit.clock_now(),
        min_tenure_ms: 0,
    };
    let taken = kit.store.acquire(id, claim).await.unwrap().conversation;
    let entry = EntryId::generate();
    let new = NewEntry {
        id: entry,
        kind,
        sender: person("ann").user,
        keys: Key16(*entry.0.as_bytes()).into(),
        hash: [0; 32],
        counts: false,
        target: None,
        payload: payload.to_string().into(),
        at: kit.clock_now(),
        effects,
    };
    let part = Append {
        conversation: id.clone(),
        epoch: taken.epoch,
        tail: taken.tail,
        entries: vec![new],
    };
    let written = kit.store.append(vec![part]).await.pop();
    written.unwrap().unwrap();
}

fn update(id: &ConversationId, change: &str, name: &str) -> serde_json::Value {
    json!({
        "conversation_id": id.as_str(),
        "change": change,
        "user_id": "ann",
        "at": START,
        "members": [{"user_id": name, "role": "member"}],
    })
}

async fn joins(kit: &Kit, id: &ConversationId, name: &str) {
    let (user, role) = (person(name).user, Role::Member);
    let effects = vec![EntryEffect::OpenMember { user, role }];
    let payload = update(id, "members_added", name);
    write_and_die(kit, id, EntryKind::MemberJoined, payload, effects).await;
}

async fn leaves(kit: &Kit, id: &ConversationId, name: &str) {
    let user = person(name).user;
    let effects = vec![EntryEffect::CloseMember { user }];
    let payload = update(id, "member_removed", name);
    write_and_die(kit, id, EntryKind::MemberLeft, payload, effects).await;
}

async fn told(kit: &Kit, name: &str) -> Vec<String> {
    let notices = kit.notices(name).await.into_iter();
    notices
        .map(|notice| notice["event"].as_str().unwrap().to_owned())
        .collect()
}

async fn come_to_rest(kit: &Kit, id: &ConversationId) {
    kit.eventually("everybody has seen it", async || !kit.is_hot(id).await)
        .await;
}

#[tokio::test]
async fn what_a_process_that_died_had_not_told_is_told_by_the_next() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    joins(&kit, &id, "cem").await;
    leaves(&kit, &id, "bob").await;
    assert!(told(&kit, "cem").await.is_empty());
    let next = kit.next(eager()).await;
    come_to_rest(&next, &id).await;
    let expected = ["conversation:new", "conversation:invite"];
    assert_eq!(told(&next, "cem").await, expected);
    let expected = [
        "conversation:new",
        "conversation:invite",
        "conversation:updated",
    ];
    assert_eq!(told(&next, "bob").await, expected);
    next.stop().await;
}

/// Somebody who has left since still hears that they were a member, since their stream shows what
/// was said until then; that they left is not said to whoever has come back.
#[tokio::test]
async fn late_is_told_what_still_holds() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    joins(&kit, &id, "cem").await;
    leaves(&kit, &id, "cem").await;
    leaves(&kit, &id, "bob").await;
    joins(&kit, &id, "bob").await;
    let next = kit.next(eager()).await;
    come_to_rest(&next, &id).await;
    let expected = [
        "conversation:new",
        "conversation:invite",
        "conversation:updated",
    ];
    assert_eq!(told(&next, "cem").await, expected);
    let expected = [
        "conversation:new",
        "conversation:invite",
        "conversation:new",
        "conversation:invite",
    ];
    assert_eq!(told(&next, "bob").await, expected);
    next.stop().await;
}

/// Of a person who was erased, and of what is as old as what no device is replayed any more.
#[tokio::test]
async fn late_is_told_nothing_of_the_erased_and_nothing_old() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann"]).await;
    joins(&kit, &id, "cem").await;
    let mut payload = update(&id, "member_removed", "cem");
    payload["reason"] = json!("erased");
    let user = person("cem").user;
    let effects = vec![EntryEffect::CloseMember { user }];
    write_and_die(&kit, &id, EntryKind::MemberLeft, payload, effects).await;
    joins(&kit, &id, "dan").await;
    kit.clock.advance_ms(168 * 3_600_000 + 1);
    joins(&kit, &id, "eva").await;
    let next = kit.next(eager()).await;
    come_to_rest(&next, &id).await;
    assert!(told(&next, "cem").await.is_empty());
    assert!(told(&next, "dan").await.is_empty());
    assert_eq!(told(&next, "eva").await.len(), 2);
    next.stop().await;
}

#[tokio::test]
async fn nothing_is_told_twice_however_often_it_is_looked_at() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let members = vec![(person("cem").user, Role::Member)];
    let add = Command::AddMembers { members };
    kit.submit("ann", &id, add).await.unwrap();
    kit.eventually("cem has been told", async || {
        told(&kit, "cem").await.len() == 2
    })
    .await;
    let mention = SendMessage {
        mentions: vec![person("bob").user, person("nobody").user],
        ..text("@bob")
    };
    kit.send("ann", &id, mention).await;
    let user = person("cem").user;
    let remove = Command::RemoveMember { user };
    kit.submit("ann", &id, remove).await.unwrap();
    let cems = [
        "conversation:new",
        "conversation:invite",
        "conversation:updated",
    ];
    let bobs = ["conversation:new", "conversation:invite", "notification"];
    kit.eventually("both have been told", async || {
        told(&kit, "cem").await.len() == 3 && told(&kit, "bob").await.len() == 3
    })
    .await;
    for _ in 0..2 {
        come_to_rest(&kit, &id).await;
        let consumer = Consumer::NOTICES;
        kit.store.reset_projection(&consumer, &id).await.unwrap();
        kit.send("ann", &id, text("more")).await;
        kit.eventually("all of it was looked at again", async || {
            let places = kit.store.projected(&consumer, std::slice::from_ref(&id));
            places.await.unwrap()[0] > Seq(3)
        })
        .await;
        assert_eq!(told(&kit, "cem").await, cems);
        assert_eq!(told(&kit, "bob").await, bobs);
    }
    assert!(told(&kit, "nobody").await.is_empty());
    kit.stop().await;
}
