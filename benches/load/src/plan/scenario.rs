//! The scenarios, and what can be set about each.

use anyhow::{bail, ensure};
use clap::{Args, FromArgMatches, Subcommand};
use serde::{Deserialize, Serialize};

use super::layout::{PUSH_BURST, PUSH_RATE, SOCKETS_PER_PERSON};
use crate::{
    protocol::Language,
    record::Measure,
    stages::{Arrivals, Stages},
    traffic::WARMUP_ROUNDS,
};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Subcommand, Serialize, Deserialize)]
#[serde(tag = "scenario", rename_all = "kebab-case")]
pub enum Scenario {
    /// Messages to all members of one large room: what a delivery costs.
    Fanout(Fanout),
    /// Messages in many small rooms.
    Rooms(Rooms),
    /// Persisted messages, each acknowledged: how many, and how soon.
    Chat(Chat),
    /// Time from one person to another and back, with nothing else going on.
    Pingpong(Pingpong),
    /// Memory of joined sockets that do nothing.
    Idle(Idle),
    /// Sockets that come, authenticate and join; and come back, all at once or one by one.
    Storm(Storm),
    /// People who come to and leave a topic that shows who is there.
    Presence(Presence),
    /// Idle sockets, small rooms, chat and sockets that come and go, all at once.
    Mixed(Mixed),
}

/// `fanout`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fanout {
    /// Members of the room.
    #[arg(long, default_value_t = 1000)]
    pub members: usize,
    /// Members that take turns to send, so that none exceeds its rate.
    #[arg(long, default_value_t = 16)]
    pub senders: usize,
    /// Further members that stop reading once all are there: what that costs the others.
    #[arg(long, default_value_t = 0)]
    pub stalled: usize,
    /// In closed loop: messages sent at once before their deliveries are awaited.
    #[arg(long, default_value_t = 1)]
    pub in_flight: u32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Open loop: messages per second, as `1000` or in stages like `100..2000:30s,2000:10s`.
    #[arg(long)]
    pub rate: Option<Stages>,
    /// How messages lie within the rate.
    #[arg(long, value_enum, default_value_t)]
    pub arrivals: Arrivals,
}

/// `rooms`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Rooms.
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    /// Members of each.
    #[arg(long, default_value_t = 10)]
    pub members: usize,
    /// Members of each that take turns to send.
    #[arg(long, default_value_t = 10)]
    pub senders: usize,
    /// In closed loop: messages sent at once in a room before their deliveries are awaited.
    #[arg(long, default_value_t = 1)]
    pub in_flight: u32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Open loop: messages per second in all rooms, as `1000` or in stages.
    #[arg(long)]
    pub rate: Option<Stages>,
    /// How messages lie within the rate.
    #[arg(long, value_enum, default_value_t)]
    pub arrivals: Arrivals,
}

/// `chat`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chat {
    /// People, each with one socket.
    #[arg(long, default_value_t = 1000)]
    pub senders: usize,
    /// Conversations they are shared out among.
    #[arg(long, default_value_t = 100)]
    pub conversations: usize,
    /// In closed loop: messages of a sender that may be unacknowledged.
    #[arg(long, default_value_t = 1)]
    pub window: u32,
    /// Bytes of content in a message.
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Open loop: messages per second of all senders, as `1000` or in stages.
    #[arg(long)]
    pub rate: Option<Stages>,
    /// How messages lie within the rate.
    #[arg(long, value_enum, default_value_t)]
    pub arrivals: Arrivals,
}

/// `pingpong`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pingpong {
    /// Pairs of people that take turns, so that none exceeds its rate.
    #[arg(long, default_value_t = 16)]
    pub pairs: usize,
    /// Round trips in all.
    #[arg(long, default_value_t = 8000)]
    pub rounds: u64,
    /// Round trips per second, of all pairs, at the most [default: one after the other, and no more
    /// for each pair than a QuikApp takes from one socket at once].
    #[arg(long)]
    pub rate: Option<f64>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    pub body: usize,
}

impl Pingpong {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.pairs > 0 && self.rounds > 0,
            "pingpong: pairs and rounds are above 0"
        );
        let is_rate = |rate: f64| rate > 0.0 && rate.is_finite();
        ensure!(self.rate.is_none_or(is_rate), "pingpong: a rate is above 0");
        Ok(())
    }

    /// As fast as they go, all rounds have to fit in what a QuikApp takes from one socket at once:
    /// it answers what is beyond that with a refusal, which fails the run.
    pub(crate) fn check_limits(&self) -> anyhow::Result<()> {
        let most = PUSH_BURST - WARMUP_ROUNDS;
        let each = self.rounds.div_ceil(self.pairs as u64);
        ensure!(
            self.rate.is_some() || each <= most,
            "pingpong: each socket would send {each} messages as fast as they are answered, and a \
             QuikApp takes {PUSH_BURST} at once and then {PUSH_RATE} per second (`push_burst` and \
             `pushes_per_second`): say --pairs {} or more, or a --rate of {PUSH_RATE} for each pair \
             (or whatever your server is set to)",
            self.rounds.div_ceil(most)
        );
        Ok(())
    }

    /// Seconds that it takes, if there is a rate and the server keeps up.
    pub(crate) fn seconds(&self) -> Option<f64> {
        Some(self.rounds as f64 / self.rate?)
    }
}

/// `idle`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idle {
    /// Sockets.
    #[arg(long, default_value_t = 10_000)]
    pub sockets: usize,
    /// People they belong to; a tenth of the sockets unless it is said.
    #[arg(long)]
    pub people: Option<usize>,
    /// Seconds to stand still before the memory is read.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub hold: u64,
    /// Groups of 20 that each person belongs to. With any, sockets join `user:<id>`, which follows
    /// all of them; on QuikApp only.
    #[arg(long, default_value_t = 0)]
    pub memberships: usize,
    /// Further people, in groups of 20, who never connect.
    #[arg(long, default_value_t = 0, value_name = "PEOPLE")]
    pub offline: usize,
    /// Path to ask for once as each person when all are connected, so that the server has to do
    /// with them: /api/users/me.
    #[arg(long, value_name = "PATH")]
    pub visit: Option<String>,
}

impl Idle {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.sockets > 0, "idle: sockets are above 0");
        let is_personal = self.memberships > 0;
        ensure!(
            !is_personal || self.people() * SOCKETS_PER_PERSON >= self.sockets,
            "idle: a person has at most {SOCKETS_PER_PERSON} sockets"
        );
        Ok(())
    }

    /// People the sockets belong to.
    pub(crate) fn people(&self) -> usize {
        let people = self.people.unwrap_or(self.sockets.div_ceil(10));
        people.clamp(1, self.sockets)
    }
}

/// `storm`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storm {
    /// Sockets.
    #[arg(long, default_value_t = 1000)]
    pub sockets: usize,
    /// People they belong to; a tenth of the sockets unless it is said.
    #[arg(long)]
    pub people: Option<usize>,
    /// Times that all leave at once and come back.
    #[arg(long, default_value_t = 1)]
    pub reconnects: u32,
    /// Instead: sockets per second that leave and come back, as a number or in stages.
    #[arg(long)]
    pub churn: Option<Stages>,
}

/// `presence`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// People, each with one socket.
    #[arg(long, default_value_t = 200)]
    pub people: usize,
    /// People who stay, and check what they are shown.
    #[arg(long, default_value_t = 4)]
    pub observers: usize,
    /// People per second who leave and come back, as a number or in stages.
    #[arg(long, default_value = "20")]
    pub churn: Stages,
}

/// `mixed`
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixed {
    /// Sockets in all: 60 % idle, 20 % in rooms of 10, 10 % chatting, 10 % coming and going.
    #[arg(long, default_value_t = 1000)]
    pub sockets: usize,
    /// Messages per second, in stages or as a number: two thirds in rooms, one third persisted.
    #[arg(long, default_value = "300")]
    pub rate: Stages,
}

/// The defaults stand once: those of the command line.
macro_rules! defaults_of_the_command_line {
    ($($options:ty),*) => {$(
        impl Default for $options {
            fn default() -> Self {
                let command = <$options>::augment_args(clap::Command::new("defaults"));
                let matches = command.get_matches_from(["defaults"]);
                Self::from_arg_matches(&matches).expect("every option has a default")
            }
        }
    )*};
}
defaults_of_the_command_line!(Fanout, Rooms, Chat, Pingpong, Idle, Storm, Presence, Mixed);

impl Scenario {
    /// As on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fanout(_) => "fanout",
            Self::Rooms(_) => "rooms",
            Self::Chat(_) => "chat",
            Self::Pingpong(_) => "pingpong",
            Self::Idle(_) => "idle",
            Self::Storm(_) => "storm",
            Self::Presence(_) => "presence",
            Self::Mixed(_) => "mixed",
        }
    }

    /// The latency that it is about.
    pub(crate) fn main_measure(&self) -> Measure {
        match self {
            Self::Fanout(_) | Self::Rooms(_) | Self::Pingpong(_) | Self::Mixed(_) => {
                Measure::Delivery
            }
            Self::Chat(_) => Measure::Ack,
            Self::Idle(_) | Self::Storm(_) => Measure::Connect,
            Self::Presence(_) => Measure::Presence,
        }
    }

    /// Messages per second, in open loop.
    pub(crate) fn rate(&self) -> Option<&Stages> {
        match self {
            Self::Fanout(options) => options.rate.as_ref(),
            Self::Rooms(options) => options.rate.as_ref(),
            Self::Chat(options) => options.rate.as_ref(),
            Self::Storm(options) => options.churn.as_ref(),
            Self::Presence(options) => Some(&options.churn),
            Self::Pingpong(_) | Self::Idle(_) | Self::Mixed(_) => None,
        }
    }

    /// It is about costs, and should not be interrupted by its generator.
    pub(crate) fn reads_in_bursts(&self) -> bool {
        match self {
            Self::Fanout(options) => options.rate.is_none(),
            Self::Rooms(options) => options.rate.is_none(),
            _ => false,
        }
    }

    /// A mixture becomes its parts.
    pub(crate) fn expand(self) -> Vec<Self> {
        let Self::Mixed(Mixed { sockets, rate }) = self else {
            return vec![self];
        };
        let part = |percent: usize| (sockets * percent / 100).max(10);
        vec![
            Self::Idle(Idle {
                sockets: part(60),
                ..Idle::default()
            }),
            Self::Rooms(Rooms {
                rooms: part(20) / 10,
                rate: Some(rate.scaled(2.0 / 3.0)),
                ..Rooms::default()
            }),
            Self::Chat(Chat {
                senders: part(10),
                conversations: part(10) / 10,
                rate: Some(rate.scaled(1.0 / 3.0)),
                ..Chat::default()
            }),
            Self::Storm(Storm {
                sockets: part(10),
                churn: "10".parse().ok(),
                ..Storm::default()
            }),
        ]
    }

    /// Numbers that make sense, and a protocol that can do it.
    pub(crate) fn check(&self, language: Language) -> anyhow::Result<()> {
        let name = self.name();
        match self {
            Self::Fanout(options) => ensure!(
                options.members > 0 && options.senders > 0 && options.in_flight > 0,
                "fanout: members, senders and in_flight are above 0"
            ),
            Self::Rooms(options) => ensure!(
                options.rooms > 0
                    && options.members > 0
                    && options.senders > 0
                    && options.in_flight > 0,
                "rooms: rooms, members, senders and in_flight are above 0"
            ),
            Self::Chat(options) => ensure!(
                options.senders > 0 && options.conversations > 0 && options.window > 0,
                "chat: senders, conversations and window are above 0"
            ),
            Self::Pingpong(options) => options.check()?,
            Self::Idle(options) => options.check()?,
            Self::Storm(options) => ensure!(options.sockets > 0, "storm: sockets are above 0"),
            Self::Presence(options) => ensure!(
                options.people > options.observers && options.observers > 0,
                "presence: there are observers, and other people"
            ),
            Self::Mixed(_) => {}
        }
        match (self, language) {
            (Self::Presence(_), Language::Socketio | Language::Centrifuge | Language::Raw) => {
                bail!("{name} needs --protocol phoenix")
            }
            (
                Self::Idle(Idle {
                    memberships,
                    offline,
                    ..
                }),
                language,
            ) if *memberships + *offline > 0 && language != Language::Phoenix => {
                bail!("{name} with memberships needs --protocol phoenix")
            }
            (Self::Chat(_), Language::Raw) => {
                bail!("{name} needs a protocol with acknowledgements, and raw has none")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mixture_is_made_of_parts() {
        let mixed = Mixed {
            sockets: 1000,
            rate: "300".parse().unwrap(),
        };
        let parts = Scenario::Mixed(mixed).expand();
        let names: Vec<_> = parts.iter().map(Scenario::name).collect();
        assert_eq!(names, ["idle", "rooms", "chat", "storm"]);
        assert_eq!(parts[1].rate().unwrap().to_string(), "200");
    }

    #[test]
    fn what_a_protocol_cannot_do_is_refused() {
        let presence = Scenario::Presence(Presence::default());
        assert!(presence.check(Language::Phoenix).is_ok());
        assert!(presence.check(Language::Raw).is_err());
        let chat = Scenario::Chat(Chat::default());
        assert!(chat.check(Language::Socketio).is_ok());
        assert!(chat.check(Language::Raw).is_err());
        let empty = Fanout {
            members: 0,
            ..Fanout::default()
        };
        assert!(Scenario::Fanout(empty).check(Language::Raw).is_err());
        let never = Pingpong {
            rate: Some(0.0),
            ..Pingpong::default()
        };
        assert!(Scenario::Pingpong(never).check(Language::Raw).is_err());
    }

    #[test]
    fn what_a_quikapp_would_refuse_in_the_end_is_refused_before() {
        let play = |pairs, rounds, rate| Pingpong {
            pairs,
            rounds,
            rate,
            ..Pingpong::default()
        };
        for allowed in [
            Pingpong::default(),
            play(1, 900, None),
            play(12, 10_000, None),
            play(1, 10_000, Some(200.0)),
        ] {
            assert!(allowed.check_limits().is_ok(), "{allowed:?}");
        }
        let refused = play(1, 10_000, None).check_limits().unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("10000 messages"), "{refused}");
        assert!(refused.contains("--pairs 12 or more"), "{refused}");
        assert!(refused.contains("--rate"), "{refused}");
    }
}
