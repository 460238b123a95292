//! The vectors of sigstore-conformance, where they lie.

use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<Vector>,
}

/// One bundle with what it is about, who signed it, and whether it verifies.
#[derive(Clone, Deserialize)]
pub struct Vector {
    pub name: String,
    pub expect: Outcome,
    pub bundle: PathBuf,
    pub artifact: PathBuf,
    pub trusted_root: PathBuf,
    pub identity: Option<String>,
    pub issuer: Option<String>,
    pub key: Option<PathBuf>,
}

/// Whether a vector verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Pass,
    Fail,
}

/// How many vectors the folder is known to hold: fewer means that somebody lost some.
const VECTORS: usize = 48;

/// Every vector with the folder it lies in; none where they are absent, which is said, and refused under CI.
pub fn all() -> Option<(PathBuf, Vec<Vector>)> {
    let folder = folder();
    if !folder.join("manifest.json").is_file() {
        let absent = format!("the conformance vectors are ABSENT: `{}` has no manifest.json", folder.display());
        assert!(std::env::var_os("CI").is_none(), "{absent}; set WITGATE_CONFORMANCE_DIR");
        eprintln!("{absent}; nothing was checked");
        return None;
    }
    let manifest: Manifest = serde_json::from_slice(&read(&folder, Path::new("manifest.json"))).unwrap();
    assert!(manifest.cases.len() >= VECTORS, "expected {VECTORS} vectors, found {}", manifest.cases.len());
    Some((folder, manifest.cases))
}

fn folder() -> PathBuf {
    match std::env::var_os("WITGATE_CONFORMANCE_DIR") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/sigstore-conformance"),
    }
}

/// A file of the vectors.
pub fn read(folder: &Path, path: &Path) -> Vec<u8> {
    let path = folder.join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()))
}
