//! What cosign v2 left: each defect of a layer or its annotations with its code.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::super::limits::{COSIGN_ANNOTATION_BYTES_MAX, SIMPLE_SIGNING_BYTES_MAX};
use super::*;
use crate::case::{CosignLayer, FindingKind, San, SanKind, Signer};
use crate::dev::sigstore::{Content, Flaw, KeyKind, Knob};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

fn slsa() -> Sign {
    cosign().signing(Content::Statement {
        predicate_type: "https://acme.example/level/v1".into(),
        predicate: json!({"level": 3}),
    })
}

/// One thing that is made wrong.
type Change = fn(&mut Value);

/// A layer of `.sig`, or of `.att`.
#[derive(Clone, Copy, Debug)]
enum Tag {
    Sig,
    Att,
}

impl Tag {
    const BOTH: [Self; 2] = [Self::Sig, Self::Att];

    fn request(self) -> Sign {
        match self {
            Self::Sig => cosign(),
            Self::Att => slsa(),
        }
    }

    fn make(self, sigstore: &Sigstore, request: Sign) -> CosignLayer {
        match self {
            Self::Sig => sigstore.sign_legacy(request),
            Self::Att => sigstore.attest_legacy(request),
        }
        .unwrap()
    }

    fn by_key(self, sigstore: &Sigstore, key: &ManagedKey, request: Sign) -> CosignLayer {
        match self {
            Self::Sig => sigstore.sign_legacy_with_key(key, request),
            Self::Att => sigstore.attest_legacy_with_key(key, request),
        }
        .unwrap()
    }

    async fn finding(self, collector: &Collector, layer: CosignLayer) -> Finding {
        let content = match self {
            Self::Sig => CandidateContent::CosignSignature(layer),
            Self::Att => CandidateContent::CosignAttestation(layer),
        };
        let one = Candidate { content: Ok(content), ..candidate("one", "") };
        examine(collector, vec![one]).await.findings.remove(0)
    }

    async fn verified(self, collector: &Collector, layer: CosignLayer) -> VerifiedFinding {
        match self.finding(collector, layer).await {
            Finding::Verified(finding) => finding,
            Finding::Rejected(finding) => panic!("{self:?}: {}: {}", finding.code, finding.detail),
        }
    }

    async fn rejected(self, collector: &Collector, layer: CosignLayer) -> (Code, String) {
        match self.finding(collector, layer).await {
            Finding::Verified(finding) => panic!("{self:?} verified: {finding:?}"),
            Finding::Rejected(finding) => (finding.code, finding.detail),
        }
    }
}

/// The annotation `bundle` with one thing changed.
fn rebundled(mut layer: CosignLayer, change: impl FnOnce(&mut Value)) -> CosignLayer {
    let bundle = changed(layer.annotations[BUNDLE].as_bytes(), change);
    layer.annotations.insert(BUNDLE.into(), String::from_utf8(bundle).unwrap());
    layer
}

fn annotated(mut layer: CosignLayer, name: &str, value: impl Into<String>) -> CosignLayer {
    layer.annotations.insert(name.into(), value.into());
    layer
}

#[tokio::test]
async fn good_layers_verify_and_say_who_signed() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for tag in Tag::BOTH {
        for knob in [None, Some(Knob::TimestampBeside), Some(Knob::IntotoEntry)] {
            let request = tag.request();
            let request = knob.into_iter().fold(request, Sign::with);
            let found = tag.verified(&collector, tag.make(&sigstore, request)).await;
            let san = San { kind: SanKind::Uri, value: IDENTITY.into() };
            assert_eq!(found.signer, Signer::Keyless { issuer: ISSUER.into(), san, claims: BTreeMap::new() });
            assert_eq!(found.times, ["2025-06-01T12:00:05Z".parse::<Timestamp>().unwrap()]);
            assert_eq!(found.trust, "acme");
            match tag {
                Tag::Sig => {
                    assert_eq!(
                        (found.kind, found.predicate_type, found.predicate),
                        (FindingKind::Signature, None, None)
                    );
                }
                Tag::Att => {
                    assert_eq!((found.kind, found.predicate), (FindingKind::Attestation, Some(json!({"level": 3}))));
                    assert_eq!(found.predicate_type.as_deref(), Some("https://acme.example/level/v1"));
                }
            }
        }
    }
}

#[tokio::test]
async fn each_defect_has_its_code() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let both = Tag::BOTH.to_vec();
    let rows = [
        (Knob::LeafWithoutCodeSigning, both.clone(), Code::CERTIFICATE_UNTRUSTED),
        (Knob::TwoUriSans, both.clone(), Code::IDENTITY_MISMATCH),
        (Knob::NoIssuer, both.clone(), Code::ISSUER_MISMATCH),
        (Knob::NoSct, both.clone(), Code::SCT_INVALID),
        (Knob::ForeignSct, both.clone(), Code::SCT_INVALID),
        (Knob::NoLogEntry, both.clone(), Code::LOG_PROOF_MISSING),
        (Knob::NoPromise, both.clone(), Code::LOG_PROOF_MISSING),
        // A10.3
        (Knob::ForgedIntegratedTime, both.clone(), Code::LOG_PROOF_INVALID),
        (Knob::LateIntegratedTime, both.clone(), Code::CERTIFICATE_OUTSIDE_VALIDITY),
        (Knob::ForeignLog, both.clone(), Code::LOG_UNKNOWN),
        (Knob::EntryOfAnotherSignature, both.clone(), Code::LOG_ENTRY_MISMATCH),
        (Knob::SignatureOfAnotherContent, both.clone(), Code::SIGNATURE_INVALID),
        (Knob::PayloadNotJson, both.clone(), Code::STATEMENT_MALFORMED),
        (Knob::PayloadDuplicateKey, both.clone(), Code::STATEMENT_MALFORMED),
        // A5.3
        (Knob::UpperCaseSubject, both, Code::SUBJECT_MISMATCH),
        (Knob::NoPayloadType, vec![Tag::Sig], Code::STATEMENT_MALFORMED),
        (Knob::WrongPayloadType, vec![Tag::Sig], Code::PREDICATE_TYPE_MISMATCH),
        (Knob::WrongPayloadType, vec![Tag::Att], Code::BUNDLE_UNSUPPORTED),
        (Knob::TwoDsseSignatures, vec![Tag::Att], Code::BUNDLE_MALFORMED),
        (Knob::NoSubjects, vec![Tag::Att], Code::STATEMENT_MALFORMED),
        (Knob::StatementOfUnknownType, vec![Tag::Att], Code::STATEMENT_MALFORMED),
    ];
    let mut wrong = Vec::new();
    for (knob, tags, expected) in rows {
        for tag in tags {
            match tag.finding(&collector, tag.make(&sigstore, tag.request().with(knob))).await {
                Finding::Rejected(found) if found.code == expected => assert!(!found.detail.is_empty()),
                found => wrong.push(format!("{knob:?} in {tag:?}: expected {expected}, found {found:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_time_stamp_beside_the_promise_has_to_hold() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for (knob, code) in [
        (Knob::LateTimestamp, Code::CERTIFICATE_OUTSIDE_VALIDITY),
        (Knob::ForeignTimestamp, Code::TIMESTAMP_INVALID),
        (Knob::TimestampOfAnotherSignature, Code::TIMESTAMP_INVALID),
    ] {
        for tag in Tag::BOTH {
            let layer = tag.make(&sigstore, tag.request().with(Knob::TimestampBeside).with(knob));
            assert_eq!(tag.rejected(&collector, layer).await.0, code, "{knob:?}");
        }
    }
    let stamped = Tag::Sig.make(&sigstore, cosign().with(Knob::TimestampBeside));
    for stamp in ["{}", "[]", "{\"SignedRFC3161Timestamp\":\"\"}", "{\"SignedRFC3161Timestamp\":\"AA\"}", "x"] {
        let layer = annotated(stamped.clone(), TIMESTAMP, stamp);
        assert_eq!(Tag::Sig.rejected(&collector, layer).await.0, Code::BUNDLE_MALFORMED, "{stamp}");
    }
    // A time-stamp is no log entry.
    let mut unlogged = stamped;
    unlogged.annotations.remove(BUNDLE);
    assert_eq!(Tag::Sig.rejected(&collector, unlogged).await.0, Code::LOG_PROOF_MISSING);
}

#[tokio::test]
async fn an_attestation_may_be_dated_as_a_whole() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let collector = collector(&Settings {
        roots: vec![root("acme", &sigstore)],
        keys: vec![key("release", &managed)],
        ..Settings::default()
    });
    let dated = || slsa().with(Knob::TimestampOfTheLayer);
    for layer in [sigstore.attest_legacy(dated()), sigstore.attest_legacy_with_key(&managed, dated())] {
        let found = Tag::Att.verified(&collector, layer.unwrap()).await;
        assert_eq!(found.times, ["2025-06-01T12:00:05Z".parse::<Timestamp>().unwrap()], "the log's alone");
    }
    for knob in [Knob::ForeignTimestamp, Knob::TimestampOfAnotherSignature] {
        let layer = sigstore.attest_legacy(dated().with(knob)).unwrap();
        assert_eq!(Tag::Att.rejected(&collector, layer).await.0, Code::TIMESTAMP_INVALID);
    }
    // Without an entry it is no time that a certificate could be valid at.
    let layer = sigstore.attest_legacy(dated().with(Knob::NoLogEntry)).unwrap();
    assert_eq!(Tag::Att.rejected(&collector, layer).await.0, Code::LOG_PROOF_MISSING);
    // A signature is dated by itself: cosign never dated its payload.
    let layer = sigstore.sign_legacy(cosign().with(Knob::TimestampOfTheLayer)).unwrap();
    assert_eq!(Tag::Sig.rejected(&collector, layer).await.0, Code::TIMESTAMP_INVALID);
}

#[tokio::test]
async fn a10_1_the_chain_beside_a_signature_is_no_trust() {
    let (ours, theirs) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let collector = trusting(&ours);
    for tag in Tag::BOTH {
        let foreign = tag.make(&theirs, tag.request());
        assert!(foreign.annotations[CHAIN].contains("BEGIN CERTIFICATE"));
        assert_eq!(tag.rejected(&collector, foreign.clone()).await.0, Code::CERTIFICATE_UNTRUSTED);
        // Neither does a wrong chain, or none, take trust away.
        let good = tag.make(&ours, tag.request());
        tag.verified(&collector, annotated(good.clone(), CHAIN, foreign.annotations[CHAIN].clone())).await;
        tag.verified(&collector, annotated(good, CHAIN, "")).await;
    }
    for flaw in [Flaw::IntermediateExpired, Flaw::AuthorityRetired] {
        let sigstore = Sigstore::flawed(start(), flaw).unwrap();
        let mut request = cosign();
        request.at = start() + jiff::SignedDuration::from_hours(1);
        let layer = Tag::Sig.make(&sigstore, request);
        assert_eq!(Tag::Sig.rejected(&trusting(&sigstore), layer).await.0, Code::CERTIFICATE_UNTRUSTED, "{flaw:?}");
    }
}

#[tokio::test]
async fn a5_1_a_layer_about_another_artifact_is_told_so() {
    let sigstore = Sigstore::new(start()).unwrap();
    let (managed, other) = (ManagedKey::generate().unwrap(), Digest::of(b"another manifest"));
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    for tag in Tag::BOTH {
        let mut request = tag.request();
        request.manifest = other;
        for layer in [tag.make(&sigstore, request.clone()), tag.by_key(&sigstore, &managed, request.clone())] {
            let (code, detail) = tag.rejected(&collector, layer).await;
            assert_eq!(code, Code::SUBJECT_MISMATCH, "{detail}");
            assert!(detail.contains(&Digest::of(&manifest()).hex()) && detail.contains(&other.hex()), "{detail}");
        }
    }
}

#[tokio::test]
async fn a6_1_an_entry_of_another_artifact_is_no_proof() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    for tag in Tag::BOTH {
        for knob in [None, Some(Knob::IntotoEntry)] {
            let make = |request: Sign| knob.into_iter().fold(request, Sign::with);
            let mut elsewhere = make(tag.request());
            elsewhere.manifest = Digest::of(b"another manifest");
            // By the same key, so that only the artifact differs; and of another certificate.
            for (mine, theirs) in [
                (
                    tag.by_key(&sigstore, &managed, make(tag.request())),
                    tag.by_key(&sigstore, &managed, elsewhere.clone()),
                ),
                (tag.make(&sigstore, make(tag.request())), tag.make(&sigstore, elsewhere)),
            ] {
                tag.verified(&collector, mine.clone()).await;
                let grafted = annotated(mine, BUNDLE, theirs.annotations[BUNDLE].clone());
                let (code, detail) = tag.rejected(&collector, grafted).await;
                assert_eq!(code, Code::LOG_ENTRY_MISMATCH, "{tag:?} {knob:?}: {detail}");
            }
        }
    }
    // The entry of an attestation beside a signature, and the reverse.
    let (signature, attestation) = (Tag::Sig.make(&sigstore, cosign()), Tag::Att.make(&sigstore, slsa()));
    let crossed = annotated(signature.clone(), BUNDLE, attestation.annotations[BUNDLE].clone());
    assert_eq!(Tag::Sig.rejected(&collector, crossed).await.0, Code::BUNDLE_UNSUPPORTED);
    let crossed = annotated(attestation, BUNDLE, signature.annotations[BUNDLE].clone());
    assert_eq!(Tag::Att.rejected(&collector, crossed).await.0, Code::BUNDLE_UNSUPPORTED);
    // The promise of one entry over the body of another.
    let (one, two) = (Tag::Sig.make(&sigstore, cosign()), Tag::Sig.make(&sigstore, cosign()));
    let two: Value = serde_json::from_str(&two.annotations[BUNDLE]).unwrap();
    let mixed = rebundled(one, |bundle| bundle["SignedEntryTimestamp"] = two["SignedEntryTimestamp"].clone());
    assert_eq!(Tag::Sig.rejected(&collector, mixed).await.0, Code::LOG_PROOF_INVALID);
}

#[tokio::test]
async fn a4_1_a_layer_is_what_its_tag_says() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let (signature, attestation) = (Tag::Sig.make(&sigstore, cosign()), Tag::Att.make(&sigstore, slsa()));
    assert_eq!(Tag::Att.rejected(&collector, signature.clone()).await.0, Code::BUNDLE_MALFORMED);
    assert_eq!(Tag::Sig.rejected(&collector, attestation.clone()).await.0, Code::STATEMENT_MALFORMED);
    // Nor does a statement count as a signature because of its predicate type.
    let sign = Tag::Att.make(&sigstore, cosign());
    assert_eq!(Tag::Att.rejected(&collector, sign).await.0, Code::PREDICATE_TYPE_MISMATCH);
    // A second signature beside the envelope's, none beside a payload.
    let two = annotated(attestation, SIGNATURE, signature.annotations[SIGNATURE].clone());
    assert_eq!(Tag::Att.rejected(&collector, two).await.0, Code::BUNDLE_MALFORMED);
    let unsigned = annotated(signature, SIGNATURE, "");
    assert_eq!(Tag::Sig.rejected(&collector, unsigned).await.0, Code::BUNDLE_MALFORMED);
    let other = Tag::Sig.make(&sigstore, cosign().with(Knob::WrongPayloadType));
    assert_eq!(Tag::Sig.rejected(&collector, other).await.0, Code::PREDICATE_TYPE_MISMATCH);
}

#[tokio::test]
async fn a4_2_a_layer_of_anything_else_than_one_statement_is_rejected() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for (tag, knob, expected) in [
        (Tag::Sig, Knob::PayloadNotJson, Code::STATEMENT_MALFORMED),
        (Tag::Sig, Knob::PayloadDuplicateKey, Code::STATEMENT_MALFORMED),
        (Tag::Sig, Knob::NoPayloadType, Code::STATEMENT_MALFORMED),
        (Tag::Att, Knob::PayloadNotJson, Code::STATEMENT_MALFORMED),
        (Tag::Att, Knob::PayloadDuplicateKey, Code::STATEMENT_MALFORMED),
        (Tag::Att, Knob::StatementOfUnknownType, Code::STATEMENT_MALFORMED),
        (Tag::Att, Knob::NoSubjects, Code::STATEMENT_MALFORMED),
        (Tag::Att, Knob::WrongPayloadType, Code::BUNDLE_UNSUPPORTED),
        (Tag::Att, Knob::TwoDsseSignatures, Code::BUNDLE_MALFORMED),
    ] {
        let (code, detail) = tag.rejected(&collector, tag.make(&sigstore, tag.request().with(knob))).await;
        assert_eq!(code, expected, "{knob:?} in {tag:?}: {detail}");
    }
}

#[tokio::test]
async fn a5_3_a_payload_is_about_ours_letter_by_letter() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for tag in Tag::BOTH {
        let upper = tag.make(&sigstore, tag.request().with(Knob::UpperCaseSubject));
        assert_eq!(tag.rejected(&collector, upper).await.0, Code::SUBJECT_MISMATCH, "{tag:?}");
    }
    for knob in [Knob::SeveralSubjects, Knob::SubjectTwice] {
        Tag::Att.verified(&collector, Tag::Att.make(&sigstore, slsa().with(knob))).await;
    }
}

#[tokio::test]
async fn a6_4_a_layer_that_no_log_promised_to_hold_is_none() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    for tag in Tag::BOTH {
        for knob in [Knob::NoLogEntry, Knob::NoPromise] {
            // A time-stamp beside it says when, and nothing of the log; a key needs not even that.
            let stamped = tag.make(&sigstore, tag.request().with(Knob::TimestampBeside).with(knob));
            let keyed = tag.by_key(&sigstore, &managed, tag.request().with(knob));
            for layer in [stamped, keyed] {
                let (code, detail) = tag.rejected(&collector, layer).await;
                assert_eq!(code, Code::LOG_PROOF_MISSING, "{knob:?} in {tag:?}: {detail}");
            }
        }
    }
}

#[tokio::test]
async fn payloads_are_read_in_one_way_only() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let good = Tag::Sig.make(&sigstore, cosign());
    let changes: [Change; 12] = [
        |payload| *payload = json!([]),
        |payload| payload["Critical"] = json!({}),
        |payload| payload["optional"] = json!([]),
        |payload| drop(payload.as_object_mut().unwrap().remove("critical")),
        |payload| payload["critical"]["more"] = json!(1),
        |payload| payload["critical"]["type"] = json!(1),
        |payload| payload["critical"]["identity"] = json!(null),
        |payload| payload["critical"]["identity"]["docker-reference"] = json!(null),
        |payload| payload["critical"]["identity"]["more"] = json!(""),
        |payload| payload["critical"]["image"] = json!("x"),
        |payload| payload["critical"]["image"]["docker-manifest-digest"] = json!(null),
        |payload| payload["critical"]["image"]["Docker-manifest-digest"] = json!(""),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let layer = CosignLayer { payload: changed(&good.payload, change).into(), ..good.clone() };
        let (code, detail) = Tag::Sig.rejected(&collector, layer).await;
        assert_eq!(code, Code::STATEMENT_MALFORMED, "change {number}: {detail}");
    }
    // What may differ is signed as well.
    let other = changed(&good.payload, |payload| payload["optional"] = json!({"by": "mallory"}));
    let layer = CosignLayer { payload: other.into(), ..good.clone() };
    assert_eq!(Tag::Sig.rejected(&collector, layer).await.0, Code::SIGNATURE_INVALID);

    let padded = |size: usize| {
        let mut payload = good.payload.to_vec();
        payload.resize(size, b' ');
        CosignLayer { payload: payload.into(), ..good.clone() }
    };
    // Padding is signed over: at the limit it is looked at, past it not.
    let at = Tag::Sig.rejected(&collector, padded(SIMPLE_SIGNING_BYTES_MAX)).await.0;
    assert_eq!(at, Code::SIGNATURE_INVALID);
    let past = Tag::Sig.rejected(&collector, padded(SIMPLE_SIGNING_BYTES_MAX + 1)).await.0;
    assert_eq!(past, Code::LIMIT_EXCEEDED);
}

#[tokio::test]
async fn annotations_are_read_in_one_way_only() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let good = Tag::Sig.make(&sigstore, cosign());
    let pem = good.annotations[CERTIFICATE].clone();
    let key = ManagedKey::generate().unwrap().public_pem();
    let signature = &good.annotations[SIGNATURE];
    for (name, value) in [
        (SIGNATURE, "!".to_owned()),
        (SIGNATURE, signature.trim_end_matches('=').to_owned() + "\n"),
        (CERTIFICATE, format!("{pem}{pem}")),
        (CERTIFICATE, format!("{pem}{}", good.annotations[CHAIN])),
        (CERTIFICATE, format!("x{pem}")),
        (CERTIFICATE, pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
        // A7.1: a key where a certificate belongs.
        (CERTIFICATE, key.clone()),
        (BUNDLE, "null".into()),
        (BUNDLE, "[]".into()),
        (BUNDLE, "{".into()),
        (BUNDLE, "{\"Payload\":{},\"Payload\":{},\"SignedEntryTimestamp\":\"AA==\"}".into()),
        (BUNDLE, "{\"Payload\":null,\"SignedEntryTimestamp\":\"AA==\"}".into()),
    ] {
        let (code, detail) = Tag::Sig.rejected(&collector, annotated(good.clone(), name, value.clone())).await;
        assert_eq!(code, Code::BUNDLE_MALFORMED, "{name} {value}: {detail}");
    }
    // A7.1: a key, in a certificate's clothes, is no certificate.
    let dressed = annotated(good.clone(), CERTIFICATE, key.replace("PUBLIC KEY", "CERTIFICATE"));
    assert_eq!(Tag::Sig.rejected(&collector, dressed).await.0, Code::CERTIFICATE_UNTRUSTED);

    let changes: [(Change, Code); 17] = [
        (|b| b["payload"] = json!({}), Code::BUNDLE_MALFORMED),
        (|b| b["Payload"]["more"] = json!(1), Code::BUNDLE_MALFORMED),
        (|b| b["SignedEntryTimestamp"] = json!(1), Code::BUNDLE_MALFORMED),
        (|b| b["SignedEntryTimestamp"] = json!("AA"), Code::BUNDLE_MALFORMED),
        (|b| b["SignedEntryTimestamp"] = json!(""), Code::LOG_PROOF_MISSING),
        (|b| drop(b.as_object_mut().unwrap().remove("SignedEntryTimestamp")), Code::LOG_PROOF_MISSING),
        (|b| b["SignedEntryTimestamp"] = json!("AAAA"), Code::LOG_PROOF_INVALID),
        (|b| b["Payload"]["integratedTime"] = json!(0), Code::BUNDLE_MALFORMED),
        (|b| b["Payload"]["integratedTime"] = json!(-1), Code::BUNDLE_MALFORMED),
        (|b| b["Payload"]["integratedTime"] = json!("1748779205"), Code::BUNDLE_MALFORMED),
        (|b| b["Payload"]["integratedTime"] = json!(1_748_779_205.5), Code::BUNDLE_MALFORMED),
        (|b| b["Payload"]["logIndex"] = json!(u64::MAX), Code::BUNDLE_MALFORMED),
        (|b| b["Payload"]["logIndex"] = json!(99), Code::LOG_PROOF_INVALID),
        (|b| b["Payload"]["logID"] = json!("00"), Code::BUNDLE_MALFORMED),
        (
            |b| b["Payload"]["logID"] = json!(b["Payload"]["logID"].as_str().unwrap().to_uppercase()),
            Code::BUNDLE_MALFORMED,
        ),
        (|b| b["Payload"]["body"] = json!("e30="), Code::BUNDLE_UNSUPPORTED),
        (|b| b["Payload"]["body"] = json!("eHg="), Code::LOG_ENTRY_MALFORMED),
    ];
    for (number, (change, expected)) in changes.into_iter().enumerate() {
        let (code, detail) = Tag::Sig.rejected(&collector, rebundled(good.clone(), change)).await;
        assert_eq!(code, expected, "change {number}: {detail}");
    }
    // Rekor v2 makes no promises, and the hash of an intoto/0.0.1 is not bound to the signature.
    for (kind, version) in [("hashedrekord", "0.0.2"), ("intoto", "0.0.1"), ("rekord", "0.0.1")] {
        let body = STANDARD.encode(json!({"kind": kind, "apiVersion": version}).to_string());
        let layer = rebundled(good.clone(), |bundle| bundle["Payload"]["body"] = body.into());
        let (code, detail) = Tag::Sig.rejected(&collector, layer).await;
        assert_eq!(code, Code::BUNDLE_UNSUPPORTED);
        assert!(detail.contains(&format!("found `{kind}/{version}`")), "{detail}");
    }

    let size =
        |layer: &CosignLayer| layer.annotations.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let room = COSIGN_ANNOTATION_BYTES_MAX - size(&good) - 1;
    Tag::Sig.verified(&collector, annotated(good.clone(), "x", "y".repeat(room))).await;
    let over = annotated(good.clone(), "x", "y".repeat(room + 1));
    assert_eq!(Tag::Sig.rejected(&collector, over).await.0, Code::LIMIT_EXCEEDED);
    let broad = annotated(good, BUNDLE, format!("[{}1]", "1,".repeat(5000)));
    assert_eq!(Tag::Sig.rejected(&collector, broad).await.0, Code::LIMIT_EXCEEDED);
}

#[tokio::test]
async fn keys_sign_with_an_entry_in_the_log() {
    let sigstore = Sigstore::new(start()).unwrap();
    for managed in [KeyKind::P256, KeyKind::Rsa2048, KeyKind::Ed25519].map(|kind| ManagedKey::of(kind).unwrap()) {
        let release = key("release", &managed);
        let roots = vec![root("acme", &sigstore)];
        let keyed = collector(&Settings { roots: roots.clone(), keys: vec![release], ..Settings::default() });
        let stranger = ManagedKey::generate().unwrap();
        for tag in Tag::BOTH {
            let layer = tag.by_key(&sigstore, &managed, tag.request());
            let found = tag.verified(&keyed, layer.clone()).await;
            assert!(matches!(found.signer, Signer::Key { name, .. } if name == "release"));
            for (knob, code) in [
                (Knob::NoLogEntry, Code::LOG_PROOF_MISSING),
                (Knob::NoPromise, Code::LOG_PROOF_MISSING),
                (Knob::ForgedIntegratedTime, Code::LOG_PROOF_INVALID),
                (Knob::ForeignLog, Code::LOG_UNKNOWN),
                (Knob::EntryOfAnotherSignature, Code::LOG_ENTRY_MISMATCH),
            ] {
                let layer = tag.by_key(&sigstore, &managed, tag.request().with(knob));
                let (found, detail) = tag.rejected(&keyed, layer).await;
                assert_eq!(found, code, "{tag:?} {knob:?}: {detail}");
            }
            let foreign = tag.by_key(&sigstore, &stranger, tag.request());
            assert_eq!(tag.rejected(&keyed, foreign).await.0, Code::KEY_NOT_TRUSTED);
            // A7.3: a certificate where only keys are trusted, a key where only certificates are.
            assert_eq!(tag.rejected(&trusting(&sigstore), layer).await.0, Code::KEY_NOT_TRUSTED);
        }
    }
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let keys_only = collector(&Settings { keys: vec![release], ..Settings::default() });
    for tag in Tag::BOTH {
        let layer = tag.make(&sigstore, tag.request());
        assert_eq!(tag.rejected(&keys_only, layer).await.0, Code::CERTIFICATE_UNTRUSTED);
    }
}

#[tokio::test]
async fn a6_4_a_promise_alone_is_for_this_path_only() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let bundle = sigstore.sign(cosign().with(Knob::LabelledV01)).unwrap();
    assert_eq!(rejected(&collector, bundle.clone()).await.0, Code::BUNDLE_UNSUPPORTED);
    let relabelled =
        changed(&bundle, |bundle| bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json"));
    assert_eq!(rejected(&collector, relabelled).await.0, Code::LOG_PROOF_MISSING);
}

#[tokio::test]
async fn a_remembered_verdict_is_for_these_annotations() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let good = Tag::Sig.make(&sigstore, cosign());
    let first = Tag::Sig.verified(&collector, good.clone()).await;
    assert_eq!(Tag::Sig.verified(&collector, good.clone()).await, first);
    // The same payload with another's annotations, and the same layer under the other tag.
    let bad = rebundled(good.clone(), |bundle| bundle["Payload"]["integratedTime"] = json!(1_748_779_206));
    assert_eq!(Tag::Sig.rejected(&collector, bad).await.0, Code::LOG_PROOF_INVALID);
    assert_eq!(Tag::Att.rejected(&collector, good.clone()).await.0, Code::BUNDLE_MALFORMED);
    assert_eq!(Tag::Sig.verified(&collector, good).await, first);
}

#[tokio::test]
async fn messages_say_what_was_expected() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let mut unlogged = Tag::Sig.make(&sigstore, cosign());
    unlogged.annotations.remove(BUNDLE);
    let managed = Tag::Sig.by_key(&sigstore, &ManagedKey::generate().unwrap(), cosign().with(Knob::NoLogEntry));
    let untyped = Tag::Sig.make(&sigstore, cosign().with(Knob::WrongPayloadType));
    let mut told = Vec::new();
    for layer in [unlogged, managed, untyped] {
        let (code, detail) = Tag::Sig.rejected(&collector, layer).await;
        told.push(format!("{code}: {detail}"));
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    log-proof-missing: expected a log entry in the annotation `dev.sigstore.cosign/bundle`, found none
    log-proof-missing: expected a log entry in the annotation `dev.sigstore.cosign/bundle`, found none
    predicate-type-mismatch: expected a payload of the type `cosign container image signature`, found `atomic container signature`
    ");
}
