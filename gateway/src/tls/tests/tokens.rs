//! Callers that show tokens: on plain loopback, under a DNS name, and beside an SVID.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use super::*;
use crate::dev::site::SiteCa;
use crate::dev::tokens::{KeyKind, TokenSigner};
use crate::identity::{JwtSvidSettings, OidcSettings, Tokens};
use crate::tls::{App, Certificate, Wire};

const AUDIENCE: &str = "https://witgate.example";
const HOST: &str = "spiffe://gate.example/host/a";

/// A judge whose keys lie in files, and a listener that goes by it.
struct Desk {
    world: World,
    ci: TokenSigner,
    tokens: Arc<Tokens>,
    address: SocketAddr,
    _folder: TempDir,
}

/// What a listener is to be made of.
type Make<'a> = &'a dyn Fn(&World, &Arc<Tokens>) -> Door;

impl Desk {
    async fn start(door: Make<'_>) -> Self {
        let world = World::start().await;
        let folder = TempDir::new().unwrap();
        let ci = TokenSigner::new("ci-1", KeyKind::P256).unwrap();
        let file = |name: &str, signer: &TokenSigner| {
            let path = folder.path().join(name);
            std::fs::write(&path, TokenSigner::jwks(&[signer])).unwrap();
            path
        };
        let table = json!({"issuer": "https://ci.example", "audience": AUDIENCE, "caller": "{sub}"});
        let issuer: OidcSettings = serde_json::from_value(table).unwrap();
        let settings = Settings {
            trust_domains: vec!["gate.example".into()],
            callers: vec!["spiffe://gate.example/host/*".into(), "oidc:ci/*".into()],
            workload_api: None,
            files: None,
            jwt_svid: Some(JwtSvidSettings {
                audience: AUDIENCE.into(),
                jwks: [("gate.example".to_owned(), file("gate.json", world.ca.tokens()))].into(),
                max_life_s: 3600,
            }),
            oidc: [("ci".to_owned(), OidcSettings { jwks: Some(file("ci.json", &ci)), ..issuer })].into(),
            sync_timeout_ms: 3_000,
        };
        let tokens = Arc::new(Tokens::start(&settings, None).await.unwrap().unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = door(&world, &tokens);
        let app: App = Router::new().fallback(seen).into();
        tokio::spawn(serve_within(Limits::default(), listener, door, app, world.shutdown.clone()));
        Self { world, ci, tokens, address, _folder: folder }
    }

    /// A JWT-SVID of a host, good for five minutes.
    fn token(&self, path: &str) -> String {
        self.world.ca.token(path, AUDIENCE, Timestamp::now(), Duration::from_secs(300))
    }

    fn build(&self) -> String {
        let end = Timestamp::now().as_second() + 300;
        self.ci.token(&json!({"iss": "https://ci.example", "sub": "build", "aud": AUDIENCE, "exp": end}))
    }

    async fn plain(&self) -> Connection<TcpStream> {
        Connection(TcpStream::connect(self.address).await.unwrap())
    }

    async fn ask_plain(&self, headers: &str) -> Reply {
        ask_with(&mut self.plain().await, headers).await
    }
}

async fn ask_with<S: AsyncReadExt + AsyncWriteExt + Unpin>(connection: &mut Connection<S>, headers: &str) -> Reply {
    connection.send(&format!("GET /who HTTP/1.1\r\nhost: gate\r\n{headers}\r\n")).await.unwrap();
    connection.reply().await.unwrap()
}

/// Tells who asks, and whether the token can be seen by a handler.
async fn seen(caller: Option<Extension<Caller>>, request: Request) -> String {
    let header = if request.headers().contains_key("authorization") { " with a header" } else { "" };
    caller.map_or("nobody".to_owned(), |Extension(caller)| caller.facts().id.clone()) + header
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

fn basic(token: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(format!("witgate:{token}")))
}

fn loopback(_: &World, tokens: &Arc<Tokens>) -> Door {
    Door::Tokens(Arc::clone(tokens), Wire::Loopback)
}

#[tokio::test]
async fn a_token_makes_the_caller_of_its_request() {
    let desk = Desk::start(&loopback).await;
    let served = |id: &str| Reply { status: 200, body: id.to_owned() };
    assert_eq!(desk.ask_plain(&bearer(&desk.token("/host/a"))).await, served(HOST));
    assert_eq!(desk.ask_plain(&basic(&desk.token("/host/a"))).await, served(HOST));
    assert_eq!(desk.ask_plain(&bearer(&desk.build())).await, served("oidc:ci/build"));
    // One connection, several callers: each request is its own.
    let mut connection = desk.plain().await;
    assert_eq!(ask_with(&mut connection, &bearer(&desk.token("/host/a"))).await, served(HOST));
    assert_eq!(ask_with(&mut connection, "").await.status, 401);
    assert_eq!(ask_with(&mut connection, &basic(&desk.build())).await, served("oidc:ci/build"));
}

#[tokio::test]
async fn b17_every_cause_is_answered_alike() {
    let desk = Desk::start(&loopback).await;
    let expected = r#"{"type":"about:blank","title":"Unauthorized","status":401}"#;
    let expired =
        desk.world.ca.token("/host/a", AUDIENCE, Timestamp::now() - Duration::from_secs(600), Duration::from_secs(300));
    let elsewhere = desk.world.ca.token("/host/a", "https://other.example", Timestamp::now(), Duration::from_secs(300));
    let forged = SpiffeCa::new("gate.example", Timestamp::now()).unwrap();
    let forged = forged.token("/host/a", AUDIENCE, Timestamp::now(), Duration::from_secs(300));
    for (headers, cause) in [
        (String::new(), None),
        (bearer("x"), Some("token-malformed")),
        ("authorization: Bearer\r\n".into(), Some("authorization-unreadable")),
        ("authorization: Digest x\r\n".into(), Some("authorization-unreadable")),
        (basic(""), Some("authorization-unreadable")),
        (bearer(&expired), Some("token-expired")),
        (bearer(&elsewhere), Some("token-audience")),
        (basic(&forged), Some("token-signature")),
        (basic(&desk.token("/web/a")), Some("not-a-caller")),
        (
            bearer(&desk.world.fed.token("/a", AUDIENCE, Timestamp::now(), Duration::from_secs(300))),
            Some("token-subject"),
        ),
        (bearer(&"a".repeat(9000)), Some("token-too-large")),
    ] {
        let mut connection = desk.plain().await;
        connection.send(&format!("GET /who HTTP/1.1\r\nhost: gate\r\n{headers}\r\n")).await.unwrap();
        let reply = connection.reply().await.unwrap();
        assert_eq!(reply, Reply { status: 401, body: expected.into() }, "{headers}");
        if let Some(cause) = cause {
            desk.world.logs.say(cause).await;
        }
    }
    let log = desk.world.logs.all();
    for secret in [&expired, &elsewhere, &forged] {
        for part in secret.split('.') {
            assert!(!log.contains(part), "a token's part is in the log");
        }
    }
}

#[tokio::test]
async fn a15_3_two_headers_are_a_bad_request() {
    let desk = Desk::start(&loopback).await;
    let good = bearer(&desk.token("/host/a"));
    for headers in
        [format!("{good}{good}"), format!("{}{good}", basic(&desk.build())), format!("authorization: \r\n{good}")]
    {
        let reply = desk.ask_plain(&headers).await;
        assert_eq!(reply.status, 400, "{reply:?}");
    }
    // On a connection that is proven already, too.
    let mtls = Desk::start(&|world, _| Door::Mtls(Mtls::by_svid(Arc::clone(&world.identity), None))).await;
    let mut connection = connect(mtls.address, reckless(Some(keyed(&mtls.world.host("/host/a"))))).await.unwrap();
    assert_eq!(ask_with(&mut connection, &format!("{good}{good}")).await.status, 400);
}

#[tokio::test]
async fn a_token_ends_while_its_connection_lives() {
    let desk = Desk::start(&loopback).await;
    let now = Timestamp::now();
    let token = desk.world.ca.token("/host/a", AUDIENCE, now, Duration::from_secs(4));
    let end = Timestamp::from_second((now + Duration::from_secs(4)).as_second()).unwrap();
    let mut connection = desk.plain().await;
    assert_eq!(ask_with(&mut connection, &bearer(&token)).await.status, 200);
    let mut often = tokio::time::interval(Duration::from_millis(50));
    let refused = async {
        while ask_with(&mut connection, &bearer(&token)).await.status == 200 {
            assert!(Timestamp::now() < end + Duration::from_secs(1), "served long after its end");
            often.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(Timestamp::now() >= end, "refused before its end");
    assert_eq!(ask_with(&mut connection, &bearer(&desk.token("/host/a"))).await.status, 200, "a fresh one goes on");
}

#[tokio::test]
async fn beside_an_svid_a_token_names_the_same_identity() {
    let mtls = |world: &World, tokens: &Arc<Tokens>| {
        Door::Mtls(Mtls::by_svid(Arc::clone(&world.identity), Some(Arc::clone(tokens))))
    };
    let desk = Desk::start(&mtls).await;
    let svid = desk.world.host("/host/a");
    let mut connection = connect(desk.address, reckless(Some(keyed(&svid)))).await.unwrap();
    assert_eq!(ask_with(&mut connection, "").await, Reply { status: 200, body: HOST.into() });
    let same = ask_with(&mut connection, &bearer(&desk.token("/host/a"))).await;
    assert_eq!(same, Reply { status: 200, body: HOST.into() });
    for (headers, cause) in [
        (bearer(&desk.token("/host/b")), "another-identity"),
        (bearer(&desk.build()), "another-identity"),
        (bearer("x"), "token-malformed"),
        ("authorization: Digest x\r\n".into(), "authorization-unreadable"),
    ] {
        assert_eq!(ask_with(&mut connection, &headers).await.status, 401, "{headers}");
        desk.world.logs.say(cause).await;
    }
    assert_eq!(ask_with(&mut connection, "").await.status, 200, "the connection stays the peer's");
    // Where no tokens are taken, the header has no meaning.
    let without = Desk::start(&|world, _| Door::Mtls(Mtls::by_svid(Arc::clone(&world.identity), None))).await;
    let mut connection = connect(without.address, reckless(Some(keyed(&without.world.host("/host/a"))))).await.unwrap();
    let ignored = ask_with(&mut connection, &bearer(&without.token("/host/b"))).await;
    assert_eq!(ignored, Reply { status: 200, body: HOST.into() });
}

/// A CA that hosts believe, with the files of a listener.
struct Site {
    ca: SiteCa,
    folder: TempDir,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Site {
    fn new() -> Self {
        let site = Self { ca: SiteCa::new().unwrap(), folder: TempDir::new().unwrap() };
        site.renew("witgate.example");
        site
    }

    /// Writes another certificate for `name`; gives its DER.
    fn renew(&self, name: &str) -> Vec<u8> {
        self.renew_for(&[name], Timestamp::now() - HOUR, HOUR * 2)
    }

    fn renew_for(&self, names: &[&str], from: Timestamp, life: Duration) -> Vec<u8> {
        let pair = self.ca.certify(names, from, life).unwrap();
        self.write("tls.key", &pair.key_pem);
        self.write("tls.crt", &pair.certificate_pem);
        pair.der
    }

    /// A key that belongs to no certificate here.
    fn other_key(&self) -> String {
        self.ca.certify(&["x"], Timestamp::now(), HOUR).unwrap().key_pem
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;

        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    async fn read(&self) -> Result<Arc<Certificate>, crate::tls::CertificateFault> {
        let path = |name: &str| self.folder.path().join(name);
        let pace = crate::identity::Pace { poll: Duration::from_millis(20), settle: Duration::from_millis(5) };
        Certificate::read_at(&path("tls.crt"), &path("tls.key"), Timestamp::now(), pace).await
    }

    /// A client that believes this CA alone, and shows `key`.
    fn client(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        key: Option<CertifiedKey>,
    ) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match key {
            Some(key) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        }
    }
}

async fn connect_to(
    name: &'static str,
    address: SocketAddr,
    config: rustls::ClientConfig,
) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    let connecting =
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream);
    Ok(Connection(tokio::time::timeout(PATIENCE, connecting).await??))
}

#[tokio::test]
async fn hosts_without_svids_know_us_by_name() {
    let site = Site::new();
    let certificate = site.read().await.unwrap();
    let desk = Desk::start(&|_, tokens| Door::Tokens(Arc::clone(tokens), Wire::Tls(certificate.server_config()))).await;
    let mut connection =
        connect_to("witgate.example", desk.address, site.client(rustls::ALL_VERSIONS, None)).await.unwrap();
    assert_eq!(connection.0.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(ask_with(&mut connection, "").await.status, 401);
    let served = ask_with(&mut connection, &basic(&desk.token("/host/a"))).await;
    assert_eq!(served, Reply { status: 200, body: HOST.into() });
    // A client certificate is not asked for, and proves nothing.
    let key = keyed(&desk.world.host("/host/b"));
    let config = site.client(rustls::ALL_VERSIONS, Some(key));
    let mut connection = connect_to("witgate.example", desk.address, config).await.unwrap();
    assert_eq!(ask_with(&mut connection, "").await.status, 401);
    let elsewhere = connect_to("other.example", desk.address, site.client(rustls::ALL_VERSIONS, None)).await;
    assert!(elsewhere.is_err(), "another name than the certificate's");
    let old = connect_to("witgate.example", desk.address, site.client(&[&rustls::version::TLS12], None)).await;
    assert!(old.is_err(), "TLS 1.2");
    assert!(desk.tokens.degraded(Timestamp::now()).is_empty());
}

#[tokio::test]
async fn svids_may_be_asked_for_under_a_name() {
    let site = Site::new();
    let certificate = site.read().await.unwrap();
    let door = |world: &World, tokens: &Arc<Tokens>| {
        let identity = Arc::clone(&world.identity);
        Door::Mtls(Mtls::by_name(identity, Some(Arc::clone(tokens)), &certificate).unwrap())
    };
    let desk = Desk::start(&door).await;
    let with = |svid: &Svid| site.client(rustls::ALL_VERSIONS, Some(keyed(svid)));
    let mut connection = connect_to("witgate.example", desk.address, with(&desk.world.host("/host/a"))).await.unwrap();
    assert_eq!(ask_with(&mut connection, "").await, Reply { status: 200, body: HOST.into() });
    assert_eq!(ask_with(&mut connection, &bearer(&desk.token("/host/b"))).await.status, 401);
    let nobody = async |config| match connect_to("witgate.example", desk.address, config).await {
        Ok(mut connection) => connection.ask().await.is_err(),
        Err(_) => true,
    };
    assert!(nobody(site.client(rustls::ALL_VERSIONS, None)).await, "without a certificate");
    assert!(nobody(with(&desk.world.host("/web/a"))).await, "not among the callers");
    let namesake = SpiffeCa::new("gate.example", Timestamp::now()).unwrap();
    assert!(nobody(with(&namesake.issue("/host/a", &Leaf::new(Timestamp::now())).unwrap())).await, "another CA");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown() {
    let site = Site::new();
    let certificate = site.read().await.unwrap();
    let config = certificate.server_config();
    let pace = crate::identity::Pace { poll: Duration::from_millis(20), settle: Duration::from_millis(5) };
    let desk = Desk::start(&|_, tokens| Door::Tokens(Arc::clone(tokens), Wire::Tls(Arc::clone(&config)))).await;
    let following = tokio::spawn(certificate.follow_at(pace));
    let shown = async || {
        let config = site.client(rustls::ALL_VERSIONS, None);
        let connection = connect_to("witgate.example", desk.address, config).await.unwrap();
        connection.0.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    let next = site.renew("witgate.example");
    desk.world.logs.say("the listener's certificate changed").await;
    assert!(shown().await == next && first != next);
    // What cannot be used changes nothing, and is told once.
    site.write("tls.crt", "-----BEGIN CERTIFICATE-----");
    desk.world.logs.say("holds no PEM certificate").await;
    site.write("tls.key", &site.other_key());
    assert!(shown().await == next);
    site.renew_for(&["witgate.example"], Timestamp::now() - HOUR * 2, HOUR);
    desk.world.logs.say("is valid from").await;
    assert!(shown().await == next);
    following.abort();
}

#[tokio::test]
async fn a_listener_starts_with_a_usable_certificate_only() {
    use std::os::unix::fs::PermissionsExt;

    use crate::tls::CertificateFault;

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let site = Site::new();
    let now = Timestamp::now();
    site.renew_for(&[], now - HOUR, HOUR * 2);
    assert!(matches!(site.read().await, Err(CertificateFault::NoName { .. })));
    site.renew_for(&["witgate.example"], now + HOUR, HOUR);
    assert!(matches!(site.read().await, Err(CertificateFault::Time { .. })));
    site.renew_for(&["127.0.0.1"], now - HOUR, HOUR * 2);
    site.read().await.unwrap();
    let key = site.folder.path().join("tls.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let open = site.read().await;
    assert!(matches!(open, Err(CertificateFault::File(crate::identity::FileFault::OpenKey { .. }))));
    site.write("tls.key", &site.other_key());
    let mixed = site.read().await;
    assert!(matches!(mixed, Err(CertificateFault::File(crate::identity::FileFault::KeyMismatch))));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(site.read().await, Err(CertificateFault::File(_))));
    // certbot's links lead to another folder.
    let linked = Site::new();
    let elsewhere = TempDir::new().unwrap();
    for name in ["tls.crt", "tls.key"] {
        std::fs::rename(linked.folder.path().join(name), elsewhere.path().join(name)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join(name), linked.folder.path().join(name)).unwrap();
    }
    linked.read().await.unwrap();
}
