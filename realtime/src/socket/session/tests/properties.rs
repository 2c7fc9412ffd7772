//! Whatever clients send, each topic answers in order, once, and nothing panics.

use proptest::prelude::*;
use serde_json::json;

use super::app::app;
use crate::testing::{Received, TestClient};

#[derive(Debug, Clone, Copy)]
enum Step {
    Join(u8),
    JoinSlowly(u8),
    Leave(u8),
    Echo(u8),
    Say(u8),
    Wait(u8),
    Panic(u8),
    /// Lets one handler that waits go on.
    Release,
    /// Lets the server come to rest.
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = 0..3_u8;
    let step = prop_oneof![
        3 => topic.clone().prop_map(Step::Join),
        1 => topic.clone().prop_map(Step::JoinSlowly),
        2 => topic.clone().prop_map(Step::Leave),
        6 => topic.clone().prop_map(Step::Echo),
        4 => topic.clone().prop_map(Step::Say),
        2 => topic.clone().prop_map(Step::Wait),
        1 => topic.prop_map(Step::Panic),
        3 => Just(Step::Release),
        2 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..60)
}

/// What was asked on a topic: the ref, and whether an answer must come.
#[derive(Default)]
struct Asked(Vec<(u8, u64, bool)>);

impl Asked {
    fn of(&self, topic: u8) -> impl Iterator<Item = &(u8, u64, bool)> {
        self.0.iter().filter(move |(of, ..)| *of == topic)
    }
}

async fn run(steps: Vec<Step>) -> (Asked, Vec<Received>) {
    let (mount, levers) = app();
    let mut client = TestClient::connect(&mount).await;
    let mut asked = Asked::default();
    let mut got = Vec::new();
    for (n, step) in steps.into_iter().enumerate() {
        let (topic, event, params) = match step {
            Step::Release => {
                levers.gate.add_permits(1);
                continue;
            }
            Step::Settle => {
                got.extend(client.so_far().await);
                continue;
            }
            Step::Join(topic) => (topic, "phx_join", json!({})),
            Step::JoinSlowly(topic) => (topic, "phx_join", json!({"wait": true})),
            Step::Leave(topic) => (topic, "phx_leave", json!({})),
            Step::Echo(topic) => (topic, "echo", json!({ "n": n })),
            Step::Say(topic) => (topic, "say", json!({ "n": n })),
            Step::Wait(topic) => (topic, "wait", json!({ "n": n })),
            Step::Panic(topic) => (topic, "panic", json!({})),
        };
        let name = format!("room:{topic}");
        let msg_ref = match event {
            "phx_join" => client.start_join(&name, params).await,
            event => client.start_push(&name, event, params).await,
        };
        asked
            .0
            .push((topic, msg_ref.parse().unwrap(), event != "panic"));
    }
    levers.gate.add_permits(1000);
    for topic in 0..3 {
        let last = client
            .push(&format!("room:{topic}"), "phx_leave", json!({}))
            .await;
        last.ok();
    }
    got.extend(client.so_far().await);
    (asked, got)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_topic_answers_in_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (asked, got) = runtime.block_on(run(steps));
        for topic in 0..3 {
            let name = format!("room:{topic}");
            let of_topic: Vec<_> = got.iter().filter(|got| got.topic == name).collect();
            let answered: Vec<u64> = of_topic
                .iter()
                .filter(|got| got.event == "phx_reply")
                .map(|got| got.msg_ref.as_str().unwrap().parse().unwrap())
                .collect();
            prop_assert!(answered.is_sorted(), "out of order: {answered:?}");
            for (_, msg_ref, must_answer) in asked.of(topic) {
                let answers = answered.iter().filter(|answered| *answered == msg_ref).count();
                prop_assert!(answers <= 1 && (answers == 1 || !must_answer), "{msg_ref}: {answers}");
            }
            let said: Vec<u64> = of_topic
                .iter()
                .filter(|got| got.event == "said")
                .map(|got| got.payload["n"].as_u64().unwrap())
                .collect();
            prop_assert!(said.is_sorted(), "broadcasts out of order: {said:?}");
        }
    }

    #[test]
    fn junk_never_panics(frames in prop::collection::vec(".{0,60}", 1..10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mount, _) = app();
            let mut client = TestClient::connect(&mount).await;
            for frame in frames {
                client.send_raw(crate::socket::Inbound::Text(frame.into())).await;
            }
            client.close().await;
        });
    }
}
