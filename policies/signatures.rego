# METADATA
# title: Who must have signed
# description: |
#   Reads `data.witgate.signatures`. Entries whose `references` cover the reference are ANDed; the `identities` inside one
#   entry are ORed; no entry, or an empty list, is satisfied by nobody. Only verified findings are looked at.
package witgate.signing

import data.witgate.patterns

# METADATA
# title: The reference as entries name it
# description: The upstream with the repository, without tag or digest.
reference := concat("/", [input.reference.upstream, input.reference.repository])

reference_patterns := patterns.covering(reference) | {"*"}

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	some index, entry in data.witgate.signatures
	some pattern in entry.references
	pattern in reference_patterns
}

# METADATA
# title: The verified signatures, by their index in the findings
# description: A verified attestation is no signature; a rejected finding is nothing at all.
signatures contains index if {
	some index, finding in input.evidence.findings
	finding.status == "verified"
	finding.kind == "signature"
}

# METADATA
# title: The entries that a verified signature satisfies
satisfied contains index if {
	some index in matching
	some identity in data.witgate.signatures[index].identities
	some finding in signatures
	identity_matches(identity, input.evidence.findings[finding].signer)
}

# METADATA
# title: Whether everybody who must have signed has
default allowed := false

allowed if {
	count(matching) > 0
	count(signatures) > 0
	count(matching - satisfied) == 0
}

# METADATA
# title: Whether a signer is the one an identity names
# description: Issuer, subject with its kind, then every claim, all within one identity; or the name of a managed key.
identity_matches(identity, signer) if {
	signer.kind == "keyless"
	signer.issuer == identity.issuer
	subject_matches(identity.san, signer.san)
	claims_match(identity, signer)
}

identity_matches(identity, signer) if {
	signer.kind == "key"
	signer.name == identity.key
}

# METADATA
# title: Whether a subject is the one an identity names
# description: An e-mail address matches exactly; a URI exactly, or by a folder pattern such as `https://github.com/acme/*`.
subject_matches(wanted, san) if {
	wanted.kind == "email"
	san.kind == "email"
	san.value == wanted.value
}

subject_matches(wanted, san) if {
	wanted.kind == "uri"
	san.kind == "uri"
	plain_uri(san.value)
	wanted.value in patterns.covering(san.value)
}

# METADATA
# title: Whether every claim that an identity asks for is there and equal
# description: A claim that is asked for and absent is a mismatch.
claims_match(identity, signer) if {
	wanted := object.get(identity, "claims", {})
	held := {name | some name, value in wanted; signer.claims[name] == value}
	count(held) == count(wanted)
}

# METADATA
# title: Whether a URI can be read in one way only
# description: |
#   No user information, no upper-case, non-ASCII or dotted-off host, no control characters, no encoded slashes or dots,
#   no `.` and `..` folders. Others never match, whatever the entry says.
plain_uri(uri) if {
	parts := split(uri, "/")
	count(parts) > 3
	endswith(parts[0], ":")
	parts[1] == ""
	trim(parts[2], "abcdefghijklmnopqrstuvwxyz0123456789.-:") == ""
	parts[2] != ""
	not startswith(parts[2], ".")
	not endswith(parts[2], ".")
	not contains(parts[2], "..")
	not contains(parts[2], ".:")
	trim(uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/%?#") == ""
	not hides_a_separator(lower(uri))
	count({part | some part in parts; part in {".", ".."}}) == 0
}

hides_a_separator(uri) if {
	some encoded in ["%2f", "%2e", "%5c", "%25", "%00", "%0a", "%0d"]
	contains(uri, encoded)
}

# METADATA
# title: Why nobody who must have signed has
# description: Nothing verified at all.
refuse contains reason if {
	count(signatures) == 0
	reason := {
		"code": "no-verified-signature",
		"about": reference,
		"detail": sprintf("no signature verified; looked in %s; %s", [looked_in, rejected]),
		"hint": "sign the artifact with `cosign sign`, or see each candidate with `witgate verify`",
	}
}

# METADATA
# title: Why nobody who must have signed has
# description: Something verified, and no entry names this reference.
refuse contains reason if {
	count(matching) == 0
	some finding in signatures
	signer := input.evidence.findings[finding].signer
	reason := {
		"code": "identity-mismatch",
		"about": signer_name(signer),
		"detail": sprintf("%s, policy names nobody for `%s`", [signed_by(signer), reference]),
		"hint": sprintf("add an entry for `%s` to `witgate.signatures` in the policy's data", [reference]),
	}
}

# METADATA
# title: Why nobody who must have signed has
# description: Something verified, and the entry names others.
refuse contains reason if {
	some index in matching - satisfied
	some finding in signatures
	signer := input.evidence.findings[finding].signer
	reason := mismatch(data.witgate.signatures[index], signer)
}

mismatch(entry, signer) := {
	"code": "issuer-mismatch",
	"about": signer_name(signer),
	"detail": sprintf("%s, policy wants issuer %s", [signed_by(signer), wanted_issuers(entry, signer)]),
	"hint": "sign with the issuer that policy names, or name this one in `witgate.signatures`",
} if {
	only_issuer_differs(entry, signer)
}

mismatch(entry, signer) := {
	"code": "identity-mismatch",
	"about": signer_name(signer),
	"detail": sprintf("%s, policy wants %s", [signed_by(signer), wanted_by(entry)]),
	"hint": "sign as an identity that policy names, or name this one in `witgate.signatures`",
} if {
	not only_issuer_differs(entry, signer)
}

# METADATA
# title: Whether the subject is named, but with another issuer
only_issuer_differs(entry, signer) if {
	signer.kind == "keyless"
	some identity in entry.identities
	subject_matches(identity.san, signer.san)
	claims_match(identity, signer)
	identity.issuer != signer.issuer
}

wanted_issuers(entry, signer) := concat(" or ", {text |
	some identity in entry.identities
	subject_matches(identity.san, signer.san)
	text := sprintf("`%s`", [identity.issuer])
})

signer_name(signer) := signer.san.value if signer.kind == "keyless"

signer_name(signer) := signer.name if signer.kind == "key"

signed_by(signer) := sprintf("signed by `%s` (issuer `%s`)", [signer.san.value, signer.issuer]) if {
	signer.kind == "keyless"
}

signed_by(signer) := sprintf("signed by key `%s`", [signer.name]) if signer.kind == "key"

wanted_by(entry) := "nobody: its list of identities is empty" if count(entry.identities) == 0

wanted_by(entry) := concat(" or ", {text |
	some identity in entry.identities
	text := wanted_text(identity)
}) if {
	count(entry.identities) > 0
}

wanted_text(identity) := sprintf("key `%s`", [identity.key])

wanted_text(identity) := sprintf("`%s`", [identity.san.value]) if {
	count(object.get(identity, "claims", {})) == 0
}

wanted_text(identity) := sprintf("`%s` with %s", [identity.san.value, concat(", ", claims)]) if {
	claims := {text | some name, value in identity.claims; text := sprintf("%s `%s`", [name, value])}
	count(claims) > 0
}

looked_in := concat(", ", input.evidence.looked_in) if count(input.evidence.looked_in) > 0

looked_in := "no place" if count(input.evidence.looked_in) == 0

candidates_rejected contains text if {
	some finding in input.evidence.findings
	finding.status == "rejected"
	text := sprintf("`%s` rejected: %s", [finding.source.name, finding.code])
}

candidates_rejected contains text if {
	some finding in input.evidence.findings
	finding.status == "verified"
	finding.kind != "signature"
	text := sprintf("`%s` is an attestation, no signature", [finding.source.name])
}

rejected := concat("; ", candidates_rejected) if count(candidates_rejected) > 0

rejected := "found no candidate" if count(candidates_rejected) == 0
