//! `POST /v1/prefetch`: bytes and evidence are collected ahead of a roll-out, and nothing is decided.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Door, Problem, going_on, problem};
use crate::admission;
use crate::case::{Digest, Reference};
use crate::identity::Caller;
use crate::outage::{NoAnswer, Outage, Peer};
use crate::strict_json;

/// The most references of one request.
pub const PREFETCH_MAX: usize = 64;
/// How many are collected at once, for all callers together: admissions go first.
pub const PREFETCH_AT_ONCE: usize = 4;
/// The deepest request, in JSON levels (design section 12).
const DEPTH_MAX: usize = 32;

/// The places for what is collected ahead.
#[derive(Clone, Debug)]
pub struct Prefetches(Arc<Semaphore>);

impl Default for Prefetches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PREFETCH_AT_ONCE)))
    }
}

/// The body: what will be asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    references: Vec<Reference>,
}

/// What became of one reference.
#[derive(Debug, Serialize)]
struct Collected {
    reference: Reference,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// 200 when everything was looked at, each reference with its outcome; 429 when it takes longer, and the work goes on.
pub(super) async fn post(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, Problem> {
    let references = wanted(&body)?;
    let until = Instant::now() + door.deadline;
    let collected = going_on("collecting ahead", until, async move {
        let one = |reference| collect(door.clone(), caller.clone(), reference);
        stream::iter(references).map(one).buffered(PREFETCH_AT_ONCE).collect::<Vec<_>>().await
    });
    Ok(Json(json!({"references": collected.await?})).into_response())
}

fn wanted(body: &[u8]) -> Result<Vec<Reference>, Problem> {
    let unprocessable = |detail: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            .with_hint(r#"send {"references":["REGISTRY/REPOSITORY:TAG"]}"#)
    };
    let value =
        strict_json::parse(body, DEPTH_MAX).map_err(|fault| unprocessable(format!("the body is no JSON: {fault}")))?;
    let Wanted { mut references } = serde_json::from_value(value)
        .map_err(|fault| unprocessable(format!("the body is no prefetch request: {fault}")))?;
    references.sort();
    references.dedup();
    match references.len() {
        0 => Err(unprocessable("`references` is empty".into())),
        1..=PREFETCH_MAX => Ok(references),
        many => Err(unprocessable(format!("{many} references, at most {PREFETCH_MAX} at once"))),
    }
}

async fn collect(door: Door, caller: Caller, reference: Reference) -> Collected {
    let _place = door.prefetches.0.acquire().await.expect("the semaphore is never closed");
    let collected = {
        let (door, reference) = (door.clone(), reference.clone());
        // A panic over one reference is that one's outage.
        tokio::spawn(async move { admission::prefetch(&door.gate, &caller, &reference, (door.clock)()).await }).await
    };
    let failed = |fault| NoAnswer::Outage(Outage::new(Peer::Internal, "collecting ahead").because(fault));
    let (status, artifact, detail) = match collected.map_err(failed).and_then(|collected| collected) {
        Ok(digest) => ("collected", Some(digest), None),
        Err(NoAnswer::UnknownReference { .. }) => ("unknown", None, None),
        Err(NoAnswer::Outage(outage)) => {
            problem::told(&outage);
            ("outage", None, Some(outage.chain()))
        }
        Err(other) => ("unprocessable", None, Some(other.to_string())),
    };
    metrics::counter!("witgate_prefetches_total", "status" => status).increment(1);
    Collected { reference, status, artifact, detail }
}
