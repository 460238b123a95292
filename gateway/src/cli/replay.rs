//! `witgate replay`: what another policy would say of what was decided.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::sandbox::{self, Bounds};
use super::{Global, Output, answer};
use crate::audit::{Reader, Window};
use crate::case::{PolicyFacts, Timestamp};
use crate::outage::{Outage, Peer, chain};
use crate::policy::{Policy, Settings};
use crate::replay::{At, MAX_THREADS, Options, Progress, ReplayError, Report, SectionReport, Source, replay};

/// Decide the recorded cases again, under another policy, and show what would change
///
/// Every decision that the log holds is made again from its stored case, without any network and without writing anything: dry runs,
/// pulls and admissions alike. The log holds decisions, not requests: a caller that asks again while its admission holds is not
/// counted again.
///
/// Exit codes: 0 nothing changes that `--fail-on` names, 1 something does, 2 usage, configuration or a policy that does not load,
/// 3 no answer: the log cannot be read, a record is damaged, or not one case could be decided.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The candidate: a folder of policies [default: that of the configuration, or the embedded policies]
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// The candidate's data: a folder that is merged over that of the policies [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only decisions from this time on: `2026-11-01`, `2026-11-01T08:00:00Z`, or `12h`, `7d` ago
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only decisions before this time
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Only the newest so many of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    last: Option<u64>,
    /// Recorded decisions in a file, one JSON object with `case` and `decision` a line, in place of the log; `-` reads stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["since", "until", "last"])]
    from: Option<PathBuf>,
    /// The time that cases are decided at
    #[arg(long, value_enum, default_value_t = AtArg::Recorded)]
    at: AtArg,
    /// Which changes are exit code 1
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [FailOn::NewlyRefused, FailOn::NewlyAdmitted])]
    fail_on: Vec<FailOn>,
    /// Do the work here: set by the process that waits for it.
    #[arg(long, hide = true)]
    in_child: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AtArg {
    /// Each at the time it was decided at
    Recorded,
    /// All as if they were asked now
    Now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Admitted, and refused by the candidate
    NewlyRefused,
    /// Refused, and admitted by the candidate, or no longer refused before anything is fetched
    NewlyAdmitted,
    /// The same verdict for other reasons, or with other grants
    Changed,
    /// Each of them
    Any,
}

/// A time as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    At(Timestamp),
    Ago(jiff::SignedDuration),
}

/// What was replayed, for the words around the report.
struct About {
    policy: PolicyFacts,
    /// The log's origin, or the file's name.
    source: (&'static str, String),
    window: Window,
    at: At,
    fail_on: Vec<FailOn>,
}

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let bounds = bounds(threads);
    if !args.in_child {
        return sandbox::in_child(&bounds).await;
    }
    sandbox::confine(&bounds).context("setting the limits of the policy's process")?;
    let (now, config) = (Timestamp::now(), global.configuration()?);
    let window = Window {
        since: args.since.map(|when| when.from(now)).transpose()?,
        until: args.until.map(|when| when.from(now)).transpose()?,
        last: args.last,
    };
    if let (Some(since), Some(until)) = (window.since, window.until) {
        anyhow::ensure!(since < until, "the window is empty: `--since` is {since}, `--until` is {until}");
    }
    let settings = Settings {
        dir: args.policy.or(config.policy.dir),
        data: args.data.or(config.policy.data),
        timeout_ms: TIMEOUT_MS,
        ..Settings { bundles: config.policy.bundles, ..Settings::default() }
    };
    let loaded = tokio::task::spawn_blocking(move || Policy::load(&settings)).await.context("loading the policy")?;
    let policy = match loaded {
        Ok(policy) => Arc::new(policy),
        Err(fault) => {
            eprintln!("witgate: error: {}", chain(&fault));
            eprintln!("witgate: hint: {}", fault.hint());
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let (from, source) = match &args.from {
        None => {
            let database = config.audit.database_path(&config.data_dir);
            let decisions = Reader::open(&database).await?.decisions(&window).await?;
            (("log", decisions.origin().to_owned()), Source::Log(Box::new(decisions)))
        }
        Some(path) if path.as_os_str() == "-" => (("file", "-".to_owned()), Source::Stdin),
        Some(path) => {
            let file = File::open(path).with_context(|| format!("reading the decisions `{}`", path.display()))?;
            (("file", path.display().to_string()), Source::File(file))
        }
    };
    let at = match args.at {
        AtArg::Recorded => At::Recorded,
        AtArg::Now => At::Now(now),
    };
    let about = About { policy: policy.facts().clone(), source: from, window, at, fail_on: args.fail_on };
    let progress = Arc::new(Progress::default());
    let shown = show(Arc::clone(&progress));
    let tally = replay(source, policy, Options { at, threads }, progress).await;
    if let Some(shown) = shown {
        shown.abort();
        eprint!("\r{:WIDTH$}\r", "");
    }
    let tally = tally.map_err(no_answer)?;
    let max_groups = if global.output == Output::Text { SHOWN_GROUPS } else { MAX_GROUPS_IN_JSON };
    about.tell(&Report::new(&tally, max_groups), global.output)
}

/// On a terminal, how far it is; nothing where nobody looks.
fn show(progress: Arc<Progress>) -> Option<tokio::task::JoinHandle<()>> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    Some(tokio::spawn(async move {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            ticks.tick().await;
            let decisions = progress.decisions();
            let rate = decisions as f64 / begun.elapsed().as_secs_f64().max(0.001);
            let line = format!("replayed {decisions} decisions, {rate:.0} a second");
            eprint!("\r{line:WIDTH$}");
        }
    }))
}

/// Whatever gives no answer is exit code 3.
fn no_answer(error: ReplayError) -> anyhow::Error {
    match error {
        ReplayError::Outage(outage) => outage.into(),
        error => Outage::new(Peer::Internal, "replaying the log").because(error).into(),
    }
}

impl About {
    /// Prints the report and gives the exit code.
    fn tell(&self, report: &Report, output: Output) -> anyhow::Result<ExitCode> {
        let failed = self.fail_on.iter().any(|what| what.happened(report));
        let counts = &report.counts;
        let looked_at = counts.decisions - counts.redacted - counts.damaged;
        let code = match () {
            () if counts.damaged > 0 || (looked_at == 0 && counts.redacted > 0) => EXIT_NO_ANSWER,
            () if failed => 1,
            () => 0,
        };
        let text = match output {
            Output::Text => self.words(report),
            Output::Json => format!("{:#}\n", self.document(report, failed)),
        };
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("writing the report")?;
        if counts.decisions == 0 {
            eprintln!("witgate: no decision lies in the window: nothing was compared");
        }
        match code {
            EXIT_NO_ANSWER if counts.damaged > 0 => {
                eprintln!("witgate: error: {} of the records are not what was recorded", counts.damaged);
                eprintln!("witgate: hint: see what is wrong with `witgate log verify`");
            }
            EXIT_NO_ANSWER => eprintln!("witgate: error: not one of the cases could be decided: all are redacted"),
            1 => {
                let what: Vec<_> =
                    self.fail_on.iter().filter(|what| what.happened(report)).map(|what| what.word()).collect();
                eprintln!("witgate: error: the candidate changes decisions: {}", what.join(", "));
                eprintln!("witgate: hint: see what one was made on with `witgate explain ID`");
            }
            _ => {}
        }
        Ok(ExitCode::from(code))
    }

    fn document(&self, report: &Report, failed: bool) -> Value {
        let Window { since, until, last } = self.window;
        let mut document = json!({
            "version": "replay/v1",
            "policy": self.policy,
            "source": {self.source.0: self.source.1},
            "window": {"since": since, "until": until, "last": last},
            "at": match self.at {
                At::Recorded => "recorded".to_owned(),
                At::Now(now) => now.to_string(),
            },
            "fail_on": self.fail_on.iter().map(|what| what.word()).collect::<Vec<_>>(),
            "failed": failed,
        });
        if let (Value::Object(document), Value::Object(report)) = (&mut document, json!(report)) {
            document.extend(report);
        }
        document
    }

    fn words(&self, report: &Report) -> String {
        let (counts, policy) = (&report.counts, &self.policy);
        let replayed = counts.same + counts.newly_refused + counts.newly_admitted + counts.changed;
        let mut text = String::new();
        line(&mut text, format_args!("replayed {replayed} of {} decisions", counts.decisions));
        let (name, revision) = (answer::printable(&policy.name), answer::printable(&policy.revision));
        line(&mut text, format_args!("  policy          {name} revision {revision} ({})", policy.digest.short()));
        line(&mut text, format_args!("  {:<14}  {}{}", self.source.0, answer::printable(&self.source.1), self.cut()));
        if let At::Now(now) = self.at {
            line(&mut text, format_args!("  decided at      {now}"));
        }
        line(&mut text, format_args!("  same            {}", counts.same));
        line(&mut text, format_args!("  newly refused   {}", counts.newly_refused));
        line(&mut text, format_args!("  newly admitted  {}", counts.newly_admitted));
        line(&mut text, format_args!("  changed         {}", counts.changed));
        for (what, count) in
            [("looked at", counts.would_be_looked_at), ("redacted", counts.redacted), ("damaged", counts.damaged)]
        {
            if count > 0 {
                line(&mut text, format_args!("  {what:<14}  {count}"));
            }
        }
        for (what, section) in [
            ("newly refused, because of", &report.newly_refused),
            ("newly admitted, no longer refused because of", &report.newly_admitted),
            ("changed, in what is granted or by reasons that come (+) or go (-)", &report.changed),
            ("would be looked at before it is decided, no longer refused because of", &report.would_be_looked_at),
        ] {
            groups(&mut text, what, section);
        }
        let passed = counts.redacted + counts.damaged;
        if passed > 0 {
            line(&mut text, format_args!("not replayed"));
            for told in &report.not_replayable {
                let id = told.decision.map(|id| format!(" {id}")).unwrap_or_default();
                line(&mut text, format_args!("  {}  {}{id}: {}", told.kind, told.place, answer::printable(&told.why)));
            }
            more(&mut text, passed - report.not_replayable.len() as u64, "decision");
        }
        text
    }

    /// The window in words behind the log's name.
    fn cut(&self) -> String {
        let Window { since, until, last } = self.window;
        let mut text = String::new();
        for (word, time) in [("since", since), ("until", until)] {
            if let Some(time) = time {
                let _ = write!(text, ", {word} {time}");
            }
        }
        if let Some(last) = last {
            let _ = write!(text, ", the last {last}");
        }
        text
    }
}

fn groups(text: &mut String, what: &str, section: &SectionReport) {
    if section.decisions == 0 {
        return;
    }
    let note = match section.not_enforced {
        0 => String::new(),
        count => format!(" ({count} where nothing is enforced)"),
    };
    line(text, format_args!("{what}{note}"));
    let groups = &section.groups;
    let count_width = groups.iter().map(|group| group.decisions.to_string().len()).max().unwrap_or(0);
    let code_width = groups.iter().map(|group| group.code.len()).max().unwrap_or(0);
    for group in groups {
        let (repository, caller) = (answer::printable(&group.repository), answer::printable(&group.caller));
        line(
            text,
            format_args!(
                "  {:>count_width$}  {:<code_width$}  {repository}  for {caller}, such as {}",
                group.decisions, group.code, group.example
            ),
        );
    }
    more(text, section.more_groups, "group");
}

fn more(text: &mut String, count: u64, what: &str) {
    match count {
        0 => {}
        1 => line(text, format_args!("  and 1 more {what}")),
        _ => line(text, format_args!("  and {count} more {what}s")),
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(text, "{words}").expect("a String takes every text");
}

impl FailOn {
    fn happened(self, report: &Report) -> bool {
        let counts = &report.counts;
        match self {
            Self::NewlyRefused => counts.newly_refused > 0,
            // What would be fetched may be admitted: nobody can say that it is not.
            Self::NewlyAdmitted => counts.newly_admitted + counts.would_be_looked_at > 0,
            Self::Changed => counts.changed > 0,
            Self::Any => {
                [Self::NewlyRefused, Self::NewlyAdmitted, Self::Changed].iter().any(|what| what.happened(report))
            }
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::NewlyRefused => "newly-refused",
            Self::NewlyAdmitted => "newly-admitted",
            Self::Changed => "changed",
            Self::Any => "any",
        }
    }
}

impl When {
    fn from(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Self::At(time) => Ok(time),
            Self::Ago(ago) => now.checked_sub(ago).context("a time that long ago cannot be told"),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            let shown: String = text.chars().take(80).collect();
            format!("`{shown}` is no time: expected `2026-11-01`, `2026-11-01T08:00:00Z`, `90m`, `12h` or `7d`")
        };
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        // A time of day without an offset would be read as a date, and the time dropped.
        if text.len() == "2026-11-01".len()
            && let Ok(date) = text.parse::<jiff::civil::Date>()
        {
            let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| refused())?;
            return Ok(Self::At(midnight.timestamp()));
        }
        let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
        let found = units.into_iter().find_map(|(unit, unit_s)| Some((text.strip_suffix(unit)?, unit_s)));
        let (digits, unit_s) = found.ok_or_else(refused)?;
        let count: u32 = digits.parse().map_err(|_| refused())?;
        Ok(Self::Ago(jiff::SignedDuration::from_secs(i64::from(count) * unit_s)))
    }
}

/// What the process may take: room for the program, its log and the compiler, for each thread that decides its machine with the
/// policy's data and the cases it has in hand, and for each core the address space that the allocator sets aside for the
/// runtime's thread there. Its time is bounded case by case.
fn bounds(cores: NonZeroUsize) -> Bounds {
    let (cores, deciding) = (cores.get() as u64, cores.get().min(MAX_THREADS) as u64);
    let memory_bytes = (4 << 30) + cores * (128 << 20) + deciding * (512 << 20);
    Bounds { memory_bytes, cpu_time_s: CPU_TIME_S, wall_time: None }
}

/// How long one decision may be thought about, in milliseconds. The gateway's own limit is a tenth of a second of its clock, and
/// about as many instructions; the instructions are counted here as there, the clock of a busy machine decides nothing.
const TIMEOUT_MS: u64 = 10_000;
/// Processor time of the process that decides, in seconds: a day.
const CPU_TIME_S: u64 = 86_400;
/// Groups of one kind that a person is shown.
const SHOWN_GROUPS: usize = 20;
/// Groups of one kind that stand in the JSON.
const MAX_GROUPS_IN_JSON: usize = 1000;
/// Between two looks at how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// The columns that the line of progress takes.
const WIDTH: usize = 60;
const EXIT_USAGE: u8 = 2;
const EXIT_NO_ANSWER: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_people_type_them() {
        let now: Timestamp = "2026-11-08T00:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:00:00Z", "2026-11-01T08:00:00Z"),
            ("2026-11-01T08:00:00+02:00", "2026-11-01T06:00:00Z"),
            ("7d", "2026-11-01T00:00:00Z"),
            ("90m", "2026-11-07T22:30:00Z"),
            ("0s", "2026-11-08T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<When>().unwrap().from(now).unwrap().to_string(), time, "{text}");
        }
        for text in
            ["", "d", "-1d", "1w", "1.5h", "yesterday", "2026-13-01", "99999999999d", "2026-11-01T08:00:00", "1é"]
        {
            assert!(text.parse::<When>().is_err(), "`{text}` was taken");
        }
        assert!("4000000000d".parse::<When>().unwrap().from(now).is_err());
    }
}
