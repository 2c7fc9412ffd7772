//! Every promise, however the concerns are divided.

use std::sync::Arc;

use quikapp_storage::{
    Document, DocumentKind, Keeper, Keepers, Person, WorkspaceId, compose, conformance,
};

use crate::support::{Place, user};

#[tokio::test(flavor = "multi_thread")]
async fn registers_apart_from_the_log_keep_every_promise() {
    let (log, other) = (Place::new(), Place::new());
    let keepers = Keepers {
        registers: Arc::clone(&other.keeper),
        ..Keepers::all(&log.keeper)
    };
    let store = compose(&keepers);
    conformance::run_all(|| std::future::ready(store.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn six_stores_keep_every_promise() {
    let places: [Place; 6] = std::array::from_fn(|_| Place::new());
    let [log, registers, timers, people, devices, security] =
        places.each_ref().map(|place| &place.keeper);
    let keepers = Keepers {
        log: log.clone(),
        registers: Arc::clone(registers),
        timers: Arc::clone(timers),
        people: Arc::clone(people),
        devices: Arc::<dyn Keeper>::clone(devices),
        security: Arc::clone(security),
    };
    let store = compose(&keepers);
    conformance::run_all(|| std::future::ready(store.clone())).await;
}

/// Who is erased leaves nothing on the disk of a store that keeps devices alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_devices_alone_is_cleaned() {
    let (all, devices) = (Place::new(), Place::new());
    let keepers = Keepers {
        devices: Arc::<dyn Keeper>::clone(&devices.keeper),
        ..Keepers::all(&all.keeper)
    };
    let store = compose(&keepers);
    let person = Person {
        workspace: WorkspaceId::new("w").unwrap(),
        user: user("ana"),
    };
    let document = Document {
        person: person.clone(),
        kind: DocumentKind::Devices,
        version: 1,
        json: r#"["xyzzy"]"#.into(),
    };
    store.put_document(&document).await.unwrap();
    assert!(devices.holds("xyzzy") && !all.holds("xyzzy"));
    store.forget_documents(&person).await.unwrap();
    store.scrub(&[]).await.unwrap();
    assert!(!devices.holds("xyzzy"));
}

/// One store for everything is that store, with its own transactions.
#[tokio::test]
async fn one_store_is_not_wrapped() {
    let place = Place::new();
    let store = compose(&Keepers::all(&place.keeper));
    assert!(std::ptr::addr_eq(
        Arc::as_ptr(&store),
        Arc::as_ptr(&place.keeper)
    ));
}
