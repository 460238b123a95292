//! One bundle against one trusted root: what a conformance client and an offline check ask.

use super::algorithm::Algorithm;
use super::by_certificate::by_certificate;
use super::by_key::by_key;
use super::checks::Checks;
use super::claim::{Claim, Versions};
use super::demands::{Demands, LogDemand};
use super::key::Key;
use super::public_key::KeyFault;
use super::rejection::{Fault, Rejection};
use super::root::Root;
use super::start_error::StartError;
use super::verify::{About, Verified};
use crate::case::{Digest, Signer, Timestamp};
use crate::outage::Outage;
use crate::reason::Code;

/// What the bundle has to be about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Whatever has this digest; signatures over messages by Ed25519 keys cannot be checked so.
    Digest(Digest),
}

/// Who has to have signed.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// A certificate for exactly this identity by exactly this OIDC issuer.
    Identity {
        /// The subject alternative name.
        san: &'a str,
        /// The OIDC issuer.
        issuer: &'a str,
    },
    /// This key, SPKI PEM.
    Key {
        /// The PEM text.
        pem: &'a str,
        /// What it signs with, as in `[[evidence.keys]]`.
        algorithm: Option<Algorithm>,
    },
}

/// Why there is no yes.
#[derive(Debug, thiserror::Error)]
pub enum OneBundleError {
    /// The trusted root cannot be used.
    #[error("cannot use what the bundle is to be checked against")]
    Trust(#[from] StartError),
    /// The key is none that signatures are checked with.
    #[error("the key cannot be used")]
    Key(#[source] KeyFault),
    /// The bundle does not verify.
    #[error("the bundle does not verify")]
    Rejected(#[source] Rejection),
    /// We could not look at it.
    #[error("the bundle could not be checked")]
    Outage(#[source] Outage),
}

/// Verifies one bundle of any version (v0.1 to v0.3) and says when the signature is known to have existed.
///
/// The gateway's own path takes v0.3 with an inclusion proof on each entry only; this one is below that rule, as the
/// conformance vectors hold good bundles of older versions.
///
/// # Errors
/// Anything but a full verification: certificate, SCT, log and identity, or log and key.
pub fn verify_bundle(
    trusted_root_json: &[u8],
    bundle: &[u8],
    subject: Subject<'_>,
    expected: Expected<'_>,
) -> Result<Vec<Timestamp>, OneBundleError> {
    let root = Root::parse("trusted-root", trusted_root_json, Timestamp::UNIX_EPOCH, u64::MAX, Demands::default())?;
    let about = match subject {
        Subject::Bytes(bytes) => About { digest: Digest::of(bytes), bytes: Some(bytes) },
        Subject::Digest(digest) => About { digest, bytes: None },
    };
    let claim = Claim::read(bundle, Versions::Any).map_err(OneBundleError::Rejected)?;
    let mut checks = Checks::default();
    let verified = match expected {
        Expected::Identity { san, issuer } => {
            by_certificate([root].iter(), about, claim, &mut checks).and_then(|verified| by_whom(verified, san, issuer))
        }
        Expected::Key { pem, algorithm } => {
            let key = Key::parse("key", pem.as_bytes(), algorithm, LogDemand::Required).map_err(OneBundleError::Key)?;
            by_key(&[root], &[key], "", about, claim, &mut checks)
        }
    };
    match verified {
        Ok(verified) => Ok(verified.times().to_vec()),
        Err(Fault::Candidate(rejection)) => Err(OneBundleError::Rejected(rejection)),
        Err(Fault::Ours(outage)) => Err(OneBundleError::Outage(outage)),
    }
}

fn by_whom(verified: Verified, expected_san: &str, expected_issuer: &str) -> Result<Verified, Fault> {
    match verified.signer() {
        Signer::Keyless { issuer, .. } if issuer != expected_issuer => {
            let found = format!("`{issuer}`");
            Err(Rejection::mismatch(Code::ISSUER_MISMATCH, format!("`{expected_issuer}`"), found).into())
        }
        Signer::Keyless { san, .. } if san.value != expected_san => {
            let found = format!("`{}`", san.value);
            Err(Rejection::mismatch(Code::IDENTITY_MISMATCH, format!("`{expected_san}`"), found).into())
        }
        Signer::Keyless { .. } => Ok(verified),
        _ => {
            Err(Rejection::mismatch(Code::KEY_NOT_TRUSTED, "a certificate of an OIDC identity", "another signer")
                .into())
        }
    }
}
