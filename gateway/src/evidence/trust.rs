//! The trust that candidates are checked against, parsed once.

use std::collections::BTreeMap;

use serde_json::json;

use super::algorithm::Algorithm;
use super::authority::Authority;
use super::document::RootDocument;
use super::key::Key;
use super::root::{Origin, Root};
use super::settings::{RootSettings, Settings};
use super::start_error::StartError;
use crate::case::{Digest, Timestamp, TrustFacts, TrustKind, canonical_json};

/// All configured trust roots, own authorities and keys.
pub struct Trust {
    roots: Vec<Root>,
    authorities: Vec<Root>,
    keys: Vec<Key>,
    /// What the authorities are made of: one may use the logs of a root, which changes.
    certificates: Vec<Authority>,
    digest: Digest,
}

impl Trust {
    /// Reads and parses what is configured, as it is now; `Upkeep` keeps a gateway's trust fresh.
    ///
    /// # Errors
    /// The first root, authority or key that cannot be used; a root of a TUF repository, which only `Upkeep` asks.
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
        let mut known = BTreeMap::new();
        for key in &keys {
            if let Some(first) = known.insert(key.digest(), key.name()) {
                let (first, second) = (first.to_owned(), key.name().to_owned());
                return Err(StartError::KeyTwice { first, second, keyid: key.digest() });
            }
        }
        let certificates = settings.authorities.iter().map(Authority::load).collect::<Result<Vec<_>, _>>()?;
        Self::assemble(settings, documents, keys, certificates)
    }

    /// The same keys and authorities with the roots of `documents`.
    pub(super) fn with_roots(&self, settings: &Settings, documents: &[RootDocument]) -> Result<Self, StartError> {
        Self::assemble(settings, documents, self.keys.clone(), self.certificates.clone())
    }

    fn assemble(
        settings: &Settings,
        documents: &[RootDocument],
        keys: Vec<Key>,
        certificates: Vec<Authority>,
    ) -> Result<Self, StartError> {
        let root = |(root, document): (&RootSettings, &RootDocument)| {
            Root::parse(&root.name, &document.json, document.refreshed_at, root.max_age_s, root.demands())
        };
        let roots = settings.roots.iter().zip(documents).map(root).collect::<Result<Vec<_>, _>>()?;
        let authorities = certificates.iter().map(|own| own.root(&roots)).collect::<Result<Vec<_>, _>>()?;
        let root = |root: &Root| json!([root.name(), root.digest(), root.waived(), root.lender()]);
        let key = |key: &Key| {
            json!([key.name(), key.digest(), key.algorithm().as_str(), key.stated().is_some(), key.waived()])
        };
        let digest = Digest::of(&canonical_json(&json!({
            "roots": roots.iter().map(root).collect::<Vec<_>>(),
            "authorities": authorities.iter().map(root).collect::<Vec<_>>(),
            "keys": keys.iter().map(key).collect::<Vec<_>>(),
        })));
        Ok(Self { roots, authorities, keys, certificates, digest })
    }

    /// A digest over the names and contents of all roots, authorities and keys with what is asked of each, in the order of the
    /// configuration.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What a case says of the trust at `now`.
    pub fn facts(&self, now: Timestamp) -> Vec<TrustFacts> {
        let roots = self.vouchers().map(|root| {
            let (kind, age_s, max_age_s) = match root.origin() {
                Origin::Sigstore { refreshed_at, max_age_s } => {
                    let age_s = u64::try_from(now.duration_since(*refreshed_at).as_secs()).unwrap_or(0);
                    (TrustKind::SigstoreRoot, age_s, Some(*max_age_s))
                }
                Origin::Own { .. } => (TrustKind::Authority, 0, None),
            };
            let (name, digest, waived) = (root.name().to_owned(), root.digest(), root.waived());
            TrustFacts { name, kind, digest, age_s, max_age_s, waived }
        });
        let keys = self.keys.iter().map(|key| TrustFacts {
            name: key.name().to_owned(),
            kind: TrustKind::Key,
            digest: key.digest(),
            age_s: 0,
            max_age_s: None,
            waived: key.waived(),
        });
        roots.chain(keys).collect()
    }

    pub(super) fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Whether a key of this kind is trusted.
    pub(super) fn has_key_of(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.algorithm() == algorithm)
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Everybody who may vouch for a signer: the roots, then the own authorities.
    pub(super) fn vouchers(&self) -> impl Iterator<Item = &Root> {
        self.roots.iter().chain(&self.authorities)
    }
}
