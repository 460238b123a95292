//! Files that somebody may be writing: what counts is what two reads a moment apart agree on.

use std::time::Duration;

use super::file_set::FileFault;

/// How long one look at files may take.
pub(crate) const READ_TIMEOUT_MS: u64 = 5_000;

/// How often files are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two looks.
    pub(crate) poll: Duration,
    /// Between the two reads that must agree: longer than a writer needs for a few small files.
    pub(crate) settle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { poll: Duration::from_secs(5), settle: Duration::from_millis(200) }
    }
}

/// Reads apart from the runtime's threads, for a bounded time.
pub(crate) async fn in_time<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, FileFault> + Send + 'static,
) -> Result<T, FileFault> {
    let reading = tokio::task::spawn_blocking(read);
    match tokio::time::timeout(Duration::from_millis(READ_TIMEOUT_MS), reading).await {
        Ok(files) => files.expect("broken invariant: reading files does not panic"),
        Err(_) => Err(FileFault::Slow),
    }
}

/// Reads before and after `pause`: a file cut off in the middle can be whole PEM and still lack a part.
pub(crate) async fn settled<T: PartialEq + Send + 'static>(
    read: impl Fn() -> Result<T, FileFault> + Clone + Send + 'static,
    pause: impl Future<Output = ()>,
) -> Result<T, FileFault> {
    let first = in_time(read.clone()).await?;
    pause.await;
    let second = in_time(read).await?;
    if first == second { Ok(second) } else { Err(FileFault::Unsettled) }
}
