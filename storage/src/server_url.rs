//! The address of a database server, which may hold a password and therefore shows itself
//! without.

use std::{fmt, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// What speaks behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `mysql://`: MySQL 8 or MariaDB.
    MySql,
    /// `mongodb://` and `mongodb+srv://`: MongoDB, or what speaks its protocol.
    MongoDb,
    /// `redis://`, and `rediss://` for TLS.
    Redis,
}

impl Scheme {
    const NAMES: [(&'static str, Self); 5] = [
        ("mysql", Self::MySql),
        ("mongodb", Self::MongoDb),
        ("mongodb+srv", Self::MongoDb),
        ("redis", Self::Redis),
        ("rediss", Self::Redis),
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MongoDb => "mongodb",
            Self::Redis => "redis",
        }
    }
}

/// The text is no address of a server that is known. It is not repeated: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected embedded, mysql://..., mongodb://..., mongodb+srv://..., redis://... or rediss://..."
)]
pub struct ServerUrlError;

/// The address of a server: `scheme://user:password@host:port/name?option=value`.
///
/// Every way of showing it (`Display`, `Debug`, serialization) leaves out the password and all
/// options but harmless ones. [`ServerUrl::with_secrets`] is for the driver alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    scheme: Scheme,
    text: Arc<str>,
}

impl ServerUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, ServerUrlError> {
        let (name, rest) = text.split_once("://").ok_or(ServerUrlError)?;
        let mut schemes = Scheme::NAMES.iter();
        let (_, scheme) = schemes
            .find(|(known, _)| *known == name)
            .ok_or(ServerUrlError)?;
        if rest.is_empty() {
            return Err(ServerUrlError);
        }
        Ok(Self {
            scheme: *scheme,
            text: text.into(),
        })
    }

    /// What speaks there.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The whole text, for the driver. It goes into no message: what a driver says of it is
    /// passed through [`ServerUrl::scrub`] first.
    pub fn with_secrets(&self) -> &str {
        &self.text
    }

    /// Takes this address, and its password, out of somebody else's message.
    pub fn scrub(&self, message: &str) -> String {
        let mut clean = message.replace(&*self.text, &self.to_string());
        let parts = Parts::of(&self.text);
        let password = parts.user.and_then(|user| user.split_once(':'));
        let hidden = parts.options().filter(|option| !is_harmless(option));
        let values = hidden.filter_map(|option| option.split_once('='));
        for (_, secret) in password.into_iter().chain(values) {
            if !secret.is_empty() {
                clean = clean.replace(secret, HIDDEN);
            }
        }
        clean
    }
}

const HIDDEN: &str = "***";

/// Options that tell nothing that must stay secret, whatever their value.
const HARMLESS: [&str; 12] = [
    "appname",
    "authmechanism",
    "authsource",
    "compressors",
    "directconnection",
    "prefer_socket",
    "readconcernlevel",
    "readpreference",
    "replicaset",
    "require_ssl",
    "ssl_mode",
    "w",
];

/// The pieces of an address. Where a password holds characters that it should not, more is taken
/// for the user's part than belongs to it, never less.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    place: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        Self {
            scheme,
            user,
            place,
            query,
        }
    }

    fn options(&self) -> impl Iterator<Item = &'a str> {
        self.query.into_iter().flat_map(|query| query.split('&'))
    }
}

fn is_harmless(option: &str) -> bool {
    let Some((name, value)) = option.split_once('=') else {
        return true;
    };
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && value.len() < 8;
    is_plain || matches!(value, "true" | "false") || HARMLESS.contains(&&*name.to_ascii_lowercase())
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = Parts::of(&self.text);
        write!(f, "{}://", parts.scheme)?;
        match parts.user.map(|user| user.split_once(':')) {
            Some(Some((name, _))) => write!(f, "{name}:{HIDDEN}@")?,
            Some(None) => write!(f, "{}@", parts.user.unwrap_or_default())?,
            None => {}
        }
        f.write_str(parts.place)?;
        for (index, option) in parts.options().enumerate() {
            f.write_str(if index == 0 { "?" } else { "&" })?;
            match option.split_once('=') {
                Some((name, _)) if !is_harmless(option) => write!(f, "{name}={HIDDEN}")?,
                _ => f.write_str(option)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ServerUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServerUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Which store keeps a concern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Backend {
    /// The one in the data directory.
    #[default]
    Embedded,
    /// A server.
    Server(ServerUrl),
}

impl Backend {
    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Server(url) => url.scheme().name(),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Server(url) => url.fmt(f),
        }
    }
}

impl Serialize for Backend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Backend {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match &*text {
            "embedded" => Ok(Self::Embedded),
            url => ServerUrl::parse(url)
                .map(Self::Server)
                .map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for Backend {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Backend".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(text: &str) -> String {
        ServerUrl::parse(text).unwrap().to_string()
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            shown("mysql://quik:s3cret@db.example:3306/chat"),
            "mysql://quik:***@db.example:3306/chat"
        );
        assert_eq!(shown("redis://:s3cret@localhost"), "redis://:***@localhost");
        assert_eq!(
            shown("mysql://quik@localhost/chat"),
            "mysql://quik@localhost/chat"
        );
        assert_eq!(
            shown("mongodb://u:p@a:1,b:2/chat?replicaSet=rs&w=majority"),
            "mongodb://u:***@a:1,b:2/chat?replicaSet=rs&w=majority"
        );
    }

    #[test]
    fn options_are_shown_only_where_they_are_known_to_be_harmless() {
        assert_eq!(
            shown(
                "mongodb://h/d?tlsCertificateKeyFilePassword=pw&maxPoolSize=10&tls=true&x=12345678"
            ),
            "mongodb://h/d?tlsCertificateKeyFilePassword=***&maxPoolSize=10&tls=true&x=***"
        );
    }

    #[test]
    fn a_password_with_characters_that_it_should_not_have_is_hidden_as_well() {
        for password in ["a/b", "a@b", "a?b=c", "a:b", "a#b", "mysql://x"] {
            let url = format!("mysql://quik:{password}@host/chat");
            assert_eq!(shown(&url), "mysql://quik:***@host/chat", "{password}");
        }
    }

    #[test]
    fn every_way_of_showing_hides() {
        let text = "mysql://quik:s3cret@host/chat?key=t0ken";
        let url = ServerUrl::parse(text).unwrap();
        let backend = Backend::Server(url.clone());
        let ways = [
            format!("{url:?} {url} {backend:?} {backend}"),
            serde_json::to_string(&(&url, &backend)).unwrap(),
            url.scrub(&format!("cannot reach {text} with s3cret or t0ken")),
        ];
        for shown in ways {
            assert!(
                !shown.contains("s3cret") && !shown.contains("t0ken"),
                "{shown}"
            );
            assert!(shown.contains("quik"), "{shown}");
        }
        assert_eq!(url.with_secrets(), text);
    }

    #[test]
    fn a_refusal_does_not_repeat_what_it_refuses() {
        for junk in [
            "postgres://u:s3cret@h/d",
            "s3cret",
            "mysql://",
            "mysql:s3cret",
        ] {
            let error = serde_json::from_value::<Backend>(junk.into()).unwrap_err();
            let error = error.to_string();
            assert!(!error.contains("s3cret"), "{error}");
            assert!(error.contains("mysql://"), "{error}");
        }
    }

    proptest::proptest! {
        /// Whatever the password, it is not in what is shown.
        #[test]
        fn no_password_is_shown(password in "[!-~]{6,20}", host in "[a-z]{1,5}") {
            let url = format!("mysql://quik:{password}@{host}/chat");
            proptest::prop_assume!(!format!("mysql://quik:***@{host}/chat").contains(&password));
            let url = ServerUrl::parse(&url).unwrap();
            assert!(!url.to_string().contains(&password), "{url}");
            let text = url.with_secrets();
            assert!(!url.scrub(text).contains(&password));
        }
    }
}
