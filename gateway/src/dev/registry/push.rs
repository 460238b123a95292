//! Pushing components with their evidence over plain HTTP, as a publisher's tools would.
//!
//! It is for embedded registries on loopback: no TLS, no proxy from the environment, no foreign token endpoint.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};

use super::Auth;
use super::pull::OCI_INDEX;
use crate::case::{Digest, Timestamp};

/// A component that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The full reference: `127.0.0.1:41234/acme/cart:1.4`.
    pub reference: String,
    /// The manifest's digest: what evidence and decisions are about.
    pub manifest: Digest,
    /// The manifest as pushed.
    pub manifest_bytes: Bytes,
    /// The component layer's digest.
    pub component: Digest,
}

/// What the Wasm config says about the component; nobody checks it against the bytes here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigClaims {
    /// When it was made; the epoch by default, so that equal bytes give equal manifests.
    pub created: Timestamp,
    /// The imports it claims, such as `wasi:http/outgoing-handler@0.2.3`; by default it says nothing of imports.
    pub imports: Option<Vec<String>>,
    /// The exports it claims.
    pub exports: Vec<String>,
    /// The world it claims to target.
    pub target: Option<String>,
}

impl Default for ConfigClaims {
    fn default() -> Self {
        Self { created: Timestamp::UNIX_EPOCH, imports: None, exports: Vec::new(), target: None }
    }
}

/// Pushes `wasm` as a Wasm OCI artifact (CNCF wasm-oci-artifact): one config, one `application/wasm` layer, one tag.
///
/// A core module (layer 0 in its preamble) is described as `wasip1`, all else as a `wasip2` component.
///
/// # Errors
/// When the registry cannot be reached or does not take a part.
pub async fn component(
    host: &str,
    repository: &str,
    tag: &str,
    wasm: Bytes,
    claims: ConfigClaims,
    auth: &Auth,
) -> anyhow::Result<Pushed> {
    let is_module = wasm.get(4..8) == Some(&[1, 0, 0, 0]);
    let (layer, layer_size) = (Digest::of(&wasm), wasm.len());
    let mut config = json!({
        "created": claims.created.to_string(),
        "author": null,
        "architecture": "wasm",
        "os": if is_module { "wasip1" } else { "wasip2" },
        "layerDigests": [layer],
    });
    if !is_module {
        config["component"] = json!({"exports": claims.exports, "target": claims.target});
        if let Some(imports) = claims.imports {
            config["component"]["imports"] = json!(imports);
        }
    }
    let config = Bytes::from(config.to_string());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(WASM_CONFIG, &Digest::of(&config), config.len()),
        "layers": [descriptor(WASM_LAYER, &layer, layer_size)],
    });
    let manifest = Bytes::from(manifest.to_string());
    let pusher = Pusher::new(host, repository, auth).await?;
    pusher.blob(config).await?;
    pusher.blob(wasm).await?;
    pusher.manifest(tag, OCI_MANIFEST, manifest.clone()).await?;
    Ok(Pushed {
        reference: format!("{host}/{repository}:{tag}"),
        manifest: Digest::of(&manifest),
        manifest_bytes: manifest,
        component: layer,
    })
}

/// Pushes a Sigstore bundle as a referrer of `subject`, in the shape that cosign v3 writes (`specs/BUNDLE_SPEC.md`); gives
/// the referrer manifest's digest.
///
/// A registry that does not answer `OCI-Subject` has no referrers API: then the fallback tag's index is extended.
///
/// # Errors
/// When the registry cannot be reached or does not take a part.
pub async fn bundle(
    host: &str,
    repository: &str,
    subject: &Pushed,
    bundle_json: &[u8],
    predicate_type: Option<&str>,
    auth: &Auth,
) -> anyhow::Result<Digest> {
    let layer = Digest::of(bundle_json);
    let is_dsse = serde_json::from_slice::<Value>(bundle_json).is_ok_and(|json| json.get("dsseEnvelope").is_some());
    let mut annotations = json!({
        "dev.sigstore.bundle.content": if is_dsse { "dsse-envelope" } else { "message-signature" },
        "org.opencontainers.image.created": Timestamp::UNIX_EPOCH.to_string(),
    });
    if let Some(predicate_type) = predicate_type {
        annotations["dev.sigstore.bundle.predicateType"] = json!(predicate_type);
    }
    let mut config = descriptor(EMPTY_CONFIG, &Digest::of(EMPTY_JSON), EMPTY_JSON.len());
    config["artifactType"] = json!(SIGSTORE_BUNDLE);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": SIGSTORE_BUNDLE,
        "config": config,
        "layers": [descriptor(SIGSTORE_BUNDLE, &layer, bundle_json.len())],
        "subject": descriptor(OCI_MANIFEST, &subject.manifest, subject.manifest_bytes.len()),
        "annotations": annotations,
    });
    let manifest = Bytes::from(manifest.to_string());
    let digest = Digest::of(&manifest);
    let pusher = Pusher::new(host, repository, auth).await?;
    pusher.blob(Bytes::from_static(EMPTY_JSON)).await?;
    pusher.blob(Bytes::copy_from_slice(bundle_json)).await?;
    let mut entry = descriptor(OCI_MANIFEST, &digest, manifest.len());
    match pusher.manifest(&digest.to_string(), OCI_MANIFEST, manifest).await? {
        ReferrersApi::Present => {}
        ReferrersApi::Absent => {
            entry["artifactType"] = json!(SIGSTORE_BUNDLE);
            entry["annotations"] = annotations;
            pusher.add_to_fallback_tag(&subject.manifest, entry).await?;
        }
    }
    Ok(digest)
}

/// Pushes any bytes as a manifest under a tag or a digest; gives their SHA-256.
///
/// # Errors
/// When the registry cannot be reached or does not take them.
pub async fn manifest_raw(
    host: &str,
    repository: &str,
    tag_or_digest: &str,
    media_type: &str,
    bytes: Bytes,
    auth: &Auth,
) -> anyhow::Result<Digest> {
    let digest = Digest::of(&bytes);
    Pusher::new(host, repository, auth).await?.manifest(tag_or_digest, media_type, bytes).await?;
    Ok(digest)
}

/// Pushes any bytes as a blob; gives their SHA-256.
///
/// # Errors
/// When the registry cannot be reached or does not take them.
pub async fn blob_raw(host: &str, repository: &str, bytes: Bytes, auth: &Auth) -> anyhow::Result<Digest> {
    Pusher::new(host, repository, auth).await?.blob(bytes).await
}

/// The tag under which clients keep referrers where there is no API: `sha256-<hex>` (distribution-spec, "Referrers tag
/// schema").
pub fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// A client with what it needs to push into one repository.
struct Pusher {
    http: reqwest::Client,
    base: Url,
    credential: Credential,
}

enum Credential {
    Nothing,
    Basic { username: String, password: String },
    Token(String),
}

/// Whether the registry said `OCI-Subject`, so that it lists the referrer by itself.
enum ReferrersApi {
    Present,
    Absent,
}

impl Pusher {
    async fn new(host: &str, repository: &str, auth: &Auth) -> anyhow::Result<Self> {
        // reqwest needs a provider even for plain HTTP; whoever installed one first has the say.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build()?;
        let base = Url::parse(&format!("http://{host}/v2/{repository}/"))
            .with_context(|| format!("`{host}/{repository}` makes no URL"))?;
        let credential = match auth {
            Auth::Open => Credential::Nothing,
            Auth::Basic { username, password } => {
                Credential::Basic { username: username.clone(), password: password.clone() }
            }
            Auth::Bearer { username, password } | Auth::PublicBearer { username, password } => {
                let scope = format!("repository:{repository}:pull,push");
                let mut url = base.join("/token")?;
                url.query_pairs_mut().append_pair("service", host).append_pair("scope", &scope);
                let response = http.get(url).basic_auth(username, Some(password)).send().await?;
                let answer: Value = expect(response, StatusCode::OK, "buying a token").await?.json().await?;
                Credential::Token(answer["token"].as_str().context("the token endpoint gave no `token`")?.to_owned())
            }
        };
        Ok(Self { http, base, credential })
    }

    /// One upload in one piece: `POST uploads/`, then `PUT ?digest=`.
    async fn blob(&self, bytes: Bytes) -> anyhow::Result<Digest> {
        let digest = Digest::of(&bytes);
        let started = self.request(Method::POST, self.base.join("blobs/uploads/")?).send().await?;
        let started = expect(started, StatusCode::ACCEPTED, "starting an upload").await?;
        let location = started.headers().get(LOCATION).context("the registry gave an upload no `Location`")?;
        let mut url = self.base.join(location.to_str()?)?;
        ensure!(url.origin() == self.base.origin(), "the registry sent an upload to another host");
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let put = self.request(Method::PUT, url).header(CONTENT_TYPE, "application/octet-stream").body(bytes);
        expect(put.send().await?, StatusCode::CREATED, "pushing a blob").await?;
        Ok(digest)
    }

    async fn manifest(&self, tag_or_digest: &str, media_type: &str, bytes: Bytes) -> anyhow::Result<ReferrersApi> {
        let put = self.request(Method::PUT, self.manifest_url(tag_or_digest)?).header(CONTENT_TYPE, media_type);
        let response = expect(put.body(bytes).send().await?, StatusCode::CREATED, "pushing a manifest").await?;
        Ok(match response.headers().contains_key("oci-subject") {
            true => ReferrersApi::Present,
            false => ReferrersApi::Absent,
        })
    }

    /// Adds `entry` to the index under the fallback tag. Two pushers at once may lose an entry: the scheme has no lock.
    async fn add_to_fallback_tag(&self, subject: &Digest, entry: Value) -> anyhow::Result<()> {
        let tag = fallback_tag(subject);
        let response = self.request(Method::GET, self.manifest_url(&tag)?).header("accept", OCI_INDEX).send().await?;
        let mut index = match response.status() {
            StatusCode::NOT_FOUND => json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
            _ => expect(response, StatusCode::OK, "reading the fallback tag").await?.json().await?,
        };
        let entries = index["manifests"].as_array_mut().context("the fallback tag is no index")?;
        if entries.iter().any(|known| known["digest"] == entry["digest"]) {
            return Ok(());
        }
        entries.push(entry);
        self.manifest(&tag, OCI_INDEX, index.to_string().into()).await?;
        Ok(())
    }

    fn manifest_url(&self, tag_or_digest: &str) -> anyhow::Result<Url> {
        // `./`, because `sha256:…` alone would read as a scheme.
        Ok(self.base.join(&format!("./manifests/{tag_or_digest}"))?)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.credential {
            Credential::Nothing => request,
            Credential::Basic { username, password } => request.basic_auth(username, Some(password)),
            Credential::Token(token) => request.bearer_auth(token),
        }
    }
}

async fn expect(response: Response, expected: StatusCode, doing: &str) -> anyhow::Result<Response> {
    let status = response.status();
    if status == expected {
        return Ok(response);
    }
    let said: Value = response.json().await.unwrap_or_default();
    let said = said.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
    bail!("{doing}: expected {expected}, the registry said {status}: {said}")
}

fn descriptor(media_type: &str, digest: &Digest, size_bytes: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size_bytes})
}

/// The media type of an image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The config of a Wasm artifact.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The layer of a Wasm artifact.
pub const WASM_LAYER: &str = "application/wasm";
/// A Sigstore bundle, as layer and as artifact type.
pub const SIGSTORE_BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The config of an artifact that has none (image-spec, "Guidance for an empty descriptor").
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
const EMPTY_JSON: &[u8] = b"{}";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// One request, with a component of 256 MiB in it, on loopback.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
