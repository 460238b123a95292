//! `.manifest`: which revision a bundle is, and which part of `data` is its own.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::LoadError;
use super::archive::MANIFEST;
use super::fault::BundleFault;
use crate::strict_json;

/// What a bundle says of itself.
///
/// ```json
/// {"revision":"2026-12-01","roots":["witgate"],"metadata":{"witgate":{"sequence":7}}}
/// ```
/// (OPA, "Bundle file format".)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Manifest {
    /// Absent or empty: none.
    pub revision: Option<String>,
    /// Paths below `data`, joined by `/`, none inside another; `""` is all of it.
    pub roots: Vec<String>,
    /// The number that grows with each release, `metadata.witgate.sequence`.
    pub sequence: Option<u64>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { revision: None, roots: vec![String::new()], sequence: None }
    }
}

/// The fields as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    revision: String,
    #[serde(default)]
    roots: Option<Vec<String>>,
    #[serde(default)]
    wasm: Option<Vec<Value>>,
    #[serde(default)]
    rego_version: Option<u64>,
    #[serde(default)]
    file_rego_versions: Option<Map<String, Value>>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

/// `metadata.witgate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ours {
    sequence: Option<u64>,
}

impl Manifest {
    pub fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            let what = "size of `.manifest` in bytes".into();
            return Err(LoadError::Limit { what, found: bytes.len(), limit: MAX_MANIFEST_BYTES });
        }
        let value = strict_json::parse(bytes, strict_json::MAX_DEPTH)
            .map_err(|source| LoadError::Json { name: MANIFEST.into(), source })?;
        if !value.is_object() {
            return Err(fault(MANIFEST, "an object", "something else"));
        }
        let written: Written = serde_json::from_value(value)
            .map_err(|error| fault(MANIFEST, "the fields of a manifest", error.to_string()))?;
        if written.wasm.is_some_and(|wasm| !wasm.is_empty()) {
            return Err(fault("wasm", "none: policies are compiled from Rego here", "a module"));
        }
        if let Some(version) = written.rego_version.filter(|version| *version != REGO_VERSION) {
            return Err(fault("rego_version", "1", version.to_string()));
        }
        let versions = written.file_rego_versions.unwrap_or_default();
        if let Some((file, version)) = versions.iter().find(|(_, version)| version.as_u64() != Some(REGO_VERSION)) {
            return Err(fault("file_rego_versions", "1 for every file", format!("{version} for `{file}`")));
        }
        Ok(Self {
            revision: Some(revision(written.revision)?).filter(|revision| !revision.is_empty()),
            roots: roots(written.roots)?,
            sequence: sequence(written.metadata)?,
        })
    }

    /// Whether everything below the path is the bundle's own.
    pub fn owns(&self, path: &str) -> bool {
        self.roots.iter().any(|root| is_within(path, root))
    }

    /// The roots as messages show them.
    pub fn roots_shown(&self) -> String {
        self.roots.iter().map(|root| format!("`{root}`")).collect::<Vec<_>>().join(", ")
    }

    /// The first place of `value`, which stands at `at`, that is not the bundle's own.
    pub fn first_outside(&self, at: &str, value: &Value) -> Option<String> {
        if self.owns(at) {
            return None;
        }
        match value {
            // What lies above a root is looked into; an empty object there says nothing, as one that is not there.
            Value::Object(object) if self.roots.iter().any(|root| is_within(root, at)) => {
                object.iter().find_map(|(key, value)| {
                    let below = if at.is_empty() { key.clone() } else { format!("{at}/{key}") };
                    // A key with a slash would be read as two.
                    if key.contains('/') { Some(below) } else { self.first_outside(&below, value) }
                })
            }
            _ => Some(at.to_owned()),
        }
    }
}

/// Whether `path` is `root` or lies below it.
fn is_within(path: &str, root: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn revision(revision: String) -> Result<String, LoadError> {
    if revision.chars().count() > MAX_REVISION_CHARS || revision.chars().any(char::is_control) {
        return Err(fault("revision", "at most 128 printable characters", "more, or others"));
    }
    Ok(revision)
}

fn roots(written: Option<Vec<String>>) -> Result<Vec<String>, LoadError> {
    let Some(written) = written else { return Ok(Manifest::default().roots) };
    if written.is_empty() || written.len() > MAX_ROOTS {
        return Err(fault("roots", "1 to 64 paths", written.len().to_string()));
    }
    let mut roots: Vec<_> = written.iter().map(|root| root.trim_matches('/').to_owned()).collect();
    roots.sort();
    for root in &roots {
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
        if !root.is_empty() && !root.split('/').all(is_plain) {
            return Err(fault("roots", "paths such as `witgate/admission`", format!("`{}`", root.escape_debug())));
        }
    }
    for (index, root) in roots.iter().enumerate() {
        let others = roots.iter().enumerate().filter(|(other, _)| *other != index);
        if let Some((_, other)) = others.into_iter().find(|(_, other)| is_within(root, other)) {
            return Err(fault("roots", "paths of which none lies in another", format!("`{root}` in `{other}`")));
        }
    }
    Ok(roots)
}

fn sequence(metadata: Option<Map<String, Value>>) -> Result<Option<u64>, LoadError> {
    let Some(ours) = metadata.and_then(|mut metadata| metadata.remove("witgate")) else { return Ok(None) };
    // serde takes a list for a struct.
    if !ours.is_object() {
        return Err(fault("metadata.witgate", "an object", "something else"));
    }
    let ours: Ours = serde_json::from_value(ours)
        .map_err(|error| fault("metadata.witgate", "`sequence`, a whole number from 0", error.to_string()))?;
    Ok(ours.sequence)
}

fn fault(at: &'static str, expected: &'static str, found: impl Into<String>) -> LoadError {
    BundleFault::Manifest { at, expected, found: found.into() }.into()
}

/// The version of Rego that is compiled.
const REGO_VERSION: u64 = 1;
/// `.manifest`, in bytes.
const MAX_MANIFEST_BYTES: usize = 64 << 10;
/// A revision is shown and recorded.
const MAX_REVISION_CHARS: usize = 128;
const MAX_ROOTS: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Manifest, LoadError> {
        Manifest::read(value.to_string().as_bytes())
    }

    #[test]
    fn reads_what_opa_writes() {
        let written = json!({
            "revision": "r1", "roots": ["witgate/admission", "/lib/"], "wasm": null, "rego_version": 1,
            "metadata": {"witgate": {"sequence": 18_446_744_073_709_551_615_u64}, "team": ["a"]},
        });
        let manifest = read(&written).unwrap();
        assert_eq!(manifest.revision.as_deref(), Some("r1"));
        assert_eq!(manifest.roots, ["lib", "witgate/admission"]);
        assert_eq!(manifest.sequence, Some(u64::MAX));
        assert_eq!(read(&json!({})).unwrap(), Manifest::default());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (value, at) in [
            (json!({"wasm": [{"module": "policy.wasm"}]}), "`wasm`"),
            (json!({"rego_version": 0}), "`rego_version`"),
            (json!({"file_rego_versions": {"/a.rego": 0}}), "`file_rego_versions`"),
            (json!({"roots": []}), "`roots`"),
            (json!({"roots": ["a", "a/b"]}), "`roots`"),
            (json!({"roots": ["", "a"]}), "`roots`"),
            (json!({"roots": ["a", "a"]}), "`roots`"),
            (json!({"roots": ["a/../b"]}), "`roots`"),
            (json!({"roots": vec!["a"; MAX_ROOTS + 1]}), "`roots`"),
            (json!({"revision": "a\nb"}), "`revision`"),
            (json!({"revision": "x".repeat(MAX_REVISION_CHARS + 1)}), "`revision`"),
            (json!({"metadata": {"witgate": {"sequence": -1}}}), "`metadata.witgate`"),
            (json!({"metadata": {"witgate": {"sequence": 1.5}}}), "`metadata.witgate`"),
            (json!({"metadata": {"witgate": {"sequence": "7"}}}), "`metadata.witgate`"),
            (json!({"metadata": {"witgate": {"serial": 7}}}), "`metadata.witgate`"),
            (json!({"metadata": {"witgate": [7]}}), "`metadata.witgate`"),
            (json!({"root": []}), "`.manifest`"),
            (json!([]), "`.manifest`"),
        ] {
            let fault = read(&value).unwrap_err().to_string();
            assert!(fault.starts_with("`.manifest`: ") && fault.contains(at), "{value} gave {fault}");
        }
        assert!(matches!(Manifest::read(br#"{"roots":["a"],"roots":["b"]}"#), Err(LoadError::Json { .. })));
        let long = |bytes| Manifest::read(format!("{{}}{}", " ".repeat(bytes)).as_bytes());
        assert!(long(MAX_MANIFEST_BYTES - 2).is_ok());
        assert!(matches!(long(MAX_MANIFEST_BYTES - 1), Err(LoadError::Limit { .. })));
    }

    #[test]
    fn a_root_owns_what_lies_below_it_and_no_neighbour() {
        let manifest = read(&json!({"roots": ["a/b", "c"]})).unwrap();
        assert!(manifest.owns("a/b") && manifest.owns("a/b/x") && manifest.owns("c"));
        assert!(!manifest.owns("a") && !manifest.owns("a/bc") && !manifest.owns("") && !manifest.owns("d"));
        assert_eq!(manifest.first_outside("", &json!({"a": {"b": 1}, "c": {"x": 2}})), None);
        assert_eq!(manifest.first_outside("", &json!({"a": {"b": 1, "d": 2}})), Some("a/d".into()));
        assert_eq!(manifest.first_outside("", &json!({"a/b": 1})), Some("a/b".into()));
        assert_eq!(manifest.first_outside("a", &json!(1)), Some("a".into()));
        assert_eq!(read(&json!({})).unwrap().first_outside("", &json!({"x": 1})), None);
    }
}
