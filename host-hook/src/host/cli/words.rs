//! What the command line says, to people on standard error or to programs on standard output.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Format;
use crate::client::{ClientFault, Reason, Refused};
use crate::digest::Digest;
use crate::host::{Ended, NotPrepared};

/// The exit codes (design, "Command line").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It ran and ended well.
    Ok = 0,
    /// Refused, or it ran and did not end well.
    Refused = 1,
    /// The arguments cannot be used.
    Usage = 2,
    /// Somebody gave no answer.
    Outage = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why nothing ran.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    words: String,
    decision: Option<Uuid>,
    digest: Option<Digest>,
    reasons: Vec<Reason>,
    hint: Option<String>,
}

impl Failure {
    fn new(exit: Exit, words: String) -> Self {
        Self { exit, words, decision: None, digest: None, reasons: Vec::new(), hint: None }
    }

    pub(super) fn outage(doing: &str, source: &dyn Error) -> Self {
        Self::new(Exit::Outage, format!("{doing}: {}", chain(source)))
    }

    pub(super) fn refused_by_gateway(refused: Refused) -> Self {
        let hint = format!("see the evidence with `witgate explain {}`", refused.decision);
        Self {
            decision: Some(refused.decision),
            digest: refused.artifact,
            reasons: refused.reasons,
            hint: Some(hint),
            ..Self::new(Exit::Refused, String::new())
        }
    }

    fn refused_here(code: &str, about: String, detail: String) -> Self {
        let reason = Reason { code: code.to_owned(), about, detail, hint: None };
        Self { reasons: vec![reason], ..Self::new(Exit::Refused, String::new()) }
    }

    pub(super) fn component(ended: &Ended) -> Self {
        Self::new(Exit::Refused, format!("component {ended}"))
    }

    pub(super) fn of(mut self, decision: Uuid) -> Self {
        self.decision = Some(decision);
        self
    }

    /// Says it, and gives the exit code.
    pub(super) fn tell(self, format: Format, reference: &str, decision: Option<Uuid>) -> ExitCode {
        let decision = self.decision.or(decision);
        if !self.reasons.is_empty() && format == Format::Json {
            data(&json!({
                "reference": reference, "decision": decision, "digest": self.digest, "refused": {"reasons": self.reasons},
            }));
        }
        say(&self.text(reference));
        self.exit.into()
    }

    /// The lines for a person.
    fn text(&self, reference: &str) -> String {
        let mut text = match self.reasons.len() {
            0 => format!("error: {}", clean(&self.words)),
            count => {
                let digest = self.digest.map(|digest| format!(" ({})", digest.short())).unwrap_or_default();
                let plural = if count == 1 { "" } else { "s" };
                format!("error: refused `{}`{digest}: {count} reason{plural}", clean(reference))
            }
        };
        let width = self.reasons.iter().map(|reason| reason.code.len()).max().unwrap_or_default();
        for Reason { code, about, detail, .. } in &self.reasons {
            // Many details name what they are about; the others are told with it in front.
            let about = if about.is_empty() || detail.contains(about) { String::new() } else { format!("`{about}`: ") };
            text.push_str(&format!("\n  {:width$}  {}", clean(code), clean(&format!("{about}{detail}"))));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\nwitgate-host: hint: {}", clean(hint)));
        }
        text
    }
}

impl From<ClientFault> for Failure {
    fn from(fault: ClientFault) -> Self {
        let hint = fault.hint();
        let failure = match &fault {
            ClientFault::Ticket(refusal) => Self::refused_here(refusal.code(), String::new(), refusal.to_string()),
            ClientFault::Address { .. }
            | ClientFault::GatewayId { .. }
            | ClientFault::NoTicketKey
            | ClientFault::TicketKey(_)
            | ClientFault::LogKey { .. }
            | ClientFault::Status { status: 400 | 422, .. } => Self::new(Exit::Usage, chain(&fault)),
            _ => Self::new(Exit::Outage, chain(&fault)),
        };
        Self { hint, ..failure }
    }
}

impl From<NotPrepared> for Failure {
    fn from(error: NotPrepared) -> Self {
        let reason = |code: &str, name: String, detail: &str| Reason {
            code: code.to_owned(),
            about: name,
            detail: detail.to_owned(),
            hint: None,
        };
        match error {
            NotPrepared::Imports { not_granted, not_offered } => {
                let not_granted = not_granted.into_iter().map(|name| reason("import-not-granted", name, "not granted"));
                let not_offered = not_offered
                    .into_iter()
                    .map(|name| reason("import-not-offered", name, "granted, but this host does not offer it"));
                Self { reasons: not_granted.chain(not_offered).collect(), ..Self::new(Exit::Refused, String::new()) }
            }
            other => Self::refused_here(other.code(), String::new(), chain(&other)),
        }
    }
}

/// One line, or several, on standard error.
pub(super) fn say(words: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "witgate-host: {words}");
}

/// One JSON line on standard output.
pub(super) fn data(value: &Value) {
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// `text` without what could move a terminal's cursor: much of it comes from peers.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_refusal_reads_as_the_design_writes_it() {
        let reason = |code: &str, about: &str, detail: &str| Reason {
            code: code.into(),
            about: about.into(),
            detail: detail.into(),
            hint: None,
        };
        let failure = Failure::refused_by_gateway(Refused {
            decision: Uuid::from_u128(1),
            reference: "ghcr.io/acme/cart:1.4".into(),
            artifact: Some(Digest::of(b"")),
            reasons: vec![
                reason("identity-mismatch", "ci@other.example", "signed by `ci@other.example`"),
                reason("import-not-granted", "wasi:sockets/tcp@0.2.3", "not granted"),
            ],
        });
        assert_eq!(
            failure.text("ghcr.io/acme/cart:1.4"),
            "error: refused `ghcr.io/acme/cart:1.4` (sha256:e3b0c44298fc…): 2 reasons\n  \
             identity-mismatch   signed by `ci@other.example`\n  \
             import-not-granted  `wasi:sockets/tcp@0.2.3`: not granted\n\
             witgate-host: hint: see the evidence with `witgate explain 00000000-0000-0000-0000-000000000001`"
        );
        assert_eq!(failure.exit, Exit::Refused);
    }

    #[test]
    fn every_refused_import_is_a_reason() {
        let failure = Failure::from(NotPrepared::Imports {
            not_granted: vec!["a:b/c".into(), "a:b/d".into()],
            not_offered: vec!["e:f/g".into()],
        });
        let codes: Vec<_> = failure.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!(codes, ["import-not-granted", "import-not-granted", "import-not-offered"]);
    }

    #[test]
    fn peers_write_no_terminal_commands() {
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn an_unknown_reference_is_an_outage_and_a_bad_one_is_usage() {
        let status = |status| ClientFault::Status { doing: "asking", status, title: "x".into(), hint: None };
        assert_eq!(Failure::from(status(404)).exit, Exit::Outage);
        assert_eq!(Failure::from(status(503)).exit, Exit::Outage);
        assert_eq!(Failure::from(status(422)).exit, Exit::Usage);
    }
}
