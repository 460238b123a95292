//! Warm blobs through the registry stage's store: what a reading costs from memory and from disk, what many of them take.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::runtime::Builder;
use witgate::case::{Digest, Timestamp};
use witgate::dev::components;
use witgate::dev::registry::push::{self, ConfigClaims};
use witgate::dev::registry::{Auth, DevRegistry, Options};
use witgate::registry::{Registry, Settings};

/// The argument that makes this program the readers.
const READ: &str = "--read";
/// The blob of design section 13.
const BLOB_BYTES: usize = 50_000_000;
/// Readings of it in a row.
const READINGS: u32 = 40;
/// Readers at once, each of a blob of its own.
const READERS: usize = 64;
/// The blob of each of them.
const SHARE_BYTES: usize = 20_000_000;

fn main() -> anyhow::Result<()> {
    witgate::tls::install_provider();
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == READ) {
        let cache = arguments.next().context("a cache to read")?;
        return runtime.block_on(read_all(Path::new(&cache)));
    }
    // Beside the build, not in a folder that may lie in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    println!("| what | wall | processor | |\n|---|---|---|---|");
    runtime.block_on(async {
        let registry = DevRegistry::start(Options::default()).await?;
        one_blob(&registry, folder.path()).await?;
        many_blobs(&registry, folder.path()).await?;
        registry.stop().await;
        Ok(())
    })
}

/// 50 MB from memory, from disk hashed again piece by piece, and the one reading that hashes it for all that follow.
async fn one_blob(origin: &DevRegistry, folder: &Path) -> anyhow::Result<()> {
    let cache = folder.join("one");
    let in_memory = opened(&cache, 128 << 20)?;
    let digest = pulled(&in_memory, origin, "one", BLOB_BYTES).await?;
    read(&in_memory, &digest).await?;
    measured("warm 50 MB from memory (at most 25 ms of a core)", READINGS, || read(&in_memory, &digest)).await?;
    drop(in_memory);

    let cold = opened(&cache, 128 << 20)?;
    measured("the first reading after a start: from disk, hashed", 1, || read(&cold, &digest)).await?;
    drop(cold);

    let on_disk = opened(&cache, 0)?;
    measured("no memory for it: the first reading, hashed whole and in pieces", 1, || read(&on_disk, &digest)).await?;
    measured("no memory for it: each further one, hashed in pieces", READINGS, || read(&on_disk, &digest)).await
}

/// 64 readers of 64 blobs of 20 MB, of which six fit the memory there is: in a process of its own, so that its memory is theirs.
async fn many_blobs(origin: &DevRegistry, folder: &Path) -> anyhow::Result<()> {
    let cache = folder.join("many");
    let filling = opened(&cache, 0)?;
    for at in 0..READERS {
        pulled(&filling, origin, &format!("many-{at}"), SHARE_BYTES).await?;
    }
    drop(filling);
    let status = std::process::Command::new(std::env::current_exe()?).arg(READ).arg(&cache).status()?;
    ensure!(status.success(), "the readers ended with {status}");
    Ok(())
}

/// Reads everything large in a cache at once, then tells the most memory that it took.
async fn read_all(cache: &Path) -> anyhow::Result<()> {
    let mut digests = Vec::new();
    for file in std::fs::read_dir(cache.join("blobs/sha256"))? {
        let file = file?;
        if file.metadata()?.len() >= SHARE_BYTES as u64 {
            digests.push(format!("sha256:{}", file.file_name().to_string_lossy()).parse::<Digest>()?);
        }
    }
    ensure!(digests.len() == READERS, "{} blobs", digests.len());
    let store = opened(cache, 128 << 20)?;
    let reading = || async {
        futures::future::try_join_all(digests.iter().map(|digest| read(&store, digest))).await?;
        anyhow::Ok(())
    };
    measured("64 readers at once, each of 20 MB of its own", 1, reading).await?;
    println!(
        "| the most memory of the process that they ran in (at most 256 MB) | {} MB | | |",
        most_memory()? / 1_000_000
    );
    Ok(())
}

fn opened(cache: &Path, memory_max_bytes: u64) -> anyhow::Result<Registry> {
    Ok(Registry::open(&Settings { memory_max_bytes, ..Settings::default() }, cache)?)
}

/// Pushes a component, resolves it, and gives the digest of its layer.
async fn pulled(registry: &Registry, origin: &DevRegistry, name: &str, size: usize) -> anyhow::Result<Digest> {
    let wasm = Bytes::from(components::padded(components::command(&format!("{name}\n")), size));
    let repository = format!("bench/{name}");
    let claims = ConfigClaims::default();
    let pushed = push::component(&origin.host(), &repository, "1", wasm, claims, &Auth::Open).await?;
    let artifact = registry.resolve(&pushed.reference.parse()?, Timestamp::now()).await?;
    ensure!(artifact.component().is_some(), "{:?}", artifact.facts().defects);
    Ok(pushed.component)
}

/// Reads to the end, as a door that sends it on does.
async fn read(registry: &Registry, digest: &Digest) -> anyhow::Result<()> {
    let blob = registry.held(digest).await?.context("the blob is held")?;
    let mut pieces = blob.read(0..blob.size_bytes());
    let mut read = 0;
    while let Some(piece) = pieces.try_next().await? {
        read += piece.len() as u64;
    }
    ensure!(read == blob.size_bytes(), "{read} of {} bytes", blob.size_bytes());
    Ok(())
}

async fn measured<F: Future<Output = anyhow::Result<()>>>(
    what: &str,
    times: u32,
    work: impl Fn() -> F,
) -> anyhow::Result<()> {
    let (cpu, begun) = (cpu_time()?, Instant::now());
    for _ in 0..times {
        work().await?;
    }
    let (wall, cpu) = (begun.elapsed() / times, (cpu_time()? - cpu) / times);
    println!("| {what} | {:.2} ms | {:.2} ms | |", millis(wall), millis(cpu));
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time that this process has spent on a core, in hundredths of a second (proc(5), `stat`).
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("a name in brackets")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The most memory that this process ever had, in bytes (proc(5), `status`).
fn most_memory() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a line `VmHWM`")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes << 10)
}
