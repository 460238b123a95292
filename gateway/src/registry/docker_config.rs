//! Docker's `config.json`: which credential it has for one registry.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::budgets::DOCKER_CONFIG_BYTES;
use super::credential::{Secret, basic, is_username};
use super::fault::Fault;
use super::helper::Helpers;
use super::token;
use crate::strict_json;

/// The file, and what it is asked for.
#[derive(Clone, Debug)]
pub(super) struct DockerConfig {
    file: PathBuf,
    /// `host` or `host:port`, lower-case.
    server: String,
    helpers: Arc<Helpers>,
}

/// Why the file gives no credential; never what stands in it.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DockerConfigFault {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] Arc<std::io::Error>),
    /// It is too large.
    #[error("it is longer than {DOCKER_CONFIG_BYTES} bytes")]
    TooLong,
    /// It is no JSON of the right shape.
    #[error("{detail}")]
    Malformed {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// It does not know the registry.
    #[error("it has no credential for `{server}`")]
    None {
        /// The registry.
        server: String,
    },
    /// It knows the registry under two names, and they may differ.
    #[error("it names `{server}` twice")]
    Twice {
        /// The registry.
        server: String,
    },
    /// It wants a program run that the configuration does not list.
    #[error("it asks the helper `{helper}`, which is not listed in `registry.credential_helpers`")]
    HelperNotListed {
        /// The helper.
        helper: String,
    },
}

/// Where the file says that the credential is.
enum Found {
    Here(Secret),
    Helper(String),
}

impl DockerConfig {
    /// The credential of `server` in `file`; tells at once what is wrong with it, as far as that can be told without asking a
    /// helper.
    pub fn open(file: PathBuf, server: &str, helpers: Arc<Helpers>) -> Result<Self, DockerConfigFault> {
        let config = Self { file, server: same_server(server), helpers };
        config.found()?;
        Ok(config)
    }

    /// Reads the file, then asks the helper if the file says so.
    pub async fn secret(&self, helper_time: Duration) -> Result<Secret, Fault> {
        let config = self.clone();
        let found = tokio::task::spawn_blocking(move || config.found()).await;
        let found = found.map_err(|gone| DockerConfigFault::Read(Arc::new(gone.into()))).flatten();
        match found.map_err(Fault::DockerConfig)? {
            Found::Here(secret) => Ok(secret),
            Found::Helper(helper) => self.helpers.ask(&helper, self.name_for_helpers(), helper_time).await,
        }
    }

    fn found(&self) -> Result<Found, DockerConfigFault> {
        let mut text = Zeroizing::new(Vec::new());
        let read = File::open(&self.file).and_then(|file| file.take(DOCKER_CONFIG_BYTES + 1).read_to_end(&mut text));
        read.map_err(|error| DockerConfigFault::Read(Arc::new(error)))?;
        if text.len() as u64 > DOCKER_CONFIG_BYTES {
            return Err(DockerConfigFault::TooLong);
        }
        let found = find(&text, &self.server)?;
        match &found {
            Found::Helper(helper) if !self.helpers.lists(helper) => {
                Err(DockerConfigFault::HelperNotListed { helper: shown(helper) })
            }
            _ => Ok(found),
        }
    }

    /// Docker Hub's credential is kept under the address that it had first.
    fn name_for_helpers(&self) -> &str {
        if self.server == DOCKER_HUB { DOCKER_HUB_KEY } else { &self.server }
    }
}

/// As docker looks: a helper for this registry, else the helper for all, else what stands in the file itself.
fn find(text: &[u8], server: &str) -> Result<Found, DockerConfigFault> {
    let malformed = |detail| DockerConfigFault::Malformed { detail };
    let value = strict_json::parse(text, strict_json::MAX_DEPTH)
        .map_err(|_| malformed("it is no JSON, or keys stand twice in it"))?;
    let value = value.as_object().ok_or(malformed("it is no JSON object"))?;
    let table = |name: &'static str, wrong| match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(table)) => Ok(Some(table)),
        Some(_) => Err(malformed(wrong)),
    };
    let helper = |helper: &Value| match helper.as_str() {
        Some(helper) if !helper.is_empty() => Ok(Found::Helper(helper.to_owned())),
        _ => Err(malformed("a helper is named by no text")),
    };
    if let Some(own) =
        table("credHelpers", "`credHelpers` is no object")?.map(|all| one(all, server)).transpose()?.flatten()
    {
        return helper(own);
    }
    if let Some(store) = value.get("credsStore").filter(|store| !store.is_null() && store.as_str() != Some("")) {
        return helper(store);
    }
    let entry = table("auths", "`auths` is no object")?.map(|all| one(all, server)).transpose()?.flatten();
    let entry = entry.ok_or_else(|| DockerConfigFault::None { server: server.to_owned() })?;
    let entry = entry.as_object().ok_or(malformed("an entry of `auths` is no object"))?;
    secret(entry, server).map(Found::Here)
}

/// What a table has for `server`, however its key is written; two keys that mean the same are a fault.
fn one<'a>(table: &'a Map<String, Value>, server: &str) -> Result<Option<&'a Value>, DockerConfigFault> {
    let mut meant = table.iter().filter(|(key, _)| same_server(key) == server).map(|(_, value)| value);
    match (meant.next(), meant.next()) {
        (found, None) => Ok(found),
        (_, Some(_)) => Err(DockerConfigFault::Twice { server: server.to_owned() }),
    }
}

/// `identitytoken`, else `registrytoken`, else `auth`, else `username` with `password`, as docker takes them.
fn secret(entry: &Map<String, Value>, server: &str) -> Result<Secret, DockerConfigFault> {
    let malformed = |detail| DockerConfigFault::Malformed { detail };
    let text = |name: &str| match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(malformed("a field of an entry of `auths` is no text")),
    };
    if let Some(token) = text("identitytoken")? {
        return Ok(Secret::Identity(Zeroizing::new(token.to_owned())));
    }
    if let Some(token) = text("registrytoken")? {
        let bearer = token::bearer(token).ok_or(malformed("`registrytoken` is not one printable token"))?;
        return Ok(Secret::Bearer(bearer));
    }
    let decoded = text("auth")?
        .map(|auth| {
            let plain = BASE64_STANDARD.decode(auth).map(Zeroizing::new).ok()?;
            Some(Zeroizing::new(std::str::from_utf8(&plain).ok()?.trim_end_matches('\0').to_owned()))
        })
        .map(|decoded| decoded.ok_or(malformed("`auth` is no base64 of a text")))
        .transpose()?;
    let pair = match &decoded {
        Some(decoded) => Some(decoded.split_once(':').ok_or(malformed("`auth` is no `NAME:PASSWORD`"))?),
        None => text("username")?.zip(text("password")?),
    };
    match pair {
        Some((name, password)) if is_username(name) && !password.is_empty() => {
            Ok(Secret::Password(basic(name, password)))
        }
        Some(_) => Err(malformed("a name or a password is empty or holds what it may not")),
        None => Err(DockerConfigFault::None { server: server.to_owned() }),
    }
}

/// The host of a key, as docker compares them: without scheme and path, lower-case; Docker Hub has four names.
fn same_server(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = key.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DOCKER_HUB.to_owned(),
        _ => host,
    }
}

fn shown(text: &str) -> String {
    super::document::shown(text)
}

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is found for `server`: the kind of secret, `helper NAME`, or the fault.
    fn found(config: &Value, server: &str) -> String {
        found_in(config.to_string().as_bytes(), server)
    }

    fn found_in(text: &[u8], server: &str) -> String {
        match find(text, &same_server(server)) {
            Ok(Found::Here(secret)) => format!("{secret:?}"),
            Ok(Found::Helper(name)) => format!("helper {name}"),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn a_registry_is_found_however_its_key_is_written() {
        let auth = json!({"auth": BASE64_STANDARD.encode("u:p")});
        for (key, server, known) in [
            ("ghcr.io", "ghcr.io", true),
            ("https://ghcr.io", "ghcr.io", true),
            ("https://GHCR.io/v1/", "ghcr.io", true),
            ("https://index.docker.io/v1/", "registry-1.docker.io", true),
            ("corp.example:5000", "corp.example:5000", true),
            ("corp.example", "corp.example:5000", false),
            ("ghcr.io", "evil.example", false),
            ("ghcr.io.evil.example", "ghcr.io", false),
            ("https://evil.example/ghcr.io", "ghcr.io", false),
        ] {
            let expected = if known { "Password".to_owned() } else { format!("it has no credential for `{server}`") };
            assert_eq!(found(&json!({"auths": {key: auth.clone()}}), server), expected, "{key}");
        }
        let twice = json!({"auths": {"ghcr.io": auth, "https://ghcr.io": auth}});
        assert_eq!(found(&twice, "ghcr.io"), "it names `ghcr.io` twice");
    }

    #[test]
    fn a_helper_goes_before_the_file_and_its_own_before_the_one_for_all() {
        let entry = json!({"auth": BASE64_STANDARD.encode("u:p")});
        let config = json!({
            "auths": {"a.example": entry, "b.example": {}, "c.example": entry},
            "credHelpers": {"a.example": "own"},
        });
        assert_eq!(found(&config, "a.example"), "helper own");
        assert_eq!(found(&config, "b.example"), "it has no credential for `b.example`");
        assert_eq!(found(&config, "c.example"), "Password");
        let mut config = config;
        config["credsStore"] = "all".into();
        assert_eq!(found(&config, "a.example"), "helper own");
        assert_eq!(found(&config, "c.example"), "helper all");
        assert_eq!(found(&json!({"credsStore": ""}), "x.example"), "it has no credential for `x.example`");
    }

    #[test]
    fn every_form_of_an_entry_is_read_and_nonsense_is_not() {
        let of = |entry: Value| found(&json!({"auths": {"a.example": entry}, "HttpHeaders": {}}), "a.example");
        assert_eq!(of(json!({"auth": BASE64_STANDARD.encode("u:p:q")})), "Password");
        assert_eq!(of(json!({"auth": BASE64_STANDARD.encode("u:p\0\0")})), "Password");
        assert_eq!(of(json!({"username": "u", "password": "p"})), "Password");
        assert_eq!(of(json!({"auth": BASE64_STANDARD.encode("u:p"), "identitytoken": "t"})), "Identity");
        assert_eq!(of(json!({"registrytoken": "t"})), "Bearer");
        assert_eq!(
            of(json!({"auth": "", "identitytoken": null, "username": "u"})),
            "it has no credential for `a.example`"
        );
        for bad in [
            json!({"auth": "!"}),
            json!({"auth": BASE64_STANDARD.encode("nothing")}),
            json!({"auth": BASE64_STANDARD.encode(":p")}),
            json!({"auth": BASE64_STANDARD.encode("u:")}),
            json!({"auth": BASE64_STANDARD.encode("u\n:p")}),
            json!({"auth": BASE64_STANDARD.encode(b"\xff:p")}),
            json!({"auth": 1}),
            json!({"registrytoken": "a b"}),
            json!("u:p"),
        ] {
            let told = of(bad.clone());
            assert!(!["Password", "Identity", "Bearer"].contains(&&*told), "{bad} was taken");
        }
        for bad in ["", "[]", "{\"auths\":[]}", "{\"auths\":{},\"auths\":{}}", "{\"credHelpers\":{\"a.example\":1}}"] {
            assert!(
                found_in(bad.as_bytes(), "a.example").starts_with("it is no")
                    || found_in(bad.as_bytes(), "a.example").contains("no object")
                    || found_in(bad.as_bytes(), "a.example").contains("no text"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_file_that_is_of_no_use_is_told_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let helpers = || Arc::new(Helpers::new([("listed".to_owned(), "/bin/true".into())].into()));
        let open = |text: String| {
            std::fs::write(&file, text).unwrap();
            DockerConfig::open(file.clone(), "a.example", helpers()).map(|_| ()).map_err(|fault| fault.to_string())
        };
        assert_eq!(open(json!({"credsStore": "listed"}).to_string()), Ok(()));
        let unlisted = open(json!({"credsStore": "../../bin/sh"}).to_string()).unwrap_err();
        assert!(unlisted.contains("`../../bin/sh`, which is not listed"), "{unlisted}");
        let padded = |size: usize| {
            let text = json!({"credsStore": "listed"}).to_string();
            format!("{text}{}", " ".repeat(size - text.len()))
        };
        let limit = usize::try_from(DOCKER_CONFIG_BYTES).unwrap();
        assert_eq!(open(padded(limit)), Ok(()));
        assert_eq!(open(padded(limit + 1)), Err("it is longer than 1048576 bytes".into()));
        assert!(DockerConfig::open(folder.path().join("none"), "a.example", helpers()).is_err());
    }
}
