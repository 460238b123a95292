//! What a component's OCI config claims about it.

use serde_json::Value;

use crate::case::{Defect, Digest};
use crate::reason::Code;

use super::budgets::{CLAIMED_IMPORT_BYTES, CLAIMED_IMPORTS};
use super::document::{self, invalid, over_limit, shown};

/// The config of the CNCF Wasm OCI artifact; no other kind is looked into.
pub(super) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// Reads the claimed imports of a config, if it claims any; its `layerDigests` must name exactly the component.
///
/// ```json
/// {"layerDigests":["sha256:…"],"component":{"exports":[],"imports":["wasi:http/types@0.2.3"]}}
/// ```
/// (CNCF TAG Runtime, "Wasm OCI Artifact layout".) Imports are a claim of whoever pushed it: the surface comes from the bytes.
pub(super) fn claimed_imports(
    bytes: &[u8],
    media_type: &str,
    component: &Digest,
) -> Result<Option<Vec<String>>, Defect> {
    if media_type != WASM_CONFIG {
        return Ok(None);
    }
    let value = document::parse(bytes, "config")?;
    let config = document::object(&value, "config", &["layerDigests", "component"])?;
    let layers = config.array("layerDigests")?.unwrap_or_default();
    if !matches!(layers, [Value::String(one)] if one.parse() == Ok(*component)) {
        let named: Vec<String> =
            layers.iter().take(4).map(|layer| shown(layer.as_str().unwrap_or("no text"))).collect();
        let detail = format!("names {named:?}, the component is `{component}`");
        return Err(Defect { code: Code::CONFIG_MISMATCH, about: "config.layerDigests".into(), detail });
    }
    let Some(claims) = config.field("component") else { return Ok(None) };
    let claims = document::object(claims, "config.component", &["imports", "exports"])?;
    let Some(imports) = claims.array("imports")? else { return Ok(None) };
    let about = "config.component.imports";
    if imports.len() > CLAIMED_IMPORTS {
        return Err(over_limit(about, format!("{} imports, at most {CLAIMED_IMPORTS}", imports.len())));
    }
    let import = |import: &Value| match import.as_str() {
        Some(import) if import.len() <= CLAIMED_IMPORT_BYTES => Ok(import.to_owned()),
        Some(import) => {
            Err(over_limit(about, format!("a name of {} bytes, at most {CLAIMED_IMPORT_BYTES}", import.len())))
        }
        None => Err(invalid(about, "expected texts")),
    };
    imports.iter().map(import).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: &Value) -> Result<Option<Vec<String>>, Code> {
        claimed_imports(config.to_string().as_bytes(), WASM_CONFIG, &Digest::of(b"x")).map_err(|defect| defect.code)
    }

    fn claiming(imports: &Value) -> Value {
        json!({"layerDigests": [Digest::of(b"x").to_string()], "os": "wasip2", "component": {"imports": imports}})
    }

    #[test]
    fn reads_the_claim() {
        assert_eq!(read(&claiming(&json!(["a:b/c"]))), Ok(Some(vec!["a:b/c".into()])));
        assert_eq!(read(&claiming(&json!(null))), Ok(None));
        assert_eq!(read(&json!({"layerDigests": [Digest::of(b"x").to_string()]})), Ok(None));
        assert_eq!(claimed_imports(b"no json", "application/vnd.oci.empty.v1+json", &Digest::of(b"x")), Ok(None));
    }

    #[test]
    fn refuses_configs_of_another_component() {
        let (x, y) = (Digest::of(b"x").to_string(), Digest::of(b"y").to_string());
        for layers in [json!([y]), json!([]), json!([x, y]), json!([x, x]), json!(null), json!([1])] {
            assert_eq!(read(&json!({"layerDigests": layers})), Err(Code::CONFIG_MISMATCH), "{layers}");
        }
        for config in [
            json!([]),
            json!({"layerDigests": x}),
            json!({"LayerDigests": [x]}),
            claiming(&json!("a")),
            claiming(&json!([1])),
        ] {
            assert_eq!(read(&config), Err(Code::MANIFEST_INVALID), "{config}");
        }
        let twice = claimed_imports(b"{\"os\":1,\"os\":2}", WASM_CONFIG, &Digest::of(b"x"));
        assert_eq!(twice.unwrap_err().code, Code::MANIFEST_INVALID);
    }

    #[test]
    fn claims_have_limits() {
        let names = |count: usize| claiming(&json!(vec!["a"; count]));
        assert!(read(&names(CLAIMED_IMPORTS)).is_ok());
        assert_eq!(read(&names(CLAIMED_IMPORTS + 1)), Err(Code::LIMIT_EXCEEDED));
        let long = |size: usize| claiming(&json!(["x".repeat(size)]));
        assert!(read(&long(CLAIMED_IMPORT_BYTES)).is_ok());
        assert_eq!(read(&long(CLAIMED_IMPORT_BYTES + 1)), Err(Code::LIMIT_EXCEEDED));
    }
}
