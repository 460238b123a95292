//! Opening the database with the promises the log needs, and bringing its schema up to date.

use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _, Sqlite, SqliteConnection, SqlitePool};

use super::{StoreError, failed};

/// `application_id` of our databases: "wgal".
const APPLICATION_ID: i64 = 0x7767_616c;
/// One script a schema version; never edited once released.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("schema_2.sql")];
/// The schema version from which on admissions are noted.
const ADMISSIONS_VERSION: i64 = 2;
/// How long a statement waits for another connection's lock; below the append deadline.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// The most connections of readers in one process.
const MAX_READERS: u32 = 4;
/// How long a reader waits for a free connection.
const READER_TIMEOUT: Duration = Duration::from_secs(2);
/// `PRAGMA synchronous`: 2 is FULL, 3 EXTRA.
const SYNCHRONOUS_FULL: i64 = 2;

/// An open database.
pub(in super::super) type Connection = SqliteConnection;

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Access {
    /// The one writer, which also makes the file.
    Create,
    /// The one writer again, after a fault: the file must be there.
    Write,
    /// Readers.
    Read,
}

/// A few connections for readers; cheap to clone.
#[derive(Clone, Debug)]
pub(in super::super) struct Readers(SqlitePool);

impl Readers {
    /// Opens the database at `path` for reading.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqlitePoolOptions::new().max_connections(MAX_READERS).acquire_timeout(READER_TIMEOUT);
        let pool = options.connect_with(options_for(path, Access::Read)).await.map_err(failed("open the database"))?;
        let readers = Self(pool);
        check(&mut *readers.connection().await?, Access::Read).await?;
        Ok(readers)
    }

    /// One of the connections, given back when dropped.
    pub async fn connection(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.0.acquire().await.map_err(failed("open the database"))
    }

    /// Closes them all.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Opens the database at `path`.
pub(in super::super) async fn open(path: &Path, access: Access) -> Result<Connection, StoreError> {
    let mut connection =
        SqliteConnection::connect_with(&options_for(path, access)).await.map_err(failed("open the database"))?;
    if access == Access::Create {
        migrate(&mut connection).await?;
    }
    check(&mut connection, access).await?;
    Ok(connection)
}

/// From here on the connection sees one moment of the log, whatever is appended meanwhile.
pub(in super::super) async fn begin_snapshot(connection: &mut Connection) -> Result<(), StoreError> {
    connection.execute("BEGIN").await.map(|_| ()).map_err(failed("begin to read"))
}

/// Closes a connection; the last one folds the write-ahead log into the database.
pub(in super::super) async fn close(connection: Connection) -> Result<(), StoreError> {
    connection.close().await.map_err(failed("close the database"))
}

fn options_for(path: &Path, access: Access) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(access == Access::Create)
        .read_only(access == Access::Read)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(64);
    match access {
        Access::Read => options,
        Access::Create | Access::Write => {
            options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full).foreign_keys(true)
        }
    }
}

/// Whether the schema has the table of admissions: a copy from before it has not.
pub(in super::super) async fn has_admissions(connection: &mut Connection) -> Result<bool, StoreError> {
    Ok(pragma(connection, "PRAGMA user_version").await? >= ADMISSIONS_VERSION)
}

async fn pragma(connection: &mut Connection, sql: &'static str) -> Result<i64, StoreError> {
    sqlx::query_scalar(sql).fetch_one(connection).await.map_err(failed("read the database's settings"))
}

async fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let doing = "bring the database's schema up to date";
    let tables = pragma(connection, "SELECT count(*) FROM sqlite_schema").await?;
    if tables == 0 {
        connection.execute("PRAGMA application_id = 2003263852").await.map_err(failed(doing))?;
    } else if pragma(connection, "PRAGMA application_id").await? != APPLICATION_ID {
        return Err(StoreError::damaged("open the database", "it holds something other than an audit log"));
    }
    let done = usize::try_from(pragma(connection, "PRAGMA user_version").await?).unwrap_or(usize::MAX);
    for (version, script) in MIGRATIONS.iter().enumerate().skip(done) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed(doing))?;
        sqlx::raw_sql(*script).execute(&mut *transaction).await.map_err(failed(doing))?;
        let mark = format!("PRAGMA user_version = {}", version + 1);
        sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *transaction).await.map_err(failed(doing))?;
        transaction.commit().await.map_err(failed(doing))?;
    }
    Ok(())
}

/// Reads back what the promises of the log stand on.
async fn check(connection: &mut Connection, access: Access) -> Result<(), StoreError> {
    let doing = "open the database";
    if pragma(connection, "PRAGMA application_id").await? != APPLICATION_ID {
        return Err(StoreError::damaged(doing, "it holds something other than an audit log"));
    }
    let version = pragma(connection, "PRAGMA user_version").await?;
    // A copy that somebody kept is read as it is; whoever writes has brought it up to date before.
    let oldest = if access == Access::Read { 1 } else { MIGRATIONS.len() };
    if !usize::try_from(version).is_ok_and(|version| (oldest..=MIGRATIONS.len()).contains(&version)) {
        return Err(StoreError::damaged(
            doing,
            format!("its schema version is {version}, expected {}", MIGRATIONS.len()),
        ));
    }
    let journal: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.map_err(failed(doing))?;
    if journal != "wal" {
        return Err(StoreError::damaged(
            doing,
            format!("its journal mode is `{journal}`, expected `wal`: is it on a local disk?"),
        ));
    }
    if access != Access::Read && pragma(connection, "PRAGMA synchronous").await? < SYNCHRONOUS_FULL {
        return Err(StoreError::damaged(doing, "`PRAGMA synchronous` is below FULL"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_id_is_the_one_in_the_statement() {
        assert_eq!(APPLICATION_ID, 2_003_263_852);
    }

    #[tokio::test]
    async fn the_promises_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let mut connection = open(&path, Access::Create).await.unwrap();
        assert_eq!(pragma(&mut connection, "PRAGMA synchronous").await.unwrap(), SYNCHRONOUS_FULL);
        connection.execute("PRAGMA synchronous = NORMAL").await.unwrap();
        assert!(check(&mut connection, Access::Write).await.is_err());
        connection.execute("PRAGMA synchronous = FULL").await.unwrap();
        connection.execute("PRAGMA user_version = 99").await.unwrap();
        assert!(check(&mut connection, Access::Read).await.is_err());
    }

    #[tokio::test]
    async fn other_databases_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.db");
        let options = SqliteConnectOptions::new().filename(&other).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute("CREATE TABLE x (y)").await.unwrap();
        connection.close().await.unwrap();
        assert!(open(&other, Access::Create).await.is_err());
        let text = folder.path().join("text");
        std::fs::write(&text, "not a database, and long enough to be read as one ".repeat(100)).unwrap();
        let error = open(&text, Access::Create).await.unwrap_err();
        assert!(error.hint().unwrap().contains("no SQLite database"));
        assert!(open(&folder.path().join("missing"), Access::Write).await.is_err());
        assert!(open(&folder.path().join("missing"), Access::Read).await.is_err());
    }

    #[tokio::test]
    async fn rows_of_the_log_cannot_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(&folder.path().join("audit.db"), Access::Create).await.unwrap();
        for sql in [
            "INSERT INTO log VALUES (1, 'o', 0, NULL, NULL, NULL)",
            "INSERT INTO leaf VALUES (1, 0, zeroblob(16), zeroblob(32))",
            "INSERT INTO tile VALUES (1, 0, 0, zeroblob(32), zeroblob(8192))",
            "INSERT INTO checkpoint VALUES (1, 0, 'n', '', 0)",
            "INSERT INTO decision VALUES (1, zeroblob(16), 1, 0, 0, 'decision', NULL, NULL, NULL, NULL, x'00', x'00')",
            "UPDATE checkpoint SET cosigs = 'line'",
        ] {
            connection.execute(sql).await.unwrap();
        }
        for sql in [
            "UPDATE leaf SET leaf = zeroblob(32)",
            "DELETE FROM leaf",
            "UPDATE tile SET data = zeroblob(8192)",
            "DELETE FROM tile",
            "UPDATE checkpoint SET note = 'm'",
            "DELETE FROM checkpoint",
            "UPDATE decision SET verdict = 'admit'",
            "DELETE FROM decision",
            "INSERT INTO leaf VALUES (1, 0, zeroblob(16), zeroblob(32))",
            "INSERT INTO leaf VALUES (1, 1, zeroblob(16), zeroblob(31))",
            "INSERT INTO leaf VALUES (2, 1, zeroblob(16), zeroblob(32))",
        ] {
            assert!(connection.execute(sql).await.is_err(), "`{sql}` was taken");
        }
    }
}
