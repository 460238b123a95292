//! A key's signature by itself, over a statement or a message, without anything around it.

use ed25519_dalek::Signature;
use sha2::{Digest as _, Sha512};
use sigstore_crypto::{KeyAlgorithm, sha256, sha384, sha512, verify_signature};
use sigstore_types::{DsseEnvelope, HashAlgorithm, MessageSignature, SignatureContent};

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

    /// Whether `key` signed it with `algorithm`. Statements of an Ed25519 key are always signed purely (facts of the field:
    /// cosign, sigstore-go).
    pub(super) fn is_by(&self, key: &PublicKey, algorithm: Algorithm) -> bool {
        let spki = key.spki();
        match self {
            Self::Statement(envelope) => KeyAlgorithm::from_spki(spki).is_ok_and(|kind| {
                verify_signature(spki, &envelope.pae(), &envelope.signature.sig, kind.default_signing_scheme()).is_ok()
            }),
            Self::Message { signature, bytes } if algorithm == Algorithm::Ed25519Ph => key
                .ed25519()
                .zip(Signature::from_slice(signature.signature.as_bytes()).ok())
                .is_some_and(|(point, signature)| {
                    let hash = Sha512::new().chain_update(bytes);
                    point.verify_prehashed_strict(hash, None, &signature).is_ok()
                }),
            Self::Message { signature, bytes } => {
                let hash = signature.message_digest.as_ref().map(|digest| digest.algorithm).or(algorithm.hash());
                let scheme = KeyAlgorithm::from_spki(spki).and_then(|kind| match hash {
                    Some(hash) => kind.resolve_signing_scheme(hash),
                    None => Ok(kind.default_signing_scheme()),
                });
                scheme.is_ok_and(|scheme| verify_signature(spki, bytes, &signature.signature, scheme).is_ok())
            }
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
