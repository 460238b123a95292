# METADATA
# title: Who must have built it from what
# description: |
#   Reads `data.witgate.provenance`. Entries whose `references` cover the reference are ANDed; no entry asks for nothing. An
#   entry is satisfied by one SLSA provenance of one of its `signers` in which everything holds that the entry says. The
#   options are slsa-verifier's: builder, source, branch, tag, versioned tag.
package witgate.building

import data.witgate.attested

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	some index, entry in data.witgate.provenance
	attested.covers(entry)
}

# METADATA
# title: The entries that one provenance satisfies
satisfied contains index if {
	some index in matching
	entry := data.witgate.provenance[index]
	some finding in attested.by(entry.signers, "slsa-provenance")
	count(differences(entry, input.evidence.findings[finding].attests)) == 0
}

# METADATA
# title: Whether each entry is satisfied
default allowed := false

allowed if {
	count(data.witgate.signing.reference_patterns) > 0
	count(matching - satisfied) == 0
}

# METADATA
# title: What one provenance says otherwise than an entry
# description: Each condition says what must be there; what is absent differs.
differences(entry, provenance) := {difference |
	some field in ["builder_id", "source_uri", "source_branch", "source_tag", "source_versioned_tag", "build_type"]
	wanted := entry[field]
	not holds(field, wanted, provenance)
	difference := sprintf("%s `%s`, policy wants `%s`", [field, said(field, provenance), wanted])
}

holds("builder_id", wanted, provenance) if provenance.builder_id == wanted

# A builder without a ref is any full release of it, never a branch.
holds("builder_id", wanted, provenance) if {
	not contains(wanted, "@")
	parts := split(provenance.builder_id, "@refs/tags/")
	count(parts) == 2
	parts[0] == wanted
	is_release(parts[1])
}

# A tag may be written as slsa-verifier takes it: `NAME@v1.2.3`.
holds("builder_id", wanted, provenance) if {
	parts := split(wanted, "@")
	count(parts) == 2
	not contains(parts[1], "/")
	provenance.builder_id == concat("@refs/tags/", parts)
}

holds("source_uri", wanted, provenance) if provenance.source.uri == wanted

holds("source_branch", wanted, provenance) if provenance.source.branch == wanted

holds("source_tag", wanted, provenance) if provenance.source.tag == wanted

# `v1` is any release of major version 1, `v1.2` any of 1.2, `v1.2.3` that one; pre-releases are none.
holds("source_versioned_tag", wanted, provenance) if {
	is_release(provenance.source.tag)
	startswith(concat("", [provenance.source.tag, "."]), concat("", [wanted, "."]))
}

holds("build_type", wanted, provenance) if provenance.build_type == wanted

is_release(tag) if regex.match(`^v(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}$`, tag)

said("builder_id", provenance) := object.get(provenance, "builder_id", "none")

said("source_uri", provenance) := object.get(provenance, ["source", "uri"], "none")

said("source_branch", provenance) := object.get(provenance, ["source", "branch"], "none")

said("source_tag", provenance) := object.get(provenance, ["source", "tag"], "none")

said("source_versioned_tag", provenance) := object.get(provenance, ["source", "tag"], "none")

said("build_type", provenance) := object.get(provenance, "build_type", "none")

# METADATA
# title: Why an entry is not satisfied
# description: Nobody that may say so said how the artifact was built.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.provenance[index]
	count(attested.by(entry.signers, "slsa-provenance")) == 0
	reason := attested.missing(entry, entry.signers, "slsa-provenance", "provenance")
}

# METADATA
# title: Why an entry is not satisfied
# description: It was built otherwise than the entry says.
refuse contains reason if {
	some index in matching - satisfied
	entry := data.witgate.provenance[index]
	some finding in attested.by(entry.signers, "slsa-provenance")
	reason := {
		"code": "provenance-mismatch",
		"about": input.evidence.findings[finding].source.name,
		"detail": concat("; ", differences(entry, input.evidence.findings[finding].attests)),
		"hint": "build it as policy wants, or change `witgate.provenance` in the policy's data",
	}
}
