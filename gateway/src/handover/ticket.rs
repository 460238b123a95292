//! The one maker of tickets: an admission that is on record, for one host, for minutes.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;
use witgate_host_hook::key::PrivateKey;
use witgate_host_hook::ticket::{self, CLOCK_SKEW_S, MAX_ENVELOPE_BYTES, MAX_LIFE_S, Sha256Hex, Statement};

use super::live::{Full, Live, LiveTickets, RedeemRefusal};
use super::settings::{Settings, StartError, open_key};
use crate::audit::Receipt;
use crate::case::{ComponentFacts, Digest, Purpose, Signer, Timestamp};
use crate::policy::Grant;

/// The most tickets that are live at once: some 300 admissions a second at the longest life.
pub const MAX_LIVE_TICKETS: usize = 100_000;
/// How many of them one host may have; past it its own oldest one ends. It starts components one by one, in seconds.
pub const MAX_LIVE_TICKETS_A_HOST: usize = 5_000;
/// The rule that decides (design, "Policy contract").
const ENTRYPOINT: &str = "data.witgate.admission";

/// Signs tickets and remembers those that may still fetch their bytes.
#[derive(Debug)]
pub struct Handover {
    key: PrivateKey,
    life_s: i64,
    issuer: String,
    live: LiveTickets,
}

/// A signed ticket; only [`Handover::ticket`] makes it.
#[derive(Clone, Debug)]
pub struct Ticket {
    envelope: Value,
    id: Uuid,
    expires_at: Timestamp,
}

/// Why an admitted caller gets no ticket: nobody is admitted, and the door answers as for an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketFault {
    /// Grant and receipt are of different decisions: a bug of whoever brought them together.
    #[error("grant is of decision `{grant}`, receipt of `{receipt}`")]
    OtherDecision {
        /// The grant's decision.
        grant: Uuid,
        /// The receipt's decision.
        receipt: Uuid,
    },
    /// No host would read it.
    #[error("ticket of {size_bytes} bytes is larger than {MAX_ENVELOPE_BYTES} bytes")]
    TooLarge {
        /// What it would have had.
        size_bytes: usize,
    },
    /// `MAX_LIVE_TICKETS` are live.
    #[error("{MAX_LIVE_TICKETS} tickets are live already")]
    TooManyLive,
    /// The clock stands where no ticket's times can be written.
    #[error("the clock stands at `{now}`")]
    Clock {
        /// What it says.
        now: Timestamp,
    },
}

impl Handover {
    /// Opens the ticket key (see [`Settings::ticket_key`]). Tickets will say that they come from `issuer`, the gateway's
    /// SPIFFE ID in canonical form.
    ///
    /// # Errors
    /// [`StartError`] when the key cannot be used or a setting is out of range.
    pub fn open(settings: &Settings, data_dir: &Path, issuer: String) -> Result<Self, StartError> {
        let life_s = i64::from(settings.ticket_life_s);
        if !(1..=MAX_LIFE_S).contains(&life_s) {
            return Err(StartError::Life { found: settings.ticket_life_s });
        }
        if issuer.is_empty() {
            return Err(StartError::NoIssuer);
        }
        let key = open_key(settings, data_dir)?;
        Ok(Self { key, life_s, issuer, live: LiveTickets::bounded(MAX_LIVE_TICKETS, MAX_LIVE_TICKETS_A_HOST) })
    }

    /// A new ticket for what `grant` admits and `receipt` records; `None` for a dry run, which hands nothing over, for a pull,
    /// which [`super::Pulls`] hands over, and for what is pulled by hosts only: applications of several components, native code.
    ///
    /// # Errors
    /// [`TicketFault`]: nobody is admitted.
    pub fn ticket(&self, grant: &Grant, receipt: &Receipt, now: Timestamp) -> Result<Option<Ticket>, TicketFault> {
        if grant.decision() != receipt.decision() {
            return Err(TicketFault::OtherDecision { grant: grant.decision(), receipt: receipt.decision() });
        }
        match grant.purpose() {
            Purpose::DryRun | Purpose::Pull => return Ok(None),
            Purpose::Admission => {}
        }
        let Some((component, world)) = grant.component() else { return Ok(None) };
        let issued_at = now.as_second();
        let expires_at = Timestamp::from_second(issued_at.saturating_add(self.life_s));
        let (Ok(expires_at), Ok(unix_s)) = (expires_at, u64::try_from(issued_at)) else {
            return Err(TicketFault::Clock { now });
        };
        let id =
            Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, unix_s, now.subsec_nanosecond().unsigned_abs()));
        let statement = self.statement(grant, component, world, receipt, id, issued_at);
        let envelope = ticket::sign(&self.key, &statement)
            .map_err(|ticket::TooLarge { size_bytes }| TicketFault::TooLarge { size_bytes })?;
        let live = Live {
            decision: grant.decision(),
            audience: grant.audience().to_owned(),
            component: component.digest,
            expires_at,
        };
        self.live.insert(id, live, now).map_err(|Full| TicketFault::TooManyLive)?;
        Ok(Some(Ticket { envelope, id, expires_at }))
    }

    /// Withdraws every live ticket: none of them fetches bytes any more, and hosts ask again.
    pub fn withdraw_all(&self) {
        self.live.clear();
    }

    /// The decisions that live tickets stand on.
    pub fn live_decisions(&self, now: Timestamp) -> BTreeSet<Uuid> {
        self.live.decisions(now)
    }

    /// Withdraws the live tickets of one decision.
    pub fn withdraw(&self, decision: Uuid) {
        self.live.withdraw(decision);
    }

    /// Whether `caller_id`, as proven by `identity`, may have the bytes of `component` for the ticket it names.
    ///
    /// # Errors
    /// [`RedeemRefusal`]: it gets nothing.
    pub fn redeem(
        &self,
        ticket_id: &str,
        caller_id: &str,
        component: &Digest,
        now: Timestamp,
    ) -> Result<(), RedeemRefusal> {
        self.live.redeem(ticket_id, caller_id, component, now)
    }

    /// The public half of the ticket key as SPKI PEM: what hosts pin.
    pub fn public_key_pem(&self) -> String {
        self.key.public().to_spki_pem()
    }

    /// The ticket key's name in an envelope.
    pub fn keyid(&self) -> String {
        self.key.public().keyid()
    }

    fn statement(
        &self,
        grant: &Grant,
        component: &ComponentFacts,
        world: &Digest,
        receipt: &Receipt,
        id: Uuid,
        issued_at: i64,
    ) -> Statement {
        let mut signers: Vec<_> = grant.signers().iter().map(signer).collect();
        signers.sort();
        signers.dedup();
        let predicate = ticket::Predicate {
            ticket_id: id,
            decision_id: grant.decision(),
            issuer: self.issuer.clone(),
            audience: grant.audience().to_owned(),
            nonce: None,
            issued_at,
            not_before: issued_at - CLOCK_SKEW_S,
            expires_at: issued_at + self.life_s,
            component: ticket::Component {
                manifest_digest: *grant.artifact(),
                media_type: component.media_type.clone(),
                size: component.size_bytes,
                wit_digest: *world,
            },
            imports: grant.imports().to_vec(),
            grants: grant.grants().clone(),
            policy: ticket::Policy {
                bundle_digest: grant.policy().digest,
                data_digest: None,
                entrypoint: ENTRYPOINT.to_owned(),
                verdict: ticket::Verdict::Admit,
            },
            signers,
            log: ticket::Log {
                origin: receipt.origin().to_owned(),
                tree_size: receipt.tree_size(),
                leaf_index: receipt.index(),
                leaf_hash: Sha256Hex(*receipt.leaf_hash()),
                proof: receipt.proof().iter().map(|hash| Sha256Hex(Digest::from_bytes(*hash))).collect(),
                checkpoint: receipt.checkpoint().to_owned(),
            },
        };
        Statement::new(grant.repository(), component.digest, predicate)
    }
}

impl Ticket {
    /// The DSSE envelope, as it stands in the answer to the host.
    pub fn envelope(&self) -> &Value {
        &self.envelope
    }

    /// The id that fetches the bytes.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The end of the time to start.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

fn signer(signer: &Signer) -> ticket::Signer {
    match signer {
        Signer::Keyless { issuer, san, .. } => {
            ticket::Signer::Keyless { issuer: issuer.clone(), san: san.value.clone() }
        }
        Signer::Key { keyid, .. } => ticket::Signer::Key { keyid: keyid.clone() },
        Signer::Certificate { authority, san } => {
            ticket::Signer::Certificate { authority: authority.clone(), san: san.value.clone() }
        }
        Signer::LegacyNkey { issuer, .. } => ticket::Signer::LegacyNkey { issuer: issuer.clone() },
    }
}

#[cfg(test)]
mod tests;
