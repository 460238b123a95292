//! Our own SVID with the trust bundles, kept fresh in the background.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::server::ResolvesServerCert;
use spiffe::x509_source::SvidPicker;
use spiffe::{SpiffeId, TrustDomain, X509ResourceLimits, X509Source, X509SourceBuilder, X509Svid};
use spiffe_rustls::{TerminalSourcePolicy, TlsStatus, TrustDomainPolicy, authorizer, mtls_client, mtls_server};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::caller::Caller;
use super::callers::Callers;
use super::files::FileFeed;
use super::settings::{Checked, Origin, Settings, StartError};
use super::settled::Pace;
use super::trust::{Trust, Unproven};
use crate::case::Timestamp;
use crate::outage::{Outage, Peer};

/// Who we are, whom we trust and who may ask; dropping it ends the refresh.
///
/// SPIRE and files take one path: both feed an X.509 source, and every TLS configuration made here reads that source
/// at each handshake. While the Workload API is away, the last material stays until it expires; once it is withdrawn,
/// every handshake fails.
#[derive(Debug)]
pub struct Identity {
    source: X509Source,
    server: Arc<rustls::ServerConfig>,
    status: TlsStatus,
    trust_domains: BTreeSet<TrustDomain>,
    callers: Callers,
    changes: watch::Sender<u64>,
    _files: Option<FileFeed>,
    _stop: DropGuard,
}

/// The most SVIDs one workload may be given.
pub const SVIDS: usize = 16;
/// The most trust bundles: our own plus the federated ones.
pub const BUNDLES: usize = 64;
/// The largest trust bundle, in bytes of DER; a CA certificate has about 600.
pub const BUNDLE_SIZE_BYTES: usize = 1024 * 1024;
/// The first and the longest pause between two tries to reach the Workload API.
pub(super) const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// What building a source may take beyond its own time-out before it counts as hanging.
pub(super) const SYNC_GRACE: Duration = Duration::from_secs(1);
/// HTTP/2 first, then HTTP/1.1 (RFC 7301, RFC 9113).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

impl Identity {
    /// Waits for the first SVID and for the bundles that come with it.
    ///
    /// # Errors
    /// Settings that cannot be used, files that do not belong together, or no SVID within `sync_timeout_ms`.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        Self::start_at(settings, Pace::default()).await
    }

    pub(super) async fn start_at(settings: &Settings, pace: Pace) -> Result<Self, StartError> {
        let Checked { trust_domains, callers, origin } = settings.checked()?;
        let builder = X509Source::builder().picker(InDomains(trust_domains.clone()));
        let (builder, files) = match origin.ok_or(StartError::Sources { found: 0 })? {
            Origin::Socket(path) => {
                folder_is_ours(&path)?;
                (builder.endpoint(format!("unix:{}", path.display())), None)
            }
            Origin::Files(files, federated) => {
                let (feed, clients) = FileFeed::start(files, federated, pace).await?;
                (builder.client_factory(clients), Some(feed))
            }
        };
        let source = synchronised(builder, settings.sync_timeout_ms).await?;
        let (server, status) = mtls(source.clone(), callers.clone(), &trust_domains, None)?;
        let stop = CancellationToken::new();
        let changes = watch::Sender::new(0);
        tokio::spawn(stop.clone().run_until_cancelled_owned(forward(status.clone(), changes.clone())));
        Ok(Self { source, server, status, trust_domains, callers, changes, _files: files, _stop: stop.drop_guard() })
    }

    /// The caller listener's TLS: HTTP/2 or HTTP/1.1, a client SVID required, no resumption; always our newest SVID.
    ///
    /// TLS 1.2 cannot be shut out here; the accept loop does it.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The same for a listener that shows another certificate than our SVID: clients there know us by a DNS name.
    ///
    /// # Errors
    /// We have no SVID now, or the trust bundles cannot be used.
    pub fn server_config_showing(
        &self,
        certificate: Arc<dyn ResolvesServerCert>,
    ) -> Result<Arc<rustls::ServerConfig>, StartError> {
        let (server, _) = mtls(self.source.clone(), self.callers.clone(), &self.trust_domains, Some(certificate))?;
        Ok(server)
    }

    /// TLS towards the one peer `expected`, a SPIFFE ID; host names play no part.
    ///
    /// # Errors
    /// `expected` is no SPIFFE ID of an allowed trust domain, or we have no SVID now.
    pub fn client_config(&self, expected: &str) -> Result<rustls::ClientConfig, StartError> {
        let outside = || StartError::Expected { given: expected.to_owned() };
        let id = SpiffeId::new(expected).map_err(|_| outside())?;
        if id.path().is_empty() || !self.trust_domains.contains(id.trust_domain()) {
            return Err(outside());
        }
        let policy = TrustDomainPolicy::LocalOnly(id.trust_domain().clone());
        mtls_client(self.source.clone())
            .authorize(authorizer::exact([id]).map_err(|_| outside())?)
            .trust_domain_policy(policy)
            .terminal_source_policy(TerminalSourcePolicy::FailClosed)
            .with_alpn_protocols(ALPN)
            .build()
            .map_err(|error| StartError::Tls { source: error.into() })
    }

    /// Our own SPIFFE ID, as the current SVID says it.
    ///
    /// # Errors
    /// There is no unexpired SVID.
    pub fn spiffe_id(&self) -> Result<String, Outage> {
        let svid = self.source.svid().map_err(|error| {
            Outage::new(Peer::Identity, "reading our own SVID")
                .because(error)
                .with_hint("look whether the agent runs and has an entry for this process")
        })?;
        Ok(svid.spiffe_id().to_string())
    }

    /// The caller behind a handshake that [`Identity::server_config`] let pass, from the certificates it presented.
    ///
    /// # Errors
    /// Why the peer is no caller.
    pub fn caller(&self, certificates: &[CertificateDer<'_>], now: Timestamp) -> Result<Caller, Unproven> {
        let leaf = certificates.first().ok_or(Unproven::NoCertificate)?;
        let not_an_svid = |why: String| Unproven::NotAnSvid { why };
        let id = spiffe::cert::spiffe_id_from_der(leaf).map_err(|error| not_an_svid(error.to_string()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|error| not_an_svid(error.to_string()))?;
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|error| not_an_svid(error.to_string()))?;
        if now >= not_after {
            return Err(Unproven::Expired { spiffe_id: id.to_string(), not_after });
        }
        if !self.callers.allows_svid(&id) {
            return Err(Unproven::NotACaller { id: id.to_string() });
        }
        Ok(Caller::verified_svid(id.to_string(), id.trust_domain().to_string(), not_after.into()))
    }

    /// The trust bundles as they are now, for [`Identity::vouches`].
    pub fn trust(&self) -> Trust {
        let state = self.source.state();
        Trust(state.context().ok().filter(|_| !state.is_closed()).map(|context| Arc::clone(context.bundle_set())))
    }

    /// Whether a caller that was proven under the bundles of `then` still is one.
    ///
    /// # Errors
    /// Why it is none any more: its time is over, its trust domain or one of that domain's CAs is gone, no entry of
    /// `callers` means it any more, or we lost our own identity.
    pub fn vouches(&self, caller: &Caller, then: &Trust, now: Timestamp) -> Result<(), Unproven> {
        let spiffe_id = || caller.facts().id.clone();
        let no_svid = |_| Unproven::NotAnSvid { why: format!("`{}` is no SPIFFE ID", caller.facts().id) };
        let id = SpiffeId::new(&caller.facts().id).map_err(no_svid)?;
        if let Some(not_after) = caller.not_after()
            && SystemTime::from(now) >= not_after
        {
            let not_after = Timestamp::try_from(not_after).unwrap_or(Timestamp::MAX);
            return Err(Unproven::Expired { spiffe_id: spiffe_id(), not_after });
        }
        let Trust(Some(bundles)) = self.trust() else { return Err(Unproven::NoTrust { spiffe_id: spiffe_id() }) };
        let trust_domain = id.trust_domain();
        if !self.trust_domains.contains(trust_domain) || !then.holds(trust_domain, &bundles) {
            return Err(Unproven::TrustChanged { spiffe_id: spiffe_id(), trust_domain: trust_domain.to_string() });
        }
        if !self.callers.allows_svid(&id) {
            return Err(Unproven::NotACaller { id: spiffe_id() });
        }
        Ok(())
    }

    /// Replaces `identity.callers`; connections of those who are no longer meant are closed.
    ///
    /// # Errors
    /// The new list is empty, unreadable or outside the trust domains; the old one stays.
    pub fn allow(&self, callers: &[String]) -> Result<(), StartError> {
        self.callers.replace(callers)?;
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Counts up whenever SVID, bundles or callers changed and new handshakes already use the change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether handshakes can succeed: we have an unexpired SVID that was not withdrawn.
    pub fn is_ready(&self) -> bool {
        self.status.current().available
    }

    /// The certificate that handshakes show now, DER.
    #[cfg(test)]
    pub(super) fn own_leaf(&self) -> Option<Vec<u8>> {
        self.source.svid().ok().map(|svid| svid.leaf().as_bytes().to_vec())
    }

    /// The list in force: whoever judges tokens goes by the same.
    pub(super) fn callers(&self) -> Callers {
        self.callers.clone()
    }

    /// Our own SVID with the bundles, as they are now and will be.
    pub(super) fn source(&self) -> X509Source {
        self.source.clone()
    }
}

/// Every peer shows an SVID of an allowed trust domain that `callers` mean; we show our own, or `certificate`.
fn mtls(
    source: X509Source,
    callers: Callers,
    trust_domains: &BTreeSet<TrustDomain>,
    certificate: Option<Arc<dyn ResolvesServerCert>>,
) -> Result<(Arc<rustls::ServerConfig>, TlsStatus), StartError> {
    let (server, status) = mtls_server(source)
        .authorize(move |id: &SpiffeId| callers.allows_svid(id))
        .trust_domain_policy(TrustDomainPolicy::AllowList(trust_domains.clone()))
        .terminal_source_policy(TerminalSourcePolicy::FailClosed)
        .with_alpn_protocols(ALPN)
        .with_config_customizer(move |config| {
            // Only what we show changes: the verifier of the peers is the library's, as everywhere.
            if let Some(certificate) = certificate {
                config.cert_resolver = certificate;
            }
        })
        .build_with_status()
        .map_err(|error| StartError::Tls { source: error.into() })?;
    Ok((Arc::new(server), status))
}

/// Takes the first SVID of an allowed trust domain: a hostile agent cannot make us someone else's workload.
#[derive(Debug)]
struct InDomains(BTreeSet<TrustDomain>);

impl SvidPicker for InDomains {
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        svids.iter().position(|svid| self.0.contains(svid.spiffe_id().trust_domain()))
    }
}

async fn synchronised(builder: X509SourceBuilder, timeout_ms: u64) -> Result<X509Source, StartError> {
    let timeout = Duration::from_millis(timeout_ms);
    let building = builder
        .reconnect_backoff(RECONNECT.0, RECONNECT.1)
        .resource_limits(X509ResourceLimits::new(Some(SVIDS), Some(BUNDLES), Some(BUNDLE_SIZE_BYTES)))
        .initial_sync_timeout(timeout)
        .build();
    match tokio::time::timeout(timeout + SYNC_GRACE, building).await {
        Ok(Ok(source)) => Ok(source),
        Ok(Err(error)) => Err(StartError::Sync { timeout_ms, source: error.into() }),
        Err(elapsed) => Err(StartError::Sync { timeout_ms, source: elapsed.into() }),
    }
}

/// Whoever may write the folder may put a Workload API of their own in the socket's place, and with it their own CAs.
fn folder_is_ours(socket: &Path) -> Result<(), StartError> {
    let Some(folder) = socket.parent() else { return Ok(()) };
    // A folder that is not there yet is the agent's to make: the source retries until its time-out.
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.mode() & 0o002 != 0 => Err(StartError::SocketFolder { folder: folder.to_owned() }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The TLS material follows the source a moment later: only then is a change true for new handshakes.
async fn forward(mut status: TlsStatus, changes: watch::Sender<u64>) {
    loop {
        let ended = status.changed().await.is_err();
        changes.send_modify(|count| *count += 1);
        if ended {
            return;
        }
        match status.current().error {
            Some(error) => tracing::warn!(error = %error, "our identity cannot be used: handshakes are refused"),
            None => tracing::info!("identity material changed"),
        }
    }
}
