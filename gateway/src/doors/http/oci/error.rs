//! An answer that hands nothing over, in the words of distribution-spec.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WARNING};
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::path::PathFault;
use crate::case::{Reference, Repository};
use crate::gate::Held;
use crate::outage::{NoAnswer, Outage};
use crate::reason::Reason;

/// One error of distribution-spec, "Error codes": a status, a code, a message that says everything by itself.
#[derive(Clone, Debug)]
pub(super) struct ErrorAnswer {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Box<Value>,
    decision: Option<Uuid>,
    retry_after: Option<Duration>,
    outcome: &'static str,
}

/// The header with the decision's id, on every answer that stands on one.
pub(super) const WITGATE_DECISION: HeaderName = HeaderName::from_static("witgate-decision");
/// The longest message, in bytes: what clients print in one line.
const MESSAGE_MAX_BYTES: usize = 1024;
/// How many reasons a message names; `detail` has more of them.
const MESSAGE_REASONS: usize = 3;
/// How many subjects of one reason.
const MESSAGE_SUBJECTS: usize = 4;
/// How many reasons `detail` names; the log has them all.
const DETAIL_REASONS: usize = 32;
/// The longest `Warning` headers of one answer together, in bytes (distribution-spec, "Warnings").
const WARNINGS_MAX_BYTES: usize = 4096;

impl ErrorAnswer {
    fn new(status: StatusCode, code: &'static str, outcome: &'static str, message: impl AsRef<str>) -> Self {
        let message = plain(&format!("witgate: {}", message.as_ref()), MESSAGE_MAX_BYTES);
        Self { status, code, message, detail: Box::new(json!({})), decision: None, retry_after: None, outcome }
    }

    /// Policy says no: the message alone tells why, for some clients show nothing else.
    pub fn denied(recorded: &Held) -> Self {
        let decision = recorded.decision.facts();
        let message = format!("refused `{}`: {}", recorded.about.reference.text, why(&decision.reasons));
        let behind = format!(" (decision {})", decision.id);
        let mut answer = Self::new(StatusCode::FORBIDDEN, "DENIED", "refused", "");
        answer.message = plain(&format!("witgate: {message}"), MESSAGE_MAX_BYTES - behind.len()) + &behind;
        let reasons: Vec<&Reason> = decision.reasons.iter().take(DETAIL_REASONS).collect();
        answer.detail = Box::new(json!({"decision_id": decision.id, "reasons": reasons}));
        answer.decision = Some(decision.id);
        answer
    }

    /// Not there, or not for this caller: one answer for both.
    pub fn manifest_unknown(reference: &Reference) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "unknown", format!("manifest `{reference}` {UNKNOWN}"))
    }

    /// Likewise for a name that no manifest can have.
    pub fn no_such_manifest() -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "unknown", format!("the manifest {UNKNOWN}"))
    }

    /// Likewise for a blob.
    pub fn blob_unknown() -> Self {
        let message =
            "no manifest that you were admitted to in this repository names the blob; ask for the manifest first";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "unknown", message)
    }

    /// A repository without anything that the caller was admitted to.
    pub fn repository_unknown(repository: &Repository) -> Self {
        let message = format!(
            "repository `{repository}` is unknown, or nothing in it was admitted to you: pull from it by tag or digest first"
        );
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "unknown", message)
    }

    /// A method other than GET and HEAD.
    pub fn unsupported() -> Self {
        let message = "the registry door only reads: push to the registry itself";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "unsupported", message)
    }

    /// A header that cannot be read in one way.
    pub fn header_twice(name: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", "invalid", format!("the header `{name}` stands twice"))
    }

    /// A bug: nobody is admitted, the caller learns no more than that.
    pub fn panicked() -> Self {
        let message = "the gateway itself failed; nothing was admitted";
        let answer = Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "outage", message);
        Self { retry_after: Some(OUTAGE_RETRY_AFTER), ..answer }
    }

    /// A peer failed.
    pub fn outage(outage: &Outage) -> Self {
        super::super::problem::told(outage);
        let mut message = outage.chain();
        if let Some(hint) = &outage.hint {
            let _ = write!(message, "; {hint}");
        }
        let peer = outage.peer.kind();
        let Some(retry_after) = outage.retry_after else {
            let mut answer = Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "outage", message);
            answer.detail = Box::new(json!({"peer": peer}));
            answer.retry_after = Some(OUTAGE_RETRY_AFTER);
            return answer;
        };
        let mut answer = Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "outage", message);
        answer.detail = Box::new(json!({"peer": peer, "code": "rate-limited"}));
        answer.retry_after = Some(retry_after);
        answer
    }

    /// Work goes on.
    fn pending(retry_after: Duration) -> Self {
        let message = "the evidence is still being collected: ask again";
        let mut answer = Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "pending", message);
        answer.detail = Box::new(json!({"code": "pending"}));
        answer.retry_after = Some(retry_after);
        answer
    }

    /// No decision came to be; `unknown` says what is not there.
    pub fn no_answer(no_answer: &NoAnswer, unknown: impl FnOnce() -> Self) -> Self {
        match no_answer {
            NoAnswer::UnknownReference { .. } => unknown(),
            NoAnswer::Unprocessable { detail } => Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid", detail),
            NoAnswer::Pending { retry_after } => Self::pending(*retry_after),
            NoAnswer::Outage(outage) => Self::outage(outage),
        }
    }

    /// One word for the metrics.
    pub fn outcome(&self) -> &'static str {
        self.outcome
    }

    /// The answer on the wire; for HEAD the headers say what a person would read in the body.
    pub fn into_answer(self) -> Answer {
        let error = json!({"code": self.code, "message": self.message, "detail": self.detail});
        let mut answer = Answer::json(self.status, &json!({"errors": [error]})).with(CACHE_CONTROL, "no-store");
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            answer = answer.with(ALLOW, "GET, HEAD");
        }
        if let Some(decision) = self.decision {
            answer = answer.with(WITGATE_DECISION, decision.to_string());
            answer = answer.with(WARNING, warning(&self.message));
        }
        match self.retry_after {
            Some(retry_after) => answer.with(
                RETRY_AFTER,
                (retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)).max(1).to_string(),
            ),
            None => answer,
        }
    }
}

/// The reasons in one line; what differs in its subject alone is told once.
fn why(reasons: &[Reason]) -> String {
    let mut alike: Vec<(&Reason, Vec<&str>)> = Vec::new();
    for reason in reasons {
        match alike.iter_mut().find(|(first, _)| (&first.code, &first.detail) == (&reason.code, &reason.detail)) {
            Some((_, about)) => about.push(&reason.about),
            None => alike.push((reason, vec![&reason.about])),
        }
    }
    let told = alike.iter().take(MESSAGE_REASONS).map(|(Reason { code, detail, .. }, about)| {
        let shown: Vec<String> = about.iter().take(MESSAGE_SUBJECTS).map(|about| format!("`{about}`")).collect();
        let more = match about.len().checked_sub(MESSAGE_SUBJECTS) {
            Some(more @ 1..) => format!(" and {more} more"),
            _ => String::new(),
        };
        format!("{code}: {}{more}: {detail}", shown.join(", "))
    });
    let mut text = told.collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = alike.len().checked_sub(MESSAGE_REASONS) {
        let _ = write!(text, "; and {more} more");
    }
    text
}

impl From<PathFault> for ErrorAnswer {
    fn from(fault: PathFault) -> Self {
        let invalid = |code, message: &str| Self::new(StatusCode::BAD_REQUEST, code, "invalid", message);
        let nowhere = |message: &str| Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "unknown", message);
        match fault {
            PathFault::Catalog => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "unsupported", "repositories are not listed")
            }
            PathFault::NoEndpoint => nowhere("no endpoint of distribution-spec has this path"),
            PathFault::NoUpstream => nowhere(
                "the path begins with no registry of `[registry.upstreams]`, and `ns` names none: \
                 expected `/v2/REGISTRY/REPOSITORY/…`",
            ),
            PathFault::TwoUpstreams => {
                invalid("NAME_INVALID", "both the path and `ns` name a registry: expected one of them")
            }
            PathFault::Name => invalid(
                "NAME_INVALID",
                "the repository is not lower-case words joined by `/`, `.`, `_` or `-`, at most 255 bytes with its registry",
            ),
            PathFault::Digest => invalid("DIGEST_INVALID", "the digest is not `sha256:` and 64 lower-case hex digits"),
            PathFault::Tag => Self::no_such_manifest(),
            PathFault::Query(what) => invalid("NAME_INVALID", &format!("the query: {what}")),
        }
    }
}

/// `Warning` headers for what policy warned of, within what one answer may have of them (distribution-spec, "Warnings").
pub(super) fn warnings(reasons: &[Reason], decision: Uuid) -> Vec<String> {
    let mut left = WARNINGS_MAX_BYTES;
    let lines = reasons.iter().map(|Reason { code, about, detail, .. }| {
        let text = format!("witgate: {code}: `{about}`: {detail} (decision {decision})");
        warning(&plain(&text, MESSAGE_MAX_BYTES))
    });
    lines.take_while(|line| left.checked_sub(line.len()).map(|rest| left = rest).is_some()).collect()
}

/// RFC 7234, section 5.5, with the code that distribution-spec wants; what no header can hold becomes `?`.
pub(super) fn warning(text: &str) -> String {
    let mut line = String::from("299 - \"");
    for character in text.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            ' '..='~' => line.push(character),
            _ => line.push('?'),
        }
    }
    line.push('"');
    line
}

/// A text that a terminal shows as it is, cut to so many bytes.
fn plain(text: &str, max_bytes: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(max_bytes));
    for character in text.chars() {
        let character = if character.is_control() { '\u{fffd}' } else { character };
        if plain.len() + character.len_utf8() + CUT.len_utf8() > max_bytes {
            plain.push(CUT);
            break;
        }
        plain.push(character);
    }
    plain
}

/// Where a message was cut.
const CUT: char = '…';
/// What is not told apart.
const UNKNOWN: &str = "is unknown, or no grant rule lets you see it";
/// When to ask again after an outage.
const OUTAGE_RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Code;

    #[test]
    fn a20_4_what_others_wrote_is_shown_and_does_nothing() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc", 100), "a\u{fffd}[31mb\u{fffd}\u{fffd}c");
        assert_eq!(warning("a\"b\\c\u{e9}\r\nd"), r#"299 - "a\"b\\c???d""#);
    }

    #[test]
    fn reasons_that_differ_in_their_subject_alone_are_told_once() {
        let reason = |code, about: &str, detail: &str| Reason::new(code, about, detail);
        assert_eq!(why(&[reason(Code::REVOKED, "a", "x")]), "revoked: `a`: x");
        let mut reasons: Vec<Reason> = ["a", "b", "c", "d", "e"].map(|about| reason(Code::REVOKED, about, "x")).into();
        reasons.push(reason(Code::REVOKED, "f", "y"));
        assert_eq!(why(&reasons), "revoked: `a`, `b`, `c`, `d` and 1 more: x; revoked: `f`: y");
        let many: Vec<Reason> = (0..5).map(|n| reason(Code::REVOKED, "a", &n.to_string())).collect();
        assert_eq!(why(&many), "revoked: `a`: 0; revoked: `a`: 1; revoked: `a`: 2; and 2 more");
    }

    #[test]
    fn messages_and_warnings_have_limits() {
        for max_bytes in 3..20 {
            let cut = plain("äöü äöü äöü äöü", max_bytes);
            assert!(cut.len() <= max_bytes && cut.ends_with(CUT), "{max_bytes}: {cut}");
        }
        assert_eq!(plain("abc", 6), "abc");
        let reason = Reason::new(Code::NOT_ADMITTED, "x".repeat(2000), "y");
        let lines = warnings(&vec![reason; 100], Uuid::nil());
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().map(String::len).sum::<usize>() <= WARNINGS_MAX_BYTES);
        assert_eq!(warnings(&[], Uuid::nil()), Vec::<String>::new());
    }
}
