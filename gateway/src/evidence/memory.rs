//! Which trusted roots were replaced, so that none of them comes back unseen.
//!
//! `DATA_DIR/trust-roots.json` holds for each root its digest, when it was last confirmed by a TUF repository, the digests
//! that it replaced, and when the newest revocation list was issued. It is written before a root is believed, so after a
//! crash the file may know a root that was never used, never the reverse.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::limits::{MEMORY_BYTES_MAX, REMEMBERED_MAX, REPLACED_MAX};
use crate::case::{Digest, Timestamp};
use crate::strict_json;

/// The file of one data folder.
pub(super) struct Memory {
    path: PathBuf,
    remembered: Remembered,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    version: u32,
    roots: BTreeMap<String, Root>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revocations: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    current: Digest,
    refreshed_at: Timestamp,
    /// Oldest first.
    replaced: Vec<Digest>,
}

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryFault {
    /// Reading or writing failed.
    #[error("cannot {doing} it")]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What stands there is not ours, or torn.
    #[error("it is not what witgate wrote")]
    Form(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Memory {
    /// Reads the file; none yet is an empty memory.
    pub(super) fn open(data_dir: &Path) -> Result<Self, MemoryFault> {
        let path = data_dir.join(FILE);
        let remembered = match read(&path)? {
            None => Remembered { version: 1, ..Remembered::default() },
            Some(bytes) => {
                let form = |error: Box<dyn std::error::Error + Send + Sync>| MemoryFault::Form(error);
                let value = strict_json::parse(&bytes, strict_json::MAX_DEPTH).map_err(|error| form(error.into()))?;
                let remembered: Remembered = serde_json::from_value(value).map_err(|error| form(error.into()))?;
                if remembered.version != 1 {
                    return Err(form(format!("its version is `{}`, expected `1`", remembered.version).into()));
                }
                remembered
            }
        };
        Ok(Self { path, remembered })
    }

    /// Where it is.
    pub(super) fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// Whether `digest` was replaced by another one under this name: an older root.
    pub(super) fn was_replaced(&self, name: &str, digest: &Digest) -> bool {
        self.remembered.roots.get(name).is_some_and(|root| root.current != *digest && root.replaced.contains(digest))
    }

    /// When a TUF repository last confirmed the root of this name.
    pub(super) fn refreshed_at(&self, name: &str) -> Option<Timestamp> {
        self.remembered.roots.get(name).map(|root| root.refreshed_at)
    }

    /// When the newest list that was believed was issued.
    pub(super) fn list_issued_at(&self) -> Option<Timestamp> {
        self.remembered.revocations
    }

    /// Writes that `name` now has `digest`, confirmed at `refreshed_at`.
    pub(super) fn remember(&mut self, name: &str, digest: Digest, refreshed_at: Timestamp) -> Result<(), MemoryFault> {
        let mut next = self.remembered.clone();
        match next.roots.get_mut(name) {
            None => {
                if next.roots.len() >= REMEMBERED_MAX
                    && let Some(oldest) =
                        next.roots.iter().min_by_key(|(_, root)| root.refreshed_at).map(|(name, _)| name.clone())
                {
                    next.roots.remove(&oldest);
                }
                next.roots.insert(name.to_owned(), Root { current: digest, refreshed_at, replaced: Vec::new() });
            }
            Some(root) => {
                if root.current != digest {
                    let replaced = std::mem::replace(&mut root.current, digest);
                    root.replaced.retain(|known| *known != digest && *known != replaced);
                    root.replaced.push(replaced);
                    let surplus = root.replaced.len().saturating_sub(REPLACED_MAX);
                    root.replaced.drain(..surplus);
                }
                root.refreshed_at = refreshed_at;
            }
        }
        self.put(next)
    }

    /// Writes that a list of `issued_at` is believed.
    pub(super) fn remember_list(&mut self, issued_at: Timestamp) -> Result<(), MemoryFault> {
        self.put(Remembered { revocations: Some(issued_at), ..self.remembered.clone() })
    }

    /// Write, fsync, rename, fsync of the folder: after a crash the file is the old or the new one.
    fn put(&mut self, next: Remembered) -> Result<(), MemoryFault> {
        if next == self.remembered {
            return Ok(());
        }
        let failed = |source| MemoryFault::File { doing: "write", source };
        let folder = self.path.parent().expect("the memory stands in the data folder");
        fs::create_dir_all(folder).map_err(failed)?;
        let temporary = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&temporary).map_err(failed)?;
        let json = serde_json::to_vec_pretty(&next).expect("our records are JSON");
        file.write_all(&json).and_then(|()| file.sync_all()).map_err(failed)?;
        drop(file);
        fs::rename(&temporary, &self.path).and_then(|()| File::open(folder)?.sync_all()).map_err(failed)?;
        self.remembered = next;
        Ok(())
    }
}

const FILE: &str = "trust-roots.json";

fn read(path: &Path) -> Result<Option<Vec<u8>>, MemoryFault> {
    let failed = |source| MemoryFault::File { doing: "read", source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MEMORY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MEMORY_BYTES_MAX {
        return Err(MemoryFault::Form(format!("it is larger than {MEMORY_BYTES_MAX} bytes").into()));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
    }

    #[test]
    fn a23_1_a_replaced_root_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(folder.path()).unwrap();
        for number in [1, 2, 2] {
            memory.remember("a", digest(number), at(number)).unwrap();
        }
        memory.remember_list(at(7)).unwrap();
        let memory = Memory::open(folder.path()).unwrap();
        assert!(memory.was_replaced("a", &digest(1)));
        assert!(!memory.was_replaced("a", &digest(2)) && !memory.was_replaced("b", &digest(1)));
        assert_eq!((memory.refreshed_at("a"), memory.list_issued_at()), (Some(at(2)), Some(at(7))));
    }

    #[test]
    fn the_oldest_go_first_at_the_limits() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(folder.path()).unwrap();
        for number in 0..=REPLACED_MAX {
            memory.remember("a", digest(number), at(number)).unwrap();
        }
        assert!(memory.was_replaced("a", &digest(0)), "as many as the limit are kept");
        memory.remember("a", digest(REPLACED_MAX + 1), at(REPLACED_MAX + 1)).unwrap();
        assert!(!memory.was_replaced("a", &digest(0)) && memory.was_replaced("a", &digest(1)));
        for number in 0..REMEMBERED_MAX {
            memory.remember(&format!("b{number}"), digest(0), at(1000 + number)).unwrap();
        }
        assert_eq!(memory.refreshed_at("a"), None, "the one that was confirmed longest ago goes");
        assert_eq!(memory.remembered.roots.len(), REMEMBERED_MAX);
    }

    #[test]
    fn a22_2_what_is_torn_or_foreign_is_no_empty_memory() {
        let folder = tempfile::tempdir().unwrap();
        let good = "{\"version\":1,\"roots\":{}}";
        let padded = |bytes: u64| good.to_owned() + &" ".repeat(usize::try_from(bytes).unwrap() - good.len());
        let large = padded(MEMORY_BYTES_MAX + 1);
        for text in ["", "{}", "[]", "{\"version\":2,\"roots\":{}}", "{\"version\":1,\"roots\":{},\"x\":1}", &large] {
            fs::write(Memory::path_in(folder.path()), text).unwrap();
            assert!(matches!(Memory::open(folder.path()), Err(MemoryFault::Form(_))), "{text:.40}");
        }
        for text in [good, padded(MEMORY_BYTES_MAX).as_str()] {
            fs::write(Memory::path_in(folder.path()), text).unwrap();
            assert!(Memory::open(folder.path()).is_ok());
        }
    }

    #[test]
    fn a22_2_what_cannot_be_written_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(folder.path()).unwrap();
        memory.remember("a", digest(1), at(1)).unwrap();
        // A folder where the temporary file would go: nobody can write there, root included.
        fs::create_dir(Memory::path_in(folder.path()).with_extension("new")).unwrap();
        assert!(matches!(memory.remember("a", digest(2), at(2)), Err(MemoryFault::File { doing: "write", .. })));
        assert!(!memory.was_replaced("a", &digest(1)));
    }
}
