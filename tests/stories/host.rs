//! A host asks, checks, runs: from the question to the component's own output.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use witgate::case::Timestamp;
use witgate::dev::deployment;
use witgate::dev::spiffe::{Answer as Workload, Issued, Leaf, WorkloadApi};
use witgate_host_hook::client::{Answer, ClientFault, Gateway, HandedTicket, Settings, Timeouts};
use witgate_host_hook::host::{Ended, Host, MAX_REQUEST_BYTES, Output, Prepared, Served};
use witgate_host_hook::key::PrivateKey;
use witgate_host_hook::ticket::TicketRefusal;
use witgate_tests::{PATIENCE, World, components};

fn settings(world: &World) -> Settings {
    Settings {
        url: world.deployment.service.callers_url(),
        gateway_id: deployment::gateway_id(),
        ticket_keys: vec![world.deployment.ticket_key()],
        log_key: None,
        workload_api: world.deployment.host_identity.endpoint(),
        timeouts: Timeouts::default(),
    }
}

async fn gateway(world: &World) -> Gateway {
    Gateway::connect(settings(world)).await.expect("the host gets its identity")
}

async fn admitted(gateway: &Gateway, reference: &str) -> HandedTicket {
    match gateway.admit(reference, &[]).await.expect("a decision") {
        Answer::Admitted(admitted) => admitted.ticket,
        Answer::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

/// Publishes, asks, checks and prepares.
async fn prepared(world: &World, name: &str, wasm: Vec<u8>) -> Prepared {
    let pushed = world.publish(name, wasm).await;
    let gateway = gateway(world).await;
    let ticket = admitted(&gateway, &pushed.reference).await;
    let bytes = gateway.component(&ticket).await.expect("the bytes");
    let ticket = gateway.take(&ticket, &bytes, Timestamp::now()).expect("a good ticket");
    let host = Host::start().expect("a host");
    host.prepare(ticket.component(), ticket.grants()).expect("it links")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_command_runs_with_what_was_granted() {
    let world = World::start().await;
    let outcome = prepared(&world, "hello", components::command("hello\n")).await.run(Output::Captured).await;
    assert_eq!((outcome.ended, &*outcome.stdout), (Ended::Exit(0), b"hello\n".as_slice()));
    let outcome = prepared(&world, "seven", components::exit_code(7)).await.run(Output::Captured).await;
    assert_eq!(outcome.ended, Ended::Exit(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_taken_once_by_the_host_it_names() {
    let world = World::start().await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    let first = gateway(&world).await;
    let ticket = admitted(&first, &pushed.reference).await;

    let svid = world.deployment.ca.issue("/host/b", &Leaf::new(Timestamp::now())).expect("an SVID");
    let socket = world.folder().join("host-b.sock");
    let other = WorkloadApi::start(&socket, Workload::Issued(Issued::new(&world.deployment.ca, &svid))).await.unwrap();
    let second = Gateway::connect(Settings { workload_api: other.endpoint(), ..settings(&world) }).await.unwrap();
    let stolen = second.component(&ticket).await.unwrap_err();
    assert!(matches!(stolen, ClientFault::Status { status: 403, .. }), "{stolen:?}");

    let bytes = first.component(&ticket).await.unwrap();
    let ClientFault::Ticket(refusal) = second.take(&ticket, &bytes, Timestamp::now()).unwrap_err() else { panic!() };
    assert!(matches!(*refusal, TicketRefusal::Audience { .. }), "{refusal}");
    first.take(&ticket, &bytes, Timestamp::now()).unwrap();
    let ClientFault::Ticket(refusal) = first.take(&ticket, &bytes, Timestamp::now()).unwrap_err() else { panic!() };
    assert!(matches!(*refusal, TicketRefusal::Used { .. }), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_the_host_with_its_reasons() {
    let world = World::start().await;
    let pushed = world.publish("greedy", components::greedy("hello\n")).await;
    match gateway(&world).await.admit(&pushed.reference, &[]).await.unwrap() {
        Answer::Refused(refused) => {
            assert!(!refused.reasons.is_empty());
            assert!(refused.reasons.iter().all(|reason| reason.code == "import-not-granted"), "{:?}", refused.reasons);
        }
        Answer::Admitted(_) => panic!("admitted"),
    }
    let unknown = gateway(&world).await.admit("127.0.0.1:1/nobody/nothing:1", &[]).await.unwrap_err();
    assert!(matches!(unknown, ClientFault::Status { .. }), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impostor_gateway_or_key_gets_nowhere() {
    let world = World::start().await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    let other_id = Settings { gateway_id: deployment::host_id("a"), ..settings(&world) };
    let impostor = Gateway::connect(other_id).await.unwrap().admit(&pushed.reference, &[]).await.unwrap_err();
    assert!(matches!(impostor, ClientFault::NoAnswer { .. }), "{impostor:?}");

    let stranger: PathBuf = world.folder().join("stranger.pub");
    PrivateKey::create(Path::new(&world.folder().join("stranger.key"))).unwrap().public().store(&stranger).unwrap();
    let other_key = Gateway::connect(Settings { ticket_keys: vec![stranger], ..settings(&world) }).await.unwrap();
    let ClientFault::Ticket(refusal) = other_key.admit(&pushed.reference, &[]).await.unwrap_err() else { panic!() };
    assert!(matches!(*refusal, TicketRefusal::KeyNotPinned { .. }), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_own_key_judges_the_checkpoint() {
    let world = World::start().await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    let log_key = world.deployment.service.gate().audit.vkey();
    let gateway = Gateway::connect(Settings { log_key: Some(log_key), ..settings(&world) }).await.unwrap();
    let ticket = admitted(&gateway, &pushed.reference).await;
    let bytes = gateway.component(&ticket).await.unwrap();
    gateway.take(&ticket, &bytes, Timestamp::now()).unwrap();
}

/// The status line for a request that says it has a body of `size_bytes`, and sends none.
async fn declared(url: &str, size_bytes: usize) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut socket = BufReader::new(TcpStream::connect(address).await.expect("it listens"));
    let head = format!("POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: {size_bytes}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("it reads");
    let mut line = String::new();
    timeout(PATIENCE, socket.read_line(&mut line)).await.expect("in time").expect("it answers");
    line.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_handler_answers_requests() {
    let world = World::start().await;
    let serving = prepared(&world, "web", components::http("hello over http\n")).await.handler().expect("a handler");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serving.serve(listener, async move { drop(stopped.await) }));

    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let answers = join_all((0..16).map(|_| async {
        let answer = client.get(&url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }));
    for answer in answers.await {
        assert_eq!(answer, (200, "hello over http\n".to_owned()));
    }
    assert_eq!(declared(&url, MAX_REQUEST_BYTES + 1).await, "HTTP/1.1 413 Payload Too Large");

    stop.send(()).unwrap();
    assert_eq!(timeout(PATIENCE, served).await.unwrap().unwrap(), Served::Stopped);
    assert!(client.get(&url).timeout(Duration::from_secs(5)).send().await.is_err(), "nobody listens any more");
}
