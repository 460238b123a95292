//! What we said: the tamper-evident log.
//!
//! Nothing is handed over before [`Audit::append`] gives a [`Receipt`], and a receipt exists only after COMMIT. After a
//! crash anywhere in here the log is a prefix of what was asked for that holds everything that was acknowledged.
//! Formats: `docs/log-format.md`.

mod anchor;
mod boot;
pub mod commitment;
pub mod entry;
mod event;
mod guard;
mod key;
mod last;
mod personal;
mod reader;
mod receipt;
mod record;
mod recording;
mod selector;
mod sequencer;
mod session;
mod settings;
mod start;
mod store;
mod stored;
pub mod tlog;
mod verify;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use event::{EventKind, Kind, UnknownKind};
pub use reader::{FindError, MAX_PAGE, Query, Reader};
pub use receipt::Receipt;
pub use record::{DamagedRecord, Record};
pub use recording::{MAX_BODY_BYTES, RecordError};
pub use selector::{Prefix, Selector, SelectorError};
pub use sequencer::{MAX_BATCH, MAX_QUEUED};
pub use settings::Settings;
pub use start::{LogFault, StartError};
pub use store::{Order, StoreError};
pub use stored::{OpenedDecision, StoredDecision, Unopened};
pub use verify::{KeySource, Verified, VerifyFault, VerifyOptions, verify};
pub use window::{Decisions, MAX_PAGE_BYTES, MAX_PAGE_DECISIONS, Window};

use crate::case::{Case, Timestamp};
use crate::outage::{Outage, Peer};
use crate::policy::Decision;
use recording::Recording;
use sequencer::{OnStep, State, Submission};
use tlog::VerifierKey;

/// The most memory that waiting records take, in bytes: eight of the largest.
pub const MAX_QUEUED_BYTES: usize = 8 * MAX_BODY_BYTES;
/// The queue's memory is counted in pieces of this size, in bytes.
const ROOM_BYTES: usize = 1024;

/// The log, open for writing; one in a process, held by its lock file.
#[derive(Debug)]
pub struct Audit {
    queue: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
    append_deadline: Duration,
    vkey: VerifierKey,
    database: PathBuf,
    reader: Reader,
    state: Arc<State>,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a health check says of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Why the last batch was not recorded; `None` when it was.
    pub last_error: Option<String>,
    /// How many records wait.
    pub queue_depth: usize,
    /// The number of entries.
    pub size: u64,
}

impl Audit {
    /// Opens the log, making key, database and log at the first start. `now` dates what is made.
    pub async fn open(settings: &Settings, data_dir: &Path, now: Timestamp) -> Result<Self, StartError> {
        Self::open_watched(settings, data_dir, now, Box::new(|_| {})).await
    }

    async fn open_watched(
        settings: &Settings,
        data_dir: &Path,
        now: Timestamp,
        on_step: OnStep,
    ) -> Result<Self, StartError> {
        let state = Arc::new(State::default());
        let (sequencer, vkey) = boot::boot(settings, data_dir, now, Arc::clone(&state), on_step).await?;
        let database = settings.database_path(data_dir);
        let reader = Reader::open(&database).await?;
        let (queue, waiting) = mpsc::channel(MAX_QUEUED);
        let closing = CancellationToken::new();
        let task = tokio::spawn(sequencer.run(waiting, closing.clone()));
        Ok(Self {
            queue,
            room: Arc::new(Semaphore::new(MAX_QUEUED_BYTES / ROOM_BYTES)),
            append_deadline: settings.append_deadline(),
            vkey,
            database,
            reader,
            state,
            closing,
            task: Mutex::new(Some(task)),
        })
    }

    /// Records a decision; the receipt is given after COMMIT. A case is recorded once: its id is unique in the log.
    ///
    /// An outage of the audit log means that nobody may be handed anything. A decision whose deadline passed may still be
    /// recorded: the log then holds a decision that nobody received, which is the safe side.
    pub async fn append(&self, case: &Case, decision: &Decision) -> Result<Receipt, Outage> {
        let recording = Recording::of_decision(case, decision.facts());
        self.submit(recording.map_err(|error| Outage::new(Peer::Audit, "recording a decision").because(error))?).await
    }

    /// Records an event; gives its index after COMMIT. Texts in `detail` that name a person or workload are committed.
    pub async fn event(&self, kind: EventKind, detail: Value, now: Timestamp) -> Result<u64, Outage> {
        let recording = Recording::of_event(kind, boot::event_id(now), &detail, now);
        let recording = recording.map_err(|error| Outage::new(Peer::Audit, "recording an event").because(error))?;
        self.submit(recording).await.map(|receipt| receipt.index())
    }

    async fn submit(&self, recording: Recording) -> Result<Receipt, Outage> {
        let outage = || Outage::new(Peer::Audit, "recording a decision");
        let pieces = recording.size_bytes().div_ceil(ROOM_BYTES);
        let pieces = u32::try_from(pieces).expect("a record is no larger than MAX_BODY_BYTES");
        let room = Arc::clone(&self.room).try_acquire_many_owned(pieces);
        let room = room.map_err(|_| outage().because("the queue is full"))?;
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Submission { recording, reply, room }).map_err(|error| {
            outage().because(match error {
                mpsc::error::TrySendError::Full(_) => "the queue is full",
                mpsc::error::TrySendError::Closed(_) => "the log is closing",
            })
        })?;
        match tokio::time::timeout(self.append_deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(outage().because("the log closed before it answered")),
            Err(_) => {
                let waited = self.append_deadline.as_millis();
                Err(outage().because(format!("the log did not answer within {waited} ms")))
            }
        }
    }

    /// Reads the log.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The log's key as a vkey (C2SP signed-note): what an auditor compares elsewhere.
    pub fn vkey(&self) -> String {
        self.vkey.to_string()
    }

    /// The log's origin line.
    pub fn origin(&self) -> &str {
        self.vkey.name()
    }

    /// Where the database is.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// How the log does.
    pub fn health(&self) -> Health {
        Health {
            last_error: self.state.last_error.lock().expect("no panic while health is written").clone(),
            queue_depth: self.queue.max_capacity() - self.queue.capacity(),
            size: self.state.size.load(Ordering::Relaxed),
        }
    }

    /// Takes nothing more, records what waits, writes the anchor, closes the database. A second call does nothing.
    pub async fn close(&self) {
        self.closing.cancel();
        // Readers first: the last connection to close folds the write-ahead log into the database.
        self.reader.close().await;
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

#[cfg(test)]
mod tests;
