//! Errors over HTTP: RFC 9457 problem details.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::outage::{NoAnswer, Outage};

/// An RFC 9457 problem.
///
/// ```json
/// {"type":"about:blank","title":"Service Unavailable","status":503,"detail":"registry `ghcr.io` gave no answer while …","peer":"registry"}
/// ```
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    fields: Map<String, Value>,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem of `status`; `detail` is for a person.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("type".into(), json!("about:blank"));
        fields.insert("title".into(), json!(status.canonical_reason().unwrap_or("Problem")));
        fields.insert("status".into(), json!(status.as_u16()));
        fields.insert("detail".into(), json!(detail.into()));
        Self { status, fields, retry_after_s: None }
    }

    /// The same problem with the next thing to do.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        let hint: String = hint.into();
        self.with("hint", hint)
    }

    /// The same problem with another member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Value::Object(self.fields))).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Outage> for Problem {
    fn from(outage: Outage) -> Self {
        told(&outage);
        let status = match outage.retry_after {
            Some(_) => StatusCode::TOO_MANY_REQUESTS,
            None => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut problem = Self::new(status, outage.chain()).with("peer", outage.peer.kind());
        if outage.retry_after.is_some() {
            problem = problem.with("code", "rate-limited");
        }
        if let Some(hint) = outage.hint {
            problem = problem.with_hint(hint);
        }
        let wait = outage.retry_after.unwrap_or_default();
        problem.retry_after_s = Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1));
        problem
    }
}

/// The chain goes to the operator's log, once; the caller learns who failed and doing what.
pub(super) fn told(outage: &Outage) {
    tracing::warn!(outage.peer = outage.peer.kind(), outage.chain = outage.chain(), "no answer: {outage}");
    metrics::counter!("witgate_outages_total", "peer" => outage.peer.kind()).increment(1);
}

impl From<NoAnswer> for Problem {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::UnknownReference { reference } => {
                Self::new(StatusCode::NOT_FOUND, format!("unknown reference `{reference}`")).with_hint(
                    "check the name and the tag; a private repository needs credentials in `[registry.upstreams]`",
                )
            }
            NoAnswer::Unprocessable { detail } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            NoAnswer::Pending { retry_after } => {
                let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "the evidence is still being collected")
                    .with("code", "pending")
                    .with_hint("ask again after `Retry-After` seconds; the work goes on");
                problem.retry_after_s = Some(retry_after.as_secs());
                problem
            }
            NoAnswer::Outage(outage) => outage.into(),
        }
    }
}
