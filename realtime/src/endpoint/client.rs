//! Who is really calling: the client's address behind trusted proxies.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, header::FORWARDED, request::Parts};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client of a request, as far as it can be believed. Limits, logs and handlers use this and
/// never the peer's address. It is an axum extractor, and a request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The address limits are counted by.
    pub ip: IpAddr,
    /// Whether the client's own connection is TLS (to us, or to a trusted proxy that says so).
    pub secure: bool,
    /// Whether a trusted proxy stands between.
    pub proxied: bool,
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self::UNKNOWN))
    }
}

impl Client {
    /// A request that did not come through the endpoint (tests that call a router directly).
    const UNKNOWN: Self = Self {
        ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        secure: false,
        proxied: false,
    };
}

/// The header in which trusted proxies name the client. Exactly one is believed: a proxy that
/// writes one of them lets the other through as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Proxies whose forwarding header is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Believes `header` from these networks.
    pub fn new(networks: Vec<IpNet>, header: ForwardedHeader) -> Self {
        Self { networks, header }
    }

    /// Whether an address is one of the proxies.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// The client of a request that came over this connection.
    ///
    /// Hops are read from the right, the end that our own proxies wrote: the first address that is
    /// not a trusted proxy is the client, and whatever stands left of it is hearsay.
    pub fn client(&self, peer: SocketAddr, tls: bool, headers: &HeaderMap) -> Client {
        let direct = Client {
            ip: peer.ip().to_canonical(),
            secure: tls,
            proxied: false,
        };
        if !self.trusts(direct.ip) {
            return direct;
        }
        let mut client = Client {
            proxied: true,
            ..direct
        };
        for hop in self.hops(headers).into_iter().rev() {
            let Some(ip) = hop.ip else { break };
            client.ip = ip;
            client.secure = hop.secure.unwrap_or(client.secure);
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }

    fn hops(&self, headers: &HeaderMap) -> Vec<Hop> {
        match self.header {
            ForwardedHeader::XForwardedFor => x_forwarded_hops(headers),
            ForwardedHeader::Forwarded => elements(headers, &FORWARDED)
                .map(Hop::from_forwarded)
                .collect(),
        }
    }
}

/// One proxy's statement about whom it served. An address it hides (`for=_secret`) is none.
struct Hop {
    ip: Option<IpAddr>,
    secure: Option<bool>,
}

impl Hop {
    fn from_forwarded(element: &str) -> Self {
        let mut hop = Self {
            ip: None,
            secure: None,
        };
        for pair in element.split(';') {
            let Some((name, value)) = pair.trim().split_once('=') else {
                continue;
            };
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "for" => hop.ip = parse_address(value),
                "proto" => hop.secure = Some(value.eq_ignore_ascii_case("https")),
                _ => {}
            }
        }
        hop
    }
}

/// The addresses of `X-Forwarded-For`; `X-Forwarded-Proto` is written by the nearest proxy and
/// speaks for the whole chain.
fn x_forwarded_hops(headers: &HeaderMap) -> Vec<Hop> {
    let secure = elements(headers, &X_FORWARDED_PROTO)
        .last()
        .map(|proto| proto.eq_ignore_ascii_case("https"));
    elements(headers, &X_FORWARDED_FOR)
        .map(|address| Hop {
            ip: parse_address(address),
            secure,
        })
        .collect()
}

/// The comma-separated elements of a header that may be repeated.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn client_of(header: ForwardedHeader, peer: &str, headers: &[(HeaderName, &str)]) -> Client {
        let networks = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        TrustedProxies::new(networks, header).client(peer, false, &map)
    }

    fn xff(peer: &str, value: &str) -> String {
        let headers = [(X_FORWARDED_FOR, value)];
        let client = client_of(ForwardedHeader::XForwardedFor, peer, &headers);
        client.ip.to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(xff("203.0.113.7", "198.51.100.1"), "203.0.113.7");
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        assert_eq!(xff("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(xff("::ffff:10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(
            xff("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.2.2.2"),
            "198.51.100.1"
        );
        assert_eq!(xff("10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(xff("10.0.0.1", "10.3.3.3"), "10.3.3.3");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        assert_eq!(xff("10.0.0.1", "6.6.6.6, unknown"), "10.0.0.1");
        assert_eq!(xff("10.0.0.1", "6.6.6.6, junk, 10.2.2.2"), "10.2.2.2");
    }

    #[test]
    fn forwarded_is_read_when_it_is_the_chosen_header() {
        let headers = [
            (
                FORWARDED,
                r#"for=6.6.6.6, For="[2001:db8::2]:81";proto=https"#,
            ),
            (FORWARDED, "for=10.9.9.9;by=10.0.0.1"),
            (X_FORWARDED_FOR, "7.7.7.7"),
        ];
        let client = client_of(ForwardedHeader::Forwarded, "10.0.0.1", &headers);
        assert_eq!(client.ip.to_string(), "2001:db8::2");
        assert!(client.secure && client.proxied);
        let client = client_of(ForwardedHeader::XForwardedFor, "10.0.0.1", &headers);
        assert_eq!(client.ip.to_string(), "7.7.7.7");
    }

    #[test]
    fn the_scheme_is_believed_from_a_proxy_only() {
        let headers = [(X_FORWARDED_PROTO, "https"), (X_FORWARDED_FOR, "9.9.9.9")];
        assert!(client_of(ForwardedHeader::XForwardedFor, "10.0.0.1", &headers).secure);
        assert!(!client_of(ForwardedHeader::XForwardedFor, "9.9.9.9", &headers).secure);
    }
}
