//! Whether a folder of policies would be taken, with every fault that can be told.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, Settings, Source};
use super::engine::{Engine, on_a_large_stack};
use super::scrutiny::{scrutinize, test_rules};
use super::{LoadError, data};
use crate::case::PolicyFacts;

/// What `witgate policy check` found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Which policy it would be.
    pub policy: PolicyFacts,
    /// The files that decide.
    pub modules: Vec<String>,
    /// The files that test, with how many tests each has.
    pub tests: Vec<(String, usize)>,
}

/// Compiles the policies of `dir`, or the embedded ones, with their data as the gateway would, and their tests.
///
/// # Errors
/// Every fault found: each file's own, then that of the whole. Evaluates nothing, but parses what may be hostile: call it
/// in a process that may die.
pub fn check(dir: Option<&Path>, data_dir: Option<&Path>) -> Result<CheckReport, Vec<LoadError>> {
    let settings = Settings { dir: dir.map(Into::into), data: data_dir.map(Into::into), ..Settings::default() };
    let bundle = Bundle::read(&settings).map_err(|error| vec![error])?;
    let mut faults: Vec<_> = bundle.modules.iter().chain(&bundle.tests).filter_map(|file| parse(file).err()).collect();
    let data = data::load(&bundle);
    if let (Ok(data), true) = (&data, faults.is_empty()) {
        let compiled = Engine::compile(&bundle.modules, data, Duration::from_millis(settings.timeout_ms));
        faults.extend(compiled.err());
    }
    faults.extend(data.err());
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(CheckReport {
        policy: bundle.facts(),
        modules: bundle.modules.into_iter().map(|file| file.name).collect(),
        tests: bundle.tests.into_iter().map(|file| (file.name, test_rules(&file.text).len())).collect(),
    })
}

fn parse(file: &Source) -> Result<(), LoadError> {
    scrutinize(&file.name, &file.text)?;
    on_a_large_stack(|| match regorus::Engine::new().add_policy(file.name.clone(), file.text.clone()) {
        Ok(_) => Ok(()),
        Err(error) => Err(LoadError::Compile { report: format!("\n{}", error.to_string().trim()) }),
    })
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: usize = self.tests.iter().map(|(_, tests)| tests).sum();
        writeln!(f, "policy `{}` revision {} compiles", self.policy.name, self.policy.revision)?;
        writeln!(f, "  digest   {}", self.policy.digest)?;
        writeln!(f, "  modules  {}", self.modules.join(", "))?;
        writeln!(f, "  tests    {tests}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_every_fault_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("a.rego", "package a\n\nx if {\n");
        write("b.rego", "package b\n\ny := time.now_ns()\n");
        write("b_test.rego", "package b_test\n\ntest_b if b.\n");
        write("data/d.json", "{\"witgate\":{\"grant\":[]}}");
        let texts: Vec<_> = check(Some(dir.path()), None).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(
            texts[0].contains("a.rego:") && texts[1].starts_with("b.rego:3:6:") && texts[2].contains("b_test.rego:")
        );
        assert!(texts[3].starts_with("d.json: `witgate.grant`"));
    }

    #[test]
    fn the_shipped_policies_are_good() {
        let report = check(Some(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies"))), None).unwrap();
        let embedded: Vec<_> = Bundle::embedded().modules.into_iter().map(|module| module.name).collect();
        assert_eq!(report.modules, embedded, "what is shipped is what is embedded");
        assert!(report.tests.iter().all(|(_, tests)| *tests > 0));
    }
}
