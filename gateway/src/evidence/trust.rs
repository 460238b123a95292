//! The trust that candidates are checked against, parsed once.

use serde_json::json;

use super::document::RootDocument;
use super::key::Key;
use super::root::Root;
use super::settings::{RootSettings, Settings};
use super::start_error::StartError;
use crate::case::{Digest, Timestamp, TrustFacts, TrustKind, canonical_json};

/// All configured trust roots and keys.
pub struct Trust {
    roots: Vec<Root>,
    keys: Vec<Key>,
    digest: Digest,
}

impl Trust {
    /// Reads and parses what is configured, as it is now; `Upkeep` keeps a gateway's trust fresh.
    ///
    /// # Errors
    /// The first root or key that cannot be used; a root of a TUF repository, which only `Upkeep` asks.
    pub fn load(settings: &Settings) -> Result<Self, StartError> {
        settings.check()?;
        let document = |root: &RootSettings| {
            let elsewhere = || StartError::TufSource {
                name: root.name.clone(),
                detail: "expected a file: only a gateway with its data folder asks a TUF repository".into(),
            };
            RootDocument::read(root)?.ok_or_else(elsewhere)
        };
        Self::of(settings, &settings.roots.iter().map(document).collect::<Result<Vec<_>, _>>()?)
    }

    /// The same from roots that were read already, in the order of the settings.
    pub(super) fn of(settings: &Settings, documents: &[RootDocument]) -> Result<Self, StartError> {
        let keys = settings.keys.iter().map(Key::load).collect::<Result<Vec<_>, _>>()?;
        Self::assemble(settings, documents, keys)
    }

    /// The same keys with the roots of `documents`.
    pub(super) fn with_roots(&self, settings: &Settings, documents: &[RootDocument]) -> Result<Self, StartError> {
        Self::assemble(settings, documents, self.keys.clone())
    }

    fn assemble(settings: &Settings, documents: &[RootDocument], keys: Vec<Key>) -> Result<Self, StartError> {
        let root = |(root, document): (&RootSettings, &RootDocument)| {
            Root::parse(&root.name, &document.json, document.refreshed_at, root.max_age_s)
        };
        let roots = settings.roots.iter().zip(documents).map(root).collect::<Result<Vec<_>, _>>()?;
        let digest = Digest::of(&canonical_json(&json!({
            "roots": roots.iter().map(|root| json!([root.name(), root.digest()])).collect::<Vec<_>>(),
            "keys": keys.iter().map(|key| json!([key.name(), key.digest()])).collect::<Vec<_>>(),
        })));
        Ok(Self { roots, keys, digest })
    }

    /// A digest over the names and contents of all roots and keys, in the order of the configuration.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What a case says of the trust at `now`.
    pub fn facts(&self, now: Timestamp) -> Vec<TrustFacts> {
        let roots = self.roots.iter().map(|root| TrustFacts {
            name: root.name().to_owned(),
            kind: TrustKind::SigstoreRoot,
            digest: root.digest(),
            age_s: u64::try_from(now.duration_since(root.refreshed_at()).as_secs()).unwrap_or(0),
            max_age_s: Some(root.max_age_s()),
        });
        let keys = self.keys.iter().map(|key| TrustFacts {
            name: key.name().to_owned(),
            kind: TrustKind::Key,
            digest: key.digest(),
            age_s: 0,
            max_age_s: None,
        });
        roots.chain(keys).collect()
    }

    pub(super) fn roots(&self) -> &[Root] {
        &self.roots
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }
}
