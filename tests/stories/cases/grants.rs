//! What was decided for another moment, and what a stranger can learn from answers.

use http::Method;
use serde_json::json;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{SignedBy, host_id, policy_data};
use witgate::dev::registry::push::fallback_tag;
use witgate::dev::sigstore::Sigstore;
use witgate::dev::spiffe::Leaf;
use witgate_tests::{ALIAS, World, components, door_path};

use super::{hands_nothing_over, serves_the_next};

const TRICKS: [&[(&str, &str)]; 9] = [
    &[],
    &[("range", "bytes=0-0")],
    &[("range", "bytes=0-1,3-4")],
    &[("range", "bytes=5-1")],
    &[("range", "bytes=-0")],
    &[("range", "bytes=18446744073709551616-")],
    &[("range", "bytes=0-"), ("if-range", "*")],
    &[("range", "bytes=0-0"), ("range", "bytes=1-1")],
    &[("if-none-match", "*")],
];

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a21_4_no_range_tells_of_a_blob_that_was_not_admitted() {
    let world = World::behind_the_door(|_| {}).await;
    let stranger = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    let unsigned = world.publish_signed("unsigned", components::command("unsigned\n"), SignedBy::Nobody).await;
    assert_eq!(world.host.pull("unsigned", "manifests/1.0").await.status, 403);
    let good = world.publish("good", components::command("good\n")).await;
    assert_eq!(world.host.pull("good", "manifests/1.0").await.status, 200);
    let absent = world.host.pull("good", &format!("blobs/{}", Digest::of(b"absent"))).await;
    let asked = world.deployment.registry.requests().len();
    for method in [Method::GET, Method::HEAD] {
        for headers in TRICKS {
            let etag = format!("\"{}\"", unsigned.component);
            let headers: Vec<_> = headers.iter().copied().chain([("if-match", etag.as_str())]).collect();
            for (caller, name, digest) in [
                (&world.host, "unsigned", unsigned.component),
                (&world.host, "good", unsigned.component),
                (&world.host, "unsigned", good.component),
                (&stranger, "good", good.component),
                (&stranger, "good", Digest::of(b"absent")),
            ] {
                let path = door_path(name, &format!("blobs/{digest}"));
                let reply = caller.fetch(method.clone(), &path, &headers).await;
                let (status, told, body) = reply.shape();
                assert_eq!((status, told), (404, absent.shape().1), "{method} {headers:?}");
                if method == Method::GET {
                    assert_eq!(body, absent.body);
                }
            }
        }
    }
    assert_eq!(world.deployment.registry.requests().len(), asked, "somebody was asked");
    serves_the_next(&world).await;
}

/// The deployment moves to another Sigstore: what the old one vouched for is sent no longer, by no way.
#[tokio::test(flavor = "multi_thread")]
async fn case_27_a21_2_a_decision_ends_with_the_trust_root_that_it_rests_on() {
    let world = World::behind_the_door(|_| {}).await;
    let wasm = components::command("rotated\n");
    let pushed = world.publish("rotated", wasm.clone()).await;
    let rests =
        ["manifests/1.0".to_owned(), format!("manifests/{}", pushed.manifest), format!("blobs/{}", pushed.component)];
    for rest in &rests {
        assert_eq!(world.host.pull("rotated", rest).await.status, 200, "{rest}");
        assert_eq!(world.host.head("rotated", rest).await.status, 200, "{rest}");
    }
    let file = world.folder().join("trusted_root.json");
    let ago = |seconds| Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    let other = Sigstore::new(ago(120)).unwrap();
    std::fs::write(&file, other.trusted_root_json()).unwrap();
    world.deployment.service.gate().look_at_files(Timestamp::now()).await;
    for rest in &rests {
        // Case 28: a host that asks HEAD and trusts the copy on its disk hears no as well.
        for method in [Method::HEAD, Method::GET] {
            let before = world.log_size().await;
            let reply = world.host.fetch(method.clone(), &door_path("rotated", rest), &[]).await;
            assert_eq!(reply.status, 403, "{method} {rest}: {}", reply.body);
            assert!(reply.header("warning").contains("no-verified-signature"), "{method} {rest}: {:?}", reply.headers);
            assert!(!reply.headers.contains_key("docker-content-digest"), "{method} {rest}");
            assert_eq!(world.log_size().await, before + 1, "{method} {rest}: decided anew");
            // Nor with the entity tag that it kept.
            let etag = format!("\"{}\"", if rest.starts_with("blobs") { pushed.component } else { pushed.manifest });
            let kept = world.host.fetch(method.clone(), &door_path("rotated", rest), &[("if-none-match", &etag)]).await;
            assert_eq!(kept.status, 403, "{method} {rest}: not modified is an admission");
        }
    }
    let referrers = world.host.pull("rotated", &format!("referrers/{}", pushed.manifest)).await;
    assert_ne!(referrers.body["manifests"].as_array().map(Vec::len), Some(1), "{}", referrers.body);
    // What the new one vouches for is admitted.
    let signed = witgate::dev::sigstore::Sign::cosign(
        pushed.manifest,
        witgate::dev::deployment::SIGNER,
        witgate::dev::deployment::ISSUER,
        ago(witgate::dev::sigstore::SIGNED_AFTER_S),
    );
    let bundle = other.sign(signed).unwrap();
    let host = world.deployment.registry.host();
    let auth = witgate::dev::registry::Auth::Open;
    witgate::dev::registry::push::bundle(&host, "demo/rotated", &pushed, &bundle, None, &auth).await.unwrap();
    for rest in &rests {
        assert_eq!(world.host.pull("rotated", rest).await.status, 200, "{rest}: signed anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_30_a29_1_a_strangers_answers_are_byte_for_byte_those_of_what_is_absent_and_cost_the_same() {
    let world = World::behind_the_door(|setup| {
        let mut data = policy_data(ALIAS);
        data["witgate"]["grants"][0]["callers"] = json!([host_id("a")]);
        setup.policy_data = Some(data);
    })
    .await;
    let stranger = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    // Names and digests of one length, so that even lengths can be compared.
    let there = world.publish("present", components::command("present\n")).await;
    for rest in ["manifests/1.0".to_owned(), format!("blobs/{}", there.component), "tags/list".to_owned()] {
        assert_eq!(world.host.pull("present", &rest).await.status, 200, "the owner has it warm: {rest}");
    }
    let (asked, size) = (world.deployment.registry.requests().len(), world.log_size().await);
    let absent = Digest::of(b"absent");
    let rests = |manifest: &Digest, component: &Digest| {
        [
            "manifests/1.0".to_owned(),
            "manifests/2.0".to_owned(),
            format!("manifests/{manifest}"),
            format!("manifests/{}", fallback_tag(manifest)),
            format!("manifests/sha256-{}.sig", manifest.hex()),
            format!("blobs/{component}"),
            format!("blobs/{manifest}"),
            format!("referrers/{manifest}"),
            format!("referrers/{manifest}?artifactType=application%2Fspdx%2Bjson"),
            "tags/list".to_owned(),
            "tags/list?n=1&last=0".to_owned(),
        ]
    };
    let pairs = rests(&there.manifest, &there.component).into_iter().zip(rests(&absent, &absent));
    for (there_rest, absent_rest) in pairs {
        for (method, headers) in
            [Method::GET, Method::HEAD].into_iter().flat_map(|method| TRICKS.map(|headers| (method.clone(), headers)))
        {
            for by_namespace in [false, true] {
                let path = |name: &str, rest: &str| match by_namespace {
                    false => door_path(name, rest),
                    true => {
                        let and = if rest.contains('?') { '&' } else { '?' };
                        format!("/v2/demo/{name}/{rest}{and}ns={ALIAS}")
                    }
                };
                let seen = stranger.fetch(method.clone(), &path("present", &there_rest), headers).await;
                let unseen = stranger.fetch(method.clone(), &path("lacking", &absent_rest), headers).await;
                let same = |reply: &witgate_tests::Reply| {
                    let digests = [there.manifest, there.component, absent].map(|digest| digest.hex());
                    let plain = |text: String| {
                        let text = text.replace("present", "NAME").replace("lacking", "NAME");
                        digests.iter().fold(text, |text, hex| text.replace(hex, "HEX"))
                    };
                    let (status, headers, _) = reply.shape();
                    (status, plain(format!("{headers:?}")), plain(String::from_utf8(reply.bytes.to_vec()).unwrap()))
                };
                assert_eq!(same(&seen), same(&unseen), "{method} {there_rest} {headers:?}");
                assert!(!seen.headers.contains_key("witgate-decision"), "{method} {there_rest}");
                if !there_rest.starts_with("referrers") {
                    assert_eq!(seen.status, 404, "{method} {there_rest}");
                }
            }
        }
    }
    // Alike in what they cost: no request, no entry, and so no byte that was read.
    assert_eq!(world.deployment.registry.requests().len(), asked, "the registry was asked for a stranger");
    assert_eq!(world.log_size().await, size, "a stranger makes the log grow");
    hands_nothing_over(&stranger.pull("present", "manifests/1.0").await);
    assert_eq!(world.host.pull("present", "manifests/1.0").await.status, 200, "its owner goes on");
    serves_the_next(&world).await;
}
