//! `witgate demo`: the one command a stranger runs first.

use serde_json::Value;

use super::{run, stderr, stdout};

#[test]
fn admits_and_runs_the_good_one_and_refuses_three_with_reasons() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &["demo", "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document on stdout");

    let admitted = report["admitted"].as_array().unwrap();
    assert_eq!(admitted.len(), 1);
    assert_eq!(admitted[0]["name"], "good");
    assert_eq!(admitted[0]["ran"]["exit_code"], 0);
    assert_eq!(admitted[0]["ran"]["stdout"], "hello from a verified component\n");
    assert!(admitted[0]["digest"].as_str().unwrap().starts_with("sha256:"));

    let refused: Vec<(&str, Vec<&str>)> = report["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let codes = one["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap());
            (one["name"].as_str().unwrap(), codes.collect())
        })
        .collect();
    assert_eq!(refused[0], ("unsigned", vec!["no-verified-signature"]));
    assert_eq!(refused[1], ("stranger", vec!["identity-mismatch"]));
    assert_eq!(refused[2].0, "greedy");
    assert!(refused[2].1.iter().all(|code| *code == "import-not-granted"), "{refused:?}");
    assert_eq!(refused.len(), 3);

    assert_eq!(report["log"]["verified"], true);
    assert_eq!(report["log"]["root"].as_str().unwrap().len(), 64);
    assert!(report["log"]["size"].as_u64().unwrap() >= 5);
}

#[test]
fn a_component_of_the_users_own_goes_the_same_way() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("Mine.wasm");
    std::fs::write(&file, witgate::dev::components::command("mine\n")).unwrap();
    let output = run(home.path(), &["demo", "--output", "json", "--component", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mine = &report["admitted"][1];
    assert_eq!(
        (mine["name"].as_str(), mine["ran"]["stdout"].as_str()),
        (Some("yours-mine"), Some("mine\n")),
        "{report}"
    );
}

#[test]
fn text_for_a_person_says_what_happened() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &["demo"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for words in [
        "== pushing and signing",
        "admitted  good",
        "| hello from a verified component",
        "no-verified-signature",
        "identity-mismatch",
        "import-not-granted",
        "== verifying the log offline",
    ] {
        assert!(text.contains(words), "`{words}` is missing in:\n{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_usage() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &["demo", "--component", "nowhere.wasm"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot read `nowhere.wasm`"), "{}", stderr(&output));
}
