//! What a managed key signs with, by the names of cosign's `--signing-algorithm`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use sigstore_types::HashAlgorithm;

/// An algorithm of a managed key (sigstore/protobuf-specs `PublicKeyDetails`).
///
/// ```
/// use witgate::evidence::Algorithm;
///
/// let algorithm: Algorithm = "ecdsa-sha2-256-nistp256".parse().unwrap();
/// assert_eq!(algorithm.to_string(), "ecdsa-sha2-256-nistp256");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384,
    /// RSA with 2048 bits, PKCS #1 v1.5, SHA-256.
    Rsa2048,
    /// RSA with 3072 bits, PKCS #1 v1.5, SHA-256.
    Rsa3072,
    /// RSA with 4096 bits, PKCS #1 v1.5, SHA-256.
    Rsa4096,
    /// Pure Ed25519 (RFC 8032, 5.1), for statements and messages.
    Ed25519,
    /// Ed25519ph (RFC 8032, 5.1) with an empty context for messages, either form for statements.
    Ed25519Ph,
}

impl Algorithm {
    /// All of them, in the order in which messages name them.
    pub const ALL: [Self; 7] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::Ed25519, Self::Ed25519Ph];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-sha2-256-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-384-nistp384",
            Self::Rsa2048 => "rsa-sign-pkcs1-2048-sha256",
            Self::Rsa3072 => "rsa-sign-pkcs1-3072-sha256",
            Self::Rsa4096 => "rsa-sign-pkcs1-4096-sha256",
            Self::Ed25519 => "ed25519",
            Self::Ed25519Ph => "ed25519-ph",
        }
    }

    /// The hash that a message is signed by; pure Ed25519 takes the message itself.
    pub(super) fn hash(self) -> Option<HashAlgorithm> {
        match self {
            Self::EcdsaP256 | Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => Some(HashAlgorithm::Sha2256),
            Self::EcdsaP384 => Some(HashAlgorithm::Sha2384),
            Self::Ed25519 => None,
            Self::Ed25519Ph => Some(HashAlgorithm::Sha2512),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no algorithm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no signing algorithm, expected one of {}", named(&Algorithm::ALL))]
pub struct UnknownAlgorithm {
    /// What was given.
    pub found: String,
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| UnknownAlgorithm { found: super::rejection::printable(text) })
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The names of `algorithms`, for a message.
pub(super) fn named(algorithms: &[Algorithm]) -> String {
    algorithms.iter().map(|algorithm| format!("`{algorithm}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_one_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        for text in ["", "ED25519", "ed25519ph", "ecdsa-sha2-512-nistp521", "rsa-sign-pkcs1-8192-sha256", "ed25519 "] {
            assert_eq!(text.parse::<Algorithm>().unwrap_err().found, text);
        }
        insta::assert_snapshot!("ecdsa-sha2-512-nistp521".parse::<Algorithm>().unwrap_err(), @"`ecdsa-sha2-512-nistp521` is no signing algorithm, expected one of `ecdsa-sha2-256-nistp256`, `ecdsa-sha2-384-nistp384`, `rsa-sign-pkcs1-2048-sha256`, `rsa-sign-pkcs1-3072-sha256`, `rsa-sign-pkcs1-4096-sha256`, `ed25519`, `ed25519-ph`");
    }
}
