//! The tests that stand beside policies, run as `opa test` runs them.

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, Settings, Source};
use super::engine::on_a_large_stack;
use super::scrutiny::{package, scrutinize, test_rules};
use super::{LoadError, data};

/// What became of the tests of one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReport {
    /// Each test, in the order of files and rules.
    pub results: Vec<TestResult>,
    /// The lines of each policy file that the tests reached.
    pub coverage: Vec<FileCoverage>,
}

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    /// The file it stands in.
    pub file: String,
    /// Its rule: `data.witgate.admission_test.test_unsigned`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
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
    Fail,
    /// It could not be evaluated.
    Error {
        /// Where and why.
        detail: String,
    },
}

/// The lines of one policy file that tests reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCoverage {
    /// The file.
    pub file: String,
    /// How many of the lines that can be evaluated were, in percent, rounded down.
    pub percent: usize,
    /// The lines that were not, from 1.
    pub not_covered: Vec<u32>,
}

impl TestReport {
    /// Whether there are tests and each one passed.
    pub fn passed(&self) -> bool {
        !self.results.is_empty() && self.results.iter().all(|result| result.outcome == Outcome::Pass)
    }
}

/// Runs every `test_*` rule of the `*_test.rego` files of `dir`.
///
/// The tests run in the interpreter, which a policy can make overflow its stack or fill the memory: call this in a process
/// that may die.
///
/// # Errors
/// A folder that cannot be read, a file that does not parse, data that no rule reads.
pub fn test(dir: &Path, data_dir: Option<&Path>) -> Result<TestReport, LoadError> {
    let settings = Settings { dir: Some(dir.into()), data: data_dir.map(Into::into), ..Settings::default() };
    let bundle = Bundle::read(&settings)?;
    let data = data::load(&bundle)?;
    for file in bundle.modules.iter().chain(&bundle.tests) {
        scrutinize(&file.name, &file.text)?;
    }
    on_a_large_stack(|| run(&bundle, &data))
}

fn run(bundle: &Bundle, data: &serde_json::Value) -> Result<TestReport, LoadError> {
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
    let results = bundle.tests.iter().flat_map(|file| run_file(&mut engine, file)).collect();
    let report = engine.get_coverage_report().map_err(|error| fault(&error))?;
    let is_module = |file: &&regorus::coverage::File| bundle.modules.iter().any(|module| module.name == file.path);
    let coverage = report.files.iter().filter(is_module).map(|file| FileCoverage {
        file: file.path.clone(),
        percent: match file.covered.len() + file.not_covered.len() {
            0 => 100,
            lines => file.covered.len() * 100 / lines,
        },
        not_covered: file.not_covered.iter().copied().collect(),
    });
    Ok(TestReport { results, coverage: coverage.collect() })
}

fn run_file(engine: &mut regorus::Engine, file: &Source) -> Vec<TestResult> {
    let package = package(&file.text).unwrap_or_default();
    let mut results = Vec::new();
    for rule in test_rules(&file.text) {
        let name = format!("data.{package}.{rule}");
        let outcome = match engine.eval_rule(name.clone()) {
            Ok(regorus::Value::Bool(true)) => Outcome::Pass,
            Ok(_) => Outcome::Fail,
            Err(error) => Outcome::Error { detail: error.to_string().trim().to_owned() },
        };
        let prints = engine.take_prints().unwrap_or_default();
        results.push(TestResult { file: file.name.clone(), name, outcome, prints });
    }
    results
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            let word = match &result.outcome {
                Outcome::Pass => "pass",
                Outcome::Fail => "FAIL",
                Outcome::Error { .. } => "ERROR",
            };
            if !matches!(result.outcome, Outcome::Pass) || !result.prints.is_empty() {
                writeln!(f, "{word:5} {} {}", result.file, result.name)?;
            }
            if let Outcome::Error { detail } = &result.outcome {
                detail.lines().try_for_each(|line| writeln!(f, "      {line}"))?;
            }
            result.prints.iter().try_for_each(|line| writeln!(f, "      {line}"))?;
        }
        for file in &self.coverage {
            write!(f, "{:3} %  {}", file.percent, file.file)?;
            let lines: Vec<_> = file.not_covered.iter().map(ToString::to_string).collect();
            if lines.is_empty() { writeln!(f) } else { writeln!(f, "  not reached: {}", lines.join(", ")) }?;
        }
        let passed = self.results.iter().filter(|result| result.outcome == Outcome::Pass).count();
        writeln!(f, "{passed} of {} tests passed", self.results.len())
    }
}

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
        let report = test(dir.path(), None).unwrap();
        let outcomes: Vec<_> = report.results.iter().map(|result| (result.name.as_str(), &result.outcome)).collect();
        assert_eq!(outcomes[0], ("data.a_test.test_pass", &Outcome::Pass));
        assert_eq!(outcomes[1], ("data.a_test.test_fail", &Outcome::Fail));
        assert_eq!(outcomes[2], ("data.a_test.test_false", &Outcome::Fail));
        assert!(matches!(outcomes[3].1, Outcome::Error { .. }));
        assert!(report.results[4].prints[0].contains("hello 1"), "{:?}", report.results[4]);
        assert!(!report.passed());
        assert_eq!(report.coverage.len(), 1);
        assert!(report.coverage[0].percent < 100 && !report.coverage[0].not_covered.is_empty());
        assert!(report.to_string().ends_with("2 of 5 tests passed\n"), "{report}");
    }

    #[test]
    fn no_tests_is_no_pass() {
        let dir = folder(&[("a.rego", "package a\n\nx := 1\n")]);
        assert!(!test(dir.path(), None).unwrap().passed());
    }

    #[test]
    fn the_shipped_tests_pass_and_reach_every_line() {
        let report = test(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies")), None).unwrap();
        assert!(report.passed(), "{report}");
        for file in &report.coverage {
            assert_eq!(file.percent, 100, "{report}");
        }
    }
}
