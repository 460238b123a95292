# METADATA
# title: What is let past for a time, by whose word
# description: |
#   Reads `data.witgate.exemptions`. One that is in force lifts the reasons of its `codes` for its `references` in its
#   `scope`. One that would have lifted a reason, and is not in force, lifts nothing and says so. So do two that cover the
#   same reason.
package witgate.exempting

# METADATA
# title: The exemptions that name this reference and this caller, by their index
named contains index if {
	count(data.witgate.exemptions) > 0
	count(data.witgate.lifting.reasons) > 0
	some index, entry in data.witgate.exemptions
	names_caller(entry)
	some pattern in entry.references
	pattern in data.witgate.signing.reference_patterns
}

names_caller(entry) if not "callers" in object.keys(entry)

names_caller(entry) if {
	some pattern in entry.callers
	pattern in data.witgate.admission.caller_patterns
}

# METADATA
# title: What each of them is about, as pairs of its index and a reason
claims contains [index, reason] if {
	some index in named
	some reason in data.witgate.lifting.reasons
	reason.code in data.witgate.exemptions[index].codes
}

# METADATA
# title: The exemptions that are in force, by their index
# description: Said with what must be there, so that what is absent or cannot be read is not in force.
in_force contains index if {
	some index in named
	entry := data.witgate.exemptions[index]
	is_in_scope(entry)
	is_anothers(entry)
	is_complete(entry)
	starts_ns(entry) <= data.witgate.attested.now_ns
	data.witgate.attested.now_ns < expires_ns(entry)
}

is_in_scope(entry) if {
	entry.scope.tenant == input.scope.tenant
	entry.scope.environment == input.scope.environment
}

# METADATA
# title: Whether neither the caller nor its owner approved it
is_anothers(entry) if {
	lower(entry.owner) != lower(input.caller.id)
	lower(entry.approved_by) != lower(input.caller.id)
	lower(entry.approved_by) != lower(entry.owner)
}

is_complete(entry) if {
	every field in ["id", "owner", "approved_by", "reason"] {
		data.witgate.lifting.says_something(entry[field])
	}
	starts_ns(entry) < expires_ns(entry)
	expires_ns(entry) - starts_ns(entry) <= data.witgate.lifting.max_lifetime_ns
}

starts_ns(entry) := time.parse_rfc3339_ns(entry.starts)

expires_ns(entry) := time.parse_rfc3339_ns(entry.expires)

# METADATA
# title: The exemptions in force that are about one reason
covering(reason) := {index |
	some index in in_force
	[index, reason] in claims
}

# METADATA
# title: The reasons that are lifted, each by one exemption
lifted contains reason if {
	some [_, reason] in claims
	count(covering(reason)) == 1
}

# METADATA
# title: The exemptions that are about a reason which nothing lifts
idle contains index if {
	some [index, reason] in claims
	not reason in data.witgate.lifting.lifted
}

# METADATA
# title: Why they lift nothing, as triples of index, code and text
faults contains [index, "exemption-expired", text] if {
	some index in idle
	entry := data.witgate.exemptions[index]
	expires_ns(entry) <= data.witgate.attested.now_ns
	text := sprintf("it expired on `%s`", [entry.expires])
}

faults contains [index, "exemption-expired", text] if {
	some index in idle
	entry := data.witgate.exemptions[index]
	data.witgate.attested.now_ns < starts_ns(entry)
	text := sprintf("it is not valid before `%s`", [entry.starts])
}

faults contains [index, "exemption-invalid", text] if {
	some index in idle
	entry := data.witgate.exemptions[index]
	not is_in_scope(entry)
	text := sprintf("it is for tenant `%s` and environment `%s`, asked for is `%s` and `%s`", [
		object.get(entry, ["scope", "tenant"], ""),
		object.get(entry, ["scope", "environment"], ""),
		object.get(input, ["scope", "tenant"], ""),
		object.get(input, ["scope", "environment"], ""),
	])
}

faults contains [index, "exemption-invalid", "its owner or the caller approved it, or the caller owns it"] if {
	some index in idle
	not is_anothers(data.witgate.exemptions[index])
}

faults contains [index, "exemption-invalid", text] if {
	some index in idle
	not is_complete(data.witgate.exemptions[index])
	text := "it lacks an id, an owner, an approver or a reason, or is meant for no time or for more than 90 days"
}

faults contains [index, "exemption-invalid", text] if {
	some [index, reason] in claims
	index in in_force
	not reason in data.witgate.lifting.lifted
	others := {id | some other in covering(reason); other != index; id := data.witgate.exemptions[other].id}
	text := sprintf("it and `%s` cover the same `%s`", [concat("`, `", others), reason.code])
}

# METADATA
# title: That an exemption lifts nothing
refuse contains reason if {
	some [index, code, text] in faults
	reason := {
		"code": code,
		"about": object.get(data.witgate.exemptions[index], "id", ""),
		"detail": sprintf("this exemption lifts nothing, %s", [text]),
		"hint": "mend what it was for, or change it in `witgate.exemptions` of the policy's data",
	}
}

# METADATA
# title: That an exemption lifts a reason
warn contains warning if {
	some reason in lifted
	some index in covering(reason)
	entry := data.witgate.exemptions[index]
	warning := {
		"code": "exempted",
		"about": entry.id,
		"detail": sprintf("`%s` about `%s` is lifted until `%s` (owner `%s`, approved by `%s`, because `%s`), which said %s", [
			reason.code,
			reason.about,
			entry.expires,
			entry.owner,
			entry.approved_by,
			entry.reason,
			reason.detail,
		]),
		"hint": sprintf("mend it before then, %s", [reason.hint]),
	}
}
