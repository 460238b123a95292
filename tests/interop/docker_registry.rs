//! Debian's docker-registry in a process of its own; it has no referrers API.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use witgate::dev::deployment::{Setup, policy_data};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, ConfigClaims, Pushed};
use witgate_tests::{PATIENCE, World, components};

/// A docker-registry of its own, in a folder of its own; dropping it ends it.
pub(crate) struct DockerRegistry {
    process: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl DockerRegistry {
    pub(crate) async fn start() -> Self {
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

    pub(crate) async fn status(&self, path: &str) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("http://{}/v2/{path}", self.host)).send().await.unwrap().status().as_u16()
    }

    /// `HOST:PORT`
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A gateway with this registry as an upstream.
    pub(crate) async fn world(&self) -> World {
        World::with(|setup| self.add_to(setup)).await
    }

    /// The registry as an upstream of the gateway that `setup` makes, whose policy is about it alone.
    pub(crate) fn add_to(&self, setup: &mut Setup) {
        let host = &self.host;
        setup.more.push_str(&format!(
            "[registry.upstreams.\"{host}\"]\nurl = \"http://{host}\"\nprivate = true\ninsecure_http = true\n"
        ));
        setup.policy_data = Some(policy_data(host));
    }

    pub(crate) async fn push(&self, name: &str) -> Pushed {
        let wasm = Bytes::from(components::command(&format!("{name}\n")));
        push::component(&self.host, &format!("acme/{name}"), "1.0", wasm, ConfigClaims::default(), &Auth::Open)
            .await
            .unwrap()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
