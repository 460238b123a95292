//! The verdict: the floor, then the policy, then the floor again.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::answer::{Answer, bounded};
use super::bundle::{Bundle, Settings, Source};
use super::engine::{Engine, Fault};
use super::{Decision, LoadError, data, floor};
use crate::case::{Case, PolicyFacts};
use crate::outage::{Outage, Peer};
use crate::reason::{Code, Reason};

/// A policy in force: compiled, with its data, the same for every thread.
pub struct Policy {
    facts: PolicyFacts,
    engine: Engine,
}

impl Policy {
    /// Reads, checks and compiles what `settings` names.
    ///
    /// # Errors
    /// A file that cannot be read, a policy that does not compile or reaches outside its case, data that no rule reads.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        Self::from_bundle(&Bundle::read(settings)?, settings.timeout_ms)
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
        Self::from_bundle(&bundle, Settings::DEFAULT_TIMEOUT_MS)
    }

    /// The embedded policies over data in memory, for the demo and for tests: a busy machine changes no answer.
    ///
    /// # Errors
    /// Data that no rule reads.
    pub fn embedded(data: impl Borrow<Value>) -> Result<Self, LoadError> {
        let sources = Bundle::embedded().modules;
        let bundle = Bundle::from_sources(sources, data.borrow(), "embedded", env!("CARGO_PKG_VERSION"))?;
        Self::from_bundle(&bundle, Settings::PATIENT_TIMEOUT_MS)
    }

    pub(super) fn from_bundle(bundle: &Bundle, timeout_ms: u64) -> Result<Self, LoadError> {
        let data = data::load(bundle)?;
        let engine = Engine::compile(&bundle.modules, &data, Duration::from_millis(timeout_ms))?;
        Ok(Self { facts: bundle.facts(), engine })
    }

    /// Which policy it is.
    pub fn facts(&self) -> &PolicyFacts {
        &self.facts
    }

    /// Decides one case: a pure function of the case and the policy, except that its time is bounded.
    ///
    /// Runs on the caller's thread, microseconds as a rule and never much longer than `timeout_ms`.
    ///
    /// # Errors
    /// A fault of the evaluator itself; whatever a policy does wrong is a refusal.
    pub fn decide(&self, case: &Case) -> Result<Decision, Outage> {
        let input = serde_json::to_string(case).expect("a case is JSON: text keys, no floats of its own");
        let mut below = floor::before(case);
        if !below.is_empty() {
            below.extend(self.says_not_granted(&input));
            return Ok(self.refuse(case, below, Vec::new()));
        }
        let answer = match self.engine.evaluate(&input) {
            Ok(value) => Answer::read(value),
            Err(Fault::Failed(text)) => Err(text),
            Err(Fault::Timeout(text)) => return Ok(self.fail(case, Code::POLICY_TIMEOUT, text)),
            Err(Fault::Broken(text)) => return Err(Outage::new(Peer::Policy, "deciding a case").because(text)),
        };
        let Answer { admit, refuse: mut reasons, warn, grants } = match answer {
            Ok(answer) => answer,
            Err(text) => return Ok(self.fail(case, Code::POLICY_FAILED, text)),
        };
        // Where policy grants nothing to anybody and says so itself, a list of every import would only bury its reason.
        if grants.is_some() || admit && reasons.is_empty() {
            let missing = floor::uncovered(case, grants.as_ref().unwrap_or(&Default::default()), &reasons);
            reasons.extend(missing);
        }
        if !admit && reasons.is_empty() {
            let detail = "policy does not admit it, and gives no reason";
            let hint = "see what the rules say of the case with `witgate policy eval`";
            reasons.push(Reason::new(Code::NOT_ADMITTED, case.reference.text.as_str(), detail).with_hint(hint));
        }
        if !reasons.is_empty() {
            return Ok(self.refuse(case, reasons, warn));
        }
        let granted = floor::granted(case, grants.unwrap_or_default());
        match Decision::admit(case, granted, bounded(warn), self.facts.clone()) {
            Some(decision) => Ok(decision),
            None => Ok(self.fail(case, Code::COMPONENT_UNREADABLE, "the case has no component".into())),
        }
    }

    /// Whether policy may speak for the caller of a case of which nothing but caller and reference is known yet: the reason
    /// `caller-not-granted` is about these two alone.
    pub fn may_speak_for_caller(&self, case: &Case) -> bool {
        let input = serde_json::to_string(case).expect("a case is JSON: text keys, no floats of its own");
        self.says_not_granted(&input).is_empty()
    }

    /// Whether no rule speaks for the caller of a case that is refused already: who may not know of an artifact is not told
    /// what is wrong with it. What policy says besides, or fails to say, changes nothing about that case.
    fn says_not_granted(&self, input: &str) -> Vec<Reason> {
        let answer = self.engine.evaluate(input).ok().and_then(|value| Answer::read(value).ok());
        let refuse = answer.map(|answer| answer.refuse).unwrap_or_default();
        refuse.into_iter().filter(|reason| reason.code == Code::CALLER_NOT_GRANTED).collect()
    }

    fn fail(&self, case: &Case, code: Code, detail: String) -> Decision {
        let about = format!("{} {}", self.facts.name, self.facts.revision);
        let hint = "see where with `witgate policy check` and `witgate policy eval`";
        self.refuse(case, vec![Reason::new(code, about, detail).with_hint(hint)], Vec::new())
    }

    fn refuse(&self, case: &Case, reasons: Vec<Reason>, warnings: Vec<Reason>) -> Decision {
        Decision::refuse(case, bounded(reasons), bounded(warnings), self.facts.clone())
    }
}

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
