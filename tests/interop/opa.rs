//! Open Policy Agent: the shipped policies and their tests in the evaluator that people know.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate::case::Case;
use witgate::policy::{Rules, Settings};

use crate::{program, succeed, witgate};

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn opa() -> Command {
    Command::new(program("WITGATE_INTEROP_OPA"))
}

#[test]
fn the_shipped_policies_are_strict_rego_and_the_same_tests_pass() {
    succeed(opa().args(["check", "--strict"]).arg(policies()));
    let theirs: Value =
        serde_json::from_str(&succeed(opa().args(["test", "--format", "json"]).arg(policies()))).unwrap();
    let theirs: Vec<_> = theirs
        .as_array()
        .unwrap()
        .iter()
        .map(|test| {
            assert!(test["fail"].is_null() && test["error"].is_null() && test["skip"].is_null(), "{test}");
            format!("{}.{}", test["package"].as_str().unwrap(), test["name"].as_str().unwrap())
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let ours = succeed(witgate(folder.path()).args(["policy", "test", "--output", "json"]).arg(policies()));
    let ours: Value = serde_json::from_str(&ours).unwrap();
    let mut ours: Vec<_> = ours["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|test| {
            assert_eq!(test["outcome"]["outcome"], "pass", "{test}");
            test["name"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut theirs = theirs;
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    assert!(ours.len() > 100, "{} tests", ours.len());
}

/// Who signs, who runs, and what.
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const WORKFLOW: &str = "https://github.com/acme/cart/.github/workflows/release.yml@refs/tags/v1";
const SHOP: &str = "spiffe://prod.example/ns/shop";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn data() -> Value {
    let identity = json!({"issuer": ISSUER, "san": {"kind": "uri", "value": "https://github.com/acme/*"}});
    json!({"witgate": {
        "signatures": [
            {"references": ["ghcr.io/acme/*"], "identities": [identity, {"key": "release"}]},
            {"references": ["ghcr.io/acme/two"], "threshold": 2, "identities": [identity, {"key": "release"}, {"key": "other"}]},
            {"references": ["ghcr.io/acme/own"], "about": "artifact", "identities": [
                {"issuer": ISSUER,
                 "san": {"kind": "uri", "regExp": "https://github\\.com/acme/.*"}, "claims": {"runner_environment": "github-hosted"}}]},
        ],
        "grants": [
            {"callers": ["spiffe://prod.example/ns/*"], "references": ["ghcr.io/acme/*"], "imports": ["wasi:cli/*@0.2", "wasi:io/*"],
             "links": ["db"], "limits": {"fuel": 5000}, "lifetime_s": 60, "hosts": ["spiffe://prod.example/host/*"],
             "config": [{"key": "colour", "value": "blue"}]},
            {"callers": [SHOP], "references": ["*"], "imports": ["wasi:http/*"], "limits": {"fuel": 4000}, "native": true},
            {"callers": ["oidc:ci/*"], "references": ["ghcr.io/acme/cart"], "imports": []},
        ],
        "versions": [{"references": ["ghcr.io/acme/old"], "minimum": "1.4.0"}],
        "sboms": [{"references": ["ghcr.io/acme/bill"], "signers": [{"key": "release"}]}],
    }})
}

fn finding(signer: &Value) -> Value {
    json!({"status": "verified", "source": {"via": "referrers-api", "name": "sha256:aa"}, "kind": "signature", "trust": "public",
        "signer": signer, "times": []})
}

fn keyless(san: &str) -> Value {
    let claims = json!({"runner_environment": "github-hosted"});
    finding(&json!({"kind": "keyless", "issuer": ISSUER, "san": {"kind": "uri", "value": san}, "claims": claims}))
}

fn key(name: &str) -> Value {
    finding(&json!({"kind": "key", "name": name, "keyid": name}))
}

fn good() -> Value {
    let import = |name: &str, package: &str, interface: &str, track: &str| {
        json!({"name": name, "package": package, "interface": interface, "version": "0.2.3", "track": track, "kind": "instance",
            "items": []})
    };
    json!({
        "version": "case/v1", "id": "01900000-0000-7000-8000-000000000000", "time": "2026-01-01T00:00:00Z",
        "scope": {"tenant": "default", "environment": "default"}, "mode": "enforce", "purpose": "admission",
        "caller": {"kind": "x509-svid", "id": SHOP, "trust_domain": "prod.example"}, "host": SHOP, "links": [],
        "reference": {"text": "ghcr.io/acme/cart:1.4", "upstream": "ghcr.io", "repository": "acme/cart", "tag": "1.4"},
        "artifact": {"digest": DIGEST, "media_type": "application/vnd.oci.image.manifest.v1+json", "size_bytes": 8,
            "annotations": {}, "component": {"digest": DIGEST, "size_bytes": 9, "media_type": "application/wasm"}, "defects": []},
        "evidence": {"trust": [], "looked_in": ["referrers-api"], "findings": [keyless(WORKFLOW)]},
        "surface": {"status": "component", "digest": DIGEST, "exports": [], "imports": [
            import("wasi:cli/stdout@0.2.3", "wasi:cli", "stdout", "wasi:cli/stdout@0.2"),
            import("wasi:io/poll@0.2.3", "wasi:io", "poll", "wasi:io/poll@0.2")]},
    })
}

/// The good case, and what becomes of it when one or two things are others.
fn cases() -> Vec<Value> {
    let rejected = json!({"status": "rejected", "source": {"via": "fallback-tag", "name": "sha256:bb"}, "code": "revoked", "detail": "d"});
    let single: Vec<(&str, Vec<Value>)> = vec![
        (
            "/reference/repository",
            ["acme/two", "acme/own", "acme/old", "acme/bill", "other/cart", "acme", "acme/a/b"]
                .map(Value::from)
                .to_vec(),
        ),
        (
            "/caller/id",
            [
                "spiffe://prod.example/ns/other",
                "spiffe://other.example/ns/shop",
                "spiffe://prod.example/ns",
                "oidc:ci/1",
                "local",
            ]
            .map(Value::from)
            .to_vec(),
        ),
        ("/caller/kind", ["jwt-svid", "oidc", "local"].map(Value::from).to_vec()),
        ("/host", ["spiffe://prod.example/host/a", "spiffe://other.example/host/a", ""].map(Value::from).to_vec()),
        ("/links", vec![json!(["db"]), json!(["mail"]), json!(["db", "mail"])]),
        ("/evidence/looked_in", vec![json!([]), json!(["cosign-tags", "component"])]),
        (
            "/evidence/findings",
            vec![
                json!([]),
                json!([key("release")]),
                json!([key("other")]),
                json!([keyless(WORKFLOW), key("release")]),
                json!([keyless(WORKFLOW), key("other"), key("release")]),
                json!([rejected.clone()]),
                json!([keyless(WORKFLOW), rejected]),
                json!([keyless("https://github.com/evil/x")]),
                json!([keyless("https://github.com/acme/../evil")]),
                json!([keyless("https://github.com/acme/%2e%2e/evil")]),
                json!([keyless("spiffe://github.com/acme/x")]),
                json!([keyless("https://user@github.com/acme/x")]),
                json!([keyless("https://GitHub.com/acme/x")]),
            ],
        ),
        ("/evidence/findings/0/signer/issuer", vec![json!("https://other.example")]),
        ("/evidence/findings/0/signer/claims", vec![json!({}), json!({"runner_environment": "self-hosted"})]),
        (
            "/evidence/findings/0/signer/san",
            vec![json!({"kind": "email", "value": "a@b.example"}), json!({"kind": "email", "value": WORKFLOW})],
        ),
        ("/evidence/findings/0/kind", vec![json!("attestation")]),
        ("/evidence/findings/0/trust", vec![json!("private")]),
        ("/evidence/findings/0/source", vec![json!({"via": "referrers-api", "name": "n", "index": DIGEST})]),
        (
            "/artifact/annotations",
            vec![
                json!({"org.opencontainers.image.version": "1.4.0"}),
                json!({"org.opencontainers.image.version": "v1.3.9"}),
                json!({"org.opencontainers.image.version": "vv1.4.0"}),
                json!({"org.opencontainers.image.version": "latest"}),
            ],
        ),
        (
            "/artifact/config",
            vec![json!({"media_type": "m", "digest": DIGEST, "claimed_imports": ["wasi:cli/stdout@0.2.3", "x:y/z"]})],
        ),
        ("/surface", vec![json!({"status": "unreadable", "detail": "d"}), json!({"status": "unseen"})]),
        ("/purpose", vec![json!("pull"), json!("dry-run")]),
    ];
    let changed = |case: &Value, at: &str, value: &Value| {
        let mut case = case.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        case.pointer_mut(parent).unwrap()[name] = value.clone();
        case
    };
    let mut cases = vec![good()];
    for (at, values) in &single {
        cases.extend(values.iter().map(|value| changed(&good(), at, value)));
    }
    // What entries of other repositories ask of who signed.
    for repository in ["acme/two", "acme/own", "acme/old", "acme/bill"] {
        let other = changed(&good(), "/reference/repository", &json!(repository));
        for (at, values) in
            single.iter().filter(|(at, _)| at.starts_with("/evidence/findings") || at.starts_with("/artifact"))
        {
            cases.extend(values.iter().map(|value| changed(&other, at, value)));
        }
    }
    cases
}

/// Sets are lists in JSON: in one order for both.
fn sorted(mut answer: Value) -> Value {
    let by_text = |list: &mut Value| {
        if let Some(list) = list.as_array_mut() {
            list.sort_by_key(Value::to_string);
        }
    };
    ["refuse", "warn"].iter().for_each(|name| by_text(&mut answer[name]));
    if answer["grants"].is_object() {
        ["imports", "links", "config"].iter().for_each(|name| by_text(&mut answer["grants"][name]));
    }
    answer
}

#[test]
fn every_case_is_answered_alike_and_times_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("data");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("data.json"), data().to_string()).unwrap();
    let rules = Rules::load(&Settings { data: Some(own), timeout_ms: 10_000, ..Settings::default() })
        .unwrap_or_else(|fault| panic!("{fault}"));
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let parsed: Vec<Case> = cases.iter().map(|case| serde_json::from_value(case.clone()).unwrap()).collect();

    let started = Instant::now();
    let ours: Vec<Value> = parsed.iter().map(|case| rules.answer(case).unwrap()).collect();
    let our_time = started.elapsed();

    let mut merged = rules.data().clone();
    merged["cases"] = json!(parsed);
    let file = folder.path().join("cases.json");
    std::fs::write(&file, merged.to_string()).unwrap();
    let query = "[answer | some case in data.cases; answer := {\"admit\": data.witgate.admission.admit, \
                 \"refuse\": data.witgate.admission.refuse, \"warn\": data.witgate.admission.warn, \
                 \"grants\": object.get(data.witgate.admission, \"grants\", null)} with input as case]";
    let mut command = opa();
    command.args(["eval", "--format", "json", "--metrics", "--data"]).arg(&file);
    for entry in std::fs::read_dir(policies()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".rego") && !name.ends_with("_test.rego") {
            command.arg("--data").arg(&path);
        }
    }
    let said: Value = serde_json::from_str(&succeed(command.arg(query))).unwrap();
    let theirs = said["result"][0]["expressions"][0]["value"].as_array().unwrap_or_else(|| panic!("{said}"));
    assert_eq!(theirs.len(), ours.len());
    let mut admitted = 0;
    for (number, (our, their)) in ours.into_iter().zip(theirs).enumerate() {
        admitted += usize::from(our["admit"] == true);
        assert_eq!(sorted(our), sorted(their.clone()), "case {number}: {}", cases[number]);
    }
    assert!(admitted > 5 && admitted < cases.len() / 2, "{admitted} of {} admitted", cases.len());

    let count = u32::try_from(cases.len()).unwrap();
    let their_time = Duration::from_nanos(said["metrics"]["timer_rego_query_eval_ns"].as_u64().unwrap());
    println!(
        "{count} cases: witgate {:?} each, opa {:?} each (evaluation alone, one run)",
        our_time / count,
        their_time / count
    );
}
