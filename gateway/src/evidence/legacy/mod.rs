//! What cosign v2 left under its tags, held to the rules of bundles.
//!
//! A layer with its annotations is put into the shape of a bundle v0.1 and verified as that: chain, SCT, the log's promise, what the
//! entry is about. It is the only way in for an entry without an inclusion proof, as cosign v2 kept none. What the annotations
//! say of authorities is never trust: of the chain nothing is read.

mod annotations;
mod envelope;
mod payload;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha384};

use self::annotations::Annotations;
use self::envelope::Envelope;
use self::payload::Payload;
use super::algorithm::Algorithm;
use super::checks::{Check, Checks};
use super::claim::{Claim, Versions};
use super::rejection::{Fault, Rejection};
use super::statement::COSIGN_SIGN;
use super::trust::Trust;
use super::verify::{About, Verified, verify};
use crate::case::{CosignLayer, Digest};
use crate::reason::Code;

/// The media type of the one bundle that may hold a promise only.
const BUNDLE_V01: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";
/// The media type of a bundle whose signer may do without a log.
const BUNDLE_V03: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What stands for the hint of a public key: cosign v2 wrote none.
const NO_HINT: &str = "none";

/// Checks a layer of `sha256-HEX.sig` (sigstore/cosign `specs/SIGNATURE_SPEC.md`).
pub(super) fn signature(
    trust: &Trust,
    about: About<'_>,
    layer: &CosignLayer,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let signed = About { digest: Digest::of(&layer.payload), bytes: Some(&layer.payload) };
    let sha256 = || signature_claim(layer, "SHA2_256", signed.digest.as_bytes());
    let (payload, claim) = checks.make(Check::Shape, sha256)?;
    let mut tried = checks.sub();
    let mut verdict = verify(trust, signed, claim, &mut tried);
    // cosign hashed with SHA-256 whatever the key, from 2.6 on with the hash of the key's own kind; the layer does not say.
    if matches!(&verdict, Err(Fault::Candidate(rejection)) if rejection.code == Code::KEY_NOT_TRUSTED)
        && trust.has_key_of(Algorithm::EcdsaP384)
    {
        let (_, claim) = signature_claim(layer, "SHA2_384", &Sha384::digest(&layer.payload))?;
        let mut again = checks.sub();
        let other = verify(trust, signed, claim, &mut again);
        if !matches!(other, Err(Fault::Candidate(_))) {
            (verdict, tried) = (other, again);
        }
    }
    checks.join(&tried);
    let verified = verdict?;
    checks.make(Check::Subject, || payload.expect_about(about.digest))?;
    Ok(verified.annotated(payload.optional))
}

/// The claim of a layer whose payload is hashed with `algorithm`, which gives `digest`.
fn signature_claim(layer: &CosignLayer, algorithm: &str, digest: &[u8]) -> Result<(Payload, Claim), Rejection> {
    let payload = Payload::read(&layer.payload)?;
    let annotations = Annotations::read(&layer.annotations)?;
    let content = json!({
        "messageDigest": {"algorithm": algorithm, "digest": STANDARD.encode(digest)},
        "signature": STANDARD.encode(annotations.expect_signature()?),
    });
    let claim = claim(&annotations, "messageSignature", &content, layer.payload.len())?;
    Ok((payload, claim))
}

/// Checks a layer of `sha256-HEX.att` (sigstore/cosign `specs/ATTESTATION_SPEC.md`).
pub(super) fn attestation(
    trust: &Trust,
    about: About<'_>,
    layer: &CosignLayer,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let claim = checks.make(Check::Shape, || attestation_claim(trust, layer))?;
    verify(trust, about, claim, checks)
}

fn attestation_claim(trust: &Trust, layer: &CosignLayer) -> Result<Claim, Rejection> {
    let envelope = Envelope::read(&layer.payload)?;
    let mut annotations = Annotations::read(&layer.annotations)?;
    annotations.expect_no_signature()?;
    // cosign 2 had the whole envelope dated, cosign 3 has the signature alone, as bundles have it. A stamp of the old kind has to be
    // good as well; its time is not used, as the log's is there.
    annotations.timestamp.take_if(|stamp| trust.roots().iter().any(|root| root.dates(stamp, &layer.payload)));
    let claim = claim(&annotations, "dsseEnvelope", &envelope.to_json(), layer.payload.len())?;
    match &claim.statement {
        Some(statement) if statement.predicate_type == COSIGN_SIGN => {
            let found = format!("`{COSIGN_SIGN}`, which is a signature");
            Err(Rejection::mismatch(Code::PREDICATE_TYPE_MISMATCH, "an attestation's predicate type", found))
        }
        _ => Ok(claim),
    }
}

/// A bundle of what the annotations hold: v0.1 with the entry and its promise; without an entry v0.3, which may have none.
fn claim(annotations: &Annotations, field: &str, content: &Value, size_bytes: usize) -> Result<Claim, Rejection> {
    let media_type = if annotations.entry.is_some() { BUNDLE_V01 } else { BUNDLE_V03 };
    let leaf = |leaf: &[u8]| json!({"rawBytes": STANDARD.encode(leaf)});
    let (name, signer) = match (&annotations.certificate, &annotations.entry) {
        (Some(bytes), Some(_)) => ("x509CertificateChain", json!({"certificates": [leaf(bytes)]})),
        (Some(bytes), None) => ("certificate", leaf(bytes)),
        (None, _) => ("publicKey", json!({"hint": NO_HINT})),
    };
    let mut material =
        json!({name: signer, "tlogEntries": annotations.entry.iter().map(|entry| entry.to_json()).collect::<Vec<_>>()});
    if let Some(stamp) = &annotations.timestamp {
        let stamps = json!([{"signedTimestamp": STANDARD.encode(stamp)}]);
        material["timestampVerificationData"] = json!({"rfc3161Timestamps": stamps});
    }
    let bundle = json!({"mediaType": media_type, "verificationMaterial": material, field: content});
    Claim::of(bundle, size_bytes, Versions::CosignV2)
}
