//! The whole gateway under load: prints one table of figures beside the floors and aims they have to hold.

mod subject;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use witgate::case::Timestamp;
use witgate::dev::deployment::policy_data;
use witgate::dev::spiffe::Leaf;
use witgate::gate::Gate;
use witgate::policy::{Policy, Verdict};
use witgate_tests::{Caller, World, components};

/// The most warm admissions asked for one after the other.
const WARM_ALONE: usize = 10_000;
/// Connections that ask for warm admissions at the same time.
const WARM_CLIENTS: usize = 16;
/// The most warm admissions of one run: tickets live for two minutes, and 100,000 may live at once.
const WARM_MAX: usize = 60_000;
/// Cold decisions, each on a component of its own.
const COLD: usize = 30;
/// The component of a cold decision, in bytes.
const COLD_BYTES: usize = 5_000_000;
/// How long each rate is measured.
const WINDOW: Duration = Duration::from_secs(6);
/// Flushes of the disk that the figures of the log are to be read beside.
const FLUSHES: usize = 100;

fn main() -> anyhow::Result<()> {
    // Threads bear the name of who uses them, so that each side's share of the cores can be told.
    let gateway = runtime("gateway")?;
    let clients = runtime("clients")?;
    // Beside the build, not in a folder that may lie in memory: the log's figures are the disk's.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let data_dir = folder.path().join("data");
    let world = gateway.block_on(World::with(|setup| setup.data_dir = Some(data_dir)));

    let mut table = Table::new();
    table.row("flush of 4 KiB to the disk of the log", &flushes(folder.path())?, None, None, Hold::Nothing);
    // `-- cold warm` runs these parts alone.
    let parts: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|word| word == part);
    if wanted("cold") {
        cold(&mut table, &clients, &world)?;
    }
    if wanted("warm") {
        warm(&mut table, &clients, &world)?;
    }
    if wanted("durable") {
        durable(&mut table, &gateway, &world)?;
    }
    println!("{}", table.text);
    gateway.block_on(world.deployment.service.stop());
    Ok(())
}

fn runtime(name: &str) -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread().thread_name(name).enable_all().build()?)
}

/// What one write to disk costs here: the price of a batch.
fn flushes(folder: &Path) -> anyhow::Result<Times> {
    let mut file = std::fs::File::create(folder.join("flush"))?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let begun = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(Times::of(times))
}

/// Nothing known of the component: tag, manifest, config, layer, referrers, bundle; verified, judged, logged, answered.
fn cold(table: &mut Table, clients: &Runtime, world: &World) -> anyhow::Result<()> {
    let publish = async |at: usize| {
        let wasm = components::padded(components::command(&format!("cold {at}\n")), COLD_BYTES);
        world.publish(&format!("cold-{at}"), wasm).await.reference
    };
    clients.block_on(async {
        // The connections to the gateway and to the registry stand before anything is measured.
        admitted(&world.host.admit(&publish(COLD).await).await)?;
        let mut references = Vec::with_capacity(COLD);
        for at in 0..COLD {
            references.push(publish(at).await);
        }
        let asked_before = world.deployment.registry.requests().len();
        let mut times = Vec::with_capacity(COLD);
        for reference in &references {
            let begun = Instant::now();
            let reply = world.host.admit(reference).await;
            times.push(begun.elapsed());
            admitted(&reply)?;
        }
        let asked = world.deployment.registry.requests().len() - asked_before;
        let name = format!("cold decision, 5 MB, keyless ({} requests to the registry)", asked / COLD);
        table.row(&name, &Times::of(times), None, None, Hold::P50 { floor: millis(60), aim: millis(15) });
        Ok(())
    })
}

fn admitted(reply: &witgate_tests::Reply) -> anyhow::Result<()> {
    ensure!(reply.status == 200, "status {}: {}", reply.status, reply.body);
    Ok(())
}

/// The same question again on a standing connection, one at a time, then from many at once.
fn warm(table: &mut Table, clients: &Runtime, world: &World) -> anyhow::Result<()> {
    clients.block_on(async {
        let pushed = world.publish("warm", components::command("warm\n")).await;
        // By digest: an admission by tag is held for as long as the tag is believed, which is no longer than a run.
        let (name, _tag) = pushed.reference.rsplit_once(':').context("a reference with a tag")?;
        let body = Arc::new(json!({"reference": format!("{name}@{}", pushed.manifest)}));
        admitted(&world.host.ask((*body).clone()).await)?;
        let mut times = Vec::with_capacity(WARM_ALONE);
        let begun = Instant::now();
        while begun.elapsed() < WINDOW && times.len() < WARM_ALONE {
            times.push(once(&world.host, &body).await?);
        }
        let hold = Hold::P50P99 { floor: (millis(1), millis(5)), aim: (Duration::from_micros(150), millis(1)) };
        table.row("warm admission over mTLS keep-alive, one client", &Times::of(times), None, None, hold);

        let mut callers = Vec::with_capacity(WARM_CLIENTS);
        for at in 0..WARM_CLIENTS {
            let caller = world.caller(&format!("/host/load-{at}"), &Leaf::new(Timestamp::now())).await?;
            admitted(&caller.ask((*body).clone()).await)?;
            callers.push(caller);
        }
        let (cpu_before, begun) = (cpu_time("gateway"), Instant::now());
        let tasks: Vec<_> = callers
            .into_iter()
            .map(|caller| {
                let body = Arc::clone(&body);
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while begun.elapsed() < WINDOW && times.len() < WARM_MAX / WARM_CLIENTS {
                        times.push(once(&caller, &body).await?);
                    }
                    anyhow::Ok(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await??);
        }
        let (took, count) = (begun.elapsed(), times.len() as f64);
        let name = format!("warm admissions, {WARM_CLIENTS} clients on the same cores");
        table.row(&name, &Times::of(times), Some(count / took.as_secs_f64()), None, Hold::Nothing);
        if let (Some(before), Some(after)) = (cpu_before, cpu_time("gateway")) {
            let per_core = count / (after - before).as_secs_f64();
            let hold = Hold::Rate { floor: 5_000.0, aim: 25_000.0 };
            table.row(
                "warm admissions per core of the gateway's threads",
                &Times::default(),
                None,
                Some(per_core),
                hold,
            );
        }
        Ok(())
    })
}

/// From the first byte sent to the last byte received.
async fn once(caller: &Caller, body: &serde_json::Value) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let response = caller.client().post(caller.url("/v1/admissions")).json(body).send().await?;
    let status = response.status();
    let bytes = response.bytes().await?;
    let took = begun.elapsed();
    ensure!(status == 200, "status {status}: {}", String::from_utf8_lossy(&bytes));
    Ok(took)
}

/// New cases, decided and on disk before they are counted.
fn durable(table: &mut Table, gateway: &Runtime, world: &World) -> anyhow::Result<()> {
    for clients in [1, 128] {
        let (times, rate) = gateway.block_on(decide_for_a_while(world.deployment.service.gate(), clients))?;
        let name = format!("new decisions made and durably logged, SQLite, {clients} at once");
        let hold = match clients {
            1 => Hold::Nothing,
            _ => Hold::Rate { floor: 4_000.0, aim: 10_000.0 },
        };
        table.row(&name, &times, Some(rate), Some(rate), hold);
    }
    Ok(())
}

async fn decide_for_a_while(gate: &Arc<Gate>, clients: usize) -> anyhow::Result<(Times, f64)> {
    let component = bytes::Bytes::from(components::command("hello\n"));
    let surface = witgate::surface::inspect(Some(component.clone())).await?;
    let case = subject::case(&component, surface, Timestamp::now());
    let policy = Arc::new(Policy::embedded(policy_data(subject::REGISTRY))?);
    let begun = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (gate, policy, mut case) = (Arc::clone(gate), Arc::clone(&policy), case.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < WINDOW {
                    let started = Instant::now();
                    case.id = uuid::Uuid::now_v7();
                    let decision = policy.decide(&case)?;
                    ensure!(matches!(decision.verdict(), Verdict::Admit(_)), "refused: {:?}", decision.facts().reasons);
                    gate.audit.append(&case, &decision).await?;
                    times.push(started.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((Times::of(times), rate))
}

/// The time that threads called `name` have spent on a core; known on Linux, in hundredths of a second (proc(5), `stat`).
fn cpu_time(name: &str) -> Option<Duration> {
    let mut ticks = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        let (head, fields) = stat.rsplit_once(") ")?;
        if head.split_once('(').is_some_and(|(_, comm)| comm == name) {
            // Behind the name: state is the first field, user time the twelfth, system time the thirteenth.
            let times = fields.split(' ').skip(11).take(2);
            ticks += times.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
        }
    }
    Some(Duration::from_millis(ticks * 10))
}

/// Half and 99 of 100 took no longer than this; the second is the longest where there are fewer than 100.
#[derive(Clone, Copy, Default)]
struct Times {
    p50: Duration,
    p99: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |hundredths: usize| times.get((times.len() * hundredths / 100).min(times.len().saturating_sub(1)));
        Self { p50: at(50).copied().unwrap_or_default(), p99: at(99).copied().unwrap_or_default() }
    }
}

/// What a figure has to hold (design section 13).
#[derive(Clone, Copy)]
enum Hold {
    Nothing,
    P50 { floor: Duration, aim: Duration },
    P50P99 { floor: (Duration, Duration), aim: (Duration, Duration) },
    Rate { floor: f64, aim: f64 },
}

struct Table {
    text: String,
}

impl Table {
    fn new() -> Self {
        Self { text: "| what | p50 | p99 | per second | floor | aim | |\n|---|---|---|---|---|---|---|\n".into() }
    }

    /// A row; `rate` is shown, `judged` is what a rate has to hold.
    fn row(&mut self, what: &str, times: &Times, rate: Option<f64>, judged: Option<f64>, hold: Hold) {
        let (floor, aim, above, well) = match hold {
            Hold::Nothing => (String::new(), String::new(), None, false),
            Hold::P50 { floor, aim } => (show(floor), show(aim), Some(times.p50 <= floor), times.p50 <= aim),
            Hold::P50P99 { floor, aim } => {
                let within = |limit: (Duration, Duration)| times.p50 <= limit.0 && times.p99 <= limit.1;
                let both = |limit: (Duration, Duration)| format!("{} / {}", show(limit.0), show(limit.1));
                (both(floor), both(aim), Some(within(floor)), within(aim))
            }
            Hold::Rate { floor, aim } => {
                let found = judged.unwrap_or_default();
                (format!("{floor:.0}"), format!("{aim:.0}"), Some(found >= floor), found >= aim)
            }
        };
        let verdict = match above {
            None => "",
            Some(false) => "MISSED",
            Some(true) if well => "aim held",
            Some(true) => "floor held",
        };
        let rate = rate.or(judged).map(|rate| format!("{rate:.0}")).unwrap_or_default();
        let (p50, p99) = (show(times.p50), show(times.p99));
        let written = writeln!(self.text, "| {what} | {p50} | {p99} | {rate} | {floor} | {aim} | {verdict} |");
        written.expect("broken invariant: a string can be written to");
    }
}

fn show(time: Duration) -> String {
    match time.as_micros() {
        0 => String::new(),
        micros @ ..10_000 => format!("{micros} µs"),
        micros => format!("{:.1} ms", micros as f64 / 1000.0),
    }
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
