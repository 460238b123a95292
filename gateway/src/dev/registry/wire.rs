//! What no honest HTTP server would send, written to the socket step by step.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// What is done to a connection from here on; it is closed behind the last step.
pub(super) type Script = Vec<Step>;

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes.
    Write(Bytes),
    /// The same bytes, many times.
    Repeat { unit: Bytes, times: u64 },
    /// Bytes at a pace.
    Drip { bytes: Bytes, bytes_per_second: u64 },
    /// Nothing, until the client leaves.
    HoldOpen,
}

/// Plays `script`, then closes; a client that leaves ends it early.
pub(super) async fn play(mut stream: TcpStream, script: Script) {
    if script.is_empty() {
        return;
    }
    for step in script {
        if run(&mut stream, step).await.is_err() {
            return;
        }
    }
    // What the client still sends is read: closing over unread bytes would reset the connection and could take away
    // what was just written.
    if stream.shutdown().await.is_ok() {
        drain(&mut stream, LINGER).await;
    }
}

async fn run(stream: &mut TcpStream, step: Step) -> std::io::Result<()> {
    match step {
        Step::Write(bytes) => write(stream, &bytes).await,
        Step::Repeat { unit, times } => {
            for _ in 0..times {
                write(stream, &unit).await?;
            }
            Ok(())
        }
        Step::Drip { bytes, bytes_per_second } => {
            let drops_per_second = bytes_per_second.clamp(1, MAX_DROPS_PER_SECOND);
            let drop_bytes = usize::try_from(bytes_per_second / drops_per_second).unwrap_or(usize::MAX).max(1);
            for piece in bytes.chunks(drop_bytes) {
                write(stream, piece).await?;
                sleep(Duration::from_secs(1) / u32::try_from(drops_per_second).unwrap_or(1)).await;
            }
            Ok(())
        }
        Step::HoldOpen => {
            drain(stream, HOLD).await;
            Ok(())
        }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    timeout(WRITE_TIMEOUT, stream.write_all(bytes)).await?
}

/// Reads until the client closes, for `time` at most.
async fn drain(stream: &mut TcpStream, time: Duration) {
    let deadline = Instant::now() + time;
    let mut scratch = [0; 4096];
    while let Ok(Ok(1..)) = timeout_at(deadline, stream.read(&mut scratch)).await {}
}

/// Pieces of a slow body a second at most.
const MAX_DROPS_PER_SECOND: u64 = 20;
/// Time for one piece to a client that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that a silent connection is kept open.
const HOLD: Duration = Duration::from_secs(600);
/// Time a client has to close after we did.
const LINGER: Duration = Duration::from_secs(2);
