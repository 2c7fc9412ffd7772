//! Messages: history, search, sending.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::CONTENT_TYPE};
use quikapp_actors::{
    conversation::{Command, MessageClass, SendMessage, wire},
    registers::payload::ThreadPayload,
};
use quikapp_storage::{
    ConversationId, Message, MessageId, MessageSearch, Page, Seq, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::{IntoParams, ToSchema};

use super::{
    Rest,
    body::{Body, Params, Segments},
    conversations::admitted,
    cursor,
    identity::Signed,
    problem::{Answer, ProblemDocument},
    scheduled::{ScheduledDocument, schedule},
};
use crate::{
    auth::Principal,
    channels::class_of,
    errors::{Reason, Refusal},
    policy::{Action, ConversationAct},
};

/// Messages that one search looks at.
const SEARCH_SCAN: usize = 5_000;
const MAX_QUERY_BYTES: usize = 256;

/// A message; the payload of `message:new`, where edits, reactions, pins and a deletion have been
/// folded in.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageDocument {
    id: String,
    /// Its place in the log.
    seq: u64,
    conversation_id: String,
    sender_id: String,
    client_id: Option<String>,
    /// text, image, video, audio, file, call or system.
    #[serde(rename = "type")]
    kind: String,
    content: Option<String>,
    #[schema(value_type = Vec<Object>)]
    attachments: Vec<Value>,
    reply_to: Option<String>,
    thread_root: Option<String>,
    /// `{emoji: [user_id]}`; absent where there are none.
    #[schema(value_type = Option<Object>)]
    reactions: Option<Value>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// Where one stands in a thread that one follows.
#[derive(Serialize, ToSchema)]
#[schema(as = Thread)]
pub(super) struct ThreadDocument {
    /// The message that the thread hangs on.
    thread_root: String,
    /// Messages in it that are unread.
    unread: u64,
    /// Up to where it was read.
    read: u64,
    /// Its newest message's place.
    last_seq: u64,
}

/// Which part of the history; one of `before_seq` and `after_seq`, or neither for the newest.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// The newest messages below this place.
    before_seq: Option<u64>,
    /// The oldest messages above this place.
    after_seq: Option<u64>,
    /// A thread instead of the main timeline.
    thread_root: Option<String>,
    /// From 1 to 100; 50 unless said otherwise.
    limit: Option<usize>,
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
pub(super) struct MessagesAnswer {
    /// Ascending by place in a history; the newest first in a search.
    #[schema(value_type = Vec<MessageDocument>)]
    messages: Vec<Box<RawValue>>,
    /// Whether there are more in the direction of the page.
    has_more: bool,
    /// For a search: pass it as `before_seq` to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    next_before_seq: Option<Seq>,
    /// Where one stands in the thread that was asked for, if one follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ThreadDocument>)]
    thread: Option<ThreadPayload>,
}

/// Read a conversation's messages.
#[utoipa::path(
    get, path = "/conversations/{id}/messages", tag = "messages",
    params(("id" = String, Path, description = "the conversation"), HistoryQuery),
    responses(
        (status = 200, description = "a page", body = MessagesAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
        (status = 422, description = "not a page", body = ProblemDocument),
    ),
)]
pub(super) async fn history(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
    Params(query): Params<HistoryQuery>,
) -> Answer<Json<MessagesAnswer>> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Read).await?;
    let limit = cursor::limit(query.limit)?;
    let page = page_of(&query)?;
    let thread = query.thread_root.as_deref().map(message_id).transpose()?;
    let user = principal.user();
    let visible = rest.store.membership(&id, user).await?;
    let found = rest
        .store
        .history(&id, &visible, user, thread, page, limit + 1)
        .await?;
    let (found, has_more) = without_extra(found, page, limit);
    let stand = match thread {
        None => None,
        Some(root) => rest.store.threads(&id, user, Some(&[root]), 1).await?.pop(),
    };
    Ok(Json(MessagesAnswer {
        messages: documents(&found)?,
        has_more,
        next_before_seq: None,
        thread: stand.map(Into::into),
    }))
}

fn page_of(query: &HistoryQuery) -> Result<Page, Refusal> {
    match (query.before_seq, query.after_seq) {
        (None, None) => Ok(Page::Latest),
        (Some(before), None) => Ok(Page::Before(Seq(before))),
        (None, Some(after)) => Ok(Page::After(Seq(after))),
        (Some(_), Some(_)) => {
            let detail = "not together with before_seq";
            Err(Refusal::invalid_field("after_seq", detail))
        }
    }
}

fn message_id(text: &str) -> Result<MessageId, Refusal> {
    MessageId::parse(text).map_err(|_| Refusal::invalid_field("thread_root", "not a message id"))
}

/// One more than the page was asked for: its far end says whether there are more.
fn without_extra(mut found: Vec<Message>, page: Page, limit: usize) -> (Vec<Message>, bool) {
    let has_more = found.len() > limit;
    if has_more {
        match page {
            Page::After(_) => found.truncate(limit),
            Page::Before(_) | Page::Latest => {
                found.remove(0);
            }
        }
    }
    (found, has_more)
}

fn documents(messages: &[Message]) -> Result<Vec<Box<RawValue>>, Refusal> {
    messages
        .iter()
        .map(|message| raw(&wire::message(message)))
        .collect()
}

/// JSON text as it is.
pub(super) fn raw(json: &str) -> Result<Box<RawValue>, Refusal> {
    RawValue::from_string(json.to_owned()).map_err(|error| {
        tracing::error!(%error, "a stored message is not JSON");
        Reason::Internal.into()
    })
}

/// What to look for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// Words; each must begin a word of the message.
    q: String,
    /// Only messages below this place.
    before_seq: Option<u64>,
    /// From 1 to 100; 50 unless said otherwise.
    limit: Option<usize>,
}

/// Search a conversation's messages by the beginnings of their words.
#[utoipa::path(
    get, path = "/conversations/{id}/messages/search", tag = "messages",
    params(("id" = String, Path, description = "the conversation"), SearchQuery),
    responses(
        (status = 200, description = "what was found, the newest first", body = MessagesAnswer),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
        (status = 422, description = "nothing to look for", body = ProblemDocument),
    ),
)]
pub(super) async fn search(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
    Params(query): Params<SearchQuery>,
) -> Answer<Json<MessagesAnswer>> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Read).await?;
    if query.q.trim().is_empty() || query.q.len() > MAX_QUERY_BYTES {
        let detail = format!("from 1 to {MAX_QUERY_BYTES} bytes");
        return Err(Refusal::invalid_field("q", detail).into());
    }
    let search = MessageSearch {
        visible: rest.store.membership(&id, principal.user()).await?,
        hidden_for: principal.user().clone(),
        query: query.q,
        before: query.before_seq.map(Seq),
        limit: cursor::limit(query.limit)?,
        scan: SEARCH_SCAN,
    };
    let (found, next_before_seq) = rest.store.search(&id, &search).await?;
    Ok(Json(MessagesAnswer {
        messages: documents(&found)?,
        has_more: next_before_seq.is_some(),
        next_before_seq,
        thread: None,
    }))
}

/// A message to send: what the event `message:send` carries.
#[derive(Deserialize, ToSchema)]
pub(super) struct SendRequest {
    /// Idempotency key: sent again with the same content, the answer is the first outcome, also
    /// to whoever is not a member any more. At most 128 bytes, best a UUIDv7; where the server has
    /// a horizon for keys, a UUIDv7 that is not older.
    #[serde(default, alias = "clientId")]
    client_id: Option<String>,
    /// text (unless said otherwise), image, video, audio, file, call or system.
    #[serde(rename = "type", default = "text")]
    kind: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    attachments: Option<Box<RawValue>>,
    #[serde(default, alias = "replyTo")]
    #[schema(value_type = Option<String>)]
    reply_to: Option<MessageId>,
    #[serde(default, alias = "threadRoot")]
    #[schema(value_type = Option<String>)]
    thread_root: Option<MessageId>,
    #[serde(default, alias = "isForwarded")]
    is_forwarded: bool,
    #[serde(default, alias = "forwardedFrom")]
    forwarded_from: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    mentions: Vec<UserId>,
    /// Send without a push.
    #[serde(default)]
    silent: bool,
    /// Opaque end-to-end encrypted content.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    envelope: Option<Box<RawValue>>,
    /// After so many seconds the message disappears.
    #[serde(default)]
    ttl: Option<u64>,
    /// Send it then (RFC 3339): the answer is 202 and the scheduled message.
    #[serde(default, alias = "sendAt")]
    #[schema(value_type = Option<String>, format = DateTime)]
    send_at: Option<Timestamp>,
    /// persistent (unless said otherwise), until_delivered or ephemeral.
    #[serde(default)]
    class: Option<String>,
}

fn text() -> String {
    "text".into()
}

impl TryFrom<SendRequest> for SendMessage {
    type Error = Refusal;

    fn try_from(request: SendRequest) -> Result<Self, Refusal> {
        let class = class_of(request.class.as_deref())?;
        let json = |value: Box<RawValue>| value.get().into();
        Ok(Self {
            client_id: request.client_id,
            kind: request.kind,
            content: request.content,
            attachments: request.attachments.map(json),
            reply_to: request.reply_to,
            thread_root: request.thread_root,
            is_forwarded: request.is_forwarded,
            forwarded_from: request.forwarded_from,
            mentions: request.mentions,
            silent: request.silent,
            envelope: request.envelope.map(json),
            class,
            ttl: request.ttl,
        })
    }
}

/// Send a message.
#[utoipa::path(
    post, path = "/conversations/{id}/messages", tag = "messages",
    params(("id" = String, Path, description = "the conversation")),
    request_body = SendRequest,
    responses(
        (status = 201, description = "sent, and durable (of class ephemeral: sent, without a place)", body = MessageDocument),
        (status = 202, description = "it will be sent at send_at", body = ScheduledDocument),
        (status = 200, description = "it was sent before, with the same client_id", body = MessageDocument),
        (status = 401, description = "no valid token", body = ProblemDocument),
        (status = 403, description = "not a member, or blocked", body = ProblemDocument),
        (status = 404, description = "no such conversation", body = ProblemDocument),
        (status = 409, description = "the client_id was used for another message", body = ProblemDocument),
        (status = 422, description = "the message does not fit", body = ProblemDocument),
        (status = 503, description = "nothing was done, or the outcome is unknown", body = ProblemDocument),
    ),
)]
pub(super) async fn send(
    State(rest): State<Rest>,
    Signed(principal): Signed,
    Segments(id): Segments<String>,
    Body(request): Body<SendRequest>,
) -> Answer<Response> {
    let id = admitted(&rest, &principal, &id, ConversationAct::Send).await?;
    let at = request.send_at;
    let send = SendMessage::try_from(request)?;
    if let Some(at) = at {
        let act = ConversationAct::Write;
        let action = Action::Conversation { id: &id, act };
        rest.policy.check(&principal, action).await?;
        return schedule(&rest, &principal, &id, send, at).await;
    }
    if send.class == MessageClass::Ephemeral {
        let act = ConversationAct::Type;
        let action = Action::Conversation { id: &id, act };
        rest.policy.check(&principal, action).await?;
        let conversations = &rest.conversations;
        let sent = conversations.send_ephemeral(&principal.person, &id, &send)?;
        return Ok(as_json(StatusCode::CREATED, &sent));
    }
    may_ask(&rest, &principal, &id, &send).await?;
    let outcome = rest
        .conversations
        .submit(&principal.person, &id, Command::Send(Box::new(send)))
        .await?;
    let status = match outcome.replayed {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    Ok(as_json(status, &outcome.payload))
}

/// Whoever is no longer a member may ask what became of a message that they sent. Of any other they
/// hear before the conversation is woken for them.
async fn may_ask(
    rest: &Rest,
    principal: &Principal,
    id: &ConversationId,
    send: &SendMessage,
) -> Answer<()> {
    let act = ConversationAct::Append;
    let action = Action::Conversation { id, act };
    match rest.policy.check(principal, action).await {
        Ok(()) => Ok(()),
        Err(refusal) => {
            let was_sent = rest.conversations.was_sent(&principal.person, id, send);
            match was_sent.await? {
                true => Ok(()),
                false => Err(refusal.into()),
            }
        }
    }
}

fn as_json(status: StatusCode, json: &str) -> Response {
    let content_type = [(CONTENT_TYPE, "application/json")];
    (status, content_type, json.to_owned()).into_response()
}
