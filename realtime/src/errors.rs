//! The one table of everything that can be refused, and of every close code.
//!
//! A [`Refusal`] is what a client sees, over a socket as the response of an error reply and over
//! REST as a problem document. Domain errors become refusals here and nowhere else, each by one
//! exhaustive match. `docs/errors.md` and `docs/close-codes.md` are generated from these tables.

mod close;
mod reason;
mod reference;

pub use close::CloseCode;
pub use reason::Reason;
pub use reference::{close_codes_markdown, errors_markdown};

use std::borrow::Cow;

use http::StatusCode;
use quikapp_actors::{
    conversation::CommandError,
    documents::ChangeError,
    people::ChooseError,
    registered::{InvalidDevice, Refused},
};
use quikapp_storage::{IdError, StoreError};
use serde::Serialize;

/// After how many seconds a refused client may come again, unless something better is known.
pub(crate) const RETRY_AFTER_S: u32 = 5;

/// A request that is not carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}{}", .reason.as_str(), .detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct Refusal {
    /// A row of the table.
    pub reason: Reason,
    /// The payload's field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    /// For people; never holds a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When trying again makes sense, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal that its reason explains.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            field: None,
            detail: None,
            retry_after_ms: None,
        }
    }

    /// A field that is missing or does not fit.
    pub fn invalid_field(field: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(Reason::InvalidField).detail(detail)
        }
    }

    /// One of too many; the next is welcome after this time.
    pub fn rate_limited(wait: std::time::Duration) -> Self {
        let ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        Self::new(Reason::RateLimited).retry_after_ms(ms)
    }

    /// Adds a sentence for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// The header `Retry-After` in seconds: what is said, or for what passes by itself (429, 503)
    /// the time that everybody is told.
    pub fn retry_after_s(&self) -> Option<u32> {
        let status = self.reason.status();
        let passes =
            status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE;
        let said = self.retry_after_ms.map(|ms| ms.div_ceil(1000));
        let said = said.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        said.or(passes.then_some(RETRY_AFTER_S))
    }

    /// The JSON object of an error reply: `{reason, field?, detail?, retry_after_ms?}`.
    pub fn payload(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::ConversationNotFound => Reason::ConversationNotFound.into(),
            CommandError::NotAParticipant => Reason::NotAParticipant.into(),
            CommandError::MessageNotFound => Reason::MessageNotFound.into(),
            CommandError::Forbidden => Reason::Forbidden.into(),
            CommandError::Blocked => Reason::Blocked.into(),
            CommandError::IdempotencyConflict => Reason::IdempotencyConflict.into(),
            CommandError::InvalidField { field, detail } => Self::invalid_field(field, detail),
            CommandError::Overloaded => Reason::Overloaded.into(),
            CommandError::Moved { retry_after_ms } => {
                Self::new(Reason::Moved).retry_after_ms(retry_after_ms)
            }
            CommandError::Unavailable => Reason::Unavailable.into(),
            CommandError::OutcomeUnknown => Reason::OutcomeUnknown.into(),
        }
    }
}

impl From<quikapp_actors::typing::Full> for Refusal {
    fn from(_: quikapp_actors::typing::Full) -> Self {
        Reason::Overloaded.into()
    }
}

impl From<StoreError> for Refusal {
    /// What the store says is for operators; clients learn only whether to try again.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Reason::Unavailable.into(),
            StoreError::Unknown(_) => Reason::OutcomeUnknown.into(),
            StoreError::Overloaded => Reason::Overloaded.into(),
            StoreError::Corrupt(_) | StoreError::Invalid(_) => Reason::Internal.into(),
        }
    }
}

impl<E: Into<Refusal>> From<ChangeError<E>> for Refusal {
    fn from(error: ChangeError<E>) -> Self {
        match error {
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Command(error) => error.into(),
            ChangeError::Store(error) => error.into(),
            ChangeError::Contended => Reason::Overloaded.into(),
        }
    }
}

impl From<ChooseError> for Refusal {
    fn from(error: ChooseError) -> Self {
        match error {
            // Whose channel is joined is connected, for as long as its handler runs.
            ChooseError::NotConnected(_) => Reason::Internal.into(),
            ChooseError::Invalid(invalid) => Self::invalid_field(invalid.field, invalid.detail),
            ChooseError::Overloaded => Reason::Overloaded.into(),
            ChooseError::Store(error) => error.into(),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full(_) => Reason::MaxDevicesReached.into(),
            Refused::Unknown(_) => Reason::DeviceNotFound.into(),
            Refused::Unreadable(error) => {
                tracing::error!(%error, "the registered devices of a person cannot be read");
                Reason::Internal.into()
            }
        }
    }
}

impl From<InvalidDevice> for Refusal {
    fn from(invalid: InvalidDevice) -> Self {
        Self::invalid_field(invalid.field, invalid.detail)
    }
}

impl From<IdError> for Refusal {
    /// An id that is none names nothing; callers that know the field say so instead.
    fn from(error: IdError) -> Self {
        Self::new(Reason::NotFound).detail(error.to_string())
    }
}

#[cfg(test)]
mod tests;
