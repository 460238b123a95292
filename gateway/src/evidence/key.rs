//! One managed key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sigstore_crypto::{KeyAlgorithm, VerificationKey};
use sigstore_types::DerPublicKey;
use sigstore_verify::PublicKeyVerificationPolicy;

use super::document::read;
use super::limits::KEY_BYTES_MAX;
use super::settings::KeySettings;
use super::start_error::StartError;
use crate::case::Digest;

/// One managed key.
#[derive(Clone)]
pub(super) struct Key {
    name: String,
    digest: Digest,
    policy: PublicKeyVerificationPolicy,
}

impl Key {
    pub(super) fn load(settings: &KeySettings) -> Result<Self, StartError> {
        let (pem, _) = read(&settings.name, &settings.pem, KEY_BYTES_MAX)?;
        Self::parse(&settings.name, &pem)
    }

    pub(super) fn parse(name: &str, pem: &[u8]) -> Result<Self, StartError> {
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Key { name: name.into(), source };
        let pem = std::str::from_utf8(pem).map_err(|error| unusable(error.into()))?;
        let key = DerPublicKey::from_pem(pem).map_err(|error| unusable(error.into()))?;
        let algorithm = KeyAlgorithm::from_spki(&key).map_err(|error| unusable(error.into()))?;
        VerificationKey::from_spki_with_scheme(&key, algorithm.default_signing_scheme())
            .map_err(|error| unusable(error.into()))?;
        let digest = Digest::of(key.as_bytes());
        Ok(Self { name: name.into(), digest, policy: PublicKeyVerificationPolicy::new(key) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the SPKI DER.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn policy(&self) -> &PublicKeyVerificationPolicy {
        &self.policy
    }

    /// Whether a bundle's hint points at this key. For the order of trying: a hint is not signed.
    pub(super) fn is_hinted_by(&self, hint: &str) -> bool {
        hint == STANDARD.encode(self.digest.as_bytes()) || hint == self.digest.hex()
    }
}
