//! Which web pages may open a socket: the Origin policy (protocol.md item 4, ASVS 4.4.2).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who may connect from a browser. A client that sends no `Origin` is not a browser and passes.
///
/// In configuration `true` is [`OriginPolicy::OwnHost`], `false` is [`OriginPolicy::Any`], and a
/// list of strings is [`OriginPolicy::List`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OriginPolicy {
    /// Only pages of the endpoint's own host, on any scheme and port.
    #[default]
    OwnHost,
    /// Pages of these origins.
    List(Vec<OriginPattern>),
    /// Every page. For closed networks and tests.
    Any,
}

impl OriginPolicy {
    /// Whether a request with this `Origin` header may pass. `own_host` is the endpoint's host
    /// name without port.
    pub fn allows(&self, origin: Option<&str>, own_host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if matches!(self, Self::Any) {
            return true;
        }
        let Some(origin) = WebOrigin::parse(origin) else {
            return false;
        };
        match self {
            Self::Any => true,
            Self::OwnHost => own_host.is_some_and(|own| own.eq_ignore_ascii_case(&origin.host)),
            Self::List(patterns) => patterns.iter().any(|pattern| pattern.matches(&origin)),
        }
    }
}

impl Serialize for OriginPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::OwnHost => serializer.serialize_bool(true),
            Self::Any => serializer.serialize_bool(false),
            Self::List(patterns) => patterns.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OriginPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "true, false, or a list of origins")]
        enum Form {
            Flag(bool),
            List(Vec<String>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Flag(true) => Self::OwnHost,
            Form::Flag(false) => Self::Any,
            Form::List(texts) => Self::List(
                texts
                    .iter()
                    .map(|text| text.parse())
                    .collect::<Result<_, _>>()
                    .map_err(de::Error::custom)?,
            ),
        })
    }
}

/// One allowed origin: `//host` (any scheme and port), `scheme://host` (that scheme's own port),
/// `//host:81`, `scheme://host:81`; a host `*.example.com` covers the domain and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: Option<String>,
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exact(String),
    DomainAndBelow(String),
}

impl OriginPattern {
    fn matches(&self, origin: &WebOrigin) -> bool {
        self.scheme
            .as_ref()
            .is_none_or(|scheme| *scheme == origin.scheme)
            && self.port.is_none_or(|port| Some(port) == origin.port)
            && self.host.matches(&origin.host)
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => host == exact,
            Self::DomainAndBelow(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        }
    }
}

/// An origin in the allow-list that cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an origin: expected `//host`, `scheme://host` or `scheme://host:port`")]
pub struct InvalidOrigin(String);

impl FromStr for OriginPattern {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidOrigin(text.to_owned());
        let (scheme, authority) = text.split_once("//").ok_or_else(invalid)?;
        let scheme = match scheme.strip_suffix(':') {
            Some(scheme) if !scheme.is_empty() => Some(scheme.to_ascii_lowercase()),
            None if scheme.is_empty() => None,
            _ => return Err(invalid()),
        };
        let (host, port) = split_authority(authority).ok_or_else(invalid)?;
        let port = port.or_else(|| default_port(scheme.as_deref()?));
        let host = match host.strip_prefix("*.") {
            Some(domain) if !domain.is_empty() => HostPattern::DomainAndBelow(domain.to_owned()),
            _ => HostPattern::Exact(host),
        };
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}:")?;
        }
        match &self.host {
            HostPattern::Exact(host) => write!(f, "//{host}")?,
            HostPattern::DomainAndBelow(domain) => write!(f, "//*.{domain}")?,
        }
        match self.port {
            Some(port) if self.scheme.as_deref().and_then(default_port) != Some(port) => {
                write!(f, ":{port}")
            }
            _ => Ok(()),
        }
    }
}

impl Serialize for OriginPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a browser sent in `Origin`. Opaque origins (`null`, `file://`) have no host and are none.
struct WebOrigin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl WebOrigin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = split_authority(authority)?;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host, port })
    }
}

/// Host (lower case, IPv6 in brackets) and port of `host[:port]`; `None` when there is no host.
pub(crate) fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._~*[]:%".contains(&b) || !b.is_ascii();
    if host.is_empty() || !host.bytes().all(legal) {
        return None;
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(digits.parse().ok()?),
        None if port.is_empty() => None,
        None => return None,
    };
    Some((host.to_ascii_lowercase(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(patterns: &[&str]) -> OriginPolicy {
        OriginPolicy::List(patterns.iter().map(|p| p.parse().unwrap()).collect())
    }

    #[test]
    fn the_recorded_origin_table_holds() {
        let policy = list(&[
            "https://example.com",
            "//*.trusted.test",
            "http://ported.test:8080",
        ]);
        for (origin, allowed) in [
            (None, true),
            (Some("https://example.com"), true),
            (Some("http://example.com"), false),
            (Some("https://example.com:8443"), false),
            (Some("https://sub.example.com"), false),
            (Some("https://a.trusted.test"), true),
            (Some("https://a.b.trusted.test"), true),
            (Some("http://trusted.test"), true),
            (Some("http://trusted.test:99"), true),
            (Some("http://nottrusted.test"), false),
            (Some("http://trusted.test.evil.test"), false),
            (Some("http://ported.test:8080"), true),
            (Some("http://ported.test"), false),
            (Some("https://ported.test:8080"), false),
            (Some("null"), false),
            (Some("file://"), false),
            (Some("garbage"), false),
            (Some(""), false),
            (Some("https://evil.test/https://example.com"), false),
            (Some("https://example.com@evil.test"), false),
        ] {
            assert_eq!(policy.allows(origin, None), allowed, "{origin:?}");
        }
    }

    #[test]
    fn a_port_form_allows_any_scheme_on_that_port_only() {
        let policy = list(&["//example.com:81"]);
        assert!(policy.allows(Some("http://example.com:81"), None));
        assert!(policy.allows(Some("https://example.com:81"), None));
        assert!(!policy.allows(Some("http://example.com"), None));
    }

    #[test]
    fn own_host_ignores_scheme_and_port() {
        let own = Some("localhost");
        for (origin, allowed) in [
            ("http://localhost", true),
            ("https://LOCALHOST:1234", true),
            ("http://127.0.0.1", false),
            ("http://evil.test", false),
            ("null", false),
        ] {
            assert_eq!(OriginPolicy::OwnHost.allows(Some(origin), own), allowed);
        }
        assert!(!OriginPolicy::OwnHost.allows(Some("http://localhost"), None));
    }

    #[test]
    fn configuration_forms_round_trip() {
        for json in [
            "true",
            "false",
            r#"["//host","https://*.example.com","//host:81","http://[::1]:4000"]"#,
        ] {
            let policy: OriginPolicy = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&policy).unwrap(), json);
        }
        for bad in [
            r#"["example.com"]"#,
            r#"["https://"]"#,
            r#"["//host:port"]"#,
            "3",
        ] {
            assert!(serde_json::from_str::<OriginPolicy>(bad).is_err(), "{bad}");
        }
    }
}
