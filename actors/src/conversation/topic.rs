//! On which topics conversations are broadcast.

use quikapp_storage::{ConversationId, Person};

/// The topic of a conversation between people.
pub fn chat_topic(id: &ConversationId) -> String {
    format!("chat:{id}")
}

/// The other name of that topic.
pub fn alias_topic(id: &ConversationId) -> String {
    format!("conversation:{id}")
}

/// A topic on which nothing is broadcast: for channels that want the notes of who left a
/// conversation, and not its entries.
pub fn members_topic(id: &ConversationId) -> String {
    format!("members\u{1f}{id}")
}

/// The topic within this process on which what is for one person is broadcast: notices and what
/// their own registers say. Clients know it as `user:<id>`; no client can name this one, because
/// it holds a control character.
pub fn person_topic(person: &Person) -> String {
    person.own_conversation().as_str().to_owned()
}

/// The topic of any conversation.
pub fn topic_of(id: &ConversationId) -> String {
    if is_personal(id) {
        id.as_str().to_owned()
    } else {
        chat_topic(id)
    }
}

/// Whether it is a person's own conversation.
pub(crate) fn is_personal(id: &ConversationId) -> bool {
    id.as_str().contains('\u{1f}')
}
