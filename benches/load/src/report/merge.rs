//! One report of several generators that loaded a server together: counts are added, histograms
//! are added bucket by bucket, and nothing is averaged.

use anyhow::{Context, ensure};

use super::model::{PartReport, Report, Run, Server, Span};

/// Merges reports of the same plan; the first run of one with the first runs of the others.
///
/// # Errors
/// When they are not of one plan.
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
    }
    Ok(merged.computed())
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
        add_server(&mut sum.servers, server);
    }
    sum.generators.append(&mut run.generators);
    sum.burst_ms = sum.burst_ms.max(run.burst_ms);
    sum.aborted = sum.aborted.take().or(run.aborted);
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

/// A phase of all generators: as long as that of the one that took longest, so that no rate is
/// overstated.
fn add_span(spans: &mut Vec<Span>, span: &Span) {
    match spans.iter_mut().find(|known| known.phase == span.phase) {
        Some(known) => {
            let length = (known.end - known.begin).max(span.end - span.begin);
            known.begin = known.begin.min(span.begin);
            known.end = known.begin + length;
        }
        None => spans.push(*span),
    }
}

/// A server that several generators watched is counted once.
fn add_server(servers: &mut Vec<Server>, server: Server) {
    if servers.iter().all(|known| known.name != server.name) {
        servers.push(server);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{report, run, run_over_tls};
    use super::*;
    use crate::{engine::Phase, record::Measure};

    #[test]
    fn counts_and_histograms_add_up() {
        let (mut one, mut other) = (run("a", &[1000, 2000]), run("b", &[9000]));
        one.started_at = 100.0;
        other.started_at = 102.0;
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
        assert_eq!(sum.seconds(Phase::Measure), one.seconds(Phase::Measure));
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
        let reports = [("a", 100.0), ("b", 101.0), ("c", 99.0)].map(|(name, at)| {
            let mut run = run(name, &[1000]);
            run.started_at = at;
            report(vec![run])
        });
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
