//! What to tell of a bundle that the verifier refused.

use sigstore_types::{Bundle, HashAlgorithm, SignatureContent};
use sigstore_verify::Error;
use sigstore_verify::crypto::parse_certificate_info;

use super::claim::Claim;
use super::rejection::{Fault, Rejection, fault};
use super::root::Root;
use super::verify::About;
use crate::reason::Code;

/// The rejection that `error` stands for, with the code of the fact where upstream has one error for two.
pub(super) fn explain(error: &Error, root: &Root, about: About<'_>, claim: &Claim) -> Result<Rejection, Fault> {
    let rejection = match fault(error) {
        Fault::Candidate(rejection) => rejection,
        ours @ Fault::Ours(_) => return Err(ours),
    };
    Ok(if rejection.code == Code::SUBJECT_MISMATCH {
        match other_subject(about, claim) {
            Some(other) => {
                Rejection::mismatch(Code::SUBJECT_MISMATCH, format!("the subject `{}`", about.digest), other)
            }
            // What was signed is about our artifact, so it is the log entry that is about another.
            None => Rejection::new(Code::LOG_ENTRY_MISMATCH, rejection.detail),
        }
    } else if rejection.code == Code::CERTIFICATE_UNTRUSTED {
        outside_validity(root, &claim.bundle).unwrap_or(rejection)
    } else if rejection.code == Code::LOG_PROOF_INVALID {
        root.foreign_log(&claim.bundle).unwrap_or(rejection)
    } else {
        rejection
    })
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

/// A verified time at which the signing certificate was not valid: upstream calls that an invalid chain.
fn outside_validity(root: &Root, bundle: &Bundle) -> Option<Rejection> {
    let certificate = parse_certificate_info(bundle.signing_certificate()?).ok()?;
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    let outside = root.times_of(bundle).into_iter().find(|time| *time < not_before || *time > not_after)?;
    let expected = format!("a signature between `{not_before}` and `{not_after}`, when its certificate is valid");
    Some(Rejection::mismatch(Code::CERTIFICATE_OUTSIDE_VALIDITY, expected, format!("one of `{outside}`")))
}
