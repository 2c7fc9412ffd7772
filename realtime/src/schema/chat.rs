//! `chat:<conversation_id>` and `user:<user_id>`.

use quikapp_actors::{
    conversation::payload::{
        DeletePayload, EditPayload, ForgetPayload, InvitePayload, MessagePayload,
        NewConversationPayload, NotificationPayload, PinPayload, ReactionPayload, UpdatePayload,
    },
    delivery::payload::{ScheduledChanged, ScheduledFailed, ScheduledPayload},
    people::DevicesPayload,
    preferences::PreferencesPayload,
    registered::payload::RegisteredPayload,
    registers::payload::{DraftPayload, MutePayload, ReceiptPayload, UnreadPayload},
    typing::TypingPayload,
};
use serde::Deserialize;
use ts_rs::TS;

use super::{
    Topic, Type,
    people::{choices_made, shown},
};
use crate::{
    channels::{
        chat::params::{
            Acked, ChatJoin, ChatJoined, ConversationMute, ConversationNamed, DraftSet,
            HiddenPayload, HistoryPage, MessageAck, MessageDelete, MessageEdit, MessageHistory,
            MessageNamed, MessagePlace, MessageReaction, MessageSend, ScheduledList,
            ScheduledNamed,
        },
        user::params::{PlaceAcked, ProfilePayload, UserAck, UserAcked, UserJoin, UserJoined},
    },
    errors::Reason,
    preferences,
};

/// What every entry of a conversation's log carries besides its own members.
#[derive(Debug, Deserialize, TS)]
#[allow(
    dead_code,
    reason = "spliced in by the conversations, which are held against this in a test"
)]
pub(super) struct Placed {
    /// Its place in the conversation's log: dense, from 1.
    #[ts(as = "u32")]
    pub(super) seq: u64,
    /// The place of the message that it is about.
    #[ts(optional, as = "Option<u32>")]
    pub(super) message_seq: Option<u64>,
}

fn placed<T: TS + 'static>() -> Type {
    Type::of::<T>().and(Type::of::<Placed>())
}

pub(super) fn chat() -> Topic {
    let topic = Topic::new(
        "chat:<conversation_id>",
        "A conversation, for its members. Entries of its log come in the order of `seq` and \
         without gaps. A join with `last_seq` is answered with what was missed since; where there \
         is `more`, `message:ack` of its last entry brings the next batch, and live entries wait; \
         the same acknowledgement, sent again, brings the same batch. `reset_required` says that too much was missed, or that the device has acknowledged nothing \
         here, and that the history is to be read instead.",
    )
    .also(&["conversation:<conversation_id>"])
    .join(
        Type::of::<ChatJoin>(),
        Type::of::<ChatJoined>(),
        &[Reason::NotAParticipant, Reason::ConversationNotFound],
    );
    let topic = registers(reading(commands(topic)));
    let topic = entries(topic)
        .sends(
            "conversation:updated",
            placed::<UpdatePayload>(),
            "Members came or went, or a role or the name changed.",
        )
        .sends(
            "message:delivered",
            Type::of::<ReceiptPayload>(),
            "A member's devices have everything up to here.",
        )
        .sends(
            "message:read",
            Type::of::<ReceiptPayload>(),
            "A member has read everything up to here.",
        )
        .sends(
            "typing:start",
            Type::of::<TypingPayload>(),
            "Somebody types; said again now and then while it lasts.",
        )
        .sends(
            "typing:stop",
            Type::of::<TypingPayload>(),
            "They do no longer: they said so, were silent for 5 seconds, or their socket died.",
        );
    shown(topic)
}

fn commands(topic: Topic) -> Topic {
    let write = [Reason::NotAParticipant, Reason::Blocked];
    let about = [
        Reason::NotAParticipant,
        Reason::MessageNotFound,
        Reason::Forbidden,
    ];
    let react = || Type::of::<MessageReaction>();
    topic
        .takes(
            "message:send",
            Type::of::<MessageSend>(),
            placed::<MessagePayload>().or(Type::of::<ScheduledPayload>()),
            &[write[0], write[1], Reason::IdempotencyConflict],
            "Answered once the message is durable. The same `client_id` with the same content is \
             the same message, also where its sender could not send any more: after \
             `outcome_unknown`, a lost connection or a timeout, a client sends it again and hears \
             what became of it. Whose membership has ended meanwhile, and their channel with it, \
             asks by `POST /api/conversations/:id/messages`. With `send_at` it is answered with the scheduled message, and sent \
             then if its author still may. With `ttl` its content disappears after so many \
             seconds (`message:deleted` with `reason: \"expired\"`). Of class `until_delivered`, \
             its content is kept only until every device of every member has acknowledged it \
             (`message:forgotten`; in conversations of more than `delivery.queue_up_to_members` \
             up to an hour longer). Of class `ephemeral`, it goes to whoever is connected: it has \
             no `seq`, is in no history, and is neither replayed nor found by its `client_id`.",
        )
        .takes(
            "message:edit",
            Type::of::<MessageEdit>(),
            placed::<EditPayload>(),
            &about,
            "Only the sender may.",
        )
        .takes(
            "message:delete",
            Type::of::<MessageDelete>(),
            placed::<DeletePayload>().or(Type::nothing()),
            &about,
            "For everyone (the sender, or an admin), or only for oneself; the latter is answered \
             with an empty object, and told to one's devices as `message:hidden` on \
             `user:<user_id>`.",
        )
        .takes(
            "message:reaction:add",
            react(),
            placed::<ReactionPayload>(),
            &about,
            "",
        )
        .takes(
            "message:reaction:remove",
            react(),
            placed::<ReactionPayload>(),
            &about,
            "",
        )
        .takes(
            "message:pin",
            Type::of::<MessageNamed>(),
            placed::<PinPayload>(),
            &about,
            "",
        )
        .takes(
            "message:unpin",
            Type::of::<MessageNamed>(),
            placed::<PinPayload>(),
            &about,
            "",
        )
        .takes(
            "message:scheduled:list",
            Type::nothing(),
            Type::of::<ScheduledList>(),
            &[write[0]],
            "One's own, in this conversation.",
        )
        .takes(
            "message:scheduled:cancel",
            Type::of::<ScheduledNamed>(),
            Type::nothing(),
            &[write[0], Reason::MessageNotFound],
            "One that is being sent, or was, or may have been, is not found.",
        )
}

fn reading(topic: Topic) -> Topic {
    let member = [Reason::NotAParticipant];
    topic
        .takes(
            "message:history",
            Type::of::<MessageHistory>(),
            Type::of::<HistoryPage>(),
            &member,
            "A page of messages, ascending, with edits, reactions, pins and deletions folded in.",
        )
        .takes(
            "message:ack",
            Type::of::<MessageAck>(),
            Type::of::<Acked>(),
            &member,
            "The device has everything up to here: its cursor moves, and the next batch follows.",
        )
        .takes(
            "conversation:join",
            Type::of::<ConversationNamed>(),
            Type::nothing(),
            &member,
            "Joining the topic is what counts; kept for older clients.",
        )
        .takes(
            "conversation:leave",
            Type::of::<ConversationNamed>(),
            Type::nothing(),
            &member,
            "Leaving the topic is what counts; kept for older clients.",
        )
        .takes(
            "typing:start",
            Type::of::<ConversationNamed>(),
            Type::nothing(),
            &member,
            "Holds for 5 seconds, and ends at once with the socket.",
        )
        .takes(
            "typing:stop",
            Type::of::<ConversationNamed>(),
            Type::nothing(),
            &member,
            "",
        )
}

fn registers(topic: Topic) -> Topic {
    let about = [Reason::NotAParticipant, Reason::MessageNotFound];
    let member = [Reason::NotAParticipant];
    let place = || Type::written("{ seq: number }");
    topic
        .takes(
            "message:delivered",
            Type::of::<MessagePlace>(),
            place(),
            &about,
            "Everything up to here has reached a device.",
        )
        .takes(
            "message:read",
            Type::of::<MessagePlace>(),
            place(),
            &about,
            "Everything up to here was read. With `thread_root`, only that thread was; nobody \
             else hears of it.",
        )
        .takes(
            "message:unread",
            Type::of::<MessagePlace>(),
            place(),
            &about,
            "Marks everything from here on as unread.",
        )
        .takes(
            "draft:set",
            Type::of::<DraftSet>(),
            Type::nothing(),
            &member,
            "Told to one's own devices on `user:<user_id>`.",
        )
        .takes(
            "conversation:mute",
            Type::of::<ConversationMute>(),
            Type::nothing(),
            &member,
            "Told to one's own devices on `user:<user_id>`.",
        )
}

/// The entries of a conversation's log.
fn entries(topic: Topic) -> Topic {
    topic
        .sends(
            "message:new",
            placed::<MessagePayload>(),
            "A message was sent.",
        )
        .sends(
            "message:edited",
            placed::<EditPayload>(),
            "Its text was replaced.",
        )
        .sends(
            "message:deleted",
            placed::<DeletePayload>(),
            "It was deleted for everyone, or its `ttl` is over, or its sender was erased: then \
             `deleted_by` is null and `reason` is `expired` or `erased`.",
        )
        .sends(
            "message:forgotten",
            placed::<ForgetPayload>(),
            "The server no longer has the content of a message of class `until_delivered`. What \
             a device has, it keeps.",
        )
        .sends("message:reaction:added", placed::<ReactionPayload>(), "")
        .sends("message:reaction:removed", placed::<ReactionPayload>(), "")
        .sends("message:pinned", placed::<PinPayload>(), "")
        .sends("message:unpinned", placed::<PinPayload>(), "")
}

pub(super) fn user() -> Topic {
    let topic = Topic::new(
        "user:<user_id>",
        "The one stream of a person over all of their conversations, for themselves only. Entries \
         of conversations that this socket has joined come there, and not here. A join with \
         `cursor` is answered with what was missed since, at most 100 entries at a time: where \
         there is `more`, `message:ack` of the reply's `cursor` brings the next batch, and live \
         entries wait; the same acknowledgement, sent again, brings the same batch. \
         Conversations with a call or a system message come first, and the cursor names the same \
         place meanwhile. `reset_required` says that too much was missed, or too long ago, or that \
         nothing is known of what the device has.",
    )
    .join(
        Type::of::<UserJoin>(),
        Type::of::<UserJoined>(),
        &[Reason::Forbidden],
    )
    .takes(
        "message:ack",
        Type::of::<UserAck>(),
        Type::of::<UserAcked>().or(Type::of::<PlaceAcked>()),
        &[Reason::NotAParticipant, Reason::ConversationNotFound],
        "The device has everything up to a cursor, or to a place in one conversation.",
    )
    .takes(
        "stream:cursor",
        Type::nothing(),
        Type::of::<UserAcked>(),
        &[],
        "A cursor behind everything that was shown so far.",
    )
    .takes(
        "preferences:set",
        Type::of::<preferences::Form>(),
        Type::of::<PreferencesPayload>(),
        &[],
        "Changes what one prefers, by a JSON merge patch: what is left out stays, null restores \
         the default.",
    );
    choices_made(told(entries(topic)))
}

fn told(topic: Topic) -> Topic {
    topic
        .sends(
            "conversation:new",
            placed::<NewConversationPayload>(),
            "One has become a member of a conversation.",
        )
        .sends(
            "conversation:updated",
            placed::<UpdatePayload>(),
            "One's own membership, or a conversation, changed.",
        )
        .sends(
            "conversation:invite",
            placed::<InvitePayload>(),
            "Somebody else made one a member of a group; behind its `conversation:new`.",
        )
        .sends(
            "notification",
            placed::<NotificationPayload>(),
            "One was mentioned in a message of a conversation that one is a member of.",
        )
        .sends(
            "profile:sync",
            placed::<ProfilePayload>(),
            "One changed one's profile, on this device or another.",
        )
        .sends(
            "preferences:changed",
            placed::<PreferencesPayload>(),
            "One changed what one prefers, on this device or another.",
        )
        .sends(
            "devices:changed",
            Type::of::<DevicesPayload>(),
            "One is connected with other devices than before.",
        )
        .sends(
            "devices:registered",
            placed::<RegisteredPayload>(),
            "One has registered, changed or removed a device: all that are registered now, whether \
             or not they are connected.",
        )
        .sends(
            "scheduled:changed",
            Type::of::<ScheduledChanged>(),
            "A scheduled message of one's own came or went, on this device or another.",
        )
        .sends(
            "message:scheduled:failed",
            placed::<ScheduledFailed>(),
            "A scheduled message could not be sent: one is no longer a member, or blocked, or \
             what it answers is gone.",
        )
        .sends(
            "message:hidden",
            placed::<HiddenPayload>(),
            "One has deleted a message for oneself, on this device or another.",
        )
        .sends(
            "unread:changed",
            Type::of::<UnreadPayload>(),
            "In one conversation.",
        )
        .sends(
            "draft:changed",
            Type::of::<DraftPayload>(),
            "On another device, or this one.",
        )
        .sends(
            "mute:changed",
            Type::of::<MutePayload>(),
            "On another device, or this one.",
        )
}
