package witgate.signing_test

import data.witgate.signing

reference := {"upstream": "ghcr.io", "repository": "acme/cart"}

github := "https://token.actions.githubusercontent.com"

workflow := "https://github.com/acme/cart/.github/workflows/release.yml@refs/tags/v1"

signed(signer) := {
	"status": "verified",
	"kind": "signature",
	"source": {"name": "sha256:1"},
	"trust": "public",
	"signer": signer,
}

keyless(issuer, kind, value, claims) := {
	"kind": "keyless",
	"issuer": issuer,
	"san": {"kind": kind, "value": value},
	"claims": claims,
}

key(name) := {"kind": "key", "name": name, "keyid": name}

# A case with these findings.
found(findings) := {"reference": reference, "evidence": {"looked_in": ["referrers-api"], "findings": findings}}

# A case signed by this one signer.
by(signer) := found([signed(signer)])

by_uri(value) := by(keyless(github, "uri", value, {}))

entry(identities) := {"references": ["ghcr.io/acme/*"], "identities": identities}

acme := {"issuer": github, "san": {"kind": "uri", "value": "https://github.com/acme/*"}}

mail := {"issuer": "https://accounts.example", "san": {"kind": "email", "value": "ci@acme.example"}}

codes(refuse) := {reason.code | some reason in refuse}

test_signed_by_a_folder_of_workflows if {
	signing.allowed with input as by_uri(workflow) with data.witgate.signatures as [entry([acme])]
	signing.refuse == set() with input as by_uri(workflow) with data.witgate.signatures as [entry([acme])]
}

test_signed_by_mail if {
	case := by(keyless("https://accounts.example", "email", "ci@acme.example", {}))
	signing.allowed with input as case with data.witgate.signatures as [entry([acme, mail])]
}

test_signed_by_key if {
	signing.allowed with input as by(key("release")) with data.witgate.signatures as [entry([{"key": "release"}])]
}

test_another_key if {
	refuse := signing.refuse with input as by(key("old")) with data.witgate.signatures as [entry([{"key": "release"}])]
	codes(refuse) == {"identity-mismatch"}
	some reason in refuse
	reason.about == "old"
	reason.detail == "signed by key `old`, policy wants key `release`"
}

test_unsigned if {
	refuse := signing.refuse with input as found([]) with data.witgate.signatures as [entry([acme])]
	codes(refuse) == {"no-verified-signature"}
	some reason in refuse
	reason.detail == "no signature verified; looked in referrers-api (Sigstore bundles); found no candidate"
}

test_unsigned_and_looked_nowhere if {
	case := {"reference": reference, "evidence": {"looked_in": [], "findings": []}}
	refuse := signing.refuse with input as case with data.witgate.signatures as []
	some reason in refuse
	contains(reason.detail, "looked in no place")
}

test_each_rejected_candidate_is_told if {
	case := found([
		{"status": "rejected", "source": {"name": "sha256:1"}, "code": "subject-mismatch", "detail": ""},
		{"status": "rejected", "source": {"name": "sha256:2"}, "code": "log-proof-missing", "detail": ""},
	])
	refuse := signing.refuse with input as case with data.witgate.signatures as [entry([acme])]
	codes(refuse) == {"no-verified-signature"}
	some reason in refuse
	contains(reason.detail, "`sha256:1` rejected: subject-mismatch; `sha256:2` rejected: log-proof-missing")
}

test_a4_1_an_attestation_is_no_signature if {
	finding := object.union(signed(keyless(github, "uri", workflow, {})), {"kind": "attestation"})
	refuse := signing.refuse with input as found([finding]) with data.witgate.signatures as [entry([acme])]
	codes(refuse) == {"no-verified-signature"}
	some reason in refuse
	contains(reason.detail, "is an attestation, no signature")
}

test_rejected_beside_good_does_not_matter if {
	bad := {"status": "rejected", "source": {"name": "sha256:2"}, "code": "subject-mismatch", "detail": ""}
	case := found([bad, signed(keyless(github, "uri", workflow, {}))])
	signing.allowed with input as case with data.witgate.signatures as [entry([acme])]
}

test_a8_2_no_entry_for_the_reference_is_nobody if {
	other := {"references": ["ghcr.io/other/*"], "identities": [acme]}
	refuse := signing.refuse with input as by_uri(workflow) with data.witgate.signatures as [other]
	codes(refuse) == {"identity-mismatch"}
	some reason in refuse
	contains(reason.detail, "policy names nobody for `ghcr.io/acme/cart`")
	not signing.allowed with input as by_uri(workflow) with data.witgate.signatures as [other]
	not signing.allowed with input as by_uri(workflow) with data.witgate.signatures as []
}

test_a8_2_an_empty_list_matches_nobody if {
	refuse := signing.refuse with input as by_uri(workflow) with data.witgate.signatures as [entry([])]
	codes(refuse) == {"identity-mismatch"}
	some reason in refuse
	endswith(reason.detail, "policy wants nobody: its list of identities is empty")
	not signing.allowed with input as by_uri(workflow) with data.witgate.signatures as [entry([])]
}

test_entries_are_anded if {
	entries := [entry([acme]), {"references": ["*"], "identities": [{"key": "release"}]}]
	not signing.allowed with input as by_uri(workflow) with data.witgate.signatures as entries
	both := found([signed(keyless(github, "uri", workflow, {})), signed(key("release"))])
	signing.allowed with input as both with data.witgate.signatures as entries
}

test_a9_3_the_right_subject_of_another_issuer_is_told if {
	case := by(keyless("https://evil.example", "uri", workflow, {}))
	refuse := signing.refuse with input as case with data.witgate.signatures as [entry([acme])]
	codes(refuse) == {"issuer-mismatch"}
	some reason in refuse
	reason.about == workflow
	endswith(reason.detail, sprintf("(issuer `https://evil.example`), policy wants issuer `%s`", [github]))
}

test_a9_3_halves_of_two_identities_are_none if {
	case := by(keyless("https://accounts.example", "uri", workflow, {}))
	not signing.allowed with input as case with data.witgate.signatures as [entry([acme, mail])]
}

test_a9_3_claims_are_there_and_equal if {
	wanted := object.union(acme, {"claims": {"runner_environment": "github-hosted", "build_trigger": "push"}})
	good := {"runner_environment": "github-hosted", "build_trigger": "push", "token_subject": "x"}
	signing.allowed with input as by(keyless(github, "uri", workflow, good)) with data.witgate.signatures as [entry([wanted])]
	every claims in [{}, {"build_trigger": "push"}, {"runner_environment": "self-hosted", "build_trigger": "push"}] {
		refuse := signing.refuse with input as by(keyless(github, "uri", workflow, claims))
			with data.witgate.signatures as [entry([wanted])]
		codes(refuse) == {"identity-mismatch"}
		some reason in refuse
		contains(reason.detail, "with build_trigger `push`, runner_environment `github-hosted`")
	}
}

test_a9_2_kinds_never_mix if {
	as_mail := by(keyless(github, "email", workflow, {}))
	exact := {"issuer": github, "san": {"kind": "uri", "value": workflow}}
	not signing.allowed with input as as_mail with data.witgate.signatures as [entry([exact])]
	as_uri := by(keyless("https://accounts.example", "uri", "ci@acme.example", {}))
	not signing.allowed with input as as_uri with data.witgate.signatures as [entry([mail])]
}

test_a9_1_look_alikes_never_match if {
	every value in [
		"https://github.com/acme",
		"https://github.com/acme/",
		"https://github.com/acme-evil/x",
		"https://github.com/acme.evil/x",
		"https://github.com/ACME/x",
		"https://GITHUB.com/acme/x",
		"https://github.com@evil.example/acme/x",
		"https://user@github.com/acme/x",
		"https://github.com./acme/x",
		"https://github.com:443/acme/x",
		"https://github.com//acme/x",
		"https://github.com/acme%2fx",
		"https://github.com/acme/%2F../x",
		"https://github.com/acme/%2e%2e/x",
		"https://github.com/acme/../evil/x",
		"https://github.com/acme/./x",
		"https://xn--gthub-zsa.com/acme/x",
		"https://g\u0131thub.com/acme/x",
		"https://github.com/acme/x\n",
		"https://github.com/acme/\u0000x",
		"https://github.com/acme/x y",
		"https://evil.example/https://github.com/acme/x",
		"http://github.com/acme/x",
		" https://github.com/acme/x",
		"https:/github.com/acme/x",
		"",
	] {
		not signing.allowed with input as by_uri(value) with data.witgate.signatures as [entry([acme])]
		refuse := signing.refuse with input as by_uri(value) with data.witgate.signatures as [entry([acme])]
		codes(refuse) == {"identity-mismatch"}
	}
}

test_a9_1_exact_is_exact if {
	exact := {"issuer": github, "san": {"kind": "uri", "value": workflow}}
	signing.allowed with input as by_uri(workflow) with data.witgate.signatures as [entry([exact])]
	not signing.allowed with input as by_uri(concat("", [workflow, "0"])) with data.witgate.signatures as [entry([exact])]
}

eight_times(text) := concat("", [text, text, text, text, text, text, text, text])

# 4096 letters.
long := eight_times(eight_times(eight_times("xxxxxxxx")))

# Each condition of `plain_uri` by one URI that breaks it alone.
test_a9_1_a_uri_that_can_be_read_in_two_ways_is_none if {
	signing.plain_uri("https://h.example:8443/a/b@refs/heads/x")
	every uri in [
		concat("", ["https://h/", long]),
		"https://h",
		"https://h/x/",
		"https//h/x",
		"://h/x",
		"HTTPS://h/x",
		"https:/h/x/y",
		"https://u@h/x",
		"https://H/x",
		"https://h%41/x",
		"https:///x/y",
		"https://.h/x",
		"https://h./x",
		"https://h..i/x",
		"https://h.:1/x",
		"https://h/x y",
		"https://h/x\n",
		"https://h/x\u0000",
		"https://h/\u00fc",
		"https://h/x\\y",
		"https://h/x%2Fy",
		"https://h/x%2ey",
		"https://h/x%5Cy",
		"https://h/x%252f",
		"https://h/x%00",
		"https://h/x%0a",
		"https://h/x%0D",
		"https://h/./x",
		"https://h/x/../y",
	] {
		not signing.plain_uri(uri)
	}
}

test_a9_1_an_address_that_can_be_read_in_two_ways_is_none if {
	signing.plain_email("ci+x@acme.example")
	every address in [
		concat("", ["a@", long]),
		"ci",
		"@acme.example",
		"ci@",
		"a@b@acme.example",
		"ci@acme.example\n",
		"c i@acme.example",
		"\u0000@acme.example",
	] {
		not signing.plain_email(address)
	}
}

test_a9_1_a_spiffe_id_that_can_be_read_in_two_ways_is_none if {
	signing.plain_spiffe("spiffe://prod.example/ns/shop")
	every id in ["https://prod.example/ns/shop", "prod.example/ns/shop", "spiffe://prod.example/ns//shop", "spiffe://prod.example/ns/shop?x", "spiffe://prod:1/x"] {
		not signing.plain_spiffe(id)
	}
}

test_a9_2_a_pattern_is_of_its_kind_only if {
	uris := {"issuer": github, "san": {"kind": "uri", "regExp": "https://github\\.com/acme/.*"}}
	not signing.allowed with input as by(keyless(github, "email", workflow, {})) with data.witgate.signatures as [entry([uris])]
	mails := {"issuer": github, "san": {"kind": "email", "regExp": ".*@acme\\.example"}}
	not signing.allowed with input as by(keyless(github, "uri", "https://h/x@acme.example", {}))
		with data.witgate.signatures as [entry([mails])]
	ids := {"issuer": github, "san": {"kind": "spiffe", "regExp": "https://github\\.com/acme/.*"}}
	not signing.allowed with input as by_uri(workflow) with data.witgate.signatures as [entry([ids])]
}

test_a8_2_a_threshold_of_0_wants_a_signature_all_the_same if {
	wanted := object.union(entry([acme]), {"threshold": 0})
	not signing.allowed with input as found([]) with data.witgate.signatures as [wanted]
}

test_a26_1_a_rejected_signature_is_nothing if {
	rejected := object.union(signed(keyless(github, "uri", workflow, {})), {"status": "rejected", "code": "log-unknown", "detail": ""})
	not signing.allowed with input as found([rejected]) with data.witgate.signatures as [entry([acme])]
	refuse := signing.refuse with input as found([rejected]) with data.witgate.signatures as [entry([acme])]
	codes(refuse) == {"no-verified-signature"}
}

test_a9_1_hosts_with_empty_labels_never_match if {
	every host in [".github.com", "github..com", "github.com.:443", ""] {
		not signing.plain_uri(concat("", ["https://", host, "/acme/x"]))
	}
}

test_threshold_wants_different_signers if {
	wanted := object.union(entry([acme, mail, {"key": "release"}]), {"threshold": 2})
	one := signed(keyless(github, "uri", workflow, {}))
	again := signed(keyless(github, "uri", workflow, {"build_trigger": "push"}))
	refuse := signing.refuse with input as found([one, again]) with data.witgate.signatures as [wanted]
	codes(refuse) == {"threshold-not-met"}
	some reason in refuse
	contains(reason.detail, "counts as 1 of 2 different signers")
	signing.allowed with input as found([one, signed(key("release"))]) with data.witgate.signatures as [wanted]
}

test_one_key_under_two_names_counts_once if {
	wanted := object.union(entry([{"key": "a"}, {"key": "b"}]), {"threshold": 2})
	twins := found([signed({"kind": "key", "name": "a", "keyid": "1"}), signed({"kind": "key", "name": "b", "keyid": "1"})])
	refuse := signing.refuse with input as twins with data.witgate.signatures as [wanted]
	codes(refuse) == {"threshold-not-met"}
	signing.allowed with input as found([signed(key("a")), signed(key("b"))]) with data.witgate.signatures as [wanted]
}

test_two_signers_of_one_identity_are_one_of_two if {
	wanted := object.union(entry([acme, mail]), {"threshold": 2})
	other := "https://github.com/acme/other/.github/workflows/x.yml@refs/heads/main"
	case := found([signed(keyless(github, "uri", workflow, {})), signed(keyless(github, "uri", other, {}))])
	refuse := signing.refuse with input as case with data.witgate.signatures as [wanted]
	codes(refuse) == {"threshold-not-met"}
}

# One signer is two identities, another is one of them: a matching exists, whichever is looked at first.
test_matching_is_exact if {
	narrow := {"issuer": github, "san": {"kind": "uri", "value": workflow}}
	other := "https://github.com/acme/other/.github/workflows/x.yml@refs/heads/main"
	case := found([signed(keyless(github, "uri", workflow, {})), signed(keyless(github, "uri", other, {}))])
	every identities in [[acme, narrow], [narrow, acme]] {
		wanted := object.union(entry(identities), {"threshold": 2})
		signing.allowed with input as case with data.witgate.signatures as [wanted]
	}
}

test_about_the_artifact_itself if {
	of_index := object.union(signed(key("a")), {"source": {"name": "sha256:1", "index": "sha256:2"}})
	wanted := object.union(entry([{"key": "a"}]), {"about": "artifact"})
	signing.allowed with input as found([of_index]) with data.witgate.signatures as [entry([{"key": "a"}])]
	refuse := signing.refuse with input as found([of_index]) with data.witgate.signatures as [wanted]
	codes(refuse) == {"no-verified-signature"}
	signing.allowed with input as by(key("a")) with data.witgate.signatures as [wanted]
}

test_a9_1_patterns_match_in_full if {
	pattern := {"issuer": github, "san": {"kind": "uri", "regExp": "https://github\\.com/acme/c.*"}}
	signing.allowed with input as by_uri(workflow) with data.witgate.signatures as [entry([pattern])]
	not signing.allowed with input as by_uri(concat("", ["https://evil.example/", workflow]))
		with data.witgate.signatures as [entry([pattern])]
	exact := {"issuer": github, "san": {"kind": "uri", "regExp": "https://github\\.com/acme/c"}}
	not signing.allowed with input as by_uri(workflow) with data.witgate.signatures as [entry([exact])]
}

named(authority, kind, value) := {"certificate": {"authority": authority, "san": {"kind": kind, "value": value}}}

test_certificate_of_an_own_authority if {
	signer := {"kind": "certificate", "authority": "own", "san": {"kind": "uri", "value": "spiffe://prod/ci/a"}}
	signing.allowed with input as by(signer) with data.witgate.signatures as [entry([named("own", "spiffe", "spiffe://prod/ci/*")])]
	not signing.allowed with input as by(signer) with data.witgate.signatures as [entry([named("other", "spiffe", "spiffe://prod/ci/*")])]
	not signing.allowed with input as by(signer) with data.witgate.signatures as [entry([named("own", "email", "spiffe://prod/ci/a")])]
}

test_a9_3_an_issuers_pattern_matches_in_full if {
	tenants := {"issuerRegExp": "https://id\\.example/[a-z]+", "san": acme.san}
	case := by(keyless("https://id.example/acme", "uri", workflow, {}))
	signing.allowed with input as case with data.witgate.signatures as [entry([tenants])]
	other := by(keyless("https://id.example/acme/x", "uri", workflow, {}))
	refuse := signing.refuse with input as other with data.witgate.signatures as [entry([tenants])]
	codes(refuse) == {"issuer-mismatch"}
	some reason in refuse
	contains(reason.detail, "that matches `https://id\\.example/[a-z]+`")
}
