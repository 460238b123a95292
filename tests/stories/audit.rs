//! Nothing is handed over that is not recorded, and what was recorded cannot be changed unseen.

use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use witgate::audit::{EventKind, VerifyOptions, verify};
use witgate::case::Timestamp;
use witgate::outage::chain;
use witgate::service::Service;
use witgate_tests::{Reply, World, components};

async fn open(database: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(database)).await.unwrap()
}

/// 503 by the audit log, and nothing to run.
fn is_audit_outage(reply: &Reply) {
    assert_eq!((reply.status, &reply.body["peer"]), (503, &json!("audit")), "{}", reply.body);
    assert!(reply.body.get("ticket").is_none() && reply.body.get("decision").is_none(), "{}", reply.body);
    assert_eq!(reply.headers["retry-after"], "1");
}

async fn ready(world: &World) -> (u16, serde_json::Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/readyz", world.deployment.service.administration_url());
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_an_outage_that_ends() {
    let world = World::start().await;
    let good = world.publish("good", components::command("hello\n")).await;
    let greedy = world.publish("greedy", components::greedy("hello\n")).await;
    let size = world.log_size().await;
    let mut holder = open(world.deployment.service.gate().audit.database()).await;
    holder.execute("BEGIN EXCLUSIVE").await.unwrap();
    is_audit_outage(&world.host.admit(&good.reference).await);
    is_audit_outage(&world.host.admit(&greedy.reference).await);
    let (status, body) = ready(&world).await;
    assert_eq!((status, &body["missing"][0]["peer"]), (503, &json!("audit")), "{body}");
    holder.execute("ROLLBACK").await.unwrap();
    holder.close().await.unwrap();
    let reply = world.host.admit(&good.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(ready(&world).await.0, 200);
    assert_eq!(world.log_size().await, size + 1, "only what was answered was recorded");
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_database_is_an_outage_for_ever() {
    let world = World::start().await;
    let good = world.publish("good", components::command("hello\n")).await;
    let audit = &world.deployment.service.gate().audit;
    let database = audit.database().to_owned();
    std::fs::remove_file(&database).unwrap();
    for _ in 0..3 {
        is_audit_outage(&world.host.admit(&good.reference).await);
    }
    let (status, body) = ready(&world).await;
    assert_eq!((status, &body["missing"][0]["peer"]), (503, &json!("audit")), "{body}");
    // Another file in its place is no answer, and neither is a new log.
    std::fs::write(&database, b"").unwrap();
    is_audit_outage(&world.host.admit(&good.reference).await);
    assert_eq!(ready(&world).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_not_begun_anew() {
    let world = World::start().await;
    let config = world.deployment.config.clone();
    world.deployment.service.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(config.data_dir.join(format!("audit.db{suffix}")));
    }
    let refused = Service::start(&config, Arc::new(Timestamp::now), Arc::new(String::new)).await.err();
    let refused = refused.expect("a published log whose database is gone").to_string();
    assert!(!config.data_dir.join("audit.db").exists(), "{refused}");
}

/// Re-executes the one story below in a mount namespace of its own, where a small disk may be mounted without privileges.
#[test]
fn a_full_disk_is_an_outage_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let inside = "audit::inside_a_small_disk";
    let child = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(program)
        .args(["--exact", inside, "--nocapture"])
        .env(SMALL_DISK, folder.path())
        .output();
    let output = match child {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "`unshare` is not installed: CI must tell this story");
            eprintln!("not told here: `unshare` is not installed, so no small disk can be made");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("unshare failed") || said.contains(NO_MOUNT) {
        assert!(std::env::var_os("CI").is_none(), "CI must tell this story, but there is no mount namespace: {said}");
        eprintln!("not told here: this system gives no mount namespace: {said}");
        return;
    }
    assert!(output.status.success() && said.contains(TOLD), "{said}");
}

/// Where the small disk goes; set for the re-executed story only.
const SMALL_DISK: &str = "STORY_SMALL_DISK";
const NO_MOUNT: &str = "no small disk here";
const TOLD: &str = "the disk was full and is not any more";

#[tokio::test(flavor = "multi_thread")]
async fn inside_a_small_disk() {
    let Some(disk) = std::env::var_os(SMALL_DISK).map(std::path::PathBuf::from) else { return };
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&disk).status();
    if !mount.is_ok_and(|status| status.success()) {
        println!("{NO_MOUNT}");
        return;
    }
    let data_dir = disk.join("data");
    let world = World::with(|setup| setup.data_dir = Some(data_dir)).await;
    let good = world.publish("good", components::command("hello\n")).await;
    // A dry run is decided anew each time, and its component is in the cache already: only the log wants to write.
    let asked = json!({"reference": good.reference, "dry_run": true});
    assert_eq!(world.host.ask(asked.clone()).await.status, 200);
    let filler = disk.join("filler");
    fill(&filler);
    let mut recorded = world.log_size().await;
    let mut reply = world.host.ask(asked.clone()).await;
    for _ in 0..50 {
        if reply.status != 200 {
            break;
        }
        // What was answered fitted into the last page of the write-ahead log.
        recorded += 1;
        reply = world.host.ask(asked.clone()).await;
    }
    is_audit_outage(&reply);
    is_audit_outage(&world.host.admit(&good.reference).await);
    assert_eq!(ready(&world).await.1["missing"][0]["peer"], "audit");
    assert_eq!(world.log_size().await, recorded);
    std::fs::remove_file(&filler).unwrap();
    let reply = world.host.admit(&good.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body["ticket"].is_object());
    assert_eq!(ready(&world).await.0, 200);
    assert_eq!(world.log_size().await, recorded + 1);
    world.verify_log().await;
    println!("{TOLD}");
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for piece in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_folder_does_not_start() {
    let world = World::start().await;
    let good = world.publish("good", components::command("hello\n")).await;
    let second = Service::start(&world.deployment.config, Arc::new(Timestamp::now), Arc::new(String::new)).await;
    let refused = chain(&second.err().expect("two writers of one log"));
    assert!(refused.contains("audit.lock"), "{refused}");
    assert_eq!(world.host.admit(&good.reference).await.status, 200, "the first goes on");
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a23_2_an_old_copy_of_the_database_does_not_start() {
    let world = World::start().await;
    let good = world.publish("good", components::command("hello\n")).await;
    assert_eq!(world.host.admit(&good.reference).await.status, 200);
    let config = world.deployment.config.clone();
    world.deployment.service.stop().await;
    let database = config.data_dir.join("audit.db");
    let old = config.data_dir.join("yesterday.db");
    copy_database(&database, &old);
    let start = || Service::start(&config, Arc::new(Timestamp::now), Arc::new(String::new));
    start().await.unwrap_or_else(|error| panic!("{error}")).stop().await;
    copy_database(&old, &database);
    let refused = chain(&start().await.err().expect("a log that went back"));
    assert!(refused.contains("rolled back"), "{refused}");
}

/// Turns one bit of one value behind the log's back, past its triggers.
async fn turn_a_bit(database: &Path, table: &str, column: &str, which: &str) {
    let mut connection = open(database).await;
    let triggers: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(!triggers.is_empty());
    let refused = format!("UPDATE {table} SET {column} = {column} WHERE {which}");
    let is_guarded = table != "disclosure" && table != "tree";
    let update = sqlx::raw_sql(AssertSqlSafe(refused)).execute(&mut connection).await;
    assert_eq!(update.is_err(), is_guarded, "{table}.{column}");
    for trigger in triggers {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).execute(&mut connection).await.unwrap();
    }
    let select = format!("SELECT CAST({column} AS BLOB) FROM {table} WHERE {which}");
    let mut value: Vec<u8> = sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut connection).await.unwrap();
    let at = value.len() / 2;
    value[at] ^= 1;
    let is_text = matches!(column, "note" | "verdict" | "kind");
    let update = sqlx::query(AssertSqlSafe(format!("UPDATE {table} SET {column} = ? WHERE {which}")));
    let update = if is_text { update.bind(String::from_utf8(value).unwrap()) } else { update.bind(value) };
    assert_eq!(update.execute(&mut connection).await.unwrap().rows_affected(), 1, "{table}.{column}");
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turned_bit_anywhere_in_the_log_is_found() {
    let world = World::start().await;
    let good = world.publish("good", components::command("hello\n")).await;
    let stranger = world.publish("greedy", components::greedy("hello\n")).await;
    assert_eq!(world.host.admit(&good.reference).await.status, 200);
    assert_eq!(world.host.admit(&stranger.reference).await.status, 403);
    // Enough for a full tile.
    let audit = &world.deployment.service.gate().audit;
    for batch in 0..5 {
        let events = (0..60)
            .map(|number| audit.event(EventKind::Export, json!({"batch": batch, "number": number}), Timestamp::now()));
        for event in join_all(events).await {
            event.unwrap();
        }
    }
    let verified = world.verify_log().await;
    assert!(verified.size > 256 && verified.decisions() == 2, "{verified:?}");
    let vkey = Some(audit.vkey().parse().unwrap());
    let data_dir = world.deployment.config.data_dir.clone();
    world.deployment.service.stop().await;

    let options = VerifyOptions { vkey, ..VerifyOptions::default() };
    let copy = data_dir.join("copy.db");
    let first_decision = "idx = (SELECT min(idx) FROM decision WHERE kind = 'decision')";
    let one_row = |table: &str| format!("rowid = (SELECT min(rowid) FROM {table})");
    let cases = [
        ("decision", "entry", first_decision.to_owned()),
        ("decision", "body", first_decision.to_owned()),
        ("decision", "entry", one_row("decision")),
        ("decision", "body", one_row("decision")),
        ("decision", "artifact", first_decision.to_owned()),
        ("decision", "verdict", first_decision.to_owned()),
        ("decision", "kind", first_decision.to_owned()),
        ("leaf", "leaf", "idx = 3".to_owned()),
        ("tile", "data", "level = 0 AND idx = 0".to_owned()),
        ("tile", "hash", "level = 0 AND idx = 0".to_owned()),
        ("checkpoint", "note", "size = (SELECT max(size) FROM checkpoint)".to_owned()),
        ("checkpoint", "note", "size = (SELECT min(size) FROM checkpoint WHERE size > 0)".to_owned()),
        ("tree", "root", "1 = 1".to_owned()),
        ("disclosure", "value", "(id, ptr) = (SELECT id, ptr FROM disclosure LIMIT 1)".to_owned()),
    ];
    for (table, column, which) in cases {
        copy_database(&data_dir.join("audit.db"), &copy);
        verify(&copy, &options).await.expect("a faithful copy holds");
        turn_a_bit(&copy, table, column, &which).await;
        let fault = verify(&copy, &options).await;
        assert!(fault.is_err(), "nobody noticed {table}.{column}");
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(data_dir.join(format!("copy.db{suffix}")));
        }
    }
}

/// A database is all of its files: SQLite may leave its write-ahead log behind when connections close in another order.
fn copy_database(from: &std::path::Path, to: &std::path::Path) {
    let file = |path: &std::path::Path, suffix: &str| std::path::PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(file(to, suffix));
    }
    for suffix in ["", "-wal"] {
        if file(from, suffix).exists() {
            std::fs::copy(file(from, suffix), file(to, suffix)).unwrap();
        }
    }
}
