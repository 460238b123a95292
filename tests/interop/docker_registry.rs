//! Debian's docker-registry, which has no referrers API.

use std::process::Command;

use witgate::dev::deployment::{Setup, policy_data};
use witgate_tests::{World, free_address};

use crate::process::Process;
use crate::pushed::upstream;

/// A docker-registry of its own, in a folder of its own.
pub(crate) struct DockerRegistry {
    host: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl DockerRegistry {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The port is free again when the registry takes it: it cannot be told to choose one.
        let host = free_address().to_string();
        let config = folder.path().join("config.yml");
        let store = folder.path().join("store");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{host}\"}}\n",
            store.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let process = Process::start(command.arg("serve").arg(&config), &format!("http://{host}/v2/")).await;
        Self { host, _process: process, _folder: folder }
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
        setup.more.push_str(&upstream(&self.host));
        setup.policy_data = Some(policy_data(&self.host));
    }
}
