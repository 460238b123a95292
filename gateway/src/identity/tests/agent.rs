//! What a Workload API may and may not make of us.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

use super::*;
use crate::dev::spiffe::{Answer, Issued, Svid, WorkloadApi};
use crate::identity::workload_api::server::{self, Material, Server};
use crate::identity::workload_api::wire;
use crate::identity::{Identity, StartError};

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("agent.sock")
}

async fn start_on(answer: Answer) -> Result<Identity, StartError> {
    let folder = TempDir::new().unwrap();
    let _api = WorkloadApi::start(&socket(&folder), answer).await.unwrap();
    Identity::start(&from_socket(&socket(&folder))).await
}

fn entry(ca: &SpiffeCa, svid: &Svid) -> wire::X509Svid {
    wire::X509Svid {
        spiffe_id: svid.spiffe_id.clone(),
        x509_svid: svid.chain_der.concat().into(),
        x509_svid_key: svid.key_der.clone().into(),
        bundle: Bytes::copy_from_slice(ca.bundle_der()),
        hint: String::new(),
    }
}

async fn start_with(svids: Vec<wire::X509Svid>, federated: BTreeMap<String, Bytes>) -> Result<Identity, StartError> {
    let folder = TempDir::new().unwrap();
    let incoming = UnixListenerStream::new(UnixListener::bind(socket(&folder)).unwrap());
    let _server =
        Server::start(incoming, server::Answer::Material(Material { svids, federated, ..Material::default() }));
    Identity::start(&from_socket(&socket(&folder))).await
}

#[tokio::test]
async fn a_good_agent_makes_us_somebody() {
    let ca = ca("gate.example");
    let svid = ca.issue("/witgate/gateway", &leaf()).unwrap();
    let identity = start_on(Answer::Issued(Issued::new(&ca, &svid))).await.unwrap();
    assert_eq!(identity.spiffe_id().unwrap(), "spiffe://gate.example/witgate/gateway");
    assert!(identity.is_ready());
    assert!(!format!("{identity:?}").contains(&format!("{:?}", svid.key_der)), "no key in Debug");
}

#[tokio::test]
async fn no_answer_in_time_is_no_start() {
    let folder = TempDir::new().unwrap();
    ca("gate.example");
    let absent = Identity::start(&from_socket(&socket(&folder))).await;
    assert!(matches!(absent, Err(StartError::Sync { timeout_ms: 400, .. })));
    for answer in [Answer::Hang, Answer::Garbage, Answer::Refuse, Answer::Withdrawn] {
        assert!(matches!(start_on(answer.clone()).await, Err(StartError::Sync { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn an_agent_that_takes_the_call_and_never_speaks_is_no_start() {
    let folder = TempDir::new().unwrap();
    ca("gate.example");
    let _mute = UnixListener::bind(socket(&folder)).unwrap();
    assert!(matches!(Identity::start(&from_socket(&socket(&folder))).await, Err(StartError::Sync { .. })));
}

#[tokio::test]
async fn we_are_of_an_allowed_trust_domain() {
    let other = ca("other.example");
    let foreign = other.issue("/witgate/gateway", &leaf()).unwrap();
    let alone = start_with(vec![entry(&other, &foreign)], BTreeMap::new()).await;
    assert!(matches!(alone, Err(StartError::Sync { .. })));
    let ca = ca("gate.example");
    let own = ca.issue("/witgate/gateway", &leaf()).unwrap();
    let second = start_with(vec![entry(&other, &foreign), entry(&ca, &own)], BTreeMap::new()).await.unwrap();
    assert_eq!(second.spiffe_id().unwrap(), own.spiffe_id);
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_no_start() {
    let ca = ca("gate.example");
    let (svid, other) = (ca.issue("/witgate/gateway", &leaf()).unwrap(), ca.issue("/host/a", &leaf()).unwrap());
    let mixed = Svid { key_der: other.key_der, ..svid };
    assert!(matches!(start_on(Answer::Issued(Issued::new(&ca, &mixed))).await, Err(StartError::Tls { .. })));
}

#[tokio::test]
async fn material_has_limits() {
    let ca = ca("gate.example");
    let svid = entry(&ca, &ca.issue("/witgate/gateway", &leaf()).unwrap());
    let bundle = |count: usize| Bytes::from(ca.bundle_der().repeat(count));
    let at = crate::identity::source::BUNDLE_SIZE_BYTES / ca.bundle_der().len();
    let bundles = |count: usize| (0..count).map(|n| (format!("spiffe://fed{n}.example"), bundle(1))).collect();
    let ok = async |svids, federated| match start_with(svids, federated).await {
        Ok(_) => true,
        Err(StartError::Sync { .. }) => false,
        Err(other) => panic!("{other}"),
    };
    let svids = crate::identity::source::SVIDS;
    assert!(ok(vec![svid.clone(); svids], BTreeMap::new()).await);
    assert!(!ok(vec![svid.clone(); svids + 1], BTreeMap::new()).await);
    let most = crate::identity::source::BUNDLES;
    assert!(ok(vec![svid.clone()], bundles(most - 1)).await);
    assert!(!ok(vec![svid.clone()], bundles(most)).await);
    let large = |count| wire::X509Svid { bundle: bundle(count), ..svid.clone() };
    assert!(!ok(vec![large(at + 1)], BTreeMap::new()).await);
    assert!(!ok(vec![large(10 * at)], BTreeMap::new()).await);
}

#[tokio::test]
async fn a_socket_that_everyone_can_replace_is_refused() {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let refused = Identity::start(&from_socket(&socket(&folder))).await;
    assert!(matches!(refused, Err(StartError::SocketFolder { folder: found }) if found == folder.path()));
}

#[tokio::test]
async fn a_caller_is_judged_by_its_certificate() {
    use crate::identity::Unproven;

    let ca = ca("gate.example");
    let own = ca.issue("/witgate/gateway", &leaf()).unwrap();
    let identity = start_on(Answer::Issued(Issued::new(&ca, &own))).await.unwrap();
    let now = Timestamp::now();
    let certificate = |path: &str| ca.issue(path, &Leaf::new(now)).unwrap().chain_der[0].clone();
    let judge = |der: &[u8], now| identity.caller(&[der.into()], now);
    let caller = judge(&certificate("/host/a"), now).unwrap();
    assert_eq!(caller.facts().id, "spiffe://gate.example/host/a");
    assert_eq!(caller.facts().trust_domain.as_deref(), Some("gate.example"));
    let end = Timestamp::try_from(caller.not_after().unwrap()).unwrap();
    assert_eq!(end.as_second(), Leaf::new(now).not_after.as_second());
    assert_eq!(identity.caller(&[], now), Err(Unproven::NoCertificate));
    assert!(matches!(judge(b"junk", now), Err(Unproven::NotAnSvid { .. })));
    assert!(matches!(judge(&certificate("/web/a"), now), Err(Unproven::NotACaller { .. })));
    assert!(judge(&certificate("/host/a"), end - std::time::Duration::from_nanos(1)).is_ok());
    assert!(matches!(judge(&certificate("/host/a"), end), Err(Unproven::Expired { .. })));
    let then = identity.trust();
    assert!(identity.vouches(&caller, &then, now).is_ok());
    assert!(matches!(identity.vouches(&caller, &then, end), Err(Unproven::Expired { .. })));
    assert!(matches!(identity.vouches(&caller, &Default::default(), now), Err(Unproven::TrustChanged { .. })));
}
