package witgate.attestations_test

import data.witgate.admission
import data.witgate.attestations

asked := {
	"time": "2026-01-01T00:00:00Z",
	"caller": {"kind": "x509-svid", "id": "spiffe://prod.example/ns/shop"},
	"host": "spiffe://prod.example/ns/shop",
	"links": [],
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"artifact": {"digest": "sha256:00"},
	"evidence": {"looked_in": [], "findings": [{
		"status": "verified",
		"kind": "signature",
		"source": {"name": "sha256:1"},
		"signer": {"kind": "key", "name": "release", "keyid": "00"},
	}]},
}

base := {
	"signatures": [{"references": ["*"], "identities": [{"key": "release"}]}],
	"grants": [{"callers": ["spiffe://prod.example/ns/*"], "references": ["*"], "imports": []}],
}

entries := {
	"provenance": {
		"references": ["*"],
		"signers": [{"key": "release"}],
		"builder_id": "x",
		"source_uri": "https://h/x",
	},
	"sboms": {"references": ["*"], "signers": [{"key": "release"}]},
	"vulnerabilities": {"references": ["*"], "signers": [{"key": "release"}], "max_severity": "low", "max_age_s": 1},
	"summaries": {
		"references": ["*"],
		"signers": [{"key": "release"}],
		"verifier_id": "x",
		"resource_uri": "x",
		"levels": ["x"],
	},
}

test_nothing_asked_is_nothing_wanted if {
	attestations.allowed with input as asked with data.witgate.provenance as []
	attestations.refuse == set() with input as asked with data.witgate.provenance as []
}

test_each_list_is_in_the_one_way_in if {
	every list, _ in entries {
		admitted(data_of(list)) == false
		attested(data_of(list)) == false
		reasons(data_of(list)) == {"attestation-missing"}
	}
}

data_of(list) := object.union(base, {list: [entries[list]]})

admitted(value) := verdict if {
	verdict := admission.admit with input as asked
		with data.witgate.signatures as value.signatures
		with data.witgate.grants as value.grants
		with data.witgate.provenance as object.get(value, "provenance", [])
		with data.witgate.sboms as object.get(value, "sboms", [])
		with data.witgate.vulnerabilities as object.get(value, "vulnerabilities", [])
		with data.witgate.summaries as object.get(value, "summaries", [])
}

reasons(value) := codes if {
	refuse := admission.refuse with input as asked
		with data.witgate.signatures as value.signatures
		with data.witgate.grants as value.grants
		with data.witgate.provenance as object.get(value, "provenance", [])
		with data.witgate.sboms as object.get(value, "sboms", [])
		with data.witgate.vulnerabilities as object.get(value, "vulnerabilities", [])
		with data.witgate.summaries as object.get(value, "summaries", [])
	codes := {reason.code | some reason in refuse}
}

test_admitted_without_them if admitted(base) == true

attested(value) := verdict if {
	verdict := attestations.allowed with input as asked
		with data.witgate.provenance as object.get(value, "provenance", [])
		with data.witgate.sboms as object.get(value, "sboms", [])
		with data.witgate.vulnerabilities as object.get(value, "vulnerabilities", [])
		with data.witgate.summaries as object.get(value, "summaries", [])
}
