//! Every command of the README's tour, in order.

use std::path::Path;

use super::{stderr, stdout, witgate};

#[test]
fn the_tour_works_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let home = tempfile::tempdir().unwrap();
    // The tour runs in a checkout: what it reads of it is there, what it writes goes into the temporary folder.
    std::os::unix::fs::symlink(root.join("policies"), home.path().join("policies")).unwrap();
    let mut commands = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let words = shell_words(line);
        let [program, arguments @ ..] = words.as_slice() else { panic!("`{line}` is empty") };
        assert_eq!(program, "witgate", "`{line}`: the tour uses witgate alone");
        let output = witgate(home.path()).args(arguments).current_dir(home.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "`{line}`:\n{}{}", stdout(&output), stderr(&output));
        assert!(!output.stdout.is_empty(), "`{line}` says nothing");
        commands += 1;
    }
    assert!(commands >= 6, "the tour has {commands} commands");
}

#[test]
fn the_two_commands_stand_as_ci_runs_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let ci = std::fs::read_to_string(root.join(".ci/run")).unwrap();
    for (readme, script) in [
        ("cargo run -- demo", "cargo run --locked -- demo"),
        ("cargo test --workspace", "cargo test --workspace --locked"),
    ] {
        assert!(text.contains(&format!("\n{readme}\n")), "the README lost `{readme}`");
        assert!(ci.contains(script), ".ci/run lost `{script}`");
    }
}

/// Splits a line at spaces, minding single quotes: enough for the tour.
pub(super) fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    assert!(!quoted, "`{line}` leaves a quote open");
    if !word.is_empty() {
        words.push(word);
    }
    words
}
