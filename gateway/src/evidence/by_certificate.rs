//! A certificate's signature, checked against each trust root and each own authority.

use std::collections::BTreeMap;
use std::time::Instant;

use sigstore_verify::crypto::CertificateInfo;
use sigstore_verify::{VerificationPolicy, VerificationResult};

use super::certificate::{self, ClaimedIssuer};
use super::checks::{Asked, Call, Check, Checks, Stop};
use super::claim::Claim;
use super::demands::{Demands, LogDemand, SctDemand};
use super::explain::{Missed, explain};
use super::rejection::{Fault, Rejection};
use super::root::{Origin, Root};
use super::stops::{SignedBy, ahead, asked};
use super::verify::{About, Proof, Verified, artifact, prove, unproven};
use crate::case::{Signer, Waiver};
use crate::reason::Code;

/// Checks a bundle with a certificate against each root.
pub(super) fn by_certificate<'a>(
    roots: impl Iterator<Item = &'a Root>,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let by = SignedBy::Certificate;
    checks.expect(&ahead(by, &claim));
    let roots = roots.collect::<Vec<_>>();
    let needs_log = |root: &&Root| root.demands().transparency_log == LogDemand::Required;
    if !claim.has_entry() && roots.iter().all(needs_log) {
        return checks.make(Check::Log, || Err(claim.no_entry().into()));
    }
    let Some(leaf) = claim.bundle.signing_certificate().map(|leaf| leaf.as_bytes().to_vec()) else {
        let none = || Rejection::mismatch(Code::BUNDLE_MALFORMED, "a signing certificate", "none").into();
        return checks.make(Check::Form, || Err(none()));
    };
    let issuer = ClaimedIssuer::of(&leaf);
    let (mut call, mut first) = (Call::default(), None);
    for root in roots {
        let missed = match asking(root.demands(), &claim) {
            Err((check, rejection)) => Missed::beside(check, rejection),
            Ok(policy) => {
                let asked = asked_under(root, &claim);
                match call.ask(|| root.verifier().verify(artifact(about), &claim.bundle, &policy)) {
                    Ok(found) => {
                        let begin = Instant::now();
                        match certified(root, &found, &leaf, &claim) {
                            Ok(proof) => {
                                checks.answered(call, asked);
                                checks.looked(&[Check::Name], None, begin.elapsed());
                                return prove(proof, about, claim.statement, checks);
                            }
                            // One CA may stand in a root and be an own authority: the other one says what it makes of it.
                            Err(Fault::Candidate(rejection)) => {
                                let stop = Stop::Behind(Check::Name, begin.elapsed());
                                Missed { rejection, asked, stop }
                            }
                            Err(ours @ Fault::Ours(_)) => return Err(ours),
                        }
                    }
                    Err(error) => explain(&error, by, asked, root, about, &claim)?,
                }
            }
        };
        // The root that names the issuer is the one whose answer counts; others only say that they do not know it.
        if issuer.as_ref().is_some_and(|issuer| root.names_issuer(issuer)) {
            first = Some(missed);
            continue;
        }
        first.get_or_insert_with(|| not_named(root, missed, issuer.as_ref()));
    }
    let Missed { rejection, asked, stop } = first.unwrap_or_else(no_roots);
    checks.stopped(call, asked, stop);
    Err(rejection.into())
}

/// What the verifier checks of this claim under this root.
fn asked_under(root: &Root, claim: &Claim) -> Asked {
    let sct = (root.demands().sct == SctDemand::NotRequired).then_some(Check::Sct);
    let log: &[Check] = if claim.has_entry() { &[] } else { &[Check::Log, Check::Entry] };
    let left_out = sct.iter().chain(log).copied().collect::<Vec<_>>();
    let mut waived = left_out.clone();
    // Nobody expects one of an own authority.
    waived.retain(|check| *check != Check::Sct || root.waived().contains(&Waiver::Sct));
    asked(SignedBy::Certificate, claim, left_out, waived)
}

/// What the verifier is to check of this claim under a root that asks `demands`.
///
/// It is told to pass over the log for a claim without any entry only: with its leave to do without, it would look at no entry.
fn asking(demands: Demands, claim: &Claim) -> Result<VerificationPolicy, (Check, Rejection)> {
    let policy = match demands.sct {
        SctDemand::Required => VerificationPolicy::any_identity(),
        SctDemand::NotRequired => VerificationPolicy::any_identity().skip_sct(),
    };
    match demands.transparency_log {
        _ if claim.has_entry() => Ok(policy),
        LogDemand::Required => Err((Check::Log, claim.no_entry())),
        LogDemand::Optional if claim.stamps().is_empty() => {
            let expected = "a signed time-stamp, as there is no log entry that could prove a time";
            Err((Check::Times, Rejection::mismatch(Code::TIMESTAMP_MISSING, expected, "none")))
        }
        LogDemand::Optional => Ok(policy.skip_tlog_unsafe()),
    }
}

/// What was not asked of a signature that verified, and is not there. Fails where the verifier did not check what was asked.
fn waived(root: &Root, found: &VerificationResult, claim: &Claim) -> Result<Vec<Waiver>, Fault> {
    let Demands { transparency_log, sct } = root.demands();
    let unlogged = !claim.has_entry() && transparency_log == LogDemand::Optional;
    let logged = claim.has_entry() && found.tlog_verified();
    let unlisted = sct == SctDemand::NotRequired;
    let timed = !found.verified_timestamps().is_empty();
    if !(found.certificate_verified() && timed && (found.sct_verified() || unlisted) && (logged || unlogged)) {
        return Err(unproven("certificate, SCT, log entry and time"));
    }
    let mut waived = root.waived();
    waived.retain(|waiver| *waiver != Waiver::TransparencyLog || unlogged);
    Ok(waived)
}

/// A bundle that verified, with the one name in its certificate.
fn certified<'a>(root: &'a Root, found: &VerificationResult, leaf: &[u8], claim: &Claim) -> Result<Proof<'a>, Fault> {
    let waived = waived(root, found, claim)?;
    let Some(certificate) = found.certificate() else {
        return Err(unproven("the certificate"));
    };
    let san = certificate::name_of(leaf)?;
    if found.identity().map(sigstore_verify::SubjectAltName::as_str) != Some(san.value.as_str()) {
        let expected = format!("`{}`, the certificate's one name", san.value);
        let found = found.identity().map_or("none".to_owned(), |identity| format!("`{identity}`"));
        return Err(Rejection::mismatch(Code::IDENTITY_MISMATCH, expected, found).into());
    }
    let signer = match root.origin() {
        Origin::Sigstore { .. } => Signer::Keyless { issuer: oidc_issuer(found)?, san, claims: claims(certificate) },
        Origin::Own { .. } => {
            no_oidc_issuer(root, found, leaf)?;
            Signer::Certificate { authority: root.name().to_owned(), san }
        }
    };
    // The logs are somebody else's where an own authority borrows them.
    let lender = root.lender().filter(|_| claim.has_entry());
    let vouchers = std::iter::once(root.name()).chain(lender).collect();
    let (times, signed_times) = (found.verified_timestamps().to_vec(), claim.stamps().len());
    Ok(Proof { trust: root.name(), signer, vouchers, times, signed_times, waived })
}

/// Under a Sigstore root somebody vouched for the name: without knowing who, it is nobody's.
fn oidc_issuer(found: &VerificationResult) -> Result<String, Rejection> {
    match found.issuer() {
        Some(issuer) if !issuer.is_empty() && !issuer.chars().any(char::is_control) => Ok(issuer.to_owned()),
        other => {
            let expected = "an OIDC issuer in the certificate";
            let found = other.map_or("none".to_owned(), |issuer| format!("`{issuer}`"));
            Err(Rejection::mismatch(Code::ISSUER_MISMATCH, expected, found))
        }
    }
}

/// Under an own authority nobody but the authority vouched for the name: a certificate that says otherwise would be taken for a
/// keyless one.
fn no_oidc_issuer(root: &Root, found: &VerificationResult, leaf: &[u8]) -> Result<(), Rejection> {
    if found.issuer().is_none() && !certificate::names_oidc_issuer(leaf) {
        return Ok(());
    }
    let expected = format!("no OIDC issuer in a certificate of the own authority `{}`", root.name());
    let found = found.issuer().map_or("one".to_owned(), |issuer| format!("`{issuer}`"));
    Err(Rejection::mismatch(Code::ISSUER_MISMATCH, expected, found))
}

fn not_named(root: &Root, missed: Missed, issuer: Option<&ClaimedIssuer>) -> Missed {
    let elsewhere = [Code::CERTIFICATE_UNTRUSTED, Code::LOG_UNKNOWN, Code::TIMESTAMP_INVALID, Code::TIMESTAMP_MISSING];
    match issuer {
        Some(issuer) if elsewhere.contains(&missed.rejection.code) => {
            let expected = format!("a certificate by an authority of `{}`", root.name());
            let found = format!("one by `{}`", issuer.shown());
            let rejection = Rejection::mismatch(Code::CERTIFICATE_UNTRUSTED, expected, found);
            Missed::beside(Check::CertificateChain, rejection)
        }
        _ => missed,
    }
}

fn no_roots() -> Missed {
    let detail = "signed with a certificate, but no certificate authority is trusted: add one under `[[evidence.roots]]` or \
         `[[evidence.authorities]]`";
    Missed::beside(Check::CertificateChain, Rejection::new(Code::CERTIFICATE_UNTRUSTED, detail))
}

/// Fulcio's claims by name, those that are there (sigstore/fulcio `docs/oid-info.md`).
fn claims(certificate: &CertificateInfo) -> BTreeMap<String, String> {
    let claims = &certificate.ci_claims;
    let old = &claims.deprecated_github;
    [
        ("build_signer_uri", &claims.build_signer_uri),
        ("build_signer_digest", &claims.build_signer_digest),
        ("runner_environment", &claims.runner_environment),
        ("source_repository_uri", &claims.source_repository_uri),
        ("source_repository_digest", &claims.source_repository_digest),
        ("source_repository_ref", &claims.source_repository_ref),
        ("source_repository_identifier", &claims.source_repository_identifier),
        ("source_repository_owner_uri", &claims.source_repository_owner_uri),
        ("source_repository_owner_identifier", &claims.source_repository_owner_identifier),
        ("build_config_uri", &claims.build_config_uri),
        ("build_config_digest", &claims.build_config_digest),
        ("build_trigger", &claims.build_trigger),
        ("run_invocation_uri", &claims.run_invocation_uri),
        ("source_repository_visibility_at_signing", &claims.source_repository_visibility_at_signing),
        ("deployment_environment", &claims.deployment_environment),
        ("token_subject", &claims.token_subject),
        ("workflow_trigger", &old.workflow_trigger),
        ("workflow_sha", &old.workflow_sha),
        ("workflow_name", &old.workflow_name),
        ("workflow_repository", &old.workflow_repository),
        ("workflow_ref", &old.workflow_ref),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
    .collect()
}
