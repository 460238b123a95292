//! What `[audit]` in the configuration says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::start::StartError;
use super::tlog::note::is_key_name;

/// The table `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The SQLite file, on a local disk; default `DATA_DIR/audit.db`.
    pub database: Option<PathBuf>,
    /// The log's name with its incarnation, the first line of each checkpoint and the name of its key.
    pub origin: String,
    /// The log's Ed25519 key, PKCS#8 v1 PEM, mode 0600; default `DATA_DIR/audit.key`, made at the first start.
    pub key: Option<PathBuf>,
    /// Where the last published checkpoint is kept as a guard against rollback, best on another volume than the database;
    /// default `DATA_DIR/anchor`.
    pub anchor_dir: Option<PathBuf>,
    /// How long a decision may wait until it is on disk, in milliseconds; past it there is an outage.
    pub append_deadline_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: None,
            origin: Self::DEFAULT_ORIGIN.into(),
            key: None,
            anchor_dir: None,
            append_deadline_ms: Self::DEFAULT_APPEND_DEADLINE_MS,
        }
    }
}

impl Settings {
    /// The origin where nothing is configured.
    pub const DEFAULT_ORIGIN: &str = "witgate.local/audit/1";
    /// The append deadline where nothing is configured (Vault's blocking audit devices hang every request: #5361).
    pub const DEFAULT_APPEND_DEADLINE_MS: u64 = 2_000;
    /// The longest append deadline: longer than any caller waits.
    pub const MAX_APPEND_DEADLINE_MS: u64 = 60_000;
    /// The longest origin, in bytes.
    pub const MAX_ORIGIN_BYTES: usize = 255;

    /// Where the database is.
    pub fn database_path(&self, data_dir: &Path) -> PathBuf {
        self.database.clone().unwrap_or_else(|| data_dir.join("audit.db"))
    }

    /// Where the key is.
    pub fn key_path(&self, data_dir: &Path) -> PathBuf {
        self.key.clone().unwrap_or_else(|| data_dir.join("audit.key"))
    }

    /// Where the anchor is.
    pub fn anchor_path(&self, data_dir: &Path) -> PathBuf {
        self.anchor_dir.clone().unwrap_or_else(|| data_dir.join("anchor"))
    }

    /// How long a decision may wait.
    pub fn append_deadline(&self) -> Duration {
        Duration::from_millis(self.append_deadline_ms)
    }

    /// Refuses values that no log can have.
    pub(super) fn check(&self) -> Result<(), StartError> {
        if !is_key_name(&self.origin) || self.origin.len() > Self::MAX_ORIGIN_BYTES {
            return Err(StartError::Origin { origin: self.origin.clone() });
        }
        if !(1..=Self::MAX_APPEND_DEADLINE_MS).contains(&self.append_deadline_ms) {
            return Err(StartError::AppendDeadline { append_deadline_ms: self.append_deadline_ms });
        }
        Ok(())
    }
}

/// The origin that follows when a log cannot go on: the number behind the last `/` plus one.
pub(super) fn next_incarnation(origin: &str) -> Option<String> {
    let (prefix, number) = origin.rsplit_once('/')?;
    let number: u64 = number.parse().ok()?;
    Some(format!("{prefix}/{}", number.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_origins_that_no_checkpoint_can_carry() {
        for origin in ["", "a b", "a+b", "a\nb", &"a".repeat(Settings::MAX_ORIGIN_BYTES + 1)] {
            let settings = Settings { origin: origin.into(), ..Settings::default() };
            assert!(matches!(settings.check(), Err(StartError::Origin { .. })), "`{origin}` was taken");
        }
        let longest = Settings { origin: "a".repeat(Settings::MAX_ORIGIN_BYTES), ..Settings::default() };
        assert!(longest.check().is_ok());
    }

    #[test]
    fn the_append_deadline_has_bounds() {
        for (append_deadline_ms, fits) in [(0, false), (1, true), (60_000, true), (60_001, false)] {
            let settings = Settings { append_deadline_ms, ..Settings::default() };
            assert_eq!(settings.check().is_ok(), fits, "{append_deadline_ms} ms");
        }
    }

    #[test]
    fn the_next_incarnation_counts_on() {
        assert_eq!(next_incarnation("witgate.local/audit/1").as_deref(), Some("witgate.local/audit/2"));
        assert_eq!(next_incarnation("a/9").as_deref(), Some("a/10"));
        assert_eq!(next_incarnation("witgate.local/audit"), None);
    }
}
