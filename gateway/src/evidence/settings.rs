//! What the table `[evidence]` of the configuration says.

use std::path::PathBuf;

use serde::Deserialize;

use super::algorithm::Algorithm;
use super::demands::{Demands, LogDemand, SctDemand};
use super::limits::{AUTHORITIES_MAX, KEYS_MAX, REFRESH_S, REFRESH_S_RANGE, ROOT_MAX_AGE_S, ROOTS_MAX};
use super::revocation::RevocationSettings;
use super::start_error::StartError;
use super::tuf::TufSource;
use crate::case::Timestamp;

/// The table `[evidence]`; without it nobody is trusted, so every candidate is rejected.
///
/// ```toml
/// [[evidence.roots]]
/// name         = "public-good"
/// trusted_root = "keys/public-good.trusted_root.json"
/// max_age_s    = 2592000
///
/// [[evidence.keys]]
/// name      = "release"
/// pem       = "keys/release.pub"
/// algorithm = "ecdsa-sha2-256-nistp256"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Sigstore deployments, at most [`ROOTS_MAX`].
    #[serde(default)]
    pub roots: Vec<RootSettings>,
    /// Managed keys, at most [`KEYS_MAX`]; their signatures must be in a log that one of `roots` names, unless they say otherwise.
    #[serde(default)]
    pub keys: Vec<KeySettings>,
    /// Own X.509 authorities, at most [`AUTHORITIES_MAX`].
    #[serde(default)]
    pub authorities: Vec<AuthoritySettings>,
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
        let (roots, keys, authorities) = (Vec::new(), Vec::new(), Vec::new());
        Self { roots, keys, authorities, refresh_s: REFRESH_S, offline: false, revocations: None }
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
    /// Whether what its authorities vouch for has to be in one of its logs.
    #[serde(default)]
    pub transparency_log: LogDemand,
    /// Whether certificates have to be in one of its certificate transparency logs.
    #[serde(default)]
    pub sct: SctDemand,
}

impl RootSettings {
    /// A root with everything else as configured by default.
    pub fn new(name: &str, trusted_root: RootSource) -> Self {
        let Demands { transparency_log, sct } = Demands::default();
        Self { name: name.to_owned(), trusted_root, max_age_s: ROOT_MAX_AGE_S, transparency_log, sct }
    }

    /// What it asks of signatures.
    pub(super) fn demands(&self) -> Demands {
        Demands { transparency_log: self.transparency_log, sct: self.sct }
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
    /// The public key's file, SPKI PEM, as `cosign.pub`; or the text itself.
    pub pem: PemSource,
    /// What it signs with; Ed25519 keys have to say it, for others it has to fit.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// Whether its signatures have to be in a log.
    #[serde(default)]
    pub transparency_log: LogDemand,
}

impl KeySettings {
    /// A key with everything else as configured by default.
    pub fn new(name: &str, pem: PemSource) -> Self {
        Self { name: name.to_owned(), pem, algorithm: None, transparency_log: LogDemand::default() }
    }
}

/// One own X.509 authority.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthoritySettings {
    /// Its name in findings and policies.
    pub name: String,
    /// The file with its certificates, PEM: the issuing CA first, the root last.
    pub chain: PathBuf,
    /// The file with the certificates of a time-stamp authority, PEM: its own first, the root last.
    #[serde(default)]
    pub timestamp_authority: Option<PathBuf>,
    /// The root of `[[evidence.roots]]` whose logs its signatures may be in.
    #[serde(default)]
    pub root: Option<String>,
    /// Whether its signatures have to be in such a log.
    #[serde(default)]
    pub transparency_log: LogDemand,
}

/// Where a public key is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PemSource {
    /// In a file.
    File(PathBuf),
    /// In the configuration itself: `{ text = "-----BEGIN PUBLIC KEY-----…" }`.
    Inline(InlinePem),
}

/// A PEM text in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlinePem {
    /// The text.
    pub text: String,
}

fn default_max_age_s() -> u64 {
    ROOT_MAX_AGE_S
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
        for (setting, found, limit) in [
            ("evidence.roots", self.roots.len(), ROOTS_MAX),
            ("evidence.keys", self.keys.len(), KEYS_MAX),
            ("evidence.authorities", self.authorities.len(), AUTHORITIES_MAX),
        ] {
            if found > limit {
                return Err(StartError::TooMany { setting, found, limit });
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        let names = self.roots.iter().map(|root| &root.name).chain(self.keys.iter().map(|key| &key.name));
        for name in names.chain(self.authorities.iter().map(|authority| &authority.name)) {
            if name.is_empty() || !seen.insert(name) {
                return Err(StartError::Name { name: name.clone() });
            }
        }
        self.authorities.iter().try_for_each(AuthoritySettings::check)
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
    fn demands_are_strict_unless_said() {
        let settings = parse(serde_json::json!({
            "roots": [
                {"name": "a", "trusted_root": "a.json"},
                {"name": "b", "trusted_root": "b.json", "transparency_log": "optional", "sct": "not-required"},
            ],
            "keys": [
                {"name": "c", "pem": "c.pub"},
                {"name": "d", "pem": {"text": "PEM"}, "transparency_log": "optional", "algorithm": "ed25519-ph"},
            ],
        }))
        .unwrap();
        assert_eq!(settings.roots[0].demands(), Demands::default());
        assert_eq!(
            (Demands::default().transparency_log, Demands::default().sct),
            (LogDemand::Required, SctDemand::Required)
        );
        assert_eq!(settings.roots[1].demands().waived().len(), 2);
        assert_eq!((settings.keys[0].algorithm, settings.keys[0].transparency_log), (None, LogDemand::Required));
        let inline = PemSource::Inline(InlinePem { text: "PEM".into() });
        assert_eq!((&settings.keys[1].pem, settings.keys[1].algorithm), (&inline, Some(Algorithm::Ed25519Ph)));
        for (field, value) in [
            ("transparency_log", serde_json::json!("not-required")),
            ("transparency_log", "Optional".into()),
            ("transparency_log", "".into()),
            ("transparency_log", true.into()),
            ("algorithm", "ed25519ph".into()),
            ("pem", serde_json::json!({"file": "c.pub"})),
        ] {
            let mut key = serde_json::json!({"name": "c", "pem": "c.pub"});
            assert!(parse(serde_json::json!({"keys": [key]})).is_ok());
            key[field] = value.clone();
            assert!(parse(serde_json::json!({"keys": [key]})).is_err(), "{field} {value}");
        }
        for (field, value) in [("sct", "optional"), ("sct", ""), ("transparency_log", "none")] {
            let mut root = serde_json::json!({"name": "a", "trusted_root": "a.json"});
            root[field] = value.into();
            assert!(parse(serde_json::json!({"roots": [root]})).is_err(), "{field} {value}");
        }
    }

    #[test]
    fn refuses_names_that_stand_twice() {
        let key = |name: &str| KeySettings::new(name, PemSource::File("x".into()));
        let settings = |keys| Settings { keys, ..Settings::default() };
        assert!(settings(vec![key("a"), key("b")]).check().is_ok());
        assert!(matches!(settings(vec![key("a"), key("a")]).check(), Err(StartError::Name { .. })));
        assert!(matches!(settings(vec![key("")]).check(), Err(StartError::Name { .. })));
        let many = |count: usize| settings((0..count).map(|number| key(&number.to_string())).collect()).check();
        assert!(many(KEYS_MAX).is_ok());
        assert!(matches!(many(KEYS_MAX + 1), Err(StartError::TooMany { .. })));
    }
}
