//! Who is not proven gets no answer, and cannot make the log grow.

use std::time::{Duration, Instant};

use serde_json::json;
use witgate::case::Timestamp;
use witgate::dev::deployment::TRUST_DOMAIN;
use witgate::dev::spiffe::{Flaw, Leaf, SpiffeCa, Svid};
use witgate_tests::{PATIENCE, World, components};

/// A client that shows what it is given and believes whoever answers: the refusal has to come from the gateway.
fn client(svid: Option<&Svid>) -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_danger_accept_invalid_certs(true);
    let builder = match svid {
        Some(svid) => {
            let pem = format!("{}{}", svid.key_pem, svid.chain_pem);
            builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
        }
        None => builder,
    };
    builder.build().unwrap()
}

async fn ask(world: &World, client: &reqwest::Client, reference: &str) -> reqwest::Result<u16> {
    let request = client.post(world.host.url("/v1/admissions")).json(&json!({"reference": reference}));
    request.send().await.map(|response| response.status().as_u16())
}

/// The connection fails, or the answer is 401.
async fn unproven(world: &World, svid: Option<&Svid>, reference: &str, who: &str) {
    let before = world.log_size().await;
    match ask(world, &client(svid), reference).await {
        Ok(status) => assert_eq!(status, 401, "{who}"),
        Err(error) => assert!(!error.is_timeout() && !error.is_builder(), "{who}: {error:?}"),
    }
    assert_eq!(world.log_size().await, before, "{who} made the log grow");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_svid_of_an_allowed_path_comes_in() {
    let world = World::start().await;
    let reference = world.publish("good", components::command("hello\n")).await.reference;
    let now = Timestamp::now();
    let second = jiff::SignedDuration::from_secs;
    let ca = &world.deployment.ca;
    let good = Leaf::new(now);

    // The client works: what is refused below is refused for what it shows.
    let svid = ca.issue("/host/z", &good).unwrap();
    assert_eq!(ask(&world, &client(Some(&svid)), &reference).await.unwrap(), 200);
    let svid = ca.issue("/host/y", &good.clone().with(Flaw::NoExtendedKeyUsage)).unwrap();
    assert_eq!(ask(&world, &client(Some(&svid)), &reference).await.unwrap(), 200, "the profile allows it");
    let intermediate = ca.intermediate(now - second(60)).unwrap();
    let svid = intermediate.issue("/host/x", &good).unwrap();
    assert_eq!(ask(&world, &client(Some(&svid)), &reference).await.unwrap(), 200, "by an intermediate");

    unproven(&world, None, &reference, "no certificate").await;
    let expired = Leaf { not_before: now - second(7200), not_after: now - second(1), flaw: None };
    unproven(&world, Some(&ca.issue("/host/a", &expired).unwrap()), &reference, "expired").await;
    let early = Leaf { not_before: now + second(600), not_after: now + second(3600), flaw: None };
    unproven(&world, Some(&ca.issue("/host/a", &early).unwrap()), &reference, "not yet valid").await;

    let foreign = SpiffeCa::new("evil.example", now - second(60)).unwrap();
    unproven(&world, Some(&foreign.issue("/host/a", &good).unwrap()), &reference, "foreign domain").await;
    let ours = format!("spiffe://{TRUST_DOMAIN}/host/a");
    unproven(&world, Some(&foreign.issue(&ours, &good).unwrap()), &reference, "foreign CA, our domain").await;
    let namesake = SpiffeCa::new(TRUST_DOMAIN, now - second(60)).unwrap();
    unproven(&world, Some(&namesake.issue("/host/a", &good).unwrap()), &reference, "another CA of our name").await;
    let minted = ca.issue("spiffe://evil.example/host/a", &good).unwrap();
    unproven(&world, Some(&minted), &reference, "our CA, foreign domain").await;

    for path in [
        "/hosts/a",
        "/host",
        "/host/",
        "/host-evil/a",
        "/gateway",
        "/host/a/../b",
        "/host/%2e%2e/b",
        "//host/a",
        "/Host/a",
    ] {
        // An ID that cannot even be minted is no way in.
        if let Ok(svid) = ca.issue(path, &good) {
            unproven(&world, Some(&svid), &reference, path).await;
        }
    }
    let upper = ca.issue(&format!("spiffe://{}/host/a", TRUST_DOMAIN.to_uppercase()), &good).unwrap();
    // Trust domains are case-insensitive (SPIFFE-ID, section 2): one caller, in the one spelling that policy compares.
    let request = client(Some(&upper)).post(world.host.url("/v1/admissions")).json(&json!({"reference": reference}));
    let reply: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    let record = world.decision(reply["decision"].as_str().unwrap()).await;
    assert_eq!(record["case"]["caller"]["id"], format!("spiffe://{TRUST_DOMAIN}/host/a"));
    let all_flaws = [
        Flaw::NoBasicConstraints,
        Flaw::IsCa,
        Flaw::SignsCertificates,
        Flaw::SignsRevocations,
        Flaw::NoKeyUsage,
        Flaw::ServerOnly,
        Flaw::TwoSpiffeUris,
        Flaw::HttpsUri,
        Flaw::NoUri,
        Flaw::ManyUris,
        Flaw::WrongSignature,
    ];
    for flaw in all_flaws {
        let svid = ca.issue("/host/a", &good.clone().with(flaw)).unwrap();
        unproven(&world, Some(&svid), &reference, &format!("{flaw:?}")).await;
    }
    let (a, b) = (ca.issue("/host/a", &good).unwrap(), ca.issue("/host/b", &good).unwrap());
    let stolen = Svid { key_pem: b.key_pem, key_der: b.key_der, ..a };
    let pem = format!("{}{}", stolen.key_pem, stolen.chain_pem);
    let client = reqwest::Identity::from_pem(pem.as_bytes())
        .and_then(|identity| reqwest::Client::builder().no_proxy().identity(identity).build());
    assert!(
        client.is_err() || ask(&world, &client.unwrap(), &reference).await.is_err(),
        "a certificate without its key"
    );
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_not_answered() {
    let world = World::start().await;
    let reference = world.publish("good", components::command("hello\n")).await.reference;
    let before = world.log_size().await;
    let url = world.host.url("/v1/admissions").replacen("https://", "http://", 1);
    let plain = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let answer = plain.post(url).json(&json!({"reference": reference})).send().await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(world.log_size().await, before);
    // The administration's door is no way in either.
    let url = format!("{}/v1/admissions", world.deployment.service.administration_url());
    let answer = plain.post(url).json(&json!({"reference": reference})).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(world.log_size().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_headers_and_bodies_say_never_overrides_the_certificate() {
    let world = World::start().await;
    let reference = world.publish("good", components::command("hello\n")).await.reference;
    let other = format!("spiffe://{TRUST_DOMAIN}/host/b");
    let request = world.host.client().post(world.host.url("/v1/admissions")).json(&json!({"reference": reference}));
    let claims = [
        ("x-spiffe-id", other.clone()),
        ("x-forwarded-client-cert", format!("URI={other}")),
        ("x-forwarded-for", "10.0.0.1".into()),
        ("authorization", "Bearer b".into()),
        ("user-agent", "cosign/3".into()),
    ];
    let request = claims.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let reply: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    let record = world.decision(reply["decision"].as_str().unwrap()).await;
    assert_eq!(record["case"]["caller"]["id"], format!("spiffe://{TRUST_DOMAIN}/host/a"));
    assert_eq!(record["case"]["host"], record["case"]["caller"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_ends_with_its_svid() {
    let world = World::start().await;
    let leaf = Leaf::lasting(Timestamp::now(), Duration::from_secs(3));
    let svid = world.deployment.ca.issue("/host/short", &leaf).unwrap();
    let client = client(Some(&svid));
    let look = async || {
        let answer = client.get(world.host.url("/log/checkpoint")).send().await;
        answer.map(|response| response.status().as_u16())
    };
    assert_eq!(look().await.unwrap(), 200);
    let started = Instant::now();
    let mut often = tokio::time::interval(Duration::from_millis(100));
    while matches!(look().await, Ok(200)) {
        assert!(started.elapsed() < PATIENCE, "answered long after the SVID ended");
        often.tick().await;
    }
    assert!(Timestamp::now() >= leaf.not_after - Duration::from_secs(1), "cut before its time");
    assert!(!matches!(look().await, Ok(200)));
}
