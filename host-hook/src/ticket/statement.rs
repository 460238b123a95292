//! The signed payload: an in-toto statement (v1) about one component, for one host.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::digest::Digest;
use crate::grants::Grants;
use crate::strict_json;

/// `_type` of every in-toto statement of version 1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a ticket.
pub const PREDICATE_TYPE: &str = "https://witgate.dev/ticket/v1";
/// `predicateType` of SLSA's verification summary: long-lived, for anybody, and therefore never a ticket.
pub const VSA_PREDICATE_TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// The whole payload, field by field as it stands in the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// Exactly one.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is granted.
    pub predicate: Predicate,
}

impl Statement {
    /// A ticket about the component `digest` of the repository `name`.
    pub fn new(name: impl Into<String>, digest: Digest, predicate: Predicate) -> Self {
        let subject = Subject { name: name.into(), digest: SubjectDigest { sha256: Sha256Hex(digest) } };
        Self {
            statement_type: STATEMENT_TYPE.into(),
            subject: vec![subject],
            predicate_type: PREDICATE_TYPE.into(),
            predicate,
        }
    }
}

/// What the statement is about: the component's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Registry and repository, for people: the digest is what counts.
    pub name: String,
    /// The digest of the component's bytes.
    pub digest: SubjectDigest,
}

/// in-toto's digest set with the one algorithm that is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectDigest {
    /// SHA-256 of the component's bytes.
    pub sha256: Sha256Hex,
}

/// 32 bytes written as 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256Hex(pub Digest);

impl Serialize for Sha256Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.hex())
    }
}

impl<'de> Deserialize<'de> for Sha256Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        format!("sha256:{digits}").parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// The ticket's own part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Predicate {
    /// Names this ticket once and for all (UUIDv7).
    pub ticket_id: Uuid,
    /// The decision it carries out, as in `/v1/decisions/{id}`.
    pub decision_id: Uuid,
    /// The gateway's SPIFFE ID.
    pub issuer: String,
    /// The SPIFFE ID of the one host that may use it.
    pub audience: String,
    /// What the host sent to bind the answer to its question; `null` on today's routes.
    #[serde(deserialize_with = "strict_json::present")]
    pub nonce: Option<String>,
    /// Seconds since 1970, UTC.
    pub issued_at: i64,
    /// Seconds since 1970, UTC.
    pub not_before: i64,
    /// Seconds since 1970, UTC: the time to start, not to end.
    pub expires_at: i64,
    /// The bytes.
    pub component: Component,
    /// Every import of the component, sorted, without duplicates.
    pub imports: Vec<String>,
    /// What may be linked, and within which limits.
    pub grants: Grants,
    /// The policy that admitted.
    pub policy: Policy,
    /// Who signed the artifact, verified by the gateway.
    pub signers: Vec<Signer>,
    /// Where the decision stands in the audit log.
    pub log: Log,
}

/// The component's bytes beside their digest, which is the subject's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Component {
    /// The OCI manifest that the decision is about.
    pub manifest_digest: Digest,
    /// The layer's media type.
    pub media_type: String,
    /// The layer's size, in bytes.
    pub size: u64,
    /// SHA-256 of the canonical world.
    pub wit_digest: Digest,
}

/// The policy that admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Policy {
    /// SHA-256 over the bundle.
    pub bundle_digest: Digest,
    /// SHA-256 over the bundle's data, or `null` where `bundleDigest` covers the data too.
    #[serde(deserialize_with = "strict_json::present")]
    pub data_digest: Option<Digest>,
    /// The rule that was asked: `data.witgate.admission`.
    pub entrypoint: String,
    /// Always `admit`.
    pub verdict: Verdict,
}

/// The one verdict that has a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Admitted.
    Admit,
}

/// Who signed the artifact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Signer {
    /// A Fulcio certificate.
    Keyless {
        /// The OIDC issuer.
        issuer: String,
        /// The subject alternative name.
        san: String,
    },
    /// A managed key.
    Key {
        /// SHA-256 of its SPKI DER, lower-case hex.
        keyid: String,
    },
    /// A certificate of an own authority.
    Certificate {
        /// The authority's name in the gateway's configuration.
        authority: String,
        /// The subject alternative name.
        san: String,
    },
    /// An nkey of wasmCloud 1.x.
    LegacyNkey {
        /// The account's public nkey.
        issuer: String,
    },
}

/// Where the decision stands in the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Log {
    /// The log's origin line.
    pub origin: String,
    /// The size of the tree that the checkpoint signs.
    pub tree_size: u64,
    /// The decision's index.
    pub leaf_index: u64,
    /// SHA-256(0x00 ‖ entry).
    pub leaf_hash: Sha256Hex,
    /// The inclusion proof, from the leaf's sibling up (RFC 6962, 2.1.1).
    pub proof: Vec<Sha256Hex>,
    /// The signed checkpoint (C2SP tlog-checkpoint).
    pub checkpoint: String,
}
