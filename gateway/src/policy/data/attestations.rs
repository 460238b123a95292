//! The lists `provenance`, `sboms`, `vulnerabilities`, `summaries`: what must be attested of some references.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::identity::Identity;
use super::text::{REFERENCE, each, expect, is_line, is_plain, is_range, is_reference_pattern};
use super::{fault, read};
use crate::case::attested::Severity;
use crate::policy::LoadError;

/// How some references must have been built.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProvenanceEntry {
    references: Vec<String>,
    signers: Vec<Identity>,
    builder_id: String,
    source_uri: String,
    source_branch: Option<String>,
    source_tag: Option<String>,
    source_versioned_tag: Option<String>,
    build_type: Option<String>,
}

impl ProvenanceEntry {
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        check_scope(name, at, &self.references, &self.signers)?;
        let plain = |field: &str, value: &Option<String>| match value {
            Some(text) => expect(is_plain(text), name, &format!("{at}.{field}"), text, "a text, compared exactly"),
            None => Ok(()),
        };
        let good = is_plain(&self.builder_id) && self.builder_id.matches('@').count() < 2;
        expect(
            good,
            name,
            &format!("{at}.builder_id"),
            &self.builder_id,
            "a builder, with `@` and its ref or tag or without",
        )?;
        let wanted = "a repository such as `https://github.com/acme/cart`, without `git+`, ref or `/` at its end";
        expect(is_repository(&self.source_uri), name, &format!("{at}.source_uri"), &self.source_uri, wanted)?;
        let wanted = "a name without `refs/`";
        for (field, value) in [("source_branch", &self.source_branch), ("source_tag", &self.source_tag)] {
            plain(field, value)?;
            let text = value.as_deref().unwrap_or("main");
            expect(!text.starts_with("refs/"), name, &format!("{at}.{field}"), text, wanted)?;
        }
        if let Some(tag) = &self.source_versioned_tag {
            let wanted = "`v1`, `v1.2` or `v1.2.3`";
            expect(is_versioned_tag(tag), name, &format!("{at}.source_versioned_tag"), tag, wanted)?;
        }
        plain("build_type", &self.build_type)
    }
}

/// What must not be in some references.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SbomEntry {
    references: Vec<String>,
    signers: Vec<Identity>,
    #[serde(default)]
    banned: Vec<Ban>,
    #[serde(default)]
    licenses_banned: Vec<String>,
}

/// A package that is banned, by name or by purl: one of the two, never both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    name: Option<String>,
    purl: Option<String>,
    versions: Option<Vec<String>>,
}

impl SbomEntry {
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        check_scope(name, at, &self.references, &self.signers)?;
        for (index, ban) in self.banned.iter().enumerate() {
            ban.check(name, &format!("{at}.banned[{index}]"))?;
        }
        let wanted = "the SPDX identifier of a license, or a license's name";
        each(name, at, "licenses_banned", &self.licenses_banned, is_line, wanted)
    }
}

impl Ban {
    fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        match self {
            Self { name: Some(package), purl: None, .. } => {
                expect(is_plain(package), name, &format!("{at}.name"), package, "the name of a package")?;
            }
            Self { name: None, purl: Some(purl), .. } => {
                let wanted = "`pkg:type/namespace/name` in lower case, without escapes; versions go into `versions`";
                expect(is_purl(purl), name, &format!("{at}.purl"), purl, wanted)?;
            }
            _ => return Err(fault(name, at, "expected `name` or `purl`, one of the two")),
        }
        match &self.versions {
            None => Ok(()),
            Some(versions) if versions.is_empty() => {
                Err(fault(name, &format!("{at}.versions"), "expected a version; leave it out for all versions"))
            }
            Some(versions) => {
                each(name, at, "versions", versions, is_version, "a version, or a range such as `>=1.2.0 <1.4.5`")
            }
        }
    }
}

/// Which vulnerabilities of some references are tolerated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VulnerabilityEntry {
    references: Vec<String>,
    signers: Vec<Identity>,
    scanner: Option<String>,
    max_severity: Severity,
    max_age_s: u64,
    #[serde(default)]
    ignore: Vec<Ignore>,
    vex: Option<VexRule>,
}

/// A vulnerability that is looked away from, until a date.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignore {
    id: String,
    reason: String,
    until: String,
}

/// Whose VEX statements are believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VexRule {
    signers: Vec<Identity>,
}

impl VulnerabilityEntry {
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        check_scope(name, at, &self.references, &self.signers)?;
        if let Some(scanner) = &self.scanner {
            expect(is_plain(scanner), name, &format!("{at}.scanner"), scanner, "a scanner's URI, compared exactly")?;
        }
        if self.max_severity == Severity::Unknown {
            let wanted = "expected `none`, `low`, `medium`, `high` or `critical`, found `unknown`";
            return Err(fault(name, &format!("{at}.max_severity"), wanted));
        }
        if !(1..=MAX_AGE_S).contains(&self.max_age_s) {
            return Err(fault(name, &format!("{at}.max_age_s"), "expected seconds, more than 0 and at most 10 years"));
        }
        for (index, ignore) in self.ignore.iter().enumerate() {
            let at = format!("{at}.ignore[{index}]");
            expect(
                is_plain(&ignore.id),
                name,
                &format!("{at}.id"),
                &ignore.id,
                "an identifier such as `CVE-2024-3094`",
            )?;
            expect(is_line(&ignore.reason), name, &format!("{at}.reason"), &ignore.reason, "why, on one line")?;
            let wanted = "a time such as `2026-12-31T00:00:00Z`, before 2200";
            expect(is_until(&ignore.until), name, &format!("{at}.until"), &ignore.until, wanted)?;
        }
        match &self.vex {
            Some(vex) => check_signers(name, &format!("{at}.vex"), &vex.signers),
            None => Ok(()),
        }
    }
}

/// Who must have verified some references, as what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SummaryEntry {
    references: Vec<String>,
    signers: Vec<Identity>,
    verifier_id: String,
    resource_uri: String,
    levels: Vec<String>,
}

impl SummaryEntry {
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        check_scope(name, at, &self.references, &self.signers)?;
        let wanted = "a URI, compared exactly";
        expect(is_plain(&self.verifier_id), name, &format!("{at}.verifier_id"), &self.verifier_id, wanted)?;
        expect(is_plain(&self.resource_uri), name, &format!("{at}.resource_uri"), &self.resource_uri, wanted)?;
        if self.levels.is_empty() {
            return Err(fault(name, &format!("{at}.levels"), "expected a level, such as `SLSA_BUILD_LEVEL_3`"));
        }
        each(name, at, "levels", &self.levels, is_plain, "a level, such as `SLSA_BUILD_LEVEL_3`")
    }
}

/// Writes out every identity of the four lists in the one form that rules read.
pub(super) fn rewrite(data: &mut Map<String, Value>) -> Result<(), LoadError> {
    let Some(Value::Object(witgate)) = data.get_mut("witgate") else { return Ok(()) };
    for list in ["provenance", "sboms", "summaries", "vulnerabilities"] {
        let entries = witgate.get_mut(list).and_then(Value::as_array_mut);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            for (pointer, place) in [("/signers", "signers"), ("/vex/signers", "vex.signers")] {
                let signers = entry.pointer_mut(pointer).and_then(Value::as_array_mut);
                for (number, signer) in signers.into_iter().flatten().enumerate() {
                    let at = format!("witgate.{list}[{index}].{place}[{number}]");
                    *signer = read::<Identity>("data", &at, signer)?.rewritten("data", &at)?;
                }
            }
        }
    }
    Ok(())
}

fn check_scope(name: &str, at: &str, references: &[String], signers: &[Identity]) -> Result<(), LoadError> {
    each(name, at, "references", references, is_reference_pattern, REFERENCE)?;
    check_signers(name, at, signers)
}

fn check_signers(name: &str, at: &str, signers: &[Identity]) -> Result<(), LoadError> {
    signers
        .iter()
        .enumerate()
        .try_for_each(|(index, signer)| signer.rewritten(name, &format!("{at}.signers[{index}]")).map(drop))
}

fn is_repository(text: &str) -> bool {
    let path = text.split_once("://").map_or("", |(_, path)| path);
    is_plain(text) && path.contains('/') && !text.starts_with("git+") && !text.contains('@') && !text.ends_with('/')
}

fn is_versioned_tag(text: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    text.strip_prefix('v').is_some_and(|version| version.split('.').count() <= 3 && version.split('.').all(number))
}

/// The form that evidence gives a purl: without version, qualifiers and subpath, decoded, in lower case.
fn is_purl(text: &str) -> bool {
    let parts: Vec<&str> = text.strip_prefix("pkg:").unwrap_or_default().split('/').collect();
    is_plain(text)
        && parts.len() > 1
        && parts.iter().all(|part| !part.is_empty() && !part.trim_start_matches('@').contains('@'))
        && !text.contains(['%', '?', '#'])
        && !text.chars().any(char::is_uppercase)
        && !(text.starts_with("pkg:pypi/") && text.contains(['_', '.']))
}

/// A version, or bounds with one blank between them, each with a semantic version behind it.
fn is_version(text: &str) -> bool {
    match text.starts_with(['<', '>']) {
        true => is_range(text),
        false => is_plain(text) && !text.starts_with('='),
    }
}

fn is_until(text: &str) -> bool {
    text.parse::<crate::case::Timestamp>().is_ok_and(|time| (0..LATEST_S).contains(&time.as_second()))
        && text.ends_with('Z')
        && text.contains('T')
}

/// Past what age no limit makes sense, in seconds: 10 years.
const MAX_AGE_S: u64 = 10 * 365 * 24 * 60 * 60;
/// 2200-01-01T00:00:00Z, in seconds: rules count in nanoseconds, which end in 2262.
const LATEST_S: i64 = 7_258_118_400;
