//! A key's signature by itself, over a statement or a message, without anything around it.

use ed25519_dalek::Signature;
use sha2::{Digest as _, Sha512};
use sigstore_crypto::{KeyAlgorithm, sha256, sha384, sha512, verify_signature};
use sigstore_types::{DsseEnvelope, HashAlgorithm, MessageSignature, SignatureBytes, SignatureContent};

use super::algorithm::Algorithm;
use super::claim::Claim;
use super::public_key::PublicKey;
use super::rejection::Rejection;
use super::verify::About;
use crate::reason::Code;

/// What may be checked without knowing whose it is: a statement, or a message whose bytes are there.
pub(super) enum Bare<'a> {
    Statement(&'a DsseEnvelope),
    Message { signature: &'a MessageSignature, bytes: &'a [u8] },
}

impl<'a> Bare<'a> {
    /// Reads it out of a claim; a message whose digest is another one's is refused.
    pub(super) fn of(claim: &'a Claim, about: About<'a>) -> Result<Self, Rejection> {
        match (&claim.bundle.content, about.bytes) {
            (SignatureContent::DsseEnvelope(envelope), _) => Ok(Self::Statement(envelope)),
            (SignatureContent::MessageSignature(signature), Some(bytes)) => {
                if let Some(claimed) = &signature.message_digest
                    && claimed.digest != digest(claimed.algorithm, bytes)?
                {
                    let expected = format!("the subject `{}`", about.digest);
                    let found = format!("`{}` by {}", hex::encode(claimed.digest.as_bytes()), claimed.algorithm);
                    return Err(Rejection::mismatch(Code::SUBJECT_MISMATCH, expected, found));
                }
                Ok(Self::Message { signature, bytes })
            }
            (SignatureContent::MessageSignature(_), None) => {
                let detail = "a message's signature without a log entry is checked with the message's bytes only";
                Err(Rejection::new(Code::BUNDLE_UNSUPPORTED, detail))
            }
            _ => Err(Rejection::new(Code::BUNDLE_UNSUPPORTED, "the bundle holds neither a statement nor a message")),
        }
    }

    /// Whether `key` signed it with `algorithm`.
    ///
    /// A key that prehashes may sign a statement in either form: cosign 3 prehashes statements, sigstore-go and others sign them
    /// purely. RFC 8032 keeps the two apart, so that a signature of the one form is never one of the other.
    pub(super) fn is_by(&self, key: &PublicKey, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (Self::Message { .. }, Algorithm::Ed25519Ph) => self.is_prehashed_by(key),
            (Self::Statement(_), Algorithm::Ed25519Ph) => self.is_prehashed_by(key) || self.verifies(key, None),
            (Self::Message { signature, .. }, _) => {
                let claimed = signature.message_digest.as_ref().map(|digest| digest.algorithm);
                self.verifies(key, claimed.or(algorithm.hash()))
            }
            (Self::Statement(_), _) => self.verifies(key, None),
        }
    }

    /// Whether it is an Ed25519ph signature of `key`, with an empty context (RFC 8032, 5.1).
    pub(super) fn is_prehashed_by(&self, key: &PublicKey) -> bool {
        let hash = match self {
            Self::Statement(envelope) => Sha512::new().chain_update(envelope.pae()),
            Self::Message { bytes, .. } => Sha512::new().chain_update(bytes),
        };
        let signature = Signature::from_slice(self.signature().as_bytes()).ok();
        let found = key.ed25519().zip(signature);
        found.is_some_and(|(point, signature)| point.verify_prehashed_strict(hash, None, &signature).is_ok())
    }

    /// As the verifier of bundles checks it: Ed25519 purely, the others over `hash` or the one that is usual.
    fn verifies(&self, key: &PublicKey, hash: Option<HashAlgorithm>) -> bool {
        let spki = key.spki();
        let scheme = KeyAlgorithm::from_spki(spki).and_then(|kind| match hash {
            Some(hash) => kind.resolve_signing_scheme(hash),
            None => Ok(kind.default_signing_scheme()),
        });
        let Ok(scheme) = scheme else { return false };
        match self {
            Self::Statement(envelope) => verify_signature(spki, &envelope.pae(), self.signature(), scheme).is_ok(),
            Self::Message { bytes, .. } => verify_signature(spki, bytes, self.signature(), scheme).is_ok(),
        }
    }

    fn signature(&self) -> &SignatureBytes {
        match self {
            Self::Statement(envelope) => &envelope.signature.sig,
            Self::Message { signature, .. } => &signature.signature,
        }
    }
}

fn digest(algorithm: HashAlgorithm, bytes: &[u8]) -> Result<Vec<u8>, Rejection> {
    match algorithm {
        HashAlgorithm::Sha2256 => Ok(sha256(bytes).as_bytes().to_vec()),
        HashAlgorithm::Sha2384 => Ok(sha384(bytes).as_bytes().to_vec()),
        HashAlgorithm::Sha2512 => Ok(sha512(bytes).as_bytes().to_vec()),
        other => Err(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, "a message digest by SHA-2", other)),
    }
}
