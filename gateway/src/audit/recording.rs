//! One record before it has an index: entry, body in committed form, disclosures.

use serde_json::{Value, json};
use uuid::Uuid;

use super::commitment::{Disclosure, SALT_BYTES, commit};
use super::entry::{Entry, EntryTooLarge};
use super::event::{EventKind, Kind};
use super::personal;
use super::tlog::{Hash, leaf_hash};
use crate::case::{Case, DecisionFacts, Digest, Purpose, Scope, Timestamp, VerdictWord, canonical_json};

/// The version of a body's shape.
pub const BODY_VERSION: u32 = 1;
/// The largest body, in bytes: the evidence of one component may have 32 MiB.
pub const MAX_BODY_BYTES: usize = 32 << 20;
/// The largest whole number that JSON readers agree on: 2^53 - 1 (RFC 8785, appendix D).
const MAX_JSON_INTEGER: u64 = (1 << 53) - 1;

/// What goes into the log.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub entry: Entry,
    pub entry_bytes: Vec<u8>,
    pub leaf: Hash,
    /// Canonical JSON of the committed form.
    pub body: Vec<u8>,
    pub disclosures: Vec<Disclosure>,
    /// What it admitted, if later ones are compared with it.
    pub admitted: Option<Admitted>,
}

/// An artifact that was admitted in a repository of a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Admitted {
    pub scope: Scope,
    pub upstream: String,
    pub repository: String,
    pub artifact: Digest,
}

impl Admitted {
    /// What a decision admitted, if later ones are compared with it.
    pub fn of(case: &Case, facts: &DecisionFacts) -> Option<Self> {
        is_compared_with(case.purpose, facts).then(|| Self {
            scope: case.scope.clone(),
            upstream: case.reference.upstream.clone(),
            repository: case.reference.repository.clone(),
            artifact: case.artifact.digest,
        })
    }
}

/// Whether a decision admitted something that an upgrade is compared with: something was handed over, and policy itself said
/// so. What only the mode let past is no measure for the next.
pub(super) fn is_compared_with(purpose: Purpose, facts: &DecisionFacts) -> bool {
    facts.verdict == VerdictWord::Admit && purpose != Purpose::DryRun && facts.would_refuse.is_empty()
}

/// Why something cannot be recorded; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The body is larger than [`MAX_BODY_BYTES`].
    #[error("the record has {size_bytes} bytes, the log takes {MAX_BODY_BYTES}")]
    BodyTooLarge {
        /// Its size.
        size_bytes: usize,
    },
    /// The entry does not fit.
    #[error(transparent)]
    Entry(#[from] EntryTooLarge),
    /// A number of ours that JSON readers would round.
    #[error("the number at `{pointer}` is above 2^53 - 1 and would be rounded")]
    Number {
        /// Where it stands in the body.
        pointer: String,
    },
    /// The system gave no random salts.
    #[error("the system gave no random bytes")]
    Random,
}

impl Recording {
    /// A decision: `{"case":…,"committed":[…],"decision":…,"v":1}`.
    pub fn of_decision(case: &Case, facts: &DecisionFacts) -> Result<Self, RecordError> {
        assert_eq!(case.id, facts.id, "a decision is recorded with the case it was made on");
        let case_value = serde_json::to_value(case).expect("a case is JSON");
        let decision_value = serde_json::to_value(facts).expect("a decision is JSON");
        let body = json!({"v": BODY_VERSION, "case": case_value, "decision": decision_value});
        let committed = Committed::new(body)?;
        // The canonical case is a piece of the canonical body: written once, hashed twice.
        let canonical_case = canonical_json(&committed.body["case"]);
        let rest = canonical_json(&json!({
            "committed": committed.body["committed"],
            "decision": committed.body["decision"],
            "v": BODY_VERSION,
        }));
        let bytes = [br#"{"case":"#, canonical_case.as_slice(), b",", &rest[1..]].concat();
        let case_digest = Digest::of(&canonical_case);
        let entry = |body_commit| Entry::of_decision(case, facts, case_digest, body_commit);
        Ok(Self { admitted: Admitted::of(case, facts), ..Self::new(committed, bytes, entry)? })
    }

    /// An event: `{"committed":[…],"detail":…,"kind":…,"v":1}`.
    pub fn of_event(kind: EventKind, id: Uuid, detail: &Value, now: Timestamp) -> Result<Self, RecordError> {
        let body = json!({"v": BODY_VERSION, "kind": kind.as_str(), "detail": detail});
        let committed = Committed::new(body)?;
        let bytes = canonical_json(&committed.body);
        Self::new(committed, bytes, |body_commit| Entry::of_event(Kind::Event(kind), id, now, body_commit))
    }

    fn new(committed: Committed, body: Vec<u8>, entry: impl FnOnce(Digest) -> Entry) -> Result<Self, RecordError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(RecordError::BodyTooLarge { size_bytes: body.len() });
        }
        let entry = entry(Digest::of(&body));
        let entry_bytes = entry.bytes()?;
        let disclosures = committed.disclosures;
        Ok(Self { leaf: leaf_hash(&entry_bytes), entry, entry_bytes, body, disclosures, admitted: None })
    }

    /// What it costs the queue, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.entry_bytes.len() + self.body.len()
    }
}

/// A body whose personal fields are commitments.
struct Committed {
    body: Value,
    disclosures: Vec<Disclosure>,
}

impl Committed {
    fn new(mut body: Value) -> Result<Self, RecordError> {
        for pattern in personal::FOREIGN_JSON {
            let mut pointers = Vec::new();
            personal::expand(&body, pattern, &mut |pointer, _| pointers.push(pointer.to_owned()));
            for pointer in pointers {
                spell_large_numbers(body.pointer_mut(&pointer).expect("the pointer was just found"));
            }
        }
        if let Some(pointer) = large_number(&body, String::new()) {
            return Err(RecordError::Number { pointer });
        }
        let pointers = personal::fields(&body);
        let mut salts = vec![0; pointers.len() * SALT_BYTES];
        getrandom::fill(&mut salts).map_err(|_| RecordError::Random)?;
        let disclosures = commit(&mut body, &pointers, &salts);
        body["committed"] = json!(pointers);
        Ok(Self { body, disclosures })
    }
}

/// Whole numbers that RFC 8785 would round become texts: only in JSON that is not ours.
fn spell_large_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if is_large(number) => *value = Value::String(number.to_string()),
        Value::Array(items) => items.iter_mut().for_each(spell_large_numbers),
        Value::Object(members) => members.values_mut().for_each(spell_large_numbers),
        _ => {}
    }
}

fn large_number(value: &Value, pointer: String) -> Option<String> {
    match value {
        Value::Number(number) if is_large(number) => Some(pointer),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(at, item)| large_number(item, format!("{pointer}/{at}")))
        }
        Value::Object(members) => {
            members.iter().find_map(|(key, member)| large_number(member, format!("{pointer}/{key}")))
        }
        _ => None,
    }
}

fn is_large(number: &serde_json::Number) -> bool {
    number.as_u64().is_some_and(|n| n > MAX_JSON_INTEGER)
        || number.as_i64().is_some_and(|n| n.unsigned_abs() > MAX_JSON_INTEGER)
}
