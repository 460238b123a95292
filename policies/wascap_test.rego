package witgate.legacy_test

import data.witgate.admission
import data.witgate.legacy

issuer := "ADLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVRTU"

subject := "MA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYU6I"

stranger := "ACCHS57D"

shop := "spiffe://prod.example/ns/shop"

token := {
	"status": "verified",
	"kind": "wascap-claims",
	"source": {"via": "component", "name": "wasmcloud_jwt"},
	"signer": {"kind": "legacy-nkey", "issuer": issuer, "subject": subject},
}

signature := {
	"status": "verified",
	"kind": "signature",
	"source": {"name": "sha256:1"},
	"signer": {"kind": "key", "name": "release", "keyid": "00"},
}

case(time, findings) := {
	"time": time,
	"caller": {"kind": "x509-svid", "id": shop},
	"host": shop,
	"links": [],
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"evidence": {"looked_in": ["referrers-api", "component"], "findings": findings},
}

before := "2026-12-31T23:59:59.999999999Z"

sunset := "2027-01-01T00:00:00Z"

grants := [{"callers": [shop], "references": ["ghcr.io/acme/*"], "imports": []}]

signatures := [{"references": ["*"], "identities": [{"key": "release"}]}]

entry := {"references": ["ghcr.io/acme/*"], "issuers": [issuer], "sunset": sunset}

codes(reasons) := {reason.code | some reason in reasons}

# The whole decision, as the gateway asks for it.
decision(asked, entries, named) := {"admit": admit, "refuse": refuse, "warn": warn} if {
	admit := admission.admit with input as asked with data.witgate.wascap as entries
		with data.witgate.signatures as named with data.witgate.grants as grants
	refuse := admission.refuse with input as asked with data.witgate.wascap as entries
		with data.witgate.signatures as named with data.witgate.grants as grants
	warn := admission.warn with input as asked with data.witgate.wascap as entries
		with data.witgate.signatures as named with data.witgate.grants as grants
}

refused(asked, entries, named, wanted) if {
	found := decision(asked, entries, named)
	found.admit == false
	codes(found.refuse) == wanted
	found.warn == set()
}

test_a_token_stands_in_until_its_sunset if {
	every named in [[], signatures] {
		found := decision(case(before, [token]), [entry], named)
		found.admit == true
		found.refuse == set()
		found.warn == {{
			"code": "legacy-signature",
			"about": issuer,
			"detail": sprintf(
				"wasmCloud 1.x token by `%s` for `%s`, which stands in for a signature until `2027-01-01T00:00:00Z`",
				[issuer, subject],
			),
			"hint": "sign the artifact with `cosign sign` before then",
		}}
	}
}

test_sunset if {
	every time in [sunset, "2027-01-01T00:00:00.000000001Z", "2100-01-01T00:00:00Z"] {
		refused(case(time, [token]), [entry], signatures, {"no-verified-signature", "legacy-sunset"})
	}
	found := decision(case(sunset, [token]), [entry], signatures)
	some reason in found.refuse
	reason.code == "legacy-sunset"
	reason.about == issuer
	endswith(reason.detail, "which stood in for a signature until `2027-01-01T00:00:00Z`")
}

test_one_open_entry_is_enough if {
	late := object.union(entry, {"sunset": "2028-01-01T00:00:00Z"})
	found := decision(case(sunset, [token]), [entry, late], [])
	found.admit == true
	codes(found.warn) == {"legacy-signature"}
	count(found.warn) == 1
}

test_opt_in if {
	refused(case(before, [token]), [], signatures, {"no-verified-signature"})
	other := object.union(entry, {"references": ["ghcr.io/other/*", "ghcr.io/acme", "acme/cart"]})
	refused(case(before, [token]), [other], signatures, {"no-verified-signature"})
}

test_other_issuer if {
	other := object.union(entry, {"issuers": [stranger]})
	refused(case(before, [token]), [other], signatures, {"no-verified-signature", "identity-mismatch"})
	found := decision(case(before, [token]), [other], signatures)
	some reason in found.refuse
	reason.code == "identity-mismatch"
	reason.about == issuer
	endswith(reason.detail, "policy wants `ACCHS57D`")
}

test_nobody if {
	nobody := object.union(entry, {"issuers": []})
	refused(case(before, [token]), [nobody], signatures, {"no-verified-signature", "identity-mismatch"})
	found := decision(case(before, [token]), [nobody], signatures)
	some reason in found.refuse
	endswith(reason.detail, "policy wants nobody: its lists of issuers are empty")
}

test_subjects if {
	good := object.union(entry, {"subjects": ["MOTHER", subject]})
	decision(case(before, [token]), [good], []).admit == true
	every subjects in [["MOTHER"], []] {
		bad := object.union(entry, {"subjects": subjects})
		refused(case(before, [token]), [bad], [], {"no-verified-signature", "identity-mismatch"})
	}
	found := decision(case(before, [token]), [object.union(entry, {"subjects": ["MOTHER"]})], [])
	some reason in found.refuse
	endswith(reason.detail, sprintf("policy wants `%s` for `MOTHER`", [issuer]))
}

test_only_what_verified_stands_in if {
	rejected := {
		"status": "rejected",
		"code": "subject-mismatch",
		"source": {"via": "component", "name": "wasmcloud_jwt"},
	}
	refused(case(before, [rejected]), [entry], signatures, {"no-verified-signature"})
	refused(case(before, [object.union(token, rejected)]), [entry], signatures, {"no-verified-signature"})
	refused(case(before, []), [entry], signatures, {"no-verified-signature"})
	# Neither another kind of finding by such a key, nor a token by another kind of signer.
	attested := object.union(token, {"kind": "attestation"})
	refused(case(before, [attested]), [entry], signatures, {"no-verified-signature"})
	keyed := object.union(token, {"signer": {"kind": "key", "name": "release", "issuer": issuer, "subject": subject}})
	refused(case(before, [keyed]), [entry], signatures, {"no-verified-signature"})
}

test_a_token_lifts_nothing_but_the_missing_signature if {
	other := object.union(signature, {"signer": {"kind": "key", "name": "stranger", "keyid": "01"}})
	found := decision(case(before, [other, token]), [entry], signatures)
	found.admit == false
	codes(found.refuse) == {"identity-mismatch"}
	granted_other := object.union(case(before, [token]), {"links": ["db"]})
	linked := decision(granted_other, [entry], signatures)
	linked.admit == false
	codes(linked.refuse) == {"link-not-granted"}
	every code in ["revoked", "threshold-not-met", "identity-mismatch", "issuer-mismatch", "legacy-sunset", ""] {
		not legacy.lifts({"code": code}) with input as case(before, [token]) with data.witgate.wascap as [entry]
	}
	legacy.lifts({"code": "no-verified-signature"}) with input as case(before, [token])
		with data.witgate.wascap as [entry]
	not legacy.lifts({"code": "no-verified-signature"}) with input as case(sunset, [token])
		with data.witgate.wascap as [entry]
}

test_a_good_signature_needs_no_token if {
	every time in [before, sunset] {
		found := decision(case(time, [signature, token]), [entry], signatures)
		found == {"admit": true, "refuse": set(), "warn": set()}
	}
	other := object.union(entry, {"issuers": [stranger]})
	decision(case(before, [signature, token]), [other], signatures).refuse == set()
}

test_a_sunset_that_has_come_is_no_permission if {
	late := object.union(entry, {"sunset": "1970-01-01T00:00:00Z"})
	decision(case(before, [token]), [late], []).admit == false
}
