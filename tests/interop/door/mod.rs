//! The registry door as stock clients use it: `witgate serve` in front of Debian's docker-registry, set up as docs/registry-door.md says.

mod bearer;
mod containerd;
mod cosign;
mod oras;
mod page;
mod skopeo;
mod wash;
mod wash_host;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use witgate::case::Timestamp;
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, ConfigClaims, Pushed};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{World, components, free_address};

use crate::docker_registry::DockerRegistry;
use crate::process::Process;
use crate::pushed::attach;
use crate::{program, run, succeed, witgate};

/// The registry's name at the door. No resolver knows it.
const UPSTREAM: &str = "registry.test";
/// What the signed component answers.
const HELLO: &str = "hello from a workload\n";

/// How the registry listener is spoken to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Tls,
    Http,
}

/// The gateway, what lies behind it, and the home of its clients.
struct Door {
    /// Lends its Sigstore and SPIFFE; the gateway that it has too is asked nothing.
    world: World,
    registry: DockerRegistry,
    address: SocketAddr,
    admin: SocketAddr,
    gateway: Option<Process>,
    /// Signed, may import what it does.
    good: Pushed,
    /// The same kind of component, signed by nobody.
    unsigned: Pushed,
    home: tempfile::TempDir,
}

impl Door {
    async fn open(over: Over) -> Self {
        Self::open_with(over, |_, configuration| configuration).await
    }

    /// The same with a change to `witgate.toml`.
    async fn open_with(over: Over, change: impl FnOnce(&Self, String) -> String) -> Self {
        let (world, registry) = (World::start().await, DockerRegistry::start().await);
        let good = push(registry.host(), "web", components::http(HELLO)).await;
        sign(&world, &good).await;
        let unsigned = push(registry.host(), "unsigned", components::command("unsigned\n")).await;
        let (address, admin, home) = (free_address(), free_address(), tempfile::tempdir().unwrap());
        let mut door = Self { world, registry, address, admin, gateway: None, good, unsigned, home };
        door.write_certificate();
        std::fs::copy(door.world.folder().join("trusted_root.json"), door.path("trusted_root.json")).unwrap();
        door.write("witgate.toml", &change(&door, door.configuration(over)));
        door.write_credential_helper();
        door.serve(&door.policy()).await;
        door
    }

    /// The policy of the page.
    fn policy(&self) -> Value {
        serde_json::from_str(&self.example("{\"witgate\"")).unwrap()
    }

    /// Starts the gateway, again if it runs, with this policy.
    async fn serve(&mut self, policy: &Value) {
        self.stop();
        self.write("policy-data/data.json", &policy.to_string());
        let mut command = witgate(self.home());
        command.args(["serve", "--config", "witgate.toml", "--data-dir", "data"]);
        command.env("WITGATE_LISTEN__CALLERS", "127.0.0.1:0").env("WITGATE_LISTEN__ADMIN", self.admin.to_string());
        let ready = format!("http://{}/readyz", self.admin);
        self.gateway = Some(Process::start(&mut command, &ready).await);
    }

    fn stop(&mut self) {
        self.gateway = None;
    }

    /// `localhost:PORT`: what references begin with, and what the certificate is for.
    fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// `localhost:PORT/registry.test/acme/NAME:1.0`
    fn tagged(&self, pushed: &Pushed) -> String {
        format!("{}/{}", self.host(), remote(pushed))
    }

    /// `localhost:PORT/registry.test/acme/NAME@DIGEST`
    fn by_digest(&self, pushed: &Pushed) -> String {
        let tagged = self.tagged(pushed);
        format!("{}@{}", tagged.strip_suffix(":1.0").unwrap(), pushed.manifest)
    }

    /// The folder that is everybody's `$HOME`.
    fn home(&self) -> &Path {
        self.home.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A client that works at home and finds `docker-credential-witgate`, which finds the Workload API of host `a`.
    fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        command.current_dir(self.home()).env_clear().env("HOME", self.home()).env("PATH", path);
        command.env("SPIFFE_ENDPOINT_SOCKET", self.world.deployment.host_identity.endpoint());
        command
    }

    /// A JWT-SVID of host `a`, for clients that know passwords alone.
    fn token(&self) -> String {
        let audience = format!("https://{}", self.host());
        self.world.deployment.ca.token("/host/a", &audience, Timestamp::now(), Duration::from_secs(300))
    }

    /// `ca.crt`, `tls.crt` and `tls.key`, as the page makes them for a trial.
    fn write_certificate(&self) {
        let commands = self.example("cd ").replace(&self.host(), "localhost");
        succeed(self.client("sh").args(["-ec", &commands]));
    }

    /// The configuration of the page, with where things are in this run.
    fn configuration(&self, over: Over) -> String {
        let mut text = self.example("# witgate.toml").replace("0.0.0.0:443", &self.address.to_string());
        text = text.replace("unix:/run/spire/agent.sock", &self.world.deployment.gateway_identity.endpoint());
        if over == Over::Http {
            let pair = |line: &&str| !line.starts_with("certificate = ") && !line.starts_with("key = ");
            text = text.lines().filter(pair).collect::<Vec<_>>().join("\n");
        }
        let registry = self.registry.host();
        format!("{text}\nurl = \"http://{registry}\"\nprivate = true\ninsecure_http = true\n")
    }

    fn write_credential_helper(&self) {
        self.write(".docker/config.json", &self.example("{\"credHelpers\""));
        let helper = "docker-credential-witgate";
        std::fs::create_dir(self.path("bin")).unwrap();
        let built = program("WITGATE_INTEROP_WITGATE").with_file_name(helper);
        std::os::unix::fs::symlink(built, self.path("bin").join(helper)).unwrap();
    }
}

/// `registry.test/acme/NAME:1.0`
fn remote(pushed: &Pushed) -> String {
    let (_, rest) = pushed.reference.split_once('/').unwrap();
    format!("{UPSTREAM}/{rest}")
}

/// Pushes `wasm` as `acme/NAME:1.0`.
async fn push(host: &str, name: &str, wasm: Vec<u8>) -> Pushed {
    let (repository, wasm) = (format!("acme/{name}"), Bytes::from(wasm));
    push::component(host, &repository, "1.0", wasm, ConfigClaims::default(), &Auth::Open).await.unwrap()
}

/// Signs it as whom policy wants.
async fn sign(world: &World, pushed: &Pushed) {
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let bundle = world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
    attach(pushed, &bundle).await;
}

/// The policy of the page without an import that the signed component needs.
fn stricter(door: &Door) -> Value {
    let mut data = door.policy();
    data["witgate"]["grants"][0]["imports"].as_array_mut().unwrap().retain(|import| import != "wasi:http/*@0.2");
    data
}

/// Runs a client that must fail; gives what it said.
fn fail(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "expected a failure: {command:?}: {}", text(&output));
    text(&output)
}

/// Standard output, then standard error.
fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned()).concat()
}

/// Holds that a person reads why the unsigned component was refused, and under which decision.
fn tells_why(said: &str, reference: &str) {
    let expected = [format!("witgate: refused `{reference}`: no-verified-signature"), "(decision 0".into()];
    for part in expected {
        assert!(said.contains(&part), "expected `{part}`: {said}");
    }
}
