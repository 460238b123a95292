//! Decisions newest first by their ids, in bulk: rows as they are stored, with what is left of their disclosures.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::tlog::Hash;
use super::{StoreError, failed, hash, unsigned};

/// A decision's row before anybody looked at it.
#[derive(Clone, Debug)]
pub(in super::super) struct DecisionRow {
    pub id: Uuid,
    pub idx: u64,
    pub entry: Vec<u8>,
    pub body: Vec<u8>,
    /// The leaf hash at its index; none where the tree knows nothing of the row.
    pub leaf: Option<Hash>,
}

/// A disclosure's row before anybody looked at it.
#[derive(Clone, Debug)]
pub(in super::super) struct DisclosureRow {
    pub id: Uuid,
    pub pointer: String,
    pub salt: Vec<u8>,
    pub value: Vec<u8>,
}

type RawDecision = (Vec<u8>, i64, Vec<u8>, Vec<u8>, Option<Vec<u8>>);
type RawDisclosure = (Vec<u8>, String, Vec<u8>, Vec<u8>);

/// The ids of the newest decisions in `first..before` with the sizes of their bodies in bytes, newest first, at most `limit`.
/// No body is read for it.
pub(in super::super) async fn decision_sizes(
    connection: &mut SqliteConnection,
    log_id: i64,
    (first, before): (Uuid, Uuid),
    limit: u32,
) -> Result<Vec<(Uuid, u64)>, StoreError> {
    let doing = "read the decisions";
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
        "SELECT id, length(body) FROM decision WHERE log_id = ? AND kind = 'decision' AND id >= ? AND id < ? \
         ORDER BY id DESC LIMIT ?",
    )
    .bind(log_id)
    .bind(first.as_bytes().to_vec())
    .bind(before.as_bytes().to_vec())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .map_err(failed(doing))?;
    rows.into_iter().map(|(id, size_bytes)| Ok((uuid(doing, &id)?, unsigned(doing, size_bytes)?))).collect()
}

/// The decisions with ids in `first..=last`, newest first.
pub(in super::super) async fn decisions(
    connection: &mut SqliteConnection,
    log_id: i64,
    (first, last): (Uuid, Uuid),
) -> Result<Vec<DecisionRow>, StoreError> {
    let doing = "read the decisions";
    let rows: Vec<RawDecision> = sqlx::query_as(
        "SELECT decision.id, decision.idx, decision.entry, decision.body, leaf.leaf FROM decision \
         LEFT JOIN leaf ON leaf.log_id = decision.log_id AND leaf.idx = decision.idx AND leaf.id = decision.id \
         WHERE decision.log_id = ? AND decision.kind = 'decision' AND decision.id >= ? AND decision.id <= ? \
         ORDER BY decision.id DESC",
    )
    .bind(log_id)
    .bind(first.as_bytes().to_vec())
    .bind(last.as_bytes().to_vec())
    .fetch_all(connection)
    .await
    .map_err(failed(doing))?;
    let row = |(id, idx, entry, body, leaf): RawDecision| {
        let leaf = leaf.map(|leaf| hash(doing, &leaf)).transpose()?;
        Ok(DecisionRow { id: uuid(doing, &id)?, idx: unsigned(doing, idx)?, entry, body, leaf })
    };
    rows.into_iter().map(row).collect()
}

/// What is left of the disclosures of the entries with ids in `first..=last`, newest first.
pub(in super::super) async fn disclosures_between(
    connection: &mut SqliteConnection,
    (first, last): (Uuid, Uuid),
) -> Result<Vec<DisclosureRow>, StoreError> {
    let doing = "read the disclosures";
    let rows: Vec<RawDisclosure> = sqlx::query_as(
        "SELECT id, ptr, salt, value FROM disclosure WHERE id >= ? AND id <= ? ORDER BY id DESC, ptr DESC",
    )
    .bind(first.as_bytes().to_vec())
    .bind(last.as_bytes().to_vec())
    .fetch_all(connection)
    .await
    .map_err(failed(doing))?;
    let row =
        |(id, pointer, salt, value): RawDisclosure| Ok(DisclosureRow { id: uuid(doing, &id)?, pointer, salt, value });
    rows.into_iter().map(row).collect()
}

fn uuid(doing: &'static str, bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|_| StoreError::damaged(doing, "an id that has not 16 bytes"))
}
