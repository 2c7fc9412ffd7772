//! Guards against regressions: how many instructions the hot paths take.
//!
//! Counted by callgrind, so that neither the machine's speed nor what else runs on it matters,
//! and compared with `baseline.txt`. A path that takes more than [`TOLERANCE`] over its baseline
//! fails.
//!
//! ```sh
//! cargo bench -p quikapp-realtime --bench instructions              # compare
//! cargo bench -p quikapp-realtime --bench instructions -- --record  # after a change that is meant
//! cargo bench -p quikapp-realtime --bench instructions -- --run deliver 1000   # under a profiler
//! ```
//!
//! The counts depend on the compiler and its options, which are pinned (`rust-toolchain.toml`, the
//! bench profile), and a little on glibc, which picks its string functions by processor; they are
//! kept from it.

mod paths;

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use paths::PATHS;

/// How much more than the baseline is accepted. What is left to chance (the seeds of hash maps,
/// the processor's kind) stays below 1 %.
const TOLERANCE: f64 = 0.05;

/// Repetitions under callgrind.
const ROUNDS: u64 = 20;

/// glibc's string functions for any x86-64, whatever the processor could do.
const PLAIN_GLIBC: &str = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,-BMI2";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => compare(),
        ["--record"] => record(),
        ["--run", path, rounds] => run(path, rounds.parse()?),
        _ => Err("usage: instructions [--record | --run PATH ROUNDS]".into()),
    }
}

fn run(name: &str, rounds: u64) -> Result<ExitCode, Failure> {
    let path = PATHS.iter().find(|path| path.name == name);
    (path.ok_or("no such path")?.run)(rounds)?;
    Ok(ExitCode::SUCCESS)
}

fn record() -> Result<ExitCode, Failure> {
    let mut text = String::from("# Instructions per operation; see main.rs.\n");
    for (name, count) in count_all()? {
        println!("{name:<12} {count:>8.0}");
        text.push_str(&format!("{name} {count:.0}\n"));
    }
    fs::write(baseline_file(), text)?;
    Ok(ExitCode::SUCCESS)
}

fn compare() -> Result<ExitCode, Failure> {
    if !cfg!(target_arch = "x86_64") {
        println!("the baselines are of x86-64: nothing compared");
        return Ok(ExitCode::SUCCESS);
    }
    let recorded = fs::read_to_string(baseline_file())?;
    let baselines = baselines(&recorded)?;
    let mut passed = true;
    for (name, count) in count_all()? {
        let baseline = baselines.get(name).ok_or("a path without a baseline")?;
        let ratio = count / baseline;
        let verdict = if ratio > 1.0 + TOLERANCE {
            passed = false;
            "FAILED: takes more than it did"
        } else if ratio < 1.0 - TOLERANCE {
            "better: record it"
        } else {
            "ok"
        };
        let change = (ratio - 1.0) * 100.0;
        println!("{name:<12} {count:>8.0} of {baseline:>8.0} {change:>+6.1} %  {verdict}");
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        println!("meant? cargo bench -p quikapp-realtime --bench instructions -- --record");
        ExitCode::FAILURE
    })
}

/// Instructions per operation of every path.
fn count_all() -> Result<Vec<(&'static str, f64)>, Failure> {
    let counted = PATHS.iter().map(|path| {
        let operations = (ROUNDS * path.operations) as f64;
        Ok((path.name, count(path.name)? as f64 / operations))
    });
    counted.collect()
}

/// Runs this program under callgrind, which collects inside of [`paths::measured`] only.
fn count(path: &str) -> Result<u64, Failure> {
    let out = env::temp_dir().join(format!("instructions-{}-{path}", std::process::id()));
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "-q", "--toggle-collect=*measured*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe()?)
        .args(["--run", path, &ROUNDS.to_string()])
        .env("GLIBC_TUNABLES", PLAIN_GLIBC)
        .status()
        .map_err(|error| format!("valgrind: {error} (scripts/install-tools installs it)"))?;
    if !status.success() {
        return Err(format!("{path}: {status}").into());
    }
    let text = fs::read_to_string(&out)?;
    fs::remove_file(&out)?;
    total(&text).ok_or_else(|| format!("{path}: nothing was counted").into())
}

/// The total of a callgrind output file.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line?.trim().parse().ok().filter(|count| *count > 0)
}

fn baselines(text: &str) -> Result<BTreeMap<&str, f64>, Failure> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, count) = line.split_once(' ').ok_or("a line without a count")?;
            Ok((name, count.parse()?))
        })
        .collect()
}

fn baseline_file() -> impl AsRef<Path> {
    concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/instructions/baseline.txt"
    )
}
