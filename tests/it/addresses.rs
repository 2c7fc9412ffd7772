//! Passwords that stand in the addresses of servers that cannot be reached are told by nothing: no
//! log, however much is logged, and no command. (`faults::backends` looks at those that can.)

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use tempfile::tempdir;
use tokio::time::{Instant, sleep};

use crate::support::{PASSWORD, quikapp, said};

/// Longer than a node tries to connect: the driver of MongoDB looks for a server for 30 s.
const LONGEST: Duration = Duration::from_secs(90);
/// Everything that any crate has to say.
const LOUD: (&str, &str) = ("QUIKAPP_LOGGING__FILTER", "trace");

/// The setting, the scheme, the path, and the words in which a node tells that it cannot use it.
type Address = (&'static str, &'static str, &'static str, &'static str);

fn tells_nothing(what: &str, text: &str) {
    let found = text.lines().find(|line| line.contains(PASSWORD));
    assert!(found.is_none(), "{what}: {found:?}");
}

/// What a node says until it has told of the server that it cannot use.
async fn said_by_a_node(dir: &Path, settings: [(&str, &str); 2], trouble: &str) -> String {
    let log = dir.join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut node = quikapp();
    node.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    node.arg(dir.join("data")).envs(settings);
    node.stdout(file.try_clone().unwrap()).stderr(file);
    let mut node = node.spawn().unwrap();
    let deadline = Instant::now() + LONGEST;
    let told = loop {
        let told = std::fs::read_to_string(&log).unwrap();
        if told.contains(trouble) {
            break told;
        }
        assert!(Instant::now() < deadline, "{trouble} is not told: {told}");
        sleep(Duration::from_millis(100)).await;
    };
    node.kill().await.unwrap();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_cannot_be_reached_are_named_without_their_passwords() {
    let (log, redis) = ("QUIKAPP_STORAGE__LOG", "QUIKAPP_STORAGE__REDIS");
    let addresses: [Address; 3] = [
        (log, "mysql", "/chat?ssl-mode=REQUIRED", ":***@"),
        (
            log,
            "mongodb",
            "/chat?authSource=admin&serverSelectionTimeoutMS=2000",
            ":***@",
        ),
        // A node goes on without it.
        (redis, "redis", "/3", "going on without redis"),
    ];
    let all = addresses.iter().flat_map(|address| {
        let places = ["127.0.0.1:1", "nowhere.invalid:7"];
        places.map(|place| tells_no_password(*address, place))
    });
    join_all(all).await;
}

async fn tells_no_password((name, scheme, rest, trouble): Address, place: &str) {
    let dir = tempdir().unwrap();
    let url = format!("{scheme}://quik:{PASSWORD}@{place}{rest}");
    let settings = [(name, url.as_str()), LOUD];
    tells_nothing(scheme, &said_by_a_node(dir.path(), settings, trouble).await);
    for command in ["migrate", "check-config"] {
        let mut command_line = quikapp();
        command_line.arg(command).arg("--data-dir").arg(dir.path());
        let output = command_line.envs(settings).output();
        let output = tokio::time::timeout(LONGEST, output).await.unwrap();
        let told = said(&output.unwrap());
        tells_nothing(command, &told);
        if command == "check-config" {
            assert!(told.contains(place), "{told}");
        }
    }
}
