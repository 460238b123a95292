//! Attestations: verified, about this artifact and of their type's shape, before anybody reads a word of them.

use serde_json::json;

use super::*;
use crate::case::{Attested, FindingKind};
use crate::dev::sigstore::{Content, Knob, Log};

const SPDX: &str = "https://spdx.dev/Document";

fn bill() -> Value {
    json!({"spdxVersion": "SPDX-2.3", "packages": [{"name": "left-pad", "versionInfo": "1.3.0"}]})
}

fn attesting(predicate_type: &str, predicate: Value) -> Sign {
    cosign().signing(Content::Statement { predicate_type: predicate_type.into(), predicate })
}

#[tokio::test]
async fn a_verified_attestation_is_read() {
    let sigstore = Sigstore::new(start()).unwrap();
    for log in [Log::RekorV1, Log::RekorV2] {
        let bundle = sigstore.sign(attesting(SPDX, bill()).logged_in(log)).unwrap();
        let found = verified(&trusting(&sigstore), bundle).await;
        assert_eq!(found.kind, FindingKind::Attestation);
        assert_eq!(found.predicate, Some(bill()));
        let Some(Attested::Sbom(sbom)) = found.attests.as_deref() else { panic!("{:?}", found.attests) };
        assert_eq!(sbom.packages[0].name, "left-pad");
    }
}

#[tokio::test]
async fn a4_1_what_is_said_goes_by_the_predicate_type_alone() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    // Another type: nothing is read, whatever it looks like.
    let other = sigstore.sign(attesting("https://example.org/x", bill())).unwrap();
    let found = verified(&collector, other).await;
    assert_eq!((found.kind, found.attests), (FindingKind::Attestation, None));
    // A signature says nothing but that it is one.
    let signature = verified(&collector, sigstore.sign(cosign()).unwrap()).await;
    assert_eq!((signature.kind, signature.attests), (FindingKind::Signature, None));
    // The words of one type under the name of another are no statement, though well signed.
    let mixed = sigstore.sign(attesting("https://slsa.dev/provenance/v1", bill())).unwrap();
    let (code, detail) = rejected(&collector, mixed).await;
    assert_eq!(code, Code::STATEMENT_MALFORMED);
    assert!(detail.contains("`buildDefinition` of the provenance"), "{detail}");
}

#[tokio::test]
async fn a4_2_a_statement_of_another_shape_is_rejected() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for predicate in [json!({}), json!({"spdxVersion": "SPDX-2.3"}), json!("SPDXVersion: SPDX-2.3"), json!(null)] {
        let bundle = sigstore.sign(attesting(SPDX, predicate)).unwrap();
        assert_eq!(rejected(&collector, bundle).await.0, Code::STATEMENT_MALFORMED);
    }
    let none = sigstore.sign(attesting(SPDX, bill()).with(Knob::NoPredicate)).unwrap();
    assert_eq!(rejected(&collector, none).await.0, Code::STATEMENT_MALFORMED);
    for (knob, code) in [(Knob::NoSubjects, Code::STATEMENT_MALFORMED), (Knob::Sha512Subject, Code::SUBJECT_MISMATCH)] {
        let bundle = sigstore.sign(attesting(SPDX, bill()).with(knob)).unwrap();
        assert_eq!(rejected(&collector, bundle).await.0, code, "{knob:?}");
    }
}

#[tokio::test]
async fn a5_1_an_attestation_about_another_artifact_says_nothing() {
    let sigstore = Sigstore::new(start()).unwrap();
    let mut about_x = attesting(SPDX, bill());
    about_x.manifest = Digest::of(b"x");
    let (code, detail) = rejected(&trusting(&sigstore), sigstore.sign(about_x).unwrap()).await;
    assert_eq!(code, Code::SUBJECT_MISMATCH);
    assert!(detail.contains(&Digest::of(b"x").hex()), "{detail}");
}

#[tokio::test]
async fn a5_3_any_subject_may_match_and_only_exactly() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for knob in [Knob::SeveralSubjects, Knob::SubjectTwice] {
        let bundle = sigstore.sign(attesting(SPDX, bill()).with(knob)).unwrap();
        assert!(verified(&collector, bundle).await.attests.is_some(), "{knob:?}");
    }
    let bundle = sigstore.sign(attesting(SPDX, bill()).with(Knob::UpperCaseSubject)).unwrap();
    assert_eq!(rejected(&collector, bundle).await.0, Code::SUBJECT_MISMATCH);
}

#[tokio::test]
async fn a26_3_nothing_of_an_unverifiable_attestation_is_in_the_case() {
    let ours = Sigstore::new(start()).unwrap();
    let theirs = Sigstore::new(start()).unwrap();
    let forged = theirs.sign(attesting(SPDX, bill())).unwrap();
    let evidence = examine(&trusting(&ours), vec![candidate("forged", forged)]).await;
    assert!(matches!(&evidence.findings[..], [Finding::Rejected(_)]));
    let json = serde_json::to_string(&evidence).unwrap();
    for word in ["left-pad", "predicate", "attests", SPDX] {
        assert!(!json.contains(word), "`{word}` of a statement that nobody signed: {json}");
    }
}

#[tokio::test]
async fn what_is_read_counts_against_the_predicates_of_a_case() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    // Each package costs its bytes in the predicate and its bytes in what is read of it.
    let package = |name: usize| json!({"name": format!("{name:0>2000}")});
    let bill = |from: usize| json!({"spdxVersion": "SPDX-2.3", "packages": (from..from + 1400).map(package).collect::<Vec<_>>()});
    let sign = |from: usize| sigstore.sign(attesting(SPDX, bill(from))).unwrap();
    let evidence = examine(&collector, vec![candidate("a", sign(0)), candidate("b", sign(1))]).await;
    let codes = evidence.findings.iter().map(|finding| match finding {
        Finding::Verified(_) => "verified",
        Finding::Rejected(finding) => finding.code.as_str(),
    });
    let mut codes = codes.collect::<Vec<_>>();
    codes.sort_unstable();
    assert_eq!(codes, ["limit-exceeded", "verified"]);
}
