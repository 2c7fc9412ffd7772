//! A thread that serves its share of all sockets: does what the traffics wish, and tells them what
//! happens.
//!
//! While messages flow it may read in bursts: it then looks at its sockets only every few
//! milliseconds, so that it does not run while the server writes to one socket after the other.

use std::sync::Arc;

use anyhow::bail;

use crate::{
    clock::{Clock, Nanos, SECOND},
    engine::{
        Phase, Shared,
        connection::{Connection, State, describe_close},
        poll::{Poll, Ready},
        stream::Scratch,
    },
    frames::{self, Frame},
    identity::Identity,
    meter,
    protocol::{
        Channel, FIRST_REFERENCE, Filling, Incoming, Introduction, JOIN, Protocol, fill,
        retry_after,
    },
    record::Record,
    target::Target,
    traffic::{Cx, Effect, Input, Traffic},
};

/// Longest wait without looking at the phase.
const LONGEST_WAIT: Nanos = SECOND / 50;

/// How often the state is shown to the coordinator.
const SHOW: Nanos = SECOND / 200;

/// How often each connection says that it lives, where the protocol has that.
const HEARTBEAT: Nanos = 30 * SECOND;

/// Idle connections are closed by servers after a minute or so.
const FIRST_HEARTBEAT: Nanos = 20 * SECOND;

/// What all workers of a run have in common.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) target: Arc<Target>,
    pub(crate) protocol: &'static dyn Protocol,
    pub(crate) people: Arc<[Identity]>,
    /// Pause between two bursts of reading; 0 reads at once.
    pub(crate) burst: Nanos,
}

/// A socket of a worker.
#[derive(Debug, Clone)]
pub(crate) struct SocketPlan {
    pub(crate) part: usize,
    /// Its place among the worker's sockets of that part.
    pub(crate) seat: usize,
    /// Its place among all sockets of the run.
    pub(crate) number: usize,
    pub(crate) person: usize,
    pub(crate) channel: Arc<Channel>,
}

/// One part of the plan on a worker.
pub(crate) struct PartPlan {
    pub(crate) traffic: Box<dyn Traffic>,
    /// Bytes of a message.
    pub(crate) body: usize,
}

/// The thread's state.
pub(crate) struct Worker {
    crew: Crew,
    number: usize,
    poll: Poll,
    connections: Vec<Connection>,
    /// The place of each connection among all sockets of the run.
    numbers: Vec<usize>,
    /// Where each part's connections begin.
    bases: Vec<usize>,
    parts: Vec<PartPlan>,
    phase: Phase,
    effects: Vec<Effect>,
    ready: Vec<Ready>,
    /// Connections with something to say.
    dirty: Vec<usize>,
    scratch: Scratch,
    text: Vec<u8>,
    next_burst: Nanos,
    next_show: Nanos,
    heartbeat: Heartbeat,
}

/// Goes round all connections.
struct Heartbeat {
    text: Option<String>,
    every: Nanos,
    next: Nanos,
    connection: usize,
}

impl Worker {
    /// A worker; its sockets are in the order of their parts and seats.
    pub(crate) fn new(
        crew: Crew,
        number: usize,
        sockets: &[SocketPlan],
        parts: Vec<PartPlan>,
    ) -> anyhow::Result<Self> {
        let connections: Vec<_> = sockets
            .iter()
            .map(|plan| {
                Connection::new(plan.part, plan.seat, plan.person, Arc::clone(&plan.channel))
            })
            .collect();
        let bases = (0..parts.len()).map(|part| sockets.partition_point(|plan| plan.part < part));
        let heartbeat = Heartbeat {
            text: crew.protocol.heartbeat(),
            every: HEARTBEAT / (connections.len().max(1) as u64),
            next: FIRST_HEARTBEAT,
            connection: 0,
        };
        Ok(Self {
            poll: Poll::new(crew.shared.bell(number))?,
            numbers: sockets.iter().map(|plan| plan.number).collect(),
            bases: bases.collect(),
            crew,
            number,
            connections,
            parts,
            phase: Phase::Connect,
            effects: Vec::new(),
            ready: Vec::new(),
            dirty: Vec::new(),
            scratch: Scratch::new(),
            text: Vec::new(),
            next_burst: 0,
            next_show: 0,
            heartbeat,
        })
    }

    /// Works until the run is done.
    pub(crate) fn run(mut self) -> Vec<Record> {
        self.crew.shared.began(self.number, meter::this_thread());
        loop {
            let phase = self.crew.shared.phase();
            if phase != self.phase {
                self.phase = phase;
                self.next_show = 0;
            }
            let now = self.crew.clock.now();
            let due = self.tick(now);
            self.flush();
            if self.phase == Phase::Done {
                let end = self.crew.shared.end();
                let parts = self.parts.into_iter();
                return parts.map(|part| part.traffic.finish(end)).collect();
            }
            self.show(now);
            self.wait(due);
        }
    }

    /// Lets every traffic do what is due; returns when there will be more.
    fn tick(&mut self, now: Nanos) -> Nanos {
        let mut next = now + LONGEST_WAIT;
        for part in 0..self.parts.len() {
            let due = self.with_part(part, now, |traffic, cx| traffic.tick(cx));
            next = next.min(due.unwrap_or(Nanos::MAX));
        }
        self.beat(now);
        next
    }

    fn beat(&mut self, now: Nanos) {
        let Some(text) = self.heartbeat.text.clone() else {
            return;
        };
        while self.heartbeat.next <= now && !self.connections.is_empty() {
            let at = self.heartbeat.connection % self.connections.len();
            self.heartbeat.connection += 1;
            self.heartbeat.next += self.heartbeat.every;
            if self.connections[at].state == State::Live {
                self.say(at, frames::TEXT, text.as_bytes());
            }
        }
    }

    fn show(&mut self, now: Nanos) {
        if now < self.next_show {
            return;
        }
        self.next_show = now + SHOW;
        for (number, part) in self.parts.iter().enumerate() {
            let status = part.traffic.status(&Cx {
                now,
                phase: self.phase,
                effects: &mut self.effects,
            });
            self.crew.shared.show(self.number, number, &status);
        }
    }

    fn wait(&mut self, due: Nanos) {
        let now = self.crew.clock.now();
        let is_bursting = self.crew.burst > 0 && self.phase > Phase::Connect;
        let shared = Arc::clone(&self.crew.shared);
        let bell = shared.bell(self.number);
        let mut timeout = due.saturating_sub(now);
        if is_bursting {
            let until = due.min(self.next_burst);
            if until > now {
                self.poll.sleep(until - now, bell);
            }
            if self.crew.clock.now() < self.next_burst {
                return;
            }
            timeout = 0;
        }
        loop {
            let mut ready = std::mem::take(&mut self.ready);
            let may_be_more = self.poll.wait(timeout, bell, &mut ready);
            for ready in ready.drain(..) {
                self.serve(ready);
            }
            self.ready = ready;
            if !may_be_more {
                break;
            }
            timeout = 0;
        }
        self.next_burst = self.crew.clock.now() + self.crew.burst;
    }

    /// Something happened on a socket.
    fn serve(&mut self, ready: Ready) {
        let at = ready.socket;
        match self.connections[at].state {
            State::Closed => return,
            State::Connecting => match self.connections[at].connected() {
                Ok(()) => self.upgrade(at),
                Err(error) if error.kind() == std::io::ErrorKind::NotConnected => return,
                Err(error) => return self.lose(at, &anyhow::Error::new(error).context("connect")),
            },
            _ => {}
        }
        if let Err(error) = self.connections[at].flush() {
            return self.lose(at, &error);
        }
        if self.connections[at].is_stalled {
            if ready.is_ending {
                self.lose(at, &anyhow::anyhow!("the server cut a stalled reader"));
            }
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        loop {
            let portion = match self.connections[at].read(&mut scratch) {
                Ok(None) => break,
                Ok(Some(portion)) => portion,
                Err(error) => {
                    self.lose(at, &error);
                    break;
                }
            };
            if let Err(error) = self.take_bytes(at, &scratch.plain[..portion.count]) {
                self.lose(at, &error);
                break;
            }
            if portion.is_last && !ready.is_ending {
                break;
            }
        }
        self.scratch = scratch;
    }

    fn upgrade(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let who = &self.crew.people[connection.person];
        let values = [
            ("user", who.user.as_str()),
            ("token", who.token.as_str()),
            ("topic", connection.channel.topic.as_str()),
        ];
        let target = &self.crew.target;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cXVpa2FwcCBiZW5jaCBrZQ==\r\n",
            fill(&target.path, &values),
            target.authority,
        );
        connection.state = State::Upgrading;
        connection.write_plain(request.as_bytes());
        for (name, value) in &target.headers {
            let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
            connection.write_plain(&line.concat());
        }
        connection.write_plain(b"\r\n");
    }

    fn take_bytes(&mut self, at: usize, bytes: &[u8]) -> anyhow::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.connections[at].state != State::Upgrading {
            return self.take_frames(at, bytes);
        }
        match self.connections[at].take_head(bytes)? {
            None => Ok(()),
            Some(Ok(behind)) => {
                self.upgraded(at);
                self.take_frames(at, &behind)
            }
            Some(Err(refusal)) => {
                let why = format!("the upgrade was refused: {}", refusal.status);
                self.refuse(at, why, refusal.retry_after);
                Ok(())
            }
        }
    }

    fn upgraded(&mut self, at: usize) {
        self.connections[at].state = State::Introducing;
        match self.crew.protocol.introduction() {
            Introduction::InRequest => self.join(at),
            Introduction::AtOnce => self.introduce(at),
            Introduction::WhenInvited => {}
        }
    }

    fn introduce(&mut self, at: usize) {
        let who = &self.crew.people[self.connections[at].person];
        let text = self.crew.protocol.introduce(who);
        self.say(at, frames::TEXT, text.as_bytes());
    }

    fn join(&mut self, at: usize) {
        self.connections[at].state = State::Joining;
        let channel = Arc::clone(&self.connections[at].channel);
        match &channel.join {
            Some(join) => self.say(at, frames::TEXT, join.as_bytes()),
            None => self.joined(at),
        }
    }

    fn joined(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        connection.state = State::Live;
        let (due, late) = (connection.due, connection.late);
        self.tell(at, Input::Live { due, late });
    }

    fn take_frames(&mut self, at: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let channel = Arc::clone(&self.connections[at].channel);
        let mut reader = std::mem::take(&mut self.connections[at].reader);
        let now = self.crew.clock.now();
        let read = reader.read(bytes, |frame| self.take_frame(at, &frame, &channel, now));
        if self.connections[at].state != State::Closed {
            self.connections[at].reader = reader;
        }
        read
    }

    fn take_frame(
        &mut self,
        at: usize,
        frame: &Frame<'_>,
        channel: &Channel,
        now: Nanos,
    ) -> anyhow::Result<()> {
        if self.connections[at].state == State::Closed {
            return Ok(());
        }
        match frame.opcode {
            frames::TEXT | frames::BINARY => {
                let protocol = self.crew.protocol;
                return protocol.read(channel, frame.payload, &mut |incoming| {
                    self.understand(at, incoming, now);
                });
            }
            frames::PING => self.say(at, frames::PONG, frame.payload),
            frames::PONG => self.tell(at, Input::Pong),
            frames::CLOSE => bail!("{}", describe_close(frame.payload)),
            other => bail!("a frame with opcode {other}"),
        }
        Ok(())
    }

    fn understand(&mut self, at: usize, incoming: Incoming<'_>, now: Nanos) {
        let state = self.connections[at].state;
        let input = match (incoming, state) {
            (_, State::Closed) => return,
            (Incoming::Demand(text), _) => return self.say(at, frames::TEXT, text.as_bytes()),
            (Incoming::Invitation, State::Introducing) => return self.introduce(at),
            (Incoming::Ready, State::Introducing) => return self.join(at),
            (Incoming::Answer { outcome, .. }, State::Introducing | State::Joining) => {
                return match outcome {
                    Ok(_) => self.joined(at),
                    Err(why) => {
                        let after = retry_after(&why);
                        self.refuse(at, format!("the join was refused: {why}"), after);
                    }
                };
            }
            (Incoming::Ended(why), _) => return self.lose(at, &anyhow::anyhow!(why)),
            (Incoming::Delivery { content, seq }, _) => Input::Delivery { content, seq },
            (Incoming::PresenceState(state), _) => Input::PresenceState(state),
            (Incoming::PresenceDiff(diff), _) => Input::PresenceDiff(diff),
            (Incoming::Answer { reference, outcome }, State::Live)
                if reference >= FIRST_REFERENCE =>
            {
                Input::Answer { reference, outcome }
            }
            (Incoming::Other(what), State::Live) => Input::Other(what),
            _ => return,
        };
        self.tell_at(at, input, now);
    }

    /// The connection has ended without our doing.
    fn lose(&mut self, at: usize, error: &anyhow::Error) {
        let connection = &mut self.connections[at];
        let was_live = connection.state == State::Live;
        if connection.state == State::Closed {
            return;
        }
        if !was_live {
            return self.refuse(at, format!("{error:#}"), None);
        }
        connection.drop_stream();
        let why = format!("{error:#}");
        self.tell(at, Input::Gone { why });
    }

    fn refuse(&mut self, at: usize, why: String, retry_after: Option<Nanos>) {
        let connection = &mut self.connections[at];
        let due = connection.due;
        connection.drop_stream();
        self.tell(
            at,
            Input::Refused {
                why,
                due,
                retry_after,
            },
        );
    }

    fn tell(&mut self, at: usize, input: Input<'_>) {
        self.tell_at(at, input, self.crew.clock.now());
    }

    fn tell_at(&mut self, at: usize, input: Input<'_>, now: Nanos) {
        let (part, seat) = (self.connections[at].part, self.connections[at].seat);
        self.with_part(part, now, |traffic, cx| traffic.handle(seat, input, cx));
    }

    /// Calls a traffic, and does what it wishes.
    fn with_part<T>(
        &mut self,
        part: usize,
        now: Nanos,
        call: impl FnOnce(&mut dyn Traffic, &mut Cx<'_>) -> T,
    ) -> T {
        let mut effects = std::mem::take(&mut self.effects);
        let answer = call(
            self.parts[part].traffic.as_mut(),
            &mut Cx {
                now,
                phase: self.phase,
                effects: &mut effects,
            },
        );
        for effect in effects.drain(..) {
            self.perform(part, effect);
        }
        self.effects = effects;
        answer
    }

    fn perform(&mut self, part: usize, effect: Effect) {
        let base = self.bases[part];
        match effect {
            Effect::Open { seat, due, at } => self.open(base + seat, due, at),
            Effect::Stall { seat } => self.stall(base + seat),
            Effect::Close { seat } => self.connections[base + seat].close(),
            Effect::Probe { seat } => self.say(base + seat, frames::PING, b"bench"),
            Effect::Wake { worker } => self.crew.shared.bell(worker).ring(),
            Effect::Publish {
                seat,
                reference,
                mark,
            } => {
                let at = base + seat;
                let filling = Filling {
                    reference,
                    mark: &mark,
                    size: self.parts[part].body,
                    unix_ms: self.crew.clock.unix_ms(mark.at),
                };
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                let publish = &self.connections[at].channel.publish;
                publish.write(&filling, &mut text);
                self.say(at, frames::TEXT, &text);
                self.text = text;
            }
        }
    }

    /// Connects; the moment at which it was to is `moment`.
    fn open(&mut self, at: usize, due: Nanos, moment: Nanos) {
        let now = self.crew.clock.now();
        let connection = &mut self.connections[at];
        connection.late = now.saturating_sub(moment);
        let opened = connection.open(&self.crew.target, self.numbers[at], due);
        let watched = opened.and_then(|stream| Ok(self.poll.add(stream, at)?));
        if let Err(error) = watched {
            connection.due = due;
            self.refuse(at, format!("{error:#}"), None);
        }
    }

    fn stall(&mut self, at: usize) {
        let stalled = self.connections[at].stall();
        let stalled = stalled.and_then(|stream| match stream {
            Some(stream) => self.poll.ignore_input(stream, at),
            None => Ok(()),
        });
        if let Err(error) = stalled {
            self.lose(at, &anyhow::Error::new(error).context("stalling"));
        }
    }

    fn say(&mut self, at: usize, opcode: u8, payload: &[u8]) {
        let connection = &mut self.connections[at];
        if connection.state == State::Closed {
            return;
        }
        connection.say(opcode, payload);
        if !std::mem::replace(&mut connection.is_dirty, true) {
            self.dirty.push(at);
        }
    }

    fn flush(&mut self) {
        while let Some(at) = self.dirty.pop() {
            self.connections[at].is_dirty = false;
            if let Err(error) = self.connections[at].flush() {
                self.lose(at, &error);
            }
        }
    }
}

// The join's answer is told by the state; its reference is below those of publications.
const _: () = assert!(JOIN < FIRST_REFERENCE);
