//! Which bytes: a reference becomes an artifact whose every byte we hashed.
//!
//! Whoever may push decides what the bytes are, so bytes that hash right but are wrong become an [`Artifact`] with defects,
//! to be refused and recorded. A registry that fails or lies is an outage: nothing of it is kept.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::case::{Candidates, Digest, Reference, Timestamp};
use crate::outage::{NoAnswer, Outage, Peer};

mod address;
mod artifact;
mod blobs;
mod budgets;
mod challenge;
mod config;
mod document;
mod fault;
mod fetch;
mod flight;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod links;
mod manifest;
#[cfg(test)]
mod peer;
mod referrers;
mod resolve;
#[cfg(test)]
mod resolve_index_tests;
mod serve;
#[cfg(test)]
mod serve_tests;
mod settings;
mod tags;
mod token;
mod upstream;

pub use artifact::Artifact;
pub use referrers::{Attachment, Attachments};
pub use serve::ServedManifest;
pub use settings::{Settings, StartError, UpstreamSettings};
pub use tags::Tags;

use blobs::Blobs;
use budgets::Budgets;
use fault::Trouble;
use resolve::Memory;
use settings::Upstreams;
use upstream::Upstream;

/// The registries that may be asked, with what is known of them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    upstreams: Upstreams,
    blobs: Blobs,
    memory: Memory,
    package_prefix: Option<String>,
}

impl Registry {
    /// Checks the settings and opens the cache in `cache_dir`, which belongs to this process alone.
    ///
    /// # Panics
    /// If no process-wide rustls provider is installed.
    pub fn open(settings: &Settings, cache_dir: &Path) -> Result<Self, StartError> {
        Self::with_budgets(settings, cache_dir, Budgets::of(settings))
    }

    fn with_budgets(settings: &Settings, cache_dir: &Path, budgets: Budgets) -> Result<Self, StartError> {
        let upstreams = Upstreams::of(settings, &Arc::new(budgets))?;
        let blobs = Blobs::open(cache_dir, settings.cache_max_bytes)
            .map_err(|source| StartError::Cache { path: cache_dir.to_owned(), source })?;
        let (memory, package_prefix) = (Memory::new(settings.tag_life_s), settings.packages()?);
        Ok(Self { inner: Arc::new(Inner { upstreams, blobs, memory, package_prefix }) })
    }

    /// Finds what `reference` means at `now`: its tag is asked for once, then only digests count.
    ///
    /// The digest of a reference that has one decides, its tag is not looked at.
    pub async fn resolve(&self, reference: &Reference, now: Timestamp) -> Result<Artifact, NoAnswer> {
        let upstream = self.upstream(reference)?;
        let body = resolve::resolve(&self.inner, &upstream, reference, now).await;
        body.map(|body| Artifact::new(reference, body))
            .map_err(|trouble| trouble.into_no_answer(&reference.to_string()))
    }

    /// Everything in the artifact's repository that says it vouches for it; nothing that was found is left out.
    pub async fn candidates(&self, artifact: &Artifact) -> Result<Candidates, Outage> {
        let reference = artifact.reference();
        let gone = |detail| {
            Outage::new(
                Peer::Registry(reference.registry().to_owned()),
                format!("listing the referrers of `{reference}`"),
            )
            .with_hint(detail)
        };
        let upstream = self.inner.upstreams.of_registry(reference.registry()).map_err(gone)?;
        let repository = reference.repository();
        let indexes = &artifact.facts().indexes;
        let subjects = [artifact.digest()].into_iter().chain(indexes);
        let searches = subjects.map(|subject| self.search(&upstream, repository, subject));
        let mut searched = futures::future::try_join_all(searches).await?.into_iter();
        let mut found = searched.next().expect("the artifact itself is searched for");
        // A signature of an index covers what the index leads to: it is looked for as well, and says what it is about.
        for (index, about_index) in indexes.iter().zip(searched) {
            found.looked_in.extend(about_index.looked_in);
            found.list.extend(about_index.list.into_iter().map(|mut candidate| {
                candidate.source.index = Some(*index);
                candidate
            }));
        }
        let mut seen = std::collections::BTreeSet::new();
        found.looked_in.retain(|place| seen.insert(place.clone()));
        Ok(found)
    }

    async fn search(&self, upstream: &Upstream, repository: &str, subject: &Digest) -> Result<Candidates, Outage> {
        let search = referrers::candidates(upstream, repository, subject);
        let found = self.inner.memory.one_search(upstream, repository, subject, search).await;
        found.map_err(Trouble::into_outage)
    }

    /// The bytes of a component that was resolved before, hashed again; none if they are no longer held.
    pub async fn component(&self, digest: &Digest) -> Result<Option<Bytes>, Outage> {
        resolve::read_blob(&self.inner.blobs, *digest).await.map_err(Trouble::into_outage)
    }

    fn upstream(&self, reference: &Reference) -> Result<Arc<Upstream>, NoAnswer> {
        let upstream = self.inner.upstreams.of_registry(reference.registry());
        upstream.map_err(|detail| NoAnswer::Unprocessable { detail })
    }
}
