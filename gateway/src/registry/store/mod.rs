//! Verified blobs by their digest: in memory, else on disk or in the store that replicas share, hashed again at each reading.

mod blob;
mod files;
mod lru;
mod memory;
mod objects;
mod scrub;
mod seal;
#[cfg(test)]
mod store_tests;
mod turns;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::budgets::{LOADS_AT_ONCE, SEALS_BYTES, WRITES_AT_ONCE};
use super::fault::Trouble;
use super::settings::{Settings, StartError};
use crate::case::Digest;

pub use blob::Blob;
use blob::Sealed;
use files::{Files, Opened};
use memory::Memory;
use objects::Objects;
use scrub::Scrub;
use seal::{Identity, Seal};
use turns::Turns;

/// Blobs that were hashed. What is in memory was hashed when it came and cannot change; what is on disk is believed by
/// nobody: it is hashed whole before the first byte of it is given, and piece by piece as it is given.
#[derive(Clone, Debug)]
pub(super) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    memory: Memory,
    /// What the pieces of files hash to that are larger than the memory there is.
    seals: Cache<Digest, (Identity, Arc<Seal>)>,
    turns: Turns,
    /// What replicas share, and who asks it for which digest.
    objects: Option<Objects>,
    asking: Turns,
    loads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    scrub: Scrub,
}

impl Store {
    /// Opens the cache in `folder`, which belongs to this process alone.
    pub fn open(folder: &Path, settings: &Settings) -> Result<Self, StartError> {
        let connect = Duration::from_millis(settings.connect_timeout_ms);
        let objects = settings.store.as_ref().map(|store| Objects::open(store, connect)).transpose()?;
        let files = Files::open(folder, settings.cache_max_bytes)
            .map_err(|source| StartError::Cache { path: folder.to_owned(), source })?;
        let seals = Cache::builder()
            .max_capacity(SEALS_BYTES)
            .weigher(|_, (_, seal): &(Identity, Arc<Seal>)| seal.weight_bytes())
            .build();
        Ok(Self(Arc::new(Inner {
            files,
            memory: Memory::new(settings.memory_max_bytes),
            seals,
            turns: Turns::default(),
            objects,
            asking: Turns::default(),
            loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)),
            writes: Arc::new(Semaphore::new(WRITES_AT_ONCE)),
            scrub: Scrub::new(settings.scrub_bytes_per_s),
        })))
    }

    /// The blob of `digest`, hashed; none if it is not held, or its file has other bytes by now, which is set aside.
    ///
    /// Many who ask for one blob at once cost one reading of its file. A caller that leaves does not stop it.
    pub async fn blob(&self, digest: Digest) -> Result<Option<Blob>, Trouble> {
        if let Some(blob) = self.own_blob(digest).await? {
            return Ok(Some(blob));
        }
        let Some(objects) = &self.0.objects else { return Ok(None) };
        let _turn = self.0.asking.take(digest).await;
        if let Some(blob) = self.own_blob(digest).await? {
            return Ok(Some(blob));
        }
        let _place = self.0.loads.acquire().await.expect("the semaphore of loads is never closed");
        let Some(bytes) = objects.bytes(&digest).await? else { return Ok(None) };
        metrics::counter!("witgate_store_reads_total", "from" => "objects").increment(1);
        Ok(Some(Blob::in_memory(digest, self.keep_own(digest, bytes).await?)))
    }

    /// The same of the own cache alone.
    async fn own_blob(&self, digest: Digest) -> Result<Option<Blob>, Trouble> {
        if let Some(blob) = self.in_memory(digest) {
            return Ok(Some(blob));
        }
        let turn = self.0.turns.take(digest).await;
        if let Some(blob) = self.in_memory(digest) {
            return Ok(Some(blob));
        }
        let place = self.0.loads.clone().acquire_owned().await.expect("the semaphore of loads is never closed");
        let store = self.clone();
        let failed = |source| Trouble::disk(format!("reading cached blob `{digest}`"), source);
        let load = tokio::task::spawn_blocking(move || {
            let _held = (turn, place);
            store.load(digest)
        });
        load.await.map_err(|gone| failed(gone.into()))?.map_err(failed)
    }

    /// The bytes of `digest` in one piece; none if they are not held.
    pub async fn whole(&self, digest: Digest) -> Result<Option<Bytes>, Trouble> {
        match self.blob(digest).await? {
            Some(blob) => blob.whole().await,
            None => Ok(None),
        }
    }

    /// Whether these are the bytes that memory holds under `digest`, and so are counted there.
    pub fn counts(&self, digest: &Digest, bytes: &Bytes) -> bool {
        self.0.memory.bytes(digest).is_some_and(|held| std::ptr::eq(held.as_ptr(), bytes.as_ptr()))
    }

    /// Keeps bytes that the caller has hashed: on disk, in memory if there is room, for the other replicas; gives them back.
    pub async fn keep(&self, digest: Digest, bytes: Bytes) -> Result<Bytes, Trouble> {
        if let Some(objects) = &self.0.objects {
            objects.put(&digest, bytes.clone()).await?;
        }
        self.keep_own(digest, bytes).await
    }

    /// What there is room for in memory is there at once, and on disk a moment later: nobody waits for the disk, and what is
    /// not written yet is not evicted. Where the disk cannot follow, whoever brings more waits for it.
    async fn keep_own(&self, digest: Digest, bytes: Bytes) -> Result<Bytes, Trouble> {
        let claim = self.0.memory.claim(bytes.len() as u64);
        let later = claim.is_some().then(|| self.0.writes.clone().try_acquire_owned().ok()).flatten();
        let bytes = match claim {
            Some(claim) => self.0.memory.put(digest, bytes, claim),
            None => bytes,
        };
        let (files, written) = (self.0.files.clone(), bytes.clone());
        let Some(place) = later else {
            let failed = |source| Trouble::disk(format!("caching blob `{digest}`"), source);
            let kept = tokio::task::spawn_blocking(move || files.keep(&digest, &written)).await;
            kept.map_err(|gone| failed(gone.into()))?.map_err(failed)?;
            return Ok(bytes);
        };
        drop(tokio::task::spawn_blocking(move || {
            let _place = place;
            if let Err(error) = files.keep(&digest, &written) {
                tracing::warn!(blob.digest = %digest, %error, "a blob is not cached on disk and will be fetched again");
                metrics::counter!("witgate_store_write_errors_total").increment(1);
            }
        }));
        Ok(bytes)
    }

    /// Waits until everything that was kept is on disk.
    #[cfg(test)]
    pub async fn settled(&self) {
        let all = u32::try_from(WRITES_AT_ONCE).expect("a few");
        drop(self.0.writes.acquire_many(all).await.expect("the semaphore of writes is never closed"));
    }

    /// Sets the gauges of what is held.
    pub fn measure(&self) {
        #[allow(clippy::cast_precision_loss, reason = "bytes stay below 2^52")]
        let set = |of: &'static str, bytes: u64| metrics::gauge!("witgate_store_bytes", "in" => of).set(bytes as f64);
        set("memory", self.0.memory.claimed_bytes());
        set("disk", self.0.files.held_bytes());
    }

    fn in_memory(&self, digest: Digest) -> Option<Blob> {
        let bytes = self.0.memory.bytes(&digest)?;
        self.0.files.used(&digest);
        metrics::counter!("witgate_store_reads_total", "from" => "memory").increment(1);
        Some(Blob::in_memory(digest, bytes))
    }

    /// From disk: into memory if there is room for it, else as a file with its seal.
    fn load(&self, digest: Digest) -> io::Result<Option<Blob>> {
        let Some(opened) = self.0.files.file(&digest)? else { return Ok(None) };
        self.0.files.used(&digest);
        self.0.files.tell(&digest, &opened);
        metrics::counter!("witgate_store_reads_total", "from" => "disk").increment(1);
        if let Some(claim) = self.0.memory.claim(opened.identity().size_bytes()) {
            if let Some(bytes) = opened.whole(&digest)? {
                return Ok(Some(Blob::in_memory(digest, self.0.memory.put(digest, bytes, claim))));
            }
        } else if let Some(seal) = self.seal(digest, &opened)? {
            return Ok(Some(Blob::in_file(Sealed { opened, seal, store: self.clone(), digest })));
        }
        self.altered(&digest, &opened)?;
        Ok(None)
    }

    /// The seal of a file, made anew if the file is not the one that was hashed before.
    fn seal(&self, digest: Digest, opened: &Opened) -> io::Result<Option<Arc<Seal>>> {
        if let Some((identity, seal)) = self.0.seals.get(&digest)
            && identity == opened.identity()
        {
            return Ok(Some(seal));
        }
        let seal = opened.seal(&digest)?.map(Arc::new);
        if let Some(seal) = &seal {
            self.0.seals.insert(digest, (opened.identity(), seal.clone()));
        }
        Ok(seal)
    }

    /// A file has other bytes than its digest says: nobody is to read it again.
    fn altered(&self, digest: &Digest, opened: &Opened) -> io::Result<()> {
        self.0.seals.invalidate(digest);
        self.0.files.set_aside(digest, opened)
    }
}
