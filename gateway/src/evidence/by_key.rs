//! A managed key's signature, checked with each key and the logs of each root.

use sigstore_verify::VerificationResult;

use super::claim::Claim;
use super::explain::explain;
use super::key::Key;
use super::rejection::{Fault, Rejection};
use super::root::Root;
use super::verify::{About, Verified, artifact, prove, unproven};
use crate::case::Signer;
use crate::reason::Code;

/// Checks a key-signed bundle with each key, with the logs of each root.
pub(super) fn by_key(
    roots: &[Root],
    keys: &[Key],
    hint: &str,
    about: About<'_>,
    claim: Claim,
) -> Result<Verified, Fault> {
    if keys.is_empty() {
        let detail = "signed by a managed key, but no key is trusted: add one under `[[evidence.keys]]`";
        return Err(Rejection::new(Code::KEY_NOT_TRUSTED, detail).into());
    }
    if roots.is_empty() {
        let detail = "no trust root names the log of this signature: add one under `[[evidence.roots]]`";
        return Err(Rejection::new(Code::LOG_UNKNOWN, detail).into());
    }
    let mut order = keys.iter().collect::<Vec<_>>();
    order.sort_by_key(|key| !key.is_hinted_by(hint));
    let mut closest: Option<Rejection> = None;
    for root in roots {
        for key in &order {
            let error = match root.verifier().verify(artifact(about), &claim.bundle, key.policy()) {
                Ok(found) => return keyed(root, key, &found, about, claim),
                Err(error) => error,
            };
            let rejection = explain(&error, root, about, &claim)?;
            // The nearest miss is the one to tell: another key than this, or another log than this root's, says little.
            let nearer = closest.as_ref().is_none_or(|closest| nearness(&rejection) > nearness(closest));
            if nearer {
                closest = Some(rejection);
            }
        }
    }
    Err(match closest {
        Some(rejection) if rejection.code != Code::SIGNATURE_INVALID => rejection,
        _ => {
            let names = keys.iter().map(|key| format!("`{}`", key.name())).collect::<Vec<_>>().join(", ");
            let found = format!("a signature by another key, with the hint `{hint}`");
            Rejection::mismatch(Code::KEY_NOT_TRUSTED, format!("one of the keys {names}"), found)
        }
    }
    .into())
}

fn nearness(rejection: &Rejection) -> u8 {
    match &rejection.code {
        code if *code == Code::LOG_UNKNOWN || *code == Code::TIMESTAMP_INVALID => 0,
        code if *code == Code::SIGNATURE_INVALID => 1,
        _ => 2,
    }
}

fn keyed(
    root: &Root,
    key: &Key,
    found: &VerificationResult,
    about: About<'_>,
    claim: Claim,
) -> Result<Verified, Fault> {
    if !found.tlog_verified() {
        return Err(unproven(&format!("the log entry in a log of `{}`", root.name())));
    }
    let signer = Signer::Key { name: key.name().to_owned(), keyid: key.digest().hex() };
    prove(root, key.name(), signer, found, about, claim)
}
