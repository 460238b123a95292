//! Blocks of PEM (RFC 7468), read in one way only.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// One block. It may be a secret, so it is wiped from memory when dropped, and never printed.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Why a text is no PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// No block at all.
    #[error("expected a line `-----BEGIN …-----`, found none")]
    Empty,
    /// More blocks than are looked at.
    #[error("expected at most {max} blocks, found more")]
    TooMany {
        /// How many are.
        max: usize,
    },
    /// A block that begins, ends or is named otherwise than RFC 7468, 3 says.
    #[error("line {line}: expected a block that begins and ends with one label of upper-case letters")]
    Boundary {
        /// Counted from 1.
        line: usize,
    },
    /// What is inside is no base64, or could be read in another way.
    #[error("line {line}: expected the block that ends here to hold canonical base64 and nothing else")]
    Base64 {
        /// Counted from 1.
        line: usize,
    },
}

/// The blocks of `text`, at least one and at most `max`; text outside of them is passed over.
pub(super) fn blocks(text: &[u8], max: usize) -> Result<Vec<Block>, PemFault> {
    let mut found = Vec::new();
    let mut open: Option<(&str, Zeroizing<Vec<u8>>)> = None;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let (line, number) = (line.trim_ascii_end(), index + 1);
        let boundary = PemFault::Boundary { line: number };
        open = match (open, boundary_of(line).map_err(|()| boundary)?) {
            (None, None) => None,
            (None, Some(Boundary::Begin(_))) if found.len() == max => return Err(PemFault::TooMany { max }),
            // As long as everything that follows at most: no copy that grows leaves a secret behind.
            (None, Some(Boundary::Begin(label))) => Some((label, Zeroizing::new(Vec::with_capacity(text.len())))),
            (Some((label, mut base64)), None) => {
                base64.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
                Some((label, base64))
            }
            (Some((label, base64)), Some(Boundary::End(end))) if label == end => {
                let bytes = STANDARD.decode(&*base64).map(Zeroizing::new).ok().filter(|bytes| !bytes.is_empty());
                let bytes = bytes.ok_or(PemFault::Base64 { line: number })?;
                found.push(Block { label: label.to_owned(), bytes });
                None
            }
            (None, Some(Boundary::End(_))) | (Some(_), Some(_)) => return Err(boundary),
        };
    }
    match (open, found.is_empty()) {
        (Some(_), _) => Err(PemFault::Boundary { line: text.split(|byte| *byte == b'\n').count() }),
        (None, true) => Err(PemFault::Empty),
        (None, false) => Ok(found),
    }
}

/// `bytes` as one block.
pub(super) fn encode(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

enum Boundary<'a> {
    Begin(&'a str),
    End(&'a str),
}

/// What a line begins or ends; an error for one that looks so and does not.
fn boundary_of(line: &[u8]) -> Result<Option<Boundary<'_>>, ()> {
    match (line.strip_prefix(b"-----BEGIN "), line.strip_prefix(b"-----END ")) {
        (Some(rest), _) => Ok(Some(Boundary::Begin(label_of(rest)?))),
        (_, Some(rest)) => Ok(Some(Boundary::End(label_of(rest)?))),
        _ if line.starts_with(b"-----") => Err(()),
        _ => Ok(None),
    }
}

fn label_of(rest: &[u8]) -> Result<&str, ()> {
    let label = rest.strip_suffix(b"-----").and_then(|label| std::str::from_utf8(label).ok()).ok_or(())?;
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
    match (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.trim() == label && label.bytes().all(plain) {
        true => Ok(label),
        false => Err(()),
    }
}

/// The longest label, in bytes: it is told in messages (the longest in use has 30).
const LABEL_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Vec<u8>)>, PemFault> {
        Ok(blocks(text.as_bytes(), 2)?.into_iter().map(|block| (block.label, block.bytes.to_vec())).collect())
    }

    #[test]
    fn blocks_stand_one_after_the_other() {
        let one = encode("CERTIFICATE", b"one");
        let two = encode("PUBLIC KEY", &[7; 100]);
        let both = vec![("CERTIFICATE".to_owned(), b"one".to_vec()), ("PUBLIC KEY".to_owned(), vec![7; 100])];
        assert_eq!(read(&format!("{one}{two}")), Ok(both.clone()));
        assert_eq!(read(&format!("subject: a\n{one}\nissuer: b\n{two}text")), Ok(both.clone()));
        assert_eq!(read(&format!("{one}{two}").replace('\n', "\r\n")), Ok(both));
        assert_eq!(read(&format!("{one}{one}{one}")), Err(PemFault::TooMany { max: 2 }));
        let longest = encode(&"A".repeat(LABEL_BYTES_MAX), b"one");
        assert!(read(&longest).is_ok());
        assert_eq!(read(""), Err(PemFault::Empty));
        assert_eq!(read(&format!(" {}", one.replace('\n', ""))), Err(PemFault::Empty));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let one = encode("PUBLIC KEY", b"one");
        for text in [
            one.replace("END PUBLIC", "END PRIVATE"),
            one.replace("-----END PUBLIC KEY-----\n", ""),
            one.replace("-----BEGIN PUBLIC KEY-----\n", ""),
            one.replace("PUBLIC KEY", "public key"),
            one.replace("PUBLIC KEY", ""),
            one.replace("PUBLIC KEY", &"A".repeat(LABEL_BYTES_MAX + 1)),
            one.replace("PUBLIC KEY-----", "PUBLIC KEY----"),
            one.replace("-----BEGIN PUBLIC KEY-----\n", "-----BEGIN PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\n"),
            format!("-----\n{one}"),
        ] {
            assert!(matches!(read(&text), Err(PemFault::Boundary { .. })), "{text}");
        }
        for inside in ["b25l!", "b25", "b25l\nProc-Type: 4,ENCRYPTED", "", "b25=", "b25l="] {
            let text = one.replace("b25l", inside);
            assert!(matches!(read(&text), Err(PemFault::Base64 { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            prop_assert_eq!(read(&encode("X509 CRL", &bytes)), Ok(vec![("X509 CRL".to_owned(), bytes)]));
        }
    }
}
