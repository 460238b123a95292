//! `witgate dev-registry`: an OCI registry in memory, until Ctrl-C.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use crate::case::Reference;
use crate::dev::registry::push::{self, ConfigClaims};
use crate::dev::registry::{Auth, DevRegistry, Limits, Options};

/// Run an OCI registry in memory for tests and trials.
///
/// It speaks distribution-spec 1.1 with referrers over plain HTTP, forgets everything when it ends, and listens on loopback
/// only. The address is printed on standard output once everything is pushed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to listen: a loopback address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Ask for this user's name with Basic on each request.
    #[arg(long, requires = "password_file", value_name = "NAME")]
    pub username: Option<String>,
    /// The file whose first line is the user's password.
    #[arg(long, requires = "username", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Push this component at the start (repeatable).
    #[arg(long, value_name = "FILE=REPOSITORY:TAG")]
    pub push: Vec<Push>,
}

/// A component to push: `cart.wasm=acme/cart:1.4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The component's file.
    pub file: PathBuf,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

/// The text is no [`Push`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `FILE=REPOSITORY:TAG`, such as `cart.wasm=acme/cart:1.4`")]
pub struct PushError;

impl FromStr for Push {
    type Err = PushError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (file, name) = text.rsplit_once('=').ok_or(PushError)?;
        let reference: Reference = format!("localhost/{name}").parse().map_err(|_| PushError)?;
        match (reference.tag(), reference.digest()) {
            (Some(tag), None) if !file.is_empty() => {
                Ok(Self { file: file.into(), repository: reference.repository().into(), tag: tag.into() })
            }
            _ => Err(PushError),
        }
    }
}

/// Runs the registry until Ctrl-C.
///
/// # Errors
/// When the address is not loopback or taken, or a file cannot be read or pushed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    serve(args, std::io::stdout(), std::io::stderr(), async {
        tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    args: Args,
    mut answers: impl Write,
    mut words: impl Write,
    stop: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    ensure!(
        args.listen.ip().is_loopback(),
        "`{}` is no loopback address: this registry takes everything from everyone, expected `127.0.0.1:PORT`",
        args.listen
    );
    let auth = match (args.username, &args.password_file) {
        (Some(username), Some(file)) => Auth::Basic { username, password: password(file).await? },
        _ => Auth::Open,
    };
    let options = Options { listen: args.listen, auth: auth.clone(), ..Options::default() };
    let registry = DevRegistry::start(options).await.with_context(|| format!("listening on `{}`", args.listen))?;
    for Push { file, repository, tag } in &args.push {
        let wasm = read(file, Limits::default().blob_bytes).await?;
        let pushed = push::component(&registry.host(), repository, tag, wasm, ConfigClaims::default(), &auth)
            .await
            .with_context(|| format!("pushing `{}`", file.display()))?;
        writeln!(words, "pushed `{}` as `{}`", pushed.reference, pushed.manifest)?;
    }
    writeln!(answers, "{}", registry.host())?;
    answers.flush()?;
    writeln!(words, "registry listens on `http://{}`, Ctrl-C ends it", registry.host())?;
    stop.await?;
    registry.stop().await;
    Ok(())
}

async fn password(file: &Path) -> anyhow::Result<String> {
    let bytes = read(file, MAX_PASSWORD_FILE_BYTES).await?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.lines().next()).unwrap_or_default();
    ensure!(!text.is_empty(), "`{}` holds no password in its first line", file.display());
    Ok(text.to_owned())
}

async fn read(file: &Path, limit_bytes: usize) -> anyhow::Result<Bytes> {
    let reading = || format!("reading `{}`", file.display());
    let opened = tokio::fs::File::open(file).await.with_context(reading)?;
    let mut bytes = Vec::new();
    opened.take(limit_bytes as u64 + 1).read_to_end(&mut bytes).await.with_context(reading)?;
    ensure!(bytes.len() <= limit_bytes, "`{}` is larger than {limit_bytes} bytes", file.display());
    Ok(bytes.into())
}

/// A password file holds one line.
const MAX_PASSWORD_FILE_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    /// Standard output, as another program reads it.
    struct Answers(tokio::sync::mpsc::UnboundedSender<String>);

    impl Write for Answers {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Command::try_parse_from(["dev-registry"].iter().chain(words)).map(|command| command.args)
    }

    #[test]
    fn what_to_push_is_a_file_with_a_repository_and_a_tag() {
        let push: Push = "a=b/cart.wasm=acme/cart:1.4".parse().unwrap();
        assert_eq!(push, Push { file: "a=b/cart.wasm".into(), repository: "acme/cart".into(), tag: "1.4".into() });
        for text in ["", "x", "x=", "=acme/cart:1", "x=acme/cart", "x=Acme:1", "x=acme/cart:-", "x=a@sha256:00"] {
            assert_eq!(text.parse::<Push>(), Err(PushError), "`{text}` was taken");
        }
    }

    #[test]
    fn a_name_needs_a_password_and_the_reverse() {
        assert_eq!(parse(&[]).unwrap().listen.to_string(), "127.0.0.1:5000");
        assert!(parse(&["--username", "alice"]).is_err());
        assert!(parse(&["--password-file", "x"]).is_err());
        assert!(parse(&["--username", "alice", "--password-file", "x"]).is_ok());
    }

    #[tokio::test]
    async fn only_loopback_is_taken() {
        let args = parse(&["--listen", "0.0.0.0:0"]).unwrap();
        let refused = serve(args, Vec::new(), Vec::new(), std::future::pending()).await.unwrap_err();
        assert!(refused.to_string().contains("`0.0.0.0:0` is no loopback address"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_pushed_at_the_start_is_there_for_who_knows_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let (wasm, secret) = (folder.path().join("cart.wasm"), folder.path().join("password"));
        std::fs::write(&wasm, b"\0asm\x0d\0\x01\0").unwrap();
        std::fs::write(&secret, "hunter2\n").unwrap();
        let push = format!("{}=acme/cart:1.4", wasm.display());
        let secret = secret.display().to_string();
        let words = ["--listen", "127.0.0.1:0", "--username", "alice", "--password-file", &secret, "--push", &push];
        let args = parse(&words).unwrap();

        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(args, Answers(answers), std::io::sink(), async { Ok(stopped.await?) }));
        let mut address = String::new();
        while !address.ends_with('\n') {
            address.push_str(&answered.recv().await.unwrap());
        }

        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/v2/acme/cart/manifests/1.4", address.trim());
        assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
        assert_eq!(client.get(&url).basic_auth("alice", Some("hunter2")).send().await.unwrap().status(), 200);
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(client.get(&url).send().await.is_err());
    }
}
