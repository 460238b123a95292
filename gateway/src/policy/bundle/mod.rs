//! The files that make one policy, read once in a fixed order.

mod archive;
mod candidate;
mod contents;
mod embedded;
mod fault;
mod folder;
mod http;
mod key;
mod make;
mod manifest;
mod settings;
mod sign;
mod signature;
#[cfg(test)]
#[cfg(feature = "dev")]
mod signature_tests;
mod structured;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::archive::{Files, MANIFEST, MAX_PACKED_BYTES};
use self::folder::read_folder;
pub(super) use self::settings::Demand;
use super::LoadError;
use crate::case::{Digest, PolicyFacts};

pub use self::candidate::Candidate;
pub use self::fault::{BundleFault, KeyFault, SignatureFault};
pub use self::http::{Fetched, HttpSource, SourceFault};
pub use self::make::{Made, Making, make};
pub use self::settings::{Algorithm, AlgorithmUnknown, BundleSettings, KeySettings, Settings};
pub use self::sign::Signer;

/// One policy or data file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// What it was read from.
    pub form: Form,
}

/// What a bundle was read from.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// A folder without a manifest, or texts in memory.
    Plain,
    /// OPA's format.
    Opa {
        /// The number that grows with each release.
        sequence: Option<u64>,
        /// The key of the settings whose signature was verified.
        signed_by: Option<String>,
        /// Every file as it was read, the manifest and the signature among them.
        files: Files,
    },
}

impl Bundle {
    /// The policies that are part of the program; they admit nobody until data says otherwise.
    pub fn embedded() -> Self {
        let source = |(name, text): &(&str, &str)| Source { name: (*name).into(), text: (*text).into() };
        Self {
            name: "embedded".into(),
            revision: Some(env!("CARGO_PKG_VERSION").into()),
            modules: embedded::MODULES.iter().map(source).collect(),
            tests: Vec::new(),
            data: embedded::DATA.iter().map(source).collect(),
            data_over: Vec::new(),
            form: Form::Plain,
        }
    }

    /// Reads every bundle that `settings` name: the unnamed one first, then the others in the order of their names.
    pub fn read_all(settings: &Settings) -> Result<Vec<Self>, LoadError> {
        let mut bundles = vec![Self::read(settings)?];
        for (name, BundleSettings { dir, data }) in settings.named_bundles()? {
            let (dir, data) = (dir.clone(), data.clone());
            let own = Settings { dir, data, url: None, bundles: BTreeMap::new(), ..settings.clone() };
            bundles.push(Self { name: name.clone(), ..Self::read(&own)? });
        }
        Ok(bundles)
    }

    /// Reads what `settings` names.
    pub fn read(settings: &Settings) -> Result<Self, LoadError> {
        if settings.url.is_some() {
            let expected = "`dir` where a bundle is read at once: `url` is fetched from while the gateway runs";
            return Err(SourceFault::Setting { key: "url", expected }.into());
        }
        let bundle = match &settings.dir {
            Some(path) => Self::from_path(path, settings)?,
            // Part of the program, and so as trusted as the program that would verify it.
            None => Self::embedded(),
        };
        bundle.with_data_over(settings)
    }

    /// With the data that a gateway lays over it.
    fn with_data_over(mut self, settings: &Settings) -> Result<Self, LoadError> {
        if let Some(data) = &settings.data {
            self.data_over = read_folder(data, DATA, 0)?;
        }
        Ok(self)
    }

    /// Reads an archive or a folder, and verifies its signature as `settings` demand.
    fn from_path(path: &Path, settings: &Settings) -> Result<Self, LoadError> {
        if path.is_file() {
            let bytes = folder::read_bytes(path, MAX_PACKED_BYTES)?;
            return Self::from_archive(&bytes, name_of(path), settings);
        }
        if folder::has_manifest(path) {
            return Self::from_files(folder::read_bundle(path)?, name_of(path), settings);
        }
        // Its files have no signature, whatever lies beside them.
        match settings.demand() {
            Demand::Signed => Err(BundleFault::from(SignatureFault::Unsigned).into()),
            Demand::SignedOrNot | Demand::Nothing => Self::from_dir(path),
        }
    }

    /// Reads `bytes` of a `bundle.tar.gz`, and verifies its signature as `settings` demand.
    pub fn from_archive(bytes: &[u8], name: String, settings: &Settings) -> Result<Self, LoadError> {
        Self::from_files(archive::unpack(bytes)?, name, settings)
    }

    fn from_files(files: Files, name: String, settings: &Settings) -> Result<Self, LoadError> {
        // Before anything else is read of them.
        let signer = signature::verify(&files, settings)?;
        let mut bundle = contents::read(files, name)?;
        if let Form::Opa { signed_by, .. } = &mut bundle.form {
            *signed_by = signer;
        }
        Ok(bundle)
    }

    /// The number that grows with each release, where the bundle has one.
    pub fn sequence(&self) -> Option<u64> {
        match &self.form {
            Form::Opa { sequence, .. } => *sequence,
            Form::Plain => None,
        }
    }

    /// Reads `dir/**/*.rego` and `dir/data/*.json`.
    pub fn from_dir(dir: &Path) -> Result<Self, LoadError> {
        let (tests, modules): (Vec<_>, Vec<_>) = read_folder(dir, &[".rego"], MAX_FOLDER_DEPTH)?
            .into_iter()
            .partition(|file| file.name.ends_with("_test.rego"));
        if modules.is_empty() {
            return Err(LoadError::NoPolicies { dir: dir.to_owned() });
        }
        let data_dir = dir.join("data");
        let data = if data_dir.is_dir() { read_folder(&data_dir, DATA, 0)? } else { Vec::new() };
        Ok(Self { name: name_of(dir), revision: None, modules, tests, data, data_over: Vec::new(), form: Form::Plain })
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
        Ok(Self {
            name: name.into(),
            revision: Some(revision.into()),
            modules,
            tests,
            data,
            data_over: Vec::new(),
            form: Form::Plain,
        })
    }

    /// Which policy it is: SHA-256 over every deciding file, each as kind, name and text with their lengths in front.
    pub fn facts(&self) -> PolicyFacts {
        let digest = self.digest(&self.data_over);
        let revision = self.revision.clone().unwrap_or_else(|| digest.hex().chars().take(REVISION_CHARS).collect());
        PolicyFacts { name: self.name.clone(), revision, digest }
    }

    /// Which bundle it is, without what a gateway lays over it.
    pub fn own_digest(&self) -> Digest {
        self.digest(&[])
    }

    /// The bundle as one archive, its signature in it; none for a folder without a manifest.
    pub fn archive(&self) -> Result<Option<Vec<u8>>, LoadError> {
        match &self.form {
            Form::Opa { files, .. } => archive::pack(files).map(Some),
            Form::Plain => Ok(None),
        }
    }

    fn digest(&self, data_over: &[Source]) -> Digest {
        let mut hash = Sha256::new();
        let mut add = |kind: &str, name: &str, bytes: &[u8]| {
            for part in [kind.as_bytes(), name.as_bytes(), bytes] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        };
        for (kind, files) in [("rego", &self.modules[..]), ("data", &self.data), ("over", data_over)] {
            files.iter().for_each(|file| add(kind, &file.name, file.text.as_bytes()));
        }
        // Its roots, revision and sequence; the signature is about the bundle and no part of it.
        if let Form::Opa { files, .. } = &self.form
            && let Some(bytes) = files.get(MANIFEST)
        {
            add("manifest", MANIFEST, bytes);
        }
        Digest::from_bytes(hash.finalize().into())
    }
}

/// What a bundle is called by where it lies: the last part of the path, without the ending of an archive.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| "policies".into(), |name| name.to_string_lossy());
    let stem = ARCHIVE_ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).filter(|stem| !stem.is_empty());
    stem.unwrap_or(&name).to_owned()
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

/// What data files end in.
const DATA: &[&str] = &[".json", ".yaml", ".yml"];
/// Files of one kind in a bundle; regorus takes 256 sources in all.
const MAX_FILES: usize = 128;
/// One file, in bytes; the shipped ones are below 10 KiB, and 1 MiB is what regorus reads.
const MAX_FILE_BYTES: usize = 1 << 20;
/// All files of one kind, in bytes.
const MAX_TOTAL_BYTES: usize = 4 << 20;
/// Folders below the policy folder that are looked into.
const MAX_FOLDER_DEPTH: usize = 4;
/// How the names of archives end.
const ARCHIVE_ENDINGS: &[&str] = &[".tar.gz", ".tgz"];
/// Hex digits of the digest that stand for the revision of a folder.
const REVISION_CHARS: usize = 12;

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
