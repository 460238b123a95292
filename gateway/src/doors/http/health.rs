//! `/livez`, `/readyz`, `/metrics`: for operators and their machines.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Door;

/// The process answers.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Every peer that an answer needs is there; names each that is not, and what is going wrong without stopping answers.
pub(super) async fn readyz(State(door): State<Door>) -> Response {
    let mut missing = Vec::new();
    let audit = door.gate.audit.health();
    if let Some(fault) = audit.last_error {
        missing.push(json!({"peer": "audit", "detail": fault}));
    }
    if let Some(identity) = &door.identity
        && let Err(fault) = identity.spiffe_id()
    {
        missing.push(json!({"peer": "identity", "detail": fault.chain()}));
    }
    let now = (door.clock)();
    if let Err(outage) = door.gate.evidence.usable(now) {
        missing.push(json!({"peer": outage.peer.kind(), "detail": outage.to_string()}));
    }
    let issuers = door.tokens.iter().flat_map(|tokens| tokens.degraded(now));
    let policy = door.gate.policy.fault().map(|fault| ("policy".to_owned(), fault));
    let degraded = door.gate.evidence.degraded(now).into_iter().chain(issuers).chain(policy);
    let degraded = degraded.map(|(name, detail)| json!({"name": name, "detail": detail})).collect::<Vec<_>>();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": missing.is_empty(), "missing": missing, "degraded": degraded}))).into_response()
}

/// Prometheus text format 0.0.4.
pub(super) async fn metrics(State(door): State<Door>) -> Response {
    door.gate.evidence.measure((door.clock)());
    door.gate.registry.measure();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (door.metrics)()).into_response()
}
