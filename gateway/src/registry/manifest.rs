//! What a manifest says the artifact is.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::Defect;
use crate::reason::Code;

use super::application::Application;
use super::budgets::{COMPONENT_BYTES, CONFIG_BYTES, DESCRIPTORS};
use super::document::{
    self, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST, invalid, is_media_type, over_limit, shown,
};
use super::index::{self, Entry};

/// A manifest as judged: it has a component, an application's components, native code, or a child that may have one of them;
/// or a defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The media type that its bytes, or else the registry, give it; `application/octet-stream` if neither gives one.
    pub media_type: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its config.
    pub config: Option<Descriptor>,
    /// The one layer that is a component.
    pub component: Option<Descriptor>,
    /// Components and what they come with, if this is an application.
    pub application: Option<Application>,
    /// The one layer that is native code.
    pub native: Option<Descriptor>,
    /// The one child that can be meant, if this is an index.
    pub child: Option<Descriptor>,
    /// What is wrong with it.
    pub defects: Vec<Defect>,
}

impl Manifest {
    /// Everything that is read of it: config and layers, each once; nothing where it has a defect.
    pub fn named(&self) -> Vec<Descriptor> {
        let Some(config) = self.config.as_ref().filter(|_| self.defects.is_empty()) else { return Vec::new() };
        let application =
            self.application.iter().flat_map(|application| application.components.iter().chain(&application.carried));
        let layers = self.component.iter().chain(application).chain(&self.native);
        let mut named: Vec<Descriptor> = vec![config.clone()];
        for layer in layers {
            if named.iter().all(|known| known.digest != layer.digest) {
                named.push(layer.clone());
            }
        }
        named
    }

    /// Judges a manifest's bytes; `content_type` is what the registry called them.
    ///
    /// Anyone who may push can write these bytes, so whatever is wrong is a refusal to be recorded, not an outage.
    pub fn judge(bytes: &[u8], content_type: &str) -> Self {
        let named = if is_media_type(content_type) { content_type } else { "application/octet-stream" };
        let mut manifest = Self {
            media_type: named.to_owned(),
            annotations: BTreeMap::new(),
            config: None,
            component: None,
            application: None,
            native: None,
            child: None,
            defects: Vec::new(),
        };
        if let Err(defect) = manifest.read(bytes, content_type) {
            manifest.forget_content();
            manifest.defects.push(defect);
        }
        manifest
    }

    fn read(&mut self, bytes: &[u8], content_type: &str) -> Result<(), Defect> {
        let value = document::parse(bytes, "manifest")?;
        let shape = Shape::of(&value, content_type)?;
        self.media_type = shape.media_type.to_owned();
        self.annotations = shape.annotations;
        let (config, layers) = match shape.parts {
            Parts::Image { config, layers } => (config, layers),
            Parts::Index { entries } => {
                self.child = Some(index::only_component(entries)?);
                return Ok(());
            }
        };
        let config = self.config.insert(config);
        if config.size_bytes > CONFIG_BYTES {
            return Err(over_limit("config.size", format!("{} bytes, at most {CONFIG_BYTES}", config.size_bytes)));
        }
        if let Some(application) = Application::of(config, &layers)? {
            self.application = Some(application);
            return Ok(());
        }
        let [layer] = <[Descriptor; 1]>::try_from(layers)
            .map_err(|layers| unsupported("layers", format!("{} layers, expected one component", layers.len())))?;
        let within_limit = |layer: &Descriptor| match layer.size_bytes {
            size_bytes if size_bytes > COMPONENT_BYTES => {
                Err(over_limit("layers[0].size", format!("{size_bytes} bytes, at most {COMPONENT_BYTES}")))
            }
            _ => Ok(()),
        };
        // One that is called a component in one place and native code in the other is neither.
        if config.media_type.starts_with(PROVIDER) || layer.media_type.starts_with(PROVIDER) {
            if config.media_type != PROVIDER_CONFIG || layer.media_type != PROVIDER_LAYER {
                let detail = format!("`{}` with `{}` is no provider archive", config.media_type, layer.media_type);
                return Err(unsupported("config.mediaType", detail));
            }
            within_limit(&layer)?;
            self.native = Some(layer);
            return Ok(());
        }
        if !COMPONENT_LAYERS.contains(&layer.media_type.as_str()) {
            let detail = format!("`{}` is no component, expected `{}`", layer.media_type, COMPONENT_LAYERS[0]);
            return Err(unsupported("layers[0].mediaType", detail));
        }
        within_limit(&layer)?;
        self.component = Some(layer);
        Ok(())
    }

    /// Something is wrong with it: nothing that it names is fetched or believed.
    pub fn forget_content(&mut self) {
        (self.component, self.application, self.native, self.child) = (None, None, None, None);
    }
}

/// A well-formed manifest or index, whatever it is about.
#[derive(Clone, Debug)]
pub(super) struct Shape<'a> {
    /// One of the four media types.
    pub media_type: &'a str,
    /// `artifactType`.
    pub artifact_type: Option<&'a str>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it is about, if it is a referrer.
    pub subject: Option<Descriptor>,
    /// What it lists.
    pub parts: Parts,
}

/// What a manifest lists.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    /// An image manifest.
    Image {
        /// The config.
        config: Descriptor,
        /// The layers, in order.
        layers: Vec<Descriptor>,
    },
    /// An index.
    Index {
        /// What it lists, in order.
        entries: Vec<Entry>,
    },
}

impl<'a> Shape<'a> {
    /// Checks everything that does not depend on what the artifact is for (image-spec, `manifest.md`, `image-index.md`).
    pub fn of(value: &'a Value, content_type: &'a str) -> Result<Self, Defect> {
        let known =
            ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"];
        let object = document::object(value, "manifest", &known)?;
        if object.field("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(invalid("schemaVersion", "expected 2"));
        }
        let media_type = match object.media_type("mediaType")? {
            Some(inside) if inside != content_type => {
                return Err(invalid("mediaType", format!("`{inside}`, the registry says `{}`", shown(content_type))));
            }
            Some(inside) => inside,
            None => content_type,
        };
        let is_index = match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => false,
            OCI_INDEX | DOCKER_LIST => true,
            other => return Err(unsupported("mediaType", format!("`{}` is no manifest", shown(other)))),
        };
        let annotations = object.annotations()?;
        let artifact_type = object.media_type("artifactType")?;
        let subject = object.field("subject").map(|subject| document::descriptor(subject, "subject")).transpose()?;
        let layers = object.array("layers")?;
        let children = object.array("manifests")?;
        let parts = match (is_index, object.field("config"), layers, children) {
            (false, Some(config), Some(layers), None) => {
                within_limit("layers", layers)?;
                let layer = |(index, layer)| document::descriptor(layer, &format!("layers[{index}]"));
                let config = document::descriptor(config, "config")?;
                Parts::Image { config, layers: layers.iter().enumerate().map(layer).collect::<Result<_, _>>()? }
            }
            (true, None, None, Some(children)) => {
                within_limit("manifests", children)?;
                let entry = |(position, entry)| Entry::of(entry, &format!("manifests[{position}]"));
                Parts::Index { entries: children.iter().enumerate().map(entry).collect::<Result<_, _>>()? }
            }
            (false, ..) => return Err(invalid("manifest", "expected `config`, `layers` and no `manifests`")),
            (true, ..) => return Err(invalid("manifest", "expected `manifests`, no `config` and no `layers`")),
        };
        Ok(Self { media_type, artifact_type, annotations, subject, parts })
    }
}

fn within_limit(about: &str, descriptors: &[Value]) -> Result<(), Defect> {
    if descriptors.len() <= DESCRIPTORS {
        return Ok(());
    }
    Err(over_limit(about, format!("{} descriptors, at most {DESCRIPTORS}", descriptors.len())))
}

fn unsupported(about: &str, detail: impl Into<String>) -> Defect {
    Defect { code: Code::ARTIFACT_UNSUPPORTED, about: about.into(), detail: detail.into() }
}

/// What a wasmCloud capability provider's parts begin with: native code.
const PROVIDER: &str = "application/vnd.wasmcloud.provider";
/// Its config.
const PROVIDER_CONFIG: &str = "application/vnd.wasmcloud.provider.archive.config";
/// Its archive: a tar file with a program for each machine and a token about them.
const PROVIDER_LAYER: &str = "application/vnd.wasmcloud.provider.archive.layer.v1+par";
/// Layers that are a component as it is: never compressed, never an archive (facts: wash, wkg, older wasmCloud, wasm-to-oci).
const COMPONENT_LAYERS: [&str; 3] = [
    "application/wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::case::Digest;

    fn descriptor(media_type: &str, size: u64) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x").to_string(), "size": size})
    }

    fn good() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.wasm.config.v0+json", 1),
            "layers": [descriptor("application/wasm", 1)],
            "annotations": {"org.opencontainers.image.created": "now"},
        })
    }

    fn judge(change: &Value) -> Manifest {
        let mut value = good();
        for (key, field) in change.as_object().unwrap() {
            match field {
                Value::Null => drop(value.as_object_mut().unwrap().remove(key)),
                field => value[key] = field.clone(),
            }
        }
        let content_type = value["mediaType"].as_str().unwrap_or(OCI_MANIFEST).to_owned();
        Manifest::judge(value.to_string().as_bytes(), &content_type)
    }

    fn code(change: &Value) -> String {
        let manifest = judge(change);
        assert!(contents(&manifest) == 0, "{change} has a content");
        assert_eq!(manifest.defects.len(), 1, "{change}");
        format!("{} {}", manifest.defects[0].code, manifest.defects[0].about)
    }

    fn contents(manifest: &Manifest) -> usize {
        let Manifest { component, application, native, child, .. } = manifest;
        [component.is_some(), application.is_some(), native.is_some(), child.is_some()]
            .into_iter()
            .map(usize::from)
            .sum()
    }

    #[test]
    fn a27_4_a_provider_archive_is_native_code_and_nothing_else() {
        let provider = |config: &str, layer: &str| json!({"config": descriptor(config, 1), "layers": [descriptor(layer, COMPONENT_BYTES)]});
        let manifest = judge(&provider(PROVIDER_CONFIG, PROVIDER_LAYER));
        assert_eq!((contents(&manifest), manifest.native.unwrap().media_type), (1, PROVIDER_LAYER.to_owned()));
        for (config, layer) in [
            (PROVIDER_CONFIG, "application/wasm"),
            ("application/vnd.wasm.config.v0+json", PROVIDER_LAYER),
            (PROVIDER_CONFIG, "application/vnd.wasmcloud.provider.archive.layer.v2+par"),
            ("application/vnd.wasmcloud.provider.other", PROVIDER_LAYER),
        ] {
            assert_eq!(code(&provider(config, layer)), "artifact-unsupported config.mediaType", "{config} {layer}");
        }
        let large = json!({
            "config": descriptor(PROVIDER_CONFIG, 1), "layers": [descriptor(PROVIDER_LAYER, COMPONENT_BYTES + 1)],
        });
        assert_eq!(code(&large), "limit-exceeded layers[0].size");
    }

    #[test]
    fn takes_components_of_every_pusher() {
        for layer in COMPONENT_LAYERS {
            let manifest = judge(&json!({"layers": [descriptor(layer, COMPONENT_BYTES)]}));
            assert_eq!(manifest.defects, []);
            assert_eq!(manifest.component.unwrap().media_type, layer);
        }
        assert_eq!(judge(&json!({"mediaType": null})).media_type, OCI_MANIFEST);
        assert_eq!(judge(&json!({"mediaType": DOCKER_MANIFEST})).defects, []);
        assert_eq!(judge(&json!({"config": descriptor(document::OCI_EMPTY, CONFIG_BYTES)})).defects, []);
        assert_eq!(judge(&json!({"subject": descriptor(OCI_MANIFEST, 1), "artifactType": "a/b"})).defects, []);
    }

    #[test]
    fn every_limit_is_held_just_past_it() {
        let many = |count| json!({"layers": vec![descriptor("application/wasm", 1); count]});
        assert_eq!(code(&many(DESCRIPTORS)), "artifact-unsupported layers");
        assert_eq!(code(&many(DESCRIPTORS + 1)), "limit-exceeded layers");
        let layer = descriptor("application/wasm", COMPONENT_BYTES + 1);
        assert_eq!(code(&json!({"layers": [layer]})), "limit-exceeded layers[0].size");
        assert_eq!(code(&json!({"config": descriptor("a/b", CONFIG_BYTES + 1)})), "limit-exceeded config.size");
    }

    #[test]
    fn a3_5_chimeras_are_invalid() {
        for change in [
            json!({"manifests": []}),
            json!({"layers": null}),
            json!({"config": null}),
            json!({"layers": null, "manifests": []}),
            json!({"mediaType": OCI_INDEX}),
            json!({"mediaType": OCI_INDEX, "layers": null, "manifests": []}),
            json!({"schemaVersion": 1}),
            json!({"schemaVersion": "2"}),
            json!({"Layers": []}),
            json!({"layer\u{17f}": []}),
            json!({"subject": 1}),
            json!({"layers": [1]}),
        ] {
            assert!(code(&change).starts_with("manifest-invalid"), "{change}");
        }
        let index = json!({"mediaType": OCI_INDEX, "layers": null, "config": null, "manifests": []});
        assert_eq!(code(&index), "artifact-unsupported manifests");
    }

    #[test]
    fn what_is_no_single_component_is_unsupported() {
        for (change, expected) in [
            (json!({"layers": []}), "artifact-unsupported layers"),
            (
                json!({"layers": [descriptor("application/wasm", 1), descriptor("application/wasm", 1)]}),
                "artifact-unsupported layers",
            ),
            (
                json!({"layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 1)]}),
                "artifact-unsupported layers[0].mediaType",
            ),
            (json!({"layers": [descriptor("application/wasm+gzip", 1)]}), "artifact-unsupported layers[0].mediaType"),
            (
                json!({"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}),
                "artifact-unsupported mediaType",
            ),
        ] {
            assert_eq!(code(&change), expected);
        }
    }

    #[test]
    fn a3_4_the_registry_and_the_bytes_must_name_one_media_type() {
        let bytes = good().to_string();
        for content_type in [OCI_INDEX, DOCKER_MANIFEST, "", "text/html", "x"] {
            let manifest = Manifest::judge(bytes.as_bytes(), content_type);
            assert_eq!(manifest.defects[0].code, Code::MANIFEST_INVALID, "{content_type}");
        }
    }

    #[test]
    fn malformed_json_is_a_defect_of_the_manifest() {
        let twice = good().to_string().replacen("\"layers\"", "\"layers\":[],\"layers\"", 1);
        let manifest = Manifest::judge(twice.as_bytes(), OCI_MANIFEST);
        assert_eq!(manifest.defects[0].detail, "key `layers` stands twice in one object");
        let deep = "[".repeat(100_000);
        assert_eq!(Manifest::judge(deep.as_bytes(), OCI_MANIFEST).defects[0].code, Code::LIMIT_EXCEEDED);
        for text in ["", "\u{feff}{}", "{} {}", "null", "[]", "\u{1f}\u{8b}"] {
            let manifest = Manifest::judge(text.as_bytes(), OCI_MANIFEST);
            assert_eq!(manifest.defects[0].code, Code::MANIFEST_INVALID, "{text}");
        }
    }

    proptest! {
        #[test]
        fn has_one_content_or_a_defect_never_both(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..400) {
            let mut text = good().to_string().into_bytes();
            let at = cut.min(text.len());
            text.splice(at..(at + bytes.len() / 8).min(text.len()), bytes);
            let manifest = Manifest::judge(&text, OCI_MANIFEST);
            prop_assert_eq!(contents(&manifest), usize::from(manifest.defects.is_empty()));
        }
    }
}
