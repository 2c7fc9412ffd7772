//! What the server spends, read from /proc or from its metrics; and what the generator's own
//! threads spend.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{http::Http, tls::explained};

/// /proc counts CPU time in ticks of 10 ms, on every Linux (USER_HZ).
const TICK: f64 = 0.01;

/// What a process has used so far, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Seconds of CPU time since the process started.
    pub cpu: Option<f64>,
    /// The part of them in user mode.
    pub user: Option<f64>,
    /// Resident memory in bytes.
    pub rss: Option<f64>,
}

/// One server process.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Process(u32),
    /// A page in Prometheus' text format.
    Metrics(String),
}

/// Reads the resources of the processes that were named.
#[derive(Debug)]
pub(crate) struct Meter {
    sources: Vec<(String, Source)>,
    http: Http,
}

impl Meter {
    /// Checks that everything can be read.
    pub(crate) async fn new(pids: &[u32], metrics: &[String], http: Http) -> anyhow::Result<Self> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let processes = pids
            .iter()
            .map(|pid| (format!("{}/{pid}", host.trim()), Source::Process(*pid)));
        let pages = metrics
            .iter()
            .map(|url| (url.clone(), Source::Metrics(url.clone())));
        let meter = Self {
            sources: processes.chain(pages).collect(),
            http,
        };
        meter.read().await?;
        Ok(meter)
    }

    /// The names of the processes, the same on all generators.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(name, _)| name.as_str())
    }

    /// What each process has used.
    pub(crate) async fn read(&self) -> anyhow::Result<Vec<Usage>> {
        let mut usages = Vec::with_capacity(self.sources.len());
        for (_, source) in &self.sources {
            usages.push(match source {
                Source::Process(pid) => of_process(*pid)?,
                Source::Metrics(url) => self.scrape(url).await.context(url.clone())?,
            });
        }
        Ok(usages)
    }

    async fn scrape(&self, url: &str) -> anyhow::Result<Usage> {
        let sent = self.http.to(url).get(url).send().await;
        let page = sent.map_err(|error| explained(error.into()))?;
        parse_metrics(&page.error_for_status()?.text().await?)
    }
}

fn of_process(pid: u32) -> anyhow::Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("the server's process: {path}"))
    };
    let (user, system) = parse_cpu(&read("stat")?).context("an odd /proc/<pid>/stat")?;
    let rss = parse_rss(&read("status")?).context("no VmRSS in /proc/<pid>/status")?;
    Ok(Usage {
        cpu: Some(user + system),
        user: Some(user),
        rss: Some(rss),
    })
}

/// Fields 14 and 15 of /proc/pid/stat, in seconds. The second field, a name, may contain anything.
fn parse_cpu(stat: &str) -> Option<(f64, f64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut time = || Some(TICK * fields.next()?.parse::<f64>().ok()?);
    Some((time()?, time()?))
}

fn parse_rss(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0)
}

/// Finds the conventional names, as client libraries of Prometheus export them, or with a prefix.
fn parse_metrics(page: &str) -> anyhow::Result<Usage> {
    let (cpu, rss) = (
        family(page, "cpu_seconds_total")?,
        family(page, "resident_memory_bytes")?,
    );
    if cpu.is_none() && rss.is_none() {
        bail!("neither *cpu_seconds_total nor *resident_memory_bytes is on the page");
    }
    let user = None;
    Ok(Usage { cpu, user, rss })
}

/// The sum of the samples of the process's own family, or else of the only one whose name ends so.
fn family(page: &str, name: &str) -> anyhow::Result<Option<f64>> {
    let mut sums = BTreeMap::new();
    let samples = page.lines().filter_map(parse_sample);
    for (family, value) in samples.filter(|(family, _)| family.ends_with(name)) {
        *sums.entry(family).or_insert(0.0) += value;
    }
    if let Some(sum) = sums.get(format!("process_{name}").as_str()) {
        return Ok(Some(*sum));
    }
    ensure!(
        sums.len() <= 1,
        "which is the server's: {}? None is process_{name}",
        sums.keys().copied().collect::<Vec<_>>().join(", ")
    );
    Ok(sums.into_values().next())
}

/// Name and value of a line; a timestamp may follow.
fn parse_sample(line: &str) -> Option<(&str, f64)> {
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let rest = match rest.starts_with('{') {
        true => after_labels(rest)?,
        false => rest,
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, value))
}

/// A label's value may contain braces and escaped quotes.
fn after_labels(labels: &str) -> Option<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in labels.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '}' if !is_quoted => return Some(&labels[at + 1..]),
            _ => {}
        }
    }
    None
}

/// What a thread has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct ThreadUsage {
    /// Seconds on a CPU.
    pub(crate) busy: f64,
    /// Seconds in which it could have run and others did.
    pub(crate) waited: f64,
}

/// The kernel's id of this thread; 0 if it cannot be told.
pub(crate) fn this_thread() -> u32 {
    let link = fs::read_link("/proc/thread-self").ok();
    let id = link.as_deref().and_then(|link| link.file_name()?.to_str());
    id.and_then(|id| id.parse().ok()).unwrap_or(0)
}

/// What threads of this process have used.
pub(crate) fn of_threads(ids: &[u32]) -> Vec<ThreadUsage> {
    ids.iter().map(|id| of_thread(*id)).collect()
}

fn of_thread(id: u32) -> ThreadUsage {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/task/{id}/{file}"));
    let ticks = read("stat").ok().and_then(|stat| parse_cpu(&stat));
    let waited = read("schedstat").ok().as_deref().and_then(parse_waited);
    ThreadUsage {
        busy: ticks.map_or(0.0, |(user, system)| user + system),
        waited: waited.unwrap_or(0.0),
    }
}

/// The second field of /proc/pid/schedstat, in seconds.
fn parse_waited(stat: &str) -> Option<f64> {
    let nanos: f64 = stat.split_whitespace().nth(1)?.parse().ok()?;
    Some(nanos / 1e9)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{target::Target, tls::Security};

    async fn meter(pids: &[u32]) -> anyhow::Result<Meter> {
        let security = Security::new(None, false, 1).unwrap();
        let target = Target::parse("http://127.0.0.1:1", "/", &security).unwrap();
        Meter::new(pids, &[], Http::new(&target, &security)?).await
    }

    #[test]
    fn a_process_name_may_look_like_fields() {
        let stat = "7 (a) b 1 2) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        let (user, system) = parse_cpu(stat).unwrap();
        assert!((user - 2.5).abs() < 1e-9 && (system - 0.5).abs() < 1e-9);
    }

    #[tokio::test]
    async fn this_process_can_be_read() {
        let this = meter(&[std::process::id()]).await.unwrap();
        let usage = this.read().await.unwrap()[0];
        assert!(usage.rss.unwrap() > 100_000.0);
        assert!(usage.user.unwrap() <= usage.cpu.unwrap());
        let nobody = meter(&[]).await.unwrap();
        assert_eq!(nobody.read().await.unwrap(), []);
    }

    #[test]
    fn a_thread_that_works_is_busy_and_one_that_waits_is_not() {
        let (working, waiting) = (mpsc::sync_channel(1), mpsc::sync_channel::<()>(1));
        let idle = thread::spawn(move || {
            working.0.send(this_thread()).unwrap();
            waiting.1.recv().unwrap_err();
        });
        let ids = [this_thread(), working.1.recv().unwrap()];
        assert!(ids[0] != 0 && ids[1] != 0 && ids[0] != ids[1], "{ids:?}");
        let before = of_threads(&ids);
        // However much else the machine has to do, this thread comes to its 50 ms.
        let mut spun = 0_u64;
        let used = loop {
            spun = (0..1_000_000).fold(spun, |sum, n| std::hint::black_box(sum ^ n));
            let now = of_threads(&ids);
            let used = [0, 1].map(|at| now[at].busy - before[at].busy);
            if used[0] >= 0.05 {
                break used;
            }
        };
        assert!(used[1] < 0.01, "{used:?}");
        drop(waiting.0);
        idle.join().unwrap();
    }

    #[test]
    fn how_long_a_thread_waited_for_a_cpu_is_told() {
        assert_eq!(parse_waited("81 2500000000 7\n"), Some(2.5));
        assert_eq!(parse_waited("81"), None);
        let own = format!("/proc/self/task/{}/schedstat", this_thread());
        let own = fs::read_to_string(own).unwrap();
        assert!(parse_waited(&own).unwrap() >= 0.0);
    }

    #[tokio::test]
    async fn a_process_that_is_not_there_is_an_error() {
        assert!(meter(&[u32::MAX]).await.is_err());
    }

    #[test]
    fn metrics_pages() {
        let page = "# TYPE process_cpu_seconds_total counter\n\
                    process_cpu_seconds_total 2.5\n\
                    quikapp_resident_memory_bytes 1e6\n";
        let usage = |page: &str| parse_metrics(page).unwrap();
        let known = |cpu, rss| Usage {
            cpu,
            user: None,
            rss,
        };
        assert_eq!(usage(page), known(Some(2.5), Some(1e6)));
        let by_mode =
            "x_cpu_seconds_total{mode=\"user\"} 1\nx_cpu_seconds_total{mode=\"system\"} 2\n";
        assert_eq!(usage(by_mode), known(Some(3.0), None), "and no memory");
        assert_eq!(usage("resident_memory_bytes 7"), known(None, Some(7.0)));
        let with_times = "a_cpu_seconds_total{of=\"} \\\" 9\"} 1.5 1700000000000\n";
        assert_eq!(usage(with_times), known(Some(1.5), None));
        assert!(parse_metrics("up 1\n").is_err());
    }

    #[test]
    fn the_process_is_not_the_whole_machine() {
        let others = "node_cpu_seconds_total{mode=\"idle\"} 5000\n\
                      go_cpu_seconds_total 9\n";
        let own = format!("{others}process_cpu_seconds_total 2\n");
        assert_eq!(parse_metrics(&own).unwrap().cpu, Some(2.0));
        let unsure = parse_metrics(others).unwrap_err().to_string();
        assert!(unsure.contains("node_cpu_seconds_total"), "{unsure}");
    }
}
