//! One run of a `wasi:cli/command`.

use std::time::Instant;

use bytes::Bytes;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use super::limits::{self, MAX_OUTPUT_BYTES};
use super::prepare::Prepared;
use super::store::{Streams, store};

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Kept, at most [`MAX_OUTPUT_BYTES`] a stream; past that the component's writes fail.
    Captured,
    /// To this process's own streams.
    Inherited,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What it wrote, where it was captured.
    pub stdout: Bytes,
    /// What it wrote, where it was captured.
    pub stderr: Bytes,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// By itself: 0 is well.
    #[error("exited with {0}")]
    Exit(i32),
    /// It used up its fuel.
    #[error("used up its fuel of {fuel}")]
    OutOfFuel {
        /// What was granted.
        fuel: u64,
    },
    /// It ran past its wall time.
    #[error("ran past its {timeout_ms} ms")]
    TimedOut {
        /// What was granted, in milliseconds.
        timeout_ms: u64,
    },
    /// It cannot be started: it exports no `wasi:cli/run`, or asks for more than it was granted.
    #[error("cannot be started: {detail}")]
    NotStarted {
        /// Why.
        detail: String,
    },
    /// It trapped.
    #[error("trapped: {detail}")]
    Trapped {
        /// Which trap, and where.
        detail: String,
    },
}

impl Ended {
    /// The exit code: 0 for a good end, the component's own, or none where it did not end by itself.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exit(code) => Some(*code),
            _ => None,
        }
    }
}

impl Prepared {
    /// Runs `wasi:cli/run` once, within the grant's limits.
    pub async fn run(&self, output: Output) -> Outcome {
        let (stdout, stderr) = (MemoryOutputPipe::new(MAX_OUTPUT_BYTES), MemoryOutputPipe::new(MAX_OUTPUT_BYTES));
        let ended = match output {
            Output::Captured => self.run_with(Streams { stdout: stdout.clone(), stderr: stderr.clone() }).await,
            Output::Inherited => {
                self.run_with(Streams { stdout: tokio::io::stdout(), stderr: tokio::io::stderr() }).await
            }
        };
        Outcome { ended, stdout: stdout.contents(), stderr: stderr.contents() }
    }

    async fn run_with<O, E>(&self, streams: Streams<O, E>) -> Ended
    where
        O: wasmtime_wasi::cli::StdoutStream + 'static,
        E: wasmtime_wasi::cli::StdoutStream + 'static,
    {
        let limits = &self.grants.limits;
        let timeout = limits::timeout(limits);
        let running = async {
            let command = CommandPre::new(self.pre.clone()).map_err(NotRun::Start)?;
            let mut store =
                store(&self.engine, &self.grants, streams, Instant::now() + timeout).map_err(NotRun::Start)?;
            let command = command.instantiate_async(&mut store).await.map_err(NotRun::Start)?;
            command.wasi_cli_run().call_run(&mut store).await.map_err(NotRun::Run)
        };
        let timed_out = Ended::TimedOut { timeout_ms: limits.timeout_ms };
        // The epoch ends a guest that computes, the timer one that waits.
        match tokio::time::timeout(timeout, running).await {
            Err(_) => timed_out,
            Ok(Ok(Ok(()))) => Ended::Exit(0),
            Ok(Ok(Err(()))) => Ended::Exit(1),
            Ok(Err(NotRun::Start(error) | NotRun::Run(error))) if trap(&error) == Some(Trap::OutOfFuel) => {
                Ended::OutOfFuel { fuel: limits.fuel }
            }
            Ok(Err(NotRun::Start(error) | NotRun::Run(error))) if trap(&error) == Some(Trap::Interrupt) => timed_out,
            Ok(Err(NotRun::Start(error))) => Ended::NotStarted { detail: root_cause(&error) },
            Ok(Err(NotRun::Run(error))) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(code)) => Ended::Exit(*code),
                None => Ended::Trapped { detail: root_cause(&error) },
            },
        }
    }
}

enum NotRun {
    Start(wasmtime::Error),
    Run(wasmtime::Error),
}

fn trap(error: &wasmtime::Error) -> Option<Trap> {
    error.downcast_ref::<Trap>().copied()
}

/// The last link of the chain: what a person can act on, without the backtrace.
pub(super) fn root_cause(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}
