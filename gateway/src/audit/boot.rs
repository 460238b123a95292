//! Opening the log at start: lock, key, database, incarnation, guards.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::anchor::{self, Anchor};
use super::event::EventKind;
use super::guard::Lock;
use super::key;
use super::recording::Recording;
use super::sequencer::{OnStep, Sequencer, State};
use super::session::{Log, Session};
use super::settings::{Settings, next_incarnation};
use super::start::{LogFault, StartError};
use super::store::{self, Access, LogRow};
use super::tlog::{Checkpoint, EMPTY_ROOT, SignedNote, Signer, VerifierKey};
use crate::case::Timestamp;

/// Opens the log, making what is not there yet.
pub(super) async fn boot(
    settings: &Settings,
    data_dir: &Path,
    now: Timestamp,
    state: Arc<State>,
    on_step: OnStep,
) -> Result<(Sequencer, VerifierKey), StartError> {
    settings.check()?;
    let database = settings.database_path(data_dir);
    let anchor_dir = settings.anchor_path(data_dir);
    make_folder(data_dir)?;
    make_folder(database.parent().unwrap_or(data_dir))?;
    let lock = Lock::take(&database)?;
    if !database.exists() {
        refuse_lost_database(&anchor_dir, &settings.origin)?;
        make_file(&database)?;
    }
    let mut connection = store::open(&database, Access::Create).await.map_err(LogFault::from)?;
    let logs = store::logs(&mut connection).await.map_err(LogFault::from)?;
    let newest = logs.last();
    let goes_on = newest.is_some_and(|newest| newest.origin == settings.origin);
    if let Some(newest) = newest.filter(|_| !goes_on)
        && next_incarnation(&newest.origin).as_deref() != Some(&settings.origin)
    {
        let (found, configured) = (newest.origin.clone(), settings.origin.clone());
        return Err(StartError::OriginChanged { found, configured });
    }
    let signer = signer(settings, data_dir, goes_on)?;
    let vkey = signer.verifier().clone();
    let log_id = match newest.filter(|_| goes_on) {
        Some(log) => {
            check_key(&mut connection, log, &vkey, &settings.key_path(data_dir)).await?;
            log.log_id
        }
        None => make_log(&mut connection, &signer, now).await.map_err(LogFault::from)?,
    };
    let logs = store::logs(&mut connection).await.map_err(LogFault::from)?;
    let start = match logs.iter().rev().nth(1) {
        Some(previous) => Some(log_start(&mut connection, previous, &anchor_dir, now).await?),
        None => None,
    };
    store::close(connection).await.map_err(LogFault::from)?;
    let anchor = Arc::new(Anchor::new(&anchor_dir, &vkey));
    let log = Log { database, log_id, signer, anchor };
    let session = Session::open(&log, None).await?;
    let is_empty = session.published().size == 0;
    let mut sequencer = Sequencer::new(log, session, lock, state, on_step);
    if let Some(start) = start.filter(|_| is_empty) {
        sequencer.record(&[start]).await?;
    }
    Ok((sequencer, vkey))
}

/// A published log whose database is gone is not begun anew in silence.
fn refuse_lost_database(anchor_dir: &Path, origin: &str) -> Result<(), StartError> {
    let Some(note) = anchor::unverified_note_of(anchor_dir, origin) else { return Ok(()) };
    let claimed = SignedNote::parse(note.as_bytes()).ok().and_then(|note| note.unverified_text().parse().ok());
    let published = claimed.map_or(0, |checkpoint: Checkpoint| checkpoint.size);
    Err(LogFault::RolledBack { size: 0, published, origin: origin.to_owned() }.into())
}

/// The log's key; made when no log depends on it yet.
fn signer(settings: &Settings, data_dir: &Path, goes_on: bool) -> Result<Signer, StartError> {
    let path = settings.key_path(data_dir);
    let seed = match key::load(&path)? {
        Some(seed) => seed,
        None if goes_on => return Err(StartError::KeyMissing { path, origin: settings.origin.clone() }),
        None => key::create(&path)?,
    };
    Signer::new(&settings.origin, &seed).map_err(|_| StartError::KeyForm { path })
}

async fn check_key(
    connection: &mut store::Connection,
    log: &LogRow,
    vkey: &VerifierKey,
    path: &Path,
) -> Result<(), StartError> {
    let keys = store::keys(connection, log.log_id).await.map_err(LogFault::from)?;
    if keys.contains(&vkey.to_string()) {
        return Ok(());
    }
    Err(StartError::KeyChanged { path: path.to_owned(), origin: log.origin.clone(), expected: keys.join(", ") })
}

async fn make_log(
    connection: &mut store::Connection,
    signer: &Signer,
    now: Timestamp,
) -> Result<i64, store::StoreError> {
    let vkey = signer.verifier();
    let empty = Checkpoint { origin: vkey.name().to_owned(), size: 0, root: EMPTY_ROOT };
    let note = signer.sign(&empty.to_string()).to_string();
    tracing::info!(audit.origin = vkey.name(), audit.vkey = %vkey, "a new audit log begins");
    store::create_log(connection, vkey.name(), &vkey.to_string(), vkey.kind().byte(), &note, now).await
}

/// Entry 0 of a log that goes on after another: the last checkpoint of the one before it, and its anchor.
async fn log_start(
    connection: &mut store::Connection,
    previous: &LogRow,
    anchor_dir: &Path,
    now: Timestamp,
) -> Result<Recording, StartError> {
    let (size, checkpoint) = store::newest_checkpoint(connection, previous.log_id).await.map_err(LogFault::from)?;
    let detail = json!({
        "previous": {"origin": previous.origin, "size": size, "checkpoint": checkpoint},
        "anchor": anchor::unverified_note_of(anchor_dir, &previous.origin),
    });
    let id = event_id(now);
    let recording = Recording::of_event(EventKind::LogStart, id, &detail, now);
    recording.map_err(|error| LogFault::Damaged { detail: error.to_string() }.into())
}

/// A UUIDv7 of `now`.
pub(super) fn event_id(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.subsec_nanosecond().unsigned_abs()))
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::File { doing: "create", path: path.to_owned(), source })
}

/// Makes the database's file, readable by nobody else: it holds personal fields.
fn make_file(path: &Path) -> Result<(), StartError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(|_| ()).map_err(|source| StartError::File { doing: "create", path: path.to_owned(), source })
}
