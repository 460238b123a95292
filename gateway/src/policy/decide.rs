//! The verdict: the floor, then the policy, then the floor again.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::answer::{Answer, AnsweredGrants, bounded};
use super::bundle::{Bundle, Candidate, Settings, Source};
use super::engine::{Engine, Fault};
use super::{Decision, LoadError, data, floor};
use crate::case::{Case, Digest, Mode, PolicyFacts, Surface};
use crate::outage::{Outage, Peer};
use crate::reason::{Code, Reason};

/// A policy in force: one bundle or several, compiled, with their data, the same for every thread.
pub struct Policy {
    /// What the bundles are together.
    facts: PolicyFacts,
    bundles: Vec<Part>,
}

/// One bundle of a policy.
struct Part {
    facts: PolicyFacts,
    engine: Engine,
}

impl Policy {
    /// Reads, checks and compiles what `settings` names.
    ///
    /// # Errors
    /// A file that cannot be read, a policy that does not compile or reaches outside its case, data that no rule reads.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        Self::of_bundles(&Bundle::read_all(settings)?, settings.timeout_ms)
    }

    /// A policy of texts in memory; sources whose names end in `_test.rego` are left out.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn from_sources(
        sources: Vec<Source>,
        data: impl Borrow<Value>,
        name: impl AsRef<str>,
        revision: impl AsRef<str>,
    ) -> Result<Self, LoadError> {
        let bundle = Bundle::from_sources(sources, data.borrow(), name.as_ref(), revision.as_ref())?;
        Self::of_bundles(&[bundle], Settings::DEFAULT_TIMEOUT_MS)
    }

    /// The embedded policies over data in memory, for the demo and for tests: a busy machine changes no answer.
    ///
    /// # Errors
    /// Data that no rule reads.
    pub fn embedded(data: impl Borrow<Value>) -> Result<Self, LoadError> {
        let sources = Bundle::embedded().modules;
        let bundle = Bundle::from_sources(sources, data.borrow(), "embedded", env!("CARGO_PKG_VERSION"))?;
        Self::of_bundles(&[bundle], Settings::PATIENT_TIMEOUT_MS)
    }

    /// One policy of bundles that were read and verified.
    pub(super) fn of_candidates(candidates: &[Candidate], timeout_ms: u64) -> Result<Self, LoadError> {
        let bundles: Vec<_> = candidates.iter().map(|candidate| candidate.bundle.clone()).collect();
        Self::of_bundles(&bundles, timeout_ms)
    }

    /// One policy of several bundles: each has to admit.
    pub(super) fn of_bundles(bundles: &[Bundle], timeout_ms: u64) -> Result<Self, LoadError> {
        let compiled = bundles.iter().map(|bundle| {
            let data = data::load(bundle)?;
            let engine = Engine::compile(&bundle.modules, &data, Duration::from_millis(timeout_ms))?;
            Ok(Part { facts: bundle.facts(), engine })
        });
        let bundles = compiled.collect::<Result<Vec<_>, LoadError>>()?;
        Ok(Self { facts: together(bundles.iter().map(|part| &part.facts)), bundles })
    }

    /// Which policy it is.
    pub fn facts(&self) -> &PolicyFacts {
        &self.facts
    }

    /// Decides one case: a pure function of the case and the policy, except that its time is bounded.
    ///
    /// Runs on the caller's thread, microseconds as a rule and never much longer than `timeout_ms` for each bundle.
    ///
    /// # Errors
    /// A fault of the evaluator itself; whatever a policy does wrong is a refusal.
    pub fn decide(&self, case: &Case) -> Result<Decision, Outage> {
        let mut below = floor::before(case);
        if !below.is_empty() {
            below.extend(self.says_not_granted(case));
            return Ok(self.refuse(case, below, Vec::new()));
        }
        let mut answers = Vec::with_capacity(self.bundles.len());
        for part in &self.bundles {
            let answer = match part.engine.evaluate(case) {
                Ok(value) => Answer::read(value),
                Err(Fault::Failed(text)) => Err(text),
                Err(Fault::Timeout(text)) => return Ok(self.fail(case, part, Code::POLICY_TIMEOUT, text)),
                Err(Fault::Broken(text)) => return Err(Outage::new(Peer::Policy, "deciding a case").because(text)),
            };
            match answer {
                Ok(answer) => answers.push((part, answer)),
                Err(text) => return Ok(self.fail(case, part, Code::POLICY_FAILED, text)),
            }
        }
        let (mut reasons, mut warnings, mut granting) = (Vec::new(), Vec::new(), Vec::new());
        let nobody_grants = self.bundles.iter().all(|part| !part.engine.has_grants());
        for (number, (part, Answer { admit, refuse, warn, grants })) in answers.into_iter().enumerate() {
            let mut said = refuse;
            // Where a bundle grants nothing to anybody and says so itself, a list of every import would only bury its reason.
            let speaks_of_grants = part.engine.has_grants() || nobody_grants && number == 0;
            if speaks_of_grants && (grants.is_some() || admit && said.is_empty()) {
                let missing = floor::uncovered(case, grants.as_ref().unwrap_or(&Default::default()), &said);
                said.extend(missing);
            }
            if !admit && said.is_empty() {
                let detail = "policy does not admit it, and gives no reason";
                let hint = "see what the rules say of the case with `witgate policy eval`";
                said.push(Reason::new(Code::NOT_ADMITTED, case.reference.text.as_str(), detail).with_hint(hint));
            }
            reasons.extend(said.into_iter().map(|reason| self.said_by(part, reason)));
            warnings.extend(warn.into_iter().map(|reason| self.said_by(part, reason)));
            granting.extend(grants);
        }
        let grants = match AnsweredGrants::meet(granting) {
            Ok(grants) => grants,
            Err(text) => return Ok(self.fail(case, &self.bundles[0], Code::POLICY_FAILED, text)),
        };
        if !reasons.is_empty() {
            let passes = match case.mode {
                Mode::Enforce => false,
                // What is revoked, and what nobody can look into, passes in no mode.
                Mode::Warn | Mode::Observe => !reasons.iter().any(|reason| NEVER_PASSED.contains(&reason.code)),
            };
            if !passes {
                return Ok(self.refuse(case, reasons, warnings));
            }
            if case.mode == Mode::Warn {
                warnings.extend(reasons.iter().cloned());
            }
        }
        let granted = floor::granted(case, grants.unwrap_or_default());
        match Decision::admit(case, granted, bounded(warnings), self.facts.clone()) {
            Some(decision) => Ok(decision.by(self.several()).passing(bounded(reasons))),
            None => {
                Ok(self.fail(case, &self.bundles[0], Code::COMPONENT_UNREADABLE, "the case has no component".into()))
            }
        }
    }

    /// Refuses a case of which nothing was fetched yet, where rules that look at nothing else refuse it: at who asks, for what,
    /// in which scope, when. `None` where they do not: then it has to be fetched and decided.
    ///
    /// What is refused here would be refused as well with everything fetched, for the same reasons and perhaps more.
    ///
    /// # Errors
    /// As [`Policy::decide`].
    pub fn decide_unseen(&self, case: &Case) -> Result<Option<Decision>, Outage> {
        if case.mode != Mode::Enforce || case.surface != Surface::Unseen {
            return Ok(None);
        }
        let mut reasons = Vec::new();
        for part in &self.bundles {
            match part.engine.refuse_early(case) {
                Ok(value) => {
                    let Ok(said) = Answer::read_reasons(value) else { return Ok(None) };
                    reasons.extend(said.into_iter().map(|reason| self.said_by(part, reason)));
                }
                // Told by the whole decision, which evaluates these rules as well.
                Err(Fault::Timeout(_) | Fault::Failed(_)) => return Ok(None),
                Err(Fault::Broken(text)) => return Err(Outage::new(Peer::Policy, "deciding a case").because(text)),
            }
        }
        Ok((!reasons.is_empty()).then(|| self.refuse(case, reasons, Vec::new())))
    }

    /// Whether policy may speak for the caller of a case of which nothing but caller and reference is known yet: the reason
    /// `caller-not-granted` is about these two alone.
    pub fn may_speak_for_caller(&self, case: &Case) -> bool {
        self.says_not_granted(case).is_empty()
    }

    /// Whether no rule speaks for the caller of a case that is refused already: who may not know of an artifact is not told
    /// what is wrong with it. What policy says besides, or fails to say, changes nothing about that case.
    fn says_not_granted(&self, case: &Case) -> Vec<Reason> {
        let said = self.bundles.iter().flat_map(|part| {
            let answer = part.engine.evaluate(case).ok().and_then(|value| Answer::read(value).ok());
            let refuse = answer.map(|answer| answer.refuse).unwrap_or_default();
            refuse.into_iter().map(|reason| self.said_by(part, reason))
        });
        said.filter(|reason| reason.code == Code::CALLER_NOT_GRANTED).collect()
    }

    /// A reason with the bundle that says it, where there are several; no bundle speaks for another one.
    fn said_by(&self, part: &Part, reason: Reason) -> Reason {
        let policy = (self.bundles.len() > 1).then(|| part.facts.name.clone());
        Reason { policy, ..reason }
    }

    fn fail(&self, case: &Case, part: &Part, code: Code, detail: String) -> Decision {
        let about = format!("{} {}", part.facts.name, part.facts.revision);
        let hint = "see where with `witgate policy check` and `witgate policy eval`";
        let reason = self.said_by(part, Reason::new(code, about, detail).with_hint(hint));
        self.refuse(case, vec![reason], Vec::new())
    }

    fn refuse(&self, case: &Case, reasons: Vec<Reason>, warnings: Vec<Reason>) -> Decision {
        Decision::refuse(case, bounded(reasons), bounded(warnings), self.facts.clone()).by(self.several())
    }

    /// The bundles, where there are several.
    fn several(&self) -> Vec<PolicyFacts> {
        match self.bundles.as_slice() {
            [_] => Vec::new(),
            several => several.iter().map(|part| part.facts.clone()).collect(),
        }
    }
}

/// What several bundles are together: their names and revisions joined, SHA-256 over their digests in order.
fn together<'a>(facts: impl Iterator<Item = &'a PolicyFacts>) -> PolicyFacts {
    let facts: Vec<_> = facts.collect();
    if let [one] = facts.as_slice() {
        return (*one).clone();
    }
    let joined = |part: fn(&PolicyFacts) -> &str| facts.iter().map(|facts| part(facts)).collect::<Vec<_>>().join("+");
    let digests: Vec<_> = facts.iter().flat_map(|facts| *facts.digest.as_bytes()).collect();
    PolicyFacts {
        name: joined(|facts| &facts.name),
        revision: joined(|facts| &facts.revision),
        digest: Digest::of(&digests),
    }
}

/// What several bundles would be together.
pub(super) fn together_of(candidates: &[Candidate]) -> PolicyFacts {
    together(candidates.iter().map(Candidate::facts).collect::<Vec<_>>().iter())
}

/// What passes in no mode, whatever policy it comes from.
const NEVER_PASSED: &[Code] = &[Code::REVOKED, Code::ARTIFACT_UNSUPPORTED];

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("facts", &self.facts).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "decide_attested_tests.rs"]
pub(super) mod attested_tests;
#[cfg(test)]
#[path = "decide_tests.rs"]
pub(super) mod tests;
#[cfg(test)]
#[path = "together_tests.rs"]
mod together_tests;
