//! What an upstream gets when it asks who we are.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::budgets::{Budgets, SECRET_FILE_BYTES};
use super::docker_config::DockerConfig;
use super::fault::Fault;
use super::token;

/// Where a credential comes from. Files are read and helpers asked when it is needed, so that it can be rotated.
#[derive(Clone)]
pub(super) enum Credential {
    /// Nothing: public repositories only.
    Anonymous,
    /// A name and the file that holds its password.
    Password {
        /// The user's name.
        username: String,
        /// Where the password is.
        source: Source,
    },
    /// A bearer token for the registry itself.
    Token {
        /// Where the token is.
        source: Source,
    },
    /// Docker's own configuration.
    Docker(DockerConfig),
}

/// Where a password or token is.
#[derive(Clone)]
pub(super) enum Source {
    /// In a file that is read whenever it is needed, so that it can be rotated.
    File(PathBuf),
    /// In this process's memory.
    Given(GivenSecret),
}

/// A secret that somebody handed to this process for one command: kept in memory, printed nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenSecret(Arc<Zeroizing<String>>);

/// A credential, read just now; printed by nobody.
pub(super) enum Secret {
    /// There is none.
    Nothing,
    /// `Basic …`, for the registry or its token endpoint.
    Password(HeaderValue),
    /// `Bearer …`, for the registry itself.
    Bearer(HeaderValue),
    /// A refresh token, for the token endpoint alone.
    Identity(Zeroizing<String>),
}

impl Credential {
    /// Reads it.
    pub async fn secret(&self, budgets: &Budgets) -> Result<Secret, Fault> {
        match self {
            Self::Anonymous => Ok(Secret::Nothing),
            Self::Password { username, source } => {
                let password = source.read().await?;
                Ok(Secret::Password(basic(username, &password)))
            }
            Self::Token { source } => {
                let text = source.read().await?;
                let unusable = || credential_fault(io::ErrorKind::InvalidData, "not one printable token");
                token::bearer(&text).map(Secret::Bearer).ok_or_else(unusable)
            }
            Self::Docker(config) => config.secret(budgets.helper).await,
        }
    }
}

impl Source {
    async fn read(&self) -> Result<Zeroizing<String>, Fault> {
        match self {
            Self::File(file) => read_secret(file).await,
            Self::Given(GivenSecret(secret)) => Ok(Zeroizing::clone(secret)),
        }
    }
}

impl GivenSecret {
    /// Takes it over; none for a text that is empty, or longer than 16 KiB.
    pub fn new(secret: String) -> Option<Self> {
        let secret = Zeroizing::new(secret);
        let fits = !secret.is_empty() && secret.len() as u64 <= SECRET_FILE_BYTES;
        fits.then(|| Self(Arc::new(secret)))
    }
}

impl fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenSecret")
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password",
            Self::Token { .. } => "Token",
            Self::Docker(_) => "Docker",
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Password(_) => "Password",
            Self::Bearer(_) => "Bearer",
            Self::Identity(_) => "Identity",
        })
    }
}

/// A name as it fits `Basic` (RFC 7617 §2: no colon, no control characters).
pub(super) fn is_username(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_control())
}

/// `Basic …` as a header that no log prints.
pub(super) fn basic(username: &str, password: &str) -> HeaderValue {
    let plain = Zeroizing::new(format!("{username}:{password}"));
    let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(plain.as_bytes())));
    let mut header = HeaderValue::from_str(&text).expect("base64 fits a header");
    header.set_sensitive(true);
    header
}

/// The file's text without the line end that editors add.
async fn read_secret(file: &Path) -> Result<Zeroizing<String>, Fault> {
    let mut text = Zeroizing::new(String::new());
    let read = async {
        let opened = tokio::fs::File::open(file).await?;
        opened.take(SECRET_FILE_BYTES + 1).read_to_string(&mut text).await
    };
    read.await.map_err(|source| Fault::CredentialFile(Arc::new(source)))?;
    if text.len() as u64 > SECRET_FILE_BYTES {
        return Err(credential_fault(io::ErrorKind::FileTooLarge, "longer than 16 KiB"));
    }
    let kept = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(kept);
    if text.is_empty() {
        return Err(credential_fault(io::ErrorKind::InvalidData, "empty"));
    }
    Ok(text)
}

fn credential_fault(kind: io::ErrorKind, what: &str) -> Fault {
    Fault::CredentialFile(Arc::new(io::Error::new(kind, what.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn header(credential: &Credential) -> Option<HeaderValue> {
        match credential.secret(&Budgets::default()).await.ok()? {
            Secret::Password(header) | Secret::Bearer(header) => Some(header),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn secrets_are_read_without_their_line_end_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "hunter2\n").unwrap();
        let password = Credential::Password { username: "u".into(), source: Source::File(file.clone()) };
        let found = header(&password).await.unwrap();
        assert_eq!(found, "Basic dTpodW50ZXIy");
        let token = Credential::Token { source: Source::File(file.clone()) };
        assert_eq!(header(&token).await.unwrap(), "Bearer hunter2");
        let secret = password.secret(&Budgets::default()).await.unwrap();
        assert!(!format!("{password:?}{token:?}{found:?}{secret:?}").contains("hunter2"), "a secret is printed");

        for unusable in [String::new(), "\n".into(), "x".repeat(SECRET_FILE_BYTES as usize + 1)] {
            std::fs::write(&file, unusable).unwrap();
            assert!(header(&password).await.is_none());
        }
        std::fs::write(&file, "x".repeat(SECRET_FILE_BYTES as usize)).unwrap();
        assert!(header(&password).await.is_some());
        std::fs::write(&file, "two\nlines").unwrap();
        assert!(header(&token).await.is_none());
        std::fs::remove_file(&file).unwrap();
        assert!(header(&token).await.is_none());
    }

    #[tokio::test]
    async fn a_secret_that_was_given_is_used_and_never_printed() {
        let given = GivenSecret::new("hunter2".into()).unwrap();
        let password = Credential::Password { username: "u".into(), source: Source::Given(given.clone()) };
        assert_eq!(header(&password).await.unwrap(), "Basic dTpodW50ZXIy");
        let token = Credential::Token { source: Source::Given(given.clone()) };
        assert_eq!(header(&token).await.unwrap(), "Bearer hunter2");
        assert!(!format!("{password:?}{token:?}{given:?}").contains("hunter2"), "a secret is printed");
        let limit = SECRET_FILE_BYTES as usize;
        assert!(GivenSecret::new("x".repeat(limit)).is_some());
        assert!(GivenSecret::new("x".repeat(limit + 1)).is_none() && GivenSecret::new(String::new()).is_none());
    }
}
