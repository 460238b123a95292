//! A simple-signing payload: which artifact a signature of cosign v2 is about (sigstore/cosign `specs/SIGNATURE_SPEC.md`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::foreign_json::{Document, object_of, texts};
use super::super::limits::{BUNDLE_BREADTH_MAX, SIMPLE_SIGNING_BYTES_MAX};
use super::super::rejection::Rejection;
use crate::case::Digest;
use crate::reason::Code;
use crate::strict_json;

/// The only kind of payload that is a signature of an image.
const TYPE: &str = "cosign container image signature";

/// A payload as it lies in a layer.
const PAYLOAD: Document<'static> = Document {
    name: "payload",
    bytes_max: SIMPLE_SIGNING_BYTES_MAX,
    breadth_max: BUNDLE_BREADTH_MAX,
    depth_max: strict_json::MAX_DEPTH,
    malformed: Code::STATEMENT_MALFORMED,
};

/// What a payload says, before or after its signature was verified: see who holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// `docker-manifest-digest` as it is written.
    manifest_digest: String,
    /// What stands under `optional`, as far as it is text: the signer's annotations, which decide nothing here.
    pub(super) optional: BTreeMap<String, String>,
}

impl Payload {
    /// Reads a payload that can be read in one way only. The reference in it and what stands under `optional` decide nothing.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Rejection> {
        let value = PAYLOAD.read(payload)?;
        let fields = object_of(Some(&value), "the payload", &["critical", "optional"], &Code::STATEMENT_MALFORMED)?;
        match fields.get("optional") {
            None | Some(Value::Null | Value::Object(_)) => {}
            Some(_) => return Err(malformed("`optional` to be an object or null", "something else")),
        }
        let critical = object_of(
            fields.get("critical"),
            "`critical`",
            &["identity", "image", "type"],
            &Code::STATEMENT_MALFORMED,
        )?;
        match critical.get("type") {
            Some(Value::String(kind)) if kind == TYPE => {}
            Some(Value::String(kind)) => {
                let expected = format!("a payload of the type `{TYPE}`");
                return Err(Rejection::mismatch(Code::PREDICATE_TYPE_MISMATCH, expected, format!("`{kind}`")));
            }
            _ => return Err(malformed(format!("`critical.type` to be `{TYPE}`"), "none")),
        }
        let identity = object_of(
            critical.get("identity"),
            "`critical.identity`",
            &["docker-reference"],
            &Code::STATEMENT_MALFORMED,
        )?;
        text(identity, "docker-reference")?;
        let image = object_of(
            critical.get("image"),
            "`critical.image`",
            &["docker-manifest-digest"],
            &Code::STATEMENT_MALFORMED,
        )?;
        let manifest_digest = text(image, "docker-manifest-digest")?.to_owned();
        Ok(Self { manifest_digest, optional: texts(fields.get("optional")) })
    }

    /// Whether it is about exactly `digest`, in lower-case hex.
    pub(super) fn expect_about(&self, digest: Digest) -> Result<(), Rejection> {
        if self.manifest_digest == digest.to_string() {
            return Ok(());
        }
        let expected = format!("`docker-manifest-digest` to be `{digest}`");
        Err(Rejection::mismatch(Code::SUBJECT_MISMATCH, expected, format!("`{}`", self.manifest_digest)))
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, Rejection> {
    fields
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| malformed(format!("`{name}` to be a text"), "something else"))
}

fn malformed(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(Code::STATEMENT_MALFORMED, expected, found)
}
