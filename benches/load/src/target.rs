//! Where the server is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};

/// Sockets that connect from one address: fewer than servers allow, and than there are ports.
const SOCKETS_PER_ADDRESS: usize = 2000;

/// A server that is reached without TLS.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As in the Host header.
    pub(crate) authority: String,
    pub(crate) address: SocketAddr,
}

impl Target {
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("{url}: only http:// is supported");
        };
        let authority = rest.trim_end_matches('/').to_owned();
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.clone(),
            _ => format!("{authority}:80"),
        };
        let mut addresses = with_port.to_socket_addrs().context(authority.clone())?;
        let address = addresses
            .next()
            .with_context(|| format!("{authority} has no address"))?;
        Ok(Self { authority, address })
    }

    /// The address from which the socket of this number connects; many clients on loopback.
    pub(crate) fn source(&self, number: usize) -> Option<IpAddr> {
        let block = u8::try_from(2 + number / SOCKETS_PER_ADDRESS).ok()?;
        let loopback = self.address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
        loopback.then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, block)))
    }

    pub(crate) fn route(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn urls() {
        let target = Target::parse("http://127.0.0.1:4000/").unwrap();
        assert_eq!(target.authority, "127.0.0.1:4000");
        assert_eq!(target.route("/api"), "http://127.0.0.1:4000/api");
        assert_eq!(
            Target::parse("http://127.0.0.1").unwrap().address.port(),
            80
        );
        assert!(Target::parse("https://127.0.0.1").is_err());
    }

    #[test]
    fn many_sockets_come_from_many_addresses() {
        let target = Target::parse("http://127.0.0.1:4000").unwrap();
        assert_eq!(target.source(0), target.source(1999));
        assert_ne!(target.source(0), target.source(2000));
        let elsewhere = Target {
            address: ([192, 0, 2, 1], 80).into(),
            ..target
        };
        assert_eq!(elsewhere.source(0), None);
    }
}
