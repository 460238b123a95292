//! `witgate key`: what a key is, without giving its secret away.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use serde_json::json;
use zeroize::Zeroizing;

use super::Output;
use crate::evidence::{KeyFile, PublicKey};

/// Flags of `witgate key`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print algorithm, id and public half of a key: SPKI, PKCS #8, or a private key that cosign encrypted
    ///
    /// What is printed is a public key's file as well: `witgate key show cosign.key > cosign.pub`.
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The key's file, PEM
    file: PathBuf,
    #[command(flatten)]
    password: Password,
}

/// Where the password of an encrypted key comes from; never from the command line, which everybody sees.
#[derive(Debug, clap::Args)]
pub(crate) struct Password {
    /// File with the password of an encrypted private key [default: the environment's COSIGN_PASSWORD]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let Command::Show(show) = &args.command;
    let key = public_half(&show.file, &show.password)?;
    let algorithms = key.algorithms().iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>();
    match output {
        Output::Json => {
            let shown = json!({"algorithms": algorithms, "keyid": key.keyid().hex(), "public_key": key.to_pem()});
            println!("{}", serde_json::to_string_pretty(&shown)?);
        }
        Output::Text => {
            println!("algorithm  {}", algorithms.join(" or "));
            println!("keyid      {}", key.keyid().hex());
            print!("{}", key.to_pem());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The public half of whatever key a file holds.
pub(crate) fn public_half(file: &Path, password: &Password) -> anyhow::Result<PublicKey> {
    let cannot = || format!("cannot use the key `{}`", file.display());
    match KeyFile::read(&secret(file, KEY_MAX_BYTES)?).with_context(cannot)? {
        KeyFile::Public(public) => Ok(public),
        KeyFile::Private(private) => {
            let password = if private.is_encrypted() { password.read()? } else { None };
            private.public(password.as_ref().map(|password| &***password)).with_context(cannot)
        }
    }
}

impl Password {
    /// Whether a flag says where it is.
    pub(crate) fn is_given(&self) -> bool {
        self.password_file.is_some()
    }

    /// The password, if there is one; a file's last line break is none of it.
    fn read(&self) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(file) = &self.password_file else {
            return Ok(std::env::var_os(PASSWORD_VARIABLE).map(OsString::into_vec).map(Zeroizing::new));
        };
        let mut password = secret(file, PASSWORD_MAX_BYTES)?;
        let line = password.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let length = line.unwrap_or(&password).len();
        password.truncate(length);
        Ok(Some(password))
    }
}

/// A file's bytes in one piece of memory that is wiped when dropped: a buffer that grows would leave copies behind.
fn secret(path: &Path, limit_bytes: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let cannot = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut bytes = Zeroizing::new(vec![0; limit_bytes + 1]);
    let mut file = file.take(limit_bytes as u64 + 1);
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]).with_context(cannot)? {
            0 => break,
            read => length += read,
        }
    }
    ensure!(length <= limit_bytes, "`{}` is longer than {limit_bytes} bytes", path.display());
    bytes.truncate(length);
    Ok(bytes)
}

/// The environment variable that cosign reads a key's password from.
const PASSWORD_VARIABLE: &str = "COSIGN_PASSWORD";
/// The largest key file, in bytes, as in `[[evidence.keys]]`.
const KEY_MAX_BYTES: usize = 64 << 10;
/// The longest password, in bytes.
const PASSWORD_MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (text, password) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("\n", ""), ("", "")] {
            std::fs::write(&path, text).unwrap();
            let read = Password { password_file: Some(path.clone()) }.read().unwrap().unwrap();
            assert_eq!(&**read, password.as_bytes());
        }
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(&**secret(&path, 5).unwrap(), b"12345");
        assert!(secret(&path, 4).unwrap_err().to_string().contains("longer than 4 bytes"));
        assert!(secret(&folder.path().join("none"), 4).is_err());
    }
}
