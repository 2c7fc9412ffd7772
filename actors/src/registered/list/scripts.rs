//! The list, step by step.
#![allow(clippy::unwrap_used)]

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn id(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

fn phone(name: &str) -> Registration {
    Registration {
        device_id: id(name),
        platform: Platform::Ios,
        details: Details::default(),
    }
}

fn called(name: &str) -> Details {
    Details {
        name: Some(Some(name.to_owned())),
        ..Details::default()
    }
}

/// As many as there may be, `d0` first, one each millisecond.
fn full() -> Registered {
    let mut list = Registered::default();
    for (ms, nth) in (0..).zip(0..MAX_DEVICES) {
        let registered = list.register(phone(&format!("d{nth}")), None, at(ms));
        assert_eq!(registered, Ok(Registering::New { replaced: None }));
    }
    list
}

fn ids(list: &Registered) -> Vec<&str> {
    let devices = list.devices().iter();
    devices.map(|device| device.device_id.as_str()).collect()
}

#[test]
fn registering_again_says_what_is_new_and_keeps_the_rest() {
    let mut list = Registered::default();
    let first = Registration {
        details: Details {
            app_version: Some(Some("1.0".to_owned())),
            ..called("Ann's phone")
        },
        ..phone("a")
    };
    list.register(first, None, NOW).unwrap();
    list.register(phone("b"), None, at(1)).unwrap();
    let again = Registration {
        platform: Platform::Android,
        details: Details {
            app_version: Some(Some("2.0".to_owned())),
            ..Details::default()
        },
        ..phone("a")
    };
    let registered = list.register(again.clone(), None, at(2));
    assert_eq!(registered, Ok(Registering::Known));
    let device = list.get(&id("a")).unwrap().clone();
    assert_eq!(device.name.as_deref(), Some("Ann's phone"));
    assert_eq!(device.app_version.as_deref(), Some("2.0"));
    assert_eq!(device.platform, Platform::Android);
    assert_eq!((device.registered_at, device.updated_at), (NOW, at(2)));
    assert_eq!(ids(&list), ["a", "b"]);

    // The same once more is no change, until a day has gone by.
    let before = list.clone();
    list.register(again.clone(), None, at(DAY)).unwrap();
    assert_eq!(list, before);
    list.register(again, None, at(2 + DAY)).unwrap();
    assert_eq!(list.get(&id("a")).unwrap().updated_at, at(2 + DAY));
}

#[test]
fn what_is_said_can_be_taken_back() {
    let mut list = Registered::default();
    list.register(phone("a"), None, NOW).unwrap();
    list.update(&id("a"), &called("mine"), at(1)).unwrap();
    assert_eq!(list.get(&id("a")).unwrap().name.as_deref(), Some("mine"));
    list.update(&id("a"), &called("mine"), at(2)).unwrap();
    assert_eq!(list.get(&id("a")).unwrap().updated_at, at(1), "no change");
    let taken_back = Details {
        name: Some(None),
        ..Details::default()
    };
    list.update(&id("a"), &taken_back, at(3)).unwrap();
    assert_eq!(list.get(&id("a")).unwrap().name, None);
    assert_eq!(list.update(&id("b"), &called("x"), NOW), Err(Unknown));
    assert_eq!(list.touch(&id("b"), NOW), Err(Unknown));
}

#[test]
fn the_eleventh_is_refused_unless_one_may_be_replaced() {
    let mut list = full();
    let before = list.clone();
    assert_eq!(list.register(phone("new"), None, at(99)), Err(Full));
    assert_eq!(list, before);
    // Who is there needs no room.
    let known = list.register(phone("d3"), None, at(99));
    assert_eq!(known, Ok(Registering::Known));

    // The first is connected, the second was used; the third goes.
    let activity = Activity {
        connected: vec![id("d0")],
        last_used: HashMap::from([(id("d1"), at(50)), (id("d2"), at(-50))]),
    };
    let replaced = list.register(phone("new"), Some(&activity), at(100));
    let expected = Registering::New {
        replaced: Some(id("d2")),
    };
    assert_eq!(replaced, Ok(expected));
    let now = ["d0", "d1", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "new"];
    assert_eq!(ids(&list), now);
}

#[test]
fn who_is_connected_is_never_replaced() {
    let mut list = full();
    let all = list.devices().iter().map(|it| it.device_id.clone());
    let everybody = Activity {
        connected: all.collect(),
        ..Activity::default()
    };
    let before = list.clone();
    assert_eq!(
        list.register(phone("new"), Some(&everybody), at(99)),
        Err(Full)
    );
    assert_eq!(list, before);
}

#[test]
fn a_device_that_says_it_is_in_use_is_written_down_once_a_day() {
    let mut list = full();
    let before = list.clone();
    list.touch(&id("d0"), at(DAY - 1)).unwrap();
    assert_eq!(list, before);
    list.touch(&id("d0"), at(DAY)).unwrap();
    let activity = Activity::default();
    list.register(phone("new"), Some(&activity), at(DAY))
        .unwrap();
    assert!(list.get(&id("d0")).is_some() && list.get(&id("d1")).is_none());
}

#[test]
fn removing_makes_room() {
    let mut list = full();
    assert!(list.remove(&id("d4")));
    assert!(!list.remove(&id("d4")));
    assert!(list.register(phone("new"), None, NOW).is_ok());
}

/// Documents outlive the program that wrote them; what a later one adds is read over.
#[test]
fn the_document_is_a_list_of_devices() {
    let mut list = Registered::default();
    let registration = Registration {
        details: called("é"),
        ..phone("a")
    };
    list.register(registration, None, NOW).unwrap();
    let text = r#"[{"device_id":"a","platform":"ios","name":"é","registered_at":"2027-01-15T08:00:00.000Z","updated_at":"2027-01-15T08:00:00.000Z"}]"#;
    assert_eq!(serde_json::to_string(&list).unwrap(), text);
    let later = text.replace(r#""name""#, r#""colour":"red","name""#);
    assert_eq!(serde_json::from_str::<Registered>(&later).unwrap(), list);
    let later = text.replace("ios", "watch");
    let read: Registered = serde_json::from_str(&later).unwrap();
    assert_eq!(read.get(&id("a")).unwrap().platform, Platform::Other);
}

#[test]
fn what_is_said_has_a_length_and_no_control_characters() {
    let checked = |name: &str| called(name).checked();
    assert_eq!(checked(" Ann's phone\n").unwrap(), called("Ann's phone"));
    assert!(checked(&"ü".repeat(64)).is_ok());
    for refused in ["", "  ", "a\tb", "a\u{0}b", &"ü".repeat(65)] {
        assert_eq!(checked(refused).unwrap_err().field, "name", "{refused:?}");
    }
    let model = Details {
        model: Some(Some(String::new())),
        ..Details::default()
    };
    assert_eq!(model.checked().unwrap_err().field, "model");
    let nothing = Details {
        name: Some(None),
        ..Details::default()
    };
    assert_eq!(nothing.clone().checked(), Ok(nothing));
}
