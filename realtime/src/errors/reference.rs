//! The reference pages `docs/errors.md` and `docs/close-codes.md`.

use super::{CloseCode, Reason};

/// `docs/errors.md`.
pub fn errors_markdown() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Generated from `realtime/src/errors/reason.rs`; change it there.\n\n\
         A refused join or event is answered with an error reply whose response is \
         `{reason, field?, detail?, retry_after_ms?}`. A refused request is answered with a problem \
         document (RFC 9457, `application/problem+json`) that carries the same members. Branch on \
         `reason`; `detail` is for people and may change.\n\n\
         | reason | HTTP status | may succeed later, unchanged | meaning |\n\
         | --- | --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        page += &format!(
            "| `{}` | {} | {} | {} |\n",
            reason.as_str(),
            reason.status().as_u16(),
            if reason.retryable() { "yes" } else { "no" },
            reason.meaning(),
        );
    }
    page
}

/// `docs/close-codes.md`.
pub fn close_codes_markdown() -> String {
    let mut page = String::from(
        "# Close codes\n\n\
         Generated from `realtime/src/errors/close.rs`; change it there.\n\n\
         A long-poll session has no close codes: it ends, and the next poll connects anew.\n\n\
         | code | meaning | what the client should do |\n\
         | --- | --- | --- |\n",
    );
    for close in CloseCode::ALL {
        page += &format!(
            "| {} | {} | {} |\n",
            close.code(),
            close.meaning(),
            close.advice()
        );
    }
    page
}
