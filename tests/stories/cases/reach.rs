//! A registry that sends us elsewhere, or asks for our credential there.

use std::time::Instant;

use bytes::Bytes;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER, policy_data};
use witgate::dev::registry::push::{self, ConfigClaims, Pushed};
use witgate::dev::registry::{Auth, DevRegistry, Fault, Match, Options, Rule, Target};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{ALIAS, Reply, World, components};

use super::{hands_nothing_over, kept, serves_the_next};

/// A registry that wants a credential, as it is called at the door.
const GUARDED: &str = "guarded.test";
/// What must go to that registry alone.
const PASSWORD: &str = "MARKED-pd93kf83jd02";
const IMPATIENT: &str =
    "[registry]\nidle_timeout_ms = 2000\nmetadata_timeout_ms = 3000\nslow_start_ms = 1500\nconnect_timeout_ms = 1000\n";

/// The guarded registry, a store of blobs that it may send to, and somebody that it may not.
struct Scene {
    world: World,
    guarded: DevRegistry,
    store: DevRegistry,
    stranger: DevRegistry,
    auth: Auth,
}

impl Scene {
    async fn with(auth: Auth) -> Self {
        let guarded = DevRegistry::start(Options { auth: auth.clone(), ..Options::default() }).await.unwrap();
        let store = DevRegistry::start(Options::default()).await.unwrap();
        let stranger = DevRegistry::start(Options::default()).await.unwrap();
        let (host, store_host) = (guarded.host(), store.host());
        let world = World::behind_the_door(|setup| {
            let file = setup.folder.join("password");
            std::fs::write(&file, PASSWORD).unwrap();
            let mut data = policy_data(ALIAS);
            for rules in ["signatures", "grants"] {
                data["witgate"][rules][0]["references"] = serde_json::json!(["*"]);
            }
            setup.policy_data = Some(data);
            setup.more = format!(
                "{IMPATIENT}[registry.upstreams.\"{GUARDED}\"]\nurl = \"http://{host}\"\nprivate = true\ninsecure_http = true\n\
                 username = \"marked-user\"\npassword_file = \"{}\"\nredirect_hosts = [\"{store_host}\"]\n",
                file.display()
            );
        })
        .await;
        Self { world, guarded, store, stranger, auth }
    }

    async fn publish(&self, name: &str) -> Pushed {
        let (host, repository) = (self.guarded.host(), format!("demo/{name}"));
        let claims = ConfigClaims::default();
        let pushed = push::component(&host, &repository, "1.0", wasm(name), claims, &self.auth).await.unwrap();
        let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
        let bundle = self.world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
        push::bundle(&host, &repository, &pushed, &bundle, None, &self.auth).await.unwrap();
        pushed
    }

    async fn pull(&self, name: &str, rest: &str) -> Reply {
        let reply = self.world.host.get(&format!("/v2/{GUARDED}/demo/{name}/{rest}")).await;
        let told = format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.bytes));
        assert!(!told.contains(PASSWORD) && !told.contains("marked-user"), "a credential is told: {told}");
        reply
    }

    /// The registry is to blame; nothing of it is on the record, in the store, or sent; asked again once it is honest it is
    /// admitted.
    async fn is_outage(&self, name: &str, fault: &Fault) -> String {
        let component = Digest::of(&wasm(name));
        let size = self.world.log_size().await;
        let reply = self.pull(name, "manifests/1.0").await;
        hands_nothing_over(&reply);
        assert_eq!((reply.status, reply.error_code()), (503, "UNAVAILABLE"), "{name} {fault:?}: {}", reply.body);
        assert_eq!(reply.body["errors"][0]["detail"]["peer"], "registry", "{name}: {}", reply.body);
        assert!(reply.message().contains(GUARDED), "{name}: {}", reply.message());
        let blob = self.pull(name, &format!("blobs/{component}")).await;
        assert_eq!((blob.status, blob.error_code()), (404, "BLOB_UNKNOWN"), "{name}: {}", blob.body);
        assert_eq!(self.world.log_size().await, size, "{name}: an outage is no decision");
        kept(&self.world);
        reply.message().to_owned()
    }

    /// A token for `demo/NAME` that the guarded registry takes.
    async fn token(&self, name: &str) -> String {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/token?scope=repository:demo/{name}:pull", self.guarded.host());
        let answer = client.get(url).basic_auth("marked-user", Some(PASSWORD)).send().await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Nobody but the guarded registry was shown anything, and the stranger was not even asked.
    fn stayed_inside(&self) {
        assert_eq!(self.stranger.requests().len(), 0, "a stranger was asked: {:?}", self.stranger.requests());
        for request in self.store.requests() {
            assert!(request.authorization.is_none(), "the store was shown a credential: {request:?}");
            let headers = format!("{:?} {:?}", request.headers, request.query);
            assert!(!headers.contains(PASSWORD), "the store was shown a credential: {headers}");
        }
        // What is not the registry's own never came to it either: a caller's identity or headers.
        assert!(self.guarded.requests().iter().all(|request| !format!("{:?}", request.headers).contains("spiffe://")));
    }
}

fn wasm(name: &str) -> Bytes {
    components::command(&format!("{name}\n")).into()
}

fn basic() -> Auth {
    Auth::Basic { username: "marked-user".into(), password: PASSWORD.into() }
}

fn bearer() -> Auth {
    Auth::Bearer { username: "marked-user".into(), password: PASSWORD.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_13_a16_2_a17_2_a_redirect_leads_to_listed_hosts_only_and_never_with_the_credential() {
    let scene = Scene::with(basic()).await;
    let (stranger, store) = (scene.stranger.host(), scene.store.host());
    let port = stranger.rsplit(':').next().unwrap().to_owned();
    let targets = [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://{stranger}/v2/x/blobs/y"),
        format!("https://{stranger}/v2/x/blobs/y"),
        format!("//{stranger}/v2/x/blobs/y"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://{store}@{stranger}/"),
        format!("http://u:p@{store}/blob"),
        format!("http://{store}.{stranger}/"),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:70/".to_owned(),
        "http://".to_owned(),
        String::new(),
    ];
    for (number, target) in targets.iter().enumerate() {
        for status in [301, 307] {
            let name = format!("away-{number}-{status}");
            scene.publish(&name).await;
            let fault = Fault::Redirect { location: target.clone(), status };
            let layers = Match::on(Target::Layer).repository(format!("demo/{name}")).method(http::Method::GET);
            scene.guarded.inject(Rule::new(layers, fault.clone()));
            scene.is_outage(&name, &fault).await;
            scene.guarded.heal();
            assert_eq!(scene.pull(&name, "manifests/1.0").await.status, 200, "{target}: honest again");
        }
    }
    // A manifest is sent nowhere, not even to the listed host or along the registry itself.
    for (name, target) in [
        ("to-store", format!("http://{store}/v2/x/manifests/1")),
        ("to-self", "/v2/demo/to-store/manifests/1.0".into()),
    ] {
        scene.publish(name).await;
        let fault = Fault::Redirect { location: target, status: 307 };
        scene.guarded.inject(Rule::new(Match::on(Target::Manifest).repository(format!("demo/{name}")), fault.clone()));
        let told = scene.is_outage(name, &fault).await;
        assert!(told.contains("only blobs"), "{told}");
        scene.guarded.heal();
    }
    assert_eq!(scene.store.requests().len(), 0);
    // Round and round within what is listed: three steps and no more.
    scene.publish("round").await;
    let to_store = Fault::Redirect { location: format!("http://{store}/v2/x/blobs/round"), status: 307 };
    let blobs = Match::on(Target::Blob).repository("demo/round").method(http::Method::GET);
    scene.guarded.inject(Rule::new(blobs, to_store.clone()));
    scene.store.inject(Rule::new(Match::on(Target::Any), Fault::Redirect { location: "/again".into(), status: 302 }));
    let told = scene.is_outage("round", &to_store).await;
    assert!(told.contains("more than 3 redirects"), "{told}");
    let steps = scene.store.requests().len();
    assert!((1..=9).contains(&steps), "config, component and bundle, three steps each at most: {steps}");
    scene.stayed_inside();
    scene.guarded.heal();
    assert_eq!(scene.pull("round", "manifests/1.0").await.status, 200);
    serves_the_next(&scene.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_a16_1_a16_4_no_realm_but_the_registrys_own_is_shown_the_password_and_no_odd_token_is_used() {
    let scene = Scene::with(bearer()).await;
    let (stranger, own) = (scene.stranger.host(), scene.guarded.host());
    let port = stranger.rsplit(':').next().unwrap().to_owned();
    let challenge = |realm: &str| Fault::Challenge {
        www_authenticate: format!("Bearer realm=\"{realm}\",service=\"x\",scope=\"repository:demo/other:pull,push\""),
    };
    for (number, realm) in [
        format!("http://{stranger}/token"),
        format!("https://{stranger}/token"),
        format!("http://{own}@{stranger}/token"),
        format!("http://u:p@{own}/token"),
        format!("http://localhost:{port}/token"),
        format!("http://2130706433:{port}/token"),
        format!("http://{own}.{stranger}/token"),
        "http://169.254.169.254/token".into(),
        "https://auth.example/token".into(),
        "//auth.example/token".into(),
        "/token".into(),
        "file:///etc/passwd".into(),
        String::new(),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("realm-{number}");
        scene.publish(&name).await;
        let fault = challenge(realm);
        scene.guarded.inject(Rule::new(Match::on(Target::Any).repository(format!("demo/{name}")), fault.clone()));
        let shown = scene.guarded.requests().len();
        scene.is_outage(&name, &fault).await;
        let since = scene.guarded.requests().split_off(shown);
        assert!(since.iter().all(|request| request.path != "/token"), "{realm}: {since:?}");
        scene.guarded.heal();
    }
    for (number, body) in [
        "{\"token\":\"a\\r\\nX-Evil: 1\"}".to_owned(),
        "{\"token\":\"a b\\u0000\"}".to_owned(),
        "{\"token\":\"\"}".to_owned(),
        "{\"token\":\"a\",\"token\":\"b\"}".to_owned(),
        "{\"access_token\":1}".to_owned(),
        "[]".to_owned(),
        "<html>".to_owned(),
        String::new(),
        // Whole, and by far too much.
        format!("{{\"token\":\"{}\"}}", "t".repeat(100 << 20)),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("token-{number}");
        scene.publish(&name).await;
        scene.guarded.expire_tokens();
        let fault = Fault::TokenBody(Bytes::from(body));
        scene.guarded.inject(Rule::new(Match::on(Target::Token), fault.clone()));
        scene.is_outage(&name, &fault).await;
        scene.guarded.heal();
        assert_eq!(scene.pull(&name, "manifests/1.0").await.status, 200, "token {number}: honest again");
    }
    // A good token whose life is no number of seconds is not used; one that is said to be good for ever is asked for again all
    // the same, once the registry no longer takes it.
    for (number, (life, is_taken)) in [
        ("-1", false),
        ("1e999", false),
        ("1.5", false),
        ("18446744073709551616", false),
        ("\"3600\"", false),
        ("0", true),
        ("9223372036854775807", true),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("life-{number}");
        let pushed = scene.publish(&name).await;
        let bought = scene.token(&name).await;
        let body = Fault::TokenBody(Bytes::from(format!("{{\"token\":\"{bought}\",\"expires_in\":{life}}}")));
        scene.guarded.inject(Rule::new(Match::on(Target::Token), body.clone()));
        match is_taken {
            true => assert_eq!(scene.pull(&name, "manifests/1.0").await.status, 200, "{life}"),
            false => drop(scene.is_outage(&name, &body).await),
        }
        scene.guarded.heal();
        scene.guarded.expire_tokens();
        let again = scene.pull(&name, "manifests/1.0").await;
        assert_eq!(again.status, 200, "{life}: {}", again.body);
        assert_eq!(scene.pull(&name, &format!("blobs/{}", pushed.component)).await.status, 200, "{life}");
    }
    scene.stayed_inside();
    serves_the_next(&scene.world).await;
}

/// A17.1: a name of no table costs nobody a question, DNS included: nothing waits.
#[tokio::test(flavor = "multi_thread")]
async fn a17_1_no_name_in_a_path_or_namespace_reaches_out() {
    let scene = Scene::with(Auth::Open).await;
    let stranger = scene.stranger.host();
    let start = Instant::now();
    for name in [
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "localhost:22",
        "2130706433",
        "0177.0.0.1",
        "registry.example",
        &stranger,
    ] {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in [
            format!("/v2/{name}/demo/x/manifests/1.0"),
            format!("/v2/demo/x/manifests/1.0?ns={encoded}"),
            format!("/v2/demo/x/manifests/1.0?ns={name}"),
            format!("/v2/{name}/demo/x/tags/list"),
        ] {
            let reply = scene.world.host.get(&path).await;
            hands_nothing_over(&reply);
            assert!(matches!(reply.status, 400 | 404), "{path}: {}", reply.body);
        }
    }
    assert!(start.elapsed().as_secs() < 5, "somebody was waited for");
    scene.stayed_inside();
    assert_eq!(scene.store.requests().len() + scene.guarded.requests().len(), 0);
    serves_the_next(&scene.world).await;
}
