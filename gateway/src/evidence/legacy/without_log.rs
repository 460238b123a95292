//! A signature by a key that no log knows of.

use sigstore_crypto::{KeyAlgorithm, verify_signature};
use sigstore_types::{DerPublicKey, HashAlgorithm, SignatureBytes};

use super::super::rejection::{Fault, Rejection};
use super::super::statement::Statement;
use super::super::trust::Key;
use super::super::verify::{About, Verified, by_key_alone};
use super::annotations::BUNDLE;
use crate::reason::Code;

/// Checks the bare signature with each key whose settings say that it needs no log.
pub(super) fn check(
    keys: &[Key],
    signed: &[u8],
    signature: &[u8],
    about: About<'_>,
    statement: Option<Statement>,
) -> Result<Verified, Fault> {
    let keys = keys.iter().filter(|key| !key.needs_log()).collect::<Vec<_>>();
    if keys.is_empty() {
        let expected = format!("a log entry in the annotation `{BUNDLE}`, as no trusted key may sign without one");
        return Err(Rejection::mismatch(Code::LOG_PROOF_MISSING, expected, "none").into());
    }
    match keys.iter().find(|key| verify_raw_signature(key.policy().public_key(), signed, signature)) {
        Some(key) => by_key_alone(key, about, statement),
        None => {
            let names = keys.iter().map(|key| format!("`{}`", key.name())).collect::<Vec<_>>().join(", ");
            let expected = format!("a signature by one of the keys {names}, which need no log entry");
            Err(Rejection::mismatch(Code::KEY_NOT_TRUSTED, expected, "one by another key, without a log entry").into())
        }
    }
}

/// Whether `signature` is by the key over `signed`; cosign hashes with SHA-256 where the algorithm takes a hash.
pub(super) fn verify_raw_signature(key: &DerPublicKey, signed: &[u8], signature: &[u8]) -> bool {
    let scheme = KeyAlgorithm::from_spki(key).and_then(|algorithm| match algorithm {
        KeyAlgorithm::Ed25519 => Ok(algorithm.default_signing_scheme()),
        _ => algorithm.resolve_signing_scheme(HashAlgorithm::Sha2256),
    });
    let signature = SignatureBytes::from_bytes(signature);
    scheme.is_ok_and(|scheme| verify_signature(key, signed, &signature, scheme).is_ok())
}

#[cfg(test)]
#[cfg(feature = "dev")]
mod tests {
    use super::*;
    use crate::dev::sigstore::ManagedKey;

    #[test]
    fn a_bare_signature_is_by_one_key_over_these_bytes() {
        for managed in [ManagedKey::generate().unwrap(), ManagedKey::generate_ed25519().unwrap()] {
            let key = DerPublicKey::from_pem(&managed.public_pem()).unwrap();
            let signature = managed.sign(b"payload").unwrap();
            assert!(verify_raw_signature(&key, b"payload", &signature));
            assert!(!verify_raw_signature(&key, b"another payload", &signature));
            assert!(!verify_raw_signature(&key, b"payload", b""));
            let other = DerPublicKey::from_pem(&ManagedKey::generate().unwrap().public_pem()).unwrap();
            assert!(!verify_raw_signature(&other, b"payload", &signature));
        }
    }
}
