//! The content-addressed cache on disk: a file's name is the digest of its bytes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::case::Digest;

use super::super::budgets::COMPONENT_BYTES;

/// Verified blobs under `blobs/sha256/HEX`; whole files only, each re-hashed when it is read.
///
/// After a crash there may be files in `tmp/`, which the next start removes; a file under `blobs/` was synced before it got
/// its name. The calls block on the disk.
#[derive(Clone, Debug)]
pub(in super::super) struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    blobs: PathBuf,
    temporaries: PathBuf,
    max_bytes: u64,
    shelf: Mutex<Shelf>,
}

/// What is on disk, by when it was last used.
#[derive(Debug, Default)]
struct Shelf {
    files: BTreeMap<Digest, Entry>,
    total_bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    size_bytes: u64,
    last_use: u64,
}

impl Blobs {
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
                found.push((known.modified()?, digest, known.len()));
            }
        }
        found.sort();
        let mut shelf = Shelf::default();
        for (_, digest, size_bytes) in found {
            shelf.put(digest, size_bytes);
        }
        let cache = Self(Arc::new(Inner { blobs, temporaries, max_bytes, shelf: Mutex::new(shelf) }));
        cache.evict(None)?;
        Ok(cache)
    }

    /// The bytes of `digest`, if they are held whole; a file with other bytes is set aside as `HEX.corrupt`.
    pub fn read(&self, digest: &Digest) -> io::Result<Option<Bytes>> {
        let path = self.0.blobs.join(digest.hex());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.shelf().remove(digest);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let size_bytes = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(size_bytes.min(COMPONENT_BYTES)).unwrap_or(0));
        file.take(COMPONENT_BYTES + 1).read_to_end(&mut bytes)?;
        if Digest::of(&bytes) != *digest {
            let mut aside: OsString = path.clone().into_os_string();
            aside.push(".corrupt");
            fs::rename(&path, &aside)?;
            self.shelf().remove(digest);
            tracing::warn!(blob.digest = %digest, "cached blob has other bytes than its digest, set aside");
            return Ok(None);
        }
        self.shelf().put(*digest, bytes.len() as u64);
        Ok(Some(bytes.into()))
    }

    /// Keeps bytes that the caller has hashed: temporary file, sync, rename, sync of the folder; then evicts.
    pub fn keep(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = tempfile::NamedTempFile::new_in(&self.0.temporaries)?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(self.0.blobs.join(digest.hex())).map_err(|refused| refused.error)?;
        File::open(&self.0.blobs)?.sync_all()?;
        self.shelf().put(*digest, bytes.len() as u64);
        self.evict(Some(digest))
    }

    /// Removes the longest unused files until the rest is within the quota; a reader keeps the file it has open.
    fn evict(&self, newest: Option<&Digest>) -> io::Result<()> {
        let mut shelf = self.shelf();
        while shelf.total_bytes > self.0.max_bytes {
            let oldest = shelf.files.iter().filter(|(digest, _)| Some(*digest) != newest);
            let Some(oldest) = oldest.min_by_key(|(_, entry)| entry.last_use).map(|(digest, _)| *digest) else { break };
            match fs::remove_file(self.0.blobs.join(oldest.hex())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => shelf.remove(&oldest),
            }
        }
        Ok(())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // The shelf is a hint for eviction only: what a panic left half done is corrected by later reads.
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn put(&mut self, digest: Digest, size_bytes: u64) {
        self.remove(&digest);
        self.uses += 1;
        self.total_bytes += size_bytes;
        self.files.insert(digest, Entry { size_bytes, last_use: self.uses });
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(entry) = self.files.remove(digest) {
            self.total_bytes -= entry.size_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(blobs: &Blobs, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        blobs.keep(&digest, bytes).unwrap();
        digest
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
        let digest = keep(&Blobs::open(folder.path(), 1000).unwrap(), b"bytes");
        let blobs = Blobs::open(folder.path(), 1000).unwrap();
        assert_eq!(blobs.read(&digest).unwrap().unwrap(), &b"bytes"[..]);
        assert_eq!(blobs.read(&Digest::of(b"other")).unwrap(), None);
        assert_eq!(names(&folder.path().join("tmp")), Vec::<String>::new());
    }

    #[test]
    fn a2_4_an_altered_file_is_a_miss_set_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), 1000).unwrap();
        let digest = keep(&blobs, b"bytes");
        let file = folder.path().join("blobs/sha256").join(digest.hex());
        for altered in [&b"bytez"[..], b"byte", b"bytes!", b""] {
            fs::write(&file, altered).unwrap();
            assert_eq!(blobs.read(&digest).unwrap(), None);
            assert_eq!(names(file.parent().unwrap()), [format!("{}.corrupt", digest.hex())]);
            assert_eq!(blobs.read(&digest).unwrap(), None);
        }
        keep(&blobs, b"bytes");
        assert_eq!(blobs.read(&digest).unwrap().unwrap(), &b"bytes"[..]);
    }

    #[test]
    fn the_longest_unused_go_first_when_the_quota_is_passed() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), 3).unwrap();
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| keep(&blobs, bytes));
        assert!([a, b, c].iter().all(|digest| blobs.read(digest).unwrap().is_some()), "evicted within the quota");
        blobs.read(&a).unwrap();
        let d = keep(&blobs, b"d");
        let held = |digest| blobs.read(&digest).unwrap().is_some();
        assert_eq!([held(a), held(b), held(c), held(d)], [true, false, true, true]);

        let too_large = keep(&blobs, b"larger than everything");
        assert_eq!([held(a), held(c), held(d), held(too_large)], [false, false, false, true]);
        let blobs = Blobs::open(folder.path(), 3).unwrap();
        assert_eq!(blobs.read(&too_large).unwrap(), None, "over the quota after a restart");
    }

    #[test]
    fn a30_3_a_start_removes_what_a_crash_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("tmp")).unwrap();
        fs::write(folder.path().join("tmp/.tmpA"), "half").unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("blobs/sha256/stranger"), "x").unwrap();
        let blobs = Blobs::open(folder.path(), 1000).unwrap();
        assert_eq!(names(&folder.path().join("tmp")), Vec::<String>::new());
        assert_eq!(blobs.shelf().total_bytes, 0);
    }
}
