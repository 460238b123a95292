//! Files that flags name, read within a limit.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// The largest file beside the component that is read, in bytes: an attestation (design section 12).
pub(crate) const SMALL_MAX_BYTES: u64 = 16 << 20;

/// A bundle, a key, a trusted root.
pub(crate) fn small(path: &Path) -> anyhow::Result<Vec<u8>> {
    bounded(path, SMALL_MAX_BYTES)
}

fn bounded(path: &Path, limit_bytes: u64) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    // What is read counts, not what the folder says: the file may be a pipe, or grow.
    file.take(limit_bytes + 1).read_to_end(&mut bytes).with_context(cannot)?;
    ensure!(bytes.len() as u64 <= limit_bytes, "`{}` is longer than {limit_bytes} bytes", path.display());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.json");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(bounded(&path, 5).unwrap(), b"12345");
        assert!(bounded(&path, 4).unwrap_err().to_string().contains("longer than 4 bytes"));
        assert!(bounded(&folder.path().join("none"), 5).unwrap_err().to_string().starts_with("cannot read `"));
    }
}
