#![allow(clippy::unwrap_used)]

mod quiet;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::{patch::FIELDS, *};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("no object: {other}"),
    }
}

/// What a patch makes of preferences.
fn patched(preferences: &Preferences, patch: Value) -> Result<Preferences, Unfit> {
    preferences.patched(&object(patch))
}

/// The preferences after patches from the defaults on.
fn after(patches: impl IntoIterator<Item = Value>) -> Preferences {
    let apply = |preferences: Preferences, patch| patched(&preferences, patch).unwrap();
    patches.into_iter().fold(Preferences::default(), apply)
}

fn shown(preferences: &Preferences) -> Value {
    serde_json::to_value(preferences).unwrap()
}

fn night() -> Value {
    json!({"from": "22:00", "to": "07:00", "time_zone": "Europe/Berlin"})
}

#[test]
fn what_is_not_said_is_the_default() {
    let defaults = json!({
        "notify": "all", "threads": true, "previews": "full",
        "quiet_hours": null, "locale": null, "app": null,
    });
    assert_eq!(shown(&Preferences::default()), defaults);
    assert_eq!(Preferences::of(None), Preferences::default());
    let later = r#"{"notify": "nothing", "from_a_later_version": 1}"#.into();
    let read = Preferences::of(Some(&later));
    assert_eq!((read.notify, read.threads), (Notify::Nothing, true));
}

/// Of a field that cannot be read the default is taken, and of nothing else; what stood there stays
/// until somebody changes it.
#[test]
fn what_a_later_version_has_written_is_neither_in_the_way_nor_lost() {
    let mut hours = night();
    hours["time_zone"] = "Mars/Olympus_Mons".into();
    let written = json!({
        "notify": "now_and_then", "previews": "none", "quiet_hours": hours, "more": [1],
    });
    let written = written.to_string().into();
    let read = Preferences::of(Some(&written));
    assert_eq!((read.notify, read.previews), (Notify::All, Previews::None));
    assert!(read.quiet_hours.is_some());
    let patch = json!({"locale": "de"});
    let patched = read.patched(patch.as_object().unwrap()).unwrap();
    let after: Value = serde_json::from_str(&patched.written_over(Some(&written))).unwrap();
    let expected = json!({
        "notify": "now_and_then", "previews": "none", "quiet_hours": hours, "more": [1],
        "locale": "de", "threads": true, "app": null,
    });
    assert_eq!(after, expected);
    let broken = "[1]".into();
    assert_eq!(Preferences::of(Some(&broken)), Preferences::default());
}

#[test]
fn a_patch_changes_what_it_names_and_null_restores_the_default() {
    let first = after([
        json!({"notify": "direct_and_mentions", "threads": false, "quiet_hours": night()}),
        json!({"quiet_hours": {"to": "08:30", "days": ["sun", "mon", "sun"]}}),
    ]);
    let hours = json!({
        "from": "22:00", "to": "08:30", "days": ["mon", "sun"], "time_zone": "Europe/Berlin",
    });
    assert_eq!(shown(&first)["quiet_hours"], hours);
    assert_eq!(shown(&first)["notify"], "direct_and_mentions");
    let second = patched(
        &first,
        json!({"notify": null, "quiet_hours": {"days": null}}),
    );
    let second = second.unwrap();
    assert_eq!((second.notify, second.threads), (Notify::All, false));
    assert_eq!(second.quiet_hours.as_ref().unwrap().days, Days::ALL);
    let third = patched(&second, json!({"quiet_hours": null, "threads": null}));
    assert_eq!(third.unwrap(), Preferences::default());
    assert_eq!(patched(&first, json!({})).unwrap(), first);
}

/// The examples of RFC 7396, appendix A, within what is opaque.
#[test]
fn what_is_opaque_is_merged_as_the_rfc_says() {
    let table = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
    ];
    for (target, patch, result) in table {
        let app = after([json!({"app": target}), json!({"app": patch.clone()})]);
        assert_eq!(shown(&app)["app"], result, "{patch}");
    }
    let names = json!({"quietHours": {"timeZone": 1}, "notify": "x"});
    let app = after([json!({"app": names.clone()})]);
    assert_eq!(shown(&app)["app"], names, "nothing of it is read");
}

#[test]
fn names_may_be_in_camel_case() {
    let patch =
        json!({"quietHours": {"from": "22:00", "to": "07:00", "timeZone": "europe/berlin"}});
    let hours = after([patch]).quiet_hours.unwrap();
    assert_eq!(hours.time_zone, "Europe/Berlin", "as the database has it");
    let both = after([json!({"quietHours": null, "quiet_hours": night()})]);
    assert!(both.quiet_hours.is_some());
}

#[test]
fn what_does_not_fit_is_named() {
    let deep = (0..32).fold(json!(1), |inner, _| json!([inner]));
    let hours = |field: &str, value: Value| {
        let mut hours = night();
        hours[field] = value;
        json!({"quiet_hours": hours})
    };
    let table = [
        (json!({"colour": 1}), "colour"),
        (json!({"colour": null}), "colour"),
        (hours("until", json!("08:00")), "quiet_hours.until"),
        (json!({"notify": "loud"}), "notify"),
        (json!({"threads": "yes"}), "threads"),
        (json!({"previews": 1}), "previews"),
        (json!({"quiet_hours": "always"}), "quiet_hours"),
        (json!({"quiet_hours": {"from": "22:00"}}), "quiet_hours.to"),
        (hours("from", json!("24:00")), "quiet_hours.from"),
        (hours("from", json!("7:00")), "quiet_hours.from"),
        (hours("from", json!("+7:00")), "quiet_hours.from"),
        (hours("from", json!("0a:00")), "quiet_hours.from"),
        (hours("to", json!("07:60")), "quiet_hours.to"),
        (hours("to", json!("22:00")), "quiet_hours.to"),
        (hours("to", json!(null)), "quiet_hours.to"),
        (hours("days", json!([])), "quiet_hours.days"),
        (hours("days", json!(["mon", "day"])), "quiet_hours.days[1]"),
        (
            hours("time_zone", json!("Mars/Base")),
            "quiet_hours.time_zone",
        ),
        (
            hours("time_zone", json!("Etc/Unknown")),
            "quiet_hours.time_zone",
        ),
        (hours("time_zone", json!("+02:00")), "quiet_hours.time_zone"),
        (
            hours("time_zone", json!("../etc/passwd")),
            "quiet_hours.time_zone",
        ),
        (json!({"locale": ""}), "locale"),
        (json!({"locale": "d"}), "locale"),
        (json!({"locale": "de_DE"}), "locale"),
        (json!({"locale": "de-"}), "locale"),
        (json!({"locale": "1-de"}), "locale"),
        (json!({"locale": "de-abcdefghi"}), "locale"),
        (
            json!({"locale": format!("de{}", "-abcdefg".repeat(5))}),
            "locale",
        ),
        (json!({"app": [1]}), "app"),
        (json!({"app": {"a": "x".repeat(4_090)}}), "app"),
        (json!({"app": {"a": deep}}), "app"),
    ];
    for (patch, field) in table {
        let refused = patched(&Preferences::default(), patch.clone()).unwrap_err();
        assert_eq!(refused.field, field, "{patch}: {refused}");
    }
}

#[test]
fn what_just_fits_is_kept() {
    let deep = (0..31).fold(json!(1), |inner, _| json!([inner]));
    let table = [
        json!({"locale": "de"}),
        json!({"locale": "zh-Hant-TW"}),
        json!({"locale": "sl-rozaj-biske-1994-a-extend-x-priv"}),
        json!({"app": {"a": "x".repeat(4_088)}}),
        json!({"app": {"a": deep}}),
        json!({"app": {}}),
    ];
    for patch in table {
        let kept = shown(&after([patch.clone()]));
        let (field, value) = object(patch).into_iter().next().unwrap();
        assert_eq!(kept[&field], value);
    }
}

/// What was kept is read back, by the largest document as well.
#[test]
fn a_document_is_read_as_it_was_written() {
    let deep = (0..31).fold(json!(1), |inner, _| json!([inner]));
    let preferences = after([json!({
        "notify": "nothing", "threads": false, "previews": "sender", "locale": "de-AT",
        "quiet_hours": night(), "app": {"a": deep, "b": "x".repeat(3_900)},
    })]);
    let document = preferences.document();
    assert_eq!(Preferences::of(Some(&document)), preferences);
    assert!(document.len() < 5_000);
}

/// Words that mean something, and one that does not.
const WORDS: [&str; 8] = [
    "all", "sender", "22:00", "07:30", "mon", "UTC", "de", "nonsense",
];

/// Any JSON, of words that may fit where they stand.
fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(WORDS.to_vec()).prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        let names = vec(
            select(vec!["from", "to", "days", "time_zone", "timeZone", "x"]),
            0..5,
        );
        let members = names.prop_flat_map({
            let inner = inner.clone();
            move |names| (Just(names.clone()), vec(inner.clone(), names.len()))
        });
        let object = members.prop_map(|(names, values)| {
            let names = names.into_iter().map(str::to_owned);
            Value::Object(names.zip(values).collect())
        });
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    })
}

/// Patches, of which many fit.
fn any_patch() -> impl Strategy<Value = Map<String, Value>> {
    let hours = || {
        let time = || {
            select(vec![
                json!("22:00"),
                json!("07:30"),
                json!(null),
                json!("7"),
            ])
        };
        let days = select(vec![json!(["fri", "mon"]), json!([]), json!(null)]);
        (time(), time(), days).prop_map(
            |(from, to, days)| json!({"from": from, "to": to, "days": days, "timeZone": "utc"}),
        )
    };
    let member = prop_oneof![
        4 => select(vec!["all", "nothing", "x"]).prop_map(|it| ("notify", json!(it))),
        4 => any::<bool>().prop_map(|it| ("threads", json!(it))),
        4 => hours().prop_map(|it| ("quiet_hours", it)),
        4 => any_json().prop_map(|it| ("app", json!({"a": it.clone(), "b": {"c": it}}))),
        1 => select(FIELDS.to_vec()).prop_flat_map(|name| (Just(name), any_json())),
        2 => select(FIELDS.to_vec()).prop_map(|name| (name, Value::Null)),
    ];
    let members = vec(member, 0..5);
    members.prop_map(|all| {
        all.into_iter()
            .map(|(name, it)| (name.to_owned(), it))
            .collect()
    })
}

proptest! {
    /// Whatever the patches are: what comes of them is read back as it is, and the last one,
    /// applied again, changes nothing.
    #[test]
    fn patches_can_be_repeated_and_what_they_make_can_be_kept(patches in vec(any_patch(), 1..6)) {
        let mut preferences = Preferences::default();
        for patch in &patches {
            let Ok(patched) = preferences.patched(patch) else {
                continue;
            };
            prop_assert_eq!(&patched.patched(patch).unwrap(), &patched);
            let read = Preferences::of(Some(&patched.document()));
            prop_assert_eq!(&read, &patched);
            preferences = patched;
        }
    }
}
