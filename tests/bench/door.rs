//! The registry door beside the registry itself: the same requests to Debian's docker-registry and through witgate to it.
//!
//! witgate is a process of its own, so that its share of the cores and its memory can be told from everybody else's.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER, policy_data};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, ConfigClaims, Pushed};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{ALIAS, World, components, free_address};

/// Says to this program that it is the gateway.
const AS_GATEWAY: &str = "DOOR_BENCH_AS_GATEWAY";
/// The large blob, in bytes.
const LARGE: usize = 50 << 20;
/// Pulls of it on each side, in turns.
const LARGE_PULLS: usize = 40;
/// The component of a cold pull, in bytes, with how many there are.
const COLD: [(usize, usize); 2] = [(5_000_000, 20), (LARGE, 6)];
/// The same registry as one reaches it over a network: by this name, at this rate of its answers in bytes a second (1 Gbit/s).
const FAR: (&str, f64) = ("far.test", 125e6);
/// How late a timer of the link may be.
const LATENESS: Duration = Duration::from_millis(5);
/// Connections that ask for a manifest at the same time.
const MANIFEST_CLIENTS: usize = 16;
/// How long that goes on.
const WINDOW: Duration = Duration::from_secs(5);
/// Parallel pulls, and the size of each blob.
const PARALLEL: (usize, usize) = (64, 20 << 20);

fn main() -> ExitCode {
    if std::env::var_os(AS_GATEWAY).is_some() {
        return witgate::cli::main();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> anyhow::Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|word| word == part);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let site = Site::start(folder.path()).await?;
    println!(
        "| what | direct | through witgate | ratio | witgate's CPU | has to hold | |\n|---|---|---|---|---|---|---|"
    );
    if wanted("blob") {
        blob(&site).await?;
    }
    if wanted("manifest") {
        manifest(&site).await?;
    }
    if wanted("cold") {
        for (size, count) in COLD {
            cold(&site, size, count, Distance::Loopback).await?;
            cold(&site, size, count, Distance::Network).await?;
        }
    }
    if wanted("memory") {
        memory(&site).await?;
    }
    Ok(())
}

/// A blob that witgate holds, from memory: one client, the two sides in turns.
async fn blob(site: &Site) -> anyhow::Result<()> {
    let pushed = site.publish("large", LARGE).await?;
    let (direct, through) = (site.direct("large"), site.through("large"));
    let (mut origin, mut door) = (Client::to(site.registry).await?, Client::to(site.gateway).await?);
    door.get(&through.manifest("1.0")).await?;
    let blob = |place: &Place| place.blob(&pushed.component);
    for _ in 0..3 {
        origin.get(&blob(&direct)).await?;
        door.get(&blob(&through)).await?;
    }
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let mut cpu = Duration::ZERO;
    for _ in 0..LARGE_PULLS {
        theirs.push(timed(origin.get(&blob(&direct))).await?);
        let before = site.cpu()?;
        ours.push(timed(door.get(&blob(&through))).await?);
        cpu += site.cpu()? - before;
    }
    let (theirs, ours) = (median(theirs), median(ours));
    let rate = |took: Duration| format!("{:.0} MB/s", LARGE as f64 / took.as_secs_f64() / 1e6);
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    let each = cpu / u32::try_from(LARGE_PULLS)?;
    let held = ratio >= 0.8 && each <= Duration::from_millis(25);
    row(
        "warm blob, 50 MiB, one client (medians)",
        [&rate(theirs), &rate(ours)],
        ratio,
        &show(each),
        "0.8x, 25 ms",
        held,
    );
    Ok(())
}

/// A manifest under a live grant, and one under a decision that is held, by many clients.
async fn manifest(site: &Site) -> anyhow::Result<()> {
    let pushed = site.publish("small", 0).await?;
    let (direct, through) = (site.direct("small"), site.through("small"));
    for reference in [pushed.manifest.to_string(), "1.0".to_owned()] {
        let (rate_direct, _) = crowd(site.registry, &direct.manifest(&reference)).await?;
        Client::to(site.gateway).await?.get(&through.manifest(&reference)).await?;
        let before = site.cpu()?;
        let (rate, p99) = crowd(site.gateway, &through.manifest(&reference)).await?;
        let per = (site.cpu()? - before).div_f64(rate * WINDOW.as_secs_f64());
        let what = format!("warm manifest by {}, 16 clients", if reference == "1.0" { "tag" } else { "digest" });
        let shown = [format!("{rate_direct:.0}/s"), format!("{rate:.0}/s, p99 {}", show(p99))];
        let held = rate >= 10_000.0 && p99 <= Duration::from_millis(10);
        row(&what, [&shown[0], &shown[1]], rate / rate_direct, &show(per), "10,000/s, p99 10 ms", held);
    }
    Ok(())
}

async fn crowd(address: SocketAddr, path: &str) -> anyhow::Result<(f64, Duration)> {
    let path: Arc<str> = path.into();
    let begun = Instant::now();
    let clients = (0..MANIFEST_CLIENTS).map(|_| {
        let path = Arc::clone(&path);
        tokio::spawn(async move {
            let mut client = Client::to(address).await?;
            let mut times = Vec::new();
            while begun.elapsed() < WINDOW {
                times.push(timed(client.get(&path)).await?);
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for of_one in try_join_all(clients).await? {
        times.extend(of_one?);
    }
    times.sort();
    Ok((times.len() as f64 / begun.elapsed().as_secs_f64(), times[times.len() * 99 / 100]))
}

/// A new artifact, whole: manifest by tag, config, component. Each side reads components that only it has read.
async fn cold(site: &Site, size: usize, count: usize, distance: Distance) -> anyhow::Result<()> {
    let (alias, origin, place_of_registry) = match distance {
        Distance::Loopback => (ALIAS, site.registry, "on loopback"),
        Distance::Network => (FAR.0, site.far, "at 1 Gbit/s"),
    };
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let mut cpu = Duration::ZERO;
    for at in 0..count {
        for side in ["direct", "through"] {
            let name = format!("cold-{size}-{alias}-{side}-{at}");
            let pushed = site.publish(&name, size).await?;
            let (address, place, times) = match side {
                "direct" => (origin, site.direct(&name), &mut theirs),
                _ => (site.gateway, Place(format!("/v2/{alias}/demo/{name}")), &mut ours),
            };
            let mut client = Client::to(address).await?;
            let before = site.cpu()?;
            times.push(timed(whole(&mut client, &place, &pushed)).await?);
            if side == "through" {
                cpu += site.cpu()? - before;
            }
        }
    }
    let (theirs, ours) = (median(theirs), median(ours));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    let what = format!("cold pull, {} MB, by tag, registry {place_of_registry} (medians of {count})", size / 1_000_000);
    let each = show(cpu / u32::try_from(count)?);
    row(&what, [&show(theirs), &show(ours)], ratio, &each, "2x", ratio <= 2.0);
    Ok(())
}

async fn whole(client: &mut Client, place: &Place, pushed: &Pushed) -> anyhow::Result<()> {
    client.get(&place.manifest("1.0")).await?;
    let manifest: serde_json::Value = serde_json::from_slice(&pushed.manifest_bytes)?;
    let config: Digest = manifest["config"]["digest"].as_str().context("a config")?.parse()?;
    client.get(&place.blob(&config)).await?;
    client.get(&place.blob(&pushed.component)).await
}

/// What witgate takes at most while many blobs go out at once: new ones, then the same again.
async fn memory(site: &Site) -> anyhow::Result<()> {
    let (count, size) = PARALLEL;
    let mut all = Vec::new();
    for at in 0..count {
        let name = format!("parallel-{at}");
        all.push((site.through(&name), site.publish(&name, size).await?));
    }
    let idle = site.resident("VmRSS:")?;
    for what in ["new", "again"] {
        site.forget_peak()?;
        let begun = Instant::now();
        let pulls = all.iter().map(|(place, pushed)| async move {
            loop {
                let mut client = Client::to(site.gateway).await?;
                match whole(&mut client, place, pushed).await {
                    Ok(()) => return anyhow::Ok(()),
                    // What takes longer than a caller waits goes on, and is asked for again: as hosts do.
                    Err(error) if error.downcast_ref() == Some(&Pending) => {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        });
        try_join_all(pulls).await?;
        let took = begun.elapsed();
        let peak = site.resident("VmHWM:")?;
        let text = format!("{count} parallel pulls of 20 MiB, {what}: memory at most (before: {} MiB)", idle >> 20);
        let found = format!("{} MiB in {}", peak >> 20, show(took));
        println!("| {text} | | {found} | | | 256 MiB | {} |", verdict(peak <= 256 << 20));
    }
    Ok(())
}

/// Where the registry is.
#[derive(Clone, Copy)]
enum Distance {
    Loopback,
    Network,
}

/// Passes connections on to `registry`; what comes back comes no faster, over all of them, than [`FAR`] allows.
async fn link(registry: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let free_at = Arc::new(Mutex::new(tokio::time::Instant::now()));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let free_at = Arc::clone(&free_at);
            tokio::spawn(async move {
                let far = TcpStream::connect(registry).await?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                let (mut asks, mut answers) = near.into_split();
                let (mut reads, mut writes) = far.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut asks, &mut writes).await });
                let mut buffer = vec![0; 64 << 10];
                loop {
                    let read = reads.read(&mut buffer).await?;
                    if read == 0 {
                        return answers.shutdown().await;
                    }
                    let until = {
                        let mut free_at = free_at.lock().expect("nobody panics with it");
                        // A late timer is made up for, or the link would be slower than it says.
                        let begin = (*free_at).max(tokio::time::Instant::now() - LATENESS);
                        *free_at = begin + Duration::from_secs_f64(read as f64 / FAR.1);
                        *free_at
                    };
                    tokio::time::sleep_until(until).await;
                    answers.write_all(&buffer[..read]).await?;
                }
            });
        }
    });
    Ok(address)
}

/// The two registries, and who signs for them.
struct Site {
    world: World,
    registry: SocketAddr,
    far: SocketAddr,
    gateway: SocketAddr,
    pid: u32,
    _processes: [Process; 2],
}

impl Site {
    async fn start(folder: &Path) -> anyhow::Result<Self> {
        let world = World::with(|_| {}).await;
        let (registry, gateway) = (free_address(), free_address());
        let yml = folder.join("registry.yml");
        let root = folder.join("registry").display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {root}}}}}\nhttp: {{addr: \"{registry}\"}}\n"
        );
        fs::write(&yml, text)?;
        let program = std::env::var_os("DOOR_BENCH_REGISTRY").unwrap_or_else(|| "docker-registry".into());
        let origin = Process::start(Command::new(program).arg("serve").arg(&yml), registry).await?;

        let data = folder.join("policy");
        fs::create_dir(&data)?;
        let (mut rules, further) = (policy_data(ALIAS), policy_data(FAR.0));
        for part in ["grants", "signatures"] {
            let (rules, further) = (&mut rules["witgate"][part], &further["witgate"][part]);
            rules.as_array_mut().context("rules")?.extend(further.as_array().context("rules")?.clone());
        }
        for grant in rules["witgate"]["grants"].as_array_mut().context("rules")? {
            grant["callers"] = serde_json::json!(["local"]);
        }
        let far = link(registry).await?;
        fs::write(data.join("data.json"), rules.to_string())?;
        let file = folder.join("witgate.toml");
        let text = format!(
            "[listen]\ncallers = \"{gateway}\"\nadmin = \"{}\"\n\
             [registry.upstreams.\"{ALIAS}\"]\nurl = \"http://{registry}\"\n\
             [registry.upstreams.\"{}\"]\nurl = \"http://{far}\"\n\
             [[evidence.roots]]\nname = \"demo\"\ntrusted_root = \"{}\"\n[policy]\ndata = \"{}\"\n",
            free_address(),
            FAR.0,
            world.folder().join("trusted_root.json").display(),
            data.display(),
        );
        fs::write(&file, text)?;
        let mut command = Command::new(std::env::current_exe()?);
        // As `deploy/` sets it.
        command.env("MALLOC_MMAP_THRESHOLD_", "1048576");
        command.env(AS_GATEWAY, "1").arg("serve").arg("--config").arg(&file);
        command.arg("--data-dir").arg(folder.join("gateway"));
        let door = Process::start(&mut command, gateway).await?;
        let pid = door.0.id();
        Ok(Self { world, registry, far, gateway, pid, _processes: [origin, door] })
    }

    /// A signed component of `size` bytes, or a small one.
    async fn publish(&self, name: &str, size: usize) -> anyhow::Result<Pushed> {
        let (host, repository) = (self.registry.to_string(), format!("demo/{name}"));
        let small = components::command(&format!("{name}\n"));
        let wasm = if size == 0 { small } else { components::padded(small, size) };
        let claims = ConfigClaims::default();
        let pushed = push::component(&host, &repository, "1.0", Bytes::from(wasm), claims, &Auth::Open).await?;
        let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
        let bundle = self.world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin))?;
        push::bundle(&host, &repository, &pushed, &bundle, None, &Auth::Open).await?;
        Ok(pushed)
    }

    fn direct(&self, name: &str) -> Place {
        Place(format!("/v2/demo/{name}"))
    }

    fn through(&self, name: &str) -> Place {
        Place(format!("/v2/{ALIAS}/demo/{name}"))
    }

    /// What witgate has taken of the cores, in hundredths of a second (proc(5), `stat`).
    fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, fields) = stat.rsplit_once(") ").context("a line of stat")?;
        // Behind the name: state is the first field, user time the twelfth, system time the thirteenth.
        let ticks: Vec<u64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
    }

    /// Bytes of witgate's memory: `VmRSS:` now, `VmHWM:` at most since [`Self::forget_peak`] (proc(5), `status`).
    fn resident(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("a line of status")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.pid), "5")?)
    }
}

/// A repository as one of the two names it.
struct Place(String);

impl Place {
    fn manifest(&self, reference: &str) -> String {
        format!("{}/manifests/{reference}", self.0)
    }

    fn blob(&self, digest: &Digest) -> String {
        format!("{}/blobs/{digest}", self.0)
    }
}

struct Process(Child);

impl Process {
    /// Starts it; returns when it takes connections.
    async fn start(command: &mut Command, address: SocketAddr) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut process = Self(child.with_context(|| format!("{command:?}"))?);
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            ensure!(begun.elapsed() < Duration::from_secs(30), "{command:?} takes no connections");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer was 429.
#[derive(Debug, PartialEq, Eq)]
struct Pending;

impl std::fmt::Display for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the work goes on")
    }
}

impl std::error::Error for Pending {}

/// One connection that reads answers and keeps nothing of them: as little work as a client can do.
struct Client {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
}

impl Client {
    async fn to(host: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, buffer: vec![0; 256 << 10] })
    }

    /// `GET`, read to the end; anything but 200 is an error.
    async fn get(&mut self, path: &str) -> anyhow::Result<()> {
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\naccept: {accept}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await?;
        let (mut filled, end) = (0, b"\r\n\r\n");
        let head = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "{path}: {}", io::Error::from(io::ErrorKind::UnexpectedEof));
            filled += read;
            if let Some(at) = self.buffer[..filled].windows(end.len()).position(|window| window == end) {
                break at + end.len();
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).context("a length")?;
        let length: usize = length.trim().parse()?;
        let mut left = length.checked_sub(filled - head).context("more than was announced")?;
        let body = filled;
        while left > 0 {
            let read = self.stream.read(&mut self.buffer[body.min(64 << 10)..]).await?;
            ensure!(read > 0 && read <= left, "{path}: {left} bytes are missing");
            left -= read;
        }
        if text.starts_with("http/1.1 429") {
            return Err(Pending.into());
        }
        let (line, _) = text.split_once('\r').unwrap_or_default();
        ensure!(
            text.starts_with("http/1.1 200"),
            "{path}: {line}: {}",
            String::from_utf8_lossy(&self.buffer[head..body])
        );
        Ok(())
    }
}

async fn timed(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, [direct, through]: [&str; 2], ratio: f64, cpu: &str, hold: &str, held: bool) {
    println!("| {what} | {direct} | {through} | {ratio:.2}x | {cpu} | {hold} | {} |", verdict(held));
}

fn verdict(held: bool) -> &'static str {
    if held { "held" } else { "MISSED" }
}

fn show(time: Duration) -> String {
    match time.as_micros() {
        micros @ ..10_000 => format!("{micros} µs"),
        micros => format!("{:.1} ms", micros as f64 / 1000.0),
    }
}
