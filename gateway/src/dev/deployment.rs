//! A whole deployment on loopback: registry, Sigstore, SPIFFE and a served gateway, wired by a real configuration file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};

use super::registry::push::{self, ConfigClaims, Pushed};
use super::registry::{Auth, DevRegistry, Options};
use super::sigstore::{SIGNED_AFTER_S, Sign, Sigstore};
use super::spiffe::{Answer, Issued, Leaf, SpiffeCa, WorkloadApi};
use crate::case::Timestamp;
use crate::config::Config;
use crate::doors::http::{ADMISSION_DEADLINE, Clock};
use crate::service::Service;

/// The trust domain of the embedded deployment.
pub const TRUST_DOMAIN: &str = "demo.witgate.example";
/// Who signs what the policy wants.
pub const SIGNER: &str = "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main";
/// Who vouches for [`SIGNER`].
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// The predicate type of cosign's signatures.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// How long an embedded SVID lasts: a demo may stay up for a day.
const SVID_LIFE: Duration = Duration::from_secs(24 * 3600);
/// The imports that the embedded policy grants: a command's and an HTTP handler's, no sockets.
pub const GRANTED: &[&str] = &[
    "wasi:cli/*@0.2",
    "wasi:clocks/*@0.2",
    "wasi:filesystem/*@0.2",
    "wasi:http/*@0.2",
    "wasi:io/*@0.2",
    "wasi:random/*@0.2",
];

/// The peers and the gateway; dropping it stops them.
pub struct Deployment {
    /// The embedded registry.
    pub registry: DevRegistry,
    /// The embedded Sigstore.
    pub sigstore: Sigstore,
    /// The embedded SPIFFE CA.
    pub ca: SpiffeCa,
    /// The gateway's Workload API.
    pub gateway_identity: WorkloadApi,
    /// The first host's Workload API.
    pub host_identity: WorkloadApi,
    /// The gateway's configuration, as read from `witgate.toml`.
    pub config: Config,
    /// The gateway.
    pub service: Service,
    folder: PathBuf,
}

/// What may differ between the demo and a test.
pub struct Setup {
    /// An existing folder for sockets, keys and data.
    pub folder: PathBuf,
    /// Where the log and the cache lie; `folder/data` where absent.
    pub data_dir: Option<PathBuf>,
    /// The embedded registry.
    pub registry: Options,
    /// The gateway's clock.
    pub clock: Clock,
    /// How long a caller waits.
    pub deadline: Duration,
    /// More TOML for `witgate.toml`.
    pub more: String,
    /// Policy data in place of the embedded deployment's.
    pub policy_data: Option<Value>,
    /// Renders the metrics.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Setup {
    /// The demo's setup in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            data_dir: None,
            registry: Options::default(),
            clock: Arc::new(Timestamp::now),
            deadline: ADMISSION_DEADLINE,
            more: String::new(),
            policy_data: None,
            metrics: Arc::new(String::new),
        }
    }
}

/// The SPIFFE ID of the gateway.
pub fn gateway_id() -> String {
    format!("spiffe://{TRUST_DOMAIN}/gateway")
}

/// The SPIFFE ID of the host called `name`.
pub fn host_id(name: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/host/{name}")
}

/// Policy data: components of `registry` signed by [`SIGNER`] may use [`GRANTED`] on any host of the trust domain.
pub fn policy_data(registry: &str) -> Value {
    json!({"witgate": {
        "signatures": [{
            "references": [format!("{registry}/*")],
            "identities": [{"issuer": ISSUER, "san": {"kind": "uri", "value": SIGNER}}],
        }],
        "grants": [{
            "callers": [format!("spiffe://{TRUST_DOMAIN}/host/*")],
            "references": [format!("{registry}/*")],
            "imports": GRANTED,
            "lifetime_s": 3600,
        }],
    }})
}

/// How a pushed component is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedBy<'a> {
    /// By nobody.
    Nobody,
    /// By this identity, vouched for by [`ISSUER`].
    Identity(&'a str),
}

impl Deployment {
    /// Starts the peers, writes `witgate.toml` and the policy data into the folder, starts the gateway from them.
    ///
    /// # Errors
    /// The first part that does not start.
    pub async fn start(setup: Setup) -> anyhow::Result<Self> {
        let Setup { folder, data_dir, registry, clock, deadline, more, policy_data: data, metrics } = setup;
        let now = clock();
        // Certificates and roots are valid a little before now, so that clocks may differ by a second.
        let start = now.checked_sub(jiff::SignedDuration::from_secs(60))?;
        let registry = DevRegistry::start(registry).await.context("starting the embedded registry")?;
        let sigstore = Sigstore::new(start).context("starting the embedded Sigstore")?;
        let ca = SpiffeCa::new(TRUST_DOMAIN, start).context("starting the embedded SPIFFE CA")?;
        let gateway_identity = workload_api(&ca, &folder.join("gateway.sock"), &gateway_id(), now).await?;
        let host_identity = workload_api(&ca, &folder.join("host-a.sock"), &host_id("a"), now).await?;

        let data_dir = data_dir.unwrap_or_else(|| folder.join("data"));
        std::fs::create_dir_all(&data_dir)?;
        let policy_folder = folder.join("policy-data");
        std::fs::create_dir_all(&policy_folder)?;
        let data = data.unwrap_or_else(|| policy_data(&registry.host()));
        std::fs::write(policy_folder.join("data.json"), serde_json::to_vec_pretty(&data)?)?;
        let trusted_root = folder.join("trusted_root.json");
        std::fs::write(&trusted_root, sigstore.trusted_root_json())?;
        let file = folder.join("witgate.toml");
        std::fs::write(&file, configuration(&registry, &gateway_identity, &trusted_root, &policy_folder, &more))?;

        let config = Config::load(Some(&file), [], Some(&data_dir))?;
        let service = Service::start_with(&config, clock, metrics, deadline).await.context("starting the gateway")?;
        Ok(Self { registry, sigstore, ca, gateway_identity, host_identity, config, service, folder })
    }

    /// Starts the gateway again from the same configuration, as after a restart of its process.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub async fn restart(self, clock: Clock) -> anyhow::Result<Self> {
        let Self { registry, sigstore, ca, gateway_identity, host_identity, config, service, folder } = self;
        service.stop().await;
        let service = Service::start(&config, clock, Arc::new(String::new)).await?;
        Ok(Self { registry, sigstore, ca, gateway_identity, host_identity, config, service, folder })
    }

    /// Pushes `wasm` as `demo/NAME:1.0` and signs it; `at` is when.
    ///
    /// # Errors
    /// Faults of the embedded peers.
    pub async fn publish(
        &self,
        name: &str,
        wasm: Vec<u8>,
        signed_by: SignedBy<'_>,
        at: Timestamp,
    ) -> anyhow::Result<Pushed> {
        let host = self.registry.host();
        let repository = format!("demo/{name}");
        let pushed =
            push::component(&host, &repository, "1.0", Bytes::from(wasm), ConfigClaims::default(), &Auth::Open).await?;
        if let SignedBy::Identity(identity) = signed_by {
            // The certificate begins a little before the signature is made.
            let begin = at.checked_sub(jiff::SignedDuration::from_secs(SIGNED_AFTER_S))?;
            let bundle = self.sigstore.sign(Sign::cosign(pushed.manifest, identity, ISSUER, begin))?;
            push::bundle(&host, &repository, &pushed, &bundle, Some(COSIGN_SIGN), &Auth::Open).await?;
        }
        Ok(pushed)
    }

    /// The folder with sockets, keys and `witgate.toml`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with the gateway's public ticket key.
    pub fn ticket_key(&self) -> PathBuf {
        self.config.data_dir.join("ticket.pub")
    }
}

async fn workload_api(ca: &SpiffeCa, socket: &Path, id: &str, now: Timestamp) -> anyhow::Result<WorkloadApi> {
    let svid = ca.issue(id, &Leaf::lasting(now, SVID_LIFE))?;
    WorkloadApi::start(socket, Answer::Issued(Issued::new(ca, &svid)))
        .await
        .with_context(|| format!("starting the Workload API of `{id}`"))
}

fn configuration(registry: &DevRegistry, identity: &WorkloadApi, root: &Path, policy: &Path, more: &str) -> String {
    let host = registry.host();
    format!(
        r#"# The configuration of the embedded deployment: everything on loopback.
[listen]
callers = "127.0.0.1:0"
admin = "127.0.0.1:0"

[identity]
trust_domains = ["{TRUST_DOMAIN}"]
callers = ["spiffe://{TRUST_DOMAIN}/host/*"]
workload_api = "{}"

[registry.upstreams."{host}"]
url = "http://{host}"
private = true
insecure_http = true

[[evidence.roots]]
name = "demo"
trusted_root = "{}"

[policy]
data = "{}"

{more}
"#,
        identity.endpoint(),
        root.display(),
        policy.display(),
    )
}
