//! Patterns of subjects with issuers that never match more than their host or domain.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::data::text::{is_email, is_host, is_plain_uri, is_spiffe_id};
use crate::case::{San, SanKind};

/// What a subject is: a URI, a SPIFFE ID (which is a URI too), or an e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectKind {
    /// Any URI.
    Uri,
    /// An e-mail address.
    Email,
    /// A SPIFFE ID.
    Spiffe,
}

impl SubjectKind {
    /// The kind that a pattern is written for where nothing says it: cosign's flags name none.
    pub fn of(pattern: &str) -> Self {
        match pattern.strip_prefix('^').unwrap_or(pattern) {
            spiffe if spiffe.starts_with("spiffe://") => Self::Spiffe,
            uri if uri.contains("://") => Self::Uri,
            _ => Self::Email,
        }
    }

    /// As the data of a policy writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Email => "email",
            Self::Spiffe => "spiffe",
        }
    }

    /// Whether a subject is one of this kind that can be read in one way only.
    fn takes(self, value: &str) -> bool {
        match self {
            Self::Uri => is_plain_uri(value),
            Self::Email => is_email(value),
            Self::Spiffe => is_spiffe_id(value),
        }
    }
}

/// A checked regular expression over subjects of one kind: always matched in full, always within one host or domain.
///
/// ```text
/// https://github.com/acme/.*                            \Ahttps://github\.com/acme/.*\z
/// ^https://github\.com/acme/[a-z]+/\.github/.*$         the same, said more narrowly
/// .*@acme.example                                       \A.*@acme\.example\z
/// ```
/// In front of the path, and behind the `@` of an e-mail address, a dot is a dot, escaped or not.
#[derive(Clone, Debug)]
pub struct IdentityPattern {
    kind: SubjectKind,
    text: String,
    regex: Regex,
}

/// Checks the pattern of a subject or an issuer (`SubjectKind::Uri`), as `subjectRegExp` and `issuerRegExp` do.
///
/// # Errors
/// Whatever could match more than it seems to say; see [`PatternError`].
pub fn identity_pattern(kind: SubjectKind, text: &str) -> Result<IdentityPattern, PatternError> {
    let tokens = Tokens::of(text)?;
    let text = match kind {
        SubjectKind::Uri | SubjectKind::Spiffe => uri_pattern(kind, &tokens)?,
        SubjectKind::Email => email_pattern(&tokens)?,
    };
    // Bare first: what only compiles once it is wrapped would close our group and open one of its own.
    compile(&text)?;
    let regex = compile(&anchored(&text))?;
    Ok(IdentityPattern { kind, text, regex })
}

/// The full match of a pattern, as `policies/signatures.rego` writes it too.
fn anchored(text: &str) -> String {
    format!(r"\A(?:{text})\z")
}

fn compile(text: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(text).size_limit(MAX_PROGRAM_BYTES).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => PatternError::TooComplex { limit },
        error => PatternError::Syntax { detail: error.to_string().lines().last().unwrap_or_default().to_owned() },
    })
}

impl IdentityPattern {
    /// The pattern in the one form that rules read: without `^` and `$`, with every dot of the host escaped.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What kind of subjects it matches.
    pub fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// Whether a text that has been verified to be of this pattern's kind matches it in full.
    pub fn matches(&self, value: &str) -> bool {
        self.kind.takes(value) && self.regex.is_match(value)
    }

    /// Whether a certificate's name is of this pattern's kind and matches it in full.
    pub fn matches_san(&self, san: &San) -> bool {
        let of_kind = match self.kind {
            SubjectKind::Uri | SubjectKind::Spiffe => san.kind == SanKind::Uri,
            SubjectKind::Email => san.kind == SanKind::Email,
        };
        of_kind && self.matches(&san.value)
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A pattern that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing, or too much.
    #[error("expected a pattern of 1 to {limit} bytes, found {found}", limit = MAX_PATTERN_BYTES)]
    Length {
        /// Its bytes.
        found: usize,
    },
    /// A construct whose reach cannot be seen at once: flags, anchors inside, named groups, classes of classes.
    #[error(
        "expected letters, digits, `.`, `\\` before punctuation, `\\d`, `\\w`, `[…]`, `(…)`, `|` inside a group, `?*+{{}}`; \
         found `{found}` at byte {at}"
    )]
    Construct {
        /// What stands there.
        found: String,
        /// Where, from 0.
        at: usize,
    },
    /// An alternative that the rest of the pattern does not hold.
    #[error("found `|` outside a group at byte {at}: write `(a|b)`, or an identity for each")]
    Alternative {
        /// Where, from 0.
        at: usize,
    },
    /// It does not say which host, so a stranger's may match.
    #[error(
        "expected a pattern that begins with a scheme, `://`, a host in lower case, each letter for itself, then `/`; a \
         pattern that everybody matches is none"
    )]
    Host,
    /// A SPIFFE ID of another scheme.
    #[error("expected a pattern that begins with `spiffe://` with a trust domain, then `/`")]
    Spiffe,
    /// The folder behind the host is open at its end: `acme.*` is `acme-evil` too.
    #[error("expected the first folder in full, such as `{folder}/`, or a group, such as `({folder}|other)/`")]
    FirstFolder {
        /// The part of the folder that stands there.
        folder: String,
    },
    /// It does not say which domain, so a stranger's may match.
    #[error("expected one `@`, outside of groups, with a domain in lower case behind it, each letter for itself")]
    Domain,
    /// It is no regular expression.
    #[error("expected a regular expression: {detail}")]
    Syntax {
        /// What the compiler says.
        detail: String,
    },
    /// It would take too much work to match.
    #[error("expected a pattern that compiles to at most {limit} bytes")]
    TooComplex {
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Scheme and host are literal, and so is the first folder unless it begins with what is not.
fn uri_pattern(kind: SubjectKind, tokens: &Tokens<'_>) -> Result<String, PatternError> {
    let wrong_host = if kind == SubjectKind::Spiffe { PatternError::Spiffe } else { PatternError::Host };
    let (mut prefix, mut taken) = (String::new(), 0);
    while !(prefix.contains("://") && prefix.matches('/').count() > 2) {
        // A dot of the host is a dot: `https://github.com/acme/.*` may not be matched by `https://githubXcom/acme/x`.
        let Some(literal) = tokens.literal(taken, Dot::IsADot) else { return Err(wrong_host) };
        prefix.push(literal);
        taken += 1;
    }
    let host = prefix.split_once("://").map(|(_, rest)| rest.trim_end_matches('/')).unwrap_or_default();
    let is_spiffe = prefix.starts_with("spiffe://") && !host.contains(':');
    if !is_host(host)
        || !is_plain_uri(&format!("{prefix}x"))
        || kind == SubjectKind::Spiffe && !is_spiffe
        || tokens.0.len() == taken
    {
        return Err(wrong_host);
    }
    let mut folder = String::new();
    let mut at = taken;
    while let Some(literal) = tokens.literal(at, Dot::IsAny)
        && literal != '/'
    {
        folder.push(literal);
        at += 1;
    }
    if !folder.is_empty() && at < tokens.0.len() && tokens.literal(at, Dot::IsAny) != Some('/') {
        return Err(PatternError::FirstFolder { folder });
    }
    Ok(format!("{}{}", regex::escape(&prefix), tokens.text_from(taken)))
}

/// One `@`, a literal domain behind it.
fn email_pattern(tokens: &Tokens<'_>) -> Result<String, PatternError> {
    let is_at = |token: &Token<'_>| token.piece == Piece::Literal('@');
    let Some(at) = tokens.0.iter().position(is_at) else { return Err(PatternError::Domain) };
    let domain: Option<String> = (at + 1..tokens.0.len()).map(|at| tokens.literal(at, Dot::IsADot)).collect();
    let is_one = tokens.literal(at, Dot::IsAny).is_some() && tokens.0.iter().filter(|token| is_at(token)).count() == 1;
    match domain {
        Some(domain) if is_one && at > 0 && is_host(&domain) && !domain.contains(':') => {
            let local: String = tokens.0.iter().take(at).map(|token| token.text).collect();
            Ok(format!("{local}@{}", regex::escape(&domain)))
        }
        _ => Err(PatternError::Domain),
    }
}

/// What an unescaped dot stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dot {
    IsADot,
    IsAny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// One character that stands for itself.
    Literal(char),
    Dot,
    /// `[…]`, `\d`, `\w`.
    Class,
    Open,
    Close,
    Alternative,
    /// `?`, `*`, `+`, `{…}`: how often the piece in front of it.
    Repeat,
}

struct Token<'a> {
    piece: Piece,
    text: &'a str,
    /// Groups around it.
    depth: usize,
}

/// A pattern taken apart, without the anchors at its ends.
struct Tokens<'a>(Vec<Token<'a>>);

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::Length { found: text.len() });
        }
        let (mut tokens, mut at, mut depth) = (Vec::new(), usize::from(text.starts_with('^')), 0_usize);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty() && *rest != "$") {
            let unknown = || PatternError::Construct { found: rest.chars().take(2).collect(), at };
            let (piece, size) = piece(rest).ok_or_else(unknown)?;
            match piece {
                Piece::Open => depth += 1,
                Piece::Close => depth = depth.checked_sub(1).ok_or_else(unknown)?,
                Piece::Alternative if depth == 0 => return Err(PatternError::Alternative { at }),
                Piece::Repeat if tokens.is_empty() => return Err(unknown()),
                _ => {}
            }
            tokens.push(Token { piece, text: rest.get(..size).ok_or_else(unknown)?, depth });
            at += size;
        }
        if depth > 0 {
            return Err(PatternError::Syntax { detail: "a group is not closed".into() });
        }
        Ok(Self(tokens))
    }

    /// The one character that a token stands for, outside of groups, exactly once.
    fn literal(&self, at: usize, dot: Dot) -> Option<char> {
        let token = self.0.get(at)?;
        if token.depth > 0 || self.0.get(at + 1).is_some_and(|next| next.piece == Piece::Repeat) {
            return None;
        }
        match token.piece {
            Piece::Literal(character) => Some(character),
            Piece::Dot if dot == Dot::IsADot => Some('.'),
            _ => None,
        }
    }

    fn text_from(&self, at: usize) -> String {
        self.0.iter().skip(at).map(|token| token.text).collect()
    }
}

/// The first piece of a pattern with its bytes; `None` for whatever is not one of ours.
fn piece(rest: &str) -> Option<(Piece, usize)> {
    let mut characters = rest.chars();
    let first = characters.next()?;
    let second = characters.next();
    Some(match first {
        '.' => (Piece::Dot, 1),
        '|' => (Piece::Alternative, 1),
        ')' => (Piece::Close, 1),
        '?' | '*' | '+' => (Piece::Repeat, 1),
        // Flags, names and look-around all begin with `(?`; only the bare group is taken.
        '(' if rest.starts_with("(?:") => (Piece::Open, 3),
        '(' if second != Some('?') => (Piece::Open, 1),
        '{' => {
            let times = rest.get(1..rest.find('}')?)?;
            let is_times = !times.is_empty() && times.bytes().all(|b| b.is_ascii_digit() || b == b',');
            (Piece::Repeat, is_times.then_some(times.len() + 2)?)
        }
        '[' => (Piece::Class, class(rest)?),
        '\\' => match second? {
            'd' | 'w' => (Piece::Class, 2),
            escaped if is_escapable(escaped) => (Piece::Literal(escaped), 2),
            _ => return None,
        },
        // A blank or a `#` never stands in a subject that can be matched; no anchor stands inside.
        plain if plain.is_ascii_alphanumeric() || "-_~%!&',/:;=@".contains(plain) => (Piece::Literal(plain), 1),
        _ => return None,
    })
}

/// What stands for itself behind a `\`; `\<` with `\>` are the ends of words.
fn is_escapable(character: char) -> bool {
    character.is_ascii_punctuation() && !matches!(character, '<' | '>')
}

/// The bytes of `[…]`: characters, ranges and escapes; no class inside a class, no set operation.
fn class(rest: &str) -> Option<usize> {
    let mut escaped = false;
    let inside = rest.strip_prefix("[^").or_else(|| rest.strip_prefix('['))?;
    let start = rest.len() - inside.len();
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => {
                if !(is_escapable(char::from(byte)) || matches!(byte, b'd' | b'w')) {
                    return None;
                }
                escaped = false;
            }
            b'\\' => escaped = true,
            b']' => {
                let text = inside.get(..at)?;
                let is_set = ["&&", "--", "~~"].iter().any(|operation| text.contains(operation));
                return (!text.is_empty() && !is_set).then_some(start + at + 1);
            }
            b'[' => return None,
            _ if byte.is_ascii_graphic() => {}
            _ => return None,
        }
    }
    None
}

/// A pattern, in bytes: the longest workflow names of GitHub stay below it.
pub(super) const MAX_PATTERN_BYTES: usize = 512;
/// A compiled pattern, in bytes; regorus stops a whole decision at 100 KiB (`builtins/regex.rs`), so ours is below it.
const MAX_PROGRAM_BYTES: usize = 64 << 10;

#[cfg(test)]
#[path = "identity_pattern_tests.rs"]
mod tests;
