//! containerd itself on the files that `witgate doctor` judges: what passes never leads past witgate.

use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::http::StatusCode;
use serde_json::Value;
use witgate::dev::components;
use witgate::dev::registry::push::{self, ConfigClaims};
use witgate::dev::registry::{Auth, DevRegistry, Options};
use witgate_tests::free_address;

use crate::process::Process;
use crate::{run, witgate};

/// What doctor has to say of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Passes,
    /// And containerd takes the component from upstream.
    Wrong,
}

/// What stands in a file; `WITGATE` and `UPSTREAM` stand for the servers.
const FILES: &[(&str, Said)] = &[
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\ncapabilities = [\"pull\", \"resolve\"]\n", Said::Passes),
    ("server = 'WITGATE'\r\n[host.'WITGATE']\r\n", Said::Passes),
    ("server = \"WITGATE\"\nhost.\"WITGATE\".capabilities = [\"pull\", \"resolve\"]\n", Said::Passes),
    ("server = \"WITGATE\"\nhost = { \"WITGATE\" = { capabilities = [\"pull\"] } }\n", Said::Passes),
    ("server = \"\"\"WITGATE\"\"\"\n[host.\"WITGATE\"] # once\n[host.\"WITGATE\".header]\nx = [\"a\"]\n", Said::Passes),
    ("server = \"UPSTREAM\"\n[host.\"WITGATE\"]\n", Said::Wrong),
    ("[host.\"WITGATE\"]\n", Said::Wrong),
    ("server = \"\"\n[host.\"WITGATE\"]\n", Said::Wrong),
    ("[host.\"WITGATE\"]\nserver = \"WITGATE\"\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"UPSTREAM\"]\n[host.\"WITGATE\"]\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\n[host.\"UPSTREAM\"]\n", Said::Wrong),
    // Before 2.0 a file without a table of `host` is none.
    ("server = \"WITGATE\"\n", Said::Wrong),
    // It cannot decode these.
    ("", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\nx =\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\nx = \"\\x41\"\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\ncapabilities = [\"fetch\"]\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\ncapabilities = [\"pull\", \"resolve\", \"referrers\"]\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\nskip_verify = \"true\"\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\nca = [[\"a\"]]\n", Said::Wrong),
    ("server = \"WITGATE\"\n[host.\"WITGATE\"]\nclient = [[\"a\"]]\n", Said::Wrong),
    ("server = \"httpgate.example\"\n[host.\"WITGATE\"]\n", Said::Wrong),
];

#[tokio::test(flavor = "multi_thread")]
async fn a28_1_what_doctor_passes_never_leads_past_witgate() {
    witgate_tests::provider();
    let folder = tempfile::tempdir().unwrap();
    let upstream = DevRegistry::start(Options::default()).await.unwrap();
    let wasm = components::command("x\n").into();
    push::component(&upstream.host(), "acme/cart", "1", wasm, ConfigClaims::default(), &Auth::Open).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = listener.local_addr().unwrap().to_string();
    let refuse = Router::new().fallback(|| async { StatusCode::FORBIDDEN });
    let server = tokio::spawn(async move { axum::serve(listener, refuse).await });
    let _containerd = containerd(folder.path()).await;

    let hosts = folder.path().join("certs.d");
    let registry = hosts.join(format!("{}_", upstream.host().replace(':', "_")));
    std::fs::create_dir_all(&registry).unwrap();
    for (text, said) in FILES {
        let text = text
            .replace("WITGATE", &format!("http://{refusing}"))
            .replace("UPSTREAM", &format!("http://{}", upstream.host()));
        std::fs::write(registry.join("hosts.toml"), &text).unwrap();
        let mut doctor = witgate(folder.path());
        doctor.args(["doctor", "--output", "json", "--witgate", &format!("http://{refusing}")]);
        doctor.args(["--upstream", &upstream.host(), "--containerd"]).arg(&hosts);
        let judged = run(&mut doctor);
        let report: Value = serde_json::from_slice(&judged.stdout).unwrap();
        let passes = judged.status.code() == Some(0) && report["ok"] == 1 && report["warn"] == 0;
        assert_eq!(passes, *said == Said::Passes, "{text}\n{report:#}");
        assert_eq!(judged.status.code(), Some(i32::from(!passes)), "{text}\n{report:#}");

        let pulled = fetch(folder.path(), &hosts, &format!("{}/acme/cart:1", upstream.host()));
        assert_eq!(pulled, *said == Said::Wrong, "{text}\n{report:#}");
    }
    server.abort();
}

/// Whether containerd has the component, from whomever.
fn fetch(folder: &Path, hosts: &Path, reference: &str) -> bool {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(folder.join("socket")).args(["content", "fetch", "--hosts-dir"]).arg(hosts).arg(reference);
    let output = run(&mut ctr);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("403 Forbidden"), "{said}");
    output.status.success()
}

/// A containerd of its own, without Kubernetes' door.
async fn containerd(folder: &Path) -> Process {
    let metrics = free_address();
    let config = folder.join("config.toml");
    let path = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{}\"\n[metrics]\naddress = \"{metrics}\"\n",
        path("root"),
        path("state"),
        path("socket")
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("containerd");
    Process::start(command.arg("--config").arg(&config), &format!("http://{metrics}/v1/metrics")).await
}
