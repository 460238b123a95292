//! The host's checks of a ticket, in the order of `docs/ticket.md`; the first that fails is the answer.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::envelope::{SignedTicket, parse};
use super::inclusion::{self, CheckpointKey};
use super::refusal::TicketRefusal;
use super::statement::{Predicate, Statement};
use super::used::{Replay, UsedTickets};
use super::{CLOCK_SKEW_S, MAX_LIFE_S};
use crate::digest::Digest;
use crate::grants::Grants;
use crate::import_name::covers;
use crate::key::PublicKey;
use crate::surface;

/// The keys that may sign tickets, for each gateway by its SPIFFE ID.
#[derive(Clone, Debug, Default)]
pub struct PinnedKeys {
    by_gateway: BTreeMap<String, BTreeMap<String, PublicKey>>,
}

/// What a host knows before it looks at a ticket.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// Whose signatures count.
    pub pinned: &'a PinnedKeys,
    /// This host's *current* SPIFFE ID, as its own SVID says it.
    pub own_id: &'a str,
    /// The gateway's SPIFFE ID, as its verified certificate says it.
    pub tls_peer: &'a str,
    /// Which answer this is.
    pub freshness: Freshness<'a>,
    /// What has been taken already.
    pub used: &'a UsedTickets,
    /// How the checkpoint is judged.
    pub log: LogTrust<'a>,
    /// The time.
    pub now: Timestamp,
    /// The component's bytes as received.
    pub component: &'a Bytes,
}

/// What ties a ticket to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness<'a> {
    /// No nonce was sent: the ticket must have none, and its id must be new.
    TicketId,
    /// This nonce was sent: the ticket must repeat it, and its id must be new.
    Nonce(&'a str),
}

/// Who vouches for the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTrust<'a> {
    /// The ticket's own signature: the proof must lead to the checkpoint that the gateway signed into the ticket.
    Ticket,
    /// Besides that, the log's pinned key.
    Key(&'a CheckpointKey),
}

/// A ticket that passed every check, with the bytes it passed them with.
#[derive(Clone, Debug)]
pub struct VerifiedTicket {
    signed: SignedTicket,
    component: Bytes,
}

/// Checks `envelope` against what the host knows.
///
/// The ticket is taken (its id is used up) as soon as key, signature, types, audience, issuer and nonce are right, even
/// if a later check fails.
///
/// # Errors
/// The first check that fails.
pub fn verify(envelope: &[u8], expected: &Expectations<'_>) -> Result<VerifiedTicket, TicketRefusal> {
    let signed = parse(envelope)?.open(expected.pinned, expected.tls_peer)?;
    let predicate = &signed.statement().predicate;
    check_parties(predicate, expected)?;
    check_freshness(predicate, expected)?;
    check_times(predicate, expected.now.as_second())?;
    check_component(&signed, expected.component)?;
    check_imports(predicate, expected.component)?;
    let key = match expected.log {
        LogTrust::Ticket => None,
        LogTrust::Key(key) => Some(key),
    };
    inclusion::check(&predicate.log, key)?;
    Ok(VerifiedTicket { signed, component: expected.component.clone() })
}

/// SPIFFE IDs are compared as text: both sides write the canonical form, and any other form is refused.
fn check_parties(predicate: &Predicate, expected: &Expectations<'_>) -> Result<(), TicketRefusal> {
    if predicate.audience != expected.own_id {
        return Err(TicketRefusal::Audience { audience: predicate.audience.clone(), own: expected.own_id.to_owned() });
    }
    if predicate.issuer != expected.tls_peer {
        return Err(TicketRefusal::Issuer { issuer: predicate.issuer.clone(), peer: expected.tls_peer.to_owned() });
    }
    Ok(())
}

fn check_freshness(predicate: &Predicate, expected: &Expectations<'_>) -> Result<(), TicketRefusal> {
    let nonce = match expected.freshness {
        Freshness::TicketId => None,
        Freshness::Nonce(nonce) => Some(nonce),
    };
    if predicate.nonce.as_deref() != nonce {
        return Err(TicketRefusal::Nonce);
    }
    let (id, now) = (predicate.ticket_id, expected.now.as_second());
    // The times are not checked yet: a ticket for the next century takes no more room than an honest one.
    let longest = now.saturating_add(MAX_LIFE_S + 2 * CLOCK_SKEW_S);
    let keep_until = predicate.expires_at.saturating_add(CLOCK_SKEW_S).min(longest);
    expected.used.take(id, keep_until, now).map_err(|replay| match replay {
        Replay::Used => TicketRefusal::Used { id },
        Replay::Full { most } => TicketRefusal::TooManyLive { id, most },
    })
}

fn check_times(predicate: &Predicate, now: i64) -> Result<(), TicketRefusal> {
    let Predicate { issued_at, not_before, expires_at, .. } = *predicate;
    let life = expires_at.checked_sub(issued_at);
    if !life.is_some_and(|life| (1..=MAX_LIFE_S).contains(&life)) {
        return Err(TicketRefusal::Life { issued_at, expires_at });
    }
    if now.saturating_add(CLOCK_SKEW_S) < not_before.max(issued_at) {
        return Err(TicketRefusal::NotYetValid { not_before: not_before.max(issued_at), now });
    }
    if now.saturating_sub(CLOCK_SKEW_S) >= expires_at {
        return Err(TicketRefusal::Expired { expires_at, now });
    }
    Ok(())
}

fn check_component(signed: &SignedTicket, bytes: &[u8]) -> Result<(), TicketRefusal> {
    let (expected, found) = (signed.component(), Digest::of(bytes));
    if expected != found {
        return Err(TicketRefusal::ComponentDigest { expected, found });
    }
    let (expected, found) = (signed.statement().predicate.component.size, bytes.len() as u64);
    if expected != found {
        return Err(TicketRefusal::ComponentSize { expected, found });
    }
    Ok(())
}

fn check_imports(predicate: &Predicate, bytes: &[u8]) -> Result<(), TicketRefusal> {
    for (list, name) in [(&predicate.imports, "imports"), (&predicate.grants.imports, "grants.imports")] {
        if !list.is_sorted_by(|left, right| left < right) {
            let detail = format!("`{name}` is not sorted, or says a name twice");
            return Err(TicketRefusal::Malformed { part: "grants", detail });
        }
    }
    let found =
        surface::read(bytes).map_err(|error| TicketRefusal::ComponentUnreadable { detail: error.to_string() })?;
    let found: BTreeSet<_> = found.imports.iter().map(|import| &import.name).collect();
    let said: BTreeSet<_> = predicate.imports.iter().collect();
    if found != said {
        let names = |set: BTreeSet<&String>| set.into_iter().cloned().collect();
        return Err(TicketRefusal::Imports { missing: names(&found - &said), unknown: names(&said - &found) });
    }
    let granted = |import: &&String| predicate.grants.imports.iter().any(|grant| covers(grant, import));
    let refused: Vec<_> = predicate.imports.iter().filter(|import| !granted(import)).cloned().collect();
    if refused.is_empty() { Ok(()) } else { Err(TicketRefusal::ImportsNotGranted { imports: refused }) }
}

impl PinnedKeys {
    /// No key for anybody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pins `key` for `gateway` (its SPIFFE ID in canonical form), beside those it has: keys overlap when they rotate.
    #[must_use]
    pub fn with(mut self, gateway: &str, key: PublicKey) -> Self {
        self.by_gateway.entry(gateway.to_owned()).or_default().insert(key.keyid(), key);
        self
    }

    /// The key of that name, if it is pinned for `gateway`.
    pub fn key(&self, gateway: &str, keyid: &str) -> Option<&PublicKey> {
        self.by_gateway.get(gateway)?.get(keyid)
    }
}

impl VerifiedTicket {
    /// The component's bytes, which hash to the ticket's digest.
    pub fn component(&self) -> &Bytes {
        &self.component
    }

    /// Their digest.
    pub fn digest(&self) -> Digest {
        self.signed.component()
    }

    /// The digest of the manifest that was decided on.
    pub fn artifact(&self) -> Digest {
        self.statement().predicate.component.manifest_digest
    }

    /// What may be linked, and within which limits.
    pub fn grants(&self) -> &Grants {
        &self.statement().predicate.grants
    }

    /// The ticket's id.
    pub fn id(&self) -> Uuid {
        self.statement().predicate.ticket_id
    }

    /// The decision it carries out.
    pub fn decision(&self) -> Uuid {
        self.statement().predicate.decision_id
    }

    /// Everything that was signed.
    pub fn statement(&self) -> &Statement {
        self.signed.statement()
    }
}

#[cfg(test)]
mod tests;
