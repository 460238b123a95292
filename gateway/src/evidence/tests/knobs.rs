//! Each defect that the private Sigstore can put in, with its code.

use serde_json::json;

use super::*;
use crate::case::{FindingKind, San, SanKind, Signer};
use crate::dev::sigstore::{Content, Knob, Log};

const LOGS: [Log; 2] = [Log::RekorV1, Log::RekorV2];

fn contents() -> [Content; 3] {
    [
        Content::Message { bytes: manifest() },
        Content::SignStatement,
        Content::Statement { predicate_type: "https://acme.example/level/v1".into(), predicate: json!({"level": 3}) },
    ]
}

#[tokio::test]
async fn good_bundles_verify_and_say_who_signed() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for log in LOGS {
        for what in contents() {
            let mut request = cosign().logged_in(log).signing(what.clone());
            request.claims.insert("source_repository_uri".into(), "https://github.com/acme/cart".into());
            let found = verified(&collector, sigstore.sign(request).unwrap()).await;
            assert_eq!(found.trust, "acme");
            assert_eq!(found.times, ["2025-06-01T12:00:05Z".parse::<Timestamp>().unwrap()]);
            let san = San { kind: SanKind::Uri, value: IDENTITY.into() };
            let claims = [("source_repository_uri".to_owned(), "https://github.com/acme/cart".to_owned())].into();
            assert_eq!(found.signer, Signer::Keyless { issuer: ISSUER.into(), san, claims });
            match what {
                Content::Message { .. } => {
                    assert_eq!((found.kind, found.predicate_type), (FindingKind::Signature, None));
                }
                Content::SignStatement => assert_eq!(found.kind, FindingKind::Signature),
                Content::Statement { predicate_type, predicate } => {
                    assert_eq!(found.kind, FindingKind::Attestation);
                    assert_eq!((found.predicate_type, found.predicate), (Some(predicate_type), Some(predicate)));
                }
            }
        }
    }
}

#[tokio::test]
async fn rarer_good_shapes_verify() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let email = Sign::cosign(Digest::of(&manifest()), "ci@acme.example", ISSUER, start());
    let found = verified(&collector, sigstore.sign(email).unwrap()).await;
    assert!(matches!(found.signer, Signer::Keyless { san: San { kind: SanKind::Email, .. }, .. }));
    for knob in [Knob::StatementV01, Knob::SeveralSubjects, Knob::SubjectTwice, Knob::NoPredicate] {
        for log in LOGS {
            verified(&collector, sigstore.sign(cosign().logged_in(log).with(knob)).unwrap()).await;
        }
    }
    for knob in [Knob::P384Signer, Knob::Ed25519Signer] {
        for what in contents() {
            verified(&collector, sigstore.sign(cosign().with(knob).signing(what)).unwrap()).await;
        }
    }
}

#[tokio::test]
async fn each_defect_has_its_code() {
    use Content::SignStatement as Statement;
    let message = || Content::Message { bytes: manifest() };
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let rows = [
        (Knob::NoSan, LOGS.to_vec(), vec![Statement], Code::IDENTITY_MISMATCH),
        (Knob::TwoUriSans, LOGS.to_vec(), vec![Statement], Code::IDENTITY_MISMATCH),
        (Knob::EmailSanBeside, LOGS.to_vec(), vec![Statement], Code::IDENTITY_MISMATCH),
        (Knob::DnsSanBeside, LOGS.to_vec(), vec![Statement], Code::IDENTITY_MISMATCH),
        (Knob::OtherNameSan, LOGS.to_vec(), vec![Statement], Code::IDENTITY_MISMATCH),
        (Knob::NoIssuer, LOGS.to_vec(), vec![Statement], Code::ISSUER_MISMATCH),
        (Knob::TwoIssuers, LOGS.to_vec(), vec![Statement], Code::CERTIFICATE_UNTRUSTED),
        (Knob::NoLogEntry, LOGS.to_vec(), vec![Statement, message()], Code::LOG_PROOF_MISSING),
        (Knob::NoInclusionProof, LOGS.to_vec(), vec![Statement, message()], Code::LOG_PROOF_MISSING),
        (Knob::ForeignLog, LOGS.to_vec(), vec![Statement, message()], Code::LOG_UNKNOWN),
        (Knob::CheckpointOfAnotherTree, LOGS.to_vec(), vec![Statement], Code::LOG_PROOF_INVALID),
        (Knob::EntryOfAnotherSignature, LOGS.to_vec(), vec![Statement, message()], Code::LOG_ENTRY_MISMATCH),
        (Knob::SignatureOfAnotherContent, LOGS.to_vec(), vec![Statement, message()], Code::SIGNATURE_INVALID),
        (Knob::WrongPayloadType, LOGS.to_vec(), vec![Statement], Code::BUNDLE_UNSUPPORTED),
        (Knob::TwoDsseSignatures, LOGS.to_vec(), vec![Statement], Code::BUNDLE_MALFORMED),
        (Knob::PayloadNotJson, LOGS.to_vec(), vec![Statement], Code::STATEMENT_MALFORMED),
        (Knob::PayloadDuplicateKey, LOGS.to_vec(), vec![Statement], Code::STATEMENT_MALFORMED),
        (Knob::StatementOfUnknownType, LOGS.to_vec(), vec![Statement], Code::STATEMENT_MALFORMED),
        (Knob::NoSubjects, LOGS.to_vec(), vec![Statement], Code::STATEMENT_MALFORMED),
        (Knob::UpperCaseSubject, LOGS.to_vec(), vec![Statement], Code::SUBJECT_MISMATCH),
        (Knob::Sha512Subject, LOGS.to_vec(), vec![Statement], Code::SUBJECT_MISMATCH),
        (Knob::LabelledV01, LOGS.to_vec(), vec![Statement, message()], Code::BUNDLE_UNSUPPORTED),
    ];
    let mut wrong = Vec::new();
    for (knob, logs, contents, expected) in rows {
        for log in logs {
            for what in &contents {
                let request = cosign().logged_in(log).signing(what.clone()).with(knob);
                let bundle = sigstore.sign(request).unwrap();
                match finding(&collector, bundle).await {
                    Finding::Rejected(found) if found.code == expected => assert!(!found.detail.is_empty()),
                    found => wrong.push(format!("{knob:?} in {log:?}: expected {expected}, found {found:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn of_several_roots_the_right_one_counts() {
    let (ours, theirs) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    for order in [["ours", "theirs"], ["theirs", "ours"]] {
        let roots = order.map(|name| root(name, if name == "ours" { &ours } else { &theirs })).to_vec();
        let collector = collector(&Settings { roots, ..Settings::default() });
        for (name, sigstore) in [("ours", &ours), ("theirs", &theirs)] {
            assert_eq!(verified(&collector, sigstore.sign(cosign()).unwrap()).await.trust, name);
            let bundle = sigstore.sign(cosign().with(Knob::SignatureOfAnotherContent)).unwrap();
            assert_eq!(rejected(&collector, bundle).await.0, Code::SIGNATURE_INVALID);
        }
    }
}

#[tokio::test]
async fn a9_1_names_that_would_be_printed_otherwise_than_they_match_are_refused() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let digest = Digest::of(&manifest());
    for identity in
        ["https://github.com/acme\n", "https://github.com/acme\0.evil", "https://github.com/acme x", "ci@\u{7f}"]
    {
        let bundle = sigstore.sign(Sign::cosign(digest, identity, ISSUER, start())).unwrap();
        let (code, detail) = rejected(&collector, bundle).await;
        assert_eq!(code, Code::IDENTITY_MISMATCH, "{detail}");
        assert!(!detail.contains(char::is_control));
    }
    let bundle = sigstore.sign(Sign::cosign(digest, IDENTITY, "https://issuer.example\n", start())).unwrap();
    assert_eq!(rejected(&collector, bundle).await.0, Code::ISSUER_MISMATCH);
}

#[tokio::test]
async fn a5_1_a_bundle_about_another_artifact_is_told_so() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let other = Bytes::from_static(b"another manifest");
    for log in LOGS {
        for what in [Content::Message { bytes: other.clone() }, Content::SignStatement] {
            let mut request = cosign().logged_in(log).signing(what);
            request.manifest = Digest::of(&other);
            let (code, detail) = rejected(&collector, sigstore.sign(request).unwrap()).await;
            assert_eq!(code, Code::SUBJECT_MISMATCH, "{detail}");
            assert!(detail.contains(&Digest::of(&manifest()).hex()) && detail.contains(&Digest::of(&other).hex()));
        }
    }
}
