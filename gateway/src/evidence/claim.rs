//! A bundle's shape: what it claims, before anything is verified.

use serde_json::{Map, Value};
use sigstore_types::bundle::Rfc3161Timestamp;
use sigstore_types::{Bundle, Checkpoint, SignatureBytes, SignatureContent};

use super::foreign_json::{Document, known, limit, object, object_of};
use super::limits::{ATTESTATION_BYTES_MAX, BUNDLE_BREADTH_MAX, LOG_ENTRIES_MAX, SIGNATURE_BYTES_MAX, TIMESTAMPS_MAX};
use super::rejection::Rejection;
use super::statement::Statement;
use crate::reason::Code;
use crate::strict_json;

/// The media types of a bundle v0.3 (sigstore/protobuf-specs `sigstore_bundle.proto`).
const V03: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];
/// The one payload type that binds a statement to an artifact.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The log entries that bind what a bundle holds.
const KINDS: [(&str, &str); 4] =
    [("hashedrekord", "0.0.1"), ("hashedrekord", "0.0.2"), ("dsse", "0.0.1"), ("intoto", "0.0.2")];
/// The fields of a log entry (sigstore/protobuf-specs `sigstore_rekor.proto`).
const ENTRY_FIELDS: [&str; 7] =
    ["logIndex", "logId", "kindVersion", "integratedTime", "inclusionPromise", "inclusionProof", "canonicalizedBody"];
/// Where cosign v2 kept the log entry with the log's promise, JSON.
pub(super) const COSIGN_BUNDLE: &str = "dev.sigstore.cosign/bundle";
/// What an artifact's signature may be in.
const CONTENTS: [&str; 2] = ["messageSignature", "dsseEnvelope"];
/// What the signer may be named by.
const MATERIALS: [&str; 3] = ["certificate", "publicKey", "x509CertificateChain"];

/// Which bundles are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    /// v0.3 with an inclusion proof on each entry. Media types are not signed: whoever relabels a bundle v0.1 may leave out
    /// the proof.
    V03,
    /// What cosign v2 kept in annotations, as v0.1 with one entry: the only one whose proof may be the log's promise, which
    /// whoever reads the annotations has asked for.
    CosignV2,
    /// v0.1 to v0.3, for the conformance vectors.
    Any,
}

/// A bundle as it is received.
const BUNDLE: Document<'static> = Document {
    name: "bundle",
    bytes_max: ATTESTATION_BYTES_MAX,
    breadth_max: BUNDLE_BREADTH_MAX,
    depth_max: strict_json::MAX_DEPTH,
    malformed: MALFORMED,
};
/// A bundle that can be read in more than one way, or in none.
const MALFORMED: Code = Code::BUNDLE_MALFORMED;

/// What a bundle claims; nothing in here is believed yet.
#[derive(Debug)]
pub(super) struct Claim {
    versions: Versions,
    pub(super) bundle: Bundle,
    /// Read from the very payload in `bundle`, so verifying the one verifies the other.
    pub(super) statement: Option<Statement>,
}

impl Claim {
    /// Reads a bundle that can be read in one way only.
    pub(super) fn read(bytes: &[u8], versions: Versions) -> Result<Self, Rejection> {
        let value = BUNDLE.read(bytes)?;
        Self::of(value, bytes.len(), versions)
    }

    /// Reads a bundle of `size_bytes` that is parsed already.
    pub(super) fn of(mut value: Value, size_bytes: usize, versions: Versions) -> Result<Self, Rejection> {
        without_empty_digest(&mut value);
        let fields = object(Some(&value), "the bundle", &MALFORMED)?;
        known(
            fields,
            "the bundle",
            &["mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope"],
            &MALFORMED,
        )?;
        if versions == Versions::V03 {
            media_type(fields)?;
        }
        let content = exactly_one(fields, "the bundle", &CONTENTS)?;
        if content == "messageSignature" {
            limit("a bundle without statement", "bytes", size_bytes, SIGNATURE_BYTES_MAX)?;
        } else {
            envelope(object(fields.get(content), content, &MALFORMED)?)?;
        }
        let material = object(fields.get("verificationMaterial"), "verificationMaterial", &MALFORMED)?;
        let signer = exactly_one(material, "verificationMaterial", &MATERIALS)?;
        known(
            material,
            "verificationMaterial",
            &["certificate", "publicKey", "x509CertificateChain", "tlogEntries", "timestampVerificationData"],
            &MALFORMED,
        )?;
        if versions == Versions::V03 && signer == "x509CertificateChain" {
            return Err(malformed("expected `certificate` in a bundle v0.3, found `x509CertificateChain`"));
        }
        entries(material, versions)?;
        timestamps(material)?;
        let bundle = serde_json::from_value::<Bundle>(value)
            .map_err(|error| malformed(format!("the bundle cannot be read: {error}")))?;
        let statement = match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) => Some(Statement::read(envelope.payload.as_bytes())?),
            _ => None,
        };
        Ok(Self { versions, bundle, statement })
    }

    /// Whether a log knows of it, by its own words. Each entry that is there is verified in full.
    pub(super) fn has_entry(&self) -> bool {
        !self.bundle.verification_material.tlog_entries.is_empty()
    }

    /// The signed time-stamps beside it.
    pub(super) fn stamps(&self) -> &[Rfc3161Timestamp] {
        &self.bundle.verification_material.timestamp_verification_data.rfc3161_timestamps
    }

    /// The signature itself.
    pub(super) fn signature(&self) -> Option<&SignatureBytes> {
        match &self.bundle.content {
            SignatureContent::MessageSignature(message) => Some(&message.signature),
            SignatureContent::DsseEnvelope(envelope) => Some(&envelope.signature.sig),
            _ => None,
        }
    }

    /// Whether it was put together from what cosign v2 left, whose layers do not say by which hash they were signed.
    pub(super) fn is_of_cosign_v2(&self) -> bool {
        self.versions == Versions::CosignV2
    }

    /// No entry at all, where there has to be one.
    pub(super) fn no_entry(&self) -> Rejection {
        let (expected, found) = match self.versions {
            Versions::CosignV2 => (format!("a log entry in the annotation `{COSIGN_BUNDLE}`"), "none"),
            Versions::V03 | Versions::Any => ("a log entry with an inclusion proof".into(), "no entry"),
        };
        Rejection::mismatch(Code::LOG_PROOF_MISSING, expected, found)
    }
}

/// A message digest without any field is none: cosign writes it so for pure Ed25519 (protobuf's JSON of an unset message).
fn without_empty_digest(bundle: &mut Value) {
    if let Some(Value::Object(message)) = bundle.get_mut("messageSignature")
        && message.get("messageDigest").and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        message.remove("messageDigest");
    }
}

fn media_type(bundle: &Map<String, Value>) -> Result<(), Rejection> {
    let found = match bundle.get("mediaType") {
        Some(Value::String(found)) if V03.contains(&found.as_str()) => return Ok(()),
        Some(Value::String(found)) => format!("`{found}`"),
        _ => "none".into(),
    };
    Err(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, format!("the media type `{}`", V03[0]), found))
}

fn envelope(envelope: &Map<String, Value>) -> Result<(), Rejection> {
    let found = envelope.get("payloadType").and_then(Value::as_str).unwrap_or("none");
    if found != IN_TOTO {
        let expected = format!("the payload type `{IN_TOTO}`");
        return Err(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, expected, format!("`{found}`")));
    }
    Ok(())
}

/// Each entry with an inclusion proof: upstream asks for one proof among all of them. Whether there may be no entry depends on
/// who signed.
fn entries(material: &Map<String, Value>, versions: Versions) -> Result<(), Rejection> {
    let entries = match material.get("tlogEntries") {
        Some(Value::Array(entries)) => &entries[..],
        None => &[],
        Some(_) => return Err(malformed("`tlogEntries` is no list")),
    };
    limit("a bundle", "log entries", entries.len(), LOG_ENTRIES_MAX)?;
    for (index, entry) in entries.iter().enumerate() {
        object_of(Some(entry), "each log entry", &ENTRY_FIELDS, &MALFORMED)?;
        kind(entry)?;
        checkpoint(entry)?;
        if versions == Versions::V03 && !entry.get("inclusionProof").is_some_and(Value::is_object) {
            let found = format!("none on entry {index} of {}", entries.len());
            return Err(Rejection::mismatch(Code::LOG_PROOF_MISSING, "an inclusion proof on each log entry", found));
        }
    }
    Ok(())
}

fn kind(entry: &Value) -> Result<(), Rejection> {
    let text =
        |field| entry.get("kindVersion").and_then(|kind| kind.get(field)).and_then(Value::as_str).unwrap_or("none");
    let found = (text("kind"), text("version"));
    if KINDS.contains(&found) {
        return Ok(());
    }
    let expected = "a log entry that is a hashedrekord, a dsse or an intoto/0.0.2";
    Err(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, expected, format!("`{}/{}`", found.0, found.1)))
}

fn checkpoint(entry: &Value) -> Result<(), Rejection> {
    match entry.pointer("/inclusionProof/checkpoint/envelope") {
        Some(Value::String(note)) if !note.is_empty() => match Checkpoint::from_text(note) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(Rejection::new(Code::LOG_PROOF_INVALID, format!("the checkpoint cannot be read: {error}")))
            }
        },
        _ => Ok(()),
    }
}

fn timestamps(material: &Map<String, Value>) -> Result<(), Rejection> {
    let data = match material.get("timestampVerificationData") {
        None | Some(Value::Null) => return Ok(()),
        data => object(data, "timestampVerificationData", &MALFORMED)?,
    };
    known(data, "timestampVerificationData", &["rfc3161Timestamps"], &MALFORMED)?;
    let stamps = data.get("rfc3161Timestamps").and_then(Value::as_array);
    limit("a bundle", "time-stamps", stamps.map_or(0, Vec::len), TIMESTAMPS_MAX)
}

/// The one of `names` that is there; upstream would take the first and pass over the others.
fn exactly_one<'a>(fields: &Map<String, Value>, name: &str, names: &[&'a str]) -> Result<&'a str, Rejection> {
    let found = names.iter().copied().filter(|field| fields.contains_key(*field)).collect::<Vec<_>>();
    match found[..] {
        [one] => Ok(one),
        _ => {
            let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { "none".to_owned() } else { list(&found) };
            Err(malformed(format!("expected exactly one of {} in {name}, found {found}", list(names))))
        }
    }
}

fn malformed(detail: impl AsRef<str>) -> Rejection {
    Rejection::new(Code::BUNDLE_MALFORMED, detail)
}
