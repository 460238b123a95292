//! The files of a folder: a bundle in OPA's format, or the two kinds of files of a folder without a manifest.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::super::LoadError;
use super::archive::{self, Files, MANIFEST, MAX_DEPTH, MAX_ENTRIES, MAX_UNPACKED_BYTES, SIGNATURES, check_name};
use super::fault::BundleFault;
use super::{MAX_FILE_BYTES, MAX_FILES, Source, check_amount, too_big};

/// Whether `dir` says of itself what it is; a manifest that cannot be read is one.
pub(super) fn has_manifest(dir: &Path) -> bool {
    dir.join(MANIFEST).symlink_metadata().is_ok()
}

/// Every file of a bundle's folder; hidden ones are left out but for the two that OPA knows.
pub(super) fn read_bundle(dir: &Path) -> Result<Files, LoadError> {
    let mut files = Files::new();
    for name in [MANIFEST, SIGNATURES] {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() {
            files.insert(name.to_owned(), read_bytes(&path, MAX_UNPACKED_BYTES)?);
        }
    }
    let mut paths = BTreeMap::new();
    collect(dir, "", &[""], MAX_DEPTH, MAX_ENTRIES, &mut paths)?;
    for (name, path) in paths {
        check_name(&name).map_err(|found| BundleFault::Name { name: name.escape_debug().to_string(), found })?;
        files.insert(name, read_bytes(&path, MAX_UNPACKED_BYTES)?);
        archive::check_amount(&files)?;
    }
    Ok(files)
}

/// A whole file, and no byte more than one past the limit.
pub(super) fn read_bytes(path: &Path, max_bytes: usize) -> Result<Vec<u8>, LoadError> {
    let unread = |source| LoadError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(max_bytes as u64 + 1).read_to_end(&mut bytes))
        .map_err(unread)?;
    if bytes.len() > max_bytes {
        let what = format!("size of `{}` in bytes", path.display());
        return Err(LoadError::Limit { what, found: bytes.len(), limit: max_bytes });
    }
    Ok(bytes)
}

/// The files of `dir` that end in one of `suffixes`, sorted by name; dot files are left out, for a mounted Kubernetes ConfigMap
/// keeps its older revisions in them.
pub(super) fn read_folder(dir: &Path, suffixes: &[&str], depth: usize) -> Result<Vec<Source>, LoadError> {
    let mut files = BTreeMap::new();
    collect(dir, "", suffixes, depth, MAX_FILES, &mut files)?;
    let mut sources = Vec::with_capacity(files.len());
    for (name, path) in files {
        let size_bytes =
            std::fs::metadata(&path).map_err(|source| LoadError::Read { path: path.clone(), source })?.len();
        if size_bytes > MAX_FILE_BYTES as u64 {
            return Err(too_big(&name, usize::try_from(size_bytes).unwrap_or(usize::MAX)));
        }
        let text = std::fs::read_to_string(&path).map_err(|source| LoadError::Read { path, source })?;
        sources.push(Source { name, text });
    }
    check_amount(&sources)?;
    Ok(sources)
}

fn collect(
    dir: &Path,
    prefix: &str,
    suffixes: &[&str],
    depth: usize,
    max_files: usize,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), LoadError> {
    let unread = |source| LoadError::Read { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let path = entry.path();
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else {
            return Err(LoadError::Name { name: file_name.to_string_lossy().into_owned() });
        };
        if file_name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{file_name}");
        if path.is_dir() {
            if depth > 0 {
                collect(&path, &format!("{name}/"), suffixes, depth - 1, max_files, files)?;
            }
        } else if suffixes.iter().any(|suffix| file_name.ends_with(suffix)) {
            files.insert(name, path);
            if files.len() > max_files {
                return Err(LoadError::Limit { what: "number of files".into(), found: files.len(), limit: max_files });
            }
        }
    }
    Ok(())
}
