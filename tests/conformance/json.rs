//! Compares JSON by value, with the exactness a protocol needs: big integers are not rounded, an
//! object's first duplicate key counts (as in Phoenix), and a `phx_ref` is an opaque name.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A parsed JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    /// Sign, digits without leading and trailing zeros, and the exponent of ten behind them.
    Number(bool, String, i64),
    Text(String),
    List(Vec<Json>),
    /// Sorted by key; of duplicate keys the first remains.
    Object(Vec<(String, Json)>),
}

/// Which name of the recording stands for which name of the run. Two names are the same in one
/// exactly if they are the same in the other.
#[derive(Debug, Default)]
pub struct Names {
    recorded_to_seen: HashMap<String, String>,
    seen_to_recorded: HashMap<String, String>,
}

impl Names {
    /// Whether the two may stand for each other; the first meeting binds them.
    pub fn same(&mut self, recorded: &str, seen: &str) -> bool {
        match (
            self.recorded_to_seen.get(recorded),
            self.seen_to_recorded.get(seen),
        ) {
            (None, None) => {
                self.recorded_to_seen
                    .insert(recorded.to_owned(), seen.to_owned());
                self.seen_to_recorded
                    .insert(seen.to_owned(), recorded.to_owned());
                true
            }
            (Some(bound), Some(back)) => bound == seen && back == recorded,
            _ => false,
        }
    }

    /// What stands for a recorded name, if it has been met.
    pub fn seen(&self, recorded: &str) -> Option<&str> {
        self.recorded_to_seen.get(recorded).map(String::as_str)
    }
}

impl Json {
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_raw(serde_json::from_str(text).ok()?)
    }

    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn at(&self, index: usize) -> Option<&Json> {
        match self {
            Self::List(items) => items.get(index),
            _ => None,
        }
    }

    /// Equal by value, except that a `phx_ref` only has to stand for the same presence.
    pub fn same(&self, seen: &Json, names: &mut Names) -> bool {
        match (self, seen) {
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b, names))
            }
            (Self::Object(a), Self::Object(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|(a, b)| a.0 == b.0 && member_same(&a.0, &a.1, &b.1, names))
            }
            (a, b) => a == b,
        }
    }

    fn from_raw(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'n' => Self::Null,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => Self::Text(serde_json::from_str(text).ok()?),
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                Self::List(
                    items
                        .into_iter()
                        .map(Self::from_raw)
                        .collect::<Option<_>>()?,
                )
            }
            b'{' => Self::object(serde_json::from_str(text).ok()?)?,
            _ => number(text),
        })
    }

    fn object(members: Members<'_>) -> Option<Self> {
        let mut parsed: Vec<(String, Json)> = Vec::with_capacity(members.0.len());
        for (key, raw) in members.0 {
            if !parsed.iter().any(|(known, _)| *known == key) {
                parsed.push((key, Self::from_raw(raw)?));
            }
        }
        parsed.sort_by(|a, b| a.0.cmp(&b.0));
        Some(Self::Object(parsed))
    }
}

fn member_same(key: &str, recorded: &Json, seen: &Json, names: &mut Names) -> bool {
    match (key, recorded, seen) {
        ("phx_ref" | "phx_ref_prev", Json::Text(recorded), Json::Text(seen)) => {
            names.same(recorded, seen)
        }
        _ => recorded.same(seen, names),
    }
}

/// `1e3`, `1.0e3` and `1000` are one value, and so are `-0` and `0`.
fn number(text: &str) -> Json {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mut exponent: i64 = exponent.parse().unwrap_or(0);
    let negative = mantissa.starts_with('-');
    let (whole, fraction) = mantissa
        .trim_start_matches('-')
        .split_once('.')
        .unwrap_or((mantissa.trim_start_matches('-'), ""));
    exponent -= fraction.len() as i64;
    let joined = format!("{whole}{fraction}");
    let digits = joined.trim_end_matches('0');
    exponent += (joined.len() - digits.len()) as i64;
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Json::Number(false, String::new(), 0);
    }
    Json::Number(negative, digits.to_owned(), exponent)
}

/// The members of an object in the order they were written, duplicates included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Json, Names};

    fn same(a: &str, b: &str) -> bool {
        Json::parse(a)
            .unwrap()
            .same(&Json::parse(b).unwrap(), &mut Names::default())
    }

    #[test]
    fn numbers_are_compared_by_value_without_rounding() {
        assert!(same("[1e3, -0, 1.0, 1E-7]", "[1000.0, 0, 1, 1.0e-7]"));
        assert!(same(
            "123456789012345678901234567890",
            "1.2345678901234567890123456789e29"
        ));
        assert!(!same(
            "123456789012345678901234567890",
            "123456789012345678901234567891"
        ));
        assert!(!same("1", "-1"));
    }

    #[test]
    fn the_order_of_keys_does_not_count_and_of_items_does() {
        assert!(same(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#));
        assert!(!same("[1,2]", "[2,1]"));
        assert!(!same(r#"{"a":1}"#, r#"{"a":1,"b":null}"#));
        assert!(same(r#"{"a":1,"a":2}"#, r#"{"a":1}"#));
    }

    #[test]
    fn a_phx_ref_keeps_its_identity() {
        let recorded = r#"[{"phx_ref":"A"},{"phx_ref":"B"},{"phx_ref":"A"}]"#;
        assert!(same(
            recorded,
            r#"[{"phx_ref":"x"},{"phx_ref":"y"},{"phx_ref":"x"}]"#
        ));
        assert!(!same(
            recorded,
            r#"[{"phx_ref":"x"},{"phx_ref":"y"},{"phx_ref":"y"}]"#
        ));
        assert!(!same(
            recorded,
            r#"[{"phx_ref":"x"},{"phx_ref":"x"},{"phx_ref":"x"}]"#
        ));
        assert!(!same(r#"{"other":"A"}"#, r#"{"other":"B"}"#));
    }
}
