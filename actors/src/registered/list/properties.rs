//! After whatever was asked: never more than ten, each once, in the order of registration; who is
//! connected stays.

use proptest::prelude::*;

use super::*;

const NAMES: u8 = 14;

type Connected = Vec<u8>;
type LastUsed = Vec<(u8, i64)>;

#[derive(Debug, Clone)]
enum Step {
    Register {
        name: u8,
        replacing: Option<(Connected, LastUsed)>,
    },
    Update {
        name: u8,
        said: Option<u8>,
    },
    Touch {
        name: u8,
    },
    Remove {
        name: u8,
    },
    Later {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES;
    let connected = prop::collection::vec(0..NAMES, 0..8);
    let used = prop::collection::vec((0..NAMES, 0..DAY), 0..8);
    prop_oneof![
        6 => (name.clone(), prop::option::of((connected, used)))
            .prop_map(|(name, replacing)| Step::Register { name, replacing }),
        1 => (name.clone(), prop::option::of(0..3_u8))
            .prop_map(|(name, said)| Step::Update { name, said }),
        1 => name.clone().prop_map(|name| Step::Touch { name }),
        1 => name.prop_map(|name| Step::Remove { name }),
        1 => (0..2 * DAY).prop_map(|ms| Step::Later { ms }),
    ]
}

fn id(name: u8) -> DeviceId {
    DeviceId::new(name.to_string()).expect("an id")
}

fn details(said: Option<u8>) -> Details {
    Details {
        name: Some(said.map(|it| it.to_string())),
        ..Details::default()
    }
}

fn ids(list: &Registered) -> Vec<DeviceId> {
    let devices = list.devices().iter();
    devices.map(|device| device.device_id.clone()).collect()
}

/// What the list has to be: who leaves, leaves; who comes, comes last.
fn expected(before: &[DeviceId], new: &DeviceId, replaced: Option<&DeviceId>) -> Vec<DeviceId> {
    let stay = before.iter().filter(|it| Some(*it) != replaced);
    stay.chain([new]).cloned().collect()
}

fn register(list: &mut Registered, name: u8, replacing: Option<&Activity>, now: Timestamp) {
    let before = ids(list);
    let registration = Registration {
        device_id: id(name),
        platform: Platform::Other,
        details: Details::default(),
    };
    match list.register(registration, replacing, now) {
        Ok(Registering::Known) => {
            assert!(before.contains(&id(name)));
            assert_eq!(ids(list), before);
        }
        Ok(Registering::New { replaced }) => {
            assert!(!before.contains(&id(name)));
            assert_eq!(replaced.is_some(), before.len() == MAX_DEVICES);
            if let Some(replaced) = &replaced {
                let activity = replacing.expect("it was asked for");
                assert!(!activity.connected.contains(replaced));
            }
            assert_eq!(ids(list), expected(&before, &id(name), replaced.as_ref()));
        }
        Err(Full) => {
            assert_eq!(before.len(), MAX_DEVICES);
            let connected = |it: &DeviceId| {
                let activity = replacing.expect("it was asked for");
                activity.connected.contains(it)
            };
            assert!(replacing.is_none() || before.iter().all(connected));
            assert_eq!(ids(list), before);
        }
    }
}

proptest! {
    #[test]
    fn a_list_is_short_and_has_each_device_once(steps in prop::collection::vec(step(), 0..80)) {
        let mut list = Registered::default();
        let mut now = Timestamp(0);
        for step in steps {
            let before = ids(&list);
            match step {
                Step::Register { name, replacing } => {
                    let activity = replacing.map(|(connected, used)| Activity {
                        connected: connected.into_iter().map(id).collect(),
                        last_used: used
                            .into_iter()
                            .map(|(name, at)| (id(name), Timestamp(at)))
                            .collect(),
                    });
                    register(&mut list, name, activity.as_ref(), now);
                }
                Step::Update { name, said } => {
                    let updated = list.update(&id(name), &details(said), now);
                    prop_assert_eq!(updated.is_ok(), before.contains(&id(name)));
                    prop_assert_eq!(&ids(&list), &before);
                }
                Step::Touch { name } => {
                    let touched = list.touch(&id(name), now);
                    prop_assert_eq!(touched.is_ok(), before.contains(&id(name)));
                    prop_assert_eq!(&ids(&list), &before);
                }
                Step::Remove { name } => {
                    prop_assert_eq!(list.remove(&id(name)), before.contains(&id(name)));
                    prop_assert!(list.get(&id(name)).is_none());
                }
                Step::Later { ms } => now.0 += ms,
            }
            prop_assert!(list.devices().len() <= MAX_DEVICES);
            let mut each = ids(&list);
            each.sort();
            each.dedup();
            prop_assert_eq!(each.len(), list.devices().len());
            for device in list.devices() {
                prop_assert!(device.registered_at <= device.updated_at && device.updated_at <= now);
            }
            let read: Registered = serde_json::from_str(&serde_json::to_string(&list).unwrap_or_default())
                .expect("what is written is read");
            prop_assert_eq!(&read, &list);
        }
    }
}
