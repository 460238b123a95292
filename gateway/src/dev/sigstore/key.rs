//! A key that signs artifacts, with the names that Rekor gives its kind.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _, SigningKey as _,
};

use super::request::{Knob, Knobs};

/// A private key in memory.
pub(super) struct SignerKey {
    pair: KeyPair,
    details: &'static str,
}

impl SignerKey {
    /// A P-256 key, unless a knob says otherwise.
    pub(super) fn generate(knobs: &Knobs) -> Result<Self> {
        let (algorithm, details) = if knobs.has(Knob::P384Signer) {
            (&PKCS_ECDSA_P384_SHA384, "PKIX_ECDSA_P384_SHA_384")
        } else if knobs.has(Knob::Ed25519Signer) {
            (&PKCS_ED25519, "PKIX_ED25519")
        } else {
            (&PKCS_ECDSA_P256_SHA256, "PKIX_ECDSA_P256_SHA_256")
        };
        Ok(Self { pair: KeyPair::generate_for(algorithm)?, details })
    }

    /// The key as rcgen takes it.
    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// Signs `message`; ECDSA signatures are DER.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(self.pair.sign(message)?)
    }

    /// The public key, SPKI DER.
    pub(super) fn public_key(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// `PublicKeyDetails` (sigstore/protobuf-specs `sigstore_common.proto`).
    pub(super) fn details(&self) -> &'static str {
        self.details
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
        Ok(Self(SignerKey::generate(&Knobs::none())?))
    }

    /// A fresh Ed25519 key.
    ///
    /// # Errors
    /// When the machine gives no random bytes.
    pub fn generate_ed25519() -> Result<Self> {
        Ok(Self(SignerKey::generate(&Knob::Ed25519Signer.into())?))
    }

    /// The public key: what `cosign.pub` holds, `-----BEGIN PUBLIC KEY-----`.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.0.public_key())
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

/// `bytes` in PEM (RFC 7468).
pub(super) fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}
