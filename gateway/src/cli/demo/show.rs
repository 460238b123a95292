//! What the demo says while it goes: data for a machine is `--output json`.

use super::attached::Outcome;
use super::{Exhibit, LogReport, Report};
use crate::cli::{Output, answer};
use crate::dev::deployment::Deployment;

/// The narrator; silent with `--output json`.
pub(super) struct Words {
    output: Output,
}

impl Words {
    pub(super) fn new(output: Output) -> Self {
        Self { output }
    }

    fn say(&self, line: &str) {
        if self.output == Output::Text {
            println!("{line}");
        }
    }

    pub(super) fn title(&self, text: &str) {
        self.say(&format!("\n== {text}"));
    }

    pub(super) fn deployment(&self, deployment: &Deployment) {
        self.say(&format!("  registry        http://{}", deployment.registry.host()));
        self.say(&format!("  gateway         {} (mTLS)", deployment.service.callers_url()));
        self.say(&format!("  administration  {}", deployment.service.administration_url()));
        self.say(&format!("  configuration   {}", deployment.folder().join("witgate.toml").display()));
    }

    pub(super) fn pushed(&self, exhibit: &Exhibit, reference: &str) {
        self.say(&format!("  {:<10} {reference}  ({})", exhibit.name, exhibit.about));
    }

    pub(super) fn outcome(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Admitted(one) => {
                self.say(&format!(
                    "  admitted  {:<10} ran, exit code {}, decision {}",
                    one.name(),
                    one.exit_code(),
                    one.decision()
                ));
                for line in one.stdout().lines() {
                    self.say(&format!("            | {}", answer::printable(line)));
                }
            }
            Outcome::Refused(one) => {
                self.say(&format!("  refused   {:<10} decision {}", one.name(), one.decision()));
                for line in answer::reason_lines(one.reasons()).lines() {
                    self.say(&format!("          {line}"));
                }
            }
        }
    }

    pub(super) fn log(&self, log: &LogReport) {
        self.say(&format!("  {} entries, root {}, every leaf, tile, checkpoint and body checked", log.size, log.root));
    }

    pub(super) fn not_held(&self) {
        eprintln!(
            "witgate: error: the demo did not end as it should: expected `good` to run and the other three to be refused"
        );
        eprintln!("witgate: hint: run `witgate demo --output json` and read the reasons");
    }

    pub(super) fn stay(&self, deployment: &Deployment, report: &Report) {
        let folder = deployment.folder().display();
        let file = deployment.folder().join("witgate.toml");
        let data = deployment.config.data_dir.display();
        self.title("everything stays up until Ctrl-C; try in another terminal");
        let witgate = std::env::current_exe().map_or_else(|_| "witgate".into(), |path| path.display().to_string());
        let with = format!("--config {} --data-dir {data}", file.display());
        if let Some(refused) = report.refused.first() {
            self.say(&format!("  {witgate} explain {} {with}", refused.decision()));
        }
        self.say(&format!("  {witgate} log show {with}"));
        self.say(&format!("  {witgate} log verify {with}"));
        self.say(&format!("  curl {}/readyz", deployment.service.administration_url()));
        self.say(&format!("  curl {}/metrics", deployment.service.administration_url()));
        self.say(&format!("  keys, sockets and policy data lie in {folder}"));
    }
}
