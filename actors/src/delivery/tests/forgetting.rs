//! Devices that nobody uses are forgotten, and no person has more than so many.

use std::sync::Arc;

use quikapp_storage::DeviceId;

use super::kit::{Kit, eager, person};
use crate::delivery::Config;

const DAY_MS: i64 = 24 * 3_600_000;

async fn devices(kit: &Kit, name: &str) -> Vec<String> {
    let devices = kit.store.devices(&person(name)).await.unwrap();
    devices.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_device_that_is_silent_for_a_week_is_forgotten_unless_it_has_a_socket() {
    let kit = Kit::new().await;
    let id = kit.group(&["ann", "bob"]).await;
    let tablet = DeviceId::new("tablet").unwrap();
    let connected = (person("bob"), tablet.clone());
    let in_use = Arc::new(move || vec![connected.clone()]);
    kit.delivery.ask_for_devices(in_use);
    for device in ["phone", "tablet", "tv"] {
        kit.acknowledge("bob", device, &id, 1).await;
    }
    for day in 1..=9 {
        kit.clock.advance_ms(DAY_MS);
        // Others come and go; the phone joins each day.
        let phone = DeviceId::new("phone").unwrap();
        kit.delivery.device_joined(&person("bob"), &phone);
        kit.acknowledge("ann", "laptop", &id, 1).await;
        if day < 7 {
            assert_eq!(devices(&kit, "bob").await.len(), 3, "on day {day}");
        }
        kit.rounds_of_devices().await;
    }
    assert_eq!(devices(&kit, "bob").await, ["phone", "tablet"]);
    assert_eq!(devices(&kit, "ann").await, ["laptop"]);
}

#[tokio::test]
async fn beyond_so_many_the_device_that_was_used_earliest_is_forgotten() {
    let config = Config {
        devices_per_person: 3,
        ..eager()
    };
    let kit = Kit::with(config, Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    for visit in 1..=6 {
        kit.acknowledge("bob", &format!("visit-{visit}"), &id, 1)
            .await;
        kit.rounds_of_devices().await;
        kit.clock.advance_ms(DAY_MS / 2);
    }
    let kept = async || devices(&kit, "bob").await == ["visit-4", "visit-5", "visit-6"];
    kit.eventually("three are kept", kept).await;
}

#[tokio::test]
async fn a_device_in_hand_stays_whatever_others_were_used_meanwhile() {
    let config = Config {
        devices_per_person: 3,
        ..eager()
    };
    let kit = Kit::with(config, Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    // All at one moment, so that nothing but the name tells them apart.
    for device in ["c", "b", "a", "z"] {
        kit.acknowledge("bob", device, &id, 1).await;
        kit.rounds_of_devices().await;
    }
    let kept = async || devices(&kit, "bob").await.len() == 3;
    kit.eventually("three are kept", kept).await;
    assert!(devices(&kit, "bob").await.contains(&"z".to_owned()));
}

/// A client joins before it acknowledges, and only then is its device known.
#[tokio::test]
async fn a_device_that_has_joined_is_counted_once_it_acknowledges() {
    let config = Config {
        devices_per_person: 3,
        ..eager()
    };
    let kit = Kit::with(config, Vec::new()).await;
    let id = kit.group(&["ann", "bob"]).await;
    for visit in 1..=6 {
        let name = format!("visit-{visit}");
        let device = DeviceId::new(name.as_str()).unwrap();
        kit.delivery.device_joined(&person("bob"), &device);
        kit.rounds_of_devices().await;
        kit.acknowledge("bob", &name, &id, 1).await;
        kit.rounds_of_devices().await;
    }
    let kept = async || devices(&kit, "bob").await.len() == 3;
    kit.eventually("three are kept", kept).await;
}
