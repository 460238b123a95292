//! From a reference to bytes: tag to digest once, then manifest, config, component, each hashed by us.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use moka::future::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::case::{
    ArtifactFacts, Candidates, ComponentFacts, ConfigFacts, Defect, Digest, LayerFacts, Reference, Timestamp,
};

use super::Inner;
use super::application::{self, Application};
use super::artifact::Body;
use super::budgets::{
    ARTIFACTS_HELD_BYTES, BLOBS_PRESENT, INDEX_DEPTH, LAYERS_AT_ONCE, MANIFEST_BYTES, MANIFESTS_HELD_BYTES,
    PRESENCE_LIFE, TAGS,
};
use super::config;
use super::document::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST, invalid, over_limit, shown};
use super::fault::{Fault, Trouble};
use super::fetch::Answer;
use super::flight::Flights;
use super::manifest::Manifest;
use super::referrers::Attachments;
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
    searches: Flights<Arc<Candidates>>,
    /// Manifests that are fetched again for somebody who may have them.
    pub manifest_fetches: Flights<Served>,
    /// Blobs likewise.
    pub fetches: Flights<()>,
    /// Referrers that somebody asks for.
    pub attachments: Flights<Arc<Attachments>>,
    cold: Arc<Semaphore>,
    cold_pieces: u32,
}

/// Upstream, repository, and a name in it.
pub(super) type Key<T> = (String, String, T);

#[derive(Clone, Debug)]
struct Tag {
    digest: Digest,
    seen_at: Timestamp,
}

/// A manifest as the repository served it.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// Its bytes.
    pub bytes: Bytes,
    /// What the repository calls them.
    pub content_type: String,
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
    pub fn new(tag_life_s: u64, cold_max_bytes: u64) -> Self {
        let cold_pieces = u32::try_from(cold_max_bytes.div_ceil(COLD_PIECE_BYTES)).unwrap_or(u32::MAX).max(1);
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
                    weight(
                        body.manifest.len()
                            + body.indexes.iter().map(Bytes::len).sum::<usize>()
                            + body.components.iter().map(Bytes::len).sum::<usize>(),
                    )
                })
                .time_to_live(PRESENCE_LIFE)
                .build(),
            present: Cache::builder().max_capacity(BLOBS_PRESENT).time_to_live(PRESENCE_LIFE).build(),
            searches: Flights::new(),
            manifest_fetches: Flights::new(),
            fetches: Flights::new(),
            attachments: Flights::new(),
            cold: Arc::new(Semaphore::new(cold_pieces as usize)),
            cold_pieces,
        }
    }

    fn fresh(&self, tag: &Tag, now: Timestamp) -> bool {
        let age_s = now.as_second() - tag.seen_at.as_second();
        u64::try_from(age_s).is_ok_and(|age_s| age_s < self.tag_life_s)
    }

    /// One search for evidence at a time: who asks while it is under way waits for the same one, who asks later begins anew.
    pub async fn one_search(
        &self,
        upstream: &Upstream,
        repository: &str,
        subject: &Digest,
        search: impl Future<Output = Result<Candidates, Trouble>>,
    ) -> Result<Candidates, Trouble> {
        let key = (upstream.name.clone(), repository.to_owned(), *subject);
        // Nothing is remembered: evidence that is added or withdrawn counts at once.
        let found = self.searches.one(key, async { Box::pin(search).await.map(Arc::new) }).await?;
        Ok(Arc::unwrap_or_clone(found))
    }

    /// A manifest that this repository served a moment ago.
    pub async fn served(&self, key: &Key<Digest>) -> Option<Served> {
        self.manifests.get(key).await
    }

    /// Forgets a manifest.
    pub async fn forget(&self, key: &Key<Digest>) {
        self.manifests.invalidate(key).await;
    }

    /// Waits until `size_bytes` more may be under way, or all that may if they are more than that. Whoever holds some asks for
    /// no more, so nobody waits for one that waits.
    pub async fn cold(
        &self,
        upstream: &Upstream,
        size_bytes: u64,
        doing: &str,
    ) -> Result<OwnedSemaphorePermit, Trouble> {
        let pieces = u32::try_from(size_bytes.div_ceil(COLD_PIECE_BYTES)).unwrap_or(u32::MAX).min(self.cold_pieces);
        let after = upstream.budgets.cold_queue;
        let permit = self.cold.clone().acquire_many_owned(pieces);
        let none = |_| registry_trouble(upstream, doing.to_owned(), Fault::NoRoom { after });
        let permit = timeout(after, permit).await.map_err(none)?;
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
    let digest = digest(inner, upstream, reference, now).await?;
    by_digest(inner, upstream, reference.repository(), digest).await
}

/// The digest that `reference` means at `now`.
pub(super) async fn digest(
    inner: &Inner,
    upstream: &Upstream,
    reference: &Reference,
    now: Timestamp,
) -> Result<Digest, Trouble> {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Ok(*digest),
        (None, Some(tag)) => digest_of_tag(inner, upstream, reference.repository(), tag, now).await,
        (None, None) => unreachable!("a reference has a tag or a digest"),
    }
}

/// What a digest of a repository leads to.
pub(super) async fn by_digest(
    inner: &Inner,
    upstream: &Upstream,
    repository: &str,
    digest: Digest,
) -> Result<Arc<Body>, Trouble> {
    let key = (upstream.name.clone(), repository.to_owned(), digest);
    let cache = &inner.memory.artifacts;
    let held = cache.try_get_with(key.clone(), async { body(inner, upstream, repository, digest).await.map(Held) });
    let Held(body) = Box::pin(held).await.map_err(|trouble| Trouble::clone(&trouble))?;
    // Part of a defect was the registry's `Content-Type`, which may be mended; what takes room is not held beyond its decision.
    if !body.facts.defects.is_empty() || body.cold.is_some() {
        cache.invalidate(&key).await;
        // Else the room stays taken until somebody asks for something else, and who waits for it asks for nothing.
        cache.run_pending_tasks().await;
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

/// The artifact of a digest: through indexes, if there are any, to the one manifest that is a component's.
async fn body(inner: &Inner, upstream: &Upstream, repository: &str, digest: Digest) -> Result<Arc<Body>, Trouble> {
    let mut served = serve(inner, upstream, repository, digest).await?;
    let (mut digest, mut indexes) = (digest, Vec::new());
    let mut manifest = Manifest::judge(&served.bytes, &served.content_type);
    while let Some(child) = manifest.child.take() {
        if indexes.len() == INDEX_DEPTH {
            let detail = format!("an index below {INDEX_DEPTH} others");
            manifest.defects.push(over_limit("manifests", detail));
            break;
        }
        let below = serve(inner, upstream, repository, child.digest).await?;
        if let Err(defect) = announced(&child, &below) {
            // The bytes are what the digest says, so it is the index that lies.
            manifest.defects.push(defect);
            break;
        }
        indexes.push((digest, std::mem::replace(&mut served, below).bytes));
        digest = child.digest;
        manifest = Manifest::judge(&served.bytes, &served.content_type);
    }
    leaf(inner, upstream, repository, Found { digest, served, indexes, manifest }).await
}

/// What a digest led to.
struct Found {
    digest: Digest,
    served: Served,
    indexes: Vec<(Digest, Bytes)>,
    manifest: Manifest,
}

/// Whether a child is as long as its index says, and of the kind.
fn announced(child: &Descriptor, below: &Served) -> Result<(), Defect> {
    let found = below.bytes.len() as u64;
    if found != child.size_bytes {
        return Err(invalid("manifests", format!("`{}` has {found} bytes, not {}", child.digest, child.size_bytes)));
    }
    if below.content_type != child.media_type {
        let found = shown(&below.content_type);
        return Err(invalid("manifests", format!("`{}` is `{found}`, not `{}`", child.digest, child.media_type)));
    }
    Ok(())
}

/// A manifest by its digest; it comes from memory only if this repository served it.
pub(super) async fn serve(
    inner: &Inner,
    upstream: &Upstream,
    repository: &str,
    digest: Digest,
) -> Result<Served, Trouble> {
    let key = (upstream.name.clone(), repository.to_owned(), digest);
    if let Some(served) = inner.memory.manifests.get(&key).await {
        return Ok(served);
    }
    let answer = ask_manifest(upstream, repository, &digest.to_string()).await?;
    if answer.digest != digest {
        let fault = Fault::DigestMismatch { expected: digest, found: answer.digest };
        return Err(registry_trouble(upstream, reading_manifest(repository, &digest.to_string()), fault));
    }
    Ok(remember(inner, upstream, repository, answer).await)
}

/// What was found, with every blob that it names: hashed, kept, judged.
async fn leaf(inner: &Inner, upstream: &Upstream, repository: &str, found: Found) -> Result<Arc<Body>, Trouble> {
    let Found { digest, served, indexes, mut manifest } = found;
    let place = Repository { inner, upstream, repository };
    let named = manifest.named();
    let size_bytes = named.iter().map(|part| part.size_bytes).sum();
    let doing = format!("reading what the manifest `{digest}` of `{repository}` names");
    let cold = inner.memory.cold(upstream, size_bytes, &doing).await?;
    let content = place.content(&manifest).await?;
    let is_counted = |bytes: &Bytes| named.iter().any(|part| inner.store.counts(&part.digest, bytes));
    let counted = content.as_ref().is_ok_and(|content| content.components.iter().all(is_counted));
    let content = content.unwrap_or_else(|defect| {
        manifest.defects.push(defect);
        Content::default()
    });
    let (index_digests, indexes): (Vec<_>, Vec<_>) = indexes.into_iter().unzip();
    if !manifest.defects.is_empty() {
        manifest.forget_content();
        for digest in index_digests.iter().chain([&digest]) {
            inner.memory.manifests.invalidate(&(upstream.name.clone(), repository.to_owned(), *digest)).await;
        }
    }
    let component = |layer: Descriptor| ComponentFacts {
        digest: layer.digest,
        size_bytes: layer.size_bytes,
        media_type: layer.media_type,
    };
    let layer = |layer: Descriptor| LayerFacts {
        digest: layer.digest,
        size_bytes: layer.size_bytes,
        media_type: layer.media_type,
    };
    let (components, carried) =
        manifest.application.map(|application| (application.components, application.carried)).unwrap_or_default();
    let facts = ArtifactFacts {
        digest,
        indexes: index_digests,
        media_type: manifest.media_type,
        size_bytes: served.bytes.len() as u64,
        annotations: manifest.annotations,
        config: manifest.config.map(|config| ConfigFacts {
            media_type: config.media_type,
            digest: config.digest,
            claimed_imports: content.claimed_imports,
        }),
        component: manifest.component.map(component),
        components: components.into_iter().map(component).collect(),
        carried: carried.into_iter().map(layer).collect(),
        native: manifest.native.map(layer),
        defects: manifest.defects,
    };
    Ok(Arc::new(Body {
        facts,
        manifest: served.bytes,
        indexes,
        components: content.components,
        cold: (!counted).then_some(cold),
    }))
}

/// What the blobs of a manifest hold.
#[derive(Default)]
struct Content {
    claimed_imports: Option<Vec<String>>,
    components: Vec<Bytes>,
}

/// Where blobs are read from.
struct Repository<'a> {
    inner: &'a Inner,
    upstream: &'a Upstream,
    repository: &'a str,
}

impl Repository<'_> {
    /// Reads everything that a manifest without defects names; then a defect is in the bytes.
    async fn content(&self, manifest: &Manifest) -> Result<Result<Content, Defect>, Trouble> {
        let Some(config) = manifest.config.as_ref().filter(|_| manifest.defects.is_empty()) else {
            return Ok(Ok(Content::default()));
        };
        match (&manifest.component, &manifest.application, &manifest.native) {
            (Some(layer), ..) => {
                let (component, bytes) = futures::try_join!(self.blob(layer), self.blob(config))?;
                let claimed = config::claimed_imports(&bytes, &config.media_type, &layer.digest);
                Ok(claimed.map(|claimed_imports| Content { claimed_imports, components: vec![component] }))
            }
            (_, Some(application), _) => self.application(config, application).await,
            (.., Some(native)) => {
                futures::try_join!(self.blob(native), self.blob(config))?;
                Ok(Ok(Content::default()))
            }
            _ => Ok(Ok(Content::default())),
        }
    }

    /// The components of an application; all else in it is read, kept and dropped.
    async fn application(
        &self,
        config: &Descriptor,
        application: &Application,
    ) -> Result<Result<Content, Defect>, Trouble> {
        let description = self.blob(&application.description).await?;
        if let Err(defect) = application.check_description(&description) {
            return Ok(Err(defect));
        }
        let carried = [config].into_iter().chain(&application.carried).map(|layer| async move {
            let bytes = self.blob(layer).await?;
            Ok::<_, Trouble>(application::check_carried(layer, &bytes))
        });
        // Collected first: an iterator of futures that borrow it would have to live as long as they do.
        let carried: Vec<_> = carried.collect();
        let judged: Vec<_> = stream::iter(carried).buffered(LAYERS_AT_ONCE).try_collect().await?;
        if let Some(defect) = judged.into_iter().find_map(Result::err) {
            return Ok(Err(defect));
        }
        let components: Vec<_> = application.components.iter().map(|layer| self.blob(layer)).collect();
        let components = stream::iter(components).buffered(LAYERS_AT_ONCE).try_collect().await?;
        Ok(Ok(Content { claimed_imports: None, components }))
    }

    async fn blob(&self, layer: &Descriptor) -> Result<Bytes, Trouble> {
        Box::pin(blob(self.inner, self.upstream, self.repository, layer.into())).await
    }
}

async fn ask_manifest(upstream: &Upstream, repository: &str, name: &str) -> Result<Answer, Trouble> {
    let url = upstream.endpoint(repository, "manifests", name);
    let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
    upstream.metadata(&url, repository, &accept, MANIFEST_BYTES).await.map_err(|fault| match fault {
        Fault::NotFound => Trouble::Unknown,
        fault => registry_trouble(upstream, reading_manifest(repository, name), fault),
    })
}

pub(super) async fn remember(inner: &Inner, upstream: &Upstream, repository: &str, answer: Answer) -> Served {
    let served = Served { bytes: answer.bytes, content_type: answer.content_type };
    let key = (upstream.name.clone(), repository.to_owned(), answer.digest);
    inner.memory.manifests.insert(key, served.clone()).await;
    served
}

/// A blob that a manifest names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub digest: Digest,
    pub size_bytes: u64,
}

impl From<&Descriptor> for Wanted {
    fn from(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest, size_bytes: descriptor.size_bytes }
    }
}

/// The bytes of a blob that a manifest of this repository names: from the cache if the repository holds it, else from there.
pub(super) async fn blob(
    inner: &Inner,
    upstream: &Upstream,
    repository: &str,
    wanted: Wanted,
) -> Result<Bytes, Trouble> {
    let digest = &wanted.digest;
    let failed = |fault| registry_trouble(upstream, format!("reading blob `{digest}` of `{repository}`"), fault);
    let key = (upstream.name.clone(), repository.to_owned(), *digest);
    let present = &inner.memory.present;
    let held = inner.store.whole(*digest).await?.filter(|bytes| bytes.len() as u64 == wanted.size_bytes);
    if let Some(bytes) = held {
        // Naming another repository's blob must not be a way to read it.
        if present.contains_key(&key) {
            return Ok(bytes);
        }
        match upstream.holds_blob(repository, digest).await {
            Ok(true) => {
                present.insert(key, ()).await;
                return Ok(bytes);
            }
            Ok(false) => return Err(failed(Fault::NotFound)),
            // Some stores sign their redirects for GET alone: ask for the bytes, then.
            Err(_) => {}
        }
    }
    let bytes = upstream.blob(repository, digest, wanted.size_bytes).await.map_err(failed)?;
    let bytes = inner.store.keep(*digest, bytes).await?;
    present.insert(key, ()).await;
    Ok(bytes)
}

fn reading_manifest(repository: &str, name: &str) -> String {
    let separator = if name.contains(':') { '@' } else { ':' };
    format!("reading the manifest of `{repository}{separator}{name}`")
}

pub(super) fn registry_trouble(upstream: &Upstream, doing: String, fault: Fault) -> Trouble {
    Trouble::Registry { upstream: upstream.name.clone(), doing, fault }
}

/// Cold bytes are counted in pieces, because a semaphore counts in `u32`.
const COLD_PIECE_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests;
