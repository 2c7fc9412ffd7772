//! One report of several generators that loaded a server together: counts are added, histograms
//! are added bucket by bucket, and nothing is averaged.

use anyhow::{Context, ensure};

use super::{
    difference::{OF_ONE_GENERATOR, differences},
    model::{PartReport, Report, Run, Server, Span},
};
use crate::engine::Phase;

/// The share of a phase that generators have to have in common to have done it together.
const TOGETHER: f64 = 0.95;

/// A phase that is shorter, in seconds, is nothing that could be shared.
const MOMENT: f64 = 0.02;

/// Merges reports of the same plan; the first run of one with the first runs of the others.
///
/// # Errors
/// When they are not of one plan, or did not measure at the same time.
pub fn merge(reports: &[Report]) -> anyhow::Result<Report> {
    let (first, others) = reports.split_first().context("nothing to merge")?;
    let mut merged = first.clone();
    for other in others {
        ensure!(
            other.runs.len() == merged.runs.len(),
            "{} runs of {} cannot be merged with {} of {}",
            other.runs.len(),
            other.name,
            merged.runs.len(),
            merged.name
        );
        for (sum, run) in merged.runs.iter_mut().zip(&other.runs) {
            add_run(sum, run)?;
        }
        merged.notes.extend_from_slice(&other.notes);
        merged.notes.extend(difference(first, other));
    }
    for (turn, run) in merged.runs.iter_mut().enumerate() {
        let runs: Vec<_> = reports.iter().map(|report| &report.runs[turn]).collect();
        let shared = common(&runs, Phase::Measure, f64::min);
        ensure!(
            shared >= TOGETHER,
            "the generators did not measure at the same time (run {}: {:.0} % of it together), \
             so that their rates do not add up: give all of them the same --start-at",
            turn + 1,
            shared * 100.0
        );
        run.connected_apart |= common(&runs, Phase::Connect, f64::max) < TOGETHER;
    }
    Ok(merged.computed())
}

/// The share of a phase in which all were in it: of the shortest one (`f64::min`), which may lie
/// within the others, or of the longest (`f64::max`).
fn common(runs: &[&Run], phase: Phase, of: fn(f64, f64) -> f64) -> f64 {
    let windows: Vec<_> = runs.iter().filter_map(|run| run.window(phase)).collect();
    let begin = windows
        .iter()
        .map(|(begin, _)| *begin)
        .fold(f64::MIN, f64::max);
    let end = windows.iter().map(|(_, end)| *end).fold(f64::MAX, f64::min);
    let lengths = windows.iter().map(|(begin, end)| end - begin);
    let length = lengths.reduce(of).unwrap_or(0.0);
    match windows.len() < 2 || length < MOMENT {
        true => 1.0,
        false => ((end - begin) / length).max(0.0),
    }
}

/// Reports may say different things of what they did; who merges them should know.
fn difference(first: &Report, other: &Report) -> Option<String> {
    let found = differences(&first.plan, &other.plan, &OF_ONE_GENERATOR);
    let of = |report: &Report| report.runs[0].generators[0].name.clone();
    (!found.is_empty()).then(|| {
        format!(
            "the plans of the generators {} and {} differ: {}",
            of(first),
            of(other),
            found.join(", ")
        )
    })
}

fn add_run(sum: &mut Run, run: &Run) -> anyhow::Result<()> {
    let same = |a: &PartReport, b: &PartReport| a.name == b.name && a.scenario == b.scenario;
    let is_same_plan = sum.parts.len() == run.parts.len()
        && sum.parts.iter().zip(&run.parts).all(|(a, b)| same(a, b));
    ensure!(is_same_plan, "reports of different plans cannot be merged");
    ensure!(
        sum.interval == run.interval,
        "reports with different --interval-ms cannot be merged"
    );
    ensure!(
        sum.generators.iter().all(|generator| run
            .generators
            .iter()
            .all(|other| other.name != generator.name)),
        "both reports are of the generator {}; name them by --generator",
        sum.generators[0].name
    );
    let connected_first = run.window(Phase::Connect) < sum.window(Phase::Connect);
    // All times are told from the origin of the run that began first.
    let origin = sum.started_at.min(run.started_at);
    let mut run = run.clone();
    for moved in [&mut *sum, &mut run] {
        let later = moved.started_at - origin;
        shift(moved, later);
    }
    sum.started_at = origin;
    for (sum, part) in sum.parts.iter_mut().zip(&run.parts) {
        sum.record.add(&part.record);
    }
    for span in &run.spans {
        add_span(&mut sum.spans, span);
    }
    for server in run.servers {
        add_server(&mut sum.servers, server, connected_first);
    }
    sum.generators.append(&mut run.generators);
    sum.burst_ms = sum.burst_ms.max(run.burst_ms);
    sum.aborted = sum.aborted.take().or(run.aborted);
    sum.connected_apart |= run.connected_apart;
    Ok(())
}

/// Moves all times of a run that began so many seconds after another.
fn shift(run: &mut Run, later: f64) {
    let intervals = (later / run.interval).round() as usize;
    for part in &mut run.parts {
        let course = std::mem::take(&mut part.record.intervals);
        part.record.add_intervals(&course, intervals);
    }
    for span in &mut run.spans {
        span.begin += later;
        span.end += later;
    }
    for sample in run.servers.iter_mut().flat_map(|one| &mut one.samples) {
        sample.at += later;
    }
    let threads = run.generators.iter_mut().flat_map(|one| &mut one.threads);
    for (at, _) in threads.flat_map(|thread| &mut thread.course) {
        *at += later;
    }
}

/// A phase of all generators: from the first who was in it until the last, so that no rate is
/// overstated.
fn add_span(spans: &mut Vec<Span>, span: &Span) {
    match spans.iter_mut().find(|known| known.phase == span.phase) {
        Some(known) => {
            known.begin = known.begin.min(span.begin);
            known.end = known.end.max(span.end);
        }
        None => spans.push(*span),
    }
}

/// A server that several generators watched is counted once; what it had used before is what it
/// had used before anybody came.
fn add_server(servers: &mut Vec<Server>, server: Server, connected_first: bool) {
    let Some(known) = servers.iter_mut().find(|known| known.name == server.name) else {
        return servers.push(server);
    };
    let is_connect = |phase: Phase| phase == Phase::Connect;
    let first = server.spans.iter().find(|span| is_connect(span.phase));
    let span = known.spans.iter_mut().find(|span| is_connect(span.phase));
    if let (Some(span), Some(first), true) = (span, first, connected_first) {
        *span = *first;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{report, run, run_over_tls};
    use super::*;
    use crate::{engine::Phase, record::Measure};

    /// A run that began then, and measures from the 103rd second on.
    fn begun(generator: &str, latencies: &[u64], at: f64) -> Run {
        let mut run = run(generator, latencies);
        run.started_at = at;
        run.spans[0].end = 103.0 - at;
        (run.spans[1].begin, run.spans[1].end) = (103.0 - at, 104.0 - at);
        run
    }

    #[test]
    fn what_was_not_measured_together_does_not_add_up() {
        let (mut one, mut other) = (run("a", &[1000]), run("b", &[1000]));
        one.started_at = 100.0;
        other.started_at = 4000.0;
        let apart = merge(&[report(vec![one.clone()]), report(vec![other.clone()])]);
        let why = apart.unwrap_err().to_string();
        assert!(why.contains("--start-at"), "{why}");
        other.started_at = 100.1;
        assert!(merge(&[report(vec![one.clone()]), report(vec![other.clone()])]).is_err());
        other.started_at = 100.04;
        let merged = merge(&[report(vec![one.clone()]), report(vec![other.clone()])]).unwrap();
        let rate = merged.get("deliveries_per_s").unwrap();
        assert!((1.9..2.0).contains(&rate), "2 in 1.04 s: {rate}");
        // One that was done sooner, within the other's time.
        other.spans[1].end = 0.9;
        assert!(merge(&[report(vec![one]), report(vec![other])]).is_ok());
    }

    #[test]
    fn who_did_not_connect_together_does_not_tell_what_connecting_costs() {
        let one = begun("a", &[1000], 100.0);
        let mut other = begun("b", &[1000], 102.0);
        other.servers[0].spans[0].before.rss = Some(7e6);
        let (one, other) = (report(vec![one]), report(vec![other]));
        assert!(one.get("connects_per_s").is_some());
        for reports in [[one.clone(), other.clone()], [other, one.clone()]] {
            let merged = merge(&reports).unwrap();
            for name in ["connects_per_s", "cpu_us_per_connect"] {
                assert_eq!(merged.get(name), None, "{name}");
            }
            assert!(merged.warnings[0].contains("different times"));
            let before = merged.runs[0].memory_before().unwrap();
            assert!((before - 1e6).abs() < 1.0, "before anybody came: {before}");
        }
        let mut other = one.clone();
        other.runs[0].generators[0].name = "b".to_owned();
        let merged = merge(&[one, other]).unwrap();
        assert_eq!(merged.get("connects_per_s"), Some(20.0 / 3.0));
    }

    #[test]
    fn different_plans_are_told() {
        let one = report(vec![run("a", &[1])]);
        let mut other = report(vec![run("b", &[1])]);
        other.plan = serde_json::json!({"seed": 2});
        let merged = merge(&[one.clone(), other]).unwrap();
        let told = "the plans of the generators a and b differ: seed";
        assert_eq!(merged.warnings, [told]);
        let json = serde_json::to_string(&merged).unwrap();
        assert_eq!(Report::from_json(&json).unwrap(), merged);
    }

    #[test]
    fn counts_and_histograms_add_up() {
        let one = begun("a", &[1000, 2000], 100.0);
        let other = begun("b", &[9000], 102.0);
        let merged = merge(&[report(vec![one.clone()]), report(vec![other])]).unwrap();
        let sum = &merged.runs[0];
        assert_eq!(sum.parts[0].record.counters.deliveries, 3);
        let latencies = &sum.parts[0].record.latencies[&Measure::Delivery];
        assert_eq!(latencies.count(), 3);
        assert!((latencies.max_us() - 9.0).abs() < 0.01);
        // The same server, watched by both; the second generator began two intervals later.
        assert_eq!(sum.servers.len(), 1);
        assert_eq!(sum.generators.len(), 2);
        assert_eq!(sum.parts[0].record.intervals.len(), 3);
        assert!((sum.seconds(Phase::Measure) - one.seconds(Phase::Measure)).abs() < 1e-9);
        assert_eq!(merged.get("deliveries"), Some(3.0));
    }

    #[test]
    fn each_generator_keeps_what_it_says_of_tls() {
        let (checked, unchecked) = (run_over_tls("a", true), run_over_tls("b", false));
        let merged = merge(&[report(vec![checked]), report(vec![unchecked])]).unwrap();
        assert_eq!(merged.get("tls_resumed_percent"), Some(25.0));
        let unsure = "the generator b did not check the server's certificate";
        let is_unsure = |warning: &String| warning.starts_with(unsure);
        assert_eq!(merged.warnings.iter().filter(|it| is_unsure(it)).count(), 1);
        assert_eq!(merged.warnings.len(), 3, "{:?}", merged.warnings);
    }

    #[test]
    fn merging_is_the_same_in_any_order() {
        let reports = [("a", 100.0), ("b", 101.0), ("c", 99.0)];
        let reports = reports.map(|(name, at)| report(vec![begun(name, &[1000], at)]));
        let [a, b, c] = reports;
        let one = merge(&[a.clone(), b.clone(), c.clone()]).unwrap();
        let other = merge(&[c, a, b]).unwrap();
        assert_eq!(one.figures, other.figures);
        assert_eq!(
            one.runs[0].parts[0].record.intervals,
            other.runs[0].parts[0].record.intervals
        );
    }

    #[test]
    fn what_does_not_belong_together() {
        let one = report(vec![run("a", &[1])]);
        let mut other = report(vec![run("b", &[1])]);
        other.runs[0].parts[0].name = "chat".to_owned();
        assert!(merge(&[one.clone(), other]).is_err());
        let twice = merge(&[one.clone(), one.clone()]).unwrap_err();
        assert!(twice.to_string().contains("--generator"), "{twice}");
        let more = report(vec![run("b", &[1]), run("b", &[1])]);
        assert!(merge(&[one, more]).is_err());
        assert!(merge(&[]).is_err());
    }
}
