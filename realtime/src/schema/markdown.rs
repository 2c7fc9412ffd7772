//! `docs/events.md`.

use super::{Exchange, Taken, Topic, topics, typescript::declarations};
use crate::errors::Reason;

const HEAD: &str = "# Topics and events\n\n\
    Generated from `realtime/src/schema`; change it there. Types are TypeScript's; they stand at \
    the end of this page, and in [quikapp.d.ts](quikapp.d.ts).\n\n\
    Keys of a client's payload may be camelCase or snake_case; the server writes snake_case. Times \
    are RFC 3339 in UTC with milliseconds. A refusal is an error reply `{reason, field?, detail?, \
    retry_after_ms?}`; [errors.md](errors.md) lists the reasons. Besides those named below, any \
    join and any event may be refused with `invalid_field`, `token_expired`, `token_revoked`, \
    `rate_limited`, `overloaded`, `unavailable` and `internal`, and any event with \
    `unknown_event`.\n";

/// The reference of everything that is said over the product's sockets.
pub fn events_markdown() -> String {
    let topics = topics();
    let mut page = HEAD.to_owned();
    for topic in &topics {
        page += &section(topic);
    }
    page += "\n## Types\n\n```ts\n";
    page += &declarations(&topics);
    page += "```\n";
    page
}

fn section(topic: &Topic) -> String {
    let mut page = format!("\n## `{}`\n\n", topic.name);
    if !topic.also.is_empty() {
        let also: Vec<_> = topic.also.iter().map(|name| format!("`{name}`")).collect();
        page += &format!("Also {}.\n\n", also.join(", "));
    }
    page += &format!("{}\n", topic.about);
    if let Some(join) = &topic.join {
        page += &joining(join);
    }
    page += &taken(&topic.takes);
    page += &sent(topic);
    page
}

fn joining(join: &Exchange) -> String {
    let (payload, reply) = (code(join.payload.text()), code(join.reply.text()));
    format!(
        "\nJoin with {payload}, answered with {reply}{}.\n",
        refusals(&join.errors)
    )
}

fn refusals(errors: &[Reason]) -> String {
    if errors.is_empty() {
        return String::new();
    }
    format!(", or refused with {}", reasons(errors))
}

fn reasons(errors: &[Reason]) -> String {
    let reasons = errors.iter().map(|reason| format!("`{}`", reason.as_str()));
    reasons.collect::<Vec<_>>().join(", ")
}

fn taken(events: &[Taken]) -> String {
    if events.is_empty() {
        return String::new();
    }
    let mut table = "\n| from the client | payload | reply | refusals | |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for event in events {
        table += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            event.name,
            code(event.exchange.payload.text()),
            code(event.exchange.reply.text()),
            reasons(&event.exchange.errors),
            event.about,
        );
    }
    table
}

fn sent(topic: &Topic) -> String {
    if topic.sends.is_empty() {
        return String::new();
    }
    let mut table = "\n| from the server | payload | |\n| --- | --- | --- |\n".to_owned();
    for event in &topic.sends {
        let payload = code(event.payload.text());
        table += &format!("| `{}` | {payload} | {} |\n", event.name, event.about);
    }
    table
}

/// A bar would end the table's cell.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}
