//! TypeScript forms of payload types.

use std::collections::BTreeMap;

use ts_rs::{Config, TS, TypeVisitor};

/// A type in TypeScript, with the declarations that it needs.
#[derive(Debug, Clone)]
pub(super) struct Type {
    text: String,
    /// By name.
    declared: BTreeMap<String, String>,
}

impl Type {
    /// The form of a Rust type.
    pub(super) fn of<T: TS + 'static>() -> Self {
        let config = config();
        let text = T::name(&config);
        let mut collect = Collect {
            config,
            declared: BTreeMap::new(),
        };
        collect.visit::<T>();
        Self {
            text,
            declared: collect.declared,
        }
    }

    /// An object without members of meaning.
    pub(super) fn nothing() -> Self {
        Self::written("Empty")
    }

    /// A type as TypeScript writes it.
    pub(super) fn written(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            declared: BTreeMap::new(),
        }
    }

    /// One object with the members of both.
    pub(super) fn and(self, other: Self) -> Self {
        self.joined(" & ", other)
    }

    /// One or the other.
    pub(super) fn or(self, other: Self) -> Self {
        self.joined(" | ", other)
    }

    fn joined(mut self, by: &str, other: Self) -> Self {
        self.text = format!("{}{by}{}", self.text, other.text);
        self.declared.extend(other.declared);
        self
    }

    /// An object by key.
    pub(super) fn by_key(self) -> Self {
        Self {
            text: format!("Record<string, {}>", self.text),
            ..self
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn declared(&self) -> &BTreeMap<String, String> {
        &self.declared
    }
}

/// Sequence numbers and counts stay far below what a JavaScript number holds exactly.
fn config() -> Config {
    Config::new().with_large_int("number")
}

struct Collect {
    config: Config,
    declared: BTreeMap<String, String>,
}

impl TypeVisitor for Collect {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // Only derived types have a path, and with it a declaration.
        if T::output_path().is_some() {
            let name = T::ident(&self.config);
            if self.declared.contains_key(&name) {
                return;
            }
            let docs = T::docs().unwrap_or_default();
            let declared = tidy(&format!("{docs}export {}", T::decl(&self.config)));
            self.declared.insert(name, declared);
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

/// Members on lines of their own, indented; short comments on one line.
fn tidy(declaration: &str) -> String {
    let mut tidied = String::new();
    let mut is_inside = false;
    for line in on_one_line(declaration).lines().map(str::trim) {
        let (line, ends) = match line.strip_suffix(", };") {
            Some(member) if is_inside => (member, true),
            _ => (line, false),
        };
        let indent = if is_inside { "  " } else { "" };
        let is_comment = line.starts_with(['/', '*']);
        let (line, end) = match line.strip_suffix(',') {
            Some(member) if is_inside => (member, ";"),
            _ if is_inside && !is_comment => (line, ";"),
            _ => (line, ""),
        };
        tidied += &format!("{indent}{line}{end}\n");
        if ends {
            tidied += "};\n";
        }
        is_inside = !ends && (is_inside || (line.starts_with("export") && line.ends_with('{')));
    }
    tidied
}

/// Comments of one line lose their frame.
fn on_one_line(declaration: &str) -> String {
    let mut text = String::new();
    for (nth, part) in declaration.split("/**\n * ").enumerate() {
        let short = part
            .split_once("\n */\n")
            .filter(|(doc, _)| !doc.contains('\n'));
        text += &match (nth, short) {
            (0, _) => part.to_owned(),
            (_, Some((doc, rest))) => format!("/** {doc} */\n{rest}"),
            (_, None) => format!("/**\n * {part}"),
        };
    }
    text
}
