//! A gateway that trusts managed keys, and its word on components that they signed.

use std::path::Path;

use serde_json::{Value, json};
use witgate::dev::deployment::{Setup, policy_data};
use witgate::dev::registry::push::Pushed;
use witgate_tests::{World, free_address};

/// One of `[[evidence.keys]]`.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    /// Its name; those of Ed25519 keys are the algorithm, which such a key does not say itself.
    pub(crate) name: &'a str,
    /// SPKI PEM.
    pub(crate) file: &'a Path,
    /// `optional` or `required`.
    pub(crate) log: &'a str,
}

/// Writes the keys into the configuration; a signature by any one of them is what policy wants of components of `host`.
pub(crate) fn trust(setup: &mut Setup, host: &str, keys: &[Key<'_>]) {
    let mut data = policy_data(host);
    data["witgate"]["signatures"][0]["identities"] = keys.iter().map(|key| json!({"key": key.name})).collect();
    setup.policy_data = Some(data);
    for Key { name, file, log } in keys {
        let file = file.display();
        let row = format!("[[evidence.keys]]\nname = \"{name}\"\npem = \"{file}\"\ntransparency_log = \"{log}\"\n");
        setup.more.push_str(&row);
        if name.starts_with("ed25519") {
            setup.more.push_str(&format!("algorithm = \"{name}\"\n"));
        }
    }
}

/// The embedded deployment, which trusts `keys`, and more if one likes.
pub(crate) async fn world(keys: &[Key<'_>], change: impl FnOnce(&mut Setup)) -> World {
    let address = free_address();
    World::with(|setup| {
        setup.registry.listen = address;
        trust(setup, &address.to_string(), keys);
        change(setup);
    })
    .await
}

/// Holds that it is admitted, with nothing but good findings of `key`; gives them.
pub(crate) async fn admitted(world: &World, pushed: &Pushed, key: &str) -> Vec<Value> {
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}: {}", pushed.reference, reply.body);
    assert_eq!(reply.body["artifact"], pushed.manifest.to_string());
    let record = world.decision(reply.decision()).await;
    let findings = record["case"]["evidence"]["findings"].as_array().unwrap().clone();
    assert!(findings.iter().any(|finding| finding["kind"] == "signature"), "{findings:?}");
    for finding in &findings {
        assert_eq!(finding["signer"]["name"], key, "{}: {finding}", pushed.reference);
    }
    findings
}
