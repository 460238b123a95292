//! `/token`: hands a proven token back, for clients that will not show one before they have asked for it.
//!
//! There is no token of our own (docs/decisions/0005-tokens.md): what was proven is what the client goes on to show, until its
//! own end and no longer.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use url::form_urlencoded;

use super::challenge::Challenges;
use super::{Door, Problem};
use crate::case::Timestamp;
use crate::identity::{Caller, Presented};

/// The largest form, in bytes: a token of 8 KiB, percent-encoded, with a scope.
pub(super) const FORM_BYTES_MAX: usize = 32 * 1024;

/// The token came in the header, and the request was proven by it.
///
/// Here and below the time is the machine's, as in the accept loop: no story holds the time of a token still.
pub(super) async fn proven(Extension(caller): Extension<Caller>, presented: Option<Extension<Presented>>) -> Response {
    match presented {
        Some(Extension(presented)) => handed_back(&caller, &presented, Timestamp::now()),
        None => Problem::new(StatusCode::BAD_REQUEST, "this listener proves its callers without tokens")
            .with_hint("ask `/v2/` without credentials")
            .into_response(),
    }
}

/// The token may stand in a form, as containerd sends it; whatever else comes is told how to be proven.
pub(super) async fn unproven(
    State(door): State<Door>,
    Extension(challenges): Extension<Challenges>,
    method: Method,
    uri: Uri,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    if method != Method::POST {
        return challenges.answer(&uri);
    }
    let (Some(tokens), Ok(body)) = (&door.tokens, body) else { return challenges.answer(&uri) };
    let now = Timestamp::now();
    let judged = form(&body).map(|presented| (tokens.caller(&presented, now), presented));
    match judged {
        Some((Ok(caller), presented)) => handed_back(&caller, &presented, now),
        Some((Err(cause), _)) => {
            metrics::counter!("witgate_tls_refusals_total", "cause" => cause.cause()).increment(1);
            tracing::warn!(cause = cause.cause(), error = crate::outage::chain(&cause), "request refused");
            challenges.answer(&uri)
        }
        None => challenges.answer(&uri),
    }
}

/// `grant_type=password&username=…&password=TOKEN` (the distribution project's OAuth2 token protocol), each field once.
fn form(body: &[u8]) -> Option<Presented> {
    if body.len() > FORM_BYTES_MAX {
        return None;
    }
    let fields: Vec<_> = form_urlencoded::parse(body).collect();
    let only = |name: &str| {
        let mut values = fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    };
    if only("grant_type")? != "password" {
        return None;
    }
    Presented::from_password(only("password")?.clone().into_owned()).ok()
}

fn handed_back(caller: &Caller, presented: &Presented, now: Timestamp) -> Response {
    let left = caller.not_after().and_then(|end| end.duration_since(SystemTime::from(now)).ok()).unwrap_or_default();
    let token = presented.unverified();
    let issued_at = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let answer = json!({
        "token": token, "access_token": token, "expires_in": left.as_secs(), "issued_at": issued_at,
    });
    Json(answer).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        form(text.as_bytes()).map(|presented| presented.unverified().to_owned())
    }

    #[test]
    fn a_form_holds_one_token() {
        let containerd = "grant_type=password&client_id=containerd-client&scope=repository%3Aa%2Fb%3Apull&service=x&username=u&password=a.b.c";
        assert_eq!(read(containerd), Some("a.b.c".into()));
        for text in [
            "",
            "password=a.b.c",
            "grant_type=password",
            "grant_type=password&password=",
            "grant_type=password&password=a&password=b",
            "grant_type=password&grant_type=password&password=a",
            "grant_type=refresh_token&refresh_token=a.b.c",
            "grant_type=Password&password=a",
            "grant_type=password&password=a+b",
            "grant_type=password&password=a%0Ab",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_form_has_a_largest_size() {
        let most = FORM_BYTES_MAX - "grant_type=password&password=".len();
        assert!(read(&format!("grant_type=password&password={}", "a".repeat(most))).is_some());
        assert!(read(&format!("grant_type=password&password={}", "a".repeat(most + 1))).is_none());
    }
}
