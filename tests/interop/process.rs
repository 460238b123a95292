//! A server of other people's, in a process of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use witgate_tests::PATIENCE;

/// Ends with its value.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it; returns when `url` answers 200.
    pub(crate) async fn start(command: &mut Command, url: &str) -> Self {
        witgate_tests::provider();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
        Self::ready_when(command, async || match client.get(url).send().await {
            Ok(answer) if answer.status() == 200 => Ok(()),
            answer => Err(format!("{answer:?}")),
        })
        .await
    }

    /// Starts it; returns when `ready` has nothing to say against it.
    pub(crate) async fn ready_when(command: &mut Command, ready: impl AsyncFn() -> Result<(), String>) -> Self {
        let said = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen().unwrap());
        let mut process = Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let begin = Instant::now();
        while let Err(answer) = ready().await {
            let ended = process.0.try_wait().unwrap();
            let said = std::fs::read_to_string(said.path()).unwrap();
            let waits = ended.is_none() && begin.elapsed() < PATIENCE;
            assert!(waits, "{command:?}: {ended:?}, {answer}: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
