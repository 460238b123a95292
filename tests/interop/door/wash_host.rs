//! A stock wasmCloud host: workloads start through the gateway, and not any more once policy says otherwise.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use witgate::case::Timestamp;
use witgate_tests::{PATIENCE, free_address};

use super::{Door, HELLO, Over, stricter};
use crate::process::Process;
use crate::{beside, program};

/// Whether the host keeps what it pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    None,
    Disk,
}

/// A NATS server of its own.
struct Nats {
    url: String,
    monitor: SocketAddr,
    _process: Process,
}

impl Nats {
    async fn start(door: &Door) -> Self {
        let (client, monitor) = (free_address(), free_address());
        let mut server = door.client(program("WITGATE_INTEROP_NATS_SERVER"));
        let (port, monitor_port) = (client.port().to_string(), monitor.port().to_string());
        server.args(["--addr", "127.0.0.1", "--port", &port, "--http_port", &monitor_port]);
        server.args(["--jetstream", "--store_dir", "jetstream"]);
        let process = Process::start(&mut server, &format!("http://{monitor}/healthz")).await;
        Self { url: format!("nats://{client}"), monitor, _process: process }
    }

    /// `wash host` at it, in the words of the page.
    fn host(&self, door: &Door) -> Command {
        let mut host = door.client(program("WITGATE_INTEROP_WASH"));
        let words = door.command("wash host", "wash host").into_iter();
        host.args(words.map(|word| word.replace("nats://127.0.0.1:4222", &self.url)));
        host
    }

    /// The id of the host that listens for commands; its heartbeat tells it too, every 15 s.
    async fn listener(&self) -> Result<String, String> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}/connz?subs=true", self.monitor)).send().await.unwrap();
        let connections: Value = answer.json().await.unwrap();
        let subscriptions = connections["connections"].as_array().unwrap().iter();
        let mut subjects = subscriptions.filter_map(|connection| connection["subscriptions_list"].as_array()).flatten();
        let id = subjects.find_map(|subject| subject.as_str()?.strip_prefix("runtime.host.")?.strip_suffix(".>"));
        id.map(str::to_owned).ok_or_else(|| connections.to_string())
    }
}

/// A running host.
struct Host {
    id: String,
    http: SocketAddr,
    /// What the page sends to start one.
    workload: Value,
    _process: Process,
    nats: Nats,
}

impl Host {
    async fn start(door: &Door, cache: Cache) -> Self {
        let (nats, http) = (Nats::start(door).await, free_address());
        let mut host = nats.host(door);
        host.args(["--http-addr", &http.to_string()]);
        if cache == Cache::Disk {
            host.args(["--oci-cache-dir", "oci-cache"]);
        }
        let listens = async || nats.listener().await.map(drop);
        let process = Process::ready_when(&mut host, listens).await;
        let id = nats.listener().await.unwrap();
        let workload = serde_json::from_str(&door.example("{\"workloadId\"")).unwrap();
        Self { id, http, workload, _process: process, nats }
    }

    fn command(&self, word: &str, body: &Value) -> Value {
        let subject = format!("runtime.host.{}.workload.{word}", self.id);
        ask(&self.nats.url, &subject, body)["workloadStatus"].take()
    }

    /// Starts the workload of the page with this image; gives its state and what the host says of it.
    fn start_workload(&self, image: &str, pull: &str) -> (String, String) {
        self.start_saying(&json!({"image": image, "imagePullPolicy": pull}))
    }

    /// The same with these members of its component.
    fn start_saying(&self, members: &Value) -> (String, String) {
        let mut body = self.workload.clone();
        let component = body["workload"]["witWorld"]["components"][0].as_object_mut().unwrap();
        component.extend(members.as_object().unwrap().clone());
        let status = self.command("start", &body);
        let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
        (text("workloadState"), text("message"))
    }

    fn stop_workload(&self) {
        self.command("stop", &json!({"workloadId": self.workload["workloadId"]}));
    }

    /// What the workload answers, if there is one.
    async fn get(&self) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let answer = client.get(format!("http://{}/", self.http)).header("host", "web.example").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// One question over NATS.
fn ask(url: &str, subject: &str, body: &Value) -> Value {
    let mut command = Command::new(program("WITGATE_INTEROP_PYTHON"));
    command.arg(beside("python/nats_request.py")).args([url, subject]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{subject}: {}", super::text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

const RUNNING: &str = "WORKLOAD_STATE_RUNNING";
const ERROR: &str = "WORKLOAD_STATE_ERROR";
const IF_NOT_PRESENT: &str = "IMAGE_PULL_POLICY_IF_NOT_PRESENT";

/// `pull_policies` are all that have the host ask for what it has.
async fn a_workload_runs_until_policy_changes(cache: Cache, pull_policies: &[&str]) {
    let mut door = Door::open(Over::Tls).await;
    let host = Host::start(&door, cache).await;
    let image = door.by_digest(&door.good);
    // Twice: the second start finds what the first one pulled.
    for _ in 0..2 {
        let (state, message) = host.start_workload(&image, IF_NOT_PRESENT);
        assert_eq!(state, RUNNING, "{message}");
        assert_eq!(host.get().await, (200, HELLO.to_owned()));
        host.stop_workload();
    }
    assert_eq!(door.path("oci-cache").exists(), cache == Cache::Disk);

    door.serve(&stricter(&door)).await;
    for pull in pull_policies {
        let (state, message) = host.start_workload(&image, pull);
        assert_eq!(state, ERROR, "{pull}: {message}");
        let named = image.replace(&format!("{}/", door.host()), "");
        for part in [format!("witgate: refused `{named}`: import-not-granted: `wasi:http/"), "(decision 0".into()] {
            assert!(message.contains(&part), "{pull}: expected `{part}`: {message}");
        }
        assert_ne!(host.get().await.0, 200, "{pull}: nothing of it runs");
        host.stop_workload();
    }
    // Nobody to ask is nobody who admits.
    door.stop();
    let (state, message) = host.start_workload(&image, IF_NOT_PRESENT);
    assert_eq!(state, ERROR, "{message}");
    host.stop_workload();

    door.serve(&door.policy()).await;
    // `NEVER` runs the copy and nothing else: what the refusals held back was there all the time.
    let (state, message) = host.start_workload(&image, pull_policies.last().unwrap());
    assert_eq!(state, RUNNING, "{message}");
    assert_eq!(host.get().await, (200, HELLO.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_runs_what_is_admitted_until_policy_changes() {
    a_workload_runs_until_policy_changes(Cache::None, &["IMAGE_PULL_POLICY_ALWAYS", IF_NOT_PRESENT]).await;
}

/// The host asks with HEAD whether its copy is current, and would run it without looking at it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_does_not_run_its_copy_of_what_is_admitted_no_more() {
    let pull_policies = ["IMAGE_PULL_POLICY_ALWAYS", IF_NOT_PRESENT, "IMAGE_PULL_POLICY_NEVER"];
    a_workload_runs_until_policy_changes(Cache::Disk, &pull_policies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_why_a_workload_may_not_start() {
    let door = Door::open(Over::Tls).await;
    let host = Host::start(&door, Cache::None).await;
    let image = door.tagged(&door.unsigned);
    let (state, message) = host.start_workload(&image, IF_NOT_PRESENT);
    assert_eq!(state, ERROR, "{message}");
    super::tells_why(&message, &super::remote(&door.unsigned));
    host.stop_workload();
    // The other place that a workload can name an image at.
    let mut body = host.workload.clone();
    body["workload"]["witWorld"] = json!({});
    body["workload"]["service"] = json!({"image": image});
    let status = host.command("start", &body);
    assert_eq!(status["workloadState"], ERROR, "{status}");
    super::tells_why(status["message"].as_str().unwrap(), &super::remote(&door.unsigned));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_shows_the_secret_of_a_workload() {
    let door = Door::open(Over::Tls).await;
    std::fs::remove_file(door.path(".docker/config.json")).unwrap();
    let host = Host::start(&door, Cache::None).await;
    let image = door.by_digest(&door.good);
    let (state, message) = host.start_workload(&image, IF_NOT_PRESENT);
    assert!(state == ERROR && message.contains("Not authorized"), "{state}: {message}");
    host.stop_workload();
    let secret = json!({"username": "anybody", "password": door.token()});
    let (state, message) = host.start_saying(&json!({"image": image, "imagePullSecret": secret}));
    assert_eq!(state, RUNNING, "{message}");
    assert_eq!(host.get().await, (200, HELLO.to_owned()));
}

/// Writes a revocation list beside its place and moves it there.
fn revoke(door: &Door, issued_at: Timestamp, entries: &Value) {
    let list = json!({"version": 1, "issued_at": issued_at.to_string(), "entries": entries});
    door.write("revoked.new", &list.to_string());
    std::fs::rename(door.path("revoked.new"), door.path("revoked.json")).unwrap();
}

/// Without a restart of anything: the list is looked at every second here.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_nothing_that_was_revoked_meanwhile() {
    let door = Door::open_with(Over::Tls, |door, configuration| {
        revoke(door, Timestamp::now() - jiff::SignedDuration::from_secs(60), &json!([]));
        format!("{configuration}[evidence]\nrefresh_s = 1\n[evidence.revocations]\nfile = \"revoked.json\"\n")
    })
    .await;
    let host = Host::start(&door, Cache::Disk).await;
    let image = door.by_digest(&door.good);
    let (state, message) = host.start_workload(&image, IF_NOT_PRESENT);
    assert_eq!(state, RUNNING, "{message}");
    host.stop_workload();

    let entry = json!({"kind": "artifact", "digest": door.good.manifest, "reason": "CVE-2026-0001"});
    revoke(&door, Timestamp::now(), &json!([entry]));
    let begin = Instant::now();
    let message = loop {
        let (state, message) = host.start_workload(&image, IF_NOT_PRESENT);
        host.stop_workload();
        if state == ERROR {
            break message;
        }
        assert!(begin.elapsed() < PATIENCE, "the list is not seen: {state}: {message}");
    };
    for part in ["witgate: refused `", "revoked: ", "CVE-2026-0001", "(decision 0"] {
        assert!(message.contains(part), "expected `{part}`: {message}");
    }
    assert_ne!(host.get().await.0, 200);
}
