//! The environment as a layer: `QUIKAPP_<SECTION>__<KEY>`, for example
//! `QUIKAPP_ENDPOINT__LISTEN=0.0.0.0:4000`.

use std::collections::BTreeMap;

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

const PREFIX: &str = "QUIKAPP_";

/// Names with the prefix that are not settings: the file's path, which the command line reads,
/// and the switch that rewrites generated references in tests.
const NOT_SETTINGS: [&str; 2] = ["CONFIG", "BLESS"];

/// A snapshot of environment variables.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    settings: BTreeMap<String, String>,
    config_file: Option<String>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self::from_vars(std::env::vars())
    }

    /// Picks the settings out of any list of variables.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in vars {
            match name.strip_prefix(PREFIX) {
                Some("CONFIG") => environment.config_file = Some(value),
                Some(key) if !NOT_SETTINGS.contains(&key) => {
                    environment.settings.insert(key.to_ascii_lowercase(), value);
                }
                _ => {}
            }
        }
        environment
    }

    /// The file named by `QUIKAPP_CONFIG`.
    pub fn config_file(&self) -> Option<&str> {
        self.config_file.as_deref()
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment").interpolater(|_, keys| {
            let name = keys
                .iter()
                .map(|key| key.to_ascii_uppercase())
                .collect::<Vec<_>>();
            format!("{PREFIX}{}", name.join("__"))
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut root = Dict::new();
        for (path, text) in &self.settings {
            let keys: Vec<&str> = path.split("__").collect();
            insert(&mut root, &keys, parse_value(text));
        }
        Ok(Profile::Default.collect(root))
    }
}

/// Lists, numbers and booleans are read in their usual notation; anything else is text.
fn parse_value(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| Value::from(text))
}

fn insert(dict: &mut Dict, keys: &[&str], value: Value) {
    let Some((first, rest)) = keys.split_first() else {
        return;
    };
    if rest.is_empty() {
        dict.insert((*first).to_owned(), value);
        return;
    }
    let slot = dict
        .entry((*first).to_owned())
        .or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, inner) = slot {
        insert(inner, rest, value);
    }
}
