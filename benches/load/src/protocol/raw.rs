//! No protocol: whoever is connected to a path gets what anyone there sends.

use super::{Channel, Incoming, Introduction, Protocol, Talk, Template};

pub(super) struct Raw;

impl Protocol for Raw {
    fn default_path(&self) -> &'static str {
        "/{topic}"
    }

    fn introduction(&self) -> Introduction {
        Introduction::InRequest
    }

    fn channel(&self, talk: &Talk) -> Channel {
        Channel {
            topic: talk.topic.clone(),
            arrives_as: talk.arrives_as.clone(),
            sequenced: talk.sequenced,
            delivery: Vec::new(),
            answer: Vec::new(),
            join: None,
            publish: Template::new(&talk.payload),
        }
    }

    fn read(
        &self,
        _channel: &Channel,
        text: &[u8],
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> anyhow::Result<()> {
        on(Incoming::Delivery {
            content: text,
            seq: None,
        });
        Ok(())
    }
}
