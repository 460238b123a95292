//! Pull grants: what the registry door may send to whom.
//!
//! A pull that was admitted makes a [`Pull`] over exactly the digests that its verified manifest names. It is live while the
//! decision holds: by time, by the policy's digest, by what is believed. What is not live says which artifact to decide
//! about anew, and lets nobody fetch anything.

mod place;
mod pull;
mod rows;
mod table;
mod uses;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

pub use pull::{Attached, Part, PartKind, Pull, Terms, Under};
pub use rows::RowsError;
pub use uses::{UNLOGGED_MAX, Unlogged, Used};

use super::ticket::TicketFault;
use crate::audit::Receipt;
use crate::case::{Caller, Digest, Purpose, Repository, Scope};
use crate::policy::Grant;
use place::Place;
use pull::Holds;
use rows::Rows;
use table::Table;
use uses::Uses;

/// The most pull grants that are kept; past it the oldest goes, and its caller asks for the manifest again.
pub const PULLS_MAX: usize = 65_536;
/// How many of them one caller may have: past it its own oldest one goes.
pub const PULLS_MAX_A_CALLER: usize = 4_096;
/// The most artifacts that are decided about anew for one blob: those that name it, newest first.
pub const LAPSED_MAX: usize = 4;
/// The most digests that may be attached to one grant: 128 referrers with a config and two layers each.
pub const ATTACHED_MAX: usize = 512;

/// Every pull grant of one scope.
#[derive(Debug)]
pub struct Pulls {
    scope: Scope,
    table: Mutex<Table>,
    rows: Rows,
    /// Raised when all grants end at once.
    epoch: AtomicU64,
    uses: Uses,
}

/// The proof that a caller may have a digest now; only [`Pulls::find`] and [`Pulls::grant`] lead to one.
#[derive(Clone, Debug)]
pub struct Live {
    pull: Arc<Pull>,
    part: Part,
    named_by: Digest,
}

impl Live {
    /// The grant it stands on.
    pub fn pull(&self) -> &Pull {
        &self.pull
    }

    /// The digest that may be sent.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The manifest that names it: the admitted one, or that of a referrer.
    pub fn named_by(&self) -> &Digest {
        &self.named_by
    }

    fn of(pull: &Arc<Pull>, digest: &Digest, kind: PartKind) -> Option<Self> {
        pull.part(digest, kind).map(|(part, named_by)| Self { pull: Arc::clone(pull), part, named_by })
    }
}

/// What is known of a digest that a caller asks for.
#[derive(Clone, Debug)]
pub enum Found {
    /// It may have it.
    Live(Live),
    /// It could have had it: these artifacts name it, newest first, and are decided about anew.
    Lapsed(Vec<Digest>),
    /// As if there were no such thing.
    Unknown,
}

impl Pulls {
    /// Takes up what `DATA_DIR/pulls.db` remembers: none of it is live.
    ///
    /// # Errors
    /// [`RowsError`] when the file cannot be used.
    pub async fn open(data_dir: &Path, scope: Scope) -> Result<Self, RowsError> {
        Self::bounded(&data_dir.join(PULLS_FILE), scope, PULLS_MAX, PULLS_MAX_A_CALLER).await
    }

    async fn bounded(path: &Path, scope: Scope, most: usize, most_a_caller: usize) -> Result<Self, RowsError> {
        let rows = Rows::open(path).await?;
        let mut table = Table::bounded(most, most_a_caller);
        for pull in rows.take_up(most).await? {
            table.put(Arc::new(pull));
        }
        let (epoch, uses) = (AtomicU64::new(0), Uses::default());
        Ok(Self { scope, table: Mutex::new(table), rows, epoch, uses })
    }

    /// The live grant for what `grant` admits and `receipt` records; the same decision gives the same grant again. `None`
    /// where the decision was about something else than a pull.
    ///
    /// A row that cannot be written is an entry in telemetry and no outage: it is lost at the next restart alone.
    ///
    /// # Errors
    /// [`TicketFault::OtherDecision`]: a bug of whoever brought grant and receipt together.
    pub async fn grant(
        &self,
        grant: &Grant,
        receipt: &Receipt,
        terms: Terms,
    ) -> Result<Option<Arc<Pull>>, TicketFault> {
        if grant.decision() != receipt.decision() {
            return Err(TicketFault::OtherDecision { grant: grant.decision(), receipt: receipt.decision() });
        }
        match grant.purpose() {
            Purpose::Admission | Purpose::DryRun => return Ok(None),
            Purpose::Pull => {}
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let reference = grant.reference();
        let repository =
            Repository::new(&reference.upstream, &reference.repository).expect("a case's reference was parsed as one");
        let place = Place::of(&self.scope, grant.caller(), &repository);
        let holds = Holds { terms, policy: grant.policy().digest, epoch };
        let pull = Arc::new(Pull::of(grant, place, holds, receipt.committed_at()));
        let evicted = {
            let mut table = self.table();
            let known = table.get(&(place.key, pull.root));
            if let Some(known) = known.filter(|known| known.decision == pull.decision && known.holds.is_some()) {
                return Ok(Some(Arc::clone(known)));
            }
            let evicted = table.put(Arc::clone(&pull));
            #[allow(clippy::cast_precision_loss, reason = "bounded far below 2^52")]
            metrics::gauge!("witgate_pull_grants").set(table.len() as f64);
            evicted
        };
        if let Err(error) = self.rows.put(&pull, &evicted).await {
            tracing::warn!(error = crate::outage::chain(&error), "a pull grant will not outlive a restart");
            metrics::counter!("witgate_pull_rows_lost_total").increment(1);
        }
        Ok(Some(pull))
    }

    /// What `caller` may do with `digest` in `repository`.
    pub fn find(
        &self,
        caller: &Caller,
        repository: &Repository,
        digest: &Digest,
        kind: PartKind,
        under: &Under,
    ) -> Found {
        let place = Place::of(&self.scope, caller, repository);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let table = self.table();
        let covering = table.covering(&place.key, digest, kind);
        let mut live = covering.iter().filter(|pull| pull.is_live(under, epoch));
        found(live.find_map(|pull| Live::of(pull, digest, kind)), &covering)
    }

    /// What `caller` was admitted to in `repository`, whatever it is: its manifest, as the proof.
    pub fn find_any(&self, caller: &Caller, repository: &Repository, under: &Under) -> Found {
        let place = Place::of(&self.scope, caller, repository);
        let epoch = self.epoch.load(Ordering::SeqCst);
        let table = self.table();
        let here = table.at(&place.key);
        let mut live = here.iter().filter(|pull| pull.is_live(under, epoch));
        found(live.find_map(|pull| Live::of(pull, &pull.root, PartKind::Manifest)), &here)
    }

    /// Lets what was found attached to the artifact be fetched under the same grant, as long as that lives.
    pub fn attach(&self, live: &Live, attached: Vec<Attached>) {
        let mut table = self.table();
        let known = table.get(&(live.pull.place.key, live.pull.root));
        let Some(known) = known.filter(|known| known.decision == live.pull.decision) else { return };
        let mut pull = Pull::clone(known);
        for new in attached {
            if pull.attached.len() < ATTACHED_MAX && pull.part(&new.part.digest, new.part.kind).is_none() {
                pull.attached.push(new);
            }
        }
        table.attach(Arc::new(pull));
    }

    /// The part of a grant that was just made, if it is live and covers it.
    pub fn live(&self, pull: &Arc<Pull>, digest: &Digest, kind: PartKind, under: &Under) -> Option<Live> {
        let live = Live::of(pull, digest, kind)?;
        pull.is_live(under, self.epoch.load(Ordering::SeqCst)).then_some(live)
    }

    /// Counts an answer of `bytes` bytes; asked last before they are sent.
    ///
    /// # Errors
    /// [`NotHanded`]: nothing is sent.
    pub fn hand_out(&self, live: &Live, bytes: u64, under: &Under) -> Result<(), NotHanded> {
        if !live.pull.is_live(under, self.epoch.load(Ordering::SeqCst)) {
            return Err(NotHanded::Lapsed);
        }
        Ok(self.uses.count(live.pull.decision, live.part.kind, bytes, under.now)?)
    }

    /// The decisions of the grants that would be live if `under` counted.
    pub fn live_decisions(&self, under: &Under) -> BTreeSet<Uuid> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        self.table().all().filter(|pull| pull.is_live(under, epoch)).map(|pull| pull.decision).collect()
    }

    /// Lets the grant of a decision hold under another policy, which admits the same.
    pub fn carry_over(&self, decisions: &BTreeSet<Uuid>, from: Digest, to: Digest) {
        let mut table = self.table();
        let carried: Vec<_> = table.all().filter(|pull| decisions.contains(&pull.decision)).cloned().collect();
        for pull in carried {
            if let Some(holds) = pull.holds.filter(|holds| holds.policy == from) {
                table.attach(Arc::new(Pull { holds: Some(Holds { policy: to, ..holds }), ..Pull::clone(&pull) }));
            }
        }
    }

    /// Ends every grant at once.
    pub fn lapse_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// What was used and waits for the log.
    pub fn unlogged(&self) -> Vec<(Uuid, Used)> {
        self.uses.waiting()
    }

    /// The log has it.
    pub fn logged(&self, decision: Uuid, used: &Used) {
        self.uses.logged(decision, used);
    }

    /// Whether the log took everything; if not, nothing more is handed out until it does.
    pub fn log_takes(&self, takes: Result<(), Unlogged>) {
        self.uses.log_takes(takes);
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.rows.close().await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each critical section leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(live: Option<Live>, all: &[&Arc<Pull>]) -> Found {
    match live {
        Some(live) => Found::Live(live),
        None if all.is_empty() => Found::Unknown,
        None => Found::Lapsed(all.iter().take(LAPSED_MAX).map(|pull| pull.root).collect()),
    }
}

/// Why a caller that could have had the bytes a moment ago does not get them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHanded {
    /// What the decision stood on changed, or its time ran out.
    #[error("what was decided holds no longer")]
    Lapsed,
    /// The log does not take what was used.
    #[error(transparent)]
    Unlogged(#[from] Unlogged),
}

/// The file of the rows in the data folder.
pub const PULLS_FILE: &str = "pulls.db";

#[cfg(test)]
mod tests;
