//! The store as a whole: what is read together, what fits no memory, what was altered under it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{File, FileTimes};
use std::path::PathBuf;

use futures::StreamExt as _;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::blob::Source;
use super::seal::PIECE_BYTES;
use super::*;

/// A store in a folder of its own, with memory for `memory_max_bytes`.
struct Place {
    store: Store,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(memory_max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &settings(memory_max_bytes)).unwrap();
        Self { store, folder }
    }

    /// The same folder after a restart.
    fn again(self, memory_max_bytes: u64) -> Self {
        let store = Store::open(self.folder.path(), &settings(memory_max_bytes)).unwrap();
        Self { store, folder: self.folder }
    }

    async fn keep(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.store.keep(digest, Bytes::copy_from_slice(bytes)).await.unwrap();
        self.store.settled().await;
        digest
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.folder.path().join("blobs/sha256").join(digest.hex())
    }

    /// Alters one byte so that nothing but the bytes tells of it.
    fn alter(&self, digest: &Digest, at: usize) {
        let path = self.file(digest);
        let before = std::fs::metadata(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let times = FileTimes::new().set_modified(before.modified().unwrap());
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        assert_eq!(Identity::of(&std::fs::metadata(&path).unwrap()), Identity::of(&before));
    }
}

fn settings(memory_max_bytes: u64) -> Settings {
    Settings { memory_max_bytes, ..Settings::default() }
}

/// Bytes no two pieces of which are alike.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap()).collect()
}

async fn read(blob: &Blob, range: std::ops::Range<u64>) -> Result<Vec<u8>, String> {
    let mut pieces = blob.read(range);
    let mut read = Vec::new();
    while let Some(piece) = pieces.next().await {
        read.extend_from_slice(&piece.map_err(|outage| outage.chain())?);
    }
    Ok(read)
}

const ALL: std::ops::Range<u64> = 0..u64::MAX;

#[tokio::test(flavor = "multi_thread")]
async fn a30_1_many_readers_of_one_cold_file_are_one_reading() {
    let bytes = pattern(3 * PIECE_BYTES);
    for memory_max_bytes in [1 << 30, 0] {
        let place = Place::new(0);
        let digest = place.keep(&bytes).await;
        let place = place.again(memory_max_bytes);
        let all = futures::future::join_all((0..64).map(|_| place.store.blob(digest))).await;
        let hashed: std::collections::BTreeSet<usize> = all
            .iter()
            .map(|blob| match &blob.as_ref().unwrap().as_ref().unwrap().source {
                Source::Memory(bytes) => bytes.as_ptr() as usize,
                Source::File(sealed) => Arc::as_ptr(&sealed.seal) as usize,
            })
            .collect();
        assert_eq!(hashed.len(), 1, "each reading would have made bytes or a seal of its own");
        for blob in all {
            assert_eq!(read(&blob.unwrap().unwrap(), ALL).await.unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_the_reading() {
    let place = Place::new(0);
    let digest = place.keep(b"bytes").await;
    let place = place.again(1 << 20);
    let mut first = Box::pin(place.store.blob(digest));
    // Begun; it may even have ended.
    let _ = futures::poll!(&mut first);
    drop(first);
    drop(place.store.0.turns.take(digest).await);
    assert!(place.store.in_memory(digest).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_many_blobs_never_have_more_memory_than_there_is() {
    const MAX_BYTES: u64 = 1 << 20;
    let place = Place::new(0);
    let mut digests = Vec::new();
    for number in 0..64_u8 {
        digests.push(place.keep(&vec![number; 300 << 10]).await);
    }
    let place = place.again(MAX_BYTES);
    let mut reading = Vec::new();
    for digest in &digests {
        let blob = place.store.blob(*digest).await.unwrap().unwrap();
        let mut pieces = blob.read(ALL);
        // A slow client: it has taken one piece and takes no more for now.
        let first = pieces.next().await.unwrap().unwrap();
        assert!(place.store.0.memory.claimed_bytes() <= MAX_BYTES);
        reading.push((digest, first, pieces));
    }
    let in_memory = reading.iter().filter(|(_, first, _)| first.len() == 300 << 10).count();
    assert_eq!(in_memory, 3, "the rest is read from disk, piece by piece");
    for (digest, first, mut pieces) in reading {
        let mut bytes = first.to_vec();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(Digest::of(&bytes), *digest);
    }
    assert!(
        place.store.blob(digests[0]).await.unwrap().unwrap().read(ALL).next().await.unwrap().unwrap().len()
            > PIECE_BYTES
    );
}

#[tokio::test]
async fn a2_4_a_file_that_was_altered_is_never_served_wherever_in_time() {
    let bytes = pattern(3 * PIECE_BYTES);
    let place = Place::new(0);

    // Before anybody asks: a miss.
    let digest = place.keep(&bytes).await;
    place.alter(&digest, 2 * PIECE_BYTES);
    assert!(place.store.blob(digest).await.unwrap().is_none());
    assert!(!place.file(&digest).exists());

    // Between the hashing and the reading: what is left of it is not given.
    place.keep(&bytes).await;
    let blob = place.store.blob(digest).await.unwrap().unwrap();
    place.alter(&digest, PIECE_BYTES + 7);
    let mut pieces = blob.read(ALL);
    assert_eq!(pieces.next().await.unwrap().unwrap(), &bytes[..PIECE_BYTES]);
    let chain = pieces.next().await.unwrap().unwrap_err().chain();
    assert!(chain.contains("other bytes than its digest"), "{chain}");
    assert!(pieces.next().await.is_none(), "an error is the last there is");
    assert!(place.store.blob(digest).await.unwrap().is_none());
    assert!(!place.file(&digest).exists());

    // Between two readings, so that only the bytes tell of it.
    place.keep(&bytes).await;
    assert_eq!(read(&place.store.blob(digest).await.unwrap().unwrap(), ALL).await.unwrap(), bytes);
    place.alter(&digest, 0);
    let blob = place.store.blob(digest).await.unwrap().unwrap();
    assert_eq!(read(&blob, PIECE_BYTES as u64..PIECE_BYTES as u64 + 1).await.unwrap(), [bytes[PIECE_BYTES]]);
    read(&blob, 0..1).await.unwrap_err();
    place.keep(&bytes).await;
    place.store.blob(digest).await.unwrap().unwrap();
    place.alter(&digest, 0);
    assert_eq!(place.store.whole(digest).await.unwrap(), None);

    // Cut short, or gone while it is open.
    place.keep(&bytes).await;
    let blob = place.store.blob(digest).await.unwrap().unwrap();
    File::options().write(true).open(place.file(&digest)).unwrap().set_len(5).unwrap();
    read(&blob, ALL).await.unwrap_err();
    place.keep(&bytes).await;
    let blob = place.store.blob(digest).await.unwrap().unwrap();
    std::fs::remove_file(place.file(&digest)).unwrap();
    assert_eq!(read(&blob, ALL).await.unwrap(), bytes);
    assert!(place.store.blob(digest).await.unwrap().is_none());
}

#[tokio::test]
async fn a2_4_a_file_that_was_altered_since_its_seal_is_hashed_as_a_whole() {
    let place = Place::new(0);
    let digest = place.keep(b"bytes").await;
    place.store.blob(digest).await.unwrap().unwrap();
    std::fs::write(place.file(&digest), b"bytez").unwrap();
    assert!(place.store.blob(digest).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_in_memory_is_right_whatever_the_file_is() {
    let place = Place::new(1 << 20);
    let digest = place.keep(b"bytes").await;
    std::fs::write(place.file(&digest), b"bytez").unwrap();
    assert_eq!(place.store.whole(digest).await.unwrap().unwrap(), &b"bytes"[..]);
    let place = place.again(1 << 20);
    assert_eq!(place.store.whole(digest).await.unwrap(), None);
}

#[tokio::test]
async fn scrubbing_goes_round_and_sets_altered_files_aside() {
    let place = Place::new(1 << 20);
    let mut digests = Vec::new();
    for bytes in [b"a", b"b", b"c"] {
        digests.push(place.keep(bytes).await);
    }
    digests.sort();
    let round = async |expected: usize| {
        let mut steps = 0;
        while place.store.scrub().await < super::super::budgets::SCRUB_REST {
            steps += 1;
        }
        assert_eq!(steps, expected);
    };
    round(3).await;
    place.alter(&digests[1], 0);
    round(3).await;
    assert!(!place.file(&digests[1]).exists() && place.file(&digests[0]).exists() && place.file(&digests[2]).exists());
    assert_eq!(place.store.0.files.held_bytes(), 2);
    round(2).await;

    let folder = tempfile::tempdir().unwrap();
    let off = Store::open(folder.path(), &Settings { scrub_bytes_per_s: 0, ..settings(0) }).unwrap();
    let digest = Digest::of(b"x");
    off.keep(digest, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(off.scrub().await, super::super::budgets::SCRUB_REST);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_range_is_the_same_from_memory_and_from_disk(
        size in 0..3 * PIECE_BYTES,
        start in 0..4 * PIECE_BYTES as u64,
        length in prop_oneof![0..4 * PIECE_BYTES as u64, Just(u64::MAX)],
    ) {
        let bytes = pattern(size);
        let end = start.saturating_add(length);
        let expected = bytes.get(usize::try_from(start).unwrap()..).unwrap_or_default();
        let expected = expected.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(expected);
        Runtime::new().unwrap().block_on(async {
            for memory_max_bytes in [1 << 30, 0] {
                let place = Place::new(memory_max_bytes);
                let digest = place.keep(&bytes).await;
                let blob = place.store.blob(digest).await.unwrap().unwrap();
                assert_eq!(blob.size_bytes(), size as u64);
                assert_eq!(read(&blob, start..end).await.unwrap(), expected);
            }
        });
    }
}
