//! `quikapp bench` loads a server behind TLS, and only one that it can trust.

use std::{
    fs,
    process::Output,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    certificates::make_certificates,
    support::{Server, quikapp, said},
};

/// A run in a debug build on a busy machine is slow to start, and its `--deadline` comes first.
const LONGEST: Duration = Duration::from_secs(120);

/// A server with a certificate of an authority of its own.
struct Site {
    dir: TempDir,
    server: Server,
}

impl Site {
    async fn start() -> Self {
        let dir = tempdir().unwrap();
        make_certificates(dir.path(), "127.0.0.1");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let files = [
            ("QUIKAPP_ENDPOINT__TLS__CERT", cert.as_os_str()),
            ("QUIKAPP_ENDPOINT__TLS__KEY", key.as_os_str()),
        ];
        let data = dir.path().join("data");
        let server = Server::start_as(dir.path(), &data, "127.0.0.1:0", &[], &files).await;
        assert!(server.url.starts_with("https://"), "{}", server.url);
        Self { dir, server }
    }

    /// Runs a scenario against the server, by the address with that scheme.
    async fn bench(&self, scheme: &str, arguments: &str) -> Output {
        let url = format!("{scheme}://{}", self.server.address());
        self.run(&format!("{arguments} --url {url} --deadline 60"))
            .await
    }

    /// `quikapp bench`, among the files.
    async fn run(&self, arguments: &str) -> Output {
        let mut command = quikapp();
        command.arg("bench").args(arguments.split_whitespace());
        let output = command.current_dir(self.dir.path()).output();
        tokio::time::timeout(LONGEST, output)
            .await
            .unwrap()
            .unwrap()
    }

    /// What `--json=FILE` wrote.
    fn report(&self, file: &str) -> Value {
        let text = fs::read(self.dir.path().join(file)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

fn tls_of(report: &Value) -> &Value {
    &report["runs"][0]["generators"][0]["tls"]
}

/// Some seconds from now, when two generators have long connected.
#[allow(
    clippy::disallowed_methods,
    reason = "a moment of the wall clock is what is given"
)]
fn soon() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() + 20
}

/// Messages of two records and more, to sockets of which each has its own handshake. Only what was
/// measured together is merged.
#[tokio::test]
async fn what_is_sent_over_wss_arrives() {
    let site = Site::start().await;
    let fanout = "fanout --members 20 --senders 4 --body 40000 --seconds 2 --warmup 0.1 \
        --secret-file data/secret --ca-file ca.pem";
    let moment = soon();
    let [east, west] = ["east", "west"].map(|generator| {
        let output = format!("--generator {generator} --json={generator}.json");
        format!("{fanout} --start-at {moment} {output}")
    });
    let (east, west) = tokio::join!(site.bench("wss", &east), site.bench("wss", &west));
    for done in [east, west] {
        let told = said(&done);
        assert_eq!(done.status.code(), Some(0), "{told}");
        assert!(told.contains("spoke TLS (TLSv1_3 TLS13_"), "{told}");
        assert!(!told.contains("--insecure"), "{told}");
    }
    let report = site.report("east.json");
    let tls = tls_of(&report);
    assert_eq!(
        (&tls["verified"], &tls["handshakes"]),
        (&true.into(), &20.into())
    );

    let merged = site.run("merge east.json west.json --json=both.json").await;
    assert_eq!(merged.status.code(), Some(0), "{}", said(&merged));
    assert!(
        said(&merged).contains("generator west spoke TLS"),
        "{}",
        said(&merged)
    );
    let compared = site.run("compare east.json both.json").await;
    assert_eq!(compared.status.code(), Some(0), "{}", said(&compared));
    assert!(
        said(&compared).contains("deliveries_per_s"),
        "{}",
        said(&compared)
    );
}

/// Guests sign in and make their conversations by requests, which trust the same authority.
#[tokio::test]
async fn requests_and_sockets_trust_the_same() {
    let site = Site::start().await;
    let chat = "chat --senders 6 --conversations 2 --seconds 0.5 --warmup 0";
    let metrics = format!("--metrics {}/metrics", site.server.url);
    let done = site
        .bench("https", &format!("{chat} {metrics} --ca-file ca.pem"))
        .await;
    let told = said(&done);
    assert_eq!(done.status.code(), Some(0), "{told}");
    assert!(told.contains("all arrived as sent"), "{told}");

    let refused = site.bench("https", chat).await;
    let told = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("--ca-file names one to trust"), "{told}");
    assert!(!told.contains("development mode"), "{told}");
}

#[tokio::test]
async fn sockets_to_a_stranger_are_refused_unless_told_otherwise() {
    let site = Site::start().await;
    let fanout =
        "fanout --members 5 --senders 2 --seconds 0.2 --warmup 0 --secret-file data/secret";
    let refused = site.bench("wss", fanout).await;
    let told = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("refused"), "{told}");
    assert!(
        told.contains("invalid peer certificate: UnknownIssuer"),
        "{told}"
    );
    assert!(told.contains("--ca-file names one to trust"), "{told}");

    let done = site
        .bench("wss", &format!("{fanout} --insecure --json=insecure.json"))
        .await;
    let told = said(&done);
    assert_eq!(done.status.code(), Some(0), "{told}");
    assert!(
        told.contains("did not check the server's certificate"),
        "{told}"
    );
    assert_eq!(tls_of(&site.report("insecure.json"))["verified"], false);
}

/// All leave and come back twice; what they come back with is a session of theirs.
#[tokio::test]
async fn a_crowd_that_comes_back_resumes_its_sessions() {
    let site = Site::start().await;
    let storm = "storm --sockets 20 --people 5 --reconnects 2 --secret-file data/secret";
    let done = site
        .bench(
            "wss",
            &format!("{storm} --ca-file ca.pem --json=storm.json"),
        )
        .await;
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let report = site.report("storm.json");
    let tls = tls_of(&report);
    assert_eq!(tls["handshakes"], 60);
    assert_eq!(tls["resumed"], 40);
}
