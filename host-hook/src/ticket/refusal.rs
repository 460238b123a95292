//! Why a host does not take a ticket: one fact a variant, one stable code a fact.

use uuid::Uuid;

use super::{CLOCK_SKEW_S, MAX_ENVELOPE_BYTES, MAX_LIFE_S};
use crate::digest::Digest;

/// The first check of `docs/ticket.md` that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketRefusal {
    /// Larger than any ticket.
    #[error("ticket has {size_bytes} bytes, more than {MAX_ENVELOPE_BYTES}")]
    TooLarge {
        /// What it has.
        size_bytes: usize,
    },
    /// A part does not have its shape.
    #[error("{part} of the ticket is malformed: {detail}")]
    Malformed {
        /// `envelope`, `payload`, `signature`, `statement` or `grants`.
        part: &'static str,
        /// What was expected and where.
        detail: String,
    },
    /// There must be exactly one signature.
    #[error("ticket has {found} signatures, expected exactly one")]
    SignatureCount {
        /// How many there are.
        found: usize,
    },
    /// The key is not pinned for the gateway that was asked.
    #[error("ticket is signed by key `{keyid}`, which is not pinned for `{gateway}`")]
    KeyNotPinned {
        /// The key the envelope names.
        keyid: String,
        /// The gateway's SPIFFE ID.
        gateway: String,
    },
    /// The pinned key did not sign these bytes.
    #[error("signature by key `{keyid}` does not verify")]
    SignatureInvalid {
        /// The pinned key.
        keyid: String,
    },
    /// Signed, but as something else.
    #[error("payload type is `{found}`, expected `{}`", super::PAYLOAD_TYPE)]
    PayloadType {
        /// What it says.
        found: String,
    },
    /// Signed, but no in-toto statement of version 1.
    #[error("statement type is `{found}`, expected `{}`", super::STATEMENT_TYPE)]
    StatementType {
        /// What it says.
        found: String,
    },
    /// A verification summary says what was found long ago; it gives nobody anything.
    #[error("this is a SLSA verification summary, not a ticket: it admits nobody")]
    VerificationSummary,
    /// Signed, but no ticket.
    #[error("predicate type is `{found}`, expected `{}`", super::PREDICATE_TYPE)]
    PredicateType {
        /// What it says.
        found: String,
    },
    /// A ticket is about one component.
    #[error("ticket has {found} subjects, expected exactly one")]
    SubjectCount {
        /// How many there are.
        found: usize,
    },
    /// Meant for another host.
    #[error("ticket is for `{audience}`, this host is `{own}`")]
    Audience {
        /// Whom it is for.
        audience: String,
        /// This host's SPIFFE ID.
        own: String,
    },
    /// Given out by somebody else than the peer that handed it over.
    #[error("ticket is from `{issuer}`, the peer is `{peer}`")]
    Issuer {
        /// Who issued it.
        issuer: String,
        /// The TLS peer's SPIFFE ID.
        peer: String,
    },
    /// The answer to another question.
    #[error("ticket answers another question: its nonce is not the one that was sent")]
    Nonce,
    /// Taken before.
    #[error("ticket `{id}` was used before")]
    Used {
        /// The ticket.
        id: Uuid,
    },
    /// No room to remember that it is being used.
    #[error("no room to remember ticket `{id}`: {most} tickets are live")]
    TooManyLive {
        /// The ticket.
        id: Uuid,
        /// How many are remembered.
        most: usize,
    },
    /// It ends before it begins, or lives longer than a ticket may.
    #[error("ticket lives from {issued_at} to {expires_at}, expected 1 to {MAX_LIFE_S} seconds")]
    Life {
        /// Seconds since 1970.
        issued_at: i64,
        /// Seconds since 1970.
        expires_at: i64,
    },
    /// Too early.
    #[error("ticket begins at {not_before}, now is {now} (±{CLOCK_SKEW_S} s)")]
    NotYetValid {
        /// Seconds since 1970.
        not_before: i64,
        /// Seconds since 1970.
        now: i64,
    },
    /// Too late.
    #[error("ticket ended at {expires_at}, now is {now} (±{CLOCK_SKEW_S} s)")]
    Expired {
        /// Seconds since 1970.
        expires_at: i64,
        /// Seconds since 1970.
        now: i64,
    },
    /// Other bytes than the ones that were admitted.
    #[error("component is {found}, the ticket is for {expected}")]
    ComponentDigest {
        /// What the ticket says.
        expected: Digest,
        /// What the bytes hash to.
        found: Digest,
    },
    /// More or fewer bytes than the ticket says.
    #[error("component has {found} bytes, the ticket says {expected}")]
    ComponentSize {
        /// What the ticket says.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The bytes are no component this host reads.
    #[error("component is unreadable: {detail}")]
    ComponentUnreadable {
        /// What they are, or where reading stopped.
        detail: String,
    },
    /// The bytes import something else than the ticket says.
    #[error("component imports something else than the ticket says: {}", list(.missing, .unknown))]
    Imports {
        /// Imported, and not in the ticket.
        missing: Vec<String>,
        /// In the ticket, and not imported.
        unknown: Vec<String>,
    },
    /// The component imports what was not granted.
    #[error("{} import(s) are not granted: {}", .imports.len(), backticked(.imports))]
    ImportsNotGranted {
        /// All of them.
        imports: Vec<String>,
    },
    /// The checkpoint is not one of the ticket's log.
    #[error("checkpoint of the ticket does not hold: {detail}")]
    Checkpoint {
        /// What is wrong with it.
        detail: String,
    },
    /// The proof does not lead from the leaf to the checkpoint's root.
    #[error("inclusion proof of leaf {leaf_index} in the tree of size {tree_size} does not hold")]
    LogProof {
        /// The decision's index.
        leaf_index: u64,
        /// The tree's size.
        tree_size: u64,
    },
}

impl TicketRefusal {
    /// The stable code: lower-case words joined by `-`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "ticket-too-large",
            Self::Malformed { .. } | Self::SubjectCount { .. } => "ticket-malformed",
            Self::SignatureCount { .. } => "ticket-signature-count",
            Self::KeyNotPinned { .. } => "ticket-key-not-pinned",
            Self::SignatureInvalid { .. } => "ticket-signature-invalid",
            Self::PayloadType { .. } | Self::StatementType { .. } | Self::PredicateType { .. } => {
                "ticket-type-mismatch"
            }
            Self::VerificationSummary => "ticket-is-summary",
            Self::Audience { .. } => "ticket-audience-mismatch",
            Self::Issuer { .. } => "ticket-issuer-mismatch",
            Self::Nonce => "ticket-nonce-mismatch",
            Self::Used { .. } => "ticket-used",
            Self::TooManyLive { .. } => "ticket-store-full",
            Self::Life { .. } => "ticket-life-invalid",
            Self::NotYetValid { .. } => "ticket-not-yet-valid",
            Self::Expired { .. } => "ticket-expired",
            Self::ComponentDigest { .. } | Self::ComponentSize { .. } => "digest-mismatch",
            Self::ComponentUnreadable { .. } => "component-unreadable",
            Self::Imports { .. } => "ticket-imports-mismatch",
            Self::ImportsNotGranted { .. } => "import-not-granted",
            Self::Checkpoint { .. } => "ticket-checkpoint-invalid",
            Self::LogProof { .. } => "ticket-log-proof-invalid",
        }
    }

    /// The next thing to do, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::KeyNotPinned { .. } | Self::SignatureInvalid { .. } => {
                Some("compare the file given as `--ticket-key` with `ticket.pub` of the gateway")
            }
            Self::Audience { .. } => Some("ask the gateway as the host that runs the component"),
            Self::NotYetValid { .. } | Self::Expired { .. } => Some("compare the clocks of host and gateway"),
            Self::Used { .. } => Some("ask for a new ticket"),
            _ => None,
        }
    }
}

fn backticked(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn list(missing: &[String], unknown: &[String]) -> String {
    let part = |words: &str, names: &[String]| (!names.is_empty()).then(|| format!("{words} {}", backticked(names)));
    [part("not in the ticket", missing), part("not imported", unknown)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}
