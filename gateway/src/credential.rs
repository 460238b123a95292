//! `docker-credential-witgate`: gives the tools that pull through the gateway a token that proves their host.
//!
//! The protocol is docker's: the word `get`, `store`, `erase` or `list`, one document on stdin, one on stdout, faults on stdout
//! with exit code 1. Nothing is kept: each `get` asks the Workload API, or reads the file that Kubernetes keeps fresh.
//!
//! A token goes to the one server it is for. Without further words its audience *is* the server that was asked for, so what
//! another registry is given is of no use here; a token for a fixed audience, or from a file, goes to named servers alone.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::identity;
use crate::outage::{Outage, chain};

/// The agent's address, as every SPIFFE workload finds it.
const ENDPOINT: &str = "SPIFFE_ENDPOINT_SOCKET";
/// The servers that get a token, parted by commas: `witgate.example,witgate.example:7445`.
const SERVERS: &str = "WITGATE_CREDENTIAL_SERVERS";
/// The audience, where it is not `https://SERVER`.
const AUDIENCE: &str = "WITGATE_CREDENTIAL_AUDIENCE";
/// A file with a token, in place of the agent.
const TOKEN_FILE: &str = "WITGATE_CREDENTIAL_TOKEN_FILE";

/// The user name beside the token; the gateway looks at the token alone.
const USER: &str = "witgate";
/// The largest document on stdin: a URL, or what `docker login` would have stored.
const INPUT_BYTES_MAX: u64 = 64 * 1024;
/// The largest file with a token, in bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Where a token comes from and who may have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Settings {
    endpoint: Option<String>,
    servers: Vec<String>,
    audience: Option<String>,
    token_file: Option<PathBuf>,
}

/// Why there is no credential; its text is all that the calling tool shows.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// Docker's own words, by which its tools know that they have to go on without.
    #[error("credentials not found in native keychain")]
    NotFound,
    #[error("docker-credential-witgate takes one word: `get`, `store`, `erase`, `list` or `version`")]
    Usage,
    #[error("expected a registry's `HOST` or `HOST:PORT`")]
    Server,
    #[error("witgate keeps no credentials: they come from the Workload API, so there is nothing to log in with")]
    NotStored,
    #[error("neither {ENDPOINT} nor {TOKEN_FILE} is set: there is nowhere to have a token from")]
    NoSource,
    #[error("set {SERVERS}: a token for a fixed audience, or from a file, must not go to every registry")]
    NoServers,
    #[error("no token came from the Workload API")]
    Agent(#[from] Outage),
    #[error("the token file cannot be read")]
    TokenFile(#[source] std::io::Error),
    #[error("the token file holds no token: expected one line of printable ASCII, at most 16 KiB")]
    NoToken,
    #[error("stdin cannot be read")]
    Input(#[source] std::io::Error),
}

/// Runs the helper for this process.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let settings = Settings::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let answered = read_input(&arguments).and_then(|input| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fault::Input)?;
        runtime.block_on(answer(&arguments, &input, &settings))
    });
    let (text, code) = match answered {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(fault) => (Zeroizing::new(chain(&fault)), ExitCode::FAILURE),
    };
    // A tool that has gone away needs no answer.
    let _ = writeln!(std::io::stdout(), "{}", text.as_str());
    code
}

/// `list` and `version` get no document.
fn read_input(arguments: &[String]) -> Result<Zeroizing<String>, Fault> {
    let mut input = Zeroizing::new(String::new());
    if matches!(arguments, [word] if matches!(word.as_str(), "get" | "store" | "erase")) {
        std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut input).map_err(Fault::Input)?;
    }
    Ok(input)
}

impl Settings {
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let servers = variable(SERVERS).unwrap_or_default();
        let servers = servers.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_ascii_lowercase);
        Self {
            endpoint: variable(ENDPOINT),
            servers: servers.collect(),
            audience: variable(AUDIENCE),
            token_file: variable(TOKEN_FILE).map(PathBuf::from),
        }
    }

    /// What `server` is to be given: whose audience, or which file.
    fn source(&self, server: &str) -> Result<Source<'_>, Fault> {
        if !self.servers.is_empty() && !self.servers.iter().any(|name| name == server) {
            return Err(Fault::NotFound);
        }
        let named = !self.servers.is_empty();
        match (&self.token_file, &self.endpoint, &self.audience) {
            (Some(_), ..) | (None, Some(_), Some(_)) if !named => Err(Fault::NoServers),
            (Some(file), ..) => Ok(Source::File(file)),
            (None, Some(endpoint), Some(audience)) => Ok(Source::Agent { endpoint, audience: audience.clone() }),
            (None, Some(endpoint), None) => Ok(Source::Agent { endpoint, audience: format!("https://{server}") }),
            (None, None, _) => Err(Fault::NoSource),
        }
    }
}

/// Where one token comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    Agent { endpoint: &'a str, audience: String },
    File(&'a Path),
}

async fn answer(arguments: &[String], input: &str, settings: &Settings) -> Result<Zeroizing<String>, Fault> {
    let [word] = arguments else { return Err(Fault::Usage) };
    let plain = |text: String| Ok(Zeroizing::new(text));
    match word.as_str() {
        "get" => get(input.trim(), settings).await,
        "store" => Err(Fault::NotStored),
        // Nothing is kept, so all is erased.
        "erase" => plain(String::new()),
        "list" => {
            let servers = settings.servers.iter().map(|server| (format!("https://{server}"), json!(USER)));
            plain(Value::Object(servers.collect::<Map<_, _>>()).to_string())
        }
        "version" => plain(concat!("docker-credential-witgate ", env!("CARGO_PKG_VERSION")).to_owned()),
        _ => Err(Fault::Usage),
    }
}

async fn get(asked: &str, settings: &Settings) -> Result<Zeroizing<String>, Fault> {
    let server = server(asked).ok_or(Fault::Server)?;
    let token = match settings.source(&server)? {
        Source::Agent { endpoint, audience } => identity::own_token(endpoint, &audience).await?,
        Source::File(path) => token_of(path)?,
    };
    let answer = json!({"ServerURL": asked, "Username": USER, "Secret": token.as_str()});
    Ok(Zeroizing::new(answer.to_string()))
}

/// `HOST` or `HOST:PORT` in lower case, however the tool writes it: bare, as a URL, with the path of an API behind it.
fn server(asked: &str) -> Option<String> {
    let rest = asked.strip_prefix("https://").or_else(|| asked.strip_prefix("http://")).unwrap_or(asked);
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(plain)).then_some(host)
}

fn token_of(path: &Path) -> Result<Zeroizing<String>, Fault> {
    let file = std::fs::File::open(path).map_err(Fault::TokenFile)?;
    let mut text = Zeroizing::new(String::new());
    file.take(TOKEN_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(Fault::TokenFile)?;
    let token = Zeroizing::new(text.trim().to_owned());
    let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if token.is_empty() || size > TOKEN_FILE_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::NoToken);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        Settings::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    async fn said(word: &str, input: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let answered = answer(&[word.to_owned()], input, &settings(variables)).await;
        answered.map(|text| text.to_string()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_server_has_one_name() {
        for asked in
            ["witgate.example", "https://witgate.example", "https://Witgate.Example/v2/", "http://witgate.example/"]
        {
            assert_eq!(server(asked).as_deref(), Some("witgate.example"), "{asked}");
        }
        assert_eq!(server("witgate.example:7445").as_deref(), Some("witgate.example:7445"));
        assert_eq!(server("[::1]:7445").as_deref(), Some("[::1]:7445"));
        for asked in [
            "",
            "https://",
            "a b",
            "https://user@witgate.example",
            "a,b",
            "a\nb",
            "witgate.example?x",
            &"a".repeat(256),
        ] {
            assert_eq!(server(asked), None, "{asked}");
        }
    }

    #[test]
    fn a_token_goes_to_whom_it_is_for() {
        let agent = ("SPIFFE_ENDPOINT_SOCKET", "unix:/run/agent.sock");
        let source = |variables: &[(&str, &str)], server: &str| match settings(variables).source(server) {
            Ok(Source::Agent { audience, .. }) => audience,
            Ok(Source::File(path)) => path.display().to_string(),
            Err(fault) => format!("{fault:?}"),
        };
        assert_eq!(source(&[agent], "witgate.example"), "https://witgate.example");
        assert_eq!(source(&[agent], "ghcr.io"), "https://ghcr.io", "of no use at the gateway");
        assert_eq!(source(&[], "witgate.example"), "NoSource");
        let servers = (SERVERS, "witgate.example, Other.example:7445");
        assert_eq!(source(&[agent, servers], "witgate.example"), "https://witgate.example");
        assert_eq!(source(&[agent, servers], "other.example:7445"), "https://other.example:7445");
        assert_eq!(source(&[agent, servers], "ghcr.io"), "NotFound");
        let audience = (AUDIENCE, "witgate");
        assert_eq!(source(&[agent, audience], "ghcr.io"), "NoServers", "a fixed audience goes to named servers alone");
        assert_eq!(source(&[agent, audience, servers], "witgate.example"), "witgate");
        assert_eq!(source(&[agent, audience, servers], "ghcr.io"), "NotFound");
        let file = (TOKEN_FILE, "/run/token");
        assert_eq!(source(&[file], "ghcr.io"), "NoServers");
        assert_eq!(source(&[file, agent, servers], "witgate.example"), "/run/token");
        assert_eq!(source(&[file, servers], "ghcr.io"), "NotFound");
    }

    #[tokio::test]
    async fn a_file_gives_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let variables = [(TOKEN_FILE, path.to_str().unwrap()), (SERVERS, "witgate.example")];
        let get = async || said("get", "https://witgate.example\n", &variables).await;
        assert_eq!(get().await, Err("the token file cannot be read".into()));
        std::fs::write(&path, "a.b.c\n").unwrap();
        let expected = r#"{"Secret":"a.b.c","ServerURL":"https://witgate.example","Username":"witgate"}"#;
        assert_eq!(get().await, Ok(expected.into()));
        let long = "a".repeat(usize::try_from(TOKEN_FILE_BYTES_MAX).unwrap());
        std::fs::write(&path, &long).unwrap();
        assert!(get().await.is_ok());
        for text in ["", "\n", "a b", "a.b.c\nd.e.f", "ä", &format!("{long}a")] {
            std::fs::write(&path, text).unwrap();
            assert!(get().await.unwrap_err().starts_with("the token file holds no token"), "{text}");
        }
    }

    #[tokio::test]
    async fn the_other_words() {
        assert_eq!(said("erase", "https://witgate.example", &[]).await, Ok(String::new()));
        let stored = said("store", r#"{"ServerURL":"x","Username":"u","Secret":"s3cr3t"}"#, &[]).await.unwrap_err();
        assert!(stored.starts_with("witgate keeps no credentials") && !stored.contains("s3cr3t"));
        assert_eq!(said("list", "", &[]).await, Ok("{}".into()));
        let listed = said("list", "", &[(SERVERS, "b.example,a.example")]).await.unwrap();
        assert_eq!(listed, r#"{"https://a.example":"witgate","https://b.example":"witgate"}"#);
        assert!(said("version", "", &[]).await.unwrap().starts_with("docker-credential-witgate "));
        assert!(said("Get", "x", &[]).await.is_err());
        assert!(answer(&[], "", &Settings::default()).await.is_err());
        assert_eq!(said("get", "a b", &[]).await, Err("expected a registry's `HOST` or `HOST:PORT`".into()));
    }
}
