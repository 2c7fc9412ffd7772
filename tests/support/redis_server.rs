//! A redis-server of a test's own: one that can be stopped, or that speaks TLS.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

/// Dropping it ends the process.
pub(crate) struct RedisServer {
    child: Child,
    dir: PathBuf,
    pub(crate) port: u16,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts one that keeps nothing, in a directory of the test; `port` is the name of the option
    /// that says where it listens (`port`, `tls-port`).
    pub(crate) async fn start(dir: &Path, port_option: &str, options: &[&str]) -> Self {
        // The port may be taken by somebody else before the server has it: then once more.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut all = vec![format!("--{port_option}"), port.to_string()];
            all.extend(options.iter().map(|option| (*option).to_owned()));
            let mut server = Self {
                child: launch(dir, &all),
                dir: dir.to_owned(),
                port,
                options: all,
            };
            if server.came_up().await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// `kill -9`: what it held is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = launch(&self.dir, &self.options);
        assert!(self.came_up().await, "redis-server does not start again");
    }

    /// Sends a signal: STOP, CONT.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    async fn came_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended already; a stopped process ends by SIGKILL too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(dir: &Path, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(options)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
