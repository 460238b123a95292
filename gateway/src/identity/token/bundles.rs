//! The JWT bundles of the Workload API: each trust domain's keys, pushed to us as they change.

use std::time::Duration;

use serde_json::Value;
use spiffe::{JwtResourceLimits, JwtSource, TrustDomain, X509Source};
use tokio::sync::watch;

use super::super::settings::StartError;
use super::super::source::{BUNDLES, RECONNECT, SYNC_GRACE};
use super::fault::TokenFault;
use super::jwks::{JWKS_SIZE_BYTES, Key, Purpose};

/// Follows the stream of bundles; while the agent is away the last ones stay, for as long as our own SVID does.
///
/// Keys have no end of their own. Our X.509-SVID comes from the same agent and has one, so an agent that is gone for good takes
/// the callers' tokens with it.
#[derive(Debug)]
pub(super) struct Bundles {
    source: JwtSource,
    own: X509Source,
    changes: watch::Sender<u64>,
}

impl Bundles {
    /// Waits for the first bundles from the agent at `endpoint`, `unix:/…`.
    ///
    /// # Errors
    /// None came within `timeout_ms`.
    pub(super) async fn start(endpoint: &str, own: X509Source, timeout_ms: u64) -> Result<Self, StartError> {
        let timeout = Duration::from_millis(timeout_ms);
        let building = JwtSource::builder()
            .endpoint(endpoint)
            .reconnect_backoff(RECONNECT.0, RECONNECT.1)
            .resource_limits(JwtResourceLimits::new(Some(BUNDLES), Some(JWKS_SIZE_BYTES)))
            .initial_sync_timeout(timeout)
            .build();
        let source = match tokio::time::timeout(timeout + SYNC_GRACE, building).await {
            Ok(Ok(source)) => source,
            Ok(Err(error)) => return Err(StartError::Sync { timeout_ms, source: error.into() }),
            Err(elapsed) => return Err(StartError::Sync { timeout_ms, source: elapsed.into() }),
        };
        Ok(Self { source, own, changes: watch::Sender::new(0) })
    }

    /// The key of that name in the bundle of that trust domain, with the revision it belongs to.
    pub(super) fn key(&self, trust_domain: &TrustDomain, id: &str) -> Result<(Key, u64), TokenFault> {
        if !self.is_fresh() {
            return Err(TokenFault::NoKeys);
        }
        let state = self.source.state();
        let bundles = state.bundle_set().map_err(|_| TokenFault::NoKeys)?;
        let bundle = bundles.get(trust_domain).ok_or(TokenFault::NoKeys)?;
        let authority = bundle.find_jwt_authority(id).ok_or(TokenFault::UnknownKey)?;
        let Ok(Value::Object(jwk)) = serde_json::from_slice(authority.jwk_json()) else {
            return Err(TokenFault::UnknownKey);
        };
        let key = Key::read(&jwk, Purpose::JwtSvid).ok_or(TokenFault::UnknownKey)?;
        Ok((key, state.revision()))
    }

    /// Which bundles count now, if any do.
    pub(super) fn revision(&self) -> Option<u64> {
        let state = self.source.state();
        (self.is_fresh() && state.bundle_set().is_ok()).then(|| state.revision())
    }

    /// Counts the changes of the bundles.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells of each change; a withdrawal of the bundles is one.
    pub(super) async fn follow(&self) {
        let mut updates = self.source.updated();
        while updates.changed().await.is_ok() {
            tracing::info!("the JWT bundles changed");
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn is_fresh(&self) -> bool {
        !self.source.state().is_closed() && self.own.svid().is_ok()
    }
}
