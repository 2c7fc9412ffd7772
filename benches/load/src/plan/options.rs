//! What can be set about the target and the run, on the command line and in a file. What is not
//! set anywhere gets its default in the end.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Header, Scenario};
use crate::{identity::Auth, protocol::Language, report::Threshold, stages::Stages};

/// Whom to load, and in which words.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "Target")]
pub struct TargetOptions {
    /// Base URL of the server [default: http://127.0.0.1:4000]
    #[arg(long, global = true)]
    pub url: Option<String>,
    /// The language that it speaks [default: phoenix]
    #[arg(long, global = true, value_enum)]
    pub protocol: Option<Language>,
    /// Path and query of the WebSocket; `{token}`, `{user}` and `{topic}` are filled in.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket_path: Option<String>,
    /// Topic to join; `{room}` is a room's number, `{run}` this run's.
    #[arg(long, global = true, value_name = "TEMPLATE")]
    pub topic: Option<String>,
    /// Event to send.
    #[arg(long, global = true)]
    pub event: Option<String>,
    /// Event under which it arrives, where that is another.
    #[arg(long, global = true, value_name = "EVENT")]
    pub arrives_as: Option<String>,
    /// Payload to send; `{content}` is the message, `{ref}` its number, `{uuid}` a UUIDv7 of it
    /// (JSON, save for raw).
    #[arg(long, global = true, value_name = "TEMPLATE")]
    pub payload: Option<String>,
    /// Parameters of a Phoenix join (JSON).
    #[arg(long, global = true, value_name = "JSON")]
    pub join: Option<String>,
    /// How people get their tokens [default: secret with --secret-file, else guest for QuikApp's
    /// own topics, else none]
    #[arg(long, global = true, value_enum)]
    pub auth: Option<Auth>,
    /// The secret that signs the server's tokens (`secret` in its data directory).
    #[arg(long, global = true, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The token of everybody.
    #[arg(long, global = true)]
    #[serde(skip_serializing)]
    pub token: Option<String>,
    /// Header of the sockets' upgrade and of every other request to the target, for gateways before
    /// it: `Name: value`; may be repeated. Its value is in no report.
    #[arg(long = "header", global = true, value_name = "NAME: VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Authorities (PEM) to trust with https:// and wss://, and no others [default: the system's]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Take any certificate; the report says so.
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Addresses to connect from: how many of loopback, or a list like `10.0.0.7,10.0.0.8`.
    #[arg(long, global = true)]
    pub sources: Option<String>,
}

/// How to run.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "Run")]
pub struct RunOptions {
    /// Seconds to measure [default: 10, or as long as the stages of the rate]
    #[arg(long, global = true)]
    pub seconds: Option<f64>,
    /// Seconds of traffic before, which do not count [default: 1 with messages, 0.2 for pingpong]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub warmup: Option<f64>,
    /// Times to run; figures are then medians with their spread [default: 1]
    #[arg(long, global = true, value_name = "TIMES")]
    pub repeat: Option<u32>,
    /// Fixes what is random: the moments of `--arrivals poisson` [default: 1]
    #[arg(long, global = true)]
    pub seed: Option<u64>,
    /// Worker threads; each serves thousands of sockets [default: 1]
    #[arg(long, global = true)]
    pub threads: Option<usize>,
    /// Sockets are read together every so many milliseconds, so that reading does not interrupt
    /// the server while it writes; 0 to read at once, for latencies [default: 8 for fanout and
    /// rooms in closed loop, else 0]
    #[arg(long, global = true, value_name = "MS")]
    pub burst_ms: Option<u64>,
    /// Sockets per second to connect, as `500` or in stages like `100..2000:10s` [default: as
    /// fast as the server takes them]
    #[arg(long, global = true, value_name = "RATE")]
    pub connect_rate: Option<Stages>,
    /// Handshakes under way at a time, without a rate [default: 64; no limit where all come back at
    /// once]
    #[arg(long, global = true, value_name = "COUNT")]
    pub connecting: Option<usize>,
    /// Seconds that a delivery may take before it counts as lost [default: 15; 5 in closed loop]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub patience: Option<u64>,
    /// Seconds after which a run has failed, for connecting (beside what --connect-rate takes), and
    /// again from when messages flow [default: 300 and the time to warm up and to measure]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub deadline: Option<u64>,
    /// Length of the intervals of the plots [default: 100 to 1000]
    #[arg(long, global = true, value_name = "MS")]
    pub interval_ms: Option<u64>,
    /// Process id of the server, to read its CPU time and memory from /proc; may be repeated.
    #[arg(long = "pid", global = true, value_name = "PID")]
    #[serde(rename = "pid")]
    pub pids: Vec<u32>,
    /// URL of the server's metrics in Prometheus' format, to read them there; may be repeated.
    #[arg(long, global = true, value_name = "URL")]
    pub metrics: Vec<String>,
    /// What has to hold, like `p99 < 10ms`, `deliveries_per_s > 50000` or `chat.p99 < 20ms`; if it
    /// does not, the exit code is 3. May be repeated.
    #[arg(long = "threshold", global = true, value_name = "CONDITION")]
    #[serde(rename = "thresholds")]
    pub thresholds: Vec<Threshold>,
    /// The name of this generator in a merged report [default: the host's]
    #[arg(long, global = true, value_name = "NAME")]
    pub generator: Option<String>,
    /// Moment at which all generators begin to send, once connected: `2026-01-31T12:00:00Z` or
    /// seconds since 1970.
    #[arg(long, global = true, value_name = "TIME")]
    pub start_at: Option<String>,
}

/// Takes from `over` what is set there.
macro_rules! overlay {
    ($under:ident, $over:ident: $($field:ident),+) => {{
        $($under.$field = $over.$field.or($under.$field.take());)+
        $under
    }};
}

impl TargetOptions {
    /// These, with what others set; headers are joined.
    pub(crate) fn overlaid(mut self, mut over: Self) -> Self {
        self.headers.append(&mut over.headers);
        // Who names authorities wants them asked, whatever a file says.
        self.insecure = over.insecure || self.insecure && over.ca_file.is_none();
        overlay!(self, over: url,
            protocol,
            socket_path,
            topic,
            event,
            arrives_as,
            payload,
            join,
            auth,
            secret_file,
            token,
            ca_file,
            sources
        )
    }

    pub(crate) fn language(&self) -> Language {
        self.protocol.unwrap_or_default()
    }

    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("http://127.0.0.1:4000")
    }

    pub(crate) fn socket_path(&self) -> &str {
        let default = self.language().speaker().default_path();
        self.socket_path.as_deref().unwrap_or(default)
    }

    /// The server is a QuikApp, or pretends to be one.
    pub(crate) fn has_product_topics(&self) -> bool {
        self.language() == Language::Phoenix && self.topic.is_none()
    }

    pub(crate) fn auth(&self) -> Auth {
        self.auth.unwrap_or(if self.secret_file.is_some() {
            Auth::Secret
        } else if self.token.is_some() {
            Auth::Token
        } else if self.has_product_topics() {
            Auth::Guest
        } else {
            Auth::None
        })
    }
}

impl RunOptions {
    /// These, with what others set; lists are joined.
    pub(crate) fn overlaid(mut self, mut over: Self) -> Self {
        self.pids.append(&mut over.pids);
        self.metrics.append(&mut over.metrics);
        self.thresholds.append(&mut over.thresholds);
        overlay!(self, over: seconds,
            warmup,
            repeat,
            seed,
            threads,
            burst_ms,
            connect_rate,
            connecting,
            patience,
            deadline,
            interval_ms,
            generator,
            start_at
        )
    }
}

/// [`RunOptions`] with nothing left open.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in RunOptions")]
pub struct Settings {
    pub seconds: f64,
    pub warmup: f64,
    pub repeat: u32,
    pub seed: u64,
    pub threads: usize,
    pub burst_ms: u64,
    pub connect_rate: Option<Stages>,
    pub connecting: Option<usize>,
    /// Of closed loops, and of the end.
    pub patience: (u64, u64),
    pub deadline: u64,
    pub interval_ms: u64,
    pub pids: Vec<u32>,
    pub metrics: Vec<String>,
    pub thresholds: Vec<Threshold>,
    pub generator: String,
    /// There are others: it was given a name, or a moment to begin together.
    #[serde(skip)]
    pub has_others: bool,
    pub start_at: Option<f64>,
}

impl Settings {
    pub(crate) fn complete(options: &RunOptions, parts: &[Scenario]) -> anyhow::Result<Self> {
        let seconds = options.seconds.unwrap_or_else(|| default_seconds(parts));
        ensure!(
            (0.0..=1e6).contains(&seconds),
            "seconds: {seconds} is not a time to measure"
        );
        let warmup = options.warmup.unwrap_or_else(|| default_warmup(parts));
        ensure!(
            (0.0..=1e6).contains(&warmup),
            "warmup: {warmup} is not a time"
        );
        let threads = options.threads.unwrap_or(1);
        ensure!((1..=256).contains(&threads), "threads: 1 to 256");
        let repeat = options.repeat.unwrap_or(1);
        ensure!(repeat > 0, "repeat: at least once");
        let start_at = options.start_at.as_deref().map(parse_moment).transpose()?;
        ensure!(
            start_at.is_none() || repeat == 1,
            "start-at: one moment is for one run; say --repeat 1"
        );
        let bursts = match parts.iter().any(Scenario::reads_in_bursts) {
            true => 8,
            false => 0,
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            seconds,
            warmup,
            repeat,
            seed: options.seed.unwrap_or(1),
            threads,
            burst_ms: options.burst_ms.unwrap_or(bursts),
            connect_rate: options.connect_rate.clone(),
            connecting: options.connecting.map(|count| count.max(1)),
            patience: (
                options.patience.unwrap_or(5),
                options.patience.unwrap_or(15),
            ),
            deadline: options.deadline.unwrap_or(300 + (warmup + seconds) as u64),
            interval_ms: options
                .interval_ms
                .unwrap_or((seconds * 25.0).clamp(100.0, 1000.0) as u64)
                .max(10),
            pids: options.pids.clone(),
            metrics: options.metrics.clone(),
            thresholds: options.thresholds.clone(),
            generator: options
                .generator
                .clone()
                .unwrap_or_else(|| host.trim().to_owned()),
            has_others: options.generator.is_some() || start_at.is_some(),
            start_at,
        })
    }

    /// The generator's name, if it has to be told from others.
    pub(crate) fn name_among_others(&self) -> Option<&str> {
        self.has_others.then_some(self.generator.as_str())
    }
}

fn default_warmup(parts: &[Scenario]) -> f64 {
    let is_silent = |part: &Scenario| matches!(part, Scenario::Idle(_) | Scenario::Storm(_));
    let is_rally = |part: &Scenario| matches!(part, Scenario::Pingpong(_));
    if parts.iter().all(is_silent) {
        0.0
    } else if parts.iter().any(is_rally) {
        // It ends earlier where a fast server and few pairs would use up what one socket may send.
        0.2
    } else {
        1.0
    }
}

fn default_seconds(parts: &[Scenario]) -> f64 {
    let staged = parts.iter().filter_map(|part| part.rate()?.seconds());
    let own = parts.iter().map(|part| match part {
        Scenario::Idle(idle) if parts.len() == 1 => idle.hold as f64,
        // It ends when everybody is back.
        Scenario::Storm(storm) if storm.churn.is_none() => match storm.reconnects {
            0 => 0.0,
            _ => 120.0,
        },
        // It ends with the last round; a server may be somewhat slower than the rate.
        Scenario::Pingpong(play) => play.seconds().map_or(10.0, |played| 10.0 + 1.5 * played),
        _ => 10.0,
    });
    let staged = staged.reduce(f64::max);
    staged.unwrap_or_else(|| own.fold(0.0, f64::max))
}

/// Seconds since 1970.
fn parse_moment(text: &str) -> anyhow::Result<f64> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let moment: jiff::Timestamp = text.parse()?;
    Ok(moment.as_millisecond() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::plan::scenario::{Fanout, Idle, Pingpong};

    #[test]
    fn the_command_line_overrides_the_file() {
        let file = TargetOptions {
            url: Some("http://a".to_owned()),
            event: Some("e".to_owned()),
            headers: vec!["X-A: 1".parse().unwrap()],
            insecure: true,
            ..TargetOptions::default()
        };
        let flags = TargetOptions {
            url: Some("http://b".to_owned()),
            headers: vec!["X-B: 2".parse().unwrap()],
            ..TargetOptions::default()
        };
        let both = file.overlaid(flags);
        assert_eq!(both.url(), "http://b");
        assert_eq!(both.event.as_deref(), Some("e"));
        assert_eq!(format!("{:?}", both.headers), "[X-A: ..., X-B: ...]");
        assert!(both.insecure);
        let strict = TargetOptions {
            ca_file: Some("ca.pem".into()),
            ..TargetOptions::default()
        };
        assert!(
            !both.overlaid(strict).insecure,
            "a named authority is asked"
        );
        let file = RunOptions {
            seed: Some(3),
            thresholds: vec!["p99 < 1ms".parse().unwrap()],
            ..RunOptions::default()
        };
        let flags = RunOptions {
            thresholds: vec!["p50 < 1ms".parse().unwrap()],
            ..RunOptions::default()
        };
        let both = file.overlaid(flags);
        assert_eq!((both.seed, both.thresholds.len()), (Some(3), 2));
    }

    #[test]
    fn what_is_not_set_depends_on_the_scenario() {
        let complete =
            |part: Scenario| Settings::complete(&RunOptions::default(), &[part]).unwrap();
        let fanout = complete(Scenario::Fanout(Fanout::default()));
        assert_eq!(
            (fanout.burst_ms, fanout.warmup, fanout.seconds),
            (8, 1.0, 10.0)
        );
        let open = complete(Scenario::Fanout(Fanout {
            rate: Some("1..9:20s,9:10s".parse().unwrap()),
            ..Fanout::default()
        }));
        assert_eq!((open.burst_ms, open.seconds), (0, 30.0));
        let pingpong = complete(Scenario::Pingpong(Pingpong::default()));
        assert_eq!((pingpong.warmup, pingpong.seconds), (0.2, 10.0));
        let slow = complete(Scenario::Pingpong(Pingpong {
            rounds: 2000,
            rate: Some(20.0),
            ..Pingpong::default()
        }));
        assert_eq!(slow.seconds, 160.0);
        let idle = complete(Scenario::Idle(Idle::default()));
        assert_eq!((idle.warmup, idle.seconds), (0.0, 5.0));
    }

    #[test]
    fn who_they_are() {
        let auth = |target: TargetOptions| target.auth();
        assert_eq!(auth(TargetOptions::default()), Auth::Guest);
        let secret_file = Some("secret".into());
        let signed = TargetOptions {
            secret_file,
            ..TargetOptions::default()
        };
        assert_eq!(auth(signed), Auth::Secret);
        let raw = TargetOptions {
            protocol: Some(Language::Raw),
            ..TargetOptions::default()
        };
        assert_eq!(auth(raw), Auth::None);
        let other_app = TargetOptions {
            topic: Some("room:{room}".to_owned()),
            ..TargetOptions::default()
        };
        assert_eq!(auth(other_app), Auth::None);
    }

    #[test]
    fn a_moment_to_start_at_is_for_one_run() {
        let mut options = RunOptions {
            start_at: Some("60".to_owned()),
            repeat: Some(2),
            ..RunOptions::default()
        };
        let parts = [Scenario::Fanout(Fanout::default())];
        let refused = Settings::complete(&options, &parts).unwrap_err();
        assert!(refused.to_string().contains("--repeat 1"), "{refused}");
        options.repeat = None;
        let complete = Settings::complete(&options, &parts).unwrap();
        assert_eq!(complete.start_at, Some(60.0));
        let host = complete.name_among_others();
        assert_eq!(host, Some(complete.generator.as_str()));
        options.start_at = None;
        let alone = Settings::complete(&options, &parts).unwrap();
        assert_eq!(alone.name_among_others(), None);
        options.generator = Some("east".to_owned());
        let named = Settings::complete(&options, &parts).unwrap();
        assert_eq!(named.name_among_others(), Some("east"));
    }

    #[test]
    fn moments() {
        assert_eq!(parse_moment("1700000000.5").unwrap(), 1_700_000_000.5);
        assert_eq!(parse_moment("1970-01-01T00:01:00Z").unwrap(), 60.0);
        assert!(parse_moment("noon").is_err());
    }
}
