//! What `sigstore-verify` is asked in one call, in its order, and where in it an error says that it stopped.
//!
//! Its call is one for us (facts of 0.15.1: `verify_certificate` and `verify_public_key` in `src/verify.rs`). A variant says
//! what was wrong and so where it stopped, except for a few that stand at several places.

use sigstore_types::{Bundle, KindVersion, SignatureContent};
use sigstore_verify::{CertificateError, Error, TransparencyLogError};

use super::checks::{Asked, Check, Stop};
use super::claim::Claim;
use super::statement::COSIGN_SIGN;

/// By what a bundle is signed: it decides what is checked, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignedBy {
    Certificate,
    Key,
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// An in-toto statement in an envelope.
    Statement,
    /// The artifact itself.
    Artifact,
    /// A payload of cosign v2, which stands in for the artifact: what it is about is our own look.
    Payload,
}

impl Signed {
    fn by(claim: &Claim) -> Self {
        match &claim.bundle.content {
            SignatureContent::DsseEnvelope(_) => Self::Statement,
            _ if claim.is_of_cosign_v2() => Self::Payload,
            _ => Self::Artifact,
        }
    }
}

/// The verifier's order.
fn order(by: SignedBy, signed: Signed) -> Vec<Check> {
    let first: &[Check] = match by {
        SignedBy::Certificate => &[Check::Form, Check::Times, Check::CertificateChain, Check::Sct, Check::Log],
        SignedBy::Key => &[Check::Form, Check::Log, Check::Times],
    };
    let content: &[Check] = match signed {
        Signed::Statement => &[Check::Signature, Check::Binding, Check::Entry],
        Signed::Payload => &[Check::Signature, Check::Entry],
        Signed::Artifact => &[Check::Binding, Check::Signature, Check::Entry],
    };
    [first, content].concat()
}

/// What one call is asked of a claim, without some.
pub(super) fn asked(by: SignedBy, claim: &Claim, left_out: Vec<Check>, waived: Vec<Check>) -> Asked {
    let mut order = order(by, Signed::by(claim));
    order.retain(|check| !left_out.contains(check));
    Asked { order, left_out, waived }
}

/// What is checked of a claim from here on: the call, then our own looks.
pub(super) fn ahead(by: SignedBy, claim: &Claim) -> Vec<Check> {
    let attests = claim.statement.as_ref().is_some_and(|statement| statement.predicate_type != COSIGN_SIGN);
    ahead_of(by, Signed::by(claim), attests.then_some(Check::Predicate))
}

/// The same, where the claim is not at hand any more; `predicate` is for attestations.
pub(super) fn ahead_of(by: SignedBy, signed: Signed, predicate: Option<Check>) -> Vec<Check> {
    let name = (by == SignedBy::Certificate).then_some(Check::Name);
    let subject = (signed != Signed::Artifact).then_some(Check::Subject);
    order(by, signed).into_iter().chain(name).chain(subject).chain(predicate).collect()
}

/// Where the verifier stopped with `error`.
pub(super) fn stop(error: &Error, by: SignedBy, bundle: &Bundle) -> Stop {
    Stop::At(match error {
        Error::Bundle(_) | Error::Certificate(CertificateError::Malformed(_)) => Check::Form,
        Error::Timestamp(_) => Check::Times,
        Error::Certificate(CertificateError::Sct(_)) => Check::Sct,
        Error::Certificate(
            CertificateError::ChainInvalid(_)
            | CertificateError::NoValidAuthority { .. }
            | CertificateError::NotYetValid { .. }
            | CertificateError::Expired { .. },
        ) => Check::CertificateChain,
        Error::TransparencyLog(error) => match error {
            TransparencyLogError::InclusionProof(_) | TransparencyLogError::Checkpoint(_) => Check::Log,
            TransparencyLogError::EntryMismatch(_) => Check::Entry,
            TransparencyLogError::UnknownLog { .. }
            | TransparencyLogError::InclusionPromise(_)
            | TransparencyLogError::IntegratedTime(_) => match by {
                SignedBy::Key => Check::Log,
                // The promise is what makes the log's time one, so it is checked with the times, before the proof.
                SignedBy::Certificate if is_promised_with_times(bundle) => Check::Times,
                SignedBy::Certificate => return Stop::Unsaid,
            },
            _ => return Stop::Unsaid,
        },
        Error::SignatureInvalid(_) => Check::Signature,
        Error::ArtifactMismatch(_) => Check::Binding,
        _ => return Stop::Unsaid,
    })
}

/// Whether each promise in the bundle says a time, as those of Rekor v1 do.
fn is_promised_with_times(bundle: &Bundle) -> bool {
    let entries = &bundle.verification_material.tlog_entries;
    entries
        .iter()
        .filter(|entry| entry.inclusion_promise.is_some())
        .all(|entry| entry.integrated_time.is_some() && entry.kind_version != KindVersion::HashedRekordV002)
}
