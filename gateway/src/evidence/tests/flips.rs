//! A good bundle with any byte changed says the same or nothing.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::checks::Checks;
use super::super::claim::{Claim, Versions};
use super::super::verify::{About, verify};
use super::*;
use crate::case::CandidateSource;
use crate::dev::sigstore::{Content, Log};

/// The trust and one good bundle of each shape.
static GOOD: LazyLock<(Trust, Vec<Vec<u8>>)> = LazyLock::new(|| {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let key = key("release", &managed);
    let trust = Trust::load(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![key], ..Settings::default() })
        .unwrap();
    let statement = || Content::Statement {
        predicate_type: "https://acme.example/level/v1".into(),
        predicate: serde_json::json!({"builder": "https://builder.example", "level": 3}),
    };
    let mut bundles = Vec::new();
    for log in [Log::RekorV1, Log::RekorV2] {
        for what in [Content::Message { bytes: manifest() }, statement()] {
            bundles.push(sigstore.sign(cosign().logged_in(log).signing(what.clone())).unwrap());
            bundles.push(sigstore.sign_with_key(&managed, cosign().logged_in(log).signing(what)).unwrap());
        }
    }
    (trust, bundles)
});

fn said(bundle: &[u8]) -> Option<VerifiedFinding> {
    let manifest = manifest();
    let about = About { digest: Digest::of(&manifest), bytes: Some(&manifest) };
    let source = CandidateSource { via: "file".into(), name: "x".into(), index: None, media_type: None, digest: None };
    let verified = verify(&GOOD.0, about, Claim::read(bundle, Versions::V03).ok()?, &mut Checks::default()).ok()?;
    Some(verified.finding(source))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_never_changes_what_is_said(which in 0..8_usize, at: prop::sample::Index, flip in 1..=255_u8) {
        let good = &GOOD.1[which];
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= flip;
        if let Some(found) = said(&bad) {
            prop_assert_eq!(Some(found), said(good), "byte {} of bundle {}", at, which);
        }
    }
}

#[test]
fn the_good_ones_are_good() {
    for bundle in &GOOD.1 {
        assert!(said(bundle).is_some());
    }
}
