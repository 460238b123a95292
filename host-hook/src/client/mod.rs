//! What a host asks the gateway, over a connection on which both have proven who they are.

mod answer;
mod door;
mod fault;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use spiffe::{SpiffeId, X509Source};
use spiffe_rustls::{TerminalSourcePolicy, TrustDomainPolicy, authorizer, mtls_client};

pub use self::answer::{Admitted, Answer, HandedTicket, Reason, Refused};
use self::door::Door;
pub use self::fault::ClientFault;
use crate::key::PublicKey;
use crate::ticket::{
    CheckpointKey, Expectations, Freshness, LogTrust, PinnedKeys, TicketRefusal, UsedTickets, VerifiedTicket, verify,
};

/// How a host reaches its gateway and what it believes of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The gateway's address, `https://HOST:PORT`; the name in it proves nothing and need not stand in the certificate.
    pub url: String,
    /// The one SPIFFE ID that the gateway may have.
    pub gateway_id: String,
    /// SPKI PEM files of the keys that may sign its tickets; two while a key is being rotated.
    pub ticket_keys: Vec<PathBuf>,
    /// The log's key, if checkpoints are to be judged by it: `NAME+HASH+KEY`.
    pub log_key: Option<String>,
    /// The Workload API that gives this host its identity: `unix:/run/spire/agent.sock`.
    pub workload_api: String,
    /// How long each step may take.
    pub timeouts: Timeouts,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the Workload API has given an SVID.
    pub identity: Duration,
    /// Until the connection stands, handshake included.
    pub connect: Duration,
    /// Until an admission is answered: above the gateway's 25 s for a cold one.
    pub answer: Duration,
    /// Until the component is here.
    pub component: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            identity: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            component: Duration::from_secs(120),
        }
    }
}

/// A gateway that this host has an identity for.
#[derive(Debug)]
pub struct Gateway {
    door: Door,
    id: String,
    pinned: PinnedKeys,
    log_key: Option<CheckpointKey>,
    source: Arc<X509Source>,
    used: UsedTickets,
}

/// Makes the process speak TLS 1.3 and nothing older, with aws-lc-rs; to be called first in `main`.
///
/// The suites are the lever: with TLS 1.2 compiled in by a dependency, `rustls` offers it unless no suite is left for it.
pub fn install_tls() {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    // Installed already: another part of this process was first, and its choice stands.
    let _ = provider.install_default();
}

impl Gateway {
    /// Gets an identity from the Workload API, reads the pinned keys and makes ready to ask; the first question connects.
    ///
    /// # Errors
    /// [`ClientFault`] when a setting is unusable or no identity comes in time.
    pub async fn connect(settings: Settings) -> Result<Self, ClientFault> {
        let Settings { url, gateway_id, ticket_keys, log_key, workload_api, timeouts } = settings;
        let gateway: SpiffeId = gateway_id.parse().map_err(|_| ClientFault::GatewayId { found: gateway_id })?;
        let id = gateway.to_string();
        if ticket_keys.is_empty() {
            return Err(ClientFault::NoTicketKey);
        }
        let mut pinned = PinnedKeys::new();
        for path in &ticket_keys {
            pinned = pinned.with(&id, PublicKey::load(path)?);
        }
        let log_key = match log_key {
            Some(text) => Some(text.parse().map_err(|_| ClientFault::LogKey { found: text })?),
            None => None,
        };
        let url = door::address(&url)?;
        let source = identity(&workload_api, timeouts.identity).await?;
        let tls = mtls_client(source.clone())
            .authorize(authorizer::exact([gateway.clone()]).expect("a parsed SPIFFE ID is one"))
            .trust_domain_policy(TrustDomainPolicy::AllowList(BTreeSet::from([gateway.trust_domain().clone()])))
            .terminal_source_policy(TerminalSourcePolicy::FailClosed)
            .with_alpn_protocols([b"h2".as_slice(), b"http/1.1"])
            .build()
            .map_err(|source| ClientFault::Identity { endpoint: workload_api, source: source.into() })?;
        let door = Door::new(url, tls, timeouts)?;
        Ok(Self { door, id, pinned, log_key, source: Arc::new(source), used: UsedTickets::new() })
    }

    /// The gateway's SPIFFE ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// This host's current SPIFFE ID.
    ///
    /// # Errors
    /// [`ClientFault::NoSvid`] when the identity was withdrawn.
    pub fn own_id(&self) -> Result<String, ClientFault> {
        let svid = self.source.svid().map_err(|source| ClientFault::NoSvid { source: source.into() })?;
        Ok(svid.spiffe_id().to_string())
    }

    /// Asks whether this host may run `reference` with `links`. A ticket in the answer was signed by a pinned key; the
    /// other checks are [`Gateway::take`]'s.
    ///
    /// # Errors
    /// [`ClientFault`] when there is no decision, or an admission without a believable ticket.
    pub async fn admit(&self, reference: &str, links: &[String]) -> Result<Answer, ClientFault> {
        let (status, body) = self.door.admit(reference, links).await?;
        answer::read(status, &body, &self.pinned, &self.id)
    }

    /// Fetches the component of `ticket`: at most as many bytes as the ticket says.
    ///
    /// # Errors
    /// [`ClientFault`] when the gateway does not give them.
    pub async fn component(&self, ticket: &HandedTicket) -> Result<Bytes, ClientFault> {
        let predicate = &ticket.signed().statement().predicate;
        let digest = ticket.signed().component();
        self.door.component(&digest, predicate.component.size, &predicate.ticket_id.to_string()).await
    }

    /// Makes every check of the ticket, against the bytes that came for it, and uses it up.
    ///
    /// # Errors
    /// [`ClientFault::Ticket`] with the first check that failed, [`ClientFault::NoSvid`] without an identity of our own.
    pub fn take(&self, ticket: &HandedTicket, bytes: &Bytes, now: Timestamp) -> Result<VerifiedTicket, ClientFault> {
        let own_id = self.own_id()?;
        let expected = Expectations {
            pinned: &self.pinned,
            own_id: &own_id,
            tls_peer: &self.id,
            freshness: Freshness::TicketId,
            used: &self.used,
            log: self.log_key.as_ref().map_or(LogTrust::Ticket, LogTrust::Key),
            now,
            component: bytes,
        };
        Ok(verify(ticket.envelope(), &expected)?)
    }
}

async fn identity(endpoint: &str, limit: Duration) -> Result<X509Source, ClientFault> {
    let fault = |source: Box<dyn std::error::Error + Send + Sync>| ClientFault::Identity {
        endpoint: endpoint.to_owned(),
        source,
    };
    // The library's own limit ends its retries; ours ends a peer that takes the connection and says nothing.
    let building = X509Source::builder().endpoint(endpoint).initial_sync_timeout(limit).build();
    match tokio::time::timeout(limit + Duration::from_secs(1), building).await {
        Ok(built) => built.map_err(|source| fault(source.into())),
        Err(elapsed) => Err(fault(elapsed.into())),
    }
}

impl From<TicketRefusal> for ClientFault {
    fn from(refusal: TicketRefusal) -> Self {
        Self::Ticket(Box::new(refusal))
    }
}
