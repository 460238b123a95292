//! `/v2/`: an enforcing OCI pull-through that unmodified hosts use (distribution-spec 1.1, the reading half).
//!
//! It decides nothing: a manifest is answered under a decision on the record, a blob under the grant that such a decision
//! made. Nothing is sent that was not hashed, inspected and admitted before.

pub(crate) mod answer;
mod blobs;
mod error;
mod headers;
mod manifests;
pub mod path;
mod pulls;
pub(crate) mod range;
mod referrers;
mod tags;

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, ETAG, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use self::answer::{Answer, DOCKER_CONTENT_DIGEST};
use self::error::{ErrorAnswer, WITGATE_DECISION};
use self::headers::etag;
use self::path::{NamedBy, Target, What};
use self::pulls::Pulling;
use super::{Door, panic_noted};
use crate::case::Repository;
use crate::gate::{Blob, Live};
use crate::identity::Caller;

/// One handler for everything below `/v2/`: names hold slashes, so the raw path is read by us.
pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*rest}", any(serve))
        .layer(CatchPanicLayer::custom(panicked))
}

async fn serve(State(door): State<Door>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    // The body is never read: nothing is taken, and nothing passed on.
    let (head, _) = request.into_parts();
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    if matches!(head.uri.path(), "/v2" | "/v2/") && is_read {
        // Some clients ask before each request: it costs nothing, and says no more than that somebody was let in.
        return wire(Answer::json(StatusCode::OK, &json!({})).into(), &head.method);
    }
    let registry = &door.gate.registry;
    let target = match is_read {
        true => Target::parse(head.uri.path(), head.uri.query(), |name| registry.has_upstream(name)),
        false => return wire(told("other", Err(ErrorAnswer::unsupported())), &head.method),
    };
    let target = match target {
        Ok(target) => target,
        Err(fault) => return wire(told("other", Err(fault.into())), &head.method),
    };
    let repository = &target.repository;
    let named_by = target.named_by;
    let (method, headers) = (&head.method, &head.headers);
    let asking = Asking { door: &door, caller: &caller, repository, named_by, method, headers };
    let (endpoint, reply) = match target.what {
        What::Tag(reference) => ("manifest", manifests::by_tag(&asking, &reference).await.map(Reply::from)),
        What::Manifest(digest) => ("manifest", manifests::by_digest(&asking, digest).await.map(Reply::from)),
        What::Blob(digest) => ("blob", blobs::by_digest(&asking, digest).await),
        What::Tags(page) => ("tags", tags::list(&asking, page).await.map(Reply::from)),
        What::Referrers { subject, artifact_type } => {
            ("referrers", referrers::of(&asking, subject, artifact_type).await.map(Reply::from))
        }
    };
    let mut reply = told(endpoint, reply);
    if named_by == NamedBy::Namespace {
        reply.answer = reply.answer.with(OCI_NAMESPACE, repository.registry());
    }
    wire(reply, &head.method)
}

/// An answer, and the part of a blob that is its body, if it has one.
struct Reply {
    answer: Answer,
    blob: Option<(Blob, Range<u64>)>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, blob: None }
    }
}

/// One request with everything that its answer depends on: `Accept`, `Host` and the rest change nothing.
struct Asking<'a> {
    door: &'a Door,
    caller: &'a Caller,
    repository: &'a Repository,
    named_by: NamedBy,
    method: &'a Method,
    headers: &'a HeaderMap,
}

impl Asking<'_> {
    fn pulling(&self) -> Pulling<'_> {
        Pulling::new(self.door, self.caller, self.repository)
    }

    /// How much of a body of `size` bytes goes out.
    fn body_bytes(&self, size: usize) -> usize {
        if *self.method == Method::HEAD { 0 } else { size }
    }
}

/// The headers of every answer about a digest that may be sent.
fn verified(live: &Live) -> impl Fn(StatusCode) -> Answer {
    let (digest, decision) = (live.part().digest, live.pull().decision());
    move |status| {
        Answer::empty(status)
            .with(DOCKER_CONTENT_DIGEST, digest.to_string())
            .with(ETAG, etag(&digest))
            // Kept by the caller if it likes, but asked for each time: it may be refused by then.
            .with(CACHE_CONTROL, "private, max-age=0")
            .with(WITGATE_DECISION, decision.to_string())
    }
}

fn told(endpoint: &'static str, reply: Result<Reply, ErrorAnswer>) -> Reply {
    let (outcome, reply) = match reply {
        Ok(reply) => ("served", reply),
        Err(error) => (error.outcome(), error.into_answer().into()),
    };
    metrics::counter!("witgate_pulls_total", "endpoint" => endpoint, "outcome" => outcome).increment(1);
    reply
}

fn wire(reply: Reply, method: &Method) -> Response {
    let answer = reply.answer.with(API_VERSION, "registry/2.0").with(X_CONTENT_TYPE_OPTIONS, "nosniff");
    let Some((blob, part)) = reply.blob else { return answer.into_response(method).map(Body::new) };
    if let Some(bytes) = blob.at_hand(part.clone()) {
        return answer.carrying(bytes).into_response(method).map(Body::new);
    }
    let size = HeaderValue::from(part.end - part.start);
    let mut response = answer.into_response(method).map(Body::new);
    response.headers_mut().insert(CONTENT_LENGTH, size);
    if *method != Method::HEAD {
        // An error in the middle breaks the connection: nobody takes a part for the whole.
        *response.body_mut() = Body::from_stream(blob.read(part));
    }
    response
}

#[allow(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    panic_noted(&*panic);
    wire(ErrorAnswer::panicked().into_answer().into(), &Method::GET)
}

/// The header that says which registry's content an answer is (distribution-spec, "Registry proxying").
const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
