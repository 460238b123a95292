//! Exemptions, break-glass and the rules of the library, decided as the gateway decides (bypasses A19.1, A19.2).

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Policy;
use super::decide::tests::{SHOP, case, data, import};
use crate::case::{BreakGlass, Case, Defect, Finding, Previous, RejectedFinding, Surface, VerdictWord};
use crate::reason::{Code, Reason};

fn unsigned() -> Case {
    let mut case = case();
    case.evidence.findings.clear();
    case
}

fn exemption() -> Value {
    json!({"id": "EX-1", "scope": {"tenant": "default", "environment": "default"}, "references": ["ghcr.io/acme/*"],
        "codes": ["no-verified-signature"], "owner": "team-shop", "approved_by": "security", "reason": "the signer is down",
        "starts": "2025-12-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z"})
}

fn glass() -> Value {
    json!({"callers": [SHOP], "references": ["ghcr.io/acme/*"], "codes": ["no-verified-signature"],
        "expires": "2026-02-01T00:00:00Z"})
}

fn with(list: &str, entries: &[Value]) -> Policy {
    let mut data = data();
    data["witgate"][list] = entries.into();
    Policy::embedded(data).unwrap()
}

fn changed(mut value: Value, field: &str, to: impl Into<Value>) -> Value {
    value[field] = to.into();
    value
}

fn told(reasons: &[Reason]) -> Vec<&str> {
    reasons.iter().map(|reason| reason.code.as_str()).collect()
}

/// The codes of the refusal; nothing is warned of, for nothing was lifted.
fn refused(policy: &Policy, case: &Case) -> Vec<String> {
    let facts = policy.decide(case).unwrap().facts().clone();
    assert_eq!(facts.verdict, VerdictWord::Refuse, "{:?}", facts.warnings);
    assert!(facts.warnings.is_empty(), "{:?}", facts.warnings);
    told(&facts.reasons).into_iter().map(str::to_owned).collect()
}

fn shown(reasons: &[Reason]) -> String {
    let line = |reason: &Reason| {
        format!("{} {}: {} [{}]", reason.code, reason.about, reason.detail, reason.hint.as_deref().unwrap_or_default())
    };
    reasons.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_lifted_is_loud() {
    let facts = with("exemptions", &[exemption()]).decide(&unsigned()).unwrap().facts().clone();
    assert_eq!(facts.verdict, VerdictWord::Admit, "{:?}", facts.reasons);
    assert_snapshot!(shown(&facts.warnings), @"exempted EX-1: `no-verified-signature` about `ghcr.io/acme/cart` is lifted until `2026-02-01T00:00:00Z` (owner `team-shop`, approved by `security`, because `the signer is down`), which said no signature verified; looked in referrers-api (Sigstore bundles); found no candidate [mend it before then, sign the artifact with `cosign sign`, or see each candidate with `witgate verify`]");
    let mut case = unsigned();
    case.break_glass = Some(BreakGlass { justification: "checkout is down, INC-7".into() });
    let facts = with("break_glass", &[glass()]).decide(&case).unwrap().facts().clone();
    assert_eq!(facts.verdict, VerdictWord::Admit, "{:?}", facts.reasons);
    assert_snapshot!(shown(&facts.warnings), @"break-glass spiffe://prod.example/ns/shop: asked to be let past because `checkout is down, INC-7`; lifted `no-verified-signature` [look at it together afterwards, and mend what was lifted]");
}

#[test]
fn a19_1_an_exemption_that_is_not_in_force_lifts_nothing_and_says_so() {
    let foreign = json!({"tenant": "other", "environment": "default"});
    let elsewhere = json!({"tenant": "default", "environment": "prod"});
    for (entry, code) in [
        (changed(exemption(), "expires", "2026-01-01T00:00:00Z"), "exemption-expired"),
        (changed(exemption(), "starts", "2026-01-01T00:00:01Z"), "exemption-expired"),
        (changed(exemption(), "scope", foreign), "exemption-invalid"),
        (changed(exemption(), "scope", elsewhere), "exemption-invalid"),
        (changed(exemption(), "owner", SHOP), "exemption-invalid"),
        (changed(exemption(), "approved_by", SHOP), "exemption-invalid"),
        (changed(exemption(), "approved_by", "team-shop"), "exemption-invalid"),
    ] {
        let policy = with("exemptions", &[entry]);
        assert_eq!(refused(&policy, &unsigned()), [code, "no-verified-signature"]);
        // Who needs none is not troubled with one that is over.
        assert_eq!(policy.decide(&case()).unwrap().facts().verdict, VerdictWord::Admit);
    }
    let two = with("exemptions", &[exemption(), changed(exemption(), "id", "EX-2")]);
    assert_eq!(refused(&two, &unsigned()), ["exemption-invalid", "exemption-invalid", "no-verified-signature"]);
    let facts = two.decide(&unsigned()).unwrap().facts().clone();
    assert_snapshot!(shown(&facts.reasons[..2]), @"
    exemption-invalid EX-1: this exemption lifts nothing, it and `EX-2` cover the same `no-verified-signature` [mend what it was for, or change it in `witgate.exemptions` of the policy's data]
    exemption-invalid EX-2: this exemption lifts nothing, it and `EX-1` cover the same `no-verified-signature` [mend what it was for, or change it in `witgate.exemptions` of the policy's data]
    ");
}

#[test]
fn a19_1_break_glass_is_for_whom_a_rule_names_and_who_says_why() {
    let asks = |justification: &str| {
        let mut case = unsigned();
        case.break_glass = Some(BreakGlass { justification: justification.into() });
        case
    };
    for (rule, case) in [
        (glass(), asks(" ")),
        (changed(glass(), "callers", json!(["spiffe://prod.example/ns/shop/x"])), asks("x")),
        (changed(glass(), "references", json!(["ghcr.io/other/*"])), asks("x")),
        (changed(glass(), "expires", "2026-01-01T00:00:00Z"), asks("x")),
        (changed(glass(), "expires", "2026-04-01T00:00:01Z"), asks("x")),
        (changed(glass(), "environments", json!(["prod"])), asks("x")),
    ] {
        assert_eq!(refused(&with("break_glass", &[rule]), &case), ["break-glass-denied", "no-verified-signature"]);
    }
    let mut good = case();
    good.break_glass = Some(BreakGlass { justification: "just in case".into() });
    assert_eq!(
        refused(&with("break_glass", &[]), &good),
        ["break-glass-denied"],
        "asking for what nobody gives is refused"
    );
}

#[test]
fn a19_2_nothing_lifts_the_floor_a_revocation_or_what_is_no_evidence() {
    let every_code = json!([
        "attestation-missing",
        "component-too-large",
        "identity-mismatch",
        "issuer-mismatch",
        "no-verified-signature",
        "package-banned",
        "provenance-mismatch",
        "signature-too-old",
        "version-rollback",
        "vulnerability-found"
    ]);
    let mut data = data();
    data["witgate"]["break_glass"] = json!([changed(glass(), "codes", every_code.clone())]);
    data["witgate"]["exemptions"] = json!([changed(exemption(), "codes", every_code)]);
    data["witgate"]["import_rules"] = json!([{"references": ["*"], "deny": ["wasi:sockets/*"]}]);
    let policy = Policy::embedded(data).unwrap();
    let mut asks = unsigned();
    asks.break_glass = Some(BreakGlass { justification: "INC-7".into() });
    let said = |case: &Case| {
        let facts = policy.decide(case).unwrap().facts().clone();
        assert_eq!(facts.verdict, VerdictWord::Refuse, "{:?}", facts.warnings);
        told(&facts.reasons).join(" ")
    };
    let with = |change: &dyn Fn(&mut Case)| {
        let mut case = asks.clone();
        change(&mut case);
        said(&case)
    };
    assert_eq!(policy.decide(&asks).unwrap().facts().verdict, VerdictWord::Admit);
    let defect = || Defect { code: Code::LIMIT_EXCEEDED, about: "x".into(), detail: "x".into() };
    let revoked = || Defect { code: Code::REVOKED, about: "x".into(), detail: "x".into() };
    assert_eq!(with(&|case| case.artifact.defects.push(defect())), "limit-exceeded");
    assert_eq!(with(&|case| case.evidence.revoked.push(revoked())), "revoked");
    assert_eq!(with(&|case| case.surface = Surface::Unreadable { detail: "x".into() }), "component-unreadable");
    let bad = Finding::Rejected(RejectedFinding {
        source: case().evidence.findings[0].source().clone(),
        code: Code::REVOKED,
        detail: "key `release`".into(),
    });
    assert_eq!(with(&|case| case.evidence.findings.push(bad.clone())), "revoked");
    assert_eq!(with(&|case| case.links.push("other".into())), "link-not-granted");
    assert_eq!(with(&|case| case.host = "spiffe://prod.example/other".into()), "host-not-caller");
    let sockets = |case: &mut Case| {
        let Surface::Component(world) = &mut case.surface else { unreachable!("a component") };
        world.imports.push(import("wasi:sockets/tcp@0.2.3"));
    };
    assert_eq!(with(&sockets), "import-denied import-not-granted");
    let stranger = |case: &mut Case| {
        case.caller.id = "spiffe://other.example/x".into();
        case.host = "spiffe://other.example/x".into();
    };
    assert_eq!(with(&stranger), "break-glass-denied caller-not-granted");
}

#[test]
fn an_upgrade_tells_what_it_newly_imports() {
    let mut data = data();
    data["witgate"]["import_rules"] = json!([{"references": ["*"], "new_imports": "refuse", "watch": ["wasi:io/*"]}]);
    let policy = Policy::embedded(data).unwrap();
    let mut case = case();
    assert_eq!(policy.decide(&case).unwrap().facts().verdict, VerdictWord::Admit, "a first release");
    let before = |imports: &[&str]| {
        Some(Previous {
            decision: uuid::Uuid::nil(),
            time: case.time,
            artifact: case.artifact.digest,
            version: Some("1.3.0".into()),
            imports: imports.iter().map(|name| (*name).to_owned()).collect(),
        })
    };
    let (same, less) = (before(&["wasi:cli/stdout@0.2.0", "wasi:io/poll@0.2.9"]), before(&[]));
    case.previous = same;
    assert_eq!(policy.decide(&case).unwrap().facts().verdict, VerdictWord::Admit, "the same tracks");
    case.previous = less;
    let facts = policy.decide(&case).unwrap().facts().clone();
    assert_snapshot!(shown(&facts.reasons), @"import-new wasi:io/poll@0.2.3: this release newly imports `wasi:io/poll@0.2.3`; version `1.3.0`, admitted before, did not [look at what it needs it for, then change `new_imports` or `watch` in `witgate.import_rules`]");
}

/// The track as the rules cut it.
fn track_of_rules(name: &str) -> String {
    let mut engine = regorus::Engine::new();
    for (file, text) in [
        ("import_rules.rego", include_str!("../../../policies/import_rules.rego")),
        ("ranges.rego", include_str!("../../../policies/ranges.rego")),
        ("environments_of.rego", include_str!("../../../policies/environments_of.rego")),
    ] {
        engine.add_policy(file.into(), text.into()).unwrap();
    }
    engine.add_policy("t.rego".into(), "package t\nx := data.witgate.importing.track_of(input.name)".into()).unwrap();
    engine.set_input(regorus::Value::from_json_str(&json!({"name": name}).to_string()).unwrap());
    engine.eval_rule("data.t.x".into()).unwrap().as_string().unwrap().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rules_cut_names_to_their_track_as_the_host_does(name in "[ab]:[ab]/[ab](@[v0]?[0-3]\\.[0-3]\\.[0-3](-rc\\.?[01]?)?(\\+b-?1)?)?") {
        prop_assert_eq!(track_of_rules(&name), witgate_host_hook::import_name::track(&name));
    }
}
