//! What the table `[identity]` of the configuration says.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;

use serde::Deserialize;
use spiffe::TrustDomain;

use super::callers::Callers;
use super::file_set::FileFault;
use super::pattern::PatternError;
use super::token::{self, JwtSvidSettings, KeyFileFault, OidcSettings};

/// The table `[identity]`; without it witgate serves loopback only and names every caller `local`.
///
/// ```toml
/// [identity]
/// trust_domains = ["gate.example", "fed.example"]
/// callers       = ["spiffe://gate.example/host/*", "spiffe://fed.example/ci/builder"]
/// workload_api  = "unix:/run/spire/agent.sock"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The trust domains of our own SVID and of every caller with a SPIFFE ID; empty only where OIDC issuers alone vouch.
    #[serde(default)]
    pub trust_domains: Vec<String>,
    /// Who may ask: [`SpiffeIdPattern`](super::SpiffeIdPattern)s and `oidc:ISSUER/…`; never empty.
    pub callers: Vec<String>,
    /// The Workload API's socket, such as `unix:/run/spire/agent.sock`; either this or `files`.
    #[serde(default)]
    pub workload_api: Option<String>,
    /// PEM files that another program keeps fresh; either this or `workload_api`.
    #[serde(default)]
    pub files: Option<FileSettings>,
    /// Callers with a SPIFFE ID may show JWT-SVIDs.
    #[serde(default)]
    pub jwt_svid: Option<JwtSvidSettings>,
    /// Issuers whose tokens name callers, by the name in the callers' ids.
    #[serde(default)]
    pub oidc: BTreeMap<String, OidcSettings>,
    /// How long the start waits for the first SVID, in milliseconds.
    #[serde(default = "default_sync_timeout_ms")]
    pub sync_timeout_ms: u64,
}

/// The table `[identity.files]`: one bundle file per trust domain, since a mixed one lets each CA mint every domain's IDs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// The certificate chain, leaf first, PEM.
    pub svid: PathBuf,
    /// Its private key, PKCS#8 PEM, not readable by everyone.
    pub key: PathBuf,
    /// The CAs of the SVID's own trust domain, PEM.
    pub bundle: PathBuf,
    /// The CAs of federated trust domains, PEM, by trust domain.
    #[serde(default)]
    pub federated: BTreeMap<String, PathBuf>,
}

/// The default of [`Settings::sync_timeout_ms`]: ten times the slowest start of a SPIRE agent that is up.
pub const SYNC_TIMEOUT_MS: u64 = 5_000;

fn default_sync_timeout_ms() -> u64 {
    SYNC_TIMEOUT_MS
}

/// Why the identity stage cannot start; exit 2, except [`StartError::Sync`], which is an outage.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `trust_domains` is empty.
    #[error("`identity.trust_domains` names no trust domain")]
    NoTrustDomains,
    /// `callers` is empty.
    #[error("`identity.callers` names no caller")]
    NoCallers,
    /// A name in `trust_domains` or `files.federated` is no trust domain.
    #[error("`{given}` is no trust domain")]
    TrustDomain {
        /// What was configured.
        given: String,
        /// What the parser says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An entry of `callers` is no pattern.
    #[error("an entry of `identity.callers` cannot be read")]
    Caller(#[from] PatternError),
    /// An entry of `callers` lies outside `trust_domains`, or names no issuer, and could never match.
    #[error("`{pattern}` lies outside `identity.trust_domains` and `identity.oidc`")]
    CallerOutside {
        /// The entry.
        pattern: String,
    },
    /// Both `workload_api` and `files` are there, or neither is and no token would be taken in place of an SVID.
    #[error("`identity` needs exactly one of `workload_api` and `files`, or tokens alone, found {found}")]
    Sources {
        /// How many are there.
        found: usize,
    },
    /// `workload_api` is no unix socket's address.
    #[error("`{given}` is no Workload API address: expected `unix:` and an absolute path")]
    Address {
        /// What was configured.
        given: String,
    },
    /// Everyone may put another socket in this one's place.
    #[error("the folder `{}` of the Workload API socket is writable by everyone", folder.display())]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The files hold no usable identity.
    #[error("the identity files cannot be used")]
    Files(#[from] FileFault),
    /// No SVID of an allowed trust domain arrived in time.
    #[error("no SVID of an allowed trust domain arrived within {timeout_ms} ms")]
    Sync {
        /// [`Settings::sync_timeout_ms`].
        timeout_ms: u64,
        /// What the Workload API said last.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The SVID cannot be used for TLS.
    #[error("the SVID cannot be used for TLS")]
    Tls {
        /// What the TLS library says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A value of a token's table is not what it has to be.
    #[error("`{key}`: expected {expected}, found `{found}`")]
    Setting {
        /// The whole key, such as `identity.oidc.github.issuer`.
        key: String,
        /// What was expected.
        expected: &'static str,
        /// What was configured.
        found: String,
    },
    /// JWT-SVIDs are to be taken, and nobody gives their keys.
    #[error("`identity.jwt_svid` needs keys: `identity.workload_api`, or `jwks` with a file for each trust domain")]
    NoBundles,
    /// A file of keys holds none.
    #[error("the callers' keys cannot be read")]
    Keys(#[from] KeyFileFault),
    /// A peer is expected that `trust_domains` does not allow.
    #[error("the expected peer `{given}` is no SPIFFE ID of `identity.trust_domains`")]
    Expected {
        /// The SPIFFE ID that was asked for.
        given: String,
    },
}

impl StartError {
    /// The next thing to do, if there is one to name.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoTrustDomains | Self::TrustDomain { .. } => {
                Some("set `identity.trust_domains = [\"gate.example\"]`")
            }
            Self::NoCallers | Self::Caller(_) => Some("set `identity.callers = [\"spiffe://gate.example/host/*\"]`"),
            Self::CallerOutside { .. } => {
                Some("add its trust domain to `identity.trust_domains`, or its issuer to `identity.oidc`")
            }
            Self::Expected { .. } => Some("add its trust domain to `identity.trust_domains`"),
            Self::NoBundles => {
                Some("set `identity.jwt_svid.jwks = { \"gate.example\" = \"/run/svid/jwt_bundle.json\" }`")
            }
            Self::Sources { .. } | Self::Address { .. } => {
                Some("set `identity.workload_api = \"unix:/run/spire/agent.sock\"`")
            }
            Self::SocketFolder { .. } => Some("take the right to write from others: `chmod o-w FOLDER`"),
            Self::Sync { .. } => Some("look whether the agent runs and has an entry for this process"),
            Self::Files(_) | Self::Keys(_) | Self::Setting { .. } | Self::Tls { .. } => None,
        }
    }
}

/// The checked form of [`Settings`].
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) trust_domains: BTreeSet<TrustDomain>,
    pub(super) callers: Callers,
    /// None where tokens alone prove callers.
    pub(super) origin: Option<Origin>,
}

/// Where SVID and bundles come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// An absolute path.
    Socket(PathBuf),
    Files(FileSettings, BTreeMap<TrustDomain, PathBuf>),
}

impl Settings {
    /// Reads the settings without touching the disk or a peer.
    ///
    /// # Errors
    /// What is missing, unreadable or contradictory.
    pub fn check(&self) -> Result<(), StartError> {
        self.checked().map(|_| ())
    }

    /// Whether we have an SVID of our own; else callers are proven by tokens alone.
    pub fn has_svid(&self) -> bool {
        self.workload_api.is_some() || self.files.is_some()
    }

    /// Whether any tokens are taken.
    pub fn has_tokens(&self) -> bool {
        self.jwt_svid.is_some() || !self.oidc.is_empty()
    }

    pub(super) fn checked(&self) -> Result<Checked, StartError> {
        let trust_domains =
            self.trust_domains.iter().map(|name| trust_domain(name)).collect::<Result<BTreeSet<_>, _>>()?;
        if trust_domains.is_empty() && (self.has_svid() || self.jwt_svid.is_some() || !self.has_tokens()) {
            return Err(StartError::NoTrustDomains);
        }
        token::check(self.jwt_svid.as_ref(), &self.oidc, &trust_domains)?;
        let issuers = self.oidc.keys().cloned().collect();
        let callers = Callers::read(&self.callers, trust_domains.clone(), issuers)?;
        let origin = match (&self.workload_api, &self.files) {
            (Some(address), None) => Some(Origin::Socket(socket(address)?)),
            (None, Some(files)) => {
                let federated = files
                    .federated
                    .iter()
                    .map(|(name, path)| Ok((trust_domain(name)?, path.clone())))
                    .collect::<Result<_, StartError>>()?;
                Some(Origin::Files(files.clone(), federated))
            }
            (None, None) if self.has_tokens() => None,
            (None, None) => return Err(StartError::Sources { found: 0 }),
            (Some(_), Some(_)) => return Err(StartError::Sources { found: 2 }),
        };
        if self.jwt_svid.as_ref().is_some_and(|svid| svid.jwks.is_empty()) && !matches!(origin, Some(Origin::Socket(_)))
        {
            return Err(StartError::NoBundles);
        }
        Ok(Checked { trust_domains, callers, origin })
    }
}

/// A bare name: `TrustDomain::new` would also take a whole SPIFFE ID and forget its path.
pub(super) fn trust_domain(name: &str) -> Result<TrustDomain, StartError> {
    if name.contains('/') {
        let source = "expected a bare name such as `gate.example`".into();
        return Err(StartError::TrustDomain { given: name.to_owned(), source });
    }
    TrustDomain::new(name).map_err(|error| StartError::TrustDomain { given: name.to_owned(), source: error.into() })
}

/// Only unix sockets: the kernel tells the agent who we are, which no TCP address does.
fn socket(address: &str) -> Result<PathBuf, StartError> {
    let path = address.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path)).map(PathBuf::from);
    path.filter(|path| path.is_absolute()).ok_or_else(|| StartError::Address { given: address.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            trust_domains: vec!["gate.example".into()],
            callers: vec!["spiffe://gate.example/host/*".into()],
            workload_api: Some("unix:/run/spire/agent.sock".into()),
            files: None,
            jwt_svid: None,
            oidc: BTreeMap::new(),
            sync_timeout_ms: SYNC_TIMEOUT_MS,
        }
    }

    fn file_settings() -> FileSettings {
        FileSettings { svid: "a".into(), key: "b".into(), bundle: "c".into(), federated: BTreeMap::new() }
    }

    #[test]
    fn a_whole_table_is_taken() {
        settings().check().unwrap();
        let found =
            Settings { workload_api: Some("unix:///run/spire/agent.sock".into()), ..settings() }.checked().unwrap();
        assert!(matches!(found.origin, Some(Origin::Socket(path)) if path.as_os_str() == "/run/spire/agent.sock"));
    }

    #[test]
    fn nobody_starts_without_trust_domains_or_callers() {
        let empty = Settings { trust_domains: vec![], ..settings() };
        assert!(matches!(empty.check(), Err(StartError::NoTrustDomains)));
        let empty = Settings { callers: vec![], ..settings() };
        assert!(matches!(empty.check(), Err(StartError::NoCallers)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for name in ["", "spiffe://gate.example", "gate.example/host", "gate example", "*"] {
            let wrong = Settings { trust_domains: vec![name.into()], ..settings() };
            assert!(matches!(wrong.check(), Err(StartError::TrustDomain { given, .. }) if given == name), "{name}");
        }
        let wrong = Settings { callers: vec!["*".into()], ..settings() };
        assert!(matches!(wrong.check(), Err(StartError::Caller(_))));
        let wrong = Settings { callers: vec!["spiffe://fed.example/ci".into()], ..settings() };
        assert!(matches!(wrong.check(), Err(StartError::CallerOutside { .. })));
        for address in ["", "/run/agent.sock", "unix:agent.sock", "tcp://127.0.0.1:8081", "unix:"] {
            let wrong = Settings { workload_api: Some(address.into()), ..settings() };
            assert!(matches!(wrong.check(), Err(StartError::Address { given }) if given == address), "{address}");
        }
    }

    #[test]
    fn there_is_one_source() {
        let none = Settings { workload_api: None, ..settings() };
        assert!(matches!(none.check(), Err(StartError::Sources { found: 0 })));
        let both = Settings { files: Some(file_settings()), ..settings() };
        assert!(matches!(both.check(), Err(StartError::Sources { found: 2 })));
        Settings { workload_api: None, files: Some(file_settings()), ..settings() }.check().unwrap();
    }

    #[test]
    fn the_table_refuses_unknown_keys() {
        let whole = serde_json::json!({"trust_domains": ["a"], "callers": ["spiffe://a"], "workload_api": "unix:/a"});
        let read: Settings = serde_json::from_value(whole).unwrap();
        assert_eq!(read.sync_timeout_ms, SYNC_TIMEOUT_MS);
        let unknown = serde_json::json!({"trust_domains": ["a"], "callers": ["spiffe://a"], "allow_any": true});
        assert!(serde_json::from_value::<Settings>(unknown).is_err());
        let missing = serde_json::json!({"trust_domains": ["a"], "workload_api": "unix:/a"});
        assert!(serde_json::from_value::<Settings>(missing).is_err());
        let missing = serde_json::json!({"callers": ["spiffe://a"], "workload_api": "unix:/a"});
        let read: Settings = serde_json::from_value(missing).unwrap();
        assert!(matches!(read.check(), Err(StartError::NoTrustDomains)));
    }
}
