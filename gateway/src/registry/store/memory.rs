//! Verified bytes in memory, never more of them than a limit, whoever holds them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::lru::Lru;
use crate::case::Digest;

/// Whole blobs by their digest. A blob counts against the limit for as long as anybody has its bytes, a slow reader as well
/// as this cache; what a reader has is never evicted, for that would free nothing.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_bytes: u64,
    /// Only ever raised under the lock of `held`.
    claimed_bytes: Arc<AtomicU64>,
    held: Mutex<Lru<Arc<Whole>>>,
}

/// The right to some bytes of memory, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claimed_bytes: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claimed_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A blob with its claim: the owner of every [`Bytes`] made of it.
#[derive(Debug)]
struct Whole {
    bytes: Bytes,
    _claim: Claim,
}

/// A reader's part in a blob.
struct Share(Arc<Whole>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Memory {
    /// Holds at most `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Inner { max_bytes, claimed_bytes: Arc::default(), held: Mutex::new(Lru::new()) }))
    }

    /// The bytes of `digest`, if they are held.
    pub fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        let whole = self.held().used(digest).map(|whole| Arc::clone(whole))?;
        Some(Bytes::from_owner(Share(whole)))
    }

    /// Memory for a blob of `size_bytes`, for which the longest unused make room; none if readers have the rest.
    pub fn claim(&self, size_bytes: u64) -> Option<Claim> {
        let bytes = size_bytes.checked_add(ENTRY_BYTES).filter(|bytes| *bytes <= self.0.max_bytes)?;
        let mut held = self.held();
        let claimed = self.0.claimed_bytes.load(Ordering::Acquire);
        let mut over_bytes = (claimed + bytes).saturating_sub(self.0.max_bytes);
        let mut unused = Vec::new();
        for (digest, weight_bytes, whole) in held.oldest() {
            if over_bytes == 0 {
                break;
            }
            // New references are made under the lock alone, so this one is nobody's.
            if Arc::strong_count(whole) == 1 {
                unused.push(*digest);
                over_bytes = over_bytes.saturating_sub(weight_bytes);
            }
        }
        if over_bytes > 0 {
            // Nothing is evicted in vain.
            return None;
        }
        for digest in unused {
            held.remove(&digest);
        }
        self.0.claimed_bytes.fetch_add(bytes, Ordering::AcqRel);
        Some(Claim { claimed_bytes: self.0.claimed_bytes.clone(), bytes })
    }

    /// Holds bytes that hash to `digest`, of the size that was claimed; gives them with their claim.
    pub fn put(&self, digest: Digest, bytes: Bytes, claim: Claim) -> Bytes {
        debug_assert_eq!(bytes.len() as u64 + ENTRY_BYTES, claim.bytes, "what is claimed is what is put");
        let weight_bytes = claim.bytes;
        let whole = Arc::new(Whole { bytes, _claim: claim });
        self.held().put(digest, weight_bytes, whole.clone());
        Bytes::from_owner(Share(whole))
    }

    /// How many bytes are claimed, those that readers have among them.
    pub fn claimed_bytes(&self) -> u64 {
        self.0.claimed_bytes.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, Lru<Arc<Whole>>> {
        // Nothing under this lock panics half-way but a broken invariant of the list itself, which holds verified bytes alone.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a held blob costs beside its bytes, in bytes: digests, the entries of the list, the owner of the bytes.
const ENTRY_BYTES: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(memory: &Memory, bytes: &'static [u8]) -> Option<Bytes> {
        let claim = memory.claim(bytes.len() as u64)?;
        Some(memory.put(Digest::of(bytes), Bytes::from_static(bytes), claim))
    }

    fn held(memory: &Memory, bytes: &[u8]) -> bool {
        memory.bytes(&Digest::of(bytes)).is_some()
    }

    #[test]
    fn the_longest_unused_make_room_and_what_a_reader_has_counts() {
        let memory = Memory::new(3 * (ENTRY_BYTES + 1));
        for bytes in [b"a", b"b", b"c"] {
            put(&memory, bytes).unwrap();
        }
        let reading = memory.bytes(&Digest::of(b"a")).unwrap();
        put(&memory, b"d").unwrap();
        assert_eq!([b"a", b"b", b"c", b"d"].map(|bytes| held(&memory, bytes)), [true, false, true, true]);

        // A reader of each: there is no memory for another, and nothing is evicted for nothing.
        let all = [b"c", b"d"].map(|bytes| memory.bytes(&Digest::of(bytes)).unwrap());
        assert!(put(&memory, b"e").is_none());
        assert!([b"a", b"c", b"d"].iter().all(|bytes| held(&memory, *bytes)));
        drop(all);
        put(&memory, b"e").unwrap();
        assert_eq!([b"a", b"c", b"d", b"e"].map(|bytes| held(&memory, bytes)), [true, false, true, true]);
        assert_eq!(reading, &b"a"[..]);
    }

    #[test]
    fn a_slice_that_a_reader_keeps_counts_until_it_is_dropped() {
        let memory = Memory::new(ENTRY_BYTES + 4);
        let slice = put(&memory, b"abcd").unwrap().slice(1..2);
        // Replaced, so the list has no part in it any more.
        memory.held().remove(&Digest::of(b"abcd"));
        assert_eq!(memory.claimed_bytes(), ENTRY_BYTES + 4);
        assert!(memory.claim(1).is_none());
        drop(slice);
        assert_eq!(memory.claimed_bytes(), 0);
        assert!(memory.claim(4).is_some());
    }

    #[test]
    fn a_blob_at_the_limit_is_held_and_one_past_it_is_not() {
        let memory = Memory::new(ENTRY_BYTES + 4);
        assert!(put(&memory, b"abcd").is_some());
        assert!(memory.claim(5).is_none());
        assert!(held(&memory, b"abcd"), "evicted for a blob that does not fit");
        assert!(Memory::new(0).claim(0).is_none());
        assert!(memory.claim(u64::MAX).is_none());
    }

    #[test]
    fn bytes_are_shared_and_not_copied() {
        let memory = Memory::new(1 << 20);
        let bytes = Bytes::from(vec![7_u8; 1000]);
        let at = bytes.as_ptr();
        let claim = memory.claim(1000).unwrap();
        let digest = Digest::of(&bytes);
        assert_eq!(memory.put(digest, bytes, claim).as_ptr(), at);
        assert_eq!(memory.bytes(&digest).unwrap().as_ptr(), at);
    }
}
