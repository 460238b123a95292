# METADATA
# title: How old an artifact may be
# description: |
#   Reads `data.witgate.versions`. Whoever can push to a repository can push an old component again, with its old and good
#   signature; a minimum version refuses it. The version is the manifest's annotation `org.opencontainers.image.version`,
#   which the signed digest covers. Every entry that covers the reference has to be met; without one anything goes.
package witgate.versioning

import data.witgate.ranges

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	covering := data.witgate.signing.reference_patterns
	some index, entry in data.witgate.versions
	some pattern in entry.references
	pattern in covering
}

# METADATA
# title: The version that the artifact says it is, without a leading `v`
# description: Undefined where it says none, or something that is no semantic version.
version := text if {
	text := trim_prefix(input.artifact.annotations["org.opencontainers.image.version"], "v")
	ranges.valid(text)
}

# METADATA
# title: The entries whose minimum the artifact reaches
# description: Said with what must be there, so that a missing or odd version meets none. Build metadata is not compared.
met contains index if {
	some index in matching
	semver.compare(version, data.witgate.versions[index].minimum) >= 0
}

# METADATA
# title: Whether no entry is left unmet
default allowed := false

allowed if {
	count(data.witgate.signing.reference_patterns) > 0
	count(matching - met) == 0
}

refuse contains reason if {
	some index in matching - met
	reason := {
		"code": "version-rollback",
		"about": data.witgate.signing.reference,
		"detail": sprintf("%s, policy wants `%s` or later", [said, data.witgate.versions[index].minimum]),
		"hint": hint,
	}
}

said := sprintf("the artifact is version `%s`", [version])

said := "the artifact does not say its version" if {
	not input.artifact.annotations["org.opencontainers.image.version"]
}

said := sprintf("`%s` is no semantic version", [text]) if {
	not version
	text := input.artifact.annotations["org.opencontainers.image.version"]
}

hint := "ask for a newer version, or lower `minimum` in `witgate.versions` of the policy's data" if version

hint := "push it with the annotation `org.opencontainers.image.version`, such as `1.4.0`" if not version
