//! Another policy: recorded, put in force, and every live grant looked at again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::Gate;
use crate::audit::{EventKind, Selector};
use crate::case::{Case, DecisionFacts, Digest, Timestamp, VerdictWord};
use crate::handover::Under;
use crate::outage::{Outage, Peer, chain};
use crate::policy::{Next, Policy};

/// What became of the grants that were live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// Grants that the policy in force gives as well.
    pub kept: usize,
    /// Grants that it does not give, or not in the same way.
    pub revoked: usize,
}

/// How many of the revoked decisions stand in the entry of the log; each of them is in the log by itself.
const NAMED_MAX: usize = 64;

impl Gate {
    /// How long to wait between two looks at the files of the policy.
    pub fn policy_pace(&self) -> Duration {
        Duration::from_secs(self.policy.refresh_s())
    }

    /// Looks at the files of the policy once, and puts another one in force where they say another one.
    pub async fn look_at_policy(&self, now: Timestamp) {
        let found = self.policy.look().await;
        let loaded = |good: bool| metrics::gauge!("witgate_policy_loaded").set(if good { 1.0 } else { 0.0 });
        match found {
            Ok(None) => {}
            Ok(Some(next)) => match self.put_in_force(next, now).await {
                Ok(_) => loaded(true),
                Err(outage) => {
                    tracing::warn!(outage.chain = outage.chain(), "another policy waits until the log takes it")
                }
            },
            Err(fault) => {
                loaded(false);
                tracing::warn!(
                    error = chain(&fault),
                    hint = fault.hint(),
                    "the files of the policy are not taken, the one in force stays"
                );
            }
        }
    }

    /// Records `next`, decides by it from then on, and looks at every live grant again: by the case that the log holds, at the
    /// time of now, asking nobody. A grant that is not given by `next` in the same way is gone when this returns.
    ///
    /// # Errors
    /// An outage of the log before anything changed: the policy in force stays. One behind it leaves no grant that was not
    /// looked at.
    pub async fn put_in_force(&self, next: Next, now: Timestamp) -> Result<Review, Outage> {
        let before = self.policy.current();
        let facts = next.policy().facts().clone();
        let keeping = |fault| Outage::new(Peer::Policy, "keeping another policy").because(fault);
        self.policy.keep(&next).map_err(keeping)?;
        let detail = json!({"policy": facts, "before": before.facts(), "mode": self.mode});
        self.audit.event(EventKind::PolicyPublish, detail, now).await?;
        tracing::info!(
            policy.name = facts.name,
            policy.revision = facts.revision,
            policy.digest = %facts.digest,
            "another policy is in force"
        );
        let under = Under { policy: before.facts().digest, ..self.under(now) };
        let pulls = self.pulls.live_decisions(&under);
        self.policy.replace(next).await;
        // From here on pull grants lapse by the policy's digest, and held answers too; a ticket has to be withdrawn.
        self.held.invalidate_all();
        let tickets = self.handover.live_decisions(now);
        let (mut kept, mut revoked) = (BTreeSet::new(), Vec::new());
        let policy = self.policy.current();
        let mut failed = None;
        for decision in tickets.union(&pulls) {
            match self.still_grants(&policy, *decision, now).await {
                Ok(true) => {
                    kept.insert(*decision);
                    continue;
                }
                Ok(false) => revoked.push(*decision),
                Err(outage) => {
                    revoked.push(*decision);
                    failed = Some(outage);
                }
            }
            self.handover.withdraw(*decision);
        }
        self.pulls.carry_over(&kept, before.facts().digest, policy.facts().digest);
        metrics::counter!("witgate_grants_revoked_total").increment(revoked.len() as u64);
        let review = Review { kept: kept.len(), revoked: revoked.len() };
        if review != (Review { kept: 0, revoked: 0 }) {
            let named: Vec<_> = revoked.iter().take(NAMED_MAX).collect();
            let detail = json!({
                "policy": policy.facts().digest, "kept": review.kept, "revoked": review.revoked, "decisions": named,
            });
            self.audit.event(EventKind::GrantReview, detail, now).await?;
        }
        failed.map_or(Ok(review), Err)
    }

    /// Whether `policy` gives at `now` what the recorded decision gave.
    async fn still_grants(&self, policy: &Policy, decision: Uuid, now: Timestamp) -> Result<bool, Outage> {
        let found = self.audit.reader().find(&Selector::Id(decision)).await;
        let found = found.map_err(|fault| Outage::new(Peer::Audit, "reading a decision again").because(fault))?;
        let Some((Some(case), Some(recorded))) = found.map(|record| (record.case, record.decision)) else {
            return Ok(false);
        };
        let again = policy.decide(&at(case, now))?;
        Ok(is_same_grant(&recorded, again.facts()))
    }

    /// Whether what was decided under a policy may be handed over.
    ///
    /// # Errors
    /// An outage when another policy is in force by now.
    pub(super) fn still_decides(&self, policy: Digest) -> Result<(), Outage> {
        if self.policy.current().facts().digest == policy {
            return Ok(());
        }
        Err(Outage::new(Peer::Policy, "handing over what was decided a moment ago")
            .because("another policy is in force since")
            .with_hint("ask again: it is decided anew"))
    }
}

/// A recorded case as it is at `now`: what was believed is older by as much.
fn at(mut case: Case, now: Timestamp) -> Case {
    let passed_s = u64::try_from(now.as_second().saturating_sub(case.time.as_second())).unwrap_or(0);
    for trust in &mut case.evidence.trust {
        trust.age_s = trust.age_s.saturating_add(passed_s);
    }
    case.time = case.time.max(now);
    case
}

fn is_same_grant(before: &DecisionFacts, now: &DecisionFacts) -> bool {
    now.verdict == VerdictWord::Admit && now.grants == before.grants
}
