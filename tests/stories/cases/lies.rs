//! A registry that gives other bytes than it was asked for.

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha512};
use witgate::case::Digest;
use witgate::dev::registry::push::{OCI_MANIFEST, WASM_LAYER};
use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate_tests::{World, components};

use super::{good_parts, is_outage, kept, part, parts, publish, serves_the_next, wasm_config};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test(flavor = "multi_thread")]
async fn case_03_a2_1_another_manifest_or_blob_under_a_digest_is_an_outage_that_leaves_nothing() {
    let world = World::behind_the_door(|_| {}).await;
    let registry = &world.deployment.registry;
    let wasm = |word: &str| components::command(&format!("{word}\n"));
    // Both are signed by the wanted identity and would be admitted by themselves.
    let b = world.publish("swapped", wasm("b")).await;
    let a = world.publish("swapped", wasm("a")).await;
    let by_digest = format!("manifests/{}", a.manifest);
    registry.inject(Rule::new(Match::on(Target::Manifest).digest(a.manifest), Fault::FlipTag { to: b.manifest }));
    let told = is_outage(&world, "swapped", &by_digest, &[a.component, b.component]).await;
    for digest in [a.manifest, b.manifest] {
        assert!(told.message().contains(&digest.to_string()), "both digests are named: {}", told.message());
    }
    let head = world.host.head("swapped", &by_digest).await;
    assert_eq!((head.status, head.header("docker-content-digest")), (503, ""));
    registry.heal();
    let got = world.host.pull("swapped", &by_digest).await;
    assert_eq!((got.status, &got.bytes), (200, &a.manifest_bytes), "{}", got.body);

    // A child of an index, a config, a layer.
    let leaf = world.publish("child", wasm("leaf")).await;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": OCI_MANIFEST, "digest": leaf.manifest, "size": leaf.manifest_bytes.len(),
        "platform": {"os": "wasip2", "architecture": "wasm"},
    }]});
    publish(&world, "child", INDEX, index.to_string()).await;
    let lie = Bytes::from_static(b"\0asm not what was asked for");
    let no_manifest = Bytes::from(b.manifest_bytes.to_vec());
    for (name, target, bytes) in [
        ("child", Match::on(Target::Manifest).digest(leaf.manifest), no_manifest),
        ("config", Match::on(Target::Config), lie.clone()),
        ("layer", Match::on(Target::Layer), lie),
    ] {
        let component = match name {
            "child" => leaf.component,
            _ => world.publish(name, wasm(name)).await.component,
        };
        let rule = target.repository(format!("demo/{name}"));
        registry.inject(Rule::new(rule, Fault::WrongBytes(bytes.clone())));
        is_outage(&world, name, "manifests/1.0", &[component, Digest::of(&bytes)]).await;
        assert!(!kept(&world).contains(&Digest::of(&bytes)), "{name}: the lie was kept");
        registry.heal();
        assert_eq!(world.host.pull(name, "manifests/1.0").await.status, 200, "{name}");
        assert_eq!(world.host.pull(name, &format!("blobs/{component}")).await.status, 200, "{name}");
    }
    serves_the_next(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a2_3_a_header_of_another_algorithm_is_checked_as_well() {
    let world = World::behind_the_door(|_| {}).await;
    let registry = &world.deployment.registry;
    for (name, right) in [("right", true), ("wrong", false)] {
        let wasm = components::command(&format!("{name}\n"));
        let pushed = world.publish(name, wasm.clone()).await;
        let header = |bytes: &[u8]| {
            let digest = Sha512::digest(if right { bytes } else { b"something else" });
            Fault::Header { name: "docker-content-digest".into(), value: format!("sha512:{}", hex::encode(digest)) }
        };
        let on = |target: Target| Match::on(target).repository(format!("demo/{name}"));
        let by_digest = format!("manifests/{}", pushed.manifest);
        for (rule, bytes) in [
            (on(Target::Manifest).digest(pushed.manifest), &pushed.manifest_bytes[..]),
            (on(Target::Layer).digest(pushed.component), &wasm[..]),
        ] {
            registry.inject(Rule::new(rule, header(bytes)));
            match right {
                true => assert_eq!(world.host.pull(name, &by_digest).await.status, 200),
                false => drop(is_outage(&world, name, &by_digest, &[pushed.component]).await),
            }
            registry.heal();
        }
        assert_eq!(world.host.pull(name, &format!("manifests/{}", pushed.manifest)).await.status, 200, "{name}");
        // What is answered says the one algorithm that counts, whatever the registry said.
        let head = world.host.head(name, "manifests/1.0").await;
        assert_eq!(head.header("docker-content-digest"), pushed.manifest.to_string());
        assert_eq!(head.headers.get_all("docker-content-digest").iter().count(), 1);
    }
    serves_the_next(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_a3_2_a3_3_a_length_that_lies_is_an_outage_whoever_tells_it() {
    let world = World::behind_the_door(|setup| {
        setup.more = "[registry]\nidle_timeout_ms = 2000\nmetadata_timeout_ms = 3000\nslow_start_ms = 1500\n".into();
    })
    .await;
    let registry = &world.deployment.registry;
    for (name, fault) in [
        ("less", Fault::ContentLength { claimed: 10 }),
        ("more", Fault::ContentLength { claimed: 500_000 }),
        ("stalls", Fault::Stall { after_bytes: 10 }),
        ("cut", Fault::Truncate { after_bytes: 10 }),
        ("longer", Fault::ExtraByte),
    ] {
        for (target, of) in [(Target::Layer, "layer"), (Target::Config, "config"), (Target::Manifest, "manifest")] {
            // A manifest by its tag has no digest yet that one byte more could contradict.
            let name = format!("{name}-{of}");
            let pushed = world.publish(&name, components::command(&format!("{name}\n"))).await;
            let rest = format!("manifests/{}", pushed.manifest);
            let rule = match target {
                Target::Layer => Match::on(target).digest(pushed.component),
                Target::Manifest => Match::on(target).digest(pushed.manifest),
                _ => Match::on(target),
            };
            registry.inject(Rule::new(rule.repository(format!("demo/{name}")), fault.clone()));
            is_outage(&world, &name, &rest, &[pushed.component]).await;
            registry.heal();
            assert_eq!(world.host.pull(&name, &rest).await.status, 200, "{name}");
            assert_eq!(world.host.pull(&name, &format!("blobs/{}", pushed.component)).await.status, 200, "{name}");
        }
    }
    // Here the manifest lies, and whoever pushed it signed the lie.
    for (name, off) in [("size-less", -1_i64), ("size-more", 1)] {
        let (mut manifest, wasm) = good_parts(&world, name).await;
        manifest["layers"][0]["size"] = json!(wasm.len() as i64 + off);
        publish(&world, name, OCI_MANIFEST, manifest.to_string()).await;
        is_outage(&world, name, "manifests/1.0", &[Digest::of(&wasm)]).await;
    }
    serves_the_next(&world).await;
}

/// A registry whose blob is gone is no way to the same blob that another repository holds in our store.
#[tokio::test(flavor = "multi_thread")]
async fn case_08_a29_bytes_that_we_hold_are_sent_only_where_the_repository_holds_them() {
    let world = World::behind_the_door(|_| {}).await;
    let wasm = Bytes::from(components::command("held\n"));
    let held = world.publish("holder", wasm.to_vec()).await;
    assert_eq!(world.host.pull("holder", "manifests/1.0").await.status, 200);
    assert!(kept(&world).contains(&held.component));
    // Somebody may push to `claims` and knows the digest, not the bytes: the blob is named and not there.
    let config = wasm_config(&wasm);
    let mut manifest = parts(&world, "claims", &config, &[]).await;
    manifest["layers"] = json!([super::descriptor(&part(WASM_LAYER, wasm.clone()))]);
    publish(&world, "claims", OCI_MANIFEST, manifest.to_string()).await;
    let told = is_outage(&world, "claims", "manifests/1.0", &[held.component]).await;
    assert!(told.message().contains(&held.component.to_string()), "{}", told.message());
    // With the bytes in hand it is the artifact it claims to be.
    parts(&world, "claims", &config, &[part(WASM_LAYER, wasm.clone())]).await;
    assert_eq!(world.host.pull("claims", "manifests/1.0").await.status, 200);
    assert_eq!(world.host.pull("claims", &format!("blobs/{}", held.component)).await.bytes, wasm);
    serves_the_next(&world).await;
}
