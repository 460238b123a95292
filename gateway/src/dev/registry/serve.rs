//! The path of one request: connection, route, access, answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{Action, Need};
use super::fault::{Fault, Moment};
use super::misbehave::{self, Delivery};
use super::refusal::Refusal;
use super::route::{ManifestReference, Route};
use super::wire::{self, Script};
use super::{Shared, pull, upload};
use crate::doors::http::oci::answer::Answer;

/// Accepts connections until `stop`.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) {
    let permits = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => return,
            permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // The peer left between SYN and accept, or descriptors ran out: the next one may fare better.
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            },
        };
        let (shared, stop) = (shared.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, shared) => {}
            }
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Answers are written in one go; a client that waits for a small one should not wait for its own ACK.
    let _ = stream.set_nodelay(true);
    let (take_over, mut taken_over) = mpsc::channel::<Script>(1);
    let service = service_fn(move |request: Request<Incoming>| -> Pin<Box<dyn Future<Output = _> + Send>> {
        let (shared, take_over) = (shared.clone(), take_over.clone());
        Box::pin(async move {
            let method = request.method().clone();
            match deliver(&shared, request).await {
                Delivery::Answer(answer) => Ok::<_, Infallible>(answer.into_response(&method)),
                Delivery::Script(script) => {
                    let _ = take_over.send(script).await;
                    // The connection is taken from under this request.
                    std::future::pending().await
                }
            }
        })
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let script = tokio::select! {
        // A client that breaks the protocol ends its own connection; nobody else has to know.
        _ = &mut connection => return,
        script = taken_over.recv() => script.expect("the service inside the connection holds a sender"),
    };
    wire::play(connection.into_parts().io.into_inner(), script).await;
}

async fn deliver(shared: &Shared, request: Request<Incoming>) -> Delivery {
    let (head, body) = request.into_parts();
    shared.note(&head);
    let route = Route::parse(head.uri.path());
    if let Some(fault) = shared.strike(Moment::Replacing, &head, route.as_ref().ok()) {
        return misbehave::replace(fault, &head.method);
    }
    let mut fault = None;
    let answer = match respond(shared, &head, route, body, &mut fault).await {
        Ok(answer) | Err(answer) => answer.with(API_VERSION, "registry/2.0"),
    };
    match fault {
        Some(fault) => misbehave::alter(fault, answer, &head.method),
        None => Delivery::Answer(answer),
    }
}

/// The honest answer, with the fault that strikes it once the request was let in.
async fn respond(
    shared: &Shared,
    head: &http::request::Parts,
    route: Result<Route, Refusal>,
    body: Incoming,
    fault: &mut Option<Fault>,
) -> Result<Answer, Answer> {
    if let Ok(Route::Token) = route {
        *fault = shared.strike(Moment::Altering, head, Some(&Route::Token));
        return token(shared, head, body).await;
    }
    let action = match head.method {
        Method::GET | Method::HEAD => Action::Pull,
        _ => Action::Push,
    };
    let name = route.as_ref().ok().and_then(Route::repository);
    let need = name.map_or(Need::Any, |name| Need::Repository { name, action });
    shared.access.check(&head.headers, need)?;
    *fault = shared.strike(Moment::Altering, head, route.as_ref().ok());
    let mut route = route?;
    if let (Some(Fault::FlipTag { to }), Action::Pull, Route::Manifest { reference, .. }) =
        (&*fault, action, &mut route)
    {
        *reference = ManifestReference::Digest((*to).into());
    }
    let limit_bytes = match &route {
        Route::Manifest { .. } => shared.limits.manifest_bytes,
        Route::Uploads { .. } | Route::Upload { .. } => shared.limits.blob_bytes,
        _ => 0,
    };
    let body = read(shared, body, limit_bytes).await?;
    Ok(act(shared, &route, head, body)?)
}

/// The endpoint's work on a request whose body is in memory.
fn act(shared: &Shared, route: &Route, head: &http::request::Parts, body: Bytes) -> Result<Answer, Refusal> {
    let (method, headers, query) = (&head.method, &head.headers, head.uri.query());
    let store = &mut *shared.store();
    match (method.as_str(), route) {
        ("GET" | "HEAD", Route::Ping) => Ok(Answer::json(StatusCode::OK, &json!({}))),
        ("GET" | "HEAD", Route::Manifest { repository, reference }) => pull::manifest(store, repository, reference),
        ("PUT", Route::Manifest { repository, reference }) => {
            upload::manifest(store, shared.referrers, repository, reference.clone(), headers, body)
        }
        ("DELETE", Route::Manifest { repository, reference }) => upload::delete_manifest(store, repository, reference),
        ("GET" | "HEAD", Route::Blob { repository, digest }) => pull::blob(store, repository, digest, method, headers),
        ("DELETE", Route::Blob { repository, digest }) => upload::delete_blob(store, repository, digest),
        ("POST", Route::Uploads { repository }) => upload::begin(store, repository, query, body),
        ("PATCH", Route::Upload { repository, id }) => {
            upload::append(store, repository, *id, headers, &body, shared.limits)
        }
        ("PUT", Route::Upload { repository, id }) => {
            upload::finish(store, repository, *id, query, headers, &body, shared.limits)
        }
        ("GET", Route::Upload { repository, id }) => upload::status(store, repository, *id),
        ("DELETE", Route::Upload { repository, id }) => upload::cancel(store, repository, *id),
        ("GET" | "HEAD", Route::Tags { repository }) => pull::tags(store, repository, query),
        ("GET" | "HEAD", Route::Referrers { repository, digest }) => {
            pull::referrers(store, shared.referrers, repository, digest, query)
        }
        _ => Err(Refusal::unsupported()),
    }
}

async fn token(shared: &Shared, head: &http::request::Parts, body: Incoming) -> Result<Answer, Answer> {
    let body = read(shared, body, MAX_TOKEN_FORM_BYTES).await?;
    let form = match head.method {
        Method::GET => head.uri.query().unwrap_or_default().as_bytes(),
        Method::POST => &body,
        _ => return Err(Refusal::unsupported().into()),
    };
    let parameters: Vec<_> = url::form_urlencoded::parse(form).into_owned().collect();
    Ok(shared.access.issue(&head.headers, &parameters))
}

/// Reads a body of at most `limit_bytes`, of which few are in memory at once.
async fn read(shared: &Shared, mut body: Incoming, limit_bytes: usize) -> Result<Bytes, Refusal> {
    use hyper::body::Body as _;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(Refusal::too_large(limit_bytes));
    }
    let _permit = shared.bodies.acquire().await.expect("the semaphore is never closed");
    let mut bytes = BytesMut::new();
    while let Some(frame) = tokio::time::timeout(BODY_IDLE, body.frame()).await.map_err(|_| Refusal::body_too_slow())? {
        let frame = frame.map_err(|_| Refusal::body_unreadable())?;
        let Some(data) = frame.data_ref() else { continue };
        if data.len() > limit_bytes - bytes.len() {
            return Err(Refusal::too_large(limit_bytes));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

/// The first value of a query parameter, decoded.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Connections at once; others wait in the socket's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// The body of `POST /token`.
const MAX_TOKEN_FORM_BYTES: usize = 16 << 10;
/// Time for the head of a request, which is also how long an idle connection stays open.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time without a byte of a request body.
const BODY_IDLE: Duration = Duration::from_secs(15);
