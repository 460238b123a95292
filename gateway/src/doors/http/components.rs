//! `GET /v1/components/{digest}`: bytes, only with a live ticket.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Door, Problem};
use crate::case::Digest;
use crate::identity::Caller;

/// The header that names the ticket.
const TICKET: &str = "witgate-ticket";

pub(super) async fn get(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let digest: Digest = digest.parse().map_err(|fault| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the path names no digest: {fault}"))
    })?;
    let ticket = headers.get(TICKET).and_then(|value| value.to_str().ok()).ok_or_else(|| {
        Problem::new(StatusCode::FORBIDDEN, "no ticket was shown")
            .with_hint("ask `POST /v1/admissions`, then send the ticket's id as `Witgate-Ticket`")
    })?;
    let now = (door.clock)();
    door.gate.handover.redeem(ticket, &caller.facts().id, &digest, now).map_err(|refusal| {
        tracing::info!(component = %digest, "bytes withheld: {refusal}");
        // One answer for all of them: whether a ticket exists is its host's business.
        Problem::new(StatusCode::FORBIDDEN, "this ticket does not give these bytes")
            .with_hint("ask `POST /v1/admissions` for a fresh ticket")
    })?;
    let blob = door.gate.registry.held(&digest).await?.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("the component `{digest}` is no longer held"))
            .with_hint("ask `POST /v1/admissions` again: the gateway fetches it anew")
    })?;
    metrics::counter!("witgate_component_bytes_total").increment(blob.size_bytes());
    // An error in the middle breaks the connection: nobody takes a part for the whole.
    let mut response = Body::from_stream(blob.read(0..blob.size_bytes())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/wasm"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size_bytes()));
    Ok(response)
}
