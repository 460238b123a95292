//! The tickets that may still fetch bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::case::{Digest, Timestamp};

/// Why a ticket does not fetch these bytes; the door answers each with 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemRefusal {
    /// No ticket's id.
    #[error("ticket id is no UUID")]
    NotAnId,
    /// Never given out, expired, or given out before a restart.
    #[error("ticket is not live")]
    NotLive,
    /// Given out to another host.
    #[error("ticket belongs to another host")]
    OtherHost,
    /// Given out for another component.
    #[error("ticket is for another component")]
    OtherComponent,
}

impl RedeemRefusal {
    /// The stable code: `ticket-unknown`, `ticket-host-mismatch` or `ticket-component-mismatch`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnId | Self::NotLive => "ticket-unknown",
            Self::OtherHost => "ticket-host-mismatch",
            Self::OtherComponent => "ticket-component-mismatch",
        }
    }
}

/// What a live ticket gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    pub decision: Uuid,
    pub audience: String,
    pub component: Digest,
    pub expires_at: Timestamp,
}

/// Every live ticket by its id; bounded in all and for each host, expired ones are dropped.
#[derive(Debug)]
pub(super) struct LiveTickets {
    most: usize,
    most_a_host: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: BTreeMap<Uuid, Live>,
    by_end: BTreeSet<(Timestamp, Uuid)>,
    by_host: HashMap<String, BTreeSet<(Timestamp, Uuid)>>,
}

impl Table {
    fn drop_ticket(&mut self, end: Timestamp, id: Uuid) {
        self.by_end.remove(&(end, id));
        let Some(live) = self.by_id.remove(&id) else { return };
        if let Some(theirs) = self.by_host.get_mut(&live.audience) {
            theirs.remove(&(end, id));
            if theirs.is_empty() {
                self.by_host.remove(&live.audience);
            }
        }
    }
}

/// No room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl LiveTickets {
    pub(super) fn bounded(most: usize, most_a_host: usize) -> Self {
        Self { most, most_a_host, table: Mutex::default() }
    }

    /// A host that asks for more than its share loses its own oldest tickets: it can always ask again, and it takes no room
    /// from others.
    pub(super) fn insert(&self, id: Uuid, live: Live, now: Timestamp) -> Result<(), Full> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(end, old)) = table.by_end.first()
            && end <= now
        {
            table.drop_ticket(end, old);
        }
        let theirs = table.by_host.get(&live.audience).filter(|theirs| theirs.len() >= self.most_a_host);
        if let Some(&(end, old)) = theirs.and_then(BTreeSet::first) {
            table.drop_ticket(end, old);
        }
        if table.by_id.len() >= self.most {
            return Err(Full);
        }
        table.by_end.insert((live.expires_at, id));
        table.by_host.entry(live.audience.clone()).or_default().insert((live.expires_at, id));
        table.by_id.insert(id, live);
        Ok(())
    }

    /// The decisions that live tickets stand on, each once.
    pub(super) fn decisions(&self, now: Timestamp) -> BTreeSet<Uuid> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_id.values().filter(|live| now < live.expires_at).map(|live| live.decision).collect()
    }

    /// Forgets the tickets of one decision.
    pub(super) fn withdraw(&self, decision: Uuid) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = table
            .by_id
            .iter()
            .filter(|(_, live)| live.decision == decision)
            .map(|(id, live)| (live.expires_at, *id))
            .collect();
        gone.into_iter().for_each(|(end, id)| table.drop_ticket(end, id));
    }

    /// Forgets every ticket: hosts ask again.
    pub(super) fn clear(&self) {
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = Table::default();
    }

    /// The same ticket may fetch again until it expires: a broken download is no reason to decide anew.
    pub(super) fn redeem(
        &self,
        id: &str,
        caller: &str,
        component: &Digest,
        now: Timestamp,
    ) -> Result<(), RedeemRefusal> {
        let id = Uuid::try_parse(id).map_err(|_| RedeemRefusal::NotAnId)?;
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.by_id.get(&id) {
            Some(live) if now < live.expires_at => {
                if live.audience != caller {
                    return Err(RedeemRefusal::OtherHost);
                }
                if live.component != *component {
                    return Err(RedeemRefusal::OtherComponent);
                }
                Ok(())
            }
            _ => Err(RedeemRefusal::NotLive),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    fn live(expires_at: i64) -> Live {
        Live {
            decision: Uuid::from_u128(1),
            audience: "spiffe://a/host".into(),
            component: Digest::of(b"c"),
            expires_at: second(expires_at),
        }
    }

    #[test]
    fn only_its_host_gets_its_component_in_its_time() {
        let (table, id) = (LiveTickets::bounded(2, 2), Uuid::from_u128(7));
        table.insert(id, live(100), second(0)).unwrap();
        let redeem =
            |id: &str, caller: &str, bytes: &[u8], now: i64| table.redeem(id, caller, &Digest::of(bytes), second(now));
        let text = id.to_string();
        assert_eq!(redeem(&text, "spiffe://a/host", b"c", 99), Ok(()));
        assert_eq!(redeem(&text, "spiffe://a/host", b"c", 99), Ok(()), "a broken download may be repeated");
        assert_eq!(redeem(&text, "spiffe://a/host", b"c", 100), Err(RedeemRefusal::NotLive));
        assert_eq!(redeem(&text, "spiffe://a/other", b"c", 0), Err(RedeemRefusal::OtherHost));
        assert_eq!(redeem(&text, "spiffe://a/host", b"d", 0), Err(RedeemRefusal::OtherComponent));
        assert_eq!(redeem(&Uuid::from_u128(8).to_string(), "spiffe://a/host", b"c", 0), Err(RedeemRefusal::NotLive));
        assert_eq!(redeem("", "spiffe://a/host", b"c", 0), Err(RedeemRefusal::NotAnId));
    }

    #[test]
    fn room_ends_at_the_limit_and_comes_back_with_expiry() {
        let table = LiveTickets::bounded(2, 3);
        table.insert(Uuid::from_u128(1), live(10), second(0)).unwrap();
        table.insert(Uuid::from_u128(2), live(20), second(0)).unwrap();
        assert_eq!(table.insert(Uuid::from_u128(3), live(30), second(9)), Err(Full));
        assert_eq!(table.insert(Uuid::from_u128(3), live(30), second(10)), Ok(()));
    }

    #[test]
    fn a_host_past_its_share_loses_its_own_oldest_ticket() {
        let table = LiveTickets::bounded(9, 2);
        let other = Live { decision: Uuid::from_u128(1), audience: "spiffe://a/other".into(), ..live(5) };
        table.insert(Uuid::from_u128(9), other, second(0)).unwrap();
        for number in 1..=3 {
            table.insert(Uuid::from_u128(number), live(10), second(0)).unwrap();
        }
        let redeem = |id: u128, caller: &str| {
            table.redeem(&Uuid::from_u128(id).to_string(), caller, &Digest::of(b"c"), second(0))
        };
        assert_eq!(redeem(1, "spiffe://a/host"), Err(RedeemRefusal::NotLive));
        assert_eq!(redeem(2, "spiffe://a/host"), Ok(()));
        assert_eq!(redeem(3, "spiffe://a/host"), Ok(()));
        assert_eq!(redeem(9, "spiffe://a/other"), Ok(()), "the other host kept its ticket");
    }
}
