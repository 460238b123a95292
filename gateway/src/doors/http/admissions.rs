//! `POST /v1/admissions`: one decision through the whole path.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Door, Problem, going_on};
use crate::admission::{self, Admission, Asked, Request};
use crate::audit::Receipt;
use crate::case::{ComponentFacts, Digest, Grants};
use crate::gate::Held;
use crate::identity::Caller;
use crate::reason::{self, Reason};
use crate::strict_json;

/// The deepest request, in JSON levels (design section 12).
const DEPTH_MAX: usize = 32;

/// The answer to a caller that may have the component.
#[derive(Debug, Serialize)]
pub struct Granted {
    decision: Uuid,
    verdict: &'static str,
    reference: String,
    artifact: Digest,
    component: Option<ComponentFacts>,
    grants: Option<Grants>,
    warnings: Vec<Reason>,
    ticket: Option<Value>,
    receipt: Value,
}

/// The members of a refusal beside those of RFC 9457.
#[derive(Debug, Serialize)]
pub struct Refused {
    decision: Uuid,
    reference: String,
    artifact: Option<Digest>,
    reasons: Vec<Reason>,
    receipt: Value,
}

pub(super) async fn post(State(door): State<Door>, Extension(caller): Extension<Caller>, body: Bytes) -> Response {
    let started = std::time::Instant::now();
    let (verdict, response) = match answer(&door, caller, &body).await {
        Ok(admission) => match &admission {
            Admission::Granted { recorded, .. } => {
                let ticket = admission.ticket().map(|ticket| ticket.envelope().clone());
                ("admit", Json(granted(recorded, ticket)).into_response())
            }
            Admission::Refused { recorded } => ("refuse", refused(recorded)),
        },
        Err(problem) => ("none", problem.into_response()),
    };
    metrics::counter!("witgate_admissions_total", "verdict" => verdict).increment(1);
    metrics::histogram!("witgate_admission_seconds", "verdict" => verdict).record(started.elapsed().as_secs_f64());
    response
}

async fn answer(door: &Door, caller: Caller, body: &[u8]) -> Result<Admission, Problem> {
    let asked = asked(body)?;
    let gate = door.gate.clone();
    let now = (door.clock)();
    let work = async move { admission::admit(&gate, Request { caller, asked }, now).await };
    Ok(going_on("answering an admission", Instant::now() + door.deadline, work).await??)
}

fn asked(body: &[u8]) -> Result<Asked, Problem> {
    let unprocessable = |detail: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            .with_hint(r#"send {"reference":"REGISTRY/REPOSITORY:TAG"}"#)
    };
    let value =
        strict_json::parse(body, DEPTH_MAX).map_err(|fault| unprocessable(format!("the body is no JSON: {fault}")))?;
    serde_json::from_value(value).map_err(|fault| unprocessable(format!("the body is no admission request: {fault}")))
}

fn granted(recorded: &Held, ticket: Option<Value>) -> Granted {
    let decision = recorded.decision.facts();
    Granted {
        decision: decision.id,
        verdict: "admit",
        reference: recorded.about.reference.text.clone(),
        artifact: recorded.about.artifact.digest,
        component: recorded.about.artifact.component.clone(),
        grants: decision.grants.clone(),
        warnings: decision.warnings.clone(),
        ticket,
        receipt: receipt(&recorded.receipt),
    }
}

fn refused(recorded: &Held) -> Response {
    count_reasons(recorded);
    let decision = recorded.decision.facts();
    let refused = Refused {
        decision: decision.id,
        reference: recorded.about.reference.text.clone(),
        artifact: recorded.about.artifact.seen(),
        reasons: decision.reasons.clone(),
        receipt: receipt(&recorded.receipt),
    };
    let count = refused.reasons.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut problem =
        Problem::new(StatusCode::FORBIDDEN, format!("refused `{}`: {count} reason{plural}", refused.reference))
            .with_hint(format!("see the evidence with `witgate explain {}`", refused.decision));
    if let Ok(Value::Object(members)) = serde_json::to_value(&refused) {
        for (name, value) in members {
            problem = problem.with(&name, value);
        }
    }
    let mut response = problem.into_response();
    if let Ok(id) = HeaderValue::from_str(&decision.id.to_string()) {
        response.headers_mut().insert("witgate-decision", id);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Counts the reasons of a refusal by code.
pub(super) fn count_reasons(recorded: &Held) {
    for reason in &recorded.decision.facts().reasons {
        // A policy may name codes of its own: one label for all of them keeps the series bounded.
        let code = reason::ALL.iter().find(|known| **known == reason.code).map_or("other", |known| known.as_str());
        metrics::counter!("witgate_refusal_reasons_total", "code" => code.to_owned()).increment(1);
    }
}

/// Where the decision stands in the log.
pub(super) fn receipt(receipt: &Receipt) -> Value {
    json!({
        "origin": receipt.origin(),
        "index": receipt.index(),
        "leaf_hash": receipt.leaf_hash().hex(),
        "tree_size": receipt.tree_size(),
    })
}
