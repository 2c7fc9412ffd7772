//! One report of several generators that loaded a server together: counts are added, histograms
//! are added bucket by bucket, and nothing is averaged.

mod servers;

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use super::{
    Outcome,
    difference::{OF_ONE_GENERATOR, differences},
    model::{PartReport, Report, Run, Span},
};
use crate::engine::Phase;
use servers::{merge_servers, unwatched};

/// The share of a phase that generators have to have in common to have done it together.
const TOGETHER: f64 = 0.95;

/// A phase that is shorter, in seconds, is nothing that could be shared.
const MOMENT: f64 = 0.02;

/// Merges reports of the same plan; the first run of one with the first runs of the others. In
/// whatever order they are given, the figures are the same.
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
        merged.notes.extend_from_slice(&other.notes);
        merged.notes.extend(difference(first, other));
        add_thresholds(&mut merged.thresholds, &other.thresholds);
    }
    for (turn, sum) in merged.runs.iter_mut().enumerate() {
        let runs = reports.iter().map(|report| report.runs[turn].clone());
        let run = merge_runs(runs.collect(), turn + 1)?;
        let unwatched = unwatched(&run.servers);
        let known = |note: &String| merged.notes.contains(note);
        let new: Vec<_> = unwatched.into_iter().filter(|note| !known(note)).collect();
        merged.notes.extend(new);
        *sum = run;
    }
    Ok(merged.computed())
}

/// What one generator alone was to hold, all of them have to.
fn add_thresholds(all: &mut Vec<Outcome>, others: &[Outcome]) {
    for other in others {
        if all.iter().all(|known| known.condition != other.condition) {
            all.push(other.clone());
        }
    }
}

/// The `turn`th runs of all reports as one.
fn merge_runs(mut runs: Vec<Run>, turn: usize) -> anyhow::Result<Run> {
    runs.sort_by(|a, b| {
        let names = || a.generators[0].name.cmp(&b.generators[0].name);
        a.started_at.total_cmp(&b.started_at).then_with(names)
    });
    check_alike(&runs)?;
    let shared = common(&runs, Phase::Measure, f64::min);
    ensure!(
        shared >= TOGETHER,
        "the generators did not measure at the same time (run {turn}: {:.0} % of it together), so \
         that their rates do not add up: give all of them the same --start-at",
        shared * 100.0
    );
    let connected_together = common(&runs, Phase::Connect, f64::max) >= TOGETHER;
    // All times are told from the origin of the run that began first.
    let origin = runs[0].started_at;
    for run in &mut runs {
        let later = run.started_at - origin;
        shift(run, later);
    }
    let mut sum = runs[0].clone();
    for run in &runs[1..] {
        add_run(&mut sum, run);
    }
    sum.servers = merge_servers(&runs, &sum.spans);
    sum.connected_apart |= !connected_together;
    Ok(sum)
}

/// Runs of one plan, by generators of different names.
fn check_alike(runs: &[Run]) -> anyhow::Result<()> {
    let same = |a: &PartReport, b: &PartReport| a.name == b.name && a.scenario == b.scenario;
    let first = &runs[0];
    for run in &runs[1..] {
        let is_same_plan = first.parts.len() == run.parts.len()
            && first.parts.iter().zip(&run.parts).all(|(a, b)| same(a, b));
        ensure!(is_same_plan, "reports of different plans cannot be merged");
        ensure!(
            first.interval == run.interval,
            "reports with different --interval-ms cannot be merged"
        );
    }
    let mut names = BTreeSet::new();
    for generator in runs.iter().flat_map(|run| &run.generators) {
        ensure!(
            names.insert(&generator.name),
            "two reports are of the generator {}; name them by --generator",
            generator.name
        );
    }
    Ok(())
}

/// The share of a phase in which all were in it: of the shortest one (`f64::min`), which may lie
/// within the others, or of the longest (`f64::max`).
fn common(runs: &[Run], phase: Phase, of: fn(f64, f64) -> f64) -> f64 {
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

/// Adds a run that tells its times from the same origin; servers are merged by themselves.
fn add_run(sum: &mut Run, run: &Run) {
    for (sum, part) in sum.parts.iter_mut().zip(&run.parts) {
        sum.record.add(&part.record);
    }
    for span in &run.spans {
        add_span(&mut sum.spans, span);
    }
    sum.generators.extend_from_slice(&run.generators);
    sum.burst_ms = sum.burst_ms.max(run.burst_ms);
    sum.aborted = sum.aborted.take().or_else(|| run.aborted.clone());
    sum.connected_apart |= run.connected_apart;
}

/// Moves all times of a run that began so many seconds after another.
fn shift(run: &mut Run, later: f64) {
    run.started_at -= later;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{report, run, run_over_tls, usage};
    use super::*;
    use crate::{engine::Phase, record::Measure, report::Sample};

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

    /// A run that measures for so many seconds, in which the server uses three tenths of a CPU.
    fn lasting(generator: &str, seconds: f64) -> Run {
        let mut run = run(generator, &[1000]);
        let (begin, spent) = (run.spans[1].begin, 0.1 + 0.3 * seconds);
        run.spans[1].end = begin + seconds;
        run.servers[0].spans[1].after = usage(spent);
        let (at, usage) = (begin + seconds, usage(spent));
        *run.servers[0].samples.last_mut().unwrap() = Sample { at, usage };
        run
    }

    fn in_any_order(one: &Run, other: &Run) -> [Report; 2] {
        let [one, other] = [one, other].map(|run| report(vec![run.clone()]));
        let merged = |reports: &[Report]| merge(reports).unwrap();
        [
            merged(&[one.clone(), other.clone()]),
            merged(&[other.clone(), one.clone()]),
        ]
    }

    #[test]
    fn a_server_counts_until_the_last_generator_is_done() {
        let (short, long) = (lasting("a", 3.0), lasting("b", 10.0));
        for merged in in_any_order(&short, &long) {
            let near = |name: &str, expected: f64| {
                let value = merged.get(name).unwrap();
                assert!((value / expected - 1.0).abs() < 1e-9, "{name}: {value}");
            };
            near("server_cpu_percent", 30.0);
            near("cpu_us_per_delivery", 3.0e6 / 2.0);
            near("rss_mb", 1.0 + 0.1 + 3.0);
            near("cpu_us_per_connect", 0.1e6 / 20.0);
            let samples = &merged.runs[0].servers[0].samples;
            let moments: Vec<_> = samples.iter().map(|sample| sample.at).collect();
            assert_eq!(moments, [0.0, 0.5, 3.5, 10.5]);
            assert_eq!(merged.warnings, [] as [String; 0]);
        }
    }

    #[test]
    fn what_nobody_watched_until_the_last_was_done_is_not_known() {
        let (short, mut long) = (lasting("a", 3.0), lasting("b", 10.0));
        long.servers.clear();
        for merged in in_any_order(&short, &long) {
            for name in ["server_cpu_percent", "cpu_us_per_delivery", "rss_mb"] {
                assert_eq!(merged.get(name), None, "{name}");
            }
            assert_eq!(merged.get("cpu_us_per_connect"), Some(0.1e6 / 20.0));
            let [warning] = &merged.warnings[..] else {
                panic!("{:?}", merged.warnings)
            };
            assert!(warning.starts_with("host/1 was not watched"), "{warning}");
        }
        // The one that lasted longest was there all the time.
        let (mut short, long) = (lasting("a", 3.0), lasting("b", 10.0));
        short.servers.clear();
        for merged in in_any_order(&short, &long) {
            assert!((merged.get("server_cpu_percent").unwrap() - 30.0).abs() < 1e-9);
        }
    }

    #[test]
    fn what_a_server_had_used_before_anybody_came_has_to_be_seen() {
        let (early, mut late) = (begun("a", &[1000], 100.0), begun("b", &[1000], 102.0));
        late.servers[0].name = "host/2".to_owned();
        for merged in in_any_order(&early, &late) {
            assert_eq!(merged.get("rss_kb_per_socket"), None);
            assert!(merged.get("rss_mb").is_some());
            let warnings = merged.warnings.join("\n");
            assert!(warnings.contains("host/2 was not watched"), "{warnings}");
            assert!(!warnings.contains("host/1 was not watched"), "{warnings}");
        }
    }

    #[test]
    fn the_thresholds_of_all_have_to_hold() {
        let with = |generator: &str, conditions: &[&str]| {
            let conditions: Vec<_> = conditions.iter().map(|c| c.parse().unwrap()).collect();
            let plan = serde_json::json!({"seed": 1});
            Report::new("rooms", plan, &conditions, vec![run(generator, &[1000])])
        };
        let one = with("a", &["deliveries > 1"]);
        let other = with("b", &["deliveries > 1", "p99 < 1us"]);
        assert!(!one.meets_thresholds(), "one delivery");
        let merged = merge(&[one, other]).unwrap();
        let held: Vec<_> = merged
            .thresholds
            .iter()
            .map(|outcome| outcome.holds)
            .collect();
        assert_eq!(held, [true, false], "{merged}");
    }

    #[test]
    fn merging_is_the_same_in_any_order() {
        let reports = [("a", 100.0), ("b", 101.0), ("c", 99.0)];
        let reports = reports.map(|(name, at)| report(vec![begun(name, &[1000], at)]));
        let [a, b, c] = reports;
        let one = merge(&[a.clone(), b.clone(), c.clone()]).unwrap();
        let other = merge(&[c, a, b]).unwrap();
        assert_eq!(one.figures, other.figures);
        assert!(one.runs == other.runs, "{one}{other}");
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
