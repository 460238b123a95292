//! Several bundles at once, and the modes that let pass what policy alone refuses.

use serde_json::json;

use super::tests::{case, data, native_case};
use super::*;
use crate::case::{ArtifactFacts, Defect, Evidence, VerdictWord};
use crate::policy::Verdict;

fn bundle(name: &str, text: &str) -> Bundle {
    let sources = vec![Source { name: "own.rego".into(), text: format!("package witgate.admission\n\n{text}\n") }];
    Bundle::from_sources(sources, &json!({}), name, "1").unwrap()
}

fn platform() -> Bundle {
    Bundle::from_sources(Bundle::embedded().modules, &data(), "platform", "7").unwrap()
}

/// The embedded policies with [`data`], and a bundle of a team beside them.
fn with_team(text: &str) -> Policy {
    Policy::of_bundles(&[platform(), bundle("team", text)], Settings::PATIENT_TIMEOUT_MS).unwrap()
}

fn said(decision: &Decision) -> Vec<(String, Option<String>)> {
    decision.facts().reasons.iter().map(|reason| (reason.code.to_string(), reason.policy.clone())).collect()
}

fn who_says(code: &str, policy: &str) -> (String, Option<String>) {
    (code.to_owned(), Some(policy.to_owned()))
}

#[test]
fn each_bundle_has_to_admit_and_says_who_it_is() {
    let team = r#"admit if input.caller.id
refuse contains {"code": "tuesday", "about": "", "detail": ""} if input.links[0] == "mail""#;
    let policy = with_team(team);
    let admitted = policy.decide(&case()).unwrap();
    assert_eq!(admitted.facts().verdict, VerdictWord::Admit, "{:?}", admitted.facts().reasons);
    let mut mail = case();
    mail.links = vec!["mail".into()];
    let refused = policy.decide(&mail).unwrap();
    assert_eq!(said(&refused), [who_says("link-not-granted", "platform"), who_says("tuesday", "team")]);
    assert_eq!(
        said(&with_team("warn contains {} if input.no_such_field").decide(&case()).unwrap()),
        [who_says("not-admitted", "team")]
    );
}

#[test]
fn no_bundle_speaks_for_another_one() {
    let team = r#"admit := true
refuse contains {"code": "x", "about": "", "detail": "", "policy": "platform"}"#;
    assert_eq!(said(&with_team(team).decide(&case()).unwrap()), [who_says("x", "team")]);
    let alone = Policy::of_bundles(&[bundle("team", team)], Settings::PATIENT_TIMEOUT_MS).unwrap();
    assert!(said(&alone.decide(&case()).unwrap()).contains(&("x".into(), None)));
}

#[test]
fn what_one_bundle_does_not_grant_is_not_granted() {
    let team = "admit := true\ngrants := {\"imports\": [\"wasi:cli/*\"], \"limits\": {\"fuel\": 7}}";
    let refused = with_team(team).decide(&case()).unwrap();
    assert_eq!(said(&refused), [who_says("import-not-granted", "team")]);
    let team = "admit := true\ngrants := {\"imports\": [\"wasi:cli/*\", \"wasi:io/*\"], \"limits\": {\"fuel\": 7}, \"lifetime_s\": 9}";
    let admitted = with_team(team).decide(&case()).unwrap();
    let grants = admitted.facts().grants.clone().unwrap();
    assert_eq!((grants.limits.fuel, grants.limits.memory_bytes, grants.lifetime_s), (7, 1_000_000, 9));
    let undefined = "admit := true\ngrants := {\"imports\": []} if input.no_such_field";
    assert_eq!(said(&with_team(undefined).decide(&case()).unwrap()), [who_says("policy-failed", "team")]);
}

#[test]
fn two_values_for_one_key_are_a_fault() {
    let grants = |value: &str| {
        let imports = r#"["wasi:cli/*", "wasi:io/*"]"#;
        format!(
            "admit := true\ngrants := {{\"imports\": {imports}, \"config\": [{{\"key\": \"colour\", \"value\": \"{value}\"}}]}}"
        )
    };
    let same = with_team(&grants("blue")).decide(&case()).unwrap();
    assert_eq!(same.facts().grants.as_ref().unwrap().config.len(), 1);
    let other = with_team(&grants("red")).decide(&case()).unwrap();
    assert_eq!(other.facts().reasons[0].code, Code::POLICY_FAILED);
}

#[test]
fn native_code_is_granted_by_all_or_not_at_all() {
    let mut data = data();
    data["witgate"]["grants"][0]["native"] = true.into();
    let platform = Bundle::from_sources(Bundle::embedded().modules, &data, "platform", "7").unwrap();
    let verdict = |text: &str| {
        let policy =
            Policy::of_bundles(&[platform.clone(), bundle("team", text)], Settings::PATIENT_TIMEOUT_MS).unwrap();
        policy.decide(&native_case()).unwrap().facts().verdict
    };
    assert_eq!(verdict("admit := true"), VerdictWord::Admit);
    assert_eq!(verdict("admit := true\ngrants := {\"native\": true}"), VerdictWord::Admit);
    assert_eq!(verdict("admit := true\ngrants := {\"imports\": []}"), VerdictWord::Refuse);
}

#[test]
fn several_bundles_are_one_policy_by_name_and_digest() {
    let policy = with_team("admit := true");
    let decision = policy.decide(&case()).unwrap();
    let facts = decision.facts();
    assert_eq!((facts.policy.name.as_str(), facts.policy.revision.as_str()), ("platform+team", "7+1"));
    assert_eq!(facts.bundles.iter().map(|bundle| bundle.name.as_str()).collect::<Vec<_>>(), ["platform", "team"]);
    assert_ne!(facts.policy.digest, with_team("admit := false").facts().digest);
    let swapped = [bundle("team", "admit := true"), platform()];
    assert_ne!(facts.policy.digest, Policy::of_bundles(&swapped, 100).unwrap().facts().digest);
    assert!(Policy::embedded(data()).unwrap().decide(&case()).unwrap().facts().bundles.is_empty());
}

#[test]
fn a_bundle_that_runs_away_is_named() {
    let team = "admit if { numbers := [x | some x in input.surface.imports[0].items]; count(numbers) > 0; \
                some a in n; some b in n; some c in n; some d in n; a + b + c + d < 0 }\nn := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, \
                13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40]";
    let policy = Policy::of_bundles(&[platform(), bundle("team", team)], Settings::PATIENT_TIMEOUT_MS).unwrap();
    let decision = policy.decide(&case()).unwrap();
    assert_eq!(said(&decision), [who_says("policy-timeout", "team")]);
    assert_eq!(decision.facts().reasons[0].about, "team 1");
}

fn in_mode(mode: Mode, case: &Case) -> Case {
    Case { mode, ..case.clone() }
}

#[test]
fn a_mode_lets_pass_what_policy_alone_refuses() {
    let policy = Policy::embedded(data()).unwrap();
    let mut unsigned = case();
    unsigned.evidence.findings.clear();
    assert_eq!(policy.decide(&unsigned).unwrap().facts().verdict, VerdictWord::Refuse);
    let warned = policy.decide(&in_mode(Mode::Warn, &unsigned)).unwrap();
    let Verdict::Admit(grant) = warned.verdict() else { panic!("not let pass") };
    assert_eq!(grant.imports(), ["wasi:cli/stdout@0.2.3", "wasi:io/poll@0.2.3"]);
    assert_eq!(warned.facts().would_refuse[0].code, Code::NO_VERIFIED_SIGNATURE);
    assert_eq!(warned.facts().warnings, warned.facts().would_refuse);
    let observed = policy.decide(&in_mode(Mode::Observe, &unsigned)).unwrap();
    assert_eq!(observed.facts().would_refuse, warned.facts().would_refuse);
    assert!(observed.facts().warnings.is_empty(), "recorded, and not told");
    for mode in [Mode::Enforce, Mode::Warn, Mode::Observe] {
        let good = policy.decide(&in_mode(mode, &case())).unwrap();
        assert!(good.facts().verdict == VerdictWord::Admit && good.facts().would_refuse.is_empty());
    }
}

#[test]
fn the_floor_and_a_fault_stand_in_every_mode() {
    let policy = Policy::embedded(data()).unwrap();
    let failing = Policy::of_bundles(&[bundle("t", "admit := 1")], Settings::PATIENT_TIMEOUT_MS).unwrap();
    let mut defect = case();
    let (about, detail) = (String::new(), String::new());
    defect.artifact.defects.push(Defect { code: Code::LIMIT_EXCEEDED, about: about.clone(), detail: detail.clone() });
    let mut revoked = case();
    revoked.evidence.revoked.push(Defect { code: Code::REVOKED, about, detail });
    let mut unreadable = case();
    unreadable.surface = Surface::Unreadable { detail: "core module".into() };
    let unseen =
        Case { artifact: ArtifactFacts::unseen(), evidence: Evidence::default(), surface: Surface::Unseen, ..case() };
    for mode in [Mode::Enforce, Mode::Warn, Mode::Observe] {
        for case in [&defect, &revoked, &unreadable, &unseen, &native_case()] {
            let decision = policy.decide(&in_mode(mode, case)).unwrap();
            assert_eq!(decision.facts().verdict, VerdictWord::Refuse, "{mode:?} let pass {:?}", case.surface);
        }
        assert_eq!(failing.decide(&in_mode(mode, &case())).unwrap().facts().verdict, VerdictWord::Refuse);
    }
}

#[test]
fn who_asks_and_for_what_can_be_enough_to_refuse() {
    let policy = Policy::embedded(data()).unwrap();
    let unseen = |change: &dyn Fn(&mut Case)| {
        let (artifact, evidence) = (ArtifactFacts::unseen(), Evidence::default());
        let mut case = Case { artifact, evidence, surface: Surface::Unseen, ..case() };
        change(&mut case);
        policy.decide_unseen(&case).unwrap().map(|decision| said(&decision))
    };
    assert_eq!(unseen(&|_| {}), None, "it has to be fetched");
    let refused = |code: &str| Some(vec![(code.to_owned(), None)]);
    assert_eq!(unseen(&|case| case.caller.id = "spiffe://other.example/ns/shop".into()), refused("caller-not-granted"));
    assert_eq!(unseen(&|case| case.reference.repository = "other/cart".into()), refused("caller-not-granted"));
    assert_eq!(unseen(&|case| case.host = "spiffe://other.example/host/b".into()), refused("host-not-caller"));
    assert_eq!(unseen(&|case| case.links = vec!["mail".into()]), refused("link-not-granted"));
    assert_eq!(
        unseen(&|case| (case.mode, case.links) = (Mode::Warn, vec!["mail".into()])),
        None,
        "the mode lets it pass"
    );
    assert_eq!(policy.decide_unseen(&Case { links: vec!["mail".into()], ..case() }).unwrap().map(|_| ()), None);
}
