//! Plays the client's part of a recording against a server.
//!
//! Pace is set by cause: the next thing is sent when everything has arrived that had arrived
//! before it in the recording. Only where silence is what a scenario is about does the recorded
//! time count.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::client::{self, Seen, Socket};
use crate::compare::{self, Tally};
use crate::exceptions::{Exceptions, Expected};
use crate::json::{Json, Names};
use crate::recording::{Incoming, Line, Recording, Step};

/// How long an answer may take; the longest recorded wait is a long-poll window of 10 s.
const PATIENCE: Duration = Duration::from_secs(13);
/// Once something is missing the rest is only played to find more differences.
const IMPATIENCE: Duration = Duration::from_millis(250);
/// How long nothing more may come at the end.
const SETTLE: Duration = Duration::from_millis(150);
/// How long a poll takes to be parked, which nobody outside the server can see, before another
/// connection does something about it.
const PARKING: Duration = Duration::from_millis(500);
/// In these scenarios the client's own silence is the cause of what happens.
const ABOUT_SILENCE: [&str; 2] = ["ws-idle-timeout", "lp-status-codes"];
/// Silences shorter than this are the recorder's pauses between two cases.
const SHORTEST_SILENCE: Duration = Duration::from_millis(250);

/// What the recorded client did without a line in the recording, by its note: after that line it
/// dropped the TCP connection.
const DROPS: [(&str, usize, &str); 3] = [
    ("ws-presence.v1", 89, "alice2"),
    ("ws-presence.v2", 89, "alice2"),
    ("ws-terminate", 31, "b"),
];

/// Replays one recording.
pub async fn replay(
    recording: &Recording,
    exceptions: &Exceptions,
    server: SocketAddr,
) -> Result<Tally> {
    let mut player = Player::new(server);
    let mut before = Duration::ZERO;
    for line in &recording.lines {
        for expected in exceptions.apply(&recording.name, line)? {
            player.expect(expected);
        }
        if matches!(line.step, Step::Receive(Incoming::Http(_))) {
            player.parking.remove(&line.conn);
        }
        if line.is_clients() {
            player.catch_up().await;
            if ABOUT_SILENCE.contains(&recording.name.as_str()) {
                keep_silence(line.at.saturating_sub(before)).await;
            }
            player.let_polls_park().await;
            player.play(line).await;
        }
        if let Some((.., conn)) = DROPS
            .iter()
            .find(|(name, after, _)| *name == recording.name && *after == line.number)
        {
            player.catch_up().await;
            player.sockets.remove(*conn);
        }
        if !matches!(line.step, Step::Note) {
            before = line.at;
        }
    }
    Ok(player.finish().await)
}

impl Line {
    fn is_clients(&self) -> bool {
        !matches!(self.step, Step::Note | Step::Receive(_))
    }
}

async fn keep_silence(recorded: Duration) {
    if recorded >= SHORTEST_SILENCE {
        tokio::time::sleep(recorded).await;
    }
}

struct Player {
    server: SocketAddr,
    seen: Seen,
    expected: HashMap<String, Vec<Expected>>,
    sockets: HashMap<String, Socket>,
    /// Requests under way: a poll may be parked while other connections go on.
    requests: Vec<JoinHandle<Result<()>>>,
    /// Connections whose request was just sent and is not answered yet in the recording.
    parking: HashSet<String>,
    names: Names,
    patience: Duration,
    /// Where the client itself could not go on.
    failures: Vec<String>,
}

impl Player {
    fn new(server: SocketAddr) -> Self {
        Self {
            server,
            seen: Seen::default(),
            expected: HashMap::new(),
            sockets: HashMap::new(),
            requests: Vec::new(),
            parking: HashSet::new(),
            names: Names::default(),
            patience: PATIENCE,
            failures: Vec::new(),
        }
    }

    fn expect(&mut self, expected: Expected) {
        self.expected
            .entry(expected.conn.clone())
            .or_default()
            .push(expected);
    }

    /// Waits for everything that had arrived by now in the recording.
    async fn catch_up(&mut self) {
        for (conn, expected) in &self.expected {
            if !self.seen.wait(conn, expected.len(), self.patience).await {
                self.patience = IMPATIENCE;
            }
        }
        for (conn, expected) in &self.expected {
            for (expected, seen) in expected.iter().zip(self.seen.of(conn)) {
                learn_token(&expected.what, &seen, &mut self.names);
            }
        }
    }

    async fn let_polls_park(&mut self) {
        if !self.parking.is_empty() {
            tokio::time::sleep(PARKING).await;
            self.parking.clear();
        }
    }

    async fn play(&mut self, line: &Line) {
        if let Err(failure) = self.try_to_play(line).await {
            self.failures
                .push(format!("line {}: {failure:#}", line.number));
            self.patience = IMPATIENCE;
        }
    }

    async fn try_to_play(&mut self, line: &Line) -> Result<()> {
        match &line.step {
            Step::Open {
                target,
                headers,
                subprotocols,
            } => {
                // The recorder uses a name again once it is done with a connection.
                self.sockets.remove(&line.conn);
                let socket = Socket::open(
                    self.server,
                    target,
                    headers,
                    subprotocols,
                    &line.conn,
                    &self.seen,
                )
                .await?;
                self.sockets
                    .extend(socket.map(|socket| (line.conn.clone(), socket)));
            }
            Step::Request {
                method,
                target,
                headers,
                body,
            } => {
                let (method, headers, body) = (method.clone(), headers.clone(), body.clone());
                let target = with_live_token(target, &self.names);
                self.parking.insert(line.conn.clone());
                let (server, seen, conn) = (self.server, self.seen.clone(), line.conn.clone());
                self.requests.push(tokio::spawn(async move {
                    let answer =
                        client::request(server, &method, &target, &headers, body.as_deref())
                            .await?;
                    seen.push(&conn, Incoming::Http(answer));
                    Ok(())
                }));
            }
            Step::Send(frame) => self.socket(line)?.send(frame).await?,
            Step::Close { code, reason } => self.socket(line)?.close(*code, reason).await?,
            Step::Drop => drop(self.sockets.remove(&line.conn)),
            Step::Note | Step::Receive(_) => {}
        }
        Ok(())
    }

    fn socket(&mut self, line: &Line) -> Result<&mut Socket> {
        self.sockets
            .get_mut(&line.conn)
            .with_context(|| format!("{} is not open", line.conn))
    }

    async fn finish(mut self) -> Tally {
        self.catch_up().await;
        // That nothing more comes cannot be awaited, only given the time to show.
        tokio::time::sleep(SETTLE).await;
        self.end_requests().await;
        for conn in self.seen.conns() {
            self.expected.entry(conn).or_default();
        }
        let mut tally = Tally {
            differences: self.failures,
            ..Tally::default()
        };
        for (conn, expected) in &self.expected {
            compare::connection(
                conn,
                expected,
                &self.seen.of(conn),
                &mut self.names,
                &mut tally,
            );
        }
        tally
    }

    /// A recording may end with a poll still parked.
    async fn end_requests(&mut self) {
        for request in self.requests.drain(..) {
            request.abort();
            if let Ok(Err(failure)) = request.await {
                self.failures.push(format!("{failure:#}"));
            }
        }
    }
}

/// Long-poll requests carry the token of an earlier answer.
fn learn_token(expected: &Incoming, seen: &Incoming, names: &mut Names) {
    if let (Incoming::Http(expected), Incoming::Http(seen)) = (expected, seen)
        && let (Some(recorded), Some(live)) = (token(&expected.body), token(&seen.body))
    {
        names.same(&recorded, &live);
    }
}

fn token(body: &str) -> Option<String> {
    match Json::parse(body)?.get("token")? {
        Json::Text(token) => Some(token.clone()),
        _ => None,
    }
}

fn with_live_token(target: &str, names: &Names) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| {
            match pair
                .strip_prefix("token=")
                .and_then(|recorded| names.seen(recorded))
            {
                Some(live) => format!("token={live}"),
                None => pair.to_owned(),
            }
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}
