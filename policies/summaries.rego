# METADATA
# title: Which other verifier must have passed it
# description: |
#   Reads `data.witgate.summaries`. Entries whose `references` cover the reference are ANDed; no entry asks for nothing. An
#   entry is satisfied by one SLSA verification summary of one of its `signers` that names the entry's verifier and resource,
#   says `PASSED`, and lists each of the entry's levels.
package witgate.verifying

import data.witgate.attested

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	some index, entry in data.witgate.summaries
	attested.covers(entry)
}

# METADATA
# title: The entries that one summary satisfies
satisfied contains index if {
	some index in matching
	entry := data.witgate.summaries[index]
	some finding in attested.by(entry.signers, "verification-summary")
	passes(entry, input.evidence.findings[finding].attests)
}

passes(entry, summary) if {
	summary.result == "PASSED"
	summary.verifier_id == entry.verifier_id
	summary.resource_uri == entry.resource_uri
	count(entry.levels) > 0
	count({level | some level in entry.levels} - {level | some level in summary.levels}) == 0
}

# METADATA
# title: Whether each entry is satisfied
default allowed := false

allowed if {
	count(data.witgate.signing.reference_patterns) > 0
	count(matching - satisfied) == 0
}

# METADATA
# title: Why an entry is not satisfied
# description: Nobody that may say so verified the artifact.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.summaries[index]
	count(attested.by(entry.signers, "verification-summary")) == 0
	reason := attested.missing(entry, entry.signers, "verification-summary", "verification summary")
}

# METADATA
# title: Why an entry is not satisfied
# description: The summary is of another verifier or resource, did not pass, or lacks a level.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.summaries[index]
	some finding in attested.by(entry.signers, "verification-summary")
	summary := input.evidence.findings[finding].attests
	reason := {
		"code": "attestation-missing",
		"about": input.evidence.findings[finding].source.name,
		"detail": sprintf("`%s` says %s of `%s` with %s, policy wants `%s` to say PASSED of `%s` with %s", [
			summary.verifier_id,
			summary.result,
			summary.resource_uri,
			concat(", ", summary.levels),
			entry.verifier_id,
			entry.resource_uri,
			concat(", ", entry.levels),
		]),
		"hint": "let that verifier verify it, or change `witgate.summaries` in the policy's data",
	}
}
