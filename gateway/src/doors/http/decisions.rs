//! `/v1/decisions`: what was decided, and the proof that it stands in the log.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Door, Problem};
use crate::audit::{self, FindError, Record, Selector};
use crate::case::VerdictWord;

/// One decision: the case, what was decided, where it stands.
pub(super) async fn one(State(door): State<Door>, Path(selector): Path<String>) -> Result<Response, Problem> {
    let record = find(&door, &selector).await?;
    Ok(Json(record_json(&record)).into_response())
}

/// Its C2SP tlog-proof.
pub(super) async fn proof(State(door): State<Door>, Path(selector): Path<String>) -> Result<Response, Problem> {
    let record = find(&door, &selector).await?;
    let proof = door.gate.audit.reader().proof(record.index).await?.ok_or_else(|| unknown(&selector))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], proof.to_string()).into_response())
}

/// What a list may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Narrow {
    /// Entries behind this index.
    after: Option<u64>,
    /// At most this many; 100 where absent.
    limit: Option<u32>,
    /// `admit` or `refuse`.
    verdict: Option<VerdictWord>,
}

/// How many a list gives where `limit` is absent.
const LIST_DEFAULT: u32 = 100;

/// Newer decisions, by index.
pub(super) async fn list(
    State(door): State<Door>,
    narrow: Result<Query<Narrow>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(narrow) = narrow.map_err(|fault| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, fault.body_text()))?;
    let query = audit::Query {
        after_index: narrow.after,
        limit: narrow.limit.unwrap_or(LIST_DEFAULT),
        verdict: narrow.verdict,
        ..audit::Query::default()
    };
    let records = door.gate.audit.reader().list(&query).await?;
    let next = records.last().map(|record| record.index);
    let decisions: Vec<Value> = records.iter().map(record_json).collect();
    Ok(Json(json!({"decisions": decisions, "after": next})).into_response())
}

async fn find(door: &Door, selector: &str) -> Result<Record, Problem> {
    let parsed: Selector = selector
        .parse()
        .map_err(|fault: audit::SelectorError| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string()))?;
    match door.gate.audit.reader().find(&parsed).await {
        Ok(record) => record.ok_or_else(|| unknown(selector)),
        Err(FindError::Outage(outage)) => Err(outage.into()),
        Err(ambiguous @ FindError::Ambiguous { .. }) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, ambiguous.to_string()).with_hint("give more of the id"))
        }
    }
}

fn unknown(selector: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("the log holds no decision `{selector}`"))
}

/// A record as `explain --output json` and this route give it.
pub(crate) fn record_json(record: &Record) -> Value {
    json!({
        "index": record.index,
        "id": record.id,
        "kind": record.kind.as_str(),
        "leaf_hash": record.leaf_hash.hex(),
        "entry": serde_json::from_slice::<Value>(&record.entry).unwrap_or(Value::Null),
        "case": record.case,
        "decision": record.decision,
        "detail": record.detail,
        "committed_at": record.committed_at,
        "redacted": record.redacted,
    })
}
