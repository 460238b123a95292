package witgate.separating_test

import data.witgate.admission
import data.witgate.environments_of
import data.witgate.fixture_test as fixture
import data.witgate.separating

environments := [
	{"environment": "prod", "references": ["ghcr.io/acme/*"], "callers": ["spiffe://prod.example/*"]},
	{"environment": "dev", "references": ["ghcr.io/acme-dev/*", "ghcr.io/acme/tool"], "callers": ["spiffe://dev.example/*"]},
]

asks(environment, caller, repository) := {
	"scope": {"tenant": "default", "environment": environment},
	"caller": {"kind": "x509-svid", "id": caller},
	"reference": {"upstream": "ghcr.io", "repository": repository},
}

shop := "spiffe://prod.example/ns/shop"

allowed(asked, entries) if separating.allowed with input as asked with data.witgate.environments as entries

reasons(asked, entries) := refuse if {
	refuse := separating.refuse with input as asked with data.witgate.environments as entries
}

test_what_belongs_together_goes if {
	allowed(asks("prod", shop, "acme/cart"), environments)
	allowed(asks("dev", "spiffe://dev.example/x", "acme/tool"), environments)
	allowed(asks("prod", shop, "acme/cart"), [])
	reasons(asks("prod", shop, "acme/cart"), environments) == set()
}

test_what_belongs_elsewhere_is_refused if {
	asked := asks("prod", "spiffe://dev.example/x", "acme-dev/cart")
	not allowed(asked, environments)
	{[reason.code, reason.about, reason.detail] | some reason in reasons(asked, environments)} == {
		["environment-mismatch", "spiffe://dev.example/x", "not one of the callers of environment `prod`, but of `dev`"],
		["environment-mismatch", "ghcr.io/acme-dev/cart", "not one of the references of environment `prod`, but of `dev`"],
	}
}

test_what_belongs_nowhere_is_refused if {
	every asked in [
		asks("prod", shop, "other/cart"),
		asks("prod", "spiffe://other.example/x", "acme/cart"),
		asks("stage", shop, "acme/cart"),
		object.remove(asks("prod", shop, "acme/cart"), ["scope"]),
	] {
		not allowed(asked, environments)
		count(reasons(asked, environments)) > 0
	}
	some reason in reasons(asks("prod", shop, "other/cart"), environments)
	reason.detail == "not one of the references of environment `prod`, and of no other"
}

test_what_no_entry_speaks_of_is_not_separated if {
	by_reference := [object.remove(entry, ["callers"]) | some entry in environments]
	allowed(asks("prod", "spiffe://other.example/x", "acme/cart"), by_reference)
	not allowed(asks("dev", shop, "acme/cart"), by_reference)
	by_caller := [object.remove(entry, ["references"]) | some entry in environments]
	allowed(asks("prod", shop, "other/cart"), by_caller)
	not allowed(asks("dev", shop, "acme/cart"), by_caller)
}

test_an_entry_speaks_about_its_environments if {
	input_ := {"scope": {"environment": "prod"}}
	environments_of.here({}) with input as input_
	environments_of.here({"environments": ["dev", "prod"]}) with input as input_
	not environments_of.here({"environments": ["dev"]}) with input as input_
	not environments_of.here({"environments": []}) with input as input_
	not environments_of.here({"environments": ["prod"]}) with input as {}
}

test_admission_asks if {
	admits(environments)
	not admits([environments[1]])
	not admits([object.union(environments[0], {"environment": "dev"})])
}

admits(entries) if {
	admission.admit with input as fixture.signed with data.witgate.signatures as fixture.base.signatures
		with data.witgate.grants as fixture.base.grants
		with data.witgate.environments as entries
}

test_signatures_of_other_environments_ask_for_nothing_and_satisfy_nobody if {
	signatures := fixture.base.signatures[0]
	dev := object.union(signatures, {"environments": ["dev"], "identities": [{"key": "other"}]})
	admitted([signatures, dev])
	not admitted([dev])
	not admitted([object.union(signatures, {"environments": ["dev"]})])
	admitted([object.union(signatures, {"environments": ["prod"]})])
}

admitted(signatures) if {
	admission.admit with input as fixture.signed with data.witgate.signatures as signatures
		with data.witgate.grants as fixture.base.grants
}
