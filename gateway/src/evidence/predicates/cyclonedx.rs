//! CycloneDX 1.4 to 1.6 in JSON (cyclonedx.org/docs/1.6/json).

use serde_json::Value;

use super::super::limits::{PACKAGES_MAX, PARTS_MAX};
use super::super::rejection::Rejection;
use super::purl::Purl;
use super::shape::Fields;
use super::spdx::add_licenses;
use super::{same_version, unwrapped};
use crate::case::attested::{Package, Sbom, SbomFormat};

/// The predicate type; the version may stand behind it.
pub(super) const PREDICATE: &str = "https://cyclonedx.org/bom";
/// The versions that are read.
pub(super) const VERSIONS: &[&str] = &["1.4", "1.5", "1.6"];

/// Reads a CycloneDX document.
pub(super) fn read(predicate_type: &str, predicate: &Value) -> Result<Sbom, Rejection> {
    let document = unwrapped(predicate, "the CycloneDX document")?;
    match document.text("bomFormat")? {
        "CycloneDX" => {}
        found => return Err(document.unexpected("bomFormat", "`CycloneDX`", found)),
    }
    let spec_version = document.text("specVersion")?;
    if !VERSIONS.contains(&spec_version) {
        return Err(document.unexpected("specVersion", "`1.4`, `1.5` or `1.6`", spec_version));
    }
    same_version(predicate_type, PREDICATE, spec_version)?;
    let mut packages = Vec::new();
    if let Some(metadata) = document.optional_object("metadata", "the metadata")?
        && let Some(component) = metadata.optional_object("component", "a component")?
    {
        add(document, component, &mut packages)?;
    }
    document.list("components", PACKAGES_MAX)?;
    for component in document.objects("components", "a component", PACKAGES_MAX)? {
        add(document, component, &mut packages)?;
    }
    Ok(Sbom { format: SbomFormat::Cyclonedx, spec_version: spec_version.to_owned(), packages })
}

/// Adds a component with those in it; how deep they may lie is bounded by the statement's depth.
fn add(document: Fields<'_>, component: Fields<'_>, packages: &mut Vec<Package>) -> Result<(), Rejection> {
    let purl = component.optional_text("purl")?.map(Purl::read).transpose()?;
    let (purl, purl_version) = purl.map_or((None, None), |purl| (Some(purl.base), purl.version));
    packages.push(Package {
        name: component.text("name")?.to_owned(),
        group: component.optional_text("group")?.map(str::to_owned),
        version: component.optional_text("version")?.map(str::to_owned).or(purl_version),
        purl,
        licenses: licenses(component)?,
        digests: component.listed_digests("hashes", "alg", "content")?,
    });
    document.limit("components", "items", packages.len(), PACKAGES_MAX)?;
    for inner in component.objects("components", "a component", PACKAGES_MAX)? {
        add(document, inner, packages)?;
    }
    Ok(())
}

fn licenses(component: Fields<'_>) -> Result<Vec<String>, Rejection> {
    let mut licenses = Vec::new();
    for choice in component.objects("licenses", "a license", PARTS_MAX)? {
        if let Some(expression) = choice.optional_text("expression")? {
            add_licenses(expression, &mut licenses);
        }
        if let Some(license) = choice.optional_object("license", "a license")? {
            match (license.optional_text("id")?, license.optional_text("name")?) {
                (Some(id), _) => add_licenses(id, &mut licenses),
                (None, Some(name)) => licenses.push(name.to_owned()),
                (None, None) => return Err(license.unexpected("id", "there, or `name`", "none")),
            }
        }
    }
    Ok(licenses)
}
