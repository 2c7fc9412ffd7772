#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, path::Path};

use super::*;

fn compare(page: &str, current: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page);
    if std::env::var_os("QUIKAPP_BLESS").is_some() {
        std::fs::write(&path, current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, current, "run the tests with QUIKAPP_BLESS=1");
}

#[test]
fn the_references_in_docs_are_current() {
    compare("errors.md", &errors_markdown());
    compare("close-codes.md", &close_codes_markdown());
}

#[test]
fn each_reason_and_each_code_has_one_row() {
    let reasons: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let codes: HashSet<_> = CloseCode::ALL.iter().map(|close| close.code()).collect();
    assert_eq!(reasons.len(), Reason::ALL.len());
    assert_eq!(codes.len(), CloseCode::ALL.len());
    assert!(CloseCode::ALL.is_sorted_by_key(|close| close.code()));
}

#[test]
fn every_reason_is_an_error_and_what_may_pass_says_so() {
    for reason in Reason::ALL {
        let status = reason.status();
        assert!(
            status.is_client_error() || status.is_server_error(),
            "{reason:?}"
        );
        if status == http::StatusCode::SERVICE_UNAVAILABLE {
            assert!(reason.retryable(), "{reason:?}");
        }
    }
}

#[test]
fn a_refusal_on_the_wire() {
    let refusal = Refusal::invalid_field("content", "too long");
    let expected = r#"{"reason":"invalid_field","field":"content","detail":"too long"}"#;
    assert_eq!(serde_json::to_string(&refusal).unwrap(), expected);
    let moved = Refusal::from(CommandError::Moved {
        retry_after_ms: 250,
    });
    let expected = r#"{"reason":"moved","retry_after_ms":250}"#;
    assert_eq!(serde_json::to_string(&moved).unwrap(), expected);
}

#[test]
fn what_the_store_says_is_not_told_to_clients() {
    let refusal = Refusal::from(StoreError::Corrupt("row 7 of /var/lib/x".into()));
    assert_eq!(
        serde_json::to_string(&refusal).unwrap(),
        r#"{"reason":"internal"}"#
    );
}

/// The reasons that `CommandError` names in its documentation are those of its mapping.
#[test]
fn command_errors_have_the_reasons_they_document() {
    let invalid = CommandError::InvalidField {
        field: "content",
        detail: String::new(),
    };
    let table = [
        (CommandError::ConversationNotFound, "conversation_not_found"),
        (CommandError::NotAParticipant, "not_a_participant"),
        (CommandError::MessageNotFound, "message_not_found"),
        (CommandError::Forbidden, "forbidden"),
        (CommandError::Blocked, "blocked"),
        (CommandError::IdempotencyConflict, "idempotency_conflict"),
        (invalid, "invalid_field"),
        (CommandError::Overloaded, "overloaded"),
        (CommandError::Moved { retry_after_ms: 1 }, "moved"),
        (CommandError::Unavailable, "unavailable"),
        (CommandError::OutcomeUnknown, "outcome_unknown"),
    ];
    for (error, reason) in table {
        assert_eq!(Refusal::from(error).reason.as_str(), reason);
    }
}

/// Reasons that other parts of the crate write as text are rows of the table too.
#[test]
fn every_reason_in_the_sources_is_in_the_table() {
    let known: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let before = [
        "JoinError::reason(\"",
        "Flow::refuse(\"",
        "\"reason\": \"",
        "self.refuse(&message, \"",
    ];
    let mut found = 0;
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for mark in before {
            for rest in text.split(mark).skip(1) {
                let reason = rest.split('"').next().unwrap();
                assert!(known.contains(reason), "{}: {reason}", path.display());
                found += 1;
            }
        }
    }
    assert!(found >= 5, "the marks still fit the sources");
}

/// Source files that are not tests or examples.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("test") {
            continue;
        }
        match path.is_dir() {
            true => all.extend(sources(&path)),
            false if name.ends_with(".rs") => all.push(path),
            false => {}
        }
    }
    all
}

#[test]
fn what_passes_by_itself_says_when_to_come_again() {
    for reason in Reason::ALL {
        let seconds = Refusal::new(*reason).retry_after_s();
        let passes = matches!(reason.status().as_u16(), 429 | 503);
        assert_eq!(seconds, passes.then_some(RETRY_AFTER_S), "{reason:?}");
    }
    let soon = Refusal::new(Reason::Moved).retry_after_ms(1_001);
    assert_eq!(soon.retry_after_s(), Some(2));
    let header = crate::endpoint::answer::RETRY_AFTER_SECONDS;
    assert_eq!(header, http::HeaderValue::from(RETRY_AFTER_S));
}
