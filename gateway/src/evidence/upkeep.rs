//! Trust kept fresh while the gateway runs: looked at in the background, swapped whole, the last good one kept.
//!
//! Nothing here is on the path of a request. What cannot be used is counted in `witgate_evidence_refresh_errors_total`, told
//! in the log once, and leaves everything as it is; age does the rest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::collector::{Collector, Current};
use super::document::{RootDocument, read};
use super::limits::{FILES_TIMEOUT_MS, REVOCATION_BYTES_MAX, TUF_RETRY_MAX_S};
use super::memory::{Memory, MemoryFault};
use super::revocation::{ListFault, RevocationList, RevocationSettings};
use super::settings::{RootSettings, RootSource, Settings};
use super::standing::{Revocations, Standing};
use super::start_error::StartError;
use super::trust::Trust;
use super::tuf::Repository;
use crate::case::{Digest, Timestamp, TrustKind};
use crate::outage::{Outage, Peer, chain};

/// The task behind a collector; shared by the loops that look at files and those that ask TUF repositories.
#[derive(Clone)]
pub struct Upkeep {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    data_dir: PathBuf,
    current: Current,
    repositories: BTreeMap<usize, Repository>,
    state: Mutex<State>,
}

struct State {
    memory: Memory,
    /// In the order of the settings.
    documents: Vec<RootDocument>,
    /// What the file system said of each file, to tell a touched one from one whose date lies ahead.
    modified: Vec<Timestamp>,
    due: BTreeMap<usize, Due>,
    /// What is wrong now, by the name of root or list.
    faults: BTreeMap<String, String>,
}

/// When a repository is asked next.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Timestamp,
    failures: u32,
}

/// Why something new was not believed.
#[derive(Debug, thiserror::Error)]
enum RefreshFault {
    #[error(transparent)]
    Unusable(#[from] StartError),
    #[error("no newer root came")]
    Tuf(#[source] Outage),
    #[error("it was replaced before: an older root came back")]
    Older,
    #[error("`{}` cannot be kept", .path.display())]
    Memory {
        path: PathBuf,
        #[source]
        source: MemoryFault,
    },
    #[error(transparent)]
    List(#[from] ListFault),
    #[error("the files were not read within {FILES_TIMEOUT_MS} ms")]
    Slow,
}

impl Upkeep {
    /// Reads everything that is configured, and asks TUF repositories that are due unless `offline`; remembers the roots.
    ///
    /// # Errors
    /// The first thing that cannot be used: nothing starts on half of its trust. A repository that does not answer is none
    /// as long as its cache holds a root.
    pub async fn open(settings: &Settings, data_dir: &Path, now: Timestamp) -> Result<(Collector, Self), StartError> {
        let Prepared { standing, repositories, mut state } = Prepared::read(settings, data_dir, now).await?;
        let forgotten = |source| StartError::Memory { path: Memory::path_in(data_dir), source };
        for (root, document) in settings.roots.iter().zip(&state.documents) {
            state.memory.remember(&root.name, document.digest, document.refreshed_at).map_err(forgotten)?;
        }
        if let Some(revocations) = standing.revocations() {
            state.memory.remember_list(revocations.list.issued_at()).map_err(forgotten)?;
        }
        let collector = Collector::under(standing);
        let (settings, data_dir, current) = (settings.clone(), data_dir.to_owned(), collector.current());
        let shared = Shared { settings, data_dir, current, repositories, state: Mutex::new(state) };
        Ok((collector, Self { shared: Arc::new(shared) }))
    }

    /// How long to wait between two looks.
    pub fn pace(&self) -> Duration {
        Duration::from_secs(self.shared.settings.refresh_s)
    }

    /// Looks at the files of roots and revocations once, and believes what is new and good.
    pub async fn look(&self, now: Timestamp) {
        let shared = Arc::clone(&self.shared);
        // Read without the lock: a disk that hangs holds up nobody.
        let reading = tokio::task::spawn_blocking(move || shared.read_files(now));
        match tokio::time::timeout(Duration::from_millis(FILES_TIMEOUT_MS), reading).await {
            Ok(Ok(files)) => self.shared.take(files, now),
            Ok(Err(panic)) => tracing::error!(error = %panic, "looking at the files of `[evidence]` ended badly"),
            Err(_) => self.shared.report("files", Err(RefreshFault::Slow)),
        }
    }

    /// Asks every TUF repository that is due; none at all when `offline`.
    pub async fn ask(&self, now: Timestamp) {
        if self.shared.settings.offline {
            return;
        }
        let due = self.shared.due(now);
        futures::future::join_all(due.into_iter().map(|index| self.shared.ask(index, now))).await;
    }

    /// What is wrong without being down: a refresh that failed, a root past its age. Names each root or list.
    pub fn degraded(&self, now: Timestamp) -> Vec<(String, String)> {
        let mut found: Vec<_> = self.shared.lock().faults.clone().into_iter().collect();
        for fact in self.shared.current.load().facts(now) {
            if fact.kind == TrustKind::SigstoreRoot
                && let Some(max_age_s) = fact.max_age_s
                && fact.age_s > max_age_s
            {
                let detail = format!("confirmed {} s ago, at most {max_age_s} s are trusted", fact.age_s);
                found.push((fact.name, detail));
            }
        }
        found
    }
}

/// Everything that is configured, as it is at the start.
struct Prepared {
    standing: Standing,
    repositories: BTreeMap<usize, Repository>,
    state: State,
}

impl Prepared {
    async fn read(settings: &Settings, data_dir: &Path, now: Timestamp) -> Result<Self, StartError> {
        settings.check()?;
        let path = Memory::path_in(data_dir);
        let memory = Memory::open(data_dir).map_err(|source| StartError::Memory { path: path.clone(), source })?;
        let (mut documents, mut modified) = (Vec::new(), Vec::new());
        let (mut repositories, mut due) = (BTreeMap::new(), BTreeMap::new());
        for (index, root) in settings.roots.iter().enumerate() {
            let mut document = match &root.trusted_root {
                RootSource::Tuf(source) => {
                    let repository = Repository::open(&root.name, source, data_dir)?;
                    let refreshed_at = memory.refreshed_at(&root.name);
                    let document = first(&repository, refreshed_at, root.max_age_s, settings.offline, now).await?;
                    let at = later(document.refreshed_at, repository.half_life_s(now, root.max_age_s));
                    due.insert(index, Due { at, failures: 0 });
                    repositories.insert(index, repository);
                    document
                }
                _ => RootDocument::read(root)?.expect("a root that is in no repository is read"),
            };
            modified.push(document.refreshed_at);
            document.refreshed_at = document.refreshed_at.min(now);
            if memory.was_replaced(&root.name, &document.digest) {
                return Err(StartError::Older { name: root.name.clone(), digest: document.digest, path });
            }
            documents.push(document);
        }
        let trust = Arc::new(Trust::of(settings, &documents)?);
        let revocations = match &settings.revocations {
            None => None,
            Some(settings) => Some(first_list(settings, &memory, now)?),
        };
        let state = State { memory, documents, modified, due, faults: BTreeMap::new() };
        Ok(Self { standing: Standing::new(trust, revocations), repositories, state })
    }
}

/// The first root of a repository: asked where it is due, else from the cache.
async fn first(
    repository: &Repository,
    refreshed_at: Option<Timestamp>,
    max_age_s: u64,
    offline: bool,
    now: Timestamp,
) -> Result<RootDocument, StartError> {
    let cached = match refreshed_at {
        Some(refreshed_at) => Some(repository.cached(refreshed_at).await),
        None => None,
    };
    let is_due = |document: &RootDocument| now >= later(document.refreshed_at, repository.half_life_s(now, max_age_s));
    match cached {
        Some(Ok(document)) if offline || !is_due(&document) => return Ok(document),
        Some(Err(fault)) if offline => return Err(repository.missing(fault)),
        None if offline => {
            return Err(repository.missing("`evidence.offline` is set, and the cache holds no root"));
        }
        _ => {}
    }
    match (repository.refresh(now).await, cached) {
        (Ok(document), _) => Ok(document),
        (Err(fault), Some(Ok(document))) => {
            tracing::warn!(error = chain(&fault), "a TUF repository gave no root: the cached one stays");
            Ok(document)
        }
        (Err(fault), _) => Err(repository.missing(fault)),
    }
}

fn first_list(settings: &RevocationSettings, memory: &Memory, now: Timestamp) -> Result<Revocations, StartError> {
    let unusable = |source| StartError::Revocations { path: settings.file.clone(), source };
    let (json, _) = read("revocations", &settings.file, REVOCATION_BYTES_MAX)?;
    let list = RevocationList::parse(&json, now).map_err(unusable)?;
    match memory.list_issued_at() {
        Some(known) if list.issued_at() < known => {
            Err(unusable(ListFault::Older { issued_at: list.issued_at(), known }))
        }
        _ => Ok(Revocations { list: Arc::new(list), max_age_s: settings.max_age_s }),
    }
}

/// What the files say now; a TUF root has none.
struct Files {
    roots: Vec<(usize, Result<RootDocument, StartError>)>,
    list: Option<Result<RevocationList, RefreshFault>>,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_files(&self, now: Timestamp) -> Files {
        let document = |(index, root): (usize, &RootSettings)| Some((index, RootDocument::read(root).transpose()?));
        let roots = self.settings.roots.iter().enumerate().filter_map(document).collect();
        let list = self.settings.revocations.as_ref().map(|settings| {
            let (json, _) = read("revocations", &settings.file, REVOCATION_BYTES_MAX)?;
            Ok(RevocationList::parse(&json, now)?)
        });
        Files { roots, list }
    }

    fn take(&self, files: Files, now: Timestamp) {
        self.report("files", Ok(()));
        // Withdrawals first: nothing that follows may hold them up.
        if let Some(list) = files.list {
            let taken = list.and_then(|list| self.believe_list(list));
            self.report("revocations", taken);
        }
        for (index, document) in files.roots {
            let taken =
                document.map_err(RefreshFault::from).and_then(|document| self.believe_file(index, document, now));
            self.report(&self.settings.roots[index].name, taken);
        }
    }

    /// A date ahead of the clock counts as now once, and then no more: it would never grow old.
    fn believe_file(&self, index: usize, mut document: RootDocument, now: Timestamp) -> Result<(), RefreshFault> {
        let mut state = self.lock();
        let (known, modified) = (&state.documents[index], document.refreshed_at);
        if known.digest == document.digest && state.modified[index] == modified {
            return Ok(());
        }
        document.refreshed_at = modified.min(now);
        self.believe(&mut state, index, document)?;
        state.modified[index] = modified;
        Ok(())
    }

    /// Parsed in full, remembered on disk, then swapped; a fault on the way leaves everything as it was.
    fn believe(&self, state: &mut State, index: usize, document: RootDocument) -> Result<(), RefreshFault> {
        let name = &self.settings.roots[index].name;
        if state.memory.was_replaced(name, &document.digest) {
            return Err(RefreshFault::Older);
        }
        let (digest, refreshed_at) = (document.digest, document.refreshed_at);
        let is_new = state.documents[index].digest != digest;
        let mut documents = state.documents.clone();
        documents[index] = document;
        let current = self.current.load();
        let trust = current.trust().with_roots(&self.settings, &documents)?;
        // A touched file changes nothing that a restart has to know.
        if is_new || self.repositories.contains_key(&index) {
            self.remember(state.memory.remember(name, digest, refreshed_at))?;
        }
        state.documents = documents;
        self.current.store(Standing::new(Arc::new(trust), current.revocations().cloned()));
        if is_new {
            tracing::info!(root = name.as_str(), digest = %digest, "the trusted root `{name}` changed");
        }
        Ok(())
    }

    fn believe_list(&self, list: RevocationList) -> Result<(), RefreshFault> {
        let mut state = self.lock();
        let current = self.current.load();
        let Some(Revocations { list: known, max_age_s }) = current.revocations() else { return Ok(()) };
        if known.digest() == list.digest() {
            return Ok(());
        }
        // Two lists of one time cannot be put in order, so the later one has to say that it is.
        if list.issued_at() <= known.issued_at() {
            let (issued_at, known) = (list.issued_at(), known.issued_at());
            return Err(ListFault::Older { issued_at, known }.into());
        }
        self.remember(state.memory.remember_list(list.issued_at()))?;
        tracing::info!(digest = %list.digest(), entries = list.len(), "the revocation list changed");
        let revocations = Revocations { list: Arc::new(list), max_age_s: *max_age_s };
        self.current.store(Standing::new(Arc::clone(current.trust()), Some(revocations)));
        Ok(())
    }

    fn remember(&self, written: Result<(), MemoryFault>) -> Result<(), RefreshFault> {
        written.map_err(|source| RefreshFault::Memory { path: Memory::path_in(&self.data_dir), source })
    }

    fn due(&self, now: Timestamp) -> Vec<usize> {
        self.lock().due.iter().filter(|(_, due)| now >= due.at).map(|(index, _)| *index).collect()
    }

    async fn ask(&self, index: usize, now: Timestamp) {
        let (root, repository) = (&self.settings.roots[index], &self.repositories[&index]);
        let taken = match repository.refresh(now).await {
            Ok(document) => self.believe(&mut self.lock(), index, document),
            Err(fault) => Err(RefreshFault::Tuf(repository.outage(fault))),
        };
        let mut state = self.lock();
        if let Some(due) = state.due.get_mut(&index) {
            let refresh_s = self.settings.refresh_s;
            let (failures, wait_s) = match &taken {
                Ok(()) => (0, repository.half_life_s(now, root.max_age_s).max(refresh_s)),
                Err(_) => (due.failures.saturating_add(1), retry_s(refresh_s, due.failures)),
            };
            *due = Due { at: later(now, jittered(wait_s, random())), failures };
        }
        drop(state);
        self.report(&root.name, taken);
    }

    /// Counts and tells a fault; the same one is told once.
    fn report(&self, name: &str, taken: Result<(), RefreshFault>) {
        let Err(fault) = taken else {
            if self.lock().faults.remove(name).is_some() {
                tracing::info!(root = name, "`{name}` is refreshed again");
            }
            return;
        };
        metrics::counter!("witgate_evidence_refresh_errors_total", "root" => name.to_owned()).increment(1);
        let text = chain(&fault);
        if self.lock().faults.insert(name.to_owned(), text.clone()).as_ref() != Some(&text) {
            let hint = &*hint(&fault);
            tracing::warn!(root = name, error = text, hint, "`{name}` cannot be refreshed: the last good one stays");
        }
    }
}

fn hint(fault: &RefreshFault) -> Cow<'static, str> {
    let hint = match fault {
        RefreshFault::Unusable(fault) => return fault.hint().unwrap_or("put a smaller file in its place".into()),
        RefreshFault::Tuf(_) => "see whether the repository answers; past `max_age_s` of the root nothing is admitted",
        RefreshFault::Older => StartError::OLDER_HINT,
        RefreshFault::Memory { .. } => "make the data folder writable: what cannot be remembered is not believed",
        RefreshFault::List(fault) => fault.hint(),
        RefreshFault::Slow => "see whether the disk with the files of `[evidence]` answers",
    };
    hint.into()
}

/// Twice as long after each failure.
fn retry_s(refresh_s: u64, failures: u32) -> u64 {
    refresh_s
        .saturating_mul(1_u64.checked_shl(failures.min(32)).unwrap_or(u64::MAX))
        .min(TUF_RETRY_MAX_S.max(refresh_s))
}

/// Up to a fifth earlier, so that a fleet does not ask at once.
fn jittered(wait_s: u64, random: u8) -> u64 {
    wait_s - wait_s / 5 * u64::from(random) / u64::from(u8::MAX)
}

fn random() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).expect("the operating system gives random bytes");
    byte[0]
}

fn later(time: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    time.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

impl Collector {
    /// A collector for one question: what is configured, read now; nothing is remembered and nothing refreshed.
    ///
    /// # Errors
    /// As [`Upkeep::open`].
    pub async fn open(settings: &Settings, data_dir: &Path, now: Timestamp) -> Result<Self, StartError> {
        Ok(Self::under(Prepared::read(settings, data_dir, now).await?.standing))
    }

    /// Whether what was decided under `basis` was decided under what is believed now.
    ///
    /// # Errors
    /// An outage of the trust: it changed meanwhile, and nothing may be handed over on what was believed before.
    pub fn still_believes(&self, basis: Digest) -> Result<(), Outage> {
        if self.standing().basis() == basis {
            return Ok(());
        }
        let doing = "handing over: the trust changed while this was decided";
        Err(Outage::new(Peer::TrustRoot, doing).with_hint("ask again: it is decided anew"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_after_each_failure_and_never_past_the_limit() {
        assert_eq!([0, 1, 2].map(|failures| retry_s(60, failures)), [60, 120, 240]);
        assert_eq!(retry_s(60, 6), TUF_RETRY_MAX_S);
        assert_eq!(retry_s(60, u32::MAX), TUF_RETRY_MAX_S);
        assert_eq!(retry_s(86_400, 0), 86_400, "what the operator asked for is not cut");
    }

    #[test]
    fn jitter_only_comes_earlier() {
        assert_eq!((jittered(1000, 0), jittered(1000, u8::MAX)), (1000, 800));
        assert!((800..=1000).contains(&jittered(1000, 77)));
        assert_eq!(jittered(1, 255), 1);
    }
}
