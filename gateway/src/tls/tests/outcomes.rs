//! Who gets in, who does not, what telemetry says about it.

use super::*;
use crate::dev::spiffe::Flaw;

async fn served(world: &World, svid: &Svid) {
    let reply = world.ask(svid).await.unwrap();
    assert_eq!(reply, Reply { status: 200, body: svid.spiffe_id.clone() });
}

async fn refused(world: &World, svid: &Svid, cause: &str) {
    assert!(world.ask(svid).await.is_err(), "`{}` must not be served: {cause}", svid.spiffe_id);
    world.logs.say(cause).await;
}

fn leaf() -> Leaf {
    Leaf::new(Timestamp::now())
}

#[tokio::test]
async fn good_and_federated_callers_are_served() {
    let world = World::start().await;
    served(&world, &world.host("/host/a")).await;
    served(&world, &world.host("/host/a/b")).await;
    served(&world, &world.fed.issue("/ci/builder", &leaf()).unwrap()).await;
    served(&world, &world.ca.issue("/host/a", &leaf().with(Flaw::NoExtendedKeyUsage)).unwrap()).await;
}

#[tokio::test]
async fn nobody_is_served_without_a_certificate() {
    let world = World::start().await;
    assert!(world.ask_as(reckless(None)).await.is_err());
    world.logs.say("peer sent no certificates").await;
}

#[tokio::test]
async fn another_ca_proves_nothing() {
    let world = World::start().await;
    let impostor = SpiffeCa::new("gate.example", Timestamp::now()).unwrap();
    refused(&world, &impostor.issue("/host/a", &leaf()).unwrap(), "BadSignature").await;
    refused(&world, &world.ca.issue("/host/a", &leaf().with(Flaw::WrongSignature)).unwrap(), "BadSignature").await;
    let other = SpiffeCa::new("other.example", Timestamp::now()).unwrap();
    refused(&world, &other.issue("/host/a", &leaf()).unwrap(), "trust domain other.example is not allowed").await;
    let third = world.third.issue("/host/a", &leaf()).unwrap();
    refused(&world, &third, "trust domain third.example is not allowed").await;
}

#[tokio::test]
async fn a_federated_ca_cannot_mint_our_ids() {
    let world = World::start().await;
    let minted = world.fed.issue("spiffe://gate.example/host/a", &leaf()).unwrap();
    refused(&world, &minted, "UnknownIssuer").await;
    let minted = world.ca.issue("spiffe://fed.example/ci/builder", &leaf()).unwrap();
    refused(&world, &minted, "UnknownIssuer").await;
}

#[tokio::test]
async fn the_path_is_compared_by_segment() {
    let world = World::start().await;
    refused(&world, &world.host("/web/x"), "not authorized: spiffe://gate.example/web/x").await;
    refused(&world, &world.host("/host-evil"), "not authorized: spiffe://gate.example/host-evil").await;
    refused(&world, &world.host("/host"), "not authorized: spiffe://gate.example/host").await;
    refused(&world, &world.host("/host/../web"), "dot segments").await;
    refused(&world, &world.host("/host/a/"), "trailing slash").await;
    refused(&world, &world.host("/host/%2e%2e/a"), "path segment characters").await;
}

/// The trust domain has no case (SPIFFE-ID, section 2.1): this is our domain, so our CA must have signed it.
#[tokio::test]
async fn an_upper_case_domain_is_the_same_domain() {
    let world = World::start().await;
    let shouted = world.ca.issue("spiffe://GATE.example/host/a", &leaf()).unwrap();
    assert_eq!(world.ask(&shouted).await.unwrap().body, "spiffe://gate.example/host/a");
    let minted = world.fed.issue("spiffe://GATE.example/host/a", &leaf()).unwrap();
    refused(&world, &minted, "UnknownIssuer").await;
}

#[tokio::test]
async fn the_time_must_be_right() {
    let world = World::start().await;
    let now = Timestamp::now();
    let past = Leaf { not_after: now - Duration::from_secs(5), ..Leaf::new(now - Duration::from_secs(60)) };
    refused(&world, &world.ca.issue("/host/a", &past).unwrap(), "certificate expired").await;
    let future = Leaf { not_before: now + Duration::from_secs(300), ..leaf() };
    refused(&world, &world.ca.issue("/host/a", &future).unwrap(), "not valid yet").await;
}

#[tokio::test]
async fn a_leaf_has_one_spiffe_uri() {
    let world = World::start().await;
    for (flaw, cause) in [
        (Flaw::TwoSpiffeUris, "multiple URI SAN"),
        (Flaw::HttpsUri, "multiple URI SAN"),
        (Flaw::NoUri, "missing SPIFFE ID"),
        (Flaw::ManyUris, "multiple URI SAN"),
    ] {
        refused(&world, &world.ca.issue("/host/a", &leaf().with(flaw)).unwrap(), cause).await;
    }
    refused(&world, &world.ca.issue("spiffe://gate.example", &leaf()).unwrap(), "non-root path").await;
    let endless = format!("/host/{}", "a".repeat(2048));
    refused(&world, &world.ca.issue(&endless, &leaf()).unwrap(), "exceeds maximum length").await;
}

#[tokio::test]
async fn a_leaf_signs_nothing_but_handshakes() {
    let world = World::start().await;
    for (flaw, cause) in [
        (Flaw::IsCa, "CA is set to true"),
        (Flaw::SignsCertificates, "keyCertSign key usage is set"),
        (Flaw::SignsRevocations, "cRLSign key usage is set"),
        (Flaw::NoKeyUsage, "key usage extension is missing"),
        (Flaw::NoBasicConstraints, "basic constraints extension is missing"),
        (Flaw::ServerOnly, "certificate does not allow extended key usage for client authentication"),
    ] {
        refused(&world, &world.ca.issue("/host/a", &leaf().with(flaw)).unwrap(), cause).await;
    }
}

#[tokio::test]
async fn a_stolen_certificate_needs_its_key() {
    let world = World::start().await;
    let (stolen, own) = (world.host("/host/a"), world.host("/web/x"));
    assert!(world.ask_as(reckless(Some(mismatched(&stolen, &own)))).await.is_err());
    world.logs.say("BadSignature").await;
}

#[tokio::test]
async fn a_chain_leads_to_our_root() {
    let world = World::start().await;
    let beneath = world.ca.intermediate(Timestamp::now()).unwrap();
    let svid = beneath.issue("/host/a", &leaf()).unwrap();
    served(&world, &svid).await;
    let cut = Svid { chain_der: svid.chain_der[..1].to_vec(), ..svid.clone() };
    refused(&world, &cut, "UnknownIssuer").await;
    let impostor = SpiffeCa::new("gate.example", Timestamp::now()).unwrap();
    let mut supplied = impostor.intermediate(Timestamp::now()).unwrap().issue("/host/a", &leaf()).unwrap();
    supplied.chain_der.push(impostor.bundle_der().to_vec());
    refused(&world, &supplied, "BadSignature").await;
    let good = world.host("/host/a");
    let under_a_leaf = Svid { chain_der: vec![cut.chain_der[0].clone(), good.chain_der[0].clone()], ..cut };
    refused(&world, &under_a_leaf, "UnknownIssuer").await;
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let world = World::start().await;
    let old: Vec<_> = rustls::ALL_VERSIONS
        .iter()
        .copied()
        .filter(|version| version.version == rustls::ProtocolVersion::TLSv1_2)
        .collect();
    if old.is_empty() {
        // No dependency turns it on any more: then the server does not speak it either.
        return;
    }
    let svid = world.host("/host/a");
    assert!(world.ask_as(reckless_with(&old, Some(keyed(&svid)))).await.is_err());
    world.logs.say("no TLS 1.3").await;
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let world = World::start().await;
    let config = reckless(Some(keyed(&world.host("/host/a"))));
    for _ in 0..2 {
        let mut connection = connect(world.address, config.clone()).await.unwrap();
        assert_eq!(connection.ask().await.unwrap().status, 200);
        let (_, session) = connection.0.get_ref();
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
        assert!(!session.is_early_data_accepted());
    }
}

#[tokio::test]
async fn no_header_names_the_caller() {
    let world = World::start().await;
    let svid = world.host("/host/a");
    let mut connection = connect(world.address, reckless(Some(keyed(&svid)))).await.unwrap();
    let lies = "x-spiffe-id: spiffe://gate.example/host/b\r\nx-forwarded-client-cert: URI=spiffe://gate.example/host/b";
    connection
        .send(&format!("GET /who HTTP/1.1\r\nhost: spiffe://gate.example/host/b\r\n{lies}\r\n\r\n"))
        .await
        .unwrap();
    assert_eq!(connection.reply().await.unwrap().body, "spiffe://gate.example/host/a");
}

#[tokio::test]
async fn our_own_client_takes_the_expected_peer_only() {
    let world = World::start().await;
    world.identity.allow(&["spiffe://gate.example/witgate/gateway".into()]).unwrap();
    let right = world.identity.client_config("spiffe://gate.example/witgate/gateway").unwrap();
    let client = reqwest::Client::builder().tls_backend_preconfigured(right).build().unwrap();
    let response = client.get(format!("https://{}/who", world.address)).send().await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.text().await.unwrap(), "spiffe://gate.example/witgate/gateway");
    let wrong = world.identity.client_config("spiffe://gate.example/host/a").unwrap();
    assert!(world.ask_as(wrong).await.is_err());
    for outside in ["spiffe://third.example/host/a", "spiffe://gate.example", "gate.example", ""] {
        assert!(world.identity.client_config(outside).is_err(), "{outside}");
    }
}

#[tokio::test]
async fn plain_doors_prove_nobody_from_afar() {
    for (door, expected) in [(Door::Plain, "local"), (Door::Unproven, "nobody")] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(super::super::serve(listener, door, app(), shutdown.clone()));
        let mut connection = Connection(TcpStream::connect(address).await.unwrap());
        assert_eq!(connection.ask().await.unwrap(), Reply { status: 200, body: expected.into() });
        shutdown.cancel();
        connection.closed().await;
        tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
    }
}

#[test]
fn this_machine_is_loopback_on_both_ends() {
    let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 7443);
    for ip in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
        assert!(super::super::on_this_machine(at(ip), at(ip)), "{ip}");
    }
    for ip in ["10.0.0.1", "192.168.1.7", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0", "169.254.169.254", "203.0.113.1"] {
        assert!(!super::super::on_this_machine(at(ip), at("127.0.0.1")), "{ip}");
        assert!(!super::super::on_this_machine(at("127.0.0.1"), at(ip)), "{ip}");
    }
}
