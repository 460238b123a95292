//! Signatures as cosign v2 left them, found beside the bundles: strict, listed, never taken for none.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::case::{CosignLayer, Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER, SignedBy, policy_data};
use witgate::dev::registry::cosign_tags::{self, DSSE_ENVELOPE, SIMPLE_SIGNING, attestations_tag, signatures_tag};
use witgate::dev::registry::push::{OCI_MANIFEST, Pushed, manifest_raw};
use witgate::dev::registry::{Auth, Fault, Match, Rule, Target};
use witgate::dev::sigstore::{Content, Knob, ManagedKey, Sign, Sigstore};
use witgate_tests::{World, components, free_address, rejected};

const BUNDLE: &str = "dev.sigstore.cosign/bundle";
/// The registry's patience where it hangs.
const IMPATIENT: &str = "[registry]\nidle_timeout_ms = 2000\nmetadata_timeout_ms = 2000\n";

/// A component without a signature.
async fn unsigned(world: &World, name: &str) -> Pushed {
    let wasm = components::command(&format!("{name}\n"));
    world.publish_signed(name, wasm, SignedBy::Nobody).await
}

fn request(digest: Digest) -> Sign {
    let begin = Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(10)).unwrap();
    Sign::cosign(digest, SIGNER, ISSUER, begin)
}

fn provenance(digest: Digest) -> Sign {
    let predicate_type = "https://acme.example/level/v1".into();
    request(digest).signing(Content::Statement { predicate_type, predicate: json!({"level": 3}) })
}

fn repository(pushed: &Pushed) -> String {
    let (_, path) = pushed.reference.split_once('/').unwrap();
    path.split(':').next().unwrap().to_owned()
}

/// Puts `layers` under the tag of the signatures.
async fn sign(world: &World, pushed: &Pushed, layers: &[CosignLayer]) {
    put(world, pushed, &signatures_tag(&pushed.manifest), SIMPLE_SIGNING, layers).await;
}

async fn put(world: &World, pushed: &Pushed, tag: &str, media_type: &str, layers: &[CosignLayer]) {
    let host = world.deployment.registry.host();
    cosign_tags::push(&host, &repository(pushed), tag, media_type, layers, &Auth::Open).await.unwrap();
}

/// The record of the refusal for want of a signature.
async fn refused(world: &World, pushed: &Pushed) -> Value {
    world.refused(json!({"reference": pushed.reference}), "no-verified-signature").await
}

/// The findings of an admission.
async fn admitted(world: &World, pushed: &Pushed) -> Value {
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(!reply.body["ticket"].is_null());
    world.decision(reply.decision()).await["case"]["evidence"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_keyless_signature_of_cosign_v2_admits() {
    let world = World::start().await;
    for (name, knob) in [("plain", None), ("stamped", Some(Knob::TimestampBeside))] {
        let pushed = unsigned(&world, name).await;
        let request = knob.into_iter().fold(request(pushed.manifest), Sign::with);
        sign(&world, &pushed, &[world.deployment.sigstore.sign_legacy(request).unwrap()]).await;
        let evidence = admitted(&world, &pushed).await;
        assert_eq!(evidence["looked_in"], json!(["referrers-api", "fallback-tag", "cosign-tags", "component"]));
        let finding = &evidence["findings"][0];
        assert_eq!(finding["source"]["via"], "cosign-tags");
        assert_eq!(finding["source"]["name"], format!("{}#0", signatures_tag(&pushed.manifest)));
        assert_eq!(finding["source"]["media_type"], SIMPLE_SIGNING);
        assert_eq!((&finding["status"], &finding["kind"]), (&json!("verified"), &json!("signature")));
        assert_eq!(finding["signer"]["san"]["value"], SIGNER);
        assert!(finding["predicate_type"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_keyed_signature_of_cosign_v2_admits_with_its_log_entry_only() {
    let (trusted, stranger) = (ManagedKey::generate().unwrap(), ManagedKey::generate().unwrap());
    let address = free_address();
    let mut data = policy_data(&address.to_string());
    data["witgate"]["signatures"][0]["identities"] = json!([{"key": "release"}]);
    let world = World::with(|setup| {
        let pem = setup.folder.join("release.pub");
        std::fs::write(&pem, trusted.public_pem()).unwrap();
        setup.registry.listen = address;
        setup.policy_data = Some(data);
        setup.more = format!("[[evidence.keys]]\nname = \"release\"\npem = \"{}\"\n", pem.display());
    })
    .await;
    let sigstore = &world.deployment.sigstore;
    let pushed = unsigned(&world, "keyed").await;
    let by = |key: &ManagedKey, request| sigstore.sign_legacy_with_key(key, request).unwrap();
    for (layer, code) in [
        (by(&stranger, request(pushed.manifest)), "key-not-trusted"),
        (by(&trusted, request(pushed.manifest).with(Knob::NoLogEntry)), "log-proof-missing"),
        (by(&trusted, request(Digest::of(b"another"))), "subject-mismatch"),
    ] {
        sign(&world, &pushed, &[layer]).await;
        assert_eq!(rejected(&refused(&world, &pushed).await), [code]);
    }
    sign(&world, &pushed, &[by(&trusted, request(pushed.manifest))]).await;
    let evidence = admitted(&world, &pushed).await;
    assert_eq!(evidence["findings"][0]["signer"]["name"], "release");
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_1_a_payload_about_x_under_the_tag_of_y_is_a_subject_mismatch() {
    let world = World::start().await;
    let (x, y) = (unsigned(&world, "x").await, unsigned(&world, "y").await);
    let layer = world.deployment.sigstore.sign_legacy(request(x.manifest)).unwrap();
    sign(&world, &x, std::slice::from_ref(&layer)).await;
    sign(&world, &y, &[layer]).await;
    admitted(&world, &x).await;
    let record = refused(&world, &y).await;
    assert_eq!(rejected(&record), ["subject-mismatch"]);
    let detail = record["case"]["evidence"]["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(&x.manifest.to_string()) && detail.contains(&y.manifest.to_string()), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_1_a10_3_what_the_log_did_not_promise_is_rejected() {
    let world = World::start().await;
    let sigstore = &world.deployment.sigstore;
    let elsewhere = sigstore.sign_legacy(request(Digest::of(b"another"))).unwrap();
    let theirs = Sigstore::new(Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(60)).unwrap()).unwrap();
    let pushed = unsigned(&world, "promised").await;
    let with = |knob| sigstore.sign_legacy(request(pushed.manifest).with(knob)).unwrap();
    let mut grafted = sigstore.sign_legacy(request(pushed.manifest)).unwrap();
    grafted.annotations.insert(BUNDLE.into(), elsewhere.annotations[BUNDLE].clone());
    for (layer, code) in [
        (with(Knob::ForgedIntegratedTime), "log-proof-invalid"),
        (with(Knob::NoPromise), "log-proof-missing"),
        (with(Knob::NoLogEntry), "log-proof-missing"),
        (with(Knob::ForeignLog), "log-unknown"),
        // An hour from now.
        (with(Knob::LateIntegratedTime), "log-time-invalid"),
        (with(Knob::SignatureOfAnotherContent), "signature-invalid"),
        (with(Knob::WrongPayloadType), "predicate-type-mismatch"),
        (with(Knob::UpperCaseSubject), "subject-mismatch"),
        (grafted, "log-entry-mismatch"),
        // Its own chain is in the annotations.
        (theirs.sign_legacy(request(pushed.manifest)).unwrap(), "certificate-untrusted"),
    ] {
        sign(&world, &pushed, &[layer]).await;
        assert_eq!(rejected(&refused(&world, &pushed).await), [code]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_1_an_attestation_is_no_signature_under_either_tag() {
    let world = World::start().await;
    let pushed = unsigned(&world, "attested").await;
    let attestation = world.deployment.sigstore.attest_legacy(provenance(pushed.manifest)).unwrap();
    let statement = world.deployment.sigstore.attest_legacy(request(pushed.manifest)).unwrap();
    let signature = world.deployment.sigstore.sign_legacy(request(pushed.manifest)).unwrap();
    let (sig, att) = (signatures_tag(&pushed.manifest), attestations_tag(&pushed.manifest));
    for (tag, media_type, layer, codes) in [
        (&sig, SIMPLE_SIGNING, &attestation, &["statement-malformed"][..]),
        (&sig, DSSE_ENVELOPE, &attestation, &["bundle-unsupported"]),
        (&att, SIMPLE_SIGNING, &signature, &["bundle-unsupported"]),
        (&att, DSSE_ENVELOPE, &signature, &["bundle-malformed"]),
        (&att, DSSE_ENVELOPE, &statement, &["predicate-type-mismatch"]),
        (&att, DSSE_ENVELOPE, &attestation, &[]),
    ] {
        put(&world, &pushed, tag, media_type, std::slice::from_ref(layer)).await;
        if *tag == att {
            put(&world, &pushed, &sig, SIMPLE_SIGNING, std::slice::from_ref(&attestation)).await;
        }
        let record = refused(&world, &pushed).await;
        let mut found = rejected(&record);
        if *tag == att {
            let at = found.iter().position(|code| *code == "statement-malformed").unwrap();
            found.remove(at);
        }
        assert_eq!(found, codes, "{media_type} under {tag}");
    }
    // With a signature beside it, the attestation is part of the case.
    sign(&world, &pushed, &[signature]).await;
    let evidence = admitted(&world, &pushed).await;
    let kinds: Vec<_> = evidence["findings"].as_array().unwrap().iter().map(|finding| &finding["kind"]).collect();
    assert_eq!(kinds, ["attestation", "signature"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_2_a_registry_that_does_not_show_a_tag_is_an_outage() {
    let world = World::with(|setup| setup.more = IMPATIENT.into()).await;
    let pushed = unsigned(&world, "hidden").await;
    sign(&world, &pushed, &[world.deployment.sigstore.sign_legacy(request(pushed.manifest)).unwrap()]).await;
    let registry = &world.deployment.registry;
    // What comes next may come at once: otherwise one 429 would speak for all that follow.
    let headers = || vec![("retry-after".into(), "0".into())];
    let status = |code| Fault::Status { code, body: Bytes::from_static(b"<html>no</html>"), headers: headers() };
    for tag in [signatures_tag(&pushed.manifest), attestations_tag(&pushed.manifest)] {
        for fault in [
            status(401),
            status(403),
            status(429),
            status(500),
            status(200),
            Fault::Hang,
            Fault::CloseAtOnce,
            Fault::Redirect { location: "http://169.254.169.254/".into(), status: 307 },
        ] {
            registry.inject(Rule::new(Match::on(Target::Manifest).tag(tag.clone()), fault.clone()));
            let told = if matches!(fault, Fault::Status { code: 429, .. }) { 429 } else { 503 };
            let reply = world.not_recorded(json!({"reference": pushed.reference}), told).await;
            assert_eq!(reply.body["peer"], "registry", "{fault:?}: {}", reply.body);
            registry.heal();
        }
    }
    admitted(&world, &pushed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tags_are_asked_for_while_the_referrers_are() {
    let world = World::with(|setup| setup.more = IMPATIENT.into()).await;
    let pushed = unsigned(&world, "slow").await;
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), Fault::Hang));
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 503, "{}", reply.body);
    for tag in [signatures_tag(&pushed.manifest), attestations_tag(&pushed.manifest)] {
        let asked = world.deployment.registry.requests();
        assert!(asked.iter().any(|request| request.path.ends_with(&tag)), "`{tag}` waited for the referrers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_2_floods_under_the_tag_are_a_limit_never_no_signature() {
    let world = World::start().await;
    let host = world.deployment.registry.host();
    let pushed = unsigned(&world, "flood").await;
    let tag = signatures_tag(&pushed.manifest);
    let layer = world.deployment.sigstore.sign_legacy(request(pushed.manifest)).unwrap();
    let mut small = cosign_tags::descriptor(SIMPLE_SIGNING, &layer);
    small["annotations"] = json!({});
    let config =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(b"{}"), "size": 2});
    let manifest = |layers: Vec<Value>| {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}).to_string()
    };
    for count in [101, 10_000] {
        let bytes = Bytes::from(manifest(vec![small.clone(); count]));
        manifest_raw(&host, &repository(&pushed), &tag, OCI_MANIFEST, bytes, &Auth::Open).await.unwrap();
        assert_eq!(rejected(&refused(&world, &pushed).await), ["limit-exceeded"], "{count} layers");
    }
    let large = Rule::new(Match::on(Target::Manifest).tag(tag.clone()), Fault::Flood { bytes: 300 << 20 });
    world.deployment.registry.inject(large);
    assert_eq!(rejected(&refused(&world, &pushed).await), ["limit-exceeded"], "a manifest of 300 MB");
    world.deployment.registry.heal();
    let mut announced = small;
    announced["size"] = json!(1_u64 << 30);
    let bytes = Bytes::from(manifest(vec![announced]));
    manifest_raw(&host, &repository(&pushed), &tag, OCI_MANIFEST, bytes, &Auth::Open).await.unwrap();
    assert_eq!(rejected(&refused(&world, &pushed).await), ["limit-exceeded"], "a payload of 1 GB");
    sign(&world, &pushed, &[layer]).await;
    admitted(&world, &pushed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_2_one_good_signature_among_bad_ones_admits_with_the_bad_ones_listed() {
    let world = World::start().await;
    let sigstore = &world.deployment.sigstore;
    let pushed = unsigned(&world, "many").await;
    let bad = [Knob::NoPromise, Knob::NoSct, Knob::ForgedIntegratedTime]
        .map(|knob| sigstore.sign_legacy(request(pushed.manifest).with(knob)).unwrap());
    let mut layers: Vec<_> = (0..99).map(|number| bad[number % bad.len()].clone()).collect();
    layers.insert(57, sigstore.sign_legacy(request(pushed.manifest)).unwrap());
    sign(&world, &pushed, &layers).await;
    let evidence = admitted(&world, &pushed).await;
    let findings = evidence["findings"].as_array().unwrap();
    let verified: Vec<_> = findings.iter().filter(|finding| finding["status"] == "verified").collect();
    assert_eq!((findings.len(), verified.len()), (100, 1));
    assert_eq!(verified[0]["source"]["name"], format!("{}#57", signatures_tag(&pushed.manifest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_with_legacy_signatures_beside_it_is_listed_with_them() {
    let world = World::start().await;
    let pushed = world.publish("both", components::command("both\n")).await;
    let sigstore = &world.deployment.sigstore;
    let good = sigstore.sign_legacy(request(pushed.manifest)).unwrap();
    let bad = sigstore.sign_legacy(request(pushed.manifest).with(Knob::NoSct)).unwrap();
    sign(&world, &pushed, &[good, bad]).await;
    let attestation = sigstore.attest_legacy(provenance(pushed.manifest)).unwrap();
    put(&world, &pushed, &attestations_tag(&pushed.manifest), DSSE_ENVELOPE, &[attestation]).await;
    let evidence = admitted(&world, &pushed).await;
    assert_eq!(evidence["looked_in"], json!(["referrers-api", "cosign-tags", "component"]));
    let findings = evidence["findings"].as_array().unwrap();
    let shown: Vec<_> = findings
        .iter()
        .map(|finding| {
            let what = finding.get("kind").or_else(|| finding.get("code")).unwrap();
            (finding["source"]["via"].as_str().unwrap(), what.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("cosign-tags", "attestation"),
            ("cosign-tags", "signature"),
            ("cosign-tags", "sct-invalid"),
            ("referrers-api", "signature"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_names_what_was_looked_for_with_what_was_found() {
    let world = World::start().await;
    let nothing = unsigned(&world, "nothing").await;
    let bad = unsigned(&world, "bad").await;
    let layer = world.deployment.sigstore.sign_legacy(request(bad.manifest).with(Knob::NoPromise)).unwrap();
    sign(&world, &bad, &[layer]).await;
    let mut told = Vec::new();
    for pushed in [&nothing, &bad] {
        let reply = world.host.admit(&pushed.reference).await;
        let detail = reply.body["reasons"][0]["detail"].as_str().unwrap();
        told.push(detail.replace(&pushed.manifest.hex(), "HEX"));
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    no signature verified; looked in referrers-api (Sigstore bundles), fallback-tag (Sigstore bundles), cosign-tags (signatures of cosign 2), component (a wasmCloud 1.x token); found no candidate
    no signature verified; looked in referrers-api (Sigstore bundles), fallback-tag (Sigstore bundles), cosign-tags (signatures of cosign 2), component (a wasmCloud 1.x token); `sha256-HEX.sig#0` rejected: log-proof-missing
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_taken_away_counts_no_longer_after_a_restart() {
    let world = World::start().await;
    let pushed = unsigned(&world, "withdrawn").await;
    sign(&world, &pushed, &[world.deployment.sigstore.sign_legacy(request(pushed.manifest)).unwrap()]).await;
    admitted(&world, &pushed).await;
    let bad = world.deployment.sigstore.sign_legacy(request(pushed.manifest).with(Knob::NoPromise)).unwrap();
    sign(&world, &pushed, &[bad]).await;
    let world = world.restart_at(Arc::new(Timestamp::now)).await.unwrap();
    assert_eq!(rejected(&refused(&world, &pushed).await), ["log-proof-missing"]);
}
