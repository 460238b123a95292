//! What verified predicates say: each known type read in full, or the attestation rejected.
//!
//! A predicate type that is not known gives nothing here; its predicate goes to policy as it is. A known type in a shape
//! that is not its own is rejected: policy never sees half of a statement.

mod cyclonedx;
mod openvex;
mod purl;
mod shape;
mod slsa;
mod spdx;
#[cfg(test)]
mod tests;
mod vsa;
mod vulnerabilities;

use serde_json::Value;

use self::shape::{Fields, malformed};
use super::rejection::Rejection;
use crate::case::attested::Attested;

/// Reads the predicate of a known type; `None` for others.
pub(super) fn read(predicate_type: &str, predicate: Option<&Value>) -> Result<Option<Attested>, Rejection> {
    let Some(reader) = reader(predicate_type) else { return Ok(None) };
    let Some(predicate) = predicate else { return Err(malformed("the predicate", "there", "none")) };
    reader(predicate_type, predicate).map(Some)
}

type Reader = fn(&str, &Value) -> Result<Attested, Rejection>;

fn reader(predicate_type: &str) -> Option<Reader> {
    let reader: Reader = match predicate_type {
        "https://slsa.dev/provenance/v0.2" => |_, predicate| slsa::v02(predicate).map(Attested::SlsaProvenance),
        "https://slsa.dev/provenance/v1" => |_, predicate| slsa::v1(predicate).map(Attested::SlsaProvenance),
        "https://slsa.dev/verification_summary/v0.2" => {
            |_, predicate| vsa::v02(predicate).map(Attested::VerificationSummary)
        }
        "https://slsa.dev/verification_summary/v1" => {
            |_, predicate| vsa::v1(predicate).map(Attested::VerificationSummary)
        }
        "https://openvex.dev/ns" | "https://openvex.dev/ns/v0.2.0" => {
            |_, predicate| openvex::read(predicate).map(Attested::Vex)
        }
        "https://cosign.sigstore.dev/attestation/vuln/v1" => {
            |_, predicate| vulnerabilities::cosign(predicate).map(Attested::VulnerabilityScan)
        }
        "https://in-toto.io/attestation/vulns/v0.1" | "https://in-toto.io/attestation/vulns/v0.2" => {
            |_, predicate| vulnerabilities::in_toto(predicate).map(Attested::VulnerabilityScan)
        }
        _ if is_version_of(predicate_type, spdx::PREDICATE, spdx::VERSIONS) => {
            |predicate_type, predicate| spdx::read(predicate_type, predicate).map(Attested::Sbom)
        }
        _ if is_version_of(predicate_type, cyclonedx::PREDICATE, cyclonedx::VERSIONS) => {
            |predicate_type, predicate| cyclonedx::read(predicate_type, predicate).map(Attested::Sbom)
        }
        _ => return None,
    };
    Some(reader)
}

/// `https://spdx.dev/Document`, or that with `/v2.3` behind it.
fn is_version_of(predicate_type: &str, base: &str, versions: &[&str]) -> bool {
    match predicate_type.strip_prefix(base) {
        Some("") => true,
        Some(suffix) => suffix.strip_prefix("/v").is_some_and(|version| versions.contains(&version)),
        None => false,
    }
}

/// The version that a predicate type names, if it does, has to be the document's.
fn same_version(predicate_type: &str, base: &str, found: &str) -> Result<(), Rejection> {
    match predicate_type.strip_prefix(base).and_then(|suffix| suffix.strip_prefix("/v")) {
        Some(version) if version != found => {
            Err(malformed("the document", format!("version `{version}`, as its predicate type says"), found))
        }
        _ => Ok(()),
    }
}

/// The document inside cosign's older wrapper `{"Data": …, "Timestamp": …}`, or the predicate itself.
fn unwrapped<'a>(predicate: &'a Value, what: &'static str) -> Result<Fields<'a>, Rejection> {
    let text = |_: &str| malformed(what, "JSON (attest with `--type spdxjson` or `--type cyclonedx`)", "a text");
    match predicate {
        Value::String(document) => Err(text(document)),
        Value::Object(wrapper) if wrapper.keys().all(|key| key == "Data" || key == "Timestamp") => {
            match wrapper.get("Data") {
                Some(Value::String(document)) => Err(text(document)),
                Some(document) => Fields::of(document, what),
                None => Err(malformed(what, "a document", "none")),
            }
        }
        predicate => Fields::of(predicate, what),
    }
}
