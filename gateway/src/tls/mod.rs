//! The accept loop: TLS 1.3 with verified peers, closed when the peer's proof ends.
//!
//! rustls and hyper judge a peer once, at the handshake. Here each connection also ends when the peer's SVID expires,
//! when a CA of its trust domain is taken out, when `identity.callers` no longer means it, or when we lose our own
//! identity; each request is judged again, since a graceful HTTP/2 close lets open streams run on.
//! Where tokens are taken, each request is judged by the one it shows; the connection proves nobody.
//! A peer that is not proven learns nothing but a TLS alert or a bare 401, and cannot grow the audit log.

mod app;
mod authorization;
mod busy;
mod certificate;
mod connection;
mod pace;
mod receiving;
mod sending;
#[cfg(test)]
#[cfg(feature = "dev")]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::case::Timestamp;
use crate::identity::{Caller, Identity, StartError, Tokens};
use crate::outage::chain;
pub use app::App;
pub use certificate::{Certificate, CertificateFault};
use connection::{Proof, Protocol};

/// How the peers of a listener are proven; a request carries its [`Caller`] as an extension.
#[derive(Clone, Debug)]
pub enum Door {
    /// Plain HTTP/1.1 for one machine: every peer on loopback is `Caller::local`, any other is refused.
    Plain,
    /// Plain HTTP/1.1 for administration: nobody is proven, so requests carry no caller and cannot ask for admission.
    Unproven,
    /// TLS 1.3 with X.509-SVIDs of the peers, HTTP/2 or HTTP/1.1.
    Mtls(Mtls),
    /// Each request shows a token of its own.
    Tokens(Arc<Tokens>, Wire),
}

/// Peers that are proven by the handshake.
#[derive(Clone, Debug)]
pub struct Mtls {
    identity: Arc<Identity>,
    server: Arc<rustls::ServerConfig>,
    tokens: Option<Arc<Tokens>>,
}

/// How requests with tokens travel.
#[derive(Clone, Debug)]
pub enum Wire {
    /// Plain HTTP/1.1 on this machine; a peer elsewhere is refused.
    Loopback,
    /// TLS 1.3 under a DNS name, HTTP/2 or HTTP/1.1.
    Tls(Arc<rustls::ServerConfig>),
}

impl Mtls {
    /// We show our SVID. A token that comes along is held against the peer's, where `tokens` judges them.
    pub fn by_svid(identity: Arc<Identity>, tokens: Option<Arc<Tokens>>) -> Self {
        let server = identity.server_config();
        Self { identity, server, tokens }
    }

    /// We show a certificate with a DNS name.
    ///
    /// # Errors
    /// As [`Identity::server_config_showing`].
    pub fn by_name(
        identity: Arc<Identity>,
        tokens: Option<Arc<Tokens>>,
        certificate: &Arc<Certificate>,
    ) -> Result<Self, StartError> {
        let server = identity.server_config_showing(certificate.resolver())?;
        Ok(Self { identity, server, tokens })
    }
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
    /// The rate at which a peer has to take the answers of a connection and to send each request's body, in bytes a second.
    pub body_bytes_per_s: u64,
    /// For how long it may stand still, in milliseconds; slower than that rate ends as standing still does, only later.
    pub body_patience_ms: u64,
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
/// The default of [`Limits::body_bytes_per_s`]: a line of 128 kbit/s.
pub const BODY_BYTES_PER_S: u64 = 16 * 1024;
/// The default of [`Limits::body_patience_ms`]: as long as a host gives a whole pull (`--registry-pull-timeout`).
pub const BODY_PATIENCE_MS: u64 = 30_000;
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
            body_bytes_per_s: BODY_BYTES_PER_S,
            body_patience_ms: BODY_PATIENCE_MS,
            drain_ms: DRAIN_MS,
        }
    }
}

/// Serves `app` until `shutdown`, then lets open requests end for at most [`DRAIN_MS`].
pub async fn serve(listener: TcpListener, door: Door, app: impl Into<App>, shutdown: CancellationToken) {
    serve_within(Limits::default(), listener, door, app, shutdown).await;
}

/// [`serve`] with limits of one's own.
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    door: Door,
    app: impl Into<App>,
    shutdown: CancellationToken,
) {
    let app = app.into();
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
    app: App,
    shutdown: CancellationToken,
    peer: SocketAddr,
}

impl Guest {
    /// The connection with the proof of its peer, or a line in telemetry.
    async fn admit(&self, stream: TcpStream) -> Option<(connection::Io, Protocol, Proof)> {
        match &self.door {
            Door::Unproven => Some((connection::Io::Plain(stream), Protocol::Http1, Proof::Nobody)),
            Door::Plain => self.on_loopback(stream, Proof::Local(Caller::local())),
            Door::Tokens(tokens, Wire::Loopback) => self.on_loopback(stream, Proof::Token(Arc::clone(tokens))),
            Door::Tokens(tokens, Wire::Tls(server)) => {
                let (stream, protocol) = self.shake_hands(stream, Arc::clone(server)).await?;
                Some((connection::Io::Tls(Box::new(stream)), protocol, Proof::Token(Arc::clone(tokens))))
            }
            Door::Mtls(Mtls { identity, server, tokens }) => {
                // Taken before the handshake: a CA that goes while it runs must not be missed.
                let trust = identity.trust();
                let (stream, protocol) = self.shake_hands(stream, Arc::clone(server)).await?;
                let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let caller = match identity.caller(certificates, Timestamp::now()) {
                    Ok(caller) => caller,
                    Err(cause) => {
                        self.refuse(cause.cause(), &chain(&cause));
                        return None;
                    }
                };
                let svid = connection::Svid { identity: Arc::clone(identity), caller, trust };
                Some((connection::Io::Tls(Box::new(stream)), protocol, Proof::Svid(svid, tokens.clone())))
            }
        }
    }

    fn on_loopback(&self, stream: TcpStream, proof: Proof) -> Option<(connection::Io, Protocol, Proof)> {
        let ours = stream.local_addr().ok()?;
        if !on_this_machine(self.peer, ours) {
            self.refuse("not-loopback", &"plain HTTP is for loopback only");
            return None;
        }
        Some((connection::Io::Plain(stream), Protocol::Http1, proof))
    }

    /// TLS 1.3 and what it agreed on, or a line in telemetry.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        server: Arc<rustls::ServerConfig>,
    ) -> Option<(TlsStream<TcpStream>, Protocol)> {
        let accepting = tokio_rustls::TlsAcceptor::from(server).accept(stream);
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
        Some((stream, protocol))
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
