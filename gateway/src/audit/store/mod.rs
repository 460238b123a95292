//! The SQLite database: the only place that speaks SQL.

mod admitted;
mod append;
mod open;
mod read;
mod tree;
mod window;

use std::error::Error;

pub(super) use admitted::{AdmittedRow, newest_other, noted, stray_notes};
pub(super) use append::{Batch, Step, append, create_log};
pub(super) use open::{Access, Connection, Readers, begin_snapshot, close, has_admissions, open};
pub use read::Order;
pub(super) use read::{
    Filter, FoundBy, Row, checkpoints, counts, disclosures, newest_checkpoint, row_at, rows, rows_with_prefix,
};
pub(super) use tree::{LogRow, keys, logs, nodes, partial, stored_tile, tile, tree};
pub(super) use window::{DecisionRow, DisclosureRow, decision_sizes, decisions, disclosures_between};

/// The database said no.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}")]
pub struct StoreError {
    /// What was tried.
    pub doing: &'static str,
    /// SQLite's primary result code, if it was SQLite that refused.
    pub code: Option<i32>,
    /// The fault underneath.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// SQLite's primary result codes that have a next step.
const SQLITE_BUSY: i32 = 5;
const SQLITE_READONLY: i32 = 8;
const SQLITE_FULL: i32 = 13;
const SQLITE_TOOBIG: i32 = 18;
const SQLITE_CONSTRAINT: i32 = 19;
const SQLITE_NOTADB: i32 = 26;

impl StoreError {
    /// What to do next, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        let hint = match self.code? {
            SQLITE_BUSY => "another program holds a lock on the database: close it",
            SQLITE_READONLY => "make the database and its folder writable",
            SQLITE_FULL => "free space on the database's volume",
            SQLITE_NOTADB => "the file is no SQLite database: name another with `audit.database`",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether one row is to blame, so that the others of its batch can still be recorded.
    pub(super) fn blames_a_row(&self) -> bool {
        matches!(self.code, Some(SQLITE_CONSTRAINT | SQLITE_TOOBIG))
    }

    pub(super) fn damaged(doing: &'static str, detail: impl Into<String>) -> Self {
        Self { doing, code: None, source: detail.into().into() }
    }
}

/// Says what was being done when SQLite refused.
fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
        StoreError { doing, code: code.map(|code| code & 0xff), source: error.into() }
    }
}

/// A size or index as SQLite stores it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a log has fewer than 2^63 entries")
}

/// A size or index as SQLite gave it.
fn unsigned(doing: &'static str, number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::damaged(doing, "a negative size or index"))
}

/// A hash as SQLite gave it.
fn hash(doing: &'static str, bytes: &[u8]) -> Result<super::tlog::Hash, StoreError> {
    bytes.try_into().map_err(|_| StoreError::damaged(doing, "a hash that has not 32 bytes"))
}

/// Changes a database behind the log's back, past its triggers.
#[cfg(test)]
pub(super) async fn tamper(database: &std::path::Path, sql: &str) {
    let mut connection = open(database, Access::Write).await.unwrap();
    let triggers: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let drops: String = triggers.iter().map(|name| format!("DROP TRIGGER {name};")).collect();
    let sql = format!("PRAGMA foreign_keys = OFF; {drops} {sql}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    close(connection).await.unwrap();
}

/// A connection that holds the write lock until it is dropped.
#[cfg(test)]
pub(super) async fn hold_lock(database: &std::path::Path) -> Connection {
    let mut connection = open(database, Access::Write).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    connection
}

/// Lets the database grow by `pages` more pages and no further: a full disk.
#[cfg(test)]
pub(super) async fn limit(connection: &mut Connection, pages: i64) {
    let now: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.unwrap();
    let sql = format!("PRAGMA max_page_count = {}", now + pages);
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

/// Makes a database of the first schema version of one of today's.
#[cfg(test)]
pub(super) async fn undo_admissions(database: &std::path::Path) {
    let mut connection = open(database, Access::Write).await.unwrap();
    sqlx::raw_sql("DROP TABLE admitted; PRAGMA user_version = 1").execute(&mut connection).await.unwrap();
    close(connection).await.unwrap();
}
