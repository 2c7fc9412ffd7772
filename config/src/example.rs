//! `quikapp.example.toml` and `docs/configuration.md`, made from the code: the schema gives the
//! words, the defaults give the values.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::NodeConfig;

/// The example file: every setting with its meaning and its default, commented out.
pub fn example_toml() -> String {
    let mut out = String::from(
        "# Every setting with its default. Uncomment what you change.\n\
         # The environment overrides this file: QUIKAPP_<SECTION>__<KEY>; flags override both.\n",
    );
    for section in sections() {
        if !section.name.is_empty() {
            let _ = write!(out, "\n{}[{}]\n", comment(&section.about), section.name);
        }
        for setting in section.settings {
            let _ = write!(
                out,
                "\n{}# {} = {}\n",
                comment(&setting.about),
                setting.key,
                setting.default
            );
        }
    }
    out
}

/// The same as a table for the manual.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\nGenerated from the code. Defaults < file < environment < flags; an \
         unknown key is refused by name.\n",
    );
    for section in sections() {
        let title = if section.name.is_empty() {
            "Top level"
        } else {
            &section.name
        };
        let _ = write!(
            out,
            "\n## {title}\n\n{}\n\n",
            section.about.replace('\n', " ")
        );
        out.push_str("| setting | default | environment | meaning |\n| --- | --- | --- | --- |\n");
        for setting in section.settings {
            let path = if section.name.is_empty() {
                setting.key.clone()
            } else {
                format!("{}.{}", section.name, setting.key)
            };
            let variable = path.replace('.', "__").to_uppercase();
            let about = setting.about.replace('\n', " ");
            let default = &setting.default;
            let _ = writeln!(
                out,
                "| `{}` | `{default}` | `QUIKAPP_{variable}` | {about} |",
                setting.key
            );
        }
    }
    out
}

struct Section {
    name: String,
    about: String,
    settings: Vec<Setting>,
}

struct Setting {
    key: String,
    about: String,
    default: String,
}

fn sections() -> Vec<Section> {
    let schema = schemars::schema_for!(NodeConfig).to_value();
    let defaults = serde_json::to_value(NodeConfig::default()).unwrap_or_default();
    let mut found = Vec::new();
    collect(&schema, &schema, &defaults, "", &mut found);
    found
}

/// Walks one object of the schema; nested objects become sections of their own.
fn collect(root: &Value, node: &Value, defaults: &Value, name: &str, found: &mut Vec<Section>) {
    let about = description(node);
    let mut section = Section {
        name: name.to_owned(),
        about,
        settings: Vec::new(),
    };
    let mut nested = Vec::new();
    for (key, property) in properties(node) {
        let target = resolve(root, property);
        let default = &defaults[key];
        if properties(target).next().is_some() && !default.is_null() {
            let path = if name.is_empty() {
                key.clone()
            } else {
                format!("{name}.{key}")
            };
            nested.push((path, property, target, default));
        } else {
            let about = description(property);
            section.settings.push(Setting {
                key: key.clone(),
                about,
                default: toml_value(default),
            });
        }
    }
    found.push(section);
    for (path, property, target, default) in nested {
        let at = found.len();
        collect(root, target, default, &path, found);
        let own = description(property);
        if !own.is_empty() {
            found[at].about = own;
        }
    }
}

fn properties(node: &Value) -> impl Iterator<Item = (&String, &Value)> {
    node.get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

/// Follows `$ref` and the single branch of an `anyOf`/`allOf`.
fn resolve<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    if let Some(name) = node.get("$ref").and_then(Value::as_str) {
        return root.pointer(name.trim_start_matches('#')).unwrap_or(node);
    }
    for key in ["allOf", "anyOf"] {
        if let Some([only, ..]) = node.get(key).and_then(Value::as_array).map(Vec::as_slice) {
            return resolve(root, only);
        }
    }
    node
}

fn description(node: &Value) -> String {
    node.get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::Null => "\"\"  # none".to_owned(),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        other => other.to_string(),
    }
}
