# METADATA
# title: Which reasons may be lifted, and which are
# description: |
#   Exemptions and break-glass lift reasons that rules about evidence give, and no other. The floor, a revocation, grants,
#   links, imports and the separation of environments are never lifted, whatever data says.
package witgate.lifting

import data.witgate.legacy

# METADATA
# title: The codes that may be lifted
# description: The gateway holds data to the same list when it is loaded.
codes := {
	"attestation-missing",
	"component-too-large",
	"identity-mismatch",
	"issuer-mismatch",
	"no-verified-signature",
	"package-banned",
	"provenance-mismatch",
	"signature-too-old",
	"version-rollback",
	"vulnerability-found",
}

# METADATA
# title: The longest time between `starts` and `expires`, in nanoseconds, which is 90 days
max_lifetime_ns := 7776000000000000

# METADATA
# title: Why nobody who must have signed has, but for what a wasmCloud 1.x token stands in for
signature_reasons contains reason if {
	some reason in data.witgate.signing.refuse
	not legacy.lifts(reason)
}

signature_reasons contains reason if some reason in data.witgate.legacy.refuse

# METADATA
# title: The reasons of this decision that may be lifted
reasons contains reason if {
	some reason in data.witgate.lifting.signature_reasons
	reason.code in codes
}

reasons contains reason if {
	some reason in data.witgate.attestations.refuse
	reason.code in codes
}

reasons contains reason if {
	some reason in data.witgate.versioning.refuse
	reason.code in codes
}

reasons contains reason if {
	some reason in data.witgate.limiting.refuse
	reason.code in codes
}

# METADATA
# title: The reasons that are lifted
lifted contains reason if some reason in data.witgate.exempting.lifted

lifted contains reason if some reason in data.witgate.emergency.lifted

# METADATA
# title: Whether each reason of a part of the policy is lifted
# description: A part that is not met and says no reason is not lifted either.
met(part) if {
	count(part) > 0
	count(part - data.witgate.lifting.lifted) == 0
}

# METADATA
# title: Whether a text says anything
says_something(text) if {
	is_string(text)
	trim_space(text) != ""
}
