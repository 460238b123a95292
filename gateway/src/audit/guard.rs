//! Who may write, and whether the files are still those that were opened.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::start::{LogFault, StartError};

/// The right to write one database; given back when dropped, by the kernel even after kill -9.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock `audit.lock` beside `audit.db`, or says who has it.
    pub fn take(database: &Path) -> Result<Self, StartError> {
        let path = database.with_extension("lock");
        let failed = |source| StartError::File { doing: "open", path: path.clone(), source };
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StartError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(StartError::File { doing: "lock", path, source }),
        }
    }
}

/// Device and inode of the database's files.
///
/// SQLite holds them open, so their inodes cannot be given to other files: as long as the paths lead to the same inodes,
/// nobody has removed or replaced them. (Opening them ourselves to use `fstat` would drop SQLite's POSIX locks on close.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files(Vec<(PathBuf, u64, u64)>);

impl Files {
    /// Looks at the database and its write-ahead log, which SQLite has just opened.
    pub fn of(database: &Path) -> Result<Self, LogFault> {
        let mut files = Vec::new();
        for suffix in ["", "-wal", "-shm"] {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            let path = PathBuf::from(path);
            let metadata = fs::metadata(&path).map_err(|_| LogFault::FileGone { path: path.clone() })?;
            files.push((path, metadata.dev(), metadata.ino()));
        }
        Ok(Self(files))
    }

    /// Refuses when a file is gone or another.
    pub fn check(&self) -> Result<(), LogFault> {
        self.0.iter().try_for_each(check_one)
    }

    /// Refuses when the database itself is gone or another.
    pub fn check_database(&self) -> Result<(), LogFault> {
        self.0.iter().take(1).try_for_each(check_one)
    }
}

fn check_one((path, device, inode): &(PathBuf, u64, u64)) -> Result<(), LogFault> {
    match fs::metadata(path) {
        Ok(metadata) if (metadata.dev(), metadata.ino()) == (*device, *inode) => Ok(()),
        _ => Err(LogFault::FileGone { path: path.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_whom_to_ask() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("audit.db");
        let held = Lock::take(&database).unwrap();
        let refused = Lock::take(&database).unwrap_err();
        assert!(matches!(&refused, StartError::Locked { path } if path.ends_with("audit.lock")));
        assert!(refused.hint().unwrap().contains("--server"));
        drop(held);
        assert!(Lock::take(&database).is_ok());
    }

    #[test]
    fn a_removed_or_replaced_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("audit.db");
        for suffix in ["", "-wal", "-shm"] {
            fs::write(folder.path().join(format!("audit.db{suffix}")), "x").unwrap();
        }
        let files = Files::of(&database).unwrap();
        files.check().unwrap();
        // The old inode must live on, as it does while SQLite holds it.
        let _open = File::open(folder.path().join("audit.db-wal")).unwrap();
        fs::remove_file(folder.path().join("audit.db-wal")).unwrap();
        assert!(matches!(files.check(), Err(LogFault::FileGone { path }) if path.ends_with("audit.db-wal")));
        fs::write(folder.path().join("audit.db-wal"), "x").unwrap();
        assert!(files.check().is_err());
        files.check_database().unwrap();
    }
}
