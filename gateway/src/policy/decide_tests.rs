//! The shipped policy and hostile ones, decided as the gateway decides.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::case::{
    ArtifactFacts, Caller, CallerKind, CandidateSource, ComponentFacts, Defect, Digest, Evidence, Extern, ExternKind,
    Finding, FindingKind, LayerFacts, Mode, Purpose, ReferenceFacts, RejectedFinding, San, SanKind, Scope, Signer,
    Surface, TrustFacts, TrustKind, VerdictWord, VerifiedFinding, Version, World,
};
use crate::policy::Verdict;
use crate::policy::floor::DEFAULT_LIFETIME_S;

pub(in crate::policy) const SHOP: &str = "spiffe://prod.example/ns/shop";
pub(in crate::policy) const GITHUB: &str = "https://token.actions.githubusercontent.com";
pub(in crate::policy) const WORKFLOW: &str = "https://github.com/acme/cart/.github/workflows/release.yml@refs/tags/v1";

pub(in crate::policy) fn import(name: &str) -> Extern {
    let (base, version) = name.split_once('@').map_or((name, None), |(base, version)| (base, Some(version.to_owned())));
    let (package, interface) = base.split_once('/').unzip();
    Extern {
        name: name.into(),
        package: package.map(str::to_owned),
        interface: interface.map(str::to_owned),
        version,
        track: witgate_host_hook::import_name::track(name),
        kind: ExternKind::Instance,
        items: vec!["func x".into()],
    }
}

fn keyless(issuer: &str, kind: SanKind, value: &str) -> Finding {
    let claims = [("build_trigger", "push"), ("runner_environment", "github-hosted")];
    verified(Signer::Keyless {
        issuer: issuer.into(),
        san: San { kind, value: value.into() },
        claims: claims.map(|(name, value)| (name.into(), value.into())).into(),
    })
}

fn key(name: &str) -> Finding {
    verified(Signer::Key { name: name.into(), keyid: name.into() })
}

fn source(name: &str) -> CandidateSource {
    CandidateSource { via: "referrers-api".into(), name: name.into(), index: None, media_type: None, digest: None }
}

fn verified(signer: Signer) -> Finding {
    Finding::Verified(VerifiedFinding {
        source: source("sha256:good"),
        kind: FindingKind::Signature,
        trust: "public".into(),
        signer,
        times: Vec::new(),
        waived: Vec::new(),
        predicate_type: None,
        predicate: None,
        attests: None,
    })
}

fn rejected(code: Code) -> Finding {
    Finding::Rejected(RejectedFinding { source: source("sha256:bad"), code, detail: "no".into() })
}

fn case_with(findings: Vec<Finding>, imports: &[&str]) -> Case {
    Case {
        version: Version::V1,
        id: uuid::Uuid::nil(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
        scope: Scope::default(),
        mode: Mode::Enforce,
        purpose: Purpose::Admission,
        caller: Caller { kind: CallerKind::X509Svid, id: SHOP.into(), trust_domain: Some("prod.example".into()) },
        host: SHOP.into(),
        links: Vec::new(),
        reference: ReferenceFacts {
            text: "ghcr.io/acme/cart:1.4".into(),
            upstream: "ghcr.io".into(),
            repository: "acme/cart".into(),
            tag: Some("1.4".into()),
            digest: None,
        },
        artifact: ArtifactFacts {
            digest: Digest::of(b"manifest"),
            indexes: Vec::new(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size_bytes: 8,
            annotations: Default::default(),
            config: None,
            component: Some(ComponentFacts {
                digest: Digest::of(b"component"),
                size_bytes: 9,
                media_type: "application/wasm".into(),
            }),
            components: Vec::new(),
            carried: Vec::new(),
            native: None,
            defects: Vec::new(),
        },
        evidence: Evidence {
            trust: Vec::new(),
            looked_in: vec!["referrers-api".into()],
            findings,
            revoked: Vec::new(),
        },
        surface: Surface::Component(World {
            digest: Digest::of(b"world"),
            imports: imports.iter().map(|name| import(name)).collect(),
            exports: Vec::new(),
        }),
        previous: None,
        break_glass: None,
    }
}

/// A case that [`data`] admits.
pub(in crate::policy) fn case() -> Case {
    case_with(vec![keyless(GITHUB, SanKind::Uri, WORKFLOW)], &["wasi:cli/stdout@0.2.3", "wasi:io/poll@0.2.3"])
}

/// The same of native code, which [`data`] does not admit.
pub(in crate::policy) fn native_case() -> Case {
    let mut case = case();
    case.artifact.component = None;
    case.artifact.native = Some(LayerFacts {
        digest: Digest::of(b"program"),
        size_bytes: 7,
        media_type: "application/vnd.wasmcloud.provider.archive.layer.v1+par".into(),
    });
    case.surface = Surface::Unreadable { detail: "no component layer to read in the artifact".into() };
    case
}

pub(in crate::policy) fn data() -> Value {
    json!({"witgate": {
        "signatures": [{
            "references": ["ghcr.io/acme/*"],
            "identities": [
                {"issuer": GITHUB, "san": {"kind": "uri", "value": "https://github.com/acme/*"},
                 "claims": {"build_trigger": "push", "runner_environment": "github-hosted"}},
                {"key": "release"},
                {"issuer": "https://accounts.example", "san": {"kind": "email", "value": "ci@acme.example"}},
            ],
        }],
        "grants": [{
            "callers": ["spiffe://prod.example/ns/*", "local"],
            "references": ["ghcr.io/acme/cart"],
            "hosts": ["spiffe://prod.example/host/*"],
            "imports": ["wasi:cli/*@0.2", "wasi:io/poll@0.2.0"],
            "links": ["db"],
            "config": [{"key": "colour", "value": "blue"}],
            "limits": {"memory_bytes": 1_000_000, "fuel": 5_000, "timeout_ms": 50},
            "lifetime_s": 60,
        }],
    }})
}

#[test]
fn native_code_is_admitted_only_where_policy_says_native() {
    let unsupported = |policy: &Policy, case: &Case| {
        let facts = policy.decide(case).unwrap().facts().clone();
        facts.verdict == VerdictWord::Refuse
            && facts.reasons.iter().any(|reason| reason.code == Code::ARTIFACT_UNSUPPORTED)
    };
    // Rules that never heard of it, however much they grant, admit none of it.
    for rules in [
        "admit := true",
        "admit := true\ngrants := {\"imports\": [\"wasi:cli/*\", \"wasi:io/*\"]}",
        "admit := true\ngrants := {\"native\": false}",
    ] {
        assert!(unsupported(&custom(rules), &native_case()), "{rules}");
    }
    assert!(unsupported(&shipped(&data()), &native_case()));
    let mut named = data();
    named["witgate"]["grants"][0]["native"] = true.into();
    for policy in [shipped(&named), custom("admit := true\ngrants := {\"native\": true}")] {
        let decision = policy.decide(&native_case()).unwrap();
        let Verdict::Admit(grant) = decision.verdict() else { panic!("{:?}", decision.facts().reasons) };
        assert!(grant.component().is_none() && grant.imports().is_empty(), "no ticket can be made of it");
    }
    // It lifts nothing of the floor: bytes that are neither, a defect, somebody who did not sign.
    let mut neither = native_case();
    neither.artifact.native = None;
    let mut defective = native_case();
    defective.artifact.defects.push(Defect { code: Code::LIMIT_EXCEEDED, about: "x".into(), detail: "x".into() });
    let mut unsigned = native_case();
    unsigned.evidence.findings.clear();
    let mut beside = native_case();
    beside.artifact.component = case().artifact.component;
    let mut among = native_case();
    among.artifact.components.extend(case().artifact.component);
    for case in [neither, defective, unsigned, beside, among] {
        let facts = shipped(&named).decide(&case).unwrap().facts().clone();
        assert_eq!(facts.verdict, VerdictWord::Refuse, "{:?}", case.artifact);
    }
}

#[test]
fn an_application_is_admitted_as_a_whole_and_no_ticket_is_made_of_it() {
    let mut case = case();
    let component = case.artifact.component.take().unwrap();
    case.artifact.components = vec![component.clone(), component];
    let decision = shipped(&data()).decide(&case).unwrap();
    let Verdict::Admit(grant) = decision.verdict() else { panic!("{:?}", decision.facts().reasons) };
    assert!(grant.component().is_none());
    assert_eq!(grant.imports().len(), 2);
    case.artifact.components.clear();
    let facts = shipped(&data()).decide(&case).unwrap().facts().clone();
    assert_eq!((facts.verdict, &facts.reasons[0].code), (VerdictWord::Refuse, &Code::COMPONENT_UNREADABLE));
}

fn shipped(data: &Value) -> Policy {
    Policy::embedded(data).unwrap()
}

fn custom(rules: &str) -> Policy {
    let text = format!("package witgate.admission\n\n{rules}\n");
    Policy::from_sources(vec![Source { name: "own.rego".into(), text }], json!({}), "own", "1").unwrap()
}

fn codes(policy: &Policy, case: &Case) -> Vec<String> {
    let decision = policy.decide(case).unwrap();
    assert_eq!(decision.facts().verdict == VerdictWord::Refuse, !decision.facts().reasons.is_empty());
    decision.facts().reasons.iter().map(|reason| reason.code.to_string()).collect()
}

#[track_caller]
fn assert_refused(policy: &Policy, case: &Case, expected: &[&str]) {
    assert_eq!(codes(policy, case), expected);
}

#[test]
fn admits_with_exactly_what_the_component_needs() {
    let mut case = case();
    case.links = vec!["db".into()];
    let decision = shipped(&data()).decide(&case).unwrap();
    let grants = decision.facts().grants.as_ref().expect("admitted");
    assert_eq!(
        serde_json::to_value(grants).unwrap(),
        json!({
            "imports": ["wasi:cli/stdout@0.2.3", "wasi:io/poll@0.2.3"],
            "links": ["db"],
            "config": [{"key": "colour", "value": "blue"}],
            "limits": {"memory_bytes": 1_000_000, "fuel": 5_000, "timeout_ms": 50},
            "lifetime_s": 60,
        })
    );
    assert!(matches!(decision.verdict(), Verdict::Admit(grant) if grant.audience() == SHOP));
    case.links.clear();
    let decision = shipped(&data()).decide(&case).unwrap();
    assert_eq!(decision.facts().grants.as_ref().unwrap().links, Vec::<String>::new());
}

#[test]
fn the_embedded_policy_admits_nobody_by_default() {
    let policy = Policy::load(&Settings::default()).unwrap();
    assert_refused(&policy, &case(), &["caller-not-granted", "identity-mismatch"]);
    let mut local = case();
    local.caller = Caller { kind: CallerKind::Local, id: "local".into(), trust_domain: None };
    local.host = "local".into();
    local.evidence.findings.clear();
    assert_refused(&policy, &local, &["caller-not-granted", "no-verified-signature"]);
    local.surface = Surface::Component(World { digest: Digest::of(b""), imports: Vec::new(), exports: Vec::new() });
    assert_refused(&policy, &local, &["caller-not-granted", "no-verified-signature"]);
}

#[test]
fn each_reason_reads_well() {
    let policy = shipped(&data());
    let reason = |case: &Case| {
        let decision = policy.decide(case).unwrap();
        let reasons = decision.facts().reasons.clone();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        let Reason { code, about, detail, hint, policy: _ } = reasons.into_iter().next().unwrap();
        assert!(hint.is_some());
        format!("{code} | {about} | {detail}")
    };
    let mut unsigned = case();
    unsigned.evidence.findings = vec![rejected(Code::SUBJECT_MISMATCH)];
    assert_eq!(
        reason(&unsigned),
        "no-verified-signature | ghcr.io/acme/cart | no signature verified; looked in referrers-api (Sigstore \
         bundles); `sha256:bad` rejected: subject-mismatch"
    );
    let other = case_with(vec![keyless("https://other.example", SanKind::Email, "ci@other.example")], &[]);
    assert_eq!(
        reason(&other),
        "identity-mismatch | ci@other.example | signed by `ci@other.example` (issuer `https://other.example`), policy \
         wants `ci@acme.example` or `https://github.com/acme/*` with build_trigger `push`, runner_environment \
         `github-hosted` or key `release`"
    );
    let issuer = case_with(vec![keyless("https://other.example", SanKind::Email, "ci@acme.example")], &[]);
    assert_eq!(
        reason(&issuer),
        "issuer-mismatch | ci@acme.example | signed by `ci@acme.example` (issuer `https://other.example`), policy wants \
         issuer `https://accounts.example`"
    );
    let sockets = case_with(vec![key("release")], &["wasi:cli/stdout@0.2.3", "wasi:sockets/tcp@0.2.3"]);
    assert_eq!(reason(&sockets), format!("import-not-granted | wasi:sockets/tcp@0.2.3 | not granted to `{SHOP}`"));
    let mut link = case();
    link.links = vec!["mail".into()];
    assert_eq!(reason(&link), format!("link-not-granted | mail | not granted to `{SHOP}`"));
    let mut host = case();
    host.host = "spiffe://prod.example/other".into();
    assert_eq!(
        reason(&host),
        format!(
            "host-not-caller | spiffe://prod.example/other | `{SHOP}` may not ask on behalf of `spiffe://prod.example/other`"
        )
    );
    let mut caller = case();
    caller.caller.id = "spiffe://evil.example/ns/shop".into();
    caller.host = caller.caller.id.clone();
    assert_eq!(
        reason(&caller),
        "caller-not-granted | spiffe://evil.example/ns/shop | no grant rule names `spiffe://evil.example/ns/shop` for \
         `ghcr.io/acme/cart`"
    );
}

#[test]
fn the_signature_may_be_any_of_many_and_must_be_one() {
    let policy = shipped(&data());
    let mut case = case();
    let good = case.evidence.findings[0].clone();
    let mut findings = vec![rejected(Code::BUNDLE_MALFORMED); 127];
    findings.insert(64, good);
    case.evidence.findings = findings;
    assert_refused(&policy, &case, &[]);
    case.evidence.findings.remove(64);
    assert_refused(&policy, &case, &["no-verified-signature"]);
    let mut attestation = self::case();
    if let Finding::Verified(finding) = &mut attestation.evidence.findings[0] {
        finding.kind = FindingKind::Attestation;
    }
    assert_refused(&policy, &attestation, &["no-verified-signature"]);
}

#[test]
fn a9_1_look_alikes_never_match() {
    let policy = shipped(&data());
    for value in [
        "https://github.com/acme",
        "https://github.com/acme/",
        "https://github.com/acme-evil/x",
        "https://github.com/acme.evil/x",
        "https://github.com/Acme/x",
        "https://GitHub.com/acme/x",
        "https://github.com@evil.example/acme/x",
        "https://github.com:x@evil.example/acme/x",
        "https://user@github.com/acme/x",
        "https://github.com./acme/x",
        "https://xn--gthub-n4a.com/acme/x",
        "https://g\u{131}thub.com/acme/x",
        "https://github.com/acme%2fx",
        "https://github.com/acme/%2F../evil",
        "https://github.com/acme/../evil/x",
        "https://github.com//acme/x",
        "https://github.com/acme/x\n",
        "https://github.com/acme/x\nhttps://github.com/acme/y",
        "https://github.com/acme/\u{0}x",
        "\u{0}https://github.com/acme/x",
        "https://github.com/acme/\u{202e}x",
        "https://evil.example/?https://github.com/acme/x",
        "https://evil.example/#https://github.com/acme/x",
        "https://github.com\\@evil.example/acme/x",
        "https://github.com?/acme/x",
        "https://github.com#/acme/x",
        "",
        "*",
        "https://github.com/*",
    ] {
        let case = case_with(vec![keyless(GITHUB, SanKind::Uri, value)], &[]);
        assert_refused(&policy, &case, &["identity-mismatch"]);
    }
    let matches = |value| codes(&policy, &case_with(vec![keyless(GITHUB, SanKind::Uri, value)], &[])).is_empty();
    // What GitHub and GitLab write: a ref behind `@`, an empty folder in front of the file.
    assert!(matches(WORKFLOW));
    assert!(matches("https://github.com/acme/group//.gitlab-ci.yml@refs/heads/main"));
}

#[test]
fn a9_2_kinds_of_names_never_mix() {
    let mut data = data();
    let identities = json!([
        {"issuer": GITHUB, "san": {"kind": "uri", "value": WORKFLOW}},
        {"issuer": GITHUB, "san": {"kind": "email", "value": "ci@acme.example"}},
    ]);
    data["witgate"]["signatures"][0]["identities"] = identities;
    let policy = shipped(&data);
    let signed = |kind, value| case_with(vec![keyless(GITHUB, kind, value)], &[]);
    assert_refused(&policy, &signed(SanKind::Uri, WORKFLOW), &[]);
    assert_refused(&policy, &signed(SanKind::Email, WORKFLOW), &["identity-mismatch"]);
    assert_refused(&policy, &signed(SanKind::Email, "ci@acme.example"), &[]);
    assert_refused(&policy, &signed(SanKind::Uri, "ci@acme.example"), &["identity-mismatch"]);
    assert_refused(&policy, &signed(SanKind::Email, "Ci@acme.example"), &["identity-mismatch"]);
    assert_refused(&policy, &case_with(vec![key(WORKFLOW)], &[]), &["identity-mismatch"]);
}

#[test]
fn a9_3_issuer_and_subject_must_stand_in_one_identity() {
    let policy = shipped(&data());
    let halves = case_with(vec![keyless("https://accounts.example", SanKind::Uri, WORKFLOW)], &[]);
    assert_refused(&policy, &halves, &["issuer-mismatch"]);
    let halves = case_with(vec![keyless(GITHUB, SanKind::Email, "ci@acme.example")], &[]);
    assert_refused(&policy, &halves, &["issuer-mismatch"]);
    let two = vec![
        keyless("https://accounts.example", SanKind::Email, "other@acme.example"),
        keyless(GITHUB, SanKind::Uri, "https://github.com/other/x"),
    ];
    assert_refused(&policy, &case_with(two, &[]), &["identity-mismatch", "identity-mismatch"]);
}

fn with_entry(entry: &Value) -> Policy {
    let mut data = data();
    data["witgate"]["signatures"] = json!([entry]);
    shipped(&data)
}

fn cert(authority: &str, value: &str) -> Finding {
    let san = San { kind: SanKind::Uri, value: value.into() };
    verified(Signer::Certificate { authority: authority.into(), san })
}

#[test]
fn a9_1_patterns_never_match_look_alikes() {
    let policy = with_entry(&json!({"references": ["*"], "identities": [
        {"issuer": GITHUB, "subjectRegExp": "^https://github.com/acme/.*$", "subjectType": "uri"}]}));
    for value in [
        "https://githubXcom/acme/x",
        "https://githubxcom/acme/x",
        "https://github.com/acme-evil/x",
        "https://github.com/acme.evil/x",
        "https://github.com@evil.example/acme/x",
        "https://GITHUB.com/acme/x",
        "https://github.com./acme/x",
        "https://xn--gthub-n4a.com/acme/x",
        "https://github.com//acme/x",
        "https://github.com/acme/../evil",
        "https://github.com/acme/%2e%2e/evil",
        "https://github.com/acme%2fx",
        "https://github.com/acme/x\n",
        "https://github.com/acme/\u{0}x",
        "https://evil.example/https://github.com/acme/x",
    ] {
        let case = case_with(vec![keyless(GITHUB, SanKind::Uri, value)], &[]);
        assert_refused(&policy, &case, &["identity-mismatch"]);
    }
    assert_refused(&policy, &case_with(vec![keyless(GITHUB, SanKind::Uri, WORKFLOW)], &[]), &[]);
    assert_refused(&policy, &case_with(vec![keyless(GITHUB, SanKind::Email, WORKFLOW)], &[]), &["identity-mismatch"]);
    let other = keyless("https://evil.example", SanKind::Uri, WORKFLOW);
    assert_refused(&policy, &case_with(vec![other], &[]), &["issuer-mismatch"]);
}

#[test]
fn a11_1_one_party_counts_once() {
    let acme = json!({"issuer": GITHUB, "san": {"kind": "uri", "value": "https://github.com/acme/*"}});
    let exact = json!({"issuer": GITHUB, "san": {"kind": "uri", "value": WORKFLOW}});
    let own = json!({"certificate": {"authority": "own", "san": {"kind": "uri", "value": "https://h/*"}}});
    let policy = with_entry(&json!({"references": ["*"], "threshold": 2,
        "identities": [acme, exact, {"key": "a"}, {"key": "b"}, own]}));
    let workflow = || keyless(GITHUB, SanKind::Uri, WORKFLOW);
    let mut other_run = workflow();
    if let Finding::Verified(VerifiedFinding { signer: Signer::Keyless { claims, .. }, .. }) = &mut other_run {
        claims.insert("run_invocation_uri".into(), "https://github.com/acme/cart/actions/runs/2".into());
    }
    let twin = |name: &str| verified(Signer::Key { name: name.into(), keyid: "same".into() });
    for findings in [
        vec![workflow()],
        vec![workflow(), workflow()],
        vec![workflow(), other_run],
        vec![twin("a"), twin("b")],
        vec![key("a"), key("a")],
        vec![cert("own", "https://h/x"), cert("own", "https://h/x")],
        vec![cert("own", "https://h/x"), cert("own", "https://h/y")],
        vec![workflow(), key("c")],
    ] {
        assert_refused(&policy, &case_with(findings, &[]), &["threshold-not-met"]);
    }
    let second = "https://github.com/acme/other/.github/workflows/x.yml@refs/heads/main";
    for findings in [
        vec![workflow(), key("a")],
        vec![key("a"), key("b")],
        vec![workflow(), keyless(GITHUB, SanKind::Uri, second)],
        vec![keyless(GITHUB, SanKind::Uri, second), workflow()],
        vec![cert("own", "https://h/x"), key("b")],
    ] {
        assert_refused(&policy, &case_with(findings, &[]), &[]);
    }
    assert_refused(&policy, &case_with(vec![key("c")], &[]), &["identity-mismatch"]);
    let decision = policy.decide(&case_with(vec![key("a"), twin("c")], &[])).unwrap();
    let detail = &decision.facts().reasons[0].detail;
    assert!(
        detail.starts_with("signed by key `a`; that counts as 1 of 2 different signers, policy wants 2 of "),
        "{detail}"
    );
}

/// Strangers may attach as many good signatures as evidence looks at; the rules still end within their instructions.
#[test]
fn signatures_of_strangers_do_not_use_up_the_instructions() {
    let policy = |entry: &Value| {
        let mut data = data();
        data["witgate"]["signatures"] = json!([entry]);
        let bundle = Bundle::from_sources(Bundle::embedded().modules, &data, "t", "1").unwrap();
        // The clock of a busy machine is not what is tested.
        Policy::of_bundles(&[bundle], 30_000).unwrap()
    };
    let mut identities: Vec<_> = (0..31)
        .map(
            |n| json!({"issuer": GITHUB, "subjectType": "uri", "subjectRegExp": format!("https://github.com/o{n}/.*")}),
        )
        .collect();
    identities.push(json!({"key": "release"}));
    let strangers = (0..127).map(|n| keyless(GITHUB, SanKind::Uri, &format!("https://github.com/mallory/{n}/x")));
    let findings: Vec<_> = strangers.chain([key("release")]).collect();
    assert_refused(&policy(&json!({"references": ["*"], "identities": identities})), &case_with(findings, &[]), &[]);
    let quorum: Vec<_> = (0..8)
        .map(|n| json!({"issuer": GITHUB, "subjectType": "uri", "subjectRegExp": format!("https://github.com/[a-z]+/[0-9]*{n}/x")}))
        .collect();
    let policy = policy(&json!({"references": ["*"], "threshold": 8, "identities": quorum}));
    let signed = |count| case_with(strangers_of(count), &[]);
    assert_refused(&policy, &signed(128), &[]);
    assert_refused(&policy, &signed(7), &["threshold-not-met"]);
}

fn strangers_of(count: usize) -> Vec<Finding> {
    (0..count).map(|n| keyless(GITHUB, SanKind::Uri, &format!("https://github.com/mallory/{n}/x"))).collect()
}

#[test]
fn a4_1_attestations_and_tokens_never_count() {
    let policy = with_entry(&json!({"references": ["*"], "threshold": 2, "identities": [{"key": "a"}, {"key": "b"}]}));
    for kind in [FindingKind::Attestation, FindingKind::WascapClaims] {
        let mut other = key("b");
        if let Finding::Verified(finding) = &mut other {
            finding.kind = kind;
        }
        assert_refused(&policy, &case_with(vec![key("a"), other], &[]), &["threshold-not-met"]);
    }
    let nkey = verified(Signer::LegacyNkey { issuer: "AA".into(), subject: "MA".into() });
    assert_refused(&policy, &case_with(vec![nkey], &[]), &["identity-mismatch"]);
}

#[test]
fn a_reusable_workflow_signs_for_the_repository_it_worked_for() {
    let signer = "acme/flows/.github/workflows/build.yml@refs/tags/v1";
    let policy = with_entry(&json!({"references": ["*"], "identities": [
        {"github": {"repository": "acme/cart", "signerWorkflow": signer}}]}));
    let signed = |value: String, source: &str| {
        let claims = [("source_repository_uri".to_owned(), source.to_owned())].into();
        let san = San { kind: SanKind::Uri, value };
        case_with(vec![verified(Signer::Keyless { issuer: GITHUB.into(), san, claims })], &[])
    };
    let good = format!("https://github.com/{signer}");
    assert_refused(&policy, &signed(good.clone(), "https://github.com/acme/cart"), &[]);
    for (value, source) in [
        (good.clone(), "https://github.com/mallory/cart"),
        (good.clone(), "https://github.com/acme/cart2"),
        (format!("{good}0"), "https://github.com/acme/cart"),
        (good.replace("acme/flows", "mallory/flows"), "https://github.com/acme/cart"),
        (WORKFLOW.to_owned(), "https://github.com/acme/cart"),
    ] {
        assert_refused(&policy, &signed(value, source), &["identity-mismatch"]);
    }
}

#[test]
fn a22_1_no_policy_lifts_a_revocation() {
    let open = custom("admit := true\ngrants := {\"imports\": [i.name | some i in input.surface.imports]}");
    let mut case = case();
    assert_refused(&open, &case, &[]);
    case.evidence.revoked.push(Defect { code: Code::REVOKED, about: "sha256:1".into(), detail: "hole".into() });
    assert_refused(&open, &case, &["revoked"]);
}

#[test]
fn the_floor_cannot_be_lifted() {
    let open = custom("admit := true\ngrants := {\"imports\": [i.name | some i in input.surface.imports]}");
    assert_refused(&open, &case(), &[]);
    let refused = |change: &dyn Fn(&mut Case), expected: &str| {
        let mut case = case();
        change(&mut case);
        assert_refused(&open, &case, &[expected]);
    };
    refused(&|case| case.surface = Surface::Unreadable { detail: "core module".into() }, "component-unreadable");
    refused(&|case| case.artifact.component = None, "component-unreadable");
    refused(&|case| case.reference.digest = Some(Digest::of(b"other")), "digest-mismatch");
    refused(
        &|case| {
            let defect = Defect { code: Code::LIMIT_EXCEEDED, about: "layers[0].size".into(), detail: "1".into() };
            case.artifact.defects.push(defect);
        },
        "limit-exceeded",
    );
    for kind in [ExternKind::CoreModule, ExternKind::Component, ExternKind::Value] {
        refused(
            &|case| {
                if let Surface::Component(world) = &mut case.surface {
                    world.imports[0].kind = kind;
                }
            },
            "import-kind-unknown",
        );
    }
    let trust = |age_s| TrustFacts {
        name: "public".into(),
        kind: TrustKind::SigstoreRoot,
        digest: Digest::of(b"root"),
        age_s,
        max_age_s: Some(100),
        waived: Vec::new(),
    };
    refused(&|case| case.evidence.trust = vec![trust(101)], "trust-root-stale");
    let mut fresh = case();
    fresh.evidence.trust = vec![trust(100)];
    fresh.reference.digest = Some(fresh.artifact.digest);
    assert_refused(&open, &fresh, &[]);
    for kind in [ExternKind::Func, ExternKind::Type] {
        let mut known = case();
        if let Surface::Component(world) = &mut known.surface {
            world.imports[0].kind = kind;
        }
        assert_refused(&open, &known, &[]);
    }
}

#[test]
fn the_floor_tells_why_a_component_cannot_be_read() {
    let open = custom("admit := true\ngrants := {\"imports\": []}");
    let told = |case: &Case| {
        let reasons = open.decide(case).unwrap().facts().reasons.clone();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        (reasons[0].code.to_string(), reasons[0].about.clone(), reasons[0].detail.clone())
    };
    let mut unreadable = case();
    unreadable.surface = Surface::Unreadable { detail: "core module".into() };
    let code = "component-unreadable".to_owned();
    let about = unreadable.artifact.digest.to_string();
    assert_eq!(told(&unreadable), (code.clone(), about.clone(), "core module".into()));
    let mut bare = case();
    bare.artifact.component = None;
    assert_eq!(told(&bare), (code, about, "the manifest names no layer that is a component".into()));
}

#[test]
fn a29_1_the_floor_says_beside_its_reason_that_no_rule_speaks_for_the_caller() {
    let speaks_for_nobody = r#"admit := true
refuse contains {"code": "caller-not-granted", "about": input.caller.id, "detail": "nobody"}
refuse contains {"code": "own-rule", "about": "", "detail": ""}"#;
    let mut broken = case();
    broken.surface = Surface::Unreadable { detail: "core module".into() };
    assert_refused(&custom(speaks_for_nobody), &broken, &["caller-not-granted", "component-unreadable"]);
    for rules in ["admit := true", "admit := 1", "admit if input.absent.x == input.y"] {
        assert_refused(&custom(rules), &broken, &["component-unreadable"]);
    }
}

#[test]
fn a29_1_whether_any_rule_speaks_for_a_caller_is_known_before_anything_is_seen() {
    let unseen = |id: &str| {
        let mut unseen = case();
        unseen.caller.id = id.into();
        unseen.host = id.into();
        unseen.artifact = crate::case::ArtifactFacts::unseen();
        unseen.evidence = crate::case::Evidence::default();
        unseen.surface = Surface::Unreadable { detail: String::new() };
        unseen
    };
    let policy = shipped(&data());
    assert!(policy.may_speak_for_caller(&unseen(SHOP)));
    assert!(!policy.may_speak_for_caller(&unseen("spiffe://evil.example/ns/shop")));
    // What says nothing of it, or fails, hides nothing: the decision is what refuses.
    for rules in ["admit := true", "admit := 1", "admit if input.absent.x == input.y", "refuse contains 1"] {
        assert!(custom(rules).may_speak_for_caller(&unseen("spiffe://evil.example/ns/shop")), "{rules}");
    }
}

#[test]
fn a_policy_cannot_grant_more_than_names() {
    for imports in [r#"["*"]"#, r#"["wasi:*"]"#, "[]", r#"["wasi:cli/*", "wasi:io/pol*"]"#, r#"["", "/*", ":/*"]"#] {
        let policy = custom(&format!("admit := true\ngrants := {{\"imports\": {imports}}}"));
        assert!(codes(&policy, &case()).contains(&"import-not-granted".to_owned()), "{imports}");
    }
    let policy = custom("admit := true");
    assert_refused(&policy, &case(), &["import-not-granted", "import-not-granted"]);
    let mut alone = case_with(Vec::new(), &[]);
    assert_refused(&policy, &alone, &[]);
    let decision = policy.decide(&alone).unwrap();
    assert_eq!(decision.facts().grants.as_ref().unwrap().lifetime_s, DEFAULT_LIFETIME_S);
    alone.links = vec!["db".into()];
    assert_refused(&policy, &alone, &["link-not-granted"]);
}

#[test]
fn silence_and_nonsense_admit_nobody() {
    let empty = Policy::from_sources(Vec::new(), json!({}), "empty", "1").unwrap();
    let alone = case_with(Vec::new(), &[]);
    assert_refused(&empty, &alone, &["not-admitted"]);
    for (rules, code) in [
        ("x := 1", "not-admitted"),
        ("admit := false", "not-admitted"),
        ("admit if input.absent", "not-admitted"),
        ("admit if input.artifact.annotations.absent == null", "not-admitted"),
        ("admit := \"true\"", "policy-failed"),
        ("admit := 1", "policy-failed"),
        ("admit := true\nrefuse contains \"no\"", "policy-failed"),
        ("admit := true\nrefuse contains {\"code\": \"No Code\", \"about\": \"\", \"detail\": \"\"}", "policy-failed"),
        ("admit := true\nrefuse contains {\"code\": \"x\"}", "policy-failed"),
        ("admit := true\nwarn contains 1", "policy-failed"),
        ("admit := true\ngrants := {\"import\": []}", "policy-failed"),
        ("admit := true\ngrants := [] if input.links", "policy-failed"),
        ("admit := true\ngrants := {} if input.absent", "policy-failed"),
        ("admit := true\ngrants := {\"limits\": {\"fuel\": -1}}", "policy-failed"),
        ("admit := true\nadmit := false if input.links", "not-admitted"),
        ("admit := true\nrefuse contains {\"code\": \"own-rule\", \"about\": \"\", \"detail\": \"\"}", "own-rule"),
    ] {
        let policy = custom(rules);
        assert_eq!(codes(&policy, &alone), [code], "{rules}");
    }
}

#[test]
fn a4_3_a_rule_over_a_field_that_is_absent_admits_nobody() {
    let mut attestation = key("release");
    if let Finding::Verified(finding) = &mut attestation {
        finding.kind = FindingKind::Attestation;
        finding.predicate_type = Some("https://acme.example/level/v1".into());
        finding.predicate = Some(json!({"level": 3}));
    }
    let with = case_with(vec![attestation.clone()], &[]);
    if let Finding::Verified(finding) = &mut attestation {
        finding.predicate = Some(json!({"other": 3}));
    }
    let without = case_with(vec![attestation.clone()], &[]);
    if let Finding::Verified(finding) = &mut attestation {
        finding.predicate = None;
    }
    let bare = case_with(vec![attestation], &[]);
    for condition in [
        "finding.predicate.level == 3",
        "finding.predicate.level >= 3",
        "finding.predicate.level < 9",
        "finding.predicate.level != \"bad\"",
        "finding.predicate.level in [3, null]",
        "is_number(finding.predicate.level)",
        "level := finding.predicate.level; level * 2 < 9",
    ] {
        let policy = custom(&format!("admit if {{ some finding in input.evidence.findings; {condition} }}"));
        assert_refused(&policy, &with, &[]);
        assert_refused(&policy, &without, &["not-admitted"]);
        assert_refused(&policy, &bare, &["not-admitted"]);
    }
}

#[test]
fn an_endless_policy_is_a_refusal_in_time() {
    let mut case = case();
    case.links = (0..400).map(|link| format!("l{link}")).collect();
    for rules in [
        "admit if { some a in input.links; some b in input.links; some c in input.links; some d in input.links; a == b; c == d; a == 1 }",
        "refuse contains x if { some a in input.links; some b in input.links; some c in input.links; x := [a, b, c] }",
        "admit if count([a | some a in input.links; some b in input.links; some c in input.links]) < 0",
    ] {
        let policy = custom(rules);
        let started = std::time::Instant::now();
        assert_refused(&policy, &case, &["policy-timeout"]);
        let elapsed = started.elapsed();
        assert!(elapsed.as_secs() < 2, "`{rules}` took {elapsed:?}");
    }
}

#[test]
fn threads_decide_alike_at_once() {
    let policy = shipped(&data());
    let bad = case_with(vec![key("other")], &[]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (policy, bad) = (&policy, &bad);
            scope.spawn(move || {
                for round in 0..25 {
                    if (thread + round) % 2 == 0 {
                        assert_refused(policy, &case(), &[]);
                    } else {
                        assert_refused(policy, bad, &["identity-mismatch"]);
                    }
                }
            });
        }
    });
}

#[test]
fn many_missing_imports_are_told_within_the_limit() {
    let names: Vec<_> = (0..200).map(|n| format!("evil:p{n:03}/i@1.0.0")).collect();
    let case = case_with(vec![key("release")], &names.iter().map(String::as_str).collect::<Vec<_>>());
    let policy = shipped(&data());
    assert_eq!(codes(&policy, &case), vec!["import-not-granted"; crate::policy::answer::MAX_REASONS]);
}

#[test]
fn text_of_strangers_is_data_only() {
    let case = case_with(vec![keyless("i\u{1b}[31m", SanKind::Email, "a\u{1b}]0;x\u{7}\n<b>%s%d</b>")], &[]);
    let decision = shipped(&data()).decide(&case).unwrap();
    let reason = &decision.facts().reasons[0];
    assert_eq!(reason.code, Code::IDENTITY_MISMATCH);
    assert!(!reason.about.chars().chain(reason.detail.chars()).any(char::is_control));
}

#[test]
fn the_verdict_is_the_same_in_the_log_and_in_the_proof() {
    let decision = shipped(&data()).decide(&case()).unwrap();
    let Verdict::Admit(grant) = decision.verdict() else { panic!("refused") };
    assert_eq!(Some(grant.grants()), decision.facts().grants.as_ref());
    assert_eq!(grant.imports(), grant.grants().imports);
    assert_eq!(grant.policy(), &decision.facts().policy);
}

#[test]
fn a_folder_over_the_embedded_policy_is_a_policy_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("acme.json"), data().to_string()).unwrap();
    let settings = Settings { data: Some(dir.path().into()), ..Settings::default() };
    let policy = Policy::load(&settings).unwrap();
    assert_refused(&policy, &case(), &[]);
    assert_ne!(policy.facts().digest, Policy::load(&Settings::default()).unwrap().facts().digest);
    std::fs::write(dir.path().join("acme.json"), data().to_string().replace("identities", "identites")).unwrap();
    assert!(matches!(Policy::load(&settings), Err(LoadError::Data { .. })));
    let settings: Settings = serde_json::from_value(json!({})).unwrap();
    assert_eq!(settings, Settings::default());
    assert!(serde_json::from_value::<Settings>(json!({"timeout": 1})).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever is admitted was signed for by a name below the folder, whatever the name looks like.
    #[test]
    fn only_names_below_the_folder_match(value in "(https://github.com/acme/|https://github.com/|https://)?[a-z@%./:\\\\*#?-]{0,12}") {
        let policy = shipped(&data());
        let decision = policy.decide(&case_with(vec![keyless(GITHUB, SanKind::Uri, &value)], &[])).unwrap();
        if decision.facts().verdict == VerdictWord::Admit {
            prop_assert!(value.starts_with("https://github.com/acme/") && value.len() > 24, "`{value}`");
        }
    }

    /// The rules give one answer in whatever order evidence is listed.
    #[test]
    fn the_order_of_findings_never_matters(order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle()) {
        let policy = shipped(&data());
        let all = [key("release"), key("other"), rejected(Code::BUNDLE_MALFORMED), keyless("i", SanKind::Uri, "https://a/b")];
        let findings = order.iter().map(|index| all[*index].clone()).collect();
        prop_assert!(codes(&policy, &case_with(findings, &[])).is_empty());
        let findings = order.iter().filter(|index| **index > 0).map(|index| all[*index].clone()).collect();
        prop_assert_eq!(codes(&policy, &case_with(findings, &[])), vec!["identity-mismatch"; 2]);
    }

    /// Counting agrees with a search through every assignment of signers to identities.
    #[test]
    fn a_threshold_is_met_when_an_assignment_exists(
        names in prop::collection::vec(prop::collection::btree_set(0_usize..4, 1..4), 1..5),
        signed in prop::collection::btree_set(0_usize..4, 0..4),
        threshold in 1_usize..5,
    ) {
        // Identity `n` is the pattern of the digits in `names[n]`; signer `d` is the workflow of the digit `d`.
        let distinct: std::collections::BTreeSet<_> = names.iter().cloned().collect();
        let names: Vec<_> = distinct.into_iter().collect();
        let threshold = threshold.min(names.len());
        let identities: Vec<_> = names.iter().map(|digits| {
            let digits: Vec<_> = digits.iter().map(ToString::to_string).collect();
            json!({"issuer": GITHUB, "subjectType": "uri", "subjectRegExp": format!("https://h/a/({})", digits.join("|"))})
        }).collect();
        let policy = with_entry(&json!({"references": ["*"], "threshold": threshold, "identities": identities}));
        let findings = signed.iter().map(|digit| keyless(GITHUB, SanKind::Uri, &format!("https://h/a/{digit}"))).collect();
        let admitted = codes(&policy, &case_with(findings, &[])).is_empty();
        let signed: Vec<_> = signed.into_iter().collect();
        prop_assert_eq!(admitted, most(&names, &signed) >= threshold);
    }
}

/// The most identities that different signers can stand for, by trying everything.
fn most(identities: &[std::collections::BTreeSet<usize>], signers: &[usize]) -> usize {
    let Some((first, rest)) = identities.split_first() else { return 0 };
    let with = signers.iter().filter(|signer| first.contains(signer)).map(|taken| {
        let left: Vec<_> = signers.iter().copied().filter(|signer| signer != taken).collect();
        1 + most(rest, &left)
    });
    with.chain([most(rest, signers)]).max().unwrap_or(0)
}
