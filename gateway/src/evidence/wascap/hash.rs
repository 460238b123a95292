//! What a token's `hash` is of: the binary as it was before it was signed.

use sha2::{Digest as _, Sha256};

use super::section::{Binary, Part};

/// SHA-256 of `binary` without token sections at any depth, every section's length in its shortest LEB128 form.
///
/// For what compilers write, which is in that form already, it is the SHA-256 of the unsigned file.
pub(super) fn unsigned(binary: &Binary<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    feed(binary, &mut hasher);
    hasher.finalize().into()
}

fn feed(binary: &Binary<'_>, hasher: &mut Sha256) {
    hasher.update(binary.header);
    for part in &binary.parts {
        match part {
            Part::Plain(id, body) => {
                hasher.update([*id]);
                hasher.update(leb128(body.len()).as_slice());
                hasher.update(body);
            }
            Part::Nested(id, inner) => {
                hasher.update([*id]);
                hasher.update(leb128(size_bytes(inner)).as_slice());
                feed(inner, hasher);
            }
            Part::Token => {}
        }
    }
}

/// How many bytes [`feed`] hashes for `binary`.
fn size_bytes(binary: &Binary<'_>) -> usize {
    let sizes = binary.parts.iter().map(|part| match part {
        Part::Plain(_, body) => 1 + leb128(body.len()).as_slice().len() + body.len(),
        Part::Nested(_, inner) => {
            let inner = size_bytes(inner);
            1 + leb128(inner).as_slice().len() + inner
        }
        Part::Token => 0,
    });
    binary.header.len() + sizes.sum::<usize>()
}

/// A number in the shortest form of unsigned LEB128.
fn leb128(mut number: usize) -> Leb128 {
    let mut out = Leb128 { bytes: [0; 10], len: 0 };
    for byte in &mut out.bytes {
        out.len += 1;
        *byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            break;
        }
        *byte |= 0x80;
    }
    out
}

/// At most 64 bits, seven at a time.
struct Leb128 {
    bytes: [u8; 10],
    len: usize,
}

impl Leb128 {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_few_bytes_as_they_can() {
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (552, &[0xa8, 4]),
            (usize::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            assert_eq!(leb128(number).as_slice(), bytes);
        }
    }
}
