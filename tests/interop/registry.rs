//! Debian's docker-registry, which has no referrers API, as the upstream.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER, policy_data};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, ConfigClaims, Pushed};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{PATIENCE, World, components};

use crate::succeed;

/// A docker-registry of its own, in a folder of its own; dropping it ends it.
struct DockerRegistry {
    process: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl DockerRegistry {
    async fn start() -> Self {
        witgate_tests::provider();
        let folder = tempfile::tempdir().unwrap();
        // The port is free again when the registry takes it: it cannot be told to choose one.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let config = folder.path().join("config.yml");
        let store = folder.path().join("store");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{host}\"}}\n",
            store.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("docker-registry starts");
        let mut registry = Self { process, host, _folder: folder };
        registry.wait().await;
        registry
    }

    async fn wait(&mut self) {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
        let begin = Instant::now();
        loop {
            match client.get(format!("http://{}/v2/", self.host)).send().await {
                Ok(answer) if answer.status() == 200 => return,
                answer => {
                    let ended = self.process.try_wait().unwrap();
                    assert!(ended.is_none() && begin.elapsed() < PATIENCE, "docker-registry: {ended:?}, {answer:?}");
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn status(&self, path: &str) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("http://{}/v2/{path}", self.host)).send().await.unwrap().status().as_u16()
    }

    /// A gateway with this registry as an upstream.
    async fn world(&self) -> World {
        let host = &self.host;
        World::with(|setup| {
            setup.more = format!(
                "[registry.upstreams.\"{host}\"]\nurl = \"http://{host}\"\nprivate = true\ninsecure_http = true\n"
            );
            setup.policy_data = Some(policy_data(host));
        })
        .await
    }

    async fn push(&self, name: &str) -> Pushed {
        let wasm = Bytes::from(components::command(&format!("{name}\n")));
        push::component(&self.host, &format!("acme/{name}"), "1.0", wasm, ConfigClaims::default(), &Auth::Open)
            .await
            .unwrap()
    }

    async fn sign(&self, world: &World, name: &str, pushed: &Pushed) -> Digest {
        let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
        let bundle = world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
        let predicate = Some("https://sigstore.dev/cosign/sign/v1");
        push::bundle(&self.host, &format!("acme/{name}"), pushed, &bundle, predicate, &Auth::Open).await.unwrap()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_found_under_the_fallback_tag() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = registry.push("good").await;
    registry.sign(&world, "good", &pushed).await;
    assert_eq!(
        registry.status(&format!("acme/good/referrers/{}", pushed.manifest)).await,
        404,
        "this registry has no referrers API"
    );

    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["artifact"], pushed.manifest.to_string());
    let record = world.host.get(&format!("/v1/decisions/{}", reply.decision())).await;
    assert!(record.body.to_string().contains("fallback-tag"), "{}", record.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_under_the_fallback_tag_is_unsigned_not_admitted() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = registry.push("unsigned").await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["no-verified-signature"]), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_gets_no_decision() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let reply = world.host.admit(&format!("{}/acme/nothing:1.0", registry.host)).await;
    assert_eq!(reply.status, 404, "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_component_and_evidence_unharmed() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = registry.push("good").await;
    registry.sign(&world, "good", &pushed).await;
    // skopeo 1.9 writes an index anew and refuses to do so under `--preserve-digests`; only its entries count here.
    for (tag, keep) in [("1.0".to_owned(), Some("--preserve-digests")), (push::fallback_tag(&pushed.manifest), None)] {
        let at = |repository: &str| format!("docker://{}/{repository}:{tag}", registry.host);
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args(["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args(keep);
        succeed(skopeo.arg(at("acme/good")).arg(at("acme/mirrored")));
    }
    let reply = world.host.admit(&format!("{}/acme/mirrored:1.0", registry.host)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["artifact"], pushed.manifest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_away_from_its_evidence_is_refused() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = registry.push("good").await;
    registry.sign(&world, "good", &pushed).await;
    let other = Bytes::from(components::command("something else\n"));
    let moved =
        push::component(&registry.host, "acme/good", "1.0", other, ConfigClaims::default(), &Auth::Open).await.unwrap();
    assert_ne!(moved.manifest, pushed.manifest);
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["no-verified-signature"]), "{}", reply.body);
}
