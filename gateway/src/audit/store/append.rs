//! One transaction a batch: rows, full tiles, tree state, signed checkpoint.

use sqlx::{Connection as _, QueryBuilder, Sqlite, SqliteConnection};

use super::super::entry::microseconds;
use super::super::recording::Recording;
use super::super::tlog::tree::FullTile;
use super::super::tlog::{EMPTY_ROOT, Hash};
use super::{Connection, StoreError, admitted, failed, hash, signed, unsigned};
use crate::case::{Timestamp, canonical_json};

/// What is appended in one transaction.
#[derive(Debug)]
pub(in super::super) struct Batch<'a> {
    pub log_id: i64,
    /// The tree this batch was computed on: the fence.
    pub old: (u64, Hash),
    pub recordings: &'a [Recording],
    pub full_tiles: &'a [FullTile],
    pub new: (u64, Hash),
    pub checkpoint: &'a str,
    pub signed_at: Timestamp,
}

/// Where inside a transaction a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Step {
    Begun,
    Rows,
    Leaves,
    Tiles,
    Tree,
    Checkpoint,
    Committed,
}

/// How many rows one statement inserts, largest first: seven texts a table, all in the statement cache.
const CHUNKS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// Appends a batch. On any error nothing of it is acknowledged; whether COMMIT happened must be read from the database.
pub(in super::super) async fn append(
    connection: &mut Connection,
    batch: &Batch<'_>,
    reached: &mut (dyn FnMut(Step) + Send),
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed("begin a transaction"))?;
    fence(&mut transaction, batch).await?;
    reached(Step::Begun);
    insert_decisions(&mut transaction, batch).await?;
    insert_disclosures(&mut transaction, batch).await?;
    admitted::note(&mut transaction, batch.log_id, batch.old.0, batch.recordings).await?;
    reached(Step::Rows);
    insert_leaves(&mut transaction, batch).await?;
    reached(Step::Leaves);
    insert_tiles(&mut transaction, batch).await?;
    reached(Step::Tiles);
    sqlx::query("UPDATE tree SET size = ?, root = ? WHERE log_id = ?")
        .bind(signed(batch.new.0))
        .bind(batch.new.1.to_vec())
        .bind(batch.log_id)
        .execute(&mut *transaction)
        .await
        .map_err(failed("advance the tree"))?;
    reached(Step::Tree);
    insert_checkpoint(&mut transaction, batch.log_id, batch.new.0, batch.checkpoint, batch.signed_at).await?;
    reached(Step::Checkpoint);
    transaction.commit().await.map_err(failed("commit"))?;
    reached(Step::Committed);
    Ok(())
}

/// Makes a log with its key and the signed checkpoint of the empty tree, closing the one before it.
pub(in super::super) async fn create_log(
    connection: &mut Connection,
    origin: &str,
    vkey: &str,
    sig_type: u8,
    checkpoint: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let doing = "make the log";
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed(doing))?;
    let previous: Option<(i64, String, i64)> =
        sqlx::query_as("SELECT log_id, origin, size FROM log JOIN tree USING (log_id) ORDER BY log_id DESC LIMIT 1")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed(doing))?;
    let now_us = now.as_microsecond();
    let mut log_id = 1;
    if let Some((previous_id, ..)) = &previous {
        log_id = previous_id + 1;
        sqlx::query("UPDATE log SET closed_at = ? WHERE log_id = ?")
            .bind(now_us)
            .bind(previous_id)
            .execute(&mut *transaction)
            .await
            .map_err(failed(doing))?;
    }
    sqlx::query("INSERT INTO log (log_id, origin, created, prev_origin, prev_size) VALUES (?, ?, ?, ?, ?)")
        .bind(log_id)
        .bind(origin.to_owned())
        .bind(now_us)
        .bind(previous.as_ref().map(|(_, origin, _)| origin.clone()))
        .bind(previous.as_ref().map(|(_, _, size)| *size))
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
    sqlx::query("INSERT INTO log_key (log_id, vkey, sig_type, not_before) VALUES (?, ?, ?, ?)")
        .bind(log_id)
        .bind(vkey.to_owned())
        .bind(i64::from(sig_type))
        .bind(now_us)
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
    sqlx::query("INSERT INTO tree (log_id, size, root) VALUES (?, 0, ?)")
        .bind(log_id)
        .bind(EMPTY_ROOT.to_vec())
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
    insert_checkpoint(&mut transaction, log_id, 0, checkpoint, now).await?;
    transaction.commit().await.map_err(failed(doing))?;
    Ok(log_id)
}

/// The tree row must be the one the batch was computed on: a second writer, or a file put back under our feet, ends here.
async fn fence(transaction: &mut SqliteConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let doing = "read the tree";
    let (size, root): (i64, Vec<u8>) = sqlx::query_as("SELECT size, root FROM tree WHERE log_id = ?")
        .bind(batch.log_id)
        .fetch_one(transaction)
        .await
        .map_err(failed(doing))?;
    if (unsigned(doing, size)?, hash(doing, &root)?) == batch.old {
        Ok(())
    } else {
        let detail = format!("the stored tree has {size} entries, this process left it at {}", batch.old.0);
        Err(StoreError::damaged("append to the tree", detail))
    }
}

/// Inserts `rows` in chunks whose statements stay in the cache: row by row a batch of 128 is bound by the executor.
async fn insert<T>(
    transaction: &mut SqliteConnection,
    doing: &'static str,
    head: &'static str,
    mut rows: &[T],
    mut bind: impl FnMut(&mut sqlx::query_builder::Separated<'_, Sqlite, &'static str>, &T),
) -> Result<(), StoreError> {
    for chunk in CHUNKS {
        while rows.len() >= chunk {
            let (now, later) = rows.split_at(chunk);
            let mut query = QueryBuilder::<Sqlite>::new(head);
            query.push_values(now, |mut row, value| bind(&mut row, value));
            query.build().execute(&mut *transaction).await.map_err(failed(doing))?;
            rows = later;
        }
    }
    Ok(())
}

async fn insert_decisions(transaction: &mut SqliteConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let head =
        "INSERT INTO decision (id, log_id, idx, ts, kind, tenant, verdict, artifact, policy_digest, entry, body) ";
    let mut idx = signed(batch.old.0);
    insert(transaction, "write the rows", head, batch.recordings, |row, recording| {
        let entry = &recording.entry;
        let decision = entry.decision.as_ref();
        row.push_bind(entry.id.as_bytes().to_vec())
            .push_bind(batch.log_id)
            .push_bind(idx)
            .push_bind(microseconds(entry.time).as_microsecond())
            .push_bind(entry.kind.as_str())
            .push_bind(decision.map(|decision| decision.tenant.clone()))
            .push_bind(decision.map(|decision| decision.verdict.as_str()))
            .push_bind(decision.map(|decision| decision.artifact.as_bytes().to_vec()))
            .push_bind(decision.map(|decision| decision.policy.digest.as_bytes().to_vec()))
            .push_bind(recording.entry_bytes.clone())
            .push_bind(recording.body.clone());
        idx += 1;
    })
    .await
}

async fn insert_disclosures(transaction: &mut SqliteConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let rows: Vec<_> = batch
        .recordings
        .iter()
        .flat_map(|recording| recording.disclosures.iter().map(|disclosure| (recording.entry.id, disclosure)))
        .collect();
    let head = "INSERT INTO disclosure (id, ptr, salt, value) ";
    insert(transaction, "write the disclosures", head, &rows, |row, (id, disclosure)| {
        row.push_bind(id.as_bytes().to_vec())
            .push_bind(disclosure.pointer.clone())
            .push_bind(disclosure.salt.to_vec())
            .push_bind(canonical_json(&disclosure.value));
    })
    .await
}

async fn insert_leaves(transaction: &mut SqliteConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let mut idx = signed(batch.old.0);
    let head = "INSERT INTO leaf (log_id, idx, id, leaf) ";
    insert(transaction, "write the leaves", head, batch.recordings, |row, recording| {
        row.push_bind(batch.log_id)
            .push_bind(idx)
            .push_bind(recording.entry.id.as_bytes().to_vec())
            .push_bind(recording.leaf.to_vec());
        idx += 1;
    })
    .await
}

async fn insert_tiles(transaction: &mut SqliteConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let head = "INSERT INTO tile (log_id, level, idx, hash, data) ";
    insert(transaction, "write the tiles", head, batch.full_tiles, |row, tile| {
        row.push_bind(batch.log_id)
            .push_bind(i64::from(tile.level))
            .push_bind(signed(tile.index))
            .push_bind(tile.hash.to_vec())
            .push_bind(tile.hashes.concat());
    })
    .await
}

async fn insert_checkpoint(
    transaction: &mut SqliteConnection,
    log_id: i64,
    size: u64,
    note: &str,
    signed_at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO checkpoint (log_id, size, note, signed_at) VALUES (?, ?, ?, ?)")
        .bind(log_id)
        .bind(signed(size))
        .bind(note.to_owned())
        .bind(signed_at.as_microsecond())
        .execute(transaction)
        .await
        .map(|_| ())
        .map_err(failed("write the checkpoint"))
}
