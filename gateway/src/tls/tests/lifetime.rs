//! How long a connection lives once its peer was proven.

use super::*;

async fn open(world: &World, svid: &Svid) -> Connection {
    let mut connection = connect(world.address, reckless(Some(keyed(svid)))).await.unwrap();
    assert_eq!(connection.ask().await.unwrap(), Reply { status: 200, body: svid.spiffe_id.clone() });
    connection
}

#[tokio::test]
async fn it_ends_with_the_svid() {
    let world = World::start().await;
    let leaf = Leaf::lasting(Timestamp::now(), Duration::from_secs(3));
    let mut connection = open(&world, &world.ca.issue("/host/a", &leaf).unwrap()).await;
    connection.closed().await;
    let late = Timestamp::now().duration_since(Timestamp::from_second(leaf.not_after.as_second()).unwrap());
    assert!(late.as_millis() >= 0, "closed {late} early");
    assert!(late.as_millis() < 1_000, "closed {late} late");
    world.logs.say("expired").await;
}

#[tokio::test]
async fn http_2_ends_with_the_svid_too() {
    let world = World::within(Limits { drain_ms: 300, ..Limits::default() }).await;
    let leaf = Leaf::lasting(Timestamp::now(), Duration::from_secs(3));
    let svid = world.ca.issue("/host/a", &leaf).unwrap();
    let mut config = reckless(Some(keyed(&svid)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).build().unwrap();
    let response = client.get(format!("https://{}/who", world.address)).send().await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let mut hanging = std::pin::pin!(client.get(format!("https://{}/never", world.address)).send());
    assert!(tokio::time::timeout(PATIENCE, &mut hanging).await.unwrap().is_err(), "the drain ends open streams");
    assert!(Timestamp::now().as_second() >= leaf.not_after.as_second(), "and not before the end");
    world.logs.say("expired").await;
}

#[tokio::test]
async fn it_survives_our_own_rotation() {
    let world = World::start().await;
    let svid = world.host("/host/a");
    let mut old = open(&world, &svid).await;
    let fresh = world.ca.issue("/witgate/gateway", &Leaf::new(Timestamp::now())).unwrap();
    let issued = Issued::new(&world.ca, &fresh).federated_with(&world.fed).federated_with(&world.third);
    world.set(Answer::Issued(issued)).await;
    assert_eq!(old.ask().await.unwrap().status, 200);
    let new = open(&world, &svid).await;
    let leaf = |connection: &Connection| connection.0.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    assert_eq!(leaf(&old), world.gate.chain_der[0]);
    assert_eq!(leaf(&new), fresh.chain_der[0]);
}

#[tokio::test]
async fn it_survives_a_new_ca_but_not_the_loss_of_its_own() {
    let world = World::start().await;
    let mut connection = open(&world, &world.host("/host/a")).await;
    let next = SpiffeCa::new("gate.example", Timestamp::now()).unwrap();
    world.set(Answer::Issued(world.issued().trusting(&next))).await;
    assert_eq!(connection.ask().await.unwrap().status, 200);
    let gate = next.issue("/witgate/gateway", &Leaf::new(Timestamp::now())).unwrap();
    world.set(Answer::Issued(Issued::new(&next, &gate))).await;
    connection.closed().await;
    world.logs.say("trust-changed").await;
    assert!(world.ask(&world.host("/host/a")).await.is_err());
    open(&world, &next.issue("/host/a", &Leaf::new(Timestamp::now())).unwrap()).await;
}

/// One of two CAs is taken out, as after the theft of its key: who was verified by it must go.
#[tokio::test]
async fn it_ends_with_one_of_two_cas() {
    let world = World::start().await;
    let stolen = SpiffeCa::new("gate.example", Timestamp::now()).unwrap();
    world.set(Answer::Issued(world.issued().trusting(&stolen))).await;
    let thief = stolen.issue("/host/a", &Leaf::new(Timestamp::now())).unwrap();
    let mut connection = open(&world, &thief).await;
    world.set(Answer::Issued(world.issued())).await;
    connection.closed().await;
    assert!(world.ask(&thief).await.is_err());
    open(&world, &world.host("/host/a")).await;
}

#[tokio::test]
async fn it_ends_when_the_federation_does() {
    let world = World::start().await;
    let guest = world.fed.issue("/ci/builder", &Leaf::new(Timestamp::now())).unwrap();
    let (mut theirs, mut ours) = (open(&world, &guest).await, open(&world, &world.host("/host/a")).await);
    world.set(Answer::Issued(Issued::new(&world.ca, &world.gate))).await;
    theirs.closed().await;
    assert!(world.ask(&guest).await.is_err());
    world.logs.say("no bundle for trust domain fed.example").await;
    assert_eq!(ours.ask().await.unwrap().status, 200, "nobody else is disturbed");
}

#[tokio::test]
async fn it_ends_when_the_callers_change() {
    let world = World::start().await;
    let (a, b) = (world.host("/host/a"), world.host("/host/b"));
    let (mut first, mut second) = (open(&world, &a).await, open(&world, &b).await);
    assert!(world.identity.allow(&[]).is_err());
    world.identity.allow(&["spiffe://gate.example/host/b".into()]).unwrap();
    first.closed().await;
    world.logs.say("not-a-caller").await;
    assert!(world.ask(&a).await.is_err());
    assert_eq!(second.ask().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_withdrawn_identity_closes_the_door() {
    let world = World::start().await;
    let svid = world.host("/host/a");
    let mut connection = open(&world, &svid).await;
    assert!(world.identity.is_ready());
    world.set(Answer::Withdrawn).await;
    connection.closed().await;
    assert!(!world.identity.is_ready());
    assert_eq!(world.identity.spiffe_id().unwrap_err().peer, crate::outage::Peer::Identity);
    assert!(world.ask(&svid).await.is_err());
    world.set(Answer::Issued(world.issued())).await;
    assert!(world.identity.is_ready());
    open(&world, &svid).await;
}

#[tokio::test]
async fn an_agent_that_is_away_disturbs_nobody() {
    let world = World::start().await;
    let svid = world.host("/host/a");
    let mut connection = open(&world, &svid).await;
    for answer in [Answer::Refuse, Answer::Garbage, Answer::Hang] {
        world.api.set(answer);
        assert_eq!(connection.ask().await.unwrap().status, 200);
        open(&world, &svid).await;
        assert!(world.identity.is_ready());
    }
}

#[tokio::test]
async fn shutdown_lets_requests_end_but_not_for_ever() {
    let world = World::within(Limits { drain_ms: 300, ..Limits::default() }).await;
    let svid = world.host("/host/a");
    let (mut idle, mut hanging) = (open(&world, &svid).await, open(&world, &svid).await);
    hanging.send("GET /never HTTP/1.1\r\nhost: gate\r\n\r\n").await.unwrap();
    world.shutdown.cancel();
    idle.closed().await;
    hanging.closed().await;
    tokio::time::timeout(PATIENCE, world.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}
