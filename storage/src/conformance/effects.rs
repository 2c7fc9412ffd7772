//! What commits together with an entry.

use super::support::{NOW, Room, message, plain, user, view};
use crate::{
    AppendError, EntryEffect, EntryKind, Message, RegisterChange, RegisterWrite, Role, Seq,
    SharedStore, StoreError, Timestamp,
};

/// Joining, leaving and joining again leave intervals; both ends are visible.
pub async fn memberships_are_intervals(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.say("ana", "before").await;
    let joined = room.join("bob").await;
    room.say("ana", "meanwhile").await;
    let left = room.leave("bob").await;
    room.say("ana", "without").await;
    let again = room.join("bob").await;
    let intervals: Vec<_> = room
        .membership("bob")
        .await
        .iter()
        .map(|member| (member.from_seq, member.to_seq, member.role))
        .collect();
    let expected = [
        (joined, Some(left), Role::Member),
        (again, None, Role::Member),
    ];
    assert_eq!(intervals, expected);
    room.leave("eve").await;
    assert_eq!(
        room.membership("eve").await,
        [],
        "who never was in cannot leave"
    );
}

/// Becoming a member twice is a change of role.
pub async fn opening_an_open_membership_changes_its_role(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    room.say("ana", "hello").await;
    let effect = EntryEffect::OpenMember {
        user: user("bob"),
        role: Role::Admin,
    };
    room.apply(EntryKind::MemberJoined, effect).await;
    let bob = room.membership("bob").await;
    let bob: Vec<_> = bob
        .iter()
        .map(|member| (member.from_seq, member.role))
        .collect();
    assert_eq!(bob, [(Seq(1), Role::Admin)]);
    assert_eq!(
        store.unread(&room.id, &user("bob")).await,
        Ok(1),
        "nothing was read by it"
    );
}

/// Names and roles are those of the last entry about them.
pub async fn names_and_roles_change(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let role = EntryEffect::SetRole {
        user: user("bob"),
        role: Role::Owner,
    };
    room.apply(EntryKind::RoleChanged, role).await;
    let name = EntryEffect::SetName(Some("кафе ☕".to_owned()));
    room.apply(EntryKind::ConversationUpdated, name).await;
    let members = store.members(&room.id, None, 10).await.expect("reads");
    let roles: Vec<Role> = members.iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::Owner, Role::Owner]);
    let found = store.conversation(&room.id).await.expect("reads");
    assert_eq!(
        found.and_then(|found| found.name).as_deref(),
        Some("кафе ☕")
    );
    room.apply(EntryKind::ConversationUpdated, EntryEffect::SetName(None))
        .await;
    let found = store.conversation(&room.id).await.expect("reads");
    assert_eq!(found.and_then(|found| found.name), None);
}

/// A redacted entry keeps its place, id and key; its content is gone.
pub async fn a_redaction_keeps_seq_and_key(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let secret = message("ana", "a secret");
    room.add(secret.clone()).await;
    let redact = EntryEffect::Redact {
        seq: Seq(1),
        payload: r#"{"deleted":true}"#.into(),
    };
    room.apply(EntryKind::Delete, redact).await;
    let log = room.log().await;
    assert_eq!(
        (log[0].seq, log[0].id, log[0].key),
        (Seq(1), secret.id, secret.keys.key)
    );
    assert_eq!(&*log[0].payload, r#"{"deleted":true}"#);
    let retry = room.try_append(vec![secret]).await;
    assert_eq!(retry, Err(AppendError::DuplicateKey { index: 0 }));
}

/// An edit replaces content and leaves place, sender and time of the message.
pub async fn an_edit_replaces_the_view(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let original = message("ana", "helo");
    room.add(original.clone()).await;
    room.say("bob", "hi").await;
    let edited = Message {
        seq: Seq(1),
        pinned: true,
        body: r#"{"content":"hello","is_edited":true}"#.into(),
        ..view(&original, "hello")
    };
    let mut edit = plain(
        EntryKind::Edit,
        "ana",
        vec![EntryEffect::PutMessage(edited)],
    );
    edit.at = Timestamp(NOW.0 + 9000);
    room.add(edit).await;
    let found = store
        .messages(&room.id, &[original.id])
        .await
        .expect("reads");
    let expected = Message {
        seq: Seq(1),
        pinned: true,
        body: r#"{"content":"hello","is_edited":true}"#.into(),
        applied_seq: Seq(3),
        ..view(&original, "hello")
    };
    assert_eq!(found, [expected]);
}

/// A view belongs to an entry of the log; without it nothing of the part is kept.
pub async fn the_view_of_an_unknown_message_is_refused(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    let said = room.say("ana", "hello").await;
    let nowhere = message("ana", "never sent");
    for seq in [said.seq, Seq(0), Seq(99)] {
        let wrong = Message {
            seq,
            ..view(&nowhere, "edited")
        };
        let edit = plain(EntryKind::Edit, "ana", vec![EntryEffect::PutMessage(wrong)]);
        let refused = room.try_append(vec![edit]).await;
        assert!(
            matches!(refused, Err(AppendError::Store(StoreError::Invalid(_)))),
            "{seq}: {refused:?}"
        );
    }
    assert_eq!(room.log().await.len(), 1);
}

/// Whoever sends has read up to what they sent.
pub async fn sending_reads(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let first = room.say("bob", "are you there?").await;
    let unread = RegisterWrite {
        conversation: room.id.clone(),
        user: user("ana"),
        change: RegisterChange::UnreadFrom(first.seq),
    };
    store.write_registers(vec![unread]).await.expect("writes");
    let mut answer = message("ana", "yes");
    answer
        .effects
        .push(EntryEffect::ReadUpToHere { user: user("ana") });
    let seq = room.add(answer).await;
    let marks = store
        .registers(&room.id, &user("ana"))
        .await
        .expect("reads")
        .marks;
    assert_eq!(
        (marks.read, marks.delivered, marks.unread_from),
        (seq, seq, None)
    );
    assert_eq!(marks.version, 2, "it is the second change of marks here");
    assert_eq!(store.unread(&room.id, &user("ana")).await, Ok(0));
    assert_eq!(store.unread(&room.id, &user("bob")).await, Ok(2));
}

/// To a new member nothing from before is unread, also when they come back.
pub async fn a_new_member_has_read_all(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.say("ana", "before").await;
    let joined = room.join("bob").await;
    let read = |store: SharedStore, id| async move {
        let registers = store.registers(&id, &user("bob")).await.expect("reads");
        registers.marks.read
    };
    assert_eq!(
        read(store.clone(), room.id.clone()).await,
        Seq(joined.0 - 1)
    );
    room.say("ana", "welcome").await;
    assert_eq!(store.unread(&room.id, &user("bob")).await, Ok(1));
    room.leave("bob").await;
    room.say("ana", "gone?").await;
    let back = room.join("bob").await;
    assert_eq!(read(store.clone(), room.id.clone()).await, Seq(back.0 - 1));
    assert_eq!(store.unread(&room.id, &user("bob")).await, Ok(0));
}
