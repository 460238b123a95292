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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// For callers: API and log.
    pub callers: SocketAddr,
    /// For administration: health and metrics. Never needs a client certificate, so keep it on loopback or behind a network policy.
    pub admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        Self { callers: SocketAddr::new(loopback, 7443), admin: SocketAddr::new(loopback, 7444) }
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
    #[error("`listen.callers` is `{address}`, but no `[identity]` is configured: expected a loopback address")]
    OpenListener {
        /// The address asked for.
        address: SocketAddr,
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
    /// An open listener without identity.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.identity.is_none() && !self.listen.callers.ip().is_loopback() {
            return Err(ConfigError::OpenListener { address: self.listen.callers });
        }
        Ok(())
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

    #[test]
    fn an_open_listener_needs_identity() {
        let error = load("[listen]\ncallers = \"0.0.0.0:7443\"\n", &[]).unwrap_err();
        assert!(matches!(error, ConfigError::OpenListener { .. }), "{error}");
    }
}
