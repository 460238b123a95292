//! What is collected before a roll-out, and where `wkg` is told to look.

use serde_json::{Value, json};
use witgate::case::Digest;
use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate_tests::{ALIAS, Reply, World, components};

async fn prefetch(world: &World, body: Value) -> Reply {
    let request = world.host.client().post(world.host.url("/v1/prefetch")).json(&body);
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    Reply { status, body: serde_json::from_slice(&bytes).unwrap_or_default(), bytes, headers }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_collected_ahead_is_not_fetched_again_and_decides_nothing() {
    let world = World::behind_the_door(|_| {}).await;
    let wasm = components::command("ahead\n");
    let good = world.publish("ahead", wasm.clone()).await;
    world.publish("broken", components::command("broken\n")).await;
    world.deployment.registry.inject(Rule::new(Match::on(Target::Layer).repository("demo/broken"), Fault::CloseAtOnce));
    let reference = |rest: &str| format!("{ALIAS}/demo/{rest}");
    let before = world.log_size().await;
    let asked = [
        reference("ahead:1.0"),
        reference("missing:1.0"),
        reference("broken:1.0"),
        reference("ahead:1.0"),
        "ghcr.io/a:1".into(),
    ];
    let reply = prefetch(&world, json!({"references": asked})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let told: Vec<_> = reply.body["references"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["reference"].clone(), one["status"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (json!("ghcr.io/a:1"), json!("unprocessable")),
            (json!(reference("ahead:1.0")), json!("collected")),
            (json!(reference("broken:1.0")), json!("outage")),
            (json!(reference("missing:1.0")), json!("unknown")),
        ]
    );
    assert_eq!(reply.body["references"][1]["artifact"], good.manifest.to_string());
    assert_eq!(world.log_size().await, before, "nothing was decided");
    let blob = format!("blobs/{}", good.component);
    assert_eq!(world.host.pull("ahead", &blob).await.status, 404, "and nothing handed over");

    let fetched = |what: &str| {
        world
            .deployment
            .registry
            .requests()
            .iter()
            .filter(|seen| seen.method == "GET" && seen.path.contains(what))
            .count()
    };
    let layers = fetched(&good.component.to_string());
    assert_eq!(world.host.pull("ahead", "manifests/1.0").await.status, 200);
    assert_eq!(world.host.pull("ahead", &blob).await.bytes, wasm);
    assert_eq!((layers, fetched(&good.component.to_string())), (1, 1), "the component was there");
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_requests_have_one_form_and_a_limit() {
    let world = World::behind_the_door(|setup| setup.deadline = std::time::Duration::from_millis(300)).await;
    let many = |count: usize| (0..count).map(|n| format!("{ALIAS}/demo/x:{n}")).collect::<Vec<_>>();
    for body in [
        json!({}),
        json!([]),
        json!({"references": []}),
        json!({"references": ["cart"]}),
        json!({"references": "x"}),
        json!({"references": [1]}),
        json!({"references": many(65)}),
        json!({"references": many(1), "decide": true}),
    ] {
        let reply = prefetch(&world, body.clone()).await;
        assert_eq!(reply.status, 422, "{body}: {}", reply.body);
        assert!(reply.body["hint"].as_str().unwrap().contains("references"), "{}", reply.body);
    }
    assert_eq!(prefetch(&world, json!({"references": many(64)})).await.status, 200);
    world.publish("slow", components::command("slow\n")).await;
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), Fault::Drip { bytes_per_second: 20 }));
    let reply = prefetch(&world, json!({"references": [format!("{ALIAS}/demo/slow:1.0")]})).await;
    assert_eq!((reply.status, &reply.body["code"]), (429, &json!("pending")), "{}", reply.body);
    assert_eq!(world.host.get("/v1/prefetch").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn wkg_is_told_the_prefix_of_packages_and_no_host() {
    let world = World::behind_the_door(|_| {}).await;
    let path = "/.well-known/wasm-pkg/registry.json";
    let none = world.host.get(path).await;
    assert_eq!((none.status, none.body["status"].as_u64()), (404, Some(404)), "two upstreams: nobody guesses");
    let door = world.local_door("local").await;
    let only = door.fetch(http::Method::GET, path).await;
    assert_eq!(only.body, json!({"preferredProtocol": "oci", "oci": {"namespacePrefix": format!("{ALIAS}/")}}));
    door.service.stop().await;
    let world = world.restart(|config| config.registry.package_prefix = Some(format!("{ALIAS}/webassembly/"))).await;
    let told = world.host.fetch(http::Method::GET, path, &[("x-forwarded-host", "evil.example")]).await;
    assert_eq!(told.body["oci"], json!({"namespacePrefix": format!("{ALIAS}/webassembly/")}));
    assert_eq!(told.status, 200);
    assert!(Digest::of(&told.bytes) != Digest::of(&only.bytes));
}
