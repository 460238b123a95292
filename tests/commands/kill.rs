//! kill -9 of `serve` at random moments under load: nothing acknowledged is lost, nothing forks.
//!
//! A short run by default; `WITGATE_KILLS=50 cargo test -p witgate --test commands kill_` is the long one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use witgate::audit::{self, Reader, Selector};
use witgate::dev::components;
use witgate::dev::registry::push::{self, ConfigClaims};
use witgate::dev::registry::{Auth, DevRegistry, Options};

use super::served::Served;

/// How often the service is killed where `WITGATE_KILLS` says nothing.
const KILLS: u32 = 5;
/// How many callers ask at the same time.
const CALLERS: usize = 16;

/// What the service acknowledged: where each decision stands, by its id.
type Acknowledged = Arc<Mutex<BTreeMap<String, (u64, String)>>>;

/// xorshift64*: the seed is printed, so that a bad run can be told again.
struct Random(u64);

impl Random {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        low + self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % (high - low)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing_and_forks_nothing() {
    witgate::tls::install_provider();
    let kills: u32 = std::env::var("WITGATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::var("WITGATE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) | 1);
    println!("kills {kills} seed {seed}");
    let mut random = Random(seed);
    let home = tempfile::tempdir().unwrap();
    let registry = DevRegistry::start(Options::default()).await.unwrap();
    let wasm = components::command("x\n").into();
    let pushed =
        push::component(&registry.host(), "acme/cart", "1", wasm, ConfigClaims::default(), &Auth::Open).await.unwrap();
    let acknowledged = Acknowledged::default();
    let mut checkpoints: Vec<String> = Vec::new();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();

    for _ in 0..kills {
        let served = Served::start(home.path());
        let load: Vec<_> = (0..CALLERS)
            .map(|_| {
                tokio::spawn(ask_until_gone(
                    client.clone(),
                    served.callers.clone(),
                    pushed.reference.clone(),
                    acknowledged.clone(),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.between(30, 630))).await;
        if let Ok(answer) = client.get(format!("{}/log/checkpoint", served.callers)).send().await
            && let Ok(note) = answer.text().await
        {
            checkpoints.push(note);
        }
        served.kill();
        for caller in load {
            caller.await.unwrap();
        }
    }

    // Once more, so that recovery is part of what is checked; then the log alone speaks.
    drop(Served::start(home.path()));
    let database = home.path().join(".local/state/witgate/audit.db");
    let verified = audit::verify(&database, &audit::VerifyOptions::default()).await.expect("the log verifies offline");
    let reader = Reader::open(&database).await.unwrap();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > kills as usize, "the load was no load: {} answers", acknowledged.len());
    for (id, (index, leaf_hash)) in acknowledged.iter() {
        let record = reader
            .find(&id.parse::<Selector>().unwrap())
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
        assert_eq!((record.index, record.leaf_hash.hex()), (*index, leaf_hash.clone()), "{id} moved");
    }
    for note in &checkpoints {
        // The log must begin with every checkpoint that was ever published: anything else is a fork.
        let options = audit::VerifyOptions { anchor: Some(note.clone()), ..audit::VerifyOptions::default() };
        if let Err(fault) = audit::verify(&database, &options).await {
            panic!("a published checkpoint is no prefix of the log: {fault}\n{note}");
        }
    }
    println!("{} acknowledged, {} entries, {} checkpoints seen", acknowledged.len(), verified.size, checkpoints.len());
}

/// Asks again and again; a dry run is decided and recorded anew each time.
async fn ask_until_gone(client: reqwest::Client, gateway: String, reference: String, acknowledged: Acknowledged) {
    loop {
        let asked =
            client.post(format!("{gateway}/v1/admissions")).json(&json!({"reference": reference, "dry_run": true}));
        let Ok(answer) = asked.send().await else { return };
        let Ok(body) = answer.json::<Value>().await else { return };
        // Refused, since nobody is trusted: a refusal is recorded like an admission.
        if let (Some(id), Some(index), Some(leaf)) =
            (body["decision"].as_str(), body["receipt"]["index"].as_u64(), body["receipt"]["leaf_hash"].as_str())
        {
            let before = acknowledged.lock().unwrap().insert(id.to_owned(), (index, leaf.to_owned()));
            assert!(before.is_none(), "{id} was acknowledged twice");
        }
    }
}
