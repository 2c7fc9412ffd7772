//! Devices that nobody uses are forgotten; no device keeps a place that it has gone past.

use std::convert::Infallible;

use tokio::task::JoinSet;

use super::support::{NOW, Room, user};
use crate::{
    Consumer, DeviceCursor, DeviceId, PendingEntry, Person, ProjectionStep, Seq, SharedStore,
    Timestamp,
};

/// Long before what anything else in the store was in use at.
const EARLY: Timestamp = Timestamp(1_000);
const MOST: usize = 1_000;

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("an id")
}

async fn room(store: &SharedStore) -> Room {
    let mut room = Room::new(store, &["ana", "bob"]).await;
    for _ in 0..3 {
        room.say("ana", "hello").await;
    }
    room
}

/// A device acknowledges a place, and the stream up to now.
async fn reached(room: &Room, name: &str, id: &str, seq: u64) {
    let (person, device) = (room.person(name), device(id));
    let cursor = DeviceCursor {
        person: person.clone(),
        device: device.clone(),
        conversation: room.id.clone(),
        seq: Seq(seq),
    };
    let written = room.store.write_cursors(vec![cursor]).await;
    written.expect("writes");
    let now = room.store.cursor_now().await.expect("reads");
    let written = room.store.write_stream_cursor(&person, &device, &now).await;
    written.expect("writes");
}

async fn used(room: &Room, name: &str, id: &str, at: Timestamp) {
    let used = vec![(room.person(name), device(id))];
    let written = room.store.devices_used(used, at).await;
    written.expect("writes");
}

async fn known(room: &Room, name: &str) -> Vec<String> {
    let devices = room.store.devices(&room.person(name)).await.expect("reads");
    devices.iter().map(ToString::to_string).collect()
}

/// Whether a device has a place in the room, and one in the stream.
async fn places(room: &Room, name: &str, id: &str) -> (bool, bool) {
    let (person, device) = (room.person(name), device(id));
    let place = room.store.device_cursor(&person, &device, &room.id).await;
    let stream = room.store.stream_cursor(&person, &device).await;
    (
        place.expect("reads").is_some(),
        stream.expect("reads").is_some(),
    )
}

/// Until nobody's device is older, of whoever else uses the store; whose were.
async fn forget(room: &Room, before: Timestamp) -> Vec<Person> {
    let mut all = Vec::new();
    loop {
        let forgotten = room.store.forget_unused_devices(before, NOW, MOST);
        let forgotten = forgotten.await.expect("writes");
        let is_last = forgotten.len() < MOST;
        all.extend(forgotten);
        if is_last {
            return all;
        }
    }
}

/// With all of its cursors, and no other device of anybody; saying again that it is in use brings
/// nothing back, and its next cursor makes it known anew.
pub async fn a_device_that_nobody_uses_is_forgotten(store: SharedStore) {
    let room = room(&store).await;
    for (name, id, at) in [
        ("bob", "old", EARLY),
        ("bob", "new", Timestamp(EARLY.0 + 10)),
        ("ana", "old", Timestamp(EARLY.0 + 10)),
    ] {
        reached(&room, name, id, 2).await;
        used(&room, name, id, at).await;
    }
    // Never back.
    used(&room, "bob", "new", EARLY).await;
    let whose = forget(&room, Timestamp(EARLY.0 + 10)).await;
    assert_eq!(
        whose.iter().filter(|it| **it == room.person("bob")).count(),
        1
    );
    assert!(!whose.contains(&room.person("ana")));
    assert_eq!(known(&room, "bob").await, ["new"]);
    assert_eq!(known(&room, "ana").await, ["old"]);
    assert_eq!(places(&room, "bob", "old").await, (false, false));
    assert_eq!(places(&room, "bob", "new").await, (true, true));
    assert_eq!(places(&room, "ana", "old").await, (true, true));
    used(&room, "bob", "old", NOW).await;
    assert_eq!(known(&room, "bob").await, ["new"]);
    reached(&room, "bob", "old", 3).await;
    assert_eq!(known(&room, "bob").await, ["new", "old"]);
}

/// A new device, or one that was known before it was written down when devices are in use, has all
/// of its time from the first look on.
pub async fn a_device_of_which_nothing_was_said_is_in_use(store: SharedStore) {
    let room = room(&store).await;
    reached(&room, "bob", "phone", 1).await;
    let mut now = NOW;
    // Others may have left more than is looked at in one go.
    for _ in 0..100 {
        let looked = store.forget_unused_devices(Timestamp(1), now, MOST).await;
        looked.expect("writes");
        now.0 += 1;
    }
    assert_eq!(known(&room, "bob").await, ["phone"]);
    let whose = forget(&room, now).await;
    assert!(whose.contains(&room.person("bob")));
    assert_eq!(known(&room, "bob").await, [""; 0]);
}

/// Of one person only; new ones are kept rather than any other.
pub async fn those_in_use_latest_are_kept(store: SharedStore) {
    let room = room(&store).await;
    for (at, id) in (0..).zip(["e", "c", "a", "d", "b"]) {
        reached(&room, "bob", id, 1).await;
        used(&room, "bob", id, Timestamp(NOW.0 + at)).await;
    }
    reached(&room, "bob", "new", 1).await;
    reached(&room, "ana", "phone", 1).await;
    let bob = room.person("bob");
    assert_eq!(store.forget_excess_devices(&bob, 6, &[]).await, Ok(0));
    assert_eq!(store.forget_excess_devices(&bob, 3, &[]).await, Ok(3));
    assert_eq!(known(&room, "bob").await, ["b", "d", "new"]);
    assert_eq!(places(&room, "bob", "a").await, (false, false));
    assert_eq!(store.forget_excess_devices(&bob, 3, &[]).await, Ok(0));
    assert_eq!(store.forget_excess_devices(&bob, 1, &[]).await, Ok(2));
    assert_eq!(known(&room, "bob").await, ["new"]);
    assert_eq!(known(&room, "ana").await, ["phone"]);

    // What has just been used stays, though by what was written down others are as new or newer.
    for id in ["x", "y", "z"] {
        reached(&room, "bob", id, 1).await;
        used(&room, "bob", id, NOW).await;
    }
    let (new, z) = (device("new"), device("z"));
    let gone = store.forget_excess_devices(&bob, 2, std::slice::from_ref(&z));
    assert_eq!(gone.await, Ok(2));
    assert_eq!(known(&room, "bob").await, ["new", "z"]);
    let both = [new, z];
    assert_eq!(store.forget_excess_devices(&bob, 1, &both).await, Ok(0));
}

/// What only that device lacked leaves the queue, and everybody has it.
pub async fn what_waited_for_a_forgotten_device_goes(store: SharedStore) {
    let room = room(&store).await;
    let bob = room.person("bob");
    // In the conversation only: what the stream says of it is not known beside another log.
    for (id, seq, at) in [("old", 1, EARLY), ("new", 3, NOW)] {
        let cursor = DeviceCursor {
            person: bob.clone(),
            device: device(id),
            conversation: room.id.clone(),
            seq: Seq(seq),
        };
        store.write_cursors(vec![cursor]).await.expect("writes");
        used(&room, "bob", id, at).await;
    }
    let step = ProjectionStep {
        consumer: Consumer::QUEUE,
        conversation: room.id.clone(),
        from: Seq(0),
        to: Seq(3),
    };
    let entries = (1..=3).map(|seq| PendingEntry {
        user: user("bob"),
        seq: Seq(seq),
        at: NOW,
        urgent: false,
    });
    let queued = store.enqueue(&step, &room.workspace, entries.collect(), 100);
    assert_eq!(queued.await, Ok(true));
    assert_eq!(store.queue(&bob, 9).await.expect("reads").total, 2);
    forget(&room, Timestamp(EARLY.0 + 1)).await;
    let trimmed = store.trim_queue(vec![(bob.clone(), None)]).await;
    trimmed.expect("writes");
    assert_eq!(store.queue(&bob, 9).await.expect("reads").total, 0);
    let bobs = [bob.user.clone()];
    let lacking = store
        .lacking(&room.id, Seq(3), &room.workspace, &bobs)
        .await;
    assert_eq!(lacking, Ok(Vec::new()));
}

/// Whatever the order: what a device has just written is there, or nothing is.
pub async fn a_device_that_writes_while_it_is_forgotten_keeps_no_older_place(store: SharedStore) {
    const PLACES: u64 = 40;
    let mut room = Room::new(&store, &["bob"]).await;
    for _ in 0..PLACES {
        room.say("bob", "hello").await;
    }
    let (bob, phone) = (room.person("bob"), device("phone"));
    let mut forgetting: JoinSet<Infallible> = JoinSet::new();
    for _ in 0..2 {
        let (store, bob) = (store.clone(), bob.clone());
        forgetting.spawn(async move {
            loop {
                let used = vec![(bob.clone(), device("phone"))];
                store.devices_used(used, EARLY).await.expect("writes");
                let before = Timestamp(EARLY.0 + 1);
                let forgotten = store.forget_unused_devices(before, NOW, MOST).await;
                forgotten.expect("writes");
                store
                    .forget_excess_devices(&bob, 0, &[])
                    .await
                    .expect("writes");
            }
        });
    }
    for seq in 1..=PLACES {
        let cursor = DeviceCursor {
            person: bob.clone(),
            device: phone.clone(),
            conversation: room.id.clone(),
            seq: Seq(seq),
        };
        store.write_cursors(vec![cursor]).await.expect("writes");
        let place = store.device_cursor(&bob, &phone, &room.id).await;
        let place = place.expect("reads");
        assert!(
            place.is_none_or(|it| it == Seq(seq)),
            "{place:?}, not {seq}"
        );
    }
    forgetting.shutdown().await;
    store
        .forget_excess_devices(&bob, 0, &[])
        .await
        .expect("writes");
    let place = store.device_cursor(&bob, &phone, &room.id).await;
    assert_eq!(place, Ok(None));
    assert_eq!(store.devices(&bob).await, Ok(Vec::new()));
}

/// With all of its cursors, and of its own person's only; it comes back as new.
pub async fn one_device_is_forgotten_and_no_other(store: SharedStore) {
    let room = room(&store).await;
    let bob = room.person("bob");
    for (name, id) in [("bob", "phone"), ("bob", "Phone"), ("ana", "phone")] {
        reached(&room, name, id, 2).await;
        used(&room, name, id, NOW).await;
    }
    let phone = device("phone");
    assert_eq!(store.forget_device(&bob, &phone).await, Ok(true));
    assert_eq!(known(&room, "bob").await, ["Phone"]);
    assert_eq!(places(&room, "bob", "phone").await, (false, false));
    assert_eq!(places(&room, "bob", "Phone").await, (true, true));
    assert_eq!(places(&room, "ana", "phone").await, (true, true));
    assert_eq!(store.forget_device(&bob, &phone).await, Ok(false));
    // One of which nothing was said goes like any other.
    reached(&room, "bob", "phone", 1).await;
    assert_eq!(places(&room, "bob", "phone").await, (true, true));
    assert_eq!(store.forget_device(&bob, &phone).await, Ok(true));
    assert_eq!(known(&room, "bob").await, ["Phone"]);
}

/// In the order of the question, of one person; nothing is told of a device that is not known.
pub async fn when_devices_were_last_used_is_told(store: SharedStore) {
    let room = room(&store).await;
    let later = Timestamp(NOW.0 + 5);
    for (name, id, at) in [("bob", "a", NOW), ("bob", "é", later), ("ana", "c", NOW)] {
        reached(&room, name, id, 1).await;
        used(&room, name, id, at).await;
    }
    let told = async |ids: &[&str]| {
        let devices: Vec<_> = ids.iter().map(|id| device(id)).collect();
        let told = store.last_used(&room.person("bob"), &devices).await;
        told.expect("reads")
    };
    let expected = [Some(later), None, Some(NOW), None, None];
    assert_eq!(told(&["é", "c", "a", "A", "e\u{301}"]).await, expected);
    assert_eq!(told(&[]).await, []);
    reached(&room, "bob", "new", 1).await;
    assert_eq!(told(&["new"]).await, [None], "nothing was said of it");
    used(&room, "bob", "new", NOW).await;
    assert_eq!(told(&["new"]).await, [Some(NOW)]);
}
