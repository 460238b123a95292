//! Docker's credential helpers: programs that are asked for one registry's credential.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::budgets::{HELPER_ANSWER_BYTES, HELPERS_AT_ONCE, TOKEN_BYTES};
use super::credential::{Secret, basic, is_username};
use super::fault::Fault;
use crate::strict_json;

/// The programs that may be run, by the names that docker's configuration uses for them; no other program ever is.
#[derive(Debug)]
pub(super) struct Helpers {
    programs: BTreeMap<String, PathBuf>,
    places: Semaphore,
}

/// Why a helper gave no credential; what it printed is never told.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum HelperFault {
    /// The configuration does not name it.
    #[error("is not listed in `registry.credential_helpers`")]
    NotListed,
    /// It cannot be run, or not be spoken with.
    #[error("cannot be run")]
    Run(#[source] Arc<std::io::Error>),
    /// It did not end.
    #[error("did not end within {} ms", after.as_millis())]
    TimedOut {
        /// How long we waited.
        after: Duration,
    },
    /// It ended badly.
    #[error("ended with {status}")]
    Ended {
        /// As the operating system says it.
        status: std::process::ExitStatus,
    },
    /// It says that it knows of none.
    #[error("has no credential for `{server}`")]
    None {
        /// The registry.
        server: String,
    },
    /// It printed too much.
    #[error("printed more than {HELPER_ANSWER_BYTES} bytes")]
    TooLong,
    /// It printed something else.
    #[error("printed something else than a credential: {detail}")]
    Malformed {
        /// What is wrong with it; never the text.
        detail: &'static str,
    },
}

impl Helpers {
    pub fn new(programs: BTreeMap<String, PathBuf>) -> Self {
        Self { programs, places: Semaphore::new(HELPERS_AT_ONCE) }
    }

    /// Whether `name` may be run.
    pub fn lists(&self, name: &str) -> bool {
        self.programs.contains_key(name)
    }

    /// Asks a helper (docker/docker-credential-helpers, `README.md`, "Development"): `PROGRAM get`, the registry on its
    /// standard input, JSON on its standard output.
    ///
    /// ```json
    /// {"ServerURL":"ghcr.io","Username":"acme-bot","Secret":"…"}
    /// ```
    pub async fn ask(&self, name: &str, server: &str, time: Duration) -> Result<Secret, Fault> {
        let failed = |fault| Fault::Helper { name: name.to_owned(), fault };
        let program = self.programs.get(name).ok_or_else(|| failed(HelperFault::NotListed))?;
        let asked = async {
            let _place = self.places.acquire().await.expect("the semaphore of helpers is never closed");
            run(program, server).await
        };
        let asked = timeout(time, asked).await.map_err(|_| failed(HelperFault::TimedOut { after: time }))?;
        asked.map_err(failed)
    }
}

async fn run(program: &Path, server: &str) -> Result<Secret, HelperFault> {
    let broken = |error| HelperFault::Run(Arc::new(error));
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut group = Group::of(command.kill_on_drop(true).spawn().map_err(broken)?);
    let mut input = group.child.stdin.take().expect("its standard input is a pipe");
    // One that does not listen may know the answer all the same.
    let _ = input.write_all(server.as_bytes()).await;
    drop(input);
    let output = group.child.stdout.take().expect("its standard output is a pipe");
    let mut answer = Zeroizing::new(Vec::new());
    output.take(HELPER_ANSWER_BYTES + 1).read_to_end(&mut answer).await.map_err(broken)?;
    if answer.len() as u64 > HELPER_ANSWER_BYTES {
        return Err(HelperFault::TooLong);
    }
    let status = group.child.wait().await.map_err(broken)?;
    group.leader = None;
    match status.success() {
        true => read_answer(&answer),
        false if answer.trim_ascii() == NOT_FOUND => Err(HelperFault::None { server: server.to_owned() }),
        false => Err(HelperFault::Ended { status }),
    }
}

/// A helper with whatever it started: all of it ends when we leave, but not once it is waited for, as its number may be
/// another's by then.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { child, leader }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It may have ended by itself.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

fn read_answer(answer: &[u8]) -> Result<Secret, HelperFault> {
    let malformed = |detail| HelperFault::Malformed { detail };
    let value = strict_json::parse(answer, strict_json::MAX_DEPTH)
        .map_err(|_| malformed("no JSON, or keys that stand twice"))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let (Some(username), Some(secret)) = (text("Username"), text("Secret")) else {
        return Err(malformed("no `Username` and `Secret`"));
    };
    if secret.is_empty() || secret.len() > TOKEN_BYTES {
        return Err(malformed("the secret is empty or too long"));
    }
    match username {
        IDENTITY => Ok(Secret::Identity(Zeroizing::new(secret.to_owned()))),
        username if is_username(username) => Ok(Secret::Password(basic(username, secret))),
        _ => Err(malformed("the name is empty or holds what no name may")),
    }
}

/// The name that says that the secret is a refresh token.
const IDENTITY: &str = "<token>";
/// What helpers say where they know nothing (docker/docker-credential-helpers `credentials/error.go`).
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

#[cfg(test)]
mod tests {
    use super::*;

    /// Helpers by what they do: names of one script, which looks at the name that it was called by.
    fn helpers(folder: &tempfile::TempDir, names: &[&str]) -> Helpers {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scripts/docker-credential-fake");
        let link = |name: &&str| {
            let program = folder.path().join(format!("docker-credential-{name}"));
            std::os::unix::fs::symlink(&script, &program).unwrap();
            ((*name).to_owned(), program)
        };
        Helpers::new(names.iter().map(link).collect())
    }

    const TIME: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_helper_is_told_the_registry_on_its_input_alone() {
        let folder = tempfile::tempdir().unwrap();
        let helpers = helpers(&folder, &["good", "identity", "echo"]);
        let Secret::Password(header) = helpers.ask("good", "ghcr.io", TIME).await.unwrap() else {
            panic!("no password")
        };
        assert_eq!(header, basic("u", "hunter2"));
        let Secret::Identity(token) = helpers.ask("identity", "ghcr.io", TIME).await.unwrap() else {
            panic!("no token")
        };
        assert_eq!(*token, "refresh");
        // It gives back what it was told: the one argument as its name, the input as its secret.
        let Secret::Password(header) = helpers.ask("echo", "ghcr.io; rm -rf $HOME", TIME).await.unwrap() else {
            panic!("no password")
        };
        assert_eq!(header, basic("get", "ghcr.io; rm -rf $HOME"));
    }

    #[tokio::test]
    async fn helpers_that_fail_are_faults_that_tell_nothing_of_what_they_printed() {
        let folder = tempfile::tempdir().unwrap();
        let helpers = helpers(&folder, &["missing", "failing", "garbage", "flood", "nothing"]);
        for (name, told) in [
            ("missing", "has no credential for `ghcr.io`"),
            ("failing", "ended with exit status: 3"),
            ("garbage", "something else than a credential: no JSON"),
            ("flood", "printed more than 65536 bytes"),
            ("nothing", "something else than a credential"),
            ("unlisted", "is not listed in `registry.credential_helpers`"),
        ] {
            let fault = helpers.ask(name, "ghcr.io", TIME).await.unwrap_err();
            assert!(fault.to_string().contains(told), "{name}: {fault}");
            assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{name}: {fault:?}");
        }
        let gone = Helpers::new([("gone".to_owned(), folder.path().join("nowhere"))].into());
        assert!(gone.ask("gone", "ghcr.io", TIME).await.unwrap_err().to_string().contains("cannot be run"));
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let helpers = helpers(&folder, &["hang"]);
        // It writes down the process that it started, then waits for it.
        let noted = folder.path().join("noted");
        let asking = helpers.ask("hang", noted.to_str().unwrap(), Duration::from_secs(2));
        assert!(asking.await.unwrap_err().to_string().contains("did not end within 2000 ms"));
        let started: i32 = std::fs::read_to_string(&noted).unwrap().trim().parse().unwrap();
        let started = Pid::from_raw(started).unwrap();
        while rustix::process::test_kill_process(started).is_ok() && !is_dead(started) {
            tokio::task::yield_now().await;
        }
    }

    /// Ended, and not waited for yet by whoever is its parent now.
    fn is_dead(process: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
        stat.map_or(true, |stat| stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    }

    #[test]
    fn answers_are_read_in_one_way_only() {
        let kind = |answer: &str| read_answer(answer.as_bytes()).map(|secret| format!("{secret:?}")).ok();
        assert_eq!(kind(r#"{"ServerURL":"x","Username":"u","Secret":"s"}"#).as_deref(), Some("Password"));
        assert_eq!(kind(r#"{"Username":"<token>","Secret":"s"}"#).as_deref(), Some("Identity"));
        let longest = |size: usize| format!(r#"{{"Username":"u","Secret":"{}"}}"#, "x".repeat(size));
        assert!(kind(&longest(TOKEN_BYTES)).is_some());
        for bad in [
            r#"{"Username":"u"}"#,
            r#"{"Username":"u","Secret":""}"#,
            r#"{"Username":"u:v","Secret":"s"}"#,
            r#"{"Username":"u\n","Secret":"s"}"#,
            r#"{"Username":"","Secret":"s"}"#,
            r#"{"Username":"u","Secret":1}"#,
            r#"{"Username":"u","Secret":"a","Secret":"b"}"#,
            &longest(TOKEN_BYTES + 1),
        ] {
            assert_eq!(kind(bad), None, "`{bad}` was taken");
        }
    }
}
