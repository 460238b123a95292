//! What the policy answered, held to its shape.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::case::{ConfigEntry, Limits};
use crate::reason::{Code, Reason};

/// The answer of `package witgate.admission`, not yet a verdict.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub admit: bool,
    pub refuse: Vec<Reason>,
    pub warn: Vec<Reason>,
    pub grants: Option<AnsweredGrants>,
}

/// What policy grants: patterns, not yet the names a ticket lists.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AnsweredGrants {
    pub imports: Vec<String>,
    pub links: Vec<String>,
    pub config: Vec<ConfigEntry>,
    pub limits: Limits,
    pub lifetime_s: Option<u64>,
    /// Native code may run, of which nobody knows what it touches.
    pub native: bool,
}

impl Answer {
    /// Reads an answer, or says what is wrong with it.
    pub fn read(value: Value) -> Result<Self, String> {
        // serde takes a list for a struct; the contract does not.
        let is_object = |value: &Value| value.is_object();
        let reasons = ["refuse", "warn"].iter().filter_map(|name| value.get(name)?.as_array()).flatten();
        let grants = value.get("grants").filter(|grants| !grants.is_null());
        if !value.is_object() || !reasons.chain(grants).all(is_object) {
            return Err("answered the wrong shape: expected objects as reasons and grants".into());
        }
        let answer: Self =
            serde_json::from_value(value).map_err(|error| format!("answered the wrong shape: {error}"))?;
        if let Some(grants) = &answer.grants {
            grants.check()?;
        }
        Ok(answer)
    }
}

impl Answer {
    /// Reads a set of reasons alone.
    pub fn read_reasons(refuse: Value) -> Result<Vec<Reason>, String> {
        let mut answer = json!({"admit": false, "warn": [], "grants": null});
        answer["refuse"] = refuse;
        Self::read(answer).map(|answer| answer.refuse)
    }
}

impl AnsweredGrants {
    /// What several bundles grant together: the imports and links are covered by each one by itself, and so is native code;
    /// limits are the smallest. `None` where none grants anything.
    ///
    /// # Errors
    /// Two values for one key of the configuration.
    pub fn meet(granting: Vec<Self>) -> Result<Option<Self>, String> {
        let Some(together) = granting.into_iter().reduce(|mut one, other| {
            one.imports.extend(other.imports);
            one.links.extend(other.links);
            one.config.extend(other.config.into_iter().filter(|entry| !one.config.contains(entry)).collect::<Vec<_>>());
            one.limits = Limits {
                memory_bytes: one.limits.memory_bytes.min(other.limits.memory_bytes),
                fuel: one.limits.fuel.min(other.limits.fuel),
                timeout_ms: one.limits.timeout_ms.min(other.limits.timeout_ms),
            };
            one.lifetime_s = [one.lifetime_s, other.lifetime_s].into_iter().flatten().min();
            one.native &= other.native;
            one
        }) else {
            return Ok(None);
        };
        together.check_config()?;
        Ok(Some(together))
    }

    fn check_config(&self) -> Result<(), String> {
        let mut keys: Vec<_> = self.config.iter().map(|entry| &entry.key).collect();
        keys.sort();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("grants configuration `{}` two values", pair[0].escape_debug())),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.check_config()?;
        let Limits { memory_bytes, fuel, timeout_ms } = self.limits;
        if [memory_bytes, fuel, timeout_ms].contains(&0) || self.lifetime_s == Some(0) {
            return Err("grants a limit of 0".into());
        }
        for (what, found) in
            [("imports", self.imports.len()), ("links", self.links.len()), ("config", self.config.len())]
        {
            if found > MAX_GRANTED {
                return Err(format!("grants {found} {what}, at most {MAX_GRANTED} are taken"));
            }
        }
        Ok(())
    }
}

/// The reasons as they are recorded: sorted, each once, at most [`MAX_REASONS`], each text cut to its limit.
///
/// Texts may come from signers and from components, so control characters are shown as escapes.
pub(super) fn bounded(mut reasons: Vec<Reason>) -> Vec<Reason> {
    for reason in &mut reasons {
        reason.about = cut(&reason.about, MAX_ABOUT_BYTES);
        reason.detail = cut(&reason.detail, MAX_DETAIL_BYTES);
        reason.hint = reason.hint.take().map(|hint| cut(&hint, MAX_HINT_BYTES));
    }
    reasons.sort();
    reasons.dedup();
    let more = reasons.len().saturating_sub(MAX_REASONS);
    if more > 0 {
        // What is left out must not hide a kind of reason: the first of each code goes in front.
        let mut seen = std::collections::BTreeSet::<Code>::new();
        let (mut kept, rest): (Vec<_>, Vec<_>) =
            reasons.into_iter().partition(|reason| seen.insert(reason.code.clone()));
        kept.extend(rest);
        kept.truncate(MAX_REASONS);
        if let Some(last) = kept.last_mut() {
            last.detail = format!("{} (and {more} more reasons)", cut(&last.detail, MAX_DETAIL_BYTES - MORE_BYTES));
        }
        kept.sort();
        return kept;
    }
    reasons
}

fn cut(text: &str, max_bytes: usize) -> String {
    let mut kept = String::new();
    for character in text.chars() {
        let shown = if character.is_control() { character.escape_debug().to_string() } else { character.to_string() };
        if kept.len() + shown.len() > max_bytes - '…'.len_utf8() {
            kept.push('…');
            break;
        }
        kept.push_str(&shown);
    }
    kept
}

/// Reasons of one decision: so many codes fit an audit entry.
pub(super) const MAX_REASONS: usize = 32;
/// What a reason is about, in bytes: an import name or a SAN.
const MAX_ABOUT_BYTES: usize = 512;
/// A reason's detail, in bytes.
const MAX_DETAIL_BYTES: usize = 2048;
/// A reason's hint, in bytes.
const MAX_HINT_BYTES: usize = 512;
/// Room for the words that say how many reasons were left out, in bytes.
const MORE_BYTES: usize = 64;
/// Entries in each list of a grant.
const MAX_GRANTED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_the_contract() {
        let good = json!({"admit": true, "refuse": [], "warn": [], "grants": {"imports": ["run"]}});
        assert!(Answer::read(good.clone()).is_ok());
        for (field, value) in [
            ("admit", json!("true")),
            ("admit", json!(1)),
            ("admit", json!(null)),
            ("refuse", json!({})),
            ("refuse", json!(["no"])),
            ("refuse", json!([["x", "", "", null]])),
            ("refuse", json!([{"code": "No Code", "about": "", "detail": ""}])),
            ("refuse", json!([{"code": "x", "about": ""}])),
            ("refuse", json!([{"code": "x", "about": "", "detail": "", "severity": "low"}])),
            ("warn", json!(true)),
            ("grants", json!([])),
            ("grants", json!({"imports": "run"})),
            ("grants", json!({"import": []})),
            ("grants", json!({"native": "yes"})),
            ("grants", json!({"limits": {"fuel": 1.5}})),
            ("grants", json!({"limits": {"fuel": 0}})),
            ("grants", json!({"lifetime_s": 0})),
            ("grants", json!({"config": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]})),
            ("grants", json!({"links": vec!["l"; MAX_GRANTED + 1]})),
            ("else", json!(1)),
        ] {
            let mut answer = good.clone();
            answer[field] = value.clone();
            assert!(Answer::read(answer).is_err(), "`{field}` {value} was taken");
        }
        let full = json!({"admit": true, "refuse": [], "warn": [], "grants": {"links": vec!["l"; MAX_GRANTED]}});
        assert!(Answer::read(full).is_ok());
    }

    #[test]
    fn no_kind_of_reason_is_hidden_behind_many_of_another() {
        let code = |text: &str| text.parse::<Code>().unwrap();
        let mut reasons: Vec<_> = (0..100).map(|n| Reason::new(code("a"), format!("{n:03}"), "d")).collect();
        reasons.push(Reason::new(code("z"), "last", "d"));
        let kept = bounded(reasons.clone());
        assert_eq!(kept.len(), MAX_REASONS);
        assert!(kept.iter().any(|reason| reason.code == code("z")));
        assert_eq!(kept.iter().filter(|reason| reason.detail.ends_with("(and 69 more reasons)")).count(), 1);
        assert_eq!(bounded(reasons[..MAX_REASONS].to_vec()), reasons[..MAX_REASONS]);
    }

    #[test]
    fn texts_are_cut_at_their_limits_and_cannot_drive_a_terminal() {
        let long = "é".repeat(MAX_DETAIL_BYTES);
        let reason = Reason::new(Code::NOT_ADMITTED, long.clone(), long.clone()).with_hint(long);
        let kept = bounded(vec![reason]).remove(0);
        assert!(kept.about.len() <= MAX_ABOUT_BYTES && kept.detail.len() <= MAX_DETAIL_BYTES);
        assert!(kept.hint.unwrap().len() <= MAX_HINT_BYTES);
        let kept = bounded(vec![Reason::new(Code::NOT_ADMITTED, "a\u{1b}[2Jb\n", "")]).remove(0);
        assert_eq!(kept.about, "a\\u{1b}[2Jb\\n");
    }
}
