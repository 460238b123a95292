//! Which fields of a body say who somebody is.

use serde_json::Value;

/// Committed whenever they are there: who asked, who signed, what an unverified bundle says about its signer.
const ALWAYS: &[&str] = &[
    "/case/caller/id",
    "/case/evidence/findings/*/signer/san/value",
    "/case/evidence/findings/*/detail",
    "/case/break_glass/justification",
];

/// Texts that may quote a person or a workload; committed when they do. `**` is a value with everything in it.
const WHEN_PERSONAL: &[&str] = &[
    "/case/host",
    "/case/links/*",
    "/case/artifact/annotations/*",
    "/case/artifact/defects/*/about",
    "/case/artifact/defects/*/detail",
    "/case/evidence/revoked/*/about",
    "/case/evidence/revoked/*/detail",
    "/case/evidence/findings/*/predicate/**",
    "/case/evidence/findings/*/signer/claims/*",
    "/case/evidence/findings/*/source/name",
    "/case/surface/detail",
    "/decision/grants/config/*/value",
    "/decision/reasons/*/about",
    "/decision/reasons/*/detail",
    "/decision/reasons/*/hint",
    "/decision/warnings/*/about",
    "/decision/warnings/*/detail",
    "/decision/warnings/*/hint",
    "/decision/would_refuse/*/about",
    "/decision/would_refuse/*/detail",
    "/decision/would_refuse/*/hint",
    "/detail/**",
];

/// Committed whole when anything in it quotes a person or a workload: it is read back as a type, which no part may leave.
const WHOLE_WHEN_PERSONAL: &[&str] = &["/case/evidence/findings/*/attests"];

/// Where foreign JSON stands: its numbers are not ours to bound.
pub(super) const FOREIGN_JSON: &[&str] = &["/case/evidence/findings/*/predicate/**", "/detail/**"];

/// A name shorter than this is not looked for inside other texts: it would be found everywhere.
const MIN_NAME_BYTES: usize = 3;

/// The most fields committed one by one inside one value of foreign JSON; past it the whole value is one field, so that no
/// attestation can fill the log with rows.
const MAX_FIELDS_EACH: usize = 64;

/// How much text is searched for names, in bytes times names: past it every further text counts as personal. Anybody may
/// attach many signatures with many names to a component.
const MAX_SEARCHED_BYTES: usize = 256 << 20;

/// The pointers (RFC 6901) of the fields to commit, sorted, none inside another.
pub(super) fn fields(body: &Value) -> Vec<String> {
    let mut names = Names::of(body, MAX_SEARCHED_BYTES);
    let mut pointers = Vec::new();
    for pattern in ALWAYS {
        expand(body, pattern, &mut |pointer, value| {
            if value.is_string() {
                pointers.push(pointer.to_owned());
            }
        });
    }
    for pattern in WHOLE_WHEN_PERSONAL {
        expand(body, pattern, &mut |pointer, value| {
            let mut found = Vec::new();
            find(pointer, value, &mut names, &mut found);
            if !found.is_empty() {
                pointers.push(pointer.to_owned());
            }
        });
    }
    for pattern in WHEN_PERSONAL {
        expand(body, pattern, &mut |pointer, value| {
            let mut found = Vec::new();
            find(pointer, value, &mut names, &mut found);
            if found.len() > MAX_FIELDS_EACH {
                found = vec![pointer.to_owned()];
            }
            pointers.append(&mut found);
        });
    }
    pointers.sort();
    pointers.dedup();
    pointers
}

/// Visits every value that `pattern` names.
pub(super) fn expand(value: &Value, pattern: &str, visit: &mut impl FnMut(&str, &Value)) {
    fn step(value: &Value, pattern: &str, pointer: &str, visit: &mut impl FnMut(&str, &Value)) {
        let Some(rest) = pattern.strip_prefix('/') else { return visit(pointer, value) };
        let (segment, rest) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        match (segment, value) {
            ("**", _) => visit(pointer, value),
            ("*", Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    step(item, rest, &format!("{pointer}/{at}"), visit);
                }
            }
            ("*", Value::Object(members)) => {
                for (key, member) in members {
                    step(member, rest, &format!("{pointer}/{}", escape(key)), visit);
                }
            }
            (key, Value::Object(members)) => {
                if let Some(member) = members.get(key) {
                    step(member, rest, &format!("{pointer}/{key}"), visit);
                }
            }
            _ => {}
        }
    }
    step(value, pattern, "", visit);
}

/// The people and workloads that a body names, and how much may still be searched for them.
struct Names {
    list: Vec<String>,
    left_bytes: usize,
}

impl Names {
    fn of(body: &Value, budget_bytes: usize) -> Self {
        let mut list = Vec::new();
        let caller = &body["case"]["caller"];
        if caller["kind"] != "local" {
            list.extend(caller["id"].as_str().map(str::to_owned));
        }
        list.extend(body["case"]["host"].as_str().filter(|host| host.starts_with("spiffe://")).map(str::to_owned));
        expand(body, "/case/evidence/findings/*/signer/san/value", &mut |_, value| {
            list.extend(value.as_str().map(str::to_owned));
        });
        list.retain(|name| name.len() >= MIN_NAME_BYTES);
        list.sort();
        list.dedup();
        Self { list, left_bytes: budget_bytes }
    }

    fn is_personal(&mut self, text: &str) -> bool {
        let cost = text.len().saturating_mul(self.list.len() + 2);
        let Some(left_bytes) = self.left_bytes.checked_sub(cost) else {
            self.left_bytes = 0;
            return true;
        };
        self.left_bytes = left_bytes;
        text.contains("spiffe://") || has_email(text) || self.list.iter().any(|name| text.contains(name.as_str()))
    }
}

fn find(pointer: &str, value: &Value, names: &mut Names, pointers: &mut Vec<String>) {
    match value {
        Value::String(text) if names.is_personal(text) => pointers.push(pointer.to_owned()),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                find(&format!("{pointer}/{at}"), item, names, pointers);
            }
        }
        // A key cannot be committed alone: the whole object goes.
        Value::Object(members) if members.keys().any(|key| names.is_personal(key)) => {
            pointers.push(pointer.to_owned());
        }
        Value::Object(members) => {
            for (key, member) in members {
                find(&format!("{pointer}/{}", escape(key)), member, names, pointers);
            }
        }
        _ => {}
    }
}

/// Whether a text holds something like `word@host.tld`. Import names (`wasi:io/poll@0.2.3`) and digests (`@sha256:…`) do
/// not end in letters behind a dot.
fn has_email(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| {
        let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-');
        let host_length = text.as_bytes()[at + 1..].iter().take_while(|b| word(b)).count();
        let host = text.get(at + 1..at + 1 + host_length).unwrap_or_default().trim_end_matches('.');
        let ending = host.rsplit_once('.').map_or("", |(_, ending)| ending);
        let before = text.as_bytes()[..at].last().is_some_and(word);
        before && ending.len() >= 2 && ending.bytes().all(|b| b.is_ascii_alphabetic())
    })
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_who_asked_who_signed_and_every_text_that_quotes_them() {
        let body = json!({
            "case": {
                "caller": {"kind": "x509-svid", "id": "spiffe://acme/ns/shop", "trust_domain": "acme"},
                "host": "spiffe://acme/host/1",
                "links": ["cart", "to spiffe://acme/x"],
                "reference": {"text": "localhost:5000/acme/cart:1"},
                "artifact": {"annotations": {"org.opencontainers.image.authors": "Ann <ann@example.com>", "a/b": "c"}},
                "evidence": {"findings": [
                    {"status": "verified", "signer": {"san": {"value": "https://ci.example/job"}, "claims": {"run": "https://ci.example/job@7", "ref": "main"}},
                     "predicate": {"builder": {"id": "https://ci.example/job"}, "deep": [{"https://ci.example/job": 1}], "n": 1}},
                    {"status": "rejected", "detail": "signed by somebody"},
                ]},
            },
            "decision": {"reasons": [
                {"code": "identity-mismatch", "about": "https://ci.example/job", "detail": "policy wants another"},
                {"code": "import-not-granted", "about": "wasi:sockets/tcp@0.2.3", "detail": "not granted to `spiffe://acme/ns/shop`"},
            ]},
        });
        assert_eq!(
            fields(&body),
            [
                "/case/artifact/annotations/org.opencontainers.image.authors",
                "/case/caller/id",
                "/case/evidence/findings/0/predicate/builder/id",
                "/case/evidence/findings/0/predicate/deep/0",
                "/case/evidence/findings/0/signer/claims/run",
                "/case/evidence/findings/0/signer/san/value",
                "/case/evidence/findings/1/detail",
                "/case/host",
                "/case/links/1",
                "/decision/reasons/0/about",
                "/decision/reasons/1/detail",
            ]
        );
    }

    #[test]
    fn the_local_caller_is_not_looked_for_in_other_texts() {
        let body =
            json!({"case": {"caller": {"kind": "local", "id": "local"}, "host": "local", "links": ["localhost"]}});
        assert_eq!(fields(&body), ["/case/caller/id"]);
    }

    #[test]
    fn a_statement_full_of_people_is_one_field() {
        let body =
            |people: usize| json!({"case": {"evidence": {"findings": [{"predicate": vec!["a@b.example"; people]}]}}});
        assert_eq!(fields(&body(MAX_FIELDS_EACH)).len(), MAX_FIELDS_EACH);
        assert_eq!(fields(&body(MAX_FIELDS_EACH + 1)), ["/case/evidence/findings/0/predicate"]);
    }

    #[test]
    fn who_was_revoked_is_committed_where_it_is_somebody() {
        let revoked = |about: &str| {
            let entry = json!({"code": "revoked", "about": about, "detail": format!("`{about}` is revoked")});
            fields(&json!({"case": {"evidence": {"revoked": [entry]}}}))
        };
        let caller = revoked("spiffe://acme.example/host/a");
        assert_eq!(caller, ["/case/evidence/revoked/0/about", "/case/evidence/revoked/0/detail"]);
        assert_eq!(revoked("sha256:00"), Vec::<String>::new());
    }

    #[test]
    fn what_an_attestation_says_is_one_field_or_none() {
        let body = |author: &str| {
            let attests = json!({"type": "vex", "author": author, "statements": [{"vulnerability": "CVE-1"}]});
            json!({"case": {"evidence": {"findings": [{"attests": attests}]}}})
        };
        assert_eq!(fields(&body("security@acme.example")), ["/case/evidence/findings/0/attests"]);
        assert_eq!(fields(&body("the security team")), Vec::<String>::new());
    }

    #[test]
    fn past_the_search_budget_every_text_is_committed() {
        let body = json!({"case": {"caller": {"id": "spiffe://a/b"}, "links": ["four", "more"]}});
        let within = |budget_bytes| {
            let (mut names, mut pointers) = (Names::of(&body, budget_bytes), Vec::new());
            expand(&body, "/case/links/*", &mut |pointer, value| find(pointer, value, &mut names, &mut pointers));
            pointers.len()
        };
        // One name and the two patterns: each byte counts three times.
        assert_eq!(within(24), 0);
        assert_eq!(within(23), 1);
        assert_eq!(within(11), 2);
    }

    #[test]
    fn tells_addresses_from_versions_and_digests() {
        for text in ["ann@example.com", "by ann.b+c@mail.example.com.", "<a@b.co>"] {
            assert!(has_email(text), "`{text}`");
        }
        for text in ["wasi:io/poll@0.2.3", "cart@sha256:00", "a @b.co", "@", "a@", "a@b", "a@b.c", "é@", "a@é.com"] {
            assert!(!has_email(text), "`{text}`");
        }
    }
}
