//! The parsers of a registry's answers, opened to the fuzz targets.

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::challenge::Challenge;
use super::document::OCI_INDEX;
use super::fetch::Answer;
use super::manifest::Manifest;
use super::{config, referrers, token};
use crate::case::{Defect, Digest};

/// Judges a manifest; gives the digest of the component, of an application's first one, of native code, or of an index's one
/// child, where nothing is wrong with it.
///
/// # Errors
/// The defects.
pub fn manifest(bytes: &[u8], content_type: &str) -> Result<Digest, Vec<Defect>> {
    let manifest = Manifest::judge(bytes, content_type);
    let first = manifest.application.and_then(|application| application.components.into_iter().next());
    match manifest.component.or(first).or(manifest.native).or(manifest.child) {
        Some(component) if manifest.defects.is_empty() => Ok(component.digest),
        _ => Err(manifest.defects),
    }
}

/// The imports that a config claims for `component`.
///
/// # Errors
/// What is wrong with it.
pub fn claimed_imports(bytes: &[u8], component: &Digest) -> Result<Option<Vec<String>>, Defect> {
    config::claimed_imports(bytes, config::WASM_CONFIG, component)
}

/// How many entries and how many defects an index of referrers has.
pub fn index(bytes: &[u8]) -> (usize, usize) {
    referrers::listed(&answer(bytes, OCI_INDEX))
}

/// Whether a referrer's manifest is taken for evidence about `subject`.
pub fn referrer(bytes: &[u8], content_type: &str, subject: &Digest) -> bool {
    referrers::is_evidence(&answer(bytes, content_type), subject)
}

/// How many layers of the manifest under one of cosign's tags are taken for evidence about `subject`.
pub fn cosign_tag(bytes: &[u8], content_type: &str, subject: &Digest) -> usize {
    referrers::signed_layers(&answer(bytes, content_type), subject)
}

/// Whether a `WWW-Authenticate` line holds a challenge that we can meet.
pub fn challenge(bytes: &[u8]) -> bool {
    let Ok(line) = HeaderValue::from_bytes(bytes) else { return false };
    Challenge::of(&HeaderMap::from_iter([(WWW_AUTHENTICATE, line)])).is_some()
}

/// Whether a token endpoint's answer holds a token.
pub fn token_answer(bytes: &[u8]) -> bool {
    token::read_answer(bytes).is_ok()
}

fn answer(bytes: &[u8], content_type: &str) -> Answer {
    let bytes = Bytes::copy_from_slice(bytes);
    Answer { digest: Digest::of(&bytes), bytes, content_type: content_type.to_owned(), links: Vec::new() }
}
