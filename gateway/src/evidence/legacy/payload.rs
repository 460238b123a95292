//! A simple-signing payload: which artifact a signature of cosign v2 is about (sigstore/cosign `specs/SIGNATURE_SPEC.md`).

use serde_json::{Map, Value};

use super::super::limits::{BUNDLE_BREADTH_MAX, SIMPLE_SIGNING_BYTES_MAX, breadth};
use super::super::rejection::Rejection;
use crate::case::Digest;
use crate::reason::Code;
use crate::strict_json;

/// The only kind of payload that is a signature of an image.
const TYPE: &str = "cosign container image signature";

/// What a payload says, before or after its signature was verified: see who holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// `docker-manifest-digest` as it is written.
    manifest_digest: String,
}

impl Payload {
    /// Reads a payload that can be read in one way only. The reference in it and what stands under `optional` decide nothing.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Rejection> {
        let limit = |expected: String, found: usize| Err(Rejection::mismatch(Code::LIMIT_EXCEEDED, expected, found));
        if payload.len() > SIMPLE_SIGNING_BYTES_MAX {
            return limit(format!("a payload of at most {SIMPLE_SIGNING_BYTES_MAX} bytes"), payload.len());
        }
        let broad = breadth(payload);
        if broad > BUNDLE_BREADTH_MAX {
            return limit(format!("a payload of at most {BUNDLE_BREADTH_MAX} commas and brackets"), broad);
        }
        let value = strict_json::parse(payload, strict_json::MAX_DEPTH).map_err(|error| {
            Rejection::new(Code::STATEMENT_MALFORMED, format!("the payload cannot be read: {error}"))
        })?;
        let fields = object(Some(&value), "the payload", &["critical", "optional"])?;
        match fields.get("optional") {
            None | Some(Value::Null | Value::Object(_)) => {}
            Some(_) => return Err(malformed("`optional` to be an object or null", "something else")),
        }
        let critical = object(fields.get("critical"), "`critical`", &["identity", "image", "type"])?;
        match critical.get("type") {
            Some(Value::String(kind)) if kind == TYPE => {}
            Some(Value::String(kind)) => {
                let expected = format!("a payload of the type `{TYPE}`");
                return Err(Rejection::mismatch(Code::PREDICATE_TYPE_MISMATCH, expected, format!("`{kind}`")));
            }
            _ => return Err(malformed(format!("`critical.type` to be `{TYPE}`"), "none")),
        }
        let identity = object(critical.get("identity"), "`critical.identity`", &["docker-reference"])?;
        text(identity, "docker-reference")?;
        let image = object(critical.get("image"), "`critical.image`", &["docker-manifest-digest"])?;
        Ok(Self { manifest_digest: text(image, "docker-manifest-digest")?.to_owned() })
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

fn object<'a>(value: Option<&'a Value>, name: &str, known: &[&str]) -> Result<&'a Map<String, Value>, Rejection> {
    let fields = value.and_then(Value::as_object);
    let fields = fields.ok_or_else(|| malformed(format!("{name} to be a JSON object"), "something else"))?;
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        None => Ok(fields),
        Some(field) => Err(malformed(format!("no other fields in {name}"), format!("`{field}`"))),
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
