//! Reading rows back: by index, by id, by page.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::super::commitment::Disclosure;
use super::super::tlog::Hash;
use super::{StoreError, failed, hash, signed, unsigned};
use crate::case::{Digest, VerdictWord};

/// One entry as it is stored.
#[derive(Clone, Debug)]
pub(in super::super) struct Row {
    pub idx: u64,
    pub id: Uuid,
    pub entry: Vec<u8>,
    pub body: Vec<u8>,
    pub leaf: Hash,
    /// When it was committed, in microseconds since 1970: the time of the first checkpoint that covers it.
    pub committed_us: Option<i64>,
    /// What the entry is found by.
    pub found_by: FoundBy,
}

/// The columns that pages are cut down by: copies of what the entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct FoundBy {
    pub kind: String,
    pub verdict: Option<String>,
    pub artifact: Option<Vec<u8>>,
}

/// Which way a page goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From index 0 up.
    #[default]
    OldestFirst,
    /// From the newest down.
    NewestFirst,
}

/// What a page is cut down to.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Filter {
    pub verdict: Option<VerdictWord>,
    pub artifact: Option<Digest>,
}

/// How many rows of each kind there are: found beside the tree when a row has no leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Counts {
    pub leaves: u64,
    pub rows: u64,
    pub tiles: u64,
    pub stray_disclosures: u64,
}

type RawRow = (i64, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Option<i64>, String, Option<String>, Option<Vec<u8>>);

type RawDisclosure = (Vec<u8>, String, Vec<u8>, Vec<u8>);

const COLUMNS: &str = "SELECT leaf.idx, leaf.id, decision.entry, decision.body, leaf.leaf, \
     (SELECT signed_at FROM checkpoint WHERE checkpoint.log_id = leaf.log_id AND checkpoint.size > leaf.idx \
      ORDER BY checkpoint.size LIMIT 1), decision.kind, decision.verdict, decision.artifact ";
const FROM_LEAF: &str = "FROM leaf JOIN decision ON decision.id = leaf.id AND decision.idx = leaf.idx ";

fn row(doing: &'static str, raw: RawRow) -> Result<Row, StoreError> {
    let (idx, id, entry, body, leaf, committed_us, kind, verdict, artifact) = raw;
    let found_by = FoundBy { kind, verdict, artifact };
    let id = Uuid::from_slice(&id).map_err(|_| StoreError::damaged(doing, "an id that has not 16 bytes"))?;
    Ok(Row { idx: unsigned(doing, idx)?, id, entry, body, leaf: hash(doing, &leaf)?, committed_us, found_by })
}

/// A page of a log: the entries behind `after` in the given order, at most `limit`. Keyset, never an offset.
pub(in super::super) async fn rows(
    connection: &mut SqliteConnection,
    log_id: i64,
    after: Option<u64>,
    order: Order,
    filter: Filter,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let doing = "read the entries";
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push(FROM_LEAF).push("WHERE leaf.log_id = ").push_bind(log_id);
    if let Some(after) = after {
        query.push(match order {
            Order::OldestFirst => " AND leaf.idx > ",
            Order::NewestFirst => " AND leaf.idx < ",
        });
        query.push_bind(signed(after));
    }
    if let Some(verdict) = filter.verdict {
        query.push(" AND decision.verdict = ").push_bind(verdict.as_str());
    }
    if let Some(artifact) = filter.artifact {
        query.push(" AND decision.artifact = ").push_bind(artifact.as_bytes().to_vec());
    }
    query.push(match order {
        Order::OldestFirst => " ORDER BY leaf.idx LIMIT ",
        Order::NewestFirst => " ORDER BY leaf.idx DESC LIMIT ",
    });
    query.push_bind(i64::from(limit));
    let rows: Vec<RawRow> = query.build_query_as().fetch_all(connection).await.map_err(failed(doing))?;
    rows.into_iter().map(|raw| row(doing, raw)).collect()
}

/// The entry at an index.
pub(in super::super) async fn row_at(
    connection: &mut SqliteConnection,
    log_id: i64,
    idx: u64,
) -> Result<Option<Row>, StoreError> {
    let doing = "read an entry";
    let Ok(idx) = i64::try_from(idx) else { return Ok(None) };
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push(FROM_LEAF).push("WHERE leaf.log_id = ").push_bind(log_id).push(" AND leaf.idx = ").push_bind(idx);
    let found: Option<RawRow> = query.build_query_as().fetch_optional(connection).await.map_err(failed(doing))?;
    found.map(|raw| row(doing, raw)).transpose()
}

/// The entries of a log whose ids lie in `first..=last`, at most `limit`, in the order of their ids.
pub(in super::super) async fn rows_with_prefix(
    connection: &mut SqliteConnection,
    log_id: i64,
    first: Uuid,
    last: Uuid,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let doing = "read an entry";
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push(
        "FROM decision JOIN leaf ON leaf.log_id = decision.log_id AND leaf.idx = decision.idx WHERE decision.log_id = ",
    );
    query.push_bind(log_id).push(" AND decision.id >= ").push_bind(first.as_bytes().to_vec());
    query.push(" AND decision.id <= ").push_bind(last.as_bytes().to_vec());
    query.push(" ORDER BY decision.id LIMIT ").push_bind(i64::from(limit));
    let rows: Vec<RawRow> = query.build_query_as().fetch_all(connection).await.map_err(failed(doing))?;
    rows.into_iter().map(|raw| row(doing, raw)).collect()
}

/// What is left of the disclosures of some entries.
pub(in super::super) async fn disclosures(
    connection: &mut SqliteConnection,
    ids: impl Iterator<Item = Uuid>,
) -> Result<Vec<(Uuid, Disclosure)>, StoreError> {
    let doing = "read the disclosures";
    let ids: Vec<String> = ids.map(|id| id.simple().to_string()).collect();
    let ids = serde_json::to_string(&ids).expect("a list of texts is JSON");
    let rows: Vec<RawDisclosure> = sqlx::query_as(
        "SELECT id, ptr, salt, value FROM disclosure WHERE id IN (SELECT unhex(value) FROM json_each(?)) ORDER BY id, ptr",
    )
    .bind(ids)
    .fetch_all(connection)
    .await
    .map_err(failed(doing))?;
    let damaged = || StoreError::damaged(doing, "a disclosure that is none");
    let row = |(id, pointer, salt, value): RawDisclosure| {
        let id = Uuid::from_slice(&id).map_err(|_| damaged())?;
        let salt = salt.try_into().map_err(|_| damaged())?;
        let value = serde_json::from_slice(&value).map_err(|_| damaged())?;
        Ok((id, Disclosure { pointer, salt, value }))
    };
    rows.into_iter().map(row).collect()
}

/// The newest checkpoint: its size and its note with cosignatures.
pub(in super::super) async fn newest_checkpoint(
    connection: &mut SqliteConnection,
    log_id: i64,
) -> Result<(u64, String), StoreError> {
    let doing = "read the checkpoint";
    let (size, note, cosigs): (i64, String, String) =
        sqlx::query_as("SELECT size, note, cosigs FROM checkpoint WHERE log_id = ? ORDER BY size DESC LIMIT 1")
            .bind(log_id)
            .fetch_one(connection)
            .await
            .map_err(failed(doing))?;
    Ok((unsigned(doing, size)?, note + &cosigs))
}

/// Checkpoints behind `after` in the order of their sizes, at most `limit`.
pub(in super::super) async fn checkpoints(
    connection: &mut SqliteConnection,
    log_id: i64,
    after: Option<u64>,
    limit: u32,
) -> Result<Vec<(u64, String)>, StoreError> {
    let doing = "read the checkpoints";
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT size, note, cosigs FROM checkpoint WHERE log_id = ? AND size > ? ORDER BY size LIMIT ?")
            .bind(log_id)
            .bind(after.map_or(-1, signed))
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await
            .map_err(failed(doing))?;
    rows.into_iter().map(|(size, note, cosigs)| Ok((unsigned(doing, size)?, note + &cosigs))).collect()
}

/// Counts what a walk along the leaves would not see.
pub(in super::super) async fn counts(connection: &mut SqliteConnection, log_id: i64) -> Result<Counts, StoreError> {
    let doing = "count the rows";
    let (leaves, rows, tiles, stray): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM leaf WHERE log_id = ?1), (SELECT count(*) FROM decision WHERE log_id = ?1), \
         (SELECT count(*) FROM tile WHERE log_id = ?1), \
         (SELECT count(*) FROM disclosure WHERE id NOT IN (SELECT id FROM decision))",
    )
    .bind(log_id)
    .fetch_one(connection)
    .await
    .map_err(failed(doing))?;
    Ok(Counts {
        leaves: unsigned(doing, leaves)?,
        rows: unsigned(doing, rows)?,
        tiles: unsigned(doing, tiles)?,
        stray_disclosures: unsigned(doing, stray)?,
    })
}
