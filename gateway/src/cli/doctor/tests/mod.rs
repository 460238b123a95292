//! Each way past witgate, told with its place and the form that holds.

mod containerd;
mod containerd_config;
mod registries;

use std::path::Path;

use super::finding::{Finding, Level, Report};
use super::guard::Guard;

/// A guard of `upstreams` behind `https://witgate.example`.
fn guard(upstreams: &[&str]) -> Guard {
    let upstreams = upstreams.iter().map(|name| (*name).to_owned()).collect();
    Guard::new(vec!["https://witgate.example".parse().unwrap()], upstreams).unwrap()
}

/// The report on `findings` without fixes, with the folder left out.
fn told(folder: &Path, findings: Vec<Finding>) -> String {
    let short = |finding: Finding| Finding { fix: None, ..finding };
    let mut report = Report::default();
    report.add(findings.into_iter().map(short));
    let text = report.text().replace(&folder.display().to_string(), "…");
    text.lines().filter(|line| !line.contains("not looked at")).map(|line| format!("{line}\n")).collect()
}

/// The levels of all findings with a name.
fn levels(findings: &[Finding], check: &str) -> Vec<Level> {
    findings.iter().filter(|finding| finding.check == check).map(|finding| finding.level).collect()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_report_shows_a_fix_once_and_counts() {
    let fixed = |about: &str| Finding::wrong("a-b", about, "x\u{1b}[2J").with_fix("write this", "a = 1\n\n[b]\n");
    let mut report = Report::default();
    report.add([fixed("f:1:1"), fixed("f:2:1"), fixed("f:2:1"), Finding::ok("c", "g", "fine")]);
    report.add([Finding::not_looked_at("d", "h", "no file"), Finding::warn("e", "i", "soon")]);
    assert_eq!(report.count(Level::Wrong), 2);
    insta::assert_snapshot!(report.text(), @r"
    wrong  a-b  f:1:1
           x\u{1b}[2J
    wrong  a-b  f:2:1
           x\u{1b}[2J
           fix: write this:
               a = 1

               [b]
    ok     c  g
           fine
    -      d  h
           not looked at: no file
    warn   e  i
           soon
    2 wrong, 1 to know, 1 ok, 1 not looked at
    ");
    insta::assert_json_snapshot!(report.json(), @r#"
    {
      "findings": [
        {
          "about": "f:1:1",
          "check": "a-b",
          "fix": {
            "paste": "a = 1\n\n[b]\n",
            "say": "write this"
          },
          "found": "x\u001b[2J",
          "level": "wrong"
        },
        {
          "about": "f:2:1",
          "check": "a-b",
          "fix": {
            "paste": "a = 1\n\n[b]\n",
            "say": "write this"
          },
          "found": "x\u001b[2J",
          "level": "wrong"
        },
        {
          "about": "g",
          "check": "c",
          "fix": null,
          "found": "fine",
          "level": "ok"
        },
        {
          "about": "h",
          "check": "d",
          "fix": null,
          "found": "not looked at: no file",
          "level": "not-looked-at"
        },
        {
          "about": "i",
          "check": "e",
          "fix": null,
          "found": "soon",
          "level": "warn"
        }
      ],
      "not_looked_at": 1,
      "ok": 1,
      "warn": 1,
      "wrong": 2
    }
    "#);
}
