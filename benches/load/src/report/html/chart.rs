//! Line charts as SVG.

use std::fmt::Write as _;

use super::escape;
use crate::report::text::number;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;

/// As many as there are colours.
const MOST_SERIES: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    pub(super) fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        Self {
            name: name.to_owned(),
            points: points.into_iter().filter(finite).collect(),
        }
    }
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    title: String,
    unit: &'static str,
    scale: Scale,
    /// The horizontal axis counts nines of the rank, not seconds.
    is_by_rank: bool,
    series: Vec<Series>,
    /// Lines for which there was no colour left.
    left_out: usize,
}

impl Chart {
    pub(super) fn over_time(
        title: String,
        unit: &'static str,
        scale: Scale,
        series: Vec<Series>,
    ) -> Self {
        Self {
            title,
            unit,
            scale,
            is_by_rank: false,
            left_out: series.len().saturating_sub(MOST_SERIES),
            series: series.into_iter().take(MOST_SERIES).collect(),
        }
    }

    pub(super) fn by_rank(title: String, unit: &'static str, series: Vec<Series>) -> Self {
        Self {
            is_by_rank: true,
            ..Self::over_time(title, unit, Scale::Log, series)
        }
    }

    /// Draws the chart; the time between `shaded` is that which was measured.
    pub(super) fn draw(&self, shaded: Option<(f64, f64)>, out: &mut String) {
        let _ = write!(
            out,
            "<figure class=\"chart\"><figcaption><b>{}</b> <i>{}</i>{}</figcaption>",
            escape(&self.title),
            self.unit,
            self.legend(),
        );
        match self.axes() {
            None => out.push_str("<p class=\"empty\">not measured</p>"),
            Some(axes) => self.draw_on(&axes, shaded, out),
        }
        out.push_str("</figure>");
    }

    fn legend(&self) -> String {
        let entries = self.series.iter().enumerate().map(|(at, series)| {
            format!("<span class=\"key k{at}\">{}</span>", escape(&series.name))
        });
        let left_out = match self.left_out {
            0 => String::new(),
            more => format!("<span>and {more} more, not drawn</span>"),
        };
        entries.chain([left_out]).collect()
    }

    fn axes(&self) -> Option<Axes> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        points().next()?;
        let x_max = points().map(|(x, _)| *x).fold(0.0, f64::max);
        let y_max = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let positive = points().map(|(_, y)| *y).filter(|y| *y > 0.0);
        let y_min = positive.fold(f64::INFINITY, f64::min);
        let (y_min, y_max) = match self.scale {
            Scale::Linear => (0.0, nice_above(y_max)),
            Scale::Log if y_min.is_finite() => {
                let lowest = 10_f64.powf(y_min.log10().floor());
                let highest = 10_f64.powf(y_max.log10().ceil());
                (lowest, highest.max(lowest * 10.0))
            }
            Scale::Log => return None,
        };
        Some(Axes {
            x_max: x_max.max(1e-9),
            y_min,
            y_max,
            scale: self.scale,
        })
    }

    fn draw_on(&self, axes: &Axes, shaded: Option<(f64, f64)>, out: &mut String) {
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" \
             data-chart=\"{}\">",
            escape(&self.title),
            escape(&self.data(axes)),
        );
        if let Some((begin, end)) = shaded.filter(|_| !self.is_by_rank) {
            let (left, right) = (axes.x(begin), axes.x(end.min(axes.x_max)));
            let (width, height) = ((right - left).max(0.0), HEIGHT - TOP - BOTTOM);
            let _ = write!(
                out,
                "<rect class=\"measured\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" \
                 height=\"{height}\"><title>measured</title></rect>"
            );
        }
        self.draw_grid(axes, out);
        for (at, series) in self.series.iter().enumerate() {
            draw_line(at, series, axes, out);
        }
        out.push_str("<line class=\"cursor\" y1=\"12\" y2=\"220\" visibility=\"hidden\"/></svg>");
    }

    fn draw_grid(&self, axes: &Axes, out: &mut String) {
        let right = WIDTH - RIGHT;
        for value in axes.y_ticks() {
            let y = axes.y(value);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                tick(value),
            );
        }
        for (value, label) in self.x_ticks(axes) {
            let _ = write!(
                out,
                "<text class=\"x\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
                axes.x(value),
                HEIGHT - 10.0,
            );
        }
    }

    fn x_ticks(&self, axes: &Axes) -> Vec<(f64, String)> {
        if self.is_by_rank {
            let ranks = [
                "0 %",
                "90 %",
                "99 %",
                "99.9 %",
                "99.99 %",
                "99.999 %",
                "99.9999 %",
            ];
            let ranks = ranks
                .into_iter()
                .zip(0..)
                .map(|(label, at)| (f64::from(at), label.to_owned()));
            return ranks.filter(|(at, _)| *at <= axes.x_max).collect();
        }
        let step = nice_above(axes.x_max / 7.0);
        let ticks = (0..=8).map(|n| f64::from(n) * step);
        let ticks = ticks.filter(|at| *at <= axes.x_max);
        ticks.map(|at| (at, format!("{} s", tick(at)))).collect()
    }

    /// What the script shows under the pointer.
    fn data(&self, axes: &Axes) -> String {
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        let series: Vec<_> = self
            .series
            .iter()
            .map(|series| {
                let points = series
                    .points
                    .iter()
                    .map(|(x, y)| [rounded(*x), rounded(*y)]);
                serde_json::json!({"name": series.name, "points": points.collect::<Vec<_>>()})
            })
            .collect();
        serde_json::json!({
            "left": LEFT, "right": WIDTH - RIGHT, "width": WIDTH, "xMax": axes.x_max,
            "unit": self.unit, "rank": self.is_by_rank, "series": series,
        })
        .to_string()
    }
}

fn draw_line(at: usize, series: &Series, axes: &Axes, out: &mut String) {
    let mut path = String::new();
    for (x, y) in &series.points {
        let step = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{step}{:.1} {:.1}", axes.x(*x), axes.y(*y));
    }
    if let [(x, y)] = series.points[..] {
        let (x, y) = (axes.x(x), axes.y(y));
        let _ = write!(
            out,
            "<circle class=\"dot d{at}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
        );
    }
    let _ = write!(out, "<path class=\"line l{at}\" d=\"{path}\"/>");
}

struct Axes {
    x_max: f64,
    y_min: f64,
    y_max: f64,
    scale: Scale,
}

impl Axes {
    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.x_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => value / self.y_max,
            Scale::Log => {
                let value = value.max(self.y_min);
                (value / self.y_min).log10() / (self.y_max / self.y_min).log10()
            }
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn y_ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => (0..=4).map(|n| f64::from(n) / 4.0 * self.y_max).collect(),
            Scale::Log => {
                let decades = (self.y_max / self.y_min).log10().round() as i32;
                (0..=decades).map(|n| self.y_min * 10_f64.powi(n)).collect()
            }
        }
    }
}

/// The next of 1, 2, 4, 5, 8 and 10 times a power of ten.
fn nice_above(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

/// As short as it can be said: `250k`, `0.01`.
fn tick(value: f64) -> String {
    let short = |value: f64, suffix: &str| {
        let text = format!("{value:.2}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        format!("{text}{suffix}")
    };
    match value.abs() {
        0.0 => "0".to_owned(),
        tiny if tiny < 0.01 => format!("{value:.0e}"),
        small if small < 1e4 => short(value, ""),
        medium if medium < 1e6 => short(value / 1e3, "k"),
        large if large < 1e9 => short(value / 1e6, "M"),
        _ => number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (0.001, "1e-3"),
            (100.0, "100"),
            (250_000.0, "250k"),
            (1_500_000.0, "1.5M"),
        ] {
            assert_eq!(tick(value), text);
        }
        for (value, above) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (1.1, 2.0),
            (33.0, 40.0),
            (81.0, 100.0),
        ] {
            assert!((nice_above(value) - above).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn lines_stay_within_the_chart() {
        let series = vec![Series::new(
            "a",
            vec![(0.0, 0.002), (5.0, 70.0), (9.0, f64::NAN)],
        )];
        let chart = Chart::over_time("t".to_owned(), "ms", Scale::Log, series);
        let axes = chart.axes().expect("there are points");
        for (x, y) in [(0.0, 0.002), (5.0, 70.0)] {
            assert!((LEFT..=WIDTH - RIGHT).contains(&axes.x(x)));
            assert!((TOP - 0.1..=HEIGHT - BOTTOM + 0.1).contains(&axes.y(y)));
        }
        let mut out = String::new();
        chart.draw(Some((1.0, 4.0)), &mut out);
        assert!(out.contains("class=\"measured\"") && !out.contains("NaN"));
        let nothing = Chart::over_time("t".to_owned(), "ms", Scale::Log, Vec::new());
        let mut out = String::new();
        nothing.draw(None, &mut out);
        assert!(out.contains("not measured"));
    }
}
