//! Tickets and revocations.

use std::sync::Arc;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::support::{NOW, user, workspace};
use crate::{Person, RevokedSubject, SharedStore, Timestamp};

fn hash() -> [u8; 32] {
    let half = Uuid::new_v4().into_bytes();
    std::array::from_fn(|index| half[index % 16])
}

const LATER: Timestamp = Timestamp(NOW.0 + 60_000);

/// However many ask at once, one gets the claims.
pub async fn a_ticket_is_taken_once(store: SharedStore) {
    let hash = hash();
    store
        .put_ticket(hash, r#"{"sub":"ana"}"#, LATER)
        .await
        .expect("writes");
    let mut takers = JoinSet::new();
    for _ in 0..20 {
        let store = Arc::clone(&store);
        takers.spawn(async move { store.take_ticket(hash, NOW).await.expect("answers") });
    }
    let taken: Vec<String> = takers.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken, [r#"{"sub":"ana"}"#]);
}

/// At its moment of expiry a ticket is worth nothing.
pub async fn an_expired_ticket_is_gone(store: SharedStore) {
    let (expired, good) = (hash(), hash());
    store
        .put_ticket(expired, "{}", LATER)
        .await
        .expect("writes");
    assert_eq!(store.take_ticket(expired, LATER).await, Ok(None));
    assert_eq!(
        store.take_ticket(expired, NOW).await,
        Ok(None),
        "and does not come back"
    );
    store.put_ticket(good, "{}", LATER).await.expect("writes");
    let just_before = Timestamp(LATER.0 - 1);
    assert_eq!(
        store.take_ticket(good, just_before).await,
        Ok(Some("{}".to_owned()))
    );
    assert_eq!(store.take_ticket(self::hash(), NOW).await, Ok(None));
}

/// Each revocation has the next number, and readers get those above the last they saw.
pub async fn revocations_are_numbered(store: SharedStore) {
    let person = Person {
        workspace: workspace(),
        user: user("ana"),
    };
    let subjects = [
        RevokedSubject::Jti(Uuid::new_v4().to_string()),
        RevokedSubject::SignedOut(Uuid::new_v4().to_string()),
        RevokedSubject::Person(person),
    ];
    let mut written = Vec::new();
    for subject in subjects {
        let revocation = store
            .revoke(subject.clone(), NOW, LATER)
            .await
            .expect("writes");
        assert_eq!((&revocation.subject, revocation.at), (&subject, NOW));
        written.push(revocation);
    }
    let numbers: Vec<u64> = written.iter().map(|revocation| revocation.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let since = store.revocations_since(numbers[0]).await.expect("reads");
    assert!(since.is_sorted_by_key(|revocation| revocation.number));
    let ours: Vec<_> = since
        .into_iter()
        .filter(|found| written.contains(found))
        .collect();
    assert_eq!(ours, written[1..]);
    let none = store.revocations_since(numbers[2]).await.expect("reads");
    assert!(
        none.iter().all(|found| found.number > numbers[2]),
        "{none:?}"
    );
}
