//! Documents of people's own.

use std::sync::Arc;

use super::support::{user, workspace};
use crate::{Document, DocumentKind, Person, SharedStore, UserId, WorkspaceId};

fn document(person: &Person, kind: DocumentKind, version: u64, json: &str) -> Document {
    Document {
        person: person.clone(),
        kind,
        version,
        json: json.into(),
    }
}

fn person(name: &str) -> Person {
    Person {
        workspace: workspace(),
        user: user(name),
    }
}

async fn put(store: &SharedStore, document: &Document) -> bool {
    store.put_document(document).await.expect("writes")
}

/// What is kept of these, by user id.
async fn kept(
    store: &SharedStore,
    kind: DocumentKind,
    workspace: &WorkspaceId,
    users: &[UserId],
) -> Vec<Document> {
    let found = store.documents(kind, workspace, users).await;
    let mut found = found.expect("reads");
    found.sort_unstable_by(|a, b| a.person.user.cmp(&b.person.user));
    found
}

async fn kept_of(store: &SharedStore, kind: DocumentKind, person: &Person) -> Vec<Document> {
    let users = std::slice::from_ref(&person.user);
    kept(store, kind, &person.workspace, users).await
}

/// What is earlier than what is kept, or as late, changes nothing.
pub async fn a_document_gives_way_to_a_later_one_only(store: SharedStore) {
    for kind in DocumentKind::ALL {
        let ana = person("ana");
        assert_eq!(kept_of(&store, kind, &ana).await, []);
        let steps = [
            (2, "{\"a\":2}", true),
            (1, "{\"a\":1}", false),
            (2, "{\"a\":0}", false),
            (3, "{\"a\":3}", true),
            (900, "{}", true),
            (3, "{\"a\":3}", false),
        ];
        let mut latest = None;
        for (version, json, is_kept) in steps {
            let document = document(&ana, kind, version, json);
            assert_eq!(put(&store, &document).await, is_kept, "{kind:?} {version}");
            if is_kept {
                latest = Some(document);
            }
            assert_eq!(
                kept_of(&store, kind, &ana).await,
                Vec::from_iter(latest.clone())
            );
        }
    }
}

/// However many put at the same time, in whatever order, the latest stays; the first included, of
/// which none is found.
pub async fn writers_at_the_same_time_leave_the_latest(store: SharedStore) {
    for kind in DocumentKind::ALL {
        let ana = person("ana");
        for round in 0..4_u64 {
            let versions = (1..=16).map(|nth| round * 16 + (nth * 7) % 17);
            let puts = versions.map(|version| {
                let (store, ana) = (Arc::clone(&store), ana.clone());
                tokio::spawn(async move {
                    let json = format!("{{\"version\":{version}}}");
                    put(&store, &document(&ana, kind, version, &json)).await
                })
            });
            let puts: Vec<_> = puts.collect();
            let mut count = 0;
            for put in puts {
                count += u64::from(put.await.expect("does not panic"));
            }
            assert!(count > 0, "one of them was the latest");
            let latest = (round + 1) * 16;
            let json = format!("{{\"version\":{latest}}}");
            let expected = document(&ana, kind, latest, &json);
            assert_eq!(kept_of(&store, kind, &ana).await, [expected]);
        }
    }
}

/// Ids are told apart by their bytes, whatever they look like; who has no document is left out.
pub async fn documents_of_many_are_read_together(store: SharedStore) {
    let names = [
        "ann",
        "Ann",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{1f600}",
        "\u{df}",
        "ss",
        "a b",
    ];
    for kind in DocumentKind::ALL {
        let workspace = workspace();
        let mut expected = Vec::new();
        for (version, name) in (1..).zip(names) {
            let person = Person {
                workspace: workspace.clone(),
                user: user(name),
            };
            let json = format!("{{\"name\":\"{name} \u{1f1f9}\u{1f1f7} \\u0000\"}}");
            let document = document(&person, kind, version, &json);
            assert!(put(&store, &document).await, "{name}");
            expected.push(document);
        }
        expected.sort_unstable_by(|a, b| a.person.user.cmp(&b.person.user));
        let mut users: Vec<UserId> = names.map(user).to_vec();
        users.extend((0..600).map(|nth| user(&format!("nobody{nth}"))));
        assert_eq!(kept(&store, kind, &workspace, &users).await, expected);
        assert_eq!(kept(&store, kind, &workspace, &[]).await, []);
    }
}

/// A document of 64 KiB comes back as it was.
pub async fn large_documents_survive(store: SharedStore) {
    for kind in DocumentKind::ALL {
        let ana = person("ana");
        let json = format!("{{\"large\":\"{}\"}}", "\u{e9}".repeat(32 * 1024));
        let large = document(&ana, kind, 1, &json);
        assert!(put(&store, &large).await);
        assert_eq!(kept_of(&store, kind, &ana).await, [large]);
    }
}

/// A person of the same name elsewhere, and another kind, have nothing to do with it.
pub async fn tenants_and_kinds_are_apart(store: SharedStore) {
    let (here, there) = (person("ana"), person("ana"));
    let [preferences, devices] = DocumentKind::ALL;
    let one = document(&here, preferences, 7, "{}");
    assert!(put(&store, &one).await);
    assert_eq!(kept_of(&store, devices, &here).await, []);
    assert_eq!(kept_of(&store, preferences, &there).await, []);
    let other = document(&here, devices, 1, "[]");
    assert!(put(&store, &other).await, "versions are counted apart");
    assert_eq!(kept_of(&store, preferences, &here).await, [one]);
    assert_eq!(kept_of(&store, devices, &here).await, [other]);
}

/// Nothing is left of one person, and all of others. Whoever comes back begins anew.
pub async fn documents_of_one_person_are_forgotten(store: SharedStore) {
    let ana = person("ana");
    let bob = Person {
        user: user("bob"),
        ..ana.clone()
    };
    let elsewhere = person("ana");
    for kind in DocumentKind::ALL {
        for person in [&ana, &bob, &elsewhere] {
            assert!(put(&store, &document(person, kind, 5, "{}")).await);
        }
    }
    for _ in 0..2 {
        assert_eq!(store.forget_documents(&ana).await, Ok(()));
    }
    for kind in DocumentKind::ALL {
        assert_eq!(kept_of(&store, kind, &ana).await, []);
        assert_eq!(kept_of(&store, kind, &bob).await.len(), 1);
        assert_eq!(kept_of(&store, kind, &elsewhere).await.len(), 1);
        assert!(put(&store, &document(&ana, kind, 1, "{}")).await);
    }
}
