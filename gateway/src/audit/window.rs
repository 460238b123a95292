//! A window of the log's decisions, read newest first and a page at a time.

use std::iter::Peekable;
use std::time::Duration;
use std::vec::IntoIter;

use uuid::Uuid;

use super::reader::{Reader, within};
use super::store::{self, DisclosureRow, LogRow};
use super::stored::StoredDecision;
use crate::case::Timestamp;
use crate::outage::Outage;

/// Which decisions, by the time in their ids (UUIDv7): the time of the case, cut to milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of those, the newest so many.
    pub last: Option<u64>,
}

/// The decisions of a window. What is recorded while they are read is newer than the first page and never among them.
#[derive(Debug)]
pub struct Decisions {
    reader: Reader,
    log: LogRow,
    /// The smallest id that belongs to the window.
    first: Uuid,
    /// Goes on below this id.
    before: Uuid,
    left: u64,
}

impl Decisions {
    pub(super) fn new(reader: Reader, log: LogRow, window: &Window) -> Self {
        Self {
            reader,
            log,
            first: window.since.map_or(Uuid::nil(), first_id),
            before: window.until.map_or(Uuid::max(), first_id),
            left: window.last.unwrap_or(u64::MAX),
        }
    }

    /// The origin of the log that is read.
    pub fn origin(&self) -> &str {
        &self.log.origin
    }

    /// The next decisions: at most [`MAX_PAGE_DECISIONS`], and no more than [`MAX_PAGE_BYTES`] of bodies unless one alone is
    /// larger. None are left when it is empty.
    ///
    /// # Errors
    /// The database gave no answer.
    pub async fn next_page(&mut self) -> Result<Vec<StoredDecision>, Outage> {
        let limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(MAX_PAGE_DECISIONS);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (log_id, bounds) = (self.log.log_id, (self.first, self.before));
        let (rows, disclosures) = within("reading the decisions", PAGE_DEADLINE, async {
            let mut connection = self.reader.connection().await?;
            let sizes = store::decision_sizes(&mut connection, log_id, bounds, limit).await?;
            let (Some((newest, _)), Some(oldest)) = (sizes.first(), oldest_that_fits(&sizes)) else {
                return Ok((Vec::new(), Vec::new()));
            };
            let page = (oldest, *newest);
            let rows = store::decisions(&mut connection, log_id, page).await?;
            Ok((rows, store::disclosures_between(&mut connection, page).await?))
        })
        .await?;
        let Some(oldest) = rows.last() else { return Ok(Vec::new()) };
        self.before = oldest.id;
        self.left -= rows.len() as u64;
        let mut disclosures = disclosures.into_iter().peekable();
        Ok(rows
            .into_iter()
            .map(|row| {
                let own = of(row.id, &mut disclosures);
                StoredDecision::new(row, own)
            })
            .collect())
    }
}

/// Takes the disclosures of one entry from those of a page; both go from the newest id down.
fn of(id: Uuid, disclosures: &mut Peekable<IntoIter<DisclosureRow>>) -> Vec<DisclosureRow> {
    // Events between two decisions have disclosures, too.
    while disclosures.next_if(|disclosure| disclosure.id > id).is_some() {}
    std::iter::from_fn(|| disclosures.next_if(|disclosure| disclosure.id == id)).collect()
}

/// The last of the ids, newest first, whose bodies lie within [`MAX_PAGE_BYTES`] together; at least the first.
fn oldest_that_fits(sizes: &[(Uuid, u64)]) -> Option<Uuid> {
    let mut total_bytes = 0;
    let fits = |(at, (_, size_bytes)): &(usize, &(Uuid, u64))| {
        total_bytes += *size_bytes;
        *at == 0 || total_bytes <= MAX_PAGE_BYTES
    };
    sizes.iter().enumerate().take_while(fits).last().map(|(_, (id, _))| *id)
}

/// The smallest id of a time: its milliseconds since 1970, then nothing but zeros (RFC 9562, section 5.7).
fn first_id(time: Timestamp) -> Uuid {
    // The first whole millisecond at or after it: 00:00:00.0005 begins with the ids of 00:00:00.001.
    let milliseconds = time.as_microsecond().max(0).unsigned_abs().div_ceil(1000);
    Uuid::from_u128(u128::from(milliseconds) << 80)
}

/// The most decisions of one page.
pub const MAX_PAGE_DECISIONS: u32 = 64;
/// The most that the bodies of one page take, in bytes, if there is more than one.
pub const MAX_PAGE_BYTES: u64 = 8 << 20;
/// How long one page may take: other incarnations of the log in the same database are walked over.
const PAGE_DEADLINE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_one_body_at_least_and_no_more_than_fit() {
        let id = |n: u64| Uuid::from_u128(u128::from(n));
        let page = |sizes: &[u64]| {
            let sizes: Vec<_> = (0..).zip(sizes).map(|(at, size_bytes)| (id(100 - at), *size_bytes)).collect();
            oldest_that_fits(&sizes)
        };
        assert_eq!(page(&[]), None);
        assert_eq!(page(&[MAX_PAGE_BYTES * 4, 1]), Some(id(100)));
        assert_eq!(page(&[MAX_PAGE_BYTES - 1, 1]), Some(id(99)));
        assert_eq!(page(&[MAX_PAGE_BYTES, 1]), Some(id(100)));
        assert_eq!(page(&[1; 64]), Some(id(37)));
    }

    #[test]
    fn times_begin_with_the_ids_of_their_millisecond() {
        let first = |text: &str| first_id(text.parse().unwrap());
        let id = |text: &str| {
            let milliseconds = text.parse::<Timestamp>().unwrap().as_millisecond().unsigned_abs();
            uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid()
        };
        for (time, within, without) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:04.999Z"),
            ("2026-01-02T03:04:05.0005Z", "2026-01-02T03:04:05.001Z", "2026-01-02T03:04:05Z"),
        ] {
            assert!(id(within) >= first(time), "{time}");
            assert!(id(without) < first(time), "{time}");
        }
        assert_eq!(first("1960-01-01T00:00:00Z"), Uuid::nil());
    }
}
