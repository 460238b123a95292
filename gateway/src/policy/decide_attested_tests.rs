//! The shipped policy about attestations: a sample of each list, with cases that tell each of its fields.

use serde_json::{Value, json};

use super::tests::{case, data};
use super::*;
use crate::case::{CandidateSource, Finding, FindingKind, Signer, VerdictWord, VerifiedFinding};

/// One list of the data, an entry with every field, and cases: the first is admitted, each other differs in one thing.
pub(in crate::policy) struct Sample {
    pub list: &'static str,
    pub entry: Value,
    pub cases: Vec<Case>,
}

/// A sample for each list.
pub(in crate::policy) fn samples() -> Vec<Sample> {
    vec![provenance(), versioned(), sboms(), vulnerabilities(), summaries()]
}

fn attested(name: &str, signer: &str, attests: &Value) -> Finding {
    Finding::Verified(VerifiedFinding {
        source: CandidateSource {
            via: "referrers-api".into(),
            name: name.into(),
            index: None,
            media_type: None,
            digest: None,
        },
        kind: FindingKind::Attestation,
        trust: "public".into(),
        signer: Signer::Key { name: signer.into(), keyid: "00".into() },
        times: Vec::new(),
        waived: Vec::new(),
        predicate_type: Some("https://example.org/x".into()),
        predicate: Some(json!({})),
        attests: Some(serde_json::from_value(attests.clone()).unwrap()),
    })
}

fn case_with(findings: impl IntoIterator<Item = Finding>) -> Case {
    let mut case = case();
    case.evidence.findings.extend(findings);
    case
}

/// `value` with one field more or other.
fn with(value: &Value, change: &[(&str, Value)]) -> Value {
    let mut changed = value.clone();
    for (pointer, value) in change {
        match changed.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => changed[pointer.trim_start_matches('/')] = value.clone(),
        }
    }
    changed
}

fn provenance() -> Sample {
    let good = json!({
        "type": "slsa-provenance",
        "version": "v1",
        "builder_id": "https://builder.example/x",
        "build_type": "https://builder.example/type",
        "source": {"uri": "https://github.com/acme/cart", "branch": "main", "tag": "v1.4.2"},
        "dependencies": [],
    });
    let built = |signer: &str, change: &[(&str, Value)]| case_with([attested("p", signer, &with(&good, change))]);
    Sample {
        list: "provenance",
        entry: json!({
            "references": ["ghcr.io/acme/*"],
            "signers": [{"key": "builder"}],
            "builder_id": "https://builder.example/x",
            "source_uri": "https://github.com/acme/cart",
            "source_branch": "main",
            "source_tag": "v1.4.2",
            "build_type": "https://builder.example/type",
        }),
        cases: vec![
            built("builder", &[]),
            built("stranger", &[]),
            built("builder", &[("/builder_id", json!("https://other.example/x"))]),
            built("builder", &[("/source/uri", json!("https://github.com/mallory/cart"))]),
            built("builder", &[("/source/branch", json!("evil"))]),
            built("builder", &[("/source/tag", json!("v1.4.3"))]),
            built("builder", &[("/build_type", json!("https://other.example/type"))]),
            case_with([]),
        ],
    }
}

/// A provenance of any release of a version: a tag and a version cannot be told apart by one case.
fn versioned() -> Sample {
    let Sample { list, mut entry, cases } = provenance();
    entry.as_object_mut().unwrap().remove("source_tag");
    entry["source_versioned_tag"] = json!("v1.4");
    let tagged = |tag: &str| {
        let mut json = serde_json::to_value(&cases[0]).unwrap();
        json["evidence"]["findings"].as_array_mut().unwrap().last_mut().unwrap()["attests"]["source"]["tag"] =
            json!(tag);
        serde_json::from_value(json).unwrap()
    };
    let more = [tagged("v1.5.0"), tagged("v1.4.9"), tagged("v1.4.9-rc1")];
    Sample { list, entry, cases: cases.iter().cloned().chain(more).collect() }
}

fn sboms() -> Sample {
    let good = json!({"type": "sbom", "format": "spdx", "spec_version": "2.3", "packages": [
        {"name": "cart", "version": "1.4.2", "licenses": ["MIT"]},
    ]});
    let listing =
        |signer: &str, package: Value| case_with([attested("s", signer, &with(&good, &[("/packages/0", package)]))]);
    Sample {
        list: "sboms",
        entry: json!({
            "references": ["ghcr.io/acme/*"],
            "signers": [{"key": "builder"}],
            "banned": [
                {"name": "event-stream", "versions": ["3.3.6"]},
                {"purl": "pkg:npm/left-pad"},
                {"name": "xz", "versions": [">=5.6.0 <5.6.2"]},
            ],
            "licenses_banned": ["SSPL-1.0"],
        }),
        cases: vec![
            listing("builder", json!({"name": "cart"})),
            listing("stranger", json!({"name": "cart"})),
            listing("builder", json!({"name": "event-stream", "version": "3.3.6"})),
            listing("builder", json!({"name": "event-stream", "version": "3.3.7"})),
            listing("builder", json!({"name": "x", "purl": "pkg:npm/left-pad"})),
            listing("builder", json!({"name": "xz", "version": "5.6.1"})),
            listing("builder", json!({"name": "xz", "version": "5.6.2"})),
            listing("builder", json!({"name": "cart", "licenses": ["SSPL-1.0"]})),
            case_with([]),
        ],
    }
}

fn vulnerabilities() -> Sample {
    let digest = case().artifact.digest.to_string();
    let scan = |found: Value| {
        json!({
            "type": "vulnerability-scan",
            "scanner": {"uri": "pkg:github/aquasecurity/trivy"},
            "finished_at": "2025-12-31T23:00:00Z",
            "vulnerabilities": found,
        })
    };
    let vex = json!({
        "type": "vex",
        "author": "acme",
        "issued_at": "2025-12-31T00:00:00Z",
        "statements": [{
            "vulnerability": "CVE-3",
            "products": [{"digests": [digest]}],
            "status": "not_affected",
            "time": "2025-12-31T00:00:00Z",
        }],
    });
    let high = |id: &str| json!([{"id": id, "severity": "high"}]);
    let scanned = |signer: &str, scan: &Value| case_with([attested("v", signer, scan)]);
    let excused = |signer: &str, vex: &Value| {
        case_with([attested("v", "scanner", &scan(high("CVE-3"))), attested("x", signer, vex)])
    };
    Sample {
        list: "vulnerabilities",
        entry: json!({
            "references": ["ghcr.io/acme/*"],
            "signers": [{"key": "scanner"}],
            "scanner": "pkg:github/aquasecurity/trivy",
            "max_severity": "medium",
            "max_age_s": 3600,
            "ignore": [{"id": "CVE-2", "reason": "not reachable", "until": "2026-02-01T00:00:00Z"}],
            "vex": {"signers": [{"key": "security"}]},
        }),
        cases: vec![
            scanned("scanner", &scan(json!([{"id": "CVE-1", "severity": "medium"}]))),
            scanned("stranger", &scan(json!([]))),
            scanned("scanner", &scan(high("CVE-1"))),
            scanned("scanner", &scan(high("CVE-2"))),
            scanned("scanner", &with(&scan(json!([])), &[("/finished_at", json!("2025-12-31T22:59:59Z"))])),
            scanned("scanner", &with(&scan(json!([])), &[("/scanner/uri", json!("pkg:github/anchore/grype"))])),
            excused("security", &vex),
            excused("stranger", &vex),
            excused("security", &with(&vex, &[("/statements/0/status", json!("affected"))])),
            case_with([]),
        ],
    }
}

fn summaries() -> Sample {
    let good = json!({
        "type": "verification-summary",
        "verifier_id": "https://verifier.example",
        "resource_uri": "ghcr.io/acme/cart",
        "policy": {},
        "result": "PASSED",
        "levels": ["SLSA_BUILD_LEVEL_3"],
    });
    let says = |signer: &str, change: &[(&str, Value)]| case_with([attested("s", signer, &with(&good, change))]);
    Sample {
        list: "summaries",
        entry: json!({
            "references": ["ghcr.io/acme/*"],
            "signers": [{"key": "verifier"}],
            "verifier_id": "https://verifier.example",
            "resource_uri": "ghcr.io/acme/cart",
            "levels": ["SLSA_BUILD_LEVEL_3"],
        }),
        cases: vec![
            says("verifier", &[]),
            says("stranger", &[]),
            says("verifier", &[("/verifier_id", json!("https://other.example"))]),
            says("verifier", &[("/resource_uri", json!("ghcr.io/acme/other"))]),
            says("verifier", &[("/levels", json!(["SLSA_BUILD_LEVEL_2"]))]),
            says("verifier", &[("/result", json!("FAILED"))]),
            case_with([]),
        ],
    }
}

/// The shipped policy with one entry of one list.
fn policy(list: &str, entry: &Value) -> Result<Policy, LoadError> {
    let mut data = data();
    data["witgate"][list] = json!([entry]);
    Policy::embedded(&data)
}

fn verdicts(policy: &Policy, cases: &[Case]) -> Vec<Vec<String>> {
    let decide =
        |case| policy.decide(case).unwrap().facts().reasons.iter().map(|reason| reason.code.to_string()).collect();
    cases.iter().map(decide).collect()
}

#[test]
fn the_samples_are_judged_by_their_one_difference() {
    let judged: Vec<_> = samples()
        .iter()
        .map(|sample| (sample.list, verdicts(&policy(sample.list, &sample.entry).unwrap(), &sample.cases)))
        .collect();
    let missing = || vec!["attestation-missing".to_owned()];
    let banned = || vec!["package-banned".to_owned()];
    let found = || vec!["vulnerability-found".to_owned()];
    let other = || vec!["provenance-mismatch".to_owned()];
    assert_eq!(
        judged,
        [
            ("provenance", vec![vec![], missing(), other(), other(), other(), other(), other(), missing()]),
            (
                "provenance",
                vec![
                    vec![],
                    missing(),
                    other(),
                    other(),
                    other(),
                    vec![],
                    other(),
                    missing(),
                    other(),
                    vec![],
                    other()
                ]
            ),
            ("sboms", vec![vec![], missing(), banned(), vec![], banned(), banned(), vec![], banned(), missing()]),
            (
                "vulnerabilities",
                vec![vec![], missing(), found(), vec![], missing(), missing(), vec![], found(), found(), missing()]
            ),
            ("summaries", vec![vec![], missing(), missing(), missing(), missing(), missing(), missing()]),
        ]
    );
}

#[test]
fn a8_1_each_field_removed_or_changed_changes_a_verdict_or_does_not_load() {
    for Sample { list, entry, cases } in samples() {
        let before = verdicts(&policy(list, &entry).unwrap(), &cases);
        let mut pointers = Vec::new();
        leaves(&entry, "", &mut pointers);
        assert!(pointers.len() > 4);
        for pointer in pointers.iter().filter(|pointer| !pointer.ends_with("/reason")) {
            for changed in [without(&entry, pointer), otherwise(&entry, pointer)] {
                match policy(list, &changed) {
                    Err(LoadError::Data { .. }) => {}
                    Err(error) => panic!("{error}"),
                    Ok(policy) => assert_ne!(verdicts(&policy, &cases), before, "{list}: {pointer} is read by no rule"),
                }
            }
        }
    }
}

/// The pointers of everything inside a value.
fn leaves(value: &Value, at: &str, pointers: &mut Vec<String>) {
    let mut go = |key: String, value: &Value| {
        let at = format!("{at}/{key}");
        leaves(value, &at, pointers);
        pointers.push(at);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| go(key.clone(), value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| go(index.to_string(), value)),
        _ => {}
    }
}

fn without(entry: &Value, pointer: &str) -> Value {
    let mut changed = entry.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(key)),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => unreachable!(),
    }
    changed
}

fn otherwise(entry: &Value, pointer: &str) -> Value {
    let mut changed = entry.clone();
    let place = changed.pointer_mut(pointer).unwrap();
    *place = match &*place {
        Value::String(text) if text == "medium" => json!("low"),
        Value::String(text) if text.ends_with('Z') => json!("2025-02-01T00:00:00Z"),
        Value::String(text) if text.starts_with(">=") => json!(">=6.0.0"),
        Value::String(text) if pointer.contains("versions") => json!(format!("{text}1")),
        Value::String(text) => json!(format!("{text}1")),
        Value::Number(_) => json!(1),
        Value::Array(_) => json!([]),
        other => other.clone(),
    };
    if *place == *entry.pointer(pointer).unwrap() {
        return without(entry, pointer);
    }
    changed
}

#[test]
fn data_that_could_match_more_or_less_than_it_says_does_not_load() {
    let refused = |list: &str, pointer: &str, value: Value| {
        let sample = samples().into_iter().find(|sample| sample.list == list).unwrap();
        let mut entry = sample.entry;
        match entry.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => entry[pointer.trim_start_matches('/')] = value.clone(),
        }
        assert!(matches!(policy(list, &entry), Err(LoadError::Data { .. })), "{list}{pointer} as {value} was taken");
    };
    for list in ["provenance", "sboms", "vulnerabilities", "summaries"] {
        refused(list, "/more", json!(1));
        refused(list, "/references/0", json!("ghcr.io/acme*"));
        refused(list, "/signers/0", json!({"key": "*"}));
        refused(list, "/signers/0", json!({}));
        refused(list, "/signers", json!(null));
    }
    for value in ["", "a b", "https://b/*", "a@b@c"] {
        refused("provenance", "/builder_id", json!(value));
    }
    for value in [
        "",
        "git+https://github.com/acme/cart",
        "https://github.com/acme/cart/",
        "https://github.com/a@refs/heads/b",
        "github.com/acme/cart",
        "https://x",
    ] {
        refused("provenance", "/source_uri", json!(value));
    }
    for (field, value) in [
        ("/source_branch", "refs/heads/main"),
        ("/source_branch", ""),
        ("/source_tag", "refs/tags/v1"),
        ("/source_versioned_tag", "1.2.3"),
        ("/source_versioned_tag", "v1.2.3.4"),
        ("/source_versioned_tag", "v1.x"),
        ("/source_versioned_tag", "v01"),
        ("/source_versioned_tag", "v"),
        ("/build_type", ""),
    ] {
        refused("provenance", field, json!(value));
    }
    for ban in [
        json!({}),
        json!({"name": "x", "purl": "pkg:npm/x"}),
        json!({"name": ""}),
        json!({"name": "x*"}),
        json!({"purl": "npm/x"}),
        json!({"purl": "pkg:npm"}),
        json!({"purl": "pkg:npm/x@1"}),
        json!({"purl": "pkg:npm/%40a/x"}),
        json!({"purl": "pkg:npm/X"}),
        json!({"purl": "pkg:npm/x?a=b"}),
        json!({"purl": "pkg:npm//x"}),
        json!({"purl": "pkg:pypi/a_b"}),
        json!({"name": "x", "versions": []}),
        json!({"name": "x", "versions": [""]}),
        json!({"name": "x", "versions": ["=1.2.3"]}),
        json!({"name": "x", "versions": ["<1.2"]}),
        json!({"name": "x", "versions": ["<<1.2.3"]}),
        json!({"name": "x", "versions": ["<=>1.2.3"]}),
        json!({"name": "x", "versions": [">=1.2.3  <2.0.0"]}),
        json!({"name": "x", "versions": [">=1.2.3 2.0.0"]}),
        json!({"name": "x", "versions": [">=1.2.3+b"]}),
        json!({"name": "x", "versions": [">=01.2.3"]}),
        json!({"name": "x", "version": "1"}),
    ] {
        refused("sboms", "/banned/0", ban);
    }
    refused("sboms", "/licenses_banned", json!([""]));
    for (pointer, value) in [
        ("/max_severity", json!("unknown")),
        ("/max_severity", json!("HIGH")),
        ("/max_age_s", json!(0)),
        ("/max_age_s", json!(315_360_001)),
        ("/max_age_s", json!(-1)),
        ("/scanner", json!("")),
        ("/ignore/0/until", json!("2026-02-01")),
        ("/ignore/0/until", json!("never")),
        ("/ignore/0/until", json!("2200-01-01T00:00:00Z")),
        ("/ignore/0/reason", json!(" ")),
        ("/ignore/0/id", json!("CVE-*")),
        ("/vex/signers/0", json!({})),
        ("/vex", json!([])),
    ] {
        refused("vulnerabilities", pointer, value);
    }
    refused("summaries", "/levels", json!([]));
    refused("summaries", "/verifier_id", json!(""));
    refused("summaries", "/resource_uri", json!("ghcr.io/acme/*"));
    for purl in ["pkg:npm/@angular/core", "pkg:golang/github.com/a/b", "pkg:pypi/a-b"] {
        let mut entry = sboms().entry;
        entry["banned"][1]["purl"] = json!(purl);
        policy("sboms", &entry).unwrap();
    }
}

/// The shipped policy with one entry of one list, and time enough on a busy machine: instructions are what is counted.
fn patient(list: &str, entry: &Value) -> Policy {
    let mut data = data();
    data["witgate"][list] = json!([entry]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.json"), data.to_string()).unwrap();
    let settings = Settings { data: Some(dir.path().into()), timeout_ms: 60_000, ..Settings::default() };
    Policy::load(&settings).unwrap()
}

#[test]
fn the_largest_attestations_are_judged_within_the_instructions_of_a_decision() {
    let packages: Vec<_> = (0..20_000)
        .map(|index| json!({"name": format!("package-{index}"), "version": "1.2.3", "purl": format!("pkg:npm/package-{index}"), "licenses": ["MIT"]}))
        .collect();
    let sbom = json!({"type": "sbom", "format": "spdx", "spec_version": "2.3", "packages": packages});
    let banned: Vec<_> =
        (0..100).map(|index| json!({"name": format!("evil-{index}"), "versions": ["<2.0.0"]})).collect();
    let entry = with(&sboms().entry, &[("/banned", json!(banned))]);
    let case = case_with([attested("s", "builder", &sbom)]);
    assert_eq!(verdicts(&patient("sboms", &entry), &[case]), [Vec::<String>::new()]);

    let found: Vec<_> = (0..2_000)
        .map(|index| json!({"id": format!("CVE-{index}"), "severity": if index < 100 { "high" } else { "low" }}))
        .collect();
    let statements: Vec<_> = (0..2_000)
        .map(|index| json!({"vulnerability": format!("CVE-{index}"), "products": [], "status": "fixed", "time": "2025-12-31T00:00:00Z"}))
        .collect();
    let scan = json!({
        "type": "vulnerability-scan",
        "scanner": {"uri": "pkg:github/aquasecurity/trivy"},
        "finished_at": "2025-12-31T23:30:00Z",
        "vulnerabilities": found,
    });
    let vex = json!({"type": "vex", "author": "x", "issued_at": "2025-12-31T00:00:00Z", "statements": statements});
    let case = case_with([attested("v", "scanner", &scan), attested("x", "security", &vex)]);
    assert_eq!(verdicts(&patient("vulnerabilities", &vulnerabilities().entry), &[case]), [Vec::<String>::new()]);
}

#[test]
fn a_redacted_attestation_says_nothing() {
    let sample = &samples()[0];
    let mut json = serde_json::to_value(&sample.cases[0]).unwrap();
    let finding = json["evidence"]["findings"].as_array_mut().unwrap().last_mut().unwrap();
    finding["attests"] = json!(format!("salted-sha256:{}", "0".repeat(64)));
    let read: Case = serde_json::from_value(json.clone()).unwrap();
    let policy = policy(sample.list, &sample.entry).unwrap();
    assert_eq!(verdicts(&policy, &[read]), [vec!["attestation-missing".to_owned()]]);
    json["evidence"]["findings"].as_array_mut().unwrap().last_mut().unwrap()["attests"] = json!("x");
    assert!(serde_json::from_value::<Case>(json).is_err());
    assert_eq!(policy.decide(&sample.cases[0]).unwrap().facts().verdict, VerdictWord::Admit);
}

#[test]
fn the_examples_of_the_documentation_load() {
    let text = include_str!("../../../docs/attestations.md");
    let mut examples = 0;
    for part in text.split("```json\n").skip(1) {
        let (example, _) = part.split_once("```").expect("an example ends");
        let example: Value = serde_json::from_str(example).expect("an example is JSON");
        Policy::embedded(&example).unwrap();
        examples += 1;
    }
    assert_eq!(examples, 4);
}
