//! What a listener answers: one set of routes to callers, another to everybody else.

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

/// The routes behind a listener.
///
/// A request that proves nobody never reaches the routes for callers. Which proof failed is no part of it any more, so the
/// other routes cannot tell: what they answer is the same for every cause.
#[derive(Clone, Debug)]
pub struct App {
    /// For requests with a proven [`Caller`](crate::identity::Caller).
    pub callers: Router,
    /// For all others: 401, and how to be proven.
    pub strangers: Router,
}

impl From<Router> for App {
    /// Strangers get a bare 401.
    fn from(callers: Router) -> Self {
        Self { callers, strangers: Router::new().fallback(async || unauthorized()) }
    }
}

/// RFC 9457, without a word about why.
fn unauthorized() -> Response {
    let problem = r#"{"type":"about:blank","title":"Unauthorized","status":401}"#;
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::UNAUTHORIZED, kind, problem).into_response()
}
