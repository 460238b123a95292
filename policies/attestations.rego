# METADATA
# title: What must be attested
# description: |
#   Provenance, bills of materials, scans and summaries, each of them where the policy's data asks for it. One that is asked
#   for and absent refuses. Rules of other packages are written in full: by an import, the whole package would be evaluated.
package witgate.attestations

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
# title: Why not
refuse contains reason if some reason in data.witgate.building.refuse

refuse contains reason if some reason in data.witgate.sbom.refuse

refuse contains reason if some reason in data.witgate.scanning.refuse

refuse contains reason if some reason in data.witgate.verifying.refuse
