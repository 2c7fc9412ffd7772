//! From a credential to a principal.

use std::sync::Arc;

use quikapp_actors::Clock;

use super::{Principal, Revocations, Tickets, TokenError, Tokens};
use crate::errors::{Reason, Refusal};

/// What somebody shows to be let in. Its `Debug` does not show the secret part.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// An access token.
    Token(String),
    /// A one-time ticket.
    Ticket(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token([redacted])",
            Self::Ticket(_) => "Ticket([redacted])",
        })
    }
}

/// Tokens, tickets and revocations together: everything that decides who somebody is.
#[derive(Clone)]
pub struct Authenticator {
    /// Verifies and mints tokens.
    pub tokens: Tokens,
    /// Issues and takes tickets.
    pub tickets: Tickets,
    /// What is revoked.
    pub revocations: Revocations,
    /// Now.
    pub clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// Who shows this credential.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Principal, Refusal> {
        let principal = match credential {
            Credential::Token(token) => self.tokens.verify(token).await?,
            Credential::Ticket(ticket) => self.tickets.redeem(ticket).await?,
        };
        self.still_welcome(&principal)?;
        Ok(principal)
    }

    /// Whether a principal of before may go on: neither ended nor revoked.
    pub fn still_welcome(&self, principal: &Principal) -> Result<(), Refusal> {
        if principal.expires_at <= self.clock.now() {
            return Err(Reason::TokenExpired.into());
        }
        if self.revocations.refuse(principal) {
            return Err(Reason::TokenRevoked.into());
        }
        Ok(())
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Reason::TokenExpired.into(),
            TokenError::Malformed
            | TokenError::AlgorithmRefused
            | TokenError::HeaderRefused(_)
            | TokenError::UnknownKey
            | TokenError::BadSignature
            | TokenError::BadClaims
            | TokenError::WrongType
            | TokenError::WrongIssuer
            | TokenError::WrongAudience
            | TokenError::NotYetValid
            | TokenError::LifetimeTooLong => {
                Refusal::new(Reason::Unauthorized).detail(error.to_string())
            }
        }
    }
}
