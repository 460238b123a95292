//! Scans for vulnerabilities: cosign's `vuln/v1` around a report of Trivy or Grype, in-toto's `vulns/v0.1` or `v0.2`.

use serde_json::Value;

use super::super::limits::{PARTS_MAX, VULNERABILITIES_MAX};
use super::super::rejection::Rejection;
use super::purl::Purl;
use super::shape::Fields;
use crate::case::attested::{Affected, Scanner, Severity, Vulnerability, VulnerabilityScan};

/// Reads cosign's predicate (sigstore/cosign `specs/COSIGN_VULN_ATTESTATION_SPEC.md`).
pub(super) fn cosign(predicate: &Value) -> Result<VulnerabilityScan, Rejection> {
    scan(predicate, |scanner| {
        let report = scanner.object("result", "the scanner's report")?;
        if report.is_number("SchemaVersion", 2) {
            trivy(report)
        } else if report.has("matches") {
            grype(report)
        } else {
            let expected = "the JSON of Trivy (`SchemaVersion` 2) or of Grype (`matches`)";
            Err(scanner.unexpected("result", expected, "another report"))
        }
    })
}

/// Reads in-toto's predicate (in-toto/attestation `spec/predicates/vuln.md`, `vulns_02.md`).
pub(super) fn in_toto(predicate: &Value) -> Result<VulnerabilityScan, Rejection> {
    scan(predicate, |scanner| {
        scanner.list("result", VULNERABILITIES_MAX)?;
        scanner.objects("result", "a vulnerability", VULNERABILITIES_MAX)?.into_iter().map(rated).collect()
    })
}

fn scan(
    predicate: &Value,
    vulnerabilities: impl Fn(Fields<'_>) -> Result<Vec<Vulnerability>, Rejection>,
) -> Result<VulnerabilityScan, Rejection> {
    let scan = Fields::of(predicate, "the scan")?;
    let scanner = scan.object("scanner", "the scanner")?;
    let who = |fields: Fields<'_>| {
        let version = fields.optional_text("version")?.map(str::to_owned);
        Ok(Scanner { uri: fields.text("uri")?.to_owned(), version })
    };
    // cosign's is often there without a word in it.
    let database = match scanner.optional_object("db", "the database")? {
        Some(database) if database.optional_text("uri")?.is_some() => Some(who(database)?),
        _ => None,
    };
    let found = vulnerabilities(scanner)?;
    scan.limit("result", "vulnerabilities", found.len(), VULNERABILITIES_MAX)?;
    Ok(VulnerabilityScan {
        scanner: who(scanner)?,
        database,
        finished_at: scan.object("metadata", "the metadata")?.time("scanFinishedOn")?,
        vulnerabilities: found,
    })
}

/// One vulnerability of in-toto's list; v0.1's table of fields has it one level deeper than its example.
fn rated(fields: Fields<'_>) -> Result<Vulnerability, Rejection> {
    let fields = fields.optional_object("vulnerability", "a vulnerability")?.unwrap_or(fields);
    fields.list("severity", PARTS_MAX)?;
    let mut severity = None;
    for rating in fields.objects("severity", "a severity", PARTS_MAX)? {
        let (method, score) = (rating.text("method")?, rating.text("score")?);
        let found = match in_words(score) {
            // A number means something only in a scale that is known.
            Severity::Unknown if method.to_ascii_lowercase().contains("cvss") => in_bands(score),
            found => found,
        };
        if found != Severity::Unknown {
            severity = severity.max(Some(found));
        }
    }
    Ok(Vulnerability {
        id: fields.text("id")?.to_owned(),
        aliases: Vec::new(),
        severity: severity.unwrap_or(Severity::Unknown),
        component: None,
        fixed_version: None,
    })
}

/// A report of `trivy --format json` (aquasecurity/trivy `pkg/types/report.go`).
fn trivy(report: Fields<'_>) -> Result<Vec<Vulnerability>, Rejection> {
    // Left out where nothing was looked at, which is no clean scan.
    report.list("Results", VULNERABILITIES_MAX)?;
    let mut found = Vec::new();
    for result in report.objects("Results", "a result", VULNERABILITIES_MAX)? {
        for fields in result.objects("Vulnerabilities", "a vulnerability", VULNERABILITIES_MAX)? {
            let identifier = fields.optional_object("PkgIdentifier", "the package's identifier")?;
            let purl = identifier.map_or(Ok(None), |identifier| identifier.optional_text("PURL"))?;
            found.push(Vulnerability {
                id: fields.text("VulnerabilityID")?.to_owned(),
                aliases: fields.texts("VendorIDs")?,
                severity: in_words(fields.optional_text("Severity")?.unwrap_or_default()),
                component: Some(package(fields.text("PkgName")?, fields.optional_text("InstalledVersion")?, purl)?),
                fixed_version: fields.optional_text("FixedVersion")?.map(str::to_owned),
            });
            report.limit("Results", "vulnerabilities", found.len(), VULNERABILITIES_MAX)?;
        }
    }
    Ok(found)
}

/// A report of `grype --output json` (anchore/grype `grype/presenter/models`).
fn grype(report: Fields<'_>) -> Result<Vec<Vulnerability>, Rejection> {
    report.list("matches", VULNERABILITIES_MAX)?;
    let mut found = Vec::new();
    for matched in report.objects("matches", "a match", VULNERABILITIES_MAX)? {
        let fields = matched.object("vulnerability", "a vulnerability")?;
        let artifact = matched.object("artifact", "a package")?;
        let related = matched.objects("relatedVulnerabilities", "a related vulnerability", PARTS_MAX)?;
        let fixed = match fields.optional_object("fix", "the fix")? {
            Some(fix) => fix.texts("versions")?.into_iter().next(),
            None => None,
        };
        let purl = artifact.optional_text("purl")?;
        found.push(Vulnerability {
            id: fields.text("id")?.to_owned(),
            aliases: related.into_iter().map(|other| Ok(other.text("id")?.to_owned())).collect::<Result<_, _>>()?,
            severity: in_words(fields.optional_text("severity")?.unwrap_or_default()),
            component: Some(package(artifact.text("name")?, artifact.optional_text("version")?, purl)?),
            fixed_version: fixed,
        });
    }
    Ok(found)
}

fn package(name: &str, version: Option<&str>, purl: Option<&str>) -> Result<Affected, Rejection> {
    let (purl, of_purl) =
        purl.map(Purl::read).transpose()?.map_or((None, None), |purl| (Some(purl.base), purl.version));
    Ok(Affected { name: name.to_owned(), version: version.map(str::to_owned).or(of_purl), purl })
}

fn in_words(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "none" => Severity::None,
        "low" | "negligible" => Severity::Low,
        "medium" | "moderate" => Severity::Medium,
        "high" | "important" => Severity::High,
        "critical" => Severity::Critical,
        _ => Severity::Unknown,
    }
}

/// The bands of CVSS v3.1 §5.
fn in_bands(score: &str) -> Severity {
    match score.parse::<f64>() {
        Ok(0.0) => Severity::None,
        Ok(score) if score > 0.0 && score < 4.0 => Severity::Low,
        Ok(score) if (4.0..7.0).contains(&score) => Severity::Medium,
        Ok(score) if (7.0..9.0).contains(&score) => Severity::High,
        Ok(score) if (9.0..=10.0).contains(&score) => Severity::Critical,
        _ => Severity::Unknown,
    }
}
