//! One recorded decision on its way to being replayed: a row of the log, or a line of an export.

use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use crate::audit::{StoredDecision, Unopened};
use crate::case::{Case, DecisionFacts};
use crate::strict_json;

/// Read, and not yet looked at.
#[derive(Debug)]
pub(super) enum Stored {
    /// From the log.
    Row(Box<StoredDecision>),
    /// From an export: its number from 1, and its bytes.
    Line { number: u64, bytes: Vec<u8> },
    /// A line that is too long to be read.
    LongLine { number: u64 },
}

/// Where a decision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Its index in the log.
    Index(u64),
    /// The line of the export.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "#{index}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// A case with what was decided on it.
#[derive(Debug)]
pub(super) struct Recorded {
    pub case: Case,
    pub decision: DecisionFacts,
}

/// Why a decision cannot be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Something that policy may look at was redacted.
    Redacted(String),
    /// It is not what was recorded, or no record at all.
    Damaged(String),
}

impl Stored {
    pub fn place(&self) -> Place {
        match self {
            Self::Row(row) => Place::Index(row.index()),
            Self::Line { number, .. } | Self::LongLine { number } => Place::Line(*number),
        }
    }

    /// The decision's id, where it is known before the record is opened.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::Row(row) => Some(row.id()),
            Self::Line { .. } | Self::LongLine { .. } => None,
        }
    }

    /// The whole case and its decision; `None` for a record of something else.
    pub fn open(self) -> Result<Option<Recorded>, Why> {
        match self {
            Self::Row(row) => match row.open() {
                Ok(opened) => Ok(Some(Recorded { case: opened.case, decision: opened.decision })),
                Err(redacted @ Unopened::Redacted(_)) => Err(Why::Redacted(redacted.to_string())),
                Err(Unopened::Damaged(what)) => Err(Why::Damaged(what)),
            },
            Self::Line { bytes, .. } => opened(&bytes),
            Self::LongLine { .. } => {
                Err(Why::Damaged(format!("it is longer than {} bytes", super::lines::MAX_LINE_BYTES)))
            }
        }
    }
}

/// A line as `witgate log show --output json` has its entries: `case` and `decision`, `redacted`, and whatever stands beside.
fn opened(bytes: &[u8]) -> Result<Option<Recorded>, Why> {
    let mut line =
        strict_json::parse(bytes, strict_json::MAX_DEPTH).map_err(|error| Why::Damaged(error.to_string()))?;
    if line.get("kind").is_some_and(|kind| *kind != "decision") {
        return Ok(None);
    }
    let gone: Vec<String> = match line["redacted"].take() {
        Value::Null => Vec::new(),
        list => serde_json::from_value(list).map_err(|_| Why::Damaged("`redacted` is no list of texts".into()))?,
    };
    let needed = |pointer: &String| pointer.starts_with("/case/") || pointer.starts_with("/decision/grants/");
    let gone: Vec<String> = gone.into_iter().filter(needed).collect();
    if !gone.is_empty() {
        return Err(Why::Redacted(Unopened::Redacted(gone).to_string()));
    }
    if line.get("case").is_none() || line.get("decision").is_none() {
        let found = if line.get("version").is_some() { "a case alone" } else { "something else" };
        let detail = format!("expected an object with `case` and `decision`, found {found}");
        return Err(Why::Damaged(detail));
    }
    let case: Case = serde_json::from_value(line["case"].take())
        .map_err(|error| Why::Damaged(format!("its `case` is none of `case/v1`: {error}")))?;
    let decision: DecisionFacts = serde_json::from_value(line["decision"].take())
        .map_err(|error| Why::Damaged(format!("its `decision` is none: {error}")))?;
    if case.id != decision.id {
        return Err(Why::Damaged("its case and its decision have two ids".into()));
    }
    Ok(Some(Recorded { case, decision }))
}
