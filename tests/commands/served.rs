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
    pub(super) administration: String,
}

impl Served {
    pub(super) fn start(home: &Path) -> Self {
        Self::start_with(home, &[])
    }

    /// The same with more in its environment.
    pub(super) fn start_with(home: &Path, environment: &[(&str, &str)]) -> Self {
        let mut process = witgate(home)
            .envs(environment.iter().copied())
            .args(["serve", "--listen", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--output", "json"])
            .env("WITGATE_TELEMETRY__LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("`serve` said `{line}` in place of its listeners"));
        let address = |key: &str| said[key].as_str().unwrap().to_owned();
        Self { callers: address("callers"), administration: address("administration"), process }
    }

    /// SIGTERM, and its end.
    pub(super) fn stop(mut self) -> std::process::ExitStatus {
        let told = std::process::Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(told.success());
        self.process.wait().unwrap()
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
