//! Evidence with the way to it: what a case holds, and beside it what was checked of each candidate.

use super::checks::Checks;
use super::verify::Aside;
use crate::case::{Evidence, Finding};

/// All findings of one artifact, each with its checks.
#[derive(Clone, Debug)]
pub struct Examination {
    evidence: Evidence,
    examined: Vec<Examined>,
}

/// What no finding says of its candidate.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What was checked, in order.
    pub checks: Checks,
    /// What verified bytes say beside the finding; nothing where they did not verify.
    pub aside: Aside,
}

impl Examination {
    /// Puts the findings in order, each with its own.
    pub(super) fn new(mut found: Vec<(Finding, Examined)>, evidence: Evidence) -> Self {
        found.sort_by(|(a, _), (b, _)| a.source().cmp(b.source()));
        let (findings, examined) = found.into_iter().unzip();
        Self { evidence: Evidence { findings, ..evidence }, examined }
    }

    /// As a case holds it.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// As a case holds it, alone.
    pub fn into_evidence(self) -> Evidence {
        self.evidence
    }

    /// The same with what the revocation list says of the artifact itself.
    #[must_use]
    pub fn with_revoked(mut self, revoked: Vec<crate::case::Defect>) -> Self {
        self.evidence.revoked = revoked;
        self
    }

    /// Each finding with what was checked of it, in the order of the case.
    pub fn candidates(&self) -> impl Iterator<Item = (&Finding, &Examined)> {
        self.evidence.findings.iter().zip(&self.examined)
    }

    /// The same, to add a check.
    pub fn candidates_mut(&mut self) -> impl Iterator<Item = (&Finding, &mut Examined)> {
        self.evidence.findings.iter().zip(&mut self.examined)
    }
}
