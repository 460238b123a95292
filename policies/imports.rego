# METADATA
# title: What a component imports, and which patterns cover it
# description: |
#   The gateway itself refuses with `import-not-granted` whatever `grants.imports` does not cover, after policy and in the
#   way the host links: by semver-compatible track. These functions are for rules of your own, such as a warning about
#   sockets. A pattern is `wasi:io/poll@0.2.3` (its whole track), `wasi:io/*@0.2` (one track of a package) or `wasi:cli/*`
#   (any version of a package).
package witgate.imports

# METADATA
# title: Whether a pattern covers an import of `input.surface.imports`
covers(pattern, import_) if pattern in covering(import_)

# METADATA
# title: The patterns that cover an import, for one look-up in a set of patterns
# description: |
#   `wasi:io/poll@0.2.3` has its own name, its track `wasi:io/poll@0.2`, `wasi:io/*@0.2` and `wasi:io/*`. A granted exact
#   name of the same track (`wasi:io/poll@0.2.0`) covers it too when it is cut to its track first.
covering(import_) := {import_.name, import_.track} | package_patterns(import_)

package_patterns(import_) := {concat("", [import_.package, "/*"])} | {pattern |
	parts := split(import_.track, "@")
	count(parts) == 2
	pattern := concat("", [import_.package, "/*@", parts[1]])
} if {
	import_.package
}

package_patterns(import_) := set() if not import_.package

# METADATA
# title: The imports that a set of patterns leaves uncovered, by name
uncovered(granted) := {import_.name |
	some import_ in input.surface.imports
	count(covering(import_) & granted) == 0
}
