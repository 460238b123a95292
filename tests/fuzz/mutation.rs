//! Mutated bytes from a seed number, the same on every machine.

/// What formats are made of: inserted whole, as single bytes seldom get past a parser's first line.
const WORDS: &[&[u8]] = &[
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"\"\"",
    b"\\u0000",
    b"\\ud800",
    b",\"a\":1",
    b"\"mediaType\":\"\",",
    b"sha256:",
    b"@",
    b"+",
    b"/",
    b"..",
    b"*",
    b"/*",
    b"%2e",
    b".p/",
    b"x001/",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\t",
    b"\0",
    b"\xff",
    b"\xe2\x80\x94 ",
    b"\xef\xbb\xbf",
    b"=",
    b"====",
    b"spiffe://",
    b"log ",
    b"quorum none\n",
    b"extra ",
    b"index ",
    b"-----BEGIN PUBLIC KEY-----\n",
    b"\0asm\x0d\0\x01\0",
    b"\0asm\x01\0\0\0",
    b"\x7f\xff\xff\xff\xff\x0f",
];

/// SplitMix64: small, and the same everywhere.
pub struct Numbers(u64);

impl Numbers {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// A range of up to `most` bytes inside `len` bytes.
    fn range(&mut self, len: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(len);
        start..(start + 1 + self.below(most)).min(len)
    }
}

/// The longest mutated input, in bytes: past it, time goes into copying.
const LONGEST_BYTES: usize = 64 << 10;

/// One of `seeds` after one to four changes.
pub fn mutated(numbers: &mut Numbers, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..1 + numbers.below(4) {
        change(numbers, &mut bytes, seeds);
    }
    bytes.truncate(LONGEST_BYTES);
    bytes
}

fn change(numbers: &mut Numbers, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let len = bytes.len();
    let at = numbers.below(len);
    match numbers.below(10) {
        0 if len > 0 => bytes[at] ^= 1 << numbers.below(8),
        1 if len > 0 => bytes[at] = numbers.next() as u8,
        2 if len > 0 => bytes[at] = bytes[at].wrapping_add(1),
        3 if len > 0 => drop(bytes.drain(numbers.range(len, 32))),
        4 if len > 0 => {
            let copy = bytes[numbers.range(len, 64)].to_vec();
            bytes.splice(at..at, copy);
        }
        5 if len > 1 => {
            let other = numbers.below(len);
            bytes.swap(at, other);
        }
        6 => bytes.truncate(at),
        7 => {
            // The start of one seed, the end of another.
            let other = &seeds[numbers.below(seeds.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[numbers.below(other.len())..]);
        }
        8 => {
            // Depth: the same few bytes over and over.
            let word = WORDS[numbers.below(WORDS.len())];
            let open: [&[u8]; 4] = [b"[", b"{\"a\":", word, b"\x41\x04"];
            let repeated = open[numbers.below(open.len())].repeat(1 + numbers.below(600));
            bytes.splice(at..at, repeated);
        }
        _ => {
            let word = WORDS[numbers.below(WORDS.len())];
            bytes.splice(at..at, word.iter().copied());
        }
    }
}
