//! `witgate verify` as its users meet it: cosign's flags, each both ways; the tree; the last words; the exit codes.

pub(crate) mod docs;
mod files;
mod flags;
mod references;
mod registries;
mod usage;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::case::{CosignLayer, Digest, Timestamp};
use witgate::dev::components;
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::cosign_tags::{self, DSSE_ENVELOPE, SIMPLE_SIGNING, attestations_tag, signatures_tag};
use witgate::dev::registry::push::{self, ConfigClaims, Pushed};
use witgate::dev::registry::{Auth, DevRegistry, Options};
use witgate::dev::sigstore::{Content, ManagedKey, Sign, Sigstore};

use super::{stderr, stdout, witgate};

const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The signer of the private Sigstore, as flags name it.
const BY_SIGNER: [&str; 4] = ["--certificate-identity", SIGNER, "--certificate-oidc-issuer", ISSUER];

/// A registry and a Sigstore, with the files that flags name.
struct Stage {
    home: tempfile::TempDir,
    registry: DevRegistry,
    sigstore: Sigstore,
}

/// What one command said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Stage {
    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        witgate::tls::install_provider();
        let home = tempfile::tempdir().unwrap();
        let registry = DevRegistry::start(options).await.unwrap();
        let sigstore = Sigstore::new(before(120)).unwrap();
        std::fs::write(home.path().join("trusted_root.json"), sigstore.trusted_root_json()).unwrap();
        Self { home, registry, sigstore }
    }

    /// A file in the home.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn root(&self) -> String {
        self.path("trusted_root.json").to_str().unwrap().to_owned()
    }

    /// `acme/NAME:1`, unsigned.
    async fn push(&self, name: &str) -> Pushed {
        self.push_with(name, &Auth::Open).await
    }

    async fn push_with(&self, name: &str, auth: &Auth) -> Pushed {
        let wasm = Bytes::from(components::command(&format!("{name}\n")));
        let (host, repository) = (self.registry.host(), format!("acme/{name}"));
        push::component(&host, &repository, "1", wasm, ConfigClaims::default(), auth).await.unwrap()
    }

    async fn attach(&self, pushed: &Pushed, bundle: &[u8]) -> Digest {
        self.attach_with(pushed, bundle, &Auth::Open).await
    }

    async fn attach_with(&self, pushed: &Pushed, bundle: &[u8], auth: &Auth) -> Digest {
        let host = self.registry.host();
        push::bundle(&host, &repository(pushed), pushed, bundle, Some(COSIGN_SIGN), auth).await.unwrap()
    }

    /// Puts layers under one of the tags of cosign 2.
    async fn tag(&self, pushed: &Pushed, sig: &[CosignLayer], att: &[CosignLayer]) {
        let (host, repository) = (self.registry.host(), repository(pushed));
        for (tag, media_type, layers) in [
            (signatures_tag(&pushed.manifest), SIMPLE_SIGNING, sig),
            (attestations_tag(&pushed.manifest), DSSE_ENVELOPE, att),
        ] {
            if !layers.is_empty() {
                cosign_tags::push(&host, &repository, &tag, media_type, layers, &Auth::Open).await.unwrap();
            }
        }
    }

    /// `acme/NAME:1` with one bundle.
    async fn signed(&self, name: &str, change: impl FnOnce(Sign) -> Sign) -> Pushed {
        let pushed = self.push(name).await;
        self.attach(&pushed, &self.sigstore.sign(change(request(pushed.manifest))).unwrap()).await;
        pushed
    }

    /// The command with the trusted root of this stage.
    fn verify(&self, what: &str, arguments: &[&str]) -> Said {
        let root = self.root();
        self.verify_bare(what, &[&["--trusted-root", root.as_str()], arguments].concat(), &[])
    }

    fn verify_bare(&self, what: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = witgate(self.home.path());
        command.args(["verify", what]).args(arguments).envs(environment.iter().copied());
        let output = command.current_dir(self.home.path()).output().expect("the built binary starts");
        Said { code: output.status.code(), out: stdout(&output), err: stderr(&output) }
    }
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {}{}", self.out, self.err))
    }

    /// Everything it said, without what differs from run to run.
    fn steady(&self) -> String {
        let told = format!("exit {}\n{}{}", self.code.unwrap_or(-1), self.out, self.err);
        steady(&told)
    }
}

/// A text without digests, ports, times and paths of temporary folders.
fn steady(text: &str) -> String {
    [
        (r"\b[0-9a-f]{12,64}\b", "HEX"),
        (r"with the hint `[^`]*`", "with the hint `HINT`"),
        (r"127\.0\.0\.1:[0-9]+", "REGISTRY"),
        (r"[0-9]+\.[0-9]{2} ms", "N ms"),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]+(\.[0-9]+)?Z", "TIME"),
        (r"/[^ `]*/\.tmp[A-Za-z0-9]+/", "HOME/"),
        (r", [0-9]+ s old", ", N s old"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (pattern, stead)| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, *stead).into_owned()
    })
}

fn before(seconds: i64) -> Timestamp {
    Timestamp::now() - jiff::SignedDuration::from_secs(seconds)
}

fn request(digest: Digest) -> Sign {
    Sign::cosign(digest, SIGNER, ISSUER, before(60))
}

fn repository(pushed: &Pushed) -> String {
    let (_, path) = pushed.reference.split_once('/').unwrap();
    path.split(':').next().unwrap().to_owned()
}

fn provenance() -> Content {
    let predicate = json!({
        "buildDefinition": {"buildType": "https://acme.example/build", "externalParameters": {}},
        "runDetails": {"builder": {"id": "https://acme.example/builder"}},
    });
    Content::Statement { predicate_type: "https://slsa.dev/provenance/v1".into(), predicate }
}

fn key_file(stage: &Stage, name: &str, key: &ManagedKey) -> String {
    stage.write(name, key.public_pem())
}

/// The file's name alone.
fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap()
}
