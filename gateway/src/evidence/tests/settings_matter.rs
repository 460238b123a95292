//! Row A8.1 for the table `[evidence]`: each field taken away or changed in turn changes what is answered.

#![cfg(feature = "tuf")]

use std::collections::BTreeSet;

use serde_json::json;

use super::super::{RevocationSettings, StartError, Upkeep};
use super::*;
use crate::dev::tuf::{Release, TufRepository};

fn after(seconds: i64) -> Timestamp {
    later() + jiff::SignedDuration::from_secs(seconds)
}

/// A folder with everything that the settings name, and bundles that they tell apart.
struct Scene {
    folder: tempfile::TempDir,
    settings: Value,
    bundles: Vec<Vec<u8>>,
    _repository: TufRepository,
}

impl Scene {
    async fn new() -> Self {
        crate::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::from(start())).unwrap();
            path
        };
        let (filed, served, inline) =
            (Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap(), Sigstore::new(start()).unwrap());
        let (managed, revoked) =
            (ManagedKey::generate().unwrap(), "https://github.com/mallory/x/y.yml@refs/heads/main");
        let repository = TufRepository::start().await.unwrap();
        let target = served.trusted_root_json();
        let release = Release { version: 1, expires: after(86_400), target: target.as_bytes(), other_target: None };
        repository.publish(&release).unwrap();
        let list = json!({"version": 1, "issued_at": start(), "entries": [{"kind": "identity", "san": revoked, "reason": "x"}]});
        let chains: Value = serde_json::from_str(&Sigstore::new(start()).unwrap().trusted_root_json()).unwrap();
        let chain = |field: &str| {
            let certificates = chains[field][0]["certChain"]["certificates"].as_array().unwrap().iter();
            let pem = certificates.map(|one| {
                let base64 = one["rawBytes"].as_str().unwrap();
                format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
            });
            pem.collect::<String>()
        };
        let settings = json!({
            "roots": [
                {"name": "filed", "trusted_root": write("root.json", filed.trusted_root_json().as_bytes()), "max_age_s": 100_000,
                    "transparency_log": "optional", "sct": "not-required"},
                {"name": "served", "max_age_s": 7200, "trusted_root":
                    {"tuf": repository.url(), "root": write("tuf-root.json", &repository.root_json().unwrap())}},
                {"name": "inline", "trusted_root": {"json": inline.trusted_root_json(), "refreshed_at": start()}},
            ],
            "keys": [{"name": "release", "pem": write("key.pub", managed.public_pem().as_bytes()),
                "algorithm": managed.kind().name(), "transparency_log": "optional"}],
            "authorities": [{"name": "own", "root": "inline", "transparency_log": "optional",
                "chain": write("chain.pem", chain("certificateAuthorities").as_bytes()),
                "timestamp_authority": write("tsa.pem", chain("timestampAuthorities").as_bytes())}],
            "refresh_s": 7,
            "offline": false,
            "revocations": {"file": write("revoked.json", list.to_string().as_bytes()), "max_age_s": 100_000},
        });
        let mut bundles: Vec<_> = [&filed, &served, &inline].map(|sigstore| sigstore.sign(cosign()).unwrap()).into();
        bundles.push(filed.sign_with_key(&managed, cosign()).unwrap());
        bundles.push(filed.sign(Sign::cosign(Digest::of(&manifest()), revoked, ISSUER, start())).unwrap());
        Self { folder, settings, bundles, _repository: repository }
    }

    /// Everything that can be seen of a gateway with these settings, or that it does not start.
    async fn answers(&self, settings: &Value) -> Result<Value, String> {
        let settings: Settings = serde_json::from_value(settings.clone()).map_err(|error| error.to_string())?;
        let data = tempfile::tempdir_in(self.folder.path()).unwrap();
        let opened = Upkeep::open(&settings, data.path(), later()).await;
        let (collector, upkeep) = opened.map_err(|error: StartError| error.to_string())?;
        collector.standing().usable(later()).map_err(|outage| outage.to_string())?;
        let mut findings = Vec::new();
        for bundle in &self.bundles {
            findings.push(serde_json::to_value(finding(&collector, bundle.clone()).await).unwrap());
        }
        let usable = [0, 20_000].map(|seconds| collector.standing().usable(after(seconds)).is_ok());
        let standing = collector.standing();
        let (facts, trust) = (standing.facts(later()), standing.trust().digest());
        let pace_s = upkeep.pace().as_secs();
        Ok(json!({"findings": findings, "usable": usable, "facts": facts, "trust": trust, "pace_s": pace_s}))
    }
}

/// Every place below `value`.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let at = format!("{at}/{name}");
        places(value, &at, into);
        into.push(at);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value)),
        _ => {}
    }
}

fn removed(settings: &Value, pointer: &str) -> Value {
    let mut settings = settings.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match settings.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        _ => unreachable!("a leaf has no members"),
    }
    settings
}

fn changed_at(settings: &Value, pointer: &str) -> Option<Value> {
    let mut settings = settings.clone();
    let place = settings.pointer_mut(pointer).unwrap();
    *place = match &*place {
        Value::Bool(value) => json!(!value),
        Value::Number(number) => json!(number.as_u64().unwrap() / 7 + 1),
        // Another value that is taken, where there is one.
        Value::String(text) if text == "optional" || text == "not-required" => json!("required"),
        Value::String(text) if text.ends_with('Z') => json!("2025-06-02T00:00:00Z"),
        Value::String(text) => json!(format!("{text}x")),
        _ => return None,
    };
    Some(settings)
}

#[tokio::test]
async fn a8_1_every_field_of_the_table_evidence_changes_some_answer() {
    let scene = Scene::new().await;
    let before = scene.answers(&scene.settings).await.unwrap();
    let verdicts = before["findings"].as_array().unwrap().iter().map(|finding| finding["status"].as_str().unwrap());
    let expected = ["verified", "verified", "verified", "verified", "rejected"];
    assert_eq!(verdicts.collect::<Vec<_>>(), expected, "{before}");
    let mut pointers = Vec::new();
    places(&scene.settings, "", &mut pointers);
    assert!(pointers.len() > 20, "{pointers:?}");
    for pointer in pointers {
        // What stands there by default changes nothing where it is taken away, and something where it is changed.
        let mut answers = vec![scene.answers(&removed(&scene.settings, &pointer)).await];
        if let Some(settings) = changed_at(&scene.settings, &pointer) {
            let changed = scene.answers(&settings).await;
            assert_ne!(changed.as_ref().ok(), Some(&before), "`{pointer}` changed: nothing reads it");
            answers.push(changed);
        }
        assert!(answers.iter().any(|answer| answer.as_ref().ok() != Some(&before)), "`{pointer}`: nothing reads it");
    }
}

/// What serde says it would have taken is the list of fields: each stands in the sample.
#[tokio::test]
async fn a8_1_every_field_of_the_table_evidence_stands_in_the_sample() {
    let scene = Scene::new().await;
    for place in ["", "/roots/0", "/keys/0", "/authorities/0", "/revocations"] {
        let mut settings = scene.settings.clone();
        settings.pointer_mut(place).unwrap()["zz"] = json!(0);
        let error = serde_json::from_value::<Settings>(settings).unwrap_err().to_string();
        let (_, names) = error.split_once("unknown field `zz`, expected").unwrap_or_else(|| panic!("{place}: {error}"));
        let known: BTreeSet<_> = names.split('`').skip(1).step_by(2).collect();
        let sample = scene.settings.pointer(place).unwrap().as_object().unwrap();
        let missing: Vec<_> = known.iter().filter(|name| !sample.contains_key(**name)).collect();
        assert!(known.len() > 1 && missing.is_empty(), "`{place}`: {missing:?} of {known:?}");
    }
    let _: RevocationSettings = serde_json::from_value(scene.settings["revocations"].clone()).unwrap();
}
