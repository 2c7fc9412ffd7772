//! Who may open a socket of the product, and for how long.

use std::sync::Arc;

use quikapp_actors::{
    conversation::MemberLeft,
    fanout::{Fanout, Note},
};
use quikapp_storage::{DeviceId, Seq, SharedCounters, Timestamp};

use super::{Authenticator, Config, Credential, Principal};
use crate::{
    channel::JoinError,
    errors::{Reason, Refusal},
    rate::{Limiter, network_of},
    rest::is_direct,
    socket::{ConnectInfo, ConnectRefusal, Connected, SocketHandler},
};

/// The product's socket: its assigns are the [`Principal`] of the token or ticket it was opened
/// with.
pub struct ProductSocket {
    authenticator: Authenticator,
    fanout: Fanout,
    sockets_per_user: u32,
    is_development: bool,
    connects: Limiter,
}

impl ProductSocket {
    /// A socket that counts a person's open sockets in `fanout`.
    pub fn new(config: &Config, authenticator: Authenticator, fanout: Fanout) -> Self {
        Self {
            authenticator,
            fanout,
            sockets_per_user: config.sockets_per_user,
            is_development: false,
            connects: connects(config, None),
        }
    }

    /// Counts the connects of an address over all nodes.
    #[must_use]
    pub fn counting_in(mut self, config: &Config, shared: Option<Arc<dyn SharedCounters>>) -> Self {
        self.connects = connects(config, shared);
        self
    }

    /// In development mode only direct requests to a loopback host are let in.
    #[must_use]
    pub fn in_development(mut self, is_development: bool) -> Self {
        self.is_development = is_development;
        self
    }

    async fn admit(&self, info: &ConnectInfo) -> Result<Principal, Refusal> {
        if self.is_development && !is_direct(None, &info.headers) {
            return Err(Reason::RequestRefused.into());
        }
        self.admit_address(info).await?;
        let device = device_of(info)?;
        let credential = credential_of(info).ok_or(Reason::Unauthorized)?;
        let principal = self.authenticator.authenticate(&credential).await?;
        Ok(Principal {
            device,
            ..principal
        })
    }

    async fn admit_address(&self, info: &ConnectInfo) -> Result<(), Refusal> {
        let address = network_of(info.peer.ip());
        if address.is_loopback() {
            return Ok(());
        }
        let admitted = self.connects.admit(address.to_string()).await;
        admitted.map_err(Refusal::rate_limited)
    }

    /// Connects that are under way at the same moment are not counted yet: the cap may be passed
    /// by as many, and holds for the next.
    fn admit_person(&self, socket_id: &str) -> Result<(), Refusal> {
        let cap = usize::try_from(self.sockets_per_user).unwrap_or(usize::MAX);
        if cap != 0 && self.fanout.subscribers(socket_id) >= cap {
            return Err(Reason::TooManySockets.into());
        }
        Ok(())
    }

    async fn renew(&self, holder: &Principal, token: String) -> Result<Principal, Refusal> {
        let fresh = self
            .authenticator
            .authenticate(&Credential::Token(token))
            .await?;
        if fresh.person != holder.person {
            return Err(Refusal::new(Reason::Forbidden).detail("the token is somebody else's"));
        }
        self.authenticator.revocations.renewed(holder, &fresh);
        Ok(Principal {
            device: holder.device.clone(),
            ..fresh
        })
    }
}

impl SocketHandler for ProductSocket {
    type Assigns = Principal;

    async fn connect(&self, info: ConnectInfo) -> Result<Connected<Principal>, ConnectRefusal> {
        let refused = |refusal: Refusal| answer(&refusal);
        let principal = self.admit(&info).await.map_err(refused)?;
        let ids = [principal.socket_id(), principal.token_socket_id()];
        self.admit_person(&ids[0]).map_err(refused)?;
        let connected = Connected::new(principal);
        Ok(ids.into_iter().fold(connected, Connected::socket_id))
    }

    fn expires_at(&self, principal: &Principal) -> Option<Timestamp> {
        Some(principal.expires_at)
    }

    fn log_ends_at(&self, principal: &Principal, note: &Note) -> Option<Seq> {
        let left = note.get::<MemberLeft>()?;
        (left.user == *principal.user()).then_some(left.seq)
    }

    async fn reauthenticate(
        &self,
        principal: &Principal,
        token: String,
    ) -> Result<Principal, JoinError> {
        self.renew(principal, token).await.map_err(JoinError::from)
    }
}

fn connects(config: &Config, shared: Option<Arc<dyn SharedCounters>>) -> Limiter {
    let limit = config.connects_per_address_per_minute;
    Limiter::per_minute("connects", limit, shared)
}

/// The first that is there: a ticket, the tokens of the parameters, the token that phoenix.js 1.8
/// sends beside them, and `Authorization`.
fn credential_of(info: &ConnectInfo) -> Option<Credential> {
    if let Some(ticket) = info.param("ticket") {
        return Some(Credential::Ticket(ticket.into()));
    }
    info.param("token")
        .or_else(|| info.param("auth_token"))
        .or(info.auth_token.as_deref())
        .or_else(|| bearer(&info.headers))
        .map(|token| Credential::Token(token.into()))
}

/// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1).
pub(crate) fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn device_of(info: &ConnectInfo) -> Result<Option<DeviceId>, Refusal> {
    info.param("device_id")
        .or_else(|| info.param("deviceId"))
        .map(DeviceId::new)
        .transpose()
        .map_err(|error| Refusal::invalid_field("device_id", error.to_string()))
}

/// As Phoenix answers: 403 without a body for whoever is not let in. What may pass, or is the
/// client's mistake, keeps its own status.
fn answer(refusal: &Refusal) -> ConnectRefusal {
    let answer = ConnectRefusal::forbidden(refusal.reason.as_str());
    let status = refusal.reason.status();
    if status == http::StatusCode::UNAUTHORIZED || status == http::StatusCode::FORBIDDEN {
        return answer;
    }
    let answer = answer
        .with_status(status.as_u16())
        .with_body(refusal.payload().to_string());
    match refusal.retry_after_s() {
        Some(seconds) => answer.with_retry_after_s(seconds),
        None => answer,
    }
}

#[cfg(test)]
mod tests;
