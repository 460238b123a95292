//! Ed25519 keys in the two forms that every tool reads: PKCS#8 version 1 PEM for the secret, SPKI PEM for the public one.
//!
//! `ed25519-dalek` writes PKCS#8 version 2, which OpenSSL 3.0 refuses; so the bytes are laid out here (RFC 8410, section 7).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The largest key file that is read, in bytes: an Ed25519 PEM file has about 120.
pub const MAX_KEY_FILE_BYTES: u64 = 4096;

/// The length of an Ed25519 signature, in bytes (RFC 8032).
pub const SIGNATURE_BYTES: usize = 64;

/// A secret Ed25519 key; wiped from memory when dropped, never printed.
pub struct PrivateKey(SigningKey);

/// A public Ed25519 key that is not one of the weak points.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// What is wrong with a key's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormat {
    /// No PEM block with the label.
    #[error("no PEM block `{label}`, or more than one")]
    Pem {
        /// The label that was expected.
        label: &'static str,
    },
    /// The bytes inside are not an Ed25519 key in that form.
    #[error("PEM block `{label}` holds no Ed25519 key of {expected_bytes} bytes (RFC 8410)")]
    Der {
        /// The label of the block.
        label: &'static str,
        /// The only length there is, in bytes.
        expected_bytes: usize,
    },
    /// The point is of small order, so a signature by it proves nothing.
    #[error("public key is weak: a point of small order")]
    Weak,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be opened, read or written.
    #[error("cannot use key file `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else may read or write the secret.
    #[error("key file `{}` has mode {mode:04o}, expected 0600", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than [`MAX_KEY_FILE_BYTES`], or no plain file.
    #[error("key file `{}` is no plain file of at most {MAX_KEY_FILE_BYTES} bytes", path.display())]
    NotAKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The text is no key.
    #[error("key file `{}` is unreadable", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyFormat,
    },
    /// The system gave no random bytes.
    #[error("no random bytes for a new key `{}`", path.display())]
    Random {
        /// The file that would have been written.
        path: PathBuf,
    },
}

impl KeyFileError {
    /// The next thing to do.
    pub fn hint(&self) -> String {
        match self {
            Self::File { path, .. } => format!("check that `{}` exists and belongs to this user", path.display()),
            Self::Mode { path, .. } => format!("run `chmod 600 {}`", path.display()),
            Self::NotAKeyFile { .. } | Self::Format { .. } => {
                "make a key with `openssl genpkey -algorithm ed25519`".into()
            }
            Self::Random { .. } => "check the system's random source".into(),
        }
    }
}

impl PrivateKey {
    /// The key of a 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a PKCS#8 version 1 PEM text.
    ///
    /// # Errors
    /// [`KeyFormat`] when it is anything else.
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, KeyFormat> {
        let der = read_pem(text, PRIVATE_LABEL)?;
        let wrong = KeyFormat::Der { label: PRIVATE_LABEL, expected_bytes: PKCS8_PREFIX.len() + 32 };
        let seed = der.strip_prefix(PKCS8_PREFIX.as_slice()).ok_or(wrong)?;
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).map_err(|_| wrong)?);
        Ok(Self::from_seed(&seed))
    }

    /// Writes the PKCS#8 version 1 PEM text that OpenSSL, Go and Python read.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + 32));
        der.extend_from_slice(PKCS8_PREFIX);
        der.extend_from_slice(self.0.as_bytes());
        write_pem(&der, PRIVATE_LABEL)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message` with pure Ed25519.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }

    /// Reads the key of `path`, which nobody but its owner may read.
    ///
    /// # Errors
    /// [`KeyFileError`] with the path.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let mut file = open(path)?;
        let mode = metadata(&file, path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Mode { path: path.into(), mode });
        }
        let text = read_text(&mut file, path)?;
        Self::from_pkcs8_pem(&text).map_err(|source| KeyFileError::Format { path: path.into(), source })
    }

    /// Makes a key from the system's randomness and writes it to `path`, which must not exist, with mode 0600.
    ///
    /// The file is whole or absent after a crash: it is written and synced under another name first.
    ///
    /// # Errors
    /// [`KeyFileError`] with the path.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| KeyFileError::Random { path: path.into() })?;
        let key = Self::from_seed(&seed);
        write_new(path, key.to_pkcs8_pem().as_bytes(), 0o600)?;
        Ok(key)
    }

    /// Reads the key of `path`, or makes it when there is no such file.
    ///
    /// # Errors
    /// [`KeyFileError`] with the path.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                match Self::create(path) {
                    // Another process of ours was quicker: its key is the one.
                    Err(KeyFileError::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                        Self::load(path)
                    }
                    made => made,
                }
            }
            loaded => loaded,
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().keyid())
    }
}

impl PublicKey {
    /// The key of 32 bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`KeyFormat::Der`] for bytes that are no point, [`KeyFormat::Weak`] for a point of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyFormat> {
        let key = VerifyingKey::from_bytes(bytes)
            .map_err(|_| KeyFormat::Der { label: PUBLIC_LABEL, expected_bytes: SPKI_PREFIX.len() + 32 })?;
        if key.is_weak() { Err(KeyFormat::Weak) } else { Ok(Self(key)) }
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Reads an SPKI PEM text.
    ///
    /// # Errors
    /// [`KeyFormat`] when it is anything else.
    pub fn from_spki_pem(text: &str) -> Result<Self, KeyFormat> {
        let der = read_pem(text, PUBLIC_LABEL)?;
        let wrong = KeyFormat::Der { label: PUBLIC_LABEL, expected_bytes: SPKI_PREFIX.len() + 32 };
        let bytes = der.strip_prefix(SPKI_PREFIX.as_slice()).ok_or(wrong)?;
        Self::from_bytes(bytes.try_into().map_err(|_| wrong)?)
    }

    /// Writes the SPKI PEM text.
    pub fn to_spki_pem(&self) -> String {
        write_pem(&self.spki_der(), PUBLIC_LABEL).as_str().to_owned()
    }

    /// The 44 bytes of the SPKI DER form.
    pub fn spki_der(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), self.as_bytes()].concat()
    }

    /// The key's name: SHA-256 of its SPKI DER as 64 lower-case hex digits.
    pub fn keyid(&self) -> String {
        hex::encode(Sha256::digest(self.spki_der()))
    }

    /// Whether `signature` is this key's pure Ed25519 signature of `message`, by the strict rules: canonical, no weak points.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }

    /// Reads the key of `path`.
    ///
    /// # Errors
    /// [`KeyFileError`] with the path.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let text = read_text(&mut open(path)?, path)?;
        Self::from_spki_pem(&text).map_err(|source| KeyFileError::Format { path: path.into(), source })
    }

    /// Writes the key to `path` with mode 0644, over what is there.
    ///
    /// # Errors
    /// [`KeyFileError`] with the path.
    pub fn store(&self, path: &Path) -> Result<(), KeyFileError> {
        let next = beside(path);
        let at = |source| KeyFileError::File { path: path.into(), source };
        write_file(&next, self.to_spki_pem().as_bytes(), 0o644).map_err(at)?;
        std::fs::rename(&next, path).map_err(at)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.keyid())
    }
}

fn open(path: &Path) -> Result<File, KeyFileError> {
    let at = |source| KeyFileError::File { path: path.into(), source };
    // Looked at before it is opened: a named pipe in the key's place would hold the start for ever.
    if !std::fs::metadata(path).map_err(at)?.is_file() {
        return Err(KeyFileError::NotAKeyFile { path: path.into() });
    }
    File::open(path).map_err(at)
}

fn metadata(file: &File, path: &Path) -> Result<std::fs::Metadata, KeyFileError> {
    file.metadata().map_err(|source| KeyFileError::File { path: path.into(), source })
}

fn read_text(file: &mut File, path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    let read = file.take(MAX_KEY_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|source| KeyFileError::File { path: path.into(), source })?;
    if text.len() as u64 > MAX_KEY_FILE_BYTES {
        return Err(KeyFileError::NotAKeyFile { path: path.into() });
    }
    Ok(text)
}

/// Writes a file that must not exist; a hard link makes "whole" and "mine" one step.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let at = |source| KeyFileError::File { path: path.into(), source };
    let next = beside(path);
    write_file(&next, bytes, mode).map_err(at)?;
    let linked = std::fs::hard_link(&next, path);
    std::fs::remove_file(&next).map_err(at)?;
    linked.map_err(at)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name beside `path` that no other process uses: the id is random.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", uuid::Uuid::now_v7().simple()));
    path.with_file_name(name)
}

fn read_pem(text: &str, label: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyFormat> {
    let wrong = KeyFormat::Pem { label };
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let (before, rest) = text.split_once(begin.as_str()).ok_or(wrong)?;
    let (body, after) = rest.split_once(end.as_str()).ok_or(wrong)?;
    if before.contains("-----") || after.contains("-----") {
        return Err(wrong);
    }
    let body = Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
    STANDARD.decode(body.as_bytes()).map(Zeroizing::new).map_err(|_| wrong)
}

fn write_pem(der: &[u8], label: &str) -> Zeroizing<String> {
    // An Ed25519 key is 48 or 44 bytes: one line of at most 64 characters (RFC 7468, section 2).
    let body = Zeroizing::new(STANDARD.encode(der));
    Zeroizing::new(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", body.as_str()))
}

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// RFC 8410, section 7: version 0, OID 1.3.101.112, an OCTET STRING in an OCTET STRING.
const PKCS8_PREFIX: &[u8; 16] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// RFC 8410, section 4: OID 1.3.101.112, a BIT STRING.
const SPKI_PREFIX: &[u8; 12] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    fn key() -> PrivateKey {
        let mut seed = [0; 32];
        hex::decode_to_slice(SEED, &mut seed).unwrap();
        PrivateKey::from_seed(&seed)
    }

    #[test]
    fn writes_the_bytes_that_openssl_writes() {
        assert_eq!(
            key().to_pkcs8_pem().as_str(),
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n"
        );
        assert_eq!(
            key().public().to_spki_pem(),
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
        );
        assert_eq!(key().public().keyid(), "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9");
    }

    #[test]
    fn reads_what_it_writes() {
        let read = PrivateKey::from_pkcs8_pem(&key().to_pkcs8_pem()).unwrap();
        assert_eq!(read.public(), key().public());
        assert_eq!(PublicKey::from_spki_pem(&key().public().to_spki_pem()).unwrap(), key().public());
    }

    #[test]
    fn refuses_texts_that_are_no_key() {
        let pem = key().to_pkcs8_pem();
        let twice = format!("{}{}", pem.as_str(), pem.as_str());
        for text in
            ["", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", &twice]
        {
            assert_eq!(PrivateKey::from_pkcs8_pem(text).unwrap_err(), KeyFormat::Pem { label: PRIVATE_LABEL });
        }
        let public = key().public().to_spki_pem();
        assert_eq!(PrivateKey::from_pkcs8_pem(&public).unwrap_err(), KeyFormat::Pem { label: PRIVATE_LABEL });
        let short = pem.replace("rn9g", "rg==");
        assert_eq!(
            PrivateKey::from_pkcs8_pem(&short).unwrap_err(),
            KeyFormat::Der { label: PRIVATE_LABEL, expected_bytes: 48 }
        );
    }

    #[test]
    fn refuses_the_point_under_which_every_message_verifies() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(KeyFormat::Weak));
        assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyFormat::Weak));
    }

    #[test]
    fn signs_as_rfc_8032_does() {
        let signature = key().sign(b"");
        assert_eq!(hex::encode(&signature[..8]), "e5564300c360ac72");
        assert!(key().public().verifies(b"", &signature));
        assert!(!key().public().verifies(b"x", &signature));
        assert!(!key().public().verifies(b"", &signature[..63]));
    }

    #[test]
    fn makes_a_key_file_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ticket.key");
        let made = PrivateKey::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(PrivateKey::load_or_create(&path).unwrap().public(), made.public());
        assert!(matches!(PrivateKey::create(&path), Err(KeyFileError::File { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn refuses_a_key_file_that_others_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ticket.key");
        PrivateKey::create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(PrivateKey::load_or_create(&path), Err(KeyFileError::Mode { mode: 0o640, .. })));
    }

    #[test]
    fn refuses_a_folder_or_a_large_file_in_a_keys_place() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(PublicKey::load(folder.path()), Err(KeyFileError::NotAKeyFile { .. })));
        let path = folder.path().join("large.pub");
        let padding = " ".repeat(usize::try_from(MAX_KEY_FILE_BYTES).unwrap());
        std::fs::write(&path, key().public().to_spki_pem() + &padding).unwrap();
        assert!(matches!(PublicKey::load(&path), Err(KeyFileError::NotAKeyFile { .. })));
    }

    #[test]
    fn a_public_key_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ticket.pub");
        std::fs::write(&path, "old").unwrap();
        key().public().store(&path).unwrap();
        assert_eq!(PublicKey::load(&path).unwrap(), key().public());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", key());
        assert!(shown.contains(&key().public().keyid()) && !shown.contains("9d61b19d"));
    }
}
