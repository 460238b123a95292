package witgate.emergency_test

import data.witgate.admission
import data.witgate.fixture_test as fixture

oncall := "spiffe://prod.example/ns/oncall"

asked := object.union(fixture.case, {
	"caller": {"kind": "x509-svid", "id": oncall},
	"host": oncall,
	"break_glass": {"justification": "checkout is down, INC-7"},
})

rule := {
	"callers": [oncall],
	"references": ["ghcr.io/acme/*"],
	"codes": ["no-verified-signature"],
	"starts": "2026-01-01T00:00:00Z",
	"expires": "2026-02-01T00:00:00Z",
}

decide(case, rules, exemptions) := answer if {
	answer := {"admit": admission.admit, "refuse": admission.refuse, "warn": admission.warn} with input as case
		with data.witgate.signatures as fixture.base.signatures
		with data.witgate.grants as fixture.base.grants
		with data.witgate.break_glass as rules
		with data.witgate.exemptions as exemptions
}

codes(reasons) := {reason.code | some reason in reasons}

denied(case, rules) if {
	answer := decide(case, rules, [])
	answer.admit == false
	codes(answer.refuse) == {"no-verified-signature", "break-glass-denied"}
	answer.warn == set()
}

test_a_named_caller_with_a_justification_is_let_past_and_it_is_told if {
	answer := decide(asked, [rule], [])
	answer.admit == true
	answer.refuse == set()
	some warning in answer.warn
	warning.code == "break-glass"
	warning.about == oncall
	warning.detail == "asked to be let past because `checkout is down, INC-7`; lifted `no-verified-signature`"
}

test_nobody_is_let_past_who_does_not_ask if {
	answer := decide(object.remove(asked, ["break_glass"]), [rule], [])
	answer.admit == false
	codes(answer.refuse) == {"no-verified-signature"}
	answer.warn == set()
}

test_a19_1_without_a_justification_nobody_is_let_past if {
	every justification in ["", " \n", 7, null] {
		denied(object.union(asked, {"break_glass": {"justification": justification}}), [rule])
	}
	denied(json.remove(asked, ["break_glass/justification"]), [rule])
}

test_a19_1_who_is_not_named_is_not_let_past if {
	every other in [
		{"callers": ["spiffe://prod.example/ns/*"]},
		{"callers": ["spiffe://prod.example/ns/oncall2"]},
		{"references": ["ghcr.io/other/*"]},
		{"environments": ["dev"]},
		{"expires": "2026-01-15T00:00:00Z"},
		{"starts": "2026-01-15T00:00:01Z"},
		{"expires": "2026-04-01T00:00:01Z"},
	] {
		denied(asked, [object.union(rule, other)])
	}
	denied(asked, [])
	decide(asked, [object.union(rule, {"environments": ["prod"]})], []).admit == true
}

test_a_rule_without_a_start_ends_within_the_longest_time if {
	open := object.remove(rule, ["starts"])
	decide(asked, [open], []).admit == true
	decide(asked, [object.union(open, {"expires": "2026-04-15T00:00:00Z"})], []).admit == true
	denied(asked, [object.union(open, {"expires": "2026-04-15T00:00:01Z"})])
}

test_a19_1_local_and_a_name_that_reads_as_a_pattern_are_never_let_past if {
	local := object.union(asked, {"caller": {"kind": "local", "id": "local"}, "host": "local"})
	denied(local, [object.union(rule, {"callers": ["local"]})])
	starred := object.union(asked, {"caller": {"kind": "x509-svid", "id": "spiffe://prod.example/ns/*"}, "host": "spiffe://prod.example/ns/*"})
	denied(starred, [object.union(rule, {"callers": ["spiffe://prod.example/ns/*"]})])
}

test_a19_2_what_is_no_evidence_stays_refused if {
	linked := object.union(asked, {"links": ["db"]})
	answer := decide(linked, [object.union(rule, {"codes": ["no-verified-signature", "link-not-granted"]})], [])
	answer.admit == false
	codes(answer.refuse) == {"link-not-granted"}
	codes(answer.warn) == {"break-glass"}
}

test_a19_2_break_glass_lifts_its_codes_only if {
	answer := decide(asked, [object.union(rule, {"codes": ["version-rollback"]})], [])
	answer.admit == false
	codes(answer.refuse) == {"no-verified-signature"}
	some warning in answer.warn
	endswith(warning.detail, "nothing had to be lifted")
}

test_an_exemption_that_is_over_does_not_stand_in_the_way_of_an_emergency if {
	over := object.union(fixture.exemption, {"expires": "2026-01-10T00:00:00Z"})
	decide(asked, [rule], [over]).admit == true
}

test_what_is_exempted_needs_no_emergency if {
	answer := decide(asked, [rule], [fixture.exemption])
	answer.admit == true
	codes(answer.warn) == {"exempted", "break-glass"}
	details := {warning.detail | some warning in answer.warn; warning.code == "break-glass"}
	details == {"asked to be let past because `checkout is down, INC-7`; nothing had to be lifted"}
}
