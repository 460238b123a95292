//! Signing a bundle: every file with its hash in one token, written where OPA looks for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use x509_parser::asn1_rs::{Any, OctetString, Sequence, ToDer as _};
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AlgorithmIdentifier;
use zeroize::Zeroizing;

use super::super::LoadError;
use super::archive::{self, Files, SIGNATURES};
use super::contents;
use super::fault::{BundleFault, KeyFault};
use super::key::{EC, ED25519, P256, P384, RSA};
use super::settings::Algorithm;
use super::signature::{SHA256, hash};

/// A private key with what its signatures say.
pub struct Signer {
    encoding: EncodingKey,
    algorithm: Algorithm,
    key_id: Option<String>,
    scope: Option<String>,
}

impl Signer {
    /// Reads a private key in PEM: PKCS #8, or what `openssl` writes for RSA and ECDSA alone.
    ///
    /// Without `algorithm` the key says it: RS256, ES256, ES384 or EdDSA.
    ///
    /// # Errors
    /// A key that is none, or none for `algorithm`; `file` names it.
    pub fn from_pem(file: &str, pem: &[u8], algorithm: Option<Algorithm>) -> Result<Self, LoadError> {
        let (encoding, algorithm) =
            read(pem, algorithm).map_err(|fault| BundleFault::Key { name: file.to_owned(), fault })?;
        Ok(Self { encoding, algorithm, key_id: None, scope: None })
    }

    /// With the name that verifiers know the key by.
    #[must_use]
    pub fn with_key_id(mut self, key_id: Option<String>) -> Self {
        self.key_id = key_id;
        self
    }

    /// With what the signature is for.
    #[must_use]
    pub fn with_scope(mut self, scope: Option<String>) -> Self {
        self.scope = scope;
        self
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The archive with a signature in place of the one it may have had.
    ///
    /// # Errors
    /// An archive that is no bundle.
    pub fn sign(&self, archive_bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        let mut files = archive::unpack(archive_bytes)?;
        files.remove(SIGNATURES);
        contents::read(files.clone(), "bundle".into())?;
        let signatures = self.signatures(&files)?;
        files.insert(SIGNATURES.into(), signatures);
        archive::pack(&files)
    }

    /// `.signatures.json` for `files`.
    pub(super) fn signatures(&self, files: &Files) -> Result<Vec<u8>, LoadError> {
        let mut listed = Vec::new();
        for (name, bytes) in files {
            let hash = hash(name, bytes, SHA256).map_err(|fault| LoadError::Bundle(fault.into()))?;
            listed.push(json!({"name": name, "hash": hash, "algorithm": SHA256}));
        }
        let mut claims = Map::from_iter([("files".to_owned(), Value::Array(listed))]);
        let mut header = Map::from_iter([
            ("alg".to_owned(), Value::from(self.algorithm.as_str())),
            ("typ".to_owned(), Value::from("JWT")),
        ]);
        // OPA looks for it in the header, older ones among the claims.
        if let Some(key_id) = &self.key_id {
            header.insert("kid".into(), key_id.as_str().into());
            claims.insert("keyid".into(), key_id.as_str().into());
        }
        if let Some(scope) = &self.scope {
            claims.insert("scope".into(), scope.as_str().into());
        }
        let part = |part: Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(part).to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.try_sign(&message).map_err(|found| BundleFault::Key {
            name: self.key_id.clone().unwrap_or_default(),
            fault: KeyFault::Form { expected: "a key that can sign", found },
        })?;
        let signatures = json!({"signatures": [format!("{message}.{signature}")]});
        Ok((serde_json::to_string_pretty(&signatures).expect("texts are JSON") + "\n").into_bytes())
    }

    fn try_sign(&self, message: &str) -> Result<String, String> {
        jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, self.algorithm.into())
            .map_err(|error| error.to_string())
    }

    /// The signature of any text, for tests that forge.
    #[cfg(test)]
    pub(super) fn sign_text(&self, message: &str) -> String {
        self.try_sign(message).expect("the key signs")
    }
}

fn read(pem: &[u8], stated: Option<Algorithm>) -> Result<(EncodingKey, Algorithm), KeyFault> {
    let form = |found: &str| KeyFault::Form { expected: "one private key in PEM, not encrypted", found: found.into() };
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| form("no block `PRIVATE KEY`"))?;
    let kind = match &key {
        PrivateKeyDer::Pkcs1(_) => Kind::Rsa,
        PrivateKeyDer::Sec1(der) => {
            sec1_kind(der.secret_sec1_der()).ok_or_else(|| form("an ECDSA key that is none"))?
        }
        PrivateKeyDer::Pkcs8(der) => {
            pkcs8(der.secret_pkcs8_der()).ok_or_else(|| form("bytes that are none, or of another kind"))?.0
        }
        _ => return Err(form("one of another kind")),
    };
    let algorithm = stated.unwrap_or(kind.algorithms()[0]);
    if !kind.algorithms().contains(&algorithm) {
        return Err(KeyFault::Other { algorithm, found: kind.shown().into() });
    }
    let encoding = match (&key, kind) {
        (PrivateKeyDer::Pkcs1(der), _) => EncodingKey::from_rsa_der(der.secret_pkcs1_der()),
        (PrivateKeyDer::Sec1(der), kind) => EncodingKey::from_ec_der(&sec1_as_pkcs8(der.secret_sec1_der(), kind)),
        (PrivateKeyDer::Pkcs8(der), Kind::Rsa) => {
            let (_, inner) = pkcs8(der.secret_pkcs8_der()).ok_or_else(|| form("bytes that are none"))?;
            EncodingKey::from_rsa_der(&inner)
        }
        (PrivateKeyDer::Pkcs8(der), Kind::Ed25519) => EncodingKey::from_ed_der(der.secret_pkcs8_der()),
        (PrivateKeyDer::Pkcs8(der), _) => EncodingKey::from_ec_der(der.secret_pkcs8_der()),
        _ => return Err(form("one of another kind")),
    };
    Ok((encoding, algorithm))
}

#[derive(Clone, Copy)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    /// What it can sign with, first what it signs with when nothing is said.
    fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Rsa => &[Algorithm::Rs256, Algorithm::Ps256],
            Self::P256 => &[Algorithm::Es256],
            Self::P384 => &[Algorithm::Es384],
            Self::Ed25519 => &[Algorithm::EdDsa],
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 => "ECDSA on P-256",
            Self::P384 => "ECDSA on P-384",
            Self::Ed25519 => "Ed25519",
        }
    }
}

/// The kind of a PKCS #8 key (RFC 5208, 5) with what it wraps.
fn pkcs8(der: &[u8]) -> Option<(Kind, Zeroizing<Vec<u8>>)> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Any::from_der(&sequence.content).ok()?;
    let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
    let (_, inner) = OctetString::from_der(rest).ok()?;
    let curve = algorithm.parameters.as_ref().and_then(|curve| Oid::try_from(curve.clone()).ok());
    let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
    let kind = match (algorithm.algorithm.to_id_string().as_str(), curve.as_str()) {
        (RSA, _) => Kind::Rsa,
        (EC, P256) => Kind::P256,
        (EC, P384) => Kind::P384,
        (ED25519, _) => Kind::Ed25519,
        _ => return None,
    };
    Some((kind, Zeroizing::new(inner.into_cow().into_owned())))
}

/// The curve of an ECDSA key (RFC 5915, 3) by the width of its number.
fn sec1_kind(der: &[u8]) -> Option<Kind> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Any::from_der(&sequence.content).ok()?;
    let (_, number) = OctetString::from_der(rest).ok()?;
    match number.as_cow().len() {
        32 => Some(Kind::P256),
        48 => Some(Kind::P384),
        _ => None,
    }
}

/// PKCS #8 around it, which is all that the signer reads.
fn sec1_as_pkcs8(der: &[u8], kind: Kind) -> Zeroizing<Vec<u8>> {
    let curve = if matches!(kind, Kind::P384) { P384_DER } else { P256_DER };
    let inner = OctetString::new(der).to_der_vec().expect("a vector takes all");
    let content = Zeroizing::new([&[2, 1, 0], curve, inner.as_slice()].concat());
    Zeroizing::new(Sequence::new(content.as_slice().into()).to_der_vec().expect("a vector takes all"))
}

/// `AlgorithmIdentifier` of ECDSA on P-256 (RFC 5480, 2.1.1).
const P256_DER: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// `AlgorithmIdentifier` of ECDSA on P-384.
const P384_DER: &[u8] =
    &[0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
