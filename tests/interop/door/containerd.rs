//! containerd: `hosts.toml` with both lines naming the gateway enforces, one that names the registry does not.

use std::process::Command;

use serde_json::Value;
use witgate::dev::registry::push::Pushed;
use witgate_tests::components;

use super::{Door, HELLO, Over, UPSTREAM, fail, remote, stricter};
use crate::process::Process;
use crate::{run, succeed};

/// containerd with folders of its own.
pub(super) struct Containerd<'a> {
    door: &'a Door,
    _process: Process,
}

impl<'a> Containerd<'a> {
    /// With the `hosts.toml` of the page.
    pub(super) async fn start(door: &'a Door) -> Self {
        Self::start_with(door, &door.example("# containerd")).await
    }

    async fn start_with(door: &'a Door, hosts: &str) -> Self {
        door.write(&format!("certs.d/{UPSTREAM}/hosts.toml"), hosts);
        let folder = |name: &str| door.path(name).display().to_string();
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\n  address = \"{}\"\n",
            folder("containerd/root"),
            folder("containerd/state"),
            folder("containerd.sock"),
        );
        door.write("containerd.toml", &config);
        let mut command = door.client("containerd");
        command.args(["--config", "containerd.toml"]);
        let answers = async || match run(ctr(door).arg("version")) {
            output if output.status.success() => Ok(()),
            output => Err(super::text(&output)),
        };
        Self { door, _process: Process::ready_when(&mut command, answers).await }
    }

    /// Fetches what stands under the registry's own name.
    pub(super) fn fetch(&self, pushed: &Pushed) -> Command {
        let mut command = ctr(self.door);
        command.args(["content", "fetch", "--hosts-dir", "certs.d", "--user"]);
        command.arg(format!("anybody:{}", self.door.token())).arg(remote(pushed));
        command
    }

    /// The digests of all that it has.
    fn content(&self) -> Vec<String> {
        let listed = succeed(ctr(self.door).args(["content", "ls", "--quiet"]));
        listed.lines().map(str::to_owned).collect()
    }

    fn blob(&self, digest: &str) -> Vec<u8> {
        let output = run(ctr(self.door).args(["content", "get", digest]));
        assert!(output.status.success(), "{digest}: {}", super::text(&output));
        output.stdout
    }

    /// Holds that manifest, config and component came byte for byte, and nothing else.
    pub(super) fn holds(&self, pushed: &Pushed, wasm: &[u8]) {
        assert_eq!(self.blob(&pushed.manifest.to_string()), pushed.manifest_bytes);
        assert_eq!(self.blob(&pushed.component.to_string()), wasm);
        let manifest: Value = serde_json::from_slice(&pushed.manifest_bytes).unwrap();
        let mut expected = vec![pushed.manifest.to_string(), pushed.component.to_string()];
        expected.push(manifest["config"]["digest"].as_str().unwrap().to_owned());
        let mut found = self.content();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }
}

fn ctr(door: &Door) -> Command {
    let mut command = door.client("ctr");
    command.arg("--address").arg(door.path("containerd.sock")).args(["--connect-timeout", "5s"]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_gets_what_is_admitted_and_finds_no_way_around_a_refusal() {
    let door = Door::open(Over::Tls).await;
    let containerd = Containerd::start(&door).await;
    // It shows the status of a refusal and none of its words: HEAD has no body.
    let said = fail(&mut containerd.fetch(&door.unsigned));
    assert!(said.contains("403 Forbidden"), "{said}");
    assert_eq!(containerd.content(), [""; 0], "nothing came");

    succeed(&mut containerd.fetch(&door.good));
    containerd.holds(&door.good, &components::http(HELLO));
}

/// It asks with one HEAD then, whatever it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_of_what_containerd_has_is_refused_once_policy_changes() {
    let mut door = Door::open(Over::Tls).await;
    let stricter = stricter(&door);
    let fetch = async |door: &Door| run(&mut Containerd::start(door).await.fetch(&door.good));
    for _ in 0..2 {
        let output = fetch(&door).await;
        assert!(output.status.success(), "{}", super::text(&output));
    }
    door.serve(&stricter).await;
    let output = fetch(&door).await;
    assert!(!output.status.success() && super::text(&output).contains("403 Forbidden"), "{}", super::text(&output));
}

/// What the page warns of: a `server` that is the registry makes a mirror of the gateway, and one that says no is passed by.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_the_registry_lets_containerd_around_a_refusal() {
    let door = Door::open(Over::Tls).await;
    let server = |host: &str| format!("server = \"{host}\"");
    let (gateway, registry) = (format!("https://{}", door.host()), format!("http://{}", door.registry.host()));
    let hosts = door.example("# containerd").replace(&server(&gateway), &server(&registry));
    assert!(hosts.contains(&server(&registry)) && hosts.contains(&format!("[host.\"{gateway}\"]")), "{hosts}");
    let containerd = Containerd::start_with(&door, &hosts).await;
    succeed(&mut containerd.fetch(&door.unsigned));
    containerd.holds(&door.unsigned, &components::command("unsigned\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_without_a_token_gets_nothing() {
    let door = Door::open(Over::Tls).await;
    let containerd = Containerd::start(&door).await;
    let mut command = ctr(&door);
    command.args(["content", "fetch", "--hosts-dir", "certs.d"]).arg(remote(&door.good));
    let said = fail(&mut command);
    assert!(said.contains("401 Unauthorized"), "{said}");
    assert_eq!(containerd.content(), [""; 0]);
}
