//! The one travelling struct: everything a decision may look at, and nothing else.
//!
//! A [`Case`] is the input of the Rego policy, the body of the audit record and what `explain` and `replay` read. Its
//! canonical form is RFC 8785 JSON; its schema is generated to `policies/case.schema.json`. It never holds component bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
pub use witgate_host_hook::digest::{Digest, DigestError};
pub use witgate_host_hook::grants::{ConfigEntry, Grants, Limits};

use crate::reason::{Code, Reason};

/// A point in time, UTC, as `now` is handed to the stages.
pub type Timestamp = jiff::Timestamp;

/// Everything one decision is made on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The version of this shape.
    pub version: Version,
    /// The decision's id (UUIDv7), known before the log has given it an index.
    #[schemars(with = "String")]
    pub id: Uuid,
    /// When the decision is made (RFC 3339, UTC).
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Whose policies, upstreams and log views apply.
    pub scope: Scope,
    /// What a refusal does.
    pub mode: Mode,
    /// Whether anything may be handed over.
    pub purpose: Purpose,
    /// Who asks, as proven by the `identity` stage.
    pub caller: Caller,
    /// Who is to run it and will be the ticket's audience: the caller's own id unless it asked for another host.
    pub host: String,
    /// Links to other components that the caller asks for, sorted.
    pub links: Vec<String>,
    /// What was asked for, parsed.
    pub reference: ReferenceFacts,
    /// Which bytes it is.
    pub artifact: ArtifactFacts,
    /// Who vouches for them.
    pub evidence: Evidence,
    /// What they would touch.
    pub surface: Surface,
}

/// The versions of [`Case`] that this program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Version {
    /// The first one.
    #[serde(rename = "case/v1")]
    V1,
}

/// A tenant's environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// The tenant: `default` where nothing is configured.
    pub tenant: String,
    /// The environment: `default` where nothing is configured.
    pub environment: String,
}

impl Default for Scope {
    fn default() -> Self {
        Self { tenant: "default".into(), environment: "default".into() }
    }
}

/// What a refusal does in this scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nobody is admitted against policy.
    Enforce,
}

impl Mode {
    /// The word used in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
        }
    }
}

/// What the decision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Hand over when admitted.
    Admission,
    /// Decide and record, hand nothing over.
    DryRun,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// How the caller was proven.
    pub kind: CallerKind,
    /// The SPIFFE ID, or `local`.
    pub id: String,
    /// The SPIFFE trust domain, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trust_domain: Option<String>,
}

/// How a caller was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CallerKind {
    /// A TLS client certificate that is an X.509-SVID.
    X509Svid,
    /// No identity is configured: everyone on loopback is `local`.
    Local,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFacts {
    /// The reference as it was given.
    pub text: String,
    /// The upstream's name in the configuration: usually the registry's host and port.
    pub upstream: String,
    /// The repository inside it, such as `acme/cart`.
    pub repository: String,
    /// The tag, if one was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<String>,
    /// The digest, if one was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub digest: Option<Digest>,
}

/// Which bytes it is. The digest is always computed by us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactFacts {
    /// The manifest's digest: what evidence and decisions are about.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest's size in bytes.
    pub size_bytes: u64,
    /// The manifest's annotations (untrusted).
    pub annotations: BTreeMap<String, String>,
    /// What kind of artifact the manifest says it is: the config's media type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub config: Option<ConfigFacts>,
    /// The component layer, if there is exactly one that witgate takes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub component: Option<ComponentFacts>,
    /// What is wrong with it; the floor refuses each.
    pub defects: Vec<Defect>,
}

/// The OCI config of an artifact: claims of whoever pushed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigFacts {
    /// The config's media type.
    pub media_type: String,
    /// The config's digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The imports it claims; compare with the surface.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub claimed_imports: Option<Vec<String>>,
}

/// The bytes a host would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentFacts {
    /// The layer's digest: what a ticket is about.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The layer's size in bytes.
    pub size_bytes: u64,
    /// The layer's media type.
    pub media_type: String,
}

/// Something wrong with the artifact itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defect {
    /// The stable code.
    pub code: Code,
    /// What it is about, such as `layers[1].size`.
    pub about: String,
    /// What was expected and found.
    pub detail: String,
}

/// Who vouches for the artifact: every candidate that was found, verified or rejected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The trust that candidates were checked against.
    pub trust: Vec<TrustFacts>,
    /// Where candidates were looked for, in order: `referrers-api`, `fallback-tag`, `file`.
    pub looked_in: Vec<String>,
    /// One for each candidate, sorted by source; none is left out.
    pub findings: Vec<Finding>,
}

/// One configured trust root or key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustFacts {
    /// Its name in the configuration.
    pub name: String,
    /// `sigstore-root` or `key`.
    pub kind: TrustKind,
    /// SHA-256 of the `trusted_root.json`, or of the key's SPKI DER.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Seconds since the root was refreshed, at the time of the case.
    pub age_s: u64,
    /// The age past which the floor refuses, in seconds; absent for keys.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_age_s: Option<u64>,
}

/// What kind of trust it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrustKind {
    /// A Sigstore `trusted_root.json`.
    SigstoreRoot,
    /// A managed public key.
    Key,
}

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Finding {
    /// It verified in full; only `evidence` makes these.
    Verified(VerifiedFinding),
    /// It did not, and why.
    Rejected(RejectedFinding),
}

impl Finding {
    /// Where the candidate came from.
    pub fn source(&self) -> &CandidateSource {
        match self {
            Self::Verified(finding) => &finding.source,
            Self::Rejected(finding) => &finding.source,
        }
    }
}

/// Where a candidate came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CandidateSource {
    /// `referrers-api`, `fallback-tag` or `file`.
    pub via: String,
    /// The referrer manifest's digest, or the file's name.
    pub name: String,
    /// The bundle's media type as announced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub media_type: Option<String>,
    /// SHA-256 of the bundle's bytes, if they were read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub digest: Option<Digest>,
}

/// A candidate whose every check passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifiedFinding {
    /// Where it came from.
    pub source: CandidateSource,
    /// Signature over the artifact, or a statement about it.
    pub kind: FindingKind,
    /// The name of the trust it verified against.
    pub trust: String,
    /// Who signed.
    pub signer: Signer,
    /// The times at which the signature is known to have existed (RFC 3339).
    #[schemars(with = "Vec<String>")]
    pub times: Vec<Timestamp>,
    /// The statement's predicate type, for DSSE.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub predicate_type: Option<String>,
    /// The statement's predicate, from the verified bytes, for DSSE.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub predicate: Option<Value>,
}

/// What a verified candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A signature: a message signature, or cosign's sign statement.
    Signature,
    /// A statement of another predicate type.
    Attestation,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Signer {
    /// A Fulcio certificate.
    Keyless {
        /// The OIDC issuer.
        issuer: String,
        /// The one subject alternative name.
        san: San,
        /// Fulcio's OID claims by name, those that are present.
        claims: BTreeMap<String, String>,
    },
    /// A managed key.
    Key {
        /// The key's name in the configuration.
        name: String,
        /// SHA-256 of its SPKI DER, lower-case hex.
        keyid: String,
    },
}

/// A subject alternative name with its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct San {
    /// `uri` or `email`.
    pub kind: SanKind,
    /// The name itself.
    pub value: String,
}

/// The kinds of names a rule may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SanKind {
    /// A URI, SPIFFE IDs included.
    Uri,
    /// An e-mail address.
    Email,
}

/// A candidate that did not verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectedFinding {
    /// Where it came from.
    pub source: CandidateSource,
    /// The stable code.
    pub code: Code,
    /// What was expected and found, for a person.
    pub detail: String,
}

/// What the component would touch, from its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Surface {
    /// A component and its world.
    Component(World),
    /// No component that witgate can read; the floor refuses.
    Unreadable {
        /// What the bytes are, or where reading stopped.
        detail: String,
    },
}

/// A component's imports and exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// SHA-256 of the canonical world: `{"exports":[…],"imports":[…]}` of the lists below, RFC 8785 JSON.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// What it needs, sorted by name.
    pub imports: Vec<Extern>,
    /// What it offers, sorted by name.
    pub exports: Vec<Extern>,
}

/// One import or export.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extern {
    /// The name as it stands in the component: `wasi:sockets/tcp@0.2.3`.
    pub name: String,
    /// The package, if the name is an interface's: `wasi:sockets`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<String>,
    /// The interface, if the name is one: `tcp`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<String>,
    /// The version, if the name has one: `0.2.3`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// The name as wasmtime links it: the version cut to its semver-compatible track (`wasi:sockets/tcp@0.2`).
    pub track: String,
    /// What it is; the floor refuses kinds it does not know.
    pub kind: ExternKind,
    /// What is in it: `func [method]tcp-socket.start-bind`, `resource tcp-socket`, sorted.
    pub items: Vec<String>,
}

/// The kinds of component externs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExternKind {
    /// A WIT interface.
    Instance,
    /// A bare function.
    Func,
    /// A bare type.
    Type,
    /// A core module.
    CoreModule,
    /// A component.
    Component,
    /// A value.
    Value,
}

/// A piece of possible evidence on its way from `registry` (or a file) to `evidence`; nothing about it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it came from.
    pub source: CandidateSource,
    /// The bundle's bytes as received, or why they cannot be looked at.
    pub content: Result<Bytes, Defect>,
}

/// All candidates of one artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Where was looked, in order: `referrers-api`, `fallback-tag`, `file`.
    pub looked_in: Vec<String>,
    /// What was found, each accounted for.
    pub list: Vec<Candidate>,
}

/// What was decided on a case, as it is recorded and answered. Data only: a [`crate::policy::Decision`] is the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionFacts {
    /// The case's id.
    #[schemars(with = "String")]
    pub id: Uuid,
    /// Admit or refuse.
    pub verdict: VerdictWord,
    /// Why it was refused, sorted; empty when admitted.
    pub reasons: Vec<Reason>,
    /// What policy warned of, sorted.
    pub warnings: Vec<Reason>,
    /// What was granted, when admitted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<serde_json::Value>")]
    pub grants: Option<Grants>,
    /// The policy that decided.
    pub policy: PolicyFacts,
}

/// Admit or refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictWord {
    /// The caller gets a ticket.
    Admit,
    /// Nobody gets anything.
    Refuse,
}

impl VerdictWord {
    /// `admit` or `refuse`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Refuse => "refuse",
        }
    }
}

/// Which policy decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFacts {
    /// The bundle's name: `embedded` or the folder's name.
    pub name: String,
    /// The bundle's revision.
    pub revision: String,
    /// SHA-256 over every policy and data file of the bundle.
    #[schemars(with = "String")]
    pub digest: Digest,
}

impl Case {
    /// The case's canonical bytes: RFC 8785 JSON.
    pub fn canonical(&self) -> Vec<u8> {
        canonical_json(self)
    }
}

/// `value` as RFC 8785 canonical JSON.
///
/// # Panics
/// Never for our own types: they hold no floats and no maps with keys other than text.
pub fn canonical_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("our records are JSON: text keys, no floats")
}

/// An OCI reference: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`, at least one of tag and digest.
///
/// The registry is always named: there is no default registry and no `library/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The longest reference that is parsed, in bytes (distribution-spec: host and name at most 255).
    pub const MAX_BYTES: usize = 255 + 1 + 128 + 1 + 71;

    /// The registry as written: `ghcr.io`, `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository: `acme/cart`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Longer than [`Reference::MAX_BYTES`].
    #[error("reference is longer than {} bytes", Reference::MAX_BYTES)]
    TooLong,
    /// No registry in front of the first `/`.
    #[error("reference names no registry: expected `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:…`")]
    NoRegistry,
    /// The registry is not `host` or `host:port`.
    #[error("registry is not `host` or `host:port`")]
    Registry,
    /// The repository breaks the grammar of distribution-spec.
    #[error("repository is not lower-case words joined by `/`, `.`, `_` or `-`")]
    Repository,
    /// The tag breaks the grammar of distribution-spec.
    #[error("tag is not 1 to 128 of `A-Z a-z 0-9 . _ -`")]
    Tag,
    /// The digest is none.
    #[error("digest is not `sha256:` and 64 lower-case hex digits")]
    Digest(#[from] DigestError),
    /// Neither tag nor digest: there is no default tag.
    #[error("reference has neither tag nor digest: add `:TAG` or `@sha256:…`")]
    NoTagOrDigest,
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_BYTES {
            return Err(ReferenceError::TooLong);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, rest) = name.split_once('/').ok_or(ReferenceError::NoRegistry)?;
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_registry(registry) {
            return Err(ReferenceError::Registry);
        }
        if !is_repository(repository) || registry.len() + 1 + repository.len() > 255 {
            return Err(ReferenceError::Repository);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag);
        }
        if tag.is_none() && digest.is_none() {
            return Err(ReferenceError::NoTagOrDigest);
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `localhost`, a name with a dot, an IPv4 address or `[v6]`, each with an optional port: never a bare word, which would
/// read as the first part of a repository.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, port)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => {
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    port.is_none_or(is_port)
        && (host.contains('.') || host == "localhost" || port.is_some())
        && host.split('.').all(label)
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && !text.starts_with('0') && text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// distribution-spec: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`.
fn is_repository(text: &str) -> bool {
    text.split('/').all(|part| {
        let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        let ends_well = bytes.first().copied().is_some_and(alnum) && bytes.last().copied().is_some_and(alnum);
        ends_well
            && part
                .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                .filter(|between| !between.is_empty())
                .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
    })
}

/// distribution-spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.as_bytes().first().copied().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_references_that_would_be_read_two_ways() {
        for text in [
            "",
            "cart",
            "cart:1",
            "acme/cart:1",
            "ghcr.io/acme/cart",
            "ghcr.io/Acme/cart:1",
            "ghcr.io/acme//cart:1",
            "ghcr.io/../x:1",
            "ghcr.io/acme/cart:",
            "ghcr.io/acme/cart:-x",
            "ghcr.io/acme/cart@sha256:12",
            "user@ghcr.io/acme/cart:1",
            "ghcr.io/a___b:1",
            "ghcr.io:0/a:1",
            "ghcr.io:99999/a:1",
            "ghcr.io/a/:1",
            "GHCR.io/a:1",
            "ghcr.io/a:1\n",
            "ghcr.io/%2e%2e/a:1",
            "http://ghcr.io/a:1",
            "[::1/a:1",
            "ghcr..io/a:1",
        ] {
            assert!(text.parse::<Reference>().is_err(), "`{text}` was taken");
        }
    }

    #[test]
    fn takes_the_usual_forms() {
        let digest = Digest::of(b"");
        for text in [
            "ghcr.io/acme/cart:1.4".to_owned(),
            "127.0.0.1:5000/a:latest".into(),
            "localhost:5000/a__b/c-d.e:v1".into(),
            "[::1]:5000/a:1".into(),
            format!("ghcr.io/acme/cart@{digest}"),
            format!("ghcr.io/acme/cart:1.4@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn printing_a_parsed_reference_gives_the_same_text(text in "[a-z0-9.:/@_\\[\\]-]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
