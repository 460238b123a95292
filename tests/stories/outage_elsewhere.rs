//! Every other peer fails: the Workload API, the audit log's store, the trust root, the policies.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use witgate::case::Timestamp;
use witgate::config::Config;
use witgate::dev::deployment::gateway_id;
use witgate::dev::spiffe::{Answer, Issued, Leaf, WorkloadApi};
use witgate::service::Service;
use witgate_tests::{PATIENCE, Reply, World, components, policy_folder};

/// Why a gateway with this configuration and a log of its own does not start.
async fn start_error(world: &World, name: &str, change: impl FnOnce(&mut Config)) -> Option<String> {
    let mut config = world.deployment.config.clone();
    config.data_dir = world.folder().join(name);
    change(&mut config);
    match Service::start(&config, Arc::new(Timestamp::now), Arc::new(String::new)).await {
        Ok(service) => {
            service.stop().await;
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Asks until the answer has `status`; before it there may be outages, never anything else.
async fn until_status(world: &World, reference: &str, status: u16) -> Reply {
    let start = Instant::now();
    loop {
        let reply = world.host.admit(reference).await;
        if reply.status == status {
            return reply;
        }
        assert_eq!(reply.status, 503, "{}", reply.body);
        assert!(start.elapsed() < PATIENCE, "never answered {status}: {}", reply.body);
    }
}

fn assert_outage(reply: &Reply, peer: &str) {
    assert_eq!((reply.status, reply.body["peer"].as_str()), (503, Some(peer)), "{}", reply.body);
    assert!(reply.body.get("ticket").is_none() && reply.body.get("decision").is_none(), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_identity_nothing_starts() {
    let world = World::start().await;
    for answer in [Answer::Refuse, Answer::Hang, Answer::Garbage, Answer::Withdrawn] {
        let name = format!("{answer:?}").to_lowercase();
        let api = WorkloadApi::start(&world.folder().join(format!("{name}.sock")), answer).await.unwrap();
        let error = start_error(&world, &name, |config| {
            let identity = config.identity.as_mut().unwrap();
            identity.workload_api = Some(api.endpoint());
            identity.sync_timeout_ms = 500;
        });
        assert!(error.await.is_some(), "started with a Workload API that answers {name}");
    }
    let nowhere = format!("unix:{}", world.folder().join("nobody.sock").display());
    let error = start_error(&world, "nobody", |config| {
        let identity = config.identity.as_mut().unwrap();
        identity.workload_api = Some(nowhere);
        identity.sync_timeout_ms = 500;
    });
    assert!(error.await.is_some(), "started without a Workload API");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_api_that_is_away_changes_nothing_until_the_svid_ends() {
    let world = World::start().await;
    for (number, answer) in [Answer::Refuse, Answer::Hang, Answer::Garbage].into_iter().enumerate() {
        world.deployment.gateway_identity.set(answer.clone());
        let pushed = world.publish(&format!("away-{number}"), components::command(&format!("{number}\n"))).await;
        let reply = world.host.admit(&pushed.reference).await;
        assert_eq!(reply.status, 200, "{answer:?}: {}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_identity_answers_nobody_until_it_is_issued_again() {
    let world = World::start().await;
    let pushed = world.publish("withdrawn", components::command("withdrawn\n")).await;
    let body = serde_json::json!({"reference": pushed.reference});
    world.deployment.gateway_identity.set(Answer::Withdrawn);
    let start = Instant::now();
    // Until the withdrawal has arrived, answers may still be given.
    let answered = async || world.host.try_ask(body.clone()).await.ok().filter(|reply| reply.status != 401);
    while answered().await.is_some() {
        assert!(start.elapsed() < PATIENCE, "a gateway without identity goes on answering");
    }
    let before = world.log_size().await;
    for _ in 0..3 {
        assert!(answered().await.is_none(), "answered without an identity");
    }
    assert_eq!(world.log_size().await, before);
    let ca = &world.deployment.ca;
    let svid = ca.issue(&gateway_id(), &Leaf::new(Timestamp::now())).unwrap();
    world.deployment.gateway_identity.set(Answer::Issued(Issued::new(ca, &svid)));
    let start = Instant::now();
    let reply = loop {
        if let Some(reply) = answered().await {
            break reply;
        }
        assert!(start.elapsed() < PATIENCE, "never answers again");
    };
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// A world whose log gives up soon.
async fn world_with_impatient_log() -> World {
    World::with(|setup| setup.more = "[audit]\nappend_deadline_ms = 500\n".into()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a31_1_a_locked_log_is_an_outage_until_it_is_free() {
    let world = world_with_impatient_log().await;
    let admitted = world.publish("locked", components::command("locked\n")).await;
    let refused = world.publish("locked-greedy", components::greedy("locked\n")).await;
    let database = world.deployment.config.data_dir.join("audit.db");
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&database)).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // Neither an admission nor a refusal is told that could not be recorded.
    for pushed in [&admitted, &refused] {
        assert_outage(&world.host.admit(&pushed.reference).await, "audit");
    }
    let bytes = world.host.component(&admitted.component.to_string(), None).await;
    assert_ne!(bytes.status, 200);
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    until_status(&world, &admitted.reference, 200).await;
    until_status(&world, &refused.reference, 403).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a31_1_a_log_whose_file_is_gone_or_another_is_an_outage_until_it_is_back() {
    let world = world_with_impatient_log().await;
    let database = world.deployment.config.data_dir.join("audit.db");
    let away = world.folder().join("audit.db.away");
    for (name, replacement) in [("gone", None), ("empty", Some(&b""[..])), ("garbage", Some(b"no database at all"))] {
        let pushed = world.publish(name, components::command(&format!("{name}\n"))).await;
        std::fs::rename(&database, &away).unwrap();
        if let Some(bytes) = replacement {
            std::fs::write(&database, bytes).unwrap();
        }
        for _ in 0..2 {
            assert_outage(&world.host.admit(&pushed.reference).await, "audit");
        }
        std::fs::rename(&away, &database).unwrap();
        until_status(&world, &pushed.reference, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_root_that_is_missing_or_garbage_starts_nothing_and_disturbs_nobody_who_runs() {
    let world = World::start().await;
    let file = world.folder().join("trusted_root.json");
    let root = std::fs::read(&file).unwrap();
    let cut = &root[..root.len() / 2];
    for (name, bytes) in
        [("missing", None), ("empty", Some(&b""[..])), ("garbage", Some(b"{\"tlogs\": 1}")), ("cut", Some(cut))]
    {
        match bytes {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let error = start_error(&world, name, |_| {}).await.expect("a gateway started without its trust root");
        assert!(error.contains("demo"), "the root is not named: {error}");
        // Who runs keeps the last good one.
        world.deployment.service.gate().look_at_files(Timestamp::now()).await;
        let pushed = world.publish(name, components::command(&format!("{name}\n"))).await;
        assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
    }
    std::fs::write(&file, &root).unwrap();
    assert_eq!(start_error(&world, "mended", |_| {}).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_trust_root_is_a_recorded_refusal() {
    let world = World::start().await;
    let pushed = world.publish("stale", components::command("stale\n")).await;
    let file = std::fs::File::options().write(true).open(world.folder().join("trusted_root.json")).unwrap();
    let day = Duration::from_secs(24 * 3600);
    file.set_modified(SystemTime::now() - 31 * day).unwrap();
    let world = world.restart(|_| {}).await;
    let before = world.log_size().await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["trust-root-stale"]), "{}", reply.body);
    assert_eq!(world.log_size().await, before + 1);
    file.set_modified(SystemTime::now()).unwrap();
    let world = world.restart(|_| {}).await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_are_missing_or_do_not_compile_start_nothing_and_disturb_nobody_who_runs() {
    let world = World::start().await;
    let missing = world.folder().join("no-policies");
    let empty = policy_folder(world.folder(), "empty", None);
    let broken = policy_folder(world.folder(), "broken", Some("admit if {"));
    let reaching = policy_folder(
        world.folder(),
        "reaching",
        Some("admit if http.send({\"method\": \"get\", \"url\": \"http://x/\"})"),
    );
    let data = policy_folder(world.folder(), "data", None);
    std::fs::write(data.join("data.json"), "{\"witgate\": ").unwrap();
    for (name, dir) in [("missing", &missing), ("broken", &broken), ("reaching", &reaching)] {
        let error = start_error(&world, name, |config| {
            config.policy.dir = Some(dir.clone());
            config.policy.data = None;
        });
        assert!(error.await.is_some(), "started with policies that are {name}");
    }
    for (name, folder) in [("data-missing", &missing), ("data-broken", &data)] {
        let error = start_error(&world, name, |config| config.policy.data = Some(folder.clone()));
        assert!(error.await.is_some(), "started with {name}");
    }
    // What no rule decides is refused, should an empty folder count as policies at all.
    let started = start_error(&world, "none", |config| {
        config.policy.dir = Some(empty.clone());
        config.policy.data = None;
    });
    if started.await.is_none() {
        let world = World::start().await;
        let pushed = world.publish("empty", components::command("empty\n")).await;
        let change = |config: &mut Config| {
            config.policy.dir = Some(empty);
            config.policy.data = None;
        };
        let world = world.restart(change).await;
        assert_eq!(world.host.admit(&pushed.reference).await.status, 403);
    }
    std::fs::remove_dir_all(world.folder().join("policy-data")).unwrap();
    let pushed = world.publish("running", components::command("running\n")).await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200, "files are looked at when it starts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_does_not_come_to_an_end_is_a_recorded_refusal() {
    let world = World::start().await;
    let pushed = world.publish("endless", components::command("endless\n")).await;
    let rules = "admit if { some a in input.links; some b in input.links; some c in input.links; some d in input.links; \
                 a == b; c == d; a == 1 }";
    let dir = policy_folder(world.folder(), "endless", Some(rules));
    let change = |config: &mut Config| {
        config.policy.dir = Some(dir);
        config.policy.data = None;
        config.policy.timeout_ms = 20;
    };
    let world = world.restart(change).await;
    let links: Vec<String> = (0..64).map(|link| format!("l{link}")).collect();
    let before = world.log_size().await;
    let reply = world.host.ask(serde_json::json!({"reference": pushed.reference, "links": links})).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["policy-timeout"]), "{}", reply.body);
    assert_eq!(world.log_size().await, before + 1);
}
