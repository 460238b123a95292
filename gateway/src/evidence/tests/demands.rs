//! What a root asks of signatures: each waiver lets in what it names, and nothing beside it.

use serde_json::json;

use super::super::{Demands, LogDemand, SctDemand, Standing, basis};
use super::*;
use crate::case::{CosignLayer, Waiver};
use crate::dev::sigstore::{Content, Knob, Log};

const LOGS: [Log; 2] = [Log::RekorV1, Log::RekorV2];

const NO_LOG: Demands = Demands { transparency_log: LogDemand::Optional, sct: SctDemand::Required };
const NO_SCT: Demands = Demands { transparency_log: LogDemand::Required, sct: SctDemand::NotRequired };
const NEITHER: Demands = Demands { transparency_log: LogDemand::Optional, sct: SctDemand::NotRequired };

fn asking(name: &str, sigstore: &Sigstore, demands: Demands) -> RootSettings {
    let Demands { transparency_log, sct } = demands;
    RootSettings { transparency_log, sct, ..root(name, sigstore) }
}

fn trusting(sigstore: &Sigstore, demands: Demands) -> Collector {
    collector(&Settings { roots: vec![asking("acme", sigstore, demands)], ..Settings::default() })
}

fn contents() -> [Content; 2] {
    [Content::Message { bytes: manifest() }, Content::SignStatement]
}

/// A bundle without entry, as cosign leaves them out.
fn without_entries(bundle: &[u8]) -> Vec<u8> {
    changed(bundle, |bundle| {
        assert_eq!(bundle["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries"), Some(json!([])));
    })
}

#[tokio::test]
async fn a10_4_without_an_sct_where_none_is_asked() {
    let sigstore = Sigstore::new(start()).unwrap();
    for (demands, waived) in [(NO_SCT, vec![Waiver::Sct]), (NEITHER, vec![Waiver::Sct])] {
        let lax = trusting(&sigstore, demands);
        for log in LOGS {
            for what in contents() {
                let request = || cosign().logged_in(log).signing(what.clone());
                for request in [request(), request().with(Knob::NoSct), request().with(Knob::ForeignSct)] {
                    assert_eq!(verified(&lax, sigstore.sign(request).unwrap()).await.waived, waived);
                }
                // The chain, its usage and its times are asked as before.
                for (knob, code) in [
                    (Knob::LeafWithoutCodeSigning, Code::CERTIFICATE_UNTRUSTED),
                    (Knob::NoIssuer, Code::ISSUER_MISMATCH),
                    (Knob::SignatureOfAnotherContent, Code::SIGNATURE_INVALID),
                    (Knob::EntryOfAnotherSignature, Code::LOG_ENTRY_MISMATCH),
                    (Knob::NoInclusionProof, Code::LOG_PROOF_MISSING),
                ] {
                    let bundle = sigstore.sign(request().with(Knob::NoSct).with(knob)).unwrap();
                    assert_eq!(rejected(&lax, bundle).await.0, code, "{knob:?} in {log:?}");
                }
                let theirs = Sigstore::new(start()).unwrap().sign(request().with(Knob::NoSct)).unwrap();
                assert_eq!(rejected(&lax, theirs).await.0, Code::CERTIFICATE_UNTRUSTED);
            }
        }
    }
    for demands in [Demands::default(), NO_LOG] {
        let bundle = sigstore.sign(cosign().with(Knob::NoSct)).unwrap();
        assert_eq!(rejected(&trusting(&sigstore, demands), bundle).await.0, Code::SCT_INVALID);
    }
}

#[tokio::test]
async fn a6_4_without_an_entry_where_none_is_asked_a_time_stamp_proves_the_time() {
    let sigstore = Sigstore::new(start()).unwrap();
    for (demands, waived) in
        [(NO_LOG, vec![Waiver::TransparencyLog]), (NEITHER, vec![Waiver::TransparencyLog, Waiver::Sct])]
    {
        let lax = trusting(&sigstore, demands);
        for what in contents() {
            let request = || cosign().logged_in(Log::RekorV2).signing(what.clone()).with(Knob::NoLogEntry);
            let bundle = sigstore.sign(request()).unwrap();
            for bundle in [without_entries(&bundle), bundle] {
                let found = verified(&lax, bundle).await;
                assert_eq!(
                    (found.waived, found.times),
                    (waived.clone(), vec!["2025-06-01T12:00:05Z".parse().unwrap()])
                );
            }
            for (knob, code) in [
                (Knob::NoTimestamp, Code::TIMESTAMP_MISSING),
                (Knob::LateTimestamp, Code::CERTIFICATE_OUTSIDE_VALIDITY),
                (Knob::ForeignTimestamp, Code::TIMESTAMP_INVALID),
                (Knob::TimestampOfAnotherSignature, Code::TIMESTAMP_INVALID),
                (Knob::SignatureOfAnotherContent, Code::SIGNATURE_INVALID),
                (Knob::LeafWithoutCodeSigning, Code::CERTIFICATE_UNTRUSTED),
            ] {
                let (code_found, detail) = rejected(&lax, sigstore.sign(request().with(knob)).unwrap()).await;
                assert_eq!(code_found, code, "{knob:?}: {detail}");
            }
            if demands == NO_LOG {
                let bundle = sigstore.sign(request().with(Knob::NoSct)).unwrap();
                assert_eq!(rejected(&lax, bundle).await.0, Code::SCT_INVALID);
            }
            let theirs = Sigstore::new(start()).unwrap();
            for request in [request(), request().with(Knob::NoTimestamp)] {
                assert_eq!(rejected(&lax, theirs.sign(request).unwrap()).await.0, Code::CERTIFICATE_UNTRUSTED);
            }
        }
    }
    for demands in [Demands::default(), NO_SCT] {
        let bundle = sigstore.sign(cosign().logged_in(Log::RekorV2).with(Knob::NoLogEntry)).unwrap();
        let (code, detail) = rejected(&trusting(&sigstore, demands), bundle).await;
        assert_eq!(
            (code, detail.as_str()),
            (Code::LOG_PROOF_MISSING, "expected a log entry with an inclusion proof, found no entry")
        );
    }
}

#[tokio::test]
async fn a6_4_an_entry_that_is_there_is_verified_in_full_even_where_none_is_asked() {
    let sigstore = Sigstore::new(start()).unwrap();
    let lax = trusting(&sigstore, NEITHER);
    for log in LOGS {
        for what in contents() {
            // The time-stamp is good each time: the entry alone decides.
            let request = || cosign().logged_in(log).signing(what.clone()).with(Knob::TimestampBeside);
            assert_eq!(verified(&lax, sigstore.sign(request()).unwrap()).await.waived, [Waiver::Sct]);
            for (knob, code) in [
                (Knob::NoInclusionProof, Code::LOG_PROOF_MISSING),
                (Knob::CheckpointOfAnotherTree, Code::LOG_PROOF_INVALID),
                (Knob::ForeignLog, Code::LOG_UNKNOWN),
                (Knob::EntryOfAnotherSignature, Code::LOG_ENTRY_MISMATCH),
            ] {
                let (found, detail) = rejected(&lax, sigstore.sign(request().with(knob)).unwrap()).await;
                assert_eq!(found, code, "{knob:?} in {log:?}: {detail}");
            }
        }
    }
    for knob in [Knob::ForgedIntegratedTime, Knob::LateIntegratedTime] {
        let bundle = sigstore.sign(cosign().with(Knob::TimestampBeside).with(knob)).unwrap();
        assert!(matches!(finding(&lax, bundle).await, Finding::Rejected(_)), "{knob:?}");
    }
}

#[tokio::test]
async fn layers_of_cosign_v2_are_held_to_the_same_demands() {
    let sigstore = Sigstore::new(start()).unwrap();
    let unlogged = || cosign().with(Knob::NoLogEntry);
    let attestation = |request: Sign| {
        let predicate = json!({"level": 3});
        request.signing(Content::Statement { predicate_type: "https://acme.example/level/v1".into(), predicate })
    };
    let signature = |request| CandidateContent::CosignSignature(sigstore.sign_legacy(request).unwrap());
    let attested = |request| CandidateContent::CosignAttestation(sigstore.attest_legacy(attestation(request)).unwrap());
    let layers: [&dyn Fn(Sign) -> CandidateContent; 2] = [&signature, &attested];
    for layer in layers {
        let find = async |collector: &Collector, content| {
            let one = Candidate { content: Ok(content), ..candidate("one", "") };
            match examine(collector, vec![one]).await.findings.remove(0) {
                Finding::Verified(found) => Ok(found.waived),
                Finding::Rejected(found) => Err(found.code),
            }
        };
        let lax = trusting(&sigstore, NO_LOG);
        let stamped = layer(unlogged().with(Knob::TimestampBeside));
        let annotations = |content: &CandidateContent| match content {
            CandidateContent::CosignSignature(CosignLayer { annotations, .. })
            | CandidateContent::CosignAttestation(CosignLayer { annotations, .. }) => annotations.clone(),
            CandidateContent::Bundle(_) => panic!("a layer"),
        };
        assert!(!annotations(&stamped).contains_key("dev.sigstore.cosign/bundle"));
        assert_eq!(find(&lax, stamped.clone()).await, Ok(vec![Waiver::TransparencyLog]));
        assert_eq!(find(&trusting(&sigstore, Demands::default()), stamped).await, Err(Code::LOG_PROOF_MISSING));
        assert_eq!(find(&lax, layer(unlogged())).await, Err(Code::TIMESTAMP_MISSING));
        let foreign = layer(unlogged().with(Knob::TimestampBeside).with(Knob::ForeignTimestamp));
        assert_eq!(find(&lax, foreign).await, Err(Code::TIMESTAMP_INVALID));
        // An entry that is there keeps its promise.
        let promised = layer(cosign().with(Knob::TimestampBeside).with(Knob::ForgedIntegratedTime));
        assert_eq!(find(&lax, promised).await, Err(Code::LOG_PROOF_INVALID));
        assert_eq!(find(&lax, layer(cosign())).await, Ok(Vec::new()));
    }
}

#[tokio::test]
async fn one_root_waives_nothing_for_another() {
    let (strict, lax) = (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
    for turned in [false, true] {
        let mut roots = vec![asking("strict", &strict, Demands::default()), asking("lax", &lax, NEITHER)];
        if turned {
            roots.reverse();
        }
        let collector = collector(&Settings { roots, ..Settings::default() });
        let unlogged = || cosign().logged_in(Log::RekorV2).with(Knob::NoLogEntry);
        assert_eq!(verified(&collector, lax.sign(unlogged().with(Knob::NoSct)).unwrap()).await.trust, "lax");
        assert_eq!(rejected(&collector, strict.sign(unlogged()).unwrap()).await.0, Code::LOG_PROOF_MISSING);
        assert_eq!(rejected(&collector, strict.sign(cosign().with(Knob::NoSct)).unwrap()).await.0, Code::SCT_INVALID);
        assert_eq!(verified(&collector, strict.sign(cosign()).unwrap()).await.trust, "strict");
    }
}

#[test]
fn what_is_waived_is_part_of_what_is_believed() {
    let sigstore = Sigstore::new(start()).unwrap();
    let mut digests = Vec::new();
    let mut bases = Vec::new();
    for demands in [Demands::default(), NO_LOG, NO_SCT, NEITHER] {
        let trust = Trust::load(&Settings { roots: vec![asking("acme", &sigstore, demands)], ..Settings::default() });
        let trust = trust.unwrap();
        let facts = trust.facts(later());
        assert_eq!(facts[0].waived, demands.waived());
        bases.push(basis(&facts));
        digests.push(trust.digest());
        assert_eq!(Standing::new(trust.into(), None).basis(), bases[bases.len() - 1]);
    }
    for list in [&mut digests, &mut bases] {
        list.sort();
        list.dedup();
        assert_eq!(list.len(), 4, "two demands look the same");
    }
}
