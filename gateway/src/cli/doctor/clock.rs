//! Whether the clock can be right, by what this machine wrote down before; nobody outside is asked.

use std::path::Path;

use super::finding::Finding;
use crate::audit::{Order, Query, Reader};
use crate::case::Timestamp;
use crate::config::Config;
use crate::evidence::RootSource;
use crate::outage::chain;

/// Something that was dated before now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) what: String,
    pub(super) at: Timestamp,
}

/// The marks that a gateway leaves: its newest record, and the files it reads. A log that cannot be read is a finding.
pub(super) async fn marks(config: &Config, file: Option<&Path>) -> (Vec<Mark>, Option<Finding>) {
    let (mut marks, mut unread) = (Vec::new(), None);
    let roots = config.evidence.roots.iter().filter_map(|root| match &root.trusted_root {
        RootSource::File(path) => Some(path.as_path()),
        RootSource::Tuf(_) | RootSource::Inline(_) => None,
    });
    for path in file.into_iter().chain(roots) {
        let modified = path.metadata().and_then(|found| found.modified()).ok();
        if let Some(at) = modified.and_then(|modified| Timestamp::try_from(modified).ok()) {
            marks.push(Mark { what: format!("`{}` was changed", path.display()), at });
        }
    }
    let database = config.audit.database_path(&config.data_dir);
    if database.exists() {
        match newest_record(&database).await {
            Ok(at) => marks.extend(at.map(|at| Mark { what: "the newest record of the log was written".into(), at })),
            Err(why) => {
                unread =
                    Some(Finding::wrong(LOG, database.display().to_string(), format!("the log cannot be read: {why}")));
            }
        }
    }
    (marks, unread)
}

async fn newest_record(database: &Path) -> Result<Option<Timestamp>, String> {
    let reader = Reader::open(database).await.map_err(|fault| chain(&fault))?;
    let query = Query { order: Order::NewestFirst, limit: 1, ..Query::default() };
    let records = reader.list(&query).await.map_err(|outage| outage.chain());
    reader.close().await;
    Ok(records?.first().map(|record| record.committed_at))
}

/// Whether `now` comes after all of them.
pub(super) fn check(now: Timestamp, marks: &[Mark]) -> Finding {
    let about = format!("{now:.0}");
    let Some(latest) = marks.iter().max_by_key(|mark| mark.at) else {
        return Finding::not_looked_at(CLOCK, about, "there is no log and no file yet to compare it with");
    };
    let ahead_s = latest.at.duration_since(now).as_secs();
    let Mark { what, at } = latest;
    if ahead_s > TOLERANCE_S {
        let found = format!(
            "the clock is behind: {what} at {at:.0}, in {ahead_s} s; time-stamps, roots and certificates are judged by it"
        );
        return Finding::wrong(CLOCK, about, found).with_fix("set it, and keep it so", "timedatectl set-ntp true\n");
    }
    Finding::ok(
        CLOCK,
        about,
        format!("not behind what was written here: {what} at {at:.0}; whether it is ahead, nobody here can tell"),
    )
}

/// How far a clock may be set back in passing, in seconds.
const TOLERANCE_S: i64 = 5;
/// The clock.
const CLOCK: &str = "clock";
/// The log that dates it.
const LOG: &str = "log";

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a10_3_a_clock_behind_the_log_is_told() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mark = |what: &str, s: i64| Mark { what: what.into(), at: now + jiff::SignedDuration::from_secs(s) };
        assert_eq!(check(now, &[]).level, Level::NotLookedAt);
        assert_eq!(check(now, &[mark("x", -3)]).level, Level::Ok);
        assert_eq!(check(now, &[mark("x", TOLERANCE_S)]).level, Level::Ok);
        assert_eq!(check(now, &[mark("x", TOLERANCE_S + 1)]).level, Level::Wrong);
        let told = check(
            now,
            &[mark("an old file was changed", -86_400), mark("the newest record of the log was written", 86_400)],
        );
        insta::assert_snapshot!(told.found, @"the clock is behind: the newest record of the log was written at 2026-03-02T12:00:00Z, in 86400 s; time-stamps, roots and certificates are judged by it");
    }
}
