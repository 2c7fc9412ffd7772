//! The row of a conversation, and the head of its log.

use super::{
    fault::{Fault, Sql},
    pool::Db,
    row::{self, Columns, p},
};
use crate::{ConversationId, Epoch, Seq, WorkspaceId};

/// The head of a log while something is done to it.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The conversation's row.
    pub(super) conv: i64,
    /// Its id.
    pub(super) id: ConversationId,
    /// Its tenant; `None` of a log that another store keeps.
    pub(super) workspace: Option<WorkspaceId>,
    /// The place of the newest entry.
    pub(super) tail: Seq,
    /// Messages on the main timeline up to the tail.
    pub(super) n: u64,
    /// The version of the marks changed last.
    pub(super) marks_version: u64,
    /// Under which epoch it was taken last.
    pub(super) epoch: Epoch,
    /// Up to where a log that another store keeps was folded.
    pub(super) folded: Seq,
}

/// Locks the heads of conversations until the transaction ends; those that do not exist are left
/// out. Rows are locked in the order of ids, by everybody, so that nobody waits in a circle.
pub(super) async fn lock(db: &mut Db<'_>, ids: &[&ConversationId]) -> Sql<Vec<Head>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let sql = format!(
        "SELECT conv, id, workspace, kind, tail, n, marks_version, epoch, folded
         FROM conversations FORCE INDEX (conversations_id)
         WHERE id IN ({}) ORDER BY id FOR UPDATE",
        row::marks(ids.len())
    );
    let params: Vec<_> = ids.into_iter().map(p).collect();
    db.all(&sql, params, |row| {
        let kind: i64 = row.value(3)?;
        Ok(Head {
            conv: row.value(0)?,
            id: row.conversation_id(1)?,
            workspace: match kind {
                0 => None,
                _ => Some(row.workspace(2)?),
            },
            tail: row.seq(4)?,
            n: row.count(5)?,
            marks_version: row.count(6)?,
            epoch: Epoch(row.count(7)?),
            folded: row.seq(8)?,
        })
    })
    .await
}

/// The row number of a conversation of ours.
pub(super) async fn conv(db: &mut Db<'_>, id: &ConversationId) -> Sql<Option<i64>> {
    let sql = "SELECT conv FROM conversations WHERE id = ? AND kind <> 0";
    db.first(sql, (id.as_str(),), |row| row.value(0)).await
}

/// The row number of a conversation, whose log may be here or elsewhere.
pub(super) async fn any_conv(db: &mut Db<'_>, id: &ConversationId) -> Sql<Option<i64>> {
    let sql = "SELECT conv FROM conversations WHERE id = ?";
    db.first(sql, (id.as_str(),), |row| row.value(0)).await
}

/// The same; what is not known is taken to be a conversation whose log is elsewhere.
pub(super) async fn any_conv_or_make(db: &mut Db<'_>, id: &ConversationId) -> Sql<i64> {
    if let Some(conv) = any_conv(db, id).await? {
        return Ok(conv);
    }
    let sql = "INSERT IGNORE INTO conversations (id) VALUES (?)";
    db.run(sql, (id.as_str(),)).await?;
    let made = any_conv(db, id).await?;
    made.ok_or_else(|| Fault::Corrupt(format!("{id} is gone at once")))
}
