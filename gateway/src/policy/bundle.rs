//! The files that make one policy, read once in a fixed order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::LoadError;
use crate::case::{Digest, PolicyFacts};

/// The table `[policy]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A folder of `*.rego` files with a folder `data` of `*.json` and `*.yaml` files; absent: the policies embedded in the program.
    pub dir: Option<PathBuf>,
    /// A folder of `*.json` and `*.yaml` files that are merged over the data of the policies.
    pub data: Option<PathBuf>,
    /// How long one decision may be thought about, in milliseconds.
    pub timeout_ms: u64,
}

impl Settings {
    /// The default of `timeout_ms` (`design.md` §12).
    pub const DEFAULT_TIMEOUT_MS: u64 = 100;
    /// How long the demo and tests wait for policy, in milliseconds: long enough for a busy machine without optimization.
    pub(super) const PATIENT_TIMEOUT_MS: u64 = 10_000;
}

impl Default for Settings {
    fn default() -> Self {
        Self { dir: None, data: None, timeout_ms: Self::DEFAULT_TIMEOUT_MS }
    }
}

/// One policy or data file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Its name as messages and the digest show it: the path inside the folder, joined by `/`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What one policy is made of: modules, their tests, data files in the order they are merged.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    pub name: String,
    pub revision: Option<String>,
    /// Sorted by name, tests left out.
    pub modules: Vec<Source>,
    /// Sorted by name: `*_test.rego`. They decide nothing and are not part of the digest.
    pub tests: Vec<Source>,
    /// The bundle's own data, sorted by name.
    pub data: Vec<Source>,
    /// The data merged over it, sorted by name.
    pub data_over: Vec<Source>,
}

impl Bundle {
    /// The policies that are part of the program; they admit nobody until data says otherwise.
    pub fn embedded() -> Self {
        let source = |(name, text): &(&str, &str)| Source { name: (*name).into(), text: (*text).into() };
        Self {
            name: "embedded".into(),
            revision: Some(env!("CARGO_PKG_VERSION").into()),
            modules: EMBEDDED_MODULES.iter().map(source).collect(),
            tests: Vec::new(),
            data: EMBEDDED_DATA.iter().map(source).collect(),
            data_over: Vec::new(),
        }
    }

    /// Reads what `settings` names.
    pub fn read(settings: &Settings) -> Result<Self, LoadError> {
        let mut bundle = match &settings.dir {
            Some(dir) => Self::from_dir(dir)?,
            None => Self::embedded(),
        };
        if let Some(data) = &settings.data {
            bundle.data_over = read_folder(data, DATA, 0)?;
        }
        Ok(bundle)
    }

    /// Reads `dir/**/*.rego` and `dir/data/*.{json,yaml,yml}`.
    pub fn from_dir(dir: &Path) -> Result<Self, LoadError> {
        let (tests, modules): (Vec<_>, Vec<_>) = read_folder(dir, &[".rego"], MAX_FOLDER_DEPTH)?
            .into_iter()
            .partition(|file| file.name.ends_with("_test.rego"));
        if modules.is_empty() {
            return Err(LoadError::NoPolicies { dir: dir.to_owned() });
        }
        let data_dir = dir.join("data");
        let data = if data_dir.is_dir() { read_folder(&data_dir, DATA, 0)? } else { Vec::new() };
        let name = dir.file_name().map_or_else(|| "policies".into(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name, revision: None, modules, tests, data, data_over: Vec::new() })
    }

    /// A bundle of texts in memory.
    pub fn from_sources(mut sources: Vec<Source>, data: &Value, name: &str, revision: &str) -> Result<Self, LoadError> {
        sources.sort();
        check_amount(&sources)?;
        if let Some(pair) = sources.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(LoadError::Name { name: pair[0].name.clone() });
        }
        let (tests, modules) = sources.into_iter().partition(|file| file.name.ends_with("_test.rego"));
        let text = String::from_utf8(crate::case::canonical_json(data)).expect("canonical JSON is UTF-8");
        let data = vec![Source { name: "data.json".into(), text }];
        check_amount(&data)?;
        Ok(Self { name: name.into(), revision: Some(revision.into()), modules, tests, data, data_over: Vec::new() })
    }

    /// Which policy it is: SHA-256 over every deciding file, each as kind, name and text with their lengths in front.
    pub fn facts(&self) -> PolicyFacts {
        let mut hash = Sha256::new();
        for (kind, files) in [("rego", &self.modules), ("data", &self.data), ("over", &self.data_over)] {
            for file in files {
                for part in [kind.as_bytes(), file.name.as_bytes(), file.text.as_bytes()] {
                    hash.update((part.len() as u64).to_be_bytes());
                    hash.update(part);
                }
            }
        }
        let digest = Digest::from_bytes(hash.finalize().into());
        let revision = self.revision.clone().unwrap_or_else(|| digest.hex().chars().take(REVISION_CHARS).collect());
        PolicyFacts { name: self.name.clone(), revision, digest }
    }
}

/// The files of `dir` that end in one of `suffixes`, sorted by name; dot files are left out, for a mounted Kubernetes ConfigMap
/// keeps its older revisions in them.
fn read_folder(dir: &Path, suffixes: &[&str], depth: usize) -> Result<Vec<Source>, LoadError> {
    let mut files = BTreeMap::new();
    collect(dir, "", suffixes, depth, &mut files)?;
    let mut sources = Vec::with_capacity(files.len());
    for (name, path) in files {
        let size_bytes =
            std::fs::metadata(&path).map_err(|source| LoadError::Read { path: path.clone(), source })?.len();
        if size_bytes > MAX_FILE_BYTES as u64 {
            return Err(too_big(&name, usize::try_from(size_bytes).unwrap_or(usize::MAX)));
        }
        let text = std::fs::read_to_string(&path).map_err(|source| LoadError::Read { path, source })?;
        sources.push(Source { name, text });
    }
    check_amount(&sources)?;
    Ok(sources)
}

fn collect(
    dir: &Path,
    prefix: &str,
    suffixes: &[&str],
    depth: usize,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), LoadError> {
    let unread = |source| LoadError::Read { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let path = entry.path();
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else {
            return Err(LoadError::Name { name: file_name.to_string_lossy().into_owned() });
        };
        if file_name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{file_name}");
        if path.is_dir() {
            if depth > 0 {
                collect(&path, &format!("{name}/"), suffixes, depth - 1, files)?;
            }
        } else if suffixes.iter().any(|suffix| file_name.ends_with(suffix)) {
            files.insert(name, path);
            if files.len() > MAX_FILES {
                return Err(LoadError::Limit { what: "number of files".into(), found: files.len(), limit: MAX_FILES });
            }
        }
    }
    Ok(())
}

fn check_amount(files: &[Source]) -> Result<(), LoadError> {
    if files.len() > MAX_FILES {
        return Err(LoadError::Limit { what: "number of files".into(), found: files.len(), limit: MAX_FILES });
    }
    if let Some(file) = files.iter().find(|file| file.text.len() > MAX_FILE_BYTES) {
        return Err(too_big(&file.name, file.text.len()));
    }
    let total_bytes = files.iter().map(|file| file.text.len()).sum();
    if total_bytes > MAX_TOTAL_BYTES {
        let what = "size of all files in bytes".into();
        return Err(LoadError::Limit { what, found: total_bytes, limit: MAX_TOTAL_BYTES });
    }
    Ok(())
}

fn too_big(name: &str, found: usize) -> LoadError {
    LoadError::Limit { what: format!("size of `{name}` in bytes"), found, limit: MAX_FILE_BYTES }
}

/// How data files end.
const DATA: &[&str] = &[".json", ".yaml", ".yml"];
/// Files of one kind in a bundle; regorus takes 256 sources in all.
const MAX_FILES: usize = 128;
/// One file, in bytes; the shipped ones are below 10 KiB, and 1 MiB is what regorus reads.
const MAX_FILE_BYTES: usize = 1 << 20;
/// All files of one kind, in bytes.
const MAX_TOTAL_BYTES: usize = 4 << 20;
/// Folders below the policy folder that are looked into.
const MAX_FOLDER_DEPTH: usize = 4;
/// Hex digits of the digest that stand for the revision of a folder.
const REVISION_CHARS: usize = 12;

const EMBEDDED_MODULES: &[(&str, &str)] = &[
    ("admission.rego", include_str!("../../../policies/admission.rego")),
    ("attestations.rego", include_str!("../../../policies/attestations.rego")),
    ("attested.rego", include_str!("../../../policies/attested.rego")),
    ("break_glass.rego", include_str!("../../../policies/break_glass.rego")),
    ("claims.rego", include_str!("../../../policies/claims.rego")),
    ("environments.rego", include_str!("../../../policies/environments.rego")),
    ("environments_of.rego", include_str!("../../../policies/environments_of.rego")),
    ("exemptions.rego", include_str!("../../../policies/exemptions.rego")),
    ("import_rules.rego", include_str!("../../../policies/import_rules.rego")),
    ("imports.rego", include_str!("../../../policies/imports.rego")),
    ("labels.rego", include_str!("../../../policies/labels.rego")),
    ("lifting.rego", include_str!("../../../policies/lifting.rego")),
    ("limits.rego", include_str!("../../../policies/limits.rego")),
    ("patterns.rego", include_str!("../../../policies/patterns.rego")),
    ("provenance.rego", include_str!("../../../policies/provenance.rego")),
    ("ranges.rego", include_str!("../../../policies/ranges.rego")),
    ("sbom.rego", include_str!("../../../policies/sbom.rego")),
    ("signatures.rego", include_str!("../../../policies/signatures.rego")),
    ("summaries.rego", include_str!("../../../policies/summaries.rego")),
    ("versions.rego", include_str!("../../../policies/versions.rego")),
    ("vulnerabilities.rego", include_str!("../../../policies/vulnerabilities.rego")),
    ("wascap.rego", include_str!("../../../policies/wascap.rego")),
];
const EMBEDDED_DATA: &[(&str, &str)] = &[
    ("attestations.json", include_str!("../../../policies/data/attestations.json")),
    ("callers.json", include_str!("../../../policies/data/callers.json")),
    ("environments.json", include_str!("../../../policies/data/environments.json")),
    ("exemptions.json", include_str!("../../../policies/data/exemptions.json")),
    ("grants.json", include_str!("../../../policies/data/grants.json")),
    ("import_rules.json", include_str!("../../../policies/data/import_rules.json")),
    ("limits.json", include_str!("../../../policies/data/limits.json")),
    ("signatures.json", include_str!("../../../policies/data/signatures.json")),
    ("versions.json", include_str!("../../../policies/data/versions.json")),
    ("wascap.json", include_str!("../../../policies/data/wascap.json")),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_order_on_disk_never_matters_and_tests_decide_nothing() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files =
            [("b.rego", "package b"), ("sub/a.rego", "package a"), ("data/x.json", "{}"), ("data/a.json", "{}")];
        for (name, text) in files {
            write(first.path(), name, text);
        }
        for (name, text) in files.iter().rev() {
            write(second.path(), name, text);
        }
        write(second.path(), "b_test.rego", "package b_test");
        write(second.path(), ".old/b.rego", "package b");
        let (first, second) = (Bundle::from_dir(first.path()).unwrap(), Bundle::from_dir(second.path()).unwrap());
        assert_eq!(first.facts().digest, second.facts().digest);
        assert_eq!(second.modules.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["b.rego", "sub/a.rego"]);
        assert_eq!(second.tests.len(), 1);
    }

    #[test]
    fn every_deciding_byte_is_in_the_digest() {
        let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
        let digest = |sources, data: &Value| Bundle::from_sources(sources, data, "t", "1").unwrap().facts().digest;
        let base = digest(vec![source("a.rego", "package a")], &json!({}));
        assert_ne!(base, digest(vec![source("a.rego", "package b")], &json!({})));
        assert_ne!(base, digest(vec![source("b.rego", "package a")], &json!({})));
        assert_ne!(base, digest(vec![source("a.rego", "package a")], &json!({"x": 1})));
        assert_ne!(base, digest(vec![source("a.reg", "opackage a")], &json!({})));
    }

    #[test]
    fn refuses_a_file_and_a_folder_past_their_limits() {
        let source = |name: String, bytes| Source { name, text: " ".repeat(bytes) };
        let bundle = |sources| Bundle::from_sources(sources, &json!({}), "t", "1");
        assert!(bundle(vec![source("a".into(), MAX_FILE_BYTES)]).is_ok());
        assert!(matches!(bundle(vec![source("a".into(), MAX_FILE_BYTES + 1)]), Err(LoadError::Limit { .. })));
        let many = |count| (0..count).map(|index| source(format!("{index}"), 0)).collect();
        assert!(bundle(many(MAX_FILES)).is_ok());
        assert!(matches!(bundle(many(MAX_FILES + 1)), Err(LoadError::Limit { .. })));
        let total = |count| (0..count).map(|index| source(format!("{index}"), MAX_FILE_BYTES)).collect();
        assert!(bundle(total(MAX_TOTAL_BYTES / MAX_FILE_BYTES)).is_ok());
        assert!(matches!(bundle(total(MAX_TOTAL_BYTES / MAX_FILE_BYTES + 1)), Err(LoadError::Limit { .. })));
        assert!(matches!(bundle(vec![source("a".into(), 0), source("a".into(), 1)]), Err(LoadError::Name { .. })));
    }

    #[test]
    fn a_folder_without_policies_is_a_mistake() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Bundle::from_dir(dir.path()), Err(LoadError::NoPolicies { .. })));
        assert!(matches!(Bundle::from_dir(&dir.path().join("absent")), Err(LoadError::Read { .. })));
    }
}
