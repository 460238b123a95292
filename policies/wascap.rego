# METADATA
# title: Until when a wasmCloud 1.x token may stand in for a signature
# description: |
#   Reads `data.witgate.wascap`. An entry is a permission: one that names the reference and the token's issuer, before its
#   sunset, is enough; no entry, or an empty list, is no permission. A token stands in for a signature that is missing, and
#   lifts nothing else. Only verified findings are looked at.
package witgate.legacy

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	covering := data.witgate.signing.reference_patterns
	some index, entry in data.witgate.wascap
	some pattern in entry.references
	pattern in covering
}

# METADATA
# title: The verified tokens, by their index in the findings
# description: A component has one at most.
tokens contains index if {
	some index, finding in input.evidence.findings
	finding.status == "verified"
	finding.kind == "wascap-claims"
	finding.signer.kind == "legacy-nkey"
}

# METADATA
# title: The entries that name a token's issuer, with its subject where they name any, by their index
named contains index if {
	some index in matching
	entry := data.witgate.wascap[index]
	some token in tokens
	signer := input.evidence.findings[token].signer
	signer.issuer in entry.issuers
	subject_matches(entry, signer)
}

# METADATA
# title: Whether an entry names the subject, or leaves it open
# description: An empty list names nobody.
subject_matches(entry, signer) if signer.subject in entry.subjects

subject_matches(entry, _) if not "subjects" in object.keys(entry)

# METADATA
# title: The entries that name a token, and whose sunset has not come
open contains index if {
	some index in named
	time.parse_rfc3339_ns(input.time) < time.parse_rfc3339_ns(data.witgate.wascap[index].sunset)
}

# METADATA
# title: Whether a token stands in for a signature
default allowed := false

allowed if count(open) > 0

# METADATA
# title: Whether a reason to refuse is lifted by a token
# description: That nothing is signed, and no other.
lifts(reason) if {
	allowed
	reason.code == "no-verified-signature"
}

# METADATA
# title: The token was good until its sunset
refuse contains reason if {
	not data.witgate.signing.allowed
	count(open) == 0
	some index in named
	some token in tokens
	sunset := data.witgate.wascap[index].sunset
	reason := {
		"code": "legacy-sunset",
		"about": input.evidence.findings[token].signer.issuer,
		"detail": sprintf("%s, which stood in for a signature until `%s`", [signed_by(token), sunset]),
		"hint": "sign the artifact with `cosign sign`, or move the sunset in `witgate.wascap` of the policy's data",
	}
}

# METADATA
# title: The token is by somebody whom no entry names
refuse contains reason if {
	not data.witgate.signing.allowed
	count(matching) > 0
	count(named) == 0
	some token in tokens
	reason := {
		"code": "identity-mismatch",
		"about": input.evidence.findings[token].signer.issuer,
		"detail": sprintf("%s, policy wants %s", [signed_by(token), wanted]),
		"hint": "sign the artifact with `cosign sign`, or name the issuer in `witgate.wascap` of the policy's data",
	}
}

# METADATA
# title: A token stands in, and will not for ever
warn contains reason if {
	not data.witgate.signing.allowed
	some index in open
	some token in tokens
	sunset := data.witgate.wascap[index].sunset
	reason := {
		"code": "legacy-signature",
		"about": input.evidence.findings[token].signer.issuer,
		"detail": sprintf("%s, which stands in for a signature until `%s`", [signed_by(token), sunset]),
		"hint": "sign the artifact with `cosign sign` before then",
	}
}

signed_by(token) := sprintf("wasmCloud 1.x token by `%s` for `%s`", [signer.issuer, signer.subject]) if {
	signer := input.evidence.findings[token].signer
}

wanted := concat(" or ", issuers_wanted) if count(issuers_wanted) > 0

wanted := "nobody: its lists of issuers are empty" if count(issuers_wanted) == 0

issuers_wanted contains text if {
	some index in matching
	entry := data.witgate.wascap[index]
	some issuer in entry.issuers
	text := sprintf("`%s`%s", [issuer, subjects_wanted(entry)])
}

subjects_wanted(entry) := sprintf(" for %s", [concat(" or ", [text |
	some subject in entry.subjects
	text := sprintf("`%s`", [subject])
])]) if {
	"subjects" in object.keys(entry)
}

subjects_wanted(entry) := "" if not "subjects" in object.keys(entry)
