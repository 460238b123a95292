//! Forms of identities that are taken, those that are not, with what they stand for.

use serde_json::{Value, json};

use super::super::tests::load_data;
use super::*;

const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn entry(identities: &[Value]) -> Value {
    json!({"references": ["*"], "identities": identities})
}

fn load_entry(entry: &Value) -> Result<Value, LoadError> {
    load_data(&json!({"witgate": {"signatures": [entry]}}))
}

fn identity(identity: &Value) -> Result<Value, LoadError> {
    load_entry(&entry(std::slice::from_ref(identity)))
}

/// The one form that rules read.
#[track_caller]
fn rewritten(written: &Value) -> Value {
    identity(written).unwrap_or_else(|error| panic!("{written}: {error}"))["witgate"]["signatures"][0]["identities"][0]
        .clone()
}

#[track_caller]
fn assert_refused(bad: &Value, words: &str) {
    match identity(bad) {
        Err(error @ LoadError::Data { .. }) => {
            let text = error.to_string();
            assert!(text.contains("witgate.signatures[0].identities[0]") && text.contains(words), "{bad}: {text}");
        }
        other => panic!("{bad} gave {other:?}"),
    }
}

#[test]
fn a8_2_misspelt_unknown_and_half_filled_identities_are_refused() {
    let san = json!({"kind": "uri", "value": "https://github.com/acme/*"});
    for (bad, words) in [
        (json!({}), "one of the three"),
        (json!({"issuer": "https://i.example"}), "one of the three"),
        (json!({"san": san}), "`issuerRegExp`: one of the two"),
        (json!({"issuer": "i", "issuerRegExp": "https://i/x", "san": san}), "one of the two"),
        (json!({"issuer": "i", "san": san, "key": "k"}), "alone"),
        (json!({"key": "k", "claims": {}}), "alone"),
        (json!({"key": "k", "trust": "public"}), "alone"),
        (json!({"key": "k", "certificate": {"authority": "a", "san": san}}), "alone"),
        (json!({"key": "k", "githubWorkflowRef": "refs/heads/main"}), "alone"),
        (json!({"key": "k", "subjectType": "uri"}), "alone"),
        (json!({"issuer": "*", "san": san}), "compared exactly"),
        (json!({"issuer": "", "san": san}), "compared exactly"),
        (json!({"issuer": "i", "san": san, "subject": "x"}), "one of the three"),
        (json!({"issuer": "i", "san": san, "subjectType": "uri"}), "one of the three"),
        (json!({"issuer": "i", "subject": "https://h/x"}), "`subjectType`"),
        (json!({"issuer": "i", "subjectRegExp": "https://h/x"}), "`subjectType`"),
        (json!({"issuer": "i", "subjectType": "uri"}), "one of the three"),
        (
            json!({"issuer": "i", "subject": "https://h/x", "subjectRegExp": "https://h/x", "subjectType": "uri"}),
            "one of the three",
        ),
        (json!({"issuer": "i", "subject": "https://h/x", "subjectType": "dns"}), "unknown variant"),
        (json!({"issuer": "i", "subject": "https://h/*", "subjectType": "uri"}), "subjectRegExp"),
        (json!({"issuer": "i", "subjectRegexp": "https://h/x", "subjectType": "uri"}), "unknown field `subjectRegexp`"),
        (json!({"issuer": "i", "subjectRegExp": ".*", "subjectType": "uri"}), "begins with a scheme"),
        (json!({"issuer": "i", "subjectRegExp": ".*", "subjectType": "email"}), "one `@`"),
        (json!({"issuerRegExp": ".*", "san": san}), "begins with a scheme"),
        (json!({"issuer": "i", "san": {"kind": "dns", "value": "x"}}), "unknown variant"),
        (json!({"issuer": "i", "san": {"kind": "uri"}}), "one of the two"),
        (
            json!({"issuer": "i", "san": {"kind": "uri", "value": "https://h/x", "regExp": "https://h/x"}}),
            "one of the two",
        ),
        (json!({"issuer": "i", "san": {"kind": "uri", "value": "https://h/x", "regexp": "x"}}), "unknown field"),
        (json!({"issuer": "i", "san": ["uri", "https://h/x"]}), "expected an object"),
        (json!({"issuer": "i", "san": san, "claims": {"source_repo": "x"}}), "Fulcio claim"),
        (json!({"issuer": "i", "san": san, "claims": {"build_trigger": ""}}), "a text"),
        (json!({"issuer": "i", "san": san, "claims": {"build_trigger": 1}}), "a text"),
        (json!({"issuer": "i", "san": san, "claims": {}}), "no `claims` at all"),
        (json!({"issuer": "i", "san": san, "claims": {"workflow_ref": "a"}, "githubWorkflowRef": "b"}), "says it too"),
        (json!({"certificate": {"authority": "a"}}), "one of the three"),
        (json!({"certificate": {"san": san}}), "missing field `authority`"),
        (json!({"certificate": {"authority": "a", "san": san}, "issuer": "i"}), "alone"),
        (json!({"certificate": {"authority": "a", "san": san, "issuer": "i"}}), "unknown field"),
        (json!({"github": {}}), "missing field `repository`"),
        (json!({"github": {"repository": "acme/cart"}, "issuer": "i"}), "alone"),
        (json!({"github": {"repository": "acme/cart"}, "san": san}), "alone"),
        (json!({"github": {"repository": "acme/cart"}, "claims": {"source_repository_uri": "x"}}), "says it too"),
        (json!({"github": {"repository": "acme/cart", "branch": "main"}}), "unknown field"),
    ] {
        assert_refused(&bad, words);
    }
}

#[test]
fn a8_2_fields_of_github_that_could_mean_more_are_refused() {
    for (field, value) in [
        ("repository", "acme"),
        ("repository", "acme/*"),
        ("repository", "acme/cart/x"),
        ("repository", "acme/.."),
        ("repository", "acme/ca rt"),
        ("repository", "a@b/c"),
        ("repository", ""),
        ("repository", "/cart"),
        ("workflow", "release.yml"),
        ("workflow", ".github/workflows/"),
        ("workflow", ".github/workflows/*.yml"),
        ("workflow", ".github/workflows/a/b.yml"),
        ("workflow", ".github/workflows/.yml"),
        ("workflow", ".github/workflows/a.yml@refs/x"),
        ("ref", "main"),
        ("ref", "refs/heads/"),
        ("ref", "refs/heads/*"),
        ("ref", "refs/heads/a..b"),
        ("ref", "refs/heads/a\n"),
        ("ref", "refs/notes/x"),
        ("signerWorkflow", "acme/flows/.github/workflows/b.yml"),
        ("signerWorkflow", "acme/flows/.github/workflows/b.yml@main"),
        ("signerWorkflow", "acme/.github/workflows/b.yml@refs/heads/main"),
        ("signerWorkflow", ".github/workflows/b.yml@refs/heads/main"),
        ("signerWorkflow", "acme/flows/.github/workflows/b.yml@0123456789abcdef"),
        ("trigger", "Push"),
        ("trigger", ""),
        ("runner", "hosted"),
        ("environment", ""),
        ("environment", " prod"),
        ("environment", "a\nb"),
        ("owner_id", "acme"),
        ("owner_id", ""),
        ("repository_id", "01"),
        ("repository_id", "-1"),
    ] {
        let mut block = json!({"repository": "acme/cart"});
        block[field] = value.into();
        assert_refused(&json!({"github": block}), "identities[0].github");
    }
    assert_refused(&json!({"github": {"repository": "acme/cart", "owner_id": 1}}), "expected a string");
    let half = json!({"repository": "acme/cart", "workflow": ".github/workflows/r.yml",
        "signerWorkflow": "acme/flows/.github/workflows/b.yml@refs/tags/v1"});
    assert_refused(&json!({"github": half}), "`ref` beside it");
}

#[test]
fn short_forms_stand_for_the_one_form_that_rules_read() {
    let uri = |value: &str| json!({"issuer": "i", "san": {"kind": "uri", "value": value}});
    assert_eq!(rewritten(&json!({"issuer": "i", "subject": "https://h/x", "subjectType": "uri"})), uri("https://h/x"));
    assert_eq!(
        rewritten(
            &json!({"issuerRegExp": "^https://h/x.*$".replace("x.", "x/."), "subjectRegExp": ".*@acme.example", "subjectType": "email",
            "githubWorkflowTrigger": "push", "githubWorkflowSha": "1", "githubWorkflowName": "n", "githubWorkflowRepository": "a/b",
            "githubWorkflowRef": "r", "claims": {"token_subject": "t"}, "trust": "public"})
        ),
        json!({"issuerRegExp": "https://h/x/.*", "san": {"kind": "email", "regExp": r".*@acme\.example"}, "trust": "public",
            "claims": {"workflow_trigger": "push", "workflow_sha": "1", "workflow_name": "n", "workflow_repository": "a/b",
            "workflow_ref": "r", "token_subject": "t"}})
    );
    assert_eq!(
        rewritten(&json!({"certificate": {"authority": "own", "subject": "spiffe://td/ci", "subjectType": "spiffe"}})),
        json!({"certificate": {"authority": "own", "san": {"kind": "spiffe", "value": "spiffe://td/ci"}}})
    );
    let site = "https://github.com/acme/cart";
    let meaning = |block: Value| {
        let whole = rewritten(&json!({"github": block}));
        assert_eq!(whole["issuer"], GITHUB);
        assert_eq!(whole["claims"]["source_repository_uri"], site);
        assert_eq!(rewritten(&whole), whole, "what is written out stands for itself");
        whole
    };
    let flow = ".github/workflows/release.yml";
    assert_eq!(
        meaning(json!({"repository": "acme/cart"}))["san"],
        json!({"kind": "uri", "value": format!("{site}/.github/workflows/*")})
    );
    assert_eq!(
        meaning(json!({"repository": "acme/cart", "workflow": flow}))["san"]["regExp"],
        r"https://github\.com/acme/cart/\.github/workflows/release\.yml@refs/.+"
    );
    assert_eq!(
        meaning(json!({"repository": "acme/cart", "ref": "refs/heads/main"}))["san"]["regExp"],
        r"https://github\.com/acme/cart/\.github/workflows/[^/@]+@refs/heads/main"
    );
    let exact =
        meaning(json!({"repository": "acme/cart", "workflow": flow, "ref": "refs/heads/main", "trigger": "push",
        "runner": "github-hosted", "environment": "prod", "owner_id": "1", "repository_id": "2"}));
    assert_eq!(exact["san"]["value"], format!("{site}/{flow}@refs/heads/main"));
    assert_eq!(
        exact["claims"],
        json!({"source_repository_uri": site, "source_repository_ref": "refs/heads/main", "build_trigger": "push",
            "runner_environment": "github-hosted", "deployment_environment": "prod",
            "source_repository_owner_identifier": "1", "source_repository_identifier": "2"})
    );
    let signer = "other/flows/.github/workflows/build.yml@refs/tags/v1";
    let reused = meaning(
        json!({"repository": "acme/cart", "workflow": flow, "ref": "refs/heads/main", "signerWorkflow": signer}),
    );
    assert_eq!(reused["san"]["value"], format!("https://github.com/{signer}"));
    assert_eq!(reused["claims"]["build_config_uri"], format!("{site}/{flow}@refs/heads/main"));
}

#[test]
fn refuses_subjects_that_could_match_more_than_they_say() {
    let subject = |kind: &str, value: &str| identity(&json!({"issuer": "i", "san": {"kind": kind, "value": value}}));
    for value in [
        "https://github.com/acme*",
        "https://github.com/*/cart",
        "https://*",
        "https://*/acme/*",
        "*",
        "/*",
        "https:///*",
        "github.com/acme/*",
        "https://github.com",
        "https://github.com/",
        "https://github.com/acme//*",
        "https://user@github.com/acme/*",
        "https://GitHub.com/acme/*",
        "https://github.com./acme/*",
        "https://github.com/acme%2f*",
        "https://github.com/../acme/*",
        "https://gith\u{fc}b.com/acme/*",
        "https://github.com/acme/\n*",
        "",
    ] {
        assert!(subject("uri", value).is_err(), "`{value}` was taken");
    }
    for value in ["https://github.com/acme/*", "https://github.com/*", "spiffe://td/ns/x", "https://h:8443/a@refs/b"] {
        subject("uri", value).unwrap();
    }
    for value in ["*@acme.example", "ci@acme.example/*", "ci", "a@b@c", "@acme.example", "ci@acme.example\n", ""] {
        assert!(subject("email", value).is_err(), "`{value}` was taken");
    }
    subject("email", "ci@acme.example").unwrap();
    for value in [
        "spiffe://td",
        "spiffe://*",
        "spiffe://td*",
        "https://td/x",
        "spiffe://td:1/x",
        "spiffe://td/a?b",
        "spiffe://td//x",
        "spiffe://TD/x",
    ] {
        assert!(subject("spiffe", value).is_err(), "`{value}` was taken");
    }
    for value in ["spiffe://td/x", "spiffe://td/*", "spiffe://td/ns/*"] {
        subject("spiffe", value).unwrap();
    }
}

#[test]
fn entries_hold_their_limits() {
    let keys = |count: usize| (0..count).map(|n| json!({"key": format!("k{n}")})).collect::<Vec<_>>();
    let with = |count, threshold: Value| {
        let mut entry = entry(&keys(count));
        entry["threshold"] = threshold;
        load_entry(&entry)
    };
    for (count, threshold, good) in [
        (1, 1, true),
        (3, 3, true),
        (3, 4, false),
        (3, 0, false),
        (0, 1, false),
        (MAX_QUORUM_IDENTITIES, 2, true),
        (MAX_QUORUM_IDENTITIES, MAX_QUORUM_IDENTITIES, true),
        (MAX_QUORUM_IDENTITIES + 1, 2, false),
        (MAX_QUORUM_IDENTITIES + 1, 1, true),
    ] {
        assert_eq!(with(count, threshold.into()).is_ok(), good, "{threshold} of {count}");
    }
    for threshold in [json!(-1), json!(1.5), json!("2"), json!(true)] {
        assert!(with(2, threshold).is_err());
    }
    assert!(load_entry(&entry(&keys(MAX_IDENTITIES))).is_ok());
    assert!(load_entry(&entry(&keys(MAX_IDENTITIES + 1))).is_err());
    let twice = load_entry(&entry(&[json!({"key": "a"}), json!({"key": "a"})])).unwrap_err().to_string();
    assert!(twice.contains("identities[1]`: another identity of this entry says the same"), "{twice}");
    let patterns = |count: usize| {
        let all: Vec<_> = (0..count)
            .map(|n| json!({"issuer": "i", "subjectType": "uri", "subjectRegExp": format!("https://h/x{n}/.*")}))
            .collect();
        let entries: Vec<_> = all.chunks(MAX_IDENTITIES).map(entry).collect();
        load_data(&json!({"witgate": {"signatures": entries}}))
    };
    assert!(patterns(MAX_PATTERNS).is_ok());
    assert!(patterns(MAX_PATTERNS + 1).is_err());
    let mut about = entry(&keys(1));
    about["about"] = "index".into();
    assert!(load_entry(&about).is_err());
}

#[test]
fn every_example_of_the_docs_is_taken() {
    let docs = include_str!("../../../../docs/identity-rules.md");
    let examples: Vec<_> = docs.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 5);
    for example in examples {
        load_entry(&serde_json::from_str(example).unwrap()).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}
