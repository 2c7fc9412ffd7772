//! socket.io: engine.io 4 over WebSocket, default namespace, text packets.

use anyhow::Context;
use serde_json::json;

use super::{Answer, Channel, Incoming, Introduction, JOIN, Protocol, Talk, Template, excerpt};
use crate::identity::Identity;

pub(super) struct SocketIo;

impl Protocol for SocketIo {
    fn default_path(&self) -> &'static str {
        "/socket.io/?EIO=4&transport=websocket"
    }

    fn introduction(&self) -> Introduction {
        Introduction::WhenInvited
    }

    fn introduce(&self, who: &Identity) -> String {
        match who.token.as_str() {
            "" => "40".to_owned(),
            token => format!("40{}", json!({ "token": token })),
        }
    }

    fn channel(&self, talk: &Talk) -> Channel {
        let (topic, event) = (json!(talk.topic), json!(talk.event));
        let acknowledgement = if talk.acknowledged { "{ref}" } else { "" };
        let publish = format!("42{acknowledgement}[{event},{topic},{}]", talk.payload);
        Channel {
            topic: talk.topic.clone(),
            arrives_as: talk.arrives_as.clone(),
            sequenced: talk.sequenced,
            delivery: format!("42[{},", json!(talk.arrives_as)).into_bytes(),
            answer: Vec::new(),
            join: Some(format!(r#"42{JOIN}["join",{topic}]"#)),
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
            on(Incoming::Delivery { content, seq: None });
            return Ok(());
        }
        on(match text {
            [b'0', ..] => Incoming::Invitation,
            [b'2', ..] => Incoming::Demand("3"),
            [b'4', b'0', ..] => Incoming::Ready,
            [b'4', b'3', answer @ ..] => read_answer(answer)?,
            [b'1', ..] | [b'4', b'1' | b'4', ..] => Incoming::Ended(excerpt(text)),
            [b'6', ..] => return Ok(()),
            _ => Incoming::Other(excerpt(text)),
        });
        Ok(())
    }
}

/// `<id>[...]`; an object with a member `error` is a refusal.
fn read_answer(answer: &[u8]) -> anyhow::Result<Incoming<'static>> {
    let text = str::from_utf8(answer)?;
    let digits = text.find('[').context("an acknowledgement without data")?;
    let reference = text[..digits]
        .parse()
        .context("an acknowledgement without id")?;
    let arguments: Vec<serde_json::Value> = serde_json::from_str(&text[digits..])?;
    let refusal = arguments.iter().find_map(|argument| argument.get("error"));
    let outcome = match refusal {
        Some(error) => Err(error.to_string()),
        None => Ok(Answer::default()),
    };
    Ok(Incoming::Answer { reference, outcome })
}
