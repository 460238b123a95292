//! Why a log cannot be opened, or cannot go on.

use std::error::Error;
use std::path::PathBuf;

use super::settings::{Settings, next_incarnation};
use super::store::StoreError;

/// Why the log cannot be opened: configuration or guard, exit 2.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `audit.origin` may not stand in a checkpoint.
    #[error("audit.origin `{origin}` is empty, too long, or holds white space or `+`")]
    Origin {
        /// What was configured.
        origin: String,
    },
    /// `audit.append_deadline_ms` is out of bounds.
    #[error("audit.append_deadline_ms is {append_deadline_ms}, expected 1 to {}", Settings::MAX_APPEND_DEADLINE_MS)]
    AppendDeadline {
        /// What was configured.
        append_deadline_ms: u64,
    },
    /// Another process holds the log.
    #[error("another process writes this log: it holds `{}`", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file or folder cannot be made or read.
    #[error("could not {doing} `{}`", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no database to read.
    #[error("there is no audit log at `{}`", path.display())]
    NoLog {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The key file is not what we write.
    #[error("`{}` is no Ed25519 private key in PKCS#8 v1 PEM", path.display())]
    KeyForm {
        /// The key file.
        path: PathBuf,
    },
    /// Others may read the key file.
    #[error("`{}` may be read by others: its mode is {mode:o}, expected 600", path.display())]
    KeyMode {
        /// The key file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// The database holds a log and its key is gone.
    #[error("the log's key `{}` is gone", path.display())]
    KeyMissing {
        /// Where the key should be.
        path: PathBuf,
        /// The log's origin.
        origin: String,
    },
    /// The database holds a log that another key signs.
    #[error("the log `{origin}` is signed by another key than `{}`: expected `{expected}`", path.display())]
    KeyChanged {
        /// The key file.
        path: PathBuf,
        /// The log's origin.
        origin: String,
        /// The key that signs the log.
        expected: String,
    },
    /// The database holds another log, and the configured one is not its next incarnation.
    #[error("the database holds the log `{found}`, audit.origin says `{configured}`")]
    OriginChanged {
        /// The newest log in the database.
        found: String,
        /// What was configured.
        configured: String,
    },
    /// The guards or the store refuse.
    #[error("could not open the audit log")]
    Log(#[from] LogFault),
}

/// Why the log cannot go on: nothing is recorded, so nobody is admitted.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The database said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database's files are not those that were opened.
    #[error("`{}` was removed or replaced while the log was open", path.display())]
    FileGone {
        /// The file.
        path: PathBuf,
    },
    /// The database is older than what was published.
    #[error("log rolled back: the log holds {size} entries, {published} were published{}", RootNote(*.size >= *.published))]
    RolledBack {
        /// What the database holds.
        size: u64,
        /// What the anchor, or this process, has published.
        published: u64,
        /// The log's origin.
        origin: String,
    },
    /// The stored tree contradicts itself.
    #[error("the stored log is damaged: {detail}")]
    Damaged {
        /// What does not fit.
        detail: String,
    },
    /// The anchor is no checkpoint of this log.
    #[error("the anchor `{}` is no checkpoint of this log", path.display())]
    AnchorForm {
        /// The anchor file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The anchor cannot be read or written.
    #[error("could not {doing} the anchor `{}`", path.display())]
    Anchor {
        /// What was tried.
        doing: &'static str,
        /// The anchor file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A guard's file system did not answer in time.
    #[error("the file system did not answer within {deadline_ms} ms")]
    Slow {
        /// How long was waited.
        deadline_ms: u64,
    },
}

/// Appended when the sizes fit and the roots do not.
struct RootNote(bool);

impl std::fmt::Display for RootNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0 { " with another root" } else { "" })
    }
}

impl StartError {
    /// What to do next, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Origin { .. } => Some(format!("use a name such as `{}`", Settings::DEFAULT_ORIGIN)),
            Self::Locked { .. } => Some("`witgate serve` holds this log: ask it with `--server`".into()),
            Self::NoLog { .. } => Some("name its folder with `--data-dir`, or start `witgate serve` once".into()),
            Self::KeyMode { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::KeyMissing { origin, .. } | Self::KeyChanged { origin, .. } => {
                Some(format!("restore the key, or go on under a new origin: {}", new_origin(origin)))
            }
            Self::OriginChanged { found, .. } => {
                Some(format!("set `audit.origin = \"{found}\"`, or go on under a new origin: {}", new_origin(found)))
            }
            Self::Log(fault) => fault.hint(),
            Self::AppendDeadline { .. } | Self::File { .. } | Self::KeyForm { .. } => None,
        }
    }
}

impl LogFault {
    /// What to do next, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::FileGone { .. } => Some("put the file back and restart; the log will check itself".into()),
            Self::RolledBack { origin, .. } => Some(format!(
                "restore the newest copy of the database, or go on under a new origin: {}",
                new_origin(origin)
            )),
            Self::Damaged { .. } => Some("see what is wrong with `witgate log verify`".into()),
            Self::AnchorForm { .. } | Self::Anchor { .. } | Self::Slow { .. } => None,
        }
    }
}

fn new_origin(origin: &str) -> String {
    next_incarnation(origin)
        .map_or_else(|| "audit.origin with another name".to_owned(), |next| format!("`audit.origin = \"{next}\"`"))
}
