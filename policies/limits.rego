# METADATA
# title: How large a component may be, and how old its signature
# description: |
#   Reads `data.witgate.limits`. Entries whose `references` cover the reference are ANDed; no entry asks for nothing. What is
#   not known is past its limit.
package witgate.limiting

import data.witgate.environments_of

# METADATA
# title: The entries that speak about this reference, by their index
matching contains index if {
	some index, entry in data.witgate.limits
	some pattern in entry.references
	pattern in data.witgate.signing.reference_patterns
	environments_of.here(entry)
}

# METADATA
# title: The sizes of everything that a host would run, in bytes
sizes contains input.artifact.component.size_bytes

sizes contains component.size_bytes if some component in input.artifact.components

sizes contains input.artifact.native.size_bytes

too_large contains index if {
	some index in matching
	"max_component_bytes" in object.keys(data.witgate.limits[index])
	not is_small_enough(data.witgate.limits[index])
}

is_small_enough(entry) if {
	count(sizes) > 0
	max(sizes) <= entry.max_component_bytes
}

too_old contains index if {
	some index in matching
	"max_signature_age_s" in object.keys(data.witgate.limits[index])
	not is_young_enough(data.witgate.limits[index])
}

# METADATA
# title: Whether enough of those who must have signed did so lately, for each entry of `signatures`
# description: The signature of somebody whom policy does not name makes nothing young.
is_young_enough(entry) if {
	count(data.witgate.signing.matching) > 0
	every index in data.witgate.signing.matching {
		count(young(entry, index)) >= data.witgate.signing.threshold(data.witgate.signatures[index])
	}
}

# METADATA
# title: The signers of young signatures whom an entry of `signatures` names
young(entry, index) := {party |
	some finding in data.witgate.signing.considered[index]
	age_ns := data.witgate.attested.now_ns - made_ns[finding]
	age_ns <= entry.max_signature_age_s * 1000000000
	age_ns >= 0 - data.witgate.attested.skew_ns
	some identity in data.witgate.signatures[index].identities
	data.witgate.signing.identity_matches(identity, finding)
	party := data.witgate.signing.party_of(input.evidence.findings[finding].signer)
}

# METADATA
# title: When each signature is first known to have existed, in nanoseconds
made_ns[finding] := min(times) if {
	some finding in data.witgate.signing.signatures
	times := [ns | some text in input.evidence.findings[finding].times; ns := time.parse_rfc3339_ns(text)]
	count(times) == count(input.evidence.findings[finding].times)
	count(times) > 0
}

# METADATA
# title: Whether everything is within its limits
default allowed := false

allowed if {
	count(data.witgate.signing.reference_patterns) > 0
	count(too_large) + count(too_old) == 0
}

refuse contains reason if {
	some index in too_large
	reason := {
		"code": "component-too-large",
		"about": data.witgate.signing.reference,
		"detail": sprintf("%s, policy takes at most %d", [size_text, data.witgate.limits[index].max_component_bytes]),
		"hint": "make it smaller (`wasm-opt`, no debug information), or raise `max_component_bytes` in `witgate.limits`",
	}
}

size_text := sprintf("the largest component has %d bytes", [max(sizes)]) if count(sizes) > 0

size_text := "no component whose size is known" if count(sizes) == 0

refuse contains reason if {
	some index in too_old
	reason := {
		"code": "signature-too-old",
		"about": data.witgate.signing.reference,
		"detail": sprintf("too few who must have signed are known to have done so within the last %d s", [
			data.witgate.limits[index].max_signature_age_s,
		]),
		"hint": "build and sign it anew, with a log entry or time-stamp that proves when",
	}
}
