//! What telemetry said, to be waited for.

use std::cell::Cell;
use std::io;

use tokio::sync::watch;
use tracing::subscriber::DefaultGuard;

use super::PATIENCE;

/// The log lines of this thread; the tests' runtime has only this one.
pub(crate) struct Logs {
    text: watch::Receiver<String>,
    /// Where the line after the last one waited for begins.
    read: Cell<usize>,
    _guard: DefaultGuard,
}

impl Logs {
    pub(crate) fn start() -> Self {
        let (sender, text) = watch::channel(String::new());
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || Lines(sender.clone()))
            .finish();
        Self { text, read: Cell::new(0), _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Waits until a line after the last one waited for holds `words`.
    pub(crate) async fn say(&self, words: &str) {
        let mut text = self.text.clone();
        let found = |text: &String| {
            let at = self.read.get() + text.get(self.read.get()..)?.find(words)?;
            Some(at + text.get(at..)?.find('\n')? + 1)
        };
        let waiting = text.wait_for(|text| found(text).is_some());
        let end = tokio::time::timeout(PATIENCE, waiting).await.ok().and_then(|text| found(&text.unwrap()));
        self.read.set(end.unwrap_or_else(|| panic!("`{words}` is not in the log:\n{}", self.all())));
    }

    pub(crate) fn all(&self) -> String {
        self.text.borrow().clone()
    }
}

struct Lines(watch::Sender<String>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|text| text.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
