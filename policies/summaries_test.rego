package witgate.verifying_test

import data.witgate.verifying

summary := {
	"type": "verification-summary",
	"verifier_id": "https://verifier.example",
	"resource_uri": "ghcr.io/acme/cart",
	"policy": {"uri": "https://verifier.example/policy"},
	"result": "PASSED",
	"levels": ["SLSA_BUILD_LEVEL_3", "X_REVIEWED"],
}

by_key(name, attests) := {
	"status": "verified",
	"kind": "attestation",
	"source": {"name": concat("-", ["sha256:of", name])},
	"signer": {"kind": "key", "name": name, "keyid": "00"},
	"predicate_type": "https://slsa.dev/verification_summary/v1",
	"attests": attests,
}

found(findings) := {
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"evidence": {"looked_in": ["referrers-api"], "findings": findings},
}

entry := {
	"references": ["ghcr.io/acme/*"],
	"signers": [{"key": "verifier"}],
	"verifier_id": "https://verifier.example",
	"resource_uri": "ghcr.io/acme/cart",
	"levels": ["SLSA_BUILD_LEVEL_3"],
}

allowed(entries, findings) if verifying.allowed with input as found(findings) with data.witgate.summaries as entries

says(change) := [by_key("verifier", object.union(summary, change))]

test_satisfied if {
	allowed([entry], says({}))
	verifying.refuse == set() with input as found(says({})) with data.witgate.summaries as [entry]
}

test_no_entry_asks_for_nothing if {
	allowed([], [])
	allowed([object.union(entry, {"references": ["ghcr.io/other/*"]})], [])
	not verifying.allowed with input as {} with data.witgate.summaries as []
}

test_nobody_said_so if {
	not allowed([entry], [])
	not allowed([entry], [by_key("stranger", summary)])
	refuse := verifying.refuse with input as found([]) with data.witgate.summaries as [entry]
	some reason in refuse
	reason.code == "attestation-missing"
}

test_everything_must_hold if {
	every change in [
		{"result": "FAILED"},
		{"verifier_id": "https://other.example"},
		{"resource_uri": "ghcr.io/acme/cart2"},
		{"levels": ["SLSA_BUILD_LEVEL_2"]},
		{"levels": []},
	] {
		not allowed([entry], says(change))
	}
	not allowed([object.union(entry, {"levels": []})], says({}))
	not allowed([object.union(entry, {"levels": ["SLSA_BUILD_LEVEL_3", "X_OTHER"]})], says({}))
	allowed([object.union(entry, {"levels": ["SLSA_BUILD_LEVEL_3", "X_REVIEWED"]})], says({}))
}

test_a4_3_an_absent_field_is_no_pass if {
	every field in ["result", "verifier_id", "resource_uri", "levels"] {
		not allowed([entry], [by_key("verifier", object.remove(summary, [field]))])
	}
	not allowed([entry], [object.remove(by_key("verifier", summary), ["attests"])])
}

test_two_halves_are_no_whole if {
	halves := array.concat(says({"result": "FAILED"}), [by_key("stranger", summary)])
	not allowed([entry], halves)
	not allowed([entry], array.concat(says({"result": "FAILED"}), says({"levels": []})))
}

test_the_mismatch_is_told if {
	refuse := verifying.refuse with input as found(says({"result": "FAILED"})) with data.witgate.summaries as [entry]
	some reason in refuse
	reason.about == "sha256:of-verifier"
	contains(reason.detail, "says FAILED of `ghcr.io/acme/cart`")
	contains(reason.detail, "policy wants `https://verifier.example` to say PASSED")
}
