//! The list `signatures`: whose signature some references need.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::identity::Identity;
use super::text::{REFERENCE, check_environments, each, expect, is_reference_pattern};
use super::{fault, read};
use crate::policy::LoadError;

/// Whose signature some references need.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureEntry {
    references: Vec<String>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    environments: Option<Vec<String>>,
    identities: Vec<Value>,
    threshold: Option<usize>,
    about: Option<About>,
}

/// What a signature has to be about.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum About {
    /// The artifact itself.
    Artifact,
    /// It, or an index that leads to it.
    ArtifactOrIndex,
}

impl SignatureEntry {
    /// Checks the entry at `at` of the file `name`.
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        self.rewritten(name, at).map(drop)
    }

    /// The identities in the one form that rules read.
    fn rewritten(&self, name: &str, at: &str) -> Result<Vec<Value>, LoadError> {
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        check_environments(name, at, self.environments.as_deref())?;
        let found = self.identities.len();
        if found > MAX_IDENTITIES {
            let detail = format!("expected at most {MAX_IDENTITIES} identities, found {found}");
            return Err(fault(name, &format!("{at}.identities"), &detail));
        }
        self.check_threshold(name, at)?;
        let mut identities = Vec::with_capacity(found);
        let mut seen = BTreeSet::new();
        for (index, identity) in self.identities.iter().enumerate() {
            let at = format!("{at}.identities[{index}]");
            let rewritten = read::<Identity>(name, &at, identity)?.rewritten(name, &at)?;
            if !seen.insert(rewritten.to_string()) {
                return Err(fault(name, &at, "another identity of this entry says the same"));
            }
            identities.push(rewritten);
        }
        Ok(identities)
    }

    fn check_threshold(&self, name: &str, at: &str) -> Result<(), LoadError> {
        let Some(threshold) = self.threshold else { return Ok(()) };
        let identities = self.identities.len();
        let at = format!("{at}.threshold");
        let of_identities = format!("1 to {identities}, the number of identities");
        expect((1..=identities).contains(&threshold), name, &at, &threshold.to_string(), &of_identities)?;
        let wanted = format!("at most {MAX_QUORUM_IDENTITIES} identities where more than one must sign");
        let is_counted = threshold == 1 || identities <= MAX_QUORUM_IDENTITIES;
        expect(is_counted, name, &at, &identities.to_string(), &wanted)
    }
}

/// Puts the one form that rules read in the place of every short form, and bounds what patterns cost.
pub(super) fn rewrite(data: &mut Map<String, Value>) -> Result<(), LoadError> {
    let Some(Value::Array(entries)) = data.get_mut("witgate").and_then(|witgate| witgate.get_mut("signatures")) else {
        return Ok(());
    };
    let mut patterns = BTreeSet::new();
    for (index, entry) in entries.iter_mut().enumerate() {
        let at = format!("witgate.signatures[{index}]");
        let read = read::<SignatureEntry>("data", &at, entry)?;
        let (identities, threshold, about) = (read.rewritten("data", &at)?, read.threshold, read.about);
        identities.iter().for_each(|identity| collect_patterns(identity, &mut patterns));
        entry["identities"] = identities.into();
        entry["threshold"] = threshold.unwrap_or(1).into();
        entry["about"] = about.unwrap_or(About::ArtifactOrIndex).as_str().into();
    }
    if patterns.len() > MAX_PATTERNS {
        let detail = format!("expected at most {MAX_PATTERNS} different patterns, found {}", patterns.len());
        return Err(fault("data", "witgate.signatures", &detail));
    }
    Ok(())
}

fn collect_patterns(value: &Value, into: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::String(text) if matches!(name.as_str(), "regExp" | "issuerRegExp") => {
                into.insert(text.clone());
            }

            value => collect_patterns(value, into),
        }
    }
}

impl About {
    fn as_str(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::ArtifactOrIndex => "artifact-or-index",
        }
    }
}

/// Identities of one entry: each is compared with each verified signature within one decision's time.
const MAX_IDENTITIES: usize = 128;
/// Identities of an entry that wants several signers: the rules look at each of their 2^8 subsets (Hall's theorem).
const MAX_QUORUM_IDENTITIES: usize = 8;
/// Different patterns of all entries: regorus keeps 256 compiled ones (`cache.rs`), and people's own rules need some.
const MAX_PATTERNS: usize = 128;
#[cfg(test)]
#[path = "signatures_tests.rs"]
mod tests;
