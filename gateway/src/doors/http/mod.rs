//! The HTTP door: it turns requests into questions and answers into bytes.

mod admissions;
mod challenge;
mod components;
mod decisions;
mod health;
mod log;
pub mod oci;
mod prefetch;
mod problem;
mod token;
mod waiting;
mod wasm_pkg;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub use admissions::{Granted, Refused};
pub use challenge::{Challenges, Scheme};
pub(crate) use decisions::record_json;
pub use prefetch::{PREFETCH_AT_ONCE, PREFETCH_MAX, Prefetches};
pub use problem::Problem;
use waiting::going_on;
pub use waiting::{FLIGHTS_MAX, Flights};

use crate::case::Timestamp;
use crate::gate::Gate;
use crate::identity::{Identity, Tokens};

/// The largest request body, in bytes (design section 12).
pub const BODY_MAX_BYTES: usize = 8 << 20;
/// How long a caller waits for a cold admission (design section 12); the work goes on after it.
pub const ADMISSION_DEADLINE: Duration = Duration::from_secs(25);
/// What a caller is told to wait when its deadline passed.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Clone)]
pub struct Door {
    /// The stages.
    pub gate: Arc<Gate>,
    /// The gateway's own identity, if one is configured.
    pub identity: Option<Arc<Identity>>,
    /// The judge of tokens, if any are taken.
    pub tokens: Option<Arc<Tokens>>,
    /// The clock, so that stories can hold it.
    pub clock: Clock,
    /// Renders the metrics.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// How long a caller waits; [`ADMISSION_DEADLINE`] but in tests.
    pub deadline: Duration,
    /// The pulls that are decided about now.
    pub flights: Flights,
    /// The places for what is collected ahead.
    pub prefetches: Prefetches,
}

/// Where the doors read the time; stages are handed it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The routes for callers: every request has a proven caller.
pub fn callers(door: Door) -> Router {
    let routes = Router::new()
        .route("/v1/admissions", post(admissions::post))
        .route("/v1/prefetch", post(prefetch::post))
        .route("/v1/decisions", get(decisions::list))
        .route("/v1/decisions/{selector}", get(decisions::one))
        .route("/v1/decisions/{selector}/proof", get(decisions::proof))
        .route("/v1/components/{digest}", get(components::get))
        .route("/log/checkpoint", get(log::checkpoint))
        .route("/log/tile/{*path}", get(log::tile));
    let routes = finish(routes.merge(client_routes()), door.clone());
    // Outside of the others' frame: it answers in the words of another specification, and reads no body.
    routes.merge(oci::routes().with_state(door))
}

/// The routes of the registry listener, for clients that know nothing but OCI: every request has a proven caller.
pub fn registry(door: Door) -> Router {
    finish(client_routes(), door.clone()).merge(oci::routes().with_state(door))
}

/// What a registry's clients ask beside `/v2/`, on either listener.
fn client_routes() -> Router<Door> {
    Router::new().route("/token", get(token::proven).post(token::proven)).route(wasm_pkg::PATH, get(wasm_pkg::get))
}

/// What requests are answered that prove nobody: 401, and for a registry's clients how to be proven.
pub fn strangers(door: Door, challenges: Challenges) -> Router {
    let told = async |Extension(challenges): Extension<Challenges>, uri: Uri| challenges.answer(&uri);
    let form = any(token::unproven).layer(RequestBodyLimitLayer::new(token::FORM_BYTES_MAX));
    // Where packages are is asked before anybody could prove who asks, and tells nothing but a prefix.
    let routes = Router::new().route(wasm_pkg::PATH, get(wasm_pkg::get)).route("/token", form);
    let routes = routes.fallback(told).layer(Extension(challenges));
    guard(routes, door)
}

/// The routes for operators: nothing here admits or tells what was decided.
pub fn administration(door: Door) -> Router {
    let routes = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics));
    finish(routes, door)
}

fn finish(routes: Router<Door>, door: Door) -> Router {
    let routes = routes
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "no such route").with_hint("see docs/http-api.md").into_response()
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this route does not take that method").into_response()
        });
    guard(routes, door)
}

/// Panics, limits and caching, alike on every route.
fn guard(routes: Router<Door>, door: Door) -> Router {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        // The framework's own limit is lower, and nowhere to be read.
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(BODY_MAX_BYTES))
        .layer(map_response(too_large))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        ))
        .with_state(door)
}

/// The limit's layer answers in plain text, ours is a problem.
async fn too_large(response: Response) -> Response {
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return response;
    }
    let detail = format!("the body is larger than this route takes, at most {BODY_MAX_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
}

/// A bug: nobody is admitted, the caller learns no more than that.
#[allow(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> axum::response::Response {
    panic_noted(&*panic);
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway itself failed; nothing was admitted").into_response()
}

fn panic_noted(panic: &(dyn std::any::Any + Send)) {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = message, "a handler panicked; the request was not answered");
    metrics::counter!("witgate_outages_total", "peer" => "internal").increment(1);
}
