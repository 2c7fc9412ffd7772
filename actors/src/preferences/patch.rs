//! Changing preferences by JSON merge patches (RFC 7396).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Preferences, QuietHours, quiet};

/// The fields of the document, and of its quiet hours.
pub(super) const FIELDS: [&str; 6] = [
    "notify",
    "threads",
    "previews",
    "quiet_hours",
    "locale",
    "app",
];
const QUIET_HOURS: [&str; 4] = ["from", "to", "days", "time_zone"];
const MAX_LOCALE: usize = 35;
const MAX_APP_BYTES: usize = 4 * 1024;
/// Deeper ones could be read where they stand alone, and not as part of what clients are sent.
const MAX_APP_DEPTH: usize = 32;

/// A field that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct Unfit {
    /// Its path: `quiet_hours.from`.
    pub field: String,
    /// Why, for people.
    pub detail: String,
}

impl Preferences {
    /// The preferences after a merge patch: what it leaves out stays, null restores the default.
    /// Names may be in camelCase, except within `app`.
    pub fn patched(&self, patch: &Map<String, Value>) -> Result<Self, Unfit> {
        let mut patch = known(patch, &FIELDS, "")?;
        if let Some(Value::Object(hours)) = patch.get_mut("quiet_hours") {
            *hours = known(hours, &QUIET_HOURS, "quiet_hours.")?;
        }
        let fields: Vec<String> = patch.keys().cloned().collect();
        let mut document = serde_json::to_value(self).unwrap_or_default();
        merge(&mut document, &Value::Object(patch));
        let mut patched: Self = serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            misfit(&path, &error.into_inner().to_string())
        })?;
        patched.check(&fields)?;
        Ok(patched)
    }

    /// What types do not say of these fields. (Others were checked when they were written, perhaps
    /// by a version that knows more time zones.)
    fn check(&mut self, fields: &[String]) -> Result<(), Unfit> {
        let is_new = |field: &str| fields.iter().any(|it| it == field);
        if let Some(hours) = self.quiet_hours.as_mut().filter(|_| is_new("quiet_hours")) {
            check_quiet_hours(hours)?;
        }
        if let Some(locale) = self.locale.as_ref().filter(|_| is_new("locale")) {
            let detail = "a BCP 47 tag of at most 35 characters is needed";
            ensure(is_language_tag(locale), "locale", detail)?;
        }
        if let Some(app) = self.app.as_ref().filter(|_| is_new("app")) {
            let size = serde_json::to_string(app).map_or(usize::MAX, |text| text.len());
            ensure(size <= MAX_APP_BYTES, "app", "at most 4 KiB are kept")?;
            let depth = app.values().map(depth_of).max().unwrap_or_default();
            let detail = "at most 32 levels are kept";
            ensure(depth < MAX_APP_DEPTH, "app", detail)?;
        }
        Ok(())
    }
}

/// The time zone is kept under the name that the database has.
fn check_quiet_hours(hours: &mut QuietHours) -> Result<(), Unfit> {
    let zone = quiet::zone(&hours.time_zone);
    let name = zone.as_ref().and_then(|zone| zone.iana_name());
    let Some(name) = name else {
        let detail = "a name of the IANA time zone database is needed";
        return Err(unfit("quiet_hours.time_zone", detail));
    };
    hours.time_zone = name.to_owned();
    let detail = "at least one day is needed";
    ensure(!hours.days.is_empty(), "quiet_hours.days", detail)?;
    let detail = "quiet hours that never end are no hours: set notify to \"nothing\"";
    ensure(!hours.is_endless(), "quiet_hours.to", detail)
}

/// A patch's members by their names, if all of them are known.
fn known(
    patch: &Map<String, Value>,
    fields: &[&str],
    within: &str,
) -> Result<Map<String, Value>, Unfit> {
    let mut known = Map::new();
    for (key, value) in patch {
        let name = match key.as_str() {
            "quietHours" => "quiet_hours",
            "timeZone" => "time_zone",
            name => name,
        };
        if !fields.contains(&name) {
            return Err(unfit(&format!("{within}{key}"), "there is no such field"));
        }
        // Of both spellings that with underscores counts.
        if name == key || !patch.contains_key(name) {
            known.insert(name.to_owned(), value.clone());
        }
    }
    Ok(known)
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(name)),
            value => merge(target.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

/// Whether a text has the form of a language tag: subtags of letters and digits, the first of
/// letters.
fn is_language_tag(text: &str) -> bool {
    let is_subtag = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let language = text.split('-').next().unwrap_or_default();
    text.len() <= MAX_LOCALE
        && text.split('-').all(is_subtag)
        && language.len() >= 2
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// How many levels of arrays and objects are in a value.
fn depth_of(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth_of).max(),
        Value::Object(members) => members.values().map(depth_of).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or_default()
}

/// A missing field is named by the error, not by the path to it.
fn misfit(path: &str, detail: &str) -> Unfit {
    let missing = detail.strip_prefix("missing field `");
    let field = match missing.and_then(|rest| rest.split('`').next()) {
        Some(missing) => Cow::Owned(format!("{path}.{missing}")),
        None => Cow::Borrowed(path),
    };
    unfit(&field, detail)
}

fn ensure(fits: bool, field: &str, detail: &str) -> Result<(), Unfit> {
    fits.then_some(()).ok_or_else(|| unfit(field, detail))
}

fn unfit(field: &str, detail: &str) -> Unfit {
    Unfit {
        field: field.to_owned(),
        detail: detail.to_owned(),
    }
}
