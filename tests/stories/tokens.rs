//! Hosts that cannot show an SVID show a token, and are callers like others; who shows none that holds gets no answer.

use std::time::Duration;

use serde_json::{Value, json};
use witgate::case::Timestamp;
use witgate::config::{Challenge, Clients, Config, RegistryListener};
use witgate::dev::deployment::{self, TRUST_DOMAIN};
use witgate::dev::oidc::OidcIssuer;
use witgate::dev::site::{SiteCa, SiteCertificate};
use witgate::dev::spiffe::{Leaf, SpiffeCa, Svid};
use witgate::dev::tokens::{KeyKind, TokenSigner};
use witgate::identity::{JwtSvidSettings, OidcSettings};
use witgate::registry::UpstreamSettings;
use witgate_tests::{ALIAS, PATIENCE, World, components, door_path};

const AUDIENCE: &str = "https://witgate.example";
const LIFE: Duration = Duration::from_secs(300);

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// What a token's table says, its keys in a file.
fn issuer(name: &str, jwks: &std::path::Path) -> OidcSettings {
    let table = json!({"issuer": name, "audience": AUDIENCE, "caller": "{owner}/{sub}", "jwks": jwks});
    serde_json::from_value(table).unwrap()
}

fn registry_at(address: &str) -> RegistryListener {
    RegistryListener {
        address: address.parse().unwrap(),
        certificate: None,
        key: None,
        clients: Clients::Tokens,
        url: None,
        challenges: vec![Challenge::Basic],
    }
}

/// A gateway that proves its callers by tokens alone: JWT-SVIDs of the embedded CA, and the issuer `ci`.
struct Gate {
    world: World,
    ci: TokenSigner,
}

impl Gate {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let ci = TokenSigner::new("ci-1", KeyKind::Rsa).unwrap();
        let world = World::with(|setup| setup.policy_data = Some(json!({}))).await;
        let registry = world.deployment.registry.host();
        let mut data = deployment::policy_data(&registry);
        // The same registry by a name that a path can hold.
        let named = deployment::policy_data(ALIAS);
        for part in ["grants", "signatures"] {
            let rules = named["witgate"][part].as_array().unwrap().clone();
            data["witgate"][part].as_array_mut().unwrap().extend(rules);
        }
        for rule in data["witgate"]["grants"].as_array_mut().unwrap() {
            rule["callers"] = json!([format!("spiffe://{TRUST_DOMAIN}/host/*"), "oidc:ci/acme/*"]);
        }
        let folder = world.folder().to_owned();
        std::fs::write(folder.join("policy-data/data.json"), data.to_string()).unwrap();
        let (svids, builds) = (folder.join("svids.json"), folder.join("ci.json"));
        std::fs::write(&svids, TokenSigner::jwks(&[world.deployment.ca.tokens()])).unwrap();
        std::fs::write(&builds, TokenSigner::jwks(&[&ci])).unwrap();
        let world = world
            .restart(|config| {
                let identity = config.identity.as_mut().unwrap();
                identity.workload_api = None;
                identity.callers.push("oidc:ci/*".into());
                let jwks = [(TRUST_DOMAIN.to_owned(), svids)].into();
                identity.jwt_svid = Some(JwtSvidSettings { audience: AUDIENCE.into(), jwks, max_life_s: 3600 });
                identity.oidc.insert("ci".into(), issuer("https://ci.example", &builds));
                config.listen.registry = Some(registry_at("127.0.0.1:0"));
                let url = Some(format!("http://{registry}"));
                let alias = UpstreamSettings { url, private: true, insecure_http: true, ..UpstreamSettings::default() };
                config.registry.upstreams.insert(ALIAS.into(), alias);
                config.registry.upstreams.insert(registry, UpstreamSettings::default());
                change(config);
            })
            .await;
        Self { world, ci }
    }

    fn url(&self, path: &str) -> String {
        self.world.deployment.service.callers_url() + path
    }

    fn registry_url(&self, path: &str) -> String {
        self.world.deployment.service.registry_url().unwrap() + path
    }

    fn svid(&self, path: &str) -> String {
        self.world.deployment.ca.token(path, AUDIENCE, Timestamp::now(), LIFE)
    }

    fn build(&self, owner: &str) -> String {
        let end = (Timestamp::now() + LIFE).as_second();
        self.ci
            .token(&json!({"iss": "https://ci.example", "sub": "build", "owner": owner, "aud": AUDIENCE, "exp": end}))
    }

    async fn admit(&self, token: &str, reference: &str) -> (u16, Value) {
        let asked = client().post(self.url("/v1/admissions")).bearer_auth(token).json(&json!({"reference": reference}));
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The record of a decision, as this token's caller reads it.
    async fn record(&self, token: &str, reply: &Value) -> Value {
        let path = format!("/v1/decisions/{}", reply["decision"].as_str().unwrap());
        client().get(self.url(&path)).bearer_auth(token).send().await.unwrap().json().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_admits_as_an_svid_does() {
    let gate = Gate::start(|_| {}).await;
    let reference = gate.world.publish("good", components::command("hello\n")).await.reference;
    let svid = gate.svid("/host/a");
    let (status, reply) = gate.admit(&svid, &reference).await;
    assert_eq!(status, 200, "{reply}");
    let record = gate.record(&svid, &reply).await;
    let host = format!("spiffe://{TRUST_DOMAIN}/host/a");
    assert_eq!(record["case"]["caller"], json!({"kind": "jwt-svid", "id": host, "trust_domain": TRUST_DOMAIN}));
    assert_eq!(record["case"]["host"], json!(host));

    let build = gate.build("acme");
    let (status, reply) = gate.admit(&build, &reference).await;
    assert_eq!(status, 200, "{reply}");
    let record = gate.record(&build, &reply).await;
    assert_eq!(record["case"]["caller"], json!({"kind": "oidc", "id": "oidc:ci/acme/build"}));

    // Proven, and granted nothing: a decision like any other.
    let other = gate.build("other");
    let (status, reply) = gate.admit(&other, &reference).await;
    assert_eq!((status, &reply["reasons"][0]["code"]), (403, &json!("caller-not-granted")), "{reply}");
    let record = gate.record(&other, &reply).await;
    assert_eq!(record["case"]["caller"]["id"], "oidc:ci/other/build");

    gate.world.verify_log().await;
    // A16.5: nothing of a token stands anywhere in the log's files.
    let mut files = 0;
    for entry in std::fs::read_dir(gate.world.folder().join("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            files += 1;
            for part in [&svid, &build, &other].iter().flat_map(|token| token.split('.').skip(1)) {
                assert!(!bytes.windows(part.len()).any(|window| window == part.as_bytes()), "{}", path.display());
            }
        }
    }
    assert!(files > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_1_and_a31_2_tokens_that_prove_nothing_leave_no_trace() {
    let gate = Gate::start(|_| {}).await;
    let reference = gate.world.publish("good", components::command("hello\n")).await.reference;
    let before = gate.world.log_size().await;
    let (now, ca) = (Timestamp::now(), &gate.world.deployment.ca);
    let namesake = SpiffeCa::new(TRUST_DOMAIN, now).unwrap();
    let header = ca.tokens().header();
    let claims =
        json!({"sub": format!("spiffe://{TRUST_DOMAIN}/host/a"), "aud": AUDIENCE, "exp": (now + LIFE).as_second()});
    let headed = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        ca.tokens().sign(&header.to_string(), &claims.to_string())
    };
    let claimed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        ca.tokens().token(&claims)
    };
    let good = gate.svid("/host/a");
    let tokens = [
        ("no token", String::new()),
        ("alg none", headed("alg", json!("none"))),
        ("jwk", headed("jwk", ca.tokens().jwk())),
        ("jku", headed("jku", json!("https://evil.example"))),
        ("x5u", headed("x5u", json!("https://evil.example"))),
        ("crit", headed("crit", json!(["exp"]))),
        ("typ", headed("typ", json!("wit+jwt"))),
        ("kid", headed("kid", json!("other"))),
        ("aud", claimed("aud", json!("https://other.example"))),
        ("no exp", claimed("exp", Value::Null)),
        ("exp far away", claimed("exp", json!((now + LIFE * 1000).as_second()))),
        ("expired", ca.token("/host/a", AUDIENCE, now - LIFE * 2, LIFE)),
        ("two signatures", format!("{good}.{}", good.rsplit_once('.').unwrap().1)),
        ("another CA", namesake.token("/host/a", AUDIENCE, now, LIFE)),
        ("another domain", SpiffeCa::new("evil.example", now).unwrap().token("/host/a", AUDIENCE, now, LIFE)),
        ("no caller", gate.svid("/web/a")),
        ("another issuer", TokenSigner::new("ci-1", KeyKind::Rsa).unwrap().token(&json!({
            "iss": "https://ci.example", "sub": "build", "owner": "acme", "aud": AUDIENCE, "exp": (now + LIFE).as_second(),
        }))),
    ];
    let mut bodies = std::collections::BTreeSet::new();
    for (what, token) in &tokens {
        let asked = client().post(gate.url("/v1/admissions")).json(&json!({"reference": reference}));
        let asked = if token.is_empty() { asked } else { asked.bearer_auth(token) };
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{what}");
        let mut headers = answer.headers().clone();
        headers.remove("date");
        bodies.insert(format!("{headers:?} {}", answer.text().await.unwrap()));
    }
    assert_eq!(bodies.len(), 1, "one answer for every cause: {bodies:?}");
    let many = client();
    for number in 0..300 {
        let token = ca.tokens().token(&json!({"sub": format!("spiffe://{TRUST_DOMAIN}/web/{number}"), "aud": AUDIENCE, "exp": (now + LIFE).as_second()}));
        assert_eq!(many.get(gate.url("/log/checkpoint")).bearer_auth(token).send().await.unwrap().status(), 401);
    }
    assert_eq!(gate.world.log_size().await, before, "an unproven caller cannot grow the log");
    assert_eq!(gate.admit(&good, &reference).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrys_clients_are_told_how_to_be_proven() {
    let gate = Gate::start(|config| {
        let registry = config.listen.registry.as_mut().unwrap();
        registry.url = Some("https://witgate.example".into());
        registry.challenges = vec![Challenge::Basic, Challenge::Bearer];
    })
    .await;
    let ask = async |path: &str, token: Option<&str>| {
        let asked = client().get(gate.registry_url(path));
        let asked = match token {
            Some(token) => asked.basic_auth("anybody", Some(token)),
            None => asked,
        };
        asked.send().await.unwrap()
    };
    let mut answers = std::collections::BTreeSet::new();
    for token in [None, Some("x"), Some(gate.svid("/web/a").as_str())] {
        let answer = ask("/v2/ghcr.io/acme/cart/manifests/1.4", token).await;
        let lines = answer.headers().get_all("www-authenticate").iter().map(|line| line.to_str().unwrap().to_owned());
        let lines = lines.collect::<Vec<_>>().join("\n");
        answers.insert(format!("{}\n{lines}\n{}", answer.status(), answer.text().await.unwrap()));
    }
    assert_eq!(answers.len(), 1, "one answer for every cause");
    insta::assert_snapshot!(answers.pop_first().unwrap(), @r#"
    401 Unauthorized
    Basic realm="witgate"
    Bearer realm="https://witgate.example/token",service="witgate.example",scope="repository:ghcr.io/acme/cart:pull"
    {"errors":[{"code":"UNAUTHORIZED","message":"witgate: show a token: any user name, the token as the password"}]}
    "#);
    let svid = gate.svid("/host/a");
    let answer = ask("/token?service=witgate.example&scope=repository:a/b:pull", Some(&svid)).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
    let handed: Value = answer.json().await.unwrap();
    assert_eq!((&handed["token"], &handed["access_token"]), (&json!(svid), &json!(svid)), "the very token");
    let left = handed["expires_in"].as_u64().unwrap();
    assert!((1..=300).contains(&left), "{left}");
    let issued: Timestamp = handed["issued_at"].as_str().unwrap().parse().unwrap();
    assert!((issued + Duration::from_secs(left)).as_second() <= (Timestamp::now() + LIFE).as_second());

    // containerd sends a form.
    let post =
        async |form: &[(&str, &str)]| client().post(gate.registry_url("/token")).form(form).send().await.unwrap();
    let form = [("grant_type", "password"), ("client_id", "containerd-client"), ("service", "x"), ("username", "u")];
    let answer = post(&[&form[..], &[("password", svid.as_str())]].concat()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["access_token"], json!(svid));
    for form in [
        vec![("grant_type", "password"), ("password", "x")],
        vec![("grant_type", "refresh_token"), ("refresh_token", svid.as_str())],
        vec![("password", svid.as_str())],
        vec![],
    ] {
        let answer = post(&form).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"witgate\"");
    }
    let large = "a".repeat(64 * 1024);
    assert_eq!(post(&[("grant_type", "password"), ("password", large.as_str())]).await.status(), 413);

    // It serves what a registry's clients ask, and nothing else.
    for path in ["/v1/admissions", "/v1/decisions", "/log/checkpoint", "/livez", "/metrics", "/"] {
        assert_eq!(ask(path, Some(&svid)).await.status(), 404, "{path}");
        assert_eq!(ask(path, None).await.status(), 401, "{path}");
    }
}

/// What wash, skopeo and containerd do: Basic with the token as the password, or Bearer with what `/token` gave.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_token_pulls_through_the_registry_listener() {
    let gate = Gate::start(|_| {}).await;
    let wasm = components::command("by token\n");
    let pushed = gate.world.publish("by-token", wasm.clone()).await;
    let manifest = gate.registry_url(&door_path("by-token", "manifests/1.0"));
    let blob = gate.registry_url(&door_path("by-token", &format!("blobs/{}", pushed.component)));
    let ask = async |url: &str, token: &str| client().get(url).basic_auth("u", Some(token)).send().await.unwrap();
    let (svid, build) = (gate.svid("/host/a"), gate.build("acme"));

    // A blob before its manifest is nobody's, and a token of no caller is nobody.
    assert_eq!(ask(&blob, &svid).await.status(), 404);
    for stranger in [gate.svid("/web/a"), "x".into()] {
        for url in [&manifest, &blob] {
            assert_eq!(ask(url, &stranger).await.status(), 401);
        }
    }
    let got = ask(&manifest, &svid).await;
    assert_eq!(got.status(), 200);
    let decision = got.headers()["witgate-decision"].to_str().unwrap().to_owned();
    assert_eq!(got.bytes().await.unwrap(), pushed.manifest_bytes);
    let record = gate.record(&svid, &json!({"decision": decision})).await;
    assert_eq!((&record["case"]["caller"]["kind"], &record["case"]["purpose"]), (&json!("jwt-svid"), &json!("pull")));
    assert_eq!(record["case"]["caller"]["id"], format!("spiffe://{TRUST_DOMAIN}/host/a"));
    assert_eq!(ask(&blob, &svid).await.bytes().await.unwrap(), wasm);
    let bearer = client().get(&blob).bearer_auth(&svid).send().await.unwrap();
    assert_eq!(bearer.bytes().await.unwrap(), wasm);
    assert_eq!(client().head(&blob).basic_auth("u", Some(&svid)).send().await.unwrap().status(), 200);

    // A grant is its caller's alone, whatever else that one may have.
    assert_eq!(ask(&blob, &build).await.status(), 404);
    assert_eq!(ask(&blob, &gate.svid("/host/b")).await.status(), 404);
    assert_eq!(ask(&manifest, &build).await.status(), 200);
    assert_eq!(ask(&blob, &build).await.bytes().await.unwrap(), wasm);
    // Nobody grants anything to this owner: on a registry that we lend access to it hears of nothing.
    let other = gate.build("other");
    assert_eq!(
        (ask(&manifest, &other).await.status(), ask(&blob, &other).await.status()),
        (404.try_into().unwrap(), 404.try_into().unwrap())
    );
    // What wkg asks before it can prove anything.
    let known = client().get(gate.registry_url("/.well-known/wasm-pkg/registry.json")).send().await.unwrap();
    assert_eq!(known.status(), 404, "two upstreams, and no prefix configured");
}

fn pair(folder: &std::path::Path, pair: &SiteCertificate) -> RegistryListener {
    use std::os::unix::fs::PermissionsExt as _;

    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&certificate, &pair.certificate_pem).unwrap();
    std::fs::write(&key, &pair.key_pem).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    RegistryListener { certificate: Some(certificate), key: Some(key), ..registry_at("127.0.0.1:0") }
}

/// A client that knows the gateway by its DNS name and believes the site's CA alone.
fn named(ca: &SiteCa, url: &str, svid: Option<&Svid>) -> (reqwest::Client, String) {
    let address: std::net::SocketAddr = url.strip_prefix("https://").unwrap().parse().unwrap();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .resolve("witgate.example", address)
        .tls_certs_only([reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap()]);
    let builder = match svid {
        Some(svid) => {
            let pem = format!("{}{}", svid.key_pem, svid.chain_pem);
            builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
        }
        None => builder,
    };
    (builder.build().unwrap(), format!("https://witgate.example:{}", address.port()))
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_reach_the_registry_listener_by_its_name() {
    let site = SiteCa::new().unwrap();
    let certified = site.certify(&["witgate.example"], Timestamp::now() - LIFE, LIFE * 20).unwrap();
    let gate = Gate::start(|config| config.listen.registry = Some(pair(&config.data_dir, &certified))).await;
    let url = gate.world.deployment.service.registry_url().unwrap();
    let (client, base) = named(&site, &url, None);
    assert_eq!(client.get(format!("{base}/v2/")).send().await.unwrap().status(), 401);
    let svid = gate.svid("/host/a");
    let handed = client.get(format!("{base}/token")).basic_auth("u", Some(&svid)).send().await.unwrap();
    assert_eq!(handed.json::<Value>().await.unwrap()["token"], json!(svid));
    let (stranger, base) = named(&SiteCa::new().unwrap(), &url, None);
    assert!(stranger.get(format!("{base}/v2/")).send().await.is_err(), "the wrong CA");
    let plain = self::client().get(base.replace("https://witgate.example", "http://127.0.0.1") + "/v2/").send().await;
    assert!(plain.is_err(), "plain HTTP is not answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn svids_may_be_asked_of_a_registrys_clients() {
    let site = SiteCa::new().unwrap();
    let certified = site.certify(&["witgate.example"], Timestamp::now() - LIFE, LIFE * 20).unwrap();
    let world = World::start().await;
    let world = world
        .restart(|config| {
            let registry = pair(&config.data_dir, &certified);
            config.listen.registry = Some(RegistryListener { clients: Clients::Svids, ..registry });
        })
        .await;
    let url = world.deployment.service.registry_url().unwrap();
    let svid = world.deployment.ca.issue("/host/a", &Leaf::new(Timestamp::now())).unwrap();
    let (client, base) = named(&site, &url, Some(&svid));
    assert_eq!(
        client.get(format!("{base}/v1/admissions")).send().await.unwrap().status(),
        404,
        "proven, and no such route"
    );
    let (client, base) = named(&site, &url, None);
    assert!(client.get(format!("{base}/v2/")).send().await.is_err(), "no certificate");
    let other = world.deployment.ca.issue("/web/a", &Leaf::new(Timestamp::now())).unwrap();
    let (client, base) = named(&site, &url, Some(&other));
    assert!(client.get(format!("{base}/v2/")).send().await.is_err(), "no caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_away_is_told_to_operators() {
    let asked = OidcIssuer::start(&[&TokenSigner::new("ci-2", KeyKind::P256).unwrap()]).await.unwrap();
    let (name, ca) = (asked.issuer(), asked.ca_pem().to_owned());
    asked.say(|says| says.fault = Some(witgate::dev::oidc::IssuerFault::Status(500)));
    let gate = Gate::start(|config| {
        let file = config.data_dir.join("issuer-ca.pem");
        std::fs::write(&file, ca).unwrap();
        let table = json!({"issuer": name, "audience": AUDIENCE, "caller": "{sub}", "ca": file, "private": true});
        config.identity.as_mut().unwrap().oidc.insert("away".into(), serde_json::from_value(table).unwrap());
    })
    .await;
    let ready = client().get(gate.world.deployment.service.administration_url() + "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200, "other callers are served");
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready["degraded"][0]["name"], "away", "{ready}");
    assert_eq!(
        client()
            .get(gate.registry_url("/token"))
            .basic_auth("u", Some(gate.svid("/host/a")))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}
