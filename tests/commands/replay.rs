//! `witgate replay` as its users meet it: a log of decisions, a candidate, an exit code.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;
use witgate::audit::{Audit, Settings};
use witgate::case::{ArtifactFacts, Case, Evidence, Mode, Surface, Timestamp};
use witgate::dev::components;
use witgate::dev::deployment::{GRANTED, host_id, policy_data};
use witgate::policy::Policy;

use super::readme::shell_words;
use super::verify::docs::{Typed, fits, typed};
use super::{run, stderr, stdout, witgate};

#[path = "../bench/subject.rs"]
mod subject;

const DECISIONS: u64 = 12;

/// A log of [`DECISIONS`] decisions, one an hour from midnight on, and the data of a candidate.
struct Stage {
    home: tempfile::TempDir,
    ids: Vec<Uuid>,
}

/// The repositories and callers take turns: two that are admitted, one that imports too much, one that nobody signed.
async fn cases() -> Vec<Case> {
    let inspect = async |wasm: Vec<u8>| (wasm.clone(), witgate::surface::inspect(Some(wasm.into())).await.unwrap());
    let (good, greedy) = (inspect(components::command("x\n")).await, inspect(components::greedy("x\n")).await);
    let midnight: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let case = |number: u64| {
        let (component, surface) = if number % 4 == 2 { &greedy } else { &good };
        let time = midnight + Duration::from_secs(3600 * number);
        let mut case = subject::case(component, surface.clone(), time);
        let milliseconds = u64::try_from(time.as_millisecond()).unwrap();
        case.id = uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid();
        if number % 4 == 1 {
            case.reference.repository = "demo/mail".into();
            case.reference.text = format!("{}/demo/mail:1.0", subject::REGISTRY);
        }
        if number % 4 > 1 {
            (case.caller.id, case.host) = (host_id("b"), host_id("b"));
        }
        if number % 4 == 3 {
            case.evidence.findings.clear();
        }
        case
    };
    (0..DECISIONS).map(case).collect()
}

impl Stage {
    async fn start() -> Self {
        Self::of(cases().await).await
    }

    async fn of(cases: Vec<Case>) -> Self {
        Self::of_policy(cases, &policy_data(subject::REGISTRY)).await
    }

    /// Decided as the gateway does: early where it may be.
    async fn of_policy(cases: Vec<Case>, data: &Value) -> Self {
        let home = tempfile::tempdir().unwrap();
        let policy = Policy::embedded(data).unwrap();
        let settings = Settings { append_deadline_ms: 20_000, ..Settings::default() };
        let audit = Audit::open(&settings, &home.path().join("state"), Timestamp::now()).await.unwrap();
        for case in &cases {
            let early = policy.decide_unseen(case).unwrap();
            let decision = early.unwrap_or_else(|| policy.decide(case).unwrap());
            audit.append(case, &decision).await.unwrap();
        }
        audit.close().await;
        let stage = Self { home, ids: cases.iter().map(|case| case.id).collect() };
        stage.data("in-force", &policy_data(subject::REGISTRY));
        stage.data("candidate", &candidate());
        std::os::unix::fs::symlink(repository().join("policies"), stage.home.path().join("policies")).unwrap();
        stage
    }

    fn data(&self, name: &str, data: &Value) {
        fs::create_dir_all(self.home.path().join(name)).unwrap();
        fs::write(self.home.path().join(name).join("data.json"), data.to_string()).unwrap();
    }

    /// A folder of rules of one's own, without any data.
    fn rules(&self, name: &str, rules: &str) -> PathBuf {
        let folder = self.home.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("own.rego"), format!("package witgate.admission\n\n{rules}\n")).unwrap();
        folder
    }

    fn replay(&self, arguments: &[&str]) -> Output {
        let mut command = witgate(self.home.path());
        command.args(["replay", "--data-dir", "state"]).args(arguments).current_dir(self.home.path());
        command.output().unwrap()
    }

    /// What it prints as JSON, and its exit code.
    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.replay(&[arguments, &["--output", "json"]].concat());
        let text = stdout(&output);
        let document = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", stderr(&output)));
        (output.status.code(), document)
    }

    fn counts(&self, arguments: &[&str]) -> (Option<i32>, Vec<(String, u64)>) {
        let (code, document) = self.json(arguments);
        let counts = document["counts"].as_object().unwrap().iter();
        let counts =
            counts.filter_map(|(name, count)| Some((name.clone(), count.as_u64().filter(|count| *count > 0)?)));
        (code, counts.collect())
    }

    /// Writes the newest entries as lines, and gives them.
    fn export(&self, name: &str, limit: usize) -> Vec<Value> {
        let limit = limit.to_string();
        let shown = run(
            self.home.path(),
            &[
                "log",
                "show",
                "--limit",
                &limit,
                "--output",
                "json",
                "--data-dir",
                self.home.path().join("state").to_str().unwrap(),
            ],
        );
        let shown: Value = serde_json::from_str(&stdout(&shown)).unwrap();
        let entries = shown["entries"].as_array().unwrap().clone();
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        fs::write(self.home.path().join(name), lines).unwrap();
        entries
    }

    async fn tamper(&self, sql: &str) {
        let options = SqliteConnectOptions::new().filename(self.home.path().join("state/audit.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute("DROP TRIGGER IF EXISTS decision_update").await.unwrap();
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Host `a` may run the cart for a shorter time and the mail no longer; host `b` may open sockets.
fn candidate() -> Value {
    let mut data = policy_data(subject::REGISTRY);
    let cart = [format!("{}/demo/cart", subject::REGISTRY)];
    data["witgate"]["grants"] = json!([
        {"callers": [host_id("a")], "references": cart, "imports": GRANTED, "lifetime_s": 60},
        {"callers": [host_id("b")], "references": cart, "imports": imports(), "lifetime_s": 3600},
    ]);
    data
}

/// What both kinds of components import.
fn imports() -> Vec<&'static str> {
    GRANTED.iter().copied().chain(["wasi:sockets/*@0.2"]).collect()
}

fn pairs(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Text without the revision and the digest of the policies, which change with every one of their bytes.
fn steady(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once(" revision ") {
            Some((name, _)) => format!("{name} revision … (sha256:…)\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_what_would_change() {
    let stage = Stage::start().await;
    let output = stage.replay(&["--policy", "policies", "--data", "candidate"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    insta::assert_snapshot!(steady(&stdout(&output)), @r"
    replayed 12 of 12 decisions
      policy          policies revision … (sha256:…)
      log             witgate.local/audit/1
      same            3
      newly refused   3
      newly admitted  3
      changed         3
    newly refused, because of
      3  caller-not-granted  registry.example/demo/mail  for spiffe://demo.witgate.example/host/a, such as 01a19656-4a80-7000-8000-000000000000
    newly admitted, no longer refused because of
      3  import-not-granted  registry.example/demo/cart  for spiffe://demo.witgate.example/host/b, such as 01a1968d-3900-7000-8000-000000000000
    changed, in what is granted or by reasons that come (+) or go (-)
      3  grants  registry.example/demo/cart  for spiffe://demo.witgate.example/host/a, such as 01a1961f-5c00-7000-8000-000000000000
    ");
    insta::assert_snapshot!(stderr(&output), @r"
    witgate: error: the candidate changes decisions: newly-refused, newly-admitted
    witgate: hint: see what one was made on with `witgate explain ID`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_reads_the_same() {
    let stage = Stage::start().await;
    let (code, mut document) = stage.json(&["--policy", "policies", "--data", "candidate"]);
    assert_eq!(code, Some(1));
    let digest = document["policy"]["digest"].take();
    assert!(digest.as_str().unwrap().starts_with("sha256:"));
    let revision = document["policy"]["revision"].take();
    assert!(digest.as_str().unwrap().starts_with(&format!("sha256:{}", revision.as_str().unwrap())));
    insta::assert_snapshot!(format!("{document:#}"), @r#"
    {
      "at": "recorded",
      "changed": {
        "decisions": 3,
        "groups": [
          {
            "caller": "spiffe://demo.witgate.example/host/a",
            "code": "grants",
            "decisions": 3,
            "example": "01a1961f-5c00-7000-8000-000000000000",
            "repository": "registry.example/demo/cart"
          }
        ],
        "more_groups": 0,
        "not_enforced": 0
      },
      "counts": {
        "changed": 3,
        "damaged": 0,
        "decisions": 12,
        "newly_admitted": 3,
        "newly_refused": 3,
        "redacted": 0,
        "same": 3,
        "would_be_looked_at": 0
      },
      "fail_on": [
        "newly-refused",
        "newly-admitted"
      ],
      "failed": true,
      "newly_admitted": {
        "decisions": 3,
        "groups": [
          {
            "caller": "spiffe://demo.witgate.example/host/b",
            "code": "import-not-granted",
            "decisions": 3,
            "example": "01a1968d-3900-7000-8000-000000000000",
            "repository": "registry.example/demo/cart"
          }
        ],
        "more_groups": 0,
        "not_enforced": 0
      },
      "newly_refused": {
        "decisions": 3,
        "groups": [
          {
            "caller": "spiffe://demo.witgate.example/host/a",
            "code": "caller-not-granted",
            "decisions": 3,
            "example": "01a19656-4a80-7000-8000-000000000000",
            "repository": "registry.example/demo/mail"
          }
        ],
        "more_groups": 0,
        "not_enforced": 0
      },
      "not_replayable": [],
      "policy": {
        "digest": null,
        "name": "policies",
        "revision": null
      },
      "source": {
        "log": "witgate.local/audit/1"
      },
      "version": "replay/v1",
      "window": {
        "last": null,
        "since": null,
        "until": null
      },
      "would_be_looked_at": {
        "decisions": 0,
        "groups": [],
        "more_groups": 0,
        "not_enforced": 0
      }
    }
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_in_force_changes_nothing() {
    let stage = Stage::start().await;
    let all = pairs(&[("decisions", DECISIONS), ("same", DECISIONS)]);
    assert_eq!(stage.counts(&["--data", "in-force"]), (Some(0), all.clone()));
    assert_eq!(stage.counts(&["--data", "in-force", "--fail-on", "any", "--at", "now"]), (Some(0), all.clone()));
    // What the configuration says is the candidate where no flag says another.
    let config = |text: &str| fs::write(stage.home.path().join("witgate.toml"), text).unwrap();
    config("[policy]\ndata = \"in-force\"\n");
    assert_eq!(stage.counts(&["--config", "witgate.toml"]), (Some(0), all));
    // Its other bundles decide beside the candidate.
    stage.rules("team", "admit if input.reference.repository == \"demo/cart\"");
    config("[policy.bundles.team]\ndir = \"team\"\n");
    let (code, document) = stage.json(&["--config", "witgate.toml", "--data", "in-force"]);
    assert_eq!((code, &document["newly_refused"]["decisions"]), (Some(1), &json!(3)), "{document}");
    assert_eq!(document["newly_refused"]["groups"][0]["code"], "not-admitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_what_was_asked_for() {
    let stage = Stage::start().await;
    let mut shorter = policy_data(subject::REGISTRY);
    shorter["witgate"]["grants"][0]["lifetime_s"] = 60.into();
    stage.data("changed", &shorter);
    for (data, fail_on, code) in [
        ("candidate", "newly-refused", 1),
        ("candidate", "newly-admitted", 1),
        ("candidate", "changed", 1),
        ("changed", "newly-refused,newly-admitted", 0),
        ("changed", "changed", 1),
        ("changed", "any", 1),
    ] {
        let output = stage.replay(&["--data", data, "--fail-on", fail_on]);
        assert_eq!(output.status.code(), Some(code), "{data} {fail_on}: {}{}", stdout(&output), stderr(&output));
    }
    let output = stage.replay(&["--data", "in-force", "--fail-on", "something"]);
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_holds_what_was_decided_in_it() {
    let stage = Stage::start().await;
    let decisions = |window: &[&str]| {
        let (_, document) = stage.json(&[window, &["--data", "in-force"]].concat());
        document["counts"]["decisions"].as_u64().unwrap()
    };
    for (window, count) in [
        (&["--since", "2026-11-01T04:00:00Z"] as &[&str], 8),
        (&["--since", "2026-11-01T04:00:00.001Z"], 7),
        (&["--until", "2026-11-01T04:00:00Z"], 4),
        (&["--since", "2026-11-01T02:00:00Z", "--until", "2026-11-01T05:00:00Z"], 3),
        (&["--last", "5"], 5),
        (&["--last", "5", "--until", "2026-11-01T03:00:00Z"], 3),
        (&["--last", "1000"], 12),
        (&["--since", "2026-11-02"], 0),
    ] {
        assert_eq!(decisions(window), count, "{window:?}");
    }
    // The newest are those that are left.
    let (_, document) = stage.json(&["--last", "1", "--policy", "policies", "--data", "candidate", "--at", "recorded"]);
    assert_eq!(document["counts"]["same"], 1, "{document}");
    let output = stage.replay(&["--data", "in-force", "--since", "2026-11-02"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("no decision lies in the window"), "{}", stderr(&output));
    for wrong in
        [&["--since", "2026-11-02", "--until", "2026-11-01"] as &[&str], &["--last", "0"], &["--since", "noon"]]
    {
        let output = stage.replay(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_the_cases_own_unless_it_is_said_to_be_now() {
    let stage = Stage::start().await;
    let rules = stage.rules(
        "until-november",
        &format!("admit if input.time < \"2026-11-01T06:00:00Z\"\ngrants := {{\"imports\": {}}}", json!(imports())),
    );
    let rules = rules.to_str().unwrap();
    let admitted = |at: &str| {
        let (_, document) = stage.json(&["--policy", rules, "--at", at]);
        let newly = &document["newly_admitted"]["decisions"];
        (document["at"].as_str().unwrap().to_owned(), newly.as_u64().unwrap())
    };
    let (at, newly) = admitted("recorded");
    assert_eq!((at.as_str(), newly), ("recorded", 2));
    let (at, newly) = admitted("now");
    assert!(at.parse::<Timestamp>().is_ok(), "{at}");
    assert_eq!(newly, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_redacted_is_counted_and_said() {
    let stage = Stage::start().await;
    let id = stage.ids[1].simple();
    stage.tamper(&format!("DELETE FROM disclosure WHERE hex(id) = upper('{id}') AND ptr = '/case/caller/id'")).await;
    let output = stage.replay(&["--data", "in-force"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = steady(&stdout(&output));
    assert!(text.starts_with("replayed 11 of 12 decisions\n") && text.contains("\n  redacted        1\n"), "{text}");
    let told = format!("not replayed\n  redacted  #1 {}: `/case/caller/id` was redacted\n", stage.ids[1]);
    assert!(text.ends_with(&told), "{text}");
    // Nothing is left that could be decided: that is no answer.
    stage.tamper("DELETE FROM disclosure").await;
    let output = stage.replay(&["--data", "in-force"]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    assert!(stdout(&output).ends_with("\n  and 2 more decisions\n"), "{}", stdout(&output));
    assert!(stderr(&output).contains("all are redacted"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_no_answer_and_the_others_are_told() {
    let changes = [
        "UPDATE decision SET body = CAST(replace(CAST(body AS TEXT), 'x509-svid', 'jwt-svid') AS BLOB) WHERE idx = 2",
        "UPDATE decision SET entry = CAST(replace(CAST(entry AS TEXT), '\"refuse\"', '\"admit\"') AS BLOB) WHERE idx = 2",
        "UPDATE disclosure SET value = CAST('\"spiffe://demo.witgate.example/host/a\"' AS BLOB) WHERE ptr = '/case/caller/id' \
         AND id = (SELECT id FROM decision WHERE idx = 2)",
        "UPDATE decision SET idx = 200 WHERE idx = 2",
        "INSERT INTO disclosure SELECT id, '/case/version', salt, value FROM disclosure WHERE ptr = '/case/host' \
         AND id = (SELECT id FROM decision WHERE idx = 2)",
    ];
    let whys = [
        "its body does not hash to its entry's `body_commit`",
        "its entry does not hash to its leaf",
        "a disclosure is not what was committed to",
        "the tree knows nothing of it",
        "the disclosure of `/case/version` is not what was committed to",
    ];
    for (sql, why) in changes.into_iter().zip(whys) {
        let stage = Stage::start().await;
        stage.tamper(sql).await;
        let (code, document) = stage.json(&["--data", "in-force"]);
        let counts = &document["counts"];
        assert_eq!((code, &counts["damaged"], &counts["same"]), (Some(3), &json!(1), &json!(11)), "{sql}: {document}");
        let told = &document["not_replayable"][0];
        assert_eq!((&told["kind"], told["why"].as_str().unwrap()), (&json!("damaged"), why), "{sql}");
        assert_eq!(told["decision"], stage.ids[2].to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_replayed_without_a_log() {
    let stage = Stage::start().await;
    let entries = stage.export("cases.jsonl", 500);
    let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    fs::remove_dir_all(stage.home.path().join("state")).unwrap();
    let (code, document) = stage.json(&["--from", "cases.jsonl", "--data", "candidate"]);
    assert_eq!((code, &document["source"]), (Some(1), &json!({"file": "cases.jsonl"})));
    let counts = &document["counts"];
    assert_eq!(
        (&counts["decisions"], &counts["newly_refused"], &counts["damaged"]),
        (&json!(12), &json!(3), &json!(0))
    );
    assert!(!stage.home.path().join("state").exists(), "nothing is written");

    // The same on standing input, with lines that are no records and a case of which something is gone.
    let mut gone = entries.last().unwrap().clone();
    gone["redacted"] = json!(["/case/host", "/decision/reasons/0/about"]);
    let mut alone = gone["case"].clone();
    alone["mode"] = "enforce".into();
    let mut twice = lines.lines().last().unwrap().to_owned();
    twice.insert_str(1, "\"case\":1,");
    let mut words = gone.clone();
    words["redacted"] = json!(["/decision/reasons/0/about"]);
    let more = format!("{lines}{gone}\n{words}\n\n{{\"case\":1}}\nnot JSON\n{alone}\n{twice}");
    let mut child = witgate(stage.home.path())
        .args(["replay", "--from", "-", "--data", "in-force", "--output", "json"])
        .current_dir(stage.home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(more.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "a damaged record is no answer");
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let counts = &document["counts"];
    assert_eq!(
        (&counts["same"], &counts["redacted"], &counts["damaged"]),
        (&json!(13), &json!(1), &json!(4)),
        "{document}"
    );
    let whys: Vec<&str> =
        document["not_replayable"].as_array().unwrap().iter().map(|told| told["why"].as_str().unwrap()).collect();
    assert_eq!(document["not_replayable"][0]["place"], format!("line {}", entries.len() + 1));
    assert_eq!(
        whys,
        [
            "`/case/host` was redacted",
            "expected an object with `case` and `decision`, found something else",
            "no JSON at line 1, column 2",
            "expected an object with `case` and `decision`, found a case alone",
            "key `case` stands twice in one object",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replayed_at_all_says_what_to_do() {
    let stage = Stage::start().await;
    let broken = stage.rules("broken", "admit if {");
    let output = stage.replay(&["--policy", broken.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("own.rego:") && stderr(&output).contains("witgate: hint: "),
        "{}",
        stderr(&output)
    );
    let forbidden = stage.rules("forbidden", "admit if time.now_ns() > 0");
    let output = stage.replay(&["--policy", forbidden.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("own.rego:3:10: policies may not use `time.now_ns`"), "{}", stderr(&output));
    let output = stage.replay(&["--from", "nowhere.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = stage.replay(&["--from", "x", "--last", "3"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = run(stage.home.path(), &["replay", "--data-dir", "nowhere"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("there is no audit log at `nowhere/audit.db`"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_runs_away_refuses_and_stalls_nobody() {
    let stage = Stage::start().await;
    let runaway = "admit if count([1 | some a in numbers; some b in numbers; some c in numbers; a + b + c == 0]) == 7\n\
                   numbers := [n | some n in split(\"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20\", \",\")]\n\
                   all := [1 | some a in numbers; some b in numbers; some c in numbers; some d in numbers; some e in numbers; a == e]\n\
                   refuse contains {\"code\": \"never\", \"about\": \"x\", \"detail\": \"x\"} if count(all) == 1";
    let runaway = stage.rules("runaway", runaway);
    let (code, document) = stage.json(&["--policy", runaway.to_str().unwrap()]);
    let codes: Vec<&Value> =
        document["newly_refused"]["groups"].as_array().unwrap().iter().map(|group| &group["code"]).collect();
    assert_eq!((code, codes), (Some(1), vec![&json!("policy-timeout"); 2]), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mode_let_past_counts_as_policy_said_it() {
    let mut cases = cases().await;
    cases.iter_mut().for_each(|case| case.mode = Mode::Warn);
    let stage = Stage::of(cases).await;
    let (code, document) = stage.json(&["--data", "candidate"]);
    let refused = &document["newly_refused"];
    assert_eq!((code, &refused["decisions"], &refused["not_enforced"]), (Some(1), &json!(3), &json!(3)), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_looked_at_is_neither_admitted_nor_the_same() {
    let mut cases = cases().await;
    let unseen = &mut cases[0];
    (unseen.artifact, unseen.surface) = (ArtifactFacts::unseen(), Surface::Unseen);
    unseen.evidence = Evidence::default();
    (unseen.caller.id, unseen.host) = (host_id("a/stranger"), host_id("a/stranger"));
    let mut narrow = policy_data(subject::REGISTRY);
    narrow["witgate"]["grants"][0]["callers"] = json!([host_id("a"), host_id("b")]);
    let stage = Stage::of_policy(cases, &narrow).await;
    stage.data("narrow", &narrow);
    // Refused as early by the policy that refused it; fetched and looked at by one that speaks for everybody.
    assert_eq!(stage.counts(&["--data", "narrow"]), (Some(0), pairs(&[("decisions", 12), ("same", 12)])));
    let counts = pairs(&[("decisions", 12), ("same", 11), ("would_be_looked_at", 1)]);
    assert_eq!(stage.counts(&["--data", "in-force"]), (Some(1), counts.clone()));
    assert_eq!(stage.counts(&["--data", "in-force", "--fail-on", "newly-refused,changed"]), (Some(0), counts));
    let text = stdout(&stage.replay(&["--data", "in-force"]));
    assert!(text.contains("replayed 11 of 12 decisions\n") && text.contains("\n  looked at       1\n"), "{text}");
    let group = format!(
        "would be looked at before it is decided, no longer refused because of\n  1  caller-not-granted  {}/demo/cart  for ",
        subject::REGISTRY
    );
    assert!(text.contains(&group), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_at_once_without_an_answer() {
    let stage = Stage::start().await;
    let child = witgate(stage.home.path())
        .args(["replay", "--from", "-", "--data", "in-force"])
        .current_dir(stage.home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let begun = Instant::now();
    let patience = Duration::from_secs(60);
    let worker = loop {
        let found = fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = found.split_whitespace().next() {
            break pid.to_owned();
        }
        assert!(begun.elapsed() < patience, "no process was started to decide");
        std::thread::yield_now();
    };
    let told = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    // Its standard input stays open: without the interrupt it would wait for ever.
    let mut child = child;
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(
        (stdout(&output).as_str(), stderr(&output).as_str()),
        ("", "witgate: error: interrupted: there is no answer\n")
    );
    while Path::new(&format!("/proc/{worker}/stat")).exists() {
        assert!(begun.elapsed() < patience, "the process that decides outlives the one that waits");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_what_the_page_says() {
    let stage = Stage::start().await;
    stage.export("cases.jsonl", 2);
    let page = fs::read_to_string(repository().join("docs/replay.md")).unwrap();
    let typed = typed(&page);
    assert!(typed.len() >= 4, "the page has {} commands", typed.len());
    let mut last = None;
    for Typed { line, said } in typed {
        let words = shell_words(&line);
        let found = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["echo", "$?"] => vec![last.map_or_else(String::new, |code: i32| code.to_string())],
            ["witgate", ref arguments @ ..] => {
                let mut command = witgate(stage.home.path());
                command.args(arguments).args(["--data-dir", "state"]).current_dir(stage.home.path());
                let output = command.output().unwrap();
                last = output.status.code();
                steady(&format!("{}{}", stdout(&output), stderr(&output))).lines().map(str::to_owned).collect()
            }
            _ => panic!("`{line}`: the page uses witgate alone"),
        };
        let said: Vec<String> = steady(&said.join("\n")).lines().map(str::to_owned).collect();
        assert!(fits(&said, &found), "`{line}` says\n{}\nand the page\n{}", found.join("\n"), said.join("\n"));
    }
    let help = stdout(&run(stage.home.path(), &["replay", "--help"]));
    for flag in ["--policy", "--data", "--since", "--until", "--last", "--from", "--at", "--fail-on"] {
        assert!(help.contains(&format!("{flag} <")) && page.contains(&format!("| `{flag} ")), "`{flag}` is missing");
    }
}
