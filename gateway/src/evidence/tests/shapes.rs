//! Bundles put together from parts, and bundles that say two things.

use serde_json::json;

use super::*;
use crate::dev::sigstore::{BUNDLE_V01, Content, Log};

const LOGS: [Log; 2] = [Log::RekorV1, Log::RekorV2];

fn message() -> Content {
    Content::Message { bytes: manifest() }
}

#[tokio::test]
async fn a6_1_a6_2_grafted_log_entries_do_not_match() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for log in LOGS {
        for what in [message(), Content::SignStatement] {
            let bundle = sigstore.sign(cosign().logged_in(log).signing(what.clone())).unwrap();
            // A6.1: the entry of another artifact; A6.2: the entry of the same artifact by another signer.
            let mut of_another = cosign().logged_in(log).signing(match &what {
                Content::Message { .. } => Content::Message { bytes: Bytes::from_static(b"other") },
                other => other.clone(),
            });
            of_another.manifest = Digest::of(b"other");
            let by_another = cosign().logged_in(log).signing(what.clone());
            for donor in [of_another, by_another] {
                let donor: Value = serde_json::from_slice(&sigstore.sign(donor).unwrap()).unwrap();
                let grafted = changed(&bundle, |bundle| {
                    bundle["verificationMaterial"]["tlogEntries"] =
                        donor["verificationMaterial"]["tlogEntries"].clone();
                });
                let (code, detail) = rejected(&collector, grafted).await;
                assert_eq!(code, Code::LOG_ENTRY_MISMATCH, "{detail}");

                // The right entry with the proof of the other one.
                let grafted = changed(&bundle, |bundle| {
                    bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"] =
                        donor["verificationMaterial"]["tlogEntries"][0]["inclusionProof"].clone();
                });
                let (code, detail) = rejected(&collector, grafted).await;
                assert_eq!(code, Code::LOG_PROOF_INVALID, "{detail}");

                // Ours beside the other one: each entry has to be about this bundle.
                let grafted = changed(&bundle, |bundle| {
                    let entry = donor["verificationMaterial"]["tlogEntries"][0].clone();
                    bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(entry);
                });
                let (code, detail) = rejected(&collector, grafted).await;
                assert_eq!(code, Code::LOG_ENTRY_MISMATCH, "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn a6_4_one_of_two_entries_without_proof_is_told() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for position in [0, 1] {
        let bundle = changed(&sigstore.sign(cosign()).unwrap(), |bundle| {
            let entries = bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
            entries.push(entries[0].clone());
            entries[position].as_object_mut().unwrap().remove("inclusionProof");
        });
        let (code, detail) = rejected(&collector, bundle).await;
        assert_eq!(code, Code::LOG_PROOF_MISSING);
        assert!(detail.contains(&format!("entry {position} of 2")), "{detail}");
    }
}

#[tokio::test]
async fn a6_4_a_relabelled_bundle_is_unsupported() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let good = sigstore.sign(cosign()).unwrap();
    for media_type in [
        json!(BUNDLE_V01),
        json!("application/vnd.dev.sigstore.bundle+json;version=0.2"),
        json!("application/vnd.dev.sigstore.bundle.v0.4+json"),
        json!(""),
        json!(null),
        json!(3),
    ] {
        let bundle = changed(&good, |bundle| bundle["mediaType"] = media_type.clone());
        assert_eq!(rejected(&collector, bundle).await.0, Code::BUNDLE_UNSUPPORTED, "{media_type}");
    }
    let bundle = changed(&good, |bundle| {
        bundle.as_object_mut().unwrap().remove("mediaType");
    });
    assert_eq!(rejected(&collector, bundle).await.0, Code::BUNDLE_UNSUPPORTED);
    let other_name = json!("application/vnd.dev.sigstore.bundle+json;version=0.3");
    verified(&collector, changed(&good, |bundle| bundle["mediaType"] = other_name)).await;
}

#[tokio::test]
async fn what_is_no_bundle_is_malformed() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let good = sigstore.sign(cosign()).unwrap();
    let media_type = "\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\"";
    for text in [
        "".to_owned(),
        "\0".into(),
        "[]".into(),
        "null".into(),
        format!("{{{media_type}}}"),
        format!("{{{media_type},\"messageSignature\":{{}}}}"),
        format!("{{{media_type},\"messageSignature\":{{}},\"verificationMaterial\":[]}}"),
        format!("{}{}", "[".repeat(100), "]".repeat(100)),
    ] {
        assert_eq!(rejected(&collector, text.clone()).await.0, Code::BUNDLE_MALFORMED, "{text}");
    }
    let trailing = [&good[..], b" {}"].concat();
    assert_eq!(rejected(&collector, trailing).await.0, Code::BUNDLE_MALFORMED);
    // The certificate of a chain, under the name of v0.1.
    let chained = changed(&good, |bundle| {
        let material = bundle["verificationMaterial"].as_object_mut().unwrap();
        let certificate = material.remove("certificate").unwrap();
        material.insert("x509CertificateChain".into(), json!({"certificates": [certificate]}));
    });
    assert_eq!(rejected(&collector, chained).await.0, Code::BUNDLE_MALFORMED);
}

#[tokio::test]
async fn broken_entries_have_their_code() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let good = sigstore.sign(cosign()).unwrap();
    let rows: [(&str, Value, Code); 7] = [
        ("/kindVersion", json!({"kind": "alpine", "version": "0.0.1"}), Code::BUNDLE_UNSUPPORTED),
        ("/canonicalizedBody", json!("e30="), Code::LOG_PROOF_INVALID),
        ("/inclusionProof/checkpoint/envelope", json!("no note"), Code::LOG_PROOF_INVALID),
        ("/inclusionProof/checkpoint/envelope", json!(""), Code::LOG_PROOF_INVALID),
        ("/inclusionProof/treeSize", json!("1"), Code::LOG_PROOF_INVALID),
        ("/inclusionProof/hashes", json!([]), Code::LOG_PROOF_INVALID),
        ("/integratedTime", json!("1"), Code::LOG_TIME_INVALID),
    ];
    for (pointer, value, expected) in rows {
        let bundle = changed(&good, |bundle| {
            *bundle["verificationMaterial"]["tlogEntries"][0].pointer_mut(pointer).unwrap() = value.clone();
        });
        let (code, detail) = rejected(&collector, bundle).await;
        assert_eq!(code, expected, "{pointer} {value}: {detail}");
    }
}
