//! One stored case, decided again.

use crate::case::{Case, DecisionFacts, Surface, Timestamp};
use crate::outage::Outage;
use crate::policy::Policy;

/// At which time cases are decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// Each at the time it was decided at.
    #[default]
    Recorded,
    /// All as if they were asked now: what ends by a date has ended. How old trust was stays as it was recorded, for nobody
    /// can say how old it would be.
    Now(Timestamp),
}

impl At {
    /// The case as it is decided.
    pub(super) fn applied(self, mut case: Case) -> Case {
        if let Self::Now(now) = self {
            case.time = now;
        }
        case
    }
}

/// What the candidate makes of a case.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time, and nearly all are decided")]
pub(super) enum Answer {
    /// It decides.
    Decided(DecisionFacts),
    /// It would fetch first: of this case nothing was fetched, so nobody can say what it would decide.
    LookedAt,
}

/// Decides `case` as the gateway would.
pub(super) fn answer(policy: &Policy, case: &Case) -> Result<Answer, Outage> {
    match case.surface {
        Surface::Unseen => answer_unseen(policy, case),
        Surface::Component(_) | Surface::Unreadable { .. } => Ok(Answer::Decided(policy.decide(case)?.facts().clone())),
    }
}

/// A case that was refused before anything was fetched: where the candidate does not do the same, nobody knows what would have
/// been found.
fn answer_unseen(policy: &Policy, case: &Case) -> Result<Answer, Outage> {
    let refused = policy.decide_unseen(case)?;
    Ok(refused.map_or(Answer::LookedAt, |refused| Answer::Decided(refused.facts().clone())))
}
