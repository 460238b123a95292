//! Bytes go to the ticket's host, for the ticket's component, in the ticket's time; the host believes nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{Setup, gateway_id, host_id};
use witgate::dev::spiffe::Leaf;
use witgate::doors::http::Clock;
use witgate_host_hook::client::{Admitted, Answer, ClientFault, Gateway, Settings, Timeouts};
use witgate_host_hook::key::{PrivateKey, PublicKey};
use witgate_host_hook::ticket::{
    self, Expectations, Freshness, LogTrust, PinnedKeys, Statement, TicketRefusal, UsedTickets, VSA_PREDICATE_TYPE,
};
use witgate_tests::{World, components, ticket_id};

/// A clock that a story moves; it starts at the machine's time.
#[derive(Clone, Default)]
struct MovedClock(Arc<AtomicI64>);

impl MovedClock {
    fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let moved = self.0.clone();
        Arc::new(move || Timestamp::now() + jiff::SignedDuration::from_secs(moved.load(Ordering::SeqCst)))
    }
}

async fn world_at(clock: &MovedClock) -> World {
    let clock = clock.clock();
    World::with(move |setup: &mut Setup| setup.clock = clock).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_need_the_live_ticket_of_this_host_for_this_component() {
    let clock = MovedClock::default();
    let world = world_at(&clock).await;
    let wasm = components::command("hello\n");
    let pushed = world.publish("good", wasm.clone()).await;
    let other = world.publish("other", components::command("other\n")).await;
    let reply = world.host.admit(&pushed.reference).await;
    let id = ticket_id(&reply);
    assert_eq!(world.host.admit(&other.reference).await.status, 200, "both components are held");
    let component = pushed.component.to_string();

    let mut altered = id.clone().into_bytes();
    let last = altered.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let altered = String::from_utf8(altered).unwrap();
    let strange = Uuid::now_v7().to_string();
    let before = world.log_size().await;
    let mut bodies = Vec::new();
    for shown in [None, Some(""), Some(&*altered), Some(&*strange), Some(reply.decision()), Some("*"), Some("../x")] {
        let answer = world.host.component(&component, shown).await;
        assert_eq!(answer.status, 403, "{shown:?}: {}", answer.body);
        bodies.push((format!("{shown:?}"), answer));
    }
    bodies.push(("another digest".into(), world.host.component(&other.component.to_string(), Some(&id)).await));
    bodies.push(("unknown digest".into(), world.host.component(&Digest::of(b"x").to_string(), Some(&id)).await));
    let thief = world.caller("/host/b", &Leaf::new(Timestamp::now())).await.unwrap();
    bodies.push(("another host".into(), thief.component(&component, Some(&id)).await));
    for (who, answer) in &bodies {
        assert_eq!(answer.status, 403, "{who}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{who}");
        assert!(!answer.bytes.windows(4).any(|four| four == b"\0asm"), "{who} got bytes");
    }
    for path in ["x", "sha256:", &format!("sha512:{}", pushed.component.hex()), "..%2f..%2fticket.key"] {
        let answer = world.host.component(path, Some(&id)).await;
        assert!(matches!(answer.status, 404 | 422), "{path}: {}", answer.status);
    }

    // docs/ticket.md: as often as the download breaks, until it expires.
    for _ in 0..3 {
        let bytes = world.host.component(&component, Some(&id)).await;
        assert_eq!((bytes.status, &bytes.bytes[..]), (200, &wasm[..]));
    }
    assert_eq!(world.log_size().await, before, "fetching bytes decides nothing");
    clock.forward(121);
    let late = world.host.component(&component, Some(&id)).await;
    assert_eq!(late.status, 403, "{}", late.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refused_ticket_gets_the_same_answer() {
    let world = World::start().await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    let id = ticket_id(&world.host.admit(&pushed.reference).await);
    let component = pushed.component.to_string();
    let thief = world.caller("/host/b", &Leaf::new(Timestamp::now())).await.unwrap();
    let of_another = thief.component(&component, Some(&id)).await;
    let unknown = thief.component(&component, Some(&Uuid::now_v7().to_string())).await;
    let no_id = thief.component(&component, Some("x")).await;
    let of_other_bytes = world.host.component(&Digest::of(b"x").to_string(), Some(&id)).await;
    for other in [&unknown, &no_id, &of_other_bytes] {
        assert_eq!(of_another.body, other.body, "whether a ticket exists is nobody else's business");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_admission_is_the_same_decision_with_a_fresh_ticket() {
    let clock = MovedClock::default();
    let world = world_at(&clock).await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    let first = world.host.admit(&pushed.reference).await;
    let size = world.log_size().await;
    clock.forward(20);
    let asked = world.deployment.registry.requests().len();
    let warm = world.host.admit(&pushed.reference).await;
    assert_eq!((warm.decision(), &warm.body["receipt"]), (first.decision(), &first.body["receipt"]));
    assert_ne!(ticket_id(&warm), ticket_id(&first));
    assert_eq!(world.log_size().await, size);
    assert_eq!(world.deployment.registry.requests().len(), asked, "a warm admission asks nobody");
    let thief = world.caller("/host/b", &Leaf::new(Timestamp::now())).await.unwrap();
    let of_another = thief.admit(&pushed.reference).await;
    assert_ne!(of_another.decision(), first.decision(), "what is held is held for its caller");

    // Not a second longer than the tag may be believed, counted from the decision and not from the last question.
    clock.forward(11);
    let cold = world.host.admit(&pushed.reference).await;
    assert_eq!(cold.status, 200, "{}", cold.body);
    assert_ne!(cold.decision(), first.decision());
    assert_eq!(world.log_size().await, size + 2);

    let by_digest = format!("{}/demo/good@{}", world.deployment.registry.host(), pushed.manifest);
    let first = world.host.admit(&by_digest).await;
    clock.forward(590);
    assert_eq!(world.host.admit(&by_digest).await.decision(), first.decision());
    clock.forward(11);
    assert_ne!(world.host.admit(&by_digest).await.decision(), first.decision());
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_tickets_are_gone_and_decisions_are_there() {
    let clock = MovedClock::default();
    let world = world_at(&clock).await;
    let wasm = components::command("hello\n");
    let pushed = world.publish("good", wasm.clone()).await;
    let reply = world.host.admit(&pushed.reference).await;
    let record = world.decision(reply.decision()).await;
    let (id, component) = (ticket_id(&reply), pushed.component.to_string());
    let size = world.log_size().await;

    let world = world.restart_at(clock.clock()).await.unwrap();
    assert_eq!(world.host.component(&component, Some(&id)).await.status, 403);
    assert_eq!(world.decision(reply.decision()).await, record);
    assert_eq!(world.log_size().await, size + 2, "the stop and the start were recorded");
    let again = world.host.admit(&pushed.reference).await;
    assert_ne!(again.decision(), reply.decision(), "nothing is held across a restart");
    let bytes = world.host.component(&component, Some(&ticket_id(&again))).await;
    assert_eq!((bytes.status, &bytes.bytes[..]), (200, &wasm[..]));
    world.verify_log().await;
}

async fn host_side(world: &World, log_key: Option<String>) -> Gateway {
    let settings = Settings {
        url: world.deployment.service.callers_url(),
        gateway_id: gateway_id(),
        ticket_keys: vec![world.deployment.ticket_key()],
        log_key,
        workload_api: world.deployment.host_identity.endpoint(),
        timeouts: Timeouts::default(),
    };
    Gateway::connect(settings).await.unwrap()
}

async fn admitted(gateway: &Gateway, reference: &str) -> Admitted {
    match gateway.admit(reference, &[]).await.unwrap() {
        Answer::Admitted(admitted) => *admitted,
        Answer::Refused(refused) => panic!("{refused:?}"),
    }
}

fn code(result: Result<impl Sized, ClientFault>) -> &'static str {
    match result.err().expect("the host refuses") {
        ClientFault::Ticket(refusal) => refusal.code(),
        fault => panic!("{fault:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_takes_each_ticket_once_with_its_bytes_in_its_time() {
    let world = World::start().await;
    let wasm = components::command("hello\n");
    let reference = world.publish("good", wasm.clone()).await.reference;
    let vkey = world.deployment.service.gate().audit.vkey();
    let gateway = host_side(&world, Some(vkey)).await;
    assert_eq!(gateway.own_id().unwrap(), host_id("a"));

    let first = admitted(&gateway, &reference).await;
    let bytes = gateway.component(&first.ticket).await.unwrap();
    assert_eq!(bytes, wasm);
    let now = Timestamp::now();
    let taken = gateway.take(&first.ticket, &bytes, now).unwrap();
    assert_eq!((taken.component(), taken.decision()), (&bytes, first.decision));
    assert_eq!(code(gateway.take(&first.ticket, &bytes, now)), "ticket-used");

    let second = admitted(&gateway, &reference).await;
    assert_eq!(second.decision, first.decision, "a warm answer, a ticket of its own");
    assert!(gateway.take(&second.ticket, &bytes, now).is_ok());

    let third = admitted(&gateway, &reference).await;
    let other = Bytes::from(components::command("other\n"));
    assert_eq!(code(gateway.take(&third.ticket, &other, now)), "digest-mismatch");
    assert_eq!(code(gateway.take(&third.ticket, &bytes, now)), "ticket-used", "a wrong ticket is never tried twice");

    for (seconds, expected) in [(200, "ticket-expired"), (-60, "ticket-not-yet-valid")] {
        let handed = admitted(&gateway, &reference).await;
        let then = now + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(code(gateway.take(&handed.ticket, &bytes, then)), expected);
    }

    let stranger = World::start().await;
    let stranger_key = stranger.deployment.service.gate().audit.vkey();
    let split = host_side(&world, Some(stranger_key)).await;
    let handed = admitted(&split, &reference).await;
    assert_eq!(code(split.take(&handed.ticket, &bytes, now)), "ticket-checkpoint-invalid");
}

/// What the first host knows, with nothing taken yet.
struct Host {
    pinned: PinnedKeys,
    own_id: String,
    peer: String,
    component: Bytes,
}

impl Host {
    fn verify(&self, envelope: &[u8]) -> Result<(), TicketRefusal> {
        let used = UsedTickets::new();
        let expected = Expectations {
            pinned: &self.pinned,
            own_id: &self.own_id,
            tls_peer: &self.peer,
            freshness: Freshness::TicketId,
            used: &used,
            log: LogTrust::Ticket,
            now: Timestamp::now(),
            component: &self.component,
        };
        ticket::verify(envelope, &expected).map(|_| ())
    }

    fn refuses(&self, envelope: &[u8]) -> &'static str {
        self.verify(envelope).expect_err("the host refuses").code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_ticket_is_no_ticket() {
    use base64::Engine as _;
    let world = World::start().await;
    let wasm = components::command("hello\n");
    let reference = world.publish("good", wasm.clone()).await.reference;
    let reply = world.host.admit(&reference).await;
    let key = PublicKey::load(&world.deployment.ticket_key()).unwrap();
    let host = Host {
        pinned: PinnedKeys::new().with(&gateway_id(), key),
        own_id: host_id("a"),
        peer: gateway_id(),
        component: wasm.into(),
    };
    let envelope = reply.body["ticket"].to_string();
    host.verify(envelope.as_bytes()).unwrap();

    // Signing is what is slow: every 7th byte, each with one bit turned.
    for at in (0..envelope.len()).step_by(7) {
        let mut altered = envelope.clone().into_bytes();
        altered[at] ^= 1;
        let code = host.refuses(&altered);
        assert!(code.starts_with("ticket-"), "byte {at}: {code}");
    }
    let edit = |change: &dyn Fn(&mut Value)| {
        let mut ticket = reply.body["ticket"].clone();
        change(&mut ticket);
        ticket.to_string()
    };
    let standard = base64::engine::general_purpose::STANDARD;
    let payload =
        String::from_utf8(standard.decode(reply.body["ticket"]["payload"].as_str().unwrap()).unwrap()).unwrap();
    let longer = payload.replacen("\"timeout_ms\":30000", "\"timeout_ms\":30001", 1);
    assert_ne!(payload, longer);
    let altered = edit(&|ticket| ticket["payload"] = standard.encode(&longer).into());
    assert_eq!(host.refuses(altered.as_bytes()), "ticket-signature-invalid");
    let twice = edit(&|ticket| {
        let signature = ticket["signatures"][0].clone();
        ticket["signatures"].as_array_mut().unwrap().push(signature);
    });
    assert_eq!(host.refuses(twice.as_bytes()), "ticket-signature-count");
    assert_eq!(host.refuses(edit(&|ticket| ticket["more"] = 1.into()).as_bytes()), "ticket-malformed");
    let unpinned = edit(&|ticket| ticket["signatures"][0]["keyid"] = "00".repeat(32).into());
    assert_eq!(host.refuses(unpinned.as_bytes()), "ticket-key-not-pinned");
    assert_eq!(host.refuses(&envelope.as_bytes()[..envelope.len() / 2]), "ticket-malformed");
    assert_eq!(host.refuses(&vec![b' '; ticket::MAX_ENVELOPE_BYTES + 1]), "ticket-too-large");

    let other = |own_id: &str, peer: &str| Host {
        pinned: host.pinned.clone(),
        own_id: own_id.to_owned(),
        peer: peer.to_owned(),
        component: host.component.clone(),
    };
    assert_eq!(other(&host_id("b"), &gateway_id()).refuses(envelope.as_bytes()), "ticket-audience-mismatch");
    assert_eq!(other(&host_id("a"), &host_id("evil")).refuses(envelope.as_bytes()), "ticket-key-not-pinned");
    let stranger = World::start().await;
    let key = PublicKey::load(&stranger.deployment.ticket_key()).unwrap();
    let pinned = Host { pinned: PinnedKeys::new().with(&gateway_id(), key), ..host };
    assert_eq!(pinned.refuses(envelope.as_bytes()), "ticket-key-not-pinned");
}

/// Signed by the gateway's own key, and still no ticket: what the key signs elsewhere must not start anything.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_ticket_key_signs_is_not_yet_a_ticket() {
    use base64::Engine as _;
    let world = World::start().await;
    let wasm = components::command("hello\n");
    let reference = world.publish("good", wasm.clone()).await.reference;
    let reply = world.host.admit(&reference).await;
    let key = PrivateKey::load(&world.deployment.config.data_dir.join("ticket.key")).unwrap();
    let host = Host {
        pinned: PinnedKeys::new().with(&gateway_id(), key.public()),
        own_id: host_id("a"),
        peer: gateway_id(),
        component: wasm.into(),
    };
    let payload = reply.body["ticket"]["payload"].as_str().unwrap();
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
    let honest: Statement = serde_json::from_slice(&payload).unwrap();
    let signed = |change: &dyn Fn(&mut Statement)| {
        let mut statement = honest.clone();
        change(&mut statement);
        ticket::sign(&key, &statement).unwrap().to_string()
    };
    host.verify(signed(&|_| {}).as_bytes()).unwrap();
    type Change = fn(&mut Statement);
    let cases: [(&str, Change); 12] = [
        ("ticket-is-summary", |statement| statement.predicate_type = VSA_PREDICATE_TYPE.into()),
        ("ticket-type-mismatch", |statement| statement.predicate_type = "https://witgate.dev/ticket/v2".into()),
        ("ticket-type-mismatch", |statement| statement.statement_type = "https://in-toto.io/Statement/v0.1".into()),
        ("ticket-malformed", |statement| statement.subject.push(statement.subject[0].clone())),
        ("ticket-audience-mismatch", |statement| statement.predicate.audience = host_id("b")),
        ("ticket-audience-mismatch", |statement| statement.predicate.audience.push('/')),
        ("ticket-issuer-mismatch", |statement| statement.predicate.issuer = host_id("a")),
        ("ticket-nonce-mismatch", |statement| statement.predicate.nonce = Some("n".into())),
        ("ticket-life-invalid", |statement| statement.predicate.expires_at += 301),
        ("digest-mismatch", |statement| statement.predicate.component.size += 1),
        ("ticket-imports-mismatch", |statement| drop(statement.predicate.imports.pop())),
        ("import-not-granted", |statement| drop(statement.predicate.grants.imports.pop())),
    ];
    for (expected, change) in cases {
        assert_eq!(host.refuses(signed(&change).as_bytes()), expected);
    }
    let moved = signed(&|statement| statement.predicate.log.leaf_index ^= 1);
    assert_eq!(host.refuses(moved.as_bytes()), "ticket-log-proof-invalid");
}
