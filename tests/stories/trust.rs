//! Trust that changes while the gateway runs: refreshed, frozen, rolled back, withdrawn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use witgate::case::Timestamp;
use witgate::dev::deployment::{ISSUER, SIGNER, gateway_id, host_id, policy_data};
use witgate::dev::registry::push::Pushed;
use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate::dev::sigstore::Sigstore;
use witgate::dev::tuf::{Release, TufRepository};
use witgate::telemetry::{Settings, Telemetry};
use witgate_host_hook::client::{Answer, Gateway, Timeouts};
use witgate_tests::{PATIENCE, World, components, policy_folder, ticket_id};

use crate::index::{entry, push_index};

fn ahead(seconds: i64) -> Timestamp {
    Timestamp::now() + jiff::SignedDuration::from_secs(seconds)
}

/// Writes a list as people should: beside it, then `mv`.
fn revoke(file: &Path, issued_at: Timestamp, entries: &Value) {
    let list = json!({"version": 1, "issued_at": issued_at, "entries": entries});
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, list.to_string()).unwrap();
    std::fs::rename(temporary, file).unwrap();
}

/// A world with an empty revocation list, looked at every hour unless told otherwise.
async fn world(refresh_s: u64, max_age_s: u64) -> (World, PathBuf) {
    let mut list = PathBuf::new();
    let world = World::with(|setup| {
        list = setup.folder.join("revoked.json");
        revoke(&list, Timestamp::now() - jiff::SignedDuration::from_secs(60), &json!([]));
        let table = format!("file = \"{}\"\nmax_age_s = {max_age_s}\n", list.display());
        setup.more = format!("[evidence]\nrefresh_s = {refresh_s}\n\n[evidence.revocations]\n{table}");
    })
    .await;
    (world, list)
}

async fn look(world: &World) {
    world.deployment.service.gate().look_at_files(Timestamp::now()).await;
}

async fn administration(world: &World, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", world.deployment.service.administration_url());
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn ready(world: &World) -> (u16, Value) {
    let (status, text) = administration(world, "/readyz").await;
    (status, serde_json::from_str(&text).unwrap())
}

async fn publish(world: &World, name: &str) -> Pushed {
    world.publish(name, components::command(&format!("{name}\n"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_what_is_revoked_is_refused_at_once_and_what_was_given_out_is_withdrawn() {
    for (name, code) in [
        ("artifact", &["revoked"] as &[&str]),
        ("component", &["revoked"]),
        ("caller", &["revoked"]),
        ("identity", &["no-verified-signature", "revoked"]),
        ("evidence-root", &["no-verified-signature", "revoked"]),
    ] {
        let (world, list) = world(3600, 3600).await;
        let pushed = publish(&world, name).await;
        let by_digest = format!("{}/demo/{name}@{}", world.deployment.registry.host(), pushed.manifest);
        let component = pushed.component.to_string();
        let granted = world.host.admit(&by_digest).await;
        assert_eq!(granted.status, 200, "{}", granted.body);
        assert_eq!(world.host.component(&component, Some(&ticket_id(&granted))).await.status, 200);
        // Held: the same decision once more.
        let again = world.host.admit(&by_digest).await;
        assert_eq!(again.decision(), granted.decision());

        let entry = match name {
            "artifact" => json!({"kind": name, "digest": pushed.manifest, "reason": "CVE-2026-1"}),
            "component" => json!({"kind": name, "digest": pushed.component, "reason": "CVE-2026-1"}),
            "caller" => json!({"kind": name, "id": host_id("a"), "reason": "stolen host"}),
            "identity" => json!({"kind": name, "issuer": ISSUER, "san": SIGNER, "reason": "workflow taken over"}),
            _ => json!({"kind": "trust-root", "name": "demo", "reason": "CA broken into"}),
        };
        revoke(&list, Timestamp::now(), &json!([entry]));
        look(&world).await;
        for ticket in [ticket_id(&granted), ticket_id(&again)] {
            assert_eq!(world.host.component(&component, Some(&ticket)).await.status, 403, "{name}");
        }
        let before = world.log_size().await;
        let refused = world.host.admit(&by_digest).await;
        assert_eq!((refused.status, refused.codes()), (403, code.to_vec()), "{name}: {}", refused.body);
        assert_eq!(world.log_size().await, before + 1, "it was decided anew");
        // The record says which list was used.
        let record = world.host.get(&format!("/v1/decisions/{}", refused.decision())).await;
        let trust = record.body["case"]["evidence"]["trust"].as_array().unwrap().clone();
        let row = trust.iter().find(|row| row["kind"] == "revocation-list").unwrap();
        assert_eq!(row["digest"], witgate::case::Digest::of(&std::fs::read(&list).unwrap()).to_string());
        // Taken back on purpose, by a newer list.
        revoke(&list, ahead(1), &json!([]));
        look(&world).await;
        assert_eq!(world.host.admit(&by_digest).await.status, 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_a_revoked_host_gets_no_ticket_through_another_caller() {
    let (world, list) = world(3600, 3600).await;
    let pushed = publish(&world, "host").await;
    let other = "spiffe://demo.witgate.example/host/b";
    revoke(&list, Timestamp::now(), &json!([{"kind": "caller", "id": other, "reason": "stolen host"}]));
    look(&world).await;
    // Who may speak for the other host, or the answer would be about that alone.
    let mut data = policy_data(&world.deployment.registry.host());
    data["witgate"]["grants"][0]["hosts"] = json!([other]);
    std::fs::write(world.folder().join("policy-data/data.json"), data.to_string()).unwrap();
    for _ in 0..2 {
        world.deployment.service.gate().look_at_policy(Timestamp::now()).await;
    }
    let reply = world.host.ask(json!({"reference": pushed.reference, "host": other})).await;
    assert!(reply.status == 403 && reply.codes().contains(&"revoked"), "{}", reply.body);
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_what_is_revoked_while_it_is_decided_is_not_handed_over() {
    let (world, list) = world(3600, 3600).await;
    let pushed = publish(&world, "meanwhile").await;
    // What is attached to an index's child is looked for last, when it is settled what is believed.
    let index = push_index(&world, "meanwhile", &[entry(&pushed, "wasip2", "wasm")]).await;
    // The listing takes a second or two: long enough to revoke.
    let registry = &world.deployment.registry;
    let slow = Fault::Drip { bytes_per_second: 400 };
    registry.inject(Rule::new(Match::on(Target::Referrers).digest(pushed.manifest), slow));
    let listing = format!("/demo/meanwhile/referrers/{}", pushed.manifest);
    let revoked = async {
        let start = Instant::now();
        while !registry.requests().iter().any(|request| request.path.ends_with(&listing)) {
            assert!(start.elapsed() < PATIENCE, "the referrers are never asked for");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        revoke(&list, Timestamp::now(), &json!([{"kind": "component", "digest": pushed.component, "reason": "hole"}]));
        look(&world).await;
    };
    let (reply, ()) = tokio::join!(world.host.admit(&index.reference), revoked);
    assert_eq!((reply.status, reply.body["peer"].as_str()), (503, Some("trust-root")), "{}", reply.body);
    assert!(reply.body.get("ticket").is_none());
    registry.heal();
    for reference in [&index.reference, &pushed.reference] {
        let reply = world.host.admit(reference).await;
        assert_eq!((reply.status, reply.codes()), (403, vec!["revoked"]), "{}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_the_background_task_sees_a_new_list_by_itself() {
    let (world, list) = world(1, 3600).await;
    let pushed = publish(&world, "background").await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    revoke(&list, Timestamp::now(), &json!([{"kind": "component", "digest": pushed.component, "reason": "hole"}]));
    let start = Instant::now();
    loop {
        let reply = world.host.admit(&pushed.reference).await;
        if reply.status == 403 {
            assert_eq!(reply.codes(), ["revoked"]);
            break;
        }
        assert!(start.elapsed() < PATIENCE, "never looked at: {}", reply.body);
        tokio::task::yield_now().await;
    }
    // Stopped with the service.
    world.deployment.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_3_a_host_with_its_own_copy_is_decided_anew_once_the_digest_is_revoked() {
    let (world, list) = world(3600, 3600).await;
    let pushed = publish(&world, "copied").await;
    let host = world.deployment.registry.host();
    let references = [pushed.reference.clone(), format!("{host}/demo/copied@{}", pushed.manifest)];
    let component = pushed.component.to_string();
    // The host fetches the bytes and keeps them; it asks again by tag and by digest, and both answers are held.
    let mut tickets = Vec::new();
    for reference in &references {
        let granted = world.host.admit(reference).await;
        assert_eq!(granted.status, 200, "{}", granted.body);
        tickets.push(ticket_id(&granted));
    }
    let head = async |ticket: Option<&str>| {
        let mut request = world.host.client().head(world.host.url(&format!("/v1/components/{component}")));
        if let Some(ticket) = ticket {
            request = request.header("witgate-ticket", ticket);
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((head(Some(&tickets[0])).await, head(None).await), (200, 403));
    revoke(&list, Timestamp::now(), &json!([{"kind": "component", "digest": pushed.component, "reason": "hole"}]));
    look(&world).await;
    for ticket in &tickets {
        assert_eq!(head(Some(ticket)).await, 403, "asking for the head is asking for the bytes");
    }
    for reference in &references {
        let before = world.log_size().await;
        let refused = world.host.admit(reference).await;
        assert_eq!((refused.status, refused.codes()), (403, vec!["revoked"]), "{}", refused.body);
        assert!(refused.body["ticket"].is_null());
        assert_eq!(world.log_size().await, before + 1, "a decision of its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_a_ticket_in_a_hosts_hands_ends_with_its_life() {
    let (world, list) = world(3600, 3600).await;
    let pushed = publish(&world, "in-hand").await;
    let gateway = Gateway::connect(witgate_host_hook::client::Settings {
        url: world.deployment.service.callers_url(),
        gateway_id: gateway_id(),
        ticket_keys: vec![world.deployment.ticket_key()],
        log_key: None,
        workload_api: world.deployment.host_identity.endpoint(),
        timeouts: Timeouts::default(),
    })
    .await
    .unwrap();
    let admitted = async || match gateway.admit(&pushed.reference, &[]).await.unwrap() {
        Answer::Admitted(admitted) => Ok(admitted.ticket),
        Answer::Refused(refused) => Err(refused.reasons.iter().map(|reason| reason.code.clone()).collect::<Vec<_>>()),
    };
    let (first, second) = (admitted().await.unwrap(), admitted().await.unwrap());
    let bytes = gateway.component(&first).await.unwrap();
    revoke(&list, Timestamp::now(), &json!([{"kind": "component", "digest": pushed.component, "reason": "hole"}]));
    look(&world).await;
    // docs/revocation.md: with the bytes it may still start a workload, until it ends; then never again.
    let life_s = i64::from(world.deployment.config.handover.ticket_life_s);
    assert!(gateway.take(&first, &bytes, Timestamp::now()).is_ok());
    assert!(gateway.take(&first, &bytes, Timestamp::now()).is_err(), "an old ticket, once more");
    assert!(gateway.take(&second, &bytes, ahead(life_s + 61)).is_err(), "past its life");
    assert!(gateway.component(&second).await.is_err(), "the gateway gives no bytes for it");
    assert_eq!(admitted().await.err().unwrap(), ["revoked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_2_a_list_that_cannot_be_read_or_is_too_old_is_an_outage_and_never_not_revoked() {
    let (world, list) = world(3600, 120).await;
    let pushed = publish(&world, "stale").await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    std::fs::write(&list, "{}").unwrap();
    look(&world).await;
    let (status, body) = ready(&world).await;
    assert_eq!((status, &body["degraded"][0]["name"]), (200, &json!("revocations")), "{body}");
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200, "the last good one holds for its age");

    // Two minutes later: a clock of its own, for nobody waits here.
    let late = Arc::new(|| ahead(180));
    let mut deployment = world.deployment;
    revoke(&list, Timestamp::now(), &json!([]));
    deployment = deployment.restart(late).await.unwrap();
    let gate = deployment.service.gate();
    let outage = gate.evidence.usable(ahead(180)).unwrap_err();
    assert_eq!(outage.peer.kind(), "revocations");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/readyz", deployment.service.administration_url());
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["missing"][0]["peer"], "revocations", "{body}");
    revoke(&list, ahead(170), &json!([]));
    gate.look_at_files(ahead(180)).await;
    assert!(gate.evidence.usable(ahead(180)).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_2_a_list_past_its_age_answers_503() {
    // The list was issued a minute ago and may be half a minute old.
    let (world, list) = world(3600, 30).await;
    let pushed = publish(&world, "old").await;
    let before = world.log_size().await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.body["peer"].as_str()), (503, Some("revocations")), "{}", reply.body);
    assert!(reply.body["hint"].is_string() && reply.body.get("ticket").is_none());
    assert_eq!(world.log_size().await, before);
    revoke(&list, Timestamp::now(), &json!([]));
    look(&world).await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_2_a_held_admission_ends_with_the_list_it_rests_on() {
    let late_s = Arc::new(AtomicI64::new(0));
    let (mut list, clock) = (PathBuf::new(), Arc::clone(&late_s));
    let world = World::with(|setup| {
        list = setup.folder.join("revoked.json");
        revoke(&list, ahead(-60), &json!([]));
        let table = format!("file = \"{}\"\nmax_age_s = 120\n", list.display());
        setup.more = format!("[evidence]\nrefresh_s = 3600\n\n[evidence.revocations]\n{table}");
        setup.clock = Arc::new(move || ahead(clock.load(Ordering::Relaxed)));
    })
    .await;
    let pushed = publish(&world, "held-by-list").await;
    let by_digest = format!("{}/demo/held-by-list@{}", world.deployment.registry.host(), pushed.manifest);
    let granted = world.host.admit(&by_digest).await;
    assert_eq!(granted.status, 200, "{}", granted.body);
    assert_eq!(world.host.admit(&by_digest).await.decision(), granted.decision(), "held for ten minutes");
    late_s.store(100, Ordering::Relaxed);
    let reply = world.host.admit(&by_digest).await;
    assert_eq!((reply.status, reply.body["peer"].as_str()), (503, Some("revocations")), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a23_1_a_frozen_root_ends_as_stale_and_a_refresh_heals_it_without_a_restart() {
    let (world, _) = world(3600, 3600).await;
    let pushed = publish(&world, "frozen").await;
    let path = world.folder().join("trusted_root.json");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let age = |days: u32| file.set_modified(SystemTime::now() - Duration::from_secs(24 * 3600) * days).unwrap();
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    age(31);
    look(&world).await;
    let other = publish(&world, "frozen-too").await;
    let reply = world.host.admit(&other.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["trust-root-stale"]), "{}", reply.body);
    assert!(!reply.body["reasons"][0]["hint"].as_str().unwrap().contains("restart"));
    let (status, body) = ready(&world).await;
    assert_eq!((status, &body["ready"], &body["degraded"][0]["name"]), (200, &json!(true), &json!("demo")), "{body}");
    age(0);
    look(&world).await;
    assert_eq!(world.host.admit(&other.reference).await.status, 200);
    assert_eq!(ready(&world).await.1["degraded"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_1_a_held_admission_does_not_outlive_the_root_it_rests_on() {
    let (world, _) = world(3600, 3600).await;
    let pushed = publish(&world, "held").await;
    let by_digest = format!("{}/demo/held@{}", world.deployment.registry.host(), pushed.manifest);
    let granted = world.host.admit(&by_digest).await;
    assert_eq!(world.host.admit(&by_digest).await.decision(), granted.decision(), "held");
    // The deployment moves to another Sigstore: nothing that the old one vouched for may go on.
    let other = Sigstore::new(Timestamp::now()).unwrap();
    std::fs::write(world.folder().join("trusted_root.json"), other.trusted_root_json()).unwrap();
    look(&world).await;
    let refused = world.host.admit(&by_digest).await;
    assert_eq!((refused.status, refused.codes()), (403, vec!["no-verified-signature"]), "{}", refused.body);
    let component = pushed.component.to_string();
    assert_eq!(world.host.component(&component, Some(&ticket_id(&granted))).await.status, 403);
    // The old root, put back: an older root is not believed, here and after a restart.
    std::fs::write(world.folder().join("trusted_root.json"), world.deployment.sigstore.trusted_root_json()).unwrap();
    look(&world).await;
    assert_eq!(world.host.admit(&by_digest).await.status, 403);
    let error = world.deployment.restart(Arc::new(Timestamp::now)).await.err().expect("an older root was believed");
    assert!(error.to_string().contains("was replaced before"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_each_root_and_every_failed_look_can_be_watched() {
    let telemetry = Telemetry::start(&Settings::default()).unwrap();
    let render = telemetry.metrics_handle();
    let world = World::with(|setup| setup.metrics = Arc::new(move || render.render())).await;
    let path = world.folder().join("trusted_root.json");
    let hour = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour).unwrap();
    look(&world).await;
    let (_, text) = administration(&world, "/metrics").await;
    let line = text.lines().find(|line| line.starts_with("witgate_trust_root_age_seconds{root=\"demo\"}"));
    let age: f64 = line.and_then(|line| line.rsplit(' ').next()).expect("the gauge").parse().unwrap();
    assert!((3600.0..3600.0 + PATIENCE.as_secs_f64()).contains(&age), "{age}");
    std::fs::write(&path, "{}").unwrap();
    look(&world).await;
    let (_, text) = administration(&world, "/metrics").await;
    assert!(text.contains("witgate_evidence_refresh_errors_total{root=\"demo\"}"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_tuf_repository_is_never_asked() {
    let world = World::start().await;
    let repository = TufRepository::start().await.unwrap();
    let target = world.deployment.sigstore.trusted_root_json();
    let release = |version| Release { version, expires: ahead(3600), target: target.as_bytes(), other_target: None };
    repository.publish(&release(1)).unwrap();
    let root = world.folder().join("tuf-root.json");
    std::fs::write(&root, repository.root_json().unwrap()).unwrap();
    let pushed = publish(&world, "offline").await;
    let source = json!({"roots": [{"name": "demo", "trusted_root": {"tuf": repository.url(), "root": root}}]});
    let evidence: witgate::evidence::Settings = serde_json::from_value(source).unwrap();
    // Online once: the root comes from the repository.
    let world = world.restart(|config| config.evidence = evidence).await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    let asked = repository.requests();
    assert!(asked > 0);
    // Offline: not at the start, not in the background, not for a request.
    let world = world.restart(|config| config.evidence.offline = true).await;
    let gate = world.deployment.service.gate();
    for day in 0..3 {
        gate.ask_repositories(ahead(day * 24 * 3600)).await;
    }
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    assert_eq!(repository.requests(), asked, "something left the machine");
    // And without a cache it does not start at all, and asks nobody either.
    let mut config = world.deployment.config.clone();
    config.data_dir = world.folder().join("elsewhere");
    let clock: witgate::doors::http::Clock = Arc::new(Timestamp::now);
    let started = witgate::service::Service::start(&config, clock, Arc::new(String::new)).await;
    assert!(started.err().expect("started without any root").to_string().contains("demo"));
    assert_eq!(repository.requests(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a23_1_an_older_component_is_refused_where_policy_has_a_minimum() {
    let world = World::start().await;
    let pushed = publish(&world, "versioned").await;
    let data = policy_folder(world.folder(), "minimum", None);
    let host = world.deployment.registry.host();
    let mut document = witgate::dev::deployment::policy_data(&host);
    document["witgate"]["versions"] = json!([{"references": [format!("{host}/demo/versioned")], "minimum": "1.4.0"}]);
    std::fs::write(data.join("data.json"), document.to_string()).unwrap();
    let world = world.restart(|config| config.policy.data = Some(data)).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["version-rollback"]), "{}", reply.body);
}
