package witgate.exempting_test

import data.witgate.admission
import data.witgate.fixture_test as fixture
import data.witgate.lifting

decide(asked, entries) := {"admit": admit, "refuse": refuse, "warn": warn} if {
	all := object.union(fixture.base, {"exemptions": entries})
	admit := admission.admit with input as asked with data.witgate.signatures as all.signatures
		with data.witgate.grants as all.grants
		with data.witgate.exemptions as all.exemptions
	refuse := admission.refuse with input as asked with data.witgate.signatures as all.signatures
		with data.witgate.grants as all.grants
		with data.witgate.exemptions as all.exemptions
	warn := admission.warn with input as asked with data.witgate.signatures as all.signatures
		with data.witgate.grants as all.grants
		with data.witgate.exemptions as all.exemptions
}

codes(reasons) := {reason.code | some reason in reasons}

refused(asked, entries) := codes(answer.refuse) if {
	answer := decide(asked, entries)
	answer.admit == false
	count(answer.warn) == 0
}

with_field(field, value) := object.union(fixture.exemption, {field: value})

test_an_exemption_lifts_its_reason_and_is_told if {
	answer := decide(fixture.case, [fixture.exemption])
	answer.admit == true
	answer.refuse == set()
	some warning in answer.warn
	warning.code == "exempted"
	warning.about == "EX-1"
	startswith(warning.detail, concat("", [
		"`no-verified-signature` about `ghcr.io/acme/cart` is lifted until `2026-02-01T00:00:00Z` (owner `team-shop`, ",
		"approved by `security`, because `the signer is down`), which said no signature verified",
	]))
	refused(fixture.case, []) == {"no-verified-signature"}
}

test_a19_1_an_exemption_outside_its_time_lifts_nothing_and_says_so if {
	every entry in [
		with_field("expires", "2026-01-15T00:00:00Z"),
		with_field("starts", "2026-01-15T00:00:01Z"),
	] {
		refused(fixture.case, [entry]) == {"no-verified-signature", "exemption-expired"}
	}
	decide(fixture.case, [with_field("expires", "2026-01-15T00:00:01Z")]).admit == true
	decide(fixture.case, [with_field("starts", "2026-01-15T00:00:00Z")]).admit == true
}

test_a19_1_a_foreign_exemption_lifts_nothing_and_says_so if {
	every scope in [
		{"tenant": "other", "environment": "prod"},
		{"tenant": "default", "environment": "dev"},
	] {
		refused(fixture.case, [with_field("scope", scope)]) == {"no-verified-signature", "exemption-invalid"}
	}
	every field in ["tenant", "environment"] {
		entry := json.remove(fixture.exemption, [concat("/", ["scope", field])])
		refused(fixture.case, [entry]) == {"no-verified-signature", "exemption-invalid"}
	}
}

test_a19_1_a_self_granted_exemption_lifts_nothing_and_says_so if {
	every entry in [
		with_field("owner", fixture.shop),
		with_field("approved_by", fixture.shop),
		with_field("approved_by", upper(fixture.shop)),
		with_field("approved_by", "team-shop"),
	] {
		refused(fixture.case, [entry]) == {"no-verified-signature", "exemption-invalid"}
	}
}

test_a19_1_an_incomplete_exemption_lifts_nothing_and_says_so if {
	every field in ["id", "owner", "approved_by", "reason"] {
		refused(fixture.case, [object.remove(fixture.exemption, [field])]) == {"no-verified-signature", "exemption-invalid"}
		refused(fixture.case, [with_field(field, " ")]) == {"no-verified-signature", "exemption-invalid"}
	}
	every field in ["starts", "expires"] {
		refused(fixture.case, [object.remove(fixture.exemption, [field])]) == {"no-verified-signature", "exemption-invalid"}
	}
}

test_a19_1_an_exemption_past_the_longest_time_lifts_nothing_and_says_so if {
	decide(fixture.case, [with_field("expires", "2026-04-01T00:00:00Z")]).admit == true
	refused(fixture.case, [with_field("expires", "2026-04-01T00:00:01Z")]) == {"no-verified-signature", "exemption-invalid"}
}

test_a19_1_two_exemptions_for_one_reason_lift_nothing_and_say_so if {
	answer := decide(fixture.case, [fixture.exemption, with_field("id", "EX-2")])
	answer.admit == false
	codes(answer.refuse) == {"no-verified-signature", "exemption-invalid"}
	{reason.about | some reason in answer.refuse; reason.code == "exemption-invalid"} == {"EX-1", "EX-2"}
	answer.warn == set()
}

test_one_that_is_over_does_not_stand_in_the_way_of_another if {
	over := object.union(fixture.exemption, {"id": "EX-0", "expires": "2026-01-10T00:00:00Z"})
	foreign := object.union(fixture.exemption, {"id": "EX-9", "scope": {"tenant": "default", "environment": "dev"}})
	decide(fixture.case, [over, fixture.exemption, foreign]).admit == true
}

test_an_exemption_for_others_is_silent if {
	every entry in [
		with_field("references", ["ghcr.io/other/*"]),
		with_field("callers", ["spiffe://prod.example/ns/other"]),
		with_field("codes", ["version-rollback"]),
	] {
		refused(fixture.case, [entry]) == {"no-verified-signature"}
	}
	decide(fixture.case, [with_field("callers", ["spiffe://prod.example/ns/*"])]).admit == true
}

test_a_good_artifact_needs_none_and_hears_of_none if {
	signed := object.union(fixture.case, {"evidence": {"looked_in": [], "findings": [{
		"status": "verified",
		"kind": "signature",
		"source": {"name": "sha256:1"},
		"signer": {"kind": "key", "name": "release", "keyid": "00"},
	}]}})
	every entries in [[fixture.exemption], [with_field("expires", "2026-01-10T00:00:00Z")]] {
		answer := decide(signed, entries)
		answer.admit == true
		answer.warn == set()
	}
}

test_a19_2_nothing_lifts_a_revocation if {
	revoked := {"status": "rejected", "code": "revoked", "detail": "key `release`", "source": {"name": "sha256:1"}}
	asked := object.union(fixture.case, {"evidence": {"looked_in": [], "findings": [revoked]}})
	answer := decide(asked, [fixture.exemption])
	answer.admit == false
	codes(answer.refuse) == {"revoked"}
}

test_a19_2_nothing_lifts_the_revocation_of_an_attestation if {
	findings := [
		{
			"status": "verified", "kind": "signature", "source": {"name": "sha256:1"},
			"signer": {"kind": "key", "name": "release", "keyid": "00"},
		},
		{"status": "rejected", "code": "revoked", "detail": "key `builder`", "source": {"name": "sha256:2"}},
	]
	asked := object.union(fixture.case, {"evidence": {"looked_in": [], "findings": findings}})
	provenance := [{"references": ["*"], "signers": [{"key": "builder"}], "builder_id": "b", "source_uri": "s"}]
	entries := [with_field("codes", ["attestation-missing"])]
	refuse := admission.refuse with input as asked with data.witgate.signatures as fixture.base.signatures
		with data.witgate.grants as fixture.base.grants
		with data.witgate.provenance as provenance
		with data.witgate.exemptions as entries
	codes(refuse) == {"revoked"}
}

test_a19_2_nothing_lifts_what_is_not_about_evidence if {
	all := [with_field("codes", ["caller-not-granted", "host-not-caller", "link-not-granted", "no-verified-signature", "revoked"])]
	stranger := object.union(fixture.case, {"caller": {"kind": "x509-svid", "id": "spiffe://other.example/x"}, "host": "spiffe://other.example/x"})
	codes(decide(stranger, all).refuse) == {"caller-not-granted"}
	elsewhere := object.union(fixture.case, {"host": "spiffe://prod.example/host"})
	codes(decide(elsewhere, all).refuse) == {"host-not-caller"}
	linked := object.union(fixture.case, {"links": ["db"]})
	codes(decide(linked, all).refuse) == {"link-not-granted"}
	count([answer | some asked in [stranger, elsewhere, linked]; answer := decide(asked, all); answer.admit]) == 0
}

test_every_part_may_be_lifted if {
	parts := [
		{"versions": [{"references": ["*"], "minimum": "2.0.0"}], "codes": ["version-rollback"]},
		{"limits": [{"references": ["*"], "max_component_bytes": 1}], "codes": ["component-too-large"]},
		{
			"provenance": [{"references": ["*"], "signers": [], "builder_id": "b", "source_uri": "s"}],
			"codes": ["attestation-missing"],
		},
		{"sboms": [{"references": ["*"], "signers": []}], "codes": ["attestation-missing"]},
		{
			"vulnerabilities": [{"references": ["*"], "signers": [], "max_severity": "low", "max_age_s": 1}],
			"codes": ["attestation-missing"],
		},
		{
			"summaries": [{"references": ["*"], "signers": [], "verifier_id": "v", "resource_uri": "r", "levels": ["L"]}],
			"codes": ["attestation-missing"],
		},
	]
	every part in parts {
		entries := [with_field("codes", array.concat(["no-verified-signature"], part.codes))]
		answer := answered(part, entries)
		answer.admit == true
		not answered(part, [fixture.exemption]).admit
		{reason.code | some reason in answered(part, [fixture.exemption]).refuse} == {code | some code in part.codes}
	}
}

answered(part, entries) := answer if {
	answer := {"admit": admission.admit, "refuse": admission.refuse} with input as fixture.case
		with data.witgate.signatures as fixture.base.signatures
		with data.witgate.grants as fixture.base.grants
		with data.witgate.exemptions as entries
		with data.witgate.versions as object.get(part, "versions", [])
		with data.witgate.limits as object.get(part, "limits", [])
		with data.witgate.provenance as object.get(part, "provenance", [])
		with data.witgate.sboms as object.get(part, "sboms", [])
		with data.witgate.vulnerabilities as object.get(part, "vulnerabilities", [])
		with data.witgate.summaries as object.get(part, "summaries", [])
}

test_a19_1_a_part_without_a_reason_is_not_lifted if {
	not lifting.met(set()) with data.witgate.exemptions as [fixture.exemption] with input as fixture.case
}
