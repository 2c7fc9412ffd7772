#![allow(clippy::unwrap_used)]

use std::time::Duration;

use quikapp_storage::{
    Claim, EntryEffect, EntryId, EntryKind, Key16, NewConversation, NewEntry, OwnerId, Seq,
};

use super::*;
use crate::auth::{
    Config as AuthConfig, Grant,
    test_kit::{NOW, Node, admin, member, until},
};

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

async fn conversation(
    node: &Node,
    workspace: &str,
    kind: ConversationKind,
    members: &[(&str, Role)],
) -> ConversationId {
    let id = ConversationId::generate();
    let new = NewConversation {
        id: id.clone(),
        workspace: WorkspaceId::new(workspace).unwrap(),
        kind,
        name: None,
        created_by: user(members[0].0),
        created_at: NOW,
        members: members
            .iter()
            .map(|(name, role)| (user(name), *role))
            .collect(),
    };
    node.store.create_conversation(new).await.unwrap();
    id
}

/// Ends a membership the way a sequencer does, without telling the policy.
async fn remove(node: &Node, id: &ConversationId, name: &str) {
    let claim = Claim {
        owner: OwnerId::generate(),
        now: NOW,
        min_tenure_ms: 0,
    };
    let taken = node.store.acquire(id, claim).await.unwrap().conversation;
    let entry = NewEntry {
        id: EntryId::generate(),
        kind: EntryKind::MemberLeft,
        sender: user(name),
        keys: Key16(*uuid::Uuid::new_v4().as_bytes()).into(),
        hash: [0; 32],
        counts: false,
        target: None,
        payload: "{}".into(),
        at: NOW,
        effects: vec![EntryEffect::CloseMember { user: user(name) }],
    };
    let part = quikapp_storage::Append {
        conversation: id.clone(),
        epoch: taken.epoch,
        tail: Seq(taken.tail.0),
        entries: vec![entry],
    };
    node.store.append(vec![part]).await.remove(0).unwrap();
}

async fn verdict(node: &Node, grant: &Grant, action: Action<'_>) -> Result<(), Reason> {
    let principal = node.principal(grant).await;
    node.policy
        .check(&principal, action)
        .await
        .map_err(|refusal| refusal.reason)
}

const ACTS: [ConversationAct; 7] = [
    ConversationAct::Read,
    ConversationAct::Write,
    ConversationAct::Append,
    ConversationAct::Send,
    ConversationAct::Type,
    ConversationAct::ManageMembers,
    ConversationAct::ChangeRoles,
];

#[tokio::test]
async fn a_conversation_is_for_its_members_by_their_role() {
    let node = Node::start().await;
    let people = [
        ("olga", Role::Owner),
        ("ada", Role::Admin),
        ("max", Role::Member),
    ];
    let id = conversation(&node, "acme", ConversationKind::Group, &people).await;
    let table = [
        ("olga", [true, true, true, true, true, true, true]),
        ("ada", [true, true, true, true, true, true, false]),
        ("max", [true, true, true, true, true, false, false]),
    ];
    for (name, allowed) in table {
        for (act, allowed) in ACTS.into_iter().zip(allowed) {
            let action = Action::Conversation { id: &id, act };
            let expected = if allowed {
                Ok(())
            } else {
                Err(Reason::Forbidden)
            };
            assert_eq!(
                verdict(&node, &member("acme", name), action).await,
                expected,
                "{name} {act:?}"
            );
        }
    }
}

#[tokio::test]
async fn outsiders_are_told_so_and_strangers_see_nothing() {
    let node = Node::start().await;
    let people = [("olga", Role::Owner), ("ada", Role::Member)];
    let id = conversation(&node, "acme", ConversationKind::Group, &people).await;
    let nowhere = ConversationId::generate();
    let own = member("acme", "olga").person.own_conversation();
    conversation_of(&node, &member("acme", "olga")).await;
    for act in ACTS {
        let at = |id| Action::Conversation { id, act };
        let outsider = member("acme", "eve");
        let namesake = admin("umbrella", "olga");
        assert_eq!(
            verdict(&node, &outsider, at(&id)).await,
            Err(Reason::NotAParticipant)
        );
        assert_eq!(
            verdict(&node, &admin("acme", "eve"), at(&id)).await,
            Err(Reason::NotAParticipant)
        );
        assert_eq!(
            verdict(&node, &namesake, at(&id)).await,
            Err(Reason::ConversationNotFound)
        );
        assert_eq!(
            verdict(&node, &outsider, at(&nowhere)).await,
            Err(Reason::ConversationNotFound)
        );
        let olga = member("acme", "olga");
        assert_eq!(
            verdict(&node, &olga, at(&own)).await,
            Err(Reason::ConversationNotFound)
        );
    }
}

async fn conversation_of(node: &Node, grant: &Grant) {
    let person = &grant.person;
    let new = NewConversation {
        id: person.own_conversation(),
        workspace: person.workspace.clone(),
        kind: ConversationKind::Person,
        name: None,
        created_by: person.user.clone(),
        created_at: NOW,
        members: vec![(person.user.clone(), Role::Owner)],
    };
    node.store.create_conversation(new).await.unwrap();
}

#[tokio::test]
async fn a_removal_acts_within_a_second_and_at_once_when_announced() {
    let node = Node::start().await;
    let people = [
        ("olga", Role::Owner),
        ("ada", Role::Member),
        ("max", Role::Member),
    ];
    let id = conversation(&node, "acme", ConversationKind::Group, &people).await;
    let read = Action::Conversation {
        id: &id,
        act: ConversationAct::Read,
    };
    let (ada, max) = (member("acme", "ada"), member("acme", "max"));
    assert_eq!(verdict(&node, &ada, read).await, Ok(()));
    let removed = tokio::time::Instant::now();
    remove(&node, &id, "ada").await;
    until(async || verdict(&node, &ada, read).await == Err(Reason::NotAParticipant)).await;
    assert!(removed.elapsed() < Duration::from_secs(1));

    assert_eq!(verdict(&node, &max, read).await, Ok(()));
    remove(&node, &id, "max").await;
    node.policy.membership_changed(&id);
    assert_eq!(
        verdict(&node, &max, read).await,
        Err(Reason::NotAParticipant)
    );
}

/// Sending is decided by the sequencer, which knows what they sent while they were a member.
#[tokio::test]
async fn whoever_was_a_member_may_ask_what_became_of_a_message_and_nothing_else() {
    let node = Node::start().await;
    let people = [("olga", Role::Owner), ("ada", Role::Member)];
    let id = conversation(&node, "acme", ConversationKind::Group, &people).await;
    remove(&node, &id, "ada").await;
    for act in ACTS {
        let expected = match act {
            ConversationAct::Send => Ok(()),
            _ => Err(Reason::NotAParticipant),
        };
        let action = Action::Conversation { id: &id, act };
        let ada = verdict(&node, &member("acme", "ada"), action).await;
        assert_eq!(ada, expected, "{act:?}");
    }
}

#[tokio::test]
async fn what_is_remembered_spares_the_store() {
    let node = Node::start().await;
    let people = [("olga", Role::Owner), ("ada", Role::Member)];
    let id = conversation(&node, "acme", ConversationKind::Group, &people).await;
    let principal = node.principal(&member("acme", "ada")).await;
    let read = Action::Conversation {
        id: &id,
        act: ConversationAct::Read,
    };
    tokio::time::pause();
    node.policy.check(&principal, read).await.unwrap();
    node.store.close().await;
    node.policy.check(&principal, read).await.unwrap();
    tokio::time::advance(cache::STALENESS).await;
    assert!(node.policy.check(&principal, read).await.is_err());
}

#[tokio::test]
async fn where_the_sequencer_decides_again_a_membership_once_seen_is_enough() {
    let node = Node::start().await;
    let people = [("olga", Role::Owner), ("ada", Role::Member)];
    let id = conversation(&node, "acme", ConversationKind::Group, &people).await;
    let ada = node.principal(&member("acme", "ada")).await;
    let eve = node.principal(&member("acme", "eve")).await;
    let append = Action::Conversation {
        id: &id,
        act: ConversationAct::Append,
    };
    tokio::time::pause();
    node.policy.check(&ada, append).await.unwrap();
    assert!(node.policy.check(&eve, append).await.is_err());
    node.store.close().await;
    tokio::time::advance(cache::STALENESS).await;
    node.policy.check(&ada, append).await.unwrap();
    // Somebody who was none is asked for again.
    let refusal = node.policy.check(&eve, append).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Unavailable);
    node.policy.membership_changed(&id);
    assert!(node.policy.check(&ada, append).await.is_err());
}

#[tokio::test]
async fn ended_and_revoked_principals_may_do_nothing() {
    let node = Node::start().await;
    let ended = node.principal(&member("acme", "ada")).await;
    let revoked = node.principal(&member("acme", "bob")).await;
    node.authenticator
        .revocations
        .sign_out(&revoked)
        .await
        .unwrap();
    let refusal = node
        .policy
        .check(&revoked, Action::Lobby)
        .await
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::TokenRevoked);
    assert_eq!(node.policy.check(&ended, Action::Lobby).await, Ok(()));
    node.clock.advance_ms(3_600_000);
    let refusal = node.policy.check(&ended, Action::Lobby).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TokenExpired);
}

#[tokio::test]
async fn streams_workspaces_and_administration() {
    let node = Node::start().await;
    let (ada, root) = (member("acme", "ada"), admin("acme", "root"));
    let (own, other) = (user("ada"), user("bob"));
    let (acme, umbrella) = (
        WorkspaceId::new("acme").unwrap(),
        WorkspaceId::new("umbrella").unwrap(),
    );
    let no = Err(Reason::Forbidden);
    let table = [
        (&ada, Action::OwnStream { user: &own }, Ok(())),
        (&ada, Action::OwnStream { user: &other }, no),
        (&root, Action::OwnStream { user: &own }, no),
        (&ada, Action::WorkspacePresence { workspace: &acme }, Ok(())),
        (
            &ada,
            Action::WorkspacePresence {
                workspace: &umbrella,
            },
            no,
        ),
        (
            &root,
            Action::WorkspacePresence {
                workspace: &umbrella,
            },
            no,
        ),
        (&ada, Action::Lobby, Ok(())),
        (&ada, Action::OwnTokens, Ok(())),
        (&ada, Action::Administer, no),
        (&root, Action::Administer, Ok(())),
        (&ada, Action::Block { user: &other }, Ok(())),
        (&ada, Action::Block { user: &own }, no),
    ];
    for (grant, action, expected) in table {
        assert_eq!(verdict(&node, grant, action).await, expected, "{action:?}");
    }
}

#[tokio::test]
async fn rooms_open_by_claim_or_to_the_workspace() {
    let claimed = Node::start().await;
    let open = Config {
        rooms: OpenRooms::Workspace,
        ..Config::default()
    };
    let open = Node::with(AuthConfig::default(), open).await;
    let mut grant = member("acme", "ada");
    grant
        .rooms
        .insert("broadcast:game-*".into(), vec![RoomAccess::Read]);
    let no = Err(Reason::RoomForbidden);
    let table = [
        ("broadcast:game-1", RoomAccess::Read, Ok(())),
        ("broadcast:game-1", RoomAccess::Write, no),
        ("broadcast:other", RoomAccess::Read, no),
    ];
    for (topic, access, expected) in table {
        let action = Action::Room { topic, access };
        assert_eq!(verdict(&claimed, &grant, action).await, expected, "{topic}");
        assert_eq!(verdict(&open, &grant, action).await, Ok(()), "{topic}");
    }
}

#[tokio::test]
async fn a_block_hides_and_forbids_in_both_directions() {
    let node = Node::start().await;
    let (ada, bob) = (member("acme", "ada"), member("acme", "bob"));
    let (a, b) = (user("ada"), user("bob"));
    assert_eq!(
        verdict(&node, &ada, Action::SeePerson { user: &b }).await,
        Ok(())
    );
    node.store
        .set_block(&ada.person, &b, true, NOW)
        .await
        .unwrap();
    node.policy.blocks_changed(&node.principal(&ada).await, &b);
    for (grant, other) in [(&ada, &b), (&bob, &a)] {
        let with = std::slice::from_ref(other);
        let direct = Action::CreateConversation {
            kind: ConversationKind::Direct,
            members: with,
        };
        assert_eq!(verdict(&node, grant, direct).await, Err(Reason::Blocked));
        let see = Action::SeePerson { user: other };
        assert_eq!(verdict(&node, grant, see).await, Err(Reason::UserNotFound));
    }
    let namesake = member("umbrella", "ada");
    let see = Action::SeePerson { user: &b };
    assert_eq!(
        verdict(&node, &namesake, see).await,
        Ok(()),
        "a block ends at the workspace"
    );
}

#[tokio::test]
async fn a_block_set_on_another_node_acts_within_a_second() {
    let node = Node::start().await;
    let (ada, b) = (member("acme", "ada"), user("bob"));
    let see = Action::SeePerson { user: &b };
    assert_eq!(verdict(&node, &ada, see).await, Ok(()));
    let blocked = tokio::time::Instant::now();
    node.store
        .set_block(&ada.person, &b, true, NOW)
        .await
        .unwrap();
    until(async || verdict(&node, &ada, see).await.is_err()).await;
    assert!(blocked.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn presence_may_be_kept_among_people_who_share_a_conversation() {
    let close = Config {
        presence: PresenceVisibility::SharedConversation,
        ..Config::default()
    };
    let node = Node::with(AuthConfig::default(), close).await;
    let people = [("ada", Role::Owner), ("bob", Role::Member)];
    conversation(&node, "acme", ConversationKind::Group, &people).await;
    let (bob, eve) = (user("bob"), user("eve"));
    let ada = member("acme", "ada");
    assert_eq!(
        verdict(&node, &ada, Action::SeePerson { user: &bob }).await,
        Ok(())
    );
    let stranger = Action::SeePerson { user: &eve };
    assert_eq!(
        verdict(&node, &ada, stranger).await,
        Err(Reason::UserNotFound)
    );
}

#[tokio::test]
async fn last_seen_is_for_people_who_share_a_conversation() {
    let node = Node::start().await;
    let people = [("ada", Role::Owner), ("bob", Role::Member)];
    conversation(&node, "acme", ConversationKind::Group, &people).await;
    let (bob, eve) = (user("bob"), user("eve"));
    let ada = member("acme", "ada");
    assert_eq!(
        verdict(&node, &ada, Action::SeeLastSeen { user: &bob }).await,
        Ok(())
    );
    let stranger = Action::SeeLastSeen { user: &eve };
    assert_eq!(verdict(&node, &ada, stranger).await, Err(Reason::Forbidden));
}
