//! A trusted root from a TUF repository, with the last good one in a cache.
//!
//! `sigstore-tuf` checks signatures, thresholds, versions and expiry, against the network and against the cache alike; trust
//! begins at a `root.json` that the operator names, never at whatever the repository serves first. Nothing here is on the
//! path of a request.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::{Host, Url};

use super::document::{RootDocument, read};
use super::limits::{ROOT_BYTES_MAX, TUF_BYTES_MAX, TUF_INTERVAL_MAX_S, TUF_TIMEOUT_MS};
use super::start_error::StartError;
use crate::case::Timestamp;
use crate::outage::{Outage, Peer};

/// `trusted_root = { tuf = "https://tuf.example", root = "root.json" }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TufSource {
    /// The repository's URL: https, or http on loopback.
    pub tuf: String,
    /// The file with the TUF `root.json` that trust begins at.
    pub root: PathBuf,
}

impl TufSource {
    /// Name and URL, before anything is read.
    pub(super) fn check(&self, name: &str) -> Result<(), StartError> {
        let fault = |detail: &str| StartError::TufSource { name: name.to_owned(), detail: detail.to_owned() };
        // The name becomes a folder.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.len() > NAME_BYTES_MAX || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(fault("its name becomes a folder: expected up to 64 letters, digits, `-`, `_` and `.`"));
        }
        let url = Url::parse(&self.tuf).map_err(|error| fault(&format!("`{}` is no URL: {error}", self.tuf)))?;
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            _ => false,
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(fault(&format!("`{}` is not https", self.tuf)));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(fault("the repository's URL has no user, query or fragment"));
        }
        Ok(())
    }
}

/// The longest name of a root that is a folder too, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// One repository with its cache, `DATA_DIR/tuf/NAME`.
pub(super) struct Repository {
    name: String,
    url: String,
    root: Vec<u8>,
    folder: PathBuf,
}

/// Why a repository gave no root.
#[derive(Debug, thiserror::Error)]
pub(super) enum TufFault {
    #[error("this witgate was built without the feature `tuf`")]
    #[cfg_attr(feature = "tuf", allow(dead_code, reason = "a build without the feature says it"))]
    NotBuilt,
    #[error("the HTTP client cannot be made")]
    #[cfg_attr(not(feature = "tuf"), allow(dead_code, reason = "nothing is asked"))]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {TUF_TIMEOUT_MS} ms")]
    Slow,
    #[error("the repository was not taken")]
    #[cfg_attr(not(feature = "tuf"), allow(dead_code, reason = "nothing is asked"))]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the cached root is not the one that was verified")]
    Swapped,
    #[error("the cached root cannot be read")]
    Cache(#[source] StartError),
}

/// Where the metadata comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Network,
    Cache,
}

impl Repository {
    /// Reads the initial `root.json`.
    pub(super) fn open(name: &str, source: &TufSource, data_dir: &Path) -> Result<Self, StartError> {
        let (root, _) = read(name, &source.root, TUF_BYTES_MAX)?;
        let folder = data_dir.join("tuf").join(name);
        Ok(Self { name: name.to_owned(), url: source.tuf.clone(), root, folder })
    }

    /// Asks the repository; what it says is in the cache afterwards.
    pub(super) async fn refresh(&self, now: Timestamp) -> Result<RootDocument, TufFault> {
        self.document(From::Network, now).await
    }

    /// The cache, checked as it was at `refreshed_at`, when the repository last confirmed it.
    pub(super) async fn cached(&self, refreshed_at: Timestamp) -> Result<RootDocument, TufFault> {
        self.document(From::Cache, refreshed_at).await
    }

    async fn document(&self, from: From, at: Timestamp) -> Result<RootDocument, TufFault> {
        let limit = Duration::from_millis(TUF_TIMEOUT_MS);
        let verified = tokio::time::timeout(limit, self.fetch(from, at)).await.map_err(|_| TufFault::Slow)??;
        let (json, _) = read(&self.name, &self.target(), ROOT_BYTES_MAX).map_err(TufFault::Cache)?;
        // The library gives the root parsed; the case wants the digest of its bytes.
        let same = std::str::from_utf8(&json)
            .ok()
            .and_then(|text| sigstore_trust_root::TrustedRoot::from_json(text).ok())
            .and_then(|root| serde_json::to_value(root).ok())
            .is_some_and(|root| root == verified);
        if same { Ok(RootDocument::new(json, at)) } else { Err(TufFault::Swapped) }
    }

    fn target(&self) -> PathBuf {
        self.folder.join("targets").join("trusted_root.json")
    }

    #[cfg(feature = "tuf")]
    async fn fetch(&self, from: From, at: Timestamp) -> Result<serde_json::Value, TufFault> {
        use sigstore_trust_root::{TrustedRoot, TufBootstrap, TufConfig};

        let config =
            TufConfig::custom(&self.url, TufBootstrap::trusted(&self.root)).with_cache_dir(self.folder.clone());
        let config = match from {
            From::Cache => config.offline(),
            From::Network => config.with_http_client(self.client()?),
        };
        let refused = |error: Box<dyn std::error::Error + Send + Sync>| TufFault::Refused(error);
        let root = TrustedRoot::from_tuf_at(config, at).await.map_err(|error| refused(error.into()))?;
        serde_json::to_value(root).map_err(|error| refused(error.into()))
    }

    /// Bounded in time; the library bounds each document by its role. No redirect and no proxy that nobody configured.
    #[cfg(feature = "tuf")]
    fn client(&self) -> Result<sigstore_trust_root::reqwest::Client, TufFault> {
        use super::limits::{TUF_CONNECT_TIMEOUT_MS, TUF_REQUEST_TIMEOUT_MS};

        sigstore_trust_root::reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(TUF_CONNECT_TIMEOUT_MS))
            .timeout(Duration::from_millis(TUF_REQUEST_TIMEOUT_MS))
            .redirect(sigstore_trust_root::reqwest::redirect::Policy::none())
            .https_only(self.url.starts_with("https:"))
            .no_proxy()
            .build()
            .map_err(|error| TufFault::Client(error.into()))
    }

    #[cfg(not(feature = "tuf"))]
    #[allow(clippy::unused_async, reason = "as with the feature")]
    async fn fetch(&self, _: From, _: Timestamp) -> Result<serde_json::Value, TufFault> {
        let _ = (&self.url, &self.root);
        Err(TufFault::NotBuilt)
    }

    /// How long the root may stay as it is, in seconds: half of what is left of the timestamp's life, at most half of the
    /// root's allowed age and a day.
    pub(super) fn half_life_s(&self, now: Timestamp, max_age_s: u64) -> u64 {
        let left_s = self.timestamp_expires().map_or(0, |expires| expires.duration_since(now).as_secs());
        (u64::try_from(left_s).unwrap_or(0) / 2).min(max_age_s / 2).min(TUF_INTERVAL_MAX_S)
    }

    /// Asked of the cache, for pace alone: who changes it there makes us ask sooner or a day late.
    fn timestamp_expires(&self) -> Option<Timestamp> {
        let (json, _) = read(&self.name, &self.folder.join("timestamp.json"), TUF_BYTES_MAX).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&json).ok()?;
        value["signed"]["expires"].as_str()?.parse().ok()
    }

    /// What there is to say when this root does not come.
    pub(super) fn outage(&self, fault: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Outage {
        let doing = format!("fetching the trusted root `{}` from `{}`", self.name, self.url);
        let hint = "check the URL and `root.json`; offline, copy `DATA_DIR/tuf` and `DATA_DIR/trust-roots.json` from a gateway \
                    that has reached it, or name a `trusted_root` file";
        Outage::new(Peer::TrustRoot, doing).because(fault).with_hint(hint)
    }

    /// What does not start without it.
    pub(super) fn missing(&self, fault: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StartError {
        StartError::Tuf { name: self.name.clone(), source: Box::new(self.outage(fault)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, tuf: &str) -> Result<(), StartError> {
        TufSource { tuf: tuf.into(), root: "root.json".into() }.check(name)
    }

    #[test]
    fn a_repository_is_https_or_loopback() {
        for url in ["https://tuf.example", "https://tuf.example/a/", "http://127.0.0.1:1", "http://[::1]:1/x"] {
            assert!(check("a", url).is_ok(), "{url}");
        }
        for url in [
            "http://tuf.example",
            "http://localhost",
            "http://127.0.0.1.example",
            "http://127.0.0.1@tuf.example",
            "file:///tmp",
            "tuf.example",
            "https://user@tuf.example",
            "https://tuf.example/?x",
            "",
        ] {
            assert!(matches!(check("a", url), Err(StartError::TufSource { .. })), "{url}");
        }
    }

    #[test]
    fn a23_1_a_name_stays_inside_its_folder() {
        for name in ["public-good", "a.b_c", &"x".repeat(64)] {
            assert!(check(name, "https://tuf.example").is_ok(), "{name}");
        }
        for name in ["..", "../x", "a/b", "/a", ".a", "a b", "a\0", &"x".repeat(65)] {
            assert!(check(name, "https://tuf.example").is_err(), "{name}");
        }
    }
}
