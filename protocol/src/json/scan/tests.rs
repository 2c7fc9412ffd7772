#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::json::validate;

fn kind(text: &str) -> JsonErrorKind {
    validate(text).unwrap_err().kind
}

#[test]
fn white_space_is_allowed_around_the_value_only_and_not_part_of_it() {
    assert_eq!(validate(" \t\r\n{ \"a\" : [ 1 , 2 ] } \n"), Ok(4..23));
    assert_eq!(kind("{}x"), JsonErrorKind::UnexpectedByte);
    assert_eq!(kind("{} {}"), JsonErrorKind::UnexpectedByte);
    assert_eq!(kind("\u{a0}{}"), JsonErrorKind::UnexpectedByte);
}

#[test]
fn values_that_end_too_early() {
    for text in [
        "", "  ", "{", "[", "[1,", "{\"a\"", "{\"a\":", "{\"a\":1", "\"abc",
    ] {
        assert_eq!(kind(text), JsonErrorKind::UnexpectedEnd, "{text}");
    }
}

#[test]
fn punctuation_in_the_wrong_place() {
    for text in [
        "[1 2]",
        "[,1]",
        "[1,]",
        "{,}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{1:2}",
        "]",
        "[}",
    ] {
        assert_eq!(kind(text), JsonErrorKind::UnexpectedByte, "{text}");
    }
}

#[test]
fn numbers_follow_the_grammar() {
    for text in [
        "0", "-0", "10", "1.5", "-0.0e+10", "1E-7", "1e308", "0e9999",
    ] {
        assert_eq!(validate(text), Ok(0..text.len()), "{text}");
    }
    for text in [
        "-", "01", "-01", "1.", "1.e2", "1e", "1e+", "-a", "1e999", "-1e999",
    ] {
        assert_eq!(kind(text), JsonErrorKind::Number, "{text}");
    }
    for text in ["+1", ".5", "NaN", "Infinity", "0x10", "1f"] {
        assert_eq!(kind(text), JsonErrorKind::UnexpectedByte, "{text}");
    }
}

#[test]
fn integers_have_no_bound() {
    let text = "9".repeat(5000);
    assert_eq!(validate(&text), Ok(0..5000));
}

#[test]
fn words_are_exact() {
    for text in ["tru", "True", "nul", "falsey", "nulll", "truefalse"] {
        assert_eq!(kind(text), JsonErrorKind::UnexpectedByte, "{text}");
    }
}

#[test]
fn escapes_are_checked() {
    for text in [
        r#""\"\\\/\b\f\n\r\tAé""#,
        r#""\ud83d\ude00""#,
        r#""\uDBFF\uDFFF""#,
    ] {
        assert_eq!(validate(text), Ok(0..text.len()), "{text}");
    }
    for text in [
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        r#""\U0041""#,
    ] {
        assert_eq!(kind(text), JsonErrorKind::Escape, "{text}");
    }
}

#[test]
fn half_a_surrogate_pair_stands_for_nothing() {
    for text in [
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\ud83d\u0041""#,
        r#""\ud83d\ud83d""#,
        r#""\ude00""#,
        r#""\ude00\ud83d""#,
        r#"{"\udfff":1}"#,
    ] {
        assert_eq!(kind(text), JsonErrorKind::LoneSurrogate, "{text}");
    }
}

#[test]
fn control_characters_have_to_be_escaped() {
    for text in ["\"a\nb\"", "\"\u{0}\"", "\"\u{1f}\"", "{\"\t\":1}"] {
        assert_eq!(kind(text), JsonErrorKind::ControlCharacter, "{text:?}");
    }
    assert!(validate("\"\u{7f}\u{2028}\"").is_ok());
}

#[test]
fn an_error_says_where() {
    let error = validate(r#"{"a":[1,tru]}"#).unwrap_err();
    assert_eq!(error.to_string(), "unexpected character in JSON at byte 8");
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn depth_is_limited_without_recursion() {
    assert!(validate(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(kind(&nested(MAX_DEPTH + 1)), JsonErrorKind::TooDeep);
    assert_eq!(kind(&"[".repeat(1_000_000)), JsonErrorKind::TooDeep);
    assert_eq!(kind(&"{\"a\":".repeat(100_000)), JsonErrorKind::TooDeep);
}

#[test]
fn arrays_and_objects_are_told_apart_at_every_depth() {
    let open = "[{\"a\":".repeat(MAX_DEPTH / 2);
    let close = "}]".repeat(MAX_DEPTH / 2);
    assert!(validate(&format!("{open}1{close}")).is_ok());
    let wrong = format!("{}]}}", &close[..close.len() - 2]);
    assert_eq!(
        kind(&format!("{open}1{wrong}")),
        JsonErrorKind::UnexpectedByte
    );
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Text that looks like JSON: the grammar's own characters, in any order.
fn json_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\"a\"", "\\u", "d83d", "\\ude00", "0", "-", "1",
        ".", "e", "E+", "true", "false", "null", " ", "\n", "é", "\\n", "\u{1}",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_valid(value in json_value(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.unwrap();
        prop_assert_eq!(validate(&text), Ok(0..text.len()));
    }

    #[test]
    fn serde_json_takes_what_is_valid_and_no_other_text(text in json_like()) {
        let ours = validate(&text).map(drop);
        let theirs = serde_json::from_str::<Value>(&text).map(drop);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?} {:?}", text, ours, theirs);
    }
}
