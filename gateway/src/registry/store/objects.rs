//! The object store that replicas share, behind each one's own cache: objects are blobs, named by their digest.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use moka::sync::Cache;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{
    ClientOptions, CredentialProvider, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
};
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use super::super::budgets::{BLOB_BYTES, SECRET_FILE_BYTES};
use super::super::fault::Trouble;
use super::super::settings::{StartError, StoreSettings};
use crate::case::Digest;

/// A store that is asked where the own cache has nothing, and given what was fetched. It is believed no more than a disk is:
/// what it gives is hashed before anybody sees it.
#[derive(Clone)]
pub(super) struct Objects {
    store: Arc<PrefixStore<AmazonS3>>,
    /// As the configuration names it, for messages.
    name: String,
    /// How long it may be silent.
    idle: Duration,
    /// Digests under which it had other bytes: the next that is put takes their place.
    altered: Cache<Digest, ()>,
}

impl Objects {
    /// Checks the settings and opens the store; nothing is asked yet.
    pub fn open(settings: &StoreSettings, connect: Duration) -> Result<Self, StartError> {
        let refused = |detail: &'static str| StartError::Store { url: settings.url.clone(), detail };
        let url = Url::parse(&settings.url).map_err(|_| refused("it is no URL"))?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !plain || url.fragment().is_some() {
            return Err(refused("it holds more than a place"));
        }
        let idle = Duration::from_millis(settings.timeout_ms);
        if url.scheme() != "s3" {
            return Err(refused("expected `s3://BUCKET[/PREFIX]`"));
        }
        let prefix = Key::parse(url.path().trim_matches('/')).map_err(|_| refused("its path is no prefix"))?;
        let store = Arc::new(PrefixStore::new(bucket(settings, &url, connect, idle)?, prefix));
        Ok(Self { store, name: settings.url.clone(), idle, altered: Cache::new(ALTERED) })
    }

    /// The bytes of `digest`, hashed; none if they are not there, or if other bytes are.
    pub async fn bytes(&self, digest: &Digest) -> Result<Option<Bytes>, Trouble> {
        let failed = |fault| self.trouble(format!("reading blob `{digest}`"), fault);
        let found = match timeout(self.idle, self.store.get(&key(digest))).await {
            Ok(Ok(found)) => found,
            Ok(Err(Error::NotFound { .. })) => return Ok(None),
            Ok(Err(error)) => return Err(failed(io::Error::other(error))),
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        let mut bytes = Vec::new();
        let mut pieces = found.into_stream();
        while let Some(piece) =
            timeout(self.idle, pieces.next()).await.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        {
            let piece = piece.map_err(|error| failed(io::Error::other(error)))?;
            if piece.len() as u64 > BLOB_BYTES - bytes.len() as u64 {
                return Ok(self.altered(digest));
            }
            bytes.extend_from_slice(&piece);
        }
        // A quarter of a gigabyte is hashed in tenths of a second: not on a thread that others wait for.
        let (expected, bytes) = (*digest, Bytes::from(bytes));
        let hashed = tokio::task::spawn_blocking(move || (Digest::of(&bytes) == expected, bytes)).await;
        let (same, bytes) = hashed.map_err(|gone| failed(gone.into()))?;
        Ok(if same { Some(bytes) } else { self.altered(digest) })
    }

    /// Puts bytes that the caller has hashed, unless they are there already.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Trouble> {
        let failed = |fault| self.trouble(format!("writing blob `{digest}`"), fault);
        let mode = if self.altered.contains_key(digest) { PutMode::Overwrite } else { PutMode::Create };
        let patience = self.idle + Duration::from_secs(bytes.len() as u64 / LEAST_BYTES_PER_S);
        let options = PutOptions { mode, ..PutOptions::default() };
        match timeout(patience, self.store.put_opts(&key(digest), bytes.into(), options)).await {
            Ok(Ok(_)) => {
                self.altered.invalidate(digest);
                Ok(())
            }
            Ok(Err(Error::AlreadyExists { .. })) => Ok(()),
            Ok(Err(error)) => Err(failed(io::Error::other(error))),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Other bytes than the digest says: none at all.
    fn altered(&self, digest: &Digest) -> Option<Bytes> {
        self.altered.insert(*digest, ());
        metrics::counter!("witgate_store_altered_total").increment(1);
        tracing::warn!(blob.digest = %digest, store = self.name, "object has other bytes than its digest, not used");
        None
    }

    fn trouble(&self, doing: String, fault: io::Error) -> Trouble {
        Trouble::Store { name: self.name.clone(), doing, source: Arc::new(fault) }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `sha256/HEX`, as in the own cache.
fn key(digest: &Digest) -> Key {
    Key::from(format!("sha256/{}", digest.hex()))
}

/// A bucket of S3, or of a server that speaks its protocol.
fn bucket(settings: &StoreSettings, url: &Url, connect: Duration, idle: Duration) -> Result<AmazonS3, StartError> {
    let refused = |detail: &'static str| StartError::Store { url: settings.url.clone(), detail };
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or(refused("it names no bucket"))?;
    let (Some(key_id), Some(file)) = (&settings.access_key_id, &settings.secret_access_key_file) else {
        return Err(refused("expected `access_key_id` with `secret_access_key_file`"));
    };
    let credential = Credential { key_id: key_id.clone(), file: file.clone() };
    credential.read().map_err(|_| refused("`secret_access_key_file` cannot be read, or is no secret"))?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(settings.region.as_deref().unwrap_or("us-east-1"))
        .with_credentials(Arc::new(credential))
        .with_http_connector(Connector(client(settings, connect, idle)?))
        .with_retry(RetryConfig { max_retries: 1, retry_timeout: idle, ..RetryConfig::default() });
    if let Some(endpoint) = &settings.endpoint {
        let in_clear = endpoint.starts_with("http://");
        if in_clear && !Url::parse(endpoint).is_ok_and(|url| crate::egress::is_loopback(&url)) {
            return Err(refused("`endpoint` would be asked in clear: expected https"));
        }
        builder = builder.with_endpoint(endpoint).with_allow_http(in_clear);
    }
    builder.build().map_err(|_| refused("no client can be made of these settings"))
}

/// As for registries: no proxies of the environment, no redirects, our own time-outs.
fn client(settings: &StoreSettings, connect: Duration, idle: Duration) -> Result<reqwest::Client, StartError> {
    let refused = |detail: &'static str| StartError::Store { url: settings.url.clone(), detail };
    let builder = reqwest::Client::builder()
        .user_agent(concat!("witgate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(connect)
        .read_timeout(idle);
    let builder = match &settings.ca {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|_| refused("`ca` cannot be read"))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(refused("`ca` holds no PEM certificates"));
            }
            builder.tls_certs_only(certificates)
        }
        None if settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")) => {
            builder.tls_certs_only([])
        }
        None => builder,
    };
    builder.build().map_err(|_| refused("no client can be made: has this machine certificate authorities?"))
}

#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// The key pair; its secret half is read whenever it is needed, so that it can be rotated.
#[derive(Debug)]
struct Credential {
    key_id: String,
    file: PathBuf,
}

impl Credential {
    fn read(&self) -> io::Result<AwsCredential> {
        let text = Zeroizing::new(read_bounded(&self.file)?);
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not one printable secret"));
        }
        Ok(AwsCredential { key_id: self.key_id.clone(), secret_key: secret.to_owned(), token: None })
    }
}

#[async_trait]
impl CredentialProvider for Credential {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.read().map(Arc::new).map_err(|error| Error::Generic { store: "S3", source: error.into() })
    }
}

fn read_bounded(file: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    std::fs::File::open(file)?.take(SECRET_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 16 KiB"));
    }
    Ok(text)
}

/// Objects with other bytes that are remembered, so that they are written anew.
const ALTERED: u64 = 4096;
/// The least mean rate at which an object is taken, in bytes a second.
const LEAST_BYTES_PER_S: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use crate::registry::Settings;
    use crate::registry::peer::{Ending, Peer, Reply};

    /// Stores of several gateways over one object store, each with a cache of its own.
    fn gateway(store: &StoreSettings) -> (Store, tempfile::TempDir) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { store: Some(store.clone()), ..Settings::default() };
        (Store::open(folder.path(), &settings).unwrap(), folder)
    }

    async fn kept(store: &Store, bytes: &'static [u8]) -> Digest {
        let digest = Digest::of(bytes);
        store.keep(digest, Bytes::from_static(bytes)).await.unwrap();
        digest
    }

    #[tokio::test]
    async fn what_one_replica_fetched_the_others_have() {
        let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
        peer.keep_objects();
        let (first, _first_cache) = gateway(&s3(&peer, &folder));
        let (second, second_cache) = gateway(&s3(&peer, &folder));
        let digest = kept(&first, b"bytes").await;
        assert_eq!(second.whole(digest).await.unwrap().unwrap(), &b"bytes"[..]);
        // From then on it has a copy of its own.
        second.settled().await;
        assert!(second_cache.path().join("blobs/sha256").join(digest.hex()).exists());
        let asked = peer.asked().len();
        assert_eq!(second.whole(digest).await.unwrap().unwrap(), &b"bytes"[..]);
        assert_eq!(peer.asked().len(), asked);
        assert_eq!(second.whole(Digest::of(b"other")).await.unwrap(), None);
        // What is there already is no fault, and is not written over.
        kept(&second, b"bytes").await;
    }

    #[tokio::test]
    async fn a2_4_an_altered_object_is_a_miss_and_is_written_anew() {
        let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
        peer.keep_objects();
        let digest = Digest::of(b"bytes");
        for altered in [&b"bytez"[..], b"", b"bytes and more"] {
            peer.on(object_path(&digest), object(altered));
            let (store, cache) = gateway(&s3(&peer, &folder));
            assert_eq!(store.whole(digest).await.unwrap(), None);
            assert!(!cache.path().join("blobs/sha256").join(digest.hex()).exists(), "altered bytes were kept");
            kept(&store, b"bytes").await;
            let (other, _other_cache) = gateway(&s3(&peer, &folder));
            assert_eq!(other.whole(digest).await.unwrap().unwrap(), &b"bytes"[..]);
        }
    }

    #[tokio::test]
    async fn many_who_ask_for_one_object_are_one_request() {
        let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
        let digest = Digest::of(b"bytes");
        peer.on(object_path(&digest), object(b"bytes"));
        let (store, _cache) = gateway(&s3(&peer, &folder));
        let all = futures::future::join_all((0..64).map(|_| store.whole(digest))).await;
        assert!(all.into_iter().all(|bytes| bytes.unwrap().unwrap() == b"bytes"[..]));
        assert_eq!(peer.asked().len(), 1);
    }

    /// An S3-like server: what it answers is for the test to say.
    fn s3(peer: &Peer, folder: &tempfile::TempDir) -> StoreSettings {
        let file = folder.path().join("secret");
        std::fs::write(&file, "hunter2\n").unwrap();
        StoreSettings {
            url: "s3://bucket/some/prefix".into(),
            endpoint: Some(format!("http://{}", peer.name)),
            access_key_id: Some("key".into()),
            secret_access_key_file: Some(file),
            timeout_ms: 300,
            ..StoreSettings::default()
        }
    }

    fn object_path(digest: &Digest) -> String {
        format!("/bucket/some/prefix/sha256/{}", digest.hex())
    }

    fn object(bytes: &[u8]) -> Reply {
        Reply::ok("application/octet-stream", bytes)
            .header("etag", "\"x\"")
            .header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")
    }

    #[tokio::test]
    async fn an_s3_like_server_is_asked_in_its_own_way_and_sees_no_secret() {
        let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
        let (store, _cache) = gateway(&s3(&peer, &folder));
        let digest = Digest::of(b"bytes");
        peer.on(object_path(&digest), object(b"bytes"));
        assert_eq!(store.whole(digest).await.unwrap().unwrap(), &b"bytes"[..]);
        assert_eq!(store.whole(Digest::of(b"none")).await.unwrap(), None);
        peer.on(object_path(&Digest::of(b"new")), Reply::status(200).header("etag", "\"y\""));
        kept(&store, b"new").await;
        let asked = peer.asked();
        let put = asked.iter().find(|asked| asked.method == "PUT").unwrap();
        assert_eq!((put.path.clone(), &*put.body), (object_path(&Digest::of(b"new")), "new"));
        for asked in &asked {
            let signed = asked.authorization.as_deref().unwrap();
            assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=key/"), "{signed}");
            assert!(!format!("{asked:?}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_an_outage_that_names_it() {
        let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
        let settings = s3(&peer, &folder);
        let digest = Digest::of(b"bytes");
        for (what, reply) in [
            ("500", Reply::status(500)),
            ("403", Reply::status(403)),
            ("redirect", Reply::status(307).header("location", "http://169.254.169.254/")),
            ("mute", object(b"bytes").ending(Ending::Mute)),
            ("stalled", object(b"bytes").ending(Ending::Stalled)),
            ("cut off", object(b"bytes").ending(Ending::Announcing(100))),
        ] {
            peer.on(object_path(&digest), reply);
            let (store, _cache) = gateway(&settings);
            let outage = store.whole(digest).await.unwrap_err().into_outage();
            assert_eq!(outage.peer.to_string(), "store `s3://bucket/some/prefix`", "{what}");
            assert!(!outage.chain().contains("hunter2"), "{what}: {}", outage.chain());
            let putting = store.keep(digest, Bytes::from_static(b"bytes")).await;
            assert!(putting.is_err() || what == "stalled" || what == "cut off", "{what}");
        }
        // Nobody there at all.
        let nowhere = Peer::nowhere();
        let (store, _cache) = gateway(&s3(&nowhere, &folder));
        assert_eq!(store.whole(digest).await.unwrap_err().into_outage().peer.kind(), "store");
    }

    #[test]
    fn settings_that_are_of_no_use_stop_the_start() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let good = s3(&Peer::nowhere(), &folder);
        let open = |settings: &StoreSettings| Objects::open(settings, Duration::from_secs(1)).map(|_| ());
        open(&good).unwrap();
        let with = |change: &dyn Fn(&mut StoreSettings)| {
            let mut settings = good.clone();
            change(&mut settings);
            open(&settings)
        };
        for url in ["", "bucket", "https://bucket.example/", "s3://", "s3://u:p@bucket", "s3://bucket?x", "file:///x"] {
            assert!(matches!(with(&|s| s.url = url.into()), Err(StartError::Store { .. })), "`{url}` was taken");
        }
        assert!(with(&|s| s.access_key_id = None).is_err());
        assert!(with(&|s| s.secret_access_key_file = Some("/nowhere".into())).is_err());
        assert!(with(&|s| s.endpoint = Some("http://minio.example:9000".into())).is_err());
        assert!(with(&|s| s.ca = Some(folder.path().join("secret"))).is_err());
    }
}
