//! Puts the layers together and checks the result.

use std::path::PathBuf;

use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
    value::{Dict, Map},
};

use crate::{ConfigError, Environment, NodeConfig};

/// Settings given on the command line. `None` leaves the layer below alone.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--listen ADDR`
    pub listen: Option<String>,
    /// `--data-dir DIR`
    pub data_dir: Option<PathBuf>,
    /// `--role NAME`, repeated
    pub roles: Vec<String>,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: NodeConfig,
    /// The file they were read from. Without one the node may run in development mode.
    pub file: Option<PathBuf>,
}

/// Reads defaults, file, environment and flags, in this order, and validates what comes out.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Loaded, ConfigError> {
    let file = flags
        .config
        .clone()
        .or_else(|| environment.config_file().map(PathBuf::from));
    let mut figment = Figment::from(Serialized::defaults(NodeConfig::default()));
    if let Some(path) = &file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.clone(),
            source,
        })?;
        figment = figment.merge(NamedToml {
            text,
            path: path.clone(),
        });
    }
    let config: NodeConfig = figment
        .merge(environment.clone())
        .merge(Serialized::globals(flag_values(flags)))
        .extract()
        .map_err(|error| ConfigError::Invalid(describe(error)))?;
    config.validate()?;
    Ok(Loaded { config, file })
}

fn flag_values(flags: &Flags) -> serde_json::Value {
    let mut values = serde_json::json!({});
    if let Some(listen) = &flags.listen {
        values["endpoint"]["listen"] = listen.as_str().into();
    }
    if let Some(dir) = &flags.data_dir {
        values["storage"]["data_dir"] = dir.display().to_string().into();
    }
    if !flags.roles.is_empty() {
        values["roles"] = flags.roles.clone().into();
    }
    values
}

/// A file's text under the file's name, so that errors say where a value stands.
struct NamedToml {
    text: String,
    path: PathBuf,
}

impl figment::Provider for NamedToml {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.path.display().to_string())
    }

    fn data(&self) -> Result<Map<figment::Profile, Dict>, figment::Error> {
        Toml::string(&self.text).data()
    }
}

/// One line per problem: what, at which key, from which layer.
fn describe(error: figment::Error) -> String {
    let lines: Vec<String> = error
        .into_iter()
        .map(|problem| {
            let source = problem
                .metadata
                .as_ref()
                .map_or("the flags", |m| m.name.as_ref());
            let key = problem.path.join(".");
            match key.as_str() {
                "" => format!("{} (in {source})", problem.kind),
                key => format!("{key}: {} (in {source})", problem.kind),
            }
        })
        .collect();
    lines.join("\n")
}
