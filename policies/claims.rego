# METADATA
# title: What an artifact's OCI config claims, beside what its bytes are
# description: |
#   The config is written by whoever pushes; nobody checks it, and registries and their web pages show it. What decides is
#   always the bytes. A claim that differs is no refusal but worth a look: somebody may have been shown less than what runs.
package witgate.claims

# METADATA
# title: The imports that the config claims; undefined where it claims nothing
claimed := {name | some name in input.artifact.config.claimed_imports} if {
	is_array(input.artifact.config.claimed_imports)
}

# METADATA
# title: The imports that the bytes have
imported := {import_.name | some import_ in input.surface.imports} if {
	input.surface.status == "component"
}

warn contains reason if {
	some said, names in {"leaves out": imported - claimed, "claims": claimed - imported}
	count(names) > 0
	reason := {
		"code": "config-mismatch",
		"about": "config.component.imports",
		"detail": sprintf("the config %s %s", [said, shown(names)]),
		"hint": "push it with a tool that writes the config from the component, such as wash or wkg",
	}
}

# METADATA
# title: Names for a person, a few of them and the number of the others
shown(names) := concat(", ", [sprintf("`%s`", [name]) | some name in sort(names)]) if count(names) <= 8

shown(names) := sprintf("%s and %d more", [concat(", ", first), count(names) - 8]) if {
	count(names) > 8
	first := [sprintf("`%s`", [name]) | some name in array.slice(sort(names), 0, 8)]
}
