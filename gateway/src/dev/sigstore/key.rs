//! A key that signs artifacts, with the names that Rekor and cosign give its kind.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PKCS_RSA_SHA384,
    PublicKeyData as _, RsaKeySize, SigningKey as _,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use sha2::{Digest as _, Sha512};

use super::request::{Knob, Knobs};

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// RSA with 2048 bits, PKCS #1 v1.5, SHA-256.
    Rsa2048,
    /// Pure Ed25519.
    Ed25519,
    /// Ed25519, whose messages are signed as Ed25519ph with an empty context; statements purely, unless a knob says otherwise.
    Ed25519Ph,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::P256, Self::P384, Self::Rsa2048, Self::Ed25519, Self::Ed25519Ph];

    /// The name that cosign gives it (`--signing-algorithm`).
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-sha2-256-nistp256",
            Self::P384 => "ecdsa-sha2-384-nistp384",
            Self::Rsa2048 => "rsa-sign-pkcs1-2048-sha256",
            Self::Ed25519 => "ed25519",
            Self::Ed25519Ph => "ed25519-ph",
        }
    }

    /// `PublicKeyDetails` (sigstore/protobuf-specs `sigstore_common.proto`).
    pub(super) fn details(self) -> &'static str {
        match self {
            Self::P256 => "PKIX_ECDSA_P256_SHA_256",
            Self::P384 => "PKIX_ECDSA_P384_SHA_384",
            Self::Rsa2048 => "PKIX_RSA_PKCS1V15_2048_SHA256",
            Self::Ed25519 => "PKIX_ED25519",
            Self::Ed25519Ph => "PKIX_ED25519_PH",
        }
    }
}

/// A private key in memory.
pub(super) struct SignerKey {
    pair: KeyPair,
    kind: KeyKind,
    /// The same key, for what rcgen does not sign.
    prehashing: Option<SigningKey>,
}

impl SignerKey {
    /// A P-256 key, unless a knob says otherwise.
    pub(super) fn generate(knobs: &Knobs) -> Result<Self> {
        Self::of(if knobs.has(Knob::P384Signer) {
            KeyKind::P384
        } else if knobs.has(Knob::RsaSigner) {
            KeyKind::Rsa2048
        } else if knobs.has(Knob::Ed25519Signer) {
            KeyKind::Ed25519
        } else {
            KeyKind::P256
        })
    }

    /// A fresh key.
    pub(super) fn of(kind: KeyKind) -> Result<Self> {
        let (pair, prehashing) = match kind {
            KeyKind::P256 => (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, None),
            KeyKind::P384 => (KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?, None),
            KeyKind::Rsa2048 => (KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?, None),
            KeyKind::Ed25519 => (KeyPair::generate_for(&PKCS_ED25519)?, None),
            KeyKind::Ed25519Ph => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).context("asking the system for random bytes")?;
                let pkcs8 = [PKCS8_ED25519, &seed].concat();
                let pair = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_ED25519)?;
                (pair, Some(SigningKey::from_bytes(&seed)))
            }
        };
        Ok(Self { pair, kind, prehashing })
    }

    /// The key as rcgen takes it.
    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(super) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Signs `bytes` of an envelope, or of anything that is no message; ECDSA signatures are DER.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(self.pair.sign(bytes)?)
    }

    /// Signs a message, as the key's kind says.
    pub(super) fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>> {
        match &self.prehashing {
            Some(key) => Ok(key.sign_prehashed(Sha512::new().chain_update(message), None)?.to_vec()),
            None => self.sign(message),
        }
    }

    /// Signs a message hashed with SHA-384, which an RSA key can do as well.
    pub(super) fn sign_sha384(&self, message: &[u8]) -> Result<Vec<u8>> {
        let pkcs8 = PrivatePkcs8KeyDer::from(self.pair.serialized_der());
        Ok(KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_RSA_SHA384)?.sign(message)?)
    }

    /// The public key, SPKI DER.
    pub(super) fn public_key(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }
}

/// A key that an organisation keeps by itself, without certificates.
pub struct ManagedKey(SignerKey);

impl ManagedKey {
    /// A fresh ECDSA P-256 key.
    ///
    /// # Errors
    /// When the machine gives no random bytes.
    pub fn generate() -> Result<Self> {
        Self::of(KeyKind::P256)
    }

    /// A fresh key of this kind.
    ///
    /// # Errors
    /// When the machine gives no random bytes.
    pub fn of(kind: KeyKind) -> Result<Self> {
        Ok(Self(SignerKey::of(kind)?))
    }

    /// What it signs with.
    pub fn kind(&self) -> KeyKind {
        self.0.kind()
    }

    /// The public key: what `cosign.pub` holds, `-----BEGIN PUBLIC KEY-----`.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.0.public_key())
    }

    /// The private key, PKCS #8 PEM: fit for tests alone.
    pub fn private_pem(&self) -> String {
        pem("PRIVATE KEY", self.0.pair().serialized_der())
    }

    /// Signs `message` and tells nobody; ECDSA signatures are DER over SHA-256.
    ///
    /// # Errors
    /// When the signature cannot be made.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.0.sign(message)
    }

    pub(super) fn signer(&self) -> &SignerKey {
        &self.0
    }
}

impl std::fmt::Debug for ManagedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ManagedKey").field(&self.public_pem()).finish()
    }
}

/// What stands before the seed in PKCS #8 version 1 (RFC 8410, 7).
const PKCS8_ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// `bytes` in PEM (RFC 7468).
pub(super) fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}
