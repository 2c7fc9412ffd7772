//! Starts and ends the binary.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use quikapp_storage::Config;

use super::within;

/// The binary with no settings from outside.
pub(crate) fn quikapp() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quikapp"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUIKAPP_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command of the binary on a data directory, which must succeed; what it wrote to standard
/// output.
pub(crate) async fn run(data_dir: &Path, args: &[&str]) -> String {
    let mut command = quikapp();
    command.args(args).arg("--data-dir").arg(data_dir);
    let output = within("the command", command.output()).await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A running server. Dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:<port>`
    pub(crate) url: String,
    pub(crate) data_dir: PathBuf,
    /// Where it keeps what.
    pub(crate) storage: Config,
    log: PathBuf,
}

impl Server {
    /// Starts on a free port, with data in `dir`.
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, "127.0.0.1:0", &[]).await
    }

    /// Starts on a given address, with further arguments.
    pub(crate) async fn start_with(dir: &Path, listen: &str, args: &[&str]) -> Self {
        Self::start_as(dir, &dir.join("data"), listen, args, &[]).await
    }

    /// Starts with data anywhere, further arguments and an environment.
    pub(crate) async fn start_as(
        dir: &Path,
        data_dir: &Path,
        listen: &str,
        args: &[&str],
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let log = dir.join(format!("server-{}.log", listen.replace(':', "-")));
        let stderr = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut child = quikapp()
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(data_dir)
            .args(args)
            .envs(environment.iter().copied())
            .current_dir(dir)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the first line of output", lines.next_line())
            .await
            .unwrap();
        let url = match line
            .as_deref()
            .and_then(|line| line.strip_prefix("listening on "))
        {
            Some(url) => url.to_owned(),
            None => panic!("{line:?}\n{}", std::fs::read_to_string(&log).unwrap()),
        };
        // Keep reading, so that the server never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            child,
            url,
            data_dir: data_dir.to_owned(),
            storage: Config::at(data_dir),
            log,
        }
    }

    /// The address without the scheme.
    pub(crate) fn address(&self) -> &str {
        self.url.split("//").nth(1).unwrap()
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; the exit status says how it went.
    pub(crate) async fn terminate(self) -> std::process::ExitStatus {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Waits for the end of a process that has been told to stop.
    pub(crate) async fn ended(mut self) -> std::process::ExitStatus {
        within("the end of the process", self.child.wait())
            .await
            .unwrap()
    }

    /// Sends a signal and does not wait.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the process runs").to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .await;
        assert!(sent.unwrap().success());
    }

    /// Where it logs.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// Both streams of a finished command, for messages and assertions.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
