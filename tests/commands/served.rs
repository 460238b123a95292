//! `witgate serve` as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::witgate;

/// A process of `witgate serve`; killed when dropped.
pub(super) struct Served {
    process: Child,
    pub(super) callers: String,
}

impl Served {
    pub(super) fn start(home: &Path) -> Self {
        let mut process = witgate(home)
            .args(["serve", "--listen", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--output", "json"])
            .env("WITGATE_TELEMETRY__LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("`serve` said `{line}` in place of its listeners"));
        Self { callers: said["callers"].as_str().unwrap().to_owned(), process }
    }

    /// SIGKILL, as the kernel's out-of-memory killer sends it.
    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
