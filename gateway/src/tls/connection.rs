//! One connection, from its first request to its end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use hyper::body::Body as HttpBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::app::App;
use super::authorization::Authorization;
use super::busy::Requests;
use super::pace::Pace;
use super::receiving::{Late, Receiving};
use super::sending::Sending;
use super::{Guest, HEADER_FIELDS, Limits};
use crate::case::Timestamp;
use crate::identity::{Caller, Identity, Presented, Tokens, Trust, Unproven};
use crate::outage::chain;

/// What the peers agreed on in the handshake; never guessed from the first bytes, which may not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What stands behind the requests of a connection.
#[derive(Debug)]
pub(super) enum Proof {
    Nobody,
    Local(Caller),
    /// The handshake; a token beside it is judged where tokens are taken.
    Svid(Svid, Option<Arc<Tokens>>),
    /// Nothing: each request brings its own.
    Token(Arc<Tokens>),
}

/// A TLS peer with the bundles that it was verified under.
#[derive(Debug)]
pub(super) struct Svid {
    pub(super) identity: Arc<Identity>,
    pub(super) caller: Caller,
    pub(super) trust: Trust,
}

impl Svid {
    fn vouched(&self, now: Timestamp) -> Result<&Caller, Unproven> {
        self.identity.vouches(&self.caller, &self.trust, now).map(|()| &self.caller)
    }
}

impl Proof {
    /// The caller for a request that comes `now` and shows this.
    fn caller(&self, shown: Option<&Result<Presented, Unproven>>, now: Timestamp) -> Result<Option<Caller>, Unproven> {
        match self {
            Self::Nobody => Ok(None),
            Self::Local(caller) => Ok(Some(caller.clone())),
            Self::Svid(svid, None) => svid.vouched(now).cloned().map(Some),
            Self::Svid(svid, Some(tokens)) => {
                let peer = svid.vouched(now)?;
                // The handshake is the stronger proof and stays the caller; a token of somebody else, or one that proves
                // nobody, is a client that is confused about who it is.
                if let Some(shown) = shown {
                    let token = tokens.caller(shown.as_ref().map_err(Unproven::clone)?, now)?;
                    if token.facts().id != peer.facts().id {
                        let (id, spiffe_id) = (token.facts().id.clone(), peer.facts().id.clone());
                        return Err(Unproven::AnotherIdentity { id, spiffe_id });
                    }
                }
                Ok(Some(peer.clone()))
            }
            Self::Token(tokens) => match shown {
                None => Err(Unproven::NoToken),
                Some(shown) => tokens.caller(shown.as_ref().map_err(Unproven::clone)?, now).map(Some),
            },
        }
    }

    /// Returns once the proof holds no longer.
    async fn ended(&self) -> Unproven {
        let Self::Svid(svid, _) = self else { return std::future::pending().await };
        let mut changes = svid.identity.changed();
        loop {
            if let Err(cause) = svid.vouched(Timestamp::now()) {
                return cause;
            }
            let left = svid.caller.not_after().and_then(|end| end.duration_since(SystemTime::now()).ok());
            // Nothing left, or a change: judge again.
            let _ = tokio::time::timeout(left.unwrap_or_default().min(CLOCK_LOOK), changes.changed()).await;
        }
    }
}

/// How often the wall clock is read: timers stand still while the machine sleeps.
const CLOCK_LOOK: Duration = Duration::from_secs(30);

/// The peer's end of a connection.
#[derive(Debug)]
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Answers the requests of one connection until either side ends it.
pub(super) async fn serve(io: Io, protocol: Protocol, proof: Proof, guest: &Guest, tasks: TaskTracker) {
    let limits = &guest.limits;
    let proof = Arc::new(proof);
    let requests = Requests::new(limits.pace());
    let streams = CancellationToken::new();
    // Whatever HTTP/2 spawned for this connection ends with it.
    let _end_streams = streams.clone().drop_guard();
    let answering = {
        let (proof, requests, app, pace) = (Arc::clone(&proof), requests.clone(), guest.app.clone(), limits.pace());
        service_fn(move |request| answer(request, Arc::clone(&proof), app.clone(), requests.clone(), pace))
    };
    let server = builder(protocol, limits, Tracked { tasks, streams });
    let connection = server.serve_connection(TokioIo::new(io), answering);
    tokio::pin!(connection);
    let idle = requests.idle(millis(limits.header_read_timeout_ms), millis(limits.idle_timeout_ms));
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(peer.address = %guest.peer, error, "connection ended");
            }
            return;
        }
        () = guest.shutdown.cancelled() => {}
        () = idle => tracing::debug!(peer.address = %guest.peer, "idle connection closed"),
        () = requests.too_slow() => {
            metrics::counter!("witgate_tls_closed_total", "cause" => "slow-reader").increment(1);
            tracing::info!(peer.address = %guest.peer, cause = "slow-reader", "connection closed: an answer is taken too slowly");
            // Dropped with what it holds: who does not read would not read the end either.
            return;
        }
        cause = proof.ended() => {
            metrics::counter!("witgate_tls_closed_total", "cause" => cause.cause()).increment(1);
            let error = chain(&cause);
            tracing::info!(peer.address = %guest.peer, cause = cause.cause(), error, "connection closed");
        }
    }
    connection.as_mut().graceful_shutdown();
    // Past the cap the connection is dropped with whatever it still does.
    let _ = tokio::time::timeout(millis(limits.drain_ms), connection).await;
}

async fn answer<B>(
    mut request: hyper::Request<B>,
    proof: Arc<Proof>,
    app: App,
    requests: Requests,
    pace: Pace,
) -> Result<Response<Sending>, Infallible>
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    let open = requests.begin();
    let sending = |response: Response| Ok(response.map(|body| Sending::new(body, open)));
    let shown = match Authorization::take(request.headers_mut()) {
        Authorization::None => None,
        Authorization::One(shown) => Some(shown),
        Authorization::Several => return sending(twice()),
    };
    let routes = match proof.caller(shown.as_ref(), Timestamp::now()) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            if let (Proof::Token(_), Some(Ok(token))) = (&*proof, shown) {
                request.extensions_mut().insert(token);
            }
            app.callers
        }
        Err(cause) => {
            metrics::counter!("witgate_tls_refusals_total", "cause" => cause.cause()).increment(1);
            match cause {
                // How every client of a registry begins.
                Unproven::NoToken => tracing::debug!("a request without a token"),
                cause => tracing::warn!(cause = cause.cause(), error = chain(&cause), "request refused"),
            }
            app.strangers
        }
    };
    let late = Late::default();
    let Ok(response) = routes.oneshot(request.map(|body| Body::new(Receiving::new(body, pace, late.clone())))).await;
    sending(if late.is_set() { too_late() } else { response })
}

/// RFC 9457; nobody read the body to its end, so the connection is closed behind it.
fn too_late() -> Response {
    metrics::counter!("witgate_tls_closed_total", "cause" => "slow-body").increment(1);
    let problem = r#"{"type":"about:blank","title":"Request Timeout","status":408,"detail":"the request's body came too slowly"}"#;
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CONNECTION, "close")];
    (StatusCode::REQUEST_TIMEOUT, headers, problem).into_response()
}

/// RFC 9457; said before anything is proven, and of the request's form alone.
fn twice() -> Response {
    let problem = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"the request has more than one `Authorization` header"}"#;
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::BAD_REQUEST, kind, problem).into_response()
}

fn builder(protocol: Protocol, limits: &Limits, executor: Tracked) -> auto::Builder<Tracked> {
    let mut builder = auto::Builder::new(executor);
    let header_size = usize::try_from(limits.header_size_bytes).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(millis(limits.header_read_timeout_ms))
        .max_headers(HEADER_FIELDS)
        .max_buf_size(header_size);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_size_bytes)
        .keep_alive_interval(millis(limits.idle_timeout_ms) / 2)
        .keep_alive_timeout(millis(limits.handshake_timeout_ms));
    match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    }
}

/// Spawns what HTTP/2 needs so that the drain knows of it and the connection's end ends it.
#[derive(Clone, Debug)]
struct Tracked {
    tasks: TaskTracker,
    streams: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.tasks.spawn(self.streams.clone().run_until_cancelled_owned(future));
    }
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Limits {
    fn pace(&self) -> Pace {
        Pace { least_bytes_per_s: self.body_bytes_per_s, patience: millis(self.body_patience_ms) }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    /// Else every answer is copied into one buffer before it is written.
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "dev")]
mod tests {
    use super::*;
    use crate::tls::tests::World;

    /// The connection's own end comes first in real life: here the request does.
    #[tokio::test]
    async fn a_request_past_the_end_is_answered_401() {
        let world = World::start().await;
        let svid = world.host("/host/a");
        let trust = world.identity.trust();
        let early = Timestamp::now() - Duration::from_secs(7200);
        let leaf = crate::dev::spiffe::Leaf::lasting(early, Duration::from_secs(3600));
        let past = world.ca.issue("/host/a", &leaf).unwrap();
        let ask = async |svid: &crate::dev::spiffe::Svid, proven: Timestamp| {
            let certificate = svid.chain_der[0].as_slice().into();
            let caller = world.identity.caller(&[certificate], proven).unwrap();
            let svid = super::Svid { identity: Arc::clone(&world.identity), caller, trust: trust.clone() };
            let proof = Proof::Svid(svid, None);
            let request = hyper::Request::get("/who").body(Body::empty()).unwrap();
            let pace = Limits::default().pace();
            answer(request, Arc::new(proof), crate::tls::tests::app().into(), Requests::new(pace), pace).await.unwrap()
        };
        assert_eq!(ask(&svid, Timestamp::now()).await.status(), StatusCode::OK);
        let refused = ask(&past, early).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
