//! Reading what was found, within the limits of one artifact.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::budgets::{EVIDENCE_BYTES, MANIFEST_BYTES, REFERRERS, REFERRERS_AT_ONCE};
use super::super::document::{self, Descriptor, OCI_INDEX, invalid, over_limit};
use super::super::fault::{Fault, Trouble};
use super::kind::Kind;
use super::{Search, source};
use crate::case::{Candidate, CandidateContent, CandidateSource, CosignLayer, Defect, Digest};
use crate::reason::Code;

/// A blob that may be evidence, still to be read; or why it is not.
pub(super) struct Piece {
    pub(super) source: CandidateSource,
    pub(super) blob: Result<Descriptor, Defect>,
    pub(super) format: Format,
}

/// What a blob is to be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Bundle,
    CosignSignature,
    CosignAttestation,
}

impl Format {
    fn content(self, bytes: Bytes, descriptor: Descriptor) -> CandidateContent {
        let layer = |payload| CosignLayer { payload, annotations: descriptor.annotations };
        match self {
            Self::Bundle => CandidateContent::Bundle(bytes),
            Self::CosignSignature => CandidateContent::CosignSignature(layer(bytes)),
            Self::CosignAttestation => CandidateContent::CosignAttestation(layer(bytes)),
        }
    }
}

/// What may still be read for one artifact, charged with announced sizes in listed order.
pub(super) struct Budget {
    left_bytes: u64,
    left_layers: usize,
}

impl Budget {
    /// The whole of it, where `listed` referrers are counted already.
    pub(super) fn besides(listed: usize) -> Self {
        Self { left_bytes: EVIDENCE_BYTES, left_layers: REFERRERS.saturating_sub(listed) }
    }

    /// Takes one layer of cosign's from the number of candidates.
    pub(super) fn count(&mut self) -> Result<(), Defect> {
        self.left_layers = self
            .left_layers
            .checked_sub(1)
            .ok_or_else(|| over_limit("layers", format!("more than {REFERRERS} candidates")))?;
        Ok(())
    }

    /// Takes an announced size from what may still be read.
    pub(super) fn charge(&mut self, entry: &Descriptor, limit_bytes: u64) -> Result<(), Defect> {
        let size_bytes = entry.size_bytes;
        if size_bytes > limit_bytes {
            return Err(over_limit(entry.digest.to_string(), format!("{size_bytes} bytes, at most {limit_bytes}")));
        }
        self.left_bytes = self.left_bytes.checked_sub(size_bytes).ok_or_else(|| {
            over_limit(entry.digest.to_string(), format!("evidence of more than {EVIDENCE_BYTES} bytes in total"))
        })?;
        Ok(())
    }
}

impl Search<'_> {
    /// Reads every referrer's manifest, some at once; gives the bundles they name.
    pub(super) async fn read_referrers(
        &self,
        via: &str,
        entries: Vec<Descriptor>,
        budget: &mut Budget,
    ) -> Result<Vec<Piece>, Trouble> {
        let manifests = entries.into_iter().map(|entry| {
            let charged = budget.charge(&entry, MANIFEST_BYTES);
            async move {
                let kind = match charged {
                    Ok(()) => self.read_manifest(&entry).await?,
                    Err(defect) => Kind::Defective(defect),
                };
                Ok::<_, Trouble>((entry, kind))
            }
        });
        // Collected first: the iterator borrows what is left, the futures do not.
        let manifests: Vec<_> = manifests.collect();
        let read: Vec<_> = stream::iter(manifests).buffered(REFERRERS_AT_ONCE).try_collect().await?;
        let pieces = read.into_iter().filter_map(|(entry, kind)| {
            let mut source = source(via, entry.digest.to_string());
            let blob = match kind {
                Kind::Other => return None,
                Kind::Defective(defect) => Err(defect),
                Kind::Bundle { bundle, limit_bytes } => {
                    source.media_type = Some(bundle.media_type.clone());
                    budget.charge(&bundle, limit_bytes).map(|()| bundle)
                }
            };
            Some(Piece { source, blob, format: Format::Bundle })
        });
        Ok(pieces.collect())
    }

    /// Reads every blob once, some at once; gives the candidates in order.
    pub(super) async fn read_pieces(&self, pieces: Vec<Piece>) -> Result<Vec<Candidate>, Trouble> {
        // cosign signs the same payload again for each signer.
        let wanted: BTreeMap<_, _> =
            pieces.iter().filter_map(|piece| piece.blob.as_ref().ok()).map(|blob| (key(blob), blob.clone())).collect();
        let reading: Vec<_> = wanted
            .into_iter()
            .map(|(key, blob)| async move { Ok::<_, Trouble>((key, self.read_blob(&blob).await?)) })
            .collect();
        let read: BTreeMap<_, _> = stream::iter(reading).buffered(REFERRERS_AT_ONCE).try_collect().await?;
        let candidate = |Piece { mut source, blob, format }| {
            let content = blob.and_then(|blob: Descriptor| {
                let bytes = read.get(&key(&blob)).expect("every blob that is wanted was read").clone();
                bytes.map(|bytes| format.content(bytes, blob))
            });
            source.digest = content.as_ref().ok().map(CandidateContent::digest);
            Candidate { source, content }
        };
        Ok(pieces.into_iter().map(candidate).collect())
    }

    async fn read_manifest(&self, entry: &Descriptor) -> Result<Kind, Trouble> {
        let name = entry.digest.to_string();
        let url = self.upstream.endpoint(self.repository, "manifests", &name);
        let accept = [document::OCI_MANIFEST, OCI_INDEX].join(", ");
        let answer = self.upstream.metadata(&url, self.repository, &accept, entry.size_bytes).await;
        let answer = match answer {
            Ok(answer) if answer.digest == entry.digest && answer.bytes.len() as u64 == entry.size_bytes => answer,
            Ok(answer) => return Ok(Kind::Defective(other_bytes("manifest", entry, &answer.digest.to_string()))),
            Err(fault) => match lie(&fault, "manifest", entry) {
                Some(defect) => return Ok(Kind::Defective(defect)),
                None => return Err(self.trouble(format!("reading the referrer `{}@{name}`", self.repository), fault)),
            },
        };
        Ok(Kind::of(&answer, self.subject).unwrap_or_else(Kind::Defective))
    }

    async fn read_blob(&self, blob: &Descriptor) -> Result<Result<Bytes, Defect>, Trouble> {
        match self.upstream.blob(self.repository, &blob.digest, blob.size_bytes).await {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(fault) => match lie(&fault, "blob", blob) {
                Some(defect) => Ok(Err(defect)),
                None => Err(self.trouble(format!("reading the evidence `{}@{}`", self.repository, blob.digest), fault)),
            },
        }
    }
}

fn key(blob: &Descriptor) -> (Digest, u64) {
    (blob.digest, blob.size_bytes)
}

/// A registry that answers, but not with what its own list announced: accounted for, never believed.
pub(super) fn lie(fault: &Fault, about: &str, entry: &Descriptor) -> Option<Defect> {
    match fault {
        Fault::NotFound => Some(invalid(about, format!("`{}` is listed, but the registry answers 404", entry.digest))),
        Fault::DigestMismatch { found, .. } | Fault::HeaderDigest { found } => {
            Some(other_bytes(about, entry, &found.to_string()))
        }
        Fault::SizeMismatch { found, .. } => Some(other_bytes(about, entry, found)),
        Fault::TooLarge { .. } => Some(other_bytes(about, entry, "longer")),
        _ => None,
    }
}

fn other_bytes(about: &str, entry: &Descriptor, found: &str) -> Defect {
    let detail = format!("expected `{}` of {} bytes, found {found}", entry.digest, entry.size_bytes);
    Defect { code: Code::DIGEST_MISMATCH, about: about.into(), detail }
}
