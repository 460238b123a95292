//! Rows of the catalogue of bypasses that one bundle shows by itself: A4.1, A4.2, A5.3, A6.1, A6.4, A9.2, A9.3.

use serde_json::json;

use super::super::{Expected, OneBundleError, Subject, verify_bundle};
use super::*;
use crate::case::FindingKind;
use crate::dev::sigstore::{BUNDLE_V01, Content, Knob, Log};

const LOGS: [Log; 2] = [Log::RekorV1, Log::RekorV2];
const SPDX: &str = "https://spdx.dev/Document";

fn attesting() -> Sign {
    let predicate = json!({"spdxVersion": "SPDX-2.3", "packages": []});
    cosign().signing(Content::Statement { predicate_type: SPDX.into(), predicate })
}

#[tokio::test]
async fn a4_1_what_a_bundle_is_goes_by_the_type_that_was_signed() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let signature = verified(&collector, sigstore.sign(cosign()).unwrap()).await;
    assert_eq!(signature.kind, FindingKind::Signature);
    let message = cosign().signing(Content::Message { bytes: manifest() });
    let message = verified(&collector, sigstore.sign(message).unwrap()).await;
    assert_eq!((message.kind, message.predicate_type), (FindingKind::Signature, None));
    for predicate_type in [SPDX, "https://sigstore.dev/cosign/sign/v2", "https://sigstore.dev/cosign/sign/v1/"] {
        let request =
            cosign().signing(Content::Statement { predicate_type: predicate_type.into(), predicate: json!({}) });
        match finding(&collector, sigstore.sign(request).unwrap()).await {
            Finding::Verified(found) => {
                assert_eq!(found.kind, FindingKind::Attestation, "{predicate_type}");
                assert_eq!(found.predicate_type.as_deref(), Some(predicate_type));
            }
            Finding::Rejected(found) => assert_eq!((found.code, predicate_type), (Code::STATEMENT_MALFORMED, SPDX)),
        }
    }
}

#[tokio::test]
async fn a4_2_an_envelope_of_anything_else_than_one_statement_is_rejected() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    for (knob, expected) in [
        (Knob::WrongPayloadType, Code::BUNDLE_UNSUPPORTED),
        (Knob::TwoDsseSignatures, Code::BUNDLE_MALFORMED),
        (Knob::PayloadNotJson, Code::STATEMENT_MALFORMED),
        (Knob::PayloadDuplicateKey, Code::STATEMENT_MALFORMED),
        (Knob::StatementOfUnknownType, Code::STATEMENT_MALFORMED),
        (Knob::NoSubjects, Code::STATEMENT_MALFORMED),
        (Knob::Sha512Subject, Code::SUBJECT_MISMATCH),
    ] {
        for log in LOGS {
            for request in [cosign(), attesting()] {
                let request = request.logged_in(log).with(knob);
                for bundle in [sigstore.sign(request.clone()), sigstore.sign_with_key(&managed, request)] {
                    let (code, detail) = rejected(&collector, bundle.unwrap()).await;
                    assert_eq!(code, expected, "{knob:?} in {log:?}: {detail}");
                    let is_said = knob != Knob::TwoDsseSignatures || detail.contains("exactly one signature");
                    assert!(is_said, "{detail}");
                }
            }
        }
    }
    // What is no statement by its type is not read as one.
    let neither = cosign().with(Knob::WrongPayloadType).with(Knob::PayloadNotJson);
    assert_eq!(rejected(&collector, sigstore.sign(neither).unwrap()).await.0, Code::BUNDLE_UNSUPPORTED);
}

#[tokio::test]
async fn a5_3_one_subject_has_to_be_ours_letter_by_letter() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    for request in [cosign(), attesting()] {
        for knob in [Knob::SeveralSubjects, Knob::SubjectTwice] {
            verified(&collector, sigstore.sign(request.clone().with(knob)).unwrap()).await;
            verified(&collector, sigstore.sign_with_key(&managed, request.clone().with(knob)).unwrap()).await;
        }
        let upper = request.with(Knob::UpperCaseSubject);
        for bundle in [sigstore.sign(upper.clone()), sigstore.sign_with_key(&managed, upper)] {
            let (code, detail) = rejected(&collector, bundle.unwrap()).await;
            assert_eq!(code, Code::SUBJECT_MISMATCH, "{detail}");
        }
    }
}

#[tokio::test]
async fn a6_1_an_entry_has_to_be_of_a_kind_that_binds_and_about_this_envelope() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let release = key("release", &managed);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    let entries = "/verificationMaterial/tlogEntries";
    let parts =
        |request| -> Value { serde_json::from_slice(&sigstore.sign_with_key(&managed, request).unwrap()).unwrap() };
    // By one key, so that nothing but the artifact differs.
    for (ours, theirs) in [(cosign(), cosign()), (attesting(), attesting())] {
        let ours = ours.with(Knob::IntotoEntry);
        let mut theirs = theirs.with(Knob::IntotoEntry);
        theirs.manifest = Digest::of(b"another manifest");
        let (good, other) = (parts(ours), parts(theirs));
        assert_eq!(good.pointer(entries).unwrap()[0]["kindVersion"], json!({"kind": "intoto", "version": "0.0.2"}));
        verified(&collector, serde_json::to_vec(&good).unwrap()).await;
        let mut grafted = good;
        *grafted.pointer_mut(entries).unwrap() = other.pointer(entries).unwrap().clone();
        let (code, detail) = rejected(&collector, serde_json::to_vec(&grafted).unwrap()).await;
        assert_eq!(code, Code::LOG_ENTRY_MISMATCH, "{detail}");
    }
    // The entry of a message beside an envelope, and the reverse; a kind that binds nothing.
    let message = || cosign().signing(Content::Message { bytes: manifest() });
    let (envelope, message) = (parts(cosign()), parts(message()));
    for (bundle, entry) in [(&envelope, &message), (&message, &envelope)] {
        let mut crossed = bundle.clone();
        *crossed.pointer_mut(entries).unwrap() = entry.pointer(entries).unwrap().clone();
        assert_eq!(rejected(&collector, serde_json::to_vec(&crossed).unwrap()).await.0, Code::BUNDLE_UNSUPPORTED);
    }
    for (kind, version) in [("intoto", "0.0.1"), ("dsse", "0.0.2"), ("rekord", "0.0.1"), ("hashedrekord", "0.0.3")] {
        let mut other = envelope.clone();
        other.pointer_mut(entries).unwrap()[0]["kindVersion"] = json!({"kind": kind, "version": version});
        let (code, detail) = rejected(&collector, serde_json::to_vec(&other).unwrap()).await;
        assert_eq!(code, Code::BUNDLE_UNSUPPORTED, "{detail}");
        assert!(detail.contains(&format!("`{kind}/{version}`")), "{detail}");
    }
}

#[tokio::test]
async fn a6_4_a_bundle_without_its_proof_is_none_under_any_label() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let message = || cosign().signing(Content::Message { bytes: manifest() });
    // In Rekor v2 a time-stamp authority says when, so that nothing but the proof speaks for the log.
    let v2 = |request: Sign| request.logged_in(Log::RekorV2);
    for request in [cosign(), message(), v2(cosign()), v2(message())] {
        let bare = sigstore.sign(request.with(Knob::NoInclusionProof)).unwrap();
        for media_type in
            [json!(BUNDLE_V01), json!("application/vnd.dev.sigstore.bundle+json;version=0.2"), json!(null)]
        {
            let relabelled = changed(&bare, |bundle| bundle["mediaType"] = media_type.clone());
            assert_eq!(rejected(&collector, relabelled).await.0, Code::BUNDLE_UNSUPPORTED, "{media_type}");
        }
        let unlabelled = changed(&bare, |bundle| drop(bundle.as_object_mut().unwrap().remove("mediaType")));
        assert_eq!(rejected(&collector, unlabelled).await.0, Code::BUNDLE_UNSUPPORTED);
        assert_eq!(rejected(&collector, bare.clone()).await.0, Code::LOG_PROOF_MISSING);
        let unlogged = changed(&bare, |bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]));
        assert_eq!(rejected(&collector, unlogged).await.0, Code::LOG_PROOF_MISSING);
        let null =
            changed(&bare, |bundle| bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"] = json!(null));
        assert_eq!(rejected(&collector, null).await.0, Code::LOG_PROOF_MISSING);
    }
}

#[tokio::test]
async fn a9_2_a_certificate_has_one_name_and_it_is_a_uri_or_an_address() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for knob in [Knob::NoSan, Knob::TwoUriSans, Knob::EmailSanBeside, Knob::DnsSanBeside, Knob::OtherNameSan] {
        for log in LOGS {
            let (code, detail) = rejected(&collector, sigstore.sign(cosign().logged_in(log).with(knob)).unwrap()).await;
            assert_eq!(code, Code::IDENTITY_MISMATCH, "{knob:?}: {detail}");
        }
    }
    verified(&collector, sigstore.sign(cosign()).unwrap()).await;
}

#[test]
fn a9_3_one_bundle_is_by_the_very_identity_and_issuer_that_were_asked_for() {
    let sigstore = Sigstore::new(start()).unwrap();
    let (root, manifest) = (sigstore.trusted_root_json(), manifest());
    let bundle = sigstore.sign(cosign()).unwrap();
    let by = |san: &str, issuer: &str| {
        let expected = Expected::Identity { san, issuer };
        match verify_bundle(root.as_bytes(), &bundle, Subject::Bytes(&manifest), expected) {
            Ok(_) => None,
            Err(OneBundleError::Rejected(rejection)) => Some(rejection.code),
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(by(IDENTITY, ISSUER), None);
    for san in ["https://github.com/acme/cart", &format!("{IDENTITY}x"), &IDENTITY.to_uppercase(), "", "*"] {
        assert_eq!(by(san, ISSUER), Some(Code::IDENTITY_MISMATCH), "{san}");
    }
    for issuer in ["https://other.example", &format!("{ISSUER}/"), "", "*"] {
        assert_eq!(by(IDENTITY, issuer), Some(Code::ISSUER_MISMATCH), "{issuer}");
    }
    let by_key = sigstore.sign_with_key(&ManagedKey::generate().unwrap(), cosign()).unwrap();
    let expected = Expected::Identity { san: IDENTITY, issuer: ISSUER };
    assert!(verify_bundle(root.as_bytes(), &by_key, Subject::Bytes(&manifest), expected).is_err());
}
