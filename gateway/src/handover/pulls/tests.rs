//! Who may fetch what, when, and after a restart.

use super::super::grants_tests::{COMPONENT, case, grant_on, grant_with, later, now};
use super::*;
use crate::case::{Case, ConfigFacts, Timestamp};

const INDEX: &[u8] = b"index";
const CONFIG: &[u8] = b"config";

fn policy() -> Digest {
    Digest::of(b"policy")
}

fn trust() -> Digest {
    Digest::of(b"trust")
}

fn terms() -> Terms {
    Terms { until: later(600), trust: trust() }
}

fn under(at: Timestamp) -> Under {
    Under { now: at, policy: policy(), trust: trust() }
}

/// A pull through an index, of an artifact with a config.
fn pulled(id: u128) -> Case {
    let mut case = case(Purpose::Pull);
    case.id = Uuid::from_u128(id);
    case.artifact.indexes = vec![Digest::of(INDEX)];
    case.artifact.config =
        Some(ConfigFacts { media_type: "a/b".into(), digest: Digest::of(CONFIG), claimed_imports: None });
    case
}

fn receipt(case: &Case, at: Timestamp) -> Receipt {
    Receipt::for_tests(case.id, 3, at)
}

async fn granted(pulls: &Pulls, case: &Case) -> Arc<Pull> {
    pulls.grant(&grant_on(case, vec![]), &receipt(case, now()), terms()).await.unwrap().unwrap()
}

async fn open(folder: &tempfile::TempDir) -> Pulls {
    Pulls::open(folder.path(), Scope::default()).await.unwrap()
}

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

fn find(pulls: &Pulls, case: &Case, digest: &[u8], kind: PartKind, at: Timestamp) -> Found {
    let here = repository("registry.example/app/comp");
    pulls.find(&case.caller, &here, &Digest::of(digest), kind, &under(at))
}

#[tokio::test]
async fn a_grant_covers_exactly_what_the_manifest_names() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = open(&folder).await;
    let case = pulled(1);
    let pull = granted(&pulls, &case).await;
    assert_eq!((pull.root(), pull.manifest()), (&Digest::of(INDEX), &Digest::of(b"manifest")));
    for (digest, kind) in [
        (INDEX, PartKind::Manifest),
        (b"manifest", PartKind::Manifest),
        (CONFIG, PartKind::Blob),
        (COMPONENT, PartKind::Blob),
    ] {
        let Found::Live(live) = find(&pulls, &case, digest, kind, now()) else { panic!("{digest:?} is not covered") };
        assert_eq!((live.pull().decision(), live.part().digest), (case.id, Digest::of(digest)));
        let other = if kind == PartKind::Blob { PartKind::Manifest } else { PartKind::Blob };
        assert!(matches!(find(&pulls, &case, digest, other, now()), Found::Unknown), "as another kind");
    }
    assert!(matches!(find(&pulls, &case, b"another", PartKind::Blob, now()), Found::Unknown));
}

#[tokio::test]
async fn a21_1_another_caller_or_repository_gets_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = open(&folder).await;
    let case = pulled(1);
    granted(&pulls, &case).await;
    let here = repository("registry.example/app/comp");
    let component = Digest::of(COMPONENT);
    let find = |caller: &Caller, repository: &Repository| {
        pulls.find(caller, repository, &component, PartKind::Blob, &under(now()))
    };
    assert!(matches!(find(&case.caller, &here), Found::Live(_)));
    for other in ["registry.example/app/com", "registry.example/app", "registry.example/comp", "other.example/app/comp"]
    {
        assert!(matches!(find(&case.caller, &repository(other)), Found::Unknown), "{other}");
    }
    let other = Caller { id: "spiffe://gate.example/host/b".into(), ..case.caller.clone() };
    assert!(matches!(find(&other, &here), Found::Unknown));
    let elsewhere = Pulls::open(folder.path(), Scope { tenant: "b".into(), ..Scope::default() }).await.unwrap();
    assert!(matches!(elsewhere.find(&case.caller, &here, &component, PartKind::Blob, &under(now())), Found::Unknown));
}

#[tokio::test]
async fn a21_2_a_grant_is_live_while_its_decision_holds_and_not_a_moment_longer() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = open(&folder).await;
    let case = pulled(1);
    let pull = granted(&pulls, &case).await;
    let here = repository("registry.example/app/comp");
    let live = |under: &Under| {
        let found = pulls.find(&case.caller, &here, &Digest::of(COMPONENT), PartKind::Blob, under);
        let made = pulls.live(&pull, &Digest::of(COMPONENT), PartKind::Blob, under);
        match found {
            Found::Live(live) => {
                assert!(made.is_some());
                pulls.hand_out(&live, 1, under).unwrap();
                Some(live)
            }
            Found::Lapsed(roots) => {
                assert_eq!(roots, [Digest::of(INDEX)]);
                assert!(made.is_none());
                None
            }
            Found::Unknown => panic!("it is forgotten"),
        }
    };
    let held = live(&under(later(599))).unwrap();
    assert!(live(&under(later(600))).is_none(), "its time is over");
    let other_policy = Under { policy: Digest::of(b"other"), ..under(now()) };
    let other_trust = Under { trust: Digest::of(b"other"), ..under(now()) };
    for changed in [other_policy, other_trust, under(later(600))] {
        assert!(live(&changed).is_none());
        assert_eq!(pulls.hand_out(&held, 1, &changed), Err(NotHanded::Lapsed), "found before, asked for after");
    }
    pulls.lapse_all();
    assert!(live(&under(now())).is_none(), "withdrawn");
    assert_eq!(pulls.hand_out(&held, 1, &under(now())), Err(NotHanded::Lapsed));
    // Decided anew.
    let case = pulled(2);
    granted(&pulls, &case).await;
    assert!(
        matches!(find(&pulls, &case, COMPONENT, PartKind::Blob, now()), Found::Live(live) if live.pull().decision() == case.id)
    );
}

#[tokio::test]
async fn a21_3_a_restart_keeps_what_to_decide_about_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let case = pulled(1);
    let pulls = open(&folder).await;
    granted(&pulls, &case).await;
    pulls.close().await;
    let pulls = open(&folder).await;
    let Found::Lapsed(roots) = find(&pulls, &case, COMPONENT, PartKind::Blob, now()) else { panic!("lost or live") };
    assert_eq!(roots, [Digest::of(INDEX)]);
    assert!(matches!(find(&pulls, &case, b"another", PartKind::Blob, now()), Found::Unknown));
    // The same decision again, held by the gate, makes it live.
    granted(&pulls, &case).await;
    assert!(matches!(find(&pulls, &case, COMPONENT, PartKind::Blob, now()), Found::Live(_)));
    pulls.close().await;
}

#[tokio::test]
async fn only_a_recorded_admission_to_pull_makes_one() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = open(&folder).await;
    let case = pulled(1);
    let grant = grant_on(&case, vec![]);
    let other = Receipt::for_tests(Uuid::from_u128(9), 0, now());
    assert!(matches!(pulls.grant(&grant, &other, terms()).await, Err(TicketFault::OtherDecision { .. })));
    for purpose in [Purpose::Admission, Purpose::DryRun] {
        let grant = grant_with(purpose, vec![]);
        let receipt = Receipt::for_tests(grant.decision(), 0, now());
        assert!(pulls.grant(&grant, &receipt, terms()).await.unwrap().is_none());
    }
    assert!(matches!(find(&pulls, &case, COMPONENT, PartKind::Blob, now()), Found::Unknown));
}

#[tokio::test]
async fn the_same_decision_is_one_grant_whatever_is_asked_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = open(&folder).await;
    let case = pulled(1);
    let first = granted(&pulls, &case).await;
    let shorter = Terms { until: later(30), ..terms() };
    let grant = grant_on(&case, vec![]);
    let second = pulls.grant(&grant, &receipt(&case, now()), shorter).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second), "a shorter hold ended a grant");
}

#[tokio::test]
async fn artifacts_that_name_the_same_blob_are_decided_about_newest_first_within_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulls.db");
    let pulls = Pulls::bounded(&path, Scope::default(), 64, 64).await.unwrap();
    let mut roots = Vec::new();
    for number in 0..=LAPSED_MAX {
        let mut case = case(Purpose::Pull);
        case.id = Uuid::from_u128(number as u128);
        case.artifact.digest = Digest::of(&number.to_be_bytes());
        roots.insert(0, case.artifact.digest);
        let receipt = receipt(&case, later(i64::try_from(number).unwrap()));
        pulls.grant(&grant_on(&case, vec![]), &receipt, terms()).await.unwrap();
    }
    roots.truncate(LAPSED_MAX);
    let Found::Lapsed(found) = find(&pulls, &pulled(1), COMPONENT, PartKind::Blob, later(600)) else { panic!() };
    assert_eq!(found, roots);
}

#[tokio::test]
async fn the_bound_holds_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulls.db");
    let at = |number: u8| {
        let mut case = case(Purpose::Pull);
        case.id = Uuid::from_u128(number.into());
        case.artifact.digest = Digest::of(&[number]);
        case
    };
    let pulls = Pulls::bounded(&path, Scope::default(), 3, 2).await.unwrap();
    for number in 0..3 {
        let case = at(number);
        let receipt = receipt(&case, later(number.into()));
        pulls.grant(&grant_on(&case, vec![]), &receipt, terms()).await.unwrap();
    }
    let known = |pulls: &Pulls, number: u8| {
        !matches!(find(pulls, &at(number), &[number], PartKind::Manifest, now()), Found::Unknown)
    };
    assert_eq!([0, 1, 2].map(|number| known(&pulls, number)), [false, true, true], "the caller's share");
    pulls.close().await;
    let pulls = Pulls::bounded(&path, Scope::default(), 1, 1).await.unwrap();
    assert_eq!([0, 1, 2].map(|number| known(&pulls, number)), [false, false, true]);
}

#[tokio::test]
async fn a_row_that_cannot_be_written_is_no_outage() {
    let folder = tempfile::tempdir().unwrap();
    let pulls = open(&folder).await;
    pulls.close().await;
    let case = pulled(1);
    granted(&pulls, &case).await;
    assert!(matches!(find(&pulls, &case, COMPONENT, PartKind::Blob, now()), Found::Live(_)));
}
