# METADATA
# title: Labels of callers, and selectors of them
# description: |
#   Reads `data.witgate.callers`, which says what labels callers have, and answers for `selector` of a grant. Written as
#   Kubernetes writes it, and closed where Kubernetes is open. A caller that no entry names matches no selector, `NotIn` needs
#   a label with another value, and an empty selector is nobody.
package witgate.labels

# METADATA
# title: The labels of the caller, as pairs of key and value
held contains [key, value] if {
	some entry in data.witgate.callers
	some pattern in entry.callers
	pattern in data.witgate.admission.caller_patterns
	some key, value in entry.labels
}

keys contains key if some [key, _] in held

# METADATA
# title: Whether anything is known of the caller, and nothing of it is said in two ways
is_known if {
	count(held) > 0
	count(keys) == count(held)
}

# METADATA
# title: Whether a selector means the caller
selects(selector) if {
	is_known
	labels := object.get(selector, "matchLabels", {})
	expressions := object.get(selector, "matchExpressions", [])
	count(labels) + count(expressions) > 0
	count({key | some key, value in labels; [key, value] in held}) == count(labels)
	count([expression | some expression in expressions; meets(expression)]) == count(expressions)
}

meets(expression) if {
	expression.operator == "In"
	some value in expression.values
	[expression.key, value] in held
}

meets(expression) if {
	expression.operator == "NotIn"
	expression.key in keys
	count(expression.values) > 0
	count({value | some value in expression.values; [expression.key, value] in held}) == 0
}

meets(expression) if {
	expression.operator == "Exists"
	expression.key in keys
}

meets(expression) if {
	expression.operator == "DoesNotExist"
	is_string(expression.key)
	not expression.key in keys
}
