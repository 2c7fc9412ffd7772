//! In which words a scenario talks to a server.

use serde_json::Value;

use super::{Scenario, TargetOptions};
use crate::protocol::{Language, Talk, fill};

/// The templates of a part, with `{run}` and `{room}` still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    talk: Talk,
    /// Who publishes hears it, too.
    pub(crate) hears_itself: bool,
    /// Rooms are conversations that have to be made before.
    pub(crate) needs_conversations: bool,
    /// Each room is the own topic of one person.
    pub(crate) is_personal: bool,
    /// Other things happen on these topics, too.
    pub(crate) is_lenient: bool,
}

impl Words {
    pub(crate) fn new(scenario: &Scenario, target: &TargetOptions) -> Self {
        let language = target.language();
        let is_chat = matches!(scenario, Scenario::Chat(_));
        let is_own_chat = is_chat && target.has_product_topics();
        let is_personal = matches!(scenario, Scenario::Idle(idle) if idle.memberships > 0);
        let topic = match language {
            Language::Phoenix if is_own_chat => "chat:{room}",
            Language::Phoenix if is_personal => "user:{room}",
            Language::Phoenix => "broadcast:bench-{run}-{room}",
            _ => "bench-{run}-{room}",
        };
        let payload = match language {
            Language::Phoenix if is_own_chat => {
                r#"{"client_id":"{uuid}","type":"text","content":"{content}"}"#
            }
            Language::Phoenix | Language::Centrifuge => r#"{"d":"{content}"}"#,
            Language::Socketio => r#""{content}""#,
            Language::Raw => "{content}",
        };
        let (event, arrives_as) = match is_own_chat {
            true => ("message:send", "message:new"),
            false => ("tick", "tick"),
        };
        let join = match scenario {
            _ if !target.has_product_topics() || is_own_chat || is_personal => "{}",
            Scenario::Pingpong(_) => r#"{"ack":false,"self":false}"#,
            Scenario::Presence(_) => r#"{"ack":false,"presence":true}"#,
            _ => r#"{"ack":false}"#,
        };
        let or = |wish: &Option<String>, default: &str| {
            wish.clone().unwrap_or_else(|| default.to_owned())
        };
        let event = or(&target.event, event);
        let talk = Talk {
            topic: or(&target.topic, topic),
            arrives_as: match (&target.arrives_as, &target.event) {
                (Some(name), _) => name.clone(),
                (None, Some(_)) => event.clone(),
                (None, None) => arrives_as.to_owned(),
            },
            event,
            payload: or(&target.payload, payload),
            join: or(&target.join, join),
            acknowledged: is_chat,
            sequenced: is_own_chat,
        };
        Self {
            hears_itself: !asks_not_to_hear_itself(&talk.join),
            needs_conversations: is_own_chat,
            is_personal,
            is_lenient: is_chat || is_personal || matches!(scenario, Scenario::Presence(_)),
            talk,
        }
    }

    /// The words of one room.
    pub(crate) fn talk(&self, run: u32, room: &str) -> Talk {
        let run = format!("{run:x}");
        let fill = |text: &str| fill(text, &[("run", &run), ("room", room)]);
        Talk {
            topic: fill(&self.talk.topic),
            event: fill(&self.talk.event),
            arrives_as: fill(&self.talk.arrives_as),
            payload: fill(&self.talk.payload),
            join: fill(&self.talk.join),
            ..self.talk
        }
    }
}

fn asks_not_to_hear_itself(join: &str) -> bool {
    let join: Option<Value> = serde_json::from_str(join).ok();
    join.is_some_and(|join| join["self"] == Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::scenario::{Chat, Fanout, Pingpong};

    #[test]
    fn the_product_and_another_phoenix_application() {
        let own = TargetOptions::default();
        let chat = Words::new(&Scenario::Chat(Chat::default()), &own);
        assert!(chat.needs_conversations && chat.talk.sequenced);
        let talk = chat.talk(0xab, "77");
        assert_eq!(
            (&*talk.topic, &*talk.arrives_as),
            ("chat:77", "message:new")
        );
        assert!(talk.payload.contains(r#""client_id":"{uuid}""#));
        let ball = Words::new(&Scenario::Pingpong(Pingpong::default()), &own);
        assert!(!ball.hears_itself);

        let other = TargetOptions {
            topic: Some("room:{room}".to_owned()),
            event: Some("shout".to_owned()),
            payload: Some(r#"{"body":"{content}"}"#.to_owned()),
            ..TargetOptions::default()
        };
        let words = Words::new(&Scenario::Fanout(Fanout::default()), &other);
        assert!(words.hears_itself && !words.needs_conversations);
        let talk = words.talk(1, "3");
        assert_eq!(talk.topic, "room:3");
        assert_eq!((&*talk.event, &*talk.arrives_as), ("shout", "shout"));
        assert_eq!(
            (&*talk.join, &*talk.payload),
            ("{}", r#"{"body":"{content}"}"#)
        );
    }
}
