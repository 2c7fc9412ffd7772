//! The view, out of the log.

use quikapp_storage::{
    Conversation, ConversationId, ConversationKind, Document, DocumentKind, Entry, Person, Seq,
    SharedStore, StoreError,
};

use super::entry::Written;
use crate::conversation::document_key;

/// Entries read at once.
const PAGE: usize = 256;

/// Folds entries of a conversation into the view. What is kept already, or is later, stays.
pub(crate) async fn fold(
    store: &SharedStore,
    id: &ConversationId,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let mut latest = Latest::default();
    latest.take(entries);
    if latest.0.is_empty() {
        return Ok(());
    }
    match owner_of(store, id).await? {
        Some(person) => latest.put(store, &person).await,
        None => Ok(()),
    }
}

/// Makes the view of one person what the log says; from how many entries. `None` where the
/// conversation is nobody's own.
pub(crate) async fn rebuild(
    store: &SharedStore,
    id: &ConversationId,
) -> Result<Option<u64>, StoreError> {
    let Some(person) = owner_of(store, id).await? else {
        return Ok(None);
    };
    // Before the log is read: of what others write meanwhile, the log has it first.
    if !is_in_log(store, &person).await? {
        store.forget_documents(&person).await?;
    }
    let (mut latest, mut count, mut after) = (Latest::default(), 0, Seq(0));
    loop {
        let page = store.entries(id, after, PAGE).await?;
        count += latest.take(&page);
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.seq,
            _ => break,
        }
    }
    latest.put(store, &person).await?;
    Ok(Some(count))
}

/// Keeps a document that was read from the log. If nothing is left of it there by now, its person
/// is being erased, and nothing stays here that came after everything was forgotten.
pub(super) async fn put(store: &SharedStore, document: &Document) -> Result<(), StoreError> {
    if store.put_document(document).await? && !stands(store, document).await? {
        store.forget_documents(&document.person).await?;
    }
    Ok(())
}

/// The last version of each document.
#[derive(Default)]
struct Latest(Vec<Written>);

impl Latest {
    /// Takes what entries say; how many said something.
    fn take(&mut self, entries: &[Entry]) -> u64 {
        let mut count = 0;
        for written in entries.iter().filter_map(Written::of) {
            count += 1;
            match self.0.iter_mut().find(|known| known.kind == written.kind) {
                Some(known) if known.version < written.version => *known = written,
                Some(_) => {}
                None => self.0.push(written),
            }
        }
        count
    }

    async fn put(self, store: &SharedStore, person: &Person) -> Result<(), StoreError> {
        for written in self.0 {
            let document = Document {
                person: person.clone(),
                kind: written.kind,
                version: written.version,
                json: written.json,
            };
            put(store, &document).await?;
        }
        Ok(())
    }
}

/// Whose own conversation it is.
async fn owner_of(store: &SharedStore, id: &ConversationId) -> Result<Option<Person>, StoreError> {
    let own = |it: &Conversation| it.kind == ConversationKind::Person;
    let found = store.conversation(id).await?.filter(own);
    Ok(found.map(|it| Person {
        workspace: it.workspace,
        user: it.created_by,
    }))
}

/// Whether all that is kept of a person stands in the log just so.
async fn is_in_log(store: &SharedStore, person: &Person) -> Result<bool, StoreError> {
    let users = std::slice::from_ref(&person.user);
    for kind in DocumentKind::ALL {
        for kept in store.documents(kind, &person.workspace, users).await? {
            if !stands(store, &kept).await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether a document stands in the log just so.
async fn stands(store: &SharedStore, document: &Document) -> Result<bool, StoreError> {
    let person = &document.person;
    let key = document_key(person, document.kind, document.version);
    let found = store.by_keys(&person.own_conversation(), &[key]).await?;
    let mut written = found.iter().filter_map(Written::of);
    Ok(written.any(|it| it.version == document.version && it.json == document.json))
}
