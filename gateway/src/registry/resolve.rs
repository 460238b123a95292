//! From a reference to bytes: tag to digest once, then manifest, config, component, each hashed by us.

use std::sync::Arc;

use bytes::Bytes;
use moka::future::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::case::{ArtifactFacts, ComponentFacts, ConfigFacts, Digest, Reference, Timestamp};

use super::Inner;
use super::artifact::Body;
use super::blobs::Blobs;
use super::budgets::{
    ARTIFACTS_HELD_BYTES, BLOBS_PRESENT, COLD_BYTES, MANIFEST_BYTES, MANIFESTS_HELD_BYTES, PRESENCE_LIFE, TAGS,
};
use super::config;
use super::document::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST};
use super::fault::{Fault, Trouble};
use super::fetch::Answer;
use super::manifest::Manifest;
use super::upstream::Upstream;

/// What is remembered between requests. Every key names the upstream and the repository: bytes are shared, the right to
/// read them is not.
#[derive(Debug)]
pub(super) struct Memory {
    tag_life_s: u64,
    tags: Cache<Key<String>, Tag>,
    manifests: Cache<Key<Digest>, Served>,
    artifacts: Cache<Key<Digest>, Held>,
    present: Cache<Key<Digest>, ()>,
    cold: Semaphore,
}

/// Upstream, repository, and a name in it.
type Key<T> = (String, String, T);

#[derive(Clone, Debug)]
struct Tag {
    digest: Digest,
    seen_at: Timestamp,
}

/// A manifest as the repository served it.
#[derive(Clone, Debug)]
struct Served {
    bytes: Bytes,
    content_type: String,
}

#[derive(Clone)]
struct Held(Arc<Body>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.facts.fmt(f)
    }
}

impl Memory {
    /// Remembers nothing yet; tags will be believed for `tag_life_s`.
    pub fn new(tag_life_s: u64) -> Self {
        let weight = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        Self {
            tag_life_s,
            tags: Cache::new(TAGS),
            manifests: Cache::builder()
                .max_capacity(MANIFESTS_HELD_BYTES)
                .weigher(move |_, served: &Served| weight(served.bytes.len()))
                .time_to_live(PRESENCE_LIFE)
                .build(),
            artifacts: Cache::builder()
                .max_capacity(ARTIFACTS_HELD_BYTES)
                .weigher(move |_, Held(body)| {
                    weight(body.manifest.len() + body.component.as_ref().map_or(0, Bytes::len))
                })
                .time_to_live(PRESENCE_LIFE)
                .build(),
            present: Cache::builder().max_capacity(BLOBS_PRESENT).time_to_live(PRESENCE_LIFE).build(),
            cold: Semaphore::new(COLD_PIECES),
        }
    }

    fn fresh(&self, tag: &Tag, now: Timestamp) -> bool {
        let age_s = now.as_second() - tag.seen_at.as_second();
        u64::try_from(age_s).is_ok_and(|age_s| age_s < self.tag_life_s)
    }

    /// Waits until a component of `size_bytes` may be under way.
    async fn cold(&self, upstream: &Upstream, size_bytes: u64) -> Result<SemaphorePermit<'_>, Fault> {
        let pieces = u32::try_from(size_bytes.div_ceil(COLD_PIECE_BYTES)).expect("a component's size is limited");
        let after = upstream.budgets.queue;
        let permit = timeout(after, self.cold.acquire_many(pieces)).await.map_err(|_| Fault::Busy { after })?;
        Ok(permit.expect("the semaphore of cold bytes is never closed"))
    }
}

/// What `reference` means at `now`.
pub(super) async fn resolve(
    inner: &Inner,
    upstream: &Upstream,
    reference: &Reference,
    now: Timestamp,
) -> Result<Arc<Body>, Trouble> {
    let digest = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => *digest,
        (None, Some(tag)) => digest_of_tag(inner, upstream, reference.repository(), tag, now).await?,
        (None, None) => unreachable!("a reference has a tag or a digest"),
    };
    let key = (upstream.name.clone(), reference.repository().to_owned(), digest);
    let cache = &inner.memory.artifacts;
    let held = cache
        .try_get_with(key.clone(), async { body(inner, upstream, reference.repository(), digest).await.map(Held) });
    let Held(body) = Box::pin(held).await.map_err(|trouble| Trouble::clone(&trouble))?;
    if !body.facts.defects.is_empty() {
        // Part of the verdict was the registry's `Content-Type`, which may be mended.
        cache.invalidate(&key).await;
    }
    Ok(body)
}

/// The digest that a tag has now, or had less than the configured life ago. One answer gives digest and manifest.
async fn digest_of_tag(
    inner: &Inner,
    upstream: &Upstream,
    repository: &str,
    tag: &str,
    now: Timestamp,
) -> Result<Digest, Trouble> {
    let memory = &inner.memory;
    let key = (upstream.name.clone(), repository.to_owned(), tag.to_owned());
    let ask = async {
        let served = ask_manifest(upstream, repository, tag).await?;
        let digest = served.digest;
        remember(inner, upstream, repository, served).await;
        Ok(Tag { digest, seen_at: now })
    };
    if memory.tag_life_s == 0 {
        return Box::pin(ask).await.map(|tag| tag.digest);
    }
    if memory.tags.get(&key).await.is_some_and(|tag| !memory.fresh(&tag, now)) {
        memory.tags.invalidate(&key).await;
    }
    let tag = Box::pin(memory.tags.try_get_with(key, ask)).await;
    tag.map(|tag| tag.digest).map_err(|trouble: Arc<Trouble>| Trouble::clone(&trouble))
}

/// The artifact of a digest; its manifest comes from memory only if this repository served it.
async fn body(inner: &Inner, upstream: &Upstream, repository: &str, digest: Digest) -> Result<Arc<Body>, Trouble> {
    let key = (upstream.name.clone(), repository.to_owned(), digest);
    let served = match inner.memory.manifests.get(&key).await {
        Some(served) => served,
        None => {
            let answer = ask_manifest(upstream, repository, &digest.to_string()).await?;
            if answer.digest != digest {
                let fault = Fault::DigestMismatch { expected: digest, found: answer.digest };
                return Err(registry_trouble(upstream, reading_manifest(repository, &digest.to_string()), fault));
            }
            remember(inner, upstream, repository, answer).await
        }
    };
    let mut manifest = Manifest::judge(&served.bytes, &served.content_type);
    let mut claimed_imports = None;
    let mut component = None;
    if let (Some(layer), Some(config)) = (&manifest.component, &manifest.config) {
        let layer_bytes = blob(inner, upstream, repository, layer);
        let config_bytes = blob(inner, upstream, repository, config);
        let (layer_bytes, config_bytes) = futures::try_join!(layer_bytes, config_bytes)?;
        match config::claimed_imports(&config_bytes, &config.media_type, &layer.digest) {
            Ok(claimed) => {
                claimed_imports = claimed;
                component = Some(layer_bytes);
            }
            Err(defect) => manifest.defects.push(defect),
        }
    }
    if !manifest.defects.is_empty() {
        manifest.component = None;
        inner.memory.manifests.invalidate(&key).await;
    }
    let facts = ArtifactFacts {
        digest,
        media_type: manifest.media_type,
        size_bytes: served.bytes.len() as u64,
        annotations: manifest.annotations,
        config: manifest.config.map(|config| ConfigFacts {
            media_type: config.media_type,
            digest: config.digest,
            claimed_imports,
        }),
        component: manifest.component.map(|layer| ComponentFacts {
            digest: layer.digest,
            size_bytes: layer.size_bytes,
            media_type: layer.media_type,
        }),
        defects: manifest.defects,
    };
    Ok(Arc::new(Body { facts, manifest: served.bytes, component }))
}

async fn ask_manifest(upstream: &Upstream, repository: &str, name: &str) -> Result<Answer, Trouble> {
    let url = upstream.endpoint(repository, "manifests", name);
    let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
    upstream.metadata(&url, repository, &accept, MANIFEST_BYTES).await.map_err(|fault| match fault {
        Fault::NotFound => Trouble::Unknown,
        fault => registry_trouble(upstream, reading_manifest(repository, name), fault),
    })
}

async fn remember(inner: &Inner, upstream: &Upstream, repository: &str, answer: Answer) -> Served {
    let served = Served { bytes: answer.bytes, content_type: answer.content_type };
    let key = (upstream.name.clone(), repository.to_owned(), answer.digest);
    inner.memory.manifests.insert(key, served.clone()).await;
    served
}

/// The bytes of a blob that a manifest of this repository names: from the cache if the repository holds it, else from there.
async fn blob(inner: &Inner, upstream: &Upstream, repository: &str, descriptor: &Descriptor) -> Result<Bytes, Trouble> {
    let digest = &descriptor.digest;
    let failed = |fault| registry_trouble(upstream, format!("reading blob `{digest}` of `{repository}`"), fault);
    let key = (upstream.name.clone(), repository.to_owned(), *digest);
    let present = &inner.memory.present;
    let _cold = inner.memory.cold(upstream, descriptor.size_bytes).await.map_err(failed)?;
    let held = read_blob(&inner.blobs, *digest).await?.filter(|bytes| bytes.len() as u64 == descriptor.size_bytes);
    if let Some(bytes) = held {
        // Naming another repository's blob must not be a way to read it.
        if present.contains_key(&key) {
            return Ok(bytes);
        }
        if upstream.holds_blob(repository, digest).await.map_err(failed)? {
            present.insert(key, ()).await;
            return Ok(bytes);
        }
        return Err(failed(Fault::NotFound));
    }
    let bytes = upstream.blob(repository, digest, descriptor.size_bytes).await.map_err(failed)?;
    keep_blob(&inner.blobs, *digest, bytes.clone()).await?;
    present.insert(key, ()).await;
    Ok(bytes)
}

/// Reads from the cache on disk.
pub(super) async fn read_blob(blobs: &Blobs, digest: Digest) -> Result<Option<Bytes>, Trouble> {
    let blobs = blobs.clone();
    let read = tokio::task::spawn_blocking(move || blobs.read(&digest)).await;
    read.expect("reading the cache does not panic")
        .map_err(|source| Trouble::disk(format!("reading cached blob `{digest}`"), source))
}

async fn keep_blob(blobs: &Blobs, digest: Digest, bytes: Bytes) -> Result<(), Trouble> {
    let blobs = blobs.clone();
    let kept = tokio::task::spawn_blocking(move || blobs.keep(&digest, &bytes)).await;
    kept.expect("writing the cache does not panic")
        .map_err(|source| Trouble::disk(format!("caching blob `{digest}`"), source))
}

fn reading_manifest(repository: &str, name: &str) -> String {
    let separator = if name.contains(':') { '@' } else { ':' };
    format!("reading the manifest of `{repository}{separator}{name}`")
}

fn registry_trouble(upstream: &Upstream, doing: String, fault: Fault) -> Trouble {
    Trouble::Registry { upstream: upstream.name.clone(), doing, fault }
}

/// Cold bytes are counted in pieces, because a semaphore counts in `u32`.
const COLD_PIECE_BYTES: u64 = 64 << 10;
/// [`COLD_BYTES`] in pieces.
const COLD_PIECES: usize = (COLD_BYTES / COLD_PIECE_BYTES) as usize;
