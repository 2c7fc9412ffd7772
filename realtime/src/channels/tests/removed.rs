//! Whoever is removed hears no more, whatever their channel is doing.

use super::*;
use crate::auth::test_kit::person;

/// Receipts are gathered for a quarter of a second; meanwhile the handler is under way, and so it
/// is for as long as the store takes.
#[tokio::test]
async fn a_busy_channel_shows_nothing_behind_a_removal() {
    let world = World::start().await;
    let id = world.conversation(&["ann", "bob"]).await;
    let topic = format!("chat:{id}");
    let conversations = &world.backend.conversations;
    let submit = async |command| {
        let ann = person("acme", "ann");
        conversations.submit(&ann, &id, command).await.unwrap();
    };
    let say = async |content: &str| {
        let message = conversation::SendMessage {
            kind: "text".into(),
            content: Some(content.into()),
            ..conversation::SendMessage::default()
        };
        submit(conversation::Command::Send(Box::new(message))).await;
    };
    let mut bob = world.socket("bob").await;
    bob.join(&topic, nothing()).await.ok();
    say("for bob").await;
    bob.event(&topic, "message:new").await;
    // A receipt soon after another waits for the window to end.
    let seq = json!({"seq": 1});
    let first = bob.push(&topic, "message:delivered", seq.clone());
    first.await.ok();
    let reading = bob.start_push(&topic, "message:read", seq).await;
    let user = person("acme", "bob").user;
    submit(conversation::Command::RemoveMember { user }).await;
    say("not for bob").await;
    let mut heard = bob.so_far().await;
    let is_answered = |heard: &[Received]| heard.iter().any(|it| it.msg_ref == json!(reading));
    while heard.last().is_none_or(|it| it.event != "phx_close") {
        heard.push(bob.next().await);
    }
    assert!(is_answered(&heard));
    assert!(events(&heard).contains(&"conversation:updated"));
    assert!(!events(&heard).contains(&"message:new"), "{heard:?}");
}
