//! One managed key, with what its settings ask of its signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sigstore_verify::PublicKeyVerificationPolicy;

use super::algorithm::Algorithm;
use super::demands::LogDemand;
use super::document::read;
use super::limits::KEY_BYTES_MAX;
use super::public_key::{KeyFault, PublicKey};
use super::settings::{KeySettings, PemSource};
use super::start_error::StartError;
use crate::case::{Digest, Waiver};

/// One managed key.
#[derive(Clone)]
pub(super) struct Key {
    name: String,
    digest: Digest,
    public: PublicKey,
    algorithm: Algorithm,
    stated: Option<Algorithm>,
    log: LogDemand,
    policy: PublicKeyVerificationPolicy,
}

impl Key {
    pub(super) fn load(settings: &KeySettings) -> Result<Self, StartError> {
        let (pem, path) = match &settings.pem {
            PemSource::File(path) => (read(&settings.name, path, KEY_BYTES_MAX)?.0, Some(path.clone())),
            PemSource::Inline(inline) => (inline.text.clone().into_bytes(), None),
        };
        Self::parse(&settings.name, &pem, settings.algorithm, settings.transparency_log)
            .map_err(|source| StartError::Key { name: settings.name.clone(), path, source })
    }

    pub(super) fn parse(name: &str, pem: &[u8], stated: Option<Algorithm>, log: LogDemand) -> Result<Self, KeyFault> {
        let public = PublicKey::from_pem(pem)?;
        let algorithm = public.algorithm(stated)?;
        let (digest, policy) = (public.keyid(), PublicKeyVerificationPolicy::new(public.spki().clone()));
        Ok(Self { name: name.into(), digest, public, algorithm, stated, log, policy })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the SPKI DER.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The algorithm, where the settings name it.
    pub(super) fn stated(&self) -> Option<Algorithm> {
        self.stated
    }

    /// Whether what it signed counts only with an entry in a log.
    pub(super) fn needs_log(&self) -> bool {
        self.log == LogDemand::Required
    }

    /// What its settings do not ask.
    pub(super) fn waived(&self) -> Vec<Waiver> {
        if self.needs_log() { Vec::new() } else { vec![Waiver::TransparencyLog] }
    }

    /// How the verifier of bundles checks it, entries included.
    pub(super) fn policy(&self) -> &PublicKeyVerificationPolicy {
        &self.policy
    }

    /// Whether a bundle's hint points at this key. For the order of trying: a hint is not signed.
    pub(super) fn is_hinted_by(&self, hint: &str) -> bool {
        hint == STANDARD.encode(self.digest.as_bytes()) || hint == self.digest.hex()
    }
}
