//! Large groups: receipts of others are counts.

use futures_util::future::join_all;
use quikapp_actors::registers::{Change, Mark};
use quikapp_storage::{RegisterChange, Seq};

use super::*;
use crate::auth::test_kit::person;

/// A group of so many in which everybody has read the one message that there is.
async fn read_by_all(world: &World, count: usize) -> ConversationId {
    let names: Vec<String> = (0..count).map(|nth| format!("m{nth}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = world.conversation(&names).await;
    let message = conversation::SendMessage {
        kind: "text".into(),
        content: Some("hello".into()),
        ..conversation::SendMessage::default()
    };
    let command = conversation::Command::Send(Box::new(message));
    let (conversations, registers) = (&world.backend.conversations, &world.backend.registers);
    let first = person("acme", "m0");
    conversations.submit(&first, &id, command).await.unwrap();
    let marks = names.iter().map(|name| {
        registers.change(Change::Mark(Mark {
            person: person("acme", name),
            device: None,
            conversation: id.clone(),
            message: None,
            change: RegisterChange::Read(Seq(1)),
        }))
    });
    for marked in join_all(marks).await {
        marked.unwrap();
    }
    id
}

#[tokio::test]
async fn a_join_shows_the_marks_of_others_in_small_groups_only() {
    let world = World::start().await;
    for count in [100, 101] {
        let id = read_by_all(&world, count).await;
        let mut client = world.socket("m7").await;
        let joined = client.join(&format!("chat:{id}"), nothing()).await.ok();
        let registers = &joined["registers"];
        let marks = registers["marks"].as_array().unwrap();
        if count == 100 {
            assert_eq!(marks.len(), 100);
            assert!(registers["version"].as_u64().unwrap() > 0);
        } else {
            assert_eq!(marks.len(), 1);
            holds(&marks[0], json!({"user_id": "m7", "read": 1}));
            assert_eq!(registers["version"], 0);
        }
    }
}
