//! Who calls a route.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::{Rest, problem::Problem};
use crate::{
    auth::{Credential, Principal, bearer},
    endpoint::Client,
    errors::Reason,
};

/// The principal of the bearer token. A route that takes this is not reached without one.
pub(super) struct Signed(pub(super) Principal);

impl FromRequestParts<Rest> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Problem> {
        let Some(token) = bearer(&parts.headers) else {
            admit_address(parts, rest).await?;
            return Err(Reason::Unauthorized.into());
        };
        let credential = Credential::Token(token.to_owned());
        match rest.authenticator.authenticate(&credential).await {
            Ok(principal) => {
                rest.admit_person(&principal.person).await?;
                Ok(Self(principal))
            }
            Err(refusal) => {
                admit_address(parts, rest).await?;
                Err(refusal.into())
            }
        }
    }
}

/// Counts a request of nobody we know by its address.
pub(super) async fn admit_address(parts: &Parts, rest: &Rest) -> Result<(), Problem> {
    match parts.extensions.get::<Client>() {
        Some(client) => Ok(rest.admit_address(client.ip).await?),
        None => Ok(()),
    }
}
