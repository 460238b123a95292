//! Sigstore's own services, each in a process of its own: Fulcio with a CT log (TesseraCT), Rekor v2, a time-stamp authority.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use witgate::case::Timestamp;
use witgate::dev::deployment::{SIGNER, policy_data};
use witgate_tests::{World, free_address};

use crate::cosign::cosign;
use crate::oidc::Issuer;
use crate::openssl::{self, Kind, openssl};
use crate::process::Process;
use crate::{program, succeed};

/// The workflow of a token, of which Fulcio makes [`SIGNER`].
pub(crate) const WORKFLOW: &str = "acme/shop/.github/workflows/release.yml@refs/heads/main";
/// The names that the logs have in their checkpoints.
const REKOR: &str = "rekor.interop.test";
const CT: &str = "ct.interop.test";

/// The services, with what cosign itself says of them.
pub(crate) struct Services {
    folder: tempfile::TempDir,
    issuer: Issuer,
    time_stamps: String,
    _processes: Vec<Process>,
    /// Dropped last: the next may start then.
    _turn: File,
}

/// Where they listen.
struct Addresses {
    fulcio: SocketAddr,
    ct: SocketAddr,
    rekor: SocketAddr,
    tsa: SocketAddr,
}

impl Services {
    /// Starts them, when nobody else on this machine has them running.
    pub(crate) async fn start() -> Self {
        let turn = tokio::task::spawn_blocking(turn).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::start(folder.path()).await;
        keys(folder.path(), issuer.url());
        let at = Addresses { fulcio: free_address(), ct: free_address(), rekor: free_address(), tsa: free_address() };
        let mut processes = Vec::new();
        for (mut command, url) in [
            (ct(folder.path(), &at), format!("http://{}/ct/v1/get-roots", at.ct)),
            (fulcio(folder.path(), &at), format!("http://{}/healthz", at.fulcio)),
            (rekor(folder.path(), &at), format!("http://{}/healthz", at.rekor)),
            (tsa(&at), format!("http://{}/ping", at.tsa)),
        ] {
            processes.push(Process::start(&mut command, &url).await);
        }
        let chain = reqwest::get(format!("http://{}/api/v1/timestamp/certchain", at.tsa)).await.unwrap();
        std::fs::write(folder.path().join("tsa.crt"), chain.bytes().await.unwrap()).unwrap();
        describe(folder.path(), &at);
        let time_stamps = format!("http://{}/api/v1/timestamp", at.tsa);
        Self { folder, issuer, time_stamps, _processes: processes, _turn: turn }
    }

    /// Who vouches for identities.
    pub(crate) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Where the time-stamp authority is asked.
    pub(crate) fn time_stamps(&self) -> &str {
        &self.time_stamps
    }

    /// Where they are: what `cosign sign --signing-config` wants.
    pub(crate) fn signing_config(&self) -> PathBuf {
        self.path("signing_config.json")
    }

    /// Their keys and certificates.
    pub(crate) fn trusted_root(&self) -> PathBuf {
        self.path("trusted_root.json")
    }

    /// A world that trusts the services, where policy wants a signature by [`WORKFLOW`] with claims of its run.
    pub(crate) async fn world(&self) -> World {
        let address = free_address();
        let mut data = policy_data(&address.to_string());
        data["witgate"]["signatures"][0]["identities"] = json!([{
            "issuer": self.issuer.url(),
            "san": {"kind": "uri", "value": SIGNER},
            "claims": {"build_trigger": "push", "source_repository_uri": "https://github.com/acme/shop"},
        }]);
        World::with(|setup| {
            setup.registry.listen = address;
            setup.policy_data = Some(data);
            setup.more = self.toml();
        })
        .await
    }

    /// The row of the configuration that trusts them.
    pub(crate) fn toml(&self) -> String {
        format!("[[evidence.roots]]\nname = \"real\"\ntrusted_root = \"{}\"\n", self.trusted_root().display())
    }

    /// The same with another Rekor's key.
    pub(crate) fn root_of_another_rekor(&self) -> PathBuf {
        let another = tempfile::tempdir().unwrap();
        openssl::generate(another.path(), Kind::Ed25519);
        let key = |folder: &Path| {
            let pem = std::fs::read_to_string(folder.join("ed25519.pub")).unwrap();
            pem.lines().nth(1).unwrap().to_owned()
        };
        let (ours, theirs) = (key(self.folder.path()), key(another.path()));
        let root = std::fs::read_to_string(self.trusted_root()).unwrap();
        assert!(root.contains(&ours));
        let file = self.path("another_root.json");
        std::fs::write(&file, root.replace(&ours, &theirs)).unwrap();
        file
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Waits until this is the only time-stamp authority on the machine: its metrics have one port, 2112, whatever one says.
fn turn() -> File {
    let file = File::create(std::env::temp_dir().join("witgate-interop-port-2112.lock")).unwrap();
    file.lock().unwrap();
    file
}

/// One of each kind: Ed25519 for Rekor, P-256 for the CT log, P-384 for Fulcio's CA, as those of the public good.
fn keys(folder: &Path, issuer: &str) {
    for kind in [Kind::Ed25519, Kind::P256, Kind::P384] {
        openssl::generate(folder, kind);
    }
    // TesseraCT reads EC keys in their own form only.
    succeed(openssl(folder).args(["ec", "-in", "p256.pem", "-out", "ct.key"]));
    succeed(openssl(folder).args(["pkey", "-in", "p384.pem", "-aes256", "-passout", "pass:ca", "-out", "ca.key"]));
    let mut command = openssl(folder);
    command.args(["req", "-x509", "-new", "-key", "p384.pem", "-sha384", "-days", "1", "-out", "ca.crt"]);
    command.args(["-subj", "/O=interop.test/CN=fulcio", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
    succeed(command.args(["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"]));
    let config = format!(
        "oidc-issuers:\n  {issuer}:\n    issuer-url: {issuer}\n    client-id: sigstore\n    type: github-workflow\n"
    );
    std::fs::write(folder.join("fulcio.yaml"), config).unwrap();
}

fn port(address: SocketAddr) -> String {
    address.port().to_string()
}

fn ct(folder: &Path, at: &Addresses) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_CT"));
    command.current_dir(folder).args(["-http_endpoint", &at.ct.to_string(), "-origin", CT, "-storage_dir", "ct"]);
    command.args(["-private_key", "ct.key", "-roots_pem_file", "ca.crt"]);
    command.args(["-checkpoint_interval", "200ms", "-batch_max_age", "50ms"]);
    command
}

fn fulcio(folder: &Path, at: &Addresses) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_FULCIO"));
    command.current_dir(folder).args(["serve", "--config-path", "fulcio.yaml", "--fileca-watch=false"]);
    command.args(["--ca", "fileca", "--fileca-cert", "ca.crt", "--fileca-key", "ca.key", "--fileca-key-passwd", "ca"]);
    command.args(["--ct-log-url", &format!("http://{}", at.ct), "--ct-log-origin", CT]);
    command.args(["--ct-log-public-key-path", "p256.pub", "--host", "127.0.0.1", "--port", &port(at.fulcio)]);
    command.args(["--grpc-host", "127.0.0.1", "--grpc-port", &port(free_address())]);
    command.args(["--metrics-port", &port(free_address()), "--legacy-unix-domain-socket", ""]);
    command
}

fn rekor(folder: &Path, at: &Addresses) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_REKOR"));
    command.current_dir(folder).args(["serve", "--hostname", REKOR, "--storage-dir", "rekor"]);
    command.args(["--signer-filepath", "ed25519.pem", "--http-port", &port(at.rekor)]);
    command.args(["--grpc-port", &port(free_address()), "--http-metrics-port", &port(free_address())]);
    command.args(["--checkpoint-interval", "200ms", "--batch-max-age", "50ms"]);
    command
}

fn tsa(at: &Addresses) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_TSA"));
    command.args(["serve", "--timestamp-signer", "memory", "--disable-ntp-monitoring"]);
    command.args(["--host", "127.0.0.1", "--port", &port(at.tsa)]);
    command
}

/// Has cosign write both files about them.
fn describe(folder: &Path, at: &Addresses) {
    let (fulcio, rekor) = (format!("http://{}", at.fulcio), format!("http://{}", at.rekor));
    let tsa = format!("http://{}/api/v1/timestamp", at.tsa);
    let start = Timestamp::now() - jiff::SignedDuration::from_secs(60);
    let start = format!("start-time={}", start.strftime("%Y-%m-%dT%H:%M:%SZ"));
    let service = |url: &str, version: u8| format!("url={url},api-version={version},{start},operator=interop");
    let mut command = cosign(folder);
    command.args(["signing-config", "create", "--out", "signing_config.json", "--fulcio", &service(&fulcio, 1)]);
    command.args(["--rekor", &service(&rekor, 2), "--rekor-config", "ANY"]);
    succeed(command.args(["--tsa", &service(&tsa, 1), "--tsa-config", "ANY"]));
    let mut command = cosign(folder);
    command.args(["trusted-root", "create", "--out", "trusted_root.json"]);
    command.args(["--fulcio", &format!("url={fulcio},certificate-chain=ca.crt")]);
    command.args(["--ctfe", &format!("url=http://{},public-key=p256.pub,{start}", at.ct)]);
    command.args(["--rekor", &format!("url={rekor},public-key=ed25519.pub,{start},origin={REKOR}")]);
    succeed(command.args(["--tsa", &format!("url={tsa},certificate-chain=tsa.crt")]));
}
