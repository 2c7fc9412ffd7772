//! `docs/quikapp.d.ts`.

use std::collections::BTreeMap;

use super::{Exchange, Topic, topics};
use crate::errors::Reason;

const HEAD: &str = "\
// Generated from realtime/src/schema; change it there.
//
// Payloads of all topics and events, for clients written in TypeScript:
//
//   import type { Topics } from \"./quikapp\";
//   type Send = Topics[\"chat:<conversation_id>\"][\"in\"][\"message:send\"];
//   const send: Send[\"payload\"] = { type: \"text\", content: \"hello\" };
";

/// The TypeScript declarations of everything that is said over the product's sockets.
pub fn typescript() -> String {
    let topics = topics();
    let mut file = format!("{HEAD}\n{}\n", declarations(&topics));
    file +=
        "/** What is said on which topic. `in` comes from the client, `out` from the server. */\n";
    file += "export interface Topics {\n";
    for topic in &topics {
        for name in std::iter::once(&topic.name).chain(topic.also) {
            file += &interface(name, topic);
        }
    }
    file += "}\n";
    file
}

/// The declarations of all types, ordered by name.
pub(super) fn declarations(topics: &[Topic]) -> String {
    let mut declared: BTreeMap<String, String> = BTreeMap::new();
    for used in topics.iter().flat_map(Topic::types) {
        for (name, text) in used.declared() {
            let known = declared.insert(name.clone(), text.clone());
            debug_assert!(
                known.is_none_or(|known| known == *text),
                "two types named {name}"
            );
        }
    }
    let mut text = common();
    for declaration in declared.values() {
        text += &format!("\n{}\n", declaration.trim_end());
    }
    text
}

fn common() -> String {
    let reasons: Vec<_> = Reason::ALL
        .iter()
        .map(|r| format!("  | \"{}\"", r.as_str()))
        .collect();
    format!(
        "/** An object without members of meaning. */\n\
         export type Empty = Record<string, never>;\n\n\
         /** Why something was refused. */\n\
         export type Reason =\n{};\n\n\
         /** The response of an error reply. */\n\
         export type Refusal = {{ reason: Reason; field?: string; detail?: string; retry_after_ms?: number }};\n",
        reasons.join("\n"),
    )
}

fn interface(name: &str, topic: &Topic) -> String {
    let mut text = format!("  \"{name}\": {{\n");
    if let Some(join) = &topic.join {
        text += &format!("    join: {};\n", exchange(join));
    }
    text += "    in: {\n";
    for event in &topic.takes {
        text += &format!("      \"{}\": {};\n", event.name, exchange(&event.exchange));
    }
    text += "    };\n    out: {\n";
    for event in &topic.sends {
        text += &format!("      \"{}\": {};\n", event.name, event.payload.text());
    }
    text + "    };\n  };\n"
}

fn exchange(exchange: &Exchange) -> String {
    let (payload, reply) = (exchange.payload.text(), exchange.reply.text());
    format!("{{ payload: {payload}; reply: {reply} }}")
}
