//! The policies that are part of the program, as texts.

pub(super) const MODULES: &[(&str, &str)] = &[
    ("admission.rego", include_str!("../../../../policies/admission.rego")),
    ("attestations.rego", include_str!("../../../../policies/attestations.rego")),
    ("attested.rego", include_str!("../../../../policies/attested.rego")),
    ("claims.rego", include_str!("../../../../policies/claims.rego")),
    ("imports.rego", include_str!("../../../../policies/imports.rego")),
    ("patterns.rego", include_str!("../../../../policies/patterns.rego")),
    ("provenance.rego", include_str!("../../../../policies/provenance.rego")),
    ("sbom.rego", include_str!("../../../../policies/sbom.rego")),
    ("signatures.rego", include_str!("../../../../policies/signatures.rego")),
    ("summaries.rego", include_str!("../../../../policies/summaries.rego")),
    ("versions.rego", include_str!("../../../../policies/versions.rego")),
    ("vulnerabilities.rego", include_str!("../../../../policies/vulnerabilities.rego")),
    ("wascap.rego", include_str!("../../../../policies/wascap.rego")),
];
pub(super) const DATA: &[(&str, &str)] = &[
    ("attestations.json", include_str!("../../../../policies/data/attestations.json")),
    ("grants.json", include_str!("../../../../policies/data/grants.json")),
    ("signatures.json", include_str!("../../../../policies/data/signatures.json")),
    ("versions.json", include_str!("../../../../policies/data/versions.json")),
    ("wascap.json", include_str!("../../../../policies/data/wascap.json")),
];
