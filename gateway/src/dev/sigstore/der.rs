//! As much DER as a certificate, an SCT or a time-stamp needs.

/// SEQUENCE (ITU-T X.690, 8.9).
pub(super) const SEQUENCE: u8 = 0x30;
/// SET (X.690, 8.11).
pub(super) const SET: u8 = 0x31;
/// OCTET STRING (X.690, 8.7).
pub(super) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER (X.690, 8.19).
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// UTF8String (X.690, 8.23).
pub(super) const UTF8_STRING: u8 = 0x0c;
/// GeneralizedTime (X.690, 8.25).
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed, context-specific.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// One element: tag, shortest length, the parts one after the other.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![tag];
    let length = body.len().to_be_bytes();
    let significant = length.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    if body.len() < 128 {
        bytes.push(significant.first().copied().unwrap_or(0));
    } else {
        let count = u8::try_from(significant.len()).expect("a length has at most eight bytes");
        bytes.push(0x80 | count);
        bytes.extend(significant);
    }
    bytes.extend(body);
    bytes
}

/// A SEQUENCE of `parts`.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// An OBJECT IDENTIFIER whose content is already encoded.
pub(super) fn oid(encoded: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, &[encoded])
}

/// Splits the first element off `bytes`: the whole element, then its content, then what follows.
///
/// # Panics
/// When `bytes` is no DER: it is only ever called on what rcgen wrote.
pub(super) fn split(bytes: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let first = usize::from(bytes[1]);
    let (header, length) = if first < 128 {
        (2, first)
    } else {
        let count = first & 0x7f;
        (2 + count, bytes[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    };
    let (whole, rest) = bytes.split_at(header + length);
    (whole, &whole[header..], rest)
}

/// The signed part of a certificate, `tbsCertificate` (RFC 5280, 4.1).
pub(super) fn to_be_signed(certificate: &[u8]) -> &[u8] {
    let (_, content, _) = split(certificate);
    split(content).0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_the_shortest_possible() {
        assert_eq!(element(OCTET_STRING, &[]), [4, 0]);
        assert_eq!(element(OCTET_STRING, &[&[7; 127]])[..2], [4, 127]);
        assert_eq!(element(OCTET_STRING, &[&[7; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(element(OCTET_STRING, &[&[7; 256]])[..4], [4, 0x82, 1, 0]);
    }

    proptest! {
        #[test]
        fn splitting_gives_back_what_was_written(body in proptest::collection::vec(any::<u8>(), 0..600), rest: Vec<u8>) {
            let mut bytes = sequence(&[&body]);
            let written = bytes.len();
            bytes.extend(&rest);
            let (whole, content, after) = split(&bytes);
            prop_assert_eq!(whole.len(), written);
            prop_assert_eq!(content, &body[..]);
            prop_assert_eq!(after, &rest[..]);
        }
    }
}
