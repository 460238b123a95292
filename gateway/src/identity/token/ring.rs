//! The keys of one issuer or trust domain, as they were last confirmed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::fault::TokenFault;
use super::jwks::{Key, KeySet};
use crate::case::Timestamp;

/// Keys that were not confirmed for this long verify nothing any more: nobody knows whether they were revoked.
pub const KEYS_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// A set of keys that a task in the background keeps fresh.
#[derive(Debug)]
pub(super) struct Ring {
    held: ArcSwap<Held>,
    /// Somebody asked for a key that is not here.
    missed: Notify,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Held {
    keys: KeySet,
    confirmed_at: Option<Timestamp>,
    /// Counts up with each set that differs from the one before.
    generation: u64,
}

impl Ring {
    /// A ring without keys.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { held: ArcSwap::default(), missed: Notify::new(), changes: watch::Sender::new(0) })
    }

    /// Takes a set that its source gave `now`; whoever proved something under another one is judged anew.
    pub(super) fn confirm(&self, keys: KeySet, now: Timestamp) {
        let before = self.held.load();
        let changed = before.confirmed_at.is_none() || !before.keys.is_same(&keys);
        let generation = before.generation + u64::from(changed);
        self.held.store(Arc::new(Held { keys, confirmed_at: Some(now), generation }));
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// The key of that name with the generation it belongs to; an unknown name wakes whoever fetches keys.
    pub(super) fn key(&self, id: &str, now: Timestamp) -> Result<(Key, u64), TokenFault> {
        let held = self.fresh(now).ok_or(TokenFault::NoKeys)?;
        match held.keys.key(id) {
            Some(key) => Ok((key.clone(), held.generation)),
            None => {
                self.missed.notify_one();
                Err(TokenFault::UnknownKey)
            }
        }
    }

    /// Which set counts now, if any does.
    pub(super) fn generation(&self, now: Timestamp) -> Option<u64> {
        self.fresh(now).map(|held| held.generation)
    }

    /// When the keys were last confirmed.
    pub(super) fn confirmed_at(&self) -> Option<Timestamp> {
        self.held.load().confirmed_at
    }

    /// Counts the sets that differed from the one before.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns once a key was asked for that is not here.
    pub(super) async fn missed(&self) {
        self.missed.notified().await;
    }

    fn fresh(&self, now: Timestamp) -> Option<Arc<Held>> {
        let held = self.held.load_full();
        let oldest = now.checked_sub(KEYS_MAX_AGE).unwrap_or(Timestamp::MIN);
        (held.confirmed_at? >= oldest).then_some(held)
    }
}
