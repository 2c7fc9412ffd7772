//! What commits together with an entry. What most entries do (a new message, sending reads) is
//! gathered and written in one statement; anything else is done in its place.

use std::collections::BTreeMap;

use mysql_async::Value;

use super::{
    append::Placed,
    fault::{Fault, Sql},
    head::Head,
    pool::Db,
    registers,
    row::{self, Columns, Numbered, id, int, p},
};
use crate::{EntryEffect, EntryId, Marks, Message, Role, Seq, Timestamp, UserId};

const ROWS: usize = 500;

/// Effects that wait to be written.
#[derive(Default)]
pub(super) struct Effects<'a> {
    messages: Vec<(&'a Placed<'a>, &'a Message)>,
    marks: BTreeMap<(i64, UserId), Marks>,
}

impl<'a> Effects<'a> {
    /// Applies the effects of one entry, of which the log has all.
    pub(super) async fn apply(
        &mut self,
        db: &mut Db<'_>,
        head: &mut Head,
        row: &'a Placed<'a>,
    ) -> Sql<()> {
        for effect in &row.entry.effects {
            match effect {
                EntryEffect::PutMessage(message) if is_own(row, message) => {
                    if message.id != row.entry.id {
                        return Err(unknown(message));
                    }
                    self.messages.push((row, message));
                }
                EntryEffect::ReadUpToHere { user } => {
                    let marks = read_up_to(head, Marks::default(), row.seq);
                    self.marks.insert((row.conv, user.clone()), marks);
                }
                other => {
                    self.flush(db).await?;
                    apply_one(db, head, row, other).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes what waits.
    pub(super) async fn flush(&mut self, db: &mut Db<'_>) -> Sql<()> {
        for some in std::mem::take(&mut self.messages).chunks(ROWS) {
            insert_messages(db, some).await?;
        }
        let marks: Vec<_> = std::mem::take(&mut self.marks).into_iter().collect();
        for some in marks.chunks(ROWS) {
            registers::store_marks(db, some).await?;
        }
        Ok(())
    }
}

fn is_own(row: &Placed<'_>, message: &Message) -> bool {
    message.seq == Seq(0) || message.seq == row.seq
}

fn unknown(message: &Message) -> Fault {
    Fault::Invalid(format!("no entry {} at {}", message.id, message.seq))
}

fn read_up_to(head: &mut Head, old: Marks, seq: Seq) -> Marks {
    head.marks_version += 1;
    old.read_up_to(seq, head.marks_version)
}

async fn insert_messages(db: &mut Db<'_>, some: &[(&Placed<'_>, &Message)]) -> Sql<()> {
    let sql = format!(
        "INSERT INTO messages
             (conv, seq, id, sender, at, thread, applied_seq, deleted, pinned, words, body)
         VALUES {}
         ON DUPLICATE KEY UPDATE
             thread = VALUES(thread), applied_seq = VALUES(applied_seq),
             deleted = VALUES(deleted), pinned = VALUES(pinned),
             words = VALUES(words), body = VALUES(body)",
        row::groups(some.len(), 11)
    );
    let mut params = Vec::with_capacity(some.len() * 11);
    for (row, message) in some {
        let (entry, place) = (row.entry, (row.conv, row.seq));
        params.extend(columns(
            place,
            (entry.id, &entry.sender, entry.at),
            row.seq,
            message,
        ));
    }
    db.run(&sql, params).await?;
    for (row, message) in some.iter().filter(|(_, message)| message.pinned) {
        pin(db, row.conv, row.seq, message.pinned).await?;
    }
    Ok(())
}

fn columns(
    (conv, seq): (i64, Seq),
    (entry, sender, at): (EntryId, &UserId, Timestamp),
    applied: Seq,
    message: &Message,
) -> [Value; 11] {
    [
        p(conv),
        p(int(seq.0)),
        id(&entry),
        p(sender.as_str()),
        p(at.0),
        message.thread_root.as_ref().map_or(Value::NULL, id),
        p(int(applied.0)),
        p(message.deleted),
        p(message.pinned),
        p(message.text.as_str()),
        p(&*message.body),
    ]
}

async fn pin(db: &mut Db<'_>, conv: i64, seq: Seq, pinned: bool) -> Sql<()> {
    let sql = match pinned {
        true => "INSERT IGNORE INTO pins (conv, seq) VALUES (?, ?)",
        false => "DELETE FROM pins WHERE conv = ? AND seq = ?",
    };
    db.run(sql, (conv, int(seq.0))).await.map(drop)
}

async fn apply_one(
    db: &mut Db<'_>,
    head: &mut Head,
    row: &Placed<'_>,
    effect: &EntryEffect,
) -> Sql<()> {
    match effect {
        EntryEffect::PutMessage(message) => put_message(db, row, message).await,
        EntryEffect::OpenMember { user, role } => open_member(db, head, row, user, *role).await,
        EntryEffect::CloseMember { user } => {
            let sql = "UPDATE members SET to_seq = ?
                       WHERE conv = ? AND user = ? AND to_seq IS NULL";
            let key = (int(row.seq.0), row.conv, user.as_str());
            db.run(sql, key).await.map(drop)
        }
        EntryEffect::SetRole { user, role } => set_role(db, row.conv, user, *role).await.map(drop),
        EntryEffect::Redact { seq, payload } => redact(db, row.conv, *seq, payload).await,
        EntryEffect::SetName(name) => {
            let sql = "UPDATE conversations SET name = ? WHERE conv = ?";
            db.run(sql, (name.as_deref(), row.conv)).await.map(drop)
        }
        // Gathered by the caller.
        EntryEffect::ReadUpToHere { .. } => Ok(()),
    }
}

/// Replaces the payload of an entry.
pub(super) async fn redact(db: &mut Db<'_>, conv: i64, seq: Seq, payload: &str) -> Sql<()> {
    let sql = "UPDATE entries SET payload = ? WHERE conv = ? AND seq = ?";
    db.run(sql, (payload, conv, int(seq.0))).await.map(drop)
}

async fn put_message(db: &mut Db<'_>, row: &Placed<'_>, message: &Message) -> Sql<()> {
    if message.seq > row.seq {
        return Err(unknown(message));
    }
    put_view(db, row.conv, row.seq, message).await
}

/// The view of an earlier message as of a place, unless a newer entry has been applied to it.
pub(super) async fn put_view(
    db: &mut Db<'_>,
    conv: i64,
    applied: Seq,
    message: &Message,
) -> Sql<()> {
    let sql = "SELECT sender, at FROM entries WHERE conv = ? AND seq = ? AND id = ?";
    let key = vec![p(conv), p(int(message.seq.0)), id(&message.id)];
    let found = db.first(sql, key, |row| Ok((row.user(0)?, row.at(1)?)));
    let Some((sender, at)) = found.await? else {
        return Err(unknown(message));
    };
    // Assignments are made from left to right, so what they are compared with changes last.
    let sql = "INSERT INTO messages
                   (conv, seq, id, sender, at, thread, applied_seq, deleted, pinned, words, body)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
               ON DUPLICATE KEY UPDATE
                   thread  = IF(VALUES(applied_seq) >= applied_seq, VALUES(thread), thread),
                   deleted = IF(VALUES(applied_seq) >= applied_seq, VALUES(deleted), deleted),
                   pinned  = IF(VALUES(applied_seq) >= applied_seq, VALUES(pinned), pinned),
                   words   = IF(VALUES(applied_seq) >= applied_seq, VALUES(words), words),
                   body    = IF(VALUES(applied_seq) >= applied_seq, VALUES(body), body),
                   applied_seq = GREATEST(applied_seq, VALUES(applied_seq))";
    let place = (conv, message.seq);
    let record = columns(place, (message.id, &sender, at), applied, message);
    db.run(sql, record.to_vec()).await?;
    pin(db, conv, message.seq, message.pinned).await
}

async fn open_member(
    db: &mut Db<'_>,
    head: &mut Head,
    row: &Placed<'_>,
    user: &UserId,
    role: Role,
) -> Sql<()> {
    if set_role(db, row.conv, user, role).await? {
        return Ok(());
    }
    let workspace = head.workspace.as_ref().map_or("", |id| id.as_str());
    let sql = "INSERT INTO members (conv, user, from_seq, role, workspace) VALUES (?, ?, ?, ?, ?)
               ON DUPLICATE KEY UPDATE to_seq = NULL, role = VALUES(role)";
    let record = (
        row.conv,
        user.as_str(),
        int(row.seq.0),
        role.number(),
        workspace,
    );
    db.run(sql, record).await?;
    // Nothing is unread to a new member.
    let before = row.seq.before();
    let old = registers::marks(db, row.conv, user).await?;
    if old.read >= before && old.unread_from.is_none() {
        return Ok(());
    }
    let new = read_up_to(head, old, before);
    registers::store_marks(db, &[((row.conv, user.clone()), new)]).await
}

/// Whether there was an open membership.
async fn set_role(db: &mut Db<'_>, conv: i64, user: &UserId, role: Role) -> Sql<bool> {
    let sql = "UPDATE members SET role = ? WHERE conv = ? AND user = ? AND to_seq IS NULL";
    let changed = db.run(sql, (role.number(), conv, user.as_str())).await?;
    Ok(changed > 0)
}
