//! A `wasi:http/incoming-handler` behind a listener: one instance a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{Error as HttpError, WasiBody, WasiHttpView as _};

use super::command::root_cause;
use super::limits;
use super::prepare::Prepared;
use super::store::{State, Streams, store};

/// The most connections at once; more wait in the listener's queue.
pub const MAX_CONNECTIONS: usize = 256;
/// The largest request body, in bytes: 8 MiB (design, "Limits").
pub const MAX_REQUEST_BYTES: usize = 8 << 20;
/// The most instances at once; a request past that is answered 503.
const MAX_INSTANCES: usize = 64;
/// How long a peer may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long running requests may take when serving ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before the next accept when the last one failed (out of file handles).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A component that answers requests.
pub struct Serving {
    pre: ProxyPre<State>,
    prepared: Prepared,
    instances: Arc<Semaphore>,
}

/// Why serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It was told to.
    Stopped,
    /// The grant's `lifetime_s` is over.
    LifetimeOver,
}

impl Prepared {
    /// Looks for the handler it exports.
    ///
    /// # Errors
    /// Why it is no `wasi:http/incoming-handler`.
    pub fn handler(self) -> Result<Serving, super::Ended> {
        let pre =
            ProxyPre::new(self.pre.clone()).map_err(|error| super::Ended::NotStarted { detail: root_cause(&error) })?;
        Ok(Serving { pre, prepared: self, instances: Arc::new(Semaphore::new(MAX_INSTANCES)) })
    }
}

impl Serving {
    /// Answers requests on `listener` until `stop` or the end of the grant's lifetime, then lets the running ones end.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Served {
        let lifetime = Duration::from_secs(self.prepared.grants.lifetime_s.min(limits::MAX_TIMEOUT_MS));
        let (serving, slots) = (Arc::new(self), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        let mut connections = JoinSet::new();
        let accept = async {
            loop {
                let slot = slots.clone().acquire_owned().await.expect("nobody closes the connections' semaphore");
                match listener.accept().await {
                    Ok((socket, _)) => drop(connections.spawn(serving.clone().connection(socket, slot))),
                    Err(error) => {
                        tracing::warn!(error = %error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
                while connections.try_join_next().is_some() {}
            }
        };
        let served = tokio::select! {
            () = accept => unreachable!("accepting never ends by itself"),
            () = stop => Served::Stopped,
            () = sleep(lifetime) => Served::LifetimeOver,
        };
        drop(listener);
        // Idle keep-alive connections hold no instance: what is waited for are guests, then all sockets are closed.
        let all = u32::try_from(MAX_INSTANCES).expect("a small constant");
        if timeout(DRAIN_TIMEOUT, serving.instances.acquire_many(all)).await.is_err() {
            tracing::warn!("requests were still running when serving ended");
        }
        connections.shutdown().await;
        served
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, _slot: OwnedSemaphorePermit) {
        let service = service_fn(move |request| {
            let serving = self.clone();
            async move { Ok::<_, Infallible>(serving.answer(request).await) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        if let Err(error) = server.serve_connection(TokioIo::new(socket), service).await {
            tracing::debug!(error = %error, "a connection ended early");
        }
    }

    /// The component's answer, or a plain one where it gave none; the cause stands in the log only.
    async fn answer(&self, request: Request<Incoming>) -> Response<WasiBody> {
        let Ok(slot) = self.instances.clone().try_acquire_owned() else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests are running");
        };
        let size = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if size.is_some_and(|size: u64| size > MAX_REQUEST_BYTES as u64) {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
        }
        match self.call(request, slot).await {
            Ok(response) => response,
            Err(NoResponse::TimedOut) => plain(StatusCode::GATEWAY_TIMEOUT, "the component did not answer in time"),
            Err(NoResponse::Refused(code)) => {
                tracing::warn!(code = ?code, "the component answered with an error");
                plain(StatusCode::BAD_GATEWAY, "the component answered with an error")
            }
            Err(NoResponse::Failed(detail)) => {
                tracing::warn!(detail, "the component failed");
                plain(StatusCode::BAD_GATEWAY, "the component failed")
            }
        }
    }

    /// The guest runs on while its body is being sent, at most for the grant's wall time.
    async fn call(
        &self,
        request: Request<Incoming>,
        slot: OwnedSemaphorePermit,
    ) -> Result<Response<WasiBody>, NoResponse> {
        let limit = limits::timeout(&self.prepared.grants.limits);
        let failed = |error: wasmtime::Error| NoResponse::Failed(root_cause(&error));
        let streams = Streams { stdout: tokio::io::stdout(), stderr: tokio::io::stderr() };
        let mut store =
            store(&self.prepared.engine, &self.prepared.grants, streams, Instant::now() + limit).map_err(failed)?;
        let request = request.map(|body| Limited::new(body, MAX_REQUEST_BYTES).map_err(|error| body_error(&*error)));
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(failed)?;
        let (sender, receiver) = oneshot::channel();
        let out = store.data_mut().http().new_response_outparam(sender).map_err(failed)?;
        let pre = self.pre.clone();
        let guest = tokio::spawn(async move {
            let _slot = slot;
            let handled = timeout(limit, async move {
                let proxy = pre.instantiate_async(&mut store).await?;
                proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
            });
            match handled.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) if error.downcast_ref() == Some(&wasmtime::Trap::Interrupt) => Err(NoResponse::TimedOut),
                Ok(Err(error)) => Err(NoResponse::Failed(root_cause(&error))),
                Err(_) => Err(NoResponse::TimedOut),
            }
        });
        match receiver.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(code)) => Err(NoResponse::Refused(code)),
            // The sender went with the guest: it ended without an answer.
            Err(_) => match guest.await {
                Ok(Ok(())) => Err(NoResponse::Failed("it ended without an answer".into())),
                Ok(Err(why)) => Err(why),
                Err(_) => Err(NoResponse::Failed("its task panicked".into())),
            },
        }
    }
}

enum NoResponse {
    TimedOut,
    Refused(ErrorCode),
    Failed(String),
}

fn body_error(error: &(dyn std::error::Error + Send + Sync + 'static)) -> HttpError {
    if error.is::<http_body_util::LengthLimitError>() {
        return HttpError::HttpRequestBodySize(Some(MAX_REQUEST_BYTES as u64));
    }
    HttpError::ConnectionTerminated
}

fn plain(status: StatusCode, words: &'static str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from_static(words.as_bytes())).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}
