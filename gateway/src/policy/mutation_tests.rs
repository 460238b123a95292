//! Bypass A8.1: every field of the data is taken away and changed in turn, and some verdict has to change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Policy;
use super::data::identity::CLAIMS;
use super::decide::tests::{GITHUB, SHOP, WORKFLOW, case, data, import, native_case};
use crate::case::{Case, Grants, VerdictWord};
use crate::reason::Reason;

const FLOW: &str = ".github/workflows/release.yml";
const SITE_SWAPS: &[(&str, &str)] = &[("github-hosted", "self-hosted"), (FLOW, ".github/workflows/other.yml")];

/// One sample of a list's data with cases that it tells apart. A new list adds samples to [`samples`].
struct Sample {
    name: &'static str,
    /// Whose fields are changed.
    list: &'static str,
    data: Value,
    /// The data admits the first of them.
    cases: Vec<Case>,
    /// Values that are taken in the place of others, where a letter more or less is refused at load.
    swaps: &'static [(&'static str, &'static str)],
    /// Fields whose every other value is refused at load: what they say is read by the check itself.
    held_at_load: &'static [&'static str],
    /// Fields that change only what the answer tells.
    told: &'static [&'static str],
}

/// At least one sample for every field of every list.
fn samples() -> Vec<Sample> {
    let mut samples = vec![grants()];
    samples.extend(signatures());
    samples.extend(lists());
    samples
}

fn grants() -> Sample {
    let mut cases = vec![case(), case(), case(), case(), native_case()];
    cases[1].host = "spiffe://prod.example/host/1".into();
    cases[2].links = vec!["db".into()];
    cases[3].caller.kind = crate::case::CallerKind::Local;
    cases[3].caller.id = "local".into();
    cases[3].host = "local".into();
    let mut data = data();
    data["witgate"]["grants"][0]["native"] = true.into();
    data["witgate"]["signatures"] = signature_list(json!({"references": ["*"], "identities": [acme(json!({}))]}));
    data["witgate"]["grants"][0]["environments"] = json!(["default"]);
    cases.push(elsewhere());
    let swaps = &[("local", "spiffe://other.example/x")];
    Sample { name: "grants", list: "grants", data, cases, swaps, held_at_load: &[], told: &[] }
}

/// A case of another environment, which is admitted where an entry forgets to say which one it is about.
fn elsewhere() -> Case {
    let mut case = case();
    case.scope.environment = "dev".into();
    case
}

/// The case of a caller of its own.
fn of(caller: &str) -> Case {
    let mut case = case();
    case.caller.id = format!("spiffe://prod.example/ns/{caller}");
    case.host.clone_from(&case.caller.id);
    case
}

/// `list` of one entry over data that admits the first of `cases` with it.
fn list(
    name: &'static str,
    list: &'static str,
    entry: Value,
    cases: Vec<Case>,
    told: &'static [&'static str],
) -> Sample {
    let mut data = data();
    data["witgate"]["signatures"] = signature_list(json!({"references": ["*"], "identities": [acme(json!({}))]}));
    data["witgate"]["grants"][0]["imports"] = json!(["wasi:cli/*", "wasi:io/*", "wasi:sockets/*"]);
    data["witgate"][list] = vec![entry].into();
    Sample { name, list, data, cases, swaps: LIST_SWAPS, held_at_load: &["starts", "expires", "codes", "range"], told }
}

const LIST_SWAPS: &[(&str, &str)] = &[
    ("In", "NotIn"),
    ("NotIn", "In"),
    ("Exists", "DoesNotExist"),
    ("DoesNotExist", "Exists"),
    ("refuse", "warn"),
    ("no-verified-signature", "version-rollback"),
    (">=0.2.0 <0.3.0", ">=0.3.0 <0.4.0"),
    ("2025-12-01T00:00:00Z", "2026-01-02T00:00:00Z"),
    ("2026-02-01T00:00:00Z", "2025-12-31T00:00:00Z"),
];

fn lists() -> Vec<Sample> {
    vec![selected(), labelled(), let_past_for_a_time(), let_past(), limited(), separated(), denied(), compared()]
}

/// Grants for whom labels select: each other caller differs in one of them.
fn selected() -> Sample {
    let names = ["good", "team", "env", "zone", "tier", "frozen"];
    let callers: Vec<_> = names
        .iter()
        .map(|name| {
            let mut labels = json!({"team": "shop", "env": "prod", "zone": "a", "tier": "1"});
            match *name {
                "team" | "env" => labels[name] = "other".into(),
                "zone" => labels["zone"] = "b".into(),
                "tier" => drop(labels.as_object_mut().unwrap().remove("tier")),
                "frozen" => labels["frozen"] = "1".into(),
                _ => {}
            }
            json!({"callers": [format!("spiffe://prod.example/ns/{name}")], "labels": labels})
        })
        .collect();
    let grant = json!({"references": ["ghcr.io/acme/cart"], "imports": ["wasi:cli/*@0.2", "wasi:io/*@0.2"], "selector": {
        "matchLabels": {"team": "shop"},
        "matchExpressions": [
            {"key": "env", "operator": "In", "values": ["prod"]},
            {"key": "zone", "operator": "NotIn", "values": ["b"]},
            {"key": "tier", "operator": "Exists"},
            {"key": "frozen", "operator": "DoesNotExist"},
        ],
    }});
    let mut sample = list("a selector", "grants", grant, names.iter().map(|name| of(name)).collect(), &[]);
    sample.data["witgate"]["callers"] = callers.into();
    sample
}

fn labelled() -> Sample {
    let entry = json!({"callers": ["spiffe://prod.example/ns/*"], "labels": {"team": "shop", "env": "prod"}});
    let mut sample = list("labels", "callers", entry, vec![case()], &[]);
    let select = json!({"matchLabels": {"team": "shop"}, "matchExpressions": [{"key": "env", "operator": "Exists"}]});
    sample.data["witgate"]["grants"][0]["selector"] = select;
    sample.data["witgate"]["grants"].as_array_mut().unwrap().push(json!({
        "references": ["*"], "selector": {"matchLabels": {"env": "prod"}}, "config": [{"key": "size", "value": "l"}]}));
    sample
}

fn unsigned(mut case: Case) -> Case {
    case.evidence.findings.clear();
    case
}

fn let_past_for_a_time() -> Sample {
    let entry = json!({"id": "EX-acme", "scope": {"tenant": "default", "environment": "default"},
        "references": ["ghcr.io/acme/*"], "callers": [SHOP], "codes": ["no-verified-signature"], "owner": "acme",
        "approved_by": "ci", "reason": "value", "starts": "2025-12-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z"});
    let cases = vec![unsigned(case()), unsigned(of("other"))];
    list("an exemption", "exemptions", entry, cases, &["id", "owner", "approved_by", "reason"])
}

fn let_past() -> Sample {
    let entry = json!({"references": ["ghcr.io/acme/*"], "callers": [SHOP], "codes": ["no-verified-signature"],
        "environments": ["default"], "starts": "2025-12-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z"});
    let asks = |mut case: Case| {
        case.break_glass = Some(crate::case::BreakGlass { justification: "INC-7".into() });
        unsigned(case)
    };
    // Without a start, the end may be 90 days from now at most: the case is early enough to see the difference.
    let mut early = asks(case());
    early.time = "2025-11-20T00:00:00Z".parse().unwrap();
    list("break-glass", "break_glass", entry, vec![asks(case()), asks(elsewhere()), early], &[])
}

fn limited() -> Sample {
    let entry = json!({"references": ["ghcr.io/acme/*"], "environments": ["default"], "max_component_bytes": 9,
        "max_signature_age_s": 60});
    let signed = |mut case: Case, time: &str| {
        let Some(crate::case::Finding::Verified(finding)) = case.evidence.findings.first_mut() else { unreachable!() };
        finding.times = vec![time.parse().unwrap()];
        case
    };
    let good = "2025-12-31T23:59:00Z";
    let large = |bytes| {
        let mut case = signed(case(), good);
        case.artifact.component.as_mut().unwrap().size_bytes = bytes;
        case
    };
    let cases = vec![
        signed(case(), good),
        large(10),
        signed(case(), "2025-12-31T23:58:59Z"),
        signed(elsewhere(), "2025-01-01T00:00:00Z"),
        case(),
    ];
    list("limits", "limits", entry, cases, &[])
}

fn separated() -> Sample {
    let entry = json!({"environment": "default", "references": ["ghcr.io/acme/*"], "callers": [SHOP]});
    let mut other = case();
    other.reference.repository = "other/cart".into();
    let mut sample = list("environments", "environments", entry, vec![case(), of("other"), other], &[]);
    sample.data["witgate"]["grants"][0]["references"] = json!(["*"]);
    sample
}

fn importing(name: &str, mut case: Case) -> Case {
    let crate::case::Surface::Component(world) = &mut case.surface else { unreachable!("a component") };
    world.imports.push(import(name));
    case
}

fn denied() -> Sample {
    let entry = json!({"references": ["ghcr.io/acme/*"], "callers": [SHOP], "environments": ["default"], "reason": "value",
        "deny": ["wasi:sockets/udp", {"pattern": "wasi:sockets/tcp", "range": ">=0.2.0 <0.3.0"}]});
    let tcp = "wasi:sockets/tcp@0.2.3";
    let cases = vec![
        case(),
        importing(tcp, case()),
        importing("wasi:sockets/tcp@0.3.1", case()),
        importing("wasi:sockets/udp@0.2.3", case()),
        importing(tcp, of("other")),
        importing(tcp, elsewhere()),
    ];
    list("denied imports", "import_rules", entry, cases, &["reason"])
}

fn compared() -> Sample {
    let entry = json!({"references": ["ghcr.io/acme/*"], "new_imports": "refuse", "watch": ["wasi:sockets/*"]});
    let after = |mut case: Case, imports: &[&str]| {
        case.previous = Some(crate::case::Previous {
            decision: uuid::Uuid::nil(),
            time: "2025-12-01T00:00:00Z".parse().unwrap(),
            artifact: crate::case::Digest::of(b"before"),
            version: None,
            imports: imports.iter().map(|name| (*name).to_owned()).collect(),
        });
        case
    };
    let cases = vec![case(), after(case(), &[]), after(importing("wasi:sockets/tcp@0.2.3", case()), &[])];
    list("new imports", "import_rules", entry, cases, &[])
}

fn signatures() -> Vec<Sample> {
    let claims: Value = CLAIMS
        .iter()
        .map(|claim| ((*claim).to_owned(), Value::from("value")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let keyless =
        |san: Value, claims: &Value| json!({"kind": "keyless", "issuer": GITHUB, "san": san, "claims": claims});
    let uri = |value: &str| json!({"kind": "uri", "value": value});
    let key = |name: &str| json!({"kind": "key", "name": name, "keyid": name});
    let flow = FLOW;
    let called = format!("https://github.com/acme/cart/{flow}@refs/heads/main");
    let block = json!({"repository": "acme/cart", "workflow": flow, "ref": "refs/heads/main", "trigger": "push",
        "runner": "github-hosted", "environment": "prod", "owner_id": "1", "repository_id": "2"});
    let mut reused = block.clone();
    reused["signerWorkflow"] = "acme/flows/.github/workflows/build.yml@refs/tags/v1".into();
    let facts = json!({"source_repository_uri": "https://github.com/acme/cart", "source_repository_ref": "refs/heads/main",
        "build_trigger": "push", "runner_environment": "github-hosted", "deployment_environment": "prod",
        "source_repository_owner_identifier": "1", "source_repository_identifier": "2", "build_config_uri": called});
    let own = |kind: &str, value: &str| json!({"kind": "certificate", "authority": "own", "san": {"kind": kind, "value": value}});
    let spiffe = "spiffe://prod.example/ci/acme";
    let alone = |name, identity: Value, signer: Value, held_at_load| {
        sample(
            name,
            json!({"references": ["ghcr.io/acme/*"], "identities": [identity]}),
            &[&[signer]],
            SITE_SWAPS,
            held_at_load,
        )
    };
    // A folder or a pattern of URIs takes more than one of SPIFFE IDs.
    let certified = |name, mut certificate: Value| {
        certificate["authority"] = "own".into();
        let entry = json!({"references": ["ghcr.io/acme/*"], "identities": [{"certificate": certificate}]});
        sample(name, entry, &[&[own("uri", spiffe)]], &[("spiffe", "uri")], &[])
    };
    let quorum = json!({"references": ["ghcr.io/acme/*"], "threshold": 2, "about": "artifact",
        "identities": [{"key": "a"}, {"key": "b"}, {"key": "c"}]});
    let pairs: [&[Value]; 3] = [&[key("a"), key("b")], &[key("b"), key("c")], &[key("a"), key("c")]];
    let entry = json!({"references": ["ghcr.io/acme/*"], "environments": ["default"], "identities": [{"key": "a"}]});
    let mut here = sample("a signature's environments", entry, &[&[key("a")]], &[], &[]);
    let mut there = here.cases[0].clone();
    there.scope.environment = "dev".into();
    here.cases.push(there);
    vec![
        alone("claims", acme(json!({"claims": claims, "trust": "public"})), keyless(uri(WORKFLOW), &claims), &["kind"]),
        alone(
            "cosign's names",
            json!({"issuerRegExp": "https://issuer.example/acme/.*", "subjectRegExp": "https://github.com/acme/.*", "subjectType": "uri",
                "githubWorkflowTrigger": "value", "githubWorkflowSha": "value", "githubWorkflowName": "value",
                "githubWorkflowRepository": "value", "githubWorkflowRef": "value"}),
            json!({"kind": "keyless", "issuer": "https://issuer.example/acme/y", "san": uri(WORKFLOW), "claims": claims}),
            &["subjectType"],
        ),
        alone(
            "an exact subject",
            json!({"issuer": GITHUB, "subject": "ci@acme.example", "subjectType": "email"}),
            keyless(json!({"kind": "email", "value": "ci@acme.example"}), &json!({})),
            &["subjectType"],
        ),
        alone(
            "a pattern of addresses",
            json!({"issuer": GITHUB, "san": {"kind": "email", "regExp": "ci-[0-9]+@acme.example"}}),
            keyless(json!({"kind": "email", "value": "ci-1@acme.example"}), &json!({})),
            &["kind"],
        ),
        alone("github", json!({"github": block}), keyless(uri(&called), &facts), &[]),
        alone(
            "a reusable workflow",
            json!({"github": reused}),
            keyless(uri("https://github.com/acme/flows/.github/workflows/build.yml@refs/tags/v1"), &facts),
            &[],
        ),
        alone(
            "a certificate's exact subject",
            json!({"certificate": {"authority": "own", "subject": spiffe, "subjectType": "spiffe"}}),
            own("uri", spiffe),
            &["subjectType"],
        ),
        certified("a certificate", json!({"san": {"kind": "spiffe", "value": "spiffe://prod.example/ci/*"}})),
        certified("a certificate's san", json!({"san": {"kind": "spiffe", "regExp": "spiffe://prod.example/ci/.*"}})),
        certified(
            "a certificate's pattern",
            json!({"subjectRegExp": "spiffe://prod.example/ci/.*", "subjectType": "spiffe"}),
        ),
        sample("a quorum", quorum, &pairs, &[("artifact", "artifact-or-index")], &[]),
        here,
    ]
}

#[allow(clippy::needless_pass_by_value, reason = "a test reads better so")]
fn acme(more: Value) -> Value {
    let mut identity = json!({"issuer": GITHUB, "san": {"kind": "uri", "value": "https://github.com/acme/*"}});
    identity.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    identity
}

#[allow(clippy::needless_pass_by_value, reason = "a test reads better so")]
fn signature_list(entry: Value) -> Value {
    json!([entry])
}

/// A list `signatures` of one entry; beside each set of signers, that set with each of its fields changed in turn.
fn sample(
    name: &'static str,
    entry: Value,
    signers: &[&[Value]],
    swaps: &'static [(&'static str, &'static str)],
    held_at_load: &'static [&'static str],
) -> Sample {
    let grants = json!([{"callers": [SHOP], "references": ["*"], "imports": ["wasi:cli/*", "wasi:io/*"]}]);
    let data = json!({"witgate": {"signatures": signature_list(entry), "grants": grants}});
    let mut cases = Vec::new();
    for signers in signers {
        let mut whole = serde_json::to_value(case()).unwrap();
        let findings = signers.iter().map(|signer| {
            json!({"status": "verified", "kind": "signature", "trust": "public", "times": [], "signer": signer,
                "source": {"via": "referrers-api", "name": "sha256:good"}})
        });
        whole["evidence"]["findings"] = findings.collect();
        let mut pointers = Vec::new();
        leaves(&whole["evidence"]["findings"], "/evidence/findings", &mut pointers);
        let mut others = vec![whole.clone()];
        for pointer in &pointers {
            let text = whole.pointer(pointer).and_then(Value::as_str).expect("a leaf is a text");
            for other_text in [format!("{text}x"), format!("{text}?x"), text.replace("/release.yml@", "/other.yml@")] {
                let mut other = whole.clone();
                *other.pointer_mut(pointer).unwrap() = other_text.into();
                others.push(other);
            }
            if pointer.contains("/claims/") {
                others.push(removed(&whole, pointer));
            }
        }
        let mut of_index = whole.clone();
        of_index["evidence"]["findings"][0]["source"]["index"] = format!("sha256:{}", "0".repeat(64)).into();
        others.push(of_index);
        // What is no case any more (another kind, another status) cannot be decided.
        cases.extend(others.into_iter().filter_map(|other| serde_json::from_value::<Case>(other).ok()));
    }
    Sample { name, list: "signatures", data, cases, swaps, held_at_load, told: &[] }
}

/// What was decided, and what was told.
type Answer = ((VerdictWord, Option<Grants>), Vec<Reason>, Vec<Reason>);

impl Sample {
    fn answers(&self, policy: &Policy) -> impl Iterator<Item = Answer> {
        self.cases.iter().map(|case| {
            let facts = policy.decide(case).unwrap().facts().clone();
            ((facts.verdict, facts.grants), facts.reasons, facts.warnings)
        })
    }

    /// Whether every case is answered as `before` over other data; none where that is refused at load.
    fn is_answered_so(&self, pointer: &str, data: &Value, before: &[Answer]) -> Option<bool> {
        let policy = Policy::embedded(data).ok()?;
        let is_told = self.told.iter().any(|field| pointer.ends_with(&format!("/{field}")));
        let same = |(now, before): (Answer, &Answer)| if is_told { now == *before } else { now.0 == before.0 };
        Some(self.answers(&policy).zip(before).all(same))
    }

    /// Other values for the one at `pointer`.
    fn others(&self, pointer: &str) -> Vec<Value> {
        match self.data.pointer(pointer).unwrap() {
            Value::String(text) => {
                let swapped = self.swaps.iter().filter(|(from, _)| from == text).map(|(_, to)| (*to).to_owned());
                let folder = text.strip_suffix("/*").map(|folder| format!("{folder}/other/*"));
                let words = ["acme", "ci", "value"].iter().filter(|word| text.contains(**word));
                let words = words.map(|word| text.replacen(word, &format!("{word}y"), 1));
                swapped
                    .chain(folder)
                    .chain(words)
                    .chain([format!("{text}x"), format!("{text}1")])
                    .map(Value::from)
                    .collect()
            }
            Value::Number(number) => vec![(number.as_u64().unwrap() + 1).into()],
            Value::Bool(value) => vec![(!value).into()],
            Value::Array(_) => vec![json!([])],
            Value::Object(_) => vec![json!({})],
            _ => Vec::new(),
        }
    }
}

/// The samples by what they are about, so that a rule that is no longer read fails one test and not all of them.
const GROUPS: [(&str, &[&str]); 12] = [
    ("grants", &["grants"]),
    ("claims", &["claims"]),
    ("cosign", &["cosign's names"]),
    ("subjects", &["an exact subject", "a pattern of addresses"]),
    ("github", &["github", "a reusable workflow"]),
    (
        "certificates",
        &["a certificate's exact subject", "a certificate", "a certificate's san", "a certificate's pattern"],
    ),
    ("quorums", &["a quorum", "a signature's environments"]),
    ("selectors", &["a selector", "labels"]),
    ("exemptions", &["an exemption", "break-glass"]),
    ("limits", &["limits"]),
    ("environments", &["environments"]),
    ("imports", &["denied imports", "new imports"]),
];

#[test]
fn a8_1_every_field_of_a_grant_changes_some_verdict() {
    assert_every_field_changes_some_verdict("grants");
}

#[test]
fn a8_1_every_claim_of_an_identity_changes_some_verdict() {
    assert_every_field_changes_some_verdict("claims");
}

#[test]
fn a8_1_every_field_with_cosigns_name_changes_some_verdict() {
    assert_every_field_changes_some_verdict("cosign");
}

#[test]
fn a8_1_every_form_of_a_subject_changes_some_verdict() {
    assert_every_field_changes_some_verdict("subjects");
}

#[test]
fn a8_1_every_field_of_a_github_block_changes_some_verdict() {
    assert_every_field_changes_some_verdict("github");
}

#[test]
fn a8_1_every_field_of_a_certificate_changes_some_verdict() {
    assert_every_field_changes_some_verdict("certificates");
}

#[test]
fn a8_1_every_field_of_a_quorum_changes_some_verdict() {
    assert_every_field_changes_some_verdict("quorums");
}

#[test]
fn a8_1_every_field_of_a_selector_changes_some_verdict() {
    assert_every_field_changes_some_verdict("selectors");
}

#[test]
fn a8_1_every_field_of_what_is_let_past_changes_some_answer() {
    assert_every_field_changes_some_verdict("exemptions");
}

#[test]
fn a8_1_every_limit_changes_some_verdict() {
    assert_every_field_changes_some_verdict("limits");
}

#[test]
fn a8_1_every_field_of_an_environment_changes_some_verdict() {
    assert_every_field_changes_some_verdict("environments");
}

#[test]
fn a8_1_every_field_of_an_import_rule_changes_some_answer() {
    assert_every_field_changes_some_verdict("imports");
}

#[test]
fn a8_1_every_sample_is_in_a_group() {
    let grouped: BTreeSet<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let names: BTreeSet<_> = samples().iter().map(|sample| sample.name).collect();
    assert_eq!(grouped, names);
}

fn assert_every_field_changes_some_verdict(group: &str) {
    let (_, names) = GROUPS.iter().find(|(name, _)| *name == group).expect("a group");
    let faults: Vec<_> = samples().into_iter().filter(|sample| names.contains(&sample.name)).flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The fields of one sample that no verdict goes by.
#[allow(clippy::needless_pass_by_value, reason = "a sample is looked at once")]
fn faults(sample: Sample) -> Vec<String> {
    let mut faults = Vec::new();
    let policy = Policy::embedded(&sample.data).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
    let before = sample.answers(&policy).collect::<Vec<_>>();
    if before[0].0.0 != VerdictWord::Admit {
        return vec![format!("{}: {:?}", sample.name, policy.decide(&sample.cases[0]).unwrap().facts().reasons)];
    }
    let list = format!("/witgate/{}", sample.list);
    let mut pointers = Vec::new();
    places(sample.data.pointer(&list).unwrap(), &list, &mut pointers);
    for pointer in pointers {
        let field = pointer.rsplit('/').next().unwrap();
        let mut fault = |what: &str| faults.push(format!("{}: `{pointer}` {what}", sample.name));
        if sample.is_answered_so(&pointer, &removed(&sample.data, &pointer), &before) == Some(true) {
            fault("removed: nothing reads it");
        }
        let mut taken = 0;
        for other in sample.others(&pointer) {
            let mut data = sample.data.clone();
            *data.pointer_mut(&pointer).unwrap() = other.clone();
            if let Some(same) = sample.is_answered_so(&pointer, &data, &before) {
                taken += 1;
                if same {
                    fault(&format!("changed to {other}: nothing reads it"));
                }
            }
        }
        let is_leaf = sample.data.pointer(&pointer).is_some_and(|value| !value.is_object() && !value.is_array());
        if is_leaf && taken == 0 && !sample.held_at_load.contains(&field) {
            fault("changed: no other value is taken, the test proves nothing");
        }
    }
    faults
}

/// What serde says it would have taken is the list of fields: each has to stand in some sample.
#[test]
fn a8_1_every_field_of_the_data_stands_in_a_sample() {
    let mut known = BTreeMap::<String, BTreeSet<String>>::new();
    let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
    for sample in samples() {
        let mut pointers = Vec::new();
        places(&sample.data["witgate"], "/witgate", &mut pointers);
        for pointer in pointers {
            let Some(Value::Object(fields)) = sample.data.pointer(&pointer) else { continue };
            let place = pointer.split('/').map(|part| if part.parse::<usize>().is_ok() { "*" } else { part });
            let place = place.collect::<Vec<_>>().join("/");
            seen.entry(place.clone()).or_default().extend(fields.keys().cloned());
            let mut data = sample.data.clone();
            data.pointer_mut(&pointer).unwrap()["zz"] = json!(0);
            let error = Policy::embedded(&data).unwrap_err().to_string();
            if let Some((_, names)) = error.split_once("unknown field `zz`, expected") {
                known.entry(place).or_default().extend(names.split('`').skip(1).step_by(2).map(str::to_owned));
            } else {
                let is_open = ["/claims", "/labels", "/matchLabels"].iter().any(|end| place.ends_with(end));
                assert!(is_open, "{place}: {error}");
            }
        }
    }
    assert!(known.len() > 8, "{known:?}");
    for (place, fields) in known {
        let missing: Vec<_> = fields.difference(&seen[&place]).collect();
        assert!(missing.is_empty(), "`{place}`: {missing:?} stand in no sample");
    }
}

/// Every place below `value`: objects, lists and leaves.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let at = format!("{at}/{name}");
        places(value, &at, into);
        into.push(at);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value)),
        _ => {}
    }
}

fn leaves(value: &Value, at: &str, into: &mut Vec<String>) {
    let mut all = Vec::new();
    places(value, at, &mut all);
    let strip = |pointer: &String| pointer.strip_prefix(at).map(str::to_owned).unwrap_or_default();
    into.extend(all.into_iter().filter(|pointer| value.pointer(&strip(pointer)).is_some_and(Value::is_string)));
}

fn removed(data: &Value, pointer: &str) -> Value {
    let mut data = data.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match data.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        _ => unreachable!("a leaf has no members"),
    }
    data
}
