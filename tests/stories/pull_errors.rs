//! What a person reads when the registry door says no.

use http::Method;
use witgate::dev::registry::{Fault, Match, Rule, Target};
use witgate_tests::{ALIAS, Reply, World, components, door_path};

/// Status, the headers that say something, and the body, with what changes from run to run made the same.
fn told(reply: &Reply) -> String {
    let mut text = format!("{}\n", reply.status);
    for name in ["allow", "content-type", "docker-content-digest", "retry-after", "warning", "witgate-decision"] {
        for value in reply.headers.get_all(name) {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
    }
    if !reply.bytes.is_empty() {
        text.push_str(&serde_json::to_string_pretty(&reply.body).unwrap());
    }
    text
}

/// What changes from run to run, made the same for as long as this lives.
fn steady() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID");
    settings.add_filter("sha256:[0-9a-f]{64}", "sha256:DIGEST");
    settings.bind_to_scope()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reads_well_in_the_message_alone_and_without_a_body() {
    let world = World::behind_the_door(|_| {}).await;
    world.publish("greedy", components::greedy("hello\n")).await;
    let got = world.host.pull("greedy", "manifests/1.0").await;
    let head = world.host.head("greedy", "manifests/1.0").await;
    let _steady = steady();
    insta::assert_snapshot!(told(&got), @r#"
        403
        content-type: application/json
        warning: 299 - "witgate: refused `registry.test/demo/greedy:1.0`: import-not-granted: `wasi:sockets/network@0.2.12`, `wasi:sockets/tcp-create-socket@0.2.12`, `wasi:sockets/tcp@0.2.12`: not granted to `spiffe://demo.witgate.example/host/a` (decision UUID)"
        witgate-decision: UUID
        {
          "errors": [
            {
              "code": "DENIED",
              "detail": {
                "decision_id": "UUID",
                "reasons": [
                  {
                    "about": "wasi:sockets/network@0.2.12",
                    "code": "import-not-granted",
                    "detail": "not granted to `spiffe://demo.witgate.example/host/a`",
                    "hint": "grant it in `imports` of the caller's grant rule, or build the component without it"
                  },
                  {
                    "about": "wasi:sockets/tcp-create-socket@0.2.12",
                    "code": "import-not-granted",
                    "detail": "not granted to `spiffe://demo.witgate.example/host/a`",
                    "hint": "grant it in `imports` of the caller's grant rule, or build the component without it"
                  },
                  {
                    "about": "wasi:sockets/tcp@0.2.12",
                    "code": "import-not-granted",
                    "detail": "not granted to `spiffe://demo.witgate.example/host/a`",
                    "hint": "grant it in `imports` of the caller's grant rule, or build the component without it"
                  }
                ]
              },
              "message": "witgate: refused `registry.test/demo/greedy:1.0`: import-not-granted: `wasi:sockets/network@0.2.12`, `wasi:sockets/tcp-create-socket@0.2.12`, `wasi:sockets/tcp@0.2.12`: not granted to `spiffe://demo.witgate.example/host/a` (decision UUID)"
            }
          ]
        }
        "#);
    insta::assert_snapshot!(told(&head), @r#"
        403
        content-type: application/json
        warning: 299 - "witgate: refused `registry.test/demo/greedy:1.0`: import-not-granted: `wasi:sockets/network@0.2.12`, `wasi:sockets/tcp-create-socket@0.2.12`, `wasi:sockets/tcp@0.2.12`: not granted to `spiffe://demo.witgate.example/host/a` (decision UUID)"
        witgate-decision: UUID
        "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_reads_well() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("there", components::command("hello\n")).await;
    let _steady = steady();
    let reply = world.host.pull("there", "manifests/2.0").await;
    insta::assert_snapshot!(told(&reply), @r#"
        404
        content-type: application/json
        {
          "errors": [
            {
              "code": "MANIFEST_UNKNOWN",
              "detail": {},
              "message": "witgate: manifest `registry.test/demo/there:2.0` is unknown, or no grant rule lets you see it"
            }
          ]
        }
        "#);
    let reply = world.host.pull("there", "manifests/-").await;
    insta::assert_snapshot!(told(&reply), @r#"
        404
        content-type: application/json
        {
          "errors": [
            {
              "code": "MANIFEST_UNKNOWN",
              "detail": {},
              "message": "witgate: the manifest is unknown, or no grant rule lets you see it"
            }
          ]
        }
        "#);
    let reply = world.host.pull("there", &format!("blobs/{}", pushed.component)).await;
    insta::assert_snapshot!(told(&reply), @r#"
        404
        content-type: application/json
        {
          "errors": [
            {
              "code": "BLOB_UNKNOWN",
              "detail": {},
              "message": "witgate: no manifest that you were admitted to in this repository names the blob; ask for the manifest first"
            }
          ]
        }
        "#);
    let reply = world.host.get("/v2/demo/there/manifests/1.0").await;
    insta::assert_snapshot!(told(&reply), @r#"
        404
        content-type: application/json
        {
          "errors": [
            {
              "code": "NAME_UNKNOWN",
              "detail": {},
              "message": "witgate: the path begins with no registry of `[registry.upstreams]`, and `ns` names none: expected `/v2/REGISTRY/REPOSITORY/…`"
            }
          ]
        }
        "#);
    let reply = world.host.get("/v2/nothing").await;
    insta::assert_snapshot!(told(&reply), @r#"
        404
        content-type: application/json
        {
          "errors": [
            {
              "code": "NAME_UNKNOWN",
              "detail": {},
              "message": "witgate: no endpoint of distribution-spec has this path"
            }
          ]
        }
        "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_reads_well() {
    let world = World::behind_the_door(|_| {}).await;
    let _steady = steady();
    let reply = world.host.pull("x", "blobs/sha256:bad").await;
    insta::assert_snapshot!(told(&reply), @r#"
        400
        content-type: application/json
        {
          "errors": [
            {
              "code": "DIGEST_INVALID",
              "detail": {},
              "message": "witgate: the digest is not `sha256:` and 64 lower-case hex digits"
            }
          ]
        }
        "#);
    let reply = world.host.pull("X", "manifests/1.0").await;
    insta::assert_snapshot!(told(&reply), @r#"
        400
        content-type: application/json
        {
          "errors": [
            {
              "code": "NAME_INVALID",
              "detail": {},
              "message": "witgate: the repository is not lower-case words joined by `/`, `.`, `_` or `-`, at most 255 bytes with its registry"
            }
          ]
        }
        "#);
    let reply = world.host.get(&format!("/v2/{ALIAS}/x/manifests/1.0?ns={ALIAS}")).await;
    insta::assert_snapshot!(told(&reply), @r#"
        400
        content-type: application/json
        {
          "errors": [
            {
              "code": "NAME_INVALID",
              "detail": {},
              "message": "witgate: both the path and `ns` name a registry: expected one of them"
            }
          ]
        }
        "#);
    let reply = world.host.get(&format!("/v2/x/manifests/1.0?ns={ALIAS}&ns={ALIAS}")).await;
    insta::assert_snapshot!(told(&reply), @r#"
        400
        content-type: application/json
        {
          "errors": [
            {
              "code": "NAME_INVALID",
              "detail": {},
              "message": "witgate: the query: `ns` stands twice"
            }
          ]
        }
        "#);
    let reply = world.host.fetch(Method::PUT, &door_path("x", "manifests/1.0"), &[]).await;
    insta::assert_snapshot!(told(&reply), @r#"
        405
        allow: GET, HEAD
        content-type: application/json
        {
          "errors": [
            {
              "code": "UNSUPPORTED",
              "detail": {},
              "message": "witgate: the registry door only reads: push to the registry itself"
            }
          ]
        }
        "#);
    let reply = world.host.get("/v2/_catalog").await;
    insta::assert_snapshot!(told(&reply), @r#"
        405
        allow: GET, HEAD
        content-type: application/json
        {
          "errors": [
            {
              "code": "UNSUPPORTED",
              "detail": {},
              "message": "witgate: repositories are not listed"
            }
          ]
        }
        "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_and_a_wait_read_well() {
    let world = World::behind_the_door(|setup| setup.deadline = std::time::Duration::from_millis(300)).await;
    world.publish("out", components::command("hello\n")).await;
    let forbidden = Fault::Status { code: 403, body: bytes::Bytes::new(), headers: vec![] };
    world.deployment.registry.inject(Rule::new(Match::on(Target::Manifest), forbidden));
    let outage = world.host.pull("out", "manifests/1.0").await;
    world.deployment.registry.heal();
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), Fault::Drip { bytes_per_second: 50 }));
    let pending = world.host.pull("out", "manifests/1.0").await;
    let _steady = steady();
    insta::assert_snapshot!(told(&outage), @r#"
        503
        content-type: application/json
        retry-after: 1
        {
          "errors": [
            {
              "code": "UNAVAILABLE",
              "detail": {
                "peer": "registry"
              },
              "message": "witgate: registry `registry.test` gave no answer while reading the manifest of `demo/out:1.0`: the registry answered 403; the registry answered 403: check `username` with `password_file`, `token_file` or `docker_config` in `[registry.upstreams.\"registry.test\"]`"
            }
          ]
        }
        "#);
    insta::assert_snapshot!(told(&pending), @r#"
        429
        content-type: application/json
        retry-after: 5
        {
          "errors": [
            {
              "code": "TOOMANYREQUESTS",
              "detail": {
                "code": "pending"
              },
              "message": "witgate: the evidence is still being collected: ask again"
            }
          ]
        }
        "#);
}
