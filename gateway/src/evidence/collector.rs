//! All candidates of one artifact, each turned into a finding.

use std::sync::Arc;

use arc_swap::ArcSwap;
use moka::sync::Cache;

use super::checks::{Check, Checks, Failure};
use super::claim::{Claim, Versions};
use super::examination::{Examination, Examined};
use super::exhibit::Exhibit;
use super::legacy;
use super::limits::{CANDIDATES_MAX, CLOCK_SKEW_S, EVIDENCE_BYTES_MAX, PREDICATES_BYTES_MAX, VERDICT_CACHE_BYTES};
use super::rejection::{Fault, Rejection};
use super::standing::Standing;
use super::trust::Trust;
use super::verify::{About, Aside, Verified, verify};
use super::wascap;
use crate::case::{
    Candidate, CandidateContent, CandidateSource, Candidates, Defect, Digest, Evidence, Finding, FindingKind,
    RejectedFinding, Timestamp,
};
use crate::outage::{Outage, Peer};
use crate::reason::Code;

/// Checks candidates against what is believed now, remembering what it found.
pub struct Collector {
    checker: Arc<Checker>,
}

/// What is believed now: swapped whole, never changed in place.
#[derive(Clone)]
pub(super) struct Current(Arc<ArcSwap<Standing>>);

impl Current {
    pub(super) fn load(&self) -> Arc<Standing> {
        self.0.load_full()
    }

    pub(super) fn store(&self, standing: Standing) {
        self.0.store(Arc::new(standing));
    }
}

struct Checker {
    current: Current,
    /// Immutable facts: what a bundle of these bytes is worth for this artifact under this trust, at any time.
    verdicts: Cache<VerdictKey, Verdict>,
}

/// Artifact, bundle, trust.
type VerdictKey = (Digest, Digest, Digest);
type Verdict = Arc<Remembered>;

struct Remembered {
    result: Result<Verified, Rejection>,
    /// How it came to be.
    checks: Checks,
    size_bytes: u32,
}

/// What the candidates of one artifact have had together so far.
#[derive(Default)]
struct Room {
    candidates: usize,
    bytes: usize,
    predicates_bytes: usize,
}

impl Room {
    /// Takes one candidate's share; one that is too large takes nothing.
    fn take(&mut self, content: &CandidateContent) -> Result<(), Rejection> {
        if self.candidates == CANDIDATES_MAX {
            return Err(over("candidates", CANDIDATES_MAX, "one more"));
        }
        if self.bytes + content.size_bytes() > EVIDENCE_BYTES_MAX {
            return Err(over("bytes of evidence", EVIDENCE_BYTES_MAX, "one more bundle"));
        }
        self.candidates += 1;
        self.bytes += content.size_bytes();
        Ok(())
    }

    /// Takes the share of one predicate; behind one that is too large there is room for none.
    fn take_predicate(&mut self, size_bytes: usize) -> Result<(), Rejection> {
        self.predicates_bytes += size_bytes;
        match self.predicates_bytes > PREDICATES_BYTES_MAX {
            true => Err(over("bytes of predicates", PREDICATES_BYTES_MAX, "one more attestation")),
            false => Ok(()),
        }
    }
}

impl Collector {
    /// A collector with nothing remembered, whose trust stays as it is.
    pub fn new(trust: Trust) -> Self {
        Self::under(Standing::new(Arc::new(trust), None))
    }

    pub(super) fn under(standing: Standing) -> Self {
        let current = Current(Arc::new(ArcSwap::from_pointee(standing)));
        let verdicts = Cache::builder()
            .max_capacity(VERDICT_CACHE_BYTES)
            .weigher(|_, verdict: &Verdict| verdict.size_bytes)
            .build();
        Self { checker: Arc::new(Checker { current, verdicts }) }
    }

    /// What it believes now.
    pub fn standing(&self) -> Arc<Standing> {
        self.checker.current.load()
    }

    /// The roots and keys it believes now.
    pub fn trust(&self) -> Arc<Trust> {
        Arc::clone(self.standing().trust())
    }

    pub(super) fn current(&self) -> Current {
        self.checker.current.clone()
    }

    /// Turns each candidate into a finding about `exhibit`.
    ///
    /// The work is done on a blocking thread: about half a millisecond for a bundle.
    ///
    /// # Errors
    /// An outage of our own: a candidate about something else than the exhibit, a trust root that broke, a panic. Nothing
    /// of that is remembered. An outage of the revocation list that is too old.
    pub async fn examine(&self, exhibit: Exhibit, candidates: Candidates, now: Timestamp) -> Result<Evidence, Outage> {
        Ok(self.investigate(self.standing(), exhibit, candidates, now).await?.into_evidence())
    }

    /// The same under what was believed a moment ago, for who asks it more than one question; with what was checked of each
    /// candidate.
    ///
    /// # Errors
    /// As [`Collector::examine`].
    pub async fn investigate(
        &self,
        standing: Arc<Standing>,
        exhibit: Exhibit,
        candidates: Candidates,
        now: Timestamp,
    ) -> Result<Examination, Outage> {
        standing.usable(now)?;
        let checker = Arc::clone(&self.checker);
        let doing = format!("checking the evidence for `{}`", exhibit.digest());
        on_a_blocking_thread(doing, move || checker.examine(&standing, &exhibit, candidates, now)).await
    }
}

/// Runs `work` off the async threads; a panic in it is an outage.
async fn on_a_blocking_thread<T: Send + 'static>(
    doing: String,
    work: impl FnOnce() -> Result<T, Outage> + Send + 'static,
) -> Result<T, Outage> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Outage::new(Peer::Internal, doing).because(error)),
    }
}

impl Checker {
    fn examine(
        &self,
        standing: &Standing,
        exhibit: &Exhibit,
        candidates: Candidates,
        now: Timestamp,
    ) -> Result<Examination, Outage> {
        let Candidates { mut looked_in, mut list } = candidates;
        // Small ones first: padding cannot crowd out a signature. Equal sizes go by source, so listing order never matters.
        list.sort_by(|a, b| (size_of(a), &a.source).cmp(&(size_of(b), &b.source)));
        let mut room = Room::default();
        let mut found = Vec::with_capacity(list.len() + 1);
        if let Some(component) = exhibit.component() {
            looked_in.push("component".into());
            found.extend(token(component, standing, now));
        }
        for Candidate { mut source, content } in list {
            let mut checks = Checks::begin(standing.last_checks());
            let verdict = self.judge(standing, exhibit, &mut room, (&mut source, content), now, &mut checks)?;
            let aside = verdict.as_ref().map(|verified| verified.aside().clone()).unwrap_or_default();
            let finding = match verdict {
                Ok(verified) => Finding::Verified(verified.finding(source)),
                Err(Rejection { code, detail }) => Finding::Rejected(RejectedFinding { source, code, detail }),
            };
            found.push(examined(finding, checks, aside));
        }
        let trust = standing.facts(now);
        Ok(Examination::new(found, Evidence { trust, looked_in, findings: Vec::new(), revoked: Vec::new() }))
    }

    /// Every check of one candidate, in order.
    fn judge(
        &self,
        standing: &Standing,
        exhibit: &Exhibit,
        room: &mut Room,
        (source, content): (&mut CandidateSource, Result<CandidateContent, Defect>),
        now: Timestamp,
        checks: &mut Checks,
    ) -> Result<Result<Verified, Rejection>, Outage> {
        let received = checks.make(Check::Received, || {
            content.map_err(|defect| Rejection::new(defect.code, format!("{}: {}", defect.about, defect.detail)))
        });
        let content = match received {
            Ok(content) => content,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if let Err(rejection) = checks.make(Check::Room, || room.take(&content)) {
            return Ok(Err(rejection));
        }
        let (digest, bytes) = exhibit.subject(source.index)?;
        let verdict = self.check(standing.trust(), About { digest, bytes: Some(bytes) }, &content, source, checks)?;
        let verdict = verdict
            .and_then(|verified| standing.unrevoked(source, verified, checks))
            .and_then(|verified| checks.make(Check::Clock, || not_from_the_future(verified, now)));
        Ok(verdict.and_then(|verified| {
            let size_bytes = verified.predicate_bytes();
            match verified.kind() {
                FindingKind::Attestation => {
                    checks.make(Check::PredicateRoom, || room.take_predicate(size_bytes))?;
                }
                _ => room.take_predicate(size_bytes)?,
            }
            Ok(verified)
        }))
    }

    /// One candidate's verdict, remembered or made; the source gets the digest of what was read.
    fn check(
        &self,
        trust: &Trust,
        about: About<'_>,
        content: &CandidateContent,
        source: &mut CandidateSource,
        checks: &mut Checks,
    ) -> Result<Result<Verified, Rejection>, Outage> {
        let digest = match checks.make(Check::Digest, || as_announced(content, source)) {
            Ok(digest) => digest,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let key = (about.digest, digest, trust.digest());
        if let Some(verdict) = self.verdicts.get(&key) {
            checks.remembered(&verdict.checks);
            return Ok(verdict.result.clone());
        }
        let mut made = checks.sub();
        let checked = match content {
            CandidateContent::Bundle(bytes) => {
                let claim = made.make(Check::Shape, || Claim::read(bytes, Versions::V03));
                claim.map_err(Fault::from).and_then(|claim| verify(trust, about, claim, &mut made))
            }
            CandidateContent::CosignSignature(layer) => legacy::signature(trust, about, layer, &mut made),
            CandidateContent::CosignAttestation(layer) => legacy::attestation(trust, about, layer, &mut made),
        };
        let result = match checked {
            Ok(verified) if verified.kind() == FindingKind::Attestation => {
                made.make(Check::Predicate, || verified.read_predicate())
            }
            Ok(verified) => verified.read_predicate(),
            Err(Fault::Candidate(rejection)) => Err(rejection),
            Err(Fault::Ours(outage)) => return Err(outage),
        };
        checks.join(&made);
        // A log's time lies in the future once only: what is rejected for it may verify a second later.
        if !matches!(&result, Err(rejection) if rejection.code == Code::LOG_TIME_INVALID) {
            let size_bytes = result.as_ref().map_or(3072, Verified::memory_bytes);
            let size_bytes = u32::try_from(size_bytes).unwrap_or(u32::MAX);
            self.verdicts.insert(key, Arc::new(Remembered { result: result.clone(), checks: made, size_bytes }));
        }
        Ok(result)
    }
}

/// The finding of a token in the component itself, if there is one.
fn token(component: &[u8], standing: &Standing, now: Timestamp) -> Option<(Finding, Examined)> {
    let mut checks = Checks::begin_token(&wascap::ORDER, standing.last_checks_of_a_token());
    let finding = match wascap::embedded(component, now, &mut checks)? {
        Finding::Verified(verified) => match standing.unrevoked_token(&verified, &mut checks) {
            Ok(()) => Finding::Verified(verified),
            Err(Rejection { code, detail }) => {
                Finding::Rejected(RejectedFinding { source: verified.source, code, detail })
            }
        },
        rejected @ Finding::Rejected(_) => rejected,
    };
    Some(examined(finding, checks, Aside::default()))
}

fn examined(finding: Finding, mut checks: Checks, aside: Aside) -> (Finding, Examined) {
    if let Finding::Rejected(rejected) = &finding {
        checks.because(Failure::of(rejected));
    }
    (finding, Examined { checks, aside })
}

/// The digest of what was received, which the source has from here on.
fn as_announced(content: &CandidateContent, source: &mut CandidateSource) -> Result<Digest, Rejection> {
    let digest = content.digest();
    match source.digest.replace(digest) {
        Some(announced) if announced != digest => {
            let expected = format!("the bundle `{announced}`");
            Err(Rejection::mismatch(Code::DIGEST_MISMATCH, expected, format!("`{digest}`")))
        }
        _ => Ok(digest),
    }
}

fn size_of(candidate: &Candidate) -> usize {
    candidate.content.as_ref().map_or(0, CandidateContent::size_bytes)
}

fn over(what: &str, limit: usize, found: &str) -> Rejection {
    Rejection::mismatch(Code::LIMIT_EXCEEDED, format!("at most {limit} {what} for one artifact"), found)
}

/// Depends on the clock, so it is asked anew each time and never remembered.
fn not_from_the_future(verified: Verified, now: Timestamp) -> Result<Verified, Rejection> {
    let latest = now + jiff::SignedDuration::from_secs(CLOCK_SKEW_S);
    match verified.times().last() {
        Some(time) if *time > latest => {
            let expected = format!("a time-stamp of `{now}` or before");
            Err(Rejection::mismatch(Code::TIMESTAMP_INVALID, expected, format!("`{time}`")))
        }
        _ => Ok(verified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_outage_that_names_what_was_done() {
        let work = || -> Result<(), Outage> { panic!("broken invariant") };
        let outage = on_a_blocking_thread("checking the evidence".into(), work).await.unwrap_err();
        assert_eq!(outage.peer, Peer::Internal);
        assert!(outage.to_string().contains("checking the evidence"));
    }
}
