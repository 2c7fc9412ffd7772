//! A person's preferences, as REST and their own topic read and change them.

use quikapp_actors::{
    documents::Documents,
    preferences::{Day, Notify, Preferences, PreferencesPayload, Previews, Unfit},
};
use quikapp_storage::{Document, DocumentKind, JsonText, Person};
use serde_json::{Map, Value};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::errors::{Reason, Refusal};

const KIND: DocumentKind = DocumentKind::Preferences;

/// Preferences, or a JSON merge patch of them (RFC 7396): what a patch leaves out stays as it is,
/// and null restores the default. Names may be in camelCase, except within `app`.
#[derive(TS, ToSchema)]
#[schema(as = Preferences)]
#[ts(rename = "PreferencesPatch", optional_fields = nullable)]
#[allow(
    dead_code,
    reason = "the form of what `Preferences::patched` reads, against which a test holds it"
)]
pub(crate) struct Form {
    /// Of what one is told, where a conversation's mute does not decide: `all` unless said
    /// otherwise, `direct_and_mentions` or `nothing`. What is urgent is told in any case.
    #[schema(value_type = String)]
    notify: Option<Notify>,
    /// Whether one is told of replies in threads (the default). Of those that mention one, one is
    /// in any case.
    threads: Option<bool>,
    /// What a push may show: `full` (the default), `sender` or `none`.
    #[schema(value_type = String)]
    previews: Option<Previews>,
    /// When one is not to be disturbed.
    quiet_hours: Option<QuietHoursForm>,
    /// A BCP 47 tag of at most 35 characters.
    locale: Option<String>,
    /// What clients keep of their own settings: at most 4 KiB of JSON, at most 32 levels deep.
    #[schema(value_type = Option<Object>)]
    #[ts(optional, type = "Record<string, unknown> | null")]
    app: Option<Map<String, Value>>,
}

/// From a time of the day until the next time that it is another.
#[derive(TS, ToSchema)]
#[schema(as = QuietHours)]
#[ts(rename = "QuietHoursPatch", optional_fields = nullable)]
#[allow(dead_code, reason = "as above")]
struct QuietHoursForm {
    /// `"22:00"`.
    from: Option<String>,
    /// `"07:00"`, on the next day where that is not after `from`.
    to: Option<String>,
    /// The days on which they begin, `mon` to `sun`; all of them unless said otherwise.
    #[schema(value_type = Vec<String>)]
    days: Option<Vec<Day>>,
    /// A name of the IANA time zone database: `"Europe/Berlin"`.
    time_zone: Option<String>,
}

/// For which version of the preferences a change is meant.
pub(crate) enum Expected {
    /// For whatever there is.
    Any,
    /// For one of these, as entity tags (RFC 9110).
    OneOf(Vec<String>),
}

impl Expected {
    fn allows(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&entity_tag(version)),
        }
    }
}

/// The entity tag of a version.
pub(crate) fn entity_tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// What a person prefers.
pub(crate) async fn of(
    documents: &Documents,
    person: &Person,
) -> Result<PreferencesPayload, Refusal> {
    let document = documents.read(person, KIND).await?;
    Ok(of_document(document.as_ref()))
}

/// Changes what a person prefers; all of their devices learn of it. A patch that changes nothing
/// is no change.
pub(crate) async fn change(
    documents: &Documents,
    person: &Person,
    patch: &Map<String, Value>,
    expected: &Expected,
) -> Result<PreferencesPayload, Refusal> {
    let decide = |version, json: Option<&JsonText>| {
        if !expected.allows(version) {
            return Err(Refusal::new(Reason::VersionMismatch));
        }
        let before = Preferences::of(json);
        let after = before.patched(patch)?;
        Ok((after != before).then(|| after.written_over(json)))
    };
    let document = documents.change_version(person, KIND, decide).await?;
    Ok(of_document(document.as_ref()))
}

fn of_document(document: Option<&Document>) -> PreferencesPayload {
    PreferencesPayload {
        version: document.map_or(0, |it| it.version),
        preferences: Preferences::of(document.map(|it| &it.json)),
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self::invalid_field(unfit.field, unfit.detail)
    }
}
