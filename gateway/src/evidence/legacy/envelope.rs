//! The DSSE envelope of an attestation of cosign v2 (secure-systems-lab/dsse `envelope.md`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::foreign_json::{Document, object_of};
use super::super::limits::{ATTESTATION_BYTES_MAX, BUNDLE_BREADTH_MAX};
use super::super::rejection::Rejection;
use crate::reason::Code;
use crate::strict_json;

/// The one payload type that binds a statement to an artifact.
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An envelope as it lies in a layer.
const ENVELOPE: Document<'static> = Document {
    name: "envelope",
    bytes_max: ATTESTATION_BYTES_MAX,
    breadth_max: BUNDLE_BREADTH_MAX,
    depth_max: strict_json::MAX_DEPTH,
    malformed: Code::BUNDLE_MALFORMED,
};

/// An envelope of one signature over an in-toto statement.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl Envelope {
    /// Reads an envelope that can be read in one way only; a key's id in it is a hint and decides nothing.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let value = ENVELOPE.read(bytes)?;
        let fields = object_of(
            Some(&value),
            "the envelope",
            &["payloadType", "payload", "signatures"],
            &Code::BUNDLE_MALFORMED,
        )?;
        match fields.get("payloadType").and_then(Value::as_str) {
            Some(IN_TOTO) => {}
            found => {
                let (expected, found) = (format!("the payload type `{IN_TOTO}`"), found.unwrap_or("none"));
                return Err(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, expected, format!("`{found}`")));
            }
        }
        let signatures = fields.get("signatures").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let [signature] = signatures else {
            return Err(malformed("exactly one signature in the envelope", signatures.len()));
        };
        let signature =
            object_of(Some(signature), "a signature of the envelope", &["keyid", "sig"], &Code::BUNDLE_MALFORMED)?;
        Ok(Self { payload: decoded(fields, "payload")?, signature: decoded(signature, "sig")? })
    }

    /// The field `dsseEnvelope` of a bundle.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "payload": STANDARD.encode(&self.payload),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": STANDARD.encode(&self.signature)}],
        })
    }
}

fn decoded(fields: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Rejection> {
    let text = fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let bytes = text.and_then(|text| STANDARD.decode(text).ok());
    bytes.ok_or_else(|| malformed(format!("`{name}` to be canonical base64"), "something else"))
}

fn malformed(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(Code::BUNDLE_MALFORMED, expected, found)
}
