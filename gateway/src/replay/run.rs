//! Every core at work: one reader, a short queue, and threads that decide.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::compare::{Change, compare};
use super::decide::{Answer, At, answer};
use super::lines;
use super::stored::{Recorded, Stored};
use super::tally::Tally;
use crate::audit::Decisions;
use crate::outage::Outage;
use crate::policy::Policy;

/// Where recorded decisions come from.
#[derive(Debug)]
pub enum Source {
    /// The log.
    Log(Box<Decisions>),
    /// A file of lines.
    File(File),
    /// Standard input, as lines.
    Stdin,
}

/// How a replay is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// At which time cases are decided.
    pub at: At,
    /// How many threads decide, cut to [`MAX_THREADS`].
    pub threads: NonZeroUsize,
}

/// How far a replay is; shared with who shows it.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log or the evaluator gave none.
    #[error(transparent)]
    Outage(#[from] Outage),
    /// The evaluator gave none on one case.
    #[error("cannot decide the case of `{decision}` again")]
    Decide {
        /// The decision's id.
        decision: uuid::Uuid,
        /// Why.
        source: Box<Outage>,
    },
    /// The export cannot be read.
    #[error("cannot read the recorded decisions")]
    Read(#[from] std::io::Error),
}

impl Progress {
    /// How many decisions were looked at.
    pub fn decisions(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Decides every case of `source` by `policy` and counts what would change.
///
/// Memory is bounded by the queue: as many pages as there are threads wait, and each thread has one in hand.
///
/// # Errors
/// [`ReplayError`]: what was counted until then is no answer.
///
/// # Panics
/// When a thread that decides does: a bug.
pub async fn replay(
    source: Source,
    policy: Arc<Policy>,
    options: Options,
    progress: Arc<Progress>,
) -> Result<Tally, ReplayError> {
    let threads = options.threads.get().min(MAX_THREADS);
    let (pages, waiting) = mpsc::channel(threads);
    let waiting = Arc::new(Mutex::new(waiting));
    let mut workers = Vec::with_capacity(threads);
    for at in 0..threads {
        let worker = Worker {
            policy: Arc::clone(&policy),
            at: options.at,
            waiting: Arc::clone(&waiting),
            progress: Arc::clone(&progress),
        };
        let thread = std::thread::Builder::new().name(format!("replay-{at}"));
        workers.push(thread.spawn(move || worker.run())?);
    }
    // The workers hold the only receivers: when one gives up and closes it, the reader stops.
    drop(waiting);
    let fed = feed(source, pages).await;
    let counted = tokio::task::spawn_blocking(move || {
        let mut tally = Ok(Tally::default());
        for worker in workers {
            let counted = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            tally = match (tally, counted) {
                (Ok(mut tally), Ok(counted)) => {
                    Tally::merge(&mut tally, counted);
                    Ok(tally)
                }
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        tally
    });
    let counted = counted.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    fed?;
    counted
}

async fn feed(source: Source, pages: mpsc::Sender<Vec<Stored>>) -> Result<(), ReplayError> {
    match source {
        Source::Log(mut decisions) => loop {
            let page = decisions.next_page().await?;
            if page.is_empty() {
                return Ok(());
            }
            let page = page.into_iter().map(|row| Stored::Row(Box::new(row))).collect();
            if pages.send(page).await.is_err() {
                return Ok(());
            }
        },
        Source::File(file) => blocking(move || lines::feed(BufReader::new(file), &pages)).await,
        Source::Stdin => blocking(move || lines::feed(std::io::stdin().lock(), &pages)).await,
    }
}

async fn blocking(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<(), ReplayError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
}

/// One thread that decides.
struct Worker {
    policy: Arc<Policy>,
    at: At,
    waiting: Arc<Mutex<mpsc::Receiver<Vec<Stored>>>>,
    progress: Arc<Progress>,
}

impl Worker {
    fn run(self) -> Result<Tally, ReplayError> {
        let mut tally = Tally::default();
        while let Some(page) = self.next() {
            let decisions = page.len() as u64;
            for stored in page {
                if let Err(error) = self.one(stored, &mut tally) {
                    self.waiting.lock().unwrap_or_else(PoisonError::into_inner).close();
                    return Err(error);
                }
            }
            self.progress.0.fetch_add(decisions, Ordering::Relaxed);
        }
        Ok(tally)
    }

    /// The next page; one thread waits for it, the others wait for that one.
    fn next(&self) -> Option<Vec<Stored>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
    }

    fn one(&self, stored: Stored, tally: &mut Tally) -> Result<(), ReplayError> {
        let (place, id) = (stored.place(), stored.id());
        let Recorded { case, decision } = match stored.open() {
            Ok(Some(recorded)) => recorded,
            Ok(None) => return Ok(()),
            Err(why) => {
                tally.pass(place, id, why);
                return Ok(());
            }
        };
        let case = self.at.applied(case);
        let answer = answer(&self.policy, &case)
            .map_err(|outage| ReplayError::Decide { decision: case.id, source: Box::new(outage) })?;
        match answer {
            Answer::Decided(candidate) => match compare(&decision, &candidate) {
                Change::Same => tally.same += 1,
                Change::NewlyRefused(codes) => tally.newly_refused.add(&case, &codes),
                Change::NewlyAdmitted(codes) => tally.newly_admitted.add(&case, &codes),
                Change::Changed(what) => tally.changed.add(&case, &what),
            },
            Answer::LookedAt => {
                let codes = decision.reasons.iter().map(|reason| &reason.code).collect();
                tally.would_be_looked_at.add(&case, &codes);
            }
        }
        Ok(())
    }
}

/// The most threads that decide: as many machines as a policy keeps for reuse.
pub const MAX_THREADS: usize = 16;
