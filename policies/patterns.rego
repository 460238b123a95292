# METADATA
# title: Names and the patterns that cover them
# description: |
#   A pattern is a name, or a folder of names: `ghcr.io/acme/*` covers everything below `ghcr.io/acme/`, and nothing
#   beside it. There is no other wildcard.
package witgate.patterns

# METADATA
# title: Every pattern that covers a name
# description: |
#   covering("ghcr.io/acme/cart") is {"ghcr.io/acme/cart", "ghcr.io/acme/*", "ghcr.io/*"}. Going from the name to its few
#   patterns makes a rule one look-up instead of one comparison for each pattern.
covering(name) := {name} | folders(name)

# METADATA
# title: The folders a name is in, each as its pattern
# description: A name that ends in `/` is in no folder, for nothing stands where the `*` is.
folders(name) := {pattern |
	parts := split(name, "/")
	parts[count(parts) - 1] != ""
	some index, _ in parts
	index > 0
	pattern := concat("/", array.concat(array.slice(parts, 0, index), ["*"]))
}
