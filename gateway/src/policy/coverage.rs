//! Which lines of the policies the tests reach.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The lines of every policy file that tests reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// How many of the lines of all files that can be evaluated were, in percent, rounded down to a hundredth.
    pub percent: f64,
    /// Each policy file, in the order of their names; tests are not among them.
    pub files: Vec<FileCoverage>,
}

/// The lines of one policy file that tests reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileCoverage {
    /// The file.
    pub file: String,
    /// As for all files.
    pub percent: f64,
    /// The lines that were reached, from 1.
    pub covered: Vec<u32>,
    /// The lines that were not.
    pub not_covered: Vec<u32>,
}

impl Coverage {
    pub(super) fn of(files: impl Iterator<Item = (String, Vec<u32>, Vec<u32>)>) -> Self {
        let mut files: Vec<_> = files
            .map(|(file, covered, not_covered)| FileCoverage {
                percent: percent(covered.len(), not_covered.len()),
                file,
                covered,
                not_covered,
            })
            .collect();
        files.sort_by(|one, other| one.file.cmp(&other.file));
        let lines = |count: fn(&FileCoverage) -> usize| files.iter().map(count).sum();
        Self { percent: percent(lines(|file| file.covered.len()), lines(|file| file.not_covered.len())), files }
    }

    /// Whether it reaches a threshold, in percent.
    pub fn reaches(&self, threshold: f64) -> bool {
        self.percent >= threshold
    }
}

/// Nothing to reach is all of it.
#[allow(clippy::cast_precision_loss, reason = "lines of policies stay far below 2^52")]
fn percent(covered: usize, not_covered: usize) -> f64 {
    match covered + not_covered {
        0 => 100.0,
        all => (covered as f64 * 10_000.0 / all as f64).floor() / 100.0,
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for FileCoverage { file, percent, not_covered, .. } in &self.files {
            write!(f, "{percent:6.2} %  {file}")?;
            let lines: Vec<_> = not_covered.iter().map(ToString::to_string).collect();
            if lines.is_empty() { writeln!(f) } else { writeln!(f, "  not reached: {}", lines.join(", ")) }?;
        }
        writeln!(f, "{:6.2} %  of all lines", self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_told_for_each_file_and_for_all_lines() {
        let files = [("b.rego", vec![1, 2], vec![3]), ("a.rego", vec![1], vec![]), ("c.rego", vec![], vec![])];
        let coverage = Coverage::of(files.map(|(name, covered, not)| (name.to_owned(), covered, not)).into_iter());
        assert_eq!(
            coverage.to_string(),
            "100.00 %  a.rego\n 66.66 %  b.rego  not reached: 3\n100.00 %  c.rego\n 75.00 %  of all lines\n"
        );
        assert!(coverage.reaches(75.0) && !coverage.reaches(75.01));
    }
}
