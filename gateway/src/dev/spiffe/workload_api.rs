//! The Workload API of one workload on a unix socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

use super::ca::{SpiffeCa, Svid, jwt_svid};
use crate::case::Timestamp;
use crate::dev::tokens::TokenSigner;
use crate::identity::workload_api::minting::Tokens;
use crate::identity::workload_api::server::{self, Material, Server};
use crate::identity::workload_api::wire;

/// An SVID with the bundles that its workload gets.
#[derive(Clone, Debug)]
pub struct Issued {
    svids: Vec<wire::X509Svid>,
    federated: BTreeMap<String, Bytes>,
    tokens: Tokens,
}

/// How long a JWT-SVID of the embedded API lasts (SPIRE's default).
pub const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// What the API says; each change reaches open streams at once.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This identity.
    Issued(Issued),
    /// `PermissionDenied`: the workload has no identity any more.
    Withdrawn,
    /// Nothing, for ever.
    Hang,
    /// An SVID that is no certificate.
    Garbage,
    /// `Unavailable`.
    Refuse,
}

/// A running Workload API; it stops when dropped, the socket goes with it.
#[derive(Debug)]
pub struct WorkloadApi {
    socket: PathBuf,
    server: Server,
}

impl Issued {
    /// `svid` with the bundle of `ca`, the CA of its trust domain.
    pub fn new(ca: &SpiffeCa, svid: &Svid) -> Self {
        let svid = wire::X509Svid {
            spiffe_id: svid.spiffe_id.clone(),
            x509_svid: svid.chain_der.concat().into(),
            x509_svid_key: svid.key_der.clone().into(),
            bundle: Bytes::copy_from_slice(ca.bundle_der()),
            hint: String::new(),
        };
        let (id, signer) = (format!("spiffe://{}", ca.trust_domain()), ca.tokens().clone());
        let bundles = BTreeMap::from([(id, Bytes::from(TokenSigner::jwks(&[&signer])))]);
        let mint = move |spiffe_id: &str, audience: &[String]| {
            jwt_svid(&signer, spiffe_id, audience, Timestamp::now(), TOKEN_LIFE)
        };
        let tokens = Tokens { mint: Some(Arc::new(mint)), bundles };
        Self { svids: vec![svid], federated: BTreeMap::new(), tokens }
    }

    /// The same with the bundle of another trust domain.
    #[must_use]
    pub fn federated_with(mut self, ca: &SpiffeCa) -> Self {
        let id = format!("spiffe://{}", ca.trust_domain());
        self.tokens.bundles.insert(id.clone(), Bytes::from(TokenSigner::jwks(&[ca.tokens()])));
        self.federated.insert(id, Bytes::copy_from_slice(ca.bundle_der()));
        self
    }

    /// The same with these keys for the JWT-SVIDs of `trust_domain`.
    #[must_use]
    pub fn with_keys(mut self, trust_domain: &str, jwks: &str) -> Self {
        self.tokens.bundles.insert(format!("spiffe://{trust_domain}"), Bytes::copy_from_slice(jwks.as_bytes()));
        self
    }

    /// The same with another CA of the SVID's own trust domain, as around a CA rotation.
    #[must_use]
    pub fn trusting(mut self, ca: &SpiffeCa) -> Self {
        for svid in &mut self.svids {
            svid.bundle = [svid.bundle.as_ref(), ca.bundle_der()].concat().into();
        }
        self
    }
}

impl WorkloadApi {
    /// Serves `answer` on `socket`, in whose place nothing but an old socket may lie.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub async fn start(socket: &Path, answer: Answer) -> anyhow::Result<Self> {
        if let Err(error) = tokio::fs::remove_file(socket).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("removing the old socket `{}`", socket.display()));
        }
        let listener = UnixListener::bind(socket).with_context(|| format!("binding `{}`", socket.display()))?;
        let server = Server::start(UnixListenerStream::new(listener), answer.into());
        Ok(Self { socket: socket.to_owned(), server })
    }

    /// The address for `identity.workload_api` and for `SPIFFE_ENDPOINT_SOCKET`.
    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// Rotates, withdraws, federates or fails.
    pub fn set(&self, answer: Answer) {
        self.server.set(answer.into());
    }
}

impl Drop for WorkloadApi {
    fn drop(&mut self) {
        // A socket that is gone already is what we want.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl From<Answer> for server::Answer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Issued(Issued { svids, federated, tokens }) => {
                Self::Material(Material { svids, federated, tokens })
            }
            Answer::Withdrawn => Self::Withdrawn,
            Answer::Hang => Self::Hang,
            Answer::Refuse => Self::Unavailable,
            Answer::Garbage => {
                let junk = Bytes::from_static(b"\x30\x03junk");
                let svid = wire::X509Svid {
                    spiffe_id: "spiffe://gate.example/junk".into(),
                    x509_svid: junk.clone(),
                    x509_svid_key: junk.clone(),
                    bundle: junk,
                    hint: String::new(),
                };
                Self::Material(Material { svids: vec![svid], ..Material::default() })
            }
        }
    }
}
