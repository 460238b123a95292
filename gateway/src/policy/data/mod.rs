//! The data documents of `data.witgate`, each checked before a rule reads it.

mod wascap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::LoadError;
use super::bundle::{Bundle, Source};
use super::import_patterns::is_pattern;
use crate::strict_json;

/// The bundle's data with what is merged over it, checked.
///
/// Files of one folder may not say the same thing twice; a folder that is merged over another replaces what it names.
pub(super) fn load(bundle: &Bundle) -> Result<Value, LoadError> {
    let mut data = merge_folder(&bundle.data)?;
    merge_over(&mut data, merge_folder(&bundle.data_over)?);
    check("data", &data)?;
    Ok(Value::Object(data))
}

fn merge_folder(files: &[Source]) -> Result<Map<String, Value>, LoadError> {
    let mut merged = Map::new();
    for file in files {
        let value = strict_json::parse(file.text.as_bytes(), strict_json::MAX_DEPTH)
            .map_err(|source| LoadError::Json { name: file.name.clone(), source })?;
        let Value::Object(object) = value else {
            return Err(fault(&file.name, "data", "expected an object, such as `{\"witgate\":{\"grants\":[]}}`"));
        };
        check(&file.name, &object)?;
        merge_apart(&mut merged, object, &file.name, "")?;
    }
    Ok(merged)
}

fn merge_apart(into: &mut Map<String, Value>, from: Map<String, Value>, name: &str, at: &str) -> Result<(), LoadError> {
    for (key, value) in from {
        let at = format!("{at}{}{key}", if at.is_empty() { "" } else { "." });
        match (into.get_mut(&key), value) {
            (None, value) => {
                into.insert(key, value);
            }
            (Some(Value::Object(into)), Value::Object(from)) => merge_apart(into, from, name, &at)?,
            (Some(_), _) => return Err(fault(name, &at, "another file of this folder says it too")),
        }
    }
    Ok(())
}

fn merge_over(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge_over(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Checks `data.witgate`; what stands beside it is for people's own rules and is not looked at.
fn check(name: &str, data: &Map<String, Value>) -> Result<(), LoadError> {
    let Some(witgate) = data.get("witgate") else { return Ok(()) };
    let Value::Object(witgate) = witgate else { return Err(fault(name, "witgate", "expected an object")) };
    for (key, value) in witgate {
        let at = format!("witgate.{key}");
        let check_entry: fn(&str, &str, &Value) -> Result<(), LoadError> = match key.as_str() {
            "signatures" => |name, at, value| read::<SignatureEntry>(name, at, value)?.check(name, at),
            "grants" => |name, at, value| read::<GrantRule>(name, at, value)?.check(name, at),
            "wascap" => |name, at, value| read::<wascap::Entry>(name, at, value)?.check(name, at),
            _ => {
                return Err(fault(
                    name,
                    &at,
                    "expected `signatures`, `grants` or `wascap`; put data of your own beside `witgate`",
                ));
            }
        };
        let Value::Array(entries) = value else { return Err(fault(name, &at, "expected a list")) };
        for (index, entry) in entries.iter().enumerate() {
            check_entry(name, &format!("{at}[{index}]"), entry)?;
        }
    }
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(name: &str, at: &str, value: &'a Value) -> Result<T, LoadError> {
    // serde takes a list for a struct, which no rule would read.
    if !value.is_object() {
        return Err(fault(name, at, "expected an object"));
    }
    T::deserialize(value).map_err(|error| fault(name, at, &error.to_string()))
}

fn fault(name: &str, at: &str, detail: &str) -> LoadError {
    LoadError::Data { name: name.into(), at: at.into(), detail: detail.into() }
}

/// Whose signature some references need.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureEntry {
    references: Vec<String>,
    identities: Vec<Identity>,
}

/// A keyless identity, or a managed key: one of the two, never both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    issuer: Option<String>,
    san: Option<SanRule>,
    claims: Option<Map<String, Value>>,
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SanRule {
    kind: crate::case::SanKind,
    value: String,
}

/// Who may run which references with what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRule {
    callers: Vec<String>,
    references: Vec<String>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    config: Vec<crate::case::ConfigEntry>,
    #[serde(default)]
    limits: LimitsRule,
    lifetime_s: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsRule {
    memory_bytes: Option<u64>,
    fuel: Option<u64>,
    timeout_ms: Option<u64>,
}

impl SignatureEntry {
    fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        for (index, identity) in self.identities.iter().enumerate() {
            identity.check(name, &format!("{at}.identities[{index}]"))?;
        }
        Ok(())
    }
}

impl Identity {
    fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        match self {
            Self { key: Some(key), issuer: None, san: None, claims: None } => {
                expect(is_plain(key), name, &format!("{at}.key"), key, "the name of a configured key")
            }
            Self { key: None, issuer: Some(issuer), san: Some(san), claims } => {
                expect(is_plain(issuer), name, &format!("{at}.issuer"), issuer, "an OIDC issuer, compared exactly")?;
                let (is_value, wanted): (fn(&str) -> bool, _) = match san.kind {
                    crate::case::SanKind::Uri => (is_uri_pattern, "a URI with a path, or such a URI that ends in `/*`"),
                    crate::case::SanKind::Email => (is_email, "one e-mail address, compared exactly"),
                };
                expect(is_value(&san.value), name, &format!("{at}.san.value"), &san.value, wanted)?;
                for (claim, value) in claims.iter().flatten() {
                    let at = format!("{at}.claims.{claim}");
                    expect(CLAIMS.contains(&claim.as_str()), name, &at, claim, "the name of a Fulcio claim")?;
                    let text = value.as_str().unwrap_or_default();
                    expect(!text.is_empty(), name, &at, text, "a text, compared exactly")?;
                }
                Ok(())
            }
            _ => Err(fault(name, at, "expected `issuer` with `san` and perhaps `claims`, or `key` alone")),
        }
    }
}

impl GrantRule {
    fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        each(name, at, "callers", &self.callers, is_caller_pattern, CALLER)?;
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        each(name, at, "hosts", &self.hosts, is_caller_pattern, CALLER)?;
        each(name, at, "imports", &self.imports, is_pattern, IMPORT)?;
        each(name, at, "links", &self.links, is_plain, "the name of a link, without wildcard")?;
        for entry in &self.config {
            expect(is_plain(&entry.key), name, &format!("{at}.config"), &entry.key, "a key")?;
        }
        let LimitsRule { memory_bytes, fuel, timeout_ms } = self.limits;
        for (field, value) in [
            ("limits.memory_bytes", memory_bytes),
            ("limits.fuel", fuel),
            ("limits.timeout_ms", timeout_ms),
            ("lifetime_s", self.lifetime_s),
        ] {
            if value == Some(0) {
                return Err(fault(name, &format!("{at}.{field}"), "expected more than 0"));
            }
        }
        Ok(())
    }
}

fn each(
    name: &str,
    at: &str,
    field: &str,
    values: &[String],
    is_good: impl Fn(&str) -> bool,
    wanted: &str,
) -> Result<(), LoadError> {
    values
        .iter()
        .enumerate()
        .try_for_each(|(index, value)| expect(is_good(value), name, &format!("{at}.{field}[{index}]"), value, wanted))
}

fn expect(good: bool, name: &str, at: &str, found: &str, wanted: &str) -> Result<(), LoadError> {
    if good { Ok(()) } else { Err(fault(name, at, &format!("expected {wanted}, found `{}`", found.escape_debug()))) }
}

/// Printable ASCII without blanks and without `*`, at most [`MAX_TEXT_BYTES`].
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT_BYTES && text.bytes().all(|b| b.is_ascii_graphic() && b != b'*')
}

/// `*`, `ghcr.io/acme/cart` or `ghcr.io/acme/*`: never a tag, for rules are about repositories.
fn is_reference_pattern(text: &str) -> bool {
    let name = text.strip_suffix("/*").unwrap_or(text);
    let mut parts = name.split('/');
    let upstream = parts.next().unwrap_or_default();
    let is_part = |part: &str| is_plain(part) && !part.contains([':', '@']) && part != "." && part != "..";
    text == "*"
        || is_plain(upstream) && !upstream.contains('@') && parts.all(is_part) && (name.contains('/') || name != text)
}

/// `local`, a SPIFFE ID, or a folder of SPIFFE IDs.
fn is_caller_pattern(text: &str) -> bool {
    text == "local" || text.starts_with("spiffe://") && is_uri_pattern(text)
}

fn is_email(text: &str) -> bool {
    is_plain(text) && text.split('@').count() == 2 && !text.starts_with('@') && !text.ends_with('@')
}

/// What `plain_uri` of `policies/signatures.rego` takes, perhaps with `/*` behind it.
fn is_uri_pattern(text: &str) -> bool {
    let uri = text.strip_suffix("/*").unwrap_or(text);
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_host = |host: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':');
        !host.is_empty()
            && host.bytes().all(inside)
            && !host.starts_with('.')
            && !host.ends_with('.')
            && !host.contains("..")
            && !host.contains(".:")
    };
    let lower = path.to_ascii_lowercase();
    is_plain(uri)
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
        && !scheme.is_empty()
        && is_host(authority)
        && !path.ends_with('/')
        && (!path.is_empty() || uri.len() < text.len())
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@/%?#".contains(&b))
        && !["%2f", "%2e", "%5c", "%25", "%00", "%0a", "%0d"].iter().any(|encoded| lower.contains(encoded))
        && path.split('/').all(|part| part != "." && part != "..")
}

const REFERENCE: &str = "`REGISTRY/REPOSITORY` without tag, `REGISTRY/FOLDER/*`, or `*`";
const CALLER: &str = "`local`, a SPIFFE ID, or a SPIFFE ID that ends in `/*`";
const IMPORT: &str = "`ns:package/interface@version`, `ns:package/*@track`, `ns:package/*`, or a bare name";

/// The longest text that a rule may compare with, in bytes: a SPIFFE ID is at most 2048 (SPIFFE-ID §2.3).
const MAX_TEXT_BYTES: usize = 2048;

/// Fulcio's claims by the names that evidence gives them (`oid-info.md` of sigstore/fulcio, 1.3.6.1.4.1.57264.1.2-24).
const CLAIMS: &[&str] = &[
    "workflow_trigger",
    "workflow_sha",
    "workflow_name",
    "workflow_repository",
    "workflow_ref",
    "build_signer_uri",
    "build_signer_digest",
    "runner_environment",
    "source_repository_uri",
    "source_repository_digest",
    "source_repository_ref",
    "source_repository_identifier",
    "source_repository_owner_uri",
    "source_repository_owner_identifier",
    "build_config_uri",
    "build_config_digest",
    "build_trigger",
    "run_invocation_uri",
    "source_repository_visibility_at_signing",
    "deployment_environment",
    "token_subject",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn load_data(data: &Value) -> Result<Value, LoadError> {
        load(&Bundle::from_sources(Vec::new(), data, "t", "1").unwrap())
    }

    fn identity(identity: &Value) -> Result<Value, LoadError> {
        load_data(&json!({"witgate": {"signatures": [{"references": ["*"], "identities": [identity]}]}}))
    }

    fn grant(field: &str, value: &Value) -> Result<Value, LoadError> {
        let mut rule = json!({"callers": ["local"], "references": ["*"]});
        rule[field] = value.clone();
        load_data(&json!({"witgate": {"grants": [rule]}}))
    }

    #[test]
    fn refuses_misspelt_unknown_and_half_filled_entries() {
        for data in [
            json!({"witgate": {"signature": []}}),
            json!({"witgate": {"signatures": {}}}),
            json!({"witgate": []}),
            json!({"witgate": {"signatures": [{"references": ["*"]}]}}),
            json!({"witgate": {"signatures": [{"identities": []}]}}),
            json!({"witgate": {"grants": [{"callers": ["local"]}]}}),
            json!({"witgate": {"grants": [{"references": ["*"]}]}}),
            json!({"witgate": {"signatures": [[["*"], []]]}}),
        ] {
            assert!(matches!(load_data(&data), Err(LoadError::Data { .. })), "{data} was taken");
        }
        let san = json!({"kind": "uri", "value": "https://github.com/acme/*"});
        for bad in [
            json!({}),
            json!({"issuer": "https://issuer.example"}),
            json!({"san": san}),
            json!({"issuer": "https://issuer.example", "san": san, "key": "k"}),
            json!({"key": "k", "claims": {}}),
            json!({"issuer": "*", "san": san}),
            json!({"issuer": "", "san": san}),
            json!({"issuer": "i", "san": san, "subject": "x"}),
            json!({"issuer": "i", "san": {"kind": "dns", "value": "x"}}),
            json!({"issuer": "i", "san": {"kind": "uri", "value": "https://h/x", "regexp": "x"}}),
            json!({"issuer": "i", "san": san, "claims": {"source_repo": "x"}}),
            json!({"issuer": "i", "san": san, "claims": {"build_trigger": ""}}),
            json!({"issuer": "i", "san": san, "claims": {"build_trigger": 1}}),
        ] {
            assert!(matches!(identity(&bad), Err(LoadError::Data { .. })), "{bad} was taken");
        }
        assert!(identity(&json!({"key": "release"})).is_ok());
        assert!(identity(&json!({"issuer": "i", "san": san, "claims": {"build_trigger": "push"}})).is_ok());
    }

    #[test]
    fn refuses_subjects_that_could_match_more_than_they_say() {
        let subject =
            |kind: &str, value: &str| identity(&json!({"issuer": "i", "san": {"kind": kind, "value": value}}));
        for value in [
            "https://github.com/acme*",
            "https://github.com/*/cart",
            "https://*",
            "https://*/acme/*",
            "*",
            "/*",
            "https:///*",
            "github.com/acme/*",
            "https://github.com",
            "https://github.com/",
            "https://github.com/acme//*",
            "https://user@github.com/acme/*",
            "https://GitHub.com/acme/*",
            "https://github.com./acme/*",
            "https://github.com/acme%2f*",
            "https://github.com/../acme/*",
            "https://gith\u{fc}b.com/acme/*",
            "https://github.com/acme/\n*",
            "",
        ] {
            assert!(subject("uri", value).is_err(), "`{value}` was taken");
        }
        for value in
            ["https://github.com/acme/*", "https://github.com/*", "spiffe://td/ns/x", "https://h:8443/a@refs/b"]
        {
            subject("uri", value).unwrap();
        }
        for value in ["*@acme.example", "ci@acme.example/*", "ci", "a@b@c", "@acme.example", "ci@acme.example\n", ""] {
            assert!(subject("email", value).is_err(), "`{value}` was taken");
        }
        subject("email", "ci@acme.example").unwrap();
    }

    #[test]
    fn refuses_grants_that_could_match_more_than_they_say() {
        for (field, value) in [
            ("callers", "*"),
            ("callers", "spiffe://*"),
            ("callers", "spiffe://td*"),
            ("callers", "https://td/x"),
            ("callers", "LOCAL"),
            ("hosts", "*"),
            ("references", "ghcr.io/acme*"),
            ("references", "ghcr.io"),
            ("references", "ghcr.io/acme/cart:1"),
            ("references", "ghcr.io/acme/../x"),
            ("references", "ghcr.io/*/cart"),
            ("references", "ghcr.io/acme/cart@sha256:00"),
            ("imports", "*"),
            ("imports", "wasi:*"),
            ("imports", "wasi:io*"),
            ("imports", "wasi:io/*@"),
            ("imports", "wasi:io/poll@*"),
            ("links", "*"),
            ("links", ""),
        ] {
            assert!(grant(field, &json!([value])).is_err(), "`{value}` was taken in `{field}`");
        }
        for (field, value) in [
            ("lifetime_s", json!(0)),
            ("lifetime_s", json!(-1)),
            ("limits", json!({"fuel": 0})),
            ("limits", json!({"memory": 1})),
            ("config", json!([{"key": "k"}])),
            ("import", json!([])),
        ] {
            assert!(grant(field, &value).is_err(), "{value} was taken in `{field}`");
        }
        for (field, value) in [
            ("callers", json!(["spiffe://td/*", "spiffe://td/ns/shop"])),
            ("references", json!(["ghcr.io/*", "127.0.0.1:5000/a/b"])),
            ("imports", json!(["wasi:io/*@0.2", "wasi:cli/*", "wasi:io/poll@0.2.3", "run"])),
            ("config", json!([{"key": "k", "value": ""}])),
            ("lifetime_s", json!(60)),
        ] {
            grant(field, &value).unwrap();
        }
    }

    #[test]
    fn a_folder_replaces_what_it_names_and_one_folder_says_a_thing_once() {
        let file = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
        let mut bundle = Bundle::from_sources(Vec::new(), &json!({}), "t", "1").unwrap();
        bundle.data = vec![
            file("a", r#"{"witgate":{"grants":[]},"own":{"x":1}}"#),
            file("b", r#"{"witgate":{"signatures":[]}}"#),
        ];
        bundle.data_over = vec![file("c", r#"{"own":{"x":2}}"#)];
        let merged = load(&bundle).unwrap();
        assert_eq!(merged, json!({"witgate": {"grants": [], "signatures": []}, "own": {"x": 2}}));
        bundle.data.push(file("d", r#"{"witgate":{"grants":[]}}"#));
        let error = load(&bundle).unwrap_err().to_string();
        assert_eq!(error, "d: `witgate.grants`: another file of this folder says it too");
        bundle.data = vec![file("a", r#"{"own":1,"own":2}"#)];
        assert!(matches!(load(&bundle), Err(LoadError::Json { .. })));
        bundle.data = vec![file("a", "[]")];
        assert!(matches!(load(&bundle), Err(LoadError::Data { .. })));
    }

    #[test]
    fn says_where_the_fault_is() {
        let error = grant("importss", &json!([])).unwrap_err().to_string();
        assert!(error.starts_with("data.json: `witgate.grants[0]`: unknown field `importss`"), "{error}");
        let error = grant("imports", &json!(["wasi:io/poll@0.2.0", "*"])).unwrap_err().to_string();
        assert!(error.starts_with("data.json: `witgate.grants[0].imports[1]`: expected `ns:package"), "{error}");
    }
}
