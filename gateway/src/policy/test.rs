//! The tests that stand beside policies, run as `opa test` runs them.

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use regex::Regex;
use regorus::utils::limits::ExecutionTimerConfig;
use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, Settings, Source};
use super::coverage::Coverage;
use super::engine::on_a_large_stack;
use super::scrutiny::{TestRule, package, scrutinize, test_rules};
use super::{LoadError, data};

/// What became of the tests of one folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// Each test, in the order of files and rules.
    pub results: Vec<TestResult>,
    /// The lines that the tests reached.
    pub coverage: Coverage,
}

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    /// The file it stands in.
    pub file: String,
    /// The line of its rule, from 1.
    pub line: usize,
    /// Its rule: `data.witgate.admission_test.test_unsigned`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
    /// What it printed, each a line.
    pub prints: Vec<String>,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Its rule is true.
    Pass,
    /// Its rule is false or undefined.
    Fail {
        /// The last line of the rule that was evaluated, from 1, with its text; none where nothing tells which it was.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        stopped_at: Option<(usize, String)>,
    },
    /// It could not be evaluated.
    Error {
        /// Where and why.
        detail: String,
    },
    /// Its name begins with `todo_`: it is still to be written, and was not run.
    Todo,
}

impl TestReport {
    /// Whether a test ran, and each one that ran passed.
    pub fn passed(&self) -> bool {
        let ran = || self.results.iter().filter(|result| result.outcome != Outcome::Todo);
        ran().next().is_some() && ran().all(|result| result.outcome == Outcome::Pass)
    }

    /// With a line for every test, and the time each took.
    pub fn verbose(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, |_| true).expect("a String takes every text");
        text
    }

    fn write(&self, f: &mut impl fmt::Write, is_told: impl Fn(&TestResult) -> bool) -> fmt::Result {
        for result in &self.results {
            let TestResult { file, line, name, elapsed_us, prints, .. } = result;
            let word = match &result.outcome {
                Outcome::Pass => "pass",
                Outcome::Fail { .. } => "FAIL",
                Outcome::Error { .. } => "ERROR",
                Outcome::Todo => "todo",
            };
            if is_told(result) {
                writeln!(f, "{word:5} {file}:{line}: {name} ({}.{:03} ms)", elapsed_us / 1000, elapsed_us % 1000)?;
            } else if result.outcome != Outcome::Pass || !prints.is_empty() {
                writeln!(f, "{word:5} {file}:{line}: {name}")?;
            }
            match &result.outcome {
                Outcome::Fail { stopped_at: Some((line, text)) } => {
                    writeln!(f, "      stopped at {file}:{line}: {text}")?
                }
                Outcome::Error { detail } => detail.lines().try_for_each(|line| writeln!(f, "      {line}"))?,
                _ => {}
            }
            prints.iter().try_for_each(|line| writeln!(f, "      {line}"))?;
        }
        write!(f, "{}", self.coverage)?;
        let count = |is: fn(&Outcome) -> bool| self.results.iter().filter(|result| is(&result.outcome)).count();
        let (passed, todo) = (count(|outcome| *outcome == Outcome::Pass), count(|outcome| *outcome == Outcome::Todo));
        write!(f, "{passed} of {} tests passed", self.results.len() - todo)?;
        if todo > 0 { writeln!(f, ", {todo} to be written") } else { writeln!(f) }
    }
}

/// Runs the `test_*` rules of the `*_test.rego` files of `dir`: all of them, or those whose names match `only`.
///
/// The tests run in the interpreter, which a policy can make overflow its stack or fill the memory: call this in a process
/// that may die.
///
/// # Errors
/// A folder that cannot be read, a file that does not parse, data that no rule reads.
pub fn test(dir: &Path, data_dir: Option<&Path>, only: Option<&Regex>) -> Result<TestReport, LoadError> {
    let settings = Settings { dir: Some(dir.into()), data: data_dir.map(Into::into), ..Settings::default() };
    let bundle = Bundle::read(&settings)?;
    let data = data::load(&bundle)?;
    for file in bundle.modules.iter().chain(&bundle.tests) {
        scrutinize(&file.name, &file.text)?;
    }
    on_a_large_stack(|| run(&bundle, &data, only))
}

fn run(bundle: &Bundle, data: &serde_json::Value, only: Option<&Regex>) -> Result<TestReport, LoadError> {
    let fault = |error: &dyn fmt::Display| LoadError::Compile { report: format!("\n{}", error.to_string().trim()) };
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(true);
    for file in bundle.modules.iter().chain(&bundle.tests) {
        engine.add_policy(file.name.clone(), file.text.clone()).map_err(|error| fault(&error))?;
    }
    let data = regorus::Value::from_json_str(&data.to_string()).map_err(|error| fault(&error))?;
    engine.add_data(data).map_err(|error| fault(&error))?;
    engine.set_enable_coverage(true);
    engine.set_gather_prints(true);
    engine.set_execution_timer_config(ExecutionTimerConfig { limit: TEST_TIMEOUT, check_interval: TIMER_INTERVAL });
    let results = bundle.tests.iter().flat_map(|file| run_file(&mut engine, file, only)).collect();
    let report = engine.get_coverage_report().map_err(|error| fault(&error))?;
    let is_module = |file: &regorus::coverage::File| bundle.modules.iter().any(|module| module.name == file.path);
    let files = report.files.into_iter().filter(is_module);
    let lines = |lines: std::collections::BTreeSet<u32>| lines.into_iter().collect();
    let coverage = Coverage::of(files.map(|file| (file.path, lines(file.covered), lines(file.not_covered))));
    Ok(TestReport { results, coverage })
}

fn run_file(engine: &mut regorus::Engine, file: &Source, only: Option<&Regex>) -> Vec<TestResult> {
    let package = package(&file.text).unwrap_or_default();
    let mut results = Vec::new();
    for rule in test_rules(&file.text) {
        let name = format!("data.{package}.{}", rule.name);
        if only.is_some_and(|only| !only.is_match(&name)) {
            continue;
        }
        let started = Instant::now();
        let outcome = if rule.is_todo() {
            Outcome::Todo
        } else {
            match engine.eval_rule(name.clone()) {
                Ok(regorus::Value::Bool(true)) => Outcome::Pass,
                Ok(_) => Outcome::Fail { stopped_at: stopped_at(engine, file, &rule) },
                Err(error) => Outcome::Error { detail: error.to_string().trim().to_owned() },
            }
        };
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let prints = engine.take_prints().unwrap_or_default();
        results.push(TestResult { file: file.name.clone(), line: rule.line, name, outcome, elapsed_us, prints });
    }
    results
}

/// The last line of a rule that was reached: the one in front of the first that was not, or its last.
fn stopped_at(engine: &regorus::Engine, file: &Source, rule: &TestRule) -> Option<(usize, String)> {
    let report = engine.get_coverage_report().ok()?;
    let lines = report.files.into_iter().find(|lines| lines.path == file.name)?;
    let end = rule.next_line.unwrap_or(usize::MAX);
    let inside = |line: &u32| (rule.line..end).contains(&(*line as usize));
    let first_left = lines.not_covered.iter().copied().find(inside).unwrap_or(u32::MAX);
    let last = lines.covered.iter().copied().filter(inside).take_while(|line| *line < first_left).last()? as usize;
    let text = file.text.lines().nth(last - 1)?.trim();
    Some((last, text.chars().take(MAX_SHOWN_CHARS).collect()))
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |_| false)
    }
}

/// How much of a line is shown, in characters.
const MAX_SHOWN_CHARS: usize = 160;
/// How long one test may run.
const TEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Steps of the interpreter between two looks at the clock.
const TIMER_INTERVAL: NonZeroU32 = NonZeroU32::new(64).expect("64 is not 0");

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn tells_pass_from_fail_from_error() {
        let dir = folder(&[
            ("a.rego", "package a\n\nx if input.good\n\ny if {\n\tinput.never\n\tinput.reached\n}\n"),
            (
                "a_test.rego",
                "package a_test\n\nimport data.a\n\ntest_pass if a.x with input as {\"good\": true}\n\
                 test_fail if a.x with input as {}\n\ntest_false := false\n\
                 test_error if upper(1) == \"\"\n\ntest_print if { print(\"hello\", 1); true }\n",
            ),
        ]);
        let report = test(dir.path(), None, None).unwrap();
        let failed = |line: usize, text: &str| Outcome::Fail { stopped_at: Some((line, text.to_owned())) };
        let outcomes: Vec<_> = report.results.iter().map(|result| (result.name.as_str(), &result.outcome)).collect();
        assert_eq!(outcomes[0], ("data.a_test.test_pass", &Outcome::Pass));
        assert_eq!(outcomes[1], ("data.a_test.test_fail", &failed(6, "test_fail if a.x with input as {}")));
        assert_eq!(outcomes[2], ("data.a_test.test_false", &failed(8, "test_false := false")));
        assert!(matches!(outcomes[3].1, Outcome::Error { .. }));
        assert!(report.results[4].prints[0].contains("hello 1"), "{:?}", report.results[4]);
        assert!(!report.passed());
        assert_eq!(report.coverage.files.len(), 1);
        assert!(report.coverage.percent < 100.0 && !report.coverage.files[0].not_covered.is_empty());
        assert!(report.to_string().ends_with("2 of 5 tests passed\n"), "{report}");
    }

    #[test]
    fn says_at_which_line_a_test_stopped() {
        let text =
            "package a_test\n\ntest_a if {\n\tx := 1\n\tx == 2\n\tx == 1\n}\n\ntest_b if {\n\ttrue\n\tfalse\n}\n";
        let report = test(folder(&[("a.rego", "package a\n"), ("a_test.rego", text)]).path(), None, None).unwrap();
        let told = report.to_string();
        assert!(
            told.starts_with("FAIL  a_test.rego:3: data.a_test.test_a\n      stopped at a_test.rego:5: x == 2\n"),
            "{told}"
        );
        assert!(
            told.contains("FAIL  a_test.rego:9: data.a_test.test_b\n      stopped at a_test.rego:11: false\n"),
            "{told}"
        );
    }

    #[test]
    fn runs_what_is_asked_for_and_tells_what_is_to_be_written() {
        let text = "package a_test\n\ntest_one if true\ntest_two if true\ntodo_test_three if false\n";
        let dir = folder(&[("a.rego", "package a\n"), ("a_test.rego", text)]);
        let all = test(dir.path(), None, None).unwrap();
        assert!(all.passed());
        assert!(all.to_string().ends_with("2 of 2 tests passed, 1 to be written\n"), "{all}");
        assert!(all.verbose().contains("pass  a_test.rego:3: data.a_test.test_one ("), "{}", all.verbose());
        let one = test(dir.path(), None, Some(&Regex::new("_one$").unwrap())).unwrap();
        assert_eq!(one.results.iter().map(|result| result.name.as_str()).collect::<Vec<_>>(), ["data.a_test.test_one"]);
        assert!(!test(dir.path(), None, Some(&Regex::new("three").unwrap())).unwrap().passed(), "nothing ran");
    }

    #[test]
    fn no_tests_is_no_pass() {
        let dir = folder(&[("a.rego", "package a\n\nx := 1\n")]);
        assert!(!test(dir.path(), None, None).unwrap().passed());
    }

    #[test]
    fn the_shipped_tests_pass_and_reach_every_line() {
        let report = test(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies")), None, None).unwrap();
        assert!(report.passed(), "{report}");
        assert!(report.coverage.reaches(100.0), "{report}");
    }
}
