//! The world of the stories: a deployment in a folder of its own, asked by callers over real sockets.

mod door;
mod log;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use witgate::case::Timestamp;
use witgate::config::Config;
use witgate::dev::deployment::{self, Deployment, SIGNER, Setup, SignedBy, TRUST_DOMAIN};
use witgate::dev::registry::push::Pushed;
use witgate::dev::spiffe::{Answer, Issued, Leaf, WorkloadApi};
use witgate::identity::{Identity, Settings};

pub use door::{ALIAS, LocalDoor, door_path};
pub use log::rejected;
pub use witgate::dev::components;

/// A deployment in a temporary folder, and the first host as its caller.
pub struct World {
    /// The peers and the gateway.
    pub deployment: Deployment,
    /// The first host, `spiffe://TRUST_DOMAIN/host/a`.
    pub host: Caller,
    folder: tempfile::TempDir,
}

/// Someone who asks the gateway over mTLS.
pub struct Caller {
    client: reqwest::Client,
    gateway: String,
    _identity: Arc<Identity>,
    _workload_api: Option<WorkloadApi>,
}

/// What the gateway answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, where it is JSON; else null.
    pub body: Value,
    /// The body as bytes.
    pub bytes: bytes::Bytes,
    /// The headers.
    pub headers: http::HeaderMap,
}

impl Reply {
    /// The reasons' codes, in order.
    pub fn codes(&self) -> Vec<&str> {
        self.body["reasons"].as_array().into_iter().flatten().filter_map(|reason| reason["code"].as_str()).collect()
    }

    /// The decision's id.
    pub fn decision(&self) -> &str {
        self.body["decision"].as_str().unwrap_or_default()
    }
}

/// Installs the one TLS provider of the process; every story does through [`World::start`].
pub fn provider() {
    witgate::tls::install_provider();
}

/// An address on loopback where nobody listens.
pub fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// A folder of policies below `folder`: with one file of `rules`, or without any.
pub fn policy_folder(folder: &std::path::Path, name: &str, rules: Option<&str>) -> std::path::PathBuf {
    let made = folder.join(format!("policies-{name}"));
    std::fs::create_dir_all(&made).expect("a folder in a temporary one");
    if let Some(rules) = rules {
        let text = format!("package witgate.admission\n\n{rules}\n");
        std::fs::write(made.join("own.rego"), text).expect("a file in a temporary folder");
    }
    made
}

/// How long a story waits for anything: generous, for machines are slow and the failure is what is told.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again until it holds; a story that waits for ever has failed.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl World {
    /// The paths below a repository that the registry was asked to read, with how often.
    pub fn read_of(&self, repository: &str) -> std::collections::BTreeMap<String, usize> {
        let prefix = format!("/v2/{repository}/");
        let mut paths = std::collections::BTreeMap::new();
        for request in self.deployment.registry.requests() {
            if request.method == "GET" && request.path.starts_with(&prefix) {
                *paths.entry(request.path).or_default() += 1;
            }
        }
        paths
    }

    /// The embedded deployment as the demo has it.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with another setup.
    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        provider();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut setup = Setup::new(folder.path());
        change(&mut setup);
        let deployment = Deployment::start(setup).await.expect("the embedded deployment starts");
        let endpoint = deployment.host_identity.endpoint();
        let host =
            Caller::new(&endpoint, deployment.service.callers_url(), None).await.expect("the host gets its identity");
        Self { deployment, host, folder }
    }

    /// The same world after a restart of the gateway with another configuration.
    pub async fn restart(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.deployment.config);
        self.restart_at(Arc::new(Timestamp::now)).await.expect("the gateway starts again")
    }

    /// The folder with sockets, keys and data.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Another caller with an SVID for `path`, as the embedded CA issues it.
    pub async fn caller(&self, path: &str, leaf: &Leaf) -> anyhow::Result<Caller> {
        let svid = self.deployment.ca.issue(path, leaf)?;
        let socket = self.folder.path().join(format!("caller-{}.sock", uuid::Uuid::now_v7().simple()));
        let api = WorkloadApi::start(&socket, Answer::Issued(Issued::new(&self.deployment.ca, &svid))).await?;
        let endpoint = api.endpoint();
        Caller::new(&endpoint, self.deployment.service.callers_url(), Some(api)).await
    }

    /// Publishes `wasm` as `demo/NAME:1.0`, signed by the identity that policy wants.
    pub async fn publish(&self, name: &str, wasm: Vec<u8>) -> Pushed {
        self.publish_signed(name, wasm, SignedBy::Identity(SIGNER)).await
    }

    /// Publishes `wasm` as `demo/NAME:1.0`, signed by whom you like.
    pub async fn publish_signed(&self, name: &str, wasm: Vec<u8>, signed_by: SignedBy<'_>) -> Pushed {
        self.deployment.publish(name, wasm, signed_by, Timestamp::now()).await.expect("the embedded registry takes it")
    }

    /// How many entries the log has.
    pub async fn log_size(&self) -> u64 {
        let note = self.deployment.service.gate().audit.reader().checkpoint().await.expect("a checkpoint");
        note.lines().nth(1).and_then(|size| size.parse().ok()).expect("a checkpoint's second line is its size")
    }
}

impl Caller {
    async fn new(workload_api: &str, gateway: String, api: Option<WorkloadApi>) -> anyhow::Result<Self> {
        let settings = Settings {
            trust_domains: vec![TRUST_DOMAIN.into()],
            callers: vec![deployment::gateway_id()],
            workload_api: Some(workload_api.to_owned()),
            files: None,
            jwt_svid: None,
            oidc: std::collections::BTreeMap::new(),
            sync_timeout_ms: 5_000,
        };
        let identity = Arc::new(Identity::start(&settings).await?);
        let tls = identity.client_config(&deployment::gateway_id())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .context("building the client")?;
        Ok(Self { client, gateway, _identity: identity, _workload_api: api })
    }

    /// The bare client, for requests of another shape.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The gateway's URL with `path` behind it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway)
    }

    /// `POST /v1/admissions {"reference": …}`.
    pub async fn admit(&self, reference: &str) -> Reply {
        self.ask(json!({"reference": reference})).await
    }

    /// `POST /v1/admissions` with any body.
    pub async fn ask(&self, body: Value) -> Reply {
        self.try_ask(body).await.expect("the gateway answers")
    }

    /// The same; a connection that does not come to be is an error.
    pub async fn try_ask(&self, body: Value) -> reqwest::Result<Reply> {
        reply(self.client.post(self.url("/v1/admissions")).json(&body).send().await?).await
    }

    /// `GET PATH`.
    pub async fn get(&self, path: &str) -> Reply {
        reply(self.client.get(self.url(path)).send().await.expect("the gateway answers")).await.expect("a whole answer")
    }

    /// `GET /v1/components/{digest}`, with a ticket's id or without.
    pub async fn component(&self, digest: &str, ticket: Option<&str>) -> Reply {
        let mut request = self.client.get(self.url(&format!("/v1/components/{digest}")));
        if let Some(ticket) = ticket {
            request = request.header("witgate-ticket", ticket);
        }
        reply(request.send().await.expect("the gateway answers")).await.expect("a whole answer")
    }
}

async fn reply(response: reqwest::Response) -> reqwest::Result<Reply> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Reply { status, body, bytes, headers })
}

/// The ticket's id inside a granted reply.
pub fn ticket_id(reply: &Reply) -> String {
    use base64::Engine as _;
    let payload = reply.body["ticket"]["payload"].as_str().expect("a granted reply has a ticket");
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).expect("base64");
    let statement: Value = serde_json::from_slice(&payload).expect("JSON");
    statement["predicate"]["ticketId"].as_str().expect("a ticket has an id").to_owned()
}
