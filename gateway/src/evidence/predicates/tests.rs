//! Predicates as tools write them, cut short, and what is wrong with others.

use serde_json::{Value, json};

use super::super::limits::{
    DEPENDENCIES_MAX, PACKAGES_MAX, PARTS_MAX, PREDICATE_TEXT_BYTES_MAX, VEX_STATEMENTS_MAX, VULNERABILITIES_MAX,
};
use super::*;
use crate::reason::Code;

const V02: &str = "https://slsa.dev/provenance/v0.2";
const V1: &str = "https://slsa.dev/provenance/v1";
const SPDX: &str = "https://spdx.dev/Document";
const CYCLONEDX: &str = "https://cyclonedx.org/bom";
const OPENVEX: &str = "https://openvex.dev/ns/v0.2.0";
const VSA: &str = "https://slsa.dev/verification_summary/v1";
const VSA_V02: &str = "https://slsa.dev/verification_summary/v0.2";
const COSIGN_VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const VULNS: &str = "https://in-toto.io/attestation/vulns/v0.2";
const HEX: &str = "fe4fe40ac7250263c5dbe1cf3138912f3f416140aa248637a60d65fe22c47da4";

/// What a predicate says, as policy sees it.
#[track_caller]
fn said(predicate_type: &str, predicate: &Value) -> Value {
    match read(predicate_type, Some(predicate)) {
        Ok(attested) => serde_json::to_value(attested.expect("a known type")).unwrap(),
        Err(rejection) => panic!("{rejection}"),
    }
}

fn code(predicate_type: &str, predicate: &Value) -> Option<Code> {
    read(predicate_type, Some(predicate)).err().map(|rejection| rejection.code)
}

/// `predicate` with the value at `pointer` replaced, or taken out.
fn with(predicate: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut changed = predicate.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = changed.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"));
    match (parent, value) {
        (Value::Object(fields), Some(value)) => drop(fields.insert(field.into(), value)),
        (Value::Object(fields), None) => drop(fields.remove(field)),
        (Value::Array(items), Some(value)) => items[field.parse::<usize>().unwrap()] = value,
        (parent, _) => panic!("{parent} has no fields"),
    }
    changed
}

/// slsa-github-generator's, for a container.
fn v02() -> Value {
    json!({
        "builder": {"id": "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v1.9.0"},
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/container@v1",
        "invocation": {
            "configSource": {
                "uri": "git+https://github.com/acme/cart@refs/tags/v1.4.2",
                "digest": {"sha1": "a13aeb1ad0e1a3b8a9c0a8a4f6b3f2d0c5a7e9b1"},
                "entryPoint": ".github/workflows/release.yml",
            },
            "parameters": {},
            "environment": {
                "github_ref": "refs/tags/v1.4.2",
                "github_ref_type": "tag",
                "github_event_name": "push",
                "github_event_payload": {"base_ref": "refs/heads/main", "ref": "refs/tags/v1.4.2"},
                "github_run_id": "4757060009",
            },
        },
        "metadata": {
            "buildInvocationID": "4757060009-1",
            "buildStartedOn": "2024-05-03T10:00:00Z",
            "completeness": {"parameters": true, "environment": false, "materials": false},
            "reproducible": false,
        },
        "materials": [{
            "uri": "git+https://github.com/acme/cart@refs/tags/v1.4.2",
            "digest": {"sha1": "a13aeb1ad0e1a3b8a9c0a8a4f6b3f2d0c5a7e9b1"},
        }],
    })
}

/// GitHub's artifact attestation (actions/attest-build-provenance).
fn v1() -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {
                "ref": "refs/heads/main",
                "repository": "https://github.com/acme/cart",
                "path": ".github/workflows/release.yml",
            }},
            "internalParameters": {"github": {
                "event_name": "push",
                "repository_id": "1",
                "repository_owner_id": "2",
                "runner_environment": "github-hosted",
            }},
            "resolvedDependencies": [{
                "uri": "git+https://github.com/acme/cart@refs/heads/main",
                "digest": {"gitCommit": "a13aeb1ad0e1a3b8a9c0a8a4f6b3f2d0c5a7e9b1"},
            }],
        },
        "runDetails": {
            "builder": {"id": "https://github.com/acme/cart/.github/workflows/release.yml@refs/heads/main"},
            "metadata": {"invocationId": "https://github.com/acme/cart/actions/runs/1/attempts/1"},
        },
    })
}

/// syft's, as `cosign attest --type spdxjson` sends it.
fn spdx() -> Value {
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "cart",
        "documentNamespace": "https://anchore.com/syft/dir/cart",
        "creationInfo": {"creators": ["Tool: syft-1.4.1"], "created": "2024-05-03T10:00:00Z"},
        "packages": [
            {
                "name": "@angular/core",
                "SPDXID": "SPDXRef-Package-1",
                "versionInfo": "17.0.1",
                "downloadLocation": "NOASSERTION",
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "(MIT OR GPL-2.0+) AND Apache-2.0 WITH LLVM-exception",
                "checksums": [{"algorithm": "SHA256", "checksumValue": HEX}],
                "externalRefs": [
                    {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:a:b:1:*:*:*:*:*:*:*"},
                    {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:npm/%40angular/core@17.0.1"},
                ],
            },
            {"name": "cart", "SPDXID": "SPDXRef-DocumentRoot", "downloadLocation": "NONE"},
        ],
        "relationships": [],
    })
}

fn cyclonedx() -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "version": 1,
        "metadata": {"timestamp": "2024-05-03T10:00:00Z", "component": {"type": "application", "name": "cart"}},
        "components": [{
            "bom-ref": "a",
            "type": "library",
            "group": "org.apache.logging.log4j",
            "name": "log4j-core",
            "version": "2.14.1",
            "purl": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1?type=jar",
            "licenses": [{"license": {"id": "Apache-2.0"}}, {"license": {"name": "House License"}}, {"expression": "MIT OR 0BSD"}],
            "hashes": [{"alg": "SHA-256", "content": HEX.to_uppercase()}],
            "components": [{"type": "library", "name": "inner", "purl": "pkg:maven/x/inner@1"}],
        }],
        "dependencies": [],
    })
}

fn openvex() -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://openvex.dev/docs/acme/vex-1",
        "author": "security@acme.example",
        "timestamp": "2024-05-03T10:00:00.5+02:00",
        "version": 1,
        "statements": [{
            "vulnerability": {"name": "CVE-2024-0001", "aliases": ["GHSA-aaaa-bbbb-cccc"]},
            "products": [{
                "@id": format!("pkg:oci/cart@sha256%3A{HEX}?repository_url=ghcr.io/acme/cart"),
                "hashes": {"sha-256": HEX},
                "subcomponents": [{"@id": "pkg:npm/left-pad@1.3.0"}],
            }],
            "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path",
            "timestamp": "2024-05-04T10:00:00Z",
        }, {
            "vulnerability": {"name": "CVE-2024-0002"},
            "status": "affected",
            "action_statement": "update",
        }],
    })
}

fn vsa() -> Value {
    json!({
        "verifier": {"id": "https://verifier.example", "version": {"policy-checker": "1"}},
        "timeVerified": "2024-05-03T10:00:00Z",
        "resourceUri": "ghcr.io/acme/cart",
        "policy": {"uri": "https://verifier.example/policy", "digest": {"sha256": HEX}},
        "inputAttestations": [{"uri": "x", "digest": {"sha256": HEX}}],
        "verificationResult": "PASSED",
        "verifiedLevels": ["SLSA_BUILD_LEVEL_3"],
    })
}

/// `trivy image --format cosign-vuln`.
fn trivy() -> Value {
    json!({
        "invocation": {"parameters": null, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@0.50.0",
            "version": "0.50.0",
            "db": {"uri": "", "version": ""},
            "result": {
                "SchemaVersion": 2,
                "ArtifactName": "ghcr.io/acme/cart",
                "Results": [
                    {"Target": "Node.js", "Class": "lang-pkgs", "Type": "node-pkg", "Vulnerabilities": [{
                        "VulnerabilityID": "CVE-2024-0001",
                        "VendorIDs": ["GHSA-aaaa-bbbb-cccc"],
                        "PkgName": "left-pad",
                        "PkgIdentifier": {"PURL": "pkg:npm/left-pad@1.3.0"},
                        "InstalledVersion": "1.3.0",
                        "FixedVersion": "1.3.1",
                        "Severity": "HIGH",
                    }]},
                    {"Target": "os", "Vulnerabilities": null},
                ],
            },
        },
        "metadata": {"scanStartedOn": "2024-05-03T10:00:00Z", "scanFinishedOn": "2024-05-03T10:00:05.25Z"},
    })
}

fn grype() -> Value {
    with(
        &trivy(),
        "/scanner/result",
        Some(json!({
            "matches": [{
                "vulnerability": {"id": "GHSA-aaaa-bbbb-cccc", "severity": "Negligible", "fix": {"versions": ["1.3.1"], "state": "fixed"}},
                "relatedVulnerabilities": [{"id": "CVE-2024-0001"}],
                "artifact": {"name": "left-pad", "version": "1.3.0", "purl": "pkg:npm/left-pad@1.3.0"},
            }],
            "source": {},
        })),
    )
}

fn vulns() -> Value {
    json!({
        "scanner": {
            "uri": "pkg:github/acme/scanner@1",
            "version": "1",
            "db": {"uri": "pkg:github/acme/db@1", "version": "v1-2024", "lastUpdate": "2024-05-03T09:00:00Z"},
            "result": [
                {"id": "CVE-1", "severity": [{"method": "nvd", "score": "medium"}, {"method": "cvss_score", "score": "7.2"}]},
                {"id": "CVE-2", "severity": []},
                {"vulnerability": {"id": "CVE-3", "severity": [{"method": "CVSSv3.1", "score": "0.0"}]}},
            ],
        },
        "metadata": {"scanStartedOn": "2024-05-03T10:00:00Z", "scanFinishedOn": "2024-05-03T10:00:05Z"},
    })
}

/// Each known type with an honest predicate, and the pointers without which it is none.
fn honest() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    vec![
        (V02, v02(), vec!["/builder", "/builder/id", "/buildType"]),
        (
            V1,
            v1(),
            vec![
                "/buildDefinition",
                "/buildDefinition/buildType",
                "/buildDefinition/externalParameters",
                "/buildDefinition/externalParameters/workflow/repository",
                "/buildDefinition/externalParameters/workflow/ref",
                "/buildDefinition/externalParameters/workflow/path",
                "/runDetails",
                "/runDetails/builder",
                "/runDetails/builder/id",
            ],
        ),
        (
            SPDX,
            spdx(),
            vec!["/spdxVersion", "/packages", "/packages/0/name", "/packages/0/externalRefs/1/referenceLocator"],
        ),
        (
            CYCLONEDX,
            cyclonedx(),
            vec!["/bomFormat", "/specVersion", "/components", "/components/0/name", "/components/0/components/0/name"],
        ),
        (
            OPENVEX,
            openvex(),
            vec![
                "/@context",
                "/author",
                "/timestamp",
                "/statements",
                "/statements/0/vulnerability",
                "/statements/0/vulnerability/name",
                "/statements/0/status",
                "/statements/0/justification",
                "/statements/0/products/0/subcomponents/0/@id",
            ],
        ),
        (VSA, vsa(), vec!["/verifier", "/verifier/id", "/resourceUri", "/policy", "/verificationResult"]),
        (
            COSIGN_VULN,
            trivy(),
            vec![
                "/scanner",
                "/scanner/uri",
                "/scanner/result",
                "/scanner/result/SchemaVersion",
                "/scanner/result/Results",
                "/scanner/result/Results/0/Vulnerabilities/0/VulnerabilityID",
                "/scanner/result/Results/0/Vulnerabilities/0/PkgName",
                "/metadata",
                "/metadata/scanFinishedOn",
            ],
        ),
        (
            COSIGN_VULN,
            grype(),
            vec![
                "/scanner/result/matches",
                "/scanner/result/matches/0/vulnerability/id",
                "/scanner/result/matches/0/artifact",
            ],
        ),
        (
            VULNS,
            vulns(),
            vec![
                "/scanner",
                "/scanner/result",
                "/scanner/result/0/id",
                "/scanner/result/0/severity",
                "/metadata/scanFinishedOn",
            ],
        ),
    ]
}

#[test]
fn a4_2_a_known_type_in_another_shape_is_rejected() {
    for (predicate_type, predicate, needed) in honest() {
        assert_eq!(code(predicate_type, &predicate), None, "{predicate_type}");
        for pointer in needed {
            for value in [None, Some(json!(null)), Some(json!(7)), Some(json!([[]]))] {
                let changed = with(&predicate, pointer, value.clone());
                let found = code(predicate_type, &changed);
                assert_eq!(
                    found,
                    Some(Code::STATEMENT_MALFORMED),
                    "{predicate_type}: {pointer} as {value:?} was taken"
                );
            }
        }
        for other in [json!(null), json!([]), json!("x"), json!({}), json!(1)] {
            assert_eq!(code(predicate_type, &other), Some(Code::STATEMENT_MALFORMED), "{predicate_type}: {other}");
        }
        assert_eq!(read(predicate_type, None).unwrap_err().code, Code::STATEMENT_MALFORMED);
    }
}

#[test]
fn a4_1_a_predicate_is_read_as_its_own_type_only() {
    for (predicate_type, predicate, _) in honest() {
        for (other, _, _) in honest() {
            let same = other == predicate_type;
            assert_eq!(code(other, &predicate).is_none(), same, "`{predicate_type}` was read as `{other}`");
        }
    }
}

#[test]
fn other_types_are_left_to_peoples_own_rules() {
    for unknown in [
        "https://example.org/x",
        "https://slsa.dev/provenance/v0.1",
        "https://slsa.dev/provenance/v1/",
        "https://SLSA.dev/provenance/v1",
        "https://spdx.dev/Document/v3.0",
        "https://spdx.dev/Document2",
        "https://cyclonedx.org/bom/1.4",
        "https://sigstore.dev/cosign/sign/v1",
    ] {
        assert_eq!(read(unknown, Some(&json!({}))), Ok(None), "{unknown}");
        assert_eq!(read(unknown, None), Ok(None));
    }
}

#[test]
fn provenance_v02() {
    let said = said(V02, &v02());
    assert_eq!(
        said["source"],
        json!({
            "uri": "https://github.com/acme/cart",
            "digests": {"sha1": "a13aeb1ad0e1a3b8a9c0a8a4f6b3f2d0c5a7e9b1"},
            "branch": "main",
            "tag": "v1.4.2",
        })
    );
    assert_eq!((&said["type"], &said["version"]), (&json!("slsa-provenance"), &json!("v0.2")));
    assert_eq!(said["builder_id"], v02()["builder"]["id"]);
    assert_eq!(said["invocation_id"], "4757060009-1");
    assert_eq!(said["started_at"], "2024-05-03T10:00:00Z");
    assert_eq!(said["dependencies"].as_array().unwrap().len(), 1);
}

#[test]
fn provenance_v1() {
    let said = said(V1, &v1());
    assert_eq!(
        said["source"],
        json!({
            "uri": "https://github.com/acme/cart",
            "digests": {"gitCommit": "a13aeb1ad0e1a3b8a9c0a8a4f6b3f2d0c5a7e9b1"},
            "branch": "main",
        })
    );
    assert_eq!(
        said["workflow"],
        json!({"repository": "https://github.com/acme/cart", "ref": "refs/heads/main", "path": ".github/workflows/release.yml"})
    );
    assert_eq!(said["build_type"], "https://actions.github.io/buildtypes/workflow/v1");
}

#[test]
fn a_source_that_is_said_in_two_ways_is_none() {
    let environment = with(&v02(), "/invocation/environment/github_ref", Some(json!("refs/heads/evil")));
    let source = &said(V02, &environment)["source"];
    assert_eq!((source.get("tag"), source.get("branch")), (None, None));

    let parameters = "/buildDefinition/externalParameters";
    let place = |field: &str, value: Value| with(&v1(), &format!("{parameters}/{field}"), Some(value));
    let same = place("source", json!({"uri": "git+https://github.com/acme/cart@refs/heads/main"}));
    assert_eq!(said(V1, &same)["source"]["branch"], "main");
    for other in [
        json!("git+https://github.com/mallory/cart@refs/heads/main"),
        json!("https://github.com/acme/cart@refs/heads/x"),
    ] {
        assert!(said(V1, &place("source", other.clone())).get("source").is_none(), "{other}");
        assert!(said(V1, &place("configSource", json!({"uri": other}))).get("source").is_none(), "{other}");
    }
    let none = with(&v1(), "/buildDefinition/externalParameters", Some(json!({"image": "x"})));
    assert!(said(V1, &none).get("source").is_none());
    // A repository that holds `@refs/` in its name is cut at the last one only, and matches nothing it should not.
    let odd = place(
        "workflow",
        json!({"repository": "https://h/a@refs/x@refs/heads/main", "ref": "refs/heads/other", "path": "p"}),
    );
    let source = &said(V1, &odd)["source"];
    assert_eq!((&source["uri"], source.get("branch")), (&json!("https://h/a@refs/x"), None));
}

#[test]
fn bills_of_materials() {
    assert_eq!(
        said(SPDX, &spdx()),
        json!({
            "type": "sbom",
            "format": "spdx",
            "spec_version": "2.3",
            "packages": [
                {
                    "name": "@angular/core",
                    "version": "17.0.1",
                    "purl": "pkg:npm/@angular/core",
                    "licenses": ["MIT", "GPL-2.0+", "GPL-2.0", "Apache-2.0", "LLVM-exception"],
                    "digests": {"sha256": HEX},
                },
                {"name": "cart"},
            ],
        })
    );
    assert_eq!(
        said(CYCLONEDX, &cyclonedx()),
        json!({
            "type": "sbom",
            "format": "cyclonedx",
            "spec_version": "1.5",
            "packages": [
                {"name": "cart"},
                {
                    "name": "log4j-core",
                    "group": "org.apache.logging.log4j",
                    "version": "2.14.1",
                    "purl": "pkg:maven/org.apache.logging.log4j/log4j-core",
                    "licenses": ["Apache-2.0", "House License", "MIT", "0BSD"],
                    "digests": {"sha256": HEX},
                },
                {"name": "inner", "version": "1", "purl": "pkg:maven/x/inner"},
            ],
        })
    );
}

#[test]
fn a_package_with_several_purls_stands_for_each() {
    let mut two = spdx();
    let reference =
        json!({"referenceCategory": "PACKAGE_MANAGER", "referenceType": "purl", "referenceLocator": "pkg:npm/evil@9"});
    two["packages"][1]["externalRefs"] =
        json!([reference, {"referenceType": "purl", "referenceLocator": "pkg:npm/good"}, reference]);
    let said = said(SPDX, &two);
    let purls: Vec<_> = said["packages"].as_array().unwrap().iter().map(|package| &package["purl"]).collect();
    assert_eq!(purls, [&json!("pkg:npm/@angular/core"), &json!("pkg:npm/evil"), &json!("pkg:npm/good")]);
}

#[test]
fn versions_of_documents_are_held_to_their_type() {
    for (predicate_type, good) in [
        ("https://spdx.dev/Document/v2.3", true),
        ("https://spdx.dev/Document/v2.2", false),
        ("https://spdx.dev/Document", true),
    ] {
        assert_eq!(code(predicate_type, &spdx()).is_none(), good, "{predicate_type}");
    }
    for (predicate_type, good) in [("https://cyclonedx.org/bom/v1.5", true), ("https://cyclonedx.org/bom/v1.4", false)]
    {
        assert_eq!(code(predicate_type, &cyclonedx()).is_none(), good, "{predicate_type}");
    }
    for version in ["SPDX-2.1", "SPDX-3.0", "2.3"] {
        assert!(code(SPDX, &with(&spdx(), "/spdxVersion", Some(json!(version)))).is_some());
    }
    for version in ["1.3", "2.0"] {
        assert!(code(CYCLONEDX, &with(&cyclonedx(), "/specVersion", Some(json!(version)))).is_some());
    }
}

#[test]
fn cosigns_older_wrapper_is_opened_and_texts_are_refused_with_a_way_out() {
    for (predicate_type, document) in [(SPDX, spdx()), (CYCLONEDX, cyclonedx())] {
        let wrapped = json!({"Data": document, "Timestamp": ""});
        assert_eq!(said(predicate_type, &wrapped), said(predicate_type, &document));
        for text in [json!({"Data": "SPDXVersion: SPDX-2.3", "Timestamp": ""}), json!("<bom/>")] {
            let rejection = read(predicate_type, Some(&text)).unwrap_err();
            assert!(rejection.detail.contains("--type spdxjson"), "{rejection}");
        }
        // With more fields it is no wrapper, and no document.
        assert!(code(predicate_type, &json!({"Data": document, "Other": 1})).is_some());
    }
}

#[test]
fn vex() {
    assert_eq!(
        said(OPENVEX, &openvex()),
        json!({
            "type": "vex",
            "author": "security@acme.example",
            "issued_at": "2024-05-03T08:00:00.5Z",
            "statements": [
                {
                    "vulnerability": "CVE-2024-0001",
                    "aliases": ["GHSA-aaaa-bbbb-cccc"],
                    "products": [{
                        "id": format!("pkg:oci/cart@sha256%3A{HEX}?repository_url=ghcr.io/acme/cart"),
                        "digests": [format!("sha256:{HEX}")],
                        "subcomponents": [{"name": "pkg:npm/left-pad@1.3.0", "version": "1.3.0", "purl": "pkg:npm/left-pad"}],
                    }],
                    "status": "not_affected",
                    "time": "2024-05-04T10:00:00Z",
                    "justification": "vulnerable_code_not_in_execute_path",
                },
                {"vulnerability": "CVE-2024-0002", "products": [], "status": "affected", "time": "2024-05-03T08:00:00.5Z"},
            ],
        })
    );
}

#[test]
fn a_product_names_an_artifact_by_its_whole_digest() {
    let digests = |product: Value| {
        let document = with(&openvex(), "/statements/0/products", Some(json!([product])));
        said(OPENVEX, &document)["statements"][0]["products"][0]["digests"].clone()
    };
    let ours = json!([format!("sha256:{HEX}")]);
    for id in [
        format!("pkg:oci/cart@sha256:{HEX}"),
        format!("pkg:oci/cart@sha256%3a{HEX}?repository_url=x"),
        format!("ghcr.io/acme/cart@sha256:{HEX}"),
        format!("sha256:{HEX}"),
    ] {
        assert_eq!(digests(json!({"@id": id})), ours, "{id}");
    }
    assert_eq!(digests(json!({"identifiers": {"purl": format!("pkg:oci/cart@sha256:{HEX}")}})), ours);
    assert_eq!(digests(json!({"hashes": {"sha-256": HEX.to_uppercase()}})), ours);
    for id in [
        format!("pkg:npm/cart@sha256:{HEX}"),
        "pkg:oci/cart@1.4".into(),
        "ghcr.io/acme/cart:1.4".into(),
        format!("sha256:{}", HEX.get(1..).unwrap()),
        format!("sha256:{}", HEX.to_uppercase()),
        format!("sha512:{HEX}"),
    ] {
        assert_eq!(digests(json!({"@id": id})), json!([]), "{id}");
    }
    let two = digests(json!({"@id": format!("sha256:{HEX}"), "hashes": {"sha-256": "ab"}}));
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert!(code(OPENVEX, &with(&openvex(), "/statements/0/products/0", Some(json!({})))).is_some());
}

#[test]
fn vex_says_why() {
    let statement = |change: &[(&str, Value)]| {
        let mut document = openvex();
        for (field, value) in change {
            document["statements"][0][*field] = value.clone();
        }
        code(OPENVEX, &document)
    };
    assert!(statement(&[("justification", json!("because"))]).is_some());
    assert!(statement(&[("justification", json!(null))]).is_some());
    assert!(statement(&[("justification", json!(null)), ("impact_statement", json!("not reachable"))]).is_none());
    assert!(statement(&[("status", json!("not-affected"))]).is_some());
    assert!(statement(&[("timestamp", json!("yesterday"))]).is_some());
    assert!(statement(&[("timestamp", json!("2200-01-01T00:00:00Z"))]).is_some());
    assert!(statement(&[("timestamp", json!("2199-12-31T23:59:59Z"))]).is_none());
    assert!(statement(&[("timestamp", json!("1969-12-31T23:59:59Z"))]).is_some());
    assert!(code(OPENVEX, &with(&openvex(), "/@context", Some(json!("https://openvex.dev/ns/v0.0.1")))).is_some());
}

#[test]
fn summaries() {
    let expected = json!({
        "type": "verification-summary",
        "verifier_id": "https://verifier.example",
        "verified_at": "2024-05-03T10:00:00Z",
        "resource_uri": "ghcr.io/acme/cart",
        "policy": {"uri": "https://verifier.example/policy", "digests": {"sha256": HEX}},
        "result": "PASSED",
        "levels": ["SLSA_BUILD_LEVEL_3"],
    });
    assert_eq!(said(VSA, &vsa()), expected);
    let older = json!({
        "verifier": {"id": "https://verifier.example"},
        "time_verified": "2024-05-03T10:00:00Z",
        "resource_uri": "ghcr.io/acme/cart",
        "policy": {"uri": "https://verifier.example/policy", "digest": {"sha256": HEX}},
        "verification_result": "PASSED",
        "policy_level": "SLSA_BUILD_LEVEL_3",
        "dependency_levels": {},
    });
    assert_eq!(said(VSA_V02, &older), expected);
    assert!(code(VSA, &older).is_some() && code(VSA_V02, &vsa()).is_some());
    for word in ["passed", "OK", ""] {
        assert!(code(VSA, &with(&vsa(), "/verificationResult", Some(json!(word)))).is_some());
    }
}

#[test]
fn scans() {
    let found = json!([{
        "id": "CVE-2024-0001",
        "aliases": ["GHSA-aaaa-bbbb-cccc"],
        "severity": "high",
        "component": {"name": "left-pad", "version": "1.3.0", "purl": "pkg:npm/left-pad"},
        "fixed_version": "1.3.1",
    }]);
    let said_of = |predicate: &Value| said(COSIGN_VULN, predicate);
    assert_eq!(
        said_of(&trivy()),
        json!({
            "type": "vulnerability-scan",
            "scanner": {"uri": "pkg:github/aquasecurity/trivy@0.50.0", "version": "0.50.0"},
            "finished_at": "2024-05-03T10:00:05.25Z",
            "vulnerabilities": found,
        })
    );
    let of_grype = &said_of(&grype())["vulnerabilities"][0];
    assert_eq!((&of_grype["id"], &of_grype["severity"]), (&json!("GHSA-aaaa-bbbb-cccc"), &json!("low")));
    assert_eq!(of_grype["aliases"], json!(["CVE-2024-0001"]));
    let sarif = with(&trivy(), "/scanner/result", Some(json!({"version": "2.1.0", "runs": []})));
    assert!(read(COSIGN_VULN, Some(&sarif)).unwrap_err().detail.contains("Trivy"));
}

#[test]
fn severities() {
    let list = said(VULNS, &vulns());
    assert_eq!(list["database"], json!({"uri": "pkg:github/acme/db@1", "version": "v1-2024"}));
    let severities: Vec<_> =
        list["vulnerabilities"].as_array().unwrap().iter().map(|found| &found["severity"]).collect();
    assert_eq!(severities, [&json!("high"), &json!("unknown"), &json!("none")]);
    let rated = |method: &str, score: &str| {
        let rating = json!([{"method": method, "score": score}]);
        said(VULNS, &with(&vulns(), "/scanner/result/0/severity", Some(rating)))["vulnerabilities"][0]["severity"]
            .clone()
    };
    for (method, score, severity) in [
        ("cvss_score", "0.1", "low"),
        ("cvss_score", "3.9", "low"),
        ("cvss_score", "4.0", "medium"),
        ("cvss_score", "6.99", "medium"),
        ("cvss_score", "7", "high"),
        ("cvss_score", "9.0", "critical"),
        ("cvss_score", "10.0", "critical"),
        ("cvss_score", "10.1", "unknown"),
        ("cvss_score", "-0.1", "unknown"),
        ("cvss_score", "NaN", "unknown"),
        ("cvss_score", "inf", "unknown"),
        ("CVSSv3", "CVSS:3.1/AV:N/AC:L", "unknown"),
        ("epss", "0.01", "unknown"),
        ("nvd", "Critical", "critical"),
        ("redhat", "important", "high"),
        ("redhat", "moderate", "medium"),
        ("x", "odd", "unknown"),
    ] {
        assert_eq!(rated(method, score), severity, "{method} {score}");
    }
}

#[test]
fn counts_hold_at_and_past_their_limits() {
    let repeated = |predicate: &Value, pointer: &str, count: usize| {
        let mut changed = predicate.clone();
        let list = changed.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
        let last = list.pop().unwrap();
        *list = vec![last; count];
        changed
    };
    for (predicate_type, predicate, pointer, max) in [
        (V02, v02(), "/materials", DEPENDENCIES_MAX),
        (V1, v1(), "/buildDefinition/resolvedDependencies", DEPENDENCIES_MAX),
        (SPDX, spdx(), "/packages", PACKAGES_MAX),
        (CYCLONEDX, with(&cyclonedx(), "/metadata", None), "/components/0/components", PACKAGES_MAX - 1),
        (OPENVEX, openvex(), "/statements", VEX_STATEMENTS_MAX),
        (OPENVEX, openvex(), "/statements/0/products", PARTS_MAX),
        (OPENVEX, openvex(), "/statements/0/vulnerability/aliases", PARTS_MAX),
        (OPENVEX, openvex(), "/statements/0/products/0/subcomponents", PARTS_MAX),
        (VSA, vsa(), "/verifiedLevels", PARTS_MAX),
        (COSIGN_VULN, trivy(), "/scanner/result/Results/0/Vulnerabilities", VULNERABILITIES_MAX),
        (COSIGN_VULN, grype(), "/scanner/result/matches", VULNERABILITIES_MAX),
        (VULNS, vulns(), "/scanner/result", VULNERABILITIES_MAX),
        (CYCLONEDX, cyclonedx(), "/components/0/licenses", PARTS_MAX),
        (SPDX, spdx(), "/packages/0/checksums", PARTS_MAX),
    ] {
        assert_eq!(code(predicate_type, &repeated(&predicate, pointer, max)), None, "{pointer}");
        let past = code(predicate_type, &repeated(&predicate, pointer, max + 1));
        assert_eq!(past, Some(Code::LIMIT_EXCEEDED), "{pointer}");
    }
    // Two results of a report count together, and so do the purls of one package.
    let mut halves = repeated(&trivy(), "/scanner/result/Results/0/Vulnerabilities", VULNERABILITIES_MAX);
    halves["scanner"]["result"]["Results"][1] = halves["scanner"]["result"]["Results"][0].clone();
    assert_eq!(code(COSIGN_VULN, &halves), Some(Code::LIMIT_EXCEEDED));
    let mut many = spdx();
    let reference = |name: usize| json!({"referenceType": "purl", "referenceLocator": format!("pkg:npm/p{name}")});
    let package = json!({"name": "x", "externalRefs": (0..100).map(reference).collect::<Vec<_>>()});
    many["packages"] = vec![package; PACKAGES_MAX / 100 + 1].into();
    assert_eq!(code(SPDX, &many), Some(Code::LIMIT_EXCEEDED));
}

#[test]
fn texts_hold_at_and_past_their_limit() {
    for (predicate_type, predicate, pointer) in [
        (V02, v02(), "/builder/id"),
        (V1, v1(), "/buildDefinition/buildType"),
        (SPDX, spdx(), "/packages/0/name"),
        (SPDX, spdx(), "/packages/0/licenseDeclared"),
        (CYCLONEDX, cyclonedx(), "/components/0/version"),
        (OPENVEX, openvex(), "/statements/0/impact_statement"),
        (OPENVEX, openvex(), "/statements/0/vulnerability/aliases/0"),
        (VSA, vsa(), "/resourceUri"),
        (COSIGN_VULN, trivy(), "/scanner/result/Results/0/Vulnerabilities/0/FixedVersion"),
    ] {
        let sized = |bytes: usize| with(&predicate, pointer, Some(json!("x".repeat(bytes))));
        assert_eq!(code(predicate_type, &sized(PREDICATE_TEXT_BYTES_MAX)), None, "{pointer}");
        let past = code(predicate_type, &sized(PREDICATE_TEXT_BYTES_MAX + 1));
        assert_eq!(past, Some(Code::LIMIT_EXCEEDED), "{pointer}");
    }
    let digests = |count: usize| {
        let set: serde_json::Map<_, _> = (0..count).map(|name| (format!("a{name}"), json!(HEX))).collect();
        code(VSA, &with(&vsa(), "/policy/digest", Some(set.into())))
    };
    assert_eq!((digests(PARTS_MAX), digests(PARTS_MAX + 1)), (None, Some(Code::LIMIT_EXCEEDED)));
}

#[test]
fn the_rejection_names_the_field() {
    let rejection =
        |predicate_type: &str, predicate: &Value| read(predicate_type, Some(predicate)).unwrap_err().to_string();
    insta::assert_snapshot!(
        [
            rejection(V02, &json!({})),
            rejection(V1, &with(&v1(), "/runDetails/builder/id", Some(json!(7)))),
            rejection(SPDX, &with(&spdx(), "/spdxVersion", Some(json!("SPDX-1.0")))),
            rejection(SPDX, &with(&spdx(), "/packages/1", Some(json!([])))),
            rejection(CYCLONEDX, &with(&cyclonedx(), "/components/0/purl", Some(json!("left-pad")))),
            rejection(CYCLONEDX, &with(&cyclonedx(), "/components/0/hashes/0/content", Some(json!("xyz")))),
            rejection(OPENVEX, &with(&openvex(), "/statements/0/status", Some(json!("maybe")))),
            rejection(COSIGN_VULN, &with(&trivy(), "/scanner/result", Some(json!({"runs": []})))),
            rejection(VSA, &with(&vsa(), "/verificationResult", Some(json!("MAYBE")))),
        ]
        .join("\n"),
        @"
        statement-malformed: expected `builder` of the provenance to be an object, found none
        statement-malformed: expected `id` of the builder to be a text, found a number
        statement-malformed: expected `spdxVersion` of the SPDX document to be `SPDX-2.2` or `SPDX-2.3`, found `SPDX-1.0`
        statement-malformed: expected a package to be an object, found a list
        statement-malformed: expected a package URL to be `pkg:type/name`, found `left-pad`
        statement-malformed: expected `content` of a digest to be hex, found `xyz`
        statement-malformed: expected `status` of a VEX statement to be a status of VEX, found `maybe`
        statement-malformed: expected `result` of the scanner to be the JSON of Trivy (`SchemaVersion` 2) or of Grype (`matches`), found `another report`
        statement-malformed: expected `verificationResult` of the summary to be `PASSED` or `FAILED`, found `MAYBE`
        "
    );
}

#[test]
fn what_is_read_survives_the_case() {
    for (predicate_type, predicate, _) in honest() {
        let attested = read(predicate_type, Some(&predicate)).unwrap().unwrap();
        let json = serde_json::to_value(&attested).unwrap();
        assert_eq!(serde_json::from_value::<Attested>(json.clone()).unwrap(), attested);
        let mut more = json;
        more["more"] = json!(1);
        assert!(serde_json::from_value::<Attested>(more).is_err());
    }
}
