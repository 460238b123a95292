//! The house rules a compiler does not hold: dependency direction, crate fences, names, first lines, documented codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Every `.rs` file below `folder`, with its path relative to the workspace.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target" && name != ".cache") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// Whether a file holds unit tests only: they may use the embedded peers and any crate.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// The code of a file: without comments and without its unit tests at the bottom.
fn code(text: &str) -> String {
    let tests = ["#[cfg(test)]\nmod ", "#[cfg(test)]\n#[cfg(feature"].iter().filter_map(|mark| text.find(mark)).min();
    let tests = tests.unwrap_or(text.len());
    text.get(..tests)
        .unwrap_or(text)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The word behind each `prefix` in `code`: for `crate::` the modules, for `` the crates.
fn words_behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = code.get(at + prefix.len()..).unwrap_or_default();
        let names: Vec<&str> = match rest.strip_prefix('{') {
            // `use crate::{audit, evidence::Collector}`: the first word of each part on this level.
            Some(list) => {
                let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
                for (index, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            parts.push(list.get(start..index).unwrap_or_default());
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            parts.push(list.get(start..index).unwrap_or_default());
                            start = index + 1;
                        }
                        _ => {}
                    }
                }
                parts
            }
            None => vec![rest],
        };
        for name in names {
            let word: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !word.is_empty() && word != "self" {
                found.insert(word);
            }
        }
    }
    found
}

/// The stage or frame file a path belongs to: `gateway/src/audit/tlog/note.rs` is `audit`.
fn unit(path: &str, source: &str) -> String {
    let rest = path.strip_prefix(source).expect("a path below the source folder");
    rest.split('/').next().expect("a name").trim_end_matches(".rs").to_owned()
}

/// `nkey` is a format: evidence reads it in tokens, policy checks it in data. `egress` guards what registry and identity ask.
const LEAVES: &[&str] = &["case", "reason", "outage", "strict_json", "nkey", "egress"];
const STAGES: &[&str] = &["identity", "registry", "evidence", "surface", "policy", "audit", "handover"];

/// `main -> cli -> doors -> admission -> stages -> {case reason outage}`; what a unit may use beside itself and the leaves.
fn may_use(unit: &str) -> Option<Vec<&'static str>> {
    let stages = STAGES.iter().copied();
    Some(match unit {
        "case" | "reason" | "outage" | "strict_json" | "nkey" | "egress" => vec![],
        "identity" | "registry" | "evidence" | "surface" | "policy" => vec![],
        // The proof types of the stages before: nobody records what policy did not decide, or hands over what is not recorded.
        "audit" => vec!["policy"],
        "handover" => vec!["policy", "audit"],
        // Decides again what was decided, and writes nothing.
        "replay" => vec!["policy", "audit"],
        "tls" => vec!["identity"],
        "telemetry" => vec![],
        "config" => stages.chain(["telemetry"]).collect(),
        "credential" => vec!["identity"],
        "gate" => stages.chain(["admission", "config"]).collect(),
        "admission" => stages.chain(["gate"]).collect(),
        "doors" => vec!["admission", "gate", "audit", "identity"],
        "service" => vec!["audit", "config", "doors", "gate", "identity", "tls"],
        // The embedded peers stand outside; the deployment wires them to a real service. The Workload API is identity's.
        "dev" => vec!["config", "doors", "identity", "service"],
        "cli" => stages
            .chain(["admission", "config", "dev", "doors", "gate", "replay", "service", "telemetry", "tls"])
            .collect(),
        _ => return None,
    })
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut faults = Vec::new();
    for (path, text) in sources("gateway/src") {
        let unit = unit(&path, "gateway/src/");
        if unit == "main" || unit == "lib" || unit == "bin" || is_test(&path) {
            continue;
        }
        let Some(allowed) = may_use(&unit) else {
            faults.push(format!("{path}: `{unit}` stands in no row of the table: decide where it belongs"));
            continue;
        };
        for used in words_behind(&code(&text), "crate::") {
            let known = may_use(&used).is_some();
            if known && used != unit && !LEAVES.contains(&used.as_str()) && !allowed.contains(&used.as_str()) {
                faults.push(format!("{path}: `{unit}` may not use `{used}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_admission_calls_the_stages_in_order() {
    for (path, text) in sources("gateway/src") {
        let code = code(&text);
        let decides = code.contains(".policy.current().decide(") && code.contains(".audit.append(");
        assert_eq!(
            decides,
            path == "gateway/src/admission.rs",
            "{path}: policy and audit are called in admission.rs alone"
        );
    }
}

/// Where a foreign crate may be imported: unit of the gateway, a folder or file in one, or `host-hook/UNIT`.
fn fences() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("axum", &["doors", "tls", "service", "dev"] as &[_]),
        ("clap", &["cli", "host-hook/host"]),
        ("config", &["config"]),
        ("data_encoding", &["evidence", "nkey"]),
        (
            "ed25519_dalek",
            &["audit", "dev", "evidence", "handover", "identity", "policy/bundle", "host-hook/key", "host-hook/ticket"],
        ),
        ("flate2", &["evidence", "policy/bundle"]),
        ("hyper", &["tls", "dev", "host-hook/host"]),
        ("jsonwebtoken", &["identity", "policy/bundle", "dev"]),
        ("metrics_exporter_prometheus", &["telemetry"]),
        ("oci_client", &["dev"]),
        ("object_store", &["registry"]),
        ("opentelemetry", &["telemetry"]),
        ("opentelemetry_otlp", &["telemetry"]),
        ("opentelemetry_sdk", &["telemetry"]),
        ("prost", &["identity"]),
        ("quick_junit", &["cli"]),
        ("rcgen", &["dev"]),
        ("regex", &["cli", "evidence", "policy"]),
        ("regorus", &["policy"]),
        (
            "reqwest",
            &["egress", "identity", "registry", "policy/bundle", "cli", "dev", "telemetry", "host-hook/client"],
        ),
        ("schemars", &["case", "reason", "policy"]),
        ("serde_saphyr", &["policy"]),
        ("serde_json_canonicalizer", &["case"]),
        ("sigstore", &["evidence"]),
        ("sigstore_crypto", &["evidence"]),
        ("sigstore_trust_root", &["evidence"]),
        ("sigstore_types", &["evidence"]),
        ("sigstore_verify", &["evidence"]),
        ("similar", &["cli", "policy"]),
        ("spiffe", &["identity", "host-hook/client"]),
        ("spiffe_rustls", &["identity", "host-hook/client"]),
        ("sqlx", &["audit/store", "handover/pulls/rows"]),
        ("tar", &["evidence", "policy/bundle"]),
        ("toml", &["cli"]),
        ("time", &["dev"]),
        ("tonic", &["identity", "dev"]),
        ("tonic_prost", &["identity"]),
        ("tracing_opentelemetry", &["telemetry"]),
        ("wasmparser", &["evidence", "host-hook/surface"]),
        ("wasmtime", &["host-hook/host"]),
        ("wasmtime_wasi", &["host-hook/host"]),
        ("wasmtime_wasi_config", &["host-hook/host"]),
        ("wasmtime_wasi_http", &["host-hook/host"]),
        ("wat", &["dev"]),
        ("wit_component", &["dev"]),
        ("wit_parser", &["dev"]),
        ("x509_parser", &["identity", "evidence", "policy/bundle", "tls", "dev"]),
    ])
}

#[test]
fn foreign_crates_stay_in_their_folders() {
    let mut faults = Vec::new();
    for (source, prefix) in [("gateway/src/", ""), ("host-hook/src/", "host-hook/")] {
        for (path, text) in sources(source.trim_end_matches('/')) {
            if is_test(&path) {
                continue;
            }
            let code = code(&text);
            for (name, allowed) in fences() {
                // Another module of ours may bear the same name (`config`): a crate's path never follows `::`.
                let used = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                    let before = code.get(..at).and_then(|text| text.chars().next_back());
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
                let ours = may_use(name).is_some() && !code.contains(&format!("use {name}::"));
                let place = format!("{prefix}{}", path.strip_prefix(source).unwrap().trim_end_matches(".rs"));
                let here = |allowed: &&str| {
                    place.strip_prefix(*allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                if used && !ours && !allowed.iter().any(here) {
                    faults.push(format!("{path}: imports `{name}`, which belongs to {allowed:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_says_its_idea_in_its_first_line() {
    let mut faults = Vec::new();
    for folder in ["gateway/src", "host-hook/src", "tests"] {
        for (path, text) in sources(folder) {
            if !text.starts_with("//! ") {
                faults.push(format!("{path}: the first line is not `//! …`"));
            }
            let name = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if ["util", "utils", "common", "helpers", "types", "errors", "manager", "misc"].contains(&name.as_str()) {
                faults.push(format!("{path}: the name tells a kind, not an idea"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_left_open() {
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut faults = Vec::new();
    for folder in ["gateway/src", "host-hook/src", "tests"] {
        for (path, text) in sources(folder) {
            faults.extend(
                words.iter().filter(|word| text.contains(**word)).map(|word| format!("{path}: holds `{word}`")),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn stages_read_no_clock() {
    let mut faults = Vec::new();
    for (path, text) in sources("gateway/src") {
        let unit = unit(&path, "gateway/src/");
        if is_test(&path) {
            continue;
        }
        if STAGES.contains(&unit.as_str()) || LEAVES.contains(&unit.as_str()) {
            let code = code(&text);
            for clock in ["Timestamp::now()", "SystemTime::now()", "Utc::now()"] {
                // Identity watches certificates and files as they change: TLS has no `now` to be handed.
                if code.contains(clock) && unit != "identity" {
                    faults.push(format!("{path}: reads the clock with `{clock}`"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_reason_has_its_paragraph() {
    let text = fs::read_to_string(root().join("docs/reasons.md")).unwrap();
    let documented: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let known: Vec<&str> = witgate::reason::ALL.iter().map(witgate::reason::Code::as_str).collect();
    assert_eq!(documented, known, "docs/reasons.md has a paragraph for each code, in the order of reason.rs");
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("### `")) {
        let next = text.lines().skip(number + 1).find(|line| !line.is_empty()).unwrap_or_default();
        assert!(next.len() > 40 && !next.starts_with('#'), "{line} has no paragraph");
    }
}

#[test]
fn the_example_configuration_loads_and_shows_every_table() {
    let file = root().join("witgate.example.toml");
    let text = fs::read_to_string(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // As it stands: comments show the defaults.
    witgate::config::Config::load(Some(&file), [], Some(folder.path())).expect("the example loads as it stands");
    // With every commented option switched on: no option is misspelt.
    let full: String = text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    assert!(full.lines().count() > 20 && full != text, "options stand behind `#: `");
    let all = folder.path().join("all.toml");
    fs::write(&all, full).unwrap();
    witgate::config::Config::load(Some(&all), [], Some(folder.path())).expect("the example loads with every option on");
    for table in [
        "[scope]",
        "[listen]",
        "[identity]",
        "[registry]",
        "[evidence]",
        "[policy]",
        "[audit]",
        "[handover]",
        "[telemetry]",
    ] {
        assert!(text.contains(table), "{table} is missing");
    }
}

#[test]
fn the_configurations_in_the_page_on_callers_load() {
    let text = fs::read_to_string(root().join("docs/identity.md")).unwrap();
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3, "the page's examples");
    let folder = tempfile::tempdir().unwrap();
    for block in &blocks {
        // What stands alone in the page needs somebody who may ask.
        let whole = if block.contains("[identity]") { (*block).to_owned() } else { format!("{}{block}", blocks[0]) };
        let file = folder.path().join("witgate.toml");
        fs::write(&file, &whole).unwrap();
        let config = witgate::config::Config::load(Some(&file), [], Some(folder.path()));
        let config = config.unwrap_or_else(|error| panic!("{error}:\n{whole}"));
        config.identity.expect("callers are proven").check().unwrap_or_else(|error| panic!("{error}:\n{whole}"));
    }
}

#[test]
fn each_of_the_thirty_cases_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("tests/cases.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| case "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let mut faults = Vec::new();
    let mut named = BTreeMap::<String, BTreeSet<usize>>::new();
    for (number, row) in (1..).zip(&rows) {
        let [case, _, held_by] = row[..] else { panic!("{row:?} has three cells") };
        assert_eq!(case.parse(), Ok(number), "the cases stand in order");
        let tests: Vec<(&str, &str)> = held_by.split('`').filter_map(|word| word.split_once(".rs::")).collect();
        if tests.is_empty() {
            faults.push(format!("case {number} is held by no test"));
        }
        for (file, test) in tests {
            let source = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
            let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
            let is_it =
                |line: &&str| line.split_once("fn ").is_some_and(|(_, rest)| rest.starts_with(&format!("{test}(")));
            let is_test = lines.iter().position(is_it).is_some_and(|at| {
                let above = lines[..at].iter().rev().take(3);
                above.take_while(|line| !line.is_empty()).any(|line| line.starts_with("#[") && line.contains("test"))
            });
            if !is_test {
                faults.push(format!("case {number}: `{file}.rs` has no test `{test}`"));
            }
            named.entry(test.to_owned()).or_default().insert(number);
        }
    }
    assert_eq!(rows.len(), 30);
    for (path, text) in sources("tests/stories/cases") {
        for test in text.lines().filter_map(|line| line.trim_start().strip_prefix("async fn case_")) {
            let test = test.split('(').next().unwrap_or_default();
            let number: usize = test.split('_').next().and_then(|number| number.parse().ok()).expect("case_NN_…");
            if !named.get(&format!("case_{test}")).is_some_and(|rows| rows.contains(&number)) {
                faults.push(format!("{path}: `case_{test}` does not stand in row {number} of tests/cases.md"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn deployments_set_what_the_figures_of_memory_were_taken_with() {
    for file in ["deploy/Containerfile", "deploy/systemd/witgate.service"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains("MALLOC_MMAP_THRESHOLD_=1048576\n"), "{file}");
    }
    let bench = fs::read_to_string(root().join("tests/bench/door.rs")).unwrap();
    assert!(bench.contains("\"MALLOC_MMAP_THRESHOLD_\", \"1048576\""));
}
