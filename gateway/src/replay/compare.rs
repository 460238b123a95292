//! What changed between two decisions on one case.

use std::collections::BTreeSet;

use crate::case::{DecisionFacts, Grants, VerdictWord};
use crate::reason::Code;

/// What policy said of a case, whatever the mode of the scope then made of it.
///
/// In `warn` and `observe` a case is admitted that policy refuses (`would_refuse`). The question of a replay is what policy
/// says: a candidate is tried out in such a scope exactly because nothing is enforced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It admits, with these grants.
    Admits(Option<Grants>),
    /// It refuses, with these reason codes.
    Refuses(BTreeSet<Code>),
}

/// What a candidate would change about one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: verdict, reason codes and grants are the same.
    Same,
    /// Policy admitted it, the candidate refuses it with these codes.
    NewlyRefused(BTreeSet<Code>),
    /// Policy refused it with these codes, the candidate admits it.
    NewlyAdmitted(BTreeSet<Code>),
    /// The same verdict: `grants` where other grants are given, else each code that comes (`+code`) or goes (`-code`).
    Changed(BTreeSet<String>),
}

impl Word {
    /// What policy said in a decision.
    pub fn of(decision: &DecisionFacts) -> Self {
        if decision.verdict == VerdictWord::Admit && decision.would_refuse.is_empty() {
            return Self::Admits(decision.grants.clone());
        }
        let reasons = decision.reasons.iter().chain(&decision.would_refuse);
        Self::Refuses(reasons.map(|reason| reason.code.clone()).collect())
    }
}

/// Compares what was recorded with what the candidate says.
pub fn compare(recorded: &DecisionFacts, candidate: &DecisionFacts) -> Change {
    match (Word::of(recorded), Word::of(candidate)) {
        (Word::Admits(_), Word::Refuses(codes)) => Change::NewlyRefused(codes),
        (Word::Refuses(codes), Word::Admits(_)) => Change::NewlyAdmitted(codes),
        (Word::Admits(old), Word::Admits(new)) if old != new => Change::Changed(BTreeSet::from([GRANTS.to_owned()])),
        (Word::Refuses(old), Word::Refuses(new)) if old != new => {
            let come = new.difference(&old).map(|code| format!("+{code}"));
            Change::Changed(come.chain(old.difference(&new).map(|code| format!("-{code}"))).collect())
        }
        (Word::Admits(_), Word::Admits(_)) | (Word::Refuses(_), Word::Refuses(_)) => Change::Same,
    }
}

/// What changed where an admission gives other links, configuration, limits or another lifetime.
const GRANTS: &str = "grants";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Digest, Limits, PolicyFacts};
    use crate::reason::Reason;

    fn reasons(codes: &[&str]) -> Vec<Reason> {
        codes.iter().map(|code| Reason::new(code.parse().unwrap(), "x", "y")).collect()
    }

    fn grants(lifetime_s: u64) -> Grants {
        Grants { imports: Vec::new(), links: Vec::new(), config: Vec::new(), limits: Limits::default(), lifetime_s }
    }

    fn decision(verdict: VerdictWord, codes: &[&str], would: &[&str], lifetime_s: u64) -> DecisionFacts {
        DecisionFacts {
            id: uuid::Uuid::nil(),
            verdict,
            reasons: reasons(codes),
            warnings: Vec::new(),
            grants: (verdict == VerdictWord::Admit).then(|| grants(lifetime_s)),
            policy: PolicyFacts { name: "p".into(), revision: "1".into(), digest: Digest::of(b"p") },
            bundles: Vec::new(),
            would_refuse: reasons(would),
        }
    }

    fn admitted(lifetime_s: u64) -> DecisionFacts {
        decision(VerdictWord::Admit, &[], &[], lifetime_s)
    }

    fn refused(codes: &[&str]) -> DecisionFacts {
        decision(VerdictWord::Refuse, codes, &[], 0)
    }

    /// Admitted by the mode alone.
    fn let_past(codes: &[&str]) -> DecisionFacts {
        decision(VerdictWord::Admit, &[], codes, 60)
    }

    fn codes(codes: &[&str]) -> BTreeSet<Code> {
        codes.iter().map(|code| code.parse().unwrap()).collect()
    }

    fn changed(what: &[&str]) -> Change {
        Change::Changed(what.iter().map(|what| (*what).to_owned()).collect())
    }

    #[test]
    fn each_pair_of_decisions_is_one_kind_of_change() {
        for (recorded, candidate, change) in [
            (admitted(60), admitted(60), Change::Same),
            (admitted(60), admitted(61), changed(&["grants"])),
            (admitted(60), refused(&["b", "a"]), Change::NewlyRefused(codes(&["a", "b"]))),
            (refused(&["b", "a", "a"]), admitted(60), Change::NewlyAdmitted(codes(&["a", "b"]))),
            (refused(&["a", "a"]), refused(&["a"]), Change::Same),
            (refused(&["a", "b"]), refused(&["b", "c"]), changed(&["+c", "-a"])),
        ] {
            assert_eq!(compare(&recorded, &candidate), change);
        }
    }

    #[test]
    fn who_words_a_reason_otherwise_changes_nothing() {
        let (mut old, new) = (refused(&["a"]), refused(&["a"]));
        old.reasons[0].detail = "other words".into();
        old.warnings = reasons(&["w"]);
        old.policy.revision = "0".into();
        assert_eq!(compare(&old, &new), Change::Same);
    }

    #[test]
    fn what_a_mode_lets_past_counts_as_policy_said_it() {
        for (recorded, candidate, change) in [
            (let_past(&["a"]), let_past(&["a"]), Change::Same),
            (let_past(&["a"]), refused(&["a"]), Change::Same),
            (let_past(&["a"]), admitted(60), Change::NewlyAdmitted(codes(&["a"]))),
            (admitted(60), let_past(&["a"]), Change::NewlyRefused(codes(&["a"]))),
            (let_past(&["a"]), let_past(&["b"]), changed(&["+b", "-a"])),
        ] {
            assert_eq!(compare(&recorded, &candidate), change);
        }
    }
}
