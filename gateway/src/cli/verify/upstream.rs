//! The registry flags as an upstream of the configuration's kind, for one command.

use super::flags::{RegistryFlags, secret};
use super::misuse::Misuse;
use crate::registry::{Given, GivenSecret, Settings, UpstreamSettings};

/// Where a password is better kept than on the command line.
const PASSWORD: &str = "WITGATE_REGISTRY_PASSWORD";
/// Where a token is.
const TOKEN: &str = "WITGATE_REGISTRY_TOKEN";

/// What the environment says in place of flags.
pub(super) struct Environment {
    password: Option<GivenSecret>,
    token: Option<GivenSecret>,
}

impl Environment {
    /// That of this process.
    ///
    /// # Errors
    /// A variable that is set and holds no secret.
    pub(super) fn of_process() -> Result<Self, Misuse> {
        let set = |name: &str| match std::env::var(name) {
            Ok(value) if !value.is_empty() => secret(&value)
                .map(Some)
                .map_err(|_| Misuse::new(format!("`{name}` is longer than 16 KiB"), "set it to the secret alone")),
            _ => Ok(None),
        };
        Ok(Self { password: set(PASSWORD)?, token: set(TOKEN)? })
    }
}

impl RegistryFlags {
    /// The first of them that is there.
    pub(super) fn first(&self) -> Option<&'static str> {
        let there = [
            ("--registry-cacert", self.registry_cacert.is_some()),
            ("--registry-username", self.registry_username.is_some()),
            ("--registry-password", self.registry_password.is_some()),
            ("--registry-token", self.registry_token.is_some()),
            ("--allow-http-registry", self.allow_http_registry),
        ];
        there.into_iter().find(|(_, there)| *there).map(|(flag, _)| flag)
    }

    /// Puts what the flags say over the upstream `name` of the table, or makes one in a private network.
    ///
    /// # Errors
    /// Half a credential, or two; a certificate authority for plain HTTP.
    pub(super) fn put_over(self, settings: &mut Settings, name: &str, environment: Environment) -> Result<(), Misuse> {
        if self.first().is_none() && environment.token.is_none() {
            return Ok(());
        }
        if self.allow_http_registry && self.registry_cacert.is_some() {
            let what = "`--allow-http-registry` and `--registry-cacert` ask for HTTP and for HTTPS";
            return Err(Misuse::new(what, "leave out one of them"));
        }
        let (cacert, http) = (self.registry_cacert.clone(), self.allow_http_registry);
        let credential = self.credential(environment)?;
        let made = || UpstreamSettings { private: true, ..UpstreamSettings::default() };
        let upstream = settings.upstreams.entry(name.to_owned()).or_insert_with(made);
        if let Some((username, given)) = credential {
            (upstream.username, upstream.given) = (username, Some(given));
            (upstream.password_file, upstream.token_file) = (None, None);
        }
        if let Some(cacert) = cacert {
            upstream.ca = Some(cacert);
            upstream.url.get_or_insert_with(|| format!("https://{name}"));
        }
        if http {
            let secure = upstream.url.take().unwrap_or_else(|| format!("https://{name}"));
            upstream.url = Some(match secure.strip_prefix("https://") {
                Some(rest) => format!("http://{rest}"),
                None => secure,
            });
            (upstream.private, upstream.insecure_http, upstream.ca) = (true, true, None);
        }
        Ok(())
    }

    /// The name, if there is one, with its secret.
    fn credential(self, environment: Environment) -> Result<Option<(Option<String>, Given)>, Misuse> {
        let Self { registry_username, registry_password, registry_token, .. } = self;
        match (registry_username, registry_password, registry_token) {
            (None, None, None) => Ok(environment.token.map(|token| (None, Given::Token(token)))),
            (Some(username), password, None) => match password.or(environment.password) {
                Some(password) => Ok(Some((Some(username), Given::Password(password)))),
                None => {
                    let what = "`--registry-username` is half a credential";
                    Err(Misuse::new(what, format!("set {PASSWORD}, or add `--registry-password`")))
                }
            },
            (None, None, Some(token)) => Ok(Some((None, Given::Token(token)))),
            (None, Some(_), None) => {
                let what = "`--registry-password` is half a credential";
                Err(Misuse::new(what, "add `--registry-username NAME`"))
            }
            (_, _, Some(_)) => {
                let what = "`--registry-token` and a user's name or password are two credentials";
                Err(Misuse::new(what, "leave out one of them"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> RegistryFlags {
        RegistryFlags {
            registry_cacert: None,
            registry_username: None,
            registry_password: None,
            registry_token: None,
            allow_http_registry: false,
        }
    }

    fn environment(password: Option<&str>, token: Option<&str>) -> Environment {
        Environment { password: password.map(given), token: token.map(given) }
    }

    fn over(table: Option<UpstreamSettings>, flags: RegistryFlags, env: Environment) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.upstreams.extend(table.map(|one| ("a.example".to_owned(), one)));
        flags.put_over(&mut settings, "a.example", env).map_err(|misuse| misuse.to_string())?;
        Ok(settings)
    }

    fn one(table: Option<UpstreamSettings>, flags: RegistryFlags, env: Environment) -> UpstreamSettings {
        over(table, flags, env).unwrap().upstreams.remove("a.example").unwrap()
    }

    fn given(text: &str) -> GivenSecret {
        secret(text).unwrap()
    }

    #[test]
    fn without_flags_the_table_stands() {
        let settings = over(None, none(), environment(Some("p"), None)).unwrap();
        assert!(settings.upstreams.is_empty(), "a password alone names nobody");
    }

    #[test]
    fn flags_make_a_private_upstream_or_change_the_one_of_the_table() {
        let name = || RegistryFlags { registry_username: Some("u".into()), ..none() };
        let made = one(None, name(), environment(Some("p"), None));
        assert!(made.private && made.url.is_none());
        assert_eq!((made.username.as_deref(), made.given), (Some("u"), Some(Given::Password(given("p")))));
        let table = || UpstreamSettings {
            url: Some("https://mirror.example".into()),
            ca: Some("ca.pem".into()),
            token_file: Some("token".into()),
            ..UpstreamSettings::default()
        };
        let flags = RegistryFlags { registry_password: Some(given("q")), ..name() };
        let changed = one(Some(table()), flags, environment(Some("p"), None));
        assert_eq!(changed.given, Some(Given::Password(given("q"))), "the flag comes before the environment");
        assert_eq!(changed.token_file, None);
        assert_eq!((changed.url.as_deref(), changed.private), (Some("https://mirror.example"), false));

        let flags = RegistryFlags { allow_http_registry: true, ..none() };
        let plain = one(Some(table()), flags, environment(None, None));
        assert_eq!(plain.url.as_deref(), Some("http://mirror.example"));
        assert!(plain.private && plain.insecure_http && plain.ca.is_none());
        let flags = RegistryFlags { registry_cacert: Some("own.pem".into()), ..none() };
        let secure = one(None, flags, environment(None, None));
        assert_eq!((secure.url.as_deref(), secure.ca), (Some("https://a.example"), Some("own.pem".into())));
        let token = one(None, none(), environment(None, Some("t")));
        assert_eq!((token.username, token.given), (None, Some(Given::Token(given("t")))));
    }

    #[test]
    fn half_a_credential_and_two_are_misuse() {
        let some = |text: &str| Some(given(text));
        let name = || RegistryFlags { registry_username: Some("u".into()), ..none() };
        for flags in [
            name(),
            RegistryFlags { registry_password: some("p"), ..none() },
            RegistryFlags { registry_password: some("p"), registry_token: some("t"), ..name() },
            RegistryFlags { registry_token: some("t"), ..name() },
            RegistryFlags { registry_password: some("p"), registry_token: some("t"), ..none() },
            RegistryFlags { allow_http_registry: true, registry_cacert: Some("ca.pem".into()), ..none() },
        ] {
            let shown = format!("{flags:?}");
            assert!(over(None, flags, environment(None, None)).is_err(), "{shown}");
        }
    }
}
