//! The running service: one gate behind two listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit::EventKind;
use crate::case::Timestamp;
use crate::config::Config;
use crate::doors::http::{self, ADMISSION_DEADLINE, Clock, Door};
use crate::gate::{self, Gate};
use crate::identity::{self, Identity};
use crate::tls;

/// A gateway that answers on its two listeners until it is stopped.
pub struct Service {
    gate: Arc<Gate>,
    callers: SocketAddr,
    administration: SocketAddr,
    scheme: &'static str,
    clock: Clock,
    stop: CancellationToken,
    /// Listeners, and the loops that keep trust fresh.
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
        let identity = match &config.identity {
            Some(settings) => Some(Arc::new(Identity::start(settings).await?)),
            None => None,
        };
        let issuer = match &identity {
            Some(identity) => identity.spiffe_id()?,
            None => LOCAL.to_owned(),
        };
        let gate = Arc::new(Gate::open(config, issuer.clone(), clock()).await?);
        let callers = bind(config.listen.callers).await?;
        let administration = bind(config.listen.admin).await?;
        let policy = gate.policy.facts();
        let detail = json!({
            "gateway": issuer, "version": env!("CARGO_PKG_VERSION"), "policy": policy, "trust": gate.evidence.trust_digest(),
        });
        gate.audit.event(EventKind::GatewayStart, detail, clock()).await?;

        let (flights, prefetches) = (http::Flights::default(), http::Prefetches::default());
        let door = Door {
            gate: gate.clone(),
            identity: identity.clone(),
            clock: clock.clone(),
            metrics,
            deadline,
            flights,
            prefetches,
        };
        let stop = CancellationToken::new();
        let (scheme, callers_door) = match identity {
            Some(identity) => ("https", tls::Door::Mtls(identity)),
            None => ("http", tls::Door::Plain),
        };
        let addresses = (callers.0, administration.0);
        let tasks = vec![
            tokio::spawn(tls::serve(callers.1, callers_door, http::callers(door.clone()), stop.clone())),
            tokio::spawn(tls::serve(administration.1, tls::Door::Unproven, http::administration(door), stop.clone())),
            tokio::spawn(until(stop.clone(), look_at_files(gate.clone(), clock.clone()))),
            tokio::spawn(until(stop.clone(), ask_repositories(gate.clone(), clock.clone()))),
            tokio::spawn(log_uses(stop.clone(), gate.clone(), clock.clone())),
        ];
        Ok(Self { gate, callers: addresses.0, administration: addresses.1, scheme, clock, stop, tasks })
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

/// Trust roots in TUF repositories, apart from the files: a repository may take its time.
async fn ask_repositories(gate: Arc<Gate>, clock: Clock) {
    loop {
        tokio::time::sleep(gate.pace()).await;
        gate.ask_repositories(clock()).await;
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
