# METADATA
# title: Which WIT interfaces may not be imported, and what an upgrade may not add
# description: |
#   Reads `data.witgate.import_rules`. Entries that cover the reference, and the caller where they name any, are ANDed; no
#   entry asks for nothing. Grants say what may be linked; these rules say what nobody may have, whatever is granted.
package witgate.importing

import data.witgate.environments_of
import data.witgate.ranges

# METADATA
# title: The entries that speak about this reference and caller, by their index
matching contains index if {
	some index, entry in data.witgate.import_rules
	some pattern in entry.references
	pattern in data.witgate.signing.reference_patterns
	environments_of.here(entry)
	names_caller(entry)
}

names_caller(entry) if not "callers" in object.keys(entry)

names_caller(entry) if {
	some pattern in entry.callers
	pattern in data.witgate.admission.caller_patterns
}

# METADATA
# title: Every form in which a rule may name an import
# description: |
#   The name itself, its track, the interface in every version, the package on its track, the package, `*`.
forms(import_) := ({import_.name, import_.track, "*"} | {split(import_.name, "@")[0]}) | package_forms(import_)

package_forms(import_) := {concat("", [import_.package, "/*"])} | {form |
	parts := split(import_.track, "@")
	count(parts) == 2
	form := concat("", [import_.package, "/*@", parts[1]])
} if {
	import_.package
}

package_forms(import_) := set() if not import_.package

# METADATA
# title: The packages and bare names that entries speak of, so that other imports cost one look-up
concerned[index] := {subject(pattern.pattern) | some pattern in data.witgate.import_rules[index].deny} if {
	some index in matching
	"deny" in object.keys(data.witgate.import_rules[index])
}

watched[index] := {subject(pattern) | some pattern in object.get(data.witgate.import_rules[index], "watch", ["*"])} if {
	some index in matching
	"new_imports" in object.keys(data.witgate.import_rules[index])
}

subject(pattern) := split(split(pattern, "@")[0], "/")[0]

is_concerned(subjects, _) if "*" in subjects

is_concerned(subjects, import_) if import_.package in subjects

is_concerned(subjects, import_) if split(import_.name, "@")[0] in subjects

# METADATA
# title: The imports that entries deny, as triples of index, name and what the entry says
denied contains [index, import_.name, said(pattern)] if {
	some index, subjects in concerned
	some import_ in input.surface.imports
	is_concerned(subjects, import_)
	covering := forms(import_)
	some pattern in data.witgate.import_rules[index].deny
	pattern.pattern in covering
	is_in_range(pattern, import_)
}

said(pattern) := sprintf("`%s`", [pattern.pattern]) if not pattern.range

said(pattern) := sprintf("`%s` in `%s`", [pattern.pattern, pattern.range])

# METADATA
# title: Whether a denied range holds the version of an import
# description: A version that is absent, or cannot be compared, is in every range.
is_in_range(pattern, _) if not pattern.range

is_in_range(pattern, import_) if {
	pattern.range
	not ranges.valid(object.get(import_, "version", ""))
}

is_in_range(pattern, import_) if {
	some version in ranges.forms(import_.version)
	ranges.holds(version, pattern.range)
}

# METADATA
# title: The names that the artifact admitted before did not import
# description: Undefined for a first release, which is compared with nothing.
fresh := {import_.name | some import_ in input.surface.imports} - {name | some name in input.previous.imports} if {
	input.previous
}

# METADATA
# title: What the artifact admitted before imported, each as its track
previous_tracks contains track_of(name) if some name in input.previous.imports

# METADATA
# title: A name as the host links it, as the gateway itself cuts it
track_of(name) := name if not has_release(name)

track_of(name) := concat("@", [parts[0], track_version(split(parts[1], "."))]) if {
	has_release(name)
	parts := split(split(name, "+")[0], "@")
}

has_release(name) if {
	parts := split(name, "@")
	count(parts) == 2
	semver.is_valid(parts[1])
	not startswith(parts[1], "v")
	not contains(split(parts[1], "+")[0], "-")
	not regex.match(`@0\.0\.`, name)
}

track_version(numbers) := numbers[0] if numbers[0] != "0"

track_version(numbers) := concat(".", ["0", numbers[1]]) if numbers[0] == "0"

# METADATA
# title: The imports that are new on their track and that an entry looks at, as pairs of index and name
added contains [index, import_.name] if {
	count(fresh) > 0
	some index, subjects in watched
	some import_ in input.surface.imports
	import_.name in fresh
	is_concerned(subjects, import_)
	not import_.track in previous_tracks
	some pattern in object.get(data.witgate.import_rules[index], "watch", ["*"])
	pattern in forms(import_)
}

# METADATA
# title: The entries of whose imports nothing is known
unknown contains index if {
	some index in matching
	not is_known
}

# A rule of its own, for OPA takes a negated function of something undefined for undefined, not for true.
is_known if is_array(input.surface.imports)

# METADATA
# title: Whether nothing is imported that may not be
default allowed := false

allowed if {
	count(data.witgate.signing.reference_patterns) > 0
	count(refuse) == 0
}

refuse contains reason if {
	some [index, name, pattern] in denied
	reason := {
		"code": "import-denied",
		"about": name,
		"detail": sprintf("policy denies %s%s", [pattern, because(data.witgate.import_rules[index])]),
		"hint": "do without it, or change `deny` in `witgate.import_rules` of the policy's data",
	}
}

because(entry) := sprintf(", because `%s`", [entry.reason])

because(entry) := "" if not entry.reason

refuse contains reason if {
	some index in unknown
	reason := {
		"code": "import-denied",
		"about": data.witgate.signing.reference,
		"detail": "policy has rules about its imports, and nobody knows them",
		"hint": "push a component, or leave native code out of `references` in `witgate.import_rules`",
	}
}

refuse contains new_import(name) if {
	some [index, name] in added
	data.witgate.import_rules[index].new_imports != "warn"
}

warn contains new_import(name) if {
	some [index, name] in added
	data.witgate.import_rules[index].new_imports == "warn"
}

new_import(name) := {
	"code": "import-new",
	"about": name,
	"detail": sprintf("this release newly imports `%s`; %s did not", [name, before]),
	"hint": "look at what it needs it for, then change `new_imports` or `watch` in `witgate.import_rules`",
}

before := sprintf("version `%s`, admitted before,", [input.previous.version])

before := "the artifact admitted before" if not input.previous.version
