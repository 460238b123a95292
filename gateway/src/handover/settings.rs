//! How the hand-over is configured, with the key it signs with.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use witgate_host_hook::key::{KeyFileError, PrivateKey};
use witgate_host_hook::ticket::MAX_LIFE_S;

/// The section `[handover]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// PKCS#8 PEM file of the Ed25519 key that signs tickets, mode 0600. Without it `ticket.key` in the data folder is
    /// used, and made on first use.
    pub ticket_key: Option<PathBuf>,
    /// How long a host may take to start, in seconds: 1 to 300.
    pub ticket_life_s: u32,
}

impl Settings {
    /// Time to start where the configuration says nothing, in seconds: two minutes.
    pub const DEFAULT_TICKET_LIFE_S: u32 = 120;
}

impl Default for Settings {
    fn default() -> Self {
        Self { ticket_key: None, ticket_life_s: Self::DEFAULT_TICKET_LIFE_S }
    }
}

/// Why the hand-over cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key cannot be read or made, or its public half not written.
    #[error("cannot open the ticket key")]
    Key(#[from] KeyFileError),
    /// The configured life is none a host would take.
    #[error("`ticket_life_s` is {found}, expected 1 to {MAX_LIFE_S}")]
    Life {
        /// What is configured, in seconds.
        found: u32,
    },
    /// The gateway has no name to sign tickets with.
    #[error("the gateway has no identity to issue tickets as")]
    NoIssuer,
}

impl StartError {
    /// The next thing to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Key(error) => error.hint(),
            Self::Life { .. } => "set `handover.ticket_life_s` to 120".into(),
            Self::NoIssuer => "configure `identity`".into(),
        }
    }
}

/// The configured key, or the data folder's own, made when there is none; its public half is written beside it.
pub(super) fn open_key(settings: &Settings, data_dir: &Path) -> Result<PrivateKey, KeyFileError> {
    match &settings.ticket_key {
        // A configured key must be there: making one for a mistyped path would sign tickets that no host takes.
        Some(path) => PrivateKey::load(path),
        None => {
            let key = PrivateKey::load_or_create(&data_dir.join("ticket.key"))?;
            key.public().store(&data_dir.join("ticket.pub"))?;
            Ok(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_folders_key_is_made_once_with_its_public_half_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = open_key(&Settings::default(), folder.path()).unwrap();
        let again = open_key(&Settings::default(), folder.path()).unwrap();
        assert_eq!(again.public(), key.public());
        let public = std::fs::read_to_string(folder.path().join("ticket.pub")).unwrap();
        assert_eq!(public, key.public().to_spki_pem());
    }

    #[test]
    fn a_configured_key_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("elsewhere.key");
        let settings = Settings { ticket_key: Some(path.clone()), ..Settings::default() };
        assert!(matches!(open_key(&settings, folder.path()), Err(KeyFileError::File { .. })));
        let made = PrivateKey::create(&path).unwrap();
        assert_eq!(open_key(&settings, folder.path()).unwrap().public(), made.public());
        assert!(!folder.path().join("ticket.key").exists());
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(serde_json::from_str::<Settings>(r#"{"ticket_life":1}"#).is_err());
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }
}
