//! Stored cases decided again: how many a second, on one thread and on two, from a log of many.

mod subject;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use witgate::audit::{Audit, Reader, Settings, StoredDecision, Window};
use witgate::case::{Case, Digest, Scope, Surface, Timestamp};
use witgate::dev::deployment::{host_id, policy_data};
use witgate::policy::Policy;
use witgate::replay::{At, Options, Progress, Source, replay};
use witgate_tests::components;

/// Cases in the log where no other number is given.
const CASES: u64 = 100_000;
/// Appends at once.
const WRITERS: u64 = 128;
/// Callers and repositories that take turns.
const NAMES: u64 = 50;
/// How often it is asked what was admitted before.
const LOOKS: u64 = 2000;
/// What a million cases may take on one core, in minutes: "in minutes a core".
const MINUTES_A_MILLION: f64 = 5.0;

fn main() -> anyhow::Result<()> {
    // `-- 1000000` makes the log so large.
    let number = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(CASES);
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    // Beside the build, on a disk, not in a folder that may lie in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    runtime.block_on(async {
        let database = filled(folder.path(), number).await?;
        let size = std::fs::metadata(&database)?.len();
        println!("{number} cases, {} bytes of log each\n", size / number.max(1));
        println!("| what | cases a second | a second of a core | a million takes, on one core | at most | |");
        println!("|---|---|---|---|---|---|");
        let begun = Instant::now();
        ensure!(read_only(&database, |_| Ok(())).await? == number, "every case is read");
        row("read from the log, and nothing else", number, begun.elapsed(), None);
        let begun = Instant::now();
        let open = |stored: StoredDecision| stored.open().map(|_| ()).map_err(|why| anyhow::anyhow!("{why}"));
        ensure!(read_only(&database, open).await? == number, "every case is read");
        row("the same, checked and parsed, on one thread", number, begun.elapsed(), None);
        for threads in [1, 2] {
            let (took, cpu) = decided(&database, number, threads).await?;
            let name = format!("checked, parsed and decided by the shipped policies, {threads} thread(s)");
            row(&name, number, took, Some(cpu));
        }
        last_admitted(&database).await
    })
}

/// What stands in the way of an answer: the newest admission of another artifact, from a log of so many.
async fn last_admitted(database: &Path) -> anyhow::Result<()> {
    let (reader, scope) = (Reader::open(database).await?, Scope::default());
    let mut times = Vec::new();
    for at in 0..LOOKS {
        let repository = format!("demo/c{}", at % NAMES);
        let begun = Instant::now();
        let found = reader.last_admitted(&scope, subject::REGISTRY, &repository, &Digest::of(b"new")).await?;
        times.push(begun.elapsed());
        ensure!(found.is_some_and(|previous| !previous.imports.is_empty()), "an admission with its imports");
    }
    times.sort();
    let at = |hundredths: usize| times[times.len() * hundredths / 100].as_micros();
    println!("\nwhat was admitted before, p50 / p99: {} / {} µs (at most 100 µs)", at(50), at(99));
    Ok(())
}

/// A log of `number` cases of one shape, all admitted, and its database.
async fn filled(folder: &Path, number: u64) -> anyhow::Result<std::path::PathBuf> {
    let component = bytes::Bytes::from(components::command("hello\n"));
    let surface = witgate::surface::inspect(Some(component.clone())).await?;
    let case = subject::case(&component, surface, Timestamp::now());
    let Surface::Component(world) = &case.surface else { anyhow::bail!("the component cannot be read") };
    println!("a case of {} imports and one signature, {} bytes", world.imports.len(), case.canonical().len());
    let policy = Policy::embedded(policy_data(subject::REGISTRY))?;
    let decision = policy.decide(&case)?;
    ensure!(decision.facts().reasons.is_empty(), "refused: {:?}", decision.facts().reasons);
    let settings = Settings { append_deadline_ms: 60_000, ..Settings::default() };
    let audit = Arc::new(Audit::open(&settings, folder, Timestamp::now()).await?);
    let (policy, mut writers) = (Arc::new(policy), JoinSet::new());
    for writer in 0..WRITERS {
        let (audit, policy, case) = (Arc::clone(&audit), Arc::clone(&policy), case.clone());
        writers.spawn(async move {
            for at in (writer..number).step_by(WRITERS as usize) {
                let case = named(&case, at);
                audit.append(&case, &policy.decide(&case)?).await?;
            }
            anyhow::Ok(())
        });
    }
    for written in writers.join_all().await {
        written?;
    }
    let database = audit.database().to_owned();
    audit.close().await;
    Ok(database)
}

fn named(case: &Case, at: u64) -> Case {
    let mut case = case.clone();
    case.id = uuid::Uuid::now_v7();
    (case.caller.id, case.host) = (host_id(&format!("h{}", at % NAMES)), host_id(&format!("h{}", at % NAMES)));
    case.reference.repository = format!("demo/c{}", at % NAMES);
    case
}

async fn read_only(database: &Path, look: impl Fn(StoredDecision) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let mut decisions = Reader::open(database).await?.decisions(&Window::default()).await?;
    let mut count = 0;
    loop {
        let page = decisions.next_page().await?;
        if page.is_empty() {
            return Ok(count);
        }
        count += page.len() as u64;
        page.into_iter().try_for_each(&look)?;
    }
}

/// How long a replay takes, and of it on the processor.
async fn decided(database: &Path, number: u64, threads: usize) -> anyhow::Result<(Duration, Duration)> {
    let decisions = Reader::open(database).await?.decisions(&Window::default()).await?;
    let policy = Arc::new(Policy::embedded(policy_data(subject::REGISTRY))?);
    let options = Options { at: At::Recorded, threads: NonZeroUsize::new(threads).context("a thread")? };
    let (begun, before) = (Instant::now(), cpu_time()?);
    let tally = replay(Source::Log(Box::new(decisions)), policy, options, Arc::new(Progress::default())).await?;
    let (took, after) = (begun.elapsed(), cpu_time()?);
    ensure!((tally.same, tally.decisions()) == (number, number), "all stay as they are: {tally:?}");
    Ok((took, after.saturating_sub(before)))
}

/// What this process took of the processor until now, reading included (Linux, getrusage by proc(5) `stat`).
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("the name in `stat` ends with `)`")?;
    // Behind the name: state is the first field, user time the twelfth, system time the thirteenth; hundredths of a second.
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Ok(Duration::from_millis(ticks * 10))
}

fn row(what: &str, number: u64, took: Duration, cpu: Option<Duration>) {
    let rate = number as f64 / took.as_secs_f64().max(0.001);
    let Some(cpu) = cpu else {
        println!("| {what} | {rate:.0} | | | | |");
        return;
    };
    let per_core = number as f64 / cpu.as_secs_f64().max(0.001);
    let minutes = 1e6 / per_core / 60.0;
    let verdict = if minutes <= MINUTES_A_MILLION { "held" } else { "MISSED" };
    println!("| {what} | {rate:.0} | {per_core:.0} | {minutes:.1} min | {MINUTES_A_MILLION:.0} min | {verdict} |");
}
