//! The content-addressed cache on disk: a file's name is the digest of its bytes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::super::budgets::{BLOB_BYTES, SET_ASIDE_FILES};
use super::lru::Lru;
use super::seal::{Identity, Seal};
use crate::case::Digest;

/// Blobs under `blobs/sha256/HEX`: whole files only, whose bytes were hashed before they got their name and are believed no
/// more than any other file's when they are read.
///
/// After a crash there may be files in `tmp/`, which the next start removes; a file under `blobs/` was synced before it got
/// its name. When a file was last used is told by its access time, which we set, so that the order survives a restart. The
/// calls block on the disk.
#[derive(Clone, Debug)]
pub(super) struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    blobs: PathBuf,
    temporaries: PathBuf,
    max_bytes: u64,
    shelf: Mutex<Lru<Shelved>>,
}

/// A file on disk, as the order of use knows it.
#[derive(Debug)]
struct Shelved {
    /// Used since its access time was last set.
    untold: bool,
}

/// A file of the cache, open: it can be read to its end even when it is evicted meanwhile.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    identity: Identity,
}

impl Files {
    /// Opens the cache, removes what a crash left and evicts what is over `max_bytes`.
    pub fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        let blobs = folder.join("blobs").join("sha256");
        let temporaries = folder.join("tmp");
        fs::create_dir_all(&blobs)?;
        fs::create_dir_all(&temporaries)?;
        for left in fs::read_dir(&temporaries)? {
            fs::remove_file(left?.path())?;
        }
        let mut found = Vec::new();
        for file in fs::read_dir(&blobs)? {
            let file = file?;
            let known = file.metadata()?;
            let digest = file.file_name().to_str().and_then(|name| format!("sha256:{name}").parse::<Digest>().ok());
            if let (Some(digest), true) = (digest, known.is_file()) {
                let last_use = known.accessed().unwrap_or(SystemTime::UNIX_EPOCH).max(known.modified()?);
                found.push((last_use, digest, known.len()));
            }
        }
        found.sort();
        let mut shelf = Lru::new();
        for (_, digest, size_bytes) in found {
            shelf.put(digest, size_bytes, Shelved { untold: false });
        }
        let cache = Self(Arc::new(Inner { blobs, temporaries, max_bytes, shelf: Mutex::new(shelf) }));
        cache.evict(None)?;
        Ok(cache)
    }

    /// The file of `digest`, if there is one: its bytes are still to be hashed.
    pub fn file(&self, digest: &Digest) -> io::Result<Option<Opened>> {
        let file = match File::open(self.path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.shelf().remove(digest);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let identity = Identity::of(&file.metadata()?);
        Ok(Some(Opened { file, identity }))
    }

    /// Notes that `digest` was used, wherever its bytes were read from.
    pub fn used(&self, digest: &Digest) {
        if let Some(shelved) = self.shelf().used(digest) {
            shelved.untold = true;
        }
    }

    /// Writes down that `digest` was used since this was last written, where it was.
    pub fn tell(&self, digest: &Digest, opened: &Opened) {
        let untold = self.shelf().look(digest).is_some_and(|shelved| std::mem::take(&mut shelved.untold));
        if untold {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let as_it_is = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            // The order of eviction after a restart is all that hangs on it.
            let told =
                rustix::fs::futimens(&opened.file, &Timestamps { last_access: now, last_modification: as_it_is });
            if let Err(error) = told {
                tracing::debug!(blob.digest = %digest, error = %error, "access time not set");
            }
        }
    }

    /// Keeps bytes that the caller has hashed: temporary file, sync, rename, sync of the folder; then evicts.
    pub fn keep(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = tempfile::NamedTempFile::new_in(&self.0.temporaries)?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(self.path(digest)).map_err(|refused| refused.error)?;
        File::open(&self.0.blobs)?.sync_all()?;
        self.shelf().put(*digest, bytes.len() as u64, Shelved { untold: false });
        self.evict(Some(digest))
    }

    /// Renames a file whose bytes are not those of `digest` to `HEX.corrupt`, unless another has its name by now.
    pub fn set_aside(&self, digest: &Digest, found: &Opened) -> io::Result<()> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(now) if Identity::of(&now) == found.identity => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut aside: OsString = path.clone().into_os_string();
        aside.push(CORRUPT);
        fs::rename(&path, &aside)?;
        self.shelf().remove(digest);
        metrics::counter!("witgate_store_altered_total").increment(1);
        tracing::warn!(blob.digest = %digest, "cached blob has other bytes than its digest, set aside");
        self.remove_oldest_set_aside()
    }

    /// The next file behind `last` in the order of digests.
    pub fn next_after(&self, last: Option<Digest>) -> Option<Digest> {
        self.shelf().next_after(last)
    }

    /// How many bytes all files have together.
    pub fn held_bytes(&self) -> u64 {
        self.shelf().weight_bytes()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.blobs.join(digest.hex())
    }

    /// Removes the longest unused files until the rest is within the quota; a reader keeps the file it has open.
    fn evict(&self, newest: Option<&Digest>) -> io::Result<()> {
        let mut shelf = self.shelf();
        while shelf.weight_bytes() > self.0.max_bytes {
            let oldest = shelf.oldest().map(|(digest, ..)| *digest).find(|digest| Some(digest) != newest);
            let Some(oldest) = oldest else { break };
            match fs::remove_file(self.path(&oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => shelf.remove(&oldest),
            };
        }
        Ok(())
    }

    /// They are for a person to look at: the newest are enough, for they count against no quota.
    fn remove_oldest_set_aside(&self) -> io::Result<()> {
        let mut aside = Vec::new();
        for file in fs::read_dir(&self.0.blobs)? {
            let file = file?;
            if file.file_name().to_string_lossy().ends_with(CORRUPT) {
                aside.push((file.metadata()?.modified()?, file.path()));
            }
        }
        aside.sort();
        let over = aside.len().saturating_sub(SET_ASIDE_FILES);
        aside.into_iter().take(over).try_for_each(|(_, path)| fs::remove_file(path))
    }

    fn shelf(&self) -> MutexGuard<'_, Lru<Shelved>> {
        // The shelf is a hint for eviction only: what a panic left half done is corrected by later reads.
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// What tells this file from another.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// All of it, if it hashes to `digest`.
    pub fn whole(&self, digest: &Digest) -> io::Result<Option<Bytes>> {
        let size_bytes = self.identity.size_bytes();
        if size_bytes > BLOB_BYTES {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).expect("a blob's size is limited"));
        (&self.file).take(size_bytes + 1).read_to_end(&mut bytes)?;
        let same = bytes.len() as u64 == size_bytes && Digest::of(&bytes) == *digest;
        Ok(same.then(|| bytes.into()))
    }

    /// The seal of all of it, if it hashes to `digest`; one piece at a time is in memory.
    pub fn seal(&self, digest: &Digest) -> io::Result<Option<Seal>> {
        let size_bytes = self.identity.size_bytes();
        if size_bytes > BLOB_BYTES {
            return Ok(None);
        }
        let (found, seal) = Seal::of((&self.file).take(size_bytes + 1))?;
        Ok((found == *digest).then_some(seal))
    }
}

/// What the name of a file that was set aside ends with.
const CORRUPT: &str = ".corrupt";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn keep(files: &Files, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        files.keep(&digest, bytes).unwrap();
        digest
    }

    /// As the store reads: hash, or set aside.
    fn read(files: &Files, digest: &Digest) -> Option<Bytes> {
        let opened = files.file(digest).unwrap()?;
        files.used(digest);
        files.tell(digest, &opened);
        let bytes = opened.whole(digest).unwrap();
        if bytes.is_none() {
            files.set_aside(digest, &opened).unwrap();
        }
        bytes
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn gives_back_what_was_kept_after_a_restart_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let digest = keep(&Files::open(folder.path(), 1000).unwrap(), b"bytes");
        let files = Files::open(folder.path(), 1000).unwrap();
        assert_eq!(read(&files, &digest).unwrap(), &b"bytes"[..]);
        assert_eq!(read(&files, &Digest::of(b"other")), None);
        assert_eq!(names(&folder.path().join("tmp")), Vec::<String>::new());
    }

    #[test]
    fn a2_4_an_altered_file_is_a_miss_set_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), 1000).unwrap();
        let digest = keep(&files, b"bytes");
        let file = folder.path().join("blobs/sha256").join(digest.hex());
        for altered in [&b"bytez"[..], b"byte", b"bytes!", b""] {
            fs::write(&file, altered).unwrap();
            assert_eq!(read(&files, &digest), None);
            assert_eq!(names(file.parent().unwrap()), [format!("{}.corrupt", digest.hex())]);
            assert_eq!((read(&files, &digest), files.held_bytes()), (None, 0));
        }
        keep(&files, b"bytes");
        assert_eq!(read(&files, &digest).unwrap(), &b"bytes"[..]);
    }

    #[test]
    fn a_good_file_that_took_the_place_of_an_altered_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), 1000).unwrap();
        let digest = keep(&files, b"bytes");
        fs::write(folder.path().join("blobs/sha256").join(digest.hex()), b"bytez").unwrap();
        let altered = files.file(&digest).unwrap().unwrap();
        keep(&files, b"bytes");
        files.set_aside(&digest, &altered).unwrap();
        assert_eq!(read(&files, &digest).unwrap(), &b"bytes"[..]);
    }

    #[test]
    fn files_that_are_set_aside_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), 1000).unwrap();
        for number in 0..=SET_ASIDE_FILES {
            let digest = keep(&files, number.to_string().as_bytes());
            fs::write(folder.path().join("blobs/sha256").join(digest.hex()), b"other").unwrap();
            assert_eq!(read(&files, &digest), None);
        }
        assert_eq!(names(&folder.path().join("blobs/sha256")).len(), SET_ASIDE_FILES);
    }

    #[test]
    fn the_longest_unused_go_first_when_the_quota_is_passed() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), 3).unwrap();
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| keep(&files, bytes));
        assert!([a, b, c].iter().all(|digest| read(&files, digest).is_some()), "evicted within the quota");
        read(&files, &a);
        let d = keep(&files, b"d");
        let held = |digest| read(&files, &digest).is_some();
        assert_eq!([held(a), held(b), held(c), held(d)], [true, false, true, true]);

        let too_large = keep(&files, b"larger than everything");
        assert_eq!([held(a), held(c), held(d), held(too_large)], [false, false, false, true]);
        let files = Files::open(folder.path(), 3).unwrap();
        assert_eq!(read(&files, &too_large), None, "over the quota after a restart");
    }

    #[test]
    fn a_reader_reads_to_the_end_what_is_evicted_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), 1).unwrap();
        let a = keep(&files, b"a");
        let reading = files.file(&a).unwrap().unwrap();
        keep(&files, b"b");
        assert!(files.file(&a).unwrap().is_none());
        assert_eq!(reading.whole(&a).unwrap().unwrap(), &b"a"[..]);
    }

    #[test]
    fn the_order_of_use_and_the_quota_hold_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let old = |files: &Files, bytes: &[u8], age_s: u64| {
            let digest = keep(files, bytes);
            let file = File::open(folder.path().join("blobs/sha256").join(digest.hex())).unwrap();
            let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - age_s);
            file.set_times(fs::FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
            digest
        };
        let files = Files::open(folder.path(), 3).unwrap();
        let [a, b, c] = [(b"a", 30), (b"b", 20), (b"c", 10)].map(|(bytes, age_s)| old(&files, bytes, age_s));
        read(&files, &a);
        let file = |digest: Digest| folder.path().join("blobs/sha256").join(digest.hex());
        let modified = fs::metadata(file(a)).unwrap().mtime();
        assert_eq!(modified, 1_000_000 - 30, "a use is no change of the file");
        let files = Files::open(folder.path(), 2).unwrap();
        assert_eq!(files.held_bytes(), 2);
        assert_eq!([a, b, c].map(|digest| file(digest).exists()), [true, false, true], "the one used was the oldest");
    }

    #[test]
    fn a30_3_a_start_removes_what_a_crash_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("tmp")).unwrap();
        fs::write(folder.path().join("tmp/.tmpA"), "half").unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("blobs/sha256/stranger"), "x").unwrap();
        let files = Files::open(folder.path(), 1000).unwrap();
        assert_eq!(names(&folder.path().join("tmp")), Vec::<String>::new());
        assert_eq!(files.held_bytes(), 0);
    }
}
