//! The doors: what operators and auditors read, how errors look, what never comes out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use witgate::audit::tlog::{Checkpoint, ProofFile, Tree, TrustPolicy, leaf_hash};
use witgate::case::Timestamp;
use witgate::dev::deployment::{self, ISSUER, SIGNER};
use witgate::dev::registry::push::{self, ConfigClaims};
use witgate::dev::registry::{Auth, DevRegistry, Fault, Match, Options, Rule, Target};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{Reply, World, components, provider};

async fn administration(world: &World, path: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(format!("{}{path}", world.deployment.service.administration_url())).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_health_and_metrics_and_nothing_else() {
    let world = World::with(|setup| setup.metrics = Arc::new(|| "witgate_story 1\n".to_owned())).await;
    let alive = administration(&world, "/livez").await;
    assert_eq!((alive.status().as_u16(), alive.text().await.unwrap().as_str()), (200, "ok\n"));
    let ready = administration(&world, "/readyz").await;
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.json::<Value>().await.unwrap(), json!({"ready": true, "missing": [], "degraded": []}));
    let metrics = administration(&world, "/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(metrics.text().await.unwrap(), "witgate_story 1\n");
    for path in ["/v1/decisions", "/log/checkpoint", "/v1/components/x", "/"] {
        let answer = administration(&world, path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (404, &"application/problem+json".parse().unwrap()),
            "{path}"
        );
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(world.host.get(path).await.status, 404, "{path} is not for callers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_routes_and_methods_are_problems() {
    let world = World::start().await;
    let before = world.log_size().await;
    let method = |name: &str| reqwest::Method::from_bytes(name.as_bytes()).unwrap();
    let cases = [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/admissions/", 404),
        ("POST", "/v1//admissions", 404),
        ("GET", "/v1/admissions", 405),
        ("PUT", "/v1/admissions", 405),
        ("DELETE", "/v1/decisions/%230", 405),
        ("POST", "/v1/decisions", 405),
        ("PATCH", "/v1/components/sha256:00", 405),
        ("POST", "/log/checkpoint", 405),
        ("GET", "/log/tile/../../audit.key", 404),
        ("GET", "/log/tile/0/999", 404),
        ("GET", "/log/tile/x/000", 400),
    ];
    for (verb, path, status) in cases {
        let request = world.host.client().request(method(verb), world.host.url(path));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{verb} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{verb} {path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], status, "{verb} {path}: {problem}");
    }
    assert_eq!(world.log_size().await, before);
}

/// Two decisions: one admission, one refusal.
async fn two_decisions(world: &World) -> (Reply, Reply) {
    let good = world.publish("good", components::command("hello\n")).await;
    let greedy = world.publish("greedy", components::greedy("hello\n")).await;
    let admitted = world.host.admit(&good.reference).await;
    let refused = world.host.admit(&greedy.reference).await;
    assert_eq!((admitted.status, refused.status), (200, 403));
    (admitted, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_found_by_id_prefix_index_and_page() {
    let world = World::start().await;
    let (admitted, refused) = two_decisions(&world).await;
    let record = world.decision(refused.decision()).await;
    let index = record["index"].as_u64().unwrap();
    assert_eq!(world.decision(&format!("%23{index}")).await, record);
    let upper = refused.decision().to_uppercase();
    assert_eq!(world.decision(&upper).await, record);
    let unique = (4..=36).map(|digits| &refused.decision()[..digits]).filter(|prefix| !prefix.ends_with('-'));
    let mut found = false;
    for prefix in unique {
        let answer = world.host.get(&format!("/v1/decisions/{prefix}")).await;
        match answer.status {
            200 => assert_eq!(answer.body, record, "{prefix}"),
            status => assert!(status == 422 && !found, "{prefix}: {}", answer.body),
        }
        found |= answer.status == 200;
    }
    assert!(found);
    // Ids begin with the time: all of one world share their first digits.
    let shared = world.host.get(&format!("/v1/decisions/{}", &admitted.decision()[..4])).await;
    assert_eq!(shared.status, 422, "{}", shared.body);
    assert!(shared.body["hint"].is_string(), "{}", shared.body);
    for (selector, status) in [
        ("01a", 422),
        ("xyz0", 422),
        ("%23x", 422),
        ("%2301", 422),
        ("%23-1", 422),
        ("' OR 1=1", 422),
        ("%2399999", 404),
        ("ffffffff", 404),
        (&*Uuid::now_v7().to_string(), 404),
    ] {
        let answer = world.host.get(&format!("/v1/decisions/{selector}")).await;
        assert_eq!(answer.status, status, "{selector}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }

    let all = world.host.get("/v1/decisions").await;
    let all = all.body["decisions"].as_array().unwrap().clone();
    assert_eq!(all.len() as u64, world.log_size().await);
    let mut paged: Vec<Value> = Vec::new();
    let mut path = "/v1/decisions?limit=1".to_owned();
    loop {
        let page = world.host.get(&path).await;
        let decisions = page.body["decisions"].as_array().unwrap();
        assert!(decisions.len() <= 1);
        paged.extend(decisions.iter().cloned());
        match page.body["after"].as_u64() {
            Some(after) => path = format!("/v1/decisions?limit=1&after={after}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    let refusals = world.host.get("/v1/decisions?verdict=refuse").await;
    assert_eq!(refusals.body["decisions"], json!([record]));
    for narrow in ["limit=x", "verdict=maybe", "after=-1", "unknown=1", "limit=1&limit=2"] {
        let answer = world.host.get(&format!("/v1/decisions?{narrow}")).await;
        assert!(matches!(answer.status, 400 | 422), "{narrow}: {}", answer.status);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{narrow}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_checkpoint_and_tiles_verify_offline() {
    let world = World::start().await;
    let (admitted, refused) = two_decisions(&world).await;
    let vkey = world.deployment.service.gate().audit.vkey().parse().unwrap();
    let trust = TrustPolicy::of_log(vkey);
    let note = world.host.get("/log/checkpoint").await;
    let checkpoint: Checkpoint = trust.verify(&note.bytes).unwrap();
    assert_eq!(checkpoint.size, world.log_size().await);

    let width = checkpoint.size;
    let bundle = world.host.get(&format!("/log/tile/entries/000.p/{width}")).await;
    assert_eq!(bundle.status, 200);
    let mut rest = &bundle.bytes[..];
    let (mut tree, mut entries) = (Tree::default(), Vec::new());
    while let [high, low, behind @ ..] = rest {
        let (entry, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        tree.push(leaf_hash(entry), &mut Vec::new());
        entries.push(entry.to_vec());
        rest = behind;
    }
    assert_eq!((tree.size(), tree.root()), (checkpoint.size, checkpoint.root));
    let tile = world.host.get(&format!("/log/tile/0/000.p/{width}")).await;
    let leaves: Vec<u8> = entries.iter().flat_map(|entry| leaf_hash(entry)).collect();
    assert_eq!(&tile.bytes[..], &leaves[..]);

    for reply in [&admitted, &refused] {
        let proof = world.host.get(&format!("/v1/decisions/{}/proof", reply.decision())).await;
        assert_eq!(proof.headers["content-type"], "text/plain; charset=utf-8");
        let proof: ProofFile = std::str::from_utf8(&proof.bytes).unwrap().parse().unwrap();
        assert_eq!(json!(proof.index), reply.body["receipt"]["index"]);
        let entry = &entries[usize::try_from(proof.index).unwrap()];
        assert_eq!(proof.verify(entry, &trust).unwrap(), checkpoint);
        let other = &entries[usize::try_from(proof.index - 1).unwrap()];
        assert!(proof.verify(other, &trust).is_err(), "a proof of another entry");
        let stated: Value = serde_json::from_slice(entry).unwrap();
        assert_eq!(stated, world.decision(reply.decision()).await["entry"]);
    }
    let unknown = world.host.get(&format!("/v1/decisions/{}/proof", Uuid::now_v7())).await;
    assert_eq!(unknown.status, 404);
}

/// What changes from run to run, made the same.
fn filters(world: &World) -> Vec<(String, String)> {
    vec![
        (world.deployment.registry.host().replace('.', r"\."), "REGISTRY".into()),
        ("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}".into(), "UUID".into()),
        ("sha256:[0-9a-f]{64}".into(), "sha256:DIGEST".into()),
        ("[0-9a-f]{64}".into(), "HEX".into()),
        (r"[A-Za-z0-9+/]{80,}={0,2}".into(), "BASE64".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reads_well() {
    let world = World::start().await;
    let pushed = world.publish("greedy", components::greedy("hello\n")).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert_eq!(reply.headers["witgate-decision"], reply.decision());
    let filters = filters(&world);
    insta::with_settings!({filters => filters.iter().map(|(from, to)| (from.as_str(), to.as_str()))}, {
        insta::assert_snapshot!(serde_json::to_string_pretty(&reply.body).unwrap(), @r#"
        {
          "artifact": "sha256:DIGEST",
          "decision": "UUID",
          "detail": "refused `REGISTRY/demo/greedy:1.0`: 3 reasons",
          "hint": "see the evidence with `witgate explain UUID`",
          "reasons": [
            {
              "about": "wasi:sockets/network@0.2.12",
              "code": "import-not-granted",
              "detail": "not granted to `spiffe://demo.witgate.example/host/a`",
              "hint": "grant it in `imports` of the caller's grant rule, or build the component without it"
            },
            {
              "about": "wasi:sockets/tcp-create-socket@0.2.12",
              "code": "import-not-granted",
              "detail": "not granted to `spiffe://demo.witgate.example/host/a`",
              "hint": "grant it in `imports` of the caller's grant rule, or build the component without it"
            },
            {
              "about": "wasi:sockets/tcp@0.2.12",
              "code": "import-not-granted",
              "detail": "not granted to `spiffe://demo.witgate.example/host/a`",
              "hint": "grant it in `imports` of the caller's grant rule, or build the component without it"
            }
          ],
          "receipt": {
            "index": 1,
            "leaf_hash": "HEX",
            "origin": "witgate.local/audit/1",
            "tree_size": 2
          },
          "reference": "REGISTRY/demo/greedy:1.0",
          "status": 403,
          "title": "Forbidden",
          "type": "about:blank"
        }
        "#);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_reads_well() {
    let world = World::start().await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["cache-control"], "no-store");
    let filters = filters(&world);
    insta::with_settings!({filters => filters.iter().map(|(from, to)| (from.as_str(), to.as_str()))}, {
        insta::assert_snapshot!(serde_json::to_string_pretty(&reply.body).unwrap(), @r#"
        {
          "artifact": "sha256:DIGEST",
          "component": {
            "digest": "sha256:DIGEST",
            "media_type": "application/wasm",
            "size_bytes": 2550
          },
          "decision": "UUID",
          "grants": {
            "config": [],
            "imports": [
              "wasi:cli/stdout@0.2.12",
              "wasi:io/error@0.2.12",
              "wasi:io/streams@0.2.12"
            ],
            "lifetime_s": 3600,
            "limits": {
              "fuel": 10000000000,
              "memory_bytes": 67108864,
              "timeout_ms": 30000
            },
            "links": []
          },
          "receipt": {
            "index": 1,
            "leaf_hash": "HEX",
            "origin": "witgate.local/audit/1",
            "tree_size": 2
          },
          "reference": "REGISTRY/demo/good:1.0",
          "ticket": {
            "payload": "BASE64",
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [
              {
                "keyid": "HEX",
                "sig": "BASE64"
              }
            ]
          },
          "verdict": "admit",
          "warnings": []
        }
        "#);
    });
}

/// Everything the process logs from here on, whatever its level.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<String>>);

impl Heard {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

struct Writing<'a>(&'a mut String);

impl tracing::field::Visit for Writing<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        let _ = write!(self.0, " {field}={value}");
    }
}

impl tracing::Subscriber for Heard {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        // The transports' own traces are not written anywhere by `serve`, and may well show what they carry.
        metadata.target().starts_with("witgate")
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut Writing(&mut self.0.lock().unwrap()));
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Writing(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Writing(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A16.5: the credentials of an upstream stand in no answer, no record, no file and no log line.
#[tokio::test(flavor = "multi_thread")]
async fn a16_5_secrets_stay_inside() {
    provider();
    let heard = Heard::default();
    tracing::subscriber::set_global_default(heard.clone()).expect("no other story listens to the whole process");
    const PASSWORD: &str = "MARKED-kd83jf02mvla";
    let credential = || ("marked-user".to_owned(), PASSWORD.to_owned());
    for is_bearer in [false, true] {
        let (username, password) = credential();
        let auth = match is_bearer {
            true => Auth::Bearer { username, password },
            false => Auth::Basic { username, password },
        };
        let registry = DevRegistry::start(Options { auth: auth.clone(), ..Options::default() }).await.unwrap();
        let host = registry.host();
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, PASSWORD).unwrap();
        let world = World::with(|setup| {
            setup.policy_data = Some(deployment::policy_data(&host));
            setup.more = format!(
                "[registry.upstreams.\"{host}\"]\nurl = \"http://{host}\"\nprivate = true\ninsecure_http = true\n\
                 username = \"marked-user\"\npassword_file = \"{}\"\n",
                password_file.display()
            );
        })
        .await;
        let wasm = Bytes::from(components::command("hello\n"));
        let pushed =
            push::component(&host, "acme/secret", "1.0", wasm.clone(), ConfigClaims::default(), &auth).await.unwrap();
        let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
        let bundle = world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
        let kind = Some("https://sigstore.dev/cosign/sign/v1");
        push::bundle(&host, "acme/secret", &pushed, &bundle, kind, &auth).await.unwrap();
        push::component(&host, "acme/unsigned", "1.0", wasm, ConfigClaims::default(), &auth).await.unwrap();
        push::component(&host, "acme/broken", "1.0", Bytes::from_static(b"x"), ConfigClaims::default(), &auth)
            .await
            .unwrap();

        let mut said = String::new();
        let mut ask = async |reference: String, expected: u16| {
            let reply = world.host.admit(&reference).await;
            assert_eq!(reply.status, expected, "{}", reply.body);
            let _ = write!(said, "{:?} {}", reply.headers, reply.body);
        };
        ask(format!("{host}/acme/secret:1.0"), 200).await;
        ask(format!("{host}/acme/unsigned:1.0"), 403).await;
        ask(format!("{host}/acme/broken:1.0"), 403).await;
        ask(format!("{host}/acme/missing:1.0"), 404).await;
        let echo = Fault::Status { code: 500, body: Bytes::from_static(b"it failed"), headers: vec![] };
        registry.inject(Rule::new(Match::on(Target::Manifest), echo));
        ask(format!("{host}/acme/failing:1.0"), 503).await;
        registry.heal();
        let elsewhere = r#"Bearer realm="http://169.254.169.254/token",service="x""#.to_owned();
        registry.inject(Rule::new(Match::on(Target::Any), Fault::Challenge { www_authenticate: elsewhere }));
        ask(format!("{host}/acme/challenged:1.0"), 503).await;
        registry.heal();
        std::fs::write(&password_file, format!("{PASSWORD}-but-wrong")).unwrap();
        registry.expire_tokens();
        ask(format!("{host}/acme/refused:1.0"), 503).await;

        // What was shown to the registry: the password, the tokens it bought, their base64.
        let shown: BTreeSet<String> = registry
            .requests()
            .iter()
            .filter_map(|request| request.authorization.as_deref()?.split_once(' ').map(|(_, value)| value.to_owned()))
            .chain([PASSWORD.to_owned()])
            .collect();
        assert!(shown.len() >= 2, "credentials were used");
        said.push_str(&world.host.get("/v1/decisions?limit=500").await.body.to_string());
        said.push_str(&administration(&world, "/metrics").await.text().await.unwrap());
        said.push_str(&administration(&world, "/readyz").await.text().await.unwrap());
        let logged = heard.text();
        assert!(logged.contains("acme/failing"), "the log is heard");
        let data = files(&world.deployment.config.data_dir);
        assert!(data.len() > 3, "log, cache and keys");
        for secret in &shown {
            assert!(!said.contains(secret.as_str()), "an answer holds a secret");
            assert!(!logged.contains(secret.as_str()), "a log line holds a secret");
            for (path, bytes) in &data {
                let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!holds, "`{}` holds a secret", path.display());
            }
        }
        let debug = format!("{:?} {:?}", world.deployment.config, world.deployment.service.gate().registry);
        assert!(!debug.contains(PASSWORD));
    }
}

/// Every file below `folder` with its bytes.
fn files(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}
