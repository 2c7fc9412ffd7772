//! Somebody who is removed from the first conversation and added again, over and over.

use std::{sync::Arc, time::Duration};

use quikapp_history::Change;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::{Phase, Shared, recorder::Outcome, rng::Rng};
use crate::support::Guest;

/// Between two attempts.
const BACK_OFF: Duration = Duration::from_millis(50);

pub(super) async fn come_and_go(shared: Arc<Shared>, owner: Guest, guest: Guest, mut rng: Rng) {
    let client = Client::builder()
        .timeout(shared.plan.patience)
        .build()
        .unwrap();
    let mut phase = shared.phase.subscribe();
    while shared.phase() == Phase::Load {
        change(&shared, &client, &owner, &guest, Change::Remove, &mut rng).await;
        // What is sent to everybody else meanwhile must not reach them once the bound is over.
        let away = shared.plan.bound + Duration::from_millis(500 + rng.below(500));
        let _ = tokio::time::timeout(away, phase.wait_for(|it| *it != Phase::Load)).await;
        change(&shared, &client, &owner, &guest, Change::Add, &mut rng).await;
        shared.returns.send_modify(|count| *count += 1);
        let back = Duration::from_millis(500 + rng.below(1000));
        let _ = tokio::time::timeout(back, phase.wait_for(|it| *it != Phase::Load)).await;
    }
    shared.quiet.send_modify(|count| *count += 1);
}

/// Asks until it is acknowledged.
async fn change(
    shared: &Shared,
    client: &Client,
    owner: &Guest,
    guest: &Guest,
    change: Change,
    rng: &mut Rng,
) {
    let conversation = &shared.conversations[0];
    loop {
        let server = shared.server(rng);
        let members = format!("{server}/api/conversations/{conversation}/members");
        let request = match change {
            Change::Remove => client.delete(format!("{members}/{}", guest.id)),
            Change::Add => client.post(members).json(&json!({ "members": [guest.id] })),
        };
        let op = shared.recorder.invoke_member(guest, conversation, change);
        let outcome = match request.bearer_auth(&owner.token).send().await {
            Ok(response) if response.status() == StatusCode::NO_CONTENT => Outcome::Ok {
                seq: None,
                id: None,
            },
            Ok(response) => match response.json::<Value>().await {
                Ok(problem) => {
                    shared.recorder.was_told(Some(&problem));
                    refusal(&problem)
                }
                Err(_) => Outcome::Unknown,
            },
            Err(_) => {
                shared.recorder.was_told(None);
                Outcome::Unknown
            }
        };
        let is_done = matches!(outcome, Outcome::Ok { .. });
        shared.recorder.outcome(op, outcome);
        if is_done {
            return;
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

/// Some refusals leave open what was done.
pub(super) fn refusal(response: &Value) -> Outcome {
    let reason = response["reason"].as_str().unwrap_or("none");
    match reason {
        "outcome_unknown" | "timeout" | "internal" | "channel_crash" | "join crashed" | "none" => {
            Outcome::Unknown
        }
        reason => Outcome::Refused(reason.to_owned()),
    }
}
