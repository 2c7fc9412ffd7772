//! A library that is preloaded into a server: it knows what a power cut would take away, and it
//! lets the server's clock jump.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::Server;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/history/shim/powercut.c");

/// Compiles the library.
fn library(dir: &Path) -> PathBuf {
    let library = dir.join("powercut.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", SOURCE, "-o"]);
    let compiled = compiler.arg(&library).args(["-ldl", "-lpthread"]).status();
    assert!(compiled.unwrap().success());
    library
}

/// A directory whose data has not all reached the disk.
pub(crate) struct PowerCut {
    dir: PathBuf,
    data: PathBuf,
    journal: PathBuf,
    library: PathBuf,
}

/// One write that a power cut may take back.
struct Replaced {
    offset: u64,
    size: u64,
    bytes: Vec<u8>,
}

impl PowerCut {
    pub(crate) fn prepare(dir: &Path) -> Self {
        let journal = dir.join("journal");
        fs::create_dir(&journal).unwrap();
        Self {
            dir: dir.to_owned(),
            data: dir.join("data"),
            journal,
            library: library(dir),
        }
    }

    /// Starts a server of which it is known what has reached the disk.
    pub(crate) async fn start(&self, args: &[&str]) -> Server {
        // What an earlier server left was on the disk when it stopped, or has been taken back.
        for journal in fs::read_dir(&self.journal).unwrap() {
            fs::remove_file(journal.unwrap().path()).unwrap();
        }
        let environment: [(&str, &OsStr); 3] = [
            ("LD_PRELOAD", self.library.as_os_str()),
            ("POWERCUT_DIR", self.data.as_os_str()),
            ("POWERCUT_JOURNAL", self.journal.as_os_str()),
        ];
        Server::start_as(&self.dir, &self.data, "127.0.0.1:0", args, &environment).await
    }

    /// Takes away what the server, which was killed, had not synced. Says how many writes.
    pub(crate) fn happens(&self) -> usize {
        let mut undone = 0;
        for journal in fs::read_dir(&self.journal).unwrap() {
            let journal = journal.unwrap();
            let path = self.data.join(journal.file_name());
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .unwrap();
            for write in unsynced(&journal.path()).iter().rev() {
                file.write_all_at(&write.bytes, write.offset).unwrap();
                file.set_len(write.size).unwrap();
                undone += 1;
            }
            fs::remove_file(journal.path()).unwrap();
        }
        // Memory that processes share does not outlive the power.
        let shared = self.data.join("quikapp.db-shm");
        if shared.exists() {
            fs::remove_file(shared).unwrap();
        }
        undone
    }
}

/// The writes of a journal that no sync covers, in their order. A record that was cut short
/// belongs to a write that never happened.
fn unsynced(journal: &Path) -> Vec<Replaced> {
    const HEADER: usize = 32;
    let mut bytes = Vec::new();
    File::open(journal)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let (mut at, mut synced, mut writes) = (0, 0, Vec::new());
    while at + HEADER <= bytes.len() {
        let (kind, offset) = (number(at), number(at + 8));
        let length = usize::try_from(number(at + 16)).unwrap();
        let Some(replaced) = bytes.get(at + HEADER..at + HEADER + length) else {
            break;
        };
        match kind {
            2 => synced = synced.max(offset),
            _ => writes.push((
                at as u64,
                Replaced {
                    offset,
                    size: number(at + 24),
                    bytes: replaced.to_vec(),
                },
            )),
        }
        at += HEADER + length;
    }
    let left = writes.into_iter().filter(|(began, _)| *began >= synced);
    left.map(|(_, write)| write).collect()
}

/// A wall clock of one server that a test sets.
pub(crate) struct JumpingClock {
    library: PathBuf,
    offset: PathBuf,
}

impl JumpingClock {
    pub(crate) fn prepare(dir: &Path) -> Self {
        let clock = Self {
            library: library(dir),
            offset: dir.join("clock"),
        };
        clock.is_off_by_ms(0);
        clock
    }

    /// Jumps. Eight bytes that a server has mapped change at once.
    pub(crate) fn is_off_by_ms(&self, offset: i64) {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.offset);
        file.unwrap()
            .write_all_at(&offset.to_ne_bytes(), 0)
            .unwrap();
    }

    /// Starts a server with this clock.
    pub(crate) async fn start(&self, dir: &Path) -> Server {
        let environment: [(&str, &OsStr); 2] = [
            ("LD_PRELOAD", self.library.as_os_str()),
            ("CLOCK_OFFSET", self.offset.as_os_str()),
        ];
        let data = dir.join("data");
        Server::start_as(dir, &data, "127.0.0.1:0", &[], &environment).await
    }
}
