//! A source of bundles against a real server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as SyncMutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::super::archive::{Files, pack};
use super::super::{Algorithm, KeySettings, Signer};
use super::*;

/// What the server answers now, and what it was asked with.
#[derive(Clone, Default)]
struct Server {
    status: Arc<SyncMutex<u16>>,
    etag: Arc<SyncMutex<Option<String>>>,
    body: Arc<SyncMutex<Vec<u8>>>,
    asked: Arc<SyncMutex<Vec<HeaderMap>>>,
}

impl Server {
    async fn start() -> (Self, Url) {
        let server = Self::default();
        server.answers(200, &[]);
        let router = Router::new().route("/team.tar.gz", axum::routing::get(answer)).with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/team.tar.gz", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, url)
    }

    fn answers(&self, status: u16, body: &[u8]) {
        *self.status.lock().unwrap() = status;
        *self.body.lock().unwrap() = body.to_vec();
    }

    fn tag(&self, etag: &str) {
        *self.etag.lock().unwrap() = Some(etag.to_owned());
    }

    fn last_asked(&self, name: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        asked.last().unwrap().get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

async fn answer(State(server): State<Server>, headers: HeaderMap) -> Response<Body> {
    let etag = server.etag.lock().unwrap().clone();
    let unchanged = etag.is_some() && headers.get("if-none-match").and_then(|tag| tag.to_str().ok()) == etag.as_deref();
    server.asked.lock().unwrap().push(headers);
    let status = if unchanged { 304 } else { *server.status.lock().unwrap() };
    let mut response = Response::builder().status(status);
    if let Some(etag) = etag {
        response = response.header("etag", etag);
    }
    if status == 302 {
        response = response.header("location", "/team.tar.gz");
    }
    match status {
        // A head, and never a body.
        299 => {
            response.status(200).body(Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()))
        }
        304 => response.body(Body::empty()),
        _ => response.body(Body::from(server.body.lock().unwrap().clone())),
    }
    .unwrap()
}

struct Team {
    folder: tempfile::TempDir,
    signer: Signer,
    settings: Settings,
}

impl Team {
    fn new(url: &Url) -> Self {
        // As `main` does; another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let file = folder.path().join("release.pub");
        std::fs::write(&file, pair.public_key_pem()).unwrap();
        let key = KeySettings { file, algorithm: Algorithm::Es256, scope: String::new() };
        let keys = BTreeMap::from([("release".to_owned(), key)]);
        let signer = Signer::from_pem("k", pair.serialize_pem().as_bytes(), None).unwrap();
        Self { folder, signer, settings: Settings { url: Some(url.clone()), keys, ..Settings::default() } }
    }

    fn source(&self) -> HttpSource {
        HttpSource::new(&self.settings).unwrap().unwrap()
    }
}

fn unsigned(rule: &str) -> Vec<u8> {
    let text = format!("package witgate.admission\n\n{rule}\n");
    pack(&Files::from([("a.rego".to_owned(), text.into_bytes())])).unwrap()
}

async fn fault(source: &HttpSource) -> LoadError {
    source.look().await.unwrap_err()
}

#[tokio::test]
async fn a_bundle_comes_once_and_again_when_it_changed() {
    let (server, url) = Server::start().await;
    let team = Team::new(&url);
    let source = team.source();
    server.answers(200, &team.signer.sign(&unsigned("admit := false")).unwrap());
    server.tag("\"one\"");
    let fetched = source.look().await.unwrap().unwrap();
    assert_eq!(fetched.candidate.facts().name, "team");
    assert_eq!(fetched.candidate.signed_by(), Some("release"));
    assert!(fetched.candidate.compile().is_ok());
    // It is not in force yet: a bundle that does not compile is not one that is there.
    assert!(source.look().await.unwrap().is_some());
    source.taken(&fetched).await;
    assert!(source.look().await.unwrap().is_none());
    assert_eq!(server.last_asked("if-none-match").as_deref(), Some("\"one\""));
    server.answers(200, &team.signer.sign(&unsigned("admit := true")).unwrap());
    server.tag("\"two\"");
    let changed = source.look().await.unwrap().unwrap();
    assert_ne!(changed.candidate.facts().digest, fetched.candidate.facts().digest);
}

#[tokio::test]
async fn what_is_no_bundle_is_told_and_nothing_is_remembered_of_it() {
    let (server, url) = Server::start().await;
    let team = Team::new(&url);
    let source = team.source();
    let good = team.signer.sign(&unsigned("admit := false")).unwrap();
    for status in [404, 500, 302, 401, 204] {
        server.answers(status, &good);
        let found = fault(&source).await;
        let known = matches!(&found, LoadError::Source(SourceFault::Status { status: told }) if *told == status);
        assert!(known, "{status} gave {found}");
    }
    server.answers(304, &[]);
    assert!(matches!(fault(&source).await, LoadError::Source(SourceFault::NothingBefore)));
    server.answers(200, &vec![0x1f; MAX_PACKED_BYTES + 1]);
    assert!(matches!(fault(&source).await, LoadError::Source(SourceFault::TooLarge { .. })));
    server.answers(200, &unsigned("admit := true"));
    let signature = |error| matches!(error, LoadError::Bundle(BundleFault::Signature(_)));
    assert!(signature(fault(&source).await));
    server.answers(200, &Team::new(&url).signer.sign(&unsigned("admit := true")).unwrap());
    assert!(signature(fault(&source).await), "another's signature was believed");
    server.answers(200, &good[..good.len() / 2]);
    assert!(matches!(fault(&source).await, LoadError::Bundle(BundleFault::Archive { .. })));
    server.answers(200, &good);
    assert!(source.look().await.unwrap().is_some());
    assert_eq!(server.last_asked("if-none-match"), None);
}

#[tokio::test]
async fn a_server_that_is_slow_or_away_is_not_waited_for() {
    let (server, url) = Server::start().await;
    let team = Team::new(&url);
    server.answers(299, &[]);
    let source = HttpSource::within(&team.settings, Duration::from_millis(200)).unwrap().unwrap();
    let LoadError::Source(SourceFault::Transport(error)) = fault(&source).await else { panic!("it was waited for") };
    assert!(error.is_timeout());
    let away = Team::new(&Url::parse("http://127.0.0.1:1/team.tar.gz?secret").unwrap());
    let error = fault(&away.source()).await;
    assert!(!crate::outage::chain(&error).contains("secret"), "{error:?}");
    assert!(matches!(error, LoadError::Source(SourceFault::Transport(_))));
}

#[tokio::test]
async fn a_token_is_sent_and_shown_to_nobody_else() {
    let (server, url) = Server::start().await;
    let mut team = Team::new(&url);
    let file = team.folder.path().join("token");
    team.settings.token_file = Some(file.clone());
    let source = team.source();
    server.answers(200, &team.signer.sign(&unsigned("admit := false")).unwrap());
    for text in ["", "a b", "a\nb", "é", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
        std::fs::write(&file, text).unwrap();
        assert!(matches!(fault(&source).await, LoadError::Source(SourceFault::Token { .. })));
    }
    assert!(server.asked.lock().unwrap().is_empty(), "somebody was asked without a token");
    std::fs::write(&file, "s3cret\n").unwrap();
    assert!(source.look().await.unwrap().is_some());
    assert_eq!(server.last_asked("authorization").as_deref(), Some("Bearer s3cret"));
    assert!(!format!("{source:?}").contains("s3cret"));
}

#[tokio::test]
async fn settings_that_would_believe_a_server_are_refused() {
    let team = Team::new(&Url::parse("https://policy.example/bundle.tar.gz").unwrap());
    assert!(HttpSource::new(&team.settings).is_ok());
    assert!(HttpSource::new(&Settings::default()).unwrap().is_none());
    for url in [
        "http://policy.example/b.tar.gz",
        "http://10.0.0.1/b.tar.gz",
        "https://user:password@policy.example/b.tar.gz",
        "https://policy.example/b.tar.gz#x",
        "https://0.0.0.0/b.tar.gz",
        "file:///etc/b.tar.gz",
        "oci://registry.example/policy:1",
    ] {
        let settings = Settings { url: Some(Url::parse(url).unwrap()), ..team.settings.clone() };
        assert!(matches!(HttpSource::new(&settings), Err(LoadError::Source(_))), "`{url}` was taken");
    }
    let unsigned = Settings { require_signature: Some(false), ..team.settings.clone() };
    assert!(matches!(HttpSource::new(&unsigned), Err(LoadError::Source(_))));
    let no_keys = Settings { keys: BTreeMap::new(), ..team.settings.clone() };
    assert!(matches!(HttpSource::new(&no_keys), Err(LoadError::Bundle(_))));
    let both = Settings { dir: Some("policies".into()), ..team.settings.clone() };
    assert!(matches!(HttpSource::new(&both), Err(LoadError::Source(_))));
    let no_ca = Settings { ca: Some(team.settings.keys["release"].file.clone()), ..team.settings.clone() };
    assert!(matches!(HttpSource::new(&no_ca), Err(LoadError::Source(_))));
    // A URL that nobody fetches from must not be taken for the embedded policies.
    assert!(matches!(Candidate::read(&team.settings), Err(LoadError::Source(_))));
}
