//! Compares what was expected with what arrived, under the compare rules of `recordings/README.md`.
//!
//! Order holds per connection and topic only, so each connection's traffic is split into streams:
//! one per topic, and one for what has no topic (handshakes, pongs, closes, HTTP answers).

use std::collections::BTreeMap;

use crate::exceptions::Expected;
use crate::json::{Json, Names};
use crate::recording::{Answer, Incoming};

/// What came of one recording.
#[derive(Debug, Default)]
pub struct Tally {
    /// Everything the recorded server said.
    pub compared: usize,
    /// What came again just so.
    pub equal: usize,
    /// What came as an exception says.
    pub excepted: usize,
    pub differences: Vec<String>,
}

/// Compares one connection.
pub fn connection(
    conn: &str,
    expected: &[Expected],
    seen: &[Incoming],
    names: &mut Names,
    tally: &mut Tally,
) {
    let mut streams: BTreeMap<String, (Vec<&Expected>, Vec<&Incoming>)> = BTreeMap::new();
    for item in expected {
        streams
            .entry(stream_of(&item.what))
            .or_default()
            .0
            .push(item);
    }
    for item in seen {
        streams.entry(stream_of(item)).or_default().1.push(item);
    }
    for (stream, (expected, seen)) in streams {
        compare_stream(&format!("{conn} {stream}"), &expected, seen, names, tally);
    }
}

fn compare_stream(
    name: &str,
    expected: &[&Expected],
    mut seen: Vec<&Incoming>,
    names: &mut Names,
    tally: &mut Tally,
) {
    for (index, item) in expected.iter().enumerate() {
        tally.compared += 1;
        let reach = item.any_order.map_or(1, |group| {
            expected[index..]
                .iter()
                .take_while(|other| other.any_order == Some(group))
                .count()
        });
        let found = (0..reach.min(seen.len())).find(|at| same(&item.what, seen[*at], names));
        match found {
            Some(at) => {
                seen.remove(at);
                *(if item.excepted {
                    &mut tally.excepted
                } else {
                    &mut tally.equal
                }) += 1;
            }
            None => {
                let instead = if seen.is_empty() {
                    None
                } else {
                    Some(seen.remove(0))
                };
                tally.differences.push(difference(name, item, instead));
            }
        }
    }
    for extra in seen {
        tally
            .differences
            .push(format!("{name}: nobody expected {}", show(extra)));
    }
}

fn difference(name: &str, expected: &Expected, seen: Option<&Incoming>) -> String {
    let seen = seen.map_or("nothing".to_owned(), show);
    format!(
        "{name} line {}: expected {}\n      but got  {seen}",
        expected.line,
        show(&expected.what)
    )
}

fn same(expected: &Incoming, seen: &Incoming, names: &mut Names) -> bool {
    match (expected, seen) {
        (Incoming::Text(a), Incoming::Text(b)) => same_frame(a, b, names),
        (Incoming::Handshake(a), Incoming::Handshake(b)) => same_answer(a, b, names),
        (Incoming::Http(a), Incoming::Http(b)) => same_answer(a, b, names),
        (a, b) => a == b,
    }
}

fn same_frame(expected: &str, seen: &str, names: &mut Names) -> bool {
    match (Json::parse(expected), Json::parse(seen)) {
        (Some(expected), Some(seen)) => {
            without_erlang_terms(expected).same(&without_erlang_terms(seen), names)
        }
        _ => expected == seen,
    }
}

/// The reference application announces a termination with its reason printed as an Erlang term,
/// which is nobody else's business.
fn without_erlang_terms(mut frame: Json) -> Json {
    if let Json::List(items) = &mut frame
        && items.get(3) == Some(&Json::Text("terminated".to_owned()))
        && let Some(Json::Object(payload)) = items.get_mut(4)
    {
        payload.retain(|(key, _)| key != "reason");
    }
    frame
}

/// Headers that say something about Phoenix rather than about Bandit or the day.
const HEADERS: [&str; 9] = [
    "upgrade",
    "cache-control",
    "content-type",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "access-control-allow-origin",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-max-age",
];

fn same_answer(expected: &Answer, seen: &Answer, names: &mut Names) -> bool {
    expected.status == seen.status
        && HEADERS.iter().all(|name| same_header(expected, seen, name))
        && same_body(expected, seen, names)
}

fn same_header(expected: &Answer, seen: &Answer, name: &str) -> bool {
    let value = |answer: &Answer| {
        answer
            .headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.to_ascii_lowercase().replace(' ', ""))
    };
    // The type of an error text goes with the text.
    (name == "content-type" && has_error_text(expected)) || value(expected) == value(seen)
}

/// Error texts of the HTTP server and of Phoenix's error pages are not compared; a `reason` that an
/// exception names is.
fn has_error_text(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 404 | 500)
}

fn same_body(expected: &Answer, seen: &Answer, names: &mut Names) -> bool {
    if has_error_text(expected) {
        let reason = |answer: &Answer| Json::parse(&answer.body)?.get("reason").cloned();
        return reason(expected).is_none() || reason(expected) == reason(seen);
    }
    match (Json::parse(&expected.body), Json::parse(&seen.body)) {
        (Some(Json::Object(expected)), Some(Json::Object(seen))) => {
            expected.len() == seen.len()
                && expected.iter().zip(&seen).all(|((key, a), (other, b))| {
                    key == other && same_poll_member(key, a, b, names)
                })
        }
        _ => expected.body == seen.body,
    }
}

/// The members of a long-poll body: frames in `messages`, and a `token` that only has to be the
/// same token again.
fn same_poll_member(key: &str, expected: &Json, seen: &Json, names: &mut Names) -> bool {
    match (key, expected, seen) {
        ("token", Json::Text(a), Json::Text(b)) => names.same(a, b),
        ("messages", Json::List(a), Json::List(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|pair| match pair {
                    (Json::Text(a), Json::Text(b)) => same_frame(a, b, names),
                    (a, b) => a == b,
                })
        }
        _ => expected == seen,
    }
}

/// The stream that something belongs to.
fn stream_of(what: &Incoming) -> String {
    match what {
        Incoming::Text(text) => {
            Json::parse(text).map_or("?".to_owned(), |frame| text_stream(&frame))
        }
        Incoming::Binary(bytes) => binary_topic(bytes).unwrap_or_else(|| "?".to_owned()),
        _ => String::new(),
    }
}

/// Presence diffs come from another process than the channel's own replies and pushes, so they
/// are ordered among themselves only.
fn text_stream(frame: &Json) -> String {
    let topic = frame.at(2).or_else(|| frame.get("topic"));
    let event = frame.at(3).or_else(|| frame.get("event"));
    let diff = event == Some(&Json::Text("presence_diff".to_owned()));
    match topic {
        Some(Json::Text(topic)) => format!("{topic}{}", if diff { " diffs" } else { "" }),
        other => format!("{other:?}"),
    }
}

/// The topic of a binary frame: push, reply or broadcast.
fn binary_topic(bytes: &[u8]) -> Option<String> {
    let size = |at: usize| bytes.get(at).copied().map(usize::from);
    let (start, length) = match bytes.first()? {
        0 => (4 + size(1)?, size(2)?),
        1 => (5 + size(1)? + size(2)?, size(3)?),
        2 => (3, size(1)?),
        _ => return None,
    };
    String::from_utf8(bytes.get(start..start + length)?.to_vec()).ok()
}

fn show(what: &Incoming) -> String {
    let full = match what {
        Incoming::Text(text) => text.clone(),
        Incoming::Http(answer) | Incoming::Handshake(answer) => {
            let headers: Vec<String> = HEADERS
                .iter()
                .filter_map(|name| answer.headers.iter().find(|(header, _)| header == name))
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            format!("{} {} {}", answer.status, headers.join(", "), answer.body)
        }
        other => format!("{other:?}"),
    };
    full.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::{Tally, connection};
    use crate::exceptions::Expected;
    use crate::json::Names;
    use crate::recording::Incoming;

    fn text(topic: &str, n: u32) -> Incoming {
        Incoming::Text(format!(r#"[null,null,"{topic}","e",{n}]"#))
    }

    fn expected(what: Incoming) -> Expected {
        Expected {
            line: 1,
            conn: "a".to_owned(),
            what,
            excepted: false,
            any_order: None,
        }
    }

    fn tally(wanted: &[Expected], seen: &[Incoming]) -> Tally {
        let mut tally = Tally::default();
        connection("a", wanted, seen, &mut Names::default(), &mut tally);
        tally
    }

    #[test]
    fn order_holds_within_a_topic_and_not_between_topics() {
        let wanted = [
            expected(text("x", 1)),
            expected(text("x", 2)),
            expected(text("y", 1)),
        ];
        assert_eq!(
            tally(&wanted, &[text("y", 1), text("x", 1), text("x", 2)]).equal,
            3
        );
        let swapped = tally(&wanted, &[text("x", 2), text("x", 1), text("y", 1)]);
        assert_eq!((swapped.equal, swapped.differences.len()), (1, 2));
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_is_a_difference() {
        let wanted = [expected(text("x", 1))];
        assert_eq!(tally(&wanted, &[]).differences.len(), 1);
        assert_eq!(
            tally(&wanted, &[text("x", 1), text("x", 1)])
                .differences
                .len(),
            1
        );
        assert_eq!(
            tally(
                &[],
                &[Incoming::Close {
                    code: 1002,
                    reason: String::new()
                }]
            )
            .differences
            .len(),
            1
        );
    }

    #[test]
    fn a_racy_group_is_compared_without_order_but_in_full() {
        let racy = |n| Expected {
            any_order: Some(0),
            ..expected(text("x", n))
        };
        let wanted = [racy(1), racy(2), expected(text("x", 3))];
        assert_eq!(
            tally(&wanted, &[text("x", 2), text("x", 1), text("x", 3)]).equal,
            3
        );
        assert!(tally(&wanted, &[text("x", 2), text("x", 3), text("x", 1)]).equal < 3);
    }
}
