//! Identities that other programs write to disk, also while they are at it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::dev::spiffe::{Flaw, Svid};
use crate::identity::file_set::{FILE_SIZE_BYTES, FileFault};
use crate::identity::settled::Pace;
use crate::identity::{Identity, StartError};
use crate::tls::tests::{Logs, PATIENCE};

/// The files of one workload, with the CA that signed them.
struct Disk {
    ca: SpiffeCa,
    fed: SpiffeCa,
    folder: TempDir,
}

const PACE: Pace = Pace { poll: Duration::from_millis(20), settle: Duration::from_millis(5) };

impl Disk {
    fn new() -> Self {
        let disk = Self { ca: ca("gate.example"), fed: ca("fed.example"), folder: TempDir::new().unwrap() };
        disk.write_svid(&disk.svid());
        disk.write("bundle.pem", disk.ca.bundle_pem());
        disk.write("fed.pem", disk.fed.bundle_pem());
        disk
    }

    fn svid(&self) -> Svid {
        self.ca.issue("/witgate/gateway", &leaf()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn write_svid(&self, svid: &Svid) {
        self.write("svid.pem", &svid.chain_pem);
        self.write("key.pem", &svid.key_pem);
    }

    fn settings(&self) -> FileSettings {
        FileSettings {
            svid: self.path("svid.pem"),
            key: self.path("key.pem"),
            bundle: self.path("bundle.pem"),
            federated: BTreeMap::from([("fed.example".to_owned(), self.path("fed.pem"))]),
        }
    }

    async fn start(&self) -> Result<Identity, StartError> {
        Identity::start_at(&from_files(self.settings()), PACE).await
    }

    async fn fault(&self) -> FileFault {
        match self.start().await {
            Err(StartError::Files(fault)) => fault,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("these files must not be taken"),
        }
    }
}

/// The certificate that a handshake would show.
fn shown(identity: &Identity) -> Vec<u8> {
    identity.own_leaf().unwrap()
}

#[tokio::test]
async fn a_whole_set_is_taken_and_followed() {
    let disk = Disk::new();
    let identity = disk.start().await.unwrap();
    assert_eq!(identity.spiffe_id().unwrap(), "spiffe://gate.example/witgate/gateway");
    let guest = disk.fed.issue("/host/a", &leaf()).unwrap();
    let mut changes = identity.changed();
    let next = disk.svid();
    disk.write_svid(&next);
    tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    assert_eq!(shown(&identity), next.chain_der[0]);
    assert!(
        identity.caller(&[guest.chain_der[0].as_slice().into()], Timestamp::now()).is_err(),
        "federated, no caller"
    );
}

#[tokio::test]
async fn a_set_in_the_middle_of_writing_is_not_taken() {
    let disk = Disk::new();
    let identity = disk.start().await.unwrap();
    let before = shown(&identity);
    let logs = Logs::start();
    let mut changes = identity.changed();
    let next = disk.svid();
    disk.write("svid.pem", &next.chain_pem.as_bytes()[..100]);
    logs.say("holds no PEM certificate").await;
    disk.write("svid.pem", &next.chain_pem);
    logs.say("the key does not belong to the certificate").await;
    fs::remove_file(disk.path("key.pem")).unwrap();
    logs.say("cannot be read").await;
    disk.write("key.pem", &next.key_pem);
    fs::set_permissions(disk.path("key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    logs.say("readable by everyone").await;
    assert_eq!(shown(&identity), before);
    assert!(!changes.has_changed().unwrap());
    assert!(identity.is_ready());
    disk.write("key.pem", &next.key_pem);
    tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    assert_eq!(shown(&identity), next.chain_der[0]);
    assert!(!logs.all().contains(next.key_pem.lines().nth(1).unwrap()), "no key in the log");
}

#[tokio::test]
async fn the_parts_belong_together() {
    let disk = Disk::new();
    disk.write("key.pem", disk.svid().key_pem);
    assert!(matches!(disk.fault().await, FileFault::KeyMismatch));
    let disk = Disk::new();
    disk.write("bundle.pem", ca("gate.example").bundle_pem());
    assert!(matches!(disk.fault().await, FileFault::Chain { .. }));
    let disk = Disk::new();
    let past = Timestamp::now() - Duration::from_secs(7200);
    disk.write_svid(&disk.ca.issue("/witgate/gateway", &Leaf::lasting(past, Duration::from_secs(3600))).unwrap());
    assert!(matches!(disk.fault().await, FileFault::Chain { .. }));
    let disk = Disk::new();
    disk.write_svid(&disk.ca.issue("/witgate/gateway", &leaf().with(Flaw::NoBasicConstraints)).unwrap());
    assert!(matches!(disk.fault().await, FileFault::Svid { .. }));
    let beneath = Disk::new();
    beneath.write_svid(&beneath.ca.intermediate(Timestamp::now()).unwrap().issue("/a", &leaf()).unwrap());
    beneath.start().await.unwrap();
}

#[tokio::test]
async fn a_bundle_is_of_one_trust_domain() {
    let disk = Disk::new();
    disk.write("bundle.pem", [disk.ca.bundle_pem(), disk.fed.bundle_pem()].concat());
    assert!(matches!(disk.fault().await, FileFault::ForeignAuthority { found, .. } if found == "fed.example"));
    let disk = Disk::new();
    disk.write("fed.pem", disk.ca.bundle_pem());
    assert!(matches!(disk.fault().await, FileFault::ForeignAuthority { found, .. } if found == "gate.example"));
    let disk = Disk::new();
    disk.write("bundle.pem", [disk.ca.bundle_pem(), &disk.svid().chain_pem].concat());
    assert!(matches!(disk.fault().await, FileFault::NotAnAuthority { .. }));
    let disk = Disk::new();
    let mut files = disk.settings();
    files.federated.insert("GATE.example".into(), disk.path("bundle.pem"));
    let refused = Identity::start_at(&from_files(files), PACE).await;
    assert!(matches!(refused, Err(StartError::Files(FileFault::FederatedSelf { .. }))));
}

#[tokio::test]
async fn a_key_is_a_secret() {
    let disk = Disk::new();
    for mode in [0o604, 0o644, 0o602, 0o601] {
        fs::set_permissions(disk.path("key.pem"), PermissionsExt::from_mode(mode)).unwrap();
        assert!(matches!(disk.fault().await, FileFault::OpenKey { mode: found, .. } if found == mode), "{mode:o}");
    }
    fs::set_permissions(disk.path("key.pem"), PermissionsExt::from_mode(0o440)).unwrap();
    disk.start().await.unwrap();
}

#[tokio::test]
async fn a_file_is_a_file_of_its_folder() {
    let elsewhere = Disk::new();
    let disk = Disk::new();
    fs::remove_file(disk.path("svid.pem")).unwrap();
    symlink(elsewhere.path("svid.pem"), disk.path("svid.pem")).unwrap();
    assert!(matches!(disk.fault().await, FileFault::OutsideFolder { .. }));
    fs::remove_file(disk.path("svid.pem")).unwrap();
    fs::create_dir(disk.path("svid.pem")).unwrap();
    assert!(matches!(disk.fault().await, FileFault::NotAFile { .. }));
    fs::remove_dir(disk.path("svid.pem")).unwrap();
    assert!(matches!(disk.fault().await, FileFault::Unreadable { .. }));
    assert!(Command::new("mkfifo").arg(disk.path("svid.pem")).status().unwrap().success());
    assert!(matches!(disk.fault().await, FileFault::NotAFile { .. }));
}

/// How Kubernetes swaps a whole volume: `svid.pem -> ..data/svid.pem`, `..data -> ..1`.
#[tokio::test]
async fn links_inside_the_folder_are_followed() {
    let disk = Disk::new();
    fs::create_dir(disk.path("..1")).unwrap();
    symlink("..1", disk.path("..data")).unwrap();
    for name in ["svid.pem", "key.pem", "bundle.pem"] {
        fs::rename(disk.path(name), disk.path("..1").join(name)).unwrap();
        symlink(PathBuf::from("..data").join(name), disk.path(name)).unwrap();
    }
    disk.start().await.unwrap();
}

#[tokio::test]
async fn a_file_has_a_largest_size() {
    let disk = Disk::new();
    let size = usize::try_from(FILE_SIZE_BYTES).unwrap();
    let padded = |size: usize| [disk.ca.bundle_pem(), &"\n".repeat(size - disk.ca.bundle_pem().len())].concat();
    disk.write("bundle.pem", padded(size));
    disk.start().await.unwrap();
    disk.write("bundle.pem", padded(size + 1));
    assert!(matches!(disk.fault().await, FileFault::TooLarge { .. }));
}
