//! Profiles and blocks.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{
    EmbeddedStore,
    fault::Sql,
    row::{self, Columns},
};
use crate::{
    JsonText, PeopleStore, Person, Profile, ProfileChange, StoreError, Timestamp, UserId,
    WorkspaceId,
};

#[async_trait]
impl PeopleStore for EmbeddedStore {
    async fn put_profile(&self, person: &Person, change: ProfileChange) -> Result<(), StoreError> {
        let person = person.clone();
        self.write(move |conn| put(conn, &person, &change)).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, StoreError> {
        let (workspace, users) = (workspace.clone(), users.to_vec());
        self.read(move |conn| {
            let mut profiles = Vec::with_capacity(users.len());
            for user in users {
                let workspace = workspace.clone();
                profiles.extend(profile(conn, Person { workspace, user })?);
            }
            Ok(profiles)
        })
        .await
    }

    async fn set_block(
        &self,
        person: &Person,
        other: &UserId,
        blocked: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (person, other) = (person.clone(), other.clone());
        self.write(move |conn| {
            if blocked {
                block(conn, &person, &other, at)
            } else {
                unblock(conn, &person, &other)
            }
        })
        .await
    }

    async fn blocks(&self, person: &Person) -> Result<Vec<UserId>, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let sql = "SELECT other FROM blocks WHERE workspace = ?1 AND user = ?2
                       UNION SELECT user FROM blocks WHERE workspace = ?1 AND other = ?2";
            let key = (person.workspace.as_str(), person.user.as_str());
            row::all(conn, sql, key, |row| row.user(0))
        })
        .await
    }
}

fn put(conn: &Connection, person: &Person, change: &ProfileChange) -> Sql<()> {
    let presence = change.presence.as_ref();
    row::run(
        conn,
        "INSERT INTO profiles (workspace, user, name, last_seen, presence, last_seen_public)
         VALUES (?1, ?2, ?3, ?4, ?5, coalesce(?6, 0))
         ON CONFLICT (workspace, user) DO UPDATE SET
             name = coalesce(?3, name),
             last_seen = coalesce(?4, last_seen),
             presence = iif(?7, ?5, presence),
             last_seen_public = coalesce(?6, last_seen_public)",
        params![
            person.workspace.as_str(),
            person.user.as_str(),
            change.name,
            change.last_seen.map(|at| at.0),
            presence.and_then(Option::as_deref),
            change.last_seen_public,
            presence.is_some(),
        ],
    )?;
    Ok(())
}

fn profile(conn: &Connection, person: Person) -> Sql<Option<Profile>> {
    let sql = "SELECT name, last_seen, presence, last_seen_public FROM profiles
               WHERE workspace = ?1 AND user = ?2";
    let (workspace, user) = (person.workspace.clone(), person.user.clone());
    let key = (workspace.as_str(), user.as_str());
    row::first(conn, sql, key, |row| decode(row, person))
}

fn decode(row: &Row<'_>, person: Person) -> Sql<Profile> {
    Ok(Profile {
        person,
        name: row.get(0)?,
        last_seen: row.get::<_, Option<i64>>(1)?.map(Timestamp),
        presence: row.get::<_, Option<String>>(2)?.map(JsonText::from),
        last_seen_public: row.get(3)?,
    })
}

fn block(conn: &Connection, person: &Person, other: &UserId, at: Timestamp) -> Sql<()> {
    row::run(
        conn,
        "INSERT OR IGNORE INTO blocks (workspace, user, other, at) VALUES (?1, ?2, ?3, ?4)",
        (
            person.workspace.as_str(),
            person.user.as_str(),
            other.as_str(),
            at.0,
        ),
    )?;
    Ok(())
}

fn unblock(conn: &Connection, person: &Person, other: &UserId) -> Sql<()> {
    row::run(
        conn,
        "DELETE FROM blocks WHERE workspace = ?1 AND user = ?2 AND other = ?3",
        (
            person.workspace.as_str(),
            person.user.as_str(),
            other.as_str(),
        ),
    )?;
    Ok(())
}
