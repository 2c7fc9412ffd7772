//! Many at once: one who does not read costs the others nothing, and whom there is no room for is
//! told when to come again.

use std::{ffi::OsStr, time::Duration};

use futures_util::{SinkExt, StreamExt, future::join_all};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::{
    net::TcpSocket,
    sync::{Barrier, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    client_async, connect_async,
    tungstenite::{Error, Message},
};

use crate::support::{Client, Guest, Rest, Server};

/// Readers beside the stalled one: a thousand by `QUIKAPP_CROWDS=full`.
#[expect(clippy::disallowed_methods, reason = "a setting of the test")]
fn readers() -> usize {
    match std::env::var("QUIKAPP_CROWDS").as_deref() {
        Ok("full") => 1_000,
        _ => 20,
    }
}

/// A stalled reader is cut this soon.
const CUT_WITHIN: Duration = Duration::from_secs(30);
/// Everybody is back this soon.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// More than the kernel keeps for a reader that takes nothing.
const MESSAGES: u64 = 400;
const BYTES: usize = 48 * 1024;
/// What the process may grow by: the stalled one's queue and what all share, and a fraction of what
/// everything that was said would take.
const GROWTH: f64 = 10e6;
/// And what each who reads takes while it hears more than an idle one.
const OF_A_READER: u32 = 5_000;
/// After so many messages all who read have heard them before more is said: what waits for one of
/// them is far from what a reader is cut for, however slow the test itself reads.
const AT_ONCE: u64 = 8;
const ROOM: &str = "broadcast:crowd";
const MEMORY: &str = "quikapp_resident_memory_bytes";
const CUT: &str = "quikapp_slow_consumers_total";

/// A server whose allocator keeps nothing that is free, so that its memory is what is in use.
async fn serve(dir: &std::path::Path, name: &str, value: &str) -> Server {
    let settings = [(name, value), ("MIMALLOC_PURGE_DELAY", "0")];
    let settings = settings.map(|(name, value)| (name, OsStr::new(value)));
    let data = dir.join("data");
    Server::start_as(dir, &data, "127.0.0.1:0", &[], &settings).await
}

/// A socket of its own with a receive buffer that is soon full.
async fn stall(server: &Server, guest: &Guest) -> impl Sized + use<> {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    let tcp = tcp.connect(server.address().parse().unwrap()).await;
    let (mut socket, _) = client_async(url(server, guest), tcp.unwrap())
        .await
        .unwrap();
    let join = json!(["1", "1", ROOM, "phx_join", {}]).to_string();
    socket.send(Message::text(join)).await.unwrap();
    let joined = socket.next().await.unwrap().unwrap();
    assert!(joined.to_text().unwrap().contains("\"ok\""), "{joined}");
    socket
}

fn url(server: &Server, guest: &Guest) -> String {
    let (address, token) = (server.address(), &guest.token);
    format!("ws://{address}/socket/websocket?vsn=2.0.0&token={token}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_is_cut_and_the_others_hear_everything() {
    let dir = tempdir().unwrap();
    let server = serve(dir.path(), "QUIKAPP_SOCKET__OUTBOX__BYTES", "1048576").await;
    let rest = Rest::of(&server);
    let mut people = Vec::new();
    for number in 0..readers().div_ceil(25) {
        people.push(rest.guest(&format!("Reader {number}")).await);
    }
    let mut clients = Vec::new();
    for number in 0..readers() {
        let mut client = Client::connect(&server, &people[number / 25]).await;
        client.join(ROOM, json!({})).await;
        clients.push(client);
    }
    let speaker = rest.guest("Speaker").await;
    let mut speaking = Client::connect(&server, &speaker).await;
    speaking.join(ROOM, json!({ "self": false })).await;
    let _stalled = stall(&server, &rest.guest("Stalled").await).await;
    let before: f64 = rest.metric(MEMORY).await;
    let since = Instant::now();

    let all_heard = Barrier::new(readers() + 1);
    let pause = async |number| {
        if number % AT_ONCE == AT_ONCE - 1 {
            all_heard.wait().await;
        }
    };
    let speak = async {
        let text = "x".repeat(BYTES);
        for number in 0..MESSAGES {
            let said = json!({ "number": number, "text": text });
            speaking.done(ROOM, "say", said).await;
            pause(number).await;
        }
    };
    let hear = clients.iter_mut().map(async |client| {
        for number in 0..MESSAGES {
            let said: Value = client.expect(ROOM, "say").await;
            assert_eq!(said["number"], number);
            pause(number).await;
        }
    });
    let cut = async {
        while rest.metric::<u64>(CUT).await < 1 {
            sleep(Duration::from_millis(100)).await;
        }
        since.elapsed()
    };
    let cut = timeout(CUT_WITHIN, cut);
    let ((), _, cut) = tokio::join!(speak, join_all(hear), cut);
    println!(
        "{} readers; cut after {:?}",
        readers(),
        cut.expect("cut in time")
    );
    assert_eq!(rest.metric::<u64>(CUT).await, 1);
    let growth = rest.metric::<f64>(MEMORY).await - before;
    println!("grew by {growth} bytes");
    let others = f64::from(OF_A_READER) * f64::from(u32::try_from(readers()).unwrap());
    assert!(growth < GROWTH + others, "grew by {growth} bytes");
}

/// One who wants in, and comes again when told to. What is not an answer fails the test.
async fn come(server: &Server, guest: &Guest, refused: &Semaphore) -> u32 {
    let mut refusals = 0;
    loop {
        match connect_async(url(server, guest)).await {
            Ok((mut socket, _)) => {
                socket.close(None).await.unwrap();
                return refusals;
            }
            Err(Error::Http(answer)) => {
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                let hint = answer.headers().get("retry-after").expect("a hint");
                let seconds: u64 = hint.to_str().unwrap().parse().unwrap();
                refusals += 1;
                refused.add_permits(1);
                sleep(Duration::from_secs(seconds)).await;
            }
            Err(error) => panic!("neither in nor told why not: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_over_the_cap_is_told_when_to_come_again_and_gets_in() {
    const CAP: usize = 40;
    const CROWD: usize = 400;
    let dir = tempdir().unwrap();
    let cap = CAP.to_string();
    let server = serve(dir.path(), "QUIKAPP_ENDPOINT__MAX_CONNECTIONS", &cap).await;
    let mut people = Vec::new();
    for number in 0..CROWD.div_ceil(25) {
        let rest = Rest::of(&server);
        people.push(rest.guest(&format!("Somebody {number}")).await);
    }
    // They fill the node until the crowd is at the door.
    let mut inside = Vec::new();
    while let Ok((socket, _)) = connect_async(url(&server, &people[inside.len() / 25])).await {
        inside.push(socket);
    }
    assert!(inside.len() <= CAP);
    let refused = Semaphore::new(0);
    let crowd = (0..CROWD).map(|number| come(&server, &people[number / 25], &refused));
    let leave = async {
        let most = refused.acquire_many(CROWD as u32 / 2 + 1).await.unwrap();
        most.forget();
        for mut socket in inside {
            let _ = socket.close(None).await;
        }
    };
    let (refusals, ()) = timeout(BACK_WITHIN, async { tokio::join!(join_all(crowd), leave) })
        .await
        .expect("everybody is in");
    let times: u32 = refusals.iter().sum();
    println!("{CROWD} got in at a cap of {CAP}, refused {times} times");
}
