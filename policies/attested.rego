# METADATA
# title: What verified attestations say
# description: |
#   Only findings that verified are looked at, by what `attests` holds: the predicate read in full. A rule names one finding
#   and takes signer and content from that one alone, so that a believed signer never vouches for the words of another.
package witgate.attested

import data.witgate.signing

# METADATA
# title: Whether an entry speaks about this reference
covers(entry) if {
	some pattern in entry.references
	pattern in data.witgate.signing.reference_patterns
}

# METADATA
# title: The attestations of one type by one of some signers, by their index in the findings
# description: The signers are identities as `data.witgate.signatures` has them. No signers are nobody.
by(signers, type) := {index |
	some index, finding in input.evidence.findings
	finding.status == "verified"
	finding.kind == "attestation"
	finding.attests.type == type
	some identity in signers
	data.witgate.signing.identity_matches(identity, index)
}

# METADATA
# title: The time of the decision, in nanoseconds
now_ns := time.parse_rfc3339_ns(input.time)

# METADATA
# title: How far ahead of the gateway's clock another one may be, in nanoseconds
skew_ns := 60000000000

# METADATA
# title: Why there is no attestation of a type by one of some signers
missing(entry, signers, type, what) := {
	"code": "attestation-missing",
	"about": data.witgate.signing.reference,
	"detail": sprintf("no %s by a signer that policy names; %s", [what, found(type)]),
	"hint": sprintf("attach one with `cosign attest`, or see each candidate with `witgate verify`: %s", [wanted(entry, signers)]),
}

wanted(entry, signers) := sprintf("policy wants %s for `%s`", [
	signing.wanted_by({"identities": signers}),
	concat("`, `", entry.references),
])

seen(type) := {text |
	some finding in input.evidence.findings
	finding.status == "verified"
	finding.kind == "attestation"
	text := shown(finding, type)
} | {text |
	some finding in input.evidence.findings
	finding.status == "rejected"
	text := sprintf("`%s` rejected: %s", [finding.source.name, finding.code])
}

shown(finding, type) := sprintf("`%s` is by `%s`", [finding.source.name, signing.signer_name(finding.signer)]) if {
	finding.attests.type == type
}

shown(finding, type) := sprintf("`%s` says `%s`", [finding.source.name, finding.predicate_type]) if {
	object.get(finding, ["attests", "type"], "") != type
}

found(type) := concat("; ", seen(type)) if count(seen(type)) > 0

found(type) := "found no attestation" if count(seen(type)) == 0
