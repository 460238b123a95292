//! The leaf: a small canonical JSON record without personal fields, the only thing that `tile/entries` shows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::Kind;
use super::tlog::tile::MAX_ENTRY_BYTES;
use crate::case::{
    Case, DecisionFacts, Digest, Finding, Mode, Purpose, Surface, Timestamp, VerdictWord, canonical_json,
};
use crate::reason::Code;

/// The version of this shape.
pub const ENTRY_VERSION: u32 = 1;
/// The most reason codes of an entry: 32 of 48 bytes fit well below [`MAX_ENTRY_BYTES`]; the body has them all.
pub const MAX_ENTRY_REASONS: usize = 32;

/// One entry; its bytes are its RFC 8785 JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`ENTRY_VERSION`].
    pub v: u32,
    /// What it records.
    pub kind: Kind,
    /// The decision's or event's id (UUIDv7).
    pub id: Uuid,
    /// When it was decided or happened: UTC, microseconds, always six digits.
    #[serde(serialize_with = "six_digits")]
    pub time: Timestamp,
    /// SHA-256 of the body in its committed form.
    pub body_commit: Digest,
    /// What is there for decisions only.
    #[serde(flatten)]
    pub decision: Option<DecisionEntry>,
}

/// The part of an entry that decisions have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionEntry {
    /// The scope's tenant.
    pub tenant: String,
    /// The scope's environment.
    pub environment: String,
    /// Admit or refuse.
    pub verdict: VerdictWord,
    /// What a refusal does.
    pub mode: Mode,
    /// Whether anything could be handed over.
    pub purpose: Purpose,
    /// The manifest's digest.
    pub artifact: Digest,
    /// The digest of the component's world, if it was readable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub surface_digest: Option<Digest>,
    /// The policy that decided.
    pub policy: PolicyEntry,
    /// SHA-256 of the case in its committed form.
    pub case_digest: Digest,
    /// How many findings there were.
    pub evidence: EvidenceEntry,
    /// The distinct reason codes, sorted, at most [`MAX_ENTRY_REASONS`].
    pub reasons: Vec<Code>,
    /// The number of reasons in the body.
    pub reason_count: u64,
}

/// Which policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyEntry {
    /// The bundle's name.
    pub name: String,
    /// The bundle's revision.
    pub rev: String,
    /// SHA-256 over the bundle.
    pub digest: Digest,
}

/// How many findings there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceEntry {
    /// Those that verified.
    pub verified: u64,
    /// Those that did not.
    pub rejected: u64,
}

/// An entry that would not fit a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry has {size_bytes} bytes, a log entry may have {MAX_ENTRY_BYTES}")]
pub struct EntryTooLarge {
    /// Its size.
    pub size_bytes: usize,
}

impl Entry {
    /// The entry of a decision.
    pub(super) fn of_decision(case: &Case, facts: &DecisionFacts, case_digest: Digest, body_commit: Digest) -> Self {
        let verified = case.evidence.findings.iter().filter(|finding| matches!(finding, Finding::Verified(_))).count();
        let mut reasons: Vec<Code> = facts.reasons.iter().map(|reason| reason.code.clone()).collect();
        reasons.sort();
        reasons.dedup();
        reasons.truncate(MAX_ENTRY_REASONS);
        let decision = DecisionEntry {
            tenant: case.scope.tenant.clone(),
            environment: case.scope.environment.clone(),
            verdict: facts.verdict,
            mode: case.mode,
            purpose: case.purpose,
            artifact: case.artifact.digest,
            surface_digest: match &case.surface {
                Surface::Component(world) => Some(world.digest),
                Surface::Unreadable { .. } | Surface::Unseen => None,
            },
            policy: PolicyEntry {
                name: facts.policy.name.clone(),
                rev: facts.policy.revision.clone(),
                digest: facts.policy.digest,
            },
            case_digest,
            evidence: EvidenceEntry {
                verified: verified as u64,
                rejected: (case.evidence.findings.len() - verified) as u64,
            },
            reasons,
            reason_count: facts.reasons.len() as u64,
        };
        let (kind, time) = (Kind::Decision, microseconds(case.time));
        Self { v: ENTRY_VERSION, kind, id: case.id, time, body_commit, decision: Some(decision) }
    }

    /// The entry of an event.
    pub(super) fn of_event(kind: Kind, id: Uuid, now: Timestamp, body_commit: Digest) -> Self {
        Self { v: ENTRY_VERSION, kind, id, time: microseconds(now), body_commit, decision: None }
    }

    /// Reads an entry; `None` unless `bytes` are exactly what this version writes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes).filter(|entry| canonical_json(entry) == bytes)
    }

    /// Reads an entry whose bytes hash to their leaf: that they are in canonical form was decided when they were appended.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let entry: Self = serde_json::from_slice(bytes).ok()?;
        let complete = (entry.kind == Kind::Decision) == entry.decision.is_some();
        (complete && entry.v == ENTRY_VERSION).then_some(entry)
    }

    /// The leaf's bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, EntryTooLarge> {
        let bytes = canonical_json(self);
        if bytes.len() > MAX_ENTRY_BYTES { Err(EntryTooLarge { size_bytes: bytes.len() }) } else { Ok(bytes) }
    }
}

/// The time cut to microseconds.
pub(super) fn microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).expect("a time cut to microseconds is within a time's bounds")
}

fn six_digits<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}
