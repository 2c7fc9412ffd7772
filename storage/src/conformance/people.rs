//! Profiles and blocks.

use super::support::{NOW, user, workspace};
use crate::{Person, Profile, ProfileChange, SharedStore, Timestamp};

fn person(name: &str) -> Person {
    Person {
        workspace: workspace(),
        user: user(name),
    }
}

/// A change touches what it names and leaves the rest.
pub async fn profiles_keep_what_is_not_changed(store: SharedStore) {
    let ana = person("ana");
    let found = store
        .profiles(&ana.workspace, std::slice::from_ref(&ana.user))
        .await;
    assert_eq!(found, Ok(Vec::new()), "nobody has one from the start");
    let mut expected = Profile {
        person: ana.clone(),
        name: Some("Ana Ñ".to_owned()),
        last_seen: None,
        presence: None,
        last_seen_public: false,
    };
    let named = ProfileChange {
        name: expected.name.clone(),
        ..ProfileChange::default()
    };
    store.put_profile(&ana, named).await.expect("writes");
    let users = [user("bob"), user("ana")];
    let found = store.profiles(&ana.workspace, &users).await;
    assert_eq!(
        found,
        Ok(vec![expected.clone()]),
        "last seen is private unless allowed"
    );
    let steps = [
        ProfileChange {
            last_seen: Some(NOW),
            last_seen_public: Some(true),
            ..ProfileChange::default()
        },
        ProfileChange {
            presence: Some(Some(r#"{"status":"dnd"}"#.into())),
            ..ProfileChange::default()
        },
        ProfileChange {
            last_seen: Some(Timestamp(NOW.0 + 1)),
            ..ProfileChange::default()
        },
        ProfileChange {
            presence: Some(None),
            last_seen_public: Some(false),
            ..ProfileChange::default()
        },
    ];
    for step in steps {
        expected.last_seen = step.last_seen.or(expected.last_seen);
        expected.presence = step.presence.clone().unwrap_or(expected.presence);
        expected.last_seen_public = step.last_seen_public.unwrap_or(expected.last_seen_public);
        store.put_profile(&ana, step).await.expect("writes");
        let found = store.profiles(&ana.workspace, &users).await;
        assert_eq!(found, Ok(vec![expected.clone()]));
    }
    let elsewhere = store.profiles(&workspace(), &users).await;
    assert_eq!(elsewhere, Ok(Vec::new()), "tenants are apart");
}

/// A block is seen from both sides, and ends when the side that set it lifts it.
pub async fn blocks_count_both_ways(store: SharedStore) {
    let ana = person("ana");
    let bob = Person {
        user: user("bob"),
        ..ana.clone()
    };
    let set = async |by: &Person, other: &Person, blocked| {
        let written = store.set_block(by, &other.user, blocked, NOW).await;
        written.expect("writes");
    };
    for _ in 0..2 {
        set(&ana, &bob, true).await;
    }
    assert_eq!(store.blocks(&ana).await, Ok(vec![user("bob")]));
    assert_eq!(store.blocks(&bob).await, Ok(vec![user("ana")]));
    set(&bob, &ana, false).await;
    assert_eq!(
        store.blocks(&ana).await,
        Ok(vec![user("bob")]),
        "not his to lift"
    );
    set(&bob, &ana, true).await;
    assert_eq!(
        store.blocks(&ana).await,
        Ok(vec![user("bob")]),
        "once, though both block"
    );
    set(&ana, &bob, false).await;
    assert_eq!(store.blocks(&ana).await, Ok(vec![user("bob")]));
    set(&bob, &ana, false).await;
    assert_eq!(store.blocks(&ana).await, Ok(Vec::new()));
    assert_eq!(
        store.blocks(&person("bob")).await,
        Ok(Vec::new()),
        "tenants are apart"
    );
}
