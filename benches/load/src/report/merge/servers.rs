//! What servers used, as several generators saw it. Each reads what a process has used so far, at
//! the begin and the end of its own phases.

use std::collections::BTreeSet;

use super::{MOMENT, TOGETHER};
use crate::{
    engine::Phase,
    meter::Usage,
    report::model::{Run, Sample, Server, Span, SpanUsage},
};

/// A generator's view of one server.
struct Watcher<'a> {
    run: &'a Run,
    server: &'a Server,
}

/// Each server once, by name, whoever watched it. The runs tell their times from one origin;
/// `spans` are the phases of all of them. What a phase cost is from what the server had used when
/// the first generator began it until what it had used when the last one ended it; where nobody
/// who watched was there at such a moment, that usage is unknown.
pub(super) fn merge_servers(runs: &[Run], spans: &[Span]) -> Vec<Server> {
    let servers = runs.iter().flat_map(|run| &run.servers);
    let names: BTreeSet<&str> = servers.map(|server| server.name.as_str()).collect();
    let merged = names.into_iter().map(|name| {
        let watchers: Vec<_> = runs.iter().filter_map(|run| watcher(run, name)).collect();
        let spans = spans.iter().filter_map(|span| used_in(span, &watchers));
        Server {
            name: name.to_owned(),
            samples: course(&watchers),
            spans: spans.collect(),
        }
    });
    merged.collect()
}

fn watcher<'a>(run: &'a Run, name: &str) -> Option<Watcher<'a>> {
    let server = run.servers.iter().find(|server| server.name == name)?;
    Some(Watcher { run, server })
}

impl Watcher<'_> {
    /// When it began and ended a phase, and what it saw then.
    fn saw(&self, phase: Phase) -> Option<(&Span, &SpanUsage)> {
        let span = self.run.spans.iter().find(|span| span.phase == phase)?;
        let usage = self.server.spans.iter().find(|span| span.phase == phase)?;
        Some((span, usage))
    }
}

fn used_in(span: &Span, watchers: &[Watcher<'_>]) -> Option<SpanUsage> {
    let phase = span.phase;
    let seen: Vec<_> = watchers.iter().filter_map(|one| one.saw(phase)).collect();
    let slack = ((span.end - span.begin) * (1.0 - TOGETHER)).max(MOMENT);
    let began = seen
        .iter()
        .filter(|(own, used)| is_known(&used.before) && own.begin <= span.begin + slack);
    let ended = seen
        .iter()
        .filter(|(own, used)| is_known(&used.after) && own.end >= span.end - slack);
    let first = began.min_by(|(a, _), (b, _)| a.begin.total_cmp(&b.begin));
    let last = ended.max_by(|(a, _), (b, _)| a.end.total_cmp(&b.end));
    (!seen.is_empty()).then(|| SpanUsage {
        phase,
        before: first.map_or_else(Usage::default, |(_, used)| used.before),
        after: last.map_or_else(Usage::default, |(_, used)| used.after),
    })
}

fn is_known(usage: &Usage) -> bool {
    *usage != Usage::default()
}

/// The samples of who began to watch first, and of others what came after.
fn course(watchers: &[Watcher<'_>]) -> Vec<Sample> {
    let began = |one: &Watcher<'_>| {
        one.server
            .samples
            .first()
            .map_or(f64::MAX, |first| first.at)
    };
    let mut watchers: Vec<_> = watchers.iter().collect();
    watchers.sort_by(|a, b| began(a).total_cmp(&began(b)));
    let mut course: Vec<Sample> = Vec::new();
    for Watcher { run, server } in watchers {
        // Two readings at almost the same moment tell nothing of what was used in between.
        let last = course
            .last()
            .map_or(f64::MIN, |last| last.at + run.interval / 2.0);
        let later = server.samples.iter().filter(|sample| sample.at > last);
        course.extend(later);
    }
    course
}

/// What cannot be told of servers as nobody watched them at the right moment.
pub(super) fn unwatched(servers: &[Server]) -> Vec<String> {
    let unknown = |server: &Server, phase: Phase, of: fn(&SpanUsage) -> &Usage| {
        let mut spans = server.spans.iter().filter(|span| span.phase == phase);
        spans.any(|span| !is_known(of(span)))
    };
    let mut told = Vec::new();
    for server in servers {
        let missed = [
            (
                unknown(server, Phase::Connect, |span| &span.before),
                "when the first generator began to connect: what its sockets took",
            ),
            (
                unknown(server, Phase::Measure, |span| &span.before)
                    || unknown(server, Phase::Measure, |span| &span.after),
                "from when the first generator measured until the last was done: what that cost",
            ),
        ];
        let missed = missed.into_iter().filter(|(is_missed, _)| *is_missed);
        told.extend(missed.map(|(_, when)| {
            format!(
                "{} was not watched {when} is not known; give all generators its --pid or \
                 --metrics",
                server.name
            )
        }));
    }
    told
}
