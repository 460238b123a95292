//! The few bytes of the binary format that are written by hand (Component Model, Binary.md).

/// `\0asm`, version 13, layer 1.
pub(super) const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// `\0asm`, version 1, layer 0.
pub(super) const MODULE_HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";

/// Sections of a component.
pub(super) const CUSTOM_SECTION: u8 = 0;
pub(super) const CORE_MODULE_SECTION: u8 = 1;
pub(super) const COMPONENT_SECTION: u8 = 4;
pub(super) const TYPE_SECTION: u8 = 7;
pub(super) const IMPORT_SECTION: u8 = 10;

/// An unsigned LEB128 number.
pub(super) fn leb128(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// The same number in exactly five bytes, so that sizes add up before they are known.
pub(super) fn leb128_of_five_bytes(number: usize) -> [u8; 5] {
    let part = |shift: usize| ((number >> shift) & 0x7f) as u8;
    [part(0) | 0x80, part(7) | 0x80, part(14) | 0x80, part(21) | 0x80, part(28)]
}

/// A section: id, size, body.
pub(super) fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id][..], &leb128(body.len()), body].concat()
}
