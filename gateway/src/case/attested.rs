//! What a verified attestation says, read from its predicate into one form for each kind of statement.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::Timestamp;

/// The predicate of a known type, normalised; the predicate itself stands beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Attested {
    /// How the artifact was built (SLSA provenance v0.2, v1).
    SlsaProvenance(Provenance),
    /// What is in the artifact (SPDX 2.2, 2.3; CycloneDX 1.4 to 1.6).
    Sbom(Sbom),
    /// Which vulnerabilities a scanner found (cosign's vuln/v1, in-toto's vulns/v0.1, v0.2).
    VulnerabilityScan(VulnerabilityScan),
    /// Which vulnerabilities apply (OpenVEX 0.2).
    Vex(Vex),
    /// What another verifier decided (SLSA verification summary v0.2, v1).
    VerificationSummary(VerificationSummary),
}

/// How the artifact was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The predicate's version.
    pub version: ProvenanceVersion,
    /// Who built, as the provenance says: believe it of signers that may say so.
    pub builder_id: String,
    /// Which kind of build.
    pub build_type: String,
    /// What was built, where the provenance says it in one way only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<Source>,
    /// The workflow that built, where the build type has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workflow: Option<Workflow>,
    /// The materials (v0.2), or the resolved dependencies (v1).
    pub dependencies: Vec<Resource>,
    /// The build's own id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub invocation_id: Option<String>,
    /// When the build began.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub finished_at: Option<Timestamp>,
}

/// The versions of SLSA provenance that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProvenanceVersion {
    /// `https://slsa.dev/provenance/v0.2`
    #[serde(rename = "v0.2")]
    V02,
    /// `https://slsa.dev/provenance/v1`
    #[serde(rename = "v1")]
    V1,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The repository without `git+` and without a ref: `https://github.com/acme/cart`.
    pub uri: String,
    /// What the source hashes to, by algorithm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub digests: BTreeMap<String, String>,
    /// The branch, where the ref is one, or where the push event of a tag names it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub branch: Option<String>,
    /// The tag, where the ref is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<String>,
}

/// The workflow that built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// The repository it lies in.
    pub repository: String,
    /// The ref it was taken from.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its file.
    pub path: String,
}

/// Something a build used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Where it came from, as it is written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uri: Option<String>,
    /// What it hashes to, by algorithm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub digests: BTreeMap<String, String>,
}

/// What is in the artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sbom {
    /// `spdx` or `cyclonedx`.
    pub format: SbomFormat,
    /// The format's version, such as `2.3`.
    pub spec_version: String,
    /// Each package, nested ones too, the artifact itself where it is listed; one with several purls stands once for each.
    pub packages: Vec<Package>,
}

/// The formats of bills of materials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SbomFormat {
    /// SPDX.
    Spdx,
    /// CycloneDX.
    Cyclonedx,
}

/// A package of a bill of materials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name as it is written.
    pub name: String,
    /// The group in front of the name (CycloneDX).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
    /// Its version, of its own field, else of its purl.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Its purl without version, qualifiers and subpath, decoded, in lower case: `pkg:npm/@angular/core`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purl: Option<String>,
    /// The licenses that its license expressions name, each once; a license without identifier by its name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub licenses: Vec<String>,
    /// What it hashes to, by algorithm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub digests: BTreeMap<String, String>,
}

/// Which vulnerabilities a scanner found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VulnerabilityScan {
    /// The scanner.
    pub scanner: Scanner,
    /// The database it looked in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub database: Option<Scanner>,
    /// When the scan ended, by the scanner's word.
    #[schemars(with = "String")]
    pub finished_at: Timestamp,
    /// What it found.
    pub vulnerabilities: Vec<Vulnerability>,
}

/// A scanner, or its database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scanner {
    /// Which one.
    pub uri: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
}

/// One vulnerability of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vulnerability {
    /// Its identifier, such as `CVE-2024-3094`.
    pub id: String,
    /// Its other identifiers.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub component: Option<Affected>,
    /// The version without it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fixed_version: Option<String>,
}

/// How bad a vulnerability is, in words; scores are read by the bands of CVSS v3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// No impact.
    None,
    /// Low, negligible.
    Low,
    /// Medium, moderate.
    Medium,
    /// High, important.
    High,
    /// Critical.
    Critical,
    /// Not rated, or in words that are not read: worse than all others.
    Unknown,
}

/// The package a vulnerability or a VEX statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affected {
    /// Its name, or the identifier that a VEX statement gives it.
    pub name: String,
    /// Its version, of its own field, else of its purl.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Its purl without version, qualifiers and subpath, decoded, in lower case.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purl: Option<String>,
}

/// Which vulnerabilities apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vex {
    /// Who says so, by the document's word: believe the signer.
    pub author: String,
    /// When the document was issued.
    #[schemars(with = "String")]
    pub issued_at: Timestamp,
    /// What it says.
    pub statements: Vec<VexStatement>,
}

/// One statement of a VEX document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VexStatement {
    /// The vulnerability's identifier.
    pub vulnerability: String,
    /// Its other identifiers.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub aliases: Vec<String>,
    /// What it applies to; empty: the subject of the attestation.
    pub products: Vec<VexProduct>,
    /// What is known.
    pub status: VexStatus,
    /// When that was known: the statement's own time, else the document's.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Why it does not apply, as a label.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub justification: Option<String>,
    /// Why it does not apply, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub impact: Option<String>,
}

/// What a VEX statement applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VexProduct {
    /// Its identifier as it is written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The SHA-256 digests by which it names an artifact (`sha256:…`): of an OCI purl, a reference by digest, a hash.
    pub digests: Vec<String>,
    /// The parts it is about; empty: all of it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub subcomponents: Vec<Affected>,
}

/// Whether a vulnerability applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VexStatus {
    /// It does not apply.
    NotAffected,
    /// It does.
    Affected,
    /// It did, in earlier versions.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

/// What another verifier decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerificationSummary {
    /// Who verified, by the summary's word: believe it of signers that may say so.
    pub verifier_id: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub verified_at: Option<Timestamp>,
    /// What the artifact was verified as.
    pub resource_uri: String,
    /// By which policy.
    pub policy: Resource,
    /// The verdict.
    pub result: SummaryResult,
    /// The levels that were reached, such as `SLSA_BUILD_LEVEL_3`.
    pub levels: Vec<String>,
}

/// The verdict of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SummaryResult {
    /// The artifact passed.
    Passed,
    /// It did not.
    Failed,
}

/// Reads what an attestation says; the commitment that stands in for it in the log once it is redacted says nothing.
pub(super) fn or_redacted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Attested>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        StandIn(String),
        Attested(Box<serde_json::Value>),
    }
    match Option::<Written>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Written::StandIn(text)) if text.starts_with("salted-sha256:") => Ok(None),
        Some(Written::StandIn(_)) => Err(serde::de::Error::custom("expected what an attestation says, found a text")),
        Some(Written::Attested(value)) => {
            Attested::deserialize(*value).map(|attested| Some(Box::new(attested))).map_err(serde::de::Error::custom)
        }
    }
}
