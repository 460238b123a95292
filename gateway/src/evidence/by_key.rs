//! A managed key's signature, checked with each key and the logs of each root.

use sigstore_verify::VerificationResult;

use super::checks::{Call, Check, Checks, Stop};
use super::claim::Claim;
use super::explain::{Missed, explain};
use super::key::Key;
use super::rejection::{Fault, Rejection};
use super::root::Root;
use super::stops::{SignedBy, ahead, order};
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
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    let by = SignedBy::Key;
    checks.expect(&ahead(by, &claim));
    let mut call = Call::new(order(by, &claim.bundle));
    if keys.is_empty() {
        checks.stopped(call, Stop::Beside(Check::Signature));
        let detail = "signed by a managed key, but no key is trusted: add one under `[[evidence.keys]]`";
        return Err(Rejection::new(Code::KEY_NOT_TRUSTED, detail).into());
    }
    if roots.is_empty() {
        checks.stopped(call, Stop::Beside(Check::Log));
        let detail = "no trust root names the log of this signature: add one under `[[evidence.roots]]`";
        return Err(Rejection::new(Code::LOG_UNKNOWN, detail).into());
    }
    let mut hinted = keys.iter().collect::<Vec<_>>();
    hinted.sort_by_key(|key| !key.is_hinted_by(hint));
    let mut closest: Option<Missed> = None;
    for root in roots {
        for key in &hinted {
            let error = match call.ask(|| root.verifier().verify(artifact(about), &claim.bundle, key.policy())) {
                Ok(found) => {
                    checks.answered(call);
                    return keyed(root, key, &found, about, claim, checks);
                }
                Err(error) => error,
            };
            let missed = explain(&error, by, root, about, &claim)?;
            // The nearest miss is the one to tell: another key than this, or another log than this root's, says little.
            if closest.as_ref().is_none_or(|closest| nearness(&missed.rejection) > nearness(&closest.rejection)) {
                closest = Some(missed);
            }
        }
    }
    checks.stopped(call, closest.as_ref().map_or(Stop::Unsaid, |closest| closest.stop));
    Err(match closest {
        Some(Missed { rejection, .. }) if rejection.code != Code::SIGNATURE_INVALID => rejection,
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
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    if !found.tlog_verified() {
        return Err(unproven(&format!("the log entry in a log of `{}`", root.name())));
    }
    let signer = Signer::Key { name: key.name().to_owned(), keyid: key.digest().hex() };
    prove(root, key.name(), signer, found, about, claim, checks)
}
