//! The checks that a stored case tells of: without times, and none where its words stand for several.

use super::checks::{Check, Checks, Failure};
use super::stops::{Signed, SignedBy, ahead_of};
use super::wascap;
use crate::case::{Evidence, Finding, FindingKind, RejectedFinding, Signer, TrustKind, VerifiedFinding, Waiver};
use crate::reason::Code;

/// What is checked of every candidate before it is known who signed.
const FIRST: [Check; 4] = [Check::Received, Check::Room, Check::Digest, Check::Shape];
/// What is checked of every signature, whoever signed.
const ANY: [Check; 5] = [Check::Form, Check::Times, Check::Log, Check::Signature, Check::Entry];

/// What is not checked of every signature.
const WAIVABLE: [Check; 5] = [Check::Form, Check::Times, Check::Sct, Check::Log, Check::Entry];

/// What was checked of one finding of `evidence`.
pub(super) fn checks(evidence: &Evidence, finding: &Finding) -> Checks {
    match finding {
        Finding::Verified(finding) => {
            let listed = evidence.trust.iter().any(|trust| trust.kind == TrustKind::RevocationList);
            let mut passed = passed(finding, listed.then_some(Check::Revocation));
            let not_asked = not_asked(finding);
            passed.retain(|check| !not_asked.contains(check));
            Checks::told(passed, None, not_asked)
        }
        Finding::Rejected(finding) => {
            let (mut passed, failed) = stopped(finding);
            // Where some signatures count without a log, an SCT or a time, nobody says whether this one is of those.
            if evidence.trust.iter().any(|trust| !trust.waived.is_empty() || trust.kind == TrustKind::Authority) {
                passed.retain(|check| !WAIVABLE.contains(check));
            }
            Checks::told(passed, Some((failed, Failure::of(finding))), Vec::new())
        }
    }
}

/// What its trust waives, as far as it was not there.
fn not_asked(finding: &VerifiedFinding) -> Vec<Check> {
    let waived = [(Waiver::Sct, &[Check::Sct][..]), (Waiver::TransparencyLog, &[Check::Log, Check::Entry])];
    let there = waived.iter().filter(|(waiver, _)| finding.waived.contains(waiver));
    there.flat_map(|(_, checks)| checks.iter().copied()).collect()
}

fn passed(finding: &VerifiedFinding, revocation: Option<Check>) -> Vec<Check> {
    let by = match &finding.signer {
        Signer::LegacyNkey { .. } => return wascap::ORDER.into_iter().chain(revocation).collect(),
        Signer::Key { .. } => SignedBy::Key,
        Signer::Keyless { .. } | Signer::Certificate { .. } => SignedBy::Certificate,
    };
    let signed = match (&finding.predicate_type, finding.source.via.as_str()) {
        (Some(_), _) => Signed::Statement,
        (None, "cosign-tags") => Signed::Payload,
        (None, _) => Signed::Artifact,
    };
    let attests = finding.kind == FindingKind::Attestation;
    let mut ahead = ahead_of(by, signed, attests.then_some(Check::Predicate));
    let unlogged = finding.waived.contains(&Waiver::TransparencyLog);
    ahead.retain(|check| match (&finding.signer, check) {
        // Nobody expects an SCT of an own authority.
        (Signer::Certificate { .. }, Check::Sct) => false,
        // Without a log entry a key's signature is checked by itself.
        (Signer::Key { .. }, Check::Form | Check::Binding) => !unlogged,
        (Signer::Key { .. }, Check::Times) => !unlogged || !finding.times.is_empty(),
        _ => true,
    });
    if unlogged && by == SignedBy::Key {
        ahead.sort_by_key(|check| *check == Check::Times);
        ahead.sort_by_key(|check| !matches!(check, Check::Signature | Check::Times));
    }
    let last = revocation.into_iter().chain([Check::Clock]).chain(attests.then_some(Check::PredicateRoom));
    FIRST.into_iter().chain(ahead).chain(last).collect()
}

/// What surely passed, and what failed if its code stands at one place only.
fn stopped(finding: &RejectedFinding) -> (Vec<Check>, Option<Check>) {
    let token = finding.source.via == "component";
    let before = |check: Check, order: &[Check]| {
        let passed = order.iter().copied().take_while(|one| *one != check).collect();
        (passed, Some(check))
    };
    let keyless = [&FIRST[..], &ahead_of(SignedBy::Certificate, Signed::Payload, None)].concat();
    match &finding.code {
        code if token => match code {
            code if *code == Code::TOKEN_MALFORMED => before(Check::Shape, &wascap::ORDER),
            code if *code == Code::SIGNATURE_INVALID => before(Check::Signature, &wascap::ORDER),
            code if [Code::TOKEN_UNBOUND, Code::SUBJECT_MISMATCH].contains(code) => {
                before(Check::Subject, &wascap::ORDER)
            }
            code if *code == Code::TOKEN_OUTSIDE_VALIDITY => before(Check::Validity, &wascap::ORDER),
            code if *code == Code::REVOKED => (wascap::ORDER.to_vec(), Some(Check::Revocation)),
            _ => (Vec::new(), None),
        },
        // Of one thing, or of all together.
        code if *code == Code::LIMIT_EXCEEDED => (Vec::new(), None),
        // The digest of what was received stands there as soon as there is one.
        _ if finding.source.digest.is_none() => (Vec::new(), Some(Check::Received)),
        code if *code == Code::DIGEST_MISMATCH => before(Check::Digest, &FIRST),
        code if [Code::BUNDLE_MALFORMED, Code::PREDICATE_TYPE_MISMATCH].contains(code) => before(Check::Shape, &FIRST),
        // No entry at all, or one without a proof: the one is said by who signed, the other by the shape.
        code if *code == Code::LOG_PROOF_MISSING => (FIRST[..3].to_vec(), None),
        code if *code == Code::TIMESTAMP_MISSING => before(Check::Times, &keyless),
        code if *code == Code::CERTIFICATE_OUTSIDE_VALIDITY => before(Check::CertificateChain, &keyless),
        code if *code == Code::SCT_INVALID => before(Check::Sct, &keyless),
        code if [Code::IDENTITY_MISMATCH, Code::ISSUER_MISMATCH].contains(code) => before(Check::Name, &keyless),
        code if *code == Code::LOG_ENTRY_MISMATCH => before(Check::Entry, &[&FIRST[..], &ANY].concat()),
        code if *code == Code::REVOKED => ([&FIRST[..], &ANY].concat(), Some(Check::Revocation)),
        code if [Code::SIGNATURE_INVALID, Code::KEY_NOT_TRUSTED].contains(code) => {
            (FIRST.to_vec(), Some(Check::Signature))
        }
        _ => (Vec::new(), None),
    }
}
