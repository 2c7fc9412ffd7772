//! In what two plans differ.

use serde_json::Value;

/// What differs only because two generators are two, or which server they can look into.
pub(super) const OF_ONE_GENERATOR: [&str; 8] = [
    "run.generator",
    "run.start_at",
    "run.pids",
    "run.metrics",
    "run.thresholds",
    "target.sources",
    "target.secret_file",
    "target.ca_file",
];

/// The paths of what two plans do not have in common, like `run.seed`, sorted; without those ignored.
pub(super) fn differences(first: &Value, second: &Value, ignored: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    compare("", first, second, &mut found);
    found.retain(|path| !ignored.contains(&path.as_str()));
    found.sort();
    found
}

fn compare(path: &str, first: &Value, second: &Value, found: &mut Vec<String>) {
    let inner = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match (first, second) {
        (Value::Object(a), Value::Object(b)) => {
            let more = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(more) {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (a, b) = (of(a).unwrap_or_default(), of(b).unwrap_or_default());
                compare(&inner(key), &a, &b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&inner(&(at + 1).to_string()), a, b, found);
            }
        }
        _ if first == second => {}
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named() {
        let first = json!({"run": {"seed": 1, "generator": "a"}, "parts": [{"rate": "1"}]});
        let second = json!({"run": {"seed": 2, "generator": "b", "start_at": 5.0},
                            "parts": [{"rate": "2"}]});
        let found = differences(&first, &second, &OF_ONE_GENERATOR);
        assert_eq!(found, ["parts.1.rate", "run.seed"]);
        let fewer = json!({"run": {"seed": 1}, "parts": []});
        assert_eq!(differences(&first, &fewer, &OF_ONE_GENERATOR), ["parts"]);
        assert!(differences(&first, &first, &[]).is_empty());
    }
}
