# METADATA
# title: What must not be in it
# description: |
#   Reads `data.witgate.sboms`. Entries whose `references` cover the reference are ANDed; no entry asks for nothing. An entry
#   is satisfied when one of its `signers` attached a bill of materials (SPDX or CycloneDX), and none that they attached names
#   a package or a license that the entry bans. What cannot be compared counts as banned.
package witgate.sbom

import data.witgate.attested
import data.witgate.ranges

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	some index, entry in data.witgate.sboms
	attested.covers(entry)
}

# METADATA
# title: The bills of materials that count for an entry, by their index in the findings
bills[index] := attested.by(data.witgate.sboms[index].signers, "sbom") if some index in matching

# METADATA
# title: The entries that are satisfied
# description: Clean is said of each bill by itself, and all must be.
satisfied contains index if {
	some index in matching
	count(bills[index]) > 0
	count(bills[index] - clean[index]) == 0
}

clean[index] := {finding |
	some finding in bills[index]
	sbom := input.evidence.findings[finding].attests
	is_array(sbom.packages)
	count(banned_packages(data.witgate.sboms[index], sbom.packages)) == 0
	count(banned_licenses(data.witgate.sboms[index], sbom.packages)) == 0
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
# title: The packages of a bill whose name, name behind its group, or purl is one of some names, by their place
# description: One look-up for each package, whatever the number of bans.
suspects(names, packages) := ({place | some place, item in packages; lower(item.name) in names} |
	{place | some place, item in packages; lower(concat("/", [item.group, item.name])) in names}) |
	{place | some place, item in packages; item.purl in names}

# METADATA
# title: The packages of a bill that an entry bans, each as a text
banned_packages(entry, packages) := {text |
	names := {ban_name(ban) | some ban in object.get(entry, "banned", [])}
	count(names) > 0
	some place in suspects(names, packages)
	item := packages[place]
	some other in entry.banned
	is_named(item, ban_name(other))
	is_banned_version(other, item)
	text := sprintf("`%s` %s, banned: %s", [ban_name(other), object.get(item, "version", "without version"), versions_text(other)])
}

ban_name(ban) := lower(ban.name)

ban_name(ban) := ban.purl

is_named(item, name) if lower(item.name) == name

is_named(item, name) if lower(concat("/", [item.group, item.name])) == name

is_named(item, name) if item.purl == name

# METADATA
# title: Whether a ban means the version of a package
# description: |
#   No `versions` are all versions. A version is a text to compare exactly, or a range such as `>=1.2.0 <1.4.5`. A version that
#   is absent, or is no semantic version where a range asks for one, is banned.
is_banned_version(ban, _) if not ban.versions

is_banned_version(_, item) if not item.version

is_banned_version(ban, item) if item.version in ban.versions

is_banned_version(ban, item) if {
	some range in ban.versions
	ranges.is_range(range)
	not ranges.valid(ranges.plain(item.version))
}

is_banned_version(ban, item) if {
	some range in ban.versions
	ranges.is_range(range)
	some version in ranges.forms(item.version)
	ranges.holds(version, range)
}

versions_text(ban) := concat(" or ", ban.versions)

versions_text(ban) := "all versions" if not ban.versions

# METADATA
# title: The licenses of a bill that an entry bans, each with a package that names it
# description: A license counts wherever it is named, as a choice too.
banned_licenses(entry, packages) := {text |
	banned := {lower(name) | some name in object.get(entry, "licenses_banned", [])}
	count(banned) > 0
	some item in packages
	some license in item.licenses
	lower(license) in banned
	text := sprintf("`%s` is under `%s`", [item.name, license])
}

# METADATA
# title: Why an entry is not satisfied
# description: Nobody that may say so said what is in the artifact.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.sboms[index]
	count(bills[index]) == 0
	reason := attested.missing(entry, entry.signers, "sbom", "bill of materials")
}

# METADATA
# title: Why an entry is not satisfied
# description: What is in the artifact is banned.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.sboms[index]
	some finding in bills[index]
	packages := input.evidence.findings[finding].attests.packages
	some text in banned_packages(entry, packages) | banned_licenses(entry, packages)
	reason := {
		"code": "package-banned",
		"about": input.evidence.findings[finding].source.name,
		"detail": text,
		"hint": "build without it, or change `witgate.sboms` in the policy's data",
	}
}
