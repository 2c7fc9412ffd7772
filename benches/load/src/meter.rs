//! What the server spends, read from /proc.

use std::{fs, time::Duration};

use anyhow::Context;

use crate::Report;

/// /proc counts CPU time in ticks of 10 ms, on every Linux (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// Reads the resources of a process, if one was named.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: Option<u32>,
}

/// CPU time since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpu {
    user: Duration,
    system: Duration,
}

impl Meter {
    pub(crate) fn new(pid: Option<u32>) -> anyhow::Result<Self> {
        let meter = Self { pid };
        meter.cpu()?;
        Ok(meter)
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Option<Cpu>> {
        let Some(pid) = self.pid else { return Ok(None) };
        let stat = read(pid, "stat")?;
        parse_cpu(&stat)
            .map(Some)
            .with_context(|| format!("/proc/{pid}/stat: {stat}"))
    }

    /// Resident memory in bytes.
    pub(crate) fn rss(&self) -> anyhow::Result<Option<u64>> {
        let Some(pid) = self.pid else { return Ok(None) };
        let status = read(pid, "status")?;
        parse_rss(&status)
            .map(Some)
            .with_context(|| format!("/proc/{pid}/status has no VmRSS"))
    }

    /// Reports the CPU time since `before`, divided by `count`.
    pub(crate) fn report_cpu(
        &self,
        report: &mut Report,
        before: Option<Cpu>,
        count: u64,
    ) -> anyhow::Result<()> {
        if let (Some(before), Some(after)) = (before, self.cpu()?) {
            let each = |spent: Duration| spent.as_secs_f64() * 1e6 / count as f64;
            let (user, system) = (after.user - before.user, after.system - before.system);
            report.add("server CPU, user", each(user), "us each");
            report.add("server CPU, total", each(user + system), "us each");
        }
        Ok(())
    }
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("the server's process: {path}"))
}

/// Fields 14 and 15 of /proc/pid/stat. The second field, a name, may contain anything.
fn parse_cpu(stat: &str) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut time = || Some(TICK * fields.next()?.parse().ok()?);
    Some(Cpu {
        user: time()?,
        system: time()?,
    })
}

fn parse_rss(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_process_name_may_look_like_fields() {
        let stat = "7 (a) b 1 2) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        let cpu = parse_cpu(stat).unwrap();
        assert_eq!(cpu.user, Duration::from_millis(2500));
        assert_eq!(cpu.system, Duration::from_millis(500));
    }

    #[test]
    fn this_process_can_be_read() {
        let meter = Meter::new(Some(std::process::id())).unwrap();
        assert!(meter.rss().unwrap().unwrap() > 100_000);
        assert!(meter.cpu().unwrap().is_some());
        assert!(Meter::new(None).unwrap().cpu().unwrap().is_none());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Meter::new(Some(u32::MAX)).is_err());
    }
}
