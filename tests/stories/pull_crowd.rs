//! The registry door when many ask, leave, or wait too long.

use std::time::{Duration, Instant};

use futures::future::join_all;
use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate_tests::{PATIENCE, Reply, World, components, until};

#[tokio::test(flavor = "multi_thread")]
async fn a30_2_a_crowd_before_a_broken_registry_gets_one_outage_then_a_fresh_try() {
    let world = World::behind_the_door(|_| {}).await;
    world.publish("broken", components::command("broken\n")).await;
    let before = world.log_size().await;
    for target in [Target::Layer, Target::Referrers] {
        world.deployment.registry.inject(Rule::new(Match::on(target).repository("demo/broken"), Fault::CloseAtOnce));
        let replies = join_all((0..64).map(|_| world.host.pull("broken", "manifests/1.0"))).await;
        assert!(replies.iter().all(|reply| (reply.status, reply.error_code()) == (503, "UNAVAILABLE")), "{replies:#?}");
        world.deployment.registry.heal();
    }
    assert_eq!(world.log_size().await, before, "an outage was recorded");
    assert_eq!(world.host.pull("broken", "manifests/1.0").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a30_2_when_the_first_caller_leaves_the_work_goes_on_for_the_others() {
    let world = World::behind_the_door(|_| {}).await;
    let wasm = components::command("leaver\n");
    let pushed = world.publish("leaver", wasm.clone()).await;
    // About a second for the component.
    let slow = Fault::Drip { bytes_per_second: wasm.len() as u64 };
    world.deployment.registry.inject(Rule::new(Match::on(Target::Layer).digest(pushed.component), slow));
    let before = world.log_size().await;
    let path = format!("/v2/demo/leaver/blobs/{}", pushed.component);
    tokio::select! {
        reply = world.host.pull("leaver", "manifests/1.0") => panic!("it was to leave before the answer: {reply:?}"),
        () = until("the component is asked for", async || world.read_of("demo/leaver").contains_key(&path)) => {}
    }
    let reply = world.host.pull("leaver", "manifests/1.0").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(world.read_of("demo/leaver")[&path], 1, "what was begun is used");
    assert_eq!(world.log_size().await, before + 1, "and is one decision");
    assert_eq!(world.host.pull("leaver", &format!("blobs/{}", pushed.component)).await.bytes, wasm);
}

/// The answer after as many `pending` ones as it takes.
async fn patient(world: &World, name: &str, rest: &str) -> Reply {
    let start = Instant::now();
    loop {
        let reply = world.host.pull(name, rest).await;
        if reply.status != 429 {
            return reply;
        }
        assert_eq!(reply.error_code(), "TOOMANYREQUESTS");
        assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{:?}", reply.headers);
        assert!(reply.header("witgate-decision").is_empty(), "`pending` is no decision");
        assert!(start.elapsed() < PATIENCE, "pending for ever");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_3_past_the_deadline_is_pending_and_later_the_decision_that_was_begun() {
    let world = World::behind_the_door(|setup| {
        setup.deadline = Duration::from_millis(300);
        setup.more = NO_MEMORY.into();
    })
    .await;
    let wasm = components::command("patience\n");
    let pushed = world.publish("patience", wasm.clone()).await;
    let slow = Fault::Drip { bytes_per_second: wasm.len() as u64 };
    world.deployment.registry.inject(Rule::new(Match::on(Target::Layer).digest(pushed.component), slow.clone()));
    let before = world.log_size().await;
    assert_eq!(world.host.pull("patience", "manifests/1.0").await.status, 429);
    let reply = patient(&world, "patience", "manifests/1.0").await;
    assert_eq!((reply.status, &reply.bytes), (200, &pushed.manifest_bytes), "{}", reply.body);
    assert_eq!(world.log_size().await, before + 1, "who came back joined what was begun");
    let blob = format!("blobs/{}", pushed.component);
    assert_eq!(world.read_of("demo/patience")[&format!("/v2/demo/patience/{blob}")], 1);

    // The same for a blob that was evicted.
    let file = world.deployment.config.data_dir.join("cache/blobs/sha256").join(pushed.component.hex());
    std::fs::remove_file(&file).unwrap();
    assert_eq!(world.host.pull("patience", &blob).await.status, 429);
    let reply = patient(&world, "patience", &blob).await;
    assert_eq!((reply.status, &reply.bytes[..]), (200, &wasm[..]));
    assert_eq!(world.read_of("demo/patience")[&format!("/v2/demo/patience/{blob}")], 2, "fetched again once");
}

/// A30.3: who leaves in the middle of a blob leaves nothing half behind.
#[tokio::test(flavor = "multi_thread")]
async fn a30_3_a_client_that_leaves_in_the_middle_of_a_blob_spoils_it_for_nobody() {
    let world = World::behind_the_door(|setup| setup.more = NO_MEMORY.into()).await;
    let wasm = components::padded(components::command("large\n"), 8 << 20);
    let pushed = world.publish("large", wasm.clone()).await;
    assert_eq!(world.host.pull("large", "manifests/1.0").await.status, 200);
    let path = witgate_tests::door_path("large", &format!("blobs/{}", pushed.component));
    let cache = world.deployment.config.data_dir.join("cache");
    let file = cache.join("blobs/sha256").join(pushed.component.hex());
    for evicted in [false, true] {
        if evicted {
            std::fs::remove_file(&file).unwrap();
        }
        let mut leaving = world.host.client().get(world.host.url(&path)).send().await.unwrap();
        assert_eq!(leaving.status(), 200);
        assert!(leaving.chunk().await.unwrap().is_some());
        drop(leaving);
        let whole = world.host.pull("large", &format!("blobs/{}", pushed.component)).await;
        assert_eq!((whole.status, whole.bytes == wasm), (200, true));
        assert_eq!(std::fs::read_dir(cache.join("tmp")).unwrap().count(), 0, "a partial file");
        assert_eq!(std::fs::read(&file).unwrap(), wasm);
    }
}

/// Blobs are on disk alone: who takes the file away evicts them.
const NO_MEMORY: &str = "[registry]\nmemory_max_bytes = 0\n";
