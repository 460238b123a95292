//! One entry as it is read back, with the disclosures that are left.

use serde_json::Value;
use uuid::Uuid;

use super::commitment::{Disclosure, disclose};
use super::entry::Entry;
use super::event::Kind;
use super::store::Row;
use crate::case::{Case, DecisionFacts, Digest, Timestamp};

/// One entry with its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its index, dense from 0.
    pub index: u64,
    /// The decision's or event's id.
    pub id: Uuid,
    /// What it records.
    pub kind: Kind,
    /// The leaf's bytes: canonical JSON.
    pub entry: Vec<u8>,
    /// The case with its disclosures put back; a redacted field reads `salted-sha256:…`.
    pub case: Option<Case>,
    /// What was decided.
    pub decision: Option<DecisionFacts>,
    /// What an event says.
    pub detail: Option<Value>,
    /// SHA-256(0x00 ‖ entry).
    pub leaf_hash: Digest,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// The fields whose values are gone, as pointers into the body.
    pub redacted: Vec<String>,
}

/// A row that is no record; `witgate log verify` says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} is damaged: {detail}")]
pub struct DamagedRecord {
    /// Its index.
    pub index: u64,
    /// What does not fit.
    pub detail: String,
}

impl Record {
    /// Puts a row and what is left of its disclosures together.
    pub(super) fn new(row: Row, disclosures: &[Disclosure]) -> Result<Self, DamagedRecord> {
        let index = row.idx;
        let damaged = |detail: &str| DamagedRecord { index, detail: detail.to_owned() };
        let entry = Entry::parse(&row.entry).ok_or_else(|| damaged("its entry is not one that this version writes"))?;
        let mut body: Value = serde_json::from_slice(&row.body).map_err(|_| damaged("its body is no JSON"))?;
        let mut redacted = committed(&body).ok_or_else(|| damaged("its body lists no committed fields"))?;
        for disclosure in disclosures {
            if disclose(&mut body, disclosure) {
                redacted.retain(|pointer| *pointer != disclosure.pointer);
            }
        }
        let (case, decision) = match entry.kind {
            Kind::Decision => {
                let case = serde_json::from_value(body["case"].take());
                let decision = serde_json::from_value(body["decision"].take());
                (
                    Some(case.map_err(|error| damaged(&format!("its case cannot be read: {error}")))?),
                    Some(decision.map_err(|error| damaged(&format!("its decision cannot be read: {error}")))?),
                )
            }
            Kind::Event(_) => (None, None),
        };
        let detail = matches!(entry.kind, Kind::Event(_)).then(|| body["detail"].take());
        Ok(Self {
            index,
            id: entry.id,
            kind: entry.kind,
            entry: row.entry,
            case,
            decision,
            detail,
            leaf_hash: Digest::from_bytes(row.leaf),
            committed_at: row
                .committed_us
                .and_then(|time| Timestamp::from_microsecond(time).ok())
                .ok_or_else(|| damaged("no checkpoint covers it"))?,
            redacted,
        })
    }
}

/// The pointers of the fields that stand in a body as commitments.
pub(super) fn committed(body: &Value) -> Option<Vec<String>> {
    let pointers = body.get("committed")?.as_array()?;
    pointers.iter().map(|pointer| pointer.as_str().map(str::to_owned)).collect()
}
