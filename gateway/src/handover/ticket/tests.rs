//! What the gateway signs, a host takes, once, as nobody else.

use std::collections::BTreeMap;

use bytes::Bytes;
use witgate_host_hook::key::PublicKey;
use witgate_host_hook::ticket::{
    Expectations, Freshness, LogTrust, PinnedKeys, TicketRefusal, UsedTickets, VerifiedTicket, verify,
};

use super::*;
use crate::case::{
    ArtifactFacts, Caller, CallerKind, Case, ComponentFacts, Evidence, Grants, Limits, Mode, PolicyFacts,
    ReferenceFacts, Scope, Surface, Version, World,
};
use crate::policy::{Decision, Verdict};

const GATEWAY: &str = "spiffe://gate.example/witgate/gateway";
const HOST: &str = "spiffe://gate.example/host/a";
/// The empty component: a header and nothing in it.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn now() -> Timestamp {
    Timestamp::from_second(1_795_376_144).unwrap()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + seconds).unwrap()
}

fn grant_with(purpose: Purpose, imports: Vec<String>) -> Grant {
    let case = Case {
        version: Version::V1,
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002),
        time: now(),
        scope: Scope::default(),
        mode: Mode::Enforce,
        purpose,
        caller: Caller { kind: CallerKind::X509Svid, id: HOST.into(), trust_domain: Some("gate.example".into()) },
        host: HOST.into(),
        links: Vec::new(),
        reference: ReferenceFacts {
            text: "registry.example/app/comp:1".into(),
            upstream: "registry.example".into(),
            repository: "app/comp".into(),
            tag: Some("1".into()),
            digest: None,
        },
        artifact: ArtifactFacts {
            digest: Digest::of(b"manifest"),
            indexes: Vec::new(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size_bytes: 8,
            annotations: BTreeMap::new(),
            config: None,
            component: Some(ComponentFacts {
                digest: Digest::of(COMPONENT),
                size_bytes: COMPONENT.len() as u64,
                media_type: "application/wasm".into(),
            }),
            components: Vec::new(),
            carried: Vec::new(),
            native: None,
            defects: Vec::new(),
        },
        evidence: Evidence::default(),
        surface: Surface::Component(World { digest: Digest::of(b"world"), imports: Vec::new(), exports: Vec::new() }),
    };
    let grants = Grants { imports, links: Vec::new(), config: Vec::new(), limits: Limits::default(), lifetime_s: 3600 };
    let policy = PolicyFacts { name: "embedded".into(), revision: "1".into(), digest: Digest::of(b"policy") };
    match Decision::admit_for_tests(&case, grants, policy).verdict() {
        Verdict::Admit(grant) => grant.clone(),
        Verdict::Refuse(reasons) => panic!("refused: {reasons:?}"),
    }
}

fn grant() -> Grant {
    grant_with(Purpose::Admission, Vec::new())
}

fn receipt() -> Receipt {
    Receipt::for_tests(grant().decision(), 41, now())
}

fn handover() -> (Handover, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Handover::open(&Settings::default(), folder.path(), GATEWAY.into()).unwrap(), folder)
}

fn take(handover: &Handover, ticket: &Ticket, own_id: &str, at: Timestamp) -> Result<VerifiedTicket, TicketRefusal> {
    let key = PublicKey::from_spki_pem(&handover.public_key_pem()).unwrap();
    let expected = Expectations {
        pinned: &PinnedKeys::new().with(GATEWAY, key),
        own_id,
        tls_peer: GATEWAY,
        freshness: Freshness::TicketId,
        used: &UsedTickets::new(),
        log: LogTrust::Ticket,
        now: at,
        component: &Bytes::from_static(COMPONENT),
    };
    verify(ticket.envelope().to_string().as_bytes(), &expected)
}

#[test]
fn a_host_takes_what_the_gateway_signs() {
    let (handover, _folder) = handover();
    let ticket = handover.ticket(&grant(), &receipt(), now()).unwrap().unwrap();
    let taken = take(&handover, &ticket, HOST, now()).unwrap();
    assert_eq!(taken.id(), ticket.id());
    assert_eq!(taken.decision(), grant().decision());
    assert_eq!(taken.grants(), grant().grants());
    let statement = taken.statement();
    assert_eq!(statement.subject[0].name, "registry.example/app/comp");
    assert_eq!(statement.predicate.log.leaf_index, 41);
    assert_eq!(ticket.expires_at(), later(120));
    assert_eq!(ticket.id().get_version_num(), 7);

    assert_eq!(take(&handover, &ticket, HOST, later(130)).unwrap_err().code(), "ticket-expired");
    let other = take(&handover, &ticket, "spiffe://gate.example/host/b", now());
    assert_eq!(other.unwrap_err().code(), "ticket-audience-mismatch");
}

#[test]
fn a_dry_run_hands_nothing_over() {
    let (handover, _folder) = handover();
    let grant = grant_with(Purpose::DryRun, Vec::new());
    assert!(handover.ticket(&grant, &receipt(), now()).unwrap().is_none());
}

#[test]
fn grant_and_receipt_are_of_one_decision() {
    let (handover, _folder) = handover();
    let other = Receipt::for_tests(Uuid::from_u128(9), 0, now());
    assert_eq!(
        handover.ticket(&grant(), &other, now()).unwrap_err(),
        TicketFault::OtherDecision { grant: grant().decision(), receipt: Uuid::from_u128(9) }
    );
}

#[test]
fn only_a_ticket_that_was_signed_fetches_bytes() {
    let (handover, _folder) = handover();
    let ticket = handover.ticket(&grant(), &receipt(), now()).unwrap().unwrap();
    let id = ticket.id().to_string();
    let digest = Digest::of(COMPONENT);
    assert_eq!(handover.redeem(&id, HOST, &digest, now()), Ok(()));
    assert_eq!(handover.redeem(&id, HOST, &digest, later(120)), Err(RedeemRefusal::NotLive));
    assert_eq!(handover.redeem(&id, GATEWAY, &digest, now()), Err(RedeemRefusal::OtherHost));

    let large =
        grant_with(Purpose::Admission, (0..2000).map(|n| format!("acme:long-package/interface-{n:05}")).collect());
    let fault = handover.ticket(&large, &receipt(), now()).unwrap_err();
    assert!(matches!(fault, TicketFault::TooLarge { .. }));
}

#[test]
fn every_ticket_has_an_id_of_its_own() {
    let (handover, _folder) = handover();
    let one = handover.ticket(&grant(), &receipt(), now()).unwrap().unwrap();
    let two = handover.ticket(&grant(), &receipt(), now()).unwrap().unwrap();
    assert_ne!(one.id(), two.id());
}

#[test]
fn settings_out_of_range_do_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let open = |ticket_life_s| {
        let settings = Settings { ticket_life_s, ..Settings::default() };
        Handover::open(&settings, folder.path(), GATEWAY.into())
    };
    assert!(open(300).is_ok());
    assert!(matches!(open(301), Err(StartError::Life { found: 301 })));
    assert!(matches!(open(0), Err(StartError::Life { found: 0 })));
    let nobody = Handover::open(&Settings::default(), folder.path(), String::new());
    assert!(matches!(nobody, Err(StartError::NoIssuer)));
}

#[test]
fn a_clock_before_1970_gives_no_ticket() {
    let (handover, _folder) = handover();
    let early = Timestamp::from_second(-1).unwrap();
    assert_eq!(handover.ticket(&grant(), &receipt(), early).unwrap_err(), TicketFault::Clock { now: early });
    assert!(handover.ticket(&grant(), &receipt(), Timestamp::MAX).is_err());
}
