//! One-time tickets and revocations.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{
    EmbeddedStore,
    fault::{Fault, Sql},
    row::{self, Columns, int},
};
use crate::{
    Person, Revocation, RevokedSubject, SecurityStore, StoreError, Timestamp, WorkspaceId,
};

/// What a revocation names, as stored.
const JTI: i64 = 1;
const PERSON: i64 = 2;
const SIGNED_OUT: i64 = 3;

#[async_trait]
impl SecurityStore for EmbeddedStore {
    async fn put_ticket(
        &self,
        hash: [u8; 32],
        claims: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let claims = claims.to_owned();
        self.write(move |conn| {
            let sql = "INSERT INTO tickets (hash, claims, expires) VALUES (?1, ?2, ?3)";
            row::run(conn, sql, (&hash[..], &claims, expires.0))?;
            Ok(())
        })
        .await
    }

    async fn take_ticket(
        &self,
        hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        self.write(move |conn| take_ticket(conn, hash, now)).await
    }

    async fn revoke(
        &self,
        subject: RevokedSubject,
        at: Timestamp,
        forget_after: Timestamp,
    ) -> Result<Revocation, StoreError> {
        self.write(move |conn| revoke(conn, &subject, at, forget_after))
            .await
    }

    async fn revocations_since(&self, number: u64) -> Result<Vec<Revocation>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT number, kind, jti, workspace, user, at, forget_after FROM revocations
                       WHERE number > ?1 ORDER BY number";
            row::all(conn, sql, [int(number)], revocation)
        })
        .await
    }
}

/// Expired tickets leave with whichever ticket is taken next.
fn take_ticket(conn: &Connection, hash: [u8; 32], now: Timestamp) -> Sql<Option<String>> {
    row::run(conn, "DELETE FROM tickets WHERE expires <= ?1", [now.0])?;
    let sql = "SELECT claims FROM tickets WHERE hash = ?1";
    let claims = row::first(conn, sql, [&hash[..]], |row| Ok(row.get(0)?))?;
    if claims.is_some() {
        row::run(conn, "DELETE FROM tickets WHERE hash = ?1", [&hash[..]])?;
    }
    Ok(claims)
}

/// Revocations that no valid token can meet any more leave with the next one.
fn revoke(
    conn: &Connection,
    subject: &RevokedSubject,
    at: Timestamp,
    forget_after: Timestamp,
) -> Sql<Revocation> {
    row::run(
        conn,
        "DELETE FROM revocations WHERE forget_after < ?1",
        [at.0],
    )?;
    let (kind, jti, person) = match subject {
        RevokedSubject::Jti(jti) => (JTI, Some(jti), None),
        RevokedSubject::SignedOut(jti) => (SIGNED_OUT, Some(jti), None),
        RevokedSubject::Person(person) => (PERSON, None, Some(person)),
    };
    row::run(
        conn,
        "INSERT INTO revocations (kind, jti, workspace, user, at, forget_after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            kind,
            jti,
            person.map(|person| person.workspace.as_str()),
            person.map(|person| person.user.as_str()),
            at.0,
            forget_after.0,
        ],
    )?;
    let number = u64::try_from(conn.last_insert_rowid())
        .map_err(|_| Fault::Corrupt("a revocation without a number".to_owned()))?;
    Ok(Revocation {
        number,
        subject: subject.clone(),
        at,
        forget_after,
    })
}

fn revocation(row: &Row<'_>) -> Sql<Revocation> {
    Ok(Revocation {
        number: row.count(0)?,
        subject: subject(row)?,
        at: Timestamp(row.get(5)?),
        forget_after: Timestamp(row.get(6)?),
    })
}

fn subject(row: &Row<'_>) -> Sql<RevokedSubject> {
    match row.get::<_, i64>(1)? {
        JTI => Ok(RevokedSubject::Jti(row.get(2)?)),
        SIGNED_OUT => Ok(RevokedSubject::SignedOut(row.get(2)?)),
        PERSON => Ok(RevokedSubject::Person(Person {
            workspace: WorkspaceId::new(row.text(3)?)
                .map_err(|error| Fault::Corrupt(error.to_string()))?,
            user: row.user(4)?,
        })),
        kind => Err(Fault::Corrupt(format!("a revocation of kind {kind}"))),
    }
}
