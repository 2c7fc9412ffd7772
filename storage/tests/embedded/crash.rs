//! Processes that die, and processes that share a directory. The other process is this test
//! binary once more, told by its environment what to do.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use quikapp_storage::{Config, EntryId, Seq, open};
use tokio::task::JoinSet;

use crate::support::{Appender, Dir};

const DIRECTORY: &str = "QUIKAPP_TEST_WRITER_DIRECTORY";
const WRITERS: usize = 8;

fn conversation(number: usize) -> String {
    format!("conversation-{number}")
}

/// Not a test of its own: the other process. Appends until it is killed, and prints every place
/// that was acknowledged.
#[test]
fn writer_process() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_for_ever(Path::new(&directory)));
}

async fn write_for_ever(directory: &Path) {
    let store = open(&Config::at(directory)).unwrap();
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let mut appender = Appender::new(&store, &conversation(number)).await;
        writers.spawn(async move {
            loop {
                let (seq, id) = appender.append("x").await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {number} {seq} {id}").unwrap();
                out.flush().unwrap();
            }
        });
    }
    writers.join_all().await;
}

struct Writer {
    process: Child,
    output: BufReader<ChildStdout>,
}

#[derive(Debug)]
struct Acknowledged {
    conversation: usize,
    seq: Seq,
    id: EntryId,
}

impl Writer {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::writer_process", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The next acknowledgement; `None` when the process has ended.
    fn next(&mut self) -> Option<Acknowledged> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if line.ends_with('\n')
                && let Some(fields) = line.trim_end().strip_prefix("ack ")
            {
                return Some(acknowledged(fields));
            }
        }
    }

    /// Kills the process with -9; what it had printed until then.
    fn kill(mut self) -> Vec<Acknowledged> {
        self.process.kill().unwrap();
        let rest = std::iter::from_fn(|| self.next()).collect();
        self.process.wait().unwrap();
        rest
    }
}

fn acknowledged(fields: &str) -> Acknowledged {
    let mut fields = fields.split(' ');
    let mut next = || fields.next().unwrap();
    Acknowledged {
        conversation: next().parse().unwrap(),
        seq: Seq(next().parse().unwrap()),
        id: EntryId::parse(next()).unwrap(),
    }
}

/// Whatever the moment of the kill: all that was acknowledged is there, at its place, in a log
/// without holes; and the next process goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = Dir::new();
    let mut all = Vec::new();
    for acknowledgements in [1, 40, 7, 200, 90] {
        let mut writer = Writer::start(&dir.data());
        for _ in 0..acknowledgements {
            all.push(writer.next().unwrap());
        }
        all.extend(writer.kill());
        check(&dir, &all).await;
    }
}

async fn check(dir: &Dir, all: &[Acknowledged]) {
    let store = dir.open();
    for number in 0..WRITERS {
        let log = Appender::new(&store, &conversation(number))
            .await
            .log()
            .await;
        for acknowledged in all.iter().filter(|one| one.conversation == number) {
            let index = usize::try_from(acknowledged.seq.0).unwrap() - 1;
            let kept = log.get(index).map(|entry| entry.id);
            assert_eq!(kept, Some(acknowledged.id), "{acknowledged:?} is lost");
        }
    }
    store.close().await;
}

/// Two processes that take the conversations from each other: epochs keep the logs whole.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_directory() {
    let dir = Dir::new();
    let store = dir.open();
    let mut writer = Writer::start(&dir.data());
    let mut theirs = vec![writer.next().unwrap()];
    let mut ours = Vec::new();
    for turn in 0..24 {
        let number = turn % 3;
        let mut appender = Appender::new(&store, &conversation(number)).await;
        let (seq, id) = appender.append("ours").await.unwrap();
        ours.push(Acknowledged {
            conversation: number,
            seq,
            id,
        });
    }
    // The other process has gone on as well: it retakes what was taken from it.
    let after = ours.last().unwrap().seq;
    while theirs
        .last()
        .is_some_and(|last| last.conversation != 2 || last.seq <= after)
    {
        theirs.push(writer.next().unwrap());
    }
    theirs.extend(writer.kill());
    theirs.extend(ours);
    store.close().await;
    check(&dir, &theirs).await;
}
