//! What the table `[evidence]` of the configuration says.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::limits::{KEYS_MAX, REFRESH_S, REFRESH_S_RANGE, ROOT_MAX_AGE_S, ROOTS_MAX};
use super::memory::MemoryFault;
use super::revocation::{ListFault, RevocationSettings};
use super::tuf::TufSource;
use crate::case::{Digest, Timestamp};
use crate::outage::Outage;

/// The table `[evidence]`; without it nobody is trusted, so every candidate is rejected.
///
/// ```toml
/// [[evidence.roots]]
/// name         = "public-good"
/// trusted_root = "keys/public-good.trusted_root.json"
/// max_age_s    = 2592000
///
/// [[evidence.keys]]
/// name = "release"
/// pem  = "keys/release.pub"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Sigstore deployments, at most [`ROOTS_MAX`].
    #[serde(default)]
    pub roots: Vec<RootSettings>,
    /// Managed keys, at most [`KEYS_MAX`]; their signatures must be in a log that one of `roots` names.
    #[serde(default)]
    pub keys: Vec<KeySettings>,
    /// How often `trusted_root` files and the revocation list are looked at, in seconds.
    #[serde(default = "default_refresh_s")]
    pub refresh_s: u64,
    /// Whether no TUF repository is ever asked: roots come from files and the cache alone.
    #[serde(default)]
    pub offline: bool,
    /// The revocation list, if there is one.
    #[serde(default)]
    pub revocations: Option<RevocationSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { roots: Vec::new(), keys: Vec::new(), refresh_s: REFRESH_S, offline: false, revocations: None }
    }
}

fn default_refresh_s() -> u64 {
    REFRESH_S
}

/// One Sigstore deployment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootSettings {
    /// Its name in findings and policies.
    pub name: String,
    /// Where its `trusted_root.json` is.
    pub trusted_root: RootSource,
    /// The age past which the floor refuses, in seconds.
    #[serde(default = "default_max_age_s")]
    pub max_age_s: u64,
}

impl RootSettings {
    /// A root with everything else as configured by default.
    pub fn new(name: &str, trusted_root: RootSource) -> Self {
        Self { name: name.to_owned(), trusted_root, max_age_s: ROOT_MAX_AGE_S }
    }
}

/// Where a `trusted_root.json` is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RootSource {
    /// In a file that somebody keeps fresh; its age counts from its last modification.
    File(PathBuf),
    /// In a TUF repository; its age counts from the last time the repository confirmed it.
    Tuf(TufSource),
    /// In the configuration itself.
    Inline(InlineRoot),
}

/// A `trusted_root.json` in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlineRoot {
    /// The document.
    pub json: String,
    /// When it was put there: its age counts from here.
    pub refreshed_at: Timestamp,
}

/// One managed key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Its name in findings and policies.
    pub name: String,
    /// The public key's file, SPKI PEM, as `cosign.pub`.
    pub pem: PathBuf,
}

impl KeySettings {
    /// A key with everything else as configured by default.
    pub fn new(name: &str, pem: &Path) -> Self {
        Self { name: name.to_owned(), pem: pem.to_owned() }
    }
}

fn default_max_age_s() -> u64 {
    ROOT_MAX_AGE_S
}

/// Why the evidence stage cannot start: exit 2.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read.
    #[error("cannot read `{}` of `{name}`", path.display())]
    Unreadable {
        /// The root's or key's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is larger than its limit.
    #[error("`{}` of `{name}` is larger than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// The root's or key's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The trusted root is none.
    #[error("the trusted root `{name}` cannot be used")]
    Root {
        /// The root's name.
        name: String,
        /// What the parser says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The public key is none.
    #[error("the key `{name}` is no public key in SPKI PEM")]
    Key {
        /// The key's name.
        name: String,
        /// What the parser says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Two roots or keys have one name, or a name is empty.
    #[error("the name `{name}` in `[evidence]` is empty or stands twice")]
    Name {
        /// The name.
        name: String,
    },
    /// More roots or keys than are tried.
    #[error("`{setting}` has {found} entries, at most {limit} are allowed")]
    TooMany {
        /// `evidence.roots` or `evidence.keys`.
        setting: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The source of a TUF root is none.
    #[error("the TUF root `{name}` cannot be used: {detail}")]
    TufSource {
        /// The root's name.
        name: String,
        /// What was expected and found.
        detail: String,
    },
    /// A TUF repository gave no root, and the cache has none: exit 3.
    #[error("there is no trusted root `{name}` yet")]
    Tuf {
        /// The root's name.
        name: String,
        /// What was asked.
        source: Outage,
    },
    /// The trusted root was replaced by a newer one before.
    #[error("the trusted root `{name}` (`{digest}`) was replaced before: an older one came back")]
    Older {
        /// The root's name.
        name: String,
        /// The older root.
        digest: Digest,
        /// Where it is remembered.
        path: PathBuf,
    },
    /// The memory of replaced roots cannot be used.
    #[error("cannot rely on `{}`, which remembers the replaced trust roots", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MemoryFault,
    },
    /// The revocation list is none.
    #[error("the revocation list `{}` cannot be used", path.display())]
    Revocations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ListFault,
    },
    /// A number is outside its range.
    #[error("`{setting}` is `{found}`, expected {from} to {to} seconds")]
    Range {
        /// The key.
        setting: &'static str,
        /// What it says.
        found: u64,
        /// The least.
        from: u64,
        /// The most.
        to: u64,
    },
}

impl StartError {
    /// How an older root is let in by somebody who means it.
    pub(super) const OLDER_HINT: &'static str = "put the newer root back; to go back on purpose, take the digest out of `replaced` \
                                                 in `trust-roots.json` of the data folder";

    /// The next thing to do, if there is one to name.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Root { .. } => Some("fetch a fresh one with `cosign trusted-root create` or from your TUF mirror"),
            Self::Key { .. } => Some("write the public key as SPKI PEM, for instance with `cosign public-key`"),
            Self::Name { .. } => Some("give each entry of `[[evidence.roots]]` and `[[evidence.keys]]` its own `name`"),
            Self::Unreadable { .. } => {
                Some("name a file that is there and may be read; paths start at the working folder")
            }
            Self::TufSource { .. } => Some("write `trusted_root = { tuf = \"https://…\", root = \"root.json\" }`"),
            Self::Tuf { .. } => Some("see whether the repository answers, or name a `trusted_root` file"),
            Self::Older { .. } => Some(Self::OLDER_HINT),
            Self::Memory { .. } => Some(
                "make it readable and writable; taken away, it is begun anew and older roots are not known any more",
            ),
            Self::Revocations { source, .. } => Some(source.hint()),
            Self::TooLarge { .. } | Self::TooMany { .. } | Self::Range { .. } => None,
        }
    }
}

impl Settings {
    /// Names and numbers, before any file is read.
    pub(super) fn check(&self) -> Result<(), StartError> {
        if !REFRESH_S_RANGE.contains(&self.refresh_s) {
            let (from, to) = (*REFRESH_S_RANGE.start(), *REFRESH_S_RANGE.end());
            return Err(StartError::Range { setting: "evidence.refresh_s", found: self.refresh_s, from, to });
        }
        for root in &self.roots {
            if let RootSource::Tuf(source) = &root.trusted_root {
                source.check(&root.name)?;
            }
        }
        for (setting, found, limit) in
            [("evidence.roots", self.roots.len(), ROOTS_MAX), ("evidence.keys", self.keys.len(), KEYS_MAX)]
        {
            if found > limit {
                return Err(StartError::TooMany { setting, found, limit });
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        let names = self.roots.iter().map(|root| &root.name).chain(self.keys.iter().map(|key| &key.name));
        for name in names {
            if name.is_empty() || !seen.insert(name) {
                return Err(StartError::Name { name: name.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Result<Settings, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn reads_files_and_inline_roots() {
        let settings = parse(serde_json::json!({
            "roots": [
                {"name": "a", "trusted_root": "a.json"},
                {"name": "b", "trusted_root": {"json": "{}", "refreshed_at": "2025-06-01T12:00:00Z"}, "max_age_s": 60},
            ],
            "keys": [{"name": "c", "pem": "c.pub"}],
        }))
        .unwrap();
        assert_eq!(settings.roots[0].max_age_s, ROOT_MAX_AGE_S);
        assert_eq!(settings.roots[0].trusted_root, RootSource::File("a.json".into()));
        assert!(matches!(&settings.roots[1].trusted_root, RootSource::Inline(root) if root.json == "{}"));
        assert!(settings.check().is_ok());
        assert!(parse(serde_json::json!({"root": []})).is_err(), "an unknown key was taken");
        assert!(parse(serde_json::json!({"keys": [{"name": "c", "pem": "c", "x": 1}]})).is_err());
    }

    #[test]
    fn refuses_names_that_stand_twice() {
        let key = |name: &str| KeySettings::new(name, "x".as_ref());
        let settings = |keys| Settings { keys, ..Settings::default() };
        assert!(settings(vec![key("a"), key("b")]).check().is_ok());
        assert!(matches!(settings(vec![key("a"), key("a")]).check(), Err(StartError::Name { .. })));
        assert!(matches!(settings(vec![key("")]).check(), Err(StartError::Name { .. })));
        let many = |count: usize| settings((0..count).map(|number| key(&number.to_string())).collect()).check();
        assert!(many(KEYS_MAX).is_ok());
        assert!(matches!(many(KEYS_MAX + 1), Err(StartError::TooMany { .. })));
    }
}
