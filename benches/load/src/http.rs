//! Requests beside the sockets: for people, rooms, and what the server uses.

use anyhow::Context;
use reqwest::{
    Client, Url,
    redirect::{Action, Attempt, Policy},
};

use crate::{target::Target, tls::Security};

/// The most that a server may send one on to another place of its own.
const REDIRECTS: usize = 10;

/// The clients of a run. The headers that were given may be secrets, and only the target gets them.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    own: Client,
    others: Client,
    target: Url,
}

impl Http {
    pub(crate) fn new(target: &Target, security: &Security) -> anyhow::Result<Self> {
        let own = security.http_client().redirect(Policy::custom(stay));
        Ok(Self {
            own: own.default_headers(target.headers.clone()).build()?,
            others: security.http_client().build()?,
            target: target.route("/").parse().context(target.route("/"))?,
        })
    }

    /// For requests to the target.
    pub(crate) fn own(&self) -> &Client {
        &self.own
    }

    /// For requests to wherever that is.
    pub(crate) fn to(&self, url: &str) -> &Client {
        match url.parse::<Url>() {
            Ok(url) if url.origin() == self.target.origin() => &self.own,
            _ => &self.others,
        }
    }
}

/// Follows where the target sends one within itself.
fn stay(attempt: Attempt<'_>) -> Action {
    let before = attempt.previous();
    let stays = before
        .first()
        .is_some_and(|first| first.origin() == attempt.url().origin());
    match stays && before.len() < REDIRECTS {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_the_target_gets_what_was_given() {
        let security = Security::new(None, false, 1).unwrap();
        let target = Target::parse("ws://127.0.0.1:4000", "/socket", &security).unwrap();
        let http = Http::new(&target, &security).unwrap();
        let gets_them = |url| std::ptr::eq(http.to(url), http.own());
        assert!(gets_them("http://127.0.0.1:4000/metrics"));
        for other in [
            "http://127.0.0.1:4001/metrics",
            "https://127.0.0.1:4000/metrics",
            "http://localhost:4000/metrics",
            "nowhere",
        ] {
            assert!(!gets_them(other), "{other}");
        }
    }
}
