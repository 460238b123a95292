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
    pub fetches: Flights<Bytes>,
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
    pub async fn cold(&self, upstream: &Upstream, size_bytes: u64) -> Result<OwnedSemaphorePermit, Fault> {
        let pieces = u32::try_from(size_bytes.div_ceil(COLD_PIECE_BYTES)).unwrap_or(u32::MAX).min(self.cold_pieces);
        let after = upstream.budgets.cold_queue;
        let permit = self.cold.clone().acquire_many_owned(pieces);
        let permit = timeout(after, permit).await.map_err(|_| Fault::Busy { after })?;
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
    let doing = || format!("reading what the manifest `{digest}` of `{repository}` names");
    let cold = inner.memory.cold(upstream, size_bytes).await;
    let cold = cold.map_err(|fault| registry_trouble(upstream, doing(), fault))?;
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
mod tests {
    use serde_json::json;

    use crate::outage::{NoAnswer, Peer as OutagePeer};
    use crate::reason::Code;
    use crate::registry::budgets::Budgets;
    use crate::registry::budgets::COMPONENT_BYTES;
    use crate::registry::peer::{self, Peer, Pushed, Reply, Stage, descriptor};
    use crate::registry::{Registry, Settings, UpstreamSettings};

    use super::*;

    #[tokio::test]
    async fn a_tag_becomes_an_artifact_whose_bytes_are_there() {
        let peer = Peer::start().await;
        let pushed = Pushed::new("acme/cart", b"component").on(&peer, "1");
        let stage = Stage::bare();
        let artifact = stage.resolve(&peer, "acme/cart:1").await.unwrap();
        assert_eq!((*artifact.digest(), artifact.manifest().as_ref()), (pushed.digest(), &*pushed.manifest));
        assert_eq!(artifact.component().unwrap(), &b"component"[..]);
        let facts = artifact.facts();
        assert_eq!((facts.defects.len(), facts.size_bytes), (0, pushed.manifest.len() as u64));
        let component = facts.component.as_ref().unwrap();
        assert_eq!((component.digest, component.size_bytes), (Digest::of(b"component"), 9));
        let claimed = facts.config.as_ref().unwrap().claimed_imports.clone();
        assert_eq!(claimed, Some(vec!["wasi:http/types@0.2.3".into()]));
        assert_eq!(artifact.reference_facts().tag.as_deref(), Some("1"));
        assert_eq!(stage.held(&component.digest).await.unwrap(), &b"component"[..]);
        assert_eq!(stage.held(&Digest::of(b"other")).await, None);
        // One for the manifest, two for the blobs: the digest of the tag is that of the bytes that came with it.
        assert_eq!(peer.asked().len(), 3);
    }

    #[tokio::test]
    async fn a_tag_is_believed_for_its_life_only() {
        let peer = Peer::start().await;
        let a = Pushed::new("acme/cart", b"a").on(&peer, "1");
        let stage = Stage::bare();
        let digest_at = async |now_s| *stage.resolve_at(&peer, "acme/cart:1", now_s).await.unwrap().digest();
        assert_eq!(digest_at(1000).await, a.digest());
        let b = Pushed::new("acme/cart", b"b").on(&peer, "1");
        assert_eq!(digest_at(1029).await, a.digest());
        assert_eq!(digest_at(1030).await, b.digest());
        let c = Pushed::new("acme/cart", b"c").on(&peer, "1");
        assert_eq!(digest_at(1029).await, c.digest(), "a clock that goes back is no reason to believe a tag");

        let always = Stage::of(&Settings { tag_life_s: 0, ..Settings::default() }, Budgets::default());
        let before = peer.times("/v2/acme/cart/manifests/1");
        for _ in 0..3 {
            always.resolve_at(&peer, "acme/cart:1", 1000).await.unwrap();
        }
        assert_eq!(peer.times("/v2/acme/cart/manifests/1"), before + 3);
    }

    #[tokio::test]
    async fn a1_1_the_tag_is_asked_for_once_whatever_it_does_then() {
        let peer = Peer::start().await;
        let a = Pushed::new("acme/cart", b"a").on(&peer, "1");
        // The digest decides even when the tag says something else by now.
        let b = Pushed::new("acme/cart", b"b").on(&peer, "1");
        let artifact = Stage::bare().resolve(&peer, &format!("acme/cart:1@{}", a.digest())).await.unwrap();
        assert_eq!((*artifact.digest(), artifact.component().unwrap().as_ref()), (a.digest(), &b"a"[..]));
        assert_eq!(peer.times("/v2/acme/cart/manifests/1"), 0);
        let artifact = Stage::bare().resolve(&peer, "acme/cart:1").await.unwrap();
        assert_eq!((*artifact.digest(), artifact.component().unwrap().as_ref()), (b.digest(), &b"b"[..]));
        assert_eq!(peer.times("/v2/acme/cart/manifests/1"), 1);
    }

    #[tokio::test]
    async fn a2_1_another_manifest_under_a_digest_is_an_outage_with_both() {
        let peer = Peer::start().await;
        let (a, b) = (Pushed::new("x", b"a").on(&peer, "a"), Pushed::new("x", b"b").on(&peer, "b"));
        peer.on(a.manifest_path(&a.digest().to_string()), Reply::ok(OCI_MANIFEST, b.manifest.clone()));
        let stage = Stage::bare();
        let outage = stage.outage(&peer, &format!("x@{}", a.digest())).await;
        assert_eq!(outage.peer, OutagePeer::Registry(peer.name.clone()));
        for digest in [a.digest(), b.digest()] {
            assert!(outage.chain().contains(&digest.to_string()), "{}", outage.chain());
        }
        // Nothing of it was kept: an honest answer counts at once.
        let a = Pushed::new("x", b"a").on(&peer, "a");
        assert_eq!(*stage.resolve(&peer, &format!("x@{}", a.digest())).await.unwrap().digest(), a.digest());
    }

    #[tokio::test]
    async fn what_hashes_right_but_is_wrong_is_an_artifact_with_a_defect() {
        let peer = Peer::start().await;
        let stage = Stage::bare();
        let other = json!({"layerDigests": [Digest::of(b"other").to_string()]}).to_string().into_bytes();
        let mismatch = Pushed::with_config("x", b"a", other).on(&peer, "mismatch");
        let mut two = Pushed::new("x", b"a");
        two.manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.wasm.config.v0+json", &two.config),
            "layers": [descriptor("application/wasm", b"a"), descriptor("application/wasm", b"b")],
        })
        .to_string()
        .into_bytes();
        let two = two.on(&peer, "two");
        let mut huge = Pushed::new("x", b"a");
        huge.manifest = String::from_utf8(huge.manifest).unwrap().replace("\"size\":1,", "\"size\":9,").into_bytes();
        huge.manifest =
            String::from_utf8(huge.manifest).unwrap().replace("\"size\":1}", "\"size\":268435457}").into_bytes();
        let huge = huge.on(&peer, "huge");
        for (tag, pushed, code) in [
            ("mismatch", &mismatch, Code::CONFIG_MISMATCH),
            ("two", &two, Code::ARTIFACT_UNSUPPORTED),
            ("huge", &huge, Code::LIMIT_EXCEEDED),
        ] {
            let artifact = stage.resolve(&peer, &format!("x:{tag}")).await.unwrap();
            let facts = artifact.facts();
            assert_eq!((facts.digest, &facts.defects[0].code), (pushed.digest(), &code), "{tag}");
            assert!(artifact.component().is_none() && facts.component.is_none(), "{tag} has a component");
        }
        assert_eq!(peer.times(&two.layer_path()), 1, "read for `mismatch` alone");
    }

    #[tokio::test]
    async fn what_a_wrong_content_type_made_a_defect_is_not_remembered() {
        let peer = Peer::start().await;
        let pushed = Pushed::new("x", b"a").on(&peer, "1");
        let stage = Stage::bare();
        peer.on(pushed.manifest_path("1"), Reply::ok("text/plain", pushed.manifest.clone()));
        let artifact = stage.resolve_at(&peer, "x:1", 1000).await.unwrap();
        assert_eq!(artifact.facts().defects[0].code, Code::MANIFEST_INVALID);
        pushed.on(&peer, "1");
        assert_eq!(stage.resolve_at(&peer, "x:1", 1001).await.unwrap().facts().defects, []);
    }

    #[tokio::test]
    async fn a2_4_an_altered_cached_file_is_fetched_again() {
        let peer = Peer::start().await;
        let pushed = Pushed::new("x", b"component").on(&peer, "1");
        let stage = Stage::bare();
        stage.resolve(&peer, "x:1").await.unwrap();
        let digest = Digest::of(b"component");
        let file = stage.folder.path().join("blobs/sha256").join(digest.hex());
        std::fs::write(&file, b"komponent").unwrap();
        assert_eq!(stage.held(&digest).await.unwrap(), &b"component"[..], "what is in memory was hashed when it came");
        let again = Registry::open(&Settings::default(), stage.folder.path()).unwrap();
        assert!(again.held(&digest).await.unwrap().is_none());
        std::fs::write(&file, b"komponent").unwrap();
        let reference = format!("{}/x:1", peer.name).parse().unwrap();
        let artifact = Box::pin(again.resolve(&reference, Timestamp::UNIX_EPOCH)).await.unwrap();
        assert_eq!(artifact.component().unwrap(), &b"component"[..]);
        assert_eq!(peer.times(&pushed.layer_path()), 2);
        let held = again.held(&digest).await.unwrap().unwrap();
        assert_eq!(peer::all(&held).await, &b"component"[..]);
    }

    #[tokio::test]
    async fn a29_a_cached_blob_is_no_way_to_read_another_repositorys() {
        let peer = Peer::start().await;
        let secret = Pushed::new("private/a", b"component").on(&peer, "1");
        let thief = Pushed::new("public/b", b"component").on(&peer, "1");
        peer.on(thief.layer_path(), Reply::status(404));
        let stage = Stage::bare();
        stage.resolve(&peer, "private/a:1").await.unwrap();
        let outage = stage.outage(&peer, "public/b:1").await;
        assert!(outage.to_string().contains("public/b"), "{outage}");
        // Once that repository holds it, one HEAD is all that it costs.
        let honest = Pushed::new("public/b", b"component").on(&peer, "1");
        stage.resolve(&peer, "public/b:1").await.unwrap();
        let methods: Vec<_> = peer
            .asked()
            .into_iter()
            .filter(|asked| asked.path == honest.layer_path())
            .map(|asked| asked.method)
            .collect();
        assert_eq!(methods, ["HEAD", "HEAD"]);
        assert_eq!(peer.times(&secret.layer_path()), 1);
    }

    #[tokio::test]
    async fn a_store_that_takes_no_head_is_asked_for_the_bytes() {
        let peer = Peer::start().await;
        Pushed::new("a", b"component").on(&peer, "1");
        let other = Pushed::new("b", b"component").on(&peer, "1");
        let stage = Stage::bare();
        stage.resolve(&peer, "a:1").await.unwrap();
        peer.refuse_head();
        stage.resolve(&peer, "b:1").await.unwrap();
        assert_eq!(peer.times(&other.layer_path()), 2);
    }

    #[tokio::test]
    async fn a_disk_that_fails_is_an_outage_of_our_own_where_memory_has_no_room() {
        let peer = Peer::start().await;
        Pushed::new("x", b"component").on(&peer, "1");
        let stage = Stage::of(&Settings { memory_max_bytes: 0, ..Settings::default() }, Budgets::default());
        std::fs::remove_dir(stage.folder.path().join("tmp")).unwrap();
        assert_eq!(stage.outage(&peer, "x:1").await.peer, OutagePeer::Internal);
        // What is in memory was hashed there: the disk only saves fetching it again.
        let stage = Stage::bare();
        std::fs::remove_dir(stage.folder.path().join("tmp")).unwrap();
        assert_eq!(stage.resolve(&peer, "x:1").await.unwrap().component().unwrap(), &b"component"[..]);
        assert_eq!(stage.held(&Digest::of(b"component")).await.unwrap(), b"component");
    }

    #[tokio::test]
    async fn a30_1_many_at_once_are_one_fetch() {
        let peer = Peer::start().await;
        let pushed = Pushed::new("x", b"component").on(&peer, "1");
        let stage = Stage::bare();
        let all = futures::future::join_all((0..200).map(|_| stage.resolve(&peer, "x:1"))).await;
        assert!(all.into_iter().all(|one| *one.unwrap().digest() == pushed.digest()));
        assert_eq!((peer.times("/v2/x/manifests/1"), peer.times(&pushed.layer_path()), peer.asked().len()), (1, 1, 3));
    }

    #[tokio::test]
    async fn what_is_not_there_is_unknown_while_a_refusal_is_an_outage() {
        let peer = Peer::start().await;
        let stage = Stage::bare();
        let unknown = stage.resolve(&peer, "x:none").await.unwrap_err();
        assert!(matches!(unknown, NoAnswer::UnknownReference { reference } if reference.ends_with("/x:none")));
        let missing = format!("x@{}", Digest::of(b"none"));
        assert!(matches!(stage.resolve(&peer, &missing).await, Err(NoAnswer::UnknownReference { .. })));
        for (status, hint) in [(403, "password_file"), (429, "ask again in 1 s")] {
            peer.on("/v2/x/manifests/1", Reply::status(status));
            let outage = Stage::bare().outage(&peer, "x:1").await;
            assert!(outage.hint.unwrap().contains(hint), "{status}");
        }
        peer.on("/v2/x/manifests/1", Reply::status(429).header("retry-after", "7"));
        assert_eq!(Stage::bare().outage(&peer, "x:1").await.hint.unwrap(), "ask again in 7 s");
        for status in [201, 204, 206, 301, 307, 400, 401, 405, 500, 503] {
            peer.on("/v2/x/manifests/1", Reply::status(status));
            stage.outage(&peer, "x:1").await;
        }
        let unlisted = "ghcr.io/x:1".parse().unwrap();
        let refused = stage.registry.resolve(&unlisted, Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert!(
            matches!(refused, NoAnswer::Unprocessable { detail } if detail.contains("[registry.upstreams.\"ghcr.io\"]"))
        );
    }

    #[tokio::test]
    async fn a17_1_a_reference_that_names_no_upstream_is_looked_up_nowhere() {
        let peer = Peer::start().await;
        Pushed::new("x", b"component").on(&peer, "1");
        let listed = Stage::with(&peer, UpstreamSettings::default());
        let port = peer.name.rsplit(':').next().unwrap();
        for host in [
            "169.254.169.254".into(),
            "[::ffff:127.0.0.1]".into(),
            format!("[::ffff:127.0.0.1]:{port}"),
            format!("localhost:{port}"),
            format!("2130706433:{port}"),
            format!("0x7f.1:{port}"),
            format!("0177.0.0.1:{port}"),
            format!("127.1:{port}"),
            format!("127.0.0.1.:{port}"),
            "localhost:22".into(),
            "unlisted.example".into(),
        ] {
            let Ok(reference) = format!("{host}/x:1").parse::<Reference>() else { continue };
            let refused = Box::pin(listed.registry.resolve(&reference, Timestamp::UNIX_EPOCH)).await.unwrap_err();
            assert!(matches!(refused, NoAnswer::Unprocessable { .. }), "{host}: {refused:?}");
        }
        assert!(peer.asked().is_empty(), "{:?}", peer.asked());
        listed.resolve(&peer, "x:1").await.unwrap();
    }

    #[tokio::test]
    async fn no_more_than_a_limit_is_under_way_from_all_upstreams() {
        let peer = Peer::start().await;
        let cold_queue = std::time::Duration::from_millis(20);
        let stage = Stage::of(&Settings::default(), Budgets { cold_queue, ..Budgets::default() });
        let upstream = stage.registry.inner.upstreams.of_registry(&peer.name).unwrap();
        let memory = &stage.registry.inner.memory;
        // The largest component is more than may be under way: it goes alone.
        let alone = memory.cold(&upstream, COMPONENT_BYTES).await.unwrap();
        assert!(matches!(memory.cold(&upstream, 1).await, Err(Fault::Busy { .. })));
        let pushed = Pushed::new("x", b"component").on(&peer, "1");
        assert!(stage.outage(&peer, "x:1").await.chain().contains("no free place"));
        assert_eq!(peer.times(&pushed.layer_path()), 0);
        drop(alone);
        let all = || memory.cold(&upstream, Settings::default().cold_max_bytes);
        // What the store's memory counts takes no more room once it is there; what it has no room for does, until it is decided.
        let held = stage.resolve(&peer, "x:1").await.unwrap();
        drop(all().await.unwrap());
        drop(held);
        let settings = Settings { memory_max_bytes: 0, ..Settings::default() };
        let stage = Stage::of(&settings, Budgets { cold_queue, ..Budgets::default() });
        let memory = &stage.registry.inner.memory;
        let all = || memory.cold(&upstream, Settings::default().cold_max_bytes);
        let held = stage.resolve(&peer, "x:1").await.unwrap();
        assert!(all().await.is_err(), "it is held and not counted");
        drop(held);
        drop(all().await.unwrap());
    }

    #[tokio::test]
    async fn a_missing_blob_of_a_known_manifest_is_an_outage() {
        let peer = Peer::start().await;
        let pushed = Pushed::new("x", b"component").on(&peer, "1");
        peer.on(pushed.layer_path(), Reply::status(404));
        let outage = Stage::bare().outage(&peer, "x:1").await;
        assert!(outage.chain().contains(&Digest::of(b"component").to_string()), "{}", outage.chain());
    }
}
