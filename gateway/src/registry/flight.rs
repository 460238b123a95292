//! One piece of work at a time for each digest of a repository: who asks meanwhile waits for the same one.

use std::fmt;
use std::sync::Arc;

use moka::future::Cache;

use super::budgets::{SEARCH_LIFE, SEARCHES};
use super::fault::Trouble;
use super::resolve::Key;
use crate::case::Digest;

/// What is under way; nothing is remembered once it has ended.
pub(super) struct Flights<T>(Cache<Key<Digest>, T>);

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Nothing is under way.
    pub fn new() -> Self {
        Self(Cache::builder().max_capacity(SEARCHES).time_to_live(SEARCH_LIFE).build())
    }

    /// The outcome of `work`, or of what somebody else began for the same key. Who asks later begins anew.
    pub async fn one(&self, key: Key<Digest>, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let flight = Box::pin(self.0.entry(key.clone()).or_try_insert_with(Box::pin(work)));
        let entry = flight.await.map_err(|trouble: Arc<Trouble>| Trouble::clone(&trouble))?;
        if entry.is_fresh() {
            self.0.invalidate(&key).await;
            // Else the outcome stays in memory until somebody asks for something else.
            self.0.run_pending_tasks().await;
        }
        Ok(entry.into_value())
    }
}
