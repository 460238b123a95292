//! Work on a policy that may be hostile, in a process of its own: whatever it does, it ends that process only.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// What the process that does the work may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Processor time of all its threads, in seconds.
    pub cpu_time_s: u64,
    /// How long it is waited for; absent where a person may wait as long as they like.
    pub wall_time: Option<Duration>,
}

/// Runs this command line again with `--in-child` behind it, and gives its exit code.
///
/// # Errors
/// It cannot be started, or it ran past its time. It does not outlive this call.
pub(super) async fn in_child(bounds: &Bounds) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("finding this program")?;
    // Before there is anything that could outlive us: an interrupt from here on ends both.
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (mut interrupt, mut terminate) = (signals.0.context(SIGNALS)?, signals.1.context(SIGNALS)?);
    let mut child = tokio::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--in-child")
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("starting the policy's process")?;
    let wall_time = async {
        match bounds.wall_time {
            Some(wall_time) => tokio::time::sleep(wall_time).await,
            None => std::future::pending().await,
        }
    };
    let status = tokio::select! {
        biased;
        _ = interrupt.recv() => return Ok(interrupted()),
        _ = terminate.recv() => return Ok(interrupted()),
        status = child.wait() => status.context("waiting for the policy's process")?,
        () = wall_time => {
            bail!("policy ran past {} s and was stopped", bounds.wall_time.unwrap_or_default().as_secs());
        }
    };
    if let Some(code) = status.code().and_then(|code| u8::try_from(code).ok()) {
        return Ok(ExitCode::from(code));
    }
    // A terminal interrupts both at once, and either may be heard of first.
    if [Signal::INT, Signal::TERM, Signal::HUP].iter().any(|signal| status.signal() == Some(signal.as_raw())) {
        return Ok(interrupted());
    }
    eprintln!("witgate: error: policy brought its process down: {status}");
    eprintln!("witgate: hint: look for rules that call themselves, and for values that grow without end");
    Ok(ExitCode::from(EXIT_USAGE))
}

/// From here on a policy can end this process only, and the end of who waits for it ends it, too.
///
/// # Errors
/// The system sets no such limit.
pub(super) fn confine(bounds: &Bounds) -> rustix::io::Result<()> {
    let limits = [(Resource::As, bounds.memory_bytes), (Resource::Cpu, bounds.cpu_time_s), (Resource::Core, 0)];
    for (resource, limit) in limits {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // Killed outright, who waits cannot tell it to stop.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn interrupted() -> ExitCode {
    eprintln!("witgate: error: interrupted: there is no answer");
    ExitCode::from(EXIT_NO_ANSWER)
}

const SIGNALS: &str = "waiting for signals";
const EXIT_USAGE: u8 = 2;
const EXIT_NO_ANSWER: u8 = 3;
