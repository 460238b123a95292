package witgate.sbom_test

import data.witgate.sbom

packages := [
	{"name": "cart", "version": "1.4.0"},
	{"name": "left-pad", "version": "1.3.0", "purl": "pkg:npm/left-pad", "licenses": ["WTFPL"]},
	{"name": "core", "group": "@angular", "version": "17.0.1", "purl": "pkg:npm/@angular/core", "licenses": ["MIT"]},
	{"name": "zlib", "version": "1.2.13-1ubuntu2", "licenses": ["Zlib"]},
	{"name": "openssl", "version": "3.0"},
	{"name": "nameless"},
]

by_key(name, attests) := {
	"status": "verified",
	"kind": "attestation",
	"source": {"name": concat("-", ["sha256:of", name])},
	"signer": {"kind": "key", "name": name, "keyid": "00"},
	"predicate_type": "https://spdx.dev/Document",
	"attests": attests,
}

listing(packages) := {"type": "sbom", "format": "spdx", "spec_version": "2.3", "packages": packages}

found(findings) := {
	"time": "2026-01-01T00:00:00Z",
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"evidence": {"looked_in": ["referrers-api"], "findings": findings},
}

entry(banned, licenses) := {
	"references": ["ghcr.io/acme/*"],
	"signers": [{"key": "builder"}],
	"banned": banned,
	"licenses_banned": licenses,
}

codes(refuse) := {reason.code | some reason in refuse}

details(refuse) := {reason.detail | some reason in refuse}

good := [by_key("builder", listing(packages))]

allowed(entries, findings) if sbom.allowed with input as found(findings) with data.witgate.sboms as entries

bans(ban) if not allowed([entry([ban], [])], good)

test_satisfied if {
	clean := entry([{"name": "event-stream"}, {"purl": "pkg:npm/right-pad"}], ["GPL-3.0-only"])
	allowed([clean], good)
	sbom.refuse == set() with input as found(good) with data.witgate.sboms as [clean]
	allowed([object.remove(clean, ["banned", "licenses_banned"])], good)
}

test_no_entry_asks_for_nothing if {
	allowed([], [])
	allowed([object.union(entry([], []), {"references": ["ghcr.io/other/*"]})], [])
	not sbom.allowed with input as {} with data.witgate.sboms as []
}

test_a_bill_must_be_there if {
	not allowed([entry([], [])], [])
	not allowed([entry([], [])], [by_key("stranger", listing([]))])
	not allowed([entry([], [])], [by_key("builder", {"type": "vex"})])
	refuse := sbom.refuse with input as found([]) with data.witgate.sboms as [entry([], [])]
	codes(refuse) == {"attestation-missing"}
}

test_a4_3_a_bill_without_packages_is_not_clean if {
	not allowed([entry([], [])], [by_key("builder", {"type": "sbom"})])
	every packages in [null, {}, "none", 0, false] {
		not allowed([entry([], [])], [by_key("builder", listing(packages))])
	}
}

test_one_clean_bill_does_not_clean_another if {
	ban := entry([{"name": "left-pad"}], [])
	clean := by_key("builder", listing([]))
	not allowed([ban], array.concat([clean], good))
	# Of a stranger nothing is believed, for better or worse.
	allowed([ban], [clean, by_key("stranger", listing(packages))])
}

test_by_name_by_group_and_by_purl if {
	bans({"name": "left-pad"})
	bans({"name": "Left-Pad"})
	bans({"name": "core"})
	bans({"name": "@angular/core"})
	bans({"purl": "pkg:npm/left-pad"})
	bans({"purl": "pkg:npm/@angular/core"})
	not bans({"name": "angular"})
	not bans({"purl": "pkg:npm/core"})
}

test_by_version if {
	every versions in [["1.3.0"], ["1.0.0", "1.3.0"], ["<1.3.1"], ["<=1.3.0"], [">=1.3.0"], [">1.2.9 <2.0.0"]] {
		bans({"name": "left-pad", "versions": versions})
	}
	every versions in [["1.3"], ["<1.3.0"], [">1.3.0"], [">=1.3.1"], ["<=1.2.9"], [">1.2.9 <1.3.0"]] {
		not bans({"name": "left-pad", "versions": versions})
	}
}

test_a_pre_release_is_compared_both_ways if {
	bans({"name": "zlib", "versions": [">=1.2.13"]})
	bans({"name": "zlib", "versions": ["<1.2.13"]})
	not bans({"name": "zlib", "versions": [">1.2.13"]})
	bans({"name": "zlib", "versions": ["1.2.13-1ubuntu2"]})
}

test_what_cannot_be_compared_is_banned if {
	bans({"name": "openssl", "versions": ["<1.0.0"]})
	not bans({"name": "openssl", "versions": ["1.0.0"]})
	bans({"name": "nameless", "versions": ["1.0.0"]})
}

test_by_license if {
	not allowed([entry([], ["wtfpl"])], good)
	refuse := sbom.refuse with input as found(good) with data.witgate.sboms as [entry([], ["WTFPL"])]
	codes(refuse) == {"package-banned"}
	details(refuse) == {"`left-pad` is under `WTFPL`"}
}

test_the_package_is_told if {
	banned := [{"name": "left-pad"}, {"purl": "pkg:npm/@angular/core", "versions": ["17.0.1", ">=18.0.0"]}, {"name": "nameless"}]
	refuse := sbom.refuse with input as found(good) with data.witgate.sboms as [entry(banned, [])]
	details(refuse) == {
		"`left-pad` 1.3.0, banned: all versions",
		"`pkg:npm/@angular/core` 17.0.1, banned: 17.0.1 or >=18.0.0",
		"`nameless` without version, banned: all versions",
	}
}
