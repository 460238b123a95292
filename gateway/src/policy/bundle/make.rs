//! Making an archive of a folder: what decides, and nothing else.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::{LoadError, Policy, data};
use super::archive::{self, Files, MANIFEST, SIGNATURES};
use super::settings::Settings;
use super::{Bundle, Form, contents};
use crate::case::PolicyFacts;

/// What a new bundle says of itself; what is left out stays as the folder's manifest says it.
#[derive(Clone, Debug, Default)]
pub struct Making {
    /// The revision that decisions name.
    pub revision: Option<String>,
    /// The parts of `data` that are its own; none: those of the manifest, or all of it.
    pub roots: Vec<String>,
    /// The number that grows with each release.
    pub sequence: Option<u64>,
}

/// A bundle that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The archive.
    pub bytes: Vec<u8>,
    /// Which policy it is, however it is signed later.
    pub policy: PolicyFacts,
    /// The number of its release.
    pub sequence: Option<u64>,
    /// The names of its files.
    pub files: Vec<String>,
}

/// Makes an archive of `dir`; the same folder makes the same bytes.
///
/// Tests are left out: they decide nothing. `data/*.json` of a folder without a manifest become one `data.json`.
///
/// # Errors
/// What would not be loaded. Compiles what may be hostile: call it in a process that may die.
pub fn make(dir: &Path, making: &Making) -> Result<Made, LoadError> {
    let settings = Settings { dir: Some(dir.into()), ..Settings::default() };
    let bundle = Bundle::read(&settings)?;
    let name = bundle.name.clone();
    let mut files: Files =
        bundle.modules.iter().map(|module| (module.name.clone(), module.text.clone().into_bytes())).collect();
    let mut manifest = Map::new();
    match &bundle.form {
        Form::Opa { files: read, .. } => {
            files.extend(bundle.data.iter().map(|file| (file.name.clone(), read[&file.name].clone())));
            if let Some(bytes) = read.get(MANIFEST)
                && let Ok(Value::Object(fields)) = serde_json::from_slice(bytes)
            {
                manifest = fields;
            }
        }
        Form::Plain => {
            let merged = data::merge_folder(&bundle.data)?;
            if !merged.is_empty() {
                files.insert("data.json".into(), lines(&Value::Object(merged)));
            }
        }
    }
    state(&mut manifest, making);
    files.insert(MANIFEST.into(), lines(&Value::Object(manifest)));
    files.remove(SIGNATURES);
    let bytes = archive::pack(&files)?;
    let made = contents::read(files, name)?;
    let policy = Policy::of_bundles(std::slice::from_ref(&made), settings.timeout_ms)?.facts().clone();
    let sequence = made.sequence();
    let Form::Opa { files, .. } = made.form else { unreachable!("an archive is in OPA's format") };
    Ok(Made { bytes, policy, sequence, files: files.into_keys().collect() })
}

/// Writes what is said into the fields of a manifest.
fn state(manifest: &mut Map<String, Value>, making: &Making) {
    manifest.insert("rego_version".into(), 1.into());
    if let Some(revision) = &making.revision {
        manifest.insert("revision".into(), revision.as_str().into());
    }
    if !making.roots.is_empty() {
        manifest.insert("roots".into(), json!(making.roots));
    }
    if let Some(sequence) = making.sequence {
        // Its shape was checked as the folder was read.
        let metadata = manifest.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        metadata["witgate"]["sequence"] = sequence.into();
    }
}

fn lines(value: &Value) -> Vec<u8> {
    (serde_json::to_string_pretty(value).expect("a value is JSON") + "\n").into_bytes()
}
