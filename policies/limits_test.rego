package witgate.limiting_test

import data.witgate.admission
import data.witgate.fixture_test as fixture
import data.witgate.limiting

day := 86400

signature(key, times) := {
	"status": "verified",
	"kind": "signature",
	"source": {"name": key},
	"signer": {"kind": "key", "name": key, "keyid": key},
	"times": times,
}

case(findings) := {
	"time": "2026-01-10T00:00:00Z",
	"scope": {"tenant": "default", "environment": "prod"},
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"artifact": {"component": {"size_bytes": 100}},
	"evidence": {"findings": findings, "looked_in": []},
}

signatures := [{"references": ["*"], "identities": [{"key": "release"}]}]

young(findings, entries) if {
	limiting.allowed with input as case(findings) with data.witgate.signatures as entries
		with data.witgate.limits as [{"references": ["ghcr.io/acme/*"], "max_signature_age_s": 5 * day}]
}

test_a_young_signature_by_whom_policy_names_goes if {
	young([signature("release", ["2026-01-05T00:00:00Z"])], signatures)
	young([signature("release", ["2026-01-09T00:00:00Z", "2026-01-08T00:00:00Z"])], signatures)
	young([signature("release", ["2025-01-01T00:00:00Z"]), signature("release", ["2026-01-09T00:00:00Z"])], signatures)
	young([signature("release", ["2026-01-10T00:01:00Z"])], signatures)
	young([signature("release", ["2026-01-09T00:00:00Z", "2026-01-09T00:00:00Z"])], signatures)
}

test_an_old_one_and_one_without_a_time_do_not if {
	every finding in [
		signature("release", ["2026-01-04T23:59:59Z"]),
		signature("release", ["2026-01-09T00:00:00Z", "2025-12-01T00:00:00Z"]),
		signature("release", []),
		signature("release", ["2026-01-10T00:01:01Z"]),
		signature("stranger", ["2026-01-09T00:00:00Z"]),
		object.union(signature("release", ["2026-01-09T00:00:00Z"]), {"status": "rejected"}),
		object.union(signature("release", ["2026-01-09T00:00:00Z"]), {"kind": "attestation"}),
		object.remove(signature("release", []), ["times"]),
	] {
		not young([finding], signatures)
	}
	not young([], signatures)
	not young([signature("release", ["2026-01-09T00:00:00Z"])], [])
}

test_a_strangers_young_signature_makes_an_old_one_no_younger if {
	findings := [signature("release", ["2025-01-01T00:00:00Z"]), signature("stranger", ["2026-01-09T00:00:00Z"])]
	not young(findings, signatures)
	refuse := limiting.refuse with input as case(findings) with data.witgate.signatures as signatures
		with data.witgate.limits as [{"references": ["*"], "max_signature_age_s": day}]
	refuse == {{
		"code": "signature-too-old",
		"about": "ghcr.io/acme/cart",
		"detail": "too few who must have signed are known to have done so within the last 86400 s",
		"hint": "build and sign it anew, with a log entry or time-stamp that proves when",
	}}
}

test_as_many_are_young_as_must_have_signed if {
	two := [{"references": ["*"], "threshold": 2, "identities": [{"key": "a"}, {"key": "b"}]}]
	fresh := ["2026-01-09T00:00:00Z"]
	young([signature("a", fresh), signature("b", fresh)], two)
	not young([signature("a", fresh), signature("b", ["2025-01-01T00:00:00Z"])], two)
	both := array.concat(signatures, [{"references": ["*"], "identities": [{"key": "a"}]}])
	young([signature("a", fresh), signature("release", fresh)], both)
	not young([signature("a", fresh), signature("release", [])], both)
}

sized(artifact, limit) if {
	asked := object.union(object.remove(case([]), ["artifact"]), {"artifact": artifact})
	limiting.allowed with input as asked with data.witgate.limits as [limit]
}

test_a_component_is_at_most_as_large_as_the_limit if {
	limit := {"references": ["*"], "max_component_bytes": 100}
	every good in [
		{"component": {"size_bytes": 100}},
		{"components": [{"size_bytes": 1}, {"size_bytes": 100}]},
		{"native": {"size_bytes": 1}},
	] {
		sized(good, limit)
	}
	every bad in [
		{"component": {"size_bytes": 101}},
		{"components": [{"size_bytes": 101}, {"size_bytes": 1}]},
		{"native": {"size_bytes": 101}},
		{"component": {"size_bytes": 1}, "native": {"size_bytes": 101}},
		{},
		{"component": {}},
	] {
		not sized(bad, limit)
		sized(bad, object.union(limit, {"references": ["ghcr.io/other/*"]}))
		sized(bad, object.union(limit, {"environments": ["dev"]}))
	}
}

test_admission_tells_why if {
	asked := object.union(fixture.case, {"artifact": {"component": {"size_bytes": 101}}})
	refuse := admission.refuse with input as asked with data.witgate.limits as [{"references": ["*"], "max_component_bytes": 100}]
	details := {reason.detail | some reason in refuse; reason.code == "component-too-large"}
	details == {"the largest component has 101 bytes, policy takes at most 100"}
	unsized := admission.refuse with input as fixture.case with data.witgate.limits as [{"references": ["*"], "max_component_bytes": 100}]
	unknown := {reason.detail | some reason in unsized; reason.code == "component-too-large"}
	unknown == {"no component whose size is known, policy takes at most 100"}
}
