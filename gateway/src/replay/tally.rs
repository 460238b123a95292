//! What changes, counted and grouped as it is found.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::stored::{Place, Why};
use crate::case::{Case, Mode};

/// What a replay counted. Each thread has its own; they are added up at the end.
#[derive(Debug, Default)]
pub struct Tally {
    /// Decisions that stay as they are.
    pub same: u64,
    /// Admitted, and refused by the candidate.
    pub newly_refused: Section,
    /// Refused, and admitted by the candidate.
    pub newly_admitted: Section,
    /// The same verdict for other reasons, or with other grants.
    pub changed: Section,
    /// Refused before anything was fetched; the candidate would fetch, so what it would decide is not known.
    pub would_be_looked_at: Section,
    /// Decisions that could not be made again because of redaction.
    pub(super) redacted: Passed,
    /// Decisions that could not be made again because their records are damaged.
    pub(super) damaged: Passed,
}

/// The decisions of one kind of change.
#[derive(Debug, Default)]
pub struct Section {
    /// How many.
    pub decisions: u64,
    /// How many of them were asked in a scope that does not enforce: nobody is turned away there by this.
    pub not_enforced: u64,
    groups: BTreeMap<Group, Members>,
    /// Decisions that would have opened one more group than [`MAX_GROUPS`].
    pub(super) ungrouped: u64,
}

/// What decisions have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub code: String,
    pub repository: String,
    pub caller: String,
}

/// How many there are, and the newest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Members {
    pub count: u64,
    pub example: Uuid,
}

/// Decisions that were not replayed.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub count: u64,
    /// The first few by their places.
    pub told: BTreeMap<Place, (Option<Uuid>, String)>,
}

impl Section {
    /// Counts a decision in the group of each of `codes`.
    pub(super) fn add<T: ToString>(&mut self, case: &Case, codes: &BTreeSet<T>) {
        self.decisions += 1;
        self.not_enforced += u64::from(case.mode != Mode::Enforce);
        for code in codes {
            let group = Group {
                code: code.to_string(),
                repository: format!("{}/{}", case.reference.upstream, case.reference.repository),
                caller: case.caller.id.clone(),
            };
            self.join(group, Members { count: 1, example: case.id });
        }
    }

    fn join(&mut self, group: Group, members: Members) {
        if let Some(known) = self.groups.get_mut(&group) {
            known.count += members.count;
            known.example = known.example.max(members.example);
        } else if self.groups.len() < MAX_GROUPS {
            self.groups.insert(group, members);
        } else {
            self.ungrouped += members.count;
        }
    }

    fn merge(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.not_enforced += other.not_enforced;
        self.ungrouped += other.ungrouped;
        for (group, members) in other.groups {
            self.join(group, members);
        }
    }

    /// The groups, the largest first, those of one size in the order of their names.
    pub(super) fn largest(&self) -> Vec<(&Group, Members)> {
        let mut groups: Vec<_> = self.groups.iter().map(|(group, members)| (group, *members)).collect();
        groups.sort_by(|(one, a), (other, b)| b.count.cmp(&a.count).then_with(|| one.cmp(other)));
        groups
    }
}

impl Passed {
    fn add(&mut self, place: Place, id: Option<Uuid>, why: String) {
        self.count += 1;
        self.tell(place, (id, why));
    }

    fn tell(&mut self, place: Place, told: (Option<Uuid>, String)) {
        self.told.insert(place, told);
        if self.told.len() > MAX_TOLD {
            self.told.pop_last();
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        for (place, told) in other.told {
            self.tell(place, told);
        }
    }
}

impl Tally {
    /// Counts a decision that cannot be made again.
    pub(super) fn pass(&mut self, place: Place, id: Option<Uuid>, why: Why) {
        match why {
            Why::Redacted(why) => self.redacted.add(place, id, why),
            Why::Damaged(why) => self.damaged.add(place, id, why),
        }
    }

    /// Adds what another thread counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.same += other.same;
        self.newly_refused.merge(other.newly_refused);
        self.newly_admitted.merge(other.newly_admitted);
        self.changed.merge(other.changed);
        self.would_be_looked_at.merge(other.would_be_looked_at);
        self.redacted.merge(other.redacted);
        self.damaged.merge(other.damaged);
    }

    /// How many decisions were made again.
    pub fn replayed(&self) -> u64 {
        self.same + self.newly_refused.decisions + self.newly_admitted.decisions + self.changed.decisions
    }

    /// How many decisions were read.
    pub fn decisions(&self) -> u64 {
        self.replayed() + self.would_be_looked_at.decisions + self.redacted.count + self.damaged.count
    }
}

/// The most groups of one kind that are told apart, so that a log of strangers' names cannot fill the memory; what falls
/// into none is counted.
pub const MAX_GROUPS: usize = 65_536;
/// The most decisions of which is told why they were not made again; the others are counted.
const MAX_TOLD: usize = 10;
