//! Every attack on a ticket, each refused by its own check.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::key::PrivateKey;
use crate::ticket::envelope::{PAYLOAD_TYPE, seal, sign};
use crate::ticket::{Component, Log, Policy, Sha256Hex, Signer, Verdict};

const GATEWAY: &str = "spiffe://gate.example/witgate/gateway";
const HOST: &str = "spiffe://gate.example/host/a";
const NOW: i64 = 1_795_376_144;

static COMPONENT: LazyLock<Bytes> = LazyLock::new(|| {
    let text = r#"(component
        (import "wasi:cli/stdout@0.2.3" (instance))
        (import "wasi:io/streams@0.2.3" (instance)))"#;
    wat::parse_str(text).unwrap().into()
});

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[1; 32])
}

fn statement() -> Statement {
    let leaf = Digest::of(b"leaf");
    let predicate = Predicate {
        ticket_id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001),
        decision_id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002),
        issuer: GATEWAY.into(),
        audience: HOST.into(),
        nonce: None,
        issued_at: NOW,
        not_before: NOW - 5,
        expires_at: NOW + 120,
        component: Component {
            manifest_digest: Digest::of(b"manifest"),
            media_type: "application/wasm".into(),
            size: COMPONENT.len() as u64,
            wit_digest: Digest::of(b"world"),
        },
        imports: vec!["wasi:cli/stdout@0.2.3".into(), "wasi:io/streams@0.2.3".into()],
        grants: Grants {
            imports: vec!["wasi:cli/stdout@0.2.3".into(), "wasi:io/streams@0.2.0".into()],
            links: Vec::new(),
            config: Vec::new(),
            limits: crate::grants::Limits::default(),
            lifetime_s: 3600,
        },
        policy: Policy {
            bundle_digest: Digest::of(b"bundle"),
            data_digest: None,
            entrypoint: "data.witgate.admission".into(),
            verdict: Verdict::Admit,
        },
        signers: vec![Signer::Key { keyid: "ab".into() }],
        log: Log {
            origin: "log.example/audit".into(),
            tree_size: 1,
            leaf_index: 0,
            leaf_hash: Sha256Hex(leaf),
            proof: Vec::new(),
            checkpoint: format!("log.example/audit\n1\n{}\n\n\u{2014} x AAAA\n", STANDARD.encode(leaf.as_bytes())),
        },
    };
    Statement::new("registry.example/app/comp", Digest::of(&COMPONENT), predicate)
}

/// The signed statement after `edit` of its JSON.
fn envelope_of(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = serde_json::to_value(statement()).unwrap();
    edit(&mut value);
    seal(&key(), PAYLOAD_TYPE, value.to_string().as_bytes()).unwrap().to_string().into_bytes()
}

/// What an honest host knows, with a store of its own.
struct Host {
    pinned: PinnedKeys,
    used: UsedTickets,
}

impl Host {
    fn new() -> Self {
        Self { pinned: PinnedKeys::new().with(GATEWAY, key().public()), used: UsedTickets::new() }
    }

    fn expects(&self) -> Expectations<'_> {
        Expectations {
            pinned: &self.pinned,
            own_id: HOST,
            tls_peer: GATEWAY,
            freshness: Freshness::TicketId,
            used: &self.used,
            log: LogTrust::Ticket,
            now: Timestamp::from_second(NOW).unwrap(),
            component: &COMPONENT,
        }
    }
}

fn check(envelope: &[u8]) -> Result<VerifiedTicket, TicketRefusal> {
    verify(envelope, &Host::new().expects())
}

fn refusal(edit: impl FnOnce(&mut Value)) -> TicketRefusal {
    check(&envelope_of(edit)).unwrap_err()
}

fn at(now: i64) -> Result<VerifiedTicket, TicketRefusal> {
    let now = Timestamp::from_second(now).unwrap();
    verify(&envelope_of(|_| {}), &Expectations { now, ..Host::new().expects() })
}

#[test]
fn an_honest_ticket_passes_with_the_bytes_it_is_for() {
    let envelope = sign(&key(), &statement()).unwrap().to_string();
    let ticket = check(envelope.as_bytes()).unwrap();
    assert_eq!(ticket.statement(), &statement());
    assert_eq!(ticket.component(), &*COMPONENT);
    assert_eq!(ticket.digest(), Digest::of(&COMPONENT));
    assert_eq!(ticket.grants().imports.len(), 2);
}

#[test]
fn another_hosts_ticket_is_refused() {
    let refused =
        verify(&envelope_of(|_| {}), &Expectations { own_id: "spiffe://gate.example/host/b", ..Host::new().expects() });
    assert_eq!(
        refused.unwrap_err(),
        TicketRefusal::Audience { audience: HOST.into(), own: "spiffe://gate.example/host/b".into() }
    );
    for text in
        ["SPIFFE://gate.example/host/a", "spiffe://gate.example/host/a/", "spiffe://gate.example/host", "local", ""]
    {
        let refused = refusal(|s| s["predicate"]["audience"] = text.into());
        assert_eq!(refused.code(), "ticket-audience-mismatch", "{text}");
    }
}

#[test]
fn a22_1_a_ticket_is_taken_once() {
    let host = Host::new();
    let expected = host.expects();
    let envelope = envelope_of(|_| {});
    assert!(verify(&envelope, &expected).is_ok());
    let id = statement().predicate.ticket_id;
    assert_eq!(verify(&envelope, &expected).unwrap_err(), TicketRefusal::Used { id });
    let last = Timestamp::from_second(NOW + 120 + CLOCK_SKEW_S - 1).unwrap();
    assert_eq!(verify(&envelope, &Expectations { now: last, ..expected }).unwrap_err(), TicketRefusal::Used { id });
}

#[test]
fn a_full_store_takes_nothing() {
    let host = Host { used: UsedTickets::bounded(0), ..Host::new() };
    let expected = host.expects();
    assert_eq!(verify(&envelope_of(|_| {}), &expected).unwrap_err().code(), "ticket-store-full");
}

#[test]
fn the_nonce_is_the_one_that_was_sent() {
    let with_nonce = envelope_of(|s| s["predicate"]["nonce"] = "bm9uY2U".into());
    assert!(
        verify(&with_nonce, &Expectations { freshness: Freshness::Nonce("bm9uY2U"), ..Host::new().expects() }).is_ok()
    );
    assert_eq!(check(&with_nonce).unwrap_err(), TicketRefusal::Nonce);
    let other = verify(&with_nonce, &Expectations { freshness: Freshness::Nonce("other"), ..Host::new().expects() });
    assert_eq!(other.unwrap_err(), TicketRefusal::Nonce);
    let none =
        verify(&envelope_of(|_| {}), &Expectations { freshness: Freshness::Nonce("bm9uY2U"), ..Host::new().expects() });
    assert_eq!(none.unwrap_err(), TicketRefusal::Nonce);
}

#[test]
fn times_hold_to_the_second() {
    assert!(at(NOW - CLOCK_SKEW_S).is_ok());
    assert_eq!(at(NOW - CLOCK_SKEW_S - 1).unwrap_err().code(), "ticket-not-yet-valid");
    assert!(at(NOW + 120 + CLOCK_SKEW_S - 1).is_ok());
    assert_eq!(at(NOW + 120 + CLOCK_SKEW_S).unwrap_err().code(), "ticket-expired");
}

#[test]
fn life_ends_at_the_limit() {
    let life = |seconds: i64| check(&envelope_of(|s| s["predicate"]["expiresAt"] = (NOW + seconds).into()));
    assert!(life(MAX_LIFE_S).is_ok());
    for seconds in [MAX_LIFE_S + 1, 0, -1, i64::MAX - NOW] {
        assert_eq!(life(seconds).unwrap_err().code(), "ticket-life-invalid", "{seconds}");
    }
    let wrapped = refusal(|s| {
        s["predicate"]["issuedAt"] = i64::MAX.into();
        s["predicate"]["expiresAt"] = i64::MIN.into();
    });
    assert_eq!(wrapped.code(), "ticket-life-invalid");
    let future = refusal(|s| s["predicate"]["issuedAt"] = (NOW + 60).into());
    assert_eq!(future.code(), "ticket-not-yet-valid");
}

#[test]
fn other_bytes_are_refused() {
    let truncated = COMPONENT.slice(..COMPONENT.len() - 1);
    let refused =
        verify(&envelope_of(|_| {}), &Expectations { component: &truncated, ..Host::new().expects() }).unwrap_err();
    assert_eq!(
        refused,
        TicketRefusal::ComponentDigest { expected: Digest::of(&COMPONENT), found: Digest::of(&truncated) }
    );
    let size = refusal(|s| s["predicate"]["component"]["size"] = 1.into());
    assert_eq!(size, TicketRefusal::ComponentSize { expected: 1, found: COMPONENT.len() as u64 });
    let core = Bytes::from_static(b"\0asm\x01\0\0\0");
    let envelope = envelope_of(|s| {
        s["subject"][0]["digest"]["sha256"] = Digest::of(&core).hex().into();
        s["predicate"]["component"]["size"] = core.len().into();
    });
    let refused = verify(&envelope, &Expectations { component: &core, ..Host::new().expects() }).unwrap_err();
    assert_eq!(refused.code(), "component-unreadable");
}

#[test]
fn imports_are_those_of_the_bytes() {
    let fewer = refusal(|s| s["predicate"]["imports"] = json!(["wasi:cli/stdout@0.2.3"]));
    assert_eq!(fewer, TicketRefusal::Imports { missing: vec!["wasi:io/streams@0.2.3".into()], unknown: Vec::new() });
    let track = refusal(|s| s["predicate"]["imports"] = json!(["wasi:cli/stdout@0.2.3", "wasi:io/streams@0.2.4"]));
    assert_eq!(track.code(), "ticket-imports-mismatch");
}

#[test]
fn every_import_is_granted_on_its_track() {
    let none = refusal(|s| s["predicate"]["grants"]["imports"] = json!([]));
    assert_eq!(
        none,
        TicketRefusal::ImportsNotGranted {
            imports: vec!["wasi:cli/stdout@0.2.3".into(), "wasi:io/streams@0.2.3".into()]
        }
    );
    let other = refusal(|s| s["predicate"]["grants"]["imports"] = json!(["wasi:cli/stdout", "wasi:io/streams@0.3.0"]));
    assert_eq!(other.code(), "import-not-granted");
    for list in [
        json!(["wasi:io/streams@0.2.3", "wasi:cli/stdout@0.2.3"]),
        json!(["wasi:cli/stdout@0.2.3", "wasi:cli/stdout@0.2.3", "wasi:io/streams@0.2.3"]),
    ] {
        let refused = refusal(|s| s["predicate"]["grants"]["imports"] = list);
        assert!(matches!(refused, TicketRefusal::Malformed { part: "grants", .. }));
    }
}

#[test]
fn shapes_are_exact() {
    for edit in [
        (|s| s["predicate"]["extra"] = 1.into()) as fn(&mut Value),
        |s| s["extra"] = 1.into(),
        |s| s["predicate"]["grants"]["extra"] = 1.into(),
        |s| s["predicate"]["grants"]["limits"]["extra"] = 1.into(),
        |s| s["predicate"]["signers"][0]["extra"] = 1.into(),
        |s| s["subject"][0]["digest"]["sha512"] = "00".into(),
        |s| s["predicate"]["policy"]["verdict"] = "refuse".into(),
        |s| s["predicate"]["issuedAt"] = 1.5.into(),
        |s| s["predicate"]["component"]["size"] = (-1).into(),
        |s| drop(s["predicate"].as_object_mut().unwrap().remove("nonce")),
        |s| drop(s["predicate"].as_object_mut().unwrap().remove("log")),
        |s| drop(s["predicate"].as_object_mut().unwrap().remove("grants")),
        |s| s["subject"] = json!([]),
        |s| {
            let subject = s["subject"][0].clone();
            s["subject"] = json!([subject, subject]);
        },
    ] {
        let refused = refusal(edit);
        assert_eq!(refused.code(), "ticket-malformed", "{refused}");
    }
    let doubled = serde_json::to_string(&statement()).unwrap().replacen('{', r#"{"predicateType":"x","#, 1);
    let envelope = seal(&key(), PAYLOAD_TYPE, doubled.as_bytes()).unwrap().to_string();
    assert_eq!(check(envelope.as_bytes()).unwrap_err().code(), "ticket-malformed");
}

#[test]
fn only_pinned_keys_of_that_gateway_count() {
    let stranger = PrivateKey::from_seed(&[2; 32]);
    let by_stranger = sign(&stranger, &statement()).unwrap();
    let refused = check(by_stranger.to_string().as_bytes()).unwrap_err();
    assert_eq!(refused, TicketRefusal::KeyNotPinned { keyid: stranger.public().keyid(), gateway: GATEWAY.into() });

    let mut renamed = by_stranger.clone();
    renamed["signatures"][0]["keyid"] = key().public().keyid().into();
    let refused = check(renamed.to_string().as_bytes()).unwrap_err();
    assert_eq!(refused, TicketRefusal::SignatureInvalid { keyid: key().public().keyid() });

    let elsewhere =
        PinnedKeys::new().with("spiffe://gate.example/other", stranger.public()).with(GATEWAY, key().public());
    let host = Host { pinned: elsewhere, ..Host::new() };
    let refused = verify(by_stranger.to_string().as_bytes(), &host.expects());
    assert_eq!(refused.unwrap_err().code(), "ticket-key-not-pinned");

    let upper = envelope_of(|_| {});
    let upper =
        String::from_utf8(upper).unwrap().replace(&key().public().keyid(), &key().public().keyid().to_uppercase());
    assert_eq!(check(upper.as_bytes()).unwrap_err().code(), "ticket-key-not-pinned");
}

#[test]
fn a_rotated_key_passes_while_both_are_pinned() {
    let next = PrivateKey::from_seed(&[2; 32]);
    let pinned = PinnedKeys::new().with(GATEWAY, key().public()).with(GATEWAY, next.public());
    for signer in [key(), next] {
        let host = Host { pinned: pinned.clone(), ..Host::new() };
        let envelope = sign(&signer, &statement()).unwrap().to_string();
        assert!(verify(envelope.as_bytes(), &host.expects()).is_ok());
    }
}

#[test]
fn a_ticket_comes_from_the_gateway_that_was_asked() {
    let refused = refusal(|s| s["predicate"]["issuer"] = "spiffe://gate.example/other".into());
    assert_eq!(refused, TicketRefusal::Issuer { issuer: "spiffe://gate.example/other".into(), peer: GATEWAY.into() });
}

#[test]
fn what_is_signed_as_something_else_is_no_ticket() {
    let payload = serde_json::to_vec(&statement()).unwrap();
    let other = seal(&key(), "application/json", &payload).unwrap().to_string();
    assert_eq!(check(other.as_bytes()).unwrap_err(), TicketRefusal::PayloadType { found: "application/json".into() });
    let summary = refusal(|s| s["predicateType"] = crate::ticket::VSA_PREDICATE_TYPE.into());
    assert_eq!(summary, TicketRefusal::VerificationSummary);
    assert!(summary.to_string().contains("verification summary, not a ticket"));
    let other = refusal(|s| s["predicateType"] = "https://witgate.dev/ticket/v2".into());
    assert_eq!(other, TicketRefusal::PredicateType { found: "https://witgate.dev/ticket/v2".into() });
    let other = refusal(|s| s["_type"] = "https://in-toto.io/Statement/v0.1".into());
    assert_eq!(other, TicketRefusal::StatementType { found: "https://in-toto.io/Statement/v0.1".into() });
}

#[test]
fn the_proof_is_of_this_leaf_in_this_log() {
    let leaf = refusal(|s| s["predicate"]["log"]["leafHash"] = Digest::of(b"other").hex().into());
    assert_eq!(leaf, TicketRefusal::LogProof { leaf_index: 0, tree_size: 1 });
    let origin = refusal(|s| s["predicate"]["log"]["origin"] = "log.example/2".into());
    assert_eq!(origin.code(), "ticket-checkpoint-invalid");
    let log_key = CheckpointKey::new("x", PrivateKey::from_seed(&[9; 32]).public()).unwrap();
    let unsigned =
        verify(&envelope_of(|_| {}), &Expectations { log: LogTrust::Key(&log_key), ..Host::new().expects() });
    assert_eq!(unsigned.unwrap_err().code(), "ticket-checkpoint-invalid");
}

#[test]
fn the_first_check_that_fails_is_the_answer() {
    // Each edit alone fails a later check; together the earliest one answers.
    let all = |s: &mut Value, from: usize| {
        let edits: [fn(&mut Value); 6] = [
            |s| s["predicate"]["audience"] = "x".into(),
            |s| s["predicate"]["issuer"] = "x".into(),
            |s| s["predicate"]["nonce"] = "x".into(),
            |s| s["predicate"]["expiresAt"] = 0.into(),
            |s| s["predicate"]["component"]["size"] = 0.into(),
            |s| s["predicate"]["log"]["origin"] = "x".into(),
        ];
        edits.iter().skip(from).for_each(|edit| edit(s));
    };
    let codes: Vec<_> = (0..6).map(|from| refusal(|s| all(s, from)).code()).collect();
    assert_eq!(
        codes,
        [
            "ticket-audience-mismatch",
            "ticket-issuer-mismatch",
            "ticket-nonce-mismatch",
            "ticket-life-invalid",
            "digest-mismatch",
            "ticket-checkpoint-invalid"
        ]
    );
}

proptest! {
    #[test]
    fn no_byte_of_an_envelope_may_change(position in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let mut envelope = envelope_of(|_| {});
        let position = position.index(envelope.len());
        envelope[position] ^= flip;
        prop_assert!(check(&envelope).is_err(), "byte {} changed by {:#x} was not seen", position, flip);
    }

    #[test]
    fn no_byte_of_a_payload_may_change(position in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let mut envelope: Value = serde_json::from_slice(&envelope_of(|_| {})).unwrap();
        let mut payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let position = position.index(payload.len());
        payload[position] ^= flip;
        envelope["payload"] = STANDARD.encode(payload).into();
        prop_assert_eq!(check(envelope.to_string().as_bytes()).unwrap_err().code(), "ticket-signature-invalid");
    }
}
