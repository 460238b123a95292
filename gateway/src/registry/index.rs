//! The one component that an index is for.

use serde_json::Value;

use crate::case::Defect;
use crate::reason::Code;

use super::budgets::INDEX_CHILDREN;
use super::document::{self, Descriptor, over_limit, shown};

/// One entry of an index: what it names and for which platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The child.
    pub child: Descriptor,
    /// `OS/ARCHITECTURE`, if the entry says one.
    pub platform: Option<String>,
    is_wasm: bool,
}

impl Entry {
    /// Reads an entry (image-spec, `image-index.md`).
    pub fn of(value: &Value, path: &str) -> Result<Self, Defect> {
        let child = document::descriptor(value, path)?;
        let at = format!("{path}.platform");
        let Some(platform) = value.get("platform").filter(|platform| !platform.is_null()) else {
            return Ok(Self { child, platform: None, is_wasm: false });
        };
        let platform =
            document::object(platform, &at, &["architecture", "os", "os.version", "os.features", "variant"])?;
        let word = |name| platform.text(name).map(Option::unwrap_or_default);
        let (os, architecture) = (word("os")?, word("architecture")?);
        let is_wasm = OPERATING_SYSTEMS.contains(&os) && ARCHITECTURES.contains(&architecture);
        Ok(Self { child, platform: Some(format!("{}/{}", shown(os), shown(architecture))), is_wasm })
    }
}

/// The one entry that can be meant: the only one for WebAssembly, or the only one at all if it names no platform.
///
/// The machine that the gateway runs on never chooses: an index of `linux/amd64` and `linux/arm64` has no component for
/// anybody. Where two could be meant, nobody guesses.
pub(super) fn only_component(entries: Vec<Entry>) -> Result<Descriptor, Defect> {
    if entries.len() > INDEX_CHILDREN {
        return Err(over_limit("manifests", format!("{} entries, at most {INDEX_CHILDREN}", entries.len())));
    }
    let shown = entries.iter().map(|entry| entry.platform.as_deref().unwrap_or("no platform"));
    let shown = shown.take(SHOWN).collect::<Vec<_>>().join(", ");
    let count = entries.len();
    let mut meant = match <[Entry; 1]>::try_from(entries) {
        Ok([only]) if only.platform.is_none() => vec![only],
        Ok(one) => one.into_iter().filter(|entry| entry.is_wasm).collect(),
        Err(several) => several.into_iter().filter(|entry| entry.is_wasm).collect::<Vec<_>>(),
    };
    match (meant.pop(), meant.is_empty()) {
        (Some(one), true) => Ok(one.child),
        (found, _) => {
            let which = if found.is_some() { "several" } else { "none" };
            let detail = format!(
                "an index of {count} artifacts, {which} of them for WebAssembly ({shown}): ask for one by its digest"
            );
            Err(Defect { code: Code::ARTIFACT_UNSUPPORTED, about: "manifests".into(), detail })
        }
    }
}

/// What tools write for WebAssembly (CNCF wasm-oci-artifact; runwasi's `wasi/wasm`).
const OPERATING_SYSTEMS: [&str; 3] = ["wasi", "wasip1", "wasip2"];
/// As [`OPERATING_SYSTEMS`].
const ARCHITECTURES: [&str; 2] = ["wasm", "wasm32"];
/// How many platforms a message lists.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "a test reads better so")]

    use serde_json::json;

    use super::*;
    use crate::case::Digest;

    fn entry(name: &str, platform: Value) -> Entry {
        let value = json!({
            "mediaType": document::OCI_MANIFEST, "digest": Digest::of(name.as_bytes()), "size": 1, "platform": platform,
        });
        Entry::of(&value, "manifests[0]").unwrap()
    }

    fn platform(os: &str, architecture: &str) -> Value {
        json!({"os": os, "architecture": architecture})
    }

    #[test]
    fn a3_7_only_webassembly_is_chosen_and_never_by_our_own_platform() {
        let host = platform(std::env::consts::OS, "amd64");
        let chosen =
            |entries: Vec<Entry>| only_component(entries).map(|child| child.digest).map_err(|defect| defect.code);
        let wasm = || entry("wasm", platform("wasip2", "wasm"));
        assert_eq!(chosen(vec![entry("a", host.clone()), wasm()]), Ok(Digest::of(b"wasm")));
        assert_eq!(chosen(vec![wasm(), entry("a", host.clone())]), Ok(Digest::of(b"wasm")));
        assert_eq!(chosen(vec![entry("only", Value::Null)]), Ok(Digest::of(b"only")));
        for unclear in [
            vec![entry("a", host.clone())],
            vec![entry("a", host.clone()), entry("b", platform("linux", "arm64"))],
            vec![wasm(), entry("b", platform("wasip1", "wasm"))],
            vec![entry("a", Value::Null), entry("b", Value::Null)],
            vec![entry("a", Value::Null), entry("b", host)],
            vec![entry("a", json!({}))],
            vec![entry("a", platform("linux", "wasm"))],
            vec![entry("a", platform("wasip2", "amd64"))],
            vec![],
        ] {
            assert_eq!(chosen(unclear), Err(Code::ARTIFACT_UNSUPPORTED));
        }
        let crowd = |count: usize| {
            let mut entries = vec![entry("a", platform("linux", "amd64")); count - 1];
            entries.push(wasm());
            chosen(entries)
        };
        assert_eq!(crowd(INDEX_CHILDREN), Ok(Digest::of(b"wasm")));
        assert_eq!(crowd(INDEX_CHILDREN + 1), Err(Code::LIMIT_EXCEEDED));
    }

    #[test]
    fn a_platform_is_read_in_one_way_only() {
        let read = |platform: Value| {
            let value = json!({"mediaType": document::OCI_MANIFEST, "digest": Digest::of(b"x"), "size": 1, "platform": platform});
            Entry::of(&value, "manifests[0]").map_err(|defect| defect.code)
        };
        for bad in [json!([]), json!("wasip2/wasm"), json!({"os": 1}), json!({"OS": "wasip2", "architecture": "wasm"})]
        {
            assert_eq!(read(bad), Err(Code::MANIFEST_INVALID));
        }
    }
}
