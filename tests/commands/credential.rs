//! `docker-credential-witgate` as the tools that pull run it, against a real Workload API and a real gateway.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use witgate::case::Timestamp;
use witgate::dev::deployment::{Deployment, Setup, host_id};
use witgate::dev::spiffe::{Answer, Issued, Leaf, SpiffeCa, WorkloadApi};

/// Runs the helper with these variables and no others.
fn helper(word: &str, input: &str, variables: &[(&str, &str)]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_docker-credential-witgate"))
        .env_clear()
        .envs(variables.iter().copied())
        .arg(word)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built binary starts");
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    witgate::tls::install_provider();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn agent(folder: &Path) -> (SpiffeCa, WorkloadApi) {
    let ca = SpiffeCa::new("gate.example", Timestamp::now()).unwrap();
    let svid = ca.issue("/host/a", &Leaf::new(Timestamp::now())).unwrap();
    let api = WorkloadApi::start(&folder.join("agent.sock"), Answer::Issued(Issued::new(&ca, &svid))).await.unwrap();
    (ca, api)
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn the_agent_mints_a_token_for_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let (_ca, api) = runtime.block_on(agent(folder.path()));
    let endpoint = api.endpoint();
    let said = helper("get", "https://witgate.example", &[("SPIFFE_ENDPOINT_SOCKET", &endpoint)]);
    assert!(said.status.success(), "{said:?}");
    assert!(said.stderr.is_empty(), "a secret goes to stdout and nowhere else");
    let answer: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&answer["ServerURL"], &answer["Username"]), (&json!("https://witgate.example"), &json!("witgate")));
    let claims = claims(answer["Secret"].as_str().unwrap());
    assert_eq!(claims["sub"], "spiffe://gate.example/host/a");
    assert_eq!(claims["aud"], json!(["https://witgate.example"]));

    let other = [("SPIFFE_ENDPOINT_SOCKET", endpoint.as_str()), ("WITGATE_CREDENTIAL_SERVERS", "witgate.example")];
    let refused = helper("get", "ghcr.io", &other);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&refused.stdout), "credentials not found in native keychain\n");

    api.set(Answer::Withdrawn);
    let refused = helper("get", "witgate.example", &other);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(text.starts_with("no token came from the Workload API: "), "{text}");
    drop(api);
    let refused = helper("get", "witgate.example", &other);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn the_gateway_takes_what_the_helper_gives() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let mut setup = Setup::new(folder.path());
    setup.more =
        "[listen.registry]\naddress = \"127.0.0.1:0\"\n\n[identity.jwt_svid]\naudience = \"https://witgate.example\"\n"
            .into();
    runtime.block_on(async {
        let deployment = Deployment::start(setup).await.unwrap();
        let endpoint = deployment.host_identity.endpoint();
        let url = deployment.service.registry_url().unwrap();
        let said = tokio::task::spawn_blocking(move || {
            helper("get", "witgate.example", &[("SPIFFE_ENDPOINT_SOCKET", &endpoint)])
        });
        let said = said.await.unwrap();
        let answer: Value = serde_json::from_slice(&said.stdout).unwrap();
        let token = answer["Secret"].as_str().unwrap();
        assert_eq!(claims(token)["sub"], host_id("a"));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let asked = client.get(format!("{url}/token")).basic_auth("witgate", Some(token)).send().await.unwrap();
        assert_eq!(asked.status(), 200);
        let handed: Value = serde_json::from_slice(&asked.bytes().await.unwrap()).unwrap();
        assert_eq!(handed["token"], token);
        let refused = client.get(format!("{url}/token")).basic_auth("witgate", Some("x")).send().await.unwrap();
        assert_eq!(refused.status(), 401);
        deployment.service.stop().await;
    });
}
