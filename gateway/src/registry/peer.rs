//! A registry on a real socket whose every answer a test decides, lies included.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::case::{Digest, Reference, Timestamp};
use crate::outage::{NoAnswer, Outage};

use super::budgets::Budgets;
use super::document::{OCI_INDEX, OCI_MANIFEST};
use super::{Blob, Registry, Settings, UpstreamSettings};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub body: String,
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub ending: Ending,
}

/// How the body is sent.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// With its length.
    Whole,
    /// With another length than it has, then the connection is closed.
    Announcing(u64),
    /// Chunked, without a length.
    Chunked,
    /// Chunked, for ever.
    Endless,
    /// The head and nothing more.
    Stalled,
    /// Not even a head.
    Mute,
    /// A byte every 20 ms.
    Trickling,
}

impl Reply {
    pub fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).header("content-type", content_type).body(body)
    }

    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), ending: Ending::Whole }
    }

    /// A status without a body, after which the next request may follow at once.
    pub fn refusal(status: u16) -> Self {
        Self::status(status).header("retry-after", "0")
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }
}

type Answers = BTreeMap<String, Reply>;

/// The running registry; what it answers by path can be changed at any time, everything else is 404.
#[derive(Clone)]
pub(super) struct Peer {
    /// `127.0.0.1:PORT`.
    pub name: String,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: tokio::sync::watch::Sender<usize>,
    /// What must be presented under `/v2/`, and the challenge for those who do not.
    guard: Arc<Mutex<Option<(String, String)>>>,
    refuses_head: Arc<Mutex<bool>>,
    keeps_objects: Arc<Mutex<bool>>,
}

impl Peer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let peer = Self::named(name);
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().answer(stream));
            }
        });
        peer
    }

    fn named(name: String) -> Self {
        let (answers, asked) = (Arc::default(), Arc::default());
        let count = tokio::sync::watch::Sender::new(0);
        Self {
            name,
            answers,
            asked,
            count,
            guard: Arc::default(),
            refuses_head: Arc::default(),
            keeps_objects: Arc::default(),
        }
    }

    /// A port where nobody listens.
    pub fn nowhere() -> Self {
        Self::named("127.0.0.1:1".into())
    }

    pub fn on(&self, path: impl Into<String>, reply: Reply) {
        self.answers.lock().unwrap().insert(path.into(), reply);
    }

    pub fn guard(&self, authorization: &str, challenge: &str) {
        *self.guard.lock().unwrap() = Some((authorization.into(), challenge.into()));
    }

    /// From now on what is PUT can be read, as from S3: written once where the request says so.
    pub fn keep_objects(&self) {
        *self.keeps_objects.lock().unwrap() = true;
    }

    fn put(&self, path: &str, head: &str, body: &str) -> Reply {
        let once = head.lines().any(|line| line.eq_ignore_ascii_case("if-none-match: *"));
        let mut answers = self.answers.lock().unwrap();
        if once && answers.contains_key(path) {
            return Reply::status(412);
        }
        let object = Reply::ok("application/octet-stream", body)
            .header("etag", "\"x\"")
            .header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        answers.insert(path.to_owned(), object);
        Reply::status(200).header("etag", "\"x\"")
    }

    /// From now on nothing must be presented.
    pub fn open(&self) {
        *self.guard.lock().unwrap() = None;
    }

    /// From now on every HEAD is a 403.
    pub fn refuse_head(&self) {
        *self.refuses_head.lock().unwrap() = true;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub async fn asked_times(&self, count: usize) {
        self.count.subscribe().wait_for(|found| *found >= count).await.unwrap();
    }

    /// How often `path` was asked for, whatever its query.
    pub fn times(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path.split('?').next() == Some(path)).count()
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let body = String::from_utf8(body).unwrap();
        let sent = body.clone();
        let asked = Asked { method: method.clone(), path: path.clone(), authorization: authorization.clone(), body };
        self.asked.lock().unwrap().push(asked);
        self.count.send_modify(|count| *count += 1);
        let guard = self.guard.lock().unwrap().clone();
        let found = self.answers.lock().unwrap().get(&path).cloned();
        let reply = match guard {
            Some((wanted, challenge)) if path.starts_with("/v2/") && authorization.as_deref() != Some(&wanted) => {
                Reply::status(401).header("www-authenticate", &challenge)
            }
            _ if method == "PUT" && *self.keeps_objects.lock().unwrap() => self.put(&path, &head, &sent),
            _ if method == "HEAD" && *self.refuses_head.lock().unwrap() => Reply::status(403),
            _ => found.unwrap_or_else(|| Reply::status(404)),
        };
        let _ = send(&mut stream, &method, reply).await;
    }
}

async fn send(stream: &mut TcpStream, method: &str, reply: Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.ending {
        Ending::Announcing(length) => head.push_str(&format!("content-length: {length}\r\n\r\n")),
        Ending::Chunked | Ending::Endless => head.push_str("transfer-encoding: chunked\r\n\r\n"),
        _ => head.push_str(&format!("content-length: {}\r\n\r\n", reply.body.len())),
    }
    if matches!(reply.ending, Ending::Mute) {
        std::future::pending::<()>().await;
    }
    stream.write_all(head.as_bytes()).await?;
    if method == "HEAD" {
        return Ok(());
    }
    match reply.ending {
        Ending::Whole | Ending::Announcing(_) => stream.write_all(&reply.body).await?,
        Ending::Chunked => {
            stream.write_all(format!("{:x}\r\n", reply.body.len()).as_bytes()).await?;
            stream.write_all(&reply.body).await?;
            stream.write_all(b"\r\n0\r\n\r\n").await?;
        }
        Ending::Endless => loop {
            stream.write_all(b"1000\r\n").await?;
            stream.write_all(&[b' '; 0x1000]).await?;
            stream.write_all(b"\r\n").await?;
        },
        Ending::Stalled | Ending::Mute => std::future::pending().await,
        Ending::Trickling => {
            for byte in reply.body {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    stream.shutdown().await
}

/// A component in a repository, with everything that a test may want to falsify.
pub(super) struct Pushed {
    pub component: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    pub repository: String,
}

impl Pushed {
    /// A well-formed artifact around `component`.
    pub fn new(repository: &str, component: &[u8]) -> Self {
        let config = json!({
            "os": "wasip2",
            "layerDigests": [Digest::of(component).to_string()],
            "component": {"imports": ["wasi:http/types@0.2.3"]},
        });
        Self::with_config(repository, component, config.to_string().into_bytes())
    }

    pub fn with_config(repository: &str, component: &[u8], config: Vec<u8>) -> Self {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.wasm.config.v0+json", &config),
            "layers": [descriptor("application/wasm", component)],
        });
        let manifest = manifest.to_string().into_bytes();
        Self { component: component.to_vec(), config, manifest, repository: repository.into() }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub fn manifest_path(&self, name: &str) -> String {
        format!("/v2/{}/manifests/{name}", self.repository)
    }

    pub fn blob_path(&self, bytes: &[u8]) -> String {
        format!("/v2/{}/blobs/{}", self.repository, Digest::of(bytes))
    }

    pub fn layer_path(&self) -> String {
        self.blob_path(&self.component)
    }

    /// Puts it on a peer under a tag.
    pub fn on(self, peer: &Peer, tag: &str) -> Self {
        for name in [tag, &self.digest().to_string()] {
            peer.on(self.manifest_path(name), Reply::ok(OCI_MANIFEST, self.manifest.clone()));
        }
        for bytes in [&self.config, &self.component] {
            peer.on(self.blob_path(bytes), Reply::ok("application/octet-stream", bytes.clone()));
        }
        self
    }
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

pub(super) fn index(entries: &[Value]) -> Reply {
    let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    Reply::ok(OCI_INDEX, body.to_string())
}

/// All bytes of a blob, as they are read.
pub(super) async fn all(blob: &Blob) -> Vec<u8> {
    let pieces: Vec<_> = blob.read(0..u64::MAX).try_collect().await.unwrap();
    pieces.concat()
}

/// A gateway's registry stage with its own cache folder.
pub(super) struct Stage {
    pub registry: Registry,
    pub folder: tempfile::TempDir,
}

impl Stage {
    /// Without configuration.
    pub fn bare() -> Self {
        Self::of(&Settings::default(), Budgets::default())
    }

    /// With one upstream.
    pub fn with(peer: &Peer, settings: UpstreamSettings) -> Self {
        let upstreams = [(peer.name.clone(), settings)].into();
        Self::of(&Settings { upstreams, ..Settings::default() }, Budgets::default())
    }

    pub fn of(settings: &Settings, budgets: Budgets) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::with_budgets(settings, folder.path(), budgets).unwrap();
        Self { registry, folder }
    }

    pub async fn resolve(&self, peer: &Peer, rest: &str) -> Result<super::Artifact, NoAnswer> {
        self.resolve_at(peer, rest, 1_800_000_000).await
    }

    pub async fn resolve_at(&self, peer: &Peer, rest: &str, now_s: i64) -> Result<super::Artifact, NoAnswer> {
        let reference: Reference = format!("{}/{rest}", peer.name).parse().unwrap();
        Box::pin(self.registry.resolve(&reference, Timestamp::from_second(now_s).unwrap())).await
    }

    /// What the store has of a digest.
    pub async fn held(&self, digest: &Digest) -> Option<Vec<u8>> {
        let blob = self.registry.held(digest).await.unwrap()?;
        Some(all(&blob).await)
    }

    /// The outage that resolving must end in.
    pub async fn outage(&self, peer: &Peer, rest: &str) -> Outage {
        match self.resolve(peer, rest).await {
            Err(NoAnswer::Outage(outage)) => outage,
            other => panic!("expected an outage, got {other:?}"),
        }
    }
}
