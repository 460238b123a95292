# METADATA
# title: What belongs to which environment
# description: |
#   Reads `data.witgate.environments`. Where any entry says `references`, a reference has to be named by an entry of the
#   environment that is asked for (`input.scope.environment`); where any says `callers`, a caller as well.
package witgate.separating

# METADATA
# title: The entries of the environment that is asked for, by their index
own contains index if {
	some index, entry in data.witgate.environments
	entry.environment == input.scope.environment
}

# METADATA
# title: Whether any environment says which references, or which callers, are its own
speaks_of contains field if {
	some entry in data.witgate.environments
	some field in ["references", "callers"]
	field in object.keys(entry)
}

# METADATA
# title: What of the request belongs to this environment
belongs contains "references" if {
	some index in own
	some pattern in data.witgate.environments[index].references
	pattern in data.witgate.signing.reference_patterns
}

belongs contains "callers" if {
	some index in own
	some pattern in data.witgate.environments[index].callers
	pattern in data.witgate.admission.caller_patterns
}

# METADATA
# title: Whether everything does that has to
default allowed := false

allowed if {
	count(data.witgate.signing.reference_patterns) > 0
	count(speaks_of - belongs) == 0
}

refuse contains reason if {
	some field in speaks_of - belongs
	names := {
		"references": data.witgate.signing.reference,
		"callers": object.get(input, ["caller", "id"], ""),
	}
	reason := {
		"code": "environment-mismatch",
		"about": names[field],
		"detail": sprintf("not one of the %s of environment `%s`, %s", [
			field,
			object.get(input, ["scope", "environment"], ""),
			elsewhere(field),
		]),
		"hint": "ask in its own environment, or name it in `witgate.environments` of the policy's data",
	}
}

# METADATA
# title: The environments it belongs to
others("references") := {entry.environment |
	some entry in data.witgate.environments
	some pattern in entry.references
	pattern in data.witgate.signing.reference_patterns
}

others("callers") := {entry.environment |
	some entry in data.witgate.environments
	some pattern in entry.callers
	pattern in data.witgate.admission.caller_patterns
}

elsewhere(field) := sprintf("but of `%s`", [concat("`, `", others(field))]) if count(others(field)) > 0

elsewhere(field) := "and of no other" if count(others(field)) == 0
