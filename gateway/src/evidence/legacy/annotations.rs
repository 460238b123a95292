//! The annotations in which cosign v2 keeps what belongs to a signature.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::claim::COSIGN_BUNDLE as BUNDLE;
use super::super::foreign_json::{self, Document};
use super::super::limits::{BUNDLE_BREADTH_MAX, COSIGN_ANNOTATION_BYTES_MAX};
use super::super::rejection::Rejection;
use crate::reason::Code;
use crate::strict_json;

/// The signature over the payload, base64; empty on attestations.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The signing certificate, PEM.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// A signed time-stamp, JSON.
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// What a log entry is about, where the promise alone is the proof: Rekor v2 makes none.
const KINDS: [(&str, &str); 3] = [("hashedrekord", "0.0.1"), ("dsse", "0.0.1"), ("intoto", "0.0.2")];

/// What the annotations hold, decoded; nothing in here is believed yet. Others than these four are not read, the chain among
/// them: it is no trust.
#[derive(Debug)]
pub(super) struct Annotations {
    signature: Option<Vec<u8>>,
    /// DER.
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) entry: Option<Entry>,
    /// A `TimeStampResp` (RFC 3161, 2.4.2).
    pub(super) timestamp: Option<Vec<u8>>,
}

/// An entry of Rekor v1 with the log's promise to include it.
#[derive(Debug)]
pub(super) struct Entry {
    promise: Vec<u8>,
    body: Vec<u8>,
    kind: (String, String),
    integrated_time: u64,
    log_index: u64,
    log_id: Vec<u8>,
}

impl Annotations {
    /// Reads the annotations of one layer; an empty one counts as absent, as it does for cosign.
    pub(super) fn read(annotations: &BTreeMap<String, String>) -> Result<Self, Rejection> {
        let size_bytes: usize = annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size_bytes > COSIGN_ANNOTATION_BYTES_MAX {
            let expected = format!("annotations of at most {COSIGN_ANNOTATION_BYTES_MAX} bytes");
            return Err(Rejection::mismatch(Code::LIMIT_EXCEEDED, expected, size_bytes));
        }
        let text = |name: &str| annotations.get(name).map(String::as_str).filter(|text| !text.is_empty());
        Ok(Self {
            signature: text(SIGNATURE).map(|text| decode(text, SIGNATURE)).transpose()?,
            certificate: text(CERTIFICATE).map(one_certificate).transpose()?,
            entry: text(BUNDLE).map(Entry::read).transpose()?,
            timestamp: text(TIMESTAMP).map(timestamp).transpose()?,
        })
    }

    /// The signature over the payload.
    pub(super) fn expect_signature(&self) -> Result<&[u8], Rejection> {
        self.signature.as_deref().ok_or_else(|| {
            Rejection::mismatch(Code::BUNDLE_MALFORMED, format!("a signature in the annotation `{SIGNATURE}`"), "none")
        })
    }

    /// An envelope holds its signature itself: a second one is of something else.
    pub(super) fn expect_no_signature(&self) -> Result<(), Rejection> {
        match self.signature {
            None => Ok(()),
            Some(_) => {
                let expected = format!("the annotation `{SIGNATURE}` of an envelope to be empty");
                Err(Rejection::mismatch(Code::BUNDLE_MALFORMED, expected, "a signature"))
            }
        }
    }
}

impl Entry {
    /// Reads cosign's `RekorBundle`.
    fn read(text: &str) -> Result<Self, Rejection> {
        let bundle = fields(text, BUNDLE, &["SignedEntryTimestamp", "Payload"])?;
        let promise = match bundle.get("SignedEntryTimestamp") {
            None => "",
            Some(promise) => {
                promise.as_str().ok_or_else(|| malformed(BUNDLE, "`SignedEntryTimestamp` to be a text"))?
            }
        };
        if promise.is_empty() {
            let expected = format!("the log's `SignedEntryTimestamp` in the annotation `{BUNDLE}`");
            return Err(Rejection::mismatch(Code::LOG_PROOF_MISSING, expected, "none"));
        }
        let payload = bundle.get("Payload").and_then(Value::as_object);
        let payload = payload.ok_or_else(|| malformed(BUNDLE, "`Payload` to be an object"))?;
        known(payload, BUNDLE, &["body", "integratedTime", "logIndex", "logID"])?;
        let number = |name: &str| {
            let number = payload.get(name).and_then(Value::as_u64).filter(|number| i64::try_from(*number).is_ok());
            number.ok_or_else(|| malformed(BUNDLE, format!("`{name}` to be a whole number from 0")))
        };
        let text = |name: &str| {
            payload.get(name).and_then(Value::as_str).ok_or_else(|| malformed(BUNDLE, format!("`{name}` to be a text")))
        };
        let log_id = text("logID")?;
        let log_id = match hex::decode(log_id) {
            Ok(bytes) if bytes.len() == 32 && hex::encode(&bytes) == log_id => bytes,
            _ => return Err(malformed(BUNDLE, "`logID` to be a SHA-256 in lower-case hex")),
        };
        let integrated_time = number("integratedTime")?;
        if integrated_time == 0 {
            return Err(malformed(BUNDLE, "`integratedTime` to be a time"));
        }
        let body = decode(text("body")?, BUNDLE)?;
        let kind = kind_of(&body)?;
        Ok(Self {
            promise: decode(promise, BUNDLE)?,
            body,
            kind,
            integrated_time,
            log_index: number("logIndex")?,
            log_id,
        })
    }

    /// `TransparencyLogEntry` (sigstore/protobuf-specs `sigstore_rekor.proto`), whose integers are texts.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "logIndex": self.log_index.to_string(),
            "logId": {"keyId": STANDARD.encode(&self.log_id)},
            "kindVersion": {"kind": self.kind.0, "version": self.kind.1},
            "integratedTime": self.integrated_time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": STANDARD.encode(&self.promise)},
            "canonicalizedBody": STANDARD.encode(&self.body),
        })
    }
}

/// The kind of an entry by its own body, which the log promised.
fn kind_of(body: &[u8]) -> Result<(String, String), Rejection> {
    let value = document("log entry's body", Code::LOG_ENTRY_MALFORMED).read(body)?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("none").to_owned();
    let found = (text("kind"), text("apiVersion"));
    if KINDS.contains(&(found.0.as_str(), found.1.as_str())) {
        return Ok(found);
    }
    let expected = "a log entry that is a hashedrekord/0.0.1, a dsse/0.0.1 or an intoto/0.0.2";
    Err(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, expected, format!("`{}/{}`", found.0, found.1)))
}

/// Exactly one certificate in PEM (RFC 7468) with nothing around it; what is inside is for the verifier.
fn one_certificate(text: &str) -> Result<Vec<u8>, Rejection> {
    let base64 = text.trim_ascii().strip_prefix("-----BEGIN CERTIFICATE-----");
    let base64 = base64.and_then(|text| text.strip_suffix("-----END CERTIFICATE-----"));
    let base64 = base64.map(|text| text.split_ascii_whitespace().collect::<String>());
    let certificate = base64.and_then(|base64| STANDARD.decode(base64).ok()).filter(|bytes| !bytes.is_empty());
    certificate.ok_or_else(|| malformed(CERTIFICATE, "exactly one certificate in PEM"))
}

fn timestamp(text: &str) -> Result<Vec<u8>, Rejection> {
    let fields = fields(text, TIMESTAMP, &["SignedRFC3161Timestamp"])?;
    let stamp = fields.get("SignedRFC3161Timestamp").and_then(Value::as_str).filter(|stamp| !stamp.is_empty());
    decode(stamp.ok_or_else(|| malformed(TIMESTAMP, "`SignedRFC3161Timestamp` to be a text"))?, TIMESTAMP)
}

fn fields(text: &str, name: &str, names: &[&str]) -> Result<Map<String, Value>, Rejection> {
    let value = document(&format!("annotation `{name}`"), Code::BUNDLE_MALFORMED).read(text.as_bytes())?;
    let Value::Object(fields) = value else { return Err(malformed(name, "a JSON object")) };
    known(&fields, name, names)?;
    Ok(fields)
}

/// JSON inside of annotations, which are within [`COSIGN_ANNOTATION_BYTES_MAX`] together.
fn document(name: &str, malformed: Code) -> Document<'_> {
    Document {
        name,
        bytes_max: COSIGN_ANNOTATION_BYTES_MAX,
        breadth_max: BUNDLE_BREADTH_MAX,
        depth_max: strict_json::MAX_DEPTH,
        malformed,
    }
}

fn known(fields: &Map<String, Value>, name: &str, names: &[&str]) -> Result<(), Rejection> {
    foreign_json::known(fields, &format!("the annotation `{name}`"), names, &Code::BUNDLE_MALFORMED)
}

/// Base64 with its padding that encodes back to the very text (RFC 4648, 3.5).
fn decode(text: &str, name: &str) -> Result<Vec<u8>, Rejection> {
    STANDARD.decode(text).map_err(|_| malformed(name, "canonical base64"))
}

fn malformed(name: &str, expected: impl std::fmt::Display) -> Rejection {
    let expected = format!("{expected} in the annotation `{name}`");
    Rejection::mismatch(Code::BUNDLE_MALFORMED, expected, "something else")
}
