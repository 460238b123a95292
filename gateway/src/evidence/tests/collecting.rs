//! Many candidates, managed keys, limits, and what is remembered.

use serde_json::json;

use super::super::StartError;
use super::super::limits::{
    ATTESTATION_BYTES_MAX, BUNDLE_BREADTH_MAX, CANDIDATES_MAX, EVIDENCE_BYTES_MAX, LOG_ENTRIES_MAX,
    PREDICATES_BYTES_MAX, ROOT_BYTES_MAX, SIGNATURE_BYTES_MAX, TIMESTAMPS_MAX,
};
use super::*;
use crate::case::{Defect, FindingKind, Signer};
use crate::dev::sigstore::{Content, KeyKind, Knob, Log};
use crate::outage::Peer;

fn message() -> Content {
    Content::Message { bytes: manifest() }
}

#[tokio::test]
async fn nothing_configured_trusts_nobody_and_says_what_to_set() {
    let sigstore = Sigstore::new(start()).unwrap();
    let nobody = collector(&Settings::default());
    let (code, detail) = rejected(&nobody, sigstore.sign(cosign()).unwrap()).await;
    assert_eq!(code, Code::CERTIFICATE_UNTRUSTED);
    assert!(detail.contains("[[evidence.roots]]"), "{detail}");
    let bundle = sigstore.sign_with_key(&ManagedKey::generate().unwrap(), cosign()).unwrap();
    let (code, detail) = rejected(&nobody, bundle).await;
    assert_eq!(code, Code::KEY_NOT_TRUSTED);
    assert!(detail.contains("[[evidence.keys]]"), "{detail}");
}

#[tokio::test]
async fn managed_keys_sign() {
    let sigstore = Sigstore::new(start()).unwrap();
    for managed in
        [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048, KeyKind::Ed25519].map(|kind| ManagedKey::of(kind).unwrap())
    {
        let other = key("other", &ManagedKey::generate().unwrap());
        let release = key("release", &managed);
        let collector = collector(&Settings {
            roots: vec![root("acme", &sigstore)],
            keys: vec![other, release],
            ..Settings::default()
        });
        for what in [message(), Content::SignStatement] {
            let bundle = sigstore.sign_with_key(&managed, cosign().signing(what.clone())).unwrap();
            let found = verified(&collector, bundle.clone()).await;
            assert_eq!((found.kind, found.trust.as_str()), (FindingKind::Signature, "release"));
            assert!(matches!(&found.signer, Signer::Key { name, keyid } if name == "release" && keyid.len() == 64));

            // A hint is not signed: without it, or with another, the same key is found.
            let hinted = changed(&bundle, |bundle| {
                bundle["verificationMaterial"]["publicKey"]["hint"] = json!("nobody");
            });
            assert_eq!(verified(&collector, hinted).await.trust, "release");

            let mut elsewhere = cosign().signing(match &what {
                Content::Message { .. } => Content::Message { bytes: Bytes::from_static(b"other") },
                other => other.clone(),
            });
            elsewhere.manifest = Digest::of(b"other");
            let bundle = sigstore.sign_with_key(&managed, elsewhere).unwrap();
            assert_eq!(rejected(&collector, bundle).await.0, Code::SUBJECT_MISMATCH);

            let bundle =
                sigstore.sign_with_key(&managed, cosign().signing(what.clone()).with(Knob::ForeignLog)).unwrap();
            assert_eq!(rejected(&collector, bundle).await.0, Code::LOG_UNKNOWN);
            let entry = cosign().signing(what.clone()).with(Knob::EntryOfAnotherSignature);
            let bundle = sigstore.sign_with_key(&managed, entry).unwrap();
            assert_eq!(rejected(&collector, bundle).await.0, Code::LOG_ENTRY_MISMATCH);
        }
    }
}

#[tokio::test]
async fn a26_2_one_good_among_many_bad_is_found_in_every_order() {
    let sigstore = Sigstore::new(start()).unwrap();
    let theirs = Sigstore::new(start()).unwrap();
    let bad = [
        sigstore.sign(cosign().with(Knob::NoSct)).unwrap(),
        theirs.sign(cosign()).unwrap(),
        b"random bytes".to_vec(),
        sigstore.sign(cosign().with(Knob::NoInclusionProof)).unwrap(),
    ];
    let mut list = vec![candidate("good", sigstore.sign(cosign()).unwrap())];
    for index in 0..CANDIDATES_MAX - 1 {
        list.push(candidate(&format!("bad-{index:03}"), bad[index % bad.len()].clone()));
    }
    let defect = Defect { code: Code::LIMIT_EXCEEDED, about: "layers[0].size".into(), detail: "too large".into() };
    list.push(Candidate { content: Err(defect), ..candidate("defect", "") });
    let mut first = None;
    for turn in [0, 1, 64, 127] {
        let mut list = list.clone();
        list.rotate_left(turn);
        let evidence = examine(&trusting(&sigstore), list.clone()).await;
        assert_eq!(evidence.findings.len(), list.len(), "every candidate is accounted for");
        assert!(evidence.findings.is_sorted_by(|a, b| a.source() <= b.source()));
        let good = evidence.findings.iter().filter(|finding| matches!(finding, Finding::Verified(_)));
        assert_eq!(good.map(|finding| finding.source().name.as_str()).collect::<Vec<_>>(), ["good"]);
        let evidence = serde_json::to_value(&evidence).unwrap();
        assert_eq!(first.get_or_insert_with(|| evidence.clone()), &evidence, "the order of listing matters");
    }
}

#[tokio::test]
async fn a_defect_of_the_registry_keeps_its_code() {
    let sigstore = Sigstore::new(start()).unwrap();
    let defect = Defect { code: Code::MANIFEST_INVALID, about: "layers".into(), detail: "expected one\n".into() };
    let bad = Candidate { content: Err(defect), ..candidate("defect", "") };
    let evidence = examine(&trusting(&sigstore), vec![bad]).await;
    let Finding::Rejected(found) = &evidence.findings[0] else { panic!("verified") };
    assert_eq!((&found.code, found.detail.as_str()), (&Code::MANIFEST_INVALID, "layers: expected one\\u{a}"));
}

#[tokio::test]
async fn limits_hold_at_and_past_the_edge() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let padded = |bundle: &[u8], size: usize| {
        let mut bytes = bundle.to_vec();
        bytes.resize(size, b' ');
        bytes
    };
    let statement = sigstore.sign(cosign()).unwrap();
    let blob = sigstore.sign(cosign().signing(message())).unwrap();
    for (bundle, limit) in [(&statement, ATTESTATION_BYTES_MAX), (&blob, SIGNATURE_BYTES_MAX)] {
        verified(&collector, padded(bundle, limit)).await;
        assert_eq!(rejected(&collector, padded(bundle, limit + 1)).await.0, Code::LIMIT_EXCEEDED);
    }

    let blob_of = |commas: usize| {
        let breadth = super::super::limits::breadth(&blob);
        changed(&blob, |bundle| {
            bundle["verificationMaterial"]["certificate"]["x"] = json!(",".repeat(commas - breadth - 1))
        })
    };
    verified(&collector, blob_of(BUNDLE_BREADTH_MAX)).await;
    assert_eq!(rejected(&collector, blob_of(BUNDLE_BREADTH_MAX + 1)).await.0, Code::LIMIT_EXCEEDED);

    let repeated = |pointer: &str, count: usize, log: Log| {
        changed(&sigstore.sign(cosign().logged_in(log)).unwrap(), |bundle| {
            let list = bundle.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
            *list = vec![list[0].clone(); count];
        })
    };
    let entries = "/verificationMaterial/tlogEntries";
    verified(&collector, repeated(entries, LOG_ENTRIES_MAX, Log::RekorV1)).await;
    let over = repeated(entries, LOG_ENTRIES_MAX + 1, Log::RekorV1);
    assert_eq!(rejected(&collector, over).await.0, Code::LIMIT_EXCEEDED);
    let stamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
    verified(&collector, repeated(stamps, TIMESTAMPS_MAX, Log::RekorV2)).await;
    let over = repeated(stamps, TIMESTAMPS_MAX + 1, Log::RekorV2);
    assert_eq!(rejected(&collector, over).await.0, Code::LIMIT_EXCEEDED);
}

#[tokio::test]
async fn a12_2_padding_cannot_crowd_out_a_signature() {
    let sigstore = Sigstore::new(start()).unwrap();
    let statement = sigstore.sign(cosign()).unwrap();
    let half = |name: &str| {
        let mut bytes = b"a".to_vec();
        bytes.resize(EVIDENCE_BYTES_MAX / 2, b' ');
        candidate(name, bytes)
    };
    let list = vec![half("a"), half("b"), candidate("good", statement.clone())];
    let evidence = examine(&trusting(&sigstore), list).await;
    let codes = evidence.findings.iter().map(|finding| match finding {
        Finding::Verified(_) => "verified",
        Finding::Rejected(finding) => finding.code.as_str(),
    });
    assert_eq!(codes.collect::<Vec<_>>(), ["bundle-malformed", "limit-exceeded", "verified"]);

    let many = (0..=CANDIDATES_MAX).map(|index| candidate(&format!("{index:03}"), statement.clone())).collect();
    let evidence = examine(&trusting(&sigstore), many).await;
    let verified = evidence.findings.iter().filter(|finding| matches!(finding, Finding::Verified(_))).count();
    assert_eq!(verified, CANDIDATES_MAX);
    assert!(
        matches!(&evidence.findings[CANDIDATES_MAX], Finding::Rejected(found) if found.code == Code::LIMIT_EXCEEDED)
    );
}

#[tokio::test]
async fn predicates_of_one_case_are_bounded_together() {
    let sigstore = Sigstore::new(start()).unwrap();
    let sized = |bytes: usize, text: &str| Content::Statement {
        predicate_type: "https://example.org/sbom".into(),
        // Two quotes are part of the canonical form.
        predicate: json!(text.repeat(bytes - 2)),
    };
    let half = PREDICATES_BYTES_MAX / 4;
    let mut list = Vec::new();
    for (index, letter) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let bundle = sigstore.sign(cosign().signing(sized(half, letter))).unwrap();
        list.push(candidate(&format!("{index}"), bundle));
    }
    let collector = trusting(&sigstore);
    let count = |evidence: &Evidence| {
        let verified = |finding: &&Finding| matches!(finding, Finding::Verified(_));
        evidence.findings.iter().filter(verified).count()
    };
    assert_eq!(count(&examine(&collector, list.clone()).await), 4);
    let one_more = sigstore.sign(cosign().signing(sized(half, "e"))).unwrap();
    list.push(candidate("4", one_more));
    let evidence = examine(&collector, list).await;
    assert_eq!(count(&evidence), 4);
    let over = |finding: &Finding| matches!(finding, Finding::Rejected(found) if found.code == Code::LIMIT_EXCEEDED);
    assert_eq!(evidence.findings.iter().filter(|finding| over(finding)).count(), 1);
}

#[tokio::test]
async fn a5_1_a_remembered_verdict_is_for_this_artifact_bundle_and_trust() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let bundle = sigstore.sign(cosign()).unwrap();
    let first = verified(&collector, bundle.clone()).await;
    assert_eq!(verified(&collector, bundle.clone()).await, first);

    let other = Bytes::from_static(b"another manifest");
    let candidates = Candidates { looked_in: Vec::new(), list: vec![candidate("one", bundle.clone())] };
    let evidence = collector.examine(Exhibit::of(other), candidates, later()).await.unwrap();
    assert!(matches!(&evidence.findings[0], Finding::Rejected(found) if found.code == Code::SUBJECT_MISMATCH));

    let other = trusting(&Sigstore::new(start()).unwrap());
    assert_ne!(other.trust().digest(), collector.trust().digest());
}

#[tokio::test]
async fn our_own_faults_are_outages() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let candidates =
        Candidates { looked_in: Vec::new(), list: vec![candidate("one", sigstore.sign(cosign()).unwrap())] };
    let mut candidates = candidates;
    candidates.list[0].source.index = Some(Digest::of(b"an index that did not lead here"));
    let outage = collector.examine(Exhibit::of(manifest()), candidates, later()).await.unwrap_err();
    assert_eq!(outage.peer, Peer::Internal);
}

#[tokio::test]
async fn a2_2_another_bundle_than_announced_is_refused() {
    let sigstore = Sigstore::new(start()).unwrap();
    let mut one = candidate("one", sigstore.sign(cosign()).unwrap());
    one.source.digest = Some(Digest::of(b"another"));
    let evidence = examine(&trusting(&sigstore), vec![one]).await;
    assert!(matches!(&evidence.findings[0], Finding::Rejected(found) if found.code == Code::DIGEST_MISMATCH));
}

#[test]
fn trust_is_read_from_files() {
    let sigstore = Sigstore::new(start()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let load = |path: &std::path::Path| {
        let root = RootSettings { max_age_s: 60, ..RootSettings::new("a", RootSource::File(path.into())) };
        Trust::load(&Settings { roots: vec![root], ..Settings::default() })
    };
    let json = sigstore.trusted_root_json();
    let path = write("good.json", json.as_bytes());
    let modified = Timestamp::try_from(std::fs::metadata(&path).unwrap().modified().unwrap()).unwrap();
    let facts = load(&path).unwrap().facts(modified + jiff::SignedDuration::from_secs(61));
    assert_eq!((facts[0].age_s, facts[0].digest), (61, Digest::of(json.as_bytes())));

    assert!(matches!(load(&folder.path().join("none.json")), Err(StartError::Unreadable { .. })));
    let mut padded = json.clone().into_bytes();
    padded.resize(usize::try_from(ROOT_BYTES_MAX).unwrap(), b' ');
    assert!(load(&write("full.json", &padded)).is_ok());
    padded.push(b' ');
    assert!(matches!(load(&write("large.json", &padded)), Err(StartError::TooLarge { .. })));
    let twice = json.replacen('{', "{\"tlogs\": [],", 1);
    for broken in ["", "[]", "{}", twice.as_str()] {
        assert!(matches!(load(&write("broken.json", broken.as_bytes())), Err(StartError::Root { .. })), "{broken}");
    }
    for pem in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "\u{0}"] {
        let keys = vec![KeySettings::new("k", PemSource::File(write("key.pub", pem.as_bytes())))];
        let loaded = Trust::load(&Settings { keys, ..Settings::default() });
        assert!(matches!(loaded, Err(StartError::Key { .. })), "{pem}");
    }
}

#[test]
fn trust_says_its_age_and_digest() {
    let (one, two) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let load = |roots| Trust::load(&Settings { roots, ..Settings::default() }).unwrap();
    let trust = load(vec![root("acme", &one)]);
    let facts = trust.facts(later());
    assert_eq!((facts[0].age_s, facts[0].max_age_s), (24 * 60 * 60, Some(60)));
    assert_eq!(trust.facts(start() - jiff::SignedDuration::from_secs(9))[0].age_s, 0);
    assert_eq!(trust.digest(), load(vec![root("acme", &one)]).digest());
    assert_ne!(trust.digest(), load(vec![root("other", &one)]).digest());
    assert_ne!(trust.digest(), load(vec![root("acme", &two)]).digest());
    assert_ne!(trust.digest(), load(vec![root("acme", &one), root("two", &two)]).digest());
}
