//! SPDX 2.2 or 2.3 in JSON (spdx.github.io/spdx-spec/v2.3, in-toto/attestation `spec/predicates/spdx2.md`).

use serde_json::Value;

use super::super::limits::{PACKAGES_MAX, PARTS_MAX};
use super::super::rejection::Rejection;
use super::purl::Purl;
use super::shape::Fields;
use super::{same_version, unwrapped};
use crate::case::attested::{Package, Sbom, SbomFormat};

/// The predicate type; the version may stand behind it.
pub(super) const PREDICATE: &str = "https://spdx.dev/Document";
/// The versions that are read.
pub(super) const VERSIONS: &[&str] = &["2.2", "2.3"];

/// Reads an SPDX document.
pub(super) fn read(predicate_type: &str, predicate: &Value) -> Result<Sbom, Rejection> {
    let document = unwrapped(predicate, "the SPDX document")?;
    let found = document.text("spdxVersion")?;
    let spec_version = match found.strip_prefix("SPDX-") {
        Some(version) if VERSIONS.contains(&version) => version,
        _ => return Err(document.unexpected("spdxVersion", "`SPDX-2.2` or `SPDX-2.3`", found)),
    };
    same_version(predicate_type, PREDICATE, spec_version)?;
    document.list("packages", PACKAGES_MAX)?;
    let mut packages = Vec::new();
    for package in document.objects("packages", "a package", PACKAGES_MAX)? {
        let purls = purls(package)?;
        let version = package.optional_text("versionInfo")?;
        let one = Package {
            name: package.text("name")?.to_owned(),
            group: None,
            version: version.map(str::to_owned),
            purl: None,
            licenses: licenses(package)?,
            digests: package.listed_digests("checksums", "algorithm", "checksumValue")?,
        };
        if purls.is_empty() {
            packages.push(one);
        } else {
            packages.extend(purls.into_iter().map(|purl| Package {
                version: one.version.clone().or(purl.version),
                purl: Some(purl.base),
                ..one.clone()
            }));
        }
        document.limit("packages", "items", packages.len(), PACKAGES_MAX)?;
    }
    Ok(Sbom { format: SbomFormat::Spdx, spec_version: spec_version.to_owned(), packages })
}

fn purls(package: Fields<'_>) -> Result<Vec<Purl>, Rejection> {
    let mut purls = Vec::new();
    for reference in package.objects("externalRefs", "an external reference", PARTS_MAX)? {
        if reference.text("referenceType")? == "purl" {
            let purl = Purl::read(reference.text("referenceLocator")?)?;
            if !purls.contains(&purl) {
                purls.push(purl);
            }
        }
    }
    Ok(purls)
}

fn licenses(package: Fields<'_>) -> Result<Vec<String>, Rejection> {
    let mut licenses = Vec::new();
    for field in ["licenseConcluded", "licenseDeclared"] {
        if let Some(expression) = package.optional_text(field)? {
            add_licenses(expression, &mut licenses);
        }
    }
    Ok(licenses)
}

/// Adds the licenses that an expression names, whatever it says about them (SPDX 2.3 annex D); `GPL-2.0+` is `GPL-2.0` too.
pub(super) fn add_licenses(expression: &str, licenses: &mut Vec<String>) {
    let mut add = |name: &str| {
        if !name.is_empty() && !licenses.iter().any(|license| license == name) {
            licenses.push(name.to_owned());
        }
    };
    for word in expression.split(|c: char| c.is_whitespace() || c == '(' || c == ')') {
        let operator =
            ["AND", "OR", "WITH", "NONE", "NOASSERTION"].iter().any(|known| word.eq_ignore_ascii_case(known));
        if !operator {
            add(word);
            if let Some(without) = word.strip_suffix('+') {
                add(without);
            }
        }
    }
}
