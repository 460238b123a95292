//! The stages wired together: the only place that knows them all.

mod review;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::admission::{About, Admission, Asked, Handed};
use crate::audit::{self, Audit, EventKind, Receipt};
use crate::case::{
    BreakGlass, Case, DecisionFacts, Digest, Evidence, Mode, Previous, Purpose, Repository, Scope, Timestamp,
    TrustFacts, TrustKind,
};
use crate::config::Config;
use crate::evidence::{self, Collector, Examination, Exhibit, Upkeep};
use crate::handover::{self, Handover, NotHanded, Pulls, RowsError, Terms, Under, Unlogged, Used};
// What the doors ask about, and are given.
pub use crate::handover::{Attached, Found, Live, Part, PartKind, Pull};
use crate::identity::Caller;
use crate::outage::{NoAnswer, Outage, Peer};
use crate::policy::{self, Decision, InForce, Verdict};
use crate::registry::{self, Artifact, Registry};
pub use crate::registry::{Attachment, Blob};

/// How long an admission by digest is held, in seconds (facts of the field: Kyverno 60 min, connaisseur 30 s).
pub const HOLD_DIGEST_S: i64 = 600;
/// How many admissions are held at once; the least used go first.
pub const HOLD_MAX: u64 = 65_536;
/// How many uses of pull grants are on their way to the log at once.
const USES_AT_ONCE: usize = 32;

/// Everything one scope needs to answer requests.
pub struct Gate {
    /// Whose policies and log apply.
    pub scope: Scope,
    /// What a refusal does.
    pub mode: Mode,
    /// Which bytes.
    pub registry: Arc<Registry>,
    /// Who vouches.
    pub evidence: EvidenceStage,
    /// May it.
    pub policy: Arc<InForce>,
    /// What we said.
    pub audit: Audit,
    /// Bytes and ticket.
    pub handover: Handover,
    /// Who may fetch what through the registry door.
    pulls: Pulls,
    held: moka::sync::Cache<HoldKey, Held>,
    tag_life: Duration,
}

/// What an admission is held under: who, for whom, what, with which links.
#[derive(Clone, PartialEq, Eq, Hash)]
struct HoldKey {
    caller: crate::case::Caller,
    asked: Asked,
}

/// A recorded decision with its receipt, as long as it may be answered again.
#[derive(Clone, Debug)]
pub struct Held {
    /// What was decided.
    pub decision: Arc<Decision>,
    /// Where it stands in the log.
    pub receipt: Arc<Receipt>,
    /// What it was about.
    pub about: Arc<About>,
    until: Timestamp,
    /// When what was believed may no longer be, or [`HOLD_DIGEST_S`] are over: a digest stays what it is, whatever a tag does.
    digest_until: Timestamp,
    /// What was believed: revoke or replace any of it, and nothing is answered from here.
    basis: Digest,
}

impl Held {
    /// The decision as it was recorded just now.
    pub(crate) fn new(case: &Case, decision: Decision, receipt: Receipt) -> Self {
        let about = About { reference: case.reference.clone(), artifact: case.artifact.clone() };
        let until = trusted_until(case);
        Self {
            decision: Arc::new(decision),
            receipt: Arc::new(receipt),
            about: Arc::new(about),
            until,
            digest_until: until,
            basis: evidence::basis(&case.evidence.trust),
        }
    }
}

/// When the first trust root or revocation list that this case rests on grows too old.
fn trusted_until(case: &Case) -> Timestamp {
    let left_s = case
        .evidence
        .trust
        .iter()
        .filter_map(|trust| trust.max_age_s.map(|max| max.saturating_sub(trust.age_s)))
        .min()
        .unwrap_or(u64::MAX);
    later(case.time, i64::try_from(left_s).unwrap_or(i64::MAX).min(HOLD_DIGEST_S))
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// `evidence` with the registry that brings its candidates.
pub struct EvidenceStage {
    registry: Arc<Registry>,
    collector: Collector,
    upkeep: Upkeep,
}

impl EvidenceStage {
    /// What candidates are checked against, as one digest.
    pub fn trust_digest(&self) -> Digest {
        self.collector.trust().digest()
    }

    /// Finds every candidate for `artifact`, then examines each; `who` are those who ask for it.
    ///
    /// # Errors
    /// An outage of the registry, of the revocation list, or of the verifier's threads.
    pub async fn collect(&self, artifact: &Artifact, who: &[&str], now: Timestamp) -> Result<Evidence, Outage> {
        Ok(examine(&self.registry, &self.collector, artifact, who, now).await?.into_evidence())
    }

    /// What is wrong with the trust without stopping answers, by the name of root or list.
    pub fn degraded(&self, now: Timestamp) -> Vec<(String, String)> {
        self.upkeep.degraded(now)
    }

    /// Whether questions can be answered under what is believed now.
    ///
    /// # Errors
    /// An outage of the revocation list.
    pub fn usable(&self, now: Timestamp) -> Result<(), Outage> {
        self.collector.standing().usable(now)
    }

    /// Sets `witgate_trust_root_age_seconds` and `witgate_revocation_list_age_seconds`.
    pub fn measure(&self, now: Timestamp) {
        for TrustFacts { name, kind, age_s, .. } in self.collector.standing().facts(now) {
            #[allow(clippy::cast_precision_loss, reason = "seconds stay far below 2^52")]
            let age_s = age_s as f64;
            match kind {
                TrustKind::SigstoreRoot => metrics::gauge!("witgate_trust_root_age_seconds", "root" => name).set(age_s),
                TrustKind::RevocationList => metrics::gauge!("witgate_revocation_list_age_seconds").set(age_s),
                TrustKind::Authority | TrustKind::Key => {}
            }
        }
    }
}

/// Finds every candidate for `artifact`, then examines each under what is believed now.
///
/// # Errors
/// As [`EvidenceStage::collect`].
pub(crate) async fn examine(
    registry: &Registry,
    collector: &Collector,
    artifact: &Artifact,
    who: &[&str],
    now: Timestamp,
) -> Result<Examination, Outage> {
    let standing = collector.standing();
    standing.usable(now)?;
    let candidates = registry.candidates(artifact).await?;
    let revoked = standing.revoked(who, artifact.facts());
    let examination = collector.investigate(standing, exhibit(artifact), candidates, now).await?;
    Ok(examination.with_revoked(revoked))
}

/// What evidence about an artifact has to be about.
fn exhibit(artifact: &Artifact) -> Exhibit {
    Exhibit::of(artifact.manifest().clone()).through(artifact.indexes()).with_component(artifact.component().cloned())
}

/// Why the gate could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made.
    #[error("cannot make the data folder `{path}`")]
    DataDir {
        /// The folder.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The registry stage.
    #[error(transparent)]
    Registry(#[from] registry::StartError),
    /// The evidence stage.
    #[error(transparent)]
    Evidence(#[from] evidence::StartError),
    /// The policy stage.
    #[error(transparent)]
    Policy(#[from] policy::LoadError),
    /// The audit stage.
    #[error(transparent)]
    Audit(#[from] audit::StartError),
    /// The handover stage.
    #[error(transparent)]
    Handover(#[from] handover::StartError),
    /// The pull grants of the time before.
    #[error("cannot take up the pull grants in `{path}`")]
    Pulls {
        /// Their database.
        path: String,
        /// Why.
        #[source]
        source: RowsError,
    },
}

impl Gate {
    /// Opens every stage; `issuer` is the name that stands in tickets: the gateway's SPIFFE ID, or `local`.
    ///
    /// # Errors
    /// The first stage that cannot start; nothing is served then.
    pub async fn open(config: &Config, issuer: String, now: Timestamp) -> Result<Self, StartError> {
        let data_dir: &Path = &config.data_dir;
        std::fs::create_dir_all(data_dir)
            .map_err(|source| StartError::DataDir { path: data_dir.display().to_string(), source })?;
        let registry = Arc::new(Registry::open(&config.registry, &data_dir.join("cache"))?);
        let (collector, upkeep) = Upkeep::open(&config.evidence, data_dir, now).await?;
        let policy = Arc::new(InForce::open(&config.policy, data_dir).await?);
        let handover = Handover::open(&config.handover, data_dir, issuer)?;
        let audit = Audit::open(&config.audit, data_dir, now).await?;
        // Behind the log's lock: one process at a time.
        let pulls = Pulls::open(data_dir, config.scope.clone()).await.map_err(|source| StartError::Pulls {
            path: data_dir.join(handover::PULLS_FILE).display().to_string(),
            source,
        })?;
        Ok(Self {
            scope: config.scope.clone(),
            mode: policy.mode(),
            evidence: EvidenceStage { registry: registry.clone(), collector, upkeep },
            registry,
            policy,
            audit,
            handover,
            pulls,
            held: moka::sync::Cache::new(HOLD_MAX),
            tag_life: Duration::from_secs(config.registry.tag_life_s),
        })
    }

    /// A decision's id: UUIDv7 of `now`, random below the millisecond.
    pub(crate) fn next_id(&self, now: Timestamp) -> Uuid {
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
    }

    /// An admission of the same caller, for the same question, that still holds.
    pub(crate) fn held(&self, caller: &Caller, asked: &Asked, now: Timestamp) -> Option<Held> {
        // Break-glass is asked for, decided and recorded each time.
        if asked.purpose == Purpose::DryRun || asked.break_glass.is_some() {
            return None;
        }
        let key = HoldKey { caller: caller.facts().clone(), asked: asked.clone() };
        let held = self.held.get(&key)?;
        let same_policy = held.decision.facts().policy.digest == self.policy.current().facts().digest;
        if now < held.until && same_policy && self.evidence.collector.still_believes(held.basis).is_ok() {
            return Some(held);
        }
        self.held.invalidate(&key);
        None
    }

    /// Keeps an admission: as long as its tag may be, or [`HOLD_DIGEST_S`] for a digest; never past its trust.
    pub(crate) fn hold(&self, caller: &Caller, asked: &Asked, recorded: &Held) {
        let life_s = match asked.reference.digest() {
            Some(_) => HOLD_DIGEST_S,
            None => i64::try_from(self.tag_life.as_secs()).unwrap_or(HOLD_DIGEST_S),
        };
        let mut held = recorded.clone();
        held.until = held.until.min(later(held.receipt.committed_at(), life_s));
        if asked.purpose != Purpose::DryRun && asked.break_glass.is_none() && life_s > 0 {
            self.held.insert(HoldKey { caller: caller.facts().clone(), asked: asked.clone() }, held);
        }
    }

    /// How long to wait between two refreshes.
    pub fn pace(&self) -> Duration {
        self.evidence.upkeep.pace()
    }

    /// Looks at the files of trust and revocations; what was handed out on anything else than the new ones is withdrawn.
    pub async fn look_at_files(&self, now: Timestamp) {
        let before = self.evidence.collector.standing().basis();
        self.evidence.upkeep.look(now).await;
        self.withdraw_unless(before);
    }

    /// Asks the TUF repositories that are due, likewise.
    pub async fn ask_repositories(&self, now: Timestamp) {
        let before = self.evidence.collector.standing().basis();
        self.evidence.upkeep.ask(now).await;
        self.withdraw_unless(before);
    }

    fn withdraw_unless(&self, basis: Digest) {
        if self.evidence.collector.still_believes(basis).is_err() {
            self.held.invalidate_all();
            self.handover.withdraw_all();
            self.pulls.lapse_all();
        }
    }

    /// Makes of a recorded admission what is handed over for its purpose: a ticket, a pull grant, nothing.
    ///
    /// # Errors
    /// An outage of the gateway itself when grant and receipt do not belong together: a bug, and nobody is admitted. An
    /// outage of the trust when it was replaced since the decision.
    pub(crate) async fn hand_over(&self, recorded: Held, now: Timestamp) -> Result<Admission, NoAnswer> {
        let Verdict::Admit(grant) = recorded.decision.verdict() else { return Ok(Admission::Refused { recorded }) };
        let failed = |fault| Outage::new(Peer::Internal, "handing over what was admitted").because(fault);
        let handed = match grant.purpose() {
            Purpose::DryRun => Handed::Nothing,
            Purpose::Admission => {
                let ticket = self.handover.ticket(grant, &recorded.receipt, now).map_err(failed)?;
                ticket.map_or(Handed::Nothing, Handed::Ticket)
            }
            Purpose::Pull => {
                let terms = Terms { until: recorded.digest_until, trust: recorded.basis };
                let pull = self.pulls.grant(grant, &recorded.receipt, terms).await.map_err(failed)?;
                pull.map_or(Handed::Nothing, Handed::Pull)
            }
        };
        // Asked after it is live: what was made before a swap is withdrawn with it, what is made after is not handed out.
        self.evidence.collector.still_believes(recorded.basis)?;
        self.still_decides(recorded.decision.facts().policy.digest)?;
        Ok(Admission::Granted { handed, recorded })
    }

    /// What was admitted last in the artifact's repository, if it was another artifact.
    ///
    /// # Errors
    /// An outage of the log.
    pub(crate) async fn previous(&self, artifact: &Artifact) -> Result<Option<Previous>, Outage> {
        let reference = artifact.reference_facts();
        let (upstream, repository) = (&reference.upstream, &reference.repository);
        self.audit.reader().last_admitted(&self.scope, upstream, repository, artifact.digest()).await
    }

    /// Records that somebody asked to be let past policy, with what came of it; nothing is handed over before it stands there.
    ///
    /// # Errors
    /// An outage of the log.
    pub(crate) async fn log_break_glass(
        &self,
        case: &Case,
        asked: &BreakGlass,
        decision: &DecisionFacts,
        now: Timestamp,
    ) -> Result<(), Outage> {
        tracing::warn!(
            decision = %decision.id,
            verdict = decision.verdict.as_str(),
            "break-glass was asked for `{}`", case.reference.text
        );
        metrics::counter!("witgate_break_glass_total", "verdict" => decision.verdict.as_str()).increment(1);
        let detail = json!({
            "decision": decision.id, "verdict": decision.verdict, "caller": case.caller.id, "reference": case.reference.text,
            "justification": asked.justification,
        });
        self.audit.event(EventKind::Breakglass, detail, now).await.map(drop)
    }

    /// What `caller` may do with a digest in `repository` now.
    pub fn pull_found(
        &self,
        caller: &Caller,
        repository: &Repository,
        digest: &Digest,
        kind: PartKind,
        now: Timestamp,
    ) -> Found {
        self.pulls.find(caller.facts(), repository, digest, kind, &self.under(now))
    }

    /// What `caller` was admitted to in `repository`, whatever it is.
    pub fn pull_found_any(&self, caller: &Caller, repository: &Repository, now: Timestamp) -> Found {
        self.pulls.find_any(caller.facts(), repository, &self.under(now))
    }

    /// Lets what is attached to an admitted artifact be fetched under its grant.
    pub fn pull_attach(&self, live: &Live, attached: Vec<Attached>) {
        self.pulls.attach(live, attached);
    }

    /// The part of a pull grant that was just made, if it is live and covers the digest.
    pub fn pull_live(&self, pull: &Arc<Pull>, digest: &Digest, kind: PartKind, now: Timestamp) -> Option<Live> {
        self.pulls.live(pull, digest, kind, &self.under(now))
    }

    /// Asked last before `bytes` bytes are sent: whether what was decided still holds, and whether it can be recorded.
    ///
    /// # Errors
    /// An outage of the trust when the decision holds no longer, of the log when it does not take the uses: nothing is sent.
    pub fn pull_hand_out(&self, live: &Live, bytes: u64, now: Timestamp) -> Result<(), Outage> {
        self.pulls.hand_out(live, bytes, &self.under(now)).map_err(|not_handed| match not_handed {
            NotHanded::Lapsed => self.pull_lapsed(),
            NotHanded::Unlogged(fault) => {
                Outage::new(Peer::Audit, "recording what is fetched on pull grants").because(fault)
            }
        })
    }

    /// What a caller is told when a pull grant ended between its decision and the first byte.
    pub fn pull_lapsed(&self) -> Outage {
        Outage::new(Peer::TrustRoot, "handing over what was decided a moment ago")
            .because(NotHanded::Lapsed)
            .with_hint("ask again: it is decided anew")
    }

    /// Writes into the log what was used of pull grants since the last time, one entry for each decision.
    ///
    /// # Errors
    /// The log does not take them: from now on nothing is fetched on any pull grant until it does.
    pub async fn log_uses(&self, now: Timestamp) -> Result<(), Outage> {
        let waiting = self.pulls.unlogged();
        for some in waiting.chunks(USES_AT_ONCE) {
            let recorded = some.iter().map(|(decision, used)| async move {
                let Used { manifests, blobs, bytes, from, to } = used;
                let detail = json!({
                    "decision": decision, "manifests": manifests, "blobs": blobs, "bytes": bytes, "from": from, "to": to,
                });
                self.audit.event(EventKind::GrantUse, detail, now).await?;
                self.pulls.logged(*decision, used);
                Ok(())
            });
            let failed = futures::future::join_all(recorded).await.into_iter().find_map(Result::err);
            if let Some(outage) = failed {
                self.pulls.log_takes(Err(Unlogged));
                return Err(outage);
            }
        }
        self.pulls.log_takes(Ok(()));
        Ok(())
    }

    /// Closes what is open on disk: nothing is handed over from now on.
    pub async fn close(&self) {
        self.pulls.close().await;
        self.audit.close().await;
    }

    fn under(&self, now: Timestamp) -> Under {
        Under { now, policy: self.policy.current().facts().digest, trust: self.evidence.collector.standing().basis() }
    }
}
