//! What the listener can be told.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    client::{ForwardedHeader, TrustedProxies},
    origin::OriginPolicy,
};
use crate::socket::{Limits, LongPollOptions, MountOptions};

/// The listener for sockets, REST, health and metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Where other nodes that share a Redis reach this one (`http://10.0.0.3:4000`), for long-poll
    /// requests that land on the wrong node; empty takes `listen`, unless that is a wildcard.
    pub advertise: String,
    /// A second address for health and metrics only; empty for none. They also stay on `listen`.
    #[serde(with = "empty_is_none")]
    #[schemars(with = "String")]
    pub admin_listen: Option<SocketAddr>,
    /// Host name of this service as browsers see it, for `allowed_origins = true`; empty takes the
    /// request's own Host header.
    pub public_host: String,
    /// Web pages that may open sockets and call the API: `true` for pages of the own host, `false`
    /// for all, or a list of `//host`, `scheme://host`, `//host:port`, `//*.domain`.
    #[schemars(with = "serde_json::Value")]
    pub allowed_origins: OriginPolicy,
    /// Networks of proxies whose forwarding header is believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The one header in which trusted proxies name the client: `x-forwarded-for` or `forwarded`.
    #[schemars(with = "String")]
    pub forwarded_header: ForwardedHeader,
    /// Connections the kernel may queue before they are accepted.
    pub backlog: u32,
    /// Connections held at once; more are answered with 503.
    pub max_connections: usize,
    /// Connections of one client address (IPv6: of one /64 network) held at once.
    pub max_connections_per_address: usize,
    /// Time a client has to say something, and from then on to send a request's header; also closes
    /// idle keep-alive connections.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub header_timeout: Duration,
    /// Time from a request's header to the answer's, for everything but sockets and long-poll.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// Time that an answer may make no progress because the client does not take it.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub write_timeout: Duration,
    /// Time that authenticating a socket may take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// A WebSocket from which nothing comes for this long, not even a heartbeat, is closed.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Largest message of a client.
    #[schemars(with = "String")]
    pub max_message: ByteSize,
    /// Time that open requests have to finish when the node stops.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
    /// Offer permessage-deflate on WebSockets. It costs memory for every connection.
    pub compress: bool,
    /// TLS on this listener.
    pub tls: TlsConfig,
    /// The long-poll transport.
    pub long_poll: LongPollConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)),
            advertise: String::new(),
            admin_listen: None,
            public_host: String::new(),
            allowed_origins: OriginPolicy::default(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            backlog: 4096,
            max_connections: 100_000,
            max_connections_per_address: 4096,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_message: ByteSize::mib(1),
            drain_timeout: Duration::from_secs(10),
            compress: false,
            tls: TlsConfig::default(),
            long_poll: LongPollConfig::default(),
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let positive = [
            ("backlog", self.backlog > 0),
            ("max_connections", self.max_connections > 0),
            (
                "max_connections_per_address",
                self.max_connections_per_address > 0,
            ),
            ("header_timeout", !self.header_timeout.is_zero()),
            ("request_timeout", !self.request_timeout.is_zero()),
            ("write_timeout", !self.write_timeout.is_zero()),
            ("connect_timeout", !self.connect_timeout.is_zero()),
            (
                "tls.handshake_timeout",
                !self.tls.handshake_timeout.is_zero(),
            ),
            ("tls.reload_interval", !self.tls.reload_interval.is_zero()),
            ("long_poll.window", !self.long_poll.window.is_zero()),
            ("long_poll.max_sessions", self.long_poll.max_sessions > 0),
            ("long_poll.max_body", self.long_poll.max_body.as_u64() > 0),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, holds)| !holds) {
            return Err(InvalidConfig::NotPositive { key });
        }
        if self.tls.cert.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            return Err(InvalidConfig::HalfTls);
        }
        match self.advertise.is_empty() || origin(&self.advertise).is_some() {
            true => Ok(()),
            false => Err(InvalidConfig::Advertise),
        }
    }

    /// Where other nodes reach this one, whose listener is bound to an address: scheme, host, and
    /// port where it is not the scheme's own. None if that address is a wildcard and nothing else
    /// is said. A loopback address is for processes on the same host.
    pub fn advertised(&self, bound: SocketAddr) -> Option<String> {
        if !self.advertise.is_empty() {
            return origin(&self.advertise);
        }
        let scheme = match self.tls.files() {
            Some(_) => "https",
            None => "http",
        };
        (!bound.ip().is_unspecified()).then(|| format!("{scheme}://{bound}"))
    }

    /// How the product's socket behaves under this configuration: both transports, and the token
    /// of phoenix.js 1.8.
    pub fn mount_options(&self, limits: Limits) -> MountOptions {
        MountOptions {
            longpoll: Some(LongPollOptions {
                window: self.long_poll.window,
                origins: None,
            }),
            origins: self.allowed_origins.clone(),
            auth_token: true,
            compress: self.compress,
            max_message_size: usize::try_from(self.max_message.as_u64()).unwrap_or(usize::MAX),
            idle_timeout: self.idle_timeout,
            connect_timeout: self.connect_timeout,
            limits,
            ..MountOptions::default()
        }
    }

    pub(crate) fn proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.trusted_proxies.clone(), self.forwarded_header)
    }
}

/// A setting that cannot be served with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidConfig {
    /// A size, count or time is zero.
    #[error("`{key}` must be more than zero")]
    NotPositive {
        /// The setting, relative to this section.
        key: &'static str,
    },
    /// Only one of the two TLS files is named.
    #[error("`tls.cert` and `tls.key` go together: set both or none")]
    HalfTls,
    /// Not an address of this node.
    #[error(
        "`advertise` must be http:// or https:// and a host, with a port unless it is 80 or 443, \
         and no more"
    )]
    Advertise,
}

/// A scheme, a host and perhaps a port, as they are written in a URL; none if the text has more.
fn origin(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && !text.ends_with('/')
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    is_origin.then(|| url.origin().ascii_serialization())
}

/// TLS with a certificate from files, which are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file with the certificate chain, leaf first; empty for no TLS.
    pub cert: PathBuf,
    /// PEM file with the private key; empty for no TLS.
    pub key: PathBuf,
    /// Time that a TLS handshake may take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub handshake_timeout: Duration,
    /// How often the files are looked at for a change.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub reload_interval: Duration,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            cert: PathBuf::new(),
            key: PathBuf::new(),
            handshake_timeout: Duration::from_secs(10),
            reload_interval: Duration::from_secs(60),
        }
    }
}

impl TlsConfig {
    /// Certificate and key file, when TLS is wanted.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        (!self.cert.as_os_str().is_empty()).then_some((&self.cert, &self.key))
    }
}

/// The long-poll transport: for clients behind proxies that break WebSockets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LongPollConfig {
    /// How long a poll waits for messages. A session without a poll for one and a half windows ends.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// Sessions held at once; more are refused with 503.
    pub max_sessions: usize,
    /// Largest body of a POST.
    #[schemars(with = "String")]
    pub max_body: ByteSize,
    /// Bytes that may wait for a session's next poll; a session with more ends.
    #[schemars(with = "String")]
    pub max_queued: ByteSize,
}

impl Default for LongPollConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            max_sessions: 10_000,
            max_body: ByteSize::mib(8),
            max_queued: ByteSize::mib(1),
        }
    }
}

/// An optional setting in formats that have no null: an empty string is none.
mod empty_is_none {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_round_trip() {
        let config = Config::default();
        config.validate().unwrap();
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["header_timeout"], "10s");
        assert_eq!(json["admin_listen"], "");
        assert_eq!(serde_json::from_value::<Config>(json).unwrap(), config);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named() {
        let error = |json: &str| {
            serde_json::from_str::<Config>(json)
                .unwrap_err()
                .to_string()
        };
        assert!(error(r#"{"lisen": "x"}"#).contains("lisen"));
        assert!(error(r#"{"tls": {"certificate": "x"}}"#).contains("certificate"));
        assert!(error(r#"{"trusted_proxies": ["10.0.0.0/99"]}"#).contains("invalid"));
        assert!(error(r#"{"admin_listen": "nowhere"}"#).contains("socket address"));
    }

    #[test]
    fn a_node_is_reached_where_it_says_or_listens() {
        let bound = |text: &str| text.parse().unwrap();
        let mut config = Config::default();
        let here = config.advertised(bound("10.0.0.3:4000"));
        assert_eq!(here.as_deref(), Some("http://10.0.0.3:4000"));
        assert_eq!(config.advertised(bound("0.0.0.0:4000")), None);
        assert_eq!(config.advertised(bound("[::]:4000")), None);
        for (text, is_valid) in [
            ("http://node-3.internal:4000", true),
            ("https://[fd00::3]:443", true),
            ("node-3:4000", false),
            ("ftp://node-3", false),
            ("http://node-3:4000/", false),
            ("http://node-3:4000/chat", false),
            ("http://me:secret@node-3:4000", false),
        ] {
            config.advertise = text.to_owned();
            assert_eq!(config.validate().is_ok(), is_valid, "{text}");
        }
        for (text, address) in [
            ("https://[FD00::3]:4000", "https://[fd00::3]:4000"),
            ("HTTP://Node-3:80", "http://node-3"),
            ("http:node-3:4000", "http://node-3:4000"),
        ] {
            config.advertise = text.to_owned();
            let advertised = config.advertised(bound("0.0.0.0:1"));
            assert_eq!(advertised.as_deref(), Some(address));
        }
    }

    #[test]
    fn what_types_cannot_say_is_checked() {
        let half = Config {
            tls: TlsConfig {
                cert: "cert.pem".into(),
                ..TlsConfig::default()
            },
            ..Config::default()
        };
        assert_eq!(half.validate(), Err(InvalidConfig::HalfTls));
        let silent = Config {
            header_timeout: Duration::ZERO,
            ..Config::default()
        };
        let key = "header_timeout";
        assert_eq!(silent.validate(), Err(InvalidConfig::NotPositive { key }));
    }
}
