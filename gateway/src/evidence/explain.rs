//! What to tell of a bundle that the verifier refused.

use sigstore_types::{HashAlgorithm, KindVersion, SignatureContent};
use sigstore_verify::Error;
use sigstore_verify::crypto::parse_certificate_info;

use super::checks::{Asked, Check, Stop};
use super::claim::Claim;
use super::foreign_json::Document;
use super::limits::{BUNDLE_BREADTH_MAX, SIGNATURE_BYTES_MAX};
use super::rejection::{Fault, Rejection, fault};
use super::root::Root;
use super::stops::{SignedBy, stop};
use super::verify::About;
use crate::reason::Code;
use crate::strict_json;

/// What was refused, what was asked of it, and where that stopped.
pub(super) struct Missed {
    pub(super) rejection: Rejection,
    pub(super) asked: Asked,
    pub(super) stop: Stop,
}

impl Missed {
    /// At a check of our own, beside the verifier's.
    pub(super) fn beside(check: Check, rejection: Rejection) -> Self {
        Self { rejection, asked: Asked::default(), stop: Stop::Beside(check) }
    }
}

/// The rejection that `error` stands for, with the code of the fact where upstream has one error for two.
pub(super) fn explain(
    error: &Error,
    by: SignedBy,
    asked: Asked,
    root: &Root,
    about: About<'_>,
    claim: &Claim,
) -> Result<Missed, Fault> {
    let rejection = match fault(error) {
        Fault::Candidate(rejection) => rejection,
        ours @ Fault::Ours(_) => return Err(ours),
    };
    let mut stop = stop(error, by, &claim.bundle);
    let rejection = if rejection.code == Code::SUBJECT_MISMATCH {
        match other_subject(about, claim) {
            Some(other) => {
                Rejection::mismatch(Code::SUBJECT_MISMATCH, format!("the subject `{}`", about.digest), other)
            }
            // What was signed is about our artifact, so it is the log entry that is about another.
            None => {
                stop = Stop::At(Check::Entry);
                Rejection::new(Code::LOG_ENTRY_MISMATCH, rejection.detail)
            }
        }
    } else if rejection.code == Code::CERTIFICATE_UNTRUSTED {
        outside_validity(root, claim).unwrap_or(rejection)
    } else if rejection.code == Code::LOG_ENTRY_MALFORMED {
        other_verifier(claim).unwrap_or(rejection)
    } else if rejection.code == Code::LOG_PROOF_INVALID {
        root.foreign_log(&claim.bundle).unwrap_or(rejection)
    } else {
        rejection
    };
    Ok(Missed { rejection, asked, stop })
}

/// What the bundle is about by its own words, if that is another artifact.
fn other_subject(about: About<'_>, claim: &Claim) -> Option<String> {
    match (&claim.bundle.content, &claim.statement) {
        (_, Some(statement)) => (!statement.is_about(about.digest)).then(|| statement.subjects_shown()),
        (SignatureContent::MessageSignature(signature), None) => {
            let claimed = signature.message_digest.as_ref()?;
            let hex = hex::encode(claimed.digest.as_bytes());
            if claimed.algorithm != HashAlgorithm::Sha2256 {
                return Some(format!("`{hex}` by {}", claimed.algorithm));
            }
            (hex != about.digest.hex()).then(|| format!("`sha256:{hex}`"))
        }
        _ => None,
    }
}

/// An entry of Rekor v2 by another key than ECDSA P-256: upstream reads no other, and calls the entry malformed.
fn other_verifier(claim: &Claim) -> Option<Rejection> {
    let entries = claim.bundle.verification_material.tlog_entries.iter();
    let mut entries = entries.filter(|entry| entry.kind_version == KindVersion::HashedRekordV002);
    entries.find_map(|entry| {
        let body = BODY.read(entry.canonicalized_body.as_bytes()).ok()?;
        let found = body.pointer("/spec/hashedRekordV002/signature/verifier/keyDetails")?.as_str()?;
        let expected = format!("an entry of Rekor v2 by a `{REKOR_V2_KEY}`");
        let found = (found != REKOR_V2_KEY).then(|| format!("one by a `{found}`, which is not read yet"))?;
        Some(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, expected, found))
    })
}

/// An entry's body, read for a message.
const BODY: Document<'static> = Document {
    name: "log entry's body",
    bytes_max: SIGNATURE_BYTES_MAX,
    breadth_max: BUNDLE_BREADTH_MAX,
    depth_max: strict_json::MAX_DEPTH,
    malformed: Code::LOG_ENTRY_MALFORMED,
};
/// The one kind of key whose entries in Rekor v2 can be read (sigstore/protobuf-specs `PublicKeyDetails`).
const REKOR_V2_KEY: &str = "PKIX_ECDSA_P256_SHA_256";

/// A verified time at which the signing certificate was not valid: upstream calls that an invalid chain.
fn outside_validity(root: &Root, claim: &Claim) -> Option<Rejection> {
    let certificate = parse_certificate_info(claim.bundle.signing_certificate()?).ok()?;
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    let outside = root.times_of(claim).into_iter().find(|time| *time < not_before || *time > not_after)?;
    let expected = format!("a signature between `{not_before}` and `{not_after}`, when its certificate is valid");
    Some(Rejection::mismatch(Code::CERTIFICATE_OUTSIDE_VALIDITY, expected, format!("one of `{outside}`")))
}
