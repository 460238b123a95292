//! A10: certificate chains and times; each has to hold at every time that is proven, and there is one.

use serde_json::json;

use super::super::LogDemand;
use super::super::limits::CLOCK_SKEW_S;
use super::*;
use crate::dev::sigstore::{Content, Flaw, Knob, Log};

const LOGS: [Log; 2] = [Log::RekorV1, Log::RekorV2];

fn contents() -> [Content; 2] {
    [Content::Message { bytes: manifest() }, Content::SignStatement]
}

#[tokio::test]
async fn a10_1_a_certificate_counts_under_a_chain_that_is_valid_and_configured() {
    let later = start() + jiff::SignedDuration::from_hours(1);
    for flaw in [Flaw::IntermediateExpired, Flaw::AuthorityRetired] {
        let sigstore = Sigstore::flawed(start(), flaw).unwrap();
        let collector = trusting(&sigstore);
        for log in LOGS {
            let mut late = cosign().logged_in(log);
            late.at = later;
            let (code, detail) = rejected(&collector, sigstore.sign(late).unwrap()).await;
            assert_eq!(code, Code::CERTIFICATE_UNTRUSTED, "{flaw:?} in {log:?}: {detail}");
            // What was signed in time stays good: it is the flaw and nothing else that is rejected.
            verified(&collector, sigstore.sign(cosign().logged_in(log)).unwrap()).await;
        }
    }
    let (ours, theirs) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    let collector = trusting(&ours);
    for log in LOGS {
        for what in contents() {
            let request = || cosign().logged_in(log).signing(what.clone());
            for knob in [Knob::LeafWithoutCodeSigning, Knob::LeafForServers] {
                assert_eq!(
                    rejected(&collector, ours.sign(request().with(knob)).unwrap()).await.0,
                    Code::CERTIFICATE_UNTRUSTED
                );
            }
            let bundle = theirs.sign(request()).unwrap();
            let (code, detail) = rejected(&collector, bundle.clone()).await;
            assert_eq!(code, Code::CERTIFICATE_UNTRUSTED, "{detail}");
            assert!(detail.starts_with("expected a certificate by an authority of `acme`, found one by `"), "{detail}");
            // Its root in the bundle is no trust, and a bundle v0.3 has no place for it.
            let foreign: Value = serde_json::from_str(&theirs.trusted_root_json()).unwrap();
            let rooted = changed(&bundle, |bundle| {
                let material = bundle["verificationMaterial"].as_object_mut().unwrap();
                let mut certificates = vec![material.remove("certificate").unwrap()];
                let chain = &foreign["certificateAuthorities"][0]["certChain"]["certificates"];
                certificates.extend(chain.as_array().unwrap().iter().cloned());
                material.insert("x509CertificateChain".into(), json!({"certificates": certificates}));
            });
            assert_eq!(rejected(&collector, rooted).await.0, Code::BUNDLE_MALFORMED);
        }
    }
}

#[tokio::test]
async fn a10_2_a_time_counts_within_every_window_and_by_an_authority_for_times() {
    let later = start() + jiff::SignedDuration::from_hours(1);
    for (flaw, log, expected) in [
        (Flaw::TsaRetired, Log::RekorV2, Code::TIMESTAMP_INVALID),
        (Flaw::TsaRootExpired, Log::RekorV2, Code::TIMESTAMP_INVALID),
        (Flaw::LogsRetired, Log::RekorV1, Code::LOG_TIME_INVALID),
        (Flaw::AuthorityRetired, Log::RekorV2, Code::CERTIFICATE_UNTRUSTED),
        (Flaw::TsaWithoutUsage, Log::RekorV2, Code::TIMESTAMP_INVALID),
        (Flaw::TsaUsageNotCritical, Log::RekorV2, Code::TIMESTAMP_INVALID),
    ] {
        let sigstore = Sigstore::flawed(start(), flaw).unwrap();
        let collector = trusting(&sigstore);
        let mut late = cosign().logged_in(log);
        late.at = later;
        let (code, detail) = rejected(&collector, sigstore.sign(late).unwrap()).await;
        assert_eq!(code, expected, "{flaw:?} in {log:?}: {detail}");
    }
    for flaw in [Flaw::TsaRetired, Flaw::TsaRootExpired, Flaw::LogsRetired] {
        let sigstore = Sigstore::flawed(start(), flaw).unwrap();
        for log in LOGS {
            verified(&trusting(&sigstore), sigstore.sign(cosign().logged_in(log)).unwrap()).await;
        }
    }
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for (knob, log, expected) in [
        (Knob::LateIntegratedTime, Log::RekorV1, Code::CERTIFICATE_OUTSIDE_VALIDITY),
        (Knob::LateTimestamp, Log::RekorV2, Code::CERTIFICATE_OUTSIDE_VALIDITY),
        // The other authority has the names and the serial number of ours, and its certificate lies in the token.
        (Knob::ForeignTimestamp, Log::RekorV2, Code::TIMESTAMP_INVALID),
        (Knob::TimestampOfAnotherSignature, Log::RekorV2, Code::TIMESTAMP_INVALID),
    ] {
        for what in contents() {
            let request = cosign().logged_in(log).signing(what).with(knob);
            let (code, detail) = rejected(&collector, sigstore.sign(request).unwrap()).await;
            assert_eq!(code, expected, "{knob:?}: {detail}");
        }
    }
}

#[tokio::test]
async fn a10_2_a_time_that_was_changed_in_its_token_is_none() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let lax = KeySettings { transparency_log: LogDemand::Optional, ..key("release", &managed) };
    let roots = vec![root("acme", &sigstore)];
    let collector = collector(&Settings { roots, keys: vec![lax], ..Settings::default() });
    let place = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    let engine = &base64::prelude::BASE64_STANDARD;
    let unlogged = cosign().with(Knob::NoLogEntry).with(Knob::TimestampBeside);
    for bundle in
        [sigstore.sign(cosign().logged_in(Log::RekorV2)).unwrap(), sigstore.sign_with_key(&managed, unlogged).unwrap()]
    {
        verified(&collector, bundle.clone()).await;
        // What is signed is a digest of the time.
        let later = changed(&bundle, |bundle| {
            let stamp = bundle.pointer_mut(place).unwrap();
            let mut token = base64::Engine::decode(engine, stamp.as_str().unwrap()).unwrap();
            let at = token.windows(15).position(|bytes| bytes == b"20250601120005Z").unwrap();
            token[at + 13] = b'6';
            *stamp = json!(base64::Engine::encode(engine, token));
        });
        assert_eq!(rejected(&collector, later).await.0, Code::TIMESTAMP_INVALID);
    }
}

#[tokio::test]
async fn a10_2_of_two_time_stamps_both_have_to_verify() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let stamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
    let parts = |log| -> Value { serde_json::from_slice(&sigstore.sign(cosign().logged_in(log)).unwrap()).unwrap() };
    let (good, other) = (parts(Log::RekorV2), parts(Log::RekorV2));
    for first in [true, false] {
        let mut two = good.clone();
        let position = usize::from(!first);
        two.pointer_mut(stamps)
            .unwrap()
            .as_array_mut()
            .unwrap()
            .insert(position, other.pointer(stamps).unwrap()[0].clone());
        let (code, detail) = rejected(&collector, serde_json::to_vec(&two).unwrap()).await;
        assert_eq!(code, Code::TIMESTAMP_INVALID, "{detail}");
    }
}

#[tokio::test]
async fn a10_3_without_a_proven_time_nothing_counts() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for (knob, log, expected) in [
        (Knob::NoTimestamp, Log::RekorV2, Code::TIMESTAMP_MISSING),
        (Knob::NoPromise, Log::RekorV1, Code::TIMESTAMP_MISSING),
        (Knob::ForgedIntegratedTime, Log::RekorV1, Code::LOG_PROOF_INVALID),
    ] {
        for what in contents() {
            let request = cosign().logged_in(log).signing(what).with(knob);
            let (code, detail) = rejected(&collector, sigstore.sign(request).unwrap()).await;
            assert_eq!(code, expected, "{knob:?}: {detail}");
        }
    }
    // The promise of another entry.
    let parts = || -> Value { serde_json::from_slice(&sigstore.sign(cosign()).unwrap()).unwrap() };
    let (mut good, other) = (parts(), parts());
    let promise = "/verificationMaterial/tlogEntries/0/inclusionPromise";
    *good.pointer_mut(promise).unwrap() = other.pointer(promise).unwrap().clone();
    let (code, detail) = rejected(&collector, serde_json::to_vec(&good).unwrap()).await;
    assert_eq!(code, Code::LOG_PROOF_INVALID, "{detail}");
    // A log that is ahead of this machine's own clock, which the verifier reads.
    let ahead: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    let sigstore = Sigstore::new(ahead - jiff::SignedDuration::from_hours(48)).unwrap();
    let bundle = sigstore.sign(Sign::cosign(Digest::of(&manifest()), IDENTITY, ISSUER, ahead)).unwrap();
    let (code, detail) = rejected(&trusting(&sigstore), bundle).await;
    assert_eq!(code, Code::LOG_TIME_INVALID, "{detail}");
}

#[tokio::test]
async fn a10_3_a_time_that_is_still_to_come_is_asked_anew() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let bundle = sigstore.sign(cosign().logged_in(Log::RekorV2)).unwrap();
    let signed: Timestamp = "2025-06-01T12:00:05Z".parse().unwrap();
    let manifest = manifest();
    // The last one: a clock that is a day behind.
    for (early_s, good) in
        [(CLOCK_SKEW_S + 1, false), (CLOCK_SKEW_S, true), (CLOCK_SKEW_S + 1, false), (24 * 60 * 60, false)]
    {
        let now = signed - jiff::SignedDuration::from_secs(early_s);
        let candidates = Candidates { looked_in: Vec::new(), list: vec![candidate("one", bundle.clone())] };
        let evidence = collector.examine(Exhibit::of(manifest.clone()), candidates, now).await.unwrap();
        match &evidence.findings[0] {
            Finding::Verified(_) => assert!(good, "{early_s} s early"),
            Finding::Rejected(found) => assert_eq!((good, &found.code), (false, &Code::TIMESTAMP_INVALID)),
        }
    }
}

#[tokio::test]
async fn a10_4_a_certificate_holds_one_sct_of_a_log_that_is_named() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    for knob in [Knob::NoSct, Knob::TwoScts, Knob::ForeignSct] {
        for log in LOGS {
            for what in contents() {
                let request = cosign().logged_in(log).signing(what).with(knob);
                let (code, detail) = rejected(&collector, sigstore.sign(request).unwrap()).await;
                assert_eq!(code, Code::SCT_INVALID, "{knob:?} in {log:?}: {detail}");
            }
        }
    }
}
