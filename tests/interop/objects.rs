//! A real S3 server, versitygw, as the store that replicas share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use witgate::case::Digest;
use witgate_tests::{World, components, free_address};

use crate::process::Process;

const KEY_ID: &str = "witgate";
const SECRET: &str = "a-secret-of-this-test";
const BUCKET: &str = "blobs";

/// versitygw over a folder: a bucket is a folder in it, an object a file.
struct S3 {
    address: String,
    folder: tempfile::TempDir,
    _process: Process,
}

impl S3 {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join(BUCKET)).unwrap();
        let address = free_address().to_string();
        let mut command = Command::new(crate::program("WITGATE_INTEROP_VERSITYGW"));
        command.args([
            "--port", &address, "--access", KEY_ID, "--secret", SECRET, "--health", "/health", "--quiet", "posix",
        ]);
        let process = Process::start(command.arg(&root), &format!("http://{address}/health")).await;
        Self { address, folder, _process: process }
    }

    /// The table of a gateway's configuration, with the key's secret in a file.
    fn table(&self, secret: &str) -> String {
        let file = self.folder.path().join(format!("secret-{}", secret.len()));
        fs::write(&file, secret).unwrap();
        format!(
            "[registry.store]\nurl = \"s3://{BUCKET}/prod\"\nendpoint = \"http://{}\"\naccess_key_id = \"{KEY_ID}\"\n\
             secret_access_key_file = \"{}\"\n",
            self.address,
            file.display()
        )
    }

    fn object(&self, digest: &Digest) -> PathBuf {
        self.folder.path().join("root").join(BUCKET).join("prod/sha256").join(digest.hex())
    }
}

/// How often the registry was asked for a blob.
fn fetched(world: &World, digest: &Digest) -> usize {
    let blob = format!("blobs/{digest}");
    let requests = world.deployment.registry.requests();
    requests.iter().filter(|request| request.method == "GET" && request.path.ends_with(&blob)).count()
}

/// The same gateway with nothing in its own cache: as another replica is at first.
async fn replica(world: World) -> World {
    let cache: &Path = &world.deployment.config.data_dir.join("cache");
    let cache = cache.to_owned();
    world.restart(|_| fs::remove_dir_all(&cache).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_fetched_the_others_take_from_s3_and_hash() {
    let s3 = S3::start().await;
    let world = World::behind_the_door(|setup| setup.more = s3.table(SECRET)).await;
    let wasm = components::padded(components::command("shared\n"), 3 << 20);
    let pushed = world.publish("shared", wasm.clone()).await;
    let blob = format!("blobs/{}", pushed.component);
    assert_eq!(world.host.pull("shared", "manifests/1.0").await.status, 200);
    assert_eq!(fs::read(s3.object(&pushed.component)).unwrap(), wasm, "it is shared");
    assert_eq!(fetched(&world, &pushed.component), 1);

    let world = replica(world).await;
    assert_eq!(world.host.pull("shared", "manifests/1.0").await.status, 200);
    assert_eq!(world.host.pull("shared", &blob).await.bytes, wasm);
    assert_eq!(fetched(&world, &pushed.component), 1, "it came from S3");

    // Whoever can write there makes us fetch again, and nothing else.
    let mut altered = wasm.clone();
    altered[1 << 20] ^= 1;
    fs::write(s3.object(&pushed.component), &altered).unwrap();
    let world = replica(world).await;
    assert_eq!(world.host.pull("shared", "manifests/1.0").await.status, 200);
    assert_eq!(world.host.pull("shared", &blob).await.bytes, wasm);
    assert_eq!(fetched(&world, &pushed.component), 2, "from the registry");
    assert_eq!(fs::read(s3.object(&pushed.component)).unwrap(), wasm, "and mended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_take_our_key_is_an_outage_that_says_so() {
    let s3 = S3::start().await;
    let world = World::behind_the_door(|setup| setup.more = s3.table("another-secret")).await;
    world.publish("unshared", components::command("unshared\n")).await;
    let reply = world.host.pull("unshared", "manifests/1.0").await;
    assert_eq!((reply.status, reply.error_code()), (503, "UNAVAILABLE"), "{}", reply.body);
    assert_eq!(reply.body["errors"][0]["detail"]["peer"], "store");
    assert!(reply.message().contains("s3://blobs/prod"), "{}", reply.message());
    assert!(
        !reply.body.to_string().contains("secret-of-this-test") && !reply.body.to_string().contains("another-secret")
    );
}
