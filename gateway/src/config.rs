//! Configuration: `witgate.toml`, then `WITGATE_*`, then flags.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::case::Scope;
use crate::{audit, evidence, handover, identity, policy, registry, telemetry};

/// Every option; `witgate.example.toml` shows each with unit and default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the log, the cache and the keys lie. Default: `$XDG_STATE_HOME/witgate`, else `~/.local/state/witgate`.
    pub data_dir: PathBuf,
    /// Whose policies and log apply.
    pub scope: Scope,
    /// Where witgate listens.
    pub listen: Listen,
    /// Who may ask. Absent: loopback only, everyone is `local`.
    pub identity: Option<identity::Settings>,
    /// Where components come from.
    pub registry: registry::Settings,
    /// Whom to believe.
    pub evidence: evidence::Settings,
    /// What is allowed.
    pub policy: policy::Settings,
    /// Where decisions are recorded.
    pub audit: audit::Settings,
    /// How components are handed over.
    pub handover: handover::Settings,
    /// What operators see.
    pub telemetry: telemetry::Settings,
}

/// Where witgate listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// For callers: API and log.
    pub callers: SocketAddr,
    /// For administration: health and metrics. Never needs a client certificate, so keep it on loopback or behind a network policy.
    pub admin: SocketAddr,
    /// For hosts that know registries and tokens, and no SVIDs. Absent: no such listener.
    pub registry: Option<RegistryListener>,
}

/// The listener for hosts that cannot do mTLS with SVIDs; it serves what a registry's clients ask and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate chain with a DNS name that hosts know us by, leaf first, PEM; without it plain HTTP, on loopback only.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, not readable by everyone.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// How clients are proven.
    #[serde(default)]
    pub clients: Clients,
    /// What clients call it, for the Bearer challenge: `https://witgate.example`.
    #[serde(default)]
    pub url: Option<String>,
    /// The challenges of 401 on `/v2/`, in this order.
    #[serde(default = "basic")]
    pub challenges: Vec<Challenge>,
}

/// How the clients of the registry listener are proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clients {
    /// By the token that each request shows; no certificate is asked for.
    #[default]
    Tokens,
    /// By an X.509-SVID, which each connection has to show.
    Svids,
}

/// A challenge of 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Challenge {
    /// The token as the password.
    Basic,
    /// The token from `/token`.
    Bearer,
}

fn basic() -> Vec<Challenge> {
    vec![Challenge::Basic]
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        Self { callers: SocketAddr::new(loopback, 7443), admin: SocketAddr::new(loopback, 7444), registry: None }
    }
}

impl RegistryListener {
    /// The pair of files, if TLS is to be spoken.
    pub(crate) fn pair(&self) -> Option<(&Path, &Path)> {
        Some((self.certificate.as_deref()?, self.key.as_deref()?))
    }

    /// The host in `url`, with its port where it has one.
    pub(crate) fn service(&self) -> Option<&str> {
        let url = self.url.as_deref()?;
        url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))
    }

    /// Holds what no single key can say.
    fn check(&self, identity: Option<&identity::Settings>) -> Result<(), ConfigError> {
        let fault = |detail: &'static str| Err(ConfigError::Registry { detail });
        let has_svid = identity.is_some_and(identity::Settings::has_svid);
        let has_tokens = identity.is_some_and(identity::Settings::has_tokens);
        if self.certificate.is_some() != self.key.is_some() {
            return fault("expected `certificate` and `key`, found one of them");
        }
        if self.pair().is_none() && !self.address.ip().is_loopback() {
            return fault("expected `certificate` and `key`, or a loopback address: tokens are secrets");
        }
        match self.clients {
            Clients::Svids if !has_svid || self.pair().is_none() => {
                return fault("`clients = \"svids\"` needs a certificate, and SVIDs in `[identity]`");
            }
            // Plain HTTP on loopback without any identity names everyone `local`, as the callers' listener does.
            Clients::Tokens if !has_tokens && (identity.is_some() || self.pair().is_some()) => {
                return fault("nobody could be proven: expected `[identity.jwt_svid]` or `[identity.oidc.NAME]`");
            }
            Clients::Svids | Clients::Tokens => {}
        }
        if self.challenges.is_empty() {
            return fault("expected `challenges` to name `basic`, `bearer` or both");
        }
        if self.challenges.contains(&Challenge::Bearer) && self.url.is_none() {
            return fault("the challenge `bearer` needs `url`");
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let scheme = if self.pair().is_some() { "https://" } else { "http://" };
        let host = self.url.as_deref().map(|url| url.strip_prefix(scheme).or_else(|| url.strip_prefix("https://")));
        if host.is_some_and(|host| host.is_none_or(|host| host.is_empty() || !host.bytes().all(plain))) {
            return fault("expected `url` to be `https://HOST` or `https://HOST:PORT`");
        }
        Ok(())
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or does not parse, or a key is unknown or of the wrong type.
    #[error("cannot read the configuration{}", in_file(.path.as_deref()))]
    Load {
        /// The file, if one was given.
        path: Option<PathBuf>,
        /// Why, with the key.
        #[source]
        source: config::ConfigError,
    },
    /// No data folder is given and none can be derived.
    #[error("no data folder: neither `--data-dir` nor `HOME` nor `XDG_STATE_HOME` is set")]
    NoDataDir,
    /// Without identity, callers cannot be told apart: only loopback may ask.
    #[error("`listen.callers` is `{address}`, but `[identity]` gives us no SVID to show: expected a loopback address")]
    OpenListener {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The registry listener could not prove its callers, or would show tokens to the network.
    #[error("`[listen.registry]`: {detail}")]
    Registry {
        /// What was expected.
        detail: &'static str,
    },
}

fn in_file(path: Option<&Path>) -> String {
    path.map(|path| format!(" `{}`", path.display())).unwrap_or_default()
}

/// Variables that belong to the command line, not to the configuration.
const NOT_CONFIGURATION: &[&str] = &[
    "WITGATE_CONFIG",
    "WITGATE_OUTPUT",
    "WITGATE_SERVER",
    "WITGATE_REGISTRY_PASSWORD",
    "WITGATE_REGISTRY_TOKEN",
    "WITGATE_CONFORMANCE_DIR",
    "WITGATE_UPDATE",
];

/// What `docker-credential-witgate` reads, on machines that run both.
const CREDENTIAL_HELPER: &str = "WITGATE_CREDENTIAL_";

impl Config {
    /// Reads `file` if given, overlays `environment` (`WITGATE_LISTEN__CALLERS` is `listen.callers`), then `data_dir`.
    ///
    /// # Errors
    /// Unknown keys, wrong types and unreadable files; an open listener without identity.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        data_dir: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let environment: HashMap<String, String> = environment
            .into_iter()
            .filter(|(name, _)| name.starts_with("WITGATE_") && !NOT_CONFIGURATION.contains(&name.as_str()))
            .filter(|(name, _)| !name.starts_with(CREDENTIAL_HELPER))
            .collect();
        let home = environment.get("WITGATE_DATA_DIR").cloned();
        let mut layers = config::Config::builder();
        if let Some(file) = file {
            layers = layers.add_source(config::File::from(file).format(config::FileFormat::Toml).required(true));
        }
        layers = layers.add_source(
            config::Environment::with_prefix("WITGATE")
                .prefix_separator("_")
                .separator("__")
                .try_parsing(true)
                .source(Some(environment)),
        );
        let failed = |source| ConfigError::Load { path: file.map(Path::to_owned), source };
        let mut config: Self = layers.build().and_then(config::Config::try_deserialize).map_err(failed)?;
        if let Some(data_dir) = data_dir {
            config.data_dir = data_dir.to_owned();
        } else if let Some(home) = home {
            config.data_dir = home.into();
        }
        if config.data_dir.as_os_str().is_empty() {
            config.data_dir = default_data_dir()?;
        }
        config.check()?;
        Ok(config)
    }

    /// Holds what no single key can say.
    ///
    /// # Errors
    /// An open listener without identity; a registry listener that could prove nobody.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let has_svid = self.identity.as_ref().is_some_and(identity::Settings::has_svid);
        if !has_svid && !self.listen.callers.ip().is_loopback() {
            return Err(ConfigError::OpenListener { address: self.listen.callers });
        }
        self.listen.registry.as_ref().map_or(Ok(()), |registry| registry.check(self.identity.as_ref()))
    }
}

/// XDG base directory specification: state that survives restarts.
fn default_data_dir() -> Result<PathBuf, ConfigError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("witgate"))
        .ok_or(ConfigError::NoDataDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("witgate.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(&file), environment, Some(folder.path()))
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config =
            load("[listen]\ncallers = \"127.0.0.1:1\"\n", &[("WITGATE_LISTEN__CALLERS", "127.0.0.1:2")]).unwrap();
        assert_eq!(config.listen.callers.port(), 2);
        assert_eq!(config.listen.admin.port(), 7444);
    }

    #[test]
    fn a8_2_unknown_keys_do_not_load() {
        assert!(load("[listen]\ncaller = \"127.0.0.1:1\"\n", &[]).is_err());
        assert!(load("", &[("WITGATE_LISTEN__CALLER", "127.0.0.1:2")]).is_err());
        assert!(load("[polcy]\n", &[]).is_err());
    }

    const TOKENS: &str = "[identity]\ncallers = [\"oidc:ci/*\"]\n[identity.oidc.ci]\nissuer = \"https://ci.example\"\naudience = \"https://witgate.example\"\ncaller = \"{sub}\"\n";
    const SVIDS: &str = "[identity]\ntrust_domains = [\"a.example\"]\ncallers = [\"spiffe://a.example\"]\nworkload_api = \"unix:/run/agent.sock\"\n";

    fn registry(identity: &str, listener: &str) -> Result<Config, ConfigError> {
        load(&format!("{identity}[listen.registry]\n{listener}\n"), &[])
    }

    #[test]
    fn a_registry_listener_proves_its_callers() {
        let pair = "certificate = \"tls.crt\"\nkey = \"tls.key\"\n";
        let open = "address = \"0.0.0.0:7445\"\n";
        let loopback = "address = \"127.0.0.1:7445\"\n";
        let config = registry(TOKENS, &format!("{open}{pair}")).unwrap();
        let listener = config.listen.registry.unwrap();
        assert_eq!((listener.clients, listener.challenges), (Clients::Tokens, vec![Challenge::Basic]));
        registry("", loopback).unwrap();
        registry(TOKENS, loopback).unwrap();
        registry(SVIDS, &format!("{open}{pair}clients = \"svids\"")).unwrap();
        let both = "challenges = [\"basic\", \"bearer\"]\nurl = \"https://witgate.example:7445\"";
        let config = registry(TOKENS, &format!("{open}{pair}{both}")).unwrap();
        assert_eq!(config.listen.registry.unwrap().service(), Some("witgate.example:7445"));
        for (what, identity, listener) in [
            ("plain tokens over the network", TOKENS, open.to_owned()),
            ("nobody is anybody", "", open.to_owned()),
            ("no key", TOKENS, format!("{open}certificate = \"tls.crt\"")),
            ("no certificate", TOKENS, format!("{open}key = \"tls.key\"")),
            ("nobody could be proven", "", format!("{open}{pair}")),
            ("SVIDs are no tokens", SVIDS, format!("{open}{pair}")),
            ("SVIDs are no tokens, on loopback neither", SVIDS, loopback.to_owned()),
            ("no SVIDs", TOKENS, format!("{open}{pair}clients = \"svids\"")),
            ("SVIDs without TLS", SVIDS, format!("{loopback}clients = \"svids\"")),
            ("no challenge", TOKENS, format!("{open}{pair}challenges = []")),
            ("bearer from nowhere", TOKENS, format!("{open}{pair}challenges = [\"bearer\"]")),
            ("a path", TOKENS, format!("{open}{pair}url = \"https://witgate.example/\"")),
            ("plain", TOKENS, format!("{open}{pair}url = \"http://witgate.example\"")),
            ("quotes", TOKENS, format!("{open}{pair}url = 'https://a\",realm=\"https:'")),
            ("no host", TOKENS, format!("{open}{pair}url = \"https://\"")),
        ] {
            let refused = registry(identity, &listener);
            assert!(matches!(refused, Err(ConfigError::Registry { .. })), "{what}: {refused:?}");
        }
    }

    #[test]
    fn tokens_alone_keep_callers_on_loopback() {
        load(TOKENS, &[]).unwrap();
        let open = load(&format!("{TOKENS}[listen]\ncallers = \"0.0.0.0:7443\"\n"), &[]);
        assert!(matches!(open, Err(ConfigError::OpenListener { .. })), "{open:?}");
    }

    #[test]
    fn the_credential_helpers_variables_are_no_configuration() {
        load("", &[("WITGATE_CREDENTIAL_AUDIENCE", "https://witgate.example")]).unwrap();
    }

    #[test]
    fn an_open_listener_needs_identity() {
        let error = load("[listen]\ncallers = \"0.0.0.0:7443\"\n", &[]).unwrap_err();
        assert!(matches!(error, ConfigError::OpenListener { .. }), "{error}");
    }
}
