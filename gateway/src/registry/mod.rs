//! Which bytes: a reference becomes an artifact whose every byte we hashed.
//!
//! Whoever may push decides what the bytes are, so bytes that hash right but are wrong become an [`Artifact`] with defects,
//! to be refused and recorded. A registry that fails or lies is an outage: nothing of it is kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::case::{Candidates, Digest, Reference, Timestamp};
use crate::outage::{NoAnswer, Outage, Peer};

mod application;
mod artifact;
mod budgets;
mod challenge;
mod config;
mod credential;
mod docker_config;
mod document;
mod fault;
mod fetch;
mod flight;
#[doc(hidden)]
pub mod fuzzing;
mod helper;
mod index;
mod links;
mod manifest;
mod pause;
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
mod store;
mod tags;
mod token;
mod upstream;

pub use artifact::Artifact;
pub use credential::GivenSecret;
pub use referrers::{Attachment, Attachments};
pub use serve::ServedManifest;
pub use settings::{Given, Settings, StartError, StoreSettings, UpstreamSettings};
pub use store::Blob;
pub use tags::Tags;

use budgets::Budgets;
use fault::Trouble;
use resolve::Memory;
use settings::Upstreams;
use store::Store;
use upstream::Upstream;

/// The registries that may be asked, with what is known of them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    upstreams: Upstreams,
    store: Store,
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
        let store = Store::open(cache_dir, settings)?;
        let (memory, package_prefix) =
            (Memory::new(settings.tag_life_s, settings.cold_max_bytes), settings.packages()?);
        Ok(Self { inner: Arc::new(Inner { upstreams, store, memory, package_prefix }) })
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

    /// The same, and looks at the same time for what is attached to the digest that the reference means: neither waits for the
    /// other, so a decision by digest takes no more than three answers of the registry one after the other.
    pub async fn resolve_and_search(&self, reference: &Reference, now: Timestamp) -> Result<Artifact, NoAnswer> {
        let upstream = self.upstream(reference)?;
        let told = |trouble: Trouble| trouble.into_no_answer(&reference.to_string());
        let digest = resolve::digest(&self.inner, &upstream, reference, now).await.map_err(told)?;
        let search = async { Ok(self.search(&upstream, reference.repository(), &digest).await) };
        let body = resolve::by_digest(&self.inner, &upstream, reference.repository(), digest);
        // What is not there ends the search; a search that fails is told of once it is known what it was about.
        let (body, found) = Box::pin(async { futures::try_join!(body, search) }).await.map_err(told)?;
        Ok(Artifact::new(reference, body).searched(found))
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
        let searches = subjects.map(|subject| async {
            match artifact.found_about(subject) {
                Some(found) => found,
                None => self.search(&upstream, repository, subject).await,
            }
        });
        let searched = futures::future::try_join_all(searches).await.map_err(Trouble::into_outage)?;
        let mut searched = searched.into_iter();
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

    async fn search(&self, upstream: &Upstream, repository: &str, subject: &Digest) -> Result<Candidates, Trouble> {
        let search = referrers::candidates(upstream, repository, subject);
        self.inner.memory.one_search(upstream, repository, subject, search).await
    }

    /// The verified bytes of any blob that is held: a component, a config, a layer of data; none if they are not held.
    ///
    /// The store is one for all: whether somebody may read the blob at all is for the caller of this to know.
    pub async fn held(&self, digest: &Digest) -> Result<Option<Blob>, Outage> {
        self.inner.store.blob(*digest).await.map_err(Trouble::into_outage)
    }

    /// Looks at the next cached file, in the background; gives how long to wait until the one after it.
    pub async fn scrub(&self) -> Duration {
        self.inner.store.scrub().await
    }

    /// Sets `witgate_store_bytes`.
    pub fn measure(&self) {
        self.inner.store.measure();
    }

    fn upstream(&self, reference: &Reference) -> Result<Arc<Upstream>, NoAnswer> {
        let upstream = self.inner.upstreams.of_registry(reference.registry());
        upstream.map_err(|detail| NoAnswer::Unprocessable { detail })
    }
}
