//! A public key that a signature may be checked with: of a kind that can be, strong enough, written in one way.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use sigstore_crypto::{VerificationKey, validate_raw_public_key};
use sigstore_types::DerPublicKey;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::{PublicKey as Parsed, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::algorithm::{Algorithm, named};
use super::pem::{self, PemFault};
use crate::case::Digest;

/// A public key, SPKI.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: DerPublicKey,
    algorithms: &'static [Algorithm],
}

/// Why something is no key that signatures are checked with.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// No PEM.
    #[error("it is no PEM text")]
    Pem(#[from] PemFault),
    /// Half of it is a secret.
    #[error("expected a `{PUBLIC_LABEL}` block, found `{label}`: a gateway needs no private key")]
    Private {
        /// The block's label.
        label: String,
    },
    /// Something else.
    #[error("expected one `{PUBLIC_LABEL}` block, found {found}")]
    NotPublic {
        /// The labels of the blocks.
        found: String,
    },
    /// A key whose signatures are not checked here.
    #[error("expected ECDSA on P-256 or P-384, RSA of 2048, 3072 or 4096 bits, or Ed25519, found {found}")]
    Unsupported {
        /// What it is.
        found: String,
    },
    /// Bytes that are no key, or a key that could be written in another way: its id would not be the only one.
    #[error("expected a public key in its one DER form, found {found}")]
    Encoding {
        /// What is wrong with them.
        found: String,
    },
    /// Anybody can sign for it.
    #[error("the key is weak: {why}")]
    Weak {
        /// Why.
        why: &'static str,
    },
    /// The key alone does not say.
    #[error("expected `algorithm` to say whether an Ed25519 key signs purely or prehashes, found none")]
    Ambiguous,
    /// The key says otherwise.
    #[error("expected `algorithm` to be {}, which the key is, found `{stated}`", named(possible))]
    OtherAlgorithm {
        /// What the settings say.
        stated: Algorithm,
        /// What the key may be.
        possible: &'static [Algorithm],
    },
}

impl KeyFault {
    /// The next thing to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Private { .. } => "write the public half with `witgate key show FILE > FILE.pub`, and name that file",
            Self::Ambiguous => {
                "write `algorithm = \"ed25519-ph\"` where cosign 3 signs with it, else `\"ed25519\"`; on the command line it is \
                 `--signing-algorithm`"
            }
            Self::OtherAlgorithm { .. } => "leave `algorithm` out, or name the key that was meant",
            Self::Unsupported { .. } | Self::Weak { .. } => {
                "sign with another key, for instance one of `cosign generate-key-pair`"
            }
            Self::Pem(_) | Self::NotPublic { .. } | Self::Encoding { .. } => {
                "write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`"
            }
        }
    }
}

impl PublicKey {
    /// Reads one `PUBLIC KEY` block; text around it is passed over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyFault> {
        let blocks = pem::blocks(pem, BLOCKS_MAX)?;
        if let Some(private) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) {
            return Err(KeyFault::Private { label: private.label.clone() });
        }
        match &blocks[..] {
            [block] if block.label == PUBLIC_LABEL => Self::from_spki(&block.bytes),
            blocks => {
                let labels = blocks.iter().map(|block| format!("`{}`", block.label)).collect::<Vec<_>>();
                Err(KeyFault::NotPublic { found: labels.join(", ") })
            }
        }
    }

    /// Reads a `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, KeyFault> {
        let encoding = |found: &str| KeyFault::Encoding { found: found.to_owned() };
        let Ok(([], parsed)) = SubjectPublicKeyInfo::from_der(der) else {
            return Err(encoding("bytes that are none"));
        };
        let algorithms = algorithms_of(&parsed)?;
        let raw = &*parsed.subject_public_key.data;
        if algorithms.contains(&Algorithm::Ed25519) {
            let point = <[u8; 32]>::try_from(raw).ok().and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
            if point.ok_or_else(|| encoding("an Ed25519 key that is no point"))?.is_weak() {
                return Err(KeyFault::Weak { why: "a point of small order" });
            }
        }
        // The verifier's own reading, which is DER to the letter: two ways to write one key would be two ids for it.
        let spki = DerPublicKey::new(der.to_vec());
        let key = VerificationKey::from_spki(&spki).map_err(|error| encoding(&error.to_string()))?;
        validate_raw_public_key(key.scheme(), raw).map_err(|error| encoding(&error.to_string()))?;
        Ok(Self { spki, algorithms })
    }

    /// SHA-256 of the SPKI DER: its id in findings and revocation lists.
    pub fn keyid(&self) -> Digest {
        Digest::of(self.spki.as_bytes())
    }

    /// What it may sign with: one algorithm, or the two of Ed25519.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        self.algorithms
    }

    /// SPKI PEM, as `cosign.pub`.
    pub fn to_pem(&self) -> String {
        pem::encode(PUBLIC_LABEL, self.spki.as_bytes())
    }

    pub(super) fn spki(&self) -> &DerPublicKey {
        &self.spki
    }

    /// What it signs with: as `stated`, or as the key itself says where it says one thing only.
    pub(super) fn algorithm(&self, stated: Option<Algorithm>) -> Result<Algorithm, KeyFault> {
        match (stated, self.algorithms) {
            (Some(stated), possible) if possible.contains(&stated) => Ok(stated),
            (Some(stated), possible) => Err(KeyFault::OtherAlgorithm { stated, possible }),
            (None, [only]) => Ok(*only),
            (None, _) => Err(KeyFault::Ambiguous),
        }
    }

    /// The point of an Ed25519 key.
    pub(super) fn ed25519(&self) -> Option<VerifyingKey> {
        let raw = self.spki.as_bytes().last_chunk::<32>()?;
        self.algorithms.contains(&Algorithm::Ed25519).then(|| VerifyingKey::from_bytes(raw).ok())?
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("algorithms", &self.algorithms).field("keyid", &self.keyid()).finish()
    }
}

fn algorithms_of(key: &SubjectPublicKeyInfo<'_>) -> Result<&'static [Algorithm], KeyFault> {
    let parameters = key.algorithm.parameters.as_ref();
    let oid = key.algorithm.algorithm.to_id_string();
    let unsupported = |found: String| Err(KeyFault::Unsupported { found });
    match (oid.as_str(), key.parsed()) {
        (RSA, Ok(Parsed::RSA(key))) => {
            if parameters.is_none_or(|parameters| parameters.header.tag() != x509_parser::asn1_rs::Tag::Null) {
                return Err(KeyFault::Encoding { found: "RSA without NULL parameters (RFC 3279, 2.3.1)".into() });
            }
            rsa(&key)
        }
        (EC, _) => {
            match parameters.and_then(|curve| Oid::try_from(curve.clone()).ok()).map(|curve| curve.to_id_string()) {
                Some(curve) if curve == P256 => Ok(&[Algorithm::EcdsaP256]),
                Some(curve) if curve == P384 => Ok(&[Algorithm::EcdsaP384]),
                Some(curve) if curve == P521 => unsupported("ECDSA on P-521".into()),
                Some(curve) => unsupported(format!("ECDSA on the curve `{curve}`")),
                None => unsupported("ECDSA on a curve without a name".into()),
            }
        }
        (ED25519, _) => Ok(&[Algorithm::Ed25519, Algorithm::Ed25519Ph]),
        _ => unsupported(format!("a key of the kind `{oid}`")),
    }
}

fn rsa(key: &RSAPublicKey<'_>) -> Result<&'static [Algorithm], KeyFault> {
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..).unwrap_or_default().to_vec()
    };
    let (modulus, exponent) = (number(key.modulus), number(key.exponent));
    // To the power of one, a signature is what everybody can write down.
    if exponent == [1] || exponent.last().is_none_or(|last| last % 2 == 0) {
        return Err(KeyFault::Weak { why: "an RSA exponent that is 1 or even" });
    }
    let bits = 8 * modulus.len() - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    match bits {
        2048 => Ok(&[Algorithm::Rsa2048]),
        3072 => Ok(&[Algorithm::Rsa3072]),
        4096 => Ok(&[Algorithm::Rsa4096]),
        bits => Err(KeyFault::Unsupported { found: format!("RSA of {bits} bits") }),
    }
}

/// The label of an SPKI in PEM (RFC 7468, 13).
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// How many blocks a key's file may have: openssl writes the parameters of a curve before a private key.
pub(super) const BLOCKS_MAX: usize = 4;

// Object identifiers (RFC 3279, 2.3; RFC 5480, 2.1.1.1; RFC 8410, 3).
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
const ED25519: &str = "1.3.101.112";
