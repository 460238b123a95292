//! Possible evidence on its way from `registry` (or a file) to `evidence`; nothing about it is believed yet.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{CandidateSource, Defect, Digest, canonical_json};

/// A piece of possible evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it came from.
    pub source: CandidateSource,
    /// What was received, or why it cannot be looked at.
    pub content: Result<CandidateContent, Defect>,
}

/// What was received, by its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateContent {
    /// A Sigstore bundle.
    Bundle(Bytes),
    /// A layer of the tag `sha256-HEX.sig`: a simple-signing payload, its signature in the annotations
    /// (sigstore/cosign `specs/SIGNATURE_SPEC.md`).
    CosignSignature(CosignLayer),
    /// A layer of the tag `sha256-HEX.att`: a DSSE envelope, its log entry in the annotations.
    CosignAttestation(CosignLayer),
}

/// A layer of one of cosign's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignLayer {
    /// The layer's bytes.
    pub payload: Bytes,
    /// The layer's annotations in the manifest under the tag.
    pub annotations: BTreeMap<String, String>,
}

impl CandidateContent {
    /// How much there is to look at, in bytes.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Bundle(bytes) => bytes.len(),
            Self::CosignSignature(layer) | Self::CosignAttestation(layer) => {
                let annotations = layer.annotations.iter().map(|(name, value)| name.len() + value.len());
                layer.payload.len() + annotations.sum::<usize>()
            }
        }
    }

    /// SHA-256 of a bundle's bytes; of cosign's layers, the digest over format, payload and annotations.
    pub fn digest(&self) -> Digest {
        let of_layer = |format: &str, layer: &CosignLayer| {
            let payload = Digest::of(&layer.payload);
            Digest::of(&canonical_json(&(format, payload, &layer.annotations)))
        };
        match self {
            Self::Bundle(bytes) => Digest::of(bytes),
            Self::CosignSignature(layer) => of_layer("cosign-signature", layer),
            Self::CosignAttestation(layer) => of_layer("cosign-attestation", layer),
        }
    }
}

/// All candidates of one artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Where was looked, in order: see [`super::Evidence::looked_in`].
    pub looked_in: Vec<String>,
    /// What was found, each accounted for.
    pub list: Vec<Candidate>,
}
