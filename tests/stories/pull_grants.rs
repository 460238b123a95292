//! Pull grants: whose they are, how long they hold, what the log says of their use.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use http::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{SignedBy, host_id, policy_data};
use witgate::dev::registry::push::{self, Pushed};
use witgate::dev::registry::{Auth, Fault, Match, Rule, Target};
use witgate::dev::spiffe::Leaf;
use witgate::doors::http::Clock;
use witgate_tests::{ALIAS, Caller, PATIENCE, Reply, World, components, door_path, policy_folder};

/// A clock that goes on by itself, and further when it is told to.
#[derive(Clone, Default)]
struct Watch(Arc<AtomicI64>);

impl Watch {
    fn clock(&self) -> Clock {
        let ahead_s = Arc::clone(&self.0);
        Arc::new(move || Timestamp::now() + jiff::SignedDuration::from_secs(ahead_s.load(Ordering::SeqCst)))
    }

    fn go_on(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

async fn publish(world: &World, name: &str) -> (Pushed, Vec<u8>) {
    let wasm = components::command(&format!("{name}\n"));
    (world.publish(name, wasm.clone()).await, wasm)
}

fn blob(digest: &Digest) -> String {
    format!("blobs/{digest}")
}

fn is_absent(reply: &Reply) -> bool {
    (reply.status, reply.error_code()) == (404, "BLOB_UNKNOWN")
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_1_a_blob_is_sent_to_who_was_admitted_where_it_was_admitted_and_to_nobody_else() {
    let world = World::behind_the_door(|_| {}).await;
    let other = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    let (pushed, wasm) = publish(&world, "shared").await;
    let absent = world.host.pull("shared", &blob(&Digest::of(b"absent"))).await;
    assert!(is_absent(&absent));

    // Not yet admitted; admitted to another; in another repository that holds the very same bytes.
    let path = blob(&pushed.component);
    for caller in [&world.host, &other] {
        assert_eq!(caller.pull("shared", &path).await.shape(), absent.shape());
    }
    assert_eq!(world.host.pull("shared", "manifests/1.0").await.status, 200);
    assert_eq!(world.host.pull("shared", &path).await.bytes, wasm);
    assert_eq!(other.pull("shared", &path).await.shape(), absent.shape(), "another caller");
    world.publish_signed("elsewhere", wasm.clone(), SignedBy::Nobody).await;
    assert_eq!(world.host.pull("elsewhere", &path).await.shape(), absent.shape(), "another repository");
    assert_eq!(world.host.pull("elsewhere", "manifests/1.0").await.status, 403);
    assert_eq!(world.host.pull("elsewhere", &path).await.shape(), absent.shape(), "a refused manifest's blob");
    // A ticket is no pull grant.
    let reply = other.admit(&format!("{ALIAS}/demo/shared:1.0")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(other.pull("shared", &path).await.shape(), absent.shape(), "admitted, but not to pull");
    // And a dry run is nothing.
    let reply = other.ask(json!({"reference": format!("{ALIAS}/demo/shared:1.0"), "dry_run": true})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(other.pull("shared", &path).await.shape(), absent.shape());
    assert_eq!(other.pull("shared", "manifests/1.0").await.status, 200);
    assert_eq!(other.pull("shared", &path).await.bytes, wasm);
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_2_a_grant_ends_with_its_time_and_is_decided_anew_before_a_byte_is_sent() {
    let watch = Watch::default();
    let world = World::behind_the_door(|setup| setup.clock = watch.clock()).await;
    let (pushed, wasm) = publish(&world, "timed").await;
    let first = world.host.pull("timed", "manifests/1.0").await;
    let decision = |reply: &Reply| reply.header("witgate-decision").to_owned();
    let path = blob(&pushed.component);
    watch.go_on(500);
    let still = world.host.pull("timed", &path).await;
    assert_eq!(
        (still.status, decision(&still)),
        (200, decision(&first)),
        "a digest holds ten minutes, whatever its tag"
    );
    watch.go_on(101);
    let before = world.log_size().await;
    let anew = world.host.pull("timed", &path).await;
    assert_eq!((anew.status, &anew.bytes[..]), (200, &wasm[..]));
    assert_ne!(decision(&anew), decision(&first), "it was decided anew");
    assert_eq!(world.log_size().await, before + 1);
    let record = world.decision(&decision(&anew)).await;
    assert_eq!(record["case"]["reference"]["text"], format!("{ALIAS}/demo/timed@{}", pushed.manifest));
    assert_eq!(record["case"]["purpose"], "pull");
    // The next one stands on it.
    assert_eq!(decision(&world.host.pull("timed", &path).await), decision(&anew));
    // A registry that does not answer by then is an outage, and no way in.
    watch.go_on(601);
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), Fault::CloseAtOnce));
    let outage = world.host.pull("timed", &path).await;
    assert_eq!((outage.status, outage.error_code()), (503, "UNAVAILABLE"), "{}", outage.body);
    world.deployment.registry.heal();
    assert_eq!(world.host.pull("timed", &path).await.status, 200);
}

/// Writes a list as people should: beside it, then `mv`.
fn revoke(file: &std::path::Path, entries: &Value, issued_at: Timestamp) {
    let list = json!({"version": 1, "issued_at": issued_at, "entries": entries});
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, list.to_string()).unwrap();
    std::fs::rename(temporary, file).unwrap();
}

async fn world_with_revocations() -> (World, PathBuf) {
    let mut list = PathBuf::new();
    let world = World::behind_the_door(|setup| {
        list = setup.folder.join("revoked.json");
        revoke(&list, &json!([]), Timestamp::now() - jiff::SignedDuration::from_secs(60));
        setup.more = format!(
            "[registry]\nmemory_max_bytes = 0\n[evidence]\nrefresh_s = 3600\n[evidence.revocations]\nfile = \"{}\"\n",
            list.display()
        );
    })
    .await;
    (world, list)
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_2_a22_3_what_is_revoked_is_refused_at_the_next_request_head_and_blob_alike() {
    let (world, list) = world_with_revocations().await;
    let (pushed, wasm) = publish(&world, "revoked").await;
    let (other, _) = publish(&world, "other").await;
    for name in ["revoked", "other"] {
        assert_eq!(world.host.head(name, "manifests/1.0").await.status, 200);
    }
    let component = blob(&pushed.component);
    assert_eq!(world.host.pull("revoked", &component).await.bytes, wasm);
    revoke(&list, &json!([{"kind": "artifact", "digest": pushed.manifest, "reason": "CVE-2026-1"}]), Timestamp::now());
    world.deployment.service.gate().look_at_files(Timestamp::now()).await;

    // A host with a copy on disk asks HEAD and trusts it: it must hear no.
    for rest in ["manifests/1.0".to_owned(), format!("manifests/{}", pushed.manifest), component.clone()] {
        let head = world.host.head("revoked", &rest).await;
        let got = world.host.pull("revoked", &rest).await;
        assert_eq!((head.status, got.status, got.error_code()), (403, 403, "DENIED"), "{rest}: {}", got.body);
        assert!(got.message().contains("revoked") && got.message().contains("CVE-2026-1"), "{}", got.message());
        assert_eq!(got.body["errors"][0]["detail"]["decision_id"], got.header("witgate-decision"));
        assert!(
            head.header("warning").starts_with("299 - \"witgate: refused")
                && head.header("warning").contains("revoked")
        );
    }
    // What is not revoked is decided anew, and sent.
    let before = world.log_size().await;
    assert_eq!(world.host.pull("other", &blob(&other.component)).await.status, 200);
    assert_eq!(world.log_size().await, before + 1, "every grant ended with the swap");

    // Taken back by a newer list.
    revoke(&list, &json!([]), Timestamp::now() + jiff::SignedDuration::from_secs(1));
    world.deployment.service.gate().look_at_files(Timestamp::now()).await;
    assert_eq!(world.host.pull("revoked", &component).await.bytes, wasm);
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_2_what_is_revoked_while_it_is_fetched_again_is_not_sent() {
    let (world, list) = world_with_revocations().await;
    let (pushed, wasm) = publish(&world, "meanwhile").await;
    assert_eq!(world.host.pull("meanwhile", "manifests/1.0").await.status, 200);
    // Evicted, and slow to come again: long enough to revoke.
    let file = world.deployment.config.data_dir.join("cache/blobs/sha256").join(pushed.component.hex());
    std::fs::remove_file(&file).unwrap();
    let registry = &world.deployment.registry;
    let slow = Fault::Drip { bytes_per_second: wasm.len() as u64 };
    registry.inject(Rule::new(Match::on(Target::Layer).digest(pushed.component), slow));
    let seen = registry.requests().len();
    let path = blob(&pushed.component);
    let revoked = async {
        let start = Instant::now();
        while registry.requests().len() == seen {
            assert!(start.elapsed() < PATIENCE, "it is never fetched again");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        revoke(&list, &json!([{"kind": "component", "digest": pushed.component, "reason": "hole"}]), Timestamp::now());
        world.deployment.service.gate().look_at_files(Timestamp::now()).await;
    };
    let (reply, ()) = tokio::join!(world.host.pull("meanwhile", &path), revoked);
    assert_eq!((reply.status, reply.error_code()), (503, "UNAVAILABLE"), "{}", reply.body);
    assert_eq!(reply.body["errors"][0]["detail"]["peer"], "trust-root");
    registry.heal();
    let reply = world.host.pull("meanwhile", &path).await;
    assert_eq!((reply.status, reply.error_code()), (403, "DENIED"), "{}", reply.body);
}

/// containerd and wkg come back for a blob alone.
#[tokio::test(flavor = "multi_thread")]
async fn a21_3_a_session_of_blobs_alone_goes_on_after_a_restart_decided_anew() {
    let world = World::behind_the_door(|_| {}).await;
    let (pushed, wasm) = publish(&world, "restart").await;
    let first = world.host.pull("restart", "manifests/1.0").await;
    assert_eq!(first.status, 200);
    let world = world.restart(|_| {}).await;
    let before = world.log_size().await;
    let reply = world.host.pull("restart", &blob(&pushed.component)).await;
    assert_eq!((reply.status, &reply.bytes[..]), (200, &wasm[..]), "{}", reply.body);
    assert_ne!(reply.header("witgate-decision"), first.header("witgate-decision"));
    assert_eq!(world.log_size().await, before + 1, "nothing is believed that another process decided");
    let other = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    assert!(is_absent(&other.pull("restart", &blob(&pushed.component)).await));

    // Under another policy the same row is a refusal, and it says why.
    let stricter = policy_folder(
        world.folder(),
        "stricter",
        Some(
            "refuse contains reason if {\n\tinput.purpose == \"pull\"\n\treason := {\"code\": \"no-pulls\", \"about\": input.host, \"detail\": \"nobody pulls today\", \"hint\": \"come back\"}\n}\ndefault admit := false",
        ),
    );
    let world = world.restart(|config| config.policy.dir = Some(stricter)).await;
    let refused = world.host.pull("restart", &blob(&pushed.component)).await;
    assert_eq!((refused.status, refused.error_code()), (403, "DENIED"), "{}", refused.body);
    assert!(refused.message().contains("nobody pulls today"), "{}", refused.message());
    // And when the artifact is gone from its registry, so is the way to it.
    let host = world.deployment.registry.host();
    let gone = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{host}/v2/demo/restart/manifests/{}", pushed.manifest);
    assert_eq!(gone.delete(url).send().await.unwrap().status(), 202);
    let world = world.restart(|config| config.policy.dir = None).await;
    let reply = world.host.pull("restart", &blob(&pushed.component)).await;
    assert!(is_absent(&reply), "{}", reply.body);
}

/// Rows are not believed: what they say leads to a decision, and the decision's artifact says what may be sent.
#[tokio::test(flavor = "multi_thread")]
async fn a21_3_an_altered_row_gives_nothing_that_is_not_admitted() {
    let world = World::behind_the_door(|_| {}).await;
    let (good, _) = publish(&world, "good").await;
    let secret = world.publish_signed("secret", components::command("secret\n"), SignedBy::Nobody).await;
    assert_eq!(world.host.pull("good", "manifests/1.0").await.status, 200);
    assert_eq!(world.host.pull("secret", "manifests/1.0").await.status, 403);
    let database = world.deployment.config.data_dir.join("pulls.db");
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&database)).await.unwrap();
    // The good artifact is said to name the secret component, too.
    let part = format!("UPDATE pull SET parts = unhex(hex(parts) || '01{}')", secret.component.hex());
    sqlx::query(sqlx::AssertSqlSafe(part)).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let world = world.restart(|_| {}).await;
    let stolen = world.host.pull("good", &blob(&secret.component)).await;
    assert!(is_absent(&stolen), "{}", stolen.body);
    assert_eq!(world.host.pull("good", &blob(&good.component)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_7_refusals_and_outages_are_not_remembered() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish_signed("later", components::command("later\n"), SignedBy::Nobody).await;
    let refused = world.host.pull("later", "manifests/1.0").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("cache-control"), "no-store");
    let again = world.host.pull("later", "manifests/1.0").await;
    assert_ne!(again.header("witgate-decision"), refused.header("witgate-decision"), "decided anew each time");
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(witgate::dev::sigstore::SIGNED_AFTER_S);
    let request = witgate::dev::sigstore::Sign::cosign(
        pushed.manifest,
        witgate::dev::deployment::SIGNER,
        witgate::dev::deployment::ISSUER,
        begin,
    );
    let bundle = world.deployment.sigstore.sign(request).unwrap();
    let host = world.deployment.registry.host();
    push::bundle(&host, "demo/later", &pushed, &bundle, None, &Auth::Open).await.unwrap();
    assert_eq!(world.host.pull("later", "manifests/1.0").await.status, 200, "signed meanwhile");
}

/// A world in which host `a` alone is granted anything.
async fn world_for_a() -> (World, Caller) {
    let world = World::behind_the_door(|setup| {
        let mut data = policy_data(ALIAS);
        data["witgate"]["grants"][0]["callers"] = json!([host_id("a")]);
        setup.policy_data = Some(data);
    })
    .await;
    let stranger = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    (world, stranger)
}

/// What differs between two requests for different names is the name alone.
fn without(reply: &Reply, name: &str) -> (u16, String, String) {
    let (status, mut headers, body) = reply.shape();
    headers.remove("content-length");
    (status, format!("{headers:?}").replace(name, "NAME"), body.to_string().replace(name, "NAME"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a29_1_what_may_not_be_seen_is_as_what_is_absent() {
    let (world, stranger) = world_for_a().await;
    let (pushed, _) = publish(&world, "private").await;
    assert_eq!(world.host.pull("private", "manifests/1.0").await.status, 200);
    let absent = Digest::of(b"absent");
    let asked = world.deployment.registry.requests().len();
    let size = world.log_size().await;
    for (there, not_there) in [
        ("manifests/1.0".to_owned(), "manifests/1.0".to_owned()),
        (format!("manifests/{}", pushed.manifest), format!("manifests/{absent}")),
        (blob(&pushed.component), blob(&absent)),
        (format!("manifests/sha256-{}", pushed.manifest.hex()), format!("manifests/sha256-{}", absent.hex())),
        (format!("manifests/sha256-{}.sig", pushed.manifest.hex()), format!("manifests/sha256-{}.sig", absent.hex())),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let seen = stranger.fetch(method.clone(), &door_path("private", &there), &[]).await;
            let unseen = stranger.fetch(method, &door_path("nothing", &not_there), &[]).await;
            let digest = |text: String| text.replace(&pushed.manifest.hex(), "HEX").replace(&absent.hex(), "HEX");
            let (seen, unseen) = (without(&seen, "private"), without(&unseen, "nothing"));
            assert_eq!(
                (seen.0, digest(seen.1), digest(seen.2)),
                (unseen.0, digest(unseen.1), digest(unseen.2)),
                "{there}"
            );
            assert_eq!(seen.0, 404, "{there}");
        }
    }
    // The answers are alike because the work is: nobody was asked, so nothing could be decided about.
    assert_eq!(world.deployment.registry.requests().len(), asked, "the registry was asked for a stranger");
    assert_eq!(world.log_size().await, size);
    // Collecting ahead tells no more than pulling does, and asks nobody.
    let before = world.deployment.registry.requests().len();
    let references = json!([format!("{ALIAS}/demo/nothing:1.0"), format!("{ALIAS}/demo/private:1.0")]);
    let request = stranger.client().post(stranger.url("/v1/prefetch")).json(&json!({"references": references}));
    let told: Value = request.send().await.unwrap().json().await.unwrap();
    let expected = [&references[0], &references[1]].map(|one| json!({"reference": one, "status": "unknown"}));
    assert_eq!(told["references"], json!(expected));
    assert_eq!(world.deployment.registry.requests().len(), before);
    // Where the upstream is open to everybody, so is what it holds: who is granted nothing is told so.
    let door = world.local_door(&host_id("a")).await;
    let refused = door.fetch(Method::GET, &door_path("private", "manifests/1.0")).await;
    assert_eq!((refused.status, refused.error_code()), (403, "DENIED"), "{}", refused.body);
    assert!(refused.message().contains("caller-not-granted"), "{}", refused.message());
    // What is there and what is not look alike: it was told before anybody was asked.
    assert_eq!(door.fetch(Method::GET, &door_path("private", "manifests/2.0")).await.status, 403);
    door.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a31_1_nothing_is_fetched_that_cannot_be_recorded() {
    let world = World::behind_the_door(|setup| setup.more = "[audit]\nappend_deadline_ms = 500\n".into()).await;
    let (warm, wasm) = publish(&world, "warm").await;
    let (cold, _) = publish(&world, "cold").await;
    let path = blob(&warm.component);
    assert_eq!(world.host.pull("warm", "manifests/1.0").await.status, 200);
    assert_eq!(world.host.pull("warm", &path).await.bytes, wasm);
    let database = world.deployment.config.data_dir.join("audit.db");
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&database)).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let is_outage = |reply: &Reply| reply.status == 503 && reply.body["errors"][0]["detail"]["peer"] == "audit";
    let refused = world.host.pull("cold", "manifests/1.0").await;
    assert!(is_outage(&refused), "{}", refused.body);
    assert!(is_absent(&world.host.pull("cold", &blob(&cold.component)).await));
    // Uses are counted until the next time they are written; when that fails, warm pulls end as well.
    let gate = world.deployment.service.gate();
    assert_eq!(gate.log_uses(Timestamp::now()).await.unwrap_err().peer.kind(), "audit");
    let refused = world.host.pull("warm", &path).await;
    assert!(is_outage(&refused), "{}", refused.body);
    assert!(world.host.head("warm", "manifests/1.0").await.status == 503);
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let start = Instant::now();
    while gate.log_uses(Timestamp::now()).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "the log never takes them");
    }
    assert_eq!(world.host.pull("warm", &path).await.bytes, wasm);
    assert_eq!(world.host.pull("cold", "manifests/1.0").await.status, 200);
}

/// The log says once for each decision and interval what was fetched; requests do not make it grow.
#[tokio::test(flavor = "multi_thread")]
async fn uses_are_in_the_log_once_for_each_decision() {
    let world = World::behind_the_door(|_| {}).await;
    let (pushed, wasm) = publish(&world, "used").await;
    let manifest = world.host.pull("used", "manifests/1.0").await;
    let size = world.log_size().await;
    for _ in 0..20 {
        assert_eq!(world.host.pull("used", &blob(&pushed.component)).await.status, 200);
        assert_eq!(world.host.head("used", "manifests/1.0").await.status, 200);
    }
    let path = door_path("used", &blob(&pushed.component));
    assert_eq!(world.host.fetch(Method::GET, &path, &[("range", "bytes=0-9")]).await.status, 206);
    assert_eq!(world.log_size().await, size, "a use is no entry");
    world.deployment.service.gate().log_uses(Timestamp::now()).await.unwrap();
    assert_eq!(world.log_size().await, size + 1);
    let entry = world.decision(&format!("%23{size}")).await;
    assert_eq!(
        (&entry["kind"], &entry["detail"]["decision"]),
        (&json!("grant.use"), &json!(manifest.header("witgate-decision")))
    );
    assert_eq!(entry["detail"]["manifests"], 21);
    assert_eq!(entry["detail"]["blobs"], 21);
    assert_eq!(entry["detail"]["bytes"], pushed.manifest_bytes.len() + 20 * wasm.len() + 10);
    world.deployment.service.gate().log_uses(Timestamp::now()).await.unwrap();
    assert_eq!(world.log_size().await, size + 1, "nothing was used since");
    // What is left when the gateway stops goes into the log then.
    assert_eq!(world.host.head("used", "manifests/1.0").await.status, 200);
    let world = world.restart(|_| {}).await;
    let entry = world.decision(&format!("%23{}", size + 1)).await;
    assert_eq!((&entry["kind"], &entry["detail"]["manifests"]), (&json!("grant.use"), &json!(1)));
    world.verify_log().await;
}

/// A policy may need to see what it is before it says that nobody speaks for the caller: then too it is as what is absent.
#[tokio::test(flavor = "multi_thread")]
async fn a29_1_what_policy_hides_once_it_has_seen_it_is_as_what_is_absent() {
    let world = World::behind_the_door(|_| {}).await;
    let rules = "refuse contains reason if {\n\tinput.artifact.component\n\treason := {\"code\": \"caller-not-granted\", \"about\": input.caller.id, \
                 \"detail\": \"not this one\", \"hint\": \"\"}\n}\ndefault admit := false";
    let (pushed, _) = publish(&world, "seen").await;
    let dir = policy_folder(world.folder(), "seen", Some(rules));
    let world = world.restart(|config| config.policy.dir = Some(dir)).await;
    let before = world.log_size().await;
    for rest in ["manifests/1.0".to_owned(), format!("manifests/{}", pushed.manifest)] {
        let seen = world.host.pull("seen", &rest).await;
        assert_eq!((seen.status, seen.error_code()), (404, "MANIFEST_UNKNOWN"), "{}", seen.body);
        assert_eq!(seen.header("witgate-decision"), "", "no decision is told of");
        assert!(!seen.message().contains("not this one"), "{}", seen.message());
    }
    assert_eq!(world.log_size().await, before + 2, "it was decided, and is on the record");
}
