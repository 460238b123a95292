//! The table `[registry]` of `witgate.toml`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::case::{Reference, Repository};

use super::budgets::{Budgets, COMPONENT_BYTES, SECRET_FILE_BYTES};
use super::credential::{Credential, GivenSecret, Source, is_username};
use super::docker_config::DockerConfig;
use super::helper::Helpers;
use super::pause::Pauses;
use super::token::Authorizations;
use super::upstream::{HostPattern, Upstream};
use crate::egress::{GuardedResolver, Reach, is_loopback};

/// How witgate reaches registries; without upstreams those on loopback are reached, others are not.
///
/// ```toml
/// [registry]
/// tag_life_s = 30
/// [registry.upstreams."ghcr.io"]
/// username = "acme-bot"
/// password_file = "/run/secrets/ghcr"
/// redirect_hosts = ["pkg-containers.githubusercontent.com"]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The registries that may be asked, by the name that references use; no other is ever looked up.
    pub upstreams: BTreeMap<String, UpstreamSettings>,
    /// The programs that `docker_config` may ask, by the names it uses: `ecr-login` is `docker-credential-ecr-login` there.
    pub credential_helpers: BTreeMap<String, PathBuf>,
    /// What stands in front of `NAMESPACE/NAME` for packages that `wkg` asks for here: `ghcr.io/webassembly/`. With one
    /// upstream alone that one's name.
    pub package_prefix: Option<String>,
    /// The object store that replicas share, behind each one's own cache; without it each one fetches for itself.
    pub store: Option<StoreSettings>,
    /// How long a tag is taken to mean the same digest, in seconds; 0 asks each time.
    pub tag_life_s: u64,
    /// The size of the cache on disk, in bytes: at least one component (256 MiB).
    pub cache_max_bytes: u64,
    /// How many bytes of blobs may be in memory, those that are being sent among them; what does not fit is read from disk.
    pub memory_max_bytes: u64,
    /// How many bytes of artifacts may be under way beside those: fetched, and neither held in memory nor decided about yet. A
    /// larger artifact goes alone; the others wait.
    pub cold_max_bytes: u64,
    /// How fast cached files are hashed again in the background, in bytes a second; 0 does without.
    pub scrub_bytes_per_s: u64,
    /// How long DNS, TCP and TLS of one connection may take together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a registry may be silent within an answer, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long one metadata request may take, authentication included, in milliseconds.
    pub metadata_timeout_ms: u64,
    /// How long a blob may come at less than 64 KiB/s, in milliseconds.
    pub slow_start_ms: u64,
}

impl Settings {
    /// The longest of the time-outs, in milliseconds: longer than any caller waits.
    pub const MAX_TIMEOUT_MS: u64 = 60_000;

    /// Refuses time-outs that would never end, or end before they began.
    fn check(&self) -> Result<(), StartError> {
        for (key, found_ms) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("metadata_timeout_ms", self.metadata_timeout_ms),
            ("slow_start_ms", self.slow_start_ms),
            ("store.timeout_ms", self.store.as_ref().map_or(1, |store| store.timeout_ms)),
        ] {
            if !(1..=Self::MAX_TIMEOUT_MS).contains(&found_ms) {
                return Err(StartError::Timeout { key, found_ms });
            }
        }
        Ok(())
    }

    /// The prefix of packages, if there is one.
    ///
    /// # Errors
    /// [`StartError::PackagePrefix`]
    pub(super) fn packages(&self) -> Result<Option<String>, StartError> {
        let mut names = self.upstreams.keys();
        let Some(prefix) = self.package_prefix.clone() else {
            return Ok(names.next().filter(|_| names.next().is_none()).map(|only| format!("{only}/")));
        };
        // A package's name behind it must make a repository.
        let repository =
            prefix.ends_with('/').then(|| format!("{prefix}wasi/http").parse::<Repository>().ok()).flatten();
        match repository.filter(|repository| self.upstreams.contains_key(repository.registry())) {
            Some(_) => Ok(Some(prefix)),
            None => Err(StartError::PackagePrefix { prefix }),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            upstreams: BTreeMap::new(),
            credential_helpers: BTreeMap::new(),
            package_prefix: None,
            store: None,
            tag_life_s: 30,
            cache_max_bytes: 8 << 30,
            memory_max_bytes: 128 << 20,
            cold_max_bytes: 64 << 20,
            scrub_bytes_per_s: 4 << 20,
            connect_timeout_ms: 3_000,
            idle_timeout_ms: 15_000,
            metadata_timeout_ms: 10_000,
            slow_start_ms: 10_000,
        }
    }
}

/// One upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamSettings {
    /// Where it is: `https://NAME` if absent, `http://NAME` for a name on loopback.
    pub url: Option<String>,
    /// A PEM file of the only certificate authorities it may be certified by; the system's if absent.
    pub ca: Option<PathBuf>,
    /// The user's name, with `password_file`.
    pub username: Option<String>,
    /// The file with the password or access token, read whenever it is needed.
    pub password_file: Option<PathBuf>,
    /// The file with a bearer token for the registry itself, instead of a name and password.
    pub token_file: Option<PathBuf>,
    /// Docker's `config.json`, instead of all that: its entry for this registry, or the helper that it names for it.
    pub docker_config: Option<PathBuf>,
    /// Whether it is in a private network: addresses that are loopback, link-local or private are allowed.
    pub private: bool,
    /// Whether plain http may be spoken; only to private addresses, so `private` is needed too. Loopback needs neither.
    pub insecure_http: bool,
    /// Token endpoints that get the credential, beside the registry itself: `host` or `host:port`.
    pub auth_hosts: Vec<String>,
    /// Where blobs may be redirected to, beside the registry itself: `host`, `host:port` or `*.domain`.
    pub redirect_hosts: Vec<String>,
    /// A secret that the command line was given, in place of the files; it stands in no configuration.
    #[serde(skip)]
    pub given: Option<Given>,
}

/// A secret that the command line was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// The password of `username`.
    Password(GivenSecret),
    /// A bearer token for the registry itself.
    Token(GivenSecret),
}

/// The store that replicas share.
///
/// ```toml
/// [registry.store]
/// url = "s3://witgate-blobs/prod"
/// region = "eu-central-1"
/// access_key_id = "AKIA…"
/// secret_access_key_file = "/run/secrets/s3"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// `s3://BUCKET[/PREFIX]`.
    pub url: String,
    /// Where a server that is not AWS speaks S3: `https://HOST[:PORT]`; plain http for loopback only.
    pub endpoint: Option<String>,
    /// The bucket's region; `us-east-1` if absent.
    pub region: Option<String>,
    /// The key's id, with `secret_access_key_file`.
    pub access_key_id: Option<String>,
    /// The file with the key's secret, read whenever it is needed.
    pub secret_access_key_file: Option<PathBuf>,
    /// A PEM file of the only certificate authorities the endpoint may be certified by; the system's if absent.
    pub ca: Option<PathBuf>,
    /// How long it may be silent, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key_file: None,
            ca: None,
            timeout_ms: 10_000,
        }
    }
}

/// Why the settings cannot be used: exit 2.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key of an upstream is no registry.
    #[error("`registry.upstreams.\"{name}\"` is no registry: expected `host` or `host:port`, such as `ghcr.io`")]
    UpstreamName {
        /// The key.
        name: String,
    },
    /// The URL of an upstream is none, or holds more than scheme, host, port and path.
    #[error("`url` of upstream `{name}` is not `https://HOST[:PORT][/PATH]`")]
    Url {
        /// The upstream.
        name: String,
    },
    /// Plain http to somewhere that is not loopback.
    #[error(
        "upstream `{name}` would be asked in clear: expected https, or `insecure_http = true` with `private = true`"
    )]
    PlainHttp {
        /// The upstream.
        name: String,
    },
    /// `insecure_http` for an upstream that is not marked private.
    #[error("upstream `{name}` has `insecure_http` without `private`: plain http is for private networks only")]
    InsecureNotPrivate {
        /// The upstream.
        name: String,
    },
    /// The URL names an address that the upstream may not reach.
    #[error("upstream `{name}` is at a private address: set `private = true` if it is meant")]
    NotPrivate {
        /// The upstream.
        name: String,
    },
    /// Not exactly none, `username` with `password_file`, `token_file`, or `docker_config`.
    #[error(
        "upstream `{name}` has half a credential or two: expected `username` with `password_file`, `token_file` or `docker_config`"
    )]
    Credential {
        /// The upstream.
        name: String,
    },
    /// Docker's configuration is of no use.
    #[error("`{path}` of upstream `{name}` gives no credential")]
    DockerConfig {
        /// The upstream.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A credential helper is named in a way that could mean two programs, or is none.
    #[error("`registry.credential_helpers.\"{name}\"` is `{path}`: expected the absolute path of a program")]
    Helper {
        /// Its name.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// The object store's settings are of no use.
    #[error("`registry.store` (`{url}`) cannot be used: {detail}")]
    Store {
        /// Its URL.
        url: String,
        /// What was expected or found.
        detail: &'static str,
    },
    /// A host pattern is none.
    #[error("`{pattern}` of upstream `{name}` is no host: expected `host`, `host:port` or, for redirects, `*.domain`")]
    HostPattern {
        /// The upstream.
        name: String,
        /// The pattern.
        pattern: String,
    },
    /// A file that the settings name cannot be read.
    #[error("`{path}` of upstream `{name}` cannot be read")]
    File {
        /// The upstream.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `ca` holds no certificates.
    #[error("`{path}` of upstream `{name}` holds no PEM certificates")]
    Certificates {
        /// The upstream.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The HTTP client cannot be made: the system has no usable certificate authorities, say.
    #[error("no client for upstream `{name}` can be made")]
    Client {
        /// The upstream.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The prefix of packages leads to no repository of an upstream.
    #[error(
        "`registry.package_prefix` is `{prefix}`, expected `REGISTRY/` with a registry of `[registry.upstreams]`, or more of a path that ends in `/`"
    )]
    PackagePrefix {
        /// The setting.
        prefix: String,
    },
    /// A time-out is zero or too long.
    #[error("`registry.{key}` is {found_ms}, expected 1 to {} milliseconds", Settings::MAX_TIMEOUT_MS)]
    Timeout {
        /// The setting.
        key: &'static str,
        /// Its value, in milliseconds.
        found_ms: u64,
    },
    /// The cache would not hold one component.
    #[error("`registry.cache_max_bytes` is {found_bytes}, expected at least {least_bytes}")]
    CacheTooSmall {
        /// The setting.
        found_bytes: u64,
        /// The least.
        least_bytes: u64,
    },
    /// The cache's folder cannot be made or read.
    #[error("cache folder `{path}` cannot be used")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Which upstreams may be asked.
#[derive(Debug)]
pub(super) enum Upstreams {
    /// Nothing is configured: registries on loopback, over plain http.
    Loopback(Box<Upstream>),
    /// Those of the table and no other.
    Listed(BTreeMap<String, Arc<Upstream>>),
}

impl Upstreams {
    /// Checks the table and makes a client for each upstream.
    pub fn of(settings: &Settings, budgets: &Arc<Budgets>) -> Result<Self, StartError> {
        settings.check()?;
        if settings.cache_max_bytes < COMPONENT_BYTES {
            let found_bytes = settings.cache_max_bytes;
            return Err(StartError::CacheTooSmall { found_bytes, least_bytes: COMPONENT_BYTES });
        }
        let helpers = Arc::new(helpers(settings)?);
        if settings.upstreams.is_empty() {
            let here = UpstreamSettings::default();
            return upstream("127.0.0.1:1", &here, &helpers, budgets)
                .map(|upstream| Self::Loopback(Box::new(upstream)));
        }
        let listed = settings
            .upstreams
            .iter()
            .map(|(name, one)| Ok((name.clone(), Arc::new(upstream(name, one, &helpers, budgets)?))));
        listed.collect::<Result<_, _>>().map(Self::Listed)
    }

    /// The upstream of a reference, or what a person has to do to reach it.
    pub fn of_registry(&self, registry: &str) -> Result<Arc<Upstream>, String> {
        match self {
            Self::Listed(listed) => listed.get(registry).cloned().ok_or_else(|| {
                format!("registry `{registry}` is no upstream: add `[registry.upstreams.\"{registry}\"]` to the configuration")
            }),
            Self::Loopback(template) => {
                // Compared as written: `2130706433` is 127.0.0.1 to a URL parser.
                let host = registry.rsplit_once(':').map(|(host, _)| host);
                let here = host.is_some_and(|host| matches!(host, "127.0.0.1" | "localhost" | "[::1]"));
                let base = Url::parse(&format!("http://{registry}/")).ok().filter(|_| here);
                let base = base.ok_or_else(|| {
                    format!("registry `{registry}` is no upstream and only registries on loopback need no configuration: add `[registry.upstreams.\"{registry}\"]`")
                })?;
                Ok(Arc::new(Upstream { name: registry.to_owned(), base, ..Upstream::clone(template) }))
            }
        }
    }
}

fn upstream(
    name: &str,
    settings: &UpstreamSettings,
    helpers: &Arc<Helpers>,
    budgets: &Arc<Budgets>,
) -> Result<Upstream, StartError> {
    let owned = || name.to_owned();
    if format!("{name}/x:x").parse::<Reference>().is_err() {
        return Err(StartError::UpstreamName { name: owned() });
    }
    let base = base_url(name, settings.url.as_deref())?;
    let reach = reach(name, settings, &base)?;
    let patterns = |texts: &[String], wildcards: Wildcards| -> Result<Vec<HostPattern>, StartError> {
        let parse = |text: &String| {
            let taken = wildcards == Wildcards::Allowed || !text.contains('*');
            HostPattern::parse(text)
                .filter(|_| taken)
                .ok_or_else(|| StartError::HostPattern { name: owned(), pattern: text.clone() })
        };
        texts.iter().map(parse).collect()
    };
    Ok(Upstream {
        auth_hosts: patterns(&settings.auth_hosts, Wildcards::Refused)?,
        redirect_hosts: patterns(&settings.redirect_hosts, Wildcards::Allowed)?,
        credential: credential(name, settings, &base, helpers)?,
        client: client(name, settings, &base, reach, budgets)?,
        name: owned(),
        base,
        reach,
        places: Upstream::places(),
        authorizations: Authorizations::new(),
        pauses: Pauses::new(),
        budgets: budgets.clone(),
    })
}

/// A wildcard may name a store of blobs, which see no credential, but no token endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wildcards {
    Allowed,
    Refused,
}

fn base_url(name: &str, url: Option<&str>) -> Result<Url, StartError> {
    let invalid = || StartError::Url { name: name.to_owned() };
    let base = match url {
        Some(url) => Url::parse(url).map_err(|_| invalid())?,
        None => {
            let secure = Url::parse(&format!("https://{name}/")).map_err(|_| invalid())?;
            if is_loopback(&secure) { Url::parse(&format!("http://{name}/")).map_err(|_| invalid())? } else { secure }
        }
    };
    let plain = base.username().is_empty() && base.password().is_none() && base.query().is_none();
    let known = matches!(base.scheme(), "http" | "https") && base.host().is_some();
    if plain && known && base.fragment().is_none() { Ok(base) } else { Err(invalid()) }
}

fn reach(name: &str, settings: &UpstreamSettings, base: &Url) -> Result<Reach, StartError> {
    let name = || name.to_owned();
    if settings.insecure_http && !settings.private {
        return Err(StartError::InsecureNotPrivate { name: name() });
    }
    let reach = match (base.scheme(), is_loopback(base)) {
        (_, true) if !settings.private => Reach::LoopbackOnly,
        ("http", true) => Reach::PrivateOnly,
        ("http", false) if settings.insecure_http => Reach::PrivateOnly,
        ("http", false) => return Err(StartError::PlainHttp { name: name() }),
        _ if settings.private => Reach::Anywhere,
        _ => Reach::Public,
    };
    match reach.check_literal(base) {
        Ok(()) => Ok(reach),
        Err(_) if reach == Reach::PrivateOnly => Err(StartError::PlainHttp { name: name() }),
        Err(_) => Err(StartError::NotPrivate { name: name() }),
    }
}

/// The programs that may be asked; each is there and is named by where it is.
fn helpers(settings: &Settings) -> Result<Helpers, StartError> {
    for (name, path) in &settings.credential_helpers {
        if !path.is_absolute() || !std::fs::metadata(path).is_ok_and(|found| found.is_file()) {
            return Err(StartError::Helper { name: name.clone(), path: path.clone() });
        }
    }
    Ok(Helpers::new(settings.credential_helpers.clone()))
}

fn credential(
    name: &str,
    settings: &UpstreamSettings,
    base: &Url,
    helpers: &Arc<Helpers>,
) -> Result<Credential, StartError> {
    let UpstreamSettings { username, password_file, token_file, docker_config, given, .. } = settings;
    if let Some(given) = given {
        return match (username, given, password_file, token_file, docker_config) {
            (Some(username), Given::Password(secret), None, None, None) if is_username(username) => {
                Ok(Credential::Password { username: username.clone(), source: Source::Given(secret.clone()) })
            }
            (None, Given::Token(secret), None, None, None) => {
                Ok(Credential::Token { source: Source::Given(secret.clone()) })
            }
            _ => Err(StartError::Credential { name: name.to_owned() }),
        };
    }
    let (credential, file) = match (username, password_file, token_file, docker_config) {
        (None, None, None, None) => return Ok(Credential::Anonymous),
        (Some(username), Some(file), None, None) if is_username(username) => {
            (Credential::Password { username: username.clone(), source: Source::File(file.clone()) }, file)
        }
        (None, None, Some(file), None) => (Credential::Token { source: Source::File(file.clone()) }, file),
        (None, None, None, Some(file)) => {
            let opened = DockerConfig::open(file.clone(), base.authority(), helpers.clone());
            return opened.map(Credential::Docker).map_err(|fault| StartError::DockerConfig {
                name: name.to_owned(),
                path: file.clone(),
                source: fault.into(),
            });
        }
        _ => return Err(StartError::Credential { name: name.to_owned() }),
    };
    let unreadable = |source| StartError::File { name: name.to_owned(), path: file.clone(), source };
    let found = std::fs::File::open(file).and_then(|file| file.metadata()).map_err(unreadable)?;
    if !found.is_file() || found.len() > SECRET_FILE_BYTES {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "not a file of at most 16 KiB")));
    }
    Ok(credential)
}

fn client(
    name: &str,
    settings: &UpstreamSettings,
    base: &Url,
    reach: Reach,
    budgets: &Budgets,
) -> Result<reqwest::Client, StartError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("witgate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .dns_resolver(GuardedResolver(reach))
        .connect_timeout(budgets.connect)
        .read_timeout(budgets.idle);
    let builder = match &settings.ca {
        Some(path) => builder.tls_certs_only(certificates(name, path)?),
        // Nothing is asked over TLS, so a machine without certificate authorities will do.
        None if base.scheme() == "http" && reach == Reach::LoopbackOnly => builder.tls_certs_only([]),
        None => builder,
    };
    builder.build().map_err(|error| StartError::Client { name: name.to_owned(), source: error.into() })
}

fn certificates(name: &str, path: &Path) -> Result<Vec<reqwest::Certificate>, StartError> {
    let pem = std::fs::read(path).map_err(|source| StartError::File {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(StartError::Certificates { name: name.to_owned(), path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
