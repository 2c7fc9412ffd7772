//! The table at the end.

use std::fmt;

use super::{Figure, Report};

/// Figures that are only in the JSON: people want fewer. Of the latencies that a part is not
/// about, the median and the 99th percentile are shown, and none of connecting but how late the generator was.
fn is_minor(name: &str) -> bool {
    let is_side = |measure: &str| name.contains(&format!("{measure}_"));
    let is_shown = ["_p50", "_p99"]
        .iter()
        .any(|quantile| name.ends_with(quantile));
    let sides = ["delivery", "round", "ack", "presence", "gone", "late"];
    // `messages_per_delivery` and its like are no latencies.
    let is_quantile = name.contains("_p") && !name.contains("_per_") || name.ends_with("_max");
    name.ends_with("p75")
        || is_quantile && is_side("connect") && !name.ends_with("late_connect_p99")
        || is_quantile && sides.into_iter().any(is_side) && !is_shown
}

/// What did not happen in any run, and mostly does not.
fn is_unused(figure: &Figure) -> bool {
    let name = figure.name.rsplit('.').next().unwrap_or_default();
    figure.max == 0.0 && ["deferred", "owed", "unknown"].contains(&name)
}

/// A number with as many digits as make sense.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        medium if medium < 1000.0 => format!("{value:.1}"),
        _ => grouped(value.round()),
    }
}

/// Thousands apart: `12,345`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits.as_str()),
    };
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.runs.len();
        match runs {
            1 => writeln!(f, "{}", self.name)?,
            _ => writeln!(
                f,
                "{}: median of {runs} runs (lowest to highest)",
                self.name
            )?,
        }
        let is_shown = |figure: &&Figure| !is_minor(&figure.name) && !is_unused(figure);
        for figure in self.figures.iter().filter(is_shown) {
            write_figure(f, figure, runs)?;
        }
        for warning in &self.warnings {
            writeln!(f, "  warning: {warning}")?;
        }
        self.write_violations(f)?;
        for outcome in &self.thresholds {
            let verdict = if outcome.holds { "ok" } else { "FAILED" };
            let found = outcome
                .found
                .iter()
                .map(|(name, value)| format!("{name} = {}", number(*value)));
            let found = match outcome.found.is_empty() {
                true => "there is no such figure".to_owned(),
                false => found.collect::<Vec<_>>().join(", "),
            };
            writeln!(f, "  threshold {}: {verdict} ({found})", outcome.condition)?;
        }
        match self.passed {
            true => writeln!(f, "  all arrived as sent, once and in order"),
            false => writeln!(f, "  FAILED"),
        }
    }
}

fn write_figure(f: &mut fmt::Formatter<'_>, figure: &Figure, runs: usize) -> fmt::Result {
    let part = figure
        .name
        .split_once('.')
        .filter(|(part, _)| *part != "p99");
    let label = match part {
        Some((part, _)) => format!("{part}: {}", figure.label),
        None => figure.label.clone(),
    };
    let value = number(figure.value);
    write!(
        f,
        "  {label:<38} {value:>12} {:<5}",
        figure.unit.to_string()
    )?;
    if runs > 1 {
        write!(f, " ({} to {})", number(figure.min), number(figure.max))?;
    }
    writeln!(f)
}

impl Report {
    fn write_violations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs {
            if let Some(why) = &run.aborted {
                writeln!(f, "  ended early: {why}")?;
            }
            for part in &run.parts {
                for (kind, broken) in part.record.violations.iter() {
                    writeln!(f, "  {}: {} {kind}", part.name, broken.count)?;
                    for example in &broken.examples {
                        writeln!(f, "    {example}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, run};
    use super::*;
    use crate::violations::Kind;

    #[test]
    fn numbers() {
        for (value, text) in [
            (0.456, "0.46"),
            (12.34, "12.3"),
            (999.96, "1000.0"),
            (1234.4, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_table_and_a_verdict() {
        let mut report = report(vec![run("a", &[1000]), run("a", &[3000])]);
        report.thresholds = vec![super::super::Outcome::open(
            "p99 < 1us".parse().expect("a condition"),
        )];
        let report = report.computed();
        let text = report.to_string();
        assert!(text.starts_with("rooms: median of 2 runs"), "{text}");
        assert!(text.contains("delivery, p50"), "{text}");
        assert!(
            text.contains("threshold p99 < 1us: FAILED (p99 = "),
            "{text}"
        );
        assert!(text.ends_with("all arrived as sent, once and in order\n"));
        assert!(!text.contains("p75") && !text.contains("come back later"));

        let mut broken = report;
        broken.runs[0].parts[0]
            .record
            .violations
            .add(Kind::Lost, 3, || "message 5".to_owned());
        let text = broken.computed().to_string();
        assert!(text.contains("rooms: 3 lost\n    message 5\n"), "{text}");
        assert!(text.ends_with("FAILED\n"), "{text}");
    }
}
