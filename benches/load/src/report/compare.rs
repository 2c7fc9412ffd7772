//! Two reports side by side: ratios, with their spread over the runs.

use std::fmt;

use serde::Serialize;

use super::{
    Figure, Report,
    difference::{OF_ONE_GENERATOR, differences},
};

/// All figures that two reports have in common and that are more than 0 in one of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The names of the reports.
    pub names: (String, String),
    /// The figures.
    pub ratios: Vec<Ratio>,
    /// What has to be known to read them.
    pub notes: Vec<String>,
}

/// One figure of two reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// The figure of the first.
    pub first: Figure,
    /// The figure of the second.
    pub second: Figure,
    /// Second by first: median by median. Nothing can be told in multiples of 0.
    pub ratio: Option<f64>,
    /// The lowest of the second by the highest of the first.
    pub min: Option<f64>,
    /// The highest of the second by the lowest of the first.
    pub max: Option<f64>,
    /// The runs of the two do not overlap: this is more than noise.
    pub is_clear: bool,
}

/// Compares two reports.
pub fn compare(first: &Report, second: &Report) -> Comparison {
    let ratios = first.figures.iter().filter_map(|figure| {
        let same = |other: &&Figure| other.name == figure.name;
        let other = second.figures.iter().find(same)?;
        (figure.max > 0.0 || other.max > 0.0).then(|| ratio(figure, other))
    });
    Comparison {
        names: (first.name.clone(), second.name.clone()),
        ratios: ratios.collect(),
        notes: notes(first, second),
    }
}

fn notes(first: &Report, second: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    let reports = [("a", first), ("b", second)];
    for (side, report) in reports.into_iter().filter(|(_, report)| !report.passed) {
        notes.push(format!(
            "{side} FAILED: the figures of {} are of a run that broke",
            report.name
        ));
    }
    notes.extend(different_plans(first, second));
    for warning in &first.warnings {
        let side = if second.warnings.contains(warning) {
            "both"
        } else {
            "a"
        };
        notes.push(format!("{side}: {warning}"));
    }
    let others = second.warnings.iter();
    let others = others.filter(|warning| !first.warnings.contains(warning));
    notes.extend(others.map(|warning| format!("b: {warning}")));
    if let Some(which) = one_side_over_tls(first, second) {
        notes.push(format!(
            "{which}: the ratios contain what it cost server and generator"
        ));
    }
    let pairs = [("a", first, second), ("b", second, first)];
    for (side, report, other) in pairs {
        let alone = only_here(report, other);
        if !alone.is_empty() {
            notes.push(format!("only in {side}: {}", alone.join(", ")));
        }
    }
    notes
}

/// Where the target is and how often it was loaded is not what is compared; these are told by
/// what they do to the figures.
const NOT_COMPARED: [&str; 8] = [
    "name",
    "target.url",
    "target.insecure",
    "run.repeat",
    "run.seed",
    "run.connecting",
    "run.interval_ms",
    "run.deadline",
];

fn different_plans(first: &Report, second: &Report) -> Option<String> {
    let scenarios = |report: &Report| -> Vec<String> {
        let parts = report.runs[0].parts.iter();
        parts.map(|part| part.scenario.clone()).collect()
    };
    let (a, b) = (scenarios(first), scenarios(second));
    if a != b {
        return Some(format!(
            "different scenarios: {} in a, {} in b",
            a.join(", "),
            b.join(", ")
        ));
    }
    let ignored = [&OF_ONE_GENERATOR[..], &NOT_COMPARED].concat();
    let found = differences(&first.plan, &second.plan, &ignored);
    (!found.is_empty()).then(|| format!("the plans differ: {}", found.join(", ")))
}

fn one_side_over_tls(first: &Report, second: &Report) -> Option<&'static str> {
    match (first.is_over_tls(), second.is_over_tls()) {
        (true, false) => Some("a was over TLS, and b was not"),
        (false, true) => Some("b was over TLS, and a was not"),
        _ => None,
    }
}

/// Figures that the other has not.
fn only_here(report: &Report, other: &Report) -> Vec<String> {
    let names = report.figures.iter().map(|figure| figure.name.clone());
    names.filter(|name| other.get(name).is_none()).collect()
}

fn ratio(first: &Figure, second: &Figure) -> Ratio {
    let is_repeated = first.values.len() > 1 && second.values.len() > 1;
    Ratio {
        ratio: quotient(second.value, first.value),
        min: quotient(second.min, first.max),
        max: quotient(second.max, first.min),
        is_clear: is_repeated && (second.min > first.max || second.max < first.min),
        first: first.clone(),
        second: second.clone(),
    }
}

fn quotient(of: f64, by: f64) -> Option<f64> {
    (by > 0.0).then(|| of / by)
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = &self.names;
        writeln!(f, "{second} (b) compared with {first} (a)")?;
        let (figure, a, b) = ("figure", "a", "b");
        writeln!(f, "{figure:<34} {a:>12} {b:>12}        b / a  (spread)")?;
        for ratio in &self.ratios {
            let Ratio { first, second, .. } = ratio;
            let sure = if ratio.is_clear { " *" } else { "" };
            writeln!(
                f,
                "{:<34} {:>12} {:>12} {:<5} {:>6}  ({} to {}){sure}",
                first.name,
                super::text::number(first.value),
                super::text::number(second.value),
                first.unit.to_string(),
                shown(ratio.ratio),
                shown(ratio.min),
                shown(ratio.max),
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(f, "* no run of the one reaches any run of the other")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{report, run, run_over_tls};
    use super::*;

    #[test]
    fn ratios_have_a_spread() {
        let first = report(vec![run("a", &[1000]), run("a", &[2000])]);
        let second = report(vec![run("a", &[4000]), run("a", &[8000])]);
        let comparison = compare(&first, &second);
        let p99 = comparison.ratios.iter().find(|r| r.first.name == "p99");
        let p99 = p99.unwrap();
        let near = |value: Option<f64>, expected: f64| {
            value.is_some_and(|value| (value / expected - 1.0).abs() < 0.01)
        };
        assert!(near(p99.ratio, 4.0) && near(p99.min, 2.0) && near(p99.max, 8.0));
        assert!(p99.is_clear);
        let text = comparison.to_string();
        assert!(text.contains("p99"), "{text}");
        let itself = compare(&first, &first);
        assert!(itself.ratios.iter().all(|ratio| !ratio.is_clear));
        let [memory] = &itself.notes[..] else {
            panic!("{:?}", itself.notes)
        };
        assert!(memory.starts_with("both: memory is counted"), "{memory}");
    }

    #[test]
    fn what_is_nothing_on_one_side_is_shown() {
        let calm = report(vec![run("a", &[1000])]);
        let mut busy = run("a", &[1000]);
        busy.parts[0].record.counters.deferred = 10_000;
        let busy = report(vec![busy]);
        let line = |comparison: &Comparison| {
            let text = comparison.to_string();
            assert!(!text.contains("inf") && !text.contains("NaN"), "{text}");
            let mut lines = text.lines();
            let line = lines.find(|line| line.starts_with("deferred "));
            line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let more = compare(&calm, &busy);
        assert_eq!(
            line(&more).as_deref(),
            Some("deferred 0.00 10,000 - (- to -)")
        );
        let less = compare(&busy, &calm);
        let nothing = "deferred 10,000 0.00 0.00 (0.00 to 0.00)";
        assert_eq!(line(&less).as_deref(), Some(nothing));
        let json = serde_json::to_value(&more).unwrap();
        let ratios = json["ratios"].as_array().unwrap().iter();
        let deferred = ratios.filter(|ratio| ratio["first"]["name"] == "deferred");
        let [deferred] = deferred.collect::<Vec<_>>()[..] else {
            panic!("{json}")
        };
        assert_eq!(deferred["ratio"], serde_json::Value::Null);
        assert_eq!(deferred["second"]["value"], 10_000.0);
        assert_eq!(
            line(&compare(&calm, &calm)),
            None,
            "there is nothing to say"
        );
    }

    #[test]
    fn a_spread_that_begins_at_nothing_has_no_end() {
        let deferred = |counts: [u64; 3]| {
            let runs = counts.map(|count| {
                let mut run = run("a", &[1000]);
                run.parts[0].record.counters.deferred = count;
                run
            });
            report(runs.to_vec())
        };
        let text = compare(&deferred([0, 10, 20]), &deferred([10, 10, 40])).to_string();
        let line = text.lines().find(|line| line.starts_with("deferred "));
        let line = line.unwrap();
        assert!(line.ends_with("1.00  (0.50 to -)"), "{line}");
    }

    #[test]
    fn tls_on_one_side_only_is_told() {
        let plain = report(vec![run("a", &[1000])]);
        let over_tls = report(vec![run_over_tls("a", true)]);
        let said = compare(&plain, &over_tls).to_string();
        assert!(
            said.contains("note: b was over TLS, and a was not"),
            "{said}"
        );
        let said = compare(&over_tls, &plain).to_string();
        assert!(
            said.contains("note: a was over TLS, and b was not"),
            "{said}"
        );
        let both = compare(&over_tls, &over_tls).to_string();
        assert!(!both.contains("and b was not") && !both.contains("and a was not"));
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let one = report(vec![run("a", &[1000])]);
        assert_eq!(compare(&one, &one).notes, [] as [String; 0]);
        let mut broken = one.runs[0].clone();
        broken.aborted = Some("the deadline passed".to_owned());
        broken.burst_ms = 8;
        broken.servers.clear();
        let mut other = report(vec![broken]);
        other.plan = serde_json::json!({"seed": 1, "run": {"seed": 2, "burst_ms": 8}});
        let notes = compare(&one, &other).notes;
        let [failed, plans, bursts, alone] = &notes[..] else {
            panic!("{notes:?}")
        };
        assert!(failed.starts_with("b FAILED"), "{failed}");
        assert_eq!(plans, "the plans differ: run");
        assert!(bursts.starts_with("b: latencies contain"), "{bursts}");
        assert!(
            alone.starts_with("only in a: cpu_user_us_per_connect, "),
            "{alone}"
        );
        other.runs[0].parts[0].scenario = "chat".to_owned();
        let notes = compare(&one, &other).notes.join("\n");
        assert!(
            notes.contains("different scenarios: rooms in a, chat in b"),
            "{notes}"
        );
    }
}
