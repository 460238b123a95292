//! OpenVEX 0.2: which vulnerabilities apply (openvex/spec `OPENVEX-SPEC.md`).

use serde_json::Value;

use super::super::limits::{PARTS_MAX, VEX_STATEMENTS_MAX};
use super::super::rejection::Rejection;
use super::purl::Purl;
use super::shape::{Fields, malformed};
use crate::case::Timestamp;
use crate::case::attested::{Affected, Vex, VexProduct, VexStatement, VexStatus};

/// The contexts of documents of this shape: 0.2.0, and the unversioned one of its drafts.
const CONTEXTS: [&str; 2] = ["https://openvex.dev/ns/v0.2.0", "https://openvex.dev/ns"];
/// Why a vulnerability may not apply (§ Status Justifications).
const JUSTIFICATIONS: [&str; 5] = [
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
];

/// Reads an OpenVEX document.
pub(super) fn read(predicate: &Value) -> Result<Vex, Rejection> {
    let document = Fields::of(predicate, "the VEX document")?;
    let context = document.text("@context")?;
    if !CONTEXTS.contains(&context) {
        return Err(document.unexpected("@context", format_args!("`{}`", CONTEXTS[0]), context));
    }
    let issued_at = document.time("timestamp")?;
    document.list("statements", VEX_STATEMENTS_MAX)?;
    let statements = document.objects("statements", "a VEX statement", VEX_STATEMENTS_MAX)?;
    Ok(Vex {
        author: document.text("author")?.to_owned(),
        issued_at,
        statements: statements.into_iter().map(|fields| statement(fields, issued_at)).collect::<Result<_, _>>()?,
    })
}

fn statement(fields: Fields<'_>, issued_at: Timestamp) -> Result<VexStatement, Rejection> {
    let vulnerability = fields.object("vulnerability", "the vulnerability")?;
    let status = match fields.text("status")? {
        "not_affected" => VexStatus::NotAffected,
        "affected" => VexStatus::Affected,
        "fixed" => VexStatus::Fixed,
        "under_investigation" => VexStatus::UnderInvestigation,
        found => return Err(fields.unexpected("status", "a status of VEX", found)),
    };
    let justification = fields.optional_text("justification")?;
    if let Some(found) = justification
        && !JUSTIFICATIONS.contains(&found)
    {
        return Err(fields.unexpected("justification", "a label of OpenVEX", found));
    }
    let impact = fields.optional_text("impact_statement")?;
    if status == VexStatus::NotAffected && justification.is_none() && impact.is_none() {
        return Err(malformed("a `not_affected` statement", "with `justification` or `impact_statement`", "neither"));
    }
    let products = fields.objects("products", "a product", PARTS_MAX)?;
    Ok(VexStatement {
        vulnerability: vulnerability.text("name")?.to_owned(),
        aliases: vulnerability.texts("aliases")?,
        products: products.into_iter().map(product).collect::<Result<_, _>>()?,
        status,
        time: fields.optional_time("timestamp")?.unwrap_or(issued_at),
        justification: justification.map(str::to_owned),
        impact: impact.map(str::to_owned),
    })
}

fn product(fields: Fields<'_>) -> Result<VexProduct, Rejection> {
    let id = fields.optional_text("@id")?;
    let purl = identifier_purl(fields)?;
    let mut digests = Vec::new();
    let mut add = |digest: Option<String>| {
        if let Some(digest) = digest
            && !digests.contains(&digest)
        {
            digests.push(digest);
        }
    };
    for name in [id, purl].into_iter().flatten() {
        add(named_digest(name));
    }
    let hashes = fields.digests("hashes")?;
    add(hashes.get("sha-256").map(|hex| format!("sha256:{}", hex.to_ascii_lowercase())));
    let subcomponents = fields.objects("subcomponents", "a subcomponent", PARTS_MAX)?;
    if id.is_none() && purl.is_none() && hashes.is_empty() {
        return Err(malformed("a product", "named by `@id`, `identifiers` or `hashes`", "none of them"));
    }
    Ok(VexProduct {
        id: id.or(purl).map(str::to_owned),
        digests,
        subcomponents: subcomponents.into_iter().map(subcomponent).collect::<Result<_, _>>()?,
    })
}

fn identifier_purl<'a>(fields: Fields<'a>) -> Result<Option<&'a str>, Rejection> {
    match fields.optional_object("identifiers", "the identifiers")? {
        Some(identifiers) => identifiers.optional_text("purl"),
        None => Ok(None),
    }
}

fn subcomponent(fields: Fields<'_>) -> Result<Affected, Rejection> {
    let id = fields.optional_text("@id")?;
    let Some(name) = identifier_purl(fields)?.or(id) else {
        return Err(malformed("a subcomponent", "named by `@id` or a purl", "neither"));
    };
    let purl = Purl::parse(name);
    let (purl, version) = purl.map_or((None, None), |purl| (Some(purl.base), purl.version));
    Ok(Affected { name: name.to_owned(), version, purl })
}

/// The artifact that a name is of: `pkg:oci/cart@sha256:…`, `ghcr.io/acme/cart@sha256:…` or `sha256:…` itself.
fn named_digest(name: &str) -> Option<String> {
    let digest = match Purl::parse(name) {
        Some(purl) if purl.base.starts_with("pkg:oci/") => purl.version?,
        Some(_) => return None,
        None => name.rsplit_once('@').map_or(name, |(_, digest)| digest).to_owned(),
    };
    let hex = digest.strip_prefix("sha256:")?;
    let lower = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    (hex.len() == 64 && hex.bytes().all(lower)).then_some(digest)
}
