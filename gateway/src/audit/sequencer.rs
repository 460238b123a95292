//! The one writer: takes what waits, commits it as one batch, answers after COMMIT.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::guard::{Files, Lock};
use super::receipt;
use super::recording::Recording;
use super::session::{Committed, Log, Published, Session, on_disk};
use super::start::LogFault;
use super::store::Step;
use crate::audit::Receipt;
use crate::case::Digest;
use crate::outage::{Outage, Peer, chain};

/// The most records of one transaction: beyond it a batch takes longer and gains nothing (measured).
pub const MAX_BATCH: usize = 512;
/// The most records that wait; past it there is an outage, never a wait (Tessera's pushback).
pub const MAX_QUEUED: usize = 4096;
/// The least time between two writes of the anchor, which may lag by it.
const ANCHOR_INTERVAL: Duration = Duration::from_millis(250);

/// A record on its way to the log.
#[derive(Debug)]
pub(super) struct Submission {
    pub recording: Recording,
    pub reply: oneshot::Sender<Result<Receipt, Outage>>,
    /// Its share of the queue's memory.
    pub room: OwnedSemaphorePermit,
}

/// What health checks look at.
#[derive(Debug, Default)]
pub(super) struct State {
    pub size: AtomicU64,
    pub last_error: Mutex<Option<String>>,
    anchor_behind: Mutex<bool>,
}

/// Called at each step of a transaction; tests look at the files there as a crash would leave them.
pub(super) type OnStep = Box<dyn FnMut(Step) + Send + Sync>;

/// The writer's task.
pub(super) struct Sequencer {
    log: Log,
    session: Option<Session>,
    files: Files,
    last: Published,
    state: Arc<State>,
    newest: watch::Sender<Published>,
    on_step: OnStep,
    /// Held until the last connection is closed.
    _lock: Lock,
}

impl Sequencer {
    /// A writer for an open log.
    pub fn new(log: Log, session: Session, lock: Lock, state: Arc<State>, on_step: OnStep) -> Self {
        let last = session.published().clone();
        state.size.store(last.size, Ordering::Relaxed);
        let files = session.files().clone();
        let newest = watch::Sender::new(last.clone());
        Self { log, session: Some(session), files, last, state, newest, on_step, _lock: lock }
    }

    /// Runs until every sender is gone or `closing` is cancelled and the queue is empty; then closes the database.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Submission>, closing: CancellationToken) {
        let anchor =
            tokio::spawn(keep_anchor(Arc::clone(&self.log.anchor), self.newest.subscribe(), Arc::clone(&self.state)));
        let mut waiting = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled(), if !queue.is_closed() => queue.close(),
                taken = queue.recv_many(&mut waiting, MAX_BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.answer(std::mem::take(&mut waiting)).await;
                }
            }
        }
        anchor.abort();
        if let Err(fault) = self.write_anchor().await {
            tracing::error!(audit.fault = %chain(&fault), "the anchor could not be written at the end");
        }
        if let Some(session) = self.session.take()
            && let Err(fault) = session.close().await
        {
            tracing::error!(audit.fault = %chain(&fault), "the audit log was not closed cleanly");
        }
    }

    /// The session, for tests that take something away from it.
    #[cfg(test)]
    pub fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("the log was just opened")
    }

    /// Commits what is waiting and answers each, or answers each with the same outage.
    async fn answer(&mut self, mut waiting: Vec<Submission>) {
        // Whoever has gone away has been told of an outage already: nothing was handed over, nothing needs to be said.
        waiting.retain(|submission| !submission.reply.is_closed());
        if waiting.is_empty() {
            return;
        }
        let mut recordings = Vec::with_capacity(waiting.len());
        let mut replies = Vec::with_capacity(waiting.len());
        for Submission { recording, reply, room } in waiting {
            recordings.push(recording);
            replies.push((reply, room));
        }
        match self.record(&recordings).await {
            Ok(committed) => {
                for (at, ((reply, _room), recording)) in replies.into_iter().zip(&recordings).enumerate() {
                    // A caller that gave up in the meantime finds its decision in the log; the ticket was never made.
                    let _ = reply.send(Ok(self.receipt(&committed, at as u64, recording)));
                }
            }
            Err(LogFault::Store(error)) if error.blames_a_row() && recordings.len() > 1 => {
                for ((reply, _room), recording) in replies.into_iter().zip(recordings) {
                    let result = self.record(std::slice::from_ref(&recording)).await;
                    let result = result.map(|committed| self.receipt(&committed, 0, &recording));
                    let _ = reply.send(result.map_err(|fault| outage(&Arc::new(fault))));
                }
            }
            Err(fault) => {
                let fault = Arc::new(fault);
                for (reply, _room) in replies {
                    let _ = reply.send(Err(outage(&fault)));
                }
            }
        }
    }

    /// Commits one batch; what went wrong is logged here, once.
    pub async fn record(&mut self, recordings: &[Recording]) -> Result<Committed, LogFault> {
        let result = self.try_record(recordings).await;
        let mut last_error = self.state.last_error.lock().expect("no panic while health is written");
        match &result {
            Ok(committed) => {
                self.state.size.store(committed.published.size, Ordering::Relaxed);
                *last_error = None;
            }
            Err(fault) => {
                tracing::error!(audit.fault = %chain(fault), audit.batch = recordings.len(), "nothing was recorded");
                *last_error = Some(chain(fault));
            }
        }
        result
    }

    async fn try_record(&mut self, recordings: &[Recording]) -> Result<Committed, LogFault> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let files = self.files.clone();
                on_disk(move || files.check_database()).await?;
                let session = Session::open(&self.log, Some(&self.last)).await?;
                self.files = session.files().clone();
                session
            }
        };
        session.check_guards(&self.log).await?;
        if self.anchor_is_behind() {
            self.write_anchor().await?;
        }
        let committed = session.append(&self.log, recordings, &mut *self.on_step).await?;
        self.last = committed.published.clone();
        self.newest.send_replace(self.last.clone());
        self.session = Some(session);
        Ok(committed)
    }

    fn anchor_is_behind(&self) -> bool {
        *self.state.anchor_behind.lock().expect("no panic while health is written")
    }

    /// Writes the anchor now; with it out of reach nothing is recorded.
    async fn write_anchor(&self) -> Result<(), LogFault> {
        if self.last.size == 0 {
            return Ok(());
        }
        write(&self.log.anchor, &self.last, &self.state).await
    }

    fn receipt(&self, committed: &Committed, at: u64, recording: &Recording) -> Receipt {
        let index = committed.first_index + at;
        Receipt::after_commit(receipt::Committed {
            decision: recording.entry.id,
            origin: self.log.signer.verifier().name().to_owned(),
            index,
            leaf_hash: Digest::from_bytes(recording.leaf),
            tree_size: committed.published.size,
            proof: committed.proof(index),
            checkpoint: committed.published.checkpoint.clone(),
            committed_at: committed.signed_at,
        })
    }
}

/// Writes the newest checkpoint to the anchor, never more often than every [`ANCHOR_INTERVAL`].
async fn keep_anchor(anchor: Arc<super::anchor::Anchor>, mut newest: watch::Receiver<Published>, state: Arc<State>) {
    while newest.changed().await.is_ok() {
        let published = newest.borrow_and_update().clone();
        if let Err(fault) = write(&anchor, &published, &state).await {
            tracing::error!(audit.fault = %chain(&fault), "the anchor could not be written");
        }
        tokio::time::sleep(ANCHOR_INTERVAL).await;
    }
}

async fn write(anchor: &Arc<super::anchor::Anchor>, published: &Published, state: &State) -> Result<(), LogFault> {
    let (anchor, published) = (Arc::clone(anchor), published.clone());
    let result = on_disk(move || anchor.write(published.size, &published.checkpoint)).await;
    *state.anchor_behind.lock().expect("no panic while health is written") = result.is_err();
    result
}

/// The outage that a caller is told of.
pub(super) fn outage(fault: &Arc<LogFault>) -> Outage {
    let outage = Outage::new(Peer::Audit, "recording a decision").because(Arc::clone(fault));
    match fault.hint() {
        Some(hint) => outage.with_hint(hint),
        None => outage,
    }
}
