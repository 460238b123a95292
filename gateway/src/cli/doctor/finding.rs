//! What `witgate doctor` found: one line of its report, with the form that would hold.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::answer::printable;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Its name; each has a row in `docs/doctor.md`.
    pub check: &'static str,
    /// How it stands.
    pub level: Level,
    /// What it is about: `FILE`, `FILE:LINE:COLUMN`, an address, a name.
    pub about: String,
    /// What is there, and what follows from it.
    pub found: String,
    /// What to put in its place.
    pub fix: Option<Fix>,
}

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// It holds.
    Ok,
    /// There was nothing to look at: this says nothing about how it stands.
    NotLookedAt,
    /// It holds today, or is not witgate's to hold.
    Warn,
    /// witgate can be walked round, or does not answer.
    Wrong,
}

/// The form that holds, ready to paste.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fix {
    /// What to do with it.
    pub say: String,
    /// The text.
    pub paste: String,
}

impl Finding {
    fn new(check: &'static str, level: Level, about: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check, level, about: about.into(), found: found.into(), fix: None }
    }

    pub(super) fn ok(check: &'static str, about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, about, found)
    }

    pub(super) fn not_looked_at(check: &'static str, about: impl Into<String>, found: impl AsRef<str>) -> Self {
        Self::new(check, Level::NotLookedAt, about, format!("not looked at: {}", found.as_ref()))
    }

    pub(super) fn warn(check: &'static str, about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Level::Warn, about, found)
    }

    pub(super) fn wrong(check: &'static str, about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Level::Wrong, about, found)
    }

    /// The same with the form that holds.
    pub(super) fn with_fix(self, say: impl Into<String>, paste: impl Into<String>) -> Self {
        Self { fix: Some(Fix { say: say.into(), paste: paste.into() }), ..self }
    }
}

impl Level {
    /// As it stands in the report.
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotLookedAt => "-",
            Self::Warn => "warn",
            Self::Wrong => "wrong",
        }
    }
}

/// Everything that was found, in the order in which it was looked at; what is said twice stands once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if !self.0.contains(&finding) {
                self.0.push(finding);
            }
        }
    }

    /// How many findings stand at `level`.
    pub(super) fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// For a person: one paragraph a finding, the fix below it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (index, finding) in self.0.iter().enumerate() {
            let Finding { check, level, about, found, fix } = finding;
            let _ = writeln!(text, "{:<5}  {check}  {}", level.as_str(), printable(about));
            let _ = writeln!(text, "       {}", printable(found));
            let Some(Fix { say, paste }) = fix else { continue };
            // What mends several faults of one file stands below the last of them.
            if self.0.get(index + 1).is_some_and(|next| next.fix == *fix) {
                continue;
            }
            let _ = writeln!(text, "       fix: {}:", printable(say));
            for line in paste.lines() {
                let _ = writeln!(text, "{}", format!("           {}", printable(line)).trim_end());
            }
        }
        let _ = writeln!(
            text,
            "{} wrong, {} to know, {} ok, {} not looked at",
            self.count(Level::Wrong),
            self.count(Level::Warn),
            self.count(Level::Ok),
            self.count(Level::NotLookedAt)
        );
        text
    }

    /// The same for a machine.
    pub(super) fn json(&self) -> Value {
        json!({
            "findings": self.0,
            "wrong": self.count(Level::Wrong),
            "warn": self.count(Level::Warn),
            "ok": self.count(Level::Ok),
            "not_looked_at": self.count(Level::NotLookedAt),
        })
    }
}
