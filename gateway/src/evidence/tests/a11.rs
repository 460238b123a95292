//! A11: one party is one party, whatever it is called and however often it signs.

use serde_json::json;

use super::super::{Algorithm, LogDemand, StartError};
use super::*;
use crate::dev::sigstore::{KeyKind, Log};

#[test]
fn a11_1_one_key_under_two_names_does_not_load() {
    let [managed, second, edwards] =
        [KeyKind::P256, KeyKind::P256, KeyKind::Ed25519].map(|kind| ManagedKey::of(kind).unwrap());
    let managed = &managed;
    let load = |keys| Trust::load(&Settings { keys, ..Settings::default() });
    assert!(load(vec![key("a", managed), key("b", &second)]).is_ok());
    let rewritten = KeySettings {
        pem: PemSource::Inline(InlinePem { text: format!("the same\n{}", managed.public_pem().replace('\n', "\r\n")) }),
        algorithm: None,
        transparency_log: LogDemand::Optional,
        ..key("b", managed)
    };
    for twice in [key("b", managed), rewritten] {
        let error = load(vec![key("a", managed), key("other", &second), twice]).err().unwrap();
        let StartError::KeyTwice { first, second, .. } = &error else { panic!("{error}") };
        assert_eq!((first.as_str(), second.as_str()), ("a", "b"));
        assert!(error.hint().is_some());
    }
    // Pure and prehashed are one key as well.
    let twice = [Algorithm::Ed25519, Algorithm::Ed25519Ph]
        .map(|algorithm| KeySettings { algorithm: Some(algorithm), ..key(algorithm.as_str(), &edwards) });
    assert!(matches!(load(twice.to_vec()), Err(StartError::KeyTwice { .. })));
}

#[tokio::test]
async fn a11_1_one_log_under_two_ids_says_nothing_twice() {
    let sigstore = Sigstore::new(start()).unwrap();
    let mut json: Value = serde_json::from_str(&sigstore.trusted_root_json()).unwrap();
    let other_id = json!(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [7; 32]));
    for (index, log) in [Log::RekorV1, Log::RekorV2].into_iter().enumerate() {
        let mut twice = json["tlogs"][index].clone();
        twice["logId"]["keyId"] = other_id.clone();
        let mut two = json.clone();
        two["tlogs"].as_array_mut().unwrap().push(twice);
        let trusted_root = RootSource::Inline(InlineRoot { json: two.to_string(), refreshed_at: start() });
        let roots = vec![RootSettings::new("acme", trusted_root)];
        let collector = collector(&Settings { roots, ..Settings::default() });
        let bundle = sigstore.sign(cosign().logged_in(log)).unwrap();
        let once = verified(&collector, bundle.clone()).await;
        let entries = "/verificationMaterial/tlogEntries";
        let same = changed(&bundle, |bundle| {
            let list = bundle.pointer_mut(entries).unwrap().as_array_mut().unwrap();
            list.push(list[0].clone());
        });
        let renamed = changed(&same, |bundle| {
            *bundle.pointer_mut("/verificationMaterial/tlogEntries/1/logId/keyId").unwrap() = other_id.clone();
        });
        for bundle in [same, renamed] {
            // A promise of Rekor v1 names its log, so under another name it is none.
            if let Finding::Verified(found) = finding(&collector, bundle).await {
                let source = once.source.clone();
                assert_eq!(VerifiedFinding { source, ..found }, once);
            }
        }
    }
    json["tlogs"] = json!([json["tlogs"][0], json["tlogs"][0]]);
    let trusted_root = RootSource::Inline(InlineRoot { json: json.to_string(), refreshed_at: start() });
    let roots = vec![RootSettings::new("acme", trusted_root)];
    assert!(matches!(Trust::load(&Settings { roots, ..Settings::default() }), Err(StartError::Root { .. })));
}

#[tokio::test]
async fn a11_1_one_signature_twice_and_one_name_with_two_certificates_are_one_signer() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let roots = vec![root("acme", &sigstore)];
    let collector = collector(&Settings { roots, keys: vec![key("release", &managed)], ..Settings::default() });
    let signers = async |bundles: Vec<Vec<u8>>| {
        let list = bundles.iter().enumerate().map(|(index, bundle)| candidate(&index.to_string(), bundle.clone()));
        let evidence = examine(&collector, list.collect()).await;
        let signers = evidence.findings.iter().map(|finding| match finding {
            Finding::Verified(found) => serde_json::to_string(&found.signer).unwrap(),
            Finding::Rejected(found) => panic!("{}: {}", found.code, found.detail),
        });
        (bundles.len(), signers.collect::<std::collections::BTreeSet<_>>().len())
    };
    let by_key = sigstore.sign_with_key(&managed, cosign()).unwrap();
    let hinted = changed(&by_key, |bundle| bundle["verificationMaterial"]["publicKey"]["hint"] = json!("second"));
    let spaced = [&by_key[..], b"\n"].concat();
    assert_eq!(signers(vec![by_key.clone(), by_key.clone(), hinted, spaced]).await, (4, 1));
    let again = sigstore.sign_with_key(&managed, cosign().logged_in(Log::RekorV2)).unwrap();
    assert_eq!(signers(vec![by_key, again]).await, (2, 1));
    let certificates =
        [Log::RekorV1, Log::RekorV1, Log::RekorV2].map(|log| sigstore.sign(cosign().logged_in(log)).unwrap());
    assert_eq!(signers(certificates.to_vec()).await, (3, 1));
}
