//! A certificate's signature, checked against each trust root.

use std::collections::BTreeMap;

use sigstore_verify::crypto::CertificateInfo;
use sigstore_verify::{VerificationPolicy, VerificationResult};

use super::certificate::{self, ClaimedIssuer};
use super::claim::Claim;
use super::explain::explain;
use super::rejection::{Fault, Rejection};
use super::root::Root;
use super::verify::{About, Verified, artifact, prove, unproven};
use crate::case::Signer;
use crate::reason::Code;

/// Checks a keyless bundle against each root.
pub(super) fn by_certificate(roots: &[Root], about: About<'_>, claim: Claim) -> Result<Verified, Fault> {
    let Some(leaf) = claim.bundle.signing_certificate().map(|leaf| leaf.as_bytes().to_vec()) else {
        let found = "none";
        return Err(Rejection::mismatch(Code::BUNDLE_MALFORMED, "a signing certificate", found).into());
    };
    let issuer = ClaimedIssuer::of(&leaf);
    let mut first = None;
    for root in roots {
        let error = match root.verifier().verify(artifact(about), &claim.bundle, &VerificationPolicy::any_identity()) {
            Ok(found) => return keyless(root, &found, &leaf, about, claim),
            Err(error) => error,
        };
        let rejection = explain(&error, root, about, &claim)?;
        // The root that names the issuer is the one whose answer counts; others only say that they do not know it.
        if issuer.as_ref().is_some_and(|issuer| root.names_issuer(issuer)) {
            first = Some(rejection);
            continue;
        }
        first.get_or_insert_with(|| not_named(root, rejection, issuer.as_ref()));
    }
    Err(first.unwrap_or_else(no_roots).into())
}

fn keyless(
    root: &Root,
    found: &VerificationResult,
    leaf: &[u8],
    about: About<'_>,
    claim: Claim,
) -> Result<Verified, Fault> {
    if !(found.certificate_verified() && found.sct_verified() && found.tlog_verified()) {
        return Err(unproven("certificate, SCT and log entry"));
    }
    let Some(certificate) = found.certificate() else {
        return Err(unproven("the certificate"));
    };
    let san = certificate::name_of(leaf)?;
    if found.identity().map(sigstore_verify::SubjectAltName::as_str) != Some(san.value.as_str()) {
        let expected = format!("`{}`, the certificate's one name", san.value);
        let found = found.identity().map_or("none".to_owned(), |identity| format!("`{identity}`"));
        return Err(Rejection::mismatch(Code::IDENTITY_MISMATCH, expected, found).into());
    }
    let issuer = match found.issuer() {
        Some(issuer) if !issuer.is_empty() && !issuer.chars().any(char::is_control) => issuer.to_owned(),
        other => {
            let expected = "an OIDC issuer in the certificate";
            let found = other.map_or("none".to_owned(), |issuer| format!("`{issuer}`"));
            return Err(Rejection::mismatch(Code::ISSUER_MISMATCH, expected, found).into());
        }
    };
    let signer = Signer::Keyless { issuer, san, claims: claims(certificate) };
    prove(root, root.name(), signer, found, about, claim)
}

fn not_named(root: &Root, rejection: Rejection, issuer: Option<&ClaimedIssuer>) -> Rejection {
    let elsewhere = [Code::CERTIFICATE_UNTRUSTED, Code::LOG_UNKNOWN, Code::TIMESTAMP_INVALID];
    match issuer {
        Some(issuer) if elsewhere.contains(&rejection.code) => {
            let expected = format!("a certificate by an authority of `{}`", root.name());
            Rejection::mismatch(Code::CERTIFICATE_UNTRUSTED, expected, format!("one by `{}`", issuer.shown()))
        }
        _ => rejection,
    }
}

fn no_roots() -> Rejection {
    let detail =
        "signed with a certificate, but no certificate authority is trusted: add one under `[[evidence.roots]]`";
    Rejection::new(Code::CERTIFICATE_UNTRUSTED, detail)
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
