# METADATA
# title: What must be attested
# description: |
#   Provenance, bills of materials, scans and summaries, each of them where the policy's data asks for it. One that is asked
#   for and absent refuses. Rules of other packages are written in full: by an import, the whole package would be evaluated.
package witgate.attestations

import data.witgate.lifting

# METADATA
# title: Whether everything is attested that must be
default allowed := false

allowed if {
	data.witgate.building.allowed
	data.witgate.sbom.allowed
	data.witgate.scanning.allowed
	data.witgate.verifying.allowed
}

# METADATA
# title: Whether everything is attested that must be, but for what is lifted
default met := false

met if {
	built
	listed
	scanned
	verified
}

built if data.witgate.building.allowed

built if lifting.met(data.witgate.building.refuse)

listed if data.witgate.sbom.allowed

listed if lifting.met(data.witgate.sbom.refuse)

scanned if data.witgate.scanning.allowed

scanned if lifting.met(data.witgate.scanning.refuse)

verified if data.witgate.verifying.allowed

verified if lifting.met(data.witgate.verifying.refuse)

# METADATA
# title: Why not
refuse contains reason if some reason in data.witgate.building.refuse

refuse contains reason if some reason in data.witgate.sbom.refuse

refuse contains reason if some reason in data.witgate.scanning.refuse

refuse contains reason if some reason in data.witgate.verifying.refuse
