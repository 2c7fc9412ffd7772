//! Runs a plan once: prepares people and rooms, starts the workers, leads them through the phases
//! and samples what everything costs meanwhile.

mod limits;

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    clock::{Clock, Nanos, SECOND, from_seconds, seconds, unix_seconds},
    engine::{Crew, PartPlan, Phase, Shared, SocketPlan, Totals, Worker},
    http::Http,
    identity::{Credentials, Identities},
    mark::mix,
    meter::{Meter, ThreadUsage, Usage, of_threads},
    plan::{Layout, Part, Plan, Play, Settings, read_headers},
    protocol::Channel,
    record::Record,
    report::{Generator, PartReport, Run, Sample, Server, Span, SpanUsage, Thread},
    stages::Share,
    target::Target,
    tls::Security,
    traffic::{
        Barrier, Crowd, CrowdPlan, End, Hall, Pacing, Presence, PresencePlan, Rooms, RoomsPlan,
        SeatPlan, Stage, Traffic, Waves,
    },
    violations::Kind,
    world,
};

use limits::{in_time, time_to_connect, token_lifetime};

/// Descriptors beside those of the sockets.
const SPARE_DESCRIPTORS: u64 = 64;

/// Handshakes under way at a time, until all are there.
const CONNECTING: usize = 64;

/// How often the coordinator looks.
const LOOK: Duration = Duration::from_millis(10);

/// Why a run ended before its time, if it was not the deadline.
const BROKE_OFF: &str = "a socket was refused or lost, or nothing came for too long";

/// The least time to connect, in seconds, of which ticks of 10 ms tell how busy a thread was.
const TELLING: f64 = 0.2;

/// After the last delivery: what comes then is one too many.
const AFTERMATH: Duration = Duration::from_millis(50);

/// What can be seen of a run while it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// Seconds since the phase began.
    pub(crate) since: f64,
    pub(crate) totals: Totals,
    pub(crate) sockets: usize,
    /// Seconds since the last look.
    pub(crate) passed: f64,
    /// CPUs that the servers use, if they are watched.
    pub(crate) server: Option<f64>,
}

/// Runs the plan, the `turn`th time.
pub(crate) async fn run_once(
    plan: &Plan,
    turn: u32,
    show: &mut dyn FnMut(&Progress),
) -> anyhow::Result<Run> {
    let layout = Layout::of(plan);
    allow_descriptors(layout.sockets)?;
    let ca_file = plan.target.ca_file.as_deref();
    let security = Security::new(ca_file, plan.target.insecure, layout.sockets)?;
    let target = Target::parse(plan.target.url(), plan.target.socket_path(), &security)?
        .with_headers(read_headers(&plan.target.headers)?)
        .with_sources(plan.target.sources.as_deref(), layout.sockets)?;
    let http = Http::new(&target, &security)?;
    let credentials = Credentials {
        auth: plan.target.auth(),
        secret_file: plan.target.secret_file.as_deref(),
        token: plan.target.token.as_deref(),
        lifetime: token_lifetime(&plan.run, layout.sockets),
        generator: plan.run.name_among_others(),
    };
    let identities = Identities::new(&target, &credentials, http.own().clone())?;
    let meter = Meter::new(&plan.run.pids, &plan.run.metrics, http).await?;
    let people = identities.people(layout.people).await?;
    let run = run_number(plan, turn);
    let channels = world::make_channels(plan, &layout, run, &identities, &people).await?;
    let crew = Crew {
        shared: Arc::new(Shared::new(plan.run.threads, layout.parts.len())?),
        clock: Clock::start(),
        target: Arc::new(target),
        protocol: plan.target.language().speaker(),
        people: people.into(),
        burst: plan.run.burst_ms * (SECOND / 1000),
    };
    let threads = Threads::start(plan, &layout, &crew, run, &channels)?;
    let mut course = Course::new(plan, &layout, &crew, meter);
    let led = Box::pin(course.lead(plan, &layout, &identities, &crew, show)).await;
    let end = match led {
        Ok(()) => End::InTime,
        Err(_) => End::CutShort,
    };
    let records = threads.join(end);
    let aborted = led.err().map(|error| format!("{error:#}"));
    Ok(course.report(plan, &layout, records, aborted))
}

/// Another one for every generator, repetition and start.
fn run_number(plan: &Plan, turn: u32) -> u32 {
    let started = (unix_seconds() * 1e6) as u64;
    let name = plan.run.generator.bytes();
    let named = name.fold(0, |state, byte| mix(state ^ u64::from(byte)));
    let process = u64::from(std::process::id());
    mix(started ^ mix(named ^ process) ^ mix(u64::from(turn))) as u32
}

fn allow_descriptors(sockets: usize) -> anyhow::Result<()> {
    let needed = sockets as u64 + SPARE_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let may = limit.maximum.is_none_or(|maximum| maximum >= needed);
    ensure!(
        may,
        "{sockets} sockets need {needed} file descriptors, and `ulimit -Hn` allows {}: start \
         several generators, and merge their reports",
        limit.maximum.unwrap_or_default()
    );
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raising the limit of file descriptors")
}

/// The workers' threads. Dropping them ends them.
struct Threads {
    shared: Arc<Shared>,
    handles: Vec<thread::JoinHandle<Vec<Record>>>,
}

impl Threads {
    fn start(
        plan: &Plan,
        layout: &Layout,
        crew: &Crew,
        run: u32,
        channels: &[Vec<Arc<Channel>>],
    ) -> anyhow::Result<Self> {
        let mut threads = Self {
            shared: Arc::clone(&crew.shared),
            handles: Vec::new(),
        };
        let stages = layout
            .parts
            .iter()
            .map(|part| Backdrop::of(part, plan, crew));
        let stages: Vec<_> = stages.collect();
        for worker in 0..plan.run.threads {
            let sockets = sockets_of(layout, worker, channels);
            let parts = layout
                .parts
                .iter()
                .zip(&stages)
                .map(|(part, stage)| PartPlan {
                    traffic: traffic(part, stage, plan, worker, run, layout.sockets),
                    body: part.body,
                });
            let worker_thread = Worker::new(crew.clone(), worker, &sockets, parts.collect())?;
            let handle = thread::Builder::new()
                .name(format!("bench-{worker}"))
                .spawn(move || worker_thread.run())?;
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    /// Ends the run; what each worker recorded of each part.
    fn join(mut self, end: End) -> Vec<Vec<Record>> {
        self.shared.finish(end);
        let handles = std::mem::take(&mut self.handles);
        let records = handles.into_iter().map(|handle| match handle.join() {
            Ok(records) => records,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        records.collect()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.finish(End::CutShort);
        for handle in self.handles.drain(..) {
            // A panic has been printed, and another error is under way.
            let _ = handle.join();
        }
    }
}

fn sockets_of(layout: &Layout, worker: usize, channels: &[Vec<Arc<Channel>>]) -> Vec<SocketPlan> {
    let (mut sockets, mut number) = (Vec::new(), 0);
    for (part_number, part) in layout.parts.iter().enumerate() {
        let mut taken = 0;
        for seat in &part.seats {
            if seat.worker == worker {
                sockets.push(SocketPlan {
                    part: part_number,
                    seat: taken,
                    number,
                    person: seat.person,
                    channel: Arc::clone(&channels[part_number][seat.room]),
                });
                taken += 1;
            }
            number += 1;
        }
    }
    sockets
}

/// What the workers of a part have in common.
enum Backdrop {
    Hall(Arc<Hall>),
    Stage(Arc<Stage>),
    Waves(Arc<Barrier>),
}

impl Backdrop {
    fn of(part: &Part, plan: &Plan, crew: &Crew) -> Self {
        match &part.play {
            Play::Rooms { rooms, .. } => Self::Hall(Arc::new(Hall::new(rooms, plan.run.threads))),
            Play::Presence { .. } => {
                let people = &crew.people[part.people.clone()];
                let users = people.iter().map(|person| person.user.clone());
                Self::Stage(Arc::new(Stage::new(users)))
            }
            Play::Crowd { reconnects, .. } => {
                let barrier = Barrier::new(plan.run.threads, *reconnects);
                Self::Waves(Arc::new(barrier))
            }
        }
    }
}

fn traffic(
    part: &Part,
    backdrop: &Backdrop,
    plan: &Plan,
    worker: usize,
    run: u32,
    sockets: usize,
) -> Box<dyn Traffic> {
    let own: Vec<_> = part.seats.iter().filter(|s| s.worker == worker).collect();
    let (which, of) = (worker as u64, plan.run.threads as u64);
    let share = Share { which, of };
    let opening = opening(&plan.run, own.len(), sockets);
    let interval = plan.run.interval_ms * (SECOND / 1000);
    match (&part.play, backdrop) {
        (
            Play::Rooms {
                pace, acknowledged, ..
            },
            Backdrop::Hall(hall),
        ) => {
            let seats = own.iter().map(|seat| SeatPlan {
                room: seat.room as u32,
                publisher: seat.publisher,
                stalls: seat.stalls,
            });
            let rooms = RoomsPlan {
                run,
                worker,
                seats: seats.collect(),
                pace: pace.clone(),
                opening,
                acknowledged: *acknowledged,
                is_lenient: part.words.is_lenient,
                patience: plan.run.patience.0 * SECOND,
                interval,
                main: part.main,
            };
            Box::new(Rooms::new(rooms, Arc::clone(hall)))
        }
        (Play::Presence { observers, churn }, Backdrop::Stage(stage)) => {
            let people = own.iter().map(|seat| seat.person - part.people.start);
            let presence = PresencePlan {
                people: people.collect(),
                observers: *observers,
                opening,
                churn: churn.clone(),
                share,
                interval,
            };
            Box::new(Presence::new(presence, Arc::clone(stage)))
        }
        (play, backdrop) => Box::new(Crowd::new(CrowdPlan {
            worker,
            seats: own.len(),
            opening,
            waves: waves(play, backdrop, share),
            is_lenient: part.words.is_lenient,
            interval,
        })),
    }
}

/// How fast a worker connects its sockets of a part: its share of what is said for all of them.
fn opening(run: &Settings, own: usize, sockets: usize) -> Pacing {
    let share = own as f64 / sockets.max(1) as f64;
    // Everybody gets on.
    let of = |count: usize| ((count as f64 * share).round() as usize).max(1);
    match &run.connect_rate {
        None => Pacing::AtMost {
            first: of(run.connecting.unwrap_or(CONNECTING)),
            again: run.connecting.map_or(usize::MAX, of),
        },
        Some(stages) => Pacing::Rate(stages.scaled(share)),
    }
}

fn waves(play: &Play, backdrop: &Backdrop, share: Share) -> Waves {
    match (play, backdrop) {
        (
            Play::Crowd {
                churn: Some(churn), ..
            },
            _,
        ) => Waves::Churn(churn.clone(), share),
        (Play::Crowd { reconnects, .. }, Backdrop::Waves(barrier)) if *reconnects > 0 => {
            Waves::Reconnects(Arc::clone(barrier))
        }
        _ => Waves::Calm,
    }
}

/// The course of a run, as it is observed.
struct Course {
    shared: Arc<Shared>,
    clock: Clock,
    target: Arc<Target>,
    meter: Meter,
    started_at: f64,
    sockets: usize,
    interval: Nanos,
    spans: Vec<Span>,
    servers: Vec<Server>,
    threads: Vec<Thread>,
    threads_before: Vec<ThreadUsage>,
    next_sample: Nanos,
    last_threads: (Nanos, Vec<ThreadUsage>),
}

impl Course {
    fn new(plan: &Plan, layout: &Layout, crew: &Crew, meter: Meter) -> Self {
        let servers = meter.names().map(|name| Server {
            name: name.to_owned(),
            samples: Vec::new(),
            spans: Vec::new(),
        });
        Self {
            servers: servers.collect(),
            shared: Arc::clone(&crew.shared),
            clock: crew.clock,
            target: Arc::clone(&crew.target),
            meter,
            started_at: unix_seconds() - seconds(crew.clock.now()),
            sockets: layout.sockets,
            interval: plan.run.interval_ms * (SECOND / 1000),
            spans: Vec::new(),
            threads: Vec::new(),
            threads_before: Vec::new(),
            next_sample: 0,
            last_threads: (0, Vec::new()),
        }
    }

    /// Leads the workers through the phases. Waiting for the moment to begin is in no deadline.
    async fn lead(
        &mut self,
        plan: &Plan,
        layout: &Layout,
        identities: &Identities,
        crew: &Crew,
        show: &mut dyn FnMut(&Progress),
    ) -> anyhow::Result<()> {
        let connected = Box::pin(self.connect(layout, identities, crew, show));
        in_time(time_to_connect(&plan.run, layout.sockets), connected).await?;
        if let Some(moment) = plan.run.start_at {
            let left = moment - unix_seconds();
            ensure!(
                left >= 0.0,
                "all sockets were connected {:.1} s after --start-at: choose a later moment",
                -left
            );
            sleep(Duration::try_from_secs_f64(left)?).await;
        }
        let played = Box::pin(self.play(&plan.run, show));
        in_time(Duration::from_secs(plan.run.deadline), played).await
    }

    async fn connect(
        &mut self,
        layout: &Layout,
        identities: &Identities,
        crew: &Crew,
        show: &mut dyn FnMut(&Progress),
    ) -> anyhow::Result<()> {
        self.phase(Phase::Connect, Nanos::MAX, Shared::all_ready, show)
            .await?;
        for part in &layout.parts {
            if let Some(path) = &part.society.visit {
                world::visit(identities, &crew.people[part.people.clone()], path).await?;
            }
        }
        Ok(())
    }

    async fn play(
        &mut self,
        run: &Settings,
        show: &mut dyn FnMut(&Progress),
    ) -> anyhow::Result<()> {
        let (warmup, measured) = (from_seconds(run.warmup), from_seconds(run.seconds));
        if warmup > 0 {
            self.phase(Phase::Warmup, warmup, Shared::all_finished, show)
                .await?;
        }
        self.phase(Phase::Measure, measured, Shared::all_finished, show)
            .await?;
        let patience = run.patience.1 * SECOND;
        self.phase(Phase::Drain, patience, Shared::all_settled, show)
            .await?;
        sleep(AFTERMATH + Duration::from_millis(run.burst_ms)).await;
        Ok(())
    }

    /// Stays in a phase until something holds, or for so long.
    async fn phase(
        &mut self,
        phase: Phase,
        longest: Nanos,
        is_over: impl Fn(&Shared) -> bool,
        show: &mut dyn FnMut(&Progress),
    ) -> anyhow::Result<()> {
        let before = self.meter.read().await?;
        self.threads_before = of_threads(&self.shared.threads());
        self.shared.forget_progress();
        let begin = self.clock.now();
        self.shared.enter(phase);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = (begin, before.clone());
        while !is_over(&self.shared) {
            let now = self.clock.now();
            let left = longest.saturating_sub(now - begin);
            if left == 0 {
                break;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                () = sleep(Duration::from_nanos(left)) => {}
            }
            if let Some(progress) = self.sample(phase, begin, &mut last).await {
                show(&progress);
            }
        }
        self.end_phase(phase, begin, before).await;
        Ok(())
    }

    /// Takes a sample, when an interval has passed.
    async fn sample(
        &mut self,
        phase: Phase,
        begin: Nanos,
        last: &mut (Nanos, Vec<Usage>),
    ) -> Option<Progress> {
        let now = self.clock.now();
        if now < self.next_sample {
            return None;
        }
        self.next_sample = now + self.interval;
        self.sample_threads(phase, now);
        // A process that has gone is noticed by its sockets.
        let usages = self.meter.read().await.unwrap_or_default();
        for (server, usage) in self.servers.iter_mut().zip(&usages) {
            let (at, usage) = (seconds(now), *usage);
            server.samples.push(Sample { at, usage });
        }
        let passed = seconds(now - last.0);
        let spent = |(before, after): (&Usage, &Usage)| Some((after.cpu? - before.cpu?) / passed);
        let used: Option<f64> = last.1.iter().zip(&usages).map(spent).sum();
        *last = (now, usages.clone());
        Some(Progress {
            phase,
            since: seconds(now - begin),
            totals: self.shared.totals(),
            sockets: self.sockets,
            passed,
            server: used.filter(|_| !usages.is_empty() && passed > 0.0),
        })
    }

    /// The busiest share of each worker's thread, interval by interval.
    fn sample_threads(&mut self, phase: Phase, now: Nanos) {
        let usages = of_threads(&self.shared.threads());
        let (then, before) = std::mem::replace(&mut self.last_threads, (now, usages.clone()));
        let passed = seconds(now - then);
        if self.threads.len() < usages.len() {
            self.threads.resize(usages.len(), Thread::default());
        }
        if phase != Phase::Measure || passed <= 0.0 {
            return;
        }
        for ((thread, usage), before) in self.threads.iter_mut().zip(&usages).zip(&before) {
            let share = (usage.busy - before.busy) / passed;
            thread.course.push((seconds(now), share));
        }
    }

    async fn end_phase(&mut self, phase: Phase, begin: Nanos, before: Vec<Usage>) {
        let end = self.clock.now();
        let span = Span {
            phase,
            begin: seconds(begin),
            end: seconds(end),
        };
        let after = self.meter.read().await.unwrap_or_default();
        for ((server, before), after) in self.servers.iter_mut().zip(before).zip(after) {
            server.spans.push(SpanUsage {
                phase,
                before,
                after,
            });
        }
        self.end_threads(&span);
        self.spans.push(span);
    }

    /// What each worker's thread used in the phases that figures are of.
    fn end_threads(&mut self, span: &Span) {
        let now = of_threads(&self.shared.threads());
        let length = (span.end - span.begin).max(1e-9);
        self.threads.resize(now.len(), Thread::default());
        // Those that began in the phase had used nothing before.
        let before = self.threads_before.iter().copied();
        let before = before.chain(std::iter::repeat(ThreadUsage::default()));
        for ((thread, now), before) in self.threads.iter_mut().zip(&now).zip(before) {
            let busy = (now.busy - before.busy) / length;
            match span.phase {
                Phase::Connect if length >= TELLING => thread.connecting = busy,
                Phase::Measure => {
                    thread.busy = busy;
                    thread.waited = (now.waited - before.waited) / length;
                }
                _ => {}
            }
        }
    }

    fn report(
        self,
        plan: &Plan,
        layout: &Layout,
        workers: Vec<Vec<Record>>,
        aborted: Option<String>,
    ) -> Run {
        let mut records = vec![Record::default(); layout.parts.len()];
        for worker in workers {
            for (sum, record) in records.iter_mut().zip(&worker) {
                sum.add(record);
            }
        }
        let broken = layout.parts.iter().zip(&records);
        let mut broken = broken.filter(|(_, record)| record.broke_off);
        let broke_off = broken.next();
        let broke_off = broke_off.map(|(part, _)| format!("{}: {BROKE_OFF}", part.name));
        let aborted = aborted.or(broke_off);
        let parts = layout.parts.iter().zip(records).map(|(part, mut record)| {
            check_orders(&mut record);
            PartReport {
                name: part.name.clone(),
                scenario: part.scenario.to_owned(),
                main: part.main,
                record,
            }
        });
        Run {
            started_at: self.started_at,
            interval: seconds(self.interval),
            burst_ms: plan.run.burst_ms,
            spans: self.spans,
            parts: parts.collect(),
            servers: self.servers,
            generators: vec![Generator {
                name: plan.run.generator.clone(),
                threads: self.threads,
                tls: self.target.tls.as_ref().map(|tls| tls.usage()),
            }],
            aborted,
            connected_apart: false,
        }
    }
}

/// All members of a room heard the same order. Where something else is wrong, that is said; where
/// something was under way, not all have heard the same yet.
fn check_orders(record: &mut Record) {
    if !record.violations.is_empty() || record.counters.unknown > 0 {
        return;
    }
    let mut orders = std::mem::take(&mut record.orders);
    orders.sort_by_key(|order| order.room);
    for pair in orders.windows(2) {
        if pair[0].room == pair[1].room && pair[0].digest != pair[1].digest {
            let room = pair[0].room;
            record.violations.add(Kind::OutOfOrder, 1, || {
                format!("room {room}: two members heard different orders")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::RunOptions, record::HeardOrder};

    #[test]
    fn one_order_for_all() {
        let order = |room, digest| HeardOrder { room, digest };
        let mut record = Record {
            orders: vec![order(1, 5), order(0, 7), order(1, 5)],
            ..Record::default()
        };
        check_orders(&mut record);
        assert!(record.violations.is_empty());
        record.orders = vec![order(1, 5), order(0, 7), order(1, 6)];
        check_orders(&mut record);
        assert_eq!(record.violations.count(Kind::OutOfOrder), 1);
    }

    #[test]
    fn all_parts_and_threads_share_one_rate() {
        let mut options = RunOptions {
            connect_rate: "50".parse().ok(),
            ..RunOptions::default()
        };
        let of_all = |options: &RunOptions| {
            let run = Settings::complete(options, &[]).expect("settings");
            [70, 30].map(|own| opening(&run, own, 100))
        };
        let rates = of_all(&options).map(|pacing| match pacing {
            Pacing::Rate(stages) => stages.peak(),
            other => panic!("{other:?}"),
        });
        assert_eq!(rates, [35.0, 15.0]);
        (options.connect_rate, options.connecting) = (None, Some(10));
        let limits = of_all(&options).map(|pacing| match pacing {
            Pacing::AtMost { first, again } => (first, again),
            other => panic!("{other:?}"),
        });
        assert_eq!(limits, [(7, 7), (3, 3)]);
    }

    #[test]
    fn too_many_sockets_are_refused_before_the_first() {
        let refused = allow_descriptors(1 << 40);
        let why = refused.map_err(|error| error.to_string());
        assert!(why.is_err_and(|why| why.contains("several generators")));
    }
}
