//! The table `[policy]` of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

use crate::case::Mode;
use crate::policy::LoadError;

/// The table `[policy]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A bundle: an archive `bundle.tar.gz`, a folder with a `.manifest`, or a folder of `*.rego` files with a folder `data`
    /// of `*.json` files; absent: the policies embedded in the program.
    pub dir: Option<PathBuf>,
    /// A folder of `*.json` files that are merged over the data of the policies.
    pub data: Option<PathBuf>,
    /// How long one decision may be thought about, in milliseconds.
    pub timeout_ms: u64,
    /// Whose signatures on bundles are believed, by the name that a signature gives as its key's id.
    pub keys: BTreeMap<String, KeySettings>,
    /// Where bundles are fetched from, in place of `dir`: an https URL of an archive.
    pub url: Option<Url>,
    /// The certificate authorities of that server, PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// A file with the token that the server wants to see.
    pub token_file: Option<PathBuf>,
    /// How often the server is asked, in seconds.
    pub interval_s: u64,
    /// Whether a bundle without a signature is refused; absent: as soon as there is a key.
    pub require_signature: Option<bool>,
    /// What a refusal does in this scope.
    pub mode: Mode,
    /// How often the files are looked at, in seconds; a change is in force at the second look that finds it.
    pub refresh_s: u64,
    /// More bundles, by their names: each of them has to admit as well.
    pub bundles: BTreeMap<String, BundleSettings>,
}

/// One table `[policy.bundles.NAME]`: a bundle that decides beside the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BundleSettings {
    /// As `dir` of `[policy]`; the same keys sign.
    pub dir: Option<PathBuf>,
    /// As `data` of `[policy]`.
    pub data: Option<PathBuf>,
}

/// The table `[policy.keys.NAME]`: one public key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// SPKI PEM, `-----BEGIN PUBLIC KEY-----`.
    pub file: PathBuf,
    /// What it signs with; a signature never says that itself.
    pub algorithm: Algorithm,
    /// What its signatures are for; a signature has to say the same.
    #[serde(default)]
    pub scope: String,
}

/// How bundles are signed (RFC 7518, 3.1; RFC 8037, 3.1). What has a shared secret, or none, is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Settings {
    /// The default of `timeout_ms` (`design.md` §12).
    pub const DEFAULT_TIMEOUT_MS: u64 = 100;
    /// The default of `refresh_s`.
    pub const DEFAULT_REFRESH_S: u64 = 5;
    /// The default of `interval_s`.
    pub const DEFAULT_INTERVAL_S: u64 = 60;
    /// How long the demo and tests wait for policy, in milliseconds: long enough for a busy machine without optimization.
    pub(in crate::policy) const PATIENT_TIMEOUT_MS: u64 = 10_000;

    /// The bundles that have names, in the order of these.
    ///
    /// # Errors
    /// More than [`MAX_BUNDLES`].
    pub(in crate::policy) fn named_bundles(
        &self,
    ) -> Result<impl Iterator<Item = (&String, &BundleSettings)>, LoadError> {
        if self.bundles.len() > MAX_BUNDLES {
            let what = "number of bundles".into();
            return Err(LoadError::Limit { what, found: self.bundles.len(), limit: MAX_BUNDLES });
        }
        if let Some(name) = self.bundles.keys().find(|name| name.starts_with('_')) {
            return Err(LoadError::Name { name: name.clone() });
        }
        Ok(self.bundles.iter())
    }

    /// What is expected of a bundle from outside the program.
    pub(in crate::policy) fn demand(&self) -> Demand {
        match (self.require_signature, self.keys.is_empty()) {
            (Some(true), _) | (None, false) => Demand::Signed,
            (Some(false), false) => Demand::SignedOrNot,
            (Some(false) | None, true) => Demand::Nothing,
        }
    }
}

/// Bundles beside the unnamed one.
const MAX_BUNDLES: usize = 16;

/// What is expected of the signature of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Demand {
    /// One by a key of the settings.
    Signed,
    /// None, or one by a key of the settings.
    SignedOrNot,
    /// Nobody's key is known: a signature says nothing.
    Nothing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: None,
            data: None,
            timeout_ms: Self::DEFAULT_TIMEOUT_MS,
            keys: BTreeMap::new(),
            url: None,
            ca: None,
            token_file: None,
            interval_s: Self::DEFAULT_INTERVAL_S,
            require_signature: None,
            mode: Mode::Enforce,
            refresh_s: Self::DEFAULT_REFRESH_S,
            bundles: BTreeMap::new(),
        }
    }
}

impl Algorithm {
    /// Its name in the header of a JWT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Every one, as messages name them.
    pub(super) const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::Rs256, Self::Ps256, Self::EdDsa];
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmUnknown;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| AlgorithmUnknown { found: text.chars().take(32).collect() })
    }
}

/// A word that names no algorithm that bundles are signed with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `ES256`, `ES384`, `RS256`, `PS256` or `EdDSA`, found `{found}`")]
pub struct AlgorithmUnknown {
    /// The word, cut to 32 characters.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_read_as_they_are_shown_and_shared_secrets_are_none() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
            assert_eq!(serde_json::from_value::<Algorithm>(algorithm.as_str().into()).unwrap(), algorithm);
        }
        for word in ["none", "HS256", "HS512", "es256", "", "RS1"] {
            assert!(word.parse::<Algorithm>().is_err(), "`{word}` was taken");
            assert!(serde_json::from_value::<Algorithm>(word.into()).is_err(), "`{word}` was taken");
        }
    }

    #[test]
    fn a_key_means_that_signatures_are_demanded() {
        let key = KeySettings { file: "k.pub".into(), algorithm: Algorithm::Es256, scope: String::new() };
        let with = |require_signature, keys| Settings { require_signature, keys, ..Settings::default() }.demand();
        let keys = BTreeMap::from([("k".to_owned(), key)]);
        assert_eq!(with(None, BTreeMap::new()), Demand::Nothing);
        assert_eq!(with(Some(true), BTreeMap::new()), Demand::Signed);
        assert_eq!(with(None, keys.clone()), Demand::Signed);
        assert_eq!(with(Some(false), keys), Demand::SignedOrNot);
    }
}
