//! Documents of people's own: no change is lost, whoever dies, and what is kept beside the log is
//! what the log says.

use std::{convert::Infallible, sync::Arc};

use quikapp_storage::{
    Consumer, Document, DocumentKind, EntryKind, JsonText, SharedStore, StoreError,
};
use serde_json::{Value, json};

use super::kit::{Kit, eager, person};
use crate::{
    clock::ManualClock,
    delivery::rebuild,
    documents::{ChangeError, Documents, event_of},
};

const KIND: DocumentKind = DocumentKind::Preferences;

fn documents_of(kit: &Kit) -> Documents {
    Documents::new(Arc::clone(&kit.store), kit.conversations.clone())
}

/// A list with one item more.
fn with(item: &str, list: Option<&JsonText>) -> JsonText {
    let list = list.map(|list| serde_json::from_str::<Vec<String>>(list).unwrap());
    let mut list = list.unwrap_or_default();
    list.push(item.to_owned());
    json!(list).to_string().into()
}

async fn add(documents: &Documents, name: &str, item: &str) -> Document {
    let decide = |list: Option<&JsonText>| Ok::<_, Infallible>(Some(with(item, list)));
    let changed = documents.change(&person(name), KIND, decide).await;
    changed.unwrap().unwrap()
}

async fn kept(store: &SharedStore, name: &str) -> Option<(u64, Value)> {
    let (workspace, user) = (person(name).workspace, person(name).user);
    let found = store.documents(KIND, &workspace, &[user]).await.unwrap();
    let found = found.first()?;
    Some((found.version, serde_json::from_str(&found.json).unwrap()))
}

/// The payloads of a person's changes, in the order of the log.
async fn changes(kit: &Kit, name: &str) -> Vec<Value> {
    let notices = kit.notices(name).await.into_iter();
    let changes = notices.filter(|notice| notice["event"] == event_of(KIND));
    changes.map(|change| change["payload"].clone()).collect()
}

/// Waits until the projection has seen all of a person's log.
async fn projected(kit: &Kit, name: &str) {
    let own = person(name).own_conversation();
    kit.eventually("all has been seen", async || {
        !kit.is_hot(&own).await && {
            let places = kit
                .store
                .projected(&Consumer::NOTICES, std::slice::from_ref(&own));
            let tails = kit.store.tails(std::slice::from_ref(&own)).await.unwrap();
            places.await.unwrap()[0] == tails[0].1
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_stands_in_the_log_and_in_the_view() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    let read = documents.read(&person("ann"), KIND).await;
    assert_eq!(read, Ok(None));
    let first = add(&documents, "ann", "one").await;
    let second = add(&documents, "ann", "two").await;
    assert_eq!((first.version, &*first.json), (1, r#"["one"]"#));
    assert_eq!((second.version, &*second.json), (2, r#"["one","two"]"#));
    let read = documents.read(&person("ann"), KIND).await;
    assert_eq!(read, Ok(Some(second)));
    let expected = [
        json!({"version": 1, "preferences": ["one"]}),
        json!({"version": 2, "preferences": ["one", "two"]}),
    ];
    assert_eq!(changes(&kit, "ann").await, expected);
    // Another kind, and another person, begin at their own first version.
    let decide = |_: Option<&JsonText>| Ok::<_, Infallible>(Some("[]".into()));
    let ann = person("ann");
    let devices = documents.change(&ann, DocumentKind::Devices, decide);
    assert_eq!(devices.await.unwrap().unwrap().version, 1);
    assert_eq!(add(&documents, "bob", "one").await.version, 1);
    kit.stop().await;
}

#[tokio::test]
async fn what_changes_nothing_or_is_refused_is_not_written() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    let ann = person("ann");
    let nothing = async || {
        let decide = |_: Option<&JsonText>| Ok::<_, &str>(None);
        documents.change(&ann, KIND, decide).await
    };
    assert_eq!(nothing().await, Ok(None));
    let one = add(&documents, "ann", "one").await;
    assert_eq!(nothing().await, Ok(Some(one)));
    let refusal = |_: Option<&JsonText>| Err::<Option<JsonText>, _>("no");
    let refused = documents.change(&ann, KIND, refusal).await;
    assert_eq!(refused, Err(ChangeError::Refused("no")));
    assert_eq!(changes(&kit, "ann").await.len(), 1);
    kit.stop().await;
}

/// Two processes on one store, and many writers in each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_of_two_processes_is_lost() {
    let kits = [Kit::new().await];
    let other = kits[0].next(eager()).await;
    let each = [documents_of(&kits[0]), documents_of(&other)];
    let mut writers = Vec::new();
    for nth in 0..24 {
        let documents = each[nth % 2].clone();
        writers.push(tokio::spawn(async move {
            let item = nth.to_string();
            loop {
                let decide = |list: Option<&JsonText>| Ok::<_, Infallible>(Some(with(&item, list)));
                match documents.change(&person("ann"), KIND, decide).await {
                    Ok(changed) => return changed.unwrap().version,
                    // Nothing was done: a client tries again.
                    Err(ChangeError::Contended | ChangeError::Command(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, Vec::from_iter(1..=24));
    let (version, list) = kept(&other.store, "ann").await.unwrap();
    let mut items: Vec<usize> = list.as_array().unwrap().iter().map(number).collect();
    items.sort_unstable();
    assert_eq!((version, items), (24, Vec::from_iter(0..24)));
    let written = changes(&other, "ann").await;
    let written = written.iter().map(|it| it["version"].as_u64().unwrap());
    assert_eq!(Vec::from_iter(written), Vec::from_iter(1..=24));
    kits[0].stop().await;
    other.stop().await;
}

fn number(item: &Value) -> usize {
    item.as_str().unwrap().parse().unwrap()
}

/// A process dies between the entry and the view: the next writer builds upon the entry, and the
/// view follows although nobody writes.
#[tokio::test]
async fn a_view_that_is_behind_heals() {
    let (kit, faults) = Kit::faulty(eager()).await;
    let documents = documents_of(&kit);
    add(&documents, "ann", "one").await;
    add(&documents, "bob", "one").await;
    faults.refuse_documents(true);
    assert_eq!(add(&documents, "ann", "two").await.version, 2);
    assert_eq!(add(&documents, "bob", "two").await.version, 2);
    assert_eq!(kept(&kit.store, "ann").await, Some((1, json!(["one"]))));
    kit.stop().await;
    faults.refuse_documents(false);

    let next = kit.next(eager()).await;
    let documents = documents_of(&next);
    let third = add(&documents, "ann", "three").await;
    assert_eq!(
        (third.version, &*third.json),
        (3, r#"["one","two","three"]"#)
    );
    next.eventually("the view is what the log says", async || {
        kept(&next.store, "bob").await == Some((2, json!(["one", "two"])))
    })
    .await;
    next.stop().await;
}

/// Nothing is said of a document that is not the last.
#[tokio::test]
async fn nothing_is_decided_by_a_view_that_is_behind() {
    let (kit, faults) = Kit::faulty(eager()).await;
    let documents = documents_of(&kit);
    add(&documents, "ann", "one").await;
    faults.refuse_documents(true);
    add(&documents, "ann", "two").await;
    let mut seen = Vec::new();
    let decide = |list: Option<&JsonText>| {
        seen.push(list.unwrap().to_string());
        Ok::<_, Infallible>(None)
    };
    let unchanged = documents.change(&person("ann"), KIND, decide).await;
    assert_eq!(unchanged.unwrap().unwrap().version, 2);
    assert_eq!(seen, [r#"["one"]"#, r#"["one","two"]"#]);
    faults.refuse_documents(false);
    kit.stop().await;
}

/// A commit whose answer was lost is found again, and not made twice.
#[tokio::test]
async fn a_change_of_which_nobody_knows_is_made_once() {
    use crate::conversation::tests::faulty::Fault;
    for fault in [Fault::UnknownButWritten, Fault::UnknownAndLost] {
        let (kit, faults) = Kit::faulty(eager()).await;
        let documents = documents_of(&kit);
        add(&documents, "ann", "one").await;
        faults.inject_in(&person("ann").own_conversation(), fault);
        let second = add(&documents, "ann", "two").await;
        assert!(faults.are_over());
        assert_eq!((second.version, &*second.json), (2, r#"["one","two"]"#));
        assert_eq!(changes(&kit, "ann").await.len(), 2);
        kit.stop().await;
    }
}

/// Whoever comes back after an erasure begins anew, behind the versions of which nothing is left;
/// more of them than are looked up at once.
#[tokio::test]
async fn versions_of_which_nothing_is_left_are_stepped_over() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    for nth in 0..70 {
        add(&documents, "ann", &nth.to_string()).await;
    }
    add(&documents, "bob", "one").await;
    kit.delivery.erase(&person("ann")).await.unwrap();
    kit.eventually("the erasure ends", async || {
        kit.clock.advance_ms(1_000);
        !kit.delivery.is_being_erased(&person("ann")).await.unwrap()
    })
    .await;
    assert_eq!(kept(&kit.store, "ann").await, None);
    assert_eq!(changes(&kit, "ann").await.len(), 0);
    assert_eq!(kept(&kit.store, "bob").await, Some((1, json!(["one"]))));
    projected(&kit, "ann").await;
    assert_eq!(kept(&kit.store, "ann").await, None, "nor does it come back");
    let mut decided_on = Vec::new();
    let decide = |version, json: Option<&JsonText>| {
        decided_on.push((version, json.cloned()));
        Err::<Option<JsonText>, _>("for version 0 only")
    };
    let ann = person("ann");
    let refused = documents.change_version(&ann, KIND, decide).await;
    assert!(refused.is_err());
    assert_eq!(decided_on.last(), Some(&(0, None)), "as it is read");
    let anew = add(&documents, "ann", "anew").await;
    assert_eq!((anew.version, &*anew.json), (71, r#"["anew"]"#));
    kit.stop().await;
}

/// A view that was lost, or went wrong, is what the log says after a rebuild; and what the log no
/// longer says is gone from it.
#[tokio::test]
async fn a_rebuild_restores_the_view() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    for name in ["ann", "bob", "cem"] {
        add(&documents, name, "one").await;
        add(&documents, name, "two").await;
        projected(&kit, name).await;
    }
    let (store, right) = (&kit.store, Some((2, json!(["one", "two"]))));
    store.forget_documents(&person("ann")).await.unwrap();
    let wrong = Document {
        person: person("bob"),
        kind: KIND,
        version: 9,
        json: "[]".into(),
    };
    assert_eq!(store.put_document(&wrong).await, Ok(true));
    let own = person("cem").own_conversation();
    let log = kit.log(&own).await;
    let gone = log.iter().filter(|it| it.kind == EntryKind::Notice);
    let gone = gone.map(|it| (it.seq, r#"{"event":"erased","payload":{}}"#.into()));
    store.redact(&own, gone.collect()).await.unwrap();

    let clock = ManualClock::at(kit.clock_now());
    let rebuilt = rebuild(store, &clock, &eager(), Some("documents")).await;
    let [rebuilt] = &rebuilt.unwrap()[..] else {
        panic!("one was rebuilt");
    };
    assert_eq!((rebuilt.conversations, rebuilt.entries), (3, 4));
    assert_eq!(kept(store, "ann").await, right);
    assert_eq!(kept(store, "bob").await, right);
    assert_eq!(kept(store, "cem").await, None);
    kit.stop().await;
}

/// However old it is: a view that was lost comes back with the log. Nothing that is later is
/// changed by what is looked at again.
#[tokio::test]
async fn what_is_projected_again_restores_the_view_and_changes_nothing_later() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    for name in ["ann", "bob"] {
        add(&documents, name, "one").await;
        add(&documents, name, "two").await;
        projected(&kit, name).await;
    }
    let clock_is_late = 400 * 86_400_000;
    kit.clock.advance_ms(clock_is_late);
    for name in ["ann", "bob"] {
        let own = person(name).own_conversation();
        let reset = kit.store.reset_projection(&Consumer::NOTICES, &own).await;
        assert_eq!(reset, Ok::<_, StoreError>(()));
    }
    kit.store.forget_documents(&person("ann")).await.unwrap();
    // Something that is no document makes the log be looked at.
    let ann = person("ann");
    let notified = kit.conversations.notify(&ann, "notification", "{}".into());
    notified.await.unwrap();
    add(&documents, "bob", "three").await;
    for name in ["ann", "bob"] {
        projected(&kit, name).await;
    }
    let two = Some((2, json!(["one", "two"])));
    assert_eq!(kept(&kit.store, "ann").await, two);
    let three = Some((3, json!(["one", "two", "three"])));
    assert_eq!(kept(&kit.store, "bob").await, three);
    kit.stop().await;
}

/// The view is two versions behind, and what is wanted is what the first of them said.
#[tokio::test]
async fn a_change_like_an_earlier_one_is_a_change() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    let set = async |what: &str| {
        let json: JsonText = format!("\"{what}\"").into();
        let decide = |before: Option<&JsonText>| {
            Ok::<_, Infallible>((before != Some(&json)).then(|| json.clone()))
        };
        let changed = documents.change(&person("ann"), KIND, decide).await;
        changed.unwrap().unwrap().version
    };
    assert_eq!((set("off").await, set("on").await), (1, 2));
    projected(&kit, "ann").await;
    kit.store.forget_documents(&person("ann")).await.unwrap();
    assert_eq!(set("off").await, 3);
    assert_eq!(kept(&kit.store, "ann").await, Some((3, json!("off"))));
    kit.stop().await;
}

/// Somebody has read an entry, and is slow to keep it: the person has been erased meanwhile.
#[tokio::test]
async fn what_was_read_before_an_erasure_is_not_kept_after_it() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    add(&documents, "ann", "one").await;
    projected(&kit, "ann").await;
    let own = person("ann").own_conversation();
    let read = kit.log(&own).await;
    let said = read.iter().filter(|it| it.kind == EntryKind::Notice);
    let said = said.map(|it| (it.seq, r#"{"event":"erased","payload":{}}"#.into()));
    kit.store.redact(&own, said.collect()).await.unwrap();
    kit.store.forget_documents(&person("ann")).await.unwrap();
    crate::documents::fold(&kit.store, &own, &read)
        .await
        .unwrap();
    assert_eq!(kept(&kit.store, "ann").await, None);
    kit.stop().await;
}

#[tokio::test]
async fn a_document_that_is_too_large_is_refused() {
    let kit = Kit::new().await;
    let documents = documents_of(&kit);
    let ann = person("ann");
    let of = async |bytes: usize| {
        let json: JsonText = format!("\"{}\"", "x".repeat(bytes - 2)).into();
        let decide = |_: Option<&JsonText>| Ok::<_, Infallible>(Some(json.clone()));
        documents.change(&ann, KIND, decide).await
    };
    assert_eq!(of(65_536).await.unwrap().unwrap().version, 1);
    let refused = of(65_537).await;
    assert!(
        matches!(refused, Err(ChangeError::Store(StoreError::Invalid(_)))),
        "{refused:?}"
    );
    kit.stop().await;
}
