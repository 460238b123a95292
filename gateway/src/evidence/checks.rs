//! The checks of one candidate: each in the order in which it was made, how it ended, how long it took.
//!
//! They are noted along the path, from the candidate's bytes to the finding. A case holds none of this: it is hashed and
//! logged, and two looks at one bundle never take equally long.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::rejection::printable;
use crate::case::RejectedFinding;
use crate::reason::Code;

/// One thing that is checked of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// It was received from where it was found, and is what may be evidence.
    Received,
    /// It is one of those that are looked at: their number, their bytes together.
    Room,
    /// Its bytes are those that were announced.
    Digest,
    /// Its own size and shape, that of a statement in it included.
    Shape,
    /// The shape again, as the verifier reads it.
    Form,
    /// Signed time-stamps, and the log's promised time.
    Times,
    /// The certificate's chain, and its validity at each of the times.
    CertificateChain,
    /// The certificate's SCT.
    Sct,
    /// Inclusion proof, checkpoint and promise of each log entry.
    Log,
    /// The signature.
    Signature,
    /// What was signed is about the artifact, as the verifier sees it.
    Binding,
    /// The log entry is of this very signature.
    Entry,
    /// The certificate's usage, its one name and its OIDC issuer.
    Name,
    /// The subject is exactly the artifact's SHA-256.
    Subject,
    /// A wasmCloud token's times.
    Validity,
    /// The predicate has the shape of its type.
    Predicate,
    /// The predicates of one case together.
    PredicateRoom,
    /// Neither the candidate, nor its signer, nor its root is revoked.
    Revocation,
    /// No time lies ahead of the clock.
    Clock,
    /// It is what was asked for.
    Wanted,
}

impl Check {
    /// As lists and JSON name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Room => "room",
            Self::Digest => "digest",
            Self::Shape => "shape",
            Self::Form => "form",
            Self::Times => "times",
            Self::CertificateChain => "certificate-chain",
            Self::Sct => "sct",
            Self::Log => "log",
            Self::Signature => "signature",
            Self::Binding => "binding",
            Self::Entry => "entry",
            Self::Name => "name",
            Self::Subject => "subject",
            Self::Validity => "validity",
            Self::Predicate => "predicate",
            Self::PredicateRoom => "predicate-room",
            Self::Revocation => "revocation",
            Self::Clock => "clock",
            Self::Wanted => "wanted",
        }
    }

    /// For a person, in a row of its own.
    pub fn as_words(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Room => "within the limits of one artifact",
            Self::Digest => "digest as announced",
            Self::Shape => "size and shape",
            Self::Form => "form, as the verifier reads it",
            Self::Times => "times: time-stamps, the log's promise",
            Self::CertificateChain => "certificate: chain, validity at each time",
            Self::Sct => "certificate: SCT",
            Self::Log => "log: inclusion, checkpoint, promise",
            Self::Signature => "signature",
            Self::Binding => "signed content is about the artifact",
            Self::Entry => "log entry is of this signature",
            Self::Name => "certificate: usage, one name, issuer",
            Self::Subject => "subject is exactly its SHA-256",
            Self::Validity => "token is valid now",
            Self::Predicate => "predicate has the shape of its type",
            Self::PredicateRoom => "predicates within the limits of one case",
            Self::Revocation => "not revoked",
            Self::Clock => "no time ahead of the clock",
            Self::Wanted => "wanted on the command line",
        }
    }
}

/// Everything that was checked of one candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    not_reached: Vec<Check>,
    /// What is usually asked of such a candidate, and was not: its root or key says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_asked: Vec<Check>,
    /// What follows the verification, whatever it is of.
    #[serde(skip)]
    last: Vec<Check>,
}

/// One thing that was done, with the checks that it consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What passed, in order.
    pub passed: Vec<Check>,
    /// What did not, in the last step only: one check, or several of which one failed and nobody says which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Check>,
    /// How many calls of `sigstore-verify` it took, one for each root or key that was tried; 0 where we looked ourselves.
    #[serde(skip_serializing_if = "is_zero")]
    pub calls: u16,
    /// How long all of it took, in microseconds; none where it was remembered, or where only a case tells of it.
    #[serde(rename = "took_us", skip_serializing_if = "Option::is_none", serialize_with = "microseconds")]
    pub took: Option<Duration>,
}

/// Why the last check failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The stable code, where there is one for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What was expected and found, for a person.
    pub detail: String,
}

impl Failure {
    /// What a case says of it.
    pub(super) fn of(rejected: &RejectedFinding) -> Self {
        Self { code: Some(rejected.code.clone()), detail: rejected.detail.clone() }
    }

    /// What was expected and what was found; foreign text in it is made printable.
    pub fn mismatch(code: Option<Code>, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self { code, detail: printable(&format!("expected {expected}, found {found}")) }
    }

    /// The two halves of `expected …, found …`.
    pub fn halves(&self) -> Option<(&str, &str)> {
        self.detail.strip_prefix("expected ")?.rsplit_once(", found ")
    }
}

impl Checks {
    /// None made yet; `last` are those that follow the verification.
    pub(super) fn begin(last: &[Check]) -> Self {
        let mut checks = Self { last: last.to_vec(), ..Self::default() };
        // What follows the shape whoever signed, and whatever it is.
        let whatever = [Check::Times, Check::Log, Check::Signature, Check::Entry];
        checks.expect(&[&[Check::Received, Check::Room, Check::Digest, Check::Shape][..], &whatever].concat());
        checks
    }

    /// None made yet of a token in a component: `order`, then `last`.
    pub(super) fn begin_token(order: &[Check], last: &[Check]) -> Self {
        let mut checks = Self { last: last.to_vec(), ..Self::default() };
        checks.expect(order);
        checks
    }

    /// What a stored case tells: what passed, and the one that failed if that can be told.
    pub(super) fn told(passed: Vec<Check>, failed: Option<(Option<Check>, Failure)>, not_asked: Vec<Check>) -> Self {
        let (failed, failure) = failed.map_or((None, None), |(failed, failure)| (failed, Some(failure)));
        let step = Step { passed, failed: failed.into_iter().collect(), ..Step::default() };
        Self { steps: vec![step], failure, not_asked, ..Self::default() }
    }

    /// Says which checks are ahead, now that it is known what this is.
    pub(super) fn expect(&mut self, ahead: &[Check]) {
        self.not_reached = ahead.iter().chain(&self.last).copied().collect();
    }

    /// Makes one check.
    pub(super) fn make<T, E>(&mut self, check: Check, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let begin = Instant::now();
        let result = work();
        let took = Some(begin.elapsed());
        match result {
            Ok(_) => self.add(Step { passed: vec![check], took, ..Step::default() }),
            Err(_) => self.add(Step { failed: vec![check], took, ..Step::default() }),
        }
        result
    }

    /// Checks that were made in one go, up to the one that failed.
    pub(super) fn looked(&mut self, order: &[Check], failed: Option<Check>, took: Duration) {
        let passed = order.iter().copied().take_while(|check| Some(*check) != failed).collect();
        self.add(Step { passed, failed: failed.into_iter().collect(), took: Some(took), ..Step::default() });
    }

    /// The verifier said yes.
    pub(super) fn answered(&mut self, call: Call, asked: Asked) {
        self.waive(&asked);
        let Call { calls, took } = call;
        self.add(Step { passed: asked.order, calls, took: Some(took), ..Step::default() });
    }

    /// The verifier said no.
    pub(super) fn stopped(&mut self, call: Call, asked: Asked, stop: Stop) {
        self.waive(&asked);
        let Call { calls, took } = call;
        let (passed, failed) = match stop {
            Stop::At(check) => (asked.order.into_iter().take_while(|one| *one != check).collect(), vec![check]),
            Stop::Beside(check) => (Vec::new(), vec![check]),
            Stop::Unsaid => (Vec::new(), asked.order),
            Stop::Behind(check, took_behind) => {
                self.add(Step { passed: asked.order, calls, took: Some(took), ..Step::default() });
                self.add(Step { failed: vec![check], took: Some(took_behind), ..Step::default() });
                return;
            }
        };
        self.add(Step { passed, failed, calls, took: Some(took) });
    }

    /// Notes what is not asked.
    pub(super) fn waive(&mut self, asked: &Asked) {
        self.not_reached.retain(|check| !asked.left_out.contains(check));
        self.not_asked.clone_from(&asked.waived);
    }

    /// A part of them that can be remembered: made next, then joined.
    pub(super) fn sub(&self) -> Self {
        Self { not_reached: self.not_reached.clone(), last: self.last.clone(), ..Self::default() }
    }

    /// Adds a part that was made just now.
    pub(super) fn join(&mut self, part: &Self) {
        self.steps.extend(part.steps.iter().cloned());
        self.not_reached.clone_from(&part.not_reached);
        self.not_asked.clone_from(&part.not_asked);
    }

    /// Adds a part that was made when the same bytes were looked at for the same artifact.
    pub(super) fn remembered(&mut self, part: &Self) {
        self.steps.extend(part.steps.iter().map(|step| Step { took: None, ..step.clone() }));
        let ahead = part.not_reached.iter().filter(|check| !part.last.contains(check));
        self.not_reached = ahead.chain(&self.last).copied().collect();
        self.not_asked.clone_from(&part.not_asked);
    }

    fn add(&mut self, step: Step) {
        self.not_reached.retain(|check| !step.passed.contains(check) && !step.failed.contains(check));
        self.steps.push(step);
    }

    /// Says why the last check failed.
    pub(super) fn because(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// Makes the last check: whether it is what was asked for. Not reached where something failed before it.
    pub fn want(&mut self, wanted: impl FnOnce() -> Result<(), Failure>) {
        if self.failure.is_some() {
            self.not_reached.push(Check::Wanted);
        } else if let Err(failure) = self.make(Check::Wanted, wanted) {
            self.because(failure);
        }
    }

    /// What was done, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Why the last check failed, if one did.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Which checks would have followed.
    pub fn not_reached(&self) -> &[Check] {
        match self.failure {
            Some(_) => &self.not_reached,
            None => &[],
        }
    }

    /// What is usually asked of such a candidate, and was not: its root or key says so.
    pub fn not_asked(&self) -> &[Check] {
        &self.not_asked
    }

    /// Whether every check passed, that of being wanted included.
    pub fn are_passed(&self) -> bool {
        self.failure.is_none() && self.steps.iter().any(|step| step.passed.contains(&Check::Wanted))
    }
}

/// Calls of `sigstore-verify` for one candidate: each is one for us, so its checks share the time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    calls: u16,
    took: Duration,
}

impl Call {
    /// Asks once.
    pub(super) fn ask<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let answer = work();
        self.took += begin.elapsed();
        self.calls += 1;
        answer
    }
}

/// What one call is asked, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) order: Vec<Check>,
    /// What is not in it.
    pub(super) left_out: Vec<Check>,
    /// Of those, what is usually asked of such a candidate.
    pub(super) waived: Vec<Check>,
}

/// Where the verifier stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// At this check, so those before it in its order have passed.
    At(Check),
    /// At this one by our own look at the same thing: of the others nothing is known.
    Beside(Check),
    /// At one of them.
    Unsaid,
    /// It said yes; at this one of our own behind it, which took so long.
    Behind(Check, Duration),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero(count: &u16) -> bool {
    *count == 0
}

#[allow(clippy::ref_option, reason = "serde hands references")]
fn microseconds<S: Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let microseconds = took.map_or(0, |took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    serializer.serialize_u64(microseconds)
}
