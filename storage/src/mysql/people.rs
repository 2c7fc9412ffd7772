//! Profiles and blocks.

use async_trait::async_trait;

use super::{
    MySqlStore,
    pool::{run, transact},
    row::{self, Columns, p},
};
use crate::{
    JsonText, PeopleStore, Person, Profile, ProfileChange, StoreError, Timestamp, UserId,
    WorkspaceId,
};

#[async_trait]
impl PeopleStore for MySqlStore {
    async fn put_profile(&self, person: &Person, change: ProfileChange) -> Result<(), StoreError> {
        let presence = change.presence.as_ref();
        // What is not named stays: IF and COALESCE fall back to what the row has.
        let sql = "INSERT INTO profiles
                       (workspace, user, name, last_seen, presence, last_seen_public)
                   VALUES (?, ?, ?, ?, ?, COALESCE(?, 0))
                   ON DUPLICATE KEY UPDATE
                       name = COALESCE(VALUES(name), name),
                       last_seen = COALESCE(VALUES(last_seen), last_seen),
                       presence = IF(?, VALUES(presence), presence),
                       last_seen_public = COALESCE(?, last_seen_public)";
        let record = vec![
            p(person.workspace.as_str()),
            p(person.user.as_str()),
            p(change.name.as_deref()),
            p(change.last_seen.map(|at| at.0)),
            p(presence.and_then(Option::as_deref)),
            p(change.last_seen_public),
            p(presence.is_some()),
            p(change.last_seen_public),
        ];
        transact!(self.pool, |db| db.run(sql, record.clone()).await.map(drop)).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, StoreError> {
        let mut profiles = Vec::with_capacity(users.len());
        for some in users.chunks(500) {
            let sql = format!(
                "SELECT user, name, last_seen, presence, last_seen_public FROM profiles
                 WHERE workspace = ? AND user IN ({})",
                row::marks(some.len())
            );
            let key = std::iter::once(p(workspace.as_str()));
            let key: Vec<_> = key
                .chain(some.iter().map(|user| p(user.as_str())))
                .collect();
            let page = run!(self.pool, |db| {
                db.all(&sql, key.clone(), |row| {
                    Ok(Profile {
                        person: Person {
                            workspace: workspace.clone(),
                            user: row.user(0)?,
                        },
                        name: row.maybe_string(1)?,
                        last_seen: row.value::<Option<i64>>(2)?.map(Timestamp),
                        presence: row.maybe_string(3)?.map(JsonText::from),
                        last_seen_public: row.value(4)?,
                    })
                })
                .await
            });
            profiles.extend(page.await?);
        }
        Ok(profiles)
    }

    async fn set_block(
        &self,
        person: &Person,
        other: &UserId,
        blocked: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut key = vec![
            p(person.workspace.as_str()),
            p(person.user.as_str()),
            p(other.as_str()),
        ];
        let sql = match blocked {
            true => {
                key.push(p(at.0));
                "INSERT IGNORE INTO blocks (workspace, user, other, at) VALUES (?, ?, ?, ?)"
            }
            false => "DELETE FROM blocks WHERE workspace = ? AND user = ? AND other = ?",
        };
        transact!(self.pool, |db| db.run(sql, key.clone()).await.map(drop)).await
    }

    async fn blocks(&self, person: &Person) -> Result<Vec<UserId>, StoreError> {
        let sql = "SELECT other FROM blocks WHERE workspace = ? AND user = ?
                   UNION SELECT user FROM blocks WHERE workspace = ? AND other = ?";
        let (workspace, user) = (person.workspace.as_str(), person.user.as_str());
        let key = (workspace, user, workspace, user);
        run!(self.pool, |db| db.all(sql, key, |row| row.user(0)).await).await
    }
}
