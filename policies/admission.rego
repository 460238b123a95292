# METADATA
# title: May this caller run this component here
# description: |
#   The contract: `admit`, `refuse`, `warn` and `grants`. The gateway admits when its floor passes, `admit` is true,
#   `refuse` is empty and every import of the component is covered by `grants.imports`. Nothing here can lift the floor.
package witgate.admission

import data.witgate.environments_of
import data.witgate.labels
import data.witgate.lifting
import data.witgate.patterns

# METADATA
# title: The one way in
# description: Said with what must be there, so that a missing field refuses; the reasons below only explain.
default admit := false

admit if {
	signed
	data.witgate.attestations.met
	new_enough
	within_limits
	data.witgate.importing.allowed
	data.witgate.separating.allowed
	count(matching) > 0
	count(links_not_granted) == 0
	count(refuse) == 0
}

# METADATA
# title: Who must have signed has, or a wasmCloud 1.x token stands in until its sunset, or it is lifted that nobody has
signed if data.witgate.signing.allowed

signed if data.witgate.legacy.allowed

signed if lifting.met(data.witgate.lifting.signature_reasons)

# METADATA
# title: It is as new as it must be, or it is lifted that it is not
new_enough if data.witgate.versioning.allowed

new_enough if lifting.met(data.witgate.versioning.refuse)

# METADATA
# title: It is as small and as lately signed as it must be, or it is lifted that it is not
within_limits if data.witgate.limiting.allowed

within_limits if lifting.met(data.witgate.limiting.refuse)

# METADATA
# title: The patterns of the caller
# description: |
#   A SPIFFE ID with its folders when it was proven by an SVID, certificate or token; the id of an OIDC caller with its
#   folders; or the word `local`.
caller_patterns := patterns.covering(input.caller.id) if {
	input.caller.kind in {"jwt-svid", "x509-svid"}
	startswith(input.caller.id, "spiffe://")
}

caller_patterns := patterns.covering(input.caller.id) if {
	input.caller.kind == "oidc"
	startswith(input.caller.id, "oidc:")
}

caller_patterns := {"local"} if {
	input.caller.kind == "local"
	input.caller.id == "local"
}

host_patterns := patterns.covering(input.host)

# METADATA
# title: The grant rules that name this caller for this reference, whatever the host
named contains index if {
	# Bound once: in a loop, each use of a rule would look it up again.
	known := caller_patterns
	covering := data.witgate.signing.reference_patterns
	some index, rule in data.witgate.grants
	some pattern in rule.callers
	pattern in known
	some reference in rule.references
	reference in covering
	environments_of.here(rule)
	is_selected(rule)
}

named contains index if {
	count(data.witgate.callers) > 0
	covering := data.witgate.signing.reference_patterns
	some index, rule in data.witgate.grants
	not "callers" in object.keys(rule)
	some reference in rule.references
	reference in covering
	environments_of.here(rule)
	labels.selects(rule.selector)
}

# METADATA
# title: Whether a rule that names the caller also selects it, where it selects at all
is_selected(rule) if not "selector" in object.keys(rule)

is_selected(rule) if labels.selects(rule.selector)

# METADATA
# title: The grant rules that apply
# description: The caller asks for itself, or the rule lets it speak for the host.
matching contains index if {
	some index in named
	input.host == input.caller.id
}

matching contains index if {
	known := host_patterns
	rules := data.witgate.grants
	some index in named
	some pattern in rules[index].hosts
	pattern in known
}

# METADATA
# title: What is granted, the union of what the rules grant, within the smallest of their limits
# description: Undefined where no rule applies, for then there is nothing to compare imports with, and the reason is another.
grants := object.union(
	{
		"imports": granted_imports,
		"links": granted_links,
		"config": granted_config,
		"limits": granted_limits,
	},
	object.union(
		{"lifetime_s": seconds | count(lifetimes) > 0; seconds := min(lifetimes)},
		{"native": true | some index in matching; data.witgate.grants[index].native == true},
	),
) if {
	count(matching) > 0
}

granted_imports contains pattern if {
	rules := data.witgate.grants
	some index in matching
	some pattern in rules[index].imports
}

granted_links contains link if {
	rules := data.witgate.grants
	some index in matching
	some link in rules[index].links
}

granted_config contains entry if {
	rules := data.witgate.grants
	some index in matching
	some entry in rules[index].config
}

granted_limits[name] := min(values) if {
	rules := data.witgate.grants
	applying := matching
	some name in ["memory_bytes", "fuel", "timeout_ms"]
	values := {value | some index in applying; value := rules[index].limits[name]}
	count(values) > 0
}

lifetimes contains seconds if {
	some index in matching
	seconds := data.witgate.grants[index].lifetime_s
}

links_not_granted contains link if {
	granted := granted_links
	some link in input.links
	not link in granted
}

refuse contains reason if {
	some reason in data.witgate.lifting.signature_reasons
	not reason in data.witgate.lifting.lifted
}

refuse contains reason if {
	some reason in data.witgate.attestations.refuse
	not reason in data.witgate.lifting.lifted
}

refuse contains reason if {
	some reason in data.witgate.versioning.refuse
	not reason in data.witgate.lifting.lifted
}

refuse contains reason if {
	some reason in data.witgate.limiting.refuse
	not reason in data.witgate.lifting.lifted
}

refuse contains reason if some reason in data.witgate.importing.refuse
refuse contains reason if some reason in data.witgate.separating.refuse
refuse contains reason if some reason in data.witgate.exempting.refuse
refuse contains reason if some reason in data.witgate.emergency.refuse

# METADATA
# title: Somebody signed whom the revocation list names
# description: |
#   Told where nobody else who must have signed has, or where it is lifted that an attestation is missing. The first of them is
#   enough, the evidence names each.
refuse contains reason if {
	leans_on_what_is_missing
	revoked := [finding |
		some finding in input.evidence.findings
		finding.status == "rejected"
		finding.code == "revoked"
	]
	count(revoked) > 0
	reason := {
		"code": "revoked",
		"about": revoked[0].source.name,
		"detail": revoked[0].detail,
		"hint": "sign it with another key or identity; never take an entry out of the list to get through",
	}
}

leans_on_what_is_missing if not data.witgate.signing.allowed

leans_on_what_is_missing if {
	some reason in data.witgate.lifting.lifted
	reason.code == "attestation-missing"
}

# METADATA
# title: No rule speaks for the caller
refuse contains reason if {
	count(named) == 0
	reason := {
		"code": "caller-not-granted",
		"about": input.caller.id,
		"detail": sprintf("no grant rule names `%s` for `%s`", [input.caller.id, data.witgate.signing.reference]),
		"hint": "add a rule for this caller to `witgate.grants` in the policy's data",
	}
}

# METADATA
# title: The caller speaks for another host
refuse contains reason if {
	count(named) > 0
	count(matching) == 0
	reason := {
		"code": "host-not-caller",
		"about": input.host,
		"detail": sprintf("`%s` may not ask on behalf of `%s`", [input.caller.id, input.host]),
		"hint": "let the host ask for itself, or name it in `hosts` of the caller's grant rule",
	}
}

# METADATA
# title: The caller asks for a link that no rule grants
refuse contains reason if {
	count(matching) > 0
	some link in links_not_granted
	reason := {
		"code": "link-not-granted",
		"about": link,
		"detail": sprintf("not granted to `%s`", [input.caller.id]),
		"hint": "name it in `links` of the caller's grant rule, or do without",
	}
}

# METADATA
# title: What a person should look at although it does not refuse
# description: Another file of the package `witgate.admission` may add to `refuse` and `warn`; nothing is warned of here.
warn contains reason if {
	rules := data.witgate.grants
	some index in matching
	some pattern in rules[index].imports
	endswith(pattern, "/*")
	reason := {
		"code": "grant-without-version",
		"about": pattern,
		"detail": "a grant rule covers every version of the package, those to come too",
		"hint": sprintf("name a track, such as `%s@0.2`", [pattern]),
	}
}

warn contains reason if some reason in data.witgate.legacy.warn
warn contains reason if some reason in data.witgate.importing.warn
warn contains reason if some reason in data.witgate.exempting.warn
warn contains reason if some reason in data.witgate.emergency.warn
warn contains reason if some reason in data.witgate.claims.warn
