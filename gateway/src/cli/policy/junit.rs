//! The report of policy tests as CI servers read it: JUnit's XML, a suite for each file.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::policy::{Outcome, TestReport};

/// The report as one XML document.
pub(super) fn render(report: &TestReport) -> anyhow::Result<String> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for result in &report.results {
        let status = match &result.outcome {
            Outcome::Pass => TestCaseStatus::success(),
            Outcome::Fail { stopped_at } => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message("the rule is false or undefined");
                if let Some((line, text)) = stopped_at {
                    status.set_description(format!("stopped at {}:{line}: {text}", result.file));
                }
                status
            }
            Outcome::Error { detail } => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_message("the rule could not be evaluated").set_description(detail.as_str());
                status
            }
            Outcome::Todo => TestCaseStatus::skipped(),
        };
        let mut case = TestCase::new(result.name.as_str(), status);
        case.set_classname(result.file.as_str()).set_time(Duration::from_micros(result.elapsed_us));
        case.extra.insert("file".into(), result.file.as_str().into());
        case.extra.insert("line".into(), result.line.to_string().into());
        if !result.prints.is_empty() {
            case.set_system_out(result.prints.join("\n"));
        }
        suites.entry(&result.file).or_insert_with(|| TestSuite::new(result.file.as_str())).add_test_case(case);
    }
    let mut document = Report::new("witgate policy test");
    document.add_test_suites(suites.into_values());
    document.to_string().context("writing the report as XML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Coverage, TestResult};

    #[test]
    fn says_what_became_of_each_test() {
        let result = |name: &str, outcome| TestResult {
            file: "a_test.rego".into(),
            line: 3,
            name: format!("data.a_test.{name}"),
            outcome,
            elapsed_us: 1500,
            prints: vec!["<b> & c".into()],
        };
        let report = TestReport {
            results: vec![
                result("test_a", Outcome::Pass),
                result("test_b", Outcome::Fail { stopped_at: Some((4, "x == 1".into())) }),
                result("test_c", Outcome::Error { detail: "no\u{1b}[2Jne".into() }),
                result("todo_test_d", Outcome::Todo),
            ],
            coverage: Coverage { percent: 100.0, files: Vec::new() },
        };
        let xml = render(&report).unwrap();
        for part in [
            r#"tests="4" skipped="1" failures="1" errors="1""#,
            r#"classname="a_test.rego" time="0.002" file="a_test.rego" line="3""#,
            "<failure message=\"the rule is false or undefined\">stopped at a_test.rego:4: x == 1</failure>",
            "<error message=\"the rule could not be evaluated\">",
            "<skipped/>",
            "&lt;b&gt; &amp; c",
        ] {
            assert!(xml.contains(part), "no `{part}` in {xml}");
        }
        assert!(!xml.contains('\u{1b}'), "XML has no such character");
    }
}
