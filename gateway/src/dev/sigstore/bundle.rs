//! What a signature is over, in the two shapes of a bundle: a message or a DSSE envelope.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::key::{KeyKind, SignerKey};
use super::request::{Content, Knob, Knobs, Sign};
use crate::case::Digest;

/// The media type of a bundle v0.3 (sigstore/protobuf-specs `sigstore_bundle.proto`).
pub const BUNDLE_V03: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The media type that a bundle v0.1 has.
pub const BUNDLE_V01: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";

/// The predicate type of cosign v3's signatures.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// The payload type of in-toto statements (in-toto/attestation `spec/v1/envelope.md`).
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A signature with what it is over.
pub(super) struct Signed {
    /// The field of the bundle.
    pub(super) field: &'static str,
    /// Its content.
    pub(super) value: Value,
    /// The signed bytes.
    pub(super) bytes: Vec<u8>,
    /// The statement, for an envelope.
    pub(super) payload: Option<Vec<u8>>,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

/// Signs `what` about `manifest`.
pub(super) fn sign(key: &SignerKey, what: &Content, request: &Sign) -> Result<Signed> {
    let Sign { manifest, knobs, annotations, .. } = request;
    let statement = |predicate_type: &str, predicate: &Value| {
        statement(subjects(*manifest, annotations, knobs), predicate_type, predicate, knobs)
    };
    match what {
        Content::Message { bytes } => message(key, bytes, knobs),
        Content::SignStatement => envelope(key, statement(COSIGN_SIGN, &json!({}))?, knobs),
        Content::Statement { predicate_type, predicate } => envelope(key, statement(predicate_type, predicate)?, knobs),
    }
}

fn message(key: &SignerKey, bytes: &[u8], knobs: &Knobs) -> Result<Signed> {
    let signed = signed_bytes(bytes, knobs);
    let signature = if knobs.has(Knob::Sha384Message) { key.sign_sha384(&signed)? } else { key.sign_message(&signed)? };
    // The digest says with which hash the key signed.
    let (algorithm, digest) = match key.kind() {
        _ if knobs.has(Knob::Sha384Message) => ("SHA2_384", STANDARD.encode(Sha384::digest(bytes))),
        KeyKind::P384 => ("SHA2_384", STANDARD.encode(Sha384::digest(bytes))),
        KeyKind::Ed25519Ph => ("SHA2_512", STANDARD.encode(Sha512::digest(bytes))),
        KeyKind::P256 | KeyKind::Rsa2048 | KeyKind::Ed25519 => ("SHA2_256", STANDARD.encode(Sha256::digest(bytes))),
    };
    Ok(Signed {
        field: "messageSignature",
        value: json!({
            "messageDigest": {"algorithm": algorithm, "digest": digest},
            "signature": STANDARD.encode(&signature),
        }),
        bytes: bytes.to_vec(),
        payload: None,
        signature,
    })
}

fn envelope(key: &SignerKey, payload: Vec<u8>, knobs: &Knobs) -> Result<Signed> {
    let payload_type = if knobs.has(Knob::WrongPayloadType) { "application/json" } else { IN_TOTO };
    // The pre-authentication encoding (secure-systems-lab/dsse `protocol.md`).
    let header = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    let bytes = [header.as_bytes(), &payload].concat();
    let signed = signed_bytes(&bytes, knobs);
    let signature = if knobs.has(Knob::PrehashedStatement) { key.sign_message(&signed)? } else { key.sign(&signed)? };
    let one = json!({"sig": STANDARD.encode(&signature)});
    let signatures = if knobs.has(Knob::TwoDsseSignatures) { vec![one.clone(), one] } else { vec![one] };
    Ok(Signed {
        field: "dsseEnvelope",
        value: json!({
            "payload": STANDARD.encode(&payload),
            "payloadType": payload_type,
            "signatures": signatures,
        }),
        bytes,
        payload: Some(payload),
        signature,
    })
}

/// What the key really signs.
fn signed_bytes(bytes: &[u8], knobs: &Knobs) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if knobs.has(Knob::SignatureOfAnotherContent) {
        bytes.push(b' ');
    }
    bytes
}

/// An in-toto statement (in-toto/attestation `spec/v1/statement.md`).
#[allow(clippy::needless_pass_by_value, reason = "the subjects are made for one statement")]
fn statement(subjects: Value, predicate_type: &str, predicate: &Value, knobs: &Knobs) -> Result<Vec<u8>> {
    if knobs.has(Knob::PayloadNotJson) {
        return Ok(b"no statement at all".to_vec());
    }
    let kind = if knobs.has(Knob::StatementV01) {
        "https://in-toto.io/Statement/v0.1"
    } else if knobs.has(Knob::StatementOfUnknownType) {
        "https://in-toto.io/Statement/v9"
    } else {
        "https://in-toto.io/Statement/v1"
    };
    let mut statement = json!({
        "_type": kind,
        "subject": subjects,
        "predicateType": predicate_type,
    });
    if !knobs.has(Knob::NoPredicate) {
        statement["predicate"] = predicate.clone();
    }
    let mut bytes = serde_json::to_vec(&statement)?;
    if knobs.has(Knob::PayloadDuplicateKey) {
        let again = format!(",\"predicateType\":{}}}", Value::from(predicate_type));
        bytes.pop();
        bytes.extend(again.as_bytes());
    }
    Ok(bytes)
}

fn subjects(manifest: Digest, annotations: &BTreeMap<String, String>, knobs: &Knobs) -> Value {
    let subject = |hex: String| json!({"digest": {"sha256": hex}});
    if !annotations.is_empty() {
        return json!([{"digest": {"sha256": manifest.hex()}, "annotations": annotations}]);
    }
    let other = |name: &str| subject(Digest::of(name.as_bytes()).hex());
    if knobs.has(Knob::NoSubjects) {
        json!([])
    } else if knobs.has(Knob::SeveralSubjects) {
        json!([other("first"), other("second"), subject(manifest.hex())])
    } else if knobs.has(Knob::SubjectTwice) {
        json!([subject(manifest.hex()), subject(manifest.hex())])
    } else if knobs.has(Knob::UpperCaseSubject) {
        json!([subject(manifest.hex().to_uppercase())])
    } else if knobs.has(Knob::Sha512Subject) {
        json!([{"digest": {"sha512": hex::encode(Sha512::digest(manifest.as_bytes()))}}])
    } else {
        json!([subject(manifest.hex())])
    }
}
