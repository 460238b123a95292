//! The rows that outlive a restart: which artifact to decide about when a caller comes back for a blob.
//!
//! `DATA_DIR/pulls.db` holds digests, times and decisions' ids, nothing else. A row lets nobody fetch anything: what it names
//! is admitted anew before a byte is sent, so rows that are lost, old or altered cost a decision and no more. After a crash
//! of the process every row that was acknowledged is there; after a loss of power the latest may be missing.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::place::Place;
use super::pull::{Part, PartKind, Pull};
use super::table::Key;
use crate::case::{Digest, Timestamp};

/// The database, open for this process alone (the audit log's lock file sees to that).
#[derive(Debug)]
pub(super) struct Rows(Mutex<Option<SqliteConnection>>);

/// The database said no.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}")]
pub struct RowsError {
    /// What was tried.
    doing: &'static str,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> RowsError {
    move |error| RowsError { doing, source: error.into() }
}

impl Rows {
    /// Opens the database, making it at the first start.
    pub async fn open(path: &Path) -> Result<Self, RowsError> {
        let doing = "open the database of pull grants";
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            // A lost row costs a decision: no flush to disk for each.
            .synchronous(SqliteSynchronous::Normal);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed(doing))?;
        let mut number = async |sql: &'static str| {
            sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.map_err(failed(doing))
        };
        let tables = number("SELECT count(*) FROM sqlite_schema").await?;
        let (application, version) = (number("PRAGMA application_id").await?, number("PRAGMA user_version").await?);
        match (tables, application, version) {
            (0, _, _) => {
                connection.execute(SCHEMA).await.map_err(failed(doing))?;
            }
            (_, APPLICATION_ID, VERSION) => {}
            (_, APPLICATION_ID, _) => {
                let source = format!("its schema version is {version}, expected {VERSION}").into();
                return Err(RowsError { doing, source });
            }
            _ => return Err(RowsError { doing, source: "it holds something other than pull grants".into() }),
        }
        Ok(Self(Mutex::new(Some(connection))))
    }

    /// The newest `most` rows, oldest first; the others are deleted, and so is what cannot be read.
    pub async fn take_up(&self, most: usize) -> Result<Vec<Pull>, RowsError> {
        let doing = "read the pull grants";
        let mut open = self.0.lock().await;
        let Some(connection) = open.as_mut() else { return Ok(Vec::new()) };
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        sqlx::query(
            "DELETE FROM pull WHERE (place, root) NOT IN \
             (SELECT place, root FROM pull ORDER BY granted_at_us DESC, place, root LIMIT ?)",
        )
        .bind(most)
        .execute(&mut *connection)
        .await
        .map_err(failed(doing))?;
        let rows =
            sqlx::query("SELECT place, root, caller, decision, granted_at_us, parts FROM pull ORDER BY granted_at_us")
                .fetch_all(&mut *connection)
                .await
                .map_err(failed(doing))?;
        let count = rows.len();
        let pulls: Vec<Pull> = rows.iter().filter_map(read).collect();
        if pulls.len() < count {
            tracing::warn!(rows = count - pulls.len(), "pull grants that cannot be read are passed over");
        }
        Ok(pulls)
    }

    /// Writes a grant in place of the row with the same key, and deletes those that made room for it.
    pub async fn put(&self, pull: &Pull, evicted: &[Key]) -> Result<(), RowsError> {
        let doing = "write a pull grant";
        let mut open = self.0.lock().await;
        let Some(connection) = open.as_mut() else {
            return Err(RowsError { doing, source: "the gateway is stopping".into() });
        };
        let mut transaction = connection.begin().await.map_err(failed(doing))?;
        for (place, root) in evicted {
            let deleted = sqlx::query("DELETE FROM pull WHERE place = ? AND root = ?")
                .bind(place.as_bytes().as_slice())
                .bind(root.as_bytes().as_slice());
            deleted.execute(&mut *transaction).await.map_err(failed(doing))?;
        }
        sqlx::query("INSERT OR REPLACE INTO pull (place, root, caller, decision, granted_at_us, parts) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(pull.place.key.as_bytes().as_slice())
            .bind(pull.root.as_bytes().as_slice())
            .bind(pull.place.caller.as_bytes().as_slice())
            .bind(pull.decision.as_bytes().as_slice())
            .bind(pull.granted_at.as_microsecond())
            .bind(written(&pull.parts))
            .execute(&mut *transaction)
            .await
            .map_err(failed(doing))?;
        transaction.commit().await.map_err(failed(doing))
    }

    /// Closes the database; a second call does nothing.
    pub async fn close(&self) {
        if let Some(connection) = self.0.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(error = %error, "the database of pull grants did not close well");
        }
    }
}

/// `kind(1) ‖ digest(32)` for each part.
fn written(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.len() * PART_BYTES);
    for part in parts {
        bytes.push(match part.kind {
            PartKind::Manifest => MANIFEST,
            PartKind::Blob => BLOB,
        });
        bytes.extend_from_slice(part.digest.as_bytes());
    }
    bytes
}

fn read(row: &SqliteRow) -> Option<Pull> {
    let bytes = |name: &str| row.try_get::<Vec<u8>, _>(name).ok();
    let digest = |name: &str| Some(Digest::from_bytes(bytes(name)?.try_into().ok()?));
    Some(Pull {
        place: Place { key: digest("place")?, caller: digest("caller")? },
        root: digest("root")?,
        decision: Uuid::from_slice(&bytes("decision")?).ok()?,
        granted_at: Timestamp::from_microsecond(row.try_get("granted_at_us").ok()?).ok()?,
        parts: parts(&bytes("parts")?)?,
        attached: Vec::new(),
        holds: None,
    })
}

fn parts(bytes: &[u8]) -> Option<Vec<Part>> {
    let part = |record: &[u8]| {
        let (kind, digest) = record.split_first()?;
        let kind = match *kind {
            MANIFEST => PartKind::Manifest,
            BLOB => PartKind::Blob,
            _ => return None,
        };
        Some(Part { kind, digest: Digest::from_bytes(digest.try_into().ok()?) })
    };
    let parts: Vec<Part> = bytes.chunks(PART_BYTES).map(part).collect::<Option<_>>()?;
    (1..=PARTS_MAX).contains(&parts.len()).then_some(parts)
}

/// `application_id` of the database: "wgpl".
const APPLICATION_ID: i64 = 0x7767_706c;
/// `user_version` of the schema.
const VERSION: i64 = 1;
/// How long a statement waits for another program that looks into the file.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
const MANIFEST: u8 = 0;
const BLOB: u8 = 1;
const PART_BYTES: usize = 33;
/// The most parts that a row may hold: as many as a manifest may have layers, its config, itself and two indexes above it.
const PARTS_MAX: usize = 128 + 4;

const SCHEMA: &str = "
PRAGMA application_id = 2003267692;
PRAGMA user_version = 1;
CREATE TABLE pull (
    place         BLOB NOT NULL CHECK (length(place) = 32),
    root          BLOB NOT NULL CHECK (length(root) = 32),
    caller        BLOB NOT NULL CHECK (length(caller) = 32),
    decision      BLOB NOT NULL CHECK (length(decision) = 16),
    granted_at_us INTEGER NOT NULL,
    parts         BLOB NOT NULL,
    PRIMARY KEY (place, root)
) STRICT, WITHOUT ROWID;
CREATE INDEX pull_by_age ON pull (granted_at_us);
";

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(number: u8, granted_at_s: i64) -> Pull {
        let digest = |name: &str| Digest::of(format!("{name}{number}").as_bytes());
        Pull {
            place: Place { key: digest("place"), caller: digest("caller") },
            root: digest("root"),
            decision: Uuid::from_u128(number.into()),
            granted_at: Timestamp::from_second(granted_at_s).unwrap(),
            parts: vec![
                Part { digest: digest("root"), kind: PartKind::Manifest },
                Part { digest: digest("component"), kind: PartKind::Blob },
            ],
            attached: Vec::new(),
            holds: None,
        }
    }

    async fn raw(path: &Path, sql: &'static str) {
        let mut connection =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).create_if_missing(true))
                .await
                .unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn rows_come_back_oldest_first_without_those_that_made_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pulls.db");
        let rows = Rows::open(&path).await.unwrap();
        let [first, second, third] = [(1, 10), (2, 30), (3, 20)].map(|(number, at)| pull(number, at));
        rows.put(&first, &[]).await.unwrap();
        rows.put(&second, &[]).await.unwrap();
        rows.put(&third, &[(first.place.key, first.root)]).await.unwrap();
        let later = Pull { granted_at: Timestamp::from_second(40).unwrap(), ..third };
        rows.put(&later, &[]).await.unwrap();
        rows.close().await;
        rows.close().await;
        assert!(rows.put(&later, &[]).await.is_err(), "closed");

        let rows = Rows::open(&path).await.unwrap();
        assert_eq!(rows.take_up(9).await.unwrap(), [second, later.clone()]);
        assert_eq!(rows.take_up(1).await.unwrap(), std::slice::from_ref(&later), "the newest stay");
        assert_eq!(rows.take_up(9).await.unwrap(), [later], "the others are gone");
        rows.close().await;
        assert_eq!(APPLICATION_ID, 2_003_267_692);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pulls.db");
        let rows = Rows::open(&path).await.unwrap();
        rows.put(&pull(1, 10), &[]).await.unwrap();
        rows.close().await;
        raw(
            &path,
            "INSERT INTO pull SELECT zeroblob(32), root, caller, decision, granted_at_us, x'' FROM pull LIMIT 1;
             INSERT INTO pull SELECT randomblob(32), root, caller, decision, granted_at_us, x'070000000000000000000000000000000000000000000000000000000000000000' FROM pull LIMIT 1;
             INSERT INTO pull SELECT randomblob(32), root, caller, decision, granted_at_us, zeroblob(32) FROM pull LIMIT 1;
             INSERT INTO pull SELECT randomblob(32), root, caller, decision, granted_at_us, zeroblob(33 * 133) FROM pull LIMIT 1;
             INSERT INTO pull SELECT randomblob(32), root, caller, decision, 9223372036854775807, zeroblob(33) FROM pull LIMIT 1;",
        )
        .await;
        let rows = Rows::open(&path).await.unwrap();
        assert_eq!(rows.take_up(9).await.unwrap(), [pull(1, 10)]);
    }

    #[tokio::test]
    async fn other_databases_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in [
            ("other", "CREATE TABLE x (y)"),
            ("later", "PRAGMA application_id = 2003267692; PRAGMA user_version = 2; CREATE TABLE x (y)"),
        ] {
            let path = folder.path().join(name);
            raw(&path, sql).await;
            assert!(Rows::open(&path).await.is_err(), "{name}");
        }
        let text = folder.path().join("text");
        std::fs::write(&text, "not a database, and long enough to be read as one ".repeat(100)).unwrap();
        assert!(Rows::open(&text).await.is_err());
    }
}
