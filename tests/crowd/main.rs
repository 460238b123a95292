//! Ten thousand requests for one new digest are one upstream fetch: a program of its own, for it would starve the other stories.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use serde_json::json;
use witgate::case::Timestamp;
use witgate::dev::deployment::{host_id, policy_data};
use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate::dev::spiffe::Leaf;
use witgate_tests::{ALIAS, World, components};

/// Callers, each with an identity of its own.
const CALLERS: usize = 200;
/// Requests for one digest that nobody has asked for before.
const REQUESTS: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn a30_1_two_hundred_callers_and_ten_thousand_requests_are_one_fetch() {
    let world = World::behind_the_door(|setup| {
        setup.more = "[registry]\nmetadata_timeout_ms = 60000\n".into();
        let mut data = policy_data(ALIAS);
        // Every fourth host may have nothing.
        data["witgate"]["grants"][0]["callers"] = json!([format!("{}/*", host_id("good"))]);
        setup.policy_data = Some(data);
    })
    .await;
    let pushed = world.publish("crowd", components::command("crowd\n")).await;
    let callers = stream::iter(0..CALLERS).map(|number| {
        let kind = if number % 4 == 0 { "bad" } else { "good" };
        let (world, path) = (&world, format!("{}/{number}", host_id(kind)));
        async move {
            let caller = world.caller(&path, &Leaf::new(Timestamp::now())).await.unwrap();
            // One connection each: what crowds here are requests, not handshakes.
            assert_eq!(caller.get("/v2/").await.status, 200);
            caller
        }
    });
    let callers: Vec<_> = callers.buffered(16).collect().await;
    // Slow enough that a good part of the crowd is there before the first one is answered.
    let slow = Fault::Drip { bytes_per_second: 300 };
    world.deployment.registry.inject(Rule::new(Match::on(Target::Manifest).digest(pushed.manifest), slow.clone()));
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), slow));
    let before = world.log_size().await;
    let rest = format!("manifests/{}", pushed.manifest);
    let asked = join_all((0..REQUESTS).map(|number| callers[number % CALLERS].pull("crowd", &rest))).await;

    let mut decisions: BTreeMap<usize, String> = BTreeMap::new();
    for (number, reply) in asked.iter().enumerate() {
        let caller = number % CALLERS;
        if caller.is_multiple_of(4) {
            assert_eq!((reply.status, reply.error_code()), (404, "MANIFEST_UNKNOWN"), "{}", reply.body);
            continue;
        }
        assert_eq!((reply.status, &reply.bytes), (200, &pushed.manifest_bytes), "{}", reply.body);
        let decision = reply.header("witgate-decision").to_owned();
        let first = decisions.entry(caller).or_insert_with(|| decision.clone());
        assert_eq!(*first, decision, "one caller, one question, one decision");
    }
    assert_eq!(decisions.len(), CALLERS - CALLERS / 4);
    let distinct: BTreeSet<_> = decisions.values().collect();
    assert_eq!(distinct.len(), decisions.len(), "two callers share a decision");
    let recorded = world.log_size().await - before;
    assert_eq!(recorded, decisions.len() as u64, "who is granted nothing makes the log grow");

    let blob = format!("blobs/{}", pushed.component);
    for (number, reply) in join_all(callers.iter().map(|caller| caller.pull("crowd", &blob))).await.iter().enumerate() {
        let expected = if number % 4 == 0 { 404 } else { 200 };
        assert_eq!(reply.status, expected, "a refused caller gets nothing of the others' flight: {}", reply.body);
    }
    let paths = world.read_of("demo/crowd");
    let once =
        |part: &str| paths.iter().filter(|(path, _)| path.contains(part)).map(|(_, times)| *times).collect::<Vec<_>>();
    assert_eq!(once(&rest), [1], "{paths:#?}");
    assert_eq!(paths[&format!("/v2/demo/crowd/{blob}")], 1, "{paths:#?}");
}
