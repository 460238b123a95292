//! A wasmCloud 1.x provider archive: a token beside the bytes it vouches for, in a tar file or a gzipped one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};

use super::limits::{
    ARCHIVE_BYTES_MAX, ARCHIVE_FREE_BYTES, ARCHIVE_RATIO_MAX, ENTRIES_MAX, ENTRY_BYTES_MAX, TOKEN_BYTES_MAX,
};
use crate::evidence::rejection::Rejection;
use crate::reason::Code;

/// The entry with the token.
pub(super) const TOKEN: &str = "claims.jwt";
/// The entry with the interfaces, if there is one; its hash goes by this name too.
const WORLD: &str = "world.wasm";

/// What is in an archive.
#[derive(Debug)]
pub(super) struct Contents {
    /// The token's bytes.
    pub(super) token: Vec<u8>,
    /// SHA-256 of every other entry, by target (`x86_64-linux`) or `world.wasm`.
    pub(super) hashes: BTreeMap<String, [u8; 32]>,
}

/// Whether `bytes` begin as an archive does: gzip (RFC 1952 §2.3.1), or a tar header of POSIX or GNU.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(GZIP) || bytes.get(257..262) == Some(b"ustar")
}

/// Reads an archive to its very end; nothing but the token is kept.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, Rejection> {
    if !bytes.starts_with(GZIP) {
        return unpack(&mut Bounded::new(bytes, ARCHIVE_BYTES_MAX));
    }
    let packed_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let limit_bytes =
        ARCHIVE_BYTES_MAX.min(ARCHIVE_FREE_BYTES.saturating_add(packed_bytes.saturating_mul(ARCHIVE_RATIO_MAX)));
    let mut unpacked = Bounded::new(GzDecoder::new(bytes), limit_bytes);
    let contents = unpack(&mut unpacked)?;
    match unpacked.reader.into_inner() {
        [] => Ok(contents),
        rest => Err(malformed("nothing behind the gzip member", format!("{} bytes", rest.len()))),
    }
}

fn unpack<R: Read>(reader: &mut Bounded<R>) -> Result<Contents, Rejection> {
    let contents = entries(reader);
    if reader.is_exhausted {
        let expected = format!("an archive that unpacks to at most {} bytes", reader.limit_bytes);
        return Err(Rejection::mismatch(Code::LIMIT_EXCEEDED, expected, "more"));
    }
    contents
}

fn entries<R: Read>(reader: &mut Bounded<R>) -> Result<Contents, Rejection> {
    let (mut token, mut hashes, mut stems) = (None, BTreeMap::new(), BTreeSet::new());
    let mut archive = tar::Archive::new(&mut *reader);
    // Raw: an extension that gives the next entry another name or size is an entry here, and no plain file.
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let name = plain_name(&entry.path_bytes())?;
        if !entry.header().entry_type().is_file() {
            return Err(malformed(format!("`{name}` to be a plain file"), "something else"));
        }
        if stems.len() == ENTRIES_MAX {
            return Err(over("entries", ENTRIES_MAX, "one more"));
        }
        if entry.size() > ENTRY_BYTES_MAX {
            return Err(over(&format!("bytes in `{name}`"), ENTRY_BYTES_MAX, entry.size()));
        }
        let (stem, _) = name.rsplit_once('.').unwrap_or((&name, ""));
        if !stems.insert(stem.to_owned()) {
            return Err(malformed(format!("one entry called `{stem}`, whatever its ending"), "two"));
        }
        let size_bytes = entry.size();
        if name == TOKEN {
            token = Some(small(&mut entry, size_bytes)?);
            continue;
        }
        let target = if name == WORLD { Some(WORLD) } else { name.strip_suffix(".bin").filter(|stem| is_target(stem)) };
        let Some(target) = target else {
            return Err(malformed(format!("`{TOKEN}`, `{WORLD}` and `<arch>-<os>.bin` alone"), format!("`{name}`")));
        };
        hashes.insert(target.to_owned(), hash(&mut entry, size_bytes)?);
    }
    nothing_but_zeros(reader)?;
    let token = token.ok_or_else(|| malformed(format!("an entry `{TOKEN}`"), "none"))?;
    match hashes.keys().any(|target| target != WORLD) {
        true => Ok(Contents { token, hashes }),
        false => Err(malformed("at least one `<arch>-<os>.bin`", "none")),
    }
}

/// A name without folders, so that nothing lies where another reader would look elsewhere.
fn plain_name(bytes: &[u8]) -> Result<String, Rejection> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let shown = String::from_utf8_lossy(bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes)).into_owned();
    match bytes.iter().all(is_plain) && bytes.first().is_some_and(u8::is_ascii_alphanumeric) {
        true if bytes.len() <= NAME_BYTES_MAX => Ok(shown),
        _ => Err(malformed("entries in the archive's root, named by letters, digits and `._-`", format!("`{shown}`"))),
    }
}

/// `<arch>-<os>`, in lower case as Rust names both.
fn is_target(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.split_once('-').is_some_and(|(arch, os)| is_word(arch) && os.split('-').all(is_word))
}

fn small(entry: &mut impl Read, size_bytes: u64) -> Result<Vec<u8>, Rejection> {
    if size_bytes > TOKEN_BYTES_MAX as u64 {
        return Err(over(&format!("bytes in `{TOKEN}`"), TOKEN_BYTES_MAX as u64, size_bytes));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == size_bytes { Ok(bytes) } else { Err(cut_short()) }
}

fn hash(entry: &mut impl Read, size_bytes: u64) -> Result<[u8; 32], Rejection> {
    let (mut hasher, mut buffer, mut read_bytes) = (Sha256::new(), [0; CHUNK_BYTES], 0);
    loop {
        let count = entry.read(&mut buffer).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        read_bytes += count as u64;
        hasher.update(&buffer[..count]);
    }
    if read_bytes == size_bytes { Ok(hasher.finalize().into()) } else { Err(cut_short()) }
}

/// Behind the last entry a tar file has zeros to its end; anything else is a second archive, or hidden.
fn nothing_but_zeros(reader: &mut impl Read) -> Result<(), Rejection> {
    let mut buffer = [0; CHUNK_BYTES];
    loop {
        match reader.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(()),
            count if buffer[..count].iter().all(|byte| *byte == 0) => {}
            _ => return Err(malformed("zeros behind the last entry", "something else")),
        }
    }
}

/// A reader that gives up past a number of bytes.
pub(super) struct Bounded<R> {
    reader: R,
    limit_bytes: u64,
    left_bytes: u64,
    pub(super) is_exhausted: bool,
}

impl<R> Bounded<R> {
    pub(super) fn new(reader: R, limit_bytes: u64) -> Self {
        Self { reader, limit_bytes, left_bytes: limit_bytes, is_exhausted: false }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.left_bytes.checked_sub(count as u64) {
            Some(left) => self.left_bytes = left,
            None => {
                self.is_exhausted = true;
                return Err(io::Error::other("too much to unpack"));
            }
        }
        Ok(count)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used as a function value")]
fn unreadable(error: io::Error) -> Rejection {
    malformed("an archive that can be read to its end", error)
}

fn cut_short() -> Rejection {
    malformed("entries as long as their headers say", "less")
}

fn malformed(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(Code::TOKEN_MALFORMED, format!("a provider archive with {expected}"), found)
}

fn over(what: &str, limit: impl std::fmt::Display, found: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(Code::LIMIT_EXCEEDED, format!("a provider archive with at most {limit} {what}"), found)
}

/// RFC 1952 §2.3.1.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// A tar header's own name field, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// What is hashed at once, in bytes.
const CHUNK_BYTES: usize = 8 << 10;
