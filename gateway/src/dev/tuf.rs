//! A small TUF repository over HTTP, signed with one key, that can also freeze, roll back or lie.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::case::{Digest, Timestamp, canonical_json};

/// The repository and its server; dropping it stops the server.
pub struct TufRepository {
    key: KeyPair,
    shared: Arc<Shared>,
    url: String,
    _stop: DropGuard,
}

#[derive(Default)]
struct Shared {
    files: Mutex<Files>,
    answers: Mutex<Answers>,
    requests: AtomicU64,
}

/// What the repository holds, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// How the repository answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// With what it holds.
    #[default]
    Truly,
    /// With 503.
    Unavailable,
    /// With a body that never ends.
    Endlessly,
}

/// One release of the repository's metadata.
#[derive(Clone, Debug)]
pub struct Release<'a> {
    /// The version of timestamp, snapshot and targets.
    pub version: u64,
    /// When the timestamp expires.
    pub expires: Timestamp,
    /// `trusted_root.json`.
    pub target: &'a [u8],
    /// Another target's name, as hostile as you like.
    pub other_target: Option<&'a str>,
}

impl TufRepository {
    /// An empty repository on loopback.
    ///
    /// # Errors
    /// No port, no random bytes.
    pub async fn start() -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("binding the TUF repository")?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = Router::new().route("/{*path}", get(serve)).with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, routes).with_graceful_shutdown(stopped).await });
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { key, shared, url, _stop: stop.drop_guard() })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often it was asked for anything.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Changes how it answers.
    pub fn answer(&self, answers: Answers) {
        *self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// What it holds now.
    pub fn files(&self) -> Files {
        self.shared.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `files` in the place of everything it holds: an older copy is a rollback.
    pub fn put(&self, files: Files) {
        *self.shared.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// The `root.json` that a client begins with.
    ///
    /// # Errors
    /// Faults of the key.
    pub fn root_json(&self) -> Result<Vec<u8>> {
        let (keyid, key) = self.public_key();
        let role = json!({"keyids": [keyid], "threshold": 1});
        self.signed(&json!({
            "_type": "root", "spec_version": "1.0.0", "version": 1, "expires": FAR_AHEAD, "consistent_snapshot": false,
            "keys": {keyid.as_str(): key},
            "roles": {"root": role, "timestamp": role, "snapshot": role, "targets": role},
        }))
    }

    /// Signs and publishes one release.
    ///
    /// # Errors
    /// Faults of the key.
    pub fn publish(&self, release: &Release<'_>) -> Result<()> {
        let Release { version, expires, target, other_target } = release;
        let entry = |bytes: &[u8]| json!({"length": bytes.len(), "hashes": {"sha256": Digest::of(bytes).hex()}});
        let mut targets = serde_json::Map::from_iter([(TARGET.to_owned(), entry(target))]);
        targets.extend(other_target.map(|name| (name.to_owned(), entry(b"hostile"))));
        let pinned = |bytes: &[u8]| {
            let mut entry = entry(bytes);
            entry["version"] = json!(version);
            entry
        };
        let head = |kind: &str, expires: &str| json!({"_type": kind, "spec_version": "1.0.0", "version": version, "expires": expires});
        let mut document = head("targets", FAR_AHEAD);
        document["targets"] = targets.into();
        let targets = self.signed(&document)?;
        let mut document = head("snapshot", FAR_AHEAD);
        document["meta"] = json!({"targets.json": pinned(&targets)});
        let snapshot = self.signed(&document)?;
        let expires = expires.round(jiff::Unit::Second).context("a date with whole seconds")?;
        let mut document = head("timestamp", &expires.to_string());
        document["meta"] = json!({"snapshot.json": pinned(&snapshot)});
        let timestamp = self.signed(&document)?;
        let mut files = Files::from([
            ("targets.json".into(), targets),
            ("snapshot.json".into(), snapshot),
            ("timestamp.json".into(), timestamp),
            (format!("targets/{TARGET}"), target.to_vec()),
        ]);
        files.extend(other_target.map(|name| (format!("targets/{name}"), b"hostile".to_vec())));
        self.put(files);
        Ok(())
    }

    /// TUF's envelope: the signature is over the canonical JSON of `signed`.
    fn signed(&self, document: &Value) -> Result<Vec<u8>> {
        let signature = self.key.sign(&canonical(document)?)?;
        let (keyid, _) = self.public_key();
        let envelope = json!({"signed": document, "signatures": [{"keyid": keyid, "sig": hex::encode(signature)}]});
        Ok(serde_json::to_vec(&envelope)?)
    }

    fn public_key(&self) -> (String, Value) {
        let key = json!({
            "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": self.key.public_key_pem()},
        });
        (Digest::of(&canonical_json(&key)).hex(), key)
    }
}

/// OLPC's canonical JSON, which TUF signs: RFC 8785's for our documents, but lines in texts end as they are.
fn canonical(document: &Value) -> Result<Vec<u8>> {
    Ok(String::from_utf8(canonical_json(document))?.replace("\\n", "\n").into_bytes())
}

async fn serve(State(shared): State<Arc<Shared>>, Path(path): Path<String>) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let answers = *shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
    match answers {
        Answers::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Answers::Endlessly => {
            let chunks =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 8192])));
            axum::body::Body::from_stream(chunks).into_response()
        }
        Answers::Truly => match shared.files.lock().unwrap_or_else(PoisonError::into_inner).get(&path) {
            Some(bytes) => bytes.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

/// The one target that Sigstore clients look for.
const TARGET: &str = "trusted_root.json";
const FAR_AHEAD: &str = "2999-01-01T00:00:00Z";
