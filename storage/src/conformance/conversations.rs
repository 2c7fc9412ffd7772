//! Conversations, pairs, members, and a person's list.

use std::{collections::HashSet, sync::Arc};

use tokio::task::JoinSet;

use super::support::{NOW, Room, new_conversation, plain, user, workspace};
use crate::{
    ConversationId, ConversationKind, Created, EntryEffect, EntryKind, NewConversation, Person,
    Role, Seq, SharedStore, StoreError, Timestamp,
};

/// The same id again finds what there is, unchanged.
pub async fn an_id_is_created_once(store: SharedStore) {
    let new = new_conversation(&workspace(), ConversationKind::Group, &["ana", "bob"]);
    let created = store
        .create_conversation(new.clone())
        .await
        .expect("creates");
    let Created::New(conversation) = created else {
        panic!("it is new: {created:?}");
    };
    assert_eq!((conversation.tail, conversation.n), (Seq(0), 0));
    assert_eq!(conversation.id, new.id);
    assert_eq!(conversation.workspace, new.workspace);
    assert_eq!(conversation.kind, ConversationKind::Group);
    assert_eq!(conversation.name.as_deref(), Some("a room"));
    assert_eq!(conversation.created_by, user("ana"));
    assert_eq!(conversation.created_at, NOW);
    let again = NewConversation {
        name: Some("another name".to_owned()),
        members: vec![(user("eve"), Role::Owner)],
        ..new.clone()
    };
    let found = store.create_conversation(again).await;
    assert_eq!(found, Ok(Created::Existing(conversation.clone())));
    assert_eq!(store.conversation(&new.id).await, Ok(Some(conversation)));
    let members = store.members(&new.id, None, 10).await.expect("reads");
    let members: Vec<_> = members
        .into_iter()
        .map(|member| (member.user, member.from_seq, member.to_seq, member.role))
        .collect();
    let expected = [
        (user("ana"), Seq(1), None, Role::Owner),
        (user("bob"), Seq(1), None, Role::Member),
    ];
    assert_eq!(members, expected);
}

/// However many create it at once, from either side, a pair has one conversation.
pub async fn a_pair_has_one_conversation(store: SharedStore) {
    let workspace = workspace();
    let mut creations = JoinSet::new();
    for turn in 0..20 {
        let names = if turn % 2 == 0 {
            ["ana", "bob"]
        } else {
            ["bob", "ana"]
        };
        let new = new_conversation(&workspace, ConversationKind::Direct, &names);
        let store = Arc::clone(&store);
        creations.spawn(async move { store.create_conversation(new).await.expect("creates") });
    }
    let created = creations.join_all().await;
    let new = created.iter().filter(|one| matches!(one, Created::New(_)));
    assert_eq!(new.count(), 1, "{created:?}");
    let ids: HashSet<ConversationId> = created
        .into_iter()
        .map(|one| match one {
            Created::New(conversation) | Created::Existing(conversation) => conversation.id,
        })
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let id = ids.into_iter().next();
    assert_eq!(
        store.direct(&workspace, &user("bob"), &user("ana")).await,
        Ok(id.clone())
    );
    assert_eq!(
        store.direct(&workspace, &user("ana"), &user("bob")).await,
        Ok(id)
    );
    assert_eq!(
        store.direct(&workspace, &user("ana"), &user("eve")).await,
        Ok(None)
    );
}

/// Neither one person nor three are a pair.
pub async fn a_direct_conversation_is_for_two(store: SharedStore) {
    for names in [&["ana"][..], &["ana", "ana"], &["ana", "bob", "eve"]] {
        let new = new_conversation(&workspace(), ConversationKind::Direct, names);
        let id = new.id.clone();
        let refused = store.create_conversation(new).await;
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{names:?}: {refused:?}"
        );
        assert_eq!(store.conversation(&id).await, Ok(None), "{names:?}");
    }
}

/// Members come by user id, in pages, without those who left.
pub async fn members_page_by_user_id(store: SharedStore) {
    let mut room = Room::new(&store, &["dora", "ana", "eve", "bob", "cem"]).await;
    room.leave("cem").await;
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let page = store
            .members(&room.id, after.as_ref(), 2)
            .await
            .expect("reads");
        let Some(last) = page.last() else { break };
        after = Some(last.user.clone());
        pages.push(
            page.iter()
                .map(|member| member.user.to_string())
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(pages, [vec!["ana", "bob"], vec!["dora", "eve"]]);
}

/// The same names in two tenants are different people with different conversations.
pub async fn tenants_are_apart(store: SharedStore) {
    let (one, two) = (workspace(), workspace());
    let pair = |workspace| new_conversation(workspace, ConversationKind::Direct, &["ana", "bob"]);
    let first = Room::create(&store, pair(&one)).await;
    let second = Room::create(&store, pair(&two)).await;
    assert_ne!(first.id, second.id);
    let found = store.direct(&two, &user("ana"), &user("bob")).await;
    assert_eq!(found, Ok(Some(second.id.clone())));
    let listed = store.conversations_of(&first.person("ana")).await;
    assert_eq!(listed, Ok(vec![(first.id.clone(), Role::Owner)]));
    assert_eq!(
        store.summary(&first.person("ana"), &second.id).await,
        Ok(None)
    );
}

/// A person's own conversation is no item of their list.
pub async fn the_own_conversation_is_not_listed(store: SharedStore) {
    let workspace = workspace();
    let ana = Person {
        workspace: workspace.clone(),
        user: user("ana"),
    };
    let own = NewConversation {
        id: ana.own_conversation(),
        ..new_conversation(&workspace, ConversationKind::Person, &["ana"])
    };
    let own = Room::create(&store, own).await;
    let room = Room::within(&store, &workspace, &["ana"]).await;
    let kind = store.conversation(&own.id).await.expect("reads");
    assert_eq!(kind.map(|found| found.kind), Some(ConversationKind::Person));
    let of = store.conversations_of(&ana).await;
    assert_eq!(of, Ok(vec![(room.id.clone(), Role::Owner)]));
    let list = store
        .list_conversations(&ana, None, 10)
        .await
        .expect("reads");
    let ids: Vec<_> = list.into_iter().map(|item| item.conversation.id).collect();
    assert_eq!(ids, [room.id]);
}

/// The most recently active comes first; pages neither overlap nor leave out.
pub async fn lists_page_by_activity(store: SharedStore) {
    let workspace = workspace();
    let mut expected = Vec::new();
    for turn in 0..7 {
        let mut room = Room::within(&store, &workspace, &["ana"]).await;
        let mut notice = plain(EntryKind::Notice, "server", Vec::new());
        // Two share a moment, so that the id decides between them.
        notice.at = Timestamp(NOW.0 + 1000 + turn / 2);
        room.add(notice.clone()).await;
        expected.push((notice.at, room.id));
    }
    let quiet = Room::within(&store, &workspace, &["ana"]).await;
    expected.push((NOW, quiet.id.clone()));
    let mut left = Room::within(&store, &workspace, &["ana"]).await;
    left.leave("ana").await;
    expected.sort();
    expected.reverse();
    let ana = quiet.person("ana");
    let mut listed = Vec::new();
    loop {
        let below = listed.last().cloned();
        let page = store
            .list_conversations(&ana, below, 3)
            .await
            .expect("reads");
        if page.is_empty() {
            break;
        }
        listed.extend(
            page.into_iter()
                .map(|item| (item.active_at, item.conversation.id)),
        );
    }
    assert_eq!(listed, expected);
}

/// Unread, role and newest message are those of the person, not of the log.
pub async fn summaries_show_what_the_person_sees(store: SharedStore) {
    let mut room = Room::new(&store, &["ana", "bob"]).await;
    let first = room.say("ana", "first").await;
    let second = room.say("ana", "second").await;
    let bob = room.person("bob");
    let shown = |summary: crate::ConversationSummary| {
        (
            summary.unread,
            summary.role,
            summary.last_message.map(|message| message.id),
        )
    };
    let summary = store.summary(&bob, &room.id).await.expect("reads");
    assert_eq!(summary.map(shown), Some((2, Role::Member, Some(second.id))));
    store
        .hide_message(&room.id, &bob.user, second.id)
        .await
        .expect("hides");
    let summary = store.summary(&bob, &room.id).await.expect("reads");
    assert_eq!(summary.map(shown), Some((2, Role::Member, Some(first.id))));
    room.join("eve").await;
    let eve = room.person("eve");
    let summary = store.summary(&eve, &room.id).await.expect("reads");
    assert_eq!(
        summary.map(shown),
        Some((0, Role::Member, None)),
        "nothing before they came"
    );
    let effect = EntryEffect::CloseMember { user: user("eve") };
    room.apply(EntryKind::MemberLeft, effect).await;
    assert_eq!(
        store.summary(&eve, &room.id).await,
        Ok(None),
        "no longer a member"
    );
}
