//! `quikapp bench`: what can be asked for, and what is printed and written.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, Subcommand};

use crate::{
    plan::{Plan, RunOptions, Scenario, TargetOptions, read_file},
    progress::ProgressLine,
    report::{Report, compare, html, merge},
    run::run_once,
};

/// What to do.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// A scenario, or something to do with reports.
    #[command(subcommand)]
    pub action: Action,
    /// Whom to load.
    #[command(flatten)]
    pub target: TargetOptions,
    /// How to run.
    #[command(flatten)]
    pub run: RunOptions,
    /// What to show.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// A scenario, or something to do with reports.
#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Run a scenario.
    #[command(flatten)]
    Scenario(Scenario),
    /// Run what a scenario file says (docs/benchmarking.md).
    Run {
        /// The file (TOML).
        file: PathBuf,
    },
    /// Merge the reports of several generators into one, without loss; or show one again.
    Merge {
        /// Reports that --json wrote.
        #[arg(required = true)]
        reports: Vec<PathBuf>,
    },
    /// Show the ratios of two reports, with their spread over the runs.
    Compare {
        /// A report that --json wrote.
        first: PathBuf,
        /// Another one, of the same scenario.
        second: PathBuf,
    },
}

/// What to show.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Print the report as JSON instead of a table, or write it to a file (--json=FILE).
    #[arg(long, global = true, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Write the report as a page with plots.
    #[arg(long, global = true, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the percentile distribution of the main latency of the first part, for HdrHistogram's
    /// plotter.
    #[arg(long, global = true, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Tell how it goes also where standard error is not a terminal.
    #[arg(long, global = true)]
    pub progress: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Passed,
    /// Something was lost, repeated, reordered, altered or refused.
    Failed,
    /// All arrived, and a threshold does not hold.
    MissedThreshold,
}

impl Outcome {
    /// For the shell; 2 is a wrong command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::MissedThreshold => 3,
        }
    }

    fn of(report: &Report) -> Self {
        match (report.passed, report.meets_thresholds()) {
            (false, _) => Self::Failed,
            (true, false) => Self::MissedThreshold,
            (true, true) => Self::Passed,
        }
    }
}

/// The plan that the arguments describe.
///
/// # Errors
/// When a file cannot be read, something does not fit, or there is nothing to run.
pub fn plan(args: &Args) -> anyhow::Result<Plan> {
    let (target, run) = (args.target.clone(), args.run.clone());
    match &args.action {
        Action::Scenario(scenario) => Plan::new(None, target, &run, vec![scenario.clone()]),
        Action::Run { file } => {
            let read = read_file(file)?;
            let (target, run) = (read.target.overlaid(target), read.run.overlaid(run));
            let plan = Plan::new(read.name, target, &run, read.parts);
            plan.with_context(|| file.display().to_string())
        }
        Action::Merge { .. } | Action::Compare { .. } => bail!("nothing to run"),
    }
}

/// Runs a plan, as often as it says.
///
/// # Errors
/// When it cannot even begin: the server is not there, or refuses to make people.
pub async fn run(plan: &Plan, progress: bool) -> anyhow::Result<Report> {
    let mut line = ProgressLine::new(progress);
    let mut runs = Vec::new();
    for turn in 0..plan.run.repeat {
        let run = run_once(plan, turn, &mut |progress| line.show(progress)).await;
        line.clear();
        runs.push(run?);
    }
    let shown = serde_json::to_value(plan)?;
    Ok(Report::new(&plan.name, shown, &plan.run.thresholds, runs))
}

/// Does what was asked for: what `quikapp bench` does.
///
/// # Errors
/// When something cannot be read, written or begun.
pub async fn execute(args: &Args) -> anyhow::Result<Outcome> {
    let report = match &args.action {
        Action::Compare { first, second } => {
            return show_comparison(first, second, &args.output);
        }
        Action::Merge { reports } => {
            let reports: Result<Vec<_>, _> =
                reports.iter().map(|path| Report::read(path)).collect();
            merge(&reports?)?
        }
        Action::Scenario(_) | Action::Run { .. } => run(&plan(args)?, args.output.progress).await?,
    };
    show(&report, &args.output)?;
    Ok(Outcome::of(&report))
}

fn show(report: &Report, output: &OutputOptions) -> anyhow::Result<()> {
    let json = || serde_json::to_string_pretty(report);
    match &output.json {
        Some(path) if path.as_os_str() == "-" => println!("{}", json()?),
        Some(path) => {
            write(path, &json()?)?;
            print!("{report}");
        }
        None => print!("{report}"),
    }
    if let Some(path) = &output.html {
        write(path, &html(report))?;
    }
    if let Some(path) = &output.hdr {
        write(path, &report.distribution())?;
    }
    Ok(())
}

fn show_comparison(first: &Path, second: &Path, output: &OutputOptions) -> anyhow::Result<Outcome> {
    let comparison = compare(&Report::read(first)?, &Report::read(second)?);
    match &output.json {
        Some(path) if path.as_os_str() == "-" => {
            println!("{}", serde_json::to_string_pretty(&comparison)?);
        }
        Some(path) => write(path, &serde_json::to_string_pretty(&comparison)?)?,
        None => print!("{comparison}"),
    }
    Ok(Outcome::Passed)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
