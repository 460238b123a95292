//! The bytes of a `trusted_root.json`, with the time at which they were last confirmed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::limits::ROOT_BYTES_MAX;
use super::settings::{RootSettings, RootSource};
use super::start_error::StartError;
use crate::case::{Digest, Timestamp};

/// A root as it was read, not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RootDocument {
    pub(super) json: Arc<[u8]>,
    pub(super) digest: Digest,
    /// Its age counts from here.
    pub(super) refreshed_at: Timestamp,
}

impl RootDocument {
    pub(super) fn new(json: Vec<u8>, refreshed_at: Timestamp) -> Self {
        Self { digest: Digest::of(&json), json: json.into(), refreshed_at }
    }

    /// Reads a root that lies in a file or in the configuration; none for one that a TUF repository serves.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub(super) fn read(settings: &RootSettings) -> Result<Option<Self>, StartError> {
        Ok(match &settings.trusted_root {
            RootSource::Inline(root) => Some(Self::new(root.json.clone().into_bytes(), root.refreshed_at)),
            RootSource::File(path) => {
                let (json, modified) = read(&settings.name, path, ROOT_BYTES_MAX)?;
                Some(Self::new(json, modified))
            }
            RootSource::Tuf(_) => None,
        })
    }
}

/// A file's bytes and when they were last changed.
pub(super) fn read(name: &str, path: &Path, limit_bytes: u64) -> Result<(Vec<u8>, Timestamp), StartError> {
    let unreadable = |source| StartError::Unreadable { name: name.into(), path: path.into(), source };
    let file = File::open(path).map_err(unreadable)?;
    let modified = file.metadata().and_then(|metadata| metadata.modified()).map_err(unreadable)?;
    let modified = Timestamp::try_from(modified).map_err(|error| unreadable(std::io::Error::other(error)))?;
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(StartError::TooLarge { name: name.into(), path: path.into(), limit_bytes });
    }
    Ok((bytes, modified))
}
