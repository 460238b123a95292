//! What a referrer is, by a look into its manifest.

use super::super::budgets::{ATTESTATION_BYTES, BUNDLE_BYTES};
use super::super::document::{self, Descriptor, OCI_EMPTY, invalid};
use super::super::fetch::Answer;
use super::super::manifest::{Parts, Shape};
use crate::case::{Defect, Digest};
use crate::reason::Code;

/// The predicate by which cosign signs: a signature, not an attestation.
pub(super) const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// Whether a referrer's manifest is taken for a bundle about `subject`.
pub(in super::super) fn is_evidence(answer: &Answer, subject: &Digest) -> bool {
    matches!(Kind::of(answer, subject), Ok(Kind::Bundle { .. }))
}

/// What a referrer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A Sigstore bundle in its one layer.
    Bundle {
        /// The layer.
        bundle: Descriptor,
        /// What it may be long.
        limit_bytes: u64,
    },
    /// Plainly something else: no evidence.
    Other,
    /// Perhaps evidence, but it cannot be used.
    Defective(Defect),
}

impl Kind {
    /// Looks into a referrer's manifest. The list's `artifactType` is never believed: ghcr.io lists bundles as
    /// `application/vnd.oci.empty.v1+json`.
    pub(super) fn of(answer: &Answer, subject: &Digest) -> Result<Self, Defect> {
        let value = document::parse(&answer.bytes, "manifest")?;
        let shape = Shape::of(&value, &answer.content_type)?;
        let (config, layers) = match &shape.parts {
            Parts::Image { config, layers } => (Some(config), layers.as_slice()),
            Parts::Index { .. } => (None, [].as_slice()),
        };
        let config_type = config.map(|config| config.media_type.as_str()).filter(|kind| *kind != OCI_EMPTY);
        let named: Vec<&str> = shape.artifact_type.into_iter().chain(config_type).collect();
        let all = || named.iter().copied().chain(layers.iter().map(|layer| layer.media_type.as_str()));
        if !all().any(is_bundle) {
            let signs = all().any(|kind| {
                kind.starts_with("application/vnd.dev.cosign") || kind.starts_with("application/vnd.dev.sigstore")
            });
            let says_nothing = named.iter().all(|kind| *kind == OCI_EMPTY);
            if !signs && !says_nothing {
                return Ok(Self::Other);
            }
            let detail = format!("no Sigstore bundle: {:?}", all().take(4).collect::<Vec<_>>());
            return Err(Defect { code: Code::BUNDLE_UNSUPPORTED, about: "layers".into(), detail });
        }
        match &shape.subject {
            Some(found) if found.digest == *subject => {}
            found => {
                let found = found.as_ref().map_or_else(|| "nothing".to_owned(), |found| found.digest.to_string());
                let detail = format!("is about `{found}`, expected `{subject}`");
                return Err(Defect { code: Code::SUBJECT_MISMATCH, about: "subject".into(), detail });
            }
        }
        let [bundle] = layers else {
            return Err(invalid("layers", format!("{} layers, expected one bundle", layers.len())));
        };
        if !is_bundle(&bundle.media_type) {
            let detail = format!("`{}` is no Sigstore bundle", bundle.media_type);
            return Err(Defect { code: Code::BUNDLE_UNSUPPORTED, about: "layers[0].mediaType".into(), detail });
        }
        let predicate = shape.annotations.get("dev.sigstore.bundle.predicateType");
        let limit_bytes = match predicate {
            Some(predicate) if predicate != COSIGN_SIGN => ATTESTATION_BYTES,
            _ => BUNDLE_BYTES,
        };
        Ok(Self::Bundle { bundle: bundle.clone(), limit_bytes })
    }
}

fn is_bundle(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.dev.sigstore.bundle")
}
