//! Numbered schema versions. Only forwards. A statement of DDL commits by itself, so every one can
//! be done again: a step that was interrupted is redone whole.

use super::{fault::Fault, pool::Db, row::Columns, text_of};

/// One step forward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// The version that it leads to. Steps are numbered from 1 without holes.
    pub(super) version: i64,
    /// What it does, for people.
    pub(super) name: &'static str,
    /// How.
    pub(super) sql: &'static str,
}

/// Every step there has ever been. A step that was released is never changed.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "every concern",
        sql: include_str!("schema_1.sql"),
    },
    Migration {
        version: 2,
        name: "when devices were last in use",
        sql: include_str!("schema_2.sql"),
    },
    Migration {
        version: 3,
        name: "documents of people's own",
        sql: include_str!("schema_3.sql"),
    },
];

/// A column is there already: a step that was interrupted had come so far.
const DUPLICATE_COLUMN: u16 = 1060;

/// One process migrates at a time; others wait so long, in seconds.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('quikapp.', LEFT(SHA1(DATABASE()), 40)), 60)";
const UNLOCK: &str = "DO RELEASE_LOCK(CONCAT('quikapp.', LEFT(SHA1(DATABASE()), 40)))";

/// Brings the database to the newest version.
pub(super) async fn migrate(db: &mut Db<'_>, migrations: &[Migration]) -> Result<(), String> {
    let locked = db.first(LOCK, (), |row| row.value::<Option<i64>>(0)).await;
    if locked.map_err(text_of)? != Some(Some(1)) {
        return Err("another process migrates the database and does not end".to_owned());
    }
    let outcome = migrate_locked(db, migrations).await;
    // The lock goes with the connection if this fails.
    let _ = db.command(UNLOCK).await;
    outcome
}

async fn migrate_locked(db: &mut Db<'_>, migrations: &[Migration]) -> Result<(), String> {
    let found = version_of(db).await?;
    let known = migrations.last().map_or(0, |newest| newest.version);
    if found > known {
        return Err(format!(
            "the database has schema version {found}, this program knows versions up to {known}; \
             use a newer program or another database"
        ));
    }
    for step in migrations.iter().filter(|step| step.version > found) {
        for statement in statements(step.sql) {
            let done = match db.command(&statement).await {
                Err(Fault::Server(error)) if error.code == DUPLICATE_COLUMN => Ok(()),
                done => done,
            };
            done.map_err(|fault| {
                format!("step {} ({}): {}", step.version, step.name, text_of(fault))
            })?;
        }
        let sql = "INSERT INTO schema_versions (version, name, applied_at)
                   VALUES (?, ?, UNIX_TIMESTAMP() * 1000)";
        let done = db.run(sql, (step.version, step.name)).await;
        done.map_err(text_of)?;
        tracing::info!(version = step.version, name = step.name, "schema migrated");
    }
    Ok(())
}

/// The version of a database of ours; 0 for an empty one.
async fn version_of(db: &mut Db<'_>) -> Result<i64, String> {
    let sql = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables
               WHERE table_schema = DATABASE()
                 AND table_name IN ('schema_versions', 'conversations', 'members', 'messages')";
    let tables = db
        .all(sql, (), |row| row.string(0))
        .await
        .map_err(text_of)?;
    if tables.iter().any(|name| name == "schema_versions") {
        let sql = "SELECT COALESCE(MAX(version), 0) FROM schema_versions";
        let version = db.first(sql, (), |row| row.value::<i64>(0)).await;
        return Ok(version.map_err(text_of)?.unwrap_or(0));
    }
    if let Some(theirs) = tables.first() {
        return Err(format!(
            "the database has a table {theirs} that this program did not make; use another one"
        ));
    }
    let sql = "CREATE TABLE IF NOT EXISTS schema_versions (
                   version    INT          NOT NULL PRIMARY KEY,
                   name       VARCHAR(200) NOT NULL,
                   applied_at BIGINT       NOT NULL
               ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
    db.command(sql).await.map_err(text_of)?;
    Ok(0)
}

/// The statements of a step, without comments.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let statements = text.split(';').map(str::trim);
    statements
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_without_holes_and_can_be_redone() {
        for (expected, step) in (1..).zip(MIGRATIONS) {
            assert_eq!(step.version, expected);
            for statement in statements(step.sql) {
                let begins = ["CREATE TABLE IF NOT EXISTS", "INSERT IGNORE"];
                // One statement is done as a whole, and refused once its first column is there.
                let is_column =
                    statement.starts_with("ALTER TABLE") && statement.contains(" ADD COLUMN ");
                // What it has changed it does not find again.
                let is_change = statement.starts_with("UPDATE ") && statement.contains(" WHERE ");
                assert!(
                    is_column
                        || is_change
                        || begins.iter().any(|begin| statement.starts_with(begin)),
                    "cannot be done again: {statement}"
                );
            }
        }
    }
}
