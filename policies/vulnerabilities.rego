# METADATA
# title: Which vulnerabilities are tolerated
# description: |
#   Reads `data.witgate.vulnerabilities`. Entries whose `references` cover the reference are ANDed; no entry asks for nothing.
#   An entry is satisfied when one of its `signers` attached a scan that is not older than `max_age_s`, and each vulnerability
#   of the newest one is at most `max_severity`, or ignored until a date, or excused by a VEX statement of one of `vex.signers`
#   about this artifact. The latest statement about a vulnerability counts; `affected` beats others of the same time.
package witgate.scanning

import data.witgate.attested

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	some index, entry in data.witgate.vulnerabilities
	attested.covers(entry)
}

# METADATA
# title: The scans that count for an entry, which are believed, of the scanner it wants, not too old, not from the future
scans[index] := {finding |
	entry := data.witgate.vulnerabilities[index]
	some finding in attested.by(entry.signers, "vulnerability-scan")
	scan := input.evidence.findings[finding].attests
	is_wanted_scanner(entry, scan)
	age_ns := data.witgate.attested.now_ns - finished_ns(scan)
	age_ns <= entry.max_age_s * 1000000000
	age_ns >= 0 - data.witgate.attested.skew_ns
} if {
	some index in matching
}

is_wanted_scanner(entry, _) if not entry.scanner

is_wanted_scanner(entry, scan) if scan.scanner.uri == entry.scanner

finished_ns(scan) := time.parse_rfc3339_ns(scan.finished_at)

# METADATA
# title: The newest scans of an entry, one, or several of the same time
newest[index] := {finding |
	some finding in scans[index]
	finished_ns(input.evidence.findings[finding].attests) == latest
} if {
	some index in matching
	latest := max({time | some finding in scans[index]; time := finished_ns(input.evidence.findings[finding].attests)})
}

# METADATA
# title: The entries that are satisfied
satisfied contains index if {
	some index in matching
	count(newest[index]) > 0
	count(newest[index] - clean[index]) == 0
}

# METADATA
# title: The newest scans whose every vulnerability is tolerated
clean[index] := {finding |
	some finding in newest[index]
	is_array(input.evidence.findings[finding].attests.vulnerabilities)
	not finding in {scan | some [scan, _] in open[index]}
} if {
	some index in matching
}

# METADATA
# title: Whether each entry is satisfied
default allowed := false

allowed if {
	count(data.witgate.signing.reference_patterns) > 0
	count(matching - satisfied) == 0
}

# METADATA
# title: How bad, in order; what is not rated is worse than all
ranks := {"none": 0, "low": 1, "medium": 2, "high": 3, "critical": 4, "unknown": 5}

is_low_enough(entry, vulnerability) if ranks[vulnerability.severity] <= ranks[entry.max_severity]

# METADATA
# title: The vulnerabilities of the newest scans above the limit, by scan and place
above[index] := {[finding, place] |
	entry := data.witgate.vulnerabilities[index]
	some finding in newest[index]
	some place, vulnerability in input.evidence.findings[finding].attests.vulnerabilities
	not is_low_enough(entry, vulnerability)
} if {
	some index in matching
}

# METADATA
# title: The vulnerabilities that nothing tolerates, by scan and place
open[index] := {[finding, place] |
	some [finding, place] in above[index]
	vulnerability := input.evidence.findings[finding].attests.vulnerabilities[place]
	not is_ignored(data.witgate.vulnerabilities[index], vulnerability)
	not is_excused(index, vulnerability)
} if {
	some index in matching
}

# METADATA
# title: Every identifier of a vulnerability
identifiers(vulnerability) := {vulnerability.id} | {alias | some alias in vulnerability.aliases}

# METADATA
# title: Whether an entry ignores a vulnerability, until a date
is_ignored(entry, vulnerability) if {
	some ignore in entry.ignore
	ignore.id in identifiers(vulnerability)
	data.witgate.attested.now_ns < time.parse_rfc3339_ns(ignore.until)
}

# METADATA
# title: The identifiers of what is above the limit
open_identifiers[index] := {identifier |
	some [finding, place] in above[index]
	some identifier in identifiers(input.evidence.findings[finding].attests.vulnerabilities[place])
} if {
	some index in matching
}

# METADATA
# title: The believed VEX statements about this artifact and something above the limit
statements[index] := [statement |
	some finding in attested.by(data.witgate.vulnerabilities[index].vex.signers, "vex")
	some statement in input.evidence.findings[finding].attests.statements
	count(statement_identifiers(statement) & open_identifiers[index]) > 0
] if {
	some index in matching
}

statement_identifiers(statement) := {statement.vulnerability} | {alias | some alias in statement.aliases}

# METADATA
# title: The times of the statements about a vulnerability, each with what it says
said(index, vulnerability) := {[time.parse_rfc3339_ns(statement.time), statement.status] |
	some statement in statements[index]
	count(statement_identifiers(statement) & identifiers(vulnerability)) > 0
	is_about(statement, vulnerability)
}

# METADATA
# title: Whether a statement is about this artifact, and about the package of a vulnerability
# description: |
#   A product names the artifact by its digest and by no other: an OCI purl, a reference by digest, or a SHA-256. A statement
#   without products is about the subject of its attestation, which is this artifact.
is_about(statement, _) if count(statement.products) == 0

is_about(statement, vulnerability) if {
	some product in statement.products
	product.digests == [input.artifact.digest]
	is_about_part(product, vulnerability)
}

is_about_part(product, _) if count(object.get(product, "subcomponents", [])) == 0

is_about_part(product, vulnerability) if {
	some part in product.subcomponents
	part.purl == vulnerability.component.purl
	is_version(part, vulnerability.component)
}

is_version(part, _) if not part.version

is_version(part, component) if part.version == component.version

# METADATA
# title: Whether the latest statements say that a vulnerability does not apply
is_excused(index, vulnerability) if {
	all := said(index, vulnerability)
	count(all) > 0
	latest := max({time | some [time, _] in all})
	latest <= data.witgate.attested.now_ns + data.witgate.attested.skew_ns
	count({status | some [time, status] in all; time == latest; not status in {"not_affected", "fixed"}}) == 0
}

# METADATA
# title: Why an entry is not satisfied
# description: Nobody that may say so scanned the artifact lately.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.vulnerabilities[index]
	count(scans[index]) == 0
	reason := attested.missing(entry, entry.signers, "vulnerability-scan", scan_text(entry))
}

scan_text(entry) := sprintf("scan of the last %d s", [entry.max_age_s]) if not entry.scanner

scan_text(entry) := sprintf("scan of the last %d s with `%s`", [entry.max_age_s, entry.scanner])

# METADATA
# title: Why an entry is not satisfied
# description: A vulnerability is above the limit, and nothing tolerates it.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.vulnerabilities[index]
	some [finding, place] in open[index]
	vulnerability := input.evidence.findings[finding].attests.vulnerabilities[place]
	reason := {
		"code": "vulnerability-found",
		"about": vulnerability.id,
		"detail": sprintf("%s%s, policy tolerates %s; no VEX statement that policy believes excuses it", [
			vulnerability.severity,
			package_text(vulnerability),
			entry.max_severity,
		]),
		"hint": fix_text(vulnerability),
	}
}

package_text(vulnerability) := sprintf(" in `%s` %s", [
	vulnerability.component.name,
	object.get(vulnerability.component, "version", "without version"),
])

package_text(vulnerability) := "" if not vulnerability.component

fix_text(vulnerability) := sprintf("build with version `%s`, or attest with `vexctl` that it does not apply", [vulnerability.fixed_version])

fix_text(vulnerability) := "attest with `vexctl` that it does not apply, or do without the package" if {
	not vulnerability.fixed_version
}
