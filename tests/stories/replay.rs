//! What a gateway decided is decided again: the same by its own policy, and otherwise by another.

use std::num::NonZeroUsize;
use std::sync::Arc;

use serde_json::{Value, json};
use witgate::audit::{Reader, Window};
use witgate::case::Timestamp;
use witgate::dev::deployment::{GRANTED, SignedBy, host_id, policy_data};
use witgate::dev::spiffe::Leaf;
use witgate::policy::Policy;
use witgate::replay::{At, Counts, Options, Progress, Report, Source, replay};
use witgate_tests::{World, components};

const ROUNDS: u64 = 50;

/// Decides everything again by the embedded policies over `data`.
async fn replayed(world: &World, data: &Value, threads: usize) -> Report {
    let reader = Reader::open(world.deployment.service.gate().audit.database()).await.unwrap();
    let decisions = reader.decisions(&Window::default()).await.unwrap();
    let policy = Arc::new(Policy::embedded(data).unwrap());
    let options = Options { at: At::Recorded, threads: NonZeroUsize::new(threads).unwrap() };
    let progress = Arc::new(Progress::default());
    let tally = replay(Source::Log(Box::new(decisions)), policy, options, Arc::clone(&progress)).await.unwrap();
    let report = Report::new(&tally, 100);
    assert_eq!(progress.decisions(), report.counts.decisions);
    reader.close().await;
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_of_a_gateway_is_made_again_as_it_was() {
    let world = World::start().await;
    let good = world.publish("good", components::command("hello\n")).await;
    let greedy = world.publish("greedy", components::greedy("hello\n")).await;
    let unsigned = world.publish_signed("unsigned", components::command("hello\n"), SignedBy::Nobody).await;
    let other = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    let before = world.log_size().await;
    // One admission each: what is asked again while it holds is not decided again.
    for caller in [&world.host, &other] {
        assert_eq!(caller.admit(&good.reference).await.status, 200);
        assert_eq!(caller.admit(&good.reference).await.status, 200);
    }
    for _ in 0..ROUNDS {
        assert_eq!(world.host.ask(json!({"reference": good.reference, "dry_run": true})).await.status, 200);
        assert_eq!(world.host.admit(&greedy.reference).await.status, 403);
        assert_eq!(other.admit(&unsigned.reference).await.status, 403);
    }
    let decisions = 3 * ROUNDS + 2;
    assert_eq!(world.log_size().await, before + decisions);

    // The gateway serves on while its log is read, and its own policy says what it said.
    let registry = world.deployment.registry.host();
    let in_force = policy_data(&registry);
    for threads in [1, 2, 5] {
        let report = replayed(&world, &in_force, threads).await;
        assert_eq!(report.counts, Counts { decisions, same: decisions, ..Counts::default() }, "{report:#?}");
    }

    // Sockets for everybody, and nothing for the second host.
    let mut data = policy_data(&registry);
    let sockets: Vec<&str> = GRANTED.iter().copied().chain(["wasi:sockets/*@0.2"]).collect();
    data["witgate"]["grants"][0]["imports"] = json!(sockets);
    data["witgate"]["grants"][0]["callers"] = json!([host_id("a")]);
    let report = replayed(&world, &data, 3).await;
    assert_eq!((report.newly_admitted.decisions, report.newly_refused.decisions), (ROUNDS, 1), "{report:#?}");
    let (admitted, refused) = (&report.newly_admitted.groups, &report.newly_refused.groups);
    assert_eq!((admitted.len(), admitted[0].code.as_str(), admitted[0].decisions), (1, "import-not-granted", ROUNDS));
    assert!(admitted[0].repository.ends_with("/demo/greedy"), "{admitted:?}");
    assert_eq!((refused.len(), refused[0].code.as_str(), &refused[0].caller), (1, "caller-not-granted", &host_id("b")));
    // The unsigned one is now refused for its caller's sake, too.
    let changed: Vec<_> = report.changed.groups.iter().map(|group| (group.code.as_str(), group.decisions)).collect();
    assert_eq!(changed, [("+caller-not-granted", ROUNDS)]);
    assert_eq!(report.counts.same, ROUNDS + 1, "{report:#?}");
    // The example can be looked at.
    let shown = world.decision(&admitted[0].example.to_string()).await;
    assert_eq!(
        (&shown["decision"]["verdict"], &shown["case"]["reference"]["text"]),
        (&json!("refuse"), &json!(greedy.reference))
    );
    world.verify_log().await;
}
