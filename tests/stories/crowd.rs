//! Many callers at once, callers that leave, callers that wait too long.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use witgate::case::Timestamp;
use witgate::dev::deployment::{host_id, policy_data};
use witgate::dev::registry::push::Pushed;
use witgate::dev::registry::{DevRegistry, Fault, Match, Rule, Target};
use witgate::dev::spiffe::Leaf;
use witgate_tests::{PATIENCE, Reply, World, components, free_address, ticket_id, until};

/// Simultaneous requests for one new digest.
const CROWD: usize = 200;

/// A world in which host `a` alone is granted anything.
async fn world_for_a() -> World {
    let address = free_address();
    let mut data = policy_data(&address.to_string());
    data["witgate"]["grants"][0]["callers"] = serde_json::json!([host_id("a")]);
    World::with(|setup| {
        setup.registry.listen = address;
        setup.policy_data = Some(data);
    })
    .await
}

/// The paths below a repository that were read, each as often as it was.
fn read(registry: &DevRegistry, repository: &str) -> Vec<String> {
    let prefix = format!("/v2/{repository}/");
    let seen = registry.requests();
    let ours = seen.iter().filter(|request| request.method == "GET" && request.path.starts_with(&prefix));
    let mut paths: Vec<String> = ours.map(|request| request.path.clone()).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn a30_1_a_crowd_costs_the_registry_one_of_each_and_each_caller_its_own_decision() {
    let world = world_for_a().await;
    let stranger = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    let pushed = world.publish("crowd", components::command("crowd\n")).await;
    // Slow enough that the whole crowd is there before the first one is answered.
    let slow = Fault::Drip { bytes_per_second: 300 };
    world.deployment.registry.inject(Rule::new(Match::on(Target::Manifest).tag("1.0"), slow.clone()));
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), slow));
    let before = world.log_size().await;
    let ask = async |number: usize| {
        let caller = if number.is_multiple_of(2) { &world.host } else { &stranger };
        (number, caller.admit(&pushed.reference).await)
    };
    let replies = futures::future::join_all((0..CROWD).map(ask)).await;

    let mut decisions = BTreeSet::new();
    let mut tickets = BTreeSet::new();
    for (number, reply) in &replies {
        if number % 2 == 0 {
            assert_eq!(reply.status, 200, "{}", reply.body);
            assert!(tickets.insert(ticket_id(reply)), "a ticket was given twice");
        } else {
            // In the crowd of those who may, and none the better for it.
            assert_eq!((reply.status, reply.codes()), (403, vec!["caller-not-granted"]), "{}", reply.body);
            assert!(reply.body.get("ticket").is_none());
            assert!(decisions.insert(reply.decision().to_owned()), "two refusals share one decision");
        }
        assert!(!reply.decision().is_empty());
        decisions.insert(reply.decision().to_owned());
    }
    assert_eq!(world.log_size().await - before, decisions.len() as u64, "each decision stands in the log once");
    let paths = read(&world.deployment.registry, "demo/crowd");
    assert_eq!(
        paths.len(),
        8,
        "manifest, config, component, referrers, cosign's two tags, referrer, bundle: {paths:#?}"
    );
    assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len(), "something was fetched twice: {paths:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a30_2_a_crowd_before_a_broken_registry_gets_one_outage_then_a_fresh_try() {
    let world = World::start().await;
    let pushed = world.publish("broken", components::command("broken\n")).await;
    let before = world.log_size().await;
    for target in [Target::Layer, Target::Referrers] {
        world.deployment.registry.inject(Rule::new(Match::on(target).repository("demo/broken"), Fault::CloseAtOnce));
        let replies = futures::future::join_all((0..32).map(|_| world.host.admit(&pushed.reference))).await;
        assert!(replies.iter().all(|reply| reply.status == 503 && reply.body["peer"] == "registry"), "{replies:#?}");
        world.deployment.registry.heal();
    }
    assert_eq!(world.log_size().await, before, "an outage was recorded");
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200);
}

/// Holds up the component until [`DevRegistry::heal`] makes the next try succeed.
async fn slow_component(world: &World, name: &str, fault: Fault) -> Pushed {
    let pushed = world.publish(name, components::command(&format!("{name}\n"))).await;
    let on = Match::on(Target::Layer).digest(pushed.component);
    world.deployment.registry.inject(Rule::new(on, fault));
    pushed
}

#[tokio::test(flavor = "multi_thread")]
async fn a30_2_when_the_caller_leaves_the_work_goes_on_and_is_recorded() {
    let world = World::start().await;
    let size = components::command("leaver\n").len() as u64;
    // About a second for the component.
    let pushed = slow_component(&world, "leaver", Fault::Drip { bytes_per_second: size.max(20) }).await;
    let before = world.log_size().await;
    let path = format!("/v2/demo/leaver/blobs/{}", pushed.component);
    let asked = async || read(&world.deployment.registry, "demo/leaver").contains(&path);
    tokio::select! {
        reply = world.host.admit(&pushed.reference) => panic!("it was to leave before the answer: {reply:?}"),
        () = until("the component is asked for", asked) => {}
    }
    until("the decision is recorded", async || world.log_size().await > before).await;
    assert_eq!(world.log_size().await, before + 1);
    let reads = read(&world.deployment.registry, "demo/leaver").len();
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(read(&world.deployment.registry, "demo/leaver").len(), reads, "what was begun is used");
    assert_eq!(world.log_size().await, before + 1, "the answer is the decision that was recorded");
}

/// The answer after as many `pending` ones as it takes.
async fn patient(world: &World, reference: &str) -> Reply {
    let start = Instant::now();
    loop {
        let reply = world.host.admit(reference).await;
        if reply.status != 429 {
            return reply;
        }
        assert_pending(&reply);
        assert!(start.elapsed() < PATIENCE, "pending for ever");
    }
}

fn assert_pending(reply: &Reply) {
    assert_eq!((reply.status, reply.body["code"].as_str()), (429, Some("pending")), "{}", reply.body);
    let seconds = reply.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{:?}", reply.headers);
    assert!(reply.body.get("ticket").is_none() && reply.body.get("decision").is_none(), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_3_past_the_deadline_is_pending_and_later_the_decision_that_was_begun() {
    let world = World::with(|setup| setup.deadline = Duration::from_millis(400)).await;
    let size = components::command("patience\n").len() as u64;
    let pushed = slow_component(&world, "patience", Fault::Drip { bytes_per_second: size.max(20) / 2 }).await;
    let before = world.log_size().await;
    assert_pending(&world.host.admit(&pushed.reference).await);
    assert_eq!(world.log_size().await, before, "`pending` is no decision");
    let reply = patient(&world, &pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let path = format!("/v2/demo/patience/blobs/{}", pushed.component);
    let reads = read(&world.deployment.registry, "demo/patience");
    assert_eq!(reads.iter().filter(|read| **read == path).count(), 1, "those who came later joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_3_a_hung_registry_is_pending_then_an_outage_then_healed() {
    let world = World::with(|setup| {
        setup.deadline = Duration::from_millis(400);
        setup.more = "[registry]\nidle_timeout_ms = 1500\n".into();
    })
    .await;
    let pushed = slow_component(&world, "hung", Fault::Hang).await;
    let before = world.log_size().await;
    assert_pending(&world.host.admit(&pushed.reference).await);
    let outage = patient(&world, &pushed.reference).await;
    assert_eq!((outage.status, outage.body["peer"].as_str()), (503, Some("registry")), "{}", outage.body);
    assert_eq!(world.log_size().await, before);
    world.deployment.registry.heal();
    // Somebody may have begun while it still hung: that ends as an outage, too.
    until("it is admitted", async || patient(&world, &pushed.reference).await.status == 200).await;
}
