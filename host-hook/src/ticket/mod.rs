//! The ticket: what the gateway signs for one host, once, for a few minutes.
//!
//! A DSSE envelope around an in-toto statement with one Ed25519 signature; `docs/ticket.md` has it to the byte. The
//! gateway calls [`sign`], a host calls [`verify()`], and nothing but [`verify()`] makes a [`VerifiedTicket`].

mod envelope;
mod inclusion;
mod refusal;
mod statement;
mod used;
mod verify;

pub use envelope::{Envelope, PAYLOAD_TYPE, SignedTicket, TooLarge, parse, sign};
pub use inclusion::{CheckpointKey, InvalidCheckpointKey};
pub use refusal::TicketRefusal;
pub use statement::{
    Component, Log, PREDICATE_TYPE, Policy, Predicate, STATEMENT_TYPE, Sha256Hex, Signer, Statement, Subject,
    SubjectDigest, VSA_PREDICATE_TYPE, Verdict,
};
pub use used::{Replay, UsedTickets};
pub use verify::{Expectations, Freshness, LogTrust, PinnedKeys, VerifiedTicket, verify};

/// The largest envelope, in bytes: 64 KiB, room for some 400 import names said twice.
pub const MAX_ENVELOPE_BYTES: usize = 64 << 10;
/// The longest time between issue and expiry, in seconds: five minutes to start (design, "Ticket").
pub const MAX_LIFE_S: i64 = 300;
/// How far the clocks of gateway and host may lie apart, in seconds.
pub const CLOCK_SKEW_S: i64 = 5;
