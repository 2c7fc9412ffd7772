//! One-time tickets and revocations.

use async_trait::async_trait;
use mysql_async::Row;

use super::{
    MySqlStore,
    fault::{Fault, Sql},
    pool::{Db, run, transact},
    row::{Columns, int, p},
};
use crate::{Person, Revocation, RevokedSubject, SecurityStore, StoreError, Timestamp};

/// What a revocation names, as stored.
const JTI: i64 = 1;
const PERSON: i64 = 2;
const SIGNED_OUT: i64 = 3;

#[async_trait]
impl SecurityStore for MySqlStore {
    async fn put_ticket(
        &self,
        hash: [u8; 32],
        claims: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO tickets (hash, claims, expires) VALUES (?, ?, ?)";
        let record = vec![p(&hash[..]), p(claims), p(expires.0)];
        transact!(self.pool, |db| db.run(sql, record.clone()).await.map(drop)).await
    }

    async fn take_ticket(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        transact!(self.pool, |db| take_ticket(db, hash, now).await).await
    }

    async fn revoke(
        &self,
        subject: RevokedSubject,
        at: Timestamp,
        forget_after: Timestamp,
    ) -> Result<Revocation, StoreError> {
        let number = transact!(self.pool, |db| revoke(db, &subject, at, forget_after).await);
        Ok(Revocation {
            number: number.await?,
            subject,
            at,
            forget_after,
        })
    }

    async fn revocations_since(&self, number: u64) -> Result<Vec<Revocation>, StoreError> {
        let sql = "SELECT number, kind, jti, workspace, user, at, forget_after FROM revocations
                   WHERE number > ? ORDER BY number";
        run!(self.pool, |db| db
            .all(sql, (int(number),), revocation)
            .await)
        .await
    }
}

/// Some expired tickets leave with whichever ticket is taken next.
async fn take_ticket(db: &mut Db<'_>, hash: [u8; 32], now: Timestamp) -> Sql<Option<String>> {
    let sql = "SELECT claims, expires FROM tickets WHERE hash = ? FOR UPDATE";
    let found = db.first(sql, vec![p(&hash[..])], |row| {
        Ok((row.string(0)?, row.at(1)?))
    });
    let Some((claims, expires)) = found.await? else {
        return Ok(None);
    };
    let sql = "DELETE FROM tickets WHERE hash = ?";
    let taken = db.run(sql, vec![p(&hash[..])]).await?;
    db.run("DELETE FROM tickets WHERE expires <= ? LIMIT 100", (now.0,))
        .await?;
    Ok((taken == 1 && expires > now).then_some(claims))
}

/// The number's row is locked until the commit, so that nobody reads past a number whose
/// revocation appears later. Those that no valid token can meet any more leave with the next one.
async fn revoke(
    db: &mut Db<'_>,
    subject: &RevokedSubject,
    at: Timestamp,
    forget_after: Timestamp,
) -> Sql<u64> {
    let sql = "UPDATE counters SET value = LAST_INSERT_ID(value + 1) WHERE name = 'revocations'";
    db.run(sql, ()).await?;
    let number = db.made()?;
    db.run("DELETE FROM revocations WHERE forget_after < ?", (at.0,))
        .await?;
    let (kind, jti, person) = match subject {
        RevokedSubject::Jti(jti) => (JTI, Some(jti), None),
        RevokedSubject::SignedOut(jti) => (SIGNED_OUT, Some(jti), None),
        RevokedSubject::Person(person) => (PERSON, None, Some(person)),
    };
    let sql = "INSERT INTO revocations (number, kind, jti, workspace, user, at, forget_after)
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    let record = vec![
        p(int(number)),
        p(kind),
        p(jti.map(String::as_str)),
        p(person.map(|person| person.workspace.as_str())),
        p(person.map(|person| person.user.as_str())),
        p(at.0),
        p(forget_after.0),
    ];
    db.run(sql, record).await?;
    Ok(number)
}

fn revocation(row: &mut Row) -> Sql<Revocation> {
    let subject = match row.value::<i64>(1)? {
        JTI => RevokedSubject::Jti(row.string(2)?),
        SIGNED_OUT => RevokedSubject::SignedOut(row.string(2)?),
        PERSON => RevokedSubject::Person(Person {
            workspace: row.workspace(3)?,
            user: row.user(4)?,
        }),
        kind => return Err(Fault::Corrupt(format!("a revocation of kind {kind}"))),
    };
    Ok(Revocation {
        number: row.count(0)?,
        subject,
        at: row.at(5)?,
        forget_after: row.at(6)?,
    })
}
