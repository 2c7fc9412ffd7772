//! The JSON protocol of centrifuge and Centrifugo: one command or reply a line.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Channel, Incoming, Introduction, JOIN, Protocol, Talk, Template, excerpt};
use crate::identity::Identity;

const CONNECT: u64 = 1;

pub(super) struct Centrifuge;

impl Protocol for Centrifuge {
    fn default_path(&self) -> &'static str {
        "/connection/websocket"
    }

    fn introduction(&self) -> Introduction {
        Introduction::AtOnce
    }

    fn introduce(&self, who: &Identity) -> String {
        let connect = match who.token.as_str() {
            "" => json!({}),
            token => json!({ "token": token }),
        };
        json!({"id": CONNECT, "connect": connect}).to_string()
    }

    fn channel(&self, talk: &Talk) -> Channel {
        let topic = json!(talk.topic);
        let publish = format!(
            r#"{{"id":{{ref}},"publish":{{"channel":{topic},"data":{}}}}}"#,
            talk.payload
        );
        Channel {
            topic: talk.topic.clone(),
            arrives_as: talk.arrives_as.clone(),
            sequenced: talk.sequenced,
            delivery: format!(r#"{{"push":{{"channel":{topic},"pub":{{"data":"#).into_bytes(),
            answer: Vec::new(),
            join: Some(json!({"id": JOIN, "subscribe": {"channel": talk.topic}}).to_string()),
            publish: Template::new(&publish),
        }
    }

    fn read(
        &self,
        channel: &Channel,
        text: &[u8],
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> anyhow::Result<()> {
        for line in text.split(|&byte| byte == b'\n') {
            if let Some(content) = line.strip_prefix(&channel.delivery[..]) {
                on(Incoming::Delivery { content, seq: None });
            } else if line == b"{}" {
                on(Incoming::Demand("{}"));
            } else if !line.is_empty() {
                read_slowly(channel, line, on).with_context(|| excerpt(line))?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    id: u64,
    error: Option<Value>,
    push: Option<Push>,
}

#[derive(Deserialize)]
struct Push {
    #[serde(default)]
    channel: String,
    #[serde(rename = "pub")]
    publication: Option<Value>,
    disconnect: Option<Value>,
    unsubscribe: Option<Value>,
}

fn read_slowly(
    channel: &Channel,
    line: &[u8],
    on: &mut dyn FnMut(Incoming<'_>),
) -> anyhow::Result<()> {
    let reply: Reply = serde_json::from_slice(line)?;
    let Some(push) = reply.push else {
        on(match (reply.id, reply.error) {
            (reference, Some(error)) => Incoming::Answer {
                reference,
                outcome: Err(error.to_string()),
            },
            (CONNECT, None) => Incoming::Ready,
            (reference, None) => Incoming::Answer {
                reference,
                outcome: Ok(Answer::default()),
            },
        });
        return Ok(());
    };
    if push.disconnect.is_some() || push.unsubscribe.is_some() {
        on(Incoming::Ended(excerpt(line)));
    } else if push.channel != channel.topic {
        anyhow::bail!("a message of another channel");
    } else if push.publication.is_some() {
        on(Incoming::Delivery {
            content: line,
            seq: None,
        });
    } else {
        on(Incoming::Other(excerpt(line)));
    }
    Ok(())
}
