//! What the gateway signs, a host takes, once, as nobody else.

use bytes::Bytes;
use witgate_host_hook::key::PublicKey;
use witgate_host_hook::ticket::{
    Expectations, Freshness, LogTrust, PinnedKeys, TicketRefusal, UsedTickets, VerifiedTicket, verify,
};

use super::super::grants_tests::{COMPONENT, HOST, grant_with, later, now};
use super::*;

const GATEWAY: &str = "spiffe://gate.example/witgate/gateway";
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
fn a_dry_run_hands_nothing_over_and_a_pull_no_ticket() {
    let (handover, _folder) = handover();
    for purpose in [Purpose::DryRun, Purpose::Pull] {
        let grant = grant_with(purpose, Vec::new());
        assert!(handover.ticket(&grant, &receipt(), now()).unwrap().is_none());
    }
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
