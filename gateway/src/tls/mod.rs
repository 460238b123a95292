//! The accept loop: TLS 1.3 with verified peers, closed when the peer's proof ends.
//!
//! rustls and hyper judge a peer once, at the handshake. Here each connection also ends when the peer's SVID expires,
//! when a CA of its trust domain is taken out, when `identity.callers` no longer means it, or when we lose our own
//! identity; each request is judged again, since a graceful HTTP/2 close lets open streams run on.
//! A peer that is not proven learns nothing but a TLS alert or a bare 401, and cannot grow the audit log.

mod busy;
mod connection;
#[cfg(test)]
#[cfg(feature = "dev")]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::case::Timestamp;
use crate::identity::{Caller, Identity};
use connection::{Proof, Protocol};

/// How the peers of a listener are proven; a request carries its [`Caller`] as an extension.
#[derive(Clone, Debug)]
pub enum Door {
    /// Plain HTTP/1.1 for one machine: every peer on loopback is `Caller::local`, any other is refused.
    Plain,
    /// Plain HTTP/1.1 for administration: nobody is proven, so requests carry no caller and cannot ask for admission.
    Unproven,
    /// TLS 1.3 with X.509-SVIDs on both sides, HTTP/2 or HTTP/1.1.
    Mtls(Arc<Identity>),
}

/// Makes aws-lc-rs this process's one provider of cryptography; a second call changes nothing.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What one listener spends on its peers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time; more wait in the kernel's queue.
    pub connections: usize,
    /// Handshakes at the same time: strangers cannot use up the connections.
    pub handshakes: usize,
    /// How long a handshake may take, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// How long a peer may take for the first request and for the header of each HTTP/1.1 request, in milliseconds.
    pub header_read_timeout_ms: u64,
    /// How long a connection without a request stays open, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The largest request header, in bytes.
    pub header_size_bytes: u32,
    /// HTTP/2 requests at the same time on one connection.
    pub streams: u32,
    /// How long open requests may go on once a connection is to close, in milliseconds.
    pub drain_ms: u64,
}

/// The default of [`Limits::connections`].
pub const CONNECTIONS: usize = 1_024;
/// The default of [`Limits::handshakes`]: a P-256 handshake takes about 1 ms of a core.
pub const HANDSHAKES: usize = 256;
/// The default of [`Limits::handshake_timeout_ms`].
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// The default of [`Limits::header_read_timeout_ms`]; HTTP/1.1 counts the wait for the next request in.
pub const HEADER_READ_TIMEOUT_MS: u64 = 30_000;
/// The default of [`Limits::idle_timeout_ms`].
pub const IDLE_TIMEOUT_MS: u64 = 60_000;
/// The default of [`Limits::header_size_bytes`].
pub const HEADER_SIZE_BYTES: u32 = 64 * 1024;
/// The default of [`Limits::streams`].
pub const STREAMS: u32 = 128;
/// The default of [`Limits::drain_ms`].
pub const DRAIN_MS: u64 = 10_000;
/// The most header fields of an HTTP/1.1 request (hyper's own default).
const HEADER_FIELDS: usize = 100;
/// How long to wait after a failed accept: it fails again at once while file descriptors are used up.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            handshakes: HANDSHAKES,
            handshake_timeout_ms: HANDSHAKE_TIMEOUT_MS,
            header_read_timeout_ms: HEADER_READ_TIMEOUT_MS,
            idle_timeout_ms: IDLE_TIMEOUT_MS,
            header_size_bytes: HEADER_SIZE_BYTES,
            streams: STREAMS,
            drain_ms: DRAIN_MS,
        }
    }
}

/// Serves `app` until `shutdown`, then lets open requests end for at most [`DRAIN_MS`].
pub async fn serve(listener: TcpListener, door: Door, app: axum::Router, shutdown: CancellationToken) {
    serve_within(Limits::default(), listener, door, app, shutdown).await;
}

/// [`serve`] with limits of one's own.
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    door: Door,
    app: axum::Router,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let connections = Arc::new(Semaphore::new(limits.connections));
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let listen = async {
        loop {
            let connection = permit(&connections).await;
            let handshake = permit(&handshakes).await;
            let (stream, peer) = accept(&listener).await;
            let guest = Guest { limits, door: door.clone(), app: app.clone(), shutdown: shutdown.clone(), peer };
            let tracker = tasks.clone();
            tasks.spawn(async move {
                if let Some((io, protocol, proof)) = guest.admit(stream).await {
                    drop(handshake);
                    connection::serve(io, protocol, proof, &guest, tracker).await;
                }
                drop(connection);
            });
        }
    };
    shutdown.run_until_cancelled(listen).await;
    drop(listener);
    tasks.close();
    // Each task has its own time-out of the same length: this one only keeps a bug there from hanging the process.
    let drained = tokio::time::timeout(Duration::from_millis(limits.drain_ms) + ACCEPT_RETRY, tasks.wait()).await;
    if drained.is_err() {
        tracing::warn!(tasks = tasks.len(), "connections did not drain in time");
    }
}

/// Somebody who connected, with what is needed to judge and to serve.
struct Guest {
    limits: Limits,
    door: Door,
    app: axum::Router,
    shutdown: CancellationToken,
    peer: SocketAddr,
}

impl Guest {
    /// The connection with the proof of its peer, or a line in telemetry.
    async fn admit(&self, stream: TcpStream) -> Option<(connection::Io, Protocol, Proof)> {
        match &self.door {
            Door::Unproven => Some((connection::Io::Plain(stream), Protocol::Http1, Proof::Nobody)),
            Door::Plain => {
                let ours = stream.local_addr().ok()?;
                if !on_this_machine(self.peer, ours) {
                    self.refuse("not-loopback", &"plain HTTP is for loopback only");
                    return None;
                }
                Some((connection::Io::Plain(stream), Protocol::Http1, Proof::Local(Caller::local())))
            }
            Door::Mtls(identity) => self.shake_hands(stream, identity).await,
        }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        identity: &Arc<Identity>,
    ) -> Option<(connection::Io, Protocol, Proof)> {
        // Taken before the handshake: a CA that goes while it runs must not be missed.
        let trust = identity.trust();
        let accepting = tokio_rustls::TlsAcceptor::from(identity.server_config()).accept(stream);
        let bounded = tokio::time::timeout(Duration::from_millis(self.limits.handshake_timeout_ms), accepting);
        let stream = match self.shutdown.run_until_cancelled(bounded).await? {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.refuse("handshake", &error);
                return None;
            }
            Err(_) => {
                self.refuse("handshake-timeout", &"the handshake took too long");
                return None;
            }
        };
        let (_, session) = stream.get_ref();
        // Cargo unites features: some client crate turns TLS 1.2 on for all, and the server's versions cannot be set.
        if session.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            self.refuse("tls-version", &"the peer speaks no TLS 1.3");
            return None;
        }
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let caller = match identity.caller(session.peer_certificates().unwrap_or_default(), Timestamp::now()) {
            Ok(caller) => caller,
            Err(cause) => {
                self.refuse(cause.cause(), &cause);
                return None;
            }
        };
        let proof = Proof::Svid { identity: Arc::clone(identity), caller, trust };
        Some((connection::Io::Tls(Box::new(stream)), protocol, proof))
    }

    fn refuse(&self, cause: &'static str, error: &dyn std::fmt::Display) {
        metrics::counter!("witgate_tls_refusals_total", "cause" => cause).increment(1);
        tracing::warn!(peer.address = %self.peer, cause, error = %error, "connection refused");
    }
}

/// Both ends, since a machine can be reached over its other addresses from itself too.
fn on_this_machine(theirs: SocketAddr, ours: SocketAddr) -> bool {
    theirs.ip().to_canonical().is_loopback() && ours.ip().to_canonical().is_loopback()
}

async fn permit(semaphore: &Arc<Semaphore>) -> tokio::sync::OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_owned().await.expect("broken invariant: the semaphore is never closed")
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small answers go out at once; a socket that refuses the option still serves.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
