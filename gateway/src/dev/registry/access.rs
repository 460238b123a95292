//! Who may come in: nobody is asked, Basic, or Bearer with its token endpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::lock;
use super::refusal::Refusal;
use crate::doors::http::oci::answer::Answer;

/// Who may come in, both as the registry's rule and as a pushing client's credentials.
#[derive(Clone, Default)]
pub enum Auth {
    /// Everyone may pull and push.
    #[default]
    Open,
    /// `Authorization: Basic` with this name and password on each request.
    Basic {
        /// The one user.
        username: String,
        /// Its password.
        password: String,
    },
    /// A token from `/token` on each request; the name and the password buy pull and push.
    Bearer {
        /// The one user.
        username: String,
        /// Its password.
        password: String,
    },
    /// Like [`Auth::Bearer`], and without credentials `/token` sells pull, as public registries do.
    PublicBearer {
        /// The one user who may push.
        username: String,
        /// Its password.
        password: String,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Basic { .. } => "Basic",
            Self::Bearer { .. } => "Bearer",
            Self::PublicBearer { .. } => "PublicBearer",
        })
    }
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// Any proof at all: `/v2/`.
    Any,
    /// An action in a repository.
    Repository { name: &'a str, action: Action },
}

/// What is done to a repository, in the words of token scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Pull,
    Push,
}

/// The rule and the tokens that were handed out under it.
pub(super) struct Access {
    auth: Auth,
    host: String,
    tokens: Mutex<VecDeque<Token>>,
}

struct Token {
    text: String,
    grants: BTreeMap<String, BTreeSet<Action>>,
}

impl Access {
    pub(super) fn new(auth: Auth, host: String) -> Self {
        Self { auth, host, tokens: Mutex::default() }
    }

    pub(super) fn expire_tokens(&self) {
        lock(&self.tokens).clear();
    }

    /// Lets a request in, or answers 401 with the challenge that says how to come back.
    #[allow(clippy::result_large_err, reason = "the answer itself: it is sent at once")]
    pub(super) fn check(&self, headers: &HeaderMap, need: Need<'_>) -> Result<(), Answer> {
        let held = authorization(headers);
        let (allowed, challenge) = match &self.auth {
            Auth::Open => return Ok(()),
            Auth::Basic { username, password } => {
                (is_basic(held, username, password), format!("Basic realm=\"{}\"", self.host))
            }
            Auth::Bearer { .. } | Auth::PublicBearer { .. } => {
                (self.is_bearer(held, need), self.bearer_challenge(need))
            }
        };
        if allowed {
            return Ok(());
        }
        let refusal = match held {
            Some(_) => Refusal::unauthorized("these credentials do not open this"),
            None => Refusal::unauthorized("authentication required"),
        };
        Err(Answer::from(refusal).with(WWW_AUTHENTICATE, challenge))
    }

    /// `/token`: `GET ?service=…&scope=…` with Basic, or the `POST` form of OAuth 2 (`grant_type=password`).
    pub(super) fn issue(&self, headers: &HeaderMap, parameters: &[(String, String)]) -> Answer {
        let (username, password, public) = match &self.auth {
            Auth::Open | Auth::Basic { .. } => return Refusal::no_such_path("/token").into(),
            Auth::Bearer { username, password } => (username, password, false),
            Auth::PublicBearer { username, password } => (username, password, true),
        };
        let named = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let by_form = named("grant_type") == Some("password")
            && named("username") == Some(username)
            && named("password") == Some(password);
        let by_header = is_basic(authorization(headers), username, password);
        let anonymous = authorization(headers).is_none() && named("password").is_none();
        let allowed: &[Action] = match (by_form || by_header, public && anonymous) {
            (true, _) => &[Action::Pull, Action::Push],
            (false, true) => &[Action::Pull],
            (false, false) => {
                let challenge = format!("Basic realm=\"{}\"", self.host);
                return Answer::from(Refusal::unauthorized("wrong name or password")).with(WWW_AUTHENTICATE, challenge);
            }
        };
        let scopes = parameters.iter().filter(|(key, _)| key == "scope").map(|(_, value)| value.as_str());
        let text = random_token();
        let mut tokens = lock(&self.tokens);
        if tokens.len() == MAX_TOKENS {
            tokens.pop_front();
        }
        tokens.push_back(Token { text: text.clone(), grants: grants(scopes, allowed) });
        Answer::json(StatusCode::OK, &json!({"token": text, "access_token": text, "expires_in": TOKEN_LIFE_S}))
    }

    fn is_bearer(&self, held: Option<&str>, need: Need<'_>) -> bool {
        let Some(("Bearer", text)) = held.and_then(|held| held.split_once(' ')) else { return false };
        lock(&self.tokens).iter().filter(|token| token.text == text).any(|token| match need {
            Need::Any => true,
            Need::Repository { name, action } => {
                token.grants.get(name).is_some_and(|actions| actions.contains(&action))
            }
        })
    }

    fn bearer_challenge(&self, need: Need<'_>) -> String {
        let host = &self.host;
        let scope = match need {
            Need::Any => String::new(),
            Need::Repository { name, action: Action::Pull } => format!(",scope=\"repository:{name}:pull\""),
            Need::Repository { name, action: Action::Push } => format!(",scope=\"repository:{name}:pull,push\""),
        };
        format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"{scope}")
    }
}

/// The `Authorization` header, if it is text.
pub(super) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok())
}

fn is_basic(held: Option<&str>, username: &str, password: &str) -> bool {
    held == Some(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

/// `repository:<name>:pull,push`, several separated by spaces; other scopes and actions are not granted.
fn grants<'a>(scopes: impl Iterator<Item = &'a str>, allowed: &[Action]) -> BTreeMap<String, BTreeSet<Action>> {
    let mut grants = BTreeMap::<String, BTreeSet<Action>>::new();
    for scope in scopes.flat_map(|scopes| scopes.split(' ')) {
        let Some((name, actions)) = scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')) else {
            continue;
        };
        let actions = actions.split(',').filter_map(|action| match action {
            "pull" => Some(Action::Pull),
            "push" => Some(Action::Push),
            _ => None,
        });
        grants.entry(name.to_owned()).or_default().extend(actions.filter(|action| allowed.contains(action)));
    }
    grants
}

fn random_token() -> String {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Tokens that are remembered: the oldest becomes worthless first.
const MAX_TOKENS: usize = 1024;
/// What `expires_in` says, in seconds; tokens live until [`Access::expire_tokens`] or [`MAX_TOKENS`].
const TOKEN_LIFE_S: u64 = 300;
