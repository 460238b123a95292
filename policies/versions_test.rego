package witgate.versioning_test

import data.witgate.admission
import data.witgate.versioning

annotated(annotations) := {
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"artifact": {"annotations": annotations},
}

version(text) := annotated({"org.opencontainers.image.version": text})

at_least(minimum) := [{"references": ["ghcr.io/acme/*"], "minimum": minimum}]

codes(refuse) := {reason.code | some reason in refuse}

test_a23_1_an_older_version_is_refused if {
	every older in ["1.3.9", "v1.3.9", "0.99.0", "1.4.0-rc.1", "1.4.0-rc.1+build"] {
		not versioning.allowed with input as version(older) with data.witgate.versions as at_least("1.4.0")
		refuse := versioning.refuse with input as version(older) with data.witgate.versions as at_least("1.4.0")
		codes(refuse) == {"version-rollback"}
	}
}

test_the_minimum_and_what_is_newer_is_allowed if {
	every good in ["1.4.0", "v1.4.0", "1.4.0+build", "1.10.0", "2.0.0-rc.1"] {
		versioning.allowed with input as version(good) with data.witgate.versions as at_least("1.4.0")
	}
	refuse := versioning.refuse with input as version("1.10.0") with data.witgate.versions as at_least("1.4.0")
	refuse == set()
}

test_a23_1_no_version_is_an_old_one if {
	every odd in ["", "latest", "1.4", "vv1.4.0", "1.4.0.0", " 1.4.0", "01.4.0"] {
		not versioning.allowed with input as version(odd) with data.witgate.versions as at_least("1.4.0")
		refuse := versioning.refuse with input as version(odd) with data.witgate.versions as at_least("1.4.0")
		codes(refuse) == {"version-rollback"}
	}
	refuse := versioning.refuse with input as annotated({}) with data.witgate.versions as at_least("1.4.0")
	codes(refuse) == {"version-rollback"}
	some reason in refuse
	reason.detail == "the artifact does not say its version, policy wants `1.4.0` or later"
}

test_every_entry_that_covers_the_reference_has_to_be_met if {
	both := [
		{"references": ["*"], "minimum": "1.0.0"},
		{"references": ["ghcr.io/acme/cart"], "minimum": "2.0.0"},
		{"references": ["ghcr.io/other/*"], "minimum": "9.0.0"},
	]
	versioning.allowed with input as version("2.0.0") with data.witgate.versions as both
	not versioning.allowed with input as version("1.5.0") with data.witgate.versions as both
}

test_without_an_entry_anything_goes if {
	versioning.allowed with input as annotated({}) with data.witgate.versions as []
	versioning.refuse == set() with input as annotated({}) with data.witgate.versions as []
}

test_a23_1_admission_asks if {
	refuse := admission.refuse with input as version("1.3.9") with data.witgate.versions as at_least("1.4.0")
	"version-rollback" in codes(refuse)
}
