//! Development mode is for this machine only.
//!
//! Guests sign in without a password there. So a request that came through a proxy, or that was
//! sent to another name (a page that rebinds its own name to 127.0.0.1), is refused.

use std::net::IpAddr;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName,
    header::{FORWARDED, HOST, VIA},
    uri::Authority,
};

use super::problem::Problem;
use crate::{endpoint::split_authority, errors::Reason};

/// Headers by which proxies say that they are there.
const FORWARDING: [HeaderName; 7] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
    VIA,
    HeaderName::from_static("cf-connecting-ip"),
];

/// Middleware for everything that a node in development mode serves.
pub async fn refuse_strangers(request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(Authority::as_str);
    match is_direct(authority, request.headers()) {
        true => next.run(request).await,
        false => Problem::from(Reason::RequestRefused).into_response(),
    }
}

/// Whether a request came straight from this machine, to a name of this machine. The authority is
/// that of the request target, if it has one.
pub(crate) fn is_direct(authority: Option<&str>, headers: &HeaderMap) -> bool {
    let forwarded = headers.keys().any(|name| FORWARDING.contains(name));
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().ok());
    let all_loopback = hosts.all(|host| host.is_some_and(is_loopback));
    let named = headers.contains_key(HOST) || authority.is_some();
    !forwarded && named && all_loopback && authority.is_none_or(is_loopback)
}

/// A host with or without a port. A userinfo part makes it somebody else's.
fn is_loopback(authority: &str) -> bool {
    let Some((host, _)) = split_authority(authority) else {
        return false;
    };
    let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = bracketed.unwrap_or(&host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn verdict(headers: &[(&str, &str)]) -> bool {
        let parsed = headers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        let mut map = HeaderMap::new();
        parsed.for_each(|(name, value)| {
            map.append(name, value);
        });
        is_direct(None, &map)
    }

    #[test]
    fn loopback_hosts_are_let_in() {
        for host in [
            "localhost",
            "LOCALHOST:4000",
            "127.0.0.1:4000",
            "127.1.2.3",
            "[::1]:4000",
        ] {
            assert!(verdict(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn other_hosts_and_none_are_refused() {
        let hosts = [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "localhost@example.com",
            "localhost:80@example.com",
            "[::1]example.com",
            "127.0.0.1]",
            "[[127.0.0.1]",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "",
        ];
        for host in hosts {
            assert!(!verdict(&[("host", host)]), "{host}");
        }
        assert!(!verdict(&[]));
        assert!(!verdict(&[("host", "localhost"), ("host", "example.com")]));
    }

    #[test]
    fn whatever_a_proxy_sent_is_refused() {
        for name in FORWARDING {
            assert!(
                !verdict(&[("host", "localhost"), (name.as_str(), "127.0.0.1")]),
                "{name}"
            );
        }
    }
}
