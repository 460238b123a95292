//! Why a request is refused, in the words of distribution-spec.

use http::StatusCode;
use serde_json::json;

use crate::doors::http::oci::answer::Answer;

/// A status, a code of distribution-spec "Error codes", and a sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn name_invalid(name: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", format!("`{name}` is no repository name"))
    }

    pub(super) fn name_unknown(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("no repository `{name}`"))
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("no endpoint at `{path}`"))
    }

    pub(super) fn digest_invalid(text: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", format!("`{text}` is no digest"))
    }

    pub(super) fn digest_differs(stated: &str, found: &str) -> Self {
        let message = format!("stated as `{stated}`, found `{found}`");
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn manifest_unknown(reference: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("no manifest `{reference}`"))
    }

    pub(super) fn manifest_invalid(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", why)
    }

    pub(super) fn blob_unknown(digest: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("no blob `{digest}`"))
    }

    pub(super) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload in this repository")
    }

    pub(super) fn upload_out_of_order(expected_start: usize) -> Self {
        let message = format!("the next chunk starts at byte {expected_start}");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn too_many_uploads() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many unfinished uploads")
    }

    pub(super) fn body_unreadable() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", "the request body ended early")
    }

    pub(super) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "SIZE_INVALID", "the request body stood still")
    }

    pub(super) fn too_large(limit_bytes: usize) -> Self {
        let message = format!("larger than {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message)
    }

    pub(super) fn full(limit_bytes: usize) -> Self {
        let message = format!("the registry holds {limit_bytes} bytes at most");
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "SIZE_INVALID", message)
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    pub(super) fn unsupported() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this endpoint has no such method")
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let error = json!({"code": refusal.code, "message": refusal.message, "detail": {}});
        Self::json(refusal.status, &json!({"errors": [error]}))
    }
}
