//! Devices that nobody uses any more are forgotten, with their cursors: what waits for a device that
//! never comes back must not wait for ever.
//!
//! In use is what has a socket, joins, or acknowledges. A device that was forgotten has no place, and
//! is told so when it joins, as any other whose place is not known.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use quikapp_storage::{DeviceId, Person, StoreError, Timestamp};

use super::{Config, handle::Shared};

/// A device of a person was used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Used {
    pub(super) person: Person,
    pub(super) device: DeviceId,
    /// By an acknowledgement, which makes it known, or else by a join, which does not.
    pub(super) is_known: bool,
}

/// The devices that have a socket here.
pub type InUse = Arc<dyn Fn() -> Vec<(Person, DeviceId)> + Send + Sync>;

/// Into so many parts the time is divided after which a device is forgotten: use is written down
/// once in each.
const PARTS: i64 = 64;
/// Devices that are forgotten in one go.
const MOST: usize = 100;
/// Devices of which is remembered that they are written down; beyond, all are once more.
const NOTED: usize = 65_536;
/// Devices that are written down in one go.
const PAGE: usize = 1_000;

/// What this process has written down to be in use, in the part of time that is now.
#[derive(Debug, Default)]
pub(super) struct Noted {
    part: Timestamp,
    devices: HashSet<Used>,
}

impl Noted {
    /// Those that are not written down yet.
    fn missing(&mut self, devices: Vec<Used>, part: Timestamp) -> Vec<Used> {
        if self.part != part || self.devices.len() >= NOTED {
            *self = Self {
                part,
                devices: HashSet::new(),
            };
        }
        let is_new = |it: &Used| !self.devices.contains(it);
        devices.into_iter().filter(is_new).collect()
    }
}

/// Devices are in use. Theirs who have too many by now lose some, which only an acknowledgement can
/// bring about.
pub(super) async fn note(shared: &Shared, devices: Vec<Used>) -> Result<(), StoreError> {
    let part = end_of_part(&shared.config, shared.clock.now());
    let missing = shared.noted.lock().missing(devices, part);
    for some in missing.chunks(PAGE) {
        let devices = some.iter().map(|it| (it.person.clone(), it.device.clone()));
        shared.store.devices_used(devices.collect(), part).await?;
        let mut of_people: HashMap<&Person, Vec<DeviceId>> = HashMap::new();
        for used in some.iter().filter(|it| it.is_known) {
            let in_hand = of_people.entry(&used.person).or_default();
            in_hand.push(used.device.clone());
        }
        for (person, in_hand) in of_people {
            let most = shared.config.devices_per_person;
            let gone = shared.store.forget_excess_devices(person, most, &in_hand);
            match gone.await? {
                0 => {}
                gone => forgotten(shared, person, "too_many", gone),
            }
        }
        shared.noted.lock().devices.extend(some.iter().cloned());
    }
    Ok(())
}

/// Forgets what is not used, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut noted = None;
    loop {
        match round(&shared, &mut noted).await {
            Ok(MOST..) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "devices that nobody uses stay"),
        }
        tokio::time::sleep(shared.config.timer_poll * 60).await;
    }
}

/// One go; how many devices it was. Nothing is forgotten before it is written down what is in use
/// here; `noted` is the part in which that was done last.
pub(super) async fn round(
    shared: &Shared,
    noted: &mut Option<Timestamp>,
) -> Result<usize, StoreError> {
    let now = shared.clock.now();
    let part = end_of_part(&shared.config, now);
    if *noted != Some(part) {
        let devices = shared.in_use.get().map(|in_use| in_use());
        for some in devices.unwrap_or_default().chunks(PAGE) {
            shared.store.devices_used(some.to_vec(), part).await?;
        }
        *noted = Some(part);
    }
    let before = Timestamp(now.0.saturating_sub(ttl_ms(&shared.config)));
    let whose = shared.store.forget_unused_devices(before, now, MOST);
    let whose = whose.await?;
    for person in &whose {
        forgotten(shared, person, "unused", 1);
    }
    Ok(whose.len())
}

/// Forgets one device; whether it was known.
pub(super) async fn forget(
    shared: &Shared,
    person: &Person,
    device: &DeviceId,
) -> Result<bool, StoreError> {
    let was_known = shared.store.forget_device(person, device).await?;
    // Once more where it was forgotten before: whoever did that may have died at this point.
    forgotten(shared, person, "removed", was_known.into());
    Ok(was_known)
}

/// What waited only for devices that are gone goes, too.
fn forgotten(shared: &Shared, person: &Person, reason: &'static str, devices: u64) {
    metrics::counter!("quikapp_devices_forgotten_total", "reason" => reason).increment(devices);
    shared.acks.add(person, None);
}

/// Later than `now`, so that a device is never forgotten too early.
fn end_of_part(config: &Config, now: Timestamp) -> Timestamp {
    let part = (ttl_ms(config) / PARTS).max(1);
    Timestamp((now.0 / part + 1).saturating_mul(part))
}

fn ttl_ms(config: &Config) -> i64 {
    i64::try_from(config.queue_ttl_ms()).unwrap_or(i64::MAX)
}
