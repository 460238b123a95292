//! The one travelling struct: everything a decision may look at, and nothing else.
//!
//! A [`Case`] is the input of the Rego policy, the body of the audit record and what `explain` and `replay` read. Its
//! canonical form is RFC 8785 JSON; its schema is generated to `policies/case.schema.json`. It never holds component bytes.

pub mod attested;
mod candidate;
mod reference;

use std::collections::BTreeMap;

pub use self::attested::Attested;
pub use self::candidate::{Candidate, CandidateContent, Candidates, CosignLayer};
pub use self::reference::{Reference, ReferenceError, Repository};
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
    /// What was admitted last in this repository and scope, if it was another artifact: what an upgrade is compared with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<Previous>,
    /// The caller asks to be let past what may be let past in an emergency.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub break_glass: Option<BreakGlass>,
}

/// The artifact that was admitted last in the same repository and scope, whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// The decision that admitted it.
    #[schemars(with = "String")]
    pub decision: Uuid,
    /// When that was (RFC 3339, UTC).
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// The manifest's digest.
    #[schemars(with = "String")]
    pub artifact: Digest,
    /// The annotation `org.opencontainers.image.version`, if it had one (untrusted).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// The names of its imports, sorted.
    pub imports: Vec<String>,
}

/// A request to be let past what policy's `break_glass` may lift. It never lifts the floor, and grants nothing to link.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Why, in the caller's words; recorded and shown, 1 to 1024 bytes.
    pub justification: String,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nobody is admitted against policy.
    #[default]
    Enforce,
    /// What policy alone refuses is admitted, with the reasons as warnings. The floor still refuses.
    Warn,
    /// As `warn`, but the reasons are recorded only, and not told to the caller.
    Observe,
}

impl Mode {
    /// The word used in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Observe => "observe",
        }
    }
}

/// What the decision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Hand over when admitted.
    Admission,
    /// Decide and record, hand nothing over.
    DryRun,
    /// Let the caller fetch the artifact through the registry door; no ticket is made.
    Pull,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// How the caller was proven.
    pub kind: CallerKind,
    /// The SPIFFE ID, `oidc:ISSUER/…` as the issuer's rule makes it of the token's claims, or `local`.
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
    /// A token that is a JWT-SVID.
    JwtSvid,
    /// A token of an OpenID Connect issuer that the configuration names.
    Oidc,
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
    /// The indexes it was reached through, outermost first: each names the next by digest, the last names the artifact.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schemars(with = "Vec<String>")]
    pub indexes: Vec<Digest>,
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
    /// The components of an application of several layers, in order; there is no `component` then, and each is part of the
    /// surface.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub components: Vec<ComponentFacts>,
    /// What an application has beside its components: files, archives of files, its description. Hashed, not looked into.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub carried: Vec<LayerFacts>,
    /// Native code, such as a wasmCloud provider archive, in place of a component: nobody knows what it touches, and it is
    /// refused unless policy grants `native`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub native: Option<LayerFacts>,
    /// What is wrong with it; the floor refuses each.
    pub defects: Vec<Defect>,
}

impl ArtifactFacts {
    /// The manifest's digest; `None` where nothing was fetched.
    pub fn seen(&self) -> Option<Digest> {
        (self.digest != Digest::of(&[])).then_some(self.digest)
    }

    /// Of an artifact that nobody has looked at: no bytes, of no kind.
    pub fn unseen() -> Self {
        Self {
            digest: Digest::of(&[]),
            indexes: Vec::new(),
            media_type: String::new(),
            size_bytes: 0,
            annotations: BTreeMap::new(),
            config: None,
            component: None,
            components: Vec::new(),
            carried: Vec::new(),
            native: None,
            defects: Vec::new(),
        }
    }
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

/// A layer that is no component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerFacts {
    /// The layer's digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The layer's size in bytes.
    pub size_bytes: u64,
    /// The layer's media type.
    pub media_type: String,
}

/// Something wrong with the artifact itself, or a revocation of it or of who asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defect {
    /// The stable code.
    pub code: Code,
    /// What it is about, such as `layers[1].size`, a digest or a SPIFFE ID.
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
    /// Where candidates were looked for, in order: `referrers-api`, `fallback-tag`, `cosign-tags`, `component`, `file`.
    pub looked_in: Vec<String>,
    /// One for each candidate, sorted by source; none is left out.
    pub findings: Vec<Finding>,
    /// What the revocation list says of the artifact and of who asks for it; the floor refuses each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub revoked: Vec<Defect>,
}

/// One configured trust root, authority or key, or the revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustFacts {
    /// Its name in the configuration.
    pub name: String,
    /// `sigstore-root`, `authority`, `key` or `revocation-list`.
    pub kind: TrustKind,
    /// SHA-256 of the `trusted_root.json`, of the authority's certificates (`docs/keys.md`), of the key's SPKI DER, or of the
    /// revocation list.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Seconds since the root was refreshed or the list issued, at the time of the case.
    pub age_s: u64,
    /// The age past which the floor refuses, in seconds; absent for authorities and keys.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_age_s: Option<u64>,
    /// What it does not ask of a signature, by its settings; absent where it asks everything.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub waived: Vec<Waiver>,
}

/// What is usually asked of a signature, and may be waived by the settings of a root or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Waiver {
    /// An entry in a transparency log.
    TransparencyLog,
    /// The certificate's signed certificate timestamp.
    Sct,
}

/// What kind of trust it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrustKind {
    /// A Sigstore `trusted_root.json`.
    SigstoreRoot,
    /// An own X.509 authority.
    Authority,
    /// A managed public key.
    Key,
    /// The list of what is not to be believed any more.
    RevocationList,
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
    /// `referrers-api`, `fallback-tag`, `cosign-tags`, `component` or `file`.
    pub via: String,
    /// The referrer manifest's digest, the cosign tag with the layer's number, the custom section's name, or the file's.
    pub name: String,
    /// The index that it is about, where it is not about the artifact itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub index: Option<Digest>,
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
    /// The times at which the signature is known to have existed (RFC 3339); none where nothing proves one.
    #[schemars(with = "Vec<String>")]
    pub times: Vec<Timestamp>,
    /// What it counts without, because the settings of its trust waive that; absent where it has everything.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub waived: Vec<Waiver>,
    /// The statement's predicate type, for DSSE.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub predicate_type: Option<String>,
    /// The statement's predicate, from the verified bytes, for DSSE; the `wascap` claims, for those.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub predicate: Option<Value>,
    /// What the predicate says, for the types that are known; absent for others, and where the log redacted it.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "attested::or_redacted")]
    pub attests: Option<Box<Attested>>,
}

/// What a verified candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A signature: a message signature, or cosign's sign statement.
    Signature,
    /// A statement of another predicate type.
    Attestation,
    /// A wasmCloud 1.x token in the component itself: no signature in the sense of a policy's `signatures`.
    WascapClaims,
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
    /// A certificate of an own authority, without an OIDC issuer.
    Certificate {
        /// The authority's name in the configuration.
        authority: String,
        /// The one subject alternative name.
        san: San,
    },
    /// An nkey of wasmCloud 1.x.
    LegacyNkey {
        /// The account's public nkey, `A…`: who signed.
        issuer: String,
        /// The module's or provider's public nkey, `M…` or `V…`: what it is called.
        subject: String,
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
    /// Nothing was fetched: what was asked, and by whom, was enough to refuse. The floor refuses it, too.
    Unseen,
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
    /// The policy that decided; of several bundles at once, what they are together.
    pub policy: PolicyFacts,
    /// The bundles, where several decided at once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub bundles: Vec<PolicyFacts>,
    /// Why policy would have refused it, sorted, where the mode is `warn` or `observe`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub would_refuse: Vec<Reason>,
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
