//! Ids are told apart by their bytes. Who may choose ids must not thereby be taken for somebody
//! else, whatever a server's collation says.

use std::collections::BTreeSet;

use super::support::{NOW, Room, new_conversation, user, workspace};
use crate::{
    ConversationKind, Created, DeviceCursor, DeviceId, Person, ProfileChange, RegisterChange,
    RegisterWrite, Seq, SharedStore, UserId, WorkspaceId,
};

/// Names that somebody may take for each other: in another case, composed or not, with a blank
/// behind, of another width.
const NAMES: [&str; 8] = [
    "ann",
    "Ann",
    "ann ",
    "caf\u{e9}",
    "cafe\u{301}",
    "stra\u{df}e",
    "strasse",
    "\u{ff41}nn",
];

fn users() -> Vec<UserId> {
    NAMES.map(user).to_vec()
}

fn sorted(users: impl IntoIterator<Item = UserId>) -> Vec<UserId> {
    let sorted: BTreeSet<UserId> = users.into_iter().collect();
    sorted.into_iter().collect()
}

/// Each is a member of their own.
pub async fn members_are_told_apart(store: SharedStore) {
    let mut room = Room::new(&store, &["owner"]).await;
    for name in NAMES {
        room.join(name).await;
    }
    let members = store.members(&room.id, None, 100).await.expect("reads");
    let members = members.into_iter().map(|member| member.user);
    let all = users().into_iter().chain([user("owner")]);
    assert_eq!(sorted(members.clone()), sorted(all));
    assert!(members.is_sorted(), "by bytes, as everywhere");
    room.leave("Ann").await;
    for name in NAMES {
        let is_open = room.membership(name).await[0].to_seq.is_none();
        assert_eq!(is_open, name != "Ann", "{name}");
    }
}

/// Each pair has its own conversation.
pub async fn pairs_are_told_apart(store: SharedStore) {
    let workspace = workspace();
    let mut ids = BTreeSet::new();
    for name in NAMES {
        let new = new_conversation(&workspace, ConversationKind::Direct, &["owner", name]);
        let created = store.create_conversation(new).await.expect("creates");
        let Created::New(conversation) = created else {
            panic!("{name} has a pair already: {created:?}");
        };
        ids.insert(conversation.id);
    }
    let (owner, mut found) = (user("owner"), BTreeSet::new());
    for user in users() {
        let direct = store.direct(&workspace, &owner, &user);
        found.extend(direct.await.expect("reads"));
        let person = Person {
            workspace: workspace.clone(),
            user,
        };
        let own = store.conversations_of(&person).await.expect("reads");
        assert_eq!(own.len(), 1, "{person:?}");
    }
    assert_eq!(found, ids);
}

/// What is kept of one is not another's: registers, cursors of devices, profiles, blocks.
pub async fn what_is_kept_of_people_is_told_apart(store: SharedStore) {
    let mut room = Room::new(&store, &["owner"]).await;
    for name in NAMES {
        room.join(name).await;
    }
    let tail = room.tail.0;
    for (place, name) in (1..).zip(NAMES) {
        let person = room.person(name);
        let write = RegisterWrite {
            conversation: room.id.clone(),
            user: person.user.clone(),
            change: RegisterChange::Draft(Some(format!("{{\"of\":\"{name}\"}}").into())),
        };
        store.write_registers(vec![write]).await.expect("writes");
        for (behind, device) in (0..).zip(["phone", "Phone", "phon\u{e9}", "phone\u{301}"]) {
            let cursor = DeviceCursor {
                person: person.clone(),
                device: DeviceId::new(device).expect("an id"),
                conversation: room.id.clone(),
                seq: Seq((place + behind).min(tail)),
            };
            store.write_cursors(vec![cursor]).await.expect("writes");
        }
        let change = ProfileChange {
            name: Some(format!("it is {name}")),
            ..ProfileChange::default()
        };
        store.put_profile(&person, change).await.expect("writes");
        let other = user(&format!("other of {name}"));
        let blocked = store.set_block(&person, &other, true, NOW).await;
        blocked.expect("writes");
    }
    for (place, name) in (1..).zip(NAMES) {
        let person = room.person(name);
        let registers = store.registers(&room.id, &person.user).await;
        let draft = registers.expect("reads").draft;
        assert_eq!(draft.as_deref(), Some(&*format!("{{\"of\":\"{name}\"}}")));
        for (behind, device) in (0..).zip(["phone", "Phone", "phon\u{e9}", "phone\u{301}"]) {
            let device = DeviceId::new(device).expect("an id");
            let cursor = store.device_cursor(&person, &device, &room.id).await;
            assert_eq!(cursor, Ok(Some(Seq((place + behind).min(tail)))), "{name}");
        }
        let users = std::slice::from_ref(&person.user);
        let profiles = store.profiles(&person.workspace, users).await;
        let [profile] = &profiles.expect("reads")[..] else {
            panic!("{name} has one profile");
        };
        assert_eq!(profile.name, Some(format!("it is {name}")));
        let other = user(&format!("other of {name}"));
        assert_eq!(store.blocks(&person).await, Ok(vec![other]));
    }
    let all = store.profiles(&room.workspace, &users()).await;
    let all = all.expect("reads").into_iter().map(|it| it.person.user);
    assert_eq!(sorted(all), sorted(users()));
}

/// Tenants whose names differ as little have nothing in common.
pub async fn tenants_are_told_apart(store: SharedStore) {
    let base = workspace();
    let tenants = ["a", "A", "\u{e9}", "e\u{301}"];
    let tenants = tenants.map(|end| WorkspaceId::new(format!("{base}-{end}")).expect("an id"));
    let mut ids = BTreeSet::new();
    for tenant in &tenants {
        let own = Person {
            workspace: tenant.clone(),
            user: user("ann"),
        };
        let mut new = new_conversation(tenant, ConversationKind::Person, &["ann"]);
        new.id = own.own_conversation();
        for new in [
            new,
            new_conversation(tenant, ConversationKind::Direct, &["ann", "bob"]),
        ] {
            let created = store.create_conversation(new).await.expect("creates");
            assert!(matches!(created, Created::New(_)), "{created:?}");
        }
        let direct = store.direct(tenant, &user("ann"), &user("bob")).await;
        ids.extend(direct.expect("reads"));
    }
    assert_eq!(ids.len(), tenants.len());
}
