//! A digest in one of the two algorithms that image-spec registers.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha512};

use crate::case::Digest;

/// A digest as OCI writes it: `sha256:<64 hex>` or `sha512:<128 hex>` (image-spec, "Registered algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentDigest {
    /// SHA-256, what every client uses unless told otherwise.
    Sha256(Digest),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl ContentDigest {
    /// SHA-256 over `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::Sha256(Digest::of(bytes))
    }

    /// SHA-512 over `bytes`.
    pub fn sha512(bytes: &[u8]) -> Self {
        Self::Sha512(Sha512::digest(bytes).into())
    }

    /// Whether `bytes` hash to this digest.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Sha256(_) => *self == Self::sha256(bytes),
            Self::Sha512(_) => *self == Self::sha512(bytes),
        }
    }
}

impl From<Digest> for ContentDigest {
    fn from(digest: Digest) -> Self {
        Self::Sha256(digest)
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(f),
            Self::Sha512(bytes) => write!(f, "sha512:{}", hex::encode(bytes)),
        }
    }
}

/// The text is no digest of a registered algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest is not `sha256:` with 64 or `sha512:` with 128 lower-case hex digits")]
pub struct ContentDigestError;

impl FromStr for ContentDigest {
    type Err = ContentDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(digits) = text.strip_prefix("sha512:") else {
            return text.parse().map(Self::Sha256).map_err(|_| ContentDigestError);
        };
        let mut bytes = [0; 64];
        let lower = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) if lower => Ok(Self::Sha512(bytes)),
            _ => Err(ContentDigestError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_parsed_digest_gives_the_same_text_in_both_algorithms() {
        for digest in [ContentDigest::sha256(b"x"), ContentDigest::sha512(b"x")] {
            assert_eq!(digest.to_string().parse(), Ok(digest));
            assert!(digest.is_of(b"x") && !digest.is_of(b"y"));
            assert_eq!(digest.to_string().to_uppercase().parse::<ContentDigest>(), Err(ContentDigestError));
        }
        for text in ["sha256:baddigeststring", "sha512:ab", "md5:00", "", "sha512:"] {
            assert_eq!(text.parse::<ContentDigest>(), Err(ContentDigestError), "`{text}` was taken");
        }
    }
}
