//! What those who may fetch it are sent: a manifest or a blob of a repository by its digest, verified.

use bytes::Bytes;

use super::Registry;
use super::document::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, shown};
use super::fault::{Fault, Trouble};
use super::manifest::Manifest;
use super::resolve::{self, Served};
use super::upstream::Upstream;
use crate::case::{Digest, Repository};
use crate::outage::Outage;

/// A manifest or index, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedManifest {
    /// The bytes, which hash to the digest that was asked for.
    pub bytes: Bytes,
    /// One of the four media types of manifests and indexes.
    pub media_type: String,
}

impl Registry {
    /// Whether `name` is a registry that may be asked; nobody is asked for that.
    pub fn has_upstream(&self, name: &str) -> bool {
        self.inner.upstreams.of_registry(name).is_ok()
    }

    /// The names of the configured upstreams.
    pub fn upstream_names(&self) -> impl Iterator<Item = &str> {
        self.inner.upstreams.names()
    }

    /// Whether whoever asks `name` through us may learn what it could not learn by itself: the upstream gets a credential of
    /// ours, or stands in our network.
    pub fn lends_access(&self, name: &str) -> bool {
        self.inner.upstreams.of_registry(name).map_or(true, |upstream| upstream.lends_access())
    }

    /// A manifest of `repository`: from memory if this repository served it, else from there. None if it is gone.
    ///
    /// # Errors
    /// An outage of the registry, other bytes than the digest's among them.
    pub async fn manifest(&self, repository: &Repository, digest: &Digest) -> Result<Option<ServedManifest>, Outage> {
        let Ok(upstream) = self.inner.upstreams.of_registry(repository.registry()) else { return Ok(None) };
        let served = self.served(&upstream, repository, digest).await;
        known(served.map(|served| ServedManifest { bytes: served.bytes, media_type: served.content_type }))
    }

    /// A blob that the `manifest` of `repository` names as its config or component: from the store, else from there.
    ///
    /// # Errors
    /// An outage of the registry, other bytes than the digest's among them, or of the store.
    pub async fn blob(
        &self,
        repository: &Repository,
        manifest: &Digest,
        digest: &Digest,
    ) -> Result<Option<Bytes>, Outage> {
        if let Some(bytes) = self.component(digest).await? {
            return Ok(Some(bytes));
        }
        let Ok(upstream) = self.inner.upstreams.of_registry(repository.registry()) else { return Ok(None) };
        let key = (upstream.name.clone(), repository.name().to_owned(), *digest);
        let fetch = async {
            let served = self.served(&upstream, repository, manifest).await?;
            let judged = Manifest::judge(&served.bytes, &served.content_type);
            let named = judged.config.into_iter().chain(judged.component).find(|named| named.digest == *digest);
            let Some(descriptor) = named else { return Err(Trouble::Unknown) };
            resolve::blob(&self.inner, &upstream, repository.name(), &descriptor).await
        };
        known(self.inner.memory.fetches.one(key, fetch).await)
    }

    /// A manifest that the registry calls what its bytes say.
    async fn served(&self, upstream: &Upstream, repository: &Repository, digest: &Digest) -> Result<Served, Trouble> {
        let key = (upstream.name.clone(), repository.name().to_owned(), *digest);
        if let Some(served) = self.inner.memory.served(&key).await {
            return Ok(served);
        }
        let fetch = async {
            let served = resolve::serve(&self.inner, upstream, repository.name(), *digest).await?;
            let judged = Manifest::judge(&served.bytes, &served.content_type);
            let named = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(&served.content_type.as_str());
            if named && judged.defects.is_empty() {
                return Ok(served);
            }
            // It was admitted under another name, or as another kind: nothing is sent that was not decided about.
            self.inner.memory.forget(&key).await;
            let fault = Fault::ContentType { expected: OCI_MANIFEST, found: shown(&served.content_type) };
            Err(resolve::registry_trouble(upstream, format!("reading the manifest `{repository}@{digest}`"), fault))
        };
        self.inner.memory.manifest_fetches.one(key.clone(), fetch).await
    }
}

fn known<T>(found: Result<T, Trouble>) -> Result<Option<T>, Outage> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Trouble::Unknown) => Ok(None),
        Err(trouble) => Err(trouble.into_outage()),
    }
}
