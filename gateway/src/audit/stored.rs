//! A decision as it is stored, opened into its case only when every byte of it is what the log committed to.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use super::commitment::{Disclosure, disclose};
use super::entry::Entry;
use super::event::Kind;
use super::record::committed;
use super::store::{DecisionRow, DisclosureRow};
use super::tlog::leaf_hash;
use crate::case::{Case, DecisionFacts, Digest};

/// A decision's row with what is left of its disclosures, not yet looked at: cheap to read, cheap to pass on.
#[derive(Clone, Debug)]
pub struct StoredDecision {
    row: DecisionRow,
    disclosures: Vec<DisclosureRow>,
}

/// A case as it was decided, whole, with what was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenedDecision {
    /// The case.
    pub case: Case,
    /// What was decided on it.
    pub decision: DecisionFacts,
}

/// Why a stored decision is not the case that was decided any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// Fields of the case, or of what was granted, were redacted: pointers into the body (RFC 6901).
    Redacted(Vec<String>),
    /// It is not what was recorded; `witgate log verify` says more.
    Damaged(String),
}

impl StoredDecision {
    pub(super) fn new(row: DecisionRow, disclosures: Vec<DisclosureRow>) -> Self {
        Self { row, disclosures }
    }

    /// Its index in the log, as the row says it.
    pub fn index(&self) -> u64 {
        self.row.idx
    }

    /// The decision's id, as the row says it.
    pub fn id(&self) -> Uuid {
        self.row.id
    }

    /// The case and its decision with their personal fields put back.
    ///
    /// The entry has to hash to its leaf, the body to the entry, and every disclosure to its commitment. That the leaf stands
    /// under a signed checkpoint is not looked at here: it is what [`super::verify`] is for.
    ///
    /// # Errors
    /// [`Unopened`]: nothing is made up for what is missing.
    pub fn open(self) -> Result<OpenedDecision, Unopened> {
        let damaged = |what: &str| Unopened::Damaged(what.to_owned());
        let Self { row, disclosures } = self;
        match row.leaf {
            None => return Err(damaged("the tree knows nothing of it")),
            Some(leaf) if leaf_hash(&row.entry) != leaf => return Err(damaged("its entry does not hash to its leaf")),
            Some(_) => {}
        }
        let entry = Entry::parse(&row.entry).ok_or_else(|| damaged("its entry is not one that this version writes"))?;
        if entry.kind != Kind::Decision || entry.id != row.id {
            return Err(damaged("its entry is about something else"));
        }
        if Digest::of(&row.body) != entry.body_commit {
            return Err(damaged("its body does not hash to its entry's `body_commit`"));
        }
        let mut body: Value = serde_json::from_slice(&row.body).map_err(|_| damaged("its body is no JSON"))?;
        let pointers = committed(&body).ok_or_else(|| damaged("its body lists no committed fields"))?;
        let mut hidden: BTreeSet<String> = pointers.into_iter().collect();
        for disclosure in disclosures {
            let pointer = disclosure.pointer.clone();
            let put_back = parsed(disclosure).is_some_and(|disclosure| disclose(&mut body, &disclosure));
            if !hidden.remove(&pointer) || !put_back {
                return Err(Unopened::Damaged(format!("the disclosure of `{pointer}` is not what was committed to")));
            }
        }
        // What only tells of the decision, such as the words of a reason, is not needed to make it again.
        hidden.retain(|pointer| NEEDED.iter().any(|needed| pointer.starts_with(needed)));
        if !hidden.is_empty() {
            return Err(Unopened::Redacted(hidden.into_iter().collect()));
        }
        let unread =
            |what: &str, error: serde_json::Error| Unopened::Damaged(format!("its {what} cannot be read: {error}"));
        let case = serde_json::from_value(body["case"].take()).map_err(|error| unread("case", error))?;
        let decision = serde_json::from_value(body["decision"].take()).map_err(|error| unread("decision", error))?;
        Ok(OpenedDecision { case, decision })
    }
}

fn parsed(row: DisclosureRow) -> Option<Disclosure> {
    let DisclosureRow { id: _, pointer, salt, value } = row;
    Some(Disclosure { pointer, salt: salt.try_into().ok()?, value: serde_json::from_slice(&value).ok()? })
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redacted(pointers) => {
                let first = pointers.first().map_or("", String::as_str);
                write!(f, "`{first}`")?;
                match pointers.len().saturating_sub(1) {
                    0 => f.write_str(" was redacted"),
                    more => write!(f, " and {more} more fields were redacted"),
                }
            }
            Self::Damaged(what) => f.write_str(what),
        }
    }
}

/// The parts of a body that a decision is made on, or compared by.
const NEEDED: &[&str] = &["/case/", "/decision/grants/"];
