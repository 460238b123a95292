//! A JWK Set from a file that another program keeps fresh, or that an operator put there.
//!
//! A set counts once two reads a moment apart agree and it holds keys; until then the last good one stays, for at most a day.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::file_set::{FileFault, Links, read_file};
use super::super::settled::{Pace, settled};
use super::jwks::{JwksFault, KeySet, Purpose};
use super::ring::Ring;
use crate::case::Timestamp;
use crate::outage::chain;

/// Why a file gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileFault {
    /// It cannot be read, or is being written.
    #[error(transparent)]
    File(#[from] FileFault),
    /// What it holds is no set of keys.
    #[error("`{}` cannot be used", path.display())]
    Jwks {
        /// The file.
        path: PathBuf,
        /// Why.
        source: JwksFault,
    },
}

/// Reads the file into the ring.
///
/// # Errors
/// It holds no usable set now.
pub(super) async fn load(path: &Path, purpose: Purpose, ring: &Ring, pace: Pace) -> Result<(), KeyFileFault> {
    let file = path.to_owned();
    let read = move || read_file(&file, Links::WithinFolder, |_, _| Ok(()));
    let json = settled(read, tokio::time::sleep(pace.settle)).await?;
    let keys = KeySet::read(&json, purpose).map_err(|source| KeyFileFault::Jwks { path: path.to_owned(), source })?;
    ring.confirm(keys, Timestamp::now());
    Ok(())
}

/// Looks again and again; what cannot be used is counted, and the last good set stays.
pub(super) async fn follow(path: PathBuf, purpose: Purpose, ring: Arc<Ring>, pace: Pace) {
    let mut last_fault = None;
    loop {
        tokio::time::sleep(pace.poll).await;
        match load(&path, purpose, &ring, pace).await {
            Ok(()) => last_fault = None,
            Err(fault) => {
                metrics::counter!("witgate_identity_file_errors_total").increment(1);
                let text = chain(&fault);
                if last_fault.as_ref() != Some(&text) {
                    tracing::warn!(error = text, "a file of keys cannot be used: the last good ones stay");
                    last_fault = Some(text);
                }
            }
        }
    }
}
