//! A public key whose signatures on bundles are believed, for one algorithm.

use jsonwebtoken::DecodingKey;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::{PublicKey as Parsed, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::super::LoadError;
use super::fault::{BundleFault, KeyFault};
use super::folder::read_bytes;
use super::settings::{Algorithm, KeySettings};

/// A key of the settings, ready to verify.
pub(super) struct BundleKey {
    pub name: String,
    pub algorithm: Algorithm,
    pub scope: String,
    decoding: DecodingKey,
}

impl BundleKey {
    /// Reads the key called `name`.
    pub fn load(name: &str, settings: &KeySettings) -> Result<Self, LoadError> {
        let pem = read_bytes(&settings.file, MAX_KEY_BYTES)?;
        let decoding =
            decoding(&pem, settings.algorithm).map_err(|fault| BundleFault::Key { name: name.to_owned(), fault })?;
        Ok(Self { name: name.to_owned(), algorithm: settings.algorithm, scope: settings.scope.clone(), decoding })
    }

    /// Whether `signature`, base64url, is this key's on `message`.
    pub fn verifies(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm.into())
            .unwrap_or(false)
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::ES256,
            Algorithm::Es384 => Self::ES384,
            Algorithm::Rs256 => Self::RS256,
            Algorithm::Ps256 => Self::PS256,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// The key of an SPKI (RFC 5280, 4.1.2.7) in PEM, which has to be of the algorithm's kind.
fn decoding(pem: &[u8], algorithm: Algorithm) -> Result<DecodingKey, KeyFault> {
    let form = |found: &str| KeyFault::Form { expected: "one public key as SPKI PEM", found: found.into() };
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| form("no block `PUBLIC KEY`"))?;
    let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(&spki) else { return Err(form("bytes that are none")) };
    let raw = &*spki.subject_public_key.data;
    let oid = spki.algorithm.algorithm.to_id_string();
    let curve = spki.algorithm.parameters.as_ref().and_then(|curve| Oid::try_from(curve.clone()).ok());
    let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
    let other = |found: String| KeyFault::Other { algorithm, found };
    match (algorithm, oid.as_str(), curve.as_str()) {
        // 0x04: the point uncompressed (SEC 1, 2.3.3).
        (Algorithm::Es256, EC, P256) if raw.len() == 65 && raw[0] == 4 => Ok(DecodingKey::from_ec_der(raw)),
        (Algorithm::Es384, EC, P384) if raw.len() == 97 && raw[0] == 4 => Ok(DecodingKey::from_ec_der(raw)),
        (Algorithm::EdDsa, ED25519, "") => {
            let point = <[u8; 32]>::try_from(raw).ok();
            let point = point.and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok());
            // One of small order would take signatures that nobody made.
            let point = point.filter(|point| !point.is_weak()).ok_or_else(|| form("a point that is no key"))?;
            Ok(DecodingKey::from_ed_der(point.as_bytes()))
        }
        (Algorithm::Rs256 | Algorithm::Ps256, RSA, _) => match spki.parsed() {
            Ok(Parsed::RSA(key)) => rsa(&key).map_err(other),
            _ => Err(form("an RSA key that is none")),
        },
        (_, EC, P256) => Err(other("ECDSA on P-256".into())),
        (_, EC, P384) => Err(other("ECDSA on P-384".into())),
        (_, EC, curve) => Err(other(format!("ECDSA on the curve `{curve}`"))),
        (_, ED25519, _) => Err(other("Ed25519".into())),
        (_, RSA, _) => Err(other("RSA".into())),
        (_, oid, _) => Err(other(format!("a key of the kind `{oid}`"))),
    }
}

fn rsa(key: &RSAPublicKey<'_>) -> Result<DecodingKey, String> {
    let number = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    let (modulus, exponent) = (number(key.modulus), number(key.exponent));
    // To the power of one, a signature is what everybody can write down.
    if exponent == [1] || exponent.last().is_none_or(|last| last % 2 == 0) {
        return Err("an RSA exponent that is 1 or even".into());
    }
    let bits = (modulus.len() * 8).saturating_sub(modulus.first().map_or(0, |first| first.leading_zeros() as usize));
    if !RSA_BITS.contains(&bits) {
        return Err(format!("RSA of {bits} bits"));
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// A file with a key, in bytes; RSA of 4096 bits takes 800.
pub(super) const MAX_KEY_BYTES: usize = 16 << 10;
/// What RSA is taken with (NIST SP 800-131A; the verifier's own limit).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

// Object identifiers (RFC 3279, 2.3; RFC 5480, 2.1.1.1; RFC 8410, 3).
pub(super) const RSA: &str = "1.2.840.113549.1.1.1";
pub(super) const EC: &str = "1.2.840.10045.2.1";
pub(super) const P256: &str = "1.2.840.10045.3.1.7";
pub(super) const P384: &str = "1.3.132.0.34";
pub(super) const ED25519: &str = "1.3.101.112";
