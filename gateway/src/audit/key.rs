//! The log's signing key on disk: an Ed25519 seed as PKCS#8 v1 PEM, mode 0600.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::start::StartError;

/// DER in front of the seed: PKCS#8 **v1**, which OpenSSL 3.0 and Python read (v2 they refuse).
const PKCS8_V1_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const PEM_END: &str = "\n-----END PRIVATE KEY-----\n";
/// The largest key file that is read, in bytes: ours have 119.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// A 32-byte seed that is wiped when dropped.
pub(super) type Seed = Zeroizing<[u8; 32]>;

/// Reads the key; `None` when there is no file.
pub(super) fn load(path: &Path) -> Result<Option<Seed>, StartError> {
    let failed = |doing| move |source| StartError::File { doing, path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read")(error)),
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StartError::KeyMode { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(StartError::KeyForm { path: path.to_owned() });
    }
    let pem = Zeroizing::new(fs::read(path).map_err(failed("read"))?);
    parse(&pem).map(Some).ok_or_else(|| StartError::KeyForm { path: path.to_owned() })
}

/// Makes a key and writes it; the file is on disk when this returns.
pub(super) fn create(path: &Path) -> Result<Seed, StartError> {
    let failed = |doing| move |source| StartError::File { doing, path: path.to_owned(), source };
    let mut seed = Seed::default();
    getrandom::fill(&mut *seed).map_err(|error| failed("make the key")(std::io::Error::other(error)))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed("create"))?;
    file.write_all(print(&seed).as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    if let Some(folder) = path.parent() {
        super::anchor::sync_folder(folder).map_err(failed("write"))?;
    }
    Ok(seed)
}

fn parse(pem: &[u8]) -> Option<Seed> {
    let text = std::str::from_utf8(pem).ok()?;
    let body = text.trim_end().strip_prefix(PEM_BEGIN.trim_end())?.strip_suffix(PEM_END.trim())?;
    let der = Zeroizing::new(STANDARD.decode(body.trim()).ok()?);
    let seed: &[u8; 32] = der.strip_prefix(&PKCS8_V1_PREFIX)?.try_into().ok()?;
    Some(Zeroizing::new(*seed))
}

fn print(seed: &Seed) -> Zeroizing<String> {
    let der = Zeroizing::new([&PKCS8_V1_PREFIX[..], &seed[..]].concat());
    Zeroizing::new(format!("{PEM_BEGIN}{}{PEM_END}", STANDARD.encode(&*der)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8032 test 1, as OpenSSL writes it.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

    #[test]
    fn the_form_is_the_one_others_read() {
        let seed = parse(PEM.as_bytes()).unwrap();
        assert_eq!(hex::encode(*seed), "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        assert_eq!(print(&seed).as_str(), PEM);
    }

    #[test]
    fn refuses_other_forms() {
        let v2 = PEM.replace("MC4CAQAw", "MFECAQEw");
        for pem in ["", "x", &PEM.replace("PRIVATE", "PUBLIC"), &v2, &PEM.replace("n9g\n", "n9\n")] {
            assert!(parse(pem.as_bytes()).is_none(), "`{pem}` was taken");
        }
    }

    #[test]
    fn a_made_key_is_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.key");
        assert!(load(&path).unwrap().is_none());
        let seed = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(load(&path).unwrap(), Some(seed));
        assert!(matches!(create(&path), Err(StartError::File { .. })), "a key was overwritten");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path), Err(StartError::KeyMode { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, vec![b'x'; MAX_KEY_FILE_BYTES as usize + 1]).unwrap();
        assert!(matches!(load(&path), Err(StartError::KeyForm { .. })));
    }
}
