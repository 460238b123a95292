//! cosign's tags: the signatures of an artifact as layers of `sha256-HEX.sig`, its attestations as layers of `sha256-HEX.att`.

use super::super::budgets::{ATTESTATION_BYTES, COSIGN_LAYERS, COSIGN_PAYLOAD_BYTES, MANIFEST_BYTES};
use super::super::document::{
    self, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST, invalid, over_limit, shown,
};
use super::super::fault::{Fault, Trouble};
use super::super::fetch::Answer;
use super::super::manifest::{Parts, Shape};
use super::read::{Budget, Format, Piece};
use super::{Search, source};
use crate::case::{Defect, Digest};
use crate::reason::Code;

/// Where these candidates come from.
pub(super) const COSIGN_TAGS: &str = "cosign-tags";
/// A signature's layer (sigstore/cosign `specs/SIGNATURE_SPEC.md`).
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// An attestation's layer (sigstore/cosign `specs/ATTESTATION_SPEC.md`).
const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// What may be asked for: an index as well, as a registry may answer 404 where its kind of manifest is not accepted.
const MANIFESTS: [&str; 4] = [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST];

/// One of the two tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CosignTag {
    Signatures,
    Attestations,
}

impl CosignTag {
    fn name(self, subject: &Digest) -> String {
        let suffix = match self {
            Self::Signatures => "sig",
            Self::Attestations => "att",
        };
        format!("sha256-{}.{suffix}", subject.hex())
    }

    /// A tag says what its layers are: a signature that lies among attestations is neither.
    fn expect(self, layer: &Descriptor, number: usize) -> Result<(), Defect> {
        let expected = match self {
            Self::Signatures => SIMPLE_SIGNING,
            Self::Attestations => DSSE_ENVELOPE,
        };
        if layer.media_type == expected {
            return Ok(());
        }
        let detail = format!("expected `{expected}`, found `{}`", layer.media_type);
        Err(Defect { code: Code::BUNDLE_UNSUPPORTED, about: format!("layers[{number}].mediaType"), detail })
    }
}

/// What lies under one of the tags.
pub(super) struct Tagged {
    tag: CosignTag,
    name: String,
    /// The manifest, as far as it counts against the limits.
    manifest: Option<Descriptor>,
    layers: Result<Vec<Descriptor>, Defect>,
}

impl Search<'_> {
    /// Reads the manifest under a tag; only 404 says that there is none.
    pub(super) async fn ask_cosign_tag(&self, tag: CosignTag) -> Result<Option<Tagged>, Trouble> {
        let name = tag.name(self.subject);
        let url = self.upstream.endpoint(self.repository, "manifests", &name);
        let doing = || format!("reading cosign's tag `{}:{name}`", self.repository);
        let answer = match self.upstream.metadata(&url, self.repository, &MANIFESTS.join(", "), MANIFEST_BYTES).await {
            Ok(answer) => answer,
            Err(Fault::NotFound) => return Ok(None),
            Err(Fault::TooLarge { limit_bytes }) => {
                let defect = over_limit("manifest", format!("more than {limit_bytes} bytes"));
                return Ok(Some(Tagged { tag, name, manifest: None, layers: Err(defect) }));
            }
            Err(fault) => return Err(self.trouble(doing(), fault)),
        };
        if !MANIFESTS.contains(&answer.content_type.as_str()) {
            // A web page, say: nobody said that there is no such tag.
            let fault = Fault::ContentType { expected: OCI_MANIFEST, found: shown(&answer.content_type) };
            return Err(self.trouble(doing(), fault));
        }
        let manifest = Descriptor {
            media_type: answer.content_type.clone(),
            digest: answer.digest,
            size_bytes: answer.bytes.len() as u64,
            annotations: std::collections::BTreeMap::new(),
        };
        let layers = layers(&answer, self.subject);
        Ok(Some(Tagged { tag, name, manifest: Some(manifest), layers }))
    }
}

impl Tagged {
    /// One piece a layer, by the number of the layer; one for the tag as a whole where its manifest has a defect.
    pub(super) fn pieces(self, budget: &mut Budget) -> Vec<Piece> {
        let Self { tag, name, manifest, layers } = self;
        let (format, limit_bytes) = match tag {
            CosignTag::Signatures => (Format::CosignSignature, COSIGN_PAYLOAD_BYTES),
            CosignTag::Attestations => (Format::CosignAttestation, ATTESTATION_BYTES),
        };
        let charged = manifest.map_or(Ok(()), |manifest| budget.charge(&manifest, MANIFEST_BYTES));
        let layers = match charged.and(layers) {
            Ok(layers) => layers,
            Err(defect) => return vec![Piece { source: source(COSIGN_TAGS, name), blob: Err(defect), format }],
        };
        let piece = |(number, layer): (usize, Descriptor)| {
            let mut source = source(COSIGN_TAGS, format!("{name}#{number}"));
            source.media_type = Some(layer.media_type.clone());
            let blob = tag
                .expect(&layer, number)
                .and_then(|()| budget.count())
                .and_then(|()| budget.charge(&layer, limit_bytes))
                .map(|()| layer);
            Piece { source, blob, format }
        };
        layers.into_iter().enumerate().map(piece).collect()
    }
}

/// How many layers under a tag would be taken for signatures about `subject`.
pub(in super::super) fn signed_layers(answer: &Answer, subject: &Digest) -> usize {
    layers(answer, subject).map_or(0, |layers| layers.len())
}

fn layers(answer: &Answer, subject: &Digest) -> Result<Vec<Descriptor>, Defect> {
    let value = document::parse(&answer.bytes, "manifest")?;
    let shape = Shape::of(&value, &answer.content_type)?;
    let Parts::Image { layers, .. } = shape.parts else {
        return Err(invalid("mediaType", "an index, expected a manifest whose layers are signatures"));
    };
    if let Some(found) = shape.subject.filter(|found| found.digest != *subject) {
        let detail = format!("is about `{}`, expected `{subject}`", found.digest);
        return Err(Defect { code: Code::SUBJECT_MISMATCH, about: "subject".into(), detail });
    }
    match layers.len() {
        0 => Err(invalid("layers", "no layers, expected signatures")),
        count if count > COSIGN_LAYERS => Err(over_limit("layers", format!("{count} layers, at most {COSIGN_LAYERS}"))),
        _ => Ok(layers),
    }
}
