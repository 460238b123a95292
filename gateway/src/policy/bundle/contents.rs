//! What the files of a bundle in OPA's format say: modules, data in its place, nothing outside the roots.

use super::super::LoadError;
use super::super::scrutiny::package;
use super::archive::{Files, MANIFEST, SIGNATURES};
use super::fault::BundleFault;
use super::manifest::Manifest;
use super::{Bundle, Form, Source, check_amount};
use crate::strict_json;

/// Reads `files`, whose names are checked already.
pub(super) fn read(files: Files, name: String) -> Result<Bundle, LoadError> {
    let manifest = files.get(MANIFEST).map_or_else(|| Ok(Manifest::default()), |bytes| Manifest::read(bytes))?;
    let (mut modules, mut tests, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for (name, bytes) in &files {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        if name == MANIFEST || name == SIGNATURES {
            continue;
        }
        if file == "data.json" {
            data.push(data_in_place(&manifest, name, folder, bytes)?);
        } else if file.ends_with(".rego") {
            let module = Source { name: name.clone(), text: text(name, bytes)? };
            check_package(&manifest, &module)?;
            if file.ends_with("_test.rego") { tests.push(module) } else { modules.push(module) }
        } else if let Some((_, expected)) = UNREAD.iter().find(|(ending, _)| file.ends_with(ending)) {
            return Err(BundleFault::NotRead { name: name.clone(), expected }.into());
        }
    }
    for files in [&modules, &tests, &data] {
        check_amount(files)?;
    }
    if modules.is_empty() {
        return Err(LoadError::NoPolicies { dir: name.into() });
    }
    let (revision, sequence) = (manifest.revision, manifest.sequence);
    Ok(Bundle {
        name,
        revision,
        modules,
        tests,
        data,
        data_over: Vec::new(),
        form: Form::Opa { sequence, signed_by: None, files },
    })
}

/// The document of a `data.json`, put where its folder says: `a/b/data.json` is `{"a":{"b":…}}`.
fn data_in_place(manifest: &Manifest, name: &str, folder: &str, bytes: &[u8]) -> Result<Source, LoadError> {
    let value = strict_json::parse(bytes, strict_json::MAX_DEPTH)
        .map_err(|source| LoadError::Json { name: name.into(), source })?;
    if let Some(place) = manifest.first_outside(folder, &value) {
        return Err(outside(manifest, name, place));
    }
    // The text itself, for a number may be written in more digits than a parsed one has.
    let mut text = text(name, bytes)?;
    for part in folder.split('/').rev().filter(|part| !part.is_empty()) {
        let key = serde_json::to_string(part).expect("text is JSON");
        text = format!("{{{key}:{text}}}");
    }
    Ok(Source { name: name.into(), text })
}

fn check_package(manifest: &Manifest, module: &Source) -> Result<(), LoadError> {
    // A package that cannot be told lies below no root but the whole; the compiler says what is wrong with it.
    let place = package(&module.text).unwrap_or_default().replace('.', "/");
    if manifest.owns(&place) { Ok(()) } else { Err(outside(manifest, &module.name, place)) }
}

fn outside(manifest: &Manifest, name: &str, place: String) -> LoadError {
    BundleFault::OutsideRoots { name: name.into(), place, roots: manifest.roots_shown() }.into()
}

fn text(name: &str, bytes: &[u8]) -> Result<String, LoadError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| BundleFault::NotUtf8 { name: name.into() }.into())
}

/// What somebody means to be read, by the end of the name: OPA would read some of it, or pass it over without a word.
const UNREAD: &[(&str, &str)] = &[
    (".json", "data in files called `data.json`"),
    (".yaml", "data in files called `data.json`"),
    (".yml", "data in files called `data.json`"),
    (".wasm", "policies in Rego"),
    (".manifest", "one `.manifest` in the bundle's root"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::data;

    fn files(entries: &[(&str, &str)]) -> Files {
        entries.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn fault(entries: &[(&str, &str)]) -> String {
        read(files(entries), "t".into()).unwrap_err().to_string()
    }

    #[test]
    fn data_lies_where_its_folder_says() {
        let bundle = read(
            files(&[
                (MANIFEST, r#"{"revision":"r","metadata":{"witgate":{"sequence":3}}}"#),
                ("a.rego", "package a"),
                ("a_test.rego", "package a_test"),
                ("data.json", r#"{"x":1}"#),
                ("own/a b/data.json", "[1.50]"),
                ("README.md", "not read"),
            ]),
            "t".into(),
        )
        .unwrap();
        assert_eq!(data::load(&bundle).unwrap(), json!({"x": 1, "own": {"a b": [1.5]}}));
        assert_eq!((bundle.modules.len(), bundle.tests.len(), bundle.sequence()), (1, 1, Some(3)));
        assert_eq!(bundle.facts().revision, "r");
    }

    #[test]
    fn a18_3_what_lies_outside_the_roots_is_refused() {
        let manifest = (MANIFEST, r#"{"roots":["witgate","lib/ours"]}"#);
        let module = ("a.rego", "package witgate.admission");
        assert!(read(files(&[manifest, module, ("lib/ours/data.json", "1")]), "t".into()).is_ok());
        assert_eq!(
            fault(&[manifest, module, ("b.rego", "# package witgate\npackage other")]),
            "`b.rego`: expected to lie below the roots `lib/ours`, `witgate`, found `other`"
        );
        for (name, text, place) in [
            ("data.json", r#"{"witgate":{},"lib":{"ours":1,"theirs":2}}"#, "`lib/theirs`"),
            ("other/data.json", "{}", "`other`"),
            ("lib/data.json", "3", "`lib`"),
            ("t_test.rego", "package other_test", "`other_test`"),
            ("c.rego", "package witgate_other", "`witgate_other`"),
            ("c.rego", "no package", "``"),
        ] {
            let fault = fault(&[manifest, module, (name, text)]);
            assert!(fault.starts_with(&format!("`{name}`")) && fault.ends_with(place), "{fault}");
        }
    }

    #[test]
    fn what_would_be_passed_over_is_refused() {
        let module = ("a.rego", "package a");
        for name in ["grants.json", "data.yaml", "x/data.yml", "policy.wasm", "plan.json", "patch.json", "x.manifest"] {
            let fault = fault(&[module, (name, "{}")]);
            assert!(fault.starts_with(&format!("`{name}`: expected ")), "{fault}");
        }
        assert!(matches!(read(files(&[("data.json", "{}")]), "t".into()), Err(LoadError::NoPolicies { .. })));
        let bytes = Files::from([("a.rego".to_owned(), vec![0xff])]);
        assert!(matches!(read(bytes, "t".into()), Err(LoadError::Bundle(BundleFault::NotUtf8 { .. }))));
        // What stands in a file stays in its place.
        assert!(matches!(
            read(files(&[module, ("a/data.json", r#"1},"witgate":{"grants":[]"#)]), "t".into()),
            Err(LoadError::Json { .. })
        ));
    }
}
