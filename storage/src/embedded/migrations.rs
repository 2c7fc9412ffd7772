//! Numbered schema versions. `PRAGMA user_version` says where a database stands, and
//! `PRAGMA application_id` that it is ours. Only forwards; every step is one transaction.

use rusqlite::Connection;

/// "QkAp": written into the header of every database of ours.
pub(super) const APPLICATION_ID: i32 = 0x516b_4170;

/// One step forward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// The version that it leads to. Steps are numbered from 1 without holes.
    pub(super) version: i32,
    /// What it does, for people.
    pub(super) name: &'static str,
    /// How.
    pub(super) sql: &'static str,
}

/// Every step there has ever been. A step that was released is never changed.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "conversations, logs, views, registers, people and security",
        sql: include_str!("schema_1.sql"),
    },
    Migration {
        version: 2,
        name: "timers, the store-and-forward queue, projections and threads",
        sql: include_str!("schema_2.sql"),
    },
    Migration {
        version: 3,
        name: "registers of logs that another store keeps",
        sql: include_str!("schema_3.sql"),
    },
    Migration {
        version: 4,
        name: "when devices were last in use",
        sql: include_str!("schema_4.sql"),
    },
    Migration {
        version: 5,
        name: "documents of people's own",
        sql: include_str!("schema_5.sql"),
    },
];

/// Why a database cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    /// It carries another application's mark, or none although it has tables.
    #[error("application id {found:#x} instead of {APPLICATION_ID:#x}")]
    Foreign {
        /// The mark it carries.
        found: i32,
    },
    /// It was written by a newer program.
    #[error("version {found}, known are versions up to {known}")]
    Newer {
        /// Its version.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Brings a database to the newest version. The caller holds the directory's lock, so nobody
/// else does the same meanwhile.
pub(super) fn migrate(conn: &mut Connection, migrations: &[Migration]) -> Result<(), MigrateError> {
    let found = version_of(conn)?;
    let known = migrations.last().map_or(0, |newest| newest.version);
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    for step in migrations.iter().filter(|step| step.version > found) {
        apply(conn, step)?;
    }
    Ok(())
}

/// The version of a database of ours; 0 for an empty file.
pub(super) fn version_of(conn: &Connection) -> Result<i32, MigrateError> {
    let found = pragma(conn, "application_id")?;
    if found == APPLICATION_ID {
        return Ok(pragma(conn, "user_version")?);
    }
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found == 0 && tables == 0 {
        Ok(0)
    } else {
        Err(MigrateError::Foreign { found })
    }
}

fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<i32> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

fn apply(conn: &mut Connection, step: &Migration) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(step.sql)?;
    tx.execute(
        "INSERT INTO migrations (version, name, applied_at) VALUES (?1, ?2, unixepoch())",
        (step.version, step.name),
    )?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", step.version)?;
    tx.commit()?;
    tracing::info!(version = step.version, name = step.name, "schema migrated");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A database as version 1 made it, with rows in it.
    fn version_1() -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &MIGRATIONS[..1]).unwrap();
        conn.execute_batch(
            "INSERT INTO profiles (workspace, user, name) VALUES ('w', 'ana', 'Ana');
             INSERT INTO device_cursors VALUES ('w', 'ana', 'phone', 1, 7), ('w', 'ana', 'phone', 2, 9);
             INSERT INTO stream_cursors VALUES ('w', 'ana', 'phone', 3), ('w', 'bob', 'laptop', 3);",
        )
        .unwrap();
        conn
    }

    /// The devices that a database knows.
    fn devices(conn: &Connection) -> Vec<String> {
        let sql = "SELECT user || ' ' || device FROM devices ORDER BY 1";
        let mut statement = conn.prepare(sql).unwrap();
        let devices = statement.query_map([], |row| row.get(0)).unwrap();
        devices.map(Result::unwrap).collect()
    }

    fn names(conn: &Connection) -> Vec<String> {
        let mut statement = conn.prepare("SELECT name FROM profiles").unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    const NEXT: Migration = Migration {
        version: MIGRATIONS[MIGRATIONS.len() - 1].version + 1,
        name: "a column for the test",
        sql: "ALTER TABLE profiles ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue';",
    };

    fn with_next(next: Migration) -> Vec<Migration> {
        MIGRATIONS.iter().copied().chain([next]).collect()
    }

    #[test]
    fn steps_are_numbered_without_holes() {
        let versions: Vec<i32> = MIGRATIONS.iter().map(|step| step.version).collect();
        let expected: Vec<i32> = (1..).take(MIGRATIONS.len()).collect();
        assert_eq!(versions, expected);
    }

    #[test]
    fn version_1_comes_up_to_date_with_its_data() {
        let mut conn = version_1();
        migrate(&mut conn, &with_next(NEXT)).unwrap();
        assert_eq!(version_of(&conn).unwrap(), NEXT.version);
        assert_eq!(names(&conn), ["Ana"]);
        let colour: String = conn
            .query_row("SELECT colour FROM profiles", [], |row| row.get(0))
            .unwrap();
        assert_eq!(colour, "blue");
        let recorded: i32 = conn
            .query_row("SELECT count(*) FROM migrations", [], |row| row.get(0))
            .unwrap();
        assert_eq!(recorded, NEXT.version);
    }

    #[test]
    fn version_2_knows_the_devices_that_had_cursors_before_and_after() {
        let mut conn = version_1();
        migrate(&mut conn, &MIGRATIONS[..2]).unwrap();
        assert_eq!(devices(&conn), ["ana phone", "bob laptop"]);
        conn.execute_batch(
            "INSERT INTO device_cursors VALUES ('w', 'ana', 'phone', 3, 1), ('w', 'cem', 'tv', 1, 1);
             INSERT INTO stream_cursors VALUES ('w', 'ana', 'tablet', 5);",
        )
        .unwrap();
        let expected = ["ana phone", "ana tablet", "bob laptop", "cem tv"];
        assert_eq!(devices(&conn), expected);
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut conn = version_1();
        migrate(&mut conn, MIGRATIONS).unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        assert_eq!(names(&conn), ["Ana"]);
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before() {
        let broken = Migration {
            sql: "ALTER TABLE profiles ADD COLUMN colour TEXT; SELECT no_such_function();",
            ..NEXT
        };
        let mut conn = version_1();
        migrate(&mut conn, MIGRATIONS).unwrap();
        let before = version_of(&conn).unwrap();
        assert!(migrate(&mut conn, &with_next(broken)).is_err());
        assert_eq!(version_of(&conn).unwrap(), before);
        assert!(conn.prepare("SELECT colour FROM profiles").is_err());
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut conn = version_1();
        migrate(&mut conn, &with_next(NEXT)).unwrap();
        let refusal = migrate(&mut conn, MIGRATIONS).unwrap_err();
        assert!(
            matches!(refusal, MigrateError::Newer { found, known }
                if found == NEXT.version && known == NEXT.version - 1),
            "{refusal}"
        );
    }

    #[test]
    fn another_applications_database_is_refused_untouched() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
        let refusal = migrate(&mut conn, MIGRATIONS).unwrap_err();
        assert!(
            matches!(refusal, MigrateError::Foreign { found: 0 }),
            "{refusal}"
        );
        assert!(conn.prepare("SELECT * FROM conversations").is_err());
    }
}
