//! What is said and understood, protocol by protocol.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::mark::Mark;

fn talk(payload: &str) -> Talk {
    Talk {
        topic: "room:\"1\"".to_owned(),
        event: "shout".to_owned(),
        arrives_as: "shouted".to_owned(),
        payload: payload.to_owned(),
        join: r#"{"a":1}"#.to_owned(),
        acknowledged: true,
        sequenced: true,
    }
}

fn published(channel: &Channel) -> String {
    let mark = Mark {
        run: 1,
        room: 1,
        sender: 1,
        n: 1,
        at: 1,
    };
    let filling = Filling {
        reference: 17,
        mark: &mark,
        size: 0,
        unix_ms: 1,
    };
    let (mut out, mut content) = (Vec::new(), Vec::new());
    channel.publish.write(&filling, &mut out);
    mark.write(0, &mut content);
    let [out, content] = [out, content].map(|text| String::from_utf8(text).unwrap());
    out.replace(&content, "hi")
}

/// What was understood, as text.
fn understood(language: Language, channel: &Channel, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let read = language
        .speaker()
        .read(channel, text.as_bytes(), &mut |incoming| {
            all.push(match incoming {
                Incoming::Delivery { content, seq } => {
                    format!("{} {seq:?}", String::from_utf8_lossy(content))
                }
                Incoming::PresenceState(state) => format!("state {state}"),
                Incoming::PresenceDiff(diff) => format!("diff {diff}"),
                other => format!("{other:?}"),
            });
        });
    if let Err(error) = read {
        all.push(format!("{error:#}"));
    }
    all
}

#[test]
fn phoenix() {
    let channel = Language::Phoenix
        .speaker()
        .channel(&talk(r#"{"d":"{content}"}"#));
    assert_eq!(
        channel.join.as_deref(),
        Some(r#"["2","2","room:\"1\"","phx_join",{"a":1}]"#)
    );
    assert_eq!(
        published(&channel),
        r#"["2","17","room:\"1\"","shout",{"d":"hi"}]"#
    );
    let cases = [
        // As QuikApp and Phoenix write it, and in other spacing.
        (
            r#"[null,null,"room:\"1\"","shouted",{"d":"hi","seq":4}]"#,
            r#"{"d":"hi","seq":4} Some(4)"#,
        ),
        (
            r#"["2", null, "room:\"1\"", "shouted", {"d":"hi"}]"#,
            r#"{"d":"hi"} None"#,
        ),
        (
            r#"["2","17","room:\"1\"","phx_reply",{"response":{"seq":9,"id":"x"},"status":"ok"}]"#,
            "Answer { reference: 17, outcome: Ok(Answer { seq: Some(9) }) }",
        ),
        (
            r#"["2","17","room:\"1\"","phx_reply",{"response":{},"status":"ok"}]"#,
            "Answer { reference: 17, outcome: Ok(Answer { seq: None }) }",
        ),
        (
            r#"["2","17","room:\"1\"","phx_reply",{"status":"ok","response":{"seq":9}}]"#,
            "Answer { reference: 17, outcome: Ok(Answer { seq: Some(9) }) }",
        ),
        (
            r#"["2","17","room:\"1\"","phx_reply",{"response":{"reason":"no"},"status":"error"}]"#,
            r#"Answer { reference: 17, outcome: Err("error: {\"reason\":\"no\"}") }"#,
        ),
        (
            r#"["2","2","room:\"1\"","phx_reply",{"status":"error","response":{"reason":"no"}}]"#,
            r#"Answer { reference: 2, outcome: Err("error: {\"reason\":\"no\"}") }"#,
        ),
        (
            r#"["2","2","room:\"1\"","phx_error",{}]"#,
            r#"Ended("the channel ended: phx_error")"#,
        ),
        (
            r#"["2",null,"room:\"1\"","presence_diff",{"joins":{}}]"#,
            r#"diff {"joins":{}}"#,
        ),
        (r#"[null,null,"room:\"1\"","x",{}]"#, r#"Other("x: {}")"#),
        (
            r#"[null,null,"room:2","shouted",{}]"#,
            "a message of another topic: room:2, shouted: {}",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(understood(Language::Phoenix, &channel, text), [expected]);
    }
}

#[test]
fn answers_of_phoenix_that_are_not_as_they_should_be() {
    let channel = Language::Phoenix
        .speaker()
        .channel(&talk(r#"{"d":"{content}"}"#));
    let answer = r#"["2","17","room:\"1\"","phx_reply",{"response":{"seq":9},"status":"ok"}]"#;
    let mistaken = [
        "{".to_owned(),
        answer.replace(r#"{"seq":9}"#, r#"{"seq":9,"id":"x"#),
        answer.replace(r#"{"seq":9}"#, "{\"seq\":9,\"id\":\"\n\"}"),
        answer.replace(r#"{"seq":9}"#, r#"{"seq":9},"status":"error""#),
        answer.repeat(2),
    ];
    for text in &mistaken {
        let [fault] = &understood(Language::Phoenix, &channel, text)[..] else {
            panic!("{text}");
        };
        assert!(!fault.starts_with("Answer"), "{text}: {fault}");
    }
}

#[test]
fn socketio() {
    let channel = Language::Socketio
        .speaker()
        .channel(&talk(r#""{content}""#));
    assert_eq!(channel.join.as_deref(), Some(r#"422["join","room:\"1\""]"#));
    assert_eq!(published(&channel), r#"4217["shout","room:\"1\"","hi"]"#);
    for (text, expected) in [
        (r#"0{"sid":"x"}"#, "Invitation"),
        ("2", r#"Demand("3")"#),
        (r#"40{"sid":"x"}"#, "Ready"),
        (r#"42["shouted","hi"]"#, r#""hi"] None"#),
        (r#"42["x"]"#, r#"Other("42[\"x\"]")"#),
        (
            "4317[]",
            "Answer { reference: 17, outcome: Ok(Answer { seq: None }) }",
        ),
        (
            r#"4317[{"error":"no"}]"#,
            r#"Answer { reference: 17, outcome: Err("\"no\"") }"#,
        ),
        ("41", r#"Ended("41")"#),
        ("44{}", r#"Ended("44{}")"#),
    ] {
        assert_eq!(understood(Language::Socketio, &channel, text), [expected]);
    }
}

#[test]
fn centrifuge() {
    let channel = Language::Centrifuge
        .speaker()
        .channel(&talk(r#"{"d":"{content}"}"#));
    assert_eq!(
        published(&channel),
        r#"{"id":17,"publish":{"channel":"room:\"1\"","data":{"d":"hi"}}}"#
    );
    let two = concat!(
        r#"{"push":{"channel":"room:\"1\"","pub":{"data":{"d":"a"}}}}"#,
        "\n",
        r#"{"push":{"channel":"room:\"1\"","pub":{"offset":1,"data":{"d":"b"}}}}"#,
        "\n{}"
    );
    let heard = understood(Language::Centrifuge, &channel, two);
    assert_eq!(heard.len(), 3);
    assert!(heard[0].starts_with(r#"{"d":"a"}"#), "{heard:?}");
    assert!(heard[1].contains(r#"{"d":"b"}"#), "{heard:?}");
    assert_eq!(heard[2], r#"Demand("{}")"#);
    for (text, expected) in [
        (r#"{"id":1,"connect":{"client":"x"}}"#, "Ready"),
        (
            r#"{"id":2,"subscribe":{}}"#,
            "Answer { reference: 2, outcome: Ok(Answer { seq: None }) }",
        ),
        (
            r#"{"id":2,"error":{"code":103}}"#,
            r#"Answer { reference: 2, outcome: Err("{\"code\":103}") }"#,
        ),
        (
            r#"{"push":{"disconnect":{"code":3000}}}"#,
            r#"Ended("{\"push\":{\"disconnect\":{\"code\":3000}}}")"#,
        ),
    ] {
        assert_eq!(understood(Language::Centrifuge, &channel, text), [expected]);
    }
    let foreign = understood(
        Language::Centrifuge,
        &channel,
        r#"{"push":{"channel":"y","pub":{"data":1}}}"#,
    );
    assert!(foreign[0].contains("another channel"), "{foreign:?}");
}

#[test]
fn a_place_is_found_wherever_it_stands() {
    let channel = talk(r#"{"d":"{content}"}"#);
    let channel = Language::Phoenix.speaker().channel(&channel);
    for (payload, seq) in [
        (r#"{"seq":12,"d":"hi"}"#, Some(12)),
        (r#"{"seq":12}"#, Some(12)),
        (r#"{ "d":[{"seq":1}], "seq" : 12 }"#, Some(12)),
        (r#"{"seq":18446744073709551615,"d":1}"#, Some(u64::MAX)),
        (r#"{"seq":18446744073709551616,"d":1}"#, None),
        (r#"{"seq":1.5,"d":1}"#, None),
        (r#"{"seq":,"d":1}"#, None),
        (r#"{"seq":"1","d":1}"#, None),
        (r#"{"d":1}"#, None),
    ] {
        let text = format!(r#"[null,null,"room:\"1\"","shouted",{payload}]"#);
        let heard = understood(Language::Phoenix, &channel, &text);
        assert_eq!(heard, [format!("{payload} {seq:?}")]);
    }
}

#[test]
fn raw() {
    let channel = Language::Raw.speaker().channel(&talk("{content}"));
    assert_eq!(published(&channel), "hi");
    assert_eq!(understood(Language::Raw, &channel, "hi"), ["hi None"]);
}

#[test]
fn introductions_carry_the_token() {
    let who = Identity {
        user: "a".to_owned(),
        token: "t".to_owned(),
    };
    let introduce = |language: Language| language.speaker().introduce(&who);
    assert_eq!(introduce(Language::Socketio), r#"40{"token":"t"}"#);
    let connect: serde_json::Value =
        serde_json::from_str(&introduce(Language::Centrifuge)).unwrap();
    assert_eq!(
        connect,
        serde_json::json!({"id": 1, "connect": {"token": "t"}})
    );
}
