//! The vectors of sigstore-conformance, each by bytes and by digest, through our verifying function.
//!
//! The vectors lie beside the repository (`../shared/sigstore-conformance`) or where `WITGATE_CONFORMANCE_DIR` says; they
//! are not copied into it. Deviations go into `tests/vectors/exceptions.json` as `{"name", "by", "reason"}`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod mutations;
mod vectors;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use vectors::{Outcome, Vector, read};
use witgate::case::Digest;
use witgate::evidence::{Expected, Subject, verify_bundle};
use witgate::outage::chain;

/// A vector on which we deliberately differ.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    name: String,
    by: By,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum By {
    Bytes,
    Digest,
}

#[test]
fn every_vector_has_its_outcome() {
    let Some((folder, vectors)) = vectors::all() else { return };
    let exceptions = exceptions();
    let mut unexpected = Vec::new();
    let mut excused = BTreeMap::new();
    for vector in &vectors {
        for by in [By::Bytes, By::Digest] {
            let found = outcome(&folder, vector, by);
            let deviates = matches!(&found, Ok(())) != (vector.expect == Outcome::Pass);
            match exceptions.iter().find(|exception| exception.name == vector.name && exception.by == by) {
                Some(exception) => {
                    assert!(!exception.reason.is_empty(), "`{}` is excused without a reason", vector.name);
                    excused.insert((&vector.name, by), deviates);
                }
                None if deviates => {
                    unexpected
                        .push(format!("{} by {by:?}: expected {:?}, found {found:?}", vector.name, vector.expect));
                }
                None => {}
            }
        }
    }
    assert!(unexpected.is_empty(), "{} checks differ:\n{}", unexpected.len(), unexpected.join("\n"));
    assert_eq!(excused.len(), exceptions.len(), "an exception names no vector");
    assert!(excused.values().all(|deviates| *deviates), "an exception is no longer needed: {excused:?}");
    eprintln!("{} checks, {} excused", 2 * vectors.len(), excused.len());
}

fn outcome(folder: &Path, vector: &Vector, by: By) -> Result<(), String> {
    let bundle = read(folder, &vector.bundle);
    let artifact = read(folder, &vector.artifact);
    let root = read(folder, &vector.trusted_root);
    let subject = match by {
        By::Bytes => Subject::Bytes(&artifact),
        By::Digest => Subject::Digest(Digest::of(&artifact)),
    };
    let pem = vector.key.as_ref().map(|key| String::from_utf8(read(folder, key)).expect("a key of the vectors is PEM"));
    let expected = match (&pem, &vector.identity, &vector.issuer) {
        (Some(pem), None, None) => Expected::Key { pem, algorithm: None },
        (None, Some(san), Some(issuer)) => Expected::Identity { san, issuer },
        _ => panic!("`{}` names neither a key nor identity and issuer", vector.name),
    };
    verify_bundle(&root, &bundle, subject, expected).map(|_| ()).map_err(|error| chain(&error))
}

fn exceptions() -> Vec<Exception> {
    serde_json::from_str(include_str!("../vectors/exceptions.json")).expect("`exceptions.json` is a list of exceptions")
}
