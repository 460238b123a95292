//! An OIDC issuer on loopback: discovery and keys over https, honest or not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::site::SiteCa;
use super::tokens::TokenSigner;
use crate::case::Timestamp;

/// Clocks differ.
const HOUR: Duration = Duration::from_secs(3600);

/// A running issuer; it stops when dropped.
#[derive(Debug)]
pub struct OidcIssuer {
    address: SocketAddr,
    ca_pem: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    says: Mutex<Says>,
    documents: AtomicUsize,
    key_sets: AtomicUsize,
}

/// What the issuer answers.
#[derive(Clone, Debug, Default)]
pub struct Says {
    /// The JWK Set.
    pub jwks: String,
    /// What is wrong with the answers.
    pub fault: Option<IssuerFault>,
}

/// One way not to be an honest issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerFault {
    /// The discovery document is another issuer's.
    OtherIssuer,
    /// `jwks_uri` is this.
    JwksUri(String),
    /// Both documents are elsewhere: 302.
    Redirect(String),
    /// A web page with status 200.
    Html,
    /// This status for the keys.
    Status(u16),
    /// As many bytes of blanks before the keys.
    Padded(usize),
    /// The keys begin and never end.
    Endless,
    /// No answer at all.
    Silent,
}

impl OidcIssuer {
    /// Serves the keys of `signers` on a free port of loopback.
    ///
    /// # Errors
    /// No port, or no random numbers.
    pub async fn start(signers: &[&TokenSigner]) -> anyhow::Result<Self> {
        let ca = SiteCa::new()?;
        let now = Timestamp::now();
        let leaf = ca.certify(&["localhost"], now - HOUR, HOUR * 25)?;
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der.into()], key)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let says = Says { jwks: TokenSigner::jwks(signers), fault: None };
        let shared =
            Arc::new(Shared { says: Mutex::new(says), documents: AtomicUsize::new(0), key_sets: AtomicUsize::new(0) });
        let stop = CancellationToken::new();
        let serving = serve(listener, address, Arc::new(config), Arc::clone(&shared), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self { address, ca_pem: ca.pem().to_owned(), shared, _stop: stop.drop_guard() })
    }

    /// `https://localhost:PORT`: its `iss`, and where it is asked.
    pub fn issuer(&self) -> String {
        issuer(self.address)
    }

    /// The CA that certifies it, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Changes the answers from now on.
    pub fn say(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.shared.says.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How often the discovery document was asked for.
    pub fn documents(&self) -> usize {
        self.shared.documents.load(Ordering::SeqCst)
    }

    /// How often the keys were asked for.
    pub fn key_sets(&self) -> usize {
        self.shared.key_sets.load(Ordering::SeqCst)
    }
}

fn issuer(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    config: Arc<rustls::ServerConfig>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        let connection = async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(&request, address, &shared).await) }
            });
            // A client that leaves early is no fault of ours.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

async fn answer<B>(request: &Request<B>, address: SocketAddr, shared: &Shared) -> Response<Body> {
    let says = shared.says.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let document = request.uri().path() == "/.well-known/openid-configuration";
    let asked = if document { &shared.documents } else { &shared.key_sets };
    asked.fetch_add(1, Ordering::SeqCst);
    let json = |body: Body| Response::builder().header(header::CONTENT_TYPE, "application/json").body(body);
    let own = issuer(address);
    let response = match &says.fault {
        Some(IssuerFault::Silent) => std::future::pending().await,
        Some(IssuerFault::Redirect(to)) => {
            Response::builder().status(StatusCode::FOUND).header(header::LOCATION, to).body(Body::empty())
        }
        Some(IssuerFault::Html) => {
            let page = Body::from("<!doctype html><title>Sign in</title>");
            Response::builder().header(header::CONTENT_TYPE, "text/html").body(page)
        }
        fault if document => {
            let named = if fault == &Some(IssuerFault::OtherIssuer) { format!("{own}/other") } else { own.clone() };
            let uri = match fault {
                Some(IssuerFault::JwksUri(uri)) => uri.clone(),
                _ => format!("{own}/keys"),
            };
            json(Body::from(json!({"issuer": named, "jwks_uri": uri, "scopes_supported": ["openid"]}).to_string()))
        }
        Some(IssuerFault::Status(status)) => Response::builder().status(*status).body(Body::from(says.jwks)),
        Some(IssuerFault::Padded(size)) => json(Body::from(" ".repeat(*size) + &says.jwks)),
        Some(IssuerFault::Endless) => {
            let begin = futures::stream::once(async { Ok::<_, Infallible>("{\"keys\":[") });
            json(Body::from_stream(begin.chain(futures::stream::pending())))
        }
        _ => json(Body::from(says.jwks)),
    };
    response.expect("broken invariant: the parts of a response are well-formed")
}
