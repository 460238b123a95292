//! Reading OCI documents so that nobody else can read them differently.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::case::{Defect, Digest};
use crate::reason::Code;
use crate::strict_json::{self, MAX_DEPTH, StrictJsonError};

use super::budgets::{ANNOTATION_BYTES, MEDIA_TYPE_BYTES};

/// An OCI image manifest.
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's manifest, of the same shape.
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What stands where a manifest has no config of its own.
pub(super) const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// One content descriptor (image-spec, `descriptor.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// The media type as written.
    pub media_type: String,
    /// The digest: SHA-256, no other algorithm is taken.
    pub digest: Digest,
    /// The size it announces, in bytes.
    pub size_bytes: u64,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A JSON object with the path that leads to it, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    fields: &'a Map<String, Value>,
    path: &'a str,
}

/// A defect of a document that is not well-formed.
pub(super) fn invalid(about: impl Into<String>, detail: impl Into<String>) -> Defect {
    Defect { code: Code::MANIFEST_INVALID, about: about.into(), detail: detail.into() }
}

/// A defect of a document past a limit.
pub(super) fn over_limit(about: impl Into<String>, detail: impl Into<String>) -> Defect {
    Defect { code: Code::LIMIT_EXCEEDED, about: about.into(), detail: detail.into() }
}

/// Reads a whole document.
pub(super) fn parse(bytes: &[u8], about: &str) -> Result<Value, Defect> {
    strict_json::parse(bytes, MAX_DEPTH).map_err(|error| match error {
        StrictJsonError::TooDeep { .. } => over_limit(about, error.to_string()),
        _ => invalid(about, error.to_string()),
    })
}

/// The document's object, whose keys must not look like `known` ones in another spelling.
///
/// Go, which most registries and clients are written in, matches JSON keys without regard to case, with `ſ` for `s` and the
/// Kelvin sign for `k`; so a manifest with `layers` and `Layers` is another manifest there.
pub(super) fn object<'a>(value: &'a Value, path: &'a str, known: &[&str]) -> Result<Object<'a>, Defect> {
    let fields = value.as_object().ok_or_else(|| invalid(path, "expected an object"))?;
    for key in fields.keys() {
        let folded: String = key
            .chars()
            .map(|c| match c {
                '\u{17f}' => 's',
                '\u{212a}' => 'k',
                other => other.to_ascii_lowercase(),
            })
            .collect();
        if known.iter().any(|known| *known != key && known.to_ascii_lowercase() == folded) {
            return Err(invalid(path, format!("key `{}` is another spelling of a known one", shown(key))));
        }
    }
    Ok(Object { fields, path })
}

impl<'a> Object<'a> {
    /// A field, if it is there; `null` counts as absent, as it does for everybody.
    pub fn field(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A text field, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Defect> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| invalid(self.at(name), "expected a text"));
        self.field(name).map(text).transpose()
    }

    /// An array field, if it is there.
    pub fn array(&self, name: &str) -> Result<Option<&'a [Value]>, Defect> {
        let array = |value: &'a Value| value.as_array().ok_or_else(|| invalid(self.at(name), "expected an array"));
        Ok(self.field(name).map(array).transpose()?.map(Vec::as_slice))
    }

    /// A media type field, if it is there.
    pub fn media_type(&self, name: &str) -> Result<Option<&'a str>, Defect> {
        let text = self.text(name)?;
        match text {
            Some(text) if !is_media_type(text) => Err(invalid(self.at(name), "no media type")),
            text => Ok(text),
        }
    }

    /// The annotations: texts by name, bounded.
    pub fn annotations(&self) -> Result<BTreeMap<String, String>, Defect> {
        let Some(value) = self.field("annotations") else { return Ok(BTreeMap::new()) };
        let about = self.at("annotations");
        let fields = value.as_object().ok_or_else(|| invalid(&about, "expected an object"))?;
        let mut size_bytes = 0;
        let mut annotations = BTreeMap::new();
        for (key, value) in fields {
            let value = value.as_str().ok_or_else(|| invalid(&about, format!("`{}` is no text", shown(key))))?;
            size_bytes += key.len() + value.len();
            annotations.insert(key.clone(), value.to_owned());
        }
        if size_bytes > ANNOTATION_BYTES {
            return Err(over_limit(about, format!("{size_bytes} bytes, at most {ANNOTATION_BYTES}")));
        }
        Ok(annotations)
    }

    fn at(&self, name: &str) -> String {
        if self.path == "manifest" { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Reads a descriptor: its digest and size are exact, inline `data` is what the digest names, `urls` are not allowed.
pub(super) fn descriptor(value: &Value, path: &str) -> Result<Descriptor, Defect> {
    let known = ["mediaType", "digest", "size", "urls", "data", "annotations", "artifactType", "platform"];
    let object = object(value, path, &known)?;
    let missing = |name: &str| invalid(object.at(name), "missing");
    let media_type = object.media_type("mediaType")?.ok_or_else(|| missing("mediaType"))?.to_owned();
    let digest = object.text("digest")?.ok_or_else(|| missing("digest"))?;
    let digest: Digest = digest.parse().map_err(|error| digest_defect(object.at("digest"), digest, error))?;
    let size_bytes = object.field("size").ok_or_else(|| missing("size"))?.as_u64();
    let size_bytes = size_bytes.ok_or_else(|| invalid(object.at("size"), "expected a whole number of bytes from 0"))?;
    if object.array("urls")?.is_some_and(|urls| !urls.is_empty()) {
        return Err(invalid(object.at("urls"), "content from elsewhere is never fetched"));
    }
    if let Some(data) = object.text("data")? {
        let decoded = BASE64_STANDARD.decode(data).map_err(|_| invalid(object.at("data"), "no base64"))?;
        if decoded.len() as u64 != size_bytes || Digest::of(&decoded) != digest {
            return Err(invalid(object.at("data"), format!("the inline bytes are not `{digest}`")));
        }
    }
    Ok(Descriptor { media_type, digest, size_bytes, annotations: object.annotations()? })
}

/// RFC 6838 §4.2, lower-case or not.
pub(super) fn is_media_type(text: &str) -> bool {
    let name = |name: &str| {
        name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.len() <= MEDIA_TYPE_BYTES && text.split_once('/').is_some_and(|(kind, rest)| name(kind) && name(rest))
}

/// A foreign text as a message may repeat it: at most 64 characters, no control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn digest_defect(about: String, text: &str, error: crate::case::DigestError) -> Defect {
    let well_formed = |algorithm: &str, digits: usize| {
        text.strip_prefix(algorithm)
            .is_some_and(|hex| hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if well_formed("sha512:", 128) || well_formed("sha384:", 96) {
        return Defect { code: Code::ARTIFACT_UNSUPPORTED, about, detail: "only sha256 digests are taken".into() };
    }
    invalid(about, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({"mediaType": "application/wasm", "digest": Digest::of(b"x").to_string(), "size": 1})
    }

    fn with(change: &Value) -> Result<Descriptor, Defect> {
        let mut value = good();
        for (key, field) in change.as_object().unwrap() {
            value[key] = field.clone();
        }
        descriptor(&value, "layers[0]")
    }

    #[test]
    fn takes_a_plain_descriptor() {
        let found = with(&json!({"size": u64::MAX, "urls": [], "annotations": {"a": "b"}})).unwrap();
        assert_eq!((found.size_bytes, found.digest), (u64::MAX, Digest::of(b"x")));
        assert!(with(&json!({"data": "eA==", "urls": null})).is_ok());
    }

    #[test]
    fn a3_1_sizes_and_digests_are_exact() {
        for size in [json!(-5), json!(1.0), json!(18_446_744_073_709_551_616_f64), json!("1"), json!(null), json!([1])]
        {
            let defect = with(&json!({"size": size})).unwrap_err();
            assert_eq!((defect.code, &*defect.about), (Code::MANIFEST_INVALID, "layers[0].size"));
        }
        let upper = Digest::of(b"x").to_string().to_uppercase();
        for digest in ["../../../etc/passwd", "sha256:../../x", "sha256:00", "md5:00", "", upper.as_str()] {
            let defect = with(&json!({"digest": digest})).unwrap_err();
            assert_eq!((defect.code, &*defect.about), (Code::MANIFEST_INVALID, "layers[0].digest"));
        }
        let sha512 = format!("sha512:{}", "0".repeat(128));
        assert_eq!(with(&json!({"digest": sha512})).unwrap_err().code, Code::ARTIFACT_UNSUPPORTED);
    }

    #[test]
    fn a3_6_inline_data_is_checked_while_urls_are_refused() {
        for change in [
            json!({"data": "eQ=="}),
            json!({"data": "eA==", "size": 2}),
            json!({"data": "!"}),
            json!({"data": 1}),
            json!({"urls": ["http://169.254.169.254/"]}),
            json!({"urls": "http://169.254.169.254/"}),
            json!({"mediaType": "wasm"}),
            json!({"mediaType": "application/wasm; x=1"}),
            json!({"mediaType": "a/b\n"}),
            json!({"annotations": {"a": 1}}),
            json!({"Digest": "sha256:00"}),
            json!({"di\u{17f}": 1, "dige\u{17f}t": "x"}),
        ] {
            assert_eq!(with(&change).unwrap_err().code, Code::MANIFEST_INVALID, "{change}");
        }
    }

    #[test]
    fn annotations_have_a_limit() {
        let of = |size: usize| with(&json!({"annotations": {"a": "x".repeat(size - 1)}}));
        assert!(of(ANNOTATION_BYTES).is_ok());
        assert_eq!(of(ANNOTATION_BYTES + 1).unwrap_err().code, Code::LIMIT_EXCEEDED);
    }
}
