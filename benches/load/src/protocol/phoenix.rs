//! Phoenix Channels, serializer 2.0.

use anyhow::Context;
use bytes::Bytes;
use quikapp_protocol::{Json, Message, Ref, Vsn, decode_text, write_json_string};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, Channel, HEARTBEAT, Incoming, Introduction, JOIN, Protocol, Talk, Template};

pub(super) struct Phoenix;

impl Protocol for Phoenix {
    fn default_path(&self) -> &'static str {
        "/socket/websocket?vsn=2.0.0&token={token}"
    }

    fn introduction(&self) -> Introduction {
        Introduction::InRequest
    }

    fn heartbeat(&self) -> Option<String> {
        Some(format!(
            r#"[null,"{HEARTBEAT}","phoenix","heartbeat",{{}}]"#
        ))
    }

    fn channel(&self, talk: &Talk) -> Channel {
        let [topic, event, arrives_as] =
            [&talk.topic, &talk.event, &talk.arrives_as].map(|name| quoted(name));
        let join = format!(r#"["{JOIN}","{JOIN}",{topic},"phx_join",{}]"#, talk.join);
        let publish = format!(r#"["{JOIN}","{{ref}}",{topic},{event},{}]"#, talk.payload);
        Channel {
            topic: talk.topic.clone(),
            arrives_as: talk.arrives_as.clone(),
            sequenced: talk.sequenced,
            delivery: format!("[null,null,{topic},{arrives_as},").into_bytes(),
            answer: format!(r#"",{topic},"phx_reply",{{"response":"#).into_bytes(),
            join: Some(join),
            publish: Template::new(&publish),
        }
    }

    fn read(
        &self,
        channel: &Channel,
        text: &[u8],
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> anyhow::Result<()> {
        if let Some(content) = text.strip_prefix(&channel.delivery[..]) {
            let content = content.strip_suffix(b"]").unwrap_or(content);
            let seq = channel.sequenced.then(|| seq_of(content)).flatten();
            on(Incoming::Delivery { content, seq });
            return Ok(());
        }
        if let Some(answer) = expected_answer(channel, text) {
            on(answer);
            return Ok(());
        }
        let message = decode_text(Vsn::V2, Bytes::copy_from_slice(text))
            .with_context(|| super::excerpt(text))?;
        read_message(channel, &message, on)
    }
}

/// That what was sent on a channel went well, where the server says it as expected.
fn expected_answer(channel: &Channel, text: &[u8]) -> Option<Incoming<'static>> {
    let (join, rest) = digits(text.strip_prefix(br#"[""#)?)?;
    let (reference, rest) = digits(rest.strip_prefix(br#"",""#)?)?;
    let rest = rest.strip_prefix(&channel.answer[..])?;
    let response = rest.strip_suffix(br#","status":"ok"}]"#)?;
    Json::parse(std::str::from_utf8(response).ok()?).ok()?;
    let seq = seq_of(response);
    let outcome = Ok(Answer { seq });
    (join == JOIN).then_some(Incoming::Answer { reference, outcome })
}

fn read_message(
    channel: &Channel,
    message: &Message,
    on: &mut dyn FnMut(Incoming<'_>),
) -> anyhow::Result<()> {
    let event = message.event.as_str().unwrap_or_default();
    if event == "phx_reply" {
        on(read_reply(message)?);
        return Ok(());
    }
    let payload: &RawValue = message.payload.parse()?;
    if message.topic.as_str() != Some(&channel.topic) {
        let topic = message.topic.as_str().unwrap_or_default();
        anyhow::bail!("a message of another topic: {topic}, {event}: {payload}");
    }
    on(match event {
        "phx_error" | "phx_close" => Incoming::Ended(format!("the channel ended: {event}")),
        "presence_state" => Incoming::PresenceState(payload),
        "presence_diff" => Incoming::PresenceDiff(payload),
        event if event == channel.arrives_as => {
            let content = payload.get().as_bytes();
            let seq = channel.sequenced.then(|| seq_of(content)).flatten();
            Incoming::Delivery { content, seq }
        }
        event => Incoming::Other(format!("{event}: {payload}")),
    });
    Ok(())
}

/// The payload of `phx_reply`.
#[derive(Deserialize)]
struct ReplyPayload<'a> {
    status: String,
    #[serde(borrow)]
    response: &'a RawValue,
}

#[derive(Deserialize)]
struct Sequenced {
    seq: u64,
}

fn read_reply(message: &Message) -> anyhow::Result<Incoming<'static>> {
    let reply: ReplyPayload<'_> = message.payload.parse()?;
    let outcome = match reply.status.as_str() {
        "ok" => Ok(Answer {
            seq: seq_of(reply.response.get().as_bytes()),
        }),
        status => Err(format!("{status}: {}", reply.response)),
    };
    let reference = reference(&message.msg_ref).context("a reply without our ref")?;
    Ok(Incoming::Answer { reference, outcome })
}

fn reference(msg_ref: &Ref) -> Option<u64> {
    serde_json::from_str::<String>(&msg_ref.to_json())
        .ok()?
        .parse()
        .ok()
}

/// A message's place, where it has one. It is looked for in front, so that what is long need not be
/// read to its end for each member of a room.
fn seq_of(json: &[u8]) -> Option<u64> {
    if let Some(seq) = leading_seq(json) {
        return Some(seq);
    }
    serde_json::from_slice(json)
        .ok()
        .map(|Sequenced { seq }| seq)
}

fn leading_seq(json: &[u8]) -> Option<u64> {
    let (seq, after) = digits(json.strip_prefix(br#"{"seq":"#)?)?;
    matches!(after.first(), Some(b',' | b'}')).then_some(seq)
}

/// The number in front, and what follows it.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, after) = text.split_at(end);
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, after))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    write_json_string(text, &mut out);
    out
}
