package witgate.admission_test

import data.witgate.admission

shop := "spiffe://prod.example/ns/shop"

case(caller, host, links) := {
	"caller": caller,
	"host": host,
	"links": links,
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"evidence": {"looked_in": ["referrers-api"], "findings": [{
		"status": "verified",
		"kind": "signature",
		"source": {"name": "sha256:1"},
		"signer": {"kind": "key", "name": "release", "keyid": "00"},
	}]},
}

svid(id) := {"kind": "x509-svid", "id": id}

own(id) := case(svid(id), id, [])

signatures := [{"references": ["*"], "identities": [{"key": "release"}]}]

rule := {"callers": ["spiffe://prod.example/ns/*"], "references": ["ghcr.io/acme/*"], "imports": ["wasi:cli/*@0.2"]}

codes(refuse) := {reason.code | some reason in refuse}

test_admitted if {
	admission.admit with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	admission.refuse == set() with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	admission.warn == set() with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
}

test_a4_3_nothing_is_admitted_by_default if {
	not admission.admit with input as {}
	not admission.admit with input as own(shop) with data.witgate.signatures as []
		with data.witgate.grants as []
	not admission.admit with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as []
	not admission.admit with input as own(shop) with data.witgate.signatures as []
		with data.witgate.grants as [rule]
}

test_local if {
	local := object.union(rule, {"callers": ["local"]})
	asked := case({"kind": "local", "id": "local"}, "local", [])
	admission.admit with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [local]
	disguised := case(svid("local"), "local", [])
	not admission.admit with input as disguised with data.witgate.signatures as signatures
		with data.witgate.grants as [local]
}

test_local_is_no_svid if {
	asked := case({"kind": "local", "id": shop}, shop, [])
	not admission.admit with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
}

test_tokens if {
	by_token := case({"kind": "jwt-svid", "id": shop}, shop, [])
	admission.admit with input as by_token with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	runner := "oidc:github/1234/5678"
	by_issuer := case({"kind": "oidc", "id": runner}, runner, [])
	every pattern in [runner, "oidc:github/1234/*", "oidc:github/*"] {
		admission.admit with input as by_issuer with data.witgate.signatures as signatures
			with data.witgate.grants as [object.union(rule, {"callers": [pattern]})]
	}
	every pattern in ["oidc:github/12/*", "oidc:gitlab/*", "oidc:github/1234", "local", "spiffe://prod.example/*"] {
		not admission.admit with input as by_issuer with data.witgate.signatures as signatures
			with data.witgate.grants as [object.union(rule, {"callers": [pattern]})]
	}
}

test_a_kind_takes_no_name_of_another if {
	every caller in [
		{"kind": "oidc", "id": shop},
		{"kind": "jwt-svid", "id": "oidc:github/1234/5678"},
		{"kind": "x509-svid", "id": "oidc:github/1234/5678"},
		{"kind": "other", "id": shop},
	] {
		not admission.admit with input as case(caller, caller.id, []) with data.witgate.signatures as signatures
			with data.witgate.grants as [object.union(rule, {"callers": [shop, "oidc:github/*"]})]
	}
}

test_caller_not_granted if {
	every id in [
		"spiffe://prod.example/ns",
		"spiffe://prod.example/ns-evil/shop",
		"spiffe://prod.example.evil/ns/shop",
		"spiffe://prod.example/other/ns/shop",
	] {
		refuse := admission.refuse with input as own(id) with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
		codes(refuse) == {"caller-not-granted"}
		some reason in refuse
		reason.about == id
		reason.detail == sprintf("no grant rule names `%s` for `ghcr.io/acme/cart`", [id])
	}
}

test_granted_for_another_reference_only if {
	other := object.union(rule, {"references": ["ghcr.io/acme/other"]})
	refuse := admission.refuse with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as [other]
	codes(refuse) == {"caller-not-granted"}
}

test_host_not_caller if {
	asked := case(svid(shop), "spiffe://prod.example/host/1", [])
	refuse := admission.refuse with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	codes(refuse) == {"host-not-caller"}
	not admission.admit with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
}

test_delegated_host if {
	delegated := object.union(rule, {"hosts": ["spiffe://prod.example/host/*"]})
	good := case(svid(shop), "spiffe://prod.example/host/1", [])
	admission.admit with input as good with data.witgate.signatures as signatures
		with data.witgate.grants as [delegated]
	bad := case(svid(shop), "spiffe://prod.example/hostile/1", [])
	refuse := admission.refuse with input as bad with data.witgate.signatures as signatures
		with data.witgate.grants as [delegated]
	codes(refuse) == {"host-not-caller"}
}

test_links if {
	linked := object.union(rule, {"links": ["db"]})
	good := case(svid(shop), shop, ["db"])
	admission.admit with input as good with data.witgate.signatures as signatures
		with data.witgate.grants as [linked]
	bad := case(svid(shop), shop, ["db", "mail"])
	refuse := admission.refuse with input as bad with data.witgate.signatures as signatures
		with data.witgate.grants as [linked]
	codes(refuse) == {"link-not-granted"}
	some reason in refuse
	reason.about == "mail"
}

test_signatures_are_asked if {
	refuse := admission.refuse with input as object.union(own(shop), {"evidence": {"looked_in": [], "findings": []}})
		with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	"no-verified-signature" in codes(refuse)
}

test_grants_are_united_within_the_smallest_limits if {
	rules := [
		object.union(rule, {
			"links": ["db"],
			"config": [{"key": "a", "value": "1"}],
			"limits": {"fuel": 10, "memory_bytes": 7},
			"lifetime_s": 60,
		}),
		object.union(rule, {"imports": ["wasi:io/*@0.2"], "limits": {"fuel": 5}, "lifetime_s": 90}),
		object.union(rule, {"callers": ["local"], "imports": ["wasi:sockets/*"], "limits": {"fuel": 1}, "lifetime_s": 1}),
	]
	grants := admission.grants with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as rules
	grants == {
		"imports": {"wasi:cli/*@0.2", "wasi:io/*@0.2"},
		"links": {"db"},
		"config": {{"key": "a", "value": "1"}},
		"limits": {"fuel": 5, "memory_bytes": 7},
		"lifetime_s": 60,
	}
}

test_no_rule_grants_nothing if {
	not admission.grants with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as []
}

test_a_rule_without_lifetime_leaves_it_to_the_gateway if {
	grants := admission.grants with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	not grants.lifetime_s
	grants.limits == {}
}

test_warns_of_every_version if {
	open := object.union(rule, {"imports": ["wasi:cli/*"]})
	warn := admission.warn with input as own(shop) with data.witgate.signatures as signatures
		with data.witgate.grants as [open]
	codes(warn) == {"grant-without-version"}
}

# What must be there is asked for itself: here no reason can be put into words, and nobody is admitted all the same.
test_a4_3_each_condition_of_admission_refuses_without_a_reason if {
	admitted(own(shop), [rule])
	unsigned := object.union(object.remove(own(shop), ["evidence"]), {"evidence": {"findings": []}})
	silent(unsigned, [rule]) with data.witgate.versions as []
	silent(own(shop), [rule]) with data.witgate.vulnerabilities as [{"references": ["*"], "signers": [{"key": "release"}]}]
	silent(own(shop), [rule]) with data.witgate.versions as [{"references": ["*"]}]
	silent(object.union(object.remove(own(shop), ["caller"]), {"caller": {"kind": "x509-svid"}}), [rule])
}

admitted(asked, grants) if {
	admission.admit with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as grants
}

silent(asked, grants) if {
	admission.refuse == set() with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as grants
	not admitted(asked, grants)
}

# Another file of the package may add to `refuse` (see `own_rules_test.rego`), and what it adds refuses.
test_a4_3_a_reason_of_another_file_refuses if {
	admitted(own(shop), [rule])
	asked := object.union(own(shop), {"refused_by_an_own_rule": true})
	not admitted(asked, [rule])
	refuse := admission.refuse with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	codes(refuse) == {"own-rule"}
}

revoked_finding := {
	"status": "rejected",
	"code": "revoked",
	"detail": "the key `00` is revoked",
	"source": {"name": "sha256:2"},
}

# The same with more findings.
with_findings(asked, findings) := object.union(asked, {"evidence": {"looked_in": ["file"], "findings": findings}})

test_a22_1_a_revoked_signer_is_told if {
	asked := with_findings(own(shop), [revoked_finding, revoked_finding])
	refuse := admission.refuse with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
	codes(refuse) == {"no-verified-signature", "revoked"}
	not admission.admit with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
}

test_a_revoked_signature_beside_a_good_one_is_no_reason if {
	asked := with_findings(own(shop), array.concat(own(shop).evidence.findings, [revoked_finding]))
	admission.admit with input as asked with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
}

test_a23_1_an_older_version_is_not_admitted if {
	old := object.union(own(shop), {"artifact": {"annotations": {"org.opencontainers.image.version": "1.0.0"}}})
	minimum := [{"references": ["*"], "minimum": "1.0.1"}]
	not admission.admit with input as old with data.witgate.signatures as signatures
		with data.witgate.grants as [rule]
		with data.witgate.versions as minimum
}
