//! The pass on a thread of its own: with a deep stack, for a limited time, as many at once as there are cores.

use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{BUDGET, Found, MAX_WAIT, STACK_BYTES, Unreadable, pass};

/// Reads `bytes`; the caller blocks for up to [`BUDGET`]. In async code call [`read_in_turn`].
///
/// Errors say what the bytes are, or where reading stopped.
pub fn read(bytes: &[u8]) -> Result<Found, Unreadable> {
    let deadline = Instant::now() + BUDGET;
    thread::scope(|scope| {
        let reader = builder().spawn_scoped(scope, || pass::read(bytes, deadline)).map_err(|_| NO_THREAD)?;
        reader.join().unwrap_or(Err(PANICKED))
    })
}

/// Reads `bytes` as soon as one of as many readers as there are cores is free, which is awaited for up to [`MAX_WAIT`].
///
/// A reader that overruns its budget still counts until it has really stopped. Errors as those of [`read`].
pub async fn read_in_turn(bytes: Bytes) -> Result<Found, Unreadable> {
    let turn = timeout(MAX_WAIT, READERS.clone().acquire_owned()).await.map_err(|_| NONE_FREE)?;
    let turn = turn.expect("broken invariant: the readers' semaphore is never closed");
    let (sender, receiver) = oneshot::channel();
    let deadline = Instant::now() + BUDGET;
    let reader = move || {
        let found = pass::read(&bytes, deadline);
        drop((bytes, turn));
        // Nobody waits any more: the request was dropped, or the time was up.
        let _ = sender.send(found);
    };
    builder().spawn(reader).map_err(|_| NO_THREAD)?;
    match timeout(BUDGET, receiver).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Err(PANICKED),
        Err(_) => Err(Unreadable::TimedOut { budget_ms: BUDGET.as_millis() as u64 }),
    }
}

fn builder() -> thread::Builder {
    thread::Builder::new().name("surface".into()).stack_size(STACK_BYTES)
}

static READERS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, usize::from))));

const PANICKED: Unreadable = Unreadable::NoReader { what: "the reader panicked; please report the component's digest" };
const NO_THREAD: Unreadable = Unreadable::NoReader { what: "no thread could be started" };
const NONE_FREE: Unreadable = Unreadable::NoReader { what: "all readers are busy; try again" };
