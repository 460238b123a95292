//! Which artifact of a repository was admitted last: an index over what the bodies say, kept in the transaction that appends them.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::recording::{Admitted, Recording};
use super::super::tlog::Hash;
use super::{StoreError, failed, hash, signed, unsigned};
use crate::case::{Digest, Scope};

/// The row of an admission with its leaf.
#[derive(Clone, Debug)]
pub(in super::super) struct AdmittedRow {
    pub idx: u64,
    pub id: Uuid,
    pub entry: Vec<u8>,
    pub body: Vec<u8>,
    pub leaf: Hash,
}

type RawRow = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// Notes the admissions of a batch whose first index is `first`: of each artifact in a repository the newest.
pub(super) async fn note(
    transaction: &mut SqliteConnection,
    log_id: i64,
    first: u64,
    recordings: &[Recording],
) -> Result<(), StoreError> {
    let admitted = (first..).zip(recordings).filter_map(|(idx, recording)| Some((recording.admitted.as_ref()?, idx)));
    let newest: BTreeMap<&Admitted, u64> = admitted.collect();
    for (admitted, idx) in newest {
        sqlx::query(
            "INSERT INTO admitted (tenant, environment, upstream, repository, artifact, log_id, idx) VALUES (?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET log_id = excluded.log_id, idx = excluded.idx",
        )
        .bind(admitted.scope.tenant.clone())
        .bind(admitted.scope.environment.clone())
        .bind(admitted.upstream.clone())
        .bind(admitted.repository.clone())
        .bind(admitted.artifact.as_bytes().to_vec())
        .bind(log_id)
        .bind(signed(idx))
        .execute(&mut *transaction)
        .await
        .map_err(failed("note the admissions"))?;
    }
    Ok(())
}

/// The newest admission in a repository of a scope that is about another artifact than `artifact`. One row of each artifact is
/// there, so two are looked at, however many admissions there were.
pub(in super::super) async fn newest_other(
    connection: &mut SqliteConnection,
    scope: &Scope,
    upstream: &str,
    repository: &str,
    artifact: &Digest,
) -> Result<Option<AdmittedRow>, StoreError> {
    let doing = "read the last admission";
    let found: Option<RawRow> = sqlx::query_as(
        "SELECT newest.idx, leaf.id, decision.entry, decision.body, leaf.leaf FROM \
         (SELECT log_id, idx FROM admitted INDEXED BY admitted_newest \
          WHERE tenant = ? AND environment = ? AND upstream = ? AND repository = ? AND artifact <> ? \
          ORDER BY log_id DESC, idx DESC LIMIT 1) AS newest \
         LEFT JOIN leaf ON leaf.log_id = newest.log_id AND leaf.idx = newest.idx \
         LEFT JOIN decision ON decision.id = leaf.id",
    )
    .bind(scope.tenant.clone())
    .bind(scope.environment.clone())
    .bind(upstream.to_owned())
    .bind(repository.to_owned())
    .bind(artifact.as_bytes().to_vec())
    .fetch_optional(connection)
    .await
    .map_err(failed(doing))?;
    let Some((idx, id, entry, body, leaf)) = found else { return Ok(None) };
    let idx = unsigned(doing, idx)?;
    let (Some(id), Some(entry), Some(body), Some(leaf)) = (id, entry, body, leaf) else {
        return Err(StoreError::damaged(doing, format!("entry {idx} is missing")));
    };
    let id = Uuid::from_slice(&id).map_err(|_| StoreError::damaged(doing, "an id that has not 16 bytes"))?;
    Ok(Some(AdmittedRow { idx, id, entry, body, leaf: hash(doing, &leaf)? }))
}

/// Where the newest admission of an artifact is said to stand: log and index.
pub(in super::super) async fn noted(
    connection: &mut SqliteConnection,
    admitted: &Admitted,
) -> Result<Option<(i64, u64)>, StoreError> {
    let doing = "read the admissions";
    let found: Option<(i64, i64)> = sqlx::query_as(
        "SELECT log_id, idx FROM admitted WHERE tenant = ? AND environment = ? AND upstream = ? AND repository = ? AND artifact = ?",
    )
    .bind(admitted.scope.tenant.clone())
    .bind(admitted.scope.environment.clone())
    .bind(admitted.upstream.clone())
    .bind(admitted.repository.clone())
    .bind(admitted.artifact.as_bytes().to_vec())
    .fetch_optional(connection)
    .await
    .map_err(failed(doing))?;
    found.map(|(log_id, idx)| Ok((log_id, unsigned(doing, idx)?))).transpose()
}

/// How many notes point at no admission of what they name.
pub(in super::super) async fn stray_notes(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let doing = "count the admissions";
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM \
         (SELECT admitted.*, decision.verdict, decision.artifact AS said_artifact, \
                 CAST(decision.body AS TEXT) AS said \
          FROM admitted LEFT JOIN leaf ON leaf.log_id = admitted.log_id AND leaf.idx = admitted.idx \
          LEFT JOIN decision ON decision.id = leaf.id) \
         WHERE NOT coalesce(verdict = 'admit' AND said_artifact = artifact \
           AND json_extract(said, '$.case.scope.tenant') = tenant \
           AND json_extract(said, '$.case.scope.environment') = environment \
           AND json_extract(said, '$.case.reference.upstream') = upstream \
           AND json_extract(said, '$.case.reference.repository') = repository \
           AND json_extract(said, '$.case.purpose') <> 'dry-run' \
           AND coalesce(json_array_length(said, '$.decision.would_refuse'), 0) = 0, FALSE)",
    )
    .fetch_one(connection)
    .await
    .map_err(failed(doing))?;
    unsigned(doing, count)
}
