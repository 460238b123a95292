# METADATA
# title: Who may be let past in an emergency
# description: |
#   Reads `data.witgate.break_glass` where a request says why (`input.break_glass.justification`). A rule names callers by
#   their exact id, never by a pattern and never `local`; it lifts the reasons of its `codes` for its `references`.
package witgate.emergency

import data.witgate.environments_of

# METADATA
# title: The caller, by the id that its proof gave it
# description: Undefined for `local`, who may be anybody, and for an id that reads as a pattern.
caller := input.caller.id if {
	input.caller.kind != "local"
	not contains(input.caller.id, "*")
	input.caller.id in data.witgate.admission.caller_patterns
}

# METADATA
# title: The rules that let this caller past, by their index
matching contains index if {
	data.witgate.lifting.says_something(input.break_glass.justification)
	some index, rule in data.witgate.break_glass
	caller in rule.callers
	some pattern in rule.references
	pattern in data.witgate.signing.reference_patterns
	environments_of.here(rule)
	is_now(rule)
}

is_now(rule) if {
	starts := starts_ns(rule)
	expires := time.parse_rfc3339_ns(rule.expires)
	starts <= data.witgate.attested.now_ns
	data.witgate.attested.now_ns < expires
	expires - starts <= data.witgate.lifting.max_lifetime_ns
}

# METADATA
# title: From when a rule counts, in nanoseconds
# description: A rule that does not say when it starts may end at most 90 days from now.
starts_ns(rule) := time.parse_rfc3339_ns(rule.starts)

starts_ns(rule) := data.witgate.attested.now_ns if not "starts" in object.keys(rule)

# METADATA
# title: The reasons that are lifted
# description: What an exemption lifts needs no emergency.
lifted contains reason if {
	some index in matching
	some reason in data.witgate.lifting.reasons
	reason.code in data.witgate.break_glass[index].codes
	not reason in data.witgate.exempting.lifted
}

# METADATA
# title: That nothing lets this caller past
refuse contains reason if {
	input.break_glass
	count(matching) == 0
	reason := {
		"code": "break-glass-denied",
		"about": input.caller.id,
		"detail": sprintf("no rule in force lets `%s` past for `%s`, and a justification is needed", [
			input.caller.id,
			data.witgate.signing.reference,
		]),
		"hint": "ask without break-glass, or have somebody add this caller to `witgate.break_glass` of the policy's data",
	}
}

# METADATA
# title: That somebody was let past
warn contains warning if {
	count(matching) > 0
	codes := {reason.code | some reason in lifted}
	warning := {
		"code": "break-glass",
		"about": caller,
		"detail": sprintf("asked to be let past because `%s`; %s", [input.break_glass.justification, lifted_text(codes)]),
		"hint": "look at it together afterwards, and mend what was lifted",
	}
}

lifted_text(codes) := sprintf("lifted `%s`", [concat("`, `", codes)]) if count(codes) > 0

lifted_text(codes) := "nothing had to be lifted" if count(codes) == 0
