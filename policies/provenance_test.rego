package witgate.building_test

import data.witgate.building

workflow := "https://github.com/acme/cart/.github/workflows/release.yml"

statement := {
	"type": "slsa-provenance",
	"version": "v1",
	"builder_id": concat("@", [workflow, "refs/tags/v1.4.2"]),
	"build_type": "https://actions.github.io/buildtypes/workflow/v1",
	"source": {"uri": "https://github.com/acme/cart", "branch": "main", "tag": "v1.4.2"},
	"dependencies": [],
}

by_key(name, attests) := {
	"status": "verified",
	"kind": "attestation",
	"source": {"name": concat("-", ["sha256:of", name])},
	"signer": {"kind": "key", "name": name, "keyid": "00"},
	"predicate_type": "https://slsa.dev/provenance/v1",
	"attests": attests,
}

found(findings) := {
	"time": "2026-01-01T00:00:00Z",
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"evidence": {"looked_in": ["referrers-api"], "findings": findings},
}

entry := {
	"references": ["ghcr.io/acme/*"],
	"signers": [{"key": "builder"}],
	"builder_id": workflow,
	"source_uri": "https://github.com/acme/cart",
}

with_option(field, value) := object.union(entry, {field: value})

codes(refuse) := {reason.code | some reason in refuse}

allowed(entries, findings) if building.allowed with input as found(findings) with data.witgate.provenance as entries

test_satisfied if {
	allowed([entry], [by_key("builder", statement)])
	building.refuse == set() with input as found([by_key("builder", statement)]) with data.witgate.provenance as [entry]
}

test_no_entry_asks_for_nothing if {
	allowed([], [])
	allowed([object.union(entry, {"references": ["ghcr.io/other/*"]})], [])
}

test_a_case_without_reference_is_not_satisfied if {
	not building.allowed with input as {} with data.witgate.provenance as []
}

test_entries_are_all_asked if {
	not allowed([entry, with_option("source_tag", "v1.4.1")], [by_key("builder", statement)])
}

test_nobody_said_so if {
	refuse := building.refuse with input as found([]) with data.witgate.provenance as [entry]
	some reason in refuse
	reason.code == "attestation-missing"
	reason.detail == "no provenance by a signer that policy names; found no attestation"
	contains(reason.hint, "policy wants key `builder` for `ghcr.io/acme/*`")
}

test_a4_1_another_type_of_statement_does_not_count if {
	sbom := object.union(by_key("builder", {"type": "sbom"}), {"predicate_type": "https://spdx.dev/Document"})
	not allowed([entry], [sbom])
	refuse := building.refuse with input as found([sbom]) with data.witgate.provenance as [entry]
	codes(refuse) == {"attestation-missing"}
	some reason in refuse
	contains(reason.detail, "`sha256:of-builder` says `https://spdx.dev/Document`")
}

test_a4_1_a_signature_is_no_attestation if {
	not allowed([entry], [object.union(by_key("builder", statement), {"kind": "signature"})])
}

test_another_signer_is_not_believed if {
	stranger := by_key("stranger", statement)
	not allowed([entry], [stranger])
	refuse := building.refuse with input as found([stranger]) with data.witgate.provenance as [entry]
	some reason in refuse
	contains(reason.detail, "`sha256:of-stranger` is by `stranger`")
	not allowed([with_option("signers", [])], [by_key("builder", statement)])
}

# The signer of one attestation never vouches for the content of another.
test_signer_and_content_are_of_one_attestation if {
	other := object.union(statement, {"source": {"uri": "https://github.com/mallory/cart"}})
	not allowed([entry], [by_key("builder", other), by_key("stranger", statement)])
	allowed([entry], [by_key("builder", other), by_key("builder", statement)])
}

test_a26_3_a_rejected_attestation_is_nothing if {
	rejected := object.union(by_key("builder", statement), {
		"status": "rejected",
		"source": {"name": "sha256:1"},
		"code": "log-unknown",
		"detail": "",
	})
	not allowed([entry], [rejected])
	refuse := building.refuse with input as found([rejected]) with data.witgate.provenance as [entry]
	codes(refuse) == {"attestation-missing"}
	some reason in refuse
	contains(reason.detail, "`sha256:1` rejected: log-unknown")
}

test_a4_3_an_absent_field_is_a_mismatch if {
	every field in ["builder_id", "source", "build_type"] {
		less := object.remove(statement, [field])
		entries := [with_option("build_type", statement.build_type)]
		not allowed(entries, [by_key("builder", less)])
		refuse := building.refuse with input as found([by_key("builder", less)]) with data.witgate.provenance as entries
		codes(refuse) == {"provenance-mismatch"}
	}
	not allowed([entry], [object.remove(by_key("builder", statement), ["attests"])])
}

test_the_mismatch_is_told if {
	other := with_option("source_branch", "release")
	refuse := building.refuse with input as found([by_key("builder", statement)]) with data.witgate.provenance as [other]
	some reason in refuse
	reason.code == "provenance-mismatch"
	reason.about == "sha256:of-builder"
	reason.detail == "source_branch `main`, policy wants `release`"
}

built_by(id) := [by_key("builder", object.union(statement, {"builder_id": id}))]

test_a_builder_without_ref_is_any_release_of_it if {
	allowed([entry], built_by(workflow))
	allowed([entry], built_by(concat("@", [workflow, "refs/tags/v2.0.0"])))
	every ref in ["refs/heads/main", "refs/tags/v1", "refs/tags/v1.2.3-rc1", "refs/tags/x", "v1.2.3", ""] {
		not allowed([entry], built_by(concat("@", [workflow, ref])))
	}
	not allowed([entry], built_by(concat("", [workflow, "x@refs/tags/v2.0.0"])))
}

test_a_builder_with_ref_is_that_one if {
	exact := [with_option("builder_id", concat("@", [workflow, "refs/heads/main"]))]
	allowed(exact, built_by(concat("@", [workflow, "refs/heads/main"])))
	not allowed(exact, built_by(concat("@", [workflow, "refs/tags/v1.4.2"])))
	short := [with_option("builder_id", concat("@", [workflow, "v1.4.2"]))]
	allowed(short, [by_key("builder", statement)])
	not allowed(short, built_by(concat("@", [workflow, "refs/tags/v1.4.3"])))
	not allowed(short, built_by(workflow))
}

test_options if {
	every pair in [
		["source_uri", "https://github.com/acme/cart"],
		["source_branch", "main"],
		["source_tag", "v1.4.2"],
		["source_versioned_tag", "v1"],
		["source_versioned_tag", "v1.4"],
		["source_versioned_tag", "v1.4.2"],
		["build_type", "https://actions.github.io/buildtypes/workflow/v1"],
	] {
		allowed([with_option(pair[0], pair[1])], [by_key("builder", statement)])
	}
	every pair in [
		["source_uri", "https://github.com/acme"],
		["source_branch", "mai"],
		["source_tag", "v1.4"],
		["source_versioned_tag", "v2"],
		["source_versioned_tag", "v1.4.3"],
		["source_versioned_tag", "v1.40"],
		["source_versioned_tag", "v1.4.20"],
		["build_type", "https://actions.github.io/buildtypes/workflow/v2"],
	] {
		not allowed([with_option(pair[0], pair[1])], [by_key("builder", statement)])
	}
}

test_a_pre_release_is_no_version if {
	pre := object.union(statement, {"source": {"uri": "https://github.com/acme/cart", "tag": "v1.4.2-rc1"}})
	not allowed([with_option("source_versioned_tag", "v1")], [by_key("builder", pre)])
	allowed([with_option("source_tag", "v1.4.2-rc1")], [by_key("builder", pre)])
}
