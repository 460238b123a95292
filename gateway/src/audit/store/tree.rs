//! The stored tree: its logs and keys, its size, its tiles full and partial.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use super::super::tlog::tile::{TILE_HEIGHT, TILE_WIDTH};
use super::super::tlog::tree::{Nodes, level_width, partial_width};
use super::super::tlog::{Hash, Node};
use super::{StoreError, failed, hash, signed, unsigned};

/// One incarnation of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct LogRow {
    pub log_id: i64,
    pub origin: String,
}

/// Every incarnation, oldest first.
pub(in super::super) async fn logs(connection: &mut SqliteConnection) -> Result<Vec<LogRow>, StoreError> {
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT log_id, origin FROM log ORDER BY log_id")
        .fetch_all(connection)
        .await
        .map_err(failed("read the log"))?;
    Ok(rows.into_iter().map(|(log_id, origin)| LogRow { log_id, origin }).collect())
}

/// The keys of a log, as vkeys.
pub(in super::super) async fn keys(connection: &mut SqliteConnection, log_id: i64) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar("SELECT vkey FROM log_key WHERE log_id = ? ORDER BY not_before, vkey")
        .bind(log_id)
        .fetch_all(connection)
        .await
        .map_err(failed("read the log's keys"))
}

/// The size and root as they were last committed.
pub(in super::super) async fn tree(connection: &mut SqliteConnection, log_id: i64) -> Result<(u64, Hash), StoreError> {
    let doing = "read the tree";
    let (size, root): (i64, Vec<u8>) = sqlx::query_as("SELECT size, root FROM tree WHERE log_id = ?")
        .bind(log_id)
        .fetch_one(connection)
        .await
        .map_err(failed(doing))?;
    Ok((unsigned(doing, size)?, hash(doing, &root)?))
}

/// The hashes behind the full tiles of a level in a tree of `size`; they are nowhere stored as a tile.
pub(in super::super) async fn partial(
    connection: &mut SqliteConnection,
    log_id: i64,
    size: u64,
    level: u8,
) -> Result<Vec<Hash>, StoreError> {
    let doing = "read the edge of the tree";
    let end = level_width(size, level);
    let start = end - partial_width(size, level) as u64;
    hashes(connection, log_id, level, start, end, doing).await
}

/// The hashes `start..end` of a level: leaves, or the roots of the full tiles below.
async fn hashes(
    connection: &mut SqliteConnection,
    log_id: i64,
    level: u8,
    start: u64,
    end: u64,
    doing: &'static str,
) -> Result<Vec<Hash>, StoreError> {
    let rows: Vec<Vec<u8>> = match level.checked_sub(1) {
        None => sqlx::query_scalar("SELECT leaf FROM leaf WHERE log_id = ? AND idx >= ? AND idx < ? ORDER BY idx")
            .bind(log_id),
        Some(below) => sqlx::query_scalar(
            "SELECT hash FROM tile WHERE log_id = ? AND level = ? AND idx >= ? AND idx < ? ORDER BY idx",
        )
        .bind(log_id)
        .bind(i64::from(below)),
    }
    .bind(signed(start))
    .bind(signed(end))
    .fetch_all(connection)
    .await
    .map_err(failed(doing))?;
    if rows.len() as u64 != end - start {
        let detail = format!("level {level} holds {} of the hashes {start}..{end}", rows.len());
        return Err(StoreError::damaged(doing, detail));
    }
    rows.iter().map(|row| hash(doing, row)).collect()
}

/// The first `width` hashes of a tile in a tree of `size`; `None` when the tree does not reach that far.
pub(in super::super) async fn tile(
    connection: &mut SqliteConnection,
    log_id: i64,
    size: u64,
    level: u8,
    index: u64,
    width: usize,
) -> Result<Option<Vec<Hash>>, StoreError> {
    let doing = "read a tile";
    let Some(start) = index.checked_mul(TILE_WIDTH as u64) else { return Ok(None) };
    let there = level_width(size, level).saturating_sub(start).min(TILE_WIDTH as u64);
    if there < width as u64 {
        return Ok(None);
    }
    if there < TILE_WIDTH as u64 {
        return hashes(connection, log_id, level, start, start + width as u64, doing).await.map(Some);
    }
    let stored = stored_tile(connection, log_id, level, index).await?;
    let (_, hashes) =
        stored.ok_or_else(|| StoreError::damaged(doing, format!("tile {index} of level {level} is missing")))?;
    Ok(Some(hashes.into_iter().take(width).collect()))
}

/// The subtrees that `wanted` lie in, in a tree of `size`.
pub(in super::super) async fn nodes(
    connection: &mut SqliteConnection,
    log_id: i64,
    size: u64,
    wanted: impl Iterator<Item = Node>,
) -> Result<Nodes, StoreError> {
    let tiles: BTreeSet<(u8, u64)> = wanted.map(Nodes::tile_of).collect();
    let mut nodes = Nodes::default();
    for (level, index) in tiles {
        let there = level_width(size, level).saturating_sub(index << TILE_HEIGHT).min(TILE_WIDTH as u64) as usize;
        if let Some(hashes) = tile(connection, log_id, size, level, index, there).await? {
            nodes.add(level, index, &hashes);
        }
    }
    Ok(nodes)
}

/// A full tile as it is stored: the root over it, its hashes.
pub(in super::super) async fn stored_tile(
    connection: &mut SqliteConnection,
    log_id: i64,
    level: u8,
    index: u64,
) -> Result<Option<(Hash, Vec<Hash>)>, StoreError> {
    let doing = "read a tile";
    let row: Option<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT hash, data FROM tile WHERE log_id = ? AND level = ? AND idx = ?")
            .bind(log_id)
            .bind(i64::from(level))
            .bind(signed(index))
            .fetch_optional(connection)
            .await
            .map_err(failed(doing))?;
    row.map(|(root, data)| Ok((hash(doing, &root)?, split(doing, &data)?))).transpose()
}

fn split(doing: &'static str, data: &[u8]) -> Result<Vec<Hash>, StoreError> {
    let (hashes, rest) = data.as_chunks::<32>();
    if hashes.len() == TILE_WIDTH && rest.is_empty() {
        Ok(hashes.to_vec())
    } else {
        Err(StoreError::damaged(doing, "a tile that has not 8192 bytes"))
    }
}
