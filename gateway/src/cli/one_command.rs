//! A registry for one command, with a cache of its own.
//!
//! The cache in the data folder belongs to the process that serves: opening it clears what that one is writing.

use anyhow::Context as _;

use crate::registry::{Registry, Settings};

/// The registry, and its cache: gone when both are dropped.
pub(crate) struct OneCommand {
    registry: Registry,
    _cache: tempfile::TempDir,
}

impl OneCommand {
    /// Checks the settings and makes an empty cache.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let cache = tempfile::tempdir().context("cannot make a folder for what is fetched")?;
        Ok(Self { registry: Registry::open(settings, cache.path())?, _cache: cache })
    }

    /// The registry itself.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}
