//! From a claim to a proof: the only place that makes a [`Verified`].

use std::collections::BTreeMap;

use serde_json::Value;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{Artifact, Sha256Hash};

use super::by_certificate::by_certificate;
use super::by_key::by_key;
use super::checks::{Check, Checks};
use super::claim::Claim;
use super::limits::breadth;
use super::predicates;
use super::rejection::{Fault, Rejection};
use super::statement::{COSIGN_SIGN, Statement};
use super::trust::Trust;
use crate::case::{
    Attested, CandidateSource, Digest, FindingKind, Signer, Timestamp, VerifiedFinding, Waiver, canonical_json,
};
use crate::outage::{Outage, Peer};
use crate::reason::Code;

/// A bundle whose every check passed for one artifact.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    kind: FindingKind,
    trust: String,
    /// The roots and authorities that vouched for it, by a certificate, a log or a time-stamp.
    vouchers: Vec<String>,
    signer: Signer,
    times: Vec<Timestamp>,
    waived: Vec<Waiver>,
    predicate_type: Option<String>,
    predicate: Option<Value>,
    attests: Option<Box<Attested>>,
    /// The predicate with what it attests in canonical JSON: its bytes and its breadth.
    predicate_bytes: usize,
    predicate_breadth: usize,
    aside: Aside,
}

/// What the verified bytes say and no finding holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// The signer's annotations that are texts: of the subject in a sign statement, under `optional` in a payload of cosign v2.
    pub annotations: BTreeMap<String, String>,
    /// How many signed time-stamps (RFC 3161) are among the times.
    pub signed_times: usize,
}

impl Verified {
    /// The same with what its predicate attests, read in full where the type is a known one.
    ///
    /// Only what is verified is read so: a predicate that has not the shape of its type rejects the attestation.
    pub(super) fn read_predicate(mut self) -> Result<Self, Rejection> {
        if let Some(predicate_type) = &self.predicate_type {
            self.attests = predicates::read(predicate_type, self.predicate.as_ref())?.map(Box::new);
        }
        if let Some(attests) = &self.attests {
            let canonical = canonical_json(attests);
            self.predicate_bytes += canonical.len();
            self.predicate_breadth += breadth(&canonical);
        }
        Ok(self)
    }

    /// The finding of a case.
    pub(super) fn finding(&self, source: CandidateSource) -> VerifiedFinding {
        VerifiedFinding {
            source,
            kind: self.kind,
            trust: self.trust.clone(),
            signer: self.signer.clone(),
            times: self.times.clone(),
            waived: self.waived.clone(),
            predicate_type: self.predicate_type.clone(),
            predicate: self.predicate.clone(),
            attests: self.attests.clone(),
        }
    }

    /// How much of a case its predicate takes, in bytes.
    pub(super) fn predicate_bytes(&self) -> usize {
        self.predicate_bytes
    }

    /// How much memory it takes, in bytes, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        let annotations = self.aside.annotations.iter().map(|(name, value)| 64 + name.len() + value.len());
        3072 + self.predicate_bytes + 64 * self.predicate_breadth + annotations.sum::<usize>()
    }

    /// The same with what a payload of cosign v2 says beside its digest.
    pub(super) fn annotated(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.aside.annotations = annotations;
        self
    }

    /// What the verified bytes say beside the finding.
    pub(super) fn aside(&self) -> &Aside {
        &self.aside
    }

    /// Whether it is a signature or a statement of another kind.
    pub(super) fn kind(&self) -> FindingKind {
        self.kind
    }

    /// The roots and authorities that vouched for it, by a certificate, a log or a time-stamp.
    pub(super) fn vouchers(&self) -> &[String] {
        &self.vouchers
    }

    /// Who signed.
    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// When the signature is known to have existed, sorted.
    pub(super) fn times(&self) -> &[Timestamp] {
        &self.times
    }
}

/// What the bundle has to be about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) digest: Digest,
    /// The bytes, which Ed25519 signatures of messages need; statements go by the digest.
    pub(super) bytes: Option<&'a [u8]>,
}

/// Checks a claim against everything that is trusted, and notes each check.
pub(super) fn verify(trust: &Trust, about: About<'_>, claim: Claim, checks: &mut Checks) -> Result<Verified, Fault> {
    match &claim.bundle.verification_material.content {
        VerificationMaterialContent::PublicKey(key) => {
            let hint = key.hint.clone();
            by_key(trust.roots(), trust.keys(), &hint, about, claim, checks)
        }
        _ => by_certificate(trust.vouchers(), about, claim, checks),
    }
}

/// What was found out about a claim, by whoever checked its cryptography.
pub(super) struct Proof<'a> {
    /// The name of the trust that it verified against.
    pub(super) trust: &'a str,
    pub(super) signer: Signer,
    /// The roots and authorities that were relied on.
    pub(super) vouchers: Vec<&'a str>,
    /// Proven ones only.
    pub(super) times: Vec<Timestamp>,
    /// How many signed time-stamps are among them: each that is there was verified.
    pub(super) signed_times: usize,
    /// What was not asked and is not there.
    pub(super) waived: Vec<Waiver>,
}

/// The last step: the verified payload has to be about the artifact.
pub(super) fn prove(
    proof: Proof<'_>,
    about: About<'_>,
    statement: Option<Statement>,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let mut annotations = BTreeMap::new();
    let (kind, predicate_type, predicate) = match statement {
        None => (FindingKind::Signature, None, None),
        Some(mut statement) => {
            checks.make(Check::Subject, || match statement.is_about(about.digest) {
                true => Ok(()),
                false => {
                    let expected = format!("the subject `{}`", about.digest);
                    Err(Rejection::mismatch(Code::SUBJECT_MISMATCH, expected, statement.subjects_shown()))
                }
            })?;
            annotations = statement.take_annotations(about.digest);
            let signature = statement.predicate_type == COSIGN_SIGN;
            let kind = if signature { FindingKind::Signature } else { FindingKind::Attestation };
            (kind, Some(statement.predicate_type), statement.predicate)
        }
    };
    let Proof { trust, signer, vouchers, mut times, signed_times, waived } = proof;
    times.sort();
    times.dedup();
    let canonical = predicate.as_ref().map(canonical_json).unwrap_or_default();
    let (predicate_bytes, predicate_breadth) = (canonical.len(), breadth(&canonical));
    Ok(Verified {
        kind,
        trust: trust.to_owned(),
        vouchers: vouchers.into_iter().map(str::to_owned).collect(),
        signer,
        times,
        waived,
        predicate_type,
        predicate,
        attests: None,
        predicate_bytes,
        predicate_breadth,
        aside: Aside { annotations, signed_times },
    })
}

/// Upstream says yes without having checked what we rely on: its policy changed under us, so nobody gets in.
pub(super) fn unproven(what: &str) -> Fault {
    Fault::Ours(Outage::new(Peer::Internal, format!("relying on the verification of {what}")))
}

pub(super) fn artifact(about: About<'_>) -> Artifact<'_> {
    about.bytes.map_or_else(|| Artifact::from(Sha256Hash::new(*about.digest.as_bytes())), Artifact::from)
}
