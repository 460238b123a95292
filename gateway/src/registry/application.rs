//! Applications of several layers, as Spin pushes them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::case::{Defect, Digest};
use crate::reason::Code;

use super::budgets::{APPLICATION_BYTES, APPLICATION_COMPONENTS, CONFIG_BYTES};
use super::config::WASM_CONFIG;
use super::document::{self, Descriptor, invalid, over_limit, shown};

/// What an application consists of (spinframework/spin `crates/oci`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Application {
    /// What it says of itself: which of its layers run. It is the config, or a layer that is carried too.
    pub description: Descriptor,
    /// The layers that run, in order.
    pub components: Vec<Descriptor>,
    /// All other layers, in order: files, archives of files, the description.
    pub carried: Vec<Descriptor>,
}

impl Application {
    /// The application that config and layers are; none if nothing says that they are one.
    pub fn of(config: &Descriptor, layers: &[Descriptor]) -> Result<Option<Self>, Defect> {
        let mut descriptions = [config].into_iter().chain(layers).filter(|part| part.media_type == DESCRIPTION);
        // The layout of one component has exactly one layer, whatever that is called.
        let Some(description) = descriptions.next().filter(|_| config.media_type != WASM_CONFIG) else {
            return Ok(None);
        };
        if descriptions.next().is_some() {
            return Err(invalid("layers", "several descriptions of the application, expected one"));
        }
        let mut application = Self { description: description.clone(), components: Vec::new(), carried: Vec::new() };
        for (index, layer) in layers.iter().enumerate() {
            match layer.media_type.as_str() {
                kind if COMPONENTS.contains(&kind) => application.components.push(layer.clone()),
                DESCRIPTION | DATA | ARCHIVE => application.carried.push(layer.clone()),
                other => {
                    let detail = format!("`{}` is no part of an application", shown(other));
                    return Err(unsupported(format!("layers[{index}].mediaType"), detail));
                }
            }
        }
        application.within_limits(layers)?;
        Ok(Some(application))
    }

    fn within_limits(&self, layers: &[Descriptor]) -> Result<(), Defect> {
        match self.components.len() {
            0 => return Err(unsupported("layers", "an application without a component")),
            count if count > APPLICATION_COMPONENTS => {
                return Err(over_limit("layers", format!("{count} components, at most {APPLICATION_COMPONENTS}")));
            }
            _ => {}
        }
        if self.description.size_bytes > CONFIG_BYTES {
            let detail = format!("a description of {} bytes, at most {CONFIG_BYTES}", self.description.size_bytes);
            return Err(over_limit("layers", detail));
        }
        let size_bytes = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size_bytes));
        if size_bytes > APPLICATION_BYTES {
            return Err(over_limit("layers", format!("{size_bytes} bytes, at most {APPLICATION_BYTES}")));
        }
        Ok(())
    }

    /// Holds the description to the layers: what it says to run must be one of the components, by digest, for a host looks
    /// there and may have other components from elsewhere.
    ///
    /// ```json
    /// {"components":[{"id":"cart","source":{"content_type":"application/wasm","digest":"sha256:…"}}]}
    /// ```
    /// (spinframework/spin `crates/locked-app`.)
    pub fn check_description(&self, bytes: &[u8]) -> Result<(), Defect> {
        let value = document::parse(bytes, "application")?;
        document::object(&value, "application", &["components"])?;
        let components: BTreeSet<Digest> = self.components.iter().map(|layer| layer.digest).collect();
        let mut open = vec![&value];
        while let Some(value) = open.pop() {
            match value {
                Value::Array(values) => open.extend(values),
                Value::Object(fields) => {
                    for (name, value) in fields {
                        if name.eq_ignore_ascii_case("source") && value.is_object() {
                            check_source(value, &components)?;
                        }
                        open.push(value);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A source is a digest of a component, neither a place to fetch it from nor its bytes.
fn check_source(source: &Value, components: &BTreeSet<Digest>) -> Result<(), Defect> {
    let about = "application.components.source";
    let source = document::object(source, about, &["content_type", "digest", "source", "inline"])?;
    if source.field("source").is_some() || source.field("inline").is_some() {
        return Err(mismatch("a component from elsewhere than the layers"));
    }
    let digest = source.text("digest")?.and_then(|digest| digest.parse::<Digest>().ok());
    match digest {
        Some(digest) if components.contains(&digest) => Ok(()),
        Some(digest) => Err(mismatch(format!("`{digest}` is to run, which is no component among the layers"))),
        None => Err(mismatch("a component is to run that is named by no digest")),
    }
}

/// Whether bytes are WebAssembly, whatever they are called: a component that is carried as data would be judged by nobody.
pub(super) fn check_carried(layer: &Descriptor, bytes: &[u8]) -> Result<(), Defect> {
    if bytes.starts_with(b"\0asm") {
        let detail = format!("`{}` is WebAssembly, announced as `{}`", layer.digest, shown(&layer.media_type));
        return Err(unsupported("layers", detail));
    }
    Ok(())
}

fn mismatch(detail: impl Into<String>) -> Defect {
    Defect { code: Code::CONFIG_MISMATCH, about: "application.components.source".into(), detail: detail.into() }
}

fn unsupported(about: impl Into<String>, detail: impl Into<String>) -> Defect {
    Defect { code: Code::ARTIFACT_UNSUPPORTED, about: about.into(), detail: detail.into() }
}

/// The description of a Spin application, as a layer or, from older versions, as the config.
const DESCRIPTION: &str = "application/vnd.fermyon.spin.application.v1+config";
/// A file.
const DATA: &str = "application/vnd.wasm.content.layer.v1+data";
/// Many files; never unpacked.
const ARCHIVE: &str = "application/vnd.wasm.content.bundle.v1.tar+gzip";
/// What runs.
const COMPONENTS: [&str; 2] = ["application/vnd.wasm.content.layer.v1+wasm", "application/wasm"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn part(media_type: &str, name: &str, size_bytes: u64) -> Descriptor {
        let digest = Digest::of(name.as_bytes());
        Descriptor { media_type: media_type.into(), digest, size_bytes, annotations: BTreeMap::new() }
    }

    fn image() -> Descriptor {
        part("application/vnd.oci.image.config.v1+json", "config", 2)
    }

    fn of(config: &Descriptor, layers: &[Descriptor]) -> Result<Option<usize>, String> {
        match Application::of(config, layers) {
            Ok(found) => Ok(found.map(|found| found.components.len())),
            Err(defect) => Err(format!("{} {}", defect.code, defect.about)),
        }
    }

    #[test]
    fn an_application_is_what_says_so_and_every_layer_has_its_place() {
        let (wasm, description) = (part(COMPONENTS[0], "a", 1), part(DESCRIPTION, "d", 1));
        let (file, archive) = (part(DATA, "f", 1), part(ARCHIVE, "z", 1));
        let all = [wasm.clone(), part(COMPONENTS[1], "b", 1), file, description.clone(), archive];
        assert_eq!(of(&image(), &all), Ok(Some(2)));
        assert_eq!(Application::of(&image(), &all).unwrap().unwrap().carried.len(), 3);
        assert_eq!(of(&description, std::slice::from_ref(&wasm)), Ok(Some(1)), "older versions have it as config");
        assert_eq!(of(&image(), &[wasm.clone(), wasm.clone()]), Ok(None), "nothing says that it is one");
        assert_eq!(of(&part(WASM_CONFIG, "c", 1), &all), Ok(None), "the layout of one component has one layer");
        let other = part("application/vnd.oci.image.layer.v1.tar+gzip", "o", 1);
        for (config, layers, told) in [
            (image(), vec![description.clone()], "artifact-unsupported layers"),
            (image(), vec![description.clone(), wasm.clone(), other], "artifact-unsupported layers[2].mediaType"),
            (image(), vec![description.clone(), description.clone(), wasm.clone()], "manifest-invalid layers"),
            (description.clone(), vec![description, wasm], "manifest-invalid layers"),
        ] {
            assert_eq!(of(&config, &layers), Err(told.into()));
        }
    }

    #[test]
    fn an_application_has_limits() {
        let description = |size| part(DESCRIPTION, "d", size);
        let with = |more: Vec<Descriptor>| of(&image(), &[vec![description(1)], more].concat());
        let components = |count: usize| vec![part(COMPONENTS[0], "a", 1); count];
        assert_eq!(with(components(APPLICATION_COMPONENTS)), Ok(Some(APPLICATION_COMPONENTS)));
        assert_eq!(with(components(APPLICATION_COMPONENTS + 1)), Err("limit-exceeded layers".into()));
        let of_size = |size| with(vec![part(COMPONENTS[0], "a", 1), part(DATA, "f", size)]);
        assert_eq!(of_size(APPLICATION_BYTES - 2), Ok(Some(1)));
        assert_eq!(of_size(APPLICATION_BYTES - 1), Err("limit-exceeded layers".into()));
        assert_eq!(of_size(u64::MAX), Err("limit-exceeded layers".into()));
        let described = |size| of(&image(), &[description(size), part(COMPONENTS[0], "a", 1)]);
        assert_eq!(described(CONFIG_BYTES), Ok(Some(1)));
        assert_eq!(described(CONFIG_BYTES + 1), Err("limit-exceeded layers".into()));
    }

    #[test]
    fn a27_3_only_components_among_the_layers_are_said_to_run() {
        let layers = [part(DESCRIPTION, "d", 1), part(COMPONENTS[0], "a", 1), part(DATA, "f", 1)];
        let application = Application::of(&image(), &layers).unwrap().unwrap();
        let check = |description: Value| {
            application.check_description(description.to_string().as_bytes()).map_err(|defect| defect.code)
        };
        let run = |name: &str| json!({"content_type": "application/wasm", "digest": Digest::of(name.as_bytes())});
        let good = json!({"spin_lock_version": 1, "components": [{"id": "a", "source": run("a"),
            "files": [{"path": "f", "content": {"digest": Digest::of(b"f"), "source": "f"}}]}]});
        assert_eq!(check(good), Ok(()));
        for source in [
            run("elsewhere"),
            run("f"),
            json!({"digest": "a"}),
            json!({}),
            json!({"source": "https://evil.example/a.wasm"}),
            json!({"inline": "AGFzbQ==", "digest": Digest::of(b"a")}),
        ] {
            assert_eq!(check(json!({"components": [{"source": source}]})), Err(Code::CONFIG_MISMATCH), "{source}");
            let below = json!({"components": [{"source": run("a"), "dependencies": {"x:y/z": {"source": source}}}]});
            assert_eq!(check(below), Err(Code::CONFIG_MISMATCH), "{source}");
        }
        for spelt in [json!({"Components": []}), json!([]), json!({"components": [{"SOURCE": {"Digest": "x"}}]})] {
            assert_eq!(check(spelt.clone()), Err(Code::MANIFEST_INVALID), "{spelt}");
        }
        let file = part(DATA, "f", 1);
        assert_eq!(check_carried(&file, b"\0asn"), Ok(()));
        assert_eq!(check_carried(&file, b"\0asm\x01").unwrap_err().code, Code::ARTIFACT_UNSUPPORTED);
    }
}
