//! A managed key's signature: in a log with each key and the logs of each root, without one with the keys that need none.

use sigstore_types::SignatureContent;
use sigstore_verify::VerificationResult;

use super::algorithm::Algorithm;
use super::bare::Bare;
use super::checks::{Asked, Call, Check, Checks, Stop};
use super::claim::Claim;
use super::explain::{Missed, explain};
use super::key::Key;
use super::rejection::{Fault, Rejection};
use super::root::Root;
use super::stops::{SignedBy, ahead, asked};
use super::verify::{About, Proof, Verified, artifact, prove, unproven};
use crate::case::{Signer, Timestamp, Waiver};
use crate::reason::Code;

/// Checks a key-signed bundle; `hint` is what it says of its key.
pub(super) fn by_key(
    roots: &[Root],
    keys: &[Key],
    hint: &str,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    checks.expect(&ahead(SignedBy::Key, &claim));
    if !claim.has_entry() && keys.iter().all(Key::needs_log) {
        return checks.make(Check::Log, || Err(claim.no_entry().into()));
    }
    if keys.is_empty() {
        let detail = "signed by a managed key, but no key is trusted: add one under `[[evidence.keys]]`";
        return checks.make(Check::Signature, || Err(Rejection::new(Code::KEY_NOT_TRUSTED, detail).into()));
    }
    let mut order = keys.iter().collect::<Vec<_>>();
    order.sort_by_key(|key| !key.is_hinted_by(hint));
    match claim.has_entry() {
        true => logged(roots, &order, hint, about, claim, checks),
        false => unlogged(roots, &order, hint, about, claim, checks),
    }
}

/// With an entry, which is verified whether or not the key needs one.
fn logged(
    roots: &[Root],
    keys: &[&Key],
    hint: &str,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    if roots.is_empty() {
        let detail = "no trust root names the log of this signature: add one under `[[evidence.roots]]`";
        return checks.make(Check::Log, || Err(Rejection::new(Code::LOG_UNKNOWN, detail).into()));
    }
    let (mut call, mut closest) = (Call::default(), None::<Missed>);
    let asked = || asked(SignedBy::Key, &claim, Vec::new(), Vec::new());
    for root in roots {
        for key in keys.iter().filter(|key| is_hashed_as_stated(key, &claim)) {
            let missed = match is_prehashed(key, &claim, about) {
                Some(rejection) => Missed::beside(Check::Signature, rejection),
                None => match call.ask(|| root.verifier().verify(artifact(about), &claim.bundle, key.policy())) {
                    Ok(found) => {
                        checks.answered(call, asked());
                        return keyed(root, key, &found, about, claim, checks);
                    }
                    Err(error) => explain(&error, SignedBy::Key, asked(), root, about, &claim)?,
                },
            };
            // The nearest miss is the one to tell: another key than this, or another log than this root's, says little.
            if closest.as_ref().is_none_or(|closest| nearness(&missed.rejection) > nearness(&closest.rejection)) {
                closest = Some(missed);
            }
        }
    }
    let (asked, stop) = closest
        .as_ref()
        .map_or((Asked::default(), Stop::Beside(Check::Signature)), |closest| (closest.asked.clone(), closest.stop));
    checks.stopped(call, asked, stop);
    Err(match closest {
        Some(Missed { rejection, .. }) if rejection.code != Code::SIGNATURE_INVALID => rejection,
        _ => other_form(keys, &claim, about).unwrap_or_else(|| another_key(keys, hint)),
    }
    .into())
}

/// Without an entry: only the keys whose settings say that they need none.
fn unlogged(
    roots: &[Root],
    keys: &[&Key],
    hint: &str,
    about: About<'_>,
    claim: Claim,
    checks: &mut Checks,
) -> Result<Verified, Fault> {
    checks.expect(&ahead_unlogged(&claim));
    let able = keys.iter().copied().filter(|key| !key.needs_log()).collect::<Vec<_>>();
    // By any of the keys: where it is one that needs an entry, it is the entry that is missing.
    let key = checks.make(Check::Signature, || {
        let bare = Bare::of(&claim, about)?;
        let signed = |key: &&Key| is_hashed_as_stated(key, &claim) && bare.is_by(key.public(), key.algorithm());
        let found = able.iter().chain(keys).copied().find(signed);
        found.ok_or_else(|| other_form(keys, &claim, about).unwrap_or_else(|| another_key(&able, hint)))
    })?;
    if key.needs_log() {
        return checks.make(Check::Log, || Err(claim.no_entry().into()));
    }
    let unlogged = vec![Check::Log, Check::Entry];
    checks.waive(&Asked { order: Vec::new(), left_out: unlogged.clone(), waived: unlogged });
    let (root, times) = match claim.stamps() {
        [] => (None, Vec::new()),
        _ => checks.make(Check::Times, || stamped(roots, &claim)).map(|(root, times)| (Some(root.name()), times))?,
    };
    let (vouchers, signed_times) = (root.into_iter().collect(), claim.stamps().len());
    let waived = vec![Waiver::TransparencyLog];
    let proof = Proof { trust: key.name(), signer: signer_of(key), vouchers, times, signed_times, waived };
    prove(proof, about, claim.statement, checks)
}

/// What is checked of a claim without an entry: the signature by itself, the time-stamps, then our own looks.
fn ahead_unlogged(claim: &Claim) -> Vec<Check> {
    let stamped = (!claim.stamps().is_empty()).then_some(Check::Times);
    let own = ahead(SignedBy::Key, claim);
    let own = own.into_iter().filter(|check| matches!(check, Check::Subject | Check::Predicate));
    [Check::Signature].into_iter().chain(stamped).chain([Check::Log, Check::Entry]).chain(own).collect()
}

/// The root whose authorities made all of the time-stamps, with their times.
fn stamped<'a>(roots: &'a [Root], claim: &Claim) -> Result<(&'a Root, Vec<Timestamp>), Rejection> {
    roots.iter().find_map(|root| Some((root, root.verified_stamps(claim)?))).ok_or_else(|| {
        let names = roots.iter().map(|root| format!("`{}`", root.name())).collect::<Vec<_>>().join(", ");
        let expected = match roots {
            [] => "no time-stamp, as no trust root names an authority for them".to_owned(),
            _ => format!("every time-stamp by an authority of one of the roots {names}, over this signature"),
        };
        Rejection::mismatch(Code::TIMESTAMP_INVALID, expected, "one that is not")
    })
}

fn nearness(rejection: &Rejection) -> u8 {
    match &rejection.code {
        code if *code == Code::LOG_UNKNOWN || *code == Code::TIMESTAMP_INVALID => 0,
        code if *code == Code::SIGNATURE_INVALID => 1,
        _ => 2,
    }
}

/// Why the verifier of bundles is not asked about this key, if so: of Ed25519 it knows the pure form only.
fn is_prehashed(key: &Key, claim: &Claim, about: About<'_>) -> Option<Rejection> {
    if key.algorithm() != Algorithm::Ed25519Ph {
        return None;
    }
    let (name, algorithm) = (key.name(), key.algorithm());
    let is_message = matches!(claim.bundle.content, SignatureContent::MessageSignature(_));
    if Bare::of(claim, about).is_ok_and(|bare| bare.is_prehashed_by(key.public())) {
        // The entry holds another hash than the verifier compares, and its signature is checked purely alone.
        let expected = format!("no log entry beside what `{name}` signed with `{algorithm}`");
        let found = "one: sign a statement purely, or sign without a log entry";
        return Some(Rejection::mismatch(Code::BUNDLE_UNSUPPORTED, expected, found));
    }
    let detail = format!("not a message that `{name}` signed with `{algorithm}`");
    is_message.then(|| Rejection::new(Code::SIGNATURE_INVALID, detail))
}

/// Whether a message is hashed as the settings of the key say, where they name the algorithm: the verifier takes the hash that
/// the bundle names, which is not signed.
fn is_hashed_as_stated(key: &Key, claim: &Claim) -> bool {
    let SignatureContent::MessageSignature(message) = &claim.bundle.content else { return true };
    // Of an Ed25519 signature the hash is part, whatever the bundle names; cosign v2 named none, and used SHA-256.
    let stated = key.stated().filter(|stated| *stated != Algorithm::Ed25519Ph && !claim.is_of_cosign_v2());
    match (stated.and_then(Algorithm::hash), &message.message_digest) {
        (Some(hash), Some(claimed)) => claimed.algorithm == hash,
        _ => true,
    }
}

/// What one of the keys did sign, otherwise than its settings say.
fn other_form(keys: &[&Key], claim: &Claim, about: About<'_>) -> Option<Rejection> {
    let bare = Bare::of(claim, about).ok()?;
    let (what, hash) = match &bare {
        Bare::Statement(_) => ("statement", None),
        Bare::Message { signature, .. } => {
            ("message", signature.message_digest.as_ref().map(|digest| digest.algorithm))
        }
    };
    let found = |key: &Key| {
        let mut others = key.public().algorithms().iter().filter(|other| **other != key.algorithm());
        let other = others.find(|other| bare.is_by(key.public(), **other));
        let hash = hash.filter(|_| !is_hashed_as_stated(key, claim) && bare.is_by(key.public(), key.algorithm()));
        other.map(|other| format!("one signed with `{other}`")).or(hash.map(|hash| format!("one hashed with {hash}")))
    };
    keys.iter().find_map(|key| {
        let expected = format!("a {what} signed with `{}`, as `algorithm` of `{}` says", key.algorithm(), key.name());
        Some(Rejection::mismatch(Code::KEY_NOT_TRUSTED, expected, found(key)?))
    })
}

fn another_key(keys: &[&Key], hint: &str) -> Rejection {
    let names = keys.iter().map(|key| format!("`{}`", key.name())).collect::<Vec<_>>().join(", ");
    let found = format!("a signature by another key, with the hint `{hint}`");
    Rejection::mismatch(Code::KEY_NOT_TRUSTED, format!("one of the keys {names}"), found)
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
    let (times, signed_times) = (found.verified_timestamps().to_vec(), claim.stamps().len());
    let (vouchers, waived) = (vec![root.name()], Vec::new());
    let proof = Proof { trust: key.name(), signer: signer_of(key), vouchers, times, signed_times, waived };
    prove(proof, about, claim.statement, checks)
}

fn signer_of(key: &Key) -> Signer {
    Signer::Key { name: key.name().to_owned(), keyid: key.digest().hex() }
}
