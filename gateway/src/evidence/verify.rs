//! From a claim to a proof: the only place that makes a [`Verified`].

use std::collections::BTreeMap;

use serde_json::Value;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{Artifact, Bundle, HashAlgorithm, Sha256Hash, SignatureContent};
use sigstore_verify::crypto::{CertificateInfo, parse_certificate_info};
use sigstore_verify::{Error, VerificationPolicy, VerificationResult};

use super::certificate::{self, ClaimedIssuer};
use super::checks::{Call, Check, Checks, Stop};
use super::claim::Claim;
use super::limits::breadth;
use super::predicates;
use super::rejection::{Fault, Rejection, fault};
use super::statement::COSIGN_SIGN;
use super::stops::{SignedBy, ahead, order, stop};
use super::trust::{Key, Root, Trust};
use crate::case::{
    Attested, CandidateSource, Digest, FindingKind, San, Signer, Timestamp, VerifiedFinding, canonical_json,
};
use crate::outage::{Outage, Peer};
use crate::reason::Code;

/// A bundle whose every check passed for one artifact.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    kind: FindingKind,
    trust: String,
    /// The root whose authorities or logs vouched for it.
    root: String,
    signer: Signer,
    times: Vec<Timestamp>,
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

    /// What a payload of cosign v2 says beside its digest.
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

    /// The root whose authorities or logs vouched for it.
    pub(super) fn root(&self) -> &str {
        &self.root
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
pub(super) fn verify(
    trust: &Trust,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    match &claim.bundle.verification_material.content {
        VerificationMaterialContent::PublicKey(key) => {
            let hint = key.hint.clone();
            by_key(trust.roots(), trust.keys(), &hint, about, claim, checks)
        }
        _ => by_certificate(trust.roots(), about, claim, checks),
    }
}

/// Checks a keyless bundle against each root.
pub(super) fn by_certificate(
    roots: &[Root],
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let by = SignedBy::Certificate;
    checks.expect(&ahead(by, &claim));
    let mut call = Call::new(order(by, &claim.bundle));
    let Some(leaf) = claim.bundle.signing_certificate().map(|leaf| leaf.as_bytes().to_vec()) else {
        checks.stopped(call, Stop::Beside(Check::Form));
        let found = "none";
        return Err(Rejection::mismatch(Code::BUNDLE_MALFORMED, "a signing certificate", found).into());
    };
    let issuer = ClaimedIssuer::of(&leaf);
    let mut first = None;
    for root in roots {
        let policy = VerificationPolicy::any_identity();
        let error = match call.ask(|| root.verifier().verify(artifact(about), &claim.bundle, &policy)) {
            Ok(found) => {
                checks.answered(call);
                return keyless(root, &found, &leaf, about, claim, checks);
            }
            Err(error) => error,
        };
        let missed = explain(&error, by, root, about, &claim)?;
        // The root that names the issuer is the one whose answer counts; others only say that they do not know it.
        if issuer.as_ref().is_some_and(|issuer| root.names_issuer(issuer)) {
            first = Some(missed);
            continue;
        }
        first.get_or_insert_with(|| not_named(root, missed, issuer.as_ref()));
    }
    let Missed { rejection, stop } = first.unwrap_or_else(no_roots);
    checks.stopped(call, stop);
    Err(rejection.into())
}

/// Checks a key-signed bundle with each key, with the logs of each root.
pub(super) fn by_key(
    roots: &[Root],
    keys: &[Key],
    hint: &str,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let by = SignedBy::Key;
    checks.expect(&ahead(by, &claim));
    let mut call = Call::new(order(by, &claim.bundle));
    if keys.is_empty() {
        checks.stopped(call, Stop::Beside(Check::Signature));
        let detail = "signed by a managed key, but no key is trusted: add one under `[[evidence.keys]]`";
        return Err(Rejection::new(Code::KEY_NOT_TRUSTED, detail).into());
    }
    if roots.is_empty() {
        checks.stopped(call, Stop::Beside(Check::Log));
        let detail = "no trust root names the log of this signature: add one under `[[evidence.roots]]`";
        return Err(Rejection::new(Code::LOG_UNKNOWN, detail).into());
    }
    let mut nearest = keys.iter().collect::<Vec<_>>();
    nearest.sort_by_key(|key| !key.is_hinted_by(hint));
    let mut closest: Option<Missed> = None;
    for root in roots {
        for key in &nearest {
            let error = match call.ask(|| root.verifier().verify(artifact(about), &claim.bundle, key.policy())) {
                Ok(found) => {
                    checks.answered(call);
                    return keyed(root, key, &found, about, claim, checks);
                }
                Err(error) => error,
            };
            let missed = explain(&error, by, root, about, &claim)?;
            // The nearest miss is the one to tell: another key than this, or another log than this root's, says little.
            let nearness = |missed: &Missed| nearness(&missed.rejection);
            if closest.as_ref().is_none_or(|closest| nearness(&missed) > nearness(closest)) {
                closest = Some(missed);
            }
        }
    }
    checks.stopped(call, closest.as_ref().map_or(Stop::Unsaid, |closest| closest.stop));
    Err(match closest {
        Some(Missed { rejection, .. }) if rejection.code != Code::SIGNATURE_INVALID => rejection,
        _ => {
            let names = keys.iter().map(|key| format!("`{}`", key.name())).collect::<Vec<_>>().join(", ");
            let found = format!("a signature by another key, with the hint `{hint}`");
            Rejection::mismatch(Code::KEY_NOT_TRUSTED, format!("one of the keys {names}"), found)
        }
    }
    .into())
}

fn nearness(rejection: &Rejection) -> u8 {
    match &rejection.code {
        code if *code == Code::LOG_UNKNOWN || *code == Code::TIMESTAMP_INVALID => 0,
        code if *code == Code::SIGNATURE_INVALID => 1,
        _ => 2,
    }
}

fn keyless(
    root: &Root,
    found: &VerificationResult,
    leaf: &[u8],
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    if !(found.certificate_verified() && found.sct_verified() && found.tlog_verified()) {
        return Err(unproven("certificate, SCT and log entry"));
    }
    let Some(certificate) = found.certificate() else {
        return Err(unproven("the certificate"));
    };
    let (san, issuer) = checks.make(Check::Name, || name_and_issuer(leaf, found))?;
    let signer = Signer::Keyless { issuer, san, claims: claims(certificate) };
    prove(root, root.name(), signer, found, about, claim, checks)
}

fn name_and_issuer(leaf: &[u8], found: &VerificationResult) -> Result<(San, String), Rejection> {
    let san = certificate::name_of(leaf)?;
    if found.identity().map(sigstore_verify::SubjectAltName::as_str) != Some(san.value.as_str()) {
        let expected = format!("`{}`, the certificate's one name", san.value);
        let found = found.identity().map_or("none".to_owned(), |identity| format!("`{identity}`"));
        return Err(Rejection::mismatch(Code::IDENTITY_MISMATCH, expected, found));
    }
    match found.issuer() {
        Some(issuer) if !issuer.is_empty() && !issuer.chars().any(char::is_control) => Ok((san, issuer.to_owned())),
        other => {
            let expected = "an OIDC issuer in the certificate";
            let found = other.map_or("none".to_owned(), |issuer| format!("`{issuer}`"));
            Err(Rejection::mismatch(Code::ISSUER_MISMATCH, expected, found))
        }
    }
}

fn keyed(
    root: &Root,
    key: &Key,
    found: &VerificationResult,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    if !found.tlog_verified() {
        return Err(unproven(&format!("the log entry in a log of `{}`", root.name())));
    }
    let signer = Signer::Key { name: key.name().to_owned(), keyid: key.digest().hex() };
    prove(root, key.name(), signer, found, about, claim, checks)
}

/// The last step: the verified payload has to be about the artifact.
fn prove(
    root: &Root,
    trust: &str,
    signer: Signer,
    found: &VerificationResult,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let stamps = &claim.bundle.verification_material.timestamp_verification_data.rfc3161_timestamps;
    // Each that is there was verified, or the verifier had not said yes.
    let mut aside = Aside { signed_times: stamps.len(), ..Aside::default() };
    let (kind, predicate_type, predicate) = match claim.statement {
        None => (FindingKind::Signature, None, None),
        Some(mut statement) => {
            checks.make(Check::Subject, || match statement.is_about(about.digest) {
                true => Ok(()),
                false => {
                    let expected = format!("the subject `{}`", about.digest);
                    Err(Rejection::mismatch(Code::SUBJECT_MISMATCH, expected, statement.subjects_shown()))
                }
            })?;
            aside.annotations = statement.take_annotations(about.digest);
            let signature = statement.predicate_type == COSIGN_SIGN;
            let kind = if signature { FindingKind::Signature } else { FindingKind::Attestation };
            (kind, Some(statement.predicate_type), statement.predicate)
        }
    };
    let mut times = found.verified_timestamps().to_vec();
    times.sort();
    times.dedup();
    let canonical = predicate.as_ref().map(canonical_json).unwrap_or_default();
    let (predicate_bytes, predicate_breadth) = (canonical.len(), breadth(&canonical));
    let (trust, root, attests) = (trust.to_owned(), root.name().to_owned(), None);
    Ok(Verified {
        kind,
        trust,
        root,
        signer,
        times,
        predicate_type,
        predicate,
        attests,
        predicate_bytes,
        predicate_breadth,
        aside,
    })
}

/// Upstream says yes without having checked what we rely on: its policy changed under us, so nobody gets in.
fn unproven(what: &str) -> Fault {
    Fault::Ours(Outage::new(Peer::Internal, format!("relying on the verification of {what}")))
}

fn artifact(about: About<'_>) -> Artifact<'_> {
    about.bytes.map_or_else(|| Artifact::from(Sha256Hash::new(*about.digest.as_bytes())), Artifact::from)
}

/// What the verifier missed, and where it stopped.
struct Missed {
    rejection: Rejection,
    stop: Stop,
}

/// The rejection that `error` stands for, with the code of the fact where upstream has one error for two.
fn explain(error: &Error, by: SignedBy, root: &Root, about: About<'_>, claim: &Claim) -> Result<Missed, Fault> {
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
        outside_validity(root, &claim.bundle).unwrap_or(rejection)
    } else if rejection.code == Code::LOG_PROOF_INVALID {
        root.foreign_log(&claim.bundle).unwrap_or(rejection)
    } else {
        rejection
    };
    Ok(Missed { rejection, stop })
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

fn not_named(root: &Root, missed: Missed, issuer: Option<&ClaimedIssuer>) -> Missed {
    let elsewhere = [Code::CERTIFICATE_UNTRUSTED, Code::LOG_UNKNOWN, Code::TIMESTAMP_INVALID];
    match issuer {
        Some(issuer) if elsewhere.contains(&missed.rejection.code) => {
            let expected = format!("a certificate by an authority of `{}`", root.name());
            let found = format!("one by `{}`", issuer.shown());
            let rejection = Rejection::mismatch(Code::CERTIFICATE_UNTRUSTED, expected, found);
            Missed { rejection, stop: Stop::Beside(Check::CertificateChain) }
        }
        _ => missed,
    }
}

fn no_roots() -> Missed {
    let detail =
        "signed with a certificate, but no certificate authority is trusted: add one under `[[evidence.roots]]`";
    let rejection = Rejection::new(Code::CERTIFICATE_UNTRUSTED, detail);
    Missed { rejection, stop: Stop::Beside(Check::CertificateChain) }
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
