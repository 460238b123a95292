//! The examples of docs/registry-door.md as they stand there, with the names of this run.

use witgate::dev::deployment::TRUST_DOMAIN;

use super::{Door, UPSTREAM};

impl Door {
    /// The example whose first line begins like this.
    pub(super) fn example(&self, begin: &str) -> String {
        let mut blocks = blocks(PAGE).into_iter().filter(|block| block.starts_with(begin));
        let (Some(block), None) = (blocks.next(), blocks.next()) else { panic!("expected one example `{begin}`") };
        block
            .replace("witgate.example", &self.host())
            .replace("ghcr.io", UPSTREAM)
            .replace("acme.example", TRUST_DOMAIN)
            .replace("/etc/witgate", &self.home().display().to_string())
    }

    /// The words of the one command in it that begins like this, without the first.
    pub(super) fn command(&self, begin: &str, command: &str) -> Vec<String> {
        let example = self.example(begin);
        let line = example.lines().find(|line| line.starts_with(command)).unwrap_or_else(|| panic!("{example}"));
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    }
}

/// What stands between fences, without their indentation.
fn blocks(page: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in page.lines() {
        match (line.trim_start().starts_with("```"), open.take()) {
            (true, None) => open = Some((line.len() - line.trim_start().len(), String::new())),
            (true, Some((_, block))) => blocks.push(block),
            (false, Some((indent, mut block))) => {
                block.push_str(line.get(indent..).unwrap_or_default());
                block.push('\n');
                open = Some((indent, block));
            }
            (false, None) => (),
        }
    }
    blocks
}

const PAGE: &str = include_str!("../../../docs/registry-door.md");
