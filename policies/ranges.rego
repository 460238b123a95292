# METADATA
# title: Versions and ranges of them
# description: |
#   A version is a semantic one, in the one spelling that every evaluator of Rego reads alike. No leading `v`, and no number
#   of more than 15 digits, which some compare and others never come back from. A range is bounds with a blank between them,
#   `>=1.2.0 <1.4.5`, all of which hold.
package witgate.ranges

# METADATA
# title: Whether a text is a semantic version
valid(text) if {
	semver.is_valid(text)
	not startswith(text, "v")
	not regex.match(`[0-9]{16}`, text)
}

# METADATA
# title: Whether a text is a range
is_range(text) if startswith(text, "<")

is_range(text) if startswith(text, ">")

# METADATA
# title: A version in front of its build, without the `v` that some write
plain(version) := trim_prefix(split(version, "+")[0], "v")

# METADATA
# title: A version as it is, and as the release that its pre-release becomes
# description: |
#   `1.2.3-1ubuntu2` is later than `1.2.3` for Debian and earlier for semver, so both are compared.
forms(version) := {plain(version), split(plain(version), "-")[0]}

# METADATA
# title: Whether a version is in a range
holds(version, range) if {
	valid(version)
	bounds := split(range, " ")
	count([bound | some bound in bounds; meets(version, bound)]) == count(bounds)
}

meets(version, bound) if {
	startswith(bound, ">=")
	semver.compare(version, substring(bound, 2, -1)) >= 0
}

meets(version, bound) if {
	startswith(bound, "<=")
	semver.compare(version, substring(bound, 2, -1)) <= 0
}

meets(version, bound) if {
	startswith(bound, ">")
	not startswith(bound, ">=")
	semver.compare(version, substring(bound, 1, -1)) > 0
}

meets(version, bound) if {
	startswith(bound, "<")
	not startswith(bound, "<=")
	semver.compare(version, substring(bound, 1, -1)) < 0
}
