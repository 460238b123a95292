//! The slow walk over the cache that finds altered files before somebody asks for them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::budgets::{SCRUB_LEAST_PAUSE, SCRUB_REST};
use super::super::fault::Trouble;
use super::Store;
use crate::case::Digest;

/// Where the walk is, and how fast it may go.
#[derive(Debug)]
pub(super) struct Scrub {
    /// 0: it does not go at all.
    bytes_per_s: u64,
    last: Mutex<Option<Digest>>,
}

impl Scrub {
    pub fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, last: Mutex::new(None) }
    }

    /// How long to rest after a file of `size_bytes`, so that the mean rate is held.
    fn pause(&self, size_bytes: u64) -> Duration {
        let pause_ms = size_bytes.saturating_mul(1000) / self.bytes_per_s.max(1);
        Duration::from_millis(pause_ms).clamp(SCRUB_LEAST_PAUSE, SCRUB_REST)
    }
}

impl Store {
    /// Hashes the next file, sets it aside if its bytes were altered; gives how long to wait until the one after it.
    ///
    /// The walk is in the order of digests, so a file that comes or goes meanwhile neither stops nor restarts it.
    pub async fn scrub(&self) -> Duration {
        let scrub = &self.0.scrub;
        if scrub.bytes_per_s == 0 {
            return SCRUB_REST;
        }
        let next = {
            // One who walks at a time; a panic in between leaves a digest from which the walk goes on.
            let mut last = scrub.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = self.0.files.next_after(*last);
            *last
        };
        let Some(digest) = next else { return SCRUB_REST };
        match self.look_at(digest).await {
            Ok(size_bytes) => scrub.pause(size_bytes),
            Err(trouble) => {
                tracing::warn!(outage.chain = trouble.into_outage().chain(), "a cached blob could not be scrubbed");
                SCRUB_LEAST_PAUSE
            }
        }
    }

    /// Hashes a file, one piece in memory at a time; gives its size.
    async fn look_at(&self, digest: Digest) -> Result<u64, Trouble> {
        let place = self.0.loads.clone().acquire_owned().await.expect("the semaphore of loads is never closed");
        let store = self.clone();
        let failed = |source| Trouble::disk(format!("scrubbing cached blob `{digest}`"), source);
        let looked = tokio::task::spawn_blocking(move || {
            let _held = place;
            let Some(opened) = store.0.files.file(&digest)? else { return Ok(0) };
            store.0.files.tell(&digest, &opened);
            if opened.seal(&digest)?.is_none() {
                store.altered(&digest, &opened)?;
            }
            metrics::counter!("witgate_store_scrubbed_bytes_total").increment(opened.identity().size_bytes());
            Ok(opened.identity().size_bytes())
        });
        looked.await.map_err(|gone| failed(gone.into()))?.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_holds_the_mean_rate_within_bounds() {
        let scrub = Scrub::new(4 << 20);
        assert_eq!(scrub.pause(0), SCRUB_LEAST_PAUSE);
        assert_eq!(scrub.pause(8 << 20), Duration::from_secs(2));
        assert_eq!(scrub.pause(u64::MAX), SCRUB_REST);
        assert_eq!(Scrub::new(1).pause(3), Duration::from_secs(3));
    }
}
