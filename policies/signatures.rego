# METADATA
# title: Who must have signed
# description: |
#   Reads `data.witgate.signatures`. Entries whose `references` cover the reference are ANDed; of the `identities` inside one
#   entry `threshold` must have signed, one where nothing is said; no entry, or an empty list, is satisfied by nobody. Only
#   verified findings are looked at.
package witgate.signing

import data.witgate.environments_of
import data.witgate.patterns

# METADATA
# title: The reference as entries name it
# description: The upstream with the repository, without tag or digest.
reference := concat("/", [input.reference.upstream, input.reference.repository])

reference_patterns := patterns.covering(reference) | {"*"}

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	# Bound once: in a loop, each use of a rule would look it up again.
	covering := reference_patterns
	some index, entry in data.witgate.signatures
	some pattern in entry.references
	pattern in covering
	environments_of.here(entry)
}

# METADATA
# title: Everything that verified, by its index in the findings
verified contains index if {
	some index, finding in input.evidence.findings
	finding.status == "verified"
}

# METADATA
# title: The verified signatures, by their index in the findings
# description: A verified attestation is no signature; a rejected finding is nothing at all.
signatures contains index if {
	some index in verified
	input.evidence.findings[index].kind == "signature"
}

# METADATA
# title: The entries that the verified signatures satisfy
satisfied contains index if {
	some index, number in counted
	number >= threshold(data.witgate.signatures[index])
}

threshold(entry) := object.get(entry, "threshold", 1)

# METADATA
# title: Whether everybody who must have signed has
default allowed := false

allowed if {
	count(matching) > 0
	count(signatures) > 0
	count(matching - satisfied) == 0
}

# METADATA
# title: The verified signatures that an entry looks at, by their index in the findings
# description: |
#   A signature of an index is one of what the index leads to, as cosign's users expect; `"about": "artifact"` looks at
#   signatures of the artifact itself only.
considered[index] := findings if {
	some index in matching
	findings := {finding |
		some finding in signatures
		about_matches(data.witgate.signatures[index], input.evidence.findings[finding].source)
	}
}

about_matches(entry, _) if object.get(entry, "about", "artifact-or-index") == "artifact-or-index"

about_matches(entry, source) if {
	entry.about == "artifact"
	not source.index
}

# METADATA
# title: Who signed, for each identity of an entry
# description: |
#   One set of signers for each identity, in the order of `identities`. A party is in it once, however many signatures,
#   certificates or names for its key it has.
signers[index] := sets if {
	some index in matching
	sets := [parties |
		some identity in data.witgate.signatures[index].identities
		parties := {party |
			some finding in considered[index]
			identity_matches(identity, finding)
			party := party_of(input.evidence.findings[finding].signer)
		}
	]
}

party_of(signer) := ["keyless", signer.issuer, signer.san] if signer.kind == "keyless"

party_of(signer) := ["key", signer.keyid] if signer.kind == "key"

party_of(signer) := ["certificate", signer.authority, signer.san] if signer.kind == "certificate"

# METADATA
# title: How many different signers stand for different identities of an entry
# description: |
#   For one signature, whether somebody signed. For more, the size of the largest matching between identities and signers:
#   by Hall's theorem (with König's deficiency) the smallest of `identities outside S + signers of S` over all subsets S of
#   the identities. Neither one signer who is two identities nor two signers who are one identity count twice.
counted[index] := min([1, count(everybody(index))]) if {
	some index in matching
	threshold(data.witgate.signatures[index]) <= 1
}

counted[index] := min({number |
	some high in nibbles
	some low in nibbles
	subset := (high * 16) + low
	bits.rsh(subset, identities) == 0
	inside := [signers[index][position] | some position in positions; bits.and(bits.rsh(subset, position), 1) == 1]
	number := (identities - count(inside)) + count(union({set_ | some set_ in inside}))
}) if {
	some index in matching
	threshold(data.witgate.signatures[index]) > 1
	identities := count(signers[index])
	identities <= 8
}

everybody(index) := union({parties | some parties in signers[index]})

# The subsets of at most 8 identities are the numbers of two nibbles.
nibbles := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]

positions := [0, 1, 2, 3, 4, 5, 6, 7]

# METADATA
# title: What a signer's subject is called, by kind, for each verified signature
# description: |
#   An e-mail address is itself; a URI is itself with its folders, such as `https://github.com/acme/*`; a SPIFFE ID is a URI
#   as well. What can be read in two ways is nothing at all.
subjects[finding] := {"email": {san.value}} if {
	some finding in verified
	san := input.evidence.findings[finding].signer.san
	san.kind == "email"
	plain_email(san.value)
}

subjects[finding] := kinds_of_uri(san.value, patterns.covering(san.value)) if {
	some finding in verified
	san := input.evidence.findings[finding].signer.san
	san.kind == "uri"
	plain_uri(san.value)
}

kinds_of_uri(uri, covering) := {"uri": covering, "spiffe": covering} if plain_spiffe(uri)

kinds_of_uri(uri, covering) := {"uri": covering} if not plain_spiffe(uri)

# METADATA
# title: Whether a verified signature is by the one an identity names
# description: |
#   Subject with its kind, issuer, every claim, root, all within one identity; or the name of a managed key; or an own
#   authority with the subject of its certificate. The gateway writes out short forms such as `github` when it loads data.
identity_matches(identity, finding) if {
	signer := input.evidence.findings[finding].signer
	signer.kind == "keyless"
	subject_matches(identity.san, finding)
	issuer_matches(identity, signer.issuer)
	claims_match(identity, signer)
	object.get(identity, "trust", input.evidence.findings[finding].trust) == input.evidence.findings[finding].trust
}

identity_matches(identity, finding) if {
	signer := input.evidence.findings[finding].signer
	signer.kind == "key"
	signer.name == identity.key
}

identity_matches(identity, finding) if {
	signer := input.evidence.findings[finding].signer
	signer.kind == "certificate"
	signer.authority == identity.certificate.authority
	subject_matches(identity.certificate.san, finding)
}

# METADATA
# title: Whether a subject is the one an identity names
# description: Exactly, or by a folder of URIs, or by a pattern that has to match all of it; never across kinds.
subject_matches(wanted, finding) if wanted.value in subjects[finding][wanted.kind]

subject_matches(wanted, finding) if {
	subjects[finding][wanted.kind]
	matches_all(wanted.regExp, input.evidence.findings[finding].signer.san.value)
}

issuer_matches(identity, issuer) if identity.issuer == issuer

issuer_matches(identity, issuer) if {
	plain_uri(issuer)
	matches_all(identity.issuerRegExp, issuer)
}

# METADATA
# title: Whether a pattern matches all of a text
# description: Never a part of it, as cosign's own patterns do.
matches_all(pattern, text) if regex.match(concat("", ["\\A(?:", pattern, ")\\z"]), text)

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
#   no `.` and `..` folders, no folder without a name in it. Others never match, whatever the entry says.
plain_uri(uri) if {
	count(uri) <= 2048
	parts := split(uri, "/")
	count(parts) > 3
	parts[count(parts) - 1] != ""
	endswith(parts[0], ":")
	scheme := trim_suffix(parts[0], ":")
	scheme != ""
	trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-") == ""
	parts[1] == ""
	trim(parts[2], "abcdefghijklmnopqrstuvwxyz0123456789.-:") == ""
	parts[2] != ""
	not startswith(parts[2], ".")
	not endswith(parts[2], ".")
	not contains(parts[2], "..")
	not contains(parts[2], ".:")
	trim(uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()+,;=:@/%?#") == ""
	not hides_a_separator(lower(uri))
	count({part | some part in parts; part in {".", ".."}}) == 0
}

# METADATA
# title: Whether a URI that can be read in one way only is a SPIFFE ID
# description: SPIFFE-ID §2, with a path; no port, query, fragment or empty folder.
plain_spiffe(uri) if {
	startswith(uri, "spiffe://")
	rest := trim_prefix(uri, "spiffe://")
	trim(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/") == ""
	not contains(rest, "//")
}

# METADATA
# title: Whether an e-mail address can be read in one way only
plain_email(address) if {
	count(address) <= 2048
	parts := split(address, "@")
	count(parts) == 2
	parts[0] != ""
	parts[1] != ""
	trim(address, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!\"#$%&'()+,-./:;<=>?@[\\]^_`{|}~") == ""
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
# description: Signatures of an index verified, and the entry looks at those of the artifact itself only.
refuse contains reason if {
	count(signatures) > 0
	some index in matching - satisfied
	count(considered[index]) == 0
	reason := {
		"code": "no-verified-signature",
		"about": reference,
		"detail": sprintf("no signature of the artifact itself verified, only of an index; looked in %s; %s", [looked_in, rejected]),
		"hint": "sign the artifact itself with `cosign sign`, or say `\"about\": \"artifact-or-index\"` in the entry",
	}
}

# METADATA
# title: Why nobody who must have signed has
# description: Something verified, and the entry names others.
refuse contains reason if {
	some index in matching - satisfied
	count(everybody(index)) == 0
	some finding in considered[index]
	reason := mismatch(data.witgate.signatures[index], finding)
}

# METADATA
# title: Why not everybody who must have signed has
# description: Somebody whom the entry names signed, and it wants more.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.signatures[index]
	some number in {counted[index]}
	count(everybody(index)) > 0
	reason := {
		"code": "threshold-not-met",
		"about": reference,
		"detail": sprintf("%s; that counts as %d of %d different signers, policy wants %d of %s", [
			concat(" and ", who_counts(index)),
			number,
			threshold(entry),
			threshold(entry),
			wanted_by(entry),
		]),
		"hint": "have another of the named identities sign with `cosign sign`; one party counts once",
	}
}

who_counts(index) := {text |
	some finding in considered[index]
	some identity in data.witgate.signatures[index].identities
	identity_matches(identity, finding)
	text := signed_by(input.evidence.findings[finding].signer)
}

mismatch(entry, finding) := {
	"code": "issuer-mismatch",
	"about": signer_name(signer),
	"detail": sprintf("%s, policy wants issuer %s", [signed_by(signer), concat(" or ", wanted_issuers(entry, finding))]),
	"hint": "sign with the issuer that policy names, or name this one in `witgate.signatures`",
} if {
	signer := input.evidence.findings[finding].signer
	count(wanted_issuers(entry, finding)) > 0
}

mismatch(entry, finding) := {
	"code": "identity-mismatch",
	"about": signer_name(signer),
	"detail": sprintf("%s, policy wants %s", [signed_by(signer), wanted_by(entry)]),
	"hint": "sign as an identity that policy names, or name this one in `witgate.signatures`",
} if {
	signer := input.evidence.findings[finding].signer
	count(wanted_issuers(entry, finding)) == 0
}

# METADATA
# title: The issuers of the identities whose subject this is
# description: Where there are any, only the issuer differs.
wanted_issuers(entry, finding) := {text |
	signer := input.evidence.findings[finding].signer
	signer.kind == "keyless"
	some identity in entry.identities
	subject_matches(identity.san, finding)
	claims_match(identity, signer)
	not issuer_matches(identity, signer.issuer)
	text := issuer_text(identity)
}

issuer_text(identity) := sprintf("`%s`", [identity.issuer])

issuer_text(identity) := sprintf("that matches `%s`", [identity.issuerRegExp])

signer_name(signer) := signer.san.value if signer.kind in {"keyless", "certificate"}

signer_name(signer) := signer.name if signer.kind == "key"

signer_name(signer) := signer.issuer if signer.kind == "legacy-nkey"

signed_by(signer) := sprintf("signed by `%s` (issuer `%s`)", [signer.san.value, signer.issuer]) if {
	signer.kind == "keyless"
}

signed_by(signer) := sprintf("signed by key `%s`", [signer.name]) if signer.kind == "key"

signed_by(signer) := sprintf("signed by `%s` (certificate of `%s`)", [signer.san.value, signer.authority]) if {
	signer.kind == "certificate"
}

signed_by(signer) := sprintf("signed by nkey `%s`", [signer.issuer]) if signer.kind == "legacy-nkey"

wanted_by(entry) := "nobody: its list of identities is empty" if count(entry.identities) == 0

wanted_by(entry) := concat(" or ", {text |
	some identity in entry.identities
	text := concat(" with ", array.concat([wanted_name(identity)], wanted_more(identity)))
}) if {
	count(entry.identities) > 0
}

wanted_name(identity) := sprintf("key `%s`", [identity.key])

wanted_name(identity) := subject_text(identity.san)

wanted_name(identity) := sprintf("a certificate of `%s` for %s", [
	identity.certificate.authority,
	subject_text(identity.certificate.san),
])

subject_text(san) := sprintf("`%s`", [san.value])

subject_text(san) := sprintf("%s that matches `%s`", [subject_kinds[san.kind], san.regExp])

subject_kinds := {"uri": "a URI", "email": "an e-mail address", "spiffe": "a SPIFFE ID"}

wanted_more(identity) := [text |
	texts := {text | some name, value in object.get(identity, "claims", {}); text := sprintf("%s `%s`", [name, value])}
	roots := {text | text := sprintf("root `%s`", [identity.trust])}
	count(texts | roots) > 0
	text := concat(", ", texts | roots)
]

# METADATA
# title: Where was looked, and for what
looked_in := concat(", ", [sprintf("%s%s", [place, object.get(formats, place, "")]) |
	some place in input.evidence.looked_in
]) if {
	count(input.evidence.looked_in) > 0
}

looked_in := "no place" if count(input.evidence.looked_in) == 0

formats := {
	"referrers-api": " (Sigstore bundles)",
	"fallback-tag": " (Sigstore bundles)",
	"cosign-tags": " (signatures of cosign 2)",
	"component": " (a wasmCloud 1.x token)",
	"file": " (Sigstore bundles)",
}

candidates_rejected contains text if {
	some finding in input.evidence.findings
	finding.status == "rejected"
	text := sprintf("`%s` rejected: %s", [finding.source.name, finding.code])
}

candidates_rejected contains text if {
	some finding in input.evidence.findings
	finding.status == "verified"
	finding.kind != "signature"
	text := sprintf("`%s` is %s, no signature", [finding.source.name, object.get(other_kinds, finding.kind, finding.kind)])
}

other_kinds := {"attestation": "an attestation", "wascap-claims": "a wasmCloud 1.x token"}

rejected := concat("; ", candidates_rejected) if count(candidates_rejected) > 0

rejected := "found no candidate" if count(candidates_rejected) == 0
