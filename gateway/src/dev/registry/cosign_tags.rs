//! Pushing what cosign v2 kept under its tags: one manifest, a layer for each signature (sigstore/cosign
//! `specs/SIGNATURE_SPEC.md`).

use bytes::Bytes;
use serde_json::{Value, json};

use super::Auth;
use super::push::{OCI_MANIFEST, blob_raw, fallback_tag, manifest_raw};
use crate::case::{CosignLayer, Digest};

/// A signature's layer.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// An attestation's layer.
pub const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// The tag of the signatures of `subject`.
pub fn signatures_tag(subject: &Digest) -> String {
    format!("{}.sig", fallback_tag(subject))
}

/// The tag of the attestations about `subject`.
pub fn attestations_tag(subject: &Digest) -> String {
    format!("{}.att", fallback_tag(subject))
}

/// Pushes `layers` of one media type under `tag`, in place of what was there; gives the manifest's digest.
///
/// # Errors
/// When the registry cannot be reached or does not take a part.
pub async fn push(
    host: &str,
    repository: &str,
    tag: &str,
    media_type: &str,
    layers: &[CosignLayer],
    auth: &Auth,
) -> anyhow::Result<Digest> {
    let descriptors = layers.iter().map(|layer| descriptor(media_type, layer)).collect::<Vec<_>>();
    let config = json!({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}).to_string();
    let config = Bytes::from(config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": IMAGE_CONFIG, "digest": Digest::of(&config), "size": config.len()},
        "layers": descriptors,
    });
    blob_raw(host, repository, config, auth).await?;
    for layer in layers {
        blob_raw(host, repository, layer.payload.clone(), auth).await?;
    }
    manifest_raw(host, repository, tag, OCI_MANIFEST, manifest.to_string().into(), auth).await
}

/// The descriptor of one layer, as a manifest under the tag names it.
pub fn descriptor(media_type: &str, layer: &CosignLayer) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::of(&layer.payload),
        "size": layer.payload.len(),
        "annotations": layer.annotations,
    })
}

const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
