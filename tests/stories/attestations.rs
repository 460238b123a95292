//! What must be attested: provenance, a bill of materials, a scan with VEX, a summary, each of them by somebody believed.

use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{self, ISSUER};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, Pushed};
use witgate::dev::sigstore::{Content, SIGNED_AFTER_S, Sign};
use witgate_tests::{World, components, rejected};

const BUILDER: &str = "https://github.com/acme/shop/.github/workflows/build.yml@refs/heads/main";
const SCANNER: &str = "https://github.com/acme/shop/.github/workflows/scan.yml@refs/heads/main";
const SECURITY: &str = "security@acme.example";
const STRANGER: &str = "https://github.com/mallory/shop/.github/workflows/build.yml@refs/heads/main";

fn uri(value: &str) -> Value {
    json!({"issuer": ISSUER, "san": {"kind": "uri", "value": value}})
}

/// The deployment's own policy data with what must be attested.
fn policy_data() -> Value {
    let mut data = deployment::policy_data("*");
    for list in ["signatures", "grants"] {
        data["witgate"][list][0]["references"] = json!(["*"]);
    }
    data["witgate"]["provenance"] = json!([{
        "references": ["*"],
        "signers": [uri(BUILDER)],
        "builder_id": BUILDER,
        "source_uri": "https://github.com/acme/shop",
        "source_branch": "main",
    }]);
    data["witgate"]["sboms"] = json!([{
        "references": ["*"],
        "signers": [uri(BUILDER)],
        "banned": [{"purl": "pkg:npm/event-stream", "versions": ["3.3.6"]}],
    }]);
    data["witgate"]["vulnerabilities"] = json!([{
        "references": ["*"],
        "signers": [uri(SCANNER)],
        "max_severity": "medium",
        "max_age_s": 86400,
        "vex": {"signers": [{"issuer": ISSUER, "san": {"kind": "email", "value": SECURITY}}]},
    }]);
    data["witgate"]["summaries"] = json!([{
        "references": ["*"],
        "signers": [uri(BUILDER)],
        "verifier_id": "https://verifier.example",
        "resource_uri": "demo",
        "levels": ["SLSA_BUILD_LEVEL_3"],
    }]);
    data
}

/// One attestation to attach.
#[derive(Clone)]
struct Attach {
    by: &'static str,
    predicate_type: &'static str,
    predicate: Value,
    about: Digest,
}

/// Everything that policy wants, about one artifact: provenance, bill, scan, VEX, summary.
fn complete(about: Digest) -> Vec<Attach> {
    let attach = |by, predicate_type, predicate| Attach { by, predicate_type, predicate, about };
    vec![
        attach(
            BUILDER,
            "https://slsa.dev/provenance/v1",
            json!({
                "buildDefinition": {
                    "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                    "externalParameters": {"workflow": {
                        "ref": "refs/heads/main",
                        "repository": "https://github.com/acme/shop",
                        "path": ".github/workflows/build.yml",
                    }},
                },
                "runDetails": {"builder": {"id": BUILDER}},
            }),
        ),
        attach(
            BUILDER,
            "https://cyclonedx.org/bom",
            json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
                {"type": "library", "name": "event-stream", "version": "4.0.1", "purl": "pkg:npm/event-stream@4.0.1"},
            ]}),
        ),
        attach(
            SCANNER,
            "https://cosign.sigstore.dev/attestation/vuln/v1",
            json!({
                "scanner": {"uri": "pkg:github/aquasecurity/trivy", "result": {"SchemaVersion": 2, "Results": [{
                    "Vulnerabilities": [{"VulnerabilityID": "CVE-2024-0001", "PkgName": "event-stream", "Severity": "CRITICAL"}],
                }]}},
                "metadata": {"scanFinishedOn": (Timestamp::now() - jiff::SignedDuration::from_secs(60)).to_string()},
            }),
        ),
        attach(
            SECURITY,
            "https://openvex.dev/ns/v0.2.0",
            json!({
                "@context": "https://openvex.dev/ns/v0.2.0",
                "author": SECURITY,
                "timestamp": "2024-05-03T10:00:00Z",
                "statements": [{
                    "vulnerability": {"name": "CVE-2024-0001"},
                    "products": [{"@id": format!("pkg:oci/cart@{}", about.to_string().replace(':', "%3A"))}],
                    "status": "not_affected",
                    "justification": "vulnerable_code_not_present",
                }],
            }),
        ),
        attach(
            BUILDER,
            "https://slsa.dev/verification_summary/v1",
            json!({
                "verifier": {"id": "https://verifier.example"},
                "resourceUri": "demo",
                "policy": {"uri": "https://verifier.example/policy"},
                "verificationResult": "PASSED",
                "verifiedLevels": ["SLSA_BUILD_LEVEL_3"],
            }),
        ),
    ]
}

const PROVENANCE: usize = 0;
const BILL: usize = 1;
const SCAN: usize = 2;
const VEX: usize = 3;
const SUMMARY: usize = 4;

async fn attach(world: &World, name: &str, pushed: &Pushed, list: &[Attach]) {
    let host = world.deployment.registry.host();
    let at = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    for Attach { by, predicate_type, predicate, about } in list {
        let what = Content::Statement { predicate_type: (*predicate_type).into(), predicate: predicate.clone() };
        let bundle = world.deployment.sigstore.sign(Sign::cosign(*about, by, ISSUER, at).signing(what)).unwrap();
        let repository = format!("demo/{name}");
        push::bundle(&host, &repository, pushed, &bundle, Some(predicate_type), &Auth::Open).await.unwrap();
    }
}

/// Publishes a component with what `change` leaves of everything that policy wants; the codes of the answer.
async fn codes(world: &World, name: &str, change: impl FnOnce(&mut Vec<Attach>)) -> Vec<String> {
    // Bytes of its own, so that each name is another artifact.
    let pushed = world.publish(name, components::command(name)).await;
    let mut list = complete(pushed.manifest);
    change(&mut list);
    attach(world, name, &pushed, &list).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status == 200, reply.codes().is_empty(), "{}", reply.body);
    reply.codes().into_iter().map(str::to_owned).collect()
}

async fn world() -> World {
    World::with(|setup| setup.policy_data = Some(policy_data())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_with_everything_attested_is_admitted() {
    let world = world().await;
    assert_eq!(codes(&world, "complete", |_| {}).await, Vec::<String>::new());
    // VEX is needed only where the scan found something.
    let clean = |list: &mut Vec<Attach>| {
        list[SCAN].predicate["scanner"]["result"]["Results"] = json!([{"Target": "x"}]);
        list.remove(VEX);
    };
    assert_eq!(codes(&world, "clean", clean).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attestation_must_be_there() {
    let world = world().await;
    for (what, code) in [
        (PROVENANCE, "attestation-missing"),
        (BILL, "attestation-missing"),
        (SCAN, "attestation-missing"),
        (VEX, "vulnerability-found"),
        (SUMMARY, "attestation-missing"),
    ] {
        let without = |list: &mut Vec<Attach>| drop(list.remove(what));
        assert_eq!(codes(&world, &format!("without-{what}"), without).await, [code], "{what}");
        let strange = |list: &mut Vec<Attach>| list[what].by = STRANGER;
        assert_eq!(codes(&world, &format!("strange-{what}"), strange).await, [code], "{what}");
        // A5.1: about another artifact, attached to this one.
        let elsewhere = |list: &mut Vec<Attach>| list[what].about = Digest::of(b"another");
        assert_eq!(codes(&world, &format!("elsewhere-{what}"), elsewhere).await, [code], "{what}");
        // A4.1: the words of this type under the name of another.
        let renamed = |list: &mut Vec<Attach>| list[what].predicate_type = "https://example.org/x";
        assert_eq!(codes(&world, &format!("renamed-{what}"), renamed).await, [code], "{what}");
        // A4.2: this type without its shape.
        let empty = |list: &mut Vec<Attach>| list[what].predicate = json!({});
        assert_eq!(codes(&world, &format!("empty-{what}"), empty).await, [code], "{what}");
    }
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attestation_must_say_what_policy_wants() {
    let world = world().await;
    let said = |what: usize, pointer: &'static str, value: Value| {
        move |list: &mut Vec<Attach>| *list[what].predicate.pointer_mut(pointer).unwrap() = value
    };
    let workflow = "/buildDefinition/externalParameters/workflow";
    for (name, what, pointer, value, code) in [
        ("builder", PROVENANCE, "/runDetails/builder/id", json!(STRANGER), "provenance-mismatch"),
        ("type", PROVENANCE, workflow, json!(null), "provenance-mismatch"),
        ("bill", BILL, "/components/0/purl", json!("pkg:npm/event-stream@3.3.6"), "package-banned"),
        ("stale", SCAN, "/metadata/scanFinishedOn", json!("2024-05-03T10:00:00Z"), "attestation-missing"),
        ("vex", VEX, "/statements/0/status", json!("affected"), "vulnerability-found"),
        ("cve", VEX, "/statements/0/vulnerability/name", json!("CVE-2024-0002"), "vulnerability-found"),
        ("product", VEX, "/statements/0/products/0/@id", json!("pkg:oci/cart"), "vulnerability-found"),
        ("failed", SUMMARY, "/verificationResult", json!("FAILED"), "attestation-missing"),
        ("resource", SUMMARY, "/resourceUri", json!("other"), "attestation-missing"),
    ] {
        let change = move |list: &mut Vec<Attach>| {
            said(what, pointer, value)(list);
            if name == "bill" {
                list[what].predicate["components"][0]["version"] = json!("3.3.6");
            }
        };
        assert_eq!(codes(&world, &format!("said-{name}"), change).await, [code], "{name}");
    }
    let repository = |list: &mut Vec<Attach>| {
        list[PROVENANCE].predicate.pointer_mut(workflow).unwrap()["repository"] =
            json!("https://github.com/mallory/shop");
    };
    assert_eq!(codes(&world, "said-repository", repository).await, ["provenance-mismatch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_3_an_attestation_of_another_deployment_is_not_shown_to_policy() {
    let world = world().await;
    let stranger = World::start().await;
    let name = "forged";
    let pushed = world.publish(name, components::command(name)).await;
    let mut list = complete(pushed.manifest);
    let forged = list.remove(BILL);
    attach(&world, name, &pushed, &list).await;
    let at = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let what = Content::Statement { predicate_type: forged.predicate_type.into(), predicate: forged.predicate };
    let bundle =
        stranger.deployment.sigstore.sign(Sign::cosign(pushed.manifest, BUILDER, ISSUER, at).signing(what)).unwrap();
    let host = world.deployment.registry.host();
    let repository = format!("demo/{name}");
    push::bundle(&host, &repository, &pushed, &bundle, Some(forged.predicate_type), &Auth::Open).await.unwrap();
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.codes(), ["attestation-missing"], "{}", reply.body);
    let detail = reply.body["reasons"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("rejected: certificate-untrusted"), "{detail}");
    let decision = world.host.get(&format!("/v1/decisions/{}", reply.decision())).await;
    assert_eq!(rejected(&decision.body), ["certificate-untrusted"]);
    assert!(!decision.body.to_string().contains("event-stream@4.0.1"), "{}", decision.body);
}
