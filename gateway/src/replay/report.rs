//! What a replay found, in the shape that `--output json` prints.

use serde::Serialize;
use uuid::Uuid;

use super::stored::Place;
use super::tally::{Passed, Section, Tally};

/// The counts and groups of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many decisions there are of each kind.
    pub counts: Counts,
    /// Admitted, and refused by the candidate; grouped by the candidate's reason codes.
    pub newly_refused: SectionReport,
    /// Refused, and admitted by the candidate; grouped by the recorded reason codes.
    pub newly_admitted: SectionReport,
    /// The same verdict for other reasons or with other grants; grouped by `+code`, `-code` and `grants`.
    pub changed: SectionReport,
    /// Refused before anything was fetched, and not by the candidate; grouped by the recorded reason codes.
    pub would_be_looked_at: SectionReport,
    /// Decisions that could not be made again.
    pub not_replayable: Vec<NotReplayable>,
}

/// How many decisions there are of each kind; they add up to `decisions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that were read.
    pub decisions: u64,
    /// The same verdict, reason codes and grants.
    pub same: u64,
    /// Admitted, and refused by the candidate.
    pub newly_refused: u64,
    /// Refused, and admitted by the candidate.
    pub newly_admitted: u64,
    /// The same verdict for other reasons or with other grants.
    pub changed: u64,
    /// What the candidate would decide is not known: it would fetch first.
    pub would_be_looked_at: u64,
    /// Something that policy may look at was redacted.
    pub redacted: u64,
    /// The record is not what the log committed to, or no record.
    pub damaged: u64,
}

/// The decisions of one kind of change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionReport {
    /// How many.
    pub decisions: u64,
    /// How many of them in scopes whose mode is `warn` or `observe`.
    pub not_enforced: u64,
    /// The largest groups first. A decision stands in the group of each of its codes.
    pub groups: Vec<GroupReport>,
    /// How many groups are not shown; at least so many where there were too many to tell apart.
    pub more_groups: u64,
}

/// Decisions with a code, a repository and a caller in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// The reason code, or what changed.
    pub code: String,
    /// The upstream with the repository in it.
    pub repository: String,
    /// Who asked.
    pub caller: String,
    /// How many decisions.
    pub decisions: u64,
    /// The newest of them, for `witgate explain`.
    pub example: Uuid,
}

/// A decision that could not be made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotReplayable {
    /// `#8412` in the log, or `line 7` of an export.
    pub place: String,
    /// Its id, where that could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Uuid>,
    /// `redacted` or `damaged`.
    pub kind: &'static str,
    /// What is missing or wrong.
    pub why: String,
}

impl Report {
    /// The report of a tally, with at most `max_groups` groups of each kind.
    pub fn new(tally: &Tally, max_groups: usize) -> Self {
        let section = |section| SectionReport::new(section, max_groups);
        let mut passed: Vec<_> = told(&tally.damaged, "damaged").chain(told(&tally.redacted, "redacted")).collect();
        passed.sort_by_key(|(place, _)| *place);
        Self {
            counts: Counts {
                decisions: tally.decisions(),
                same: tally.same,
                newly_refused: tally.newly_refused.decisions,
                newly_admitted: tally.newly_admitted.decisions,
                changed: tally.changed.decisions,
                would_be_looked_at: tally.would_be_looked_at.decisions,
                redacted: tally.redacted.count,
                damaged: tally.damaged.count,
            },
            newly_refused: section(&tally.newly_refused),
            newly_admitted: section(&tally.newly_admitted),
            changed: section(&tally.changed),
            would_be_looked_at: section(&tally.would_be_looked_at),
            not_replayable: passed.into_iter().map(|(_, told)| told).collect(),
        }
    }
}

impl SectionReport {
    fn new(section: &Section, max_groups: usize) -> Self {
        let groups = section.largest();
        let more = groups.len().saturating_sub(max_groups) as u64 + u64::from(section.ungrouped > 0);
        let shown = groups.into_iter().take(max_groups).map(|(group, members)| GroupReport {
            code: group.code.clone(),
            repository: group.repository.clone(),
            caller: group.caller.clone(),
            decisions: members.count,
            example: members.example,
        });
        Self {
            decisions: section.decisions,
            not_enforced: section.not_enforced,
            groups: shown.collect(),
            more_groups: more,
        }
    }
}

fn told(passed: &Passed, kind: &'static str) -> impl Iterator<Item = (Place, NotReplayable)> {
    passed.told.iter().map(move |(place, (decision, why))| {
        (*place, NotReplayable { place: place.to_string(), decision: *decision, kind, why: why.clone() })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::stored::Why;
    use super::super::tally::MAX_GROUPS;
    use super::*;
    use crate::case::{Case, Mode};

    fn case(number: u128, caller: &str, mode: Mode) -> Case {
        let text = serde_json::json!({
            "version": "case/v1", "id": Uuid::from_u128(number), "time": "2026-01-02T03:04:05Z", "scope": {}, "mode": mode,
            "purpose": "admission", "caller": {"kind": "local", "id": caller}, "host": caller, "links": [],
            "reference": {"text": "r.example/a/b:1", "upstream": "r.example", "repository": "a/b", "tag": "1"},
            "artifact": {"digest": crate::case::Digest::of(b"m"), "media_type": "", "size_bytes": 0, "annotations": {},
                         "defects": []},
            "evidence": {"trust": [], "looked_in": [], "findings": []}, "surface": {"status": "unseen"},
        });
        serde_json::from_value(text).unwrap()
    }

    fn codes(codes: &[&'static str]) -> BTreeSet<&'static str> {
        codes.iter().copied().collect()
    }

    fn rows(section: &SectionReport) -> Vec<(&str, &str, u64, u128)> {
        let row = |group: &GroupReport| (group.decisions, group.example.as_u128());
        let row = |group| {
            let (count, example) = row(group);
            (group.code.as_str(), group.caller.as_str(), count, example)
        };
        section.groups.iter().map(row).collect()
    }

    #[test]
    fn the_largest_group_stands_first_and_its_newest_decision_is_the_example() {
        let mut one = Tally::default();
        one.newly_refused.add(&case(3, "ann", Mode::Enforce), &codes(&["b", "a"]));
        one.newly_refused.add(&case(1, "ann", Mode::Warn), &codes(&["b"]));
        let mut other = Tally { same: 4, ..Tally::default() };
        other.newly_refused.add(&case(2, "ann", Mode::Observe), &codes(&["b"]));
        other.newly_refused.add(&case(9, "bob", Mode::Enforce), &codes(&["a"]));
        one.merge(other);
        let report = Report::new(&one, 2);
        assert_eq!((report.counts.decisions, report.counts.same, report.counts.newly_refused), (8, 4, 4));
        let section = &report.newly_refused;
        assert_eq!((section.decisions, section.not_enforced, section.more_groups), (4, 2, 1));
        assert_eq!(rows(section), [("b", "ann", 3, 3), ("a", "ann", 1, 3)]);
        assert_eq!(section.groups[0].repository, "r.example/a/b");
    }

    #[test]
    fn no_more_groups_are_told_apart_than_the_limit_and_the_others_are_said_to_be_there() {
        let mut tally = Tally::default();
        let mut case = case(1, "", Mode::Enforce);
        for number in 0..=MAX_GROUPS {
            case.caller.id = number.to_string();
            tally.changed.add(&case, &codes(&["grants"]));
        }
        let report = Report::new(&tally, MAX_GROUPS);
        assert_eq!(report.changed.decisions, MAX_GROUPS as u64 + 1);
        assert_eq!((report.changed.groups.len(), report.changed.more_groups), (MAX_GROUPS, 1));
    }

    #[test]
    fn the_first_that_cannot_be_replayed_are_told_and_all_are_counted() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        for number in (0..30).rev() {
            let tally = if number % 2 == 0 { &mut one } else { &mut other };
            tally.pass(Place::Line(number), None, Why::Damaged("no JSON".into()));
        }
        one.pass(Place::Line(3), Some(Uuid::nil()), Why::Redacted("`/case/host` was redacted".into()));
        one.merge(other);
        let report = Report::new(&one, 1);
        assert_eq!((report.counts.decisions, report.counts.damaged, report.counts.redacted), (31, 30, 1));
        let places: Vec<_> = report.not_replayable.iter().map(|told| told.place.as_str()).collect();
        assert_eq!(places.len(), 11);
        assert_eq!((places[0], places[10]), ("line 0", "line 9"));
        assert_eq!(report.not_replayable.iter().filter(|told| told.kind == "redacted").count(), 1);
    }
}
