//! A file that holds one key, and the public half of it: a gateway needs no other.
//!
//! Private keys are PKCS #8, or encrypted as cosign does it (go-securesystemslib `encrypted`): JSON with the parameters of scrypt
//! and an XSalsa20-Poly1305 box over PKCS #8. Whoever wrote the file chose the parameters, so they are held to limits before
//! anything is derived; the crate that opens the box would be led by them, and panics on a nonce of another length.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sigstore::crypto::signing_key::{SigStoreKeyPair, kdf};
use zeroize::Zeroizing;

use super::limits::{
    ENCRYPTED_KEY_BYTES_MAX, PRIVATE_KEY_BYTES_MAX, SCRYPT_N_MAX, SCRYPT_P_MAX, SCRYPT_R_MAX, SCRYPT_SALT_BYTES_MAX,
};
use super::pem::{self, PemFault};
use super::public_key::{BLOCKS_MAX, KeyFault, PublicKey};
use crate::strict_json;

/// What a key's file holds.
#[derive(Debug)]
pub enum KeyFile {
    /// A public key, SPKI PEM.
    Public(PublicKey),
    /// A private key.
    Private(PrivateKey),
}

/// A private key as it lies in its file; wiped from memory when dropped, never printed.
pub struct PrivateKey {
    form: Form,
    bytes: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Encrypted,
}

/// Why a file gives no public key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileFault {
    /// No PEM.
    #[error("it is no PEM text")]
    Pem(#[from] PemFault),
    /// No key that signatures are checked with.
    #[error(transparent)]
    Public(#[from] KeyFault),
    /// A private key in another form.
    #[error(
        "expected a `PRIVATE KEY` block in PKCS #8 or one that cosign encrypted, alone in its file, found `{label}`"
    )]
    Form {
        /// The block's label.
        label: String,
    },
    /// An encrypted key that is not as cosign writes it.
    #[error("expected {expected} in the encrypted key, found something else")]
    Container {
        /// What has to stand there.
        expected: &'static str,
    },
    /// Opening it would cost whatever its writer likes.
    #[error(
        "expected scrypt parameters of at most N {SCRYPT_N_MAX}, r {SCRYPT_R_MAX}, p {SCRYPT_P_MAX}, found N {n}, r {r}, p {p}"
    )]
    Costly {
        /// `N`.
        n: u64,
        /// `r`.
        r: u64,
        /// `p`.
        p: u64,
    },
    /// Larger than a key that signatures are checked with.
    #[error("expected a private key of at most {PRIVATE_KEY_BYTES_MAX} bytes, found {found}")]
    TooLarge {
        /// How many there are.
        found: usize,
    },
    /// Nobody gave the password.
    #[error("the key is encrypted, and there is no password")]
    Locked,
    /// The box stays closed.
    #[error("the password does not open the key, or the file was changed")]
    WrongPassword,
    /// What is inside is no key.
    #[error(
        "expected ECDSA on P-256 or P-384, RSA of 2048, 3072 or 4096 bits, or Ed25519 in PKCS #8, found something else"
    )]
    NoKey,
}

impl KeyFileFault {
    /// The next thing to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Public(fault) => fault.hint(),
            Self::Locked => "put it into the environment as `COSIGN_PASSWORD`, or into a file for `--password-file`",
            Self::WrongPassword => "give the password that the key was made with",
            Self::Form { .. } => "rewrite it with `openssl pkcs8 -topk8 -nocrypt -in FILE`",
            Self::Costly { .. } | Self::Container { .. } | Self::Pem(_) => {
                "name a key that `cosign generate-key-pair` or `cosign import-key-pair` wrote"
            }
            Self::TooLarge { .. } | Self::NoKey => {
                "sign with another key, for instance one of `cosign generate-key-pair`"
            }
        }
    }
}

impl KeyFile {
    /// Reads a file's PEM.
    ///
    /// # Errors
    /// What is wrong with it; nothing is decrypted yet.
    pub fn read(pem: &[u8]) -> Result<Self, KeyFileFault> {
        let mut blocks = pem::blocks(pem, BLOCKS_MAX)?;
        let Some(private) = blocks.iter().position(|block| block.label.ends_with("PRIVATE KEY")) else {
            return Ok(Self::Public(PublicKey::from_pem(pem)?));
        };
        let alone = blocks.len() == 1;
        let block = blocks.swap_remove(private);
        let form = match block.label.as_str() {
            "PRIVATE KEY" if alone => Form::Plain,
            "ENCRYPTED COSIGN PRIVATE KEY" | "ENCRYPTED SIGSTORE PRIVATE KEY" if alone => Form::Encrypted,
            label => return Err(KeyFileFault::Form { label: label.to_owned() }),
        };
        Ok(Self::Private(PrivateKey { form, bytes: block.bytes }))
    }
}

impl PrivateKey {
    /// Whether it needs a password.
    pub fn is_encrypted(&self) -> bool {
        self.form == Form::Encrypted
    }

    /// Its public half; `password` opens an encrypted one, and is not looked at for a plain one.
    ///
    /// # Errors
    /// What is wrong with the key, or that the password is not its own.
    pub fn public(&self, password: Option<&[u8]>) -> Result<PublicKey, KeyFileFault> {
        match (self.form, password) {
            (Form::Plain, _) => public_half(&self.bytes),
            (Form::Encrypted, None) => Err(KeyFileFault::Locked),
            (Form::Encrypted, Some(password)) => {
                let container = container(&self.bytes)?;
                let pkcs8 = kdf::decrypt(&container, password).map_err(|_| KeyFileFault::WrongPassword)?;
                public_half(&Zeroizing::new(pkcs8))
            }
        }
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("form", &self.form).finish_non_exhaustive()
    }
}

fn public_half(pkcs8: &[u8]) -> Result<PublicKey, KeyFileFault> {
    if pkcs8.len() > PRIVATE_KEY_BYTES_MAX {
        return Err(KeyFileFault::TooLarge { found: pkcs8.len() });
    }
    let spki = SigStoreKeyPair::from_der(pkcs8).and_then(|pair| pair.public_key_to_der());
    Ok(PublicKey::from_spki(&spki.map_err(|_| KeyFileFault::NoKey)?)?)
}

/// The JSON of an encrypted key, once it holds what cosign writes and nothing that costs more; written anew, so that whoever
/// opens it reads what was checked.
pub(super) fn container(json: &[u8]) -> Result<Vec<u8>, KeyFileFault> {
    let fault = |expected| KeyFileFault::Container { expected };
    if json.len() > ENCRYPTED_KEY_BYTES_MAX {
        return Err(fault("at most 64 KiB of JSON"));
    }
    let value = strict_json::parse(json, CONTAINER_DEPTH_MAX).map_err(|_| fault("strict JSON"))?;
    let fields =
        object(Some(&value), &["kdf", "cipher", "ciphertext"]).ok_or(fault("`kdf`, `cipher`, `ciphertext`"))?;
    let kdf = object(fields.get("kdf"), &["name", "params", "salt"]).ok_or(fault("`kdf.name`, `.params`, `.salt`"))?;
    let cipher = object(fields.get("cipher"), &["name", "nonce"]).ok_or(fault("`cipher.name`, `.nonce`"))?;
    if text(kdf, "name") != Some("scrypt") || text(cipher, "name") != Some("nacl/secretbox") {
        return Err(fault("`scrypt` and `nacl/secretbox`"));
    }
    let cost = object(kdf.get("params"), &["N", "r", "p"]).ok_or(fault("`kdf.params.N`, `.r`, `.p`"))?;
    let number = |name| cost.get(name).and_then(Value::as_u64).filter(|number| *number > 0);
    let (Some(n), Some(r), Some(p)) = (number("N"), number("r"), number("p")) else {
        return Err(fault("whole numbers from 1 as parameters of scrypt"));
    };
    if n > SCRYPT_N_MAX || r > SCRYPT_R_MAX || p > SCRYPT_P_MAX {
        return Err(KeyFileFault::Costly { n, r, p });
    }
    if !SCRYPT_N.contains(&n) || r != SCRYPT_R_MAX || p != SCRYPT_P_MAX {
        return Err(fault("the parameters that cosign writes, N 32768 or 65536 with r 8 and p 1"));
    }
    let length = |fields, name| text(fields, name).and_then(|text| STANDARD.decode(text).ok()).map(|bytes| bytes.len());
    if !length(kdf, "salt").is_some_and(|bytes| (1..=SCRYPT_SALT_BYTES_MAX).contains(&bytes)) {
        return Err(fault("a salt of 1 to 64 bytes in base64"));
    }
    if length(cipher, "nonce") != Some(NONCE_BYTES) {
        return Err(fault("a nonce of 24 bytes in base64"));
    }
    if length(fields, "ciphertext").is_none_or(|bytes| bytes <= TAG_BYTES) {
        return Err(fault("a ciphertext in base64"));
    }
    Ok(value.to_string().into_bytes())
}

/// The fields of an object that has these and no others.
fn object<'a>(value: Option<&'a Value>, names: &[&str]) -> Option<&'a Map<String, Value>> {
    let fields = value?.as_object()?;
    (fields.len() == names.len() && names.iter().all(|name| fields.contains_key(*name))).then_some(fields)
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// What cosign writes: less is guessed at too cheaply, and the crate that opens the box takes nothing else.
const SCRYPT_N: [u64; 2] = [32_768, SCRYPT_N_MAX];
/// How deep the JSON may be nested: key, `kdf`, `params`.
const CONTAINER_DEPTH_MAX: usize = 3;
/// The length of an XSalsa20 nonce, in bytes.
const NONCE_BYTES: usize = 24;
/// The length of a Poly1305 tag, in bytes.
const TAG_BYTES: usize = 16;
