//! Latencies that can be written down, read back and added up without loss.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Nanos;

/// Ten minutes: longer waits count as this.
const LONGEST: Nanos = 600_000_000_000;

/// Nanoseconds, in buckets of so many significant digits.
///
/// As JSON: `{"digits": 3, "counts": [[nanoseconds, count], ...]}`, the lowest value of each
/// bucket that is not empty. Reading it back gives the same buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    digits: u8,
    counts: Vec<(Nanos, u64)>,
}

impl Latencies {
    /// Three digits: for a run's figures.
    pub(crate) fn precise() -> Self {
        Self::with_digits(3)
    }

    /// Two digits: for one of many points of a plot.
    pub(crate) fn coarse() -> Self {
        Self::with_digits(2)
    }

    fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, digits);
        Self {
            histogram: histogram.expect("the bounds are valid for 1 to 5 digits"),
        }
    }

    pub(crate) fn record(&mut self, latency: Nanos) {
        self.histogram.saturating_record(latency);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.histogram.add(&other.histogram);
    }

    /// Values recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) fn quantile(&self, quantile: f64) -> Nanos {
        self.histogram.value_at_quantile(quantile)
    }

    /// The value below which a share of the latencies lie, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.quantile(quantile) as f64 / 1e3
    }

    /// The highest, in microseconds.
    pub fn max_us(&self) -> f64 {
        self.histogram.max() as f64 / 1e3
    }

    /// The mean, in microseconds.
    pub fn mean_us(&self) -> f64 {
        self.histogram.mean() / 1e3
    }

    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
    }

    /// The percentile distribution in the text form that HdrHistogram's plotter reads
    /// (milliseconds).
    pub(crate) fn distribution(&self) -> String {
        let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let mut seen = 0;
        for step in self.histogram.iter_quantiles(5) {
            seen += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            let value = step.value_iterated_to() as f64 / 1e6;
            let _ = write!(out, "{value:12.3} {quantile:2.12} {seen:10}");
            if quantile < 1.0 {
                let _ = write!(out, " {:14.2}", 1.0 / (1.0 - quantile));
            }
            out.push('\n');
        }
        let (mean, deviation) = (self.histogram.mean() / 1e6, self.histogram.stdev() / 1e6);
        let (max, total) = (self.histogram.max() as f64 / 1e6, self.histogram.len());
        let _ = writeln!(
            out,
            "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]"
        );
        let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {total:12}]");
        out
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts = self.histogram.iter_recorded().map(|step| {
            let lowest = self.histogram.lowest_equivalent(step.value_iterated_to());
            (lowest, step.count_at_value())
        });
        let written = Written {
            digits: self.histogram.sigfig(),
            counts: counts.collect(),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        if !(1..=5).contains(&written.digits) {
            return Err(serde::de::Error::custom("a histogram has 1 to 5 digits"));
        }
        let mut latencies = Self::with_digits(written.digits);
        for (value, count) in written.counts {
            latencies.histogram.saturating_record_n(value, count);
        }
        Ok(latencies)
    }
}

/// Buckets that are not empty, for one of many points of a plot: `[[nanoseconds, count], ...]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Buckets(Vec<(Nanos, u64)>);

impl Buckets {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        let counts = latencies.histogram.iter_recorded();
        Self(
            counts
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        )
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
        self.0.sort_unstable();
        self.0.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 += next.1;
            }
            is_same
        });
    }

    /// The value below which a share of the latencies lie, in microseconds; `None` without any.
    pub fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.0.iter().map(|(_, count)| count).sum();
        let wanted = ((total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.0.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        bucket.map(|(value, _)| *value as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn of(values: &[u64]) -> Latencies {
        let mut latencies = Latencies::precise();
        for &value in values {
            latencies.record(value);
        }
        latencies
    }

    proptest! {
        #[test]
        fn json_keeps_every_bucket(values in vec(0_u64..2 * LONGEST, 0..200)) {
            let latencies = of(&values);
            let json = serde_json::to_string(&latencies).unwrap();
            let back: Latencies = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, latencies);
        }

        #[test]
        fn the_sum_is_as_if_recorded_in_one(a in vec(1_u64..LONGEST, 0..100), b in vec(1_u64..LONGEST, 0..100)) {
            let mut sum = of(&a);
            sum.add(&of(&b));
            prop_assert_eq!(sum, of(&[a, b].concat()));
        }
    }

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let latencies = of(&(1..=1000).map(|us| us * 1000).collect::<Vec<_>>());
        for (quantile, us) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            assert!((latencies.quantile_us(quantile) / us - 1.0).abs() < 0.001);
        }
        assert!((latencies.mean_us() / 500.5 - 1.0).abs() < 0.001);
    }

    #[test]
    fn buckets_add_up() {
        let mut first = Buckets::of(&of(&[1000, 2000, 2000]));
        first.add(&Buckets::of(&of(&[2000, 3000])));
        assert_eq!(first.quantile_us(0.2).map(f64::round), Some(1.0));
        assert_eq!(first.quantile_us(0.8).map(f64::round), Some(2.0));
        assert_eq!(first.quantile_us(1.0).map(f64::round), Some(3.0));
        assert_eq!(Buckets::default().quantile_us(0.5), None);
    }

    #[test]
    fn the_distribution_is_what_plotters_read() {
        let text = of(&[1_000_000, 2_000_000, 3_000_000]).distribution();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "       Value     Percentile TotalCount 1/(1-Percentile)"
        );
        assert!(lines[2].starts_with("       1.000 0.000000000000          1           1.00"));
        assert!(lines[lines.len() - 1].ends_with("Total count    =            3]"));
    }

    #[test]
    fn a_wrong_histogram_is_refused() {
        for json in [
            r#"{"digits": 9, "counts": []}"#,
            r#"{"digits": 3}"#,
            r#"{"digits": 3, "counts": [], "x": 1}"#,
        ] {
            assert!(serde_json::from_str::<Latencies>(json).is_err(), "{json}");
        }
    }
}
