//! A decision as it is stored, opened into its case only when every byte of it is what the log committed to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::commitment::{put_back, stand_in_of};
use super::entry::Entry;
use super::event::Kind;
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
        let entry = Entry::read(&row.entry).ok_or_else(|| damaged("its entry is not one that this version writes"))?;
        if entry.kind != Kind::Decision || entry.id != row.id {
            return Err(damaged("its entry is about something else"));
        }
        if Digest::of(&row.body) != entry.body_commit {
            return Err(damaged("its body does not hash to its entry's `body_commit`"));
        }
        let body = std::str::from_utf8(&row.body).map_err(|_| damaged("its body is no text"))?;
        let Committed { committed } = read(body.as_bytes(), "list of committed fields")?;
        let mut hidden: BTreeSet<String> = committed.into_iter().collect();
        let mut values = BTreeMap::new();
        for DisclosureRow { id: _, pointer, salt, value } in disclosures {
            let Ok(salt) = salt.try_into() else { return Err(not_committed(&pointer)) };
            if !hidden.remove(&pointer) {
                return Err(not_committed(&pointer));
            }
            values.insert(stand_in_of(&pointer, &salt, &value), value);
        }
        let whole = put_back(body, &mut values);
        if !values.is_empty() {
            return Err(damaged("a disclosure is not what was committed to"));
        }
        // What only tells of the decision, such as the words of a reason, is not needed to make it again.
        hidden.retain(|pointer| NEEDED.iter().any(|needed| pointer.starts_with(needed)));
        if !hidden.is_empty() {
            return Err(Unopened::Redacted(hidden.into_iter().collect()));
        }
        let Body { case, decision } = read(&whole, "case or decision")?;
        if [case.id, decision.id] != [row.id; 2] {
            return Err(damaged("its body is about something else"));
        }
        Ok(OpenedDecision { case, decision })
    }
}

/// The part of a body that is needed to see whether the rest is there; the rest is passed over.
#[derive(Deserialize)]
struct Committed {
    committed: Vec<String>,
}

#[derive(Deserialize)]
struct Body {
    case: Case,
    decision: DecisionFacts,
}

fn read<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Unopened> {
    serde_json::from_slice(body).map_err(|error| Unopened::Damaged(format!("its {what} cannot be read: {error}")))
}

fn not_committed(pointer: &str) -> Unopened {
    Unopened::Damaged(format!("the disclosure of `{pointer}` is not what was committed to"))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;
    use uuid::Uuid;

    use super::super::event::EventKind;
    use super::super::tests::{case, policy};
    use super::super::window::{MAX_PAGE_DECISIONS, Window};
    use super::super::{Audit, Settings, store};
    use super::*;
    use crate::case::Timestamp;
    use crate::policy::Decision;
    use crate::reason::{Code, Reason};

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    async fn open(folder: &Path, origin: &str) -> Audit {
        let settings = Settings { append_deadline_ms: 20_000, origin: origin.into(), ..Settings::default() };
        Audit::open(&settings, folder, now()).await.unwrap()
    }

    fn refused(case: &Case) -> Decision {
        let reason = Reason::new(Code::NOT_ADMITTED, case.caller.id.as_str(), "no");
        Decision::refuse_for_tests(case, vec![reason], policy())
    }

    fn case_at(second: u64) -> Case {
        let time = now() + std::time::Duration::from_secs(second);
        let milliseconds = u64::try_from(time.as_millisecond()).unwrap();
        let id = uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid();
        Case { id, time, ..case() }
    }

    async fn read(audit: &Audit, window: &Window) -> Vec<StoredDecision> {
        let mut decisions = audit.reader().decisions(window).await.unwrap();
        let mut all = Vec::new();
        loop {
            let page = decisions.next_page().await.unwrap();
            if page.is_empty() {
                return all;
            }
            assert!(page.len() <= MAX_PAGE_DECISIONS as usize);
            all.extend(page);
        }
    }

    #[tokio::test]
    async fn a_window_gives_every_decision_once_as_it_was_and_no_event() {
        let folder = tempfile::tempdir().unwrap();
        let audit = open(folder.path(), "a.example/audit/1").await;
        let cases: Vec<Case> = (0..150).map(case_at).collect();
        for case in &cases {
            audit.append(case, &refused(case)).await.unwrap();
            if case.time.as_second() % 10 == 0 {
                audit.event(EventKind::Export, json!({"by": "spiffe://acme.example/x"}), case.time).await.unwrap();
            }
        }
        let opened: Vec<_> =
            read(&audit, &Window::default()).await.into_iter().map(|stored| stored.open().unwrap()).collect();
        let newest_first: Vec<Case> = cases.iter().rev().cloned().collect();
        assert_eq!(opened.iter().map(|opened| opened.case.clone()).collect::<Vec<_>>(), newest_first);
        assert!(opened.iter().all(|opened| opened.decision == *refused(&opened.case).facts()));
        let ids = |stored: Vec<StoredDecision>| stored.iter().map(StoredDecision::id).collect::<Vec<Uuid>>();
        let window = Window { since: Some(cases[20].time), until: Some(cases[100].time), last: Some(70) };
        let expected: Vec<Uuid> = cases[30..100].iter().rev().map(|case| case.id).collect();
        assert_eq!(ids(read(&audit, &window).await), expected);
        // The indices are those of the log, events between them.
        let index = read(&audit, &Window { last: Some(1), ..Window::default() }).await[0].index();
        assert_eq!(index, 150 + 14);
        audit.close().await;
    }

    #[tokio::test]
    async fn only_the_newest_log_of_a_database_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let audit = open(folder.path(), "a.example/audit/1").await;
        audit.append(&case_at(1), &refused(&case_at(1))).await.unwrap();
        audit.close().await;
        let audit = open(folder.path(), "a.example/audit/2").await;
        audit.append(&case_at(2), &refused(&case_at(2))).await.unwrap();
        let read = read(&audit, &Window::default()).await;
        assert_eq!(read.iter().map(StoredDecision::id).collect::<Vec<_>>(), [case_at(2).id]);
        audit.close().await;
    }

    #[tokio::test]
    async fn redacted_words_of_a_reason_do_not_hide_the_case() {
        let folder = tempfile::tempdir().unwrap();
        let audit = open(folder.path(), "a.example/audit/1").await;
        let case = case_at(1);
        audit.append(&case, &refused(&case)).await.unwrap();
        let redact = async |pointers: &str| {
            store::tamper(audit.database(), &format!("DELETE FROM disclosure WHERE ptr LIKE '{pointers}'")).await;
            read(&audit, &Window::default()).await.remove(0).open()
        };
        let opened = redact("/decision/reasons/%").await.unwrap();
        assert_eq!(opened.case, case);
        assert_eq!(opened.decision.reasons[0].code, Code::NOT_ADMITTED);
        assert!(opened.decision.reasons[0].about.starts_with("salted-sha256:"));
        let error = redact("/case/evidence/%").await.unwrap_err();
        assert_eq!(error.to_string(), "`/case/evidence/findings/0/predicate/by` and 2 more fields were redacted");
        audit.close().await;
    }
}
