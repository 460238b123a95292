//! The running service: one gate behind its listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit::EventKind;
use crate::case::Timestamp;
use crate::config::{Challenge, Clients, Config, RegistryListener};
use crate::doors::http::{self, ADMISSION_DEADLINE, Challenges, Clock, Door, Scheme};
use crate::gate::{self, Gate};
use crate::identity::{self, Identity, Tokens};
use crate::tls::{self, App, Certificate, Mtls, Wire};

/// A gateway that answers on its listeners until it is stopped.
pub struct Service {
    gate: Arc<Gate>,
    callers: SocketAddr,
    administration: SocketAddr,
    registry: Option<(&'static str, SocketAddr)>,
    scheme: &'static str,
    clock: Clock,
    stop: CancellationToken,
    /// Listeners, and the loops that keep trust fresh and the cache sound.
    tasks: Vec<JoinHandle<()>>,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The gateway's own identity.
    #[error(transparent)]
    Identity(#[from] identity::StartError),
    /// A stage.
    #[error(transparent)]
    Gate(#[from] gate::StartError),
    /// A listener.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate of the registry listener.
    #[error("the registry listener has no certificate to show")]
    Certificate(#[from] tls::CertificateFault),
    /// The log did not take the entry that says the gateway started.
    #[error(transparent)]
    Record(#[from] crate::outage::Outage),
}

/// How often the uses of pull grants are written into the log.
pub const USE_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How soon it is tried again when the log did not take them.
const USE_LOG_RETRY: Duration = Duration::from_secs(1);
/// The name in tickets where no identity is configured.
const LOCAL: &str = "local";

impl Service {
    /// Starts every stage, records the start, then listens.
    ///
    /// # Errors
    /// The first thing that did not start; nothing is served then.
    pub async fn start(
        config: &Config,
        clock: Clock,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Result<Self, StartError> {
        Self::start_with(config, clock, metrics, ADMISSION_DEADLINE).await
    }

    /// The same with another deadline for cold admissions.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn start_with(
        config: &Config,
        clock: Clock,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
        deadline: Duration,
    ) -> Result<Self, StartError> {
        if let Some(settings) = &config.identity {
            // Before anything listens: identity that proves nobody must not look like none, which makes everyone `local`.
            settings.check()?;
        }
        let identity = match &config.identity {
            Some(settings) if settings.has_svid() => Some(Arc::new(Identity::start(settings).await?)),
            _ => None,
        };
        let tokens = match &config.identity {
            Some(settings) => Tokens::start(settings, identity.as_deref()).await?.map(Arc::new),
            None => None,
        };
        let issuer = match &identity {
            Some(identity) => identity.spiffe_id()?,
            None => LOCAL.to_owned(),
        };
        let gate = Arc::new(Gate::open(config, issuer.clone(), clock()).await?);
        let callers = bind(config.listen.callers).await?;
        let administration = bind(config.listen.admin).await?;
        let registry = match &config.listen.registry {
            Some(listener) => {
                let door = Registry::open(listener, identity.as_ref(), tokens.as_ref(), clock()).await?;
                Some((door, bind(listener.address).await?))
            }
            None => None,
        };
        let policy = gate.policy.current();
        let detail = json!({
            "gateway": issuer, "version": env!("CARGO_PKG_VERSION"), "policy": policy.facts(), "mode": gate.mode, "trust": gate.evidence.trust_digest(),
        });
        gate.audit.event(EventKind::GatewayStart, detail, clock()).await?;

        let (flights, prefetches) = (http::Flights::default(), http::Prefetches::default());
        let door = Door {
            gate: gate.clone(),
            identity: identity.clone(),
            tokens: tokens.clone(),
            clock: clock.clone(),
            metrics,
            deadline,
            flights,
            prefetches,
        };
        let stop = CancellationToken::new();
        let (scheme, callers_door) = match (identity, tokens) {
            (Some(identity), tokens) => ("https", tls::Door::Mtls(Mtls::by_svid(identity, tokens))),
            (None, Some(tokens)) => ("http", tls::Door::Tokens(tokens, Wire::Loopback)),
            (None, None) if config.identity.is_none() => ("http", tls::Door::Plain),
            (None, None) => return Err(identity::StartError::Sources { found: 0 }.into()),
        };
        let app = |callers, challenges| App { callers, strangers: http::strangers(door.clone(), challenges) };
        let addresses = (callers.0, administration.0);
        // Where no tokens are taken there is nothing to ask for.
        let challenges = door.tokens.as_ref().map_or_else(Challenges::default, |_| Challenges::of(vec![Scheme::Basic]));
        let callers_app = app(http::callers(door.clone()), challenges);
        let mut tasks = vec![
            tokio::spawn(tls::serve(callers.1, callers_door, callers_app, stop.clone())),
            tokio::spawn(until(stop.clone(), look_at_files(gate.clone(), clock.clone()))),
            tokio::spawn(until(stop.clone(), look_at_policy(gate.clone(), clock.clone()))),
            tokio::spawn(until(stop.clone(), ask_repositories(gate.clone(), clock.clone()))),
            tokio::spawn(until(stop.clone(), scrub(gate.clone()))),
            tokio::spawn(log_uses(stop.clone(), gate.clone(), clock.clone())),
        ];
        let registry = registry.map(|(opened, (address, listener))| {
            let Registry { door: registry_door, scheme, challenges, certificate } = opened;
            let registry_app = app(http::registry(door.clone()), challenges);
            tasks.push(tokio::spawn(tls::serve(listener, registry_door, registry_app, stop.clone())));
            if let Some(certificate) = certificate {
                tasks.push(tokio::spawn(until(stop.clone(), certificate.follow())));
            }
            (scheme, address)
        });
        let administration_app = http::administration(door);
        tasks.push(tokio::spawn(tls::serve(administration.1, tls::Door::Unproven, administration_app, stop.clone())));
        Ok(Self { gate, callers: addresses.0, administration: addresses.1, registry, scheme, clock, stop, tasks })
    }

    /// The stages, for whoever runs in the same process.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Where callers ask: `https://127.0.0.1:7443`.
    pub fn callers_url(&self) -> String {
        format!("{}://{}", self.scheme, self.callers)
    }

    /// Where operators look: `http://127.0.0.1:7444`.
    pub fn administration_url(&self) -> String {
        format!("http://{}", self.administration)
    }

    /// Where hosts pull, if there is such a listener: `https://127.0.0.1:7445`.
    pub fn registry_url(&self) -> Option<String> {
        self.registry.map(|(scheme, address)| format!("{scheme}://{address}"))
    }

    /// Stops listening, lets open requests end, records the stop and closes the log.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(fault) = task.await {
                tracing::error!(error = %fault, "a task of the service ended badly");
            }
        }
        let now: Timestamp = (self.clock)();
        if let Err(outage) = self.gate.log_uses(now).await {
            tracing::warn!(outage.chain = outage.chain(), "what was fetched on pull grants last was not recorded");
        }
        if let Err(outage) = self.gate.audit.event(EventKind::GatewayStop, json!({}), now).await {
            tracing::warn!(outage.chain = outage.chain(), "the stop was not recorded");
        }
        self.gate.close().await;
    }
}

/// The registry listener, ready to serve.
struct Registry {
    door: tls::Door,
    scheme: &'static str,
    challenges: Challenges,
    certificate: Option<Arc<Certificate>>,
}

impl Registry {
    async fn open(
        listener: &RegistryListener,
        identity: Option<&Arc<Identity>>,
        tokens: Option<&Arc<Tokens>>,
        now: Timestamp,
    ) -> Result<Self, StartError> {
        let certificate = match listener.pair() {
            Some((certificate, key)) => Some(Certificate::read(certificate, key, now).await?),
            None => None,
        };
        let door = match (listener.clients, &certificate, identity, tokens) {
            (Clients::Svids, Some(certificate), Some(identity), tokens) => {
                tls::Door::Mtls(Mtls::by_name(identity.clone(), tokens.cloned(), certificate)?)
            }
            (Clients::Tokens, Some(certificate), _, Some(tokens)) => {
                tls::Door::Tokens(tokens.clone(), Wire::Tls(certificate.server_config()))
            }
            (Clients::Tokens, None, _, Some(tokens)) => tls::Door::Tokens(tokens.clone(), Wire::Loopback),
            (Clients::Tokens, None, None, None) => tls::Door::Plain,
            _ => unreachable!("broken invariant: the configuration was checked"),
        };
        let schemes = listener.challenges.iter().filter_map(|challenge| match challenge {
            Challenge::Basic => Some(Scheme::Basic),
            Challenge::Bearer => {
                let (url, service) = (listener.url.clone()?, listener.service()?.to_owned());
                Some(Scheme::Bearer { url, service })
            }
        });
        let challenges = Challenges::of(schemes.collect());
        let scheme = if certificate.is_some() { "https" } else { "http" };
        Ok(Self { door, scheme, challenges, certificate })
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    stop.run_until_cancelled(work).await;
}

/// Trust roots and revocations in files.
async fn look_at_files(gate: Arc<Gate>, clock: Clock) {
    loop {
        tokio::time::sleep(gate.pace()).await;
        gate.look_at_files(clock()).await;
    }
}

/// The files of the policy. A change is in force once it is recorded, and what it no longer admits is revoked.
async fn look_at_policy(gate: Arc<Gate>, clock: Clock) {
    loop {
        tokio::time::sleep(gate.policy_pace()).await;
        gate.look_at_policy(clock()).await;
    }
}

/// Trust roots in TUF repositories, apart from the files: a repository may take its time.
async fn ask_repositories(gate: Arc<Gate>, clock: Clock) {
    loop {
        tokio::time::sleep(gate.pace()).await;
        gate.ask_repositories(clock()).await;
    }
}

/// Cached blobs, one after the other, at the rate that the configuration allows.
async fn scrub(gate: Arc<Gate>) {
    loop {
        tokio::time::sleep(gate.registry.scrub().await).await;
    }
}

/// What was fetched on pull grants goes into the log in batches; a batch that was begun is ended, also when the service stops.
async fn log_uses(stop: CancellationToken, gate: Arc<Gate>, clock: Clock) {
    let (mut pace, mut takes) = (USE_LOG_INTERVAL, true);
    while stop.run_until_cancelled(tokio::time::sleep(pace)).await.is_some() {
        let logged = gate.log_uses(clock()).await;
        if let Err(outage) = &logged
            && takes
        {
            tracing::warn!(
                outage.chain = outage.chain(),
                "nothing more is fetched on pull grants until the log takes it"
            );
        }
        takes = logged.is_ok();
        pace = if takes { USE_LOG_INTERVAL } else { USE_LOG_RETRY };
    }
}

async fn bind(address: SocketAddr) -> Result<(SocketAddr, TcpListener), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    Ok((listener.local_addr().map_err(failed)?, listener))
}
