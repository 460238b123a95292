//! All candidates of one artifact, each turned into a finding.

use std::sync::Arc;

use arc_swap::ArcSwap;
use moka::sync::Cache;

use super::claim::{Claim, Versions};
use super::exhibit::Exhibit;
use super::legacy;
use super::limits::{CANDIDATES_MAX, CLOCK_SKEW_S, EVIDENCE_BYTES_MAX, PREDICATES_BYTES_MAX, VERDICT_CACHE_BYTES};
use super::rejection::{Fault, Rejection};
use super::standing::Standing;
use super::trust::Trust;
use super::verify::{About, Verified, verify};
use super::wascap;
use crate::case::{
    Candidate, CandidateContent, CandidateSource, Candidates, Digest, Evidence, Finding, RejectedFinding, Timestamp,
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
    size_bytes: u32,
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
        self.examine_under(self.standing(), exhibit, candidates, now).await
    }

    /// The same under what was believed a moment ago, for who asks it more than one question.
    ///
    /// # Errors
    /// As [`Collector::examine`].
    pub async fn examine_under(
        &self,
        standing: Arc<Standing>,
        exhibit: Exhibit,
        candidates: Candidates,
        now: Timestamp,
    ) -> Result<Evidence, Outage> {
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
    ) -> Result<Evidence, Outage> {
        let Candidates { mut looked_in, mut list } = candidates;
        // Small ones first: padding cannot crowd out a signature. Equal sizes go by source, so listing order never matters.
        list.sort_by(|a, b| (size_of(a), &a.source).cmp(&(size_of(b), &b.source)));
        let (mut budget_bytes, mut looked_at, mut predicates_bytes) = (EVIDENCE_BYTES_MAX, 0, 0);
        let mut findings = Vec::with_capacity(list.len() + 1);
        if let Some(component) = exhibit.component() {
            looked_in.push("component".into());
            findings.extend(wascap::embedded(component, now).map(|finding| standing.unrevoked_token(finding)));
        }
        for Candidate { mut source, content } in list {
            let verdict = match content {
                Err(defect) => Err(Rejection::new(defect.code, format!("{}: {}", defect.about, defect.detail))),
                Ok(_) if looked_at == CANDIDATES_MAX => Err(over("candidates", CANDIDATES_MAX, "one more")),
                Ok(content) if content.size_bytes() > budget_bytes => {
                    Err(over("bytes of evidence", EVIDENCE_BYTES_MAX, "one more bundle"))
                }
                Ok(content) => {
                    looked_at += 1;
                    budget_bytes -= content.size_bytes();
                    let (digest, bytes) = exhibit.subject(source.index)?;
                    self.check(standing.trust(), About { digest, bytes: Some(bytes) }, &content, &mut source)?
                }
            };
            let verdict = verdict.and_then(|verified| standing.unrevoked(&source, verified));
            let verdict = verdict.and_then(|verified| not_from_the_future(verified, now)).and_then(|verified| {
                predicates_bytes += verified.predicate_bytes();
                match predicates_bytes > PREDICATES_BYTES_MAX {
                    true => Err(over("bytes of predicates", PREDICATES_BYTES_MAX, "one more attestation")),
                    false => Ok(verified),
                }
            });
            findings.push(match verdict {
                Ok(verified) => Finding::Verified(verified.finding(source)),
                Err(Rejection { code, detail }) => Finding::Rejected(RejectedFinding { source, code, detail }),
            });
        }
        findings.sort_by(|a, b| a.source().cmp(b.source()));
        Ok(Evidence { trust: standing.facts(now), looked_in, findings, revoked: Vec::new() })
    }

    /// One candidate's verdict, remembered or made; the source gets the digest of what was read.
    fn check(
        &self,
        trust: &Trust,
        about: About<'_>,
        content: &CandidateContent,
        source: &mut CandidateSource,
    ) -> Result<Result<Verified, Rejection>, Outage> {
        let digest = content.digest();
        if let Some(announced) = source.digest.replace(digest)
            && announced != digest
        {
            let expected = format!("the bundle `{announced}`");
            return Ok(Err(Rejection::mismatch(Code::DIGEST_MISMATCH, expected, format!("`{digest}`"))));
        }
        let key = (about.digest, digest, trust.digest());
        if let Some(verdict) = self.verdicts.get(&key) {
            return Ok(verdict.result.clone());
        }
        let checked = match content {
            CandidateContent::Bundle(bytes) => {
                Claim::read(bytes, Versions::V03).map_err(Fault::from).and_then(|claim| verify(trust, about, claim))
            }
            CandidateContent::CosignSignature(layer) => legacy::signature(trust, about, layer),
            CandidateContent::CosignAttestation(layer) => legacy::attestation(trust, about, layer),
        };
        let result = match checked {
            Ok(verified) => verified.read_predicate(),
            Err(Fault::Candidate(rejection)) => Err(rejection),
            Err(Fault::Ours(outage)) => return Err(outage),
        };
        // A log's time lies in the future once only: what is rejected for it may verify a second later.
        if !matches!(&result, Err(rejection) if rejection.code == Code::LOG_TIME_INVALID) {
            let size_bytes = result.as_ref().map_or(1024, Verified::memory_bytes);
            let size_bytes = u32::try_from(size_bytes).unwrap_or(u32::MAX);
            self.verdicts.insert(key, Arc::new(Remembered { result: result.clone(), size_bytes }));
        }
        Ok(result)
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
