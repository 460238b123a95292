//! What those who may fetch it are sent: a manifest or a blob of a repository by its digest, verified.

use bytes::Bytes;

use super::budgets::BLOB_BYTES;
use super::document::{self, OCI_MANIFEST, shown};
use super::fault::{Fault, Trouble};
use super::manifest::{Parts, Shape};
use super::resolve::{self, Served};
use super::upstream::Upstream;
use super::{Blob, Registry};
use crate::case::{Digest, Repository};
use crate::outage::{Outage, Peer};

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

    /// What stands in front of a package's name in its reference, such as `ghcr.io/webassembly/`.
    pub fn package_prefix(&self) -> Option<&str> {
        self.inner.package_prefix.as_deref()
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

    /// A blob that the `manifest` of `repository` names as its config or a layer: from the store, else from there.
    ///
    /// # Errors
    /// An outage of the registry, other bytes than the digest's among them, or of the store.
    pub async fn blob(
        &self,
        repository: &Repository,
        manifest: &Digest,
        digest: &Digest,
    ) -> Result<Option<Blob>, Outage> {
        if let Some(blob) = self.held(digest).await? {
            return Ok(Some(blob));
        }
        let Ok(upstream) = self.inner.upstreams.of_registry(repository.registry()) else { return Ok(None) };
        let key = (upstream.name.clone(), repository.name().to_owned(), *digest);
        let fetch = async {
            let served = self.served(&upstream, repository, manifest).await?;
            let parts = document::parse(&served.bytes, "manifest").ok();
            let parts = parts.as_ref().and_then(|value| Shape::of(value, &served.content_type).ok());
            let Some(Parts::Image { config, layers }) = parts.map(|shape| shape.parts) else {
                return Err(Trouble::Unknown);
            };
            let mut named = layers.into_iter().chain([config]).filter(|named| named.digest == *digest);
            let descriptor = named.find(|named| named.size_bytes <= BLOB_BYTES).ok_or(Trouble::Unknown)?;
            let doing = format!("reading blob `{digest}` of `{repository}`");
            let _room = self.inner.memory.cold(&upstream, descriptor.size_bytes, &doing).await?;
            resolve::blob(&self.inner, &upstream, repository.name(), (&descriptor).into()).await.map(drop)
        };
        // Sent from the store like any other: how slowly somebody reads takes no room from those who fetch.
        match known(self.inner.memory.fetches.one(key, fetch).await)? {
            Some(()) => self.held(digest).await?.map(Some).ok_or_else(|| {
                let doing = format!("reading blob `{digest}` of `{repository}`, which was fetched a moment ago");
                Outage::new(Peer::Internal, doing).with_hint("ask again; if it goes on, look at the disk of the cache")
            }),
            None => Ok(None),
        }
    }

    /// A manifest that the registry calls what its bytes say.
    async fn served(&self, upstream: &Upstream, repository: &Repository, digest: &Digest) -> Result<Served, Trouble> {
        let key = (upstream.name.clone(), repository.name().to_owned(), *digest);
        if let Some(served) = self.inner.memory.served(&key).await {
            return Ok(served);
        }
        let fetch = async {
            let served = resolve::serve(&self.inner, upstream, repository.name(), *digest).await?;
            // Shape and name, for the bytes are those that were decided about: of whatever is in them nothing changes.
            let value = document::parse(&served.bytes, "manifest");
            if value.is_ok_and(|value| Shape::of(&value, &served.content_type).is_ok()) {
                return Ok(served);
            }
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
