//! A report to look at: one file, with its plots drawn in it.

mod chart;

use std::fmt::Write as _;

use super::{Figure, Report, Run, text::number};
use crate::{
    engine::Phase,
    record::{Interval, Record},
};
use chart::{Chart, Scale, Series};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// Figures that are shown large, if there are such.
const HEADLINES: [&str; 8] = [
    "p50",
    "p99",
    "deliveries_per_s",
    "acknowledged_per_s",
    "cpu_us_per_delivery",
    "cpu_us_per_connect",
    "rss_kb_per_socket",
    "back_s",
];

/// The page.
pub(crate) fn html(report: &Report) -> String {
    let mut body = String::new();
    header(report, &mut body);
    headlines(report, &mut body);
    notes(report, &mut body);
    for (number, run) in report.runs.iter().enumerate() {
        plots(report, number, run, &mut body);
    }
    table(report, &mut body);
    let plan = serde_json::to_string_pretty(&report.plan).unwrap_or_default();
    let _ = write!(
        body,
        "<details><summary>Plan</summary><pre>{}</pre></details>",
        escape(&plan)
    );
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main>{body}</main>\
         <script>{SCRIPT}</script></body></html>\n",
        title = escape(&format!("{} - quikapp bench", report.name)),
    )
}

fn header(report: &Report, out: &mut String) {
    let (class, verdict) = match (report.passed, report.meets_thresholds()) {
        (false, _) => ("bad", "failed"),
        (true, false) => ("bad", "thresholds missed"),
        (true, true) => ("good", "passed"),
    };
    let runs = match report.runs.len() {
        1 => String::new(),
        runs => format!(" \u{b7} median of {runs} runs"),
    };
    let generators = report.runs[0].generators.len();
    let generators = match generators {
        1 => String::new(),
        count => format!(" \u{b7} {count} generators"),
    };
    let _ = write!(
        out,
        "<header><h1>{}</h1><span class=\"verdict {class}\">{verdict}</span>\
         <p>{}{runs}{generators} \u{b7} quikapp bench {}</p></header>",
        escape(&report.name),
        moment(report.runs[0].started_at),
        escape(&report.tool),
    );
}

fn moment(unix: f64) -> String {
    let moment = jiff::Timestamp::from_second(unix as i64);
    moment.map_or_else(|_| String::new(), |moment| moment.to_string())
}

fn headlines(report: &Report, out: &mut String) {
    out.push_str("<section class=\"cards\">");
    let is_headline = |figure: &&Figure| {
        let (_, name) = figure.name.rsplit_once('.').unwrap_or(("", &figure.name));
        HEADLINES.contains(&name)
    };
    for figure in report.figures.iter().filter(is_headline) {
        let part = figure.name.split_once('.').map_or("", |(part, _)| part);
        let part = if part.is_empty() {
            String::new()
        } else {
            format!("{part}: ")
        };
        let (value, unit) = humane(figure.value, &figure.unit.to_string());
        let spread = match report.runs.len() {
            1 => String::new(),
            _ => format!(
                "<small>{} to {}</small>",
                number(figure.min),
                number(figure.max)
            ),
        };
        let _ = write!(
            out,
            "<div class=\"card\"><span>{}</span><b>{value}<i>{unit}</i></b>{spread}</div>",
            escape(&format!("{part}{}", figure.label)),
        );
    }
    out.push_str("</section>");
}

/// Microseconds become milliseconds where that is easier to read.
fn humane(value: f64, unit: &str) -> (String, String) {
    match unit {
        "us" if value >= 1e6 => (number(value / 1e6), "s".to_owned()),
        "us" if value >= 1e3 => (number(value / 1e3), "ms".to_owned()),
        "us" => (number(value), "\u{b5}s".to_owned()),
        "per s" => (number(value), "/s".to_owned()),
        unit => (number(value), unit.to_owned()),
    }
}

/// What is wrong, and what has to be known.
fn notes(report: &Report, out: &mut String) {
    let mut item = |class: &str, text: &str| {
        let _ = write!(out, "<p class=\"note {class}\">{}</p>", escape(text));
    };
    for run in &report.runs {
        if let Some(why) = &run.aborted {
            item("bad", &format!("Ended early: {why}"));
        }
        for part in &run.parts {
            for (kind, broken) in part.record.violations.iter() {
                let examples = broken.examples.join("; ");
                item(
                    "bad",
                    &format!("{}: {} {kind} ({examples})", part.name, broken.count),
                );
            }
        }
    }
    for outcome in &report.thresholds {
        let (class, verdict) = match outcome.holds {
            true => ("good", "holds"),
            false => ("bad", "does not hold"),
        };
        item(class, &format!("{} {verdict}", outcome.condition));
    }
    for warning in &report.warnings {
        item("warn", warning);
    }
}

fn plots(report: &Report, turn: usize, run: &Run, out: &mut String) {
    let open = if turn == 0 { " open" } else { "" };
    match report.runs.len() {
        1 => out.push_str("<section class=\"plots\">"),
        _ => {
            let turn = turn + 1;
            let _ = write!(
                out,
                "<details class=\"run\"{open}><summary>Run {turn}</summary><div class=\"plots\">"
            );
        }
    }
    let measured = run.spans.iter().find(|span| span.phase == Phase::Measure);
    let measured = measured.map(|span| (span.begin, span.end));
    for chart in charts(run) {
        chart.draw(measured, out);
    }
    out.push_str(match report.runs.len() {
        1 => "</section>",
        _ => "</div></details>",
    });
}

fn charts(run: &Run) -> Vec<Chart> {
    let mut charts: Vec<Chart> = run
        .parts
        .iter()
        .map(|part| {
            let title = match run.parts.len() {
                1 => "Latency".to_owned(),
                _ => format!("Latency: {}", part.name),
            };
            latency(title, &part.record, run.interval)
        })
        .collect();
    charts.push(throughput(run));
    charts.push(cpu(run));
    charts.push(memory(run));
    charts.push(distribution(run));
    charts
}

fn latency(title: String, record: &Record, interval: f64) -> Chart {
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
    let series = quantiles.map(|(name, quantile)| {
        let course = record.intervals.iter().enumerate();
        let points = course.filter_map(|(at, interval_record)| {
            let micros = interval_record.latencies.quantile_us(quantile)?;
            Some(((at as f64 + 0.5) * interval, micros / 1e3))
        });
        Series::new(name, points.collect())
    });
    Chart::over_time(title, "ms", Scale::Log, series.into())
}

/// What is counted of an interval.
type Count = fn(&Interval) -> u64;

fn throughput(run: &Run) -> Chart {
    let kinds: [(&str, Count); 4] = [
        ("deliveries", |interval| interval.deliveries),
        ("messages", |interval| interval.messages),
        ("acknowledged", |interval| interval.acknowledged),
        ("connects", |interval| interval.connects),
    ];
    let length = run.parts.iter().map(|part| part.record.intervals.len());
    let length = length.max().unwrap_or(0);
    let series = kinds.map(|(name, count)| {
        let total = |at: usize| {
            let parts = run.parts.iter().filter_map(|p| p.record.intervals.get(at));
            parts.map(count).sum::<u64>() as f64 / run.interval
        };
        let points = (0..length).map(|at| ((at as f64 + 0.5) * run.interval, total(at)));
        Series::new(name, points.collect())
    });
    let is_there = |series: &Series| series.points.iter().any(|(_, rate)| *rate > 0.0);
    let series = series.into_iter().filter(is_there).collect();
    Chart::over_time("Throughput".to_owned(), "per s", Scale::Linear, series)
}

/// Shares of a CPU: of the servers, and of the generators' threads.
fn cpu(run: &Run) -> Chart {
    let servers = run.servers.iter().map(|server| {
        let pairs = server.samples.windows(2);
        let later = pairs.filter(|pair| pair[1].at > pair[0].at);
        let points = later.filter_map(|pair| {
            let spent = pair[1].usage.cpu? - pair[0].usage.cpu?;
            Some((pair[1].at, spent / (pair[1].at - pair[0].at) * 100.0))
        });
        Series::new(&format!("server {}", server.name), points.collect())
    });
    let threads = run.generators.iter().flat_map(|generator| {
        let threads = generator.threads.iter().enumerate();
        threads.map(|(number, thread)| {
            let points = thread.course.iter().map(|(at, busy)| (*at, busy * 100.0));
            Series::new(
                &format!("generator {}/{number}", generator.name),
                points.collect(),
            )
        })
    });
    let series = servers.chain(threads).collect();
    Chart::over_time("CPU".to_owned(), "%", Scale::Linear, series)
}

fn memory(run: &Run) -> Chart {
    let series = run.servers.iter().map(|server| {
        let samples = server.samples.iter();
        let points = samples.filter_map(|sample| Some((sample.at, sample.usage.rss? / 1e6)));
        Series::new(&format!("server {}", server.name), points.collect())
    });
    Chart::over_time("Memory".to_owned(), "MB", Scale::Linear, series.collect())
}

/// Latencies by their rank: the slowest in a hundred, in a thousand, ...
fn distribution(run: &Run) -> Chart {
    let several = run.parts.len() > 1;
    let series = run.parts.iter().filter_map(|part| {
        let latencies = part.record.latencies.get(&part.main)?;
        let nines = (latencies.count().max(1) as f64).log10();
        let steps = (0..=60).map(|step| f64::from(step) / 60.0 * nines);
        let points = steps.map(|x| (x, latencies.quantile_us(1.0 - 10_f64.powf(-x)) / 1e3));
        let name = if several {
            part.name.as_str()
        } else {
            "latency"
        };
        Some(Series::new(name, points.collect()))
    });
    Chart::by_rank("Distribution".to_owned(), "ms", series.collect())
}

fn table(report: &Report, out: &mut String) {
    out.push_str(
        "<h2>Figures</h2><div class=\"scroll\"><table><thead><tr><th>figure</th><th>name</th>\
         <th class=\"n\">value</th><th></th>",
    );
    let is_repeated = report.runs.len() > 1;
    if is_repeated {
        out.push_str("<th class=\"n\">lowest</th><th class=\"n\">highest</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for figure in &report.figures {
        let _ = write!(
            out,
            "<tr><td>{}</td><td><code>{}</code></td><td class=\"n\">{}</td><td>{}</td>",
            escape(&figure.label),
            escape(&figure.name),
            number(figure.value),
            figure.unit,
        );
        if is_repeated {
            let _ = write!(
                out,
                "<td class=\"n\">{}</td><td class=\"n\">{}</td>",
                number(figure.min),
                number(figure.max)
            );
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
