//! Writing the folded view of messages anew.

use quikapp_storage::{AppendError, ConversationId, Epoch, Seq, SharedStore, StoreError};

use super::rebuild::Work;
use crate::conversation::Refold;

/// Messages that are folded together: the log is read once for so many, and they are in memory.
pub(super) const STRETCH: usize = 20_000;
/// Entries read at once.
const PAGE: usize = 1_024;
/// Views written at once.
const VIEWS: usize = 256;

/// Writes the views of a conversation as the log has them; how many entries there were. `None` if
/// the conversation has gone.
pub(super) async fn rebuild(
    work: &Work<'_>,
    id: &ConversationId,
    stretch: usize,
) -> Result<Option<u64>, StoreError> {
    let mut from = Seq(0);
    let mut held = None;
    loop {
        let mut fold = Refold::behind(from);
        read(work.store, id, &mut fold, stretch).await?;
        let Some(last) = fold.last() else { break };
        let mut written = from;
        while written < last {
            let Some((epoch, tail)) = take(work, id, held).await? else {
                return Ok(None);
            };
            held = Some((epoch, tail));
            // What was written since has been folded into the views that it is about, and has to
            // be into these.
            if fold.tail() < tail {
                read(work.store, id, &mut fold, 0).await?;
            }
            let views = fold.views(written, VIEWS);
            let next = views.last().map_or(last, |view| view.seq);
            match work.store.put_views(id, epoch, views).await {
                Ok(()) => written = next,
                Err(AppendError::Fenced) => {
                    held = None;
                    work.leave_alone().await;
                }
                Err(AppendError::Store(error)) => return Err(error),
                Err(error) => return Err(StoreError::Invalid(error.to_string())),
            }
        }
        from = last;
    }
    let tails = work.store.tails(std::slice::from_ref(id)).await?;
    if let Some((epoch, tail)) = held {
        work.tails.retire(work.store, id, epoch, tail).await?;
    }
    Ok(tails.first().map(|(_, tail)| tail.0))
}

/// Keeps the conversation, or takes it (again).
async fn take(
    work: &Work<'_>,
    id: &ConversationId,
    held: Option<(Epoch, Seq)>,
) -> Result<Option<(Epoch, Seq)>, StoreError> {
    match held {
        Some(held) => Ok(Some(held)),
        None => work.take(id).await,
    }
}

/// Folds in what is behind; new messages while there is room.
async fn read(
    store: &SharedStore,
    id: &ConversationId,
    fold: &mut Refold,
    room: usize,
) -> Result<(), StoreError> {
    loop {
        let entries = store.entries(id, fold.tail(), PAGE).await?;
        for entry in &entries {
            fold.take(entry, fold.len() < room);
        }
        if entries.len() < PAGE {
            return Ok(());
        }
    }
}
