//! The registry door: a world whose embedded registry has a name that can stand in a path, and who asks there.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use witgate::case::Timestamp;
use witgate::config::Config;
use witgate::dev::deployment::{Setup, policy_data};
use witgate::service::Service;

use crate::{Caller, PATIENCE, Reply, World, free_address, reply};

/// The embedded registry's name at the door: a name with a port cannot stand in a path.
pub const ALIAS: &str = "registry.test";

impl World {
    /// As [`World::with`], with the embedded registry reached as [`ALIAS`] too; policy grants what the demo grants, there.
    pub async fn behind_the_door(change: impl FnOnce(&mut Setup)) -> Self {
        Self::with(|setup| {
            let address = free_address();
            setup.registry.listen = address;
            setup.policy_data = Some(policy_data(ALIAS));
            change(setup);
            setup.more = format!(
                "[registry.upstreams.\"{ALIAS}\"]\nurl = \"http://{address}\"\nprivate = true\ninsecure_http = true\n\n{}",
                setup.more
            );
        })
        .await
    }

    /// A gateway without identity beside this one: plain HTTP on loopback, everybody is `local`; `granted` may have what the
    /// demo grants. Its registry is the same one, but not in a private network.
    pub async fn local_door(&self, granted: &str) -> LocalDoor {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut data = policy_data(ALIAS);
        data["witgate"]["grants"][0]["callers"] = json!([granted]);
        let policy = folder.path().join("policy-data");
        std::fs::create_dir(&policy).expect("a folder in a temporary one");
        std::fs::write(policy.join("data.json"), data.to_string()).expect("a file in a temporary folder");
        let file = folder.path().join("witgate.toml");
        let text = format!(
            "[listen]\ncallers = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [registry.upstreams.\"{ALIAS}\"]\nurl = \"http://{}\"\n\
             [[evidence.roots]]\nname = \"demo\"\ntrusted_root = \"{}\"\n[policy]\ndata = \"{}\"\n",
            self.deployment.registry.host(),
            self.folder().join("trusted_root.json").display(),
            policy.display(),
        );
        std::fs::write(&file, text).expect("a file in a temporary folder");
        let config = Config::load(Some(&file), [], Some(&folder.path().join("data"))).expect("a configuration");
        let service = Service::start(&config, Arc::new(Timestamp::now), Arc::new(String::new)).await;
        LocalDoor { service: service.expect("the gateway starts"), _folder: folder }
    }
}

/// A gateway that everybody on this machine may ask.
pub struct LocalDoor {
    /// The gateway.
    pub service: Service,
    _folder: tempfile::TempDir,
}

impl LocalDoor {
    /// `127.0.0.1:PORT`: what stands in front of references that lead through it.
    pub fn host(&self) -> String {
        self.service.callers_url().trim_start_matches("http://").to_owned()
    }

    /// One request as a client without any proof sends it.
    pub async fn fetch(&self, method: Method, path: &str) -> Reply {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let url = format!("{}{path}", self.service.callers_url());
        reply(client.request(method, url).send().await.expect("the gateway answers")).await.expect("a whole answer")
    }
}

impl Caller {
    /// One request to the registry door.
    pub async fn fetch(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.client().request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        reply(request.send().await.expect("the gateway answers")).await.expect("a whole answer")
    }

    /// `GET /v2/ALIAS/demo/NAME/REST`
    pub async fn pull(&self, name: &str, rest: &str) -> Reply {
        self.fetch(Method::GET, &door_path(name, rest), &[]).await
    }

    /// `HEAD /v2/ALIAS/demo/NAME/REST`
    pub async fn head(&self, name: &str, rest: &str) -> Reply {
        self.fetch(Method::HEAD, &door_path(name, rest), &[]).await
    }
}

/// `/v2/ALIAS/demo/NAME/REST`
pub fn door_path(name: &str, rest: &str) -> String {
    format!("/v2/{ALIAS}/demo/{name}/{rest}")
}

impl Reply {
    /// The one error's code; empty where there is none.
    pub fn error_code(&self) -> &str {
        self.body["errors"][0]["code"].as_str().unwrap_or_default()
    }

    /// The one error's message.
    pub fn message(&self) -> &str {
        self.body["errors"][0]["message"].as_str().unwrap_or_default()
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status, error code, and body: what must not differ between what is absent and what is not visible.
    pub fn shape(&self) -> (u16, BTreeMap<String, String>, Value) {
        let headers = self.headers.iter().filter(|(name, _)| *name != "date");
        let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        (self.status, headers.collect(), self.body.clone())
    }
}
