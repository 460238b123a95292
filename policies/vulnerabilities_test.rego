package witgate.scanning_test

import data.witgate.scanning

digest := "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

high := {
	"id": "CVE-2024-0001",
	"aliases": ["GHSA-aaaa-bbbb-cccc"],
	"severity": "high",
	"component": {"name": "left-pad", "version": "1.3.0", "purl": "pkg:npm/left-pad"},
	"fixed_version": "1.3.1",
}

low := {"id": "CVE-2024-0002", "severity": "low"}

scan(finished_at, vulnerabilities) := {
	"type": "vulnerability-scan",
	"scanner": {"uri": "pkg:github/aquasecurity/trivy"},
	"finished_at": finished_at,
	"vulnerabilities": vulnerabilities,
}

by_key(name, attests) := {
	"status": "verified",
	"kind": "attestation",
	"source": {"name": concat("-", ["sha256:of", name])},
	"signer": {"kind": "key", "name": name, "keyid": "00"},
	"predicate_type": "https://cosign.sigstore.dev/attestation/vuln/v1",
	"attests": attests,
}

found(findings) := {
	"time": "2026-01-02T00:00:00Z",
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"artifact": {"digest": digest},
	"evidence": {"looked_in": ["referrers-api"], "findings": findings},
}

entry := {
	"references": ["ghcr.io/acme/*"],
	"signers": [{"key": "scanner"}],
	"max_severity": "low",
	"max_age_s": 86400,
	"vex": {"signers": [{"key": "security"}]},
}

scanned(vulnerabilities) := by_key("scanner", scan("2026-01-01T12:00:00Z", vulnerabilities))

statement(status, change) := object.union(
	{
		"vulnerability": "CVE-2024-0001",
		"products": [{"id": "x", "digests": [digest]}],
		"status": status,
		"time": "2026-01-01T00:00:00Z",
	},
	change,
)

vex(statements) := by_key("security", {"type": "vex", "author": "x", "issued_at": "2026-01-01T00:00:00Z", "statements": statements})

codes(refuse) := {reason.code | some reason in refuse}

allowed(entry, findings) if {
	scanning.allowed with input as found(findings) with data.witgate.vulnerabilities as [entry]
}

excused(statements) if allowed(entry, [scanned([high, low]), vex(statements)])

test_satisfied if {
	allowed(entry, [scanned([low])])
	allowed(entry, [scanned([])])
	scanning.refuse == set() with input as found([scanned([low])])
		with data.witgate.vulnerabilities as [entry]
}

test_no_entry_asks_for_nothing if {
	scanning.allowed with input as found([]) with data.witgate.vulnerabilities as []
	allowed(object.union(entry, {"references": ["ghcr.io/other/*"]}), [])
	not scanning.allowed with input as {} with data.witgate.vulnerabilities as []
}

test_a_scan_must_be_there if {
	not allowed(entry, [])
	not allowed(entry, [by_key("stranger", scan("2026-01-01T12:00:00Z", []))])
	not allowed(entry, [by_key("scanner", {"type": "sbom"})])
	refuse := scanning.refuse with input as found([]) with data.witgate.vulnerabilities as [entry]
	codes(refuse) == {"attestation-missing"}
	some reason in refuse
	startswith(reason.detail, "no scan of the last 86400 s by a signer that policy names")
}

aged(finished_at) := by_key("scanner", scan(finished_at, []))

test_age if {
	allowed(entry, [aged("2026-01-01T00:00:00Z")])
	not allowed(entry, [aged("2025-12-31T23:59:59Z")])
	allowed(entry, [aged("2026-01-02T00:01:00Z")])
	not allowed(entry, [aged("2026-01-02T00:01:01Z")])
}

test_a4_3_absent_fields_refuse if {
	every field in ["finished_at", "vulnerabilities"] {
		not allowed(entry, [by_key("scanner", object.remove(scan("2026-01-01T12:00:00Z", []), [field]))])
	}
	not allowed(entry, [by_key("scanner", scan("2026-01-01T12:00:00Z", {}))])
	every field in ["id", "severity"] {
		not allowed(object.remove(entry, ["vex"]), [scanned([object.remove(high, [field])])])
	}
	not scanning.allowed with input as object.remove(found([scanned([])]), ["time"])
		with data.witgate.vulnerabilities as [entry]
}

test_the_wanted_scanner if {
	allowed(object.union(entry, {"scanner": "pkg:github/aquasecurity/trivy"}), [scanned([])])
	other := object.union(entry, {"scanner": "pkg:github/anchore/grype"})
	not allowed(other, [scanned([])])
	refuse := scanning.refuse with input as found([scanned([])]) with data.witgate.vulnerabilities as [other]
	some reason in refuse
	startswith(reason.detail, "no scan of the last 86400 s with `pkg:github/anchore/grype`")
}

test_the_newest_scan_counts if {
	older := by_key("scanner", scan("2026-01-01T11:00:00Z", [high]))
	allowed(entry, [older, scanned([])])
	not allowed(entry, [by_key("scanner", scan("2026-01-01T11:00:00Z", [])), scanned([high])])
	not allowed(entry, [scanned([]), scanned([high])])
}

rated(severity) := [scanned([object.union(low, {"severity": severity})])]

test_severities if {
	every pair in [["none", "none"], ["low", "low"], ["low", "high"], ["critical", "critical"]] {
		allowed(object.union(entry, {"max_severity": pair[1]}), rated(pair[0]))
	}
	every pair in [["low", "none"], ["medium", "low"], ["critical", "high"], ["unknown", "critical"], ["odd", "critical"]] {
		not allowed(object.union(entry, {"max_severity": pair[1]}), rated(pair[0]))
	}
}

ignoring(id, until) := object.union(entry, {"ignore": [{"id": id, "reason": "x", "until": until}]})

test_ignored_until if {
	allowed(ignoring("CVE-2024-0001", "2026-01-02T00:00:01Z"), [scanned([high])])
	allowed(ignoring("GHSA-aaaa-bbbb-cccc", "2026-01-02T00:00:01Z"), [scanned([high])])
	not allowed(ignoring("CVE-2024-0001", "2026-01-02T00:00:00Z"), [scanned([high])])
	not allowed(ignoring("CVE-2024-0003", "2026-01-02T00:00:01Z"), [scanned([high])])
}

test_excused_by_vex if {
	excused([statement("not_affected", {})])
	excused([statement("fixed", {})])
	not excused([statement("affected", {})])
	not excused([statement("under_investigation", {})])
	not excused([])
	not allowed(object.remove(entry, ["vex"]), [scanned([high]), vex([statement("fixed", {})])])
	not allowed(entry, [scanned([high]), by_key("scanner", vex([statement("fixed", {})]).attests)])
}

test_excused_by_another_name if {
	excused([statement("not_affected", {"vulnerability": "GHSA-aaaa-bbbb-cccc"})])
	excused([statement("not_affected", {"vulnerability": "X-1", "aliases": ["CVE-2024-0001"]})])
	not excused([statement("not_affected", {"vulnerability": "X-1", "aliases": ["CVE-2024-0009"]})])
}

test_a_statement_excuses_its_own_vulnerability_only if {
	other := {"id": "CVE-2024-0009", "severity": "high"}
	not allowed(entry, [scanned([high, other]), vex([statement("fixed", {})])])
	allowed(entry, [scanned([high, other]), vex([statement("fixed", {}), statement("fixed", {"vulnerability": other.id})])])
}

test_the_product_is_this_artifact if {
	other := "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	excused([statement("not_affected", {"products": []})])
	excused([statement("not_affected", {"products": [{"digests": [other]}, {"digests": [digest]}]})])
	every products in [[{"digests": [other]}], [{"digests": []}], [{"digests": [digest, other]}], [{"id": digest}]] {
		not excused([statement("not_affected", {"products": products})])
	}
	not excused([object.remove(statement("not_affected", {}), ["products"])])
}

part(change) := [{"digests": [digest], "subcomponents": [object.union({"name": "x", "purl": "pkg:npm/left-pad"}, change)]}]

test_the_part_is_the_package if {
	excused([statement("not_affected", {"products": part({})})])
	excused([statement("not_affected", {"products": part({"version": "1.3.0"})})])
	not excused([statement("not_affected", {"products": part({"version": "1.2.0"})})])
	not excused([statement("not_affected", {"products": part({"purl": "pkg:npm/right-pad"})})])
	unnamed := object.remove(high, ["component"])
	not allowed(entry, [scanned([unnamed]), vex([statement("fixed", {"products": part({})})])])
}

test_the_latest_statement_counts if {
	earlier := {"time": "2025-12-31T00:00:00Z"}
	excused([statement("affected", earlier), statement("not_affected", {})])
	not excused([statement("not_affected", earlier), statement("affected", {})])
	not excused([statement("not_affected", {}), statement("affected", {})])
	not excused([statement("not_affected", {"time": "2026-01-03T00:00:00Z"})])
	not allowed(entry, [scanned([high]), vex([statement("fixed", {})]), vex([statement("affected", {})])])
}

test_the_vulnerability_is_told if {
	refuse := scanning.refuse with input as found([scanned([high])]) with data.witgate.vulnerabilities as [entry]
	some reason in refuse
	reason.code == "vulnerability-found"
	reason.about == "CVE-2024-0001"
	reason.detail == "high in `left-pad` 1.3.0, policy tolerates low; no VEX statement that policy believes excuses it"
	startswith(reason.hint, "build with version `1.3.1`")
}

test_a_vulnerability_without_package_is_told if {
	unnamed := {"id": "CVE-2024-0001", "severity": "unknown"}
	case := found([scanned([unnamed]), vex([statement("affected", {})])])
	refuse := scanning.refuse with input as case with data.witgate.vulnerabilities as [entry]
	some reason in refuse
	reason.detail == "unknown, policy tolerates low; no VEX statement that policy believes excuses it"
	startswith(reason.hint, "attest with `vexctl`")
}
