//! The trust roots of the configuration: whether they load, and how long they are still believed.

use super::finding::Finding;
use crate::case::Timestamp;
use crate::evidence::{RootSettings, RootSource, Settings, Trust};
use crate::outage::chain;

/// Every root with its age, and whether keys and authorities load beside them.
pub(super) fn check(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    if settings.roots.is_empty() && settings.keys.is_empty() && settings.authorities.is_empty() {
        let found = "nobody is trusted: every signature is rejected";
        return vec![Finding::warn(TRUST, "[evidence]", found)];
    }
    let mut findings: Vec<Finding> = settings.roots.iter().map(|root| of_root(settings, root, now)).collect();
    let is_tuf = |root: &RootSettings| matches!(root.trusted_root, RootSource::Tuf(_));
    if !settings.roots.iter().any(is_tuf) {
        findings.push(match Trust::load(settings) {
            Ok(_) => Finding::ok(TRUST, "[evidence]", "roots, keys and authorities load"),
            Err(fault) => Finding::wrong(TRUST, "[evidence]", chain(&fault)),
        });
    }
    findings
}

fn of_root(settings: &Settings, root: &RootSettings, now: Timestamp) -> Finding {
    let about = format!("root `{}`", root.name);
    if let RootSource::Tuf(source) = &root.trusted_root {
        let why = format!("it comes from `{}`, and the running gateway says its age at `/readyz`", source.tuf);
        return Finding::not_looked_at(ROOT, about, why);
    }
    let alone = Settings {
        roots: vec![root.clone()],
        keys: Vec::new(),
        authorities: Vec::new(),
        revocations: None,
        ..settings.clone()
    };
    let facts = match Trust::load(&alone) {
        Ok(trust) => trust.facts(now),
        Err(fault) => return Finding::wrong(ROOT, about, chain(&fault)),
    };
    let age = facts.first().and_then(|fact| Some((fact.age_s, fact.max_age_s?)));
    let Some((age_s, max_age_s)) = age else { return Finding::wrong(ROOT, about, "it has no age") };
    let found = format!("confirmed {} ago, believed for {}", span(age_s), span(max_age_s));
    match age_s {
        _ if age_s > max_age_s => Finding::wrong(ROOT, about, format!("{found}: nothing is admitted"))
            .with_fix("fetch it anew from where it came, or let it be refreshed", refreshed(&root.name)),
        _ if age_s > max_age_s / 5 * 4 => {
            Finding::warn(ROOT, about, format!("{found}: nothing is admitted after that"))
                .with_fix("fetch it anew from where it came, or let it be refreshed", refreshed(&root.name))
        }
        _ => Finding::ok(ROOT, about, found),
    }
}

/// The form of a root that renews itself.
fn refreshed(name: &str) -> String {
    format!(
        "[[evidence.roots]]\nname = \"{name}\"\n\
         trusted_root = {{ tuf = \"https://tuf-repo-cdn.sigstore.dev\", root = \"/etc/witgate/tuf-root.json\" }}\n"
    )
}

/// Days, hours or seconds, whichever is whole enough.
fn span(seconds: u64) -> String {
    match seconds {
        0..=7_199 => format!("{seconds} s"),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// One root.
const ROOT: &str = "trust-root";
/// All of them, with keys and authorities.
const TRUST: &str = "trust";

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::evidence::InlineRoot;

    fn aged(age_s: i64) -> Finding {
        let json = include_str!("../../../../keys/public-good.trusted_root.json").to_owned();
        let refreshed_at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let source = RootSource::Inline(InlineRoot { json, refreshed_at });
        let settings = Settings { roots: vec![RootSettings::new("public-good", source)], ..Settings::default() };
        check(&settings, refreshed_at + jiff::SignedDuration::from_secs(age_s)).remove(0)
    }

    #[test]
    fn a_root_past_its_age_is_wrong_and_one_near_it_is_told() {
        const DAY_S: i64 = 86_400;
        for (age_s, level) in [
            (0, Level::Ok),
            (24 * DAY_S, Level::Ok),
            (24 * DAY_S + 1, Level::Warn),
            (30 * DAY_S, Level::Warn),
            (30 * DAY_S + 1, Level::Wrong),
        ] {
            assert_eq!(aged(age_s).level, level, "{age_s} s");
        }
        assert_eq!(aged(31 * DAY_S).found, "confirmed 31 days ago, believed for 30 days: nothing is admitted");
        assert!(aged(31 * DAY_S).fix.is_some());
    }

    #[test]
    fn a_root_that_does_not_load_is_wrong_and_nobody_trusted_is_told() {
        let source = RootSource::File("nowhere.json".into());
        let settings = Settings { roots: vec![RootSettings::new("x", source)], ..Settings::default() };
        let findings = check(&settings, Timestamp::UNIX_EPOCH);
        assert!(findings.iter().all(|finding| finding.level == Level::Wrong), "{findings:?}");
        assert!(findings[0].found.contains("nowhere.json"), "{findings:?}");
        assert_eq!(check(&Settings::default(), Timestamp::UNIX_EPOCH)[0].level, Level::Warn);
    }
}
