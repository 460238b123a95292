//! What the accept loop answers to good, bad and slow peers over real sockets.

mod lifetime;
mod logs;
mod outcomes;
mod slow;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::routing::{get, post};
use axum::{Extension, Router};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

pub(crate) use self::logs::Logs;
use super::{Door, Limits, Mtls, serve_within};
use crate::case::Timestamp;
use crate::dev::spiffe::{Answer, Issued, Leaf, SpiffeCa, Svid, WorkloadApi};
use crate::identity::{Caller, Identity, Settings};

/// A gateway `gate.example` that is federated with `fed.example`, and also knows `third.example` without allowing it.
pub(crate) struct World {
    pub(crate) ca: SpiffeCa,
    pub(crate) fed: SpiffeCa,
    pub(crate) third: SpiffeCa,
    pub(crate) gate: Svid,
    pub(crate) api: WorkloadApi,
    pub(crate) identity: Arc<Identity>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) logs: Logs,
    _folder: TempDir,
}

/// Past any wait of these tests: reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

impl World {
    pub(crate) async fn start() -> Self {
        Self::within(Limits::default()).await
    }

    pub(crate) async fn within(limits: Limits) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let logs = Logs::start();
        let folder = TempDir::new().unwrap();
        let now = Timestamp::now();
        let ca = SpiffeCa::new("gate.example", now).unwrap();
        let fed = SpiffeCa::new("fed.example", now).unwrap();
        let third = SpiffeCa::new("third.example", now).unwrap();
        let gate = ca.issue("/witgate/gateway", &Leaf::new(now)).unwrap();
        let issued = Issued::new(&ca, &gate).federated_with(&fed).federated_with(&third);
        let api = WorkloadApi::start(&folder.path().join("gate.sock"), Answer::Issued(issued)).await.unwrap();
        let settings = Settings {
            trust_domains: vec!["gate.example".into(), "fed.example".into()],
            callers: vec!["spiffe://gate.example/host/*".into(), "spiffe://fed.example".into()],
            workload_api: Some(api.endpoint()),
            files: None,
            jwt_svid: None,
            oidc: std::collections::BTreeMap::new(),
            sync_timeout_ms: 3_000,
        };
        let identity = Arc::new(Identity::start(&settings).await.unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let door = Door::Mtls(Mtls::by_svid(Arc::clone(&identity), None));
        let serving = tokio::spawn(serve_within(limits, listener, door, app(), shutdown.clone()));
        Self { ca, fed, third, gate, api, identity, address, shutdown, serving, logs, _folder: folder }
    }

    pub(crate) fn host(&self, path: &str) -> Svid {
        self.ca.issue(path, &Leaf::new(Timestamp::now())).unwrap()
    }

    /// What the gateway gets, with both federated bundles.
    pub(crate) fn issued(&self) -> Issued {
        Issued::new(&self.ca, &self.gate).federated_with(&self.fed).federated_with(&self.third)
    }

    /// Replaces what the Workload API says and waits until handshakes go by it.
    pub(crate) async fn set(&self, answer: Answer) {
        let mut changes = self.identity.changed();
        changes.mark_unchanged();
        self.api.set(answer);
        tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    }

    /// One request over a connection of its own.
    pub(crate) async fn ask(&self, svid: &Svid) -> std::io::Result<Reply> {
        self.ask_as(reckless(Some(keyed(svid)))).await
    }

    pub(crate) async fn ask_as(&self, config: rustls::ClientConfig) -> std::io::Result<Reply> {
        connect(self.address, config).await?.ask().await
    }
}

/// Answers with the caller's id, slowly, or never.
pub(crate) fn app() -> Router {
    let who = |caller: Option<Extension<Caller>>, _: Request| async move {
        caller.map_or("nobody".to_owned(), |Extension(caller)| caller.facts().id.clone())
    };
    let never = async || {
        tracing::info!("asked for ever");
        std::future::pending::<()>().await;
    };
    let large = async || axum::body::Bytes::from_static(&LARGE);
    let length = async |body: axum::body::Bytes| body.len().to_string();
    Router::new()
        .route("/who", get(who))
        .route("/never", get(never))
        .route("/large", get(large))
        .route("/length", post(length))
}

/// More than the buffers of both ends of a connection take.
pub(crate) static LARGE: [u8; 48 << 20] = [b'x'; 48 << 20];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// An HTTP/1.1 keep-alive connection.
pub(crate) struct Connection<S = TlsStream<TcpStream>>(pub(crate) S);

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Connection<S> {
    pub(crate) async fn ask(&mut self) -> std::io::Result<Reply> {
        self.send("GET /who HTTP/1.1\r\nhost: gate\r\n\r\n").await?;
        self.reply().await
    }

    pub(crate) async fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.0.write_all(text.as_bytes()).await?;
        self.0.flush().await
    }

    pub(crate) async fn reply(&mut self) -> std::io::Result<Reply> {
        tokio::time::timeout(PATIENCE, self.read_reply()).await?
    }

    async fn read_reply(&mut self) -> std::io::Result<Reply> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() == length.unwrap().parse::<usize>().unwrap() {
                    return Ok(Reply { status, body: body.to_owned() });
                }
            }
            let mut more = [0; 1024];
            let size = self.0.read(&mut more).await?;
            if size == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&more[..size]);
        }
    }

    /// Waits until the other side closes; an answer that comes instead is a failure.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        // A reset, or an end without close_notify, is an end too.
        let _ = read.expect("the connection was not closed");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

pub(crate) async fn connect(address: SocketAddr, config: rustls::ClientConfig) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("gate").unwrap();
    let connecting = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Connection(tokio::time::timeout(PATIENCE, connecting).await??))
}

/// A client that trusts every server and shows what it is told to.
pub(crate) fn reckless(key: Option<CertifiedKey>) -> rustls::ClientConfig {
    reckless_with(rustls::ALL_VERSIONS, key)
}

pub(crate) fn reckless_with(
    versions: &[&'static rustls::SupportedProtocolVersion],
    key: Option<CertifiedKey>,
) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAnyone(provider)));
    match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    }
}

pub(crate) fn keyed(svid: &Svid) -> CertifiedKey {
    mismatched(svid, svid)
}

/// The certificate of one, the key of the other.
pub(crate) fn mismatched(certificate: &Svid, key: &Svid) -> CertifiedKey {
    let chain = certificate.chain_der.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::Pkcs8(key.key_der.clone().into());
    CertifiedKey::new(chain, rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap())
}

#[derive(Debug)]
struct TrustsAnyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for TrustsAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
