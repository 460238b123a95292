//! Files of other programs, read within limits: what cannot be read is never taken for nothing.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// The largest configuration file that is read, in bytes: thousands of registries. containerd and the container tools have no limit.
pub(super) const FILE_MAX_BYTES: u64 = 1 << 20;
/// The most entries of one folder: registries of a node, drop-ins, imported files.
pub(super) const FOLDER_MAX_ENTRIES: usize = 1024;

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoText {
    /// There is no such file or folder.
    Absent,
    /// It is there, and cannot be read.
    Unreadable(String),
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, NoText> {
    bounded(path, FILE_MAX_BYTES)
}

fn bounded(path: &Path, limit_bytes: u64) -> Result<String, NoText> {
    let file = File::open(path).map_err(|error| no_text(&error))?;
    if file.metadata().map_err(|error| no_text(&error))?.is_dir() {
        return Err(NoText::Unreadable("it is a folder, expected a file".into()));
    }
    let mut bytes = Vec::new();
    // What is read counts, not what the folder says: the file may be a pipe, or grow.
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|error| no_text(&error))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(NoText::Unreadable(format!("it is longer than {limit_bytes} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| NoText::Unreadable(format!("it is no UTF-8: {}", error.utf8_error())))
}

/// What lies in a folder, in the order of the names' bytes.
pub(super) fn folder(path: &Path) -> Result<Vec<PathBuf>, NoText> {
    bounded_folder(path, FOLDER_MAX_ENTRIES)
}

fn bounded_folder(path: &Path, limit: usize) -> Result<Vec<PathBuf>, NoText> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| no_text(&error))? {
        if found.len() == limit {
            return Err(NoText::Unreadable(format!("it holds more than {limit} entries")));
        }
        found.push(entry.map_err(|error| no_text(&error))?.path());
    }
    found.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(found)
}

/// Whether something is there, as `stat` says: a link to nothing is not.
pub(super) fn exists(path: &Path) -> Result<bool, NoText> {
    path.try_exists().map_err(|error| no_text(&error))
}

fn no_text(error: &std::io::Error) -> NoText {
    match error.kind() {
        ErrorKind::NotFound => NoText::Absent,
        _ => NoText::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.toml");
        fs::write(&path, "12345").unwrap();
        assert_eq!(bounded(&path, 5).unwrap(), "12345");
        assert_eq!(bounded(&path, 4), Err(NoText::Unreadable("it is longer than 4 bytes".into())));
        assert_eq!(bounded(&folder.path().join("none"), 5), Err(NoText::Absent));
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(text(&path), Err(NoText::Unreadable(why)) if why.contains("UTF-8")));
        assert!(matches!(text(folder.path()), Err(NoText::Unreadable(why)) if why.contains("folder")));
    }

    #[test]
    fn a_folder_is_read_up_to_its_limit_and_sorted() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["b", "a", "C"] {
            fs::write(parent.path().join(name), "").unwrap();
        }
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(bounded_folder(parent.path(), 3).unwrap()), ["C", "a", "b"]);
        assert_eq!(bounded_folder(parent.path(), 2), Err(NoText::Unreadable("it holds more than 2 entries".into())));
        assert_eq!(folder(&parent.path().join("none")), Err(NoText::Absent));
    }

    #[test]
    fn a_link_to_nothing_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("none"), &link).unwrap();
        assert_eq!(exists(&link), Ok(false));
        assert_eq!(text(&link), Err(NoText::Absent));
        fs::write(folder.path().join("none"), "x").unwrap();
        assert_eq!(text(&link).unwrap(), "x");
    }
}
