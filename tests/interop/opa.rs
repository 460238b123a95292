//! The shipped policies under Open Policy Agent itself: checked, tested, and deciding the same cases as our evaluator.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate::case::Case;
use witgate::policy::Rules;

use crate::process::Process;
use crate::{program, run, succeed, witgate};

const SHOP: &str = "spiffe://prod.example/ns/shop";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const WORKFLOW: &str = "https://github.com/acme/cart/.github/workflows/release.yml@refs/tags/v1";

fn policies() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("policies")
}

fn opa() -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_OPA"));
    command.current_dir(policies()).env_clear();
    command
}

#[test]
fn opa_takes_every_policy_in_its_strict_mode() {
    succeed(opa().args(["check", "--strict", "."]));
}

#[test]
fn opa_passes_the_same_tests() {
    let theirs = run(opa().args(["test", ".", "--format", "json"]));
    let theirs: Vec<Value> = serde_json::from_slice(&theirs.stdout).unwrap();
    let failed: Vec<_> = theirs.iter().filter(|test| test["fail"] == true || test.get("error").is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let theirs: BTreeSet<_> =
        theirs.iter().map(|test| format!("{}.{}", text(&test["package"]), text(&test["name"]))).collect();
    let folder = tempfile::tempdir().unwrap();
    let ours = succeed(witgate(folder.path()).args(["policy", "test"]).arg(policies()).args(["--output", "json"]));
    let ours: Value = serde_json::from_str(&ours).unwrap();
    let ours: BTreeSet<_> = ours["results"].as_array().unwrap().iter().map(|test| text(&test["name"])).collect();
    assert_eq!(ours, theirs);
    assert!(ours.len() > 190, "{}", ours.len());
}

/// One question with the data it is asked over.
struct Question {
    name: String,
    case: Case,
    data: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn opa_decides_every_case_alike() {
    let questions = questions();
    let server = Server::start().await;
    let (mut differ, mut admitted, mut codes) = (Vec::new(), 0, BTreeSet::new());
    let (mut our_time, mut their_time) = (Vec::new(), Vec::new());
    let mut decided = 0;
    let mut current: Option<(&Value, Option<Rules>)> = None;
    for Question { name, case, data } in &questions {
        if current.as_ref().is_none_or(|(loaded, _)| *loaded != data) {
            // What is refused when it is loaded cannot be decided.
            let rules = Rules::embedded(data).ok();
            if let Some(rules) = &rules {
                server.load(&rules.data()["witgate"]).await;
            }
            current = Some((data, rules));
        }
        let Some((_, Some(rules))) = &current else { continue };
        decided += 1;
        // The first evaluation makes the machine.
        rules.answer(case).unwrap_or_else(|error| panic!("{name}: {error}"));
        let begin = Instant::now();
        let ours = plain(rules.answer(case).unwrap());
        our_time.push(begin.elapsed());
        let (theirs, time) = server.answer(case).await;
        their_time.push(time);
        let theirs = plain(theirs);
        for field in ["admit", "refuse", "warn", "grants"] {
            if ours[field] != theirs[field] {
                differ.push(format!("{name}: `{field}`\n  ours   {}\n  theirs {}", ours[field], theirs[field]));
            }
        }
        admitted += usize::from(ours["admit"] == true);
        let reasons = [&ours["refuse"], &ours["warn"]].into_iter().filter_map(Value::as_array).flatten();
        codes.extend(reasons.map(|reason| reason["code"].as_str().unwrap().to_owned()));
    }
    assert!(differ.is_empty(), "{} of {decided} differ\n{}", differ.len(), differ.join("\n"));
    assert!(decided >= 300 && admitted >= 15 && admitted < decided, "{admitted} of {decided} admitted");
    for code in CODES {
        assert!(codes.contains(*code), "no case gives `{code}`");
    }
    println!(
        "{decided} cases, {admitted} admitted, {} codes; evaluation, median: ours {:?} (in process, with the input parsed), OPA {:?} (its own \
         timer_rego_query_eval_ns, input parsed before)",
        codes.len(),
        median(our_time),
        median(their_time),
    );
}

/// What the cases have to give between them, so that both evaluators have been on those paths.
const CODES: &[&str] = &[
    "attestation-missing",
    "break-glass",
    "break-glass-denied",
    "caller-not-granted",
    "component-too-large",
    "environment-mismatch",
    "exempted",
    "exemption-expired",
    "exemption-invalid",
    "host-not-caller",
    "identity-mismatch",
    "import-denied",
    "import-new",
    "issuer-mismatch",
    "link-not-granted",
    "no-verified-signature",
    "revoked",
    "signature-too-old",
    "threshold-not-met",
    "version-rollback",
];

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Sets are lists in JSON, in an order of each evaluator's own.
fn plain(mut answer: Value) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => {
                items.iter_mut().for_each(sort);
                items.sort_by_key(Value::to_string);
            }
            Value::Object(fields) => fields.values_mut().for_each(sort),
            _ => {}
        }
    }
    sort(&mut answer);
    answer
}

/// OPA's own server with the shipped policies.
struct Server {
    _process: Process,
    client: reqwest::Client,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = opa();
        command.args(["run", "--server", "--disable-telemetry", "--log-level", "error", "--addr", &address]);
        for entry in std::fs::read_dir(policies()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".rego") && !name.ends_with("_test.rego") {
                command.arg(name);
            }
        }
        let url = format!("http://{address}");
        let process = Process::start(&mut command, &format!("{url}/health")).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { _process: process, client, url }
    }

    /// Puts the lists that `witgate` holds, and takes away the others.
    async fn load(&self, witgate: &Value) {
        for list in LISTS {
            let url = format!("{}/v1/data/witgate/{list}", self.url);
            let answer = match witgate.get(*list) {
                Some(value) => self.client.put(url).json(value).send().await.unwrap(),
                None => self.client.delete(url).send().await.unwrap(),
            };
            let status = answer.status().as_u16();
            assert!(status == 204 || status == 404 && witgate.get(*list).is_none(), "{list}: {status}");
        }
    }

    async fn answer(&self, case: &Case) -> (Value, Duration) {
        let url = format!("{}/v1/data/witgate/admission?metrics", self.url);
        let answer = self.client.post(url).json(&json!({"input": case})).send().await.unwrap();
        let mut answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let time = answer["metrics"]["timer_rego_query_eval_ns"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        let result = answer["result"].take();
        let field = |name: &str, default: Value| result.get(name).cloned().unwrap_or(default);
        let answer = json!({"admit": field("admit", json!(false)), "refuse": field("refuse", json!([])),
            "warn": field("warn", json!([])), "grants": field("grants", Value::Null)});
        (answer, Duration::from_nanos(time))
    }
}

/// Every list that data may have.
const LISTS: &[&str] = &[
    "break_glass",
    "callers",
    "environments",
    "exemptions",
    "grants",
    "import_rules",
    "limits",
    "provenance",
    "sboms",
    "signatures",
    "summaries",
    "versions",
    "vulnerabilities",
    "wascap",
];

fn import(name: &str) -> Value {
    let (base, version) = name.split_once('@').map_or((name, None), |(base, version)| (base, Some(version)));
    let mut import =
        json!({"name": name, "track": witgate_host_hook::import_name::track(name), "kind": "instance", "items": []});
    if let Some((package, interface)) = base.split_once('/') {
        import["package"] = package.into();
        import["interface"] = interface.into();
    }
    if let Some(version) = version {
        import["version"] = version.into();
    }
    import
}

/// A case that [`data`] admits.
fn case() -> Value {
    let digest = format!("sha256:{}", "0".repeat(64));
    json!({
        "version": "case/v1", "id": "00000000-0000-0000-0000-000000000000", "time": "2026-01-01T00:00:00Z",
        "scope": {"tenant": "default", "environment": "prod"}, "mode": "enforce", "purpose": "admission",
        "caller": {"kind": "x509-svid", "id": SHOP, "trust_domain": "prod.example"}, "host": SHOP, "links": ["db"],
        "reference": {"text": "ghcr.io/acme/cart:1.4", "upstream": "ghcr.io", "repository": "acme/cart", "tag": "1.4"},
        "artifact": {
            "digest": digest, "media_type": "application/vnd.oci.image.manifest.v1+json", "size_bytes": 8,
            "annotations": {"org.opencontainers.image.version": "1.4.0"},
            "component": {"digest": digest, "size_bytes": 9, "media_type": "application/wasm"}, "defects": [],
        },
        "evidence": {"trust": [], "looked_in": ["referrers-api"], "findings": [{
            "status": "verified", "kind": "signature", "trust": "public", "times": ["2025-12-31T00:00:00Z"],
            "source": {"via": "referrers-api", "name": "sha256:good"},
            "signer": {"kind": "keyless", "issuer": GITHUB, "san": {"kind": "uri", "value": WORKFLOW},
                "claims": {"build_trigger": "push", "runner_environment": "github-hosted"}},
        }]},
        "surface": {"status": "component", "digest": digest, "exports": [],
            "imports": [import("wasi:cli/stdout@0.2.3"), import("wasi:io/poll@0.2.3")]},
        "previous": {"decision": "00000000-0000-0000-0000-000000000000", "time": "2025-12-01T00:00:00Z", "artifact": digest,
            "version": "1.3.0", "imports": ["wasi:cli/stdout@0.2.0", "wasi:io/poll@0.2.0"]},
    })
}

fn data() -> Value {
    json!({"witgate": {
        "signatures": [{"references": ["ghcr.io/acme/*"], "environments": ["prod"], "identities": [
            {"issuer": GITHUB, "san": {"kind": "uri", "value": "https://github.com/acme/*"}, "claims": {"build_trigger": "push"}},
            {"key": "release"},
            {"issuer": "https://accounts.example", "san": {"kind": "email", "regExp": "ci-[0-9]+@acme\\.example"}},
        ]}],
        "callers": [{"callers": ["spiffe://prod.example/ns/*"], "labels": {"env": "prod", "team": "shop"}}],
        "grants": [
            {"callers": ["spiffe://prod.example/ns/*", "local"], "references": ["ghcr.io/acme/*"], "environments": ["prod"],
             "imports": ["wasi:cli/*", "wasi:io/poll@0.2.0"], "hosts": ["spiffe://prod.example/host/*"],
             "limits": {"memory_bytes": 1_000_000, "fuel": 5_000}, "lifetime_s": 60},
            {"references": ["ghcr.io/acme/cart"], "links": ["db"], "config": [{"key": "colour", "value": "blue"}], "selector": {
                "matchLabels": {"team": "shop"}, "matchExpressions": [
                    {"key": "env", "operator": "In", "values": ["prod", "stage"]},
                    {"key": "zone", "operator": "DoesNotExist"},
                    {"key": "team", "operator": "NotIn", "values": ["cart"]},
                    {"key": "team", "operator": "Exists"}]}},
        ],
        "versions": [{"references": ["ghcr.io/acme/*"], "minimum": "1.2.0"}],
        "limits": [{"references": ["*"], "max_component_bytes": 100, "max_signature_age_s": 172_800}],
        "environments": [
            {"environment": "prod", "references": ["ghcr.io/acme/*"], "callers": ["spiffe://prod.example/*"]},
            {"environment": "dev", "references": ["ghcr.io/acme-dev/*"], "callers": ["spiffe://dev.example/*"]},
        ],
        "import_rules": [{"references": ["*"], "new_imports": "refuse", "watch": ["wasi:sockets/*", "wasi:io/*"],
            "deny": ["wasi:sockets/udp", {"pattern": "wasi:http/*", "range": ">=0.2.0 <0.2.2"}], "reason": "not here"}],
        "exemptions": [{"id": "EX-1", "scope": {"tenant": "default", "environment": "prod"}, "references": ["ghcr.io/acme/*"],
            "codes": ["version-rollback"], "owner": "team-shop", "approved_by": "security",
            "reason": "until the fix is out", "starts": "2025-12-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z"}],
        "break_glass": [{"callers": [SHOP], "references": ["*"], "codes": ["no-verified-signature", "identity-mismatch"],
            "expires": "2026-02-01T00:00:00Z"}],
        "provenance": [], "sboms": [], "summaries": [], "vulnerabilities": [], "wascap": [],
    }})
}

/// Good and bad cases by hand; then every leaf of the case and of the data gone, and changed, in turn.
fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    let mut ask = |name: &str, case: Value, data: Value| {
        // What is no case cannot be decided.
        if let Ok(case) = serde_json::from_value::<Case>(case) {
            questions.push(Question { name: name.to_owned(), case, data });
        }
    };
    ask("good", case(), data());
    for (name, pointer, value) in by_hand() {
        let (mut case, mut data) = (case(), data());
        match pointer.strip_prefix("data") {
            Some(pointer) => set(&mut data, pointer, value),
            None => set(&mut case, pointer, value),
        }
        ask(name, case.clone(), data.clone());
        // The same in an emergency, and with what could be lifted exempted.
        case["break_glass"] = json!({"justification": "INC-7"});
        ask(&format!("{name}, break-glass"), case.clone(), data.clone());
        data["witgate"]["exemptions"][0]["codes"] = json!([
            "no-verified-signature",
            "identity-mismatch",
            "issuer-mismatch",
            "attestation-missing",
            "version-rollback",
            "component-too-large",
            "signature-too-old"
        ]);
        case.as_object_mut().unwrap().remove("break_glass");
        ask(&format!("{name}, exempted"), case, data);
    }
    for pointer in leaves(&case()) {
        for (what, changed) in changes(&case(), &pointer) {
            ask(&format!("case{pointer} {what}"), changed, data());
        }
    }
    for pointer in leaves(&data()) {
        for (what, changed) in changes(&data(), &pointer) {
            let mut old = case();
            old["artifact"]["annotations"]["org.opencontainers.image.version"] = "1.0.0".into();
            ask(&format!("data{pointer} {what}"), case(), changed.clone());
            ask(&format!("data{pointer} {what}, old version"), old, changed);
        }
    }
    questions
}

fn by_hand() -> Vec<(&'static str, &'static str, Value)> {
    let finding = |signer: Value| {
        json!([{"status": "verified", "kind": "signature", "trust": "public", "times": ["2025-12-31T00:00:00Z"], "signer": signer,
            "source": {"via": "referrers-api", "name": "sha256:good"}}])
    };
    let revoked = json!([{"status": "rejected", "code": "revoked", "detail": "key `release`",
        "source": {"via": "referrers-api", "name": "sha256:bad"}}]);
    let email = |value: &str| {
        json!({"kind": "keyless", "issuer": "https://accounts.example", "claims": {},
        "san": {"kind": "email", "value": value}})
    };
    let attested = json!([{"references": ["*"], "signers": [{"key": "builder"}], "builder_id": "https://b.example/x",
        "source_uri": "https://github.com/acme/cart"}]);
    let scanned =
        json!([{"references": ["*"], "signers": [{"key": "scanner"}], "max_severity": "low", "max_age_s": 60}]);
    let with_import = |name: &str| json!([import(name)]);
    let exemption = |change: &dyn Fn(&mut Value)| {
        let mut entry = data()["witgate"]["exemptions"][0].clone();
        entry["codes"] = json!(["version-rollback"]);
        change(&mut entry);
        json!([entry])
    };
    let two = json!([data()["witgate"]["exemptions"][0], exemption(&|entry| entry["id"] = "EX-2".into())[0]]);
    let old = "/artifact/annotations/org.opencontainers.image.version";
    vec![
        ("unsigned", "/evidence/findings", json!([])),
        ("revoked", "/evidence/findings", revoked),
        ("a key", "/evidence/findings", finding(json!({"kind": "key", "name": "release", "keyid": "00"}))),
        ("another key", "/evidence/findings", finding(json!({"kind": "key", "name": "other", "keyid": "00"}))),
        ("an address", "/evidence/findings", finding(email("ci-12@acme.example"))),
        ("another address", "/evidence/findings", finding(email("ci-x@acme.example"))),
        ("another issuer", "/evidence/findings/0/signer/issuer", json!("https://issuer.example/x")),
        ("a look-alike", "/evidence/findings/0/signer/san/value", json!("https://github.com/acme/../evil/x")),
        (
            "a certificate",
            "/evidence/findings",
            finding(
                json!({"kind": "certificate", "authority": "own", "san": {"kind": "uri", "value": "spiffe://a/b"}}),
            ),
        ),
        ("two of one", "data/witgate/signatures/0/threshold", json!(2)),
        ("nobody", "data/witgate/signatures", json!([])),
        ("no grants", "data/witgate/grants", json!([])),
        ("another caller", "/caller/id", json!("spiffe://prod.example/other/x")),
        ("local", "/caller", json!({"kind": "local", "id": "local"})),
        ("another host", "/host", json!("spiffe://prod.example/host/1")),
        ("a foreign host", "/host", json!("spiffe://other.example/1")),
        ("another link", "/links", json!(["db", "mail"])),
        ("another environment", "/scope/environment", json!("dev")),
        ("another tenant", "/scope/tenant", json!("other")),
        ("another repository", "/reference/repository", json!("acme-dev/cart")),
        ("no labels", "data/witgate/callers", json!([])),
        ("an old version", old, json!("1.1.0")),
        ("a version with v", old, json!("v1.4.0")),
        ("a version with two v", old, json!("vv1.4.0")),
        ("a version of many digits", old, json!("9223372036854775808.0.0")),
        ("no version", "/artifact/annotations", json!({})),
        (
            "an exemption past its time",
            "data/witgate/exemptions",
            exemption(&|entry| entry["expires"] = "2025-12-31T00:00:00Z".into()),
        ),
        (
            "an exemption before its time",
            "data/witgate/exemptions",
            exemption(&|entry| entry["starts"] = "2026-01-01T00:00:01Z".into()),
        ),
        (
            "a foreign exemption",
            "data/witgate/exemptions",
            exemption(&|entry| entry["scope"]["tenant"] = "other".into()),
        ),
        ("a self-granted exemption", "data/witgate/exemptions", exemption(&|entry| entry["approved_by"] = SHOP.into())),
        ("two exemptions", "data/witgate/exemptions", two),
        ("large", "/artifact/component/size_bytes", json!(101)),
        ("an old signature", "/evidence/findings/0/times", json!(["2025-12-01T00:00:00Z", "2025-12-31T00:00:00Z"])),
        ("no time", "/evidence/findings/0/times", json!([])),
        ("sockets", "/surface/imports", with_import("wasi:sockets/tcp@0.2.3")),
        ("denied sockets", "/surface/imports", with_import("wasi:sockets/udp@0.2.3")),
        ("denied versions", "/surface/imports", with_import("wasi:http/types@0.2.1")),
        ("versions that are not denied", "/surface/imports", with_import("wasi:http/types@0.2.2")),
        ("a pre-release", "/surface/imports", with_import("wasi:http/types@0.2.1-rc.1")),
        ("no version of an import", "/surface/imports", with_import("wasi:http/types")),
        ("a bare import", "/surface/imports", with_import("run")),
        ("another track", "/surface/imports", with_import("wasi:io/poll@0.3.0")),
        ("unreadable", "/surface", json!({"status": "unreadable", "detail": "x"})),
        ("unseen", "/surface", json!({"status": "unseen"})),
        ("attestations", "data/witgate/provenance", attested),
        ("scans", "data/witgate/vulnerabilities", scanned),
    ]
}

fn set(value: &mut Value, pointer: &str, to: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = to,
        parent => parent[name] = to,
    }
}

/// The value without a leaf, and with others in its place.
fn changes(value: &Value, pointer: &str) -> Vec<(String, Value)> {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let mut gone = value.clone();
    match gone.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        _ => unreachable!("a leaf has no members"),
    }
    let others = match value.pointer(pointer).unwrap() {
        Value::String(text) => vec![json!(format!("{text}x")), json!(""), json!("*"), json!("2025-12-31T23:59:59Z")],
        Value::Number(number) => vec![json!(0), json!(number.as_u64().unwrap() + 1)],
        _ => Vec::new(),
    };
    let changed = others.into_iter().map(|other| {
        let mut changed = value.clone();
        *changed.pointer_mut(pointer).unwrap() = other.clone();
        (format!("as {other}"), changed)
    });
    [("gone".to_owned(), gone)].into_iter().chain(changed).collect()
}

fn leaves(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, into: &mut Vec<String>) {
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| walk(value, &format!("{at}/{}", escaped(name)), into))
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, value)| walk(value, &format!("{at}/{index}"), into))
            }
            _ => into.push(at.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}
