//! Tokens of wasmCloud 1.x beside signatures, over real sockets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{SIGNER, Setup, SignedBy, policy_data};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, Pushed};
use witgate::dev::wascap::{Account, SECTION, embed};
use witgate_tests::{World, components, free_address, rejected};

fn account() -> Account {
    Account::from_seeds(&[1; 32], &[2; 32])
}

fn wasm(name: &str) -> Vec<u8> {
    components::command(&format!("{name}\n"))
}

/// The world of the demo, where `entry` says whose tokens stand in for a signature.
async fn world(entry: Value, change: impl FnOnce(&mut Setup)) -> World {
    let address = free_address();
    let mut data = policy_data(&address.to_string());
    data["witgate"]["wascap"] = entry;
    World::with(|setup| {
        setup.registry.listen = address;
        setup.policy_data = Some(data);
        change(setup);
    })
    .await
}

fn until(sunset: Timestamp) -> Value {
    json!([{"references": ["*"], "issuers": [account().issuer()], "sunset": sunset}])
}

fn in_an_hour() -> Timestamp {
    Timestamp::now() + jiff::SignedDuration::from_secs(3600)
}

async fn unsigned(world: &World, name: &str, wasm: Vec<u8>) -> Pushed {
    world.publish_signed(name, wasm, SignedBy::Nobody).await
}

async fn refused(world: &World, pushed: &Pushed, code: &str) -> Value {
    world.refused(json!({"reference": pushed.reference}), code).await
}

fn codes(reasons: &Value) -> Vec<&str> {
    reasons.as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_admits_until_the_sunset_and_no_longer() {
    let ahead_s = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&ahead_s);
    let sunset = in_an_hour();
    let world = world(until(sunset), |setup| {
        setup.clock =
            Arc::new(move || Timestamp::now() + jiff::SignedDuration::from_secs(clock.load(Ordering::Relaxed)));
    })
    .await;
    let pushed = unsigned(&world, "old", account().sign(&wasm("old"))).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(codes(&reply.body["warnings"]), ["legacy-signature"], "{}", reply.body);
    let warning = &reply.body["warnings"][0];
    assert_eq!(warning["about"], account().issuer());
    assert!(warning["detail"].as_str().unwrap().contains(&sunset.to_string()), "{warning}");

    ahead_s.store(3601, Ordering::Relaxed);
    let record = refused(&world, &pushed, "legacy-sunset").await;
    assert_eq!(codes(&record["decision"]["reasons"]), ["legacy-sunset", "no-verified-signature"], "{record}");
    // The artifact has not changed, and neither has the finding.
    assert_eq!(record["case"]["evidence"]["findings"][0]["status"], "verified");
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_entry_a_token_is_shown_and_admits_nothing() {
    let world = World::start().await;
    let pushed = unsigned(&world, "old", account().sign(&wasm("old"))).await;
    let record = refused(&world, &pushed, "no-verified-signature").await;
    let evidence = &record["case"]["evidence"];
    assert!(evidence["looked_in"].as_array().unwrap().contains(&json!("component")), "{evidence}");
    let finding = &evidence["findings"][0];
    assert_eq!((&finding["status"], &finding["kind"]), (&json!("verified"), &json!("wascap-claims")));
    assert_eq!(finding["source"]["via"], "component");
    assert_eq!(finding["signer"]["issuer"], account().issuer());
    assert_eq!(finding["signer"]["subject"], account().module());
    assert_eq!((&finding["times"], &finding["predicate"]["iat"]), (&json!([]), &json!(1_700_000_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_token_is_refused_and_named() {
    let world = world(until(in_an_hour()), |_| {}).await;
    let mallory = Account::generate().unwrap();
    let pushed = unsigned(&world, "mallory", mallory.sign(&wasm("mallory"))).await;
    let record = refused(&world, &pushed, "identity-mismatch").await;
    let reason = &record["decision"]["reasons"][0];
    assert_eq!(reason["about"], mallory.issuer());
    assert!(reason["detail"].as_str().unwrap().contains(&account().issuer()), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_verify_admits_nothing() {
    let world = world(until(in_an_hour()), |_| {}).await;
    let (account, honest) = (account(), wasm("honest"));
    let token = account.token(&account.claims(&honest));
    let old = account.claims(&wasm("unbound")).replace(r#","wascap_revision":3"#, "");
    let expired = account.claims(&wasm("expired")).replacen('{', r#"{"exp":1700000001,"#, 1);
    let signed = account.sign(&honest);
    for (name, bytes, code) in [
        ("replayed", embed(&wasm("evil"), SECTION, &token), "subject-mismatch"),
        ("nested", [&wasm("nested"), &components::nested_section(&signed)[..]].concat(), "token-malformed"),
        ("twice", embed(&signed, "jwt", &token), "token-malformed"),
        ("unbound", embed(&wasm("unbound"), SECTION, &account.token(&old)), "token-unbound"),
        ("expired", embed(&wasm("expired"), SECTION, &account.token(&expired)), "token-outside-validity"),
        ("forged", embed(&honest, SECTION, &format!("{}AA", &token[..token.len() - 2])), "signature-invalid"),
    ] {
        let pushed = unsigned(&world, name, bytes).await;
        let record = refused(&world, &pushed, "no-verified-signature").await;
        assert_eq!(rejected(&record), [code], "{name}: {record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_stand_side_by_side() {
    let world = world(until(in_an_hour()), |_| {}).await;
    let both = world.publish_signed("both", account().sign(&wasm("both")), SignedBy::Identity(SIGNER)).await;
    let reply = world.host.admit(&both.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body["warnings"].as_array().is_none_or(Vec::is_empty), "the new one is enough: {}", reply.body);
    let case = world.decision(reply.decision()).await["case"].clone();
    let findings = case["evidence"]["findings"].as_array().unwrap();
    let kinds: Vec<_> = findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["wascap-claims", "signature"], "{case}");

    // A stranger's signature is no missing one: the token does not lift it.
    let stranger = SignedBy::Identity("https://github.com/mallory/x/.github/workflows/x.yml@refs/heads/main");
    let pushed = world.publish_signed("stranger", account().sign(&wasm("stranger")), stranger).await;
    refused(&world, &pushed, "identity-mismatch").await;
    // Neither is an import that nobody granted.
    let greedy = unsigned(&world, "greedy", account().sign(&components::greedy("greedy\n"))).await;
    refused(&world, &greedy, "import-not-granted").await;
}

fn revoke(file: &Path, issued_at: Timestamp, entries: &Value) {
    let list = json!({"version": 1, "issued_at": issued_at, "entries": entries});
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, list.to_string()).unwrap();
    std::fs::rename(temporary, file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_a_revoked_nkey_or_token_stands_in_for_nothing() {
    let (mut list, start) = (std::path::PathBuf::new(), Timestamp::now());
    let world = world(until(in_an_hour()), |setup| {
        list = setup.folder.join("revoked.json");
        revoke(&list, start - jiff::SignedDuration::from_secs(60), &json!([]));
        let table = format!("file = \"{}\"\nmax_age_s = 86400\n", list.display());
        setup.more = format!("[evidence]\nrefresh_s = 3600\n\n[evidence.revocations]\n{table}");
    })
    .await;
    let token = Digest::of(account().token(&account().claims(&wasm("old"))).as_bytes());
    let pushed = unsigned(&world, "old", account().sign(&wasm("old"))).await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    // A token proves no time, so `since` spares none of them.
    let lately = start - jiff::SignedDuration::from_secs(1);
    for (at_s, entry) in [
        (-50, json!({"kind": "key", "keyid": account().issuer(), "reason": "leaked"})),
        (-40, json!({"kind": "key", "keyid": account().module(), "since": lately, "reason": "leaked"})),
        (-30, json!({"kind": "evidence", "digest": token, "reason": "signed by mistake"})),
    ] {
        revoke(&list, start + jiff::SignedDuration::from_secs(at_s), &json!([entry]));
        world.deployment.service.gate().look_at_files(Timestamp::now()).await;
        let record = refused(&world, &pushed, "revoked").await;
        assert_eq!(rejected(&record), ["revoked"], "{entry}: {record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_archive_is_no_artifact_that_is_admitted() {
    let world = world(until(in_an_hour()), |_| {}).await;
    let (host, repository) = (world.deployment.registry.host(), "demo/provider");
    let archive = Bytes::from(account().provider_archive(&BTreeMap::from([("x86_64-linux", &b"binary"[..])])));
    let config = Bytes::from_static(b"{}");
    let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.wasmcloud.provider.archive.config", &config),
        "layers": [descriptor("application/vnd.wasmcloud.provider.archive.layer.v1+par", &archive)],
    });
    for blob in [config, archive] {
        push::blob_raw(&host, repository, blob, &Auth::Open).await.unwrap();
    }
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    push::manifest_raw(&host, repository, "1.0", media_type, manifest.to_string().into(), &Auth::Open).await.unwrap();
    let record = world.refused(json!({"reference": format!("{host}/{repository}:1.0")}), "artifact-unsupported").await;
    assert_eq!(record["case"]["evidence"]["findings"], json!([]), "the archive is not even searched");
}
