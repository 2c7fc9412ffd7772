//! Disks that are full or read-only. Shared by the tests of the store and of the whole system.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn run(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program).args(args).status();
    status.is_ok_and(|status| status.success())
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
pub(crate) fn skipped(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
}

/// A small file system in memory; unmounted when it is dropped.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts at a path that is not there yet.
    pub(crate) fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = format!("size={size},mode=700");
        let mounted = run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs", at.to_str()?],
        );
        mounted.then_some(Self(at))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        run("umount", &["-l", &self.0.display().to_string()]);
    }
}

pub(crate) fn fill_up(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    let block = [1; 4096];
    let error = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
}

/// The kernel refuses every write to an immutable file, as it does on a file system that was
/// made read-only because of errors. SQLite's index of the log is left out: it is mapped memory,
/// which a reader may write to, and a refusal there is a signal and not an error.
pub(crate) struct Immutable(Vec<PathBuf>);

impl Immutable {
    /// All that is in a directory now.
    pub(crate) fn make(dir: &Path) -> Option<Self> {
        let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
        let refusing = files.filter(|path| !path.ends_with("quikapp.db-shm"));
        let this = Self(refusing.collect());
        this.change("+i").then_some(this)
    }

    fn change(&self, flag: &str) -> bool {
        let change = |file: &PathBuf| run("chattr", &[flag, file.to_str().unwrap()]);
        self.0.iter().all(change)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.change("-i");
    }
}
